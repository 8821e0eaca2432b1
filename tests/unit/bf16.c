/* Sampling in bf16: rounding by hand; products by each way of the CPU (plain rounding, AVX512_BF16,
   AMX) against sums in double; threads; the sampler and QVPO, which use them.
   build: cc -O2 bf16.c -o bf16 -lm */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"

static float rounded(float x) { return drli_float(drli_bf16(x)); }

/* 8 significant bits, to the nearest, ties to even */
TEST(rounding_by_hand)
{
    float pair;
    CHECK(rounded(1.0f) == 1.0f && rounded(-2.5f) == -2.5f && rounded(0.0f) == 0.0f);
    CHECK(rounded(1.0f + 0x1p-8f) == 1.0f && rounded(1.0f + 0x3p-8f) == 1.0f + 0x1p-6f);
    CHECK(rounded(1.0f + 0x1.02p-8f) == 1.0f + 0x1p-7f && rounded(-1.0f - 0x1p-8f) == -1.0f);
    CHECK(rounded(1e-40f) > 0 && rounded(3.4e38f) == HUGE_VALF &&
          rounded(-HUGE_VALF) == -HUGE_VALF);
    CHECK(isnan(rounded(NAN)) && isnan(rounded(drli_float(0x7f800001u))) && 1 / rounded(-0.0f) < 0);
    pair = drli_pair(-2.5f, 1.0f);
    CHECK(drli_bits(pair) == 0xc0203f80u);
}

/* x, w, bias, base with numbers of mixed size; y behind and before marks */
typedef struct product {
    int m, n, k;
    float *x, *w, *bias, *base, *y;
    drl_act act;
} product;

enum { MARK = 16 };

static float *numbers(drl_rng *rng, int rows, int cols)
{
    size_t i, n = (size_t)rows * (size_t)cols;
    float *x = (float *)malloc((n ? n : 1) * sizeof(float));
    if (!x) exit(2);
    for (i = 0; i < n; i++) x[i] = drl_rng_normal(rng) * (float)(1 << drl_rng_integer(rng, 4));
    return x;
}

static product product_make(int m, int n, int k, unsigned options)
{
    drl_rng rng = drl_rng_make((uint64_t)(m * 1000 + n * 10 + k), "bf16");
    product p = {m, n, k, NULL, NULL, NULL, NULL, NULL, DRL_ACT_NONE};
    p.x = numbers(&rng, m, k);
    p.w = numbers(&rng, k, n);
    if (options & 1) p.bias = numbers(&rng, 1, n);
    if (options & 2) p.base = numbers(&rng, m, n);
    if (options & 4) p.act = DRL_ACT_MISH;
    p.y = numbers(&rng, 1, m * n + 2 * MARK);
    return p;
}

static void product_free(product *p)
{
    free(p->x);
    free(p->w);
    free(p->bias);
    free(p->base);
    free(p->y);
}

/* y by drl_linear as drl_denoiser_sample calls it, by way `how` of drl_context.bf16 */
static void product_run(product *p, drl_context *ctx, int how, float *y)
{
    drl_tape tape;
    drl_tensor *x, *w, *out;
    ctx->bf16 = how;
    CHECK(drl_tape_init(&tape, ctx) == DRL_OK);
    tape.grad_enabled = 0;
    x = drl_tape_input(&tape, p->m, p->k, p->x);
    w = drl_tape_input(&tape, p->k, p->n, p->w);
    w->bf16 = drli_bf16_copy(&tape, w, 1);
    out = drl_linear(&tape, x, w, p->bias ? drl_tape_input(&tape, 1, p->n, p->bias) : NULL,
                     p->base ? drl_tape_input(&tape, p->m, p->n, p->base) : NULL, p->act);
    CHECK(drl_tape_status(&tape) == DRL_OK);
    memcpy(y, out->data, (size_t)p->m * (size_t)p->n * sizeof(float));
    drl_tape_free(&tape);
}

