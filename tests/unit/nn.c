/* Parameter sets, initializers, layers and time embeddings against the same formulas in double;
   Batch Renormalisation against figures worked out by hand.
   build: cc -O2 nn.c -o nn -lm */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"

static drl_context ctx;
static drl_tape tape;

static void start(void)
{
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    CHECK(drl_tape_init(&tape, &ctx) == DRL_OK);
}

static void stop(void)
{
    drl_tape_free(&tape);
    CHECK(ctx.bytes == ctx.scratch_size); /* all given back */
    drl_context_free(&ctx);
}

/* generic numbers of size 1 */
static void fill(drl_tensor *x, float offset)
{
    int i;
    for (i = 0; i < x->rows * x->cols; i++)
        x->data[i] = offset + (float)sin(1.3 * i + 0.7 * x->cols + 0.2 * x->rows);
}

/* ---- sets of parameters ---- */

TEST(params_layout)
{
    drl_params p, q;
    drl_tensor *a, *b;
    int i;
    start();
    CHECK(drl_params_init(&p, &ctx, 2, 1) == DRL_OK);
    a = drl_params_add(&p, "net.", "a", 3, 5);
    b = drl_params_add(&p, "net.", "b", 1, 17);
    CHECK(drl_params_commit(&p) == DRL_OK);
    CHECK(p.count == 2 && strcmp(p.names[0], "net.a") == 0 && strcmp(p.names[1], "net.b") == 0);
    CHECK(a->rows == 3 && a->cols == 5 && b->cols == 17 && a->needs_grad && a->grad && b->grad);
    CHECK(a->data == p.value && b->data == p.value + 16 && b->grad == p.grad + 16);
    CHECK((uintptr_t)b->data % 64 == 0);
    for (i = 0; i < 17; i++) CHECK(b->data[i] == 0 && b->grad[i] == 0);
    for (i = 0; i < 17; i++) b->grad[i] = 2;
    a->grad[0] = -6;
    CHECK_NEAR(drli_grad_norm(&p, 0), sqrt(36 + 17 * 4.0), 1e-12);
    drl_params_zero_grad(&p);
    CHECK(drli_grad_norm(&p, 0) == 0);
    CHECK(drli_params_find_nan(&p) == -1);
    b->data[16] = -HUGE_VALF;
    CHECK(drli_params_find_nan(&p) == 1);
    b->data[16] = 3e38f;
    CHECK(drli_params_find_nan(&p) == -1);
    a->data[14] = (float)sqrt(-1.0);
    CHECK(drli_params_find_nan(&p) == 0);
    /* a set of values alone takes a quarter of the memory */
    CHECK(drl_params_init(&q, &ctx, 2, 0) == DRL_OK);
    a = drl_params_add(&q, "", "a", 3, 5);
    CHECK(drl_params_commit(&q) == DRL_OK);
    CHECK(!a->needs_grad && !a->grad && !q.grad && !q.m && !q.v);
    drl_params_free(&p);
    drl_params_free(&p);
    drl_params_free(&q);
    stop();
}

TEST(params_errors)
{
    static const char *const name50 = "a234567890.b234567890.c234567890.d234567890.567890";
    drl_params p;
    drl_mlp mlp;
    drl_resmlp res;
    int dims[] = {3, 4, 4, 4, 4, 4, 4, 4, 4, 2}, i;
    start();
    for (i = 0; i < 6; i++) {
        CHECK(drl_params_init(&p, &ctx, 2, 1) == DRL_OK);
        CHECK(drl_params_add(&p, "x.", "good", 2, 2) != NULL);
        if (i == 0) CHECK(drl_params_add(&p, "x.", "bad", 0, 3) == NULL);
        if (i == 1) CHECK(drl_params_add(&p, "x.", "bad", 3, 1 << 25) == NULL);
        if (i == 2) drl_params_add(&p, "x.", "b", 1, 1), drl_params_add(&p, "x.", "bad", 1, 1);
        if (i == 3) CHECK(drl_params_add(&p, "x.bad", name50, 1, 1) == NULL);
        if (i == 4) drl_mlp_add(&mlp, &p, "x.bad", dims, 9, DRL_ACT_TANH, DRL_ACT_NONE);
        if (i == 5) drl_resmlp_add(&res, &p, "x.bad", 3, 4, 5, 2, DRL_ACT_TANH);
        CHECK(drl_params_add(&p, "x.", "later", 1, 1) == NULL); /* the error sticks */
        CHECK(drl_params_commit(&p) == (i == 3 ? DRL_ERR_NAME : DRL_ERR_RANGE));
        CHECK_TEXT(drl_context_error(&ctx), "x.bad");
        CHECK_TEXT(drl_context_error(&ctx), "expected");
        CHECK(p.value == NULL);
        drl_params_free(&p);
    }
    stop();
}

