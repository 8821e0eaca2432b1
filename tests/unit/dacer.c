/* DACER: the mixture of Gaussians and its entropy, the slopes of the value distribution, gradients
   through the chain, the noise scale, the order of an update. The updates themselves are checked in
   tests/golden/dacer.c, the chain in diffusion.c, what every algorithm must do in algos.c. */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"

static drl_context ctx;
static drl_dacer d;
static drl_replay replay;

static drl_dacer_config small(int obs, int act)
{
    drl_dacer_config c = drl_dacer_config_default(obs, act);
    c.steps = 3;
    c.actor_width = c.critic_width = 12;
    c.layers = 2;
    c.batch = 16;
    c.alpha_delay = 4;
    c.samples = 20;
    c.mixtures = 5;
    c.lr_actor = c.lr_critic = 1e-2f;
    return c;
}

static void start(drl_dacer_config c)
{
    drl_replay_config rc = drl_replay_config_default(c.obs_dim, c.act_dim);
    drl_rng rng = drl_rng_make(3, "replay");
    float x[32];
    int i, k, S = c.obs_dim;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    CHECK(drl_dacer_init(&d, &ctx, &c) == DRL_OK);
    rc.capacity = 100;
    CHECK(drl_replay_init(&replay, &ctx, &rc) == DRL_OK);
    for (i = 0; i < 100; i++) {
        for (k = 0; k < 2 * S + c.act_dim; k++) x[k] = 2 * drl_rng_uniform(&rng) - 1;
        drl_replay_push(&replay, x, x + 2 * S, x[0] - x[1] * x[2 * S], x + S,
                        i % 20 == 19 ? DRL_ENV_TERMINATED : 0);
    }
}

static void stop(void)
{
    drl_replay_free(&replay);
    drl_agent_free(&d.agent);
    drl_context_free(&ctx);
}

TEST(presets)
{
    drl_dacer_config c = drl_dacer_config_default(17, 6);
    drl_algo algo = drl_dacer_algo();
    /* the table of the paper's code */
    CHECK(c.obs_dim == 17 && c.act_dim == 6 && c.steps == 20 && c.layers == 3);
    CHECK(c.actor_width == 256 && c.critic_width == 256 && c.noise == .15f && c.alpha == 3);
    CHECK(c.lr_alpha == .03f && c.target == -.9f && c.alpha_delay == 10000 && c.components == 3);
    CHECK(c.samples == 200 && c.mixtures == 256 && c.gamma == .99f && c.reward_scale == .2f);
    CHECK(c.tau == .005f && c.batch == 256 && c.policy_delay == 2 && c.random_steps == 200000);
    CHECK(c.update_every == 20 && c.lr_actor == 1e-4f && c.lr_critic == 1e-4f);
    start(small(3, 2));
    CHECK(drl_algo_preset(&ctx, algo, &c, "cpu") == DRL_OK && c.update_every == 1);
    CHECK(drl_fields_check(&ctx, algo.fields, algo.field_count, &c) == DRL_OK);
    CHECK(drl_algo_preset(&ctx, algo, &c, "toy") == DRL_OK && c.actor_width == 64);
    CHECK(d.agent.update_every == 20 && d.agent.random_steps == 200000);
    stop();
}

/* ---- mixtures of Gaussians ---- */

static double entropy(int n, int dim, int k, const float *x)
{
    double *work = (double *)malloc((size_t)(k * (n + 2 + dim + dim * dim) + dim) * sizeof(double));
    double h = drli_gmm_entropy(n, dim, k, x, work);
    free(work);
    return h;
}

/* ln |m| by elimination; m [n, n] is destroyed. */
static double log_det(double *m, int n)
{
    double s = 0;
    int i, j, k;
    for (i = 0; i < n; i++) {
        s += log(fabs(m[i * n + i]));
        for (j = i + 1; j < n; j++)
            for (k = n - 1; k >= i; k--) m[j * n + k] -= m[j * n + i] / m[i * n + i] * m[i * n + k];
    }
    return s;
}

