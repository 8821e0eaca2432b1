/* Five consecutive DIME updates, and pieces of them, against tests/golden/dime.h: an independent
   computation in PyTorch, float64 (tools/make_golden_dime.py). The formulae of the inputs are in
   the head of that file. */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"
#include "dime.h"
#include "golden.h"

enum { S = 5, D = 3, B = 8, N = 4, ATOMS = 11, ACTOR = GOLDEN_DIME_ACTOR_TENSORS,
       CRITIC = GOLDEN_DIME_CRITIC_TENSORS };

/* ---- inputs ---- */

/* One tensor, by the kind that its golden name tells. */
static void fill_tensor(drl_tensor *x, const char *name, int id)
{
    const char *end = strrchr(name, '.') + 1;
    double offset = 0, scale = .1;
    if (strcmp(end, "w") == 0) scale = 1 / sqrt((double)x->rows);
    if (strcmp(end, "psi") == 0) scale = .3;
    if (strcmp(end, "scale") == 0) offset = 1, scale = .2;
    if (strcmp(end, "rho") == 0) offset = log(expm1(.1)), scale = 0;
    if (strcmp(end, "phi") == 0) offset = log(expm1(1.0));
    fill(x->data, size_of(x), id, offset, scale);
}

/* Tensor t of golden_dime_tensors: actor, critics, running statistics. */
static drl_tensor *tensor(drl_dime *d, int t)
{
    if (t < ACTOR) return &d->actor.list[t];
    if (t < ACTOR + 2 * CRITIC) return &d->critic.list[t - ACTOR];
    return &d->running.list[t - ACTOR - 2 * CRITIC];
}

static void start(drl_dime *d, drl_context *ctx)
{
    drl_dime_config c = drl_dime_config_default(S, D);
    int t;
    CHECK(drl_context_init(ctx, NULL) == DRL_OK);
    c.steps = N;
    c.actor_width = 16;
    c.time_frequencies = 8;
    c.critic_width = 24;
    c.atoms = ATOMS;
    c.v_min = -5;
    c.v_max = 5;
    c.brn_momentum = .9f;
    c.brn_warmup = 2;
    c.batch = B;
    c.policy_delay = 2;
    c.lr_actor = c.lr_critic = 3e-3f;
    CHECK(drl_dime_init(d, ctx, &c) == DRL_OK);
    CHECK(d->actor.count == ACTOR && d->critic.count == 2 * CRITIC && d->running.count == 12);
    for (t = 0; t < ACTOR + 2 * CRITIC; t++) {
        drl_tensor *x = tensor(d, t);
        int id = t < ACTOR ? 1 + t : t < ACTOR + CRITIC ? 20 + t - ACTOR : 40 + t - ACTOR - CRITIC;
        CHECK(x->rows == golden_dime_tensors[t].rows && x->cols == golden_dime_tensors[t].cols);
        fill_tensor(x, golden_dime_tensors[t].name, id);
    }
}

