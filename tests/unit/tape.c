/* The tape: what gets a gradient, errors that stick, memory that runs out at every place, no
   allocation once warm, chains that are forgotten step by step, the gradient check itself.
   build: cc -O2 tape.c -o tape -lm */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"

static drl_context ctx;
static drl_tape tape;

static void start(void)
{
    CHECK(drl_context_init(&ctx, NULL) == DRL_OK);
    CHECK(drl_tape_init(&tape, &ctx) == DRL_OK);
}

/* everything goes back */
static void stop(void)
{
    drl_tape_free(&tape);
    drl_tape_free(&tape);
    CHECK(ctx.bytes == ctx.scratch_size);
    drl_context_free(&ctx);
}

/* 6 * mean of the 6 elements: the gradient of each is 1 */
static drl_tensor *total(drl_tensor *x)
{
    return drl_affine(&tape, drl_mean(&tape, x), (float)(x->rows * x->cols), 0.0f);
}

TEST(who_gets_a_gradient)
{
    float a[6] = {1, 2, 3, 4, 5, 6}, b[6] = {2, 2, 2, 3, 3, 3};
    drl_params params;
    drl_tensor *p, *x, *y, *input;
    start();
    drl_params_init(&params, &ctx, 1, 1);
    p = drl_params_add(&params, "", "p", 2, 3);
    CHECK(drl_params_commit(&params) == DRL_OK);
    memcpy(p->data, b, sizeof(b));
    /* x p + x^2: x is used three times; p x is 1-d in each */
    x = drl_tape_variable(&tape, 2, 3, a);
    input = drl_tape_input(&tape, 2, 3, b);
    CHECK(x->needs_grad && !input->needs_grad && p->needs_grad);
    y = drl_add(&tape, drl_mul(&tape, x, p), drl_mul(&tape, x, x));
    y = drl_add(&tape, y, drl_mul(&tape, input, drl_detach(&tape, x)));
    CHECK(drl_tape_backward(&tape, total(y)) == DRL_OK);
    CHECK(x->grad[0] == 4 && x->grad[5] == 15 && p->grad[0] == 1 && p->grad[5] == 6);
    CHECK(input->grad == NULL);
    CHECK(y->data[0] == 2 + 1 + 2 && y->data[5] == 18 + 36 + 18);
    /* parameters add up over passes until zero_grad; variables start anew */
    drl_tape_reset(&tape);
    x = drl_tape_variable(&tape, 2, 3, a);
    CHECK(drl_tape_backward(&tape, total(drl_mul(&tape, x, p))) == DRL_OK);
    CHECK(x->grad[0] == 2 && p->grad[0] == 2 && p->grad[5] == 12);
    drl_params_zero_grad(&params);
    CHECK(p->grad[0] == 0 && p->grad[5] == 0);
    /* a loss that is a sum of losses over two halves of the rows of a parameter */
    drl_tape_reset(&tape);
    y = total(drl_square(&tape, drl_rows(&tape, p, 1, 1)));
    y = drl_add(&tape, y, total(drl_affine(&tape, drl_rows(&tape, p, 0, 2), 10, 0)));
    CHECK(drl_tape_backward(&tape, y) == DRL_OK);
    CHECK(p->grad[0] == 10 && p->grad[3] == 16 && p->grad[5] == 16);
    /* without gradients the same values, and nothing to differentiate */
    drl_tape_reset(&tape);
    tape.grad_enabled = 0;
    x = drl_tape_variable(&tape, 2, 3, a);
    y = total(drl_mul(&tape, x, p));
    CHECK(y->data[0] == 57 && !y->needs_grad && !x->needs_grad);
    CHECK(drl_tape_backward(&tape, y) == DRL_ERR_SHAPE);
    CHECK_TEXT(drl_context_error(&ctx), "without gradient");
    drl_params_free(&params);
    stop();
}

