/* Safetensors files: bytes of a known file, round trips, everything that must be refused, damage,
   atomic replacement, limits of memory, failing allocations.
   build: cc -O2 io.c -o io -lm */
#define _XOPEN_SOURCE 700
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"
#include <dirent.h>
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static drl_context ctx;
static char folder[64];

static const char *in_folder(const char *name)
{
    static char path[4][160];
    static int at;
    at = (at + 1) % 4;
    snprintf(path[at], sizeof(path[at]), "%s/%s", folder, name);
    return path[at];
}

static void spill(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(bytes, 1, n, f) == n);
    if (f) fclose(f);
}

static size_t slurp(const char *path, void *bytes, size_t capacity)
{
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(bytes, 1, capacity, f) : 0;
    if (f) fclose(f);
    return n;
}

static int files_in(const char *path)
{
    DIR *dir = opendir(path);
    int n = 0;
    while (dir && readdir(dir)) n++;
    if (dir) closedir(dir);
    return n - 2;
}

/* A small object: all that the known file holds. */
typedef struct thing {
    uint64_t count;
    int64_t at;
    float w[6];
    unsigned char flag[3];
} thing;

static const thing thing_value = {0x0102030405060708u, -2, {0, 1, 2, 3, -4, 0.5f}, {1, 0, 1}};

static void thing_state(thing *t, drl_state *state)
{
    static const int64_t one = 1, three = 3;
    drl_state_init(state, &ctx);
    drl_state_add(state, "flag", DRL_BOOL, 1, &three, t->flag);
    drl_state_add_f32(state, "w", t->w, 2, 3);
    drl_state_add(state, "count", DRL_U64, 0, NULL, &t->count);
    drl_state_add(state, "at", DRL_I64, 1, &one, &t->at);
}

/* header text computed by hand; its checksums and the data by a few lines of Python */
static const char known_header[] =
    "{\"__metadata__\":{\"format\":\"diffrl\",\"version\":\"1\",\"crc32c\":\"6c0432bf\","
    "\"algo\":\"dime\",\"meta_crc32c\":\"2a07d814\"},"
    "\"count\":{\"dtype\":\"U64\",\"shape\":[],\"data_offsets\":[0,8]},"
    "\"at\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[8,16]},\"w\":{\"dtype\":\"F32\","
    "\"shape\":[2,3],\"data_offsets\":[16,40]},\"flag\":{\"dtype\":\"BOOL\",\"shape\":[3],"
    "\"data_offsets\":[40,43]}}";
static const unsigned char known_data[43] = {
    8, 7, 6, 5, 4, 3, 2, 1, 254, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 128, 63,
    0, 0, 0, 64, 0, 0, 64, 64, 0, 0, 128, 192, 0, 0, 0, 63, 1, 0, 1};

static size_t known_file(unsigned char *bytes)
{
    memset(bytes, 0, 8);
    bytes[0] = 0x58;
    bytes[1] = 0x01;
    memset(bytes + 8, ' ', 344);
    memcpy(bytes + 8, known_header, 336);
    memcpy(bytes + 352, known_data, 43);
    return 395;
}

/* A file of a header and `data` zero bytes, opened. */
static drl_status open_text(drl_file *file, const char *header, size_t data)
{
    static unsigned char bytes[8192];
    size_t n = strlen(header), i;
    memset(bytes, 0, sizeof(bytes));
    for (i = 0; i < 8; i++) bytes[i] = (unsigned char)(n >> (8 * i));
    memcpy(bytes + 8, header, n);
    return drl_file_open_memory(file, &ctx, bytes, 8 + n + data);
}

/* Load from an open file, with its pairs to meta (or NULL) but for those that saving adds. */
static drl_status load_open(drl_file *file, drl_state *state, drl_meta *meta, int flags)
{
    drl_status status;
    int i;
    for (i = 0; meta && i < file->meta.count; i++) {
        const drl_pair *pair = &file->meta.pairs[i];
        if (!drli_meta_own(pair->key)) drl_meta_set(meta, pair->key, pair->value);
    }
    status = meta && meta->status != DRL_OK ? meta->status : drl_file_load(file, state, flags);
    drl_file_close(file);
    return status;
}

static drl_status load_memory(const void *bytes, size_t size, drl_state *state, drl_meta *meta,
                              int flags)
{
    drl_file file;
    drl_status status = drl_file_open_memory(&file, &ctx, bytes, size);
    return status == DRL_OK ? load_open(&file, state, meta, flags) : status;
}

static drl_status load_path(const char *path, drl_state *state, drl_meta *meta, int flags)
{
    drl_file file;
    drl_status status = drl_file_open(&file, &ctx, path);
    return status == DRL_OK ? load_open(&file, state, meta, flags) : status;
}

TEST(checksum)
{
    unsigned char bytes[300];
    size_t i;
    for (i = 0; i < sizeof(bytes); i++) bytes[i] = (unsigned char)(i * 37 + 5);
    CHECK(drli_crc32c(0, "123456789", 9) == 0xe3069283u);
    for (i = 0; i < sizeof(bytes); i++) {
        uint32_t all = drli_crc32c(0, bytes, sizeof(bytes));
        uint32_t begin = drli_crc32c(0, bytes, i);
        CHECK(drli_crc32c(begin, bytes + i, sizeof(bytes) - i) == all);
    }
}

TEST(known_file_is_written)
{
    unsigned char want[400], got[400];
    thing t = thing_value;
    drl_state state;
    drl_meta meta;
    size_t size = 0, n = known_file(want);
    thing_state(&t, &state);
    drl_meta_init(&meta, &ctx);
    drl_meta_set(&meta, "algo", "dime");
    CHECK(drl_state_save_memory(&ctx, &state, &meta, NULL, 0, &size) == DRL_OK && size == n);
    CHECK(drl_state_save_memory(&ctx, &state, &meta, got, n - 1, &size) == DRL_ERR_RANGE);
    CHECK(drl_state_save_memory(&ctx, &state, &meta, got, sizeof(got), &size) == DRL_OK);
    CHECK(size == n && memcmp(got, want, n) == 0);
    CHECK(drl_state_save(&ctx, in_folder("known"), &state, &meta) == DRL_OK);
    CHECK(slurp(in_folder("known"), got, sizeof(got)) == n && memcmp(got, want, n) == 0);
    drl_state_free(&state);
    drl_state_free(&state);
    drl_meta_free(&meta);
    drl_meta_free(&meta);
}

