/* What a handful of returns say: mean, spread, and how far they can be trusted. */
#ifndef STATS_H
#define STATS_H

#include "../../diffrl.h"
#include <stdlib.h>
#include <string.h>

typedef struct stats {
    int n;
    double mean, std, min, max; /* std divides by n */
    double iqm;                 /* interquartile mean: of the middle half (Agarwal et al. 2021) */
    double low, high;           /* 95 % bootstrap interval of the mean */
    double iqm_low, iqm_high;   /* and of the interquartile mean */
} stats;

static inline int stats_order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Sort x [n]; return the mean of all but the first and last n * cut (rounded down). */
static inline double stats_middle(double *x, int n, double cut)
{
    int i, k = (int)(cut * n);
    double sum = 0;
    qsort(x, (size_t)n, sizeof *x, stats_order);
    for (i = k; i < n - k; i++) sum += x[i];
    return sum / (n - 2 * k);
}

/* Return the statistics of x [n], n >= 1; it comes back sorted. The interval is that of the
   percentiles of 2000 samples (200 of more than a thousand numbers), always the same ones. */
static inline stats stats_of(double *x, int n)
{
    int samples = n > 1000 ? 200 : 2000, i, k;
    double *means = (double *)malloc((size_t)(2 * samples + n) * sizeof *means);
    drl_rng rng = drl_rng_make(0, "bootstrap");
    double *iqms = means + samples, *draw = iqms + samples, square = 0;
    stats s;
    memset(&s, 0, sizeof s);
    s.n = n;
    s.mean = stats_middle(x, n, 0);
    s.iqm = s.low = s.high = s.iqm_low = s.iqm_high = stats_middle(x, n, 0.25);
    s.min = x[0];
    s.max = x[n - 1];
    for (i = 0; i < n; i++) square += (x[i] - s.mean) * (x[i] - s.mean);
    s.std = sqrt(square / n);
    if (!means) return s;
    for (k = 0; k < samples; k++) {
        for (i = 0; i < n; i++) draw[i] = x[drl_rng_integer(&rng, (uint32_t)n)];
        means[k] = stats_middle(draw, n, 0);
        iqms[k] = stats_middle(draw, n, 0.25);
    }
    qsort(means, (size_t)samples, sizeof *means, stats_order);
    qsort(iqms, (size_t)samples, sizeof *iqms, stats_order);
    k = (int)(0.025 * (samples - 1) + 0.5);
    s.low = means[k], s.high = means[samples - 1 - k];
    s.iqm_low = iqms[k], s.iqm_high = iqms[samples - 1 - k];
    free(means);
    return s;
}

#endif /* STATS_H */
