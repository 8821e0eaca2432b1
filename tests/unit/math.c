/* Tests of >>math: accuracy against the double functions of libm, special values, the same bits on
   every instruction set, compiler and number of threads, and the slopes of the activations. */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"

/* the inverse of erf, by that part of it which >>rng has */
DRLI_INLINE float drli_erfinvf(float x)
{
    float a = drli_absf(x), c = a < 1.0f ? a : 0.5f;
    float y = x * drli_erfinv_ratio(-drli_log_normal(fmaf(-c, c, 1.0f)));
    y = a == 1.0f ? x * DRLI_INF : y;
    return a <= 1.0f ? y : DRLI_NAN;
}

/* the library's inline function over an array, on any instruction set */
#define ARRAY(name)                                                                              \
    DRLI_KERNEL(array_##name, (n, x, y), size_t n, const float *x, float *y)                     \
    {                                                                                            \
        size_t i;                                                                                \
        for (i = 0; i < n; i++) y[i] = drli_##name##f(x[i]);                                     \
    }
ARRAY(exp)
ARRAY(log)
ARRAY(tanh)
ARRAY(sigmoid)
ARRAY(softplus)
ARRAY(mish)
ARRAY(gelu)
ARRAY(sin)
ARRAY(cos)
ARRAY(erf)
ARRAY(erfinv)

static double exact_sigmoid(double x)
{
    return x > 0.0 ? 1.0 / (1.0 + exp(-x)) : exp(x) / (1.0 + exp(x));
}

static double exact_softplus(double x)
{
    return x > 0.0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

static double exact_mish(double x)
{
    double e = exp(x), q = e * (e + 2.0);
    return x < -700.0 ? -0.0 : x > 300.0 ? x : x * (q / (q + 2.0));
}

#define ROOT_2_PI 0.79788456080286535588 /* sqrt(2 / pi) */

static double exact_gelu(double x)
{
    double w = 2.0 * ROOT_2_PI * (x + 0.044715 * x * x * x);
    return w < -700.0 ? -0.0 : x / (1.0 + exp(-w));
}

/* two steps of Halley's method from the value under test: errors of 1e-3 would become 1e-18 */
static double exact_erfinv(double x)
{
    double a = fabs(x), y;
    int i;
    if (!(a < 1.0) || a == 0.0) return a > 1.0 ? NAN : x == 0.0 ? x : x * INFINITY;
    y = (double)drli_erfinvf((float)a);
    for (i = 0; i < 2; i++) {
        double f = a < 0.5 ? erf(y) - a : (1.0 - a) - erfc(y);
        double u = f / (1.12837916709551257390 * exp(-y * y));
        y -= u / (1.0 + y * u);
    }
    return x < 0.0 ? -y : y;
}


typedef struct function {
    const char *name;
    void (*array)(int isa, size_t n, const float *x, float *y);
    float (*one)(float x);
    double (*exact)(double x);
    double ulp;          /* measured over all floats, rounded up  */
    float limit;         /* of |x| for the array form             */
    double zero;         /* results up to here may be 0 instead   */
    uint32_t hash;       /* of the results, see same_bits_as_ever */
} function;

static const function functions[] = {
    {"exp", drli_array_exp, drl_expf, exp, 1.1, INFINITY, 0.0, 0x758b8680u},
    {"log", drli_array_log, drl_logf, log, 1.1, INFINITY, 0.0, 0x592f4ae2u},
    {"tanh", drli_array_tanh, drl_tanhf, tanh, 2.6, INFINITY, 0.0, 0x1bfd3c21u},
    {"sigmoid", drli_array_sigmoid, drl_sigmoidf, exact_sigmoid, 2.5, INFINITY, 1e-36, 0x65969938u},
    {"softplus", drli_array_softplus, drl_softplusf, exact_softplus, 3.0, INFINITY, 1e-36, 0x37106772u},
    {"mish", drli_array_mish, drl_mishf, exact_mish, 3.9, INFINITY, 1e-36, 0x38ddccaeu},
    {"gelu", drli_array_gelu, drl_geluf, exact_gelu, 3.0, INFINITY, 1e-36, 0x538cdac5u},
    {"sin", drli_array_sin, drl_sinf, sin, 1.6, 1e5f, 0.0, 0x8cdd606du},
    {"cos", drli_array_cos, drl_cosf, cos, 1.6, 1e5f, 0.0, 0x458e700fu},
    {"erf", drli_array_erf, drl_erff, erf, 1.2, INFINITY, 0.0, 0xa6533c3eu},
    {"erfinv", drli_array_erfinv, drli_erfinvf, exact_erfinv, 3.0, INFINITY, 0.0, 0xbf3521bau},
};

static const drl_isa isas[] = {DRL_ISA_SCALAR, DRL_ISA_NEON, DRL_ISA_AVX2, DRL_ISA_AVX512};

/* a context with this instruction set, 0 if the CPU has not got it */
static int context(drl_context *ctx, drl_isa isa, int threads)
{
    drl_context_config cfg = drl_context_config_default();
    cfg.isa = isa;
    cfg.threads = threads;
    return drl_context_init(ctx, &cfg) == DRL_OK;
}

static float from_bits(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof(x));
    return x;
}

static uint32_t to_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof(u));
    return x != x ? 0x7fc00000u : u; /* every nan is equal */
}

