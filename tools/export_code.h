/* The C source that export writes. It repeats the operations of diffrl.h in their order: >>kernels
   (sums over k in order, then bias, then base), >>math, >>rng, >>diffusion, the algorithms' act.
   In the texts below @ stands for the name of the policy. Part of export.c. */

/* floating point: no contraction but by @_fma, which is exact everywhere */
static const char code_start[] =
    "#include <stdint.h>\n"
    "\n"
    "#if defined(__FAST_MATH__) && (defined(__clang__) || !defined(__GNUC__))\n"
    "#error \"compile without -ffast-math: it changes results\"\n"
    "#endif\n"
    "#if defined(__FLT_EVAL_METHOD__) && (__FLT_EVAL_METHOD__ == 1 || __FLT_EVAL_METHOD__ == 2)\n"
    "#error \"float must be computed as float (x86: -msse2 -mfpmath=sse)\"\n"
    "#endif\n"
    "#if defined(__GNUC__) && !defined(__clang__)\n"
    "#pragma GCC push_options\n"
    "#pragma GCC optimize(\"fp-contract=off\", \"no-fast-math\", \"no-trapping-math\")\n"
    "#pragma GCC optimize(\"no-tree-loop-distribute-patterns\") /* no calls of memset, memcpy */\n"
    "#if defined(__OPTIMIZE__) && !defined(__OPTIMIZE_SIZE__)\n"
    "#pragma GCC optimize(\"tree-loop-vectorize\", \"vect-cost-model=dynamic\")\n"
    "#endif\n"
    "#else\n"
    "#pragma STDC FP_CONTRACT OFF\n"
    "#endif\n"
    "#if defined(__GNUC__)\n"
    "#define @_INLINE static inline __attribute__((always_inline))\n"
    "#else\n"
    "#define @_INLINE static inline\n"
    "#endif\n"
    "#if defined(__clang__)\n"
    "#define @_UNROLL _Pragma(\"clang loop unroll(full)\")\n"
    "#elif defined(__GNUC__)\n"
    "#define @_UNROLL _Pragma(\"GCC unroll 16\")\n"
    "#else\n"
    "#define @_UNROLL\n"
    "#endif\n"
    "#ifdef __cplusplus\n"
    "extern \"C\" {\n"
    "#endif\n"
    "\n";

static const char code_math[] =
    "/* ---- arithmetic ---- */\n"
    "\n"
    "@_INLINE uint32_t @_bits(float x)\n"
    "{\n"
    "    union { float f; uint32_t u; } b;\n"
    "    b.f = x;\n"
    "    return b.u;\n"
    "}\n"
    "\n"
    "@_INLINE float @_float(uint32_t u)\n"
    "{\n"
    "    union { float f; uint32_t u; } b;\n"
    "    b.u = u;\n"
    "    return b.f;\n"
    "}\n"
    "\n"
    "/* a b + c, rounded once */\n"
    "#if defined(__FP_FAST_FMAF) || defined(__FMA__) || defined(__ARM_FEATURE_FMA)\n"
    "@_INLINE float @_fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }\n"
    "#else\n"
    "/* a b is exact in double. The rounded sum differs from the exact one in what float makes of\n"
    "   it only if it ends with 28 zeros: then its last bit is made odd if it is not exact. */\n"
    "typedef char @_wants_64_bit_double[sizeof(double) == 8 ? 1 : -1];\n"
    "@_INLINE float @_fma(float a, float b, float c)\n"
    "{\n"
    "    double p = (double)a * (double)b, d = (double)c;\n"
    "    union { double f; uint64_t u; } s;\n"
    "    s.f = p + d;\n"
    "    if (!(s.u & 0xfffffffu)) {\n"
    "        double v = s.f - p, rest = (p - (s.f - v)) + (d - v);\n"
    "        if (rest > 0) s.u += s.f > 0 ? 1u : (uint64_t)-1;\n"
    "        else if (rest < 0) s.u += s.f > 0 ? (uint64_t)-1 : 1u;\n"
    "    }\n"
    "    return (float)s.f;\n"
    "}\n"
    "#endif\n"
    "\n"
    "@_INLINE float @_clip(float x, float low, float high)\n"
    "{\n"
    "    return x < low ? low : x > high ? high : x;\n"
    "}\n"
    "\n"
    "@_INLINE float @_horner(float x, float p, float a, float b, float c, float d)\n"
    "{\n"
    "    return @_fma(@_fma(@_fma(@_fma(p, x, a), x, b), x, c), x, d);\n"
    "}\n"
    "\n"
    "/* n columns of y = x w + bias + base, w [in, ld] */\n"
    "@_INLINE void @_columns(int n, int in, int ld, const float *x, const float *w,\n"
    "                        const float *bias, const float *base, float *y)\n"
    "{\n"
    "    float s[16];\n"
    "    int i, k;\n"
    "    @_UNROLL for (i = 0; i < n; i++) s[i] = 0.0f;\n"
    "    for (k = 0; k < in; k++, w += ld) {\n"
    "        float a = x[k];\n"
    "        @_UNROLL for (i = 0; i < n; i++) s[i] = @_fma(a, w[i], s[i]);\n"
    "    }\n"
    "    if (bias) {\n"
    "        @_UNROLL for (i = 0; i < n; i++) s[i] += bias[i];\n"
    "    }\n"
    "    if (base) {\n"
    "        @_UNROLL for (i = 0; i < n; i++) s[i] += base[i];\n"
    "    }\n"
    "    @_UNROLL for (i = 0; i < n; i++) y[i] = s[i];\n"
    "}\n"
    "\n"
    "/* y [out] = x [in] w [in, out] + bias + base; the last two may be 0 */\n"
    "static inline void @_linear(int in, int out, const float *x, const float *w,\n"
    "                            const float *bias, const float *base, float *y)\n"
    "{\n"
    "    int j = 0;\n"
    "    for (; j + 16 <= out; j += 16)\n"
    "        @_columns(16, in, out, x, w + j, bias ? bias + j : 0, base ? base + j : 0, y + j);\n"
    "    for (; j + 4 <= out; j += 4)\n"
    "        @_columns(4, in, out, x, w + j, bias ? bias + j : 0, base ? base + j : 0, y + j);\n"
    "    for (; j < out; j++)\n"
    "        @_columns(1, in, out, x, w + j, bias ? bias + j : 0, base ? base + j : 0, y + j);\n"
    "}\n"
    "\n";

