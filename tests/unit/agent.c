/* Environments and the training loop: drl_env_check against tasks with one fault each, faults in
   training, what is stored, evaluation. */
#define DIFFRL_IMPLEMENTATION
#include "../../examples/baselines/baselines.h"
#include "../../examples/envs/pendulum.h"
#include "../../examples/envs/pointmass.h"
#include "../test.h"

/* ---- a small task, and ways to break it ---- */

enum fault {
    GOOD, RESET_NAN, OBS_NAN, OBS_INF, REWARD_NAN, REWARD_INF, STEP_FAILS, RESET_FAILS, UNSEEDED,
    SEED_IGNORED, ACTION_IGNORED, NEVER_ENDS, ODD_FLAGS, OBS_UNWRITTEN, REWARD_UNWRITTEN,
    OBS_OVERRUN
};

/* A point on a line: x += a, obs = {x, t, first x}, reward = -x^2; terminates after `end` steps. */
typedef struct toy {
    enum fault fault;
    int at;  /* the step of an episode at which the fault shows (from 1) */
    int end; /* steps of an episode, 0: none */
    int t, calls, resets;
    double x, start;
} toy;

static void toy_observe(const toy *p, float *obs)
{
    obs[0] = (float)p->x;
    obs[1] = (float)p->t;
    obs[2] = (float)p->start;
}

static int toy_reset(void *user, uint64_t seed, float *obs)
{
    toy *p = (toy *)user;
    drl_rng rng = drl_rng_make(p->fault == SEED_IGNORED ? 0 : seed, "toy");
    p->resets++;
    p->t = 0;
    p->x = p->start = (double)drl_rng_normal(&rng);
    if (p->fault == UNSEEDED) p->x += p->resets;
    toy_observe(p, obs);
    if (p->fault == RESET_NAN) obs[1] = (float)NAN;
    return p->fault == RESET_FAILS ? 3 : 0;
}

static int toy_step(void *user, const float *action, float *obs, float *reward, int *flags)
{
    toy *p = (toy *)user;
    int now = ++p->t == p->at;
    float old = obs[2];
    p->calls++;
    if (p->fault != ACTION_IGNORED) p->x += (double)action[0];
    *flags = p->end && p->t >= p->end ? DRL_ENV_TERMINATED : 0;
    toy_observe(p, obs);
    if (p->fault == OBS_UNWRITTEN) obs[2] = old;
    if (p->fault != REWARD_UNWRITTEN) *reward = (float)-(p->x * p->x);
    if (p->fault == OBS_OVERRUN) obs[3] = 0;
    if (p->fault == ODD_FLAGS && now) *flags = 8;
    if (p->fault == OBS_NAN && now) obs[2] = (float)NAN;
    if (p->fault == OBS_INF && now) obs[0] = -HUGE_VALF;
    if (p->fault == REWARD_NAN && now) *reward = (float)NAN;
    if (p->fault == REWARD_INF && now) *reward = HUGE_VALF;
    return p->fault == STEP_FAILS && now ? 7 : 0;
}

static drl_env toy_env(toy *p, enum fault fault, int at)
{
    static const float low[1] = {-1}, high[1] = {3};
    drl_env e;
    memset(p, 0, sizeof(*p));
    p->fault = fault;
    p->at = at;
    p->end = 20;
    memset(&e, 0, sizeof(e));
    e.name = "Toy";
    e.obs_dim = 3;
    e.act_dim = 1;
    e.act_low = low;
    e.act_high = high;
    e.time_limit = 50;
    e.user = p;
    e.reset_fn = toy_reset;
    e.step_fn = toy_step;
    return e;
}

/* ---- drl_env_check ---- */

typedef struct log_lines {
    int count, errors;
    char text[16][320];
} log_lines;

static void keep_line(void *user, drl_log_level level, drl_status status, const char *text)
{
    log_lines *l = (log_lines *)user;
    (void)status;
    if (l->count < 16) {
        size_t n = strlen(text);
        memcpy(l->text[l->count], text, n < 320 ? n + 1 : 319);
    }
    l->count++;
    l->errors += level == DRL_LOG_ERROR;
}

