/* PPO: constants, advantages and the reward's scale by hand, the first ratio, clipping, a rollout of
   several environments. The updates themselves are checked in tests/golden/ppo.c; what all algorithms
   share in algos.c. */
#define DIFFRL_IMPLEMENTATION
#include "../../examples/baselines/baselines.h"
#include "../test.h"

enum { S = 3, A = 2 };

static drl_ppo_config small(int rollout, int batch)
{
    drl_ppo_config c = drl_ppo_config_default(S, A);
    c.width = 8;
    c.rollout = rollout;
    c.batch = batch;
    return c;
}

static void start(drl_ppo *p, drl_context *ctx, const drl_ppo_config *c)
{
    CHECK(drl_context_init(ctx, NULL) == DRL_OK);
    CHECK(drl_ppo_init(p, ctx, c) == DRL_OK);
}

static void stop(drl_ppo *p, drl_context *ctx)
{
    drl_agent_free(&p->agent);
    drl_context_free(ctx);
}

static void observe(drl_ppo *p, int env, float reward, int flags)
{
    float obs[S], next[S], act[A];
    int i;
    for (i = 0; i < S; i++) {
        obs[i] = .1f * (float)(p->rollout.size + i) - .3f;
        next[i] = -obs[i];
    }
    CHECK(drl_agent_act(&p->agent, DRL_MODE_EXPLORE, 1, obs, act) == DRL_OK);
    if (env) memcpy(p->raw + env * A, p->raw, sizeof(act));
    CHECK(p->agent.algo.observe_fn(&p->agent, env, obs, act, reward, next, flags) == DRL_OK);
}

TEST(constants)
{
    drl_ppo_config c = drl_ppo_config_default(11, 3);
    drl_context ctx;
    drl_ppo p;
    CHECK(c.width == 64 && c.normalize == 1 && c.rollout == 2048 && c.batch == 64);
    CHECK(c.epochs == 10 && c.gamma == .99f && c.lambda == .95f && c.clip == .2f && c.lr == 3e-4f);
    start(&p, &ctx, &c);
    CHECK(p.adam.eps == 1e-5f && p.adam.clip_norm == .5f && p.log_std->data[2] == 0);
    stop(&p, &ctx);
    c.batch = 4096;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    CHECK(drl_ppo_init(&p, &ctx, &c) == DRL_ERR_RANGE);
    CHECK_TEXT(drl_context_error(&ctx), "batch <= rollout");
    drl_context_free(&ctx);
}

/* r = 1 four times, V = V' = .5, termination at 1. Then another environment between the rows, and a
   cut in place of the termination: V' counts. */
TEST(advantages)
{
    static const double want[4] = {1.46525, .5, 1.9307975, .995};
    float v[8], adv[8], target[8];
    drl_context ctx;
    drl_ppo p;
    drl_ppo_config c = small(8, 4);
    int i;
    c.normalize = 0;
    for (i = 0; i < 8; i++) v[i] = .5f;
    start(&p, &ctx, &c);
    for (i = 0; i < 4; i++) observe(&p, 0, 1, i == 1 ? DRL_ENV_TERMINATED : 0);
    drli_rollout_gae(&p.rollout, .99f, .95f, v, v, adv, target);
    for (i = 0; i < 4; i++) {
        CHECK_NEAR(adv[i], want[i], 1e-6);
        CHECK_NEAR(target[i], want[i] + .5, 1e-6);
    }
    stop(&p, &ctx);
    start(&p, &ctx, &c);
    for (i = 0; i < 4; i++) {
        observe(&p, 1, 1, i == 1 ? DRL_ENV_TRUNCATED : 0);
        observe(&p, 0, 1, i == 1 ? DRL_ENV_TERMINATED : 0);
    }
    drli_rollout_gae(&p.rollout, .99f, .95f, v, v, adv, target);
    for (i = 0; i < 4; i++) CHECK_NEAR(adv[2 * i + 1], want[i], 1e-6);
    CHECK_NEAR(adv[2], .995, 1e-6);
    CHECK_NEAR(adv[0], .995 + .9405 * .995, 1e-6);
    CHECK(p.rollout.size == 8);
    observe(&p, 0, 1, 0); /* full: not kept */
    CHECK(p.rollout.size == 8 && p.rollout.reward[7] == 1);
    stop(&p, &ctx);
    start(&p, &ctx, &c); /* an episode that a failed step broke off does not go on in the next */
    for (i = 0; i < 4; i++) {
        if (i == 2) drl_agent_begin(&p.agent, 0, 0);
        observe(&p, 0, 1, 0);
    }
    drli_rollout_gae(&p.rollout, .99f, .95f, v, v, adv, target);
    CHECK_NEAR(adv[1], .995, 1e-6);
    stop(&p, &ctx);
}

