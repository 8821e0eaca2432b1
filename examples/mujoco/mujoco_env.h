/* Gymnasium's MuJoCo tasks, and those of the DeepMind Control Suite (dmc.h), as environments for
   diffrl.h.

     #define MUJOCO_ENV_IMPLEMENTATION      in one file
     #include "mujoco_env.h"

     drl_env env;
     char error[512];
     if (mujoco_env_init(&env, "HalfCheetah-v5", NULL, error, sizeof error) != 0) puts(error);
     env.reset_fn(env.user, seed, obs);
     env.step_fn(env.user, action, obs, &reward, &flags);
     env.free_fn(env.user);

   Build     -lmujoco -lm; MuJoCo 2.2.2 (Debian 12: libmujoco-dev) or later
   Exact     same physics, observations and rewards as Gymnasium's own v4 and v5 classes:
             tests/env/mujoco.c replays recorded trajectories (tried on MuJoCo 2.2.2, 3.3.7, 3.5.0;
             what differs between versions is mended after loading, see mujoco_model_mend)
   Faults    MuJoCo's error and warning hooks are replaced for the whole process: it never waits for
             Enter, never exits inside a step and never writes MUJOCO_LOG.TXT
   Threads   init, clone and free from one thread at a time; environments step in parallel, each in
             one thread at a time, also when they share a model
   New task  one row in mujoco_tasks, at most four small functions, a model in models/ */
#ifndef MUJOCO_ENV_H
#define MUJOCO_ENV_H

#ifndef DIFFRL_H
#include "../../diffrl.h"
#endif
#include <mujoco/mujoco.h>

#define MUJOCO_MEASURES 4

struct mujoco_env;

/* Occasions for a task's own physics: after a reset, for a step, after a state was loaded. */
typedef enum mujoco_phase { MUJOCO_STARTED, MUJOCO_STEP, MUJOCO_LOADED } mujoco_phase;

/* The rules of one task. All figures in the task's own units. */
typedef struct mujoco_task {
    const char *name, *model; /* model: file in models/                                          */
    int obs_dim, act_dim;     /* what the model must give                                        */
    int frame_skip;           /* mj_step per action                                              */
    int time_limit;           /* actions                                                         */
    double qpos_noise;        /* reset: qpos0 + uniform in +-qpos_noise                          */
    double qvel_noise;        /* reset: uniform in +-qvel_noise, or ...                          */
    int qvel_normal;          /* ... qvel_noise times a standard normal number                   */
    int obs_qpos;             /* first qpos that is observed: the place along x is not           */
    double obs_qvel_clip;     /* 0: none                                                         */
    int contact;              /* contact forces are observed, and cost                           */
    double ctrl_cost, contact_cost;
    double alive;             /* bonus per step                                                  */
    int alive_always;         /* v4: also on the step that ends the episode                      */
    /* write the observation to obs if that is not NULL; return its length */
    int (*obs_fn)(const struct mujoco_env *e, double *obs);
    /* write to m what the reward compares before and after a step */
    void (*measure_fn)(const struct mujoco_env *e, double *m);
    /* return the reward of the step from e->before to e->after */
    double (*reward_fn)(const struct mujoco_env *e, const double *action, int healthy);
    /* return 0 when the episode is over; NULL: never */
    int (*healthy_fn)(const struct mujoco_env *e);
    /* start an episode and return 0, or -1 if MuJoCo failed; NULL: with the noise above */
    int (*episode_fn)(struct mujoco_env *e, drl_rng *rng);
    /* NULL: mj_forward after a reset, frame_skip mj_step for a step, nothing after loading */
    void (*physics_fn)(struct mujoco_env *e, mujoco_phase phase);
} mujoco_task;

/* A compiled model and what its environments share. Read-only after loading. */
typedef struct mujoco_model {
    const mujoco_task *task;
    mjModel *m;
    float *bounds; /* [2, nu] lowest, highest action */
    int id[16];      /* what the task looks up once, and ... */
    double fact[2];  /* ... measures once                    */
    int users;
} mujoco_model;

