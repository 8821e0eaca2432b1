/* 03_bandit: four equally good actions; a policy worth its name keeps all four      [**..] level 2

   Teaches   What a diffusion policy is for. An environment of one step, training at a fixed
             temperature, and four figures that tell what a policy does.
   Build     cc -O2 examples/03_bandit.c -I. -Iexamples -o build/03_bandit -lm
   Output    .

   The reward is Q(a) = alpha ln sum_g N(a; g, 0.1^2) with g = (+-0.5, +-0.5). The policy that
   maximizes E[Q] + alpha H is exp(Q / alpha): the four bells themselves, a quarter of the actions in
   each. A Gaussian policy cannot have four modes; one that only climbs Q ends in a single one. */
#define DIFFRL_IMPLEMENTATION
#include "diffrl.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 2000, STEPS = 3000 };
static const float alpha = 1.0f, sigma = 0.1f;

static int opt_steps = STEPS, opt_n; static char **opt;
/* ---------------------------------------------------------------------------- the task: one step */

static float bandit_q(const float *a)
{
    float density = 0;
    for (int g = 0; g < 4; g++) {
        float x = a[0] - (g % 2 ? 0.5f : -0.5f), y = a[1] - (g / 2 ? 0.5f : -0.5f);
        density += expf(-(x * x + y * y) / (2 * sigma * sigma));
    }
    return alpha * logf(density / (6.2831853f * sigma * sigma));
}

static int bandit_reset(void *user, uint64_t seed, float *obs)
{
    (void)user, (void)seed;
    obs[0] = 0; /* nothing to see */
    return 0;
}

static int bandit_step(void *user, const float *action, float *obs, float *reward, int *flags)
{
    (void)user;
    obs[0] = 0;
    *reward = bandit_q(action);
    *flags = DRL_ENV_TERMINATED;
    return 0;
}

static drl_env bandit_env(void)
{
    static const float low[2] = {-1, -1}, high[2] = {1, 1};
    drl_env env = {0};
    env.name = "bandit";
    env.obs_dim = 1;
    env.act_dim = 2;
    env.act_low = low;
    env.act_high = high;
    env.reset_fn = bandit_reset;
    env.step_fn = bandit_step;
    return env;
}

static drl_status learn(drl_context *ctx, drl_agent agent, float *act)
{
    static const float obs[SAMPLES];
    drl_env env = bandit_env();
    drl_trainer_config cfg = drl_trainer_config_default();
    drl_trainer trainer;
    cfg.replay_capacity = opt_steps;
    drl_status s = drl_trainer_init(&trainer, ctx, &cfg, &env, 1, agent);
    if (s) return s;
    while (s == DRL_OK && trainer.steps < opt_steps) {s = drl_trainer_step(&trainer);
    if (trainer.steps % 500 == 0) { int n; const drl_metric *m = agent.metrics_fn(agent.self, &n); for (int k = 0; k < 8; k++) printf(" %s %.3g", m[k].name, m[k].value);
            puts("");}
    }
    if (s == DRL_OK) s = agent.act_fn(agent.self, DRL_MODE_EXPLORE, SAMPLES, obs, act);
    drl_trainer_free(&trainer);
    return s;
}

static drl_status learn_dime(drl_context *ctx, float *act)
{
    drl_dime_config cfg = drl_dime_config_default(1, 2);
    drl_dime dime;
    drl_status s = drl_dime_config_preset(ctx, &cfg, "toy");
    cfg.gamma = 0;
    cfg.alpha = alpha;
    cfg.lr_alpha = 0;
    cfg.v_min = -30 * alpha;
    cfg.v_max = 5 * alpha;
    for (int i = 0; i + 1 < opt_n; i += 2) {
        int n; const drl_field *f = drl_dime_fields(&n);
        if (drl_fields_set(ctx, f, n, &cfg, opt[i], opt[i + 1])) return ctx->status;
    }
    if (s == DRL_OK) s = drl_dime_init(&dime, ctx, &cfg);
    if (s != DRL_OK) return s;
    s = learn(ctx, drl_dime_agent(&dime), act);
    drl_dime_free(&dime);
    return s;
}

static drl_status learn_exact(drl_context *ctx, float *act)
{
    drl_rng rng = drl_rng_make(1, "exact");
    (void)ctx;
    for (int i = 0; i < SAMPLES; i++) {
        uint32_t g = drl_rng_integer(&rng, 4);
        act[2 * i] = (g % 2 ? 0.5f : -0.5f) + sigma * drl_rng_normal(&rng);
        act[2 * i + 1] = (g / 2 ? 0.5f : -0.5f) + sigma * drl_rng_normal(&rng);
    }
    return DRL_OK;
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* kozachenko leonenko, k = 5 */
static double entropy(const float *act)
{
    static float d[SAMPLES];
    double sum = 0, psi_n = log(SAMPLES) - 0.5 / SAMPLES, psi_k = 1.50611767;
    for (int i = 0; i < SAMPLES; i++) {
        for (int j = 0; j < SAMPLES; j++) {
            float x = act[2 * i] - act[2 * j], y = act[2 * i + 1] - act[2 * j + 1];
            d[j] = x * x + y * y;
        }
        qsort(d, SAMPLES, sizeof *d, ascending);
        sum += log((double)d[5]);
    }
    return psi_n - psi_k + log(3.14159265) + sum / SAMPLES;
}

static void report(const char *name, const float *act)
{
    double n[4] = {0}, q = 0, v = 0; int off = 0;
    const double best = (double)bandit_q((const float[2]){0.5f, 0.5f});
    for (int i = 0; i < SAMPLES; i++) {
        const float *a = act + 2 * i;
        int g = (a[0] > 0) + 2 * (a[1] > 0);
        float x = fabsf(a[0]) - 0.5f, y = fabsf(a[1]) - 0.5f;
        n[g]++;
        q += (double)bandit_q(a);
        if (x * x + y * y > .3f * .3f) off++; else v += (double)(x * x + y * y);
    }
    printf("%-8s %5.1f %5.1f %5.1f %5.1f  regret %.3f entropy %.3f  std %.3f off %.1f\n", name, 100 * n[0] / SAMPLES,
           100 * n[1] / SAMPLES, 100 * n[2] / SAMPLES, 100 * n[3] / SAMPLES, best - q / SAMPLES, entropy(act), sqrt(v / (SAMPLES - off) / 2), 100. * off / SAMPLES);
}

int main(int argc, char **argv)
{
    static float act[2 * SAMPLES];
    drl_context ctx;
    if (argc > 1) opt_steps = atoi(argv[1]), opt_n = argc - 2, opt = argv + 2;
    if (drl_context_init(&ctx, NULL)) return 1;
    if (learn_exact(&ctx, act) == DRL_OK) report("exact", act);
    if (learn_dime(&ctx, act) == DRL_OK) report("dime", act);
    else puts(drl_context_error(&ctx));
    drl_context_free(&ctx);
    return 0;
}
