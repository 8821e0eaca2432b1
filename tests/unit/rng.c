/* Tests of >>rng: published known answers, distributions against closed forms (fixed seeds, bounds
   at about five standard deviations), and the same numbers however they are drawn. */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"

enum { MANY = 1000000 };
static float draws[MANY];

static const drl_isa isas[] = {DRL_ISA_SCALAR, DRL_ISA_NEON, DRL_ISA_AVX2, DRL_ISA_AVX512};

/* a context with this instruction set, 0 if the CPU has not got it */
static int context(drl_context *ctx, drl_isa isa, int threads)
{
    drl_context_config cfg = drl_context_config_default();
    cfg.isa = isa;
    cfg.threads = threads;
    return drl_context_init(ctx, &cfg) == DRL_OK;
}

static void normals(drl_rng *rng, float *x, size_t n)
{
    drl_context ctx;
    CHECK(context(&ctx, DRL_ISA_AUTO, 1));
    drl_rng_normal_fill(&ctx, rng, x, n);
    drl_context_free(&ctx);
}

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double cdf(double z) { return 0.5 * erfc(-z * 0.70710678118654752440); }

/* Kolmogorov-Smirnov: largest distance of the empirical distribution of x (sorted here) from the
   normal one restricted to [low, high], times sqrt(n). Beyond 2.2 in one of 10^4 cases. */
static double ks_normal(float *x, int n, double low, double high)
{
    double worst = 0.0, sign = low >= 0.0 ? -1.0 : 1.0; /* use the tail that is small */
    double a = cdf(sign * low), b = cdf(sign * high);
    int i;
    qsort(x, (size_t)n, sizeof(float), compare_floats);
    for (i = 0; i < n; i++) {
        double f = (cdf(sign * (double)x[i]) - a) / (b - a);
        double d1 = fabs(f - (double)i / n), d2 = fabs(f - (double)(i + 1) / n);
        if (d1 > worst) worst = d1;
        if (d2 > worst) worst = d2;
    }
    return worst * sqrt((double)n);
}

static double correlation(const float *x, const float *y, int n)
{
    double mx = 0.0, my = 0.0, xx = 0.0, yy = 0.0, xy = 0.0;
    int i;
    for (i = 0; i < n; i++) { mx += (double)x[i] / n; my += (double)y[i] / n; }
    for (i = 0; i < n; i++) {
        double u = (double)x[i] - mx, v = (double)y[i] - my;
        xx += u * u;
        yy += v * v;
        xy += u * v;
    }
    return xy / sqrt(xx * yy);
}

/* Random123's kat_vectors for philox4x32-10 */
TEST(philox_known_answers)
{
    static const uint32_t in[3][6] = {
        {0u, 0u, 0u, 0u, 0u, 0u},
        {0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu},
        {0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u, 0xa4093822u, 0x299f31d0u}};
    static const uint32_t out[3][4] = {{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u},
                                       {0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu},
                                       {0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}};
    int i;
    for (i = 0; i < 3; i++) {
        const uint32_t *c = in[i], *w = out[i];
        uint32_t x[4];
        drli_philox(x, 1u, c[0], c[1], c[2], c[3], c[4], c[5]);
        CHECK(!memcmp(x, w, sizeof(x)));
    }
}

/* the same through the public struct: counter = position / 4, stream, key = seed */
TEST(layout_of_the_counter)
{
    static const uint32_t zero[4] = {0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u};
    static const uint32_t w[4] = {0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u};
    uint32_t got[4];
    drl_rng rng;
    int i;
    CHECK(sizeof(drl_rng) == 32);
    memset(&rng, 0, sizeof(rng));
    for (i = 0; i < 4; i++) CHECK(drl_rng_bits(&rng) == zero[i]);
    CHECK(rng.position == 4);
    rng.stream = 0x0370734413198a2eu;
    rng.key[0] = 0xa4093822u;
    rng.key[1] = 0x299f31d0u;
    drli_rng_blocks(&rng, 0x85a308d3243f6a88u, 1u, got); /* too large a block for a position */
    CHECK(!memcmp(got, w, sizeof(w)));
}

static uint32_t hash_normals(int n)
{
    drl_rng rng = drl_rng_make(1, "hash");
    uint32_t h = 2166136261u, u, k;
    int i;
    for (i = 0; i < n; i++) {
        float z = drl_rng_normal(&rng);
        memcpy(&u, &z, sizeof(u));
        for (k = 0; k < 32; k += 8) h = (h ^ ((u >> k) & 0xffu)) * 16777619u;
    }
    return h;
}

