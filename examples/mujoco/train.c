/* Trains a policy on a MuJoCo task or on a built-in one, and shows how it learns.   (3 stars of 4)

     cc -O2 examples/mujoco/train.c -I. -Iexamples -o build/train -lmujoco -lm -lpthread

   (in the top folder; or tools/train.sh, which installs what is missing. Without MuJoCo leave
   -lmujoco out and add -DTRAIN_NO_MUJOCO: the built-in tasks remain.)

     build/train                                     DIME on HalfCheetah-v5, 30,000 steps
     build/train --task Pendulum                     needs no MuJoCo, learns within a minute
     build/train --task Hopper-v5 --steps 1M --seed 2 --set lr_actor=1e-4
     build/train --algo dppo --task Hopper-v5 --data hopper.npz --steps 2M      clones data first
     build/train --task Hopper-v5 --resume auto      goes on where a run was interrupted
     build/train --task Hopper-v5 --seeds 5 --jobs 2     five runs, their mean and intervals

   Teaches   how a whole training program is put together: context, environments, agent, trainer,
             the loop (train_loop), evaluation on an environment of its own, files, a clean stop
   Expects   one progress line, a line per evaluation, at the end the learning curve and
             runs/TASK__ALGO__SEED__TIME/ with
               progress.csv                          a row per 1000 steps and per evaluation;
                                                     --log for more formats
               config.json                           everything that was set
               policy.safetensors                    the last policy, at each evaluation
               best.safetensors                      the one with the best evaluation
               ckpt-STEP.safetensors                 all that --resume needs
               curve.svg                             the learning curve
   Repeats   the same flags give the same bits in all but the times, with any number of threads,
             and whether a run was interrupted or not
   Stops     Ctrl-C finishes the step, saves, and exits with 130; a second one quits at once;
             kill -USR1 saves now
   Exit      0 ok, 1 run failed, 2 usage, 3 bad file, 4 stopped by nan, 130 interrupted and saved */
#define _POSIX_C_SOURCE 200809L
#define DIFFRL_IMPLEMENTATION
#include "run.h"
#include "config.h"
#include "curve.h"
#include "dry.h"
#include "log.h"
#include "npz.h"
#include "profile.h"
#include "recorder.h"
#include "seeds.h"
#include "checkpoint.h"
#include <signal.h>

#define TRAIN_ROW 1000 /* steps between rows of progress.csv */

/* ---------------------------------------------------------------------------------------- flags */

typedef struct train_options {
    const char *algo, *preset, *out, *data, *record, *resume;
    run_task task;
    int64_t steps, eval_every; /* eval_every -1: steps / 20, at least 1000 */
    int64_t save_every;        /* -1: steps / 10, at least 10000; 0: only at the end */
    uint64_t seed, given;      /* given: bit FLAG_... */
    int threads, envs, eval_episodes, keep, no_replay, quiet, list, log, profile; /* log: formats */
    int dump_config, dry_run, seeds, jobs;
    const char *sets[128];
    int set_count;
} train_options;

static const drl_field train_numbers[] = {
    DRL_FIELD(train_options, steps, INT64, 30000, 1, 1e12, "environment steps"),
    DRL_FIELD(train_options, eval_every, INT64, -1, 0, 1e12, "environment steps"),
    DRL_FIELD(train_options, seed, UINT64, 1, 0, 0, "of everything random"),
    DRL_FIELD(train_options, envs, INT, 0, 0, 1024, "environments"),
    DRL_FIELD(train_options, eval_episodes, INT, 10, 0, 100000, "episodes"),
    DRL_FIELD(train_options, save_every, INT64, -1, 0, 1e12, "environment steps"),
    DRL_FIELD(train_options, keep, INT, 1, 1, 100000, "checkpoints"),
    DRL_FIELD(train_options, seeds, INT, 1, 1, SEEDS_MAX, "seeds"),
    DRL_FIELD(train_options, jobs, INT, 0, 0, SEEDS_MAX, "processes"),
    DRL_FIELD(train_options, log, INT, 1, 0, 15, "formats"),
    DRL_FIELD(train_options, threads, INT, 1, 1, 256, "workers"), /* the last: not for a file */
};

/* What the trainer can be told by --set, beside the algorithm's own fields. */
static const drl_field train_fields[] = {
    DRL_FIELD(drl_trainer_config, replay_capacity, INT64, 1e6, 1, 1e12, "transitions kept"),
    DRL_FIELD(drl_trainer_config, n_step, INT, 1, 1, 1000, "rewards summed before bootstrapping"),
};

enum {
    FLAG_ALGO, FLAG_TASK, FLAG_STEPS, FLAG_SEED, FLAG_SEEDS, FLAG_JOBS, FLAG_PRESET, FLAG_SET,
    FLAG_THREADS, FLAG_ENVS, FLAG_OUT, FLAG_LOG, FLAG_DATA, FLAG_RECORD, FLAG_TASK_SET, FLAG_PHYSICS, FLAG_REWARD, FLAG_DMC,
    FLAG_EVAL_EVERY, FLAG_EVAL_EPISODES, FLAG_RESUME, FLAG_SAVE_EVERY, FLAG_KEEP, FLAG_NO_REPLAY,
    FLAG_CONFIG, FLAG_DUMP_CONFIG, FLAG_DRY_RUN, FLAG_PROFILE, FLAG_QUIET, FLAG_LIST, FLAG_HELP,
    FLAG_VERSION
};

static const run_flag train_flags[] = {
    {"algo", "NAME", "algorithm (dime); --list shows all"},
    {"task", "NAME", "task (HalfCheetah-v5); --list shows all"},
    {"steps", "N", "environment steps, also 200k, 1M (30k)"},
    {"seed", "N", "of weights, noise and tasks (1)"},
    {"seeds", "N", "a run each of N seeds from --seed on, and what they say together (1)"},
    {"jobs", "N", "so many of them side by side (one per core)"},
    {"preset", "NAME", "settings to start from (cpu; toy for built-in tasks)"},
    {"set", "KEY=VALUE", "change a setting; may be repeated; --list shows all"},
    {"threads", "N", "workers (one per core); does not change results"},
    {"envs", "N", "environments stepped in turn (the setting envs of dppo; else 1)"},
    {"out", "DIR", "folder of the run's folder (runs)"},
    {"log", "FORMATS", "csv (always), jsonl, tensorboard, table; with commas between"},
    {"data", "FILE.npz", "dppo, bc-diffusion: data to clone first"},
    {"record", "FILE.npz", "write all transitions of training at its end"},
    RUN_TASK_FLAGS,
    {"eval-every", "N",
     "steps between evaluations, 0: only at the end (steps / 20, at least 1000)"},
    {"eval-episodes", "N", "episodes of an evaluation, 0: none (10)"},
    {"resume", "auto|FILE|DIR", "go on from a checkpoint, with its settings; --steps may grow"},
    {"save-every", "N", "steps between checkpoints, 0: only at the end (steps / 10, at least 10k)"},
    {"keep", "N", "newest checkpoints that stay, beside that of the best evaluation (1)"},
    {"no-replay", NULL, "checkpoints without replay: small, but not exact"},
    {"config", "FILE", "flags from a file: FLAG = VALUE in lines, sections [set], [task-set]"},
    {"dump-config", NULL, "print such a file with all that would be set, and stop"},
    {"dry-run", NULL, "tell weights, memory and time, and stop; writes nothing"},
    {"profile", NULL, "tell at the end where the time went"},
    {"quiet", NULL, "only the result and errors"},
    {"list", NULL, "algorithms, tasks, settings, constants of --task"},
    {"help", NULL, "this text"},
    {"version", NULL, "of the library"},
};

static void train_help(void)
{
    printf("usage: train [FLAG...]\n\nTrains a diffusion policy and shows how it learns.\n\n");
    run_flags_help(train_flags, RUN_COUNT(train_flags));
    printf("\nexamples:\n"
           "  build/train                        DIME on HalfCheetah-v5 for 30,000 steps\n"
           "  build/train --task Pendulum        a small task, built in\n"
           "  build/train --task Hopper-v5 --steps 1M --seed 2 --set lr_actor=1e-4\n"
           "  build/train --task Hopper-v5 --steps 2M --seed 2 --resume auto\n"
           "  build/train --task Hopper-v5 --steps 100k --seeds 5 --jobs 2\n"
           "  build/train --task Hopper-v5 --steps 1M --dry-run\n"
           "\nexit status: 0 ok, 1 run failed, 2 usage, 3 bad file, 4 stopped by nan, 130 "
           "interrupted\n");
}

/* Settings of an algorithm in all of its presets. */
static void train_list_settings(const drl_algo *algo)
{
    char text[DRL_FIELD_TEXT], name[32];
    drl_context ctx;
    void *config = calloc(1, algo->config_size);
    int i, j, n = algo->field_count;
    memset(&ctx, 0, sizeof ctx);
    if (!config) return;
    drl_algo_default(*algo, config, 1, 1);
    printf("\nsettings of %s (--set KEY=VALUE), by --preset\n  %-20s", algo->name, "");
    for (j = 0; run_preset(algo, j, name, sizeof name); j++) printf("%-8s", name);
    printf("\n");
    for (i = 0; i < n; i++) {
        const drl_field *field = &algo->fields[i];
        if (run_same(field->name, "obs_dim") || run_same(field->name, "act_dim") ||
            run_same(field->name, "seed"))
            continue;
        printf("  %-20s", field->name);
        for (j = 0; run_preset(algo, j, name, sizeof name); j++) {
            drl_algo_preset(&ctx, *algo, config, name);
            drl_fields_get(&ctx, algo->fields, n, config, field->name, text);
            printf("%-8s", text);
        }
        printf(" %s\n", field->doc);
    }
    free(config);
}

