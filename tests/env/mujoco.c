/* The MuJoCo tasks against recorded figures, and what happens when things go wrong.

     cc -O2 tests/env/mujoco.c -o build/test_mujoco -lmujoco -lm && build/test_mujoco

   golden_<model>.csv  50 steps of Gymnasium's models and rules on MuJoCo 2.2.2, from the initial
                       pose plus a wave, with waves as actions. A row: step, contacts, reward
                       and end by each version of the rules, qpos, qvel, the longest observation
                       (humanoids: not at every step). Row 0 follows the reset. Rounded to 11, 9, 6
                       decimals up to step 10, 25, 50
   model_<model>.txt   Gymnasium's model compiled by MuJoCo 2.2.2: rows field, count, values... */
#define _XOPEN_SOURCE 700 /* mkdtemp, readlink also under -std=c99 */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#define MUJOCO_ENV_IMPLEMENTATION
#include "../../examples/mujoco/mujoco_env.h"
#include "../test.h"
#include <pthread.h>

#define MAX_DIM 512
#define GYMNASIUM(k) (mujoco_env_task(k) && !mujoco_env_is_dmc(mujoco_env_task(k)))
#define MAX_LINE 16384

/* Open a file beside this one. */
static FILE *data_open(const char *head, const char *name, const char *tail)
{
    const char *slash = strrchr(__FILE__, '/');
    char path[1024];
    FILE *f;
    snprintf(path, sizeof path, "%.*s%s%s%s", slash ? (int)(slash - __FILE__) + 1 : 0, __FILE__,
             head, name, tail);
    f = fopen(path, "r");
    if (!f) printf("  cannot read %s\n", path);
    return f;
}

/* Read numbers that are separated by blanks or commas; return how many. */
static int numbers(const char *text, double *x, int max)
{
    int n = 0;
    while (n < max) {
        char *end;
        x[n] = strtod(text, &end);
        if (end == text) break;
        n++;
        text = end + (*end == ',');
    }
    return n;
}

static mujoco_env *make(drl_env *env, const char *task)
{
    char error[512];
    if (mujoco_env_init(env, task, NULL, error, sizeof error) != 0) {
        printf("  %s\n", error);
        exit(1);
    }
    return mujoco_env_get(env);
}

static void actions(drl_rng *rng, const drl_env *env, float *action)
{
    int i;
    for (i = 0; i < env->act_dim; i++) action[i] = 2 * drl_rng_uniform(rng) - 1;
}

/* ---- golden trajectories ---- */

/* the state before the first step: the initial pose plus a wave */
static void wave_state(const mjModel *m, const char *name, double *q, double *v)
{
    static const struct { const char *name; double q, v; } noise[] = {
        {"inverted_pendulum", .01, .01}, {"inverted_double_pendulum", .1, .1},
        {"reacher", .1, .005}, {"pusher", 0, .005}, {"swimmer", .1, .1}, {"hopper", .005, .005},
        {"half_cheetah", .1, .1}, {"walker2d", .005, .005}, {"ant", .1, .1},
        {"humanoid", .01, .01}, {"humanoidstandup", .01, .01}, {"pusher_v5", 0, .005},
        {"walker2d_v5", .005, .005}};
    int i, k;
    for (k = 0; strcmp(noise[k].name, name) != 0;) k++;
    for (i = 0; i < (int)m->nq; i++) q[i] = m->qpos0[i] + noise[k].q * sin(1.3 * i + .5);
    for (i = 0; i < (int)m->nv; i++) v[i] = noise[k].v * cos(.9 * i + .2);
    if (!strcmp(name, "reacher")) {
        q[2] = .11, q[3] = -.07;
        v[2] = v[3] = 0;
    }
    if (!strncmp(name, "pusher", 6)) {
        q[7] = -.21, q[8] = .13, q[9] = q[10] = 0;
        for (i = 7; i < 11; i++) v[i] = 0;
    }
}

static void wave_action(const mjModel *m, int step, double *action)
{
    int i;
    for (i = 0; i < (int)m->nu; i++) {
        const mjtNum *r = m->actuator_ctrlrange + 2 * i;
        action[i] = (r[0] + r[1]) / 2 + (r[1] - r[0]) / 2 * (.5 * sin(.37 * (step - 1) + 1.7 * i));
    }
}

/* The recorded observation is the longest of the model's tasks; make of it that of this task.
   Returns its length. */
static int expected_obs(const mujoco_task *t, const double *row, double *obs)
{
    static const int humanoid[][2] = {{140, 10}, {84, 6}, {23, 6}, {84, 6}}; /* world and root */
    int i, k, n = 45, at = 45;
    memset(obs, 0, MAX_DIM * sizeof *obs);
    if (!strncmp(t->name, "Humanoid", 8)) {
        memcpy(obs, row, 45 * sizeof *obs);
        for (k = 0; k < 4; at += humanoid[k++][0])
            for (i = t->version >= 5 ? humanoid[k][1] : 0; i < humanoid[k][0]; i++)
                obs[n++] = t->version == 3 && k == 3 ? 0 : row[at + i];
        return n;
    }
    if (!strcmp(t->name, "Ant-v3")) return memcpy(obs, row, 27 * sizeof *obs), 111;
    memcpy(obs, row, (size_t)t->obs_dim * sizeof *obs);
    return t->obs_dim;
}

