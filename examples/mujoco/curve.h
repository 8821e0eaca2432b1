/* Learning curves: from progress.csv, averaged over seeds, drawn as SVG and on the terminal.

   train.c draws its own run with it, tools/plot.c any number of them. */
#ifndef CURVE_H
#define CURVE_H

#include "mujoco/run.h"

/* --------------------------------------------------------------------------------------- series */

typedef struct curve_point {
    double x, mean, std; /* std NAN: none */
} curve_point;

typedef struct curve_series {
    curve_point *points;
    int count, capacity;
} curve_series;

/* Append a point. Without memory the series stays as it is. */
static inline void curve_add(curve_series *s, double x, double mean, double std)
{
    if (s->count == s->capacity) {
        int capacity = s->capacity ? 2 * s->capacity : 64;
        curve_point *p = (curve_point *)realloc(s->points, (size_t)capacity * sizeof *p);
        if (!p) return;
        s->points = p;
        s->capacity = capacity;
    }
    s->points[s->count].x = x;
    s->points[s->count].mean = mean;
    s->points[s->count++].std = std;
}

/* Widen [*low, *high] to the series, with its band if bands is 1. */
static inline void curve_range(const curve_series *s, int bands, double *low, double *high)
{
    int i;
    for (i = 0; i < s->count; i++) {
        double d = bands && s->points[i].std > 0 ? s->points[i].std : 0;
        if (s->points[i].mean - d < *low) *low = s->points[i].mean - d;
        if (s->points[i].mean + d > *high) *high = s->points[i].mean + d;
    }
}

/* Return the series at x between its first and its last, with a line between its points. */
static inline double curve_at(const curve_series *s, double x)
{
    const curve_point *p = s->points;
    int i = 1;
    if (s->count == 1 || x <= p[0].x) return p[0].mean;
    while (i < s->count - 1 && p[i].x < x) i++;
    if (p[i].x <= p[i - 1].x) return p[i].mean;
    return p[i - 1].mean + (p[i].mean - p[i - 1].mean) * (x - p[i - 1].x) / (p[i].x - p[i - 1].x);
}

static inline int curve_order(const void *a, const void *b)
{
    double x = ((const curve_point *)a)->x, y = ((const curve_point *)b)->x;
    return x < y ? -1 : x > y;
}

/* Append mean and standard deviation (it divides by n) over n series to out, at every x that one of
   them has and all cover. Of one series all stays, its own deviation too. */
static inline void curve_mean(curve_series *out, const curve_series *runs, int n)
{
    double first = -1e300, last = 1e300;
    int i, k, m = 0;
    if (n == 1) {
        for (i = 0; i < runs->count; i++)
            curve_add(out, runs->points[i].x, runs->points[i].mean, runs->points[i].std);
        return;
    }
    for (k = 0; k < n; k++) {
        if (!runs[k].count) return;
        if (runs[k].points[0].x > first) first = runs[k].points[0].x;
        if (runs[k].points[runs[k].count - 1].x < last) last = runs[k].points[runs[k].count - 1].x;
    }
    for (k = 0; k < n; k++)
        for (i = 0; i < runs[k].count; i++)
            if (runs[k].points[i].x >= first && runs[k].points[i].x <= last)
                curve_add(out, runs[k].points[i].x, 0, 0);
    if (!out->count) return;
    qsort(out->points, (size_t)out->count, sizeof *out->points, curve_order);
    for (i = 0; i < out->count; i++)
        if (!m || out->points[i].x > out->points[m - 1].x) out->points[m++] = out->points[i];
    out->count = m;
    for (i = 0; i < m; i++) {
        curve_point *p = &out->points[i];
        double square = 0;
        for (k = 0; k < n; k++) {
            double delta = curve_at(&runs[k], p->x) - p->mean;
            p->mean += delta / (k + 1);
            square += delta * (curve_at(&runs[k], p->x) - p->mean);
        }
        p->std = sqrt(square / n);
    }
}

/* --------------------------------------------------------------------------------- progress.csv */

/* The file as numbers; what is empty there is NAN. */
typedef struct curve_table {
    char *text, *names[64];
    double *cells; /* [rows, columns] */
    int columns, rows;
} curve_table;

static inline void curve_table_free(curve_table *t)
{
    free(t->text);
    free(t->cells);
    memset(t, 0, sizeof *t);
}

