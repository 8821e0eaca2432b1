/* What train.c and eval.c share: algorithms, tasks, flags, evaluation, and how a run is shown and
   written down. Nothing here is needed to use diffrl.h.

   New algorithm   nothing to do: drl_algo_at lists it (examples/baselines/baselines.h)
   New task        MuJoCo: a row in mujoco_env.h; else a function and a row in run_builtins

   TRAIN_NO_MUJOCO  leaves MuJoCo out: only the built-in tasks remain */
#ifndef RUN_H
#define RUN_H

#include "../baselines/baselines.h"
#include "envs/pendulum.h"
#include "envs/pointmass.h"
#ifndef TRAIN_NO_MUJOCO
#define MUJOCO_ENV_IMPLEMENTATION
#include "mujoco/mujoco_env.h"
#endif
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Exit codes of both programs. */
enum { RUN_OK = 0, RUN_FAILED = 1, RUN_USAGE = 2, RUN_FILE = 3, RUN_NAN = 4, RUN_STOPPED = 130 };

#define RUN_EVAL_SEED 10000 /* evaluation episode i starts from this seed + i: curves compare    */
#define RUN_COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* Of what training and playing return. DRL_ERR_RANGE there is an action that is not finite. */
static inline int run_exit_code(drl_status status)
{
    if (status == DRL_OK) return RUN_OK;
    if (status == DRL_ERR_NAN || status == DRL_ERR_RANGE) return RUN_NAN;
    return status == DRL_ERR_FILE ? RUN_FILE : RUN_FAILED;
}

/* Seconds from some moment on. */
static inline double run_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---------------------------------------------------------------------------------- algorithms */

/* Write the name of preset i of an algorithm to name [n]; returns 0 if there is none. */
static inline int run_preset(const drl_algo *algo, int i, char *name, size_t n)
{
    const char *s = algo->presets;
    for (; i > 1 && *s; s++) i -= *s == '\n';
    snprintf(name, n, "%.*s", (int)strcspn(s, " \n"), s);
    if (i == 0) snprintf(name, n, "paper");
    return *name != 0;
}

/* --------------------------------------------------------------------------------------- words */

/* Are two names the same but for case, and - for _? */
static inline int run_same(const char *a, const char *b)
{
    for (;; a++, b++) {
        int x = *a >= 'A' && *a <= 'Z' ? *a + 32 : *a == '-' ? '_' : *a;
        int y = *b >= 'A' && *b <= 'Z' ? *b + 32 : *b == '-' ? '_' : *b;
        if (x != y) return 0;
        if (!x) return 1;
    }
}

/* Return out [n], text with all that could steer a terminal replaced: for what comes from files. */
static inline const char *run_clean(const char *text, char *out, size_t n)
{
    size_t i;
    for (i = 0; i + 1 < n && text[i]; i++)
        out[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    out[i] = 0;
    return out;
}

/* Tell that `word` is no `kind`, with the nearest name that is. */
static inline int run_unknown(const char *program, const char *kind, const char *word,
                              const char *const *names, int count)
{
    const char *nearest = drl_text_nearest(word, names, count);
    char shown[80];
    fprintf(stderr, "%s: unknown %s %s", program, kind, run_clean(word, shown, sizeof shown));
    if (nearest) fprintf(stderr, "; did you mean %s?", nearest);
    fprintf(stderr, nearest ? "\n" : "; --help and --list show what there is\n");
    return RUN_USAGE;
}

/* Write the number to text [DRL_FIELD_TEXT] with a point in every locale: the shortest that reads
   back as the same float; nothing if it is not finite. */
static inline const char *run_number(drl_context *ctx, double value, char *text)
{
    typedef struct number {
        float value;
    } number;
    static const drl_field field[] = {DRL_FIELD(number, value, FLOAT, 0, 0, 0, "a number")};
    number n;
    text[0] = 0;
    if (!(fabs(value) < 3e38)) return text;
    n.value = (float)value;
    if (fabs(value) < 1e9 && (float)floor(value) == n.value) {
        snprintf(text, DRL_FIELD_TEXT, "%" PRId64, (int64_t)floor(value));
        return text;
    }
    drl_fields_get(ctx, field, 1, &n, "value", text);
    return text;
}

/* "1,234,567" */
static inline const char *run_thousands(int64_t n, char *text)
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRId64, n), i, at = 0;
    for (i = 0; i < length; i++) {
        text[at++] = digits[i];
        if ((length - 1 - i) % 3 == 0 && i + 1 < length && digits[i] != '-') text[at++] = ',';
    }
    text[at] = 0;
    return text;
}

