/* Categorical projection against figures worked out by hand and against double; CrossQ's critic in
   train and eval mode with the gradient through a joint batch; twin critics.
   build: cc -O2 critic.c -o critic -lm */
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

/* ---- projection ---- */

TEST(projection_by_hand)
{
    static const struct { float shift, scale, want[5]; double mean; } c[] = {
        {0.2f, 0.9f, {0.06f, 0.18f, 0.38f, 0.26f, 0.12f}, 0.2},
        {1.5f, 0.9f, {0, 0.03f, 0.15f, 0.32f, 0.5f}, 1.29}, /* cut at the upper end */
        {0.3f, 0.0f, {0, 0, 0.7f, 0.3f, 0}, 0.3},           /* the end of an episode */
        {0, 1, {0.1f, 0.2f, 0.4f, 0.2f, 0.1f}, 0},          /* onto itself */
        {1, 1, {0, 0.1f, 0.2f, 0.4f, 0.3f}, 0.9},           /* integral places */
        {-2, 1, {0.7f, 0.2f, 0.1f, 0, 0}, -1.6},
        {50, 0.9f, {0, 0, 0, 0, 1}, 2},
        {-1e30f, 0.9f, {1, 0, 0, 0, 0}, -2},
    };
    static const float p[5] = {0.1f, 0.2f, 0.4f, 0.2f, 0.1f};
    drl_atoms atoms = {5, -2.0f, 2.0f};
    float out[5];
    int i, m;
    start();
    for (i = 0; i < DRLI_COUNT(c); i++) {
        double sum = 0, mean = 0;
        out[0] = out[4] = 7; /* is overwritten */
        drl_c51_project(&ctx, &atoms, 1, p, &c[i].shift, &c[i].scale, 1.0f, 0, out);
        for (m = 0; m < 5; m++) {
            CHECK_NEAR(out[m], c[i].want[m], 1e-6);
            sum += out[m];
            mean += (double)out[m] * (m - 2);
        }
        CHECK_NEAR(sum, 1, 1e-6);
        CHECK_NEAR(mean, c[i].mean, 2e-6);
    }
    stop();
}

/* Many rows against double; a sum of two with accumulate; the same bits on all instruction sets. */
TEST(projection_exact)
{
    enum { ROWS = 64, ATOMS = 101 };
    static const drl_isa isas[] = {DRL_ISA_SCALAR, DRL_ISA_NEON, DRL_ISA_AVX2, DRL_ISA_AVX512};
    static float p[ROWS * ATOMS], out[ROWS * ATOMS], first[ROWS * ATOMS];
    static const float ends[3] = {200, 1600, 13.7f};
    float shift[ROWS], scale[ROWS];
    int k, b, m, runs = 0;
    start();
    for (b = 0; b < ROWS; b++) {
        double sum = 0;
        for (m = 0; m < ATOMS; m++) sum += pow(sin(0.1 * b + 0.37 * m), 4);
        for (m = 0; m < ATOMS; m++)
            p[b * ATOMS + m] = (float)(pow(sin(0.1 * b + 0.37 * m), 4) / sum);
    }
    for (k = 0; k < 3; k++) {
        drl_atoms atoms = {ATOMS, -ends[k], ends[k]};
        for (b = 0; b < ROWS; b++) {
            shift[b] = ends[k] * 0.9f * (float)sin(b * 0.7);
            scale[b] = b % 5 ? 0.99f : 0.0f;
        }
        drl_c51_project(&ctx, &atoms, ROWS, p, shift, scale, 0.25f, 0, out);
        drl_c51_project(&ctx, &atoms, ROWS, p, shift, scale, 0.75f, 1, out);
        for (b = 0; b < ROWS; b++) {
            double want[ATOMS + 1] = {0}, sum = 0, gap = 2 * (double)ends[k] / (ATOMS - 1);
            for (m = 0; m < ATOMS; m++) {
                double y = shift[b] + (double)scale[b] * (m * gap - ends[k]), at;
                y = fmax(-ends[k], fmin(ends[k], y));
                at = (y + ends[k]) / gap;
                want[(int)at] += p[b * ATOMS + m] * (1 - (at - floor(at)));
                want[(int)at + 1] += p[b * ATOMS + m] * (at - floor(at));
            }
            for (m = 0; m < ATOMS; m++) {
                CHECK_NEAR(out[b * ATOMS + m], want[m], 2e-5); /* a place near 100 has 8e-6 */
                CHECK(out[b * ATOMS + m] >= 0);
                sum += out[b * ATOMS + m];
            }
            CHECK_NEAR(sum, 1, 1e-5);
        }
    }
    for (k = 0; k < 4; k++) {
        drl_context_config cfg = drl_context_config_default();
        drl_atoms atoms = {ATOMS, -200.0f, 200.0f};
        drl_context other;
        cfg.isa = isas[k];
        if (drl_context_init(&other, &cfg) != DRL_OK) continue; /* not on this machine */
        drl_c51_project(&other, &atoms, ROWS, p, shift, scale, 1.0f, 0, out);
        if (!runs++) memcpy(first, out, sizeof(out));
        CHECK(memcmp(first, out, sizeof(out)) == 0);
        drl_context_free(&other);
    }
    CHECK(runs >= 1);
    stop();
}