/* Check env: `status` and the first finding's words; faults 0 means that it must be silent. */
static void check(const drl_env *env, drl_status status, int faults, const char *words)
{
    drl_context_config cfg = drl_context_config_default();
    drl_context ctx;
    static log_lines lines;
    int found = -1;
    memset(&lines, 0, sizeof(lines));
    cfg.log_fn = keep_line;
    cfg.log_user = &lines;
    CHECK(drl_context_init(&ctx, &cfg) == DRL_OK);
    CHECK(drl_env_check(&ctx, env, &found) == status);
    if (found != faults || (!faults && lines.count))
        printf("  \"%s\": %d findings, log: %s\n", words, found, lines.text[0]), test_faults++;
    if (faults) {
        CHECK_TEXT(drl_context_error(&ctx), words);
        CHECK(lines.count >= faults);
    }
    CHECK(drl_env_check(&ctx, env, NULL) == status);
    drl_context_free(&ctx);
}

TEST(check_finds_no_fault_in_good_tasks)
{
    pendulum a;
    pointmass b;
    toy c;
    drl_env pendulum_task = pendulum_env(&a), pointmass_task = pointmass_env(&b);
    drl_env toy_task = toy_env(&c, GOOD, 0);
    check(&pendulum_task, DRL_OK, 0, "pendulum");
    check(&pointmass_task, DRL_OK, 0, "pointmass");
    check(&toy_task, DRL_OK, 0, "toy");
    c.end = 0;
    check(&toy_task, DRL_OK, 0, "toy without end, with a limit");
    toy_task.time_limit = 0;
    c.end = 20;
    check(&toy_task, DRL_OK, 0, "toy with an end, without limit");
}

TEST(check_finds_wrong_fields)
{
    static const float low[2] = {-1, 2}, high[2] = {1, 2}, inf[1] = {HUGE_VALF};
    toy p;
    drl_env e = toy_env(&p, GOOD, 0), good = e;
    e.name = NULL;
    check(&e, DRL_ERR_ENV, 1, "name is NULL");
    e = good, e.obs_dim = 0;
    check(&e, DRL_ERR_ENV, 1, "got 0 and 1");
    e = good, e.act_dim = 257;
    e.act_low = NULL;
    check(&e, DRL_ERR_ENV, 2, "act_dim 1 .. 256, got 3 and 257");
    e = good, e.step_fn = NULL;
    check(&e, DRL_ERR_ENV, 1, "reset_fn and step_fn must be set");
    e = good, e.act_high = NULL;
    check(&e, DRL_ERR_ENV, 1, "act_low and act_high must point to");
    e = good, e.act_dim = 2, e.act_low = low, e.act_high = high;
    check(&e, DRL_ERR_ENV, 1, "action bound 1: expected finite low < high, got [2, 2]");
    e = good, e.act_high = inf;
    check(&e, DRL_ERR_ENV, 1, "action bound 0: expected finite low < high, got [-1, inf]");
    e = good, e.time_limit = -5;
    check(&e, DRL_ERR_ENV, 1, "time_limit -5 is negative");
    e = good, e.save_fn = pendulum_save;
    check(&e, DRL_OK, 1, "set all three or none");
    CHECK(p.calls == 4 * 20 * 2); /* the wrong ones were not played */
}