/* exp(r) - 1 near 0, for tanh, mish, gelu */
static const char code_near[] =
    "@_INLINE float @_expm1_near(float r)\n"
    "{\n"
    "    float p = @_horner(r, 0.001386831631f, 0.008366423659f, 0.04166746512f, 0.1666654497f,\n"
    "                       0.4999999702f);\n"
    "    return @_fma(r * r, p, r);\n"
    "}\n"
    "\n";

static const char code_power[] =
    "/* 2^n = a b, t = n + 1.5 2^23 */\n"
    "@_INLINE void @_power(float t, float *a, float *b)\n"
    "{\n"
    "    uint32_t n = @_bits(t) - 0x4b400000u + 1024u, half = n >> 1;\n"
    "    *a = @_float((half - 512u + 127u) << 23);\n"
    "    *b = @_float((n - half - 512u + 127u) << 23);\n"
    "}\n"
    "\n";

static const char code_mish[] =
    "@_INLINE float @_act1(float x)\n"
    "{\n"
    "    float c = x > 20.0f ? 20.0f : x, t, n, q, a, b, e, g;\n"
    "    c = c < -110.0f ? -110.0f : c;\n"
    "    t = @_fma(c, 1.44269504f, 12582912.0f);\n"
    "    n = t - 12582912.0f;\n"
    "    q = @_expm1_near(@_fma(n, 1.904654212e-9f, @_fma(n, -0.693147182f, c)));\n"
    "    @_power(t, &a, &b);\n"
    "    e = (1.0f + q) * a * b;\n"
    "    g = e + 2.0f;\n"
    "    return x > 20.0f ? x : @_fma(c, q, c) * a * (g / @_fma(e, g, 2.0f)) * b;\n"
    "}\n"
    "\n";

static const char code_gelu[] =
    "@_INLINE float @_act1(float x)\n"
    "{\n"
    "    float low = x < -11.0f ? -11.0f : x, a, a2, hi, lo, t, n, q, u, v;\n"
    "    a = @_float(@_bits(low) & 0x7fffffffu);\n"
    "    a = a > 11.0f ? 11.0f : a;\n"
    "    a2 = a * a;\n"
    "    hi = @_fma(0.102943242f, a2, 2.30220795f);\n"
    "    lo = @_fma(0.102943242f, a2, 2.30220795f - hi);\n"
    "    lo = @_fma(0.102943242f, @_fma(a, a, -a2), lo);\n"
    "    lo = lo + @_fma(-2.01619854e-9f, a2, 2.5136697e-7f);\n"
    "    t = @_fma(-a, hi, 12582912.0f);\n"
    "    n = t - 12582912.0f;\n"
    "    q = @_expm1_near(@_fma(-a, lo, @_fma(-a, hi, -n)) * 0.693147182f);\n"
    "    @_power(t, &u, &v);\n"
    "    n = @_fma((1.0f + q) * u, v, 1.0f);\n"
    "    return (x < 0.0f ? @_fma(low, q, low) * u : x) / n * (x < 0.0f ? v : 1.0f);\n"
    "}\n"
    "\n";

static const char code_tanh[] =
    "@_INLINE float @_tanh1(float x)\n"
    "{\n"
    "    float a = @_float(@_bits(x) & 0x7fffffffu), t, n, r, scale, e;\n"
    "    a = a > 10.0f ? 10.0f : a;\n"
    "    t = @_fma(a, 2.88539008f, 12582912.0f);\n"
    "    n = t - 12582912.0f;\n"
    "    r = @_fma(n, 1.904654212e-9f, @_fma(n, -0.693147182f, a + a));\n"
    "    scale = @_float((@_bits(t) << 23) + 0x3f800000u);\n"
    "    e = @_fma(scale, @_expm1_near(r), scale - 1.0f);\n"
    "    return @_float(@_bits(e / (e + 2.0f)) | (@_bits(x) & 0x80000000u));\n"
    "}\n"
    "\n";

