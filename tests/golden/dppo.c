/* Five updates of pre-training and two whole iterations of fine-tuning against tests/golden/dppo.h:
   an independent computation in PyTorch, float64 (tools/make_golden_dppo.py). The formulae of the
   inputs are in the head of that file. */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"
#include "golden.h"
#include "dppo.h"

enum { S = 4, A = 2, D = 6, K = 6, TUNED = 3, N = 12, BATCH = 12, TENSORS = 20, ACTOR = 12 };

static void fill_tensors(drl_params *p, int id)
{
    int i;
    for (i = 0; i < p->count; i++) {
        drl_tensor *x = &p->list[i];
        fill(x->data, size_of(x), id + i, 0, i % 2 ? .1 : 1 / sqrt((double)x->rows));
    }
}

static void start(drl_dppo *d, drl_context *ctx)
{
    drl_dppo_config c = drl_dppo_config_default(S, A);
    int i;
    CHECK(drl_context_init(ctx, NULL) == DRL_OK);
    c.envs = 3;
    c.chunk = 3;
    c.steps = K;
    c.tuned = TUNED;
    c.actor_width = 16;
    c.critic_width = 12;
    c.bc_epochs = 5;
    c.bc_batch = 8;
    c.bc_lr = 1e-2f;
    c.bc_lr_last = 1e-3f;
    c.bc_decay = 1e-2f;
    c.ema = .9f;
    c.ema_every = 2;
    c.ema_first = 3;
    c.rollout = N;
    c.batch = BATCH;
    c.epochs = 2;
    c.gamma_den = .9f;
    c.clip = .05f;
    c.lr_actor = c.lr_critic = 3e-3f;
    CHECK(drl_dppo_init(d, ctx, &c) == DRL_OK);
    CHECK(d->actor.count == ACTOR && d->critic.count == TENSORS - ACTOR);
    for (i = 0; i < TENSORS; i++) {
        const drl_tensor *x = i < ACTOR ? &d->actor.list[i] : &d->critic.list[i - ACTOR];
        CHECK(x->rows == golden_dppo_tensors[i].rows && x->cols == golden_dppo_tensors[i].cols);
    }
    fill_tensors(&d->student, 1);
    fill_tensors(&d->critic, 30);
    drl_params_copy(&d->base, &d->student);
    drl_params_copy(&d->actor, &d->student);
}

static void stop(drl_dppo *d, drl_context *ctx)
{
    drl_agent_free(&d->agent);
    drl_context_free(ctx);
}

static int integer(int id, int i, int n) { return (int)((uniform(id, i) + 1) / 2 * n); }

TEST(inputs)
{
    check_inputs(golden_dppo_inputs);
}

TEST(five_updates_of_pretraining)
{
    drl_context ctx;
    drl_dppo d;
    float obs[40 * S], act[40 * A];
    double worst;
    int u, r, i;
    start(&d, &ctx);
    fill(obs, 40 * S, 50, .3, 1.5);
    fill(act, 40 * A, 51, 0, .9);
    drli_dppo_range(&d.obs_range, 40, obs);
    drli_dppo_range(&d.act_range, 40, act);
    for (i = 0; i < S + A; i++) { /* least and largest again, of obs, of act */
        const drl_dense *range = i < S ? &d.obs_range : &d.act_range;
        int k = i < S ? i : i - S;
        const double *want = golden_dppo_range + (i < S ? k : 2 * S + k);
        CHECK_NEAR(range->b->data[k] - range->w->data[k], want[0], 1e-6);
        CHECK_NEAR(range->b->data[k] + range->w->data[k], want[i < S ? S : A], 2e-6);
    }
    for (u = 0; u < 5; u++) {
        drl_tape *t = &d.agent.tape;
        drl_tensor *s, *x, *noise;
        const double *want = golden_dppo_bc + 3 * u;
        int at[8], id = 100 + 10 * u;
        drl_tape_reset(t);
        s = drl_tape_input(t, 8, S, NULL);
        x = drl_tape_input(t, 8 * 3, A, NULL);
        noise = drl_tape_input(t, 8, D, NULL);
        for (r = 0; r < 8; r++) {
            int row = integer(id, r, 38);
            memcpy(s->data + r * S, obs + row * S, S * sizeof(float));
            memcpy(x->data + r * D, act + row * A, D * sizeof(float));
            at[r] = 1 + integer(id + 1, r, K);
        }
        fill_normal(noise->data, 8 * D, id + 2);
        d.agent.metrics[5].value = 0;
        d.epoch = u;
        s = drli_dppo_normal(&d, &d.obs_range, s);
        x = drli_dppo_normal(&d, &d.act_range, x);
        CHECK(drli_dppo_clone(&d, s, drl_tape_input(t, 8, D, x->data), at, noise) == DRL_OK);
        CHECK(far1(d.agent.metrics[5].value, want[0]) < 1e-6);
        CHECK(far1(norm_of(&d.student, 0, ACTOR), want[1]) < 5e-6);
        CHECK(far1((double)d.adam_student.lr, want[2]) < 1e-6);
    }
    worst = far_tensors(&d.base, 0, ACTOR, golden_dppo_ema, 0);
    CHECK(worst < 5e-6);
    printf("  after 5 updates the average is %.1e off\n", worst);
    stop(&d, &ctx);
}

