/* 04_pendulum */
#define DIFFRL_IMPLEMENTATION
#include "diffrl.h"
#include "envs/pendulum.h"
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    int steps = argc > 1 ? atoi(argv[1]) : 10000;
    drl_context ctx;
    pendulum sim, eval_sim;
    drl_env env = pendulum_env(&sim), eval_env = pendulum_env(&eval_sim);
    drl_dime_config cfg = drl_dime_config_default(env.obs_dim, env.act_dim);
    drl_dime dime;
    drl_trainer trainer;
    drl_trainer_config tc = drl_trainer_config_default();
    drl_evaluation e;
    drl_agent agent;
    tc.replay_capacity = steps;
    if (drl_context_init(&ctx, NULL) || drl_dime_config_preset(&ctx, &cfg, "toy")) return 1;
    cfg.seed = tc.seed = argc > 2 ? (uint64_t)atoi(argv[2]) : 1;
    for (int i = 3; i + 1 < argc; i += 2) {
        int n; const drl_field *f = drl_dime_fields(&n);
        if (drl_fields_set(&ctx, f, n, &cfg, argv[i], argv[i + 1])) return puts(drl_context_error(&ctx)), 1;
    }
    if (drl_dime_init(&dime, &ctx, &cfg)) return 1;
    agent = drl_dime_agent(&dime);
    if (drl_trainer_init(&trainer, &ctx, &tc, &env, 1, agent)) return 1;
    for (int i = 1; i <= steps; i++) {
        if (drl_trainer_step(&trainer)) return puts(drl_context_error(&ctx)), 1;
        if (i % 500 == 0) {
            drl_evaluate(&ctx, &agent, &eval_env, 10, 1000, &e, NULL);
            printf("%5d  eval %8.1f +- %6.1f  [%7.1f %7.1f]  ", i, e.mean, e.std, e.min, e.max);
            for (int k = 0; k < 8; k++) printf(" %s %.3g", dime.metrics[k].name, dime.metrics[k].value);
            puts("");
        }
    }
}
