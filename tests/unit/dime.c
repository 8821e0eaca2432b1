/* DIME: configuration, memory, files, and what the specification's closed forms say of the chain,
   its gradient and the temperature. The updates themselves are checked in tests/golden/dime.c. */
#define _POSIX_C_SOURCE 200809L
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"
#include <unistd.h>

/* A small agent. */
static drl_dime_config small(int obs, int act)
{
    drl_dime_config c = drl_dime_config_default(obs, act);
    c.steps = 3;
    c.actor_width = 8;
    c.actor_layers = 2;
    c.time_frequencies = 4;
    c.critic_width = 12;
    c.atoms = 11;
    c.v_min = -10;
    c.v_max = 10;
    c.batch = 16;
    c.lr_actor = c.lr_critic = 1e-2f;
    return c;
}

/* ---- configuration ---- */

TEST(presets)
{
    drl_context ctx;
    drl_dime_config c = drl_dime_config_default(17, 6), paper = c;
    int count = drl_dime_algo().field_count;
    const drl_field *fields = drl_dime_algo().fields;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    CHECK(c.obs_dim == 17 && c.act_dim == 6 && c.seed == 1);
    /* the table of the paper's code */
    CHECK(c.steps == 16 && c.prior_std == 2.5f && c.dt == .1f && c.friction == 1);
    CHECK(c.step_floor == .001f && c.actor_width == 256 && c.actor_layers == 3);
    CHECK(c.time_frequencies == 256 && c.critic_width == 2048 && c.atoms == 101);
    CHECK(c.v_min == -1600 && c.v_max == 1600 && c.brn_momentum == .99f && c.brn_warmup == 100000);
    CHECK(c.value_entropy == .005f && c.gamma == .99f && c.batch == 256 && c.utd == 2);
    CHECK(c.policy_delay == 3 && c.random_steps == 5000 && c.lr_actor == 3e-4f);
    CHECK(c.lr_critic == 3e-4f && c.beta1 == .5f && c.actor_clip == 1 && c.alpha == 1);
    CHECK(c.lr_alpha == 1e-3f && c.target == 4);
    c.seed = 9;
    CHECK(drl_algo_preset(&ctx, drl_dime_algo(), &c, "cpu") == DRL_OK);
    CHECK(c.obs_dim == 17 && c.act_dim == 6 && c.seed == 9 && c.critic_width < 2048);
    CHECK(drl_fields_check(&ctx, fields, count, &c) == DRL_OK);
    CHECK(drl_algo_preset(&ctx, drl_dime_algo(), &c, "toy") == DRL_OK);
    CHECK(c.obs_dim == 17 && c.seed == 9 && c.actor_width == 64);
    CHECK(drl_fields_check(&ctx, fields, count, &c) == DRL_OK);
    CHECK(drl_algo_preset(&ctx, drl_dime_algo(), &c, "paper") == DRL_OK);
    paper.seed = 9;
    CHECK(memcmp(&c, &paper, sizeof(c)) == 0);
    CHECK(drl_algo_preset(&ctx, drl_dime_algo(), &c, "papre") == DRL_ERR_NAME);
    CHECK_TEXT(drl_context_error(&ctx), "papre");
    CHECK_TEXT(drl_context_error(&ctx), "cpu");
    CHECK(memcmp(&c, &paper, sizeof(c)) == 0);
    drl_context_free(&ctx);
}

/* Every byte of the struct belongs to one field, but for the padding before an 8-byte member. */
TEST(fields_are_complete)
{
    unsigned char used[sizeof(drl_dime_config)] = {0};
    int count = drl_dime_algo().field_count, i;
    size_t at;
    const drl_field *f = drl_dime_algo().fields;
    for (i = 0; i < count; i++) {
        size_t size = f[i].type == DRL_FIELD_INT64 || f[i].type == DRL_FIELD_UINT64 ? 8 : 4;
        for (at = f[i].offset; at < f[i].offset + size; at++) used[at]++;
        CHECK(strlen(f[i].doc) > 0);
    }
    for (at = 0; at < sizeof(used); at += 4) {
        int padding = at % 8 == 4 && (at + 4 == sizeof(used) || used[at + 4]);
        if (used[at] == 1 || (used[at] == 0 && padding)) continue;
        printf("  byte %d of drl_dime_config belongs to %d fields\n", (int)at, used[at]);
        CHECK(0);
    }
}

TEST(values_out_of_range_are_named)
{
    drl_context ctx;
    drl_dime d;
    int count = drl_dime_algo().field_count, i, side;
    size_t before;
    const drl_field *f = drl_dime_algo().fields;
    drl_dime_config c;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    before = ctx.bytes;
    for (i = 0; i < count; i++)
        for (side = 0; side < 3; side++) { /* below, above, nan */
            unsigned char *at;
            double v = side ? f[i].high : f[i].low;
            c = small(2, 1);
            at = (unsigned char *)&c + f[i].offset;
            if (f[i].low == 0 && f[i].high == 0) continue;
            if (f[i].type == DRL_FIELD_FLOAT) {
                float x = (float)v + (side ? 1 : -1) * (1e-3f + fabsf((float)v) * 1e-3f);
                if (side == 2) x = (float)NAN;
                memcpy(at, &x, sizeof(x));
            } else if (side == 2) {
                continue;
            } else if (f[i].type == DRL_FIELD_INT) {
                int x = (int)(v + (side ? 1 : -1));
                memcpy(at, &x, sizeof(x));
            } else {
                int64_t x = (int64_t)v + (side ? 1 : -1);
                memcpy(at, &x, sizeof(x));
            }
            CHECK(drl_dime_init(&d, &ctx, &c) == DRL_ERR_RANGE);
            CHECK_TEXT(drl_context_error(&ctx), f[i].name);
        }
    c = small(2, 1);
    c.v_min = c.v_max = 3;
    CHECK(drl_dime_init(&d, &ctx, &c) == DRL_ERR_RANGE);
    CHECK_TEXT(drl_context_error(&ctx), "expected v_min < v_max, got 3 and 3");
    CHECK(ctx.bytes == before);
    drl_agent_free(&d.agent); /* harmless */
    drl_context_free(&ctx);
}