/* Take the next line off the text, cut into at most n cells; returns how many there are, 0 at the
   end. A last line without its end is torn, and none. */
static inline int curve_line(char **text, char **cells, int n)
{
    char *at = *text, *end = strchr(at, '\n');
    int count = 0;
    if (!end) return 0;
    *end = 0;
    *text = end + 1;
    if (end > at && end[-1] == '\r') end[-1] = 0;
    for (;;) {
        if (count < n) cells[count] = at;
        count++;
        at += strcspn(at, ",");
        if (!*at) return count;
        *at++ = 0;
    }
}

/* Read it. Returns 0, or -1 with one line in error; to be freed in any case. */
static inline int curve_table_read(curve_table *t, const char *path, char *error, size_t n)
{
    char *at, *cells[64], *end;
    FILE *f = fopen(path, "rb");
    long size;
    int i, k;
    memset(t, 0, sizeof *t);
    if (!f) return snprintf(error, n, "cannot open %s: %s", path, strerror(errno)), -1;
    fseek(f, 0, SEEK_END);
    size = ftell(f);
    rewind(f);
    if (size >= 0) t->text = (char *)calloc(1, (size_t)size + 1);
    if (!t->text || fread(t->text, 1, (size_t)size, f) != (size_t)size) {
        fclose(f);
        return snprintf(error, n, "cannot read %s", path), -1;
    }
    fclose(f);
    at = t->text;
    for (i = 1; *at; at++) i += *at == '\n';
    at = t->text;
    t->columns = curve_line(&at, t->names, 64);
    t->cells = (double *)malloc((size_t)i * (size_t)(t->columns + 1) * sizeof *t->cells);
    if (t->columns < 1 || t->columns > 64 || !t->cells)
        return snprintf(error, n, "%s: the first line names no columns", path), -1;
    while ((k = curve_line(&at, cells, 64)) > 0) {
        if (k != t->columns)
            return snprintf(error, n, "%s: line %d: expected %d cells, got %d", path, t->rows + 2,
                            t->columns, k), -1;
        for (i = 0; i < k; i++) {
            double v = strtod(cells[i], &end);
            if (*end)
                return snprintf(error, n, "%s: line %d: %.30s is no number", path, t->rows + 2,
                                cells[i]), -1;
            t->cells[t->rows * k + i] = *cells[i] ? v : NAN;
        }
        t->rows++;
    }
    return 0;
}

/* Return the column of that name, -1: none. */
static inline int curve_table_column(const curve_table *t, const char *name)
{
    int i;
    for (i = 0; i < t->columns; i++)
        if (!strcmp(t->names[i], name)) return i;
    return -1;
}

/* Append to s the rows where both columns have a number, in order of x; the deviation of the
   evaluation's mean stands in the file, that of other columns does not. */
static inline void curve_table_series(const curve_table *t, const char *x, const char *y,
                                      curve_series *s)
{
    int cx = curve_table_column(t, x), cy = curve_table_column(t, y), i;
    int cs = !strcmp(y, "eval/mean_reward") ? curve_table_column(t, "eval/std_reward") : -1;
    for (i = 0; cx >= 0 && cy >= 0 && i < t->rows; i++) {
        const double *row = t->cells + i * t->columns;
        if (fabs(row[cx]) < 1e300 && fabs(row[cy]) < 1e300)
            curve_add(s, row[cx], row[cy], cs >= 0 ? row[cs] : NAN);
    }
    if (s->count) qsort(s->points, (size_t)s->count, sizeof *s->points, curve_order);
}

/* -------------------------------------------------------------------------------------- figures */

#define CURVE_COLORS 8

/* A line with a label; the curve of one run shows the deviation of its episodes. */
typedef struct curve {
    char label[96];
    curve_series series;
    int seeds; /* how many runs it is the mean of */
    int color; /* 0, 1, ...; -1: gray, in the background */
    int band;
} curve;

/* Curves on the same axes. */
typedef struct curve_panel {
    char title[160];
    curve *curves;
    int count;
    double first, last; /* of the x axis, which is logarithmic if it does not begin with 0 */
} curve_panel;

typedef struct curve_figure {
    const char *title, *x_label, *y_label, *note; /* NULL: none */
    curve_panel *panels;
    int count;
} curve_figure;

