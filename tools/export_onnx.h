/* The ONNX files that export writes: opset 13, basic operators only (Mish is x tanh(softplus(x)),
   GELU x sigmoid(c0 x + c1 x^3)), written as protobuf by hand. Part of export.c. */

/* ---- protobuf: fields are a tag, number << 3 | kind, and a varint or a counted string ---- */

typedef struct onnx_bytes {
    unsigned char *p;
    size_t n, room;
    int failed; /* out of memory */
} onnx_bytes;

static void onnx_put(onnx_bytes *b, const void *data, size_t n)
{
    if (b->n + n > b->room) {
        size_t room = 2 * b->room + n + 64;
        unsigned char *p = (unsigned char *)realloc(b->p, room);
        if (!p) b->failed = 1;
        else b->p = p, b->room = room;
    }
    if (b->failed || !n) return;
    memcpy(b->p + b->n, data, n);
    b->n += n;
}

static void onnx_varint(onnx_bytes *b, uint64_t v)
{
    unsigned char byte;
    do {
        byte = (unsigned char)((v & 127u) | (v > 127u ? 128u : 0u));
        onnx_put(b, &byte, 1);
        v >>= 7;
    } while (v);
}

static void onnx_int(onnx_bytes *b, unsigned field, int64_t v)
{
    onnx_varint(b, (uint64_t)field << 3);
    onnx_varint(b, (uint64_t)v);
}

static void onnx_data(onnx_bytes *b, unsigned field, const void *data, size_t n)
{
    onnx_varint(b, ((uint64_t)field << 3) | 2u);
    onnx_varint(b, n);
    onnx_put(b, data, n);
}

static void onnx_text(onnx_bytes *b, unsigned field, const char *text)
{
    onnx_data(b, field, text, strlen(text));
}

/* Append message part as a field and empty it. */
static void onnx_message(onnx_bytes *b, unsigned field, onnx_bytes *part)
{
    onnx_data(b, field, part->p, part->n);
    b->failed |= part->failed;
    free(part->p);
    memset(part, 0, sizeof *part);
}

/* ---- graph ---- */

enum { ONNX_FLOAT = 1, ONNX_INT64 = 7, ONNX_DOUBLE = 11, ONNX_BATCH = -1, ONNX_ROWS = -2 };

typedef struct onnx {
    const model *m;
    onnx_bytes graph;
    int count; /* of values that got a number for a name */
} onnx;

typedef struct onnx_value {
    char name[24];
} onnx_value;

static onnx_value onnx_named(const char *format, ...)
{
    onnx_value v;
    va_list args;
    va_start(args, format);
    vsnprintf(v.name, sizeof v.name, format, args);
    va_end(args);
    return v;
}

/* Append y = type(a, b, c), inputs with empty names at the end left out; Cast: to a kind. */
static void onnx_node_to(onnx *o, const char *type, const onnx_value *y, onnx_value a, onnx_value b,
                         onnx_value c, int kind)
{
    onnx_bytes node = {NULL, 0, 0, 0}, to = node;
    onnx_text(&node, 1, a.name);
    if (b.name[0]) onnx_text(&node, 1, b.name);
    if (c.name[0]) onnx_text(&node, 1, c.name);
    onnx_text(&node, 2, y->name);
    onnx_text(&node, 4, type);
    if (kind) { /* an attribute, an integer */
        onnx_text(&to, 1, "to");
        onnx_int(&to, 3, kind);
        onnx_int(&to, 20, 2);
        onnx_message(&node, 5, &to);
    }
    onnx_message(&o->graph, 1, &node);
}

static onnx_value onnx_3(onnx *o, const char *type, onnx_value a, onnx_value b, onnx_value c)
{
    onnx_value y = onnx_named("v%d", o->count++);
    onnx_node_to(o, type, &y, a, b, c, 0);
    return y;
}

static onnx_value onnx_cast(onnx *o, onnx_value x, int kind)
{
    onnx_value y = onnx_named("v%d", o->count++);
    onnx_node_to(o, "Cast", &y, x, onnx_named(""), onnx_named(""), kind);
    return y;
}

static onnx_value onnx_2(onnx *o, const char *type, onnx_value a, onnx_value b)
{
    return onnx_3(o, type, a, b, onnx_named(""));
}

static onnx_value onnx_1(onnx *o, const char *type, onnx_value a)
{
    return onnx_2(o, type, a, onnx_named(""));
}