TEST(backward_errors)
{
    float a[6] = {1, 2, 3, 4, 5, 6};
    drl_tensor *x, *y;
    start();
    x = drl_tape_variable(&tape, 2, 3, a);
    CHECK(drl_tape_backward(&tape, x) == DRL_ERR_SHAPE);
    CHECK_TEXT(drl_context_error(&ctx), "expected a 1 x 1 loss");
    CHECK_TEXT(drl_context_error(&ctx), "got [2, 3]");
    CHECK(drl_tape_status(&tape) == DRL_ERR_SHAPE);
    drl_tape_reset(&tape);
    x = drl_tape_variable(&tape, 2, 3, a);
    y = total(x);
    CHECK(drl_tape_backward(&tape, y) == DRL_OK);
    CHECK(drl_tape_backward(&tape, y) == DRL_ERR_STATE); /* once between two resets */
    CHECK_TEXT(drl_context_error(&ctx), "expected one call");
    CHECK(x->grad[0] == 1);
    drl_tape_reset(&tape);
    x = drl_tape_variable(&tape, 2, 3, a);
    CHECK(drl_tape_backward(&tape, total(x)) == DRL_OK);
    /* a loss that does not use what was recorded before or after it */
    drl_tape_reset(&tape);
    x = drl_tape_variable(&tape, 2, 3, a);
    drl_exp(&tape, x);
    y = total(x);
    drl_square(&tape, y);
    CHECK(drl_tape_backward(&tape, y) == DRL_OK);
    CHECK(x->grad[0] == 1 && x->grad[5] == 1);
    stop();
}

/* ---- a network with a bit of everything ---- */

enum { B = 96, IN = 5, WIDTH = 48, OUT = 7 };

typedef struct net {
    drl_params params, running;
    drl_dense l0, l1;
    drl_brn bn;
    drl_tensor *scale, *shift;
    float *x, *target; /* the test's own */
} net;

static drl_status net_init(net *n, drl_context *c)
{
    drl_rng rng = drl_rng_make(3, "net");
    drl_status status;
    drl_params_init(&n->params, c, 16, 1);
    drl_params_init(&n->running, c, 16, 0);
    drl_dense_add(&n->l0, &n->params, "", "l0", IN, WIDTH);
    drl_dense_add(&n->l1, &n->params, "", "l1", 2 * WIDTH, OUT);
    drl_brn_add(&n->bn, &n->params, &n->running, "", "bn", WIDTH);
    n->scale = drl_params_add(&n->params, "", "scale", 1, WIDTH);
    n->shift = drl_params_add(&n->params, "", "shift", 1, WIDTH);
    status = drl_params_commit(&n->params);
    if (status == DRL_OK) status = drl_params_commit(&n->running);
    if (status != DRL_OK) return status;
    drl_dense_init(&n->l0, DRL_INIT_LECUN_NORMAL, 1, &rng);
    drl_dense_init(&n->l1, DRL_INIT_LECUN_NORMAL, 1, &rng);
    drl_brn_init(&n->bn);
    drl_tensor_init(n->scale, DRL_INIT_CONSTANT, 1, &rng);
    return DRL_OK;
}

static void net_free(net *n)
{
    drl_params_free(&n->params);
    drl_params_free(&n->running);
}

static drl_tensor *net_loss(drl_tape *t, void *user)
{
    net *n = (net *)user;
    drl_tensor *x = drl_tape_input(t, B, IN, n->x), *h, *g;
    h = drl_brn_train(t, &n->bn, drl_dense_forward(t, &n->l0, x, DRL_ACT_MISH), 0);
    g = drl_add(t, drl_mul(t, drl_activate(t, DRL_ACT_GELU, h), n->scale), n->shift);
    h = drl_dense_forward(t, &n->l1, drl_concat(t, h, g), DRL_ACT_NONE);
    g = drl_mean(t, drl_mul(t, drl_log_softmax(t, drl_rows(t, h, 0, B / 2)),
                            drl_softmax(t, drl_rows(t, h, B / 2, B / 2))));
    return drl_add(t, drl_c51_loss(t, h, n->target, 0.1f), g);
}

