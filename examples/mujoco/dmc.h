/* DeepMind Control's tasks, for mujoco_env.h, which includes this file.

   Rewards, observations and resets are ours; the models are dm_control's own MJCF files, which
   tools/get-dmc.sh fetches. They are looked for in options->dmc_dir or else $DIFFRL_DMC or else
   where that tool puts them: $XDG_CACHE_HOME/diffrl/dmc, or $HOME/.cache/diffrl/dmc.

   Exact     same physics, observations, rewards as dm_control 1.0.14 to 1.0.44 (whose files for
             these tasks are the same): tests/env/dmc.c replays recorded trajectories
   MuJoCo    2.2.2 and 3.3.7, 3.12.0, 3.17.0 were tried; the dog is another there, see README
   Episodes  1000 steps, no termination, actions and rewards in [-1, 1] and [0, 1]
   Step      dm_control's default: what depends on place and velocity belongs to the state after the
             step; touch, force and accelerometer to the one before the last substep
   New task  a row in dmc_tasks, an observation, a reward; elements by name in the row, their
             numbers in e->model->id in the same order */
#ifndef MUJOCO_DMC_H
#define MUJOCO_DMC_H

/* How tolerance falls off outside of its bounds. */
typedef enum dmc_sigmoid {
    DMC_GAUSSIAN,
    DMC_LINEAR,
    DMC_QUADRATIC,
    DMC_HYPERBOLIC,
    DMC_LONG_TAIL,
    DMC_RECIPROCAL,
    DMC_COSINE,
    DMC_TANH_SQUARED
} dmc_sigmoid;

/* Return 1 for x in [low, high], else a value that falls with the distance d from there, counted in
   margins, to value_at_margin (in (0, 1); 0 also with LINEAR, QUADRATIC, COSINE) at d = 1; with a
   margin of 0 it is 0 at once. Tassa et al. 2018, arXiv:1801.00690, section 3. */
double dmc_tolerance(double x, double low, double high, double margin, dmc_sigmoid sigmoid,
                     double value_at_margin);

/* Write the folder of the models to dir [n]: $DIFFRL_DMC or the cache. */
void dmc_folder(char *dir, size_t n);

#endif /* MUJOCO_DMC_H */

#if defined(MUJOCO_ENV_IMPLEMENTATION) && !defined(MUJOCO_DMC_DONE)
#define MUJOCO_DMC_DONE

/* A task with what the common table has no place for. */
typedef struct dmc_task {
    mujoco_task task; /* first: its address is that of the whole                                 */
    double goal;      /* speed, or radius of a target                                            */
    const char *elements; /* what the functions need: b body, g geom, t site, j joint, s sensor   */
    const char *cut;      /* elements taken out of the XML text before it is compiled, tag:name   */
} dmc_task;

double dmc_tolerance(double x, double low, double high, double margin, dmc_sigmoid sigmoid,
                     double value_at_margin)
{
    const double pi = 3.14159265358979323846;
    double v = value_at_margin, d, s;
    if (x >= low && x <= high) return 1;
    if (!(margin > 0)) return 0;
    d = (x < low ? low - x : x - high) / margin;
    switch (sigmoid) {
    case DMC_GAUSSIAN: s = d * sqrt(-2 * log(v)); return exp(-.5 * s * s);
    case DMC_LINEAR: s = d * (1 - v); return s < 1 ? 1 - s : 0;
    case DMC_QUADRATIC: s = d * sqrt(1 - v); return s < 1 ? 1 - s * s : 0;
    case DMC_HYPERBOLIC: return 1 / cosh(d * acosh(1 / v));
    case DMC_LONG_TAIL: return 1 / (1 + d * d * (1 / v - 1));
    case DMC_RECIPROCAL: return 1 / (1 + d * (1 / v - 1));
    case DMC_COSINE: s = d * acos(2 * v - 1) / pi; return s < 1 ? (1 + cos(pi * s)) / 2 : 0;
    case DMC_TANH_SQUARED: s = tanh(d * atanh(sqrt(1 - v))); return 1 - s * s;
    }
    return 0;
}

/* the usual shape: Gaussian, 0.1 at the margin */
static double dmc_near(double x, double low, double high, double margin)
{
    return dmc_tolerance(x, low, high, margin, DMC_GAUSSIAN, .1);
}

/* at least `low`; linear down to `v` at the margin */
static double dmc_above(double x, double low, double margin, double v)
{
    return dmc_tolerance(x, low, HUGE_VAL, margin, DMC_LINEAR, v);
}

/* mean over the actuators; 1 without control, 0 at its bounds */
static double dmc_small_control(const mujoco_env *e, const double *action)
{
    int nu = (int)e->model->m->nu, i;
    double sum = 0;
    for (i = 0; i < nu; i++) sum += dmc_tolerance(action[i], 0, 0, 1, DMC_QUADRATIC, 0);
    return sum / nu;
}

static const dmc_task *dmc_row(const mujoco_env *e)
{
    return (const dmc_task *)(const void *)e->model->row;
}

static double dmc_goal(const mujoco_env *e) { return dmc_row(e)->goal; }

/* ---- pieces of observations; each returns the place behind ---- */
static double *dmc_copy(double *obs, const double *from, int n)
{
    memcpy(obs, from, (size_t)n * sizeof *obs);
    return obs + n;
}