/* Places that round beyond the last atom, and shifts that are not finite, stay within their row. */
TEST(projection_stays_in_its_row)
{
    enum { ATOMS = 101 };
    float p[3 * ATOMS], out[5 * ATOMS], shift[3], scale[3] = {1, 1, 1}, end;
    float nan = (float)sqrt(-1.0);
    int i, m;
    start();
    for (i = 0; i < 3 * ATOMS; i++) p[i] = 1.0f / ATOMS;
    for (i = 0; i < 5 * ATOMS; i++) out[i] = 9;
    for (end = 0.1f; end < 4000; end *= 1.173f) {
        drl_atoms atoms = {ATOMS, -0.37f * end, end};
        double sum = 0;
        shift[0] = shift[2] = 0;
        shift[1] = end * 1e-7f; /* the last atoms land at or just past the end */
        drl_c51_project(&ctx, &atoms, 3, p, shift, scale, 1.0f, 0, out + ATOMS);
        for (m = 0; m < ATOMS; m++) {
            CHECK(out[m] == 9 && out[4 * ATOMS + m] == 9);
            CHECK_NEAR(out[ATOMS + m], p[m], 1e-4);
            CHECK_NEAR(out[3 * ATOMS + m], p[m], 1e-4);
            sum += out[2 * ATOMS + m];
        }
        CHECK_NEAR(sum, 1, 1e-5);
    }
    for (i = 0; i < 3; i++) {
        drl_atoms atoms = {ATOMS, -200.0f, 200.0f};
        shift[1] = i == 0 ? nan : i == 1 ? HUGE_VALF : -HUGE_VALF;
        drl_c51_project(&ctx, &atoms, 3, p, shift, scale, 1.0f, 0, out + ATOMS);
        for (m = 0; m < ATOMS; m++) {
            CHECK(out[m] == 9 && out[4 * ATOMS + m] == 9);
            CHECK_NEAR(out[ATOMS + m], p[m], 1e-4);
            CHECK_NEAR(out[3 * ATOMS + m], p[m], 1e-4);
        }
        /* nan is seen in the result, infinities go to the ends */
        if (i == 0) CHECK(out[2 * ATOMS] != out[2 * ATOMS]);
        if (i == 1) CHECK_NEAR(out[3 * ATOMS - 1], 1, 1e-5);
        if (i == 2) CHECK_NEAR(out[2 * ATOMS], 1, 1e-5);
    }
    stop();
}

/* ---- loss and mean of the categorical critic ---- */

TEST(categorical_loss)
{
    float logits[6] = {0, 0, 0, 100, -100, 0}, target[6] = {0.2f, 0.5f, 0.3f, 0, 1, 0};
    drl_atoms atoms = {3, -1.0f, 3.0f};
    drl_tensor *x, *y;
    double ln3 = log(3.0), far = -log(1e-15);
    int i;
    start();
    /* rows: uniform; all mass on an atom that the target does not have */
    x = drl_tape_variable(&tape, 2, 3, logits);
    y = drl_c51_loss(&tape, x, target, 0.5f);
    CHECK_NEAR(y->data[0], (ln3 - 0.5 * ln3 + far + 0.5 * 0) / 2, 1e-5);
    CHECK(drl_tape_backward(&tape, y) == DRL_OK);
    for (i = 0; i < 3; i++) CHECK_NEAR(x->grad[i], (1 / 3.0 - target[i]) / 2, 1e-7);
    for (i = 3; i < 6; i++) CHECK(fabsf(x->grad[i]) <= 1); /* finite */
    /* at the target, cross-entropy has no gradient and equals the entropy */
    drl_tape_reset(&tape);
    for (i = 0; i < 3; i++) logits[i] = logf(target[i]) + 4;
    x = drl_tape_variable(&tape, 1, 3, logits);
    y = drl_c51_loss(&tape, x, target, 0);
    CHECK_NEAR(y->data[0], -(0.2 * log(0.2) + 0.5 * log(0.5) + 0.3 * log(0.3)), 1e-6);
    CHECK(drl_tape_backward(&tape, y) == DRL_OK);
    for (i = 0; i < 3; i++) CHECK_NEAR(x->grad[i], 0, 1e-7);
    y = drl_c51_mean(&tape, x, &atoms);
    CHECK_NEAR(y->data[0], 0.2 * -1 + 0.5 * 1 + 0.3 * 3, 1e-6);
    stop();
}

