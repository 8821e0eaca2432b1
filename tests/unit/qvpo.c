/* QVPO: weights, entropy schedule, selection, and what the actor's objective ends in. What holds for
   every algorithm is in algos.c, six whole updates are in golden/qvpo.c. */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"

TEST(weights_by_hand)
{
    /* Q(a) = -a^2 of candidates -0.5, 0, 0.25, 1: the best is 0, the mean -0.328125 */
    drl_qvpo_config c = drl_qvpo_config_default(1, 1);
    float v = -0.328125f;
    CHECK(c.steps == 20 && c.behavior == 4 && c.target == 4 && c.evaluation == 32);
    CHECK(c.candidates == 64 && c.uniform == 10 && c.weight == DRL_QVPO_QADV);
    CHECK(c.entropy == .02f && c.entropy_floor == .002f && c.entropy_steps == 1000000);
    CHECK(c.lr_actor == 1e-4f && c.lr_critic == 3e-4f && c.adam_eps == 1e-5f && c.clip_norm == 2);
    CHECK(c.tau == .005f && c.gamma == .99f && c.batch == 256 && c.random_steps == 10000);
    CHECK(drli_qvpo_weight(&c, 0, v, v, 1) == .328125f);
    CHECK(drli_qvpo_weight(&c, 5, 5 + v, v, 1) == .328125f); /* a shift of Q changes nothing */
    CHECK(drli_qvpo_weight(&c, -1, v, v, 1) == 0);
    c.weight = DRL_QVPO_QRELU;
    CHECK(drli_qvpo_weight(&c, 0, v, v, 1) == 0 && drli_qvpo_weight(&c, -3, v, v, 1) == 0);
    c.q_neg = 2;
    CHECK(drli_qvpo_weight(&c, 0, v, v, 1) == 2 && drli_qvpo_weight(&c, -3, v, v, 1) == 0);
    c.weight = DRL_QVPO_QCUT;
    CHECK(drli_qvpo_weight(&c, 0, v, v, 1) == 1 && drli_qvpo_weight(&c, 4, v, v, 1) == 4);
    c.weight = DRL_QVPO_QCUT0N;
    CHECK(drli_qvpo_weight(&c, 0, v, v, 1) == .328125f && drli_qvpo_weight(&c, -1, v, v, 1) == 0);
    c.weight = DRL_QVPO_QCUT1N;
    CHECK(drli_qvpo_weight(&c, 0, v, v, 1) == 1 && drli_qvpo_weight(&c, 2, 0, 0, 1) == 2);
    c.weight = DRL_QVPO_QEXPN;
    c.beta = 2;
    CHECK_NEAR(drli_qvpo_weight(&c, 1, 0, .5f, .25f), exp(4), 1e-4);
    CHECK_NEAR(drli_qvpo_weight(&c, 99, 0, .5f, .25f), exp(16), 10); /* cut at 8 deviations */
}

TEST(entropy_falls_to_its_floor)
{
    drl_qvpo_config c = drl_qvpo_config_default(1, 1);
    CHECK_NEAR(drli_qvpo_entropy(&c, 0), .02, 1e-9);
    CHECK_NEAR(drli_qvpo_entropy(&c, 500000), .01, 1e-8);
    CHECK_NEAR(drli_qvpo_entropy(&c, 900000), .002, 1e-8);
    CHECK_NEAR(drli_qvpo_entropy(&c, 5000000), .002, 1e-9);
}

/* K = 3, B = 2, row = k B + b: state 0 has scores 1, 4, 3, state 1 has 5, 2, 9. */
TEST(best_of_each_state)
{
    float scores[6] = {1, 5, 4, 2, 3, 9}, running[2] = {0, 1};
    drl_tensor t;
    memset(&t, 0, sizeof(t));
    t.data = scores;
    t.rows = 6;
    t.cols = 1;
    CHECK(drli_qvpo_top(&t, 2, 0) == 2 && drli_qvpo_top(&t, 2, 1) == 5);
    CHECK_NEAR(drli_qvpo_follow(&t, running), 4, 1e-12);
    CHECK_NEAR(running[0], .004, 1e-9);
    CHECK_NEAR(running[1], 1 + .001 * (sqrt(40 / 5.0) - 1), 1e-7); /* n - 1 */
}

