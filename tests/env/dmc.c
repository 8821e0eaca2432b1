/* The DeepMind Control tasks against dm_control itself, and their rules.

     cc -O2 tests/env/dmc.c -o build/test_dmc -lmujoco -lm && build/test_dmc

   The models come from tools/get-dmc.sh; without them only what needs none is tested, and the rest
   says that it was skipped.

   golden_dmc_<model>.csv   60 steps of dm_control 1.0.7 on MuJoCo 2.2.2 (dog_3: 1.0.34 on 3.3.7);
                            what the lines hold says tools/make_golden_dmc.py, which wrote them */
#define _XOPEN_SOURCE 700 /* setenv, readlink also under -std=c99 */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#define MUJOCO_ENV_IMPLEMENTATION
#include "../../examples/mujoco/mujoco_env.h"
#include "../test.h"

#define MAX_OBS 256
#define MAX_ACT 40
#define STEPS 60

/* Are the models there? */
static int have(void)
{
    char path[1024], error[1024];
    if (dmc_find("dog.xml", NULL, path, sizeof path, error, sizeof error) == 0) return 1;
    printf("  skipped: %s\n", error);
    return 0;
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
    for (i = 0; i < env->act_dim; i++)
        action[i] = env->act_low[i] + (env->act_high[i] - env->act_low[i]) * drl_rng_uniform(rng);
}

/* ---- without the models ---- */

/* the same functions of d = distance / margin, written through powers of v */
static long double fall(dmc_sigmoid sigmoid, long double d, long double v)
{
    long double w = 1 / v, root = sqrtl(1 - v), power;
    switch (sigmoid) {
    case DMC_GAUSSIAN: return powl(v, d * d);
    case DMC_LINEAR: return d - d * v < 1 ? 1 + d * v - d : 0;
    case DMC_QUADRATIC: return d * d * (1 - v) < 1 ? 1 + d * d * v - d * d : 0;
    case DMC_HYPERBOLIC: power = powl(w + sqrtl(w * w - 1), d); return 2 / (power + 1 / power);
    case DMC_LONG_TAIL: return v / (v + d * d - d * d * v);
    case DMC_RECIPROCAL: return v / (v + d - d * v);
    case DMC_COSINE:
        power = d * acosl(2 * v - 1);
        return power < acosl(-1) ? cosl(power / 2) * cosl(power / 2) : 0;
    case DMC_TANH_SQUARED:
        power = powl((1 + root) / (1 - root), d / 2);
        return 4 / ((power + 1 / power) * (power + 1 / power));
    }
    return -1;
}

TEST(tolerance)
{
    static const double values[] = {.01, .1, .3, .5, .77, .95};
    double worst = 0;
    int k, i;
    for (k = 0; k < 6 * 8; k++) {
        dmc_sigmoid s = (dmc_sigmoid)(k / 6);
        double v = values[k % 6], low = -.7, high = 1.9, margin = .25 + k % 6;
        for (i = 0; i <= 300; i++) {
            double d = .01 * i, want = (double)fall(s, d, v);
            double above = dmc_tolerance(high + d * margin, low, high, margin, s, v);
            double below = dmc_tolerance(low - d * margin, low, high, margin, s, v);
            worst = fmax(worst, fmax(fabs(above - want), fabs(below - want)));
            d = low + (high - low) * i / 300;
            CHECK(dmc_tolerance(d, low, high, margin, s, v) == 1);
        }
        CHECK_NEAR(fall(s, 1, v), v, 1e-15);
    }
    CHECK_NEAR(worst, 0, 1e-12);
    printf("  largest difference %.1e\n", worst);
    /* 0 at the margin, no margin, no upper bound, the bounds themselves */
    CHECK(dmc_tolerance(2, 0, 1, 1, DMC_LINEAR, 0) == 0);
    CHECK(dmc_tolerance(2.5, 0, 1, 1, DMC_LINEAR, 0) == 0);
    CHECK_NEAR(dmc_tolerance(1.25, 0, 1, 1, DMC_LINEAR, 0), .75, 1e-15);
    CHECK_NEAR(dmc_tolerance(1.5, 0, 1, 1, DMC_QUADRATIC, 0), .75, 1e-15);
    CHECK_NEAR(dmc_tolerance(1.5, 0, 1, 1, DMC_COSINE, 0), .5, 1e-15);
    CHECK(dmc_tolerance(1 + 1e-9, 0, 1, 0, DMC_GAUSSIAN, .1) == 0);
    CHECK(dmc_tolerance(1, 0, 1, 0, DMC_GAUSSIAN, .1) == 1);
    CHECK(dmc_tolerance(1e300, 0, HUGE_VAL, 1, DMC_LINEAR, 0) == 1);
    CHECK_NEAR(dmc_tolerance(.2, .6, HUGE_VAL, .4, DMC_GAUSSIAN, .1), .1, 1e-15);
    CHECK(dmc_tolerance(NAN, 0, 1, 0, DMC_GAUSSIAN, .1) == 0);
}

