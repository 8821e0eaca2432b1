/* Replay: ring order, n-step sums over several environments, uniform sampling, memory, state.
   Norm: running statistics against two passes. */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"

/* A transition is known by one number: obs = {id, -id}, act = {id / 2}, next_obs = {id + .25, 0},
   reward = id. */
static void push(drl_replay *r, int id, int flags)
{
    float obs[2], act[1], next[2] = {0, 0};
    obs[0] = (float)id;
    obs[1] = -(float)id;
    act[0] = (float)id / 2;
    next[0] = (float)id + .25f;
    drl_replay_push(r, obs, act, (float)id, next, flags);
}

static void make(drl_replay *r, drl_context *ctx, int64_t capacity, int envs, int n_step)
{
    drl_replay_config c = drl_replay_config_default(2, 1);
    CHECK(drl_context_init(ctx, NULL) == DRL_OK);
    c.capacity = capacity;
    c.envs = envs;
    c.n_step = n_step;
    c.gamma = .5f;
    CHECK(drl_replay_init(r, ctx, &c) == DRL_OK);
}

static void drop(drl_replay *r, drl_context *ctx)
{
    drl_replay_free(r);
    drl_replay_free(r);
    drl_context_free(ctx);
}

enum { ROWS = 2000 };

typedef struct sample {
    drl_batch b;
    float obs[2 * ROWS], act[ROWS], next[2 * ROWS], reward[ROWS], discount[ROWS];
} sample;
static sample s;

static void draw(drl_replay *r, int rows)
{
    static drl_rng rng;
    if (rng.stream == 0) rng = drl_rng_make(1, "replay test");
    s.b.rows = rows;
    s.b.obs = s.obs;
    s.b.act = s.act;
    s.b.next_obs = s.next;
    s.b.reward = s.reward;
    s.b.discount = s.discount;
    CHECK(drl_replay_sample(r, &rng, &s.b) == DRL_OK);
}

/* Row of transition id in the last draw; all its parts must belong together. */
static int row_of(int id)
{
    int b;
    for (b = 0; b < s.b.rows; b++)
        if (s.obs[2 * b] == (float)id) {
            CHECK(s.obs[2 * b + 1] == -(float)id && s.act[b] == (float)id / 2);
            return b;
        }
    return -1;
}

/* The n-step row of transition id: reward, discount and the transition whose next_obs it has. */
static void expect(int id, double reward, double discount, int last)
{
    int b = row_of(id);
    CHECK(b >= 0);
    if (b < 0) return;
    if (s.reward[b] != (float)reward || s.discount[b] != (float)discount ||
        s.next[2 * b] != (float)last + .25f)
        printf("  transition %d: reward %g, discount %g, next %g; expected %g, %g, %g\n", id,
               (double)s.reward[b], (double)s.discount[b], (double)s.next[2 * b], reward, discount,
               last + .25), test_faults++;
}

TEST(ring_keeps_the_newest)
{
    drl_context ctx;
    drl_replay r;
    int i;
    make(&r, &ctx, 5, 1, 1);
    for (i = 1; i <= 3; i++) push(&r, i, 0);
    CHECK(r.size == 3 && r.head == 3);
    draw(&r, ROWS);
    CHECK(row_of(1) >= 0 && row_of(2) >= 0 && row_of(3) >= 0 && row_of(0) < 0);
    for (i = 4; i <= 13; i++) push(&r, i, 0);
    CHECK(r.size == 5 && r.head == 13 % 5);
    draw(&r, ROWS);
    for (i = 1; i <= 8; i++) CHECK(row_of(i) < 0);
    for (i = 9; i <= 13; i++) expect(i, i, .5, i);
    /* oldest at head, newest before it */
    CHECK(r.reward[r.head] == 9 && r.reward[(r.head + 4) % 5] == 13);
    drop(&r, &ctx);
}

/* terminated: value 0 afterwards; truncated: the value goes on */
TEST(flags)
{
    drl_context ctx;
    drl_replay r;
    make(&r, &ctx, 10, 1, 1);
    push(&r, 1, 0);
    push(&r, 2, DRL_ENV_TRUNCATED);
    push(&r, 3, DRL_ENV_TERMINATED);
    push(&r, 4, DRL_ENV_TERMINATED | DRL_ENV_TRUNCATED);
    CHECK(r.flags[0] == 0 && r.flags[1] == DRL_ENV_TRUNCATED && r.flags[2] == DRL_ENV_TERMINATED);
    draw(&r, ROWS);
    expect(1, 1, .5, 1);
    expect(2, 2, .5, 2);
    expect(3, 3, 0, 3);
    expect(4, 4, 0, 4);
    drop(&r, &ctx);
}

