/* Looks into checkpoints for tests/cli/resume.sh.

     checkpoint step FILE               opens it and prints its step
     checkpoint same A B [KEY...]       the same tensors and metadata, but times and the KEYs?
     checkpoint flips FILE N            N random bit flips in the data: each must be refused
     checkpoint header FILE [EVERY]     each shorter header refused; each EVERYth bit of it flipped:
                                        refused by open or load, or the same content
     checkpoint memory FILE             how much memory opening takes beyond the file's size

   Exit status 1 if it is not as it should be. */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static drl_context ctx;

static unsigned char *read_all(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    unsigned char *bytes = NULL;
    *n = 0;
    if (f && fseek(f, 0, SEEK_END) == 0) {
        *n = (size_t)ftell(f);
        rewind(f);
        bytes = (unsigned char *)malloc(*n + 1);
        if (bytes && fread(bytes, 1, *n, f) != *n) *n = 0;
    }
    if (f) fclose(f);
    if (!bytes || !*n) {
        printf("cannot read %s\n", path);
        exit(1);
    }
    return bytes;
}

static size_t header_size(const unsigned char *bytes)
{
    size_t n = 0;
    int i;
    for (i = 7; i >= 0; i--) n = n << 8 | bytes[i];
    return n + 8;
}

static int ignored(const char *key, int argc, char **argv)
{
    int i;
    if (!strcmp(key, "run.seconds") || !strcmp(key, "run.eval_seconds")) return 1;
    if (!strcmp(key, "meta_crc32c")) return 1;
    for (i = 4; i < argc; i++)
        if (!strcmp(key, argv[i])) return 1;
    return 0;
}

/* What B lacks of A, or has otherwise. */
static int differs(const drl_file *a, const drl_file *b, int argc, char **argv)
{
    int i;
    for (i = 0; i < a->count; i++) {
        const drl_entry *x = &a->entries[i], *y = drl_file_find(b, x->name);
        if (!y || drl_entry_bytes(x) != drl_entry_bytes(y) || x->dtype != y->dtype ||
            memcmp(x->data, y->data, drl_entry_bytes(x)) != 0)
            return printf("tensor %s\n", x->name), 1;
    }
    for (i = 0; i < a->meta.count; i++) {
        const char *key = a->meta.pairs[i].key, *value = drl_meta_get(&b->meta, key);
        if (ignored(key, argc, argv)) continue;
        if (!value || strcmp(value, a->meta.pairs[i].value) != 0)
            return printf("%s: %s, %s\n", key, a->meta.pairs[i].value, value ? value : "none"), 1;
    }
    return 0;
}

/* Would what loads A take B, by names, dtypes and shapes? */
static int loads(const drl_file *a, const drl_file *b)
{
    int i;
    for (i = 0; i < a->count; i++) {
        const drl_entry *x = &a->entries[i], *y = drl_file_find(b, x->name);
        if (!y || x->dtype != y->dtype || x->rank != y->rank ||
            memcmp(x->shape, y->shape, sizeof x->shape) != 0)
            return 0;
    }
    return a->count == b->count;
}

static int open_file(drl_file *f, const char *path)
{
    if (drl_file_open(f, &ctx, path) == DRL_OK) return 0;
    printf("%s\n", drl_context_error(&ctx));
    return 1;
}

static int same(int argc, char **argv)
{
    drl_file a, b;
    if (open_file(&a, argv[2]) || open_file(&b, argv[3])) return 1;
    return differs(&a, &b, argc, argv) || differs(&b, &a, argc, argv);
}

static int flips(const char *path, int n)
{
    size_t size, at;
    unsigned char *bytes = read_all(path, &size);
    drl_rng rng = drl_rng_make(5, "flips");
    size_t header = header_size(bytes);
    int i, missed = 0;
    for (i = 0; i < n; i++) {
        drl_file f;
        uint32_t bit = drl_rng_integer(&rng, (uint32_t)(size - header)), mask;
        at = header + bit;
        mask = 1u << drl_rng_integer(&rng, 8);
        bytes[at] ^= (unsigned char)mask;
        if (drl_file_open_memory(&f, &ctx, bytes, size) == DRL_OK) missed++, drl_file_close(&f);
        else if (!strstr(drl_context_error(&ctx), "crc32c")) missed++;
        bytes[at] ^= (unsigned char)mask;
    }
    printf("%d bit flips in %lu bytes of data, %d not found\n", n, (unsigned long)(size - header),
           missed);
    return missed != 0;
}

static int header(const char *path, int every)
{
    size_t size, n, i, i_max;
    unsigned char *bytes = read_all(path, &size);
    int bad = 0, refused = 0, flipped = 0;
    drl_file f, whole;
    if (open_file(&whole, path)) return 1;
    n = header_size(bytes);
    i_max = n + 4096 < size ? n + 4096 : size;
    for (i = 0; i < i_max; i++)
        if (drl_file_open_memory(&f, &ctx, bytes, i) == DRL_OK) bad++, drl_file_close(&f);
    for (i = 0; i < 8 * n; i += (size_t)every) {
        bytes[i / 8] ^= (unsigned char)(1u << i % 8);
        flipped++;
        if (drl_file_open_memory(&f, &ctx, bytes, size) != DRL_OK) refused++;
        else {
            if (!loads(&whole, &f)) refused++;
            else if (differs(&whole, &f, 0, NULL) || differs(&f, &whole, 0, NULL)) bad++;
            drl_file_close(&f);
        }
        bytes[i / 8] ^= (unsigned char)(1u << i % 8);
    }
    printf("header of %lu bytes: each length up to it and %lu more; %d bits flipped, %d refused, "
           "%d change nothing; %d faults\n", (unsigned long)n, (unsigned long)(i_max - n), flipped,
           refused, flipped - refused, bad);
    return bad != 0;
}

static int memory(const char *path)
{
    size_t size, before = ctx.bytes;
    drl_file f;
    free(read_all(path, &size));
    ctx.bytes_peak = before;
    if (open_file(&f, path)) return 1;
    printf("opening %lu bytes took %lu more\n", (unsigned long)size,
           (unsigned long)(ctx.bytes_peak - before - size));
    return ctx.bytes_peak - before > size + (1 << 20);
}

int main(int argc, char **argv)
{
    drl_file f;
    if (drl_context_init(&ctx, NULL) != DRL_OK || argc < 3) return 2;
    if (!strcmp(argv[1], "same") && argc > 3) return same(argc, argv);
    if (!strcmp(argv[1], "flips") && argc > 3) return flips(argv[2], atoi(argv[3]));
    if (!strcmp(argv[1], "header")) return header(argv[2], argc > 3 ? atoi(argv[3]) : 1);
    if (!strcmp(argv[1], "memory")) return memory(argv[2]);
    if (strcmp(argv[1], "step") != 0 || open_file(&f, argv[2])) return 1;
    printf("%s\n", drl_meta_get(&f.meta, "env_steps"));
    return 0;
}
