/* Draws the learning curves of runs: means over seeds with their deviation, as SVG, as PNG and on
   the terminal. tools/plot.sh builds and runs it.

     cc -O2 tools/plot.c -I. -Iexamples -DTRAIN_NO_MUJOCO -o build/plot -lm -lpthread

     build/plot runs/Hopper-v5__dime__1__1700000000          on the terminal
     build/plot runs/Hopper* --by algo --out fig.svg --png   fig.svg and fig.png

   Reads     progress.csv of each folder, nothing else; task, algorithm and seed are in the names of
             the folders that train makes, TASK__ALGO__SEED__TIME, and of files TASK_ALGO_SEED.csv
   Exit      0 ok, 1 failed, 2 usage, 3 bad file */
#define _POSIX_C_SOURCE 200809L
#define DIFFRL_IMPLEMENTATION
#include "mujoco/curve.h"
#include <dirent.h>
#include <sys/wait.h>

typedef struct plot_run {
    char task[64], algo[64], seed[24];
    curve_series series;
} plot_run;

typedef struct plot {
    const char *by, *x, *y, *out, *title;
    int png, terminal;
    plot_run *runs;
    int count;
    curve_panel *panels;
    int panel_count;
} plot;

enum {
    FLAG_BY, FLAG_X, FLAG_Y, FLAG_OUT, FLAG_PNG, FLAG_TERMINAL, FLAG_TITLE, FLAG_HELP, FLAG_VERSION
};

static const run_flag plot_flags[] = {
    {"by", "WHAT", "algo: a curve per algorithm, a panel per task (default);"},
    {"x", "WHAT", "steps (default), log: steps on a logarithmic axis, or time of training"},
    {"y", "COLUMN", "of progress.csv (eval/mean_reward; where there is none, rollout/ep_rew_mean)"},
    {"out", "FILE.svg", "write the figure there"},
    {"png", NULL, "and as FILE.png, by rsvg-convert"},
    {"terminal", NULL, "draw with letters (default without --out)"},
    {"title", "TEXT", "above the figure"},
    {"help", NULL, "this text"},
    {"version", NULL, "of the library"},
};

static void plot_help(void)
{
    printf("usage: plot RUN... [FLAG...]\n\nDraws the learning curves of runs, which are folders "
           "that train made, or files\nprogress.csv; of several seeds the mean and a band of one "
           "standard deviation.\n\n");
    run_flags_help(plot_flags, 1);
    printf("%25s%s\n%25s%s\n", "", "task: a curve per task, a panel per algorithm;", "",
           "seed: a curve per run, a panel per task and algorithm");
    run_flags_help(plot_flags + 1, RUN_COUNT(plot_flags) - 1);
    printf("\nexamples:\n"
           "  build/plot runs/*\n"
           "  build/plot runs/Hopper* runs/Walker* --by algo --out fig.svg --png\n"
           "  build/plot runs/*__dime__* --by seed --x time --y train/critic_loss --terminal\n"
           "\nexit status: 0 ok, 1 failed, 2 usage, 3 bad file\n");
}

/* ----------------------------------------------------------------------------------------- runs */

/* Cut TASK__ALGO__SEED__TIME, or TASK_ALGO_SEED, or what there is of it, into its parts. */
static void plot_name(plot_run *run, const char *name, size_t n)
{
    char text[256], *at, *algo;
    snprintf(text, sizeof text, "%.*s", (int)n, name);
    if ((at = strstr(text, "__"))) {
        *at = 0;
        algo = at + 2;
        if ((at = strstr(algo, "__"))) *at = 0, snprintf(run->seed, 24, "%.23s", at + 2);
        snprintf(run->algo, sizeof run->algo, "%.63s", algo);
        if ((at = strstr(run->seed, "__"))) *at = 0;
    } else {
        at = strrchr(text, '_');
        if (at && at[1] && strspn(at + 1, "0123456789") == strlen(at + 1))
            *at = 0, snprintf(run->seed, 24, "%.23s", at + 1);
        at = strrchr(text, '_');
        if (at && drl_algo_find(at + 1).name)
            *at = 0, snprintf(run->algo, sizeof run->algo, "%s", at + 1);
    }
    snprintf(run->task, sizeof run->task, "%.63s", text);
}

/* Read the runs in a folder: its own, else those of the folders in it. Returns how many there are. */
static int plot_folder(const char *folder, char (*found)[1200], int most)
{
    struct dirent **names;
    struct stat what;
    int i, n, count = 0;
    snprintf(found[0], sizeof found[0], "%.1000s/progress.csv", folder);
    if (!stat(found[0], &what)) return 1;
    n = scandir(folder, &names, NULL, alphasort);
    for (i = 0; i < n; i++) {
        if (names[i]->d_name[0] != '.' && count < most) {
            snprintf(found[count], sizeof found[0], "%.900s/%.255s/progress.csv", folder,
                     names[i]->d_name);
            count += !stat(found[count], &what);
        }
        free(names[i]);
    }
    if (n >= 0) free(names);
    return count;
}