TEST(check_finds_wrong_behavior)
{
    static const struct {
        enum fault fault;
        drl_status status;
        const char *words;
    } cases[] = {
        {RESET_NAN, DRL_ERR_ENV, "Toy, reset: obs[1] is nan"},
        {OBS_NAN, DRL_ERR_ENV, "Toy, step 12: obs[2] is nan; expected finite values"},
        {OBS_INF, DRL_ERR_ENV, "Toy, step 12: obs[0] is -inf"},
        {REWARD_NAN, DRL_ERR_ENV, "Toy, step 12: reward is nan"},
        {REWARD_INF, DRL_ERR_ENV, "Toy, step 12: reward is inf"},
        {STEP_FAILS, DRL_ERR_ENV, "Toy, step 12: failed with code 7"},
        {RESET_FAILS, DRL_ERR_ENV, "Toy, reset: failed with code 3"},
        {UNSEEDED, DRL_OK, "same seed and actions differ; draw all randomness from the seed"},
        {SEED_IGNORED, DRL_OK, "seeds 1 and 2 give the same episode; is the seed used?"},
        {ACTION_IGNORED, DRL_OK, "actions change nothing; does step use them?"},
        {NEVER_ENDS, DRL_OK, "no end within 300 steps and no time_limit; set one"},
        {OBS_UNWRITTEN, DRL_ERR_ENV,
         "Toy, step 1: obs[2] is nan; expected finite values; look for a division by zero, an "
         "element that is not written"},
        {REWARD_UNWRITTEN, DRL_ERR_ENV, "Toy, step 1: reward is nan"},
        {OBS_OVERRUN, DRL_ERR_ENV, "Toy: writes obs[3], but obs_dim is 3"},
    };
    toy p;
    drl_env e;
    int i;
    for (i = 0; i < DRLI_COUNT(cases); i++) {
        e = toy_env(&p, cases[i].fault, 12);
        if (cases[i].fault == NEVER_ENDS) e.time_limit = p.end = 0;
        check(&e, cases[i].status, 1, cases[i].words);
    }
    e = toy_env(&p, ODD_FLAGS, 12);
    /* in each of the four episodes */
    check(&e, DRL_OK, 4, "Toy: step returned flags 8; expected DRL_ENV_TERMINATED");
}

/* ---- an agent that acts by a rule and counts ---- */

typedef struct stub_config {
    int obs_dim, act_dim;
    uint64_t seed;
    int random_steps, update_every;
} stub_config;

typedef struct stub {
    drl_agent agent;
    stub_config cfg;
    float action; /* added to obs[0] / 8 */
    int acts, rows, updates, nan_after, begins;
    drl_mode mode;
    int64_t replay_size;
} stub;

static drl_status stub_init(drl_agent *agent) { return drli_agent_commit(agent); }

static drl_tensor *stub_act(drl_agent *agent, drl_mode mode, drl_tensor *obs)
{
    stub *p = (stub *)agent;
    drl_tensor *act = drl_tape_input(&agent->tape, obs->rows, 1, NULL);
    int r;
    p->acts++;
    p->rows = obs->rows;
    p->mode = mode;
    for (r = 0; r < obs->rows; r++) {
        act->data[r] = p->action - tanhf(obs->data[3 * r] / 8);
        if (p->nan_after && p->acts > p->nan_after) act->data[r] = (float)NAN;
    }
    return act;
}

static drl_status stub_update(drl_agent *agent, drl_replay *replay)
{
    stub *p = (stub *)agent;
    p->updates++;
    p->replay_size = replay->size;
    return DRL_OK;
}

static void stub_begin(drl_agent *agent, int env)
{
    (void)env;
    ((stub *)agent)->begins++;
}

static const drl_field stub_fields[] = {
    DRL_FIELD(stub_config, obs_dim, INT, 1, 1, 100, "observation size"),
    DRL_FIELD(stub_config, act_dim, INT, 1, 1, 100, "action size"),
    DRL_FIELD(stub_config, seed, UINT64, 1, 0, 0, "seed"),
    DRL_FIELD(stub_config, random_steps, INT, 0, 0, 1000, "uniform actions"),
    DRL_FIELD(stub_config, update_every, INT, 1, 1, 1000, "steps per update"),
};

static drl_algo stub_algo(void)
{
    drl_algo a;
    memset(&a, 0, sizeof(a));
    a.name = "stub";
    a.presets = "lazy update_every=7 random_steps=3\nbad update_every=0\n";
    a.metrics = "";
    a.fields = stub_fields;
    a.field_count = sizeof(stub_fields) / sizeof(*stub_fields);
    a.size = sizeof(stub);
    a.config_offset = offsetof(stub, cfg);
    a.config_size = sizeof(stub_config);
    a.init_fn = stub_init;
    a.act_fn = stub_act;
    a.update_fn = stub_update;
    a.begin_fn = stub_begin;
    return a;
}

