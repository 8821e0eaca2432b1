/* PPO - proximal policy optimization, the on-policy baseline
   Paper     Schulman et al. 2017, arXiv:1707.06347; GAE: Schulman et al. 2015, arXiv:1506.02438
   Code      constants of Stable-Baselines3
   Idea      Several gradient steps on one rollout make good actions more likely; a probability that
             moves by more than a factor 1 +- clip gains nothing, so the policy stays near the old.
   Symbols   s obs, a ~ N(mu(s), sigma^2) before the cut to +-1, V value, A advantage, N rollout
   Steps     drli_ppo_observe  a row of the rollout; r over the spread of discounted returns
             drli_ppo_targets  A by GAE, A + V, ln pi_old
             drli_ppo_step     min(R A, clip(R) A), R = pi / pi_old, eq. (7), (9)
   Deviates  Statistics of observations change between rollouts only. Weights are normal, not
             orthogonal.
   Verified  tests/golden and unit/ppo.c, tests/learn; README.md */
#ifndef PPO_H
#define PPO_H
#include "../../diffrl.h"

/* Running mean and variance per element (Welford), in double. */
typedef struct drl_ppo_norm {
    drl_context *ctx;
    int dim;
    double count;
    double *mean, *m2; /* [dim] m2 = sum of squared deviations */
} drl_ppo_norm;

#define DRL_PPO_CONFIG(X) \
    DRL_AGENT_CONFIG(X) \
    X(INT, width, 64, 1, 65536, "two hidden layers of policy and of value, tanh") \
    X(BOOL, normalize, 1, 0, 1, "observations and rewards by running statistics") \
    X(INT, rollout, 2048, 2, 1 << 24, "environment steps of an iteration, all environments") \
    X(INT, batch, 64, 2, 1 << 24, "rows of a gradient step; what does not fill one waits") \
    X(INT, epochs, 10, 1, 1000, "passes over a rollout") \
    X(FLOAT, gamma, 0.99, 0, 1, "discount") \
    X(FLOAT, lambda, 0.95, 0, 1, "of the advantage estimate") \
    X(FLOAT, clip, 0.2, 0, 1, "how far the ratio may leave 1") \
    X(FLOAT, lr, 3e-4, 0, 1, "Adam, eps 1e-5, gradient's norm at most 0.5")
typedef struct drl_ppo_config { DRL_PPO_CONFIG(DRL_MEMBER) } drl_ppo_config;

typedef struct drl_ppo {
    drl_agent agent;
    drl_ppo_config cfg;
    drl_params net;
    drl_mlp policy, value;
    drl_tensor *log_std;    /* [1, A] ln sigma, the same in all states */
    drl_adam_config adam;
    drl_ppo_norm norm, returns; /* of observations, of discounted returns */
    drl_replay rollout;     /* N rows: act before the cut to +-1, reward scaled */
    float *raw, *sum;       /* per environment: last act, discounted return */
    float *x, *advantage, *target, *old; /* [N] normalized obs, A, A + V, ln pi_old */
    uint32_t *order;
} drl_ppo;

/* Presets "paper", "cpu", "toy"; evaluating takes mu. If the environments do not divide
   rollout, what exceeds it is not learned from. */
DRL_ALGO_API(ppo)
#endif

#if defined(DIFFRL_IMPLEMENTATION) && !defined(PPO_IMPLEMENTATION_DONE)
#define PPO_IMPLEMENTATION_DONE

static drl_status drli_norm_init(drl_ppo_norm *norm, drl_context *ctx, int dim)
{
    memset(norm, 0, sizeof(*norm));
    norm->mean = (double *)drl_memory_alloc(ctx, 2 * (size_t)dim * sizeof(double));
    if (!norm->mean) return DRL_ERR_MEMORY;
    norm->m2 = norm->mean + dim;
    norm->ctx = ctx;
    norm->dim = dim;
    return DRL_OK;
}

static void drli_norm_free(drl_ppo_norm *norm)
{
    if (norm->ctx) drl_memory_free(norm->ctx, norm->mean, 2 * (size_t)norm->dim * sizeof(double));
    memset(norm, 0, sizeof(*norm));
}