/* Where x lies on its axis: 0 at the start, 1 at the end. */
static inline double curve_where(double first, double last, double x)
{
    return first > 0 ? log(fmax(x, first) / first) / log(last / first) : x / last;
}

static inline void curve_panel_range(const curve_panel *p, int bands, double *low, double *high)
{
    int i;
    *low = 1e300;
    *high = -1e300;
    for (i = 0; i < p->count; i++)
        curve_range(&p->curves[i].series, bands && p->curves[i].band, low, high);
    if (*low > *high) *low = 0, *high = 1;
    if (!(*high - *low > 1e-9 * (1 + fabs(*high)))) *low -= 1, *high += 1;
}

/* ------------------------------------------------------------------------------------- terminal */

/* The series in `columns` letters to text [4 * columns + 1]. */
static inline void curve_sparkline(const run_term *t, const curve_series *s, int columns,
                                   char *text)
{
    double low = 1e300, high = -1e300;
    int i, n = s->count < columns ? s->count : columns;
    curve_range(s, 0, &low, &high);
    for (i = 0; i < n; i++) {
        const curve_point *p = &s->points[(int64_t)(i + 1) * s->count / n - 1];
        int level = high > low ? (int)(7.99 * (p->mean - low) / (high - low)) : 3;
        if (t->utf8) text += run_utf8_put(0x2581u + (unsigned)level, text);
        else *text++ = "_.:-=+*#"[level];
    }
    *text = 0;
}

#define CURVE_COLUMNS 60
#define CURVE_ROWS 12

/* What a letter of the plot shows. */
typedef struct curve_cells {
    unsigned char dots[CURVE_ROWS][CURVE_COLUMNS], curve[CURVE_ROWS][CURVE_COLUMNS];
} curve_cells;

/* Braille dots? They cannot tell curves apart without color. */
static inline int curve_fine(const run_term *t, const curve_panel *panel)
{
    return t->utf8 && (t->color || panel->count == 1);
}

/* Draw lines between the points of curve number k. */
static inline void curve_cells_draw(curve_cells *cells, const run_term *t, const curve_panel *panel,
                                    int k, double low, double high)
{
    static const unsigned char dots[4][2] = {{1, 8}, {2, 16}, {4, 32}, {64, 128}};
    const curve_series *s = &panel->curves[k].series;
    int fine = curve_fine(t, panel), dx = fine ? 2 : 1, dy = fine ? 4 : 1; /* dots of a letter */
    int w = dx * CURVE_COLUMNS - 1, h = dy * CURVE_ROWS - 1, i, j;
    for (i = 0; i < s->count; i++) {
        const curve_point *b = &s->points[i], *a = i ? b - 1 : b;
        double x0 = w * curve_where(panel->first, panel->last, a->x);
        double x1 = w * curve_where(panel->first, panel->last, b->x) - x0;
        double y0 = h * (a->mean - low) / (high - low);
        double y1 = h * (b->mean - low) / (high - low) - y0;
        int steps = 1 + (int)(2 * (fabs(x1) > fabs(y1) ? fabs(x1) : fabs(y1)));
        for (j = 0; j <= steps; j++) {
            int x = (int)(x0 + x1 * j / steps + 0.5), y = h - (int)(y0 + y1 * j / steps + 0.5);
            if (x < 0 || x > w || y < 0 || y > h) continue;
            cells->dots[y / dy][x / dx] |= dots[y % dy][x % dx];
            cells->curve[y / dy][x / dx] = (unsigned char)k;
        }
    }
}

