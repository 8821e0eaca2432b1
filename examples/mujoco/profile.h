/* Where the time of training goes (train --profile): clocks around the functions of an algorithm and
   of its environments. An environment shared by workers counts the time of all of them, divided by
   how many there are. */
#ifndef PROFILE_H
#define PROFILE_H

#include "run.h"

typedef struct profile {
    drl_algo algo; /* as it was */
    drl_env env;
    int workers;
    double updates, acting; /* seconds */
    long long physics;      /* nanoseconds of all workers: steps and resets */
} profile;

static profile profile_data;

static inline void profile_physics(double start)
{
    long long ns = (long long)(1e9 * (run_now() - start));
    __atomic_fetch_add(&profile_data.physics, ns, __ATOMIC_RELAXED);
}

static inline int profile_step(void *user, const float *act, float *obs, float *reward, int *flags)
{
    double start = run_now();
    int bad = profile_data.env.step_fn(user, act, obs, reward, flags);
    profile_physics(start);
    return bad;
}

static inline int profile_reset(void *user, uint64_t seed, float *obs)
{
    double start = run_now();
    int bad = profile_data.env.reset_fn(user, seed, obs);
    profile_physics(start);
    return bad;
}

static inline drl_status profile_update(drl_agent *agent, drl_replay *replay)
{
    double start = run_now();
    drl_status s = profile_data.algo.update_fn(agent, replay);
    profile_data.updates += run_now() - start;
    return s;
}

/* Actions of evaluation do not count. */
static inline drl_tensor *profile_act(drl_agent *agent, drl_mode mode, drl_tensor *obs)
{
    double start = run_now();
    drl_tensor *act = profile_data.algo.act_fn(agent, mode, obs);
    if (mode == DRL_MODE_EXPLORE) profile_data.acting += run_now() - start;
    return act;
}

/* Before training; envs all of one kind. */
static inline void profile_begin(drl_agent *agent, drl_env *envs, int count, int threads)
{
    int i;
    memset(&profile_data, 0, sizeof profile_data);
    profile_data.algo = agent->algo;
    profile_data.env = envs[0];
    profile_data.workers = count < threads ? count : threads;
    agent->algo.update_fn = profile_update;
    agent->algo.act_fn = profile_act;
    for (i = 0; i < count; i++) envs[i].step_fn = profile_step, envs[i].reset_fn = profile_reset;
}

/* Shares of the seconds that training took, without evaluation. */
static inline void profile_print(double seconds)
{
    double physics = 1e-9 * (double)profile_data.physics / profile_data.workers;
    double part = 100 / seconds, rest = seconds - profile_data.updates - physics;
    printf("profile updates %.1f %%  physics %.1f %%  acting %.1f %%  other %.1f %%  of %.1f s\n",
           part * profile_data.updates, part * physics, part * profile_data.acting,
           part * (rest - profile_data.acting), seconds);
}
#endif
