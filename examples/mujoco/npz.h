/* Reads and writes arrays of .npz files, as numpy.savez does: a zip archive of .npy members that
   are not compressed. Whatever is in a file: it is refused, or what comes back lies in it.

     int64_t rows, cols;
     float *x = npz_read("data.npz", "observations", &rows, &cols, error, sizeof error);
     npz_array all[] = {{"observations", "<f4", x, rows, 17, 17}};
     npz_write("copy.npz", all, 1, error, sizeof error);

   Formats  zip with its central directory, sizes of 32 and 64 bits; .npy 1.0 to 3.0, C order, one or
            two dimensions, float32, float64, bool, uint8, int32, int64, little-endian */
#ifndef NPZ_H
#define NPZ_H
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline uint64_t npz_number(const unsigned char *p, int bytes)
{
    uint64_t v = 0;
    while (bytes-- > 0) v = v << 8 | p[bytes];
    return v;
}

/* n bytes at a place of the file. Returns 0, or -1. */
static inline int npz_get(FILE *f, uint64_t at, void *data, size_t n)
{
    return at > INT32_MAX * UINT64_C(1000000) || fseeko(f, (off_t)at, SEEK_SET) ||
                   fread(data, 1, n, f) != n
               ? -1
               : 0;
}

/* Where the central directory begins and how many members it has. */
static inline int npz_directory(FILE *f, uint64_t *at, uint64_t *members)
{
    unsigned char tail[22 + 65535], zip64[56], *p;
    off_t size;
    size_t n;
    if (fseeko(f, 0, SEEK_END) || (size = ftello(f)) < 22) return -1;
    n = size < (off_t)sizeof tail ? (size_t)size : sizeof tail;
    if (npz_get(f, (uint64_t)size - n, tail, n)) return -1;
    for (p = tail + n - 22; memcmp(p, "PK\5\6", 4); p--)
        if (p == tail) return -1;
    *members = npz_number(p + 10, 2);
    *at = npz_number(p + 16, 4);
    if (p - tail < 20 || memcmp(p - 20, "PK\6\7", 4)) return 0;
    if (npz_get(f, npz_number(p - 12, 8), zip64, sizeof zip64)) return -1;
    *members = npz_number(zip64 + 32, 8);
    *at = npz_number(zip64 + 48, 8);
    return memcmp(zip64, "PK\6\6", 4) ? -1 : 0;
}

/* Find member KEY.npy: the place and size of its bytes. Returns 0, 1 if there is none, -1 for a bad
   file, -2 if it is compressed. */
static inline int npz_find(FILE *f, const char *key, uint64_t *place, uint64_t *size)
{
    unsigned char head[46], text[65535];
    char name[256];
    uint64_t at, members;
    snprintf(name, sizeof name, "%s.npy", key);
    if (npz_directory(f, &at, &members)) return -1;
    for (; members > 0; members--) {
        size_t n, extra, i;
        if (npz_get(f, at, head, 46) || memcmp(head, "PK\1\2", 4)) return -1;
        n = (size_t)npz_number(head + 28, 2);
        extra = (size_t)npz_number(head + 30, 2);
        *size = npz_number(head + 24, 4);
        *place = npz_number(head + 42, 4);
        if (npz_get(f, at + 46, text, n)) return -1;
        if (n == strlen(name) && memcmp(text, name, n) == 0) {
            if (npz_number(head + 10, 2)) return -2;
            if (npz_get(f, at + 46 + n, text, extra)) return -1;
            for (i = 0; i + 4 <= extra; i += 4 + (size_t)npz_number(text + i + 2, 2)) {
                size_t k = i + 4; /* field 1 has what does not fit into 32 bits */
                if (npz_number(text + i, 2) != 1) continue;
                if (*size == UINT32_MAX && k + 8 <= extra) *size = npz_number(text + k, 8), k += 8;
                if (npz_number(head + 20, 4) == UINT32_MAX) k += 8; /* the packed size */
                if (*place == UINT32_MAX && k + 8 <= extra) *place = npz_number(text + k, 8);
            }
            if (npz_get(f, *place, head, 30) || memcmp(head, "PK\3\4", 4)) return -1;
            *place += 30 + npz_number(head + 26, 2) + npz_number(head + 28, 2);
            return 0;
        }
        at += 46 + n + extra + npz_number(head + 32, 2);
    }
    return 1;
}