/* Draw the panel, with the labels of its curves below if there are several. */
static inline void curve_terminal(FILE *f, const run_term *t, const curve_panel *panel,
                                  const char *x_label, const char *y_label)
{
    static const char marks[] = "*o+x#@%&";
    static const int colors[] = {34, 31, 32, 35, 33, 36, 90, 37};
    curve_cells cells;
    char text[32], start[32];
    double low, high;
    int row, column, k, fine = curve_fine(t, panel), many = panel->count > 1;
    memset(&cells, 0, sizeof cells);
    curve_panel_range(panel, 0, &low, &high);
    for (k = 0; k < panel->count; k++) curve_cells_draw(&cells, t, panel, k, low, high);
    for (row = 0; row < CURVE_ROWS; row++) {
        int label = row == 0 || row == CURVE_ROWS - 1 || row == CURVE_ROWS / 2, last = -1;
        double value = high - (high - low) * row / (CURVE_ROWS - 1);
        fprintf(f, "%9s %s", label ? run_short(value, text) : "", label ? "+" : "|");
        for (column = 0; column < CURVE_COLUMNS; column++) {
            int color = cells.curve[row][column];
            if (t->color && color != last) fprintf(f, "\033[%dm", colors[color % 8]);
            last = color;
            if (fine) run_utf8_put(0x2800u + cells.dots[row][column], text);
            else text[0] = cells.dots[row][column] ? marks[color % 8] : ' ', text[1] = 0;
            fputs(text, f);
        }
        fprintf(f, "%s\n", t->color ? "\033[0m" : "");
    }
    fprintf(f, "%9s +", "");
    for (column = 0; column < CURVE_COLUMNS; column++) fputc(column % 15 == 14 ? '+' : '-', f);
    fprintf(f, "\n%10s%-10s%51s\n%11s%s by %s\n", "",
            panel->first > 0 ? run_short(panel->first, start) : "0",
            run_short(panel->last, text), "", y_label, x_label);
    for (k = 0; many && k < panel->count; k++) {
        if (t->color) fprintf(f, "%11s\033[%dm%s\033[0m", "", colors[k % 8], fine ? "--" : "");
        else fprintf(f, "%11s", "");
        fprintf(f, "%c %s\n", fine ? ' ' : marks[k % 8], panel->curves[k].label);
    }
    fputs("\n", f);
}

/* ------------------------------------------------------------------------------------------ SVG */

/* The drawing of a panel: where its axes lie and what they show. */
typedef struct curve_svg {
    FILE *f;
    drl_context ctx;                 /* of run_number; nothing is in it */
    double left, right, top, bottom; /* pixels */
    double first, last, low, high;   /* of the axes */
} curve_svg;

static inline void curve_svg_text(FILE *f, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '<') fputs("&lt;", f);
        else if (c == '>') fputs("&gt;", f);
        else if (c == '&') fputs("&amp;", f);
        else if (c == '"') fputs("&quot;", f);
        else if (c >= 32) fputc(c, f);
    }
}

/* <text> at a place in pixels; anchor "start", "middle" or "end". */
static inline void curve_svg_label(FILE *f, const char *class_name, const char *anchor, double x,
                                   double y, const char *text)
{
    fprintf(f, "<text class=\"%s\" text-anchor=\"%s\" x=\"%d\" y=\"%d\">", class_name, anchor,
            (int)x, (int)y);
    curve_svg_text(f, text);
    fputs("</text>\n", f);
}

/* A place in pixels with one decimal. */
static inline void curve_svg_xy(curve_svg *s, double x, double value)
{
    char px[DRL_FIELD_TEXT], py[DRL_FIELD_TEXT];
    double at_x = s->left + (s->right - s->left) * curve_where(s->first, s->last, x);
    double at_y = s->bottom - (s->bottom - s->top) * (value - s->low) / (s->high - s->low);
    run_number(&s->ctx, floor(10 * at_x + 0.5) / 10, px);
    run_number(&s->ctx, floor(10 * at_y + 0.5) / 10, py);
    fprintf(s->f, "%s,%s ", px, py);
}

/* 1, 2 or 5 times a power of ten: about a fifth of the range. */
static inline double curve_svg_tick(double range)
{
    double unit = pow(10, floor(log10(range / 5)));
    double n = range / 5 / unit;
    return unit * (n < 1.5 ? 1 : n < 3.5 ? 2 : n < 7.5 ? 5 : 10);
}

/* One tick: grid line and label. */
static inline void curve_svg_mark(curve_svg *s, int x_axis, double value)
{
    char text[DRL_FIELD_TEXT + 2];
    double range = x_axis ? s->first > 0 ? value : s->last : fmax(fabs(s->low), fabs(s->high));
    double shown = value;
    const char *unit = "";
    fprintf(s->f, "<polyline class=\"grid\" points=\"");
    curve_svg_xy(s, x_axis ? value : s->first, x_axis ? s->low : value);
    curve_svg_xy(s, x_axis ? value : s->last, x_axis ? s->high : value);
    fputs("\"/>", s->f);
    if (x_axis && range >= 1e6) shown = value / 1e6, unit = "M";
    else if (x_axis && range >= 2e3) shown = value / 1e3, unit = "k";
    run_number(&s->ctx, fabs(shown) < 1e-9 * range ? 0 : shown, text);
    if (fabs(value) > 1e-9 * range) strcat(text, unit);
    if (x_axis)
        curve_svg_label(s->f, "", "middle", s->left + (s->right - s->left) *
                        curve_where(s->first, s->last, value), s->bottom + 18, text);
    else
        curve_svg_label(s->f, "", "end", s->left - 8, 4 + s->bottom - (s->bottom - s->top) *
                        (value - s->low) / (s->high - s->low), text);
}