TEST(n_step)
{
    drl_context ctx;
    drl_replay r;
    int i;
    make(&r, &ctx, 8, 1, 3);
    for (i = 1; i <= 3; i++) push(&r, i, 0);
    push(&r, 4, DRL_ENV_TERMINATED);
    push(&r, 5, 0);
    push(&r, 6, DRL_ENV_TRUNCATED);
    push(&r, 7, 0);
    draw(&r, ROWS);
    expect(1, 1 + 2 * .5 + 3 * .25, .125, 3);
    expect(2, 2 + 3 * .5 + 4 * .25, 0, 4);  /* reaches the termination */
    expect(3, 3 + 4 * .5, 0, 4);
    expect(4, 4, 0, 4);
    expect(5, 5 + 6 * .5, .25, 6);          /* stops at the truncation, which is bootstrapped */
    expect(6, 6, .5, 6);
    expect(7, 7, .5, 7);                    /* nothing follows yet */
    push(&r, 8, 0);
    push(&r, 9, 0);
    push(&r, 10, 0); /* the ring has turned: 1 and 2 are gone, 9 and 10 stand before 3 */
    draw(&r, ROWS);
    CHECK(row_of(1) < 0 && row_of(2) < 0);
    expect(3, 3 + 4 * .5, 0, 4);
    expect(7, 7 + 8 * .5 + 9 * .25, .125, 9);
    expect(8, 8 + 9 * .5 + 10 * .25, .125, 10); /* across the end of the arrays */
    expect(9, 9 + 10 * .5, .25, 10);
    expect(10, 10, .5, 10);                     /* not on to 3, the oldest */
    drop(&r, &ctx);
}

/* three environments in turn; transition 10 t + e is step t of environment e. The capacity is no
   multiple of 3, so that places wander. */
TEST(n_step_of_several_environments)
{
    drl_context ctx;
    drl_replay r;
    int t, e;
    make(&r, &ctx, 14, 3, 3);
    for (t = 1; t <= 7; t++)
        for (e = 0; e < 3; e++) push(&r, 10 * t + e, t == 6 && e == 1 ? DRL_ENV_TRUNCATED : 0);
    draw(&r, ROWS);
    CHECK(row_of(30) < 0); /* 21 pushed, the last 14 are 31 .. 72 */
    expect(31, 31 + 41 * .5 + 51 * .25, .125, 51);
    expect(32, 32 + 42 * .5 + 52 * .25, .125, 52);
    expect(40, 40 + 50 * .5 + 60 * .25, .125, 60);
    expect(51, 51 + 61 * .5, .25, 61);
    expect(50, 50 + 60 * .5 + 70 * .25, .125, 70);
    expect(61, 61, .5, 61);
    expect(62, 62 + 72 * .5, .25, 72);
    expect(70, 70, .5, 70);
    expect(71, 71, .5, 71);
    expect(72, 72, .5, 72);
    drop(&r, &ctx);
}

/* A skipped turn neither shifts the other environments nor joins two episodes. */
TEST(skip)
{
    drl_context ctx;
    drl_replay r;
    int t, e;
    make(&r, &ctx, 100, 2, 3);
    for (t = 1; t <= 5; t++)
        for (e = 0; e < 2; e++) {
            if (t == 3 && e == 0) drl_replay_skip(&r);
            else push(&r, 10 * t + e, 0);
        }
    CHECK(r.size == 9);
    draw(&r, ROWS);
    expect(10, 10 + 20 * .5, .25, 20); /* its step 3 failed: ends with 20 */
    expect(20, 20, .5, 20);
    expect(40, 40 + 50 * .5, .25, 50);
    expect(11, 11 + 21 * .5 + 31 * .25, .125, 31); /* the other does not notice */
    expect(21, 21 + 31 * .5 + 41 * .25, .125, 41);
    expect(31, 31 + 41 * .5 + 51 * .25, .125, 51);
    drop(&r, &ctx);
}

