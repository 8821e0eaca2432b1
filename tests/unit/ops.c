/* Every op in the text of diffrl.h: values and gradients against the same formula in double, the library's
   own gradient check, the same bits on all instruction sets and threads, errors of shape.
   build: cc -O2 ops.c -o ops -lm */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"

#define INPUTS 4
#define SMALL 80 /* elements of a matrix in the comparison with double */

typedef struct matrix {
    int rows, cols;
    double x[SMALL];
} matrix;

/* A case: inputs of these shapes and ranges, the op on the tape, the same in double. Letters of a
   shape stand for the sizes in `size`; `u`, `v` are for the case's own use. */
typedef struct op_case op_case;
struct op_case {
    const char *op, *shape[INPUTS];
    float low, high;
    drl_tensor *(*tape)(drl_tape *tape, drl_tensor **in, const op_case *c);
    void (*exact)(const matrix *in, matrix *y, const op_case *c);
    int u, v;
};

static op_case cases[160];
static int case_count;
static int size_big; /* 0: small matrices, 1: those that are cut among threads */

static int size(char letter)
{
    switch (letter) {
    case 'R': return size_big ? 211 : 5;
    case 'C': return size_big ? 70 : 3;
    case 'K': return size_big ? 33 : 4;
    case 'B': return size_big ? 1501 : 6;
    default: return 1;
    }
}

/* Generic numbers, 0.008 away from equality among inputs and from multiples of 0.05. */
static float number(float low, float high, int input, size_t i)
{
    double a = (double)(i + 1) * 0.61803398875 + 0.377 * input, b = (double)(i + 1) * 0.7548776662;
    double v = (double)low + (double)(high - low) * (a - floor(a));
    return (float)(floor(v * 20 + 0.5) / 20 + 0.01 + 0.011 * input + 0.002 * (b - floor(b)));
}

/* ---- elementwise ---- */

static double act_exact(int act, double x)
{
    double s = x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
    switch (act) {
    case DRL_ACT_RELU: return x > 0 ? x : 0;
    case DRL_ACT_TANH: return tanh(x);
    case DRL_ACT_SIGMOID: return 1 / (1 + exp(-x));
    case DRL_ACT_SOFTPLUS: return s;
    case DRL_ACT_MISH: return x * tanh(s);
    case DRL_ACT_GELU: return x / 2 * (1 + tanh(0.79788456080286536 * (x + 0.044715 * x * x * x)));
    default: return x;
    }
}

typedef drl_tensor *(*unary_fn)(drl_tape *tape, drl_tensor *x);
typedef drl_tensor *(*binary_fn)(drl_tape *tape, drl_tensor *a, drl_tensor *b);
static const unary_fn unary[] = {drl_exp, drl_log, drl_sqrt, drl_square, drl_sin, drl_cos,
                                 drl_tanh_logdet};
static const char *const unary_name[] = {"exp", "log", "sqrt", "square", "sin", "cos",
                                         "tanh_logdet"};
static const binary_fn binary[] = {drl_add, drl_sub, drl_mul, drl_div, drl_min, drl_max};
static const char *const binary_name[] = {"add", "sub", "mul", "div", "min", "max"};

static drl_tensor *tape_unary(drl_tape *tape, drl_tensor **in, const op_case *c)
{
    if (!strcmp(c->op, "affine")) return drl_affine(tape, in[0], -1.7f, 0.3f);
    if (!strcmp(c->op, "clip")) return drl_clip(tape, in[0], -0.725f, 0.425f);
    if (!strcmp(c->op, "activate")) return drl_activate(tape, (drl_act)c->u, in[0]);
    return unary[c->u](tape, in[0]);
}
static void exact_unary(const matrix *in, matrix *y, const op_case *c)
{
    int i;
    *y = in[0];
    for (i = 0; i < y->rows * y->cols; i++) {
        double x = in[0].x[i], *v = &y->x[i];
        if (!strcmp(c->op, "affine")) *v = (double)-1.7f * x + (double)0.3f;
        else if (!strcmp(c->op, "clip")) *v = fmin(fmax(x, (double)-0.725f), (double)0.425f);
        else if (!strcmp(c->op, "activate")) *v = act_exact(c->u, x);
        else if (c->u == 0) *v = exp(x);
        else if (c->u == 1) *v = log(x);
        else if (c->u == 2) *v = sqrt(x);
        else if (c->u == 3) *v = x * x;
        else if (c->u == 4) *v = sin(x);
        else if (c->u == 5) *v = cos(x);
        else *v = log(1 - tanh(x) * tanh(x));
    }
}

static drl_tensor *tape_binary(drl_tape *tape, drl_tensor **in, const op_case *c)
{
    return binary[c->u](tape, in[0], c->v ? in[0] : in[1]); /* v: both operands are one */
}
static void exact_binary(const matrix *in, matrix *y, const op_case *c)
{
    const matrix *bm = c->v ? &in[0] : &in[1];
    int i, j;
    *y = in[0];
    for (i = 0; i < y->rows; i++)
        for (j = 0; j < y->cols; j++) {
            double a = in[0].x[i * y->cols + j], *v = &y->x[i * y->cols + j];
            double b = bm->x[(bm->rows == 1 ? 0 : i) * bm->cols + (bm->cols == 1 ? 0 : j)];
            *v = c->u == 0 ? a + b : c->u == 1 ? a - b : c->u == 2 ? a * b : c->u == 3 ? a / b :
                 c->u == 4 ? fmin(a, b) : fmax(a, b);
        }
}

