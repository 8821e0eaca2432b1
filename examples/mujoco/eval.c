/* Plays a saved policy and measures it: returns, episode lengths, time per action.   (2 stars of 4)

     cc -O2 examples/mujoco/eval.c -I. -Iexamples -o build/eval -lmujoco -lm -lpthread

   (in the top folder. Without MuJoCo leave -lmujoco out and add -DTRAIN_NO_MUJOCO.)

     build/eval --policy runs/Pendulum__dime__1__1700000000/best.safetensors --episodes 20

   Teaches   how a program runs a policy with nothing but its file: algorithm, settings and task are
             in the file's metadata (run_policy_open); how an agent can be wrapped (eval_act)
   Expects   a line per episode, then mean, standard deviation, least and most, length, latency
   Repeats   with the default seed: the very returns that train got when it saved the policy
   Exit      0 ok, 1 run failed, 2 usage, 3 bad file, 4 stopped by nan */
#define _POSIX_C_SOURCE 200809L
#define DIFFRL_IMPLEMENTATION
#include "run.h"

typedef struct eval_options {
    const char *policy, *csv;
    run_task task; /* no name: the file's */
    uint64_t seed;
    int episodes, quiet;
} eval_options;

static const drl_field eval_numbers[] = {
    DRL_FIELD(eval_options, episodes, INT, 10, 1, 1e6, "episodes"),
    DRL_FIELD(eval_options, seed, UINT64, RUN_EVAL_SEED, 0, 0, "of the first episode"),
};

enum {
    FLAG_POLICY,
    FLAG_EPISODES,
    FLAG_SEED,
    FLAG_TASK,
    FLAG_TASK_SET,
    FLAG_PHYSICS,
    FLAG_REWARD,
    FLAG_DMC,
    FLAG_CSV,
    FLAG_QUIET,
    FLAG_HELP,
    FLAG_VERSION
};

static const run_flag eval_flags[] = {
    {"policy", "FILE", "policy.safetensors or best.safetensors of a run; --policy may be left out"},
    {"episodes", "N", "episodes to play (10)"},
    {"seed", "N", "of the first episode, one more for each (10000, as in training)"},
    {"task", "NAME", "another task than the file's"},
    RUN_TASK_FLAGS,
    {"csv", "FILE", "write a row per episode"},
    {"quiet", NULL, "no line per episode"},
    {"help", NULL, "this text"},
    {"version", NULL, "of the library"},
};

typedef struct eval {
    eval_options opt;
    drl_context ctx;
    run_policy policy; /* its agent's act_fn is eval_act: the algorithm's with a clock around it */
    double *seconds;  /* [actions] time of each */
    size_t actions, capacity;
    FILE *csv;
} eval;

static eval eval_program;

/* Read the command line. Returns -1 to go on, or the exit code. */
static int eval_parse(eval_options *o, int argc, char **argv)
{
    run_args args = {"eval", NULL, 0, 1, 0};
    const char *value;
    int flag, rc = RUN_OK;
    args.argc = argc;
    args.argv = argv;
    drl_fields_default(eval_numbers, RUN_COUNT(eval_numbers), o);
    while (rc == RUN_OK) {
        flag = run_args_next(&args, eval_flags, RUN_COUNT(eval_flags), &value);
        if (flag == RUN_ARGS_END) break;
        if (flag == RUN_ARGS_BAD) return RUN_USAGE;
        if (flag == FLAG_HELP) {
            printf(
                "usage: eval --policy FILE [FLAG...]\n\nPlays a policy that train has saved.\n\n");
            run_flags_help(eval_flags, RUN_COUNT(eval_flags));
            printf("\nexamples:\n  build/eval runs/Hopper*/best.safetensors\n"
                   "  build/eval runs/Hopper*/policy.safetensors --episodes 100 --csv returns.csv\n"
                   "\nexit status: 0 ok, 1 run failed, 2 usage, 3 bad file, 4 stopped by nan\n");
            return RUN_OK;
        }
        if (flag == FLAG_VERSION) return printf("diffrl %s\n", DIFFRL_VERSION_STRING), RUN_OK;
        rc = flag < 0 ? -1 : run_task_flag(&o->task, "eval", eval_flags[flag].name, value);
        if (rc >= 0) continue;
        rc = RUN_OK;
        if (flag == FLAG_POLICY || (flag == RUN_ARGS_WORD && !o->policy)) o->policy = value;
        else if (flag == RUN_ARGS_WORD)
            rc = (fprintf(stderr, "eval: one policy at a time, got '%s' too\n", value), RUN_USAGE);
        else if (flag == FLAG_CSV) o->csv = value;
        else if (flag == FLAG_QUIET) o->quiet = 1;
        else
            rc = run_option("eval", eval_numbers, RUN_COUNT(eval_numbers), o, eval_flags[flag].name,
                            value);
    }
    if (rc) return rc;
    if (!o->policy) {
        fprintf(stderr, "eval: no policy; usage: eval --policy FILE (--help shows all flags)\n");
        return RUN_USAGE;
    }
    return -1;
}