/* figures that may never change, on no CPU: saved runs depend on them */
TEST(same_numbers_as_ever)
{
    drl_rng rng = drl_rng_make(1, "replay"), child = drl_rng_split(&rng, 7);
    drl_rng wide = drl_rng_make(0x123456789abcdef0u, "env");
    uint32_t h = hash_normals(4096);
    CHECK(rng.key[0] == 1u && rng.key[1] == 0u && rng.position == 0 && rng.normal == 0);
    CHECK(wide.key[0] == 0x9abcdef0u && wide.key[1] == 0x12345678u);
    CHECK(drl_rng_bits(&rng) == 0x11b3f12du);
    CHECK(drl_rng_bits(&child) == 0xcc43f4d1u);
    CHECK(drl_rng_bits(&wide) == 0x889cfa85u);
    CHECK(h == 0x5701d1c5u);
    if (h != 0x5701d1c5u) printf("  0x%08xu\n", (unsigned)h);
    CHECK_NEAR(drl_rng_truncated_normal(&wide, -2.0f, 2.0f), -1.72533262f, 0.0);
}

TEST(fill_equals_single_draws)
{
    static float x[400];
    size_t k, n, i;
    uint64_t at;
    for (k = 0; k < sizeof(isas) / sizeof(isas[0]); k++) {
        drl_context ctx;
        if (!context(&ctx, isas[k], 1)) continue;
        for (at = 0; at < 140; at += 3) {
            for (n = 0; n < 200; n += 7) {
                drl_rng one = drl_rng_make(3, "fill"), fill, uniform;
                one.position = at + 0x3fffffff00u; /* the second word of the counter is in use */
                fill = uniform = one;
                x[n] = 77.0f; /* must not be written */
                drl_rng_normal_fill(&ctx, &fill, x, n);
                for (i = 0; i < n; i++) CHECK(x[i] == drl_rng_normal(&one));
                CHECK(x[n] == 77.0f && fill.position == one.position);
                one = uniform;
                drl_rng_uniform_fill(&ctx, &uniform, x, n, 0.0f, 1.0f);
                for (i = 0; i < n; i++) CHECK(x[i] == drl_rng_uniform(&one));
                CHECK(x[n] == 77.0f && uniform.position == one.position);
            }
        }
        drl_context_free(&ctx);
    }
}

TEST(same_bits_on_every_instruction_set_and_thread_count)
{
    enum { N = 200003 };
    static float x[N], y[N], u[N], v[N];
    static const int threads[] = {1, 2, 3, 8};
    size_t k, t;
    int first = 1;
    for (k = 0; k < sizeof(isas) / sizeof(isas[0]); k++) {
        for (t = 0; t < 4; t++) {
            drl_context ctx;
            drl_rng rng = drl_rng_make(5, "bits");
            if (!context(&ctx, isas[k], threads[t])) continue;
            rng.position = 13;
            drl_rng_normal_fill(&ctx, &rng, first ? x : y, N);
            drl_rng_uniform_fill(&ctx, &rng, first ? u : v, N, -3.0f, 2.0f);
            CHECK(first || !memcmp(x, y, sizeof(x)));
            CHECK(first || !memcmp(u, v, sizeof(u)));
            first = 0;
            drl_context_free(&ctx);
        }
    }
}

TEST(any_draw_is_addressable)
{
    drl_rng a = drl_rng_make(9, "x"), b = a, saved;
    uint32_t w[100];
    int i;
    for (i = 0; i < 100; i++) w[i] = drl_rng_bits(&a);
    for (i = 99; i >= 0; i--) {
        b.position = (uint64_t)i;
        CHECK(drl_rng_bits(&b) == w[i]);
    }
    memcpy(&saved, &a, 32);
    CHECK(drl_rng_bits(&saved) == drl_rng_bits(&a));
}