static int train_list(run_task *task)
{
    drl_algo algo;
    int i;
    printf("algorithms (--algo)\n");
    for (i = 0; algo = drl_algo_at(i), algo.name; i++)
        printf("  %-20s%s\n", algo.name, algo.about);
    printf("  %-20s%s\n", "bc-diffusion", "the first half of dppo: clones --data and stops");
    printf("\ntasks (--task)\n");
    for (i = 0; run_task_name(i); i++)
        printf("  %-27s%s\n", run_task_name(i), run_task_family(i));
    printf("  %-27s%s\n", "mjcf:FILE.xml", "a model of your own (--reward forward)");
    for (i = 0; algo = drl_algo_at(i), algo.name; i++) train_list_settings(&algo);
    printf("\nsettings of training (--set KEY=VALUE)\n");
    for (i = 0; i < RUN_COUNT(train_fields); i++)
        printf("  %-20s%s\n", train_fields[i].name, train_fields[i].doc);
    if (run_task_find(task, "train")) return RUN_USAGE;
    printf("\nconstants of %s (--task-set KEY=VALUE; --list --task NAME shows another's)\n",
           task->name);
    run_task_list(task);
    return RUN_OK;
}

static train_options train_defaults(void)
{
    train_options o;
    memset(&o, 0, sizeof o);
    drl_fields_default(train_numbers, RUN_COUNT(train_numbers), &o);
    o.algo = "dime";
    snprintf(o.task.name, sizeof o.task.name, "HalfCheetah-v5");
    o.out = "runs";
    o.log = LOG_CSV;
#ifdef _SC_NPROCESSORS_ONLN
    o.threads = (int)sysconf(_SC_NPROCESSORS_ONLN);
    o.threads = o.threads < 1 ? 1 : o.threads > 8 ? 8 : o.threads;
#endif
    return o;
}

/* Read the command line. Returns -1 to go on, or the exit code. */
static int train_parse(train_options *o, int argc, char **argv)
{
    run_args args = {"train", NULL, 0, 1, 0};
    const char *value;
    int flag, rc = RUN_OK;
    args.argc = argc;
    args.argv = argv;
    *o = train_defaults();
    while (rc == RUN_OK) {
        flag = run_args_next(&args, train_flags, RUN_COUNT(train_flags), &value);
        if (flag == RUN_ARGS_END) return o->list ? train_list(&o->task) : -1;
        if (flag == RUN_ARGS_BAD) return RUN_USAGE;
        if (flag == RUN_ARGS_WORD) {
            fprintf(stderr, "train: what is '%s'? Flags begin with --, see --help\n", value);
            return RUN_USAGE;
        }
        if (flag == FLAG_HELP) return train_help(), RUN_OK;
        if (flag == FLAG_VERSION) return printf("diffrl %s\n", DIFFRL_VERSION_STRING), RUN_OK;
        o->given |= (uint64_t)1 << flag;
        rc = run_task_flag(&o->task, "train", train_flags[flag].name, value);
        if (rc >= 0) continue;
        rc = RUN_OK;
        if (flag == FLAG_ALGO) o->algo = value;
        else if (flag == FLAG_PRESET) o->preset = value;
        else if (flag == FLAG_OUT) o->out = value;
        else if (flag == FLAG_LOG)
            rc = (o->log = run_log_formats("train", value)) < 0 ? RUN_USAGE : RUN_OK;
        else if (flag == FLAG_DATA) o->data = value;
        else if (flag == FLAG_RECORD) o->record = value;
        else if (flag == FLAG_RESUME) o->resume = value;
        else if (flag == FLAG_NO_REPLAY) o->no_replay = 1;
        else if (flag == FLAG_PROFILE) o->profile = 1;
        else if (flag == FLAG_DUMP_CONFIG) o->dump_config = o->quiet = 1;
        else if (flag == FLAG_DRY_RUN) o->dry_run = 1;
        else if (flag == FLAG_CONFIG) continue; /* is read already */
        else if (flag == FLAG_QUIET) o->quiet = 1;
        else if (flag == FLAG_LIST) o->list = 1;
        else if (flag == FLAG_SET && o->set_count < RUN_COUNT(o->sets))
            o->sets[o->set_count++] = value;
        else if (flag == FLAG_SET) rc = (fprintf(stderr, "train: too many --set\n"), RUN_USAGE);
        else
            rc = run_option("train", train_numbers, RUN_COUNT(train_numbers), o,
                            train_flags[flag].name, value);
    }
    return rc;
}

/* ------------------------------------------------------------------------------------- the run */

/* The data of --data: observations, actions in [-1, 1], where episodes end. */
typedef struct train_data {
    int64_t rows;
    float *obs, *act;
    uint8_t *ends;
} train_data;

typedef struct train {
    train_options opt;
    drl_algo algo;
    void *config; /* of the algorithm */
    train_data data;
    drl_agent *agent;
    drl_trainer_config trainer_config;
    drl_context ctx;
    drl_env *envs, eval_env;
    recorder *records; /* [env_count] of --record */
    drl_env *wrapped;  /* [env_count] envs that write down what happens */
    int env_count, clone_only;
    drl_trainer trainer;
    char dir[1024];
    run_log log;
    run_term term;
    curve_series evals, returns; /* evaluations, and mean returns of training */
    drl_evaluation eval;       /* the last one */
    int64_t next_row, next_eval, next_save;
    int64_t row_step, eval_step, best_step, save_step; /* where the last ones were, -1: none yet */
    double best;
    int64_t faults;      /* transitions dropped, as far as told */
    drl_file from;       /* --resume: the checkpoint, until it is loaded */
    char from_dir[1024]; /* its folder */
    char kept[2][1024];  /* algo, data of the checkpoint */
    char preset[32];
    int resumed, in_place; /* 1: goes on; in the folder of the checkpoint */
    double seconds;      /* that the run took, until the last checkpoint */
    double start;        /* time, less what the run took before --resume */
    double eval_seconds; /* of all evaluations */
    int eval_count;
    double steps_rate, updates_rate; /* speed since `since`, evaluations left out */
    double since, began; /* began: this process */
    int64_t since_steps, since_updates;
} train;

/* Set by the signal handler; the second signal does not wait. */
static volatile sig_atomic_t train_stop;
static volatile sig_atomic_t train_save_now; /* by SIGUSR1 */

static void train_on_signal(int number)
{
    static const char text[] = "\nstopping after this step (once more to quit at once)\n";
    int old = errno;
    if (number == SIGHUP && train_stop) return; /* a parent's death may be told twice */
    if (train_stop) _exit(RUN_STOPPED);
    train_stop = 1;
    if (write(2, text, sizeof text - 1) > 0) errno = old;
}

static void train_on_usr1(int number)
{
    (void)number;
    train_save_now = 1;
}

static void train_signals(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    action.sa_handler = train_on_usr1;
    sigaction(SIGUSR1, &action, NULL);
    action.sa_handler = train_on_signal;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL); /* the reader of our output went away: go on */
}

/* What a checkpoint says of the run beside its options and the training itself. */
static const drl_field train_saved[] = {
    DRL_FIELD(train, next_row, INT64, 0, 0, 0, ""),
    DRL_FIELD(train, next_eval, INT64, 0, 0, 0, ""),
    DRL_FIELD(train, row_step, INT64, 0, 0, 0, ""),
    DRL_FIELD(train, eval_step, INT64, 0, 0, 0, ""),
    DRL_FIELD(train, best_step, INT64, 0, 0, 0, ""),
    DRL_FIELD(train, best, DOUBLE, 0, 0, 0, ""),
    DRL_FIELD(train, eval.mean, DOUBLE, 0, 0, 0, ""),
    DRL_FIELD(train, eval.std, DOUBLE, 0, 0, 0, ""),
    DRL_FIELD(train, eval.episodes, INT, 0, 0, 0, ""),
    DRL_FIELD(train, eval_count, INT, 0, 0, 0, ""),
    DRL_FIELD(train, eval_seconds, DOUBLE, 0, 0, 0, ""),
    DRL_FIELD(train, seconds, DOUBLE, 0, 0, 0, ""),
};

static const drl_field train_metric[] = {
    DRL_FIELD(drl_metric, value, DOUBLE, 0, 0, 0, ""),
};

/* Tell the context's last error and return the exit code for it. */
static int train_fail(train *t, drl_status status)
{
    int rc = run_exit_code(status);
    char said[300] = "";
    run_term_clear(&t->term);
    if (status == DRL_ERR_ENV && !*run_task_said(&t->eval_env, 1, &t->opt.task, said, sizeof said))
        run_task_said(t->envs, t->env_count, &t->opt.task, said, sizeof said);
    fprintf(stderr, "train: %s%s\n", drl_context_error(&t->ctx), said);
    if (rc == RUN_NAN && t->eval_step >= 0)
        fprintf(stderr, "train: stopped; the policy of step %" PRId64 " is in %s\n", t->eval_step,
                t->dir);
    return rc;
}