static const char code_relu[] =
    "@_INLINE float @_act1(float x) { return x < 0.0f ? 0.0f : x; }\n\n";

static const char code_activate[] =
    "static inline void @_activate(int n, const float *x, float *y)\n"
    "{\n"
    "    int i;\n"
    "    for (i = 0; i < n; i++) y[i] = @_act1(x[i]);\n"
    "}\n"
    "\n";

static const char code_rng[] =
    "/* ---- noise: the stream of drl_agent_begin(agent, -1, seed) ---- */\n"
    "\n"
    "typedef struct @_rng {\n"
    "    uint64_t seed, position;\n"
    "} @_rng;\n"
    "\n"
    "@_INLINE float @_root(float x) /* rounded to nearest; x >= 0, normal or 0 */\n"
    "{\n"
    "    uint32_t u = @_bits(x), e = (u >> 23) + 1u, m = (u & 0x7fffffu) | 0x800000u, r = 0, bit;\n"
    "    uint64_t n = (uint64_t)m << (e & 1u ? 26 : 25);\n"
    "    if (!(u << 1)) return x;\n"
    "    for (bit = 1u << 25; bit; bit >>= 1)\n"
    "        if ((uint64_t)(r | bit) * (r | bit) <= n) r |= bit;\n"
    "    r = (r + 1u) >> 1;\n"
    "    return @_float((((e >> 1) + 63u) << 23) + (r - 0x800000u));\n"
    "}\n"
    "\n"
    "@_INLINE float @_log_open(uint32_t w) /* log((w + 1/2) / 2^32) */\n"
    "{\n"
    "    float x = @_fma((float)w, 2.3283064365e-10f, 1.1641532183e-10f), n, f, p;\n"
    "    uint32_t u = @_bits(x), k = (u - 0x3f3504f3u + 0x40000000u) >> 23;\n"
    "    n = (float)((int32_t)k - 128);\n"
    "    f = @_float(u - ((k - 128u) << 23)) - 1.0f;\n"
    "    p = @_horner(f, -0.07636403292f, 0.1276220083f, -0.1315961331f, 0.1420158148f,\n"
    "                 -0.1662340909f);\n"
    "    p = @_horner(f, p, 0.2000124156f, -0.2500081956f, 0.3333333135f, -0.5f);\n"
    "    p = @_fma(f * f, p, n * -1.904654212e-9f);\n"
    "    return @_fma(n, 0.693147182f, f + p);\n"
    "}\n"
    "\n"
    "/* sin(2 pi w / 2^32 + quarter pi / 2) */\n"
    "@_INLINE float @_sin_turn(uint32_t w, uint32_t quarter)\n"
    "{\n"
    "    uint32_t v = w + 0x20000000u, q = (v >> 30) + quarter;\n"
    "    float r = (float)((int32_t)(v & 0x3fffffffu) - 0x20000000) * 1.46291808e-9f;\n"
    "    float z = r * r, c, s;\n"
    "    c = @_horner(z, 2.44300827e-5f, -0.001388729783f, 0.04166664556f, -0.5f, 1.0f);\n"
    "    s = @_fma(@_fma(-0.0001950788283f, z, 0.008332106285f), z, -0.1666665375f);\n"
    "    s = @_fma(r * z, s, r);\n"
    "    return @_float(@_bits(q & 1u ? c : s) ^ ((q & 2u) << 30));\n"
    "}\n"
    "\n"
    "/* Four words of Philox4x32-10. */\n"
    "static inline void @_philox(const @_rng *rng, uint64_t block, uint32_t *w)\n"
    "{\n"
    "    uint32_t a = (uint32_t)block, b = (uint32_t)(block >> 32), c = 0x%08xu, d = 0x%08xu, i;\n"
    "    uint32_t k0 = (uint32_t)rng->seed, k1 = (uint32_t)(rng->seed >> 32);\n"
    "    for (i = 0; i < 10u; i++) {\n"
    "        uint64_t p = (uint64_t)a * 0xd2511f53u, q = (uint64_t)c * 0xcd9e8d57u;\n"
    "        a = (uint32_t)(q >> 32) ^ b ^ k0;\n"
    "        b = (uint32_t)q;\n"
    "        c = (uint32_t)(p >> 32) ^ d ^ k1;\n"
    "        d = (uint32_t)p;\n"
    "        k0 += 0x9e3779b9u;\n"
    "        k1 += 0xbb67ae85u;\n"
    "    }\n"
    "    w[0] = a;\n"
    "    w[1] = b;\n"
    "    w[2] = c;\n"
    "    w[3] = d;\n"
    "}\n"
    "\n"
    "/* Start the stream of an episode. */\n"
    "static inline void @_rng_begin(@_rng *rng, uint64_t seed)\n"
    "{\n"
    "    rng->seed = seed;\n"
    "    rng->position = 0;\n"
    "}\n"
    "\n"
    "/* Fill x [n] with the next standard normals. */\n"
    "static inline void @_rng_normals(@_rng *rng, int n, float *x)\n"
    "{\n"
    "    uint32_t w[4] = {0, 0, 0, 0};\n"
    "    int i;\n"
    "    for (i = 0; i < n; i++, rng->position++) {\n"
    "        uint32_t at = (uint32_t)rng->position & 3u, pair = at & 2u;\n"
    "        if (at == 0u || i == 0) @_philox(rng, rng->position / 4u, w);\n"
    "        x[i] = @_root(-2.0f * @_log_open(w[pair]));\n"
    "        x[i] *= @_sin_turn(w[pair + 1u], at & 1u ? 0u : 1u);\n"
    "    }\n"
    "}\n"
    "\n";