/* Read a run, or those of a folder. Returns an exit code, after telling what is wrong; what is no
   run, or has no rows, is only told. */
static int plot_read(plot *p, const char *path)
{
    plot_run *run = (plot_run *)realloc(p->runs, (size_t)(p->count + 1) * sizeof *run);
    const char *x = run_same(p->x, "time") ? "time/time_elapsed" : "time/total_timesteps", *name;
    char file[1200], error[1400];
    size_t n = strlen(path);
    struct stat what;
    curve_table table;
    int i, rc = RUN_OK;
    if (!run) return fprintf(stderr, "plot: out of memory\n"), RUN_FAILED;
    p->runs = run;
    run += p->count;
    memset(run, 0, sizeof *run);
    while (n > 1 && path[n - 1] == '/') n--;
    snprintf(file, sizeof file, "%.*s", (int)n, path);
    if (!stat(file, &what) && S_ISDIR(what.st_mode)) {
        char(*found)[1200] = (char(*)[1200])malloc(1024 * sizeof *found);
        int count = found ? plot_folder(file, found, 1024) : 0;
        if (!count) fprintf(stderr, "plot: no run in %s\n", path);
        for (i = 0; i < count && rc == RUN_OK; i++) rc = plot_read(p, found[i]);
        free(found);
        return rc;
    }
    if (n > 13 && !strncmp(path + n - 13, "/progress.csv", 13)) n -= 13;
    else if (n > 4 && !strncmp(path + n - 4, ".csv", 4)) n -= 4;
    else if (!stat(file, &what)) return fprintf(stderr, "plot: %s is no run\n", path), RUN_OK;
    for (name = path + n; name > path && name[-1] != '/';) name--;
    plot_name(run, name, (size_t)(path + n - name));
    if (curve_table_read(&table, file, error, sizeof error)) {
        curve_table_free(&table);
        return fprintf(stderr, "plot: %s\n", error), RUN_FILE;
    }
    curve_table_series(&table, x, p->y ? p->y : "eval/mean_reward", &run->series);
    if (!p->y && run->series.count == 0)
        curve_table_series(&table, x, "rollout/ep_rew_mean", &run->series);
    if (run->series.count) p->count++;
    else fprintf(stderr, "plot: %s has no numbers of %s\n", file, p->y ? p->y : "returns");
    curve_table_free(&table);
    return RUN_OK;
}

/* Return the number of the text among those met so far, which are kept in list [*n]. */
static int plot_number(char (*list)[160], int *n, const char *text)
{
    int i;
    for (i = 0; i < *n && strcmp(list[i], text) != 0;) i++;
    if (i == *n) snprintf(list[(*n)++], sizeof list[0], "%s", text);
    return i;
}

/* Group the runs into curves on panels; a mean is one over seeds and over nothing else. */
static int plot_group(plot *p)
{
    int by_seed = run_same(p->by, "seed"), by_task = run_same(p->by, "task"), i, k, n, m;
    int colors = 0, panels = 0, *panel = (int *)calloc((size_t)p->count, 2 * sizeof(int));
    int *color = panel + p->count;
    char(*names)[160] = (char(*)[160])calloc((size_t)p->count, 2 * sizeof *names), text[160];
    curve_series *group = (curve_series *)calloc((size_t)p->count, sizeof *group);
    char(*titles)[160] = names + p->count;
    p->panels = (curve_panel *)calloc((size_t)p->count, sizeof *p->panels);
    if (!names || !panel || !group || !p->panels) return RUN_FAILED;
    for (i = 0; i < p->count; i++) {
        const plot_run *run = &p->runs[i];
        const char *title = by_task ? run->algo : run->task;
        const char *label = by_task ? run->task : run->algo;
        snprintf(text, sizeof text, by_seed ? "%s%s%s" : "%s", title, *run->algo ? ", " : "",
                 run->algo);
        panel[i] = plot_number(titles, &panels, text);
        snprintf(text, sizeof text, by_seed ? "seed %s" : "%s",
                 by_seed ? run->seed : *label ? label : run->task);
        color[i] = plot_number(names, &colors, text);
    }
    for (m = 0; m < panels; m++) {
        curve_panel *at = &p->panels[p->panel_count++];
        memcpy(at->title, titles[m], sizeof at->title);
        at->curves = (curve *)calloc((size_t)colors, sizeof *at->curves);
        if (!at->curves) return RUN_FAILED;
        for (k = 0; k < colors; k++) {
            curve *c = &at->curves[at->count];
            for (n = i = 0; i < p->count; i++)
                if (panel[i] == m && color[i] == k) group[n++] = p->runs[i].series;
            if (!n) continue;
            curve_mean(&c->series, group, n);
            snprintf(c->label, sizeof c->label, "%.90s", names[k]);
            c->color = k;
            c->seeds = n;
            c->band = n > 1 || c->series.points[0].std > 0;
            at->count += c->series.count > 0;
        }
    }
    free(names);
    free(panel);
    free(group);
    return RUN_OK;
}