static int train_fail_file(train *t, const char *name)
{
    run_term_clear(&t->term);
    fprintf(stderr, "train: cannot write %s in %s: %s\n", name, t->dir, strerror(errno));
    return RUN_FILE;
}

/* As many environments as --envs says; else as the setting envs of the preset does; else 1. */
static void train_env_count(train *t)
{
    int built_in = !strcmp(run_task_family(t->opt.task.index), "built in");
    char text[DRL_FIELD_TEXT];
    void *config = calloc(1, t->algo.config_size);
    drl_context none;
    memset(&none, 0, sizeof none);
    if (!t->opt.preset) t->opt.preset = built_in ? "toy" : "cpu";
    if (!t->opt.envs && config) {
        drl_algo_default(t->algo, config, 1, 1);
        drl_algo_preset(&none, t->algo, config, t->opt.preset);
        if (drl_fields_get(&none, t->algo.fields, t->algo.field_count, config, "envs", text) ==
            DRL_OK)
            t->opt.envs = atoi(text);
    }
    if (!t->opt.envs) t->opt.envs = 1;
    free(config);
}

/* Find algorithm and task, make the environments. */
static int train_open_envs(train *t)
{
    const char *names[32];
    char error[512];
    int i;
    for (i = 0; i < 31 && drl_algo_at(i).name; i++) names[i] = drl_algo_at(i).name;
    names[i++] = "bc-diffusion";
    t->clone_only = run_same(t->opt.algo, names[i - 1]);
    t->algo = drl_algo_find(t->clone_only ? "dppo" : t->opt.algo);
    if (!t->algo.name) return run_unknown("train", "algorithm", t->opt.algo, names, i);
    if (run_task_find(&t->opt.task, "train")) return RUN_USAGE;
    if (t->clone_only ? !t->opt.data : t->opt.data && strcmp(t->algo.name, "dppo")) {
        fprintf(stderr, "train: --data FILE.npz goes with --algo dppo and --algo bc-diffusion\n");
        return RUN_USAGE;
    }
    train_env_count(t);
    t->envs = (drl_env *)calloc((size_t)t->opt.envs, sizeof *t->envs);
    for (i = 0; t->envs && i <= t->opt.envs; i++) { /* the last one is for evaluation */
        drl_env *env = i < t->opt.envs ? &t->envs[i] : &t->eval_env;
        if (run_task_open(env, &t->opt.task, i ? t->envs : NULL, error, sizeof error)) {
            fprintf(stderr, "train: %s\n", error);
            return RUN_FAILED;
        }
        if (i < t->opt.envs) t->env_count++;
    }
    return t->envs ? RUN_OK : RUN_FAILED;
}

/* Apply one --set KEY=VALUE to the algorithm's or the trainer's settings. */
static int train_set(train *t, const char *text)
{
    const char *equals = strchr(text, '=');
    char key[64];
    int i, n = t->algo.field_count;
    const drl_field *fields = t->algo.fields;
    void *config = t->config;
    if (!equals || equals == text) {
        fprintf(stderr, "train: --set %s: expected KEY=VALUE\n", text);
        return RUN_USAGE;
    }
    snprintf(key, sizeof key, "%.*s", (int)(equals - text), text);
    if (run_same(key, "seed") || run_same(key, "obs_dim") || run_same(key, "act_dim")) {
        fprintf(stderr, "train: --set %s: %s\n", key,
                run_same(key, "seed") ? "use --seed" : "the task has it");
        return RUN_USAGE;
    }
    for (i = 0; i < RUN_COUNT(train_fields); i++) {
        if (!run_same(key, train_fields[i].name)) continue;
        fields = train_fields;
        n = RUN_COUNT(train_fields);
        config = &t->trainer_config;
        break;
    }
    if (drl_fields_set(&t->ctx, fields, n, config, key, equals + 1) == DRL_OK) return RUN_OK;
    fprintf(stderr, "train: --set: %s (--list shows all)\n", drl_context_error(&t->ctx));
    return RUN_USAGE;
}

/* -------------------------------------------------------------------------------- going on */

/* Transitions that a run of so many steps keeps, unless --set replay_capacity says otherwise. */
static int64_t train_capacity(const train *t, int64_t steps)
{
    int64_t most = drl_trainer_config_default().replay_capacity, n = t->opt.envs;
    steps = (steps + n - 1) / n * n;
    return steps < most ? steps : most;
}

static int train_bad_checkpoint(const train *t, const char *why)
{
    char shown[300];
    fprintf(stderr, "train: --resume %s: %s\n", run_clean(t->opt.resume, shown, sizeof shown), why);
    return RUN_FILE;
}

/* Name of the run's folder without the time. */
static void train_prefix(const train *t, const char *algo, char *text) /* [160] */
{
    char task[64];
    snprintf(text, 160, "%s__%s__%" PRIu64 "__", run_task_file(&t->opt.task, task), algo,
             t->opt.seed);
}

/* Find the checkpoint of --resume and open it. */
static int train_find(train *t)
{
    const char *name = t->opt.resume, *slash = strrchr(name, '/');
    char path[1200], text[160], shown[300];
    int64_t step;
    struct stat info;
    if (!strcmp(name, "auto")) {
        if (run_task_find(&t->opt.task, "train")) return RUN_USAGE;
        train_prefix(t, run_same(t->opt.algo, "bc-diffusion") ? "dppo" : t->opt.algo, text);
        if (ckpt_find_run(t->opt.out, text, t->from_dir, sizeof t->from_dir)) {
            if (!t->opt.quiet)
                fprintf(stderr, "resume no checkpoint in %s/%s*: a fresh start\n", t->opt.out,
                        text);
            return RUN_OK;
        }
    } else if (stat(name, &info) == 0 && S_ISDIR(info.st_mode)) {
        snprintf(t->from_dir, sizeof t->from_dir, "%s", name);
    } else {
        snprintf(t->from_dir, sizeof t->from_dir, "%.*s", slash ? (int)(slash - name) : 1,
                 slash ? name : ".");
        snprintf(path, sizeof path, "%s", name);
        step = ckpt_step(slash ? slash + 1 : name);
        goto open;
    }
    step = ckpt_newest(t->from_dir, INT64_MAX);
    if (step < 0)
        return train_bad_checkpoint(t, "no checkpoint (ckpt-*.safetensors) in this folder");
    snprintf(path, sizeof path, "%s/%s", t->from_dir, ckpt_name(step, text));
open:
    if (drl_file_open(&t->from, &t->ctx, path) != DRL_OK) {
        fprintf(stderr, "train: %s\n", run_clean(drl_context_error(&t->ctx), shown, sizeof shown));
        return RUN_FILE;
    }
    if (!drl_meta_get(&t->from.meta, "run.algo"))
        return train_bad_checkpoint(t, "this is no checkpoint (a policy?)");
    t->resumed = 1;
    t->in_place = step >= 0 && step == ckpt_newest(t->from_dir, INT64_MAX) &&
                  (!(t->opt.given >> FLAG_OUT & 1) || !strcmp(name, "auto"));
    return RUN_OK;
}

/* Does a flag say other than the checkpoint? */
static int train_contradicts(const train *t, int flag, const char *is, const char *was)
{
    char a[100], b[100];
    if (!(t->opt.given >> flag & 1) || run_same(is, was)) return 0;
    fprintf(stderr, "train: --%s: expected %s, as in the checkpoint, got %s; leave the flag out, "
            "or start a new run without --resume\n", train_flags[flag].name,
            run_clean(was, a, sizeof a), run_clean(is, b, sizeof b));
    return 1;
}

/* Take options from the checkpoint; flags that may differ stay. */
static int train_take_options(train *t)
{
    const drl_meta *meta = &t->from.meta;
    train_options *o = &t->opt;
    const char *data = drl_meta_get(meta, "run.data"), *preset = drl_meta_get(meta, "run.preset");
    run_task was;
    char key[32], is[DRL_FIELD_TEXT];
    int i, flag;
    memset(&was, 0, sizeof was);
    run_task_from_meta(&was, meta);
    if (o->given >> FLAG_TASK & 1 && run_task_find(&o->task, "train")) return RUN_USAGE;
    snprintf(t->kept[0], sizeof t->kept[0], "%s", drl_meta_get(meta, "run.algo"));
    snprintf(t->kept[1], sizeof t->kept[1], "%s", data ? data : "");
    snprintf(t->preset, sizeof t->preset, "%s", preset ? preset : "");
    if (train_contradicts(t, FLAG_TASK, o->task.name, was.name) ||
        train_contradicts(t, FLAG_TASK_SET, o->task.sets, was.sets) ||
        train_contradicts(t, FLAG_PHYSICS, o->task.physics,
                          was.physics[0] ? was.physics : "published") ||
        train_contradicts(t, FLAG_REWARD, o->task.reward, was.reward) ||
        train_contradicts(t, FLAG_ALGO, o->algo, t->kept[0]) ||
        train_contradicts(t, FLAG_PRESET, o->preset, t->preset))
        return RUN_USAGE;
    was.dmc = o->task.dmc;
    o->task = was;
    o->algo = t->kept[0];
    o->preset = t->preset;
    if (!o->data && t->kept[1][0]) o->data = t->kept[1];
    for (i = 0; i < RUN_COUNT(train_numbers) - 1; i++) {
        const drl_field *field = &train_numbers[i];
        const char *v;
        snprintf(key, sizeof key, "run.%.24s", field->name);
        v = drl_meta_get(meta, key);
        if (!v) continue;
        for (flag = 0; !run_same(train_flags[flag].name, field->name);) flag++;
        drl_fields_get(&t->ctx, train_numbers, RUN_COUNT(train_numbers), o, field->name, is);
        if ((flag == FLAG_SEED || flag == FLAG_ENVS) && train_contradicts(t, flag, is, v))
            return RUN_USAGE;
        if (!(o->given >> flag & 1) && drl_fields_set(&t->ctx, train_numbers,
                RUN_COUNT(train_numbers), o, field->name, v) != DRL_OK)
            return train_bad_checkpoint(t, drl_context_error(&t->ctx));
    }
    return RUN_OK;
}