TEST(known_file_is_read)
{
    unsigned char bytes[400];
    thing t;
    drl_state state;
    drl_meta meta;
    drl_file file;
    size_t n = known_file(bytes);
    memset(&t, 0, sizeof(t));
    thing_state(&t, &state);
    drl_meta_init(&meta, &ctx);
    spill(in_folder("known"), bytes, n);
    CHECK(load_path(in_folder("known"), &state, &meta, 0) == DRL_OK);
    CHECK(t.count == thing_value.count && t.at == -2 && !memcmp(t.w, thing_value.w, sizeof(t.w)));
    CHECK(!memcmp(t.flag, thing_value.flag, 3));
    CHECK(meta.count == 1 && !strcmp(drl_meta_get(&meta, "algo"), "dime"));
    CHECK(drl_file_open_memory(&file, &ctx, bytes, n) == DRL_OK);
    CHECK(file.count == 4 && !strcmp(file.entries[0].name, "count") && file.meta.count == 5);
    CHECK(drl_file_find(&file, "w")->shape[1] == 3 && !drl_file_find(&file, "v"));
    CHECK(!strcmp(drl_meta_get(&file.meta, "crc32c"), "6c0432bf"));
    CHECK(drl_file_load(&file, &state, 0) == DRL_OK);
    drl_file_close(&file);
    drl_file_close(&file);
    drl_state_free(&state);
    drl_meta_free(&meta);
}

TEST(all_dtypes_round_trip)
{
    static const int64_t shape[4] = {2, 1, 3, 2};
    static unsigned char from[DRL_DTYPE_COUNT][96], to[DRL_DTYPE_COUNT][96];
    drl_state a, b;
    drl_rng rng = {{1, 2}, 3, 4, 0}, other;
    int i, j, zero = 0;
    int64_t empty[2] = {5, 0}, four = 4;
    memset(&other, 0, sizeof(other));
    drl_state_init(&a, &ctx);
    drl_state_init(&b, &ctx);
    for (i = 0; i < DRL_DTYPE_COUNT; i++) {
        char name[16];
        for (j = 0; j < 96; j++) from[i][j] = (unsigned char)((j * 29 + i) % 60);
        sprintf(name, "t/%d.x-y_Z", i);
        drl_state_add(&a, name, (drl_dtype)i, 4, shape, from[i]);
        drl_state_add(&b, name, (drl_dtype)i, 4, shape, to[i]);
    }
    drl_state_add(&a, "rng.noise", DRL_U64, 1, &four, &rng);
    drl_state_add(&b, "rng.noise", DRL_U64, 1, &four, &other);
    drl_state_add(&a, "empty", DRL_I32, 2, empty, NULL);
    drl_state_add(&b, "empty", DRL_I32, 2, empty, &zero);
    CHECK(drl_state_save(&ctx, in_folder("all"), &a, NULL) == DRL_OK);
    CHECK(load_path(in_folder("all"), &b, NULL, 0) == DRL_OK);
    for (i = 0; i < DRL_DTYPE_COUNT; i++) {
        size_t n = 12 * drli_dtypes[i].size;
        CHECK(!memcmp(from[i], to[i], n) && (n == 96 || to[i][n] == 0));
    }
    CHECK(!memcmp(&rng, &other, sizeof(rng)));
    CHECK(a.count == DRL_DTYPE_COUNT + 2 && drl_entry_bytes(&a.entries[1]) == 32);
    drl_state_free(&a);
    drl_state_free(&b);
}

#define T(name, dtype, shape, begin, end)                                                        \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" begin ","  \
    end "]}"

TEST(files_of_others_are_read)
{
    static const struct {
        const char *header;
        size_t data;
        int count;
    } files[] = {
        {"{}", 0, 0},
        {"{}\r \t\n", 0, 0},
        {"{" T("test", "I32", "2,2", "0", "16") "}", 16, 1},
        {"{" T("test", "I32", "", "0", "4") "}", 4, 1},
        {"{" T("test", "I32", "2,0", "0", "0") "}", 0, 1},
        {"{" T("", "U8", "1", "0", "1") "}", 1, 1},
        {"{ \"a\" : { \"data_offsets\" : [ 0 , 3 ] ,\n\"dtype\":\"U8\",\t\"shape\":[ 3 ] } } ", 3,
         1},
        {"{" T("b", "U8", "3", "1", "4") "," T("a", "U8", "1", "0", "1") "}", 4, 2},
        {"{" T("c", "U8", "0", "1", "1") "," T("b", "U8", "3", "1", "4") ","
         T("a", "U8", "1", "0", "1") "," T("d", "U8", "0", "4", "4") "}", 4, 4},
        {"{\"__metadata__\":{}}", 0, 0},
        {"{" T("a", "U8", "1", "0", "1") ",\"__metadata__\":{\"k\":\"\"}}", 1, 1},
        {"{\"\\u0061\\/\\t\":{\"dtype\":\"\\u0046\\u00332\",\"shape\":[],\"data_offsets\":[0,4]}}",
         4, 1}};
    drl_file file;
    int i;
    for (i = 0; i < DRLI_COUNT(files); i++) {
        CHECK(open_text(&file, files[i].header, files[i].data) == DRL_OK &&
              file.count == files[i].count);
        if (!file.ctx) printf("  %s: %s\n", files[i].header, drl_context_error(&ctx));
        if (i == DRLI_COUNT(files) - 1) CHECK(drl_file_find(&file, "a/\t") != NULL);
        drl_file_close(&file);
    }
}

#define META(text) "{\"__metadata__\":{" text "}}"
#define A T("a", "U8", "4", "0", "4")