/* Replay one file by the rules of one task; `column`: which reward of the file it has. */
static void replay(const char *task, const char *name, int column, int columns)
{
    static char line[MAX_LINE];
    static const int until[3] = {10, 25, 50};
    static const double tolerance[3] = {1e-9, 1e-7, 1e-4};
    static double row[2 * MAX_DIM], obs[MAX_DIM];
    /* humanoids: the solver stops before it has converged, so versions differ from the first
       contacts on (HumanoidStandup: at once) */
    int checked = mj_version() < 300 || strncmp(task, "Humanoid", 8) != 0 ? 3
                  : !strncmp(task, "Humanoid-", 9)                        ? 1
                                                                          : 0;
    double worst[3] = {0, 0, 0}, q[MAX_DIM], v[MAX_DIM], action[32];
    FILE *f = data_open("golden_", name, ".csv");
    drl_env env;
    mujoco_env *e = make(&env, task);
    const mjModel *m = e->model->m;
    int i, flags = 0, rows = 0, nq = (int)m->nq, nv = (int)m->nv;
    wave_state(m, name, q, v);
    CHECK(mujoco_env_set_state(e, q, v) == 0);
    while (f && fgets(line, sizeof line, f)) {
        int n = numbers(line, row, 2 * MAX_DIM), step = (int)row[0], k;
        const double *state = row + 2 + 2 * columns, *end = row + n;
        if (line[0] == '#') continue;
        CHECK(n >= 2 + 2 * columns + nq + nv && step == rows);
        wave_action(m, step, action);
        e->ready = 1; /* the recording goes on after the end */
        if (step > 0) CHECK(mujoco_env_step(e, action, &flags) == 0);
        for (k = 0; k < 2 && step > until[k];) k++;
        for (i = 0; i < nq; i++) worst[k] = mju_max(worst[k], fabs(e->data->qpos[i] - state[i]));
        state += nq;
        for (i = 0; i < nv; i++) worst[k] = mju_max(worst[k], fabs(e->data->qvel[i] - state[i]));
        state += nv;
        if (state < end) {
            CHECK(expected_obs(&e->model->task, state, obs) == env.obs_dim);
            for (i = 0; i < env.obs_dim; i++)
                worst[k] = mju_max(worst[k], fabs(e->obs[i] - obs[i]));
        }
        if (step > 0) worst[k] = mju_max(worst[k], fabs(e->reward - row[2 + 2 * column]));
        CHECK(flags == ((int)row[3 + 2 * column] ? DRL_ENV_TERMINATED : 0));
        CHECK(e->data->ncon == (int)row[1] || checked < 3);
        rows++;
    }
    CHECK(rows == 51);
    for (i = 0; i < checked; i++) CHECK_NEAR(worst[i], 0, tolerance[i]);
    printf("  %-25s largest difference: %.1e to step 10, %.1e to 25, %.1e to 50\n", task, worst[0],
           worst[1], worst[2]);
    if (f) fclose(f);
    env.free_fn(env.user);
}

TEST(golden_inverted_pendulum)
{
    replay("InvertedPendulum-v5", "inverted_pendulum", 0, 2);
    replay("InvertedPendulum-v4", "inverted_pendulum", 1, 2);
    replay("InvertedDoublePendulum-v5", "inverted_double_pendulum", 0, 2);
    replay("InvertedDoublePendulum-v4", "inverted_double_pendulum", 1, 2);
}

TEST(golden_reacher_pusher)
{
    replay("Reacher-v5", "reacher", 0, 2);
    replay("Reacher-v4", "reacher", 1, 2);
    replay("Pusher-v5", "pusher_v5", 0, 1);
    replay("Pusher-v4", "pusher", 0, 1);
}

TEST(golden_swimmer_half_cheetah) /* equal rules in all versions */
{
    replay("Swimmer-v5", "swimmer", 0, 1);
    replay("Swimmer-v4", "swimmer", 0, 1);
    replay("Swimmer-v3", "swimmer", 0, 1);
    replay("HalfCheetah-v5", "half_cheetah", 0, 1);
    replay("HalfCheetah-v4", "half_cheetah", 0, 1);
    replay("HalfCheetah-v3", "half_cheetah", 0, 1);
}

TEST(golden_hopper_walker2d)
{
    replay("Hopper-v5", "hopper", 0, 2);
    replay("Hopper-v4", "hopper", 1, 2);
    replay("Hopper-v3", "hopper", 1, 2);
    replay("Walker2d-v5", "walker2d_v5", 0, 1);
    replay("Walker2d-v4", "walker2d", 0, 1);
    replay("Walker2d-v3", "walker2d", 0, 1);
}

TEST(golden_ant)
{
    replay("Ant-v5", "ant", 0, 2);
    replay("Ant-v4", "ant", 1, 2);
    replay("Ant-v3", "ant", 1, 2);
}

TEST(golden_humanoid)
{
    replay("Humanoid-v5", "humanoid", 0, 2);
    replay("Humanoid-v4", "humanoid", 1, 2);
    replay("Humanoid-v3", "humanoid", 1, 2);
    replay("HumanoidStandup-v5", "humanoidstandup", 0, 2);
    replay("HumanoidStandup-v4", "humanoidstandup", 1, 2);
}

/* ---- compiled models ---- */
typedef struct field {
    const char *name;
    const double *real;
    const int *integer;
    int count;
} field;

/* Check one line of the recorded model. Returns 1 if the field is one that we compare. */
static int field_check(const mjModel *m, const char *model, const char *line)
{
    int nb = (int)m->nbody, nj = (int)m->njnt, nv = (int)m->nv, ng = (int)m->ngeom, nu = (int)m->nu;
    double limited[64];
    const field fields[] = {
        {"opt.timestep", &m->opt.timestep, NULL, 1},
        {"opt.gravity", m->opt.gravity, NULL, 3},
        {"opt.density", &m->opt.density, NULL, 1},
        {"opt.viscosity", &m->opt.viscosity, NULL, 1},
        {"opt.impratio", &m->opt.impratio, NULL, 1},
        {"opt.tolerance", &m->opt.tolerance, NULL, 1},
        {"opt.integrator", NULL, &m->opt.integrator, 1},
        {"opt.cone", NULL, &m->opt.cone, 1},
        {"opt.solver", NULL, &m->opt.solver, 1},
        {"opt.iterations", NULL, &m->opt.iterations, 1},
        {"opt.disableflags", NULL, &m->opt.disableflags, 1},
        {"stat.meaninertia", &m->stat.meaninertia, NULL, 1},
        {"qpos0", m->qpos0, NULL, (int)m->nq},
        {"qpos_spring", m->qpos_spring, NULL, (int)m->nq},
        {"body_parentid", NULL, m->body_parentid, nb},
        {"body_pos", m->body_pos, NULL, 3 * nb},
        {"body_quat", m->body_quat, NULL, 4 * nb},
        {"body_ipos", m->body_ipos, NULL, 3 * nb},
        {"body_mass", m->body_mass, NULL, nb},
        {"body_subtreemass", m->body_subtreemass, NULL, nb},
        {"body_inertia", m->body_inertia, NULL, 3 * nb},
        {"body_invweight0", m->body_invweight0, NULL, 2 * nb},
        {"jnt_type", NULL, m->jnt_type, nj},
        {"jnt_bodyid", NULL, m->jnt_bodyid, nj},
        {"jnt_limited", limited, NULL, nj},
        {"geom_margin", m->geom_margin, NULL, ng},
        {"jnt_pos", m->jnt_pos, NULL, 3 * nj},
        {"jnt_axis", m->jnt_axis, NULL, 3 * nj},
        {"jnt_range", m->jnt_range, NULL, 2 * nj},
        {"jnt_stiffness", m->jnt_stiffness, NULL, nj},
        {"jnt_margin", m->jnt_margin, NULL, nj},
        {"jnt_solref", m->jnt_solref, NULL, 2 * nj},
        {"jnt_solimp", m->jnt_solimp, NULL, 5 * nj},
        {"dof_armature", m->dof_armature, NULL, nv},
        {"dof_damping", m->dof_damping, NULL, nv},
        {"dof_frictionloss", m->dof_frictionloss, NULL, nv},
        {"dof_invweight0", m->dof_invweight0, NULL, nv},
        {"geom_type", NULL, m->geom_type, ng},
        {"geom_bodyid", NULL, m->geom_bodyid, ng},
        {"geom_contype", NULL, m->geom_contype, ng},
        {"geom_conaffinity", NULL, m->geom_conaffinity, ng},
        {"geom_condim", NULL, m->geom_condim, ng},
        {"geom_pos", m->geom_pos, NULL, 3 * ng},
        {"geom_friction", m->geom_friction, NULL, 3 * ng},
        {"geom_gap", m->geom_gap, NULL, ng},
        {"geom_solref", m->geom_solref, NULL, 2 * ng},
        {"geom_solimp", m->geom_solimp, NULL, 5 * ng},
        {"actuator_trnid", NULL, m->actuator_trnid, 2 * nu},
        {"actuator_ctrlrange", m->actuator_ctrlrange, NULL, 2 * nu},
        {"actuator_gear", m->actuator_gear, NULL, 6 * nu},
        {"actuator_acc0", m->actuator_acc0, NULL, nu},
    };
    double want[512];
    char name[64];
    int i, j, n, used = 0;
    for (i = 0; i < nj; i++) limited[i] = m->jnt_limited[i];
    if (sscanf(line, "%63s %d%n", name, &n, &used) != 2) return 0;
    for (i = 0; i < (int)(sizeof fields / sizeof fields[0]); i++) {
        const field *f = &fields[i];
        int faults = test_faults;
        if (strcmp(f->name, name) != 0) continue;
        CHECK(n == f->count && n <= 512 && numbers(line + used, want, n) == n);
        for (j = 0; j < f->count && j < n; j++) {
            double got = f->real ? f->real[j] : f->integer[j];
            if (f->real == m->geom_margin && mj_version() >= 350) got *= 2; /* mended */
            CHECK_NEAR(got, want[j], 1e-13 * (10 + fabs(want[j])));
        }
        if (test_faults != faults) printf("  ... in %s of %s\n", name, model);
        return 1;
    }
    return 0;
}