static double *dmc_qpos(const mujoco_env *e, double *obs, int first)
{
    return dmc_copy(obs, e->data->qpos + first, (int)e->model->m->nq - first);
}

static double *dmc_qvel(const mujoco_env *e, double *obs)
{
    return dmc_copy(obs, e->data->qvel, (int)e->model->m->nv);
}

/* the k-th element of the row, a sensor of n numbers */
static const double *dmc_sensor(const mujoco_env *e, int k)
{
    return e->data->sensordata + e->model->id[k];
}

static const double *dmc_xpos(const mujoco_env *e, int k)
{
    return e->data->xpos + 3 * e->model->id[k];
}

static const double *dmc_xmat(const mujoco_env *e, int k)
{
    return e->data->xmat + 9 * e->model->id[k];
}

/* a vector of the world in the axes of a body */
static double *dmc_turn(double *obs, const double *xmat, const double *v)
{
    mju_mulMatTVec(obs, xmat, v, 3, 3);
    return obs + 3;
}

static double *dmc_hinges(const mujoco_env *e, double *obs)
{
    const mjModel *m = e->model->m;
    int j;
    for (j = 0; j < (int)m->njnt; j++)
        if (m->jnt_type[j] == mjJNT_HINGE) *obs++ = e->data->qpos[m->jnt_qposadr[j]];
    for (j = 0; j < (int)m->njnt; j++)
        if (m->jnt_type[j] == mjJNT_HINGE) *obs++ = e->data->qvel[m->jnt_dofadr[j]];
    return obs;
}

/* ---- episodes ---- */

/* Draw from [low, high). */
static double dmc_uniform(drl_rng *rng, double low, double high)
{
    return low + (high - low) * (double)drl_rng_uniform(rng);
}

/* Uniform: joints in their range, hinges without one in +-pi. The quaternion of a free joint is
   four numbers of [0, 1), normalized: not uniform, but what the published results were got with. */
static void dmc_randomize(const mjModel *m, drl_rng *rng, double *qpos)
{
    int j, k;
    for (j = 0; j < (int)m->njnt; j++) {
        double *q = qpos + m->jnt_qposadr[j];
        int hinge = m->jnt_type[j] == mjJNT_HINGE;
        if (m->jnt_limited[j] && (hinge || m->jnt_type[j] == mjJNT_SLIDE))
            q[0] = dmc_uniform(rng, m->jnt_range[2 * j], m->jnt_range[2 * j + 1]);
        else if (hinge) q[0] = dmc_uniform(rng, -mjPI, mjPI);
        else if (m->jnt_type[j] == mjJNT_FREE) {
            for (k = 3; k < 7; k++) q[k] = (double)drl_rng_uniform(rng);
            mju_normalize4(q + 3);
        }
    }
}

/* Uniform on the sphere. */
static void dmc_quaternion(drl_rng *rng, double *q)
{
    int k;
    for (k = 0; k < 4; k++) q[k] = (double)drl_rng_normal(rng);
    mju_normalize4(q);
}

static int dmc_episode_random(mujoco_env *e, drl_rng *rng)
{
    dmc_randomize(e->model->m, rng, mujoco_pose(e));
    return mujoco_pose_start(e);
}

/* until nothing touches */
static int dmc_episode_free(mujoco_env *e, drl_rng *rng)
{
    int attempt, rc = 0;
    for (attempt = 0; attempt < 1000 && rc == 0; attempt++) {
        rc = dmc_episode_random(e, rng);
        if (rc == 0 && e->data->ncon == 0) return 0;
    }
    if (rc == 0) snprintf(e->error, sizeof e->error, "no pose without contact in 1000 attempts");
    e->ready = 0;
    return -1;
}

/* ---- physics ---- */

/* Put what only the eye and the reward meet where it is in this episode: e->after[0..2] from its
   place in the model, which is shared. The row names it second. */
static void dmc_move_target(mujoco_env *e)
{
    const mjModel *m = e->model->m;
    const char *kind = dmc_row(e)->elements;
    int id = e->model->id[1];
    if (!strncmp(kind, "b:torso g:target", 16))
        mju_add3(e->data->geom_xpos + 3 * id, m->geom_pos + 3 * id, e->after);
    else if (!strncmp(kind, "g:cap1 t:target", 15))
        mju_add3(e->data->site_xpos + 3 * id, m->site_pos + 3 * id, e->after);
}

/* See mujoco_task. */
static void dmc_physics(mujoco_env *e, mujoco_phase phase)
{
    const mjModel *m = e->model->m;
    mjData *d = e->data;
    int n = e->model->task.frame_skip, k = 0;
    if (phase == MUJOCO_STARTED) {
        mjModel passive = *m; /* shares all arrays; the model itself may be in use by others */
        passive.opt.disableflags |= mjDSBL_ACTUATION;
        memcpy(e->raw, d->qpos, (size_t)m->nq * sizeof(double));
        mj_forward(&passive, d);
    } else {
        if (phase == MUJOCO_STEP && m->opt.integrator == mjINT_EULER) mj_step2(m, d), k = 1;
        for (; phase == MUJOCO_STEP && k < n; k++) mj_step(m, d);
        memcpy(e->raw, d->qpos, (size_t)m->nq * sizeof(double));
        mj_step1(m, d);
    }
    dmc_move_target(e);
}