static drl_agent *stub_agent(stub *p, drl_context *ctx)
{
    stub_config c;
    drl_algo_default(stub_algo(), &c, 3, 1);
    CHECK(drl_agent_init(&p->agent, ctx, stub_algo(), &c) == DRL_OK);
    return &p->agent;
}

/* ---- algorithms ---- */

TEST(presets_change_defaults)
{
    drl_context ctx;
    stub_config c;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    drl_algo_default(stub_algo(), &c, 3, 2);
    CHECK(c.obs_dim == 3 && c.act_dim == 2 && c.seed == 1 && c.update_every == 1);
    c.seed = UINT64_MAX;
    c.random_steps = 9;
    CHECK(drl_algo_preset(&ctx, stub_algo(), &c, "lazy") == DRL_OK);
    CHECK(c.obs_dim == 3 && c.act_dim == 2 && c.seed == UINT64_MAX);
    CHECK(c.random_steps == 3 && c.update_every == 7);
    CHECK(drl_algo_preset(&ctx, stub_algo(), &c, "laz") == DRL_ERR_NAME);
    CHECK_TEXT(drl_context_error(&ctx), "stub has no preset 'laz'; there are paper, lazy, bad");
    CHECK(drl_algo_preset(&ctx, stub_algo(), &c, "bad") == DRL_ERR_RANGE);
    CHECK(drl_algo_preset(&ctx, stub_algo(), &c, "paper") == DRL_OK);
    CHECK(c.random_steps == 0 && c.update_every == 1 && c.seed == UINT64_MAX);
    drl_context_free(&ctx);
}

TEST(algorithms_are_found_by_name)
{
    int i;
    for (i = 0; drl_algo_at(i).name; i++) {
        drl_algo a = drl_algo_at(i), b = drl_algo_find(a.name);
        CHECK(b.name && strcmp(a.name, b.name) == 0 && b.size == a.size);
    }
    CHECK(i > 0 && !drl_algo_find("nothing").name && !drl_algo_at(i + 1).name);
}

/* ---- training ---- */

TEST(step_rescales_and_reports)
{
    drl_context ctx;
    toy p;
    drl_env e = toy_env(&p, GOOD, 0);
    float obs[3], reward, action[1] = {.5f};
    double x;
    int flags;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    CHECK(drl_env_reset(&ctx, &e, 1, obs) == DRL_OK);
    x = p.x;
    CHECK(drl_env_step(&ctx, &e, action, obs, &reward, &flags) == DRL_OK);
    CHECK_NEAR(p.x - x, 2, 1e-6); /* .5 in [-1, 1] is 2 in [-1, 3] */
    action[0] = 1.5f;
    CHECK(drl_env_step(&ctx, &e, action, obs, &reward, &flags) == DRL_OK);
    CHECK_NEAR(p.x - x, 5, 1e-6); /* cut at 3 */
    action[0] = -1;
    CHECK(drl_env_step(&ctx, &e, action, obs, &reward, &flags) == DRL_OK);
    CHECK_NEAR(p.x - x, 4, 1e-6);
    action[0] = (float)NAN;
    CHECK(drl_env_step(&ctx, &e, action, obs, &reward, &flags) == DRL_ERR_RANGE);
    CHECK_TEXT(drl_context_error(&ctx), "Toy, step: action[0] is nan; expected -1 .. 1; the agent");
    action[0] = 0;
    e = toy_env(&p, REWARD_NAN, 1);
    CHECK(drl_env_step(&ctx, &e, action, obs, &reward, &flags) == DRL_ERR_NAN);
    CHECK_TEXT(drl_context_error(&ctx), "Toy, step: reward is nan");
    e = toy_env(&p, RESET_NAN, 1);
    CHECK(drl_env_reset(&ctx, &e, 1, obs) == DRL_ERR_NAN);
    CHECK_TEXT(drl_context_error(&ctx), "Toy, reset: obs[1] is nan");
    drl_context_free(&ctx);
}

