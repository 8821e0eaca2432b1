/* DIME, preset toy, learns Pendulum: seeds 1, 2, 3, 10,000 environment steps each, one thread. The
   mean return of 10 episodes must be at least -200 (random: about -1200, solved: about -150).
   `pendulum seed_1` runs one seed alone. */
#define _POSIX_C_SOURCE 200809L
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../../examples/envs/pendulum.h"
#include "../test.h"
#include <time.h>

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void learn(uint64_t seed)
{
    enum { STEPS = 10000, EVERY = 2500 };
    drl_context ctx;
    drl_dime dime;
    drl_trainer trainer;
    pendulum task[2];
    drl_env env = pendulum_env(&task[0]), test_env = pendulum_env(&task[1]);
    drl_dime_config cfg = drl_dime_config_default(env.obs_dim, env.act_dim);
    drl_trainer_config tc = drl_trainer_config_default();
    drl_evaluation result;
    double start = seconds();
    int i;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    CHECK(drl_algo_preset(&ctx, drl_dime_algo(), &cfg, "toy") == DRL_OK);
    cfg.seed = tc.seed = seed;
    tc.replay_capacity = STEPS;
    CHECK(drl_dime_init(&dime, &ctx, &cfg) == DRL_OK);
    CHECK(drl_trainer_init(&trainer, &ctx, &tc, &env, 1, &dime.agent) == DRL_OK);
    printf("  seed %d:", (int)seed);
    for (i = 1; i <= STEPS; i++) {
        CHECK(drl_trainer_step(&trainer) == DRL_OK);
        if (i % EVERY) continue;
        CHECK(drl_evaluate(&ctx, &dime.agent, &test_env, 10, 1000, &result, NULL) ==
              DRL_OK);
        printf(" %.0f", result.mean);
        fflush(stdout);
    }
    printf(" +- %.0f, alpha %.3g, %.0f s\n", result.std, dime.agent.metrics[3].value,
           seconds() - start);
    CHECK(result.mean >= -200);
    CHECK(trainer.steps == STEPS && trainer.episodes == STEPS / 200 && trainer.faults == 0);
    drl_trainer_free(&trainer);
    drl_agent_free(&dime.agent);
    drl_context_free(&ctx);
}

TEST(seed_1) { learn(1); }
TEST(seed_2) { learn(2); }
TEST(seed_3) { learn(3); }

TEST_MAIN(TEST_ENTRY(seed_1), TEST_ENTRY(seed_2), TEST_ENTRY(seed_3))