/* One environment. Fields may be read; obs is the last observation in double precision. */
typedef struct mujoco_env {
    mujoco_model *model;
    mjData *data;
    double *obs, *next, *noise, *action;
    double before[MUJOCO_MEASURES], after[MUJOCO_MEASURES]; /* of the last step                  */
    double reward;
    int elapsed;       /* steps since reset                                                      */
    int ready;         /* 0 before the first reset and after a fault: step refuses               */
    uint64_t faults;   /* episodes broken by the simulator: it diverged, or a bad action         */
    uint64_t warnings; /* messages of MuJoCo, not printed                                        */
    char error[256];   /* text of the last MuJoCo error                                          */
} mujoco_env;

/* Make an environment.
     env        out  to be freed with env->free_fn(env->user)
     task       in   "HalfCheetah-v5" ...; the error of an unknown name lists all
     model_dir  in   folder of the XML files; NULL: $DIFFRL_MODELS, examples/mujoco/models, and the
                     same beside and above the running program; DeepMind Control: see dmc.h
     error      out  [error_size] one line, empty on success. May be NULL if error_size is 0.
   Returns 0, or -1 with nothing to free. */
int mujoco_env_init(drl_env *env, const char *task, const char *model_dir, char *error,
                    size_t error_size);

/* Make another environment of the same task that shares the model of `from`, which may be freed
   first. Returns 0, or -1 with nothing to free. */
int mujoco_env_clone(drl_env *env, const drl_env *from, char *error, size_t error_size);

/* Return the environment behind env->user. */
mujoco_env *mujoco_env_get(const drl_env *env);

/* Return the i-th task, NULL past the last. */
const mujoco_task *mujoco_env_task(int i);

/* Is the task one of the DeepMind Control Suite? */
int mujoco_env_is_dmc(const mujoco_task *task);

/* Start an episode at qpos [nq], qvel [nv], without noise. Returns 0, or -1 if MuJoCo failed. */
int mujoco_env_set_state(mujoco_env *e, const double *qpos, const double *qvel);

/* Do one step with action [nu]; fills e->obs, e->reward. flags gets DRL_ENV_TERMINATED, or
   DRL_ENV_TRUNCATED after a fault: then the observation is that before the step, the reward is 0
   and a reset must follow. The time limit is the caller's. Returns 0, or -1 if MuJoCo failed or a
   reset is due. */
int mujoco_env_step(mujoco_env *e, const double *action, int *flags);

#endif /* MUJOCO_ENV_H */

/* ============================================================================ implementation */
#if defined(MUJOCO_ENV_IMPLEMENTATION) && !defined(MUJOCO_ENV_IMPLEMENTATION_DONE)
#define MUJOCO_ENV_IMPLEMENTATION_DONE

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(_POSIX_C_SOURCE) && _POSIX_C_SOURCE >= 200112L
#include <unistd.h>
#define MUJOCO_ENV_READLINK
#endif
#if defined(_MSC_VER)
#define MUJOCO_ENV_THREAD __declspec(thread)
#else
#define MUJOCO_ENV_THREAD __thread
#endif

/* ---- errors: MuJoCo's hooks have no user pointer, so the jump target is per thread ---- */
typedef struct mujoco_trap {
    jmp_buf jump;
    uint64_t warnings;
    char text[256];
} mujoco_trap;

static MUJOCO_ENV_THREAD mujoco_trap *mujoco_trap_set; /* NULL outside guarded calls */

/* called by mju_error; must not return */
static void mujoco_on_error(const char *text)
{
    mujoco_trap *trap = mujoco_trap_set;
    if (!trap) {
        fprintf(stderr, "mujoco: %s\n", text);
        exit(EXIT_FAILURE);
    }
    snprintf(trap->text, sizeof trap->text, "%s", text);
    longjmp(trap->jump, 1);
}

/* called by mju_warning; divergence is noticed by mujoco_broken */
static void mujoco_on_warning(const char *text)
{
    (void)text;
    if (mujoco_trap_set) mujoco_trap_set->warnings++;
}

/* Run fn under the trap; return 0, or -1 with trap->text set if MuJoCo called mju_error. */
static int mujoco_guard(mujoco_trap *trap, void (*fn)(void *), void *arg)
{
    memset(trap->text, 0, sizeof trap->text);
    trap->warnings = 0;
    if (setjmp(trap->jump) != 0) {
        mujoco_trap_set = NULL;
        return -1;
    }
    mujoco_trap_set = trap;
    fn(arg);
    mujoco_trap_set = NULL;
    return 0;
}

