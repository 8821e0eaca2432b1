/* Writes animated GIF files: a palette of 255 colors for the whole film, and what did not change
   since the last frame is transparent, which keeps files small.

     gif_writer g;
     gif_palette(&g, sample, pixels);             colors of a few typical frames
     gif_open(&g, "film.gif", width, height, 5);  5 hundredths of a second per frame
     gif_frame(&g, rgb);                          for each; [height, width, 3], top row first
     gif_close(&g);                               0, or -1 if something could not be written

   After GIF89a, with variable-length-code LZW. Colors: median cut. */
#ifndef GIF_H
#define GIF_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GIF_KEEP 255 /* the palette's last entry: leave the pixel as it is */

typedef struct gif_writer {
    FILE *f;
    int width, height, delay, colors;
    unsigned char palette[256][3];
    short nearest[32768];         /* palette entry of a color of 5 bits each, -1: not known yet   */
    unsigned char *last, *pixels; /* palette entries of the last frame, codes of this one         */
    unsigned bits, block;         /* bits that wait, and how full the block is                    */
    int count;
    unsigned char bytes[255];
} gif_writer;

/* ---- palette ---- */
typedef struct gif_box {
    int first, count, axis, spread; /* pixels of the sample; the color they differ most in */
} gif_box;

static int gif_axis; /* of the order below; qsort has no user pointer */

static int gif_order(const void *a, const void *b)
{
    return ((const unsigned char *)a)[gif_axis] - ((const unsigned char *)b)[gif_axis];
}

static void gif_measure(const unsigned char *rgb, gif_box *box)
{
    int low[3] = {255, 255, 255}, high[3] = {0, 0, 0}, i, k;
    for (i = box->first; i < box->first + box->count; i++)
        for (k = 0; k < 3; k++) {
            int v = rgb[3 * i + k];
            if (v < low[k]) low[k] = v;
            if (v > high[k]) high[k] = v;
        }
    box->spread = -1;
    for (k = 0; k < 3; k++)
        if (high[k] - low[k] > box->spread) box->spread = high[k] - low[k], box->axis = k;
}

/* Choose the colors for `pixels` pixels, which get sorted. */
static void gif_palette(gif_writer *g, unsigned char *rgb, int pixels)
{
    static gif_box boxes[GIF_KEEP];
    int n = 1, i, k;
    memset(g, 0, sizeof *g);
    boxes[0].first = 0, boxes[0].count = pixels;
    gif_measure(rgb, &boxes[0]);
    for (; n < GIF_KEEP; n++) { /* cut the box with the largest spread times pixels */
        double value, most = 0;
        gif_box *cut = NULL;
        for (i = 0; i < n; i++) {
            value = boxes[i].count > 1 ? (double)boxes[i].spread * (40 + boxes[i].count) : 0;
            if (value > most) most = value, cut = &boxes[i];
        }
        if (!cut) break;
        gif_axis = cut->axis;
        qsort(rgb + 3 * cut->first, (size_t)cut->count, 3, gif_order);
        boxes[n].count = cut->count / 2;
        cut->count -= boxes[n].count;
        boxes[n].first = cut->first + cut->count;
        gif_measure(rgb, cut);
        gif_measure(rgb, &boxes[n]);
    }
    g->colors = n;
    for (i = 0; i < n; i++)
        for (k = 0; k < 3; k++) {
            long sum = boxes[i].count / 2;
            const unsigned char *p = rgb + 3 * boxes[i].first, *end = p + 3 * boxes[i].count;
            for (; p < end; p += 3) sum += p[k];
            g->palette[i][k] = (unsigned char)(sum / boxes[i].count);
        }
}

/* Return the palette's entry for a color. */
static int gif_color(gif_writer *g, const unsigned char *rgb)
{
    int key = rgb[0] >> 3 << 10 | rgb[1] >> 3 << 5 | rgb[2] >> 3, i, best = 1 << 30;
    if (g->nearest[key] >= 0) return g->nearest[key];
    for (i = 0; i < g->colors; i++) {
        int r = g->palette[i][0] - rgb[0], gr = g->palette[i][1] - rgb[1];
        int b = g->palette[i][2] - rgb[2], d = 3 * r * r + 4 * gr * gr + 2 * b * b;
        if (d < best) best = d, g->nearest[key] = (short)i;
    }
    return g->nearest[key];
}

