/* 03_bandit: four equally good actions, and a policy that keeps all four            [**..] level 2

   Teaches   What a diffusion policy is for, and how to tell: which modes it keeps, what they cost,
             how much entropy is left. Also: a task of one step, a fixed temperature.
   Build     cc -O2 examples/03_bandit.c -I. -Iexamples -o build/03_bandit -lm
   Output    policy   share of the four modes         regret    entropy
             exact      24 %   26 %   26 %   24 %      0.10      -0.42
             dime       22 %   26 %   25 %   27 %      0.16       0.03
             build/bandit.svg shows the actions. Regret is max Q - mean Q; of the exact policy it is
             alpha, the price of its entropy, which is -0.38 nats.

   The reward is Q(a) = alpha ln sum_g N(a; g, 0.1^2) with modes g = (+-0.5, +-0.5). Maximum-entropy
   learning looks for the policy with the largest E[Q] + alpha H. That is exp(Q / alpha): four bells
   with a quarter of the actions each. A single Gaussian cannot be that; and a policy that climbs Q
   alone ends in one point. */
#define DIFFRL_IMPLEMENTATION
#include "diffrl.h"
#include <stdio.h>

enum { SAMPLES = 2000, STEPS = 6000, CRITIC_FIRST = 1000 };
static const float alpha = 0.1f, sigma = 0.1f, pi = 3.14159265f;

static float bandit_q(const float *a)
{
    float sum = 0;
    for (int g = 0; g < 4; g++) {
        float x = a[0] - (g % 2 ? 0.5f : -0.5f), y = a[1] - (g / 2 ? 0.5f : -0.5f);
        sum += drl_expf(-(x * x + y * y) / (2 * sigma * sigma));
    }
    return alpha * drl_logf(sum / (2 * pi * sigma * sigma));
}

