/* Plays a saved policy and measures it: returns, episode lengths, time per action.   (2 stars of 4)

     cc -O2 examples/mujoco/eval.c -I. -Iexamples -o build/eval -lmujoco -lm -lpthread

   (in the top folder. Without MuJoCo leave -lmujoco out and add -DTRAIN_NO_MUJOCO.)

     build/eval --policy runs/Pendulum__dime__1__1700000000/best.safetensors --episodes 20
     build/eval POLICY --episodes 10 --seeds 5 --mode deterministic --steps 5 --csv table.csv

   Teaches   how a program runs a policy with nothing but its file: algorithm, settings and task are
             in the file's metadata (run_policy_open); how an agent can be wrapped (eval_act)
   Expects   a line per episode, then mean, standard deviation, least and most, interquartile mean,
             95 % bootstrap intervals, length, latency
   Repeats   with the default seed: the very returns that train got when it saved the policy
   Exit      0 ok, 1 run failed, 2 usage, 3 bad file, 4 stopped by nan */
#define _POSIX_C_SOURCE 200809L
#define DIFFRL_IMPLEMENTATION
#include "run.h"
#include "stats.h"

typedef struct eval_options {
    const char *policy, *csv, *mode; /* mode NULL: the algorithm's own */
    run_task task;                   /* no name: the file's */
    uint64_t seed;
    int episodes, seeds, steps, quiet; /* steps 0: all */
} eval_options;

static const drl_field eval_numbers[] = {
    DRL_FIELD(eval_options, episodes, INT, 10, 1, 1e6, "episodes of each seed"),
    DRL_FIELD(eval_options, seeds, INT, 1, 1, 1000, "blocks of episodes"),
    DRL_FIELD(eval_options, steps, INT, 0, 0, DRL_STEPS_MAX, "denoising steps"),
    DRL_FIELD(eval_options, seed, UINT64, RUN_EVAL_SEED, 0, 0, "of the first episode"),
};

enum {
    FLAG_POLICY, FLAG_EPISODES, FLAG_SEEDS, FLAG_SEED, FLAG_MODE, FLAG_STEPS, FLAG_TASK,
    FLAG_TASK_SET, FLAG_PHYSICS, FLAG_REWARD, FLAG_DMC, FLAG_CSV, FLAG_QUIET, FLAG_HELP,
    FLAG_VERSION
};

static const run_flag eval_flags[] = {
    {"policy", "FILE", "policy.safetensors or best.safetensors of a run; --policy may be left out"},
    {"episodes", "N", "episodes to play, of each seed (10)"},
    {"seeds", "N", "blocks of episodes, each on seeds of its own (1)"},
    {"seed", "N", "of the first episode, one more for each (10000, as in training)"},
    {"mode", "MODE", "deterministic: the mean instead of every noise; sample: one sampled action;"},
    {"steps", "N", "so many denoising steps, by DDIM (all; a divisor of them)"},
    {"task", "NAME", "another task than the file's"},
    RUN_TASK_FLAGS,
    {"csv", "FILE", "write a row per seed, and one of all"},
    {"quiet", NULL, "no line per episode"},
    {"help", NULL, "this text"},
    {"version", NULL, "of the library"},
};

typedef struct eval {
    eval_options opt;
    drl_context ctx;
    run_policy policy; /* its agent's act_fn is eval_act: the algorithm's with a clock around it */
    const char *mode; /* a word for it */
    int explore;      /* sample by DRL_MODE_EXPLORE, since DRL_MODE_EVAL does not */
    int steps;        /* of the chain, 0: there is none */
    double *seconds;  /* [actions] time of each */
    size_t actions, capacity;
    double *returns; /* [seeds * episodes] */
    int played;
    FILE *csv;
} eval;

static eval eval_program;

static void eval_help(void)
{
    printf("usage: eval --policy FILE [FLAG...]\n\nPlays a policy that train has saved.\n\n");
    run_flags_help(eval_flags, FLAG_MODE + 1);
    printf("%25s%s\n%25s%s\n%25s%s\n", "", "best-of-K: of K samples the best by the critic, which "
           "the files of qvpo hold;", "", "default: as the algorithm evaluates: dacer, dime, dppo "
           "sample, qvpo takes the", "", "best of its setting evaluation, ppo and sac are "
           "deterministic");
    run_flags_help(eval_flags + FLAG_MODE + 1, RUN_COUNT(eval_flags) - FLAG_MODE - 1);
    printf("\nexamples:\n  build/eval runs/Hopper*/best.safetensors\n"
           "  build/eval runs/Hopper*/policy.safetensors --episodes 100 --quiet\n"
           "  build/eval runs/Hopper*/policy.safetensors --mode deterministic --csv t.csv\n"
           "\nexit status: 0 ok, 1 run failed, 2 usage, 3 bad file, 4 stopped by nan\n");
}

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
            eval_help();
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
        else if (flag == FLAG_MODE) o->mode = value;
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
    char said[300] = "";
    if (e->ctx.status == DRL_ERR_ENV)
        run_task_said(&e->policy.env, 1, &e->policy.task, said, sizeof said);
    fprintf(stderr, "eval: %s%s\n", drl_context_error(&e->ctx), said);
    return code;
}