static int eval_fail(const eval *e, int code)
{
    fprintf(stderr, "eval: %s\n", drl_context_error(&e->ctx));
    return code;
}

/* Act and note how long it took. */
static drl_tensor *eval_act(drl_agent *agent, drl_mode mode, drl_tensor *obs)
{
    eval *e = &eval_program;
    double start = run_now();
    drl_tensor *act = e->policy.algo.act_fn(agent, mode, obs);
    if (e->actions == e->capacity) {
        size_t capacity = e->capacity ? 2 * e->capacity : 4096;
        double *p = (double *)realloc(e->seconds, capacity * sizeof *p);
        if (!p) return act; /* later actions are not in the percentiles */
        e->seconds = p;
        e->capacity = capacity;
    }
    e->seconds[e->actions++] = run_now() - start;
    return act;
}

/* Say what the file tells about the policy. */
static void eval_tell(const eval *e)
{
    const drl_meta *meta = &e->policy.file.meta;
    const drl_agent *agent = e->policy.agent;
    static const char *const keys[] = {"env_steps", "library", "eval_mean", "eval_std",
                                       "eval_episodes"};
    char text[5][32];
    int i;
    for (i = 0; i < 5; i++) {
        const char *value = drl_meta_get(meta, keys[i]);
        run_clean(value ? value : "?", text[i], sizeof text[i]);
    }
    printf("policy   %s on %s (obs %d, act %d), %s steps, by %s\n",
           e->policy.algo.name, e->policy.task.name, agent->obs_dim, agent->act_dim,
           text[0], text[1]);
    if (drl_meta_get(meta, "eval_mean"))
        printf("training %s +- %s over %s episodes\n", text[2], text[3], text[4]);
}

static int eval_open(eval *e)
{
    int rc;
    if (drl_context_init(&e->ctx, NULL) != DRL_OK) return eval_fail(e, RUN_FAILED);
    rc = run_policy_open(&e->policy, "eval", &e->ctx, e->opt.policy, &e->opt.task);
    if (rc) return rc;
    eval_tell(e);
    if (!e->opt.csv) return RUN_OK;
    e->csv = fopen(e->opt.csv, "w");
    if (e->csv) return fprintf(e->csv, "episode,seed,return,length\n"), RUN_OK;
    fprintf(stderr, "eval: cannot write %s: %s\n", e->opt.csv, strerror(errno));
    return RUN_FILE;
}

static int eval_episode(void *user, int episode, const drl_evaluation *one)
{
    eval *e = (eval *)user;
    char text[DRL_FIELD_TEXT];
    uint64_t seed = e->opt.seed + (uint64_t)episode;
    if (!e->opt.quiet) {
        printf("episode %4d  seed %" PRIu64 "  return %10.2f  length %4.0f\n", episode + 1, seed,
               one->mean, one->length);
        fflush(stdout);
    }
    if (e->csv)
        fprintf(e->csv, "%d,%" PRIu64 ",%s,%d\n", episode + 1, seed,
                run_number(&e->ctx, one->mean, text), (int)one->length);
    return 0;
}

static int eval_order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static int eval_run(eval *e)
{
    drl_evaluation all;
    drl_status s;
    e->policy.agent->algo.act_fn = eval_act;
    s = run_evaluate(&e->ctx, e->policy.agent, &e->policy.env, e->opt.episodes, e->opt.seed,
                     eval_episode, e, &all);
    if (s != DRL_OK) return eval_fail(e, run_exit_code(s));
    printf("return   %.2f +- %.2f  min %.2f  max %.2f  length %.1f  episodes %d\n", all.mean,
           all.std, all.min, all.max, all.length, all.episodes);
    if (e->actions) {
        qsort(e->seconds, e->actions, sizeof *e->seconds, eval_order);
        printf("latency  p50 %.4f ms  p99 %.4f ms per action\n", 1e3 * e->seconds[e->actions / 2],
               1e3 * e->seconds[e->actions * 99 / 100]);
    }
    if (e->csv && (fflush(e->csv) || ferror(e->csv))) {
        fprintf(stderr, "eval: cannot write %s: %s\n", e->opt.csv, strerror(errno));
        return RUN_FILE;
    }
    return RUN_OK;
}

int main(int argc, char **argv)
{
    eval *e = &eval_program;
    int rc = eval_parse(&e->opt, argc, argv);
    if (rc >= 0) return rc;
    rc = eval_open(e);
    if (rc == RUN_OK) rc = eval_run(e);
    if (e->csv) fclose(e->csv);
    run_policy_close(&e->policy);
    free(e->seconds);
    drl_context_free(&e->ctx);
    return rc;
}
