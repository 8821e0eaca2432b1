/* The reader of .npz files: arrays of all kinds come back; what is missing, compressed, of another
   shape or cut off is refused, and no damaged file makes it read outside of the file. */
#define _POSIX_C_SOURCE 200809L
#include "../../examples/mujoco/npz.h"
#include "../test.h"

static const char *const path = "build/npz_test.npz";
static unsigned char bytes[4096];
static size_t size;

static void put(const void *data, size_t n)
{
    memcpy(bytes + size, data, n);
    size += n;
}

static void number(uint64_t v, int n)
{
    for (; n > 0; n--, v >>= 8) bytes[size++] = (unsigned char)v;
}

/* The fields that local and central headers share, from the method to the length of the name. */
static void entry(const char *name, int method, size_t n)
{
    number((uint64_t)method, 2);
    number(0, 8); /* time, date, check */
    number(n, 4);
    number(n, 4);
    number(strlen(name), 2);
}

/* An archive of one member `name` with the text and data of a .npy, as numpy lays it out: with an
   extra field in the local header. wide: sizes in 64 bits. */
static void archive(const char *name, const char *text, const void *data, size_t n, int method,
                    int wide)
{
    size_t member = 10 + strlen(text) + n, central, end;
    size = 0;
    put("PK\3\4\24\0\0\0", 8);
    entry(name, method, member);
    number(20, 2);
    put(name, strlen(name));
    number(1, 2), number(16, 2), number(member, 8), number(member, 8);
    put("\x93NUMPY\1\0", 8);
    number(strlen(text), 2);
    put(text, strlen(text));
    put(data, n);
    central = size;
    put("PK\1\2\24\3\24\0\0\0", 10);
    entry(name, method, wide ? UINT32_MAX : member);
    number(wide ? 20 : 0, 2); /* extra, comment, disk, attributes, place */
    number(0, 2 + 2 + 2 + 4 + 4);
    put(name, strlen(name));
    if (wide) number(1, 2), number(16, 2), number(member, 8), number(member, 8);
    end = size;
    put("PK\5\6\0\0\0\0\1\0\1\0", 12);
    number(end - central, 4);
    number(central, 4);
    number(0, 2);
}

static float *read_back(size_t n, const char *key, int64_t *rows, int64_t *cols, char *error)
{
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
    *error = 0;
    return npz_read(path, key, rows, cols, error, 256);
}

TEST(kinds_and_shapes)
{
    static const float f4[6] = {1, -2.5f, 3, 1e30f, 0, 7};
    static const double f8[3] = {1, -2.5, 3};
    static const unsigned char b1[3] = {0, 1, 1};
    static const int32_t i4[3] = {-5, 0, 70000};
    static const int64_t i8[3] = {-5, 0, 70000};
    static const struct {
        const char *text;
        const void *data;
        size_t n;
        int64_t rows, cols;
        float last;
    } cases[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }\n", f4, 24, 3, 2, 7},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }\n", f4, 24, 6, 1, 7},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }\n", f8, 24, 3, 1, 3},
        {"{'descr': '|b1', 'fortran_order': False, 'shape': (3,), }\n", b1, 3, 3, 1, 1},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }\n", i4, 12, 3, 1, 70000},
        {"{'descr': '<i8', 'fortran_order': False, 'shape': (1, 3), }\n", i8, 24, 1, 3, 70000},
    };
    int k;
    for (k = 0; k < 12; k++) {
        int64_t rows = 0, cols = 0;
        char error[256];
        float *x;
        archive("actions.npy", cases[k / 2].text, cases[k / 2].data, cases[k / 2].n, 0, k % 2);
        x = read_back(size, "actions", &rows, &cols, error);
        CHECK(x && rows == cases[k / 2].rows && cols == cases[k / 2].cols && !*error);
        if (x) CHECK(x[rows * cols - 1] == cases[k / 2].last);
        free(x);
    }
}