/* ---- linear: u = activation, v = 1 with bias, 2 with base, 3 both ---- */

static drl_tensor *tape_linear(drl_tape *tape, drl_tensor **in, const op_case *c)
{
    drl_tensor *bias = c->v & 1 ? in[2] : NULL, *base = c->v & 2 ? in[c->v] : NULL;
    return drl_linear(tape, in[0], in[1], bias, base, (drl_act)c->u);
}
static void exact_linear(const matrix *in, matrix *y, const op_case *c)
{
    int i, j, k, n = in[1].cols;
    y->rows = in[0].rows;
    y->cols = n;
    for (i = 0; i < y->rows; i++)
        for (j = 0; j < n; j++) {
            double s = 0;
            for (k = 0; k < in[0].cols; k++) s += in[0].x[i * in[0].cols + k] * in[1].x[k * n + j];
            if (c->v & 1) s += in[2].x[j];
            if (c->v & 2) s += in[c->v].x[i * n + j];
            y->x[i * n + j] = act_exact(c->u, s);
        }
}

/* ---- reductions and shapes ---- */

static const int gathered[4] = {2, 0, 2, 1}; /* one row twice, others not at all */

static drl_tensor *tape_shape(drl_tape *tape, drl_tensor **in, const op_case *c)
{
    drl_tensor *x = in[0];
    if (!strcmp(c->op, "sum_cols")) return drl_sum_cols(tape, x);
    if (!strcmp(c->op, "mean")) return drl_mean(tape, x);
    if (!strcmp(c->op, "concat")) return drl_concat(tape, x, c->u ? x : in[1]);
    if (!strcmp(c->op, "cols")) return drl_cols(tape, x, c->u, c->v);
    if (!strcmp(c->op, "gather") && !c->u) return drl_gather(tape, x, gathered, 4);
    if (!strcmp(c->op, "gather")) { /* as many rows, so that threads share large ones; plus others */
        int i, index[211];
        for (i = 0; i < x->rows; i++) index[i] = i * i % x->rows;
        return drli_gather(tape, x, index, x->rows, in[1]);
    }
    if (c->u == 9) /* rows of rows, and two ranges that overlap */
        return drl_add(tape, drl_rows(tape, drl_rows(tape, x, 1, 4), 1, 2),
                       drl_rows(tape, x, 1, 2));
    return drl_rows(tape, x, c->u, c->v);
}
static void exact_shape(const matrix *in, matrix *y, const op_case *c)
{
    int i, j, R = in[0].rows, C = in[0].cols;
    memset(y, 0, sizeof(*y));
    y->rows = !strcmp(c->op, "mean") ? 1 : !strcmp(c->op, "rows") ? c->v :
              !strcmp(c->op, "gather") && !c->u ? 4 : R;
    y->cols = !strcmp(c->op, "mean") || !strcmp(c->op, "sum_cols") ? 1 :
              !strcmp(c->op, "cols") ? c->v : !strcmp(c->op, "concat") ? C + in[!c->u].cols : C;
    for (i = 0; i < R; i++)
        for (j = 0; j < C; j++) {
            double x = in[0].x[i * C + j];
            if (!strcmp(c->op, "sum_cols")) y->x[i] += x;
            else if (!strcmp(c->op, "mean")) y->x[0] += x / (R * C);
            else if (!strcmp(c->op, "gather")) {
                int k;
                for (k = 0; k < y->rows; k++) {
                    if (c->u && k * k % R == i) y->x[k * C + j] = x + in[1].x[k * C + j];
                    if (!c->u && gathered[k] == i) y->x[k * C + j] = x;
                }
            }
            else if (!strcmp(c->op, "concat")) {
                y->x[i * y->cols + j] = x;
                if (c->u) y->x[i * y->cols + C + j] = x;
            } else if (!strcmp(c->op, "cols")) {
                if (j >= c->u && j < c->u + c->v) y->x[i * c->v + j - c->u] = x;
            } else if (c->u == 9) {
                if (i >= 1 && i < 3) y->x[(i - 1) * C + j] += x;
                if (i >= 2 && i < 4) y->x[(i - 2) * C + j] += x;
            } else if (i >= c->u && i < c->u + c->v) y->x[(i - c->u) * C + j] = x;
        }
    if (!strcmp(c->op, "concat") && !c->u)
        for (i = 0; i < R; i++)
            for (j = 0; j < in[1].cols; j++)
                y->x[i * y->cols + C + j] = in[1].x[i * in[1].cols + j];
}

/* ---- norms: v = 1: r and delta at their bounds, which differ from 1 and 0 and by column ---- */