/* ---- tasks: observation, measure, reward, health ---- */

/* qpos from task->obs_qpos on, qvel, contact forces on all bodies but the world */
static int mujoco_obs_locomotion(const mujoco_env *e, double *obs)
{
    const mujoco_task *t = e->model->task;
    const mjModel *m = e->model->m;
    int nq = (int)m->nq, nv = (int)m->nv, nf = t->contact ? 6 * ((int)m->nbody - 1) : 0, i;
    double clip = t->obs_qvel_clip;
    if (!obs) return nq - t->obs_qpos + nv + nf;
    for (i = t->obs_qpos; i < nq; i++) *obs++ = e->data->qpos[i];
    for (i = 0; i < nv; i++) {
        double v = e->data->qvel[i];
        *obs++ = clip > 0 ? mju_clip(v, -clip, clip) : v;
    }
    for (i = 0; i < nf; i++) *obs++ = mju_clip(e->data->cfrc_ext[6 + i], -1, 1);
    return nq - t->obs_qpos + nv + nf;
}

/* x of the root joint */
static void mujoco_measure_root(const mujoco_env *e, double *m) { m[0] = e->data->qpos[0]; }

/* x of the first body, as it was in the last forward pass (the integrator has moved on since) */
static void mujoco_measure_torso(const mujoco_env *e, double *m) { m[0] = e->data->xpos[3]; }

/* speed + alive bonus - control cost - contact cost */
static double mujoco_reward_locomotion(const mujoco_env *e, const double *action, int healthy)
{
    const mujoco_task *t = e->model->task;
    const mjModel *m = e->model->m;
    double dt = m->opt.timestep * t->frame_skip, ctrl = 0, contact = 0;
    int nu = (int)m->nu, nf = t->contact ? 6 * (int)m->nbody : 0, i;
    for (i = 0; i < nu; i++) ctrl += action[i] * action[i];
    for (i = 0; i < nf; i++) {
        double f = mju_clip(e->data->cfrc_ext[i], -1, 1);
        contact += f * f;
    }
    return (e->after[0] - e->before[0]) / dt + (healthy || t->alive_always ? t->alive : 0) -
           t->ctrl_cost * ctrl - t->contact_cost * contact;
}

static int mujoco_healthy_hopper(const mujoco_env *e)
{
    const double *q = e->data->qpos, *v = e->data->qvel;
    int nq = (int)e->model->m->nq, nv = (int)e->model->m->nv, i, ok = q[1] > .7 && fabs(q[2]) < .2;
    for (i = 2; i < nq; i++) ok = ok && fabs(q[i]) < 100;
    for (i = 0; i < nv; i++) ok = ok && fabs(v[i]) < 100;
    return ok;
}

static int mujoco_healthy_walker(const mujoco_env *e)
{
    const double *q = e->data->qpos;
    return q[1] > .8 && q[1] < 2 && fabs(q[2]) < 1;
}

static int mujoco_healthy_ant(const mujoco_env *e)
{
    return e->data->qpos[2] >= .2 && e->data->qpos[2] <= 1;
}

/* Gymnasium 1.x. Columns: name, model, obs, act, skip, limit | noise qpos, qvel, normal | observed
   from qpos, qvel clip, contact | costs of control, contact | alive, always | functions */