/* steps of drl_ddpm; what calls the net stands between */
static const char code_chain[] =
    "/* The chain from x = noise[0] on, its steps' noise %d apart. */\n"
    "static inline void @_chain(@_policy *p, const float *noise)\n"
    "{\n"
    "    int i, k;\n"
    "    for (i = 0; i < @_DIM; i++) p->x[i] = noise[i];\n"
    "    for (k = 0; k < @_STEPS; k++) {\n"
    "        const float *c = @_step + 5 * k;\n"
    "        noise += %d;\n";

static const char code_step_ddpm[] =
    "        for (i = 0; i < @_DIM; i++) {\n"
    "            float x = p->x[i], x0 = @_fma(c[0], x, 0.0f) + @_fma(c[1], p->y[i], 0.0f);\n"
    "            x0 = @_clip(x0, -1.0f, 1.0f);\n"
    "            x = @_fma(c[2], x0, 0.0f) + @_fma(c[3], x, 0.0f);\n"
    "            p->x[i] = c[4] > 0.0f ? x + @_fma(c[4], @_noise(noise[i]), 0.0f) : x;\n"
    "        }\n"
    "    }\n"
    "}\n"
    "\n";

static const char code_step_ou[] =
    "/* The chain from x = sigma_0 noise[0] on. */\n"
    "static inline void @_chain(@_policy *p, const float *noise)\n"
    "{\n"
    "    int i, k;\n"
    "    for (i = 0; i < @_DIM; i++) p->x[i] = noise[i] * %s;\n"
    "    for (k = 0; k < @_STEPS; k++) {\n"
    "        noise += @_DIM;\n"
    "        @_net0(p, @_net0_time + k * %d);\n"
    "        for (i = 0; i < @_DIM; i++) {\n"
    "            float x = p->x[i], u = @_clip(p->y[i], -1e4f, 1e4f);\n"
    "            u = (@_fma(x, %s, 0.0f) + u) * @_eta[k * @_DIM + i];\n"
    "            p->x[i] = x + u + noise[i] * @_noise_scale[k * @_DIM + i];\n"
    "        }\n"
    "    }\n"
    "}\n"
    "\n";

static const char code_end[] =
    "#ifdef __cplusplus\n"
    "}\n"
    "#endif\n"
    "#if defined(__GNUC__) && !defined(__clang__)\n"
    "#pragma GCC pop_options\n"
    "#endif\n"
    "#undef @_INLINE\n"
    "#undef @_UNROLL\n"
    "#endif\n";

/* -------------------------------------------------------------------------------------- writing */

/* printf with the name for each @ of the format. */
static void code_put(const export *e, FILE *f, const char *format, ...)
{
    char text[8192];
    size_t n = 0, name = strlen(e->name);
    va_list args;
    for (; *format && n + name < sizeof text; format++)
        if (*format == '@') memcpy(text + n, e->name, name), n += name;
        else text[n++] = *format;
    text[n < sizeof text ? n : sizeof text - 1] = 0;
    va_start(args, format);
    vfprintf(f, text, args);
    va_end(args);
}

/* The shortest decimal that reads back as x, to text [32]. */
static const char *code_float(float x, char *text)
{
    int digits = 6;
    do snprintf(text, 32, "%.*g", digits, (double)x);
    while (strtof(text, NULL) != x && ++digits < 10);
    if (!strpbrk(text, ".e")) strcat(text, ".0");
    return strcat(text, "f");
}

static void code_table(const export *e, FILE *f, const char *name, const char *shape, int n,
                       const float *x)
{
    char text[32], line[128];
    int i, used = 0;
    code_put(e, f, "static const float @_%s[%d] = { /* %s */\n", name, n, shape);
    for (i = 0; i < n; i++) {
        int size = (int)strlen(code_float(x[i], text)) + 1;
        if (used + size > 98) fprintf(f, " %s\n", line), used = 0;
        used += snprintf(line + used, sizeof line - (size_t)used, "%s,", text);
    }
    fprintf(f, " %s\n};\n", line);
}

static void code_doubles(const export *e, FILE *f, const char *name, int n, const double *x)
{
    int i;
    code_put(e, f, "static const double @_%s[%d] = {\n", name, n);
    for (i = 0; i < n; i++) fprintf(f, " %.17g,%s", x[i], i % 4 == 3 || i == n - 1 ? "\n" : "");
    fprintf(f, "};\n");
}