static void renorm_constants(const op_case *c, int j, float *r, float *delta)
{
    *r = !c->v ? 1.0f : j % 2 ? 1.5f : 1.0f / 1.5f;
    *delta = !c->v ? 0.0f : j % 3 ? 0.7f : -0.7f;
}
static drl_tensor *tape_norm(drl_tape *tape, drl_tensor **in, const op_case *c)
{
    int j, n = in[0]->cols;
    drl_brn layer = {in[1], in[2], NULL, NULL, 1.0f, 1e-2f, 1.5f, 0.7f}; /* 1: M, V stay */
    layer.mean = drl_tape_input(tape, 1, n, NULL);
    layer.var = drl_tape_input(tape, 1, n, NULL);
    if (drl_tape_status(tape) != DRL_OK) return in[0];
    for (j = 0; j < n; j++) {
        layer.mean->data[j] = j % 3 ? -1e9f : 1e9f;
        layer.var->data[j] = j % 2 ? -0.0099f : 1e6f; /* sqrt(V + eps) = 0.01 or 1000 */
    }
    return drl_brn_train(tape, &layer, in[0], c->v);
}
static void exact_norm(const matrix *in, matrix *y, const op_case *c)
{
    int i, j, R = in[0].rows, C = in[0].cols;
    float r, delta;
    *y = in[0];
    for (i = 0; i < C; i++) {
        double m = 0, v = 0, ri, di;
        const double *x = in[0].x + i;
        renorm_constants(c, i, &r, &delta);
        ri = (double)r, di = (double)delta;
        for (j = 0; j < R; j++) m += x[j * C] / R;
        for (j = 0; j < R; j++) v += (x[j * C] - m) * (x[j * C] - m) / R;
        for (j = 0; j < R; j++) {
            double z = (x[j * C] - m + di * sqrt(v) / ri) / sqrt(v / (ri * ri) + (double)1e-2f);
            y->x[j * C + i] = z * in[1].x[i] + in[2].x[i];
        }
    }
}

static drl_tensor *tape_layer_norm(drl_tape *tape, drl_tensor **in, const op_case *c)
{
    (void)c;
    return drl_layer_norm(tape, in[0], in[1], in[2], 1e-2f);
}
static void exact_layer_norm(const matrix *in, matrix *y, const op_case *c)
{
    int i, j, R = in[0].rows, C = in[0].cols;
    (void)c;
    *y = in[0];
    for (i = 0; i < R; i++) {
        const double *x = in[0].x + i * C;
        double m = 0, v = 0;
        for (j = 0; j < C; j++) m += x[j] / C;
        for (j = 0; j < C; j++) v += (x[j] - m) * (x[j] - m) / C;
        for (j = 0; j < C; j++)
            y->x[i * C + j] = (x[j] - m) / sqrt(v + (double)1e-2f) * in[1].x[j] + in[2].x[j];
    }
}

/* ---- step of a chain: u = 0: all rows at one time with normals, 1: each row at its own, the
   mean; v: cut to +-0.9 ---- */

static int ddpm_time(const op_case *c, int row) { return c->u ? 1 + row * 7 % 20 : 7; }

static drl_tensor *tape_ddpm(drl_tape *tape, drl_tensor **in, const op_case *c)
{
    static drl_ddpm d;
    float clip = c->v ? 0.9f : 1e3f;
    int t[211], i, rows = in[0]->rows;
    drl_tensor *z = drl_tape_input(tape, rows, in[0]->cols, NULL);
    drl_ddpm_init(&d, tape->ctx, DRL_SCHEDULE_VP, 20);
    if (drl_tape_status(tape) != DRL_OK) return in[0];
    for (i = 0; i < rows * in[0]->cols; i++) z->data[i] = 0.25f * (float)(i % 5);
    for (i = 0; i < rows; i++) t[i] = ddpm_time(c, i);
    return c->u ? drl_ddpm_mean(tape, &d, t, in[0], in[1], clip)
                : drl_ddpm_step(tape, &d, 7, in[0], in[1], z, clip);
}
static void exact_ddpm(const matrix *in, matrix *y, const op_case *c)
{
    static drl_ddpm d;
    double clip = c->v ? (double)0.9f : 1e3, x, x0;
    int i, t;
    drl_ddpm_init(&d, NULL, DRL_SCHEDULE_VP, 20);
    *y = in[0];
    for (i = 0; i < y->rows * y->cols; i++) {
        t = ddpm_time(c, i / y->cols);
        x = in[0].x[i];
        x0 = (double)d.x_scale[t] * x - (double)d.eps_scale[t] * in[1].x[i];
        x0 = x0 < -clip ? -clip : x0 > clip ? clip : x0;
        y->x[i] = (double)d.c0[t] * x0 + (double)d.c1[t] * x;
        if (!c->u) y->x[i] += (double)d.std[t] * 0.25 * (i % 5);
    }
}

/* ---- softmax and the categorical critic ---- */

static const drl_atoms small_atoms = {3, -1.5f, 2.5f}, big_atoms = {70, -1.5f, 2.5f};