static const mujoco_task mujoco_tasks[] = {
    {"HalfCheetah-v5", "half_cheetah.xml", 17, 6, 5, 1000, .1, .1, 1, 1, 0, 0, .1, 0, 0, 0,
     mujoco_obs_locomotion, mujoco_measure_root, mujoco_reward_locomotion,
     NULL, NULL, NULL},
    {"HalfCheetah-v4", "half_cheetah.xml", 17, 6, 5, 1000, .1, .1, 1, 1, 0, 0, .1, 0, 0, 0,
     mujoco_obs_locomotion, mujoco_measure_root, mujoco_reward_locomotion,
     NULL, NULL, NULL},
    {"Hopper-v5", "hopper.xml", 11, 3, 4, 1000, .005, .005, 0, 1, 10, 0, .001, 0, 1, 0,
     mujoco_obs_locomotion, mujoco_measure_root, mujoco_reward_locomotion,
     mujoco_healthy_hopper, NULL, NULL},
    {"Hopper-v4", "hopper.xml", 11, 3, 4, 1000, .005, .005, 0, 1, 10, 0, .001, 0, 1, 1,
     mujoco_obs_locomotion, mujoco_measure_root, mujoco_reward_locomotion,
     mujoco_healthy_hopper, NULL, NULL},
    {"Walker2d-v5", "walker2d_v5.xml", 17, 6, 4, 1000, .005, .005, 0, 1, 10, 0, .001, 0, 1, 0,
     mujoco_obs_locomotion, mujoco_measure_root, mujoco_reward_locomotion,
     mujoco_healthy_walker, NULL, NULL},
    {"Walker2d-v4", "walker2d.xml", 17, 6, 4, 1000, .005, .005, 0, 1, 10, 0, .001, 0, 1, 1,
     mujoco_obs_locomotion, mujoco_measure_root, mujoco_reward_locomotion,
     mujoco_healthy_walker, NULL, NULL},
    {"Ant-v5", "ant.xml", 105, 8, 5, 1000, .1, .1, 1, 2, 0, 1, .5, 5e-4, 1, 0,
     mujoco_obs_locomotion, mujoco_measure_torso, mujoco_reward_locomotion,
     mujoco_healthy_ant, NULL, NULL},
    {"Ant-v4", "ant.xml", 27, 8, 5, 1000, .1, .1, 1, 2, 0, 0, .5, 0, 1, 1,
     mujoco_obs_locomotion, mujoco_measure_torso, mujoco_reward_locomotion,
     mujoco_healthy_ant, NULL, NULL},
};

/* ---- episodes ---- */
static void mujoco_run_forward(void *arg)
{
    mujoco_env *e = (mujoco_env *)arg;
    if (e->model->task->physics_fn) e->model->task->physics_fn(e, MUJOCO_STARTED);
    else mj_forward(e->model->m, e->data);
}

static void mujoco_run_step(void *arg)
{
    mujoco_env *e = (mujoco_env *)arg;
    const mujoco_task *t = e->model->task;
    int k;
    if (t->physics_fn) t->physics_fn(e, MUJOCO_STEP);
    else
        for (k = 0; k < t->frame_skip; k++) mj_step(e->model->m, e->data);
    /* fills cfrc_ext; changes no state */
    if (t->contact) mj_rnePostConstraint(e->model->m, e->data);
}

static void mujoco_run_loaded(void *arg)
{
    mujoco_env *e = (mujoco_env *)arg;
    e->model->task->physics_fn(e, MUJOCO_LOADED);
}

/* Run fn under the trap and note what MuJoCo said. */
static int mujoco_run(mujoco_env *e, void (*fn)(void *))
{
    mujoco_trap trap;
    int rc = mujoco_guard(&trap, fn, e);
    e->warnings += trap.warnings;
    if (rc) memcpy(e->error, trap.text, sizeof e->error);
    return rc;
}

/* MuJoCo goes on after these from the initial pose, or without the action: notice them, forget
   them, and return how many kinds there were. */
static int mujoco_broken(mujoco_env *e)
{
    static const int kinds[] = {mjWARN_BADQPOS, mjWARN_BADQVEL, mjWARN_BADQACC, mjWARN_BADCTRL};
    int i, n = 0;
    for (i = 0; i < 4; i++) {
        n += e->data->warning[kinds[i]].number != 0;
        e->data->warning[kinds[i]].number = 0;
    }
    return n;
}

/* Begin an episode in the state that mjData holds. */
static int mujoco_episode_start(mujoco_env *e)
{
    e->elapsed = 0;
    e->reward = 0;
    e->ready = mujoco_run(e, mujoco_run_forward) == 0 && !mujoco_broken(e);
    e->model->task->obs_fn(e, e->obs);
    e->model->task->measure_fn(e, e->after);
    return e->ready ? 0 : -1;
}