/* Error in units of the last place of a float near the exact value (2^-149 below 2^-126). Signs of
   zero, infinities and nan must be right; the last float may stand for infinity and back. */
static double ulps(float got, double exact)
{
    float rounded = (float)exact;
    int e;
    if (exact != exact || got != got) return (exact != exact) == (got != got) ? 0.0 : 1e9;
    if (exact == 0.0) return to_bits(got) == to_bits(rounded) ? 0.0 : 1e9;
    if (isinf(rounded) || isinf(got)) {
        if (got == rounded) return 0.0;
        return fabs(exact) > 3.40282e38 && fabs(exact) < 3.40283e38 ? 1.0 : 1e9;
    }
    frexp(exact, &e);
    return fabs((double)got - exact) / ldexp(1.0, (e < -125 ? -125 : e) - 24);
}

/* Floats from all the 2^32, `stride` apart; returns how many there were with |x| <= limit. */
static long worst_ulp(int isa, const function *f, uint32_t stride, float limit, double *worst,
                      float *at)
{
    static float x[4096], y[4096];
    uint64_t u = 0;
    long count = 0;
    *worst = 0.0;
    while (u < 0x100000000u) {
        size_t n = 0, i;
        for (; n < 4096 && u < 0x100000000u; u += stride) {
            float v = from_bits((uint32_t)u);
            if (v != v || (v < 0 ? -v : v) <= limit) x[n++] = v;
        }
        f->array(isa, n, x, y);
        for (i = 0; i < n; i++) {
            double exact = f->exact((double)x[i]), e = ulps(y[i], exact);
            if (y[i] == 0.0f && fabs(exact) < f->zero) e = !signbit(y[i]) == !signbit(exact) ? 0 : 1e9;
            if (e > *worst) { *worst = e; *at = x[i]; }
        }
        count += (long)n;
    }
    return count;
}

/* 10^7 points of each function, over the whole range of floats */
TEST(accuracy_in_ulp)
{
    drl_context ctx;
    int k;
    CHECK(context(&ctx, DRL_ISA_AUTO, 1));
    for (k = 0; k < DRLI_COUNT(functions); k++) {
        const function *f = &functions[k];
        double worst;
        float at = 0.0f;
        long n = worst_ulp(ctx.isa, f, isinf(f->limit) ? 419u : 233u, f->limit, &worst, &at);
        CHECK(n >= 10000000);
        CHECK(worst <= f->ulp && worst <= 4.0);
        if (!(worst <= f->ulp)) printf("  %s: %.3f ulp at %.9g\n", f->name, worst, (double)at);
    }
    drl_context_free(&ctx);
}

/* the public sin and cos also take what lies beyond the array form */
TEST(trigonometry_of_large_arguments)
{
    static double (*const exact[])(double) = {sin, cos};
    static float (*const one[])(float) = {drl_sinf, drl_cosf};
    double worst = 0.0;
    uint32_t u, k;
    for (u = 0x47c35000u; u < 0x7f800000u; u += 1009u) { /* from 1e5 */
        for (k = 0; k < 2; k++) {
            double e = ulps(one[k](from_bits(u)), exact[k]((double)from_bits(u)));
            double m = ulps(one[k](-from_bits(u)), exact[k](-(double)from_bits(u)));
            worst = e > worst ? e : worst;
            worst = m > worst ? m : worst;
        }
    }
    CHECK(worst <= 3.0);
    CHECK(isnan(drl_sinf(INFINITY)) && isnan(drl_cosf(-INFINITY)) && isnan(drl_sinf(NAN)));
    CHECK(isnan(drli_sinf(2e5f)) && isnan(drli_cosf(-2e5f))); /* stated limit of the inline form */
}