/* largest |y - exact| in units of the bound that any order of summation keeps */
static double product_error(const product *p, const float *y)
{
    double worst = 0;
    int i, j, q;
    for (i = 0; i < p->m; i++)
        for (j = 0; j < p->n; j++) {
            double sum = 0, size = 1e-30, slope = p->act ? 1.1 : 1; /* of Mish */
            float z;
            for (q = 0; q < p->k; q++) {
                double part =
                    (double)rounded(p->x[i * p->k + q]) * (double)rounded(p->w[q * p->n + j]);
                sum += part;
                size += fabs(part);
            }
            if (p->bias) sum += (double)p->bias[j], size += fabs((double)p->bias[j]);
            if (p->base)
                sum += (double)p->base[i * p->n + j], size += fabs((double)p->base[i * p->n + j]);
            z = (float)sum;
            if (p->act) z = drl_mishf(z);
            sum = fabs((double)y[i * p->n + j] - (p->act ? (double)z : sum));
            sum /= slope * size * (p->k + 3) * 0x1p-24;
            if (!(sum <= worst)) worst = sum;
        }
    return worst;
}

static drl_context contexts[3];
static const int threads[3] = {1, 2, 8};

/* Ways that this CPU has: 0 plain, 1 AVX512_BF16, 2 AMX. */
static int contexts_make(void)
{
    int i, most = 0;
    for (i = 0; i < 3; i++) {
        drl_context_config cfg = drl_context_config_default();
        cfg.threads = threads[i];
        CHECK(drl_context_init(&contexts[i], &cfg) == DRL_OK);
        most = drli_bf16_ways(&contexts[i]);
    }
    return most;
}

TEST(products_of_each_way)
{
    static const int sizes[][3] = {{64, 256, 256}, {256, 256, 256}, {65, 6, 256},   {77, 33, 32},
                                   {1, 256, 64},   {17, 1, 96},     {130, 48, 320}, {64, 300, 64},
                                   {70, 40, 2048}, {66, 35, 4128},  {300, 17, 512}};
    static const char *const names[] = {"plain", "AVX512_BF16", "AMX"};
    int i, how, c, ways = contexts_make();
    double worst[3] = {0, 0, 0};
    for (i = 0; i < 11; i++) {
        product p = product_make(sizes[i][0], sizes[i][1], sizes[i][2], (unsigned)i);
        size_t n = (size_t)p.m * (size_t)p.n;
        float *first = (float *)malloc(n * sizeof(float)), *y = p.y + MARK, marks[2][MARK];
        memcpy(marks[0], p.y, sizeof(marks[0]));
        memcpy(marks[1], y + n, sizeof(marks[1]));
        for (how = 0; how <= ways; how++)
            for (c = 0; c < 3; c++) {
                double e;
                product_run(&p, &contexts[c], how, y);
                if (c == 0) {
                    memcpy(first, y, n * sizeof(float));
                    e = product_error(&p, y);
                    worst[how] = e > worst[how] ? e : worst[how];
                    CHECK(e <= 1);
                }
                CHECK(memcmp(first, y, n * sizeof(float)) == 0); /* any number of threads */
                CHECK(!memcmp(marks[0], p.y, sizeof(marks[0])) &&
                      !memcmp(marks[1], y + n, sizeof(marks[1])));
            }
        free(first);
        product_free(&p);
    }
    for (how = 0; how <= ways; how++)
        printf("  %s: at most %.3f of the bound k 2^-24 sum |a b|\n", names[how], worst[how]);
    for (c = 0; c < 3; c++) drl_context_free(&contexts[c]);
}

/* By default nothing is rounded; not for few rows, nor of layers whose inputs 32 does not divide;
   with gradients enabled the copies are not used. The sampler's ends differ by little. */
