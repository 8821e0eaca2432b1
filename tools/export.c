/* Writes a trained policy as C source or as ONNX; `build/export --help` tells the rest.
     cc -O2 tools/export.c -I. -Iexamples -o build/export -lm

   Both formats come from one description (model): networks whose first layer is cut into the parts
   of x, of the state and of the time, as the library evaluates them. What does not depend on the
   observation, the time's part of each step and the constants of the chain, the library computes
   here. SAC and PPO, which have no chain, act by their mean. Tests: tests/cli/export.sh.
   Exit   0 ok, 1 failed, 2 usage, 3 bad file */
#define _POSIX_C_SOURCE 200809L
#define DIFFRL_IMPLEMENTATION
#define TRAIN_NO_MUJOCO
#include "examples/mujoco/run.h"

/* ----------------------------------------------------------------------------- what is exported */

/* y = last(.. act(x wx + time + (state ws + bias)) ..); residual: h = x wx + time + (..), per block
   h += l1(act(l0(act(h)))), last. */
typedef struct model_net {
    int width, layers, residual;    /* layers after the first */
    drl_act act;
    const float *wx, *ws, *bias;    /* [dim, width] or NULL, [obs, width], [width] or NULL */
    const float *time;              /* [steps, width] in the order of the chain; NULL: none */
    drl_dense rest[DRL_MLP_LAYERS]; /* last: to the output */
} model_net;

typedef struct model {
    char algo[16], task[64], made_by[32];
    drl_agent *agent;
    int obs, act;         /* numbers in them */
    int dim, chunk;       /* of the chain: chunk actions */
    int steps, switched;  /* the first `switched` steps are nets[0]'s, the others the last net's */
    int candidates;       /* > 1: the one with the largest min(critic[0], critic[1]) is taken */
    int noise;            /* normals of an action or chunk, [steps + 1, candidates, dim]; or 0 */
    int nets;             /* 1 or 2 */
    model_net net[2], critic[2];
    int ou;               /* 1: DIME's process, 0: steps of drl_ddpm */
    float (*ddpm)[5];     /* [steps] x0 = clip(c[0] x + c[1] eps), x' = c[2] x0 + c[3] x + c[4] z */
    float *eta, *root;    /* [steps, dim] x' = x + (u - pull x) eta + root z, |u| <= 1e4 */
    float pull, prior;    /* 1 / sigma_0^2, sigma_0 */
    float noise_clip;     /* 0: none */
    const drl_dense *obs_range, *act_range; /* DPPO: (obs - b) / w, a w + b; else NULL */
    int direct, squash;   /* no chain: x is the net's output; tanh(x), or x cut to +-1 */
    drl_tensor mean_w, mean_b; /* of its last layer */
    double *mean, *sd;    /* [obs] (obs - mean) / sd, cut to +-10; NULL: none */
} model;

typedef struct export {
    const char *policy, *code, *onnx, *onnx_loop, *name;
    drl_context ctx;
    drl_arena arena; /* tables of the model */
    drl_file file;
    model m;
} export;

static float *export_floats(export *e, int n)
{
    return (float *)drl_arena_alloc(&e->arena, (size_t)n * sizeof(float));
}

#include "export_code.h"
#include "export_onnx.h"

/* The first layer, of which the rows from state_row on are the state's. */
static void export_first(model_net *n, const drl_dense *first, int state_row)
{
    n->width = first->w->cols;
    n->wx = first->w->data;
    n->ws = first->w->data + state_row * n->width;
}

static void export_mlp(model_net *n, const drl_mlp *mlp, int state_row)
{
    int i;
    export_first(n, &mlp->layer[0], state_row);
    n->act = mlp->act;
    n->layers = mlp->layers - 1;
    for (i = 0; i < n->layers; i++) n->rest[i] = mlp->layer[i + 1];
}

/* The rows of table [., width] that the steps read. */
static int export_time(export *e, model_net *n, const drl_tensor *table, const int *row)
{
    float *time = export_floats(e, e->m.steps * n->width);
    int k;
    if (!time || e->m.agent->tape.status) return RUN_FAILED;
    for (k = 0; k < e->m.steps; k++)
        memcpy(time + k * n->width, table->data + row[k] * n->width,
               (size_t)n->width * sizeof(float));
    n->time = time;
    return RUN_OK;
}

static int export_denoiser(export *e, model_net *n, const drl_denoiser *net, const drl_ddpm *chain)
{
    drl_tape *t = &e->m.agent->tape;
    int i, row[DRL_STEPS_MAX], state = net->act_dim + net->time_dim;
    if (net->mlp.layers) export_mlp(n, &net->mlp, state);
    else {
        export_first(n, &net->res.first, state);
        n->residual = 1;
        n->act = net->res.act;
        n->layers = 2 * net->res.blocks + 1;
        for (i = 0; i < n->layers - 1; i++) n->rest[i] = net->res.layer[i];
        n->rest[i] = net->res.last;
    }
    for (i = 0; i < chain->steps; i++) row[i] = chain->time[chain->steps - i];
    return export_time(e, n, drl_denoiser_time(t, net, chain->time[chain->steps] + 1), row);
}

