/* For tests/cli/export.sh: holds the exported policy NAME, in "NAME.h", against the library's rows
   (export_train.c), bit for bit; and its arithmetic against libm's. NO_NOISE: it takes none.
     export_check FILE.rows [TIMES: print microseconds per action] */
#include POLICY_FILE /* first: it must include what it needs */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define JOIN2(a, b) a##_##b
#define JOIN(a, b) JOIN2(a, b)
#define OF(word) JOIN(POLICY, word)

static OF(policy) policy;
static float obs[OF(OBS)], noise[OF(NOISE) + 1], want[OF(ACT)], act[OF(ACT)];
#ifndef NO_NOISE
static float mine[OF(NOISE)];
static OF(rng) rng;
#endif

static float any_float(void) /* from all of the range */
{
    static uint32_t state = 1u;
    union { uint32_t u; float f; } x;
    state = state * 1664525u + 1013904223u;
    x.u = state >> 16;
    state = state * 1664525u + 1013904223u;
    x.u = (x.u << 16) | (state >> 16);
    return x.f;
}

static int same(float a, float b)
{
    return memcmp(&a, &b, sizeof(a)) == 0 || (a != a && b != b);
}

/* Multiply-add and square root: at random, and near halves of the last place, also of subnormal
   results, where rounding twice would show. */
static int arithmetic(void)
{
    int i, bad = 0;
    for (i = 0; i < 2000000; i++) {
        float a = any_float(), b = any_float(), c = any_float(), d;
        bad += !same(OF(fma)(a, b, c), fmaf(a, b, c));
#ifndef NO_NOISE
        bad += a >= 1e-37f && a <= 1e38f && !same(OF(root)(a), sqrtf(a));
#endif
        c = ldexpf(1.0f + (float)(i % 1000) * 0x1p-23f, i % 2 ? i % 7 : -128);
        d = (float)(i % 5 - 2) * 0x1p-23f; /* a b is half of c's last place, times 1 - d^2 */
        a = (1.0f + d) * (i % 2 ? ldexpf(1.0f, i % 7 - 24) : 0x1p-75f);
        b = (1.0f - d) * (i % 2 ? 1.0f : 0x1p-75f);
        bad += !same(OF(fma)(a, b, c), fmaf(a, b, c)) + !same(OF(fma)(-a, b, c), fmaf(-a, b, c));
        bad += !same(OF(fma)(a, b, -c), fmaf(a, b, -c));
    }
#ifndef NO_NOISE
    bad += !same(OF(root)(0.0f), 0.0f) + !same(OF(root)(-0.0f), -0.0f);
#endif
    return bad;
}

static void stopwatch(int times)
{
    double best = 1e9;
    int i, k;
    for (k = 0; k < 5; k++) {
        clock_t start = clock();
        for (i = 0; i < times; i++) OF(act)(&policy, obs, noise, act);
        start = clock() - start;
        if ((double)start < best) best = (double)start;
    }
    printf("%.2f us per action\n", best / CLOCKS_PER_SEC / times * 1e6);
}

int main(int argc, char **argv)
{
    FILE *f = argc > 1 ? fopen(argv[1], "rb") : NULL;
    int h[8], r, bad = OF(selftest)(&policy), other = 0;
    if (bad) printf("self-test: %d\n", bad);
    if (!f || fread(h, sizeof(h), 1, f) != 1 || h[1] != OF(OBS) || h[2] != OF(ACT) ||
        h[3] != OF(NOISE) || h[0] < 1000)
        return printf("other dimensions\n"), 1;
    OF(begin)(&policy);
#ifndef NO_NOISE
    OF(rng_begin)(&rng, 7);
#endif
    for (r = 0; r < h[0]; r++) {
        if (fread(obs, sizeof(obs), 1, f) != 1 ||
            fread(noise, sizeof(float), OF(NOISE), f) != OF(NOISE) ||
            fread(want, sizeof(want), 1, f) != 1)
            return printf("short file\n"), 1;
        if (OF(wants)(&policy)) {
#ifndef NO_NOISE
            OF(rng_normals)(&rng, OF(wants)(&policy), mine);
            if (memcmp(mine, noise, sizeof(mine)) != 0) other++;
#else
            other++;
#endif
        }
        OF(act)(&policy, obs, noise, act);
        if (memcmp(act, want, sizeof(act)) != 0 && bad++ < 3)
            printf("row %d: %.9g, the library %.9g\n", r, (double)act[0], (double)want[0]);
    }
    fclose(f);
    if (argc < 3 && (r = arithmetic()) != 0) bad += printf("%d sums or roots differ\n", r);
    if (argc > 2) stopwatch(atoi(argv[2]));
    if (other) printf("%d rows of other noise\n", other);
    if (bad) printf("%d of %d rows differ\n", bad, h[0]);
    return bad || other;
}
