/* Adam, its clipping and decay, and the schedules against double.
   build: cc -O2 optim.c -o optim -lm */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"

enum { N = 37 }; /* not a multiple of any vector */

static drl_context ctx;
static drl_params params;
static double w[N], m[N], v[N]; /* the reference */
static int step;

static void start(void)
{
    int i;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    drl_params_init(&params, &ctx, 1, 1);
    drl_params_add(&params, "", "w", 1, N);
    CHECK(drl_params_commit(&params) == DRL_OK);
    for (i = 0; i < N; i++) {
        params.value[i] = (float)cos(1.0 + i);
        w[i] = params.value[i];
        m[i] = v[i] = 0;
    }
    step = 0;
}

static void stop(void)
{
    drl_params_free(&params);
    drl_context_free(&ctx);
}

/* gradients of this step, of sizes from 1e-4 to 10 */
static void gradients(double *g)
{
    int i;
    for (i = 0; i < N; i++) {
        params.grad[i] = (float)(sin(0.9 * i + 0.31 * step * step) * pow(10, i % 6 - 4));
        g[i] = params.grad[i];
    }
}

/* Algorithm 1 of the paper, with decay of the weights beside it. */
static void reference(const drl_adam_config *c, const double *g)
{
    int i;
    step++;
    for (i = 0; i < N; i++) {
        m[i] = c->beta1 * m[i] + (1 - (double)c->beta1) * g[i];
        v[i] = c->beta2 * v[i] + (1 - (double)c->beta2) * g[i] * g[i];
        w[i] -= c->lr * (m[i] / (1 - pow(c->beta1, step))) /
                    (sqrt(v[i] / (1 - pow(c->beta2, step))) + c->eps) +
                (double)c->lr * c->weight_decay * w[i];
    }
}

static void compare(double tolerance)
{
    int i;
    for (i = 0; i < N; i++) {
        CHECK_NEAR(params.value[i], w[i], tolerance);
        CHECK_NEAR(params.m[i], m[i], 2e-6 * fabs(m[i]) + 1e-6 * pow(10, i % 6 - 4));
        CHECK_NEAR(params.v[i], v[i], 5e-6 * v[i]);
    }
    for (i = N; i < (int)params.size; i++) CHECK(params.value[i] == 0); /* padding */
    CHECK(params.step == step);
}

TEST(defaults)
{
    drl_adam_config c = drl_adam_config_default();
    CHECK(c.lr == 3e-4f && c.beta1 == 0.9f && c.beta2 == 0.999f && c.eps == 1e-8f);
    CHECK(c.weight_decay == 0 && c.clip_element == 0 && c.clip_norm == 0 && c.zero_nan == 0);
}

TEST(adam)
{
    static const float betas[] = {0.9f, 0.5f};
    double g[N];
    int k, i;
    for (k = 0; k < 2; k++) {
        drl_adam_config c = drl_adam_config_default();
        c.lr = 1e-2f;
        c.beta1 = betas[k];
        start();
        for (i = 0; i < 50; i++) {
            gradients(g);
            reference(&c, g);
            drl_adam_step(&params, &c);
            compare(3e-8 * (i + 1) + 1e-7);
        }
        stop();
    }
}

/* the first step moves every weight by lr against the sign of its gradient */
TEST(first_step)
{
    drl_adam_config c = drl_adam_config_default();
    double g[N];
    int i;
    c.lr = 0.125f;
    start();
    gradients(g);
    drl_adam_step(&params, &c);
    for (i = 0; i < N; i++)
        if (fabs(g[i]) > 1e-5)
            CHECK_NEAR(params.value[i], w[i] - 0.125 * (g[i] > 0 ? 1 : -1), 2e-4);
    stop();
}