/* Each fault has its message; none of these has data behind a header but for `data`. */
TEST(bad_files_are_refused)
{
    static const struct {
        const char *header;
        size_t data;
        const char *message;
    } files[] = {
        {"", 0, "expected a safetensors header"},
        {"{", 0, "expected a safetensors header"},
        {" {}", 0, "byte 0: expected { at once"},
        {"[]", 0, "byte 0: expected { at once"},
        {"{{}}", 0, "byte 1: expected a string"},
        {"{]", 0, "byte 1: expected a string"},
        {"{\"a", 0, "string without end"},
        {"{\"a\"", 0, "expected :"},
        {"{\"a\":", 0, "in a: expected {"},
        {"{\"a\":[]}", 0, "in a: expected {"},
        {"{\"a\":{}}", 0, "in a: expected dtype, shape and two data_offsets"},
        {"{\"a\":{\"dtype\":3}}", 0, "expected a string"},
        {"{\"a\":{\"dtype\":\"U8\"}}", 0, "expected dtype, shape and two data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4]}}", 0,
         "expected dtype, shape and two data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4]}}", 4, "two data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4,4]}}", 4,
         "list is too long"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":4,\"data_offsets\":[0,4]}}", 4, "expected ["},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"x\":[[1]]}}", 4,
         "unknown or second field x"},
        {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4,
         "unknown or second field dtype"},
        {"{\"a\":{\"shape\":[4],\"shape\":[4],\"dtype\":\"U8\",\"data_offsets\":[0,4]}}", 4,
         "unknown or second field shape"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[[4]],\"data_offsets\":[0,4]}}", 4,
         "expected a whole number"},
        {"{" T("a", "U8", "-4", "0", "4") "}", 4, "expected a whole number"},
        {"{" T("a", "U8", "+4", "0", "4") "}", 4, "expected a whole number"},
        {"{" T("a", "U8", "04", "0", "4") "}", 4, "without leading zeros"},
        {"{" T("a", "U8", "4,", "0", "4") "}", 4, "expected a whole number"},
        {"{" T("a", "U8", "4.0", "0", "4") "}", 4, "expected ]"},
        {"{" T("a", "U8", "4e0", "0", "4") "}", 4, "expected ]"},
        {"{" T("a", "U8", "2 2", "0", "4") "}", 4, "expected ]"},
        {"{" T("a", "U8", "\"4\"", "0", "4") "}", 4, "expected a whole number"},
        {"{" T("a", "U8", "1e999", "0", "4") "}", 4, "expected ]"},
        {"{" T("a", "U8", "1,1,1,1,4", "0", "4") "}", 4, "list is too long"},
        {"{" T("a", "U8", "18446744073709551620", "0", "4") "}", 4, "1 to 18 digits"},
        {"{" T("a", "U8", "4294967296,4294967296", "0", "0") "}", 0, "shape and data_offsets differ"},
        {"{" T("a", "F32", "999999999999999999,37", "0", "4") "}", 4, "shape and data_offsets differ"},
        {"{" T("a", "U8", "4", "-1", "3") "}", 4, "expected a whole number"},
        {"{" T("a", "U8", "4", "4", "0") "}", 4, "data ends before it begins"},
        {"{" T("a", "U8", "4", "0", "5") "}", 4, "data lies beyond the end"},
        {"{" T("a", "U8", "4", "999999999999999990", "999999999999999994") "}", 4,
         "beyond the end"},
        {"{" T("a", "F32", "4", "0", "4") "}", 4, "shape and data_offsets differ"},
        {"{" T("a", "F32", "", "0", "0") "}", 0, "shape and data_offsets differ"},
        {"{" T("a", "I16", "2", "0", "4") "}", 4, "unknown dtype I16"},
        {"{" T("a", "u8", "4", "0", "4") "}", 4, "unknown dtype u8"},
        {"{" A "," A "}", 8, "in a: this name was there before"},
        {"{" A "," T("b", "U8", "4", "2", "6") "}", 6, "in b: data overlaps"},
        {"{" A "," T("b", "U8", "4", "0", "4") "}", 4, "data overlaps"},
        {"{" A "," T("b", "U8", "0", "2", "2") "}", 4, "in b: data overlaps"},
        {"{" A "," T("b", "U8", "3", "5", "8") "}", 8, "in b: data comes after a hole"},
        {"{" T("a", "U8", "4", "1", "5") "}", 5, "data comes after a hole"},
        {"{" A "}", 5, "more data than the tensors have"},
        {"{}", 1, "more data than the tensors have"},
        {"{" A "}x", 4, "text after the end"},
        {"{" A "}{}", 4, "text after the end"},
        {"{" A ",}", 4, "expected a string"},
        {"{" A A "}", 4, "expected }"},
        {"{,}", 0, "expected a string"},
        {"{" T("0123456789012345678901234567890123456789012345678901234567890123", "U8", "4", "0",
               "4") "}", 4, "name of more than 63 bytes"},
        {"{" T("\xff", "U8", "4", "0", "4") "}", 4, "header is not UTF-8"},
        {"{" T("\xc0\xaf", "U8", "4", "0", "4") "}", 4, "header is not UTF-8"},
        {"{" T("\xed\xa0\x80", "U8", "4", "0", "4") "}", 4, "header is not UTF-8"},
        {"{" T("\xf4\x90\x80\x80", "U8", "4", "0", "4") "}", 4, "header is not UTF-8"},
        {"{" T("\xe2\x82", "U8", "4", "0", "4") "}", 4, "header is not UTF-8"},
        {"{" T("a\nb", "U8", "4", "0", "4") "}", 4, "control character"},
        {"{" T("a\\q", "U8", "4", "0", "4") "}", 4, "expected an escape"},
        {"{" T("a\\u00", "U8", "4", "0", "4") "}", 4, "expected an escape"},
        {"{" T("a\\u0000", "U8", "4", "0", "4") "}", 4, "zero byte"},
        {"{" T("a\\ud800", "U8", "4", "0", "4") "}", 4, "half of a surrogate pair"},
        {"{" T("a\\udc00", "U8", "4", "0", "4") "}", 4, "half of a surrogate pair"},
        {"{" T("a\\ud800\\ud800", "U8", "4", "0", "4") "}", 4, "half of a surrogate pair"},
        {"{" T("a\\ud800\\ue000", "U8", "4", "0", "4") "}", 4, "half of a surrogate pair"},
        {"{" T("a\\ud83e \\udd16", "U8", "4", "0", "4") "}", 4, "half of a surrogate pair"},
        {"{\"a\\", 0, "expected an escape"},
        {"{\"a\\u12", 0, "expected an escape"},
        {META("\"k\":1"), 0, "in __metadata__: expected a string"},
        {META("\"k\":null"), 0, "in __metadata__: expected a string"},
        {META("\"k\":{\"v\":\"w\"}"), 0, "in __metadata__: expected a string"},
        {META("\"k\":\"1\",\"\\u006b\":\"2\""), 0, "in __metadata__: second value of k"},
        {"{\"__metadata__\":[]}", 0, "in __metadata__: expected {"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0,
         "in __metadata__: this name was there before"},
        {META("\"crc32c\":\"00000001\""), 0, "in crc32c: checksum of other data, 00000001"},
        {META("\"meta_crc32c\":\"00000001\""), 0, "in meta_crc32c: checksum of other data, 00000001"},
        {META("\"format\":\"diffrl\""), 0, "expected version 1, got none"},
        {META("\"format\":\"diffrl\",\"version\":\"2\""), 0, "expected version 1, got 2"},
        {META("\"format\":\"diffrl\",\"version\":\"1\""), 0, "checksum of other data, none"}};
    drl_file file;
    int i, j;
    CHECK(ctx.bytes == ctx.scratch_size);
    for (i = 0; i < DRLI_COUNT(files); i++) {
        int before = test_faults;
        CHECK(open_text(&file, files[i].header, files[i].data) == DRL_ERR_FORMAT);
        CHECK_TEXT(drl_context_error(&ctx), files[i].message);
        CHECK(!file.ctx && !file.bytes && ctx.bytes == ctx.scratch_size);
        if (test_faults > before) printf("  row %d: %s\n", i, files[i].header);
        for (j = 0; ctx.message[j]; j++) CHECK(ctx.message[j] >= 32 && ctx.message[j] < 127);
    }
}

