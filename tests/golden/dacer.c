/* Five consecutive DACER updates, and pieces of them, against tests/golden/dacer.h: an independent
   computation in PyTorch, float64 (tools/make_golden_dacer.py). The formulae of the inputs are in
   the head of that file. */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"
#include "dacer.h"
#include "golden.h"

enum { S = 5, D = 3, B = 8, T = 4, SAMPLES = 16, STATES = 4, ACTOR = GOLDEN_DACER_ACTOR_TENSORS,
       CRITIC = GOLDEN_DACER_CRITIC_TENSORS };

/* Tensor t of golden_dacer_tensors: actor, critics, targets. */
static drl_tensor *tensor(drl_dacer *d, int t)
{
    if (t < ACTOR) return &d->actor.list[t];
    if (t < ACTOR + 2 * CRITIC) return &d->critic.list[t - ACTOR];
    return &d->target.list[t - ACTOR - 2 * CRITIC];
}

static void start(drl_dacer *d, drl_context *ctx)
{
    drl_dacer_config c = drl_dacer_config_default(S, D);
    int t;
    CHECK(drl_context_init(ctx, NULL) == DRL_OK);
    c.steps = T;
    c.actor_width = 16;
    c.critic_width = 24;
    c.components = 1;
    c.samples = SAMPLES;
    c.mixtures = STATES;
    c.alpha_delay = 3;
    c.batch = B;
    c.tau = .05f;
    c.lr_actor = c.lr_critic = 3e-3f;
    CHECK(drl_dacer_init(d, ctx, &c) == DRL_OK);
    CHECK(d->actor.count == ACTOR && d->critic.count == 2 * CRITIC);
    for (t = 0; t < ACTOR + 2 * CRITIC; t++) {
        drl_tensor *x = tensor(d, t);
        const char *name = golden_dacer_tensors[t].name;
        int weight = strcmp(strrchr(name, '.'), ".w") == 0;
        int id = t < ACTOR ? 1 + t : t < ACTOR + CRITIC ? 20 + t - ACTOR : 40 + t - ACTOR - CRITIC;
        CHECK(x->rows == golden_dacer_tensors[t].rows && x->cols == golden_dacer_tensors[t].cols);
        fill(x->data, size_of(x), id, 0, weight ? 1 / sqrt((double)x->rows) : .1);
    }
    drl_params_copy(&d->target, &d->critic);
}

static void make_batch(drl_batch *b, int t)
{
    int i, id = 100 + 10 * t;
    fill(b->obs, B * S, id, 0, 1.5);
    fill(b->act, B * D, id + 1, 0, 1);
    fill(b->reward, B, id + 2, 0, 25);
    fill(b->next_obs, B * S, id + 3, 0, 1.5);
    for (i = 0; i < B; i++) b->discount[i] = uniform(id + 4, i) > .5 ? 0 : .99f;
}

static float *make_noise(drl_dacer *d, int rows, int id)
{
    fill_normal(d->noise, (T + 1) * rows * D, id);
    return d->noise;
}

/* Mean entropy of mixtures of the golden samples; drli_dacer_entropy draws its own. */
static double entropy(drl_dacer *d, int t)
{
    drl_tape *tape = &d->agent.tape;
    float x[STATES][SAMPLES * D];
    double h = 0;
    int i, m;
    for (m = 0; m < SAMPLES; m++) {
        drl_tensor *a;
        drl_tape_reset(tape);
        a = drl_tape_input(tape, STATES, S, d->agent.batch.obs);
        a = drli_dacer_action(d, a, make_noise(d, STATES, 400 + 20 * t + m), 1, 0);
        CHECK(drl_tape_status(tape) == DRL_OK);
        for (i = 0; i < STATES; i++) memcpy(x[i] + m * D, a->data + i * D, D * sizeof(float));
    }
    for (i = 0; i < STATES; i++) h += drli_gmm_entropy(SAMPLES, D, 1, x[i], d->work);
    return h / STATES;
}

/* ---- tests ---- */

TEST(inputs)
{
    check_inputs(golden_dacer_inputs);
}

TEST(next_action)
{
    drl_context ctx;
    drl_dacer d;
    drl_tape *t = &d.agent.tape;
    drl_tensor *a;
    int learn;
    start(&d, &ctx);
    make_batch(&d.agent.batch, 0);
    for (learn = 0; learn < 2; learn++) {
        drl_tape_reset(t);
        a = drl_tape_input(t, B, S, d.agent.batch.next_obs);
        a = drli_dacer_action(&d, a, make_noise(&d, B, 200), 1, learn);
        CHECK(drl_tape_status(t) == DRL_OK && far(a->data, golden_dacer_next, B * D) < 1e-5);
        CHECK(a->needs_grad == learn);
    }
    drl_agent_free(&d.agent);
    drl_context_free(&ctx);
}