/* ---- acrobot: b:upper_arm b:lower_arm t:target t:tip ---- */
static int dmc_obs_acrobot(const mujoco_env *e, double *obs)
{
    if (!obs) return 6;
    obs[0] = dmc_xmat(e, 0)[2];
    obs[1] = dmc_xmat(e, 1)[2];
    obs[2] = dmc_xmat(e, 0)[8];
    obs[3] = dmc_xmat(e, 1)[8];
    dmc_qvel(e, obs + 4);
    return 6;
}

static double dmc_reward_acrobot(const mujoco_env *e, const double *action, int healthy)
{
    const int *id = e->model->id;
    double d = mju_dist3(e->data->site_xpos + 3 * id[2], e->data->site_xpos + 3 * id[3]);
    (void)action, (void)healthy;
    return dmc_near(d, 0, e->model->m->site_size[3 * id[2]], dmc_goal(e));
}

/* ---- cartpole: b:pole_1 ---- */
static int dmc_obs_cartpole(const mujoco_env *e, double *obs)
{
    if (!obs) return 5;
    obs[0] = e->data->qpos[0];
    obs[1] = dmc_xmat(e, 0)[8];
    obs[2] = dmc_xmat(e, 0)[2];
    dmc_qvel(e, obs + 3);
    return 5;
}

static double dmc_reward_cartpole(const mujoco_env *e, const double *action, int healthy)
{
    double x = e->data->qpos[0], upright = dmc_xmat(e, 0)[8];
    (void)healthy;
    return (upright + 1) / 2 * (4 + dmc_small_control(e, action)) / 5 *
           (1 + dmc_near(e->data->qvel[1], 0, 0, 5)) / 2 * (1 + dmc_near(x, 0, 0, 2)) / 2;
}

static int dmc_episode_balance(mujoco_env *e, drl_rng *rng)
{
    double *q = mujoco_pose(e);
    int i;
    q[0] = dmc_uniform(rng, -.1, .1);
    q[1] = dmc_uniform(rng, -.034, .034);
    for (i = 2; i < 4; i++) q[i] = .01 * (double)drl_rng_normal(rng);
    return mujoco_pose_start(e);
}

static int dmc_episode_swingup(mujoco_env *e, drl_rng *rng)
{
    double *q = mujoco_pose(e);
    int i;
    for (i = 0; i < 4; i++) q[i] = (i == 1 ? mjPI : 0) + .01 * (double)drl_rng_normal(rng);
    return mujoco_pose_start(e);
}

/* ---- cheetah: s:torso_subtreelinvel ---- */
static int dmc_obs_cheetah(const mujoco_env *e, double *obs)
{
    if (obs) dmc_qvel(e, dmc_qpos(e, obs, 1));
    return 17;
}

static double dmc_reward_cheetah(const mujoco_env *e, const double *action, int healthy)
{
    (void)action, (void)healthy;
    return dmc_above(dmc_sensor(e, 0)[0], dmc_goal(e), dmc_goal(e), 0);
}

/* let it settle; the first mj_step2 still has the forces of the initial pose */
static void dmc_run_settle(void *arg)
{
    mujoco_env *e = (mujoco_env *)arg;
    int k;
    mj_step2(e->model->m, e->data);
    for (k = 1; k < 200; k++) mj_step(e->model->m, e->data);
    e->data->time = 0;
}

static int dmc_episode_settled(mujoco_env *e, drl_rng *rng)
{
    const mjModel *m = e->model->m;
    int j;
    mujoco_pose(e);
    if (mujoco_pose_start(e)) return -1;
    for (j = 0; j < (int)m->njnt; j++)
        if (m->jnt_limited[j])
            e->data->qpos[j] = dmc_uniform(rng, m->jnt_range[2 * j], m->jnt_range[2 * j + 1]);
    e->ready = 0;
    if (mujoco_run(e, dmc_run_settle)) return -1;
    return mujoco_episode_start(e);
}

/* ---- finger: see the enum; places are x and z from the hinge ---- */
enum {
    DMC_CAP,
    DMC_TARGET,
    DMC_HINGE,
    DMC_PROXIMAL,
    DMC_DISTAL,
    DMC_PROXIMAL_VELOCITY,
    DMC_DISTAL_VELOCITY,
    DMC_HINGE_VELOCITY,
    DMC_TIP,
    DMC_SPINNER,
    DMC_TOUCH_TOP,
    DMC_TOUCH_BOTTOM
};

static void dmc_from_hinge(const mujoco_env *e, const double *place, double *xz)
{
    xz[0] = place[0] - dmc_sensor(e, DMC_SPINNER)[0];
    xz[1] = place[2] - dmc_sensor(e, DMC_SPINNER)[2];
}

static int dmc_obs_finger(const mujoco_env *e, double *obs)
{
    int k;
    if (!obs) return 9;
    obs[0] = *dmc_sensor(e, DMC_PROXIMAL);
    obs[1] = *dmc_sensor(e, DMC_DISTAL);
    dmc_from_hinge(e, dmc_sensor(e, DMC_TIP), obs + 2);
    for (k = 0; k < 3; k++) obs[4 + k] = *dmc_sensor(e, DMC_PROXIMAL_VELOCITY + k);
    obs[7] = log1p(*dmc_sensor(e, DMC_TOUCH_TOP));
    obs[8] = log1p(*dmc_sensor(e, DMC_TOUCH_BOTTOM));
    return 9;
}

