/* diffrl.h - v0.1.0 - diffusion-policy reinforcement learning in one C99 header - MIT-0

   DO THIS in one .c or .cpp file; build with cc app.c -lm:
      #define DIFFRL_IMPLEMENTATION
      #include "diffrl.h"

   SYNOPSIS  train a diffusion policy on a task and print its return
      drl_context ctx;
      drl_context_init(&ctx, NULL);
      drl_dime_config cfg = drl_dime_config_default(env.obs_dim, env.act_dim);
      drl_algo_preset(&ctx, drl_dime_algo(), &cfg, "cpu");
      drl_dime dime;
      drl_dime_init(&dime, &ctx, &cfg);
      drl_trainer_config tcfg = drl_trainer_config_default();
      drl_trainer trainer;
      drl_trainer_init(&trainer, &ctx, &tcfg, &env, 1, &dime.agent);
      while (trainer.steps < 100000 && drl_trainer_step(&trainer) == DRL_OK) {}
      printf("%f %s\n", drl_trainer_return(&trainer), drl_context_error(&ctx));
      drl_agent_save(&dime.agent, "policy.safetensors", NULL);

   IS        Diffusion (not differentiable) RL on the CPU, float32: tensors, reverse-mode
             differentiation, networks, diffusion chains, critics, replay, algorithms, training loop
   IS NOT    a framework for other networks, a GPU library, a simulator: bring your own as a drl_env
             of three functions (examples/05_own_env.c; examples/mujoco binds MuJoCo)

   PROMISES
   Same bits    A seed gives the same bits on any number of threads, with AVX-512, AVX2, NEON or
                plain C, gcc or clang, at any -O level (clang -ffast-math is refused; not with
                bf16). Random numbers are counter-based, sums have a fixed order, exp, log, tanh,
                sin are our own.
   No surprise  No writable globals, no allocation in act and update after the first, no exit, abort
                or print. drl_context_error says what, where, expected, got, and what to do.
   Files        A damaged or hostile file is refused, never run or trusted for a size.

   CONTENTS  each section stands twice: interface in the first part, implementation in the second
   >>config     linkage, hooks, vector paths, floating-point rules
   >>memory     status codes, allocator, log, context, threads, arena
   >>text       words and numbers in text
   >>math       elementary functions, activations
   >>rng        counter-based random numbers
   >>kernels    matrix products
   >>io         named tensors in safetensors files
   >>fields     config structs as key=value text
   >>tape       reverse-mode automatic differentiation
   >>ops        one function per op
   >>nn         parameters, layers, initializers
   >>optim      Adam, learning-rate schedules
   >>diffusion  schedules and steps of the chains
   >>critic     value functions
   >>env        what a task offers, and its check
   >>replay     ring buffer of transitions
   >>agent      what algorithms share, training loop, evaluation
   >>dacer      DACER, diffusion actor-critic with entropy regulator
   >>dime       DIME, diffusion-based maximum-entropy RL
   >>dppo       DPPO, diffusion policies cloned from data
   >>tune       and tuned by PPO
   >>qvpo       QVPO, Q-weighted variational policy optimization
   >>algos      all algorithms by name

   OPTIONS   [I] define before the implementation only, [E] everywhere the header is included
   DIFFRL_IMPLEMENTATION  [I] compile the implementation here; in exactly one file
   DIFFRL_STATIC          [E] all functions static: several copies in one program
   DRLDEF                 [E] linkage of functions (default extern or static)
   DIFFRL_MALLOC(size), DIFFRL_FREE(ptr)  [I] both or none; or drl_context_config.allocator
   DIFFRL_ASSERT(x)       [I] programming errors; default assert
   DIFFRL_NO_STDIO        [E] no files: memory variants of save and load remain
   DIFFRL_NO_SIMD         [I] plain C only; slower, same bits
   DIFFRL_NO_THREADS      [I] no thread pool; drl_context_config.parallel_fn still works
   DIFFRL_NO_DACER        [E] leave out an algorithm; so for each
   DIFFRL_ONLY_DACER      [E] leave out all algorithms that no DIFFRL_ONLY names
   DIFFRL_ALLOW_FAST_MATH [I] accept clang -ffast-math, without the promise of bits

   SPEED     Compile with -O2 (-O0 is ten times slower); vector code is chosen at run time.
   THREADS   An object is used by one thread at a time; objects of different contexts are
             independent. drl_context_config.threads: several cores in one update.
*/
#ifndef DIFFRL_H
#define DIFFRL_H

#include <stddef.h>
#include <stdint.h>

#define DIFFRL_VERSION_MAJOR 0
#define DIFFRL_VERSION_MINOR 1
#define DIFFRL_VERSION_PATCH 0
#define DIFFRL_VERSION_STRING "0.1.0"

/* ====== >>config
   Linkage. */
#ifndef DRLDEF
#ifdef DIFFRL_STATIC
#if defined(__GNUC__) || defined(__clang__)
#define DRLDEF static __attribute__((unused))
#else
#define DRLDEF static
#endif
#else
#define DRLDEF extern
#endif
#endif

#if defined(DIFFRL_ONLY_DIME) || defined(DIFFRL_ONLY_QVPO) || defined(DIFFRL_ONLY_DACER) || \
    defined(DIFFRL_ONLY_DPPO)
#ifndef DIFFRL_ONLY_DACER
#undef DIFFRL_NO_DACER
#define DIFFRL_NO_DACER
#endif
#ifndef DIFFRL_ONLY_DIME
#undef DIFFRL_NO_DIME
#define DIFFRL_NO_DIME
#endif
#ifndef DIFFRL_ONLY_DPPO
#undef DIFFRL_NO_DPPO
#define DIFFRL_NO_DPPO
#endif
#ifndef DIFFRL_ONLY_QVPO
#undef DIFFRL_NO_QVPO
#define DIFFRL_NO_QVPO
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif
/* ====== >>memory
   Status codes, allocator, log, context, threads, arena. */

/* Name, value, text of each status; values never change. */
#define DRL_STATUS_LIST(X) \
    X(DRL_OK, 0, "ok") \
    X(DRL_ERR_MEMORY, -1, "out of memory") \
    X(DRL_ERR_SHAPE, -2, "shapes do not fit") \
    X(DRL_ERR_RANGE, -3, "value out of range") \
    X(DRL_ERR_NAN, -4, "value is not finite") \
    X(DRL_ERR_FILE, -5, "file cannot be read or written") \
    X(DRL_ERR_FORMAT, -6, "file is not what it should be") \
    X(DRL_ERR_NAME, -7, "unknown name") \
    X(DRL_ERR_ENV, -8, "environment failed") \
    X(DRL_ERR_STATE, -9, "call is not possible in this state")

#define DRLI_STATUS_ENUM(name, value, text) name = value,
typedef enum drl_status { DRL_STATUS_LIST(DRLI_STATUS_ENUM) } drl_status;

/* Return the text of a status, never NULL. */
DRLDEF const char *drl_status_string(drl_status status);

/* alloc_fn may return NULL, and aligns to 16 bytes; free_fn gets the size asked for. Both NULL:
   DIFFRL_MALLOC and DIFFRL_FREE. */
typedef struct drl_allocator {
    void *(*alloc_fn)(size_t size, void *user);
    void (*free_fn)(void *ptr, size_t size, void *user);
    void *user;
} drl_allocator;

typedef enum drl_log_level {
    DRL_LOG_DEBUG, DRL_LOG_INFO, DRL_LOG_WARN, DRL_LOG_ERROR
} drl_log_level;

/* Receives each message; the text is borrowed for the call. */
typedef void (*drl_log_fn)(void *user, drl_log_level level, drl_status status, const char *text);

/* Parallel work on items [begin, end), done by worker 0 .. threads-1. */
typedef void (*drl_task_fn)(void *arg, int begin, int end, int worker);

/* A host's own thread pool: calls fn over disjoint ranges that cover [0, n), each worker index on
   one thread at a time, and returns when all are done. */
typedef void (*drl_parallel_fn)(void *user, int n, int threads, drl_task_fn fn, void *arg);

typedef enum drl_isa {
    DRL_ISA_AUTO, DRL_ISA_SCALAR, DRL_ISA_NEON, DRL_ISA_AVX2, DRL_ISA_AVX512
} drl_isa;

typedef struct drl_context_config {
    int threads;             /* 1      workers, this thread included */
    drl_isa isa;             /* AUTO   best that the CPU has */
    drl_allocator allocator; /* NULLs */
    drl_log_fn log_fn;       /* NULL   silent */
    void *log_user;
    drl_parallel_fn parallel_fn; /* NULL   own pool */
    void *parallel_user;
} drl_context_config;

/* What objects share. Calls with one context must not overlap in time. */
typedef struct drl_context {
    drl_context_config cfg;
    int isa;                /* DRL_ISA_* in use */
    int bf16;               /* products in bf16: 1 AVX512_BF16, 2 AMX, 0 none, -1 not known yet */
    struct drli_pool *pool; /* NULL if threads is 1 or parallel_fn is set */
    void *scratch;          /* per-worker packing buffers of the matrix product */
    size_t scratch_size;
    drl_status status;      /* of the last error */
    char message[320];
    size_t bytes;           /* held now */
    size_t bytes_peak;
    uint64_t allocations;   /* calls of alloc_fn so far */
} drl_context;

/* Return the defaults. */
DRLDEF drl_context_config drl_context_config_default(void);

/* Start a context: detects the CPU, starts threads - 1 workers, reserves packing buffers. cfg is
   copied; NULL for defaults. Errors DRL_ERR_MEMORY, DRL_ERR_RANGE; then nothing is held. */
DRLDEF drl_status drl_context_init(drl_context *ctx, const drl_context_config *cfg);

/* Stop the workers, free all, zero the struct; free objects made with ctx before. Idempotent. */
DRLDEF void drl_context_free(drl_context *ctx);

/* Return the last error, one line. */
DRLDEF const char *drl_context_error(const drl_context *ctx);

/* Get zeroed memory, aligned to 64 bytes; NULL with the error set. Free it (size as asked for). */
DRLDEF void *drl_memory_alloc(drl_context *ctx, size_t size);
DRLDEF void drl_memory_free(drl_context *ctx, void *ptr, size_t size);

/* Memory given out piece by piece and taken back at once. Grows by blocks; a reset merges them, so
   that the same work done twice allocates nothing more. */
typedef struct drl_arena {
    drl_context *ctx;
    struct drli_block *block; /* newest first */
    size_t used, peak;        /* bytes in use over all blocks, and the most since the last merge */
} drl_arena;

/* Start an arena with one block of the given size (0: none yet). */
DRLDEF drl_status drl_arena_init(drl_arena *arena, drl_context *ctx, size_t size);

/* Take n bytes, aligned to 64, not zeroed; NULL with the error set. */
DRLDEF void *drl_arena_alloc(drl_arena *arena, size_t n);

/* Take everything back; or give the memory back, too (idempotent). */
DRLDEF void drl_arena_reset(drl_arena *arena);
DRLDEF void drl_arena_free(drl_arena *arena);

typedef struct drl_arena_mark {
    struct drli_block *block;
    size_t block_used, used;
} drl_arena_mark;

/* Return the present place; take back what was given out after it. Marks nest, until a reset. */
DRLDEF drl_arena_mark drl_arena_save(const drl_arena *arena);
DRLDEF void drl_arena_release(drl_arena *arena, drl_arena_mark mark);

/* Run fn over [0, n) on the workers, in pieces of at least grain items (0: item by item, for
   uneven ones); serial if n is small or threads is 1. fn must not call drl_parallel_for. */
DRLDEF void drl_parallel_for(drl_context *ctx, int n, int grain, drl_task_fn fn, void *arg);

/* ====== >>text
   Words and numbers in text, whatever the locale. */

/* Return the one of words [n] nearest to `word` by edit distance (case does not count, - is _), or
   NULL if none is near. */
DRLDEF const char *drl_text_nearest(const char *word, const char *const *words, int n);

/* ====== >>math
   Elementary functions: at most 4 units in the last place from the exact value for every float (but
   see below), the same bits everywhere (rounding to nearest, no flush to zero: the defaults).
   Activations. */
typedef enum drl_act {
    DRL_ACT_NONE, DRL_ACT_RELU, DRL_ACT_TANH, DRL_ACT_SIGMOID, DRL_ACT_SOFTPLUS, DRL_ACT_MISH,
    DRL_ACT_GELU, /* tanh form */
    DRL_ACT_COUNT
} drl_act;

/* Return f(x), nan outside the domain. Subnormal results are gradual, but sigmoid, softplus, mish
   and gelu may be 0 below 1e-36: subnormal numbers slow products. mish = x tanh(softplus(x))
   (Misra 2019), gelu = x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) (Hendrycks and Gimpel
   2016). */
DRLDEF float drl_expf(float x);
DRLDEF float drl_logf(float x);
DRLDEF float drl_tanhf(float x);
DRLDEF float drl_sigmoidf(float x);
DRLDEF float drl_softplusf(float x);
DRLDEF float drl_mishf(float x);
DRLDEF float drl_geluf(float x);
DRLDEF float drl_sinf(float x);
DRLDEF float drl_cosf(float x);
DRLDEF float drl_erff(float x);

/* y[i] = f(z[i]) for i < n, on all workers if n is large; y may be z. */
DRLDEF void drl_act_forward(drl_context *ctx, drl_act act, size_t n, const float *z, float *y);

/* dz[i] (+)= dy[i] f'(z[i]), within 1e-6 of the exact derivative (relu'(0) = 0), on all workers if
   n is large; dz may be dy when accumulate is 0. Of z and y = f(z), SOFTPLUS, MISH and GELU read z,
   RELU, TANH and SIGMOID read y; the other one may be NULL. */
DRLDEF void drl_act_backward(drl_context *ctx, drl_act act, size_t n, const float *z,
    const float *y, const float *dy, float *dz, int accumulate);

/* ====== >>rng
   Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, Random123). Draw i of a stream
   is a function of (key, stream, i), so threads change nothing. Positions count 32-bit words. A
   normal is made from its aligned pair of words: between normals and other draws the rest of a pair
   is skipped. */
typedef struct drl_rng {
    uint32_t key[2];   /* seed */
    uint64_t stream;   /* which of 2^64 independent sequences */
    uint64_t position; /* next word */
    uint64_t normal;   /* 1 after a normal */
} drl_rng;

/* Return the stream `name` ("replay", "env", ...) of a seed, at position 0. */
DRLDEF drl_rng drl_rng_make(uint64_t seed, const char *name);

/* Return sub-stream `index` of a stream (per environment, per purpose), at position 0. */
DRLDEF drl_rng drl_rng_split(const drl_rng *rng, uint64_t index);

/* Return 32 random bits; a uniform number in [0, 1), a multiple of 2^-24; a standard normal number,
   |z| < 6.8 (Box and Muller 1958). One position. */
DRLDEF uint32_t drl_rng_bits(drl_rng *rng);
DRLDEF float drl_rng_uniform(drl_rng *rng);
DRLDEF float drl_rng_normal(drl_rng *rng);

/* Return a standard normal number restricted to [low, high], low < high, by inversion; the bounds
   may be infinite. One position. Error about 1e-6, also in the tails; beyond 12 sigma it is the
   nearer end. */
DRLDEF float drl_rng_truncated_normal(drl_rng *rng, float low, float high);

/* Return an integer in [0, n), n >= 1, without bias (Lemire 2019). One position, rarely more. */
DRLDEF uint32_t drl_rng_integer(drl_rng *rng, uint32_t n);

/* Fill x [n] with standard normals: the numbers of n single draws. On all workers if n is large. */
DRLDEF void drl_rng_normal_fill(drl_context *ctx, drl_rng *rng, float *x, size_t n);

/* The same with uniforms in [low, high). */
DRLDEF void drl_rng_uniform_fill(drl_context *ctx, drl_rng *rng, float *x, size_t n, float low,
    float high);

/* Write a random permutation of 0 .. n-1 to index [n] (Fisher-Yates). */
DRLDEF void drl_rng_permutation(drl_rng *rng, uint32_t *index, uint32_t n);

/* ====== >>kernels
   Matrix products on plain arrays. Row-major; ld = distance of rows. Every output element starts
   from 0 (its old value if accumulate is 1), adds its products over k in increasing order by fused
   multiply-add, then the epilogue, whatever the blocking, vector width and threads. */

/* Products, with weights W [in, out]:
     DRL_GEMM_NN   C[m,n] = A[m,k]  B[k,n]      Y  = X  W
     DRL_GEMM_TN   C[m,n] = A[k,m]' B[k,n]      dW = X' dY
     DRL_GEMM_NT   C[m,n] = A[m,k]  B[n,k]'     dX = dY W' */
typedef enum drl_gemm_form { DRL_GEMM_NN, DRL_GEMM_TN, DRL_GEMM_NT } drl_gemm_form;

/* What happens to the product before it is stored. Pointers may be NULL. */
typedef struct drl_epilogue {
    int accumulate;    /* 1: C is the start of the sum */
    const float *bias; /* [n] added to each row after the sum */
    const float *base; /* [m, n] rows base_ld apart, added after the sum */
    int base_ld;
    drl_act act;       /* applied last */
    float *pre;        /* [m, n] rows ldc apart: gets the value before act */
    int pairs;         /* 1: A, B are pairs of bf16; for drl_linear alone */
} drl_epilogue;

/* Multiply on all workers; epilogue NULL: C = product. No check of shapes. 2 m n k flops. */
DRLDEF void drl_gemm(drl_context *ctx, drl_gemm_form form, int m, int n, int k, const float *a,
    int lda, const float *b, int ldb, float *c, int ldc, const drl_epilogue *epilogue);

/* out [cols] (+)= sums of the columns of x [rows, cols], in order of rows. */
DRLDEF void drl_column_sum(drl_context *ctx, int rows, int cols, const float *x, int ldx,
    float *out, int accumulate);

/* ====== >>io
   Named tensors and strings in safetensors files. An object is changed only after the whole file
   was found good; reading holds at most the size of the file and 1 MiB. */

/* In the order of a file, the widest first, so that all is aligned. */
typedef enum drl_dtype {
    DRL_U64, DRL_I64, DRL_F64, DRL_F32, DRL_I32, DRL_BF16, DRL_F16, DRL_U8, DRL_BOOL,
    DRL_DTYPE_COUNT
} drl_dtype;

#define DRL_ENTRIES_MAX 1024 /* tensors of one file */
#define DRL_META_MAX 1024    /* pairs, beside the four that save adds */

/* A named tensor in memory, C order. A scalar has rank 0. */
typedef struct drl_entry {
    char name[64]; /* letters, digits and . _ - / */
    drl_dtype dtype;
    int rank;
    int64_t shape[4];
    void *data; /* borrowed */
} drl_entry;

/* All that an object holds, as a list of tensors that lie in the object; saving and loading both go
   through it. The first error sticks, and save and load return it. */
typedef struct drl_state {
    drl_context *ctx;
    drl_entry *entries;
    int count;
    drl_status status;
    const struct drl_file *file; /* NULL, or to be loaded: checked while listing */
} drl_state;

/* Pairs of strings that go with the tensors. The first error sticks. */
typedef struct drl_pair {
    const char *key, *value;
} drl_pair;

typedef struct drl_meta {
    drl_pair *pairs;
    int count;
    drl_status status;
    drl_arena arena; /* owns pairs and strings */
} drl_meta;

/* A checked safetensors file in memory; entries in the order of their data, which is little-endian
   and perhaps not aligned (files of others): use memcpy. */
typedef struct drl_file {
    drl_context *ctx;
    drl_entry *entries;
    int count;
    drl_meta meta; /* its arena owns all */
    unsigned char *bytes;
    size_t size;
} drl_file;

/* Return the bytes of a tensor, SIZE_MAX if too many. */
DRLDEF size_t drl_entry_bytes(const drl_entry *entry);

/* Start an empty list; free it (the tensors stay; idempotent). */
DRLDEF void drl_state_init(drl_state *state, drl_context *ctx);
DRLDEF void drl_state_free(drl_state *state);

/* Add a tensor: shape [rank] (NULL if rank is 0), data borrowed until the state is freed. Sticky
   errors DRL_ERR_NAME for a bad or used name, DRL_ERR_SHAPE, DRL_ERR_MEMORY, DRL_ERR_RANGE for more
   than DRL_ENTRIES_MAX. */
DRLDEF void drl_state_add(drl_state *state, const char *name, drl_dtype dtype, int rank,
    const int64_t *shape, void *data);

/* Add a float matrix [rows, cols], or vector [rows] if cols is 0. */
DRLDEF void drl_state_add_f32(drl_state *state, const char *name, float *data, int rows, int cols);

/* Start with no pairs; free all (idempotent). */
DRLDEF void drl_meta_init(drl_meta *meta, drl_context *ctx);
DRLDEF void drl_meta_free(drl_meta *meta);

/* Set key to value, replacing an older one; both are copied. Sticky errors DRL_ERR_FORMAT (not
   UTF-8, key not of 1 to 64 bytes), DRL_ERR_RANGE (more than DRL_META_MAX), DRL_ERR_MEMORY. */
DRLDEF void drl_meta_set(drl_meta *meta, const char *key, const char *value);

/* Return the value of key, borrowed from meta, NULL if there is none. */
DRLDEF const char *drl_meta_get(const drl_meta *meta, const char *key);

/* Write state and meta (NULL: none) as safetensors to buffer [capacity], and the length to *size;
   buffer NULL: only the length. Sorts the entries by dtype; adds the pairs format, version, crc32c,
   meta_crc32c. Errors DRL_ERR_RANGE for a small buffer; those that stuck. */
DRLDEF drl_status drl_state_save_memory(drl_context *ctx, drl_state *state, const drl_meta *meta,
    void *buffer, size_t capacity, size_t *size);

/* Check a safetensors file and make it readable; the bytes are copied. Errors DRL_ERR_FORMAT with
   the place and the fault, DRL_ERR_MEMORY; then nothing is held. */
DRLDEF drl_status drl_file_open_memory(drl_file *file, drl_context *ctx, const void *bytes,
    size_t size);

/* Return the tensor `name`, NULL if none. */
DRLDEF const drl_entry *drl_file_find(const drl_file *file, const char *name);

/* Flags of loading, or-ed: skip tensors that the state lacks; take inf and nan. */
#define DRL_LOAD_EXTRA 1
#define DRL_LOAD_NAN 2

/* Copy the tensors of a file into the state's tensors of the same names; on an error the state is
   as before. Errors DRL_ERR_NAME for a missing or extra tensor, DRL_ERR_SHAPE for another shape or
   dtype, DRL_ERR_NAN for a float that is not finite. */
DRLDEF drl_status drl_file_load(const drl_file *file, drl_state *state, int flags);

/* Free all. Idempotent. */
DRLDEF void drl_file_close(drl_file *file);

#ifndef DIFFRL_NO_STDIO
/* As drl_state_save_memory, to a file. PATH.tmp.<n> is written, and on POSIX synced, then renamed:
   an error or crash at any time leaves the old file or the new one.
   Errors also DRL_ERR_FILE, DRL_ERR_MEMORY. */
DRLDEF drl_status drl_state_save(drl_context *ctx, const char *path, drl_state *state,
    const drl_meta *meta);

/* As drl_file_open_memory, from a file; also DRL_ERR_FILE. */
DRLDEF drl_status drl_file_open(drl_file *file, drl_context *ctx, const char *path);
#endif

/* ====== >>fields
   Config structs as key=value text. */

/* Kinds of config fields, and what they are in the struct. */
typedef enum drl_field_type {
    DRL_FIELD_INT, DRL_FIELD_INT64, DRL_FIELD_UINT64, DRL_FIELD_FLOAT, DRL_FIELD_DOUBLE,
    DRL_FIELD_BOOL,  /* 0 or 1 */
    DRL_FIELD_CHOICE /* index of a name in doc: "relu|tanh|mish: activation" */
} drl_field_type;
#define DRLI_TYPE_INT int
#define DRLI_TYPE_INT64 int64_t
#define DRLI_TYPE_UINT64 uint64_t
#define DRLI_TYPE_FLOAT float
#define DRLI_TYPE_DOUBLE double
#define DRLI_TYPE_BOOL int
#define DRLI_TYPE_CHOICE int

/* A field of a config struct. Tables of them give defaults, --set options, policy files' metadata
   and range checks. */
typedef struct drl_field {
    char name[24]; /* arrays: the table is read-only memory without relocations */
    drl_field_type type;
    size_t offset;
    double value;     /* default */
    double low, high; /* allowed, ends included; both 0: any number */
    char doc[72];
} drl_field;

/* Element of such a table (a member of the wrong size does not compile):
     DRL_FIELD(my_config, gamma, FLOAT, 0.99, 0, 1, "discount per step") */
#define DRL_FIELD(config, member, TYPE, value, low, high, doc) \
    {#member, DRL_FIELD_##TYPE, offsetof(config, member) + 0 * sizeof(char[ \
     sizeof(((config *)0)->member) == sizeof(DRLI_TYPE_##TYPE) ? 1 : -1]), value, low, high, doc}

/* A list X(TYPE, member, default, least, most, doc) makes a struct and its table:
     #define MY_CONFIG(X) X(INT, width, 256, 1, 4096, "hidden width") X(FLOAT, gamma, ...)
     typedef struct my_config { MY_CONFIG(DRL_MEMBER) } my_config;
   and in a function  typedef my_config drl_config;
     static const drl_field fields[] = {MY_CONFIG(DRL_ELEMENT)}; */
#define DRL_MEMBER(TYPE, member, value, low, high, doc) DRLI_TYPE_##TYPE member;
#define DRL_ELEMENT(TYPE, member, value, low, high, doc) \
    DRL_FIELD(drl_config, member, TYPE, value, low, high, doc),

#define DRL_FIELD_TEXT 64 /* bytes of a value as text, with its zero */

/* Set all fields to their defaults. */
DRLDEF void drl_fields_default(const drl_field *fields, int n, void *config);

/* Set the field `key` from text. In keys - is _ and case is ignored; integers may be written 1e6.
   Errors  DRL_ERR_NAME with the nearest key, DRL_ERR_RANGE with the range; config is unchanged. */
DRLDEF drl_status drl_fields_set(drl_context *ctx, const drl_field *fields, int n, void *config,
    const char *key, const char *value);

/* Write the field `key` to text [DRL_FIELD_TEXT], shortest that reads back the same.
   Errors  DRL_ERR_NAME. */
DRLDEF drl_status drl_fields_get(drl_context *ctx, const drl_field *fields, int n,
    const void *config, const char *key, char *text);

/* Check all ranges. Errors  DRL_ERR_RANGE with the first field outside. */
DRLDEF drl_status drl_fields_check(drl_context *ctx, const drl_field *fields, int n,
    const void *config);

/* ====== >>tape
   Reverse-mode automatic differentiation of matrices. Ops compute at once and are recorded;
   drl_tape_backward walks the record back. Errors are sticky: an op that fails returns a 1 x 1
   poison tensor, the tape keeps the first error, drl_tape_backward returns it. Ask drl_tape_status
   before reading `data` of a result. */
struct drl_tape;
struct drl_tensor;

/* An op: its name, and what passes the gradient of y on to its inputs. */
typedef struct drl_op {
    const char *name;
    void (*backward_fn)(struct drl_tape *tape, struct drl_tensor *y);
} drl_op;

typedef struct drl_tensor {
    float *data;    /* [rows, cols] */
    float *grad;    /* same shape; NULL until backward, always there for parameters */
    int rows, cols;
    int needs_grad; /* 1: a gradient flows to it */
    int grad_full;  /* 1: grad holds a sum, 2: and has views, 0: grad is not written yet */
    drl_op op;      /* what made it; name NULL: input or parameter */
    struct drl_tensor *in[4], *prev; /* prev: tape order */
    void *saved;    /* what the op keeps for its backward */
    float *bf16;    /* of weights while actions are sampled in bf16: their copy */
    float f[2];
    int i[2];
} drl_tensor;

typedef struct drl_tape {
    drl_context *ctx;
    drl_arena arena;
    drl_tensor *last;  /* newest node */
    int grad_enabled;  /* 0: until reset, ops only compute */
    int done;          /* 1: backward has run, reset before the next */
    drl_status status; /* first error since reset */
    drl_tensor poison;
    float poison_data[16];
} drl_tape;

/* Start an empty tape; a second pass of the same graph allocates nothing. */
DRLDEF drl_status drl_tape_init(drl_tape *tape, drl_context *ctx);

/* Forget all nodes and the error: tensors of the tape become invalid, parameters stay; or free the
   memory, too (idempotent). */
DRLDEF void drl_tape_reset(drl_tape *tape);
DRLDEF void drl_tape_free(drl_tape *tape);

/* Return the first error since reset. */
DRLDEF drl_status drl_tape_status(const drl_tape *tape);

/* Make a tensor that no gradient flows to, or one that gradients flow to (e.g. an action). data
   [rows, cols] is borrowed until reset; NULL: new memory, not initialized. */
DRLDEF drl_tensor *drl_tape_input(drl_tape *tape, int rows, int cols, float *data);
DRLDEF drl_tensor *drl_tape_variable(drl_tape *tape, int rows, int cols, float *data);

/* Compute gradients of the 1 x 1 tensor loss; those of parameters are added to what they hold
   (drl_params_zero_grad clears). Once between two resets. Returns the tape's status; DRL_ERR_SHAPE
   or DRL_ERR_STATE if loss cannot be differentiated. */
DRLDEF drl_status drl_tape_backward(drl_tape *tape, drl_tensor *loss);

typedef struct drl_tape_mark {
    drl_arena_mark arena;
    drl_tensor *last;
} drl_tape_mark;

/* Return the present place; forget everything recorded after it, so that a long sampling chain
   without gradients stays in a few buffers. */
DRLDEF drl_tape_mark drl_tape_save(const drl_tape *tape);
DRLDEF void drl_tape_release(drl_tape *tape, drl_tape_mark mark);

/* Build the same graph on an empty tape and return its 1 x 1 loss. */
typedef drl_tensor *(*drl_graph_fn)(drl_tape *tape, void *user);

/* Compare the gradient of graph with central differences, h = step * max(1, |x|), for every element
   of the parameter x. Runs the graph 2 * elements + 1 times. Errors: the graph's.
     error   out  largest |difference| / (|gradient| + |numeric| + 1e-3 largest |gradient|) */
DRLDEF drl_status drl_tape_check_grad(drl_tape *tape, drl_graph_fn graph, void *user, drl_tensor *x,
    float step, double *error);

/* ====== >>ops
   All return a tensor of the tape, after an error the poison; no op changes its inputs. b
   broadcasts if it is [1, cols], [rows, 1] or [1, 1]. */

/* y = a + b, a - b, a * b, a / b, min(a, b), max(a, b), elementwise; b broadcasts. At ties the
   gradient goes to a. */
DRLDEF drl_tensor *drl_add(drl_tape *tape, drl_tensor *a, drl_tensor *b);
DRLDEF drl_tensor *drl_sub(drl_tape *tape, drl_tensor *a, drl_tensor *b);
DRLDEF drl_tensor *drl_mul(drl_tape *tape, drl_tensor *a, drl_tensor *b);
DRLDEF drl_tensor *drl_div(drl_tape *tape, drl_tensor *a, drl_tensor *b);
DRLDEF drl_tensor *drl_min(drl_tape *tape, drl_tensor *a, drl_tensor *b);
DRLDEF drl_tensor *drl_max(drl_tape *tape, drl_tensor *a, drl_tensor *b);

/* y = scale x + shift, elementwise. */
DRLDEF drl_tensor *drl_affine(drl_tape *tape, drl_tensor *x, float scale, float shift);

/* y = e^x, ln x, sqrt x, x^2, sin x, cos x, elementwise. */
DRLDEF drl_tensor *drl_exp(drl_tape *tape, drl_tensor *x);
DRLDEF drl_tensor *drl_log(drl_tape *tape, drl_tensor *x);
DRLDEF drl_tensor *drl_sqrt(drl_tape *tape, drl_tensor *x);
DRLDEF drl_tensor *drl_square(drl_tape *tape, drl_tensor *x);
DRLDEF drl_tensor *drl_sin(drl_tape *tape, drl_tensor *x);
DRLDEF drl_tensor *drl_cos(drl_tape *tape, drl_tensor *x);

/* y = min(max(x, low), high); gradient where low <= x <= high. */
DRLDEF drl_tensor *drl_clip(drl_tape *tape, drl_tensor *x, float low, float high);

/* y = ln(1 - tanh(x)^2) = 2 (ln 2 - x - softplus(-2 x)), elementwise, finite for finite x. */
DRLDEF drl_tensor *drl_tanh_logdet(drl_tape *tape, drl_tensor *x);

/* y = act(x), elementwise. */
DRLDEF drl_tensor *drl_activate(drl_tape *tape, drl_act act, drl_tensor *x);

/* y [rows, n] = act(x [rows, k] w [k, n] + bias [1, n] + base [rows, n]); bias or NULL, base (what
   many products share) or NULL. */
DRLDEF drl_tensor *drl_linear(drl_tape *tape, drl_tensor *x, drl_tensor *w, drl_tensor *bias,
    drl_tensor *base, drl_act act);

/* y [rows, 1] = sum of each row; y [1, 1] = mean of all, in order in double. */
DRLDEF drl_tensor *drl_sum_cols(drl_tape *tape, drl_tensor *x);
DRLDEF drl_tensor *drl_mean(drl_tape *tape, drl_tensor *x);

/* y [rows, ca + cb] = a [rows, ca] beside b [rows, cb]. */
DRLDEF drl_tensor *drl_concat(drl_tape *tape, drl_tensor *a, drl_tensor *b);

/* Rows (a view, no copy) or columns first .. first + count - 1 of x. */
DRLDEF drl_tensor *drl_rows(drl_tape *tape, drl_tensor *x, int first, int count);
DRLDEF drl_tensor *drl_cols(drl_tape *tape, drl_tensor *x, int first, int count);

/* y[i] = row index[i] of x, i < count. index is copied. */
DRLDEF drl_tensor *drl_gather(drl_tape *tape, drl_tensor *x, const int *index, int count);

/* The same values as a constant. */
DRLDEF drl_tensor *drl_detach(drl_tape *tape, drl_tensor *x);

/* scale (x - mean) / sqrt(var + eps) + shift, mean and biased variance of each row, scale and shift
   [1, cols]. Ba et al. 2016. */
DRLDEF drl_tensor *drl_layer_norm(drl_tape *tape, drl_tensor *x, drl_tensor *scale,
    drl_tensor *shift, float eps);

/* softmax of each row, and its logarithm. */
DRLDEF drl_tensor *drl_softmax(drl_tape *tape, drl_tensor *x);
DRLDEF drl_tensor *drl_log_softmax(drl_tape *tape, drl_tensor *x);

/* ====== >>nn
   Named parameters, layers, initializers. Weights are [in, out], biases [1, out]. */
#define DRL_NAME_SIZE 48

/* Named tensors in one block, trainable ones with gradient and Adam moments; one pass updates,
   copies or averages all. init, add, add, ..., commit. */
typedef struct drl_params {
    drl_context *ctx;
    drl_tensor *list;             /* [count] */
    char (*names)[DRL_NAME_SIZE]; /* [count] */
    int count, capacity, trainable;
    float *value, *grad, *m, *v;  /* [size] each; the last three NULL if not trainable */
    size_t size;
    int64_t step;                 /* Adam steps done */
    drl_status status;            /* sticky until commit */
} drl_params;

/* Start a set of at most `capacity` tensors. trainable 0: values only (targets, running
   statistics). Errors are kept and returned by commit again; free is harmless then. */
DRLDEF drl_status drl_params_init(drl_params *params, drl_context *ctx, int capacity,
    int trainable);

/* Add the tensor prefix + name, [rows, cols], whose data comes with commit. NULL on an error, which
   commit returns. */
DRLDEF drl_tensor *drl_params_add(drl_params *params, const char *prefix, const char *name,
    int rows, int cols);

/* Allocate all tensors, zeroed; no adding after this. */
DRLDEF drl_status drl_params_commit(drl_params *params);
/* Free (idempotent); zero all gradients, before each backward pass. */
DRLDEF void drl_params_free(drl_params *params);
DRLDEF void drl_params_zero_grad(drl_params *params);

/* to = from; to = (1 - tau) to + tau from. Sets of equal layout (targets; EMA: tau = 1 - decay). */
DRLDEF void drl_params_copy(drl_params *to, const drl_params *from);
DRLDEF void drl_params_polyak(drl_params *to, const drl_params *from, float tau);

/* Append the tensors as prefix + name for saving; with optimizer 1 the moments prefix + "adam_m." +
   name and "adam_v.", and the step count, too. */
DRLDEF void drl_params_state(drl_params *params, drl_state *state, const char *prefix,
    int optimizer);

typedef enum drl_init {
    DRL_INIT_CONSTANT,        /* gain */
    DRL_INIT_LECUN_NORMAL,    /* cut at 2 sigma, variance gain^2 / in (flax's default) */
    DRL_INIT_XAVIER_UNIFORM,  /* +- gain sqrt(6 / (in + out)) */
    DRL_INIT_KAIMING_UNIFORM, /* +- gain / sqrt(in) (PyTorch's Linear with gain 1) */
    DRL_INIT_TRUNCATED_NORMAL /* sigma = gain, cut at 2 sigma */
} drl_init;

/* Initialize x [in, out]; RNG rows * cols draws, none for a constant. */
DRLDEF void drl_tensor_init(drl_tensor *x, drl_init kind, float gain, drl_rng *rng);

/* Fully connected layer. */
typedef struct drl_dense {
    drl_tensor *w, *b; /* [in, out], [1, out] */
} drl_dense;

/* Add the tensors prefix + name + ".w", ".b" to params. */
DRLDEF void drl_dense_add(drl_dense *layer, drl_params *params, const char *prefix,
    const char *name, int in, int out);

/* w by `kind`, b = 0. */
DRLDEF void drl_dense_init(drl_dense *layer, drl_init kind, float gain, drl_rng *rng);

/* y = act(x w + b). */
DRLDEF drl_tensor *drl_dense_forward(drl_tape *tape, const drl_dense *layer, drl_tensor *x,
    drl_act act);

#define DRL_MLP_LAYERS 8

/* Multi-layer perceptron; out_act at the end. */
typedef struct drl_mlp {
    int layers;
    drl_dense layer[DRL_MLP_LAYERS];
    drl_act act, out_act;
} drl_mlp;

/* Add an MLP of widths dims[0] -> ... -> dims[layers] as prefix + "l0.w", ... */
DRLDEF void drl_mlp_add(drl_mlp *mlp, drl_params *params, const char *prefix, const int *dims,
    int layers, drl_act act, drl_act out_act);

/* Initialize all layers alike; the output for x [rows, dims[0]]. */
DRLDEF void drl_mlp_init(drl_mlp *mlp, drl_init kind, float gain, drl_rng *rng);
DRLDEF drl_tensor *drl_mlp_forward(drl_tape *tape, const drl_mlp *mlp, drl_tensor *x);

/* Residual MLP, pre-activation: h = x W + b, per block h += L2(act(L1(act(h)))), last layer. */
typedef struct drl_resmlp {
    int blocks;
    drl_dense first, last, layer[DRL_MLP_LAYERS];
    drl_act act;
} drl_resmlp;

/* Add it: in -> width (blocks times two layers) -> out. 2 * blocks <= DRL_MLP_LAYERS. */
DRLDEF void drl_resmlp_add(drl_resmlp *net, drl_params *params, const char *prefix, int in,
    int width, int blocks, int out, drl_act act);

/* Initialize all layers alike; the output for x [rows, in]. */
DRLDEF void drl_resmlp_init(drl_resmlp *net, drl_init kind, float gain, drl_rng *rng);
DRLDEF drl_tensor *drl_resmlp_forward(drl_tape *tape, const drl_resmlp *net, drl_tensor *x);

/* Fourier time embedding: [sin(omega t + psi), cos(omega t + psi)] -> Linear, GELU -> Linear, psi
   learned, omega = linspace(0.1, 100, frequencies). */
typedef struct drl_fourier {
    int frequencies;
    drl_tensor *phase; /* psi [1, frequencies] */
    drl_dense l0, l1;
} drl_fourier;

/* Add its tensors, prefix + "phase", "t0.w", ...; output width `out`. */
DRLDEF void drl_fourier_add(drl_fourier *time, drl_params *params, const char *prefix,
    int frequencies, int out);

/* Embed t = 0 .. steps-1: [steps, out]. */
DRLDEF drl_tensor *drl_fourier_forward(drl_tape *tape, const drl_fourier *time, int steps);

typedef enum drl_time {
    DRL_TIME_DDPM,  /* w_i = 10000^(-i / (dim/2 - 1)) (Ho et al. 2020) */
    DRL_TIME_SCALED /* w_i = 10000^(-i / (dim/2)), all times dim^(-1/2) (DACER's code) */
} drl_time;

/* Sinusoidal embedding of t = 0 .. steps-1: sin t w_i beside cos t w_i, out [steps, dim], dim even,
   >= 4. */
DRLDEF void drl_time_sinusoidal(drl_time kind, int steps, int dim, float *out);

/* Batch Renormalization (Ioffe 2017, as in CrossQ). Running statistics are a set of their own. */
typedef struct drl_brn {
    drl_tensor *scale, *shift; /* [1, cols] trained */
    drl_tensor *mean, *var;    /* [1, cols] running statistics */
    float momentum, eps;       /* 0.99, 1e-3 */
    float r_max, delta_max;    /* 3, 5 */
} drl_brn;

/* Add scale, shift to params, mean, var to running. */
DRLDEF void drl_brn_add(drl_brn *layer, drl_params *params, drl_params *running, const char *prefix,
    const char *name, int cols);

/* scale = var = 1, shift = mean = 0. */
DRLDEF void drl_brn_init(drl_brn *layer);

/* Train mode: batch statistics m, v; with renorm 1 corrected towards running ones M, V by constants
     r = clip(sqrt(v + eps) / sqrt(V + eps), 1/r_max, r_max),
     delta = clip((m - M) / sqrt(V + eps), -delta_max, delta_max); renorm 0 (warm-up): 1, 0.
   Then running = momentum running + (1 - momentum) batch. */
DRLDEF drl_tensor *drl_brn_train(drl_tape *tape, drl_brn *layer, drl_tensor *x, int renorm);

/* Eval mode: y = scale (x - M) / sqrt(V + eps) + shift; scale and shift get no gradient. */
DRLDEF drl_tensor *drl_brn_eval(drl_tape *tape, const drl_brn *layer, drl_tensor *x);

/* ====== >>optim
   Adam and AdamW in one pass; learning-rate schedules. */
typedef struct drl_adam_config {
    float lr;           /* 3e-4 learning rate */
    float beta1, beta2; /* 0.9, 0.999 */
    float eps;          /* 1e-8 added to sqrt(v) */
    float weight_decay; /* 0    decoupled (AdamW) */
    float clip_element; /* 0    > 0: bound of each gradient element */
    float clip_norm;    /* 0    > 0: bound of the gradient's norm */
    int zero_nan;       /* 0    1: gradient elements that are nan count as 0 */
} drl_adam_config;

/* Return the defaults above. */
DRLDEF drl_adam_config drl_adam_config_default(void);

/* A step on the gradients of params: nan removal, clipping by norm, by element,
     m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,
     w = w - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps) - lr weight_decay w.
   Source  Kingma & Ba 2015, arXiv:1412.6980, algorithm 1; decay: Loshchilov & Hutter 2019. */
DRLDEF void drl_adam_step(drl_params *params, const drl_adam_config *cfg);

/* Learning rate from first to last over `total` steps, linear or half a cosine; then last. */
DRLDEF float drl_lr_linear(float first, float last, int64_t step, int64_t total);
DRLDEF float drl_lr_cosine(float first, float last, int64_t step, int64_t total);

/* ====== >>diffusion
   Noise schedules and chain steps as graphs, with gradients where wanted. x_t noisy action, t = T
   pure noise, t = 0 clean; abar_t = product of (1 - beta). */
#define DRL_STEPS_MAX 128

typedef enum drl_schedule {
    DRL_SCHEDULE_LINEAR, /* beta from 1e-4 to 0.02, scaled by 1000 / T (Ho et al. 2020) */
    DRL_SCHEDULE_COSINE, /* abar = cos^2((t/T + s) / (1 + s) pi/2), s = 0.008 (Nichol 2021) */
    DRL_SCHEDULE_VP      /* beta_t = 1 - exp(-b0/T - (b1 - b0)(2t - 1)/(2 T^2)), b0 0.1, b1 10 */
} drl_schedule;

/* A variance-preserving chain; t = 1 .. steps, abar[0] = 1. A step x_t -> x_{t-1} is
     x0 = clip(x_scale x_t - eps_scale eps),   x_{t-1} = c0 x0 + c1 x_t + std z:
   ancestral and DDIM steps, other variances and floors are other tables. */
typedef struct drl_ddpm {
    int steps;
    int time[DRL_STEPS_MAX + 1]; /* what the network is told at t: t - 1 of the full chain */
    float abar[DRL_STEPS_MAX + 1];
    float x_scale[DRL_STEPS_MAX + 1], eps_scale[DRL_STEPS_MAX + 1];
    float c0[DRL_STEPS_MAX + 1], c1[DRL_STEPS_MAX + 1], std[DRL_STEPS_MAX + 1];
} drl_ddpm;

/* Ancestral steps: c0 = sqrt(abar') beta / (1 - abar), c1 = sqrt(1 - beta) (1 - abar') / (1 -
   abar), std^2 = beta (1 - abar') / (1 - abar), abar' = abar_{t-1}. steps 1 .. DRL_STEPS_MAX.
   Source  Ho et al. 2020, arXiv:2006.11239, eq. (6), (7).   Errors  DRL_ERR_RANGE. */
DRLDEF drl_status drl_ddpm_init(drl_ddpm *ddpm, drl_context *ctx, drl_schedule kind, int steps);

/* `steps` DDIM steps, each of full->steps / steps of `full`: std = eta sqrt((1 - abar') / (1 -
   abar)) sqrt(1 - abar / abar'); eta 0: deterministic.
   Source  Song et al. 2021, arXiv:2010.02502, eq. (12), (16). */
DRLDEF drl_status drl_ddim_init(drl_ddpm *short_chain, drl_context *ctx, const drl_ddpm *full,
    int steps, float eta);

/* Forward process at t[r] of each row: x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise, [B, A]. */
DRLDEF drl_tensor *drl_ddpm_noise(drl_tape *tape, const drl_ddpm *ddpm, const int *t,
    drl_tensor *x0, drl_tensor *noise);

/* Mean of the step from x_t, at t[r] of each row; x0 is cut to +-clip. */
DRLDEF drl_tensor *drl_ddpm_mean(drl_tape *tape, const drl_ddpm *ddpm, const int *t, drl_tensor *x,
    drl_tensor *eps, float clip);

/* Step x_t -> x_{t-1}, all rows at t. z: constant; NULL: the mean. */
DRLDEF drl_tensor *drl_ddpm_step(drl_tape *tape, const drl_ddpm *ddpm, int t, drl_tensor *x,
    drl_tensor *eps, drl_tensor *z, float clip);

/* BF16_SAMPLING: drl_denoiser_sample of 64 rows or more rounds inputs and weights of the MLP's
   layers of 32 n inputs to bf16; sums are fp32, their order (bits) the CPU's. */
typedef enum drl_precision { DRL_FP32, DRL_BF16_SAMPLING } drl_precision;

/* Noise network eps(x, t, s): MLP or residual MLP on [x, e(t), s], e = Linear, Mish, Linear of a
   sinusoidal embedding. */
typedef struct drl_denoiser {
    int act_dim, obs_dim, time_dim;
    drl_time kind;
    drl_precision precision;
    drl_dense t0, t1;
    drl_mlp mlp; /* layers 0: residual */
    drl_resmlp res;
} drl_denoiser;

/* Add prefix + "t0.w", "t1.w" (time_dim -> time_hidden -> time_dim) and a trunk of `layers` hidden
   layers, or of `blocks` residual blocks if that is not 0. */
DRLDEF void drl_denoiser_add(drl_denoiser *net, drl_params *params, const char *prefix, int obs_dim,
    int act_dim, drl_time kind, int time_dim, int time_hidden, int width, int layers, int blocks,
    drl_act act);

/* Initialize all layers alike. */
DRLDEF void drl_denoiser_init(drl_denoiser *net, drl_init kind, float gain, drl_rng *rng);

/* The first layer's part from the time of each step, with the bias, [steps, width]; from the
   states, [B, width]. */
DRLDEF drl_tensor *drl_denoiser_time(drl_tape *tape, const drl_denoiser *net, int steps);
DRLDEF drl_tensor *drl_denoiser_state(drl_tape *tape, const drl_denoiser *net, drl_tensor *obs);

/* eps [B, A] of x [B, A]; time: a row of drl_denoiser_time, NULL: none; state: of
   drl_denoiser_state. */
DRLDEF drl_tensor *drl_denoiser_eps(drl_tape *tape, const drl_denoiser *net, drl_tensor *x,
    drl_tensor *time, drl_tensor *state);

/* eps of x [n, A], row r at t[r] of the chain in state r mod B of obs [B, S]. */
DRLDEF drl_tensor *drl_denoiser_at(drl_tape *tape, const drl_denoiser *net, const drl_ddpm *ddpm,
    const int *t, drl_tensor *x, drl_tensor *obs);

/* Loss [1, 1]: mean of weight (eps(x_t, t, s) - noise)^2; weight [B, 1] or NULL. */
DRLDEF drl_tensor *drl_denoiser_loss(drl_tape *tape, const drl_denoiser *net, const drl_ddpm *ddpm,
    drl_tensor *obs, drl_tensor *x0, const int *t, drl_tensor *noise, drl_tensor *weight);

/* Run the steps first, first - 1, .. last without gradients, K samples per state of obs [B, S].
     path [first - last + 2, K B, A]  in: x_first, then each step's normals (not read if std is 0);
                                      out: x_first .. x_{last-1}, row k B + b in state b */
DRLDEF void drl_denoiser_sample(drl_tape *tape, const drl_denoiser *net, const drl_ddpm *ddpm,
    drl_tensor *obs, int candidates, int first, int last, float clip, float *path);

/* Step sizes of DIME's chain: c_k = (1 - floor) cos^2(pi/2 (1 + s - t_k) / (1 + s)) + floor, t_k =
   (n - k) / n, s = 0.008, k = 0 .. n-1. */
DRLDEF void drl_ou_schedule(int n, float floor, float *c);

/* Euler-Maruyama step x -> x1 of the controlled Ornstein-Uhlenbeck process around N(0, sigma0^2),
   and its part of the path log-density; x, u, xi, *x1 [B, A], eta [1, A], *ratio [B, 1]:
     x1    = x + eta (-x / sigma0^2 + u) + sqrt(2 eta) xi
     ratio = log q(x1|x) - log p(x|x1) = sum_i (x - (1 - eta / sigma0^2) x1)^2 / (4 eta) - xi^2 / 2,
   more exact with the same xi than as a difference. */
DRLDEF void drl_ou_step(drl_tape *tape, drl_tensor *x, drl_tensor *u, drl_tensor *eta,
    drl_tensor *xi, float sigma0, drl_tensor **x1, drl_tensor **ratio);

/* ====== >>critic
   Value functions: categorical (C51), CrossQ's network, twin scalar critics. */

/* Support of a value distribution: z_j = v_min + j (v_max - v_min) / (atoms - 1). */
typedef struct drl_atoms {
    int count;
    float v_min, v_max;
} drl_atoms;

/* Project p [B, atoms], moved to y_m = clip(shift[b] + scale[b] z_m, v_min, v_max), onto the
   support; weight times that is put into out [B, atoms], accumulate 1: added.
   Source  Bellemare et al. 2017, arXiv:1707.06887, algorithm 1. */
DRLDEF void drl_c51_project(drl_context *ctx, const drl_atoms *atoms, int rows, const float *p,
    const float *shift, const float *scale, float weight, int accumulate, float *out);

/* Loss [1, 1] of logits [B, atoms] against constant target distributions T [B, atoms]:
     -mean_b sum_m T ln(p + 1e-15) + bonus mean_b sum_m p ln(p + 1e-15),   p = softmax(logits). */
DRLDEF drl_tensor *drl_c51_loss(drl_tape *tape, drl_tensor *logits, const float *target,
    float bonus);

/* Expected value [B, 1]: sum_m z_m softmax(logits)_m. */
DRLDEF drl_tensor *drl_c51_mean(drl_tape *tape, drl_tensor *logits, const drl_atoms *atoms);

/* CrossQ's critic (Bhatt et al. 2024): BRN(input) -> 2 x [Linear, ReLU, BRN] -> Linear. */
typedef struct drl_crossq {
    drl_brn bn[3];
    drl_dense layer[3];
} drl_crossq;

/* Add in -> width -> width -> out; running statistics to `running`. */
DRLDEF void drl_crossq_add(drl_crossq *q, drl_params *params, drl_params *running,
    const char *prefix, int in, int width, int out);

/* LeCun-normal weights, zero biases, identity norms. */
DRLDEF void drl_crossq_init(drl_crossq *q, drl_rng *rng);

/* Train mode: batch statistics over all rows, running ones follow. Eval mode, parameters constant:
   gradients flow to x alone. */
DRLDEF drl_tensor *drl_crossq_train(drl_tape *tape, drl_crossq *q, drl_tensor *x, int renorm);
DRLDEF drl_tensor *drl_crossq_eval(drl_tape *tape, const drl_crossq *q, drl_tensor *x);

/* Twin critics Q1, Q2 (MLPs on [act, obs]) with targets. */
typedef struct drl_twin {
    int act_dim;
    drl_mlp q[2], target[2];
} drl_twin;

/* Add both, [act_dim + obs_dim] -> (layers - 1) x width -> 1, as prefix + "q0.l0.w" etc. to params,
   their targets to target. */
DRLDEF void drl_twin_add(drl_twin *twin, drl_params *params, drl_params *target, const char *prefix,
    int obs_dim, int act_dim, int width, int layers, drl_act act);

/* Initialize both; targets: drl_params_copy. */
DRLDEF void drl_twin_init(drl_twin *twin, drl_init kind, float gain, drl_rng *rng);

/* min(Q1, Q2) [K B, 1] of obs [B, S] and act [K B, A], row k B + b with state b; target 1: by the
   targets. Gradients flow to act alone, and only up to 256 rows. */
DRLDEF drl_tensor *drl_twin_min(drl_tape *tape, const drl_twin *twin, drl_tensor *obs,
    drl_tensor *act, int target);

/* Loss [1, 1]: sum over both of mean((Q - y)^2), y [B] constant. */
DRLDEF drl_tensor *drl_twin_loss(drl_tape *tape, const drl_twin *twin, drl_tensor *obs,
    drl_tensor *act, const float *y);

/* ====== >>env
   Tasks, and a check that they keep their promises. */
#define DRL_ENV_TERMINATED 1 /* the task is over: the value after this step is 0 */
#define DRL_ENV_TRUNCATED 2  /* cut off (time, simulator fault): the value goes on */

/* A task: functions over a user pointer; not 0 if the simulator failed. The caller keeps the time
   limit. */
typedef struct drl_env {
    const char *name;
    int obs_dim, act_dim;
    const float *act_low, *act_high; /* [act_dim] finite, in the task's units. Borrowed. */
    int time_limit;                  /* steps until truncation, 0: none */
    void *user;
    int (*reset_fn)(void *user, uint64_t seed, float *obs); /* obs [obs_dim] out */
    int (*step_fn)(void *user, const float *action, float *obs, float *reward, int *flags);
    int (*render_fn)(void *user); /* optional: NULL */
    size_t (*state_size_fn)(const void *user); /* optional, all three or none: */
    int (*save_fn)(const void *user, void *state, size_t size); /* bitwise, in mid-episode */
    int (*load_fn)(void *user, const void *state, size_t size);
    void (*free_fn)(void *user); /* optional */
} drl_env;

/* Check a task for beginners' errors: dimensions, bounds, values that are not finite, reset and
   step that do not repeat, actions without effect, endless episodes. About 300 steps. Findings
   (*faults or NULL: their number) are logged, the first also to drl_context_error.
   Errors  DRL_ERR_ENV if training is impossible. */
DRLDEF drl_status drl_env_check(drl_context *ctx, const drl_env *env, int *faults);

/* Reset a task; a value that is not finite is reported with source and index.
   Errors  DRL_ERR_ENV if reset_fn failed, DRL_ERR_NAN. */
DRLDEF drl_status drl_env_reset(drl_context *ctx, const drl_env *env, uint64_t seed, float *obs);

/* Step a task likewise. action [act_dim] in [-1, 1] is scaled to the task's bounds.
   Errors  as drl_env_reset; DRL_ERR_RANGE if the action is not finite. */
DRLDEF drl_status drl_env_step(drl_context *ctx, const drl_env *env, const float *action,
    float *obs, float *reward, int *flags);

/* ====== >>replay
   Uniform ring buffer of transitions. */
typedef struct drl_replay_config {
    int obs_dim, act_dim;
    int64_t capacity; /* 1e6  transitions, envs .. 2^31 - 1 */
    int envs;         /* 1  environments, pushed in turn */
    int n_step;       /* 1  rewards summed before bootstrapping */
    float gamma;      /* 0.99 */
} drl_replay_config;

/* Ring of transitions. Only termination, not truncation, ends the value. */
typedef struct drl_replay {
    drl_replay_config cfg;
    drl_context *ctx;
    float *obs, *act, *reward, *next_obs; /* [capacity, ...] */
    uint8_t *flags;     /* [capacity] DRL_ENV_TERMINATED | DRL_ENV_TRUNCATED */
    int32_t *next;      /* [capacity] place of the episode's next one, -1: none */
    int64_t *last;      /* [envs] place of each environment's newest, -1: none */
    int64_t size, head; /* transitions held, place to write (capacity: 0) */
    int64_t turn;       /* environment that is pushed next */
    size_t bytes;
} drl_replay;

/* Rows sampled from a replay. Arrays are borrowed. */
typedef struct drl_batch {
    int rows;
    float *obs, *act, *next_obs; /* [rows, obs_dim], [rows, act_dim] in [-1, 1], [rows, obs_dim] */
    float *reward, *discount;    /* [rows]; gamma^n, 0 after a termination */
} drl_batch;

/* Defaults as above; bytes that a replay of this config allocates; give them back (idempotent). */
DRLDEF drl_replay_config drl_replay_config_default(int obs_dim, int act_dim);
DRLDEF size_t drl_replay_bytes(const drl_replay_config *cfg);
DRLDEF void drl_replay_free(drl_replay *replay);

/* Allocate the ring. Errors DRL_ERR_MEMORY, DRL_ERR_RANGE. */
DRLDEF drl_status drl_replay_init(drl_replay *replay, drl_context *ctx,
    const drl_replay_config *cfg);

/* Append a transition (copied) of the environment whose turn it is, over the oldest when full. */
DRLDEF void drl_replay_push(drl_replay *replay, const float *obs, const float *act, float reward,
    const float *next_obs, int flags);

/* Instead of a push: this environment's step failed; its next one does not follow on its last. */
DRLDEF void drl_replay_skip(drl_replay *replay);

/* Draw batch->rows rows into the caller's arrays, uniformly with replacement; n_step rewards are
   summed, fewer where the episode or the record ends.
   Errors  DRL_ERR_STATE if empty.   RNG  rows draws. */
DRLDEF drl_status drl_replay_sample(drl_replay *replay, drl_rng *rng, drl_batch *batch);

/* Append the rows in use for saving, as prefix + "obs" etc.; a larger ring takes them if none was
   overwritten. Sticky error DRL_ERR_FORMAT: places of state->file are out of range. */
DRLDEF void drl_replay_state(drl_replay *replay, drl_state *state, const char *prefix);

/* ====== >>agent
   What all algorithms share, the training loop, evaluation. The implementation explains each
   algorithm at the head of its section. */
typedef enum drl_mode {
    DRL_MODE_EXPLORE, /* as in training */
    DRL_MODE_EVAL     /* deterministic where the method has it, else sampled */
} drl_mode;

/* A figure of the last update. */
typedef struct drl_metric {
    const char *name;
    double value;
} drl_metric;

#define DRL_METRICS_MAX 16
#define DRL_SETS_MAX 8
struct drl_agent;

/* Begin of every algorithm's configuration; see DRL_MEMBER. */
#define DRL_AGENT_CONFIG(X) \
    X(INT, obs_dim, 1, 1, 1 << 20, "numbers in an observation") \
    X(INT, act_dim, 1, 1, 256, "numbers in an action") \
    X(UINT64, seed, 1, 0, 0, "of weights, noise, batches")

/* An algorithm, by drl_dime_algo() etc. or drl_algo_find. Agents are structs of their own that
   begin with a drl_agent. */
typedef struct drl_algo {
    const char *name, *about; /* "dime"; one line with the paper */
    const char *presets;      /* lines "cpu steps=8 utd=1": what differs from the defaults */
    const char *metrics;      /* "critic_loss q ...", separated by spaces */
    const drl_field *fields;  /* of the configuration: obs_dim, act_dim, seed, gamma, batch, */
    int field_count;          /* random_steps, update_every, time_limit_terminal by name */
    size_t size, config_offset, config_size; /* of the agent's struct, its config within */
    /* allocate and initialize what is not common (drli_agent_*) */
    drl_status (*init_fn)(struct drl_agent *agent);
    /* record the actions [rows, act_dim] for obs on the agent's tape, without gradients */
    drl_tensor *(*act_fn)(struct drl_agent *agent, drl_mode mode, drl_tensor *obs);
    /* what update_every environment steps pay for */
    drl_status (*update_fn)(struct drl_agent *agent, drl_replay *replay);
    /* the rest may be NULL: free, save what is not in sets and memory */
    void (*free_fn)(struct drl_agent *agent);
    void (*state_fn)(struct drl_agent *agent, drl_state *state, int all);
    /* an episode begins in environment env (-1: evaluation) */
    void (*begin_fn)(struct drl_agent *agent, int env);
    /* on-policy: gets each transition of environment env; then the trainer keeps no replay */
    drl_status (*observe_fn)(struct drl_agent *agent, int env, const float *obs, const float *act,
        float reward, const float *next_obs, int flags);
} drl_algo;

/* Parameters of an agent, and their prefix in files. */
typedef struct drl_set {
    drl_params *params;
    const char *prefix;
    int acting; /* 1: acting needs it */
} drl_set;

/* The common part of all agents. */
typedef struct drl_agent {
    drl_algo algo;
    drl_context *ctx;
    int obs_dim, act_dim;
    float gamma;
    int64_t random_steps; /* environment steps with uniform actions at first */
    int64_t update_every; /* environment steps per update */
    int time_limit_terminal; /* 1: the time limit counts as termination */
    int noiseless; /* 1: DRL_MODE_EVAL takes the mean instead of each draw; 0 at first */
    int64_t updates;      /* gradient updates so far, of the critic if any */
    drl_tape tape;
    drl_arena memory;     /* buffers of fixed size */
    drl_set sets[DRL_SETS_MAX];
    int set_count;
    drl_batch batch;
    drl_rng rng_act, rng_eval, rng_batch, rng_noise;
    drl_metric metrics[DRL_METRICS_MAX]; /* of the last update */
    int metric_count;
    char names[256];
} drl_agent;

/* Set the algorithm's defaults, the values of the paper. */
DRLDEF void drl_algo_default(drl_algo algo, void *config, int obs_dim, int act_dim);

/* Set a preset: the defaults ("paper"), then its changes; dimensions and seed stay.
   Errors  DRL_ERR_NAME. */
DRLDEF drl_status drl_algo_preset(drl_context *ctx, drl_algo algo, void *config, const char *name);

/* Declare what each algorithm NAME has: drl_NAME_config_default, the values of the paper or its
   code; drl_NAME_algo; drl_NAME_init, which is drl_agent_init of this algorithm. */
#define DRL_ALGO_API(name) \
    DRLDEF drl_##name##_config drl_##name##_config_default(int obs_dim, int act_dim); \
    DRLDEF drl_algo drl_##name##_algo(void); \
    DRLDEF drl_status drl_##name##_init(drl_##name *agent, drl_context *ctx, \
                                        const drl_##name##_config *cfg);

/* Allocate and initialize an agent, first in a struct of algo.size bytes. ctx is borrowed,
   config (of algo's type) copied. Errors  DRL_ERR_RANGE (names the field), DRL_ERR_MEMORY; nothing
   is held then. */
DRLDEF drl_status drl_agent_init(drl_agent *agent, drl_context *ctx, drl_algo algo,
    const void *config);

/* Free and zero the struct. Idempotent. */
DRLDEF void drl_agent_free(drl_agent *agent);

/* Begin an episode in environment env; -1: of evaluation, its noise from seed alone. */
DRLDEF void drl_agent_begin(drl_agent *agent, int env, uint64_t seed);

/* Choose actions for rows states; each mode has a stream of its own.
     obs [rows, obs_dim] in,  act [rows, act_dim] out, in [-1, 1] */
DRLDEF drl_status drl_agent_act(drl_agent *agent, drl_mode mode, int rows, const float *obs,
    float *act);

/* Learn what update_every environment steps pay for. replay NULL: on-policy.
   Errors  the tape's; DRL_ERR_NAN names the first tensor that is not finite. */
DRLDEF drl_status drl_agent_update(drl_agent *agent, drl_replay *replay);

/* The configuration, of algo's type. */
DRLDEF const void *drl_agent_config(const drl_agent *agent);

/* Append all for saving; all 0: what acting needs. */
DRLDEF void drl_agent_state(drl_agent *agent, drl_state *state, int all);

#ifndef DIFFRL_NO_STDIO
/* Write configuration and what acting needs to a safetensors file, atomically, with meta (or NULL)
   in its metadata.   Errors  as drl_state_save. */
DRLDEF drl_status drl_agent_save(drl_agent *agent, const char *path, const drl_meta *meta);

/* Make an agent that can act from such a file; agent as in drl_agent_init.
   Errors  DRL_ERR_FILE, DRL_ERR_FORMAT, ...; nothing is held then. */
DRLDEF drl_status drl_agent_load(drl_agent *agent, drl_context *ctx, drl_algo algo,
    const char *path);
#endif

typedef struct drl_trainer_config {
    uint64_t seed;           /* 1 */
    int64_t replay_capacity; /* 1000000, which the examples cut to what `steps` needs */
    int n_step;              /* 1 */
} drl_trainer_config;

/* Training: environments, replay, agent. */
typedef struct drl_trainer {
    drl_trainer_config cfg;
    drl_context *ctx;
    drl_agent *agent;    /* borrowed */
    const drl_env *envs; /* [env_count] borrowed */
    int env_count;
    drl_replay replay;
    drl_rng random;      /* uniform actions at the start */
    float *obs, *next_obs, *act; /* [env_count, ...] */
    struct drli_step *results;   /* [env_count] of the last step */
    int *length;      /* [env_count] of the running episode: steps, */
    double *ret;      /* return, */
    int64_t *episode; /* number */
    int64_t steps;    /* environment steps so far, all environments */
    int64_t episodes; /* finished */
    int64_t faults;   /* transitions dropped: the task failed or gave nan */
    double last_return, last_length;
    double recent_return[100], recent_length[100]; /* rings of the last finished episodes */
    unsigned char *env_state;    /* [env_bytes] while saving and loading */
    size_t env_bytes, bytes;
} drl_trainer;

/* Return the defaults above. */
DRLDEF drl_trainer_config drl_trainer_config_default(void);

/* Start training: allocate the replay, reset the environments. envs (of the agent's dimensions) and
   agent are borrowed. cfg NULL: defaults.   Errors  DRL_ERR_SHAPE, DRL_ERR_MEMORY, DRL_ERR_ENV. */
DRLDEF drl_status drl_trainer_init(drl_trainer *trainer, drl_context *ctx,
    const drl_trainer_config *cfg, const drl_env *envs, int env_count, drl_agent *agent);

/* Step every environment, then update the agent for each step. Environments are stepped side by
   side on workers: they must not share what they change. A failed or nan step drops the transition
   and resets that environment; more than 1000 are an error.   Errors  the agent's, DRL_ERR_ENV. */
DRLDEF drl_status drl_trainer_step(drl_trainer *trainer);

/* Mean return and length of the last 100 finished episodes, or 0. */
DRLDEF double drl_trainer_return(const drl_trainer *trainer);
DRLDEF double drl_trainer_length(const drl_trainer *trainer);

/* Append all that the rest of training depends on, with or without the replay.
   Errors  DRL_ERR_ENV if a save_fn failed. */
DRLDEF void drl_trainer_state(drl_trainer *trainer, drl_state *state, int replay);

/* Go on from a file of that, configured as then (replay_capacity may grow), as if there had been no
   break. Without replay in it the replay stays; environments without hooks begin an episode.
   Errors  drl_file_load's, nothing is changed then; DRL_ERR_ENV if a load_fn failed. */
DRLDEF drl_status drl_trainer_load(drl_trainer *trainer, const drl_file *file);

/* Free, idempotent; environments and agent stay. */
DRLDEF void drl_trainer_free(drl_trainer *trainer);

/* Returns and mean length of episodes; std divides by n. */
typedef struct drl_evaluation {
    int episodes;
    double mean, std, min, max, length;
} drl_evaluation;

/* Run episodes on an environment (not the trainer's), seeds seed, seed + 1, ... for it and the
   agent's noise. returns [episodes] out, or NULL.   Errors  the agent's, the task's. */
DRLDEF drl_status drl_evaluate(drl_context *ctx, drl_agent *agent, const drl_env *env, int episodes,
    uint64_t seed, drl_evaluation *result, double *returns);

/* ====== >>dacer
   DACER - diffusion actor-critic. */
#ifndef DIFFRL_NO_DACER
#define DRL_DACER_CONFIG(X) \
    DRL_AGENT_CONFIG(X) \
    /* chain and networks */ \
    X(INT, steps, 20, 1, DRL_STEPS_MAX, "T, denoising steps, VP schedule") \
    X(INT, actor_width, 256, 1, 65536, "hidden width of the noise network, Mish") \
    X(INT, critic_width, 256, 1, 65536, "hidden width of the critics, Mish") \
    X(INT, layers, 3, 1, DRL_MLP_LAYERS - 1, "hidden layers of both") \
    /* exploration */ \
    X(FLOAT, noise, 0.15, 0, 1e3, "lambda; 0.1 but on Humanoid, HalfCheetah") \
    X(FLOAT, alpha, 3, 1e-12, 1e6, "initial noise scale: std is lambda alpha") \
    X(FLOAT, lr_alpha, 0.03, 0, 1, "learning rate of ln alpha") \
    X(FLOAT, target, -0.9, -1e3, 1e3, "entropy per dimension that alpha aims at") \
    X(INT, alpha_delay, 10000, 1, 2e9, "updates per step of alpha") \
    X(INT, components, 3, 1, 64, "of the Gaussian mixture") \
    X(INT, samples, 200, 1, 65536, "actions for a mixture") \
    X(INT, mixtures, 256, 1, 65536, "states of the batch that get one") \
    /* learning */ \
    X(FLOAT, gamma, 0.99, 0, 1, "discount") \
    X(FLOAT, reward_scale, 0.2, -1e9, 1e9, "factor of all rewards") \
    X(FLOAT, tau, 0.005, 0, 1, "averaging of targets and omega") \
    X(INT, batch, 256, 1, 1 << 20, "rows of an update") \
    X(INT, policy_delay, 2, 1, 1000, "updates per step of actor and targets") \
    X(INT64, random_steps, 2e5, 0, 1e12, "uniform at first; 3e4 where noise is 0.1") \
    X(INT64, update_every, 20, 1, 1e9, "environment steps, and environments") \
    X(FLOAT, lr_actor, 1e-4, 0, 1, "learning rate") \
    X(FLOAT, lr_critic, 1e-4, 0, 1, "learning rate")
typedef struct drl_dacer_config { DRL_DACER_CONFIG(DRL_MEMBER) } drl_dacer_config;

typedef struct drl_dacer {
    drl_agent agent;
    drl_dacer_config cfg;
    drl_params actor, critic, target, scale, running;
    drl_denoiser net;
    drl_ddpm chain;
    drl_mlp q[2], q_target[2];     /* [a, s] -> q and softplus^-1(sigma) */
    drl_tensor *log_alpha, *omega; /* [1, 1], [1, 2] */
    drl_adam_config adam_actor, adam_critic, adam_alpha;
    float *noise, *y, *actions;    /* y [2, B]: the mean's and the std's target */
    double *work;                  /* of a mixture */
} drl_dacer;

/* Presets "paper", "cpu", "toy"; evaluating adds no noise, the chain
   still draws. Acting takes rows (T + 1) act_dim normals. */
DRL_ALGO_API(dacer)
#endif

/* ====== >>dime
   DIME - diffusion-based maximum-entropy RL. */
#ifndef DIFFRL_NO_DIME
#define DRL_DIME_CONFIG(X) \
    DRL_AGENT_CONFIG(X) \
    /* chain */ \
    X(INT, steps, 16, 1, DRL_STEPS_MAX, "N, denoising steps") \
    X(FLOAT, prior_std, 2.5, 1e-3, 1e3, "sigma_0 of x_0 ~ N(0, sigma_0^2)") \
    X(FLOAT, dt, 0.1, 1e-6, 10, "initial step size softplus(rho), learned") \
    X(FLOAT, friction, 1, 1e-3, 1e3, "initial friction softplus(phi), learned") \
    X(FLOAT, step_floor, 0.001, 0, 1, "m of the cosine step schedule") \
    /* networks */ \
    X(INT, actor_width, 256, 1, 65536, "hidden width of the control network, GELU") \
    X(INT, actor_layers, 3, 1, DRL_MLP_LAYERS - 1, "its hidden layers") \
    X(INT, time_frequencies, 256, 1, 65536, "Fourier features of the step index") \
    X(INT, critic_width, 2048, 1, 65536, "two hidden layers, Batch Renorm, ReLU") \
    X(INT, atoms, 101, 2, 65536, "support of the value distribution") \
    X(FLOAT, v_min, -1600, -1e9, 1e9, "least value; DeepMind Control: -200") \
    X(FLOAT, v_max, 1600, -1e9, 1e9, "largest value; DeepMind Control: 200") \
    X(FLOAT, brn_momentum, 0.99, 0, 1, "of the running statistics") \
    X(INT, brn_warmup, 100000, 0, 2e9, "updates with plain batch normalization") \
    /* learning */ \
    X(FLOAT, value_entropy, 0.005, 0, 1000, "bonus for entropy of predicted values") \
    X(FLOAT, gamma, 0.99, 0, 1, "discount") \
    X(INT, batch, 256, 2, 1 << 20, "rows of an update") \
    X(INT, utd, 2, 1, 1000, "critic updates per environment step") \
    X(INT, policy_delay, 3, 1, 1000, "critic updates per actor update") \
    X(INT64, random_steps, 5000, 0, 1e12, "uniform actions before the first update") \
    X(FLOAT, lr_actor, 3e-4, 0, 1, "learning rate") \
    X(FLOAT, lr_critic, 3e-4, 0, 1, "learning rate") \
    X(FLOAT, beta1, 0.5, 0, 0.9999, "Adam, actor and critic") \
    X(FLOAT, actor_clip, 1, 0, 1e30, "bound of the elements of the gradient") \
    X(FLOAT, alpha, 1, 1e-12, 1e6, "initial temperature") \
    X(FLOAT, lr_alpha, 1e-3, 0, 1, "learning rate, Adam with default betas") \
    X(FLOAT, target, 4, -1e3, 1e3, "run cost per dimension alpha aims at")
typedef struct drl_dime_config { DRL_DIME_CONFIG(DRL_MEMBER) } drl_dime_config;

typedef struct drl_dime {
    drl_agent agent;
    drl_dime_config cfg;
    /* actor: control network u(x, s, k), step size and friction */
    drl_params actor;
    drl_fourier time;
    drl_mlp trunk;
    drl_tensor *rho, *phi;
    float c[DRL_STEPS_MAX]; /* step schedule c_k */
    /* critics and temperature */
    drl_params critic, running, temperature;
    drl_crossq q[2];
    drl_tensor *kappa; /* ln alpha */
    drl_atoms support;
    drl_adam_config adam_actor, adam_critic, adam_alpha;
    float *noise, *next_act, *next_density, *target, *shift, *probability;
    float *time_rows; /* kept by acting: its embedded steps, from weights of this hash */
    uint64_t time_hash;
    size_t time_size; /* of them, the first of the actor */
} drl_dime;

/* Presets "paper", "cpu" (fastest learning on two cores), "toy" (pendulums). Both
   modes sample, from streams of their own, rows (N + 1) act_dim normals. */
DRL_ALGO_API(dime)
#endif

/* ====== >>dppo
   DPPO - diffusion policy policy optimization. */
#ifndef DIFFRL_NO_DPPO
#define DRL_DPPO_CONFIG(X) \
    DRL_AGENT_CONFIG(X) \
    /* policy */ \
    X(INT, envs, 40, 1, 1 << 20, "rows of act at most: each has a plan") \
    X(INT, chunk, 4, 1, 256, "actions of a plan, all executed") \
    X(INT, steps, 20, 1, DRL_STEPS_MAX, "K, denoising steps, cosine schedule") \
    X(INT, ddim_steps, 0, 0, DRL_STEPS_MAX, "> 0: sample by that many DDIM steps") \
    X(INT, tuned, 10, 1, DRL_STEPS_MAX, "K', last steps that fine-tuning changes") \
    X(FLOAT, eta, 1, 0, 1, "noise of DDIM in exploring; evaluation: 0") \
    X(FLOAT, sample_floor, 0.1, 0, 10, "least sigma in exploring") \
    X(FLOAT, prob_floor, 0.1, 1e-4, 10, "least sigma in the likelihood") \
    X(FLOAT, noise_clip, 3, 0, 100, "bound of a step's noise") \
    X(INT, actor_width, 512, 1, 65536, "residual MLP of one block, ReLU") \
    X(INT, critic_width, 256, 1, 65536, "residual MLP of one block, Mish") \
    /* pre-training */ \
    X(INT, bc_epochs, 200, 1, 1 << 30, "epochs of pre-training") \
    X(INT, bc_updates, 0, 0, 1 << 30, "updates of an epoch; 0: rows / bc_batch") \
    X(INT, bc_batch, 128, 1, 1 << 20, "chunks of an update") \
    X(FLOAT, bc_lr, 1e-3, 0, 1, "learning rate of epoch 1, then along a cosine") \
    X(FLOAT, bc_lr_last, 1e-4, 0, 1, "of the last epoch, and of epoch 0") \
    X(FLOAT, bc_decay, 1e-6, 0, 1, "weight decay") \
    X(FLOAT, ema, 0.995, 0, 1, "decay of the average of the weights") \
    X(INT, ema_every, 10, 1, 1 << 30, "updates between its steps") \
    X(INT, ema_first, 20, 0, 1 << 30, "epoch of its first one; before: the weights") \
    /* fine-tuning */ \
    X(INT, rollout, 20000, 1, 1 << 24, "chunks of an iteration, all environments") \
    X(INT, batch, 50000, 2, 1 << 24, "pairs (chunk, tuned step) of a gradient step") \
    X(INT, epochs, 5, 1, 1000, "passes over the pairs") \
    X(FLOAT, gamma, 0.99, 0, 1, "discount per chunk") \
    X(FLOAT, lambda, 0.95, 0, 1, "of the advantage estimate") \
    X(FLOAT, gamma_den, 0.99, 0, 1, "discount per denoising step") \
    X(FLOAT, clip, 0.01, 0, 1, "bound of |ratio - 1| in the last step") \
    X(FLOAT, clip_base, 0.01, 0, 1, "in the first tuned one") \
    X(FLOAT, clip_rate, 3, 1e-3, 20, "how it grows in between") \
    X(BOOL, sum, 0, 0, 1, "log-probability of a chunk: sum, not mean") \
    X(FLOAT, lr_actor, 1e-4, 0, 1, "learning rate") \
    X(FLOAT, lr_critic, 1e-3, 0, 1, "learning rate") \
    X(FLOAT, target_kl, 1, 0, 1e9, "a larger step ends the iteration") \
    X(FLOAT, bc_coef, 0, 0, 1e3, "pull towards the pre-trained policy") \
    X(BOOL, time_limit_terminal, 1, 0, 1, "as in the paper's code; preset cpu: no")
typedef struct drl_dppo_config { DRL_DPPO_CONFIG(DRL_MEMBER) } drl_dppo_config;

typedef struct drl_dppo {
    drl_agent agent;
    drl_dppo_config cfg;
    drl_params student, base, actor, critic, norm; /* cloned, its average, tuned, V, data's range */
    drl_denoiser student_net, base_net, net;
    drl_resmlp value;
    drl_dense obs_range, act_range; /* b + w is the largest of the data, b - w the least */
    drl_ddpm full, explore, eval;   /* chains of pre-training, of the modes */
    float sigma[DRL_STEPS_MAX + 1]; /* of the likelihood, by t */
    float weight[DRL_STEPS_MAX], low[DRL_STEPS_MAX], high[DRL_STEPS_MAX]; /* by tuned step */
    drl_adam_config adam_student, adam_actor, adam_critic;
    int64_t epoch, batches; /* of pre-training */
    double scale[3];        /* mean, variance, count of discounted returns */
    int dim, stride;        /* numbers of a chunk's actions, of a plan */
    drl_replay rollout;     /* chunks; as act: x_K' .. x_0 */
    float *plans;           /* [2 envs] */
    float *v, *next_v, *advantage, *target, *old, *gain;
    uint32_t *order;
} drl_dppo;

/* Clone data for one epoch, bc_epochs times before fine-tuning; the first sets the data's range for
   good. Metric bc_loss is the mean loss.
     obs [rows, S], act [rows, A] in [-1, 1], ends [rows] not 0 in the last row of an episode
   Errors  DRL_ERR_SHAPE if no episode has `chunk` actions, DRL_ERR_NAN, the tape's. */
DRLDEF drl_status drl_dppo_pretrain(drl_dppo *d, int64_t rows, const float *obs, const float *act,
    const uint8_t *ends);
#endif

/* ====== >>tune
   DPPO's second half, the algorithm. */
#ifndef DIFFRL_NO_DPPO
/* Presets "paper", "cpu" (smaller), "scratch" (without data), "toy". Row r of act is
   environment r. Both modes sample, (K + 1) chunk act_dim normals a plan. */
DRL_ALGO_API(dppo)
#endif

/* ====== >>qvpo
   QVPO - Q-weighted variational policy optimization. */
#ifndef DIFFRL_NO_QVPO
typedef enum drl_qvpo_weight {
    DRL_QVPO_QADV, DRL_QVPO_QRELU, DRL_QVPO_QCUT, DRL_QVPO_QEXPN, DRL_QVPO_QCUT0N, DRL_QVPO_QCUT1N
} drl_qvpo_weight;

#define DRL_QVPO_CONFIG(X) \
    DRL_AGENT_CONFIG(X) \
    /* chain and candidates */ \
    X(INT, steps, 20, 1, DRL_STEPS_MAX, "T, denoising steps, cosine schedule") \
    X(INT, behavior, 4, 1, 4096, "K_b, candidates of an exploring action") \
    X(INT, target, 4, 1, 4096, "K_t, of a target's action (2, 1 are used too)") \
    X(INT, evaluation, 32, 1, 4096, "K_eval, of an action in evaluation") \
    X(INT, candidates, 64, 1, 4096, "N_d, in the actor's update; it learns the best") \
    X(INT, uniform, 10, 0, 4096, "N_e, uniform actions of a state, for entropy") \
    X(CHOICE, precision, DRL_FP32, 0, 0, \
      "fp32|bf16_sampling: of candidates' chains; for AMX, AVX512_BF16") \
    /* weights of actions */ \
    X(CHOICE, weight, DRL_QVPO_QADV, 0, 0, \
      "qadv|qrelu|qcut|qexpn|qcut0n|qcut1n: what is made of Q") \
    X(FLOAT, q_neg, 0, -1e9, 1e9, "of qrelu") \
    X(FLOAT, cut, 1, -1e9, 1e9, "of qcut") \
    X(FLOAT, beta, 1, 0, 1e9, "of qexpn, qcut0n, qcut1n") \
    X(FLOAT, entropy, 0.02, 0, 1e6, "alpha_0, weight of the uniform actions") \
    X(FLOAT, entropy_floor, 0.002, 0, 1e6, "least alpha") \
    X(INT64, entropy_steps, 1e6, 1, 1e15, "alpha falls in a line to 0 at this update") \
    /* networks and learning */ \
    X(INT, actor_width, 256, 1, 65536, "hidden width, three layers, Mish") \
    X(INT, critic_width, 256, 1, 65536, "hidden width, three layers, Mish") \
    X(FLOAT, gamma, 0.99, 0, 1, "discount") \
    X(FLOAT, tau, 0.005, 0, 1, "averaging of the targets") \
    X(INT, batch, 256, 1, 1 << 20, "rows of an update") \
    X(INT, policy_delay, 1, 1, 1000, "critic updates per actor update") \
    X(INT64, random_steps, 10000, 0, 1e12, "uniform actions before the first update") \
    X(FLOAT, lr_actor, 1e-4, 0, 1, "learning rate") \
    X(FLOAT, lr_critic, 3e-4, 0, 1, "learning rate") \
    X(FLOAT, adam_eps, 1e-5, 0, 1, "not small beside the actor's gradients") \
    X(FLOAT, clip_norm, 2, 0, 1e30, "of each gradient; 0: not cut") \
    X(BOOL, time_limit_terminal, 1, 0, 1, \
      "the time limit ends the value, as in the paper's code; preset cpu: no")
typedef struct drl_qvpo_config { DRL_QVPO_CONFIG(DRL_MEMBER) } drl_qvpo_config;

typedef struct drl_qvpo {
    drl_agent agent;
    drl_qvpo_config cfg;
    drl_params actor, actor_target, critic, critic_target, running;
    drl_denoiser eps, eps_target;
    drl_twin q;
    drl_tensor *score; /* running mean and deviation of Q, for qexpn and the like */
    drl_ddpm chain;
    drl_adam_config adam_actor, adam_critic;
    float *path;       /* [T + 1, K B, A] chains of all candidates */
    float *y;          /* [B] targets */
    float *act, *noise, *weight; /* the actor's rows: [(1 + N_e) B, A], same, [(1 + N_e) B] */
    int *time;         /* [(1 + N_e) B] t of each row */
} drl_qvpo;

/* Presets "paper", "cpu", "toy". */
DRL_ALGO_API(qvpo)
#endif

/* ====== >>algos
   All algorithms by name. */

/* Return algorithm 0, 1, 2, ..., or the one called name; the result's name is NULL if none. */
DRLDEF drl_algo drl_algo_at(int index);
DRLDEF drl_algo drl_algo_find(const char *name);

/* Those of your own files, made as examples/baselines; DIFFRL_MORE_ALGOS(X): X(sac) X(ppo). */
#ifdef DIFFRL_MORE_ALGOS
#define DRLI_ALGO_MORE(name) DRLDEF drl_algo drl_##name##_algo(void);
DIFFRL_MORE_ALGOS(DRLI_ALGO_MORE)
#endif

#ifdef __cplusplus
}
#endif
#endif /* DIFFRL_H */
#if defined(__INTELLISENSE__) && !defined(DIFFRL_IMPLEMENTATION)
#define DIFFRL_IMPLEMENTATION
#endif

#if defined(DIFFRL_IMPLEMENTATION) && !defined(DIFFRL_IMPLEMENTATION_DONE)
#define DIFFRL_IMPLEMENTATION_DONE

/* ====== >>config
   Platform, hooks, and the rules that keep the bits the same everywhere. */
#include <math.h>
#include <stdarg.h>
#include <string.h>

#if defined(DIFFRL_MALLOC) != defined(DIFFRL_FREE)
#error "diffrl.h: define both of DIFFRL_MALLOC(size) and DIFFRL_FREE(ptr), or none"
#endif
#ifndef DIFFRL_MALLOC
#include <stdlib.h>
#define DIFFRL_MALLOC(size) malloc(size)
#define DIFFRL_FREE(ptr) free(ptr)
#endif
#ifndef DIFFRL_ASSERT
#include <assert.h>
#define DIFFRL_ASSERT(x) assert(x)
#endif

/* The vector paths that can be compiled; chosen at run time. */
#if !defined(DIFFRL_NO_SIMD) && (defined(__GNUC__) || defined(__clang__))
#if defined(__x86_64__)
#include <immintrin.h>
#define DRLI_X86 1
#define DRLI_AVX2 __attribute__((target("avx2,fma")))
#if defined(__clang__)
#define DRLI_AVX512 \
    __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma"), min_vector_width(512)))
#else
#define DRLI_AVX512 \
    __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,prefer-vector-width=512")))
#endif
#if defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11
#include <cpuid.h>
#define DRLI_BF16 __attribute__((target("amx-tile,amx-bf16,avx512bf16")))
#endif
#elif defined(__aarch64__)
#include <arm_neon.h>
#define DRLI_NEON 1
#endif
#endif

/* Every rounding is written out: no a*b+c may be fused, no sum reordered. gcc obeys the pragma even
   at -Ofast; clang cannot be held to it. */
#if defined(__clang__)
#if defined(__FAST_MATH__) && !defined(DIFFRL_ALLOW_FAST_MATH)
#error "diffrl.h: clang -ffast-math changes results; leave it out or define DIFFRL_ALLOW_FAST_MATH"
#endif
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC push_options
#ifdef __OPTIMIZE__ /* what does not compute is compiled in half the time */
#define DRLI_HOT _Pragma("GCC optimize(\"O2\", \"tree-loop-vectorize\")") \
    _Pragma("GCC optimize(\"unswitch-loops\", \"vect-cost-model=dynamic\")")
#define DRLI_COLD _Pragma("GCC optimize(\"O1\", \"no-tree-loop-vectorize\")")
#endif
#pragma GCC optimize("fp-contract=off", "no-fast-math", "no-trapping-math", "no-math-errno")
#endif
#ifndef DRLI_HOT
#define DRLI_HOT
#define DRLI_COLD
#endif
DRLI_HOT

/* DRLI_INDEPENDENT: before a loop whose arrays are equal or apart, no test for overlap. */
#if defined(__GNUC__) || defined(__clang__)
#define DRLI_INLINE static inline __attribute__((always_inline))
#define DRLI_TILE_FN __attribute__((no_sanitize("address", "undefined")))
#define DRLI_FETCH(p) __builtin_prefetch((void *)(p))
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function" /* of algorithms left out */
#pragma GCC diagnostic ignored "-Wredundant-decls"
#pragma GCC diagnostic ignored "-Wunused-parameter"
extern __typeof__(sqrtf) sqrtf __attribute__((const)); /* vectorizes: nobody looks at errno */
#else
#define DRLI_INLINE static inline
#define DRLI_TILE_FN
#define DRLI_FETCH(p) ((void)(p))
#endif
#define DRLI_PRAGMA(x) _Pragma(#x)
#if defined(__clang__)
#define DRLI_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#define DRLI_UNROLL(how, n) DRLI_PRAGMA(clang loop how)
#pragma clang diagnostic ignored "-Wpass-failed" /* loops where it cannot do so */
#elif defined(__GNUC__)
#define DRLI_INDEPENDENT _Pragma("GCC ivdep")
#define DRLI_UNROLL(how, n) DRLI_PRAGMA(GCC unroll n)
#else
#define DRLI_INDEPENDENT
#define DRLI_UNROLL(how, n)
#endif

/* DRLI_KERNEL(name, (n, x, y), size_t n, const float *x, float *y) { ... } compiles the loop in
   braces once per instruction set, vectorized; drli_<name>(isa, n, x, y) picks one. fmaf is written
   out in the loop, so all copies round alike. */
#if defined(DRLI_X86)
#define DRLI_KERNEL_ISAS(name, ARGS, ...) \
    DRLI_AVX512 static void drli_##name##_avx512(__VA_ARGS__) { drli_##name##_body ARGS; } \
    DRLI_AVX2 static void drli_##name##_avx2(__VA_ARGS__) { drli_##name##_body ARGS; }
#define DRLI_KERNEL_PICK(name, ARGS) \
    if (isa == DRL_ISA_AVX512) drli_##name##_avx512 ARGS; \
    else if (isa == DRL_ISA_AVX2) drli_##name##_avx2 ARGS; \
    else
#else
#define DRLI_KERNEL_ISAS(name, ARGS, ...)
#define DRLI_KERNEL_PICK(name, ARGS)
#endif
#define DRLI_KERNEL(name, ARGS, ...) \
    DRLI_INLINE void drli_##name##_body(__VA_ARGS__); \
    DRLI_KERNEL_ISAS(name, ARGS, __VA_ARGS__) \
    static void drli_##name(int isa, __VA_ARGS__) \
    { \
        DRLI_KERNEL_PICK(name, ARGS) drli_##name##_body ARGS; \
    } \
    DRLI_INLINE void drli_##name##_body(__VA_ARGS__)

#define DRLI_AT(r, n) ((size_t)(r) * (size_t)(n))
#define DRLI_MIN(a, b) ((a) < (b) ? (a) : (b))
#define DRLI_MAX(a, b) ((a) > (b) ? (a) : (b))
#define DRLI_COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

#ifdef __cplusplus
extern "C" {
#endif

/* ====== >>memory
   Text, log, allocator, arena, threads, context. */

const char *drl_status_string(drl_status status)
{
#define DRLI_STATUS_TEXT(name, value, text) case name: return text;
    switch (status) { DRL_STATUS_LIST(DRLI_STATUS_TEXT) }
    return "unknown status";
}

/* Text in a fixed buffer; cuts what does not fit. Unlike printf's, numbers ignore the locale. */
typedef struct drli_text {
    char *at, *end; /* end is the last place of the terminating zero */
    size_t length;  /* as if nothing were cut */
} drli_text;

static drli_text drli_text_begin(char *buffer, size_t size)
{
    drli_text t = {buffer, buffer + size - 1, 0};
    *buffer = 0;
    return t;
}

static void drli_text_char(drli_text *t, char c)
{
    t->length++;
    if (t->at == t->end) return;
    *t->at++ = c;
    *t->at = 0;
}

static void drli_text_add(drli_text *t, const char *s) { while (*s) drli_text_char(t, *s++); }

static void drli_text_int(drli_text *t, int64_t v)
{
    char digits[20];
    int n = 0;
    uint64_t u = v < 0 ? 0u - (uint64_t)v : (uint64_t)v;
    if (v < 0) drli_text_char(t, '-');
    do digits[n++] = (char)('0' + (int)(u % 10)); while (u /= 10);
    while (n) drli_text_char(t, digits[--n]);
}

/* Multiply hi + lo, about 100 bits, by 10^e, |e| < 512, with powers of ten as two doubles. */
static void drli_scale10(double *hi, double *lo, int e)
{
    static const double p[9][2] = {
        {1e1, 0}, {1e2, 0}, {1e4, 0}, {1e8, 0}, {1e16, 0}, {1e32, -5366162204393472.0},
        {1e64, -2.1320419009454396e+47}, {1e128, -7.51744869165182e+111},
        {1e256, -3.012765990014054e+239}};
    int i, n = e < 0 ? -e : e;
    for (i = 8; i >= 0; i--) {
        double a = *hi, b = p[i][0], q, r;
        if (!((n >> i) & 1)) continue;
        q = e < 0 ? a / b : a * b;
        if (q > 1.7976931348623157e308) { *hi = q; *lo = 0; return; }
        if (e < 0) r = (fma(-q, b, a) + (*lo - q * p[i][1])) / b;
        else r = fma(a, b, -q) + (*lo * b + a * p[i][1]);
        *hi = q + r;
        *lo = r - (*hi - q);
    }
}

/* As "%.<digits>g" without trailing zeros, digits 1 .. 17, correctly rounded but for ties; with an
   exponent below 1e-5 and from 1e15 (1e17 with 17 digits) on. */
static void drli_text_double(drli_text *t, double v, int digits)
{
    char d[20];
    int i, e, point, n = digits;
    uint64_t u, limit = 1;
    if (v < 0 || (v == 0 && 1 / v < 0)) { drli_text_char(t, '-'); v = -v; }
    if (!(v > 0 && v <= 1.7976931348623157e308)) {
        drli_text_add(t, v > 0 ? "inf" : v == 0 ? "0" : "nan");
        return;
    }
    for (i = 1; i < digits; i++) limit *= 10;
    for (e = (int)floor(log10(v));; e += u < limit ? -1 : 1) { /* log10 may be one off */
        double hi = v, lo = 0, whole;
        drli_scale10(&hi, &lo, digits - 1 - e);
        whole = floor(hi);
        u = (uint64_t)whole + (uint64_t)(int64_t)floor(hi - whole + lo + 0.5);
        if (u >= limit && u / 10 < limit) break;
    }
    for (; n > 1 && u % 10 == 0; n--) u /= 10;
    for (i = n; i > 0; u /= 10) d[--i] = (char)('0' + (int)(u % 10));
    point = e < -5 || e >= DRLI_MAX(digits, 15) ? 0 : e; /* behind which digit it stands */
    for (i = DRLI_MIN(point, 0); i < n || i <= point; i++) {
        drli_text_char(t, (char)(i >= 0 && i < n ? d[i] : '0'));
        if (i == point && i + 1 < n) drli_text_char(t, '.');
    }
    if (point == e) return;
    drli_text_char(t, 'e');
    drli_text_int(t, e);
}

/* Append at most 64 letters of s, printable ASCII only. */
static void drli_text_quote(drli_text *t, const char *s)
{
    const char *end = s + 64;
    for (; s < end && *s; s++) drli_text_char(t, (char)(*s >= 32 && *s < 127 ? *s : '?'));
}

/* A small printf: %s, %q (quote), %d (int), %l (int64_t), %g (double, 9 digits). */
static void drli_text_vadd(drli_text *t, const char *format, va_list args)
{
    for (; *format; format++) {
        if (*format != '%') { drli_text_char(t, *format); continue; }
        switch (*++format) {
        case 's': drli_text_add(t, va_arg(args, const char *)); break;
        case 'q': drli_text_quote(t, va_arg(args, const char *)); break;
        case 'd': drli_text_int(t, va_arg(args, int)); break;
        case 'l': drli_text_int(t, va_arg(args, int64_t)); break;
        case 'g': drli_text_double(t, va_arg(args, double), 9); break;
        }
    }
}

static void drli_text_addf(drli_text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    drli_text_vadd(t, format, args);
    va_end(args);
}

#define DRLI_NAME 96

/* A name by a format, to buffer [DRLI_NAME]. */
static const char *drli_name(char *buffer, const char *format, ...)
{
    va_list args;
    drli_text t = drli_text_begin(buffer, DRLI_NAME);
    va_start(args, format);
    drli_text_vadd(&t, format, args);
    va_end(args);
    return buffer;
}

static drl_status drli_fail(drl_context *ctx, drl_status status, const char *format, ...)
{
    va_list args;
    drli_text t = drli_text_begin(ctx->message, sizeof(ctx->message));
    va_start(args, format);
    drli_text_vadd(&t, format, args);
    va_end(args);
    ctx->status = status;
    if (ctx->cfg.log_fn) ctx->cfg.log_fn(ctx->cfg.log_user, DRL_LOG_ERROR, status, ctx->message);
    return status;
}

const char *drl_context_error(const drl_context *ctx) { return ctx->message; }

/* The block's address stands before the aligned pointer. */
void *drl_memory_alloc(drl_context *ctx, size_t size)
{
    const drl_allocator *a = &ctx->cfg.allocator;
    size_t total = size + 64 + sizeof(void *);
    unsigned char *raw = NULL, *p;
    if (size < SIZE_MAX / 2)
        raw = (unsigned char *)(a->alloc_fn ? a->alloc_fn(total, a->user) : DIFFRL_MALLOC(total));
    if (!raw) {
        drli_fail(ctx, DRL_ERR_MEMORY, "drl_memory_alloc: the allocator has no %l bytes (held now: "
            "%l); use smaller networks, batch or replay", (int64_t)size, (int64_t)ctx->bytes);
        return NULL;
    }
    p = raw + sizeof(void *);
    p += (64 - (uintptr_t)p % 64) % 64;
    memcpy(p - sizeof(void *), &raw, sizeof(void *));
    memset(p, 0, size);
    ctx->allocations++;
    ctx->bytes += size;
    ctx->bytes_peak = DRLI_MAX(ctx->bytes, ctx->bytes_peak);
    return p;
}

void drl_memory_free(drl_context *ctx, void *ptr, size_t size)
{
    const drl_allocator *a = &ctx->cfg.allocator;
    void *raw;
    if (!ptr) return;
    memcpy(&raw, (unsigned char *)ptr - sizeof(void *), sizeof(void *));
    ctx->bytes -= size;
    if (a->free_fn) a->free_fn(raw, size + 64 + sizeof(void *), a->user);
    else DIFFRL_FREE(raw);
}

typedef struct drli_block {
    struct drli_block *next; /* older */
    size_t size, used;       /* of the payload, 64 bytes after the block */
} drli_block;

static drl_status drli_arena_grow(drl_arena *arena, size_t size)
{
    drli_block *b = (drli_block *)drl_memory_alloc(arena->ctx, size + 64);
    if (!b) return DRL_ERR_MEMORY;
    b->next = arena->block, b->size = size;
    arena->block = b;
    return DRL_OK;
}

drl_status drl_arena_init(drl_arena *arena, drl_context *ctx, size_t size)
{
    memset(arena, 0, sizeof(*arena));
    arena->ctx = ctx;
    return size ? drli_arena_grow(arena, size) : DRL_OK;
}

void *drl_arena_alloc(drl_arena *arena, size_t n)
{
    drli_block *b = arena->block;
    void *p;
    n = DRLI_MIN(n, SIZE_MAX - 200); /* does not wrap, is refused below */
    n = (n + 63) / 64 * 64;
    if (!b || b->size - b->used < n) {
        size_t size = b ? 2 * b->size : 65536;
        if (drli_arena_grow(arena, DRLI_MAX(size, n))) return NULL;
        b = arena->block;
    }
    p = (unsigned char *)b + 64 + b->used;
    b->used += n;
    arena->used += n;
    arena->peak = DRLI_MAX(arena->used, arena->peak);
    return p;
}

static void drli_arena_drop(drl_arena *arena)
{
    while (arena->block) {
        drli_block *b = arena->block;
        arena->block = b->next;
        drl_memory_free(arena->ctx, b, b->size + 64);
    }
}

void drl_arena_reset(drl_arena *arena)
{
    if (arena->block && arena->block->next) { /* merge */
        drli_arena_drop(arena);
        drli_arena_grow(arena, arena->peak); /* if it fails, the next alloc reports */
    } else if (arena->block) {
        arena->block->used = 0;
    }
    arena->used = 0;
}

drl_arena_mark drl_arena_save(const drl_arena *arena)
{
    drl_arena_mark mark = {arena->block, arena->block ? arena->block->used : 0, arena->used};
    return mark;
}

/* A block added after the mark stays and starts anew. */
void drl_arena_release(drl_arena *arena, drl_arena_mark mark)
{
    drli_block *b = arena->block;
    for (; b && b != mark.block; b = b->next) b->used = 0;
    if (b) b->used = mark.block_used;
    arena->used = mark.used;
}

void drl_arena_free(drl_arena *arena)
{
    drli_arena_drop(arena);
    memset(arena, 0, sizeof(*arena));
}

/* The worker threads; the caller is worker 0. `ticket` is the number of the task, times 2048, plus
   its pieces that nobody has taken: who is awake takes one after the other. Idle ones spin for
   300 us before they sleep. */
#if !defined(DIFFRL_NO_THREADS) && (defined(__GNUC__) || defined(__clang__)) && \
    (defined(__unix__) || defined(__APPLE__))
#define DRLI_THREADS 1
#include <pthread.h>
#include <sched.h>
#define DRLI_SPIN 20000
#define DRLI_LOAD(x) __atomic_load_n(&(x), __ATOMIC_SEQ_CST)

typedef struct drli_pool {
    pthread_mutex_t mutex; /* only for sleeping */
    pthread_cond_t wake;
    unsigned ticket;       /* atomic */
    int pending;           /* atomic: pieces not finished */
    int sleepers;          /* atomic, written under the mutex */
    int workers;           /* atomic: how many took their number */
    int started, stop;
    drl_task_fn fn;        /* the task: fn over [0, n) in `pieces` pieces */
    void *arg;
    int n, pieces;
    pthread_t threads[1];  /* and more */
} drli_pool;

DRLI_INLINE void drli_pause(int round)
{
    if (round % 64 == 63) { sched_yield(); return; }
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* Piece p, a fixed one. */
static void drli_pool_piece(drli_pool *pool, int p, int worker)
{
    const int64_t n = pool->n, pieces = pool->pieces;
    pool->fn(pool->arg, (int)(n * p / pieces), (int)(n * (p + 1) / pieces), worker);
    __atomic_sub_fetch(&pool->pending, 1, __ATOMIC_RELEASE);
}

/* Take pieces until none is left. The task cannot end before what was taken. */
static void drli_pool_work(drli_pool *pool, int worker)
{
    unsigned t = DRLI_LOAD(pool->ticket);
    while (t % 2048) {
        if (__atomic_compare_exchange_n(&pool->ticket, &t, t - 1, 0, __ATOMIC_ACQ_REL,
                __ATOMIC_ACQUIRE)) {
            drli_pool_piece(pool, (int)(t % 2048) - 1, worker);
            t = DRLI_LOAD(pool->ticket);
        }
    }
}

static void *drli_pool_main(void *arg)
{
    drli_pool *pool = (drli_pool *)arg;
    int i, self = __atomic_add_fetch(&pool->workers, 1, __ATOMIC_RELAXED);
    unsigned seen = 0;
    for (;;) {
        for (i = 0; i < DRLI_SPIN && DRLI_LOAD(pool->ticket) / 2048 == seen; i++) drli_pause(i);
        if (i == DRLI_SPIN) {
            pthread_mutex_lock(&pool->mutex);
            __atomic_add_fetch(&pool->sleepers, 1, __ATOMIC_SEQ_CST);
            while (DRLI_LOAD(pool->ticket) / 2048 == seen)
                pthread_cond_wait(&pool->wake, &pool->mutex);
            __atomic_sub_fetch(&pool->sleepers, 1, __ATOMIC_SEQ_CST);
            pthread_mutex_unlock(&pool->mutex);
        }
        seen = DRLI_LOAD(pool->ticket) / 2048;
        if (DRLI_LOAD(pool->stop)) return NULL;
        drli_pool_work(pool, self);
    }
}

/* Publish pieces of the task (0: the stop). A worker that goes to sleep counts itself before its
   last look at ticket: either it sees the new one or we see the sleeper. */
static void drli_pool_start(drli_pool *pool, int pieces)
{
    __atomic_store_n(&pool->ticket, (pool->ticket / 2048 + 1) * 2048 + (unsigned)pieces,
        __ATOMIC_SEQ_CST);
    if (DRLI_LOAD(pool->sleepers) > 0) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->mutex);
    }
}

static size_t drli_pool_size(const drl_context *ctx)
{
    return sizeof(drli_pool) + (size_t)ctx->cfg.threads * sizeof(pthread_t);
}

static void drli_pool_free(drl_context *ctx)
{
    drli_pool *pool = ctx->pool;
    if (!pool) return;
    __atomic_store_n(&pool->stop, 1, __ATOMIC_RELAXED);
    drli_pool_start(pool, 0);
    while (pool->started > 0) pthread_join(pool->threads[--pool->started], NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    drl_memory_free(ctx, pool, drli_pool_size(ctx));
    ctx->pool = NULL;
}

static drl_status drli_pool_init(drl_context *ctx)
{
    drli_pool *pool = (drli_pool *)drl_memory_alloc(ctx, drli_pool_size(ctx));
    if (!pool) return DRL_ERR_MEMORY;
    ctx->pool = pool;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    for (; pool->started < ctx->cfg.threads - 1; pool->started++) {
        if (pthread_create(&pool->threads[pool->started], NULL, drli_pool_main, pool)) {
            return drli_fail(ctx, DRL_ERR_MEMORY, "drl_context_init: the system gave %d of %d "
                "threads; set threads lower", pool->started + 1, ctx->cfg.threads);
        }
    }
    return DRL_OK;
}

static void drli_pool_run(drli_pool *pool, int n, int pieces, drl_task_fn fn, void *arg)
{
    int i;
    pool->fn = fn, pool->arg = arg, pool->n = n;
    pool->pieces = pool->pending = pieces;
    drli_pool_start(pool, pieces - 1);
    drli_pool_piece(pool, pieces - 1, 0); /* always these rows: in this core's cache */
    drli_pool_work(pool, 0);
    for (i = 0; DRLI_LOAD(pool->pending) > 0; i++) {
        drli_pause(i < DRLI_SPIN ? i : 63); /* long wait: leave the core */
    }
}
#else
static drl_status drli_pool_init(drl_context *ctx)
{
    return drli_fail(ctx, DRL_ERR_RANGE, "drl_context_init: threads is %d, but this build has no "
        "threads; set threads to 1, give parallel_fn, or leave out DIFFRL_NO_THREADS",
        ctx->cfg.threads);
}

static void drli_pool_free(drl_context *ctx) {}
#endif

void drl_parallel_for(drl_context *ctx, int n, int grain, drl_task_fn fn, void *arg)
{
    int pieces = DRLI_MIN(n / DRLI_MAX(grain, 1), ctx->cfg.threads);
    if (n <= 0) return;
    if (pieces > 1 && ctx->cfg.parallel_fn)
        ctx->cfg.parallel_fn(ctx->cfg.parallel_user, n, pieces, fn, arg);
#if defined(DRLI_THREADS)
    else if (pieces > 1 && ctx->pool)
        drli_pool_run(ctx->pool, n, grain ? pieces : DRLI_MIN(n, 2047), fn, arg);
#endif
    else fn(arg, 0, n, 0);
}

drl_context_config drl_context_config_default(void)
{
    drl_context_config cfg;
    memset(&cfg, 0, sizeof(cfg));
    cfg.threads = 1;
    return cfg;
}

static int drli_isa_supported(int isa)
{
#if defined(DRLI_X86)
    int avx2, avx512;
    __builtin_cpu_init();
    avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
    if ((isa == DRL_ISA_AVX2 && avx2) || (isa == DRL_ISA_AVX512 && avx512)) return 1;
#elif defined(DRLI_NEON)
    if (isa == DRL_ISA_NEON) return 1;
#endif
    return isa == DRL_ISA_SCALAR;
}

/* Linux lends AMX's tiles on arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA). */
static int drli_bf16_ways(drl_context *ctx)
{
    int found = 0;
    if (ctx->bf16 >= 0) return ctx->bf16;
#if defined(DRLI_BF16)
    found = !!__builtin_cpu_supports("avx512bf16");
#if defined(__linux__)
    unsigned a, b, c, d;
    long failed = 158;
    if (found && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 22 & 5) == 5) {
        __asm__ volatile("syscall" : "+a"(failed) : "D"(0x1023L), "S"(18L) : "rcx", "r11");
        if (!failed) found = 2;
    }
#endif
#endif
    return ctx->bf16 = found;
}

/* Each worker packs DRLI_PANELS floats of B and DRLI_MC rows of A or A' (>>kernels). */
#define DRLI_PANELS 131072
#define DRLI_MC 48
#define DRLI_KC 256
#define DRLI_BLOCK (DRLI_PANELS + DRLI_MC * (2 * DRLI_KC + 16))

static void drli_context_stop(drl_context *ctx)
{
    drli_pool_free(ctx);
    drl_memory_free(ctx, ctx->scratch, ctx->scratch_size);
    ctx->scratch = NULL;
}

drl_status drl_context_init(drl_context *ctx, const drl_context_config *cfg)
{
    int isa, threads;
    memset(ctx, 0, sizeof(*ctx));
    ctx->cfg = cfg ? *cfg : drl_context_config_default();
    threads = ctx->cfg.threads;
    if (threads < 1 || threads > 1024)
        return drli_fail(ctx, DRL_ERR_RANGE, "drl_context_init: threads is %d, expected 1 to 1024",
            threads);
    if (!ctx->cfg.allocator.alloc_fn != !ctx->cfg.allocator.free_fn)
        return drli_fail(ctx, DRL_ERR_RANGE, "drl_context_init: the allocator has one of alloc_fn "
            "and free_fn; set both or none");
    ctx->isa = (int)ctx->cfg.isa;
    for (isa = DRL_ISA_AVX512; ctx->isa == DRL_ISA_AUTO; isa--)
        if (drli_isa_supported(isa)) ctx->isa = isa;
    if (!drli_isa_supported(ctx->isa))
        return drli_fail(ctx, DRL_ERR_RANGE, "drl_context_init: this CPU or build has no isa %d "
            "(DRL_ISA_*); use DRL_ISA_AUTO", ctx->isa);
    ctx->bf16 = ctx->isa == DRL_ISA_AVX512 ? -1 : 0;
    ctx->scratch_size = (size_t)threads * DRLI_BLOCK * sizeof(float);
    ctx->scratch = drl_memory_alloc(ctx, ctx->scratch_size);
    if (ctx->scratch && threads > 1 && !ctx->cfg.parallel_fn && drli_pool_init(ctx))
        drli_context_stop(ctx); /* the message stays */
    return ctx->status;
}

void drl_context_free(drl_context *ctx)
{
    drli_context_stop(ctx);
    memset(ctx, 0, sizeof(*ctx));
}

/* ====== >>text
   Numbers that come back as they went, in any locale; nearest words. */

static int drli_is_digit(char c) { return c >= '0' && c <= '9'; }

/* Read a decimal number, [+-] digits [. digits] [e [+-] digits], and give the place after it.
   Returns 0 if there is none. Too large gives inf. Correctly rounded, but for digits after the 19th
   and ties closer than 2^-90. */
static int drli_parse_double(const char *s, const char **end, double *out)
{
    uint64_t m = 0, whole;
    double hi, lo, unit = 1;
    int e = 0, n = 0, digits = 0, point = 0, negative = *s == '-';
    for (s += *s == '-' || *s == '+'; drli_is_digit(*s) || (*s == '.' && !point); s++) {
        if (*s == '.') { point = 1; continue; }
        digits = 1;
        if (m < (uint64_t)1000000000 * 1000000000) {
            m = m * 10 + (uint64_t)(*s - '0');
            e -= point;
        } else {
            e += !point;
        }
    }
    if (!digits) return 0;
    *end = s;
    if (*s == 'e' || *s == 'E') {
        const char *t = s + 1;
        t += *t == '-' || *t == '+';
        for (; drli_is_digit(*t); *end = ++t) n = n < 100000 ? n * 10 + (*t - '0') : n;
        e += s[1] == '-' ? -n : n;
    }
    if (e < 0) unit = 1.6069380442589903e60; /* 2^200 keeps lo out of the subnormal numbers */
    whole = (uint64_t)(double)m;
    hi = (double)m * unit;
    lo = (double)(int64_t)(m - whole) * unit;
    drli_scale10(&hi, &lo, DRLI_MAX(-400, DRLI_MIN(400, e)));
    *out = (negative ? -hi : hi) / unit;
    return 1;
}

/* Append the shortest text that reads back as the same float (single is 1) or double. */
static void drli_text_shortest(drli_text *t, double v, int single)
{
    char s[40];
    const char *end;
    double back;
    int digits = 0;
    do {
        drli_text b = drli_text_begin(s, sizeof(s));
        drli_text_double(&b, v, ++digits);
    } while (digits < 17 && drli_parse_double(s, &end, &back) && (single ? (float)back != (float)v :
        back != v));
    drli_text_add(t, s);
}

static int drli_fold(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A' + 'a';
    return c == '-' ? '_' : c;
}

static int drli_words_equal(const char *a, const char *b)
{
    while (*a && drli_fold(*a) == drli_fold(*b)) { a++; b++; }
    return !*a && !*b;
}

/* Edit distance of the first 63 letters: row[j] is the cost of turning the letters of a so far into
   the first j of b (Wagner and Fischer 1974). */
static int drli_words_distance(const char *a, const char *b)
{
    int row[64], i, j;
    for (j = 0; j < 64; j++) row[j] = j;
    for (i = 1; i < 64 && a[i - 1]; i++) {
        int corner = i - 1;
        row[0] = i;
        for (j = 1; j < 64 && b[j - 1]; j++) {
            int best = corner + (drli_fold(a[i - 1]) != drli_fold(b[j - 1]));
            corner = row[j];
            row[j] = DRLI_MIN(best, 1 + DRLI_MIN(row[j], row[j - 1]));
        }
    }
    return row[DRLI_MIN(strlen(b), 63)];
}

/* Take `word` as the new best if it is nearer to `wanted`, and near at all: at most half of the
   longer word's letters change. */
static void drli_words_nearer(const char *wanted, const char *word, const char **best, int *least)
{
    size_t length = DRLI_MIN(63, DRLI_MAX(strlen(wanted), strlen(word)));
    int d = drli_words_distance(wanted, word);
    if (2 * (size_t)d > length || (*best && d >= *least)) return;
    *best = word;
    *least = d;
}

const char *drl_text_nearest(const char *word, const char *const *words, int n)
{
    const char *best = NULL;
    int i, least = 0;
    for (i = 0; i < n; i++) drli_words_nearer(word, words[i], &best, &least);
    return best;
}

/* ====== >>math
   Branch-free, so that loops vectorize: both sides of a case are computed, one is selected.
   Polynomials are minimax fits (relative error of the result), coefficients rounded to float one
   after the other. */

DRLI_INLINE uint32_t drli_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof(u));
    return u;
}

DRLI_INLINE float drli_float(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof(x));
    return x;
}

DRLI_INLINE float drli_absf(float x) { return drli_float(drli_bits(x) & 0x7fffffffu); }

static int drli_finite(float x) { return fabsf(x) <= 3.4028235e38f; }

/* |x| with the sign of s; x must not be negative */
DRLI_INLINE float drli_signf(float x, float s)
{
    return drli_float(drli_bits(x) | (drli_bits(s) & 0x80000000u));
}

/* nan stays nan */
DRLI_INLINE float drli_clampf(float x, float low, float high)
{
    x = x > high ? high : x;
    return x < low ? low : x;
}

/* The same for low < 0 < high by two integer instructions; nan becomes a bound. */
DRLI_INLINE float drli_clamp_bits(float x, float low, float high)
{
    uint32_t u = drli_bits(x), end = drli_bits(low);
    int32_t i, top = (int32_t)drli_bits(high);
    u = u < end ? u : end;
    i = (int32_t)u;
    i = i < top ? i : top;
    return drli_float((uint32_t)i);
}

/* (((p x + a) x + b) x + c) x + d */
DRLI_INLINE float drli_horner(float x, float p, float a, float b, float c, float d)
{
    return fmaf(fmaf(fmaf(fmaf(p, x, a), x, b), x, c), x, d);
}

#define DRLI_NAN drli_float(0x7fc00000u)
#define DRLI_INF drli_float(0x7f800000u)

/* adding 1.5 * 2^23 rounds to an integer in the low bits */
#define DRLI_ROUND 12582912.0f

/* exp(r) - 1 for |r| <= log(2) / 2, relative error 2^-26 */
DRLI_INLINE float drli_expm1_near(float r)
{
    float p = drli_horner(r, 0.001386831631f, 0.008366423659f, 0.04166746512f, 0.1666654497f,
        0.4999999702f);
    return fmaf(r * r, p, r);
}

/* exp(x) = (1 + q) 2^n for |x| <= 110: x = n log(2) + r */
typedef struct drli_parts {
    float q;
    uint32_t n; /* its lowest bits */
} drli_parts;

DRLI_INLINE drli_parts drli_exp_parts(float x)
{
    float t = fmaf(x, 1.44269504f, DRLI_ROUND), n = t - DRLI_ROUND;
    drli_parts s = {0, drli_bits(t)};
    s.q = drli_expm1_near(fmaf(n, 1.904654212e-9f, fmaf(n, -0.693147182f, x)));
    return s;
}

/* 2^n for -127 < n < 128; 0 for -127 */
DRLI_INLINE float drli_power(uint32_t n) { return drli_float((n << 23) + 0x3f800000u); }

/* exp(x) for -88 <= x <= 88; 0 below 2^-126.5 */
DRLI_INLINE float drli_exp_inside(float x)
{
    drli_parts s = drli_exp_parts(x);
    float a = drli_power(s.n);
    return fmaf(a, s.q, a);
}

DRLI_INLINE float drli_expf(float x)
{
    drli_parts s = drli_exp_parts(drli_clamp_bits(x, -110.0f, 89.0f));
    float a = drli_power(s.n >> 1); /* 2^n in two steps: its range is larger */
    float y = fmaf(a, s.q, a) * drli_power(s.n - (s.n >> 1));
    return x <= 89.0f ? y : x + DRLI_INF; /* nan stays nan */
}

DRLI_INLINE float drli_exp_decay(float x) /* exp(-|x|) */
{
    float a = drli_absf(x);
    return drli_exp_inside(a > 88.0f ? -88.0f : -a);
}

/* log(x) of a normal positive x: x = 2^k (1 + f), sqrt(1/2) <= 1 + f < sqrt(2) */
DRLI_INLINE float drli_log_normal(float x)
{
    uint32_t u = drli_bits(x), k = (u - 0x3f3504f3u + 0x40000000u) >> 23; /* biased by 128 */
    float n = (float)((int32_t)k - 128), f = drli_float(u - ((k - 128u) << 23)) - 1.0f;
    float p = drli_horner(f, -0.07636403292f, 0.1276220083f, -0.1315961331f, 0.1420158148f,
        -0.1662340909f);
    p = drli_horner(f, p, 0.2000124156f, -0.2500081956f, 0.3333333135f, -0.5f);
    p = fmaf(f * f, p, n * -1.904654212e-9f);
    return fmaf(n, 0.693147182f, f + p);
}

DRLI_INLINE float drli_logf(float x)
{
    float small = x < 1.17549435e-38f ? 1.0f : 0.0f; /* subnormal: scale by 2^24 */
    float y = drli_log_normal(small > 0.0f ? x * 16777216.0f : x) - small * 16.6355323f;
    y = x == 0.0f ? -DRLI_INF : y;
    y = x < 0.0f ? DRLI_NAN : y;
    return x < DRLI_INF ? y : x; /* inf and nan */
}

/* tanh(a) = e / (e + 2), e = exp(2 a) - 1 = 2^n (exp(r) - 1) + 2^n - 1, without cancellation */
DRLI_INLINE float drli_tanhf(float x)
{
    float a = drli_absf(x), scale, e;
    drli_parts s = drli_exp_parts(a > 10.0f ? 20.0f : a + a);
    scale = drli_power(s.n);
    e = fmaf(scale, s.q, scale - 1.0f);
    return drli_signf(e / (e + 2.0f), x);
}

DRLI_INLINE float drli_sigmoidf(float x)
{
    float e = drli_exp_decay(x);
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

/* max(x, 0) + log(1 + e), e = exp(-|x|); log(1 + e) = 2 atanh(u / 2), u = 2 e / (2 + e) */
DRLI_INLINE float drli_softplusf(float x)
{
    float e = drli_exp_decay(x), u = (e + e) / (2.0f + e), v = u * u;
    float p = fmaf(0.0005470081815f, v, 0.0021877361f);
    p = fmaf(fmaf(p, v, 0.01250669919f), v, 0.08333302289f);
    return (x < 0.0f ? 0.0f : x) + fmaf(u * v, p, u);
}

/* tanh(log(1 + e)) = e (e + 2) / (e (e + 2) + 2), e = exp(x); one exp and one division. In the sums
   any e < 2^-30 will do. */
DRLI_INLINE float drli_mishf(float x)
{
    float c = drli_clamp_bits(x, -88.0f, 20.0f), a, e, g;
    drli_parts s = drli_exp_parts(c);
    a = drli_power(s.n);
    e = fmaf(a, s.q, a), g = e + 2.0f;
    return x <= 20.0f ? fmaf(c, s.q, c) * a * (g / fmaf(e, g, 2.0f)) : x;
}

/* (tanh(softplus(z)) z)' = e ((e + 2) (q + 2) + 4 z (e + 1)) / (q + 2)^2, q = e (e + 2) */
DRLI_INLINE float drli_mish_slope(float z)
{
    float c = drli_clamp_bits(z, -88.0f, 20.0f), e = drli_exp_inside(c), g = e + 2.0f;
    float d = fmaf(e, g, 2.0f);
    return e * fmaf(g, d, 4.0f * c * (e + 1.0f)) / (d * d);
}

/* x / (1 + exp(-w)), w = x (c0 + c1 x^2). Far left the relative error is the absolute one of w:
   c0 + c1 x^2, times log2(e), is carried as hi + lo. 0 left of -10.02. */
DRLI_INLINE float drli_geluf(float x)
{
    float a = drli_clamp_bits(drli_absf(x), -10.03f, 10.03f), a2 = a * a, hi, lo, t, n, q;
    hi = fmaf(0.102943242f, a2, 2.30220795f);
    lo = fmaf(0.102943242f, a2, 2.30220795f - hi); /* exact */
    lo = fmaf(0.102943242f, fmaf(a, a, -a2), lo) + fmaf(-2.01619854e-9f, a2, 2.5136697e-7f);
    t = fmaf(-a, hi, DRLI_ROUND);
    n = t - DRLI_ROUND;
    q = drli_expm1_near(fmaf(-a, lo, fmaf(-a, hi, -n)) * 0.693147182f);
    n = drli_power(drli_bits(t));
    return (x < 0.0f ? fmaf(-a, q, -a) * n : x) / (fmaf(n, q, n) + 1.0f);
}

/* s + z s (1 - s) w', s = 1 / (1 + exp(-w)), w' = c0 + 3 c1 z^2; 0 left of -8 (-5e-20): no
   subnormal gradients. */
DRLI_INLINE float drli_gelu_slope(float z)
{
    float a = drli_clamp_bits(drli_absf(z), -8.0f, 8.0f), a2 = a * a;
    float e = drli_exp_inside(a * fmaf(-0.0713548163f, a2, -1.59576912f)), d = 1.0f / (1.0f + e);
    d *= fmaf(drli_signf(a, z) * fmaf(0.214064449f, a2, 1.59576912f), e * d, z < 0.0f ? e : 1.0f);
    return z < -8.0f ? 0.0f : d;
}

/* sin(r + quadrant pi / 2), |r| < 0.8 */
DRLI_INLINE float drli_sin_quadrant(float r, uint32_t quadrant)
{
    float z = r * r, c, s;
    c = drli_horner(z, 2.44300827e-5f, -0.001388729783f, 0.04166664556f, -0.5f, 1.0f);
    s = fmaf(fmaf(-0.0001950788283f, z, 0.008332106285f), z, -0.1666665375f);
    s = fmaf(r * z, s, r);
    return drli_float(drli_bits(quadrant & 1u ? c : s) ^ ((quadrant & 2u) << 30));
}

#define DRLI_TRIG_MAX 1e5f

/* sin(x + quarter pi / 2), nan if |x| > DRLI_TRIG_MAX; x = n pi / 2 + r, pi / 2 in three parts */
DRLI_INLINE float drli_trig(float x, uint32_t quarter)
{
    float t = fmaf(x, 0.636619772f, DRLI_ROUND), n = t - DRLI_ROUND;
    float r = fmaf(n, -5.39030295e-15f, fmaf(n, -7.54978942e-8f, fmaf(n, -1.57079625f, x)));
    r = drli_sin_quadrant(r, drli_bits(t) + quarter);
    return drli_absf(x) <= DRLI_TRIG_MAX ? r : DRLI_NAN;
}

DRLI_INLINE float drli_cosf(float x) { return drli_trig(x, 1u); }
DRLI_INLINE float drli_sinf(float x)
{
    float y = drli_trig(x, 0u);
    return x == 0.0f ? x : y; /* -0 */
}

/* |x| < 0.84: x P(x^2); else 1 - exp(-Q(|x|)) */
DRLI_INLINE float drli_erff(float x)
{
    float a = drli_absf(x), z = x * x, p, q, y;
    p = drli_horner(z, -0.0006374964141f, 0.005061881617f, -0.02680953592f, 0.112829119f,
        -0.3761259317f);
    p = fmaf(p, z, 0.1283791661f);
    a = a > 4.0f ? 4.0f : a;
    q = fmaf(fmaf(-0.0002047255548f, a, 0.003127755364f), a, -0.02255693637f);
    q = drli_horner(a, q, 0.1046011373f, 0.6364371777f, 1.12810719f, 9.39219899e-5f);
    y = 1.0f - drli_expf(-q);
    return a < 0.84f ? fmaf(x, p, x) : drli_signf(y, x);
}

/* Any x: x 2/pi modulo 4 in fixed point, from the 96 bits of 2/pi that matter (Payne and Hanek
   1983). */
static float drli_trig_all(float x, uint32_t quarter)
{
    static const uint32_t two_over_pi[] = {0u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u,
        0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu};
    uint32_t u = drli_bits(x), m = (u & 0x7fffffu) | 0x800000u, w[3], i, q;
    uint32_t first = ((u >> 23) & 0xffu) - 120u, shift = first % 32u; /* |x| = m 2^(first - 30) */
    uint64_t turn; /* in units of 2^-62 quarters, the whole turns have fallen off */
    float r = drli_absf(x);
    if (!(r > DRLI_TRIG_MAX && r < DRLI_INF)) return quarter ? drli_cosf(x) : drli_sinf(x);
    for (i = 0; i < 3u; i++) {
        const uint32_t *p = two_over_pi + first / 32u + i;
        w[i] = shift ? p[0] << shift | p[1] >> (32u - shift) : p[0];
    }
    turn = ((uint64_t)m * w[0] << 32) + (uint64_t)m * w[1] + ((uint64_t)m * w[2] >> 32);
    q = (uint32_t)((turn + ((uint64_t)1 << 61)) >> 62);
    r = (float)(int64_t)(turn - ((uint64_t)q << 62)) * 3.40612158e-19f; /* 2^-62 pi / 2 */
    return x > 0.0f ? drli_sin_quadrant(r, q + quarter) : drli_sin_quadrant(-r, quarter - q);
}

#define DRLI_MATH(name) float drl_##name(float x) { return drli_##name(x); }
DRLI_MATH(expf) DRLI_MATH(logf) DRLI_MATH(tanhf) DRLI_MATH(sigmoidf)
DRLI_MATH(softplusf) DRLI_MATH(mishf) DRLI_MATH(geluf) DRLI_MATH(erff)
float drl_sinf(float x) { return drli_trig_all(x, 0u); }
float drl_cosf(float x) { return drli_trig_all(x, 1u); }

/* Name, y = f(x), and f' of x: dy for NONE, y up to SIGMOID, then z. */
#define DRLI_ACTIVATIONS(X) \
    X(NONE, x, 1.0f) \
    X(RELU, x < 0.0f ? 0.0f : x, (x > 0.0f ? 1.0f : 0.0f)) \
    X(TANH, drli_tanhf(x), fmaf(-x, x, 1.0f)) \
    X(SIGMOID, drli_sigmoidf(x), x * (1.0f - x)) \
    X(SOFTPLUS, drli_softplusf(x), drli_sigmoidf(x)) \
    X(MISH, drli_mishf(x), drli_mish_slope(x)) \
    X(GELU, drli_geluf(x), drli_gelu_slope(x))

/* y = f(x); dz = dy f' plus the old dz masked by `keep` */
#define DRLI_ACT_KERNELS(NAME, VALUE, SLOPE) \
    DRLI_KERNEL(act_##NAME, (n, z, y), size_t n, const float *z, float *y) \
    { \
        size_t i; \
        DRLI_INDEPENDENT \
        for (i = 0; i < n; i++) { \
            float x = z[i]; \
            y[i] = VALUE; \
        } \
    } \
    DRLI_KERNEL(act_##NAME##_back, (n, from, dy, dz, keep), size_t n, const float *from, \
                const float *dy, float *dz, uint32_t keep) \
    { \
        size_t i; \
        DRLI_INDEPENDENT \
        for (i = 0; i < n; i++) { \
            float x = from[i]; \
            (void)x; \
            dz[i] = fmaf(dy[i], SLOPE, drli_float(drli_bits(dz[i]) & keep)); \
        } \
    }

DRLI_ACTIVATIONS(DRLI_ACT_KERNELS)

static void drli_act_apply(int isa, drl_act act, size_t n, const float *z, float *y)
{
#define DRLI_ACT_APPLY(NAME, VALUE, SLOPE) \
    case DRL_ACT_##NAME: drli_act_##NAME(isa, n, z, y); break;
    if (act == DRL_ACT_NONE && y == z) return;
    switch (act) { DRLI_ACTIVATIONS(DRLI_ACT_APPLY) default: break; }
}

/* elements that a thread takes at a time, two or more */
#define DRLI_ACT_BLOCK 16384u

typedef struct drli_act_task {
    int isa;
    drl_act act;
    size_t n;
    const float *from, *dy; /* dy NULL: forward */
    float *out;
    uint32_t keep;
} drli_act_task;

static void drli_act_run(void *arg, int begin, int end, int worker)
{
    const drli_act_task *t = (const drli_act_task *)arg;
    size_t at = (size_t)begin * DRLI_ACT_BLOCK;
    size_t n = DRLI_MIN((size_t)end * DRLI_ACT_BLOCK, t->n) - at;
#define DRLI_ACT_BACK(NAME, VALUE, SLOPE) \
    case DRL_ACT_##NAME: \
        drli_act_##NAME##_back(t->isa, n, t->from + at, t->dy + at, t->out + at, t->keep); \
        break;
    if (!t->dy) drli_act_apply(t->isa, t->act, n, t->from + at, t->out + at);
    else switch (t->act) { DRLI_ACTIVATIONS(DRLI_ACT_BACK) default: break; }
}

static void drli_act_start(drl_context *ctx, drl_act act, size_t n, const float *from,
    const float *dy, float *out, uint32_t keep)
{
    drli_act_task t = {ctx->isa, act, n, from, dy, out, keep};
    drl_parallel_for(ctx, (int)((n + DRLI_ACT_BLOCK - 1) / DRLI_ACT_BLOCK), 2, drli_act_run, &t);
}

void drl_act_forward(drl_context *ctx, drl_act act, size_t n, const float *z, float *y)
{
    drli_act_start(ctx, act, n, z, NULL, y, 0u);
}

void drl_act_backward(drl_context *ctx, drl_act act, size_t n, const float *z,
    const float *y, const float *dy, float *dz, int accumulate)
{
    const float *from = act == DRL_ACT_NONE ? dy : act <= DRL_ACT_SIGMOID ? y : z;
    drli_act_start(ctx, act, n, from, dy, dz, accumulate ? 0xffffffffu : 0u);
}

/* ====== >>rng
   Philox4x32-10: ten rounds turn four words (position / 4, stream) into random ones. */

#define DRLI_PHILOX \
    p = (uint64_t)a * 0xd2511f53u; \
    q = (uint64_t)c * 0xcd9e8d57u; \
    a = (uint32_t)(q >> 32) ^ b ^ k0; \
    b = (uint32_t)q; \
    c = (uint32_t)(p >> 32) ^ d ^ k1; \
    d = (uint32_t)p; \
    k0 += 0x9e3779b9u; \
    k1 += 0xbb67ae85u;

/* The words of a block to w[0], w[step] .. w[3 step]. */
DRLI_INLINE void drli_philox(uint32_t *w, uint32_t step, uint32_t a, uint32_t b, uint32_t c,
    uint32_t d, uint32_t k0, uint32_t k1)
{
    uint64_t p, q;
    DRLI_PHILOX DRLI_PHILOX DRLI_PHILOX DRLI_PHILOX DRLI_PHILOX
    DRLI_PHILOX DRLI_PHILOX DRLI_PHILOX DRLI_PHILOX DRLI_PHILOX
    w[0] = a, w[step] = b, w[2u * step] = c, w[3u * step] = d;
}

/* The words of n blocks (no carry into the second word): w[n k + j] is word k of block j. */
DRLI_INLINE void drli_rng_blocks(const drl_rng *rng, uint64_t block, uint32_t n, uint32_t *w)
{
    uint32_t j, low = (uint32_t)block, high = (uint32_t)(block >> 32);
    uint32_t s0 = (uint32_t)rng->stream, s1 = (uint32_t)(rng->stream >> 32);
    uint32_t k0 = rng->key[0], k1 = rng->key[1];
    for (j = 0; j < n; j++) drli_philox(w + j, n, low + j, high, s0, s1, k0, k1);
}

/* (w + 1/2) / 2^32 */
DRLI_INLINE float drli_open(uint32_t w)
{
    return fmaf((float)w, 2.3283064365e-10f, 1.1641532183e-10f);
}

DRLI_INLINE float drli_uniform(uint32_t w)
{
    return (float)(int32_t)(w >> 8) * 5.9604644775390625e-8f; /* 2^-24 */
}

/* A pair of words: z = sqrt(-2 log(u)) cos(2 pi v), or sin. */
DRLI_INLINE float drli_normal_radius(uint32_t w)
{
    return sqrtf(-2.0f * drli_log_normal(drli_open(w)));
}

/* sin(2 pi v + quarter pi / 2) */
DRLI_INLINE float drli_normal_turn(uint32_t w, uint32_t quarter)
{
    uint32_t v = w + 0x20000000u; /* nearest quarter turn and the rest */
    float r = (float)((int32_t)(v & 0x3fffffffu) - 0x20000000) * 1.46291808e-9f; /* 2 pi / 2^32 */
    return drli_sin_quadrant(r, (v >> 30) + quarter);
}

/* Fills work in chunks of 16 blocks, 64 words, aligned to 64 positions. */
#define DRLI_CHUNK 64u

DRLI_KERNEL(fill_chunk, (rng, block, x, normal, low, high), const drl_rng *rng, uint64_t block,
    float *x, int normal, float low, float high)
{
    uint32_t w[DRLI_CHUNK], j, k;
    drli_rng_blocks(rng, block, 16u, w);
    for (j = 0; j < 16u && normal; j++) {
        float r = drli_normal_radius(w[j]), s = drli_normal_radius(w[32u + j]);
        x[4u * j] = r * drli_normal_turn(w[16u + j], 1u);
        x[4u * j + 1u] = r * drli_normal_turn(w[16u + j], 0u);
        x[4u * j + 2u] = s * drli_normal_turn(w[48u + j], 1u);
        x[4u * j + 3u] = s * drli_normal_turn(w[48u + j], 0u);
    }
    for (k = 0; k < 4u && !normal; k++) {
        for (j = 0; j < 16u; j++) {
            float u = fmaf(drli_uniform(w[16u * k + j]), high - low, low);
            x[4u * j + k] = u < high ? u : low; /* rounding may reach high */
        }
    }
}

typedef struct drli_fill {
    int isa, normal;
    drl_rng rng; /* where it starts */
    float *x, low, high;
    size_t n;
} drli_fill;

/* Chunks [begin, end) of a fill; the first and last may be in part. */
static void drli_fill_run(void *arg, int begin, int end, int worker)
{
    const drli_fill *f = (const drli_fill *)arg;
    uint64_t start = f->rng.position, at = start / DRLI_CHUNK + (uint64_t)begin;
    float part[DRLI_CHUNK];
    for (at *= DRLI_CHUNK; begin < end; begin++, at += DRLI_CHUNK) {
        uint64_t from = DRLI_MAX(at, start), to = DRLI_MIN(at + DRLI_CHUNK, start + f->n);
        size_t n = (size_t)(to - from);
        float *x = f->x + (from - start);
        drli_fill_chunk(f->isa, &f->rng, at / 4u, n == DRLI_CHUNK ? x : part, f->normal, f->low,
            f->high);
        if (n < DRLI_CHUNK) memcpy(x, part + (from - at), n * sizeof(float));
    }
}

/* A pair of words serves normals or other draws, never both: independence. */
static void drli_rng_turn(drl_rng *rng, int normal)
{
    if (rng->position % 2u && rng->normal != (uint64_t)normal) rng->position++;
    rng->normal = (uint64_t)normal;
}

static void drli_fill_start(drl_context *ctx, drl_rng *rng, float *x, size_t n, int normal,
    float low, float high)
{
    drli_fill f = {ctx->isa, normal, *rng, x, low, high, n};
    if (!n) return;
    drli_rng_turn(&f.rng, normal);
    *rng = f.rng;
    rng->position += n;
    n += (size_t)(f.rng.position % DRLI_CHUNK) + DRLI_CHUNK - 1u;
    drl_parallel_for(ctx, (int)(n / DRLI_CHUNK), 512, drli_fill_run, &f);
}

void drl_rng_uniform_fill(drl_context *ctx, drl_rng *rng, float *x, size_t n, float low, float high)
{
    drli_fill_start(ctx, rng, x, n, 0, low, high);
}

void drl_rng_normal_fill(drl_context *ctx, drl_rng *rng, float *x, size_t n)
{
    drli_fill_start(ctx, rng, x, n, 1, 0.0f, 0.0f);
}

static drl_rng drli_rng_at(uint32_t key0, uint32_t key1, uint64_t stream)
{
    drl_rng rng = {{key0, key1}, 0, 0, 0};
    /* one-to-one: the finalizer of SplitMix64 (Steele et al. 2014) */
    stream = (stream ^ (stream >> 30)) * 0xbf58476d1ce4e5b9u;
    stream = (stream ^ (stream >> 27)) * 0x94d049bb133111ebu;
    rng.stream = stream ^ (stream >> 31);
    return rng;
}

drl_rng drl_rng_make(uint64_t seed, const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    return drli_rng_at((uint32_t)seed, (uint32_t)(seed >> 32), hash);
}

drl_rng drl_rng_split(const drl_rng *rng, uint64_t index)
{
    return drli_rng_at(rng->key[0], rng->key[1], rng->stream + (index + 1u) * 0x9e3779b97f4a7c15u);
}

uint32_t drl_rng_bits(drl_rng *rng)
{
    uint32_t w[4];
    drli_rng_turn(rng, 0);
    drli_rng_blocks(rng, rng->position / 4u, 1u, w);
    return w[rng->position++ % 4u];
}

float drl_rng_uniform(drl_rng *rng) { return drli_uniform(drl_rng_bits(rng)); }

float drl_rng_normal(drl_rng *rng)
{
    uint32_t w[4], pair;
    drli_rng_turn(rng, 1);
    drli_rng_blocks(rng, rng->position / 4u, 1u, w);
    pair = (uint32_t)rng->position & 2u;
    return drli_normal_radius(w[pair]) *
           drli_normal_turn(w[pair + 1u], rng->position++ % 2u ? 0u : 1u);
}

/* P(Z > z) for z >= 0, relative error 5e-7: exp(-z^2 / 2) (1 + 2 x)^-1 P((x - 2) / (x + 2)),
   x = z / sqrt(2) (form: Shepherd and Laframboise 1981) */
static float drli_normal_above(float z)
{
    float x = z * 0.707106781f, q = (x - 2.0f) / (x + 2.0f), h = 0.5f * z * z, p;
    if (z > 13.5f) return 0.0f;
    p = drli_horner(q, -0.000586302951f, 0.001158576692f, 0.008054633625f, -0.008106459863f,
        -0.05403749272f);
    p = drli_horner(q, p, 0.1640753895f, -0.1660473347f, -0.092765145f, 1.276978612f);
    p *= 0.5f * drli_expf(-h) / fmaf(2.0f, x, 1.0f);
    return fmaf(-p, fmaf(0.5f * z, z, -h), p);
}

/* erfinv(x) / x as a function of w = -log(1 - x^2) (idea: Giles 2010) */
static float drli_erfinv_ratio(float w)
{
    float c = w - 3.0f, s = sqrtf(w), d = s - 3.0f, t = 1.0f / s, p;
    if (w < 6.0f) {
        p = fmaf(fmaf(-5.828992844e-9f, c, -4.404456799e-9f), c, 4.555879229e-7f);
        p = fmaf(fmaf(p, c, -1.883951541e-6f), c, -1.275683644e-5f);
        p = drli_horner(c, p, 0.0001954672771f, -0.0008360744687f, -0.005738559179f, 0.2416303307f);
        return fmaf(p, c, 1.62354207f);
    }
    if (w < 15.95f) {
        p = drli_horner(d, -0.0002195907f, 0.001327040256f, -0.003468352836f, 0.005710067693f,
            -0.00766244065f);
        return fmaf(fmaf(fmaf(p, d, 0.009444220923f), d, 1.001676202f), d, 2.832976818f);
    }
    p = drli_horner(t, -26.96730232f, 31.92583084f, -16.92042351f, 5.848588467f, -1.37242043f);
    return fmaf(p, t, -0.01664150506f) + s;
}

/* z >= 0 with P(Z > z) = p, 0 < p <= 1/2 */
static float drli_normal_quantile(float p)
{
    float t = fmaf(-2.0f, p, 1.0f);
    return 1.41421356f * t * drli_erfinv_ratio(-drli_logf(4.0f * p * (1.0f - p)));
}

float drl_rng_truncated_normal(drl_rng *rng, float low, float high)
{
    uint32_t w = drl_rng_bits(rng);
    int flip = high <= 0.0f; /* then the interval is mirrored */
    float a = flip ? -high : low, b = flip ? -low : high;
    float u = drli_open(flip ? ~w : w), v = drli_open(flip ? w : ~w), z; /* v = 1 - u */
    if (a > 12.0f) {
        z = a;
    } else if (a >= 0.0f) {
        float end = drli_normal_above(b);
        z = drli_normal_quantile(fmaf(v, drli_normal_above(a) - end, end));
    } else {
        float below = drli_normal_above(-a), above = drli_normal_above(b);
        float mass = 1.0f - below - above, p = fmaf(u, mass, below), q = fmaf(v, mass, above);
        z = p < q ? -drli_normal_quantile(p) : drli_normal_quantile(q);
    }
    z = drli_clampf(z, a, b);
    return flip ? -z : z;
}

uint32_t drl_rng_integer(drl_rng *rng, uint32_t n)
{
    uint64_t product = (uint64_t)drl_rng_bits(rng) * n; /* the high word is the result */
    if ((uint32_t)product < n) {
        uint32_t reject = (0u - n) % n; /* 2^32 mod n low words would be too many */
        while ((uint32_t)product < reject) product = (uint64_t)drl_rng_bits(rng) * n;
    }
    return (uint32_t)(product >> 32);
}

void drl_rng_permutation(drl_rng *rng, uint32_t *index, uint32_t n)
{
    uint32_t i, j, keep;
    for (i = 0; i < n; i++) index[i] = i;
    for (i = n; i > 1u; i--) {
        j = drl_rng_integer(rng, i);
        keep = index[i - 1u];
        index[i - 1u] = index[j];
        index[j] = keep;
    }
}

/* ====== >>kernels
   C is computed in tiles of some rows x 2 vectors that stay in registers while k runs. B is packed
   into panels as wide as a tile, A' into rows where its stride is a large power of two. */

/* One tile of the product: rows x cols of out = start + A B (+ bias) (+ base). */
typedef struct drli_tile {
    int k, cols;            /* cols: of a tile one vector wide */
    const float *a;
    ptrdiff_t a_row, a_col; /* element (i, p) of A is a[i * a_row + p * a_col] */
    intptr_t next, step;    /* address prefetched, a step further for each p */
    const float *b;
    ptrdiff_t b_row;        /* row p of the panel starts at b + p * b_row */
    const float *start;     /* where the sum starts, rows ld apart; NULL: zeros */
    float *out;             /* rows ld apart; may be start */
    ptrdiff_t ld;
    const float *bias, *base; /* NULL: none */
    ptrdiff_t base_ld;
} drli_tile;

/* DRLI_TILE_BODY defines drli_tile_<name>_body(t, rows, vecs) for constant rows x vecs <= 24, V a
   vector of W floats. 12 x 2 sums fill 24 of the 32 registers of AVX-512 and NEON, 6 x 2 fill 12 of
   the 16 of AVX2; 8 hide the latency of the multiply-add. Few rows take 4 vectors, one row 8. One
   vector does the last columns, masked beyond t->cols. No sanitizers: they would compile for
   minutes. */
#define DRLI_EACH(i, n) DRLI_UNROLL(unroll(full), 16) for (i = 0; i < n; i++)
#define DRLI_TILE_BODY(name, TARGET, V, W, SET1, LOAD, STORE, FMA, ADD, M, MASK, LOADM, STOREM) \
    TARGET DRLI_TILE_FN DRLI_INLINE void drli_tile_##name##_body( \
        const drli_tile *t, const int rows, const int vecs) \
    { \
        V s[12][8], x[8], y; \
        const M mask = MASK(vecs == 1 ? t->cols : W); \
        const ptrdiff_t a_row = t->a_row, a_col = t->a_col, b_row = t->b_row, step = t->step; \
        const ptrdiff_t ld = t->ld; \
        const float *a[3], *b = t->b, *q; /* a: every fourth row */ \
        intptr_t next = t->next; \
        float *out = t->out; \
        int r, v, p; \
        DRLI_EACH(r, (rows + 3) / 4) a[r] = t->a + 4 * r * a_row; \
        DRLI_EACH(r, rows) DRLI_EACH(v, vecs) { \
            q = t->start ? t->start + r * ld + v * W : NULL; \
            s[r][v] = !q ? SET1(0.0f) : vecs == 1 ? LOADM(q, mask) : LOAD(q); \
        } \
        if (t->start) DRLI_EACH(r, rows) \
            DRLI_FETCH((intptr_t)(t->start + r * ld) + 4 * vecs * W); /* beside it */ \
        DRLI_UNROLL(unroll_count(2), 2) for (p = 0; p < t->k; p++, b += b_row) { \
            DRLI_EACH(v, vecs) x[v] = vecs == 1 ? LOADM(b, mask) : LOAD(b + v * W); \
            if (vecs == 2) DRLI_FETCH(next), next += step; \
            DRLI_EACH(r, rows) { \
                y = SET1(a[r / 4][r % 4 * a_row]); \
                DRLI_EACH(v, vecs) s[r][v] = FMA(y, x[v], s[r][v]); \
            } \
            DRLI_EACH(r, (rows + 3) / 4) a[r] += a_col; \
        } \
        if (t->bias) { \
            DRLI_EACH(v, vecs) x[v] = vecs == 1 ? LOADM(t->bias, mask) : LOAD(t->bias + v * W); \
            DRLI_EACH(r, rows) DRLI_EACH(v, vecs) s[r][v] = ADD(s[r][v], x[v]); \
        } \
        if (t->base) DRLI_EACH(r, rows) DRLI_EACH(v, vecs) { \
            q = t->base + r * t->base_ld + v * W; \
            s[r][v] = ADD(s[r][v], vecs == 1 ? LOADM(q, mask) : LOAD(q)); \
        } \
        DRLI_EACH(r, rows) DRLI_EACH(v, vecs) { \
            if (vecs == 1) STOREM(out + r * ld, mask, s[r][0]); \
            else STORE(out + r * ld + v * W, s[r][v]); \
        } \
    }

/* drli_tile_<name>(t, rows, vecs): 1 .. 12 x 1 or 2 (AVX2: to 6 x 2), 2 .. 6 x 4 (3 x 4), 1 x 8 */
#define DRLI_CASE(name, r, v) \
    case 16 * (r) + v: drli_tile_##name##_body(t, r, v); break;
#define DRLI_TILE_6(name, r, v) \
    DRLI_CASE(name, r, v) DRLI_CASE(name, r + 1, v) DRLI_CASE(name, r + 2, v) \
    DRLI_CASE(name, r + 3, v) DRLI_CASE(name, r + 4, v) DRLI_CASE(name, r + 5, v)
#define DRLI_TILE_18(name) \
    DRLI_TILE_6(name, 1, 1) DRLI_TILE_6(name, 7, 1) DRLI_TILE_6(name, 1, 2) \
    DRLI_CASE(name, 2, 4) DRLI_CASE(name, 3, 4)
#define DRLI_TILE_24(name) DRLI_TILE_18(name) DRLI_TILE_6(name, 7, 2) \
    DRLI_CASE(name, 4, 4) DRLI_CASE(name, 5, 4) DRLI_CASE(name, 6, 4)
#define DRLI_TILE_RUN(name, TARGET, CASES) \
    TARGET DRLI_TILE_FN static void drli_tile_##name(const drli_tile *t, int rows, int vecs) \
    { \
        switch (16 * rows + vecs) { \
        CASES(name) \
        default: drli_tile_##name##_body(t, 1, 8); break; \
        } \
    }

#if defined(DRLI_X86)
#define DRLI_MASK16(n) ((__mmask16)((n) < 16 ? (1u << (n)) - 1 : 0xffffu))
#define DRLI_LOAD16(p, m) _mm512_maskz_loadu_ps(m, p)
#define DRLI_MASK8(n) \
    _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
DRLI_TILE_BODY(avx512, DRLI_AVX512, __m512, 16, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps,
    _mm512_fmadd_ps, _mm512_add_ps, __mmask16, DRLI_MASK16, DRLI_LOAD16, _mm512_mask_storeu_ps)
DRLI_TILE_RUN(avx512, DRLI_AVX512, DRLI_TILE_24)
DRLI_TILE_BODY(avx2, DRLI_AVX2, __m256, 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps,
    _mm256_fmadd_ps, _mm256_add_ps, __m256i, DRLI_MASK8, _mm256_maskload_ps,
    _mm256_maskstore_ps)
DRLI_TILE_RUN(avx2, DRLI_AVX2, DRLI_TILE_18)
#if defined(DRLI_BF16)
/* A, B of pairs of bf16: a step of k adds the product of the upper halves, then the lower. */
#define DRLI_DOT(y, x, s) _mm512_dpbf16_ps(s, (__m512bh)(y), (__m512bh)(x))
DRLI_TILE_BODY(dot, DRLI_BF16, __m512, 16, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps,
    DRLI_DOT, _mm512_add_ps, __mmask16, DRLI_MASK16, DRLI_LOAD16, _mm512_mask_storeu_ps)
DRLI_TILE_RUN(dot, DRLI_BF16, DRLI_TILE_24)

/* The same by AMX, k in steps of 16, 16 x 32 whatever of it is stored; upper and lower halves are
   summed apart. */
DRLI_BF16 static void drli_tile_amx(const drli_tile *t, int rows, int vecs)
{
    uint8_t config[64] = {1}; /* 16 rows of 64 bytes each */
    const size_t a_ld = (size_t)t->a_row * 4, b_ld = (size_t)t->b_row * 4;
    const ptrdiff_t ld[3] = {t->ld, 0, t->base_ld};
    const int cols = vecs == 1 ? t->cols : 32;
    const float *a = t->a, *b = t->b, *add[3] = {t->start, t->bias, t->base};
    float s[16 * 32];
    int i, j, p;
    for (i = 0; i < 5; i++) config[16 + 2 * i] = 64, config[48 + i] = 16;
    __asm__ volatile("ldtilecfg %0" : : "m"(config)); /* gcc's intrinsic reads 8 bytes */
    _tile_zero(0);
    _tile_zero(1);
    for (p = 0; p < t->k; p += 16, a += 16, b += 16 * t->b_row) {
        _tile_loadd(2, a, a_ld);
        _tile_loadd(3, b, b_ld);
        _tile_loadd(4, b + 16, b_ld);
        _tile_dpbf16ps(0, 2, 3);
        _tile_dpbf16ps(1, 2, 4);
    }
    _tile_stored(0, s, 128);
    _tile_stored(1, s + 16, 128);
    _tile_release();
    for (i = 0; i < rows; i++)
        for (j = 0; j < cols; j += 16) {
            const __mmask16 mask = DRLI_MASK16(cols - j);
            __m512 y = _mm512_loadu_ps(s + i * 32 + j);
            for (p = 0; p < 3; p++)
                if (add[p]) y = _mm512_add_ps(y, DRLI_LOAD16(add[p] + i * ld[p] + j, mask));
            _mm512_mask_storeu_ps(t->out + i * t->ld + j, mask, y);
        }
}
#endif
#elif defined(DRLI_NEON)
DRLI_INLINE float32x4_t drli_neon_load(const float *p, int n)
{
    float x[4] = {0, 0, 0, 0};
    memcpy(x, p, (size_t)n * sizeof(float));
    return vld1q_f32(x);
}
DRLI_INLINE void drli_neon_store(float *p, int n, float32x4_t v)
{
    float x[4];
    vst1q_f32(x, v);
    memcpy(p, x, (size_t)n * sizeof(float));
}
#define DRLI_NEON_FMA(x, y, z) vfmaq_f32(z, x, y)
DRLI_TILE_BODY(neon, , float32x4_t, 4, vdupq_n_f32, vld1q_f32, vst1q_f32,
    DRLI_NEON_FMA, vaddq_f32, int, , drli_neon_load, drli_neon_store)
DRLI_TILE_RUN(neon, , DRLI_TILE_24)
#endif

/* any CPU, vectors of 8 floats */
static void drli_tile_scalar(const drli_tile *t, int rows, int vecs)
{
    float s[64];
    const int n = vecs == 1 ? t->cols : 8 * vecs;
    int r, j, p;
    for (r = 0; r < rows; r++) {
        for (j = 0; j < n; j++) s[j] = t->start ? t->start[r * t->ld + j] : 0.0f;
        for (p = 0; p < t->k; p++) {
            const float y = t->a[r * t->a_row + p * t->a_col], *b = t->b + p * t->b_row;
            for (j = 0; j < n; j++) s[j] = fmaf(y, b[j], s[j]);
        }
        for (j = 0; t->bias && j < n; j++) s[j] += t->bias[j];
        for (j = 0; t->base && j < n; j++) s[j] += t->base[r * t->base_ld + j];
        for (j = 0; j < n; j++) t->out[r * t->ld + j] = s[j];
    }
}

/* The largest tile of an instruction set, and what computes one. */
typedef struct drli_tiling {
    int rows, width; /* width: floats per vector */
    void (*run)(const drli_tile *t, int rows, int vecs);
} drli_tiling;

static drli_tiling drli_tiling_get(int isa, int bf16)
{
    drli_tiling t = {4, 8, drli_tile_scalar};
#if defined(DRLI_X86)
    if (isa == DRL_ISA_AVX512) t.rows = 12, t.width = 16, t.run = drli_tile_avx512;
    if (isa == DRL_ISA_AVX2) t.rows = 6, t.width = 8, t.run = drli_tile_avx2;
#if defined(DRLI_BF16)
    if (bf16 == 1) t.run = drli_tile_dot;
    if (bf16 == 2) t.rows = 16, t.run = drli_tile_amx;
#endif
#elif defined(DRLI_NEON)
    if (isa == DRL_ISA_NEON) t.rows = 12, t.width = 4, t.run = drli_tile_neon;
#endif
    return t;
}

/* dst[p * dst_ld + j] = src[j * src_ld + p] for p < rows, j < cols. */
DRLI_INLINE void drli_transpose_loop(int rows, int cols, const float *src, ptrdiff_t src_ld,
    float *dst, ptrdiff_t dst_ld)
{
    int j, p;
    for (j = 0; j < cols; j++) {
        for (p = 0; p < rows; p++) dst[p * dst_ld + j] = src[j * src_ld + p];
    }
}

#if defined(DRLI_X86)
/* 8 x 8 at a time in registers */
DRLI_AVX2 static void drli_transpose_avx2(int rows, int cols, const float *src, ptrdiff_t src_ld,
    float *dst, ptrdiff_t dst_ld)
{
    __m256 r[8], u0, u1, u2, u3;
    int i, j, p;
    for (j = 0; j + 8 <= cols; j += 8) {
        for (p = 0; p + 8 <= rows; p += 8) {
            const float *x = src + j * src_ld + p;
            float *y = dst + p * dst_ld + j;
            DRLI_EACH(i, 8) { /* rows i % 4 and i % 4 + 4, four columns of each */
                r[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(x + i % 4 * src_ld +
                    i / 4 * 4)), _mm_loadu_ps(x + (i % 4 + 4) * src_ld + i / 4 * 4), 1);
            }
            DRLI_UNROLL(unroll(full), 2) for (i = 0; i < 8; i += 4, y += 4 * dst_ld) {
                u0 = _mm256_unpacklo_ps(r[i], r[i + 1]);
                u1 = _mm256_unpackhi_ps(r[i], r[i + 1]);
                u2 = _mm256_unpacklo_ps(r[i + 2], r[i + 3]);
                u3 = _mm256_unpackhi_ps(r[i + 2], r[i + 3]);
                _mm256_storeu_ps(y, _mm256_shuffle_ps(u0, u2, 0x44));
                _mm256_storeu_ps(y + dst_ld, _mm256_shuffle_ps(u0, u2, 0xee));
                _mm256_storeu_ps(y + 2 * dst_ld, _mm256_shuffle_ps(u1, u3, 0x44));
                _mm256_storeu_ps(y + 3 * dst_ld, _mm256_shuffle_ps(u1, u3, 0xee));
            }
        }
        drli_transpose_loop(rows - p, 8, src + j * src_ld + p, src_ld, dst + p * dst_ld + j,
            dst_ld);
    }
    drli_transpose_loop(rows, cols - j, src + j * src_ld, src_ld, dst + j, dst_ld);
}
#endif

static void drli_transpose(int isa, int rows, int cols, const float *src, ptrdiff_t src_ld,
    float *dst, ptrdiff_t dst_ld)
{
#if defined(DRLI_X86)
    if (isa != DRL_ISA_SCALAR) {
        drli_transpose_avx2(rows, cols, src, src_ld, dst, dst_ld);
        return;
    }
#endif
    drli_transpose_loop(rows, cols, src, src_ld, dst, dst_ld);
}

/* Panels of B, 8, 16 or 32 floats wide: 8 rows of each in turn, while the next 8 are fetched. */
DRLI_KERNEL(gemm_pack, (kc, nc, width, b, ldb, out), int kc, int nc, int width, const float *b,
    ptrdiff_t ldb, float *out)
{
    int i, j, p, q;
    for (q = 0; q < kc; q += 8)
        for (j = 0; j + width <= nc; j += width)
            for (p = q; p < DRLI_MIN(q + 8, kc); p++) {
                const float *from = b + p * ldb + j;
                float *to = out + (ptrdiff_t)j * kc + p * width;
                DRLI_FETCH((intptr_t)from + 32 * ldb);
                for (i = 0; i < width; i += 8) memcpy(to + i, from + i, 32);
            }
}

static void drli_copy(float *to, const float *from, int n)
{
    memcpy(to, from, (size_t)n * sizeof(float));
}

/* A product, or a worker's part of one. */
typedef struct drli_gemm_job {
    drl_context *ctx;
    drl_gemm_form form;
    int m, n, k, lda, ldb, ldc;
    const float *a, *b;
    float *c;
    drl_epilogue e;
    int by_columns; /* cut along columns in units of 32, or along rows */
} drli_gemm_job;

/* Rows of A at multiples of 4 KiB share few places of the level-1 cache: too few, but for twelve
   ways (Intel's since Ice Lake). */
static int drli_gemm_apart(const drli_gemm_job *g)
{
#if defined(DRLI_X86)
    if (g->ctx->isa == DRL_ISA_AVX512 && __builtin_cpu_is("intel") &&
        __builtin_cpu_supports("avx512vbmi2")) return 0;
#endif
    return g->form != DRL_GEMM_TN && g->m > 12 && g->lda % 1024 == 0;
}

/* B is read where it lies if packing costs more than it gives: few rows, or a matrix that fits the
   cache, in vectors of a cache line. */
static int drli_gemm_in_place(const drli_gemm_job *g, drli_tiling tiling)
{
    return g->form != DRL_GEMM_NT && (g->m <= 4 * tiling.rows || (tiling.width == 16 &&
        g->n <= 256 && g->k <= 256));
}

/* Add A[., pc .. pc+kc) B[pc .. pc+kc, .) to rows ic .. ic+mc and columns jc .. jc+nc of C. */
static void drli_gemm_block(const drli_gemm_job *g, float *packed, int jc, int nc, int pc, int kc,
    int ic, int mc)
{
    const drl_epilogue *e = &g->e;
    drli_tiling tiling = drli_tiling_get(g->ctx->isa, e->pairs ? g->ctx->bf16 : 0);
    const int nt = g->form == DRL_GEMM_NT, tn = g->form == DRL_GEMM_TN, last = pc + kc == g->k;
    const int in_place = drli_gemm_in_place(g, tiling);
    const int most = !in_place || e->pairs || 2 * g->m > tiling.rows ? 2 : g->m > 1 ? 4 : 8;
    const ptrdiff_t a_row = tn ? 1 : g->lda, a_col = tn ? g->lda : 1;
    const float *a = g->a + ic * a_row + pc * a_col;
    /* Tiles fetch in turn what the next block reads of A and B, evenly: bursts hold up what comes
       from the level-2 cache. */
    const int here = (mc / tiling.rows + 1) * (nc / 2 / tiling.width + 1);
    const ptrdiff_t after = tn ? DRLI_MIN(kc, g->k - pc - kc) : 0, from = after * ic / g->m,
        row = pc + kc + from, share = after * (ic + mc) / g->m - from,
        ld[2] = {g->lda, g->ldb}, width[2] = {tn ? g->m : kc, nc}, lines[2] = {tn ? share :
            (ptrdiff_t)g->m * kc > DRLI_PANELS ? DRLI_MIN(mc, g->m - ic - mc) : 0, share};
    const intptr_t soon[2] = {tn ? (intptr_t)g->a + 4 * row * a_col : (intptr_t)a + 4 * mc * a_row,
        (intptr_t)(g->b + jc) + 4 * row * g->ldb};
    ptrdiff_t each[2], step[2];
    float *out = last && e->pre ? e->pre : g->c, *own = packed + DRLI_PANELS; /* rows of A */
    int i, j, cols, wide, vecs, rows, tiles, w, u = 0;
    drli_tile t;
    for (w = 0; w < 2; w++) {
        each[w] = ld[w] <= 2 * width[w] ? 2 * lines[w] / here + 1 : 1;
        step[w] = ((each[w] - 1) * ld[w] + width[w] - 1) / (kc + !kc) + 1;
    }
    t.k = kc, t.a_row = a_row, t.a_col = a_col;
    if (tn && nc > 64 && g->lda % (nc > 256 ? 256 : 512) == 0) {
        drli_transpose(g->ctx->isa, mc, kc, a, a_col, own, kc);
        a = own, t.a_row = kc, t.a_col = 1;
    }
    if (drli_gemm_apart(g)) {
        for (i = 0; i < mc; i++) drli_copy(own + i * (kc + 16), a + i * a_row, kc);
        a = own, t.a_row = kc + 16;
    }
    t.ld = g->ldc, t.base_ld = e->base_ld;
    for (j = jc; j < jc + nc; j += cols) {
        const float *b = g->b + (nt ? j * (ptrdiff_t)g->ldb + pc : pc * (ptrdiff_t)g->ldb + j);
        float *panel = packed + (ptrdiff_t)(j - jc) * kc;
        const int left = jc + nc - j;
        if (left <= 8 && tiling.width == 16 && !e->pairs)
            tiling = drli_tiling_get(DRL_ISA_AVX2, 0);
        vecs = left >= most * tiling.width ? most : left >= 2 * tiling.width ? 2 : 1;
        cols = vecs * tiling.width;
        t.cols = DRLI_MIN(left, cols);
        wide = g->ldb > 1024 ? 128 : cols;
        if (nt && ic == 0) drli_transpose(g->ctx->isa, kc, t.cols, b, g->ldb, panel, cols);
        else if (vecs == 2 && !in_place && ic == 0 && (j - jc) % wide == 0)
            drli_gemm_pack(g->ctx->isa, kc, DRLI_MIN(left, wide), cols, b, g->ldb, panel);
        tiles = vecs == 1 ? (mc + 11) / 12 : (mc + tiling.rows - 1) / tiling.rows;
        for (i = ic; i < ic + mc; i += rows, tiles--, u++) {
            const ptrdiff_t at = i * (ptrdiff_t)g->ldc + j;
            rows = (ic + mc - i + tiles - 1) / tiles;
            t.a = a + (i - ic) * t.a_row;
            t.next = (intptr_t)t.a + 4 * rows * t.a_row;
            t.step = 4 * DRLI_MAX(t.a_col, 16);
            w = u % 2;
            if (u / 2 * each[w] < lines[w])
                t.next = soon[w] + u / 2 * 4 * each[w] * ld[w], t.step = 4 * step[w];
            t.b = in_place || (!nt && vecs == 1) ? b : panel;
            t.b_row = t.b == b ? g->ldb : cols;
            t.start = pc || e->accumulate ? g->c + at : NULL;
            t.out = out + at;
            t.bias = last && e->bias ? e->bias + j : NULL;
            t.base = last && e->base ? e->base + i * t.base_ld + j : NULL;
            tiling.run(&t, rows, vecs);
        }
    }
    rows = nc == g->ldc ? mc : 1; /* at a time */
    for (i = ic; last && i < ic + mc; i += rows) {
        const ptrdiff_t at = i * (ptrdiff_t)g->ldc + jc;
        const int n = rows * nc;
        if (e->act) drli_act_apply(g->ctx->isa, e->act, (size_t)n, out + at, g->c + at);
        else if (e->pre) drli_copy(g->c + at, out + at, n);
    }
}

static void drli_gemm_run(const drli_gemm_job *g, int worker);

/* dW = X' dY with few columns as its transpose dY' X, which fills the vectors: the same sums. It
   grows at the end of the worker's block, behind what A' takes: less than 32 x DRLI_KC. */
static void drli_gemm_narrow(const drli_gemm_job *g, int worker)
{
    float *out = (float *)g->ctx->scratch + (size_t)(worker + 1) * DRLI_BLOCK - 32 * 512;
    drli_gemm_job h = *g;
    int i;
    h.m = g->n, h.a = g->b, h.lda = g->ldb, h.b = g->a, h.ldb = g->lda, h.c = out, h.ldc = 512;
    for (i = 0; i < g->m; i += h.n, h.b += h.n) {
        float *c = g->c + (ptrdiff_t)i * g->ldc;
        h.n = DRLI_MIN(512, g->m - i);
        if (g->e.accumulate) drli_transpose(g->ctx->isa, g->n, h.n, c, g->ldc, out, 512);
        drli_gemm_run(&h, worker);
        drli_transpose(g->ctx->isa, h.n, g->n, out, 512, c, g->ldc);
    }
}

/* Blocks of kc x nc of B, DRLI_PANELS floats, fill half of a level-2 cache of 1 MiB; DRLI_MC rows
   of C are finished, activation included, while in cache. A long kc spares visits to C; a short one
   suits A' (rows in other pages), AVX2 (A copied less). */
static void drli_gemm_run(const drli_gemm_job *g, int worker)
{
    float *packed = (float *)g->ctx->scratch + (size_t)worker * DRLI_BLOCK;
    const int most = g->form == DRL_GEMM_TN ? DRLI_KC : !drli_gemm_apart(g) ? 2048 :
        g->ctx->isa == DRL_ISA_AVX2 ? DRLI_KC : 2 * DRLI_KC;
    const int kc = DRLI_MAX(DRLI_MIN(g->k, most), 1);
    const int one = g->m == 1 && g->form != DRL_GEMM_NT; /* nothing is packed */
    const int nc = one ? g->n : DRLI_PANELS / 32 / kc * 32;
    int jc, pc, ic;
    if (g->form == DRL_GEMM_TN && g->n < DRLI_MIN(32, g->m) && !g->e.bias && !g->e.base &&
        !g->e.pre && !g->e.act) {
        drli_gemm_narrow(g, worker);
        return;
    }
    for (jc = 0; jc < g->n; jc += nc) {
        for (pc = 0; pc == 0 || pc < g->k; pc += kc) {
            for (ic = 0; ic < g->m; ic += DRLI_MC) {
                drli_gemm_block(g, packed, jc, DRLI_MIN(nc, g->n - jc), pc, DRLI_MIN(kc, g->k - pc),
                    ic, DRLI_MIN(DRLI_MC, g->m - ic));
            }
        }
    }
}

static void drli_gemm_part(void *arg, int begin, int end, int worker)
{
    drli_gemm_job g = *(const drli_gemm_job *)arg;
    ptrdiff_t i = 0, j = 0;
    if (g.by_columns) {
        j = (ptrdiff_t)begin * 32;
        g.n = DRLI_MIN(end * 32, g.n) - begin * 32;
    } else {
        i = begin;
        g.m = end - begin;
    }
    g.a += i * (g.form == DRL_GEMM_TN ? 1 : g.lda);
    g.b += j * (g.form == DRL_GEMM_NT ? g.ldb : 1);
    g.c += i * g.ldc + j;
    if (g.e.bias) g.e.bias += j;
    if (g.e.base) g.e.base += i * g.e.base_ld + j;
    if (g.e.pre) g.e.pre += i * g.ldc + j;
    drli_gemm_run(&g, worker);
}

void drl_gemm(drl_context *ctx, drl_gemm_form form, int m, int n, int k, const float *a,
    int lda, const float *b, int ldb, float *c, int ldc, const drl_epilogue *epilogue)
{
    const drl_epilogue none = {0, NULL, NULL, 0, DRL_ACT_NONE, NULL, 0};
    const int threads = ctx->cfg.threads;
    drli_gemm_job g = {ctx, form, m, n, k, lda, ldb, ldc, a, b, c, epilogue ? *epilogue : none, 0};
    if (threads == 1 || 2.0 * m * n * k < 5e5) { /* 2 us: not worth the wake-up */
        drli_gemm_run(&g, 0);
        return;
    }
    g.by_columns = n >= 64 * threads && m < (form == DRL_GEMM_TN && k > DRLI_KC ? n : 4 * n) &&
                   (form != DRL_GEMM_NN || !drli_gemm_in_place(&g, drli_tiling_get(ctx->isa, 0)));
    drl_parallel_for(ctx, g.by_columns ? (n + 31) / 32 : m, g.by_columns ? 1 : 12, drli_gemm_part,
        &g);
}

DRLI_KERNEL(column_sum, (rows, cols, x, ldx, out, accumulate), int rows, int cols, const float *x,
    ptrdiff_t ldx, float *out, int accumulate)
{
    int i, j;
    for (j = 0; !accumulate && j < cols; j++) out[j] = 0.0f;
    for (i = 0; i + 4 <= rows; i += 4, x += 4 * ldx) {
        for (j = 0; j < cols; j++)
            out[j] = (((out[j] + x[j]) + x[ldx + j]) + x[2 * ldx + j]) + x[3 * ldx + j];
    }
    for (; i < rows; i++, x += ldx) {
        for (j = 0; j < cols; j++) out[j] += x[j];
    }
}

void drl_column_sum(drl_context *ctx, int rows, int cols, const float *x, int ldx,
    float *out, int accumulate)
{
    drli_column_sum(ctx->isa, rows, cols, x, ldx, out, accumulate);
}

DRLI_COLD
/* ====== >>io
   Lists of tensors and pairs; reader; writer; files. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != 1234
#error "diffrl.h: files are little-endian, this machine is not"
#endif

static const struct {
    char name[5];
    unsigned char size;
    unsigned short nan; /* bits of the last two bytes that are all 1 in inf and nan */
} drli_dtypes[DRL_DTYPE_COUNT] = {
    {"U64", 8, 0}, {"I64", 8, 0}, {"F64", 8, 0x7ff0}, {"F32", 4, 0x7f80}, {"I32", 4, 0},
    {"BF16", 2, 0x7f80}, {"F16", 2, 0x7c00}, {"U8", 1, 0}, {"BOOL", 1, 0}};

/* CRC-32C (Castagnoli), from 0; the result of one piece starts the next. */
static uint32_t drli_crc32c(uint32_t crc, const void *data, size_t n)
{
    const unsigned char *p = (const unsigned char *)data;
    uint32_t table[256], i, j;
    for (i = 0; i < 256; i++) {
        table[i] = i;
        for (j = 0; j < 8; j++) table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0x82f63b78u : 0u);
    }
    for (crc = ~crc; n; n--) crc = crc >> 8 ^ table[(crc ^ *p++) & 255];
    return ~crc;
}

size_t drl_entry_bytes(const drl_entry *entry)
{
    size_t bytes = drli_dtypes[entry->dtype].size;
    int i;
    for (i = 0; i < entry->rank; i++) {
        uint64_t d = (uint64_t)entry->shape[i];
        bytes = d && bytes > SIZE_MAX / d ? SIZE_MAX : bytes * (size_t)d;
    }
    return bytes;
}

/* "F32 [17, 256]" to out [96] */
static const char *drli_entry_show(char *out, const drl_entry *e)
{
    drli_text t = drli_text_begin(out, 96);
    int i;
    drli_text_addf(&t, "%s [", drli_dtypes[e->dtype].name);
    for (i = 0; i < e->rank; i++) drli_text_addf(&t, "%s%l", i ? ", " : "", e->shape[i]);
    drli_text_add(&t, "]");
    return out;
}

static int drli_entry_after(const drl_entry *a, const drl_entry *b)
{
    ptrdiff_t d = (const char *)a->data - (const char *)b->data;
    return d ? d > 0 : drl_entry_bytes(a) > drl_entry_bytes(b);
}

static const drl_entry *drli_entries_find(const drl_entry *e, int n, const char *name)
{
    int i = 0;
    while (i < n && strcmp(e[i].name, name) != 0) i++;
    return i < n ? &e[i] : NULL;
}

void drl_state_init(drl_state *state, drl_context *ctx)
{
    memset(state, 0, sizeof(*state));
    state->ctx = ctx;
}

void drl_state_free(drl_state *state)
{
    if (state->entries)
        drl_memory_free(state->ctx, state->entries, DRL_ENTRIES_MAX * sizeof(drl_entry));
    memset(state, 0, sizeof(*state));
}

static int drli_name_good(const char *s)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyz_./0123456789-ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t n = strspn(s, good);
    return n > 0 && n < 64 && !s[n] && strcmp(s, "__metadata__") != 0;
}

void drl_state_add(drl_state *state, const char *name, drl_dtype dtype, int rank,
    const int64_t *shape, void *data)
{
    drl_context *ctx = state->ctx;
    drl_entry *e;
    int i, good = (unsigned)dtype < DRL_DTYPE_COUNT && rank >= 0 && rank <= 4;
    if (state->status) return;
    if (!state->entries)
        state->entries = (drl_entry *)drl_memory_alloc(ctx, DRL_ENTRIES_MAX * sizeof(*e));
    if (!state->entries) {
        state->status = DRL_ERR_MEMORY;
    } else if (!drli_name_good(name) || drli_entries_find(state->entries, state->count, name)) {
        state->status = drli_fail(ctx, DRL_ERR_NAME, "drl_state_add: expected a new name of 1 to "
            "63 letters, digits and . _ - /, got '%q'", name);
    } else if (state->count == DRL_ENTRIES_MAX) {
        state->status = drli_fail(ctx, DRL_ERR_RANGE, "drl_state_add: expected at most %d tensors",
            DRL_ENTRIES_MAX);
    } else {
        e = &state->entries[state->count++];
        memset(e, 0, sizeof(*e));
        memcpy(e->name, name, strlen(name));
        e->data = data;
        if (good) { e->dtype = dtype; e->rank = rank; }
        for (i = 0; i < e->rank; i++) {
            e->shape[i] = shape[i];
            good = good && shape[i] >= 0;
        }
        if (!good || drl_entry_bytes(e) > (data ? SIZE_MAX / 2 : 0))
            state->status = drli_fail(ctx, DRL_ERR_SHAPE, "drl_state_add: %s: expected data, a "
                "known dtype, at most 4 sizes of 0 or more whose product fits in memory", name);
    }
}

static void drli_state_put(drl_state *state, const char *prefix, const char *name,
    drl_dtype dtype, int64_t rows, int64_t cols, void *data)
{
    char full[DRLI_NAME];
    int64_t shape[2] = {rows, cols};
    drl_state_add(state, drli_name(full, "%s%s", prefix, name), dtype, cols ? 2 : 1, shape, data);
}

void drl_state_add_f32(drl_state *state, const char *name, float *data, int rows, int cols)
{
    drli_state_put(state, "", name, DRL_F32, rows, cols, data);
}

static int drli_utf8_good(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    while (*s) {
        unsigned c = *s++, low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
        unsigned high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        int more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
        if ((c >= 0x80 && c < 0xc2) || c > 0xf4) return 0;
        for (; more > 0; more--, s++, low = 0x80, high = 0xbf) {
            if (*s < low || *s > high) return 0;
        }
    }
    return 1;
}

void drl_meta_init(drl_meta *meta, drl_context *ctx)
{
    memset(meta, 0, sizeof(*meta));
    meta->arena.ctx = ctx;
}

void drl_meta_free(drl_meta *meta)
{
    drl_arena_free(&meta->arena);
    memset(meta, 0, sizeof(*meta));
}

static drl_pair *drli_meta_find(const drl_meta *meta, const char *key)
{
    int i = 0;
    while (i < meta->count && strcmp(meta->pairs[i].key, key) != 0) i++;
    return i < meta->count ? &meta->pairs[i] : NULL;
}

const char *drl_meta_get(const drl_meta *meta, const char *key)
{
    const drl_pair *pair = drli_meta_find(meta, key);
    return pair ? pair->value : NULL;
}

static void drli_meta_push(drl_meta *meta, const char *key, const char *value)
{
    drl_pair pair = {key, value};
    if (!meta->pairs) {
        size_t bytes = (DRL_META_MAX + 4) * sizeof(drl_pair);
        meta->pairs = (drl_pair *)drl_arena_alloc(&meta->arena, bytes);
        if (!meta->pairs) { meta->status = DRL_ERR_MEMORY; return; }
    }
    meta->pairs[meta->count++] = pair;
}

void drl_meta_set(drl_meta *meta, const char *key, const char *value)
{
    size_t k = strlen(key) + 1, v = strlen(value) + 1;
    drl_pair *old = drli_meta_find(meta, key);
    char *copy;
    if (meta->status) return;
    if (k < 2 || k > 65 || !drli_utf8_good(key) || !drli_utf8_good(value)) {
        meta->status = drli_fail(meta->arena.ctx, DRL_ERR_FORMAT, "drl_meta_set: '%q': expected "
            "UTF-8 text and a key of 1 to 64 bytes", key);
    } else if (!old && meta->count >= DRL_META_MAX) {
        meta->status = drli_fail(meta->arena.ctx, DRL_ERR_RANGE, "drl_meta_set: expected at most "
            "%d pairs", DRL_META_MAX);
    } else if ((copy = (char *)drl_arena_alloc(&meta->arena, k + v)) == NULL) {
        meta->status = DRL_ERR_MEMORY;
    } else {
        memcpy(copy, key, k);
        memcpy(copy + k, value, v);
        if (old) old->value = copy + k;
        else drli_meta_push(meta, copy, copy + k);
    }
}

/* Place of a key among save's own pairs, from 1; 0 for others. */
static int drli_meta_own(const char *key)
{
    static const char own[][12] = {"format", "version", "crc32c", "meta_crc32c"};
    int i = DRLI_COUNT(own);
    while (i > 0 && strcmp(key, own[i - 1]) != 0) i--;
    return i;
}

/* Checksum of a pair, 0 for the checksums; summed, so that the order of pairs is free. */
static uint32_t drli_pair_crc(const char *key, const char *value)
{
    if (drli_meta_own(key) > 2) return 0;
    return drli_crc32c(drli_crc32c(0, key, strlen(key) + 1), value, strlen(value));
}

static const char *drli_hex8(char *out, uint32_t v)
{
    int i;
    for (i = 7; i >= 0; i--, v >>= 4) out[i] = "0123456789abcdef"[v & 15];
    out[8] = 0;
    return out;
}

/* Reads the JSON of the format, without recursion; strings are decoded in place. The first error
   sticks and moves `at` to the end, a zero, where everything stops. */
typedef struct drli_json {
    drl_file *file;
    const char *path, *name; /* for messages */
    char *begin, *at, *end, *data;
    size_t data_size;
    drl_status status;
} drli_json;

static void drli_json_fail(drli_json *p, const char *what, const char *got)
{
    if (p->status) return;
    p->status = drli_fail(p->file->ctx, DRL_ERR_FORMAT, "drl_file_open: %s: header byte %l%s%q: "
        "%s%q", p->path, (int64_t)(p->at - p->begin), p->name ? ", in " : "", p->name ? p->name :
        "", what, got);
    p->at = p->end;
}

/* Take c if it is next after blanks. */
static int drli_json_take(drli_json *p, char c)
{
    p->at += strspn(p->at, " \t\n\r");
    if (*p->at != c) return 0;
    p->at++;
    return 1;
}

static void drli_json_need(drli_json *p, const char *c)
{
    if (!drli_json_take(p, *c)) drli_json_fail(p, "expected ", c);
}

/* \uXXXX of an escape */
static uint32_t drli_json_hex(drli_json *p)
{
    static const char digits[] = "0123456789abcdef";
    uint32_t code = 0;
    int i;
    for (p->at++, i = 0; i < 5; i++, p->at++) {
        int c = drli_fold(*p->at);
        const char *digit = strchr(digits, c);
        if (i == 0 ? c != 'u' : !c || !digit) {
            drli_json_fail(p, "expected an escape of JSON", "");
            return 1;
        }
        if (i > 0) code = code * 16 + (uint32_t)(digit - digits);
    }
    return code;
}

/* Decode an escape as UTF-8 to out, which never overtakes `at`; return its end. */
static char *drli_json_escape(drli_json *p, char *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *plain = p->at[1] ? strchr(from, p->at[1]) : NULL;
    uint32_t c, low = 0;
    int more;
    if (plain) {
        p->at += 2;
        *out = to[plain - from];
        return out + 1;
    }
    c = drli_json_hex(p);
    if (c >> 10 == 0x36 && *p->at == '\\') low = drli_json_hex(p);
    if (low >> 10 == 0x37) c = 0x10000 + ((c & 0x3ff) << 10) + (low & 0x3ff);
    if (c == 0 || c >> 11 == 0x1b) {
        drli_json_fail(p, "zero byte or half of a surrogate pair in a string", "");
        return out;
    }
    more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    *out++ = (char)(more ? (0xf00 >> (more + 1) & 0xff) | (int)(c >> (6 * more)) : (int)c);
    while (more--) *out++ = (char)(0x80 | (int)(c >> (6 * more) & 0x3f));
    return out;
}

/* Returns "" after an error. */
static const char *drli_json_string(drli_json *p)
{
    char *out, *start;
    if (!drli_json_take(p, '"')) drli_json_fail(p, "expected a string", "");
    for (out = start = p->at; !p->status && *p->at != '"';) {
        if (p->at == p->end) drli_json_fail(p, "string without end", "");
        else if ((unsigned char)*p->at < 32) drli_json_fail(p, "control character in a string", "");
        else if (*p->at == '\\') out = drli_json_escape(p, out);
        else *out++ = *p->at++;
    }
    if (p->status) return "";
    p->at++;
    *out = 0;
    return start;
}

/* Return the key of the next member of an object, NULL behind the last. */
static const char *drli_json_key(drli_json *p, int first)
{
    const char *key;
    if (first) drli_json_need(p, "{");
    if (first ? drli_json_take(p, '}') : !drli_json_take(p, ',')) {
        if (!first) drli_json_need(p, "}");
        return NULL;
    }
    key = drli_json_string(p);
    drli_json_need(p, ":");
    return p->status ? NULL : key;
}

/* A list of at most max whole numbers below 10^18; returns how many. */
static int drli_json_list(drli_json *p, int64_t *v, int max)
{
    int n = 0;
    drli_json_need(p, "[");
    if (drli_json_take(p, ']')) return 0;
    do {
        const char *start = p->at += strspn(p->at, " \t\n\r");
        int64_t u = 0;
        for (; drli_is_digit(*p->at) && p->at - start < 19; p->at++) u = u * 10 + (*p->at - '0');
        if (p->at == start || p->at - start > 18 || (*start == '0' && p->at - start > 1))
            drli_json_fail(p, "expected a whole number, 1 to 18 digits without leading zeros", "");
        if (n == max) drli_json_fail(p, "list is too long", "");
        else v[n++] = u;
    } while (drli_json_take(p, ','));
    drli_json_need(p, "]");
    return n;
}

static drl_dtype drli_json_dtype(drli_json *p)
{
    const char *name = drli_json_string(p);
    int i = DRL_DTYPE_COUNT - 1;
    while (i > 0 && strcmp(name, drli_dtypes[i].name) != 0) i--;
    if (strcmp(name, drli_dtypes[i].name) != 0) drli_json_fail(p, "unknown dtype ", name);
    return (drl_dtype)i;
}

/* {"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}, the three in any order */
static void drli_json_tensor(drli_json *p)
{
    static const char keys[][13] = {"dtype", "shape", "data_offsets"};
    drl_file *f = p->file;
    drl_entry e;
    const char *key, *fault = f->count == DRL_ENTRIES_MAX ? "more tensors than DRL_ENTRIES_MAX"
        : strlen(p->name) > 63 ? "name of more than 63 bytes"
        : drl_file_find(f, p->name) ? "this name was there before" : NULL;
    int64_t place[2] = {0, 0};
    int i, n = 0, seen = 0;
    if (fault) { drli_json_fail(p, fault, ""); return; }
    memset(&e, 0, sizeof(e));
    memcpy(e.name, p->name, strlen(p->name));
    for (key = drli_json_key(p, 1); key; key = drli_json_key(p, 0)) {
        for (i = 0; i < 3 && strcmp(key, keys[i]) != 0; i++) {}
        if (i == 3 || (seen >> i & 1)) drli_json_fail(p, "unknown or second field ", key);
        seen |= 1 << i;
        if (i == 0) e.dtype = drli_json_dtype(p);
        if (i == 1) e.rank = drli_json_list(p, e.shape, 4);
        if (i == 2) n = drli_json_list(p, place, 2);
    }
    if (seen != 7 || n != 2) fault = "expected dtype, shape and two data_offsets";
    else if (place[0] > place[1]) fault = "data ends before it begins";
    else if ((uint64_t)place[1] > p->data_size) fault = "data lies beyond the end of the file";
    else if ((uint64_t)(place[1] - place[0]) != drl_entry_bytes(&e)) {
        fault = "shape and data_offsets differ";
    }
    if (fault) drli_json_fail(p, fault, "");
    if (p->status) return;
    e.data = p->data + place[0];
    for (i = f->count++; i > 0 && drli_entry_after(&f->entries[i - 1], &e); i--)
        f->entries[i] = f->entries[i - 1];
    f->entries[i] = e;
}

/* {"key":"value", ...} */
static void drli_json_meta(drli_json *p, drl_meta *meta)
{
    const char *key;
    for (key = drli_json_key(p, 1); key; key = drli_json_key(p, 0)) {
        const char *value = drli_json_string(p);
        if (drl_meta_get(meta, key)) drli_json_fail(p, "second value of ", key);
        if (meta->count == DRL_META_MAX + 4) drli_json_fail(p, "more pairs than DRL_META_MAX", "");
        if (!p->status) drli_meta_push(meta, key, value);
    }
}

/* The tensors must cover the data. */
static void drli_json_header(drli_json *p)
{
    const drl_file *f = p->file;
    const char *name, *at = p->data;
    int i, metas = 0;
    if (!drli_utf8_good(p->begin)) drli_json_fail(p, "header is not UTF-8", "");
    else if (*p->at != '{') drli_json_fail(p, "expected { at once", "");
    for (name = drli_json_key(p, 1); name; name = drli_json_key(p, 0)) {
        p->name = name;
        if (strcmp(name, "__metadata__") != 0) drli_json_tensor(p);
        else if (metas++) drli_json_fail(p, "this name was there before", "");
        else drli_json_meta(p, &p->file->meta);
        p->name = NULL;
    }
    p->at += strspn(p->at, " \t\n\r");
    if (p->at < p->end) drli_json_fail(p, "text after the end", "");
    for (i = 0; i < f->count && !p->status; i++) {
        const char *data = (const char *)f->entries[i].data;
        p->name = f->entries[i].name;
        if (data < at) drli_json_fail(p, "data overlaps that of another tensor", "");
        if (data > at) drli_json_fail(p, "data comes after a hole", "");
        at = data + drl_entry_bytes(&f->entries[i]);
    }
    p->name = NULL;
    if (at != p->data + p->data_size) drli_json_fail(p, "more data than the tensors have", "");
}

static void drli_json_sum(drli_json *p, const char *key, int own, uint32_t sum)
{
    const char *got = drl_meta_get(&p->file->meta, key);
    char hex[9];
    if (got ? !strcmp(got, drli_hex8(hex, sum)) : !own) return;
    p->name = key;
    drli_json_fail(p, "checksum of other data, ", got ? got : "none");
}

/* Our own files have a version and two checksums; what others have of them must agree. */
static void drli_json_sums(drli_json *p)
{
    const drl_meta *meta = &p->file->meta;
    const char *format = drl_meta_get(meta, "format"), *version = drl_meta_get(meta, "version");
    int i, own = format && !strcmp(format, "diffrl");
    uint32_t sum = 0;
    if (p->status) return;
    if (own && (!version || strcmp(version, "1") != 0))
        drli_json_fail(p, "expected version 1, got ", version ? version : "none");
    for (i = 0; i < meta->count; i++)
        sum += drli_pair_crc(meta->pairs[i].key, meta->pairs[i].value);
    drli_json_sum(p, "crc32c", own, drli_crc32c(0, p->data, p->data_size));
    drli_json_sum(p, "meta_crc32c", own, sum);
}

void drl_file_close(drl_file *file)
{
    drl_meta_free(&file->meta);
    memset(file, 0, sizeof(*file));
}

static drl_status drli_file_start(drl_file *file, drl_context *ctx, size_t size)
{
    drl_arena *arena = &file->meta.arena;
    const size_t entries = DRL_ENTRIES_MAX * sizeof(drl_entry);
    memset(file, 0, sizeof(*file));
    if (drl_arena_init(arena, ctx, size + entries + (DRL_META_MAX + 20) * sizeof(drl_pair)))
        return DRL_ERR_MEMORY;
    file->ctx = ctx;
    file->entries = (drl_entry *)drl_arena_alloc(arena, entries);
    file->bytes = (unsigned char *)drl_arena_alloc(arena, size);
    file->size = size;
    return DRL_OK;
}

static drl_status drli_file_parse(drl_file *f, const char *path)
{
    drli_json p;
    uint64_t n = 0;
    int i;
    memset(&p, 0, sizeof(p));
    for (i = 7; i >= 0 && f->size >= 8; i--) n = n << 8 | f->bytes[i];
    if (n < 2 || n > 100000000 || n > f->size - 8) {
        p.status = drli_fail(f->ctx, DRL_ERR_FORMAT, "drl_file_open: %s: expected a safetensors "
            "header of 2 to 100000000 bytes, got %l in a file of %l", path, (int64_t)n,
            (int64_t)f->size);
    } else {
        p.file = f, p.path = path;
        p.begin = p.at = (char *)f->bytes;
        p.end = p.begin + n;
        p.data = p.end + 8;
        p.data_size = f->size - 8 - (size_t)n;
        memmove(p.begin, p.begin + 8, (size_t)n); /* room for a zero at the end */
        *p.end = 0;
        drli_json_header(&p);
        drli_json_sums(&p);
    }
    if (p.status) drl_file_close(f);
    return p.status;
}

drl_status drl_file_open_memory(drl_file *file, drl_context *ctx, const void *bytes, size_t size)
{
    drl_status status = drli_file_start(file, ctx, size);
    if (status) return status;
    if (size) memcpy(file->bytes, bytes, size);
    return drli_file_parse(file, "memory");
}

const drl_entry *drl_file_find(const drl_file *file, const char *name)
{
    return drli_entries_find(file->entries, file->count, name);
}

/* Has `from` (of a file, or NULL) the form of `to`, and only values that may be loaded? */
static drl_status drli_entry_check(drl_context *ctx, const drl_entry *from, const drl_entry *to,
    int flags)
{
    char want[96], got[96];
    size_t i, size = drli_dtypes[to->dtype].size, bytes = drl_entry_bytes(to);
    unsigned nan = flags & DRL_LOAD_NAN ? 0 : drli_dtypes[to->dtype].nan;
    if (!from)
        return drli_fail(ctx, DRL_ERR_NAME, "drl_file_load: expected a tensor %s, %s, but the file "
            "has none of that name", to->name, drli_entry_show(want, to));
    if (from->dtype != to->dtype || from->rank != to->rank ||
        memcmp(from->shape, to->shape, sizeof(to->shape)) != 0) {
        return drli_fail(ctx, DRL_ERR_SHAPE, "drl_file_load: tensor %s: expected %s, got %s; was "
            "the file made with the same settings?", to->name, drli_entry_show(want, to),
            drli_entry_show(got, from));
    }
    for (i = size; i <= bytes && nan; i += size) {
        const unsigned char *end = (const unsigned char *)from->data + i;
        if (((unsigned)end[-1] << 8 & nan) + (end[-2] & nan) == nan)
            return drli_fail(ctx, DRL_ERR_NAN, "drl_file_load: tensor %s: the number at index %l "
                "is not finite", to->name, (int64_t)(i / size - 1));
    }
    return DRL_OK;
}

drl_status drl_file_load(const drl_file *file, drl_state *state, int flags)
{
    drl_status status = state->status;
    char form[96];
    int i;
    for (i = 0; i < state->count && !status; i++) {
        const drl_entry *to = &state->entries[i];
        status = drli_entry_check(state->ctx, drl_file_find(file, to->name), to, flags);
    }
    for (i = 0; i < file->count && !status && !(flags & DRL_LOAD_EXTRA); i++) {
        const drl_entry *from = &file->entries[i];
        if (drli_entries_find(state->entries, state->count, from->name)) continue;
        status = drli_fail(state->ctx, DRL_ERR_NAME, "drl_file_load: the file has a tensor %q, %s, "
            "that the object has not; DRL_LOAD_EXTRA skips it", from->name, drli_entry_show(form,
            from));
    }
    for (i = 0; i < state->count && !status; i++) {
        const drl_entry *to = &state->entries[i];
        size_t bytes = drl_entry_bytes(to);
        if (bytes) memcpy(to->data, drl_file_find(file, to->name)->data, bytes);
    }
    return status;
}

/* "s" with what JSON wants escaped */
static void drli_text_json(drli_text *t, const char *s)
{
    char hex[9];
    for (drli_text_char(t, '"'); *s; s++) {
        if ((unsigned char)*s >= 32 && *s != '"' && *s != '\\') drli_text_char(t, *s);
        else drli_text_addf(t, "\\u%s", drli_hex8(hex, (uint32_t)*s) + 4);
    }
    drli_text_char(t, '"');
}

static void drli_text_header(drli_text *t, const drl_state *state, const drl_meta *meta,
    uint32_t crc)
{
    uint32_t sum = drli_pair_crc("format", "diffrl") + drli_pair_crc("version", "1");
    char hex[9];
    int64_t place = 0;
    int i, j;
    drli_text_addf(t, "{\"__metadata__\":{\"format\":\"diffrl\",\"version\":\"1\","
        "\"crc32c\":\"%s\"", drli_hex8(hex, crc));
    for (i = 0; meta && i < meta->count; i++) {
        const drl_pair *pair = &meta->pairs[i];
        if (drli_meta_own(pair->key)) continue;
        drli_text_char(t, ',');
        drli_text_json(t, pair->key);
        drli_text_char(t, ':');
        drli_text_json(t, pair->value);
        sum += drli_pair_crc(pair->key, pair->value);
    }
    drli_text_addf(t, ",\"meta_crc32c\":\"%s\"}", drli_hex8(hex, sum));
    for (i = 0; i < state->count; i++) { /* names and dtypes need no escapes */
        const drl_entry *e = &state->entries[i];
        drli_text_addf(t, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", e->name,
            drli_dtypes[e->dtype].name);
        for (j = 0; j < e->rank; j++) drli_text_addf(t, "%s%l", j ? "," : "", e->shape[j]);
        drli_text_addf(t, "],\"data_offsets\":[%l,", place);
        place += (int64_t)drl_entry_bytes(e);
        drli_text_addf(t, "%l]}", place);
    }
    drli_text_char(t, '}');
}

/* Write what precedes the data to file [capacity] or NULL, its length to *head, all's to *size. */
static drl_status drli_state_head(drl_context *ctx, drl_state *state, const drl_meta *meta,
    char *file, size_t capacity, size_t *head, size_t *size)
{
    char none[1];
    drli_text t = drli_text_begin(none, 1);
    drl_entry *e = state->entries, one;
    size_t data = 0;
    uint32_t crc = 0;
    int i, j;
    *size = *head = 0;
    if (state->status) return state->status;
    if (meta && meta->status) return meta->status;
    for (i = 1; i < state->count; i++)
        for (j = i; j > 0 && e[j - 1].dtype > e[j].dtype; j--)
            one = e[j], e[j] = e[j - 1], e[j - 1] = one;
    for (i = 0; i < state->count; i++) {
        data += drl_entry_bytes(&e[i]);
        if (file) crc = drli_crc32c(crc, e[i].data, drl_entry_bytes(&e[i]));
    }
    drli_text_header(&t, state, meta, crc);
    *head = t.length / 8 * 8 + 16; /* ends with 1 to 8 blanks */
    *size = *head + data;
    if (*head > 100000008 || (file && capacity < *size))
        return drli_fail(ctx, DRL_ERR_RANGE, "drl_state_save: expected at most 100000000 bytes of "
            "header, got %l; a buffer of %l bytes, got %l", (int64_t)*head - 8, (int64_t)*size,
            (int64_t)capacity);
    if (!file) return DRL_OK;
    for (i = 0; i < 8; i++) file[i] = (char)(unsigned char)((uint64_t)(*head - 8) >> (8 * i));
    t = drli_text_begin(file + 8, *head - 8);
    drli_text_header(&t, state, meta, crc);
    memset(t.at, ' ', (size_t)(t.end - t.at) + 1);
    return DRL_OK;
}

drl_status drl_state_save_memory(drl_context *ctx, drl_state *state, const drl_meta *meta,
    void *buffer, size_t capacity, size_t *size)
{
    size_t at;
    drl_status s = drli_state_head(ctx, state, meta, (char *)buffer, capacity, &at, size);
    int i;
    for (i = 0; i < state->count && !s && buffer; i++) {
        size_t bytes = drl_entry_bytes(&state->entries[i]);
        if (bytes) memcpy((char *)buffer + at, state->entries[i].data, bytes);
        at += bytes;
    }
    return s;
}

#ifndef DIFFRL_NO_STDIO
#include <errno.h>
#include <stdio.h>
#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <unistd.h>
#endif

drl_status drl_file_open(drl_file *file, drl_context *ctx, const char *path)
{
    long size = 0;
    int good;
    drl_status status = DRL_OK;
    FILE *in = fopen(path, "rb");
    memset(file, 0, sizeof(*file));
    good = in && (getc(in) != EOF || !ferror(in)); /* a folder can be opened, but not read */
    if (good) good = !fseek(in, 0, SEEK_END) && (size = ftell(in)) >= 0 && !fseek(in, 0, SEEK_SET);
    if (good) status = drli_file_start(file, ctx, (size_t)size);
    if (good && !status) {
        errno = 0;
        good = fread(file->bytes, 1, (size_t)size, in) == (size_t)size;
    }
    if (!good) {
        status = drli_fail(ctx, DRL_ERR_FILE, "drl_file_open: %s cannot be read: %s", path, errno ?
            strerror(errno) : "it became shorter");
        drl_file_close(file);
    }
    if (in) fclose(in);
    return status ? status : drli_file_parse(file, path);
}

/* Bring a file or folder to the disk; 0, or -1 with errno set. */
static int drli_sync(const char *path)
{
#if defined(__unix__) || defined(__APPLE__)
    int bad, fd = open(path, O_RDONLY);
    if (fd < 0) return -1;
    bad = fsync(fd);
    return close(fd) || bad ? -1 : 0;
#else
    return 0;
#endif
}

/* Write a new file PATH.tmp.<n> to the disk, head [n] and the data; 0, or why there is none. */
static int drli_temp_write(char *temp, size_t temp_size, const char *path, const char *head,
    size_t n, const drl_state *state)
{
    FILE *out = NULL;
    int i, reason;
    for (i = 0; i < 1000 && !out; i++) { /* crashes leave names */
        drli_text t = drli_text_begin(temp, temp_size);
        drli_text_addf(&t, "%s.tmp.%d", path, i);
        errno = EIO; /* for a failure without a reason */
        out = fopen(temp, "wbx"); /* x: only a new file, follows no links */
        if (!out && errno != EEXIST) break;
    }
    if (!out) return errno;
    for (i = -1, reason = 0; i < state->count && !reason; i++) {
        const drl_entry *e = &state->entries[DRLI_MAX(i, 0)];
        const size_t bytes = i < 0 ? n : drl_entry_bytes(e);
        if (bytes && fwrite(i < 0 ? head : e->data, 1, bytes, out) != bytes) reason = errno;
    }
    if (fclose(out) && !reason) reason = errno;
    if (!reason && drli_sync(temp)) reason = errno;
    if (reason) remove(temp);
    return reason;
}

drl_status drl_state_save(drl_context *ctx, const char *path, drl_state *state,
    const drl_meta *meta)
{
    size_t head, size, n = strlen(path), temp_size = n + 24;
    char *bytes, *temp;
    int reason;
    drl_status status = drli_state_head(ctx, state, meta, NULL, 0, &head, &size);
    if (status) return status;
    bytes = (char *)drl_memory_alloc(ctx, head + temp_size);
    if (!bytes) return DRL_ERR_MEMORY;
    temp = bytes + head;
    drli_state_head(ctx, state, meta, bytes, SIZE_MAX, &head, &size);
    reason = drli_temp_write(temp, temp_size, path, bytes, head, state);
#if defined(_WIN32)
    if (!reason) remove(path); /* there a file cannot be renamed onto another */
#endif
    if (!reason && rename(temp, path)) {
        reason = errno;
        remove(temp);
    }
    if (reason) {
        status = drli_fail(ctx, DRL_ERR_FILE, "drl_state_save: %s cannot be written: %s; the old "
            "file, if any, is intact", path, strerror(reason));
    } else {
        while (n && path[n - 1] != '/') n--; /* the folder, if the system can */
        memcpy(temp, n ? path : ".", n ? n : 1);
        temp[n ? n : 1] = 0;
        drli_sync(temp);
    }
    drl_memory_free(ctx, bytes, head + temp_size);
    return status;
}
#endif

/* ====== >>fields
   Values between memory and text; tables. */

/* The name of choice i to out [DRL_FIELD_TEXT]; returns 0 if there is none. */
static int drli_choice_name(const drl_field *field, int i, char *out)
{
    const char *s = field->doc;
    size_t n;
    for (; i > 0 && *s && *s != ':'; s++) i -= *s == '|';
    n = strcspn(s, "|:");
    n = DRLI_MIN(n, DRL_FIELD_TEXT - 1);
    memcpy(out, s, n);
    out[n] = 0;
    return n > 0 && i == 0;
}

static size_t drli_field_size(const drl_field *field)
{
    return field->type == DRL_FIELD_INT64 || field->type == DRL_FIELD_UINT64 ||
           field->type == DRL_FIELD_DOUBLE ? 8 : 4;
}

static int drli_field_real(const drl_field *field)
{
    return field->type == DRL_FIELD_FLOAT || field->type == DRL_FIELD_DOUBLE;
}

/* The value of a field; *bits are its bytes. */
static double drli_field_value(const drl_field *field, const void *value, uint64_t *bits)
{
    int i;
    float f;
    double d;
    memcpy(&i, value, sizeof(i));
    memcpy(&f, value, sizeof(f));
    if (drli_field_size(field) == 4) return field->type == DRL_FIELD_FLOAT ? (double)f : i;
    memcpy(bits, value, sizeof(*bits));
    memcpy(&d, value, sizeof(d));
    if (field->type == DRL_FIELD_DOUBLE) return d;
    return field->type == DRL_FIELD_INT64 ? (double)(int64_t)*bits : (double)*bits;
}

/* Write real, or whole where the field is no real number. */
static void drli_field_store(const drl_field *field, void *to, double real, uint64_t whole)
{
    float f = (float)real;
    const void *from = &whole; /* little-endian: its first bytes are the int */
    if (field->type == DRL_FIELD_FLOAT) from = &f;
    if (field->type == DRL_FIELD_DOUBLE) from = &real;
    memcpy(to, from, drli_field_size(field));
}

static void drli_field_print(const drl_field *field, const void *value, char *out)
{
    uint64_t bits = 0;
    double v = drli_field_value(field, value, &bits);
    drli_text t = drli_text_begin(out, DRL_FIELD_TEXT);
    if (drli_field_real(field)) {
        drli_text_shortest(&t, v, field->type == DRL_FIELD_FLOAT);
    } else if (field->type == DRL_FIELD_INT64) {
        drli_text_int(&t, (int64_t)bits);
    } else if (field->type == DRL_FIELD_UINT64) {
        if (bits > 9) drli_text_int(&t, (int64_t)(bits / 10));
        drli_text_int(&t, (int64_t)(bits % 10));
    } else if (field->type == DRL_FIELD_BOOL && (v == 0 || v == 1)) {
        drli_text_add(&t, v == 1 ? "true" : "false");
    } else if (field->type != DRL_FIELD_CHOICE || v < 0 || !drli_choice_name(field, (int)v, out)) {
        drli_text_int(&t, (int)v);
    }
}

/* Is a value in its range? Bounds of floats are rounded as their values are. */
static int drli_field_good(const drl_field *field, const void *value)
{
    uint64_t bits;
    double v = drli_field_value(field, value, &bits), low = field->low, high = field->high;
    char name[DRL_FIELD_TEXT];
    if (field->type == DRL_FIELD_CHOICE) return v >= 0 && drli_choice_name(field, (int)v, name);
    if (field->type == DRL_FIELD_BOOL) return v == 0 || v == 1;
    if (field->type == DRL_FIELD_FLOAT) {
        low = (double)(float)low;
        high = (double)(float)high;
    }
    return (low == 0 && high == 0) ? v == v : v >= low && v <= high;
}

/* Read a whole number into bits: digits, or a decimal number that is whole, below 2^53. */
static int drli_parse_whole(const char *s, drl_field_type type, uint64_t *bits)
{
    const char *end, *start = s + (*s == '-' || *s == '+');
    uint64_t u = 0, negative = *s == '-', most = UINT64_MAX;
    double v;
    for (end = start; drli_is_digit(*end); end++) {
        uint64_t digit = (uint64_t)(*end - '0');
        if (u > (UINT64_MAX - digit) / 10) return 0;
        u = u * 10 + digit;
    }
    if (*end || end == start) {
        if (!drli_parse_double(s, &end, &v) || *end || !(fabs(v) < 9007199254740992.0)) return 0;
        if (v != floor(v)) return 0;
        u = (uint64_t)fabs(v);
    }
    if (type == DRL_FIELD_UINT64) most = negative ? 0 : UINT64_MAX;
    else most = (uint64_t)(type == DRL_FIELD_INT ? INT32_MAX : INT64_MAX) + negative;
    *bits = negative ? 0u - u : u;
    return u <= most;
}

/* Read a value of the field's type into out [8]. Returns 0 if s is none. */
static int drli_field_parse(const drl_field *field, const char *s, void *out)
{
    static const char words[][6] = {"false", "true", "0", "1", "no", "yes", "off", "on"};
    char name[DRL_FIELD_TEXT];
    const char *end = s + (*s == '-' || *s == '+');
    double d = *s == '-' ? -HUGE_VAL : HUGE_VAL, most = 1.7976931348623157e308;
    uint64_t bits = 0;
    int i = 0;
    if (field->type == DRL_FIELD_FLOAT) most = 3.4028235677973362e38; /* rounds down */
    if (drli_field_real(field)) {
        if (!drli_words_equal(end, "inf") &&
            (!drli_parse_double(s, &end, &d) || *end || fabs(d) > most)) return 0;
    } else if (field->type == DRL_FIELD_BOOL) {
        while (i < DRLI_COUNT(words) && !drli_words_equal(s, words[i])) i++;
        bits = i & 1;
        if (i == DRLI_COUNT(words)) return 0;
    } else if (field->type == DRL_FIELD_CHOICE) {
        while (drli_choice_name(field, i, name) && !drli_words_equal(s, name)) i++;
        if (!drli_choice_name(field, i, name)) return 0;
        bits = (uint64_t)i;
    } else if (!drli_parse_whole(s, field->type, &bits)) {
        return 0;
    }
    drli_field_store(field, out, d, bits);
    return 1;
}

static drl_status drli_field_fail(drl_context *ctx, const drl_field *field, const char *got)
{
    char range[100];
    drli_text t = drli_text_begin(range, sizeof(range));
    drli_text_add(&t, field->type == DRL_FIELD_CHOICE ? "one of the names" : field->type ==
        DRL_FIELD_BOOL ? "true or false" : field->type <= DRL_FIELD_UINT64 ? "a whole number" :
        "a number");
    if (field->low != 0 || field->high != 0) {
        drli_text_add(&t, " from ");
        drli_text_shortest(&t, field->low, 0);
        drli_text_add(&t, " to ");
        drli_text_shortest(&t, field->high, 0);
    }
    return drli_fail(ctx, DRL_ERR_RANGE, "%s: expected %s, got '%q' (%s)", field->name, range, got,
        field->doc);
}

static const drl_field *drli_field_find(drl_context *ctx, const drl_field *fields, int n,
    const char *key)
{
    const char *best = NULL;
    int i, least = 0;
    for (i = 0; i < n; i++) {
        if (drli_words_equal(key, fields[i].name)) return &fields[i];
        drli_words_nearer(key, fields[i].name, &best, &least);
    }
    drli_fail(ctx, DRL_ERR_NAME, best ? "there is no setting '%q'; did you mean '%s'?" :
        "there is no setting '%q', nor one with a name like it", key, best);
    return NULL;
}

void drl_fields_default(const drl_field *fields, int n, void *config)
{
    int i;
    for (i = 0; i < n; i++) {
        const drl_field *f = &fields[i];
        drli_field_store(f, (char *)config + f->offset, f->value, drli_field_real(f) ? 0 :
            (uint64_t)(int64_t)f->value);
    }
}

drl_status drl_fields_set(drl_context *ctx, const drl_field *fields, int n, void *config,
    const char *key, const char *value)
{
    const drl_field *field = drli_field_find(ctx, fields, n, key);
    unsigned char parsed[8];
    if (!field) return DRL_ERR_NAME;
    if (!drli_field_parse(field, value, parsed) || !drli_field_good(field, parsed))
        return drli_field_fail(ctx, field, value);
    memcpy((char *)config + field->offset, parsed, drli_field_size(field));
    return DRL_OK;
}

drl_status drl_fields_get(drl_context *ctx, const drl_field *fields, int n,
    const void *config, const char *key, char *text)
{
    const drl_field *field = drli_field_find(ctx, fields, n, key);
    *text = 0;
    if (!field) return DRL_ERR_NAME;
    drli_field_print(field, (const char *)config + field->offset, text);
    return DRL_OK;
}

drl_status drl_fields_check(drl_context *ctx, const drl_field *fields, int n, const void *config)
{
    char text[DRL_FIELD_TEXT];
    int i;
    for (i = 0; i < n; i++) {
        const char *value = (const char *)config + fields[i].offset;
        if (drli_field_good(&fields[i], value)) continue;
        drli_field_print(&fields[i], value, text);
        return drli_field_fail(ctx, &fields[i], text);
    }
    return DRL_OK;
}

/* Set config.NAME=value in meta for every field. */
static drl_status drli_fields_to_meta(const drl_field *fields, int n,
    const void *config, drl_meta *meta)
{
    char key[DRLI_NAME], text[DRL_FIELD_TEXT];
    int i;
    for (i = 0; i < n; i++) {
        drli_field_print(&fields[i], (const char *)config + fields[i].offset, text);
        drl_meta_set(meta, drli_name(key, "config.%s", fields[i].name), text);
    }
    return meta->status;
}

/* The other way; fields without a pair keep their values. */
static drl_status drli_fields_from_meta(drl_context *ctx, const drl_field *fields,
    int n, void *config, const drl_meta *meta)
{
    drl_status status = DRL_OK;
    int i;
    for (i = 0; i < meta->count && !status; i++) {
        const drl_pair *pair = &meta->pairs[i];
        if (strncmp(pair->key, "config.", 7) != 0) continue;
        status = drl_fields_set(ctx, fields, n, config, pair->key + 7, pair->value);
    }
    return status;
}

DRLI_HOT
/* ====== >>tape
   Recording, the walk back, and the numeric check. */

drl_status drl_tape_init(drl_tape *t, drl_context *ctx)
{
    memset(t, 0, sizeof(*t));
    t->ctx = ctx, t->grad_enabled = 1, t->poison.data = t->poison_data;
    t->poison.rows = t->poison.cols = 1;
    return drl_arena_init(&t->arena, ctx, 0);
}

void drl_tape_reset(drl_tape *t)
{
    drl_arena_reset(&t->arena);
    t->last = NULL, t->done = 0, t->grad_enabled = 1, t->status = DRL_OK;
}

void drl_tape_free(drl_tape *t)
{
    drl_arena_free(&t->arena);
    memset(t, 0, sizeof(*t));
}

drl_status drl_tape_status(const drl_tape *t) { return t->status; }

/* Keep the first error; return the poison. */
static drl_tensor *drli_tape_fail(drl_tape *t, drl_status status)
{
    if (!t->status) t->status = status;
    return &t->poison;
}

static drl_tensor *drli_shape_error(drl_tape *t, const char *op, const drl_tensor *a,
    const drl_tensor *b, const char *expected)
{
    if (!t->status)
        t->status = drli_fail(t->ctx, DRL_ERR_SHAPE, "%s: expected %s, got [%d, %d] and [%d, %d]",
            op, expected, a->rows, a->cols, b->rows, b->cols);
    return &t->poison;
}

/* Memory of the tape; NULL with its error set. */
static float *drli_tape_floats(drl_tape *t, size_t n)
{
    float *p = (float *)drl_arena_alloc(&t->arena, n * sizeof(float));
    if (!p) drli_tape_fail(t, DRL_ERR_MEMORY);
    return p;
}

static int *drli_tape_ints(drl_tape *t, int n)
{
    return (int *)(void *)drli_tape_floats(t, (size_t)n);
}

static size_t drli_size(const drl_tensor *x) { return DRLI_AT(x->rows, x->cols); }

drl_tensor *drl_tape_input(drl_tape *t, int rows, int cols, float *data)
{
    drl_tensor *x;
    if (t->status) return &t->poison;
    x = (drl_tensor *)drl_arena_alloc(&t->arena, sizeof(*x));
    if (!x) return drli_tape_fail(t, DRL_ERR_MEMORY);
    memset(x, 0, sizeof(*x));
    x->rows = rows, x->cols = cols;
    x->data = data ? data : drli_tape_floats(t, drli_size(x));
    return x->data ? x : &t->poison;
}

static void drli_node_input(const drl_tape *t, drl_tensor *y, int i, drl_tensor *x)
{
    y->in[i] = x;
    if (x && x->needs_grad) y->needs_grad = t->grad_enabled;
}

/* New node of the record with its data, NULL: new memory; the poison after an error. */
static drl_tensor *drli_node_on(drl_tape *t, drl_op op, int rows, int cols, drl_tensor *a,
    drl_tensor *b, float *data)
{
    drl_tensor *y = drl_tape_input(t, rows, cols, data);
    if (t->status) return y;
    y->op = op;
    drli_node_input(t, y, 0, a);
    drli_node_input(t, y, 1, b);
    y->prev = t->last, t->last = y;
    return y;
}

static drl_tensor *drli_node(drl_tape *t, drl_op op, int rows, int cols, drl_tensor *a,
    drl_tensor *b)
{
    return drli_node_on(t, op, rows, cols, a, b, NULL);
}

/* Gradient buffer of x for one more addend. NULL: not needed. *add: 0 if the caller must
   overwrite, 1 if it must add. */
static float *drli_grad(drl_tape *t, drl_tensor *x, int *add)
{
    if (!x || !x->needs_grad) return NULL;
    if (!x->grad) x->grad = drli_tape_floats(t, drli_size(x));
    *add = x->grad_full > 0;
    x->grad_full = 1;
    return x->grad;
}

/* drli_grad, ready for adding. */
static float *drli_grad_add(drl_tape *t, drl_tensor *x)
{
    int add;
    float *g = drli_grad(t, x, &add);
    if (g && !add) memset(g, 0, drli_size(x) * sizeof(float));
    return g;
}

/* One more addend g, used no more: it may become the gradient. */
static void drli_grad_pass(drl_tape *t, drl_tensor *x, float *g)
{
    int add;
    float *to;
    if (x && x->needs_grad && !x->grad) x->grad = g, x->grad_full = 1;
    else if ((to = drli_grad(t, x, &add)) != NULL)
        drl_act_backward(t->ctx, DRL_ACT_NONE, drli_size(x), NULL, NULL, g, to, add);
}

drl_tensor *drl_tape_variable(drl_tape *t, int rows, int cols, float *data)
{
    drl_tensor *x = drl_tape_input(t, rows, cols, data);
    if (!t->status) x->needs_grad = t->grad_enabled;
    return x;
}

drl_status drl_tape_backward(drl_tape *t, drl_tensor *loss)
{
    drl_tensor *y;
    int add;
    float *g;
    if (t->status) return t->status;
    if (loss->rows != 1 || loss->cols != 1 || !loss->needs_grad)
        return t->status = drli_fail(t->ctx, DRL_ERR_SHAPE,
            "drl_tape_backward: expected a 1 x 1 loss that depends on a parameter, got [%d, %d]%s",
            loss->rows, loss->cols, loss->needs_grad ? "" : " without gradient");
    if (t->done)
        return t->status = drli_fail(t->ctx, DRL_ERR_STATE,
            "drl_tape_backward: expected one call between two resets, got two; add the losses");
    t->done = 1;
    g = drli_grad(t, loss, &add);
    if (g) *g = 1.0f;
    for (y = t->last; y && !t->status; y = y->prev) {
        if (y->grad_full) y->op.backward_fn(t, y);
    }
    return t->status;
}

drl_tape_mark drl_tape_save(const drl_tape *t)
{
    drl_tape_mark mark = {drl_arena_save(&t->arena), t->last};
    return mark;
}

void drl_tape_release(drl_tape *t, drl_tape_mark mark)
{
    drl_arena_release(&t->arena, mark.arena);
    t->last = mark.last;
}

static double drli_graph_value(drl_tape *t, drl_graph_fn graph, void *user)
{
    const drl_tensor *loss;
    drl_tape_reset(t);
    loss = graph(t, user);
    return t->status ? 0.0 : (double)loss->data[0];
}

drl_status drl_tape_check_grad(drl_tape *t, drl_graph_fn graph, void *user, drl_tensor *x,
    float step, double *error)
{
    size_t i, n = drli_size(x);
    double largest = 0;
    DIFFRL_ASSERT(x->grad);
    memset(x->grad, 0, n * sizeof(float));
    x->grad_full = 1;
    drl_tape_reset(t);
    drl_tape_backward(t, graph(t, user));
    for (i = 0; i < n; i++) largest = DRLI_MAX(largest, fabs((double)x->grad[i]));
    for (i = 0, *error = 0; i < n && !t->status; i++) {
        float old = x->data[i], h = step * DRLI_MAX(1.0f, fabsf(old)), up = old + h, down = old - h;
        double g = (double)x->grad[i], numeric, e;
        x->data[i] = up;
        numeric = drli_graph_value(t, graph, user);
        x->data[i] = down;
        numeric = (numeric - drli_graph_value(t, graph, user)) / ((double)up - (double)down);
        x->data[i] = old;
        e = fabs(g - numeric) / (fabs(g) + fabs(numeric) + 1e-3 * largest + 1e-12);
        if (!(e <= *error)) *error = e;
    }
    return t->status;
}

/* ====== >>ops
   Each op: shape rule, forward, backward. drli_grad: is a gradient written or added? */

/* Forwards name their backward by DRLI_OP. */
#define DRLI_BACK(name) static void drli_##name##_backward(drl_tape *t, drl_tensor *y)
#define DRLI_OP(name) drli_op(#name, drli_##name##_backward)

static drl_op drli_op(const char *name, void (*backward_fn)(drl_tape *t, drl_tensor *y))
{
    drl_op op = {name, backward_fn};
    return op;
}

/* -- elementwise, two operands */

static int drli_same_shape(const drl_tensor *a, const drl_tensor *b)
{
    return a->rows == b->rows && a->cols == b->cols;
}

/* out [n] = part 0: value, 1, 2: gradient of a, b. step 0: one b for all n. */
#define DRLI_BINARY_ARGS \
    int part, int add, size_t step, size_t n, const float *as, const float *bs, const float *gs, \
    float *out
typedef void (*drli_binary_fn)(DRLI_BINARY_ARGS);

/* Row by row of a, with its part of b. */
static void drli_binary_rows(drli_binary_fn fn, int part, int add, const drl_tensor *a,
    const drl_tensor *b, const float *g, float *out)
{
    int r, runs = drli_same_shape(a, b) ? 1 : a->rows;
    size_t n = drli_size(a) / (size_t)runs;
    for (r = 0; r < runs; r++) {
        size_t at = (size_t)r * n, bt = b->rows == 1 ? 0 : DRLI_AT(r, b->cols);
        fn(part, add, b->cols == a->cols, n, a->data + at, b->data + bt, g + at,
           out + (part == 2 ? bt : at));
    }
}

static drl_tensor *drli_binary(drl_tape *t, drl_op op, drli_binary_fn fn, drl_tensor *a,
    drl_tensor *b)
{
    drl_tensor *y;
    if ((b->rows != a->rows && b->rows != 1) || (b->cols != a->cols && b->cols != 1))
        return drli_shape_error(t, op.name, a, b, "equal shapes, or a second that broadcasts");
    y = drli_node(t, op, a->rows, a->cols, a, b);
    if (!t->status) drli_binary_rows(fn, 0, 0, a, b, a->data, y->data);
    return y;
}

static void drli_binary_back(drl_tape *t, drli_binary_fn fn, drl_tensor *y)
{
    drl_tensor *a = y->in[0], *b = y->in[1];
    int add = 1;
    float *g = drli_grad(t, a, &add);
    if (g) drli_binary_rows(fn, 1, add, a, b, y->grad, g);
    add = 1;
    g = drli_same_shape(a, b) ? drli_grad(t, b, &add) : drli_grad_add(t, b);
    if (g) drli_binary_rows(fn, 2, add, a, b, y->grad, g);
}

/* Value and gradients; g is the gradient of y. Loops with constants vectorize. */
#define DRLI_PART(name, part, add) \
    case 2 * part + add: drli_##name##_loop(part, add, 1, n, as, bs, gs, out); break;
#define DRLI_BINARY_OP(name, value, da, db) \
    DRLI_INLINE void drli_##name##_loop(DRLI_BINARY_ARGS) \
    { \
        size_t i; \
        for (i = 0; i < n; i++) { \
            float a = as[i], b = bs[i * step], g = gs[i]; \
            float d = part == 0 ? (value) : part == 1 ? (da) : (db); \
            float *to = out + (part == 2 ? i * step : i); \
            *to = add ? *to + d : d; \
        } \
    } \
    static void drli_##name##_run(DRLI_BINARY_ARGS) \
    { \
        switch (step ? 2 * part + add : -1) { \
        DRLI_PART(name, 0, 0) \
        DRLI_PART(name, 1, 0) \
        DRLI_PART(name, 1, 1) \
        DRLI_PART(name, 2, 0) \
        DRLI_PART(name, 2, 1) \
        default: drli_##name##_loop(part, add, step, n, as, bs, gs, out); break; \
        } \
    } \
    DRLI_BACK(name) { drli_binary_back(t, drli_##name##_run, y); } \
    drl_tensor *drl_##name(drl_tape *t, drl_tensor *a, drl_tensor *b) \
    { \
        return drli_binary(t, DRLI_OP(name), drli_##name##_run, a, b); \
    }

DRLI_BINARY_OP(add, a + b, g, g)
DRLI_BINARY_OP(sub, a - b, g, -g)
DRLI_BINARY_OP(mul, a * b, g * b, g * a)
DRLI_BINARY_OP(div, a / b, g / b, -(g / b) * (a / b))
DRLI_BINARY_OP(min, a <= b ? a : b, a <= b ? g : 0.0f, a <= b ? 0.0f : g)
DRLI_BINARY_OP(max, a >= b ? a : b, a >= b ? g : 0.0f, a >= b ? 0.0f : g)

/* -- elementwise, one operand, p, q constant */

#define DRLI_UNARY_OP(name, PARAMS, low, high, value, slope) \
    DRLI_KERNEL(name##_value, (n, xs, p, q, ys), size_t n, const float *xs, float p, float q, \
                float *ys) \
    { \
        size_t i; \
        for (i = 0; i < n; i++) { \
            float x = xs[i]; \
            ys[i] = value; \
        } \
    } \
    DRLI_KERNEL(name##_slope, (n, xs, ys, gs, p, q, add, out), size_t n, const float *xs, \
                const float *ys, const float *gs, float p, float q, int add, float *out) \
    { \
        size_t i; \
        for (i = 0; i < n; i++) { \
            float x = xs[i], y = ys[i], d = gs[i] * (slope); \
            (void)x, (void)y; \
            out[i] = add ? out[i] + d : d; \
        } \
    } \
    DRLI_BACK(name) \
    { \
        int add; \
        float *g = drli_grad(t, y->in[0], &add); \
        if (g) \
            drli_##name##_slope(t->ctx->isa, drli_size(y), y->in[0]->data, \
                y->data, y->grad, y->f[0], y->f[1], add, g); \
    } \
    drl_tensor *drl_##name PARAMS \
    { \
        drl_tensor *y = drli_node(t, DRLI_OP(name), x->rows, x->cols, x, NULL); \
        if (t->status) return y; \
        y->f[0] = low, y->f[1] = high; \
        drli_##name##_value(t->ctx->isa, drli_size(y), x->data, y->f[0], y->f[1], \
            y->data); \
        return y; \
    }
#define DRLI_SIMPLE_OP(name, value, slope) \
    DRLI_UNARY_OP(name, (drl_tape *t, drl_tensor *x), 0, 0, value, slope)

DRLI_SIMPLE_OP(exp, drli_expf(x), y)
DRLI_SIMPLE_OP(log, drli_logf(x), 1.0f / x)
DRLI_SIMPLE_OP(sqrt, sqrtf(x), 0.5f / y)
DRLI_SIMPLE_OP(square, x * x, 2.0f * x)
DRLI_SIMPLE_OP(sin, drli_sinf(x), drli_cosf(x))
DRLI_SIMPLE_OP(cos, drli_cosf(x), -drli_sinf(x))
DRLI_SIMPLE_OP(tanh_logdet, 2.0f * (0.69314718f - x - drli_softplusf(-2.0f * x)), -2.0f *
    drli_tanhf(x))
DRLI_UNARY_OP(affine, (drl_tape *t, drl_tensor *x, float scale, float shift), scale, shift, fmaf(p,
    x, q), p)
DRLI_UNARY_OP(clip, (drl_tape *t, drl_tensor *x, float low, float high), low, high, x < p ? p :
    x > q ? q : x, x >= p && x <= q ? 1.0f : 0.0f)

DRLI_BACK(activate)
{
    int add;
    float *g = drli_grad(t, y->in[0], &add);
    if (g) drl_act_backward(t->ctx, (drl_act)y->i[0], drli_size(y), y->in[0]->data, y->data,
            y->grad, g, add);
}
drl_tensor *drl_activate(drl_tape *t, drl_act act, drl_tensor *x)
{
    drl_tensor *y = drli_node(t, DRLI_OP(activate), x->rows, x->cols, x, NULL);
    if (t->status) return y;
    y->i[0] = (int)act;
    drl_act_forward(t->ctx, act, drli_size(y), x->data, y->data);
    return y;
}

/* -- matrix product */

/* y = act(z), z = x w + bias + base:  dz = dy act'(z) in dy's place;  dw += x' dz,  dx += dz w',
   dbias += column sums of dz,  dbase += dz. */
DRLI_BACK(linear)
{
    drl_tensor *x = y->in[0], *w = y->in[1], *bias = y->in[2], *base = y->in[3];
    drl_context *ctx = t->ctx;
    int add = 0;
    float *g, *dz = y->grad;
    drl_epilogue sum = {0, NULL, NULL, 0, DRL_ACT_NONE, NULL, 0};
    if (y->i[0] != DRL_ACT_NONE)
        drl_act_backward(ctx, (drl_act)y->i[0], drli_size(y), (const float *)y->saved,
            y->data, y->grad, dz, 0);
    g = drli_grad(t, w, &add);
    sum.accumulate = add;
    if (g)
        drl_gemm(ctx, DRL_GEMM_TN, w->rows, w->cols, x->rows, x->data, x->cols, dz, y->cols, g,
            w->cols, &sum);
    g = drli_grad(t, bias, &add);
    if (g) drl_column_sum(ctx, y->rows, y->cols, dz, y->cols, g, add);
    g = drli_grad(t, x, &add);
    sum.accumulate = add;
    if (g)
        drl_gemm(ctx, DRL_GEMM_NT, x->rows, x->cols, y->cols, dz, y->cols, w->data, w->cols, g,
            x->cols, &sum);
    drli_grad_pass(t, base, dz);
}

/* bf16, nearest even, of x; a pair, its first in the upper half */
DRLI_INLINE uint32_t drli_bf16(float x)
{
    uint32_t u = drli_bits(x);
    return x != x ? 0x7fc00000u : (u + 0x7fffu + (u >> 16 & 1)) & 0xffff0000u;
}
DRLI_INLINE float drli_pair(float x, float y)
{
    return drli_float(drli_bf16(x) | drli_bf16(y) >> 16);
}

/* n rounded values, or pairs of neighbours in a row (gap 1) or column (gap n). */
DRLI_KERNEL(bf16_row, (n, x, gap, out), int n, const float *x, int gap, float *out)
{
    int i;
    if (gap == 0) for (i = 0; i < n; i++) out[i] = drli_pair(x[i], 0.0f);
    else if (gap == 1) for (i = 0; i < n; i++) out[i] = drli_pair(x[2 * i], x[2 * i + 1]);
    else for (i = 0; i < n; i++) out[i] = drli_pair(x[i], x[gap + i]);
}

/* x [m, k] or weights [k, n]: pairs along k if the CPU has such products; behind it room for
   drli_tile_amx to read. */
static float *drli_bf16_copy(drl_tape *t, const drl_tensor *x, int weights)
{
    const int pairs = drli_bf16_ways(t->ctx) != 0, down = pairs && weights;
    const int n = x->cols >> (pairs - down);
    float *out = drli_tape_floats(t, DRLI_AT((x->rows >> down) + 32, n));
    int i;
    for (i = 0; out && i < x->rows >> down; i++)
        drli_bf16_row(t->ctx->isa, n, x->data + DRLI_AT(i << down, x->cols), down ? n : pairs,
            out + DRLI_AT(i, n));
    return out;
}

drl_tensor *drl_linear(drl_tape *t, drl_tensor *x, drl_tensor *w, drl_tensor *bias,
    drl_tensor *base, drl_act act)
{
    const float *in = x->data;
    int k = x->cols;
    drl_tensor *y;
    drl_epilogue e = {0, bias ? bias->data : NULL, base ? base->data : NULL, w->cols, act, NULL, 0};
    if (x->cols != w->rows) return drli_shape_error(t, "linear", x, w, "cols of x = rows of w");
    if (bias && (bias->rows != 1 || bias->cols != w->cols))
        return drli_shape_error(t, "linear", bias, w, "a bias [1, cols of w]");
    if (base && (base->rows != x->rows || base->cols != w->cols))
        return drli_shape_error(t, "linear", base, w, "a base [rows of x, cols of w]");
    y = drli_node(t, DRLI_OP(linear), x->rows, w->cols, x, w);
    if (t->status) return y;
    drli_node_input(t, y, 2, bias);
    drli_node_input(t, y, 3, base);
    y->i[0] = (int)act;
    if (y->needs_grad && (act == DRL_ACT_GELU || act == DRL_ACT_MISH || act == DRL_ACT_SOFTPLUS)) {
        y->saved = e.pre = drli_tape_floats(t, drli_size(y));
        if (t->status) return &t->poison;
    }
    if (w->bf16 && !t->grad_enabled) {
        in = drli_bf16_copy(t, x, 0);
        e.pairs = t->ctx->bf16 != 0;
        k = x->cols >> e.pairs;
        if (!in) return &t->poison;
    }
    drl_gemm(t->ctx, DRL_GEMM_NN, x->rows, w->cols, k, in, k, in == x->data ? w->data : w->bf16,
        w->cols, y->data, w->cols, &e);
    return y;
}

/* -- reductions and shapes */

DRLI_BACK(sum_cols)
{
    float *g = drli_grad_add(t, y->in[0]);
    int r, c, n = y->in[0]->cols;
    for (r = 0; g && r < y->rows; r++, g += n)
        for (c = 0; c < n; c++) g[c] += y->grad[r];
}
drl_tensor *drl_sum_cols(drl_tape *t, drl_tensor *x)
{
    drl_tensor *y = drli_node(t, DRLI_OP(sum_cols), x->rows, 1, x, NULL);
    const float *row = x->data;
    int r, c;
    if (t->status) return y;
    for (r = 0; r < x->rows; r++, row += x->cols) {
        float s = 0;
        for (c = 0; c < x->cols; c++) s += row[c];
        y->data[r] = s;
    }
    return y;
}

DRLI_BACK(mean)
{
    size_t i, n = drli_size(y->in[0]);
    float *g = drli_grad_add(t, y->in[0]), d = y->grad[0] / (float)n;
    for (i = 0; g && i < n; i++) g[i] += d;
}
drl_tensor *drl_mean(drl_tape *t, drl_tensor *x)
{
    drl_tensor *y = drli_node(t, DRLI_OP(mean), 1, 1, x, NULL);
    size_t i, n = drli_size(x);
    double s = 0;
    if (t->status) return y;
    for (i = 0; i < n; i++) s += (double)x->data[i];
    y->data[0] = (float)(s / (double)n);
    return y;
}

/* Copy or add a block of columns, rows ld apart. */
static void drli_move_cols(int rows, int cols, const float *from, int from_ld, int add, float *to,
    int to_ld)
{
    int r, c;
    for (r = 0; r < rows; r++, from += from_ld, to += to_ld)
        for (c = 0; c < cols; c++) to[c] = add ? to[c] + from[c] : from[c];
}

DRLI_BACK(concat)
{
    const float *from = y->grad;
    int i;
    for (i = 0; i < 2; from += y->in[i++]->cols) {
        float *g = drli_grad_add(t, y->in[i]);
        if (g) drli_move_cols(y->rows, y->in[i]->cols, from, y->cols, 1, g, y->in[i]->cols);
    }
}
drl_tensor *drl_concat(drl_tape *t, drl_tensor *a, drl_tensor *b)
{
    drl_tensor *y;
    if (a->rows != b->rows) return drli_shape_error(t, "concat", a, b, "equal rows");
    y = drli_node(t, DRLI_OP(concat), a->rows, a->cols + b->cols, a, b);
    if (t->status) return y;
    drli_move_cols(a->rows, a->cols, a->data, a->cols, 0, y->data, y->cols);
    drli_move_cols(b->rows, b->cols, b->data, b->cols, 0, y->data + a->cols, y->cols);
    return y;
}

/* Do rows or columns first .. first + count - 1 exist? Else the tape's error. */
static int drli_range(drl_tape *t, const char *what, int first, int count, int size)
{
    if (!t->status && (first < 0 || count < 1 || count > size - first))
        t->status = drli_fail(t->ctx, DRL_ERR_SHAPE,
            "%s: expected a range within 0 .. %d, got %d .. %d", what, size - 1, first, first +
            count - 1);
    return !t->status;
}

/* A view of a parameter shares its gradient; else it is added back. */
DRLI_BACK(rows)
{
    drl_tensor *x = y->in[0];
    size_t at = DRLI_AT(y->i[0], x->cols);
    float *g;
    if (x->needs_grad && x->grad && y->grad == x->grad + at) return;
    g = drli_grad_add(t, x);
    if (g) drli_move_cols(1, y->rows * y->cols, y->grad, 0, 1, g + at, 0);
}
drl_tensor *drl_rows(drl_tape *t, drl_tensor *x, int first, int count)
{
    drl_tensor *y;
    size_t at = DRLI_AT(first, x->cols);
    if (!drli_range(t, "rows", first, count, x->rows)) return &t->poison;
    y = drli_node_on(t, DRLI_OP(rows), count, x->cols, x, NULL, x->data + at);
    if (t->status) return y;
    y->i[0] = first;
    if (y->needs_grad && !x->op.name && x->grad) {
        y->grad = x->grad + at;
        y->grad_full = 1, x->grad_full = 2;
    }
    return y;
}

DRLI_BACK(cols)
{
    drl_tensor *x = y->in[0];
    float *g = drli_grad_add(t, x);
    if (g) drli_move_cols(y->rows, y->cols, y->grad, y->cols, 1, g + y->i[0], x->cols);
}
drl_tensor *drl_cols(drl_tape *t, drl_tensor *x, int first, int count)
{
    drl_tensor *y;
    if (!drli_range(t, "cols", first, count, x->cols)) return &t->poison;
    y = drli_node(t, DRLI_OP(cols), x->rows, count, x, NULL);
    if (t->status) return y;
    y->i[0] = first;
    drli_move_cols(x->rows, count, x->data + first, x->cols, 0, y->data, count);
    return y;
}

/* Columns of the value, or of the gradient if there is one. */
static void drli_gather_cols(void *node, int begin, int end, int worker)
{
    const drl_tensor *y = (const drl_tensor *)node, *x = y->in[0], *plus = y->in[1];
    const int *index = (const int *)y->saved, n = end - begin;
    int r;
    for (r = 0; r < y->rows; r++) {
        const size_t at = DRLI_AT(r, y->cols) + (size_t)begin;
        const size_t from = DRLI_AT(index[r], y->cols) + (size_t)begin;
        if (y->grad) drli_move_cols(1, n, y->grad + at, 0, 1, x->grad + from, 0);
        else drli_copy(y->data + at, x->data + from, n);
        if (plus && !y->grad) drli_move_cols(1, n, plus->data + at, 0, 1, y->data + at, 0);
    }
}
DRLI_BACK(gather)
{
    if (drli_grad_add(t, y->in[0]))
        drl_parallel_for(t->ctx, y->cols, 1 + 65536 / (y->rows + 1), drli_gather_cols, y);
    drli_grad_pass(t, y->in[1], y->grad);
}
/* plus [count, cols] or NULL is added. */
static drl_tensor *drli_gather(drl_tape *t, drl_tensor *x, const int *index, int count,
    drl_tensor *plus)
{
    drl_tensor *y = drli_node(t, DRLI_OP(gather), count, x->cols, x, plus);
    int i, *kept = drli_tape_ints(t, count);
    if (t->status) return &t->poison;
    y->saved = kept;
    for (i = 0; i < count; i++) {
        if (!drli_range(t, "gather", index[i], 1, x->rows)) return &t->poison;
        kept[i] = index[i];
    }
    drl_parallel_for(t->ctx, y->cols, 1 + 65536 / (y->rows + 1), drli_gather_cols, y);
    return y;
}
drl_tensor *drl_gather(drl_tape *t, drl_tensor *x, const int *index, int count)
{
    return drli_gather(t, x, index, count, NULL);
}

/* x [B, n] repeated: row r is row r mod B. */
static drl_tensor *drli_repeat_rows(drl_tape *t, drl_tensor *x, int rows)
{
    int r, *index;
    if (rows == x->rows) return x;
    index = drli_tape_ints(t, rows);
    for (r = 0; r < rows && index; r++) index[r] = r % x->rows;
    return drl_gather(t, x, index, rows);
}

/* Rows of a pass over candidates of B states: a multiple of B, 256 or fewer per worker. */
static int drli_pass_rows(int B, int candidates, int threads)
{
    return B * DRLI_MAX(1, DRLI_MIN(candidates, 256 * DRLI_MIN(threads, 8) / B));
}

drl_tensor *drl_detach(drl_tape *t, drl_tensor *x)
{
    return drl_tape_input(t, x->rows, x->cols, x->data);
}

drl_tensor *drl_layer_norm(drl_tape *t, drl_tensor *x, drl_tensor *scale, drl_tensor *shift,
    float eps)
{
    const float part = 1.0f / (float)x->cols;
    drl_tensor *d, *s;
    if (scale->rows != 1 || scale->cols != x->cols || !drli_same_shape(scale, shift))
        return drli_shape_error(t, "layer_norm", x, scale, "scale and shift [1, cols]");
    d = drl_sub(t, x, drl_affine(t, drl_sum_cols(t, x), part, 0.0f));
    s = drl_sqrt(t, drl_affine(t, drl_sum_cols(t, drl_square(t, d)), part, eps));
    return drl_add(t, drl_mul(t, drl_div(t, d, s), scale), shift);
}

/* -- softmax */

/* Rows: p = softmax(x), and log_p = ln p unless NULL. */
DRLI_KERNEL(softmax_rows, (rows, n, x, p, log_p), int rows, int n, const float *x, float *p,
    float *log_p)
{
    int r, c;
    for (r = 0; r < rows; r++, x += n, p += n) {
        float top = x[0], sum = 0, inv;
        for (c = 1; c < n; c++) top = x[c] > top ? x[c] : top;
        for (c = 0; c < n; c++) p[c] = drli_expf(x[c] - top);
        for (c = 0; c < n; c++) sum += p[c];
        inv = 1.0f / sum;
        for (c = 0; c < n; c++) p[c] *= inv;
        if (!log_p) continue;
        top += drli_logf(sum);
        for (c = 0; c < n; c++) log_p[c] = x[c] - top;
        log_p += n;
    }
}

/* g += up (d - p sum(d)), the gradient of x from d = p dy/dp = dy/dln p. */
DRLI_KERNEL(softmax_dx, (rows, n, p, d, up, g), int rows, int n, const float *p, const float *d,
    float up, float *g)
{
    int r, c;
    for (r = 0; r < rows; r++, p += n, d += n, g += n) {
        float s = 0;
        for (c = 0; c < n; c++) s += d[c];
        for (c = 0; c < n; c++) g[c] += up * (d[c] - p[c] * s);
    }
}

static drl_tensor *drli_softmax(drl_tape *t, drl_op op, drl_tensor *x, int log)
{
    drl_tensor *y = drli_node(t, op, x->rows, x->cols, x, NULL);
    float *p = log ? drli_tape_floats(t, drli_size(x)) : y->data;
    if (t->status) return &t->poison;
    y->saved = p;
    drli_softmax_rows(t->ctx->isa, x->rows, x->cols, x->data, p, log ? y->data : NULL);
    return y;
}

DRLI_BACK(log_softmax)
{
    float *g = drli_grad_add(t, y->in[0]);
    if (g) drli_softmax_dx(t->ctx->isa, y->rows, y->cols, (const float *)y->saved, y->grad,
            1.0f, g);
}
drl_tensor *drl_log_softmax(drl_tape *t, drl_tensor *x)
{
    return drli_softmax(t, DRLI_OP(log_softmax), x, 1);
}

DRLI_BACK(softmax)
{
    size_t i;
    for (i = 0; i < drli_size(y); i++) y->grad[i] *= y->data[i];
    drli_log_softmax_backward(t, y);
}
drl_tensor *drl_softmax(drl_tape *t, drl_tensor *x)
{
    return drli_softmax(t, DRLI_OP(softmax), x, 0);
}

/* ====== >>nn
   Parameters, initializers, layers. */

drl_status drl_params_init(drl_params *p, drl_context *ctx, int capacity, int trainable)
{
    memset(p, 0, sizeof(*p));
    p->ctx = ctx, p->capacity = capacity, p->trainable = trainable;
    p->list = (drl_tensor *)drl_memory_alloc(ctx, (size_t)capacity * sizeof(drl_tensor));
    p->names = (char (*)[DRL_NAME_SIZE])drl_memory_alloc(ctx, (size_t)capacity * DRL_NAME_SIZE);
    if (!p->list || !p->names) p->status = DRL_ERR_MEMORY;
    return p->status;
}

drl_tensor *drl_params_add(drl_params *p, const char *prefix, const char *name, int rows, int cols)
{
    drl_tensor *x;
    drli_text t;
    if (p->status) return NULL;
    if (rows < 1 || cols < 1 || rows > 1 << 24 || cols > 1 << 24 || p->count == p->capacity)
        p->status = drli_fail(p->ctx, DRL_ERR_RANGE,
            "drl_params_add: %s%s: expected sizes 1 .. 2^24 and at most %d tensors, got [%d, %d]",
            prefix, name, p->capacity, rows, cols);
    else if (strlen(prefix) + strlen(name) >= DRL_NAME_SIZE)
        p->status = drli_fail(p->ctx, DRL_ERR_NAME,
            "drl_params_add: expected a name of at most %d letters, got %s%s", DRL_NAME_SIZE - 1,
            prefix, name);
    if (p->status) return NULL;
    t = drli_text_begin(p->names[p->count], DRL_NAME_SIZE);
    drli_text_addf(&t, "%s%s", prefix, name);
    x = &p->list[p->count++];
    x->rows = rows, x->cols = cols;
    x->needs_grad = p->trainable;
    p->size += (drli_size(x) + 15) / 16 * 16;
    return x;
}

drl_status drl_params_commit(drl_params *p)
{
    int i, blocks = p->trainable ? 4 : 1;
    size_t at = 0;
    if (p->status) return p->status;
    p->value = (float *)drl_memory_alloc(p->ctx, (size_t)blocks * p->size * sizeof(float));
    if (!p->value) return p->status = DRL_ERR_MEMORY;
    if (p->trainable) {
        p->grad = p->value + p->size;
        p->m = p->grad + p->size;
        p->v = p->m + p->size;
    }
    for (i = 0; i < p->count; i++) {
        p->list[i].data = p->value + at;
        p->list[i].grad = p->trainable ? p->grad + at : NULL;
        p->list[i].grad_full = p->trainable;
        at += (drli_size(&p->list[i]) + 15) / 16 * 16;
    }
    return DRL_OK;
}

void drl_params_free(drl_params *p)
{
    drl_context *ctx = p->ctx;
    size_t blocks = p->trainable ? 4 : 1;
    if (ctx) {
        drl_memory_free(ctx, p->list, (size_t)p->capacity * sizeof(drl_tensor));
        drl_memory_free(ctx, p->names, (size_t)p->capacity * DRL_NAME_SIZE);
        drl_memory_free(ctx, p->value, blocks * p->size * sizeof(float));
    }
    memset(p, 0, sizeof(*p));
}

void drl_params_zero_grad(drl_params *p) { memset(p->grad, 0, p->size * sizeof(float)); }

void drl_params_copy(drl_params *to, const drl_params *from)
{
    memcpy(to->value, from->value, from->size * sizeof(float));
}

DRLI_KERNEL(polyak, (n, from, tau, to), size_t n, const float *from, float tau, float *to)
{
    size_t i;
    for (i = 0; i < n; i++) to[i] = fmaf(tau, from[i] - to[i], to[i]);
}

void drl_params_polyak(drl_params *to, const drl_params *from, float tau)
{
    drli_polyak(to->ctx->isa, to->size, from->value, tau, to->value);
}

/* 256 hashes side by side, then one of them: a change of a single number cannot go unseen. */
DRLI_KERNEL(hash, (n, x, out), size_t n, const float *x, uint64_t *out)
{
    uint32_t h[256] = {0}, w;
    size_t i, j, m;
    for (i = 0; i < n; i += 256) {
        m = DRLI_MIN(n - i, 256);
        for (j = 0; j < m; j++) memcpy(&w, x + i + j, 4), h[j] = h[j] * 31 + w;
    }
    for (*out = i = 0; i < 256; i++) *out = *out * 0x100000001b3u + h[i];
}

void drl_params_state(drl_params *p, drl_state *state, const char *prefix, int optimizer)
{
    int i, moments = optimizer && p->trainable;
    char name[DRLI_NAME];
    for (i = 0; i < p->count; i++) {
        const drl_tensor *x = &p->list[i];
        size_t at = (size_t)(x->data - p->value);
        drli_state_put(state, prefix, p->names[i], DRL_F32, x->rows, x->cols, x->data);
        if (!moments) continue;
        drli_state_put(state, prefix, drli_name(name, "adam_m.%s", p->names[i]), DRL_F32, x->rows,
            x->cols, p->m + at);
        drli_state_put(state, prefix, drli_name(name, "adam_v.%s", p->names[i]), DRL_F32, x->rows,
            x->cols, p->v + at);
    }
    if (moments) drli_state_put(state, prefix, "adam_step", DRL_I64, 1, 0, &p->step);
}

/* Norm of all gradients, in order; zero_nan 1: nan counts as 0. */
static double drli_grad_norm(const drl_params *p, int zero_nan)
{
    double s = 0;
    size_t i;
    for (i = 0; i < p->size; i++) {
        double g = (double)p->grad[i];
        if (!zero_nan || g == g) s += g * g;
    }
    return sqrt(s);
}

/* The first tensor that is not all finite, -1: none. */
static int drli_params_find_nan(const drl_params *p)
{
    int i;
    for (i = 0; i < p->count; i++) {
        const drl_tensor *x = &p->list[i];
        size_t j, n = drli_size(x);
        for (j = 0; j < n; j++)
            if (!drli_finite(x->data[j])) return i;
    }
    return -1;
}

void drl_tensor_init(drl_tensor *x, drl_init kind, float gain, drl_rng *rng)
{
    size_t i, n = drli_size(x);
    float in = (float)x->rows, out = (float)x->cols, bound = 0, sigma = gain;
    /* 0.8796: deviation of a normal cut at 2 sigma */
    if (kind == DRL_INIT_LECUN_NORMAL) sigma = gain / sqrtf(in) / 0.87962566f;
    if (kind == DRL_INIT_XAVIER_UNIFORM) bound = gain * sqrtf(6.0f / (in + out));
    if (kind == DRL_INIT_KAIMING_UNIFORM) bound = gain / sqrtf(in);
    for (i = 0; i < n; i++) {
        if (kind == DRL_INIT_CONSTANT) x->data[i] = gain;
        else if (bound > 0) x->data[i] = bound * (2.0f * drl_rng_uniform(rng) - 1.0f);
        else x->data[i] = sigma * drl_rng_truncated_normal(rng, -2.0f, 2.0f);
    }
}

void drl_dense_add(drl_dense *layer, drl_params *p, const char *prefix, const char *name,
    int in, int out)
{
    char full[DRLI_NAME];
    drli_name(full, "%s%s", prefix, name);
    layer->w = drl_params_add(p, full, ".w", in, out);
    layer->b = drl_params_add(p, full, ".b", 1, out);
}

void drl_dense_init(drl_dense *layer, drl_init kind, float gain, drl_rng *rng)
{
    drl_tensor_init(layer->w, kind, gain, rng);
    drl_tensor_init(layer->b, DRL_INIT_CONSTANT, 0.0f, rng);
}

drl_tensor *drl_dense_forward(drl_tape *t, const drl_dense *layer, drl_tensor *x, drl_act act)
{
    return drl_linear(t, x, layer->w, layer->b, NULL, act);
}

/* A layer whose parameters are constants. */
static drl_tensor *drli_dense_frozen(drl_tape *t, const drl_dense *layer, drl_tensor *x,
    drl_act act)
{
    return drl_linear(t, x, drl_detach(t, layer->w), drl_detach(t, layer->b), NULL, act);
}

static int drli_layers_fit(drl_params *p, const char *prefix, int layers, int least)
{
    if (layers >= least && layers <= DRL_MLP_LAYERS) return 1;
    if (!p->status)
        p->status = drli_fail(p->ctx, DRL_ERR_RANGE, "MLP %s: expected %d .. %d layers, got %d",
            prefix, least, DRL_MLP_LAYERS, layers);
    return 0;
}

void drl_mlp_add(drl_mlp *mlp, drl_params *p, const char *prefix, const int *dims,
    int layers, drl_act act, drl_act out_act)
{
    char name[DRLI_NAME];
    int i;
    memset(mlp, 0, sizeof(*mlp));
    if (!drli_layers_fit(p, prefix, layers, 1)) return;
    mlp->layers = layers, mlp->act = act, mlp->out_act = out_act;
    for (i = 0; i < layers; i++)
        drl_dense_add(&mlp->layer[i], p, prefix, drli_name(name, "l%d", i), dims[i], dims[i + 1]);
}

/* in -> `layers` times width -> out. */
static void drli_mlp_even(drl_mlp *mlp, drl_params *p, const char *prefix, int in,
    int width, int layers, int out, drl_act act)
{
    int dims[DRL_MLP_LAYERS + 1], i;
    for (i = 0; i <= DRL_MLP_LAYERS; i++) dims[i] = width;
    dims[0] = in;
    dims[DRLI_MAX(DRLI_MIN(layers + 1, DRL_MLP_LAYERS), 0)] = out;
    drl_mlp_add(mlp, p, prefix, dims, layers + 1, act, DRL_ACT_NONE);
}

void drl_mlp_init(drl_mlp *mlp, drl_init kind, float gain, drl_rng *rng)
{
    int i;
    for (i = 0; i < mlp->layers; i++) drl_dense_init(&mlp->layer[i], kind, gain, rng);
}

static drl_act drli_mlp_act(const drl_mlp *mlp, int layer)
{
    return layer + 1 < mlp->layers ? mlp->act : mlp->out_act;
}

/* Layers from `first` on; frozen 1: as constants. */
static drl_tensor *drli_mlp_from(drl_tape *t, const drl_mlp *mlp, int first, drl_tensor *x,
    int frozen)
{
    int i;
    for (i = first; i < mlp->layers; i++)
        x = (frozen ? drli_dense_frozen : drl_dense_forward)(t, &mlp->layer[i], x, drli_mlp_act(mlp,
            i));
    return x;
}

drl_tensor *drl_mlp_forward(drl_tape *t, const drl_mlp *mlp, drl_tensor *x)
{
    return drli_mlp_from(t, mlp, 0, x, 0);
}

void drl_resmlp_add(drl_resmlp *net, drl_params *p, const char *prefix, int in, int width,
    int blocks, int out, drl_act act)
{
    char name[DRLI_NAME];
    int i;
    memset(net, 0, sizeof(*net));
    if (!drli_layers_fit(p, prefix, 2 * blocks, 0)) return;
    net->blocks = blocks, net->act = act;
    drl_dense_add(&net->first, p, prefix, "first", in, width);
    for (i = 0; i < 2 * blocks; i++)
        drl_dense_add(&net->layer[i], p, prefix, drli_name(name, "l%d", i), width, width);
    drl_dense_add(&net->last, p, prefix, "last", width, out);
}

void drl_resmlp_init(drl_resmlp *net, drl_init kind, float gain, drl_rng *rng)
{
    int i;
    drl_dense_init(&net->first, kind, gain, rng);
    for (i = 0; i < 2 * net->blocks; i++) drl_dense_init(&net->layer[i], kind, gain, rng);
    drl_dense_init(&net->last, kind, gain, rng);
}

/* What follows the first layer. */
static drl_tensor *drli_resmlp_body(drl_tape *t, const drl_resmlp *net, drl_tensor *h)
{
    int i;
    for (i = 0; i < 2 * net->blocks; i += 2) {
        drl_tensor *x = drl_activate(t, net->act, h);
        x = drl_dense_forward(t, &net->layer[i], x, net->act);
        h = drl_linear(t, x, net->layer[i + 1].w, net->layer[i + 1].b, h, DRL_ACT_NONE);
    }
    return drl_dense_forward(t, &net->last, h, DRL_ACT_NONE);
}

drl_tensor *drl_resmlp_forward(drl_tape *t, const drl_resmlp *net, drl_tensor *x)
{
    return drli_resmlp_body(t, net, drl_dense_forward(t, &net->first, x, DRL_ACT_NONE));
}

void drl_fourier_add(drl_fourier *time, drl_params *p, const char *prefix, int frequencies, int out)
{
    time->frequencies = frequencies;
    time->phase = drl_params_add(p, prefix, "phase", 1, frequencies);
    drl_dense_add(&time->l0, p, prefix, "t0", 2 * frequencies, out);
    drl_dense_add(&time->l1, p, prefix, "t1", out, out);
}

drl_tensor *drl_fourier_forward(drl_tape *tape, const drl_fourier *time, int steps)
{
    drl_tensor *angle = drl_tape_input(tape, steps, time->frequencies, NULL);
    int t, f, n = time->frequencies;
    if (tape->status) return angle;
    for (t = 0; t < steps; t++)
        for (f = 0; f < n; f++) {
            float omega = n > 1 ? fmaf(99.9f, (float)f / (float)(n - 1), 0.1f) : 0.1f;
            angle->data[t * n + f] = omega * (float)t;
        }
    angle = drl_add(tape, angle, time->phase);
    angle = drl_concat(tape, drl_sin(tape, angle), drl_cos(tape, angle));
    angle = drl_dense_forward(tape, &time->l0, angle, DRL_ACT_GELU);
    return drl_dense_forward(tape, &time->l1, angle, DRL_ACT_NONE);
}

void drl_time_sinusoidal(drl_time kind, int steps, int dim, float *out)
{
    int t, i, half = dim / 2;
    float last = (float)(kind == DRL_TIME_SCALED ? half : half - 1);
    float scale = kind == DRL_TIME_SCALED ? 1.0f / sqrtf((float)dim) : 1.0f;
    for (t = 0; t < steps; t++, out += dim)
        for (i = 0; i < half; i++) {
            float rate = drl_expf(-9.2103404f * (float)i / last); /* ln 10000 = 9.21034 */
            out[i] = scale * drl_sinf((float)t * rate);
            out[half + i] = scale * drl_cosf((float)t * rate);
        }
}

void drl_brn_add(drl_brn *layer, drl_params *p, drl_params *running, const char *prefix,
    const char *name, int cols)
{
    char full[DRLI_NAME];
    drli_name(full, "%s%s", prefix, name);
    layer->scale = drl_params_add(p, full, ".scale", 1, cols);
    layer->shift = drl_params_add(p, full, ".shift", 1, cols);
    layer->mean = drl_params_add(running, full, ".mean", 1, cols);
    layer->var = drl_params_add(running, full, ".var", 1, cols);
    layer->momentum = 0.99f, layer->eps = 1e-3f;
    layer->r_max = 3.0f, layer->delta_max = 5.0f;
}

void drl_brn_init(drl_brn *layer)
{
    drl_tensor *all[4] = {layer->shift, layer->mean, layer->scale, layer->var};
    int i;
    for (i = 0; i < 4; i++) drl_tensor_init(all[i], DRL_INIT_CONSTANT, (float)(i / 2), NULL);
}

/* A pass over columns, each by itself: forward, or backward if layer is NULL, to the gradients that
   are not. kept: m, v, r, delta, a, b of each column; sums: sg, sx, km, kv. */
typedef struct drli_brn_job {
    const drl_brn *layer;
    drl_tensor *y;
    float *kept, *sums, *gx, *gscale, *gshift;
    int isa, renorm, add;
} drli_brn_job;

/* y = scale (x - m + delta s / r) / D + shift, s = sqrt(v), D = sqrt(v / r^2 + eps). With
   a = 1 / D, b = delta s / r - m:  xhat = (x + b) a. Moves M and V. */
DRLI_KERNEL(brn_value, (j, at, n), const drli_brn_job *j, int at, int n)
{
    const drl_brn *l = j->layer;
    const int B = j->y->rows, w = j->y->cols;
    const float *x = j->y->in[0]->data + at, *scale = l->scale->data + at;
    const float *shift = l->shift->data + at;
    float *y = j->y->data + at, *M = l->mean->data + at, *V = l->var->data + at;
    float *m = j->kept + at, *v = m + w, *r = v + w, *delta = r + w, *a = delta + w, *b = a + w;
    int i, c;
    for (c = 0; c < n; c++) m[c] = v[c] = 0.0f;
    for (i = 0; i < B; i++)
        for (c = 0; c < n; c++) m[c] += x[i * (ptrdiff_t)w + c];
    for (c = 0; c < n; c++) m[c] /= (float)B;
    for (i = 0; i < B; i++)
        for (c = 0; c < n; c++) {
            float d = x[i * (ptrdiff_t)w + c] - m[c];
            v[c] = fmaf(d, d, v[c]);
        }
    for (c = 0; c < n; c++) {
        float S = sqrtf(V[c] + l->eps);
        v[c] /= (float)B;
        r[c] = drli_clampf(sqrtf(v[c] + l->eps) / S, 1.0f / l->r_max, l->r_max);
        delta[c] = drli_clampf((m[c] - M[c]) / S, -l->delta_max, l->delta_max);
        if (!j->renorm) r[c] = 1.0f, delta[c] = 0.0f;
        M[c] = fmaf(l->momentum, M[c], (1.0f - l->momentum) * m[c]);
        V[c] = fmaf(l->momentum, V[c], (1.0f - l->momentum) * v[c]);
        a[c] = 1.0f / sqrtf(v[c] / (r[c] * r[c]) + l->eps);
        b[c] = delta[c] * sqrtf(v[c]) / r[c] - m[c];
    }
    for (i = 0; i < B; i++, x += w, y += w)
        for (c = 0; c < n; c++) y[c] = fmaf((x[c] + b[c]) * a[c], scale[c], shift[c]);
}

/* Through m and v, not r and delta:
     dscale = sum dy xhat,  dshift = sum dy,  h = dy scale,  H = sum h,  X = sum h xhat
     dm = -H a,   dv = H a delta / (2 r s) - X a^2 / (2 r^2)
     dx = h a + dm / B + 2 (x - m) dv / B */
DRLI_KERNEL(brn_slope, (j, at, n), const drli_brn_job *j, int at, int n)
{
    const int B = j->y->rows, w = j->y->cols;
    const float *x = j->y->in[0]->data + at, *scale = j->y->in[1]->data + at;
    const float *g = j->y->grad + at;
    const float *m = j->kept + at, *v = m + w, *r = v + w, *delta = r + w, *a = delta + w;
    const float *b = a + w;
    float *sg = j->sums + at, *sx = sg + w, *km = sx + w, *kv = km + w, *gx = j->gx;
    int i, c;
    for (c = 0; c < n; c++) sg[c] = sx[c] = 0.0f;
    for (i = 0; i < B; i++)
        for (c = 0; c < n; c++) {
            const ptrdiff_t k = i * (ptrdiff_t)w + c;
            sg[c] += g[k];
            sx[c] = fmaf(g[k], (x[k] + b[c]) * a[c], sx[c]);
        }
    for (c = 0; c < n && j->gscale; c++) j->gscale[at + c] += sx[c];
    for (c = 0; c < n && j->gshift; c++) j->gshift[at + c] += sg[c];
    for (c = 0; c < n; c++) {
        float H = sg[c] * scale[c], X = sx[c] * scale[c], s = sqrtf(v[c]);
        float dv = -X * a[c] * a[c] / (2.0f * r[c] * r[c]);
        if (s > 0) dv += H * a[c] * delta[c] / (2.0f * r[c] * s);
        km[c] = -H * a[c] / (float)B;
        kv[c] = 2.0f * dv / (float)B;
    }
    for (i = 0, gx += gx ? at : 0; i < B && gx; i++, x += w, g += w, gx += w)
        for (c = 0; c < n; c++) {
            float d = fmaf(g[c] * scale[c], a[c], fmaf(x[c] - m[c], kv[c], km[c]));
            gx[c] = j->add ? gx[c] + d : d;
        }
}

static void drli_brn_part(void *job, int begin, int end, int worker) /* in units of 64 */
{
    const drli_brn_job *j = (const drli_brn_job *)job;
    const int at = begin * 64, n = DRLI_MIN(end * 64, j->y->cols) - at;
    if (j->layer) drli_brn_value(j->isa, j, at, n);
    else drli_brn_slope(j->isa, j, at, n);
}

/* On all workers if each gets 51,200 values. */
static void drli_brn_run(drl_tape *t, drli_brn_job *j)
{
    j->isa = t->ctx->isa;
    drl_parallel_for(t->ctx, (j->y->cols + 63) / 64, 1 + 800 / j->y->rows, drli_brn_part, j);
}

DRLI_BACK(brn)
{
    drli_brn_job j = {NULL, y, (float *)y->saved, NULL, NULL, NULL, NULL, 0, 0, 0};
    j.sums = drli_tape_floats(t, 4 * (size_t)y->cols);
    j.gscale = drli_grad_add(t, y->in[1]);
    j.gshift = drli_grad_add(t, y->in[2]);
    j.gx = drli_grad(t, y->in[0], &j.add);
    if (!t->status) drli_brn_run(t, &j);
}

drl_tensor *drl_brn_train(drl_tape *t, drl_brn *layer, drl_tensor *x, int renorm)
{
    drli_brn_job j = {layer, NULL, NULL, NULL, NULL, NULL, NULL, 0, renorm, 0};
    if (x->cols != layer->scale->cols)
        return drli_shape_error(t, "brn", x, layer->scale, "equal columns");
    j.kept = drli_tape_floats(t, 6 * (size_t)x->cols);
    j.y = drli_node(t, DRLI_OP(brn), x->rows, x->cols, x, layer->scale);
    if (t->status) return &t->poison;
    drli_node_input(t, j.y, 2, layer->shift);
    j.y->saved = j.kept;
    drli_brn_run(t, &j);
    return j.y;
}

drl_tensor *drl_brn_eval(drl_tape *t, const drl_brn *layer, drl_tensor *x)
{
    drl_tensor *a = drl_tape_input(t, 1, x->cols, NULL);
    drl_tensor *b = drl_tape_input(t, 1, x->cols, NULL);
    int c;
    if (x->cols != layer->scale->cols)
        return drli_shape_error(t, "brn", x, layer->scale, "equal columns");
    if (t->status) return &t->poison;
    for (c = 0; c < x->cols; c++) {
        a->data[c] = layer->scale->data[c] / sqrtf(layer->var->data[c] + layer->eps);
        b->data[c] = layer->shift->data[c] - layer->mean->data[c] * a->data[c];
    }
    return drl_add(t, drl_mul(t, x, a), b);
}

/* ====== >>optim
   Adam in one pass. */

drl_adam_config drl_adam_config_default(void)
{
    drl_adam_config cfg = {3e-4f, 0.9f, 0.999f, 1e-8f, 0, 0, 0, 0};
    return cfg;
}

/* x^n: no libm. */
static double drli_powi(double x, int64_t n)
{
    double y = 1;
    for (; n > 0; n /= 2) {
        if (n % 2) y *= x;
        x *= x;
    }
    return y;
}

/* gain: of the gradient; cut: of an element; m1, v1: bias corrections; keep 1 - lr weight_decay */
typedef struct drli_adam_job {
    const drl_params *p;
    drl_adam_config c;
    float gain, cut, m1, v1, keep;
} drli_adam_job;

DRLI_KERNEL(adam, (j, at, n), drli_adam_job j, size_t at, size_t n)
{
    const float *g = j.p->grad + at;
    float *w = j.p->value + at, *m = j.p->m + at, *v = j.p->v + at;
    size_t i;
    for (i = 0; i < n; i++) {
        float d = g[i], mi, vi;
        d = j.c.zero_nan && d != d ? 0.0f : d;
        d *= j.gain;
        d = d > j.cut ? j.cut : d;
        d = d < -j.cut ? -j.cut : d;
        mi = fmaf(j.c.beta1, m[i], (1.0f - j.c.beta1) * d);
        vi = fmaf(j.c.beta2, v[i], (1.0f - j.c.beta2) * d * d);
        m[i] = mi, v[i] = vi;
        w[i] = w[i] * j.keep - j.c.lr * (mi * j.m1) / (sqrtf(vi * j.v1) + j.c.eps);
    }
}

static void drli_adam_part(void *job, int begin, int end, int worker)
{
    const drli_adam_job *j = (const drli_adam_job *)job;
    const size_t at = (size_t)begin * 1024;
    drli_adam(j->p->ctx->isa, *j, at, DRLI_MIN((size_t)end * 1024, j->p->size) - at);
}

void drl_adam_step(drl_params *p, const drl_adam_config *cfg)
{
    drli_adam_job j = {p, *cfg, 1.0f, HUGE_VALF, 0, 0, 0};
    if (cfg->clip_element > 0) j.cut = cfg->clip_element;
    p->step++;
    if (cfg->clip_norm > 0) {
        double norm = drli_grad_norm(p, cfg->zero_nan);
        if (norm > (double)cfg->clip_norm) j.gain = (float)((double)cfg->clip_norm / norm);
    }
    j.m1 = (float)(1.0 / (1.0 - drli_powi((double)cfg->beta1, p->step)));
    j.v1 = (float)(1.0 / (1.0 - drli_powi((double)cfg->beta2, p->step)));
    j.keep = 1.0f - cfg->lr * cfg->weight_decay;
    drl_parallel_for(p->ctx, (int)((p->size + 1023) / 1024), 32, drli_adam_part, &j);
}

static float drli_progress(int64_t step, int64_t total)
{
    return step >= total ? 1.0f : step <= 0 ? 0.0f : (float)((double)step / (double)total);
}

float drl_lr_linear(float first, float last, int64_t step, int64_t total)
{
    return fmaf(drli_progress(step, total), last - first, first);
}

float drl_lr_cosine(float first, float last, int64_t step, int64_t total)
{
    float c = drl_cosf(3.14159265f * drli_progress(step, total));
    return fmaf(0.5f * (1.0f + c), first - last, last);
}

/* ====== >>diffusion
   Constants are computed once, with our own exp and cos. */

static double drli_ddpm_beta(drl_schedule kind, int t, int steps)
{
    double T = steps, a, b, at = steps > 1 ? (t - 1) / (T - 1) : 0;
    if (kind == DRL_SCHEDULE_LINEAR) return 1000.0 / T * (1e-4 + at * (0.02 - 1e-4));
    if (kind == DRL_SCHEDULE_VP)
        return 1 - (double)drl_expf((float)(-0.1 / T - 0.5 * 9.9 * (2 * t - 1) / (T * T)));
    a = (double)drl_cosf((float)(1.57079632679 * ((t - 1) / T + 0.008) / 1.008));
    b = (double)drl_cosf((float)(1.57079632679 * (t / T + 0.008) / 1.008));
    return 1 - b * b / (a * a);
}

/* Constants of a step from abar to next with this variance. */
static void drli_ddpm_fill(drl_ddpm *d, int t, double abar, double next, double variance)
{
    double rest = sqrt(DRLI_MAX(1 - next - variance, 0.0) / (1 - abar));
    d->abar[t] = (float)abar;
    d->x_scale[t] = (float)(1 / sqrt(abar));
    d->eps_scale[t] = (float)sqrt(1 / abar - 1);
    d->c1[t] = (float)rest;
    d->c0[t] = (float)(sqrt(next) - rest * sqrt(abar));
    d->std[t] = (float)sqrt(variance);
}

drl_status drl_ddpm_init(drl_ddpm *ddpm, drl_context *ctx, drl_schedule kind, int steps)
{
    int t;
    double next = 1;
    memset(ddpm, 0, sizeof(*ddpm));
    if (steps < 1 || steps > DRL_STEPS_MAX)
        return drli_fail(ctx, DRL_ERR_RANGE, "drl_ddpm_init: expected 1 .. %d steps, got %d",
            DRL_STEPS_MAX, steps);
    ddpm->steps = steps, ddpm->abar[0] = 1.0f;
    for (t = 1; t <= steps; t++) {
        double beta = drli_ddpm_beta(kind, t, steps), abar;
        beta = DRLI_MIN(DRLI_MAX(beta, 0.0), 0.999);
        abar = next * (1 - beta);
        drli_ddpm_fill(ddpm, t, abar, next, beta * (1 - next) / (1 - abar));
        ddpm->time[t] = t - 1;
        next = abar;
    }
    return DRL_OK;
}

drl_status drl_ddim_init(drl_ddpm *short_chain, drl_context *ctx, const drl_ddpm *full,
    int steps, float eta)
{
    int j, stride = steps > 0 ? full->steps / steps : 0;
    memset(short_chain, 0, sizeof(*short_chain));
    if (stride < 1 || full->steps % steps)
        return drli_fail(ctx, DRL_ERR_RANGE,
            "drl_ddim_init: expected a divisor of %d steps, got %d", full->steps, steps);
    short_chain->steps = steps, short_chain->abar[0] = 1.0f;
    for (j = 1; j <= steps; j++) {
        int t = (j - 1) * stride + 1; /* the leading steps of each stretch */
        double abar = (double)full->abar[t], next = j > 1 ? (double)full->abar[t - stride] : 1;
        double sigma = (double)eta * sqrt((1 - next) / (1 - abar)) * sqrt(1 - abar / next);
        drli_ddpm_fill(short_chain, j, abar, next, sigma * sigma);
        short_chain->time[j] = full->time[t];
    }
    return DRL_OK;
}

/* v = table[t[r]], [rows, 1]; root 1: sqrt(v), -1: sqrt(1 - v). */
static drl_tensor *drli_ddpm_column(drl_tape *tape, const float *table, const int *t, int rows,
    int root)
{
    drl_tensor *y = drl_tape_input(tape, rows, 1, NULL);
    int r;
    for (r = 0; r < rows && !tape->status; r++) {
        float v = table[t[r]];
        y->data[r] = root ? sqrtf(root > 0 ? v : 1.0f - v) : v;
    }
    return y;
}

drl_tensor *drl_ddpm_noise(drl_tape *tape, const drl_ddpm *ddpm, const int *t,
    drl_tensor *x0, drl_tensor *noise)
{
    drl_tensor *a = drli_ddpm_column(tape, ddpm->abar, t, x0->rows, 1);
    drl_tensor *b = drli_ddpm_column(tape, ddpm->abar, t, x0->rows, -1);
    return drl_add(tape, drl_mul(tape, x0, a), drl_mul(tape, noise, b));
}

/* part 0: y, 1, 2: gradient of x, eps; z: normals, gradient of y. y->i[0] sets of constants. */
DRLI_KERNEL(ddpm_run, (y, part, add, z, out), const drl_tensor *y, int part, int add,
    const float *z, float *out)
{
    const float *x = y->in[0]->data, *eps = y->in[1]->data, *c = (const float *)y->saved;
    int r, i, n = y->rows / y->i[0] * y->cols;
    for (r = 0; r < y->i[0]; r++, c += 6, x += n, eps += n, z += n, out += n) {
        const float xs = c[0], es = c[1], c0 = c[2], c1 = c[3], std = c[4], clip = c[5];
        const float a = part == 1 ? xs : -es, b = part == 1 ? c1 : 0.0f;
        for (i = 0; i < n && part == 0; i++)
            out[i] = c0 * drli_clampf(xs * x[i] - es * eps[i], -clip, clip) + c1 * x[i] +
                std * z[i];
        for (i = 0; i < n && part != 0; i++) {
            float x0 = xs * x[i] - es * eps[i], d = x0 >= -clip && x0 <= clip ? c0 * z[i] : 0.0f;
            out[i] = (add ? out[i] : 0.0f) + b * z[i] + a * d;
        }
    }
}
DRLI_BACK(ddpm)
{
    int i, add;
    for (i = 0; i < 2; i++) {
        float *g = drli_grad(t, y->in[i], &add);
        if (g) drli_ddpm_run(t->ctx->isa, y, 1 + i, add, y->grad, g);
    }
}
static drl_tensor *drli_ddpm(drl_tape *tape, const drl_ddpm *ddpm, int parts, const int *t,
    drl_tensor *x, drl_tensor *eps, drl_tensor *z, float clip)
{
    drl_tensor *y;
    float *c;
    int r;
    if (!drli_same_shape(x, eps) || (z && !drli_same_shape(x, z)))
        return drli_shape_error(tape, "ddpm", x, eps, "equal shapes, also of z");
    y = drli_node(tape, DRLI_OP(ddpm), x->rows, x->cols, x, eps);
    c = drli_tape_floats(tape, 6 * (size_t)parts);
    if (tape->status) return &tape->poison;
    y->saved = c, y->i[0] = parts;
    for (r = 0; r < parts; r++, c += 6) {
        c[0] = ddpm->x_scale[t[r]], c[1] = ddpm->eps_scale[t[r]], c[2] = ddpm->c0[t[r]];
        c[3] = ddpm->c1[t[r]], c[4] = z ? ddpm->std[t[r]] : 0.0f, c[5] = clip;
    }
    drli_ddpm_run(tape->ctx->isa, y, 0, 0, (z ? z : x)->data, y->data);
    return y;
}

drl_tensor *drl_ddpm_mean(drl_tape *tape, const drl_ddpm *ddpm, const int *t, drl_tensor *x,
    drl_tensor *eps, float clip)
{
    return drli_ddpm(tape, ddpm, x->rows, t, x, eps, NULL, clip);
}

drl_tensor *drl_ddpm_step(drl_tape *tape, const drl_ddpm *ddpm, int t, drl_tensor *x,
    drl_tensor *eps, drl_tensor *z, float clip)
{
    return drli_ddpm(tape, ddpm, 1, &t, x, eps, z, clip);
}

void drl_denoiser_add(drl_denoiser *net, drl_params *params, const char *prefix, int obs_dim,
    int act_dim, drl_time kind, int time_dim, int time_hidden, int width, int layers, int blocks,
    drl_act act)
{
    int in = act_dim + time_dim + obs_dim;
    memset(net, 0, sizeof(*net));
    net->act_dim = act_dim, net->obs_dim = obs_dim, net->time_dim = time_dim, net->kind = kind;
    drl_dense_add(&net->t0, params, prefix, "t0", time_dim, time_hidden);
    drl_dense_add(&net->t1, params, prefix, "t1", time_hidden, time_dim);
    if (blocks) drl_resmlp_add(&net->res, params, prefix, in, width, blocks, act_dim, act);
    else drli_mlp_even(&net->mlp, params, prefix, in, width, layers, act_dim, act);
}

void drl_denoiser_init(drl_denoiser *net, drl_init kind, float gain, drl_rng *rng)
{
    drl_dense_init(&net->t0, kind, gain, rng);
    drl_dense_init(&net->t1, kind, gain, rng);
    if (net->mlp.layers) drl_mlp_init(&net->mlp, kind, gain, rng);
    else drl_resmlp_init(&net->res, kind, gain, rng);
}

static const drl_dense *drli_denoiser_first(const drl_denoiser *net)
{
    return net->mlp.layers ? &net->mlp.layer[0] : &net->res.first;
}

drl_tensor *drl_denoiser_time(drl_tape *tape, const drl_denoiser *net, int steps)
{
    const drl_dense *first = drli_denoiser_first(net);
    drl_tensor *e = drl_tape_input(tape, steps, net->time_dim, NULL);
    if (tape->status) return e;
    drl_time_sinusoidal(net->kind, steps, net->time_dim, e->data);
    e = drl_dense_forward(tape, &net->t0, e, DRL_ACT_MISH);
    e = drl_dense_forward(tape, &net->t1, e, DRL_ACT_NONE);
    return drl_linear(tape, e, drl_rows(tape, first->w, net->act_dim, net->time_dim), first->b,
        NULL, DRL_ACT_NONE);
}

drl_tensor *drl_denoiser_state(drl_tape *tape, const drl_denoiser *net, drl_tensor *obs)
{
    drl_tensor *w = drl_rows(tape, drli_denoiser_first(net)->w, net->act_dim + net->time_dim,
        net->obs_dim);
    return drl_linear(tape, obs, w, NULL, NULL, DRL_ACT_NONE);
}

drl_tensor *drl_denoiser_eps(drl_tape *tape, const drl_denoiser *net, drl_tensor *x,
    drl_tensor *time, drl_tensor *state)
{
    drl_tensor *w = drl_rows(tape, drli_denoiser_first(net)->w, 0, net->act_dim), *h;
    drl_act act = net->mlp.layers ? drli_mlp_act(&net->mlp, 0) : DRL_ACT_NONE;
    h = drl_linear(tape, x, w, time, state, act);
    return net->mlp.layers ? drli_mlp_from(tape, &net->mlp, 1, h, 0)
                           : drli_resmlp_body(tape, &net->res, h);
}

drl_tensor *drl_denoiser_at(drl_tape *tape, const drl_denoiser *net, const drl_ddpm *ddpm,
    const int *t, drl_tensor *x, drl_tensor *obs)
{
    int r, *told = drli_tape_ints(tape, x->rows);
    drl_tensor *time = drl_denoiser_time(tape, net, ddpm->time[ddpm->steps] + 1), *state;
    for (r = 0; r < x->rows && !tape->status; r++) told[r] = ddpm->time[t[r]];
    state = drli_repeat_rows(tape, drl_denoiser_state(tape, net, obs), x->rows);
    return drl_denoiser_eps(tape, net, x, NULL, drli_gather(tape, time, told, x->rows, state));
}

drl_tensor *drl_denoiser_loss(drl_tape *tape, const drl_denoiser *net, const drl_ddpm *ddpm,
    drl_tensor *obs, drl_tensor *x0, const int *t, drl_tensor *noise, drl_tensor *weight)
{
    drl_tensor *x = drl_ddpm_noise(tape, ddpm, t, x0, noise);
    drl_tensor *e = drl_sub(tape, drl_denoiser_at(tape, net, ddpm, t, x, obs), noise);
    e = drl_square(tape, e);
    return drl_mean(tape, weight ? drl_mul(tape, e, weight) : e);
}

void drl_denoiser_sample(drl_tape *tape, const drl_denoiser *net, const drl_ddpm *ddpm,
    drl_tensor *obs, int candidates, int first, int last, float clip, float *path)
{
    int r, t, n, A = net->act_dim, rows = candidates * obs->rows, grad = tape->grad_enabled;
    size_t all = (size_t)rows * (size_t)A;
    drl_tensor *time, *state, *w;
    tape->grad_enabled = 0;
    for (r = 1; r < net->mlp.layers && net->precision == DRL_BF16_SAMPLING && rows >= 64; r++) {
        w = net->mlp.layer[r].w;
        if (w->rows % 32 == 0) w->bf16 = drli_bf16_copy(tape, w, 1);
    }
    n = drli_pass_rows(obs->rows, candidates, tape->ctx->cfg.threads);
    time = drl_denoiser_time(tape, net, ddpm->time[ddpm->steps] + 1);
    state = drli_repeat_rows(tape, drl_denoiser_state(tape, net, obs), n);
    for (r = 0; r < rows; r += n) {
        float *at = path + r * A;
        n = DRLI_MIN(n, rows - r);
        for (t = first; t >= last && !tape->status; t--, at += all) {
            drl_tape_mark mark = drl_tape_save(tape);
            drl_tensor *x = drl_tape_input(tape, n, A, at), *z = NULL, *y;
            if (ddpm->std[t] > 0) z = drl_tape_input(tape, n, A, at + all);
            y = drl_denoiser_eps(tape, net, x, drl_rows(tape, time, ddpm->time[t], 1),
                drl_rows(tape, state, 0, n));
            y = drl_ddpm_step(tape, ddpm, t, x, y, z, clip);
            if (!tape->status)
                memcpy(at + all, y->data, (size_t)n * (size_t)A * sizeof(float));
            drl_tape_release(tape, mark);
        }
    }
    for (r = 1; r < net->mlp.layers; r++) net->mlp.layer[r].w->bf16 = NULL;
    tape->grad_enabled = grad;
}

void drl_ou_schedule(int n, float floor, float *c)
{
    int k;
    for (k = 0; k < n; k++) {
        float s = 0.008f, t = (float)(n - k) / (float)n;
        float root = drl_cosf(1.57079633f * (1.0f + s - t) / (1.0f + s));
        c[k] = fmaf(1.0f - floor, root * root, floor);
    }
}

void drl_ou_step(drl_tape *tape, drl_tensor *x, drl_tensor *u, drl_tensor *eta,
    drl_tensor *xi, float sigma0, drl_tensor **x1, drl_tensor **ratio)
{
    float pull = 1.0f / (sigma0 * sigma0);
    drl_tensor *drift = drl_add(tape, drl_affine(tape, x, -pull, 0.0f), u);
    drl_tensor *noise = drl_mul(tape, xi, drl_sqrt(tape, drl_affine(tape, eta, 2.0f, 0.0f)));
    drl_tensor *back;
    *x1 = drl_add(tape, drl_add(tape, x, drl_mul(tape, drift, eta)), noise);
    back = drl_sub(tape, x, drl_mul(tape, *x1, drl_affine(tape, eta, -pull, 1.0f)));
    back = drl_div(tape, drl_square(tape, back), drl_affine(tape, eta, 4.0f, 0.0f));
    *ratio = drl_sum_cols(tape, drl_sub(tape, back, drl_affine(tape, drl_square(tape, xi), 0.5f,
        0.0f)));
}

/* ====== >>critic
   C51, CrossQ, twin Q. */

/* An atom's mass goes to the two around its new place; at an integral place all to one. */
DRLI_KERNEL(c51_project, (atoms, rows, p, shift, scale, weight, out), const drl_atoms *atoms,
    int rows, const float *p, const float *shift, const float *scale, float weight, float *out)
{
    int b, m, n = atoms->count;
    float low = atoms->v_min, high = atoms->v_max, gap = (high - low) / (float)(n - 1);
    for (b = 0; b < rows; b++, p += n, out += n)
        for (m = 0; m < n; m++) {
            float y = fmaf(scale[b], fmaf((float)m, gap, low), shift[b]), at, part;
            int left;
            y = y < low ? low : y > high ? high : y;
            at = (y - low) / gap;
            at = at > (float)(n - 1) ? (float)(n - 1) : at; /* rounding can exceed it */
            left = at > 0 ? (int)at : 0; /* nan stays within the row, as nan */
            part = at - (float)left;
            out[left] += weight * p[m] * (1.0f - part);
            out[left + (part > 0)] += weight * p[m] * part;
        }
}

void drl_c51_project(drl_context *ctx, const drl_atoms *atoms, int rows, const float *p,
    const float *shift, const float *scale, float weight, int accumulate, float *out)
{
    if (!accumulate) memset(out, 0, DRLI_AT(rows, atoms->count) * sizeof(float));
    drli_c51_project(ctx->isa, atoms, rows, p, shift, scale, weight, out);
}

/* p = softmax(x), l = ln(p + 1e-15), w = p / (p + 1e-15); work [2 n].
   loss  = sum_m -T l + bonus p l
   dx    = up (d - p sum(d)),   d = p dloss/dp = -T w + bonus p (l + w) */
DRLI_KERNEL(c51_terms, (rows, n, target, bonus, p, terms, d), int rows, int n, const float *target,
    float bonus, const float *p, float *terms, float *d)
{
    size_t i, size = DRLI_AT(rows, n);
    for (i = 0; i < size; i++) {
        float e = p[i] + 1e-15f, l = drli_logf(e), w = p[i] / e;
        terms[i] = fmaf(bonus * p[i], l, -target[i] * l);
        d[i] = fmaf(bonus * p[i], l + w, -target[i] * w);
    }
}

DRLI_BACK(c51_loss)
{
    drl_tensor *x = y->in[0];
    const float *p = (const float *)y->saved, *d = p + drli_size(x);
    float *g = drli_grad_add(t, x), up = y->grad[0] / (float)x->rows;
    if (g) drli_softmax_dx(t->ctx->isa, x->rows, x->cols, p, d, up, g);
}
drl_tensor *drl_c51_loss(drl_tape *t, drl_tensor *logits, const float *target, float bonus)
{
    drl_tensor *y = drli_node(t, DRLI_OP(c51_loss), 1, 1, logits, NULL);
    size_t i, size = drli_size(logits);
    int rows = logits->rows, n = logits->cols;
    float *p = drli_tape_floats(t, 3 * size);
    double sum = 0;
    if (t->status) return &t->poison;
    y->saved = p;
    drli_softmax_rows(t->ctx->isa, rows, n, logits->data, p, NULL);
    drli_c51_terms(t->ctx->isa, rows, n, target, bonus, p, p + 2 * size, p + size);
    for (i = 0; i < size; i++) sum += (double)p[2 * size + i];
    y->data[0] = (float)(sum / (double)rows);
    return y;
}

/* Q = sum_m p_m z_m,  dx_m = dy p_m (z_m - Q) */
DRLI_KERNEL(c51_value, (rows, n, v_min, gap, p, q), int rows, int n, float v_min, float gap,
    const float *p, float *q)
{
    int r, c;
    for (r = 0; r < rows; r++, p += n) {
        float s = 0;
        for (c = 0; c < n; c++) s = fmaf(p[c], fmaf((float)c, gap, v_min), s);
        q[r] = s;
    }
}

DRLI_KERNEL(c51_slope, (rows, n, v_min, gap, p, q, up, g), int rows, int n, float v_min, float gap,
    const float *p, const float *q, const float *up, float *g)
{
    int r, c;
    for (r = 0; r < rows; r++, p += n, g += n)
        for (c = 0; c < n; c++) g[c] += up[r] * p[c] * (fmaf((float)c, gap, v_min) - q[r]);
}

DRLI_BACK(c51_mean)
{
    drl_tensor *x = y->in[0];
    float *g = drli_grad_add(t, x);
    if (g)
        drli_c51_slope(t->ctx->isa, x->rows, x->cols, y->f[0], y->f[1],
            (const float *)y->saved, y->data, y->grad, g);
}
drl_tensor *drl_c51_mean(drl_tape *t, drl_tensor *logits, const drl_atoms *atoms)
{
    drl_tensor *y;
    float *p;
    int n = logits->cols;
    if (n != atoms->count)
        return drli_shape_error(t, "c51_mean", logits, logits, "as many columns as atoms");
    y = drli_node(t, DRLI_OP(c51_mean), logits->rows, 1, logits, NULL);
    p = drli_tape_floats(t, drli_size(logits));
    if (t->status) return &t->poison;
    y->saved = p, y->f[0] = atoms->v_min;
    y->f[1] = (atoms->v_max - atoms->v_min) / (float)(n - 1);
    drli_softmax_rows(t->ctx->isa, logits->rows, n, logits->data, p, NULL);
    drli_c51_value(t->ctx->isa, logits->rows, n, y->f[0], y->f[1], p, y->data);
    return y;
}

void drl_crossq_add(drl_crossq *q, drl_params *params, drl_params *running,
    const char *prefix, int in, int width, int out)
{
    char name[DRLI_NAME];
    int i;
    for (i = 0; i < 3; i++) {
        int from = i ? width : in, to = i < 2 ? width : out;
        drl_brn_add(&q->bn[i], params, running, prefix, drli_name(name, "bn%d", i), from);
        drl_dense_add(&q->layer[i], params, prefix, drli_name(name, i < 2 ? "l%d" : "out", i), from,
            to);
    }
}

void drl_crossq_init(drl_crossq *q, drl_rng *rng)
{
    int i;
    for (i = 0; i < 3; i++) {
        drl_brn_init(&q->bn[i]);
        drl_dense_init(&q->layer[i], DRL_INIT_LECUN_NORMAL, 1.0f, rng);
    }
}

drl_tensor *drl_crossq_train(drl_tape *t, drl_crossq *q, drl_tensor *x, int renorm)
{
    int i;
    for (i = 0; i < 3; i++)
        x = drl_dense_forward(t, &q->layer[i], drl_brn_train(t, &q->bn[i], x, renorm), i < 2 ?
            DRL_ACT_RELU : DRL_ACT_NONE);
    return x;
}

drl_tensor *drl_crossq_eval(drl_tape *t, const drl_crossq *q, drl_tensor *x)
{
    int i;
    for (i = 0; i < 3; i++)
        x = drli_dense_frozen(t, &q->layer[i], drl_brn_eval(t, &q->bn[i], x), i < 2 ? DRL_ACT_RELU :
            DRL_ACT_NONE);
    return x;
}

void drl_twin_add(drl_twin *twin, drl_params *params, drl_params *target, const char *prefix,
    int obs_dim, int act_dim, int width, int layers, drl_act act)
{
    char name[DRLI_NAME];
    int j, in = act_dim + obs_dim;
    twin->act_dim = act_dim;
    for (j = 0; j < 2; j++) {
        drli_name(name, "%sq%d.", prefix, j);
        drli_mlp_even(&twin->q[j], params, name, in, width, layers - 1, 1, act);
        drli_mlp_even(&twin->target[j], target, name, in, width, layers - 1, 1, act);
    }
}

void drl_twin_init(drl_twin *twin, drl_init kind, float gain, drl_rng *rng)
{
    int j;
    for (j = 0; j < 2; j++) drl_mlp_init(&twin->q[j], kind, gain, rng);
}

drl_tensor *drl_twin_min(drl_tape *t, const drl_twin *twin, drl_tensor *obs, drl_tensor *act,
    int target)
{
    const drl_mlp *q = target ? twin->target : twin->q;
    drl_tensor *state[2], *h[2], *y, *all;
    int j, r, B = obs->rows, A = twin->act_dim, rows = act->rows;
    int n = drli_pass_rows(B, rows / B, 1);
    if (rows % B || rows < B)
        return drli_shape_error(t, "twin_min", obs, act, "rows B and K B");
    for (j = 0; j < 2; j++) {
        drl_tensor *w = drl_detach(t, drl_rows(t, q[j].layer[0].w, A, obs->cols));
        h[j] = drl_linear(t, obs, w, drl_detach(t, q[j].layer[0].b), NULL, DRL_ACT_NONE);
        state[j] = drli_repeat_rows(t, h[j], n);
    }
    all = rows > n ? drl_tape_input(t, rows, 1, NULL) : NULL;
    for (r = 0; r < rows; r += n) {
        drl_tape_mark mark = drl_tape_save(t);
        drl_tensor *x = drl_rows(t, act, r, n = DRLI_MIN(n, rows - r));
        for (j = 0; j < 2; j++) {
            drl_tensor *w = drl_detach(t, drl_rows(t, q[j].layer[0].w, 0, A));
            h[j] = drl_linear(t, x, w, NULL, drl_rows(t, state[j], 0, n), drli_mlp_act(&q[j], 0));
            h[j] = drli_mlp_from(t, &q[j], 1, h[j], 1);
        }
        y = drl_min(t, h[0], h[1]);
        if (!all || t->status) return y;
        drli_copy(all->data + r, y->data, n);
        drl_tape_release(t, mark);
    }
    return all;
}

drl_tensor *drl_twin_loss(drl_tape *t, const drl_twin *twin, drl_tensor *obs,
    drl_tensor *act, const float *y)
{
    drl_tensor *x = drl_concat(t, act, obs), *loss[2];
    drl_tensor *target = drl_tape_input(t, x->rows, 1, NULL);
    int j;
    if (t->status) return target;
    drli_copy(target->data, y, x->rows);
    for (j = 0; j < 2; j++) {
        drl_tensor *error = drl_sub(t, drl_mlp_forward(t, &twin->q[j], x), target);
        loss[j] = drl_mean(t, drl_square(t, error));
    }
    return drl_add(t, loss[0], loss[1]);
}

DRLI_COLD
/* ====== >>env
   Stepping with checks. */

/* "Pendulum, environment 2, step 17: " to out [96]. index, step -1: not known; step 0: reset. */
static const char *drli_env_where(char *out, const drl_env *env, int index, int step)
{
    drli_text t = drli_text_begin(out, 96);
    drli_text_addf(&t, index < 0 ? "%s" : "%s, environment %d", env->name, index);
    drli_text_addf(&t, step > 0 ? ", step %d: " : step < 0 ? ", step: " : ", reset: ", step);
    return out;
}

/* Did the call with this code give what it must? */
static drl_status drli_env_values(drl_context *ctx, const drl_env *env, int index, int step,
    int code, const float *obs, float reward)
{
    char where[96];
    int i;
    for (i = 0; i < env->obs_dim && !code && drli_finite(obs[i]);) i++;
    if (!code && i == env->obs_dim && drli_finite(reward)) return DRL_OK;
    drli_env_where(where, env, index, step);
    if (code) return drli_fail(ctx, DRL_ERR_ENV, "%sfailed with code %d", where, code);
    if (i < env->obs_dim)
        return drli_fail(ctx, DRL_ERR_NAN, "%sobs[%d] is %g; expected finite values; look for a "
            "division by zero, an element that is not written or a diverging simulation", where, i,
            (double)obs[i]);
    return drli_fail(ctx, DRL_ERR_NAN, "%sreward is %g; expected a finite value", where,
        (double)reward);
}

drl_status drl_env_reset(drl_context *ctx, const drl_env *env, uint64_t seed, float *obs)
{
    int code = env->reset_fn(env->user, seed, obs);
    return drli_env_values(ctx, env, -1, 0, code, obs, 0.0f);
}

typedef struct drli_step {
    float reward;
    int flags, code;
} drli_step;

/* Step with the action from [-1, 1] in the task's units, unless it is not finite. Thread-safe if
   the task is. */
static drli_step drli_env_step_raw(const drl_env *env, const float *action, float *obs)
{
    float scaled[256];
    drli_step out = {(float)NAN, 0, 0}; /* until the task writes it */
    int i;
    for (i = 0; i < env->act_dim; i++) {
        float low = env->act_low[i], high = env->act_high[i];
        if (!drli_finite(action[i])) return out;
        scaled[i] = drli_clampf(fmaf(0.5f * (action[i] + 1.0f), high - low, low), low, high);
    }
    out.code = env->step_fn(env->user, scaled, obs, &out.reward, &out.flags);
    return out;
}

static drl_status drli_env_step_check(drl_context *ctx, const drl_env *env, int index, int step,
    const float *action, const float *obs, drli_step out)
{
    char where[96];
    int i;
    for (i = 0; i < env->act_dim; i++)
        if (!drli_finite(action[i]))
            return drli_fail(ctx, DRL_ERR_RANGE, "%saction[%d] is %g; expected -1 .. 1; the agent "
                "has diverged", drli_env_where(where, env, index, step), i, (double)action[i]);
    return drli_env_values(ctx, env, index, step, out.code, obs, out.reward);
}

static drl_status drli_env_step_at(drl_context *ctx, const drl_env *env, int step,
    const float *action, float *obs, float *reward, int *flags)
{
    drli_step out = drli_env_step_raw(env, action, obs);
    *reward = out.reward;
    *flags = out.flags;
    return drli_env_step_check(ctx, env, -1, step, action, obs, out);
}

drl_status drl_env_step(drl_context *ctx, const drl_env *env, const float *action,
    float *obs, float *reward, int *flags)
{
    return drli_env_step_at(ctx, env, -1, action, obs, reward, flags);
}

typedef struct drli_findings {
    drl_context *ctx;
    int count, fatal;
    char first[320];
} drli_findings;

static void drli_finding(drli_findings *f, int fatal, const char *format, ...)
{
    va_list args;
    char text[320];
    drli_text t = drli_text_begin(text, sizeof(text));
    va_start(args, format);
    drli_text_vadd(&t, format, args);
    va_end(args);
    if (f->count++ == 0) memcpy(f->first, text, sizeof(text));
    f->fatal += fatal;
    if (f->ctx->cfg.log_fn)
        f->ctx->cfg.log_fn(f->ctx->cfg.log_user, fatal ? DRL_LOG_ERROR : DRL_LOG_WARN, fatal ?
            DRL_ERR_ENV : DRL_OK, text);
}

static void drli_check_fields(drli_findings *f, const drl_env *env)
{
    int i, hooks = !!env->state_size_fn + !!env->save_fn + !!env->load_fn;
    if (!env->name) drli_finding(f, 1, "env: name is NULL; give the task a name");
    if (env->obs_dim < 1 || env->act_dim < 1 || env->act_dim > 256)
        drli_finding(f, 1, "env: expected obs_dim >= 1 and act_dim 1 .. 256, got %d and %d",
            env->obs_dim, env->act_dim);
    if (!env->reset_fn || !env->step_fn)
        drli_finding(f, 1, "env: reset_fn and step_fn must be set");
    if (!env->act_low || !env->act_high) {
        drli_finding(f, 1, "env: act_low and act_high must point to act_dim bounds");
        return;
    }
    for (i = 0; i < env->act_dim && i < 256; i++)
        if (!(env->act_low[i] < env->act_high[i]) || !drli_finite(env->act_low[i]) ||
            !drli_finite(env->act_high[i]))
            drli_finding(f, 1, "env: action bound %d: expected finite low < high, got [%g, %g]", i,
                (double)env->act_low[i], (double)env->act_high[i]);
    if (env->time_limit < 0) drli_finding(f, 1, "env: time_limit %d is negative", env->time_limit);
    if (hooks != 0 && hooks != 3)
        drli_finding(f, 0, "env: state_size_fn, save_fn and load_fn: set all three or none");
}

/* Before a call, obs [obs_dim + DRLI_ENV_GUARD]: nan to see what is not written, then a guard.
   Returns the first index of the guard that the last call wrote, 0: none. */
#define DRLI_ENV_GUARD 16
static int drli_check_obs(const drl_env *env, float *obs)
{
    int i, bad = 0;
    for (i = env->obs_dim + DRLI_ENV_GUARD - 1; i >= 0; i--) {
        if (i >= env->obs_dim && obs[i] != 12345.0f) bad = i;
        obs[i] = i < env->obs_dim ? (float)NAN : 12345.0f;
    }
    return bad;
}

/* Play an episode with fixed random actions, constant 1: one for all; the steps, and a hash of what
   was seen. */
static int drli_check_play(drli_findings *f, const drl_env *env, uint64_t seed, int constant,
    float *obs, uint64_t *hash, int *ended)
{
    drl_rng rng = drl_rng_make(7, "env check");
    float action[256], reward;
    int step, i, bad, flags = 0;
    int limit = env->time_limit > 0 && env->time_limit < 300 ? env->time_limit : 300;
    uint64_t h = 0, seen;
    drl_status s;
    drli_check_obs(env, obs);
    s = drl_env_reset(f->ctx, env, seed, obs);
    for (step = 0; (bad = drli_check_obs(env, obs)) == 0 && !s && step < limit && !flags; step++) {
        for (i = 0; i < env->act_dim; i++)
            action[i] = constant ? -0.5f : 2.0f * drl_rng_uniform(&rng) - 1.0f;
        s = drli_env_step_at(f->ctx, env, step + 1, action, obs, &reward, &flags);
        drli_hash(f->ctx->isa, (size_t)env->obs_dim, obs, &seen);
        h = (h ^ seen ^ drli_bits(reward)) * 0x100000001b3u; /* FNV-1a */
    }
    if (bad)
        drli_finding(f, 1, "%s: writes obs[%d], but obs_dim is %d", env->name, bad, env->obs_dim);
    else if (s) drli_finding(f, 1, "%s", f->ctx->message);
    if (flags & ~(DRL_ENV_TERMINATED | DRL_ENV_TRUNCATED))
        drli_finding(f, 0, "%s: step returned flags %d; expected DRL_ENV_TERMINATED and/or "
            "DRL_ENV_TRUNCATED", env->name, flags);
    *hash = h;
    *ended = flags != 0;
    return step;
}

drl_status drl_env_check(drl_context *ctx, const drl_env *env, int *faults)
{
    drli_findings f = {ctx, 0, 0, {0}};
    float *obs;
    uint64_t a = 0, b = 0, c = 0, d = 0;
    int ended = 0, again, steps = 0;
    size_t size;
    drli_check_fields(&f, env);
    size = ((size_t)env->obs_dim + DRLI_ENV_GUARD) * sizeof(float);
    obs = f.fatal ? NULL : (float *)drl_memory_alloc(ctx, size);
    if (obs) steps = drli_check_play(&f, env, 1, 0, obs, &a, &ended);
    if (obs && !f.fatal) {
        drli_check_play(&f, env, 1, 0, obs, &b, &again);
        drli_check_play(&f, env, 2, 0, obs, &c, &again);
        drli_check_play(&f, env, 1, 1, obs, &d, &again);
        if (a != b)
            drli_finding(&f, 0, "%s: two episodes with the same seed and actions differ; draw all "
                "randomness from the seed given to reset", env->name);
        if (a == c) drli_finding(&f, 0,
                "%s: seeds 1 and 2 give the same episode; is the seed used?", env->name);
        if (a == d) drli_finding(&f, 0, "%s: actions change nothing; does step use them?",
                env->name);
        if (!ended && env->time_limit == 0)
            drli_finding(&f, 0, "%s: no end within %d steps and no time_limit; set one", env->name,
                steps);
    }
    drl_memory_free(ctx, obs, size);
    if (faults) *faults = f.count;
    if (f.count) memcpy(ctx->message, f.first, sizeof(ctx->message));
    return f.fatal ? ctx->status = DRL_ERR_ENV : DRL_OK;
}

/* ====== >>replay
   Ring buffer. */

drl_replay_config drl_replay_config_default(int obs_dim, int act_dim)
{
    drl_replay_config cfg = {obs_dim, act_dim, 1000000, 1, 1, 0.99f};
    return cfg;
}

size_t drl_replay_bytes(const drl_replay_config *cfg)
{
    size_t row = (2 * (size_t)cfg->obs_dim + (size_t)cfg->act_dim + 1) * sizeof(float) +
                 sizeof(int32_t) + 1;
    if (cfg->capacity < 1 || (uint64_t)cfg->capacity > (SIZE_MAX / 2) / row) return SIZE_MAX;
    return row * (size_t)cfg->capacity + (size_t)cfg->envs * sizeof(int64_t);
}

drl_status drl_replay_init(drl_replay *r, drl_context *ctx, const drl_replay_config *cfg)
{
    size_t n = (size_t)cfg->capacity;
    int e;
    memset(r, 0, sizeof(*r));
    if (cfg->obs_dim < 1 || cfg->act_dim < 1 || cfg->envs < 1 || cfg->n_step < 1 ||
        cfg->capacity < cfg->envs || cfg->capacity > INT32_MAX)
        return drli_fail(ctx, DRL_ERR_RANGE,
            "drl_replay_init: expected positive sizes and capacity envs .. 2^31 - 1, got obs %d, "
            "act %d, capacity %l, envs %d, n_step %d", cfg->obs_dim, cfg->act_dim, cfg->capacity,
            cfg->envs, cfg->n_step);
    r->bytes = drl_replay_bytes(cfg);
    r->last = (int64_t *)drl_memory_alloc(ctx, r->bytes);
    if (!r->last) return DRL_ERR_MEMORY;
    for (e = 0; e < cfg->envs; e++) r->last[e] = -1;
    r->ctx = ctx, r->cfg = *cfg;
    r->obs = (float *)(r->last + cfg->envs);
    r->next_obs = r->obs + n * (size_t)cfg->obs_dim;
    r->act = r->next_obs + n * (size_t)cfg->obs_dim;
    r->reward = r->act + n * (size_t)cfg->act_dim;
    r->next = (int32_t *)(r->reward + n);
    r->flags = (uint8_t *)(r->next + n);
    return DRL_OK;
}

void drl_replay_free(drl_replay *r)
{
    if (r->ctx) drl_memory_free(r->ctx, r->last, r->bytes);
    memset(r, 0, sizeof(*r));
}

void drl_replay_push(drl_replay *r, const float *obs, const float *act, float reward,
    const float *next_obs, int flags)
{
    int64_t at = r->head %= r->cfg.capacity, *last = &r->last[r->turn];
    int S = r->cfg.obs_dim, A = r->cfg.act_dim;
    drli_copy(r->obs + at * S, obs, S);
    drli_copy(r->next_obs + at * S, next_obs, S);
    drli_copy(r->act + at * A, act, A);
    r->reward[at] = reward;
    r->flags[at] = (uint8_t)flags;
    if (*last >= 0) r->next[*last] = (int32_t)at;
    r->next[at] = -1;
    *last = r->head++;
    r->turn = (r->turn + 1) % r->cfg.envs;
    if (r->size < r->cfg.capacity) r->size++;
}

void drl_replay_skip(drl_replay *r)
{
    r->last[r->turn] = -1;
    r->turn = (r->turn + 1) % r->cfg.envs;
}

/* Sum rewards from i on; the last one's index. (What follows on i is newer, so still there.) */
static int64_t drli_replay_walk(const drl_replay *r, int64_t i, float *reward, float *discount)
{
    int k;
    float sum = 0, g = 1;
    for (k = 1;; k++) {
        sum = fmaf(g, r->reward[i], sum);
        g *= r->cfg.gamma;
        if (k == r->cfg.n_step || r->flags[i] || r->next[i] < 0) break;
        i = r->next[i];
    }
    *reward = sum;
    *discount = r->flags[i] & DRL_ENV_TERMINATED ? 0.0f : g;
    return i;
}

drl_status drl_replay_sample(drl_replay *r, drl_rng *rng, drl_batch *batch)
{
    int64_t b, i, last;
    int S = r->cfg.obs_dim, A = r->cfg.act_dim;
    if (r->size < 1)
        return drli_fail(r->ctx, DRL_ERR_STATE,
            "drl_replay_sample: the replay is empty; push transitions first");
    for (b = 0; b < batch->rows; b++) {
        i = drl_rng_integer(rng, (uint32_t)r->size);
        last = drli_replay_walk(r, i, &batch->reward[b], &batch->discount[b]);
        drli_copy(batch->obs + b * S, r->obs + i * S, S);
        drli_copy(batch->act + b * A, r->act + i * A, A);
        drli_copy(batch->next_obs + b * S, r->next_obs + last * S, S);
    }
    return DRL_OK;
}

/* Sticky error if an integer of a tensor of state->file is not in low .. high; returns the last. */
static int64_t drli_state_range(drl_state *state, const char *prefix, const char *name,
    int64_t low, int64_t high)
{
    char full[DRLI_NAME];
    const drl_entry *e = drl_file_find(state->file, drli_name(full, "%s%s", prefix, name));
    size_t i, bytes = e ? drl_entry_bytes(e) : 0, size = e && e->dtype == DRL_I32 ? 4 : 8;
    int64_t v = low;
    for (i = 0; i + size <= bytes && !state->status; i += size) {
        memcpy(&v, (char *)e->data + i, size);
        if (size == 4) v = (int32_t)v;
        if (v < low || v > high)
            state->status = drli_fail(state->ctx, DRL_ERR_FORMAT, "drl_file_load: tensor %s: "
                "expected %l .. %l, got %l", full, low, high, v);
    }
    return v;
}

void drl_replay_state(drl_replay *r, drl_state *state, const char *prefix)
{
    int64_t n = r->size, most = r->cfg.capacity;
    if (state->file) {
        n = drli_state_range(state, prefix, "size", 0, most);
        drli_state_range(state, prefix, "next", -1, n - 1);
        drli_state_range(state, prefix, "last", -1, n - 1);
        drli_state_range(state, prefix, "turn", 0, r->cfg.envs - 1);
        drli_state_range(state, prefix, "head", n < most ? n : 0, n);
    }
    drli_state_put(state, prefix, "obs", DRL_F32, n, r->cfg.obs_dim, r->obs);
    drli_state_put(state, prefix, "next_obs", DRL_F32, n, r->cfg.obs_dim, r->next_obs);
    drli_state_put(state, prefix, "act", DRL_F32, n, r->cfg.act_dim, r->act);
    drli_state_put(state, prefix, "reward", DRL_F32, n, 0, r->reward);
    drli_state_put(state, prefix, "flags", DRL_U8, n, 0, r->flags);
    drli_state_put(state, prefix, "next", DRL_I32, n, 0, r->next);
    drli_state_put(state, prefix, "last", DRL_I64, r->cfg.envs, 0, r->last);
    drli_state_put(state, prefix, "turn", DRL_I64, 1, 0, &r->turn);
    drli_state_put(state, prefix, "size", DRL_I64, 1, 0, &r->size);
    drli_state_put(state, prefix, "head", DRL_I64, 1, 0, &r->head);
}

/* ====== >>agent
   Configurations, agents, training. */

/* -- configurations */

static const drl_field *drli_algo_field(const drl_algo *algo, const char *name)
{
    int i;
    for (i = 0; i < algo->field_count; i++)
        if (strcmp(algo->fields[i].name, name) == 0) return &algo->fields[i];
    return NULL;
}

/* A field as a number; `other` if there is none of this name. */
static double drli_algo_number(const drl_algo *algo, const void *config, const char *name,
    double other)
{
    const drl_field *field = drli_algo_field(algo, name);
    uint64_t bits;
    return field ? drli_field_value(field, (const char *)config + field->offset, &bits) : other;
}

void drl_algo_default(drl_algo algo, void *config, int obs_dim, int act_dim)
{
    memset(config, 0, algo.config_size);
    drl_fields_default(algo.fields, algo.field_count, config);
    memcpy((char *)config + drli_algo_field(&algo, "obs_dim")->offset, &obs_dim, sizeof(int));
    memcpy((char *)config + drli_algo_field(&algo, "act_dim")->offset, &act_dim, sizeof(int));
}

/* Copy the word at s to word [n]; return what follows it and its blanks. */
static const char *drli_next_word(const char *s, char *word, int n)
{
    int i = 0;
    for (; *s > ' '; s++)
        if (i < n - 1) word[i++] = *s;
    word[i] = 0;
    while (*s == ' ') s++;
    return s;
}

drl_status drl_algo_preset(drl_context *ctx, drl_algo algo, void *config, const char *name)
{
    char *seed = (char *)config + drli_algo_field(&algo, "seed")->offset, word[DRL_FIELD_TEXT];
    char names[100], *value;
    drli_text known = drli_text_begin(names, sizeof(names));
    const char *s = algo.presets, *line = strcmp(name, "paper") == 0 ? "" : NULL;
    uint64_t kept;
    drl_status status = DRL_OK;
    for (drli_text_add(&known, "paper"); *s; s += *s == '\n') {
        s = drli_next_word(s, word, DRL_FIELD_TEXT);
        drli_text_addf(&known, ", %s", word);
        if (strcmp(name, word) == 0) line = s;
        s += strcspn(s, "\n");
    }
    if (!line)
        return drli_fail(ctx, DRL_ERR_NAME, "%s has no preset '%q'; there are %s", algo.name, name,
            names);
    memcpy(&kept, seed, sizeof(kept));
    drl_algo_default(algo, config, (int)drli_algo_number(&algo, config, "obs_dim", 0),
        (int)drli_algo_number(&algo, config, "act_dim", 0));
    memcpy(seed, &kept, sizeof(kept));
    while (*line && *line != '\n' && !status) {
        line = drli_next_word(line, word, DRL_FIELD_TEXT);
        value = strchr(word, '=');
        if (!value) return drli_fail(ctx, DRL_ERR_FORMAT, "%s: no value in preset", word);
        *value = 0;
        status = drl_fields_set(ctx, algo.fields, algo.field_count, config, word, value + 1);
    }
    return status;
}

/* -- for the init_fn of algorithms */

/* The stream "ALGO name" of a seed. */
static drl_rng drli_agent_stream(const drl_agent *a, uint64_t seed, const char *name)
{
    char text[DRLI_NAME];
    return drl_rng_make(seed, drli_name(text, "%s %s", a->algo.name, name));
}

/* [rows, cols] zeroed floats for the agent's life, fewer than 2^31: an int finds each; NULL makes
   drli_agent_commit fail. */
static float *drli_floats(drl_agent *a, int rows, int cols)
{
    size_t size = DRLI_AT(rows, cols) * sizeof(float);
    float *p = NULL;
    if ((int64_t)rows * cols > INT32_MAX)
        a->tape.status = drli_fail(a->ctx, DRL_ERR_RANGE, "%s: a buffer of %d x %d is too large",
            a->algo.name, rows, cols);
    else p = (float *)drl_arena_alloc(&a->memory, size);
    if (p) memset(p, 0, size);
    else if (!a->tape.status) a->tape.status = DRL_ERR_MEMORY;
    return p;
}

/* Start a set of at most `capacity` tensors, which the agent saves (acting 1: for acting, too) and
   frees; drli_agent_commit has its errors. */
static void drli_agent_set(drl_agent *a, drl_params *params, const char *prefix,
    int capacity, int trainable, int acting)
{
    drl_set set = {params, prefix, acting};
    DIFFRL_ASSERT(a->set_count < DRL_SETS_MAX);
    a->sets[a->set_count++] = set;
    drl_params_init(params, a->ctx, capacity, trainable);
}

/* Allocate all sets; the first error since init_fn began. */
static drl_status drli_agent_commit(drl_agent *a)
{
    int i;
    drl_status s = a->tape.status;
    for (i = 0; i < a->set_count && !s; i++) s = drl_params_commit(a->sets[i].params);
    return s;
}

static drl_rng *drli_agent_rng(drl_agent *a, drl_mode mode)
{
    return mode == DRL_MODE_EXPLORE ? &a->rng_act : &a->rng_eval;
}

static double drli_mean(int n, const float *x)
{
    double s = 0;
    int i;
    for (i = 0; i < n; i++) s += (double)x[i];
    return s / n;
}

/* Sum of (x - mean)^2, and the mean. */
static double drli_squares(int n, const float *x, double *mean)
{
    double s = 0;
    int i;
    *mean = drli_mean(n, x);
    for (i = 0; i < n; i++) s += ((double)x[i] - *mean) * ((double)x[i] - *mean);
    return s;
}

/* x = (x - mean) / (standard deviation + 1e-8) */
static void drli_standardize(int n, float *x)
{
    double mean, sd = sqrt(drli_squares(n, x, &mean) / DRLI_MAX(n - 1, 1)) + 1e-8;
    int i;
    for (i = 0; i < n; i++) x[i] = (float)(((double)x[i] - mean) / sd);
}

/* Normals [rows, cols]; zeros if rng is NULL, and for an agent without noise. */
static drl_tensor *drli_agent_normals(drl_agent *a, drl_rng *rng, int rows, int cols)
{
    drl_tensor *x = drl_tape_input(&a->tape, rows, cols, NULL);
    if (a->tape.status) return x;
    if (rng && !(a->noiseless && rng == &a->rng_eval))
        drl_rng_normal_fill(a->ctx, rng, x->data, drli_size(x));
    else memset(x->data, 0, drli_size(x) * sizeof(float));
    return x;
}

/* Normals of the stream for training to x [n]; returns x. */
static float *drli_agent_noise(drl_agent *a, float *x, int n)
{
    drl_rng_normal_fill(a->ctx, &a->rng_noise, x, (size_t)n);
    return x;
}

/* Begin a graph on the agent's tape; grad 0: without gradients. */
static drl_tape *drli_agent_tape(drl_agent *a, int grad)
{
    drl_tape_reset(&a->tape);
    a->tape.grad_enabled = grad;
    return &a->tape;
}

static drl_adam_config drli_adam_lr(float lr)
{
    drl_adam_config c = drl_adam_config_default();
    c.lr = lr;
    return c;
}

/* Gradients of loss [1, 1], metric m, of which only those with views need zeros to start from. */
static drl_status drli_agent_grad(drl_agent *a, drl_params *p, drl_tensor *loss, int m)
{
    int i;
    for (i = 0; i < p->count; i++) {
        drl_tensor *x = &p->list[i];
        x->grad_full = x->grad_full == 2;
        if (x->grad_full) memset(x->grad, 0, drli_size(x) * sizeof(float));
    }
    if (drl_tape_backward(&a->tape, loss)) return a->tape.status;
    for (i = 0; i < p->count; i++) drli_grad_add(&a->tape, &p->list[i]);
    a->metrics[m].value = (double)loss->data[0];
    return DRL_OK;
}

/* Adam step of params on loss. */
static drl_status drli_agent_learn(drl_agent *a, drl_params *params,
    const drl_adam_config *adam, drl_tensor *loss, int m)
{
    drl_status s = drli_agent_grad(a, params, loss, m);
    if (!s) drl_adam_step(params, adam);
    return s;
}

/* Of a rollout with values v of obs and next of next_obs, [size] (GAE, arXiv:1506.02438):
     A = r + gamma V(s') - V(s) + gamma lambda A of the episode's next row, target = A + V */
static void drli_rollout_gae(const drl_replay *r, float gamma, float lambda,
    const float *v, const float *next, float *advantage, float *target)
{
    int64_t i;
    for (i = r->size - 1; i >= 0; i--) {
        float g = r->flags[i] & DRL_ENV_TERMINATED ? 0.0f : gamma;
        advantage[i] = fmaf(g, next[i], r->reward[i]) - v[i];
        if (r->next[i] >= 0) advantage[i] = fmaf(g * lambda, advantage[r->next[i]], advantage[i]);
        target[i] = advantage[i] + v[i];
    }
}

static void drli_rollout_clear(drl_replay *r)
{
    memset(r->last, 0xff, (size_t)r->cfg.envs * sizeof(int64_t)); /* -1: no row to follow on */
    r->size = r->head = 0;
}

/* Define what DRL_ALGO_API declares from drli_NAME_start, _act, _update; more: statements that set
   the optional functions of the drl_algo a. */
#define DRLI_ALGO(algo, CONFIG, text, figures, lines, more) \
    drl_algo drl_##algo##_algo(void) \
    { \
        typedef drl_##algo##_config drl_config; \
        static const drl_field fields[] = {CONFIG(DRL_ELEMENT)}; \
        drl_algo a = {#algo, text, lines, figures, fields, DRLI_COUNT(fields), sizeof(drl_##algo), \
            offsetof(drl_##algo, cfg), sizeof(drl_config), drli_##algo##_start, \
            drli_##algo##_act, drli_##algo##_update, NULL, NULL, NULL, NULL}; \
        more; \
        return a; \
    } \
    drl_##algo##_config drl_##algo##_config_default(int obs_dim, int act_dim) \
    { \
        drl_##algo##_config c; \
        drl_algo_default(drl_##algo##_algo(), &c, obs_dim, act_dim); \
        return c; \
    } \
    drl_status drl_##algo##_init(drl_##algo *agent, drl_context *ctx, \
        const drl_##algo##_config *cfg) \
    { \
        return drl_agent_init(&agent->agent, ctx, drl_##algo##_algo(), cfg); \
    }

/* -- agents */

drl_status drl_agent_init(drl_agent *a, drl_context *ctx, drl_algo algo, const void *config)
{
    const char *word = algo.metrics;
    char *name = a->names;
    int B;
    uint64_t seed;
    drl_status s = drl_fields_check(ctx, algo.fields, algo.field_count, config);
    memset(a, 0, algo.size);
    if (s) return s;
    a->algo = algo, a->ctx = ctx;
    memcpy(&seed, (const char *)config + drli_algo_field(&algo, "seed")->offset, sizeof(seed));
    memcpy((char *)a + algo.config_offset, config, algo.config_size);
    a->obs_dim = (int)drli_algo_number(&algo, config, "obs_dim", 0);
    a->act_dim = (int)drli_algo_number(&algo, config, "act_dim", 0);
    a->batch.rows = B = (int)drli_algo_number(&algo, config, "batch", 0);
    a->gamma = (float)drli_algo_number(&algo, config, "gamma", 0.99);
    a->random_steps = (int64_t)drli_algo_number(&algo, config, "random_steps", 0);
    a->update_every = (int64_t)drli_algo_number(&algo, config, "update_every", 1);
    a->time_limit_terminal = drli_algo_number(&algo, config, "time_limit_terminal", 0) != 0;
    a->rng_act = drli_agent_stream(a, seed, "act");
    a->rng_eval = drli_agent_stream(a, seed, "eval");
    a->rng_batch = drli_agent_stream(a, seed, "batch");
    a->rng_noise = drli_agent_stream(a, seed, "noise");
    while (*word && a->metric_count < DRL_METRICS_MAX && name < a->names + sizeof(a->names) - 40) {
        word = drli_next_word(word, name, 40);
        a->metrics[a->metric_count++].name = name;
        name += strlen(name) + 1;
    }
    drl_tape_init(&a->tape, ctx);
    drl_arena_init(&a->memory, ctx, 0);
    a->batch.obs = drli_floats(a, B, a->obs_dim), a->batch.next_obs = drli_floats(a, B, a->obs_dim);
    a->batch.act = drli_floats(a, B, a->act_dim), a->batch.reward = drli_floats(a, B, 1);
    a->batch.discount = drli_floats(a, B, 1);
    s = a->tape.status ? a->tape.status : algo.init_fn(a);
    if (s) drl_agent_free(a);
    return s;
}

void drl_agent_free(drl_agent *a)
{
    int i;
    if (!a->ctx) return;
    if (a->algo.free_fn) a->algo.free_fn(a);
    for (i = 0; i < a->set_count; i++) drl_params_free(a->sets[i].params);
    drl_arena_free(&a->memory);
    drl_tape_free(&a->tape);
    memset(a, 0, a->algo.size);
}

void drl_agent_begin(drl_agent *a, int env, uint64_t seed)
{
    if (env < 0) a->rng_eval = drli_agent_stream(a, seed, "eval");
    if (a->algo.begin_fn) a->algo.begin_fn(a, env);
}

drl_status drl_agent_act(drl_agent *agent, drl_mode mode, int rows, const float *obs, float *act)
{
    drl_tape *t = drli_agent_tape(agent, 0);
    drl_tensor *s = drl_tape_input(t, rows, agent->obs_dim, NULL), *a;
    drl_status status;
    if (!t->status) {
        drli_copy(s->data, obs, rows * agent->obs_dim);
        a = agent->algo.act_fn(agent, mode, s);
        if (!t->status) drli_copy(act, a->data, rows * agent->act_dim);
    }
    status = t->status;
    drl_tape_reset(t); /* one block: the next call allocates nothing */
    return status;
}

static drl_status drli_agent_finite(drl_agent *a)
{
    int i, k, bad = -1;
    for (i = 0; i < a->metric_count && fabs(a->metrics[i].value) <= 1e300; i++) {}
    if (i == a->metric_count) return DRL_OK;
    for (k = 0; k < a->set_count && bad < 0; k++) bad = drli_params_find_nan(a->sets[k].params);
    return drli_fail(a->ctx, DRL_ERR_NAN,
        "%s: %s is not finite after %l updates (tensor %s%s); lower the learning "
        "rate, or check the scale of observations and rewards", a->algo.name, a->metrics[i].name,
        a->updates, bad < 0 ? "" : a->sets[k - 1].prefix, bad < 0 ? "none" : a->sets[k -
        1].params->names[bad]);
}

drl_status drl_agent_update(drl_agent *a, drl_replay *replay)
{
    drl_status s = a->algo.update_fn(a, replay);
    return s ? s : drli_agent_finite(a);
}

const void *drl_agent_config(const drl_agent *a) { return (const char *)a + a->algo.config_offset; }

void drl_agent_state(drl_agent *a, drl_state *state, int all)
{
    int i;
    for (i = 0; i < a->set_count; i++)
        if (all || a->sets[i].acting)
            drl_params_state(a->sets[i].params, state, a->sets[i].prefix, all);
    if (a->algo.state_fn) a->algo.state_fn(a, state, all);
    if (!all) return;
    drli_state_put(state, "count.", "updates", DRL_I64, 1, 0, &a->updates);
    drli_state_put(state, "rng.", "agent", DRL_U64, 4 * sizeof(drl_rng) / 8, 0,
        &a->rng_act); /* and those that follow */
}

#ifndef DIFFRL_NO_STDIO
drl_status drl_agent_save(drl_agent *a, const char *path, const drl_meta *meta)
{
    drl_state state;
    drl_meta all;
    drl_status s;
    int i;
    drl_meta_init(&all, a->ctx);
    for (i = 0; meta && i < meta->count; i++) drl_meta_set(&all, meta->pairs[i].key,
            meta->pairs[i].value);
    drl_meta_set(&all, "algo", a->algo.name);
    drli_fields_to_meta(a->algo.fields, a->algo.field_count, drl_agent_config(a), &all);
    drl_state_init(&state, a->ctx);
    drl_agent_state(a, &state, 0);
    s = drl_state_save(a->ctx, path, &state, &all);
    drl_state_free(&state);
    drl_meta_free(&all);
    return s;
}

drl_status drl_agent_load(drl_agent *a, drl_context *ctx, drl_algo algo, const char *path)
{
    drl_file file;
    drl_state state;
    const char *name;
    void *config = drl_memory_alloc(ctx, algo.config_size);
    drl_status s = config ? drl_file_open(&file, ctx, path) : DRL_ERR_MEMORY;
    memset(a, 0, algo.size);
    if (!s) {
        drl_state_init(&state, ctx);
        drl_algo_default(algo, config, 1, 1);
        name = drl_meta_get(&file.meta, "algo");
        if (!name || strcmp(name, algo.name) != 0)
            s = drli_fail(ctx, DRL_ERR_FORMAT, "drl_agent_load: %s: expected algo %s, got %s",
                path, algo.name, name ? name : "none");
        if (!s) s = drli_fields_from_meta(ctx, algo.fields, algo.field_count, config, &file.meta);
        if (!s) s = drl_agent_init(a, ctx, algo, config);
        if (!s) drl_agent_state(a, &state, 0);
        if (!s) s = drl_file_load(&file, &state, 0);
        if (s) drl_agent_free(a);
        drl_state_free(&state);
        drl_file_close(&file);
    }
    drl_memory_free(ctx, config, algo.config_size);
    return s;
}
#endif

/* -- training */

drl_trainer_config drl_trainer_config_default(void)
{
    drl_trainer_config cfg = {1, 1000000, 1};
    return cfg;
}

static drl_status drli_trainer_reset(drl_trainer *t, int e)
{
    const drl_env *env = &t->envs[e];
    float *obs = t->obs + e * t->agent->obs_dim;
    drl_rng rng = drl_rng_make(t->cfg.seed, "episodes");
    uint64_t seed;
    rng = drl_rng_split(&rng, ((uint64_t)e << 40) + (uint64_t)t->episode[e]++);
    seed = (uint64_t)drl_rng_bits(&rng) << 32;
    seed |= drl_rng_bits(&rng);
    t->length[e] = 0, t->ret[e] = 0;
    drl_agent_begin(t->agent, e, 0);
    return drli_env_values(t->ctx, env, e, 0, env->reset_fn(env->user, seed, obs), obs, 0.0f);
}

static drl_status drli_env_fits(drl_context *ctx, const drl_agent *a, const drl_env *env)
{
    if (env->obs_dim == a->obs_dim && env->act_dim == a->act_dim) return DRL_OK;
    return drli_fail(ctx, DRL_ERR_SHAPE, "environment %s has obs %d, act %d; the agent expects %d, "
        "%d", env->name, env->obs_dim, env->act_dim, a->obs_dim, a->act_dim);
}

drl_status drl_trainer_init(drl_trainer *t, drl_context *ctx, const drl_trainer_config *cfg,
    const drl_env *envs, int env_count, drl_agent *a)
{
    drl_trainer_config c = cfg ? *cfg : drl_trainer_config_default();
    drl_replay_config rc = {a->obs_dim, a->act_dim, c.replay_capacity, env_count, c.n_step,
        a->gamma};
    drl_status s = DRL_OK;
    size_t n = (size_t)env_count, S = (size_t)a->obs_dim, A = (size_t)a->act_dim;
    int e;
    memset(t, 0, sizeof(*t));
    for (e = 0; e < env_count; e++) {
        if (envs[e].save_fn) t->env_bytes += envs[e].state_size_fn(envs[e].user);
        if (drli_env_fits(ctx, a, &envs[e])) return DRL_ERR_SHAPE;
    }
    if (env_count < 1)
        return drli_fail(ctx, DRL_ERR_RANGE, "drl_trainer_init: expected env_count >= 1, got %d",
            env_count);
    t->cfg = c, t->ctx = ctx, t->agent = a, t->envs = envs, t->env_count = env_count;
    t->random = drl_rng_make(c.seed, "random actions");
    t->bytes = n * ((2 * S + A + 4) * sizeof(float) + 2 * sizeof(double)) + t->env_bytes;
    t->ret = (double *)drl_memory_alloc(ctx, t->bytes);
    if (!t->ret || (!a->algo.observe_fn && drl_replay_init(&t->replay, ctx, &rc))) {
        drl_trainer_free(t);
        return ctx->status;
    }
    t->episode = (int64_t *)(t->ret + n);
    t->obs = (float *)(t->episode + n);
    t->next_obs = t->obs + n * S;
    t->act = t->next_obs + n * S;
    t->length = (int *)(t->act + n * A);
    t->results = (drli_step *)(t->length + n);
    t->env_state = (unsigned char *)(t->results + n);
    for (e = 0; e < env_count && !s; e++) s = drli_trainer_reset(t, e);
    if (s) drl_trainer_free(t);
    return s;
}

void drl_trainer_free(drl_trainer *t)
{
    if (t->ctx) drl_memory_free(t->ctx, t->ret, t->bytes);
    drl_replay_free(&t->replay);
    memset(t, 0, sizeof(*t));
}

/* Save or load each environment's piece of env_state. */
static drl_status drli_trainer_envs(drl_trainer *t, int load)
{
    unsigned char *at = t->env_state;
    drl_status s = DRL_OK;
    int e;
    for (e = 0; e < t->env_count && !s; e++) {
        const drl_env *env = &t->envs[e];
        size_t n = env->save_fn ? env->state_size_fn(env->user) : 0;
        int code = !n ? 0 : load ? env->load_fn(env->user, at, n) : env->save_fn(env->user, at, n);
        s = drli_env_values(t->ctx, env, e, t->length[e], code, t->obs, 0.0f);
        if (load && !n) s = drli_trainer_reset(t, e);
        at += n;
    }
    return s;
}

void drl_trainer_state(drl_trainer *t, drl_state *state, int replay)
{
    int E = t->env_count;
    drl_agent_state(t->agent, state, 1);
    drli_state_put(state, "rng.", "trainer", DRL_U64, sizeof(drl_rng) / 8, 0, &t->random);
    drli_state_put(state, "trainer.", "seed", DRL_U64, 1, 0, &t->cfg.seed);
    drli_state_put(state, "trainer.", "counts", DRL_I64, 3, 0, &t->steps);
    drli_state_put(state, "trainer.", "recent", DRL_F64, 202, 0, &t->last_return);
    drli_state_put(state, "env.", "episode", DRL_I64, E, 0, t->episode);
    drli_state_put(state, "env.", "return", DRL_F64, E, 0, t->ret);
    drli_state_put(state, "env.", "length", DRL_I32, E, 0, t->length);
    drli_state_put(state, "env.", "state", DRL_U8, (int64_t)t->env_bytes, 0, t->env_state);
    drl_state_add_f32(state, "env.obs", t->obs, E, t->agent->obs_dim);
    if (replay && !t->agent->algo.observe_fn) drl_replay_state(&t->replay, state, "replay.");
    if (state->file) drli_state_range(state, "trainer.", "counts", 0, INT64_MAX / 2);
    else if (!state->status) state->status = drli_trainer_envs(t, 0);
}

drl_status drl_trainer_load(drl_trainer *t, const drl_file *file)
{
    drl_state state;
    drl_status s;
    drl_state_init(&state, t->ctx);
    state.file = file;
    drl_trainer_state(t, &state, drl_file_find(file, "replay.obs") != NULL);
    s = drl_file_load(file, &state, 0);
    drl_state_free(&state);
    return s ? s : drli_trainer_envs(t, 1);
}

static void drli_trainer_task(void *arg, int begin, int end, int worker)
{
    drl_trainer *t = (drl_trainer *)arg;
    int e;
    for (e = begin; e < end; e++)
        t->results[e] = drli_env_step_raw(&t->envs[e], t->act + e * t->agent->act_dim, t->next_obs +
            e * t->agent->obs_dim);
}

/* Check the step of one environment and keep the transition. */
static drl_status drli_trainer_env(drl_trainer *t, int e)
{
    int S = t->agent->obs_dim;
    float *obs = t->obs + e * S, *next = t->next_obs + e * S;
    float *act = t->act + e * t->agent->act_dim, reward = t->results[e].reward;
    const drl_env *env = &t->envs[e];
    int flags = t->results[e].flags;
    drl_status s = drli_env_step_check(t->ctx, env, e, t->length[e] + 1, act, next, t->results[e]);
    if (s && s != DRL_ERR_ENV && s != DRL_ERR_NAN) return s; /* not the task's fault */
    if (s) {
        if (!t->agent->algo.observe_fn) drl_replay_skip(&t->replay);
        if (++t->faults > 1000)
            return drli_fail(t->ctx, DRL_ERR_ENV,
                "%s: more than 1000 steps failed; the task is not usable", env->name);
        return drli_trainer_reset(t, e);
    }
    t->length[e]++;
    t->ret[e] += (double)reward;
    if (!flags && env->time_limit > 0 && t->length[e] >= env->time_limit) {
        flags = DRL_ENV_TRUNCATED;
        if (t->agent->time_limit_terminal) flags |= DRL_ENV_TERMINATED;
    }
    if (t->agent->algo.observe_fn)
        s = t->agent->algo.observe_fn(t->agent, e, obs, act, reward, next, flags);
    else
        drl_replay_push(&t->replay, obs, act, reward, next, flags);
    if (flags) {
        int slot = (int)(t->episodes++ % 100);
        t->last_return = t->recent_return[slot] = t->ret[e];
        t->last_length = t->recent_length[slot] = t->length[e];
        return s ? s : drli_trainer_reset(t, e);
    }
    drli_copy(obs, next, S);
    return s;
}

drl_status drl_trainer_step(drl_trainer *t)
{
    int e, i, n = t->env_count * t->agent->act_dim;
    drl_status s = DRL_OK;
    if (t->steps < t->agent->random_steps) {
        for (i = 0; i < n; i++) t->act[i] = 2.0f * drl_rng_uniform(&t->random) - 1.0f;
    } else {
        s = drl_agent_act(t->agent, DRL_MODE_EXPLORE, t->env_count, t->obs, t->act);
    }
    if (!s) drl_parallel_for(t->ctx, t->env_count, 0, drli_trainer_task, t);
    for (e = 0; e < t->env_count && !s; e++) s = drli_trainer_env(t, e);
    for (e = 0; e < t->env_count && !s; e++) {
        t->steps++;
        if (t->steps > t->agent->random_steps && t->steps % t->agent->update_every == 0)
            s = drl_agent_update(t->agent, &t->replay);
    }
    return s;
}

static double drli_trainer_mean(const drl_trainer *t, const double *ring)
{
    int i, n = (int)DRLI_MIN(t->episodes, (int64_t)100);
    double s = 0;
    for (i = 0; i < n; i++) s += ring[i];
    return n ? s / n : 0;
}

double drl_trainer_return(const drl_trainer *t) { return drli_trainer_mean(t, t->recent_return); }

double drl_trainer_length(const drl_trainer *t) { return drli_trainer_mean(t, t->recent_length); }

drl_status drl_evaluate(drl_context *ctx, drl_agent *a, const drl_env *env, int episodes,
    uint64_t seed, drl_evaluation *result, double *returns)
{
    size_t size = ((size_t)a->obs_dim + (size_t)a->act_dim) * sizeof(float);
    float *obs, *act;
    double square = 0;
    int i;
    drl_status s = DRL_OK;
    memset(result, 0, sizeof(*result));
    if (drli_env_fits(ctx, a, env)) return DRL_ERR_SHAPE;
    obs = (float *)drl_memory_alloc(ctx, size);
    if (!obs) return DRL_ERR_MEMORY;
    act = obs + a->obs_dim;
    for (i = 0; i < episodes && !s; i++, seed++) {
        double r = 0, delta;
        float reward = 0;
        int n = 0, flags = 0;
        s = drl_env_reset(ctx, env, seed, obs);
        drl_agent_begin(a, -1, seed);
        while (!s && !flags && (env->time_limit == 0 || n < env->time_limit)) {
            s = drl_agent_act(a, DRL_MODE_EVAL, 1, obs, act);
            n++;
            if (!s) s = drli_env_step_at(ctx, env, n, act, obs, &reward, &flags);
            r += (double)reward;
        }
        if (returns) returns[i] = r;
        delta = r - result->mean;
        result->mean += delta / (i + 1);
        square += delta * (r - result->mean);
        result->min = i ? DRLI_MIN(result->min, r) : r;
        result->max = i ? DRLI_MAX(result->max, r) : r;
        result->length += (n - result->length) / (i + 1);
        result->episodes = i + 1;
    }
    result->std = result->episodes ? sqrt(square / result->episodes) : 0;
    drl_memory_free(ctx, obs, size);
    return s;
}

#ifndef DIFFRL_NO_DACER
/* ====== >>dacer
   DACER - diffusion actor-critic with entropy regulator
   Paper     Wang et al., NeurIPS 2024, arXiv:2405.15177
   Code      github.com/happy-yan/DACER-Diffusion-with-Online-RL
   Idea      The chain is differentiable, so it climbs Q like any actor. Nothing in Q rewards
             spread: the action's noise is scaled to hold an estimate of the policy's entropy.
   Symbols   q, sigma mean and std of the return, omega running mean of sigma, alpha noise
             scale, lambda `noise`, n normals, H entropy of a Gaussian mixture, ' = targets
   Steps     drli_dacer_action   a = clip(chain(s) + lambda alpha n, -1, 1)    eq. (7) to (9)
             drli_dacer_target   y of the critic with the smaller mean         eq. (11)
             drli_dacer_critic   distribution of the return (DSAC-T)
             drli_dacer_entropy  H of 200 actions, mean over states            eq. (12) to (15)
             drli_dacer_actor    mean(-min q) through the whole chain          eq. (10)
             drli_dacer_alpha    ln alpha follows H - target                   eq. (16)
   Deviates  As the code, not the paper: std of a step sqrt(beta (1 - abar') / (1 - abar)), x_0 cut
             to +-1, distribution of returns. Input order [a, e(t), s], k-means++ draws each center
             once, evaluation draws from the episode's stream. Preset cpu updates in each
             environment step, with shorter chain, smaller networks, higher rates, and a third of
             the noise at first (alpha 1, as the code once had): with more, HalfCheetah may stay
             with a gait that bears the noise.
   Verified  tests/golden and unit/dacer.c, tests/learn; README.md */

/* k Gaussians fitted to x [n, d], covariances L L'. */
typedef struct drli_gmm {
    int n, d, k;
    const float *x;
    double *r;     /* [k, n] responsibilities */
    double *w;     /* [k] weights */
    double *level; /* [k] ln(w / ((2 pi)^(d/2) |L|)) */
    double *mean, *chol, *v; /* [k, d], L [k, d, d], x_i - mean_c [d] */
} drli_gmm;

/* v = x_i - mean_c; returns v'v. */
static double drli_gmm_distance(const drli_gmm *g, int i, int c)
{
    double s = 0;
    int a;
    for (a = 0; a < g->d; a++) {
        g->v[a] = (double)g->x[i * g->d + a] - g->mean[c * g->d + a];
        s += g->v[a] * g->v[a];
    }
    return s;
}

/* k-means++ (Arthur, Vassilvitskii 2007): a far sample is a likely center. */
static void drli_gmm_start(const drli_gmm *g)
{
    drl_rng rng = drl_rng_make(0, "gmm");
    int c, i, at = (int)drl_rng_integer(&rng, (uint32_t)g->n);
    double *near = g->r, s, d;
    for (c = 0; c < g->k; c++) {
        for (i = 0; i < g->d; i++) g->mean[c * g->d + i] = (double)g->x[at * g->d + i];
        for (i = 0, s = 0; i < g->n; i++) {
            d = drli_gmm_distance(g, i, c);
            s += near[i] = c && near[i] < d ? near[i] : d;
        }
        s *= (double)drl_rng_uniform(&rng);
        for (at = 0; at < g->n - 1 && s >= near[at]; at++) s -= near[at];
    }
}

/* Responsibilities; soft 0: all to the nearest mean (k-means). Returns the mean log-likelihood. */
static double drli_gmm_expect(const drli_gmm *g, int soft)
{
    double total = 0;
    int c, i, a, b, d = g->d;
    for (i = 0; i < g->n; i++) {
        double top = -HUGE_VAL, sum = 0, *r = g->r + i;
        for (c = 0; c < g->k; c++) {
            const double *L = g->chol + c * d * d;
            double now = -0.5 * drli_gmm_distance(g, i, c);
            for (a = 0, now = soft ? g->level[c] : now; soft && a < d; a++) { /* L v' = v */
                for (b = 0; b < a; b++) g->v[a] -= L[a * d + b] * g->v[b];
                g->v[a] /= L[a * d + a];
                now -= 0.5 * g->v[a] * g->v[a];
            }
            r[c * g->n] = now;
            top = DRLI_MAX(top, now);
        }
        for (c = 0; c < g->k; c++) {
            double gap = r[c * g->n] - top;
            sum += r[c * g->n] = soft ? (double)drl_expf((float)gap) : gap == 0 && sum == 0;
        }
        for (c = 0; c < g->k; c++) r[c * g->n] /= sum;
        total += top + (double)drl_logf((float)sum);
    }
    return total / g->n;
}

/* Weights, means, covariances (+ 1e-6 I) from the responsibilities. */
static void drli_gmm_maximize(const drli_gmm *g)
{
    int c, i, a, b, d = g->d;
    for (c = 0; c < g->k; c++) {
        double *L = g->chol + c * d * d, *mean = g->mean + c * d, *r = g->r + c * g->n;
        double w = 2.2e-15, logs = 0.91893853320467274 * d, s; /* ln sqrt(2 pi) */
        for (i = 0; i < d; i++) mean[i] = 0;
        for (i = 0; i < d * d; i++) L[i] = 0;
        for (i = 0; i < g->n; i++)
            for (a = 0, w += r[i]; a < d; a++) mean[a] += r[i] * (double)g->x[i * d + a];
        for (a = 0; a < d; a++) mean[a] /= w;
        for (i = 0; i < g->n; i++) {
            drli_gmm_distance(g, i, c);
            for (a = 0; a < d; a++)
                for (b = 0, s = r[i] * g->v[a]; b <= a; b++) L[a * d + b] += s * g->v[b];
        }
        for (a = 0; a < d; a++) /* Cholesky */
            for (b = 0; b <= a; b++) {
                s = L[a * d + b] / w + (a == b ? 1e-6 : 0);
                for (i = 0; i < b; i++) s -= L[a * d + i] * L[b * d + i];
                L[a * d + b] = a == b ? sqrt(s) : s / L[b * d + b];
                if (a == b) logs += (double)drl_logf((float)L[a * d + a]);
            }
        g->w[c] = w / g->n;
        g->level[c] = (double)drl_logf((float)g->w[c]) - logs;
    }
}

/* H = sum_c w (-ln w + ln((2 pi e)^d |cov|) / 2), at least the entropy of the mixture, of x [n, d].
   work [k (n + 2 + d + d^2) + d] */
static double drli_gmm_entropy(int n, int d, int k, const float *x, double *work)
{
    drli_gmm g;
    double h = 0, now, last;
    int c, round, soft;
    g.n = n, g.d = d, g.k = k, g.x = x;
    g.r = work, g.w = g.r + k * n, g.level = g.w + k, g.mean = g.level + k;
    g.chol = g.mean + k * d, g.v = g.chol + k * d * d;
    drli_gmm_start(&g);
    for (soft = 0; soft < 2; soft++) /* k-means, then EM */
        for (round = 0, now = -HUGE_VAL; round < 100; round++) {
            last = now;
            now = drli_gmm_expect(&g, soft);
            drli_gmm_maximize(&g);
            if (fabs(now - last) <= (soft ? 1e-3 : 0)) break;
        }
    for (c = 0; c < k; c++) h += g.w[c] * (0.5 * d - g.level[c]);
    return h;
}

static drl_status drli_dacer_start(drl_agent *a)
{
    drl_dacer *d = (drl_dacer *)a;
    const drl_dacer_config *c = &d->cfg;
    drl_rng rng = drli_agent_stream(a, c->seed, "weights");
    int j, B = c->batch, A = c->act_dim, M = c->samples;
    drli_agent_set(a, &d->actor, "actor.", 20, 1, 1);
    drli_agent_set(a, &d->critic, "critic.", 32, 1, 0);
    drli_agent_set(a, &d->target, "target.", 32, 0, 0);
    drli_agent_set(a, &d->scale, "scale.", 1, 1, 1);
    drli_agent_set(a, &d->running, "running.", 1, 0, 0);
    drl_denoiser_add(&d->net, &d->actor, "", c->obs_dim, c->act_dim, DRL_TIME_SCALED, 16, 32,
        c->actor_width, c->layers, 0, DRL_ACT_MISH);
    for (j = 0; j < 4; j++)
        drli_mlp_even(j < 2 ? &d->q[j] : &d->q_target[j - 2], j < 2 ? &d->critic : &d->target,
            j % 2 ? "q1." : "q0.", c->act_dim + c->obs_dim, c->critic_width, c->layers, 2,
            DRL_ACT_MISH);
    d->log_alpha = drl_params_add(&d->scale, "", "log_alpha", 1, 1);
    d->omega = drl_params_add(&d->running, "", "omega", 1, 2);
    d->noise = drli_floats(a, B, (c->steps + 1) * A + 2), d->y = drli_floats(a, B, 2);
    d->actions = drli_floats(a, DRLI_MIN(c->mixtures, B), M * A);
    d->work = (double *)(void *)drli_floats(a, 2, c->components * (M + 2 + A + A * A) + A);
    if (drli_agent_commit(a)) return a->ctx->status;
    /* sigma 1 / sqrt(in) before the cut at 2 sigma */
    drl_denoiser_init(&d->net, DRL_INIT_LECUN_NORMAL, 0.87962566f, &rng);
    for (j = 0; j < 2; j++) drl_mlp_init(&d->q[j], DRL_INIT_LECUN_NORMAL, 0.87962566f, &rng);
    drl_params_copy(&d->target, &d->critic);
    d->log_alpha->data[0] = drl_logf(c->alpha);
    d->adam_critic = drli_adam_lr(c->lr_critic), d->adam_actor = drli_adam_lr(c->lr_actor);
    d->adam_alpha = drli_adam_lr(c->lr_alpha);
    return drl_ddpm_init(&d->chain, a->ctx, DRL_SCHEDULE_VP, c->steps);
}

/* Normals for actions of `rows` states, and `more`. */
static float *drli_dacer_noise(drl_dacer *d, int rows, int more)
{
    int n = rows * (d->cfg.steps + 1) * d->cfg.act_dim + more;
    return drli_agent_noise(&d->agent, d->noise, n);
}

/* a = clip(x_0 + lambda alpha n, -1, 1), x_0 the chain's end; noisy 0: without n, learn 1: with
   gradients.   noise [T + 1, B, A]: x_T, the steps' normals, n; overwritten, borrowed */
static drl_tensor *drli_dacer_action(drl_dacer *d, drl_tensor *obs, float *noise, int noisy,
    int learn)
{
    drl_tape *t = &d->agent.tape;
    int k, T = d->cfg.steps, B = obs->rows, A = d->cfg.act_dim;
    float *end = noise + T * B * A;
    float level = noisy ? d->cfg.noise * drl_expf(d->log_alpha->data[0]) : 0.0f;
    drl_tensor *x = drl_tape_input(t, B, A, noise), *time, *state, *eps;
    drl_tensor *added = drl_affine(t, drl_tape_input(t, B, A, end), level, 0.0f);
    if (!learn) {
        drl_denoiser_sample(t, &d->net, &d->chain, obs, 1, T, 1, 1.0f, noise);
        x = drl_tape_input(t, B, A, end);
    } else {
        time = drl_denoiser_time(t, &d->net, T);
        state = drl_denoiser_state(t, &d->net, obs);
        for (k = T; k >= 1; k--) {
            eps = drl_denoiser_eps(t, &d->net, x, drl_rows(t, time, k - 1, 1), state);
            noise += B * A;
            x = drl_ddpm_step(t, &d->chain, k, x, eps, drl_tape_input(t, B, A, noise), 1.0f);
        }
    }
    return drl_clip(t, drl_add(t, x, added), -1.0f, 1.0f);
}

/* y = R r + discount q', y_sample = R r + discount (q' + sigma' z), z cut to +-3, of the target
   with the smaller mean; z [2, B] follow the action's noise. */
static drl_status drli_dacer_target(drl_dacer *d, const drl_batch *b, float *noise)
{
    drl_tape *t = drli_agent_tape(&d->agent, 0);
    int r, B = b->rows;
    drl_tensor *obs = drl_tape_input(t, B, d->cfg.obs_dim, b->next_obs), *x, *q[2];
    x = drl_concat(t, drli_dacer_action(d, obs, noise, 1, 0), obs);
    q[0] = drl_mlp_forward(t, &d->q_target[0], x);
    q[1] = drl_mlp_forward(t, &d->q_target[1], x);
    if (t->status) return t->status;
    noise += B * (d->cfg.steps + 1) * d->cfg.act_dim;
    for (r = 0; r < B; r++) {
        int j = q[0]->data[2 * r] >= q[1]->data[2 * r];
        float z = drli_clampf(noise[j * B + r], -3.0f, 3.0f), *out = q[j]->data + 2 * r;
        float reward = d->cfg.reward_scale * b->reward[r];
        d->y[r] = fmaf(b->discount[r], out[0], reward);
        d->y[B + r] = fmaf(b->discount[r], fmaf(drl_softplusf(out[1]), z, out[0]), reward);
    }
    return DRL_OK;
}

/* Slopes of the loss of critic j, [B] each, with w = omega^2 + 0.1:
     dq = -w (y - q) / (sigma^2 + 0.1),   dsigma = -w (e^2 - sigma^2) / (sigma^3 + 0.1),
     e = clip(y_sample - q, -3 omega, 3 omega) */
static void drli_dacer_slopes(drl_dacer *d, int j, const float *q, const float *sigma, float *dq,
    float *dsigma)
{
    int r, B = d->agent.batch.rows;
    float *omega = &d->omega->data[j], now = (float)drli_mean(B, sigma), w;
    *omega = d->agent.updates ? fmaf(d->cfg.tau, now - *omega, *omega) : now;
    w = fmaf(*omega, *omega, 0.1f);
    for (r = 0; r < B; r++) {
        float s = sigma[r], s2 = s * s, e = d->y[B + r] - q[r], bound = 3.0f * *omega;
        e = drli_clampf(e, -bound, bound);
        dq[r] = -w * (d->y[r] - q[r]) / (s2 + 0.1f);
        dsigma[r] = -w * fmaf(e, e, -s2) / fmaf(s2, s, 0.1f);
    }
}

/* Gradients of sum_j mean(dq q + dsigma sigma), both critics. */
static drl_status drli_dacer_critic(drl_dacer *d, const drl_batch *b)
{
    drl_tape *t = drli_agent_tape(&d->agent, 1);
    drl_tensor *x, *loss[2];
    int j, B = b->rows;
    x = drl_concat(t, drl_tape_input(t, B, d->cfg.act_dim, b->act), drl_tape_input(t, B,
        d->cfg.obs_dim, b->obs));
    for (j = 0; j < 2; j++) {
        drl_tensor *out = drl_mlp_forward(t, &d->q[j], x), *q = drl_cols(t, out, 0, 1);
        drl_tensor *sigma = drl_activate(t, DRL_ACT_SOFTPLUS, drl_cols(t, out, 1, 1));
        drl_tensor *dq = drl_tape_input(t, B, 1, NULL), *dsigma = drl_tape_input(t, B, 1, NULL);
        if (t->status) return t->status;
        drli_dacer_slopes(d, j, q->data, sigma->data, dq->data, dsigma->data);
        loss[j] = drl_mean(t, drl_add(t, drl_mul(t, q, dq), drl_mul(t, sigma, dsigma)));
    }
    loss[0] = drl_add(t, loss[0], loss[1]);
    return drli_agent_grad(&d->agent, &d->critic, loss[0], 0);
}

/* Mean of H over states, of executed actions. */
static drl_status drli_dacer_entropy(drl_dacer *d, const drl_batch *b)
{
    int i, k, S = DRLI_MIN(d->cfg.mixtures, b->rows), A = d->cfg.act_dim, M = d->cfg.samples;
    double h = 0;
    for (k = 0; k < M; k++) {
        drl_tape *t = drli_agent_tape(&d->agent, 0);
        drl_tensor *x = drl_tape_input(t, S, d->cfg.obs_dim, b->obs);
        x = drli_dacer_action(d, x, drli_dacer_noise(d, S, 0), 1, 0);
        if (t->status) return t->status;
        for (i = 0; i < S; i++) drli_copy(d->actions + (i * M + k) * A, x->data + i * A, A);
    }
    for (i = 0; i < S; i++)
        h += drli_gmm_entropy(M, A, d->cfg.components, d->actions + i * M * A, d->work);
    d->agent.metrics[4].value = h / S;
    return DRL_OK;
}

/* Actor step on mean(-min_j q_j(s, a)) through the whole chain, critics constant. */
static drl_status drli_dacer_actor(drl_dacer *d, const drl_batch *b, float *noise)
{
    drl_tape *t = drli_agent_tape(&d->agent, 1);
    drl_tensor *obs = drl_tape_input(t, b->rows, d->cfg.obs_dim, b->obs), *x, *q[2], *loss;
    int j;
    x = drl_concat(t, drli_dacer_action(d, obs, noise, 1, 1), obs);
    for (j = 0; j < 2; j++) q[j] = drl_cols(t, drli_mlp_from(t, &d->q[j], 0, x, 1), 0, 1);
    loss = drl_affine(t, drl_mean(t, drl_min(t, q[0], q[1])), -1.0f, 0.0f);
    return drli_agent_learn(&d->agent, &d->actor, &d->adam_actor, loss, 1);
}

/* ln alpha descends H - target: too much entropy, less noise. */
static void drli_dacer_alpha(drl_dacer *d)
{
    d->log_alpha->grad[0] = (float)d->agent.metrics[4].value -
                            d->cfg.target * (float)d->cfg.act_dim;
    drl_adam_step(&d->scale, &d->adam_alpha);
}

static drl_status drli_dacer_update(drl_agent *agent, drl_replay *replay)
{
    drl_dacer *d = (drl_dacer *)agent;
    drl_batch *b = &agent->batch;
    int moves = agent->updates % d->cfg.policy_delay == 0;
    int scales = agent->updates % d->cfg.alpha_delay == 0;
    drl_status s = drl_replay_sample(replay, &agent->rng_batch, b);
    if (!s) s = drli_dacer_target(d, b, drli_dacer_noise(d, b->rows, 2 * b->rows));
    if (!s) s = drli_dacer_critic(d, b);
    if (!s && scales) s = drli_dacer_entropy(d, b);
    if (!s && moves) /* by the critics before their step */
        s = drli_dacer_actor(d, b, drli_dacer_noise(d, b->rows, 0));
    if (s) return s;
    drl_adam_step(&d->critic, &d->adam_critic);
    if (moves) drl_params_polyak(&d->target, &d->critic, d->cfg.tau);
    if (scales) drli_dacer_alpha(d);
    agent->metrics[2].value = (double)d->omega->data[0];
    agent->metrics[3].value = (double)drl_expf(d->log_alpha->data[0]);
    agent->updates++;
    return DRL_OK;
}

static drl_tensor *drli_dacer_act(drl_agent *agent, drl_mode mode, drl_tensor *obs)
{
    drl_dacer *d = (drl_dacer *)agent;
    drl_tensor *noise = drli_agent_normals(agent, drli_agent_rng(agent, mode), obs->rows *
        (d->cfg.steps + 1), d->cfg.act_dim);
    if (agent->tape.status) return noise;
    return drli_dacer_action(d, obs, noise->data, mode == DRL_MODE_EXPLORE, 0);
}

DRLI_ALGO(dacer, DRL_DACER_CONFIG,
    "diffusion policy through which Q is climbed (Wang et al., NeurIPS 2024)",
    "critic_loss actor_loss omega alpha entropy",
    "cpu steps=5 actor_width=128 layers=2 alpha=1 alpha_delay=500 mixtures=16 tau=0.02 "
    "random_steps=5000 update_every=1 lr_actor=6e-4 lr_critic=1e-3\n"
    "toy steps=5 actor_width=64 layers=2 critic_width=64 noise=0.1 alpha_delay=200 "
    "mixtures=8 samples=100 batch=128 random_steps=500 update_every=1 lr_actor=3e-4 "
    "lr_critic=1e-3\n", (void)0)
#endif

#ifndef DIFFRL_NO_DIME
/* ====== >>dime
   DIME - diffusion-based maximum-entropy reinforcement learning
   Paper     Celik et al., ICML 2025, arXiv:2502.02316
   Code      github.com/ALRhub/DIME
   Idea      The policy is a diffusion chain from noise x_0 to a = tanh(x_N). The log-density of its
             path bounds its entropy: maximum entropy is trained through the chain.
   Symbols   s obs, a action, x_k chain state, u control network, eta_k step size, xi_k noise,
             L path log-density, R = L without the prior's term (run cost), alpha = e^kappa
   Steps     drli_dime_path         sample x_0..x_N with L and R
             drli_dime_critic       C51 target shifted by -gamma alpha L', CrossQ joint forward
             drli_dime_actor        mean(alpha L - (Q_1 + Q_2) / 2) through the chain
             drli_dime_temperature  kappa follows R - 4 dim(A)
   Deviates  The first layer's parts from s and k are added to x's: same sum in another order.
             Batch Renorm: the derivative of the root of a zero variance counts as 0.
             UTD batches are drawn one by one, not split from one: same distribution.
   Verified  tests/golden/dime.c, tests/unit; README.md */

static float drli_softplus_inverse(float y) { return y > 20.0f ? y : drl_logf(drl_expf(y) - 1.0f); }

static drl_status drli_dime_start(drl_agent *a)
{
    drl_dime *d = (drl_dime *)a;
    const drl_dime_config *c = &d->cfg;
    drl_rng rng = drli_agent_stream(a, c->seed, "weights");
    drl_atoms support = {c->atoms, c->v_min, c->v_max};
    int i, j, in = c->obs_dim + c->act_dim, B = c->batch;
    if (!(c->v_min < c->v_max))
        return drli_fail(a->ctx, DRL_ERR_RANGE, "dime: expected v_min < v_max, got %g and %g",
            (double)c->v_min, (double)c->v_max);
    drli_agent_set(a, &d->actor, "actor.", 32, 1, 1);
    drli_agent_set(a, &d->critic, "critic.", 32, 1, 0);
    drli_agent_set(a, &d->running, "running.", 16, 0, 0);
    drli_agent_set(a, &d->temperature, "temperature.", 1, 1, 0);
    drl_fourier_add(&d->time, &d->actor, "", c->time_frequencies, c->actor_width);
    d->time_size = d->actor.size + DRLI_AT(in + c->actor_width, c->actor_width);
    drli_mlp_even(&d->trunk, &d->actor, "", in + c->actor_width, c->actor_width, c->actor_layers,
        c->act_dim, DRL_ACT_GELU); /* of x, s, embedded time */
    d->rho = drl_params_add(&d->actor, "", "rho", 1, 1);
    d->phi = drl_params_add(&d->actor, "", "phi", 1, c->act_dim);
    drl_crossq_add(&d->q[0], &d->critic, &d->running, "q0.", in, c->critic_width, c->atoms);
    drl_crossq_add(&d->q[1], &d->critic, &d->running, "q1.", in, c->critic_width, c->atoms);
    d->kappa = drl_params_add(&d->temperature, "", "kappa", 1, 1);
    d->next_act = drli_floats(a, B, c->act_dim), d->next_density = drli_floats(a, B, 1);
    d->shift = drli_floats(a, B, 1), d->noise = drli_floats(a, B, (c->steps + 1) * c->act_dim);
    d->target = drli_floats(a, B, c->atoms), d->probability = drli_floats(a, B, c->atoms);
    d->time_rows = drli_floats(a, c->steps, c->actor_width);
    if (drli_agent_commit(a)) return a->ctx->status;
    drl_dense_init(&d->time.l0, DRL_INIT_LECUN_NORMAL, 1.0f, &rng);
    drl_dense_init(&d->time.l1, DRL_INIT_LECUN_NORMAL, 1.0f, &rng);
    drl_mlp_init(&d->trunk, DRL_INIT_LECUN_NORMAL, 1.0f, &rng);
    drl_tensor_init(d->trunk.layer[c->actor_layers].w, DRL_INIT_CONSTANT, 1e-8f, &rng);
    d->rho->data[0] = drli_softplus_inverse(c->dt);
    drl_tensor_init(d->phi, DRL_INIT_CONSTANT, drli_softplus_inverse(c->friction), &rng);
    for (j = 0; j < 2; j++) {
        drl_crossq_init(&d->q[j], &rng);
        for (i = 0; i < 3; i++) d->q[j].bn[i].momentum = c->brn_momentum;
    }
    d->kappa->data[0] = drl_logf(c->alpha);
    drl_ou_schedule(c->steps, c->step_floor, d->c);
    d->support = support;
    d->adam_critic = drli_adam_lr(c->lr_critic);
    d->adam_actor = drli_adam_lr(c->lr_actor), d->adam_alpha = drli_adam_lr(c->lr_alpha);
    d->adam_critic.beta1 = d->adam_actor.beta1 = c->beta1;
    d->adam_actor.zero_nan = 1, d->adam_actor.clip_element = c->actor_clip;
    return DRL_OK;
}

/* A sampled path: x_N and a = tanh(x_N) [B, A], R and L [B, 1]. */
typedef struct drli_dime_sample {
    drl_tensor *x, *action, *run_cost, *density;
} drli_dime_sample;

/* u(x, s, k) = trunk([x, s, time_k]), cut to +-1e4, by the first layer's parts from s, `state`
   [B, W], and k, `time` [N, W]. */
static drl_tensor *drli_dime_control(drl_dime *d, drl_tensor *x, drl_tensor *state,
    drl_tensor *time, int k)
{
    drl_tape *t = &d->agent.tape;
    drl_tensor *w = drl_rows(t, d->trunk.layer[0].w, 0, d->cfg.act_dim);
    x = drl_linear(t, x, w, drl_rows(t, time, k, 1), state, DRL_ACT_GELU);
    return drl_clip(t, drli_mlp_from(t, &d->trunk, 1, x, 0), -1e4f, 1e4f);
}

/* ln N(x_0; 0, sigma_0^2) of each row, x_0 = sigma_0 z constant. */
static drl_tensor *drli_dime_prior(drl_dime *d, int rows, const float *z)
{
    drl_tensor *y = drl_tape_input(&d->agent.tape, rows, 1, NULL);
    int r, i, A = d->cfg.act_dim;
    float normalizer = drl_logf(d->cfg.prior_std) + 0.91893853f; /* ln sqrt(2 pi) */
    if (d->agent.tape.status) return y;
    for (r = 0; r < rows; r++) {
        float s = 0;
        for (i = 0; i < A; i++, z++) s = fmaf(*z, *z, s);
        y->data[r] = -0.5f * s - (float)A * normalizer;
    }
    return y;
}

/* The first layer's part from each step, [N, W]. */
static drl_tensor *drli_dime_time(drl_dime *d)
{
    drl_tape *t = &d->agent.tape;
    const drl_dime_config *c = &d->cfg;
    return drl_linear(t, drl_fourier_forward(t, &d->time, c->steps), drl_rows(t,
        d->trunk.layer[0].w, c->act_dim + c->obs_dim, c->actor_width), NULL, NULL, DRL_ACT_NONE);
}

/* The same for acting: made anew only if the weights behind it are not those of the last time. (At
   first all is 0, which fits.) */
static drl_tensor *drli_dime_time_kept(drl_dime *d)
{
    uint64_t hash;
    drli_hash(d->agent.ctx->isa, d->time_size, d->actor.value, &hash);
    if (d->time_hash != hash) {
        drl_tensor *time = drli_dime_time(d);
        if (d->agent.tape.status) return time;
        d->time_hash = hash;
        memcpy(d->time_rows, time->data, drli_size(time) * sizeof(float));
    }
    return drl_tape_input(&d->agent.tape, d->cfg.steps, d->cfg.actor_width, d->time_rows);
}

/* Sample paths for the rows of obs: x_0 = sigma_0 z, N controlled steps, a = tanh(x_N), and
     L = ln N(x_0) + sum_k ratio_k - sum_i ln(1 - tanh^2 x_N),   R = L - ln N(x_0).
   time [N, W] as drli_dime_time; noise [N + 1, B, A]: z, then xi_0 .. xi_{N-1}; borrowed, z becomes
   x_0. Gradients, if enabled, flow through all but x_0. */
static drli_dime_sample drli_dime_path(drl_dime *d, drl_tensor *obs, drl_tensor *time, float *noise)
{
    drl_tape *t = &d->agent.tape;
    const drl_dime_config *c = &d->cfg;
    drl_tensor *w = d->trunk.layer[0].w, *state, *one, *rate, *x, *cost;
    drli_dime_sample out;
    int k, B = obs->rows, A = c->act_dim, n = B * A;
    drl_tensor *prior = drli_dime_prior(d, B, noise);
    /* the first layer's part from s */
    state = drl_linear(t, obs, drl_rows(t, w, A, c->obs_dim), d->trunk.layer[0].b, NULL,
        DRL_ACT_NONE);
    /* eta_k = softplus(rho) c_k / softplus(phi) */
    one = drl_tape_input(t, 1, A, NULL);
    x = drl_tape_input(t, B, A, noise);
    cost = drl_tape_input(t, B, 1, NULL);
    out.action = out.x = out.run_cost = out.density = cost;
    if (t->status) return out;
    for (k = 0; k < A; k++) one->data[k] = 1.0f;
    for (k = 0; k < B; k++) cost->data[k] = 0.0f;
    for (k = 0; k < n; k++) noise[k] *= c->prior_std;
    rate = drl_mul(t, drl_div(t, one, drl_activate(t, DRL_ACT_SOFTPLUS, d->phi)), drl_activate(t,
        DRL_ACT_SOFTPLUS, d->rho));
    for (k = 0; k < c->steps; k++) {
        drl_tape_mark mark = drl_tape_save(t);
        drl_tensor *xi = drl_tape_input(t, B, A, noise + (k + 1) * n);
        drl_tensor *eta = drl_affine(t, rate, d->c[k], 0.0f), *u, *x1, *ratio;
        u = drli_dime_control(d, x, state, time, k);
        drl_ou_step(t, x, u, eta, xi, c->prior_std, &x1, &ratio);
        ratio = drl_add(t, cost, ratio);
        if (t->status) return out;
        if (t->grad_enabled) {
            x = x1, cost = ratio;
        } else { /* nothing to remember: stay in the same few buffers */
            drli_copy(x->data, x1->data, n);
            drli_copy(cost->data, ratio->data, B);
            drl_tape_release(t, mark);
        }
    }
    out.x = x;
    out.action = drl_activate(t, DRL_ACT_TANH, x);
    out.run_cost = drl_sub(t, cost, drl_sum_cols(t, drl_tanh_logdet(t, x)));
    out.density = drl_add(t, out.run_cost, prior);
    return out;
}

static float drli_dime_alpha(const drl_dime *d) { return drl_expf(d->kappa->data[0]); }

/* a', L' ~ path(s'), without gradients, copied from the tape. */
static drl_status drli_dime_next_action(drl_dime *d, const drl_batch *b, float *noise)
{
    drl_tape *t = drli_agent_tape(&d->agent, 0);
    int B = b->rows;
    drl_tensor *obs = drl_tape_input(t, B, d->cfg.obs_dim, b->next_obs);
    drli_dime_sample next = drli_dime_path(d, obs, drli_dime_time(d), noise);
    if (t->status) return t->status;
    drli_copy(d->next_act, next.action->data, B * d->cfg.act_dim);
    drli_copy(d->next_density, next.density->data, B);
    d->agent.metrics[7].value = drli_mean(B, d->next_density);
    return DRL_OK;
}

/* Target: mean of both critics' next distributions, moved to r + discount (z - alpha L'),
   projected. logits [2B, atoms]; rows B .. 2B-1 are (s', a'). */
static void drli_dime_target(drl_dime *d, const drl_batch *b, drl_tensor *const logits[2])
{
    drl_context *ctx = d->agent.ctx;
    float alpha = drli_dime_alpha(d), *p = d->probability;
    int j, r, B = b->rows, M = d->cfg.atoms;
    for (r = 0; r < B; r++)
        d->shift[r] = fmaf(-b->discount[r] * alpha, d->next_density[r], b->reward[r]);
    for (j = 0; j < 2; j++) {
        drli_softmax_rows(ctx->isa, B, M, logits[j]->data + B * M, p, NULL);
        drl_c51_project(ctx, &d->support, B, p, d->shift, b->discount, 0.5f, j, d->target);
    }
}

/* Adam step on sum_j CE(target, p_j(s, a)) - 0.005 H(p_j); both critics see [(s, a); (s', a')] in
   train mode, with common batch statistics. */
static drl_status drli_dime_critic(drl_dime *d, const drl_batch *b)
{
    drl_tape *t = drli_agent_tape(&d->agent, 1);
    int j, r, B = b->rows, S = d->cfg.obs_dim, A = d->cfg.act_dim;
    int renorm = d->agent.updates >= d->cfg.brn_warmup;
    drl_tensor *x = drl_tape_input(t, 2 * B, S + A, NULL), *logits[2], *loss[2];
    if (t->status) return t->status;
    for (r = 0; r < B; r++) {
        float *now = x->data + r * (S + A), *next = now + B * (S + A);
        drli_copy(now, b->obs + r * S, S);
        drli_copy(now + S, b->act + r * A, A);
        drli_copy(next, b->next_obs + r * S, S);
        drli_copy(next + S, d->next_act + r * A, A);
    }
    for (j = 0; j < 2; j++) logits[j] = drl_crossq_train(t, &d->q[j], x, renorm);
    if (t->status) return t->status;
    drli_dime_target(d, b, logits);
    for (j = 0; j < 2; j++)
        loss[j] = drl_c51_loss(t, drl_rows(t, logits[j], 0, B), d->target, d->cfg.value_entropy);
    loss[0] = drl_add(t, loss[0], loss[1]);
    d->agent.updates++;
    return drli_agent_learn(&d->agent, &d->critic, &d->adam_critic, loss[0], 0);
}

/* Actor step on mean(alpha L - (Q_1 + Q_2)(s, a) / 2), critics in eval mode. Returns mean R. */
static float drli_dime_actor(drl_dime *d, const drl_batch *b, float *noise)
{
    drl_tape *t = drli_agent_tape(&d->agent, 1);
    drl_tensor *obs = drl_tape_input(t, b->rows, d->cfg.obs_dim, b->obs), *in, *q, *loss;
    drli_dime_sample path = drli_dime_path(d, obs, drli_dime_time(d), noise);
    float run_cost;
    in = drl_concat(t, obs, path.action);
    q = drl_add(t, drl_c51_mean(t, drl_crossq_eval(t, &d->q[0], in), &d->support), drl_c51_mean(t,
        drl_crossq_eval(t, &d->q[1], in), &d->support));
    q = drl_affine(t, q, 0.5f, 0.0f);
    loss = drl_mean(t, drl_sub(t, drl_affine(t, path.density, drli_dime_alpha(d), 0.0f), q));
    if (drli_agent_learn(&d->agent, &d->actor, &d->adam_actor, loss, 1)) return 0.0f;
    run_cost = (float)drli_mean(b->rows, path.run_cost->data);
    d->agent.metrics[2].value = drli_mean(b->rows, q->data);
    d->agent.metrics[4].value = (double)run_cost;
    d->agent.metrics[5].value = drli_mean(b->rows, path.density->data);
    d->agent.metrics[6].value = (double)drl_softplusf(d->rho->data[0]);
    return run_cost;
}

/* kappa descends -alpha (mean R - 4 dim(A)): alpha grows while R is above it. */
static void drli_dime_temperature(drl_dime *d, float run_cost)
{
    float goal = d->cfg.target * (float)d->cfg.act_dim;
    d->kappa->grad[0] = -drli_dime_alpha(d) * (run_cost - goal);
    drl_adam_step(&d->temperature, &d->adam_alpha);
    d->agent.metrics[3].value = (double)drli_dime_alpha(d);
}

static drl_status drli_dime_update(drl_agent *agent, drl_replay *replay)
{
    drl_dime *d = (drl_dime *)agent;
    drl_batch *b = &agent->batch;
    drl_status s = DRL_OK;
    int i, n = (d->cfg.steps + 1) * b->rows * d->cfg.act_dim; /* normals of a path */
    for (i = 0; i < d->cfg.utd && !s; i++) {
        s = drl_replay_sample(replay, &agent->rng_batch, b);
        if (!s) s = drli_dime_next_action(d, b, drli_agent_noise(agent, d->noise, n));
        if (!s) s = drli_dime_critic(d, b);
        if (!s && agent->updates % d->cfg.policy_delay == 0) {
            float run_cost = drli_dime_actor(d, b, drli_agent_noise(agent, d->noise, n));
            s = agent->tape.status;
            if (!s) drli_dime_temperature(d, run_cost);
        }
    }
    return s;
}

static drl_tensor *drli_dime_act(drl_agent *agent, drl_mode mode, drl_tensor *obs)
{
    drl_dime *d = (drl_dime *)agent;
    drl_tensor *noise = drli_agent_normals(agent, drli_agent_rng(agent, mode), obs->rows *
        (d->cfg.steps + 1), d->cfg.act_dim);
    if (agent->tape.status) return noise;
    return drli_dime_path(d, obs, drli_dime_time_kept(d), noise->data).action;
}

DRLI_ALGO(dime, DRL_DIME_CONFIG,
    "diffusion policy, maximum entropy (Celik et al., ICML 2025)",
    "critic_loss actor_loss q alpha run_cost log_density dt next_log_density",
    /* cpu: 8 steps nearly do in the paper's ablation; small networks, CrossQ's lr */
    "cpu steps=8 actor_width=128 time_frequencies=32 critic_width=256 utd=1 lr_actor=1e-3 "
    "lr_critic=1e-3\n"
    "toy steps=8 actor_width=64 actor_layers=2 time_frequencies=16 critic_width=64 "
    "atoms=51 batch=128 policy_delay=2 random_steps=500 lr_actor=1e-3 lr_critic=1e-3 "
    "lr_alpha=3e-3\n",
    (void)0)
#endif

#ifndef DIFFRL_NO_DPPO
/* ====== >>dppo
   DPPO - diffusion policy policy optimization
   Paper     Ren et al., ICLR 2025, arXiv:2409.00588
   Code      github.com/irom-princeton/dppo
   Idea      Clone data with a diffusion policy, then tune it (>>tune).
   Symbols   s obs, x_t noisy chunk, x_0 executed, K' steps of the chain that are tuned
   Steps     drl_dppo_pretrain  denoising loss on chunks of the data, EMA of the weights
             drli_dppo_plans    x_K ~ N(0, I) .. x_0, by the frozen net, then by the tuned one
             drli_dppo_act      the plan's next action
             drli_dppo_observe  a chunk: s, x_K' .. x_0, sum of its rewards, s'
   Deviates  A plan that an iteration's end interrupts is made anew. Actions are cut to [-1, 1].
             Cloning draws with replacement. Biases start at 0.
   Verified  tests/golden and unit/dppo.c; README.md */

/* A plan: its next action, rewards so far, 1 if the episode begins with it, the environment's
   discounted return; then s [S] and x_K' .. x_0. */
enum { DRLI_DPPO_AT, DRLI_DPPO_REWARD, DRLI_DPPO_FIRST, DRLI_DPPO_RETURN, DRLI_DPPO_OBS };

static float *drli_dppo_plan(const drl_dppo *d, drl_mode mode, int env)
{
    return d->plans + (env + (mode == DRL_MODE_EVAL ? d->cfg.envs : 0)) * d->stride;
}

static void drli_dppo_net(drl_dppo *d, drl_denoiser *net, drl_params *params, const char *prefix,
    int trainable, int acting)
{
    drli_agent_set(&d->agent, params, prefix, 12, trainable, acting);
    drl_denoiser_add(net, params, "", d->cfg.obs_dim, d->dim, DRL_TIME_DDPM, 16, 32,
        d->cfg.actor_width, 0, 1, DRL_ACT_RELU);
}

/* Drop the plan of an environment, or all of evaluation. */
static void drli_dppo_begin(drl_agent *agent, int env)
{
    drl_dppo *d = (drl_dppo *)agent;
    int e;
    for (e = 0; e < d->cfg.envs; e++) {
        float *plan = drli_dppo_plan(d, env < 0 ? DRL_MODE_EVAL : DRL_MODE_EXPLORE, e);
        if (env >= 0 && e != env) continue;
        plan[DRLI_DPPO_AT] = (float)d->cfg.chunk;
        plan[DRLI_DPPO_FIRST] = 1.0f;
    }
}

/* (x - b) / w: the range of the data to [-1, 1]. */
static drl_tensor *drli_dppo_normal(drl_dppo *d, const drl_dense *range, drl_tensor *x)
{
    drl_tape *t = &d->agent.tape;
    return drl_div(t, drl_sub(t, x, range->b), range->w);
}

/* path [(K + 1) B, D]: x_K .. x_0 by the base net and, from x_K' on, by net. */
static drl_tensor *drli_dppo_sample(drl_dppo *d, const drl_denoiser *net, const drl_ddpm *chain,
    drl_rng *rng, drl_tensor *obs)
{
    drl_tape *t = &d->agent.tape;
    int i, n = obs->rows * d->dim, K = chain->steps, tuned = d->cfg.tuned;
    drl_tensor *path = drli_agent_normals(&d->agent, rng, (K + 1) * obs->rows, d->dim);
    for (i = n; i < (K + 1) * n && !t->status; i++)
        path->data[i] = drli_clampf(path->data[i], -d->cfg.noise_clip, d->cfg.noise_clip);
    drl_denoiser_sample(t, &d->base_net, chain, obs, 1, K, tuned + 1, 1.0f, path->data);
    drl_denoiser_sample(t, net, chain, obs, 1, tuned, 1, 1.0f, path->data + (K - tuned) * n);
    return path;
}

/* Plan anew where a plan is at its end. */
static void drli_dppo_plans(drl_dppo *d, drl_mode mode, drl_tensor *obs)
{
    drl_tape *t = &d->agent.tape;
    const drl_ddpm *chain = mode == DRL_MODE_EVAL ? &d->eval : &d->explore;
    int *who = drli_tape_ints(t, obs->rows);
    int e, r, i, B = 0, skip = chain->steps - d->cfg.tuned, S = d->cfg.obs_dim;
    drl_tensor *path;
    for (e = 0; e < obs->rows && who; e++) {
        float at = drli_dppo_plan(d, mode, e)[DRLI_DPPO_AT];
        if (!(at >= 0.0f && at < (float)d->cfg.chunk)) who[B++] = e;
    }
    if (B == 0) return;
    path = drli_dppo_sample(d, &d->net, chain, drli_agent_rng(&d->agent, mode), drli_dppo_normal(d,
        &d->obs_range, drl_gather(t, obs, who, B)));
    for (r = 0; r < B && !t->status; r++) {
        float *plan = drli_dppo_plan(d, mode, who[r]), *x = plan + DRLI_DPPO_OBS + S;
        drli_copy(x - S, obs->data + who[r] * S, S);
        for (i = 0; i <= d->cfg.tuned; i++, x += d->dim)
            drli_copy(x, path->data + ((skip + i) * B + r) * d->dim, d->dim);
        plan[DRLI_DPPO_AT] = plan[DRLI_DPPO_REWARD] = 0.0f;
    }
}

static drl_tensor *drli_dppo_act(drl_agent *agent, drl_mode mode, drl_tensor *obs)
{
    drl_dppo *d = (drl_dppo *)agent;
    drl_tape *t = &agent->tape;
    int r, A = d->cfg.act_dim;
    drl_tensor *act = drl_tape_input(t, obs->rows, A, NULL);
    if (obs->rows > d->cfg.envs)
        return drli_tape_fail(t, drli_fail(agent->ctx, DRL_ERR_RANGE, "dppo: expected at most "
            "envs = %d rows, got %d", d->cfg.envs, obs->rows));
    drli_dppo_plans(d, mode, obs);
    for (r = 0; r < obs->rows && !t->status; r++) {
        float *at = drli_dppo_plan(d, mode, r) + DRLI_DPPO_AT;
        float *end = drli_dppo_plan(d, mode, r + 1);
        drli_copy(act->data + r * A, end - d->dim + (int)*at * A, A);
        *at += 1.0f;
    }
    act = drl_add(t, drl_mul(t, act, d->act_range.w), d->act_range.b);
    return drl_clip(t, act, -1.0f, 1.0f);
}

/* At the end of a plan or an episode keep the chunk; its discounted return goes to target. */
static drl_status drli_dppo_observe(drl_agent *agent, int env, const float *obs, const float *act,
    float reward, const float *next_obs, int flags)
{
    drl_dppo *d = (drl_dppo *)agent;
    drl_replay *r = &d->rollout;
    float *plan = drli_dppo_plan(d, DRL_MODE_EXPLORE, env), *sum = plan + DRLI_DPPO_RETURN;
    plan[DRLI_DPPO_REWARD] += reward;
    if (!flags && plan[DRLI_DPPO_AT] < (float)d->cfg.chunk) return DRL_OK;
    if (r->size < d->cfg.rollout) {
        if (plan[DRLI_DPPO_FIRST] > 0) *sum = 0.0f, r->last[env] = -1;
        d->target[r->size] = *sum = fmaf(0.99f, *sum, plan[DRLI_DPPO_REWARD]);
        r->turn = env;
        drl_replay_push(r, plan + DRLI_DPPO_OBS, plan + DRLI_DPPO_OBS + d->cfg.obs_dim,
            plan[DRLI_DPPO_REWARD], next_obs, flags);
    }
    plan[DRLI_DPPO_AT] = (float)d->cfg.chunk;
    plan[DRLI_DPPO_FIRST] = flags ? 1.0f : 0.0f;
    return DRL_OK;
}

/* 1 if the chunk from this row stays in its episode. */
static int drli_dppo_whole(const drl_dppo *d, int64_t rows, int64_t row, const uint8_t *ends)
{
    int64_t last = row + d->cfg.chunk - 1;
    while (row < last && last < rows && !ends[row]) row++;
    return row == last && last < rows;
}

/* One update of the student on chunks x [B, D] with noise at steps t, and of the average. */
static drl_status drli_dppo_clone(drl_dppo *d, drl_tensor *obs, drl_tensor *x, const int *t,
    drl_tensor *noise)
{
    const drl_dppo_config *c = &d->cfg;
    drl_tape *tape = &d->agent.tape;
    drl_tensor *loss = drl_denoiser_loss(tape, &d->student_net, &d->full, obs, x, t, noise, NULL);
    drl_status s;
    d->adam_student.lr = d->epoch ? drl_lr_cosine(c->bc_lr, c->bc_lr_last, d->epoch - 1,
        c->bc_epochs - 1) : c->bc_lr_last;
    s = drli_agent_learn(&d->agent, &d->student, &d->adam_student, loss, 5);
    if (!s && d->batches++ % c->ema_every == 0)
        drl_params_polyak(&d->base, &d->student, d->epoch + 1 < c->ema_first ? 1.0f : 1.0f -
            c->ema);
    return s;
}

/* An update on random chunks. */
static drl_status drli_dppo_draw(drl_dppo *d, int64_t rows, const float *obs, const float *act,
    const uint8_t *ends)
{
    drl_tape *t = drli_agent_tape(&d->agent, 1);
    drl_rng *rng = &d->agent.rng_batch;
    int r, B = d->cfg.bc_batch, S = d->cfg.obs_dim, A = d->cfg.act_dim, D = d->dim;
    int *at = drli_tape_ints(t, B);
    drl_tensor *s = drl_tape_input(t, B, S, NULL);
    drl_tensor *x = drl_tape_input(t, B * d->cfg.chunk, A, NULL);
    drl_tensor *noise = drli_agent_normals(&d->agent, &d->agent.rng_noise, B, D);
    if (t->status) return t->status;
    for (r = 0; r < B; r++) {
        int64_t row = rows;
        while (!drli_dppo_whole(d, rows, row, ends)) row = drl_rng_integer(rng, (uint32_t)rows);
        at[r] = 1 + (int)drl_rng_integer(rng, (uint32_t)d->cfg.steps);
        drli_copy(s->data + r * S, obs + row * S, S);
        drli_copy(x->data + r * D, act + row * A, D);
    }
    x = drli_dppo_normal(d, &d->act_range, x);
    return drli_dppo_clone(d, drli_dppo_normal(d, &d->obs_range, s), drl_tape_input(t, B, D,
        x->data), at, noise);
}

/* w = (largest - least + 1e-6) / 2, b = least + w of each column. */
static void drli_dppo_range(drl_dense *range, int64_t rows, const float *x)
{
    int i, n = range->w->cols;
    int64_t r;
    for (i = 0; i < n; i++) {
        float low = x[i], high = low;
        for (r = 1; r < rows; r++) {
            low = DRLI_MIN(low, x[r * n + i]);
            high = DRLI_MAX(high, x[r * n + i]);
        }
        range->w->data[i] = 0.5f * (high - low + 1e-6f);
        range->b->data[i] = low + range->w->data[i];
    }
}

drl_status drl_dppo_pretrain(drl_dppo *d, int64_t rows, const float *obs, const float *act,
    const uint8_t *ends)
{
    const drl_dppo_config *c = &d->cfg;
    int64_t i = 0, n = c->bc_updates ? c->bc_updates : DRLI_MAX(rows / c->bc_batch, 1);
    double sum = 0, *loss = &d->agent.metrics[5].value;
    drl_status s = DRL_OK;
    while (i < rows && !drli_dppo_whole(d, rows, i, ends)) i++;
    if (i >= rows || rows > UINT32_MAX)
        return drli_fail(d->agent.ctx, DRL_ERR_SHAPE, "drl_dppo_pretrain: expected an episode of "
            "%d actions, got none in %l rows", c->chunk, rows);
    if (d->epoch == 0) {
        drli_dppo_range(&d->obs_range, rows, obs);
        drli_dppo_range(&d->act_range, rows, act);
    }
    for (i = 0; i < n && !s; i++, sum += *loss)
        s = drli_dppo_draw(d, rows, obs, act, ends);
    *loss = sum / (double)n;
    drl_params_copy(&d->actor, &d->base);
    d->epoch++;
    return s ? s : drli_agent_finite(&d->agent);
}
#endif

#ifndef DIFFRL_NO_DPPO
/* ====== >>tune
   DPPO's second half
   Idea      A denoising step is a Gaussian action in a longer MDP, where PPO applies. Only the last
             K' steps change; a floor of their noise keeps exploring near the data.
   Symbols   i = K' - t tuned step, V value, A advantage
   Steps     drli_dppo_targets   rewards over the spread of returns; A by GAE, R = V + A, eq. (A2)
             drli_dppo_log_prob  ln N(x_{t-1}; mu(x_t, t, s), sigma_t^2), eq. (4.1)
             drli_dppo_step      PPO on pairs (chunk, i), A weighted by gamma_den^t, eq. (A3), (A4)
   Deviates  With bc_coef a pair takes one step of the base policy's chain, not all K': same mean */

#define DRLI_DPPO_PIECE 500 /* rows of a graph: its layers stay in the cache */

static void drli_dppo_free(drl_agent *agent) { drl_replay_free(&((drl_dppo *)agent)->rollout); }

/* The chains with their floors; weight and bounds of the ratio for each tuned step. */
static drl_status drli_dppo_tables(drl_dppo *d)
{
    const drl_dppo_config *c = &d->cfg;
    drl_context *ctx = d->agent.ctx;
    int i, t, last = c->tuned - 1;
    float w = 1.0f;
    drl_status s = drl_ddpm_init(&d->full, ctx, DRL_SCHEDULE_COSINE, c->steps);
    d->explore = d->eval = d->full;
    if (!s && c->ddim_steps) {
        s = drl_ddim_init(&d->explore, ctx, &d->full, c->ddim_steps, c->eta);
        if (!s) s = drl_ddim_init(&d->eval, ctx, &d->full, c->ddim_steps, 0.0f);
    }
    if (!s && c->tuned > d->explore.steps)
        s = drli_fail(ctx, DRL_ERR_RANGE, "dppo: expected tuned <= %d, got %d", d->explore.steps,
            c->tuned);
    for (t = 1; t <= d->explore.steps; t++) {
        d->sigma[t] = DRLI_MAX(d->explore.std[t], c->prob_floor);
        d->explore.std[t] = DRLI_MAX(d->explore.std[t], c->sample_floor);
        if (t > 1 && !c->ddim_steps) d->eval.std[t] = DRLI_MAX(d->eval.std[t], 1e-3f);
    }
    for (i = last; i >= 0; i--, w *= c->gamma_den) { /* width: base + (clip - base) growth */
        float growth = last ? (drl_expf(c->clip_rate * (float)i / (float)last) - 1.0f) /
            (drl_expf(c->clip_rate) - 1.0f) : 1.0f;
        float width = fmaf(growth, c->clip - c->clip_base, c->clip_base);
        d->weight[i] = w;
        d->low[i] = 1.0f - width;
        d->high[i] = 1.0f + width;
    }
    return s;
}

static drl_status drli_dppo_start(drl_agent *a)
{
    drl_dppo *d = (drl_dppo *)a;
    const drl_dppo_config *c = &d->cfg;
    drl_rng rng = drli_agent_stream(a, c->seed, "weights");
    int e, N = c->rollout, D = c->chunk * c->act_dim;
    drl_replay_config rc = {c->obs_dim, (c->tuned + 1) * D, DRLI_MAX(N, c->envs), c->envs, 1, 1};
    if (drli_dppo_tables(d)) return a->ctx->status;
    d->dim = D, d->stride = DRLI_DPPO_OBS + c->obs_dim + rc.act_dim;
    drli_dppo_net(d, &d->student_net, &d->student, "student.", 1, 0);
    drli_dppo_net(d, &d->base_net, &d->base, "base.", 0, 1);
    drli_dppo_net(d, &d->net, &d->actor, "actor.", 1, 1);
    drli_agent_set(a, &d->critic, "critic.", 8, 1, 0);
    drl_resmlp_add(&d->value, &d->critic, "", c->obs_dim, c->critic_width, 1, 1, DRL_ACT_MISH);
    drli_agent_set(a, &d->norm, "norm.", 4, 0, 1);
    drl_dense_add(&d->obs_range, &d->norm, "", "obs", 1, c->obs_dim);
    drl_dense_add(&d->act_range, &d->norm, "", "act", 1, c->act_dim);
    d->plans = drli_floats(a, 2 * c->envs, d->stride), d->v = drli_floats(a, N, 1);
    d->next_v = drli_floats(a, N, 1), d->advantage = drli_floats(a, N, 1);
    d->target = drli_floats(a, N, 1), d->old = drli_floats(a, N, c->tuned);
    d->gain = drli_floats(a, N, c->tuned);
    d->order = (uint32_t *)(void *)drli_floats(a, N, c->tuned);
    if (drli_agent_commit(a) || drl_replay_init(&d->rollout, a->ctx, &rc)) return a->ctx->status;
    drl_denoiser_init(&d->student_net, DRL_INIT_KAIMING_UNIFORM, 1.0f, &rng);
    drl_resmlp_init(&d->value, DRL_INIT_KAIMING_UNIFORM, 1.0f, &rng);
    drl_params_copy(&d->base, &d->student);
    drl_params_copy(&d->actor, &d->student);
    drl_dense_init(&d->obs_range, DRL_INIT_CONSTANT, 1.0f, &rng);
    drl_dense_init(&d->act_range, DRL_INIT_CONSTANT, 1.0f, &rng);
    for (e = -1; e < c->envs; e++) drli_dppo_begin(a, e);
    d->adam_student = drli_adam_lr(c->bc_lr), d->adam_student.weight_decay = c->bc_decay;
    d->adam_actor = drli_adam_lr(c->lr_actor), d->adam_critic = drli_adam_lr(c->lr_critic);
    d->scale[1] = 1, d->scale[2] = 1e-4;
    return DRL_OK;
}

static void drli_dppo_state(drl_agent *agent, drl_state *state, int all)
{
    drl_dppo *d = (drl_dppo *)agent;
    if (!all) return;
    drli_state_put(state, "count.", "dppo", DRL_I64, 2, 0, &d->epoch);
    drli_state_put(state, "", "reward_scale", DRL_F64, 3, 0, d->scale);
    drl_state_add_f32(state, "plans", d->plans, 2 * d->cfg.envs, d->stride);
    drl_state_add_f32(state, "returns", d->target, d->cfg.rollout, 0);
    if (state->file) drli_state_range(state, "rollout.", "size", 0, d->cfg.rollout);
    drl_replay_state(&d->rollout, state, "rollout.");
}

/* Pair p = chunk K' + i: chunk, i, t, places of x_t and x_{t-1} in the chains, p. */
enum { DRLI_DPPO_CHUNK, DRLI_DPPO_STEP, DRLI_DPPO_TIME, DRLI_DPPO_X, DRLI_DPPO_NEXT,
       DRLI_DPPO_PAIR };
static int *drli_dppo_index(drl_dppo *d, int B, const uint32_t *pair, int kind)
{
    int r, K = d->cfg.tuned, *index = drli_tape_ints(&d->agent.tape, B);
    for (r = 0; r < B && index; r++) {
        const int p = (int)pair[r], n = p / K, all[6] = {n, p % K, K - p % K, p + n, p + n + 1, p};
        index[r] = all[kind];
    }
    return index;
}

/* Rows of array [rows, cols] that the pairs select. */
static drl_tensor *drli_dppo_take(drl_dppo *d, int B, const uint32_t *pair, int kind, float *array,
    int rows, int cols)
{
    drl_tape *t = &d->agent.tape;
    int *index = drli_dppo_index(d, B, pair, kind);
    return drl_gather(t, drl_tape_input(t, rows, cols, array), index, B);
}

/* ln N(next; mu_t(x, s), sigma_t^2) of each dimension cut to [-5, 2]; their mean or sum. */
static drl_tensor *drli_dppo_log_prob(drl_dppo *d, const uint32_t *pair, drl_tensor *obs,
    drl_tensor *x, drl_tensor *next)
{
    drl_tape *t = &d->agent.tape;
    int *at = drli_dppo_index(d, x->rows, pair, DRLI_DPPO_TIME);
    drl_tensor *eps = drl_denoiser_at(t, &d->net, &d->explore, at, x, obs);
    drl_tensor *mean = drl_ddpm_mean(t, &d->explore, at, x, eps, 1.0f);
    drl_tensor *sigma = drli_ddpm_column(t, d->sigma, at, x->rows, 0), *z;
    z = drl_square(t, drl_div(t, drl_sub(t, next, mean), sigma));
    z = drl_sub(t, drl_affine(t, z, -0.5f, -0.91893853f), drl_log(t, sigma)); /* ln sqrt(2 pi) */
    z = drl_sum_cols(t, drl_clip(t, z, -5.0f, 2.0f));
    return drl_affine(t, z, d->cfg.sum ? 1.0f : 1.0f / (float)d->dim, 0.0f);
}

/* The same of pairs of the rollout, with their normalized states. */
static drl_tensor *drli_dppo_pairs(drl_dppo *d, int B, const uint32_t *pair, drl_tensor **obs)
{
    drl_replay *r = &d->rollout;
    int N = d->cfg.rollout, rows = N * (d->cfg.tuned + 1);
    drl_tensor *x = drli_dppo_take(d, B, pair, DRLI_DPPO_X, r->act, rows, d->dim);
    drl_tensor *next = drli_dppo_take(d, B, pair, DRLI_DPPO_NEXT, r->act, rows, d->dim);
    *obs = drli_dppo_take(d, B, pair, DRLI_DPPO_CHUNK, r->obs, N, d->cfg.obs_dim);
    *obs = drli_dppo_normal(d, &d->obs_range, *obs);
    return drli_dppo_log_prob(d, pair, *obs, x, next);
}

/* V of n states from row i on. */
static drl_tensor *drli_dppo_value(drl_dppo *d, float *obs, int i, int n)
{
    drl_tape *t = &d->agent.tape;
    int S = d->cfg.obs_dim;
    drl_tensor *x = drl_tape_input(t, n, S, obs + i * S);
    return drl_resmlp_forward(t, &d->value, drli_dppo_normal(d, &d->obs_range, x));
}

/* V(s), V(s'), ln pi of all pairs, before the update. */
static drl_status drli_dppo_before(drl_dppo *d)
{
    int i, n, N = d->cfg.rollout, K = d->cfg.tuned;
    for (i = 0; i < N * K; i++) d->order[i] = (uint32_t)i;
    for (i = 0; i < N; i += n) {
        drl_tape *t = drli_agent_tape(&d->agent, 0);
        drl_tensor *v, *next, *old, *obs;
        n = DRLI_MIN(1 + DRLI_DPPO_PIECE / K, N - i);
        v = drli_dppo_value(d, d->rollout.obs, i, n);
        next = drli_dppo_value(d, d->rollout.next_obs, i, n);
        old = drli_dppo_pairs(d, n * K, d->order + i * K, &obs);
        if (t->status) return t->status;
        drli_copy(d->v + i, v->data, n);
        drli_copy(d->next_v + i, next->data, n);
        drli_copy(d->old + i * K, old->data, n * K);
    }
    return DRL_OK;
}

/* Statistics of discounted returns take in target's;  r <- clip(r / sd, +-10), A, target A + V. */
static void drli_dppo_targets(drl_dppo *d)
{
    drl_replay *r = &d->rollout;
    int i, N = d->cfg.rollout;
    double mean, square = drli_squares(N, d->target, &mean);
    double delta = mean - d->scale[0], total = d->scale[2] + N;
    square += d->scale[1] * d->scale[2] + delta * delta * d->scale[2] * N / total;
    d->scale[0] += delta * N / total;
    d->scale[1] = square / (total - 1);
    d->scale[2] = total;
    for (i = 0; i < N; i++) {
        float scaled = (float)((double)r->reward[i] / sqrt(d->scale[1] + 1e-8));
        r->reward[i] = drli_clampf(scaled, -10.0f, 10.0f);
    }
    drli_rollout_gae(r, d->cfg.gamma, d->cfg.lambda, d->v, d->next_v, d->advantage, d->target);
}

/* gain = A of the pairs, standardized, times gamma_den^t. */
static void drli_dppo_gain(drl_dppo *d, int B, const uint32_t *pair)
{
    uint32_t K = (uint32_t)d->cfg.tuned;
    int r;
    for (r = 0; r < B; r++) d->gain[r] = d->advantage[pair[r] / K];
    drli_standardize(B, d->gain);
    for (r = 0; r < B; r++) d->gain[r] *= d->weight[pair[r] % K];
}

/* Mean ln pi of a step of the base policy's chain in each state. */
static drl_tensor *drli_dppo_cloning(drl_dppo *d, const uint32_t *pair, drl_tensor *obs)
{
    drl_tape *t = &d->agent.tape;
    int r, B = obs->rows, *index = drli_dppo_index(d, B, pair, DRLI_DPPO_STEP);
    drl_tensor *path = drli_dppo_sample(d, &d->base_net, &d->explore, &d->agent.rng_noise, obs), *x;
    for (r = 0; r < B && !t->status; r++)
        index[r] = (index[r] + d->explore.steps - d->cfg.tuned) * B + r;
    x = drl_gather(t, path, index, B);
    for (r = 0; r < B && !t->status; r++) index[r] += B;
    return drl_mean(t, drli_dppo_log_prob(d, pair, obs, x, drl_gather(t, path, index, B)));
}

/* Add the gradients of a piece of n of B pairs:
     mean max(-A r, -A clip(r, 1 +- width)) + (V - R)^2 / 4 - bc_coef ln pi(base policy's step) */
static void drli_dppo_piece(drl_dppo *d, int n, int B, const uint32_t *pair, float *gain)
{
    drl_tape *t = drli_agent_tape(&d->agent, 1);
    drl_metric *m = d->agent.metrics;
    int K = d->cfg.tuned, N = d->cfg.rollout, r;
    drl_tensor *obs, *log_ratio, *ratio, *low, *high, *v, *loss, *up;
    log_ratio = drl_sub(t, drli_dppo_pairs(d, n, pair, &obs), drli_dppo_take(d, n, pair,
        DRLI_DPPO_PAIR, d->old, N * K, 1));
    ratio = drl_exp(t, log_ratio);
    low = drli_dppo_take(d, n, pair, DRLI_DPPO_STEP, d->low, K, 1);
    high = drli_dppo_take(d, n, pair, DRLI_DPPO_STEP, d->high, K, 1);
    up = drl_affine(t, drl_tape_input(t, n, 1, gain), -1.0f, 0.0f);
    loss = drl_mul(t, drl_max(t, drl_min(t, ratio, high), low), up);
    loss = drl_mean(t, drl_max(t, drl_mul(t, ratio, up), loss));
    v = drl_sub(t, drl_resmlp_forward(t, &d->value, obs), drli_dppo_take(d, n, pair,
        DRLI_DPPO_CHUNK, d->target, N, 1));
    v = drl_mean(t, drl_square(t, v));
    up = drl_add(t, loss, drl_affine(t, v, 0.25f, 0.0f));
    if (d->cfg.bc_coef > 0)
        up = drl_sub(t, up, drl_affine(t, drli_dppo_cloning(d, pair, obs), d->cfg.bc_coef, 0.0f));
    if (drl_tape_backward(t, drl_affine(t, up, (float)n / (float)B, 0.0f))) return;
    m[0].value += (double)loss->data[0] * n / B;
    m[1].value += (double)v->data[0] * n / B;
    for (r = 0; r < n; r++) {
        float x = ratio->data[r];
        m[2].value += ((double)x - 1 - (double)log_ratio->data[r]) / B;
        m[3].value += (x < low->data[r] || x > high->data[r]) / (double)B;
    }
}

/* One gradient step of both nets on B pairs. */
static drl_status drli_dppo_step(drl_dppo *d, int B, const uint32_t *pair)
{
    drl_tape *t = drli_agent_tape(&d->agent, 1);
    int i;
    drli_dppo_gain(d, B, pair);
    drl_params_zero_grad(&d->actor);
    drl_params_zero_grad(&d->critic);
    for (i = 0; i < 4; i++) d->agent.metrics[i].value = 0;
    for (i = 0; i < B && !t->status; i += DRLI_DPPO_PIECE)
        drli_dppo_piece(d, DRLI_MIN(DRLI_DPPO_PIECE, B - i), B, pair + i, d->gain + i);
    if (t->status) return t->status;
    drl_adam_step(&d->actor, &d->adam_actor);
    drl_adam_step(&d->critic, &d->adam_critic);
    d->agent.updates++;
    return DRL_OK;
}

/* Waits until the rollout is full. */
static drl_status drli_dppo_update(drl_agent *agent, drl_replay *replay)
{
    drl_dppo *d = (drl_dppo *)agent;
    int P = d->cfg.rollout * d->cfg.tuned, B = DRLI_MIN(d->cfg.batch, P), e, i, stop = 0;
    drl_status s;
    if (d->rollout.size < d->cfg.rollout) return DRL_OK;
    s = drli_dppo_before(d);
    drli_dppo_targets(d);
    for (e = 0; e < d->cfg.epochs && !stop && !s; e++) {
        drl_rng_permutation(&agent->rng_batch, d->order, (uint32_t)P);
        for (i = 0; i + B <= P && !s && !stop; i += B) {
            s = drli_dppo_step(d, B, d->order + i);
            stop = agent->metrics[2].value > (double)d->cfg.target_kl;
        }
    }
    agent->metrics[4].value = sqrt(d->scale[1]);
    drli_rollout_clear(&d->rollout);
    for (e = 0; e < d->cfg.envs; e++) /* the new policy makes new plans */
        drli_dppo_plan(d, DRL_MODE_EXPLORE, e)[DRLI_DPPO_AT] = (float)d->cfg.chunk;
    return s;
}

DRLI_ALGO(dppo, DRL_DPPO_CONFIG,
    "diffusion policy, cloned, then tuned by PPO (Ren et al., ICLR 2025)",
    "policy_loss value_loss kl clipped reward_std bc_loss",
    /* cpu: an iteration of a fifth of the steps, half the width */
    "cpu envs=16 actor_width=256 critic_width=128 bc_epochs=100 bc_updates=500 "
    "bc_batch=256 rollout=4000 batch=10000 time_limit_terminal=0\n"
    "scratch envs=10 chunk=1 steps=10 rollout=10000 batch=5000 epochs=10 gamma_den=1 "
    "clip=0.1 clip_base=0.1\n"
    "toy envs=8 chunk=1 steps=10 actor_width=64 critic_width=64 bc_epochs=20 "
    "bc_updates=200 rollout=1600 batch=2000 epochs=10 gamma=0.95 gamma_den=1 clip=0.1 "
    "clip_base=0.1 lr_actor=3e-4 time_limit_terminal=0\n",
    a.free_fn = drli_dppo_free; a.state_fn = drli_dppo_state; a.begin_fn = drli_dppo_begin;
    a.observe_fn = drli_dppo_observe)
#endif

#ifndef DIFFRL_NO_QVPO
/* ====== >>qvpo
   QVPO - Q-weighted variational policy optimization
   Paper     Ding et al., NeurIPS 2024, arXiv:2405.16173
   Code      github.com/wadx2019/qvpo
   Idea      Of many actions that the diffusion policy offers the best by Q is imitated, the more
             the better it is than their mean; so are uniform actions, a little, to keep the policy
             spread. No gradient passes through the chain or Q.
   Symbols   s obs, a action, x_t = noised a, eps the noise network, Q = min(Q1, Q2), ' = targets,
             K_b, K_t, N_d numbers of candidates, N_e uniform actions, w weight, alpha its share
   Steps     drli_qvpo_critic   y = r + discount max over K_t candidates of Q'(s', a')
             drli_qvpo_choose   a = best of N_d, w = max(Q(s, a) - V(s), 0), V their mean
             drli_qvpo_actor    mean of w (eps(x_t, t, s) - noise)^2; N_e uniform rows with alpha w
   Deviates  The first layer's parts from s and t are computed once and added. Preset cpu, at a
             thirtieth of the cost: fewer steps and candidates, a smaller, delayed actor with a
             higher learning rate, values go on at the time limit.
   Verified  tests/golden and unit/qvpo.c, tests/learn; README.md */

static drl_status drli_qvpo_start(drl_agent *agent)
{
    drl_qvpo *q = (drl_qvpo *)agent;
    const drl_qvpo_config *c = &q->cfg;
    drl_rng rng = drli_agent_stream(agent, c->seed, "weights");
    int j, S = c->obs_dim, A = c->act_dim, n = (1 + c->uniform) * c->batch;
    drli_agent_set(agent, &q->actor, "actor.", 16, 1, 1);
    drli_agent_set(agent, &q->actor_target, "actor_target.", 16, 0, 0);
    drli_agent_set(agent, &q->critic, "critic.", 16, 1, 1);
    drli_agent_set(agent, &q->critic_target, "critic_target.", 16, 0, 0);
    drli_agent_set(agent, &q->running, "running.", 1, 0, 0);
    for (j = 0; j < 2; j++)
        drl_denoiser_add(j ? &q->eps_target : &q->eps, j ? &q->actor_target : &q->actor, "", S, A,
            DRL_TIME_DDPM, 32, 256, c->actor_width, 3, 0, DRL_ACT_MISH);
    q->eps.precision = q->eps_target.precision = (drl_precision)c->precision;
    drl_twin_add(&q->q, &q->critic, &q->critic_target, "", S, A, c->critic_width, 4, DRL_ACT_MISH);
    q->score = drl_params_add(&q->running, "", "score", 1, 2);
    q->path = drli_floats(agent, (c->steps + 1) * DRLI_MAX(c->target, c->candidates),
        c->batch * A);
    q->y = drli_floats(agent, c->batch, 1), q->act = drli_floats(agent, n, A);
    q->noise = drli_floats(agent, n, A), q->weight = drli_floats(agent, n, 1);
    q->time = (int *)drli_floats(agent, n, 1);
    if (drli_agent_commit(agent)) return agent->ctx->status;
    /* sigma 1 / (2 sqrt(in)) before the cut; LeCun's is 1 / sqrt(in) after it */
    drl_denoiser_init(&q->eps, DRL_INIT_LECUN_NORMAL, 0.5f * 0.87962566f, &rng);
    drl_twin_init(&q->q, DRL_INIT_LECUN_NORMAL, 0.5f * 0.87962566f, &rng);
    drl_params_copy(&q->actor_target, &q->actor);
    drl_params_copy(&q->critic_target, &q->critic);
    q->score->data[1] = 1.0f;
    q->adam_actor = drli_adam_lr(c->lr_actor);
    q->adam_critic = drli_adam_lr(c->lr_critic);
    q->adam_actor.eps = q->adam_critic.eps = c->adam_eps;
    q->adam_actor.clip_norm = q->adam_critic.clip_norm = c->clip_norm;
    return drl_ddpm_init(&q->chain, agent->ctx, DRL_SCHEDULE_COSINE, c->steps);
}

/* Run K chains for each state from the normals in path [T + 1, K B, A], to the actions [K B, A] at
   its end. min(Q1, Q2) [K B, 1]; target 1: all by the targets. */
static drl_tensor *drli_qvpo_offer(drl_qvpo *q, drl_tensor *obs, int K, int target, float *path)
{
    drl_tape *t = &q->agent.tape;
    int rows = K * obs->rows, A = q->cfg.act_dim;
    float *x = path + q->cfg.steps * rows * A;
    drl_denoiser_sample(t, target ? &q->eps_target : &q->eps, &q->chain, obs, K, q->cfg.steps, 1,
        1.0f, path);
    return drl_twin_min(t, &q->q, obs, drl_tape_input(t, rows, A, x), target);
}

/* The row of state b's best candidate. */
static int drli_qvpo_top(const drl_tensor *score, int B, int b)
{
    int r, top = b;
    for (r = b + B; r < score->rows; r += B)
        if (score->data[r] > score->data[top]) top = r;
    return top;
}

/* Critic step on sum_j mean((Q_j(s, a) - y)^2). */
static drl_status drli_qvpo_critic(drl_qvpo *q, const drl_batch *b, float *path)
{
    drl_tape *t = drli_agent_tape(&q->agent, 0);
    drl_tensor *score, *loss;
    int r, B = b->rows, S = q->cfg.obs_dim;
    score = drli_qvpo_offer(q, drl_tape_input(t, B, S, b->next_obs), q->cfg.target, 1, path);
    if (t->status) return t->status;
    for (r = 0; r < B; r++)
        q->y[r] = fmaf(b->discount[r], score->data[drli_qvpo_top(score, B, r)], b->reward[r]);
    drl_tape_reset(t);
    loss = drl_twin_loss(t, &q->q, drl_tape_input(t, B, S, b->obs), drl_tape_input(t, B,
        q->cfg.act_dim, b->act), q->y);
    q->agent.updates++;
    q->agent.metrics[2].value = drli_mean(B, q->y);
    return drli_agent_learn(&q->agent, &q->critic, &q->adam_critic, loss, 0);
}

/* w of an action of value best; v mean of the state's, m, s running mean and deviation of all. */
static float drli_qvpo_weight(const drl_qvpo_config *c, float best, float v, float m, float s)
{
    float z = c->beta * DRLI_MIN(DRLI_MAX((best - m) / s, -8.0f), 8.0f);
    switch (c->weight) {
    case DRL_QVPO_QRELU: return DRLI_MAX(best, -c->q_neg) + c->q_neg;
    case DRL_QVPO_QCUT: return DRLI_MAX(best, c->cut);
    case DRL_QVPO_QEXPN: return drl_expf(z);
    case DRL_QVPO_QCUT0N: return DRLI_MAX(c->beta * (best - m), 0.0f);
    case DRL_QVPO_QCUT1N: return DRLI_MAX(c->beta * (best - m), 1.0f);
    default: return DRLI_MAX(best - v, 0.0f);
    }
}

/* alpha(n) = min(alpha_0, max(floor, alpha_0 (1 - n / N))), n environment steps */
static float drli_qvpo_entropy(const drl_qvpo_config *c, int64_t n)
{
    float alpha = drl_lr_linear(c->entropy, 0.0f, n, c->entropy_steps);
    return DRLI_MIN(c->entropy, DRLI_MAX(c->entropy_floor, alpha));
}

/* Mean of all values; the running mean and deviation (n - 1) follow by a thousandth. */
static double drli_qvpo_follow(const drl_tensor *score, float *running)
{
    double mean, square = drli_squares(score->rows, score->data, &mean);
    double sd = sqrt(square / DRLI_MAX(score->rows - 1, 1));
    running[0] = fmaf(0.001f, (float)mean - running[0], running[0]);
    running[1] = fmaf(0.001f, (float)sd - running[1], running[1]);
    return mean;
}

/* Rows of the actor: each state's best of N_d candidates with w, then its N_e uniform actions (in
   act already) with alpha w. */
static drl_status drli_qvpo_choose(drl_qvpo *q, const drl_batch *b, float *path)
{
    drl_tape *t = drli_agent_tape(&q->agent, 0);
    const drl_qvpo_config *c = &q->cfg;
    float alpha = drli_qvpo_entropy(c, q->agent.updates + c->random_steps);
    int r, k, B = b->rows, K = c->candidates, A = c->act_dim;
    const float *x = path + c->steps * K * B * A;
    drl_tensor *score;
    score = drli_qvpo_offer(q, drl_tape_input(t, B, c->obs_dim, b->obs), K, 0, path);
    if (t->status) return t->status;
    q->agent.metrics[3].value = drli_qvpo_follow(score, q->score->data);
    for (r = 0; r < B; r++) {
        int top = drli_qvpo_top(score, B, r);
        double v = 0;
        for (k = 0; k < K; k++) v += (double)score->data[k * B + r] / K;
        drli_copy(q->act + r * A, x + top * A, A);
        q->weight[r] = drli_qvpo_weight(c, score->data[top], (float)v, q->score->data[0],
            q->score->data[1]);
        for (k = 1; k <= c->uniform; k++) q->weight[k * B + r] = alpha * q->weight[r];
    }
    q->agent.metrics[4].value = drli_mean(B, q->weight);
    q->agent.metrics[5].value = (double)alpha;
    return DRL_OK;
}

static drl_status drli_qvpo_actor(drl_qvpo *q, const drl_batch *b)
{
    drl_tape *t = drli_agent_tape(&q->agent, 1);
    int A = q->cfg.act_dim, rows = (1 + q->cfg.uniform) * b->rows;
    drl_tensor *loss;
    loss = drl_denoiser_loss(t, &q->eps, &q->chain, drl_tape_input(t, b->rows, q->cfg.obs_dim,
        b->obs), drl_tape_input(t, rows, A, q->act), q->time, drl_tape_input(t, rows, A, q->noise),
        drl_tape_input(t, rows, 1, q->weight));
    return drli_agent_learn(&q->agent, &q->actor, &q->adam_actor, loss, 1);
}

/* Uniform actions; t and noise of the actor's rows. */
static void drli_qvpo_draw(drl_qvpo *q)
{
    drl_rng *rng = &q->agent.rng_noise;
    int r, B = q->cfg.batch, rows = (1 + q->cfg.uniform) * B;
    size_t A = (size_t)q->cfg.act_dim, best = (size_t)B * A;
    drl_rng_uniform_fill(q->agent.ctx, rng, q->act + best, (size_t)rows * A - best, -1.0f, 1.0f);
    for (r = 0; r < rows; r++)
        q->time[r] = 1 + (int)drl_rng_integer(rng, (uint32_t)q->cfg.steps);
    drl_rng_normal_fill(q->agent.ctx, rng, q->noise, (size_t)rows * A);
}

static drl_status drli_qvpo_update(drl_agent *agent, drl_replay *replay)
{
    drl_qvpo *q = (drl_qvpo *)agent;
    drl_batch *b = &agent->batch;
    int n = (q->cfg.steps + 1) * b->rows * q->cfg.act_dim; /* normals of a chain per state */
    drl_status s = drl_replay_sample(replay, &agent->rng_batch, b);
    if (!s) s = drli_qvpo_critic(q, b, drli_agent_noise(agent, q->path, q->cfg.target * n));
    if (!s && agent->updates % q->cfg.policy_delay == 0) {
        s = drl_replay_sample(replay, &agent->rng_batch, b); /* a batch of its own */
        if (!s) s = drli_qvpo_choose(q, b, drli_agent_noise(agent, q->path, q->cfg.candidates * n));
        if (s) return s;
        drli_qvpo_draw(q);
        s = drli_qvpo_actor(q, b);
    }
    if (s) return s;
    drl_params_polyak(&q->critic_target, &q->critic, q->cfg.tau);
    drl_params_polyak(&q->actor_target, &q->actor, q->cfg.tau);
    return DRL_OK;
}

/* The best of K_b or K_eval candidates. */
static drl_tensor *drli_qvpo_act(drl_agent *agent, drl_mode mode, drl_tensor *obs)
{
    drl_qvpo *q = (drl_qvpo *)agent;
    drl_tape *t = &agent->tape;
    int r, B = obs->rows, A = agent->act_dim, T = q->cfg.steps;
    int K = mode == DRL_MODE_EXPLORE ? q->cfg.behavior : q->cfg.evaluation;
    drl_tensor *path = drli_agent_normals(agent, drli_agent_rng(agent, mode), (T + 1) * K * B, A);
    drl_tensor *act = drl_tape_input(t, B, A, NULL), *score;
    if (t->status) return act;
    score = drli_qvpo_offer(q, obs, K, 0, path->data);
    for (r = 0; r < B && !t->status; r++)
        drli_copy(act->data + r * A, path->data + (T * K * B + drli_qvpo_top(score, B, r)) * A, A);
    return act;
}

DRLI_ALGO(qvpo, DRL_QVPO_CONFIG,
    "diffusion policy, Q-weighted imitation (Ding et al., NeurIPS 2024)",
    "critic_loss actor_loss target q weight alpha",
    "cpu steps=6 target=2 evaluation=16 candidates=32 actor_width=128 policy_delay=4 "
    "random_steps=5000 lr_actor=2e-4 time_limit_terminal=0\n"
    "toy steps=8 target=2 evaluation=16 candidates=16 uniform=4 actor_width=64 "
    "critic_width=64 batch=128 random_steps=500 lr_actor=1e-3 lr_critic=1e-3 "
    "time_limit_terminal=0\n", (void)0)
#endif

/* ====== >>algos
   One line per algorithm. */
drl_algo drl_algo_at(int index)
{
    drl_algo none;
#ifndef DIFFRL_NO_DACER
    if (index-- == 0) return drl_dacer_algo();
#endif
#ifndef DIFFRL_NO_DIME
    if (index-- == 0) return drl_dime_algo();
#endif
#ifndef DIFFRL_NO_DPPO
    if (index-- == 0) return drl_dppo_algo();
#endif
#ifndef DIFFRL_NO_QVPO
    if (index-- == 0) return drl_qvpo_algo();
#endif
#ifdef DIFFRL_MORE_ALGOS
#define DRLI_ALGO_AT(name) if (index-- == 0) return drl_##name##_algo();
    DIFFRL_MORE_ALGOS(DRLI_ALGO_AT)
#endif
    memset(&none, 0, sizeof(none));
    return none;
}

drl_algo drl_algo_find(const char *name)
{
    drl_algo algo = drl_algo_at(0);
    int i;
    for (i = 1; algo.name && !drli_words_equal(name, algo.name); i++) algo = drl_algo_at(i);
    return algo;
}

#ifdef __cplusplus
}
#endif
#if defined(__GNUC__) || defined(__clang__)
#pragma GCC diagnostic pop
#endif
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif
#endif /* DIFFRL_IMPLEMENTATION */

/* Licence: MIT No Attribution (MIT-0), copyright 2026 the diffrl authors. It comes as it is,
   without warranty. Full text: LICENSE, spdx.org/licenses/MIT-0.
   0.1.0  2026-11  first */