TEST(bad_lengths_are_refused)
{
    static const unsigned char lengths[][8] = {
        {255, 255, 255, 255, 255, 255, 255, 255}, {0, 0, 0, 0, 0, 0, 0, 128},
        {1, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 1, 0, 0, 0},
        {249, 255, 255, 255, 255, 255, 255, 255}, {9, 0, 0, 0, 0, 0, 0, 0}};
    unsigned char bytes[16];
    drl_file file;
    int i;
    for (i = 0; i < DRLI_COUNT(lengths); i++) {
        memcpy(bytes, lengths[i], 8);
        memcpy(bytes + 8, "{}      ", 8);
        CHECK(drl_file_open_memory(&file, &ctx, bytes, 16) == DRL_ERR_FORMAT);
        CHECK_TEXT(drl_context_error(&ctx),
                   "expected a safetensors header of 2 to 100000000 bytes");
    }
}

/* Hostile in number: more tensors and pairs than allowed, deep nesting, all in bounded memory. */
TEST(huge_headers_stay_small)
{
    static char text[8000000];
    size_t bound = 1 << 20, n, i, kind;
    for (kind = 0; kind < 4; kind++) {
        unsigned char *at = (unsigned char *)text;
        drl_file file;
        double seconds;
        clock_t start;
        n = 8;
        n += (size_t)sprintf(text + n, "{");
        for (i = 0; kind == 0 && i < 100000; i++) {
            n += (size_t)sprintf(text + n, "%s\"%d\":{\"dtype\":\"U8\",\"shape\":[0],"
                                 "\"data_offsets\":[0,0]}", i ? "," : "", (int)i);
        }
        if (kind == 1) n += (size_t)sprintf(text + n, "\"__metadata__\":{\"a\":\"\"");
        for (i = 0; kind == 1 && i < 100000; i++) {
            n += (size_t)sprintf(text + n, ",\"%d\":\"\"", (int)i);
        }
        if (kind == 2) n += (size_t)sprintf(text + n, "\"a\":");
        for (i = 0; kind >= 2 && i < 1000000; i++) text[n++] = kind == 2 ? '{' : '\t';
        for (i = 0; i < 8; i++) at[i] = (unsigned char)((n - 8) >> (8 * i));
        ctx.bytes_peak = ctx.bytes;
        start = clock();
        CHECK(drl_file_open_memory(&file, &ctx, text, n) == DRL_ERR_FORMAT);
        seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
        CHECK(ctx.bytes_peak - ctx.bytes <= n + bound);
        CHECK(seconds < 0.5);
        if (kind == 0) CHECK_TEXT(drl_context_error(&ctx), "more tensors than DRL_ENTRIES_MAX");
        if (kind == 1) CHECK_TEXT(drl_context_error(&ctx), "more pairs than DRL_META_MAX");
    }
}

TEST(every_truncation_is_refused)
{
    unsigned char bytes[400];
    drl_file file;
    size_t i, n = known_file(bytes);
    for (i = 0; i < n; i++) {
        unsigned char *cut = (unsigned char *)malloc(i + 1); /* so that a read beyond is seen */
        memcpy(cut, bytes, i);
        CHECK(drl_file_open_memory(&file, &ctx, cut, i) == DRL_ERR_FORMAT);
        free(cut);
    }
    CHECK(drl_file_open_memory(&file, &ctx, bytes, n + 1) == DRL_ERR_FORMAT);
    spill(in_folder("cut"), bytes, 5);
    CHECK(drl_file_open(&file, &ctx, in_folder("cut")) == DRL_ERR_FORMAT);
    CHECK_TEXT(drl_context_error(&ctx), "in a file of 5");
    spill(in_folder("cut"), bytes, 0);
    CHECK(drl_file_open(&file, &ctx, in_folder("cut")) == DRL_ERR_FORMAT);
    CHECK_TEXT(drl_context_error(&ctx), "in a file of 0");
}

/* A flipped bit is refused, or (blank between tokens, order of dtypes) changes nothing. */
TEST(every_flipped_bit_is_harmless)
{
    unsigned char bytes[400];
    size_t i, n = known_file(bytes), harmless = 0;
    for (i = 0; i < 8 * n; i++) {
        thing t = thing_value;
        drl_state state;
        drl_meta meta;
        drl_status status;
        memset(&t, 0, sizeof(t));
        thing_state(&t, &state);
        drl_meta_init(&meta, &ctx);
        bytes[i / 8] ^= (unsigned char)(1 << i % 8);
        status = load_memory(bytes, n, &state, &meta, 0);
        if (status == DRL_OK) {
            harmless++;
            CHECK(i / 8 < 352 && meta.count == 1 && !strcmp(drl_meta_get(&meta, "algo"), "dime"));
            CHECK(t.count == thing_value.count && t.at == thing_value.at);
            CHECK(!memcmp(t.w, thing_value.w, sizeof(t.w)) && !memcmp(t.flag, thing_value.flag, 3));
        } else {
            CHECK(t.count == 0 && t.at == 0 && t.w[1] == 0 && t.flag[0] == 0);
        }
        bytes[i / 8] ^= (unsigned char)(1 << i % 8);
        drl_state_free(&state);
        drl_meta_free(&meta);
    }
    CHECK(harmless == 0);
}