static double dmc_reward_spin(const mujoco_env *e, const double *action, int healthy)
{
    (void)action, (void)healthy;
    return *dmc_sensor(e, DMC_HINGE_VELOCITY) <= -dmc_goal(e);
}

/* signed distance of the tip from the rim of the target, whose place is written to target */
static double dmc_turn_distance(const mujoco_env *e, double *target)
{
    double tip[2];
    dmc_from_hinge(e, e->data->site_xpos + 3 * e->model->id[DMC_TARGET], target);
    dmc_from_hinge(e, dmc_sensor(e, DMC_TIP), tip);
    tip[0] -= target[0];
    tip[1] -= target[1];
    return sqrt(tip[0] * tip[0] + tip[1] * tip[1]) - dmc_goal(e);
}

static int dmc_obs_turn(const mujoco_env *e, double *obs)
{
    if (!obs) return 12;
    dmc_obs_finger(e, obs);
    obs[11] = dmc_turn_distance(e, obs + 9);
    return 12;
}

static double dmc_reward_turn(const mujoco_env *e, const double *action, int healthy)
{
    double target[2];
    (void)action, (void)healthy;
    return dmc_turn_distance(e, target) <= 0;
}

static int dmc_episode_turn(mujoco_env *e, drl_rng *rng)
{
    const mjModel *m = e->model->m;
    const double *site = m->site_pos + 3 * e->model->id[DMC_TARGET];
    const double *cap = m->geom_size + 3 * e->model->id[DMC_CAP], *hinge;
    double angle = dmc_uniform(rng, -mjPI, mjPI), r = cap[0] + cap[1] + cap[2];
    mujoco_pose(e);
    if (mujoco_pose_start(e)) return -1;
    hinge = e->data->xanchor + 3 * e->model->id[DMC_HINGE];
    e->after[0] = hinge[0] + r * sin(angle) - site[0];
    e->after[2] = hinge[2] + r * cos(angle) - site[2];
    return dmc_episode_free(e, rng);
}

/* ---- fish: b:torso g:target g:mouth ---- */

/* from mouth to target in the axes of the mouth */
static void dmc_mouth(const mujoco_env *e, double *v)
{
    const double *place = e->data->geom_xpos;
    double d[3];
    mju_sub3(d, place + 3 * e->model->id[1], place + 3 * e->model->id[2]);
    dmc_turn(v, e->data->geom_xmat + 9 * e->model->id[2], d);
}

static int dmc_obs_upright(const mujoco_env *e, double *obs)
{
    if (!obs) return 21;
    obs = dmc_qpos(e, obs, 7);
    *obs++ = dmc_xmat(e, 0)[8];
    dmc_qvel(e, obs);
    return 21;
}

static int dmc_obs_swim(const mujoco_env *e, double *obs)
{
    if (!obs) return 24;
    obs = dmc_qpos(e, obs, 7);
    *obs++ = dmc_xmat(e, 0)[8];
    dmc_mouth(e, obs);
    dmc_qvel(e, obs + 3);
    return 24;
}

static double dmc_reward_upright(const mujoco_env *e, const double *action, int healthy)
{
    (void)action, (void)healthy;
    return dmc_near(dmc_xmat(e, 0)[8], 1, 1, 1);
}

static double dmc_reward_swim(const mujoco_env *e, const double *action, int healthy)
{
    const double *size = e->model->m->geom_size;
    double v[3], r = size[3 * e->model->id[1]] + size[3 * e->model->id[2]];
    (void)action, (void)healthy;
    dmc_mouth(e, v);
    return (7 * dmc_near(mju_norm3(v), 0, r, 2 * r) + .5 * (dmc_xmat(e, 0)[8] + 1)) / 8;
}

static int dmc_episode_fish(mujoco_env *e, drl_rng *rng)
{
    double *q = mujoco_pose(e);
    int i;
    dmc_quaternion(rng, q + 3);
    for (i = 7; i < 14; i++) q[i] = dmc_uniform(rng, -.2, .2);
    return mujoco_pose_start(e);
}

static int dmc_episode_swim(mujoco_env *e, drl_rng *rng)
{
    const double *place = e->model->m->geom_pos + 3 * e->model->id[1];
    int k;
    for (k = 0; k < 3; k++)
        e->after[k] = dmc_uniform(rng, k < 2 ? -.4 : .1, k < 2 ? .4 : .3) - place[k];
    return dmc_episode_fish(e, rng);
}

/* ---- hopper: b:torso b:foot s:torso_subtreelinvel s:touch_toe s:touch_heel ---- */
static int dmc_obs_hopper(const mujoco_env *e, double *obs)
{
    if (!obs) return 15;
    obs = dmc_qvel(e, dmc_qpos(e, obs, 1));
    obs[0] = log1p(*dmc_sensor(e, 3));
    obs[1] = log1p(*dmc_sensor(e, 4));
    return 15;
}

static double dmc_reward_hopper(const mujoco_env *e, const double *action, int healthy)
{
    const double *xipos = e->data->xipos;
    double z = xipos[3 * e->model->id[0] + 2] - xipos[3 * e->model->id[1] + 2];
    double speed = dmc_goal(e);
    (void)healthy;
    if (!(z >= .6 && z <= 2)) return 0;
    if (speed > 0) return dmc_above(dmc_sensor(e, 2)[0], speed, speed / 2, .5);
    return (4 + dmc_small_control(e, action)) / 5;
}