/* ---- CrossQ ---- */

enum { B = 6, ROWS = 2 * B, IN = 4, WIDTH = 7, ATOMS = 5, LIST = 12, MOST = 128 };

typedef struct critic {
    drl_params params, running;
    drl_crossq q;
    float x[ROWS * IN], target[B * ATOMS];
} critic;

/* The network in double. p: the 12 tensors of params in order; r, delta [3][WIDTH] per norm. */
typedef struct exact {
    double p[LIST][MOST], mean[3][WIDTH], var[3][WIDTH], r[3][WIDTH], delta[3][WIDTH];
    int constants; /* 1: r and delta are given, 0: r = 1, delta = 0; mean, var: out in train mode */
    int train;
} exact;

static void norm_exact(exact *e, int k, int n, double *x)
{
    const double *scale = e->p[4 * k], *shift = e->p[4 * k + 1];
    int i, j;
    for (j = 0; j < n; j++) {
        double m = 0, v = 0, r = 1, d = 0, D;
        if (e->constants) {
            r = e->r[k][j];
            d = e->delta[k][j];
        }
        for (i = 0; i < ROWS; i++) m += x[i * n + j] / ROWS;
        for (i = 0; i < ROWS; i++) v += (x[i * n + j] - m) * (x[i * n + j] - m) / ROWS;
        if (e->train) {
            e->mean[k][j] = m;
            e->var[k][j] = v;
        } else {
            m = e->mean[k][j];
            v = e->var[k][j];
        }
        D = sqrt(v / (r * r) + (double)1e-3f);
        for (i = 0; i < ROWS; i++)
            x[i * n + j] = scale[j] * (x[i * n + j] - m + d * sqrt(v) / r) / D + shift[j];
    }
}

static void dense_exact(const double *w, const double *b, int in, int out, const double *x,
                        double *y)
{
    int i, j, k;
    for (i = 0; i < ROWS; i++)
        for (j = 0; j < out; j++) {
            double s = b[j];
            for (k = 0; k < in; k++) s += x[i * in + k] * w[k * out + j];
            y[i * out + j] = s;
        }
}

static void crossq_exact(exact *e, const double *x, double *logits)
{
    double h[ROWS * WIDTH], g[ROWS * WIDTH];
    int i;
    memcpy(g, x, ROWS * IN * sizeof(double));
    norm_exact(e, 0, IN, g);
    dense_exact(e->p[2], e->p[3], IN, WIDTH, g, h);
    for (i = 0; i < ROWS * WIDTH; i++) h[i] = fmax(h[i], 0);
    norm_exact(e, 1, WIDTH, h);
    dense_exact(e->p[6], e->p[7], WIDTH, WIDTH, h, g);
    for (i = 0; i < ROWS * WIDTH; i++) g[i] = fmax(g[i], 0);
    norm_exact(e, 2, WIDTH, g);
    dense_exact(e->p[10], e->p[11], WIDTH, ATOMS, g, logits);
}

/* Cross-entropy of the first B rows with the bonus: what a critic step of DIME minimises. */
static double loss_exact(const critic *c, exact *e, const double *x)
{
    double logits[ROWS * ATOMS], loss = 0;
    int i, j;
    crossq_exact(e, x, logits);
    for (i = 0; i < B; i++) {
        double sum = 0;
        for (j = 0; j < ATOMS; j++) sum += exp(logits[i * ATOMS + j]);
        for (j = 0; j < ATOMS; j++) {
            double p = exp(logits[i * ATOMS + j]) / sum, l = log(p + 1e-15);
            loss += ((double)0.1f * p * l - c->target[i * ATOMS + j] * l) / B;
        }
    }
    return loss;
}

