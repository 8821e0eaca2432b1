/* Noise schedules and steps of the chains: closed forms, exact moments of linear-Gaussian chains,
   the initial statistics of DIME's chain, and gradients through a chain against double.
   build: cc -O2 diffusion.c -o diffusion -lm */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"

#define PI 3.14159265358979323846

static drl_context ctx;
static drl_tape tape;

static void start(void)
{
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    CHECK(drl_tape_init(&tape, &ctx) == DRL_OK);
    tape.grad_enabled = 0;
}

static void stop(void)
{
    drl_tape_free(&tape);
    drl_context_free(&ctx);
}

/* [rows, cols] of generic numbers */
static drl_tensor *numbers(int rows, int cols, double seed)
{
    drl_tensor *x = drl_tape_input(&tape, rows, cols, NULL);
    int i;
    for (i = 0; i < rows * cols; i++) x->data[i] = (float)(1.3 * sin(seed + 1.7 * i));
    return x;
}

/* ---- variance-preserving chains ---- */

/* signal left after t of T steps */
static double abar_exact(drl_schedule kind, int t, int T)
{
    double a = 1, c = cos(0.008 / 1.008 * PI / 2);
    int i;
    if (kind == DRL_SCHEDULE_VP) return exp(-0.1 * t / T - 9.9 * t * t / (2.0 * T * T));
    if (kind == DRL_SCHEDULE_COSINE) {
        a = cos(((double)t / T + 0.008) / 1.008 * PI / 2) / c;
        if (t < T) return a * a;
        a = cos(((double)(T - 1) / T + 0.008) / 1.008 * PI / 2) / c;
        return a * a * 0.001; /* the last beta is cut to 0.999 */
    }
    for (i = 0; i < t; i++)
        a *= 1 - fmin(0.999, 1000.0 / T * (1e-4 + (T > 1 ? i / (T - 1.0) : 0) * (0.02 - 1e-4)));
    return a;
}

TEST(schedules)
{
    static const int steps[] = {1, 2, 5, 20, 50, 100, 128};
    int kind, k, t;
    drl_ddpm d;
    start();
    for (kind = DRL_SCHEDULE_LINEAR; kind <= DRL_SCHEDULE_VP; kind++)
        for (k = 0; k < DRLI_COUNT(steps); k++) {
            int T = steps[k];
            CHECK(drl_ddpm_init(&d, &ctx, (drl_schedule)kind, T) == DRL_OK);
            CHECK(d.steps == T && d.abar[0] == 1 && d.std[1] == 0 && d.c1[1] == 0 && d.c0[1] == 1);
            for (t = 1; t <= T; t++) {
                double a = abar_exact((drl_schedule)kind, t, T);
                double b = abar_exact((drl_schedule)kind, t - 1, T), beta = 1 - a / b;
                CHECK_NEAR(d.abar[t], a, 2e-5 * a);
                CHECK_NEAR(d.std[t], sqrt(beta * (1 - b) / (1 - a)), 4e-5 * sqrt(beta));
                CHECK_NEAR(d.c0[t], beta * sqrt(b) / (1 - a), 4e-5);
                CHECK_NEAR(d.c1[t], (1 - b) * sqrt(a / b) / (1 - a), 4e-5);
                CHECK_NEAR(d.x_scale[t], 1 / sqrt(a), 2e-5 / sqrt(a));
                CHECK_NEAR(d.eps_scale[t], sqrt(1 / a - 1), 2e-5 / sqrt(a));
                /* where nothing is cut, c0 x0 + c1 x is (x - ...) / sqrt(1 - beta) */
                CHECK_NEAR(d.c0[t] * d.x_scale[t] + d.c1[t], sqrt(b / a), 3e-5 * sqrt(b / a));
                CHECK_NEAR(d.c0[t] + sqrt(a) * d.c1[t], sqrt(b), 1e-5);
                CHECK(d.abar[t] < d.abar[t - 1] && d.time[t] == t - 1);
            }
        }
    /* figures of DACER's chain: T = 20 */
    drl_ddpm_init(&d, &ctx, DRL_SCHEDULE_VP, 20);
    CHECK_NEAR(d.std[3] * d.std[3], 0.031476, 1e-6);
    CHECK_NEAR(d.std[20] * d.std[20], 0.384352, 1e-6);
    /* of the cosine chain of QVPO and DPPO: abar, std, c0, c1 */
    drl_ddpm_init(&d, &ctx, DRL_SCHEDULE_COSINE, 20);
    for (k = 0; k < 7; k++) {
        static const double row[7][5] = {
            {1, 0.992007, 0, 1, 0}, {2, 0.972093, 0.075826, 0.716466, 0.283514},
            {3, 0.940739, 0.123244, 0.536620, 0.463264}, {10, 0.493844, 0.339207, 0.203013, 0.786893},
            {11, 0.416312, 0.368976, 0.189019, 0.796193}, {19, 0.00605964, 0.857261, 0.116883, 0.492423},
            {20, 6.05964e-6, 0.996470, 0.077766, 0.031431}};
        t = (int)row[k][0];
        CHECK_NEAR(d.abar[t], row[k][1], 1e-6);
        CHECK_NEAR(d.std[t], row[k][2], 1.5e-6);
        CHECK_NEAR(d.c0[t], row[k][3], 1.5e-6);
        CHECK_NEAR(d.c1[t], row[k][4], 1.5e-6);
    }
    CHECK_NEAR(d.x_scale[20], 406.2, 0.1);
    CHECK(drl_ddpm_init(&d, &ctx, DRL_SCHEDULE_VP, 0) == DRL_ERR_RANGE);
    CHECK(drl_ddpm_init(&d, &ctx, DRL_SCHEDULE_VP, DRL_STEPS_MAX + 1) == DRL_ERR_RANGE);
    CHECK_TEXT(drl_context_error(&ctx), "expected 1 .. 128 steps, got 129");
    stop();
}