/* --resume: find the checkpoint, take its options. */
static int train_resume(train *t)
{
    int rc = t->opt.resume ? train_find(t) : RUN_OK;
    if (rc || !t->resumed) return rc;
    if (t->opt.record)
        return fprintf(stderr, "train: --record and --resume: what came before is not recorded\n"),
               RUN_USAGE;
    return train_take_options(t);
}

/* Settings of the checkpoint; --set may only repeat them. */
static int train_take_settings(train *t)
{
    const drl_meta *meta = &t->from.meta;
    void *was = malloc(t->algo.config_size);
    drl_trainer_config trainer;
    int64_t before = 0, whole, grown;
    const char *v = drl_meta_get(meta, "run.steps");
    int i, rc = RUN_OK;
    if (run_fields_from_meta(&t->ctx, meta, "config.", t->algo.fields, t->algo.field_count,
                             t->config) ||
        run_fields_from_meta(&t->ctx, meta, "trainer.", train_fields, RUN_COUNT(train_fields),
                             &t->trainer_config))
        rc = train_bad_checkpoint(t, drl_context_error(&t->ctx));
    if (was) memcpy(was, t->config, t->algo.config_size);
    trainer = t->trainer_config;
    for (i = 0; i < t->opt.set_count && rc == RUN_OK; i++) {
        rc = train_set(t, t->opt.sets[i]);
        if (rc || !was || (!memcmp(was, t->config, t->algo.config_size) &&
                           !memcmp(&trainer, &t->trainer_config, sizeof trainer)))
            continue;
        fprintf(stderr, "train: --set %s: the checkpoint has another value\n", t->opt.sets[i]);
        rc = RUN_USAGE;
    }
    free(was);
    if (v) before = strtoll(v, NULL, 10);
    whole = train_capacity(t, before);
    v = drl_meta_get(meta, "env_steps");
    grown = train_capacity(t, t->opt.steps);
    if (t->trainer_config.replay_capacity == whole && whole < grown && v &&
        strtoll(v, NULL, 10) <= whole) /* nothing was overwritten yet */
        t->trainer_config.replay_capacity = grown;
    return rc;
}

/* State of the run and of training. */
static int train_take_state(train *t)
{
    const drl_meta *meta = &t->from.meta;
    drl_status s = drl_trainer_load(&t->trainer, &t->from);
    char key[64], shown[400], a[32], b[32];
    int i;
    if (s == DRL_OK)
        s = run_fields_from_meta(&t->ctx, meta, "run.", train_saved, RUN_COUNT(train_saved), t);
    for (i = 0; i < t->agent->metric_count && s == DRL_OK; i++) {
        snprintf(key, sizeof key, "metric.%.30s.", t->agent->metrics[i].name);
        s = run_fields_from_meta(&t->ctx, meta, key, train_metric, 1, &t->agent->metrics[i]);
    }
    if (s != DRL_OK)
        return train_bad_checkpoint(t, run_clean(drl_context_error(&t->ctx), shown, sizeof shown));
    if (!t->opt.quiet)
        fprintf(stderr, "resume %s at step %s of %s%s\n", t->from_dir,
                run_thousands(t->trainer.steps, a), run_thousands(t->opt.steps, b),
                t->algo.observe_fn || drl_file_find(&t->from, "replay.obs") ? "" :
                "; the checkpoint has no replay, so it starts empty");
    if (t->opt.given >> FLAG_EVAL_EVERY & 1)
        t->next_eval = (t->trainer.steps / t->opt.eval_every + 1) * t->opt.eval_every;
    t->faults = t->trainer.faults;
    t->save_step = t->in_place ? t->trainer.steps : -1;
    if (!t->in_place) t->best_step = -1; /* its file is elsewhere */
    drl_file_close(&t->from);
    return RUN_OK;
}

/* Is there such a preset? If not, tell the nearest. */
static int train_preset_known(const train *t)
{
    char names[8][32];
    const char *list[8];
    int n;
    for (n = 0; n < 8 && run_preset(&t->algo, n, names[n], sizeof names[n]); n++) {
        if (run_same(t->opt.preset, names[n])) return RUN_OK;
        list[n] = names[n];
    }
    return run_unknown("train", "preset", t->opt.preset, list, n);
}

/* Preset, then what the task wants, then --set, then --seed. */
static int train_configure(train *t)
{
    int i, rc = RUN_OK;
    char seed[DRL_FIELD_TEXT];
    t->config = calloc(1, t->algo.config_size);
    t->agent = (drl_agent *)calloc(1, t->algo.size);
    if (!t->config || !t->agent) return fprintf(stderr, "train: out of memory\n"), RUN_FAILED;
    rc = train_preset_known(t);
    if (rc) return rc;
    drl_algo_default(t->algo, t->config, t->envs[0].obs_dim, t->envs[0].act_dim);
    if (drl_algo_preset(&t->ctx, t->algo, t->config, t->opt.preset) != DRL_OK) {
        fprintf(stderr, "train: --preset: %s\n", drl_context_error(&t->ctx));
        return RUN_USAGE;
    }
    run_task_configure(t->opt.task.index, t->algo.fields, t->algo.field_count, t->config);
    t->trainer_config = drl_trainer_config_default();
    t->trainer_config.seed = t->opt.seed;
    t->trainer_config.replay_capacity = train_capacity(t, t->opt.steps);
    if (t->resumed) rc = train_take_settings(t);
    else for (i = 0; i < t->opt.set_count && rc == RUN_OK; i++) rc = train_set(t, t->opt.sets[i]);
    snprintf(seed, sizeof seed, "%" PRIu64, t->opt.seed);
    drl_fields_set(&t->ctx, t->algo.fields, t->algo.field_count, t->config, "seed", seed);
    if (t->opt.eval_every < 0)
        t->opt.eval_every = t->opt.steps / 20 < 1000 ? 1000 : t->opt.steps / 20;
    if (t->opt.eval_every == 0) t->opt.eval_every = t->opt.steps;
    t->next_eval = t->opt.eval_every;
    if (t->opt.save_every < 0)
        t->opt.save_every = t->opt.steps / 10 < 10000 ? 10000 : t->opt.steps / 10;
    return rc;
}

/* All settings as a file for --config. */
static void train_dump_config(train *t)
{
    static const char *const names[] = {"csv", "jsonl", "tensorboard", "table"};
    const char *texts[][2] = {{"task", t->opt.task.name}, {"physics", t->opt.task.physics},
                              {"reward", t->opt.task.reward}, {"dmc", t->opt.task.dmc},
                              {"algo", t->clone_only ? "bc-diffusion" : t->algo.name},
                              {"preset", t->opt.preset}, {"out", t->opt.out},
                              {"data", t->opt.data}, {"record", t->opt.record}};
    char text[DRL_FIELD_TEXT], sets[sizeof t->opt.task.sets], *at;
    int i;
    printf("# train --config; diffrl %s\n", DIFFRL_VERSION_STRING);
    for (i = 0; i < RUN_COUNT(texts); i++)
        if (texts[i][1] && texts[i][1][0]) printf("%s = %s\n", texts[i][0], texts[i][1]);
    for (i = 0; i < RUN_COUNT(train_numbers); i++) {
        drl_fields_get(&t->ctx, train_numbers, RUN_COUNT(train_numbers), &t->opt,
                       train_numbers[i].name, text);
        if (strcmp(train_numbers[i].name, "log")) printf("%s = %s\n", train_numbers[i].name, text);
    }
    printf("log = csv");
    for (i = 1; i < 4; i++)
        if (t->opt.log >> i & 1) printf(",%s", names[i]);
    printf("%s\n\n[set]\n", t->opt.no_replay ? "\nno-replay" : "");
    config_print(&t->ctx, train_fields, RUN_COUNT(train_fields), &t->trainer_config);
    config_print(&t->ctx, t->algo.fields, t->algo.field_count, t->config);
    memcpy(sets, t->opt.task.sets, sizeof sets);
    if (*sets) printf("\n[task-set]\n");
    for (at = strtok(sets, " "); at; at = strtok(NULL, " "))
        printf("%.*s = %s\n", (int)strcspn(at, "="), at, at + strcspn(at, "=") + 1);
}

