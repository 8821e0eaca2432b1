/* DPPO: what the paper's equations and the constants of its code say of chains, likelihood,
   schedules, advantages, reward scaling; plans and chunks; gradients; pre-training. The updates are
   checked in tests/golden/dppo.c; bits, memory and files, as of all algorithms, in algos.c. */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"

/* A small agent: K = 4, K' = 3, plans of 2 actions. */
static drl_dppo_config small(int obs, int act)
{
    drl_dppo_config c = drl_dppo_config_default(obs, act);
    c.envs = 2;
    c.chunk = 2;
    c.steps = 4;
    c.tuned = 3;
    c.actor_width = 8;
    c.critic_width = 8;
    c.rollout = 6;
    c.batch = 9;
    c.epochs = 1;
    c.bc_epochs = 10;
    c.bc_updates = 20;
    c.bc_batch = 16;
    return c;
}

static void start(drl_dppo *d, drl_context *ctx, const drl_dppo_config *c)
{
    CHECK(drl_context_init(ctx, NULL) == DRL_OK);
    CHECK(drl_dppo_init(d, ctx, c) == DRL_OK);
    if (ctx->status != DRL_OK) printf("  %s\n", drl_context_error(ctx));
}

static void stop(drl_dppo *d, drl_context *ctx)
{
    drl_agent_free(&d->agent);
    drl_context_free(ctx);
}

static int parameters(const drl_params *p)
{
    int i, n = 0;
    for (i = 0; i < p->count; i++) n += p->list[i].rows * p->list[i].cols;
    return n;
}

/* Numbers in [-1, 1) without a generator. */
static float pseudo(int i) { return (float)((uint32_t)i * 2654435761u >> 8) / 8388608 - 1; }

TEST(the_papers_networks_and_constants)
{
    static const int sizes[2][4] = {{11, 3, 553020, 134913}, {17, 6, 568392, 136449}};
    drl_dppo_config c;
    drl_context ctx;
    drl_dppo d;
    int k;
    for (k = 0; k < 2; k++) {
        c = drl_dppo_config_default(sizes[k][0], sizes[k][1]);
        c.rollout = 10;
        start(&d, &ctx, &c);
        CHECK(parameters(&d.actor) == sizes[k][2] && parameters(&d.critic) == sizes[k][3]);
        CHECK(d.explore.steps == 20);
        CHECK_NEAR(d.explore.std[1], .1, 1e-7);
        CHECK_NEAR(d.explore.std[2], .1, 1e-7); /* .0758 without the floor */
        CHECK_NEAR(d.explore.std[3], .123244, 1e-6);
        CHECK_NEAR(d.sigma[1], .1, 1e-7);
        CHECK_NEAR(d.sigma[20], .996470, 1e-6);
        CHECK(d.eval.std[1] == 0);
        CHECK_NEAR(d.eval.std[2], .075826, 1e-6);
        stop(&d, &ctx);
    }
    CHECK(c.chunk == 4 && c.tuned == 10 && c.rollout == 10 && c.batch == 50000 && c.epochs == 5);
    CHECK(c.clip == .01f && c.gamma_den == .99f && c.target_kl == 1 && c.time_limit_terminal == 1);
}

/* T17, and K' = 1, where the formula is 0 / 0 */
TEST(schedules_over_denoising_steps)
{
    static const double weight[10] = {.91352, .92274, .93207, .94148, .95099,
                                      .96060, .97030, .98010, .99,    1};
    static const double width[10] = {.001,    .001187, .001447, .001810, .002317,
                                     .003025, .004013, .005391, .007315, .01};
    drl_dppo_config c = drl_dppo_config_default(2, 1);
    drl_context ctx;
    drl_dppo d;
    int i;
    c.rollout = 10;
    c.clip_base = .001f;
    start(&d, &ctx, &c);
    for (i = 0; i < 10; i++) {
        CHECK_NEAR(d.weight[i], weight[i], 5e-6);
        CHECK_NEAR(d.high[i], 1 + width[i], 6e-7);
        CHECK_NEAR(d.low[i], 1 - width[i], 6e-7);
    }
    stop(&d, &ctx);
    c.tuned = 1;
    start(&d, &ctx, &c);
    CHECK_NEAR(d.high[0], 1.01, 1e-7);
    CHECK(d.weight[0] == 1);
    stop(&d, &ctx);
}

