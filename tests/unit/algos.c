/* What every algorithm must do, whatever it is: each of drl_algo_at is trained on the pendulum with
   its preset "toy" and shortened counts. Same bits on any number of threads, on every instruction
   set and with SIMD or not; no allocation once it runs; everything that it holds can be saved and
   loaded, and a policy file makes an agent that acts alike; errors name what is wrong. */
#define DIFFRL_IMPLEMENTATION
#include "../../examples/baselines/baselines.h"
#include "../../examples/envs/pendulum.h"
#include "../test.h"

enum { STEPS = 200 };

static uint64_t hash_bytes(uint64_t h, const void *data, size_t size)
{
    const unsigned char *p = (const unsigned char *)data;
    size_t i;
    for (i = 0; i < size; i++) h = (h ^ p[i]) * 1099511628211u;
    return h;
}

static uint64_t hash_agent(drl_agent *agent)
{
    drl_state s;
    uint64_t h = 14695981039346656037u;
    int i;
    drl_state_init(&s, agent->ctx);
    drl_agent_state(agent, &s, 1);
    CHECK(s.status == DRL_OK && s.count > 10);
    for (i = 0; i < s.count; i++)
        h = hash_bytes(h, s.entries[i].data, drl_entry_bytes(&s.entries[i]));
    drl_state_free(&s);
    return h;
}

/* Set a field if the algorithm has it. */
static void shorten(const drl_algo *algo, void *config, const char *key, int most)
{
    const drl_field *f = drli_algo_field(algo, key);
    char text[16];
    drl_context none;
    memset(&none, 0, sizeof(none));
    if (!f || drli_algo_number(algo, config, key, 0) <= most) return;
    snprintf(text, sizeof(text), "%d", most);
    CHECK(drl_fields_set(&none, algo->fields, algo->field_count, config, key, text) == DRL_OK);
}

typedef struct run {
    drl_context ctx;
    drl_trainer trainer;
    drl_agent *agent;
    void *config;
    pendulum body;
    drl_env env;
} run;

/* Start a run; returns 0 if the CPU has not that instruction set. */
static int begin(run *r, drl_algo algo, int threads, drl_isa isa)
{
    static const struct {
        const char *key;
        int value;
    } most[] = {{"random_steps", 40}, {"rollout", 64}, {"batch", 24}, {"candidates", 5},
                {"target", 2}, {"evaluation", 3}, {"steps", 4}, {"actor_width", 24},
                {"critic_width", 24}, {"width", 24}, {"tuned", 3}, {"alpha_delay", 50},
                {"samples", 30}};
    drl_context_config cc = drl_context_config_default();
    int i;
    memset(r, 0, sizeof(*r));
    cc.threads = threads;
    cc.isa = isa;
    if (drl_context_init(&r->ctx, &cc) != DRL_OK) return 0;
    r->env = pendulum_env(&r->body);
    r->config = calloc(1, algo.config_size);
    r->agent = (drl_agent *)calloc(1, algo.size);
    drl_algo_default(algo, r->config, r->env.obs_dim, r->env.act_dim);
    CHECK(drl_algo_preset(&r->ctx, algo, r->config, "toy") == DRL_OK);
    for (i = 0; i < (int)(sizeof(most) / sizeof(*most)); i++)
        shorten(&algo, r->config, most[i].key, most[i].value);
    CHECK(drl_agent_init(r->agent, &r->ctx, algo, r->config) == DRL_OK);
    CHECK(drl_trainer_init(&r->trainer, &r->ctx, NULL, &r->env, 1, r->agent) == DRL_OK);
    return 1;
}

static void steps(run *r, int n)
{
    int i;
    for (i = 0; i < n; i++)
        if (drl_trainer_step(&r->trainer) != DRL_OK) {
            printf("  %s: %s\n", r->agent->algo.name, drl_context_error(&r->ctx));
            CHECK(0);
            return;
        }
}

static void end(run *r)
{
    drl_trainer_free(&r->trainer);
    drl_agent_free(r->agent);
    drl_agent_free(r->agent); /* harmless */
    CHECK(r->ctx.bytes == 0 || r->ctx.scratch);
    drl_context_free(&r->ctx);
    free(r->agent);
    free(r->config);
}

static uint64_t train(drl_algo algo, int threads, drl_isa isa)
{
    run r;
    uint64_t h;
    if (!begin(&r, algo, threads, isa)) return 0;
    steps(&r, STEPS);
    if (r.agent->updates < 2) printf("  %s: only %d updates\n", algo.name, (int)r.agent->updates);
    CHECK(r.agent->updates >= 2);
    h = hash_agent(r.agent);
    end(&r);
    return h;
}

