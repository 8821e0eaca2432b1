/* 03_bandit: four good actions, and which of them each algorithm keeps              [**..] level 2

   Teaches   What a diffusion policy is for, and how to tell: which modes it keeps, what they cost,
             how much entropy is left. Also: any algorithm by its name, a task of one step.
   Build     cc -O2 examples/03_bandit.c -I. -Iexamples -o build/03_bandit -lm
   Output    equal    share of the four modes        regret    entropy
             exact      24 %   26 %   26 %   24 %      0.10      -0.42
             dacer       0 %    0 %    0 %  100 %      0.29      -0.71
             dime       22 %   26 %   25 %   27 %      0.16       0.03
             dppo        3 %   11 %   66 %   21 %      0.11      -0.79
             ppo        36 %    0 %   64 %    0 %      0.46      -0.88
             qvpo        0 %    0 %  100 %    0 %      0.00      -8.22
             sac        48 %    0 %   52 %    0 %      0.41      -0.40
             uneven   share of the four modes        regret    entropy
             exact      20 %   22 %   22 %   36 %      0.14      -0.45
             dacer       0 %    0 %    0 %  100 %      0.29      -0.70
             dime       22 %   22 %   22 %   33 %      0.21       0.11
             dppo        0 %    0 %    0 %  100 %      0.11      -1.75
             ppo         0 %    0 %    0 %  100 %      0.08      -2.14
             qvpo        0 %    0 %    0 %  100 %      0.00      -8.03
             sac         0 %    0 %   34 %   66 %      0.44      -0.27
             build/bandit.svg shows the actions, above with equal modes. Regret is max Q - mean Q;
             for equal modes alpha with the exact policy, the price of its entropy, -0.38 nats.

   The reward is Q(a) = alpha ln sum_g w_g N(a; g, 0.1^2) with modes g = (+-0.5, +-0.5), first of
   equal weights, then one of them 20 % better. Maximum-entropy learning (dime) looks for the policy
   with the largest E[Q] + alpha H: exp(Q / alpha), four bells with the shares w_g. Others climb Q
   (dacer), imitate the best action they find (qvpo) or make good actions likelier (dppo, ppo, which
   learn from each step but once and get ten times as many). A single Gaussian can keep only one
   mode; sac's covers two because of the entropy it is paid for. dacer's gradient is local: it finds
   the best mode if the critic has seen all of them first and is smooth (reward_scale: with 10 it
   ended on another mode with two of four seeds, with 1 on the best with all of 1 to 10). */
#define DIFFRL_IMPLEMENTATION
#include "baselines/baselines.h"
#include <stdio.h>

enum { SAMPLES = 2000, STEPS = 6000, ON_POLICY_STEPS = 60000, CRITIC_FIRST = 1000 };
static const float alpha = 0.1f, sigma = 0.1f, pi = 3.14159265f;

/* Weights of the modes; ln 1.74 makes Q 20 % larger at the last. */
static const float equal[4] = {1, 1, 1, 1}, uneven[4] = {1, 1, 1, 1.74f};