static void critic_init(critic *c, exact *e)
{
    int i, k;
    drl_rng rng = drl_rng_make(2, "critic");
    memset(e, 0, sizeof(*e));
    drl_params_init(&c->params, &ctx, LIST, 1);
    drl_params_init(&c->running, &ctx, 6, 0);
    drl_crossq_add(&c->q, &c->params, &c->running, "q0.", IN, WIDTH, ATOMS);
    CHECK(drl_params_commit(&c->params) == DRL_OK && drl_params_commit(&c->running) == DRL_OK);
    CHECK(c->params.count == LIST && c->running.count == 6);
    CHECK(strcmp(c->params.names[2], "q0.l0.w") == 0);
    CHECK(strcmp(c->params.names[8], "q0.bn2.scale") == 0);
    CHECK(strcmp(c->running.names[5], "q0.bn2.var") == 0);
    drl_crossq_init(&c->q, &rng);
    CHECK(c->params.list[8].data[WIDTH - 1] == 1 && c->params.list[3].data[0] == 0);
    for (k = 0; k < LIST; k++)
        for (i = 0; i < c->params.list[k].rows * c->params.list[k].cols; i++) {
            float *w = &c->params.list[k].data[i];
            if (k % 4 != 2) *w += 0.3f * sinf(1.0f + 2.3f * (float)(i + k)); /* all but weights */
            e->p[k][i] = *w;
        }
    for (i = 0; i < ROWS * IN; i++) c->x[i] = 2 * sinf(0.4f + 1.9f * (float)i) + (float)(i % IN);
    for (i = 0; i < B * ATOMS; i++) c->target[i] = 0.2f + 0.15f * sinf((float)i);
}

static void critic_free(critic *c)
{
    drl_params_free(&c->params);
    drl_params_free(&c->running);
}

/* Loss on the first half of a joint batch; every parameter, and the input of both halves, gets the
   gradient that also runs through the shared statistics. */
static void compare_train(int renorm)
{
    critic c;
    exact e;
    drl_tensor *x, *logits, *loss;
    double in[ROWS * IN], want[ROWS * ATOMS], second_half = 0;
    int i, k, n;
    start();
    critic_init(&c, &e);
    e.train = 1;
    for (i = 0; i < ROWS * IN; i++) in[i] = c.x[i];
    for (k = 0; k < 3 && renorm; k++) { /* r and delta of the step, constants of the gradient */
        n = k ? WIDTH : IN;
        for (i = 0; i < n; i++) {
            c.q.bn[k].mean->data[i] = 0.3f * sinf((float)(i + 5 * k));
            c.q.bn[k].var->data[i] = 0.7f + 0.4f * cosf((float)(i + 5 * k));
        }
        crossq_exact(&e, in, want); /* norm k sees norms below it corrected already */
        e.constants = 1;
        for (i = 0; i < n; i++) {
            double S = sqrt(c.q.bn[k].var->data[i] + (double)1e-3f);
            e.r[k][i] = fmax(1 / 3.0, fmin(3, sqrt(e.var[k][i] + (double)1e-3f) / S));
            e.delta[k][i] = fmax(-5, fmin(5, (e.mean[k][i] - c.q.bn[k].mean->data[i]) / S));
        }
        for (n = k + 1; n < 3; n++)
            for (i = 0; i < WIDTH; i++) e.r[n][i] = 1; /* norms above: not known yet */
    }
    x = drl_tape_variable(&tape, ROWS, IN, c.x);
    logits = drl_crossq_train(&tape, &c.q, x, renorm);
    CHECK(logits->rows == ROWS && logits->cols == ATOMS);
    crossq_exact(&e, in, want);
    for (i = 0; i < ROWS * ATOMS; i++) CHECK_NEAR(logits->data[i], want[i], 1e-5);
    for (i = 0; i < WIDTH; i++) { /* running statistics moved by 1 % */
        double M = renorm ? (double)(0.3f * sinf((float)(i + 5))) : 0;
        double V = renorm ? (double)(0.7f + 0.4f * cosf((float)(i + 5))) : 1;
        CHECK_NEAR(c.q.bn[1].mean->data[i], 0.99 * M + 0.01 * e.mean[1][i], 1e-6);
        CHECK_NEAR(c.q.bn[1].var->data[i], 0.99 * V + 0.01 * e.var[1][i], 1e-6);
    }
    drl_params_zero_grad(&c.params);
    loss = drl_c51_loss(&tape, drl_rows(&tape, logits, 0, B), c.target, 0.1f);
    CHECK(drl_tape_backward(&tape, loss) == DRL_OK);
    CHECK_NEAR(loss->data[0], loss_exact(&c, &e, in), 2e-6);
    for (k = 0; k <= LIST; k++) {
        double *at = k < LIST ? e.p[k] : in;
        const float *grad = k < LIST ? c.params.list[k].grad : x->grad;
        n = k < LIST ? c.params.list[k].rows * c.params.list[k].cols : ROWS * IN;
        for (i = 0; i < n; i++) {
            double old = at[i], high, low;
            at[i] = old + 1e-6;
            high = loss_exact(&c, &e, in);
            at[i] = old - 1e-6;
            low = loss_exact(&c, &e, in);
            at[i] = old;
            high = (high - low) / 2e-6;
            CHECK_NEAR(grad[i], high, 3e-6 + 5e-6 * fabs(high));
            if (k == LIST && i >= B * IN) second_half = fmax(second_half, fabs(high));
        }
    }
    CHECK(second_half > 1e-3); /* the statistics do carry gradient to (s', a') */
    critic_free(&c);
    stop();
}

