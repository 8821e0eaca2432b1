/* 05_own_env: a task of your own in three functions; check, train, drive            [**..] level 2
   Teaches   What a task has to offer, and drl_env_check, which finds the usual mistakes.
   Build     cc -O2 examples/05_own_env.c -I. -Iexamples -o build/05_own_env -lm
   Output    drl_env_check: 0 findings
             learning, steps of a trip: 60 60 60 60 52 30 60 29 22 17 15 11 11 16 21 8
             mean of 20 trips: 13.6
             meters left: 1.9 1.8 1.6 1.5 1.3 1.2 1.0 0.9 0.8 0.6 0.5 0.4 0.3 0.2 0.2 0.1 */
#define DIFFRL_IMPLEMENTATION
#include "diffrl.h"
#include <math.h>
#include <stdio.h>

typedef struct rover { float x, y, heading; } rover; /* its dock is at 0, 0 */

/* What the rover sees: meters to the dock, ahead and to the left. Returns the distance. */
static float rover_look(const rover *r, float *obs)
{
    float c = drl_cosf(r->heading), s = drl_sinf(r->heading);
    obs[0] = -c * r->x - s * r->y;
    obs[1] = s * r->x - c * r->y;
    return sqrtf(r->x * r->x + r->y * r->y);
}

static int rover_reset(void *user, uint64_t seed, float *obs)
{
    rover *r = (rover *)user;
    drl_rng rng = drl_rng_make(seed, "rover"); /* equal seeds must give equal episodes */
    r->x = 4 * drl_rng_uniform(&rng) - 2;
    r->y = 4 * drl_rng_uniform(&rng) - 2;
    r->heading = 6.2831853f * drl_rng_uniform(&rng);
    rover_look(r, obs);
    return 0; /* not 0: the simulator is broken */
}

static int rover_step(void *user, const float *action, float *obs, float *reward, int *flags)
{
    rover *r = (rover *)user;
    r->heading += action[1];
    r->x += action[0] * drl_cosf(r->heading);
    r->y += action[0] * drl_sinf(r->heading);
    *reward = -rover_look(r, obs); /* every step costs: to arrive early is the prize */
    *flags = *reward > -0.15f ? DRL_ENV_TERMINATED : 0;
    return 0;
}

int main(void)
{
    const float low[2] = {-0.05f, -0.5f}, high[2] = {0.15f, 0.5f}; /* meters, radians per step */
    rover r;
    drl_env env = {.name = "Rover", .obs_dim = 2, .act_dim = 2, .act_low = low, .act_high = high,
                   .time_limit = 60, .user = &r, .reset_fn = rover_reset, .step_fn = rover_step};
    drl_context ctx;
    drl_dime dime;
    drl_trainer trainer;
    drl_evaluation result = {0};
    drl_dime_config cfg = drl_dime_config_default(env.obs_dim, env.act_dim);
    drl_trainer_config loop = drl_trainer_config_default();
    float obs[2], act[2], reward;
    int findings = 0, flags = 0;
    if (drl_context_init(&ctx, NULL) || drl_env_check(&ctx, &env, &findings) ||
        drl_algo_preset(&ctx, drl_dime_algo(), &cfg, "toy") || drl_dime_init(&dime, &ctx, &cfg) ||
        drl_trainer_init(&trainer, &ctx, &loop, &env, 1, &dime.agent))
        return fprintf(stderr, "%s\n", drl_context_error(&ctx)), 1;
    printf("drl_env_check: %d findings %s\n", findings, drl_context_error(&ctx));
    printf("learning, steps of a trip:");
    while (trainer.steps < 4000 && drl_trainer_step(&trainer) == DRL_OK)
        if (trainer.steps % 250 == 0) printf(" %.0f", trainer.last_length);
    drl_evaluate(&ctx, &dime.agent, &env, 20, 1, &result, NULL);
    printf("\nmean of 20 trips: %.1f\nmeters left:", result.length);
    drl_env_reset(&ctx, &env, 7, obs); /* from here on: what would run on the real rover */
    for (int i = 0; i < env.time_limit && !flags; i++) {
        if (drl_agent_act(&dime.agent, DRL_MODE_EVAL, 1, obs, act) ||
            drl_env_step(&ctx, &env, act, obs, &reward, &flags)) break;
        printf(" %.1f", (double)rover_look(&r, obs));
    }
    printf("\n%s", drl_context_error(&ctx));
    int failed = ctx.status != DRL_OK || result.length > 20;
    drl_trainer_free(&trainer), drl_agent_free(&dime.agent), drl_context_free(&ctx);
    return failed;
}
