/* 02_denoise_2d */
#define DIFFRL_IMPLEMENTATION
#include "diffrl.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POINTS = 2000, BATCH = 256, STEPS = 40, EMBED = 16, IN = 2 + EMBED };

static int opt_train = 4000;

/* two arms of a spiral, within +-1 */
static void spiral(drl_rng *rng, int n, float *xy)
{
    for (int i = 0; i < n; i++) {
        float u = sqrtf(drl_rng_uniform(rng)), angle = 4.5f * u + (i % 2 ? 3.14159265f : 0.0f);
        float dx = drl_rng_normal(rng), dy = drl_rng_normal(rng);
        xy[2 * i] = 0.9f * u * drl_cosf(angle) + 0.02f * dx;
        xy[2 * i + 1] = 0.9f * u * drl_sinf(angle) + 0.02f * dy;
    }
}

typedef struct denoiser {
    drl_ddpm ddpm;
    drl_params params, average;
    drl_mlp net, average_net;
    float time[STEPS * EMBED];
} denoiser;

static drl_status denoiser_init(denoiser *d, drl_context *ctx)
{
    const int widths[] = {IN, 96, 96, 96, 2};
    drl_rng rng = drl_rng_make(1, "weights");
    drl_status s = drl_ddpm_init(&d->ddpm, ctx, DRL_SCHEDULE_COSINE, STEPS);
    if (s == DRL_OK) s = drl_params_init(&d->params, ctx, 8, 1);
    if (s == DRL_OK) s = drl_params_init(&d->average, ctx, 8, 0);
    if (s != DRL_OK) return s;
    drl_mlp_add(&d->net, &d->params, "", widths, 4, DRL_ACT_MISH, DRL_ACT_NONE);
    drl_mlp_add(&d->average_net, &d->average, "", widths, 4, DRL_ACT_MISH, DRL_ACT_NONE);
    s = drl_params_commit(&d->params);
    if (s == DRL_OK) s = drl_params_commit(&d->average);
    if (s != DRL_OK) return s;
    drl_mlp_init(&d->net, DRL_INIT_XAVIER_UNIFORM, 1, &rng);
    drl_params_copy(&d->average, &d->params);
    drl_time_sinusoidal(STEPS, EMBED, d->time);
    return DRL_OK;
}

static drl_status train(denoiser *d, drl_tape *tape, const float *data)
{
    static float in[BATCH * IN], eps[BATCH * 2];
    drl_rng rng = drl_rng_make(1, "train");
    drl_adam_config adam = drl_adam_config_default();
    for (int step = 0; step < opt_train; step++) {
        adam.lr = drl_lr_cosine(3e-3f, 0, step, opt_train);
        drl_rng_normal_fill(tape->ctx, &rng, eps, BATCH * 2);
        for (int i = 0; i < BATCH; i++) {
            uint32_t pick = drl_rng_integer(&rng, POINTS), t = 1 + drl_rng_integer(&rng, STEPS);
            float keep = sqrtf(d->ddpm.abar[t]), add = sqrtf(1 - d->ddpm.abar[t]);
            in[i * IN] = keep * data[2 * pick] + add * eps[2 * i];
            in[i * IN + 1] = keep * data[2 * pick + 1] + add * eps[2 * i + 1];
            memcpy(&in[i * IN + 2], &d->time[(t - 1) * EMBED], EMBED * sizeof(float));
        }
        drl_tape_reset(tape);
        drl_tensor *guess = drl_mlp_forward(tape, &d->net, drl_tape_input(tape, BATCH, IN, in));
        drl_tensor *miss = drl_sub(tape, guess, drl_tape_input(tape, BATCH, 2, eps));
        drl_tensor *loss = drl_mean(tape, drl_square(tape, miss));
        drl_params_zero_grad(&d->params);
        if (drl_tape_backward(tape, loss) != DRL_OK) return drl_tape_status(tape);
        drl_adam_step(&d->params, &adam);
        drl_params_polyak(&d->average, &d->params, 0.005f);
        if (step % 1000 == 0 || step == opt_train - 1) printf("step %4d loss %.4f\n", step, (double)loss->data[0]);
    }
    return DRL_OK;
}

static drl_status sample(denoiser *d, drl_tape *tape, int n, float *xy)
{
    static float z[POINTS * 2];
    drl_rng rng = drl_rng_make(1, "sample");
    drl_rng_normal_fill(tape->ctx, &rng, xy, (size_t)n * 2);
    tape->grad_enabled = 0;
    for (int t = STEPS; t >= 1; t--) {
        drl_rng_normal_fill(tape->ctx, &rng, z, (size_t)n * 2);
        drl_tape_reset(tape);
        drl_tensor *x = drl_tape_input(tape, n, 2, xy);
        drl_tensor *time = drl_tape_input(tape, n, EMBED, NULL);
        for (int i = 0; i < n; i++) memcpy(time->data + i * EMBED, d->time + (t - 1) * EMBED, EMBED * sizeof(float));
        drl_tensor *eps = drl_mlp_forward(tape, &d->average_net, drl_concat(tape, x, time));
        x = drl_ddpm_step(tape, &d->ddpm, t, x, eps, drl_tape_input(tape, n, 2, z), 1.0f);
        if (drl_tape_status(tape)) return drl_tape_status(tape);
        memcpy(xy, x->data, (size_t)n * 2 * sizeof(float));
    }
    tape->grad_enabled = 1;
    return DRL_OK;
}

static void picture(const float *left, const float *right)
{
    static const char ink[] = " .:*#";
    enum { W = 44, H = 22 };
    int count[2][H][W] = {{{0}}};
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < POINTS; i++) {
            const float *p = (k ? right : left) + 2 * i;
            int c = (int)((p[0] + 1) * W / 2), r = (int)((1 - p[1]) * H / 2);
            if (c >= 0 && c < W && r >= 0 && r < H) count[k][r][c]++;
        }
    for (int r = 0; r < H; r++) {
        for (int k = 0; k < 2; k++) for (int c = 0; c < W; c++) {int v=count[k][r][c]; putchar(ink[v > 9 ? 4 : v > 4 ? 3 : v > 1 ? 2 : v > 0]); if (c == W - 1) putchar(k ? '\n' : '|');}
    }
}

int main(int argc, char **argv)
{
    static float data[POINTS * 2], out[POINTS * 2];
    static denoiser d;
    drl_context ctx;
    drl_tape tape = {0};
    drl_rng rng = drl_rng_make(1, "data");
    if (argc > 1) opt_train = atoi(argv[1]);
    drl_status s = drl_context_init(&ctx, NULL);
    spiral(&rng, POINTS, data);
    if (!s) s = drl_tape_init(&tape, &ctx);
    if (!s) s = denoiser_init(&d, &ctx);
    if (!s) s = train(&d, &tape, data);
    if (!s) s = sample(&d, &tape, POINTS, out);
    if (s) puts(drl_context_error(&ctx));
    picture(data, out);
}
