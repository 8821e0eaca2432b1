/* Measures diffrl.h on this machine: matrix products, activations, whole updates, latency of one
   action, memory. tools/bench.sh builds and runs it; `build/bench --help` tells the rest.
   build   cc -O2 tools/bench.c -o build/bench -lm -ldl

   How it measures: a time is the best of many short runs, because other programs can only slow a
   run down; what is compared runs in turn, block by block. One thread is measured in CPU time,
   several in wall time. The peak is measured again before each row; fractions refer to the best
   seen. The last column of the products has their part of the peak measured between their runs: it
   leaves out what the CPU lowers its clock by under products. */
#define _GNU_SOURCE
#include "../examples/baselines/baselines.h"

/* Counts the products that the library does: its calls of drl_gemm go to bench_gemm. The definition
   and the prototype begin with drl_context: there BENCH_drl_context picks the name instead. */
#define BENCH_SECOND(a, b, ...) b
#define BENCH_PICK(...) BENCH_SECOND(__VA_ARGS__, ~)
#define BENCH_drl_context 0, bench_real_gemm,
#define BENCH_GEMM_ARGS                                                                          \
    drl_context *ctx, drl_gemm_form form, int m, int n, int k, const float *a, int lda,          \
        const float *b, int ldb, float *c, int ldc, const drl_epilogue *epilogue
static double flops;
static void bench_gemm(BENCH_GEMM_ARGS);
DRLDEF void bench_real_gemm(BENCH_GEMM_ARGS);
#define drl_gemm(first, ...) BENCH_PICK(BENCH_##first, bench_gemm)(first, __VA_ARGS__)
#define DIFFRL_IMPLEMENTATION
#include "../examples/baselines/baselines.h"
#undef drl_gemm

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static void bench_gemm(BENCH_GEMM_ARGS)
{
    flops += 2.0 * m * n * k * (epilogue && epilogue->pairs ? 2 : 1);
    bench_real_gemm(ctx, form, m, n, k, a, lda, b, ldb, c, ldc, epilogue);
}

/* ------------------------------------------------------------------------------------- options */

static int quick, profile, threads_max = 2;
static drl_isa isa_used = DRL_ISA_AUTO;
static const char *const isa_names[] = {"auto", "scalar", "neon", "avx2", "avx512"}; /* DRL_ISA_* */
static const char *only = "", *peers_dir = NULL, *python = "/usr/bin/python3", *match = "";
static FILE *csv;

static const char usage[] =
    "usage: build/bench [--quick] [--only SECTION] [--match TEXT] [--threads N] [--csv FILE]\n"
    "                   [--isa NAME] [--profile] [--peers DIR] [--python PROGRAM]\n"
    "\n"
    "Prints tables of time, GFLOP/s and part of the multiply-add peak of this machine, measured\n"
    "in the same run, and writes the same figures to a CSV file.\n"
    "\n"
    "  --quick           at most a minute: short runs, HalfCheetah only\n"
    "  --only SECTION    one of machine gemm act update latency memory\n"
    "  --match TEXT      only rows whose name contains TEXT\n"
    "  --threads N       largest number of threads (default 2)\n"
    "  --isa NAME        scalar, neon, avx2 or avx512, for ours and the peak (default: the best)\n"
    "  --csv FILE        default build/bench.csv: section,name,variant,threads,value,unit\n"
    "  --profile         with update: the functions that take more than 1 %\n"
    "  --peers DIR       updates and actions of the PyTorch scripts of DIR (tools/peers) in\n"
    "                    turn with ours\n"
    "  --python PROGRAM  which has torch (default /usr/bin/python3)\n"
    "\n"
    "Other libraries for matrix products (OpenBLAS, BLIS, oneDNN) are used if they are installed.\n"
    "OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE are unset, so that it chooses its own best kernels.\n"
    "\n"
    "examples:\n"
    "  build/bench --quick\n"
    "  build/bench --only gemm --match 256x256x256\n"
    "  build/bench --only update --match dime --profile\n"
    "  build/bench --only update --peers tools/peers\n";

static int wanted(const char *section, const char *name)
{
    return (!*only || strcmp(only, section) == 0) && (!name || strstr(name, match));
}

static void record(const char *section, const char *name, const char *variant, int threads,
                   double value, const char *unit)
{
    if (csv) fprintf(csv, "%s,%s,%s,%d,%.6g,%s\n", section, name, variant, threads, value, unit);
}