/* noise, each row at a time of its own; with the noise that was used, a step of any kind lands on
   the same line: DDIM without noise at abar of where it leads. */
TEST(there_and_back)
{
    static const int sizes[] = {20, 10, 5, 4, 1};
    int t, k, i, row[3];
    drl_ddpm d, ddim;
    start();
    drl_ddpm_init(&d, &ctx, DRL_SCHEDULE_VP, 20);
    for (k = 0; k < 5; k++) {
        CHECK(drl_ddim_init(&ddim, &ctx, &d, sizes[k], 0) == DRL_OK);
        CHECK(ddim.steps == sizes[k] && ddim.abar[0] == 1);
        for (t = 1; t <= sizes[k]; t++) {
            int at = (t - 1) * (20 / sizes[k]) + 1, to = t > 1 ? at - 20 / sizes[k] : 0;
            drl_tensor *x0, *eps, *x, *y;
            double a = abar_exact(DRL_SCHEDULE_VP, at, 20), b = abar_exact(DRL_SCHEDULE_VP, to, 20);
            drl_tape_reset(&tape);
            x0 = numbers(3, 5, 0);
            eps = numbers(3, 5, 0.4);
            for (i = 0; i < 3; i++) row[i] = i == 1 ? 21 - at : at;
            x = drl_ddpm_noise(&tape, &d, row, x0, eps);
            for (i = 0; i < 15; i++) {
                double c = abar_exact(DRL_SCHEDULE_VP, row[i / 5], 20);
                CHECK_NEAR(x->data[i], sqrt(c) * x0->data[i] + sqrt(1 - c) * eps->data[i], 1e-6);
            }
            CHECK(ddim.time[t] == at - 1 && ddim.std[t] == 0);
            y = drl_ddpm_step(&tape, &ddim, t, x, eps, eps, 2.0f);
            for (i = 0; i < 15; i++)
                if (i / 5 != 1)
                    CHECK_NEAR(y->data[i], sqrt(b) * x0->data[i] + sqrt(1 - b) * eps->data[i],
                               1e-6 / sqrt(a));
        }
    }
    CHECK(drl_ddim_init(&ddim, &ctx, &d, 6, 0) == DRL_ERR_RANGE);
    CHECK(drl_ddim_init(&ddim, &ctx, &d, 0, 0) == DRL_ERR_RANGE);
    CHECK_TEXT(drl_context_error(&ctx), "expected a divisor of 20 steps, got 0");
    /* DDIM 100 -> 5 with eta = 1 */
    drl_ddpm_init(&d, &ctx, DRL_SCHEDULE_COSINE, 100);
    CHECK(drl_ddim_init(&ddim, &ctx, &d, 5, 1) == DRL_OK);
    for (t = 5; t >= 1; t--) {
        static const double sigma[] = {0, 0.025062, 0.295109, 0.513967, 0.737755};
        CHECK(ddim.time[t] == 20 * (t - 1));
        CHECK_NEAR(ddim.std[t], sigma[t - 1], 2e-6);
    }
    stop();
}

/* The ancestral step against the posterior of x_{t-1} given x_t and x_0. */
TEST(ancestral_step)
{
    static const float clips[] = {4.0f, 0.6f};
    int t, k, i;
    drl_ddpm d;
    start();
    drl_ddpm_init(&d, &ctx, DRL_SCHEDULE_VP, 20);
    for (t = 1; t <= 20; t++)
        for (k = 0; k < 2; k++) {
            double a = abar_exact(DRL_SCHEDULE_VP, t, 20);
            double b = abar_exact(DRL_SCHEDULE_VP, t - 1, 20), beta = 1 - a / b;
            double c1 = sqrt(b) * beta / (1 - a), c2 = sqrt(1 - beta) * (1 - b) / (1 - a);
            double sigma = sqrt(beta * (1 - b) / (1 - a));
            drl_tensor *x0, *eps, *x, *z, *mean, *noisy, *rows;
            int row[3];
            row[0] = row[1] = row[2] = t;
            drl_tape_reset(&tape);
            x0 = numbers(3, 5, 0);
            eps = numbers(3, 5, 0.4);
            z = numbers(3, 5, 0.9);
            x = drl_ddpm_noise(&tape, &d, row, x0, eps);
            mean = drl_ddpm_step(&tape, &d, t, x, eps, NULL, clips[k]);
            noisy = drl_ddpm_step(&tape, &d, t, x, eps, z, clips[k]);
            rows = drl_ddpm_mean(&tape, &d, row, x, eps, clips[k]);
            for (i = 0; i < 15; i++) {
                double clean = fmax(-(double)clips[k], fmin((double)clips[k], x0->data[i]));
                double want = c1 * clean + c2 * x->data[i];
                CHECK_NEAR(mean->data[i], want, 2e-6);
                CHECK_NEAR(noisy->data[i], want + sigma * z->data[i], 2e-6);
                CHECK_NEAR(rows->data[i], want, 2e-6);
            }
            if (t == 20) {
                CHECK_NEAR(c1, 0.039681, 1e-6);
                CHECK_NEAR(c2, 0.780458, 1e-6);
            }
        }
    stop();
}

/* The steps' gradients against the formula written with elementary ops, cut values among them;
   x has other uses, so that its gradient is added to. Differences: unit/ops. */
