/* Status texts, context, allocator hooks, failing allocator, arena, worker threads.
   build: cc -O2 memory.c -o memory -lm */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"

/* An allocator that counts, checks the sizes and fails when told to. */
typedef struct host_memory {
    size_t held, calls, frees, fail_at; /* fail_at: this call, from 1, and all later ones */
    int wrong;                          /* frees with another size than asked for */
} host_memory;

static void *host_alloc(size_t size, void *user)
{
    host_memory *h = (host_memory *)user;
    size_t *p;
    h->calls++;
    if (h->fail_at && h->calls >= h->fail_at) return NULL;
    p = (size_t *)malloc(size + 2 * sizeof(size_t));
    if (!p) return NULL;
    p[0] = size;
    h->held += size;
    memset(p + 2, 0xa5, size);
    return p + 2;
}

static void host_free(void *ptr, size_t size, void *user)
{
    host_memory *h = (host_memory *)user;
    size_t *p = (size_t *)ptr - 2;
    h->frees++;
    if (p[0] != size) h->wrong++;
    h->held -= p[0];
    free(p);
}

static drl_context_config host_config(host_memory *h)
{
    drl_context_config cfg = drl_context_config_default();
    memset(h, 0, sizeof(*h));
    cfg.allocator.alloc_fn = host_alloc;
    cfg.allocator.free_fn = host_free;
    cfg.allocator.user = h;
    return cfg;
}

/* Does this build have threads of its own? */
static int have_threads(void)
{
    drl_context ctx;
    drl_context_config cfg = drl_context_config_default();
    int yes;
    cfg.threads = 2;
    yes = drl_context_init(&ctx, &cfg) == DRL_OK;
    drl_context_free(&ctx);
    return yes;
}

TEST(status_texts)
{
    CHECK_TEXT(drl_status_string(DRL_OK), "ok");
    CHECK_TEXT(drl_status_string(DRL_ERR_MEMORY), "out of memory");
    CHECK_TEXT(drl_status_string(DRL_ERR_STATE), "not possible");
    CHECK_TEXT(drl_status_string((drl_status)-99), "unknown");
    CHECK(DRL_OK == 0 && DRL_ERR_MEMORY == -1 && DRL_ERR_STATE == -9);
}

TEST(context_defaults)
{
    drl_context ctx;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    CHECK(ctx.isa != DRL_ISA_AUTO && ctx.cfg.threads == 1 && ctx.pool == NULL);
    CHECK(ctx.bytes == ctx.scratch_size && ctx.allocations == 1);
    CHECK((uintptr_t)ctx.scratch % 64 == 0);
    CHECK(strlen(drl_context_error(&ctx)) == 0);
    drl_context_free(&ctx);
    CHECK(ctx.scratch == NULL && ctx.bytes == 0);
    drl_context_free(&ctx); /* harmless */
}

static int logged;
static void count_log(void *user, drl_log_level level, drl_status status, const char *text)
{
    (void)user;
    if (level == DRL_LOG_ERROR && status == DRL_ERR_RANGE && strstr(text, "threads is 0")) logged++;
}

TEST(context_refuses)
{
    drl_context ctx;
    drl_context_config cfg = drl_context_config_default();
    int isa, found = 0;
    cfg.threads = 0;
    cfg.log_fn = count_log;
    logged = 0;
    CHECK(drl_context_init(&ctx, &cfg) == DRL_ERR_RANGE);
    CHECK(ctx.status == DRL_ERR_RANGE && logged == 1);
    CHECK_TEXT(drl_context_error(&ctx), "threads is 0, expected 1 to");
    drl_context_free(&ctx);
    cfg.threads = 1;
    cfg.allocator.alloc_fn = host_alloc;
    CHECK(drl_context_init(&ctx, &cfg) == DRL_ERR_RANGE);
    CHECK_TEXT(drl_context_error(&ctx), "free_fn");
    cfg.allocator.alloc_fn = NULL;
    for (isa = DRL_ISA_SCALAR; isa <= DRL_ISA_AVX512 + 1; isa++) {
        cfg.isa = (drl_isa)isa;
        if (drl_context_init(&ctx, &cfg) == DRL_OK) {
            found++;
            CHECK(ctx.isa == cfg.isa && isa <= DRL_ISA_AVX512);
        } else {
            CHECK(isa != DRL_ISA_SCALAR);
            CHECK_TEXT(drl_context_error(&ctx), "isa");
        }
        drl_context_free(&ctx);
    }
    CHECK(found >= 1 && found < 4); /* no machine has NEON and AVX2 */
}