/* Against a plain model: histories of all environments, random flags and skips, a small ring. */
TEST(n_step_against_a_model)
{
    enum { ENVS = 5, CAPACITY = 37, STEPS = 60 };
    static struct {
        int id, flags, cut; /* cut: nothing follows on it */
    } history[ENVS][STEPS];
    int count[ENVS] = {0}, t, e, k, id = 0, oldest, wrong = 0;
    drl_context ctx;
    drl_replay r;
    drl_rng rng = drl_rng_make(3, "model");
    make(&r, &ctx, CAPACITY, ENVS, 4);
    for (t = 0; t < STEPS; t++)
        for (e = 0; e < ENVS; e++) {
            uint32_t dice = drl_rng_integer(&rng, 10);
            if (dice == 0) {
                drl_replay_skip(&r);
                if (count[e]) history[e][count[e] - 1].cut = 1;
                continue;
            }
            k = count[e]++;
            history[e][k].id = ++id;
            history[e][k].flags = dice <= 2 ? (int)dice : 0;
            push(&r, id, history[e][k].flags);
        }
    oldest = id - CAPACITY + 1;
    draw(&r, ROWS);
    for (e = 0; e < ENVS; e++)
        for (t = 0; t < count[e]; t++) {
            double sum = 0, g = 1;
            int b = row_of(history[e][t].id);
            if (history[e][t].id < oldest) {
                wrong += b >= 0;
                continue;
            }
            for (k = t;; k++) {
                sum += g * history[e][k].id;
                g *= .5;
                if (k == t + 3 || history[e][k].flags || history[e][k].cut) break;
                if (k + 1 == count[e]) break;
            }
            if (history[e][k].flags & DRL_ENV_TERMINATED) g = 0;
            wrong += b < 0 || s.reward[b] != (float)sum || s.discount[b] != (float)g ||
                     s.next[2 * b] != (float)history[e][k].id + .25f;
        }
    CHECK(wrong == 0);
    drop(&r, &ctx);
}

/* Chi-square of 50 bins over 100,000 draws: 49 degrees of freedom, beyond 85 with p = 0.001; below
   22 with p = 0.0005. */
TEST(sampling_is_uniform)
{
    drl_context ctx;
    drl_replay r;
    int count[50] = {0}, i, b;
    double chi = 0;
    make(&r, &ctx, 50, 1, 1);
    for (i = 0; i < 73; i++) push(&r, i, 0);
    for (i = 0; i < 50; i++) {
        draw(&r, ROWS);
        for (b = 0; b < ROWS; b++) count[(int)s.obs[2 * b] - 23]++;
    }
    for (i = 0; i < 50; i++) chi += (count[i] - 2000.0) * (count[i] - 2000.0) / 2000.0;
    CHECK(chi > 22 && chi < 85);
    drop(&r, &ctx);
}

TEST(sampling_repeats)
{
    drl_context ctx;
    drl_replay r;
    drl_rng a = drl_rng_make(5, "same"), b = a;
    float first[64];
    int i;
    make(&r, &ctx, 50, 1, 1);
    for (i = 0; i < 50; i++) push(&r, i, 0);
    draw(&r, 64);
    CHECK(drl_replay_sample(&r, &a, &s.b) == DRL_OK);
    memcpy(first, s.reward, sizeof(first));
    CHECK(drl_replay_sample(&r, &b, &s.b) == DRL_OK);
    CHECK(memcmp(first, s.reward, sizeof(first)) == 0 && a.position == b.position);
    drop(&r, &ctx);
}

TEST(errors)
{
    drl_context ctx;
    drl_replay r;
    drl_rng rng = drl_rng_make(1, "x");
    drl_replay_config c = drl_replay_config_default(3, 2);
    size_t before;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    before = ctx.bytes;
    c.capacity = 0;
    CHECK(drl_replay_init(&r, &ctx, &c) == DRL_ERR_RANGE);
    CHECK_TEXT(drl_context_error(&ctx), "capacity 0");
    c.capacity = (int64_t)1 << 31;
    CHECK(drl_replay_init(&r, &ctx, &c) == DRL_ERR_RANGE);
    c.capacity = 3;
    c.envs = 4;
    CHECK(drl_replay_init(&r, &ctx, &c) == DRL_ERR_RANGE);
    CHECK_TEXT(drl_context_error(&ctx), "envs 4");
    c.capacity = 100;
    c.n_step = 0;
    CHECK(drl_replay_init(&r, &ctx, &c) == DRL_ERR_RANGE);
    CHECK_TEXT(drl_context_error(&ctx), "n_step 0");
    c.n_step = 1;
    c.obs_dim = 0;
    CHECK(drl_replay_init(&r, &ctx, &c) == DRL_ERR_RANGE);
    c.obs_dim = 3;
    CHECK(drl_replay_init(&r, &ctx, &c) == DRL_OK);
    CHECK(drl_replay_sample(&r, &rng, &s.b) == DRL_ERR_STATE);
    CHECK_TEXT(drl_context_error(&ctx), "empty");
    drl_replay_free(&r);
    CHECK(ctx.bytes == before);
    drl_context_free(&ctx);
}