static drl_tensor *step_plain(const drl_ddpm *d, int t, drl_tensor *x, drl_tensor *eps,
                              drl_tensor *z, float clip)
{
    drl_tensor *x0 = drl_sub(&tape, drl_affine(&tape, x, d->x_scale[t], 0),
                             drl_affine(&tape, eps, d->eps_scale[t], 0));
    x0 = drl_affine(&tape, drl_clip(&tape, x0, -clip, clip), d->c0[t], 0);
    x0 = drl_add(&tape, x0, drl_affine(&tape, x, d->c1[t], 0));
    return z ? drl_add(&tape, x0, drl_affine(&tape, z, d->std[t], 0)) : x0;
}

TEST(ancestral_step_gradients)
{
    static float data[2][15], grad[2][3][2][15];
    static drl_ddpm d;
    int kind, with, i, cut = 0;
    start();
    drl_ddpm_init(&d, &ctx, DRL_SCHEDULE_VP, 20);
    for (with = 0; with < 2; with++) /* x alone, or eps of x, too */
        for (kind = 0; kind < 3; kind++) {
            static const int row[3] = {7, 2, 20}, same[3] = {7, 7, 7};
            drl_tensor *x, *e, *eps, *z, *y;
            drl_tape_reset(&tape);
            tape.grad_enabled = 1;
            z = numbers(3, 5, 0.9);
            memcpy(data[0], numbers(3, 5, 0.3)->data, sizeof(data[0]));
            memcpy(data[1], numbers(3, 5, 0.7)->data, sizeof(data[1]));
            x = drl_tape_variable(&tape, 3, 5, data[0]);
            e = drl_tape_variable(&tape, 3, 5, data[1]);
            eps = with ? drl_add(&tape, e, drl_square(&tape, x)) : e;
            y = kind == 0   ? step_plain(&d, 7, x, eps, z, 0.9f)
                : kind == 1 ? drl_ddpm_step(&tape, &d, 7, x, eps, z, 0.9f)
                            : drl_ddpm_mean(&tape, &d, same, x, eps, 0.9f);
            y = drl_mul(&tape, y, drl_add(&tape, z, x));
            CHECK(drl_tape_backward(&tape, drl_mean(&tape, y)) == DRL_OK);
            for (i = 0; i < 15; i++) {
                cut += kind == 0 && e->grad[i] == 0;
                grad[with][kind][0][i] = x->grad[i];
                grad[with][kind][1][i] = e->grad[i];
                /* the mean lacks std z (x + z): its gradient std z */
                if (kind == 2) grad[with][2][0][i] += d.std[7] * z->data[i] / 15;
                CHECK_NEAR(grad[with][kind][0][i], grad[with][0][0][i], kind == 2 ? 1e-7 : 0);
                CHECK_NEAR(grad[with][kind][1][i], grad[with][0][1][i], 0);
            }
            if (kind < 2) continue; /* rows at different t, each as if alone */
            drl_tape_reset(&tape);
            y = drl_ddpm_mean(&tape, &d, row, numbers(3, 5, 0.3), numbers(3, 5, 0.7), 0.9f);
            for (i = 0; i < 3; i++) {
                drl_tensor *one = step_plain(&d, row[i], numbers(3, 5, 0.3), numbers(3, 5, 0.7),
                                             NULL, 0.9f);
                CHECK(memcmp(y->data + 5 * i, one->data + 5 * i, 5 * sizeof(float)) == 0);
            }
        }
    CHECK(cut > 4 && cut < 26);
    CHECK(drl_ddpm_step(&tape, &d, 7, numbers(3, 5, 0), numbers(3, 4, 0), NULL, 1) ==
          &tape.poison);
    CHECK_TEXT(drl_context_error(&ctx), "expected equal shapes, also of z, got [3, 5] and [3, 4]");
    stop();
}

/* Target N(0, s^2) with the exact noise estimate, which is linear: rows +-sd of x and +-1 of z
   carry the exact second moment through each step. */
TEST(ancestral_chain_moments)
{
    static const double sd[] = {1, 0.5, 0.3, 0.2, 0.1, 0.05};
    static const double end[] = {0.880882, 0.414315, 0.230507, 0.141009, 0.054655, 0.017078};
    int k, t, i;
    drl_ddpm d;
    start();
    drl_ddpm_init(&d, &ctx, DRL_SCHEDULE_VP, 20);
    for (k = 0; k < DRLI_COUNT(sd); k++) {
        double var = 1;
        for (t = 20; t >= 1; t--) {
            double a = (double)d.abar[t], rate = sqrt(1 - a) / (a * sd[k] * sd[k] + 1 - a);
            drl_tensor *x, *z, *y;
            drl_tape_reset(&tape);
            x = drl_tape_input(&tape, 4, 1, NULL);
            z = drl_tape_input(&tape, 4, 1, NULL);
            for (i = 0; i < 4; i++) {
                x->data[i] = (float)(i & 1 ? sqrt(var) : -sqrt(var));
                z->data[i] = i & 2 ? 1.0f : -1.0f;
            }
            y = drl_ddpm_step(&tape, &d, t, x, drl_affine(&tape, x, (float)rate, 0), z, 1e9f);
            for (i = 0, var = 0; i < 4; i++) var += (double)y->data[i] * y->data[i] / 4;
        }
        CHECK_NEAR(sqrt(var), end[k], 1.5e-6);
    }
    stop();
}

/* ---- the controlled Ornstein-Uhlenbeck chain ---- */