/* ---- memory ---- */

typedef struct bank {
    int calls, fail_at, live;
} bank;

static void *bank_alloc(size_t size, void *user)
{
    bank *b = (bank *)user;
    if (++b->calls == b->fail_at) return NULL;
    b->live++;
    return malloc(size);
}

static void bank_free(void *ptr, size_t size, void *user)
{
    (void)size;
    ((bank *)user)->live -= ptr != NULL;
    free(ptr);
}

static void fill_replay(drl_replay *r, drl_context *ctx, int obs, int act, int n)
{
    drl_replay_config c = drl_replay_config_default(obs, act);
    drl_rng rng = drl_rng_make(3, "replay");
    float *x;
    int i, k;
    c.capacity = n;
    CHECK(drl_replay_init(r, ctx, &c) == DRL_OK);
    x = (float *)malloc((size_t)(2 * obs + act) * sizeof(float));
    for (i = 0; i < n; i++) {
        for (k = 0; k < 2 * obs + act; k++) x[k] = 2 * drl_rng_uniform(&rng) - 1;
        drl_replay_push(r, x, x + 2 * obs, x[0] - x[1] * x[2 * obs], x + obs,
                        i % 20 == 19 ? DRL_ENV_TERMINATED : 0);
    }
    free(x);
}

/* The allocator fails at the n-th call, for every n: an error, nothing kept, and a second try
   works. */
TEST(no_memory)
{
    drl_context_config cc = drl_context_config_default();
    drl_context ctx;
    drl_dime d;
    drl_dime_config c = small(3, 2);
    bank b = {0, 0, 0};
    int n, held, done = 0;
    cc.allocator.alloc_fn = bank_alloc;
    cc.allocator.free_fn = bank_free;
    cc.allocator.user = &b;
    CHECK(drl_context_init(&ctx, &cc) == DRL_OK);
    held = b.live;
    for (n = 1; n < 100 && !done; n++) {
        b.calls = 0;
        b.fail_at = n;
        done = drl_dime_init(&d, &ctx, &c) == DRL_OK;
        if (done) break;
        CHECK(ctx.status == DRL_ERR_MEMORY && b.live == held);
        CHECK_TEXT(drl_context_error(&ctx), "the allocator has no");
    }
    CHECK(done && n > 10);
    drl_agent_free(&d.agent);
    drl_agent_free(&d.agent);
    CHECK(b.live == held);
    drl_context_free(&ctx);
    CHECK(b.live == 0);
}

/* The same in act and update: an error, and the next try works. */
TEST(no_memory_in_an_update)
{
    drl_context_config cc = drl_context_config_default();
    drl_dime_config c = small(3, 2);
    bank b = {0, 0, 0};
    int n, done = 0, fails = 0;
    c.utd = 3; /* one actor update in each call */
    c.batch = 256;
    cc.allocator.alloc_fn = bank_alloc;
    cc.allocator.free_fn = bank_free;
    cc.allocator.user = &b;
    for (n = 1; n < 200 && !done; n++) {
        drl_context ctx;
        drl_dime d;
        drl_replay r;
        float obs[3] = {.1f, .2f, .3f}, act[2];
        drl_status status;
        b.fail_at = 0;
        CHECK(drl_context_init(&ctx, &cc) == DRL_OK);
        CHECK(drl_dime_init(&d, &ctx, &c) == DRL_OK);
        fill_replay(&r, &ctx, 3, 2, 50);
        b.calls = 0;
        b.fail_at = n;
        status = drl_agent_act(&d.agent, DRL_MODE_EXPLORE, 1, obs, act);
        if (status == DRL_OK) status = drl_agent_update(&d.agent, &r);
        done = b.calls < n; /* never failed */
        CHECK(!done || status == DRL_OK);
        if (status != DRL_OK) { /* a block that only saves a later one may be done without */
            fails++;
            CHECK(status == DRL_ERR_MEMORY && d.actor.step == 0);
            CHECK(drl_agent_act(&d.agent, DRL_MODE_EXPLORE, 1, obs, act) == DRL_OK);
            CHECK(drl_agent_update(&d.agent, &r) == DRL_OK);
        }
        drl_replay_free(&r);
        drl_agent_free(&d.agent);
        drl_context_free(&ctx);
        CHECK(b.live == 0);
    }
    CHECK(done && fails >= 4);
}