/* Append a constant tensor; sizes that are 0 are left out. The bytes are little-endian, as here. */
static onnx_value onnx_tensor(onnx *o, onnx_value name, int kind, int rows, int cols,
                              const void *data)
{
    onnx_bytes t = {NULL, 0, 0, 0};
    size_t n = (size_t)(rows ? rows : 1) * (size_t)(cols ? cols : 1);
    if (rows) onnx_int(&t, 1, rows);
    if (cols) onnx_int(&t, 1, cols);
    onnx_int(&t, 2, kind);
    onnx_text(&t, 8, name.name);
    onnx_data(&t, 9, data, n * (kind == ONNX_FLOAT ? 4u : 8u));
    onnx_message(&o->graph, 5, &t);
    return name;
}

static onnx_value onnx_number(onnx *o, float x)
{
    return onnx_tensor(o, onnx_named("k%d", o->count++), ONNX_FLOAT, 0, 0, &x);
}

/* A vector of up to three integers; n 0: a scalar. */
static onnx_value onnx_integers(onnx *o, int n, int64_t a, int64_t b, int64_t c)
{
    int64_t x[3];
    x[0] = a, x[1] = b, x[2] = c;
    return onnx_tensor(o, onnx_named("k%d", o->count++), ONNX_INT64, n, 0, x);
}

/* Declare an input (field 11) or output (12) [a, b, c], negative sizes by name; 0: none. */
static void onnx_port(onnx *o, unsigned field, const char *name, int kind, int a, int b, int c)
{
    onnx_bytes port = {NULL, 0, 0, 0}, type = port, tensor = port, shape = port, dim = port;
    int sizes[3], i;
    sizes[0] = a, sizes[1] = b, sizes[2] = c;
    for (i = 0; i < 3 && sizes[i]; i++) {
        if (sizes[i] > 0) onnx_int(&dim, 1, sizes[i]);
        else onnx_text(&dim, 2, sizes[i] == ONNX_BATCH ? "batch" : "rows");
        onnx_message(&shape, 1, &dim);
    }
    onnx_int(&tensor, 1, kind);
    onnx_message(&tensor, 2, &shape);
    onnx_message(&type, 1, &tensor);
    onnx_text(&port, 1, name);
    onnx_message(&port, 2, &type);
    onnx_message(&o->graph, field, &port);
}

/* ---- what the algorithms are made of ---- */

static onnx_value onnx_clip(onnx *o, onnx_value x, float bound)
{
    return onnx_3(o, "Clip", x, onnx_number(o, -bound), onnx_number(o, bound));
}

static onnx_value onnx_act(onnx *o, drl_act act, onnx_value x)
{
    onnx_value y;
    if (act == DRL_ACT_RELU) return onnx_1(o, "Relu", x);
    if (act == DRL_ACT_TANH) return onnx_1(o, "Tanh", x);
    if (act == DRL_ACT_MISH)
        return onnx_2(o, "Mul", x, onnx_1(o, "Tanh", onnx_1(o, "Softplus", x)));
    y = onnx_2(o, "Mul", onnx_2(o, "Mul", x, x), onnx_number(o, 0.0713548163f)); /* GELU */
    y = onnx_2(o, "Mul", x, onnx_2(o, "Add", y, onnx_number(o, 1.59576912f)));
    return onnx_2(o, "Mul", x, onnx_1(o, "Sigmoid", y));
}

/* Append the weights of a net. */
static void onnx_weights(onnx *o, const char *net, const model_net *n)
{
    int i, W = n->width;
    if (n->wx) onnx_tensor(o, onnx_named("%s.x", net), ONNX_FLOAT, o->m->dim, W, n->wx);
    onnx_tensor(o, onnx_named("%s.s", net), ONNX_FLOAT, o->m->obs, W, n->ws);
    if (n->bias) onnx_tensor(o, onnx_named("%s.b", net), ONNX_FLOAT, 1, W, n->bias);
    if (n->time) onnx_tensor(o, onnx_named("%s.time", net), ONNX_FLOAT, o->m->steps, W, n->time);
    for (i = 0; i < n->layers; i++) {
        const drl_tensor *w = n->rest[i].w;
        onnx_tensor(o, onnx_named("%s.w%d", net, i), ONNX_FLOAT, w->rows, w->cols, w->data);
        onnx_tensor(o, onnx_named("%s.b%d", net, i), ONNX_FLOAT, 1, w->cols, n->rest[i].b->data);
    }
}