static void model(const char *task, const char *name, double mass)
{
    static char line[MAX_LINE];
    FILE *f = data_open("model_", name, ".txt");
    drl_env env;
    mujoco_env *e = make(&env, task);
    const mjModel *m = e->model->m;
    double total = 0;
    int i, n = 0;
    while (f && fgets(line, sizeof line, f)) n += field_check(m, name, line);
    CHECK(n == 51);
    for (i = 0; i < (int)m->nbody; i++) total += m->body_mass[i];
    CHECK_NEAR(total, mass, 1e-4);
    for (i = 0; i < (int)m->nu; i++) CHECK(m->actuator_ctrllimited[i]);
    CHECK(mj_name2id(m, mjOBJ_CAMERA, "track") >= 0);
    if (f) fclose(f);
    env.free_fn(env.user);
}

TEST(compiled_models)
{
    model("InvertedPendulum-v5", "inverted_pendulum", 15.4906);
    model("InvertedDoublePendulum-v5", "inverted_double_pendulum", 18.8694);
    model("Reacher-v5", "reacher", .078452);
    model("Pusher-v5", "pusher_v5", 13.673);
    model("Pusher-v4", "pusher", 13.673);
    model("Swimmer-v5", "swimmer", 106.8142);
    model("Humanoid-v5", "humanoid", 42.116);
    model("HumanoidStandup-v5", "humanoidstandup", 42.116);
    model("HalfCheetah-v5", "half_cheetah", 14);
    model("Hopper-v5", "hopper", 15.82001);
    model("Walker2d-v4", "walker2d", 23.67715);
    model("Walker2d-v5", "walker2d_v5", 23.67715);
    model("Ant-v5", "ant", .910881);
}

/* ---- reset ---- */
TEST(reset_is_seeded)
{
    int k;
    for (k = 0; GYMNASIUM(k); k++) {
        const mujoco_task *t = mujoco_env_task(k);
        const mujoco_rules *r = &t->rules;
        static float a[MAX_DIM], b[MAX_DIM], c[MAX_DIM];
        float action[32] = {0}, reward;
        double sum = 0, squares = 0, far = 0;
        drl_env env;
        mujoco_env *e = make(&env, t->name);
        int i, flags, n = 0, seed, seeds = 20 + 1200 / (int)e->model->m->nv;
        CHECK(env.reset_fn(env.user, 7, a) == 0);
        env.step_fn(env.user, action, b, &reward, &flags);
        CHECK(env.reset_fn(env.user, 7, b) == 0 && e->elapsed == 0);
        CHECK(env.reset_fn(env.user, 8, c) == 0);
        CHECK(memcmp(a, b, (size_t)env.obs_dim * sizeof(float)) == 0);
        CHECK(memcmp(a, c, (size_t)env.obs_dim * sizeof(float)) != 0);
        for (seed = 0; seed < seeds && r->noise > 0; seed++) {
            env.reset_fn(env.user, (uint64_t)seed, a);
            for (i = 0; i < (int)e->model->m->nv; i++, n++) {
                double v = e->data->qvel[i] / r->noise;
                sum += v;
                squares += v * v;
                far = mju_max(far, fabs(v));
            }
            for (i = 0; i < (int)e->model->m->nq; i++) /* the quaternion is normalised: 2 x noise */
                CHECK(fabs(e->data->qpos[i] - e->model->m->qpos0[i]) <= 2 * r->noise);
        }
        if (n) { /* 5 standard errors of more than 1200 draws */
            CHECK_NEAR(sum / n, 0, 5 / sqrt(n));
            CHECK_NEAR(squares / n, r->normal ? 1 : 1. / 3, 5 * 1.5 / sqrt(n));
            CHECK(r->normal ? far > 2 : far <= 1);
        }
        env.free_fn(env.user);
    }
}