/* T19, last part: K = 100 by 5 steps of DDIM */
TEST(ddim)
{
    static const double sigma[5] = {0, .025062, .295109, .513967, .737755};
    drl_dppo_config c = small(2, 1);
    drl_context ctx;
    drl_dppo d;
    int t;
    c.steps = 100;
    c.ddim_steps = 5;
    c.tuned = 5;
    c.sample_floor = .04f;
    start(&d, &ctx, &c);
    CHECK(d.explore.steps == 5 && d.full.steps == 100);
    for (t = 1; t <= 5; t++) {
        CHECK(d.explore.time[t] == 20 * (t - 1));
        CHECK_NEAR(d.explore.std[t], fmax(sigma[t - 1], .04), 1e-6);
        CHECK_NEAR(d.sigma[t], fmax(sigma[t - 1], .1), 1e-6);
        CHECK(d.eval.std[t] == 0);
    }
    stop(&d, &ctx);
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    c.ddim_steps = 7; /* no divisor */
    CHECK(drl_dppo_init(&d, &ctx, &c) == DRL_ERR_RANGE);
    c.ddim_steps = 4; /* fewer than tuned */
    CHECK(drl_dppo_init(&d, &ctx, &c) == DRL_ERR_RANGE);
    CHECK_TEXT(drl_context_error(&ctx), "tuned");
    drl_context_free(&ctx);
}

/* One pair of a rollout whose chain is x, next in all dimensions. */
static float log_prob(drl_dppo *d, uint32_t pair, float x, float next)
{
    drl_tensor *obs, *y;
    size_t i, D = (size_t)d->dim;
    for (i = 0; i < D; i++) {
        d->rollout.act[pair * D + i] = x;
        d->rollout.act[(pair + 1) * D + i] = next;
    }
    drl_tape_reset(&d->agent.tape);
    y = drli_dppo_pairs(d, 1, &pair, &obs);
    CHECK(drl_tape_status(&d->agent.tape) == DRL_OK);
    return y->data[0];
}

/* eps = value, whatever the input. */
static void constant_net(drl_dppo *d, float value)
{
    drl_tensor *b = &d->actor.list[d->actor.count - 1];
    int i;
    memset(d->actor.value, 0, d->actor.size * sizeof(float));
    for (i = 0; i < b->cols; i++) b->data[i] = value;
}

/* T13, T14, T16 */
TEST(likelihood_of_a_step)
{
    drl_dppo_config c = drl_dppo_config_default(2, 1);
    drl_context ctx;
    drl_dppo d;
    float old;
    int sum;
    c.rollout = 2;
    c.chunk = 1;
    start(&d, &ctx, &c);
    constant_net(&d, 0);
    old = log_prob(&d, 8, .5f, .6f); /* t = 2 */
    CHECK_NEAR(old, .9333042943, 1e-5);
    CHECK_NEAR(log_prob(&d, 9, .6f, .55f), 1.2462941704, 1e-5);
    constant_net(&d, .1f);
    CHECK_NEAR(log_prob(&d, 8, .5f, .6f) - old, -.1225774549, 1e-5);
    CHECK_NEAR(exp((double)(log_prob(&d, 8, .5f, .6f) - old)), .8846373828, 1e-5);
    CHECK_NEAR(log_prob(&d, 8, .5f, 2), -5, 0); /* both bounds of an element */
    stop(&d, &ctx);
    for (sum = 0; sum < 2; sum++) { /* 12 dimensions, the mean moves by .01 towards next at z = 1 */
        float mean = .7164664f * (.5f * 1.0142505f) + .2835136f * .5f;
        c.act_dim = 12;
        c.sum = sum;
        start(&d, &ctx, &c);
        constant_net(&d, 0);
        old = log_prob(&d, 8, .5f, mean + .1f);
        constant_net(&d, -.01f / .1213948920f);
        old = expf(log_prob(&d, 8, .5f, mean + .1f) - old);
        CHECK_NEAR(old, sum ? 3.12676837 : 1.09965886, sum ? 3e-3 : 1e-4);
        stop(&d, &ctx);
    }
}

