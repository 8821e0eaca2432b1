/* The checkpoints in a run's folder: names, the newest, which ones stay. What is in them:
   drl_trainer_state and train.c.

     runs/TASK__ALGO__SEED__TIME/ckpt-000000012000.safetensors */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Write the name of the checkpoint of a step to name [40]. */
static inline const char *ckpt_name(int64_t step, char *name)
{
    snprintf(name, 40, "ckpt-%012" PRId64 ".safetensors", step);
    return name;
}

/* Return the step of a file of that name, -1: another file. */
static inline int64_t ckpt_step(const char *name)
{
    char again[40];
    int64_t step = -1;
    if (sscanf(name, "ckpt-%" SCNd64, &step) != 1 || step < 0) return -1;
    return strcmp(ckpt_name(step, again), name) ? -1 : step;
}

/* Return the step of the newest checkpoint in a folder that is before step `below`, -1: none. */
static inline int64_t ckpt_newest(const char *dir, int64_t below)
{
    int64_t newest = -1, step;
    struct dirent *entry;
    DIR *d = opendir(dir);
    if (!d) return -1;
    while ((entry = readdir(d)) != NULL) {
        step = ckpt_step(entry->d_name);
        if (step > newest && step < below) newest = step;
    }
    closedir(d);
    return newest;
}

/* Among the folders out/PREFIX<number> with a checkpoint find the one of the highest number; its
   path to dir [n]. Returns 0, or -1 if there is none. */
static inline int ckpt_find_run(const char *out, const char *prefix, char *dir, size_t n)
{
    char path[1024];
    int64_t best = -1, number;
    struct dirent *entry;
    DIR *d = opendir(out);
    if (!d) return -1;
    while ((entry = readdir(d)) != NULL) {
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0) continue;
        if (sscanf(entry->d_name + strlen(prefix), "%" SCNd64, &number) != 1) continue;
        if (number <= best) continue;
        if ((size_t)snprintf(path, sizeof path, "%s/%s", out, entry->d_name) >= sizeof path ||
            strlen(path) >= n || ckpt_newest(path, INT64_MAX) < 0)
            continue;
        best = number;
        snprintf(dir, n, "%s", path);
    }
    closedir(d);
    return best < 0 ? -1 : 0;
}

/* Remove all checkpoints but the newest `keep` and that of the best step. */
static inline void ckpt_prune(const char *dir, int keep, int64_t best)
{
    char path[1200], name[40];
    int64_t step = INT64_MAX;
    while ((step = ckpt_newest(dir, step)) >= 0) {
        if (keep-- > 0 || step == best) continue;
        snprintf(path, sizeof path, "%s/%s", dir, ckpt_name(step, name));
        remove(path);
    }
}

/* Remove what a killed run left half written: NAME.tmp, NAME.tmp.<n>. */
static inline void ckpt_clean(const char *dir)
{
    char path[1500];
    struct dirent *entry;
    DIR *d = opendir(dir);
    while (d && (entry = readdir(d)) != NULL) {
        const char *end = strstr(entry->d_name, ".tmp");
        if (!end || (end[4] && (end[4] != '.' || end[5 + strspn(end + 5, "0123456789")]))) continue;
        if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, entry->d_name) < sizeof path)
            remove(path);
    }
    if (d) closedir(d);
}

/* Call fn for each line of a file. */
static inline void ckpt_lines(const char *path, void (*fn)(void *user, const char *line),
                              void *user)
{
    char line[8192];
    FILE *in = fopen(path, "r");
    while (in && fgets(line, sizeof line, in)) fn(user, line);
    if (in) fclose(in);
}

/* Copy a file of text; what cannot be read is empty. */
static inline void ckpt_copy(const char *from, const char *to)
{
    char line[8192];
    FILE *in = fopen(from, "r"), *out = in ? fopen(to, "w") : NULL;
    while (out && fgets(line, sizeof line, in)) fputs(line, out);
    if (in) fclose(in);
    if (out) fclose(out);
}

#endif /* CHECKPOINT_H */