TEST(sampler)
{
    enum { S = 3, A = 2, B = 32, K = 4, T = 6, N = K * B * A };
    static float obs[B * S], path[3][(T + 1) * N];
    static const int width[2] = {64, 40};
    int i, j, how, ways = contexts_make();
    for (i = 0; i < 2; i++)
        for (how = 0; how <= ways; how++) {
            drl_context *ctx = &contexts[0];
            drl_rng rng = drl_rng_make(5, "sampler");
            drl_params params;
            drl_denoiser net;
            drl_ddpm chain;
            drl_tape tape;
            drl_tensor *s;
            double far = 0;
            ctx->bf16 = how;
            CHECK(drl_params_init(&params, ctx, 16, 1) == DRL_OK);
            drl_denoiser_add(&net, &params, "", S, A, DRL_TIME_DDPM, 16, 32, width[i], 2, 0,
                             DRL_ACT_MISH);
            CHECK(drl_params_commit(&params) == DRL_OK && net.precision == DRL_FP32);
            drl_denoiser_init(&net, DRL_INIT_KAIMING_UNIFORM, 1.0f, &rng);
            CHECK(drl_ddpm_init(&chain, ctx, DRL_SCHEDULE_COSINE, T) == DRL_OK);
            CHECK(drl_tape_init(&tape, ctx) == DRL_OK);
            drl_rng_normal_fill(ctx, &rng, obs, B * S);
            drl_rng_normal_fill(ctx, &rng, path[0], (T + 1) * N);
            memcpy(path[1], path[0], sizeof(path[0]));
            memcpy(path[2], path[0], sizeof(path[0]));
            for (j = 0; j < 3; j++) {
                drl_tape_reset(&tape);
                net.precision = j == 1 ? DRL_BF16_SAMPLING : DRL_FP32;
                s = drl_tape_input(&tape, B, S, obs);
                drl_denoiser_sample(&tape, &net, &chain, s, K, T, 1, 1.0f, path[j]);
                CHECK(drl_tape_status(&tape) == DRL_OK && tape.grad_enabled);
                CHECK(!net.mlp.layer[1].w->bf16 && !net.mlp.layer[2].w->bf16);
            }
            CHECK(memcmp(path[0], path[2], sizeof(path[0])) == 0);
            for (j = 0; j < N; j++)
                far = DRLI_MAX(far, fabs((double)path[0][T * N + j] - (double)path[1][T * N + j]));
            if (width[i] % 32) CHECK(far == 0);
            else CHECK(far > 1e-5 && far < 0.05);
            for (j = 0; j < 2; j++) { /* 32 rows: as they are */
                memcpy(path[j], path[2], sizeof(path[j]));
                drl_tape_reset(&tape);
                net.precision = j ? DRL_BF16_SAMPLING : DRL_FP32;
                s = drl_tape_input(&tape, B, S, obs);
                drl_denoiser_sample(&tape, &net, &chain, s, 1, T, 1, 1.0f, path[j]);
            }
            CHECK(memcmp(path[0], path[1], sizeof(path[0])) == 0);
            drl_tape_free(&tape);
            drl_params_free(&params);
        }
    for (i = 0; i < 3; i++) drl_context_free(&contexts[i]);
}

/* Updates of QVPO with the setting: the candidates' weights are not those without it, but the same
   on any number of threads; nothing is allocated after the second. */
TEST(qvpo_updates)
{
    enum { S = 3, A = 2 };
    static const char *const values[4] = {"fp32", "bf16_sampling", "bf16_sampling",
                                          "bf16_sampling"};
    float weight[4][8];
    int i, j, u;
    contexts_make();
    for (i = 0; i < 4; i++) {
        drl_context *ctx = &contexts[i ? i - 1 : 0];
        drl_qvpo q;
        drl_qvpo_config c = drl_qvpo_config_default(S, A);
        drl_replay_config rc = drl_replay_config_default(S, A);
        drl_replay r;
        drl_rng rng = drl_rng_make(3, "rows");
        drl_algo algo = drl_qvpo_algo();
        uint64_t before = 0;
        CHECK(c.precision == DRL_FP32);
        CHECK(drl_fields_set(ctx, algo.fields, algo.field_count, &c, "precision", values[i]) ==
              DRL_OK);
        c.steps = 4;
        c.batch = 16;
        c.candidates = 8;
        c.actor_width = c.critic_width = 64;
        rc.capacity = 100;
        CHECK(drl_qvpo_init(&q, ctx, &c) == DRL_OK && drl_replay_init(&r, ctx, &rc) == DRL_OK);
        for (j = 0; j < 100; j++) {
            float x[2 * S + A];
            drl_rng_uniform_fill(ctx, &rng, x, 2 * S + A, -1, 1);
            drl_replay_push(&r, x, x + 2 * S, x[0], x + S, 0);
        }
        for (u = 0; u < 4; u++) {
            CHECK(drl_agent_update(&q.agent, &r) == DRL_OK);
            if (u == 1) before = ctx->allocations;
        }
        CHECK(ctx->allocations == before);
        memcpy(weight[i], q.weight, sizeof(weight[i]));
        drl_replay_free(&r);
        drl_agent_free(&q.agent);
    }
    CHECK(memcmp(weight[0], weight[1], sizeof(weight[0])) != 0);
    for (i = 2; i < 4; i++) CHECK(memcmp(weight[1], weight[i], sizeof(weight[0])) == 0);
    for (i = 0; i < 3; i++) drl_context_free(&contexts[i]);
}

TEST_MAIN(TEST_ENTRY(rounding_by_hand), TEST_ENTRY(products_of_each_way), TEST_ENTRY(sampler),
          TEST_ENTRY(qvpo_updates))