TEST(elements_are_cut_out)
{
    char text[] = "<a>\n<geom name=\"px\"/><geom name=\"keep\"/>\n<body name=\"ball\">"
                  "<body name=\"in\"><geom name=\"x\"/></body>\n<body name=\"q\"/></body>"
                  "<body name=\"on\"/><range a=\"1\"/><range name=\"b\"></range></a>";
    char *p = text;
    int lines = 0;
    dmc_cut(text, "geom", "px");
    dmc_cut(text, "body", "ball");
    dmc_cut(text, "range", "");
    dmc_cut(text, "body", "absent");
    for (; *p; p++) {
        lines += *p == '\n';
        if (*p == '\n') *p = ' ';
    }
    CHECK(lines == 3); /* line numbers in MuJoCo's errors stay right */
    CHECK(!strstr(text, "px") && !strstr(text, "ball") && !strstr(text, "range"));
    CHECK(!strstr(text, "\"in\"") && !strstr(text, "\"q\""));
    CHECK(strstr(text, "<geom name=\"keep\"/>") && strstr(text, "<body name=\"on\"/>"));
    CHECK(strstr(text, "<a>") && strstr(text, "</a>"));
}

TEST(missing_models_are_told)
{
    char error[512];
    drl_env env;
    mujoco_options o = {0};
    o.dmc_dir = "/nowhere";
    CHECK(mujoco_env_init(&env, "walker-walk", &o, error, sizeof error) == -1);
    CHECK_TEXT(error, "cannot read /nowhere/walker.xml");
    CHECK_TEXT(error, "tools/get-dmc.sh");
    CHECK_TEXT(error, "--dmc DIR");
    CHECK_TEXT(error, "DIFFRL_DMC");
}

/* ---- with them ---- */

/* Read a line of comma-separated numbers; return how many. */
static int numbers(FILE *f, double *x, int max)
{
    static char line[65536];
    char *at = line, *end;
    int n;
    if (!fgets(line, sizeof line, f)) return 0;
    for (n = 0; n < max; n++, at = end + (*end == ',')) {
        x[n] = strtod(at, &end);
        if (end == at) break;
    }
    return n;
}

/* Open the file of a model behind its first line; the names of its tasks go to line. */
static FILE *golden_open(const char *model, char *line, int size)
{
    const char *slash = strrchr(__FILE__, '/');
    char path[1024];
    FILE *f;
    snprintf(path, sizeof path, "%.*sgolden_dmc_%s.csv", slash ? (int)(slash - __FILE__) + 1 : 0,
             __FILE__, model);
    f = fopen(path, "r");
    CHECK(f && fgets(line, size, f) && fgets(line, size, f));
    return f;
}

/* Replay one task of a model's file, the k-th in the line. */
static void replay(const char *model, int k)
{
    static const int until[3] = {10, 25, STEPS};
    double worst[3] = {0, 0, 0}, row[MAX_OBS + 8], q[128], v[128], action[MAX_ACT];
    const double tolerance[3] = {1e-9, 1e-7, 1e-4};
    char line[256], name[64];
    FILE *f = golden_open(model, line, sizeof line);
    int tasks, i, n, rows, flags = 0, part;
    mujoco_env *e;
    drl_env env;
    char *at = line;
    for (tasks = 1, i = 0; line[i]; i++) tasks += line[i] == ',';
    for (i = 0; i < k; i++) at = strchr(at, ',') + 1;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(at, ",\n"), at);
    e = make(&env, name);
    CHECK(numbers(f, q, 128) == (int)e->model->m->nq && numbers(f, v, 128) == (int)e->model->m->nv);
    CHECK(numbers(f, e->after, 3) == 3);
    CHECK(mujoco_env_set_state(e, q, v) == 0);
    for (rows = 0; (n = numbers(f, row, MAX_OBS + 8)) > 0; rows++) {
        const mjtNum *r = e->model->m->actuator_ctrlrange;
        const double *obs = row + 2 + tasks;
        for (i = 0; i < env.act_dim; i++, r += 2)
            action[i] = (r[0] + r[1] + (r[1] - r[0]) * .8 * sin(.37 * (rows - 1) + 1.7 * i)) / 2;
        if (rows > 0) CHECK(mujoco_env_step(e, action, &flags) == 0 && flags == 0);
        for (part = 0; part < 2 && rows > until[part];) part++;
        CHECK(e->data->ncon == (int)row[1]);
        CHECK((int)row[0] == rows);
        worst[part] = fmax(worst[part], fabs(row[2 + k] - e->reward));
        if (k > 0) continue; /* the observation in the file is that of the first task */
        CHECK(n == 2 + tasks || n == 2 + tasks + env.obs_dim);
        for (i = 0; i < n - 2 - tasks; i++)
            worst[part] = fmax(worst[part], fabs(obs[i] - e->obs[i]) / fmax(1, fabs(obs[i])));
    }
    CHECK(rows == STEPS + 1);
    for (i = 0; i < 3; i++) CHECK_NEAR(worst[i], 0, tolerance[i]);
    printf("  %-16s largest difference: %.1e to step 10, %.1e to 25, %.1e to 60\n", name, worst[0],
           worst[1], worst[2]);
    fclose(f);
    env.free_fn(env.user);
}