TEST(params_copy_and_average)
{
    drl_params p, q;
    drl_tensor *a, *b;
    int i;
    start();
    drl_params_init(&p, &ctx, 1, 1);
    drl_params_init(&q, &ctx, 1, 0);
    a = drl_params_add(&p, "", "a", 7, 9);
    b = drl_params_add(&q, "", "a", 7, 9);
    CHECK(drl_params_commit(&p) == DRL_OK && drl_params_commit(&q) == DRL_OK);
    fill(a, 0);
    drl_params_copy(&q, &p);
    CHECK(memcmp(a->data, b->data, 63 * sizeof(float)) == 0);
    fill(b, 3);
    drl_params_polyak(&q, &p, 0.005f);
    for (i = 0; i < 63; i++) { /* b was a + 3 */
        CHECK_NEAR(b->data[i], (double)a->data[i] + 3 * 0.995, 1e-6);
    }
    drl_params_polyak(&q, &p, 1.0f);
    for (i = 0; i < 63; i++) CHECK_NEAR(b->data[i], a->data[i], 3e-7);
    drl_params_polyak(&q, &p, 0.0f);
    for (i = 0; i < 63; i++) CHECK_NEAR(b->data[i], a->data[i], 3e-7);
    drl_params_free(&p);
    drl_params_free(&q);
    stop();
}

TEST(params_enumeration)
{
    static const char *const want[] = {"agent.q.w",        "agent.adam_m.q.w", "agent.adam_v.q.w",
                                       "agent.q.b",        "agent.adam_m.q.b", "agent.adam_v.q.b",
                                       "agent.adam_step"};
    drl_params p;
    drl_state state;
    drl_dense layer;
    int i;
    start();
    drl_params_init(&p, &ctx, 4, 1);
    drl_dense_add(&layer, &p, "", "q", 3, 4);
    CHECK(drl_params_commit(&p) == DRL_OK);
    drl_state_init(&state, &ctx);
    drl_params_state(&p, &state, "agent.", 1);
    CHECK(state.status == DRL_OK && state.count == 7);
    for (i = 0; i < 7 && i < state.count; i++) CHECK_TEXT(state.entries[i].name, want[i]);
    CHECK(state.entries[0].data == layer.w->data && state.entries[3].data == layer.b->data);
    CHECK(state.entries[1].data == p.m && state.entries[2].data == p.v);
    CHECK(state.entries[4].data == p.m + 16 && state.entries[5].data == p.v + 16);
    CHECK(state.entries[6].data == &p.step && state.entries[6].dtype == DRL_I64);
    CHECK(state.entries[0].shape[0] == 3 && state.entries[0].shape[1] == 4);
    drl_state_free(&state);
    drl_state_init(&state, &ctx);
    drl_params_state(&p, &state, "agent.", 0);
    CHECK(state.count == 2);
    drl_state_free(&state);
    drl_params_free(&p);
    stop();
}

/* ---- initial values ---- */