/* Two environments, the second fails at step 4 of each episode. */
static void failing(enum fault fault, drl_status want, const char *words)
{
    drl_context ctx;
    drl_trainer t;
    drl_trainer_config c = drl_trainer_config_default();
    toy p[2];
    stub s;
    drl_env envs[2];
    drl_agent *agent;
    int i, wrong = 0;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    agent = stub_agent(&s, &ctx);
    envs[0] = toy_env(&p[0], GOOD, 0);
    envs[1] = toy_env(&p[1], fault, 4);
    p[0].end = 0;
    c.replay_capacity = 1000;
    c.n_step = 2;
    CHECK(drl_trainer_init(&t, &ctx, &c, envs, 2, agent) == DRL_OK);
    for (i = 0; i < 14; i++) CHECK(drl_trainer_step(&t) == DRL_OK);
    /* 14 + 14 steps; of the second environment 4, 8 and 12 failed */
    CHECK(t.steps == 28 && t.faults == 3 && t.replay.size == 25 && s.updates == 28);
    CHECK(p[1].resets == 4 && p[0].resets == 1 && t.episodes == 0);
    CHECK(t.length[0] == 14 && t.length[1] == 2);
    CHECK_TEXT(drl_context_error(&ctx), words);
    CHECK(ctx.status == want);
    /* obs[1] is the time, obs[2] the episode: each transition leads from t to t + 1, and what
       follows on it in the replay is of the same episode */
    for (i = 0; i < t.replay.size; i++) {
        const float *now = t.replay.obs + 3 * i, *next = t.replay.next_obs + 3 * i;
        int follows = t.replay.next[i];
        wrong += next[1] != now[1] + 1 || next[2] != now[2];
        if (follows < 0) continue;
        wrong += memcmp(next, t.replay.obs + 3 * follows, 3 * sizeof(float)) != 0;
    }
    CHECK(wrong == 0);
    drl_trainer_free(&t);
    drl_agent_free(&s.agent);
    drl_context_free(&ctx);
}

TEST(failed_steps_are_dropped_and_named)
{
    failing(STEP_FAILS, DRL_ERR_ENV, "Toy, environment 1, step 4: failed with code 7");
    failing(OBS_NAN, DRL_ERR_NAN, "Toy, environment 1, step 4: obs[2] is nan");
    failing(OBS_INF, DRL_ERR_NAN, "Toy, environment 1, step 4: obs[0] is -inf");
    failing(REWARD_NAN, DRL_ERR_NAN, "Toy, environment 1, step 4: reward is nan");
}

TEST(a_task_that_always_fails_ends_training)
{
    drl_context ctx;
    drl_trainer t;
    drl_trainer_config c = drl_trainer_config_default();
    toy p;
    stub s;
    drl_env env = toy_env(&p, STEP_FAILS, 1);
    drl_status status = DRL_OK;
    int steps = 0;
    c.replay_capacity = 10;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    CHECK(drl_trainer_init(&t, &ctx, &c, &env, 1, stub_agent(&s, &ctx)) == DRL_OK);
    while (status == DRL_OK && steps < 2000) {
        status = drl_trainer_step(&t);
        steps++;
    }
    CHECK(status == DRL_ERR_ENV && steps == 1001 && t.replay.size == 0);
    CHECK_TEXT(drl_context_error(&ctx), "Toy: more than 1000 steps failed");
    drl_trainer_free(&t);
    drl_agent_free(&s.agent);
    /* a reset that fails ends it at once, with the environment's number */
    env = toy_env(&p, RESET_FAILS, 0);
    CHECK(drl_trainer_init(&t, &ctx, &c, &env, 1, stub_agent(&s, &ctx)) == DRL_ERR_ENV);
    CHECK_TEXT(drl_context_error(&ctx), "Toy, environment 0, reset: failed with code 3");
    drl_agent_free(&s.agent);
    /* an agent that gives nan is not the task's fault */
    env = toy_env(&p, GOOD, 0);
    CHECK(drl_trainer_init(&t, &ctx, &c, &env, 1, stub_agent(&s, &ctx)) == DRL_OK);
    s.nan_after = 2;
    CHECK(drl_trainer_step(&t) == DRL_OK && drl_trainer_step(&t) == DRL_OK);
    CHECK(drl_trainer_step(&t) == DRL_ERR_RANGE && t.faults == 0);
    CHECK_TEXT(drl_context_error(&ctx), "Toy, environment 0, step 3: action[0] is nan");
    drl_trainer_free(&t);
    drl_trainer_free(&t);
    drl_agent_free(&s.agent);
    drl_context_free(&ctx);
}

