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

static void start(run *r, drl_algo algo, int threads, int64_t capacity, int envs)
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
    for (i = 0; i < envs; i++) {
        r->env[i] = pendulum_env(&r->task[i]);
        r->env[i].time_limit = 13;
    }
    tc.replay_capacity = capacity;
    tc.n_step = 2;
    r->agent = (drl_agent *)calloc(1, algo.size);
    CHECK(drl_agent_init(r->agent, &r->ctx, algo, config) == DRL_OK);
    CHECK(drl_trainer_init(&r->trainer, &r->ctx, &tc, r->env, envs, r->agent) == DRL_OK);
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
        start(&whole, algo, 1, capacity, 3);
        step(&whole, a);
        middle = save(&whole, 1, &size);
        step(&whole, n - a);
        want = save(&whole, 1, &want_size);
        start(&part, algo, 2, capacity, 3);
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

/* What loading takes beside the file, which is a copy here: 1 MiB. */
static void little_memory(drl_algo algo)
{
    run r;
    unsigned char *bytes;
    size_t size, before;
    start(&r, algo, 1, 5000, 3);
    step(&r, 1500);
    bytes = save(&r, 1, &size);
    before = r.ctx.bytes;
    r.ctx.bytes_peak = before;
    CHECK(load(&r, bytes, size) == DRL_OK);
    CHECK(r.ctx.bytes == before && r.ctx.bytes_peak <= before + size + (1 << 20));
    end(&r);
    free(bytes);
}
TEST(loading_takes_little_memory) { all_algorithms(little_memory); }

/* Without the replay all else is the same, and training goes on. */
TEST(without_the_replay)
{
    run a, b;
    unsigned char *bytes;
    size_t size;
    start(&a, drl_dime_algo(), 1, 1000, 3);
    start(&b, drl_dime_algo(), 1, 1000, 3);
    step(&a, 40);
    bytes = save(&a, 0, &size);
    CHECK(load(&b, bytes, size) == DRL_OK);
    CHECK(b.trainer.replay.size == 0 && b.trainer.steps == 120 && b.agent->updates > 0);
    CHECK(memcmp(a.trainer.obs, b.trainer.obs, 9 * sizeof(float)) == 0);
    step(&b, 10);
    CHECK(b.trainer.replay.size == 30);
    end(&a);
    end(&b);
    free(bytes);
}

/* Load b's file into a, which refuses it with the text and stays as it is. */
static void refuses(run *a, run *b, drl_status status, const char *text)
{
    size_t before_size, size, after_size;
    unsigned char *before = save(a, 1, &before_size), *bytes = save(b, 1, &size), *after;
    CHECK(load(a, bytes, size) == status);
    CHECK_TEXT(drl_context_error(&a->ctx), text);
    after = save(a, 1, &after_size);
    CHECK(after_size == before_size && memcmp(after, before, before_size) == 0);
    step(a, 1);
    free(before), free(bytes), free(after);
    end(b);
}

TEST(what_is_refused)
{
    run a, b;
    start(&a, drl_dime_algo(), 1, 500, 3);
    step(&a, 20);
    start(&b, drl_dacer_algo(), 1, 500, 3);
    refuses(&a, &b, DRL_ERR_NAME, "but the file has none of that name");
    start(&b, drl_dime_algo(), 1, 500, 2);
    refuses(&a, &b, DRL_ERR_SHAPE, "tensor env.episode: expected I64 [3], got I64 [2]");
    start(&b, drl_dime_algo(), 1, 500, 3);
    b.trainer.steps = -1;
    refuses(&a, &b, DRL_ERR_FORMAT, "trainer.counts: expected 0 .. ");
    start(&b, drl_dime_algo(), 1, 1000, 3);
    step(&b, 300);
    refuses(&a, &b, DRL_ERR_FORMAT, "replay.size: expected 0 .. 500, got 900");
    start(&b, drl_dime_algo(), 1, 500, 3);
    b.trainer.obs[4] = (float)NAN;
    refuses(&a, &b, DRL_ERR_NAN, "tensor env.obs: the number at index 4 is not finite");
    start(&b, drl_dime_algo(), 1, 500, 3);
    step(&b, 30);
    b.trainer.replay.next[7] = 90;
    refuses(&a, &b, DRL_ERR_FORMAT, "replay.next: expected -1 .. 89, got 90");
    end(&a);
}

/* A file's positions in plans and rollouts of DPPO reach no foreign memory. */
TEST(hostile_plans)
{
    run a, b;
    unsigned char *bytes;
    size_t size;
    drl_dppo *d;
    int i, value;
    for (value = -2; value < 3; value++) {
        start(&a, drl_dppo_algo(), 1, 500, 3);
        start(&b, drl_dppo_algo(), 1, 500, 3);
        step(&a, 20);
        d = (drl_dppo *)a.agent;
        for (i = 0; i < 2 * d->cfg.envs; i++)
            d->plans[i * d->stride] = value < 0 ? -0.3f : value > 1 ? 1e30f : 1.5f * (float)value;
        if (value == -2)
            for (i = 0; i < 2 * d->cfg.envs; i++) d->plans[i * d->stride] = -1e9f;
        bytes = save(&a, 1, &size);
        CHECK(load(&b, bytes, size) == DRL_OK);
        step(&b, 40);
        free(bytes);
        end(&a);
        end(&b);
    }
    start(&a, drl_dppo_algo(), 1, 500, 3);
    start(&b, drl_dppo_algo(), 1, 500, 3);
    step(&b, 9);
    ((drl_dppo *)b.agent)->rollout.head = 99;
    refuses(&a, &b, DRL_ERR_FORMAT, "rollout.head: expected ");
    end(&a);
}