TEST(golden)
{
    static const char *const models[] = {"acrobot", "cartpole", "cheetah",  "finger",
                                         "finger_turn", "fish",  "hopper",   "humanoid",
                                         "pendulum", "quadruped", "walker", "dog"};
    char line[256];
    int i, k, tasks = 0;
    if (!have()) return;
    for (i = 0; i < 12; i++) {
        /* the dog weighs less on MuJoCo 3, which reckons the inertia of meshes otherwise */
        const char *model = i == 11 && mj_version() >= 300 ? "dog_3" : models[i];
        FILE *f = golden_open(model, line, sizeof line);
        fclose(f);
        if (i == 11 && mj_version() >= 340) {
            printf("  dog skipped: on MuJoCo 3.12 it leaves that of 3.3.7 after ten steps\n");
            tasks += 4;
            break;
        }
        for (k = 0;; k++, tasks++) {
            char *comma = line;
            int n;
            for (n = 0; comma && n < k; n++) comma = strchr(comma + 1, ',');
            if (!comma) break;
            replay(model, k);
        }
    }
    CHECK(tasks == DMC_COUNT); /* no task without a trajectory */
}

/* the table of the rules: nq, nv, nu, observations, timestep, substeps, seconds per episode */
TEST(sizes_and_times)
{
    static const struct {
        const char *task;
        int nq, nv, nu, obs;
        double timestep;
        int substeps, seconds;
    } want[] = {{"cartpole-swingup", 2, 2, 1, 5, .01, 1, 10},
                {"cheetah-run", 9, 9, 6, 17, .01, 1, 10},
                {"walker-walk", 9, 9, 6, 24, .0025, 10, 25},
                {"hopper-hop", 7, 7, 4, 15, .005, 4, 20},
                {"humanoid-run", 28, 27, 21, 67, .005, 5, 25},
                {"dog-run", 80, 79, 38, 223, .005, 3, 15}};
    int i;
    if (!have()) return;
    for (i = 0; i < 6; i++) {
        drl_env env;
        const mjModel *m = make(&env, want[i].task)->model->m;
        double control = m->opt.timestep * mujoco_env_get(&env)->model->task.frame_skip;
        CHECK((int)m->nq == want[i].nq && (int)m->nv == want[i].nv && (int)m->nu == want[i].nu);
        CHECK(env.obs_dim == want[i].obs && env.act_dim == want[i].nu && env.time_limit == 1000);
        CHECK_NEAR(m->opt.timestep, want[i].timestep, 1e-15);
        CHECK_NEAR(control, want[i].timestep * want[i].substeps, 1e-15);
        CHECK_NEAR(control * env.time_limit, want[i].seconds, 1e-9);
        CHECK(mj_name2id(m, mjOBJ_BODY, "ball") < 0 && mj_name2id(m, mjOBJ_GEOM, "wall_px") < 0);
        env.free_fn(env.user);
    }
}

/* A whole episode of each task: rewards in [0, 1], never over before the time limit, the same from
   the same seed; and after an episode's first half, saved and loaded into another environment, the
   same bits. */