/* Keep a chunk of environment 0, reward 1. */
static void keep_chunk(drl_dppo *d, int first, int flags)
{
    const float obs[2] = {0, 0}, act[1] = {0};
    float *plan = drli_dppo_plan(d, DRL_MODE_EXPLORE, 0);
    plan[DRLI_DPPO_AT] = 2; /* its end */
    plan[DRLI_DPPO_REWARD] = 0;
    plan[DRLI_DPPO_FIRST] = (float)first;
    CHECK(d->agent.algo.observe_fn(&d->agent, 0, obs, act, 1, obs, flags) == DRL_OK);
}

/* T18, T25: one environment; V = V' = .5, reward 1, the scaler standing still at variance 1. */
TEST(advantages)
{
    static const double ended[4] = {1.46525, .5, 1.9307975, .995};
    static const double cut[4] = {1.9307975, .995, 1.9307975, .995};
    drl_dppo_config c = small(2, 1);
    drl_context ctx;
    drl_dppo d;
    int i, k;
    for (k = 0; k < 3; k++) {
        c.rollout = k < 2 ? 4 : 400;
        start(&d, &ctx, &c);
        d.scale[2] = 1e15;
        for (i = 0; i < c.rollout; i++) {
            d.v[i] = d.next_v[i] = k < 2 ? .5f : 0;
            keep_chunk(&d, k < 2 && i % 2 == 0, k == 0 && i == 1 ? DRL_ENV_TERMINATED : 0);
        }
        drli_dppo_targets(&d);
        for (i = 0; i < 4 && k < 2; i++) {
            CHECK_NEAR(d.advantage[i], k ? cut[i] : ended[i], 1e-6);
            CHECK_NEAR(d.target[i], (k ? cut[i] : ended[i]) + .5, 1e-6);
        }
        if (k == 2) CHECK_NEAR(d.advantage[0], 16.80672, 1e-4);
        stop(&d, &ctx);
    }
}

/* T19: rewards 1, 1, 1 of one episode */
TEST(reward_scaler)
{
    drl_dppo_config c = small(2, 1);
    drl_context ctx;
    drl_dppo d;
    int i;
    c.rollout = 3;
    start(&d, &ctx, &c);
    for (i = 0; i < 3; i++) keep_chunk(&d, i == 0, 0);
    drli_dppo_targets(&d);
    CHECK_NEAR(d.scale[0], 1.98663378, 1e-6);
    CHECK_NEAR(d.scale[1], .97053049, 1e-6);
    CHECK_NEAR(d.scale[2], 3.0001, 1e-9);
    CHECK_NEAR(d.advantage[2], 1.01506863, 1e-6); /* V = 0: the scaled reward */
    CHECK_NEAR(drli_dppo_plan(&d, DRL_MODE_EXPLORE, 0)[DRLI_DPPO_RETURN], 2.9701, 1e-6);
    stop(&d, &ctx);
}

/* ---- plans ---- */

/* Act and observe in both environments; flags of environment 0. */
static void walk(drl_dppo *d, float *act, float reward, int flags)
{
    float obs[4] = {.1f, .2f, -.3f, .4f}, next[4] = {.5f, .6f, .7f, .8f};
    CHECK(drl_agent_act(&d->agent, DRL_MODE_EXPLORE, 2, obs, act) == DRL_OK);
    CHECK(d->agent.algo.observe_fn(&d->agent, 0, obs, act, reward, next, flags) == DRL_OK);
    CHECK(d->agent.algo.observe_fn(&d->agent, 1, obs + 2, act + 2, 10, next + 2, 0) == DRL_OK);
    if (flags) drl_agent_begin(&d->agent, 0, 0);
}