/* One run per seed by processes of this program; the flags are known to be right. */
static int train_seeds(const train *t, int argc, char **argv)
{
    static seeds s;
    char task[64];
    int cores = train_defaults().threads;
    if (t->opt.resume || t->opt.record) {
        fprintf(stderr, "train: --seeds does not go with --%s\n",
                t->opt.resume ? "resume" : "record");
        return RUN_USAGE;
    }
    snprintf(s.name, sizeof s.name, "%s__%s", run_task_file(&t->opt.task, task), t->algo.name);
    snprintf(s.title, sizeof s.title, "%s on %s, %d seeds (%s preset)", t->algo.name, task,
             t->opt.seeds, t->opt.preset);
    s.first = t->opt.seed;
    s.count = t->opt.seeds;
    s.jobs = t->opt.jobs ? t->opt.jobs : cores < s.count ? cores : s.count;
    if (!(t->opt.given >> FLAG_THREADS & 1)) cores = cores > s.jobs ? cores / s.jobs : 1;
    else cores = t->opt.threads;
    snprintf(s.threads, sizeof s.threads, "%d", cores);
    s.quiet = t->opt.quiet;
    s.total = (double)t->opt.steps;
    s.y = t->opt.eval_episodes ? "eval/mean_reward" : "rollout/ep_rew_mean";
    s.argc = argc;
    s.argv = argv;
    if (!s.quiet)
        fprintf(stderr,
                "diffrl %s  %s on %s, %d seeds from %" PRIu64 ", %d at a time, each with %s "
                "thread%s\n",
                DIFFRL_VERSION_STRING, t->algo.name, t->opt.task.name, s.count, s.first, s.jobs,
                s.threads, cores > 1 ? "s" : "");
    return seeds_train(&s, t->opt.out);
}

/* Refuse a replay that does not fit before it is allocated. */
static int train_check_memory(train *t, size_t *replay_bytes)
{
    drl_replay_config rc = drl_replay_config_default(t->agent->obs_dim, t->agent->act_dim);
    double room = run_memory_free(), need;
    char a[32], b[32], c[32], d[32];
    rc.capacity = t->trainer_config.replay_capacity;
    *replay_bytes = drl_replay_bytes(&rc);
    need = (double)*replay_bytes;
    if (need < 0.9 * room) return RUN_OK;
    fprintf(stderr,
            "train: a replay of %s transitions needs %s, but %s are free; try --set "
            "replay_capacity=%s or fewer --steps\n",
            run_thousands(rc.capacity, a), run_bytes(need, b), run_bytes(room, c),
            run_number(&t->ctx, floor(0.5 * room / need * (double)rc.capacity), d));
    return RUN_FAILED;
}

/* Count the weights; with optimizer 1 those of critics and the like too. */
static int64_t train_weights(train *t, int optimizer)
{
    drl_state state;
    int64_t total = 0;
    int i;
    drl_state_init(&state, &t->ctx);
    drl_agent_state(t->agent, &state, optimizer);
    for (i = 0; i < state.count; i++)
        if (state.entries[i].dtype == DRL_F32 && !strstr(state.entries[i].name, "adam_"))
            total += (int64_t)(drl_entry_bytes(&state.entries[i]) / sizeof(float));
    drl_state_free(&state);
    return total;
}

static const char *train_isa(const train *t)
{
    static const char *const names[] = {"auto", "scalar", "neon", "avx2", "avx512"};
    return names[t->ctx.isa];
}

/* What is about to happen, in one line. */
static void train_header(train *t, size_t replay_bytes)
{
    char a[32], b[32], c[32], d[32];
    if (t->opt.quiet) return;
    fprintf(
        stderr,
        "diffrl %s  %s on %s (obs %d, act %d)  seed %" PRIu64 "  %s weights (policy %s)  replay %s "
        "(%s)  %d thread%s %s\n",
        DIFFRL_VERSION_STRING, t->algo.name, t->opt.task.name, t->agent->obs_dim, t->agent->act_dim,
        t->opt.seed, run_thousands(train_weights(t, 1), a), run_thousands(train_weights(t, 0), b),
        run_thousands(t->trainer_config.replay_capacity, c), run_bytes((double)replay_bytes, d),
        t->opt.threads, t->opt.threads > 1 ? "s" : "", train_isa(t));
    if (t->agent->random_steps >= t->opt.steps)
        fprintf(stderr,
                "note   no learning in this run: the first %s steps (random_steps) only collect\n",
                run_thousands(t->agent->random_steps, a));
}

/* Agent and trainer. */
static int train_build(train *t)
{
    size_t bytes;
    drl_status s = drl_agent_init(t->agent, &t->ctx, t->algo, t->config);
    drl_env *envs;
    int rc, i;
    if (s == DRL_ERR_RANGE) return train_fail(t, s), RUN_USAGE;
    if (s != DRL_OK) return train_fail(t, s);
    rc = train_check_memory(t, &bytes);
    if (rc) return rc;
    train_header(t, bytes);
    envs = t->envs;
    if (t->opt.profile) profile_begin(t->agent, envs, t->env_count, t->opt.threads);
    if (t->opt.record) {
        t->records = (recorder *)calloc((size_t)t->env_count, sizeof *t->records);
        t->wrapped = (drl_env *)calloc((size_t)t->env_count, sizeof *t->wrapped);
        if (!t->records || !t->wrapped)
            return fprintf(stderr, "train: out of memory\n"), RUN_FAILED;
        for (i = 0; i < t->env_count; i++)
            t->wrapped[i] = recorder_wrap(&t->records[i], &t->envs[i]);
        envs = t->wrapped;
    }
    s = drl_trainer_init(&t->trainer, &t->ctx, &t->trainer_config, envs, t->opt.envs, t->agent);
    if (s != DRL_OK) return train_fail(t, s);
    return t->resumed ? train_take_state(t) : RUN_OK;
}

/* --------------------------------------------------------------------------------------- files */

static int train_write_config(train *t)
{
    run_file file;
    FILE *f;
    if (run_file_open(&file, t->dir, "config.json")) return train_fail_file(t, "config.json");
    f = file.f;
    fprintf(f, "{\n  \"task\": ");
    run_json_text(f, t->opt.task.name);
    fprintf(f, ",\n  \"task_set\": ");
    run_json_text(f, t->opt.task.sets);
    fprintf(f, ",\n  \"physics\": \"%s\",\n",
            t->opt.task.physics[0] ? t->opt.task.physics : "published");
    fprintf(f, "  \"algo\": \"%s\",\n  \"preset\": \"%s\",\n", t->algo.name, t->opt.preset);
    fprintf(f,
            "  \"steps\": %" PRId64 ",\n  \"seed\": %" PRIu64
            ",\n  \"threads\": %d,\n  \"envs\": %d,\n",
            t->opt.steps, t->opt.seed, t->opt.threads, t->opt.envs);
    fprintf(f, "  \"eval_every\": %" PRId64 ",\n  \"eval_episodes\": %d,\n  \"eval_seed\": %d,\n",
            t->opt.eval_every, t->opt.eval_episodes, RUN_EVAL_SEED);
    fprintf(f, "  \"version\": \"%s\",\n  \"isa\": \"%s\",\n", DIFFRL_VERSION_STRING, train_isa(t));
#ifndef TRAIN_NO_MUJOCO
    fprintf(f, "  \"mujoco\": \"%s\",\n", mj_versionString());
#endif
    fprintf(f, "  \"trainer\": {");
    run_json_fields(f, &t->ctx, train_fields, RUN_COUNT(train_fields), &t->trainer_config);
    fprintf(f, "\n  },\n  \"config\": {");
    run_json_fields(f, &t->ctx, t->algo.fields, t->algo.field_count, t->config);
    fprintf(f, "\n  }\n}\n");
    return run_file_close(&file) ? train_fail_file(t, "config.json") : RUN_OK;
}

/* Columns of progress.csv before the algorithm's own. */
static const char *const train_columns[] = {
    "time/total_timesteps", "time/updates", "time/time_elapsed", "time/fps", "rollout/ep_rew_mean",
    "rollout/ep_len_mean", "eval/mean_reward", "eval/std_reward"};
#define TRAIN_COLUMNS RUN_COUNT(train_columns)

/* A new folder for the run. */
static int train_make_dir(train *t)
{
    char prefix[160];
    int64_t when = (int64_t)time(NULL);
    int n;
    if (run_mkdirs(t->opt.out)) {
        fprintf(stderr, "train: cannot make folder %s: %s\n", t->opt.out, strerror(errno));
        return RUN_FILE;
    }
    train_prefix(t, t->algo.name, prefix);
    do { /* the next second if another run was as fast */
        n = snprintf(t->dir, sizeof t->dir, "%s/%s%" PRId64, t->opt.out, prefix, when++);
        errno = ENAMETOOLONG;
    } while (n < (int)sizeof t->dir && (n = mkdir(t->dir, 0777)) && errno == EEXIST);
    if (!n) return RUN_OK;
    fprintf(stderr, "train: cannot make folder %.200s: %s\n", t->dir, strerror(errno));
    return RUN_FILE;
}

/* The points of a row that stays. */
static void train_old_row(void *user, const char *line)
{
    train *t = (train *)user;
    double v[8] = {0}, step = strtod(line, NULL);
    int i, there[8] = {0};
    for (i = 0; i < 8 && *line; i++, line += *line == ',') {
        char *end;
        v[i] = strtod(line, &end);
        there[i] = end != line;
        line += strcspn(line, ",\n");
    }
    if (!there[0]) return; /* the head */
    if (there[4]) curve_add(&t->returns, step, v[4], 0);
    if (there[6] && there[7]) curve_add(&t->evals, step, v[6], v[7]);
}