TEST(special_values)
{
    const float inf = INFINITY, zero = 0.0f;
    CHECK(drl_expf(0.0f) == 1.0f && drl_expf(-inf) == 0.0f && drl_expf(inf) == inf);
    CHECK(drl_expf(88.7f) < inf && drl_expf(88.8f) == inf && drl_expf(-103.0f) > 0.0f);
    CHECK(drl_expf(-104.0f) == 0.0f);
    CHECK(to_bits(drl_logf(1.0f)) == 0u && drl_logf(0.0f) == -inf && drl_logf(-zero) == -inf);
    CHECK(isnan(drl_logf(-1.0f)) && isnan(drl_logf(-inf)) && drl_logf(inf) == inf);
    CHECK(drl_tanhf(inf) == 1.0f && drl_tanhf(-inf) == -1.0f && drl_tanhf(1e-40f) == 1e-40f);
    CHECK(drl_sigmoidf(0.0f) == 0.5f && drl_sigmoidf(inf) == 1.0f && drl_sigmoidf(-inf) == 0.0f);
    CHECK(drl_sigmoidf(-87.0f) > 0.0f && drl_sigmoidf(-100.0f) == 0.0f);
    CHECK(drl_softplusf(inf) == inf && drl_softplusf(-inf) == 0.0f);
    CHECK_NEAR(drl_softplusf(0.0f), 0.69314718056, 6e-8);
    CHECK(drl_mishf(inf) == inf && drl_mishf(-inf) == 0.0f && drl_mishf(3e38f) == 3e38f);
    CHECK(drl_geluf(inf) == inf && drl_geluf(-inf) == 0.0f && drl_geluf(3e38f) == 3e38f);
    CHECK(drl_softplusf(-87.0f) > 0.0f && drl_softplusf(-100.0f) == 0.0f);
    CHECK(drl_mishf(-87.0f) < 0.0f && to_bits(drl_mishf(-100.0f)) == to_bits(-zero));
    CHECK(drl_geluf(-9.9f) < 0.0f && to_bits(drl_geluf(-10.5f)) == to_bits(-zero));
    CHECK(drl_erff(inf) == 1.0f && drl_erff(-inf) == -1.0f);
    CHECK(drli_erfinvf(1.0f) == inf && drli_erfinvf(-1.0f) == -inf && isnan(drli_erfinvf(1.5f)));
    CHECK(drl_cosf(0.0f) == 1.0f);
    CHECK_NEAR(drl_cosf(1.57079632679f), -4.3711388e-8, 1e-14);
    CHECK(to_bits(drl_tanhf(-zero)) == to_bits(-zero));
    CHECK(to_bits(drl_mishf(-zero)) == to_bits(-zero));
    CHECK(to_bits(drl_geluf(-zero)) == to_bits(-zero));
    CHECK(to_bits(drl_sinf(-zero)) == to_bits(-zero) && to_bits(drl_sinf(zero)) == 0u);
    CHECK(to_bits(drl_erff(-zero)) == to_bits(-zero));
    CHECK(to_bits(drli_erfinvf(-zero)) == to_bits(-zero));
}

/* points that go through every case of the functions */
static void fill_inputs(float *x, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        x[i] = i % 2u ? from_bits((uint32_t)i * 2654435761u) /* any float, also nan and inf */
                      : ((float)i / (float)n - 0.5f) * 30.0f;
    }
}

static uint32_t hash_floats(const float *x, size_t n, uint32_t h)
{
    size_t i;
    for (i = 0; i < n; i++) {
        uint32_t u = to_bits(x[i]), k;
        for (k = 0; k < 32; k += 8) h = (h ^ ((u >> k) & 0xffu)) * 16777619u;
    }
    return h;
}

enum { POINTS = 20011 }; /* odd: the ends of the vector loops are covered */

