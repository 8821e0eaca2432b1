/* train --dry-run: what a run will need, measured by running it for some seconds. */
#ifndef DRY_H
#define DRY_H

#include "mujoco/run.h"

#define DRY_SECONDS 3

/* Run at least `steps` environment steps and `updates` more updates, or for as many seconds.
   Returns seconds per environment step, or -1 with *status set. */
static inline double dry_steps(drl_trainer *t, int64_t steps, int64_t updates, double seconds,
                               drl_status *status)
{
    double start = run_now(), now = start;
    int64_t first = t->steps, goal = t->agent->updates + updates;
    while ((t->steps - first < steps || t->agent->updates < goal) && now - start < seconds) {
        *status = drl_trainer_step(t);
        if (*status != DRL_OK) return -1;
        now = run_now();
    }
    return (now - start) / (double)(t->steps - first + (t->steps == first));
}

/* Tell memory and time of the rest of a run that has been built. The trainer is of no use after
   it. Returns its status. */
static inline drl_status dry_run(drl_trainer *t, const drl_env *env, int64_t steps,
                                 int64_t eval_every, int eval_episodes)
{
    drl_agent *a = t->agent;
    double left = (double)(steps - t->steps), random = (double)(a->random_steps - t->steps), plain;
    double learning, episode, resident = run_file_number("/proc/self/status", "VmRSS:"), total;
    int64_t updates, first;
    drl_evaluation one;
    drl_status s = DRL_OK;
    char text[4][32];
    double replay = (double)t->replay.bytes, start;
    if (t->replay.size) replay *= 1 - (double)t->replay.size / (double)t->replay.cfg.capacity;
    a->random_steps = INT64_MAX;
    plain = dry_steps(t, 500, 0, DRY_SECONDS, &s);
    a->random_steps = 0;
    if (s == DRL_OK) dry_steps(t, 0, 3, DRY_SECONDS, &s); /* the first ones allocate */
    updates = a->updates, first = t->steps;
    learning = s ? 0 : dry_steps(t, INT64_MAX, 0, DRY_SECONDS, &s);
    start = run_now();
    if (s == DRL_OK) s = drl_evaluate(a->ctx, a, env, 1, RUN_EVAL_SEED, &one, NULL);
    if (s != DRL_OK) return s;
    episode = run_now() - start;
    if (env->time_limit > 0) episode *= env->time_limit / one.length; /* later ones may be long */
    if (random < 0) random = 0;
    if (random > left) random = left;
    total = random * plain + (left - random) * learning +
            ceil(left / (double)eval_every) * eval_episodes * episode;
    if (resident >= 0)
        printf("memory  %s before the first step, %s when the replay is full\n",
               run_bytes(1024 * resident, text[0]), run_bytes(1024 * resident + replay, text[1]));
    printf("time    about %s for %s steps, as busy as this machine is now:\n",
           run_duration(total, text[0]), run_thousands((int64_t)left, text[1]));
    printf("        %.3f ms a step%s, %.3f ms with %.3g updates, %.3g s an evaluation\n",
           1e3 * plain, random > 0 ? " with random actions" : "", 1e3 * learning,
           (double)(a->updates - updates) / (double)(t->steps - first),
           eval_episodes * episode);
    if (a->updates == updates && left > random)
        printf("note    no update fell into these %d seconds: it will take longer\n", DRY_SECONDS);
    return DRL_OK;
}

#endif /* DRY_H */