TEST(crossq_warm_up) { compare_train(0); }
TEST(crossq_renorm) { compare_train(1); }

/* Eval mode: running statistics, which stay; the input gets a gradient, the critic none. */
TEST(crossq_eval)
{
    critic c;
    exact e;
    drl_tensor *x, *q;
    drl_atoms atoms = {ATOMS, -2.0f, 6.0f};
    double in[ROWS * IN], want[ROWS * ATOMS], running = 0;
    int i, k, side;
    start();
    critic_init(&c, &e);
    for (i = 0; i < ROWS * IN; i++) in[i] = c.x[i];
    for (k = 0; k < 3; k++)
        for (i = 0; i < (k ? WIDTH : IN); i++) {
            e.mean[k][i] = c.q.bn[k].mean->data[i] = 0.3f * sinf((float)(i + 5 * k));
            e.var[k][i] = c.q.bn[k].var->data[i] = 0.7f + 0.4f * cosf((float)(i + 5 * k));
        }
    for (i = 0; i < (int)c.running.size; i++) running += (i + 1) * (double)c.running.value[i];
    drl_params_zero_grad(&c.params);
    x = drl_tape_variable(&tape, ROWS, IN, c.x);
    q = drl_crossq_eval(&tape, &c.q, x);
    crossq_exact(&e, in, want);
    for (i = 0; i < ROWS * ATOMS; i++) CHECK_NEAR(q->data[i], want[i], 1e-5);
    CHECK(drl_tape_backward(&tape, drl_mean(&tape, drl_c51_mean(&tape, q, &atoms))) == DRL_OK);
    CHECK(drli_grad_norm(&c.params, 0) == 0);
    for (i = 0; i < ROWS * IN; i++) {
        double value[2] = {0, 0}, old = in[i];
        for (side = 0; side < 2; side++) {
            in[i] = old + (side ? 1e-6 : -1e-6);
            crossq_exact(&e, in, want);
            for (k = 0; k < ROWS; k++) {
                double sum = 0, mean = 0;
                int j;
                for (j = 0; j < ATOMS; j++) sum += exp(want[k * ATOMS + j]);
                for (j = 0; j < ATOMS; j++) mean += exp(want[k * ATOMS + j]) / sum * (2 * j - 2);
                value[side] += mean / ROWS;
            }
        }
        in[i] = old;
        CHECK_NEAR(x->grad[i], (value[1] - value[0]) / 2e-6, 3e-6);
    }
    for (i = 0; i < (int)c.running.size; i++) running -= (i + 1) * (double)c.running.value[i];
    CHECK(running == 0);
    /* a wrong width is an error in both modes */
    drl_tape_reset(&tape);
    drl_crossq_eval(&tape, &c.q, drl_tape_input(&tape, ROWS / 2, 2 * IN, c.x));
    CHECK(drl_tape_status(&tape) == DRL_ERR_SHAPE);
    drl_tape_reset(&tape);
    drl_crossq_train(&tape, &c.q, drl_tape_input(&tape, ROWS / 2, 2 * IN, c.x), 1);
    CHECK(drl_tape_status(&tape) == DRL_ERR_SHAPE);
    critic_free(&c);
    stop();
}