TEST(same_bits_on_every_instruction_set)
{
    static float x[POINTS], y[POINTS], z[POINTS];
    size_t k, i;
    int j;
    fill_inputs(x, POINTS);
    for (k = 0; k < sizeof(isas) / sizeof(isas[0]); k++) {
        drl_context ctx;
        if (!context(&ctx, isas[k], 1)) continue;
        for (j = 0; j < DRLI_COUNT(functions); j++) {
            functions[j].array(ctx.isa, POINTS, x, y);
            for (i = 0; i < POINTS; i++) {
                if (!((x[i] < 0 ? -x[i] : x[i]) > functions[j].limit)) {
                    CHECK(to_bits(y[i]) == to_bits(functions[j].one(x[i])));
                }
            }
            memcpy(z, x, sizeof(x));
            functions[j].array(ctx.isa, POINTS, z, z); /* in place */
            for (i = 0; i < POINTS; i++) CHECK(to_bits(z[i]) == to_bits(y[i]));
        }
        drl_context_free(&ctx);
    }
}

/* Pinned figures: another compiler or CPU must give them too. If a function is improved on purpose,
   the new figure is printed here. */
TEST(same_bits_as_ever)
{
    static float x[65536], y[65536];
    uint32_t i, h;
    int j;
    for (i = 0; i < 65536u; i++) x[i] = from_bits(i * 65537u);
    for (j = 0; j < DRLI_COUNT(functions); j++) {
        for (i = 0; i < 65536u; i++) y[i] = functions[j].one(x[i]);
        h = hash_floats(y, 65536, 2166136261u);
        CHECK(h == functions[j].hash);
        if (h != functions[j].hash) printf("  %s: 0x%08xu\n", functions[j].name, (unsigned)h);
    }
}

static double act_exact(drl_act act, double x)
{
    switch (act) {
    case DRL_ACT_RELU: return x > 0.0 ? x : 0.0;
    case DRL_ACT_TANH: return tanh(x);
    case DRL_ACT_SIGMOID: return exact_sigmoid(x);
    case DRL_ACT_SOFTPLUS: return exact_softplus(x);
    case DRL_ACT_MISH: return exact_mish(x);
    case DRL_ACT_GELU: return exact_gelu(x);
    default: return x;
    }
}

/* each slope against a central difference of the exact function, whose own error is 1e-9 */
TEST(slopes_of_activations)
{
    static float z[4001], y[4001], dy[4001], dz[4001], sum[4001];
    drl_context ctx;
    int act, i;
    CHECK(context(&ctx, DRL_ISA_AUTO, 1));
    for (act = 0; act < (int)DRL_ACT_COUNT; act++) {
        for (i = 0; i < 4001; i++) {
            z[i] = (float)(i - 2000) * 0.0075f; /* -15 .. 15 */
            dy[i] = i % 2 ? 1.0f : -3.0f;
            sum[i] = 100.0f;
            dz[i] = NAN; /* must not be read */
        }
        drl_act_forward(&ctx, (drl_act)act, 4001, z, y);
        drl_act_backward(&ctx, (drl_act)act, 4001, z, y, dy, dz, 0);
        drl_act_backward(&ctx, (drl_act)act, 4001, z, y, dy, sum, 1);
        for (i = 0; i < 4001; i++) {
            double h = 1e-5, x = (double)z[i];
            double slope = (act_exact((drl_act)act, x + h) - act_exact((drl_act)act, x - h)) /
                           (2.0 * h);
            CHECK_NEAR(y[i], act_exact((drl_act)act, x), 4.0 * 1.2e-7 * fabs(x) + 1e-6);
            if (z[i] == 0.0f && act == (int)DRL_ACT_RELU) slope = 0.0;
            CHECK_NEAR(dz[i], slope * (double)dy[i], 1e-6 * fabs((double)dy[i]));
            CHECK_NEAR(sum[i], 100.0 + slope * (double)dy[i], 1.2e-5);
        }
        drl_act_backward(&ctx, (drl_act)act, 4001, z, y, dy, dy, 0); /* dz over dy */
        for (i = 0; i < 4001; i++) CHECK(to_bits(dy[i]) == to_bits(dz[i]));
    }
    drl_context_free(&ctx);
}

