/* SAC: constants, the density of a squashed Gaussian, its gradient, the temperature's direction. The
   updates themselves are checked in tests/golden/sac.c; what all algorithms share in algos.c. */
#define DIFFRL_IMPLEMENTATION
#include "../../examples/baselines/baselines.h"
#include "../test.h"

enum { S = 3, A = 2, B = 16 };

static void start(drl_sac *s, drl_context *ctx)
{
    drl_sac_config c = drl_sac_config_default(S, A);
    drl_rng rng = drl_rng_make(5, "test");
    CHECK(drl_context_init(ctx, NULL) == DRL_OK);
    c.width = 16;
    c.batch = B;
    CHECK(drl_sac_init(s, ctx, &c) == DRL_OK);
    drl_rng_normal_fill(ctx, &rng, s->agent.batch.obs, B * S);
    drl_rng_normal_fill(ctx, &rng, s->noise, 2 * B * A);
}

static void stop(drl_sac *s, drl_context *ctx)
{
    drl_agent_free(&s->agent);
    drl_context_free(ctx);
}

TEST(constants)
{
    drl_sac_config c = drl_sac_config_default(17, 6);
    CHECK(c.obs_dim == 17 && c.act_dim == 6 && c.seed == 1);
    CHECK(c.width == 256 && c.gamma == .99f && c.tau == .005f && c.batch == 256 && c.utd == 1);
    CHECK(c.random_steps == 10000 && c.lr == 3e-4f && c.alpha == 1 && c.target == -1);
}

/* L = sum_i ln N(x_i; mu_i, sigma_i^2) - ln(1 - tanh^2 x_i), and a = tanh(x), in double. */
TEST(density)
{
    drl_context ctx;
    drl_sac s;
    drl_tensor *obs, *h, *a, *L;
    int b, i, cut;
    start(&s, &ctx);
    for (cut = 0; cut < 2; cut++) {
        s.actor.list[5].data[A] = cut ? 9 : -1; /* ln sigma of the first dimension: 2 at most */
        s.actor.list[5].data[A + 1] = cut ? -30 : .5f;
        drl_tape_reset(&s.agent.tape);
        obs = drl_tape_input(&s.agent.tape, B, S, s.agent.batch.obs);
        h = drl_mlp_forward(&s.agent.tape, &s.policy, obs);
        a = drli_sac_sample(&s, obs, s.noise, &L);
        CHECK(drl_tape_status(&s.agent.tape) == DRL_OK);
        for (b = 0; b < B; b++) {
            double want = 0;
            for (i = 0; i < A; i++) {
                double mu = (double)h->data[b * 2 * A + i];
                double log_std = fmin(fmax((double)h->data[b * 2 * A + A + i], -20), 2);
                double xi = (double)s.noise[b * A + i], x = mu + exp(log_std) * xi, t;
                t = exp(-2 * fabs(x));
                want += -.5 * xi * xi - log_std - .5 * log(2 * 3.14159265358979323846);
                want -= log(4) - 2 * fabs(x) - 2 * log1p(t);
                CHECK_NEAR(a->data[b * A + i], tanh(x), 1e-6);
            }
            CHECK_NEAR(L->data[b], want, 2e-5 * (1 + fabs(want)));
        }
    }
    stop(&s, &ctx);
}

/* The gradient of mean(L + sum of a) in the last layer of the actor, against differences. */
static drl_tensor *graph(drl_tape *tape, void *user)
{
    drl_sac *s = (drl_sac *)user;
    drl_tensor *L, *a = drli_sac_sample(s, drl_tape_input(tape, B, S, s->agent.batch.obs), s->noise,
                                        &L);
    return drl_mean(tape, drl_add(tape, L, drl_sum_cols(tape, a)));
}

TEST(gradient)
{
    drl_context ctx;
    drl_sac s;
    int t;
    start(&s, &ctx);
    for (t = 4; t < 6; t++) {
        double error = 1;
        CHECK(drl_tape_check_grad(&s.agent.tape, graph, &s, &s.actor.list[t], 1e-2f, &error) ==
              DRL_OK);
        CHECK(error < 2e-2);
    }
    stop(&s, &ctx);
}

/* alpha rises while the entropy -L is below the goal -dim(A), falls above it, by Adam's first step of
   lr in ln alpha. */
TEST(temperature)
{
    drl_context ctx;
    drl_sac s;
    start(&s, &ctx);
    drli_sac_temperature(&s, 2.5f); /* entropy -2.5 < -2 */
    CHECK_NEAR(s.kappa->grad[0], -.5, 1e-6);
    CHECK_NEAR(s.kappa->data[0], 3e-4, 1e-8);
    stop(&s, &ctx);
    start(&s, &ctx);
    drli_sac_temperature(&s, 1.5f);
    CHECK_NEAR(s.kappa->data[0], -3e-4, 1e-8);
    CHECK_NEAR(s.agent.metrics[3].value, exp(-3e-4), 1e-6);
    stop(&s, &ctx);
}

/* Evaluating takes tanh(mu) and draws nothing; exploring draws. */
TEST(acting)
{
    drl_context ctx;
    drl_sac s;
    float one[B * A], two[B * A];
    const float *obs;
    int i;
    start(&s, &ctx);
    obs = s.agent.batch.obs;
    CHECK(drl_agent_act(&s.agent, DRL_MODE_EVAL, B, obs, one) == DRL_OK);
    CHECK(drl_agent_act(&s.agent, DRL_MODE_EVAL, B, obs, two) == DRL_OK);
    CHECK(memcmp(one, two, sizeof(one)) == 0 && s.agent.rng_eval.position == 0);
    drl_tape_reset(&s.agent.tape);
    {
        drl_tensor *x = drl_tape_input(&s.agent.tape, B, S, s.agent.batch.obs);
        x = drl_mlp_forward(&s.agent.tape, &s.policy, x);
        for (i = 0; i < B * A; i++)
            CHECK_NEAR(one[i], tanh((double)x->data[i / A * 2 * A + i % A]), 1e-6);
    }
    CHECK(drl_agent_act(&s.agent, DRL_MODE_EXPLORE, B, obs, two) == DRL_OK);
    CHECK(memcmp(one, two, sizeof(one)) != 0 && s.agent.rng_act.position == B * A);
    for (i = 0; i < B * A; i++) CHECK(two[i] >= -1 && two[i] <= 1);
    stop(&s, &ctx);
}

TEST_MAIN(TEST_ENTRY(constants), TEST_ENTRY(density), TEST_ENTRY(gradient),
          TEST_ENTRY(temperature), TEST_ENTRY(acting))
