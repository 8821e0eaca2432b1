/* For tests/cli/export.sh: makes policies and the actions that the library chooses.
     export_train DIR   writes DIR/CASE.safetensors and DIR/CASE.rows for every case below
   A file of rows: int32 rows, obs, act, noise, chunk, steps, candidates, dim; then for each row
   obs, the normals that the plan was made of (noise), act; float32. */
#define DIFFRL_IMPLEMENTATION
#include "../../examples/baselines/baselines.h"
#include "../../diffrl.h"
#include "../../examples/envs/pendulum.h"
#include <stdio.h>

enum { ROWS = 1000, SEED = 7 };

/* Trained on the pendulum, or, if obs is not 0, as initialized but for larger last layers. */
typedef struct make {
    const char *name, *algo;
    int obs, act;
    const char *sets; /* words key=value */
} make;

static const make cases[] = {
    {"dime", "dime", 0, 0, "random_steps=100"},
    {"qvpo", "qvpo", 0, 0, "random_steps=100 batch=32 candidates=4 uniform=2"},
    {"dacer", "dacer", 0, 0, "random_steps=100 batch=32 mixtures=2 samples=30"},
    {"dppo", "dppo", 0, 0, "envs=1 rollout=64 batch=64 epochs=2 actor_width=64"},
    {"sac", "sac", 0, 0, "random_steps=100 batch=32"},
    {"ppo", "ppo", 0, 0, "rollout=128 batch=32"},
    {"dime2", "dime", 17, 6, "steps=5 actor_width=45 actor_layers=2 time_frequencies=9 "
                             "critic_width=8 batch=2 prior_std=1.5"},
    {"qvpo2", "qvpo", 11, 3, "steps=20 evaluation=5 actor_width=50 critic_width=37 batch=1"},
    {"qvpo3", "qvpo", 2, 5, "steps=8 evaluation=1 actor_width=33 batch=1"},
    {"dacer2", "dacer", 24, 4, "steps=7 actor_width=41 layers=1 critic_width=8 batch=1"},
    {"dppo2", "dppo", 9, 3, "envs=2 steps=20 tuned=10 chunk=4 actor_width=70 rollout=8 batch=2 "
                            "critic_width=8"},
    {"dppo3", "dppo", 4, 2, "envs=1 steps=20 ddim_steps=5 tuned=2 chunk=3 actor_width=31 "
                            "rollout=8 batch=2 critic_width=8"},
};

static int fail(const char *name, const drl_context *ctx)
{
    fprintf(stderr, "%s: %s\n", name, drl_context_error(ctx));
    return 1;
}

/* Set the words of sets. */
static drl_status configure(drl_context *ctx, const drl_algo *algo, void *config, const char *sets)
{
    char text[256], *key, *value;
    drl_status s = DRL_OK;
    snprintf(text, sizeof(text), "%s", sets);
    for (key = strtok(text, " "); key && !s; key = strtok(NULL, " ")) {
        value = strchr(key, '=');
        *value++ = 0;
        s = drl_fields_set(ctx, algo->fields, algo->field_count, config, key, value);
    }
    return s;
}

static drl_status train(drl_context *ctx, drl_agent *agent)
{
    pendulum body;
    drl_env env = pendulum_env(&body);
    drl_trainer trainer;
    drl_status s = drl_trainer_init(&trainer, ctx, NULL, &env, 1, agent);
    while (!s && trainer.steps < 400) s = drl_trainer_step(&trainer);
    drl_trainer_free(&trainer);
    return s;
}

/* Biases and layers that begin at 0 or nearly so are given something to do. */
static void shake(drl_agent *agent)
{
    drl_rng rng = drl_rng_make(SEED, "shake");
    int i, k;
    size_t j;
    for (i = 0; i < agent->set_count; i++)
        for (k = 0; k < agent->sets[i].params->count; k++) {
            drl_tensor *x = &agent->sets[i].params->list[k];
            const char *name = agent->sets[i].params->names[k];
            int range = !strcmp(name, "obs.w") || !strcmp(name, "act.w");
            if (!agent->sets[i].acting) continue;
            for (j = 0; j < (size_t)x->rows * (size_t)x->cols; j++)
                x->data[j] = range ? drl_rng_uniform(&rng) + 0.5f
                                   : fmaf(0.1f, drl_rng_normal(&rng), x->data[j]);
        }
}

