/* 07_finetune: clone a poor controller from its data, then make it better           [***.] level 3
   Teaches   The two halves of DPPO: pre-training on data, fine-tuning in the task; several
             environments; how the same agent serves both.
   Build     cc -O2 examples/07_finetune.c -I. -Iexamples -o build/07_finetune -lm
   Output    data           return  -302.8
             clone          return  -399.1 +- 271.5
             step  16000    return  -270.5 +- 180.5
             step  96000    return  -206.2 +- 133.4                        (and others in between) */
#define DIFFRL_IMPLEMENTATION
#include "diffrl.h"
#include "envs/pendulum.h"
#include <stdio.h>

enum { ENVS = 8, EPISODES = 100, ROWS = 200 * EPISODES };
static float obs[3 * ROWS], act[ROWS];
static uint8_t ends[ROWS];

/* Torque in -1 .. 1: pump energy; near the top push back, too weakly; both with a shaking hand. */
static float controller(const float *o, drl_rng *rng)
{
    float energy = 10 * (o[0] - 1) + o[2] * o[2] / 3, u;
    if (o[0] > 0.9f) u = -3 * o[1] - 0.3f * o[2];
    else u = o[2] * energy < 0 ? 0.5f : -0.5f;
    return u + 0.3f * drl_rng_normal(rng);
}

/* Fill obs, act, ends; returns the mean return. */
static double record(drl_context *ctx)
{
    pendulum body;
    drl_env env = pendulum_env(&body);
    drl_rng rng = drl_rng_make(1, "controller");
    double sum = 0;
    float next[3], reward;
    for (int i = 0, flags; i < ROWS; i++) {
        float *o = obs + 3 * i;
        if (i % 200 == 0) drl_env_reset(ctx, &env, (uint64_t)i, o);
        act[i] = controller(o, &rng);
        act[i] = act[i] < -1 ? -1 : act[i] > 1 ? 1 : act[i];
        drl_env_step(ctx, &env, act + i, next, &reward, &flags);
        sum += (double)reward;
        ends[i] = i % 200 == 199;
        for (int k = 0; k < 3 && !ends[i]; k++) o[3 + k] = next[k];
    }
    return sum / EPISODES;
}

int main(void)
{
    pendulum bodies[ENVS + 1];
    drl_env envs[ENVS + 1];
    drl_context ctx;
    drl_dppo dppo = {0};
    drl_trainer trainer = {0};
    drl_evaluation result = {0};
    drl_dppo_config cfg = drl_dppo_config_default(3, 1);
    drl_status s = drl_context_init(&ctx, NULL);
    for (int i = 0; i <= ENVS; i++) envs[i] = pendulum_env(&bodies[i]);
    if (s == DRL_OK) s = drl_algo_preset(&ctx, drl_dppo_algo(), &cfg, "toy");
    cfg.bc_epochs = 60, cfg.ema_first = 30;
    if (s == DRL_OK) s = drl_dppo_init(&dppo, &ctx, &cfg);
    printf("data           return %7.1f\n", record(&ctx));
    while (dppo.epoch < cfg.bc_epochs && s == DRL_OK)
        s = drl_dppo_pretrain(&dppo, ROWS, obs, act, ends);
    if (s == DRL_OK) s = drl_evaluate(&ctx, &dppo.agent, &envs[ENVS], 20, 1, &result, NULL);
    printf("clone          return %7.1f +- %5.1f\n", result.mean, result.std);
    if (s == DRL_OK) s = drl_trainer_init(&trainer, &ctx, NULL, envs, ENVS, &dppo.agent);
    while (s == DRL_OK && trainer.steps < 96000) {
        s = drl_trainer_step(&trainer);
        if (s != DRL_OK || trainer.steps % 16000) continue;
        s = drl_evaluate(&ctx, &dppo.agent, &envs[ENVS], 20, 1, &result, NULL);
        printf("step %6d    return %7.1f +- %5.1f\n", (int)trainer.steps, result.mean, result.std);
    }
    if (s != DRL_OK) fprintf(stderr, "%s\n", drl_context_error(&ctx));
    drl_trainer_free(&trainer);
    drl_agent_free(&dppo.agent);
    drl_context_free(&ctx);
    return s != DRL_OK || result.mean < -250;
}