/* The tables of a net with `out` outputs. */
static void code_net_tables(const export *e, FILE *f, const char *net, const model_net *n, int in)
{
    char name[32], shape[64];
    int i;
    snprintf(name, sizeof name, "%s_x", net);
    snprintf(shape, sizeof shape, "%d x %d, of x", in, n->width);
    if (n->wx) code_table(e, f, name, shape, in * n->width, n->wx);
    snprintf(name, sizeof name, "%s_s", net);
    snprintf(shape, sizeof shape, "%d x %d, of the state", e->m.obs, n->width);
    code_table(e, f, name, shape, e->m.obs * n->width, n->ws);
    snprintf(name, sizeof name, "%s_b", net);
    if (n->bias) code_table(e, f, name, "bias", n->width, n->bias);
    snprintf(name, sizeof name, "%s_time", net);
    snprintf(shape, sizeof shape, "%d x %d, of the step", e->m.steps, n->width);
    if (n->time) code_table(e, f, name, shape, e->m.steps * n->width, n->time);
    for (i = 0; i < n->layers; i++) {
        const drl_tensor *w = n->rest[i].w;
        snprintf(name, sizeof name, "%s_w%d", net, i);
        snprintf(shape, sizeof shape, "%d x %d", w->rows, w->cols);
        code_table(e, f, name, shape, w->rows * w->cols, w->data);
        snprintf(name, sizeof name, "%s_b%d", net, i);
        code_table(e, f, name, "bias", w->cols, n->rest[i].b->data);
    }
}

static void code_layer(const export *e, FILE *f, const char *net, const model_net *n, int i,
                       const char *from, const char *to)
{
    const drl_tensor *w = n->rest[i].w;
    code_put(e, f, "    @_linear(%d, %d, %s, @_%s_w%d, @_%s_b%d, 0, %s);\n", w->rows, w->cols, from,
             net, i, net, i, to);
}

/* The function of a net: p->x and the step's time to out. */
static void code_net(const export *e, FILE *f, const char *net, const model_net *n, int in,
                     const char *out)
{
    static const char *const h[] = {"p->h0", "p->h1"};
    int i, W = n->width;
    code_put(e, f, "static inline void @_%s(@_policy *p%s)\n{\n", net,
             n->time ? ", const float *time" : n->wx ? ", float *q" : "");
    if (n->residual) code_put(e, f, "    int i;\n");
    if (n->wx)
        code_put(e, f, "    @_linear(%d, %d, p->x, @_%s_x, %s, p->%s_state, p->h0);\n", in, W, net,
                 n->time ? "time" : "0", net);
    for (i = 0; i < n->layers - 1 && !n->residual; i++) {
        code_put(e, f, "    @_activate(%d, %s, %s);\n", W,
                 i || n->wx ? h[i % 2] : "p->net0_state", h[i % 2]);
        code_layer(e, f, net, n, i, h[i % 2], h[(i + 1) % 2]);
    }
    for (i = 0; i < n->layers - 1 && n->residual; i += 2) {
        code_put(e, f, "    @_activate(%d, p->h0, p->h1);\n", W);
        code_layer(e, f, net, n, i, "p->h1", "p->h2");
        code_put(e, f, "    @_activate(%d, p->h2, p->h2);\n", W);
        code_layer(e, f, net, n, i + 1, "p->h2", "p->h1");
        code_put(e, f, "    for (i = 0; i < %d; i++) p->h0[i] += p->h1[i];\n", W);
    }
    i = n->layers - 1;
    if (!n->residual) code_put(e, f, "    @_activate(%d, %s, %s);\n", W, h[i % 2], h[i % 2]);
    code_layer(e, f, net, n, i, n->residual ? "p->h0" : h[i % 2], out);
    code_put(e, f, "}\n\n");
}

/* A line of the example in the head. */
static void code_line(const export *e, FILE *f, const char *code, const char *comment)
{
    char text[256];
    size_t n = 0, name = strlen(e->name);
    for (; *code && n + name + 1 < sizeof text; code++)
        if (*code == '@') memcpy(text + n, e->name, name), n += name;
        else text[n++] = *code;
    text[n] = 0;
    if (*comment) fprintf(f, "     %-40s %s\n", text, comment);
    else fprintf(f, "     %s\n", text);
}

/* The head of the file: what it is and how to use it. */
static void code_head(const export *e, FILE *f)
{
    const model *m = &e->m;
    char text[256];
    code_put(e, f, "/* A policy trained by diffrl %s: %s%s%s. Written by tools/export.\n\n",
             DIFFRL_VERSION_STRING, m->algo, m->task[0] ? " on " : "", m->task);
    snprintf(text, sizeof text, "#include \"%s\"",
             strrchr(e->code, '/') ? strrchr(e->code, '/') + 1 : e->code);
    code_line(e, f, text, "in one C99 or C++ file");
    code_line(e, f, "static @_policy p;",
              m->chunk > 1 ? "working memory, and the plan" : "working memory");
    snprintf(text, sizeof text, "float obs[%d], act[%d];", m->obs, m->act);
    code_line(e, f, text, "");
    snprintf(text, sizeof text, "float noise[%d];", m->noise);
    if (m->noise) code_line(e, f, text, "");
    if (m->noise) code_line(e, f, "@_rng rng;", "");
    code_line(e, f, "if (@_selftest(&p)) ...", "not 0: it is computed otherwise here");
    code_line(e, f, "@_begin(&p);", "an episode begins");
    if (m->noise) code_line(e, f, "@_rng_begin(&rng, seed);", "");
    code_line(e, f, "... each time step:", "");
    if (m->noise) code_line(e, f, "if (@_wants(&p)) @_rng_normals(&rng, @_NOISE, noise);", "");
    code_line(e, f, m->noise ? "@_act(&p, obs, noise, act);" : "@_act(&p, obs, 0, act);",
              "act in [-1, 1]");
    code_put(e, f, "\n   The actions are those of drl_agent_act(DRL_MODE_EVAL), bit for bit.%s\n",
             m->noise ? " noise:" : "");
    if (m->noise)
        code_put(e, f,
                 "   %d x %d x %d standard normals, of any generator; those of @_rng are the\n"
                 "   library's after drl_agent_begin(-1, seed).\n",
                 m->steps + 1, m->candidates, m->dim);
    code_put(e, f,
             "   No allocation, no writable data, no call of libc or libm. With fused\n"
             "   multiply-add (x86: -mfma, -march=native) it is several times as fast. Not with\n"
             "   clang's -ffp-contract=fast: then @_selftest fails. */\n");
}

