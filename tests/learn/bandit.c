/* DIME on a bandit with four equally good actions, Q = alpha ln sum_g N(a; g, .1^2), g = (+-.5,
   +-.5), as an environment of one step; seeds 1, 2, 3. The policy that maximizes E[Q] + alpha H is
   the four bells themselves: a quarter of the actions at each, 98.9 % of them within .3 of one (1 -
   e^-4.5). The temperature starts at 10, where the bells are still one hill, and falls until the
   path costs what it would with the bells themselves: their entropy is ln 4 + ln(2 pi e .01) =
   -0.381, that of x_0 2.838, so R = 3.219, 1.61 for each dimension.
   Fixed beforehand: of 1000 actions each bell has at least 10 % within .3, and all four 80 %. Random
   actions put 7 % at each, a Gaussian (squashed or not) at most 9 % at each of the four, and a
   policy that only climbs Q leaves three bells empty. */
#define _POSIX_C_SOURCE 200809L
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"
#include <time.h>

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Nearest bell of an action, and how far it is. */
static int nearest(const float *a, double *distance)
{
    double x = fabs((double)a[0]) - .5, y = fabs((double)a[1]) - .5;
    *distance = sqrt(x * x + y * y);
    return (a[0] > 0) + 2 * (a[1] > 0);
}

static int bandit_reset(void *user, uint64_t seed, float *obs)
{
    (void)user;
    (void)seed;
    obs[0] = 0;
    return 0;
}

static int bandit_step(void *user, const float *action, float *obs, float *reward, int *flags)
{
    double density = 0;
    int g;
    (void)user;
    for (g = 0; g < 4; g++) {
        double x = (double)action[0] - (g % 2 ? .5 : -.5);
        double y = (double)action[1] - (g / 2 ? .5 : -.5);
        density += exp(-(x * x + y * y) / (2 * .01)) / (6.283185307 * .01);
    }
    *reward = (float)log(density);
    *flags = DRL_ENV_TERMINATED;
    obs[0] = 0;
    return 0;
}

static void learn(uint64_t seed)
{
    enum { STEPS = 6000, SAMPLES = 1000 };
    static const float low[2] = {-1, -1}, high[2] = {1, 1};
    static float obs[SAMPLES], act[2 * SAMPLES];
    drl_context ctx;
    drl_dime dime;
    drl_trainer trainer;
    drl_env env;
    drl_dime_config cfg = drl_dime_config_default(1, 2);
    drl_trainer_config tc = drl_trainer_config_default();
    double start = seconds(), distance;
    int i, share[4] = {0}, near = 0;
    memset(&env, 0, sizeof(env));
    env.name = "Bandit";
    env.obs_dim = 1;
    env.act_dim = 2;
    env.act_low = low;
    env.act_high = high;
    env.reset_fn = bandit_reset;
    env.step_fn = bandit_step;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    CHECK(drl_algo_preset(&ctx, drl_dime_algo(), &cfg, "toy") == DRL_OK);
    cfg.seed = tc.seed = seed;
    cfg.v_min = -30; /* Q is within -25 .. 2.8 */
    cfg.v_max = 10;
    cfg.steps = 16;
    cfg.prior_std = 1;
    cfg.dt = .3f;
    cfg.brn_warmup = 500;
    cfg.lr_actor = 3e-3f;
    cfg.lr_critic = 2e-3f;
    cfg.alpha = 10; /* falls to where the policy is as sharp as the bells, about 1 */
    cfg.lr_alpha = 1e-3f;
    cfg.target = 1.61f;
    tc.replay_capacity = STEPS;
    CHECK(drl_dime_init(&dime, &ctx, &cfg) == DRL_OK);
    CHECK(drl_trainer_init(&trainer, &ctx, &tc, &env, 1, &dime.agent) == DRL_OK);
    for (i = 0; i < STEPS; i++) CHECK(drl_trainer_step(&trainer) == DRL_OK);
    CHECK(drl_agent_act(&dime.agent, DRL_MODE_EVAL, SAMPLES, obs, act) == DRL_OK);
    for (i = 0; i < SAMPLES; i++) {
        int g = nearest(act + 2 * i, &distance);
        if (distance < .3) share[g]++, near++;
    }
    printf("  seed %d: %d %d %d %d of 1000, %d near a bell, alpha %.2f, %.0f s\n", (int)seed,
           share[0], share[1], share[2], share[3], near, dime.agent.metrics[3].value,
           seconds() - start);
    for (i = 0; i < 4; i++) CHECK(share[i] >= SAMPLES / 10);
    CHECK(near >= SAMPLES * 8 / 10);
    drl_trainer_free(&trainer);
    drl_agent_free(&dime.agent);
    drl_context_free(&ctx);
}

TEST(seed_1) { learn(1); }
TEST(seed_2) { learn(2); }
TEST(seed_3) { learn(3); }

TEST_MAIN(TEST_ENTRY(seed_1), TEST_ENTRY(seed_2), TEST_ENTRY(seed_3))