/* The flags of the last transition of an episode of `end` steps under a limit of `limit`. */
static int stored_flags(int end, int limit, int terminal)
{
    drl_context ctx;
    drl_trainer t;
    drl_trainer_config c = drl_trainer_config_default();
    toy p;
    stub s;
    drl_env env = toy_env(&p, GOOD, 0);
    int last = (end && (!limit || end < limit) ? end : limit), i, flags;
    p.end = end;
    env.time_limit = limit;
    c.replay_capacity = 100;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    CHECK(drl_trainer_init(&t, &ctx, &c, &env, 1, stub_agent(&s, &ctx)) == DRL_OK);
    s.agent.time_limit_terminal = terminal;
    for (i = 0; i < 3 * last; i++) CHECK(drl_trainer_step(&t) == DRL_OK);
    CHECK(t.episodes == 3 && t.last_length == last && p.resets == 4);
    for (i = 0; i < last - 1; i++) CHECK(t.replay.flags[i] == 0);
    flags = t.replay.flags[last - 1];
    CHECK(t.replay.flags[2 * last - 1] == flags);
    /* the stored next_obs is the end of that episode, not the start of the next */
    CHECK(t.replay.next_obs[3 * (last - 1) + 1] == (float)last);
    drl_trainer_free(&t);
    drl_agent_free(&s.agent);
    drl_context_free(&ctx);
    return flags;
}

TEST(termination_and_truncation_are_kept_apart)
{
    CHECK(stored_flags(5, 0, 0) == DRL_ENV_TERMINATED);
    CHECK(stored_flags(5, 9, 0) == DRL_ENV_TERMINATED);
    CHECK(stored_flags(0, 5, 0) == DRL_ENV_TRUNCATED);
    CHECK(stored_flags(5, 5, 0) == DRL_ENV_TERMINATED); /* both at once: the task's word counts */
    CHECK(stored_flags(5, 9, 1) & DRL_ENV_TERMINATED);
    CHECK(stored_flags(0, 5, 1) & DRL_ENV_TERMINATED); /* time_limit_terminal */
}

/* Returns, lengths, random steps, updates: two environments against sums kept here. */
TEST(bookkeeping)
{
    drl_context ctx;
    drl_trainer t;
    drl_trainer_config c = drl_trainer_config_default();
    toy p[2];
    stub s;
    drl_env envs[2];
    drl_agent *agent;
    double sum = 0;
    int i;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    agent = stub_agent(&s, &ctx);
    envs[0] = toy_env(&p[0], GOOD, 0);
    envs[1] = toy_env(&p[1], GOOD, 0);
    p[0].end = 5;
    p[1].end = 15;
    agent->random_steps = 20;
    c.replay_capacity = 1000;
    CHECK(drl_trainer_init(&t, &ctx, &c, envs, 2, agent) == DRL_OK);
    CHECK(drl_trainer_return(&t) == 0 && drl_trainer_length(&t) == 0);
    CHECK(p[0].start != p[1].start); /* seeds differ */
    for (i = 0; i < 10; i++) CHECK(drl_trainer_step(&t) == DRL_OK);
    CHECK(t.steps == 20 && s.acts == 0 && s.updates == 0);
    for (i = 0; i < 5; i++) CHECK(drl_trainer_step(&t) == DRL_OK);
    CHECK(t.steps == 30 && s.acts == 5 && s.updates == 10 && s.rows == 2);
    CHECK(s.mode == DRL_MODE_EXPLORE && s.replay_size == 30);
    CHECK(t.episodes == 4 && p[0].resets == 4 && p[1].resets == 2);
    for (i = 0; i < 30; i++) sum += (double)t.replay.reward[i];
    CHECK_NEAR(drl_trainer_return(&t), sum / 4, 1e-4 * fabs(sum));
    CHECK_NEAR(drl_trainer_length(&t), (5 + 5 + 5 + 15) / 4.0, 1e-12);
    /* actions in the replay are those before rescaling; the random ones fill [-1, 1) */
    for (i = 0; i < 20; i++) CHECK(fabsf(t.replay.act[i]) <= 1);
    drl_trainer_free(&t);
    agent->obs_dim = 4;
    CHECK(drl_trainer_init(&t, &ctx, &c, envs, 2, agent) == DRL_ERR_SHAPE);
    CHECK_TEXT(drl_context_error(&ctx), "Toy has obs 3, act 1; the agent expects 4, 1");
    CHECK(drl_trainer_init(&t, &ctx, &c, envs, 0, agent) == DRL_ERR_RANGE);
    drl_agent_free(&s.agent);
    drl_context_free(&ctx);
}