TEST(initial_values)
{
    enum { IN = 300, OUT = 200, N = IN * OUT };
    static const struct { drl_init kind; float gain; double sd, bound; } want[] = {
        {DRL_INIT_LECUN_NORMAL, 1, 0.057735027, 0.13127},      /* 1 / sqrt(300), 2 sigma / 0.8796 */
        {DRL_INIT_LECUN_NORMAL, 0.5f, 0.028867513, 0.065635},
        {DRL_INIT_XAVIER_UNIFORM, 1, 0.063245553, 0.10954451}, /* sqrt(6 / 500), / sqrt 3         */
        {DRL_INIT_KAIMING_UNIFORM, 1, 0.033333333, 0.057735027},
        {DRL_INIT_TRUNCATED_NORMAL, 0.02f, 0.017592513, 0.04},
    };
    drl_params p;
    drl_tensor *x;
    drl_rng rng = drl_rng_make(5, "init"), again;
    int i, k;
    start();
    drl_params_init(&p, &ctx, 1, 1);
    x = drl_params_add(&p, "", "x", IN, OUT);
    CHECK(drl_params_commit(&p) == DRL_OK);
    for (k = 0; k < DRLI_COUNT(want); k++) {
        double sum = 0, square = 0, most = 0;
        uint64_t before = rng.position;
        again = rng;
        drl_tensor_init(x, want[k].kind, want[k].gain, &rng);
        CHECK(rng.position - before == N);
        for (i = 0; i < N; i++) {
            sum += x->data[i];
            square += (double)x->data[i] * x->data[i];
            most = fmax(most, fabs((double)x->data[i]));
        }
        CHECK_NEAR(sum / N, 0, 4 * want[k].sd / sqrt(N));
        CHECK_NEAR(sqrt(square / N), want[k].sd, 0.01 * want[k].sd);
        CHECK(most <= want[k].bound * 1.00001 && most > want[k].bound * 0.995);
        most = x->data[N - 1];
        drl_tensor_init(x, want[k].kind, want[k].gain, &again);
        CHECK((double)x->data[N - 1] == most); /* the same draws, the same values */
    }
    again = rng;
    drl_tensor_init(x, DRL_INIT_CONSTANT, 1e-8f, &rng);
    CHECK(x->data[0] == 1e-8f && x->data[N - 1] == 1e-8f && rng.position == again.position);
    drl_params_free(&p);
    stop();
}

/* ---- layers ---- */

static double act_exact(drl_act act, double x)
{
    return act == DRL_ACT_TANH ? tanh(x) : act == DRL_ACT_MISH ? x * tanh(log1p(exp(x))) : x;
}

/* y [rows, out] = act(x w + b) */
static void dense_exact(const drl_dense *d, int rows, const double *x, drl_act act, double *y)
{
    int i, j, k, in = d->w->rows, out = d->w->cols;
    for (i = 0; i < rows; i++)
        for (j = 0; j < out; j++) {
            double s = d->b->data[j];
            for (k = 0; k < in; k++) s += x[i * in + k] * d->w->data[k * out + j];
            y[i * out + j] = act_exact(act, s);
        }
}

TEST(mlp)
{
    float data[6] = {0.3f, -1.2f, 0.8f, 2.0f, 0.1f, -0.4f};
    double x[6], h[8], g[10], y[4];
    int dims[] = {3, 4, 5, 2}, i;
    drl_params p;
    drl_mlp net;
    drl_tensor *out;
    drl_rng rng = drl_rng_make(1, "mlp");
    start();
    drl_params_init(&p, &ctx, 6, 1);
    drl_mlp_add(&net, &p, "pi.", dims, 3, DRL_ACT_MISH, DRL_ACT_TANH);
    CHECK(drl_params_commit(&p) == DRL_OK);
    CHECK(strcmp(p.names[0], "pi.l0.w") == 0 && strcmp(p.names[5], "pi.l2.b") == 0);
    drl_mlp_init(&net, DRL_INIT_KAIMING_UNIFORM, 1.0f, &rng);
    CHECK(net.layer[2].b->data[1] == 0 && net.layer[2].w->data[9] != 0);
    for (i = 0; i < 6; i++) {
        fill(&p.list[i], 0.1f);
        x[i] = data[i];
    }
    dense_exact(&net.layer[0], 2, x, DRL_ACT_MISH, h);
    dense_exact(&net.layer[1], 2, h, DRL_ACT_MISH, g);
    dense_exact(&net.layer[2], 2, g, DRL_ACT_TANH, y);
    out = drl_mlp_forward(&tape, &net, drl_tape_input(&tape, 2, 3, data));
    CHECK(out->rows == 2 && out->cols == 2);
    for (i = 0; i < 4; i++) CHECK_NEAR(out->data[i], y[i], 1e-6);
    /* input of another width: an error of the tape */
    out = drl_mlp_forward(&tape, &net, drl_tape_input(&tape, 3, 2, data));
    CHECK(drl_tape_status(&tape) == DRL_ERR_SHAPE);
    CHECK_TEXT(drl_context_error(&ctx), "got [3, 2] and [3, 4]");
    drl_params_free(&p);
    stop();
}