/* ---- humanoid: b:torso b:head b:left_hand b:left_foot b:right_hand b:right_foot
   s:torso_subtreelinvel ---- */
static int dmc_obs_humanoid(const mujoco_env *e, double *obs)
{
    int k;
    if (!obs) return 67;
    obs = dmc_qpos(e, obs, 7);
    *obs++ = dmc_xpos(e, 1)[2];
    for (k = 2; k < 6; k++) {
        double d[3];
        mju_sub3(d, dmc_xpos(e, k), dmc_xpos(e, 0));
        obs = dmc_turn(obs, dmc_xmat(e, 0), d);
    }
    obs = dmc_copy(obs, dmc_xmat(e, 0) + 6, 3);
    dmc_qvel(e, dmc_copy(obs, dmc_sensor(e, 6), 3));
    return 67;
}

static double dmc_reward_humanoid(const mujoco_env *e, const double *action, int healthy)
{
    const double *v = dmc_sensor(e, 6);
    double stand = dmc_near(dmc_xpos(e, 1)[2], 1.4, HUGE_VAL, .35), speed = dmc_goal(e), move;
    (void)healthy;
    stand *= dmc_above(dmc_xmat(e, 0)[8], .9, 1.9, 0);
    if (speed > 0) move = (5 * dmc_above(sqrt(v[0] * v[0] + v[1] * v[1]), speed, speed, 0) + 1) / 6;
    else move = (dmc_near(v[0], 0, 0, 2) + dmc_near(v[1], 0, 0, 2)) / 2;
    return (4 + dmc_small_control(e, action)) / 5 * stand * move;
}

/* ---- pendulum: b:pole ---- */
static int dmc_obs_pendulum(const mujoco_env *e, double *obs)
{
    if (!obs) return 3;
    obs[0] = dmc_xmat(e, 0)[8];
    obs[1] = dmc_xmat(e, 0)[2];
    obs[2] = e->data->qvel[0];
    return 3;
}

/* goal: how far from upright, in degrees */
static double dmc_reward_pendulum(const mujoco_env *e, const double *action, int healthy)
{
    (void)action, (void)healthy;
    return dmc_near(dmc_xmat(e, 0)[8], cos(dmc_goal(e) * mjPI / 180), 1, 0);
}

/* ---- quadruped: b:torso s:velocimeter s:imu_accel s:force_toe_front_left; the sensors of a kind
   lie one after the other ---- */
static int dmc_obs_quadruped(const mujoco_env *e, double *obs)
{
    int k;
    if (!obs) return 78;
    obs = dmc_copy(dmc_hinges(e, obs), e->data->act, 12);
    obs = dmc_copy(obs, dmc_sensor(e, 1), 3);
    *obs++ = dmc_xmat(e, 0)[8];
    obs = dmc_copy(obs, dmc_sensor(e, 2), 6);
    for (k = 0; k < 24; k++) obs[k] = asinh(dmc_sensor(e, 3)[k]);
    return 78;
}

static double dmc_reward_quadruped(const mujoco_env *e, const double *action, int healthy)
{
    (void)action, (void)healthy;
    return dmc_above(dmc_xmat(e, 0)[8], 1, 2, 0) *
           dmc_above(dmc_sensor(e, 1)[0], dmc_goal(e), dmc_goal(e), .5);
}

/* turned at random, and lifted by centimeters until nothing touches */
static int dmc_episode_lifted(mujoco_env *e, drl_rng *rng)
{
    double *q = mujoco_pose(e);
    int k;
    dmc_quaternion(rng, q + 3);
    for (k = 0; k < 10000; k++) {
        q[2] = .01 * k;
        if (mujoco_pose_start(e) == 0 && e->data->ncon == 0) return 0;
    }
    e->ready = 0;
    return -1;
}

/* ---- walker: b:torso s:torso_subtreelinvel ---- */
static int dmc_obs_walker(const mujoco_env *e, double *obs)
{
    int b;
    if (!obs) return 24;
    for (b = 1; b < (int)e->model->m->nbody; b++) {
        *obs++ = e->data->xmat[9 * b];
        *obs++ = e->data->xmat[9 * b + 2];
    }
    *obs++ = dmc_xpos(e, 0)[2];
    dmc_qvel(e, obs);
    return 24;
}

static double dmc_reward_walker(const mujoco_env *e, const double *action, int healthy)
{
    double z = dmc_xpos(e, 0)[2], speed = dmc_goal(e);
    double stand = (3 * dmc_near(z, 1.2, HUGE_VAL, .6) + (1 + dmc_xmat(e, 0)[8]) / 2) / 4;
    (void)action, (void)healthy;
    if (!(speed > 0)) return stand;
    return stand * (5 * dmc_above(dmc_sensor(e, 1)[0], speed, speed / 2, .5) + 1) / 6;
}

/* ---- dog: see the enum ---- */
enum {
    DMC_TORSO,
    DMC_PELVIS,
    DMC_SKULL,
    DMC_VELOCITY,
    DMC_ACCELEROMETER,
    DMC_VELOCIMETER,
    DMC_GYRO,
    DMC_FOOT_L,
    DMC_FOOT_R,
    DMC_HAND_L,
    DMC_HAND_R,
    DMC_PALM_L,
    DMC_PALM_R,
    DMC_SOLE_L,
    DMC_SOLE_R
};