TEST(decay)
{
    drl_adam_config c = drl_adam_config_default();
    double g[N];
    int i;
    c.lr = 1e-2f;
    c.weight_decay = 0.3f;
    start();
    for (i = 0; i < 50; i++) {
        gradients(g);
        reference(&c, g);
        drl_adam_step(&params, &c);
        compare(6e-8 * (i + 1) + 1e-7);
    }
    /* decoupled: without a gradient the weights shrink and the moments stay 0 */
    stop();
    start();
    drl_adam_step(&params, &c);
    for (i = 0; i < N; i++) {
        CHECK_NEAR(params.value[i], w[i] * (1 - 0.003), 2e-7);
        CHECK(params.m[i] == 0 && params.v[i] == 0);
    }
    stop();
}

TEST(clip_norm)
{
    drl_adam_config c = drl_adam_config_default();
    double g[N], norm;
    int i, k, clipped = 0;
    c.lr = 1e-2f;
    c.clip_norm = 17.0f; /* some of the 50 gradients are above, some below */
    start();
    for (i = 0; i < 50; i++) {
        gradients(g);
        for (k = 0, norm = 0; k < N; k++) norm += g[k] * g[k];
        norm = sqrt(norm);
        CHECK_NEAR(drli_grad_norm(&params, 0), norm, 1e-6 * norm);
        clipped += norm > 17;
        for (k = 0; k < N && norm > 17; k++) g[k] *= 17 / norm;
        reference(&c, g);
        drl_adam_step(&params, &c);
        compare(6e-8 * (i + 1) + 1e-7);
    }
    CHECK(clipped > 5 && clipped < 45);
    stop();
}

TEST(clip_element)
{
    drl_adam_config c = drl_adam_config_default();
    double g[N];
    int i, k;
    c.clip_element = 0.25f;
    start();
    for (i = 0; i < 20; i++) {
        gradients(g);
        for (k = 0; k < N; k++) g[k] = fmax(-0.25, fmin(0.25, g[k]));
        reference(&c, g);
        drl_adam_step(&params, &c);
        compare(6e-8 * (i + 1) + 1e-7);
    }
    stop();
}

/* nan counts as 0, also in the norm; infinities are cut to the bound of an element */
TEST(not_finite)
{
    drl_adam_config c = drl_adam_config_default();
    double g[N], norm;
    int i, k, mode;
    for (mode = 0; mode < 2; mode++) {
        c.zero_nan = 1;
        c.clip_element = mode ? 0.25f : 0;
        c.clip_norm = mode ? 0 : 5.0f;
        start();
        for (i = 0; i < 20; i++) {
            gradients(g);
            params.grad[i] = (float)sqrt(-1.0);
            g[i] = 0;
            if (mode) {
                params.grad[30] = -HUGE_VALF;
                g[30] = -0.25;
            }
            for (k = 0, norm = 0; k < N; k++) norm += g[k] * g[k];
            for (k = 0; k < N && !mode && norm > 25; k++) g[k] *= 5 / sqrt(norm);
            for (k = 0; k < N && mode; k++) g[k] = fmax(-0.25, fmin(0.25, g[k]));
            reference(&c, g);
            drl_adam_step(&params, &c);
            compare(6e-8 * (i + 1) + 1e-7);
        }
        CHECK(drli_params_find_nan(&params) == -1);
        stop();
    }
    /* without these options what is not finite stays visible */
    for (mode = 0; mode < 2; mode++) {
        c = drl_adam_config_default();
        start();
        params.grad[3] = mode ? HUGE_VALF : (float)sqrt(-1.0);
        drl_adam_step(&params, &c);
        CHECK(drli_params_find_nan(&params) == 0 && params.value[3] != params.value[3]);
        CHECK(params.value[2] == (float)w[2]);
        stop();
    }
}