/* A return in few letters: "-1.25", "312.4", "12,345". */
static inline const char *run_short(double v, char *text)
{
    if (fabs(v) >= 1e15) snprintf(text, 32, "%.3g", v);
    else if (fabs(v) >= 999.5) run_thousands((int64_t)floor(v + 0.5), text);
    else snprintf(text, 32, fabs(v) >= 10 ? "%.1f" : "%.2f", v);
    return text;
}

/* "4.9 MB" */
static inline const char *run_bytes(double bytes, char *text)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    int i = 0;
    while (bytes >= 999.5 && i < 4) bytes /= 1000, i++;
    snprintf(text, 32, bytes >= 9.95 || i == 0 ? "%.0f %s" : "%.1f %s", bytes, units[i]);
    return text;
}

/* "1:06", "2:00:09" */
static inline const char *run_duration(double seconds, char *text)
{
    int64_t s = seconds < 1e9 ? (int64_t)(seconds + 0.5) : (int64_t)1e9;
    if (s >= 3600)
        snprintf(text, 32, "%d:%02d:%02d", (int)(s / 3600), (int)(s / 60 % 60), (int)(s % 60));
    else snprintf(text, 32, "%d:%02d", (int)(s / 60), (int)(s % 60));
    return text;
}

/* --------------------------------------------------------------------------------------- tasks */

/* A task that needs no MuJoCo. */
typedef struct run_builtin {
    const char *name;
    size_t size; /* of what env.user points to */
    void (*make_fn)(drl_env *env, void *user);
} run_builtin;

static void run_make_pendulum(drl_env *env, void *user)
{
    *env = pendulum_env((pendulum *)user);
}

static void run_make_pointmass(drl_env *env, void *user)
{
    *env = pointmass_env((pointmass *)user);
}

static const run_builtin run_builtins[] = {
    {"Pendulum", sizeof(pendulum), run_make_pendulum},
    {"PointMass", sizeof(pointmass), run_make_pointmass},
};

/* Return the name of task i, built-in ones first, NULL past the last. */
static inline const char *run_task_name(int i)
{
    if (i < RUN_COUNT(run_builtins)) return run_builtins[i].name;
#ifndef TRAIN_NO_MUJOCO
    if (mujoco_env_task(i - RUN_COUNT(run_builtins)))
        return mujoco_env_task(i - RUN_COUNT(run_builtins))->name;
#endif
    return NULL;
}

/* Return what task i belongs to. */
static inline const char *run_task_family(int i)
{
    if (i >= 0 && i < RUN_COUNT(run_builtins)) return "built in";
#ifndef TRAIN_NO_MUJOCO
    if (mujoco_env_is_dmc(mujoco_env_task(i - RUN_COUNT(run_builtins)))) return "DeepMind Control";
    if (i >= 0) return "Gymnasium";
#endif
    return "own model";
}

/* A task and what the command line says about it. */
typedef struct run_task {
    char name[256];  /* "Hopper-v5", "mjcf:FILE.xml" */
    char sets[1024]; /* "key=value key=value"        */
    char physics[16], reward[32];
    const char *dmc; /* folder */
    int index;       /* as for run_task_name; -1: a model of the user's own */
} run_task;

/* Take the value of one of the task's flags, whose names without -- are below. Returns RUN_OK,
   RUN_USAGE after telling what is wrong, or -1 if the flag is another. */
static inline int run_task_flag(run_task *t, const char *program, const char *flag,
                                const char *value)
{
    size_t used = strlen(t->sets);
    if (!strcmp(flag, "task")) {
        if ((size_t)snprintf(t->name, sizeof t->name, "%s", value) < sizeof t->name) return RUN_OK;
        fprintf(stderr, "%s: --task: the name is longer than %d\n", program,
                (int)sizeof t->name - 1);
        return RUN_USAGE;
    } else if (!strcmp(flag, "reward")) snprintf(t->reward, sizeof t->reward, "%s", value);
    else if (!strcmp(flag, "dmc")) t->dmc = value;
    else if (!strcmp(flag, "physics")) {
        snprintf(t->physics, sizeof t->physics, "%s", value);
        if (!strcmp(value, "native") || !strcmp(value, "published")) return RUN_OK;
        fprintf(stderr, "%s: --physics: expected published or native\n", program);
        return RUN_USAGE;
    } else if (!strcmp(flag, "task-set")) {
        if (strchr(value, '=') && !strchr(value, ' ') &&
            (size_t)snprintf(t->sets + used, sizeof t->sets - used, "%s%s", used ? " " : "",
                             value) < sizeof t->sets - used)
            return RUN_OK;
        fprintf(stderr, "%s: --task-set: expected KEY=VALUE without blanks (in all less than %d "
                "letters), got '%s'\n", program, (int)sizeof t->sets, value);
        return RUN_USAGE;
    } else return -1;
    return RUN_OK;
}

