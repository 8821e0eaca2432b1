/* MuJoCo tasks as environments for diffrl.h.

     #define MUJOCO_ENV_IMPLEMENTATION      in one file
     #include "mujoco_env.h"

     drl_env env;
     char error[512];
     if (mujoco_env_init(&env, "HalfCheetah-v5", NULL, error, sizeof error) != 0) puts(error);
     env.reset_fn(env.user, seed, obs);
     env.step_fn(env.user, action, obs, &reward, &flags);
     env.free_fn(env.user);

   Build     -lmujoco -lm; MuJoCo 2.2.2 (Debian 12: libmujoco-dev) or later
   Tasks     gymnasium.h, dmc.h (DeepMind Control); "mjcf:FILE.xml" is a model of one's own with a
             reward for going forward
   Exact     same physics, observations and rewards as Gymnasium's own classes: tests/env/mujoco.c
             replays recorded trajectories; what differs between versions of MuJoCo is mended after
             loading, see mujoco_model_mend
   Faults    MuJoCo's error and warning hooks are replaced for the whole process: no task waits for
             Enter, exits, or writes MUJOCO_LOG.TXT
   Threads   init, clone and free from one thread at a time; environments step in parallel, each in
             one thread at a time, also when they share a model
   New task  a row and a few small functions in gymnasium.h, or a mujoco_task of the program's own
             for mujoco_env_make (examples/08_own_mjcf.c)
   Family    a header with a function `const mujoco_task *NAME_task(int i)`, NULL past the last;
             included and called below, before mujoco_env_task */
#ifndef MUJOCO_ENV_H
#define MUJOCO_ENV_H

#ifndef DIFFRL_H
#include "../../diffrl.h"
#endif
#include <mujoco/mujoco.h>

#define MUJOCO_MEASURES 4
#define MUJOCO_IDS 32

struct mujoco_env;
struct mujoco_model;
struct mujoco_task;

/* What the caller wants. All zero: the defaults. */
typedef struct mujoco_options {
    const char *model_dir;  /* folder of XML files; NULL: $DIFFRL_MODELS, examples/mujoco/models,
                               and the same beside and above the running program                 */
    const char *dmc_dir;    /* the same for DeepMind Control; NULL: see dmc.h                    */
    const char *xml;        /* text of the model, in place of a file                             */
    const char *reward;     /* of "mjcf:FILE.xml"; NULL: forward                                 */
    const char *const *set; /* [set_count] "key=value": constants of the task, see mujoco_key    */
    int set_count;
    int native;             /* 1: physics as this MuJoCo has them, not as the papers had them    */
} mujoco_options;

/* A constant of the rules that may be set. Two values are written low,high. */
typedef struct mujoco_key {
    const char *name;    /* Gymnasium's keyword; NULL ends a list */
    drl_field_type type; /* INT, DOUBLE or BOOL                   */
    int count;           /* 1 or 2 values                         */
    size_t offset;       /* in mujoco_task                        */
} mujoco_key;

/* Occasions for a task's own physics: after a reset, for a step, after a state was loaded. */
typedef enum mujoco_phase { MUJOCO_STARTED, MUJOCO_STEP, MUJOCO_LOADED } mujoco_phase;

/* How a kind of task works. Only reward_fn must be there. */
typedef struct mujoco_kind {
    const mujoco_key *keys; /* or NULL */
    /* make the model; NULL: from options->xml or the file task->model */
    mjModel *(*load_fn)(const struct mujoco_task *t, const mujoco_options *options, char *error,
                        size_t error_size);
    /* look up what the functions need: fill model->id, model->fact; may change model->m, task.
       Returns 0, or -1 with the error set. NULL: nothing */
    int (*bind_fn)(struct mujoco_model *model, char *error, size_t error_size);
    /* start an episode and return 0, or -1 if MuJoCo failed; NULL: with rules.noise */
    int (*episode_fn)(struct mujoco_env *e, drl_rng *rng);
    /* NULL: mj_forward after a reset, frame_skip mj_step (and mj_rnePostConstraint if rules.forces)
       for a step, nothing after loading */
    void (*physics_fn)(struct mujoco_env *e, mujoco_phase phase);
    /* write the observation to obs if that is not NULL (else there is no mjData); return its
       length. NULL: qpos without the first rules.hidden, qvel */
    int (*obs_fn)(const struct mujoco_env *e, double *obs);
    /* write to m what the reward compares before and after a step; NULL: nothing */
    void (*measure_fn)(const struct mujoco_env *e, double *m);
    /* return the reward of the step from e->before to e->after */
    double (*reward_fn)(const struct mujoco_env *e, const double *action, int healthy);
    /* return 0 where the robot has fallen; NULL: never */
    int (*healthy_fn)(const struct mujoco_env *e);
} mujoco_kind;