TEST(no_allocation_after_warm_up)
{
    drl_context ctx;
    drl_dime d;
    drl_replay r;
    drl_dime_config c = small(3, 2);
    float obs[4 * 3] = {.1f, .2f, .3f}, act[4 * 2];
    uint64_t calls;
    int i;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    CHECK(drl_dime_init(&d, &ctx, &c) == DRL_OK);
    for (i = 0; i < 2; i++) CHECK(drl_agent_act(&d.agent, DRL_MODE_EVAL, 4, obs, act) == DRL_OK);
    calls = ctx.allocations;
    for (i = 0; i < 50; i++)
        CHECK(drl_agent_act(&d.agent, DRL_MODE_EXPLORE, 1 + i % 4, obs, act) == DRL_OK);
    CHECK(ctx.allocations == calls);
    fill_replay(&r, &ctx, 3, 2, 100);
    /* 8 critic, 2 actor updates */
    for (i = 0; i < 4; i++) CHECK(drl_agent_update(&d.agent, &r) == DRL_OK);
    CHECK(d.actor.step == 2);
    calls = ctx.allocations;
    for (i = 0; i < 60; i++) {
        CHECK(drl_agent_act(&d.agent, DRL_MODE_EXPLORE, 1, obs, act) == DRL_OK);
        CHECK(drl_agent_update(&d.agent, &r) == DRL_OK);
    }
    CHECK(ctx.allocations == calls && d.agent.updates == 128 && d.actor.step == 42);
    drl_replay_free(&r);
    drl_agent_free(&d.agent);
    drl_context_free(&ctx);
}

/* ---- acting ---- */

TEST(actions)
{
    drl_context ctx;
    drl_dime a, b;
    drl_dime_config c = small(3, 2);
    float obs[64 * 3], one[64 * 2], two[64 * 2];
    int i, ends = 0;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    CHECK(drl_dime_init(&a, &ctx, &c) == DRL_OK);
    CHECK(drl_dime_init(&b, &ctx, &c) == DRL_OK);
    for (i = 0; i < 64 * 3; i++) obs[i] = (float)(i % 7) - 3;
    CHECK(drl_agent_act(&a.agent, DRL_MODE_EXPLORE, 64, obs, one) == DRL_OK);
    for (i = 0; i < 64 * 2; i++) CHECK(one[i] >= -1 && one[i] <= 1);
    for (i = 0; i < 64 * 2; i++) ends += fabsf(one[i]) > .9f;
    CHECK(ends > 40 && ends < 90); /* x_N is N(0, 2.5^2): 0.556 of 128 */
    /* same seed, same actions; evaluation draws from a stream of its own */
    CHECK(drl_agent_act(&b.agent, DRL_MODE_EVAL, 64, obs, two) == DRL_OK);
    CHECK(memcmp(one, two, sizeof(one)) != 0);
    CHECK(drl_agent_act(&b.agent, DRL_MODE_EXPLORE, 64, obs, two) == DRL_OK);
    CHECK(memcmp(one, two, sizeof(one)) == 0);
    CHECK(a.agent.rng_act.position == 64 * 2 * 4 && a.agent.rng_eval.position == 0);
    CHECK(drl_agent_act(&a.agent, DRL_MODE_EXPLORE, 64, obs, one) == DRL_OK);
    CHECK(memcmp(one, two, sizeof(one)) != 0);
    drl_agent_free(&b.agent);
    c.seed = 2;
    CHECK(drl_dime_init(&b, &ctx, &c) == DRL_OK);
    CHECK(drl_agent_act(&b.agent, DRL_MODE_EXPLORE, 64, obs, one) == DRL_OK);
    CHECK(memcmp(one, two, sizeof(one)) != 0);
    drl_agent_free(&a.agent);
    drl_agent_free(&b.agent);
    drl_context_free(&ctx);
}

/* Acting keeps what comes from weights alone: whichever weight is changed, by whatever, the next
   action is that of an agent that has kept nothing. */
TEST(kept_steps_follow_the_weights)
{
    enum { S = 3, A = 2, CASES = 8 };
    drl_context ctx;
    drl_dime kept, fresh;
    drl_dime_config c = small(S, A);
    drl_rng rng = drl_rng_make(3, "weights"), acting;
    float obs[S] = {.3f, -1, .6f}, a[A], b[A], before[A] = {0, 0};
    int i, last;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    CHECK(drl_dime_init(&kept, &ctx, &c) == DRL_OK);
    acting = kept.agent.rng_act;
    for (i = 0; i < CASES; i++) {
        drl_tensor *w[] = {kept.trunk.layer[0].w, kept.time.phase, kept.time.l0.w, kept.time.l0.b,
            kept.time.l1.w, kept.time.l1.b, kept.trunk.layer[0].w, kept.trunk.layer[0].w};
        last = w[i]->rows * w[i]->cols - 1;
        if (i == 0) drl_tensor_init(kept.trunk.layer[c.actor_layers].w, DRL_INIT_LECUN_NORMAL, 1, &rng);
        w[i]->data[i == 7 ? (S + A) * w[i]->cols : last] += .5f; /* first and last weight of time */
        CHECK(drl_dime_init(&fresh, &ctx, &c) == DRL_OK);
        drl_params_copy(&fresh.actor, &kept.actor);
        kept.agent.rng_act = fresh.agent.rng_act = acting;
        CHECK(drl_agent_act(&kept.agent, DRL_MODE_EXPLORE, 1, obs, a) == DRL_OK);
        CHECK(drl_agent_act(&fresh.agent, DRL_MODE_EXPLORE, 1, obs, b) == DRL_OK);
        CHECK(memcmp(a, b, sizeof(a)) == 0);
        CHECK(memcmp(a, before, sizeof(a)) != 0);
        memcpy(before, a, sizeof(a));
        kept.agent.rng_act = acting; /* and again, from what is kept */
        CHECK(drl_agent_act(&kept.agent, DRL_MODE_EXPLORE, 1, obs, a) == DRL_OK);
        CHECK(memcmp(a, b, sizeof(a)) == 0);
        drl_agent_free(&fresh.agent);
    }
    drl_agent_free(&kept.agent);
    drl_context_free(&ctx);
}