/* where the arms' tasks begin: bounds are respected, and reached within a few percent */
static void reset_box(const char *task, const int *index, const double *low, const double *high,
                      int n)
{
    double least[4] = {9, 9, 9, 9}, most[4] = {-9, -9, -9, -9};
    float obs[32];
    drl_env env;
    mujoco_env *e = make(&env, task);
    int i, seed;
    for (seed = 0; seed < 1000; seed++) {
        const double *q = e->data->qpos;
        CHECK(env.reset_fn(env.user, (uint64_t)seed, obs) == 0);
        for (i = 0; i < n; i++) {
            least[i] = mju_min(least[i], q[index[i]]);
            most[i] = mju_max(most[i], q[index[i]]);
        }
        if (!strncmp(task, "Reacher", 7)) {
            CHECK(q[2] * q[2] + q[3] * q[3] < .04 && e->data->qvel[2] == 0);
        } else {
            CHECK(q[7] * q[7] + q[8] * q[8] > .17 * .17 && q[0] == 0 && q[9] == 0 && q[10] == 0);
            for (i = 7; i < 11; i++) CHECK(e->data->qvel[i] == 0);
        }
        for (i = 0; i < (int)e->model->m->nu; i++) CHECK(fabs(e->data->qvel[i]) <= .005);
    }
    for (i = 0; i < n; i++) {
        CHECK(least[i] >= low[i] && least[i] < low[i] + .03 * (high[i] - low[i]));
        CHECK(most[i] <= high[i] && most[i] > high[i] - .03 * (high[i] - low[i]));
    }
    env.free_fn(env.user);
}

TEST(reset_of_reacher_and_pusher)
{
    static const int reacher[] = {0, 1, 2, 3}, pusher[] = {7, 8};
    static const double low[] = {-.1, -.1, -.2, -.2}, high[] = {.1, .1, .2, .2};
    static const double low2[] = {-.3, -.2}, high2[] = {0, .2};
    reset_box("Reacher-v5", reacher, low, high, 4);
    reset_box("Pusher-v4", pusher, low2, high2, 2);
}

/* ---- saved state ---- */
enum { SAVED_STEPS = 200 };

/* 200 steps with a reset where an episode ends; writes every bit that comes out, in double
   precision: a lost warm start of the solver shows first in the 16th digit */
static void roll(const drl_env *env, drl_rng rng, double *out)
{
    const mujoco_env *e = mujoco_env_get(env);
    float action[32], obs[MAX_DIM], reward;
    int i, flags;
    for (i = 0; i < SAVED_STEPS; i++, out += env->obs_dim + 2) {
        actions(&rng, env, action);
        CHECK(env->step_fn(env->user, action, obs, &reward, &flags) == 0);
        CHECK(obs[0] == (float)e->obs[0] && reward == (float)e->reward);
        memcpy(out, e->obs, (size_t)env->obs_dim * sizeof(double));
        out[env->obs_dim] = e->reward;
        out[env->obs_dim + 1] = flags;
        if (flags) CHECK(env->reset_fn(env->user, (uint64_t)i, obs) == 0);
    }
}

TEST(save_and_load_bitwise)
{
    int k;
    for (k = 0; GYMNASIUM(k); k++) {
        drl_env env, other;
        mujoco_env *e = make(&env, mujoco_env_task(k)->name);
        size_t size = env.state_size_fn(env.user), n = SAVED_STEPS * (size_t)(env.obs_dim + 2);
        double *first = (double *)calloc(n, sizeof(double));
        double *again = (double *)calloc(n, sizeof(double));
        void *state = malloc(size), *state2 = malloc(size);
        drl_rng rng = drl_rng_make(5, "actions");
        float action[32], obs[MAX_DIM], reward;
        int i, touches, flags = 0;
        env.reset_fn(env.user, 3, obs);
        /* save in contact with the floor: only then does the solver use its warm start */
        touches = strncmp(env.name, "Inverted", 8) && strncmp(env.name, "Reacher", 7) &&
                  strncmp(env.name, "Swimmer", 7);
        for (i = 0; i < 1000 && (e->elapsed < 10 || e->data->ncon < touches); i++) {
            if (flags) env.reset_fn(env.user, (uint64_t)i, obs);
            actions(&rng, &env, action);
            env.step_fn(env.user, action, obs, &reward, &flags);
        }
        CHECK(i < 1000);
        CHECK(env.save_fn(env.user, state, size) == 0);
        roll(&env, rng, first);
        CHECK(env.load_fn(env.user, state, size) == 0); /* into the same */
        CHECK(env.save_fn(env.user, state2, size) == 0 && memcmp(state, state2, size) == 0);
        roll(&env, rng, again);
        CHECK(memcmp(first, again, n * sizeof(double)) == 0);
        CHECK(mujoco_env_clone(&other, &env, NULL, 0) == 0); /* into one that is elsewhere */
        other.reset_fn(other.user, 99, obs);
        roll(&other, drl_rng_make(6, "actions"), again);
        CHECK(memcmp(first, again, n * sizeof(double)) != 0);
        CHECK(other.load_fn(other.user, state, size) == 0);
        roll(&other, rng, again);
        CHECK(memcmp(first, again, n * sizeof(double)) == 0);
        other.free_fn(other.user);
        make(&other, e->model->task.name); /* into a new one that was never reset */
        CHECK(other.load_fn(other.user, state, size) == 0);
        roll(&other, rng, again);
        CHECK(memcmp(first, again, n * sizeof(double)) == 0);
        CHECK(other.load_fn(other.user, state, size - 1) != 0);
        CHECK(other.save_fn(other.user, state, size - 1) != 0);
        ((char *)state)[0] ^= 1; /* another task's name */
        CHECK(other.load_fn(other.user, state, size) != 0);
        other.free_fn(other.user);
        env.free_fn(env.user);
        free(first);
        free(again);
        free(state);
        free(state2);
    }
}

/* ---- sharing a model ---- */
typedef struct worker {
    drl_env env;
    double *out;
    uint64_t seed;
} worker;

static void *work(void *arg)
{
    worker *w = (worker *)arg;
    float obs[MAX_DIM];
    w->env.reset_fn(w->env.user, w->seed, obs);
    roll(&w->env, drl_rng_make(w->seed, "actions"), w->out);
    return NULL;
}

TEST(environments_share_a_model)
{
    drl_env env;
    worker w[2];
    pthread_t thread[2];
    size_t n;
    double *alone;
    int i;
    mujoco_env *e = make(&env, "Hopper-v5");
    n = SAVED_STEPS * (size_t)(env.obs_dim + 2);
    alone = (double *)calloc(n, sizeof(double));
    for (i = 0; i < 2; i++) {
        CHECK(mujoco_env_clone(&w[i].env, &env, NULL, 0) == 0);
        CHECK(mujoco_env_get(&w[i].env)->model == e->model);
        w[i].out = (double *)calloc(n, sizeof(double));
        w[i].seed = (uint64_t)i;
    }
    CHECK(e->model->users == 3);
    env.free_fn(env.user); /* the model outlives its first user */
    for (i = 0; i < 2; i++) CHECK(pthread_create(&thread[i], NULL, work, &w[i]) == 0);
    for (i = 0; i < 2; i++) CHECK(pthread_join(thread[i], NULL) == 0);
    for (i = 0; i < 2; i++) {
        worker serial = w[i];
        make(&serial.env, "Hopper-v5");
        serial.out = alone;
        work(&serial);
        CHECK(memcmp(alone, w[i].out, n * sizeof(double)) == 0);
        serial.env.free_fn(serial.env.user);
        w[i].env.free_fn(w[i].env.user);
        free(w[i].out);
    }
    free(alone);
}

