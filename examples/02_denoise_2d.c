/* 02_denoise_2d: a diffusion model from its four parts, on points in the plane      [**..] level 2

   Teaches   What every diffusion policy does inside. Noise a point in one stroke, learn to guess
             the noise, walk back from pure noise step by step, average the weights.
   Build     cc -O2 examples/02_denoise_2d.c -I. -Iexamples -o build/02_denoise_2d -lm
   Output    build/denoise_2d.svg, the walk from noise to data, and
   update  4000   loss 0.3706
   update  8000   loss 0.3469
   update 12000   loss 0.3433
   update 16000   loss 0.3400

             ::*####*::                                 .:**#:*.:
          .*###########::.                          .*###########*.
        .###*:::. .  :####.                       :*##*:   .. ..####:.
       ####:           .*###                     *##::      ..    :##.
    ..###.               .###.             :    :##.  . .  ::  .  . :##
     *#**        *:.       *##            **   :##       .:*. .     .:##            .:
    .##         .##:        ###          *##. .##. .    . .#:  .     :##:           #:
    ###          ##.        .##          ###  .##          ##          ## .      . *# .
   *##:         .*##         ##:       ..##: :##        .  ###       . ##.   .    *##
   .*#           .###        #:.       **#*   #.            ##*.      ::*.        ##:
     :            *##..       .      ::###.   .             **## ..    :.:  .  .:###
                   :###:.           .###*.                   :###.    .:      :*##:
                    :#####:.: .: :*###*:                       *###*.:.    .*##*:
                      :#*######*####*..                          :############..
                         .*:*#:##:..                               ...**#*# .

                   data                                    samples
   samples off the data: 1.3 %   data not reached: 0.0 %
   Paper     Ho et al. 2020, Denoising diffusion probabilistic models, arXiv:2006.11239 */
#define DIFFRL_IMPLEMENTATION
#include "diffrl.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { POINTS = 1500, BATCH = 256, UPDATES = 16000, STEPS = 40, TIME = 16, IN = 2 + TIME };

typedef struct model {
    drl_ddpm ddpm;              /* abar_t and the steps, t = 1 .. STEPS                            */
    drl_params params, average; /* weights, and their moving average: samples come from that      */
    drl_mlp net, average_net;   /* noise guess = net(x, y, time features of t)                    */
    float time[STEPS][TIME];
} model;

static const float pi = 3.14159265f;

/* Two moons: half circles that reach into each other. points [n, 2] */
static void moons(int n, float *points)
{
    drl_rng angles = drl_rng_make(1, "angles"), noise = drl_rng_make(1, "noise");
    for (int i = 0; i < n; i++) {
        float angle = pi * drl_rng_uniform(&angles), side = i % 2 ? 1.0f : -1.0f;
        points[2 * i] = side * (1.2f * drl_cosf(angle) - 0.6f) + 0.06f * drl_rng_normal(&noise);
        points[2 * i + 1] = side * (1.2f * drl_sinf(angle) - 0.3f) + 0.06f * drl_rng_normal(&noise);
    }
}

static drl_status model_init(model *m, drl_context *ctx)
{
    const int widths[] = {IN, 96, 96, 96, 2};
    drl_rng rng = drl_rng_make(1, "weights");
    if (drl_ddpm_init(&m->ddpm, ctx, DRL_SCHEDULE_COSINE, STEPS) != DRL_OK ||
        drl_params_init(&m->params, ctx, 8, 1) != DRL_OK ||
        drl_params_init(&m->average, ctx, 8, 0) != DRL_OK) return ctx->status;
    drl_mlp_add(&m->net, &m->params, "", widths, 4, DRL_ACT_MISH, DRL_ACT_NONE);
    drl_mlp_add(&m->average_net, &m->average, "", widths, 4, DRL_ACT_MISH, DRL_ACT_NONE);
    if (drl_params_commit(&m->params) != DRL_OK || drl_params_commit(&m->average) != DRL_OK)
        return ctx->status;
    drl_mlp_init(&m->net, DRL_INIT_XAVIER_UNIFORM, 1, &rng);
    drl_params_copy(&m->average, &m->params);
    drl_time_sinusoidal(DRL_TIME_DDPM, STEPS, TIME, m->time[0]);
    return DRL_OK;
}