TEST(plans_are_executed_and_recorded)
{
    drl_dppo_config c = small(2, 2);
    drl_context ctx;
    drl_dppo d;
    float act[4], again[4], eval[4], many[6] = {0}, *x;
    const drl_replay *r = &d.rollout;
    const float obs[2] = {.1f, .2f};
    start(&d, &ctx, &c);
    walk(&d, act, 1, 0);
    CHECK(d.rollout.size == 0);
    x = drli_dppo_plan(&d, DRL_MODE_EXPLORE, 1) - 4; /* the last of its numbers are x_0 */
    CHECK_NEAR(act[0], drli_clampf(x[0], -1, 1), 1e-6);
    CHECK_NEAR(act[1], drli_clampf(x[1], -1, 1), 1e-6);
    CHECK(drl_agent_act(&d.agent, DRL_MODE_EVAL, 1, obs, eval) == DRL_OK); /* a plan of its own */
    CHECK(eval[0] != act[0]);
    walk(&d, again, 2, 0);
    CHECK_NEAR(again[0], drli_clampf(x[2], -1, 1), 1e-6);
    CHECK_NEAR(again[1], drli_clampf(x[3], -1, 1), 1e-6);
    CHECK(r->size == 2 && r->reward[0] == 3 && r->reward[1] == 20);
    CHECK(r->flags[0] == 0 && r->last[0] == 0 && r->last[1] == 1);
    CHECK(memcmp(r->act + 3 * 4, x, 4 * sizeof(float)) == 0);
    CHECK(r->obs[0] == .1f && r->obs[2] == -.3f && r->next_obs[0] == .5f && r->next_obs[3] == .8f);
    walk(&d, act, 4, DRL_ENV_TERMINATED); /* in mid-plan: the rest is dropped */
    CHECK(d.rollout.size == 3 && r->reward[2] == 4 && r->flags[2] == DRL_ENV_TERMINATED);
    CHECK(r->next[0] == 2); /* it went on */
    walk(&d, act, 5, 0);
    CHECK(d.rollout.size == 4 && r->next[1] == 3); /* environment 1, too */
    walk(&d, act, 6, DRL_ENV_TRUNCATED);
    CHECK(d.rollout.size == 5 && r->reward[4] == 11 && r->flags[4] == DRL_ENV_TRUNCATED);
    CHECK(r->next[2] == -1); /* a new episode */
    walk(&d, act, 7, DRL_ENV_TRUNCATED);
    CHECK(d.rollout.size == 6); /* full: environment 1 has no room for its chunk */
    CHECK(drl_agent_act(&d.agent, DRL_MODE_EXPLORE, 3, many, many) == DRL_ERR_RANGE);
    CHECK_TEXT(drl_context_error(&ctx), "envs = 2");
    drl_agent_begin(&d.agent, -1, 7);
    CHECK(drl_agent_act(&d.agent, DRL_MODE_EVAL, 1, obs, act) == DRL_OK);
    drl_agent_begin(&d.agent, -1, 7);
    CHECK(drl_agent_act(&d.agent, DRL_MODE_EVAL, 1, obs, again) == DRL_OK);
    CHECK(act[0] == again[0] && act[1] == again[1]);
    stop(&d, &ctx);
}

/* With nets that say eps = 0, x_0 is a line of the noise: x_t-1 = (c0 x_scale + c1) x_t + std z
   where x0 is not cut. The base net is used above K', the tuned one below. */