/* one piece of the work: steps of environments [begin, end) of the list */
static void work_part(void *arg, int begin, int end, int index)
{
    worker *w = (worker *)arg;
    (void)index;
    for (; begin < end; begin++) work(&w[begin]);
}

/* the pool of a context steps environments that share a model; each is as if it were alone */
TEST(environments_step_on_a_pool)
{
    enum { COUNT = 5 };
    worker w[COUNT];
    double *first[COUNT];
    int threads, i;
    memset(w, 0, sizeof w);
    make(&w[0].env, "Ant-v5");
    for (i = 1; i < COUNT; i++) CHECK(mujoco_env_clone(&w[i].env, &w[0].env, NULL, 0) == 0);
    for (threads = 1; threads <= 3; threads++) {
        size_t n = SAVED_STEPS * (size_t)(w[0].env.obs_dim + 2);
        drl_context_config config = drl_context_config_default();
        drl_context ctx;
        config.threads = threads;
        CHECK(drl_context_init(&ctx, &config) == DRL_OK);
        for (i = 0; i < COUNT; i++) {
            w[i].out = (double *)calloc(n, sizeof(double));
            w[i].seed = (uint64_t)i;
        }
        drl_parallel_for(&ctx, COUNT, 1, work_part, w);
        for (i = 0; i < COUNT; i++) {
            if (threads == 1) first[i] = w[i].out;
            else CHECK(memcmp(first[i], w[i].out, n * sizeof(double)) == 0);
            if (threads > 1) free(w[i].out);
        }
        drl_context_free(&ctx);
    }
    for (i = 0; i < COUNT; i++) {
        free(first[i]);
        w[i].env.free_fn(w[i].env.user);
    }
}

/* ---- constants of the rules ---- */

/* One step from the wave's state with the task's `set` (NULL: none); returns the reward. */
static double reward_with(const char *task, const char *name, const char *set, int *flags,
                          int *obs_dim)
{
    double q[MAX_DIM], v[MAX_DIM], action[32], reward;
    char error[512];
    mujoco_options o = {0};
    drl_env env;
    mujoco_env *e;
    o.set = &set;
    o.set_count = set != NULL;
    if (mujoco_env_init(&env, task, &o, error, sizeof error)) {
        printf("  %s\n", error);
        CHECK(!"the constant was refused");
        return 0;
    }
    e = mujoco_env_get(&env);
    wave_state(e->model->m, name, q, v);
    wave_action(e->model->m, 3, action);
    CHECK(mujoco_env_set_state(e, q, v) == 0 && mujoco_env_step(e, action, flags) == 0);
    reward = e->reward;
    *obs_dim = env.obs_dim;
    env.free_fn(env.user);
    return reward;
}

TEST(constants_can_be_set)
{
    static const struct { const char *task, *model, *set; double weight, with; } rows[] = {
        /* reward terms: reward = rest + weight x term */
        {"HalfCheetah-v5", "half_cheetah", "ctrl_cost_weight=.3", .1, .3},
        {"HalfCheetah-v4", "half_cheetah", "forward_reward_weight=4", 1, 4},
        {"Hopper-v5", "hopper", "healthy_reward=3", 1, 3},
        {"Ant-v5", "ant", "contact_cost_weight=.2", 5e-4, .2},
        {"Humanoid-v5", "humanoid", "forward_reward_weight=2.5", 1.25, 2.5},
        {"HumanoidStandup-v5", "humanoidstandup", "uph_cost_weight=2", 1, 2},
        {"InvertedDoublePendulum-v5", "inverted_double_pendulum", "healthy_reward=1", 10, 1},
        {"Reacher-v5", "reacher", "reward_dist_weight=3", 1, 3},
        {"Pusher-v5", "pusher_v5", "reward_near_weight=1", .5, 1}};
    int k, flags, dim;
    for (k = 0; k < (int)(sizeof rows / sizeof rows[0]); k++) {
        const char *name = rows[k].model;
        char off[64];
        double with, without, plain = reward_with(rows[k].task, name, NULL, &flags, &dim);
        with = reward_with(rows[k].task, name, rows[k].set, &flags, &dim);
        snprintf(off, sizeof off, "%.*s0", (int)strcspn(rows[k].set, "=") + 1, rows[k].set);
        without = reward_with(rows[k].task, name, off, &flags, &dim);
        CHECK_NEAR((with - without) * rows[k].weight, (plain - without) * rows[k].with,
                   1e-12 * (1 + fabs(with)));
    }
    reward_with("Hopper-v5", "hopper", "healthy_z_range=2,inf", &flags, &dim);
    CHECK(flags == DRL_ENV_TERMINATED);
    reward_with("Hopper-v5", "hopper", "healthy_angle_range=-.001,.001", &flags, &dim);
    CHECK(flags == DRL_ENV_TERMINATED);
    reward_with("Ant-v4", "ant", "healthy_z_range=1,2", &flags, &dim);
    CHECK(flags == DRL_ENV_TERMINATED && dim == 27);
    reward_with("Ant-v4", "ant", "use_contact_forces=true", &flags, &dim);
    CHECK(flags == 0 && dim == 27 + 84);
    reward_with("Ant-v5", "ant", "include_cfrc_ext_in_observation=false", &flags, &dim);
    CHECK(dim == 27);
    reward_with("Ant-v5", "ant", "contact_force_range=0,0", &flags, &dim);
    CHECK(dim == 105);
    reward_with("Humanoid-v5", "humanoid", "include_cfrc_ext_in_observation=false", &flags, &dim);
    CHECK(dim == 348 - 78);
    reward_with("Humanoid-v5", "humanoid", "include_cinert_in_observation=false", &flags, &dim);
    CHECK(dim == 348 - 130);
    reward_with("Humanoid-v5", "humanoid", "include_cvel_in_observation=false", &flags, &dim);
    CHECK(dim == 348 - 78);
    reward_with("HumanoidStandup-v5", "humanoidstandup",
                "include_qfrc_actuator_in_observation=false", &flags, &dim);
    CHECK(dim == 348 - 17);
    reward_with("Swimmer-v5", "swimmer", "exclude_current_positions_from_observation=0", &flags,
                &dim);
    CHECK(dim == 10);
    CHECK_NEAR(reward_with("Walker2d-v5", "walker2d_v5", "healthy_z_range=3,4", &flags, &dim),
               reward_with("Walker2d-v5", "walker2d_v5", "healthy_reward=0", &flags, &dim), 1e-12);
}