TEST(allocator_of_the_host)
{
    host_memory h;
    drl_context_config cfg = host_config(&h);
    drl_context ctx;
    size_t size;
    CHECK(drl_context_init(&ctx, &cfg) == DRL_OK);
    for (size = 0; size < 300; size += 7) {
        size_t i, sum = 0, before = ctx.bytes;
        unsigned char *p = (unsigned char *)drl_memory_alloc(&ctx, size);
        CHECK(p && (uintptr_t)p % 64 == 0 && ctx.bytes == before + size);
        for (i = 0; i < size; i++) sum += p[i];
        CHECK(sum == 0);
        memset(p, 0xff, size);
        drl_memory_free(&ctx, p, size);
        CHECK(ctx.bytes == before && ctx.bytes_peak >= before + size);
    }
    drl_memory_free(&ctx, NULL, 5);
    CHECK(drl_memory_alloc(&ctx, (size_t)-40) == NULL && ctx.status == DRL_ERR_MEMORY);
    CHECK(h.calls == ctx.allocations); /* the absurd size never reached the host */
    drl_context_free(&ctx);
    CHECK(h.held == 0 && h.wrong == 0 && h.calls == h.frees);
}

TEST(allocator_that_fails)
{
    size_t fail_at;
    int threads;
    for (threads = 1; threads <= (have_threads() ? 3 : 1); threads++) {
        for (fail_at = 1; fail_at < 9; fail_at++) {
            host_memory h;
            drl_context_config cfg = host_config(&h);
            drl_context ctx;
            drl_arena arena;
            drl_status status;
            cfg.threads = threads;
            h.fail_at = fail_at;
            status = drl_context_init(&ctx, &cfg);
            if (status == DRL_OK) {
                int i;
                status = drl_arena_init(&arena, &ctx, 100);
                for (i = 0; i < 3 && status == DRL_OK; i++) {
                    if (!drl_arena_alloc(&arena, 100000u << i)) status = ctx.status;
                }
                drl_arena_free(&arena);
                drl_arena_free(&arena);
            }
            CHECK(status == (h.calls >= fail_at ? DRL_ERR_MEMORY : DRL_OK));
            if (status != DRL_OK) CHECK_TEXT(drl_context_error(&ctx), "drl_memory_alloc: ");
            drl_context_free(&ctx);
            CHECK(h.held == 0 && h.wrong == 0);
        }
    }
}

TEST(arena_gives_and_takes)
{
    drl_context ctx;
    drl_arena arena;
    unsigned char *p[50], *q;
    int round, i, k;
    uint64_t calls = 0;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    CHECK(drl_arena_init(&arena, &ctx, 0) == DRL_OK && ctx.allocations == 1);
    for (round = 0; round < 5; round++) {
        for (i = 0; i < 50; i++) {
            size_t n = (size_t)(i * i * 37 % 9001);
            p[i] = (unsigned char *)drl_arena_alloc(&arena, n);
            CHECK(p[i] && (uintptr_t)p[i] % 64 == 0);
            memset(p[i], i, n);
        }
        for (i = 0; i < 50; i++) {
            for (k = 0; k < i * i * 37 % 9001; k++) CHECK(p[i][k] == i);
        }
        drl_arena_reset(&arena);
        CHECK(arena.used == 0);
        if (round == 0) calls = ctx.allocations;
    }
    CHECK(ctx.allocations == calls); /* the same work again allocates nothing */
    q = (unsigned char *)drl_arena_alloc(&arena, 10);
    CHECK(q == (unsigned char *)drl_arena_alloc(&arena, 1) - 64);
    CHECK(!drl_arena_alloc(&arena, SIZE_MAX) && ctx.status == DRL_ERR_MEMORY); /* no wrap */
    CHECK(!drl_arena_alloc(&arena, SIZE_MAX - 64));
    drl_arena_free(&arena);
    CHECK(ctx.bytes == ctx.scratch_size);
    drl_context_free(&ctx);
}

/* Each item counts its visits and who came. */
enum { ITEMS = 2000 };
typedef struct visits {
    int count[ITEMS], worker[ITEMS];
    int calls[64];
} visits;

static void visit(void *arg, int begin, int end, int worker)
{
    visits *v = (visits *)arg;
    int i;
    v->calls[worker]++;
    for (i = begin; i < end; i++) {
        v->count[i]++;
        v->worker[i] = worker;
    }
}

