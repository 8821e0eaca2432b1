/* 200 DIME updates give the same bits at 1, 2, 3 and 8 threads, on every instruction set that the
   CPU has, with a host's own threads, and in a build without SIMD. A hash over all that the agent
   holds is compared. `determinism --hash` prints the one of the small networks. */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"

#ifdef TEST_SHORT
enum { OBS = 7, ACT = 3, UPDATES = 60 };
#else
enum { OBS = 7, ACT = 3, UPDATES = 200 };
#endif

typedef struct setup {
    int wide, threads;
    drl_isa isa;
    drl_parallel_fn parallel_fn;
    int splits; /* out: 1 if a task was split */
} setup;

static uint64_t hash_bytes(uint64_t h, const void *data, size_t size)
{
    const unsigned char *p = (const unsigned char *)data;
    size_t i;
    for (i = 0; i < size; i++) h = (h ^ p[i]) * 1099511628211u;
    return h;
}

static uint64_t hash_state(drl_dime *d)
{
    drl_state s;
    uint64_t h = 14695981039346656037u;
    int i;
    drl_state_init(&s, d->agent.ctx);
    drl_agent_state(&d->agent, &s, 1);
    CHECK(s.status == DRL_OK && s.count > 100);
    for (i = 0; i < s.count; i++)
        h = hash_bytes(h, s.entries[i].data, drl_entry_bytes(&s.entries[i]));
    drl_state_free(&s);
    return h;
}

static void fill_replay(drl_replay *r, drl_context *ctx)
{
    drl_replay_config c = drl_replay_config_default(OBS, ACT);
    drl_rng rng = drl_rng_make(21, "determinism");
    float x[2 * OBS + ACT];
    int i, k;
    c.capacity = 500;
    CHECK(drl_replay_init(r, ctx, &c) == DRL_OK);
    for (i = 0; i < 500; i++) {
        for (k = 0; k < 2 * OBS + ACT; k++) x[k] = 2 * drl_rng_uniform(&rng) - 1;
        drl_replay_push(r, x, x + 2 * OBS, x[0] * 2 - x[2 * OBS], x + OBS,
                        i % 30 == 29 ? DRL_ENV_TERMINATED : 0);
    }
}

/* Train by `s` and return the hash of agent and actions; 0 if the CPU has not that instruction
   set. */
static uint64_t train(setup *s)
{
    drl_context_config cc = drl_context_config_default();
    drl_dime_config c = drl_dime_config_default(OBS, ACT);
    drl_context ctx;
    drl_dime d;
    drl_replay r;
    float obs[2 * OBS], act[2 * ACT];
    uint64_t h = 0;
    int i;
    cc.threads = s->threads;
    cc.isa = s->isa;
    cc.parallel_fn = s->parallel_fn;
    cc.parallel_user = &s->splits;
    if (drl_context_init(&ctx, &cc) != DRL_OK) return 0;
    c.steps = 4;
    c.actor_layers = 2;
    c.actor_width = s->wide ? 64 : 32;
    c.critic_width = s->wide ? 128 : 32;
    c.batch = s->wide ? 64 : 32;
    c.time_frequencies = 8;
    c.atoms = 21;
    c.v_min = -20;
    c.v_max = 20;
    c.brn_warmup = UPDATES / 2;
    c.utd = 1;
    c.lr_actor = c.lr_critic = 3e-3f;
    CHECK(drl_dime_init(&d, &ctx, &c) == DRL_OK);
    fill_replay(&r, &ctx);
    for (i = 0; i < UPDATES; i++) CHECK(drl_agent_update(&d.agent, &r) == DRL_OK);
    for (i = 0; i < 2 * OBS; i++) obs[i] = (float)i / 8 - 1;
    CHECK(drl_agent_act(&d.agent, DRL_MODE_EXPLORE, 2, obs, act) == DRL_OK);
    CHECK(d.agent.updates == UPDATES && d.actor.step == UPDATES / 3);
    CHECK(drli_params_find_nan(&d.actor) < 0 && drli_params_find_nan(&d.critic) < 0);
    h = hash_bytes(hash_state(&d), act, sizeof(act));
#if defined(DRLI_THREADS)
    if (ctx.pool) s->splits = ctx.pool->ticket > 0;
#endif
    drl_replay_free(&r);
    drl_agent_free(&d.agent);
    drl_context_free(&ctx);
    return h;
}