static float bandit_q(const float *w, const float *a)
{
    float sum = 0;
    for (int g = 0; g < 4; g++) {
        float x = a[0] - (g % 2 ? 0.5f : -0.5f), y = a[1] - (g / 2 ? 0.5f : -0.5f);
        sum += w[g] * drl_expf(-(x * x + y * y) / (2 * sigma * sigma));
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
    obs[0] = 0;
    *reward = bandit_q((const float *)user, action);
    *flags = DRL_ENV_TERMINATED;
    return 0;
}

/* ------------------------------------------------- the policies: each fills act [SAMPLES, 2] */

/* exp(Q / alpha) itself: what the figures of a perfect policy look like. */
static void draw_exact(const float *w, float *act)
{
    drl_rng modes = drl_rng_make(1, "modes"), noise = drl_rng_make(1, "noise");
    float sum = w[0] + w[1] + w[2] + w[3];
    for (int i = 0; i < SAMPLES; i++) {
        float u = sum * drl_rng_uniform(&modes);
        int g = 0;
        while (g < 3 && u >= w[g]) u -= w[g++];
        act[2 * i] = (g % 2 ? 0.5f : -0.5f) + sigma * drl_rng_normal(&noise);
        act[2 * i + 1] = (g / 2 ? 0.5f : -0.5f) + sigma * drl_rng_normal(&noise);
    }
}

/* What differs from preset toy. For dime: a fixed temperature, so that the best policy is known,
   and steps whose last noise is below sigma. */
typedef struct policy {
    const char *algo, *settings[16];
} policy;
static const policy policies[] = {
    {"dacer", {"gamma=0", "reward_scale=1", "random_steps=2000", NULL}}, /* all modes seen first */
    {"dime",
     {"gamma=0", "alpha=0.1", "lr_alpha=0", "v_min=-3", "v_max=0.5", "steps=16", "prior_std=1",
      "dt=0.5", "actor_layers=3", "brn_warmup=200", "utd=1", "policy_delay=1", NULL}},
    {"dppo", {"gamma=0", "envs=2000", "rollout=2000", NULL}}, /* envs: rows that act at once */
    {"ppo", {"gamma=0", NULL}},
    {"qvpo", {"gamma=0", NULL}},
    {"sac", {"gamma=0", "alpha=0.1", "target=-0.2", NULL}},
};
enum { POLICIES = sizeof policies / sizeof *policies };

/* The critic learns first: an actor that follows a poor one drops modes, and what is never tried
   never comes back. Rates fall to 0 at the end, for sharp bells. */
static void dime_rates(drl_dime *dime, int64_t step)
{
    int64_t since = step - CRITIC_FIRST;
    dime->adam_actor.lr = since < 0 ? 0 : drl_lr_linear(4e-3f, 0, since, STEPS - CRITIC_FIRST);
    dime->adam_critic.lr = drl_lr_linear(3e-3f, 0, step, STEPS);
}

static drl_status learn(drl_context *ctx, const policy *p, const float *w, float *act)
{
    static const float low[2] = {-1, -1}, high[2] = {1, 1}, obs[SAMPLES] = {0};
    static union {
        drl_agent agent;
        drl_dime dime;
        char room[1 << 16]; /* for any algorithm */
    } a;
    static char config[1024];
    drl_env env = {.name = "bandit", .obs_dim = 1, .act_dim = 2, .act_low = low, .act_high = high,
                   .reset_fn = bandit_reset, .step_fn = bandit_step, .user = (void *)(size_t)w};
    drl_algo algo = drl_algo_find(p->algo);
    drl_trainer trainer = {0};
    drl_status s;
    char key[32];
    drl_algo_default(algo, config, 1, 2);
    s = drl_algo_preset(ctx, algo, config, "toy");
    for (int i = 0; p->settings[i] && s == DRL_OK; i++) {
        size_t n = strcspn(p->settings[i], "=");
        snprintf(key, sizeof key, "%.*s", (int)n, p->settings[i]);
        s = drl_fields_set(ctx, algo.fields, algo.field_count, config, key, p->settings[i] + n + 1);
    }
    if (s == DRL_OK) s = drl_agent_init(&a.agent, ctx, algo, config);
    if (s == DRL_OK) s = drl_trainer_init(&trainer, ctx, NULL, &env, 1, &a.agent);
    while (s == DRL_OK && trainer.steps < (algo.observe_fn ? ON_POLICY_STEPS : STEPS)) {
        if (strcmp(p->algo, "dime") == 0) dime_rates(&a.dime, trainer.steps);
        s = drl_trainer_step(&trainer);
    }
    if (s == DRL_OK) s = drl_agent_act(&a.agent, DRL_MODE_EXPLORE, SAMPLES, obs, act);
    drl_trainer_free(&trainer);
    drl_agent_free(&a.agent);
    return s;
}

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

static void report(const char *name, const float *w, const float *act)
{
    const float best[2] = {0.5f, 0.5f};
    double q = 0;
    int modes[4] = {0};
    for (int i = 0; i < SAMPLES; i++) {
        modes[(act[2 * i] > 0) + 2 * (act[2 * i + 1] > 0)]++;
        q += (double)bandit_q(w, act + 2 * i) / SAMPLES;
    }
    printf("%-8s", name);
    for (int g = 0; g < 4; g++) printf("%5.0f %%", 100.0 * modes[g] / SAMPLES);
    printf("%10.2f %10.2f\n", (double)bandit_q(w, best) - q, entropy(act));
    fflush(stdout);
}

static void svg_panel(FILE *svg, int column, int row, const char *name, const float *act)
{
    fprintf(svg, "<g transform=\"translate(%d %d)\"><text x=\"150\" y=\"24\">%s</text>",
            300 * column, 300 * row, name);
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
    fprintf(svg, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d 600\" fill=\"none\" "
            "font-family=\"sans-serif\" text-anchor=\"middle\" stroke-linecap=\"round\">\n"
            "<style>path{stroke:#246;stroke-width:3;stroke-opacity:.7}circle{stroke:#c60}"
            "text{fill:#246}</style><rect width=\"100%%\" height=\"600\" fill=\"#fff\"/>\n",
            300 * (POLICIES + 1));
    for (int row = 0; row < 2 && s == DRL_OK; row++) {
        const float *w = row ? uneven : equal;
        printf("%s   share of the four modes        regret    entropy\n",
               row ? "uneven" : "equal ");
        draw_exact(w, act);
        report("exact", w, act);
        svg_panel(svg, 0, row, "exact", act);
        for (int p = 0; p < POLICIES && s == DRL_OK; p++) {
            s = learn(&ctx, &policies[p], w, act);
            if (s != DRL_OK) break;
            report(policies[p].algo, w, act);
            svg_panel(svg, p + 1, row, policies[p].algo, act);
        }
    }
    if (s != DRL_OK) fprintf(stderr, "%s\n", drl_context_error(&ctx));
    fprintf(svg, "</svg>\n");
    fclose(svg);
    drl_context_free(&ctx);
    return s != DRL_OK;
}