int mujoco_env_set_state(mujoco_env *e, const double *qpos, const double *qvel)
{
    const mjModel *m = e->model->m;
    int j;
    mj_resetData(m, e->data);
    memcpy(e->data->qpos, qpos, (size_t)m->nq * sizeof(double));
    memcpy(e->data->qvel, qvel, (size_t)m->nv * sizeof(double));
    /* MuJoCo before 3.2 does this in mj_forward, later ones in the first step */
    for (j = 0; j < (int)m->njnt; j++) {
        mjtNum *q = e->data->qpos + m->jnt_qposadr[j];
        if (m->jnt_type[j] == mjJNT_FREE) mju_normalize4(q + 3);
        if (m->jnt_type[j] == mjJNT_BALL) mju_normalize4(q);
    }
    return mujoco_episode_start(e);
}

int mujoco_env_step(mujoco_env *e, const double *action, int *flags)
{
    const mujoco_task *t = e->model->task;
    int healthy, fault, i;
    *flags = 0;
    if (!e->ready) {
        snprintf(e->error, sizeof e->error, "reset must come before step");
        return -1;
    }
    e->ready = 0;
    memcpy(e->before, e->after, sizeof e->before);
    memcpy(e->data->ctrl, action, (size_t)t->act_dim * sizeof(double));
    if (mujoco_run(e, mujoco_run_step)) return -1;
    fault = mujoco_broken(e);
    t->obs_fn(e, e->next);
    for (i = 0; i < t->obs_dim; i++) fault |= !(fabs(e->next[i]) < HUGE_VAL);
    e->elapsed++;
    if (fault) {
        e->faults++;
        e->reward = 0;
        *flags = DRL_ENV_TRUNCATED;
        return 0;
    }
    e->ready = 1;
    memcpy(e->obs, e->next, (size_t)t->obs_dim * sizeof(double));
    t->measure_fn(e, e->after);
    healthy = !t->healthy_fn || t->healthy_fn(e);
    e->reward = t->reward_fn(e, action, healthy);
    if (!healthy) *flags = DRL_ENV_TERMINATED;
    return 0;
}

static int mujoco_say(char *error, size_t n, const char *a, const char *b, const char *c)
{
    if (n) snprintf(error, n, "mujoco: %s%s%s", a, b, c);
    return -1;
}

#include "dmc.h"

const mujoco_task *mujoco_env_task(int i)
{
    int n = (int)(sizeof mujoco_tasks / sizeof mujoco_tasks[0]);
    if (i < 0) return NULL;
    return i < n ? &mujoco_tasks[i] : i - n < DMC_COUNT ? &dmc_tasks[i - n].task : NULL;
}

int mujoco_env_is_dmc(const mujoco_task *task) { return task && dmc_task_of(task); }

/* ---- drl_env ---- */
static void mujoco_obs_out(const mujoco_env *e, float *obs)
{
    int i;
    for (i = 0; i < e->model->task->obs_dim; i++) obs[i] = (float)e->obs[i];
}

static int mujoco_reset_fn(void *user, uint64_t seed, float *obs)
{
    mujoco_env *e = (mujoco_env *)user;
    const mujoco_task *t = e->model->task;
    const mjModel *m = e->model->m;
    drl_rng rng = drl_rng_make(seed, "reset");
    double *qpos = e->noise, *qvel = e->noise + m->nq;
    int i, rc;
    if (t->episode_fn) {
        rc = t->episode_fn(e, &rng);
        mujoco_obs_out(e, obs);
        return rc;
    }
    for (i = 0; i < (int)m->nq; i++) {
        double u = 2 * (double)drl_rng_uniform(&rng) - 1;
        qpos[i] = m->qpos0[i] + t->qpos_noise * u;
    }
    for (i = 0; i < (int)m->nv; i++) {
        double u = t->qvel_normal ? (double)drl_rng_normal(&rng)
                                  : 2 * (double)drl_rng_uniform(&rng) - 1;
        qvel[i] = t->qvel_noise * u;
    }
    rc = mujoco_env_set_state(e, qpos, qvel);
    mujoco_obs_out(e, obs);
    return rc;
}

static int mujoco_step_fn(void *user, const float *action, float *obs, float *reward, int *flags)
{
    mujoco_env *e = (mujoco_env *)user;
    int i, rc;
    for (i = 0; i < e->model->task->act_dim; i++) e->action[i] = (double)action[i];
    rc = mujoco_env_step(e, e->action, flags);
    mujoco_obs_out(e, obs);
    *reward = (float)e->reward;
    return rc;
}