/* Act and note how long it took. */
static drl_tensor *eval_act(drl_agent *agent, drl_mode mode, drl_tensor *obs)
{
    eval *e = &eval_program;
    double start = run_now();
    drl_tensor *act;
    if (e->explore) agent->rng_act = agent->rng_eval; /* the episode's noise in any mode */
    act = e->policy.algo.act_fn(agent, e->explore ? DRL_MODE_EXPLORE : mode, obs);
    if (e->explore) agent->rng_eval = agent->rng_act;
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
    printf("policy   %s on %s (obs %d, act %d), %s steps, by %s\n", e->policy.algo.name,
           e->policy.task.name, agent->obs_dim, agent->act_dim, text[0], text[1]);
    if (e->opt.mode || e->opt.steps)
        printf("mode     %s, %d denoising steps\n", e->mode, e->steps);
    if (drl_meta_get(meta, "eval_mean"))
        printf("training %s +- %s over %s episodes\n", text[2], text[3], text[4]);
}

/* ------------------------------------------------------------------------------ mode and steps */

static int eval_refuse(const char *flag, const char *algo, const char *why)
{
    fprintf(stderr, "eval: --%s: %s %s\n", flag, algo, why);
    return RUN_USAGE;
}

/* The chain of the algorithm by fewer steps, without noise in between (DDIM, eta 0). Of dppo the
   tuned net takes the steps at whose times it was tuned. */
static int eval_steps(eval *e)
{
    const char *algo = e->policy.algo.name;
    drl_dacer *dacer = (drl_dacer *)e->policy.agent;
    drl_qvpo *qvpo = (drl_qvpo *)e->policy.agent;
    drl_dppo *dppo = (drl_dppo *)e->policy.agent;
    int is_dacer = !strcmp(algo, "dacer"), is_qvpo = !strcmp(algo, "qvpo"), n = e->opt.steps, all;
    drl_ddpm *chain = is_dacer ? &dacer->chain : is_qvpo ? &qvpo->chain : &dppo->eval, full;
    if (!strcmp(algo, "dime")) {
        e->steps = ((drl_dime *)e->policy.agent)->cfg.steps;
        return !n || n == e->steps ? RUN_OK : eval_refuse("steps", algo, "was trained through all "
            "steps of its chain, whose sizes it learned: there is no shorter one");
    }
    if (!is_dacer && !is_qvpo && strcmp(algo, "dppo"))
        return n ? eval_refuse("steps", algo, "has no denoising steps") : RUN_OK;
    e->steps = all = chain->steps;
    if (!n || n == all) return RUN_OK;
    full = is_dacer || is_qvpo ? *chain : dppo->full;
    if (n > all || drl_ddim_init(chain, &e->ctx, &full, n, 0.0f) != DRL_OK) {
        fprintf(stderr, "eval: --steps: expected a divisor of %d up to %d\n", full.steps, all);
        return RUN_USAGE;
    }
    e->steps = n;
    if (is_dacer) dacer->cfg.steps = n;
    else if (is_qvpo) qvpo->cfg.steps = n;
    else {
        int last = (dppo->cfg.tuned - 1) * (full.steps / all); /* time of its first tuned step */
        dppo->stride -= dppo->cfg.tuned * dppo->dim;
        dppo->cfg.tuned = last / (full.steps / n) + 1;
        dppo->stride += dppo->cfg.tuned * dppo->dim;
    }
    return RUN_OK;
}

/* What --mode says. */
static int eval_mode(eval *e)
{
    const char *mode = e->opt.mode, *algo = e->policy.algo.name;
    int is_qvpo = !strcmp(algo, "qvpo"), k, gauss = !strcmp(algo, "sac") || !strcmp(algo, "ppo");
    drl_qvpo *qvpo = (drl_qvpo *)e->policy.agent;
    char *end = NULL;
    e->mode = mode ? mode : "default";
    if (!mode) return RUN_OK;
    if (run_same(mode, "deterministic")) e->policy.agent->noiseless = 1;
    else if (run_same(mode, "sample")) e->explore = gauss;
    else if (!strncmp(mode, "best-of-", 8) && (k = (int)strtol(mode + 8, &end, 10)) > 0 && !*end) {
        if (!is_qvpo)
            return eval_refuse("mode", algo, "keeps no critic in its policy files to choose by");
        if (k > 4096) return eval_refuse("mode", algo, "chooses from 4096 actions at most");
        qvpo->cfg.evaluation = k;
        return RUN_OK;
    } else {
        fprintf(stderr, "eval: --mode: expected deterministic, sample or best-of-K (K a number)\n");
        return RUN_USAGE;
    }
    if (is_qvpo) qvpo->cfg.evaluation = 1;
    return RUN_OK;
}

