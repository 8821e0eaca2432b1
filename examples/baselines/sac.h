/* SAC - soft actor-critic, the Gaussian baseline
   Paper     Haarnoja et al. 2018, arXiv:1812.05905, algorithm 1
   Code      none followed
   Idea      Maximize reward plus alpha times entropy: act as randomly as the task allows. The
             policy is a squashed Gaussian, differentiated through a sample per state; alpha holds
             a chosen entropy.
   Symbols   s obs, a = tanh(mu + sigma xi) action, L = ln pi(a|s), alpha = e^kappa
   Steps     drli_sac_sample       a and L (appendix C)
             drli_sac_critic       y = r + gamma (min Q'(s', a') - alpha L'), eq. (5)
             drli_sac_actor        mean(alpha L - min Q(s, a)), eq. (9)
             drli_sac_temperature  kappa follows -alpha (L + H), H the entropy aimed at, eq. (18)
   Deviates  ln sigma is cut to -20 .. 2, as in the authors' code.
   Verified  tests/golden/sac.c (an independent computation), tests/unit; README.md */
#ifndef SAC_H
#define SAC_H
#include "../../diffrl.h"

#define DRL_SAC_CONFIG(X) \
    DRL_AGENT_CONFIG(X) \
    X(INT, width, 256, 1, 65536, "two hidden layers of actor and critics, ReLU") \
    X(FLOAT, gamma, 0.99, 0, 1, "discount") \
    X(FLOAT, tau, 0.005, 0, 1, "how far the targets follow per update") \
    X(INT, batch, 256, 1, 1 << 20, "rows of an update") \
    X(INT, utd, 1, 1, 1000, "updates per environment step") \
    X(INT64, random_steps, 10000, 0, 1e12, "uniform actions before the first update") \
    X(FLOAT, lr, 3e-4, 0, 1, "Adam, all networks and the temperature") \
    X(FLOAT, alpha, 1, 1e-12, 1e6, "initial temperature") \
    X(FLOAT, target, -1, -1e3, 1e3, "entropy per action dimension alpha aims at")
typedef struct drl_sac_config { DRL_SAC_CONFIG(DRL_MEMBER) } drl_sac_config;

typedef struct drl_sac {
    drl_agent agent;
    drl_sac_config cfg;
    drl_params actor, critic, target, temperature;
    drl_mlp policy;    /* s -> [mu, ln sigma] */
    drl_twin q;
    drl_tensor *kappa; /* ln alpha */
    drl_adam_config adam;
    float *noise, *y;  /* [2, B, A] normals, [B] targets */
} drl_sac;

/* Presets "paper", "cpu", "toy"; evaluating takes tanh(mu). */
DRL_ALGO_API(sac)
#endif

#if defined(DIFFRL_IMPLEMENTATION) && !defined(SAC_IMPLEMENTATION_DONE)
#define SAC_IMPLEMENTATION_DONE

static drl_status drli_sac_start(drl_agent *a)
{
    drl_sac *s = (drl_sac *)a;
    const drl_sac_config *c = &s->cfg;
    drl_rng rng = drli_agent_stream(a, c->seed, "weights");
    drli_agent_set(a, &s->actor, "actor.", 6, 1, 1);
    drli_agent_set(a, &s->critic, "critic.", 12, 1, 0);
    drli_agent_set(a, &s->target, "target.", 12, 0, 0);
    drli_agent_set(a, &s->temperature, "temperature.", 1, 1, 0);
    drli_mlp_even(&s->policy, &s->actor, "", c->obs_dim, c->width, 2, 2 * c->act_dim, DRL_ACT_RELU);
    drl_twin_add(&s->q, &s->critic, &s->target, "", c->obs_dim, c->act_dim, c->width, 3,
        DRL_ACT_RELU);
    s->kappa = drl_params_add(&s->temperature, "", "kappa", 1, 1);
    s->noise = drli_floats(a, 2 * c->batch, c->act_dim);
    s->y = drli_floats(a, c->batch, 1);
    if (drli_agent_commit(a)) return a->ctx->status;
    drl_mlp_init(&s->policy, DRL_INIT_XAVIER_UNIFORM, 1.0f, &rng);
    drl_twin_init(&s->q, DRL_INIT_XAVIER_UNIFORM, 1.0f, &rng);
    drl_params_copy(&s->target, &s->critic);
    s->kappa->data[0] = drl_logf(c->alpha);
    s->adam = drli_adam_lr(c->lr);
    return DRL_OK;
}