TEST(residual_mlp)
{
    float data[6] = {0.3f, -1.2f, 0.8f, 2.0f, 0.1f, -0.4f};
    double x[6], h[10], a[10], b[10], y[4];
    drl_params p;
    drl_resmlp net;
    drl_tensor *out;
    int i, k;
    drl_rng rng = drl_rng_make(1, "res");
    start();
    drl_params_init(&p, &ctx, 20, 1);
    drl_resmlp_add(&net, &p, "r.", 3, 5, 2, 2, DRL_ACT_MISH);
    CHECK(drl_params_commit(&p) == DRL_OK);
    CHECK(p.count == 12);
    drl_resmlp_init(&net, DRL_INIT_LECUN_NORMAL, 1.0f, &rng);
    for (i = 0; i < p.count; i++) fill(&p.list[i], 0.2f);
    for (i = 0; i < 6; i++) x[i] = data[i];
    dense_exact(&net.first, 2, x, DRL_ACT_NONE, h);
    for (k = 0; k < 4; k++) { /* two blocks of two layers */
        if (k % 2 == 0) memcpy(a, h, sizeof(h));
        for (i = 0; i < 10; i++) a[i] = act_exact(DRL_ACT_MISH, a[i]);
        dense_exact(&net.layer[k], 2, a, DRL_ACT_NONE, b);
        memcpy(a, b, sizeof(a));
        for (i = 0; i < 10 && k % 2; i++) h[i] += b[i];
    }
    dense_exact(&net.last, 2, h, DRL_ACT_NONE, y);
    out = drl_resmlp_forward(&tape, &net, drl_tape_input(&tape, 2, 3, data));
    CHECK(drl_tape_status(&tape) == DRL_OK);
    for (i = 0; i < 4; i++) CHECK_NEAR(out->data[i], y[i], 2e-5);
    drl_params_free(&p);
    stop();
}

/* ---- time ---- */

/* With l0 = identity + 10 and l1 = identity - 10 GELU acts as the identity, and the output is the
   features sin(omega t + psi), cos(omega t + psi) up to the rounding of numbers around 10. */
TEST(fourier_features)
{
    enum { F = 256, STEPS = 16 };
    drl_params p;
    drl_fourier time;
    drl_tensor *y;
    double worst = 0;
    int i, t;
    start();
    drl_params_init(&p, &ctx, 5, 1);
    drl_fourier_add(&time, &p, "pi.", F, 2 * F);
    CHECK(drl_params_commit(&p) == DRL_OK);
    CHECK(strcmp(p.names[0], "pi.phase") == 0 && time.phase->cols == F);
    for (i = 0; i < 2 * F; i++) {
        time.l0.w->data[i * 2 * F + i] = time.l1.w->data[i * 2 * F + i] = 1;
        time.l0.b->data[i] = 10;
        time.l1.b->data[i] = -10;
    }
    fill(time.phase, 0);
    y = drl_fourier_forward(&tape, &time, STEPS);
    CHECK(y->rows == STEPS && y->cols == 2 * F);
    for (t = 0; t < STEPS; t++)
        for (i = 0; i < F; i++) {
            double omega = 0.1 + 99.9 * i / (F - 1), angle = omega * t + time.phase->data[i];
            /* omega rounds twice, the product and the sum once: 4 times 2^-24 of the angle */
            double tolerance = 4.2 * 5.96e-8 * fabs(angle) + 2e-6;
            CHECK_NEAR(y->data[t * 2 * F + i], sin(angle), tolerance);
            CHECK_NEAR(y->data[t * 2 * F + F + i], cos(angle), tolerance);
            worst = fmax(worst, fabs((double)y->data[t * 2 * F + i] - sin(angle)));
        }
    CHECK(worst < 1.5e-4);
    drl_params_free(&p);
    stop();
}