TEST(chains)
{
    drl_dppo_config c = small(1, 1);
    drl_context ctx;
    drl_dppo d;
    drl_tensor *obs, *path;
    drl_rng rng = drl_rng_make(3, "noise"), copy = rng;
    float noise[5 * 2];
    int t, k;
    c.noise_clip = .5f;
    start(&d, &ctx, &c);
    constant_net(&d, 0);
    drl_params_copy(&d.base, &d.actor);
    drl_tape_reset(&d.agent.tape);
    d.agent.tape.grad_enabled = 0;
    obs = drl_tape_input(&d.agent.tape, 1, 1, NULL);
    obs->data[0] = 0;
    path = drli_dppo_sample(&d, &d.net, &d.explore, &rng, obs);
    drl_rng_normal_fill(&ctx, &copy, noise, 10);
    CHECK(path->rows == 5 && path->data[0] == noise[0] && path->data[1] == noise[1]);
    for (t = 4; t > 0; t--)
        for (k = 0; k < 2; k++) {
            int i = 2 * (4 - t) + k;
            float x0 = drli_clampf(d.explore.x_scale[t] * path->data[i], -1, 1);
            float z = drli_clampf(noise[i + 2], -.5f, .5f);
            CHECK_NEAR(path->data[i + 2], d.explore.c0[t] * x0 + d.explore.c1[t] * path->data[i] +
                                              d.explore.std[t] * z, 1e-6);
        }
    stop(&d, &ctx);
}

/* ---- fine-tuning ---- */

static void fill_rollout(drl_dppo *d)
{
    float act[4];
    int i;
    for (i = 0; d->rollout.size < d->cfg.rollout; i++) walk(d, act, pseudo(i), i % 7 == 3);
    for (i = 0; i < d->cfg.rollout * 2; i++) d->rollout.obs[i] = pseudo(1000 + i);
}

/* T15 */
TEST(the_first_ratio_is_one)
{
    drl_dppo_config c = small(2, 2);
    drl_context ctx;
    drl_dppo d;
    double mean = 0;
    int i, B = 1100; /* more than one piece */
    c.rollout = 400;
    start(&d, &ctx, &c);
    fill_rollout(&d);
    CHECK(drli_dppo_before(&d) == DRL_OK);
    drli_dppo_targets(&d);
    CHECK(drli_dppo_step(&d, B, d.order) == DRL_OK);
    for (i = 0; i < B; i++) mean += (double)d.gain[i] / B;
    CHECK(d.agent.metrics[2].value == 0 && d.agent.metrics[3].value == 0);
    CHECK_NEAR(d.agent.metrics[0].value, -mean, 1e-6);
    CHECK(drli_dppo_step(&d, B, d.order) == DRL_OK);
    CHECK(d.agent.metrics[2].value != 0);
    stop(&d, &ctx);
}

/* The loss of n pairs, its gradient left in the nets; the same noise each time. */
static double loss_of(drl_dppo *d, int n, const uint32_t *pair)
{
    drl_rng rng = d->agent.rng_noise;
    int i;
    for (i = 0; i < 4; i++) d->agent.metrics[i].value = 0;
    drl_params_zero_grad(&d->actor);
    drl_params_zero_grad(&d->critic);
    drli_dppo_piece(d, n, n, pair, d->gain);
    CHECK(drl_tape_status(&d->agent.tape) == DRL_OK);
    d->agent.rng_noise = rng;
    return d->agent.metrics[0].value + .25 * d->agent.metrics[1].value;
}

/* Central differences, with and without the pull towards the base policy (whose part of the loss is
   in no metric: the gradient is compared where it is the only part). */
TEST(gradients)
{
    drl_dppo_config c = small(2, 2);
    drl_context ctx;
    drl_dppo d;
    int k, i;
    c.clip = c.clip_base = .5f; /* no kink near 1 */
    c.prob_floor = c.sample_floor = .3f;
    start(&d, &ctx, &c);
    fill_rollout(&d);
    CHECK(drli_dppo_before(&d) == DRL_OK);
    drli_dppo_targets(&d);
    drli_dppo_gain(&d, 18, d.order);
    for (i = 0; i < (int)d.actor.size; i++) d.actor.value[i] += .01f * pseudo(i);
    for (k = 0; k < 2; k++) {
        drl_params *p = k ? &d.critic : &d.actor;
        double largest = 0, worst = 0;
        for (i = 0; i < (int)p->size; i += 1 + (int)p->size / 40) {
            float kept = p->value[i], h = 4e-3f;
            double up, down, grad;
            p->value[i] = kept + h;
            up = loss_of(&d, 18, d.order);
            p->value[i] = kept - h;
            down = loss_of(&d, 18, d.order);
            p->value[i] = kept;
            loss_of(&d, 18, d.order);
            grad = (double)p->grad[i];
            largest = fmax(largest, fabs(grad));
            worst = fmax(worst, fabs(grad - (up - down) / (2 * (double)h)));
        }
        CHECK(largest > 1e-3);
        CHECK(worst < 5e-3 * largest + 1e-4);
    }
    stop(&d, &ctx);
}

