/* A PPO rollout and nine gradient steps on it against tests/golden/ppo.h: an independent
   computation in PyTorch, float64 (tools/make_golden_ppo.py). The formulae of the inputs are in the
   head of that file. */
#define DIFFRL_IMPLEMENTATION
#include "../../examples/baselines/baselines.h"
#include "../test.h"
#include "ppo.h"
#include "golden.h"

enum { S = 4, D = 2, ENVS = 2, N = 24, B = 8, STEPS = 9, TENSORS = 13 };

static void start(drl_ppo *p, drl_context *ctx)
{
    drl_ppo_config c = drl_ppo_config_default(S, D);
    int t, i;
    CHECK(drl_context_init(ctx, NULL) == DRL_OK);
    c.width = 12;
    c.rollout = N;
    c.batch = B;
    c.lr = 5e-3f;
    CHECK(drl_ppo_init(p, ctx, &c) == DRL_OK);
    CHECK(p->net.count == TENSORS && LENGTH(golden_ppo_tensors) == TENSORS);
    for (t = 0; t < TENSORS; t++) {
        drl_tensor *x = &p->net.list[t];
        const char *name = golden_ppo_tensors[t].name;
        CHECK(x->rows == golden_ppo_tensors[t].rows && x->cols == golden_ppo_tensors[t].cols);
        CHECK(strcmp(p->net.names[t], name) == 0);
        fill(x->data, size_of(x), 1 + t, t == 12 ? -1 : 0,
             name[strlen(name) - 1] == 'w' ? 1 / sqrt((double)x->rows) : .1);
    }
    p->norm.count = 50;
    for (i = 0; i < S; i++) {
        p->norm.mean[i] = (double)(float)(.3 * uniform(60, i));
        p->norm.m2[i] = (double)(float)(i == S - 1 ? 1e-4 : 10 + 5 * uniform(61, i));
    }
}

static void collect(drl_ppo *p)
{
    float obs[N * S], next[N * S], reward[N];
    int i, k;
    fill(obs, N * S, 100, 0, 1.5);
    fill(next, N * S, 101, 0, 1.5);
    fill(reward, N, 103, .5, 2);
    for (i = 0; i < N; i++) {
        int env = i % ENVS;
        for (k = 0; k < D; k++)
            p->raw[env * D + k] = .5f * (float)normal(102, i * D + k);
        CHECK(p->rollout.size == i);
        CHECK(p->agent.algo.observe_fn(&p->agent, env, obs + i * S, p->raw + env * D, reward[i],
                                       next + i * S, i == 10 ? DRL_ENV_TERMINATED :
                                       i == 15 ? DRL_ENV_TRUNCATED : 0) == DRL_OK);
    }
}

TEST(inputs)
{
    check_inputs(golden_ppo_inputs);
}

TEST(rollout_and_nine_steps)
{
    drl_context ctx;
    drl_ppo p;
    const double *last = golden_ppo_last;
    double params = 0, sums = 0;
    uint32_t order[B];
    int k, i;
    start(&p, &ctx);
    collect(&p);
    CHECK(far(p.rollout.reward, golden_ppo_reward, N) < 1e-6);
    CHECK(drli_ppo_targets(&p) == DRL_OK);
    CHECK(far(p.advantage, golden_ppo_advantage, N) < 1e-6);
    CHECK(far(p.target, golden_ppo_target, N) < 1e-6);
    CHECK(far(p.old, golden_ppo_old, N) < 1e-6);
    for (k = 0; k < STEPS; k++) {
        const double *want = golden_ppo_steps + 5 * k;
        for (i = 0; i < B; i++) order[i] = (uint32_t)golden_ppo_order[k * B + i];
        CHECK(drli_ppo_step(&p, order) == DRL_OK);
        CHECK_NEAR(p.agent.metrics[0].value, want[0], 2e-5);
        CHECK(far1(p.agent.metrics[1].value, want[1]) < 1e-5);
        CHECK_NEAR(p.agent.metrics[2].value, want[2], 2e-5);
        CHECK(far1(norm_of(&p.net, 0, TENSORS), want[3]) < 2e-5);
        for (i = 0; i < TENSORS; i++)
            sums = fmax(sums, far_sums(&p.net.list[i], golden_ppo_sums + 2 * (k * TENSORS + i)));
    }
    CHECK(p.agent.updates == STEPS && p.net.step == STEPS);
    for (i = 0; i < TENSORS; i++) {
        params = fmax(params, far(p.net.list[i].data, last, size_of(&p.net.list[i])));
        last += size_of(&p.net.list[i]);
    }
    CHECK(last == golden_ppo_last + LENGTH(golden_ppo_last));
    CHECK(params < 2e-5);
    CHECK(sums < 2e-5);
    printf("  after %d steps parameters are %.1e off, sums %.1e\n", STEPS, params, sums);
    drl_agent_free(&p.agent);
    drl_context_free(&ctx);
}

TEST_MAIN(TEST_ENTRY(inputs), TEST_ENTRY(rollout_and_nine_steps))