TEST(wrong_constants_are_told)
{
    static const char *const rows[][3] = {
        {"Ant-v5", "helthy_reward=1", "no constant helthy_reward; did you mean healthy_reward?"},
        {"Ant-v5", "healthy_reward", "expected key=value"},
        {"Ant-v5", "healthy_reward=much", "healthy_reward=much: expected a number"},
        {"Ant-v5", "healthy_z_range=1", "expected two numbers low,high"},
        {"Ant-v5", "healthy_z_range=1,", "expected two numbers low,high"},
        {"Ant-v5", "healthy_z_range=1,.2", "expected two numbers low,high"},
        {"Ant-v5", "healthy_reward=inf", "expected a number"},
        {"Ant-v5", "healthy_reward=-inf", "expected a number"},
        {"Ant-v5", "gravity=1", "it has frame_skip, reset_noise_scale, "},
        {"Ant-v5", "healthy_reward=1,2", "expected a number"},
        {"Ant-v5", "terminate_when_unhealthy=maybe", "expected true or false"},
        {"Ant-v5", "frame_skip=0", "expected a whole number from 1"},
        {"Ant-v5", "frame_skip=1.5", "expected a whole number from 1"},
        {"Ant-v5", "=1", "no constant "},
        {"Reacher-v5", "reset_noise_scale=1", "no constant reset_noise_scale"},
        {"Pusher-v5", "reward_nera_weight=1", "did you mean reward_near_weight?"}};
    char error[512];
    int k;
    for (k = 0; k < (int)(sizeof rows / sizeof rows[0]); k++) {
        const char *set = rows[k][1];
        mujoco_options o = {0};
        drl_env env;
        o.set = &set;
        o.set_count = 1;
        CHECK(mujoco_env_init(&env, rows[k][0], &o, error, sizeof error) == -1);
        CHECK_TEXT(error, rows[k][2]);
    }
}

/* ---- models of one's own ---- */
static const char own_head[] =
    "<mujoco><option timestep='.01'/><worldbody><geom type='plane' size='9 9 1'/>";
static const char own_tail[] =
    "</worldbody><actuator><motor joint='a' ctrllimited='true' ctrlrange='-2 3'/>"
    "<motor joint='b'/></actuator></mujoco>";
static const char own_legs[] =
    "<geom size='.1'/><body><joint name='a' axis='0 1 0'/><geom size='.05' pos='.2 0 0'/></body>"
    "<body><joint name='b' axis='0 1 0' damping='%s'/><geom size='.05' pos='-.2 0 0'/></body>";

static double own_reward(const mujoco_env *e, const double *action, int healthy)
{
    (void)action;
    return healthy ? e->data->qpos[2] : 0;
}

static double own_failing_reward(const mujoco_env *e, const double *action, int healthy)
{
    (void)action, (void)healthy;
    if (e->elapsed == 2) mju_error("the reward cannot go on");
    return 1;
}

/* Make it of a root joint and legs with the damping, for a task or (NULL) for mjcf: */
static int own(drl_env *env, const mujoco_task *task, const char *root, const char *damping,
               const char *set, char *error)
{
    char text[2048], legs[512];
    mujoco_options o = {0};
    snprintf(legs, sizeof legs, own_legs, damping);
    snprintf(text, sizeof text, "%s<body pos='0 0 .5'>%s%s</body>%s", own_head, root, legs,
             own_tail);
    o.xml = text;
    o.set = &set;
    o.set_count = set != NULL;
    return task ? mujoco_env_make(env, task, &o, error, 512)
                : mujoco_env_init(env, "mjcf:own.xml", &o, error, 512);
}