static double clock_of(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double seconds(void)
{
    return clock_of(CLOCK_MONOTONIC);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Something that can be run again and again. */
typedef void (*job_fn)(void *arg);

/* How many calls take about `length` seconds. */
static int calls_for(job_fn fn, void *arg, double length)
{
    double t = seconds(), d;
    int n = 1, i;
    fn(arg);
    d = seconds() - t;
    while (d < length / 4 && n < 1 << 24) {
        n *= 2;
        for (t = seconds(), i = 0; i < n; i++) fn(arg);
        d = seconds() - t;
    }
    i = (int)(length / (d / n));
    return i < 1 ? 1 : i;
}

/* Work of one thread is measured in its CPU time, which other programs do not count into. */
static double run(job_fn fn, void *arg, int calls, int threads)
{
    clockid_t id = threads > 1 ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID;
    double t = clock_of(id);
    int i;
    for (i = 0; i < calls; i++) fn(arg);
    return (clock_of(id) - t) / calls;
}

/* Seconds of one call: the best of `blocks` runs of about `length` seconds. */
static double best_time(job_fn fn, void *arg, int threads, double length, int blocks)
{
    int n = calls_for(fn, arg, length), i;
    double best = 1e30;
    for (i = 0; i < blocks; i++) {
        double t = run(fn, arg, n, threads);
        best = t < best ? t : best;
    }
    return best;
}

/* ------------------------------------------------------------------------------------- machine */

static double peak; /* FLOP/s of one core, the best seen */
static volatile float sink;

/* 14 sums hide the latency of the multiply-add. */
#define PEAK_STEPS 4096
#if defined(__x86_64__)
#define PEAK_LOOP(name, target, V, SET, FMA, ADD, LOAD, FIRST)                                     \
    target static double name##_fma(void)                                                          \
    {                                                                                              \
        V s[14], x = SET(0.999f), y = SET(1e-3f);                                                  \
        int i, j;                                                                                  \
        for (j = 0; j < 14; j++) s[j] = SET((float)j);                                             \
        for (i = 0; i < PEAK_STEPS; i++) {                                                         \
            DRLI_EACH(j, 14) s[j] = FMA(s[j], x, y);                                               \
        }                                                                                          \
        for (j = 1; j < 14; j++) s[0] = ADD(s[0], s[j]);                                           \
        sink = FIRST(s[0]);                                                                        \
        return 2.0 * 14 * PEAK_STEPS * (double)(sizeof(V) / 4);                                    \
    }                                                                                              \
    target static void name##_read(const float *p, size_t n)                                       \
    {                                                                                              \
        V s[8];                                                                                    \
        size_t i, w = sizeof(V) / 4;                                                               \
        int j;                                                                                     \
        for (j = 0; j < 8; j++) s[j] = SET(0.0f);                                                  \
        for (i = 0; i + 8 * w <= n; i += 8 * w) {                                                  \
            DRLI_EACH(j, 8) s[j] = ADD(s[j], LOAD(p + i + (size_t)j * w));                         \
        }                                                                                          \
        for (j = 1; j < 8; j++) s[0] = ADD(s[0], s[j]);                                            \
        sink = FIRST(s[0]);                                                                        \
    }
PEAK_LOOP(avx512, DRLI_AVX512, __m512, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_add_ps,
          _mm512_loadu_ps, _mm512_cvtss_f32)
PEAK_LOOP(avx2, DRLI_AVX2, __m256, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_add_ps,
          _mm256_loadu_ps, _mm256_cvtss_f32)
#endif

static double plain_fma(void)
{
    float s[16];
    int i, j;
    for (j = 0; j < 16; j++) s[j] = (float)j;
    for (i = 0; i < PEAK_STEPS; i++) {
        for (j = 0; j < 16; j++) s[j] = s[j] * 0.999f + 1e-3f;
    }
    for (j = 1; j < 16; j++) s[0] += s[j];
    sink = s[0];
    return 2.0 * 16 * PEAK_STEPS;
}

static void plain_read(const float *p, size_t n)
{
    float s[32] = {0};
    size_t i;
    int j;
    for (i = 0; i + 32 <= n; i += 32) {
        for (j = 0; j < 32; j++) s[j] += p[i + (size_t)j];
    }
    sink = s[0];
}

typedef struct peak_job {
    drl_isa isa;
    const float *p;
    size_t n;
    double flops;
} peak_job;

static void peak_run(void *arg)
{
    peak_job *j = (peak_job *)arg;
#if defined(__x86_64__)
    if (j->isa == DRL_ISA_AVX512) { j->flops = avx512_fma(); return; }
    if (j->isa == DRL_ISA_AVX2) { j->flops = avx2_fma(); return; }
#endif
    j->flops = plain_fma();
}

static void read_run(void *arg)
{
    peak_job *j = (peak_job *)arg;
#if defined(__x86_64__)
    if (j->isa == DRL_ISA_AVX512) { avx512_read(j->p, j->n); return; }
    if (j->isa == DRL_ISA_AVX2) { avx2_read(j->p, j->n); return; }
#endif
    plain_read(j->p, j->n);
}

/* Peak of one core for an instruction set; the best one moves `peak`. */
static double peak_measure(drl_isa isa, int blocks)
{
    peak_job j;
    double t;
    j.isa = isa;
    t = best_time(peak_run, &j, 1, 1e-3, blocks);
    if (j.flops / t > peak) peak = j.flops / t;
    return j.flops / t;
}

/* All threads at once: what of the peak is left of each. */
typedef struct crowd {
    drl_isa isa;
    double rate[64];
} crowd;

static void crowd_run(void *arg, int begin, int end, int worker)
{
    crowd *c = (crowd *)arg;
    peak_job j;
    double t;
    (void)begin, (void)end;
    j.isa = c->isa;
    t = best_time(peak_run, &j, 1, 2e-3, 5);
    c->rate[worker] = j.flops / t;
}

static void machine(drl_context *ctx, drl_context *many)
{
    static const struct { const char *name; size_t kib; } levels[] = {
        {"16 KiB (L1)", 16}, {"512 KiB (L2)", 512}, {"8 MiB (L3)", 8192},
        {"256 MiB (DRAM)", 262144}};
    drl_isa isa;
    crowd all;
    double sum = 0;
    int i;
    char line[200] = "unknown CPU";
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof(line), f) && !strstr(line, "model name")) {}
    if (f) fclose(f);
    line[strcspn(line, "\n")] = 0;
    if (strchr(line, ':')) printf("%s, %d threads\n", strchr(line, ':') + 2, many->cfg.threads);
    for (isa = DRL_ISA_SCALAR; isa <= ctx->isa; isa = (drl_isa)(isa + 1)) {
        double r;
        if (!drli_isa_supported(isa)) continue;
        r = peak_measure(isa, quick ? 20 : 100);
        printf("peak, %-8s one core %21.1f GFLOP/s\n", isa_names[isa], r * 1e-9);
        record("machine", isa_names[isa], "fma", 1, r * 1e-9, "GFLOP/s");
    }
    memset(&all, 0, sizeof(all));
    all.isa = ctx->isa;
    drl_parallel_for(many, many->cfg.threads, 1, crowd_run, &all);
    for (i = 0; i < many->cfg.threads && i < 64; i++) sum += all.rate[i];
    printf("peak, %2d cores at once %22.1f GFLOP/s\n", many->cfg.threads, sum * 1e-9);
    record("machine", "all", "fma", many->cfg.threads, sum * 1e-9, "GFLOP/s");
    for (i = 0; i < 4; i++) {
        peak_job j;
        float *p;
        double t;
        j.isa = ctx->isa;
        j.n = levels[i].kib * 1024 / sizeof(float);
        j.p = p = (float *)drl_memory_alloc(ctx, j.n * sizeof(float));
        if (!p) continue;
        memset(p, 1, j.n * sizeof(float));
        t = best_time(read_run, &j, 1, 2e-3, 20);
        printf("read, %-18s %24.1f GB/s\n", levels[i].name, (double)j.n * 4e-9 / t);
        record("machine", levels[i].name, "read", 1, (double)j.n * 4e-9 / t, "GB/s");
        drl_memory_free(ctx, p, j.n * sizeof(float));
    }
}

/* ----------------------------------------------------------------------------- matrix products */