/* ---- twin critics ---- */

/* Q of one critic, in -> h -> h -> 1 with mish; element `at` of the tensor `moved` is moved */
static double twin_exact(const drl_mlp *q, const double *x, const drl_tensor *moved, int at,
                         double by)
{
    double h[16], g[16];
    int k, i, j;
    memcpy(h, x, 3 * sizeof(double));
    for (k = 0; k < 3; k++) {
        const drl_tensor *w = q->layer[k].w, *b = q->layer[k].b;
        for (j = 0; j < w->cols; j++) {
            double s = b->data[j] + (moved == b && at == j ? by : 0);
            for (i = 0; i < w->rows; i++) {
                int here = i * w->cols + j;
                s += h[i] * (w->data[here] + (moved == w && at == here ? by : 0));
            }
            g[j] = k < 2 ? s * tanh(log1p(exp(s))) : s;
        }
        memcpy(h, g, sizeof(h));
    }
    return h[0];
}

TEST(twin_critics)
{
    enum { N = 5 };
    enum { K = 2 };
    float act[K * N], obs[N * 2], y[N] = {1, -0.5f, 0.3f, 2, 0};
    drl_params params, target;
    drl_twin twin;
    drl_tensor *s, *x, *q, *loss;
    drl_rng rng = drl_rng_make(1, "twin");
    double in[K * N][3], want = 0;
    int i, j, k, first = 0;
    start();
    CHECK(drl_params_init(&params, &ctx, 16, 1) == DRL_OK);
    CHECK(drl_params_init(&target, &ctx, 16, 0) == DRL_OK);
    drl_twin_add(&twin, &params, &target, "c.", 2, 1, 8, 3, DRL_ACT_MISH);
    CHECK(drl_params_commit(&params) == DRL_OK && drl_params_commit(&target) == DRL_OK);
    drl_twin_init(&twin, DRL_INIT_KAIMING_UNIFORM, 1, &rng);
    drl_params_copy(&target, &params);
    CHECK(params.count == 12 && target.count == 12);
    CHECK(strcmp(params.names[0], "c.q0.l0.w") == 0 && strcmp(params.names[11], "c.q1.l2.b") == 0);
    CHECK(twin.q[0].layer[0].w->data[0] != twin.q[1].layer[0].w->data[0]);
    for (i = 0; i < N * 2; i++) obs[i] = 2 * sinf(1.0f + 2.2f * (float)i);
    for (i = 0; i < K * N; i++) act[i] = sinf(4.0f + 1.2f * (float)i);
    for (i = 0; i < K * N; i++) { /* networks take [act, obs] */
        in[i][0] = act[i];
        in[i][1] = obs[2 * (i % N)];
        in[i][2] = obs[2 * (i % N) + 1];
    }
    for (i = 0; i < (int)target.size; i++) target.value[i] *= 1.5f;
    /* min over both, from the critics and from the targets; gradients to act alone */
    for (k = 0; k < 2; k++) {
        drl_mlp *side = k ? twin.target : twin.q;
        drl_tape_reset(&tape);
        s = drl_tape_input(&tape, N, 2, obs);
        x = drl_tape_variable(&tape, N, 1, act);
        q = drl_twin_min(&tape, &twin, s, x, k);
        CHECK(q->rows == N && q->cols == 1);
        CHECK(drl_tape_backward(&tape, drl_mean(&tape, q)) == DRL_OK);
        CHECK(drli_grad_norm(&params, 0) == 0);
        for (i = 0; i < N; i++) {
            double a = twin_exact(&side[0], in[i], NULL, 0, 0), high, low, old = in[i][0];
            double b = twin_exact(&side[1], in[i], NULL, 0, 0);
            CHECK_NEAR(q->data[i], fmin(a, b), 1e-6);
            first += a < b;
            in[i][0] = old + 1e-6;
            high = twin_exact(&side[a < b ? 0 : 1], in[i], NULL, 0, 0);
            in[i][0] = old - 1e-6;
            low = twin_exact(&side[a < b ? 0 : 1], in[i], NULL, 0, 0);
            in[i][0] = old;
            CHECK_NEAR(x->grad[i], (high - low) / 2e-6 / N, 1e-6);
        }
        /* several candidates of each state */
        drl_tape_reset(&tape);
        tape.grad_enabled = 0;
        q = drl_twin_min(&tape, &twin, drl_tape_input(&tape, N, 2, obs),
                         drl_tape_input(&tape, K * N, 1, act), k);
        tape.grad_enabled = 1;
        CHECK(q->rows == K * N && drl_tape_status(&tape) == DRL_OK);
        for (i = 0; i < K * N; i++)
            CHECK_NEAR(q->data[i], fmin(twin_exact(&side[0], in[i], NULL, 0, 0),
                                        twin_exact(&side[1], in[i], NULL, 0, 0)), 1e-6);
    }
    CHECK(first > 0 && first < 2 * N); /* each of the two is the smaller one somewhere */
    /* loss: sum over both of the mean squared error */
    drl_tape_reset(&tape);
    drl_params_zero_grad(&params);
    loss = drl_twin_loss(&tape, &twin, drl_tape_input(&tape, N, 2, obs),
                         drl_tape_input(&tape, N, 1, act), y);
    CHECK(drl_tape_backward(&tape, loss) == DRL_OK);
    for (k = 0; k < 2; k++)
        for (i = 0; i < N; i++)
            want += pow(twin_exact(&twin.q[k], in[i], NULL, 0, 0) - y[i], 2) / N;
    CHECK_NEAR(loss->data[0], want, 3e-6);
    for (k = 0; k < 12; k++) {
        const drl_tensor *p = &params.list[k];
        for (j = 0; j < p->rows * p->cols; j++) {
            double slope = 0;
            for (i = 0; i < N; i++)
                slope += pow(twin_exact(&twin.q[k / 6], in[i], p, j, 1e-6) - y[i], 2) -
                         pow(twin_exact(&twin.q[k / 6], in[i], p, j, -1e-6) - y[i], 2);
            CHECK_NEAR(p->grad[j], slope / 2e-6 / N, 3e-6);
        }
    }
    /* rows that do not fit */
    CHECK(drl_twin_min(&tape, &twin, drl_tape_input(&tape, 2, 2, obs),
                       drl_tape_input(&tape, 3, 1, act), 0) == &tape.poison);
    drl_params_free(&params);
    drl_params_free(&target);
    stop();
}