/* Update t by the internal steps, as drli_dacer_update does them (tests/unit/dacer.c checks that
   order). */
static void update(drl_dacer *d, int t, const double *want)
{
    drl_batch *b = &d->agent.batch;
    float *z;
    int i, scales = t % 3 == 0, moves = t % 2 == 0;
    make_batch(b, t);
    z = make_noise(d, B, 200 + 10 * t) + (T + 1) * B * D;
    fill_normal(z, 2 * B, 205 + 10 * t);
    for (i = 0; i < 2 * B; i++) z[i] *= 2;
    CHECK(drli_dacer_target(d, b, d->noise) == DRL_OK);
    CHECK(drli_dacer_critic(d, b) == DRL_OK);
    CHECK(far1(d->agent.metrics[0].value, want[0]) < 1e-5);
    if (scales) {
        double h = entropy(d, t);
        CHECK(far1(h, want[2]) < 1e-5);
        d->agent.metrics[4].value = h;
    }
    if (moves) {
        CHECK(drli_dacer_actor(d, b, make_noise(d, B, 201 + 10 * t)) == DRL_OK);
        CHECK(far1(d->agent.metrics[1].value, want[1]) < 1e-5);
        CHECK(far1(norm_of(&d->actor, 0, ACTOR), want[8]) < 1e-5);
    }
    CHECK(far1(norm_of(&d->critic, 0, CRITIC), want[6]) < 1e-5);
    CHECK(far1(norm_of(&d->critic, CRITIC, CRITIC), want[7]) < 1e-5);
    drl_adam_step(&d->critic, &d->adam_critic);
    if (moves) drl_params_polyak(&d->target, &d->critic, d->cfg.tau);
    if (scales) drli_dacer_alpha(d);
    d->agent.updates++;
    CHECK(far1((double)drl_expf(d->log_alpha->data[0]), want[3]) < 1e-6);
    CHECK(far(d->omega->data, want + 4, 2) < 1e-6);
}

TEST(five_updates)
{
    drl_context ctx;
    drl_dacer d;
    double params = 0, sums = 0;
    const double *last = golden_dacer_last;
    int t, i;
    start(&d, &ctx);
    for (t = 0; t < 5; t++) {
        update(&d, t, golden_dacer_updates + 9 * t);
        if (t == 0) {
            CHECK(far(d.y, golden_dacer_y, B) < 1e-5);
            CHECK(far(d.y + B, golden_dacer_y + B, B) < 1e-5);
            CHECK(far_tensors(&d.critic, 0, 2 * CRITIC, golden_dacer_critic_grad, 1) < 1e-5);
            CHECK(far_tensors(&d.actor, 0, ACTOR, golden_dacer_actor_grad, 1) < 1e-5);
        }
        for (i = 0; i < GOLDEN_DACER_TENSORS; i++)
            sums = fmax(sums, far_sums(tensor(&d, i),
                                       golden_dacer_sums + 2 * (t * GOLDEN_DACER_TENSORS + i)));
    }
    for (i = 0; i < ACTOR + 2 * CRITIC; i++) {
        params = fmax(params, far(tensor(&d, i)->data, last, size_of(tensor(&d, i))));
        last += size_of(tensor(&d, i));
    }
    CHECK(last == golden_dacer_last + LENGTH(golden_dacer_last));
    CHECK(params < 1e-5);
    CHECK(sums < 1e-5);
    printf("  after 5 updates parameters are %.1e off, sums %.1e\n", params, sums);
    drl_agent_free(&d.agent);
    drl_context_free(&ctx);
}

/* EM over several steps, from wherever our k-means ends: the same partition. */
TEST(mixture)
{
    static const double centers[3][3] = {{-.5, .2, .1}, {.5, -.3, 0}, {.1, .6, -.4}};
    float x[60 * 3];
    double work[3 * (60 + 2 + 3 + 9) + 3], sum = 0;
    int i;
    for (i = 0; i < 180; i++) {
        x[i] = (float)(centers[(i >= 90) + (i >= 144)][i % 3] + .3 * normal(700, i));
        sum += (double)x[i];
    }
    CHECK_NEAR(sum, golden_dacer_gmm[1], 1e-12);
    CHECK_NEAR(drli_gmm_entropy(60, 3, 3, x, work), golden_dacer_gmm[0], 1e-6);
}

TEST_MAIN(TEST_ENTRY(inputs), TEST_ENTRY(next_action), TEST_ENTRY(five_updates),
          TEST_ENTRY(mixture))