TEST(own_models)
{
    static const char free_root[] = "<freejoint/>";
    static const char slides[] = "<joint type='slide' axis='1 0 0'/>"
                                 "<joint type='slide' axis='0 0 1'/><joint axis='0 1 0'/>";
    static const char back[] =
        "<joint type='slide' axis='0 0 1'/><joint type='slide' axis='-1 0 0'/>"
        "<joint axis='0 1 0'/><joint type='slide' axis='0 1 0'/>";
    char error[512];
    float obs[32], action[2] = {1, -1}, reward;
    double before;
    mujoco_task task;
    drl_env env;
    mujoco_env *e;
    int flags;
    CHECK(own(&env, NULL, free_root, "1", NULL, error) == 0);
    e = mujoco_env_get(&env);
    CHECK(env.obs_dim == 7 + 8 && env.act_dim == 2 && env.time_limit == 1000); /* without x, y */
    CHECK(env.act_low[0] == -2 && env.act_high[0] == 3); /* limits of the model, or -1, 1 */
    CHECK(env.act_low[1] == -1 && env.act_high[1] == 1);
    CHECK(env.reset_fn(env.user, 1, obs) == 0);
    CHECK_NEAR(obs[0], e->data->qpos[2], 1e-6);
    before = e->data->qpos[0];
    CHECK(env.step_fn(env.user, action, obs, &reward, &flags) == 0 && flags == 0);
    CHECK_NEAR(e->reward, (e->data->qpos[0] - before) / .05 - .1 * 2 + 1, 1e-12);
    env.free_fn(env.user);
    CHECK(own(&env, NULL, slides, "1", "healthy_z_range=1,2", error) == 0);
    CHECK(env.obs_dim == 4 + 5); /* without x */
    env.reset_fn(env.user, 1, obs);
    CHECK(env.step_fn(env.user, action, obs, &reward, &flags) == 0);
    CHECK(flags == DRL_ENV_TERMINATED);
    env.free_fn(env.user);
    CHECK(own(&env, NULL, back, "1", "healthy_z_range=-.1,.1", error) == 0);
    e = mujoco_env_get(&env);
    CHECK(env.obs_dim == 4 + 6); /* without x and y, wherever they are */
    env.reset_fn(env.user, 1, obs);
    CHECK(obs[0] == (float)e->data->qpos[0] && obs[1] == (float)e->data->qpos[2]);
    before = e->data->qpos[1];
    CHECK(env.step_fn(env.user, action, obs, &reward, &flags) == 0 && flags == 0);
    CHECK_NEAR(e->reward, (before - e->data->qpos[1]) / .05 - .1 * 2 + 1, 1e-12); /* backwards */
    env.free_fn(env.user);
    CHECK(own(&env, NULL, "", "1", NULL, error) == 0 && env.obs_dim == 2 + 2);
    env.free_fn(env.user);
    CHECK(own(&env, NULL, free_root, "nan", NULL, error) == -1);
    CHECK_TEXT(error, "own.xml: not a finite number in dof_damping");
    CHECK(own(&env, NULL, free_root, "1'><", NULL, error) == -1);
    CHECK_TEXT(error, "XML");
    CHECK(!strchr(error, '\n'));
    memset(&task, 0, sizeof task);
    task.name = "Own";
    task.kind.reward_fn = own_reward;
    task.frame_skip = 3;
    task.time_limit = 7;
    task.rules.hidden = 3;
    CHECK(own(&env, &task, free_root, "1", NULL, error) == 0);
    e = mujoco_env_get(&env);
    CHECK(env.obs_dim == 6 + 8 && env.time_limit == 7 && !strcmp(env.name, "Own"));
    env.reset_fn(env.user, 1, obs);
    env.step_fn(env.user, action, obs, &reward, &flags);
    CHECK_NEAR(e->data->time, .03, 1e-12);
    CHECK(e->reward == e->data->qpos[2]);
    env.free_fn(env.user);
    task.kind.reward_fn = own_failing_reward; /* an error comes back, the program goes on */
    CHECK(own(&env, &task, free_root, "1", NULL, error) == 0);
    e = mujoco_env_get(&env);
    env.reset_fn(env.user, 1, obs);
    CHECK(env.step_fn(env.user, action, obs, &reward, &flags) == 0);
    CHECK(env.step_fn(env.user, action, obs, &reward, &flags) == 0);
    CHECK(env.step_fn(env.user, action, obs, &reward, &flags) == -1 && reward == 0);
    CHECK_TEXT(e->error, "the reward cannot go on");
    CHECK(env.reset_fn(env.user, 1, obs) == 0);
    CHECK(env.step_fn(env.user, action, obs, &reward, &flags) == 0 && reward == 1);
    env.free_fn(env.user);
    task.rules.hidden = 10;
    CHECK(own(&env, &task, free_root, "1", NULL, error) == -1);
    CHECK_TEXT(error, "Own: rules.hidden is more than qpos has");
    task.rules.hidden = 0;
    task.frame_skip = 0;
    CHECK(own(&env, &task, free_root, "1", NULL, error) == -1);
    CHECK_TEXT(error, "Own: wants a frame_skip of 1 or more");
    task.frame_skip = 1;
    task.kind.reward_fn = NULL;
    CHECK(own(&env, &task, free_root, "1", NULL, error) == -1);
    CHECK_TEXT(error, "Own: wants a kind.reward_fn");
    task.kind.reward_fn = own_reward;
    CHECK(mujoco_env_make(&env, &task, NULL, error, sizeof error) == -1);
    CHECK_TEXT(error, "Own: wants a model");
    task.act_dim = 3;
    CHECK(own(&env, &task, free_root, "1", NULL, error) == -1);
    CHECK_TEXT(error, "is not the model of Own");
    CHECK(mujoco_env_init(&env, "mjcf:/nowhere.xml", NULL, error, sizeof error) == -1);
    CHECK_TEXT(error, "/nowhere.xml");
}

TEST(own_models_save_what_they_move)
{
    static const char mocap[] =
        "<freejoint/><geom size='.1'/></body><body mocap='true' pos='0 0 1'>"
        "<geom size='.05' contype='0' conaffinity='0'/></body><body>";
    char error[512], state[4096];
    float obs[32], action[2] = {1, -1}, first[32], reward;
    int flags;
    size_t n;
    drl_env env;
    mujoco_env *e;
    CHECK(own(&env, NULL, mocap, "1", NULL, error) == 0);
    e = mujoco_env_get(&env);
    n = env.state_size_fn(env.user);
    CHECK(n <= sizeof state);
    env.reset_fn(env.user, 1, obs);
    e->data->mocap_pos[0] = 3;
    e->data->mocap_quat[1] = .5;
    CHECK(env.save_fn(env.user, state, n) == 0);
    CHECK(env.step_fn(env.user, action, first, &reward, &flags) == 0);
    env.reset_fn(env.user, 2, obs);
    CHECK(e->data->mocap_pos[0] == 0);
    CHECK(env.load_fn(env.user, state, n) == 0);
    CHECK(e->data->mocap_pos[0] == 3 && e->data->mocap_quat[1] == .5);
    CHECK(env.step_fn(env.user, action, obs, &reward, &flags) == 0);
    CHECK(memcmp(obs, first, (size_t)env.obs_dim * sizeof(float)) == 0);
    env.free_fn(env.user);
#if mjVERSION_HEADER >= 3005000
    {
        static const char late[] =
            "<mujoco><worldbody><body><joint name='a'/><geom size='.1' pos='.2 0 0'/></body>"
            "</worldbody><actuator><motor joint='a' ctrllimited='true' ctrlrange='-1 1' "
            "nsample='9' delay='.016'/></actuator></mujoco>";
        mujoco_options o = {0};
        o.xml = late;
        CHECK(mujoco_env_init(&env, "mjcf:late.xml", &o, error, sizeof error) == 0);
        n = env.state_size_fn(env.user);
        env.reset_fn(env.user, 1, obs);
        env.step_fn(env.user, action, obs, &reward, &flags);
        CHECK(env.save_fn(env.user, state, n) == 0);
        env.step_fn(env.user, action + 1, first, &reward, &flags);
        env.reset_fn(env.user, 2, obs);
        CHECK(env.load_fn(env.user, state, n) == 0);
        env.step_fn(env.user, action + 1, obs, &reward, &flags);
        CHECK(memcmp(obs, first, (size_t)env.obs_dim * sizeof(float)) == 0);
        env.free_fn(env.user);
    }
#endif
}

/* ---- things go wrong ---- */
static int log_exists(void)
{
    FILE *f = fopen("MUJOCO_LOG.TXT", "r");
    if (f) fclose(f);
    return f != NULL;
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    if (!f) return;
    fputs(text, f);
    fclose(f);
}