/* The logs; a run that goes on keeps their rows up to the checkpoint. */
static int train_open_log(train *t)
{
    const char *names[TRAIN_COLUMNS + DRL_METRICS_MAX];
    char text[DRL_METRICS_MAX][64], path[1200], from[1200];
    int i;
    if (run_path(path, sizeof path, t->dir, "progress.csv") ||
        run_path(from, sizeof from, t->from_dir, "progress.csv"))
        return train_fail_file(t, "progress.csv");
    if (t->resumed && !t->in_place) ckpt_copy(from, path);
    memcpy(names, train_columns, sizeof train_columns);
    for (i = 0; i < t->agent->metric_count; i++) {
        snprintf(text[i], sizeof text[i], "train/%s", t->agent->metrics[i].name);
        names[TRAIN_COLUMNS + i] = text[i];
    }
    if (run_log_open(&t->log, t->dir, t->opt.log, names, TRAIN_COLUMNS + i,
                     t->resumed ? (double)(t->row_step > 0 ? t->row_step : 0) : -1))
        return train_fail_file(t, t->log.file);
    if (t->resumed) ckpt_lines(path, train_old_row, t);
    return RUN_OK;
}

static void train_next_save(train *t)
{
    int64_t n = t->opt.save_every;
    t->next_save = n ? (t->trainer.steps / n + 1) * n : INT64_MAX;
}

/* The run's folder, and in it config.json and the logs. */
static int train_open_files(train *t)
{
    int rc = RUN_OK;
    if (t->in_place) {
        memcpy(t->dir, t->from_dir, sizeof t->dir);
        ckpt_clean(t->dir);
    } else {
        rc = train_make_dir(t);
    }
    train_next_save(t);
    if (rc == RUN_OK) rc = train_write_config(t);
    return rc == RUN_OK ? train_open_log(t) : rc;
}

/* A row: what there is not yet stays empty. */
static int train_row(train *t)
{
    double row[TRAIN_COLUMNS + DRL_METRICS_MAX], elapsed = run_now() - t->start;
    int i, evaluated = t->eval_step == t->trainer.steps, played = t->trainer.episodes > 0;
    row[0] = (double)t->trainer.steps;
    row[1] = (double)t->agent->updates;
    row[2] = floor(1000 * elapsed + 0.5) / 1000;
    row[3] = floor((double)t->trainer.steps / (elapsed + 1e-9));
    row[4] = played ? drl_trainer_return(&t->trainer) : NAN;
    row[5] = played ? drl_trainer_length(&t->trainer) : NAN;
    row[6] = evaluated ? t->eval.mean : NAN;
    row[7] = evaluated ? t->eval.std : NAN;
    for (i = 0; i < t->agent->metric_count; i++)
        row[TRAIN_COLUMNS + i] = t->agent->updates ? t->agent->metrics[i].value : NAN;
    if (played) curve_add(&t->returns, row[0], row[4], 0);
    t->row_step = t->trainer.steps;
    t->next_row = (t->trainer.steps / TRAIN_ROW + 1) * TRAIN_ROW;
    if (t->log.table) run_term_clear(&t->term);
    return run_log_row(&t->log, row) ? train_fail_file(t, t->log.file) : RUN_OK;
}

/* Write the policy with all that eval wants to know. */
static int train_save(train *t, const char *name)
{
    char path[1200], text[DRL_FIELD_TEXT];
    drl_meta meta;
    drl_status s;
    if (run_path(path, sizeof path, t->dir, name)) return train_fail_file(t, name);
    drl_meta_init(&meta, &t->ctx);
    run_task_to_meta(&t->opt.task, &meta);
    drl_meta_set(&meta, "library", "diffrl " DIFFRL_VERSION_STRING);
    snprintf(text, sizeof text, "%" PRId64, t->trainer.steps);
    drl_meta_set(&meta, "env_steps", text);
    snprintf(text, sizeof text, "%" PRId64, t->agent->updates);
    drl_meta_set(&meta, "updates", text);
    if (t->eval_step == t->trainer.steps) {
        snprintf(text, sizeof text, "%d", t->eval.episodes);
        drl_meta_set(&meta, "eval_episodes", text);
        drl_meta_set(&meta, "eval_mean", run_number(&t->ctx, t->eval.mean, text));
        drl_meta_set(&meta, "eval_std", run_number(&t->ctx, t->eval.std, text));
    }
    s = drl_agent_save(t->agent, path, &meta);
    drl_meta_free(&meta);
    if (s == DRL_OK) return RUN_OK;
    train_fail(t, s);
    return RUN_FILE;
}

/* Metadata of a checkpoint: all that is not in tensors. */
static void train_checkpoint_meta(train *t, drl_meta *meta)
{
    char text[DRL_FIELD_TEXT], key[64];
    int i;
    t->seconds = run_now() - t->start;
    drl_meta_set(meta, "algo", t->algo.name);
    run_fields_to_meta(&t->ctx, meta, "config.", t->algo.fields, t->algo.field_count, t->config);
    run_task_to_meta(&t->opt.task, meta);
    drl_meta_set(meta, "library", "diffrl " DIFFRL_VERSION_STRING);
    snprintf(text, sizeof text, "%" PRId64, t->trainer.steps);
    drl_meta_set(meta, "env_steps", text);
    drl_meta_set(meta, "run.algo", t->opt.algo);
    drl_meta_set(meta, "run.preset", t->opt.preset);
    if (t->opt.data) drl_meta_set(meta, "run.data", t->opt.data);
    run_fields_to_meta(&t->ctx, meta, "run.", train_numbers, RUN_COUNT(train_numbers) - 1, &t->opt);
    run_fields_to_meta(&t->ctx, meta, "run.", train_saved, RUN_COUNT(train_saved), t);
    run_fields_to_meta(&t->ctx, meta, "trainer.", train_fields, RUN_COUNT(train_fields),
                       &t->trainer_config);
    for (i = 0; i < t->agent->metric_count; i++) {
        snprintf(key, sizeof key, "metric.%.30s.", t->agent->metrics[i].name);
        run_fields_to_meta(&t->ctx, meta, key, train_metric, 1, &t->agent->metrics[i]);
    }
}

/* Write all that the rest of the run depends on. */
static int train_checkpoint(train *t)
{
    char path[1200], name[40], size[32];
    double start = run_now();
    struct stat info;
    drl_state state;
    drl_meta meta;
    drl_status s;
    train_save_now = 0;
    train_next_save(t);
    if (t->save_step == t->trainer.steps) return RUN_OK;
    if (run_path(path, sizeof path, t->dir, ckpt_name(t->trainer.steps, name)))
        return train_fail_file(t, name);
    drl_meta_init(&meta, &t->ctx);
    drl_state_init(&state, &t->ctx);
    train_checkpoint_meta(t, &meta);
    drl_trainer_state(&t->trainer, &state, !t->opt.no_replay);
    s = drl_state_save(&t->ctx, path, &state, &meta);
    drl_state_free(&state);
    drl_meta_free(&meta);
    if (s != DRL_OK) return train_fail(t, s), RUN_FILE;
    t->save_step = t->trainer.steps;
    ckpt_prune(t->dir, t->opt.keep, t->best_step);
    if (t->opt.quiet) return RUN_OK;
    run_term_clear(&t->term);
    fprintf(stderr, "saved  %s (%s, %.0f ms)\n", path,
            run_bytes(stat(path, &info) ? 0 : (double)info.st_size, size),
            1000 * (run_now() - start));
    return RUN_OK;
}

/* The learning curve so far, to curve.svg. */
static int train_draw(train *t)
{
    char title[160], task[64];
    curve curves[2];
    curve_panel panel;
    curve_figure figure;
    memset(curves, 0, sizeof curves);
    memset(&panel, 0, sizeof panel);
    memset(&figure, 0, sizeof figure);
    snprintf(title, sizeof title, "%s on %s, seed %" PRIu64 " (%s preset)", t->algo.name,
             run_task_file(&t->opt.task, task), t->opt.seed, t->opt.preset);
    snprintf(curves[0].label, sizeof curves[0].label, "evaluation, mean and standard deviation");
    snprintf(curves[1].label, sizeof curves[1].label, "training, mean of the last 100 episodes");
    curves[0].series = t->evals, curves[0].band = 1;
    curves[1].series = t->returns, curves[1].color = -1;
    panel.curves = curves, panel.count = 2;
    panel.last = (double)(train_stop ? t->trainer.steps : t->opt.steps);
    figure.title = title, figure.panels = &panel, figure.count = 1;
    figure.x_label = "environment steps", figure.y_label = "return per episode";
    return curve_svg_write(t->dir, "curve.svg", &figure) ? train_fail_file(t, "curve.svg") : RUN_OK;
}

/* ------------------------------------------------------------------------------------ progress */

/* Speed since the last look, at least a second ago. */
static void train_speed(train *t, double now)
{
    int64_t updates = t->agent->updates;
    double dt = now - t->eval_seconds - t->since;
    if (dt < 1) return;
    if (t->since_updates || !updates) { /* else time before the first update is in it */
        t->steps_rate = (double)(t->trainer.steps - t->since_steps) / dt;
        t->updates_rate = (double)(updates - t->since_updates) / dt;
    }
    t->since = now - t->eval_seconds;
    t->since_steps = t->trainer.steps;
    t->since_updates = updates;
}