/* r = 1, 1, 1: returns 1, 1.99, 2.9701, their variance with a bit of 1 before. */
TEST(reward_scale)
{
    drl_context ctx;
    drl_ppo p;
    drl_ppo_config c = small(8, 4);
    int i;
    start(&p, &ctx, &c);
    for (i = 0; i < 3; i++) observe(&p, 0, 1, 0);
    CHECK_NEAR(p.returns.mean[0], 1.98663378, 1e-6);
    CHECK_NEAR(p.returns.m2[0] / (p.returns.count - 1), .97053049, 1e-6);
    CHECK_NEAR(p.returns.count, 3.0001, 1e-9);
    CHECK_NEAR(p.rollout.reward[2], 1.01506863, 1e-6);
    observe(&p, 0, 1000, DRL_ENV_TERMINATED);
    CHECK(p.sum[0] == 0 && p.rollout.reward[3] <= 10 && p.rollout.reward[3] > 1);
    stop(&p, &ctx);
}

/* The first step of an update meets the policy that collected: ln R is 0 to the last bit, so that kl
   is; after it R moves. Statistics of observations move only after the update. */
TEST(first_ratio)
{
    drl_context ctx;
    drl_ppo p;
    drl_ppo_config c = small(64, 16);
    int i, k;
    c.lr = 1e-2f;
    start(&p, &ctx, &c);
    for (k = 0; k < 2; k++) {
        for (i = 0; i < 64; i++) observe(&p, 0, (float)(i % 7), 0);
        CHECK(p.norm.count == 64 * k);
        CHECK(drli_ppo_targets(&p) == DRL_OK);
        for (i = 0; i < 64; i++) p.order[i] = (uint32_t)(i * 37 % 64);
        CHECK(drli_ppo_step(&p, p.order) == DRL_OK);
        CHECK(p.agent.metrics[2].value == 0);
        CHECK(drli_ppo_step(&p, p.order) == DRL_OK);
        CHECK(p.agent.metrics[2].value > 0);
        CHECK(p.agent.updates == (k ? 24 : 2));
        if (!k) {
            p.cfg.epochs = 5;
            CHECK(drl_agent_update(&p.agent, NULL) == DRL_OK);
            CHECK(p.agent.updates == 22 && p.rollout.size == 0 && p.norm.count == 64);
        }
    }
    stop(&p, &ctx);
}

/* However often the same rows are learned from, the gain stays below clip times mean |A|, which is at
   most 1 for standardized A. */
TEST(clipping)
{
    drl_context ctx;
    drl_ppo p;
    drl_ppo_config c = small(16, 16);
    int i, k;
    c.clip = .05f;
    c.lr = 3e-2f;
    start(&p, &ctx, &c);
    for (i = 0; i < 16; i++) observe(&p, 0, (float)(i % 5), 0);
    CHECK(drli_ppo_targets(&p) == DRL_OK);
    for (i = 0; i < 16; i++) p.order[i] = (uint32_t)i;
    for (k = 0; k < 200; k++) CHECK(drli_ppo_step(&p, p.order) == DRL_OK);
    CHECK(-p.agent.metrics[0].value <= .05 + 1e-6);
    CHECK(-p.agent.metrics[0].value > .01);
    stop(&p, &ctx);
}

TEST(norm)
{
    enum { DIM = 3, COUNT = 5000 };
    static float x[COUNT][DIM];
    drl_context ctx;
    drl_ppo_norm n;
    drl_rng rng = drl_rng_make(4, "norm");
    float y[2 * DIM];
    int i, j;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    CHECK(drli_norm_init(&n, &ctx, DIM) == DRL_OK);
    for (i = 0; i < COUNT; i++) {
        x[i][0] = drl_rng_normal(&rng);
        x[i][1] = 1e6f + drl_rng_normal(&rng); /* where a sum of squares would lose the variance */
        x[i][2] = 7;
        if (i == 1) { /* one vector seen: nothing to go by */
            drli_norm_apply(&n, 1, x[1], 5, y);
            CHECK(y[0] == x[1][0] && y[1] == x[1][1] && y[2] == x[1][2]);
        }
        drli_norm_update(&n, x[i]);
    }
    CHECK(n.count == COUNT);
    for (j = 0; j < DIM; j++) {
        double mean = 0, m2 = 0, sd;
        for (i = 0; i < COUNT; i++) mean += (double)x[i][j] / COUNT;
        for (i = 0; i < COUNT; i++) m2 += ((double)x[i][j] - mean) * ((double)x[i][j] - mean);
        CHECK_NEAR(n.mean[j], mean, 1e-9 * (1 + fabs(mean)));
        CHECK_NEAR(n.m2[j], m2, 1e-7 * (1 + m2));
        sd = sqrt(m2 / COUNT + 1e-8);
        drli_norm_apply(&n, 2, x[10], 5, y);
        CHECK_NEAR(y[j], ((double)x[10][j] - mean) / sd, 1e-5);
        CHECK_NEAR(y[DIM + j], ((double)x[11][j] - mean) / sd, 1e-5);
    }
    y[0] = 1000;
    y[1] = 0;
    y[2] = 7;
    drli_norm_apply(&n, 1, y, 5, y); /* in place, clipped */
    CHECK(y[0] == 5 && y[1] == -5 && y[2] == 0);
    drli_norm_free(&n);
    drli_norm_free(&n);
    drl_context_free(&ctx);
}

TEST_MAIN(TEST_ENTRY(constants), TEST_ENTRY(advantages), TEST_ENTRY(reward_scale),
          TEST_ENTRY(first_ratio), TEST_ENTRY(clipping), TEST_ENTRY(norm))