TEST(schedules)
{
    int64_t i;
    for (i = 0; i <= 1000; i++) {
        double part = (double)i / 1000, wave = 0.5 * (1 + cos(3.14159265358979 * part));
        CHECK_NEAR(drl_lr_linear(1e-3f, 1e-5f, i, 1000), 1e-3 + (1e-5 - 1e-3) * part, 3e-10);
        CHECK_NEAR(drl_lr_cosine(1e-3f, 1e-5f, i, 1000), 1e-5 + (1e-3 - 1e-5) * wave, 4e-10);
    }
    CHECK(drl_lr_linear(2.0f, 1.0f, -5, 10) == 2 && drl_lr_linear(2.0f, 1.0f, 11, 10) == 1);
    CHECK(drl_lr_cosine(2.0f, 1.0f, 0, 10) == 2 && drl_lr_cosine(2.0f, 1.0f, 99, 10) == 1);
    CHECK_NEAR(drl_lr_cosine(2.0f, 1.0f, 5, 10), 1.5, 1e-7);
    CHECK(drl_lr_linear(2.0f, 1.0f, 0, 0) == 1); /* no steps at all: the end */
    CHECK_NEAR(drl_lr_linear(0, 1, (int64_t)3 << 40, (int64_t)4 << 40), 0.75, 1e-7);
}

/* one step over many weights has the same bits on all instruction sets */
TEST(same_bits)
{
    static const drl_isa isas[] = {DRL_ISA_SCALAR, DRL_ISA_NEON, DRL_ISA_AVX2, DRL_ISA_AVX512};
    static float first[N];
    double g[N];
    int i, k, runs = 0;
    for (k = 0; k < 4; k++) {
        drl_adam_config c = drl_adam_config_default();
        drl_context_config cfg = drl_context_config_default();
        drl_context other;
        c.clip_norm = 3;
        c.weight_decay = 0.01f;
        cfg.isa = isas[k];
        if (drl_context_init(&other, &cfg) != DRL_OK) continue; /* not on this machine */
        start();
        params.ctx = &other;
        for (step = 0; step < 5; step++) {
            gradients(g);
            drl_adam_step(&params, &c);
        }
        if (!runs++) memcpy(first, params.value, sizeof(first));
        for (i = 0; i < N; i++) CHECK(params.value[i] == first[i]);
        params.ctx = &ctx;
        drl_context_free(&other);
        stop();
    }
    CHECK(runs >= 1);
}

/* Many values, which threads share, in pieces that do not come out even, against few at a time. */
TEST(threads_share)
{
    enum { MANY = 3 * 65536 + 517, FEW = 1000 };
    static float few[MANY];
    static const int threads[] = {1, 2, 3, 8};
    drl_adam_config c = drl_adam_config_default();
    int i, k, at;
    c.weight_decay = 0.1f;
    c.clip_element = 0.5f;
    for (k = -1; k < DRLI_COUNT(threads); k++) {
        int n = k < 0 ? FEW : MANY;
        for (at = 0; at < MANY; at += n) {
            drl_context_config cfg = drl_context_config_default();
            drl_context own;
            drl_params p;
            n = DRLI_MIN(n, MANY - at);
            cfg.threads = k < 0 ? 1 : threads[k];
            CHECK(drl_context_init(&own, &cfg) == DRL_OK);
            drl_params_init(&p, &own, 1, 1);
            drl_params_add(&p, "", "w", 1, n);
            CHECK(drl_params_commit(&p) == DRL_OK);
            for (i = 0; i < n; i++) {
                p.value[i] = (float)((at + i) % 1013) * 1e-3f;
                p.grad[i] = (float)((at + i) % 811 - 400) * 2e-3f;
            }
            drl_adam_step(&p, &c);
            drl_adam_step(&p, &c);
            if (k < 0) memcpy(few + at, p.value, (size_t)n * sizeof(float));
            CHECK(memcmp(few + at, p.value, (size_t)n * sizeof(float)) == 0);
            drl_params_free(&p);
            drl_context_free(&own);
        }
    }
}

TEST_MAIN(TEST_ENTRY(defaults), TEST_ENTRY(adam), TEST_ENTRY(first_step), TEST_ENTRY(decay),
          TEST_ENTRY(clip_norm), TEST_ENTRY(clip_element), TEST_ENTRY(not_finite),
          TEST_ENTRY(schedules), TEST_ENTRY(same_bits), TEST_ENTRY(threads_share))