static int code_width(const model *m)
{
    int width = m->net[0].width > m->net[1].width ? m->net[0].width : m->net[1].width;
    return m->candidates > 1 && m->critic[0].width > width ? m->critic[0].width : width;
}

static void code_types(const export *e, FILE *f)
{
    const model *m = &e->m;
    int i;
    code_put(e, f,
             "enum {\n    @_OBS = %d,   /* numbers in an observation */\n"
             "    @_ACT = %d,   /* in an action */\n"
             "    @_NOISE = %d, /* normals that an action takes */\n"
             "    @_STEPS = %d, /* of the chain */\n    @_DIM = %d,   /* numbers in its x */\n"
             "    @_CHUNK = %d, /* actions in its x */\n    @_CANDIDATES = %d\n};\n\n",
             m->obs, m->act, m->noise, m->steps, m->dim, m->chunk, m->candidates);
    code_put(e, f, "typedef struct @_policy {\n"
                   "    float x[@_DIM], y[@_DIM]; /* of the chain, of the net */\n");
    if (m->obs_range || m->mean) code_put(e, f, "    float s[@_OBS];\n");
    if (m->act_range) code_put(e, f, "    int left; /* of the plan in x */\n");
    for (i = 0; i < m->nets; i++)
        code_put(e, f, "    float net%d_state[%d];\n", i, m->net[i].width);
    for (i = 0; i < 2 && m->candidates > 1; i++)
        code_put(e, f, "    float q%d_state[%d];\n", i, m->critic[i].width);
    code_put(e, f, "    float h0[%d], h1[%d]%s", code_width(m), code_width(m),
             m->net[0].residual ? "" : ";\n");
    if (m->net[0].residual) code_put(e, f, ", h2[%d];\n", code_width(m));
    code_put(e, f, "} @_policy;\n\n");
}

/* The parts of the first layers that the state gives. */
static void code_state(const export *e, FILE *f)
{
    const model *m = &e->m;
    const char *s = m->obs_range || m->mean ? "p->s" : "obs";
    char bias[64];
    int i;
    code_put(e, f, "static inline void @_observe(@_policy *p, const float *obs)\n{\n");
    if (m->obs_range)
        code_put(e, f, "    int i;\n    for (i = 0; i < @_OBS; i++)\n"
                       "        p->s[i] = (obs[i] - @_obs_b[i]) / @_obs_w[i];\n");
    if (m->mean)
        code_put(e, f, "    int i;\n    for (i = 0; i < @_OBS; i++)\n"
                       "        p->s[i] = @_clip((float)(((double)obs[i] - @_obs_mean[i]) / "
                       "@_obs_sd[i]), -10.0f,\n                         10.0f);\n");
    for (i = 0; i < m->nets; i++) {
        snprintf(bias, sizeof bias, "%s_net%d_b", e->name, i);
        code_put(e, f, "    @_linear(@_OBS, %d, %s, @_net%d_s, %s, 0, p->net%d_state);\n",
                 m->net[i].width, s, i, m->net[i].bias ? bias : "0", i);
    }
    for (i = 0; i < 2 && m->candidates > 1; i++)
        code_put(e, f, "    @_linear(@_OBS, %d, %s, @_q%d_s, @_q%d_b, 0, p->q%d_state);\n",
                 m->critic[i].width, s, i, i, i);
    code_put(e, f, "}\n\n");
}

static void code_steps(const export *e, FILE *f)
{
    const model *m = &e->m;
    int W = m->net[0].width, stride = m->candidates * m->dim;
    char text[32], pull[32];
    if (m->ou) {
        code_put(e, f, code_step_ou, code_float(m->prior, text), W, code_float(-m->pull, pull));
        return;
    }
    if (m->act_range)
        code_put(e, f, "@_INLINE float @_noise(float z) { return @_clip(z, -%s, %s); }\n\n",
                 code_float(m->noise_clip, text), text);
    else code_put(e, f, "@_INLINE float @_noise(float z) { return z; }\n\n");
    code_put(e, f, code_chain, stride, stride);
    if (m->nets == 2)
        code_put(e, f, "        if (k < %d) @_net0(p, @_net0_time + k * %d);\n"
                       "        else @_net1(p, @_net1_time + k * %d);\n", m->switched, W, W);
    else code_put(e, f, "        @_net0(p, @_net0_time + k * %d);\n", W);
    code_put(e, f, code_step_ddpm);
}