typedef void (*cblas_fn)(int order, int ta, int tb, int m, int n, int k, float alpha,
                         const float *a, int lda, const float *b, int ldb, float beta, float *c,
                         int ldc);
typedef int (*dnnl_fn)(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha,
                       const float *a, int64_t lda, const float *b, int64_t ldb, float beta,
                       float *c, int64_t ldc);

/* Where a product is computed: here, or by another library. */
typedef struct gemm_by {
    const char *name;
    drl_context *ctx; /* NULL: not ours */
    cblas_fn cblas;
    dnnl_fn dnnl;
    int threads;
} gemm_by;

typedef struct gemm_job {
    const gemm_by *by;
    drl_gemm_form form;
    int m, n, k, lda, ldb;
    float *a, *b, *c;
} gemm_job;

static void gemm_run(void *arg)
{
    const gemm_job *g = (const gemm_job *)arg;
    int ta = g->form == DRL_GEMM_TN, tb = g->form == DRL_GEMM_NT;
    if (g->by->ctx)
        bench_real_gemm(g->by->ctx, g->form, g->m, g->n, g->k, g->a, g->lda, g->b, g->ldb, g->c,
                        g->n, NULL);
    else if (g->by->cblas)
        g->by->cblas(101, ta ? 112 : 111, tb ? 112 : 111, g->m, g->n, g->k, 1.0f, g->a, g->lda,
                     g->b, g->ldb, 0.0f, g->c, g->n);
    else
        g->by->dnnl(ta ? 'T' : 'N', tb ? 'T' : 'N', g->m, g->n, g->k, 1.0f, g->a, g->lda, g->b,
                    g->ldb, 0.0f, g->c, g->n);
}

/* The other libraries that this machine has; one thread. */
static int gemm_others(gemm_by *by, int count)
{
    static const char *const files[][3] = {{"OpenBLAS", "libopenblas.so.0", "cblas_sgemm"},
                                           {"BLIS", "libblis.so.4", "cblas_sgemm"},
                                           {"oneDNN", "libdnnl.so.2", "dnnl_sgemm"}};
    int i;
    setenv("OMP_NUM_THREADS", "1", 1);
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    unsetenv("OPENBLAS_CORETYPE"); /* it shall choose its best kernels */
    unsetenv("OPENBLAS_L2_SIZE");
    for (i = 0; i < 3; i++) {
        void *lib = dlopen(files[i][1], RTLD_NOW | RTLD_LOCAL), *fn;
        if (!lib || !(fn = dlsym(lib, files[i][2]))) continue;
        memset(&by[count], 0, sizeof(by[count]));
        by[count].name = files[i][0];
        by[count].threads = 1;
        if (i == 2) memcpy(&by[count].dnnl, &fn, sizeof(fn));
        else memcpy(&by[count].cblas, &fn, sizeof(fn));
        count++;
    }
    return count;
}

static void gemm_row(const gemm_by *by, int count, gemm_job *g, const char *name)
{
    static const char *const forms[] = {"NN", "TN", "NT"};
    double best[8], work = 2.0 * g->m * g->n * g->k, beside = 1e30;
    int calls[8], i, r, rounds = quick ? 12 : 40;
    peak_job p;
    p.isa = (drl_isa)by[0].ctx->isa;
    peak_measure(p.isa, 2);
    for (i = 0; i < count; i++) {
        g->by = &by[i];
        best[i] = 1e30;
        calls[i] = calls_for(gemm_run, g, quick ? 5e-4 : 2e-3);
    }
    for (r = 0; r < rounds; r++) {
        for (i = 0; i < count; i++) {
            double t;
            g->by = &by[i];
            t = run(gemm_run, g, calls[i], by[i].threads);
            best[i] = t < best[i] ? t : best[i];
            if (i > 0) continue;
            t = run(peak_run, &p, 10, 1);
            beside = t < beside ? t : beside;
        }
    }
    printf("%-15s %s %10.2f us", name, forms[g->form], best[0] * 1e6);
    for (i = 0; i < count; i++) {
        double part = work / best[i] / peak / by[i].threads;
        printf(" %8.1f %3.0f%%", work / best[i] * 1e-9, 100 * part);
        record("gemm", name, forms[g->form], by[i].threads, best[i] * 1e6, "us");
        if (csv) fprintf(csv, "gemm,%s,%s %s,%d,%.6g,GFLOP/s\n", name, forms[g->form], by[i].name,
                         by[i].threads, work / best[i] * 1e-9);
    }
    printf(" %8.0f%%\n", 100 * work / best[0] / (p.flops / beside));
    record("gemm", name, "peak in turn", 1, p.flops / beside * 1e-9, "GFLOP/s");
    fflush(stdout);
}

static void gemm_section(drl_context *ctx, drl_context *many)
{
    static const int shapes[][3] = { /* rows, columns, inner; for forms as the layers have them */
        {256, 256, 256}, {256, 256, 23}, {256, 256, 6}, {256, 6, 256}, {512, 2048, 2048},
        {256, 2048, 2048}, {16384, 256, 256}, {64, 256, 256}, {2048, 2048, 2048}, {1, 256, 256},
        {1, 256, 23}, {1, 2048, 2048}};
    gemm_by by[8];
    int i, form, count = 1;
    size_t k, most = (size_t)16384 * 256;
    gemm_job g;
    memset(by, 0, sizeof(by));
    by[0].name = "ours";
    by[0].ctx = ctx;
    by[0].threads = 1;
    if (many->cfg.threads > 1) {
        by[1] = by[0];
        by[1].ctx = many;
        by[1].threads = many->cfg.threads;
        count = 2;
    }
    count = gemm_others(by, count);
    printf("\nmatrix products, GFLOP/s and part of the peak%-13s", "");
    for (i = 0; i < count; i++) {
        if (by[i].threads > 1) printf("%8s x %d ", by[i].name, by[i].threads);
        else printf("%12s ", by[i].name);
    }
    printf(" ours, of the peak in turn\n");
    g.a = (float *)drl_memory_alloc(ctx, most * 4);
    g.b = (float *)drl_memory_alloc(ctx, most * 4);
    g.c = (float *)drl_memory_alloc(ctx, most * 4);
    if (!g.a || !g.b || !g.c) return;
    for (k = 0; k < most; k++) g.a[k] = g.b[k] = (float)(k % 17) / 16.0f - 0.5f;
    for (i = 0; i < DRLI_COUNT(shapes); i++) {
        for (form = 0; form < 3; form++) {
            char name[40];
            /* the layer y [m, n] = x [m, k] w [k, n]: dw = x' dy [k, n], dx = dy w' [m, k] */
            int m = shapes[i][0], n = shapes[i][1], q = shapes[i][2];
            g.form = (drl_gemm_form)form;
            g.m = form == DRL_GEMM_TN ? q : m;
            g.n = form == DRL_GEMM_NT ? q : n;
            g.k = form == DRL_GEMM_NN ? q : form == DRL_GEMM_TN ? m : n;
            g.lda = form == DRL_GEMM_TN ? g.m : g.k;
            g.ldb = form == DRL_GEMM_NT ? g.k : g.n;
            snprintf(name, sizeof(name), "%dx%dx%d", m, n, q);
            if (quick && (double)m * n * q > 2e9) continue;
            if (wanted("gemm", name)) gemm_row(by, count, &g, name);
        }
    }
    drl_memory_free(ctx, g.a, most * 4);
    drl_memory_free(ctx, g.b, most * 4);
    drl_memory_free(ctx, g.c, most * 4);
}