/* ---- saved state: what mj_step reads, and what the next observation and reward need. Everything
   else in mjData is recomputed by the next step; mj_forward after loading would move the warm start
   of the solver and with it the last bits. ---- */
typedef struct mujoco_saved {
    char task[32];
    double time, reward, after[MUJOCO_MEASURES];
    uint64_t faults, warnings;
    int32_t elapsed, ready;
} mujoco_saved;

#define MUJOCO_PIECES 6

/* List the arrays to be saved; return their length in bytes. */
static size_t mujoco_pieces(const mujoco_env *e, double **piece, size_t *size)
{
    const mjModel *m = e->model->m;
    size_t total = 0;
    int i;
    piece[0] = e->data->qpos, size[0] = (size_t)m->nq;
    piece[1] = e->data->qvel, size[1] = (size_t)m->nv;
    piece[2] = e->data->act, size[2] = (size_t)m->na;
    piece[3] = e->data->ctrl, size[3] = (size_t)m->nu;
    piece[4] = e->data->qacc_warmstart, size[4] = (size_t)m->nv;
    piece[5] = e->obs, size[5] = (size_t)e->model->task->obs_dim;
    for (i = 0; i < MUJOCO_PIECES; i++) total += size[i] *= sizeof(double);
    return total;
}

static size_t mujoco_state_size_fn(const void *user)
{
    double *piece[MUJOCO_PIECES];
    size_t size[MUJOCO_PIECES];
    return sizeof(mujoco_saved) + mujoco_pieces((const mujoco_env *)user, piece, size);
}

static int mujoco_save_fn(const void *user, void *state, size_t n)
{
    const mujoco_env *e = (const mujoco_env *)user;
    unsigned char *to = (unsigned char *)state + sizeof(mujoco_saved);
    double *piece[MUJOCO_PIECES];
    size_t size[MUJOCO_PIECES];
    mujoco_saved s;
    int i;
    if (n != sizeof s + mujoco_pieces(e, piece, size)) return -1;
    memset(&s, 0, sizeof s);
    snprintf(s.task, sizeof s.task, "%s", e->model->task->name);
    s.time = e->data->time;
    s.reward = e->reward;
    memcpy(s.after, e->after, sizeof s.after);
    s.faults = e->faults;
    s.warnings = e->warnings;
    s.elapsed = e->elapsed;
    s.ready = e->ready;
    memcpy(state, &s, sizeof s);
    for (i = 0; i < MUJOCO_PIECES; to += size[i++])
        if (size[i]) memcpy(to, piece[i], size[i]);
    return 0;
}

static int mujoco_load_fn(void *user, const void *state, size_t n)
{
    mujoco_env *e = (mujoco_env *)user;
    const unsigned char *from = (const unsigned char *)state + sizeof(mujoco_saved);
    double *piece[MUJOCO_PIECES];
    size_t size[MUJOCO_PIECES];
    mujoco_saved s;
    int i;
    if (n != sizeof s + mujoco_pieces(e, piece, size)) return -1;
    memcpy(&s, state, sizeof s);
    s.task[sizeof s.task - 1] = 0;
    if (strcmp(s.task, e->model->task->name) != 0) return -1;
    mj_resetData(e->model->m, e->data);
    e->data->time = s.time;
    e->reward = s.reward;
    memcpy(e->after, s.after, sizeof s.after);
    e->faults = s.faults;
    e->warnings = s.warnings;
    e->elapsed = (int)s.elapsed;
    e->ready = (int)s.ready;
    for (i = 0; i < MUJOCO_PIECES; from += size[i++])
        if (size[i]) memcpy(piece[i], from, size[i]);
    return e->model->task->physics_fn ? mujoco_run(e, mujoco_run_loaded) : 0;
}

/* ---- init and free ---- */
static void mujoco_model_release(mujoco_model *model)
{
    if (!model || --model->users > 0) return;
    if (model->m) mj_deleteModel(model->m);
    free(model->bounds);
    free(model);
}

static void mujoco_free_fn(void *user)
{
    mujoco_env *e = (mujoco_env *)user;
    if (!e) return;
    if (e->data) mj_deleteData(e->data);
    free(e->obs);
    mujoco_model_release(e->model);
    free(e);
}