TEST(init_says_what_is_wrong)
{
    char error[512], dir[] = "/tmp/diffrl_test_XXXXXX", ant[64], hopper[64], walker[64];
    drl_env env;
    mujoco_options o = {0};
    int had_log = log_exists();
    o.model_dir = "/nowhere";
    CHECK(mujoco_env_init(&env, "HalfCheeta-v5", NULL, error, sizeof error) == -1);
    CHECK_TEXT(error, "there is no task HalfCheeta-v5; did you mean HalfCheetah-v5?");
    CHECK(env.user == NULL && env.free_fn == NULL);
    CHECK(mujoco_env_init(&env, "Ant-v5", &o, error, sizeof error) == -1);
    CHECK_TEXT(error, "cannot read /nowhere/ant.xml");
    CHECK(mujoco_env_init(&env, "Ant-v5", &o, NULL, 0) == -1);
    /* a folder with broken and wrong models */
    CHECK(mkdtemp(dir) != NULL);
    o.model_dir = dir;
    snprintf(ant, sizeof ant, "%s/ant.xml", dir);
    snprintf(hopper, sizeof hopper, "%s/hopper.xml", dir);
    snprintf(walker, sizeof walker, "%s/walker2d.xml", dir);
    write_text(ant, "<mujoco><worldbody><body></worldbody></mujoco>");
    write_text(hopper, "<mujoco><worldbody><geom size=\"1\"/></worldbody></mujoco>");
    write_text(walker, "<mujoco><worldbody><geom shape=\"1\"/></worldbody></mujoco>");
    CHECK(mujoco_env_init(&env, "Ant-v5", &o, error, sizeof error) == -1);
    CHECK_TEXT(error, "ant.xml: XML");
    CHECK(mujoco_env_init(&env, "Hopper-v5", &o, error, sizeof error) == -1);
    CHECK_TEXT(error, "hopper.xml is not the model of Hopper-v5");
    CHECK(mujoco_env_init(&env, "Walker2d-v4", &o, error, sizeof error) == -1);
    CHECK_TEXT(error, "shape");
    remove(ant);
    remove(hopper);
    remove(walker);
    remove(dir);
    CHECK(log_exists() == had_log);
}

static int all_finite(const float *x, int n)
{
    int i, ok = 1;
    for (i = 0; i < n; i++) ok = ok && fabsf(x[i]) < HUGE_VALF;
    return ok;
}

TEST(faults_truncate)
{
    int k, had_log = log_exists();
    for (k = 0; GYMNASIUM(k); k++) {
        float obs[MAX_DIM], before[MAX_DIM], action[32] = {0}, reward;
        double q[MAX_DIM] = {0}, v[MAX_DIM] = {0};
        drl_env env;
        mujoco_env *e = make(&env, mujoco_env_task(k)->name);
        int flags = 0;
        CHECK(env.step_fn(env.user, action, obs, &reward, &flags) != 0); /* before any reset */
        CHECK_TEXT(e->error, "reset");
        CHECK(env.reset_fn(env.user, 1, before) == 0);
        action[0] = (float)NAN; /* an action that is not a number */
        CHECK(env.step_fn(env.user, action, obs, &reward, &flags) == 0);
        CHECK(flags == DRL_ENV_TRUNCATED && e->faults == 1 && reward == 0);
        CHECK(memcmp(obs, before, (size_t)env.obs_dim * sizeof(float)) == 0);
        action[0] = 0;
        CHECK(env.step_fn(env.user, action, obs, &reward, &flags) != 0); /* reset is due */
        CHECK(env.reset_fn(env.user, 1, obs) == 0);
        CHECK(memcmp(obs, before, (size_t)env.obs_dim * sizeof(float)) == 0);
        CHECK(env.step_fn(env.user, action, obs, &reward, &flags) == 0 && flags == 0);
        CHECK(env.reset_fn(env.user, 1, obs) == 0);
        e->data->qvel[0] = 1e12; /* divergence: MuJoCo silently starts anew from the initial pose */
        CHECK(env.step_fn(env.user, action, obs, &reward, &flags) == 0);
        CHECK(flags == DRL_ENV_TRUNCATED && e->faults == 2 && all_finite(obs, env.obs_dim));
        CHECK(env.reset_fn(env.user, 1, obs) == 0);
        e->data->qpos[0] = (double)NAN;
        CHECK(env.step_fn(env.user, action, obs, &reward, &flags) == 0);
        CHECK(flags == DRL_ENV_TRUNCATED && e->faults == 3 && all_finite(obs, env.obs_dim));
        q[0] = (double)NAN;
        mujoco_env_set_state(e, q, v);
        CHECK(env.reset_fn(env.user, 1, obs) == 0);
        CHECK(env.step_fn(env.user, action, obs, &reward, &flags) == 0 && flags == 0);
        CHECK(e->warnings > 0);
        env.free_fn(env.user);
    }
    CHECK(log_exists() == had_log);
}

static void fail_in_step(const mjModel *m, mjData *d)
{
    (void)m;
    (void)d;
    mju_error("provoked by the test");
}

TEST(errors_inside_a_step_come_back)
{
    float obs[MAX_DIM], first[MAX_DIM], second[MAX_DIM], action[32] = {0}, reward;
    int flags, had_log = log_exists();
    drl_env env;
    mujoco_env *e = make(&env, "Hopper-v5");
    env.reset_fn(env.user, 1, obs);
    CHECK(env.step_fn(env.user, action, first, &reward, &flags) == 0);
    env.reset_fn(env.user, 1, obs);
    mjcb_control = fail_in_step;
    CHECK(env.step_fn(env.user, action, obs, &reward, &flags) == -1);
    CHECK_TEXT(e->error, "provoked by the test");
    CHECK(env.step_fn(env.user, action, obs, &reward, &flags) == -1);
    CHECK_TEXT(e->error, "reset");
    CHECK(env.reset_fn(env.user, 1, obs) == -1); /* still broken */
    mjcb_control = NULL;
    CHECK(env.reset_fn(env.user, 1, obs) == 0); /* mended */
    CHECK(env.step_fn(env.user, action, second, &reward, &flags) == 0);
    CHECK(memcmp(first, second, (size_t)env.obs_dim * sizeof(float)) == 0);
    env.free_fn(env.user);
    CHECK(log_exists() == had_log);
}

TEST_MAIN(TEST_ENTRY(golden_inverted_pendulum), TEST_ENTRY(golden_reacher_pusher),
          TEST_ENTRY(golden_swimmer_half_cheetah), TEST_ENTRY(golden_hopper_walker2d),
          TEST_ENTRY(golden_ant), TEST_ENTRY(golden_humanoid), TEST_ENTRY(compiled_models),
          TEST_ENTRY(reset_is_seeded), TEST_ENTRY(reset_of_reacher_and_pusher),
          TEST_ENTRY(save_and_load_bitwise), TEST_ENTRY(environments_share_a_model),
          TEST_ENTRY(environments_step_on_a_pool),
          TEST_ENTRY(constants_can_be_set), TEST_ENTRY(wrong_constants_are_told),
          TEST_ENTRY(own_models), TEST_ENTRY(own_models_save_what_they_move),
          TEST_ENTRY(init_says_what_is_wrong), TEST_ENTRY(faults_truncate),
          TEST_ENTRY(errors_inside_a_step_come_back))
