/* The files that a run writes as it goes, a row at a time.

     run_log log;
     run_log_open(&log, dir, formats, names, count, -1);     names[0] is that of the steps
     run_log_row(&log, values);                              values [count]; NAN: not there yet
     run_log_close(&log);

   csv          progress.csv    head and rows as Stable-Baselines3 writes them; what is not there is
                                empty
   jsonl        progress.jsonl  an object per row; what is not there is null
   tensorboard  events.out.tfevents.*  an event per row with a scalar per value
   table        standard output, laid out as Stable-Baselines3 does

   The head of progress.csv never changes. A row is one write(), so that a process that is killed
   leaves whole rows and at most one torn one, the last. Files only grow; a run that goes on after
   step N (the last argument) cuts off what stands behind it first. */
#ifndef LOG_H
#define LOG_H

#include "mujoco/run.h"
#include <fcntl.h>

#define LOG_COLUMNS 32

enum { LOG_CSV = 1, LOG_JSONL = 2, LOG_TENSORBOARD = 4, LOG_TABLE = 8 };

typedef struct run_log {
    char names[LOG_COLUMNS][48]; /* "rollout/ep_rew_mean" */
    int count, table;
    int csv, jsonl, events; /* descriptors, -1: none */
    const char *file;       /* the one that could not be written */
    drl_context ctx;        /* of run_number; nothing is in it */
} run_log;

/* A row on its way to a file. */
typedef struct log_text {
    char bytes[8192];
    size_t n;
} log_text;

/* Return the formats in "csv,table"; csv is always among them. -1 after telling what is wrong. */
static inline int run_log_formats(const char *program, const char *text)
{
    static const char *const names[] = {"csv", "jsonl", "tensorboard", "table"};
    char word[32];
    int formats = LOG_CSV, i;
    while (*text) {
        size_t n = strcspn(text, ",");
        snprintf(word, sizeof word, "%.*s", n < sizeof word ? (int)n : (int)sizeof word, text);
        for (i = 0; i < 4 && !run_same(word, names[i]);) i++;
        if (i == 4) return run_unknown(program, "--log format", word, names, 4), -1;
        formats |= 1 << i;
        text += n + (text[n] == ',');
    }
    return formats;
}

/* ------------------------------------------------------------------------------- bytes and text */

static inline void log_put(log_text *t, const void *bytes, size_t n)
{
    if (n > sizeof t->bytes - t->n) n = sizeof t->bytes - t->n;
    memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
}

static inline void log_puts(log_text *t, const char *text)
{
    log_put(t, text, strlen(text));
}

/* Return 0, or -1 with errno set: also if only a part could be written. */
static inline int log_write(int fd, const log_text *t)
{
    ssize_t n;
    do n = write(fd, t->bytes, t->n);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)t->n) return 0;
    if (n >= 0) errno = ENOSPC;
    return -1;
}

/* The number to text [DRL_FIELD_TEXT]: nothing if it is not finite. */
static inline const char *log_number(run_log *l, double v, char *text)
{
    if (fabs(v) < 1e15 && floor(v) == v) snprintf(text, DRL_FIELD_TEXT, "%" PRId64, (int64_t)v);
    else run_number(&l->ctx, v, text);
    return text;
}

static inline void log_line(run_log *l, int json, const double *values, log_text *t)
{
    char text[DRL_FIELD_TEXT];
    int i;
    for (i = 0; i < l->count; i++) {
        log_number(l, values[i], text);
        log_puts(t, i ? "," : json ? "{" : "");
        if (json) log_puts(t, "\""), log_puts(t, l->names[i]), log_puts(t, "\":");
        log_puts(t, json && !*text ? "null" : text);
    }
    log_puts(t, json ? "}\n" : "\n");
}

/* ------------------------------------------------------------------------------------ TensorBoard

   A file is a sequence of records: length, its check, data, its check. The data are an Event of
   tensorflow/core/util/event.proto: 1 wall_time, 2 step, 3 file_version, 5 summary, 7 session_log.
   A Summary has Values (1), each with 1 tag, 2 simple_value. */

/* Append the n lowest bytes, lowest first. */
static inline void log_bytes(log_text *t, uint64_t v, int n)
{
    char b[8];
    int i;
    for (i = 0; i < n; i++, v >>= 8) b[i] = (char)(v & 255);
    log_put(t, b, (size_t)n);
}

static inline void log_varint(log_text *t, uint64_t v)
{
    for (; v > 127; v >>= 7) log_bytes(t, v | 128, 1);
    log_bytes(t, v, 1);
}

/* Append field number `field`: a varint, a double, a float, or bytes. */
static inline void log_field_int(log_text *t, int field, uint64_t v)
{
    log_varint(t, (uint64_t)field << 3);
    log_varint(t, v);
}