TEST(streams_are_independent)
{
    static float x[MANY / 4], y[MANY / 4];
    const int n = MANY / 4;
    const double bound = 5.0 / sqrt((double)n);
    drl_rng root = drl_rng_make(1, "env"), other, child, next, grandchild;
    int i, same = 0;
    other = drl_rng_make(1, "env");
    CHECK(!memcmp(&root, &other, sizeof(root)));
    other = drl_rng_make(1, "enw");
    CHECK(other.stream != root.stream);
    child = drl_rng_split(&root, 0);
    next = drl_rng_split(&root, 1);
    grandchild = drl_rng_split(&child, 0);
    CHECK(root.position == 0); /* splitting does not move the parent */
    CHECK(child.stream != root.stream && grandchild.stream != child.stream &&
          grandchild.stream != next.stream);
    normals(&root, x, (size_t)n);
    normals(&child, y, (size_t)n);
    CHECK_NEAR(correlation(x, y, n), 0.0, bound);
    normals(&next, x, (size_t)n);
    CHECK_NEAR(correlation(x, y, n), 0.0, bound);
    normals(&grandchild, x, (size_t)n);
    CHECK_NEAR(correlation(x, y, n), 0.0, bound);
    root = drl_rng_make(1, "env"); /* seeds that differ in one bit */
    other = drl_rng_make(3, "env");
    normals(&root, x, (size_t)n);
    normals(&other, y, (size_t)n);
    CHECK_NEAR(correlation(x, y, n), 0.0, bound);
    CHECK_NEAR(correlation(x, x + 1, n - 1), 0.0, bound); /* cos and sin of one pair, and pairs */
    CHECK_NEAR(correlation(x, x + 2, n - 2), 0.0, bound);
    for (i = 0; i < n; i++) y[i] = x[i] * x[i];
    CHECK_NEAR(correlation(y, y + 1, n - 1), 0.0, bound); /* nor through the common radius */
    root = drl_rng_make(1, "env");
    other = drl_rng_make(1, "enw");
    for (i = 0; i < 1000; i++) {
        uint32_t a = drl_rng_bits(&root), b = drl_rng_bits(&other);
        same += a == b;
    }
    CHECK(same == 0);
}

TEST(moments_of_uniform)
{
    drl_rng rng = drl_rng_make(2, "uniform");
    double m[5] = {0.0, 0.0, 0.0, 0.0, 0.0}, chi = 0.0;
    static int bins[1000];
    float low = 1.0f, high = 0.0f;
    int i;
    for (i = 0; i < MANY; i++) {
        float u = drl_rng_uniform(&rng);
        double d = (double)u - 0.5;
        CHECK(u >= 0.0f && u < 1.0f && u * 16777216.0f == floorf(u * 16777216.0f));
        low = u < low ? u : low;
        high = u > high ? u : high;
        m[1] += d / MANY;
        m[2] += d * d / MANY;
        m[3] += d * d * d / MANY;
        m[4] += d * d * d * d / MANY;
        bins[(int)(u * 1000.0f)]++;
    }
    CHECK_NEAR(m[1], 0.0, 5.0 * sqrt(1.0 / 12.0 / MANY));
    CHECK_NEAR(m[2], 1.0 / 12.0, 5.0 * sqrt(1.0 / 180.0 / MANY));
    CHECK_NEAR(m[3], 0.0, 5.0 * sqrt(1.0 / 448.0 / MANY));
    CHECK_NEAR(m[4], 1.0 / 80.0, 5.0 * sqrt(1.0 / 3600.0 / MANY * 1.78));
    CHECK(low < 2e-5f && high > 0.99998f);
    for (i = 0; i < 1000; i++) chi += (bins[i] - MANY / 1000.0) * (bins[i] - MANY / 1000.0) * 1e-3;
    CHECK_NEAR(chi, 999.0, 5.0 * sqrt(2.0 * 999.0));
}

TEST(range_of_uniform_fill)
{
    static float x[4096];
    drl_context ctx;
    drl_rng rng = drl_rng_make(4, "range"), again = rng;
    int i;
    CHECK(context(&ctx, DRL_ISA_AUTO, 1));
    drl_rng_uniform_fill(&ctx, &rng, x, 4096, -2.0f, 3.0f);
    for (i = 0; i < 4096; i++) CHECK(x[i] == fmaf(drl_rng_uniform(&again), 5.0f, -2.0f));
    drl_rng_uniform_fill(&ctx, &rng, x, 4096, 16777216.0f, 16777218.0f); /* rounds to 2 floats */
    for (i = 0; i < 4096; i++) CHECK(x[i] == 16777216.0f);
    drl_context_free(&ctx);
}