/* --------------------------------------------------------------------------------------- output */

/* Ends of the x axes, a logarithmic one over three decades; time in the unit that suits it,
   which is returned as the label. */
static const char *plot_axes(plot *p)
{
    double last = 0, unit = 1;
    int i, k, j;
    const char *label = "environment steps";
    for (i = 0; i < p->panel_count; i++) {
        curve_panel *at = &p->panels[i];
        for (k = 0; k < at->count; k++)
            last = fmax(last, at->curves[k].series.points[at->curves[k].series.count - 1].x);
    }
    if (run_same(p->x, "time")) {
        unit = last >= 7200 ? 3600 : last >= 120 ? 60 : 1;
        label = last >= 7200 ? "hours" : last >= 120 ? "minutes" : "seconds";
    }
    for (i = 0; i < p->panel_count; i++) {
        curve_panel *at = &p->panels[i];
        for (k = 0; k < at->count; k++) {
            curve_series *s = &at->curves[k].series;
            for (j = 0; j < s->count; j++) s->points[j].x /= unit;
            at->last = fmax(at->last, s->points[s->count - 1].x);
        }
        if (run_same(p->x, "log")) at->first = at->last / 1000;
    }
    return label;
}

/* What the band is: over seeds, over episodes where there is one seed. */
static const char *plot_note(const plot *p)
{
    int seeds = 0, single = 0, i, k;
    for (i = 0; i < p->panel_count; i++)
        for (k = 0; k < p->panels[i].count; k++) {
            seeds |= p->panels[i].curves[k].seeds > 1;
            single |= p->panels[i].curves[k].seeds == 1 && p->panels[i].curves[k].band;
        }
    if (seeds && single)
        return "band: one standard deviation over seeds; of a single seed, over its episodes";
    if (seeds) return "mean and one standard deviation over seeds";
    return single ? "one seed each; band: one standard deviation over the episodes" : NULL;
}

/* A line per curve: where it ends. */
static void plot_tell(const plot *p, const char *x_label)
{
    char mean[32], std[32], x[32];
    int i, k;
    for (i = 0; i < p->panel_count; i++)
        for (k = 0; k < p->panels[i].count; k++) {
            const curve *c = &p->panels[i].curves[k];
            const curve_point *end = &c->series.points[c->series.count - 1];
            printf("%-25s %-10s %d seed%s  %s", p->panels[i].title, c->label, c->seeds,
                   c->seeds > 1 ? "s" : " ", run_short(end->mean, mean));
            if (c->band) printf(" +- %s", run_short(end->std, std));
            printf(" at %s %s\n", run_short(end->x, x), x_label);
        }
}

/* Tell of runs that end before others of their curve, which ends with them. */
static void plot_short(const plot *p)
{
    int i, k;
    for (i = 0; i < p->count; i++)
        for (k = 0; k < p->count; k++) {
            const plot_run *a = &p->runs[i], *b = &p->runs[k];
            double end = a->series.points[a->series.count - 1].x;
            if (strcmp(a->task, b->task) || strcmp(a->algo, b->algo) || run_same(p->by, "seed") ||
                b->series.points[b->series.count - 1].x <= 1.05 * end)
                continue;
            fprintf(stderr, "plot: %s, %s, seed %s ends early; so does the mean over the seeds\n",
                    a->task, a->algo, a->seed);
            break;
        }
}

/* Run rsvg-convert. */
static int plot_png(const char *svg)
{
    char png[1200];
    int status = -1;
    pid_t pid;
    size_t n = strlen(svg);
    if (n > 4 && !strcmp(svg + n - 4, ".svg")) n -= 4;
    snprintf(png, sizeof png, "%.*s.png", (int)n, svg);
    pid = fork();
    if (pid == 0) {
        execlp("rsvg-convert", "rsvg-convert", "--zoom=2", "--output", png, svg, (char *)NULL);
        _exit(127);
    }
    if (pid > 0 && waitpid(pid, &status, 0) == pid && status == 0)
        return printf("wrote %s\n", png), RUN_OK;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        fprintf(stderr, "plot: --png needs rsvg-convert (Debian's package librsvg2-bin; "
                "tools/install.sh rsvg)\n");
    else fprintf(stderr, "plot: rsvg-convert failed\n");
    return RUN_FAILED;
}