/* One component is ln((2 pi e)^d |cov + 1e-6 I|) / 2, on samples that are correlated, and where
   they lie on a line. */
TEST(one_component_is_exact)
{
    enum { N = 150, A = 5 };
    drl_rng rng = drl_rng_make(5, "one");
    float x[N * A];
    double mean[A] = {0}, cov[A * A] = {0};
    int i, a, b, line;
    for (line = 0; line < 2; line++) {
        for (i = 0; i < N * A; i++) {
            int first = i % A == 0;
            x[i] = drl_rng_normal(&rng) * .3f + (first ? 0 : .8f * x[i - 1]);
            if (line && !first) x[i] = x[i - 1];
        }
        memset(mean, 0, sizeof(mean));
        memset(cov, 0, sizeof(cov));
        for (i = 0; i < N * A; i++) mean[i % A] += (double)x[i] / N;
        for (i = 0; i < N; i++)
            for (a = 0; a < A; a++)
                for (b = 0; b < A; b++)
                    cov[a * A + b] += ((double)x[i * A + a] - mean[a]) *
                                      ((double)x[i * A + b] - mean[b]) / N;
        for (a = 0; a < A; a++) cov[a * A + a] += 1e-6;
        CHECK_NEAR(entropy(N, A, 1, x), .5 * (A * log(2 * 3.141592653589793 * exp(1)) +
                   log_det(cov, A)), 2e-6);
    }
}

/* What nothing else than the ridge keeps regular: equal samples, fewer kinds than components,
   actions piled up at the ends. */
TEST(degenerate_samples)
{
    const double point = 1.41893853320467 + .5 * log(1e-6); /* nats per dimension */
    float x[60 * 2] = {0};
    int i;
    CHECK_NEAR(entropy(60, 2, 3, x), 2 * point, 1e-5); /* empty components weigh nothing */
    for (i = 0; i < 120; i++) x[i] = i < 60 ? 1.0f : -1.0f;
    CHECK_NEAR(entropy(60, 2, 3, x), 2 * point + log(2), 1e-5);
    for (i = 0; i < 120; i++) x[i] = i / 2 % 4 & (i % 2 + 1) ? 1.0f : -1.0f; /* four corners */
    CHECK_NEAR(entropy(60, 2, 4, x), 2 * point + log(4), 1e-5);
    CHECK(fabs(entropy(60, 2, 3, x)) < 20);
    CHECK_NEAR(entropy(1, 2, 3, x), 2 * point, 1e-5);
}

typedef enum source { NORMAL, BOX, CLIPPED } source;

/* Mean over 40 fits of 3 components to 200 samples, per dimension. */
static double fits(source from, int dim)
{
    static float x[200 * 17];
    drl_rng rng = drl_rng_make(6, "fits");
    double h = 0;
    int i, k;
    for (k = 0; k < 40; k++) {
        for (i = 0; i < 200 * dim; i++) {
            float z = from == BOX ? 2 * drl_rng_uniform(&rng) - 1 : drl_rng_normal(&rng);
            x[i] = from == CLIPPED ? fminf(fmaxf(.45f * z, -1), 1) : z;
        }
        h += entropy(200, dim, 3, x) / 40;
    }
    return h / dim;
}

/* The table of an EM written for the specification; 40 fits each there and here, of a standard
   deviation of 0.13 (d = 1) to 0.18 (d = 17) nats. */
TEST(entropy_table)
{
    static const struct {
        source from;
        int dim;
        double want, tolerance;
    } row[] = {{NORMAL, 1, 1.863, .09}, {NORMAL, 2, 3.408 / 2, .05}, {NORMAL, 3, 4.70 / 3, .03},
               {NORMAL, 6, 8.58 / 6, .02}, {NORMAL, 8, 11.09 / 8, .015},
               {NORMAL, 17, 22.56 / 17, .01}, {BOX, 1, .975, .09}, {BOX, 6, .839, .02},
               {BOX, 17, .775, .01}, {CLIPPED, 6, .602, .02}};
    int i;
    for (i = 0; i < DRLI_COUNT(row); i++)
        CHECK_NEAR(fits(row[i].from, row[i].dim), row[i].want, row[i].tolerance);
}