TEST(same_bits)
{
    static const drl_isa isa[] = {DRL_ISA_SCALAR, DRL_ISA_NEON, DRL_ISA_AVX2, DRL_ISA_AVX512};
    int i, k;
    for (i = 0; drl_algo_at(i).name; i++) {
        drl_algo algo = drl_algo_at(i);
        uint64_t want = train(algo, 1, DRL_ISA_AUTO), got;
        for (k = 0; k < 5; k++) {
            got = k < 4 ? train(algo, 1, isa[k]) : train(algo, 3, DRL_ISA_AUTO);
            if (got == want || (k < 4 && !got)) continue;
            printf("  %s: other bits in case %d\n", algo.name, k);
            CHECK(got == want);
        }
    }
}

/* Every gradient is written anew by an update, also where its first addend overwrites it. */
TEST(old_gradients_do_not_matter)
{
    int i, j, k, n;
    size_t c;
    for (i = 0; drl_algo_at(i).name; i++) {
        run r;
        CHECK(begin(&r, drl_algo_at(i), 1, DRL_ISA_AUTO));
        for (n = 0; n < STEPS; n++) {
            steps(&r, 1);
            for (k = 0; k < r.agent->set_count; k++) {
                drl_params *p = r.agent->sets[k].params;
                for (j = 0; j < p->count && p->trainable; j++) {
                    const drl_tensor *x = &p->list[j];
                    for (c = 0; c < (size_t)x->rows * (size_t)x->cols; c++) x->grad[c] = 1e6f;
                }
            }
        }
        CHECK(hash_agent(r.agent) == train(drl_algo_at(i), 1, DRL_ISA_AUTO));
        end(&r);
    }
}

TEST(nothing_is_allocated_once_it_runs)
{
    int i;
    for (i = 0; drl_algo_at(i).name; i++) {
        float obs[3] = {1, 0, 0}, act[1];
        uint64_t calls;
        run r;
        CHECK(begin(&r, drl_algo_at(i), 1, DRL_ISA_AUTO));
        steps(&r, STEPS);
        CHECK(drl_agent_act(r.agent, DRL_MODE_EVAL, 1, obs, act) == DRL_OK);
        steps(&r, 80);
        calls = r.ctx.allocations;
        steps(&r, 80);
        CHECK(drl_agent_act(r.agent, DRL_MODE_EVAL, 1, obs, act) == DRL_OK);
        if (r.ctx.allocations != calls)
            printf("  %s: %d allocations\n", r.agent->algo.name, (int)(r.ctx.allocations - calls));
        CHECK(r.ctx.allocations == calls);
        end(&r);
    }
}

TEST(files_keep_the_policy)
{
    const char *path = "build/algos_test.safetensors";
    int i, k;
    for (i = 0; drl_algo_at(i).name; i++) {
        drl_algo algo = drl_algo_at(i);
        drl_agent *b = (drl_agent *)calloc(1, algo.size);
        float obs[6], one[2], two[2];
        run r;
        CHECK(begin(&r, algo, 1, DRL_ISA_AUTO));
        steps(&r, 120);
        CHECK(drl_agent_save(r.agent, path, NULL) == DRL_OK);
        CHECK(drl_agent_load(b, &r.ctx, algo, path) == DRL_OK);
        CHECK(memcmp(drl_agent_config(b), drl_agent_config(r.agent), algo.config_size) == 0);
        for (k = 0; k < 20; k++) {
            int j;
            for (j = 0; j < 6; j++) obs[j] = sinf((float)(j + 7 * k));
            drl_agent_begin(r.agent, -1, (uint64_t)k);
            drl_agent_begin(b, -1, (uint64_t)k);
            CHECK(drl_agent_act(r.agent, DRL_MODE_EVAL, 1, obs, one) == DRL_OK);
            CHECK(drl_agent_act(b, DRL_MODE_EVAL, 1, obs, two) == DRL_OK);
            CHECK(one[0] == two[0] && fabsf(one[0]) <= 1);
        }
        drl_agent_free(b);
        free(b);
        end(&r);
    }
}

/* Every byte of a configuration belongs to one field, but for padding before 8-byte members; every
   preset is valid; a value out of range is refused by name. */