static drl_tensor *cloning_graph(drl_tape *tape, void *user)
{
    drl_dppo *d = (drl_dppo *)user;
    drl_tensor *obs = drl_tape_input(tape, 6, 2, NULL);
    int i;
    for (i = 0; i < 12; i++) obs->data[i] = pseudo(i);
    d->agent.rng_noise = drl_rng_make(5, "cloning");
    return drli_dppo_cloning(d, d->order, obs);
}

TEST(pull_towards_the_base_policy)
{
    drl_dppo_config c = small(2, 2);
    drl_context ctx;
    drl_dppo d;
    double error = 1, at_base, off;
    size_t i;
    c.prob_floor = c.sample_floor = .3f;
    start(&d, &ctx, &c);
    fill_rollout(&d);
    CHECK(drli_dppo_before(&d) == DRL_OK);
    drl_tape_reset(&d.agent.tape);
    CHECK(drl_tape_check_grad(&d.agent.tape, cloning_graph, &d, &d.actor.list[10], 1e-2f, &error) ==
          DRL_OK);
    CHECK(error < 2e-2);
    drl_tape_reset(&d.agent.tape);
    at_base = (double)cloning_graph(&d.agent.tape, &d)->data[0];
    for (i = 0; i < d.actor.size; i++) d.actor.value[i] += .3f * pseudo((int)i);
    drl_tape_reset(&d.agent.tape);
    off = (double)cloning_graph(&d.agent.tape, &d)->data[0];
    CHECK(off < at_base - .01); /* the base policy's steps are likeliest under itself */
    stop(&d, &ctx);
}

/* An iteration stops when the policy moved too far; else it takes all steps. */
TEST(target_kl)
{
    drl_dppo_config c = small(2, 2);
    drl_context ctx;
    drl_dppo d;
    int k;
    c.epochs = 4;
    c.lr_actor = 1e-2f;
    for (k = 0; k < 2; k++) {
        c.target_kl = k ? 1e-6f : 100;
        start(&d, &ctx, &c);
        fill_rollout(&d);
        CHECK(drl_agent_update(&d.agent, NULL) == DRL_OK);
        CHECK(k ? d.agent.updates == 2 : d.agent.updates == 8); /* 18 pairs in batches of 9 */
        CHECK(d.rollout.size == 0);
        stop(&d, &ctx);
    }
}

/* T22: one state, one action, reward -(a - .6)^2: from scratch the mean reward rises to its top. */
TEST(from_scratch_on_a_bandit)
{
    drl_dppo_config c = small(1, 1);
    drl_context ctx;
    drl_dppo d;
    float obs[8] = {0}, act[8];
    double first = 0, last = 0;
    int i, e, k;
    c.envs = 8;
    c.chunk = 1;
    c.steps = c.tuned = 4;
    c.actor_width = 32;
    c.rollout = 160;
    c.batch = 320;
    c.epochs = 5;
    c.clip = c.clip_base = .1f;
    c.gamma_den = 1;
    c.lr_actor = 1e-3f;
    start(&d, &ctx, &c);
    for (i = 0; i < 60; i++) {
        double mean = 0;
        for (k = 0; k < 20; k++) {
            CHECK(drl_agent_act(&d.agent, DRL_MODE_EXPLORE, 8, obs, act) == DRL_OK);
            for (e = 0; e < 8; e++) {
                float r = -(act[e] - .6f) * (act[e] - .6f);
                mean += (double)r / 160;
                d.agent.algo.observe_fn(&d.agent, e, obs, act + e, r, obs, DRL_ENV_TERMINATED);
                drl_agent_begin(&d.agent, e, 0);
            }
        }
        if (i == 0) first = mean;
        last = mean;
        CHECK(drl_agent_update(&d.agent, NULL) == DRL_OK);
    }
    CHECK(first < -.3);
    CHECK(last > -.06);
    stop(&d, &ctx);
}