/* The part of the first layer that the state gives, a row per candidate. */
static onnx_value onnx_state(onnx *o, const char *net, const model_net *n, onnx_value obs,
                             int candidates)
{
    onnx_value y = onnx_2(o, "MatMul", obs, onnx_named("%s.s", net));
    if (n->bias) y = onnx_2(o, "Add", y, onnx_named("%s.b", net));
    return candidates > 1 ? onnx_2(o, "Tile", y, onnx_integers(o, 2, candidates, 1, 0)) : y;
}

static onnx_value onnx_layer(onnx *o, const char *net, int i, onnx_value x)
{
    x = onnx_2(o, "MatMul", x, onnx_named("%s.w%d", net, i));
    return onnx_2(o, "Add", x, onnx_named("%s.b%d", net, i));
}

/* The output of a net at step k, an integer [1]. */
static onnx_value onnx_net(onnx *o, const char *net, const model_net *n, onnx_value x,
                           onnx_value state, const onnx_value *k)
{
    onnx_value h = n->wx ? onnx_2(o, "MatMul", x, onnx_named("%s.x", net)) : state, y;
    int i;
    if (k) h = onnx_2(o, "Add", h, onnx_2(o, "Gather", onnx_named("%s.time", net), *k));
    if (n->wx) h = onnx_2(o, "Add", h, state);
    for (i = 0; i < n->layers - 1 && n->residual; i += 2) {
        y = onnx_layer(o, net, i, onnx_act(o, n->act, h));
        h = onnx_2(o, "Add", h, onnx_layer(o, net, i + 1, onnx_act(o, n->act, y)));
    }
    if (n->residual) return onnx_layer(o, net, n->layers - 1, h);
    for (i = 0; i < n->layers; i++) h = onnx_layer(o, net, i, onnx_act(o, n->act, h));
    return h;
}

/* Row k of the table `name`, times x. */
static onnx_value onnx_scale(onnx *o, const char *name, onnx_value k, onnx_value x)
{
    return onnx_2(o, "Mul", x, onnx_2(o, "Gather", onnx_named("%s", name), k));
}

/* x of the next step. k: its number, integer [1]; known: the same, or -1 if it is an input. */
static onnx_value onnx_chain(onnx *o, onnx_value x, onnx_value z, const onnx_value *state,
                             onnx_value k, int known)
{
    const model *m = o->m;
    onnx_value e = x, x0;
    int last = m->nets - 1;
    if (known >= 0) last = known < m->switched ? 0 : last;
    e = onnx_net(o, last ? "net1" : "net0", &m->net[last], x, state[last], &k);
    if (known < 0 && last) {
        x0 = onnx_2(o, "Less", k, onnx_integers(o, 1, m->switched, 0, 0));
        e = onnx_3(o, "Where", x0, onnx_net(o, "net0", &m->net[0], x, state[0], &k), e);
    }
    if (m->ou) {
        e = onnx_2(o, "Add", onnx_2(o, "Mul", x, onnx_number(o, -m->pull)), onnx_clip(o, e, 1e4f));
        x = onnx_2(o, "Add", x, onnx_scale(o, "eta", k, e));
        return onnx_2(o, "Add", x, onnx_scale(o, "root", k, z));
    }
    if (m->act_range) z = onnx_clip(o, z, m->noise_clip);
    x0 = onnx_2(o, "Add", onnx_scale(o, "x_scale", k, x), onnx_scale(o, "eps_scale", k, e));
    x0 = onnx_clip(o, x0, 1.0f);
    x = onnx_2(o, "Add", onnx_scale(o, "c0", k, x0), onnx_scale(o, "c1", k, x));
    return onnx_2(o, "Add", x, onnx_scale(o, "std", k, z));
}

/* ---- the two graphs ---- */