TEST(agent_face)
{
    drl_context ctx;
    drl_dime d;
    drl_replay r;
    drl_dime_config c = small(3, 2);
    drl_agent *agent = &d.agent;
    const drl_metric *m = d.agent.metrics;
    float obs[3] = {0, 0, 0}, act[2];
    int i;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    CHECK(drl_dime_init(&d, &ctx, &c) == DRL_OK);
    fill_replay(&r, &ctx, 3, 2, 100);
    CHECK(strcmp(agent->algo.name, "dime") == 0 && agent->obs_dim == 3 && agent->act_dim == 2);
    CHECK(agent->gamma == c.gamma && agent->random_steps == 5000 && agent->update_every == 1);
    CHECK(drl_agent_act(agent, DRL_MODE_EVAL, 1, obs, act) == DRL_OK);
    for (i = 0; i < 3; i++) CHECK(drl_agent_update(agent, &r) == DRL_OK);
    CHECK(agent->updates == 6 && d.actor.step == 2 && agent->metric_count == 8);
    for (i = 0; i < 8; i++) CHECK(m[i].name && m[i].value != 0 && fabs(m[i].value) < 1e3);
    CHECK(strcmp(m[3].name, "alpha") == 0 && m[3].value == (double)drl_expf(d.kappa->data[0]));
    drl_replay_free(&r);
    drl_agent_free(&d.agent);
    drl_context_free(&ctx);
}

/* A reward beyond all bounds must end in a named error, not in silence. */
TEST(diverged_losses_are_named)
{
    drl_context ctx;
    drl_dime d;
    drl_replay r;
    drl_dime_config c = small(3, 2);
    drl_status status = DRL_OK;
    int i;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    CHECK(drl_dime_init(&d, &ctx, &c) == DRL_OK);
    fill_replay(&r, &ctx, 3, 2, 100);
    d.q[1].layer[0].w->data[3] = (float)NAN;
    for (i = 0; i < 3 && status == DRL_OK; i++) status = drl_agent_update(&d.agent, &r);
    CHECK(status == DRL_ERR_NAN);
    CHECK_TEXT(drl_context_error(&ctx), "(tensor critic.q");
    drl_agent_free(&d.agent);
    CHECK(drl_dime_init(&d, &ctx, &c) == DRL_OK);
    d.trunk.layer[1].b->data[0] = (float)NAN;
    status = drl_agent_update(&d.agent, &r);
    CHECK(status == DRL_ERR_NAN);
    CHECK_TEXT(drl_context_error(&ctx), "not finite");
    drl_replay_free(&r);
    drl_agent_free(&d.agent);
    drl_context_free(&ctx);
}

/* ---- files ---- */

static char path[64];

static const char *make_path(void)
{
    int fd;
    strcpy(path, "/tmp/diffrl_dime_XXXXXX");
    fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    return path;
}

static unsigned char *read_all(size_t *size)
{
    FILE *f = fopen(path, "rb");
    unsigned char *p;
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    p = (unsigned char *)malloc(*size);
    CHECK(fread(p, 1, *size, f) == *size);
    fclose(f);
    return p;
}

static void write_all(const unsigned char *p, size_t size)
{
    FILE *f = fopen(path, "wb");
    CHECK(fwrite(p, 1, size, f) == size);
    fclose(f);
}

TEST(save_and_load)
{
    drl_context ctx;
    drl_dime a, b;
    drl_replay r;
    drl_dime_config c = small(3, 2);
    drl_meta meta;
    float obs[30], one[20], two[20];
    int i;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    c.lr_actor = .0123f; /* not a round number in binary */
    c.seed = 0xfedcba9876543210u;
    c.random_steps = 123456789012;
    CHECK(drl_dime_init(&a, &ctx, &c) == DRL_OK);
    fill_replay(&r, &ctx, 3, 2, 100);
    for (i = 0; i < 6; i++) CHECK(drl_agent_update(&a.agent, &r) == DRL_OK);
    make_path();
    drl_meta_init(&meta, &ctx);
    drl_meta_set(&meta, "task", "Toy");
    CHECK(drl_agent_save(&a.agent, path, &meta) == DRL_OK);
    drl_meta_free(&meta);
    memset(&b, 0xee, sizeof(b)); /* load needs no initialized struct */
    CHECK(drl_agent_load(&b.agent, &ctx, drl_dime_algo(), path) == DRL_OK);
    if (!b.agent.ctx) return;
    CHECK(memcmp(&a.cfg, &b.cfg, sizeof(a.cfg)) == 0);
    CHECK(memcmp(a.actor.value, b.actor.value, a.actor.size * sizeof(float)) == 0);
    for (i = 0; i < 30; i++) obs[i] = (float)i / 10 - 1;
    b.agent.rng_eval = a.agent.rng_eval;
    for (i = 0; i < 3; i++) {
        CHECK(drl_agent_act(&a.agent, DRL_MODE_EVAL, 10, obs, one) == DRL_OK);
        CHECK(drl_agent_act(&b.agent, DRL_MODE_EVAL, 10, obs, two) == DRL_OK);
        CHECK(memcmp(one, two, sizeof(one)) == 0);
    }
    {
        drl_file file;
        CHECK(drl_file_open(&file, &ctx, path) == DRL_OK);
        CHECK(strcmp(drl_meta_get(&file.meta, "task"), "Toy") == 0);
        CHECK(strcmp(drl_meta_get(&file.meta, "algo"), "dime") == 0);
        drl_file_close(&file);
    }
    remove(path);
    drl_replay_free(&r);
    drl_agent_free(&a.agent);
    drl_agent_free(&b.agent);
    drl_context_free(&ctx);
}