/* Constants of a task in its own units; which of them count depends on the kind. */
typedef struct mujoco_rules {
    double forward, ctrl_cost, contact_cost; /* weights in the reward                            */
    double healthy;    /* bonus per step                                                         */
    double noise;      /* reset: qpos0 + uniform in +-noise, qvel uniform in +-noise, or ...     */
    int normal;        /* ... qvel noise times a standard normal number                          */
    int hidden;        /* first numbers of qpos that are not observed: the place in the world    */
    double clip;       /* observed qvel is cut to +-clip; 0: not                                 */
    int forces;        /* contact forces are computed, observed, and cost                        */
    double z[2], angle[2], state[2]; /* where the robot is healthy                               */
    double contact[2]; /* Ant: range of forces; Humanoid: of their cost                          */
    int terminate;     /* end the episode when not healthy                                       */
    int exclude;       /* do not observe the hidden ones                                         */
    int include[4];    /* observe contact forces; Humanoid: inertias, velocities, joint torques  */
} mujoco_rules;

/* One task. */
typedef struct mujoco_task {
    const char *name, *model; /* model: file in models/; in mujoco_env_make: its path            */
    mujoco_kind kind;
    int version;              /* of the rules: Gymnasium's v5, v4, v3                            */
    int obs_dim, act_dim;     /* what the model must give; 0: any                                */
    int frame_skip;           /* mj_step per action                                              */
    int time_limit;           /* actions                                                         */
    mujoco_rules rules;
} mujoco_task;

/* A compiled model and what its environments share. Read-only after loading: to change an option
   for one call, make a copy of *m itself and change that. */
typedef struct mujoco_model {
    mujoco_task task;       /* with the constants that were set */
    const mujoco_task *row; /* as it was given                  */
    char name[256];         /* task.name                        */
    mjModel *m;
    float *bounds;          /* [2, nu] lowest, highest action   */
    int id[MUJOCO_IDS];     /* what the task looks up once, and ... */
    double fact[4];         /* ... measures once                */
    int native;
    int users;
} mujoco_model;

/* One environment. Fields may be read; obs is the last observation in double precision. */
typedef struct mujoco_env {
    mujoco_model *model;
    mjData *data;
    double *obs, *next, *noise, *action;
    double *raw; /* qpos before physics_fn ended by kinematics, which normalize quaternions in place */
    double before[MUJOCO_MEASURES], after[MUJOCO_MEASURES]; /* of the last step                  */
    double reward;
    int healthy;       /* after the last step                                                    */
    int elapsed;       /* steps since reset                                                      */
    int ready;         /* 0 before the first reset and after a fault: step refuses               */
    uint64_t faults;   /* episodes broken by the simulator: it diverged, or a bad action         */
    uint64_t warnings; /* messages of MuJoCo, not printed                                        */
    char error[256];   /* why the last step or reset failed; empty after a step that did not     */
} mujoco_env;

/* Make an environment.
     env        out  to be freed with env->free_fn(env->user)
     task       in   "HalfCheetah-v5" ..., "mjcf:FILE.xml"; the error names the nearest
     options    in   NULL: defaults
     error      out  [error_size] one line, empty on success. May be NULL if error_size is 0.
   Returns 0, or -1 with nothing to free. */
int mujoco_env_init(drl_env *env, const char *task, const mujoco_options *options, char *error,
                    size_t error_size);

/* Make an environment of a task that is not in the list, with MuJoCo's own physics. The task must
   outlive it. */
int mujoco_env_make(drl_env *env, const mujoco_task *task, const mujoco_options *options,
                    char *error, size_t error_size);

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

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stddef.h>
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

