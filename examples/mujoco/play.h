/* What record.c and view.c share: a policy, or random actions, on a MuJoCo task, and where the
   camera stands. */
#ifndef PLAY_H
#define PLAY_H

#include "run.h"

typedef struct play {
    drl_context ctx;
    run_policy policy; /* agent NULL: random actions */
    mujoco_env *e;
    drl_rng rng; /* of random actions */
    float *obs, *action;
    double ret; /* of this episode so far */
    int steps, over;
} play;

/* Open a policy (NULL: random actions, then the task must be given). Returns an exit code, after
   telling what is wrong; to be closed in any case. */
static inline int play_open(play *p, const char *program, const char *policy, const run_task *task)
{
    run_policy *o = &p->policy;
    char error[512];
    int rc = RUN_OK;
    memset(p, 0, sizeof *p);
    if (drl_context_init(&p->ctx, NULL) != DRL_OK) return RUN_FAILED;
    if (policy) rc = run_policy_open(o, program, &p->ctx, policy, task);
    else {
        o->task = *task;
        if (run_task_find(&o->task, program)) return RUN_USAGE;
        if (run_task_open(&o->env, &o->task, NULL, error, sizeof error))
            rc = (fprintf(stderr, "%s: %s\n", program, error), RUN_FAILED);
    }
    if (rc) return rc;
    if (!strcmp(run_task_family(o->task.index), "built in")) {
        fprintf(stderr, "%s: %s is no MuJoCo task and cannot be shown\n", program, o->task.name);
        return RUN_USAGE;
    }
    p->e = mujoco_env_get(&p->policy.env);
    p->obs = (float *)calloc((size_t)p->policy.env.obs_dim, sizeof(float));
    p->action = (float *)calloc((size_t)p->policy.env.act_dim, sizeof(float));
    return p->obs && p->action ? RUN_OK : RUN_FAILED;
}

static inline int play_fail(const play *p, const char *program)
{
    fprintf(stderr, "%s: %s\n", program, drl_context_error(&p->ctx));
    return run_exit_code(p->ctx.status);
}

/* Start the episode of this seed: with a policy, the very one that eval plays. */
static inline int play_reset(play *p, const char *program, uint64_t seed)
{
    p->ret = 0;
    p->steps = p->over = 0;
    p->rng = drl_rng_make(seed, "random actions");
    memset(p->action, 0, (size_t)p->policy.env.act_dim * sizeof(float));
    if (p->policy.agent) drl_agent_begin(p->policy.agent, -1, seed);
    if (p->policy.env.reset_fn(p->policy.env.user, seed, p->obs) == 0) return RUN_OK;
    fprintf(stderr, "%s: reset failed: %s\n", program, p->e->error);
    return RUN_FAILED;
}

/* One step, by the policy or at random; `still`: with the middle of all actions. */
static inline int play_step(play *p, const char *program, int still)
{
    const drl_env *env = &p->policy.env;
    float reward = 0;
    int flags = 0, i;
    for (i = 0; i < env->act_dim && (still || !p->policy.agent); i++) {
        float u = still ? .5f : drl_rng_uniform(&p->rng);
        p->action[i] = env->act_low[i] + (env->act_high[i] - env->act_low[i]) * u;
    }
    if (p->policy.agent && !still &&
        drl_agent_act(p->policy.agent, DRL_MODE_EVAL, 1, p->obs, p->action) != DRL_OK)
        return play_fail(p, program);
    if (env->step_fn(env->user, p->action, p->obs, &reward, &flags)) {
        fprintf(stderr, "%s: step failed: %s\n", program, p->e->error);
        return RUN_FAILED;
    }
    p->ret += (double)reward;
    p->steps++;
    p->over = flags != 0 || (env->time_limit > 0 && p->steps >= env->time_limit);
    return RUN_OK;
}

/* Seconds of the task per step. */
static inline double play_dt(const play *p)
{
    return p->e->model->m->opt.timestep * p->e->model->task.frame_skip;
}

/* Bring what is drawn up to date with the state, which runs ahead of it after a step. */
static inline void play_pose(const play *p)
{
    const mjModel *m = p->e->model->m;
    if (p->e->model->task.kind.physics_fn) return; /* is up to date, and may have moved things */
    mj_kinematics(m, p->e->data);
    mj_comPos(m, p->e->data);
    mj_camlight(m, p->e->data);
#if mjVERSION_HEADER >= 300
    mj_flex(m, p->e->data);
#endif
    mj_tendon(m, p->e->data);
}

static inline void play_close(play *p)
{
    free(p->obs);
    free(p->action);
    run_policy_close(&p->policy);
    drl_context_free(&p->ctx);
}

/* Point the camera: by a camera's name, or NULL for the first that follows the model, else the
   first, else a free one that looks at the middle. Returns 0, or -1 if there is no such name. */
static inline int play_camera(const mjModel *m, const char *name, mjvCamera *cam)
{
    int i, best = -1;
    mjv_defaultCamera(cam);
    mjv_defaultFreeCamera(m, cam);
    if (name && !strcmp(name, "free")) return 0;
    for (i = 0; i < (int)m->ncam; i++) {
        int follows = m->cam_mode[i] == mjCAMLIGHT_TRACK || m->cam_mode[i] == mjCAMLIGHT_TRACKCOM;
        if (name && !strcmp(name, m->names + m->name_camadr[i])) break;
        if (!name && (best < 0 || (follows && m->cam_mode[best] == mjCAMLIGHT_FIXED))) best = i;
    }
    if (name && i == (int)m->ncam) return -1;
    if (name) best = i;
    if (best < 0) return 0;
    cam->type = mjCAMERA_FIXED;
    cam->fixedcamid = best;
    return 0;
}

#endif /* PLAY_H */