/* Make physics the same on every MuJoCo: from 3.5 on, the margins of two geoms are added, before,
   the larger one counted. All geoms of a model have the same margin. */
static void mujoco_model_mend(mjModel *m)
{
    int i;
    if (mj_version() < 350) return;
    for (i = 0; i < (int)m->ngeom; i++) m->geom_margin[i] *= .5;
}

/* Write the folder of the running program, with its last '/', or nothing where that is unknown. */
static void mujoco_program_dir(char *dir, size_t n)
{
    dir[0] = 0;
#ifdef MUJOCO_ENV_READLINK
    {
        ssize_t got = readlink("/proc/self/exe", dir, n - 1);
        while (got > 0 && dir[got - 1] != '/') got--;
        dir[got > 0 ? got : 0] = 0;
    }
#else
    (void)n;
#endif
}

/* Write the path of a model file to path. Returns 0, or -1 with the places tried in error. */
static int mujoco_model_find(const char *file, const char *model_dir, char *path, size_t n,
                             char *error, size_t error_size)
{
    static const char *const below[] = {"", "", "", "examples/mujoco/", "../examples/mujoco/",
                                        "../../examples/mujoco/"};
    const char *home = getenv("DIFFRL_MODELS");
    char program[512];
    int i;
    mujoco_program_dir(program, sizeof program);
    for (i = 0; i < 6; i++) {
        FILE *f;
        if (model_dir && i > 0) break;
        if (model_dir) snprintf(path, n, "%s/%s", model_dir, file);
        else if (i == 0 && !home) continue;
        else if (i == 0) snprintf(path, n, "%s/%s", home, file);
        else if (i == 1) snprintf(path, n, "examples/mujoco/models/%s", file);
        else snprintf(path, n, "%s%smodels/%s", program, below[i], file);
        f = fopen(path, "rb");
        if (f) {
            fclose(f);
            return 0;
        }
    }
    if (model_dir) return mujoco_say(error, error_size, "cannot read ", path, "");
    return mujoco_say(error, error_size, "cannot find ", file,
                      "; looked in $DIFFRL_MODELS, examples/mujoco/models and near the program: "
                      "run from the repository's top, or set DIFFRL_MODELS to the models' folder");
}

typedef struct mujoco_load {
    const char *path;
    mjVFS *vfs; /* NULL: the path is that of a file */
    char text[400];
    mjModel *m;
    mjData *d;
} mujoco_load;

static void mujoco_run_load(void *arg)
{
    mujoco_load *l = (mujoco_load *)arg;
    l->m = mj_loadXML(l->path, l->vfs, l->text, (int)sizeof l->text);
}

static void mujoco_run_data(void *arg)
{
    mujoco_load *l = (mujoco_load *)arg;
    l->d = mj_makeData(l->m);
}

static const mujoco_task *mujoco_task_find(const char *name, char *error, size_t error_size)
{
    char known[1600];
    size_t used = 0;
    int i;
    known[0] = 0;
    for (i = 0; mujoco_env_task(i); i++) {
        const char *text = mujoco_env_task(i)->name;
        if (!strcmp(text, name)) return mujoco_env_task(i);
        if (used + strlen(text) + 2 > sizeof known) continue;
        used += (size_t)snprintf(known + used, sizeof known - used, " %s", text);
    }
    if (error_size) snprintf(error, error_size, "mujoco: no task \"%s\"; known:%s", name, known);
    return NULL;
}