/* Keep in the metadata of a policy file how the task was set up, and get it from there. */
static inline void run_task_to_meta(const run_task *t, drl_meta *meta)
{
    drl_meta_set(meta, "task", t->name);
    if (t->sets[0]) drl_meta_set(meta, "task_set", t->sets);
    if (t->physics[0]) drl_meta_set(meta, "physics", t->physics);
    if (t->reward[0]) drl_meta_set(meta, "reward", t->reward);
}

static inline void run_task_from_meta(run_task *t, const drl_meta *meta)
{
    const char *name = drl_meta_get(meta, "task"), *sets = drl_meta_get(meta, "task_set");
    const char *physics = drl_meta_get(meta, "physics"), *reward = drl_meta_get(meta, "reward");
    snprintf(t->name, sizeof t->name, "%s", name ? name : "");
    snprintf(t->sets, sizeof t->sets, "%s", sets ? sets : "");
    snprintf(t->physics, sizeof t->physics, "%s", physics ? physics : "");
    snprintf(t->reward, sizeof t->reward, "%s", reward ? reward : "");
}

/* Change what a file says about the task by what the command line says; another task is another. */
static inline void run_task_change(run_task *t, const run_task *by)
{
    size_t used = strlen(t->sets);
    if (by->name[0]) *t = *by;
    else if (by->sets[0])
        snprintf(t->sets + used, sizeof t->sets - used, "%s%s", used ? " " : "", by->sets);
    if (by->physics[0]) memcpy(t->physics, by->physics, sizeof t->physics);
    if (by->reward[0]) memcpy(t->reward, by->reward, sizeof t->reward);
    t->dmc = by->dmc;
}

#define RUN_TASK_FLAGS                                                                           \
    {"task-set", "KEY=VALUE", "change a constant of the task; may be repeated; see --list"},    \
    {"physics", "WHICH", "published (default), or native: as this version of MuJoCo has it"},    \
    {"reward", "NAME", "of --task mjcf:FILE.xml (forward)"},                                     \
    {"dmc", "DIR", "models of DeepMind Control (where tools/get-dmc.sh puts them)"}

/* Set what depends on the family: rewards of DeepMind Control are in [0, 1], and the range of
   values (where the algorithm has one) is smaller there (DIME, code of the authors). */
static inline void run_task_configure(int i, const drl_field *fields, int n, void *config)
{
    drl_context ctx;
    memset(&ctx, 0, sizeof ctx); /* receives the message if there is no such field */
    if (strcmp(run_task_family(i), "DeepMind Control") != 0) return;
    drl_fields_set(&ctx, fields, n, config, "v_min", "-200");
    drl_fields_set(&ctx, fields, n, config, "v_max", "200");
}

#ifndef TRAIN_NO_MUJOCO
#define RUN_WORDS 512 /* as many as fit into the text */

/* Cut sets into words [RUN_WORDS] in text [1024]. */
static inline void run_task_options(const run_task *t, mujoco_options *o, char *text,
                                    const char **words)
{
    memset(o, 0, sizeof *o);
    memcpy(text, t->sets, sizeof t->sets);
    o->set = words;
    while (*text && o->set_count < RUN_WORDS) {
        words[o->set_count++] = text;
        text += strcspn(text, " ");
        if (*text) *text++ = 0;
    }
    o->dmc_dir = t->dmc;
    o->reward = t->reward[0] ? t->reward : NULL;
    o->native = !strcmp(t->physics, "native");
}
#endif

/* Look the task up and check its constants. Returns RUN_OK, or RUN_USAGE after telling what is
   wrong. */
