/* 04_pendulum: train a diffusion policy on a task, in fifteen lines                 [*...] level 1

   Teaches   The whole cycle: task, agent, trainer, evaluation, a policy file. Swap the task and the
             preset, and the same lines train a robot.
   Build     cc -O2 examples/04_pendulum.c -I. -Iexamples -o build/04_pendulum -lm
   Output    @OUTPUT@ */
#define DIFFRL_IMPLEMENTATION
#include "diffrl.h"
#include "envs/pendulum.h"
#include <stdio.h>

int main(void)
{
    pendulum body, test_body; /* evaluation swings a pendulum of its own */
    drl_env env = pendulum_env(&body), test = pendulum_env(&test_body);
    drl_context ctx;
    drl_dime dime = {0};
    drl_trainer trainer = {0};
    drl_evaluation result = {0};
    drl_dime_config cfg = drl_dime_config_default(env.obs_dim, env.act_dim);
    drl_trainer_config loop = drl_trainer_config_default();

    /* the fifteen lines; a random policy gets about -1200, one that swings up and holds -150 */
    drl_status status = drl_context_init(&ctx, NULL);
    if (status == DRL_OK) status = drl_dime_config_preset(&ctx, &cfg, "toy");
    if (status == DRL_OK) status = drl_dime_init(&dime, &ctx, &cfg);
    drl_agent agent = drl_dime_agent(&dime);
    if (status == DRL_OK) status = drl_trainer_init(&trainer, &ctx, &loop, &env, 1, agent);
    while (status == DRL_OK && trainer.steps < 6000) {
        status = drl_trainer_step(&trainer); /* a step in the task, then the updates it pays for */
        if (status == DRL_OK && trainer.steps % 500 == 0) {
            status = drl_evaluate(&ctx, &agent, &test, 20, 1, &result, NULL);
            printf("step %4d   last episode %7.1f   evaluation %7.1f +- %5.1f\n",
                   (int)trainer.steps, trainer.last_return, result.mean, result.std);
        }
    }
    if (status == DRL_OK) status = drl_dime_save(&dime, "build/04_pendulum.safetensors", NULL);

    if (status != DRL_OK) fprintf(stderr, "%s\n", drl_context_error(&ctx));
    drl_trainer_free(&trainer);
    drl_dime_free(&dime);
    drl_context_free(&ctx);
    return status != DRL_OK || result.mean < -200;
}