/* Algorithm 1: minimize |noise - net(sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise, t)|^2, each row
   with a point, a t and a noise of its own. */
static drl_status train(model *m, drl_tape *tape, const float *data)
{
    static float in[BATCH][IN], noise[BATCH][2];
    drl_rng rng = drl_rng_make(1, "train");
    drl_adam_config adam = drl_adam_config_default();
    double mean_loss = 0;
    for (int update = 1; update <= UPDATES; update++) {
        drl_rng_normal_fill(tape->ctx, &rng, noise[0], 2 * BATCH);
        for (int i = 0; i < BATCH; i++) {
            const float *x0 = data + 2 * drl_rng_integer(&rng, POINTS);
            uint32_t t = 1 + drl_rng_integer(&rng, STEPS);
            float abar = m->ddpm.abar[t];
            for (int k = 0; k < 2; k++)
                in[i][k] = sqrtf(abar) * x0[k] + sqrtf(1 - abar) * noise[i][k];
            memcpy(in[i] + 2, m->time[t - 1], sizeof m->time[0]);
        }
        drl_tape_reset(tape);
        drl_tensor *guess = drl_mlp_forward(tape, &m->net, drl_tape_input(tape, BATCH, IN, in[0]));
        drl_tensor *miss = drl_sub(tape, guess, drl_tape_input(tape, BATCH, 2, noise[0]));
        drl_tensor *loss = drl_mean(tape, drl_square(tape, miss));
        drl_params_zero_grad(&m->params);
        if (drl_tape_backward(tape, loss) != DRL_OK) break;
        adam.lr = drl_lr_cosine(3e-3f, 0, update, UPDATES);
        drl_adam_step(&m->params, &adam);
        drl_params_polyak(&m->average, &m->params, 0.005f);
        mean_loss += (double)loss->data[0] / (UPDATES / 4);
        if (update % (UPDATES / 4) == 0) {
            printf("update %5d   loss %.4f\n", update, mean_loss);
            mean_loss = 0;
        }
    }
    return drl_tape_status(tape);
}

/* One panel of the picture: 300 x 300, x and y in +-2.2. */
static void svg_panel(FILE *svg, int column, const char *title, const float *points)
{
    fprintf(svg, "<g transform=\"translate(%d 0)\"><text x=\"150\" y=\"24\">%s</text><path d=\"",
            300 * column, title);
    for (int i = 0; i < POINTS; i++) {
        int x = 150 + (int)(68 * points[2 * i]), y = 150 - (int)(68 * points[2 * i + 1]);
        if (x >= 0 && x <= 300 && y >= 0 && y <= 300) fprintf(svg, "M%d %dh0", x, y);
    }
    fprintf(svg, "\"/></g>\n");
}

/* Algorithm 2: x_T is pure noise; each step takes away the guessed noise and puts a little back. */
static drl_status sample(const model *m, drl_tape *tape, float *points, FILE *svg)
{
    static float in[POINTS][IN], z[2 * POINTS];
    char title[32];
    int column = 0;
    drl_rng rng = drl_rng_make(1, "sample");
    drl_rng_normal_fill(tape->ctx, &rng, points, 2 * POINTS);
    for (int t = STEPS; t >= 1; t--) {
        snprintf(title, sizeof title, "t = %d", t);
        if (t == STEPS || t == 12 || t == 6 || t == 3) svg_panel(svg, column++, title, points);
        for (int i = 0; i < POINTS; i++) {
            memcpy(in[i], points + 2 * i, 2 * sizeof(float));
            memcpy(in[i] + 2, m->time[t - 1], sizeof m->time[0]);
        }
        drl_rng_normal_fill(tape->ctx, &rng, z, 2 * POINTS);
        drl_tape_reset(tape);
        drl_tensor *x = drl_tape_input(tape, POINTS, 2, points);
        drl_tensor *guess = drl_mlp_forward(tape, &m->average_net,
                                            drl_tape_input(tape, POINTS, IN, in[0]));
        x = drl_ddpm_step(tape, &m->ddpm, t, x, guess, drl_tape_input(tape, POINTS, 2, z), 2);
        if (drl_tape_status(tape) != DRL_OK) break; /* after an error there is nothing in x */
        memcpy(points, x->data, sizeof z);
    }
    return drl_tape_status(tape);
}