static void drli_norm_update(drl_ppo_norm *norm, const float *x)
{
    int i;
    norm->count += 1;
    for (i = 0; i < norm->dim; i++) {
        double d = (double)x[i] - norm->mean[i];
        norm->mean[i] += d / norm->count;
        norm->m2[i] += d * ((double)x[i] - norm->mean[i]);
    }
}

/* y = clip((x - mean) / sqrt(var + 1e-8), -clip, clip), rows of dim; y may be x.
   count < 2: y = x. */
static void drli_norm_apply(const drl_ppo_norm *norm, int rows, const float *x, float clip,
    float *y)
{
    int r, i;
    for (r = 0; r < rows; r++)
        for (i = 0; i < norm->dim; i++) {
            size_t at = (size_t)r * (size_t)norm->dim + (size_t)i;
            double sd = norm->count > 1 ? sqrt(norm->m2[i] / norm->count + 1e-8) : 0;
            float v = sd > 0 ? (float)(((double)x[at] - norm->mean[i]) / sd) : x[at];
            y[at] = sd > 0 ? drli_clampf(v, -clip, clip) : v;
        }
}

static void drli_ppo_norm_state(drl_ppo_norm *norm, drl_state *state, const char *prefix)
{
    drli_state_put(state, prefix, "count", DRL_F64, 1, 0, &norm->count);
    drli_state_put(state, prefix, "mean", DRL_F64, norm->dim, 0, norm->mean);
    drli_state_put(state, prefix, "m2", DRL_F64, norm->dim, 0, norm->m2);
}

static drl_status drli_ppo_start(drl_agent *a)
{
    drl_ppo *p = (drl_ppo *)a;
    const drl_ppo_config *c = &p->cfg;
    drl_replay_config rc = drl_replay_config_default(c->obs_dim, c->act_dim);
    drl_rng rng = drli_agent_stream(a, c->seed, "weights");
    if (c->batch > c->rollout)
        return drli_fail(a->ctx, DRL_ERR_RANGE, "ppo: expected batch <= rollout, got %d > %d",
            c->batch, c->rollout);
    drli_agent_set(a, &p->net, "", 13, 1, 1);
    drli_mlp_even(&p->policy, &p->net, "policy.", c->obs_dim, c->width, 2, c->act_dim,
        DRL_ACT_TANH);
    drli_mlp_even(&p->value, &p->net, "value.", c->obs_dim, c->width, 2, 1, DRL_ACT_TANH);
    p->log_std = drl_params_add(&p->net, "", "log_std", 1, c->act_dim);
    p->x = drli_floats(a, c->rollout, c->obs_dim);
    p->raw = drli_floats(a, c->rollout, c->act_dim);
    p->sum = drli_floats(a, c->rollout, 1);
    p->advantage = drli_floats(a, c->rollout, 1);
    p->target = drli_floats(a, c->rollout, 1);
    p->old = drli_floats(a, c->rollout, 1);
    p->order = (uint32_t *)(void *)drli_floats(a, c->rollout, 1);
    rc.capacity = rc.envs = c->rollout;
    if (drli_agent_commit(a) || drli_norm_init(&p->norm, a->ctx, c->obs_dim) ||
        drli_norm_init(&p->returns, a->ctx, 1) || drl_replay_init(&p->rollout, a->ctx, &rc))
        return a->ctx->status;
    drl_mlp_init(&p->policy, DRL_INIT_LECUN_NORMAL, 1.41421356f, &rng);
    drl_mlp_init(&p->value, DRL_INIT_LECUN_NORMAL, 1.41421356f, &rng);
    drl_dense_init(&p->policy.layer[2], DRL_INIT_LECUN_NORMAL, 0.01f, &rng);
    drl_dense_init(&p->value.layer[2], DRL_INIT_LECUN_NORMAL, 1.0f, &rng);
    p->returns.count = p->returns.m2[0] = 1e-4; /* variance 1 before anything is seen */
    p->adam = drli_adam_lr(c->lr);
    p->adam.eps = 1e-5f;
    p->adam.clip_norm = 0.5f;
    return DRL_OK;
}

static void drli_ppo_free(drl_agent *a)
{
    drl_ppo *p = (drl_ppo *)a;
    drli_norm_free(&p->norm);
    drli_norm_free(&p->returns);
    drl_replay_free(&p->rollout);
}