TEST(what_is_refused)
{
    static const struct {
        const char *name, *text, *error;
        int method;
    } cases[] = {
        {"other.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", "no array", 0},
        {"a.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", "compressed", 8},
        {"a.npy", "{'descr': '<f4', 'fortran_order': True, 'shape': (2,), }", "C order", 0},
        {"a.npy", "{'descr': '<c8', 'fortran_order': False, 'shape': (2,), }", "<c8", 0},
        {"a.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 2), }", "matrix", 0},
        {"a.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", "cut off", 0},
        {"a.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "matrix", 0},
        {"a.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (), }", "matrix", 0},
    };
    static const float data[2] = {1, 2};
    int64_t rows, cols;
    char error[256];
    int k;
    for (k = 0; k < (int)(sizeof(cases) / sizeof(*cases)); k++) {
        archive(cases[k].name, cases[k].text, data, 8, cases[k].method, 0);
        CHECK(!read_back(size, "a", &rows, &cols, error));
        CHECK_TEXT(error, cases[k].error);
    }
    CHECK(!npz_read("build/no such file.npz", "a", &rows, &cols, error, sizeof(error)));
    CHECK_TEXT(error, "cannot open");
}

/* Cut at every place, and with every byte changed: nothing, or numbers of the file. */
TEST(damage)
{
    static const float data[4] = {1, 2, 3, 4};
    unsigned char whole[4096];
    int64_t rows, cols;
    char error[256];
    size_t i, n, end;
    archive("a.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }", data, 16, 0, 1);
    memcpy(whole, bytes, end = size);
    for (n = 0; n < end; n++) CHECK(!read_back(n, "a", &rows, &cols, error) && *error);
    for (i = 0; i < 3 * end; i++) {
        float *x;
        memcpy(bytes, whole, end);
        bytes[i / 3] = (unsigned char)(i % 3 == 0 ? 0 : i % 3 == 1 ? 0xff : bytes[i / 3] + 1);
        x = read_back(end, "a", &rows, &cols, error);
        if (x) CHECK(rows * cols <= 16);
        free(x);
    }
}

/* What npz_write writes comes back: columns of a table, as numbers and as truths. */
TEST(written_and_read)
{
    float table[3 * 4] = {1, 2, .1f, 0, 3, 4, -1e-30f, 7, 5, 6, 1e30f, 0};
    npz_array all[] = {{"pairs", "<f4", table, 3, 2, 4}, {"column", "<f4", table + 2, 3, 0, 4},
                       {"flags", "|b1", table + 3, 3, 0, 4}};
    char error[256] = "";
    int64_t rows, cols;
    float *x;
    int i;
    CHECK(npz_write(path, all, 3, error, sizeof(error)) == 0);
    CHECK((x = npz_read(path, "pairs", &rows, &cols, error, sizeof(error))) != NULL);
    CHECK(rows == 3 && cols == 2);
    for (i = 0; x && i < 6; i++) CHECK(x[i] == (float)(i + 1));
    free(x);
    CHECK((x = npz_read(path, "column", &rows, &cols, error, sizeof(error))) != NULL);
    CHECK(rows == 3 && cols == 1);
    for (i = 0; x && i < 3; i++) CHECK(x[i] == table[4 * i + 2]);
    free(x);
    CHECK((x = npz_read(path, "flags", &rows, &cols, error, sizeof(error))) != NULL);
    CHECK(x && x[0] == 0 && x[1] == 1 && x[2] == 0);
    free(x);
    CHECK(npz_crc(0, (const unsigned char *)"123456789", 9) == 0xcbf43926u); /* its known answer */
    CHECK(npz_write("build/no such folder/a.npz", all, 3, error, sizeof(error)) == -1);
    CHECK_TEXT(error, "no such folder");
    remove(path);
}

TEST_MAIN(TEST_ENTRY(kinds_and_shapes), TEST_ENTRY(what_is_refused), TEST_ENTRY(damage),
          TEST_ENTRY(written_and_read))