/* An action is the best of its candidates: with one candidate it is the chain's end, with many its
   Q is not below, and the same noise gives the same action. */
TEST(acting_takes_the_best)
{
    drl_context ctx;
    drl_qvpo one, many;
    drl_qvpo_config c = drl_qvpo_config_default(3, 2);
    float obs[3] = {.5f, -1, .2f}, act[2][2];
    double mean[2] = {0, 0};
    int i, k;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    c.steps = 4;
    c.actor_width = c.critic_width = 16;
    c.batch = 4;
    c.evaluation = 1;
    CHECK(drl_qvpo_init(&one, &ctx, &c) == DRL_OK);
    c.evaluation = 8;
    CHECK(drl_qvpo_init(&many, &ctx, &c) == DRL_OK);
    for (i = 0; i < 50; i++)
        for (k = 0; k < 2; k++) {
            drl_qvpo *q = k ? &many : &one;
            drl_tape *t = &q->agent.tape;
            CHECK(drl_agent_act(&q->agent, DRL_MODE_EVAL, 1, obs, act[k]) == DRL_OK);
            CHECK(fabsf(act[k][0]) <= 1 && fabsf(act[k][1]) <= 1);
            drl_tape_reset(t);
            mean[k] += (double)drl_twin_min(t, &q->q, drl_tape_input(t, 1, 3, obs),
                                            drl_tape_input(t, 1, 2, act[k]), 0)->data[0] / 50;
        }
    CHECK(mean[1] > mean[0]);
    drl_agent_begin(&many.agent, -1, 7);
    CHECK(drl_agent_act(&many.agent, DRL_MODE_EVAL, 1, obs, act[0]) == DRL_OK);
    drl_agent_begin(&many.agent, -1, 7);
    CHECK(drl_agent_act(&many.agent, DRL_MODE_EVAL, 1, obs, act[1]) == DRL_OK);
    CHECK(memcmp(act[0], act[1], sizeof(act[0])) == 0);
    drl_agent_free(&one.agent);
    drl_agent_free(&many.agent);
    drl_context_free(&ctx);
}

/* With best action 0.5 and N_e uniform ones at alpha, the policy becomes the mixture (1 - rho) of
   the one and rho of the others, rho = N_e alpha / (1 + N_e alpha), whatever w is. */
TEST(actor_learns_the_mixture)
{
    enum { N = 4000 };
    static float obs[N], act[N];
    drl_context ctx;
    drl_qvpo q;
    drl_qvpo_config c = drl_qvpo_config_default(1, 1);
    double far = 0, rho = .5 / 1.5;
    int u, i;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    c.batch = 32;
    c.actor_width = 48;
    c.critic_width = 8;
    c.evaluation = 1;
    c.lr_actor = 2e-3f;
    CHECK(drl_qvpo_init(&q, &ctx, &c) == DRL_OK);
    for (u = 0; u < 4000; u++) {
        q.adam_actor.lr = drl_lr_linear(c.lr_actor, 0, u, 4000);
        drli_qvpo_draw(&q);
        for (i = 0; i < c.batch; i++) {
            q.act[i] = .5f;
            q.agent.batch.obs[i] = 0;
        }
        for (i = 0; i < 11 * c.batch; i++) q.weight[i] = 3.0f * (i < c.batch ? 1.0f : .05f);
        CHECK(drli_qvpo_actor(&q, &q.agent.batch) == DRL_OK);
    }
    CHECK(drl_agent_act(&q.agent, DRL_MODE_EVAL, N, obs, act) == DRL_OK);
    for (i = 0; i < N; i++) far += fabs((double)act[i] - .5) > .1;
    far /= N;
    printf("  %.3f of the actions are away from the best one, exact %.3f\n", far, rho * .9);
    CHECK_NEAR(far, rho * .9, .05); /* a tenth of the uniform ones lies within 0.1 */
    drl_agent_free(&q.agent);
    drl_context_free(&ctx);
}

TEST_MAIN(TEST_ENTRY(weights_by_hand), TEST_ENTRY(entropy_falls_to_its_floor),
          TEST_ENTRY(best_of_each_state), TEST_ENTRY(acting_takes_the_best),
          TEST_ENTRY(actor_learns_the_mixture))