/* The header of a .npy: kind ("<f4"), shape; *place goes on to the data. Returns 0, or -1. */
static inline int npz_header(FILE *f, uint64_t *place, char *kind, int64_t *rows, int64_t *cols)
{
    unsigned char head[12];
    static char text[65536];
    size_t n;
    int wide;
    char *p;
    if (npz_get(f, *place, head, 12) || memcmp(head, "\x93NUMPY", 6)) return -1;
    wide = head[6] > 1;
    n = (size_t)npz_number(head + 8, wide ? 4 : 2);
    *place += wide ? 12 : 10;
    if (n >= sizeof text || npz_get(f, *place, text, n)) return -1;
    text[n] = 0;
    *place += n;
    p = strstr(text, "'descr': '");
    if (!p || sscanf(p + 10, "%7[^']", kind) != 1) return -1;
    if (!strstr(text, "'fortran_order': False")) return -1;
    p = strstr(text, "'shape': (");
    *cols = 1;
    if (!p || sscanf(p + 10, "%" SCNd64 ", %" SCNd64, rows, cols) < 1) return -1;
    if (strchr(p, ')') == NULL || *rows < 0 || *cols < 1 || *rows > INT32_MAX || *cols > 65536)
        return -1;
    for (n = 0, p += 10; *p != ')'; p++) n += *p == ',' && p[1] == ' ';
    return n > 1 ? -1 : 0; /* at most two dimensions */
}

/* Return array `key` as floats [rows, cols], to be freed; a vector has 1 column. NULL with the fault
   in error [n]. */
static inline float *npz_read(const char *path, const char *key, int64_t *rows, int64_t *cols,
                              char *error, size_t n)
{
    static const char *const kinds[] = {"<f4", "<f8", "|b1", "|u1", "<i4", "<i8"};
    static const size_t widths[] = {4, 8, 1, 1, 4, 8};
    FILE *f = fopen(path, "rb");
    uint64_t place = 0, size = 0, begin;
    unsigned char *bytes = NULL;
    float *x = NULL;
    char kind[8] = "?";
    int k = 0, found = f ? npz_find(f, key, &place, &size) : -1;
    size_t i, count = 0;
    begin = place;
    if (!f) snprintf(error, n, "cannot open %s", path);
    else if (found == -2) snprintf(error, n, "%s: %s is compressed; use numpy.savez", path, key);
    else if (found > 0) snprintf(error, n, "%s: there is no array %s", path, key);
    else if (found || npz_header(f, &place, kind, rows, cols))
        snprintf(error, n, "%s: not an .npz file with a matrix %s in C order", path, key);
    else {
        while (k < 6 && strcmp(kind, kinds[k])) k++;
        count = (size_t)(*rows * *cols);
        if (k == 6) snprintf(error, n, "%s: %s has elements of kind %s", path, key, kind);
        else if (place - begin > size || size - (place - begin) < count * widths[k])
            snprintf(error, n, "%s: %s is cut off", path, key);
        else if (!(x = (float *)malloc(count * sizeof *x + 1)) ||
                 !(bytes = (unsigned char *)malloc(count * widths[k] + 1)) ||
                 npz_get(f, place, bytes, count * widths[k])) {
            snprintf(error, n, "%s: cannot read %s", path, key);
            free(x);
            x = NULL;
        }
    }
    for (i = 0; x && i < count; i++) {
        uint64_t bits = npz_number(bytes + i * widths[k], (int)widths[k]);
        uint32_t low = (uint32_t)bits;
        double wide;
        if (k == 0) memcpy(&x[i], &low, 4);
        else if (k == 1) memcpy(&wide, &bits, 8), x[i] = (float)wide;
        else x[i] = k == 4 ? (float)(int32_t)low : (float)(int64_t)bits;
    }
    free(bytes);
    if (f) fclose(f);
    return x;
}

/* What npz_write takes: kind "<f4" or "|b1", made from floats x [rows, cols] whose rows are
   `stride` floats apart. cols 0: a vector. */
typedef struct npz_array {
    const char *name, *kind;
    const float *x;
    int64_t rows, cols, stride;
} npz_array;

static inline unsigned char *npz_put(unsigned char *p, uint64_t v, int bytes)
{
    for (; bytes > 0; bytes--, v >>= 8) *p++ = (unsigned char)(v & 255);
    return p;
}

/* CRC-32 of zip, continued over n bytes. */
static inline uint32_t npz_crc(uint32_t crc, const unsigned char *p, size_t n)
{
    int k;
    for (crc = ~crc; n > 0; n--)
        for (crc ^= *p++, k = 0; k < 8; k++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0u);
    return ~crc;
}