static void drli_ppo_state(drl_agent *a, drl_state *state, int all)
{
    drl_ppo *p = (drl_ppo *)a;
    drli_ppo_norm_state(&p->norm, state, "norm.");
    if (!all) return;
    drli_ppo_norm_state(&p->returns, state, "returns.");
    drl_state_add_f32(state, "returns.sum", p->sum, p->cfg.rollout, 0);
    drl_replay_state(&p->rollout, state, "rollout.");
}

static void drli_ppo_begin(drl_agent *a, int env)
{
    drl_ppo *p = (drl_ppo *)a;
    if (env < 0 || env >= p->cfg.rollout) return;
    p->sum[env] = 0;
    p->rollout.last[env] = -1; /* the next row does not follow on it */
}

static drl_status drli_ppo_observe(drl_agent *a, int env, const float *obs, const float *act,
    float reward, const float *next_obs, int flags)
{
    drl_ppo *p = (drl_ppo *)a;
    drl_ppo_norm *n = &p->returns;
    (void)act; /* raw is the same before the cut */
    if (env < 0 || env >= p->cfg.rollout)
        return drli_fail(a->ctx, DRL_ERR_RANGE, "ppo: environment %d of rollout = %d", env,
            p->cfg.rollout);
    if (p->cfg.normalize) {
        p->sum[env] = fmaf(p->cfg.gamma, p->sum[env], reward);
        drli_norm_update(n, &p->sum[env]);
        reward = (float)((double)reward / sqrt(n->m2[0] / (n->count - 1) + 1e-8));
        reward = drli_clampf(reward, -10.0f, 10.0f);
    }
    p->rollout.turn = env;
    if (p->rollout.size < p->cfg.rollout)
        drl_replay_push(&p->rollout, obs, p->raw + env * p->cfg.act_dim, reward, next_obs, flags);
    if (flags) drli_ppo_begin(a, env);
    return DRL_OK;
}

/* The networks' input; y may be obs. */
static void drli_ppo_see(const drl_ppo *p, int rows, const float *obs, float *y)
{
    memmove(y, obs, (size_t)rows * (size_t)p->cfg.obs_dim * sizeof(float));
    if (p->cfg.normalize) drli_norm_apply(&p->norm, rows, y, 10.0f, y);
}

/* ln N(act; mu(x), sigma^2) of each row, [B, 1]. */
static drl_tensor *drli_ppo_density(drl_ppo *p, drl_tensor *x, drl_tensor *act)
{
    drl_tape *t = &p->agent.tape;
    drl_tensor *z = drl_sub(t, act, drl_mlp_forward(t, &p->policy, x));
    z = drl_square(t, drl_div(t, z, drl_exp(t, p->log_std)));
    return drl_sum_cols(t, drl_sub(t, drl_affine(t, z, -0.5f, -0.91893853f), p->log_std));
}

static drl_status drli_ppo_targets(drl_ppo *p)
{
    drl_tape *t = drli_agent_tape(&p->agent, 0);
    drl_replay *r = &p->rollout;
    drl_tensor *x, *v, *next, *old;
    int N = p->cfg.rollout, S = p->cfg.obs_dim;
    drli_ppo_see(p, N, r->obs, p->x);
    drli_ppo_see(p, N, r->next_obs, r->next_obs);
    x = drl_tape_input(t, N, S, p->x);
    v = drl_mlp_forward(t, &p->value, x);
    next = drl_mlp_forward(t, &p->value, drl_tape_input(t, N, S, r->next_obs));
    old = drli_ppo_density(p, x, drl_tape_input(t, N, p->cfg.act_dim, r->act));
    if (t->status) return t->status;
    drli_copy(p->old, old->data, N);
    drli_rollout_gae(r, p->cfg.gamma, p->cfg.lambda, v->data, next->data, p->advantage, p->target);
    return DRL_OK;
}

/* Rows of the batch from an array [N, cols]. */
static drl_tensor *drli_ppo_rows(drl_ppo *p, float *array, int cols, const uint32_t *order)
{
    drl_tape *t = &p->agent.tape;
    return drl_gather(t, drl_tape_input(t, p->cfg.rollout, cols, array),
        (const int *)(const void *)order, p->cfg.batch);
}