TEST(sinusoidal_features)
{
    static float x[20 * 16];
    int t, i;
    drl_time_sinusoidal(DRL_TIME_DDPM, 20, 16, x);
    for (t = 0; t < 20; t++)
        for (i = 0; i < 8; i++) {
            double angle = t * pow(10000, -i / 7.0);
            CHECK_NEAR(x[t * 16 + i], sin(angle), 2e-6);
            CHECK_NEAR(x[t * 16 + 8 + i], cos(angle), 2e-6);
        }
    drl_time_sinusoidal(DRL_TIME_DDPM, 2, 4, x);
    CHECK_NEAR(x[4], 0.841470985, 1e-7);
    CHECK_NEAR(x[5], 1e-4, 1e-9);
    CHECK_NEAR(x[6], 0.540302306, 1e-7);
    drl_time_sinusoidal(DRL_TIME_SCALED, 4, 16, x);
    for (i = 0; i < 16; i++) {
        static const double three[] = {
            .03528, .2031622, .0738801, .0236815, .0074989, .0023717, .00075, .0002372, -.2474981,
            .1456884, .2388341, .2488758, .2498875, .2499888, .2499989, .2499999};
        CHECK_NEAR(x[3 * 16 + i], three[i], 1e-7);
    }
}

/* ---- Batch Renormalisation ---- */

typedef struct brn_test {
    drl_params params, running;
    drl_brn layer;
} brn_test;

static void brn_start(brn_test *b, int cols)
{
    start();
    drl_params_init(&b->params, &ctx, 2, 1);
    drl_params_init(&b->running, &ctx, 2, 0);
    drl_brn_add(&b->layer, &b->params, &b->running, "q.", "bn", cols);
    CHECK(drl_params_commit(&b->params) == DRL_OK && drl_params_commit(&b->running) == DRL_OK);
    drl_brn_init(&b->layer);
}

static void brn_stop(brn_test *b)
{
    drl_params_free(&b->params);
    drl_params_free(&b->running);
    stop();
}

TEST(brn_worked_example)
{
    static const double want[4] = {-0.001195, 1.991646, 3.984487, 5.977329};
    float data[4] = {1, 2, 3, 4};
    brn_test b;
    drl_tensor *y;
    int i;
    brn_start(&b, 1);
    CHECK(strcmp(b.params.names[0], "q.bn.scale") == 0);
    CHECK(strcmp(b.running.names[1], "q.bn.var") == 0);
    CHECK(b.layer.momentum == 0.99f && b.layer.eps == 1e-3f && b.layer.r_max == 3 &&
          b.layer.delta_max == 5);
    CHECK(b.layer.scale->data[0] == 1 && b.layer.var->data[0] == 1 && b.layer.mean->data[0] == 0);
    /* M = 1, V = 1/4, batch 2.5, 1.25: r = 2.232502, delta = 2.994018 */
    b.layer.mean->data[0] = 1;
    b.layer.var->data[0] = 0.25f;
    y = drl_brn_train(&tape, &b.layer, drl_tape_input(&tape, 4, 1, data), 1);
    for (i = 0; i < 4; i++) CHECK_NEAR(y->data[i], want[i], 2e-6);
    CHECK_NEAR(b.layer.mean->data[0], 1.015, 1e-6);
    CHECK_NEAR(b.layer.var->data[0], 0.26, 1e-7);
    /* eval: (x - M) / sqrt(V + eps), scaled and shifted; the statistics stay */
    b.layer.scale->data[0] = 2;
    b.layer.shift->data[0] = -1;
    y = drl_brn_eval(&tape, &b.layer, drl_tape_input(&tape, 4, 1, data));
    for (i = 0; i < 4; i++) CHECK_NEAR(y->data[i], 2 * (i + 1 - 1.015) / sqrt(0.261) - 1, 3e-6);
    CHECK_NEAR(b.layer.mean->data[0], 1.015, 1e-6);
    brn_stop(&b);
}