/* --------------------------------------------------------------------------------- activations */

typedef struct act_job {
    drl_context *ctx;
    drl_act act;
    int n, back;
    float *z, *y, *dy, *dz;
} act_job;

static void act_run(void *arg)
{
    const act_job *j = (const act_job *)arg;
    if (j->back) drl_act_backward(j->ctx, j->act, (size_t)j->n, j->z, j->y, j->dy, j->dz, 0);
    else drl_act_forward(j->ctx, j->act, (size_t)j->n, j->z, j->y);
}

static void act_section(drl_context *ctx)
{
    static const char *const names[] = {"none", "relu", "tanh", "sigmoid", "softplus", "mish",
                                        "gelu"};
    act_job j;
    int a, i;
    drl_rng rng = drl_rng_make(1, "bench");
    j.ctx = ctx;
    j.n = 16384;
    j.z = (float *)drl_memory_alloc(ctx, 4 * (size_t)j.n * 4);
    if (!j.z) return;
    j.y = j.z + j.n;
    j.dy = j.y + j.n;
    j.dz = j.dy + j.n;
    printf("\nactivations, ns per element (64 KiB arrays)  forward  backward\n");
    for (a = DRL_ACT_RELU; a < DRL_ACT_COUNT; a++) {
        double t[2];
        if (!wanted("act", names[a])) continue;
        j.act = (drl_act)a;
        for (j.back = 0; j.back < 2; j.back++) {
            drl_rng_normal_fill(ctx, &rng, j.z, (size_t)j.n);
            for (i = 0; i < j.n; i++) j.dy[i] = 1.0f;
            if (j.back) drl_act_forward(ctx, j.act, (size_t)j.n, j.z, j.y);
            t[j.back] = best_time(act_run, &j, 1, 1e-3, quick ? 20 : 100) / j.n * 1e9;
            record("act", names[a], j.back ? "backward" : "forward", 1, t[j.back], "ns/element");
        }
        printf("%-38s %13.3f %9.3f\n", names[a], t[0], t[1]);
    }
    drl_memory_free(ctx, j.z, 4 * (size_t)j.n * 4);
}

/* ---------------------------------------------------------------------------------- algorithms */

typedef struct task {
    const char *name;
    int obs, act;
} task;
static const task tasks[] = {{"HalfCheetah", 17, 6}, {"Humanoid", 376, 17}};

/* One row: algorithm, preset, what is set beyond it, how many update calls are one cycle (delayed
   parts included), and the PyTorch script that does the same. A new algorithm is one more; one that
   the library has not got is passed over. DPPO's and PPO's rows are one gradient step on a minibatch
   of a full rollout; row "dipo" is how DIPO draws its actions, one of 100 steps for each of 256
   states. */
typedef struct algorithm {
    const char *name, *preset, *label, *settings;
    int cycle;
    const char *peer;
} algorithm;

static const algorithm algorithms[] = {
    {"dime", "paper", "paper", "", 3,
     "dime.py --steps 16 --width 256 --frequencies 256 --critic 2048 --utd 2"},
    {"dime", "paper", "small", "critic_width=256", 3, /* the paper's actor, small critics */
     "dime.py --steps 16 --width 256 --frequencies 256 --critic 256 --utd 2"},
    {"dime", "cpu", "cpu", "", 3,
     "dime.py --steps 8 --width 128 --frequencies 32 --critic 256 --utd 1"},
    {"qvpo", "paper", "paper", "", 1, "qvpo.py"},
    {"qvpo", "paper", "bf16", "precision=bf16_sampling", 1, NULL},
    {"qvpo", "cpu", "cpu", "", 4, NULL},
    {"qvpo", "paper", "dipo", "steps=100 behavior=1", 1, NULL},
    {"dacer", "paper", "paper", "", 2, "dacer.py"},
    {"dacer", "cpu", "cpu", "", 2, NULL},
    {"dppo", "paper", "minibatch", "", 1, "dppo.py"},
    {"dppo", "cpu", "cpu", "", 1, NULL},
    {"sac", "paper", "paper", "", 1, NULL},
    {"ppo", "paper", "minibatch", "", 1, NULL},
};

/* An agent with what its updates need. */
typedef struct bench {
    drl_context ctx;
    drl_agent *agent;
    drl_replay replay;
    void *config;
    drl_status (*minibatch)(drl_agent *agent); /* what is one update, or NULL: drl_agent_update */
} bench;

static void bench_free(bench *b)
{
    drl_replay_free(&b->replay);
    if (b->agent) drl_agent_free(b->agent);
    drl_context_free(&b->ctx);
    free(b->agent);
    free(b->config);
}

static int present(const algorithm *a)
{
    drl_algo algo = drl_algo_find(a->name);
    return algo.name &&
           (!strcmp(a->preset, "paper") || strstr(algo.presets, a->preset));
}