/* The same seed gives the same transitions, whatever is evaluated in between and on any number of
   threads; another seed others. */
TEST(training_repeats)
{
    static float kept[4][3 * 200];
    int run, i;
    for (run = 0; run < 4; run++) {
        drl_context_config cc = drl_context_config_default();
        drl_context ctx;
        drl_trainer t;
        drl_trainer_config c = drl_trainer_config_default();
        drl_evaluation result;
        toy p[2], own;
        stub s;
        drl_env envs[2], eval = toy_env(&own, GOOD, 0);
        drl_agent *agent;
        envs[0] = toy_env(&p[0], GOOD, 0);
        envs[1] = toy_env(&p[1], GOOD, 0);
        c.replay_capacity = 200;
        c.seed = run == 2 ? 8 : 7;
        cc.threads = run == 3 ? 2 : 1;
        CHECK(drl_context_init(&ctx, &cc) == DRL_OK);
        agent = stub_agent(&s, &ctx);
        agent->random_steps = 50;
        CHECK(drl_trainer_init(&t, &ctx, &c, envs, 2, agent) == DRL_OK);
        for (i = 0; i < 100; i++) {
            CHECK(drl_trainer_step(&t) == DRL_OK);
            if (run == 1 && i % 9 == 0)
                CHECK(drl_evaluate(&ctx, agent, &eval, 1, 5, &result, NULL) == DRL_OK);
        }
        memcpy(kept[run], t.replay.obs, sizeof(kept[run]));
        drl_trainer_free(&t);
        drl_agent_free(&s.agent);
        drl_context_free(&ctx);
    }
    CHECK(memcmp(kept[0], kept[1], sizeof(kept[0])) == 0);
    CHECK(memcmp(kept[0], kept[2], sizeof(kept[0])) != 0);
    CHECK(memcmp(kept[0], kept[3], sizeof(kept[0])) == 0);
}