/* The chain of iteration j from given noise, and then the rollout with it. */
static void roll(drl_dppo *d, int j)
{
    drl_tape *t = &d->agent.tape;
    static float path[(K + 1) * N * D];
    float s[N * S], next[N * S], reward[N], *chain = d->rollout.act;
    int id = 300 + 20 * j, i, n;
    drl_tensor *obs;
    fill(s, N * S, id, 0, 1.2);
    fill(next, N * S, id + 1, 0, 1.2);
    fill(reward, N, id + 2, 1, 3);
    fill_normal(path, (K + 1) * N * D, id + 5);
    for (i = N * D; i < (K + 1) * N * D; i++) path[i] = drli_clampf(path[i], -3, 3);
    drl_tape_reset(t);
    obs = drl_tape_input(t, N, S, s);
    drl_denoiser_sample(t, &d->base_net, &d->explore, obs, 1, K, TUNED + 1, 1, path);
    drl_denoiser_sample(t, &d->net, &d->explore, obs, 1, TUNED, 1, 1, path + (K - TUNED) * N * D);
    CHECK(drl_tape_status(t) == DRL_OK);
    for (n = 0; n < N; n++) {
        float *plan = drli_dppo_plan(d, DRL_MODE_EXPLORE, n % 3), *x = plan + DRLI_DPPO_OBS;
        memcpy(x, s + n * S, S * sizeof(float));
        for (i = 0; i <= TUNED; i++)
            memcpy(x + S + i * D, path + ((K - TUNED + i) * N + n) * D, D * sizeof(float));
        plan[DRLI_DPPO_AT] = 3; /* its end */
        plan[DRLI_DPPO_REWARD] = 0;
        plan[DRLI_DPPO_FIRST] = uniform(id + 4, n) > .5;
        i = uniform(id + 3, n) > .6 ? DRL_ENV_TERMINATED : 0;
        CHECK(drli_dppo_observe(&d->agent, n % 3, s, s, reward[n], next + n * S, i) == DRL_OK);
    }
    CHECK(far(chain, golden_dppo_sampled + j * N * (TUNED + 1) * D, N * (TUNED + 1) * D) < 5e-6);
    for (i = 0; i < N * (TUNED + 1) * D; i++) {
        double x = golden_dppo_sampled[j * N * (TUNED + 1) * D + i];
        int place = i / D;
        if (place == 5 * (TUNED + 1)) x += 3;
        if (place == 7 * (TUNED + 1) + TUNED) x += .5;
        chain[i] = (float)x;
    }
}

TEST(two_iterations_of_fine_tuning)
{
    drl_context ctx;
    drl_dppo d;
    const double *want = golden_dppo_steps;
    const drl_metric *m = d.agent.metrics;
    uint32_t pairs[N * TUNED], q;
    double last = 0;
    int j, e, b, i;
    start(&d, &ctx);
    for (j = 0; j < 2; j++) {
        const double *chunks = golden_dppo_chunks + j * 4 * N;
        roll(&d, j);
        CHECK(drli_dppo_before(&d) == DRL_OK);
        CHECK(far(d.v, chunks, N) < 2e-6 && far(d.next_v, chunks + N, N) < 2e-6);
        CHECK(far(d.old, golden_dppo_old + j * N * TUNED, N * TUNED) < 1e-5);
        drli_dppo_targets(&d);
        drli_rollout_clear(&d.rollout);
        for (i = 0; i < 3; i++) CHECK(far1(d.scale[i], golden_dppo_scale[3 * j + i]) < 1e-6);
        CHECK(far(d.advantage, chunks + 2 * N, N) < 2e-6);
        CHECK(far(d.target, chunks + 3 * N, N) < 2e-6);
        for (e = 0; e < 2; e++) {
            for (q = 0; q < N * TUNED; q++)
                pairs[q] = (7 * q + 5 * (uint32_t)e + 11 * (uint32_t)j) % (N * TUNED);
            for (b = 0; b < 3; b++, want += 6) {
                CHECK(drli_dppo_step(&d, BATCH, pairs + b * BATCH) == DRL_OK);
                CHECK_NEAR(m[0].value, want[0], 2e-6);
                CHECK(far1(m[1].value, want[1]) < 2e-6);
                CHECK_NEAR(m[2].value, want[2], 2e-7);
                CHECK_NEAR(m[3].value * BATCH, want[3], 1e-6);
                CHECK(far1(norm_of(&d.actor, 0, ACTOR), want[4]) < 1e-5);
                CHECK(far1(norm_of(&d.critic, 0, TENSORS - ACTOR), want[5]) < 1e-5);
                if (want == golden_dppo_steps) {
                    CHECK(far_tensors(&d.actor, 0, ACTOR, golden_dppo_grad, 1) < 1e-5);
                    CHECK(far_tensors(&d.critic, 0, TENSORS - ACTOR,
                                      golden_dppo_grad + LENGTH(golden_dppo_ema), 1) < 1e-5);
                }
            }
        }
    }
    CHECK(want == golden_dppo_steps + LENGTH(golden_dppo_steps) && d.agent.updates == 12);
    last = fmax(far_tensors(&d.actor, 0, ACTOR, golden_dppo_last, 0),
                far_tensors(&d.critic, 0, TENSORS - ACTOR,
                            golden_dppo_last + LENGTH(golden_dppo_ema), 0));
    CHECK(last < 1e-5);
    printf("  after 12 gradient steps parameters are %.1e off\n", last);
    stop(&d, &ctx);
}

TEST_MAIN(TEST_ENTRY(inputs), TEST_ENTRY(five_updates_of_pretraining),
          TEST_ENTRY(two_iterations_of_fine_tuning))