/* Begin a graph: constants, and the states' parts of the nets. */
static void onnx_begin(onnx *o, const export *e, onnx_value *obs, onnx_value *state)
{
    static const char *const names[] = {"x_scale", "eps_scale", "c0", "c1", "std"};
    const model *m = &e->m;
    float column[DRL_STEPS_MAX];
    int i, k;
    memset(o, 0, sizeof *o);
    o->m = m;
    for (i = 0; i < m->nets; i++) onnx_weights(o, i ? "net1" : "net0", &m->net[i]);
    for (i = 0; i < 5 && m->ddpm; i++) {
        for (k = 0; k < m->steps; k++) column[k] = m->ddpm[k][i];
        onnx_tensor(o, onnx_named("%s", names[i]), ONNX_FLOAT, m->steps, 1, column);
    }
    if (m->ou) {
        onnx_tensor(o, onnx_named("eta"), ONNX_FLOAT, m->steps, m->dim, m->eta);
        onnx_tensor(o, onnx_named("root"), ONNX_FLOAT, m->steps, m->dim, m->root);
    }
    onnx_port(o, 11, "obs", ONNX_FLOAT, ONNX_BATCH, m->obs, 0);
    *obs = onnx_named("obs");
    if (m->obs_range) {
        onnx_tensor(o, onnx_named("obs.b"), ONNX_FLOAT, 1, m->obs, m->obs_range->b->data);
        onnx_tensor(o, onnx_named("obs.w"), ONNX_FLOAT, 1, m->obs, m->obs_range->w->data);
        *obs = onnx_2(o, "Sub", *obs, onnx_named("obs.b"));
        *obs = onnx_2(o, "Div", *obs, onnx_named("obs.w"));
    }
    if (m->mean) { /* in double, as the library does it */
        onnx_tensor(o, onnx_named("obs.mean"), ONNX_DOUBLE, 1, m->obs, m->mean);
        onnx_tensor(o, onnx_named("obs.sd"), ONNX_DOUBLE, 1, m->obs, m->sd);
        *obs = onnx_cast(o, *obs, ONNX_DOUBLE);
        *obs = onnx_2(o, "Sub", *obs, onnx_named("obs.mean"));
        *obs = onnx_cast(o, onnx_2(o, "Div", *obs, onnx_named("obs.sd")), ONNX_FLOAT);
        *obs = onnx_clip(o, *obs, 10.0f);
    }
    for (i = 0; i < m->nets; i++) state[i] = onnx_named("");
}

/* Write the model around the graph. */
static int onnx_end(onnx *o, FILE *f, const char *what)
{
    onnx_bytes all = {NULL, 0, 0, 0}, part = {NULL, 0, 0, 0};
    int bad;
    onnx_text(&o->graph, 2, o->m->algo);
    onnx_text(&o->graph, 10, what);
    onnx_int(&all, 1, 7); /* format version 7, opset 13: ONNX 1.8 of 2020 */
    onnx_text(&all, 2, "diffrl");
    onnx_text(&all, 3, DIFFRL_VERSION_STRING);
    onnx_message(&all, 7, &o->graph);
    onnx_text(&part, 1, "");
    onnx_int(&part, 2, 13);
    onnx_message(&all, 8, &part);
    bad = all.failed;
    if (bad) fprintf(stderr, "export: out of memory\n");
    else fwrite(all.p, 1, all.n, f);
    free(all.p);
    return bad;
}

static int onnx_step(export *e, FILE *f)
{
    const model *m = &e->m;
    onnx o;
    onnx_value obs, state[2], y = onnx_named("x_next"), x;
    char what[512], begin[64] = "noise[0]", end[64] = "x";
    int i;
    if (m->direct) {
        fprintf(stderr, "export: %s has no denoising steps; --onnx-loop writes all\n", m->algo);
        return 1;
    }
    onnx_begin(&o, e, &obs, state);
    onnx_port(&o, 11, "x", ONNX_FLOAT, ONNX_BATCH, m->dim, 0);
    onnx_port(&o, 11, "noise", ONNX_FLOAT, ONNX_BATCH, m->dim, 0);
    onnx_port(&o, 11, "step", ONNX_INT64, 1, 0, 0);
    onnx_port(&o, 12, y.name, ONNX_FLOAT, ONNX_BATCH, m->dim, 0);
    for (i = 0; i < m->nets; i++)
        state[i] = onnx_state(&o, i ? "net1" : "net0", &m->net[i], obs, 1);
    x = onnx_chain(&o, onnx_named("x"), onnx_named("noise"), state, onnx_named("step"), -1);
    onnx_node_to(&o, "Identity", &y, x, onnx_named(""), onnx_named(""), 0);
    if (m->ou) snprintf(begin, sizeof begin, "%.9g noise[0]", (double)m->prior);
    if (m->ou) snprintf(end, sizeof end, "tanh(x)");
    if (m->act_range) snprintf(end, sizeof end, "clip(x w + b), %d actions", m->chunk);
    if (m->candidates > 1)
        snprintf(end, sizeof end, "x, of the best by Q of %d", m->candidates);
    snprintf(what, sizeof what,
             "One step of the chain: x = %s; for k = 0 .. %d: x = x_next(obs, x, noise[k + 1], "
             "step [k]); action: %s", begin, m->steps - 1, end);
    return onnx_end(&o, f, what);
}