/* Write the actor of d under another configuration or algorithm. */
static void save_as(drl_dime *d, const char *algo, const drl_dime_config *c)
{
    drl_state state;
    drl_meta meta;
    int count = drl_dime_algo().field_count;
    const drl_field *f = drl_dime_algo().fields;
    drl_meta_init(&meta, d->agent.ctx);
    if (algo) drl_meta_set(&meta, "algo", algo);
    drli_fields_to_meta(f, count, c, &meta);
    drl_state_init(&state, d->agent.ctx);
    drl_agent_state(&d->agent, &state, 0);
    CHECK(drl_state_save(d->agent.ctx, path, &state, &meta) == DRL_OK);
    drl_state_free(&state);
    drl_meta_free(&meta);
}

TEST(bad_files_are_refused)
{
    drl_context ctx;
    drl_dime a, b;
    drl_dime_config c = small(3, 2), other;
    unsigned char *bytes;
    size_t size, i, before;
    int wrong = 0;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    CHECK(drl_dime_init(&a, &ctx, &c) == DRL_OK);
    before = ctx.bytes;
    make_path();
#define REFUSED(status, words)                                                                   \
    do {                                                                                         \
        CHECK(drl_agent_load(&b.agent, &ctx, drl_dime_algo(), path) == (status));                                        \
        CHECK_TEXT(drl_context_error(&ctx), words);                                              \
        CHECK(b.agent.ctx == NULL && ctx.bytes == before);                                             \
    } while (0)
    save_as(&a, "sac", &c);
    REFUSED(DRL_ERR_FORMAT, "expected algo dime, got sac");
    save_as(&a, NULL, &c);
    REFUSED(DRL_ERR_FORMAT, "expected algo dime, got none");
    other = c, other.act_dim = 3;
    save_as(&a, "dime", &other);
    REFUSED(DRL_ERR_SHAPE, "actor.l0.w: expected F32 [14, 8], got F32 [13, 8]");
    other = c, other.actor_layers = 1;
    save_as(&a, "dime", &other);
    REFUSED(DRL_ERR_SHAPE, "actor.l1.w: expected F32 [8, 2], got F32 [8, 8]");
    other = c, other.actor_layers = 3;
    save_as(&a, "dime", &other);
    REFUSED(DRL_ERR_SHAPE, "actor.l2.w: expected F32 [8, 8], got F32 [8, 2]");
    other = c, other.gamma = 2;
    save_as(&a, "dime", &other);
    REFUSED(DRL_ERR_RANGE, "gamma");
    a.phi->data[1] = (float)NAN;
    save_as(&a, "dime", &c);
    REFUSED(DRL_ERR_NAN, "phi");
    a.phi->data[1] = .5f;
    remove(path);
    REFUSED(DRL_ERR_FILE, path);
    /* one changed byte anywhere, and every shorter file */
    CHECK(drl_agent_save(&a.agent, path, NULL) == DRL_OK);
    bytes = read_all(&size);
    for (i = 0; i < size; i += 1 + size / 300) {
        bytes[i] ^= 1;
        write_all(bytes, size);
        bytes[i] ^= 1;
        wrong += drl_agent_load(&b.agent, &ctx, drl_dime_algo(), path) == DRL_OK || ctx.bytes != before || !*ctx.message;
        if (b.agent.ctx) drl_agent_free(&b.agent);
        write_all(bytes, i);
        wrong += drl_agent_load(&b.agent, &ctx, drl_dime_algo(), path) == DRL_OK || ctx.bytes != before;
        if (b.agent.ctx) drl_agent_free(&b.agent);
    }
    CHECK(wrong == 0);
    write_all(bytes, size);
    CHECK(drl_agent_load(&b.agent, &ctx, drl_dime_algo(), path) == DRL_OK);
    free(bytes);
    remove(path);
    drl_agent_free(&a.agent);
    drl_agent_free(&b.agent);
    drl_context_free(&ctx);
}

/* ---- the chain ---- */

static double normal_log(double x, double mean, double std)
{
    return -.5 * (x - mean) * (x - mean) / (std * std) - log(std) - .9189385332046727;
}