/* Write ROWS observations, noises and actions; the noise of an action that follows a plan is the
   plan's. */
static int act(drl_context *ctx, drl_agent *agent, FILE *f, const int32_t *h)
{
    drl_rng rng = drl_rng_make(SEED, "rows"), noise;
    float *obs = (float *)calloc((size_t)(h[1] + h[2] + h[3]), sizeof(float));
    float *a = obs + h[1], *z = a + h[2];
    int r, i;
    drl_status s = obs ? DRL_OK : DRL_ERR_MEMORY;
    drl_agent_begin(agent, -1, SEED);
    noise = agent->rng_eval;
    for (r = 0; r < h[0] && !s; r++) {
        float scale = r % 10 == 9 ? 100.0f : r % 10 == 8 ? 0.0f : 1.0f;
        for (i = 0; i < h[1]; i++) obs[i] = scale * drl_rng_normal(&rng);
        if (r % h[4] == 0) drl_rng_normal_fill(ctx, &noise, z, (size_t)h[3]);
        s = drl_agent_act(agent, DRL_MODE_EVAL, 1, obs, a);
        fwrite(obs, sizeof(float), (size_t)h[1], f);
        fwrite(z, sizeof(float), (size_t)h[3], f);
        fwrite(a, sizeof(float), (size_t)h[2], f);
    }
    free(obs);
    return s != DRL_OK || ferror(f) || noise.position != agent->rng_eval.position;
}

static int field(const drl_algo *algo, const void *config, const char *name, int other)
{
    int i, value = other;
    for (i = 0; i < algo->field_count; i++)
        if (!strcmp(algo->fields[i].name, name))
            memcpy(&value, (const char *)config + algo->fields[i].offset, sizeof(value));
    return value;
}

static int run(drl_context *ctx, const make *c, const char *dir)
{
    drl_algo algo = drl_algo_find(c->algo);
    void *config = calloc(1, algo.config_size);
    drl_agent *agent = (drl_agent *)calloc(1, algo.size), *loaded;
    char path[512];
    int32_t h[8] = {ROWS, 0, 0, 0, 0, 0, 0, 0};
    FILE *f;
    int bad;
    loaded = (drl_agent *)calloc(1, algo.size);
    drl_algo_default(algo, config, c->obs ? c->obs : 3, c->obs ? c->act : 1);
    if ((!c->obs && drl_algo_preset(ctx, algo, config, "toy")) ||
        configure(ctx, &algo, config, c->sets) || drl_agent_init(agent, ctx, algo, config))
        return fail(c->name, ctx);
    if (c->obs) shake(agent);
    else if (train(ctx, agent)) return fail(c->name, ctx);
    snprintf(path, sizeof(path), "%s/%s.safetensors", dir, c->name);
    if (drl_agent_save(agent, path, NULL) || drl_agent_load(loaded, ctx, algo, path))
        return fail(c->name, ctx);
    h[1] = agent->obs_dim;
    h[2] = agent->act_dim;
    h[4] = field(&algo, config, "chunk", 1);
    h[5] = field(&algo, config, "ddim_steps", 0);
    if (!h[5]) h[5] = field(&algo, config, "steps", 0);
    h[6] = field(&algo, config, "evaluation", 1);
    h[7] = h[2] * h[4];
    h[3] = h[5] ? (h[5] + 1) * h[6] * h[7] : 0;
    snprintf(path, sizeof(path), "%s/%s.rows", dir, c->name);
    f = fopen(path, "wb");
    if (!f) return 1;
    fwrite(h, sizeof(h), 1, f);
    bad = act(ctx, loaded, f, h) | fclose(f);
    drl_agent_free(agent);
    drl_agent_free(loaded);
    free(agent);
    free(loaded);
    free(config);
    return bad;
}

int main(int argc, char **argv)
{
    drl_context ctx;
    int i, bad = argc != 2 || drl_context_init(&ctx, NULL) != DRL_OK;
    for (i = 0; i < (int)(sizeof(cases) / sizeof(*cases)) && !bad; i++)
        bad = run(&ctx, &cases[i], argv[1]);
    if (!bad) drl_context_free(&ctx);
    return bad;
}