static drl_tensor *tape_softmax(drl_tape *tape, drl_tensor **in, const op_case *c)
{
    static float target[211 * 70];
    size_t i, n = (size_t)in[0]->rows * (size_t)in[0]->cols;
    if (!strcmp(c->op, "softmax")) return drl_softmax(tape, in[0]);
    if (!strcmp(c->op, "log_softmax")) return drl_log_softmax(tape, in[0]);
    if (!strcmp(c->op, "c51_mean"))
        return drl_c51_mean(tape, in[0], size_big ? &big_atoms : &small_atoms);
    if (drl_tape_status(tape) != DRL_OK) return in[0];
    for (i = 0; i < n; i++) target[i] = number(0.1f, 0.6f, 2, i); /* any weights will do */
    return drl_c51_loss(tape, in[0], target, 0.3f);
}
static void exact_softmax(const matrix *in, matrix *y, const op_case *c)
{
    int i, j, R = in[0].rows, C = in[0].cols, mean = !strcmp(c->op, "c51_mean");
    int loss = !strcmp(c->op, "c51_loss");
    memset(y, 0, sizeof(*y));
    y->rows = loss ? 1 : R;
    y->cols = loss || mean ? 1 : C;
    for (i = 0; i < R; i++) {
        double sum = 0;
        for (j = 0; j < C; j++) sum += exp(in[0].x[i * C + j]);
        for (j = 0; j < C; j++) {
            double p = exp(in[0].x[i * C + j]) / sum, l = log(p + 1e-15);
            double target = (double)number(0.1f, 0.6f, 2, (size_t)(i * C + j));
            if (!strcmp(c->op, "softmax")) y->x[i * C + j] = p;
            else if (mean) y->x[i] += p * (-1.5 + 4.0 * j / (C - 1));
            else if (loss) y->x[0] += ((double)0.3f * p - target) * l / R;
            else y->x[i * C + j] = in[0].x[i * C + j] - log(sum);
        }
    }
}

/* ---- the list ---- */

static void add_case(const char *op, const char *shapes, float low, float high,
                     drl_tensor *(*tape)(drl_tape *, drl_tensor **, const op_case *),
                     void (*exact)(const matrix *, matrix *, const op_case *), int u, int v)
{
    op_case *c = &cases[case_count++];
    int i;
    memset(c, 0, sizeof(*c));
    c->op = op;
    for (i = 0; i < INPUTS && *shapes; i++, shapes += 2 + (shapes[2] == ' ')) c->shape[i] = shapes;
    c->low = low;
    c->high = high;
    c->tape = tape;
    c->exact = exact;
    c->u = u;
    c->v = v;
}

static void cases_make(void)
{
    static const char *const b_shape[] = {"RC RC", "RC 1C", "RC R1", "RC 11", "R1 11", "1C 11"};
    static const char *const linear_shape[] = {"RK KC", "RK KC 1C", "RK KC RC", "RK KC 1C RC"};
    int i, j;
    if (case_count) return;
    for (i = 0; i < 6; i++) {
        for (j = 0; j < 6; j++)
            add_case(binary_name[i], b_shape[j], 0.4f, 2.0f, tape_binary, exact_binary, i, 0);
        add_case(binary_name[i], "RC", 0.4f, 2.0f, tape_binary, exact_binary, i, 1);
    }
    for (i = 0; i < 7; i++)
        add_case(unary_name[i], "RC", i == 1 || i == 2 ? 0.3f : -2.0f, 2.0f, tape_unary,
                 exact_unary, i, 0);
    add_case("affine", "RC", -2.0f, 2.0f, tape_unary, exact_unary, 0, 0);
    add_case("clip", "RC", -2.0f, 2.0f, tape_unary, exact_unary, 0, 0);
    for (i = 0; i < DRL_ACT_COUNT; i++) {
        add_case("activate", "RC", -2.0f, 2.0f, tape_unary, exact_unary, i, 0);
        for (j = 0; j < 4; j++)
            add_case("linear", linear_shape[j], -1.0f, 1.0f, tape_linear, exact_linear, i, j);
    }
    add_case("linear", "BK KC 1C", -1.0f, 1.0f, tape_linear, exact_linear, DRL_ACT_MISH, 1);
    add_case("sum_cols", "RC", -2.0f, 2.0f, tape_shape, exact_shape, 0, 0);
    add_case("mean", "RC", -2.0f, 2.0f, tape_shape, exact_shape, 0, 0);
    add_case("concat", "RC RK", -2.0f, 2.0f, tape_shape, exact_shape, 0, 0);
    add_case("concat", "RC", -2.0f, 2.0f, tape_shape, exact_shape, 1, 0);
    add_case("rows", "RC", -2.0f, 2.0f, tape_shape, exact_shape, 0, 2);
    add_case("rows", "RC", -2.0f, 2.0f, tape_shape, exact_shape, 2, 3);
    add_case("rows", "RC", -2.0f, 2.0f, tape_shape, exact_shape, 9, 2);
    add_case("cols", "RC", -2.0f, 2.0f, tape_shape, exact_shape, 0, 2);
    add_case("cols", "RC", -2.0f, 2.0f, tape_shape, exact_shape, 1, 2);
    add_case("gather", "RC", -2.0f, 2.0f, tape_shape, exact_shape, 0, 0);
    add_case("gather", "RB RB", -2.0f, 2.0f, tape_shape, exact_shape, 1, 0);
    /* layer norm consists of ops, a division among them */
    add_case("div", "RC 1C 1C", -2.0f, 2.0f, tape_layer_norm, exact_layer_norm, 0, 0);
    for (i = 0; i < 4; i++)
        add_case("ddpm", "RC RC", -2.0f, 2.0f, tape_ddpm, exact_ddpm, i / 2, i % 2);
    add_case("brn", "RC 1C 1C", -2.0f, 2.0f, tape_norm, exact_norm, 0, 0);
    add_case("brn", "RC 1C 1C", -2.0f, 2.0f, tape_norm, exact_norm, 0, 1);
    add_case("brn", "BC 1C 1C", -2.0f, 2.0f, tape_norm, exact_norm, 0, 1); /* big: cut */
    add_case("softmax", "RC", -2.0f, 2.0f, tape_softmax, exact_softmax, 0, 0);
    add_case("log_softmax", "RC", -2.0f, 2.0f, tape_softmax, exact_softmax, 0, 0);
    add_case("c51_loss", "RC", -2.0f, 2.0f, tape_softmax, exact_softmax, 0, 0);
    add_case("c51_mean", "RC", -2.0f, 2.0f, tape_softmax, exact_softmax, 0, 0);
}