/* Without control: per sample, and the statistics of the default chain. T2: ln of the path without
   squash = ln N(x_N) + sum_k eta_k (x_{k+1}^2 - x_k^2) / (4 sigma^4). */
TEST(initial_path)
{
    enum { B = 8192, A = 8, N = 16 };
    drl_context ctx;
    drl_dime d;
    drl_dime_config c = small(2, A);
    drl_rng rng = drl_rng_make(11, "path");
    size_t size = (size_t)(N + 1) * B * A;
    float *noise = (float *)malloc(2 * size * sizeof(float));
    float *obs = (float *)calloc(B, 2 * sizeof(float));
    double prior = 0, ratio = 0, squash = 0, run = 0, density = 0, square = 0, ends = 0, worst = 0;
    drli_dime_sample s;
    int b, i, k;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    c.steps = N;
    CHECK(drl_dime_init(&d, &ctx, &c) == DRL_OK);
    drl_rng_normal_fill(&ctx, &rng, noise, size);
    memcpy(noise + size, noise, size * sizeof(float));
    d.agent.tape.grad_enabled = 0;
    s = drli_dime_path(&d, drl_tape_input(&d.agent.tape, B, 2, obs), drli_dime_time(&d),
        noise + size);
    CHECK(drl_tape_status(&d.agent.tape) == DRL_OK);
    for (b = 0; b < B; b++) {
        double L = 0, T = 0, det = 0;
        for (i = 0; i < A; i++) {
            double x = 2.5 * (double)noise[b * A + i], a;
            T += normal_log(x, 0, 2.5);
            for (k = 0; k < N; k++) {
                double eta = .1 * (double)d.c[k], next;
                double xi = (double)noise[((k + 1) * B + b) * A + i];
                next = x - eta * x / 6.25 + sqrt(2 * eta) * xi;
                L += eta * (next * next - x * x) / (4 * 2.5 * 2.5 * 2.5 * 2.5);
                x = next;
            }
            L += normal_log(x, 0, 2.5);
            a = exp(-2 * fabs(x));
            det += log(4 * a / ((1 + a) * (1 + a))); /* 1 - tanh^2 */
            worst = fmax(worst, fabs((double)s.x->data[b * A + i] - x));
            square += x * x;
            ends += fabs(tanh(x)) > .99;
        }
        worst = fmax(worst, fabs((double)s.density->data[b] - (L - det)));
        worst = fmax(worst, fabs((double)s.run_cost->data[b] - (L - det - T)));
        prior += T;
        ratio += L - T;
        squash += det;
        run += (double)s.run_cost->data[b];
        density += (double)s.density->data[b];
    }
    CHECK(worst < 2e-4); /* of sums up to 400 */
    /* per dimension, within 4 standard errors of 65536 samples */
    CHECK_NEAR(prior / (B * A), -2.33523, .011);
    CHECK_NEAR(ratio / (B * A), -.00071, .008);
    CHECK_NEAR(squash / (B * A), -2.85748, .05);
    CHECK_NEAR(run / (B * A), 2.85677, .05);
    CHECK_NEAR(density / (B * A), .52154, .05);
    CHECK_NEAR(square / (B * A), 6.2589, .14);
    CHECK_NEAR(ends / (B * A), .29, .008);
    free(noise);
    free(obs);
    drl_agent_free(&d.agent);
    drl_context_free(&ctx);
}

/* A linear-Gaussian chain with the control that is best in continuous time, u = 2 (score of the
   noised target + x / sigma^2), for the target N(mean, std^2): E[L] and E[L - ln target] have
   closed forms (T4). */
static void linear_gaussian(double mean, double std, double dt, int n, double want_density,
                            double want_gap)
{
    enum { B = 60000 };
    static float noise[B];
    drl_context ctx;
    drl_tape tape;
    drl_rng rng = drl_rng_make(12, "linear");
    float c[DRL_STEPS_MAX], *x = (float *)malloc(B * sizeof(float));
    double density = 0, gap = 0, *L = (double *)malloc(B * sizeof(double));
    int k, j, b;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    CHECK(drl_tape_init(&tape, &ctx) == DRL_OK);
    tape.grad_enabled = 0;
    drl_ou_schedule(n, .001f, c);
    drl_rng_normal_fill(&ctx, &rng, x, B);
    for (b = 0; b < B; b++) x[b] *= 2.5f;
    for (b = 0; b < B; b++) L[b] = normal_log((double)x[b], 0, 2.5);
    for (k = 0; k < n; k++) {
        double left = 0, keep, m, v;
        drl_tensor *state, *u, *eta, *next, *ratio;
        for (j = k; j < n; j++) left += dt * (double)c[j];
        keep = exp(-left / 6.25);
        m = mean * keep;
        v = std * std * keep * keep + 6.25 * (1 - keep * keep);
        drl_tape_reset(&tape);
        drl_rng_normal_fill(&ctx, &rng, noise, B);
        state = drl_tape_input(&tape, B, 1, x);
        eta = drl_tape_input(&tape, 1, 1, NULL);
        eta->data[0] = (float)(dt * (double)c[k]);
        u = drl_affine(&tape, state, (float)(2 / 6.25 - 2 / v), (float)(2 * m / v));
        drl_ou_step(&tape, state, u, eta, drl_tape_input(&tape, B, 1, noise), 2.5f, &next, &ratio);
        CHECK(drl_tape_status(&tape) == DRL_OK);
        for (b = 0; b < B; b++) L[b] += (double)ratio->data[b];
        memcpy(x, next->data, B * sizeof(float));
    }
    for (b = 0; b < B; b++) {
        density += L[b] / B;
        gap += (L[b] - normal_log((double)x[b], mean, std)) / B;
    }
    CHECK_NEAR(density, want_density, .015);
    CHECK_NEAR(gap, want_gap, .03);
    free(x);
    free(L);
    drl_tape_free(&tape);
    drl_context_free(&ctx);
}