/* The estimate is what is taken: 1e6 transitions of HalfCheetah are 169 MB. */
TEST(bytes)
{
    drl_context ctx;
    drl_replay r;
    drl_replay_config c = drl_replay_config_default(17, 6);
    size_t before;
    CHECK(c.capacity == 1000000 && c.envs == 1 && c.n_step == 1);
    CHECK_NEAR((double)drl_replay_bytes(&c), 1e6 * (4 * (17 + 17 + 6 + 1) + 4 + 1), 64);
    c.capacity = 1234;
    c.envs = 7;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    before = ctx.bytes;
    CHECK(drl_replay_init(&r, &ctx, &c) == DRL_OK);
    CHECK(ctx.bytes - before == drl_replay_bytes(&c) && r.bytes == drl_replay_bytes(&c));
    drl_replay_free(&r);
    c.capacity = INT64_MAX;
    CHECK(drl_replay_bytes(&c) == SIZE_MAX);
    drl_context_free(&ctx);
}

/* r as a file in bytes [size], with value at index `at` of one tensor changed. */
static void save(drl_replay *r, const char *tensor, int at, int64_t value, unsigned char *bytes,
                 size_t capacity, size_t *size)
{
    drl_state state;
    int i;
    drl_state_init(&state, r->ctx);
    drl_replay_state(r, &state, "replay.");
    for (i = 0; i < state.count; i++) {
        drl_entry *e = &state.entries[i];
        if (!tensor || strcmp(e->name + 7, tensor) != 0) continue;
        if (e->dtype == DRL_I32) ((int32_t *)e->data)[at] = (int32_t)value;
        else ((int64_t *)e->data)[at] = value;
    }
    CHECK(drl_state_save_memory(r->ctx, &state, NULL, bytes, capacity, size) == DRL_OK);
    drl_state_free(&state);
}

static drl_status load(drl_replay *r, const unsigned char *bytes, size_t size)
{
    drl_state state;
    drl_file file;
    drl_status s;
    CHECK(drl_file_open_memory(&file, r->ctx, bytes, size) == DRL_OK);
    drl_state_init(&state, r->ctx);
    state.file = &file;
    drl_replay_state(r, &state, "replay.");
    s = drl_file_load(&file, &state, 0);
    drl_state_free(&state);
    drl_file_close(&file);
    return s;
}

/* A file of a replay makes the same replay, also what comes later: rows of it used, pushed, size of
   the ring that it comes from and of the one that it goes to. */
static void saved(int pushed, int from, int to)
{
    static unsigned char bytes[8192];
    drl_context ctx;
    drl_replay r, q;
    drl_replay_config c;
    drl_rng one = drl_rng_make(9, "state"), two = one;
    float first[3 * 64];
    size_t size;
    int i;
    make(&r, &ctx, from, 2, 2);
    c = r.cfg;
    c.capacity = to;
    CHECK(drl_replay_init(&q, &ctx, &c) == DRL_OK);
    for (i = 0; i < 9; i++) push(&q, i, 0);
    for (i = 0; i < pushed; i++) push(&r, i, i % 7 == 0);
    save(&r, NULL, 0, 0, bytes, sizeof bytes, &size);
    CHECK(size < 1500 + (size_t)r.size * 40);
    CHECK(load(&q, bytes, size) == DRL_OK);
    CHECK(q.size == r.size && q.head == r.head && q.turn == r.turn);
    if (from != to) { /* r would wrap elsewhere */
        drl_replay_free(&r);
        CHECK(drl_replay_init(&r, &ctx, &c) == DRL_OK);
        for (i = 0; i < pushed; i++) push(&r, i, i % 7 == 0);
    }
    draw(&r, 64);
    for (i = 0; i < 30; i++) {
        CHECK(drl_replay_sample(&r, &one, &s.b) == DRL_OK);
        memcpy(first, s.reward, 64 * sizeof(float));
        memcpy(first + 64, s.next, 128 * sizeof(float));
        CHECK(drl_replay_sample(&q, &two, &s.b) == DRL_OK);
        CHECK(memcmp(first, s.reward, 64 * sizeof(float)) == 0);
        CHECK(memcmp(first + 64, s.next, 128 * sizeof(float)) == 0);
        push(&r, 100 + i, 0);
        push(&q, 100 + i, 0);
    }
    drl_replay_free(&q);
    drop(&r, &ctx);
}