/* "98 updates/s", "1:06<1:35" */
static void train_times(train *t, double now, char *rate, char *eta) /* [48], [72] */
{
    char a[32], b[32] = "?";
    double left = (double)(t->opt.steps - t->trainer.steps), speed = t->updates_rate;
    double evals = ceil(left / (double)t->opt.eval_every);
    if (speed > 0) {
        left /= t->steps_rate;
        if (t->eval_count) left += evals * t->eval_seconds / t->eval_count;
        run_duration(left, b);
    }
    if (speed <= 0) speed = t->steps_rate;
    snprintf(rate, 48, "%s %s/s", speed > 0 ? run_short(speed, a) : "-",
             t->updates_rate > 0 ? "updates" : "steps");
    snprintf(eta, 72, "%s<%s", run_duration(now - t->start, a), b);
}

/* One redrawn line on a terminal, else a plain line about every five seconds. */
static void train_progress(train *t, const char *doing)
{
    char text[256], steps[32], total[32], rate[48], eta[72], last[32] = "-", mean[32] = "-";
    run_term *term = &t->term;
    run_line line;
    double now = run_now(), part = (double)t->trainer.steps / (double)t->opt.steps;
    double pause = term->tty ? 0.1 : t->trainer.steps < TRAIN_ROW ? 2 : 5;
    if (term->quiet || now - term->last < pause) return;
    term->last = now;
    train_speed(t, now);
    train_times(t, now, rate, eta);
    run_thousands(t->trainer.steps, steps);
    run_thousands(t->opt.steps, total);
    if (t->trainer.episodes) {
        run_short(t->trainer.last_return, last);
        run_short(drl_trainer_return(&t->trainer), mean);
    }
    if (!term->tty) {
        fprintf(stderr, "%9s/%s %3d%%  return %s mean %s  %s  %s%s%s\n", steps, total,
                (int)(100 * part), last, mean, rate, eta, *doing ? "  " : "", doing);
        return;
    }
    memset(&line, 0, sizeof line);
    line.width = run_columns(2) - 1;
    snprintf(text, sizeof text, "%3d%% ", (int)(100 * part));
    run_line_add(&line, text, 0);
    run_bar(term, part, text);
    run_line_add(&line, text, 10);
    snprintf(text, sizeof text, " %s/%s  return %s mean %s", steps, total, last, mean);
    run_line_add(&line, text, 0);
    snprintf(text, sizeof text, "  %s", *doing ? doing : rate);
    run_line_add(&line, text, 0);
    snprintf(text, sizeof text, "  %s  ", eta);
    run_line_add(&line, text, 0);
    curve_sparkline(term, &t->returns, 12, text);
    run_line_add(&line, text, t->returns.count < 12 ? t->returns.count : 12);
    fprintf(stderr, "\r%s\033[K", line.text);
    term->open = 1;
}

/* Tell of dropped transitions: the first three, then every hundredth. */
static void train_faults(train *t)
{
    char a[32], said[300];
    if (t->trainer.faults == t->faults) return;
    t->faults = t->trainer.faults;
    if (t->faults > 3 && t->faults % 100) return;
    run_term_clear(&t->term);
    fprintf(stderr, "warn   step %s: %s%s; transition dropped (%" PRId64 " so far)\n",
            run_thousands(t->trainer.steps, a), drl_context_error(&t->ctx),
            run_task_said(t->envs, t->env_count, &t->opt.task, said, sizeof said), t->faults);
}

/* ------------------------------------------------------------------------------------ the loop */

static int train_eval_episode(void *user, int episode, const drl_evaluation *one)
{
    train *t = (train *)user;
    char doing[64];
    (void)one;
    snprintf(doing, sizeof doing, "evaluation %d/%d", episode + 1, t->opt.eval_episodes);
    train_progress(t, doing);
    return train_stop;
}

/* Evaluate, keep the policy, and keep it as the best if it is. */
static int train_evaluate(train *t)
{
    char step[32], mean[32], std[32], low[32], high[32];
    double start = run_now();
    int rc = RUN_OK, better;
    drl_evaluation eval;
    drl_status s = run_evaluate(&t->ctx, t->agent, &t->eval_env, t->opt.eval_episodes,
                                RUN_EVAL_SEED, train_eval_episode, t, &eval);
    t->eval_seconds += run_now() - start;
    if (s != DRL_OK) return train_fail(t, s);
    if (train_stop && eval.episodes < t->opt.eval_episodes) return RUN_OK; /* --resume makes up */
    t->next_eval = (t->trainer.steps / t->opt.eval_every + 1) * t->opt.eval_every;
    if (!t->opt.eval_episodes) return train_save(t, "policy.safetensors");
    t->eval = eval;
    t->eval_count++;
    t->eval_step = t->trainer.steps;
    better = t->best_step < 0 || eval.mean > t->best;
    if (better) t->best = eval.mean, t->best_step = t->eval_step;
    curve_add(&t->evals, (double)t->eval_step, eval.mean, eval.std);
    rc = train_save(t, "policy.safetensors");
    if (rc == RUN_OK && better) rc = train_save(t, "best.safetensors");
    if (t->opt.quiet || rc) return rc;
    run_term_clear(&t->term);
    fprintf(stderr, "eval %*s  return %s%s%s +- %s  [%s, %s]%s\n", t->term.tty ? 10 : 9,
            run_thousands(t->eval_step, step), t->term.color ? "\033[1m" : "",
            run_short(eval.mean, mean), t->term.color ? "\033[0m" : "", run_short(eval.std, std),
            run_short(eval.min, low), run_short(eval.max, high), better ? "  best so far" : "");
    return RUN_OK;
}

/* Read it, if any is asked for. */
static int train_data_open(train *t)
{
    train_data *data = &t->data;
    static const char *const keys[4] = {"observations", "actions", "terminals", "timeouts"};
    const int64_t cols[4] = {t->agent->obs_dim, t->agent->act_dim, 1, 1};
    const drl_env *env = &t->eval_env;
    float *x[4] = {NULL, NULL, NULL, NULL};
    char error[512] = "";
    int64_t i, n = 0, c = 0;
    int k, A = t->agent->act_dim;
    if (!t->opt.data || ((drl_dppo *)t->agent)->epoch >= ((drl_dppo *)t->agent)->cfg.bc_epochs)
        return RUN_OK;
    for (k = 0; k < 4 && !*error; k++) {
        x[k] = npz_read(t->opt.data, keys[k], &n, &c, error, sizeof error);
        if (k == 0) data->rows = n;
        if (x[k] && (c != cols[k] || n != data->rows))
            snprintf(error, sizeof error, "%s: expected %s [%" PRId64 ", %" PRId64 "], got [%" PRId64
                     ", %" PRId64 "]", t->opt.data, keys[k], data->rows, cols[k], n, c);
    }
    data->obs = x[0];
    data->act = x[1];
    data->ends = (uint8_t *)malloc((size_t)data->rows + 1);
    for (i = 0; !*error && data->ends && i < data->rows; i++) {
        data->ends[i] = x[2][i] != 0 || x[3][i] != 0;
        for (k = 0; k < A; k++)
            data->act[i * A + k] = 2 * (data->act[i * A + k] - env->act_low[k]) /
                                       (env->act_high[k] - env->act_low[k]) - 1;
    }
    free(x[2]);
    free(x[3]);
    if (!*error && data->ends) return RUN_OK;
    fprintf(stderr, "train: %s\n", *error ? error : "out of memory");
    return RUN_FILE;
}

/* Clone the data of --data, which train_loop evaluates: the start of fine-tuning. */
static int train_clone(train *t)
{
    drl_dppo *d = (drl_dppo *)t->agent;
    char rows[32], eta[32];
    drl_status s = DRL_OK;
    while (s == DRL_OK && d->epoch < d->cfg.bc_epochs && !train_stop) {
        s = drl_dppo_pretrain(d, t->data.rows, t->data.obs, t->data.act, t->data.ends);
        if (t->opt.quiet || (d->epoch % 10 && d->epoch > 1)) continue;
        run_duration((run_now() - t->start) * (double)(d->cfg.bc_epochs - d->epoch) /
                     (double)d->epoch, eta);
        fprintf(stderr, "clone epoch %" PRId64 "/%d  loss %.4f  %s rows  %s left\n", d->epoch,
                d->cfg.bc_epochs, t->agent->metrics[5].value, run_thousands(t->data.rows, rows), eta);
    }
    if (s != DRL_OK) return train_fail(t, s);
    if (!train_stop) t->next_eval = t->trainer.steps;
    return RUN_OK;
}

/* Before anything is kept: is all that the agent holds finite? */
static int train_finite(train *t)
{
    drl_state state;
    int64_t k, n;
    int i, rc = RUN_OK;
    drl_state_init(&state, &t->ctx);
    drl_agent_state(t->agent, &state, 1);
    for (i = 0; i < state.count && rc == RUN_OK; i++) {
        const drl_entry *entry = &state.entries[i];
        const float *x = (const float *)entry->data;
        n = entry->dtype == DRL_F32 ? (int64_t)(drl_entry_bytes(entry) / sizeof *x) : 0;
        for (k = 0; k < n && fabsf(x[k]) < INFINITY;) k++;
        if (k == n) continue;
        run_term_clear(&t->term);
        fprintf(stderr,
                "train: tensor %s is not finite after %" PRId64 " updates; lower the learning rate\n",
                entry->name, t->agent->updates);
        rc = RUN_NAN;
    }
    drl_state_free(&state);
    if (rc && t->save_step >= 0)
        fprintf(stderr, "train: stopped; the checkpoint of step %" PRId64 " is in %s\n",
                t->save_step, t->dir);
    return rc;
}

