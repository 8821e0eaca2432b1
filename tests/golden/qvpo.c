/* Six consecutive QVPO updates against tests/golden/qvpo.h: an independent computation in PyTorch,
   float64 (tools/make_golden_qvpo.py). The formulae of the inputs are in the head of that file. */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"
#include "golden.h"
#include "qvpo.h"

enum { S = 5, D = 3, B = 8, T = 6, KT = 3, ND = 5, NE = 2, UPDATES = 6 };

static drl_tensor *tensor(drl_qvpo *q, int i)
{
    int actor = q->actor.count, critic = q->critic.count;
    if (i < actor) return &q->actor.list[i];
    if (i < actor + critic) return &q->critic.list[i - actor];
    i -= actor + critic;
    return i < actor ? &q->actor_target.list[i] : &q->critic_target.list[i - actor];
}

static void start(drl_qvpo *q, drl_context *ctx, drl_qvpo_weight weight)
{
    drl_qvpo_config c = drl_qvpo_config_default(S, D);
    int i, k, half;
    CHECK(drl_context_init(ctx, NULL) == DRL_OK);
    c.steps = T;
    c.target = KT;
    c.candidates = ND;
    c.uniform = NE;
    c.weight = weight;
    c.q_neg = .25f;
    c.cut = .1f;
    c.beta = 1.5f;
    c.entropy = .5f;
    c.entropy_floor = .2f;
    c.entropy_steps = 10;
    c.random_steps = 2;
    c.actor_width = 16;
    c.critic_width = 24;
    c.tau = .05f;
    c.batch = B;
    c.policy_delay = 2;
    c.lr_actor = 3e-3f;
    c.lr_critic = 2e-3f;
    c.clip_norm = .5f;
    CHECK(drl_qvpo_init(q, ctx, &c) == DRL_OK);
    half = q->actor.count + q->critic.count;
    CHECK(2 * half == GOLDEN_QVPO_TENSORS);
    for (i = 0; i < half; i++) {
        drl_tensor *x = tensor(q, i), *target = tensor(q, half + i);
        int actor = i < q->actor.count, n = actor ? i : i - q->actor.count;
        const char *name = golden_qvpo_tensors[i].name;
        double scale = name[strlen(name) - 1] == 'w' ? 1 / sqrt((double)x->rows) : .1;
        CHECK(x->rows == golden_qvpo_tensors[i].rows && x->cols == golden_qvpo_tensors[i].cols);
        CHECK(strcmp(name + (actor ? 6 : 7), actor ? q->actor.names[n] : q->critic.names[n]) == 0);
        fill(x->data, size_of(x), (actor ? 1 : 20) + n, 0, scale);
        fill(target->data, size_of(x), (actor ? 60 : 80) + n, 0, .05);
        for (k = 0; k < size_of(x); k++) target->data[k] += x->data[k];
    }
}

static void make_batch(drl_batch *b, int id)
{
    int i;
    fill(b->obs, B * S, id, 0, 1.5);
    fill(b->act, B * D, id + 1, 0, 1);
    fill(b->reward, B, id + 2, 0, 2);
    fill(b->next_obs, B * S, id + 3, 0, 1.5);
    for (i = 0; i < B; i++) b->discount[i] = uniform(id + 4, i) > .5 ? 0 : .99f;
}

static float *make_noise(drl_qvpo *q, int candidates, int id)
{
    int i, n = candidates * B * D;
    for (i = 0; i <= T; i++) fill_normal(q->path + i * n, n, id + i);
    return q->path;
}

/* Update u by the internal steps, as drli_qvpo_update does them; norms of the gradients before the
   clip. */