static drl_status agent_make(bench *b, const algorithm *a, const task *t)
{
    drl_algo algo = drl_algo_find(a->name);
    char settings[80], *key, *value;
    drl_status s;
    b->config = calloc(1, algo.config_size);
    b->agent = (drl_agent *)calloc(1, algo.size);
    if (!b->config || !b->agent) return DRL_ERR_MEMORY;
    drl_algo_default(algo, b->config, t->obs, t->act);
    s = drl_algo_preset(&b->ctx, algo, b->config, a->preset);
    snprintf(settings, sizeof(settings), "%s", a->settings);
    for (key = strtok(settings, " "); key && !s; key = strtok(NULL, " ")) {
        value = strchr(key, '=');
        *value++ = 0;
        s = drl_fields_set(&b->ctx, algo.fields, algo.field_count, b->config, key, value);
    }
    return s == DRL_OK ? drl_agent_init(b->agent, &b->ctx, algo, b->config) : s;
}

/* A gradient step on the rollout's first rows. */
static drl_status dppo_minibatch(drl_agent *agent)
{
    drl_dppo *d = (drl_dppo *)agent;
    return drli_dppo_step(d, DRLI_MIN(d->cfg.batch, d->cfg.rollout * d->cfg.tuned), d->order);
}

static drl_status ppo_minibatch(drl_agent *agent)
{
    return drli_ppo_step((drl_ppo *)agent, ((drl_ppo *)agent)->order);
}

/* Actions for the states of the last batch. */
static drl_status sampling(drl_agent *agent)
{
    drl_batch *batch = &agent->batch;
    return drl_agent_act(agent, DRL_MODE_EXPLORE, batch->rows, batch->obs, batch->act);
}

/* Fill the rollout of an agent that has one, and get ready for its minibatches. */
static drl_status rollout_make(bench *b)
{
    drl_rng rng = drl_rng_make(2, "bench");
    drl_dppo *d = (drl_dppo *)b->agent;
    drl_ppo *p = (drl_ppo *)b->agent;
    int is_ppo = !strcmp(b->agent->algo.name, "ppo"), n;
    drl_replay *r = is_ppo ? &p->rollout : &d->rollout;
    size_t rows = (size_t)r->cfg.capacity;
    drl_status s;
    drl_rng_normal_fill(&b->ctx, &rng, r->obs, rows * (size_t)r->cfg.obs_dim);
    drl_rng_normal_fill(&b->ctx, &rng, r->next_obs, rows * (size_t)r->cfg.obs_dim);
    drl_rng_uniform_fill(&b->ctx, &rng, r->act, rows * (size_t)r->cfg.act_dim, -1, 1);
    drl_rng_normal_fill(&b->ctx, &rng, r->reward, rows);
    memset(r->next, -1, rows * sizeof(*r->next)); /* each row ends its episode */
    r->size = r->cfg.capacity;
    s = is_ppo ? drli_ppo_targets(p) : drli_dppo_before(d);
    if (!s && !is_ppo) drli_dppo_targets(d);
    b->minibatch = is_ppo ? ppo_minibatch : dppo_minibatch;
    n = is_ppo ? p->cfg.rollout : d->cfg.rollout * d->cfg.tuned;
    drl_rng_permutation(&rng, is_ppo ? p->order : d->order, (uint32_t)n);
    return s;
}

/* Start an agent with a replay of random transitions. */
static int bench_make(bench *b, const algorithm *a, const task *t, int threads)
{
    drl_context_config cc = drl_context_config_default();
    drl_replay_config rc = drl_replay_config_default(t->obs, t->act);
    drl_rng rng = drl_rng_make(1, "bench");
    float *x;
    int i, n = 2 * t->obs + t->act;
    memset(b, 0, sizeof(*b));
    cc.threads = threads;
    cc.isa = isa_used;
    rc.capacity = 20000;
    if (drl_context_init(&b->ctx, &cc) || agent_make(b, a, t) ||
        drl_replay_init(&b->replay, &b->ctx, &rc) ||
        !(x = (float *)drl_memory_alloc(&b->ctx, (size_t)n * 4))) {
        fprintf(stderr, "%s %s: %s\n", a->name, a->label, drl_context_error(&b->ctx));
        return 0;
    }
    for (i = 0; i < rc.capacity; i++) {
        drl_rng_normal_fill(&b->ctx, &rng, x, (size_t)n);
        drl_rng_uniform_fill(&b->ctx, &rng, x + t->obs, (size_t)t->act, -1, 1);
        drl_replay_push(&b->replay, x, x + t->obs, x[0], x + t->obs + t->act,
                        i % 1000 == 999 ? DRL_ENV_TRUNCATED : 0);
    }
    drl_memory_free(&b->ctx, x, (size_t)n * 4);
    if (!strcmp(a->label, "dipo")) {
        b->minibatch = sampling;
        return drl_replay_sample(&b->replay, &rng, &b->agent->batch) == DRL_OK;
    }
    return !b->agent->algo.observe_fn || rollout_make(b) == DRL_OK;
}

typedef struct update_job {
    bench *b;
    int cycle;
} update_job;

static void update_run(void *arg)
{
    update_job *j = (update_job *)arg;
    int i;
    for (i = 0; i < j->cycle; i++) {
        bench *b = j->b;
        if ((b->minibatch ? b->minibatch(b->agent) : drl_agent_update(b->agent, &b->replay)) ==
            DRL_OK)
            continue;
        fprintf(stderr, "bench: %s\n", drl_context_error(&j->b->ctx));
        exit(1);
    }
}

/* ------------------------------------------------------------------- where the time of one goes */

/* A timer interrupts the program a thousand times a second; each sample is counted for the function
   that it falls in. Names come from the program's own table of symbols. */
typedef struct function {
    uintptr_t at, end;
    const char *name;
    unsigned samples;
} function;

static function *functions;
static int function_count;
static uintptr_t *samples;
static volatile int sample_count;
enum { SAMPLES_MAX = 1 << 16 };

static void on_sample(int number, siginfo_t *info, void *context)
{
    const ucontext_t *u = (const ucontext_t *)context;
    (void)number, (void)info;
    if (sample_count == SAMPLES_MAX) return;
#if defined(__x86_64__)
    samples[sample_count++] = (uintptr_t)u->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    samples[sample_count++] = (uintptr_t)u->uc_mcontext.pc;
#else
    (void)u;
#endif
}

static int by_place(const void *a, const void *b)
{
    uintptr_t x = ((const function *)a)->at, y = ((const function *)b)->at;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv);