TEST(ou_schedule)
{
    static const double want[16] = {0.99985, 0.98799, 0.95770, 0.91011, 0.84703, 0.77085,
                                    0.68444, 0.59107, 0.49427, 0.39771, 0.30504, 0.21977,
                                    0.14511, 0.08389, 0.03843, 0.01045};
    static const int n[] = {2, 4, 8, 16, 32};
    static const double total[] = {0.1494, 0.2486, 0.4472, 0.84437, 1.6388}; /* sum of 0.1 c_k */
    float c[32];
    int i, k;
    drl_ou_schedule(16, 0.001f, c);
    for (k = 0; k < 16; k++) {
        CHECK_NEAR(c[k], want[k], 6e-6);
        double root = cos(PI / 2 * (1.008 - (16 - k) / 16.0) / 1.008);
        CHECK_NEAR(c[k], 0.999 * root * root + 0.001, 2e-7);
    }
    for (i = 0; i < 5; i++) {
        double sum = 0;
        drl_ou_schedule(n[i], 0.001f, c);
        for (k = 0; k < n[i]; k++) sum += 0.1 * (double)c[k];
        CHECK_NEAR(sum, total[i], i == 3 ? 5.1e-6 : 5.1e-5);
    }
}

/* one step on generic numbers against the two log-densities in double */
TEST(ou_step)
{
    drl_tensor *x, *u, *xi, *eta, *x1, *ratio;
    double sigma2 = (double)2.5f * 2.5f;
    int i, j;
    start();
    x = numbers(3, 4, 0);
    u = numbers(3, 4, 0.4);
    xi = numbers(3, 4, 0.9);
    eta = drl_affine(&tape, drl_square(&tape, numbers(1, 4, 2)), 0.1f, 0.003f);
    drl_ou_step(&tape, x, u, eta, xi, 2.5f, &x1, &ratio);
    CHECK(x1->rows == 3 && x1->cols == 4 && ratio->rows == 3 && ratio->cols == 1);
    for (i = 0; i < 3; i++) {
        double forward = 0, backward = 0;
        for (j = 0; j < 4; j++) {
            double e = eta->data[j], a = x->data[i * 4 + j], z = xi->data[i * 4 + j];
            double mean = a + e * (u->data[i * 4 + j] - a / sigma2), b = mean + sqrt(2 * e) * z;
            CHECK_NEAR(x1->data[i * 4 + j], b, 5e-7);
            forward -= (b - mean) * (b - mean) / (4 * e) + 0.5 * log(4 * PI * e);
            backward -= pow(a - (1 - e / sigma2) * b, 2) / (4 * e) + 0.5 * log(4 * PI * e);
        }
        CHECK_NEAR(ratio->data[i], forward - backward, 2e-5);
    }
    stop();
}

/* With u = 0, for every single path:  ln N(x_0) + sum of ratios
     = ln N(x_N) + sum eta (x_{k+1}^2 - x_k^2) / (4 sigma^4) */
TEST(ou_path_identity)
{
    enum { ROWS = 64, A = 3, STEPS = 16 };
    drl_rng rng = drl_rng_make(7, "path");
    drl_tensor *x, *zero, *eta, *xi, *x1, *ratio;
    double left[ROWS], right[ROWS], sigma2 = 6.25;
    float c[STEPS];
    int i, j, k;
    start();
    drl_ou_schedule(STEPS, 0.001f, c);
    x = drl_tape_input(&tape, ROWS, A, NULL);
    zero = drl_tape_input(&tape, ROWS, A, NULL);
    memset(zero->data, 0, ROWS * A * sizeof(float));
    drl_rng_normal_fill(&ctx, &rng, x->data, ROWS * A);
    for (i = 0; i < ROWS * A; i++) x->data[i] *= 2.5f;
    for (i = 0; i < ROWS; i++)
        for (left[i] = right[i] = 0, j = 0; j < A; j++)
            left[i] -= (double)x->data[i * A + j] * x->data[i * A + j] / (2 * sigma2);
    for (k = 0; k < STEPS; k++) {
        eta = drl_tape_input(&tape, 1, A, NULL);
        for (j = 0; j < A; j++) eta->data[j] = c[k] * (0.05f + 0.2f * (float)j);
        xi = drl_tape_input(&tape, ROWS, A, NULL);
        drl_rng_normal_fill(&ctx, &rng, xi->data, ROWS * A);
        drl_ou_step(&tape, x, zero, eta, xi, 2.5f, &x1, &ratio);
        for (i = 0; i < ROWS; i++) {
            left[i] += ratio->data[i];
            for (j = 0; j < A; j++)
                right[i] += eta->data[j] / (4 * sigma2 * sigma2) *
                            ((double)x1->data[i * A + j] * x1->data[i * A + j] -
                             (double)x->data[i * A + j] * x->data[i * A + j]);
        }
        x = x1;
    }
    for (i = 0; i < ROWS; i++) {
        for (j = 0; j < A; j++)
            right[i] -= (double)x->data[i * A + j] * x->data[i * A + j] / (2 * sigma2);
        CHECK_NEAR(left[i], right[i], 1e-4);
    }
    stop();
}

/* Mean and variance of x and the mean of the ratio through one step whose control is linear,
   p x + q: the four rows (mean +- sd, +-1) integrate quadratics exactly. */
static double moment_step(double *mean, double *var, double p, double q, double eta)
{
    drl_tensor *x, *xi, *e, *x1, *ratio;
    double m = 0, v = 0, r = 0;
    int i;
    drl_tape_reset(&tape);
    x = drl_tape_input(&tape, 4, 1, NULL);
    xi = drl_tape_input(&tape, 4, 1, NULL);
    e = drl_tape_input(&tape, 1, 1, NULL);
    e->data[0] = (float)eta;
    for (i = 0; i < 4; i++) {
        x->data[i] = (float)(*mean + (i & 1 ? sqrt(*var) : -sqrt(*var)));
        xi->data[i] = i & 2 ? 1.0f : -1.0f;
    }
    drl_ou_step(&tape, x, drl_affine(&tape, x, (float)p, (float)q), e, xi, 2.5f, &x1, &ratio);
    for (i = 0; i < 4; i++) {
        m += (double)x1->data[i] / 4;
        r += (double)ratio->data[i] / 4;
    }
    for (i = 0; i < 4; i++) v += (x1->data[i] - m) * (x1->data[i] - m) / 4;
    *mean = m;
    *var = v;
    return r;
}

