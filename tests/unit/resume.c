/* Tests that training goes on from a file as if there had been no break, for every algorithm, and
   what is refused. Whole runs in processes of their own: tests/cli/resume.sh. */
#define DIFFRL_IMPLEMENTATION
#include "../../examples/baselines/baselines.h"
#include "../../examples/envs/pendulum.h"
#include "../test.h"

/* A training that takes no time. */
typedef struct run {
    drl_context ctx;
    pendulum task[4];
    drl_env env[4];
    drl_agent *agent;
    drl_trainer trainer;
} run;

/* Settings that make any algorithm small; each takes those that it has. */
static const char *const small[][2] = {
    {"actor_width", "12"}, {"critic_width", "12"}, {"width", "12"}, {"actor_layers", "1"},
    {"layers", "1"}, {"atoms", "7"}, {"steps", "3"}, {"tuned", "2"}, {"time_frequencies", "4"},
    {"batch", "8"}, {"random_steps", "21"}, {"update_every", "2"}, {"policy_delay", "2"},
    {"alpha_delay", "3"}, {"samples", "6"}, {"mixtures", "3"}, {"candidates", "3"},
    {"uniform", "2"}, {"envs", "3"}, {"chunk", "3"}, {"rollout", "17"}, {"epochs", "2"},
    {"brn_warmup", "9"}};

static drl_status set(run *r, drl_algo algo, void *config, const char *key, const char *value)
{
    return drl_fields_set(&r->ctx, algo.fields, algo.field_count, config, key, value);
}

static void start(run *r, drl_algo algo, int threads, int64_t capacity, const char *key,
                  const char *value)
{
    drl_context_config cc = drl_context_config_default();
    drl_trainer_config tc = drl_trainer_config_default();
    void *config = calloc(1, algo.config_size);
    int i;
    memset(r, 0, sizeof *r);
    cc.threads = threads;
    CHECK(drl_context_init(&r->ctx, &cc) == DRL_OK);
    drl_algo_default(algo, config, 3, 1);
    for (i = 0; i < (int)(sizeof small / sizeof small[0]); i++)
        set(r, algo, config, small[i][0], small[i][1]);
    if (key) CHECK(set(r, algo, config, key, value) == DRL_OK);
    for (i = 0; i < 3; i++) {
        r->env[i] = pendulum_env(&r->task[i]);
        r->env[i].time_limit = 13;
    }
    tc.replay_capacity = capacity;
    tc.n_step = 2;
    r->agent = (drl_agent *)calloc(1, algo.size);
    CHECK(drl_agent_init(r->agent, &r->ctx, algo, config) == DRL_OK);
    CHECK(drl_trainer_init(&r->trainer, &r->ctx, &tc, r->env, 3, r->agent) == DRL_OK);
    free(config);
}

static void step(run *r, int n)
{
    while (n-- > 0) CHECK(drl_trainer_step(&r->trainer) == DRL_OK);
}

static void end(run *r)
{
    drl_trainer_free(&r->trainer);
    drl_agent_free(r->agent);
    free(r->agent);
    drl_context_free(&r->ctx);
}

/* All of it as a file in memory, to be freed. */
static unsigned char *save(run *r, int replay, size_t *size)
{
    unsigned char *bytes;
    drl_state state;
    drl_state_init(&state, &r->ctx);
    drl_trainer_state(&r->trainer, &state, replay);
    CHECK(drl_state_save_memory(&r->ctx, &state, NULL, NULL, 0, size) == DRL_OK);
    bytes = (unsigned char *)malloc(*size);
    CHECK(drl_state_save_memory(&r->ctx, &state, NULL, bytes, *size, size) == DRL_OK);
    drl_state_free(&state);
    return bytes;
}

static drl_status load(run *r, const unsigned char *bytes, size_t size)
{
    drl_file file;
    drl_status s = drl_file_open_memory(&file, &r->ctx, bytes, size);
    if (s == DRL_OK) s = drl_trainer_load(&r->trainer, &file);
    drl_file_close(&file);
    return s;
}

static void all_algorithms(void (*fn)(drl_algo algo))
{
    int i;
    for (i = 0; drl_algo_at(i).name; i++) {
        int faults = test_faults;
        fn(drl_algo_at(i));
        if (test_faults > faults) printf("  ^ %s\n", drl_algo_at(i).name);
    }
}

/* a + b steps at once against a, file, b: the same file at the end. The replay of 40 is full. */
static void same_bits(drl_algo algo)
{
    static drl_rng rng;
    run whole, part;
    unsigned char *middle, *want, *got;
    size_t size, want_size, got_size;
    int round;
    if (!rng.stream) rng = drl_rng_make(1, "where to break off");
    for (round = 0; round < 6; round++) {
        int64_t capacity = round % 2 ? 40 : 1000;
        int n = 60, a = (int)drl_rng_integer(&rng, 60);
        start(&whole, algo, 1, capacity, NULL, NULL);
        step(&whole, a);
        middle = save(&whole, 1, &size);
        step(&whole, n - a);
        want = save(&whole, 1, &want_size);
        start(&part, algo, 2, capacity, NULL, NULL);
        step(&part, 7 * round); /* all that it did is replaced */
        CHECK(load(&part, middle, size) == DRL_OK);
        step(&part, n - a);
        got = save(&part, 1, &got_size);
        CHECK(got_size == want_size && memcmp(got, want, got_size) == 0);
        end(&whole);
        end(&part);
        free(middle), free(want), free(got);
    }
}
TEST(resume_gives_the_same_bits) { all_algorithms(same_bits); }

TEST_MAIN(TEST_ENTRY(resume_gives_the_same_bits))