static int host_loops;
static void host_parallel(void *user, int n, int threads, drl_task_fn fn, void *arg)
{
    int i, cut = 3 * threads; /* more pieces than threads, done in reverse order */
    CHECK(*(int *)user == 77);
    host_loops++;
    for (i = cut - 1; i >= 0; i--) {
        int begin = n * i / cut, end = n * (i + 1) / cut;
        if (begin < end) fn(arg, begin, end, i % threads);
    }
}

/* own: the library's pool, whose pieces are fixed ranges; who does which is left to the moment */
static void check_cover(drl_context *ctx, int n, int grain, int own)
{
    static visits v;
    int i, calls = 0, pieces = n / (grain > 1 ? grain : 1);
    if (pieces > ctx->cfg.threads) pieces = ctx->cfg.threads;
    if (pieces < 1) pieces = 1;
    if (grain == 0 && pieces > 1) pieces = n < 2047 ? n : 2047; /* item by item */
    memset(&v, 0, sizeof(v));
    drl_parallel_for(ctx, n, grain, visit, &v);
    for (i = 0; i < ITEMS; i++) CHECK(v.count[i] == (i < n));
    for (i = 1; i < n && own; i++) {
        int piece = 0;
        while ((int64_t)n * (piece + 1) / pieces <= i) piece++;
        CHECK(v.worker[i] == v.worker[i - 1] || (int64_t)n * piece / pieces == i);
    }
    for (i = 0; i < 64; i++) {
        calls += v.calls[i];
        CHECK(v.calls[i] == 0 || i < ctx->cfg.threads);
    }
    CHECK(!own || calls == (n > 0 ? pieces : 0));
}

TEST(parallel_for_covers)
{
    static const int sizes[] = {0, 1, 2, 3, 7, 8, 9, 63, 64, 65, 1000, ITEMS};
    static const int grains[] = {-1, 0, 1, 2, 7, 64, 5000};
    int threads, s, g, user = 77;
    for (threads = 1; threads <= 8; threads++) {
        drl_context own, hook;
        drl_context_config cfg = drl_context_config_default();
        int own_ok;
        cfg.threads = threads;
        own_ok = drl_context_init(&own, &cfg) == DRL_OK;
        if (!own_ok) CHECK_TEXT(drl_context_error(&own), "DIFFRL_NO_THREADS");
        cfg.parallel_fn = host_parallel;
        cfg.parallel_user = &user;
        CHECK(drl_context_init(&hook, &cfg) == DRL_OK && hook.pool == NULL);
        host_loops = 0;
        for (s = 0; s < 12; s++) {
            for (g = 0; g < 7; g++) {
                if (own_ok) check_cover(&own, sizes[s], grains[g], 1);
                check_cover(&hook, sizes[s], grains[g], 0);
            }
        }
        CHECK(threads == 1 ? host_loops == 0 : host_loops > 10);
        drl_context_free(&own);
        drl_context_free(&hook);
    }
}

static void add_index(void *arg, int begin, int end, int worker)
{
    int i;
    (void)worker;
    for (i = begin; i < end; i++) ((int64_t *)arg)[i] += i;
}

/* many short tasks, some after a pause in which the workers fall asleep */
TEST(parallel_for_many_times)
{
    drl_context ctx;
    drl_context_config cfg = drl_context_config_default();
    static int64_t sums[100];
    static volatile double sink;
    int i, k;
    memset(sums, 0, sizeof(sums));
    cfg.threads = have_threads() ? 4 : 1;
    CHECK(drl_context_init(&ctx, &cfg) == DRL_OK);
    for (i = 0; i < 3000; i++) {
        drl_parallel_for(&ctx, 100, 1, add_index, sums);
        if (i % 100 == 0) for (k = 0; k < 100000; k++) sink = sink + k;
    }
    for (i = 0; i < 100; i++) CHECK(sums[i] == 3000 * (int64_t)i);
    CHECK(ctx.allocations <= 2);
    drl_context_free(&ctx);
}

TEST_MAIN(TEST_ENTRY(status_texts), TEST_ENTRY(context_defaults), TEST_ENTRY(context_refuses),
          TEST_ENTRY(allocator_of_the_host), TEST_ENTRY(allocator_that_fails),
          TEST_ENTRY(arena_gives_and_takes), TEST_ENTRY(parallel_for_covers),
          TEST_ENTRY(parallel_for_many_times))