static const char code_act_plan[] =
    "    int i;\n"
    "    if (p->left == 0) {\n"
    "        @_observe(p, obs);\n"
    "        @_chain(p, noise);\n"
    "        p->left = @_CHUNK;\n"
    "    }\n"
    "    for (i = 0; i < @_ACT; i++) {\n"
    "        float x = p->x[(@_CHUNK - p->left) * @_ACT + i];\n"
    "        act[i] = @_clip(x * @_act_w[i] + @_act_b[i], -1.0f, 1.0f);\n"
    "    }\n"
    "    p->left--;\n"
    "}\n\n";

static const char code_act_best[] =
    "    float best = 0.0f, q0, q1;\n"
    "    int i, k;\n"
    "    for (i = 0; i < @_ACT; i++) act[i] = 0.0f;\n"
    "    @_observe(p, obs);\n"
    "    for (k = 0; k < @_CANDIDATES; k++, noise += @_DIM) {\n"
    "        @_chain(p, noise);\n"
    "        @_q0(p, &q0);\n"
    "        @_q1(p, &q1);\n"
    "        q0 = q0 <= q1 ? q0 : q1;\n"
    "        if (k && !(q0 > best)) continue;\n"
    "        best = q0;\n"
    "        for (i = 0; i < @_ACT; i++) act[i] = p->x[i];\n"
    "    }\n"
    "}\n\n";

static const char code_act_end[] =
    "    int i;\n"
    "    @_observe(p, obs);\n"
    "    @_chain(p, noise);\n"
    "    for (i = 0; i < @_ACT; i++) act[i] = ";

static const char code_act_direct[] =
    "    int i;\n"
    "    (void)noise;\n"
    "    @_observe(p, obs);\n"
    "    @_net0(p);\n"
    "    for (i = 0; i < @_ACT; i++) act[i] = ";

static void code_act(const export *e, FILE *f)
{
    const model *m = &e->m;
    code_put(e, f, "/* Begin an episode. */\nstatic inline void @_begin(@_policy *p) { %s; }\n\n",
             m->act_range ? "p->left = 0" : "(void)p");
    code_put(e, f, "/* Return how many normals the next action reads. */\n"
                   "static inline int @_wants(const @_policy *p)\n{\n");
    code_put(e, f, m->act_range ? "    return p->left ? 0 : @_NOISE;\n}\n\n"
                                : "    (void)p;\n    return @_NOISE;\n}\n\n");
    code_put(e, f, "/* Choose an action: obs [@_OBS], noise [@_NOISE] (not read if @_wants is 0),\n"
                   "   act [@_ACT] out. */\n"
                   "static inline void @_act(@_policy *p, const float *obs, const float *noise,\n"
                   "                         float *act)\n{\n");
    if (m->candidates > 1) code_put(e, f, code_act_best);
    else if (m->act_range) code_put(e, f, code_act_plan);
    else {
        code_put(e, f, m->direct ? code_act_direct : code_act_end);
        if (m->ou) code_put(e, f, "@_tanh1(p->x[i]);\n}\n\n");
        else if (m->squash) code_put(e, f, "@_tanh1(p->y[i] + 0.0f);\n}\n\n");
        else if (m->direct)
            code_put(e, f, "@_clip(p->y[i] + 0.0f, -1.0f, 1.0f);\n}\n\n");
        else if (!strcmp(m->algo, "dacer"))
            code_put(e, f, "@_clip(p->x[i] + 0.0f, -1.0f, 1.0f);\n}\n\n");
        else code_put(e, f, "p->x[i];\n}\n\n");
    }
}

static const char code_selftest[] =
    "/* Return 0 if all is as in the library, 1 if an action differs, 2 if the noise does. */\n"
    "static inline int @_selftest(@_policy *p)\n"
    "{\n"
    "    float x[@_ACT];\n"
    "    int i, k;\n";

static const char code_selftest_rng[] =
    "    @_rng rng;\n"
    "    @_rng_begin(&rng, %d);\n"
    "    for (i = 0; i < @_NOISE; i++) {\n"
    "        @_rng_normals(&rng, 1, x);\n"
    "        if (@_bits(x[0]) != @_bits(@_test_noise[i])) return 2;\n"
    "    }\n";

static const char code_selftest_end[] =
    "    @_begin(p);\n"
    "    for (k = 0; k < %d; k++) {\n"
    "        @_act(p, @_test_obs + k * @_OBS, %s, x);\n"
    "        for (i = 0; i < @_ACT; i++)\n"
    "            if (@_bits(x[i]) != @_bits(@_test_act[k * @_ACT + i])) return 1;\n"
    "    }\n"
    "    @_begin(p);\n"
    "    return 0;\n"
    "}\n\n";