/* Target N(mu, s^2) with the optimal control 2 (d ln p / dx + x / sigma^2): E[L] and its gap to the
   entropy, end mean and deviation. Figures of an independent computation. */
TEST(ou_linear_gaussian)
{
    static const struct { double mu, s, dt; int n; double density, gap, mean, sd; } want[] = {
        {0, 2.5, 0.1, 16, -2.335936, 0.000005, 0, 0},
        {0, 1.0, 0.1, 16, -1.358298, 0.387872, 0, 0},
        {1, 0.5, 0.1, 16, 0.017110, 0.993274, 0.88569, 0.60176},
        {1, 0.5, 0.5, 16, -0.646511, 0.232756, 0, 0},
        {1, 0.2, 0.5, 16, 0.499595, 0.648334, 0, 0},
        {1, 0.2, 0.5, 128, 0.260121, 0.134804, 0.99992, 0.21264},
        {1, 0.2, 0.5, 1024, 0.206925, 0.031640, 0, 0},
    };
    static float c[1024];
    int i, k;
    start();
    for (i = 0; i < DRLI_COUNT(want); i++) {
        double tau = 0, sigma2 = 6.25, m = 0, v = sigma2, target;
        double density = -0.5 * log(2 * PI * sigma2) - 0.5;
        double s2 = want[i].s * want[i].s;
        drl_ou_schedule(want[i].n, 0.001f, c);
        for (k = 0; k < want[i].n; k++) tau += want[i].dt * (double)c[k];
        for (k = 0; k < want[i].n; k++) {
            double eta = want[i].dt * (double)c[k], e = exp(-tau / sigma2);
            double mean = want[i].mu * e, var = sigma2 + (s2 - sigma2) * e * e;
            density += moment_step(&m, &v, 2 / sigma2 - 2 / var, 2 * mean / var, eta);
            tau -= eta;
        }
        target = -0.5 * log(2 * PI * s2) - ((m - want[i].mu) * (m - want[i].mu) + v) / (2 * s2);
        CHECK_NEAR(density, want[i].density, want[i].n > 500 ? 1e-4 : 1e-5);
        CHECK_NEAR(density - target, want[i].gap, want[i].n > 500 ? 1e-4 : 1e-5);
        if (want[i].sd > 0) {
            CHECK_NEAR(m, want[i].mean, 6e-6);
            CHECK_NEAR(sqrt(v), want[i].sd, 6e-6);
        }
    }
    stop();
}

/* ln N(x_0) = -2.33523, ratios -0.00071, log-determinant -2.85748, Var x_N = 6.25890 per dimension
   at the start of training (u = 0, eta = 0.1 c_k): exact moments, the determinant by quadrature. */
TEST(ou_initial_moments)
{
    enum { GRID = 8001 };
    double m = 0, v = 6.25, ratio = 0, sum = 0, large = 0;
    drl_tensor *x, *y;
    float c[16];
    int k;
    start();
    drl_ou_schedule(16, 0.001f, c);
    for (k = 0; k < 16; k++) ratio += moment_step(&m, &v, 0, 0, 0.1 * (double)c[k]);
    CHECK_NEAR(ratio, -0.00071, 6e-6);
    CHECK_NEAR(v, 6.25890, 1e-5);
    drl_tape_reset(&tape);
    x = drl_tape_input(&tape, GRID, 1, NULL);
    for (k = 0; k < GRID; k++) x->data[k] = 0.005f * (float)(k - GRID / 2);
    y = drl_tanh_logdet(&tape, x);
    for (k = 0; k < GRID; k++) {
        double weight = 0.005 * exp(-(double)x->data[k] * x->data[k] / (2 * v)) / sqrt(2 * PI * v);
        sum += weight * y->data[k];
        if (tanh((double)fabsf(x->data[k])) > 0.99) large += weight;
    }
    CHECK_NEAR(sum, -2.85748, 6e-6);
    CHECK_NEAR(ratio - sum, 2.85677, 1e-5);                                 /* E[R] */
    CHECK_NEAR(ratio - sum - 0.5 * log(2 * PI * 6.25) - 0.5, 0.52154, 1e-5); /* E[L] */
    CHECK_NEAR(large, 0.29, 5e-3);
    stop();
}

/* The same by sampling: within 4.5 standard errors of the mean. */
static void near_mean(const double *x, int n, double want, double largest_error)
{
    double m = 0, v = 0, error;
    int i;
    for (i = 0; i < n; i++) m += x[i] / n;
    for (i = 0; i < n; i++) v += (x[i] - m) * (x[i] - m) / n;
    error = 4.5 * sqrt(v / n);
    CHECK(error < largest_error);
    CHECK_NEAR(m, want, error);
}