/* ---- file ---- */
static void gif_16(gif_writer *g, int v) { putc(v & 255, g->f), putc(v >> 8, g->f); }

/* Append a code of n bits; n 0: what waits goes out. */
static void gif_bits(gif_writer *g, unsigned code, int n)
{
    g->bits |= code << g->count;
    g->count += n;
    while (g->count >= 8 || (n == 0 && g->count > 0)) {
        g->bytes[g->block++] = (unsigned char)(g->bits & 255);
        g->bits >>= 8;
        g->count -= 8;
        if (g->block < 255) continue;
        putc(255, g->f);
        fwrite(g->bytes, 1, 255, g->f);
        g->block = 0;
    }
    if (n) return;
    if (g->block) putc((int)g->block, g->f), fwrite(g->bytes, 1, g->block, g->f);
    putc(0, g->f);
    g->count = 0, g->block = 0;
}

/* Compress g->pixels. */
static void gif_lzw(gif_writer *g)
{
    static short child[4096][256]; /* code of a known string with one more pixel, 0: none */
    int next = 258, size = 9, prefix = g->pixels[0], n = g->width * g->height, i;
    memset(child, 0, sizeof child);
    putc(8, g->f);
    gif_bits(g, 256, size); /* 256 starts anew, 257 ends */
    for (i = 1; i < n; i++) {
        int c = g->pixels[i];
        if (child[prefix][c]) {
            prefix = child[prefix][c];
            continue;
        }
        gif_bits(g, (unsigned)prefix, size);
        child[prefix][c] = (short)next;
        if (next == 1 << size) size++;
        if (++next == 4096) {
            gif_bits(g, 256, size);
            memset(child, 0, sizeof child);
            next = 258, size = 9;
        }
        prefix = c;
    }
    gif_bits(g, (unsigned)prefix, size);
    if (next == 1 << size && size < 12) size++;
    gif_bits(g, 257, size);
    gif_bits(g, 0, 0);
}

/* Returns 0, or -1 with errno set. delay: hundredths of a second */
static int gif_open(gif_writer *g, const char *path, int width, int height, int delay)
{
    size_t n = (size_t)width * (size_t)height, i;
    for (i = 0; i < 32768; i++) g->nearest[i] = -1;
    g->width = width, g->height = height, g->delay = delay;
    g->last = (unsigned char *)malloc(2 * n);
    g->f = g->last ? fopen(path, "wb") : NULL;
    if (!g->f) return -1;
    g->pixels = g->last + n;
    memset(g->last, GIF_KEEP, n);
    fputs("GIF89a", g->f);
    gif_16(g, width), gif_16(g, height);
    putc(0xf7, g->f), putc(0, g->f), putc(0, g->f);
    fwrite(g->palette, 3, 256, g->f);
    fwrite("!\xff\x0bNETSCAPE2.0\x03\x01\0\0", 1, 19, g->f); /* for ever */
    return 0;
}

static void gif_frame(gif_writer *g, const unsigned char *rgb)
{
    int n = g->width * g->height, i;
    for (i = 0; i < n; i++) {
        int color = gif_color(g, rgb + 3 * i);
        g->pixels[i] = (unsigned char)(color == g->last[i] ? GIF_KEEP : color);
        g->last[i] = (unsigned char)color;
    }
    fwrite("!\xf9\x04\x05", 1, 4, g->f);
    gif_16(g, g->delay);
    putc(GIF_KEEP, g->f), putc(0, g->f), putc(',', g->f);
    gif_16(g, 0), gif_16(g, 0), gif_16(g, g->width), gif_16(g, g->height);
    putc(0, g->f);
    gif_lzw(g);
}

static int gif_close(gif_writer *g)
{
    int bad = g->f && (putc(';', g->f), ferror(g->f));
    if (g->f && fclose(g->f)) bad = 1;
    free(g->last);
    memset(g, 0, sizeof *g);
    return bad ? -1 : 0;
}
#endif /* GIF_H */
