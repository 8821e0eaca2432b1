/* train --seeds N --jobs M: one run per seed, M of them side by side as processes of their own, and
   what they say together.

   The runs go to a folder OUT/TASK__ALGO__FIRST-LAST__TIME/, with
     seeds.csv   a row per seed: last evaluation, best one, exit status
     curve.svg   mean and deviation over the seeds, and each of them
   Ctrl-C stops every run at its next step, each saves; a second one quits at once. */
#ifndef SEEDS_H
#define SEEDS_H

#include "mujoco/curve.h"
#include "mujoco/stats.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#define SEEDS_MAX 1000

typedef struct seeds_run {
    pid_t pid; /* 0: has not begun, or has ended */
    int code;  /* exit status, -1: has not ended */
    curve_series series;
    double last, std, best;
} seeds_run;

typedef struct seeds {
    char dir[900], name[160], title[160], threads[16];
    uint64_t first;
    int count, jobs, quiet, begun, running, ended;
    double start, total;      /* time; steps of a run */
    const char *y;            /* what is compared */
    char **argv;              /* of this program */
    int argc;
    seeds_run runs[SEEDS_MAX];
} seeds;

static volatile sig_atomic_t seeds_signals, seeds_passed;

static void seeds_on_signal(int number)
{
    (void)number;
    seeds_signals++;
}

/* Begin the next run: this program with the same flags and some more. Only errors are shown. */
static inline int seeds_begin(seeds *s)
{
    seeds_run *run = &s->runs[s->begun];
    char *argv[1024], seed[32];
    const char *more[] = {"--seeds", "1", "--seed", NULL, "--out", s->dir, "--threads", s->threads,
                          "--quiet"};
    int i, n = 0, null;
    snprintf(seed, sizeof seed, "%" PRIu64, s->first + (uint64_t)s->begun++);
    more[3] = seed;
    for (i = 0; i < s->argc && n < 1000; i++) argv[n++] = s->argv[i];
    for (i = 0; i < RUN_COUNT(more); i++) {
        memcpy(&argv[n], &more[i], sizeof *argv); /* execv takes no const */
        n++;
    }
    argv[n] = NULL;
    run->code = -1;
    run->pid = fork();
    if (run->pid == 0) {
        setpgid(0, 0); /* signals come from the parent alone */
#ifdef __linux__
        prctl(PR_SET_PDEATHSIG, SIGHUP); /* also if it dies without a word */
#endif
        null = open("/dev/null", O_RDWR);
        if (null >= 0) dup2(null, 0), dup2(null, 1);
        if (access("/proc/self/exe", X_OK) == 0) execv("/proc/self/exe", argv);
        execvp(argv[0], argv);
        _exit(127);
    }
    if (run->pid < 0) {
        fprintf(stderr, "train: cannot begin a process: %s\n", strerror(errno));
        run->pid = 0;
        return RUN_FAILED;
    }
    s->running++;
    return RUN_OK;
}

/* Pass on what signals came, once each. */
static inline void seeds_pass(seeds *s)
{
    int i;
    if (seeds_passed == seeds_signals) return;
    seeds_passed = seeds_signals;
    if (seeds_passed == 1)
        fprintf(stderr, "\nstopping after this step (once more to quit at once)\n");
    for (i = 0; i < s->begun; i++)
        if (s->runs[i].pid > 0) kill(s->runs[i].pid, SIGTERM);
}

/* Read the progress of run i, if it has any. */
static inline void seeds_read(seeds *s, int i, const char *y, curve_series *series)
{
    char path[1300], error[1400], mark[48];
    curve_table table;
    struct dirent *entry;
    DIR *dir = opendir(s->dir);
    series->count = 0;
    snprintf(mark, sizeof mark, "__%" PRIu64 "__", s->first + (uint64_t)i);
    while (dir && (entry = readdir(dir))) {
        if (!strstr(entry->d_name, mark)) continue;
        snprintf(path, sizeof path, "%s/%.256s/progress.csv", s->dir, entry->d_name);
        if (!curve_table_read(&table, path, error, sizeof error))
            curve_table_series(&table, "time/total_timesteps", y, series);
        curve_table_free(&table);
    }
    if (dir) closedir(dir);
}