/* ---- loss of a case: mean(weights * y), in three ways to use the inputs ----
   0  parameters themselves
   1  results of another op, so that the gradient is written, not added
   2  the same, with a second use of each input recorded later: loss + 0.1 mean(x^2) */
typedef struct graph {
    const op_case *c;
    drl_params params;
    int inputs, way;
    drl_tensor *y;
} graph;

static void graph_init(graph *g, drl_context *ctx, const op_case *c, int way)
{
    int i;
    size_t k;
    memset(g, 0, sizeof(*g));
    g->c = c;
    g->way = way;
    drl_params_init(&g->params, ctx, INPUTS, 1);
    for (i = 0; i < INPUTS && c->shape[i]; i++)
        drl_params_add(&g->params, "", c->shape[i], size(c->shape[i][0]), size(c->shape[i][1]));
    g->inputs = i;
    CHECK(drl_params_commit(&g->params) == DRL_OK);
    for (i = 0; i < g->inputs; i++) {
        drl_tensor *x = &g->params.list[i];
        for (k = 0; k < (size_t)x->rows * (size_t)x->cols; k++)
            x->data[k] = number(c->low, c->high, i, k);
    }
}

static drl_tensor *graph_loss(drl_tape *tape, void *user)
{
    graph *g = (graph *)user;
    drl_tensor *in[INPUTS] = {NULL}, *weights, *loss;
    int i;
    size_t k;
    for (i = 0; i < g->inputs; i++)
        in[i] = g->way ? drl_affine(tape, &g->params.list[i], 1.0f, 0.0f) : &g->params.list[i];
    g->y = g->c->tape(tape, in, g->c);
    weights = drl_tape_input(tape, g->y->rows, g->y->cols, NULL);
    if (drl_tape_status(tape) != DRL_OK) return weights;
    for (k = 0; k < (size_t)weights->rows * (size_t)weights->cols; k++)
        weights->data[k] = number(-1.0f, 1.0f, 3, k);
    loss = drl_mean(tape, drl_mul(tape, g->y, weights));
    for (i = 0; i < g->inputs && g->way == 2; i++) {
        drl_tensor *more = drl_mean(tape, drl_square(tape, in[i]));
        loss = drl_add(tape, loss, drl_affine(tape, more, 0.1f, 0));
    }
    return loss;
}

static double exact_loss(const graph *g, const matrix *in, matrix *y)
{
    double loss = 0;
    int i, k;
    g->c->exact(in, y, g->c);
    for (k = 0; k < y->rows * y->cols; k++)
        loss += (double)number(-1.0f, 1.0f, 3, (size_t)k) * y->x[k] / (y->rows * y->cols);
    for (i = 0; i < g->inputs && g->way == 2; i++)
        for (k = 0; k < in[i].rows * in[i].cols; k++)
            loss += (double)0.1f * in[i].x[k] * in[i].x[k] / (in[i].rows * in[i].cols);
    return loss;
}

static int tape_has(const drl_tape *tape, const char *op)
{
    const drl_tensor *x;
    for (x = tape->last; x; x = x->prev)
        if (x->op.name && !strcmp(x->op.name, op)) return 1;
    return 0;
}

static const char *case_text(const graph *g)
{
    static char text[80];
    snprintf(text, sizeof(text), "%s %s u %d v %d way %d", g->c->op, g->c->shape[0], g->c->u,
             g->c->v, g->way);
    return text;
}

/* Value, then the gradient of every input, against double. */
static void compare_exact(graph *g, drl_tape *tape)
{
    static matrix in[INPUTS], y;
    drl_tensor *loss;
    int i, k, bad = test_faults;
    for (i = 0; i < g->inputs; i++) {
        const drl_tensor *x = &g->params.list[i];
        in[i].rows = x->rows;
        in[i].cols = x->cols;
        for (k = 0; k < x->rows * x->cols; k++) in[i].x[k] = (double)x->data[k];
    }
    drl_tape_reset(tape);
    drl_params_zero_grad(&g->params);
    loss = graph_loss(tape, g);
    CHECK(drl_tape_backward(tape, loss) == DRL_OK);
    CHECK_NEAR(loss->data[0], exact_loss(g, in, &y), 2e-6);
    CHECK(g->y->rows == y.rows && g->y->cols == y.cols);
    for (k = 0; k < y.rows * y.cols; k++)
        CHECK_NEAR(g->y->data[k], y.x[k], 1e-6 + 1e-6 * fabs(y.x[k]));
    for (i = 0; i < g->inputs; i++)
        for (k = 0; k < in[i].rows * in[i].cols; k++) {
            double old = in[i].x[k], high, low, h = 1e-5;
            in[i].x[k] = old + h;
            high = exact_loss(g, in, &y);
            in[i].x[k] = old - h;
            low = exact_loss(g, in, &y);
            in[i].x[k] = old;
            CHECK_NEAR(g->params.list[i].grad[k], (high - low) / (2 * h), 1e-6);
        }
    if (test_faults != bad) printf("  in case %s\n", case_text(g));
}