/* Python or others may rewrite the header: shuffled pairs keep their checksum. */
TEST(order_of_pairs_does_not_matter)
{
    const char *header =
        "{\"flag\":{\"shape\":[3],\"dtype\":\"BOOL\",\"data_offsets\":[40,43]}, \"__metadata__\": "
        "{\"algo\":\"dime\",\"meta_crc32c\":\"2a07d814\",\"version\":\"1\",\"crc32c\":\"6c0432bf\","
        "\"format\":\"diffrl\"},\"w\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[16,40]},"
        "\"at\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[8,16]},"
        "\"count\":{\"dtype\":\"U64\",\"shape\":[],\"data_offsets\":[0,8]}}";
    unsigned char bytes[512];
    thing t;
    drl_state state;
    size_t i, n = strlen(header);
    for (i = 0; i < 8; i++) bytes[i] = (unsigned char)(n >> (8 * i));
    memcpy(bytes + 8, header, n);
    memcpy(bytes + 8 + n, known_data, 43);
    memset(&t, 0, sizeof(t));
    thing_state(&t, &state);
    CHECK(load_memory(bytes, 8 + n + 43, &state, NULL, 0) == DRL_OK);
    CHECK(t.count == thing_value.count && !memcmp(t.w, thing_value.w, sizeof(t.w)));
    drl_state_free(&state);
}

TEST(load_says_what_differs)
{
    static unsigned char bytes[4096];
    float w[6] = {1, 2, 3, 4, 5, 6}, v[6] = {0}, more[2] = {7, 8};
    double d[2] = {1, HUGE_VAL};
    int64_t two = 2;
    size_t size;
    drl_state from, to;
    drl_state_init(&from, &ctx);
    drl_state_add_f32(&from, "actor.w", w, 2, 3);
    drl_state_add_f32(&from, "more", more, 2, 0);
    CHECK(drl_state_save_memory(&ctx, &from, NULL, bytes, sizeof(bytes), &size) == DRL_OK);

    drl_state_init(&to, &ctx);
    drl_state_add_f32(&to, "actor.w", v, 2, 3);
    CHECK(load_memory(bytes, size, &to, NULL, 0) == DRL_ERR_NAME);
    CHECK_TEXT(drl_context_error(&ctx),
               "the file has a tensor more, F32 [2], that the object has not");
    CHECK(v[0] == 0);
    CHECK(load_memory(bytes, size, &to, NULL, DRL_LOAD_EXTRA) == DRL_OK &&
          v[5] == 6);
    v[0] = 0;
    drl_state_add_f32(&to, "less", more, 2, 0);
    CHECK(load_memory(bytes, size, &to, NULL, DRL_LOAD_EXTRA) == DRL_ERR_NAME);
    CHECK_TEXT(drl_context_error(&ctx), "expected a tensor less, F32 [2], but the file has none");
    CHECK(v[0] == 0);
    drl_state_free(&to);

    drl_state_init(&to, &ctx);
    drl_state_add_f32(&to, "actor.w", v, 3, 2);
    CHECK(load_memory(bytes, size, &to, NULL, DRL_LOAD_EXTRA) == DRL_ERR_SHAPE);
    CHECK_TEXT(drl_context_error(&ctx), "tensor actor.w: expected F32 [3, 2], got F32 [2, 3]");
    drl_state_free(&to);
    drl_state_init(&to, &ctx);
    drl_state_add(&to, "more", DRL_F64, 1, &two, d);
    CHECK(load_memory(bytes, size, &to, NULL, DRL_LOAD_EXTRA) == DRL_ERR_SHAPE);
    CHECK_TEXT(drl_context_error(&ctx), "tensor more: expected F64 [2], got F32 [2]");
    CHECK(drl_state_save_memory(&ctx, &to, NULL, bytes, sizeof(bytes), &size) == DRL_OK);
    CHECK(load_memory(bytes, size, &to, NULL, 0) == DRL_ERR_NAN);
    CHECK_TEXT(drl_context_error(&ctx), "tensor more: the number at index 1 is not finite");
    CHECK(load_memory(bytes, size, &to, NULL, DRL_LOAD_NAN) == DRL_OK);
    drl_state_free(&to);
    drl_state_free(&from);
}

TEST(not_finite_numbers_are_found)
{
    static const struct {
        drl_dtype dtype;
        uint64_t bits;
        int finite;
    } numbers[] = {
        {DRL_F32, 0x7f800000u, 0}, {DRL_F32, 0xff800001u, 0}, {DRL_F32, 0x7f7fffffu, 1},
        {DRL_F32, 1, 1}, {DRL_F64, 0x7ff0000000000000u, 0}, {DRL_F64, 0xfff8000000000000u, 0},
        {DRL_F64, 0x7fefffffffffffffu, 1}, {DRL_F16, 0x7c00, 0}, {DRL_F16, 0xfe01, 0},
        {DRL_F16, 0x7bff, 1}, {DRL_BF16, 0x7f80, 0}, {DRL_BF16, 0xffc0, 0}, {DRL_BF16, 0x7f7f, 1},
        {DRL_I64, 0xffffffffffffffffu, 1}, {DRL_I32, 0x7fc00000u, 1}};
    unsigned char bytes[1024];
    size_t size;
    int i;
    for (i = 0; i < DRLI_COUNT(numbers); i++) {
        uint64_t u = numbers[i].bits;
        uint32_t w = (uint32_t)u;
        uint16_t h = (uint16_t)u;
        size_t n = drli_dtypes[numbers[i].dtype].size;
        drl_state state;
        drl_state_init(&state, &ctx);
        drl_state_add(&state, "x", numbers[i].dtype, 0, NULL,
            n == 8 ? (void *)&u : n == 4 ? (void *)&w : &h);
        CHECK(drl_state_save_memory(&ctx, &state, NULL, bytes, sizeof(bytes), &size) == DRL_OK);
        CHECK(load_memory(bytes, size, &state, NULL, 0) ==
              (numbers[i].finite ? DRL_OK : DRL_ERR_NAN));
        drl_state_free(&state);
    }
}