TEST(state)
{
    saved(21, 16, 16);
    saved(32, 16, 16);
    saved(16, 16, 16);
    saved(16, 16, 24);
    saved(5, 16, 16);
    saved(5, 16, 12);
    saved(5, 16, 100);
}

/* Places that lie outside are refused, and leave the replay as it is. */
TEST(state_of_a_bad_file)
{
    static const struct {
        const char *tensor;
        int at;
        int64_t value;
        const char *text;
    } bad[] = {
        {"next", 0, 16, "replay.next: expected -1 .. 15, got 16"},
        {"next", 15, -2, "replay.next: expected -1 .. 15, got -2"},
        {"next", 3, INT32_MAX, "replay.next: expected -1 .. 15, got 2147483647"},
        {"last", 1, 16, "replay.last: expected -1 .. 15, got 16"},
        {"last", 0, INT64_MIN, "replay.last: expected -1 .. 15"},
        {"turn", 0, 2, "replay.turn: expected 0 .. 1, got 2"},
        {"turn", 0, -1, "replay.turn: expected 0 .. 1, got -1"},
        {"size", 0, 17, "replay.size: expected 0 .. 16, got 17"},
        {"size", 0, -1, "replay.size: expected 0 .. 16, got -1"},
        {"head", 0, 17, "replay.head: expected 0 .. 16, got 17"},
        {"head", 0, -1, "replay.head: expected 0 .. 16, got -1"}};
    static unsigned char bytes[8192];
    drl_context ctx;
    drl_replay r, q;
    size_t size, i;
    int k;
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        make(&r, &ctx, 16, 2, 2);
        CHECK(drl_replay_init(&q, &ctx, &r.cfg) == DRL_OK);
        for (k = 0; k < 21; k++) push(&r, k, 0);
        push(&q, 1, 0);
        save(&r, bad[i].tensor, bad[i].at, bad[i].value, bytes, sizeof bytes, &size);
        CHECK(load(&q, bytes, size) == DRL_ERR_FORMAT);
        CHECK_TEXT(drl_context_error(&ctx), bad[i].text);
        CHECK(q.size == 1 && q.head == 1 && q.turn == 1 && q.last[0] == 0 && q.next[0] == -1);
        drl_replay_free(&q);
        drop(&r, &ctx);
    }
    /* rows were overwritten: only a ring of the same size takes it */
    make(&r, &ctx, 16, 2, 2);
    for (k = 0; k < 21; k++) push(&r, k, 0);
    save(&r, NULL, 0, 0, bytes, sizeof bytes, &size);
    r.cfg.capacity = 24;
    CHECK(drl_replay_init(&q, &ctx, &r.cfg) == DRL_OK);
    r.cfg.capacity = 16;
    CHECK(load(&q, bytes, size) == DRL_ERR_FORMAT);
    CHECK_TEXT(drl_context_error(&ctx), "replay.head: expected 16 .. 16, got 5");
    drl_replay_free(&q);
    drop(&r, &ctx);
}

TEST_MAIN(TEST_ENTRY(ring_keeps_the_newest), TEST_ENTRY(flags), TEST_ENTRY(n_step),
          TEST_ENTRY(n_step_of_several_environments), TEST_ENTRY(skip),
          TEST_ENTRY(n_step_against_a_model), TEST_ENTRY(sampling_is_uniform),
          TEST_ENTRY(sampling_repeats), TEST_ENTRY(errors), TEST_ENTRY(bytes), TEST_ENTRY(state),
          TEST_ENTRY(state_of_a_bad_file))