static void report(const setup *s, uint64_t got, uint64_t want)
{
    if (got == want) return;
    printf("  %s networks, %d threads, isa %d: other bits\n", s->wide ? "wide" : "small",
           s->threads, (int)s->isa);
    CHECK(got == want);
}

TEST(repeats)
{
    setup s = {0, 1, DRL_ISA_AUTO, NULL, 0};
    uint64_t h = train(&s);
    CHECK(h != 0 && train(&s) == h);
    s.wide = 1;
    CHECK(train(&s) != h); /* the hash can differ */
}

TEST(threads)
{
    static const int counts[3] = {2, 3, 8};
    int wide, i;
    for (wide = 0; wide < 2; wide++) {
        setup s = {0, 1, DRL_ISA_AUTO, NULL, 0};
        uint64_t want;
        s.wide = wide;
        want = train(&s);
        for (i = 0; i < 3; i++) {
            s.threads = counts[i];
            s.splits = 0;
            report(&s, train(&s), want);
            CHECK(!wide || s.splits); /* else nothing was tested */
        }
    }
}

TEST(instruction_sets)
{
    static const drl_isa isas[4] = {DRL_ISA_SCALAR, DRL_ISA_NEON, DRL_ISA_AVX2, DRL_ISA_AVX512};
    setup s = {0, 1, DRL_ISA_AUTO, NULL, 0};
    uint64_t want = train(&s), got;
    int i, known = 0;
    for (i = 0; i < 4; i++) {
        s.isa = isas[i];
        s.threads = 1 + i % 2;
        got = train(&s);
        if (got == 0) continue;
        known++;
        report(&s, got, want);
    }
    CHECK(known >= 1);
}

/* A host that cuts the work unevenly, and does it last piece first. */
static void host(void *user, int n, int threads, drl_task_fn fn, void *arg)
{
    int end = n, worker;
    *(int *)user = 1;
    for (worker = 0; worker < threads && end > 0; worker++) {
        int begin = worker == threads - 1 ? 0 : end - 1 - (end - 1) / 3;
        fn(arg, begin, end, worker);
        end = begin;
    }
}

TEST(hooked_threads)
{
    setup s = {1, 1, DRL_ISA_AUTO, NULL, 0};
    uint64_t want = train(&s);
    s.threads = 5;
    s.parallel_fn = host;
    report(&s, train(&s), want);
    CHECK(s.splits);
}

static const char *program;

/* This file once more, built with DIFFRL_NO_SIMD. */
TEST(without_simd)
{
#ifndef TEST_SHORT
    setup s = {0, 1, DRL_ISA_AUTO, NULL, 0};
    const char *cc = getenv("CC");
    char line[1200], got[40] = "", want[40];
    FILE *f;
    uint64_t h = train(&s);
    snprintf(line, sizeof(line), "%.100s -O2 -DDIFFRL_NO_SIMD '%.200s' -o '%.200s.no_simd' -lm",
             cc ? cc : "cc", __FILE__, program);
    CHECK(system(line) == 0);
    snprintf(line, sizeof(line), "'%.200s.no_simd' --hash >'%.200s.hash'", program, program);
    CHECK(system(line) == 0);
    snprintf(line, sizeof(line), "%.200s.hash", program);
    f = fopen(line, "r");
    CHECK(f && fgets(got, sizeof(got), f));
    if (f) fclose(f);
    snprintf(want, sizeof(want), "%08lx%08lx\n", (unsigned long)(h >> 32),
             (unsigned long)(h & 0xffffffffu));
    CHECK_TEXT(got, want);
    remove(line);
    snprintf(line, sizeof(line), "%.200s.no_simd", program);
    remove(line);
#endif
}

int main(int argc, char **argv)
{
    static const test_entry tests[] = {TEST_ENTRY(repeats), TEST_ENTRY(threads),
                                       TEST_ENTRY(instruction_sets), TEST_ENTRY(hooked_threads),
                                       TEST_ENTRY(without_simd)};
    program = argv[0];
    if (argc > 1 && strcmp(argv[1], "--hash") == 0) {
        setup s = {0, 1, DRL_ISA_AUTO, NULL, 0};
        uint64_t h = train(&s);
        printf("%08lx%08lx\n", (unsigned long)(h >> 32), (unsigned long)(h & 0xffffffffu));
        return test_faults != 0;
    }
    return test_run(tests, DRLI_COUNT(tests), argc, argv);
}