static void stop(drl_dime *d, drl_context *ctx)
{
    drl_agent_free(&d->agent);
    drl_context_free(ctx);
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

/* which: 0 next action, 2 actor */
static float *make_noise(drl_dime *d, int t, int which)
{
    fill_normal(d->noise, B * D, 200 + 10 * t + which);
    fill_normal(d->noise + B * D, N * B * D, 200 + 10 * t + which + 1);
    return d->noise;
}

static int cut_elements(const drl_params *p)
{
    int n = 0;
    size_t i;
    for (i = 0; i < p->size; i++) n += fabsf(p->grad[i]) > 1;
    return n;
}

/* ---- tests ---- */

TEST(inputs)
{
    check_inputs(golden_dime_inputs);
}

/* Update t by the internal steps, as drl_dime_update does them; returns whether the actor moved. */
static int update(drl_dime *d, int t)
{
    make_batch(&d->agent.batch, t);
    drli_dime_next_action(d, &d->agent.batch, make_noise(d, t, 0));
    drli_dime_critic(d, &d->agent.batch);
    if (d->agent.updates % d->cfg.policy_delay) return 0;
    drli_dime_temperature(d, drli_dime_actor(d, &d->agent.batch, make_noise(d, t, 2)));
    return 1;
}

TEST(five_updates)
{
    drl_context ctx;
    drl_dime d;
    double params = 0, sums = 0;
    const double *last = golden_dime_last;
    int t, i;
    start(&d, &ctx);
    for (t = 0; t < 5; t++) {
        const double *want = golden_dime_updates + 11 * t;
        int moved = update(&d, t);
        CHECK(drl_tape_status(&d.agent.tape) == DRL_OK && moved == (t % 2 == 1));
        CHECK(far1(d.agent.metrics[0].value, want[0]) < 1e-6);
        CHECK(far1(mean_of(d.next_density, B), want[1]) < 2e-6);
        CHECK(far1(norm_of(&d.critic, 0, CRITIC), want[7]) < 1e-5);
        CHECK(far1(norm_of(&d.critic, CRITIC, CRITIC), want[8]) < 1e-5);
        if (t == 0) {
            CHECK(far_tensors(&d.critic, 0, 2 * CRITIC, golden_dime_critic_grad, 1) < 1e-5);
            CHECK(far(d.target, golden_dime_target, B * ATOMS) < 1e-6);
        }
        if (t == 1) CHECK(far_tensors(&d.actor, 0, ACTOR, golden_dime_actor_grad, 1) < 1e-5);
        if (moved) {
            CHECK(far1(d.agent.metrics[1].value, want[2]) < 2e-6);
            CHECK(far1(d.agent.metrics[5].value, want[3]) < 2e-6);
            CHECK(far1(d.agent.metrics[4].value, want[4]) < 1e-6);
            CHECK(far1(d.agent.metrics[2].value, want[5]) < 1e-5);
            CHECK(far1(norm_of(&d.actor, 0, ACTOR), want[9]) < 1e-5);
            CHECK(cut_elements(&d.actor) == (int)want[10]);
        }
        CHECK_NEAR(drli_dime_alpha(&d), want[6], 2e-7);
        for (i = 0; i < GOLDEN_DIME_TENSORS; i++)
            sums = fmax(sums, far_sums(tensor(&d, i),
                                       golden_dime_sums + 2 * (t * GOLDEN_DIME_TENSORS + i)));
    }
    CHECK(d.agent.updates == 5 && d.actor.step == 2);
    for (i = 0; i < GOLDEN_DIME_TENSORS; i++) {
        params = fmax(params, far(tensor(&d, i)->data, last, size_of(tensor(&d, i))));
        last += size_of(tensor(&d, i));
    }
    CHECK(last == golden_dime_last + LENGTH(golden_dime_last));
    CHECK(params < 5e-6);
    CHECK(sums < 5e-6);
    printf("  after 5 updates parameters are %.1e off, sums %.1e\n", params, sums);
    stop(&d, &ctx);
}

TEST(four_updates_with_clipped_gradients)
{
    drl_context ctx;
    drl_dime d;
    int t, i;
    const double *last = golden_dime_clip_last;
    start(&d, &ctx);
    d.kappa->data[0] = (float)log(32.0);
    fill(d.actor.list[12].data, D, 13, 5.5, .1);
    for (t = 0; t < 4; t++) {
        const double *want = golden_dime_clip_updates + 6 * t;
        int moved = update(&d, t);
        CHECK(far1(d.agent.metrics[0].value, want[0]) < 2e-6);
        if (moved) {
            CHECK(far1(d.agent.metrics[1].value, want[1]) < 1e-6);
            CHECK(far1(d.agent.metrics[5].value, want[2]) < 1e-6);
            CHECK(far1(d.agent.metrics[4].value, want[3]) < 1e-6);
            CHECK(cut_elements(&d.actor) == (int)want[5]);
        }
        CHECK(far1((double)drli_dime_alpha(&d), want[4]) < 1e-6);
    }
    for (i = 0; i < ACTOR; i++)
        CHECK(far_sums(&d.actor.list[i], golden_dime_clip_sums + 2 * i) < 5e-6);
    for (i = 11; i < ACTOR; i++) {
        CHECK(far(d.actor.list[i].data, last, size_of(&d.actor.list[i])) < 5e-6);
        last += size_of(&d.actor.list[i]);
    }
    CHECK(last == golden_dime_clip_last + LENGTH(golden_dime_clip_last));
    stop(&d, &ctx);
}

/* The outputs u_0 .. u_{N-1} are the clipped [B, D] nodes of the record. */
static void path_controls(const drl_dime *d, float *u)
{
    const drl_tensor *y;
    int k = N;
    for (y = d->agent.tape.last; y; y = y->prev)
        if (y->op.name && strcmp(y->op.name, "clip") == 0 && y->rows == B && y->cols == D && k > 0)
            memcpy(u + --k * B * D, y->data, B * D * sizeof(float));
    CHECK(k == 0);
}

static drl_tensor *actor_loss(drl_dime *d, drl_tensor *obs, drli_dime_sample path)
{
    drl_tape *t = &d->agent.tape;
    drl_tensor *in = drl_concat(t, obs, path.action), *q;
    q = drl_add(t, drl_c51_mean(t, drl_crossq_eval(t, &d->q[0], in), &d->support),
                drl_c51_mean(t, drl_crossq_eval(t, &d->q[1], in), &d->support));
    return drl_mean(t, drl_sub(t, path.density, drl_affine(t, q, .5f, 0)));
}

TEST(path)
{
    drl_context ctx;
    drl_dime d;
    int whole, i, j;
    start(&d, &ctx);
    make_batch(&d.agent.batch, 0);
    for (whole = 0; whole < 2; whole++) {
        const double *grad = whole ? golden_dime_path_loss_grad : golden_dime_path_grad;
        float u[N * B * D], terms[B * 4];
        drl_tensor *obs, *loss;
        drli_dime_sample path;
        drl_tape_reset(&d.agent.tape);
        obs = drl_tape_input(&d.agent.tape, B, S, d.agent.batch.obs);
        path = drli_dime_path(&d, obs, drli_dime_time(&d), make_noise(&d, 0, 2));
        loss = whole ? actor_loss(&d, obs, path) : drl_mean(&d.agent.tape, path.density);
        CHECK(drl_tape_status(&d.agent.tape) == DRL_OK);
        path_controls(&d, u);
        for (i = 0; i < B; i++) {
            double squash = 0;
            for (j = 0; j < D; j++) {
                double a = tanh((double)path.x->data[i * D + j]);
                squash += log(1 - a * a);
            }
            terms[i * 4] = path.density->data[i];
            terms[i * 4 + 1] = path.run_cost->data[i];
            terms[i * 4 + 2] = path.density->data[i] - path.run_cost->data[i];
            terms[i * 4 + 3] = (float)((double)path.run_cost->data[i] + squash);
        }
        CHECK(far(u, golden_dime_path_u, N * B * D) < 5e-6);
        CHECK(far(path.x->data, golden_dime_path_x, B * D) < 2e-6);
        CHECK(far(path.action->data, golden_dime_path_a, B * D) < 2e-6);
        CHECK(far(terms, golden_dime_path_terms, B * 4) < 2e-6);
        drl_params_zero_grad(&d.actor);
        CHECK(drl_tape_backward(&d.agent.tape, loss) == DRL_OK);
        CHECK(far(d.rho->grad, grad, 1) < 1e-5);
        CHECK(far(d.phi->grad, grad + 1, D) < 1e-5);
    }
    stop(&d, &ctx);
}

TEST(c51)
{
    drl_context ctx;
    drl_atoms atoms = {ATOMS, -5, 5};
    float p[5 * ATOMS], out[5 * ATOMS], shift[5], scale[5];
    int i;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    for (i = 0; i < 5 * ATOMS; i++) p[i] = (float)golden_dime_c51_p[i];
    for (i = 0; i < 5; i++) {
        shift[i] = (float)golden_dime_c51_shift[i];
        scale[i] = (float)golden_dime_c51_scale[i];
    }
    drl_c51_project(&ctx, &atoms, 5, p, shift, scale, 1, 0, out);
    for (i = 0; i < 5; i++)
        CHECK(far(out + i * ATOMS, golden_dime_c51_out + i * ATOMS, ATOMS) < 1e-6);
    drl_context_free(&ctx);
}

/* mode 0 plain batch norm, 1 renorm, 2 eval */
static void batch_renorm(int mode, const double *want)
{
    drl_context ctx;
    drl_tape tape;
    drl_params params, running;
    drl_brn layer;
    drl_tensor *x, *dy, *y, *sum;
    int i;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    CHECK(drl_tape_init(&tape, &ctx) == DRL_OK);
    CHECK(drl_params_init(&params, &ctx, 2, 1) == DRL_OK);
    CHECK(drl_params_init(&running, &ctx, 2, 0) == DRL_OK);
    drl_brn_add(&layer, &params, &running, "", "bn", 5);
    CHECK(drl_params_commit(&params) == DRL_OK && drl_params_commit(&running) == DRL_OK);
    layer.momentum = .9f;
    fill(layer.scale->data, 5, 311, 1, .2);
    fill(layer.shift->data, 5, 312, 0, .1);
    for (i = 0; i < 5; i++) {
        layer.mean->data[i] = (float)golden_dime_brn_mean[i];
        layer.var->data[i] = (float)golden_dime_brn_var[i];
    }
    x = drl_tape_variable(&tape, 6, 5, NULL);
    dy = drl_tape_input(&tape, 6, 5, NULL);
    fill(x->data, 30, 310, 0, 2);
    fill(dy->data, 30, 313, 0, 1);
    for (i = 0; i < 6; i++) x->data[i * 5 + 4] = 0;
    y = mode == 2 ? drl_brn_eval(&tape, &layer, x) : drl_brn_train(&tape, &layer, x, mode);
    /* sum of y dy: its gradient in y is dy */
    sum = drl_affine(&tape, drl_mean(&tape, drl_mul(&tape, y, dy)), 30, 0);
    CHECK(drl_tape_backward(&tape, sum) == DRL_OK);
    CHECK(far(y->data, want, 30) < 1e-6);
    CHECK(far(x->grad, want + 30, 30) < 5e-6);
    if (mode < 2) {
        CHECK(far(layer.scale->grad, want + 60, 5) < 5e-6);
        CHECK(far(layer.shift->grad, want + 65, 5) < 5e-6);
        CHECK(far(layer.mean->data, golden_dime_brn_running, 5) < 1e-6);
        CHECK(far(layer.var->data, golden_dime_brn_running + 5, 5) < 1e-6);
    }
    drl_params_free(&params);
    drl_params_free(&running);
    drl_tape_free(&tape);
    drl_context_free(&ctx);
}

TEST(batch_renorm_pieces)
{
    batch_renorm(0, golden_dime_brn_plain);
    batch_renorm(1, golden_dime_brn_renorm);
    batch_renorm(2, golden_dime_brn_eval);
}

TEST_MAIN(TEST_ENTRY(inputs), TEST_ENTRY(five_updates),
          TEST_ENTRY(four_updates_with_clipped_gradients), TEST_ENTRY(path), TEST_ENTRY(c51),
          TEST_ENTRY(batch_renorm_pieces))