TEST(state_refuses_nonsense)
{
    static const char *const names[] = {
        "", "__metadata__", "a b", "a\"b", "\x1b[31m", "\xc3\xa4",
        "0123456789012345678901234567890123456789012345678901234567890123"};
    static const int64_t huge[4] = {1 << 30, 1 << 30, 1 << 30, 1}, minus[1] = {-1};
    float x = 1;
    size_t size;
    int i;
    drl_state state;
    for (i = 0; i < DRLI_COUNT(names); i++) {
        drl_state_init(&state, &ctx);
        drl_state_add_f32(&state, names[i], &x, 1, 1);
        CHECK(state.status == DRL_ERR_NAME && state.count == 0);
        CHECK(!strchr(drl_context_error(&ctx), 27));
        drl_state_free(&state);
    }
    for (i = 0; i < 6; i++) {
        drl_state_init(&state, &ctx);
        if (i == 0) drl_state_add(&state, "x", DRL_F32, 4, huge, &x);
        if (i == 1) drl_state_add(&state, "x", DRL_F32, 1, minus, &x);
        if (i == 2) drl_state_add(&state, "x", DRL_F32, 5, huge, &x);
        if (i == 3) drl_state_add(&state, "x", DRL_DTYPE_COUNT, 0, NULL, &x);
        if (i == 4) drl_state_add(&state, "x", DRL_F32, 0, NULL, NULL);
        if (i == 5) drl_state_add(&state, "x", DRL_F32, -1, NULL, &x);
        CHECK(state.status == DRL_ERR_SHAPE);
        CHECK(drl_state_save(&ctx, in_folder("no"), &state, NULL) == DRL_ERR_SHAPE);
        CHECK(load_path(in_folder("known"), &state, NULL, 1) == DRL_ERR_SHAPE);
        drl_state_free(&state);
    }
    drl_state_init(&state, &ctx);
    for (i = 0; i <= DRL_ENTRIES_MAX; i++) {
        char name[16];
        sprintf(name, "%d", i);
        drl_state_add_f32(&state, name, &x, 1, 1);
    }
    CHECK(state.status == DRL_ERR_RANGE && state.count == DRL_ENTRIES_MAX);
    state.status = DRL_OK;
    CHECK(drl_state_save(&ctx, in_folder("full"), &state, NULL) == DRL_OK);
    CHECK(load_path(in_folder("full"), &state, NULL, 0) == DRL_OK);
    drl_state_add_f32(&state, "7", &x, 1, 1);
    CHECK(state.status == DRL_ERR_NAME);
    CHECK(drl_state_save_memory(&ctx, &state, NULL, NULL, 0, &size) == DRL_ERR_NAME);
    drl_state_free(&state);
    CHECK(ctx.bytes == ctx.scratch_size);
}

TEST(strings_round_trip)
{
    static const char *const values[] = {
        "", "plain", "\"quoted\" \\ / back", "line\nfeed\ttab\r\b\f", "\x01\x1f\x7f",
        "Gr\xc3\xbc\xc3\x9f",
        "\xe2\x82\xac \xf0\x9f\xa4\x96 \xe0\xa0\x80", "</script>&", "null"};
    static unsigned char bytes[60000];
    static char large[30001];
    size_t size;
    int i;
    drl_state state;
    drl_meta meta, back;
    memset(large, '\n', sizeof(large) - 1); /* becomes six times as long */
    large[4000] = 0;
    drl_state_init(&state, &ctx);
    drl_meta_init(&meta, &ctx);
    drl_meta_init(&back, &ctx);
    for (i = 0; i < DRLI_COUNT(values); i++) {
        drl_meta_set(&meta, values[i][0] ? values[i] : "k", values[i]);
    }
    drl_meta_set(&meta, "large", "to be replaced");
    drl_meta_set(&meta, "large", large);
    drl_meta_set(&meta, "format", "not mine");
    drl_meta_set(&meta, "crc32c", "0");
    CHECK(drl_state_save_memory(&ctx, &state, &meta, bytes, sizeof(bytes), &size) == DRL_OK);
    CHECK(load_memory(bytes, size, &state, &back, 0) == DRL_OK);
    CHECK(back.count == DRLI_COUNT(values) + 1);
    for (i = 0; i < DRLI_COUNT(values); i++) {
        const char *got = drl_meta_get(&back, values[i][0] ? values[i] : "k");
        CHECK(got && !strcmp(got, values[i]));
    }
    CHECK(!strcmp(drl_meta_get(&back, "large"), large));
    drl_meta_set(&meta, "", "x");
    CHECK(meta.status == DRL_ERR_FORMAT);
    CHECK(drl_state_save(&ctx, in_folder("no"), &state, &meta) == DRL_ERR_FORMAT);
    CHECK(load_memory(bytes, size, &state, &meta, 0) == DRL_ERR_FORMAT);
    drl_meta_free(&meta);
    drl_meta_init(&meta, &ctx);
    drl_meta_set(&meta, "k", "\xff");
    CHECK(meta.status == DRL_ERR_FORMAT && !drl_meta_get(&meta, "k"));
    drl_meta_free(&meta);
    drl_meta_init(&meta, &ctx);
    for (i = 0; i <= DRL_META_MAX; i++) {
        char key[16];
        CHECK(meta.status == DRL_OK);
        sprintf(key, "%d", i);
        drl_meta_set(&meta, key, "v");
    }
    CHECK(drl_state_save_memory(&ctx, &state, &meta, NULL, 0, &size) == DRL_ERR_RANGE);
    CHECK_TEXT(drl_context_error(&ctx), "at most 1024 pairs");
    meta.status = DRL_OK;
    drl_meta_set(&meta, "7", "in the place of v");
    CHECK(drl_state_save(&ctx, in_folder("pairs"), &state, &meta) == DRL_OK);
    drl_meta_free(&meta);
    drl_meta_init(&meta, &ctx);
    CHECK(load_path(in_folder("pairs"), &state, &meta, 0) == DRL_OK &&
          meta.count == 1024);
    drl_meta_free(&meta);
    drl_meta_free(&back);
    drl_state_free(&state);
}

TEST(escapes_are_decoded)
{
    drl_file file;
    CHECK(open_text(&file,
          META("\"k\":\"\\u00e4\\u20AC\\ud83e\\udd16\\\"\\\\\\/\\b\\f\\n\\r\\t\\u007f\""),
                    0) == DRL_OK);
    CHECK(!strcmp(drl_meta_get(&file.meta, "k"),
                  "\xc3\xa4\xe2\x82\xac\xf0\x9f\xa4\x96\"\\/\b\f\n\r\t\x7f"));
    drl_file_close(&file);
    CHECK(open_text(&file,
          META("\"k\":\"\\uD800\\uDC00\\uDBFF\\uDFFF\\uFFFF\\u0800\\u07ff\\u0080\""), 0) ==
          DRL_OK);
    CHECK(!strcmp(drl_meta_get(&file.meta, "k"),
          "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\xef\xbf\xbf\xe0\xa0\x80"
                                                 "\xdf\xbf\xc2\x80"));
    drl_file_close(&file);
}