/* values that a slope must go to, and the inputs that are not read */
TEST(slopes_at_the_ends)
{
    static const float z[6] = {-INFINITY, -200.0f, -0.0f, 0.0f, 200.0f, INFINITY};
    static const float one[6] = {1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f};
    static const float middle[DRL_ACT_COUNT] = {1.0f, 0.0f, 1.0f, 0.25f, 0.5f, 0.6f, 0.5f};
    float y[6], dz[6];
    drl_context ctx;
    int act;
    CHECK(context(&ctx, DRL_ISA_AUTO, 1));
    for (act = 0; act < (int)DRL_ACT_COUNT; act++) {
        int from_y = act == (int)DRL_ACT_RELU || act == (int)DRL_ACT_TANH ||
                     act == (int)DRL_ACT_SIGMOID;
        float right = act == (int)DRL_ACT_TANH || act == (int)DRL_ACT_SIGMOID ? 0.0f : 1.0f;
        drl_act_forward(&ctx, (drl_act)act, 6, z, y);
        drl_act_backward(&ctx, (drl_act)act, 6, from_y ? NULL : z, from_y ? y : NULL, one, dz, 0);
        CHECK(dz[0] == (act == 0 ? 1.0f : 0.0f) && dz[1] == dz[0]);
        CHECK_NEAR(dz[2], middle[act], 1e-7);
        CHECK_NEAR(dz[3], middle[act], 1e-7);
        CHECK_NEAR(dz[4], right, 2e-7);
        CHECK_NEAR(dz[5], right, 2e-7);
    }
    drl_context_free(&ctx);
}

/* subnormal numbers would slow down the products of later layers */
TEST(no_subnormal_activations)
{
    static const drl_act acts[2] = {DRL_ACT_MISH, DRL_ACT_GELU};
    static float z[100001], y[100001], dz[100001];
    drl_context ctx;
    int i, j;
    CHECK(context(&ctx, DRL_ISA_AUTO, 1));
    for (j = 0; j < 2; j++) {
        long zeros = 0, bad = 0;
        for (i = 0; i < 100001; i++) z[i] = (float)i * -0.001f, dz[i] = 1.0f;
        drl_act_forward(&ctx, acts[j], 100001, z, y);
        drl_act_backward(&ctx, acts[j], 100001, z, y, dz, dz, 0);
        for (i = 1; i < 100001; i++) {
            zeros += y[i] == 0.0f && dz[i] == 0.0f;
            bad += y[i] != 0.0f && fabsf(y[i]) < 1.17549435e-38f;
            bad += dz[i] != 0.0f && fabsf(dz[i]) < (j ? 1e-20f : 1.17549435e-38f);
        }
        CHECK(zeros > 12000 && bad == 0); /* left of -88 and of -10 */
    }
    drl_context_free(&ctx);
}

TEST(activations_same_bits_everywhere)
{
    enum { N = 70001 };
    static float z[N], dy[N], y[N], dz[N], y2[N], dz2[N];
    static const int threads[] = {1, 2, 3, 8};
    size_t i, k, t;
    int act;
    for (i = 0; i < N; i++) {
        z[i] = ((float)i / (float)N - 0.5f) * 250.0f;
        dy[i] = (float)(i % 17u) - 8.0f;
    }
    for (act = 0; act < (int)DRL_ACT_COUNT; act++) {
        int first = 1;
        for (k = 0; k < sizeof(isas) / sizeof(isas[0]); k++) {
            for (t = 0; t < 4; t++) {
                drl_context ctx;
                if (!context(&ctx, isas[k], threads[t])) continue;
                memset(dz2, 0, sizeof(dz2));
                drl_act_forward(&ctx, (drl_act)act, N, z, y2);
                drl_act_backward(&ctx, (drl_act)act, N, z, y2, dy, dz2, 0);
                drl_act_backward(&ctx, (drl_act)act, N, z, y2, dy, dz2, 1);
                if (first) {
                    memcpy(y, y2, sizeof(y));
                    memcpy(dz, dz2, sizeof(dz));
                }
                CHECK(!memcmp(y, y2, sizeof(y)));
                CHECK(!memcmp(dz, dz2, sizeof(dz)));
                drli_act_apply(ctx.isa, (drl_act)act, N, z, y2);
                CHECK(!memcmp(y, y2, sizeof(y)));
                first = 0;
                drl_context_free(&ctx);
            }
        }
    }
}

TEST_MAIN(TEST_ENTRY(accuracy_in_ulp), TEST_ENTRY(trigonometry_of_large_arguments),
          TEST_ENTRY(special_values), TEST_ENTRY(same_bits_on_every_instruction_set),
          TEST_ENTRY(same_bits_as_ever), TEST_ENTRY(slopes_of_activations),
          TEST_ENTRY(slopes_at_the_ends), TEST_ENTRY(no_subnormal_activations),
          TEST_ENTRY(activations_same_bits_everywhere))