TEST(moments_of_normal)
{
    drl_rng rng = drl_rng_make(6, "normal");
    double m[5] = {0.0, 0.0, 0.0, 0.0, 0.0};
    int i, beyond3 = 0, beyond4 = 0;
    normals(&rng, draws, MANY);
    for (i = 0; i < MANY; i++) {
        double z = (double)draws[i];
        m[1] += z / MANY;
        m[2] += z * z / MANY;
        m[3] += z * z * z / MANY;
        m[4] += z * z * z * z / MANY;
        beyond3 += fabs(z) > 3.0;
        beyond4 += fabs(z) > 4.0;
    }
    CHECK_NEAR(m[1], 0.0, 5.0 * sqrt(1.0 / MANY));
    CHECK_NEAR(m[2], 1.0, 5.0 * sqrt(2.0 / MANY));
    CHECK_NEAR(m[3], 0.0, 5.0 * sqrt(15.0 / MANY));
    CHECK_NEAR(m[4], 3.0, 5.0 * sqrt(96.0 / MANY));
    CHECK_NEAR(beyond3, 2699.8, 5.0 * sqrt(2699.8));
    CHECK_NEAR(beyond4, 63.3, 5.0 * sqrt(63.3));
    CHECK(ks_normal(draws, MANY, -INFINITY, INFINITY) < 2.2);
    CHECK(draws[0] > -6.8f && draws[MANY - 1] < 6.8f);
}

/* the radius goes as far as 32 bits allow, and its extremes are finite */
/* A normal does not depend on what another kind of draw took just before it from the same stream. */
TEST(mixed_draws_are_independent)
{
    drl_rng rng = drl_rng_make(11, "mixed");
    double square[4] = {0}, count[4] = {0};
    int i;
    for (i = 0; i < 200000; i++) {
        uint32_t g = drl_rng_integer(&rng, 4);
        double z = (double)drl_rng_normal(&rng);
        square[g] += z * z;
        count[g] += 1;
    }
    /* variance of z^2 is 2: the mean of 50000 has standard error 0.0063 */
    for (i = 0; i < 4; i++) CHECK_NEAR(square[i] / count[i], 1.0, 0.03);
}

TEST(tails_of_normal)
{
    CHECK_NEAR(drli_normal_radius(0u), sqrt(2.0 * 33.0 * log(2.0)), 2e-6);
    CHECK_NEAR(drli_normal_radius(0x7fffffffu), sqrt(2.0 * log(2.0)), 2e-7);
    CHECK(drli_normal_radius(0xffffffffu) == 0.0f);
    CHECK_NEAR(drli_normal_turn(0u, 1u), 1.0, 0.0);            /* cos 0 */
    CHECK_NEAR(drli_normal_turn(0u, 0u), 0.0, 0.0);            /* sin 0 */
    CHECK_NEAR(drli_normal_turn(0x40000000u, 0u), 1.0, 0.0);   /* sin of a quarter turn */
    CHECK_NEAR(drli_normal_turn(0x80000000u, 1u), -1.0, 0.0);
    CHECK_NEAR(drli_normal_turn(0xc0000000u, 0u), -1.0, 0.0);
    CHECK_NEAR(drli_normal_turn(0x20000000u, 0u), sqrt(0.5), 1e-7);
    CHECK_NEAR(drli_normal_turn(0x20000000u, 1u), sqrt(0.5), 1e-7);
}

TEST(truncated_normal)
{
    static const float bounds[][2] = {
        {-2.0f, 2.0f}, {0.5f, 3.0f},  {-3.0f, -0.5f}, {4.0f, 5.0f},    {-INFINITY, -6.0f},
        {8.0f, 9.0f},  {-1.0f, 10.0f}, {-0.1f, 0.1f}, {0.0f, INFINITY}, {-11.5f, -11.0f},
        {-INFINITY, INFINITY}, {-40.0f, 0.25f}, {2.0f, 2.01f}};
    enum { N = 50000 };
    size_t k;
    int i;
    for (k = 0; k < sizeof(bounds) / sizeof(bounds[0]); k++) {
        drl_rng rng = drl_rng_make(8, "truncated");
        float low = bounds[k][0], high = bounds[k][1];
        double ks;
        for (i = 0; i < N; i++) {
            draws[i] = drl_rng_truncated_normal(&rng, low, high);
            CHECK(draws[i] >= low && draws[i] <= high);
        }
        CHECK(rng.position == N);
        ks = ks_normal(draws, N, (double)low, (double)high);
        CHECK(ks < 2.2);
        if (!(ks < 2.2)) printf("  [%g, %g]: %g\n", (double)low, (double)high, ks);
    }
}