/* Compile the task's model. Returns NULL with the error text set. */
static mujoco_model *mujoco_model_load(const mujoco_task *task, const char *model_dir, char *error,
                                       size_t error_size)
{
    char path[1024];
    mujoco_trap trap;
    mujoco_load l;
    mujoco_model *model;
    const dmc_task *dmc = dmc_task_of(task);
    int i;
    if (dmc ? dmc_find(task->model, model_dir, path, sizeof path, error, error_size)
            : mujoco_model_find(task->model, model_dir, path, sizeof path, error, error_size))
        return NULL;
    memset(&l, 0, sizeof l);
    l.path = path;
    l.vfs = dmc ? dmc_vfs(dmc, path) : NULL;
    if (mujoco_guard(&trap, mujoco_run_load, &l)) l.m = NULL;
    dmc_vfs_free(l.vfs);
    if (!l.m) {
        mujoco_say(error, error_size, path, ": ", l.text[0] ? l.text : trap.text);
        return NULL;
    }
    model = (mujoco_model *)calloc(1, sizeof *model);
    if (model) model->bounds = (float *)calloc(2 * (size_t)l.m->nu + 1, sizeof(float));
    if (!model || !model->bounds) {
        mujoco_say(error, error_size, "out of memory", "", "");
        mj_deleteModel(l.m);
        free(model);
        return NULL;
    }
    mujoco_model_mend(l.m);
    model->task = task;
    model->m = l.m;
    for (i = 0; i < (int)l.m->nu; i++) {
        model->bounds[i] = (float)l.m->actuator_ctrlrange[2 * i];
        model->bounds[i + (int)l.m->nu] = (float)l.m->actuator_ctrlrange[2 * i + 1];
    }
    if (!dmc || dmc_model_init(model, error, error_size) == 0) return model;
    mujoco_model_release(model);
    return NULL;
}

/* Make an environment that holds `model`; on failure the model is released. */
static int mujoco_env_open(drl_env *env, mujoco_model *model, char *error, size_t error_size)
{
    const mujoco_task *t = model->task;
    mujoco_env *e = (mujoco_env *)calloc(1, sizeof *e);
    mujoco_trap trap;
    mujoco_load l;
    size_t nq = (size_t)model->m->nq, nv = (size_t)model->m->nv, obs = (size_t)t->obs_dim;
    memset(&l, 0, sizeof l);
    l.m = model->m;
    model->users++;
    if (!e) {
        mujoco_model_release(model);
        return mujoco_say(error, error_size, "out of memory", "", "");
    }
    e->model = model;
    if ((int)model->m->nu != t->act_dim || t->obs_fn(e, NULL) != t->obs_dim) {
        mujoco_free_fn(e);
        return mujoco_say(error, error_size, t->model, " is not the model of ", t->name);
    }
    if (mujoco_guard(&trap, mujoco_run_data, &l)) l.d = NULL;
    e->data = l.d;
    e->obs = (double *)calloc(2 * obs + nq + nv + (size_t)t->act_dim, sizeof(double));
    if (!e->data || !e->obs) {
        mujoco_free_fn(e);
        return mujoco_say(error, error_size, "no memory for ", t->name, "");
    }
    e->next = e->obs + obs;
    e->noise = e->next + obs;
    e->action = e->noise + nq + nv;
    env->name = t->name;
    env->obs_dim = t->obs_dim;
    env->act_dim = t->act_dim;
    env->act_low = model->bounds;
    env->act_high = model->bounds + t->act_dim;
    env->time_limit = t->time_limit;
    env->user = e;
    env->reset_fn = mujoco_reset_fn;
    env->step_fn = mujoco_step_fn;
    env->state_size_fn = mujoco_state_size_fn;
    env->save_fn = mujoco_save_fn;
    env->load_fn = mujoco_load_fn;
    env->free_fn = mujoco_free_fn;
    return 0;
}

int mujoco_env_init(drl_env *env, const char *task, const char *model_dir, char *error,
                    size_t error_size)
{
    const mujoco_task *t;
    mujoco_model *model;
    memset(env, 0, sizeof *env);
    if (error_size) error[0] = 0;
    if (mj_version() != mjVERSION_HEADER)
        return mujoco_say(error, error_size, "the library and mujoco.h are of different versions",
                          "", "");
    mju_user_error = mujoco_on_error;
    mju_user_warning = mujoco_on_warning;
    t = mujoco_task_find(task, error, error_size);
    if (!t) return -1;
    model = mujoco_model_load(t, model_dir, error, error_size);
    return model ? mujoco_env_open(env, model, error, error_size) : -1;
}

int mujoco_env_clone(drl_env *env, const drl_env *from, char *error, size_t error_size)
{
    mujoco_model *model = mujoco_env_get(from)->model;
    memset(env, 0, sizeof *env);
    if (error_size) error[0] = 0;
    return mujoco_env_open(env, model, error, error_size);
}

mujoco_env *mujoco_env_get(const drl_env *env)
{
    return (mujoco_env *)env->user;
}

#endif /* MUJOCO_ENV_IMPLEMENTATION */