/* Saving over an old file: on an error it is as before, and no other name stays. */
TEST(failed_saves_leave_the_old_file)
{
    static float big[100000];
    unsigned char got[400], want[400];
    size_t n = known_file(want);
    int count;
    drl_state state;
    struct rlimit limit, small;
    struct stat info;
    drl_state_init(&state, &ctx);
    drl_state_add_f32(&state, "big", big, 100000, 0);
    spill(in_folder("old"), want, n);
    mkdir(in_folder("sub"), 0777);
    count = files_in(folder);

    getrlimit(RLIMIT_FSIZE, &limit); /* a full disk */
    small = limit;
    small.rlim_cur = 100000;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    CHECK(drl_state_save(&ctx, in_folder("old"), &state, NULL) == DRL_ERR_FILE);
    setrlimit(RLIMIT_FSIZE, &limit);
    CHECK_TEXT(drl_context_error(&ctx), in_folder("old"));
    CHECK_TEXT(drl_context_error(&ctx), strerror(EFBIG));
    CHECK(slurp(in_folder("old"), got, sizeof(got)) == n && !memcmp(got, want, n));
    CHECK(files_in(folder) == count);

    CHECK(drl_state_save(&ctx, in_folder("sub"), &state, NULL) == DRL_ERR_FILE); /* is a folder */
    CHECK_TEXT(drl_context_error(&ctx), strerror(EISDIR));
    CHECK(files_in(folder) == count && files_in(in_folder("sub")) == 0);
    CHECK(drl_state_save(&ctx, in_folder("none/x"), &state, NULL) == DRL_ERR_FILE);
    CHECK_TEXT(drl_context_error(&ctx), strerror(ENOENT));
    CHECK_TEXT(drl_context_error(&ctx), "none/x");
    CHECK(drl_state_save(&ctx, in_folder("old/x"), &state, NULL) == DRL_ERR_FILE);
    CHECK_TEXT(drl_context_error(&ctx), strerror(ENOTDIR));
    CHECK(drl_state_save(&ctx, "", &state, NULL) == DRL_ERR_FILE);
    CHECK(files_in(folder) == count && ctx.bytes == ctx.scratch_size + DRL_ENTRIES_MAX * sizeof(drl_entry));

    umask(027);
    CHECK(drl_state_save(&ctx, in_folder("old"), &state, NULL) == DRL_OK);
    CHECK(stat(in_folder("old"), &info) == 0 && (info.st_mode & 0777) == 0640);
    CHECK(info.st_size > 400000 && files_in(folder) == count);
    CHECK(load_path(in_folder("old"), &state, NULL, 0) == DRL_OK);
    drl_state_free(&state);
}

/* A process that is killed while it saves leaves the old content or the new one. */
TEST(killed_saves_leave_old_or_new)
{
    static float x[100000];
    char command[200];
    drl_state state;
    int i, j, round, torn = 0;
    drl_state_init(&state, &ctx);
    drl_state_add_f32(&state, "x", x, 100000, 0);
    CHECK(drl_state_save(&ctx, in_folder("killed"), &state, NULL) == DRL_OK);
    for (round = 0; round < 30; round++) {
        pid_t child = fork();
        struct timespec nap = {0, 0};
        if (child == 0) {
            for (i = 1;; i++) {
                for (j = 0; j < 100000; j++) x[j] = (float)i;
                if (drl_state_save(&ctx, in_folder("killed"), &state, NULL) != DRL_OK) _exit(1);
            }
        }
        nap.tv_nsec = 1000000 * (round * 7 % 30 + 1);
        nanosleep(&nap, NULL);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        CHECK(load_path(in_folder("killed"), &state, NULL, 0) == DRL_OK);
        for (j = 1; j < 100000; j++) torn += x[j] != x[0];
    }
    CHECK(torn == 0);
    snprintf(command, sizeof(command), "rm -f %s/killed.tmp.*", folder);
    CHECK(system(command) == 0);
    drl_state_free(&state);
}

/* Saving to a file writes the tensors from where they are. */
TEST(saving_takes_little_memory)
{
    enum { N = 1 << 20 };
    float *big = (float *)calloc(N, sizeof(float)), *got = (float *)malloc(N * sizeof(float));
    size_t before;
    drl_state a, b;
    big[7] = 1, big[N - 1] = 2;
    drl_state_init(&a, &ctx);
    drl_state_init(&b, &ctx);
    drl_state_add_f32(&a, "big", big, N, 0);
    drl_state_add_f32(&b, "big", got, N, 0);
    before = ctx.bytes;
    ctx.bytes_peak = before;
    CHECK(drl_state_save(&ctx, in_folder("big"), &a, NULL) == DRL_OK);
    CHECK(ctx.bytes == before && ctx.bytes_peak < before + 4096);
    CHECK(load_path(in_folder("big"), &b, NULL, 0) == DRL_OK);
    CHECK(memcmp(big, got, N * sizeof(float)) == 0);
    drl_state_free(&a);
    drl_state_free(&b);
    free(big), free(got);
}

/* Names of crashed processes do not stand in the way and are not written to. */
TEST(stale_names_are_passed_over)
{
    char path[200], got[16];
    float x = 3;
    drl_state state;
    drl_state_init(&state, &ctx);
    drl_state_add_f32(&state, "x", &x, 1, 1);
    snprintf(path, sizeof(path), "%s/new.tmp.0", folder);
    CHECK(symlink("/dev/full", path) == 0);
    CHECK(drl_state_save(&ctx, in_folder("new"), &state, NULL) == DRL_OK);
    CHECK(remove(path) == 0);
    spill(path, "stale", 5);
    CHECK(drl_state_save(&ctx, in_folder("new"), &state, NULL) == DRL_OK);
    CHECK(slurp(path, got, sizeof(got)) == 5);
    remove(path);
    CHECK(load_path(in_folder("new"), &state, NULL, 0) == DRL_OK);
    drl_state_free(&state);
}

TEST(unreadable_files_are_named)
{
    drl_file file;
    CHECK(drl_file_open(&file, &ctx, in_folder("absent")) == DRL_ERR_FILE);
    CHECK_TEXT(drl_context_error(&ctx), "absent");
    CHECK_TEXT(drl_context_error(&ctx), strerror(ENOENT));
    CHECK(drl_file_open(&file, &ctx, folder) == DRL_ERR_FILE);
    CHECK_TEXT(drl_context_error(&ctx), strerror(EISDIR));
    CHECK(drl_file_open(&file, &ctx, "/dev/null") == DRL_ERR_FORMAT);
    CHECK(drl_file_open(&file, &ctx, "/dev/zero") != DRL_OK);
    CHECK(!file.ctx && ctx.bytes == ctx.scratch_size);
}

/* An allocator that fails at call number fail_at, once or from then on. */
static int fail_at, fail_on, calls;