static int broken;
static int fails(const void *user, void *state, size_t size)
{
    (void)user, (void)state, (void)size;
    return broken;
}
static int fails_too(void *user, const void *state, size_t size)
{
    (void)user, (void)state, (void)size;
    return broken;
}

/* An environment without the functions begins an episode; a function that fails is told. */
TEST(environments)
{
    run a, b;
    unsigned char *bytes;
    size_t size;
    drl_state state;
    start(&a, drl_qvpo_algo(), 1, 500, 1);
    step(&a, 18);
    CHECK(a.trainer.length[0] == 5);
    drl_trainer_free(&a.trainer);
    a.env[0].save_fn = NULL;
    CHECK(drl_trainer_init(&a.trainer, &a.ctx, NULL, a.env, 1, a.agent) == DRL_OK);
    step(&a, 5);
    bytes = save(&a, 1, &size);
    CHECK(load(&a, bytes, size) == DRL_OK);
    CHECK(a.trainer.length[0] == 0 && a.trainer.episode[0] == 2 && a.trainer.replay.size == 5);
    free(bytes);
    start(&b, drl_qvpo_algo(), 1, 500, 1);
    b.env[0].save_fn = fails;
    b.env[0].load_fn = fails_too;
    bytes = save(&b, 1, &size);
    broken = 7;
    drl_state_init(&state, &b.ctx);
    drl_trainer_state(&b.trainer, &state, 1);
    CHECK(state.status == DRL_ERR_ENV);
    CHECK_TEXT(drl_context_error(&b.ctx), "failed with code 7");
    drl_state_free(&state);
    CHECK(load(&b, bytes, size) == DRL_ERR_ENV);
    broken = 0;
    free(bytes);
    end(&a);
    end(&b);
}

/* Files of format version 1 load for ever. They were written by
     train --task Pendulum --preset toy --envs 2 --steps 90 --eval-episodes 0 --set actor_width=8
       --set critic_width=8 --set actor_layers=1 --set time_frequencies=4 --set atoms=5
       --set steps=2 --set batch=8 --set random_steps=40 */
#define V1 "tests/golden/checkpoint_v1.safetensors"

TEST(checkpoint_of_version_1)
{
    drl_algo algo = drl_dime_algo();
    drl_dime_config config = drl_dime_config_default(3, 1);
    drl_trainer_config tc = drl_trainer_config_default();
    drl_file file;
    run r;
    int i;
    memset(&r, 0, sizeof r);
    CHECK(drl_context_init(&r.ctx, NULL) == DRL_OK);
    CHECK(drl_file_open(&file, &r.ctx, V1) == DRL_OK);
    CHECK_TEXT(drl_meta_get(&file.meta, "version"), "1");
    for (i = 0; i < algo.field_count; i++) {
        char key[40] = "config.";
        strcat(key, algo.fields[i].name);
        if (drl_meta_get(&file.meta, key))
            CHECK(set(&r, algo, &config, algo.fields[i].name, drl_meta_get(&file.meta, key)) ==
                  DRL_OK);
    }
    for (i = 0; i < 2; i++) r.env[i] = pendulum_env(&r.task[i]);
    tc.replay_capacity = 90;
    r.agent = (drl_agent *)calloc(1, algo.size);
    CHECK(drl_agent_init(r.agent, &r.ctx, algo, &config) == DRL_OK);
    CHECK(drl_trainer_init(&r.trainer, &r.ctx, &tc, r.env, 2, r.agent) == DRL_OK);
    CHECK(drl_trainer_load(&r.trainer, &file) == DRL_OK);
    drl_file_close(&file);
    CHECK(r.trainer.steps == 90 && r.trainer.replay.size == 90 && r.agent->updates == 100);
    CHECK(r.trainer.length[0] == 45 && r.trainer.length[1] == 45);
    CHECK_NEAR(r.trainer.ret[1], -292.13615083694458, 1e-9);
    CHECK_NEAR(((drl_dime *)r.agent)->rho->data[0], -2.25026798, 1e-7);
    step(&r, 30);
    CHECK(r.trainer.steps == 150);
    end(&r);
}

TEST(policy_of_version_1)
{
    static const float obs[3] = {0.6f, -0.8f, 1.5f};
    drl_context ctx;
    drl_dime dime;
    float act;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    CHECK(drl_agent_load(&dime.agent, &ctx, drl_dime_algo(), "tests/golden/policy_v1.safetensors")
          == DRL_OK);
    drl_agent_begin(&dime.agent, -1, 1);
    CHECK(drl_agent_act(&dime.agent, DRL_MODE_EVAL, 1, obs, &act) == DRL_OK);
    CHECK_NEAR(act, -0.989822268, 1e-5);
    drl_agent_free(&dime.agent);
    drl_context_free(&ctx);
}

TEST_MAIN(TEST_ENTRY(resume_gives_the_same_bits), TEST_ENTRY(loading_takes_little_memory),
          TEST_ENTRY(without_the_replay), TEST_ENTRY(what_is_refused), TEST_ENTRY(hostile_plans),
          TEST_ENTRY(environments), TEST_ENTRY(checkpoint_of_version_1),
          TEST_ENTRY(policy_of_version_1))