static void net_data(net *n)
{
    static float x[B * IN], target[B * OUT];
    int i;
    for (i = 0; i < B * IN; i++) x[i] = sinf(1.7f * (float)i);
    for (i = 0; i < B * OUT; i++) target[i] = 1.0f / OUT;
    memset(n, 0, sizeof(*n));
    n->x = x;
    n->target = target;
}

/* An allocator that counts, and gives nothing at call number `fail`. */
typedef struct counter {
    int calls, fail, failed;
    size_t blocks, bytes;
} counter;

static void *counted_alloc(size_t n, void *user)
{
    counter *c = (counter *)user;
    void *p;
    if (++c->calls == c->fail) {
        c->failed = 1;
        return NULL;
    }
    p = malloc(n);
    if (p) c->blocks++, c->bytes += n;
    return p;
}
static void counted_free(void *p, size_t n, void *user)
{
    counter *c = (counter *)user;
    c->blocks--;
    c->bytes -= n;
    free(p);
}

/* Four passes of the network in a fresh context where allocation number `fail` gives nothing. An
   error must be reported once, and after a reset the same objects must work. Returns 1 if one
   failed. *quiet counts those without an error: a reset that cannot merge blocks, where the next op
   asks again. */
static int run_with_failure(int fail, int *quiet)
{
    counter c = {0, 0, 0, 0, 0};
    drl_context_config cfg = drl_context_config_default();
    drl_context local;
    drl_tape t;
    drl_status status;
    net n;
    int pass, errors = 0;
    size_t held;
    c.fail = fail;
    cfg.allocator.alloc_fn = counted_alloc;
    cfg.allocator.free_fn = counted_free;
    cfg.allocator.user = &c;
#ifndef DIFFRL_NO_THREADS
    cfg.threads = 2;
#endif
    status = drl_context_init(&local, &cfg);
    if (status == DRL_OK) {
        held = local.bytes;
        net_data(&n);
        CHECK(drl_tape_init(&t, &local) == DRL_OK);
        status = net_init(&n, &local);
        for (pass = 0; pass < 4 && status == DRL_OK; pass++) {
            drl_tape_reset(&t);
            if (drl_tape_backward(&t, net_loss(&t, &n)) == DRL_OK) continue;
            errors++;
            CHECK(drl_tape_status(&t) == DRL_ERR_MEMORY);
            CHECK_TEXT(drl_context_error(&local), "has no ");
        }
        CHECK(status != DRL_OK || drl_tape_status(&t) == DRL_OK); /* the last pass worked */
        CHECK(errors <= (status == DRL_OK && c.failed));
        if (status == DRL_OK && c.failed && !errors) ++*quiet;
        else CHECK(status == (c.failed && !errors ? DRL_ERR_MEMORY : DRL_OK));
        drl_tape_free(&t);
        net_free(&n);
        net_free(&n); /* twice is harmless */
        CHECK(local.bytes == held);
    } else CHECK(c.failed && status == DRL_ERR_MEMORY);
    drl_context_free(&local);
    drl_context_free(&local);
    CHECK(c.blocks == 0 && c.bytes == 0);
    return c.failed;
}

TEST(memory_runs_out_anywhere)
{
    int fail = 1, quiet = 0;
    while (run_with_failure(fail, &quiet)) fail++;
    CHECK(fail > 10); /* places tried */
    CHECK(quiet <= 1);
}

TEST(no_allocation_once_warm)
{
    uint64_t calls;
    size_t held;
    int i;
    net n;
    start();
    net_data(&n);
    CHECK(net_init(&n, &ctx) == DRL_OK);
    for (i = 0; i < 2; i++) {
        drl_tape_reset(&tape);
        CHECK(drl_tape_backward(&tape, net_loss(&tape, &n)) == DRL_OK);
    }
    calls = ctx.allocations;
    held = ctx.bytes;
    for (i = 0; i < 3; i++) {
        drl_tape_reset(&tape);
        CHECK(drl_tape_backward(&tape, net_loss(&tape, &n)) == DRL_OK);
    }
    CHECK(ctx.allocations == calls && ctx.bytes == held);
    net_free(&n);
    stop();
}