/* One line: how far each run is. */
static inline void seeds_progress(seeds *s, run_term *term)
{
    char piece[64], time_text[32];
    double now = run_now();
    curve_series series;
    run_line line;
    int i;
    if (s->quiet || now - term->last < (term->tty ? 1 : 15)) return;
    term->last = now;
    memset(&series, 0, sizeof series);
    memset(&line, 0, sizeof line);
    line.width = term->tty ? run_columns(2) - 1 : 78;
    snprintf(piece, sizeof piece, "%d of %d done  %s ", s->ended, s->count,
             run_duration(now - s->start, time_text));
    run_line_add(&line, piece, 0);
    for (i = 0; i < s->begun; i++) {
        if (s->runs[i].pid <= 0) continue;
        seeds_read(s, i, "time/fps", &series);
        snprintf(piece, sizeof piece, " seed %" PRIu64 ": %d%%", s->first + (uint64_t)i,
                 series.count ? (int)(100 * series.points[series.count - 1].x / s->total) : 0);
        run_line_add(&line, piece, 0);
    }
    free(series.points);
    fprintf(stderr, term->tty ? "\r%s\033[K" : "%s\n", line.text);
    term->open = term->tty;
}

/* A run has ended: tell how. */
static inline void seeds_end(seeds *s, run_term *term, int i, int status)
{
    seeds_run *run = &s->runs[i];
    char mean[32], std[32];
    int k;
    run->pid = 0;
    run->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    s->running--;
    s->ended++;
    seeds_read(s, i, s->y, &run->series);
    run->last = run->std = run->best = NAN;
    for (k = 0; k < run->series.count; k++) {
        run->last = run->series.points[k].mean;
        run->std = run->series.points[k].std;
        if (!(run->best >= run->last)) run->best = run->last;
    }
    if (s->quiet) return;
    run_term_clear(term);
    fprintf(stderr, "seed %-4" PRIu64 " ", s->first + (uint64_t)i);
    if (run->series.count)
        fprintf(stderr, " return %s +- %s", run_short(run->last, mean), run_short(run->std, std));
    fprintf(stderr, run->code ? "  exit status %d\n" : "\n", run->code);
}

/* Run them all. Returns the exit code: the first that is not 0. */
static inline int seeds_loop(seeds *s)
{
    run_term term = run_term_make(2, s->quiet);
    const struct timespec pause = {0, 50000000};
    int rc = RUN_OK, status, i;
    while (s->running || (s->begun < s->count && !seeds_signals)) {
        while (s->running < s->jobs && s->begun < s->count && !seeds_signals)
            if (seeds_begin(s)) return RUN_FAILED;
        seeds_pass(s);
        for (i = 0; i < s->begun; i++) {
            if (s->runs[i].pid <= 0 || waitpid(s->runs[i].pid, &status, WNOHANG) <= 0) continue;
            seeds_end(s, &term, i, status);
            if (rc == RUN_OK) rc = s->runs[i].code;
        }
        seeds_progress(s, &term);
        nanosleep(&pause, NULL);
    }
    run_term_clear(&term);
    return seeds_signals ? RUN_STOPPED : rc;
}

static inline int seeds_write_csv(const seeds *s)
{
    char text[DRL_FIELD_TEXT];
    run_file file;
    drl_context ctx;
    int i;
    memset(&ctx, 0, sizeof ctx);
    if (run_file_open(&file, s->dir, "seeds.csv")) return -1;
    fprintf(file.f, "seed,steps,return,std,best,exit_status\n");
    for (i = 0; i < s->begun; i++) {
        const seeds_run *run = &s->runs[i];
        int n = run->series.count;
        fprintf(file.f, "%" PRIu64 ",", s->first + (uint64_t)i);
        if (n) fprintf(file.f, "%s", run_number(&ctx, run->series.points[n - 1].x, text));
        fprintf(file.f, ",%s", run_number(&ctx, run->last, text));
        fprintf(file.f, ",%s", run_number(&ctx, run->std, text));
        fprintf(file.f, ",%s,%d\n", run_number(&ctx, run->best, text), run->code);
    }
    return run_file_close(&file);
}