/* warm-up is plain batch normalisation, whatever the running statistics are */
TEST(brn_warm_up)
{
    float data[4] = {1, 2, 3, 4};
    brn_test b;
    drl_tensor *y;
    double mean = 0, var = 1;
    int i;
    brn_start(&b, 1);
    for (i = 0; i < 200; i++) {
        drl_tape_reset(&tape);
        y = drl_brn_train(&tape, &b.layer, drl_tape_input(&tape, 4, 1, data), 0);
        CHECK_NEAR(y->data[0], -1.5 / sqrt(1.251), 1e-6);
        CHECK_NEAR(y->data[3], 1.5 / sqrt(1.251), 1e-6);
        mean = 0.99 * mean + 0.01 * 2.5;
        var = 0.99 * var + 0.01 * 1.25;
    }
    CHECK_NEAR(b.layer.mean->data[0], mean, 1e-5);
    CHECK_NEAR(b.layer.var->data[0], var, 1e-5);
    brn_stop(&b);
}

/* r and delta at both of their bounds, against double */
TEST(brn_bounds)
{
    static const double r[4] = {3, 1 / 3.0, 1, 1}, delta[4] = {0, 0, 5, -5};
    static const float mean[4] = {0, 0, -40, 40}, var[4] = {0.1f, 100, 1, 1};
    static const double size[4] = {10, 0.1, 1, 1}; /* batch: +-size, mean 0, variance size^2 */
    float data[8];
    brn_test b;
    drl_tensor *y;
    int i;
    brn_start(&b, 4);
    for (i = 0; i < 4; i++) {
        data[i] = (float)size[i];
        data[4 + i] = -(float)size[i];
        b.layer.mean->data[i] = mean[i];
        b.layer.var->data[i] = var[i];
    }
    y = drl_brn_train(&tape, &b.layer, drl_tape_input(&tape, 2, 4, data), 1);
    for (i = 0; i < 8; i++) {
        int c = i % 4;
        double v = size[c] * size[c], x = (double)data[i];
        double z = (x + delta[c] * sqrt(v) / r[c]) / sqrt(v / (r[c] * r[c]) + 1e-3);
        CHECK_NEAR(y->data[i], z, 1e-5);
    }
    brn_stop(&b);
}

TEST(brn_errors)
{
    float data[6] = {1, 2, 3, 4, 5, 6};
    brn_test b;
    drl_tensor *x;
    int eval;
    for (eval = 0; eval < 2; eval++) {
        brn_start(&b, 2);
        x = drl_tape_input(&tape, 2, 3, data);
        x = eval ? drl_brn_eval(&tape, &b.layer, x) : drl_brn_train(&tape, &b.layer, x, 1);
        CHECK(x == &tape.poison && drl_tape_status(&tape) == DRL_ERR_SHAPE);
        CHECK_TEXT(drl_context_error(&ctx), "got [2, 3] and [1, 2]");
        CHECK(b.layer.mean->data[0] == 0 && b.layer.var->data[1] == 1);
        x = drl_brn_train(&tape, &b.layer, x, 1); /* the poison changes no statistics */
        CHECK(b.layer.mean->data[0] == 0 && b.layer.var->data[1] == 1);
        brn_stop(&b);
    }
}

TEST_MAIN(TEST_ENTRY(params_layout), TEST_ENTRY(params_errors), TEST_ENTRY(params_copy_and_average),
          TEST_ENTRY(params_enumeration), TEST_ENTRY(initial_values), TEST_ENTRY(mlp),
          TEST_ENTRY(residual_mlp), TEST_ENTRY(fourier_features), TEST_ENTRY(sinusoidal_features),
          TEST_ENTRY(brn_worked_example), TEST_ENTRY(brn_warm_up), TEST_ENTRY(brn_bounds),
          TEST_ENTRY(brn_errors))
