/* Matrix product against its definition, bit by bit: forms, odd sizes, distances of rows,
   epilogues, instruction sets, threads. Column sums.
   build: cc -O2 kernels.c -o kernels -lm */
#define _DEFAULT_SOURCE /* mmap */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"
#include <sys/mman.h>

/* Arrays end where memory that must not be touched begins. */
enum { SLOTS = 12, SLOT_BYTES = 1 << 22, GUARD_BYTES = 1 << 16 };
static unsigned char *slots;
static int slot;
static uint32_t seed = 1;

static uint32_t draw(uint32_t n)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % n;
}

static void slots_make(void)
{
    int i;
    slots = (unsigned char *)mmap(NULL, (size_t)SLOTS * SLOT_BYTES, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (slots == MAP_FAILED) exit(2);
    for (i = 1; i <= SLOTS; i++) {
        mprotect(slots + (size_t)i * SLOT_BYTES - GUARD_BYTES, GUARD_BYTES, PROT_NONE);
    }
}

/* numbers of mixed size and sign, so that every order of summation rounds differently */
static float *numbers(size_t n)
{
    float *x = (float *)(void *)(slots + (size_t)(slot + 1) * SLOT_BYTES - GUARD_BYTES) - n;
    size_t i;
    if (++slot == SLOTS || n > (SLOT_BYTES - GUARD_BYTES) / sizeof(float)) exit(2);
    for (i = 0; i < n; i++) {
        x[i] = (float)draw(1u << 20) / 524288.0f - 1.0f;
        x[i] *= (float)(1 << draw(8));
    }
    return x;
}

static int contexts_make(drl_context *ctx, int max)
{
    static const drl_isa isas[] = {DRL_ISA_SCALAR, DRL_ISA_NEON, DRL_ISA_AVX2, DRL_ISA_AVX512};
    static const int threads[] = {1, 2, 3, 8};
    int i, count = 0;
    for (i = 0; i < 16 && count < max; i++) {
        drl_context_config cfg = drl_context_config_default();
        cfg.isa = isas[i / 4];
        cfg.threads = threads[i % 4];
        if (drl_context_init(&ctx[count], &cfg) == DRL_OK) count++; /* else: not on this machine */
    }
    return count;
}

/* The definition of drl_gemm: three plain loops. */
static void gemm_reference(drl_gemm_form form, int m, int n, int k, const float *a, int lda,
    const float *b, int ldb, float *c, int ldc, const drl_epilogue *epilogue)
{
    const ptrdiff_t a_row = form == DRL_GEMM_TN ? 1 : lda, a_col = form == DRL_GEMM_TN ? lda : 1;
    const ptrdiff_t b_row = form == DRL_GEMM_NT ? 1 : ldb, b_col = form == DRL_GEMM_NT ? ldb : 1;
    ptrdiff_t i, j, p;
    for (i = 0; i < m; i++) {
        for (j = 0; j < n; j++) {
            float *y = c + i * ldc + j;
            float sum = epilogue && epilogue->accumulate ? *y : 0.0f;
            for (p = 0; p < k; p++) {
                sum = fmaf(a[i * a_row + p * a_col], b[p * b_row + j * b_col], sum);
            }
            if (epilogue && epilogue->bias) sum += epilogue->bias[j];
            if (epilogue && epilogue->base) sum += epilogue->base[i * epilogue->base_ld + j];
            if (epilogue && epilogue->pre) epilogue->pre[i * ldc + j] = sum;
            if (epilogue && epilogue->act != DRL_ACT_NONE) {
                drli_act_apply(DRL_ISA_SCALAR, epilogue->act, 1, &sum, &sum);
            }
            *y = sum;
        }
    }
}

/* One product on all contexts against the reference; all bytes of C and pre, gaps included. */
static int product_differs(drl_context *ctx, int count, drl_gemm_form form, int m, int n, int k,
                           int gap, unsigned options)
{
    static const drl_act acts[] = {DRL_ACT_NONE, DRL_ACT_RELU, DRL_ACT_MISH, DRL_ACT_TANH};
    int lda = (form == DRL_GEMM_TN ? m : k) + gap, ldb = (form == DRL_GEMM_NT ? k : n) + 2 * gap;
    int ldc = n + 3 * gap, i, bad = 0;
    size_t size_c = (size_t)m * (size_t)ldc;
    float *a, *b, *c, *want, *got, *pre_want, *pre_got;
    drl_epilogue e;
    slot = 0;
    a = numbers((size_t)(form == DRL_GEMM_TN ? k : m) * (size_t)lda);
    b = numbers((size_t)(form == DRL_GEMM_NT ? n : k) * (size_t)ldb);
    c = numbers(size_c);
    want = numbers(size_c);
    got = numbers(size_c);
    pre_want = numbers(size_c);
    pre_got = numbers(size_c);
    memset(&e, 0, sizeof(e));
    e.accumulate = options & 1;
    e.act = acts[options >> 1 & 3];
    if (options & 8) e.bias = numbers((size_t)n);
    e.base_ld = n + gap;
    if (options & 16) e.base = numbers((size_t)m * (size_t)e.base_ld);
    memcpy(want, c, size_c * sizeof(float));
    memcpy(pre_want, c, size_c * sizeof(float));
    if (options & 32) e.pre = pre_want;
    gemm_reference(form, m, n, k, a, lda, b, ldb, want, ldc, options ? &e : NULL);
    for (i = 0; i < count; i++) {
        memcpy(got, c, size_c * sizeof(float));
        memcpy(pre_got, c, size_c * sizeof(float));
        if (options & 32) e.pre = pre_got;
        drl_gemm(&ctx[i], form, m, n, k, a, lda, b, ldb, got, ldc, options ? &e : NULL);
        if (memcmp(want, got, size_c * sizeof(float)) ||
            memcmp(pre_want, pre_got, size_c * sizeof(float))) {
            if (!bad++) {
                printf("  form %d m %d n %d k %d gap %d options %u: isa %d threads %d differs\n",
                       (int)form, m, n, k, gap, options, (int)ctx[i].isa, ctx[i].cfg.threads);
            }
        }
    }
    return bad;
}

static void contexts_free(drl_context *ctx, int count)
{
    int i;
    for (i = 0; i < count; i++) {
        drl_context_free(&ctx[i]);
        CHECK(ctx[i].bytes == 0 && ctx[i].scratch == NULL);
    }
}

TEST(gemm_is_the_definition)
{
    static const int edge[] = {1,  2,  3,  5,  6,  7,  11, 12,  13, 16,
                               17, 31, 32, 33, 48, 49, 65, 101, 130};
    drl_context ctx[16];
    int count = contexts_make(ctx, 16), round, form;
    CHECK(count >= 1);
    for (round = 0; round < 200; round++) {
        int m = edge[draw(19)], n = edge[draw(19)], k = edge[draw(19)];
        if (round % 5 == 0) m = 1 + (int)draw(150);
        if (round % 5 == 1) n = 1 + (int)draw(150);
        if (round % 5 == 2) k = 1 + (int)draw(150);
        if (round % 16 == 3) m = 1;
        if (round % 16 == 5) n = 1;
        if (round % 16 == 7) k = 1;
        for (form = 0; form < 3; form++) {
            int gap = (int)draw(3);
            CHECK(!product_differs(ctx, count, (drl_gemm_form)form, m, n, k, gap, draw(64)));
        }
    }
    contexts_free(ctx, count);
}

/* more than one block in every direction */
TEST(gemm_of_many_blocks)
{
    drl_context ctx[16];
    int count = contexts_make(ctx, 16), form, m;
    for (form = 0; form < 3; form++) {
        drl_gemm_form f = (drl_gemm_form)form;
        /* few rows: tiles of four and of eight vectors, and what is left beside them */
        for (m = 1; m <= 7; m++) CHECK(!product_differs(ctx, count, f, m, 150, 70, m % 2, 63));
        CHECK(!product_differs(ctx, count, f, 3, 5, 1300, 1, 63 - 2));
        CHECK(!product_differs(ctx, count, f, 7, 1100, 40, 0, 63));
        CHECK(!product_differs(ctx, count, f, 1, 600, 530, 0, 8));
        CHECK(!product_differs(ctx, count, f, 5, 70, 530, 0, 0));
        CHECK(!product_differs(ctx, count, f, 2, 530, 300, 3, 1 + 8 + 16));
        CHECK(!product_differs(ctx, count, f, 300, 20, 270, 1, 8 + 2));
        CHECK(!product_differs(ctx, count, f, 256, 64, 260, 0, 8 + 4));
        CHECK(!product_differs(ctx, count, f, 60, 100, 2100, 1, 8 + 1));
        CHECK(!product_differs(ctx, count, f, 1, 200, 2100, 0, 8 + 1));
        /* A' turned: several blocks of rows and of k, the last ones ragged */
        CHECK(!product_differs(ctx, count, f, 101, 70, 600, 1, 63));
        CHECK(!product_differs(ctx, count, f, 147, 130, 513, 0, 1 + 8 + 16));
        CHECK(!product_differs(ctx, count, f, 65, 600, 257, 2, 32 + 16 + 4));
        CHECK(!product_differs(ctx, count, f, 64, 65, 300, 0, 0)); /* not */
        CHECK(!product_differs(ctx, count, f, 256, 300, 270, 0, 1)); /* many columns */
        CHECK(!product_differs(ctx, count, f, 256, 256, 270, 0, 1)); /* not */
        /* more rows than a block, nothing to add */
        CHECK(!product_differs(ctx, count, f, 110, 70, 0, 0, 8 + 1));
        /* a wide B: several panels packed at a time, the last ones ragged; added to */
        CHECK(!product_differs(ctx, count, f, 61, 1100, 53, 0, 63));
        CHECK(!product_differs(ctx, count, f, 101, 1030, 8, 1, 1));
        /* few columns, last tiles narrow */
        CHECK(!product_differs(ctx, count, f, 256, 23, 256, 0, 8 + 4));
        CHECK(!product_differs(ctx, count, f, 97, 7, 300, 1, 63));
        CHECK(!product_differs(ctx, count, f, 59, 40, 270, 1, 1 + 16));
        CHECK(!product_differs(ctx, count, f, 1, 263, 300, 1, 8));
        /* dW with few columns: turned, also where it is added to and in several pieces */
        CHECK(!product_differs(ctx, count, f, 1100, 23, 300, 0, 0));
        CHECK(!product_differs(ctx, count, f, 1100, 31, 300, 0, 1));
        CHECK(!product_differs(ctx, count, f, 530, 5, 40, 80, 1));
        CHECK(!product_differs(ctx, count, f, 33, 31, 600, 1, 0));
        /* rows of A at multiples of 4 KiB: set apart */
        CHECK(!product_differs(ctx, count, f, 61, 40, 1024, 0, 8));
        CHECK(!product_differs(ctx, count, f, 109, 300, 1024, 0, 63 - 8));
    }
    contexts_free(ctx, count);
}

/* the definition itself: a small product by hand, each part of the epilogue */
TEST(gemm_by_hand)
{
    static const float a[] = {1, 2, 3, 4, 5, 6}, b[] = {1, -1, 2, 0.5f, -3, 2};
    static const float bias[] = {10, 20}, base[] = {1, 2, 3, 4};
    static const float nn[] = {-4, 6, -4, 10.5f}; /* [2,3] x [3,2] */
    static const float tn[] = {9, 1, 12, 0.5f, 15, 0}; /* [2,3]' x [2,2] */
    static const float nt[] = {5, 0.5f, 11, -1}; /* [2,3] x [2,3]' */
    float c[6], pre[4];
    int i;
    drl_epilogue e;
    drl_context ctx;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    drl_gemm(&ctx, DRL_GEMM_NN, 2, 2, 3, a, 3, b, 2, c, 2, NULL);
    for (i = 0; i < 4; i++) CHECK(c[i] == nn[i]);
    drl_gemm(&ctx, DRL_GEMM_TN, 3, 2, 2, a, 3, b, 2, c, 2, NULL);
    for (i = 0; i < 6; i++) CHECK(c[i] == tn[i]);
    drl_gemm(&ctx, DRL_GEMM_NT, 2, 2, 3, a, 3, b, 3, c, 2, NULL);
    for (i = 0; i < 4; i++) CHECK(c[i] == nt[i]);
    memset(&e, 0, sizeof(e));
    e.accumulate = 1;
    e.bias = bias;
    e.base = base;
    e.base_ld = 2;
    e.act = DRL_ACT_RELU;
    e.pre = pre;
    for (i = 0; i < 4; i++) c[i] = -15;
    drl_gemm(&ctx, DRL_GEMM_NN, 2, 2, 3, a, 3, b, 2, c, 2, &e);
    CHECK(pre[0] == -8 && pre[1] == 13 && pre[2] == -6 && pre[3] == 19.5f);
    CHECK(c[0] == 0 && c[1] == 13 && c[2] == 0 && c[3] == 19.5f);
    drl_context_free(&ctx);
}

TEST(column_sums)
{
    static const int shapes[][2] = {{1, 1}, {3, 5}, {9, 33}, {2000, 7}, {1000, 260}, {130, 1024}};
    drl_context ctx[16];
    int count = contexts_make(ctx, 16), s, i, j, q;
    for (s = 0; s < 6; s++) {
        int rows = shapes[s][0], cols = shapes[s][1], ldx = cols + s % 2, accumulate = s / 2 % 2;
        float *x, *want, *got, *old;
        slot = 0;
        x = numbers((size_t)rows * (size_t)ldx);
        old = numbers((size_t)cols);
        want = numbers((size_t)cols);
        got = numbers((size_t)cols);
        for (j = 0; j < cols; j++) {
            want[j] = accumulate ? old[j] : 0.0f;
            for (i = 0; i < rows; i++) want[j] += x[i * ldx + j];
        }
        for (q = 0; q < count; q++) {
            memcpy(got, old, (size_t)cols * sizeof(float));
            drl_column_sum(&ctx[q], rows, cols, x, ldx, got, accumulate);
            CHECK(!memcmp(got, want, (size_t)cols * sizeof(float)));
        }
    }
    contexts_free(ctx, count);
}

int main(int argc, char **argv)
{
    static const test_entry tests[] = {TEST_ENTRY(gemm_by_hand), TEST_ENTRY(gemm_is_the_definition),
                                       TEST_ENTRY(gemm_of_many_blocks), TEST_ENTRY(column_sums)};
    slots_make();
    return test_run(tests, (int)(sizeof(tests) / sizeof(tests[0])), argc, argv);
}