static int dmc_obs_dog(const mujoco_env *e, double *obs)
{
    static const int upright[3] = {DMC_SKULL, DMC_TORSO, DMC_PELVIS};
    int k;
    if (!obs) return 223;
    obs = dmc_hinges(e, obs);
    *obs++ = dmc_xpos(e, DMC_TORSO)[2];
    *obs++ = dmc_xpos(e, DMC_PELVIS)[2];
    for (k = 0; k < 3; k++) obs = dmc_copy(obs, dmc_xmat(e, upright[k]) + 6, 3);
    obs = dmc_turn(obs, dmc_xmat(e, DMC_TORSO), dmc_sensor(e, DMC_VELOCITY));
    for (k = DMC_ACCELEROMETER; k <= DMC_HAND_R; k++) obs = dmc_copy(obs, dmc_sensor(e, k), 3);
    for (k = DMC_PALM_L; k <= DMC_SOLE_R; k++) *obs++ = *dmc_sensor(e, k);
    dmc_copy(obs, e->data->act, (int)e->model->m->na);
    return 223;
}

/* model->fact: height of torso and pelvis in the initial pose */
static double dmc_reward_dog(const mujoco_env *e, const double *action, int healthy)
{
    const mjModel *m = e->model->m;
    double h0 = .9 * e->model->fact[0], h1 = .9 * e->model->fact[1], speed = dmc_goal(e);
    double weight = -m->opt.gravity[2] * m->body_subtreemass[e->model->id[DMC_TORSO]];
    double c = cos(mjPI / 6), touch = 0, forward[3], r;
    int k;
    (void)action, (void)healthy;
    r = dmc_near(dmc_xpos(e, DMC_TORSO)[2], h0, HUGE_VAL, h0) *
        dmc_near(dmc_xpos(e, DMC_PELVIS)[2], h1, HUGE_VAL, h1);
    for (k = DMC_TORSO; k <= DMC_SKULL; k++) r *= dmc_above(dmc_xmat(e, k)[8], c, c + 1, 0);
    for (k = DMC_PALM_L; k <= DMC_SOLE_R; k++) touch += *dmc_sensor(e, k);
    r *= dmc_above(touch, weight, weight, .9);
    if (!(speed > 0)) return r;
    dmc_turn(forward, dmc_xmat(e, DMC_TORSO), dmc_sensor(e, DMC_VELOCITY));
    return r * (4 * dmc_tolerance(forward[0], speed, 2 * speed, speed, DMC_LINEAR, 0) + 1) / 5;
}

static int dmc_episode_dog(mujoco_env *e, drl_rng *rng)
{
    const mjModel *m = e->model->m;
    double *q = mujoco_pose(e), *v = q + m->nq, heading = dmc_uniform(rng, 0, 2 * mjPI);
    int i;
    q[3] = cos(heading / 2);
    q[6] = sin(heading / 2);
    v[0] = 2 * (double)drl_rng_normal(rng);
    v[1] = 2 * (double)drl_rng_normal(rng);
    v[5] = 2 * (double)drl_rng_normal(rng);
    if (mujoco_pose_start(e)) return -1;
    for (i = 0; i < (int)m->na; i++)
        e->data->act[i] =
            dmc_uniform(rng, m->actuator_ctrlrange[2 * i], m->actuator_ctrlrange[2 * i + 1]);
    return mujoco_episode_start(e);
}

/* ---- the table ---- */
#define DMC_FINGER_ELEMENTS                                                                       \
    "g:cap1 t:target j:hinge s:proximal s:distal s:proximal_velocity s:distal_velocity "          \
    "s:hinge_velocity s:tip s:spinner s:touchtop s:touchbottom"
#define DMC_HUMANOID_ELEMENTS                                                                     \
    "b:torso b:head b:left_hand b:left_foot b:right_hand b:right_foot s:torso_subtreelinvel"
#define DMC_DOG_ELEMENTS                                                                          \
    "b:torso b:pelvis b:skull s:torso_linvel s:accelerometer s:velocimeter s:gyro s:foot_L "      \
    "s:foot_R s:hand_L s:hand_R s:palm_L s:palm_R s:sole_L s:sole_R"
#define DMC_DOG_CUT                                                                               \
    "body:ball geom:target camera:ball camera:head geom:wall_px geom:wall_py geom:wall_nx "       \
    "geom:wall_ny"
#define DMC_QUADRUPED_CUT                                                                         \
    "body:ball site:target geom:terrain rangefinder: geom:wall_px geom:wall_py geom:wall_nx "     \
    "geom:wall_ny"

/* what the rows refer to and is defined below them */
static mjModel *dmc_load(const mujoco_task *task, const mujoco_options *options, char *error,
                         size_t error_size);
static int dmc_bind(mujoco_model *model, char *error, size_t error_size);

