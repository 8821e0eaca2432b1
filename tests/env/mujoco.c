/* The MuJoCo tasks against recorded figures, and what happens when things go wrong.

     cc -O2 tests/env/mujoco.c -o build/test_mujoco -lmujoco -lm && build/test_mujoco

   golden_<task>.csv   50 steps of Gymnasium's own model, MuJoCo 2.2.2: rows step, reward,
                       terminated, contacts, action..., observation...; row 0 follows the reset
   model_<name>.txt    Gymnasium's model compiled by MuJoCo 2.2.2: rows field, count, values... */
#define _XOPEN_SOURCE 700 /* mkdtemp, readlink also under -std=c99 */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#define MUJOCO_ENV_IMPLEMENTATION
#include "../../examples/mujoco/mujoco_env.h"
#include "../test.h"
#include <pthread.h>

#define MAX_DIM 128
#define GYMNASIUM(k) (mujoco_env_task(k) && !mujoco_env_is_dmc(mujoco_env_task(k)))
#define MAX_LINE 8192

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

/* replay one file; the state is the initial pose plus a fixed wave, the actions are a wave */
static void replay(const char *task, const char *file)
{
    static char line[MAX_LINE];
    static const int until[3] = {10, 25, 50};
    static const double tolerance[3] = {1e-9, 1e-7, 1e-4};
    double worst[3] = {0, 0, 0}, row[MAX_DIM + 32], q[MAX_DIM], v[MAX_DIM], action[32];
    FILE *f = data_open("golden_", file, ".csv");
    drl_env env;
    mujoco_env *e = make(&env, task);
    const mjModel *m = e->model->m;
    int i, flags = 0, rows = 0;
    for (i = 0; i < (int)m->nq; i++)
        q[i] = m->qpos0[i] + e->model->task->qpos_noise * sin(1.3 * i + .5);
    for (i = 0; i < (int)m->nv; i++) v[i] = e->model->task->qvel_noise * cos(.9 * i + .2);
    CHECK(mujoco_env_set_state(e, q, v) == 0);
    while (f && fgets(line, sizeof line, f)) {
        int n = numbers(line, row, MAX_DIM + 32), step = (int)row[0], k;
        const double *obs = row + 4 + env.act_dim;
        if (n == 0) continue;
        CHECK(n == 4 + env.act_dim + env.obs_dim && step == rows);
        for (i = 0; i < env.act_dim; i++) {
            const mjtNum *r = m->actuator_ctrlrange + 2 * i;
            double wave = .5 * sin(.37 * (step - 1) + 1.7 * i);
            action[i] = (r[0] + r[1]) / 2 + (r[1] - r[0]) / 2 * wave;
        }
        if (step > 0) CHECK(mujoco_env_step(e, action, &flags) == 0);
        for (k = 0; k < 2 && step > until[k];) k++;
        for (i = 0; i < env.obs_dim; i++) worst[k] = mju_max(worst[k], fabs(e->obs[i] - obs[i]));
        if (step > 0) worst[k] = mju_max(worst[k], fabs(e->reward - row[1]));
        CHECK(flags == ((int)row[2] ? DRL_ENV_TERMINATED : 0));
        CHECK(e->data->ncon == (int)row[3]);
        rows++;
    }
    CHECK(rows == 51);
    for (i = 0; i < 3; i++) CHECK_NEAR(worst[i], 0, tolerance[i]);
    printf("  %-14s largest difference: %.1e to step 10, %.1e to 25, %.1e to 50\n", task, worst[0],
           worst[1], worst[2]);
    if (f) fclose(f);
    env.free_fn(env.user);
}

TEST(golden_half_cheetah)
{
    replay("HalfCheetah-v5", "HalfCheetah-v5");
    replay("HalfCheetah-v4", "HalfCheetah-v5"); /* equal rules */
}

TEST(golden_hopper)
{
    replay("Hopper-v5", "Hopper-v5");
    replay("Hopper-v4", "Hopper-v4");
}

TEST(golden_walker2d)
{
    replay("Walker2d-v5", "Walker2d-v5");
    replay("Walker2d-v4", "Walker2d-v4");
}