/* Names of all ops, in the order of the text of diffrl.h: where one is defined there stands
   DRLI_OP(name) or, for the elementwise ones, DRLI_..._OP(name, ...). */
static const char *const *op_names(void)
{
    static char names[64][24], text[200];
    static const char *list[65];
    FILE *f = fopen("diffrl.h", "r");
    int n = 0;
    CHECK(f != NULL);
    while (f && fgets(text, sizeof(text), f) && n < 64) {
        const char *at = strstr(text, "DRLI_OP(");
        if (!strncmp(text, "DRLI_", 5) && strstr(text, "_OP(")) at = strstr(text, "_OP(");
        if (!at || sscanf(strchr(at, '(') + 1, "%23[a-z0-9_]", names[n]) != 1) continue;
        if (!strcmp(names[n], "name")) continue; /* the macros themselves */
        list[n] = names[n];
        n++;
    }
    if (f) fclose(f);
    CHECK(n > 25);
    list[n] = NULL;
    return list;
}

/* Each op has a case, and each case contains its op. */
TEST(gradients)
{
    drl_context ctx;
    drl_tape tape;
    graph g;
    int i, j, k, way;
    const char *op, *const *ops = op_names();
    cases_make();
    size_big = 0;
    drl_context_init(&ctx, NULL);
    drl_tape_init(&tape, &ctx);
    for (i = 0; (op = ops[i]) != NULL; i++) {
        int found = 0;
        for (j = 0; j < case_count; j++) {
            if (strcmp(cases[j].op, op)) continue;
            found = 1;
            for (way = 0; way < 3; way++) {
                graph_init(&g, &ctx, &cases[j], way);
                compare_exact(&g, &tape);
                CHECK(tape_has(&tape, op));
                for (k = 0; k < g.inputs; k++) {
                    double error = 1;
                    CHECK(drl_tape_check_grad(&tape, graph_loss, &g, &g.params.list[k], 4e-3f,
                                              &error) == DRL_OK);
                    if (!(error < 3e-2)) printf("  error %g in case %s\n", error, case_text(&g));
                    CHECK(error < 3e-2);
                }
                drl_tape_reset(&tape);
                drl_params_free(&g.params);
            }
        }
        if (!found) printf("  op %s has no case\n", op);
        CHECK(found);
    }
    for (j = 0; j < case_count; j++) { /* no case of an op that does not exist */
        for (i = 0; (op = ops[i]) != NULL && strcmp(cases[j].op, op); i++) {}
        CHECK(op != NULL);
    }
    drl_tape_free(&tape);
    drl_context_free(&ctx);
}

