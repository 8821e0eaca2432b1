/* 04_pendulum: train a diffusion policy on a task, in fifteen lines                 [*...] level 1

   Teaches   The whole cycle: task, agent, trainer, evaluation, a policy file. Swap the task and the
             preset, and the same lines train a robot.
   Build     cc -O2 examples/04_pendulum.c -I. -Iexamples -o build/04_pendulum -lm
   Output    step  500   last episode -1277.5   evaluation -1287.2 +- 304.9
             step 1000   last episode -1554.0   evaluation -1397.6 +- 137.2
             step 1500   last episode -1358.1   evaluation  -986.2 +-  58.5
             step 2000   last episode  -593.2   evaluation  -607.4 +- 145.2
             step 2500   last episode  -129.7   evaluation  -204.4 +- 116.2
             step 3000   last episode  -125.9   evaluation  -202.0 +- 120.6
             step 3500   last episode  -118.6   evaluation  -189.7 +- 114.5
             step 4000   last episode  -120.2   evaluation  -181.1 +- 106.3
             step 4500   last episode    -2.4   evaluation  -187.7 +- 114.2
             step 5000   last episode  -116.0   evaluation  -180.4 +- 106.5
             step 5500   last episode  -243.9   evaluation  -185.4 +- 112.0
             step 6000   last episode  -130.9   evaluation  -184.2 +- 109.9
             build/04_pendulum.safetensors holds the policy; drl_agent_load makes it act again. */
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
    if (status == DRL_OK) status = drl_algo_preset(&ctx, drl_dime_algo(), &cfg, "toy");
    if (status == DRL_OK) status = drl_dime_init(&dime, &ctx, &cfg);
    if (status == DRL_OK) status = drl_trainer_init(&trainer, &ctx, &loop, &env, 1, &dime.agent);
    while (status == DRL_OK && trainer.steps < 6000) {
        status = drl_trainer_step(&trainer); /* a step in the task, then the updates it pays for */
        if (status == DRL_OK && trainer.steps % 500 == 0) {
            status = drl_evaluate(&ctx, &dime.agent, &test, 20, 1, &result, NULL);
            printf("step %4d   last episode %7.1f   evaluation %7.1f +- %5.1f\n",
                   (int)trainer.steps, trainer.last_return, result.mean, result.std);
        }
    }
    if (status == DRL_OK)
        status = drl_agent_save(&dime.agent, "build/04_pendulum.safetensors", NULL);

    if (status != DRL_OK) fprintf(stderr, "%s\n", drl_context_error(&ctx));
    drl_trainer_free(&trainer);
    drl_agent_free(&dime.agent);
    drl_context_free(&ctx);
    return status != DRL_OK || result.mean < -200;
}