static inline void log_field_double(log_text *t, int field, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    log_varint(t, (uint64_t)field << 3 | 1);
    log_bytes(t, bits, 8);
}

static inline void log_field_float(log_text *t, int field, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    log_varint(t, (uint64_t)field << 3 | 5);
    log_bytes(t, bits, 4);
}

static inline void log_field_bytes(log_text *t, int field, const void *bytes, size_t n)
{
    log_varint(t, (uint64_t)field << 3 | 2);
    log_varint(t, n);
    log_put(t, bytes, n);
}

/* CRC-32C (Castagnoli) of the bytes, masked as TensorFlow does. */
static inline uint32_t log_check(const char *bytes, size_t n)
{
    uint32_t c = 0xFFFFFFFFu;
    int k;
    for (; n > 0; n--) {
        c ^= (unsigned char)*bytes++;
        for (k = 0; k < 8; k++) c = c >> 1 ^ (c & 1 ? 0x82F63B78u : 0);
    }
    c = ~c;
    return (c >> 15 | c << 17) + 0xA282EAD8u;
}

/* Write an Event with one field of bytes: 0, or -1 with errno set. */
static inline int log_event(const run_log *l, double step, int field, const void *bytes, size_t n)
{
    log_text event, record;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    event.n = record.n = 0;
    log_field_double(&event, 1, (double)now.tv_sec + 1e-9 * (double)now.tv_nsec);
    if (step > 0) log_field_int(&event, 2, (uint64_t)step);
    log_field_bytes(&event, field, bytes, n);
    log_bytes(&record, event.n, 8);
    log_bytes(&record, log_check(record.bytes, 8), 4);
    log_put(&record, event.bytes, event.n);
    log_bytes(&record, log_check(event.bytes, event.n), 4);
    return log_write(l->events, &record);
}

/* All values that are there but the steps, which each event has. */
static inline int log_scalars(const run_log *l, const double *values)
{
    log_text all, one;
    int i;
    all.n = 0;
    for (i = 1; i < l->count; i++) {
        if (!(fabs(values[i]) < 3e38)) continue;
        one.n = 0;
        log_field_bytes(&one, 1, l->names[i], strlen(l->names[i]));
        log_field_float(&one, 2, (float)values[i]);
        log_field_bytes(&all, 1, one.bytes, one.n);
    }
    return log_event(l, values[0], 5, all.bytes, all.n);
}

/* A file of its own for each process. After step `keep` (-1: none) it tells TensorBoard to forget
   what earlier files of the folder have of later steps. */