static uint64_t hash(uint64_t h, const float *x, size_t n)
{
    const unsigned char *p = (const unsigned char *)x;
    size_t i;
    for (i = 0; i < n * sizeof(float); i++) h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

/* Every case has the same bits, gradients too, on all instruction sets and 1 to 3 threads. */
TEST(same_bits)
{
    static const drl_isa isas[] = {DRL_ISA_SCALAR, DRL_ISA_NEON, DRL_ISA_AVX2, DRL_ISA_AVX512};
    static uint64_t first[DRLI_COUNT(cases)];
    int i, j, runs = 0;
    cases_make();
    size_big = 1;
    for (i = 0; i < 12; i++) {
        drl_context_config cfg = drl_context_config_default();
        drl_context ctx;
        drl_tape tape;
        cfg.isa = isas[i / 3];
        cfg.threads = i % 3 + 1;
        if (drl_context_init(&ctx, &cfg) != DRL_OK) continue; /* not on this machine */
        drl_tape_init(&tape, &ctx);
        for (j = 0; j < case_count; j++) {
            graph g;
            uint64_t h = 0xcbf29ce484222325u;
            graph_init(&g, &ctx, &cases[j], 1);
            CHECK(drl_tape_backward(&tape, graph_loss(&tape, &g)) == DRL_OK);
            h = hash(h, g.y->data, (size_t)g.y->rows * (size_t)g.y->cols);
            h = hash(h, g.params.grad, g.params.size);
            if (!runs) first[j] = h;
            if (h != first[j])
                printf("  isa %d threads %d: %s\n", ctx.isa, cfg.threads, case_text(&g));
            CHECK(h == first[j]);
            drl_tape_reset(&tape);
            drl_params_free(&g.params);
        }
        runs++;
        drl_tape_free(&tape);
        drl_context_free(&ctx);
    }
    size_big = 0;
    CHECK(runs >= 1);
}

/* ---- shapes that do not fit ---- */

typedef struct bad_shape {
    const char *op, *got;
} bad_shape;

static const int bad_rows[] = {1, 3};

static drl_tensor *make_bad(drl_tape *t, int i, drl_tensor *a, drl_tensor *b, drl_tensor *row)
{
    drl_brn layer = {row, row, row, row, 1.0f, 1.0f, 1.0f, 1.0f};
    drl_atoms atoms = {7, 0.0f, 1.0f};
    switch (i) { /* a [4, 3], b [3, 4], row [1, 3] */
    case 0: return drl_add(t, a, b);
    case 1: return drl_sub(t, row, a); /* the first does not broadcast */
    case 2: return drl_mul(t, a, drl_cols(t, a, 0, 2));
    case 3: return drl_div(t, a, b);
    case 4: return drl_min(t, a, drl_rows(t, a, 0, 2));
    case 5: return drl_max(t, a, b);
    case 6: return drl_linear(t, a, a, NULL, NULL, DRL_ACT_NONE);
    case 7: return drl_linear(t, a, b, row, NULL, DRL_ACT_NONE);
    case 8: return drl_linear(t, a, b, NULL, a, DRL_ACT_NONE);
    case 9: return drl_concat(t, a, b);
    case 10: return drl_rows(t, a, 3, 2);
    case 11: return drl_rows(t, a, -1, 2);
    case 12: return drl_rows(t, a, 0, 0);
    case 13: return drl_cols(t, a, 2, 2);
    case 14: return drl_brn_train(t, &layer, b, 0);
    case 15: return drl_brn_eval(t, &layer, b);
    case 16: return drl_c51_mean(t, a, &atoms);
    case 17: return drl_gather(t, b, bad_rows, 2);
    case 18: return drl_layer_norm(t, b, row, row, 1e-5f);
    case 19: return drl_layer_norm(t, a, row, a, 1e-5f);
    default: return NULL;
    }
}

TEST(shape_errors)
{
    static const bad_shape bad[] = {
        {"add", "[4, 3] and [3, 4]"},    {"sub", "[1, 3] and [4, 3]"},
        {"mul", "[4, 3] and [4, 2]"},    {"div", "[4, 3] and [3, 4]"},
        {"min", "[4, 3] and [2, 3]"},    {"max", "[4, 3] and [3, 4]"},
        {"linear", "[4, 3] and [4, 3]"}, {"linear", "[1, 3] and [3, 4]"},
        {"linear", "[4, 3] and [3, 4]"}, {"concat", "[4, 3] and [3, 4]"},
        {"rows", "3 .. 4"},              {"rows", "-1 .. 0"},
        {"rows", "0 .. -1"},             {"cols", "2 .. 3"},
        {"brn", "[3, 4]"},               {"brn", "[3, 4]"},
        {"c51_mean", "3"},               {"gather", "3"},
        {"layer_norm", "[3, 4]"},        {"layer_norm", "[4, 3]"},
    };
    drl_context ctx;
    drl_tape tape;
    float data[12], other[12], ones[3] = {1, 1, 1};
    char first[sizeof(ctx.message)];
    int i, j;
    for (i = 0; i < 12; i++) data[i] = other[i] = 0.1f * (float)i;
    drl_context_init(&ctx, NULL);
    drl_tape_init(&tape, &ctx);
    for (i = 0; i < DRLI_COUNT(bad); i++) {
        drl_tensor *a, *b, *row, *y;
        drl_tape_reset(&tape);
        CHECK(drl_tape_status(&tape) == DRL_OK);
        a = drl_tape_variable(&tape, 4, 3, data);
        b = drl_tape_variable(&tape, 3, 4, other);
        row = drl_tape_input(&tape, 1, 3, ones);
        y = make_bad(&tape, i, a, b, row);
        CHECK(y == &tape.poison && drl_tape_status(&tape) == DRL_ERR_SHAPE);
        CHECK(strncmp(drl_context_error(&ctx), bad[i].op, strlen(bad[i].op)) == 0);
        CHECK_TEXT(drl_context_error(&ctx), ": expected ");
        CHECK_TEXT(drl_context_error(&ctx), ", got ");
        CHECK_TEXT(drl_context_error(&ctx), bad[i].got);
        memcpy(first, ctx.message, sizeof(first));
        for (j = 0; j < DRLI_COUNT(bad); j++) /* the poison and good tensors, in every op */
            CHECK(make_bad(&tape, j, j % 2 ? y : a, b, y) == &tape.poison);
        CHECK(drl_activate(&tape, DRL_ACT_TANH, y) == &tape.poison);
        CHECK(drl_mean(&tape, drl_exp(&tape, a)) == &tape.poison);
        CHECK(drl_softmax(&tape, y) == &tape.poison && drl_log_softmax(&tape, y) == &tape.poison);
        CHECK(drl_detach(&tape, y) == &tape.poison && drl_sum_cols(&tape, y) == &tape.poison);
        CHECK(drl_c51_loss(&tape, y, data, 0) == &tape.poison);
        CHECK(drl_tape_backward(&tape, y) == DRL_ERR_SHAPE);
        CHECK(strcmp(first, ctx.message) == 0); /* the first message is kept */
        drl_tape_reset(&tape); /* and the tape serves again */
        a = drl_tape_variable(&tape, 4, 3, data);
        CHECK(drl_tape_backward(&tape, drl_mean(&tape, drl_square(&tape, a))) == DRL_OK);
        CHECK_NEAR(a->grad[11], 2 * 1.1 / 12, 1e-7);
    }
    drl_tape_free(&tape);
    drl_context_free(&ctx);
}

/* ---- special points ---- */

TEST(special_points)
{
    drl_context ctx;
    drl_tape tape;
    drl_tensor *x, *y, *z;
    float v[6] = {-80.0f, -20.0f, 0.0f, 1.0f, 20.0f, 80.0f}, w[6] = {0, 0, 0, 1, 0, 0};
    drl_brn brn = {NULL, NULL, NULL, NULL, 0.0f, 1e-3f, 2.0f, 2.0f}; /* 0: M, V become m, v */
    float one[2] = {1, 1}, nil[2] = {0, 0}, dead[6] = {3, 1, 3, 2, 3, 4};
    float mean[2] = {-1e9f, 0}, var[2] = {100, 1};
    drl_context_init(&ctx, NULL);
    drl_tape_init(&tape, &ctx);
    /* ln(1 - tanh(20)^2) = 2 ln 2 - 40 */
    y = drl_tanh_logdet(&tape, x = drl_tape_variable(&tape, 1, 6, v));
    CHECK_NEAR(y->data[0], -158.613705639, 2e-5);
    CHECK_NEAR(y->data[1], -38.613705639, 4e-6);
    CHECK_NEAR(y->data[2], 0, 1e-7);
    CHECK_NEAR(y->data[4], -38.613705639, 4e-6);
    CHECK_NEAR(y->data[5], -158.613705639, 2e-5);
    CHECK(drl_tape_backward(&tape, drl_affine(&tape, drl_mean(&tape, y), 6, 0)) == DRL_OK);
    CHECK_NEAR(x->grad[0], 2, 1e-6);
    CHECK_NEAR(x->grad[2], 0, 0);
    CHECK_NEAR(x->grad[5], -2, 1e-6);
    /* at equal values min and max give the gradient to the first; clip passes it at its bounds */
    drl_tape_reset(&tape);
    x = drl_tape_variable(&tape, 1, 6, v);
    z = drl_tape_variable(&tape, 1, 6, w);
    y = drl_add(&tape, drl_min(&tape, x, z), drl_affine(&tape, drl_max(&tape, x, z), 10, 0));
    CHECK(drl_tape_backward(&tape, drl_affine(&tape, drl_mean(&tape, y), 6, 0)) == DRL_OK);
    CHECK(x->grad[2] == 11 && x->grad[3] == 11 && z->grad[2] == 0 && z->grad[3] == 0);
    CHECK(x->grad[0] == 1 && z->grad[0] == 10 && x->grad[5] == 10 && z->grad[5] == 1);
    drl_tape_reset(&tape);
    x = drl_tape_variable(&tape, 1, 6, v);
    y = drl_clip(&tape, x, -20.0f, 1.0f);
    CHECK(drl_tape_backward(&tape, drl_affine(&tape, drl_mean(&tape, y), 6, 0)) == DRL_OK);
    CHECK(y->data[0] == -20 && y->data[4] == 1 && x->grad[0] == 0 && x->grad[1] == 1);
    CHECK(x->grad[3] == 1 && x->grad[4] == 0);
    /* softmax of large logits does not overflow; a row of equal ones is uniform */
    drl_tape_reset(&tape);
    y = drl_softmax(&tape, drl_tape_input(&tape, 1, 6, v));
    z = drl_log_softmax(&tape, drl_tape_input(&tape, 1, 6, v));
    CHECK(y->data[5] == 1 && y->data[0] == 0 && z->data[5] == 0 && z->data[0] == -160);
    /* detach: the value without the gradient */
    drl_tape_reset(&tape);
    x = drl_tape_variable(&tape, 1, 6, v);
    y = drl_mul(&tape, drl_detach(&tape, x), x);
    CHECK(drl_tape_backward(&tape, drl_affine(&tape, drl_mean(&tape, y), 6, 0)) == DRL_OK);
    CHECK(y->data[4] == 400 && x->grad[4] == 20 && x->grad[0] == -80);
    /* batch renorm of a feature that never varies: shift, and finite gradients */
    drl_tape_reset(&tape);
    x = drl_tape_variable(&tape, 3, 2, dead);
    brn.scale = drl_tape_input(&tape, 1, 2, one);
    brn.shift = drl_tape_input(&tape, 1, 2, nil);
    brn.mean = drl_tape_input(&tape, 1, 2, mean);
    brn.var = drl_tape_input(&tape, 1, 2, var);
    y = drl_brn_train(&tape, &brn, x, 1); /* r 1/2, delta 2 of the first */
    CHECK(mean[0] == 3 && var[0] == 0);
    CHECK_NEAR(mean[1], 7.0 / 3, 1e-6);
    CHECK_NEAR(var[1], 14.0 / 9, 1e-6);
    CHECK(drl_tape_backward(&tape, drl_mean(&tape, drl_square(&tape, y))) == DRL_OK);
    CHECK(y->data[0] == 0 && y->data[2] == 0 && x->grad[0] == 0);
    CHECK(fabsf(x->grad[1]) < 10 && fabsf(x->grad[3]) < 10);
    drl_tape_free(&tape);
    drl_context_free(&ctx);
}

TEST_MAIN(TEST_ENTRY(gradients), TEST_ENTRY(same_bits), TEST_ENTRY(shape_errors),
          TEST_ENTRY(special_points))