static inline int run_task_find(run_task *t, const char *program)
{
    const char *names[256];
    int i, n;
    for (n = 0; n < 256 && run_task_name(n); n++) names[n] = run_task_name(n);
    for (i = 0; i < n && !run_same(t->name, names[i]);) i++;
    t->index = i < n ? i : -1;
    if (i < n) snprintf(t->name, sizeof t->name, "%s", names[i]);
    if (t->index >= 0 && t->index < RUN_COUNT(run_builtins)) {
        if (!t->sets[0]) return RUN_OK;
        fprintf(stderr, "%s: --task-set: %s has no constants to be set\n", program, t->name);
        return RUN_USAGE;
    }
#ifdef TRAIN_NO_MUJOCO
    run_unknown(program, "task", t->name, names, n);
    fprintf(stderr, "%s: built without MuJoCo, so only built-in tasks; try --task Pendulum\n",
            program);
    return RUN_USAGE;
#else
    if (i == n && strncmp(t->name, "mjcf:", 5) != 0) {
        if (strstr(t->name, ".xml"))
            return fprintf(stderr, "%s: a model of your own is --task mjcf:FILE.xml\n", program),
                   RUN_USAGE;
        return run_unknown(program, "task", t->name, names, n);
    }
    if (i < n && t->reward[0])
        return fprintf(stderr, "%s: --reward is of --task mjcf:FILE.xml; %s has its own\n",
                       program, t->name), RUN_USAGE;
    {
        mujoco_task rules = mujoco_mjcf;
        mujoco_options o;
        const char *words[RUN_WORDS];
        char text[sizeof t->sets], error[512];
        if (i < n) rules = *mujoco_env_task(i - RUN_COUNT(run_builtins));
        run_task_options(t, &o, text, words);
        for (i = 0; i < o.set_count; i++)
            if (mujoco_task_set(&rules, o.set[i], error, sizeof error))
                return fprintf(stderr, "%s: --task-set: %s\n", program, error), RUN_USAGE;
    }
    return RUN_OK;
#endif
}

/* Make an environment of the task, to be freed with env->free_fn(env->user). It shares with `from`
   (NULL: nothing), an environment of the same task, what can be shared. Returns 0, or -1 with one
   line in error. */
static inline int run_task_open(drl_env *env, const run_task *t, const drl_env *from, char *error,
                                size_t n)
{
    if (t->index >= 0 && t->index < RUN_COUNT(run_builtins)) {
        void *user = calloc(1, run_builtins[t->index].size);
        if (!user) return snprintf(error, n, "out of memory"), -1;
        run_builtins[t->index].make_fn(env, user);
        env->free_fn = free;
        return 0;
    }
#ifndef TRAIN_NO_MUJOCO
    {
        mujoco_options o;
        const char *words[RUN_WORDS];
        char text[sizeof t->sets];
        if (from) return mujoco_env_clone(env, from, error, n);
        run_task_options(t, &o, text, words);
        return mujoco_env_init(env, t->name, &o, error, n);
    }
#else
    (void)from;
    return snprintf(error, n, "built without MuJoCo"), -1;
#endif
}

/* Tell what --task-set knows of the task, with the present values. */
static inline void run_task_list(const run_task *t)
{
#ifndef TRAIN_NO_MUJOCO
    const mujoco_task *task = mujoco_env_task(t->index - RUN_COUNT(run_builtins));
    const mujoco_key *key;
    drl_context ctx;
    memset(&ctx, 0, sizeof ctx);
    if (t->index >= 0 && t->index < RUN_COUNT(run_builtins)) return;
    if (t->index < 0) task = &mujoco_mjcf;
    for (key = task->kind.keys; key && key->name; key++) {
        const char *at = (const char *)task + key->offset;
        double v[2] = {0, 0};
        int i, whole;
        for (i = 0; i < key->count; i++) {
            if (key->type == DRL_FIELD_DOUBLE) memcpy(&v[i], at + (size_t)i * sizeof *v, sizeof *v);
            else memcpy(&whole, at, sizeof whole), v[i] = whole;
        }
        printf("  %s=%g", key->name, v[0]);
        printf(key->count > 1 ? ",%g\n" : "\n", v[1]);
    }
#else
    (void)t;
#endif
}

/* Return how many episodes the simulator broke off in an environment of the task. */
static inline uint64_t run_task_faults(const drl_env *env, const run_task *t)
{
#ifndef TRAIN_NO_MUJOCO
    if (t->index < 0 || t->index >= RUN_COUNT(run_builtins)) return mujoco_env_get(env)->faults;
#else
    (void)env, (void)t;
#endif
    return 0;
}

/* Say at the end how many episodes those were. */
static inline void run_task_warn(uint64_t faults)
{
    if (faults)
        printf("warn    the simulation diverged in %" PRIu64 " episodes, which were cut off\n",
               faults);
}

/* Return what MuJoCo said when one of n environments of the task failed in its last step, with
   ": " before it, or nothing. */