/* Step until done or told to stop; evaluate and write as it goes. Returns the exit code. */
static int train_loop(train *t)
{
    const drl_trainer *r = &t->trainer;
    int rc = RUN_OK, done, evaluate, save;
    drl_status s;
    for (;;) {
        done = t->clone_only || r->steps >= t->opt.steps;
        evaluate = !train_stop && (r->steps >= t->next_eval || (done && t->eval_step != r->steps));
        save = done || train_stop || train_save_now || r->steps >= t->next_save;
        if (evaluate || save) rc = train_finite(t);
        if (rc == RUN_OK && evaluate) rc = train_evaluate(t);
        evaluate = evaluate && !(train_stop && t->eval_step != r->steps); /* not broken off */
        if (rc == RUN_OK && (evaluate || (!train_stop && r->steps >= t->next_row)))
            rc = train_row(t);
        if (rc == RUN_OK && evaluate) rc = train_draw(t);
        else if (rc == RUN_OK && done) /* a checkpoint of its last step, perhaps alone here */
            rc = train_save(t, "policy.safetensors");
        if (rc == RUN_OK && (save || train_stop)) rc = train_checkpoint(t);
        if (rc != RUN_OK || done || train_stop) break;
        s = drl_trainer_step(&t->trainer);
        train_faults(t);
        if (s != DRL_OK) return train_fail(t, s);
        train_progress(t, "");
    }
    if (rc == RUN_OK && train_stop && t->eval_step != r->steps) { /* a row that is not in the way */
        if (t->row_step != r->steps) rc = train_row(t);
        if (rc == RUN_OK) rc = train_save(t, "policy.safetensors");
        if (rc == RUN_OK) rc = train_draw(t);
    }
    return rc == RUN_OK && train_stop ? RUN_STOPPED : rc;
}

/* The learning curve, and how it ended. */
static void train_show(train *t, int stopped)
{
    run_term term = run_term_make(1, t->opt.quiet);
    curve_panel panel;
    curve shown;
    int i, evals = t->evals.count > 1;
    uint64_t faults = 0;
    char a[32], b[32];
    run_term_clear(&t->term);
    if (!t->opt.quiet && t->trainer.steps) {
        memset(&panel, 0, sizeof panel);
        memset(&shown, 0, sizeof shown);
        shown.series = evals ? t->evals : t->returns;
        panel.curves = &shown, panel.count = 1, panel.last = (double)t->trainer.steps;
        printf("\n");
        curve_terminal(stdout, &term, &panel, "environment steps",
                       evals ? "evaluation return" : "training return");
    }
    for (i = 0; i < t->env_count; i++) faults += run_task_faults(&t->envs[i], &t->opt.task);
    if (t->eval_env.user) faults += run_task_faults(&t->eval_env, &t->opt.task);
    run_task_warn(faults);
    if (stopped)
        printf("stopped at step %s of %s\n", run_thousands(t->trainer.steps, a),
               run_thousands(t->opt.steps, b));
    if (t->eval_step == t->trainer.steps) {
        printf("return  %s +- %s over %d episodes", run_short(t->eval.mean, a),
               run_short(t->eval.std, b), t->eval.episodes);
        if (t->best_step >= 0)
            printf("  (best %s at step %s)", run_short(t->best, a), run_thousands(t->best_step, b));
        printf("\n");
    }
    if (t->opt.profile) profile_print(run_now() - t->eval_seconds - t->began);
}

/* Return text as a word for a shell, in quotes in out [n] if it must be. */
static const char *train_word(const char *text, char *out, size_t n)
{
    size_t at = 1;
    if (!text[strcspn(text, " \t\n\"'`$&|;<>()*?[]#~\\!")]) return text;
    out[0] = '\'';
    for (; *text && at + 6 < n; text++)
        if (*text == '\'') memcpy(out + at, "'\\''", 4), at += 4;
        else out[at++] = *text;
    memcpy(out + at, "'", 2);
    return out;
}

/* Where things are, and what to type next. */
static void train_tell(train *t, const char *program)
{
    const char *slash = strrchr(program, '/'), *without = "";
    const char *policy = t->best_step >= 0 ? "best.safetensors" : "policy.safetensors";
    char time_text[32], path[1200] = "", word[2400];
    printf("files   %s/\n", t->dir);
    if (t->opt.quiet) return;
    printf("        progress.csv config.json curve.svg policy.safetensors%s   (%s)\n",
           t->best_step >= 0 ? " best.safetensors" : "",
           run_duration(run_now() - t->start, time_text));
    if (t->trainer.steps < t->opt.steps && !t->clone_only)
        printf("        %s --resume %s     goes on\n", program,
               train_word(t->dir, word, sizeof word));
    if (slash) snprintf(path, sizeof path, "%.*s/eval", (int)(slash - program), program);
#ifdef TRAIN_NO_MUJOCO
    without = "--no-mujoco ";
#endif
    if (*path && access(path, X_OK) == 0) {
        printf("next    %s --policy %s/%s\n", path, train_word(t->dir, word, sizeof word), policy);
    } else {
        printf("next    tools/build.sh %sexamples/mujoco/eval.c\n", without);
        printf("        build/eval --policy %s/%s\n", train_word(t->dir, word, sizeof word),
               policy);
    }
    printf("        %s --task %s --steps %" PRId64 " --seed %" PRIu64 "\n", program,
           train_word(t->opt.task.name, word, sizeof word), 10 * t->opt.steps, t->opt.seed);
}

static void train_free(train *t)
{
    int i;
    drl_trainer_free(&t->trainer);
    if (t->agent) drl_agent_free(t->agent);
    for (i = 0; i < t->env_count; i++)
        if (t->envs[i].free_fn) t->envs[i].free_fn(t->envs[i].user);
    if (t->eval_env.free_fn) t->eval_env.free_fn(t->eval_env.user);
    for (i = 0; t->records && i < t->env_count; i++) recorder_free(&t->records[i]);
    free(t->records);
    free(t->wrapped);
    free(t->envs);
    free(t->config);
    free(t->agent);
    free(t->data.obs);
    free(t->data.act);
    free(t->data.ends);
    drl_file_close(&t->from);
    free(t->evals.points);
    free(t->returns.points);
    run_log_close(&t->log);
    drl_context_free(&t->ctx);
}

/* All transitions, environment by environment. */
static int train_write_record(train *t)
{
    char error[1300];
    int i;
    for (i = 1; i < t->env_count; i++) recorder_append(&t->records[0], &t->records[i]);
    if (!recorder_write(&t->records[0], t->opt.record, error, sizeof error)) return RUN_OK;
    fprintf(stderr, "train: %s\n", error);
    return RUN_FILE;
}

int main(int argc, char **argv)
{
    static train t;
    static config_args args;
    drl_context_config cc = drl_context_config_default();
    int rc = config_open(&args, "train", argc, argv);
    if (rc == RUN_OK) rc = train_parse(&t.opt, args.argc, args.argv);
    if (rc >= 0) return rc;
    t.term = run_term_make(2, t.opt.quiet);
    t.row_step = t.eval_step = t.best_step = t.save_step = -1;
    t.next_row = TRAIN_ROW;
    cc.threads = t.opt.threads;
    rc = drl_context_init(&t.ctx, &cc) == DRL_OK ? RUN_OK : train_fail(&t, t.ctx.status);
    if (rc == RUN_OK) rc = train_resume(&t);
    if (rc == RUN_OK) rc = train_open_envs(&t);
    if (rc == RUN_OK) rc = train_configure(&t);
    if (rc == RUN_OK && (t.opt.dump_config || (t.opt.seeds > 1 && !t.opt.dry_run))) {
        if (t.opt.dump_config) train_dump_config(&t);
        else rc = train_seeds(&t, argc, argv);
        train_free(&t);
        return rc;
    }
    if (rc == RUN_OK) rc = train_build(&t);
    if (rc == RUN_OK && t.opt.dry_run) {
        drl_status s = dry_run(&t.trainer, &t.eval_env, t.opt.steps, t.opt.eval_every,
                               t.opt.eval_episodes);
        rc = s == DRL_OK ? RUN_OK : train_fail(&t, s);
        train_free(&t);
        return rc;
    }
    if (rc == RUN_OK) rc = train_data_open(&t);
    if (rc == RUN_OK) rc = train_open_files(&t);
    if (rc == RUN_OK) {
        train_signals();
        t.start = run_now() - t.seconds;
        t.since = t.began = run_now() - t.eval_seconds;
        t.since_steps = t.trainer.steps;
        t.since_updates = t.agent->updates;
        if (!t.term.tty) t.term.last = run_now();
        if (t.data.rows) rc = train_clone(&t);
        if (rc == RUN_OK) rc = train_loop(&t);
        if (t.records && train_write_record(&t) && rc == RUN_OK) rc = RUN_FILE;
        if (rc == RUN_OK || rc == RUN_STOPPED) {
            train_show(&t, rc == RUN_STOPPED);
            train_tell(&t, argv[0]);
        }
    }
    train_free(&t);
    return rc;
}