/* a for obs [B, S], xi = noise [B, A];  L [B, 1] = sum_i ln N(xi_i) - ln sigma_i - ln(1 - a_i^2) */
static drl_tensor *drli_sac_sample(drl_sac *s, drl_tensor *obs, float *noise, drl_tensor **density)
{
    drl_tape *t = &s->agent.tape;
    int A = s->cfg.act_dim;
    drl_tensor *h = drl_mlp_forward(t, &s->policy, obs), *x;
    drl_tensor *log_std = drl_clip(t, drl_cols(t, h, A, A), -20.0f, 2.0f);
    drl_tensor *xi = drl_tape_input(t, obs->rows, A, noise);
    x = drl_add(t, drl_cols(t, h, 0, A), drl_mul(t, drl_exp(t, log_std), xi));
    h = drl_affine(t, drl_square(t, xi), -0.5f, -0.91893853f); /* ln sqrt(2 pi) */
    h = drl_sub(t, drl_sub(t, h, log_std), drl_tanh_logdet(t, x));
    *density = drl_sum_cols(t, h);
    return drl_activate(t, DRL_ACT_TANH, x);
}

static float drli_sac_alpha(const drl_sac *s)
{
    return drl_expf(s->kappa->data[0]);
}

/* Adam step of both critics on sum_j mean((Q_j - y)^2) / 2. */
static drl_status drli_sac_critic(drl_sac *s, const drl_batch *b, float *noise)
{
    drl_tape *t = drli_agent_tape(&s->agent, 0);
    int r, B = b->rows, S = s->cfg.obs_dim;
    float alpha = drli_sac_alpha(s);
    drl_tensor *obs, *act, *density, *q, *loss;
    obs = drl_tape_input(t, B, S, b->next_obs);
    act = drli_sac_sample(s, obs, noise, &density);
    q = drl_twin_min(t, &s->q, obs, act, 1);
    t->grad_enabled = 1;
    if (t->status) return t->status;
    for (r = 0; r < B; r++)
        s->y[r] = fmaf(b->discount[r], fmaf(-alpha, density->data[r], q->data[r]), b->reward[r]);
    obs = drl_tape_input(t, B, S, b->obs);
    act = drl_tape_input(t, B, s->cfg.act_dim, b->act);
    loss = drl_affine(t, drl_twin_loss(t, &s->q, obs, act, s->y), 0.5f, 0.0f);
    s->agent.updates++;
    return drli_agent_learn(&s->agent, &s->critic, &s->adam, loss, 0);
}

/* kappa descends -alpha (mean L + H): alpha grows while entropy < H. */
static void drli_sac_temperature(drl_sac *s, float density)
{
    s->kappa->grad[0] = -drli_sac_alpha(s) * (density + s->cfg.target * (float)s->cfg.act_dim);
    drl_adam_step(&s->temperature, &s->adam);
    s->agent.metrics[3].value = (double)drli_sac_alpha(s);
    s->agent.metrics[4].value = (double)density;
}

/* Actor step, eq. (9), then the temperature's. */
static drl_status drli_sac_actor(drl_sac *s, const drl_batch *b, float *noise)
{
    drl_tape *t = drli_agent_tape(&s->agent, 1);
    drl_tensor *obs = drl_tape_input(t, b->rows, s->cfg.obs_dim, b->obs), *act, *density, *q, *loss;
    act = drli_sac_sample(s, obs, noise, &density);
    q = drl_mean(t, drl_twin_min(t, &s->q, obs, act, 0));
    density = drl_mean(t, density);
    loss = drl_sub(t, drl_affine(t, density, drli_sac_alpha(s), 0.0f), q);
    if (drli_agent_learn(&s->agent, &s->actor, &s->adam, loss, 1)) return t->status;
    s->agent.metrics[2].value = (double)q->data[0];
    drli_sac_temperature(s, density->data[0]);
    return DRL_OK;
}

static drl_status drli_sac_update(drl_agent *agent, drl_replay *replay)
{
    drl_sac *s = (drl_sac *)agent;
    drl_batch *b = &agent->batch;
    drl_status status = DRL_OK;
    size_t n = (size_t)b->rows * (size_t)s->cfg.act_dim;
    int i;
    for (i = 0; i < s->cfg.utd && !status; i++) {
        drl_rng_normal_fill(agent->ctx, &agent->rng_noise, s->noise, 2 * n);
        status = drl_replay_sample(replay, &agent->rng_batch, b);
        if (!status) status = drli_sac_critic(s, b, s->noise);
        if (!status) status = drli_sac_actor(s, b, s->noise + n);
        if (!status) drl_params_polyak(&s->target, &s->critic, s->cfg.tau);
    }
    return status;
}

static drl_tensor *drli_sac_act(drl_agent *agent, drl_mode mode, drl_tensor *obs)
{
    drl_sac *s = (drl_sac *)agent;
    drl_rng *rng = mode == DRL_MODE_EXPLORE ? &agent->rng_act : NULL;
    drl_tensor *noise = drli_agent_normals(agent, rng, obs->rows, s->cfg.act_dim), *density;
    return drli_sac_sample(s, obs, noise->data, &density);
}

DRLI_ALGO(sac, DRL_SAC_CONFIG, "Gaussian policy, maximum entropy (Haarnoja et al., 2018)",
    "critic_loss actor_loss q alpha log_density", "cpu lr=1e-3\n"
    "toy width=64 batch=128 random_steps=500 lr=3e-3\n", (void)0)
#endif