/* Percent of the points of a that have no point of b within 0.15. */
static double lonely(const float *a, const float *b)
{
    int count = 0;
    for (int i = 0; i < POINTS; i++) {
        int near = 0;
        for (int j = 0; j < POINTS && !near; j++) {
            float x = a[2 * i] - b[2 * j], y = a[2 * i + 1] - b[2 * j + 1];
            near = x * x + y * y < 0.15f * 0.15f;
        }
        count += !near;
    }
    return 100.0 * count / POINTS;
}

/* Both sets side by side, darker where there are more points. */
static void picture(const float *left, const float *right)
{
    enum { WIDTH = 42, HEIGHT = 17 };
    int count[HEIGHT][2 * WIDTH] = {{0}};
    for (int i = 0; i < 2 * POINTS; i++) {
        const float *p = i < POINTS ? left + 2 * i : right + 2 * (i - POINTS);
        int column = (int)((p[0] + 2) / 4 * WIDTH), row = (int)((1.2f - p[1]) / 2.4f * HEIGHT);
        if (column >= 0 && column < WIDTH && row >= 0 && row < HEIGHT)
            count[row][column + (i < POINTS ? 0 : WIDTH)]++;
    }
    for (int row = 0; row < HEIGHT; row++) {
        for (int column = 0; column < 2 * WIDTH; column++) {
            int n = count[row][column];
            putchar(n > 6 ? '#' : n > 3 ? '*' : n > 1 ? ':' : n > 0 ? '.' : ' ');
        }
        putchar('\n');
    }
}

int main(void)
{
    static float data[2 * POINTS], points[2 * POINTS];
    static model m;
    drl_context ctx;
    drl_tape tape = {0};
    FILE *svg = fopen("build/denoise_2d.svg", "w");
    if (!svg) return fprintf(stderr, "no folder build/ here: run in the top folder\n"), 1;
    fprintf(svg, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1800 300\" fill=\"none\" "
            "font-family=\"sans-serif\" text-anchor=\"middle\" stroke-linecap=\"round\">\n"
            "<style>path{stroke:#246;stroke-width:3;stroke-opacity:.7}text{fill:#246}</style>\n"
            "<rect width=\"1800\" height=\"300\" fill=\"#fff\"/>\n");
    moons(POINTS, data);
    drl_status status = drl_context_init(&ctx, NULL);
    if (status == DRL_OK) status = drl_tape_init(&tape, &ctx);
    if (status == DRL_OK) status = model_init(&m, &ctx);
    if (status == DRL_OK) status = train(&m, &tape, data);
    if (status == DRL_OK) status = sample(&m, &tape, points, svg);
    if (status != DRL_OK) fprintf(stderr, "%s\n", drl_context_error(&ctx));
    svg_panel(svg, 4, "samples", points);
    svg_panel(svg, 5, "data", data);
    fprintf(svg, "</svg>\n");
    fclose(svg);
    picture(data, points);
    printf("%20s%43s\n", "data", "samples");
    printf("samples off the data: %.1f %%   data not reached: %.1f %%\n", lonely(points, data),
           lonely(data, points));
    drl_params_free(&m.average);
    drl_params_free(&m.params);
    drl_tape_free(&tape);
    drl_context_free(&ctx);
    return status != DRL_OK;
}