TEST(ou_initial_samples)
{
    enum { ROWS = 4096, A = 4, N = ROWS * A };
    static double R[ROWS], L[ROWS], square[N], large[N];
    drl_rng rng = drl_rng_make(11, "samples");
    drl_tensor *x, *zero, *eta, *xi, *x1, *ratio, *determinant;
    float c[16];
    int i, j, k;
    start();
    drl_ou_schedule(16, 0.001f, c);
    x = drl_tape_input(&tape, ROWS, A, NULL);
    zero = drl_tape_input(&tape, ROWS, A, NULL);
    eta = drl_tape_input(&tape, 1, A, NULL);
    xi = drl_tape_input(&tape, ROWS, A, NULL);
    memset(zero->data, 0, N * sizeof(float));
    memset(R, 0, sizeof(R));
    drl_rng_normal_fill(&ctx, &rng, x->data, N);
    for (i = 0; i < N; i++) x->data[i] *= 2.5f;
    for (i = 0; i < ROWS; i++)
        for (L[i] = 0, j = 0; j < A; j++)
            L[i] -= (double)x->data[i * A + j] * x->data[i * A + j] / 12.5 + 0.5 * log(12.5 * PI);
    for (k = 0; k < 16; k++) {
        drl_tape_mark mark = drl_tape_save(&tape);
        for (j = 0; j < A; j++) eta->data[j] = 0.1f * c[k];
        drl_rng_normal_fill(&ctx, &rng, xi->data, N);
        drl_ou_step(&tape, x, zero, eta, xi, 2.5f, &x1, &ratio);
        for (i = 0; i < ROWS; i++) R[i] += ratio->data[i];
        memcpy(x->data, x1->data, N * sizeof(float));
        drl_tape_release(&tape, mark);
    }
    determinant = drl_sum_cols(&tape, drl_tanh_logdet(&tape, x));
    for (i = 0; i < ROWS; i++) {
        R[i] -= determinant->data[i];
        L[i] += R[i];
    }
    for (i = 0; i < N; i++) {
        square[i] = (double)x->data[i] * x->data[i];
        large[i] = tanh((double)fabsf(x->data[i])) > 0.99;
    }
    near_mean(R, ROWS, A * 2.85677, 0.6);
    near_mean(L, ROWS, A * 0.52154, 0.6);
    near_mean(square, N, 6.25890, 0.4);
    near_mean(large, N, erfc(2.64665 / sqrt(2 * 6.25890)), 0.02);
    stop();
}

/* ---- gradients through three steps with a network as control ---- */

enum { B = 3, A = 2, WIDTH = 5, STEPS = 3, SIZES = 6 };

typedef struct chain {
    drl_params params;
    drl_tensor *rho, *phi;
    drl_mlp net; /* [x, k] -> u */
    float c[STEPS], x0[B * A], xi[STEPS][B * A];
} chain;

static drl_tensor *chain_loss(drl_tape *t, void *user)
{
    chain *ch = (chain *)user;
    drl_tensor *x = drl_tape_input(t, B, A, ch->x0), *one = drl_tape_input(t, 1, A, NULL), *rate;
    drl_tensor *cost = NULL, *ratio, *eta, *time, *u;
    int k, i;
    if (drl_tape_status(t) != DRL_OK) return x;
    for (i = 0; i < A; i++) one->data[i] = 1;
    rate = drl_mul(t, drl_div(t, one, drl_activate(t, DRL_ACT_SOFTPLUS, ch->phi)),
                   drl_activate(t, DRL_ACT_SOFTPLUS, ch->rho));
    for (k = 0; k < STEPS; k++) {
        time = drl_tape_input(t, B, 1, NULL);
        if (drl_tape_status(t) != DRL_OK) return x;
        for (i = 0; i < B; i++) time->data[i] = (float)k;
        eta = drl_affine(t, rate, ch->c[k], 0);
        u = drl_mlp_forward(t, &ch->net, drl_concat(t, x, time));
        drl_ou_step(t, x, u, eta, drl_tape_input(t, B, A, ch->xi[k]), 2.5f, &x, &ratio);
        cost = k ? drl_add(t, cost, ratio) : ratio;
    }
    cost = drl_sub(t, cost, drl_sum_cols(t, drl_tanh_logdet(t, x)));
    x = drl_sum_cols(t, drl_square(t, drl_affine(t, drl_activate(t, DRL_ACT_TANH, x), 1, -0.5f)));
    return drl_mean(t, drl_add(t, cost, x)); /* alpha = 1, Q = -|a - 0.5|^2 */
}

/* The same in double; p: rho, phi, then weights and biases of both layers. */
static double chain_exact(const chain *ch, double *const *p)
{
    double loss = 0;
    int i, j, k, h;
    for (i = 0; i < B; i++) {
        double x[A];
        for (j = 0; j < A; j++) x[j] = ch->x0[i * A + j];
        for (k = 0; k < STEPS; k++) {
            double hidden[WIDTH], u[A];
            for (h = 0; h < WIDTH; h++) {
                double s = p[3][h] + k * p[2][A * WIDTH + h];
                for (j = 0; j < A; j++) s += x[j] * p[2][j * WIDTH + h];
                hidden[h] = s / 2 * (1 + tanh(0.79788456080286536 * (s + 0.044715 * s * s * s)));
            }
            for (j = 0; j < A; j++) {
                u[j] = p[5][j];
                for (h = 0; h < WIDTH; h++) u[j] += hidden[h] * p[4][h * A + j];
            }
            for (j = 0; j < A; j++) {
                double eta = log1p(exp(p[0][0])) * ch->c[k] / log1p(exp(p[1][j]));
                double xi = ch->xi[k][i * A + j], next, back;
                next = x[j] + eta * (u[j] - x[j] / 6.25) + sqrt(2 * eta) * xi;
                back = x[j] - (1 - eta / 6.25) * next;
                loss += (back * back / (4 * eta) - xi * xi / 2) / B;
                x[j] = next;
            }
        }
        for (j = 0; j < A; j++)
            loss += (pow(tanh(x[j]) - 0.5, 2) - log(1 - tanh(x[j]) * tanh(x[j]))) / B;
    }
    return loss;
}

