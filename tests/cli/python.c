/* What tests/cli/python.py compares diffrl.py with: the library itself, called from C.

     python train ALGO PRESET SEED ENVS STEPS FILE [KEY=VALUE...]   a trainer on Pendulum
     python act FILE ROWS CALLS                                     actions as floats on stdout */
#define DIFFRL_IMPLEMENTATION
#include "../../examples/baselines/baselines.h"
#include "../../examples/envs/pendulum.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static drl_context ctx;

static int fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, drl_context_error(&ctx));
    return 1;
}

static int train(int argc, char **argv)
{
    drl_algo algo = drl_algo_find(argv[2]);
    drl_trainer_config tcfg = drl_trainer_config_default();
    drl_trainer trainer;
    drl_agent *agent = (drl_agent *)calloc(1, algo.size);
    void *config = calloc(1, algo.config_size);
    int i, n = atoi(argv[5]);
    int64_t steps = atoi(argv[6]);
    pendulum body[16];
    drl_env envs[16];
    if (!agent || !config || n > 16) return fail("memory");
    for (i = 0; i < n; i++) envs[i] = pendulum_env(&body[i]);
    drl_algo_default(algo, config, 3, 1);
    if (drl_algo_preset(&ctx, algo, config, argv[3])) return fail("preset");
    if (drl_fields_set(&ctx, algo.fields, algo.field_count, config, "seed", argv[4]))
        return fail("seed");
    for (i = 8; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!value) return fail("setting");
        *value++ = 0;
        if (drl_fields_set(&ctx, algo.fields, algo.field_count, config, argv[i], value))
            return fail("setting");
    }
    tcfg.seed = (uint64_t)atoi(argv[4]);
    tcfg.replay_capacity = 4000;
    if (drl_agent_init(agent, &ctx, algo, config)) return fail("agent");
    if (drl_trainer_init(&trainer, &ctx, &tcfg, envs, n, agent)) return fail("trainer");
    while (trainer.steps < steps)
        if (drl_trainer_step(&trainer)) return fail("step");
    return drl_agent_save(agent, argv[7], NULL) ? fail("save") : 0;
}

/* Observations are normals of the stream "obs" of seed 5. */
static int act(char **argv)
{
    int rows = atoi(argv[3]), calls = atoi(argv[4]), i;
    drl_rng rng = drl_rng_make(5, "obs");
    drl_file file;
    drl_algo algo;
    drl_agent *agent;
    float *obs, *a;
    if (drl_file_open(&file, &ctx, argv[2])) return fail("open");
    algo = drl_algo_find(drl_meta_get(&file.meta, "algo"));
    agent = (drl_agent *)calloc(1, algo.size);
    if (!agent || drl_agent_load(agent, &ctx, algo, argv[2])) return fail("load");
    obs = (float *)calloc((size_t)(rows * agent->obs_dim), sizeof *obs);
    a = (float *)calloc((size_t)(rows * agent->act_dim), sizeof *a);
    if (!obs || !a) return fail("memory");
    for (i = 0; i < rows * agent->obs_dim; i++) obs[i] = drl_rng_normal(&rng);
    drl_agent_begin(agent, -1, 7);
    for (i = 0; i < calls; i++) {
        if (drl_agent_act(agent, DRL_MODE_EVAL, rows, obs, a)) return fail("act");
        fwrite(a, sizeof *a, (size_t)(rows * agent->act_dim), stdout);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (drl_context_init(&ctx, NULL)) return fail("context");
    if (argc >= 8 && strcmp(argv[1], "train") == 0) return train(argc, argv);
    if (argc == 5 && strcmp(argv[1], "act") == 0) return act(argv);
    return 2;
}