/* Gradients stop where a pass ends, on any number of threads. */
TEST(twin_gradient_stops_alike)
{
    enum { B = 64, K = 8 };
    static float obs[B * 2], act[K * B];
    static const int threads[2] = {1, 8};
    int i;
    for (i = 0; i < 4; i++) {
        int rows = B * (i / 2 ? K : 4); /* 512; 256 */
        drl_context_config cfg = drl_context_config_default();
        drl_context own;
        drl_params params, target;
        drl_twin twin;
        drl_tape t;
        drl_tensor *q;
        cfg.threads = threads[i % 2];
        CHECK(drl_context_init(&own, &cfg) == DRL_OK && drl_tape_init(&t, &own) == DRL_OK);
        CHECK(drl_params_init(&params, &own, 16, 1) == DRL_OK);
        CHECK(drl_params_init(&target, &own, 16, 0) == DRL_OK);
        drl_twin_add(&twin, &params, &target, "", 2, 1, 8, 3, DRL_ACT_MISH);
        CHECK(drl_params_commit(&params) == DRL_OK && drl_params_commit(&target) == DRL_OK);
        q = drl_twin_min(&t, &twin, drl_tape_input(&t, B, 2, obs),
                         drl_tape_variable(&t, rows, 1, act), 0);
        CHECK(drl_tape_status(&t) == DRL_OK && q->rows == rows);
        CHECK(q->needs_grad == (rows == 256));
        drl_tape_free(&t);
        drl_params_free(&params);
        drl_params_free(&target);
        drl_context_free(&own);
    }
}

TEST_MAIN(TEST_ENTRY(projection_by_hand), TEST_ENTRY(projection_exact),
          TEST_ENTRY(projection_stays_in_its_row), TEST_ENTRY(categorical_loss),
          TEST_ENTRY(crossq_warm_up), TEST_ENTRY(crossq_renorm), TEST_ENTRY(crossq_eval),
          TEST_ENTRY(twin_critics), TEST_ENTRY(twin_gradient_stops_alike))
