/* Prints a hash of each part's results. tests/compile/run.sh builds this with several compilers and
   flags and wants the same text from all. Every instruction set that the CPU has, and 1, 2 and 3
   threads, must agree here already. Only integers are computed in this file itself, and results
   stay clear of the subnormal numbers, which -Ofast programs flush to zero when they start. */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"

#include <stdio.h>

enum { N = 5000, M = 37, K = 71, P = 53 };

typedef struct results {
    float normal[N], uniform[N], truncated[N];
    float act[DRL_ACT_COUNT][N], slope[DRL_ACT_COUNT][N];
    float math[10][N];
    float nn[M * P], tn[M * P], nt[M * P];
    uint64_t dime; /* hash of an agent after some updates */
} results;

static uint64_t hash(const void *data, size_t size)
{
    const unsigned char *p = (const unsigned char *)data;
    uint64_t h = 14695981039346656037u;
    size_t i;
    for (i = 0; i < size; i++) h = (h ^ p[i]) * 1099511628211u;
    return h;
}

static void compute_math(results *r)
{
    int i;
    for (i = 0; i < N; i++) {
        float x = r->uniform[i];
        r->math[0][i] = drl_expf(x);
        r->math[1][i] = drl_logf(r->math[0][i]);
        r->math[2][i] = drl_tanhf(x);
        r->math[3][i] = drl_sigmoidf(x);
        r->math[4][i] = drl_softplusf(x);
        r->math[5][i] = drl_mishf(x);
        r->math[6][i] = drl_geluf(r->normal[i]);
        r->math[7][i] = drl_sinf(x);
        r->math[8][i] = drl_cosf(x);
        r->math[9][i] = drl_erff(r->normal[i]);
    }
}

static uint64_t hash_agent(drl_dime *d)
{
    drl_state s;
    uint64_t h = 0;
    int i;
    drl_state_init(&s, d->agent.ctx);
    drl_agent_state(&d->agent, &s, 1);
    for (i = 0; i < s.count; i++)
        h = h * 31 + hash(s.entries[i].data, drl_entry_bytes(&s.entries[i]));
    drl_state_free(&s);
    return h;
}

/* 30 updates of small networks on random transitions; 0 if one fails. */
static uint64_t compute_dime(drl_context *ctx, const float *x)
{
    drl_dime_config c = drl_dime_config_default(5, 2);
    drl_replay_config rc = drl_replay_config_default(5, 2);
    drl_dime d;
    drl_replay r;
    uint64_t h = 0;
    int i;
    c.steps = 4;
    c.actor_width = c.critic_width = 48;
    c.batch = 32;
    c.time_frequencies = 8;
    c.atoms = 21;
    c.v_min = -20;
    c.v_max = 20;
    rc.capacity = 200;
    if (drl_dime_init(&d, ctx, &c) != DRL_OK) return 0;
    if (drl_replay_init(&r, ctx, &rc) == DRL_OK) {
        for (i = 0; i < 200; i++) drl_replay_push(&r, x + i, x + i + 10, x[i], x + i + 1, 0);
        for (i = 0; i < 30 && drl_agent_update(&d.agent, &r) == DRL_OK; i++) {}
        if (i == 30) h = hash_agent(&d);
        drl_replay_free(&r);
    }
    drl_agent_free(&d.agent);
    return h;
}

static void compute(drl_context *ctx, results *r)
{
    drl_rng rng = drl_rng_make(1, "bits");
    drl_epilogue e;
    int i, a;
    drl_rng_normal_fill(ctx, &rng, r->normal, N);
    drl_rng_uniform_fill(ctx, &rng, r->uniform, N, -50.0f, 50.0f);
    for (i = 0; i < N; i++) r->truncated[i] = drl_rng_truncated_normal(&rng, -2.0f, 2.0f);
    compute_math(r);
    for (a = 0; a < DRL_ACT_COUNT; a++) {
        drl_act_forward(ctx, (drl_act)a, N, r->normal, r->act[a]);
        drl_act_backward(ctx, (drl_act)a, N, r->normal, r->act[a], r->truncated, r->slope[a], 0);
    }
    memset(&e, 0, sizeof(e));
    e.bias = r->uniform;
    e.act = DRL_ACT_MISH;
    drl_gemm(ctx, DRL_GEMM_NN, M, P, K, r->normal, K, r->truncated, P, r->nn, P, &e);
    drl_gemm(ctx, DRL_GEMM_TN, M, P, K, r->normal, M, r->truncated, P, r->tn, P, NULL);
    drl_gemm(ctx, DRL_GEMM_NT, M, P, K, r->normal, K, r->truncated, K, r->nt, P, NULL);
    r->dime = compute_dime(ctx, r->truncated);
}

static void print(const char *name, const void *data, size_t size)
{
    uint64_t h = hash(data, size);
    printf("%-9s %08lx%08lx\n", name, (unsigned long)(h >> 32), (unsigned long)(h & 0xffffffffu));
}

int main(void)
{
    static const drl_isa isas[] = {DRL_ISA_SCALAR, DRL_ISA_NEON, DRL_ISA_AVX2, DRL_ISA_AVX512};
    static results first, next;
    int i, threads, done = 0, fault = 0;
    for (i = 0; i < 4; i++) {
        for (threads = 1; threads <= 3; threads++) {
            drl_context_config cfg = drl_context_config_default();
            drl_context ctx;
            cfg.isa = isas[i];
            cfg.threads = threads;
            if (drl_context_init(&ctx, &cfg) != DRL_OK) continue; /* the CPU has it not */
            compute(&ctx, done ? &next : &first);
            drl_context_free(&ctx);
            if (done && memcmp(&first, &next, sizeof(first)) != 0) {
                printf("isa %d with %d threads differs\n", (int)isas[i], threads);
                fault = 1;
            }
            done = 1;
        }
    }
    print("normal", first.normal, sizeof(first.normal));
    print("uniform", first.uniform, sizeof(first.uniform));
    print("truncated", first.truncated, sizeof(first.truncated));
    print("math", first.math, sizeof(first.math));
    print("act", first.act, sizeof(first.act));
    print("slope", first.slope, sizeof(first.slope));
    print("gemm nn", first.nn, sizeof(first.nn));
    print("gemm tn", first.tn, sizeof(first.tn));
    print("gemm nt", first.nt, sizeof(first.nt));
    print("dime", &first.dime, sizeof(first.dime));
    return fault || !done || !first.dime;
}