static int eval_open(eval *e)
{
    int rc;
    if (drl_context_init(&e->ctx, NULL) != DRL_OK) return eval_fail(e, RUN_FAILED);
    rc = run_policy_open(&e->policy, "eval", &e->ctx, e->opt.policy, &e->opt.task);
    if (rc == RUN_OK) rc = eval_steps(e);
    if (rc == RUN_OK) rc = eval_mode(e);
    if (rc) return rc;
    eval_tell(e);
    e->returns = (double *)malloc((size_t)e->opt.episodes * (size_t)e->opt.seeds * sizeof(double));
    if (!e->returns) return fprintf(stderr, "eval: out of memory\n"), RUN_FAILED;
    if (!e->opt.csv) return RUN_OK;
    e->csv = fopen(e->opt.csv, "w");
    if (e->csv)
        return fprintf(e->csv, "algo,task,env_steps,mode,steps,seed,episodes,mean,std,min,max,iqm,"
                       "mean_low,mean_high,iqm_low,iqm_high,length,p50_ms,p99_ms\n"), RUN_OK;
    fprintf(stderr, "eval: cannot write %s: %s\n", e->opt.csv, strerror(errno));
    return RUN_FILE;
}

/* ------------------------------------------------------------------------------------ playing */

static int eval_episode(void *user, int episode, const drl_evaluation *one)
{
    eval *e = (eval *)user;
    uint64_t seed = e->opt.seed + (uint64_t)e->played;
    e->returns[e->played++] = one->mean;
    (void)episode;
    if (!e->opt.quiet) {
        printf("episode %4d  seed %" PRIu64 "  return %10.2f  length %4.0f\n", e->played, seed,
               one->mean, one->length);
        fflush(stdout);
    }
    return 0;
}

/* Percentile of the times of actions from `first` on, in ms; they come back sorted. */
static double eval_latency(const eval *e, size_t first, size_t percent)
{
    size_t n = e->actions - first;
    qsort(e->seconds + first, n, sizeof *e->seconds, stats_order);
    return n ? 1e3 * e->seconds[first + n * percent / 100] : NAN;
}

/* A row of the table: numbers with a point in every locale. */
static void eval_row(eval *e, const char *seed, const stats *s, double length, size_t first)
{
    const char *env_steps = drl_meta_get(&e->policy.file.meta, "env_steps");
    const double values[] = {s->mean, s->std, s->min, s->max, s->iqm, s->low, s->high, s->iqm_low,
                             s->iqm_high, length, eval_latency(e, first, 50),
                             eval_latency(e, first, 99)};
    char text[DRL_FIELD_TEXT], shown[32], task[2 * sizeof e->policy.task.name];
    int i;
    if (!e->csv) return;
    fprintf(e->csv, "%s,%s,%s,%s,%d,%s,%d", e->policy.algo.name,
            run_csv_text(e->policy.task.name, task),
            run_clean(env_steps ? env_steps : "", shown, sizeof shown), e->mode, e->steps, seed,
            s->n);
    for (i = 0; i < RUN_COUNT(values); i++)
        fprintf(e->csv, ",%s", run_number(&e->ctx, values[i], text));
    fprintf(e->csv, "\n");
}

/* Play the seeds one after the other. Returns the mean length, or -1 with *status set. */
static double eval_seeds(eval *e, drl_status *status)
{
    double length = 0;
    char seed[32];
    int i;
    for (i = 0; i < e->opt.seeds; i++) {
        uint64_t first_seed = e->opt.seed + (uint64_t)e->played;
        size_t first = e->actions;
        int played = e->played;
        drl_evaluation all;
        stats s;
        *status = run_evaluate(&e->ctx, e->policy.agent, &e->policy.env, e->opt.episodes,
                               first_seed, eval_episode, e, &all);
        if (*status != DRL_OK) return -1;
        s = stats_of(e->returns + played, e->opt.episodes);
        snprintf(seed, sizeof seed, "%" PRIu64, first_seed);
        if (e->opt.seeds > 1)
            printf("seed %-7s %.2f +- %.2f  min %.2f  max %.2f  IQM %.2f\n", seed, s.mean, s.std,
                   s.min, s.max, s.iqm);
        eval_row(e, seed, &s, all.length, first);
        length += (all.length - length) / (i + 1);
    }
    return length;
}

static int eval_run(eval *e)
{
    drl_status status = DRL_OK;
    double length;
    stats s;
    e->policy.agent->algo.act_fn = eval_act;
    length = eval_seeds(e, &status);
    if (status != DRL_OK) return eval_fail(e, run_exit_code(status));
    s = stats_of(e->returns, e->played);
    if (e->opt.seeds > 1) eval_row(e, "all", &s, length, 0);
    run_task_warn(run_task_faults(&e->policy.env, &e->policy.task));
    printf("return   %.2f +- %.2f  min %.2f  max %.2f  length %.1f  episodes %d\n", s.mean, s.std,
           s.min, s.max, length, s.n);
    printf("IQM      %.2f  95 %% intervals: mean [%.2f, %.2f]  IQM [%.2f, %.2f]\n", s.iqm, s.low,
           s.high, s.iqm_low, s.iqm_high);
    if (e->actions)
        printf("latency  p50 %.4f ms  p99 %.4f ms per action\n", eval_latency(e, 0, 50),
               eval_latency(e, 0, 99));
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
    free(e->returns);
    drl_context_free(&e->ctx);
    return rc;
}