static inline int log_open_events(run_log *l, const char *dir, double keep)
{
    static const char version[] = "brain.Event:2", start[] = {8, 1}; /* SessionLog: status START */
    char path[1200], host[64] = "localhost", name[160];
    gethostname(host, sizeof host - 1);
    snprintf(name, sizeof name, "events.out.tfevents.%010" PRId64 ".%s.%ld.0", (int64_t)time(NULL),
             host, (long)getpid());
    errno = ENAMETOOLONG;
    if (run_path(path, sizeof path, dir, name)) return -1;
    l->events = open(path, O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (l->events < 0 || log_event(l, 0, 3, version, sizeof version - 1)) return -1;
    return keep >= 0 ? log_event(l, keep + 1, 7, start, sizeof start) : 0;
}

/* ---------------------------------------------------------------------------------------- table */

static inline int log_order(const void *a, const void *b)
{
    return strcmp((const char *)a, (const char *)b);
}

/* The values that are there, by the order of their names, in groups by what stands before the /. */
static inline void log_table(run_log *l, const double *values)
{
    char lines[2 * LOG_COLUMNS][64], key[64], text[DRL_FIELD_TEXT];
    int i, k, n = 0, wide = 0, wide_value = 0;
    const char *rule = "--------------------------------------------------------------------------";
    for (i = 0; i < l->count; i++) { /* "key\tvalue" */
        if (!(fabs(values[i]) < 1e300)) continue;
        if (floor(values[i]) == values[i] && fabs(values[i]) < 1e15)
            snprintf(text, sizeof text, "%" PRId64, (int64_t)values[i]);
        else snprintf(text, sizeof text, "%.3g", values[i]);
        snprintf(lines[n++], sizeof lines[0], "%s\t%.12s", l->names[i], text);
        snprintf(key, sizeof key, "%.*s/\t", (int)strcspn(l->names[i], "/"), l->names[i]);
        for (k = 0; k < n && strcmp(lines[k], key) != 0;) k++;
        if (k == n) memcpy(lines[n++], key, sizeof key);
    }
    qsort(lines, (size_t)n, sizeof lines[0], log_order);
    for (i = 0; i < n; i++) { /* a name below its group stands three to the right */
        int tab = (int)strcspn(lines[i], "\t"), slash = (int)strcspn(lines[i], "/");
        int length = slash + 1 < tab ? 3 + tab - slash - 1 : tab;
        if (length > wide) wide = length;
        if ((int)strlen(lines[i] + tab + 1) > wide_value)
            wide_value = (int)strlen(lines[i] + tab + 1);
    }
    printf("%.*s\n", wide + wide_value + 7, rule);
    for (i = 0; i < n; i++) {
        int tab = (int)strcspn(lines[i], "\t"), slash = (int)strcspn(lines[i], "/");
        if (slash + 1 < tab)
            snprintf(key, sizeof key, "   %.*s", tab - slash - 1, lines[i] + slash + 1);
        else snprintf(key, sizeof key, "%.*s", tab, lines[i]);
        printf("| %-*s | %-*s |\n", wide, key, wide_value, lines[i] + tab + 1);
    }
    printf("%.*s\n", wide + wide_value + 7, rule);
    fflush(stdout);
}

/* ----------------------------------------------------------------------------------------- rows */

/* Cut the file off after its last whole line whose first number is at most keep. Lines without a
   number stay. Returns 0, or -1 with errno set. */
static inline int log_cut(const char *path, double keep)
{
    char line[8192];
    long good = 0;
    FILE *f = fopen(path, "r");
    if (!f) return errno == ENOENT ? 0 : -1;
    while (fgets(line, sizeof line, f) && strchr(line, '\n')) {
        const char *digit = line + strcspn(line, "0123456789\n");
        if (*digit != '\n' && strtod(digit, NULL) > keep) break;
        good = ftell(f);
    }
    fclose(f);
    return truncate(path, (off_t)good);
}

/* Return the descriptor of dir/name to append to, empty unless rows up to step keep (-1: none) are
   to stay; -1 with errno set. */
static inline int log_open_file(run_log *l, const char *dir, const char *name, double keep)
{
    char path[1200];
    l->file = name;
    errno = ENAMETOOLONG;
    if (run_path(path, sizeof path, dir, name) || (keep >= 0 && log_cut(path, keep))) return -1;
    return open(path, O_WRONLY | O_CREAT | O_APPEND | (keep < 0 ? O_TRUNC : 0), 0666);
}

/* Start the files in the folder dir, which is there, or go on after step keep (-1: start anew).
   names[0] is that of the steps. Returns 0, or -1 with errno and l->file set; to be closed in any
   case. */
static inline int run_log_open(run_log *l, const char *dir, int formats, const char *const *names,
                               int count, double keep)
{
    log_text head;
    int i;
    memset(l, 0, sizeof *l);
    l->csv = l->jsonl = l->events = -1;
    l->table = formats & LOG_TABLE;
    head.n = 0;
    for (i = 0; i < count && i < LOG_COLUMNS; i++) {
        snprintf(l->names[i], sizeof l->names[i], "%s", names[i]);
        log_puts(&head, i ? "," : "");
        log_puts(&head, l->names[i]);
    }
    l->count = i;
    log_puts(&head, "\n");
    l->csv = log_open_file(l, dir, "progress.csv", keep);
    if (l->csv < 0 || (lseek(l->csv, 0, SEEK_END) == 0 && log_write(l->csv, &head))) return -1;
    if (formats & LOG_JSONL && (l->jsonl = log_open_file(l, dir, "progress.jsonl", keep)) < 0)
        return -1;
    l->file = "events.out.tfevents";
    return formats & LOG_TENSORBOARD ? log_open_events(l, dir, keep) : 0;
}

/* Write a row. Returns 0, or -1 with errno and l->file set. */
static inline int run_log_row(run_log *l, const double *values)
{
    log_text line;
    l->file = "progress.csv";
    line.n = 0;
    log_line(l, 0, values, &line);
    if (log_write(l->csv, &line)) return -1;
    l->file = "progress.jsonl";
    line.n = 0;
    log_line(l, 1, values, &line);
    if (l->jsonl >= 0 && log_write(l->jsonl, &line)) return -1;
    l->file = "events.out.tfevents";
    if (l->events >= 0 && log_scalars(l, values)) return -1;
    if (l->table) log_table(l, values);
    return 0;
}

static inline void run_log_close(run_log *l)
{
    if (l->csv > 0) close(l->csv);
    if (l->jsonl > 0) close(l->jsonl);
    if (l->events > 0) close(l->events);
    l->csv = l->jsonl = l->events = -1;
}

#endif /* LOG_H */
