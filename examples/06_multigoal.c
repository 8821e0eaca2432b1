/* 06_multigoal: one start, four goals, and which of them a policy walks to         [**..] level 2

   Teaches   That a policy can have several ways to do a thing, and how to see them: many episodes
             from one state, drawn. Also: several algorithms on one task by their names.
   Build     cc -O2 examples/06_multigoal.c -I. -Iexamples -o build/06_multigoal -lm
   Output    policy    east  north  west  south  none    return
             dacer        4    17    55    24     0     -131.1
             dime        66    28     5     0     1     -326.6
             ppo         18    21    22    22    17     -611.1
             qvpo         0     0    49    51     0     -114.5
             sac         99     1     0     0     0     -117.2
             build/multigoal.svg shows the paths.

   The task (envs/pointmass.h, of DACER's paper) starts in the middle of a square; the goals east,
   north, west and south are equally far and equally good. Learning from noisy estimates of Q easily
   ends with one of them: another seed gives other numbers. Actions are those of training, with their
   noise; dime pays for its entropy with detours, and 8,000 steps are few for ppo. */
#define DIFFRL_IMPLEMENTATION
#include "baselines/baselines.h"
#include "envs/pointmass.h"
#include <stdio.h>

enum { EPISODES = 100, LONGEST = 30, STEPS = 8000 };

/* What differs from the preset toy. */
typedef struct policy {
    const char *algo, *settings[8];
} policy;
static const policy policies[] = {
    {"dacer", {"random_steps=2000", NULL}}, /* all have seen all sides before they learn */
    {"dime", {"random_steps=2000", "v_min=-800", "v_max=50", "utd=1", "target=2", NULL}},
    {"ppo", {NULL}},
    {"qvpo", {"random_steps=2000", "batch=64", "candidates=8", "uniform=2", NULL}},
    {"sac", {"random_steps=2000", NULL}},
};
enum { POLICIES = sizeof policies / sizeof *policies };

/* Walk EPISODES times; points of each path, its length, the goals reached [5]: the last is none. */
typedef struct walks {
    float x[EPISODES][LONGEST + 1][2];
    int length[EPISODES], goals[5];
    double mean;
} walks;

static drl_status walk(drl_context *ctx, drl_agent *agent, walks *w)
{
    pointmass body;
    drl_env env = pointmass_env(&body);
    drl_status s = DRL_OK;
    memset(w, 0, sizeof *w);
    for (int e = 0; e < EPISODES && s == DRL_OK; e++) {
        float act[2], reward;
        int flags = 0, n = 0;
        s = drl_env_reset(ctx, &env, (uint64_t)e, w->x[e][0]);
        while (s == DRL_OK && !flags && n < LONGEST) {
            s = drl_agent_act(agent, DRL_MODE_EXPLORE, 1, w->x[e][n], act);
            if (s == DRL_OK) s = drl_env_step(ctx, &env, act, w->x[e][++n], &reward, &flags);
            w->mean += (double)reward / EPISODES;
        }
        w->length[e] = n;
        w->goals[flags ? pointmass_goal((double)w->x[e][n][0], (double)w->x[e][n][1]) : 4]++;
    }
    return s;
}

static drl_status learn(drl_context *ctx, const policy *p, drl_algo algo, walks *w)
{
    pointmass body;
    drl_env env = pointmass_env(&body);
    void *config = calloc(1, algo.config_size);
    drl_agent *agent = (drl_agent *)calloc(1, algo.size);
    drl_trainer trainer = {0};
    drl_status s = config && agent ? DRL_OK : DRL_ERR_MEMORY;
    if (s == DRL_OK) drl_algo_default(algo, config, env.obs_dim, env.act_dim);
    if (s == DRL_OK) s = drl_algo_preset(ctx, algo, config, "toy");
    for (int i = 0; s == DRL_OK && p->settings[i]; i++) {
        char key[32];
        size_t n = strcspn(p->settings[i], "=");
        snprintf(key, sizeof key, "%.*s", (int)n, p->settings[i]);
        s = drl_fields_set(ctx, algo.fields, algo.field_count, config, key, p->settings[i] + n + 1);
    }
    if (s == DRL_OK) s = drl_agent_init(agent, ctx, algo, config);
    if (s == DRL_OK) s = drl_trainer_init(&trainer, ctx, NULL, &env, 1, agent);
    while (s == DRL_OK && trainer.steps < STEPS) s = drl_trainer_step(&trainer);
    if (s == DRL_OK) s = walk(ctx, agent, w);
    drl_trainer_free(&trainer);
    if (agent) drl_agent_free(agent);
    free(agent);
    free(config);
    return s;
}

/* A panel of 300 x 300: the square is 280 wide. */
static void draw(FILE *svg, int column, const char *name, const walks *w)
{
    fprintf(svg, "<g transform=\"translate(%d 0)\"><text x=\"22\" y=\"30\">%s</text>", 300 * column,
            name);
    for (int g = 0; g < 4; g++)
        fprintf(svg, "<circle cx=\"%d\" cy=\"%d\" r=\"20\"/>", 150 + (g == 0) * 100 - (g == 2) * 100,
                150 - (g == 1) * 100 + (g == 3) * 100);
    fprintf(svg, "<path d=\"");
    for (int e = 0; e < EPISODES; e++)
        for (int i = 0; i <= w->length[e]; i++)
            fprintf(svg, "%c%.1f %.1f", i ? 'L' : 'M', 150 + 20 * (double)w->x[e][i][0],
                    150 - 20 * (double)w->x[e][i][1]);
    fprintf(svg, "\"/><rect x=\"10\" y=\"10\" width=\"280\" height=\"280\"/></g>\n");
}

int main(void)
{
    static walks w;
    int column = 0;
    drl_context ctx;
    drl_status s = drl_context_init(&ctx, NULL);
    FILE *svg = fopen("build/multigoal.svg", "w");
    if (!svg) return fprintf(stderr, "no folder build/ here: run in the top folder\n"), 1;
    fprintf(svg, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d 300\" fill=\"none\" "
            "font-family=\"sans-serif\">\n<style>path{stroke:#246;stroke-opacity:.4}circle{stroke:"
            "#c60}rect{stroke:#246}text{fill:#246}</style>\n", 300 * POLICIES);
    printf("policy    east  north  west  south  none    return\n");
    for (int p = 0; p < POLICIES && s == DRL_OK; p++) {
        drl_algo algo = drl_algo_find(policies[p].algo);
        if (!algo.name) continue; /* left out of this build */
        s = learn(&ctx, &policies[p], algo, &w);
        if (s != DRL_OK) break;
        printf("%-9s", algo.name);
        for (int g = 0; g < 5; g++) printf("%5d ", w.goals[g]);
        printf("%10.1f\n", w.mean);
        fflush(stdout);
        draw(svg, column++, algo.name, &w);
    }
    if (s != DRL_OK) fprintf(stderr, "%s\n", drl_context_error(&ctx));
    fprintf(svg, "</svg>\n");
    fclose(svg);
    drl_context_free(&ctx);
    return s != DRL_OK;
}
