/* Collects data: plays a policy, or acts at random, and writes all transitions.      (2 stars of 4)

     cc -O2 examples/mujoco/collect.c -I. -Iexamples -o build/collect -lmujoco -lm -lpthread

   (in the top folder. Without MuJoCo leave -lmujoco out and add -DTRAIN_NO_MUJOCO.)

     build/collect --policy runs/NAME/best.safetensors --steps 100k --out medium.npz

   Teaches   how an environment is wrapped to write down what happens in it (recorder.h)
   Expects   rows, episodes and their mean return; the keys of the file are in recorder.h
   Policy    acts as in training (with its noise), as D4RL collects; tools/make-data.sh makes whole
             sets in that way
   Exit      0 ok, 1 run failed, 2 usage, 3 bad file, 4 stopped by nan */
#define _POSIX_C_SOURCE 200809L
#define DIFFRL_IMPLEMENTATION
#include "run.h"
#include "recorder.h"

typedef struct collect {
    const char *policy, *out;
    run_task task;
    uint64_t seed;
    int64_t steps;
    drl_context ctx;
    run_policy play; /* its agent is NULL when acting at random */
    recorder record;
} collect;

static const drl_field collect_numbers[] = {
    DRL_FIELD(collect, steps, INT64, 100000, 1, 1e9, "transitions"),
    DRL_FIELD(collect, seed, UINT64, 1, 0, 0, "of the episodes and the noise"),
};

enum {
    FLAG_POLICY, FLAG_OUT, FLAG_STEPS, FLAG_SEED, FLAG_TASK, FLAG_TASK_SET, FLAG_PHYSICS,
    FLAG_REWARD, FLAG_DMC, FLAG_HELP
};

static const run_flag collect_flags[] = {
    {"policy", "FILE", "a policy that train has saved; without it actions are uniform"},
    {"out", "FILE.npz", "what to write (data.npz)"},
    {"steps", "N", "transitions, also 200k, 1M (100k)"},
    {"seed", "N", "of the episodes and the noise (1)"},
    {"task", "NAME", "the task, if not the policy's"},
    RUN_TASK_FLAGS,
    {"help", NULL, "this text"},
};

/* Read the command line. Returns -1 to go on, or the exit code. */
static int collect_parse(collect *c, int argc, char **argv)
{
    run_args args = {"collect", NULL, 0, 1, 0};
    const char *value;
    int flag, rc = RUN_OK;
    args.argc = argc;
    args.argv = argv;
    drl_fields_default(collect_numbers, RUN_COUNT(collect_numbers), c);
    c->out = "data.npz";
    while (rc == RUN_OK) {
        flag = run_args_next(&args, collect_flags, RUN_COUNT(collect_flags), &value);
        if (flag == RUN_ARGS_END) break;
        if (flag == RUN_ARGS_BAD) return RUN_USAGE;
        if (flag == FLAG_HELP) {
            printf("usage: collect [FLAG...]\n\nWrites what a policy does as data.\n\n");
            run_flags_help(collect_flags, RUN_COUNT(collect_flags));
            return RUN_OK;
        }
        rc = flag < 0 ? -1 : run_task_flag(&c->task, "collect", collect_flags[flag].name, value);
        if (rc >= 0) continue;
        rc = RUN_OK;
        if (flag == FLAG_POLICY || flag == RUN_ARGS_WORD) c->policy = value;
        else if (flag == FLAG_OUT) c->out = value;
        else
            rc = run_option("collect", collect_numbers, RUN_COUNT(collect_numbers), c,
                            collect_flags[flag].name, value);
    }
    if (rc == RUN_OK && !c->policy && !c->task.name[0]) {
        fprintf(stderr, "collect: neither --policy nor --task; --help shows all flags\n");
        rc = RUN_USAGE;
    }
    return rc ? rc : -1;
}

static int collect_fail(const collect *c, drl_status s)
{
    fprintf(stderr, "collect: %s\n", drl_context_error(&c->ctx));
    return run_exit_code(s);
}

static int collect_open(collect *c)
{
    char error[512];
    if (drl_context_init(&c->ctx, NULL) != DRL_OK) return collect_fail(c, c->ctx.status);
    if (c->policy) return run_policy_open(&c->play, "collect", &c->ctx, c->policy, &c->task);
    c->play.task = c->task;
    if (run_task_find(&c->play.task, "collect")) return RUN_USAGE;
    if (!run_task_open(&c->play.env, &c->play.task, NULL, error, sizeof error)) return RUN_OK;
    fprintf(stderr, "collect: %s\n", error);
    return RUN_FAILED;
}

/* One episode, or what is left of the steps; sum gets its return. work [obs, act]. */
static drl_status collect_episode(collect *c, const drl_env *env, uint64_t seed, float *work,
                                  double *sum, int *whole)
{
    float *act = work + env->obs_dim, reward = 0;
    drl_rng rng = drl_rng_make(seed, "collect");
    int flags = 0, length = 0, i;
    drl_status s = drl_env_reset(&c->ctx, env, seed, work);
    if (c->play.agent) drl_agent_begin(c->play.agent, 0, seed);
    *sum = 0;
    *whole = 0;
    while (s == DRL_OK && !*whole && c->record.count < c->steps) {
        if (c->play.agent) s = drl_agent_act(c->play.agent, DRL_MODE_EXPLORE, 1, work, act);
        for (i = 0; i < env->act_dim && !c->play.agent; i++)
            act[i] = 2 * drl_rng_uniform(&rng) - 1;
        if (s == DRL_OK) s = drl_env_step(&c->ctx, env, act, work, &reward, &flags);
        *sum += (double)reward;
        *whole = flags || ++length == env->time_limit;
        if (c->record.full) return DRL_ERR_MEMORY;
    }
    return s;
}

static int collect_run(collect *c)
{
    char error[1300], a[32], b[32], d[32], mean[32], spread[32];
    drl_env env = recorder_wrap(&c->record, &c->play.env);
    float *work = (float *)calloc((size_t)(env.obs_dim + env.act_dim), sizeof *work);
    double sum = 0, square = 0;
    int episodes = 0, whole;
    uint64_t seed = c->seed * 1000003;
    drl_status s = work ? DRL_OK : DRL_ERR_MEMORY;
    while (s == DRL_OK && c->record.count < c->steps) {
        double one;
        s = collect_episode(c, &env, seed++, work, &one, &whole);
        if (s != DRL_OK || !whole) continue;
        episodes++;
        sum += one;
        square += one * one;
    }
    free(work);
    if (s != DRL_OK) return collect_fail(c, s);
    if (recorder_write(&c->record, c->out, error, sizeof error)) {
        fprintf(stderr, "collect: %s\n", error);
        return RUN_FILE;
    }
    sum /= episodes ? episodes : 1;
    square = square / (episodes ? episodes : 1) - sum * sum;
    printf("%s  %s on %s: %s rows, %s whole episodes, return %s +- %s\n", c->out,
           c->policy ? c->play.algo.name : "random", run_clean(c->play.task.name, d, sizeof d),
           run_thousands(c->record.count, a), run_thousands(episodes, b), run_short(sum, mean),
           run_short(sqrt(square > 0 ? square : 0), spread));
    return RUN_OK;
}

int main(int argc, char **argv)
{
    static collect c;
    int rc = collect_parse(&c, argc, argv);
    if (rc >= 0) return rc;
    rc = collect_open(&c);
    if (rc == RUN_OK) rc = collect_run(&c);
    recorder_free(&c.record);
    run_policy_close(&c.play);
    drl_context_free(&c.ctx);
    return rc;
}