TEST(episodes)
{
    int k, i, j;
    if (!have()) return;
    for (k = 0; mujoco_env_task(k); k++) {
        float first[MAX_OBS], obs[MAX_OBS], other[MAX_OBS], action[MAX_ACT], r, r2;
        int flags, flags2, steps = 0, bad = 0, differ = 0;
        char error[256];
        drl_env env, copy;
        drl_rng rng = drl_rng_make(1, "actions");
        double sum = 0;
        void *state = NULL, *after;
        size_t size;
        if (!mujoco_env_is_dmc(mujoco_env_task(k))) continue;
        make(&env, mujoco_env_task(k)->name);
        CHECK(mujoco_env_clone(&copy, &env, error, sizeof error) == 0);
        size = env.state_size_fn(env.user);
        state = malloc(size);
        after = malloc(size);
        CHECK(env.reset_fn(env.user, 4, first) == 0 && env.reset_fn(env.user, 5, obs) == 0);
        CHECK(memcmp(first, obs, (size_t)env.obs_dim * sizeof(float)) != 0);
        CHECK(copy.reset_fn(copy.user, 4, other) == 0);
        CHECK(memcmp(first, other, (size_t)env.obs_dim * sizeof(float)) == 0);
        for (i = 0; i < env.time_limit; i++) {
            actions(&rng, &env, action);
            CHECK(env.step_fn(env.user, action, obs, &r, &flags) == 0);
            for (j = 0; j < env.obs_dim; j++) bad += !(fabsf(obs[j]) < 1e8f);
            bad += !(r >= 0 && r <= 1) || flags != 0;
            steps++;
            sum += (double)r;
            if (i > 500 && i <= 600) {
                copy.step_fn(copy.user, action, other, &r2, &flags2);
                differ += memcmp(obs, other, (size_t)env.obs_dim * sizeof(float)) != 0 || r != r2;
                env.save_fn(env.user, state, size);
                copy.save_fn(copy.user, after, size);
                differ += memcmp(state, after, size) != 0;
            }
            if (i == 500 || (i > 540 && i < 600)) { /* for a while, then at each step */
                env.save_fn(env.user, state, size);
                CHECK(copy.load_fn(copy.user, state, size) == 0);
            }
        }
        CHECK(steps == 1000 && bad == 0 && differ == 0);
        if (bad || differ) printf("  %s: %d bad, %d differ\n", env.name, bad, differ);
        printf("  %-16s return of random actions %7.2f\n", env.name, sum);
        free(state), free(after);
        env.free_fn(env.user);
        copy.free_fn(copy.user);
    }
}

/* how episodes start */
TEST(resets)
{
    float obs[MAX_OBS];
    double low = 9, high = -9, speed = 0;
    int seed, i;
    drl_env env;
    mujoco_env *e;
    if (!have()) return;
    e = make(&env, "humanoid-stand"); /* nothing touches; joints in their range, root turned */
    for (seed = 0; seed < 50; seed++) {
        const mjModel *m = e->model->m;
        CHECK(env.reset_fn(env.user, (uint64_t)seed, obs) == 0 && e->data->ncon == 0);
        for (i = 1; i < (int)m->njnt; i++) {
            double q = e->data->qpos[m->jnt_qposadr[i]];
            CHECK(q >= m->jnt_range[2 * i] && q <= m->jnt_range[2 * i + 1]);
        }
        for (i = 3; i < 7; i++) CHECK(e->data->qpos[i] >= 0);
        CHECK_NEAR(mju_norm(e->data->qpos + 3, 4), 1, 1e-12);
        CHECK(mju_norm(e->data->qvel, (int)m->nv) == 0);
    }
    env.free_fn(env.user);
    e = make(&env, "cheetah-run"); /* settled: slow, time 0 */
    for (seed = 0; seed < 20; seed++) {
        CHECK(env.reset_fn(env.user, (uint64_t)seed, obs) == 0 && e->data->time == 0);
        speed = fmax(speed, fabs(e->data->qvel[0]));
    }
    CHECK(speed > 0 && speed < 3);
    env.free_fn(env.user);
    e = make(&env, "walker-run"); /* hinges in their range, the root's anywhere */
    for (seed = 0; seed < 200; seed++) {
        CHECK(env.reset_fn(env.user, (uint64_t)seed, obs) == 0);
        low = fmin(low, e->data->qpos[2]);
        high = fmax(high, e->data->qpos[2]);
        CHECK(e->data->qpos[0] == 0 && e->data->qpos[1] == 0);
    }
    CHECK(low > -mjPI && low < -3 && high < mjPI && high > 3);
    env.free_fn(env.user);
    e = make(&env, "fish-swim"); /* the target differs, also between two that share a model */
    CHECK(env.reset_fn(env.user, 1, obs) == 0 && fabs(e->after[0]) + fabs(e->after[1]) > 0);
    env.free_fn(env.user);
    e = make(&env, "dog-walk"); /* turned about z, moving in the plane, muscles anywhere */
    CHECK(env.reset_fn(env.user, 1, obs) == 0);
    CHECK(e->data->qpos[4] == 0 && e->data->qpos[5] == 0 && e->data->qvel[0] != 0);
    CHECK(e->data->qvel[2] == 0 && e->data->qvel[5] != 0);
    for (i = 0; i < 38; i++) CHECK(fabs(e->data->act[i]) <= 1 && e->data->act[i] != 0);
    env.free_fn(env.user);
}

TEST_MAIN(TEST_ENTRY(tolerance), TEST_ENTRY(elements_are_cut_out),
          TEST_ENTRY(missing_models_are_told), TEST_ENTRY(golden), TEST_ENTRY(sizes_and_times),
          TEST_ENTRY(episodes), TEST_ENTRY(resets))