TEST(gradient_of_a_chain)
{
    static chain ch;
    static double values[SIZES][32], *p[SIZES];
    int dims[] = {A + 1, WIDTH, A}, i, k;
    drl_tensor *loss;
    start();
    tape.grad_enabled = 1;
    drl_params_init(&ch.params, &ctx, SIZES, 1);
    ch.rho = drl_params_add(&ch.params, "", "rho", 1, 1);
    ch.phi = drl_params_add(&ch.params, "", "phi", 1, A);
    drl_mlp_add(&ch.net, &ch.params, "u.", dims, 2, DRL_ACT_GELU, DRL_ACT_NONE);
    CHECK(drl_params_commit(&ch.params) == DRL_OK && ch.params.count == SIZES);
    drl_ou_schedule(STEPS, 0.001f, ch.c);
    for (i = 0; i < B * A; i++) {
        ch.x0[i] = 1.5f * sinf(2.0f + 1.3f * (float)i);
        for (k = 0; k < STEPS; k++) ch.xi[k][i] = 1.2f * cosf(1.0f + 2.1f * (float)(i + 6 * k));
    }
    for (k = 0; k < SIZES; k++) {
        const drl_tensor *x = &ch.params.list[k];
        p[k] = values[k];
        for (i = 0; i < x->rows * x->cols; i++) {
            x->data[i] = k == 0 ? -1.0f : 0.6f * sinf(1.0f + 1.9f * (float)(i + 3 * k));
            p[k][i] = x->data[i];
        }
    }
    drl_params_zero_grad(&ch.params);
    loss = chain_loss(&tape, &ch);
    CHECK(drl_tape_backward(&tape, loss) == DRL_OK);
    CHECK_NEAR(loss->data[0], chain_exact(&ch, p), 2e-6);
    for (k = 0; k < SIZES; k++) {
        const drl_tensor *x = &ch.params.list[k];
        for (i = 0; i < x->rows * x->cols; i++) {
            double old = p[k][i], high, low;
            p[k][i] = old + 1e-5;
            high = chain_exact(&ch, p);
            p[k][i] = old - 1e-5;
            low = chain_exact(&ch, p);
            p[k][i] = old;
            CHECK_NEAR(x->grad[i], (high - low) / 2e-5, 2e-6);
        }
    }
    for (k = 0; k < SIZES; k++) {
        double error = 1;
        drl_tape_check_grad(&tape, chain_loss, &ch, &ch.params.list[k], 4e-3f, &error);
        CHECK(drl_tape_status(&tape) == DRL_OK && error < 3e-2);
    }
    drl_params_free(&ch.params);
    stop();
}

/* ---- noise networks ---- */

typedef struct nets {
    drl_params params;
    drl_denoiser net;
    float x[4 * 2], s[4 * 3], noise[4 * 2], w[4];
    drl_ddpm chain;
} nets;

static void nets_start(nets *n, int blocks)
{
    drl_rng rng = drl_rng_make(5, "nets");
    int i;
    start();
    tape.grad_enabled = 1;
    CHECK(drl_ddpm_init(&n->chain, &ctx, DRL_SCHEDULE_COSINE, 5) == DRL_OK);
    CHECK(drl_params_init(&n->params, &ctx, 16, 1) == DRL_OK);
    drl_denoiser_add(&n->net, &n->params, "net.", 3, 2, DRL_TIME_DDPM, 4, 6, 7, 2, blocks,
                     DRL_ACT_MISH);
    CHECK(drl_params_commit(&n->params) == DRL_OK);
    drl_denoiser_init(&n->net, DRL_INIT_KAIMING_UNIFORM, 1.5f, &rng);
    for (i = 0; i < (int)n->params.size; i++) n->params.value[i] += 0.1f * sinf(3.7f * (float)i);
    for (i = 0; i < 8; i++) n->x[i] = 0.7f * sinf(1.0f + (float)i);
    for (i = 0; i < 12; i++) n->s[i] = sinf(2.0f + 1.3f * (float)i);
    for (i = 0; i < 8; i++) n->noise[i] = cosf(1.7f * (float)i);
    for (i = 0; i < 4; i++) n->w[i] = 0.3f + (float)i;
}

/* eps of the network written down whole: one product of [x, e(t), s] with the first layer. */
static drl_tensor *nets_plain(nets *n, const int *t)
{
    drl_tensor *e = drl_tape_input(&tape, 5, 4, NULL), *in;
    int told[4], i;
    drl_time_sinusoidal(DRL_TIME_DDPM, 5, 4, e->data);
    for (i = 0; i < 4; i++) told[i] = t[i] - 1;
    e = drl_dense_forward(&tape, &n->net.t0, e, DRL_ACT_MISH);
    e = drl_gather(&tape, drl_dense_forward(&tape, &n->net.t1, e, DRL_ACT_NONE), told, 4);
    in = drl_concat(&tape, drl_concat(&tape, drl_tape_input(&tape, 4, 2, n->x), e),
                    drl_tape_input(&tape, 4, 3, n->s));
    return n->net.mlp.layers ? drl_mlp_forward(&tape, &n->net.mlp, in)
                             : drl_resmlp_forward(&tape, &n->net.res, in);
}