/* Two plans or actions of the library, with the same noise. */
static int code_test(export *e, FILE *f)
{
    model *m = &e->m;
    drl_agent *a = m->agent;
    enum { SEED = 1 };
    int k, rows = 2 * m->chunk;
    float *obs = export_floats(e, rows * m->obs), *act = export_floats(e, rows * m->act);
    float *noise = export_floats(e, m->noise + 1);
    drl_rng rng = drl_rng_make(SEED, "export");
    char name[64];
    if (!obs || !act || !noise) return RUN_FAILED;
    drl_rng_normal_fill(&e->ctx, &rng, obs, (size_t)rows * (size_t)m->obs);
    for (k = 0; k < rows; k++) {
        if (k % m->chunk == 0) {
            drl_agent_begin(a, -1, SEED);
            rng = a->rng_eval;
        }
        if (drl_agent_act(a, DRL_MODE_EVAL, 1, obs + k * m->obs, act + k * m->act))
            return run_policy_fail("export", &e->ctx);
    }
    drl_rng_normal_fill(&e->ctx, &rng, noise, (size_t)m->noise);
    code_put(e, f, "/* ---- self-test ---- */\n\n");
    code_table(e, f, "test_obs", "some observations", rows * m->obs, obs);
    if (m->noise) code_table(e, f, "test_noise", "the noise for each", m->noise, noise);
    code_table(e, f, "test_act", "the library's actions", rows * m->act, act);
    code_put(e, f, "\n");
    code_put(e, f, code_selftest);
    if (m->noise) code_put(e, f, code_selftest_rng, SEED);
    snprintf(name, sizeof name, "%s_test_noise", e->name);
    code_put(e, f, code_selftest_end, rows, m->noise ? name : "0");
    return RUN_OK;
}

static void code_tables(const export *e, FILE *f)
{
    const model *m = &e->m;
    code_put(e, f, "/* ---- weights ---- */\n\n");
    code_net_tables(e, f, "net0", &m->net[0], m->dim);
    if (m->nets == 2) code_net_tables(e, f, "net1", &m->net[1], m->dim);
    if (m->candidates > 1) {
        code_net_tables(e, f, "q0", &m->critic[0], m->dim);
        code_net_tables(e, f, "q1", &m->critic[1], m->dim);
    }
    if (m->mean) {
        code_doubles(e, f, "obs_mean", m->obs, m->mean);
        code_doubles(e, f, "obs_sd", m->obs, m->sd);
    }
    if (m->ou) {
        code_table(e, f, "eta", "step size of each step and dimension", m->steps * m->dim, m->eta);
        code_table(e, f, "noise_scale", "sqrt(2 eta)", m->steps * m->dim, m->root);
    } else if (!m->direct) {
        code_table(e, f, "step", "x0 = clip(c0 x + c1 eps), x' = c2 x0 + c3 x + c4 z", 5 * m->steps,
                   m->ddpm[0]);
    }
    if (m->obs_range) {
        code_table(e, f, "obs_b", "(obs - b) / w", m->obs, m->obs_range->b->data);
        code_table(e, f, "obs_w", "", m->obs, m->obs_range->w->data);
        code_table(e, f, "act_b", "a w + b", m->act, m->act_range->b->data);
        code_table(e, f, "act_w", "", m->act, m->act_range->w->data);
    }
    code_put(e, f, "\n");
}

/* The activation of the nets, act1, and what else is needed of exp and tanh. */
static void code_functions(const export *e, FILE *f)
{
    drl_act act = e->m.net[0].act;
    int squash = e->m.ou || e->m.squash || act == DRL_ACT_TANH;
    if (squash || act != DRL_ACT_RELU) code_put(e, f, code_near);
    if (squash) code_put(e, f, code_tanh);
    if (act == DRL_ACT_MISH || act == DRL_ACT_GELU) code_put(e, f, code_power);
    if (act == DRL_ACT_MISH) code_put(e, f, code_mish);
    if (act == DRL_ACT_GELU) code_put(e, f, code_gelu);
    if (act == DRL_ACT_RELU) code_put(e, f, code_relu);
    if (act == DRL_ACT_TANH)
        code_put(e, f, "@_INLINE float @_act1(float x) { return @_tanh1(x); }\n\n");
    code_put(e, f, code_activate);
}

/* Write the header. */
static int code_write(export *e, FILE *f)
{
    const model *m = &e->m;
    uint64_t stream;
    int bad;
    drl_agent_begin(m->agent, -1, 0);
    stream = m->agent->rng_eval.stream;
    code_head(e, f);
    code_put(e, f, "#ifndef @_H\n#define @_H\n");
    code_put(e, f, code_start);
    code_types(e, f);
    code_tables(e, f);
    code_put(e, f, code_math);
    code_functions(e, f);
    if (m->noise)
        code_put(e, f, code_rng, (unsigned)(stream & 0xffffffffu), (unsigned)(stream >> 32));
    code_put(e, f, "/* ---- policy ---- */\n\n");
    code_net(e, f, "net0", &m->net[0], m->dim, "p->y");
    if (m->nets == 2) code_net(e, f, "net1", &m->net[1], m->dim, "p->y");
    if (m->candidates > 1) {
        code_net(e, f, "q0", &m->critic[0], m->dim, "q");
        code_net(e, f, "q1", &m->critic[1], m->dim, "q");
    }
    code_state(e, f);
    if (!m->direct) code_steps(e, f);
    code_act(e, f);
    bad = code_test(e, f);
    code_put(e, f, code_end);
    return bad;
}
