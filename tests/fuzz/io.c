/* Fuzz target of the reader: any bytes are either refused or give tensors that can be loaded, saved
   and read again as the same.
   build: clang -g -O1 -DDIFFRL_NO_SIMD -fsanitize=fuzzer,address,undefined io.c -o fuzz_io -lm
   run:   mkdir -p corpus && ./fuzz_io -max_total_time=60 -max_len=4096 -dict=io.dict corpus */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include <stdio.h>
#include <stdlib.h>

#define MUST(condition)                                                                          \
    do {                                                                                         \
        if (!(condition)) { fprintf(stderr, "line %d: %s\n", __LINE__, #condition); abort(); }   \
    } while (0)

static drl_context ctx;

/* All tensors of an open file as a state of its own memory; 0 if a name is not one of ours. */
static int state_of(drl_state *state, const drl_file *file)
{
    int i;
    drl_state_init(state, &ctx);
    for (i = 0; i < file->count; i++) {
        const drl_entry *e = &file->entries[i];
        void *copy = calloc(1, drl_entry_bytes(e) + 1);
        drl_state_add(state, e->name, e->dtype, e->rank, e->shape, copy);
        if (state->status != DRL_OK) { free(copy); return 0; }
    }
    return 1;
}

static void copy_pairs(const drl_file *file, drl_meta *meta)
{
    int i;
    for (i = 0; i < file->meta.count; i++) {
        const drl_pair *pair = &file->meta.pairs[i];
        if (!drli_meta_own(pair->key)) drl_meta_set(meta, pair->key, pair->value);
    }
}

static void release(drl_state *state)
{
    int i;
    for (i = 0; i < state->count; i++) free(state->entries[i].data);
    drl_state_free(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    drl_file file, saved;
    drl_state state;
    drl_meta meta, again;
    size_t n = 0, m = 0;
    int i;
    if (!ctx.scratch) MUST(drl_context_init(&ctx, NULL) == DRL_OK);
    ctx.bytes_peak = ctx.bytes;
    i = (int)drl_file_open_memory(&file, &ctx, data, size);
    MUST(i == DRL_OK || i == DRL_ERR_FORMAT);
    MUST(ctx.bytes_peak - ctx.bytes <= size + (1 << 20));
    if (i != DRL_OK) return 0;
    drl_meta_init(&meta, &ctx);
    drl_meta_init(&again, &ctx);
    copy_pairs(&file, &meta);
    if (state_of(&state, &file) && meta.status == DRL_OK) {
        unsigned char *bytes, *other;
        drl_status status = drl_file_load(&file, &state, 0);
        MUST(status == DRL_OK || status == DRL_ERR_NAN);
        MUST(drl_file_load(&file, &state, DRL_LOAD_NAN) == DRL_OK);
        MUST(drl_state_save_memory(&ctx, &state, &meta, NULL, 0, &n) == DRL_OK);
        bytes = (unsigned char *)malloc(n);
        other = (unsigned char *)malloc(n);
        MUST(drl_state_save_memory(&ctx, &state, &meta, bytes, n, &n) == DRL_OK);
        MUST(drl_file_open_memory(&saved, &ctx, bytes, n) == DRL_OK);
        MUST(drl_file_load(&saved, &state, DRL_LOAD_NAN) == DRL_OK);
        copy_pairs(&saved, &again);
        drl_file_close(&saved);
        MUST(drl_state_save_memory(&ctx, &state, &again, other, n, &m) == DRL_OK);
        MUST(n == m && !memcmp(bytes, other, n));
        free(bytes);
        free(other);
    }
    release(&state);
    drl_meta_free(&meta);
    drl_meta_free(&again);
    drl_file_close(&file);
    MUST(ctx.bytes == ctx.scratch_size);
    return 0;
}