static inline const char *run_task_said(const drl_env *envs, int n, const run_task *t, char *text,
                                        size_t size)
{
    text[0] = 0;
#ifndef TRAIN_NO_MUJOCO
    for (; n-- > 0 && !text[0] && (t->index < 0 || t->index >= RUN_COUNT(run_builtins)); envs++)
        if (envs->user && mujoco_env_get(envs)->error[0])
            snprintf(text, size, ": %s", mujoco_env_get(envs)->error);
#else
    (void)envs, (void)n, (void)t, (void)size;
#endif
    return text;
}

/* Write the name of the task as that of a file to text [64]: of a model its file's without path
   and ending. */
static inline const char *run_task_file(const run_task *t, char *text)
{
    const char *name = strrchr(t->name, '/') ? strrchr(t->name, '/') + 1 : t->name, *dot;
    size_t i, n;
    if (!strncmp(name, "mjcf:", 5)) name += 5;
    dot = t->index < 0 ? strrchr(name, '.') : NULL;
    n = dot && dot > name ? (size_t)(dot - name) : strlen(name);
    for (i = 0; i < n && i < 63; i++)
        text[i] = strchr("/\\:*?\"<>| ", name[i]) || name[i] < ' ' || name[i] > '~' ? '_' : name[i];
    text[i] = 0;
    return text;
}

/* --------------------------------------------------------------------------------------- flags */

typedef struct run_flag {
    const char *name;  /* without -- */
    const char *value; /* what follows it, NULL: nothing */
    const char *help;
} run_flag;

/* The command line and how far it is read. */
typedef struct run_args {
    const char *program;
    char **argv;
    int argc, at, words; /* words: -- was met, only plain words follow */
} run_args;

enum { RUN_ARGS_END = -1, RUN_ARGS_BAD = -2, RUN_ARGS_WORD = -3 };

/* Read the next argument: --name value, --name=value, -h; in names - is _. Returns the number of
   the flag with its value, RUN_ARGS_WORD for a plain word (in value), RUN_ARGS_END, or RUN_ARGS_BAD
   after telling what is wrong. */
static inline int run_args_next(run_args *a, const run_flag *flags, int count, const char **value)
{
    const char *names[64], *arg, *equals;
    char name[64];
    int i;
    if (a->at < a->argc && !a->words && !strcmp(a->argv[a->at], "--")) a->words = 1, a->at++;
    if (a->at >= a->argc) return RUN_ARGS_END;
    arg = *value = a->argv[a->at++];
    if (a->words || arg[0] != '-' || !arg[1]) return RUN_ARGS_WORD;
    equals = strchr(arg, '=');
    snprintf(name, sizeof name, "%.*s", equals ? (int)(equals - arg) : (int)strlen(arg), arg);
    for (i = 0; i < count; i++) {
        names[i] = flags[i].name;
        if ((!strncmp(name, "--", 2) && run_same(name + 2, flags[i].name)) ||
            (!strcmp(name, "-h") && !strcmp(flags[i].name, "help")))
            break;
    }
    if (i == count) {
        const char *nearest = drl_text_nearest(name + (name[1] == '-' ? 2 : 1), names, count);
        fprintf(stderr, "%s: unknown flag %s", a->program, run_clean(name, name, sizeof name));
        if (nearest) fprintf(stderr, "; did you mean --%s?", nearest);
        fprintf(stderr, " (--help lists all)\n");
        return RUN_ARGS_BAD;
    }
    *value = equals ? equals + 1 : NULL;
    if (!flags[i].value && equals) {
        fprintf(stderr, "%s: --%s takes no value\n", a->program, flags[i].name);
        return RUN_ARGS_BAD;
    }
    if (flags[i].value && !equals) {
        if (a->at >= a->argc || !strncmp(a->argv[a->at], "--", 2)) {
            fprintf(stderr, "%s: --%s needs a value: %s\n", a->program, flags[i].name,
                    flags[i].value);
            return RUN_ARGS_BAD;
        }
        *value = a->argv[a->at++];
    }
    return i;
}

static inline void run_flags_help(const run_flag *flags, int count)
{
    char head[64];
    int i;
    for (i = 0; i < count; i++) {
        snprintf(head, sizeof head, "--%s %s", flags[i].name, flags[i].value ? flags[i].value : "");
        printf("  %-22s %s\n", head, flags[i].help);
    }
}