/* x [candidates batch, dim] of the chain's end to the actions. */
static onnx_value onnx_action(onnx *o, onnx_value x, onnx_value obs)
{
    const model *m = o->m;
    onnx_value q[2], s;
    int j, K = m->candidates;
    if (m->ou || m->squash) return onnx_1(o, "Tanh", x);
    if (m->direct) return onnx_clip(o, x, 1.0f);
    if (m->act_range) {
        onnx_tensor(o, onnx_named("act.b"), ONNX_FLOAT, 1, m->act, m->act_range->b->data);
        onnx_tensor(o, onnx_named("act.w"), ONNX_FLOAT, 1, m->act, m->act_range->w->data);
        x = onnx_2(o, "Reshape", x, onnx_integers(o, 3, -1, m->chunk, m->act));
        x = onnx_2(o, "Mul", x, onnx_named("act.w"));
        return onnx_clip(o, onnx_2(o, "Add", x, onnx_named("act.b")), 1.0f);
    }
    if (K == 1) return x;
    for (j = 0; j < 2; j++) {
        onnx_weights(o, j ? "q1" : "q0", &m->critic[j]);
        s = onnx_state(o, j ? "q1" : "q0", &m->critic[j], obs, K);
        q[j] = onnx_net(o, j ? "q1" : "q0", &m->critic[j], x, s, NULL);
    }
    s = onnx_2(o, "Reshape", onnx_2(o, "Min", q[0], q[1]), onnx_integers(o, 3, K, -1, 1));
    s = onnx_2(o, "Tile", onnx_1(o, "ArgMax", s), onnx_integers(o, 3, 1, 1, m->act));
    x = onnx_2(o, "Reshape", x, onnx_integers(o, 3, K, -1, m->act));
    x = onnx_2(o, "GatherElements", x, s); /* along axis 0 */
    return onnx_2(o, "Reshape", x, onnx_integers(o, 2, -1, m->act, 0));
}

static int onnx_loop(export *e, FILE *f)
{
    const model *m = &e->m;
    onnx o;
    onnx_value obs, state[2], x, z, y = onnx_named("action");
    int i, k, K = m->candidates;
    onnx_begin(&o, e, &obs, state);
    if (m->noise)
        onnx_port(&o, 11, "noise", ONNX_FLOAT, m->steps + 1, K > 1 ? ONNX_ROWS : ONNX_BATCH,
                  m->dim);
    if (m->act_range) onnx_port(&o, 12, y.name, ONNX_FLOAT, ONNX_BATCH, m->chunk, m->act);
    else onnx_port(&o, 12, y.name, ONNX_FLOAT, ONNX_BATCH, m->act, 0);
    for (i = 0; i < m->nets; i++)
        state[i] = onnx_state(&o, i ? "net1" : "net0", &m->net[i], obs, K);
    if (m->direct) x = onnx_net(&o, "net0", &m->net[0], obs, state[0], NULL);
    else x = onnx_2(&o, "Gather", onnx_named("noise"), onnx_integers(&o, 0, 0, 0, 0));
    if (m->ou) x = onnx_2(&o, "Mul", x, onnx_number(&o, m->prior));
    for (k = 0; k < m->steps; k++) {
        z = onnx_2(&o, "Gather", onnx_named("noise"), onnx_integers(&o, 0, k + 1, 0, 0));
        x = onnx_chain(&o, x, z, state, onnx_integers(&o, 1, k, 0, 0), k);
    }
    x = onnx_action(&o, x, obs);
    onnx_node_to(&o, "Identity", &y, x, onnx_named(""), onnx_named(""), 0);
    if (m->direct) return onnx_end(&o, f, "The policy, by its mean");
    return onnx_end(&o, f, K > 1 ? "The policy. noise: standard normals; row k batch + b is of "
                                   "candidate k in state b"
                                 : "The policy. noise: standard normals");
}
