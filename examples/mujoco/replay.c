/* Replays actions on a task and prints what comes out, to the last digit.            (1 star of 4)

     cc -O2 examples/mujoco/replay.c -I. -Iexamples -o build/replay -lmujoco -lm -lpthread

   (in the top folder.) To hold a task against another implementation of it:

     build/replay --task Ant-v5 --state state.csv --actions actions.csv > here.csv

   Reads     state.csv    two rows: qpos, qvel, separated by commas; the episode starts exactly
                          there, without noise (quaternions are normalized)
             actions.csv  one row per step: a number per actuator, in its own units, not cut to its
                          range, used in double precision
             Empty rows, and rows that begin with #, are skipped.
   Prints    one row per step: step,reward,terminated,obs... with 17 significant digits. Row 0 is
             the observation after the reset, with reward 0. Goes on after the end of an episode.
   Exit      0 ok, 1 run failed, 2 usage, 3 bad file */
#define _POSIX_C_SOURCE 200809L
#define DIFFRL_IMPLEMENTATION
#include "run.h"

static const run_flag replay_flags[] = {
    {"task", "NAME", "train --list shows all"},
    {"state", "FILE", "qpos, qvel: two rows"},
    {"actions", "FILE", "a row per step"},
    RUN_TASK_FLAGS,
    {"help", NULL, "this text"},
};
enum { FLAG_TASK, FLAG_STATE, FLAG_ACTIONS, FLAG_HELP = 7 };

/* A text file with rows of numbers, read one by one. */
typedef struct table {
    const char *path;
    char *text, *at;
    int row; /* of the file, from 1 */
} table;

static int table_open(table *t, const char *path)
{
    FILE *f = fopen(path, "rb");
    size_t used = 0, size = 1 << 16, n = 1;
    t->path = path;
    while (f && n > 0) {
        char *more = (char *)realloc(t->text, size);
        if (!more) break;
        t->text = more;
        n = fread(t->text + used, 1, size - used - 1, f);
        used += n;
        t->text[used] = 0;
        if (size - used < 2) size *= 2;
    }
    if (!f || ferror(f) || n > 0) {
        fprintf(stderr, "replay: cannot read %s: %s\n", path, strerror(errno));
        if (f) fclose(f);
        return -1;
    }
    fclose(f);
    t->at = t->text;
    return 0;
}

/* Read the next row of n numbers into x. Returns 1, 0 at the end, or -1 after telling that there
   are not n of them. */
static int table_row(table *t, double *x, int n)
{
    int count = 0;
    char *end = t->at, rest[41];
    do {
        t->row++;
        t->at = end + (*end == '\n');
        end = t->at + strcspn(t->at, "\n");
    } while (*end && (*t->at == '#' || t->at + strspn(t->at, " \t\r") == end));
    if (t->at + strspn(t->at, " \t\r") == end) return 0;
    while (t->at < end) {
        char *next;
        double v = strtod(t->at, &next);
        if (next == t->at || next > end) break;
        if (count++ < n) x[count - 1] = v;
        t->at = next + strspn(next, " \t\r");
        if (*t->at != ',') break;
        t->at++;
    }
    if (count == n && t->at == end) return 1;
    fprintf(stderr, "replay: %s, row %d: expected %d numbers separated by commas, got %d", t->path,
            t->row, n, count);
    snprintf(rest, sizeof rest, "%.*s", (int)strcspn(t->at, "\r\n"), t->at);
    if (rest[0]) fprintf(stderr, " and then '%s'", run_clean(rest, rest, sizeof rest));
    fprintf(stderr, "\n");
    return -1;
}

static void print_row(int step, int flags, const mujoco_env *e)
{
    int i;
    printf("%d,%.17g,%d", step, e->reward, (flags & DRL_ENV_TERMINATED) != 0);
    for (i = 0; i < e->model->task.obs_dim; i++) printf(",%.17g", e->obs[i]);
    printf("\n");
}

/* Start at the state and do all actions. Returns the exit code. */
static int replay(mujoco_env *e, table *state, table *actions)
{
    const mjModel *m = e->model->m;
    int nq = (int)m->nq, nv = (int)m->nv, nu = (int)m->nu, step = 0, flags = 0, got, failed;
    double *x = (double *)calloc((size_t)(nq + nv + nu), sizeof *x);
    if (!x) return RUN_FAILED;
    got = table_row(state, x, nq);
    if (got == 1) got = table_row(state, x + nq, nv);
    if (got == 0) fprintf(stderr, "replay: %s: rows for qpos and qvel expected\n", state->path);
    failed = got == 1 && mujoco_env_set_state(e, x, x + nq);
    if (got == 1 && !failed) print_row(0, 0, e);
    while (got == 1 && !failed && (got = table_row(actions, x, nu)) == 1) {
        failed = mujoco_env_step(e, x, &flags);
        if (flags & DRL_ENV_TRUNCATED) {
            snprintf(e->error, sizeof e->error, "the simulation diverged");
            failed = 1;
        }
        step++;
        if (!failed) print_row(step, flags, e);
    }
    free(x);
    if (failed) return fprintf(stderr, "replay: step %d: %s\n", step, e->error), RUN_FAILED;
    return got < 0 || (got == 0 && !step && !actions->row) || fflush(stdout) ? RUN_FILE : RUN_OK;
}

int main(int argc, char **argv)
{
    run_args args = {"replay", NULL, 0, 1, 0};
    const char *value = "", *state_path = NULL, *actions_path = NULL;
    run_task task;
    table state, actions;
    drl_env env;
    char error[512];
    int flag, rc = RUN_OK;
    args.argc = argc;
    args.argv = argv;
    memset(&task, 0, sizeof task);
    memset(&state, 0, sizeof state);
    memset(&actions, 0, sizeof actions);
    while ((flag = run_args_next(&args, replay_flags, RUN_COUNT(replay_flags), &value)) >= 0) {
        if (flag == FLAG_HELP) {
            printf("usage: replay --task NAME --state FILE --actions FILE\n\nPrints step,reward,"
                   "terminated,obs... of a task for given actions.\n\n");
            run_flags_help(replay_flags, RUN_COUNT(replay_flags));
            return RUN_OK;
        }
        if (flag == FLAG_STATE) state_path = value;
        else if (flag == FLAG_ACTIONS) actions_path = value;
        else if (run_task_flag(&task, "replay", replay_flags[flag].name, value)) return RUN_USAGE;
    }
    if (flag == RUN_ARGS_WORD) fprintf(stderr, "replay: what is '%s'?\n", value);
    if (flag != RUN_ARGS_END) return RUN_USAGE;
    if (!task.name[0] || !state_path || !actions_path) {
        fprintf(stderr, "replay: wants --task, --state and --actions (--help)\n");
        return RUN_USAGE;
    }
    if (run_task_find(&task, "replay")) return RUN_USAGE;
    if (!strcmp(run_task_family(task.index), "built in")) {
        fprintf(stderr, "replay: %s has no qpos and qvel; only tasks of MuJoCo do\n", task.name);
        return RUN_USAGE;
    }
    if (table_open(&state, state_path) || table_open(&actions, actions_path)) rc = RUN_FILE;
    if (rc == RUN_OK && run_task_open(&env, &task, NULL, error, sizeof error)) {
        fprintf(stderr, "replay: %s\n", error);
        rc = RUN_FAILED;
    } else if (rc == RUN_OK) {
        rc = replay(mujoco_env_get(&env), &state, &actions);
        env.free_fn(env.user);
    }
    free(state.text);
    free(actions.text);
    return rc;
}