static void update(drl_qvpo *q, int u, double *critic_norm, double *actor_norm)
{
    drl_batch *b = &q->agent.batch;
    int i, rows = (1 + NE) * B;
    make_batch(b, 100 + 10 * u);
    CHECK(drli_qvpo_critic(q, b, make_noise(q, KT, 300 + 40 * u)) == DRL_OK);
    *critic_norm = norm_of(&q->critic, 0, q->critic.count);
    if (q->agent.updates % q->cfg.policy_delay == 0) {
        make_batch(b, 105 + 10 * u);
        fill(q->act + B * D, NE * B * D, 330 + 40 * u, 0, 1);
        for (i = 0; i < rows; i++) q->time[i] = 1 + (int)((uniform(331 + 40 * u, i) + 1) / 2 * T);
        fill_normal(q->noise, rows * D, 332 + 40 * u);
        CHECK(drli_qvpo_choose(q, b, make_noise(q, ND, 320 + 40 * u)) == DRL_OK);
        CHECK(drli_qvpo_actor(q, b) == DRL_OK);
        *actor_norm = norm_of(&q->actor, 0, q->actor.count);
    }
    drl_params_polyak(&q->critic_target, &q->critic, q->cfg.tau);
    drl_params_polyak(&q->actor_target, &q->actor, q->cfg.tau);
}

TEST(inputs)
{
    check_inputs(golden_qvpo_inputs);
}

TEST(six_updates)
{
    drl_context ctx;
    drl_qvpo q;
    const double *last = golden_qvpo_last;
    double sums = 0, params = 0;
    int u, i;
    start(&q, &ctx, DRL_QVPO_QADV);
    for (u = 0; u < UPDATES; u++) {
        const double *want = golden_qvpo_updates + 8 * u;
        double critic_norm = 0, actor_norm = 0;
        update(&q, u, &critic_norm, &actor_norm);
        CHECK(far1(q.agent.metrics[0].value, want[0]) < 2e-6);
        CHECK(far1(q.agent.metrics[2].value, want[1]) < 1e-5);
        CHECK(far1(critic_norm, want[2]) < 1e-5);
        if (u % 2 == 0) continue;
        CHECK(far1(q.agent.metrics[1].value, want[3]) < 1e-5);
        CHECK(far1(q.agent.metrics[3].value, want[4]) < 1e-5);
        CHECK(far1(q.agent.metrics[4].value, want[5]) < 2e-5);
        CHECK_NEAR(q.agent.metrics[5].value, want[6], 1e-7);
        CHECK(far1(actor_norm, want[7]) < 2e-5);
    }
    for (i = 0; i < GOLDEN_QVPO_TENSORS; i++) {
        sums = fmax(sums, far_sums(tensor(&q, i), golden_qvpo_sums + 2 * i));
        if (strstr(golden_qvpo_tensors[i].name, ".t")) continue;
        params = fmax(params, far(tensor(&q, i)->data, last, size_of(tensor(&q, i))));
        last += size_of(tensor(&q, i));
    }
    CHECK(last == golden_qvpo_last + LENGTH(golden_qvpo_last));
    CHECK(params < 1e-5 && sums < 1e-5);
    CHECK(far1((double)q.score->data[0], golden_qvpo_running[0]) < 1e-5);
    CHECK(far1((double)q.score->data[1], golden_qvpo_running[1]) < 1e-6);
    printf("  after 6 updates parameters are %.1e off, sums %.1e\n", params, sums);
    drl_agent_free(&q.agent);
    drl_context_free(&ctx);
}

TEST(weights)
{
    int kind, u;
    for (kind = DRL_QVPO_QADV; kind <= DRL_QVPO_QCUT1N; kind++) {
        drl_context ctx;
        drl_qvpo q;
        start(&q, &ctx, (drl_qvpo_weight)kind);
        for (u = 0; u < UPDATES; u++) {
            double unused[2];
            update(&q, u, &unused[0], &unused[1]);
            if (u % 2)
                CHECK_NEAR(q.agent.metrics[4].value, golden_qvpo_weights[3 * kind + u / 2], 1e-6);
        }
        drl_agent_free(&q.agent);
        drl_context_free(&ctx);
    }
}

TEST_MAIN(TEST_ENTRY(inputs), TEST_ENTRY(six_updates), TEST_ENTRY(weights))