static int plot_write(plot *p, const char *x_label)
{
    char dir[1024] = ".";
    const char *name = strrchr(p->out, '/');
    curve_figure figure;
    memset(&figure, 0, sizeof figure);
    if (name) snprintf(dir, sizeof dir, "%.*s", name > p->out ? (int)(name - p->out) : 1, p->out);
    figure.title = p->title ? p->title : p->panel_count == 1 ? p->panels[0].title : NULL;
    figure.x_label = x_label;
    figure.y_label = p->y ? p->y : "return per episode";
    figure.note = plot_note(p);
    figure.panels = p->panels;
    figure.count = p->panel_count;
    if (run_mkdirs(dir) || curve_svg_write(dir, name ? name + 1 : p->out, &figure)) {
        fprintf(stderr, "plot: cannot write %s: %s\n", p->out, strerror(errno));
        return RUN_FILE;
    }
    printf("wrote %s\n", p->out);
    return p->png ? plot_png(p->out) : RUN_OK;
}

/* Is the value one of the words? */
static int plot_choice(const char *flag, const char *value, const char *words)
{
    const char *at = strstr(words, value);
    size_t n = strlen(value);
    if (n && at && (at[n] == ' ' || !at[n]) && (at == words || at[-1] == ' ')) return RUN_OK;
    fprintf(stderr, "plot: --%s: expected one of: %s\n", flag, words);
    return RUN_USAGE;
}

/* Read the command line and the runs. Returns -1 to go on, or the exit code. */
static int plot_parse(plot *p, int argc, char **argv)
{
    run_args args = {"plot", NULL, 0, 1, 0};
    const char *value, *paths[4096];
    int flag, rc = RUN_OK, n = 0, i;
    args.argc = argc;
    args.argv = argv;
    p->by = "algo";
    p->x = "steps";
    while (rc == RUN_OK) {
        flag = run_args_next(&args, plot_flags, RUN_COUNT(plot_flags), &value);
        if (flag == RUN_ARGS_END) break;
        if (flag == RUN_ARGS_BAD) return RUN_USAGE;
        if (flag == FLAG_HELP) return plot_help(), RUN_OK;
        if (flag == FLAG_VERSION) return printf("diffrl %s\n", DIFFRL_VERSION_STRING), RUN_OK;
        if (flag == RUN_ARGS_WORD && n < RUN_COUNT(paths)) paths[n++] = value;
        else if (flag == FLAG_BY) rc = plot_choice("by", p->by = value, "algo task seed");
        else if (flag == FLAG_X) rc = plot_choice("x", p->x = value, "steps log time");
        else if (flag == FLAG_Y) p->y = value;
        else if (flag == FLAG_OUT) p->out = value;
        else if (flag == FLAG_TITLE) p->title = value;
        else if (flag == FLAG_PNG) p->png = 1;
        else if (flag == FLAG_TERMINAL) p->terminal = 1;
    }
    if (rc) return rc;
    if (!n) fprintf(stderr, "plot: no run; usage: plot RUN... (--help shows all flags)\n");
    else if (p->png && !p->out) fprintf(stderr, "plot: --png goes with --out FILE.svg\n");
    else n = -n;
    if (n >= 0) return RUN_USAGE;
    for (i = 0; i < -n && rc == RUN_OK; i++) rc = plot_read(p, paths[i]);
    if (rc) return rc;
    if (!p->count) return fprintf(stderr, "plot: nothing to draw\n"), RUN_FILE;
    return -1;
}

int main(int argc, char **argv)
{
    static plot p;
    run_term term = run_term_make(1, 0);
    const char *x_label;
    int rc = plot_parse(&p, argc, argv), i, k;
    if (rc < 0) rc = plot_group(&p);
    if (rc == RUN_OK && p.count) {
        plot_short(&p);
        x_label = plot_axes(&p);
        for (i = 0; i < p.panel_count && (p.terminal || !p.out); i++) {
            printf("%11s%s\n", "", p.panels[i].title);
            curve_terminal(stdout, &term, &p.panels[i], x_label, p.y ? p.y : "return");
        }
        plot_tell(&p, x_label);
        if (p.out) rc = plot_write(&p, x_label);
    }
    for (i = 0; i < p.panel_count; i++) {
        for (k = 0; k < p.panels[i].count; k++) free(p.panels[i].curves[k].series.points);
        free(p.panels[i].curves);
    }
    for (i = 0; i < p.count; i++) free(p.runs[i].series.points);
    free(p.panels);
    free(p.runs);
    return rc;
}