TEST(evaluation)
{
    drl_context ctx;
    drl_evaluation a, b;
    toy p;
    stub s;
    drl_env env = toy_env(&p, GOOD, 0);
    drl_agent *agent;
    double ra[10], rb[10], mean = 0, square = 0;
    float none[3] = {0, 0, 0}, act[1];
    size_t before;
    int i;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    agent = stub_agent(&s, &ctx);
    CHECK(drl_agent_act(agent, DRL_MODE_EVAL, 1, none, act) == DRL_OK); /* the tape's memory */
    before = ctx.bytes;
    CHECK(drl_evaluate(&ctx, agent, &env, 10, 100, &a, ra) == DRL_OK);
    CHECK(s.mode == DRL_MODE_EVAL && s.rows == 1 && s.updates == 0);
    CHECK(a.episodes == 10 && a.length == 20 && p.resets == 10 && s.begins == 10);
    CHECK(drl_evaluate(&ctx, agent, &env, 10, 100, &b, rb) == DRL_OK);
    CHECK(memcmp(ra, rb, sizeof(ra)) == 0 && a.mean == b.mean && a.std == b.std);
    for (i = 0; i < 10; i++) mean += ra[i] / 10;
    for (i = 0; i < 10; i++) square += (ra[i] - mean) * (ra[i] - mean) / 10;
    CHECK_NEAR(a.mean, mean, 1e-9 * fabs(mean));
    CHECK_NEAR(a.std, sqrt(square), 1e-9 * fabs(mean));
    CHECK(a.min < a.mean && a.mean < a.max && a.std > 0);
    for (i = 0; i < 10; i++) CHECK(ra[i] >= a.min && ra[i] <= a.max);
    /* episode i has seed 100 + i */
    CHECK(drl_evaluate(&ctx, agent, &env, 1, 103, &b, rb) == DRL_OK);
    CHECK(rb[0] == ra[3] && b.std == 0 && b.mean == ra[3]);
    /* the limit holds here too */
    p.end = 0;
    env.time_limit = 7;
    CHECK(drl_evaluate(&ctx, agent, &env, 2, 1, &a, NULL) == DRL_OK);
    CHECK(a.length == 7);
    /* faults end it, with the step */
    env = toy_env(&p, REWARD_INF, 3);
    CHECK(drl_evaluate(&ctx, agent, &env, 2, 1, &a, NULL) == DRL_ERR_NAN);
    CHECK_TEXT(drl_context_error(&ctx), "Toy, step 3: reward is inf");
    agent->act_dim = 2;
    CHECK(drl_evaluate(&ctx, agent, &env, 2, 1, &a, NULL) == DRL_ERR_SHAPE);
    CHECK(ctx.bytes == before);
    drl_agent_free(&s.agent);
    drl_context_free(&ctx);
}

/* A loss of one tensor whole, of a view, or of none of them: what they held before is gone, also
   where nothing is added. */
TEST(gradients_start_anew)
{
    drl_context ctx;
    drl_agent agent;
    drl_params p;
    drl_tensor *x[3], *loss;
    int i, k, round;
    memset(&agent, 0, sizeof(agent));
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    drl_tape_init(&agent.tape, &ctx);
    CHECK(drl_params_init(&p, &ctx, 3, 1) == DRL_OK);
    for (i = 0; i < 3; i++) x[i] = drl_params_add(&p, "", i ? i == 1 ? "b" : "c" : "a", 2, 2);
    CHECK(drl_params_commit(&p) == DRL_OK);
    for (round = 0; round < 3; round++) { /* whole, view, unused in turn */
        drl_tensor *whole = x[round], *view = x[(round + 1) % 3], *unused = x[(round + 2) % 3];
        for (i = 0; i < 3; i++)
            for (k = 0; k < 4; k++) x[i]->grad[k] = 7;
        drl_tape_reset(&agent.tape);
        loss = drl_mean(&agent.tape, drl_rows(&agent.tape, view, 1, 1));
        loss = drl_add(&agent.tape, drl_mean(&agent.tape, whole), loss);
        CHECK(drli_agent_grad(&agent, &p, loss, 0) == DRL_OK);
        for (k = 0; k < 4; k++) {
            CHECK(whole->grad[k] == 0.25f && unused->grad[k] == 0);
            CHECK(view->grad[k] == (k < 2 ? 0 : 0.5f));
        }
    }
    drl_params_free(&p);
    drl_tape_free(&agent.tape);
    drl_context_free(&ctx);
}

TEST_MAIN(TEST_ENTRY(check_finds_no_fault_in_good_tasks), TEST_ENTRY(check_finds_wrong_fields),
          TEST_ENTRY(check_finds_wrong_behavior), TEST_ENTRY(step_rescales_and_reports),
          TEST_ENTRY(presets_change_defaults), TEST_ENTRY(algorithms_are_found_by_name),
          TEST_ENTRY(failed_steps_are_dropped_and_named),
          TEST_ENTRY(a_task_that_always_fails_ends_training),
          TEST_ENTRY(termination_and_truncation_are_kept_apart), TEST_ENTRY(bookkeeping),
          TEST_ENTRY(training_repeats), TEST_ENTRY(evaluation), TEST_ENTRY(gradients_start_anew))