/* -0.9 per dimension is a Gaussian of standard deviation 0.0984. */
TEST(target_entropy)
{
    enum { N = 40000 };
    float *x = (float *)malloc(3 * N * sizeof(float));
    drl_rng rng = drl_rng_make(7, "target");
    int i;
    for (i = 0; i < 3 * N; i++) x[i] = .0984f * drl_rng_normal(&rng);
    CHECK_NEAR(entropy(N, 3, 1, x) / 3, -.9, .01);
    free(x);
}

/* ---- the value distribution ---- */

TEST(slopes)
{
    static float q[1 << 16], sigma[1 << 16], dq[1 << 16], ds[1 << 16];
    drl_dacer_config c = small(2, 1);
    drl_rng rng = drl_rng_make(8, "slopes");
    double mean = 0;
    int i;
    c.batch = 1 << 16;
    c.steps = 1;
    start(c);
    d.agent.updates = 1;
    d.cfg.tau = 0;
    d.omega->data[0] = .6f;
    for (i = 0; i < c.batch; i++) {
        q[i] = 1;
        sigma[i] = .5f;
        d.y[i] = 1.4f;
        d.y[c.batch + i] = i ? q[i] + .5f * drl_rng_normal(&rng) : 3;
    }
    drli_dacer_slopes(&d, 0, q, sigma, dq, ds);
    CHECK_NEAR(dq[0], -.525714, 1e-6);
    CHECK_NEAR(ds[0], -6.112889, 1e-6);
    /* at q = m, sigma = v of y_sample ~ N(m, v^2) the slopes vanish in the mean; below and above
       they push back */
    d.omega->data[0] = 5;
    for (i = 0; i < c.batch; i++) d.y[i] = 1;
    drli_dacer_slopes(&d, 0, q, sigma, dq, ds);
    for (i = 1; i < c.batch; i++) mean += (double)(ds[i] / -25.1f) / c.batch;
    CHECK_NEAR(mean, 0, .03); /* in units of e^2 - sigma^2 over sigma^3 + 0.1, 4 standard errors */
    CHECK(dq[5] == 0);
    for (i = 0, mean = 0; i < c.batch; i++) sigma[i] = .4f;
    drli_dacer_slopes(&d, 0, q, sigma, dq, ds);
    for (i = 1; i < c.batch; i++) mean += (double)ds[i] / c.batch;
    CHECK(mean < -5);
    /* omega: the first batch's mean, then averaged */
    d.agent.updates = 0;
    drli_dacer_slopes(&d, 1, q, sigma, dq, ds);
    CHECK_NEAR(d.omega->data[1], .4, 1e-6);
    d.agent.updates = 1;
    d.cfg.tau = .25f;
    for (i = 0; i < c.batch; i++) sigma[i] = .8f;
    drli_dacer_slopes(&d, 1, q, sigma, dq, ds);
    CHECK_NEAR(d.omega->data[1], .5, 1e-6);
    stop();
}

/* ---- gradients ---- */

static double actor_loss(const float *noise)
{
    drl_tape *t = &d.agent.tape;
    drl_tensor *obs, *x, *q[2];
    double sum = 0;
    int j, r;
    drl_tape_reset(t);
    memcpy(d.noise, noise, (size_t)(4 * 16 * 2) * sizeof(float));
    obs = drl_tape_input(t, 16, 3, d.agent.batch.obs);
    x = drl_concat(t, drli_dacer_action(&d, obs, d.noise, 1, 1), obs);
    for (j = 0; j < 2; j++) q[j] = drl_mlp_forward(t, &d.q[j], x);
    CHECK(drl_tape_status(t) == DRL_OK);
    for (r = 0; r < 16; r++) sum -= (double)fminf(q[0]->data[2 * r], q[1]->data[2 * r]) / 16;
    return sum;
}