/* Set a number among the options: its range is in the table; 200k is 200e3 and 1M is 1e6. */
static inline int run_option(const char *program, const drl_field *fields, int count, void *options,
                             const char *key, const char *value)
{
    drl_context ctx;
    char text[64];
    size_t n = strlen(value);
    int rc = RUN_OK;
    char last = n ? value[n - 1] : ' ';
    memset(&ctx, 0, sizeof ctx); /* receives the message, no more */
    snprintf(text, sizeof text, "%s", value);
    if (n > 1 && n < 60 && (last == 'k' || last == 'K' || last == 'm' || last == 'M'))
        snprintf(text + n - 1, 4, last == 'k' || last == 'K' ? "e3" : "e6");
    if (drl_fields_set(&ctx, fields, count, options, key, text) != DRL_OK) {
        fprintf(stderr, "%s: --%s\n", program, drl_context_error(&ctx));
        rc = RUN_USAGE;
    }
    return rc;
}

/* ---------------------------------------------------------------------------------- evaluation */

/* Called after each episode of an evaluation; not 0 ends it. */
typedef int (*run_episode_fn)(void *user, int episode, const drl_evaluation *one);

/* Evaluate on seeds seed, seed + 1, ..., with a call after each episode. */
static inline drl_status run_evaluate(drl_context *ctx, drl_agent *agent, const drl_env *env,
                                      int episodes, uint64_t seed, run_episode_fn fn, void *user,
                                      drl_evaluation *all)
{
    double square = 0;
    int i;
    memset(all, 0, sizeof *all);
    for (i = 0; i < episodes; i++) {
        drl_evaluation one;
        double delta;
        drl_status s;
        s = drl_evaluate(ctx, agent, env, 1, seed + (uint64_t)i, &one, NULL);
        if (s != DRL_OK) return s;
        delta = one.mean - all->mean;
        all->mean += delta / (i + 1);
        square += delta * (one.mean - all->mean);
        all->std = sqrt(square / (i + 1));
        all->min = i && all->min < one.mean ? all->min : one.mean;
        all->max = i && all->max > one.mean ? all->max : one.mean;
        all->length += (one.length - all->length) / (i + 1);
        all->episodes = i + 1;
        if (fn && fn(user, i, &one)) break;
    }
    return DRL_OK;
}

/* -------------------------------------------------------------------------------------- policy */

/* A saved policy on its task. */
typedef struct run_policy {
    drl_file file; /* open for its metadata */
    drl_algo algo;
    drl_agent *agent;
    drl_env env;
    run_task task;
} run_policy;

static inline int run_policy_fail(const char *program, drl_context *ctx)
{
    fprintf(stderr, "%s: %s\n", program, drl_context_error(ctx));
    return ctx->status == DRL_ERR_MEMORY ? RUN_FAILED : RUN_FILE;
}

/* Make agent and task from the metadata of the file at `path` and what the command line says about
   the task. Returns an exit code, after telling what is wrong; to be closed in any case. */
static inline int run_policy_open(run_policy *p, const char *program, drl_context *ctx,
                                  const char *path, const run_task *task)
{
    int bad = task->name[0] ? RUN_USAGE : RUN_FILE; /* whose fault a wrong task is */
    const char *algo;
    char error[512], shown[64];
    memset(p, 0, sizeof *p);
    if (drl_file_open(&p->file, ctx, path) != DRL_OK) return run_policy_fail(program, ctx);
    algo = drl_meta_get(&p->file.meta, "algo");
    p->algo = drl_algo_find(algo ? algo : "");
    if (!p->algo.name) {
        fprintf(stderr, "%s: %s: its algorithm is %s, which this program does not know\n", program,
                path, algo ? run_clean(algo, shown, sizeof shown) : "not given");
        return RUN_FILE;
    }
    run_task_from_meta(&p->task, &p->file.meta);
    run_task_change(&p->task, task);
    if (!p->task.name[0]) {
        fprintf(stderr, "%s: %s does not name its task; give --task\n", program, path);
        return RUN_FILE;
    }
    if (run_task_find(&p->task, program)) return bad;
    p->agent = (drl_agent *)calloc(1, p->algo.size);
    if (!p->agent) return RUN_FAILED;
    if (drl_agent_load(p->agent, ctx, p->algo, path) != DRL_OK)
        return run_policy_fail(program, ctx);
    if (run_task_open(&p->env, &p->task, NULL, error, sizeof error)) {
        fprintf(stderr, "%s: %s\n", program, error);
        return RUN_FAILED;
    }
    if (p->env.obs_dim == p->agent->obs_dim && p->env.act_dim == p->agent->act_dim) return RUN_OK;
    fprintf(stderr, "%s: %s has obs %d, act %d, but the policy wants %d, %d\n", program,
            run_clean(p->task.name, shown, sizeof shown), p->env.obs_dim, p->env.act_dim,
            p->agent->obs_dim, p->agent->act_dim);
    return bad;
}

