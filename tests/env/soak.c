/* Random actions on every MuJoCo task: nothing crashes, nothing that is not finite comes out, memory
   does not grow; and how fast the tasks step.

     cc -O2 tests/env/soak.c -o build/soak -lmujoco -lm && build/soak 1000000 [TASK...]

   Without arguments: 1,000 steps of each task. Tasks whose models are not there are left out.
   Prints     steps/s of one core (its own time, not the clock's) for physics, observation, reward
              and resets; and how much faster Ant-v5 is on a pool of two threads */
#define _XOPEN_SOURCE 700
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#define MUJOCO_ENV_IMPLEMENTATION
#include "../../examples/mujoco/mujoco_env.h"
#include "../test.h"
#include <time.h>
#include <unistd.h>

static int arguments;
static char **argument;

/* seconds of this process, or of the clock */
static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* memory in use now, in bytes; 0 if the system does not tell */
static double resident(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%*s %ld", &pages) != 1) pages = 0;
    if (f) fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static int finite_all(const float *x, int n)
{
    int i, ok = 1;
    for (i = 0; i < n; i++) ok &= fabsf(x[i]) <= FLT_MAX;
    return ok;
}

/* an environment and what its steps so far came to */
typedef struct walk {
    drl_env env;
    drl_rng rng;
    float obs[1024];
    int64_t steps, episodes;
    int length, bad;
} walk;

static void walk_on(walk *w, int64_t steps)
{
    float action[64], reward = 0;
    int i, flags = 0;
    for (; steps > 0; steps--, w->steps++) {
        if (w->length == 0)
            w->bad += w->env.reset_fn(w->env.user, (uint64_t)w->episodes++, w->obs) != 0;
        for (i = 0; i < w->env.act_dim; i++) {
            float low = w->env.act_low[i], high = w->env.act_high[i];
            action[i] = low + (high - low) * drl_rng_uniform(&w->rng);
        }
        w->bad += w->env.step_fn(w->env.user, action, w->obs, &reward, &flags) != 0;
        w->bad += !finite_all(w->obs, w->env.obs_dim) || !finite_all(&reward, 1);
        if (flags || ++w->length == w->env.time_limit) w->length = 0;
    }
}

static void soak(const char *task, int64_t steps)
{
    static walk w;
    char error[512];
    double start, half;
    memset(&w, 0, sizeof w);
    w.rng = drl_rng_make(1, task);
    if (mujoco_env_init(&w.env, task, NULL, error, sizeof error)) {
        printf("  %-26s left out: %.60s...\n", task, error);
        return;
    }
    start = seconds(CLOCK_PROCESS_CPUTIME_ID);
    walk_on(&w, steps / 2);
    half = resident();
    walk_on(&w, steps - steps / 2);
    CHECK(w.bad == 0);
    CHECK(resident() - half < 1e6);
    printf("  %-26s %8ld steps, %6ld episodes, %3ld broken off, %7.0f steps/s, %+4.0f kB\n", task,
           (long)w.steps, (long)w.episodes, (long)mujoco_env_get(&w.env)->faults,
           (double)w.steps / (seconds(CLOCK_PROCESS_CPUTIME_ID) - start),
           (resident() - half) / 1e3);
    fflush(stdout);
    w.env.free_fn(w.env.user);
}

TEST(random_actions)
{
    int64_t steps = arguments > 1 ? (int64_t)strtod(argument[1], NULL) : 1000;
    int i;
    for (i = 2; i < arguments; i++) soak(argument[i], steps);
    for (i = 0; arguments <= 2 && mujoco_env_task(i); i++) soak(mujoco_env_task(i)->name, steps);
}

static void walk_part(void *arg, int begin, int end, int worker)
{
    walk *w = (walk *)arg;
    (void)worker;
    for (; begin < end; begin++) walk_on(&w[begin], 1);
}

/* steps of twenty environments (as many as DACER has) side by side, all of them done before the next
   ones begin */
TEST(two_threads)
{
    enum { COUNT = 20 };
    static walk w[COUNT];
    double rate[3] = {0, 0, 0};
    int threads, i, rounds = arguments > 1 ? 2000 : 50, k;
    for (i = 0; i < COUNT; i++) {
        w[i].rng = drl_rng_make((uint64_t)i, "two threads");
        if (i) CHECK(mujoco_env_clone(&w[i].env, &w[0].env, NULL, 0) == 0);
        else CHECK(mujoco_env_init(&w[0].env, "Ant-v5", NULL, NULL, 0) == 0);
        if (!w[i].env.user) return;
    }
    for (threads = 1; threads <= 2; threads++) {
        drl_context_config config = drl_context_config_default();
        drl_context ctx;
        double start;
        config.threads = threads;
        CHECK(drl_context_init(&ctx, &config) == DRL_OK);
        start = seconds(CLOCK_MONOTONIC);
        for (k = 0; k < rounds; k++) drl_parallel_for(&ctx, COUNT, 0, walk_part, w);
        rate[threads] = COUNT * rounds / (seconds(CLOCK_MONOTONIC) - start);
        drl_context_free(&ctx);
    }
    printf("  Ant-v5, steps/s by the clock: %.0f with one thread, %.0f with two: %.2f times\n",
           rate[1], rate[2], rate[2] / rate[1]);
    for (i = 0; i < COUNT; i++) {
        CHECK(w[i].bad == 0);
        w[i].env.free_fn(w[i].env.user);
    }
}

int main(int argc, char **argv)
{
    const test_entry tests[] = {TEST_ENTRY(random_actions), TEST_ENTRY(two_threads)};
    arguments = argc;
    argument = argv;
    return test_run(tests, 2, 1, argv);
}