/* ---- pre-training ---- */

/* T19: learning rate by epoch; T24: the average after n updates of a constant source. */
TEST(rate_and_average_of_pretraining)
{
    static const int epoch[5] = {0, 1, 2, 100, 199};
    static const double lr[5] = {1e-4, 1e-3, 9.999439e-4, 5.535520e-4, 1.000561e-4};
    float obs[40], act[40];
    uint8_t ends[20] = {0};
    drl_dppo_config c = small(2, 2);
    drl_context ctx;
    drl_dppo d;
    size_t i;
    int k;
    for (k = 0; k < 40; k++) obs[k] = pseudo(k), act[k] = pseudo(100 + k);
    c.bc_epochs = 200;
    c.bc_updates = 1;
    start(&d, &ctx, &c);
    for (k = 0; k < 5; k++) {
        d.epoch = epoch[k];
        CHECK(drl_dppo_pretrain(&d, 20, obs, act, ends) == DRL_OK);
        CHECK_NEAR(d.adam_student.lr, lr[k], 1e-9);
        CHECK(d.epoch == epoch[k] + 1);
    }
    stop(&d, &ctx);
    c.bc_lr = c.bc_lr_last = 0;
    c.bc_updates = 100;
    c.ema_every = 1;
    c.ema_first = 0;
    start(&d, &ctx, &c);
    for (i = 0; i < d.student.size; i++) d.student.value[i] = 1, d.base.value[i] = 0;
    CHECK(drl_dppo_pretrain(&d, 20, obs, act, ends) == DRL_OK);
    CHECK_NEAR(d.base.value[3], .39423, 1e-5);
    CHECK(d.actor.value[3] == d.base.value[3]); /* what is tuned, and evaluated, is the average */
    stop(&d, &ctx);
}

/* Chunks never cross the end of an episode, and every whole one is drawn: data whose actions tell
   their episode, cloned by a net that is the state. */
TEST(chunks_stay_in_their_episode)
{
    static const uint8_t ends[9] = {0, 0, 1, 1, 0, 0, 0, 0, 1};
    drl_dppo_config c = small(1, 1);
    drl_context ctx;
    drl_dppo d;
    int i, n;
    for (n = 1; n <= 5; n++) {
        static const int whole[6] = {0, 9, 6, 4, 2, 1};
        int count = 0;
        c.chunk = n;
        start(&d, &ctx, &c);
        for (i = 0; i < 12; i++) count += drli_dppo_whole(&d, 9, i, ends);
        CHECK(count == whole[n]);
        stop(&d, &ctx);
    }
}

TEST(pretraining_refuses_what_cannot_be_cloned)
{
    float obs[40], act[20];
    uint8_t ends[20];
    drl_dppo_config c = small(2, 1);
    drl_context ctx;
    drl_dppo d;
    int i;
    for (i = 0; i < 40; i++) obs[i] = pseudo(i), act[i / 2] = pseudo(i), ends[i / 2] = 1;
    start(&d, &ctx, &c);
    CHECK(drl_dppo_pretrain(&d, 20, obs, act, ends) == DRL_ERR_SHAPE);
    CHECK_TEXT(drl_context_error(&ctx), "2 actions");
    CHECK(drl_dppo_pretrain(&d, 0, obs, act, ends) == DRL_ERR_SHAPE);
    memset(ends, 0, sizeof(ends));
    obs[5] = (float)NAN;
    CHECK(drl_dppo_pretrain(&d, 20, obs, act, ends) == DRL_ERR_NAN);
    stop(&d, &ctx);
}

/* Two actions are equally frequent in each state: the clone does both, not their mean, in the units
   of the data. */