static int export_ddpm(export *e, const drl_ddpm *chain)
{
    model *m = &e->m;
    int k;
    m->ddpm = (float (*)[5])(void *)export_floats(e, 5 * chain->steps);
    if (!m->ddpm) return RUN_FAILED;
    for (k = 0; k < chain->steps; k++) {
        int t = chain->steps - k;
        m->ddpm[k][0] = chain->x_scale[t];
        m->ddpm[k][1] = -chain->eps_scale[t];
        m->ddpm[k][2] = chain->c0[t];
        m->ddpm[k][3] = chain->c1[t];
        m->ddpm[k][4] = chain->std[t];
    }
    return RUN_OK;
}

static int export_dacer(export *e, const drl_dacer *d)
{
    e->m.steps = d->chain.steps;
    return export_denoiser(e, &e->m.net[0], &d->net, &d->chain) || export_ddpm(e, &d->chain);
}

static int export_qvpo(export *e, const drl_qvpo *q)
{
    model *m = &e->m;
    int j;
    m->steps = q->chain.steps;
    m->candidates = q->cfg.evaluation;
    for (j = 0; j < 2; j++) {
        export_mlp(&m->critic[j], &q->q.q[j], m->act);
        m->critic[j].bias = q->q.q[j].layer[0].b->data;
    }
    return export_denoiser(e, &m->net[0], &q->eps, &q->chain) || export_ddpm(e, &q->chain);
}

static int export_dppo(export *e, const drl_dppo *d)
{
    model *m = &e->m;
    m->steps = d->eval.steps;
    m->chunk = d->cfg.chunk;
    m->dim = d->dim;
    m->switched = m->steps - d->cfg.tuned;
    m->nets = m->switched > 0 ? 2 : 1;
    m->noise_clip = d->cfg.noise_clip;
    m->obs_range = &d->obs_range;
    m->act_range = &d->act_range;
    if (m->nets == 2 && export_denoiser(e, &m->net[0], &d->base_net, &d->eval)) return RUN_FAILED;
    return export_denoiser(e, &m->net[m->nets - 1], &d->net, &d->eval) || export_ddpm(e, &d->eval);
}

static int export_dime(export *e, const drl_dime *d)
{
    model *m = &e->m;
    model_net *n = &m->net[0];
    drl_tape *t = &m->agent->tape;
    drl_tensor *rows, *one = drl_tape_input(t, 1, m->act, NULL), *rate;
    int k, i, row[DRL_STEPS_MAX], A = m->act;
    m->steps = d->cfg.steps;
    m->ou = 1;
    m->prior = d->cfg.prior_std;
    m->pull = 1.0f / (d->cfg.prior_std * d->cfg.prior_std);
    m->eta = export_floats(e, m->steps * A);
    m->root = export_floats(e, m->steps * A);
    export_mlp(n, &d->trunk, A);
    n->bias = d->trunk.layer[0].b->data;
    if (t->status || !m->eta || !m->root) return RUN_FAILED;
    for (i = 0; i < A; i++) one->data[i] = 1.0f;
    rate = drl_mul(t, drl_div(t, one, drl_activate(t, DRL_ACT_SOFTPLUS, d->phi)),
                   drl_activate(t, DRL_ACT_SOFTPLUS, d->rho));
    for (k = 0; k < m->steps && !t->status; k++) {
        drl_tensor *eta = drl_affine(t, rate, d->c[k], 0.0f);
        drl_tensor *root = drl_sqrt(t, drl_affine(t, eta, 2.0f, 0.0f));
        row[k] = k;
        for (i = 0; i < A && !t->status; i++) {
            m->eta[k * A + i] = eta->data[i];
            m->root[k * A + i] = root->data[i];
        }
    }
    rows = drl_rows(t, d->trunk.layer[0].w, A + m->obs, n->width);
    rows = drl_linear(t, drl_fourier_forward(t, &d->time, m->steps), rows, NULL, NULL,
                      DRL_ACT_NONE);
    return export_time(e, n, rows, row);
}

/* The first columns of a matrix. */
static int export_columns(export *e, drl_tensor *to, const drl_tensor *from, int cols)
{
    int r;
    to->rows = from->rows;
    to->cols = cols;
    to->data = export_floats(e, from->rows * cols);
    for (r = 0; r < from->rows && to->data; r++)
        memcpy(to->data + r * cols, from->data + r * from->cols, (size_t)cols * sizeof(float));
    return to->data ? RUN_OK : RUN_FAILED;
}