TEST(denoiser_is_the_plain_network)
{
    static const int t[4] = {5, 1, 3, 3};
    static float grad[512];
    static nets n;
    int blocks, i, k;
    for (blocks = 0; blocks < 2; blocks++) {
        drl_tensor *y, *plain, *z;
        nets_start(&n, blocks);
        CHECK(n.params.size <= 512 && strcmp(n.params.names[0], "net.t0.w") == 0);
        y = drl_denoiser_at(&tape, &n.net, &n.chain, t, drl_tape_input(&tape, 4, 2, n.x),
                            drl_tape_input(&tape, 4, 3, n.s));
        plain = nets_plain(&n, t);
        for (i = 0; i < 8; i++) CHECK_NEAR(y->data[i], plain->data[i], 2e-6);
        /* gradients too, the embedding's among them */
        for (k = 0; k < 2; k++) {
            drl_tape_reset(&tape);
            drl_params_zero_grad(&n.params);
            y = k ? nets_plain(&n, t)
                  : drl_denoiser_at(&tape, &n.net, &n.chain, t, drl_tape_input(&tape, 4, 2, n.x),
                                    drl_tape_input(&tape, 4, 3, n.s));
            z = drl_tape_input(&tape, 4, 2, n.noise);
            CHECK(drl_tape_backward(&tape, drl_mean(&tape, drl_mul(&tape, y, z))) == DRL_OK);
            for (i = 0; i < (int)n.params.size && k == 1; i++)
                CHECK_NEAR(n.params.grad[i], grad[i], 1e-6);
            memcpy(grad, n.params.grad, n.params.size * sizeof(float));
        }
        drl_params_free(&n.params);
        stop();
    }
}

TEST(denoising_loss_is_weighted)
{
    static const int t[4] = {5, 1, 3, 3};
    static nets n;
    drl_tensor *x0, *s, *noise, *eps, *w, *loss;
    double plain = 0, weighted = 0;
    int i;
    nets_start(&n, 0);
    x0 = drl_tape_input(&tape, 4, 2, n.x);
    s = drl_tape_input(&tape, 4, 3, n.s);
    noise = drl_tape_input(&tape, 4, 2, n.noise);
    w = drl_tape_input(&tape, 4, 1, n.w);
    eps = drl_denoiser_at(&tape, &n.net, &n.chain, t,
                          drl_ddpm_noise(&tape, &n.chain, t, x0, noise), s);
    for (i = 0; i < 8; i++) {
        double d = (double)eps->data[i] - n.noise[i];
        plain += d * d / 8;
        weighted += n.w[i / 2] * d * d / 8;
    }
    loss = drl_denoiser_loss(&tape, &n.net, &n.chain, s, x0, t, noise, NULL);
    CHECK_NEAR(loss->data[0], plain, 1e-6);
    loss = drl_denoiser_loss(&tape, &n.net, &n.chain, s, x0, t, noise, w);
    CHECK_NEAR(loss->data[0], weighted, 2e-6);
    drl_params_free(&n.params);
    stop();
}

/* The sampler against the chain step by step; candidates of one state differ by their noise alone;
   cut in two calls it gives the same. */
TEST(sampler_runs_the_chain)
{
    enum { K = 3, N = K * 4 * 2 };
    static float path[6 * N], again[6 * N];
    static nets n;
    drl_tensor *s;
    int i, k, t, blocks;
    for (blocks = 0; blocks < 2; blocks++) {
        drl_rng rng = drl_rng_make(9, "path");
        nets_start(&n, blocks);
        drl_rng_normal_fill(&ctx, &rng, path, 6 * N);
        memcpy(again, path, sizeof(again));
        s = drl_tape_input(&tape, 4, 3, n.s);
        drl_denoiser_sample(&tape, &n.net, &n.chain, s, K, 5, 1, 1.0f, path);
        CHECK(drl_tape_status(&tape) == DRL_OK && tape.grad_enabled == 1);
        for (k = 0; k < K; k++) {
            drl_tensor *x = drl_tape_input(&tape, 4, 2, again + 8 * k);
            for (t = 5; t >= 1; t--) {
                int row[4], j;
                drl_tensor *z = drl_tape_input(&tape, 4, 2, again + (6 - t) * N + 8 * k), *eps;
                for (j = 0; j < 4; j++) row[j] = t;
                eps = drl_denoiser_at(&tape, &n.net, &n.chain, row, x, s);
                x = drl_ddpm_step(&tape, &n.chain, t, x, eps, z, 1.0f);
                for (i = 0; i < 8; i++)
                    CHECK_NEAR(path[(6 - t) * N + 8 * k + i], x->data[i], 1e-6);
            }
            for (i = 0; i < 8; i++) CHECK(fabsf(path[5 * N + 8 * k + i]) <= 1);
        }
        drl_denoiser_sample(&tape, &n.net, &n.chain, s, K, 5, 4, 1.0f, again);
        drl_denoiser_sample(&tape, &n.net, &n.chain, s, K, 3, 1, 1.0f, again + 2 * N);
        CHECK(memcmp(path, again, sizeof(path)) == 0);
        drl_params_free(&n.params);
        stop();
    }
}

TEST_MAIN(TEST_ENTRY(denoiser_is_the_plain_network), TEST_ENTRY(denoising_loss_is_weighted),
          TEST_ENTRY(sampler_runs_the_chain), TEST_ENTRY(schedules), TEST_ENTRY(there_and_back),
          TEST_ENTRY(ancestral_step), TEST_ENTRY(ancestral_step_gradients),
          TEST_ENTRY(ancestral_chain_moments), TEST_ENTRY(ou_schedule), TEST_ENTRY(ou_step),
          TEST_ENTRY(ou_path_identity), TEST_ENTRY(ou_linear_gaussian),
          TEST_ENTRY(ou_initial_moments), TEST_ENTRY(ou_initial_samples),
          TEST_ENTRY(gradient_of_a_chain))