/* name, file, obs, act, substeps | observation, reward, episode | goal, elements, cut */
#define DMC_TASK(name, file, obs, act, skip, see, reward, episode, goal, elements, cut)           \
    {{name, file ".xml",                                                                          \
      {NULL, dmc_load, dmc_bind, dmc_episode_##episode, dmc_physics, dmc_obs_##see, NULL,         \
       dmc_reward_##reward, NULL},                                                                \
      0, obs, act, skip, 1000,                                                                    \
      {0, 0, 0, 0, 0, 0, 0, 0, 0, {0, 0}, {0, 0}, {0, 0}, {0, 0}, 0, 0, {0, 0, 0, 0}}},           \
     goal, elements, cut}

static const dmc_task dmc_tasks[] = {
    DMC_TASK("acrobot-swingup", "acrobot", 6, 1, 1, acrobot, acrobot, random, 1,
             "b:upper_arm b:lower_arm t:target t:tip", ""),
    DMC_TASK("cartpole-balance", "cartpole", 5, 1, 1, cartpole, cartpole, balance, 0, "b:pole_1",
             ""),
    DMC_TASK("cartpole-swingup", "cartpole", 5, 1, 1, cartpole, cartpole, swingup, 0, "b:pole_1",
             ""),
    DMC_TASK("cheetah-run", "cheetah", 17, 6, 1, cheetah, cheetah, settled, 10,
             "s:torso_subtreelinvel", ""),
    DMC_TASK("dog-stand", "dog", 223, 38, 3, dog, dog, dog, 0, DMC_DOG_ELEMENTS, DMC_DOG_CUT),
    DMC_TASK("dog-walk", "dog", 223, 38, 3, dog, dog, dog, 1, DMC_DOG_ELEMENTS, DMC_DOG_CUT),
    DMC_TASK("dog-trot", "dog", 223, 38, 3, dog, dog, dog, 3, DMC_DOG_ELEMENTS, DMC_DOG_CUT),
    DMC_TASK("dog-run", "dog", 223, 38, 3, dog, dog, dog, 9, DMC_DOG_ELEMENTS, DMC_DOG_CUT),
    DMC_TASK("finger-spin", "finger", 9, 2, 2, finger, spin, free, 15, DMC_FINGER_ELEMENTS, ""),
    DMC_TASK("finger-turn_easy", "finger", 12, 2, 2, turn, turn, turn, .07, DMC_FINGER_ELEMENTS,
             ""),
    DMC_TASK("finger-turn_hard", "finger", 12, 2, 2, turn, turn, turn, .03, DMC_FINGER_ELEMENTS,
             ""),
    DMC_TASK("fish-upright", "fish", 21, 5, 10, upright, upright, fish, 0,
             "b:torso g:target g:mouth", ""),
    DMC_TASK("fish-swim", "fish", 24, 5, 10, swim, swim, swim, 0, "b:torso g:target g:mouth", ""),
    DMC_TASK("hopper-stand", "hopper", 15, 4, 4, hopper, hopper, random, 0,
             "b:torso b:foot s:torso_subtreelinvel s:touch_toe s:touch_heel", ""),
    DMC_TASK("hopper-hop", "hopper", 15, 4, 4, hopper, hopper, random, 2,
             "b:torso b:foot s:torso_subtreelinvel s:touch_toe s:touch_heel", ""),
    DMC_TASK("humanoid-stand", "humanoid", 67, 21, 5, humanoid, humanoid, free, 0,
             DMC_HUMANOID_ELEMENTS, ""),
    DMC_TASK("humanoid-walk", "humanoid", 67, 21, 5, humanoid, humanoid, free, 1,
             DMC_HUMANOID_ELEMENTS, ""),
    DMC_TASK("humanoid-run", "humanoid", 67, 21, 5, humanoid, humanoid, free, 10,
             DMC_HUMANOID_ELEMENTS, ""),
    DMC_TASK("pendulum-swingup", "pendulum", 3, 1, 1, pendulum, pendulum, random, 8, "b:pole", ""),
    DMC_TASK("quadruped-walk", "quadruped", 78, 12, 4, quadruped, quadruped, lifted, .5,
             "b:torso s:velocimeter s:imu_accel s:force_toe_front_left", DMC_QUADRUPED_CUT),
    DMC_TASK("quadruped-run", "quadruped", 78, 12, 4, quadruped, quadruped, lifted, 5,
             "b:torso s:velocimeter s:imu_accel s:force_toe_front_left", DMC_QUADRUPED_CUT),
    DMC_TASK("walker-stand", "walker", 24, 6, 10, walker, walker, random, 0,
             "b:torso s:torso_subtreelinvel", ""),
    DMC_TASK("walker-walk", "walker", 24, 6, 10, walker, walker, random, 1,
             "b:torso s:torso_subtreelinvel", ""),
    DMC_TASK("walker-run", "walker", 24, 6, 10, walker, walker, random, 8,
             "b:torso s:torso_subtreelinvel", ""),
};

#define DMC_COUNT ((int)(sizeof dmc_tasks / sizeof dmc_tasks[0]))

static const mujoco_task *dmc_task_at(int i)
{
    return i >= 0 && i < DMC_COUNT ? &dmc_tasks[i].task : NULL;
}

/* ---- models ---- */
void dmc_folder(char *dir, size_t n)
{
    const char *own = getenv("DIFFRL_DMC"), *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    if (own && *own) snprintf(dir, n, "%s", own);
    else if (cache && *cache) snprintf(dir, n, "%s/diffrl/dmc", cache);
    else snprintf(dir, n, "%s/.cache/diffrl/dmc", home ? home : "");
}

/* Write the path of a model file. Returns 0, or -1 with what to do in error. */
static int dmc_find(const char *file, const char *own, char *path, size_t n, char *error,
                    size_t error_size)
{
    char dir[768];
    FILE *f;
    dmc_folder(dir, sizeof dir);
    snprintf(path, n, "%s/%s", own ? own : dir, file);
    f = fopen(path, "rb");
    if (f) return fclose(f), 0;
    return mujoco_say(error, error_size, "cannot read ", path,
                      ", a model of the DeepMind Control Suite: fetch them with tools/get-dmc.sh, "
                      "or name their folder with --dmc DIR or in DIFFRL_DMC");
}

/* Overwrite the element <tag ... name="name" ...> of `text`, with all inside, by blanks; without a
   name, all of this tag. */
static void dmc_cut(char *text, const char *tag, const char *name)
{
    char open[40], close[40], attribute[48], *at = text, *end, *p;
    snprintf(open, sizeof open, "<%s ", tag);
    snprintf(close, sizeof close, "</%s>", tag);
    snprintf(attribute, sizeof attribute, " name=\"%s\"", name);
    while ((at = strstr(at, open)) != NULL && (end = strchr(at, '>')) != NULL) {
        int depth = end[-1] != '/';
        char *match = strstr(at, attribute);
        if (*name && (!match || match > end)) {
            at = end;
            continue;
        }
        while (depth > 0 && (p = strchr(end + 1, '<')) != NULL && (end = strchr(p, '>')) != NULL) {
            if (!strncmp(p, close, strlen(close))) depth--;
            else if (!strncmp(p, open, strlen(open)) && end[-1] != '/') depth++;
        }
        for (; end && at <= end; at++)
            if (*at != '\n') *at = ' ';
    }
}

/* Compile the task's file without what the task does not have. */
static mjModel *dmc_load(const mujoco_task *task, const mujoco_options *options, char *error,
                         size_t error_size)
{
    const size_t limit = 1 << 20;
    const char *cut = ((const dmc_task *)(const void *)task)->cut;
    const char *own = options->dmc_dir ? options->dmc_dir : options->model_dir;
    char path[1024], tag[32], name[32], *text;
    mjModel *m;
    FILE *f;
    if (dmc_find(task->model, own, path, sizeof path, error, error_size)) return NULL;
    if (!*cut) return mujoco_model_compile(path, NULL, error, error_size);
    text = (char *)calloc(limit, 1);
    f = fopen(path, "rb");
    if (!text || !f || !fread(text, 1, limit - 1, f)) {
        free(text);
        if (f) fclose(f);
        return mujoco_say(error, error_size, "cannot read ", path, ""), NULL;
    }
    fclose(f);
    while (sscanf(cut, "%31[a-z]:", tag) == 1) {
        if (sscanf(cut, "%*[a-z]:%31[a-z_]", name) != 1) name[0] = 0;
        dmc_cut(text, tag, name);
        cut += strcspn(cut, " ");
        cut += *cut == ' ';
    }
    m = mujoco_model_compile(path, text, error, error_size);
    free(text);
    return m;
}

static void dmc_run_height(void *arg)
{
    mujoco_model *model = (mujoco_model *)arg;
    mjData *d = mj_makeData(model->m);
    mj_kinematics(model->m, d);
    model->fact[0] = d->xpos[3 * model->id[DMC_TORSO] + 2];
    model->fact[1] = d->xpos[3 * model->id[DMC_PELVIS] + 2];
    mj_deleteData(d);
}

/* Look up the elements of the task's row, and change in the model what the task changes. */
static int dmc_bind(mujoco_model *model, char *error, size_t error_size)
{
    const dmc_task *t = (const dmc_task *)(const void *)model->row;
    mjModel *m = model->m;
    const char *at = t->elements;
    char name[32];
    mujoco_trap trap;
    int k, id;
    for (k = 0; *at && sscanf(at + 2, "%31s", name) == 1; k++) {
        static const char kinds[] = "bgtjs";
        static const int type[] = {mjOBJ_BODY, mjOBJ_GEOM, mjOBJ_SITE, mjOBJ_JOINT, mjOBJ_SENSOR};
        id = mj_name2id(m, type[strchr(kinds, at[0]) - kinds], name);
        if (id < 0) return mujoco_say(error, error_size, t->task.model, " has no ", name);
        model->id[k] = at[0] == 's' ? m->sensor_adr[id] : id;
        at += 2 + strlen(name);
        at += *at == ' ';
    }
    id = mj_name2id(m, mjOBJ_GEOM, "floor");
    if (*t->cut && id >= 0) { /* seen as far as the robot gets; to physics it has no end anyway */
        double seconds = m->opt.timestep * t->task.frame_skip * t->task.time_limit;
        m->geom_size[3 * id] = m->geom_size[3 * id + 1] = seconds * (t->goal > 0 ? t->goal : 1);
    }
    if (t->task.kind.reward_fn == dmc_reward_turn)
        m->site_size[3 * model->id[DMC_TARGET]] = t->goal;
    if (t->task.kind.reward_fn == dmc_reward_spin)
        m->dof_damping[m->jnt_dofadr[model->id[DMC_HINGE]]] = .03;
    if (t->task.kind.reward_fn == dmc_reward_dog && mujoco_guard(&trap, dmc_run_height, model))
        return mujoco_say(error, error_size, t->task.model, ": ", trap.text);
    return 0;
}

#endif /* MUJOCO_ENV_IMPLEMENTATION */
