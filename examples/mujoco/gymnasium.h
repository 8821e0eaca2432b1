/* Gymnasium's MuJoCo tasks for mujoco_env.h, which includes this: the eleven robots by the rules of
   v5, v4 and, where papers use them, v3.

   Names     observations, rewards and constants as Gymnasium 1.x has them, constants under their
             keywords there (mujoco_key), all but xml_file, main_body and default_camera_config;
             uph_cost_weight counts, though Gymnasium forgets it. v3 = v4, but that Ant also
             observes 84 zeros and Humanoid's last 84 observations are zero: contact forces were
             not computed then
   Late      what is derived from the state (xpos, cinert, cfrc_ext ...) belongs to the last forward
             pass inside mj_step, before its integration, as in Gymnasium: never call mj_forward
             between a step and its reward */
#ifndef MUJOCO_GYMNASIUM_H
#define MUJOCO_GYMNASIUM_H

/* ---- parts of observations and rewards ---- */

/* Append n numbers, cut to +-clip (0: not). Return where the next ones go; obs may be NULL. */
static double *gym_put(double *obs, const double *from, int n, double clip, int *count)
{
    int i;
    *count += n;
    for (i = 0; obs && i < n; i++) *obs++ = clip > 0 ? mju_clip(from[i], -clip, clip) : from[i];
    return obs;
}

/* Start of the array, NULL as long as there is no mjData. */
#define GYM_FROM(e, field, first) ((e)->data ? (e)->data->field + (first) : NULL)

static double *gym_put_state(const mujoco_env *e, double *obs, int *count)
{
    const mujoco_rules *r = &e->model->task.rules;
    const mjModel *m = e->model->m;
    int first = r->exclude ? r->hidden : 0;
    obs = gym_put(obs, GYM_FROM(e, qpos, first), (int)m->nq - first, 0, count);
    return gym_put(obs, GYM_FROM(e, qvel, 0), (int)m->nv, r->clip, count);
}

static double gym_squares(const double *x, int n, double low, double high)
{
    double sum = 0;
    int i;
    for (i = 0; i < n; i++) sum += mju_clip(x[i], low, high) * mju_clip(x[i], low, high);
    return sum;
}

static double gym_ctrl_cost(const mujoco_env *e, const double *action)
{
    return e->model->task.rules.ctrl_cost *
           gym_squares(action, (int)e->model->m->nu, -HUGE_VAL, HUGE_VAL);
}

/* v5: only while healthy; v4: also on the step that ends the episode */
static double gym_alive(const mujoco_env *e, int healthy)
{
    const mujoco_task *t = &e->model->task;
    return healthy || (t->version < 5 && t->rules.terminate) ? t->rules.healthy : 0;
}

static double gym_dt(const mujoco_env *e)
{
    return e->model->m->opt.timestep * e->model->task.frame_skip;
}

static double gym_distance(const double *a, const double *b)
{
    double d[3];
    mju_sub3(d, a, b);
    return mju_norm3(d);
}

static int gym_inside(const double *x, int n, const double *range)
{
    int i, ok = 1;
    for (i = 0; i < n; i++) ok = ok && x[i] > range[0] && x[i] < range[1];
    return ok;
}

