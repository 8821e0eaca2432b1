/* Records what happens in an environment: transitions in the order of time, written to .npz with
   the keys that offline data sets have.

     recorder r;
     drl_env env = recorder_wrap(&r, &inner);  use env instead of inner
     recorder_write(&r, "data.npz", error, sizeof error);
     recorder_free(&r);                         inner stays

   Keys     observations, actions (in the task's units), rewards, next_observations: float32;
            terminals, timeouts: bool. A row is a timeout if it reaches the time limit (also if the
            task ends with it), if the task cuts it off, and where the recording ends. */
#ifndef RECORDER_H
#define RECORDER_H
#include "diffrl.h"
#include "mujoco/npz.h"
#include <stdlib.h>
#include <string.h>

typedef struct recorder {
    drl_env inner;
    float *rows;    /* [capacity, width] observation, action, next observation, reward, terminal,
                       timeout */
    float *obs;     /* before the next step */
    int64_t count, capacity;
    int width, length; /* of a row; of the running episode */
    int full;          /* memory was short: the rest is not recorded */
} recorder;

static inline float *recorder_row(const recorder *r, int64_t i)
{
    return r->rows + i * r->width;
}

/* The last row does not go on. */
static inline void recorder_cut(recorder *r)
{
    float *end = r->count ? recorder_row(r, r->count) - 2 : NULL;
    if (end && !end[0]) end[1] = 1;
}

static inline int recorder_reset(void *user, uint64_t seed, float *obs)
{
    recorder *r = (recorder *)user;
    int code = r->inner.reset_fn(r->inner.user, seed, obs);
    recorder_cut(r);
    r->length = 0;
    memcpy(r->obs, obs, (size_t)r->inner.obs_dim * sizeof(float));
    return code;
}

/* Make room for n rows more. */
static inline int recorder_grow(recorder *r, int64_t n)
{
    int64_t capacity = r->capacity ? r->capacity : 4096;
    float *rows;
    while (capacity < r->count + n) capacity *= 2;
    if (capacity == r->capacity) return 0;
    rows = (float *)realloc(r->rows, (size_t)(capacity * r->width) * sizeof *rows);
    if (!rows) return r->full = 1, -1;
    r->rows = rows;
    r->capacity = capacity;
    return 0;
}

static inline int recorder_step(void *user, const float *action, float *obs, float *reward,
                                int *flags)
{
    recorder *r = (recorder *)user;
    size_t S = (size_t)r->inner.obs_dim, A = (size_t)r->inner.act_dim;
    int code = r->inner.step_fn(r->inner.user, action, obs, reward, flags), over;
    float *row;
    if (code || r->full || recorder_grow(r, 1)) return code;
    over = ++r->length == r->inner.time_limit;
    row = recorder_row(r, r->count++);
    memcpy(row, r->obs, S * sizeof(float));
    memcpy(row + S, action, A * sizeof(float));
    memcpy(row + S + A, obs, S * sizeof(float));
    row[2 * S + A] = *reward;
    row[2 * S + A + 1] = !over && *flags & DRL_ENV_TERMINATED;
    row[2 * S + A + 2] = over || *flags == DRL_ENV_TRUNCATED;
    memcpy(r->obs, obs, S * sizeof(float));
    return 0;
}

static inline size_t recorder_state_size(const void *user)
{
    const recorder *r = (const recorder *)user;
    return r->inner.state_size_fn(r->inner.user);
}

static inline int recorder_save(const void *user, void *state, size_t size)
{
    const recorder *r = (const recorder *)user;
    return r->inner.save_fn(r->inner.user, state, size);
}

/* Return an environment that is `inner` and writes down its steps. Both are borrowed. It saves as
   `inner` does, but does not load. */
static inline drl_env recorder_wrap(recorder *r, const drl_env *inner)
{
    drl_env env = *inner;
    memset(r, 0, sizeof *r);
    r->inner = *inner;
    r->width = 2 * inner->obs_dim + inner->act_dim + 3;
    r->obs = (float *)calloc((size_t)inner->obs_dim, sizeof(float));
    r->full = !r->obs;
    env.user = r;
    env.reset_fn = recorder_reset;
    env.step_fn = recorder_step;
    env.render_fn = NULL;
    if (env.save_fn) {
        env.state_size_fn = recorder_state_size;
        env.save_fn = recorder_save;
    }
    env.load_fn = NULL;
    env.free_fn = NULL;
    return env;
}

/* Append the rows of another recorder of the same task, which has none then. */
static inline int recorder_append(recorder *r, recorder *other)
{
    recorder_cut(r);
    recorder_cut(other);
    if (other->full || recorder_grow(r, other->count)) return r->full = 1, -1;
    memcpy(recorder_row(r, r->count), other->rows,
           (size_t)(other->count * r->width) * sizeof(float));
    r->count += other->count;
    other->count = 0;
    return 0;
}

/* Write all rows. Returns 0, or -1 with the fault in error. */
static inline int recorder_write(recorder *r, const char *path, char *error, size_t size)
{
    int64_t S = r->inner.obs_dim, A = r->inner.act_dim, N = r->count, w = r->width;
    const float *x = r->rows;
    npz_array all[6];
    int i;
    if (r->full || !N) {
        snprintf(error, size, r->full ? "no memory for %s" : "nothing to write to %s", path);
        return -1;
    }
    recorder_cut(r);
    for (i = 0; i < 6; i++) {
        static const char *const names[] = {"observations", "actions", "next_observations",
                                            "rewards", "terminals", "timeouts"};
        all[i].name = names[i];
        all[i].kind = i < 4 ? "<f4" : "|b1";
        all[i].x = x;
        all[i].rows = N;
        all[i].cols = i > 2 ? 0 : i == 1 ? A : S;
        all[i].stride = w;
        x += i > 2 ? 1 : all[i].cols;
    }
    return npz_write(path, all, 6, error, size);
}

static inline void recorder_free(recorder *r)
{
    free(r->rows);
    free(r->obs);
    memset(r, 0, sizeof *r);
}

#endif