static inline void run_policy_close(run_policy *p)
{
    if (p->env.free_fn) p->env.free_fn(p->env.user);
    if (p->agent) drl_agent_free(p->agent);
    free(p->agent);
    drl_file_close(&p->file);
    memset(p, 0, sizeof *p);
}

/* ------------------------------------------------------------------------------------ terminal */

/* What can be shown where the messages go. */
typedef struct run_term {
    int quiet, tty, utf8, color;
    int open;    /* the progress line stands on the screen */
    double last; /* time of the last progress line         */
} run_term;

static inline int run_utf8(void)
{
    const char *locale = getenv("LC_ALL"), *term = getenv("TERM"), *s;
    if (!locale || !*locale) locale = getenv("LC_CTYPE");
    if (!locale || !*locale) locale = getenv("LANG");
    if (!locale || (term && !strcmp(term, "dumb"))) return 0;
    for (s = locale; *s; s++)
        if (!strncmp(s, "UTF-8", 5) || !strncmp(s, "utf8", 4) || !strncmp(s, "utf-8", 5)) return 1;
    return 0;
}

/* Columns of the terminal at fd. */
static inline int run_columns(int fd)
{
    const char *text = getenv("COLUMNS");
    int columns = text ? (int)strtol(text, NULL, 10) : 0;
#ifdef TIOCGWINSZ
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) columns = size.ws_col;
#else
    (void)fd;
#endif
    return columns < 20 ? 80 : columns;
}

static inline run_term run_term_make(int fd, int quiet)
{
    const char *term = getenv("TERM"), *none = getenv("NO_COLOR");
    int dumb = !term || !strcmp(term, "dumb");
    run_term t;
    memset(&t, 0, sizeof t);
    t.quiet = quiet;
    t.tty = isatty(fd) && !dumb;
    t.utf8 = run_utf8();
    t.color = t.tty && !(none && *none);
    return t;
}

/* Take the progress line away, so that other text can follow. */
static inline void run_term_clear(run_term *t)
{
    if (t->open) fputs("\r\033[K", stderr);
    t->open = 0;
}

/* Text that grows up to the width of the terminal: a piece that does not fit ends it. */
typedef struct run_line {
    char text[1024];
    size_t bytes;
    int columns, width, full;
} run_line;

/* Add a piece that takes `columns` columns (0: as many as it has bytes). */
static inline void run_line_add(run_line *line, const char *piece, int columns)
{
    size_t n = strlen(piece);
    if (!columns) columns = (int)n;
    if (line->full || line->columns + columns > line->width ||
        line->bytes + n + 1 > sizeof line->text) {
        line->full = 1;
        return;
    }
    memcpy(line->text + line->bytes, piece, n + 1);
    line->bytes += n;
    line->columns += columns;
}

/* Write the code point to text; return its bytes. */
static inline int run_utf8_put(unsigned code, char *text)
{
    text[0] = (char)(0xE0 | (code >> 12));
    text[1] = (char)(0x80 | ((code >> 6) & 63));
    text[2] = (char)(0x80 | (code & 63));
    text[3] = 0;
    return 3;
}

/* A bar of 10 columns to text [64]. */
static inline void run_bar(const run_term *t, double part, char *text)
{
    int i, eighths = (int)(80 * part);
    for (i = 0; i < 10; i++, eighths -= 8) {
        int e = eighths < 0 ? 0 : eighths > 8 ? 8 : eighths;
        if (!t->utf8) *text++ = e >= 4 ? '#' : '-';
        else if (e == 0) *text++ = ' ';
        else text += run_utf8_put(0x2588u + (unsigned)(8 - e), text);
    }
    *text = 0;
}

/* --------------------------------------------------------------------------------------- files */

/* path [n] = dir/name. Returns 0, or -1 if it is too long. */
static inline int run_path(char *path, size_t n, const char *dir, const char *name)
{
    int length = snprintf(path, n, "%s/%s", dir, name);
    return length >= 0 && (size_t)length < n ? 0 : -1;
}

/* Make the folder and those above it. Returns 0, or -1 with errno set. */
static inline int run_mkdirs(const char *path)
{
    char part[1024];
    size_t i;
    for (i = 0; i < sizeof part; i++) {
        part[i] = 0;
        if (i && (path[i] == '/' || !path[i]) && mkdir(part, 0777) && errno != EEXIST) return -1;
        if (!path[i]) return 0;
        part[i] = path[i];
    }
    errno = ENAMETOOLONG;
    return -1;
}

/* A text file that appears under its name when all of it is written. */
typedef struct run_file {
    FILE *f;
    char path[1200], draft[1208];
} run_file;