/* The gradient check finds right gradients right and wrong ones wrong. */
static drl_tensor *half_detached(drl_tape *t, void *user)
{
    drl_tensor *x = (drl_tensor *)user; /* the gradient of x^2 comes out as x */
    return drl_mean(t, drl_mul(t, x, drl_detach(t, x)));
}

TEST(gradient_check)
{
    double error = 0;
    int i;
    net n;
    start();
    net_data(&n);
    CHECK(net_init(&n, &ctx) == DRL_OK);
    for (i = 3; i < n.params.count; i++) { /* the last bias, norms */
        CHECK(drl_tape_check_grad(&tape, net_loss, &n, &n.params.list[i], 1e-2f, &error) == DRL_OK);
        CHECK(error < 0.03);
    }
    CHECK(drl_tape_check_grad(&tape, half_detached, n.l0.w, n.l0.w, 1e-2f, &error) == DRL_OK);
    CHECK(error > 0.3);
    net_free(&n);
    stop();
}

static drl_tensor *zeros(int rows, int cols)
{
    drl_tensor *x = drl_tape_input(&tape, rows, cols, NULL);
    if (x != &tape.poison) memset(x->data, 0, (size_t)rows * (size_t)cols * sizeof(float));
    return x;
}

/* A chain x <- x + 0.1 sin x, forgotten after each step, stays in the same memory. */
TEST(save_and_release)
{
    float a[6] = {1, 2, 3, 4, 5, 6};
    double want[6];
    drl_tape_mark mark;
    drl_tensor *x, *y, *before, *p;
    size_t used = 0, held;
    int i, step;
    start();
    for (i = 0; i < 6; i++) want[i] = a[i];
    x = drl_tape_input(&tape, 2, 3, NULL);
    memcpy(x->data, a, sizeof(a));
    tape.grad_enabled = 0;
    for (step = 0; step < 1000; step++) {
        mark = drl_tape_save(&tape);
        y = drl_add(&tape, x, drl_affine(&tape, drl_sin(&tape, x), 0.1f, 0));
        memcpy(x->data, y->data, sizeof(a));
        if (step == 0) used = tape.arena.used;
        CHECK(tape.arena.used == used);
        drl_tape_release(&tape, mark);
        for (i = 0; i < 6; i++) want[i] += 0.1 * sin(want[i]);
    }
    for (i = 0; i < 6; i++) CHECK_NEAR(x->data[i], want[i], 2e-5);
    CHECK(tape.arena.peak == used);
    /* steps that need several blocks use the same ones again */
    held = 0;
    for (step = 0; step < 20; step++) {
        mark = drl_tape_save(&tape);
        for (i = 0; i < 8; i++) drl_exp(&tape, zeros(100, 100));
        CHECK(drl_tape_status(&tape) == DRL_OK);
        if (step == 4) held = ctx.bytes;
        if (step > 4) CHECK(ctx.bytes == held);
        drl_tape_release(&tape, mark);
    }
    /* what was recorded before a mark still has its gradient; the forgotten part has none */
    drl_tape_reset(&tape);
    tape.grad_enabled = 1;
    p = drl_tape_variable(&tape, 2, 3, a);
    before = drl_square(&tape, p);
    mark = drl_tape_save(&tape);
    for (i = 0; i < 100; i++) { /* a mark in an older block: the newer ones are used again */
        y = zeros(100, 100);
        CHECK(y != &tape.poison);
        drl_exp(&tape, y);
    }
    drl_tape_release(&tape, mark);
    CHECK(tape.last == before);
    zeros(100, 100);
    CHECK(drl_tape_backward(&tape, total(before)) == DRL_OK);
    CHECK(before->data[5] == 36 && p->grad[5] == 12 && p->grad[0] == 2);
    stop();
}

TEST_MAIN(TEST_ENTRY(who_gets_a_gradient), TEST_ENTRY(backward_errors),
          TEST_ENTRY(memory_runs_out_anywhere), TEST_ENTRY(no_allocation_once_warm),
          TEST_ENTRY(gradient_check), TEST_ENTRY(save_and_release))