/* Beyond 12 sigma it is the nearer end. */
TEST(truncated_normal_far_out)
{
    drl_rng rng = drl_rng_make(8, "far");
    CHECK(drl_rng_truncated_normal(&rng, 20.0f, INFINITY) == 20.0f);
    CHECK(drl_rng_truncated_normal(&rng, -1e30f, -1e20f) == -1e20f);
    CHECK(drl_rng_truncated_normal(&rng, -15.0078125f, -15.0f) == -15.0f);
    CHECK(rng.position == 3);
}

TEST(integers_without_bias)
{
    drl_rng rng = drl_rng_make(10, "integers");
    const uint32_t big = 0xc0000000u; /* with a modulo the lowest third would come twice as often */
    int bins[7] = {0, 0, 0, 0, 0, 0, 0}, thirds[3] = {0, 0, 0}, i;
    double chi = 0.0;
    for (i = 0; i < 700000; i++) {
        uint32_t k = drl_rng_integer(&rng, 7);
        CHECK(k < 7u);
        bins[k % 7u]++;
    }
    for (i = 0; i < 7; i++) chi += (bins[i] - 1e5) * (bins[i] - 1e5) / 1e5;
    CHECK(chi < 6.0 + 5.0 * sqrt(12.0));
    chi = 0.0;
    for (i = 0; i < 300000; i++) {
        uint32_t k = drl_rng_integer(&rng, big);
        CHECK(k < big);
        thirds[(k >> 30) % 3u]++;
    }
    for (i = 0; i < 3; i++) chi += (thirds[i] - 1e5) * (thirds[i] - 1e5) / 1e5;
    CHECK(chi < 2.0 + 5.0 * sqrt(4.0) + 5.0);
    for (i = 0; i < 100; i++) CHECK(drl_rng_integer(&rng, 1) == 0u);
    CHECK_NEAR((double)rng.position - 1000100.0, 1e5, 5.0 * 365.0); /* one in four is redrawn */
}

TEST(permutations)
{
    drl_rng rng = drl_rng_make(11, "permutation");
    static uint32_t p[1000];
    static int seen[1000], count[120];
    double chi = 0.0;
    int i, k, j;
    p[0] = 5;
    drl_rng_permutation(&rng, p, 0);
    CHECK(p[0] == 5u);
    drl_rng_permutation(&rng, p, 1);
    CHECK(p[0] == 0u && rng.position == 0);
    drl_rng_permutation(&rng, p, 1000);
    for (i = 0; i < 1000; i++) {
        CHECK(p[i] < 1000u);
        seen[p[i] % 1000u]++;
    }
    for (i = 0; i < 1000; i++) CHECK(seen[i] == 1);
    for (k = 0; k < 120000; k++) { /* all 120 orders of 5 come equally often */
        int code = 0;
        drl_rng_permutation(&rng, p, 5);
        for (i = 0; i < 4; i++) {
            int smaller = 0;
            for (j = i + 1; j < 5; j++) smaller += p[j] < p[i];
            code = code * (5 - i) + smaller;
        }
        count[code]++;
    }
    for (i = 0; i < 120; i++) chi += (count[i] - 1e3) * (count[i] - 1e3) / 1e3;
    CHECK_NEAR(chi, 119.0, 5.0 * sqrt(2.0 * 119.0));
}

TEST_MAIN(TEST_ENTRY(philox_known_answers), TEST_ENTRY(layout_of_the_counter),
          TEST_ENTRY(same_numbers_as_ever), TEST_ENTRY(fill_equals_single_draws),
          TEST_ENTRY(same_bits_on_every_instruction_set_and_thread_count),
          TEST_ENTRY(any_draw_is_addressable), TEST_ENTRY(streams_are_independent),
          TEST_ENTRY(moments_of_uniform), TEST_ENTRY(range_of_uniform_fill),
          TEST_ENTRY(moments_of_normal), TEST_ENTRY(tails_of_normal),
          TEST_ENTRY(mixed_draws_are_independent),
          TEST_ENTRY(truncated_normal), TEST_ENTRY(truncated_normal_far_out),
          TEST_ENTRY(integers_without_bias), TEST_ENTRY(permutations))