TEST(linear_gaussian_bound)
{
    linear_gaussian(0, 2.5, .1, 16, -2.335936, 0.000005);
    linear_gaussian(0, 1, .1, 16, -1.358298, 0.387872);
    linear_gaussian(1, .5, .1, 16, 0.017110, 0.993274);
    linear_gaussian(1, .5, .5, 16, -0.646511, 0.232756);
    linear_gaussian(1, .2, .5, 16, 0.499595, 0.648334);
    linear_gaussian(1, .2, .5, 128, 0.260121, 0.134804);
}

/* ---- gradients ---- */

/* alpha L - (Q_1 + Q_2) / 2 of each row, on fixed noise. */
static drl_tensor *actor_loss_rows(drl_dime *d, const float *noise)
{
    drl_tape *t = &d->agent.tape;
    drl_tensor *obs, *in, *q;
    drli_dime_sample s;
    int B = d->cfg.batch;
    drl_tape_reset(t);
    memcpy(d->noise, noise, (size_t)((d->cfg.steps + 1) * B * d->cfg.act_dim) * sizeof(float));
    obs = drl_tape_input(t, B, d->cfg.obs_dim, d->agent.batch.obs);
    s = drli_dime_path(d, obs, drli_dime_time(d), d->noise);
    in = drl_concat(t, obs, s.action);
    q = drl_add(t, drl_c51_mean(t, drl_crossq_eval(t, &d->q[0], in), &d->support),
                drl_c51_mean(t, drl_crossq_eval(t, &d->q[1], in), &d->support));
    return drl_sub(t, drl_affine(t, s.density, .7f, 0), drl_affine(t, q, .5f, 0));
}

static double actor_loss(drl_dime *d, const float *noise)
{
    const drl_tensor *rows = actor_loss_rows(d, noise);
    double sum = 0;
    int b;
    CHECK(drl_tape_status(&d->agent.tape) == DRL_OK);
    for (b = 0; b < rows->rows; b++) sum += (double)rows->data[b];
    return sum / rows->rows;
}

/* The gradient of the whole loss through a 3-step chain in each of the actor's tensors, psi, rho
   and phi among them, against differences of fourth order; in parts of the tensor's largest. */
TEST(actor_loss_gradient)
{
    static const double weight[4] = {1, -8, 8, -1};
    drl_context ctx;
    drl_dime d;
    drl_replay r;
    drl_dime_config c = small(3, 2);
    drl_rng rng = drl_rng_make(13, "gradient");
    float noise[4 * 8 * 2], h = 3e-2f;
    int i, j, k;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    c.batch = 8;
    c.dt = .3f;
    c.prior_std = .8f; /* unsaturated actions, so that Q counts */
    CHECK(drl_dime_init(&d, &ctx, &c) == DRL_OK);
    fill_replay(&r, &ctx, 3, 2, 100);
    CHECK(drl_replay_sample(&r, &rng, &d.agent.batch) == DRL_OK);
    drl_rng_normal_fill(&ctx, &rng, noise, 4 * 8 * 2);
    /* nothing at its initial 0 or 1; no rectifier near its corner */
    for (i = 0; i < d.actor.count; i++)
        if (&d.actor.list[i] != d.rho && &d.actor.list[i] != d.phi)
            drl_tensor_init(&d.actor.list[i], DRL_INIT_TRUNCATED_NORMAL, .4f, &rng);
    d.phi->data[0] = .2f;
    for (j = 0; j < 2; j++) {
        drl_tensor_init(d.q[j].layer[0].b, DRL_INIT_CONSTANT, 4, &rng);
        drl_tensor_init(d.q[j].layer[1].b, DRL_INIT_CONSTANT, 8, &rng);
        drl_tensor_init(d.q[j].bn[1].mean, DRL_INIT_CONSTANT, 4, &rng);
        drl_tensor_init(d.q[j].bn[2].mean, DRL_INIT_CONSTANT, 8, &rng);
        drl_tensor_init(d.q[j].layer[2].w, DRL_INIT_TRUNCATED_NORMAL, 1, &rng);
    }
    drl_params_zero_grad(&d.actor);
    CHECK(drl_tape_backward(&d.agent.tape, drl_mean(&d.agent.tape, actor_loss_rows(&d, noise))) == DRL_OK);
    for (i = 0; i < d.actor.count; i++) {
        drl_tensor *x = &d.actor.list[i];
        double largest = 0, worst = 0;
        for (j = 0; j < x->rows * x->cols; j++) {
            float old = x->data[j];
            double numeric = 0;
            for (k = 0; k < 4; k++) {
                x->data[j] = old + h * (float)(k < 2 ? k - 2 : k - 1);
                numeric += weight[k] * actor_loss(&d, noise) / (12 * (double)h);
            }
            x->data[j] = old;
            worst = fmax(worst, fabs(numeric - (double)x->grad[j]));
            largest = fmax(largest, fabs(numeric));
        }
        if (!(worst <= 5e-3 * largest)) {
            printf("  %s: %g of %g\n", d.actor.names[i], worst, largest);
            CHECK(0);
        }
    }
    drl_replay_free(&r);
    drl_agent_free(&d.agent);
    drl_context_free(&ctx);
}