static inline void curve_svg_axes(curve_svg *s, const char *x_label, const char *y_label)
{
    double tick = curve_svg_tick(s->last), v = s->first > 0 ? pow(10, ceil(log10(s->first))) : 0;
    for (; v <= s->last * 1.0001; v = s->first > 0 ? 10 * v : v + tick) curve_svg_mark(s, 1, v);
    tick = curve_svg_tick(s->high - s->low);
    for (v = ceil(s->low / tick); v * tick <= s->high; v += 1) curve_svg_mark(s, 0, v * tick);
    fprintf(s->f, "<polyline class=\"axis\" points=\"");
    curve_svg_xy(s, s->first, s->high);
    curve_svg_xy(s, s->first, s->low);
    curve_svg_xy(s, s->last, s->low);
    fputs("\"/>\n", s->f);
    curve_svg_label(s->f, "", "middle", (s->left + s->right) / 2, s->bottom + 38, x_label);
    if (!y_label) return;
    fprintf(s->f, "<text text-anchor=\"middle\" transform=\"translate(%d %d) rotate(-90)\">",
            (int)s->left - 60, (int)(s->top + s->bottom) / 2);
    curve_svg_text(s->f, y_label);
    fputs("</text>\n", s->f);
}

/* The series as a line, or (sign not 0) as the outline mean + sign * std. */
static inline void curve_svg_series(curve_svg *s, const curve_series *series, int sign)
{
    int i, n = series->count;
    for (i = 0; i < n; i++) {
        const curve_point *p = &series->points[sign < 0 ? n - 1 - i : i];
        curve_svg_xy(s, p->x, p->mean + (sign && p->std > 0 ? sign * p->std : 0));
    }
}

static inline void curve_svg_band(curve_svg *s, const curve *c)
{
    fprintf(s->f, "<polygon class=\"b%d\" points=\"", c->color % CURVE_COLORS);
    curve_svg_series(s, &c->series, 1);
    curve_svg_series(s, &c->series, -1);
    fputs("\"/>\n", s->f);
}

/* The line, and dots where it has few points. */
static inline void curve_svg_line(curve_svg *s, const curve *c)
{
    int i, n = c->series.count, color = c->color < 0 ? CURVE_COLORS : c->color % CURVE_COLORS;
    fprintf(s->f, "<polyline class=\"c%d\" points=\"", color);
    curve_svg_series(s, &c->series, 0);
    fputs("\"/>\n", s->f);
    if (c->color < 0 || n > 40) return;
    fprintf(s->f, "<path class=\"c%d d\" d=\"", color); /* lines of no length with round ends */
    for (i = 0; i < n; i++) {
        fputs("M", s->f);
        curve_svg_xy(s, c->series.points[i].x, c->series.points[i].mean);
        fputs("h0 ", s->f);
    }
    fputs("\"/>\n", s->f);
}

static inline void curve_svg_panel(curve_svg *s, const curve_figure *figure,
                                   const curve_panel *panel, int first)
{
    double margin;
    int i, pass;
    s->first = panel->first;
    s->last = panel->last > 0 ? panel->last : 1;
    curve_panel_range(panel, 1, &s->low, &s->high);
    margin = 0.03 * (s->high - s->low);
    s->low -= margin;
    s->high += margin;
    curve_svg_axes(s, figure->x_label, first ? figure->y_label : NULL);
    for (i = 0; i < panel->count; i++) /* bands lie below lines, gray below colors */
        if (panel->curves[i].band) curve_svg_band(s, &panel->curves[i]);
    for (pass = 0; pass < 2; pass++)
        for (i = 0; i < panel->count; i++)
            if ((panel->curves[i].color >= 0) == pass) curve_svg_line(s, &panel->curves[i]);
    if (figure->count > 1)
        curve_svg_label(s->f, "p", "start", s->left, s->top - 8, panel->title);
}