/* Start dir/name. Returns 0, or -1 with errno set. */
static inline int run_file_open(run_file *file, const char *dir, const char *name)
{
    file->f = NULL;
    errno = ENAMETOOLONG;
    if (run_path(file->path, sizeof file->path, dir, name)) return -1;
    snprintf(file->draft, sizeof file->draft, "%s.tmp", file->path);
    file->f = fopen(file->draft, "w");
    return file->f ? 0 : -1;
}

/* Finish it. Returns 0, or -1 with errno set and the older file as it was. */
static inline int run_file_close(run_file *file)
{
    int bad = ferror(file->f);
    if (fclose(file->f) || bad || rename(file->draft, file->path)) {
        bad = errno;
        remove(file->draft);
        errno = bad ? bad : EIO;
        return -1;
    }
    return 0;
}

/* "text" with what JSON wants escaped. */
static inline void run_json_text(FILE *f, const char *text)
{
    fputc('"', f);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') fprintf(f, "\\%c", c);
        else if (c < 32) fprintf(f, "\\u%04x", c);
        else fputc(c, f);
    }
    fputc('"', f);
}

/* Return name as a field of a CSV row: in quotes in out [2 x its size] if it must be. */
static inline const char *run_csv_text(const char *name, char *out)
{
    char *to = out;
    if (!name[strcspn(name, ",\"\r\n")]) return name;
    for (*to++ = '"'; *name; name++) {
        if (*name == '"') *to++ = '"';
        *to++ = *name;
    }
    memcpy(to, "\"", 2);
    return out;
}

/* The fields of a config as the members of an object, without braces. */
static inline void run_json_fields(FILE *f, drl_context *ctx, const drl_field *fields, int count,
                                   const void *config)
{
    char text[DRL_FIELD_TEXT];
    int i;
    for (i = 0; i < count; i++) {
        drl_fields_get(ctx, fields, count, config, fields[i].name, text);
        fprintf(f, "%s\n    \"%s\": ", i ? "," : "", fields[i].name);
        if (fields[i].type == DRL_FIELD_CHOICE || strstr(text, "inf") || strstr(text, "nan"))
            run_json_text(f, text);
        else fputs(text, f);
    }
}

/* ---------------------------------------------------------------------------------- checkpoint */

/* Keep a struct's fields in the metadata, as PREFIX + name. */
static inline void run_fields_to_meta(drl_context *ctx, drl_meta *meta, const char *prefix,
                                      const drl_field *fields, int n, const void *config)
{
    char key[80], text[DRL_FIELD_TEXT];
    int i;
    for (i = 0; i < n; i++) {
        snprintf(key, sizeof key, "%.40s%.24s", prefix, fields[i].name);
        drl_fields_get(ctx, fields, n, config, fields[i].name, text);
        drl_meta_set(meta, key, text);
    }
}

/* Get them from there; what is not there stays as it is. */
static inline drl_status run_fields_from_meta(drl_context *ctx, const drl_meta *meta,
                                              const char *prefix, const drl_field *fields, int n,
                                              void *config)
{
    char key[80];
    drl_status s = DRL_OK;
    int i;
    for (i = 0; i < n && s == DRL_OK; i++) {
        const char *value;
        snprintf(key, sizeof key, "%.40s%.24s", prefix, fields[i].name);
        value = drl_meta_get(meta, key);
        if (value) s = drl_fields_set(ctx, fields, n, config, fields[i].name, value);
    }
    return s;
}

/* -------------------------------------------------------------------------------------- memory */

/* Return the number after `word` (NULL: at the start) in a small file, -1 if there is none. */
static inline double run_file_number(const char *path, const char *word)
{
    char text[2048];
    const char *at = text;
    double v = -1;
    FILE *f = fopen(path, "r");
    if (!f) return -1;
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    if (word) at = strstr(text, word);
    if (!at || sscanf(word ? at + strlen(word) : at, "%lf", &v) != 1) return -1;
    return v;
}

/* Return the bytes that can still be had, as far as the system tells; 1e300 if it does not. */
static inline double run_memory_free(void)
{
    double best = 1e300, v = run_file_number("/proc/meminfo", "MemAvailable:");
    if (v >= 0) best = 1024 * v;
#ifdef _SC_PHYS_PAGES
    v = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    if (v > 0 && v < best) best = v;
#endif
    v = run_file_number("/sys/fs/cgroup/memory.max", NULL);
    if (v >= 0 && v < best) best = v;
    return best;
}

#endif /* RUN_H */