/* T8: alpha rises while R is above 4 dim(A), falls below it, and rests on it. */
TEST(temperature)
{
    static const float run_cost[3] = {7, 8, 9};
    int i;
    for (i = 0; i < 3; i++) {
        drl_context ctx;
        drl_dime d;
        drl_dime_config c = small(3, 2);
        c.alpha = .25f;
        CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
        CHECK(drl_dime_init(&d, &ctx, &c) == DRL_OK);
        CHECK_NEAR(drli_dime_alpha(&d), .25, 1e-7);
        drli_dime_temperature(&d, run_cost[i]);
        CHECK_NEAR(d.kappa->grad[0], -.25 * ((double)run_cost[i] - 8), 1e-6);
        /* Adam's first step is lr, whatever the gradient */
        CHECK_NEAR(d.kappa->data[0], log(.25) + (i - 1) * 1e-3, 1e-6);
        drl_agent_free(&d.agent);
        drl_context_free(&ctx);
    }
}

/* T5: one-dimensional bandit Q(x) = -(x - 1)^2 / (2 .5^2) before the squash, alpha = 1. E[L - Q] +
   ln Z is the path's divergence from the target: positive, at the start far off, and training must
   bring it below what the best control reaches with the initial step size (T4: 0.993), because the
   step size is learned too. Its distribution must be N(1, .5^2) nearly. */
TEST(bandit_reaches_the_bound)
{
    enum { B = 128, N = 16, UPDATES = 500 };
    drl_context ctx;
    drl_dime d;
    drl_dime_config c = small(1, 1);
    drl_rng rng = drl_rng_make(14, "bandit");
    static float noise[(N + 1) * B], obs[B];
    double first = 0, last = 0, mean = 0, square = 0, count = 0;
    const double log_z = .9189385332046727 + log(.5);
    int i, b;
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    c.steps = N;
    c.actor_width = 24;
    c.actor_layers = 2;
    c.time_frequencies = 8;
    c.beta1 = .9f;
    CHECK(drl_dime_init(&d, &ctx, &c) == DRL_OK);
    for (i = 0; i < UPDATES; i++) {
        drl_tape *t = &d.agent.tape;
        drl_tensor *L, *Q, *loss;
        drli_dime_sample s;
        drl_tape_reset(t);
        drl_rng_normal_fill(&ctx, &rng, noise, (N + 1) * B);
        s = drli_dime_path(&d, drl_tape_input(t, B, 1, obs), drli_dime_time(&d), noise);
        L = drl_add(t, s.density, drl_tanh_logdet(t, s.x)); /* without squash */
        Q = drl_affine(t, drl_square(t, drl_affine(t, s.x, 1, -1)), -2, 0);
        loss = drl_mean(t, drl_sub(t, L, Q));
        drl_params_zero_grad(&d.actor);
        CHECK(drl_tape_backward(t, loss) == DRL_OK);
        if (i < 5) first += ((double)loss->data[0] + log_z) / 5;
        if (i >= UPDATES - 50) {
            last += ((double)loss->data[0] + log_z) / 50;
            for (b = 0; b < B; b++) {
                mean += (double)s.x->data[b];
                square += (double)s.x->data[b] * (double)s.x->data[b];
                count++;
            }
        }
        d.adam_actor.lr = drl_lr_linear(1e-2f, 1e-3f, i, UPDATES);
        drl_adam_step(&d.actor, &d.adam_actor);
    }
    mean /= count;
    printf("  divergence %.2f -> %.3f, N(%.2f, %.2f^2), step size %.2f\n", first, last, mean,
           sqrt(square / count - mean * mean), (double)drl_softplusf(d.rho->data[0]));
    CHECK(first > 5);
    CHECK(last > 0 && last < .9);
    CHECK_NEAR(mean, 1, .15);
    CHECK_NEAR(sqrt(square / count - mean * mean), .5, .1);
    CHECK(drl_softplusf(d.rho->data[0]) > .12f);
    drl_agent_free(&d.agent);
    drl_context_free(&ctx);
}

TEST_MAIN(TEST_ENTRY(presets), TEST_ENTRY(fields_are_complete),
          TEST_ENTRY(values_out_of_range_are_named), TEST_ENTRY(no_memory),
          TEST_ENTRY(no_memory_in_an_update), TEST_ENTRY(no_allocation_after_warm_up),
          TEST_ENTRY(actions), TEST_ENTRY(kept_steps_follow_the_weights), TEST_ENTRY(agent_face),
          TEST_ENTRY(diverged_losses_are_named),
          TEST_ENTRY(save_and_load), TEST_ENTRY(bad_files_are_refused), TEST_ENTRY(initial_path),
          TEST_ENTRY(linear_gaussian_bound), TEST_ENTRY(actor_loss_gradient),
          TEST_ENTRY(temperature), TEST_ENTRY(bandit_reaches_the_bound))