static void functions_load(void)
{
    int fd = open("/proc/self/exe", O_RDONLY), i, k;
    struct stat st;
    const char *file;
    const Elf64_Ehdr *head;
    const Elf64_Shdr *section;
    if (fd < 0 || fstat(fd, &st) || sizeof(void *) != 8) return;
    file = (const char *)mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (file == MAP_FAILED) return;
    head = (const Elf64_Ehdr *)(const void *)file;
    section = (const Elf64_Shdr *)(const void *)(file + head->e_shoff);
    for (i = 0; i < head->e_shnum; i++) {
        const Elf64_Sym *symbols = (const Elf64_Sym *)(const void *)(file + section[i].sh_offset);
        int n = (int)(section[i].sh_size / sizeof(*symbols));
        uintptr_t slide = 0;
        if (section[i].sh_type != SHT_SYMTAB) continue;
        functions = (function *)calloc((size_t)n + 1, sizeof(*functions));
        samples = (uintptr_t *)calloc(SAMPLES_MAX, sizeof(*samples));
        if (!functions || !samples) return;
        for (k = 0; k < n; k++) {
            if (ELF64_ST_TYPE(symbols[k].st_info) != STT_FUNC || !symbols[k].st_value) continue;
            functions[function_count].at = (uintptr_t)symbols[k].st_value;
            functions[function_count].end = functions[function_count].at + symbols[k].st_size;
            functions[function_count].name =
                file + section[section[i].sh_link].sh_offset + symbols[k].st_name;
            if (!strcmp(functions[function_count].name, "main"))
                slide = (uintptr_t)main - functions[function_count].at;
            function_count++;
        }
        for (k = 0; k < function_count; k++) {
            functions[k].at += slide;
            functions[k].end += slide;
        }
        qsort(functions, (size_t)function_count, sizeof(*functions), by_place);
    }
}

static int by_samples(const void *a, const void *b)
{
    unsigned x = ((const function *)a)->samples, y = ((const function *)b)->samples;
    return x < y ? 1 : x > y ? -1 : 0;
}

enum { PART_GEMM, PART_ACT, PART_OPTIMIZER, PART_SAMPLING, PART_OTHER, PARTS };

/* Share of each part in the time of a job, in percent; 0 if it cannot be seen here. */
static int breakdown(job_fn fn, void *arg, double length, double share[PARTS])
{
    static const struct { const char *prefix; int part; } parts[] = {
        {"drli_tile", PART_GEMM}, {"drli_bf16", PART_GEMM}, {"drli_transpose", PART_GEMM},
        {"drli_gemm", PART_GEMM},
        {"bench_real_gemm", PART_GEMM}, {"drli_act_", PART_ACT}, {"drli_adam", PART_OPTIMIZER},
        {"drl_adam", PART_OPTIMIZER}, {"drli_polyak", PART_OPTIMIZER},
        {"drli_grad_norm", PART_OPTIMIZER}, {"drl_params", PART_OPTIMIZER},
        {"drli_normal", PART_SAMPLING}, {"drli_rng", PART_SAMPLING}, {"drl_rng", PART_SAMPLING},
        {"drl_replay", PART_SAMPLING}, {"drli_replay", PART_SAMPLING}};
    struct itimerval every = {{0, 997}, {0, 997}}, never = {{0, 0}, {0, 0}};
    struct sigaction action;
    double start;
    int i, k, outside;
    if (!functions) functions_load();
    if (!functions) return 0;
    qsort(functions, (size_t)function_count, sizeof(*functions), by_place);
    for (i = 0; i < function_count; i++) functions[i].samples = 0;
    for (i = 0; i < PARTS; i++) share[i] = 0;
    memset(&action, 0, sizeof(action));
    action.sa_sigaction = on_sample;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    sigaction(SIGALRM, &action, NULL);
    sample_count = 0;
    setitimer(ITIMER_REAL, &every, NULL);
    for (start = seconds(); seconds() - start < length;) fn(arg);
    setitimer(ITIMER_REAL, &never, NULL);
    for (i = outside = 0; i < sample_count; i++) {
        int low = 0, high = function_count;
        while (high - low > 1) {
            int middle = (low + high) / 2;
            if (functions[middle].at <= samples[i]) low = middle;
            else high = middle;
        }
        if (samples[i] < functions[low].end) functions[low].samples++;
        else outside++; /* in libc: memcpy, memset */
    }
    if (!sample_count) return 0;
    qsort(functions, (size_t)function_count, sizeof(*functions), by_samples);
    for (i = 0; i < function_count && functions[i].samples; i++) {
        int part = PART_OTHER;
        double percent = 100.0 * functions[i].samples / sample_count;
        for (k = 0; k < DRLI_COUNT(parts); k++) {
            if (!strncmp(functions[i].name, parts[k].prefix, strlen(parts[k].prefix)))
                part = parts[k].part;
        }
        share[part] += percent;
        if (profile && percent >= 1) printf("      %5.1f %% %s\n", percent, functions[i].name);
    }
    share[PART_OTHER] += 100.0 * outside / sample_count;
    if (profile) printf("      %5.1f %% libc and system\n", 100.0 * outside / sample_count);
    return 1;
}

/* ----------------------------------------------------------------------------------- the peers */

/* A Python program that does the same: a line N on its input makes it do N cycles of updates, or N
   actions; it answers with the seconds they took. It says "ready" first. */
typedef struct peer {
    pid_t pid;
    FILE *in, *out;
    int calls;
    double best;
} peer;

static int peer_start(peer *p, const char *script, const task *t, const char *what,
                      const char *variant)
{
    int to[2], from[2];
    char line[400];
    memset(p, 0, sizeof(*p));
    snprintf(line, sizeof(line), "exec %s %s/%s --obs %d --act %d --threads 1 --call %s "
             "--variant %s", python, peers_dir, script, t->obs, t->act, what, variant);
    if (pipe(to) || pipe(from) || (p->pid = fork()) < 0) return 0;
    if (p->pid == 0) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        close(to[1]), close(from[0]);
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
    close(to[0]), close(from[1]);
    fcntl(to[1], F_SETFD, FD_CLOEXEC);
    fcntl(from[0], F_SETFD, FD_CLOEXEC);
    p->in = fdopen(to[1], "w");
    p->out = fdopen(from[0], "r");
    return fgets(line, sizeof(line), p->out) && !strncmp(line, "ready", 5);
}

static double peer_run(peer *p, int calls)
{
    char line[100];
    fprintf(p->in, "%d\n", calls);
    fflush(p->in);
    if (!fgets(line, sizeof(line), p->out)) return 1e30;
    return atof(line) / calls;
}