TEST(golden_ant)
{
    replay("Ant-v5", "Ant-v5");
    replay("Ant-v4", "Ant-v4");
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
    if (sscanf(line, "%63s %d%n", name, &n, &used) != 2) return 0;
    for (i = 0; i < (int)(sizeof fields / sizeof fields[0]); i++) {
        const field *f = &fields[i];
        int faults = test_faults;
        if (strcmp(f->name, name) != 0) continue;
        CHECK(n == f->count && n <= 512 && numbers(line + used, want, n) == n);
        for (j = 0; j < f->count && j < n; j++) {
            double got = f->real ? f->real[j] : f->integer[j];
            CHECK_NEAR(got, want[j], 1e-12 * (1 + fabs(want[j])));
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
    CHECK(n == 49);
    for (i = 0; i < (int)m->nbody; i++) total += m->body_mass[i];
    CHECK_NEAR(total, mass, 1e-4);
    for (i = 0; i < (int)m->nu; i++) CHECK(m->actuator_ctrllimited[i]);
    CHECK(mj_name2id(m, mjOBJ_CAMERA, "track") >= 0);
    if (f) fclose(f);
    env.free_fn(env.user);
}

TEST(compiled_models)
{
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
        float a[MAX_DIM], b[MAX_DIM], c[MAX_DIM], action[32] = {0}, reward;
        double sum = 0, squares = 0, far = 0;
        drl_env env;
        mujoco_env *e = make(&env, t->name);
        int i, flags, n = 0, seed;
        CHECK(env.reset_fn(env.user, 7, a) == 0);
        env.step_fn(env.user, action, b, &reward, &flags);
        CHECK(env.reset_fn(env.user, 7, b) == 0 && e->elapsed == 0);
        CHECK(env.reset_fn(env.user, 8, c) == 0);
        CHECK(memcmp(a, b, (size_t)env.obs_dim * sizeof(float)) == 0);
        CHECK(memcmp(a, c, (size_t)env.obs_dim * sizeof(float)) != 0);
        for (seed = 0; seed < 200; seed++) {
            env.reset_fn(env.user, (uint64_t)seed, a);
            for (i = 0; i < (int)e->model->m->nv; i++, n++) {
                double v = e->data->qvel[i] / t->qvel_noise;
                sum += v;
                squares += v * v;
                far = mju_max(far, fabs(v));
            }
            for (i = 0; i < (int)e->model->m->nq; i++) /* the quaternion is normalised: 2 x noise */
                CHECK(fabs(e->data->qpos[i] - e->model->m->qpos0[i]) <= 2 * t->qpos_noise);
        }
        /* 5 standard errors of 200 x nv >= 1200 draws */
        CHECK_NEAR(sum / n, 0, 5 / sqrt(n));
        CHECK_NEAR(squares / n, t->qvel_normal ? 1 : 1. / 3, 5 * 1.5 / sqrt(n));
        CHECK(t->qvel_normal ? far > 2 : far <= 1);
        env.free_fn(env.user);
    }
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
        int i, flags = 0;
        env.reset_fn(env.user, 3, obs);
        /* save in contact with the floor: only then does the solver use its warm start */
        for (i = 0; i < 1000 && (e->elapsed < 10 || e->data->ncon < 1); i++) {
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
        make(&other, e->model->task->name); /* into a new one that was never reset */
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
    int had_log = log_exists();
    CHECK(mujoco_env_init(&env, "HalfCheeta-v5", NULL, error, sizeof error) == -1);
    CHECK_TEXT(error, "no task \"HalfCheeta-v5\"");
    CHECK_TEXT(error, "HalfCheetah-v5 HalfCheetah-v4 Hopper-v5");
    CHECK_TEXT(error, "Ant-v4");
    CHECK(env.user == NULL && env.free_fn == NULL);
    CHECK(mujoco_env_init(&env, "Ant-v5", "/nowhere", error, sizeof error) == -1);
    CHECK_TEXT(error, "cannot read /nowhere/ant.xml");
    CHECK(mujoco_env_init(&env, "Ant-v5", "/nowhere", NULL, 0) == -1);
    /* a folder with broken and wrong models */
    CHECK(mkdtemp(dir) != NULL);
    snprintf(ant, sizeof ant, "%s/ant.xml", dir);
    snprintf(hopper, sizeof hopper, "%s/hopper.xml", dir);
    snprintf(walker, sizeof walker, "%s/walker2d.xml", dir);
    write_text(ant, "<mujoco><worldbody><body></worldbody></mujoco>");
    write_text(hopper, "<mujoco><worldbody><geom size=\"1\"/></worldbody></mujoco>");
    write_text(walker, "<mujoco><worldbody><geom shape=\"1\"/></worldbody></mujoco>");
    CHECK(mujoco_env_init(&env, "Ant-v5", dir, error, sizeof error) == -1);
    CHECK_TEXT(error, "ant.xml: XML");
    CHECK(mujoco_env_init(&env, "Hopper-v5", dir, error, sizeof error) == -1);
    CHECK_TEXT(error, "hopper.xml is not the model of Hopper-v5");
    CHECK(mujoco_env_init(&env, "Walker2d-v4", dir, error, sizeof error) == -1);
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
        action[1] = (float)NAN; /* an action that is not a number */
        CHECK(env.step_fn(env.user, action, obs, &reward, &flags) == 0);
        CHECK(flags == DRL_ENV_TRUNCATED && e->faults == 1 && reward == 0);
        CHECK(memcmp(obs, before, (size_t)env.obs_dim * sizeof(float)) == 0);
        action[1] = 0;
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

TEST_MAIN(TEST_ENTRY(golden_half_cheetah), TEST_ENTRY(golden_hopper), TEST_ENTRY(golden_walker2d),
          TEST_ENTRY(golden_ant), TEST_ENTRY(compiled_models), TEST_ENTRY(reset_is_seeded),
          TEST_ENTRY(save_and_load_bitwise), TEST_ENTRY(environments_share_a_model),
          TEST_ENTRY(init_says_what_is_wrong), TEST_ENTRY(faults_truncate),
          TEST_ENTRY(errors_inside_a_step_come_back))
