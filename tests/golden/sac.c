/* Six consecutive SAC updates against tests/golden/sac.h: an independent computation in PyTorch,
   float64 (tools/make_golden_sac.py). The formulae of the inputs are in the head of that file. */
#define DIFFRL_IMPLEMENTATION
#include "../../examples/baselines/baselines.h"
#include "../test.h"
#include "sac.h"
#include "golden.h"

enum { S = 5, D = 3, B = 8, ACTOR = 6, CRITIC = 6, UPDATES = 6, TENSORS = ACTOR + 4 * CRITIC };

/* Tensor t of golden_sac_tensors: actor, critics, targets. */
static drl_tensor *tensor(drl_sac *s, int t)
{
    if (t < ACTOR) return &s->actor.list[t];
    if (t < ACTOR + 2 * CRITIC) return &s->critic.list[t - ACTOR];
    return &s->target.list[t - ACTOR - 2 * CRITIC];
}

static void start(drl_sac *s, drl_context *ctx)
{
    static const double width[D] = {-.5, .2, 2.3};
    drl_sac_config c = drl_sac_config_default(S, D);
    int t, i;
    CHECK(drl_context_init(ctx, NULL) == DRL_OK);
    c.width = 16;
    c.batch = B;
    c.tau = .05f;
    c.alpha = .2f;
    c.lr = 3e-3f;
    CHECK(drl_sac_init(s, ctx, &c) == DRL_OK);
    CHECK(s->actor.count == ACTOR && s->critic.count == 2 * CRITIC);
    CHECK(LENGTH(golden_sac_tensors) == TENSORS);
    for (t = 0; t < ACTOR + 2 * CRITIC; t++) {
        drl_tensor *x = tensor(s, t);
        int id = t < ACTOR ? 1 + t : t < ACTOR + CRITIC ? 20 + t - ACTOR : 40 + t - ACTOR - CRITIC;
        CHECK(x->rows == golden_sac_tensors[t].rows && x->cols == golden_sac_tensors[t].cols);
        fill(x->data, size_of(x), id, 0, t % 2 ? .1 : 1 / sqrt((double)x->rows));
    }
    for (i = D; i < 2 * D; i++)
        s->actor.list[5].data[i] = (float)(width[i - D] + .1 * uniform(6, i));
    drl_params_copy(&s->target, &s->critic);
}

static void make_batch(drl_batch *b, int t)
{
    int i, id = 100 + 10 * t;
    fill(b->obs, B * S, id, 0, 1.5);
    fill(b->act, B * D, id + 1, 0, 1);
    fill(b->reward, B, id + 2, 0, 2);
    fill(b->next_obs, B * S, id + 3, 0, 1.5);
    for (i = 0; i < B; i++) b->discount[i] = uniform(id + 4, i) > .5 ? 0 : .99f;
}

static float *make_noise(drl_sac *s, int id)
{
    fill_normal(s->noise, B * D, id);
    return s->noise;
}

TEST(inputs)
{
    check_inputs(golden_sac_inputs);
}

TEST(six_updates)
{
    drl_context ctx;
    drl_sac s;
    const drl_metric *m = s.agent.metrics;
    const double *last = golden_sac_last;
    double params = 0, sums = 0;
    int t, i;
    start(&s, &ctx);
    for (t = 0; t < UPDATES; t++) {
        const double *want = golden_sac_updates + 7 * t;
        make_batch(&s.agent.batch, t);
        CHECK(drli_sac_critic(&s, &s.agent.batch, make_noise(&s, 200 + 10 * t)) == DRL_OK);
        CHECK(far1(m[0].value, want[0]) < 2e-6);
        CHECK(far1(norm_of(&s.critic, 0, 2 * CRITIC), want[5]) < 1e-5);
        if (t == 0) CHECK(far_tensors(&s.critic, 0, 2 * CRITIC, golden_sac_critic_grad, 1) < 1e-5);
        CHECK(drli_sac_actor(&s, &s.agent.batch, make_noise(&s, 201 + 10 * t)) == DRL_OK);
        CHECK(far1(m[1].value, want[1]) < 5e-6);
        CHECK(far1(m[2].value, want[2]) < 1e-5);
        CHECK(far1(m[3].value, want[3]) < 1e-6);
        CHECK(far1(m[4].value, want[4]) < 5e-6);
        CHECK(far1(norm_of(&s.actor, 0, ACTOR), want[6]) < 1e-5);
        if (t == 0) CHECK(far_tensors(&s.actor, 0, ACTOR, golden_sac_actor_grad, 1) < 1e-5);
        drl_params_polyak(&s.target, &s.critic, s.cfg.tau);
        for (i = 0; i < TENSORS; i++)
            sums = fmax(sums, far_sums(tensor(&s, i), golden_sac_sums + 2 * (t * TENSORS + i)));
    }
    CHECK(s.agent.updates == UPDATES && s.actor.step == UPDATES);
    for (i = 0; i < TENSORS; i++) {
        params = fmax(params, far(tensor(&s, i)->data, last, size_of(tensor(&s, i))));
        last += size_of(tensor(&s, i));
    }
    CHECK(last == golden_sac_last + LENGTH(golden_sac_last));
    CHECK(params < 1e-5);
    CHECK(sums < 1e-5);
    printf("  after %d updates parameters are %.1e off, sums %.1e\n", UPDATES, params, sums);
    drl_agent_free(&s.agent);
    drl_context_free(&ctx);
}

TEST_MAIN(TEST_ENTRY(inputs), TEST_ENTRY(six_updates))