#define GYM_KEY(name, type, count, member) \
    {name, DRL_FIELD_##type, count, offsetof(mujoco_task, member)}
#define GYM_KEY_WEIGHT(name, member) GYM_KEY(name, DOUBLE, 1, rules.member)
#define GYM_KEYS_COMMON \
    GYM_KEY("frame_skip", INT, 1, frame_skip), \
    GYM_KEY("reset_noise_scale", DOUBLE, 1, rules.noise)
#define GYM_KEYS_RUN \
    GYM_KEYS_COMMON, GYM_KEY_WEIGHT("forward_reward_weight", forward), \
    GYM_KEY_WEIGHT("ctrl_cost_weight", ctrl_cost), \
    GYM_KEY("exclude_current_positions_from_observation", BOOL, 1, rules.exclude)
#define GYM_KEYS_HEALTHY \
    GYM_KEY_WEIGHT("healthy_reward", healthy), \
    GYM_KEY("terminate_when_unhealthy", BOOL, 1, rules.terminate), \
    GYM_KEY("healthy_z_range", DOUBLE, 2, rules.z)
#define GYM_KEYS_SEEN \
    GYM_KEY("include_cfrc_ext_in_observation", BOOL, 1, rules.include[0]), \
    GYM_KEY("include_cinert_in_observation", BOOL, 1, rules.include[1]), \
    GYM_KEY("include_cvel_in_observation", BOOL, 1, rules.include[2]), \
    GYM_KEY("include_qfrc_actuator_in_observation", BOOL, 1, rules.include[3])
#define GYM_KEYS_END {NULL, DRL_FIELD_INT, 0, 0}

/* ---- HalfCheetah, Swimmer, Hopper, Walker2d, Ant ---- */

/* x of the first body, as it was in the last forward pass */
static void gym_measure_torso(const mujoco_env *e, double *m) { m[0] = e->data->xpos[3]; }

/* state, then contact forces (Ant) */
static int gym_obs_runner(const mujoco_env *e, double *obs)
{
    const mujoco_task *t = &e->model->task;
    int n = 0, world = t->version >= 5, bodies = (int)e->model->m->nbody - world;
    const double *range = t->rules.contact;
    obs = gym_put_state(e, obs, &n);
    if (t->kind.measure_fn == gym_measure_torso && t->rules.include[0] &&
        (t->rules.forces || t->version == 3)) {
        double *f = obs;
        int i, nf = 6 * bodies;
        gym_put(obs, GYM_FROM(e, cfrc_ext, 6 * world), nf, 0, &n);
        for (i = 0; f && i < nf; i++) f[i] = mju_clip(f[i], range[0], range[1]);
    }
    return n;
}

/* x of the root joint */
static void gym_measure_root(const mujoco_env *e, double *m) { m[0] = e->data->qpos[0]; }

/* speed + alive bonus - control cost - contact cost */
static double gym_reward_runner(const mujoco_env *e, const double *action, int healthy)
{
    const mujoco_rules *r = &e->model->task.rules;
    double contact = 0;
    if (r->forces)
        contact = gym_squares(e->data->cfrc_ext, 6 * (int)e->model->m->nbody, r->contact[0],
                              r->contact[1]);
    return r->forward * ((e->after[0] - e->before[0]) / gym_dt(e)) + gym_alive(e, healthy) -
           gym_ctrl_cost(e, action) - r->contact_cost * contact;
}

static int gym_healthy_hopper(const mujoco_env *e)
{
    const mujoco_rules *r = &e->model->task.rules;
    const double *q = e->data->qpos, *v = e->data->qvel;
    return gym_inside(q + 1, 1, r->z) && gym_inside(q + 2, 1, r->angle) &&
           gym_inside(q + 2, (int)e->model->m->nq - 2, r->state) &&
           gym_inside(v, (int)e->model->m->nv, r->state);
}

static int gym_healthy_walker(const mujoco_env *e)
{
    const mujoco_rules *r = &e->model->task.rules;
    return gym_inside(e->data->qpos + 1, 1, r->z) && gym_inside(e->data->qpos + 2, 1, r->angle);
}

static int gym_healthy_ant(const mujoco_env *e)
{
    const double *z = e->model->task.rules.z;
    return e->data->qpos[2] >= z[0] && e->data->qpos[2] <= z[1];
}

static const mujoco_key gym_keys_runner[] = {GYM_KEYS_RUN, GYM_KEYS_END};
static const mujoco_key gym_keys_hopper[] = {
    GYM_KEYS_RUN, GYM_KEYS_HEALTHY, GYM_KEY("healthy_angle_range", DOUBLE, 2, rules.angle),
    GYM_KEY("healthy_state_range", DOUBLE, 2, rules.state), GYM_KEYS_END};
static const mujoco_key gym_keys_walker[] = {
    GYM_KEYS_RUN, GYM_KEYS_HEALTHY, GYM_KEY("healthy_angle_range", DOUBLE, 2, rules.angle),
    GYM_KEYS_END};
static const mujoco_key gym_keys_ant[] = {
    GYM_KEYS_RUN, GYM_KEYS_HEALTHY, GYM_KEY_WEIGHT("contact_cost_weight", contact_cost),
    GYM_KEY("contact_force_range", DOUBLE, 2, rules.contact),
    GYM_KEY("use_contact_forces", BOOL, 1, rules.forces),
    GYM_KEY("include_cfrc_ext_in_observation", BOOL, 1, rules.include[0]), GYM_KEYS_END};


/* ---- Humanoid, HumanoidStandup ---- */

/* state, inertias and velocities of bodies, joint torques, contact forces */
static int gym_obs_humanoid(const mujoco_env *e, double *obs)
{
    const mujoco_task *t = &e->model->task;
    const mjModel *m = e->model->m;
    const int *seen = t->rules.include;
    int n = 0, v5 = t->version >= 5, bodies = (int)m->nbody - v5, root = v5 ? 6 : 0;
    obs = gym_put_state(e, obs, &n);
    if (seen[1]) obs = gym_put(obs, GYM_FROM(e, cinert, 10 * v5), 10 * bodies, 0, &n);
    if (seen[2]) obs = gym_put(obs, GYM_FROM(e, cvel, 6 * v5), 6 * bodies, 0, &n);
    if (seen[3]) obs = gym_put(obs, GYM_FROM(e, qfrc_actuator, root), (int)m->nv - root, 0, &n);
    if (seen[0]) gym_put(obs, GYM_FROM(e, cfrc_ext, 6 * v5), 6 * bodies, 0, &n);
    return n;
}

/* x of the centre of mass */
static void gym_measure_mass(const mujoco_env *e, double *m)
{
    double sum = 0, mass = 0;
    int i;
    for (i = 0; i < (int)e->model->m->nbody; i++) {
        sum += e->model->m->body_mass[i] * e->data->xipos[3 * i];
        mass += e->model->m->body_mass[i];
    }
    m[0] = sum / mass;
}

/* weight times the squared forces on all bodies, within a range */
static double gym_impact(const mujoco_env *e)
{
    const mujoco_rules *r = &e->model->task.rules;
    double sum = gym_squares(e->data->cfrc_ext, 6 * (int)e->model->m->nbody, -HUGE_VAL, HUGE_VAL);
    return mju_clip(r->contact_cost * sum, r->contact[0], r->contact[1]);
}

static double gym_reward_humanoid(const mujoco_env *e, const double *action, int healthy)
{
    const mujoco_task *t = &e->model->task;
    return t->rules.forward * ((e->after[0] - e->before[0]) / gym_dt(e)) + gym_alive(e, healthy) -
           gym_ctrl_cost(e, action) - (t->version >= 5 ? gym_impact(e) : 0);
}

static int gym_healthy_humanoid(const mujoco_env *e)
{
    return gym_inside(e->data->qpos + 2, 1, e->model->task.rules.z);
}

static double gym_reward_standup(const mujoco_env *e, const double *action, int healthy)
{
    (void)healthy;
    return e->model->task.rules.forward * (e->data->qpos[2] / e->model->m->opt.timestep) -
           gym_ctrl_cost(e, action) - gym_impact(e) + 1;
}

static const mujoco_key gym_keys_humanoid[] = {
    GYM_KEYS_RUN, GYM_KEYS_HEALTHY, GYM_KEY_WEIGHT("contact_cost_weight", contact_cost),
    GYM_KEY("contact_cost_range", DOUBLE, 2, rules.contact), GYM_KEYS_SEEN, GYM_KEYS_END};
static const mujoco_key gym_keys_standup[] = {
    GYM_KEYS_COMMON, GYM_KEY_WEIGHT("uph_cost_weight", forward),
    GYM_KEY_WEIGHT("ctrl_cost_weight", ctrl_cost),
    GYM_KEY_WEIGHT("impact_cost_weight", contact_cost),
    GYM_KEY("impact_cost_range", DOUBLE, 2, rules.contact),
    GYM_KEY("exclude_current_positions_from_observation", BOOL, 1, rules.exclude),
    GYM_KEYS_SEEN, GYM_KEYS_END};


/* ---- InvertedPendulum, InvertedDoublePendulum ---- */
static double gym_reward_pendulum(const mujoco_env *e, const double *action, int healthy)
{
    (void)action;
    return healthy || e->model->task.version < 5 ? 1 : 0;
}

static int gym_healthy_pendulum(const mujoco_env *e)
{
    return fabs(e->data->qpos[1]) <= .2;
}

/* x, sines and cosines of the angles, velocities, constraint forces (v5: that of the cart only) */
static int gym_obs_double(const mujoco_env *e, double *obs)
{
    const mjData *d = e->data;
    int i, n = 0, forces = e->model->task.version >= 5 ? 1 : 3;
    if (obs) {
        obs[0] = d->qpos[0];
        for (i = 1; i < 3; i++) {
            obs[i] = sin(d->qpos[i]);
            obs[i + 2] = cos(d->qpos[i]);
        }
        gym_put(gym_put(obs + 5, d->qvel, 3, 10, &n), d->qfrc_constraint, forces, 10, &n);
    }
    return 8 + forces;
}

/* tip at x = 0, z = 2, and slow */
static double gym_reward_double(const mujoco_env *e, const double *action, int healthy)
{
    const double *tip = e->data->site_xpos, *v = e->data->qvel;
    double far = .01 * tip[0] * tip[0] + (tip[2] - 2) * (tip[2] - 2);
    (void)action;
    return gym_alive(e, healthy) - far - (1e-3 * v[1] * v[1] + 5e-3 * v[2] * v[2]);
}

static int gym_healthy_double(const mujoco_env *e) { return e->data->site_xpos[2] > 1; }

static int gym_bind_double(mujoco_model *model, char *error, size_t error_size)
{
    if (model->m->nsite > 0) return 0;
    return mujoco_say(error, error_size, model->task.model, " has no ", "tip");
}

static const mujoco_key gym_keys_pendulum[] = {GYM_KEYS_COMMON, GYM_KEYS_END};
static const mujoco_key gym_keys_double[] = {
    GYM_KEYS_COMMON, GYM_KEY_WEIGHT("healthy_reward", healthy), GYM_KEYS_END};


/* ---- Reacher, Pusher ---- */
static double gym_uniform(drl_rng *rng, double low, double high)
{
    return low + (high - low) * (double)drl_rng_uniform(rng);
}

/* Fill model->id with the bodies' numbers. */
static int gym_bodies(mujoco_model *model, const char *const *names, int n, int nq, char *error,
                      size_t error_size)
{
    int i;
    for (i = 0; i < n; i++) {
        model->id[i] = mj_name2id(model->m, mjOBJ_BODY, names[i]);
        if (model->id[i] < 0)
            return mujoco_say(error, error_size, model->task.model, " has no body ", names[i]);
    }
    if ((int)model->m->nq == nq && (int)model->m->nv == nq) return 0;
    return mujoco_say(error, error_size, model->task.model, " is not the model of ",
                      model->task.name);
}

static const double *gym_body(const mujoco_env *e, int i)
{
    return e->data->xpos + 3 * e->model->id[i];
}

static int gym_bind_reacher(mujoco_model *model, char *error, size_t error_size)
{
    static const char *const names[] = {"fingertip", "target"};
    return gym_bodies(model, names, 2, 4, error, error_size);
}

/* arm anywhere near, target in a disc of radius .2 */
static int gym_episode_reacher(mujoco_env *e, drl_rng *rng)
{
    double *q = mujoco_pose(e), *v = q + 4;
    int i;
    for (i = 0; i < 2; i++) q[i] += gym_uniform(rng, -.1, .1);
    do {
        for (i = 2; i < 4; i++) q[i] = gym_uniform(rng, -.2, .2);
    } while (!(q[2] * q[2] + q[3] * q[3] < .04));
    for (i = 0; i < 2; i++) v[i] = gym_uniform(rng, -.005, .005);
    return mujoco_pose_start(e);
}

static int gym_obs_reacher(const mujoco_env *e, double *obs)
{
    int i, places = e->model->task.version >= 5 ? 2 : 3;
    if (obs) {
        const double *q = e->data->qpos, *tip = gym_body(e, 0), *target = gym_body(e, 1);
        for (i = 0; i < 2; i++) {
            obs[i] = cos(q[i]);
            obs[i + 2] = sin(q[i]);
            obs[i + 4] = q[i + 2];
            obs[i + 6] = e->data->qvel[i];
        }
        for (i = 0; i < places; i++) obs[8 + i] = tip[i] - target[i];
    }
    return 8 + places;
}

static void gym_measure_reacher(const mujoco_env *e, double *m)
{
    m[0] = gym_distance(gym_body(e, 0), gym_body(e, 1));
}

/* v5 measures the distance after the step, v4 before it */
static double gym_reward_reacher(const mujoco_env *e, const double *action, int healthy)
{
    const mujoco_task *t = &e->model->task;
    (void)healthy;
    return -t->rules.forward * (t->version >= 5 ? e->after[0] : e->before[0]) -
           gym_ctrl_cost(e, action);
}

static int gym_bind_pusher(mujoco_model *model, char *error, size_t error_size)
{
    static const char *const names[] = {"tips_arm", "object", "goal"};
    return gym_bodies(model, names, 3, 11, error, error_size);
}

/* arm straight, the object (slides along y, x) at least .17 away from the goal */
static int gym_episode_pusher(mujoco_env *e, drl_rng *rng)
{
    double *q = mujoco_pose(e), *v = q + 11;
    int i;
    for (i = 0; i < 11; i++) q[i] = 0;
    do {
        q[7] = gym_uniform(rng, -.3, 0);
        q[8] = gym_uniform(rng, -.2, .2);
    } while (!(q[7] * q[7] + q[8] * q[8] > .17 * .17));
    for (i = 0; i < 7; i++) v[i] = gym_uniform(rng, -.005, .005);
    return mujoco_pose_start(e);
}

static int gym_obs_pusher(const mujoco_env *e, double *obs)
{
    int i, n = 0;
    if (obs) {
        obs = gym_put(obs, e->data->qpos, 7, 0, &n);
        obs = gym_put(obs, e->data->qvel, 7, 0, &n);
        for (i = 0; i < 3; i++) obs = gym_put(obs, gym_body(e, i), 3, 0, &n);
    }
    return 23;
}

static void gym_measure_pusher(const mujoco_env *e, double *m)
{
    m[0] = gym_distance(gym_body(e, 1), gym_body(e, 2));
    m[1] = gym_distance(gym_body(e, 1), gym_body(e, 0));
}

/* v5 measures the distances after the step, v4 before it */
static double gym_reward_pusher(const mujoco_env *e, const double *action, int healthy)
{
    const mujoco_task *t = &e->model->task;
    const double *far = t->version >= 5 ? e->after : e->before;
    (void)healthy;
    return -t->rules.forward * far[0] - gym_ctrl_cost(e, action) - t->rules.contact_cost * far[1];
}

static const mujoco_key gym_keys_reacher[] = {
    GYM_KEY("frame_skip", INT, 1, frame_skip), GYM_KEY_WEIGHT("reward_dist_weight", forward),
    GYM_KEY_WEIGHT("reward_control_weight", ctrl_cost), GYM_KEYS_END};
static const mujoco_key gym_keys_pusher[] = {
    GYM_KEY("frame_skip", INT, 1, frame_skip), GYM_KEY_WEIGHT("reward_dist_weight", forward),
    GYM_KEY_WEIGHT("reward_control_weight", ctrl_cost),
    GYM_KEY_WEIGHT("reward_near_weight", contact_cost), GYM_KEYS_END};


/* ---- the list ---- */

/* Kinds: keys, load, bind, episode, physics | observation, measure, reward, health */
#define GYM_RUN \
    {gym_keys_runner, NULL, NULL, NULL, NULL, gym_obs_runner, gym_measure_root, \
     gym_reward_runner, NULL}
#define GYM_HOP \
    {gym_keys_hopper, NULL, NULL, NULL, NULL, gym_obs_runner, gym_measure_root, \
     gym_reward_runner, gym_healthy_hopper}
#define GYM_WALK \
    {gym_keys_walker, NULL, NULL, NULL, NULL, gym_obs_runner, gym_measure_root, \
     gym_reward_runner, gym_healthy_walker}
#define GYM_CRAWL \
    {gym_keys_ant, NULL, NULL, NULL, NULL, gym_obs_runner, gym_measure_torso, gym_reward_runner, \
     gym_healthy_ant}
#define GYM_HUMAN \
    {gym_keys_humanoid, NULL, NULL, NULL, NULL, gym_obs_humanoid, gym_measure_mass, \
     gym_reward_humanoid, gym_healthy_humanoid}
#define GYM_STAND \
    {gym_keys_standup, NULL, NULL, NULL, NULL, gym_obs_humanoid, NULL, gym_reward_standup, NULL}
#define GYM_POLE \
    {gym_keys_pendulum, NULL, NULL, NULL, NULL, NULL, NULL, gym_reward_pendulum, \
     gym_healthy_pendulum}
#define GYM_POLES \
    {gym_keys_double, NULL, gym_bind_double, NULL, NULL, gym_obs_double, NULL, gym_reward_double, \
     gym_healthy_double}
#define GYM_REACH \
    {gym_keys_reacher, NULL, gym_bind_reacher, gym_episode_reacher, NULL, gym_obs_reacher, \
     gym_measure_reacher, gym_reward_reacher, NULL}
#define GYM_PUSH \
    {gym_keys_pusher, NULL, gym_bind_pusher, gym_episode_pusher, NULL, gym_obs_pusher, \
     gym_measure_pusher, gym_reward_pusher, NULL}

/* Columns: weights of forward, control, contact | alive | noise, normal | hidden, clip, forces |
   ranges of z, angle, state, contact | terminate, exclude, include */
#define GYM_ANY {0, 0}
#define GYM_FLAGS 1, 1, {1, 1, 1, 1}
#define GYM_CHEETAH {1, .1, 0, 0, .1, 1, 1, 0, 0, GYM_ANY, GYM_ANY, GYM_ANY, GYM_ANY, GYM_FLAGS}
#define GYM_SWIMMER {1, 1e-4, 0, 0, .1, 0, 2, 0, 0, GYM_ANY, GYM_ANY, GYM_ANY, GYM_ANY, GYM_FLAGS}
#define GYM_HOPPER \
    {1,   1e-3,            0,         1,           .005,    0, 1, 10, 0, \
     {.7, HUGE_VAL}, {-.2, .2}, {-100, 100}, GYM_ANY, GYM_FLAGS}
#define GYM_WALKER \
    {1, 1e-3, 0, 1, .005, 0, 1, 10, 0, {.8, 2}, {-1, 1}, GYM_ANY, GYM_ANY, GYM_FLAGS}
#define GYM_ANT(forces) \
    {1, .5, 5e-4, 1, .1, 1, 2, 0, forces, {.2, 1}, GYM_ANY, GYM_ANY, {-1, 1}, GYM_FLAGS}
#define GYM_HUMANOID(forces) \
    {1.25,   .1,      5e-7,    5,               .01, 0, 2, 0, forces, \
     {1, 2}, GYM_ANY, GYM_ANY, {-HUGE_VAL, 10}, GYM_FLAGS}
#define GYM_STANDUP \
    {1,       .1,      5e-7,    0,               .01, 0, 2, 0, 1, \
     GYM_ANY, GYM_ANY, GYM_ANY, {-HUGE_VAL, 10}, GYM_FLAGS}
#define GYM_PENDULUM {0, 0, 0, 1, .01, 0, 0, 0, 0, GYM_ANY, GYM_ANY, GYM_ANY, GYM_ANY, GYM_FLAGS}
#define GYM_DOUBLE {0, 0, 0, 10, .1, 1, 0, 10, 0, GYM_ANY, GYM_ANY, GYM_ANY, GYM_ANY, GYM_FLAGS}
#define GYM_REACHER {1, 1, 0, 0, 0, 0, 0, 0, 0, GYM_ANY, GYM_ANY, GYM_ANY, GYM_ANY, GYM_FLAGS}
#define GYM_PUSHER {1, .1, .5, 0, 0, 0, 0, 0, 0, GYM_ANY, GYM_ANY, GYM_ANY, GYM_ANY, GYM_FLAGS}

/* Columns: name, model, kind, version | observations, actions, frame_skip, time limit | rules */
static const mujoco_task gym_tasks[] = {
    {"InvertedPendulum-v5", "inverted_pendulum.xml", GYM_POLE, 5, 4, 1, 2, 1000, GYM_PENDULUM},
    {"InvertedPendulum-v4", "inverted_pendulum.xml", GYM_POLE, 4, 4, 1, 2, 1000, GYM_PENDULUM},
    {"InvertedDoublePendulum-v5", "inverted_double_pendulum.xml", GYM_POLES, 5, 9, 1, 5, 1000,
     GYM_DOUBLE},
    {"InvertedDoublePendulum-v4", "inverted_double_pendulum.xml", GYM_POLES, 4, 11, 1, 5, 1000,
     GYM_DOUBLE},
    {"Reacher-v5", "reacher.xml", GYM_REACH, 5, 10, 2, 2, 50, GYM_REACHER},
    {"Reacher-v4", "reacher.xml", GYM_REACH, 4, 11, 2, 2, 50, GYM_REACHER},
    {"Pusher-v5", "pusher_v5.xml", GYM_PUSH, 5, 23, 7, 5, 100, GYM_PUSHER},
    {"Pusher-v4", "pusher.xml", GYM_PUSH, 4, 23, 7, 5, 100, GYM_PUSHER},
    {"Swimmer-v5", "swimmer.xml", GYM_RUN, 5, 8, 2, 4, 1000, GYM_SWIMMER},
    {"Swimmer-v4", "swimmer.xml", GYM_RUN, 4, 8, 2, 4, 1000, GYM_SWIMMER},
    {"Swimmer-v3", "swimmer.xml", GYM_RUN, 3, 8, 2, 4, 1000, GYM_SWIMMER},
    {"HalfCheetah-v5", "half_cheetah.xml", GYM_RUN, 5, 17, 6, 5, 1000, GYM_CHEETAH},
    {"HalfCheetah-v4", "half_cheetah.xml", GYM_RUN, 4, 17, 6, 5, 1000, GYM_CHEETAH},
    {"HalfCheetah-v3", "half_cheetah.xml", GYM_RUN, 3, 17, 6, 5, 1000, GYM_CHEETAH},
    {"Hopper-v5", "hopper.xml", GYM_HOP, 5, 11, 3, 4, 1000, GYM_HOPPER},
    {"Hopper-v4", "hopper.xml", GYM_HOP, 4, 11, 3, 4, 1000, GYM_HOPPER},
    {"Hopper-v3", "hopper.xml", GYM_HOP, 3, 11, 3, 4, 1000, GYM_HOPPER},
    {"Walker2d-v5", "walker2d_v5.xml", GYM_WALK, 5, 17, 6, 4, 1000, GYM_WALKER},
    {"Walker2d-v4", "walker2d.xml", GYM_WALK, 4, 17, 6, 4, 1000, GYM_WALKER},
    {"Walker2d-v3", "walker2d.xml", GYM_WALK, 3, 17, 6, 4, 1000, GYM_WALKER},
    {"Ant-v5", "ant.xml", GYM_CRAWL, 5, 105, 8, 5, 1000, GYM_ANT(1)},
    {"Ant-v4", "ant.xml", GYM_CRAWL, 4, 27, 8, 5, 1000, GYM_ANT(0)},
    {"Ant-v3", "ant.xml", GYM_CRAWL, 3, 111, 8, 5, 1000, GYM_ANT(0)},
    {"Humanoid-v5", "humanoid.xml", GYM_HUMAN, 5, 348, 17, 5, 1000, GYM_HUMANOID(1)},
    {"Humanoid-v4", "humanoid.xml", GYM_HUMAN, 4, 376, 17, 5, 1000, GYM_HUMANOID(1)},
    {"Humanoid-v3", "humanoid.xml", GYM_HUMAN, 3, 376, 17, 5, 1000, GYM_HUMANOID(0)},
    {"HumanoidStandup-v5", "humanoidstandup.xml", GYM_STAND, 5, 348, 17, 5, 1000, GYM_STANDUP},
    {"HumanoidStandup-v4", "humanoidstandup.xml", GYM_STAND, 4, 376, 17, 5, 1000, GYM_STANDUP},
};

static const mujoco_task *gym_task(int i)
{
    int n = (int)(sizeof gym_tasks / sizeof gym_tasks[0]);
    return i >= 0 && i < n ? &gym_tasks[i] : NULL;
}

#endif /* MUJOCO_GYMNASIUM_H */
