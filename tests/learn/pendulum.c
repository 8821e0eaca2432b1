/* Algorithms learn Pendulum with their preset toy: 10,000 environment steps each (PPO, which learns
   from each step but once, 150,000), one thread. The mean return of 10 episodes must be at least
   -200 (random: about -1200, solved: about -150). `pendulum dime_seed_1` runs one alone. */
#define _POSIX_C_SOURCE 200809L
#define DIFFRL_IMPLEMENTATION
#include "../../examples/baselines/baselines.h"
#include "../../examples/envs/pendulum.h"
#include "../test.h"
#include <time.h>

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void learn_steps(const char *name, uint64_t seed, int steps)
{
    drl_context ctx;
    drl_trainer trainer;
    pendulum task[2];
    drl_env env = pendulum_env(&task[0]), test_env = pendulum_env(&task[1]);
    drl_algo algo = drl_algo_find(name);
    drl_agent *agent = (drl_agent *)calloc(1, algo.size);
    void *cfg = calloc(1, algo.config_size);
    char text[8];
    drl_trainer_config tc = drl_trainer_config_default();
    drl_evaluation result;
    double start = seconds();
    int i;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    drl_algo_default(algo, cfg, env.obs_dim, env.act_dim);
    CHECK(drl_algo_preset(&ctx, algo, cfg, "toy") == DRL_OK);
    snprintf(text, sizeof(text), "%d", (int)seed);
    CHECK(drl_fields_set(&ctx, algo.fields, algo.field_count, cfg, "seed", text) == DRL_OK);
    tc.seed = seed;
    tc.replay_capacity = steps;
    CHECK(drl_agent_init(agent, &ctx, algo, cfg) == DRL_OK);
    CHECK(drl_trainer_init(&trainer, &ctx, &tc, &env, 1, agent) == DRL_OK);
    printf("  %s, seed %d:", name, (int)seed);
    for (i = 1; i <= steps; i++) {
        CHECK(drl_trainer_step(&trainer) == DRL_OK);
        if (i % (steps / 4)) continue;
        CHECK(drl_evaluate(&ctx, agent, &test_env, 10, 1000, &result, NULL) == DRL_OK);
        printf(" %.0f", result.mean);
        fflush(stdout);
    }
    printf(" +- %.0f, %.0f s\n", result.std, seconds() - start);
    CHECK(result.mean >= -200);
    CHECK(trainer.steps == steps && trainer.episodes == steps / 200 && trainer.faults == 0);
    drl_trainer_free(&trainer);
    drl_agent_free(agent);
    drl_context_free(&ctx);
    free(agent);
    free(cfg);
}

static void learn(const char *name, uint64_t seed) { learn_steps(name, seed, 10000); }

TEST(dime_seed_1) { learn("dime", 1); }
TEST(dime_seed_2) { learn("dime", 2); }
TEST(dime_seed_3) { learn("dime", 3); }
TEST(ppo_seed_1) { learn_steps("ppo", 1, 150000); }
TEST(ppo_seed_2) { learn_steps("ppo", 2, 150000); }
TEST(ppo_seed_3) { learn_steps("ppo", 3, 150000); }
TEST(sac_seed_1) { learn("sac", 1); }
TEST(sac_seed_2) { learn("sac", 2); }
TEST(sac_seed_3) { learn("sac", 3); }
TEST(dacer_seed_1) { learn("dacer", 1); }
TEST(dacer_seed_2) { learn("dacer", 2); }
TEST(dacer_seed_3) { learn("dacer", 3); }

TEST_MAIN(TEST_ENTRY(ppo_seed_1), TEST_ENTRY(ppo_seed_2), TEST_ENTRY(ppo_seed_3),
          TEST_ENTRY(sac_seed_1), TEST_ENTRY(sac_seed_2), TEST_ENTRY(sac_seed_3),
          TEST_ENTRY(dime_seed_1), TEST_ENTRY(dime_seed_2), TEST_ENTRY(dime_seed_3),
          TEST_ENTRY(dacer_seed_1), TEST_ENTRY(dacer_seed_2), TEST_ENTRY(dacer_seed_3))