/* An actor without a chain, of whose outputs the first are the mean. */
static int export_direct(export *e, const drl_mlp *mlp, int squash)
{
    model *m = &e->m;
    model_net *n = &m->net[0];
    drl_dense *last = &n->rest[mlp->layers - 2];
    export_mlp(n, mlp, 0);
    n->wx = NULL;
    n->bias = mlp->layer[0].b->data;
    m->direct = 1;
    m->squash = squash;
    if (export_columns(e, &m->mean_w, last->w, m->act)) return RUN_FAILED;
    if (export_columns(e, &m->mean_b, last->b, m->act)) return RUN_FAILED;
    last->w = &m->mean_w;
    last->b = &m->mean_b;
    return RUN_OK;
}

static int export_ppo(export *e, const drl_ppo *p)
{
    model *m = &e->m;
    int i;
    if (p->cfg.normalize && p->norm.count > 1) {
        m->mean = (double *)drl_arena_alloc(&e->arena, 2 * (size_t)m->obs * sizeof(double));
        if (!m->mean) return RUN_FAILED;
        m->sd = m->mean + m->obs;
        for (i = 0; i < m->obs; i++) {
            m->mean[i] = p->norm.mean[i];
            m->sd[i] = sqrt(p->norm.m2[i] / p->norm.count + 1e-8);
        }
    }
    return export_direct(e, &p->policy, 0);
}

/* Letters, digits and a few signs of a text from the file: harmless in a comment. */
static void export_word(char *out, size_t n, const char *text)
{
    size_t i;
    for (i = 0; text && i + 1 < n && text[i]; i++) {
        char c = text[i];
        int plain = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
        out[i] = plain || c == '-' || c == '.' || c == '_' ? c : '_';
    }
    out[i] = 0;
}

/* Load the policy and describe it. */
static int export_open(export *e)
{
    model *m = &e->m;
    const char *algo;
    drl_algo a;
    int bad;
    if (drl_file_open(&e->file, &e->ctx, e->policy)) return run_policy_fail("export", &e->ctx);
    algo = drl_meta_get(&e->file.meta, "algo");
    a = drl_algo_find(algo ? algo : "");
    export_word(m->algo, sizeof m->algo, algo ? algo : "none");
    export_word(m->task, sizeof m->task, drl_meta_get(&e->file.meta, "task"));
    if (!a.name) {
        fprintf(stderr, "export: %s: its algorithm is %s, which this program does not know\n",
                e->policy, m->algo);
        return RUN_FILE;
    }
    m->agent = (drl_agent *)calloc(1, a.size);
    if (!m->agent) return RUN_FAILED;
    if (drl_agent_load(m->agent, &e->ctx, a, e->policy)) return run_policy_fail("export", &e->ctx);
    m->obs = m->agent->obs_dim;
    m->act = m->dim = m->agent->act_dim;
    m->chunk = m->candidates = m->nets = 1;
    m->agent->tape.grad_enabled = 0;
    if (!strcmp(a.name, "dime")) bad = export_dime(e, (const drl_dime *)m->agent);
    else if (!strcmp(a.name, "qvpo")) bad = export_qvpo(e, (const drl_qvpo *)m->agent);
    else if (!strcmp(a.name, "dppo")) bad = export_dppo(e, (const drl_dppo *)m->agent);
    else if (!strcmp(a.name, "dacer")) bad = export_dacer(e, (const drl_dacer *)m->agent);
    else if (!strcmp(a.name, "ppo")) bad = export_ppo(e, (const drl_ppo *)m->agent);
    else if (!strcmp(a.name, "sac"))
        bad = export_direct(e, &((const drl_sac *)m->agent)->policy, 1);
    else bad = (fprintf(stderr, "export: %s is not supported yet\n", a.name), RUN_FAILED);
    m->noise = m->direct ? 0 : (m->steps + 1) * m->candidates * m->dim;
    if (bad && e->ctx.status) run_policy_fail("export", &e->ctx);
    return bad ? RUN_FAILED : RUN_OK;
}

/* --------------------------------------------------------------------------------- command line */

enum { FLAG_POLICY, FLAG_C, FLAG_NAME, FLAG_ONNX, FLAG_ONNX_LOOP, FLAG_HELP, FLAG_VERSION };

static const run_flag export_flags[] = {
    {"policy", "FILE", "policy.safetensors or best.safetensors of a run; --policy may be left out"},
    {"c", "FILE", "write C99 and C++ source: one header that needs nothing"},
    {"name", "NAME", "what its functions begin with (policy)"},
    {"onnx", "FILE", "write one denoising step: obs, x, noise, step -> x_next"},
    {"onnx-loop", "FILE", "write the whole policy: obs, noise -> action"},
    {"help", NULL, "this text"},
    {"version", NULL, "of the library"},
};