/* Row r of an array as it stands in a file; returns its bytes. */
static inline size_t npz_row(const npz_array *a, int64_t r, unsigned char *out)
{
    const float *x = a->x + r * a->stride;
    int64_t i, cols = a->cols ? a->cols : 1;
    unsigned char *p = out;
    for (i = 0; i < cols; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], 4);
        p = a->kind[1] == 'b' ? npz_put(p, x[i] != 0, 1) : npz_put(p, bits, 4);
    }
    return (size_t)(p - out);
}

/* The header of a .npy, padded to a multiple of 64; returns its bytes. */
static inline size_t npz_head(const npz_array *a, unsigned char head[192])
{
    char text[128], cols[24] = "";
    size_t n, size;
    if (a->cols) snprintf(cols, sizeof cols, " %" PRId64, a->cols);
    n = (size_t)snprintf(text, sizeof text,
                         "{'descr': '%s', 'fortran_order': False, 'shape': (%" PRId64 ",%s), }",
                         a->kind, a->rows, cols);
    size = (10 + n + 64) / 64 * 64;
    memset(head, ' ', size);
    memcpy(head, "\x93NUMPY\1", 8);
    npz_put(head + 8, size - 10, 2);
    memcpy(head + 10, text, n);
    head[size - 1] = '\n';
    return size;
}

/* One member at `place`; its entry of the central directory is appended to it. Returns the bytes of
   the member, 0 after an error. */
static inline uint64_t npz_member(FILE *f, const npz_array *a, uint64_t place, FILE *directory)
{
    unsigned char head[192], entry[46], *row, *p;
    size_t n = npz_head(a, head), width = (size_t)(a->cols ? a->cols : 1) * 4;
    size_t name = strlen(a->name) + 4;
    uint64_t size = n;
    uint32_t crc = npz_crc(0, head, n);
    int64_t r;
    row = (unsigned char *)malloc(width);
    if (!row) return 0;
    for (r = 0; r < a->rows; r++) {
        size_t k = npz_row(a, r, row);
        crc = npz_crc(crc, row, k);
        size += k;
    }
    /* what a local header and an entry share: version .. extra length */
    p = npz_put(entry, 20, 2);
    p = npz_put(p, 0, 4);
    p = npz_put(p, 0x210000, 4); /* 1980-01-01 */
    p = npz_put(p, crc, 4);
    p = npz_put(p, size, 4);
    p = npz_put(p, size, 4);
    p = npz_put(p, name, 2);
    npz_put(p, 0, 2);
    fprintf(f, "PK\3\4");
    fwrite(entry, 1, 26, f);
    fprintf(f, "%s.npy", a->name);
    fwrite(head, 1, n, f);
    for (r = 0; r < a->rows; r++) fwrite(row, 1, npz_row(a, r, row), f);
    free(row);
    fwrite("PK\1\2\24", 1, 6, directory);
    fwrite(entry, 1, 26, directory);
    memset(entry, 0, 10);
    npz_put(entry + 10, place, 4);
    fwrite(entry, 1, 14, directory);
    fprintf(directory, "%s.npy", a->name);
    return 30 + name + size < UINT32_MAX ? 30 + name + size : 0;
}

/* Write n arrays (less than 4 GiB) to path, at once. Returns 0, or -1 with the fault in error. */
static inline int npz_write(const char *path, const npz_array *arrays, int n, char *error,
                            size_t error_size)
{
    char temporary[1200];
    unsigned char end[22] = "PK\5\6", buffer[4096], *p;
    FILE *f, *directory = tmpfile();
    uint64_t place = 0, size = 0;
    size_t k;
    int i, bad;
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    f = fopen(temporary, "wb");
    bad = !f || !directory;
    for (i = 0; i < n && !bad; i++) {
        uint64_t bytes = npz_member(f, &arrays[i], place, directory);
        place += bytes;
        bad = bytes == 0 || place >= UINT32_MAX;
    }
    if (!bad) rewind(directory);
    while (!bad && (k = fread(buffer, 1, sizeof buffer, directory)) > 0)
        fwrite(buffer, 1, k, f), size += k;
    p = npz_put(end + 8, (uint64_t)n, 2);
    p = npz_put(p, (uint64_t)n, 2);
    p = npz_put(p, size, 4);
    npz_put(p, place, 4);
    if (!bad) fwrite(end, 1, 22, f);
    bad = bad || ferror(directory) || ferror(f);
    if (f && (fclose(f) || bad)) bad = 1, remove(temporary);
    if (directory) fclose(directory);
    if (!bad && rename(temporary, path)) bad = 1;
    if (bad) snprintf(error, error_size, "cannot write %s", path);
    return bad ? -1 : 0;
}

#endif