/* As a task: nothing to see, one action, and it is over. */
static int bandit_reset(void *user, uint64_t seed, float *obs)
{
    (void)user, (void)seed;
    obs[0] = 0;
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

/* ------------------------------------------------- the policies: each fills act [SAMPLES, 2] */

/* exp(Q / alpha) itself: what the figures of a perfect policy look like. */
static drl_status draw_exact(drl_context *ctx, float *act)
{
    drl_rng modes = drl_rng_make(1, "modes"), noise = drl_rng_make(1, "noise");
    (void)ctx;
    for (int i = 0; i < SAMPLES; i++) {
        uint32_t g = drl_rng_integer(&modes, 4);
        act[2 * i] = (g % 2 ? 0.5f : -0.5f) + sigma * drl_rng_normal(&noise);
        act[2 * i + 1] = (g / 2 ? 0.5f : -0.5f) + sigma * drl_rng_normal(&noise);
    }
    return DRL_OK;
}

static drl_status learn_dime(drl_context *ctx, float *act)
{
    static const float low[2] = {-1, -1}, high[2] = {1, 1}, obs[SAMPLES] = {0};
    drl_env env = {.name = "bandit", .obs_dim = 1, .act_dim = 2, .act_low = low, .act_high = high,
                   .reset_fn = bandit_reset, .step_fn = bandit_step};
    drl_dime_config cfg = drl_dime_config_default(1, 2);
    drl_trainer_config loop = drl_trainer_config_default();
    drl_trainer trainer = {0};
    drl_dime dime = {0};
    drl_status s = drl_algo_preset(ctx, drl_dime_algo(), &cfg, "toy");
    cfg.gamma = 0; /* nothing comes after the one step */
    cfg.alpha = alpha;
    cfg.lr_alpha = 0; /* keep the temperature: so the best policy is known */
    cfg.v_min = -30 * alpha;
    cfg.v_max = 5 * alpha;
    cfg.steps = 16; /* the last steps' noise must be smaller than sigma */
    cfg.prior_std = 1;
    cfg.dt = 0.5f;
    cfg.actor_layers = 3;
    cfg.brn_warmup = 200;
    cfg.utd = cfg.policy_delay = 1;
    if (s == DRL_OK) s = drl_dime_init(&dime, ctx, &cfg);
    if (s == DRL_OK) s = drl_trainer_init(&trainer, ctx, &loop, &env, 1, &dime.agent);
    while (s == DRL_OK && trainer.steps < STEPS) {
        /* the critic learns first: an actor that follows a poor one drops modes, and what is never
           tried never comes back. Rates fall to 0 at the end, for sharp bells */
        int64_t step = trainer.steps - CRITIC_FIRST;
        dime.adam_actor.lr = step < 0 ? 0 : drl_lr_linear(4e-3f, 0, step, STEPS - CRITIC_FIRST);
        dime.adam_critic.lr = drl_lr_linear(3e-3f, 0, trainer.steps, STEPS);
        s = drl_trainer_step(&trainer);
    }
    if (s == DRL_OK) s = drl_agent_act(&dime.agent, DRL_MODE_EXPLORE, SAMPLES, obs, act);
    drl_trainer_free(&trainer);
    drl_agent_free(&dime.agent);
    return s;
}

/* A further algorithm is a further function above and a further line here. */
typedef struct policy {
    const char *name;
    drl_status (*actions)(drl_context *ctx, float *act);
} policy;
static const policy policies[] = {{"exact", draw_exact}, {"dime", learn_dime}};
enum { POLICIES = sizeof policies / sizeof *policies };

/* ------------------------------------------------------------------------------- the figures */

/* Entropy in nats from samples alone: where the 5th neighbor is near, the density is high.
   H = ln n - psi(5) + ln pi + mean of ln r_5^2, Kozachenko and Leonenko 1987. */
static double entropy(const float *act)
{
    double sum = 0;
    for (int i = 0; i < SAMPLES; i++) {
        float near[6] = {9, 9, 9, 9, 9, 9}; /* squared distances: itself, then five neighbors */
        for (int j = 0; j < SAMPLES; j++) {
            float x = act[2 * i] - act[2 * j], y = act[2 * i + 1] - act[2 * j + 1];
            float d = x * x + y * y;
            int k = 6;
            for (; k > 0 && near[k - 1] > d; k--)
                if (k < 6) near[k] = near[k - 1];
            if (k < 6) near[k] = d;
        }
        sum += (double)drl_logf(near[5] + 1e-20f);
    }
    return (double)drl_logf(SAMPLES * pi) - 1.506118 + sum / SAMPLES;
}

static void report(const char *name, const float *act)
{
    const float best[2] = {0.5f, 0.5f};
    double q = 0;
    int modes[4] = {0};
    for (int i = 0; i < SAMPLES; i++) {
        modes[(act[2 * i] > 0) + 2 * (act[2 * i + 1] > 0)]++;
        q += (double)bandit_q(act + 2 * i) / SAMPLES;
    }
    printf("%-8s", name);
    for (int g = 0; g < 4; g++) printf("%5.0f %%", 100.0 * modes[g] / SAMPLES);
    printf("%10.2f %10.2f\n", (double)bandit_q(best) - q, entropy(act));
}

static void svg_panel(FILE *svg, int column, const char *name, const float *act)
{
    fprintf(svg, "<g transform=\"translate(%d 0)\"><text x=\"150\" y=\"24\">%s</text>",
            300 * column, name);
    for (int g = 0; g < 4; g++) /* a circle of two sigma around each mode */
        fprintf(svg, "<circle cx=\"%d\" cy=\"%d\" r=\"26\"/>", g % 2 ? 215 : 85, g / 2 ? 85 : 215);
    fprintf(svg, "<path d=\"");
    for (int i = 0; i < SAMPLES; i++)
        fprintf(svg, "M%d %dh0", 150 + (int)(130 * act[2 * i]), 150 - (int)(130 * act[2 * i + 1]));
    fprintf(svg, "\"/></g>\n");
}

int main(void)
{
    static float act[2 * SAMPLES];
    drl_context ctx;
    drl_status s = drl_context_init(&ctx, NULL);
    FILE *svg = fopen("build/bandit.svg", "w");
    if (!svg) return fprintf(stderr, "no folder build/ here: run in the top folder\n"), 1;
    fprintf(svg, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d 300\" fill=\"none\" "
            "font-family=\"sans-serif\" text-anchor=\"middle\" stroke-linecap=\"round\">\n"
            "<style>path{stroke:#246;stroke-width:3;stroke-opacity:.7}circle{stroke:#c60}"
            "text{fill:#246}</style><rect width=\"100%%\" height=\"300\" fill=\"#fff\"/>\n",
            300 * POLICIES);
    printf("policy   share of the four modes         regret    entropy\n");
    for (int p = 0; p < POLICIES && s == DRL_OK; p++) {
        s = policies[p].actions(&ctx, act);
        if (s != DRL_OK) break;
        report(policies[p].name, act);
        svg_panel(svg, p, policies[p].name, act);
    }
    if (s != DRL_OK) fprintf(stderr, "%s\n", drl_context_error(&ctx));
    fprintf(svg, "</svg>\n");
    fclose(svg);
    drl_context_free(&ctx);
    return s != DRL_OK;
}