static void *failing_alloc(size_t size, void *user)
{
    (void)user;
    calls++;
    return calls == fail_at || (fail_on && calls > fail_at && fail_at) ? NULL : malloc(size);
}

static void failing_free(void *p, size_t size, void *user)
{
    (void)size;
    (void)user;
    free(p);
}

TEST(failing_allocations_are_reported)
{
    drl_context keep = ctx;
    int done = 0, failures = 0;
    drl_context_config cfg = drl_context_config_default();
    cfg.allocator.alloc_fn = failing_alloc;
    cfg.allocator.free_fn = failing_free;
    CHECK(drl_context_init(&ctx, &cfg) == DRL_OK);
    for (fail_on = 0; fail_on < 2; fail_on++) {
        for (fail_at = 1, done = 0; !done && fail_at < 100; fail_at++) {
            thing t = thing_value;
            drl_state state;
            drl_meta meta, back;
            drl_status status;
            calls = 0;
            thing_state(&t, &state);
            drl_meta_init(&meta, &ctx);
            drl_meta_init(&back, &ctx);
            drl_meta_set(&meta, "k", "v");
            status = drl_state_save(&ctx, in_folder("memory"), &state, &meta);
            if (status == DRL_OK) {
                memset(&t, 0, sizeof(t));
                status = load_path(in_folder("memory"), &state, &back, 0);
                CHECK((status == DRL_OK) == (t.at == -2));
            }
            CHECK(status == DRL_OK || status == DRL_ERR_MEMORY);
            if (status == DRL_OK) done = calls < fail_at;
            else failures++;
            drl_state_free(&state);
            drl_meta_free(&meta);
            drl_meta_free(&back);
            CHECK(ctx.bytes == ctx.scratch_size);
        }
        CHECK(done);
    }
    CHECK(failures >= 10);
    fail_at = 0;
    drl_context_free(&ctx);
    ctx = keep;
}

TEST(locale_does_not_matter)
{
    unsigned char want[400], got[400];
    thing t = thing_value;
    drl_state state;
    drl_meta meta;
    size_t n = known_file(want);
    if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "de_DE.utf8")) {
        printf("  no de_DE locale here\n");
        return;
    }
    thing_state(&t, &state);
    drl_meta_init(&meta, &ctx);
    drl_meta_set(&meta, "algo", "dime");
    CHECK(drl_state_save(&ctx, in_folder("locale"), &state, &meta) == DRL_OK);
    CHECK(slurp(in_folder("locale"), got, sizeof(got)) == n && memcmp(got, want, n) == 0);
    CHECK(load_path(in_folder("locale"), &state, &meta, 0) == DRL_OK);
    drl_state_free(&state);
    drl_meta_free(&meta);
    setlocale(LC_ALL, "C");
}

/* An independent reader: Python's json, if there is one. */
TEST(python_reads_it_too)
{
    static const char script[] =
        "import json,struct,sys\n"
        "b=open(sys.argv[1],'rb').read()\n"
        "n,=struct.unpack('<Q',b[:8])\n"
        "h=json.loads(b[8:8+n]); d=b[8+n:]; m=h.pop('__metadata__')\n"
        "assert n%8==0 and m['format']=='diffrl' and m['quote']=='\"\\\\\\n\\u00e4'\n"
        "end=0\n"
        "for k,t in h.items():\n"
        "    s,e=t['data_offsets']; assert s==end; end=e\n"
        "assert end==len(d)\n"
        "s,e=h['w']['data_offsets']\n"
        "assert h['w']['shape']==[2,3] and struct.unpack('<6f',d[s:e])==(0,1,2,3,-4,.5)\n"
        "print('fine')\n";
    char command[500], line[16] = "";
    thing t = thing_value;
    drl_state state;
    drl_meta meta;
    FILE *pipe;
    thing_state(&t, &state);
    drl_meta_init(&meta, &ctx);
    drl_meta_set(&meta, "quote", "\"\\\n\xc3\xa4");
    CHECK(drl_state_save(&ctx, in_folder("python.safetensors"), &state, &meta) == DRL_OK);
    drl_state_free(&state);
    drl_meta_free(&meta);
    if (system("python3 -c 'import json' >/dev/null 2>&1") != 0) {
        printf("  no python3 here\n");
        return;
    }
    spill(in_folder("check.py"), script, strlen(script));
    snprintf(command, sizeof(command), "python3 %s %s", in_folder("check.py"),
             in_folder("python.safetensors"));
    pipe = popen(command, "r");
    CHECK(pipe && fgets(line, sizeof(line), pipe) && !strcmp(line, "fine\n"));
    if (pipe) pclose(pipe);
}

int main(int argc, char **argv)
{
    static const test_entry tests[] = {
        TEST_ENTRY(checksum), TEST_ENTRY(known_file_is_written), TEST_ENTRY(known_file_is_read),
        TEST_ENTRY(all_dtypes_round_trip), TEST_ENTRY(files_of_others_are_read),
        TEST_ENTRY(bad_files_are_refused), TEST_ENTRY(bad_lengths_are_refused),
        TEST_ENTRY(huge_headers_stay_small), TEST_ENTRY(every_truncation_is_refused),
        TEST_ENTRY(every_flipped_bit_is_harmless), TEST_ENTRY(order_of_pairs_does_not_matter),
        TEST_ENTRY(load_says_what_differs), TEST_ENTRY(not_finite_numbers_are_found),
        TEST_ENTRY(state_refuses_nonsense), TEST_ENTRY(strings_round_trip),
        TEST_ENTRY(escapes_are_decoded), TEST_ENTRY(failed_saves_leave_the_old_file),
        TEST_ENTRY(killed_saves_leave_old_or_new), TEST_ENTRY(saving_takes_little_memory),
        TEST_ENTRY(stale_names_are_passed_over),
        TEST_ENTRY(unreadable_files_are_named),
        TEST_ENTRY(failing_allocations_are_reported), TEST_ENTRY(locale_does_not_matter),
        TEST_ENTRY(python_reads_it_too)};
    char command[100];
    int failed;
    strcpy(folder, "/dev/shm/diffrl-io-XXXXXX"); /* in memory, or the syncs take their time */
    if (!mkdtemp(folder)) {
        strcpy(folder, "/tmp/diffrl-io-XXXXXX");
        if (!mkdtemp(folder)) return 2;
    }
    if (drl_context_init(&ctx, NULL) != DRL_OK) return 2;
    failed = test_run(tests, DRLI_COUNT(tests), argc, argv);
    drl_context_free(&ctx);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command) != 0 || failed;
}