TEST(configurations)
{
    int i, k;
    for (i = 0; drl_algo_at(i).name; i++) {
        static const char *const presets[] = {"paper", "cpu", "toy"};
        drl_algo algo = drl_algo_at(i);
        unsigned char used[1024] = {0};
        char *config = (char *)calloc(1, algo.config_size);
        drl_agent *agent = (drl_agent *)calloc(1, algo.size);
        drl_context ctx;
        size_t at;
        CHECK(drl_context_init(&ctx, NULL) == DRL_OK && algo.config_size <= sizeof(used));
        for (k = 0; k < algo.field_count; k++) {
            for (at = 0; at < drli_field_size(&algo.fields[k]); at++)
                used[algo.fields[k].offset + at]++;
            CHECK(strlen(algo.fields[k].doc) > 0);
        }
        for (at = 0; at < algo.config_size; at += 4) {
            int padding = at % 8 == 4 && (at + 4 == algo.config_size || used[at + 4]);
            if (used[at] == 1 || (used[at] == 0 && padding)) continue;
            printf("  %s: byte %d belongs to %d fields\n", algo.name, (int)at, used[at]);
            CHECK(0);
        }
        drl_algo_default(algo, config, 17, 6);
        for (k = 0; k < 3; k++) {
            CHECK(drl_algo_preset(&ctx, algo, config, presets[k]) == DRL_OK);
            CHECK(drl_fields_check(&ctx, algo.fields, algo.field_count, config) == DRL_OK);
        }
        for (k = 0; k < algo.field_count; k++) {
            const drl_field *f = &algo.fields[k];
            unsigned char *p = (unsigned char *)config + f->offset, kept[8];
            float nan = (float)NAN;
            int low = (int)f->low - 1;
            if ((f->low == 0 && f->high == 0) || f->type == DRL_FIELD_CHOICE) continue;
            memcpy(kept, p, drli_field_size(f));
            if (f->type == DRL_FIELD_FLOAT) memcpy(p, &nan, 4);
            else if (f->type == DRL_FIELD_INT || f->type == DRL_FIELD_BOOL) memcpy(p, &low, 4);
            else memset(p, 0xff, 8);
            CHECK(drl_agent_init(agent, &ctx, algo, config) == DRL_ERR_RANGE);
            CHECK_TEXT(drl_context_error(&ctx), f->name);
            memcpy(p, kept, drli_field_size(f));
        }
        CHECK(drl_agent_init(agent, &ctx, algo, config) == DRL_OK);
        drl_agent_free(agent);
        drl_context_free(&ctx);
        free(agent);
        free(config);
    }
}

/* A weight that is not finite ends in an error that names a tensor. */
TEST(divergence_is_named)
{
    int i, k;
    for (i = 0; drl_algo_at(i).name; i++) {
        drl_status s = DRL_OK;
        run r;
        CHECK(begin(&r, drl_algo_at(i), 1, DRL_ISA_AUTO));
        steps(&r, 100);
        r.agent->sets[r.agent->set_count > 1].params->value[1] = (float)NAN;
        r.agent->sets[0].params->value[1] = (float)NAN;
        for (k = 0; k < 400 && s == DRL_OK; k++) s = drl_trainer_step(&r.trainer);
        CHECK(s == DRL_ERR_NAN || s == DRL_ERR_RANGE); /* in learning, or in acting before it */
        CHECK(strlen(drl_context_error(&r.ctx)) > 20);
        end(&r);
    }
}

/* Actions of an evaluation from this seed, and exploring ones. */
static void act_both(run *r, int noiseless, uint64_t seed, float *eval, float *explore)
{
    const float obs[3] = {0.6f, 0.8f, -1.0f};
    r->agent->noiseless = noiseless;
    drl_agent_begin(r->agent, -1, seed);
    drl_agent_begin(r->agent, 0, 0);
    r->agent->rng_act = drl_rng_make(seed, "act");
    CHECK(drl_agent_act(r->agent, DRL_MODE_EVAL, 1, obs, eval) == DRL_OK);
    CHECK(drl_agent_act(r->agent, DRL_MODE_EXPLORE, 1, obs, explore) == DRL_OK);
}

/* Without noise an evaluation's action depends on the state alone; exploring stays as it was. */
TEST(noiseless)
{
    int i;
    for (i = 0; drl_algo_at(i).name; i++) {
        const char *name = drl_algo_at(i).name;
        int gauss = !strcmp(name, "sac") || !strcmp(name, "ppo");
        float mean[2], sample[2], explore[4];
        run r;
        CHECK(begin(&r, drl_algo_at(i), 1, DRL_ISA_AUTO));
        steps(&r, 60);
        act_both(&r, 1, 1, &mean[0], &explore[0]);
        act_both(&r, 1, 2, &mean[1], &explore[1]);
        act_both(&r, 0, 1, &sample[0], &explore[2]);
        act_both(&r, 0, 2, &sample[1], &explore[3]);
        CHECK(memcmp(&mean[0], &mean[1], sizeof(float)) == 0);
        CHECK(gauss || memcmp(&sample[0], &sample[1], sizeof(float)) != 0);
        CHECK(!gauss || memcmp(&sample[0], &mean[0], sizeof(float)) == 0);
        CHECK(memcmp(&explore[0], &explore[2], 2 * sizeof(float)) == 0);
        CHECK(memcmp(&explore[0], &explore[1], sizeof(float)) != 0);
        end(&r);
    }
}

TEST_MAIN(TEST_ENTRY(noiseless), TEST_ENTRY(same_bits), TEST_ENTRY(old_gradients_do_not_matter),
          TEST_ENTRY(nothing_is_allocated_once_it_runs), TEST_ENTRY(files_keep_the_policy),
          TEST_ENTRY(configurations), TEST_ENTRY(divergence_is_named))