static void peer_stop(peer *p)
{
    if (p->in) fclose(p->in);
    if (p->out) fclose(p->out);
    if (p->pid > 0) waitpid(p->pid, NULL, 0);
    memset(p, 0, sizeof(*p));
}

/* Ours (if there) and two variants of the script in turn, calls of `what` (update, action), of which
   one does `parts`; ratios are of the best times. */
static void peers_row(const algorithm *a, const task *t, const char *what, void (*ours)(void *),
                      void *arg, double parts)
{
    static const char *const variants[2] = {"stock", "tuned"};
    const int action = !strcmp(what, "action");
    const double unit = action ? 1e6 : 1e3;
    peer p[2];
    double mine = 1e30, one;
    char name[80];
    int i, r, calls = 0, rounds = 9;
    snprintf(name, sizeof(name), "%s/%s/%s", a->name, a->label, t->name);
    for (i = 0; i < 2; i++) {
        if (!peer_start(&p[i], a->peer, t, what, variants[i])) {
            fprintf(stderr, "bench: %s/%s does not run with %s; needs PyTorch (python3-torch)\n",
                    peers_dir, a->peer, python);
            peer_stop(&p[i]);
            if (i) peer_stop(&p[0]);
            return;
        }
        one = peer_run(&p[i], 1);
        p[i].calls = one > 0.5 ? 1 : (int)(0.5 / one) + 1;
        if (quick || one > 1) rounds = 3;
        p[i].best = 1e30;
    }
    if (ours) calls = calls_for(ours, arg, 0.5);
    for (r = 0; r < rounds; r++) {
        if (ours) {
            one = run(ours, arg, calls, 1);
            mine = one < mine ? one : mine;
        }
        for (i = 0; i < 2; i++) {
            one = peer_run(&p[i], p[i].calls);
            p[i].best = one < p[i].best ? one : p[i].best;
        }
    }
    for (i = 0; i < 2; i++) {
        double time = p[i].best * unit / parts;
        printf("    PyTorch %s %9.2f %s", variants[i], time, action ? "us" : "ms");
        record(action ? "peer latency" : "peer", name, variants[i], 1, time,
               action ? "us" : "ms/update");
        if (ours) {
            printf(" (x %.2f)", p[i].best / mine);
            record(action ? "ratio latency" : "ratio", name, variants[i], 1, p[i].best / mine,
                   "times");
        }
        peer_stop(&p[i]);
    }
    printf("\n");
}

static void update_row(const algorithm *a, const task *t)
{
    double one = 0, cycle_flops, updates, share[PARTS], length = quick ? 0.25 : 0.5;
    char name[80];
    update_job j;
    bench *b = (bench *)calloc(1, sizeof(*b));
    int threads;
    snprintf(name, sizeof(name), "%s/%s/%s", a->name, a->label, t->name);
    if (!b || !wanted("update", name)) { free(b); return; }
    for (threads = 1; present(a) && threads <= threads_max; threads *= 2) {
        int64_t before;
        double time;
        if (!bench_make(b, a, t, threads)) break;
        j.b = b;
        j.cycle = a->cycle;
        update_run(&j); /* memory comes with the first */
        before = b->agent->updates;
        flops = 0;
        update_run(&j);
        cycle_flops = flops;
        updates = b->minibatch ? j.cycle : (double)(b->agent->updates - before);
        peak_measure(b->ctx.isa, 5);
        time = best_time(update_run, &j, threads, length / 2, quick ? 4 : 12);
        peak_measure(b->ctx.isa, 5);
        if (threads == 1) one = time;
        printf("%-24s %d %9.3f ms %8.0f/s %7.3f GFLOP %7.1f %4.0f%%", name, threads,
               time * 1e3 / updates, updates / time, cycle_flops * 1e-9 / updates,
               cycle_flops * 1e-9 / time, 100 * cycle_flops / time / peak / threads);
        record("update", name, "ours", threads, time * 1e3 / updates, "ms/update");
        record("update", name, "work", threads, cycle_flops * 1e-9 / updates, "GFLOP");
        record("update", name, "rate", threads, cycle_flops * 1e-9 / time, "GFLOP/s");
        record("update", name, "part of peak", threads, cycle_flops / time / peak / threads, "");
        if (threads > 1) printf("  x %.2f\n", one / time);
        else printf("\n");
        if (threads == 1 && breakdown(update_run, &j, 2 * length, share)) {
            static const char *const parts[] = {"gemm", "activation", "optimizer", "sampling",
                                                "other"};
            int i;
            printf("    ");
            for (i = 0; i < PARTS; i++) {
                printf("%s %.1f %%  ", parts[i], share[i]);
                record("update", name, parts[i], 1, share[i], "%");
            }
            printf("\n");
        }
        if (threads == 1 && peers_dir && a->peer) peers_row(a, t, "update", update_run, &j, updates);
        fflush(stdout);
        bench_free(b);
    }
    if (!present(a) && peers_dir && a->peer) {
        printf("%-24s not measured\n", name);
        peers_row(a, t, "update", NULL, NULL, a->cycle);
    }
    free(b);
}

/* ----------------------------------------------------------------------------- latency, memory */

enum { ACTIONS_MAX = 20000 };

/* System calls of 100 actions, counted by tracing a child; -1 if that is not allowed here. */
static int system_calls(bench *b, int rows, const float *obs, float *act)
{
    int status, calls = 0, i;
    pid_t pid = fork();
    if (pid < 0) return -1;
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL)) _exit(1);
        raise(SIGSTOP);
        for (i = 0; i < 100; i++) drl_agent_act(b->agent, DRL_MODE_EXPLORE, rows, obs, act);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    if (!WIFSTOPPED(status)) return -1;
    while (!ptrace(PTRACE_SYSCALL, pid, NULL, NULL) && waitpid(pid, &status, 0) == pid &&
           WIFSTOPPED(status))
        calls++;
    return (calls - 1) / 2; /* two stops per call; the last is _exit, which stops once */
}

typedef struct action_job {
    bench *b;
    const float *obs;
    float *act;
} action_job;

static void action_run(void *arg)
{
    action_job *j = (action_job *)arg;
    drl_agent_begin(j->b->agent, 0, 0); /* DPPO plans anew, not each fourth time */
    drl_agent_act(j->b->agent, DRL_MODE_EXPLORE, 1, j->obs, j->act);
}