/* Through a 3-step chain, in every tensor of the actor, against differences of fourth order. Small
   noise keeps the chain clear of the cuts, and one critic lies far above the other. */
static void check_actor_gradient(int low)
{
    static const double weight[4] = {1, -8, 8, -1};
    drl_rng rng = drl_rng_make(9, "gradient");
    drl_dacer_config c = small(3, 2);
    float noise[4 * 16 * 2], h = 1e-2f;
    int i, k;
    c.noise = .1f;
    c.alpha = 1;
    c.lr_actor = 0;
    start(c);
    CHECK(drl_replay_sample(&replay, &rng, &d.agent.batch) == DRL_OK);
    for (i = 0; i < 4 * 16 * 2; i++) noise[i] = .02f * drl_rng_normal(&rng);
    for (i = 0; i < d.actor.count; i++) /* no zero biases */
        if (d.actor.list[i].rows == 1)
            drl_tensor_init(&d.actor.list[i], DRL_INIT_TRUNCATED_NORMAL, .1f, &rng);
    for (k = 0; k < 12 * 2; k++) d.net.mlp.layer[2].w->data[k] *= .05f;
    for (k = 0; k < 2; k++) d.net.mlp.layer[2].b->data[k] *= .1f;
    d.q[!low].layer[2].b->data[0] = 9;
    memcpy(d.noise, noise, sizeof(noise));
    CHECK(drli_dacer_actor(&d, &d.agent.batch, d.noise) == DRL_OK);
    CHECK_NEAR(d.agent.metrics[1].value, actor_loss(noise), 1e-6);
    for (i = 0; i < d.actor.count; i++) {
        drl_tensor *x = &d.actor.list[i];
        int at = 0, n = x->rows * x->cols;
        float value;
        double slope = 0;
        for (k = 1; k < n; k++)
            if (fabsf(x->grad[k]) > fabsf(x->grad[at])) at = k;
        value = x->data[at];
        for (k = 0; k < 4; k++) {
            x->data[at] = value + h * (float)(k - 2 + (k > 1));
            slope += weight[k] * actor_loss(noise) / (12 * (double)h);
        }
        x->data[at] = value;
        CHECK(fabsf(x->grad[at]) > 1e-5f);
        CHECK_NEAR(x->grad[at], slope, 2e-3 * fabs(slope) + 2e-6);
    }
    stop();
}

TEST(actor_gradient)
{
    check_actor_gradient(0);
    check_actor_gradient(1);
}

/* ---- acting and updating ---- */

TEST(actions)
{
    static float obs[64 * 3], one[64 * 2], two[64 * 2];
    int i, ends = 0;
    start(small(3, 2));
    for (i = 0; i < 64 * 3; i++) obs[i] = (float)(i % 7) - 3;
    CHECK(drl_agent_act(&d.agent, DRL_MODE_EXPLORE, 64, obs, one) == DRL_OK);
    CHECK(d.agent.rng_act.position == 64 * 2 * 4 && d.agent.rng_eval.position == 0);
    d.agent.rng_eval = d.agent.rng_act;
    d.agent.rng_eval.position = d.agent.rng_eval.normal = 0;
    for (i = 0; i < 64 * 2; i++) ends += fabsf(one[i]) == 1;
    CHECK(ends > 20 && ends < 110); /* the noise at the start: 0.45 */
    /* evaluation is the same chain without the noise: with a small one exploring tends to it */
    CHECK(drl_agent_act(&d.agent, DRL_MODE_EVAL, 64, obs, two) == DRL_OK);
    CHECK(memcmp(one, two, sizeof(one)) != 0);
    d.log_alpha->data[0] = -12;
    d.agent.rng_act.position = d.agent.rng_act.normal = 0;
    CHECK(drl_agent_act(&d.agent, DRL_MODE_EXPLORE, 64, obs, one) == DRL_OK);
    for (i = 0; i < 64 * 2; i++) CHECK(fabsf(one[i]) <= 1 && fabsf(one[i] - two[i]) < 1e-5f);
    stop();
}