/* Read the command line. Returns -1 to go on, or the exit code. */
static int export_parse(export *e, int argc, char **argv)
{
    run_args args = {"export", NULL, 0, 1, 0};
    const char *value, *s;
    int flag;
    args.argc = argc;
    args.argv = argv;
    e->name = "policy";
    for (;;) {
        flag = run_args_next(&args, export_flags, RUN_COUNT(export_flags), &value);
        if (flag == RUN_ARGS_END) break;
        if (flag == RUN_ARGS_BAD) return RUN_USAGE;
        if (flag == FLAG_HELP) {
            printf("usage: export --policy FILE [FLAG...]\n\n"
                   "Writes a trained policy so that it runs without diffrl.h.\n\n");
            run_flags_help(export_flags, RUN_COUNT(export_flags));
            printf("\nexamples:\n  build/export runs/Hopper*/best.safetensors --c policy.h\n"
                   "  build/export runs/Walker*/best.safetensors --c walker.h --name walker\n"
                   "  build/export runs/Hopper*/best.safetensors --onnx step.onnx "
                   "--onnx-loop policy.onnx\n"
                   "\nexit status: 0 ok, 1 failed, 2 usage, 3 bad file\n");
            return RUN_OK;
        }
        if (flag == FLAG_VERSION) return printf("diffrl %s\n", DIFFRL_VERSION_STRING), RUN_OK;
        if (flag == RUN_ARGS_WORD && e->policy)
            return fprintf(stderr, "export: one policy at a time, got '%s' too\n", value),
                   RUN_USAGE;
        if (flag == FLAG_POLICY || flag == RUN_ARGS_WORD) e->policy = value;
        else if (flag == FLAG_C) e->code = value;
        else if (flag == FLAG_NAME) e->name = value;
        else if (flag == FLAG_ONNX) e->onnx = value;
        else e->onnx_loop = value;
    }
    if (!e->policy || (!e->code && !e->onnx && !e->onnx_loop)) {
        fprintf(stderr, "export: want --policy FILE and --c, --onnx or --onnx-loop FILE "
                        "(--help shows all flags)\n");
        return RUN_USAGE;
    }
    for (s = e->name; *s; s++)
        if ((*s < '0' || *s > '9' || s == e->name) && (*s < 'a' || *s > 'z') &&
            (*s < 'A' || *s > 'Z') && *s != '_')
            break;
    if (!*s && *e->name && strlen(e->name) <= 40) return -1;
    fprintf(stderr, "export: --name: expected an identifier of at most 40 letters\n");
    return RUN_USAGE;
}

/* Write a file by write_fn; after a failure it is as before. */
static int export_file(export *e, const char *path, int (*write_fn)(export *e, FILE *f))
{
    char draft[1024], text[32];
    FILE *f;
    long size;
    int bad;
    snprintf(draft, sizeof draft, "%s.tmp", path);
    f = strlen(path) + 4 < sizeof draft ? fopen(draft, "wb") : NULL;
    bad = f ? write_fn(e, f) : 0;
    size = f ? ftell(f) : 0;
    if (f && (ferror(f) | fclose(f) | bad) == 0 && rename(draft, path) == 0) {
        printf("%s: %s\n", path, run_bytes((double)size, text));
        return RUN_OK;
    }
    if (!bad) fprintf(stderr, "export: cannot write %s: %s\n", path, strerror(errno));
    if (f) remove(draft);
    return bad ? RUN_FAILED : RUN_FILE;
}

int main(int argc, char **argv)
{
    static export e;
    int rc = export_parse(&e, argc, argv);
    if (rc >= 0) return rc;
    if (drl_context_init(&e.ctx, NULL) || drl_arena_init(&e.arena, &e.ctx, 0)) return RUN_FAILED;
    rc = export_open(&e);
    if (!rc)
        printf("%s%s%s: obs %d, act %d, %d steps, %d normals per %s\n", e.m.algo,
               e.m.task[0] ? " on " : "", e.m.task, e.m.obs, e.m.act, e.m.steps, e.m.noise,
               e.m.chunk > 1 ? "chunk" : "action");
    if (!rc && e.code) rc = export_file(&e, e.code, code_write);
    if (!rc && e.onnx) rc = export_file(&e, e.onnx, onnx_step);
    if (!rc && e.onnx_loop) rc = export_file(&e, e.onnx_loop, onnx_loop);
    drl_file_close(&e.file);
    if (e.m.agent) drl_agent_free(e.m.agent);
    free(e.m.agent);
    drl_arena_free(&e.arena);
    drl_context_free(&e.ctx);
    return rc;
}