TEST(a_clone_keeps_both_modes)
{
    enum { ROWS = 400 };
    static float obs[ROWS], act[ROWS];
    static uint8_t ends[ROWS];
    drl_dppo_config c = small(1, 1);
    drl_context ctx;
    drl_dppo d;
    int i, low = 0, high = 0, far = 0;
    for (i = 0; i < ROWS; i++) {
        obs[i] = 5 + pseudo(i);
        act[i] = (i % 2 ? .6f : -.2f) + .02f * pseudo(7 * i);
        ends[i] = 1;
    }
    c.chunk = 1;
    c.envs = 100;
    c.steps = 10;
    c.actor_width = 48;
    c.bc_epochs = 30;
    c.bc_updates = 60;
    c.bc_batch = 64;
    c.ema_first = 10;
    start(&d, &ctx, &c);
    for (i = 0; i < 30; i++) CHECK(drl_dppo_pretrain(&d, ROWS, obs, act, ends) == DRL_OK);
    CHECK_NEAR(d.obs_range.b->data[0] + d.obs_range.w->data[0], 6, .01);
    drl_agent_begin(&d.agent, -1, 1);
    CHECK(drl_agent_act(&d.agent, DRL_MODE_EVAL, 100, obs, act) == DRL_OK);
    for (i = 0; i < 100; i++) {
        low += fabsf(act[i] + .2f) < .1f;
        high += fabsf(act[i] - .6f) < .1f;
        far += act[i] < -.23f || act[i] > .63f; /* the range of the data is not left */
    }
    CHECK(low > 25 && high > 25 && low + high > 85 && far == 0);
    stop(&d, &ctx);
}

/* Bits of pre-training on other instruction sets and on threads. */
TEST(same_bits)
{
    static const drl_isa isas[4] = {DRL_ISA_AUTO, DRL_ISA_SCALAR, DRL_ISA_AVX2, DRL_ISA_NEON};
    float obs[80], act[80], first[64] = {0};
    uint8_t ends[40] = {0};
    int i, k;
    for (i = 0; i < 80; i++) obs[i] = pseudo(i), act[i] = pseudo(2 * i);
    for (k = 0; k < 4; k++) {
        drl_dppo_config c = small(2, 2);
        drl_context_config cc = drl_context_config_default();
        drl_context ctx;
        drl_dppo d;
        cc.isa = isas[k];
        cc.threads = 1 + k % 3;
        c.bc_batch = 64;
        c.actor_width = 64;
        if (drl_context_init(&ctx, &cc) != DRL_OK) continue;
        CHECK(drl_dppo_init(&d, &ctx, &c) == DRL_OK);
        for (i = 0; i < 2; i++) CHECK(drl_dppo_pretrain(&d, 40, obs, act, ends) == DRL_OK);
        if (k == 0) memcpy(first, d.actor.list[4].data, sizeof(first));
        CHECK(memcmp(first, d.actor.list[4].data, sizeof(first)) == 0);
        stop(&d, &ctx);
    }
}

TEST_MAIN(TEST_ENTRY(the_papers_networks_and_constants),
          TEST_ENTRY(schedules_over_denoising_steps), TEST_ENTRY(ddim), TEST_ENTRY(likelihood_of_a_step), TEST_ENTRY(advantages),
          TEST_ENTRY(reward_scaler), TEST_ENTRY(plans_are_executed_and_recorded),
          TEST_ENTRY(chains), TEST_ENTRY(the_first_ratio_is_one), TEST_ENTRY(gradients),
          TEST_ENTRY(pull_towards_the_base_policy), TEST_ENTRY(target_kl),
          TEST_ENTRY(from_scratch_on_a_bandit), TEST_ENTRY(rate_and_average_of_pretraining),
          TEST_ENTRY(chunks_stay_in_their_episode),
          TEST_ENTRY(pretraining_refuses_what_cannot_be_cloned),
          TEST_ENTRY(a_clone_keeps_both_modes), TEST_ENTRY(same_bits))