static double hash(void)
{
    double s = 0;
    int i;
    size_t k;
    for (i = 0; i < d.agent.set_count; i++)
        for (k = 0; k < d.agent.sets[i].params->size; k++)
            s += (double)d.agent.sets[i].params->value[k] * (double)(i + 1) * (double)(k % 97 + 1);
    return s;
}

/* drl_agent_update against its steps in the order of the paper's code. */
TEST(order_of_an_update)
{
    double want;
    int n;
    start(small(3, 2));
    for (n = 0; n < 6; n++) CHECK(drl_agent_update(&d.agent, &replay) == DRL_OK);
    CHECK(d.agent.updates == 6 && d.critic.step == 6 && d.actor.step == 3 && d.scale.step == 2);
    want = hash();
    stop();
    start(small(3, 2));
    for (n = 0; n < 6; n++) {
        drl_batch *b = &d.agent.batch;
        CHECK(drl_replay_sample(&replay, &d.agent.rng_batch, b) == DRL_OK);
        CHECK(drli_dacer_target(&d, b, drli_dacer_noise(&d, 16, 32)) == DRL_OK);
        CHECK(drli_dacer_critic(&d, b) == DRL_OK);
        if (n % 4 == 0) CHECK(drli_dacer_entropy(&d, b) == DRL_OK); /* the actor before its step */
        if (n % 2 == 0) CHECK(drli_dacer_actor(&d, b, drli_dacer_noise(&d, 16, 0)) == DRL_OK);
        drl_adam_step(&d.critic, &d.adam_critic); /* after the actor has seen the old critics */
        if (n % 2 == 0) drl_params_polyak(&d.target, &d.critic, d.cfg.tau);
        if (n % 4 == 0) drli_dacer_alpha(&d);
        d.agent.updates++;
    }
    CHECK(hash() == want);
    stop();
}

/* The entropy is that of the actions which acting would take in the batch's states; alpha follows
   it by 3 % at the first step. */
TEST(noise_scale)
{
    drl_dacer_config c = small(3, 2);
    float act[5 * 2], x[5][20 * 2], before;
    drl_rng rng;
    double h = 0;
    int i, k;
    start(c);
    CHECK(drl_replay_sample(&replay, &d.agent.rng_batch, &d.agent.batch) == DRL_OK);
    rng = d.agent.rng_noise;
    CHECK(drli_dacer_entropy(&d, &d.agent.batch) == DRL_OK);
    d.agent.rng_act = rng;
    for (k = 0; k < 20; k++) {
        CHECK(drl_agent_act(&d.agent, DRL_MODE_EXPLORE, 5, d.agent.batch.obs, act) == DRL_OK);
        for (i = 0; i < 5; i++) memcpy(x[i] + 2 * k, act + 2 * i, 2 * sizeof(float));
    }
    for (i = 0; i < 5; i++) h += entropy(20, 2, 3, x[i]) / 5;
    CHECK_NEAR(d.agent.metrics[4].value, h, 1e-12);
    for (i = 0; i < 2; i++) {
        before = d.log_alpha->data[0];
        d.agent.metrics[4].value = i ? -2.5 : -1.5; /* goal: -0.9 times 2 */
        d.scale.step = 0;
        memset(d.scale.m, 0, sizeof(float));
        memset(d.scale.v, 0, sizeof(float));
        drli_dacer_alpha(&d);
        CHECK_NEAR(d.log_alpha->data[0] - before, i ? .03 : -.03, 1e-6);
        CHECK_NEAR(d.log_alpha->grad[0], i ? -.7 : .3, 1e-6);
    }
    stop();
}

TEST_MAIN(TEST_ENTRY(presets), TEST_ENTRY(one_component_is_exact), TEST_ENTRY(degenerate_samples),
          TEST_ENTRY(entropy_table), TEST_ENTRY(target_entropy), TEST_ENTRY(slopes),
          TEST_ENTRY(actor_gradient), TEST_ENTRY(actions), TEST_ENTRY(order_of_an_update),
          TEST_ENTRY(noise_scale))