/* Adam step on -mean min(R A, clip(R) A) + mean((V - target)^2) / 4. */
static drl_status drli_ppo_step(drl_ppo *p, const uint32_t *order)
{
    drl_tape *t = &p->agent.tape;
    const drl_ppo_config *c = &p->cfg;
    drl_metric *m = p->agent.metrics;
    drl_tensor *x, *adv, *log_ratio, *ratio, *gain, *error, *loss;
    drl_tape_reset(t);
    x = drli_ppo_rows(p, p->x, c->obs_dim, order);
    adv = drli_ppo_rows(p, p->advantage, 1, order);
    log_ratio = drli_ppo_density(p, x, drli_ppo_rows(p, p->rollout.act, c->act_dim, order));
    log_ratio = drl_sub(t, log_ratio, drli_ppo_rows(p, p->old, 1, order));
    ratio = drl_exp(t, log_ratio);
    if (t->status) return t->status;
    drli_standardize(c->batch, adv->data);
    gain = drl_mul(t, drl_clip(t, ratio, 1.0f - c->clip, 1.0f + c->clip), adv);
    gain = drl_mean(t, drl_min(t, drl_mul(t, ratio, adv), gain));
    error = drl_sub(t, drl_mlp_forward(t, &p->value, x), drli_ppo_rows(p, p->target, 1, order));
    error = drl_affine(t, drl_mean(t, drl_square(t, error)), 0.25f, 0.0f);
    loss = drl_sub(t, error, gain);
    if (drli_agent_learn(&p->agent, &p->net, &p->adam, loss, 0)) return t->status;
    p->agent.updates++;
    m[0].value = -(double)gain->data[0];
    m[1].value = (double)error->data[0];
    m[2].value = drli_mean(c->batch, ratio->data) - 1 - drli_mean(c->batch, log_ratio->data);
    m[3].value = drli_mean(c->act_dim, p->log_std->data);
    return DRL_OK;
}

/* Waits until the rollout is full. */
static drl_status drli_ppo_update(drl_agent *agent, drl_replay *replay)
{
    drl_ppo *p = (drl_ppo *)agent;
    const drl_ppo_config *c = &p->cfg;
    int e, i, N = c->rollout;
    drl_status s;
    (void)replay;
    if (p->rollout.size < N) return DRL_OK;
    s = drli_ppo_targets(p);
    for (e = 0; e < c->epochs && !s; e++) {
        drl_rng_permutation(&agent->rng_batch, p->order, (uint32_t)N);
        for (i = 0; i + c->batch <= N && !s; i += c->batch)
            s = drli_ppo_step(p, p->order + i);
    }
    for (i = 0; i < N; i++)
        drli_norm_update(&p->norm, p->rollout.obs + i * c->obs_dim);
    drli_rollout_clear(&p->rollout);
    return s;
}

static drl_tensor *drli_ppo_act(drl_agent *agent, drl_mode mode, drl_tensor *obs)
{
    drl_ppo *p = (drl_ppo *)agent;
    drl_tape *t = &agent->tape;
    drl_rng *rng = mode == DRL_MODE_EXPLORE ? &agent->rng_act : NULL;
    drl_tensor *noise = drli_agent_normals(agent, rng, obs->rows, p->cfg.act_dim), *x;
    size_t n = (size_t)DRLI_MIN(obs->rows, p->cfg.rollout) * (size_t)p->cfg.act_dim;
    drli_ppo_see(p, obs->rows, obs->data, obs->data);
    x = drl_mlp_forward(t, &p->policy, obs);
    x = drl_add(t, x, drl_mul(t, noise, drl_exp(t, p->log_std)));
    if (mode == DRL_MODE_EXPLORE && !t->status)
        memcpy(p->raw, x->data, n * sizeof(float));
    return drl_clip(t, x, -1.0f, 1.0f);
}

DRLI_ALGO(ppo, DRL_PPO_CONFIG, "clipped policy gradient, on-policy (Schulman et al., 2017)",
    "policy_loss value_loss kl log_std", "cpu\n" "toy gamma=0.95 epochs=20 lr=5e-4\n", a.free_fn =
    drli_ppo_free; a.state_fn = drli_ppo_state; a.begin_fn = drli_ppo_begin; a.observe_fn =
    drli_ppo_observe)
#endif