/* A curve's label above all panels at *x, *y, which move on: to the next row where it does not
   fit. */
static inline void curve_svg_legend(FILE *f, const curve *c, double left, double width, double *x,
                                    double *y)
{
    double wide = 46 + 6.6 * (double)strlen(c->label);
    int color = c->color < 0 ? CURVE_COLORS : c->color % CURVE_COLORS;
    if (*x + wide > width && *x > left) *x = left, *y += 20;
    if (f) {
        fprintf(f, "<polyline class=\"c%d\" points=\"%d,%d %d,%d\"/>", color, (int)*x, (int)*y,
                (int)*x + 24, (int)*y);
        curve_svg_label(f, "", "start", *x + 32, *y + 4, c->label);
    }
    *x += wide + 10;
}

/* The legend: each color once. Returns the y below it; f NULL: only that. */
static inline double curve_svg_legends(FILE *f, const curve_figure *figure, double width, double y)
{
    double x = 78;
    int color, i, k;
    for (color = 0; color <= 64; color++) /* gray comes last */
        for (i = 0; i < figure->count; i++)
            for (k = 0; k < figure->panels[i].count; k++)
                if (figure->panels[i].curves[k].color == (color < 64 ? color : -1)) {
                    curve_svg_legend(f, &figure->panels[i].curves[k], 78, width, &x, &y);
                    i = figure->count - 1;
                    break;
                }
    return y;
}

static inline void curve_svg_head(FILE *f, const curve_figure *figure, double width, double height)
{
    static const char colors[CURVE_COLORS + 1][8] = {
        "#0b62a4", "#d55e00", "#009e73", "#b0508f", "#e69f00", "#3aa6dd", "#6a4c2f", "#111111",
        "#999999"};
    int i;
    fprintf(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\">\n"
            "<title>", (int)width, (int)height);
    curve_svg_text(f, figure->title ? figure->title : "learning curves");
    fputs("</title>\n<style>text{font:12px sans-serif;fill:#333}polyline,path{fill:none}"
          ".grid{stroke:#e4e4e4}.axis{stroke:#333}.t{font-size:15px;font-weight:bold}"
          ".p{font-size:13px;font-weight:bold}.n{font-size:11px;fill:#777}", f);
    for (i = 0; i <= CURVE_COLORS; i++)
        fprintf(f, ".c%d{stroke:%s;stroke-width:%s}.b%d{fill:%s;fill-opacity:.16}", i, colors[i],
                i < CURVE_COLORS ? "2" : "1.2", i, colors[i]);
    fprintf(f, ".d{stroke-width:5;stroke-linecap:round}</style>\n"
            "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n", (int)width, (int)height);
    if (figure->title) curve_svg_label(f, "t", "start", 78, 24, figure->title);
}

/* Write the figure to dir/name: one panel, or several on a grid. Returns 0, or -1 with errno
   set. */
static inline int curve_svg_write(const char *dir, const char *name, const curve_figure *figure)
{
    int n = figure->count, columns = n < 2 ? 1 : n < 5 ? 2 : 3, rows = (n + columns - 1) / columns;
    double w = n < 2 ? 720 : 430, h = n < 2 ? 366 : 300; /* of a panel with its labels */
    double width = w * columns, y = figure->title ? 44 : 20, top, height;
    run_file file;
    curve_svg s;
    int i;
    if (run_file_open(&file, dir, name)) return -1;
    memset(&s, 0, sizeof s);
    s.f = file.f;
    top = 10 + curve_svg_legends(NULL, figure, width, y);
    height = top + h * rows + (figure->note ? 14 : 0);
    curve_svg_head(s.f, figure, width, height);
    curve_svg_legends(s.f, figure, width, y);
    for (i = 0; i < n; i++) {
        double x = w * (i % columns);
        s.top = top + h * (i / columns) + (n < 2 ? 8 : 34);
        s.bottom = top + h * (i / columns + 1) - 50;
        s.left = x + 78;
        s.right = x + w - 20;
        curve_svg_panel(&s, figure, &figure->panels[i], i % columns == 0);
    }
    if (figure->note) curve_svg_label(s.f, "n", "end", width - 20, height - 10, figure->note);
    fputs("</svg>\n", s.f);
    return run_file_close(&file);
}

#endif /* CURVE_H */