static void latency_row(const algorithm *a, const task *t)
{
    static const int rows[] = {1, 4, 32};
    static double took[ACTIONS_MAX];
    int i, k, n = quick ? 2000 : ACTIONS_MAX;
    char name[80];
    bench *b = (bench *)calloc(1, sizeof(*b));
    float *obs = (float *)calloc((size_t)32 * (size_t)(t->obs + t->act), 4), *act;
    snprintf(name, sizeof(name), "%s/%s/%s", a->name, a->label, t->name);
    if (!b || !obs || !present(a) || !wanted("latency", name) || !bench_make(b, a, t, 1)) {
        free(b), free(obs);
        return;
    }
    act = obs + 32 * t->obs;
    printf("%-24s", name);
    for (k = 0; k < 3; k++) {
        uint64_t allocations;
        int calls;
        for (i = 0; i < 20; i++)
            if (drl_agent_act(b->agent, DRL_MODE_EXPLORE, rows[k], obs, act)) break;
        if (i < 20) { /* more rows than the agent has plans */
            printf("  %d: not possible", rows[k]);
            continue;
        }
        allocations = b->ctx.allocations;
        for (i = 0; i < n; i++) {
            double start;
            int e;
            for (e = 0; e < rows[k]; e++) drl_agent_begin(b->agent, e, 0); /* as in action_run */
            start = seconds();
            drl_agent_act(b->agent, DRL_MODE_EXPLORE, rows[k], obs, act);
            took[i] = seconds() - start;
        }
        allocations = b->ctx.allocations - allocations;
        calls = system_calls(b, rows[k], obs, act);
        qsort(took, (size_t)n, sizeof(*took), by_value);
        printf("  %d: %7.1f %7.1f us, %d+%d", rows[k], took[n / 2] * 1e6, took[n * 99 / 100] * 1e6,
               (int)allocations, calls);
        snprintf(name + strlen(name), 8, " x%d", rows[k]);
        record("latency", name, "p50", 1, took[n / 2] * 1e6, "us");
        record("latency", name, "p99", 1, took[n * 99 / 100] * 1e6, "us");
        record("latency", name, "allocations", 1, (double)allocations, "");
        record("latency", name, "system calls", 1, calls, "");
        *strrchr(name, ' ') = 0;
    }
    printf("\n");
    if (peers_dir && a->peer) {
        action_job j;
        j.b = b, j.obs = obs, j.act = act;
        peers_row(a, t, "action", action_run, &j, 1);
    }
    fflush(stdout);
    bench_free(b);
    free(b);
    free(obs);
}

static void memory_row(const algorithm *a, const task *t)
{
    char name[80];
    update_job j;
    bench *b = (bench *)calloc(1, sizeof(*b));
    snprintf(name, sizeof(name), "%s/%s/%s", a->name, a->label, t->name);
    if (b && present(a) && wanted("memory", name) && bench_make(b, a, t, 1)) {
        double mib;
        j.b = b;
        j.cycle = a->cycle;
        update_run(&j);
        update_run(&j);
        mib = ((double)b->ctx.bytes_peak - (double)b->replay.bytes) / (1 << 20);
        printf("%-24s %9.1f MiB\n", name, mib);
        record("memory", name, "peak", 1, mib, "MiB");
        bench_free(b);
    }
    free(b);
}

static drl_isa isa_find(const char *name)
{
    int i;
    for (i = 1; i < DRLI_COUNT(isa_names); i++)
        if (!strcmp(name, isa_names[i])) return (drl_isa)i;
    return DRL_ISA_AUTO;
}

/* For each algorithm and task. */
static void each(void (*row)(const algorithm *a, const task *t), const char *section,
                 const char *title)
{
    int i, k;
    if (!wanted(section, NULL)) return;
    printf("\n%s\n", title);
    for (i = 0; i < DRLI_COUNT(algorithms); i++) {
        for (k = 0; k < (quick ? 1 : DRLI_COUNT(tasks)); k++) row(&algorithms[i], &tasks[k]);
    }
}

int main(int argc, char **argv)
{
    drl_context_config cfg = drl_context_config_default();
    drl_context ctx, many;
    const char *path = "build/bench.csv";
    int i;
    for (i = 1; i < argc; i++) {
        const char *flag = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (!strcmp(flag, "--help") || !strcmp(flag, "-h")) { fputs(usage, stdout); return 0; }
        if (!strcmp(flag, "--quick")) { quick = 1; continue; }
        if (!strcmp(flag, "--profile")) { profile = 1; continue; }
        i++;
        if (value && !strcmp(flag, "--only")) only = value;
        else if (value && !strcmp(flag, "--match")) match = value;
        else if (value && !strcmp(flag, "--csv")) path = value;
        else if (value && !strcmp(flag, "--peers")) peers_dir = value;
        else if (value && !strcmp(flag, "--python")) python = value;
        else if (value && !strcmp(flag, "--threads") && atoi(value) > 0 && atoi(value) <= 64)
            threads_max = atoi(value);
        else if (value && !strcmp(flag, "--isa") && isa_find(value)) isa_used = isa_find(value);
        else { fprintf(stderr, "bench: what is %s?\n%s", flag, usage); return 2; }
    }
    cfg.isa = isa_used;
    signal(SIGPIPE, SIG_IGN);
    csv = fopen(path, "w");
    if (csv) fprintf(csv, "section,name,variant,threads,value,unit\n");
    else fprintf(stderr, "bench: cannot write %s\n", path);
    if (drl_context_init(&ctx, &cfg)) {
        fprintf(stderr, "bench: %s\n", drl_context_error(&ctx));
        return 1;
    }
    cfg.threads = threads_max;
    if (drl_context_init(&many, &cfg)) return 1;
    peak_measure(ctx.isa, 50);
    if (wanted("machine", NULL)) machine(&ctx, &many);
    if (wanted("gemm", NULL)) gemm_section(&ctx, &many);
    if (wanted("act", NULL)) act_section(&ctx);
    drl_context_free(&many);
    drl_context_free(&ctx);
    each(update_row, "update", "updates: threads, time of one gradient update, rate, work, GFLOP/s,"
         " part of the peak of the cores used");
    each(latency_row, "latency", "one call of act, by rows: p50, p99, allocations + system calls");
    each(memory_row, "memory", "memory beside the replay, batch as in the preset");
    if (csv) fclose(csv);
    return 0;
}
