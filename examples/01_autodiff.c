/* 01_autodiff: the gradient of anything, and a network that learns by it            [*...] level 1

   Teaches   The tape: ops compute at once and are written down; backward reads the record from the
             end and applies the chain rule. Parameters, a gradient check, Adam, handling of errors.
   Build     cc -O2 examples/01_autodiff.c -I. -Iexamples -o build/01_autodiff -lm
   Output    f(2, -3) = -6.7568
             df/da    = -5.6146   (by hand b + 2 a cos(a^2) = -5.6146)
             df/db    =  2.0000   (by hand a = 2)
             check    against (f(a + h) - f(a - h)) / 2h: passed
             step    0   loss 0.766805
             step  200   loss 0.027182
             step  400   loss 0.006541
             step  600   loss 0.000897
             step  800   loss 0.000258
             step 1000   loss 0.000090 */
#define DIFFRL_IMPLEMENTATION
#include "diffrl.h"
#include <stdio.h>

/* f(a, b) = a b + sin(a^2). a is used twice, so two gradients arrive at a: they add up. */
static drl_tensor *expression(drl_tape *tape, void *user)
{
    drl_params *p = (drl_params *)user;
    drl_tensor *a = &p->list[0], *b = &p->list[1];
    return drl_add(tape, drl_mul(tape, a, b), drl_sin(tape, drl_square(tape, a)));
}

static drl_status differentiate(drl_context *ctx, drl_tape *tape, drl_params *p)
{
    double error = 1;
    if (drl_params_init(p, ctx, 2, 1) != DRL_OK) return ctx->status;
    drl_tensor *a = drl_params_add(p, "", "a", 1, 1), *b = drl_params_add(p, "", "b", 1, 1);
    if (drl_params_commit(p) != DRL_OK) return ctx->status;
    a->data[0] = 2;
    b->data[0] = -3;
    drl_tensor *f = expression(tape, p); /* forward: f->data is there at once */
    drl_tape_backward(tape, f);          /* backward: now df/da and df/db are, too */
    printf("f(2, -3) = %.4f\n", (double)f->data[0]);
    printf("df/da    = %.4f   (by hand b + 2 a cos(a^2) = %.4f)\n", (double)a->grad[0],
           (double)(-3 + 4 * drl_cosf(4)));
    printf("df/db    =  %.4f   (by hand a = 2)\n", (double)b->grad[0]);
    drl_tape_check_grad(tape, expression, p, a, 1e-3f, &error);
    printf("check    against (f(a + h) - f(a - h)) / 2h: %s\n", error < 1e-3 ? "passed" : "FAILED");
    return drl_tape_status(tape);
}

/* Fit y = sin(3x) on 64 points with a network 1 -> 32 -> 32 -> 1. */
static drl_status regress(drl_context *ctx, drl_tape *tape, drl_params *p)
{
    const int widths[4] = {1, 32, 32, 1};
    float x[64], y[64];
    drl_rng rng = drl_rng_make(1, "weights");
    drl_adam_config adam = drl_adam_config_default();
    drl_mlp net;
    for (int i = 0; i < 64; i++) x[i] = (float)(2 * i - 63) / 63, y[i] = drl_sinf(3 * x[i]);
    if (drl_params_init(p, ctx, 6, 1) != DRL_OK) return ctx->status;
    drl_mlp_add(&net, p, "", widths, 3, DRL_ACT_TANH, DRL_ACT_NONE);
    if (drl_params_commit(p) != DRL_OK) return ctx->status;
    drl_mlp_init(&net, DRL_INIT_XAVIER_UNIFORM, 1, &rng);
    adam.lr = 3e-3f;
    for (int step = 0; step <= 1000; step++) {
        drl_tape_reset(tape); /* forget the last graph; its memory serves the next */
        drl_tensor *guess = drl_mlp_forward(tape, &net, drl_tape_input(tape, 64, 1, x));
        drl_tensor *miss = drl_sub(tape, guess, drl_tape_input(tape, 64, 1, y));
        drl_tensor *loss = drl_mean(tape, drl_square(tape, miss));
        drl_params_zero_grad(p); /* gradients add up, over steps too */
        if (drl_tape_backward(tape, loss) != DRL_OK) break; /* the one check for all ops above */
        drl_adam_step(p, &adam);
        if (step % 200 == 0) printf("step %4d   loss %.6f\n", step, (double)loss->data[0]);
    }
    return drl_tape_status(tape);
}

int main(void)
{
    drl_context ctx; /* memory, threads, the last error: what objects share, instead of globals */
    drl_tape tape = {0};
    drl_params numbers = {0}, weights = {0}; /* what gradients are for */
    drl_status status = drl_context_init(&ctx, NULL);
    if (status == DRL_OK) status = drl_tape_init(&tape, &ctx);
    if (status == DRL_OK) status = differentiate(&ctx, &tape, &numbers);
    if (status == DRL_OK) status = regress(&ctx, &tape, &weights);
    /* not a bare code: what failed, where, what was expected, what came, what to do */
    if (status != DRL_OK) fprintf(stderr, "%s\n", drl_context_error(&ctx));
    drl_params_free(&weights); /* free is harmless on what was never made */
    drl_params_free(&numbers);
    drl_tape_free(&tape);
    drl_context_free(&ctx);
    return status != DRL_OK;
}