/* Write the error text; return -1. */
static int mujoco_say(char *error, size_t n, const char *a, const char *b, const char *c)
{
    if (n) snprintf(error, n, "mujoco: %s%s%s", a, b, c);
    return -1;
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

/* ---- episodes ---- */
static void mujoco_run_reset(void *arg)
{
    mujoco_env *e = (mujoco_env *)arg;
    mj_resetData(e->model->m, e->data);
}

static void mujoco_run_loaded(void *arg)
{
    mujoco_env *e = (mujoco_env *)arg;
    e->model->task.kind.physics_fn(e, MUJOCO_LOADED);
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

/* qpos without the first rules.hidden, and qvel */
static int mujoco_obs_state(const mujoco_env *e, double *obs)
{
    int hidden = e->model->task.rules.hidden, nv = (int)e->model->m->nv;
    int n = (int)e->model->m->nq - hidden;
    if (obs) {
        memcpy(obs, e->data->qpos + hidden, (size_t)n * sizeof *obs);
        memcpy(obs + n, e->data->qvel, (size_t)nv * sizeof *obs);
    }
    return n + nv;
}

static int mujoco_observe(const mujoco_env *e, double *obs)
{
    const mujoco_kind *kind = &e->model->task.kind;
    return kind->obs_fn ? kind->obs_fn(e, obs) : mujoco_obs_state(e, obs);
}

/* Can all be written as float? */
static int mujoco_finite(const double *x, int n)
{
    int i, ok = 1;
    for (i = 0; i < n; i++) ok &= fabs(x[i]) <= (double)FLT_MAX;
    return ok;
}

/* What follows physics, and under the same trap: the functions may be the user's. */
static void mujoco_see(mujoco_env *e)
{
    mujoco_observe(e, e->next);
    if (e->model->task.kind.measure_fn) e->model->task.kind.measure_fn(e, e->after);
}

static void mujoco_run_forward(void *arg)
{
    mujoco_env *e = (mujoco_env *)arg;
    if (e->model->task.kind.physics_fn) e->model->task.kind.physics_fn(e, MUJOCO_STARTED);
    else mj_forward(e->model->m, e->data);
    mujoco_see(e);
}

static void mujoco_run_step(void *arg)
{
    mujoco_env *e = (mujoco_env *)arg;
    const mujoco_task *t = &e->model->task;
    int k;
    if (t->kind.physics_fn) t->kind.physics_fn(e, MUJOCO_STEP);
    else
        for (k = 0; k < t->frame_skip; k++) mj_step(e->model->m, e->data);
    if (t->rules.forces) mj_rnePostConstraint(e->model->m, e->data); /* cfrc_ext; no state */
    mujoco_see(e);
    e->healthy = !t->kind.healthy_fn || t->kind.healthy_fn(e);
    e->reward = t->kind.reward_fn(e, e->action, e->healthy);
}

/* Begin an episode in the state that mjData holds. */
static int mujoco_episode_start(mujoco_env *e)
{
    const mujoco_task *t = &e->model->task;
    e->elapsed = 0;
    e->reward = 0;
    e->ready = 0;
    if (mujoco_run(e, mujoco_run_forward)) return -1;
    if (mujoco_broken(e) || !mujoco_finite(e->next, t->obs_dim)) {
        snprintf(e->error, sizeof e->error, "the initial state has no finite acceleration");
        return -1;
    }
    e->ready = 1;
    memcpy(e->obs, e->next, (size_t)t->obs_dim * sizeof(double));
    return 0;
}

int mujoco_env_set_state(mujoco_env *e, const double *qpos, const double *qvel)
{
    const mjModel *m = e->model->m;
    int j;
    e->ready = 0;
    if (mujoco_run(e, mujoco_run_reset)) return -1;
    memcpy(e->data->qpos, qpos, (size_t)m->nq * sizeof(double));
    memcpy(e->data->qvel, qvel, (size_t)m->nv * sizeof(double));
    /* MuJoCo before 3.2 does this in mj_forward, later ones in the first step */
    for (j = 0; j < (int)m->njnt && !e->model->native; j++) {
        mjtNum *q = e->data->qpos + m->jnt_qposadr[j];
        if (m->jnt_type[j] == mjJNT_FREE) mju_normalize4(q + 3);
        if (m->jnt_type[j] == mjJNT_BALL) mju_normalize4(q);
    }
    return mujoco_episode_start(e);
}

/* Return e->noise, room for qpos [nq] and qvel [nv], set to the initial pose at rest. */
static double *mujoco_pose(mujoco_env *e)
{
    const mjModel *m = e->model->m;
    memcpy(e->noise, m->qpos0, (size_t)m->nq * sizeof(double));
    memset(e->noise + m->nq, 0, (size_t)m->nv * sizeof(double));
    return e->noise;
}

/* Start an episode at the pose in e->noise. */
static int mujoco_pose_start(mujoco_env *e)
{
    return mujoco_env_set_state(e, e->noise, e->noise + e->model->m->nq);
}

/* qpos0 + noise, noise: all of qpos, then all of qvel */
static int mujoco_episode_noise(mujoco_env *e, drl_rng *rng)
{
    const mujoco_rules *r = &e->model->task.rules;
    double *q = mujoco_pose(e), *v = q + e->model->m->nq;
    int i;
    for (i = 0; i < (int)e->model->m->nq; i++)
        q[i] += r->noise * (2 * (double)drl_rng_uniform(rng) - 1);
    for (i = 0; i < (int)e->model->m->nv; i++) {
        double u = r->normal ? (double)drl_rng_normal(rng) : 2 * (double)drl_rng_uniform(rng) - 1;
        v[i] = r->noise * u;
    }
    return mujoco_pose_start(e);
}

int mujoco_env_step(mujoco_env *e, const double *action, int *flags)
{
    const mujoco_task *t = &e->model->task;
    *flags = 0;
    if (!e->ready) {
        snprintf(e->error, sizeof e->error, "reset must come before step");
        return -1;
    }
    e->ready = 0;
    memcpy(e->before, e->after, sizeof e->before);
    memmove(e->action, action, (size_t)t->act_dim * sizeof(double));
    memcpy(e->data->ctrl, e->action, (size_t)t->act_dim * sizeof(double));
    if (mujoco_run(e, mujoco_run_step)) {
        e->reward = 0;
        return -1;
    }
    e->elapsed++;
    if (mujoco_broken(e) || !mujoco_finite(e->next, t->obs_dim) || !mujoco_finite(&e->reward, 1)) {
        e->faults++;
        e->reward = 0;
        *flags = DRL_ENV_TRUNCATED;
        return 0;
    }
    e->ready = 1;
    e->error[0] = 0;
    memcpy(e->obs, e->next, (size_t)t->obs_dim * sizeof(double));
    if (!e->healthy && t->rules.terminate) *flags = DRL_ENV_TERMINATED;
    return 0;
}

/* ---- drl_env ---- */
static void mujoco_obs_out(const mujoco_env *e, float *obs)
{
    int i;
    for (i = 0; i < e->model->task.obs_dim; i++) obs[i] = (float)e->obs[i];
}

static int mujoco_reset_fn(void *user, uint64_t seed, float *obs)
{
    mujoco_env *e = (mujoco_env *)user;
    const mujoco_kind *kind = &e->model->task.kind;
    drl_rng rng = drl_rng_make(seed, "reset");
    int rc = (kind->episode_fn ? kind->episode_fn : mujoco_episode_noise)(e, &rng);
    mujoco_obs_out(e, obs);
    return rc;
}

static int mujoco_step_fn(void *user, const float *action, float *obs, float *reward, int *flags)
{
    mujoco_env *e = (mujoco_env *)user;
    int i, rc;
    for (i = 0; i < e->model->task.act_dim; i++) e->action[i] = (double)action[i];
    rc = mujoco_env_step(e, e->action, flags);
    mujoco_obs_out(e, obs);
    *reward = (float)e->reward;
    return rc;
}

/* ---- saved state: what mj_step reads, and what the next observation and reward need. Everything
   else in mjData is recomputed by the next step; mj_forward after loading would move the warm start
   of the solver and with it the last bits. ---- */
typedef struct mujoco_saved {
    char task[64];
    double time, reward, after[MUJOCO_MEASURES];
    uint64_t faults, warnings;
    int32_t elapsed, ready;
} mujoco_saved;

#define MUJOCO_PIECES 10

/* List the arrays to be saved; return their length in bytes. */
static size_t mujoco_pieces(const mujoco_env *e, double **piece, size_t *size)
{
    const mjModel *m = e->model->m;
    size_t total = 0;
    int i;
    piece[0] = e->model->task.kind.physics_fn ? e->raw : e->data->qpos, size[0] = (size_t)m->nq;
    piece[1] = e->data->qvel, size[1] = (size_t)m->nv;
    piece[2] = e->data->act, size[2] = (size_t)m->na;
    piece[3] = e->data->ctrl, size[3] = (size_t)m->nu;
    piece[4] = e->data->qacc_warmstart, size[4] = (size_t)m->nv;
    piece[5] = e->obs, size[5] = (size_t)e->model->task.obs_dim;
    piece[6] = e->data->mocap_pos, size[6] = 3 * (size_t)m->nmocap;
    piece[7] = e->data->mocap_quat, size[7] = 4 * (size_t)m->nmocap;
    piece[8] = e->data->userdata, size[8] = (size_t)m->nuserdata;
    piece[9] = NULL, size[9] = 0;
#if mjVERSION_HEADER >= 3005000
    piece[9] = e->data->history, size[9] = (size_t)m->nhistory; /* of delayed actuators */
#endif
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
    snprintf(s.task, sizeof s.task, "%.63s", e->model->name);
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
    if (strncmp(s.task, e->model->name, sizeof s.task - 1) != 0) return -1;
    e->ready = 0;
    if (mujoco_run(e, mujoco_run_reset)) return -1;
    e->data->time = s.time;
    e->reward = s.reward;
    memcpy(e->after, s.after, sizeof s.after);
    e->faults = s.faults;
    e->warnings = s.warnings;
    e->elapsed = (int)s.elapsed;
    for (i = 0; i < MUJOCO_PIECES; from += size[i++])
        if (size[i]) memcpy(piece[i], from, size[i]);
    if (e->model->task.kind.physics_fn) { /* kinematics again, from the same place */
        memcpy(e->data->qpos, e->raw, size[0]);
        if (mujoco_run(e, mujoco_run_loaded)) return -1;
    }
    e->ready = (int)s.ready;
    return 0;
}

/* ---- constants of the rules by name ---- */
/* Set one value of the key from text [length]. Returns 0, or -1 if it is none. */
static int mujoco_set_value(const mujoco_key *key, int i, void *task, const char *text, int length)
{
    size_t size = key->type == DRL_FIELD_DOUBLE ? sizeof(double) : sizeof(int);
    char copy[DRL_FIELD_TEXT];
    drl_field field;
    drl_context ctx;
    memset(&field, 0, sizeof field);
    memset(&ctx, 0, sizeof ctx); /* receives a message that nobody reads */
    memcpy(field.name, "value", 6);
    field.type = key->type;
    field.offset = key->offset + (size_t)i * size;
    if (key->type == DRL_FIELD_INT) field.low = 1, field.high = 1e6;
    if (length >= (int)sizeof copy) return -1;
    snprintf(copy, sizeof copy, "%.*s", length, text);
    if (key->type == DRL_FIELD_DOUBLE && key->count == 1 && strstr(copy, "inf")) return -1;
    return drl_fields_set(&ctx, &field, 1, task, "value", copy) == DRL_OK ? 0 : -1;
}

/* Say that there is no such constant, and which there are. Returns -1. */
static int mujoco_task_lacks(const mujoco_task *task, const char *name, const char *const *names,
                             int n, char *error, size_t error_size)
{
    const char *nearest = drl_text_nearest(name, names, n);
    size_t used;
    int i;
    mujoco_say(error, error_size, task->name, " has no constant ", name);
    for (i = 0; i < n; i++) {
        used = error_size ? strlen(error) : 0;
        if (nearest && error_size)
            return snprintf(error + used, error_size - used, "; did you mean %s?", nearest), -1;
        if (error_size)
            snprintf(error + used, error_size - used, "%s%s", i ? ", " : "; it has ", names[i]);
    }
    return -1;
}

/* Apply "key=value" to the task. */
static int mujoco_task_set(mujoco_task *task, const char *text, char *error, size_t error_size)
{
    static const char *const expected[] = {"a number", "two numbers low,high"};
    const mujoco_key *keys = task->kind.keys, *key = NULL;
    const char *equals = strchr(text, '='), *comma, *names[64] = {NULL};
    double range[2] = {0, 0};
    char name[80];
    int i, n = 0, rc;
    if (!equals) return mujoco_say(error, error_size, text, ": expected key=value", "");
    snprintf(name, sizeof name, "%.*s", (int)(equals - text < 79 ? equals - text : 79), text);
    for (i = 0; keys && keys[i].name && n < 64; i++) {
        names[n++] = keys[i].name;
        if (!strcmp(name, keys[i].name)) key = &keys[i];
    }
    if (!key) return mujoco_task_lacks(task, name, names, n, error, error_size);
    equals++;
    comma = strchr(equals, ',');
    if ((key->count == 2) != (comma != NULL)) rc = -1;
    else if (!comma) rc = mujoco_set_value(key, 0, task, equals, (int)strlen(equals));
    else
        rc = mujoco_set_value(key, 0, task, equals, (int)(comma - equals)) ||
             mujoco_set_value(key, 1, task, comma + 1, (int)strlen(comma + 1));
    if (key->count == 2) memcpy(range, (const char *)task + key->offset, sizeof range);
    if (rc || range[0] > range[1])
        return mujoco_say(error, error_size, text, ": expected ",
                          key->type == DRL_FIELD_BOOL  ? "true or false"
                          : key->type == DRL_FIELD_INT ? "a whole number from 1 to 1000000"
                                                       : expected[key->count - 1]);
    return 0;
}

/* ---- models ---- */
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

/* Make physics the same on every MuJoCo, that is, as 2.x has them. */
static void mujoco_model_mend(mjModel *m)
{
    int b, i, j;
    /* from 3.5 on, the margins of two geoms are added, before, the larger one counted; all geoms
       of a model have the same margin */
    for (i = 0; i < (int)m->ngeom && mj_version() >= 350; i++) m->geom_margin[i] *= .5;
    /* from 3.0 on, armature is left out of these for bodies that only slide */
    for (b = 1; b < (int)m->nbody && mj_version() >= 300; b++) {
        double sum = 0;
        int first = m->body_jntadr[b], slides = 0;
        if (m->body_simple[b] != 2) continue;
        for (j = first; j < first + m->body_jntnum[b]; j++) {
            int v = m->jnt_dofadr[j];
            if (m->jnt_type[j] != mjJNT_SLIDE) continue;
            m->dof_invweight0[v] = 1 / (m->body_mass[b] + m->dof_armature[v]);
            sum += m->dof_invweight0[v];
            slides++;
        }
        if (slides) m->body_invweight0[2 * b] = sum / 3;
    }
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
    const mjVFS *vfs;
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

static void mujoco_run_check(void *arg)
{
    mujoco_load *l = (mujoco_load *)arg;
    mj_forward(l->m, l->d);
}

/* Compile the XML text `xml`, or if that is NULL the file. Relative names of files in the text are
   looked up beside `path`, whether that exists or not. Returns NULL with the error text set. */
static mjModel *mujoco_model_compile(const char *path, const char *xml, char *error,
                                     size_t error_size)
{
    mujoco_trap trap;
    mujoco_load l;
    mjVFS *vfs = NULL;
    char *at;
    memset(&l, 0, sizeof l);
    l.path = path;
    trap.text[0] = 0;
    if (xml) {
        int bad, n = (int)strlen(xml);
        vfs = (mjVFS *)malloc(sizeof *vfs); /* 2 MB in MuJoCo 2 */
        if (!vfs) return mujoco_say(error, error_size, "out of memory", "", ""), NULL;
        mj_defaultVFS(vfs);
#if mjVERSION_HEADER >= 313
        bad = mj_addBufferVFS(vfs, path, xml, n);
#else
        bad = mj_makeEmptyFileVFS(vfs, path, n + 1);
        if (!bad) memcpy(vfs->filedata[mj_findFileVFS(vfs, path)], xml, (size_t)n + 1);
#endif
        l.vfs = vfs;
        if (bad) snprintf(l.text, sizeof l.text, "the text does not fit into MuJoCo's file system");
        else if (mujoco_guard(&trap, mujoco_run_load, &l)) l.m = NULL;
        mj_deleteVFS(vfs);
        free(vfs);
    } else if (mujoco_guard(&trap, mujoco_run_load, &l)) {
        l.m = NULL;
    }
    if (!l.m) mujoco_say(error, error_size, path, ": ", l.text[0] ? l.text : trap.text);
    for (at = error; !l.m && error_size && *at; at++)
        if (*at == '\n') *at = ' ';
    return l.m;
}

/* Refuse a model with numbers that are none, or without a finite acceleration in its initial
   pose. */
static int mujoco_model_check(mjModel *m, const char *path, char *error, size_t error_size)
{
    const struct { const char *name; const mjtNum *x; int n; } arrays[] = {
        {"timestep", &m->opt.timestep, 1}, {"gravity", m->opt.gravity, 3},
        {"qpos0", m->qpos0, (int)m->nq}, {"body_pos", m->body_pos, 3 * (int)m->nbody},
        {"body_mass", m->body_mass, (int)m->nbody},
        {"body_inertia", m->body_inertia, 3 * (int)m->nbody},
        {"dof_armature", m->dof_armature, (int)m->nv}, {"dof_damping", m->dof_damping, (int)m->nv},
        {"jnt_stiffness", m->jnt_stiffness, (int)m->njnt},
        {"geom_pos", m->geom_pos, 3 * (int)m->ngeom},
        {"geom_size", m->geom_size, 3 * (int)m->ngeom},
        {"geom_friction", m->geom_friction, 3 * (int)m->ngeom},
        {"actuator_gear", m->actuator_gear, 6 * (int)m->nu},
        {"actuator_ctrlrange", m->actuator_ctrlrange, 2 * (int)m->nu}};
    mujoco_trap trap;
    mujoco_load l;
    int i, ok;
    for (i = 0; i < (int)(sizeof arrays / sizeof arrays[0]); i++)
        if (!mujoco_finite(arrays[i].x, arrays[i].n))
            return mujoco_say(error, error_size, path, ": not a finite number in ", arrays[i].name);
    if (!(m->opt.timestep > 0))
        return mujoco_say(error, error_size, path, ": the timestep must be positive", "");
    memset(&l, 0, sizeof l);
    l.m = m;
    if (mujoco_guard(&trap, mujoco_run_data, &l) || !l.d)
        return mujoco_say(error, error_size, path, ": no memory for its data", "");
    ok = mujoco_guard(&trap, mujoco_run_check, &l) == 0 && mujoco_finite(l.d->qacc, (int)m->nv);
    mj_deleteData(l.d);
    if (ok) return 0;
    return mujoco_say(error, error_size, path, ": no finite acceleration in the initial pose ",
                      trap.text);
}

/* Compile the text in the options, or the file: one of ours if the task is listed, else a path. */
static mjModel *mujoco_model_xml(const char *file, const mujoco_options *o, int listed, char *error,
                                 size_t error_size)
{
    char path[1024];
    if (o->xml) return mujoco_model_compile("text.xml", o->xml, error, error_size);
    if (!listed) {
        FILE *f = fopen(file, "rb");
        if (!f)
            return mujoco_say(error, error_size, "cannot read ", file,
                              "; relative names count from the folder where the program runs"),
                   NULL;
        fclose(f);
        return mujoco_model_compile(file, NULL, error, error_size);
    }
    if (mujoco_model_find(file, o->model_dir, path, sizeof path, error, error_size)) return NULL;
    return mujoco_model_compile(path, NULL, error, error_size);
}

/* The number of observations by the present rules. */
static int mujoco_model_observes(mujoco_model *model)
{
    mujoco_env e;
    memset(&e, 0, sizeof e);
    e.model = model;
    return mujoco_observe(&e, NULL);
}

/* Refuse a task that lacks what it cannot do without. */
static int mujoco_task_check(const mujoco_task *t, const mujoco_options *o, char *error,
                             size_t error_size)
{
    const char *lacks = NULL;
    if (!t->model && !o->xml && !t->kind.load_fn) lacks = "model (or options.xml)";
    if (t->frame_skip < 1) lacks = "frame_skip of 1 or more";
    if (!t->kind.reward_fn) lacks = "kind.reward_fn";
    if (!t->name) lacks = "name";
    if (!lacks) return 0;
    return mujoco_say(error, error_size, t->name ? t->name : "the task", ": wants a ", lacks);
}

/* Look whether the loaded model is the task's, then set constants. */
static int mujoco_model_bind(mujoco_model *model, const mujoco_options *o, int listed, char *error,
                             size_t error_size)
{
    mujoco_task *t = &model->task;
    const char *file = t->model ? t->model : "the model";
    int i, nu = (int)model->m->nu;
    if (mujoco_model_check(model->m, file, error, error_size)) return -1;
    if (t->kind.bind_fn && t->kind.bind_fn(model, error, error_size)) return -1;
    if ((t->act_dim && t->act_dim != nu) ||
        (t->obs_dim && t->obs_dim != mujoco_model_observes(model)))
        return mujoco_say(error, error_size, file, " is not the model of ", t->name);
    if (t->rules.hidden < 0 || t->rules.hidden > (int)model->m->nq)
        return mujoco_say(error, error_size, t->name, ": rules.hidden is more than qpos has", "");
    for (i = 0; i < o->set_count; i++)
        if (mujoco_task_set(t, o->set[i], error, error_size)) return -1;
    t->act_dim = nu;
    t->obs_dim = mujoco_model_observes(model);
    if (nu < 1 || t->obs_dim < 1)
        return mujoco_say(error, error_size, file, " has no actuators, or nothing that moves", "");
    if (listed && !o->native) mujoco_model_mend(model->m);
    for (i = 0; i < nu; i++) {
        const mjtNum *range = model->m->actuator_ctrlrange + 2 * i;
        int limited = model->m->actuator_ctrllimited[i];
        model->bounds[i] = limited ? (float)range[0] : -1;
        model->bounds[i + nu] = limited ? (float)range[1] : 1;
    }
    return 0;
}

/* Compile the task's model and apply the options. Returns NULL with the error text set. */
static mujoco_model *mujoco_model_load(const mujoco_task *task, const mujoco_options *o, int listed,
                                       char *error, size_t error_size)
{
    mujoco_model *model = (mujoco_model *)calloc(1, sizeof *model);
    mjModel *m;
    if (!model) return mujoco_say(error, error_size, "out of memory", "", ""), NULL;
    m = task->kind.load_fn ? task->kind.load_fn(task, o, error, error_size)
                           : mujoco_model_xml(task->model, o, listed, error, error_size);
    model->m = m;
    model->task = *task;
    model->row = task;
    model->native = o->native;
    snprintf(model->name, sizeof model->name, "%s", task->name);
    model->task.name = model->name;
    if (m) model->bounds = (float *)calloc(2 * (size_t)m->nu + 1, sizeof(float));
    if (m && !model->bounds) mujoco_say(error, error_size, "out of memory", "", "");
    if (!m || !model->bounds || mujoco_model_bind(model, o, listed, error, error_size)) {
        mujoco_model_release(model);
        return NULL;
    }
    return model;
}

/* ---- models of one's own: "mjcf:FILE.xml" ---- */

/* Find the place in the world: a free first joint, or slides along x, y, z of bodies in the world.
   id[0 .. 2]: where they are in qpos, -1: nowhere; fact[0 .. 2]: their sense. */
static int mujoco_mjcf_bind(mujoco_model *model, char *error, size_t error_size)
{
    const mjModel *m = model->m;
    int j, k;
    (void)error, (void)error_size;
    for (k = 0; k < 3; k++) {
        model->id[k] = m->njnt && m->jnt_type[0] == mjJNT_FREE ? k : -1;
        model->fact[k] = 1;
    }
    for (j = 0; j < (int)m->njnt && m->body_parentid[m->jnt_bodyid[j]] == 0; j++)
        for (k = 0; k < 3 && m->jnt_type[j] == mjJNT_SLIDE; k++) {
            double axis = m->jnt_axis[3 * j + k];
            if (fabs(axis) < .99 || model->id[k] >= 0) continue;
            model->id[k] = m->jnt_qposadr[j];
            model->fact[k] = axis < 0 ? -1 : 1;
        }
    return 0;
}

/* qpos without x and y, and qvel */
static int mujoco_mjcf_obs(const mujoco_env *e, double *obs)
{
    const mjModel *m = e->model->m;
    int i, n = 0;
    for (i = 0; i < (int)m->nq; i++) {
        if (i == e->model->id[0] || i == e->model->id[1]) continue;
        if (obs) obs[n] = e->data->qpos[i];
        n++;
    }
    if (obs) memcpy(obs + n, e->data->qvel, (size_t)m->nv * sizeof *obs);
    return n + (int)m->nv;
}

static void mujoco_mjcf_measure(const mujoco_env *e, double *m)
{
    int x = e->model->id[0];
    m[0] = x >= 0 ? e->model->fact[0] * e->data->qpos[x] : e->data->subtree_com[0];
}

static double mujoco_mjcf_reward(const mujoco_env *e, const double *action, int healthy)
{
    const mujoco_rules *r = &e->model->task.rules;
    double dt = e->model->m->opt.timestep * e->model->task.frame_skip, cost = 0;
    int i;
    for (i = 0; i < e->model->task.act_dim; i++) cost += action[i] * action[i];
    return r->forward * ((e->after[0] - e->before[0]) / dt) - r->ctrl_cost * cost +
           (healthy ? r->healthy : 0);
}

static int mujoco_mjcf_healthy(const mujoco_env *e)
{
    const double *range = e->model->task.rules.z;
    int at = e->model->id[2];
    double z = at < 0 ? 0 : e->model->fact[2] * e->data->qpos[at];
    return at < 0 || (z > range[0] && z < range[1]);
}

static const mujoco_key mujoco_mjcf_keys[] = {
    {"frame_skip", DRL_FIELD_INT, 1, offsetof(mujoco_task, frame_skip)},
    {"time_limit", DRL_FIELD_INT, 1, offsetof(mujoco_task, time_limit)},
    {"reset_noise_scale", DRL_FIELD_DOUBLE, 1, offsetof(mujoco_task, rules.noise)},
    {"forward_reward_weight", DRL_FIELD_DOUBLE, 1, offsetof(mujoco_task, rules.forward)},
    {"ctrl_cost_weight", DRL_FIELD_DOUBLE, 1, offsetof(mujoco_task, rules.ctrl_cost)},
    {"healthy_reward", DRL_FIELD_DOUBLE, 1, offsetof(mujoco_task, rules.healthy)},
    {"healthy_z_range", DRL_FIELD_DOUBLE, 2, offsetof(mujoco_task, rules.z)},
    {"terminate_when_unhealthy", DRL_FIELD_BOOL, 1, offsetof(mujoco_task, rules.terminate)},
    {NULL, DRL_FIELD_INT, 0, 0}};

/* reward: speed along x - .1 x squared actions + 1; starts near qpos0; ends only by the clock */
static const mujoco_task mujoco_mjcf = {
    "mjcf:", NULL,
    {mujoco_mjcf_keys, NULL, mujoco_mjcf_bind, NULL, NULL, mujoco_mjcf_obs, mujoco_mjcf_measure,
     mujoco_mjcf_reward, mujoco_mjcf_healthy},
    0, 0, 0, 5, 1000,
    {1, .1, 0, 1, .01, 0, 0, 0, 0, {-HUGE_VAL, HUGE_VAL}, {0, 0}, {0, 0}, {0, 0}, 1, 1,
     {0, 0, 0, 0}}};

/* ---- tasks by name ---- */
#include "gymnasium.h"
#include "dmc.h"

const mujoco_task *mujoco_env_task(int i)
{
    static const mujoco_task *(*const families[])(int) = {gym_task, dmc_task_at};
    int f, k;
    for (f = 0; f < 2; f++)
        for (k = 0; families[f](k); k++)
            if (i-- == 0) return families[f](k);
    return NULL;
}

int mujoco_env_is_dmc(const mujoco_task *task)
{
    return task && task->kind.physics_fn == dmc_physics;
}

/* ---- init ---- */

/* Make an environment that holds `model`; on failure the model is released. */
static int mujoco_env_open(drl_env *env, mujoco_model *model, char *error, size_t error_size)
{
    const mujoco_task *t = &model->task;
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
    if (mujoco_guard(&trap, mujoco_run_data, &l)) l.d = NULL;
    e->data = l.d;
    e->obs = (double *)calloc(2 * obs + 2 * nq + nv + (size_t)t->act_dim, sizeof(double));
    if (!e->data || !e->obs) {
        mujoco_say(error, error_size, "no memory for ", t->name, "");
        mujoco_free_fn(e);
        return -1;
    }
    e->next = e->obs + obs;
    e->noise = e->next + obs;
    e->action = e->noise + nq + nv;
    e->raw = e->action + t->act_dim;
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

static int mujoco_env_build(drl_env *env, const mujoco_task *task, const mujoco_options *options,
                            int listed, char *error, size_t error_size)
{
    mujoco_options none;
    mujoco_model *model;
    memset(&none, 0, sizeof none);
    memset(env, 0, sizeof *env);
    if (error_size) error[0] = 0;
    if (mj_version() != mjVERSION_HEADER) {
        if (error_size)
            snprintf(error, error_size,
                     "mujoco: the library is version %d, but mujoco.h at compile time was %d; "
                     "compile and run with the same",
                     mj_version(), mjVERSION_HEADER);
        return -1;
    }
    mju_user_error = mujoco_on_error;
    mju_user_warning = mujoco_on_warning;
    if (mujoco_task_check(task, options ? options : &none, error, error_size)) return -1;
    model = mujoco_model_load(task, options ? options : &none, listed, error, error_size);
    return model ? mujoco_env_open(env, model, error, error_size) : -1;
}

int mujoco_env_make(drl_env *env, const mujoco_task *task, const mujoco_options *options,
                    char *error, size_t error_size)
{
    return mujoco_env_build(env, task, options, 0, error, error_size);
}

int mujoco_env_init(drl_env *env, const char *task, const mujoco_options *options, char *error,
                    size_t error_size)
{
    const char *names[256], *nearest;
    mujoco_task own = mujoco_mjcf;
    int n;
    memset(env, 0, sizeof *env);
    if (!strncmp(task, "mjcf:", 5)) {
        const char *reward = options ? options->reward : NULL;
        if (reward && strcmp(reward, "forward") != 0)
            return mujoco_say(error, error_size, "there is no reward ", reward, "; known: forward");
        if (!task[5])
            return mujoco_say(error, error_size, "mjcf: names no file; expected mjcf:FILE.xml", "",
                              "");
        own.name = task;
        own.model = task + 5;
        return mujoco_env_make(env, &own, options, error, error_size);
    }
    for (n = 0; n < 256 && mujoco_env_task(n); n++) {
        names[n] = mujoco_env_task(n)->name;
        if (!strcmp(names[n], task))
            return mujoco_env_build(env, mujoco_env_task(n), options, 1, error, error_size);
    }
    nearest = drl_text_nearest(task, names, n);
    if (error_size)
        snprintf(error, error_size, "mujoco: there is no task %s%s%s%s", task,
                 nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
    return -1;
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
