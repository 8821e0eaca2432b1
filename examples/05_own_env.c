/* 05_own_env: a task of your own in three functions; check, train, drive            [**..] level 2
   Teaches   What a task has to offer, and drl_env_check, which finds the usual mistakes before they
             cost a night of training.
   Build     cc -O2 examples/05_own_env.c -I. -Iexamples -o build/05_own_env -lm
   Output    drl_env_check: 0 findings
             step 2000: 30.6 steps to the dock (60: not reached)
             step 4000: 15.1 steps to the dock (60: not reached)
             one trip, meters left: 1.9 1.8 1.6 1.5 1.3 1.2 1.1 0.9 0.8 0.6 0.5 0.4 0.3 0.1 */
#define DIFFRL_IMPLEMENTATION
#include "diffrl.h"
#include <math.h>
#include <stdio.h>

typedef struct rover { double x, y, heading; } rover; /* the dock is at 0, 0 */

/* What the rover sees: meters to the dock, ahead and to the left. Returns the distance. */
static double rover_look(const rover *r, float *obs)
{
    obs[0] = (float)(-r->x * cos(r->heading) - r->y * sin(r->heading));
    obs[1] = (float)(r->x * sin(r->heading) - r->y * cos(r->heading));
    return sqrt(r->x * r->x + r->y * r->y);
}

static int rover_reset(void *user, uint64_t seed, float *obs)
{
    rover *r = (rover *)user;
    drl_rng rng = drl_rng_make(seed, "rover"); /* equal seeds must give equal episodes */
    r->x = 4 * (double)drl_rng_uniform(&rng) - 2;
    r->y = 4 * (double)drl_rng_uniform(&rng) - 2;
    r->heading = 6.2831853 * (double)drl_rng_uniform(&rng);
    rover_look(r, obs);
    return 0; /* not 0: the simulator is broken */
}

static int rover_step(void *user, const float *action, float *obs, float *reward, int *flags)
{
    rover *r = (rover *)user;
    r->heading += (double)action[1];
    r->x += (double)action[0] * cos(r->heading);
    r->y += (double)action[0] * sin(r->heading);
    *reward = (float)-rover_look(r, obs); /* every step costs: to arrive early is the prize */
    *flags = *reward > -0.15f ? DRL_ENV_TERMINATED : 0;
    return 0;
}

int main(void)
{
    const float low[2] = {-0.05f, -0.5f}, high[2] = {0.15f, 0.5f}; /* meters, radians per step */
    rover train_rover, test_rover;
    drl_env train = {.name = "Rover", .obs_dim = 2, .act_dim = 2, .act_low = low, .act_high = high,
                     .time_limit = 60, .reset_fn = rover_reset, .step_fn = rover_step};
    drl_env test = train;
    train.user = &train_rover, test.user = &test_rover;
    drl_context ctx;
    drl_dime dime;
    drl_trainer trainer;
    drl_evaluation result = {0};
    drl_dime_config cfg = drl_dime_config_default(train.obs_dim, train.act_dim);
    drl_trainer_config tc = drl_trainer_config_default();
    float obs[2], act[2], reward;
    int findings = 0, flags = 0;
    if (drl_context_init(&ctx, NULL) || drl_env_check(&ctx, &train, &findings) ||
        drl_dime_config_preset(&ctx, &cfg, "toy") || drl_dime_init(&dime, &ctx, &cfg) ||
        drl_trainer_init(&trainer, &ctx, &tc, &train, 1, drl_dime_agent(&dime)))
        return fprintf(stderr, "%s\n", drl_context_error(&ctx)), 1;
    printf("drl_env_check: %d findings %s\n", findings, drl_context_error(&ctx));
    while (trainer.steps < 4000 && drl_trainer_step(&trainer) == DRL_OK)
        if (trainer.steps % 2000 == 0) {
            drl_evaluate(&ctx, &trainer.agent, &test, 20, 1, &result, NULL);
            printf("step %d: %.1f steps to the dock (60: not reached)\n", (int)trainer.steps,
                   result.length);
        }
    printf("one trip, meters left:"); /* what would run on the real rover */
    for (drl_env_reset(&ctx, &test, 7, obs); !flags; printf(" %.1f", rover_look(&test_rover, obs)))
        if (drl_dime_act(&dime, DRL_MODE_EVAL, 1, obs, act) ||
            drl_env_step(&ctx, &test, act, obs, &reward, &flags)) break;
    printf("\n%s", drl_context_error(&ctx));
    int failed = ctx.status != DRL_OK || result.length > 20;
    drl_trainer_free(&trainer), drl_dime_free(&dime), drl_context_free(&ctx);
    return failed;
}