/* Mean over the seeds in front, each seed behind it in gray. */
static inline int seeds_draw(const seeds *s, curve *curves, int n)
{
    run_term term = run_term_make(1, s->quiet);
    curve_panel panel;
    curve_figure figure;
    int rc;
    memset(&panel, 0, sizeof panel);
    memset(&figure, 0, sizeof figure);
    panel.curves = curves;
    panel.count = n + 1;
    panel.last = s->total;
    figure.title = s->title;
    figure.x_label = "environment steps", figure.y_label = "return per episode";
    figure.panels = &panel, figure.count = 1;
    rc = curve_svg_write(s->dir, "curve.svg", &figure);
    panel.count = 1;
    if (!s->quiet && curves[0].series.count)
        curve_terminal(stdout, &term, &panel, figure.x_label, "mean return of the seeds");
    return rc;
}

/* What the seeds say together. Returns an exit code. */
static inline int seeds_tell(seeds *s)
{
    static curve curves[SEEDS_MAX + 1];
    static curve_series series[SEEDS_MAX];
    double last[SEEDS_MAX];
    stats all;
    int i, n = 0, rc;
    for (i = 0; i < s->begun; i++) {
        if (!s->runs[i].series.count) continue;
        last[n] = s->runs[i].last;
        series[n] = s->runs[i].series;
        curves[++n].series = s->runs[i].series;
        curves[n].color = -1;
        snprintf(curves[n].label, sizeof curves[n].label, "each seed");
    }
    rc = seeds_write_csv(s);
    if (n) {
        curve_mean(&curves[0].series, series, n);
        curves[0].band = 1;
        snprintf(curves[0].label, sizeof curves[0].label, "mean and standard deviation over seeds");
        if (rc == 0) rc = seeds_draw(s, curves, n);
        all = stats_of(last, n);
        printf("return  %.2f +- %.2f over %d seeds  min %.2f  max %.2f\n", all.mean, all.std, n,
               all.min, all.max);
        printf("IQM     %.2f  95 %% intervals: mean [%.2f, %.2f]  IQM [%.2f, %.2f]\n", all.iqm,
               all.low, all.high, all.iqm_low, all.iqm_high);
    }
    if (n < s->count) printf("warn    %d of %d seeds have no return\n", s->count - n, s->count);
    printf("files   %s/\n", s->dir);
    free(curves[0].series.points);
    for (i = 0; i < s->begun; i++) free(s->runs[i].series.points);
    if (rc) fprintf(stderr, "train: cannot write in %s: %s\n", s->dir, strerror(errno));
    return rc ? RUN_FILE : RUN_OK;
}

/* Make the folder, run the seeds, tell. s has name, title, threads, first, count, jobs, quiet, total,
   y, argc and argv. Returns an exit code. */
static inline int seeds_train(seeds *s, const char *out)
{
    struct sigaction action;
    int64_t when = (int64_t)time(NULL);
    int rc, n;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = seeds_on_signal;
    if (run_mkdirs(out)) {
        fprintf(stderr, "train: cannot make folder %s: %s\n", out, strerror(errno));
        return RUN_FILE;
    }
    do {
        n = snprintf(s->dir, sizeof s->dir, "%s/%s__%" PRIu64 "-%" PRIu64 "__%" PRId64, out,
                     s->name, s->first, s->first + (uint64_t)s->count - 1, when++);
        errno = ENAMETOOLONG;
    } while (n < (int)sizeof s->dir && (n = mkdir(s->dir, 0777)) && errno == EEXIST);
    if (n) {
        fprintf(stderr, "train: cannot make folder %.200s: %s\n", s->dir, strerror(errno));
        return RUN_FILE;
    }
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    s->start = run_now();
    rc = seeds_loop(s);
    n = seeds_tell(s);
    return rc ? rc : n;
}

#endif /* SEEDS_H */
