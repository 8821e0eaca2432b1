/* What the golden tests share: inputs by formula, as tools/golden.py makes them, comparisons. `far`
   is the deviation in parts of a tensor's largest element. Include after diffrl.h and test.h. */
#ifndef GOLDEN_H
#define GOLDEN_H

#define LENGTH(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* ---- inputs ---- */

static inline uint32_t mix(uint32_t x)
{
    x += 0x9e3779b9u;
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ (x >> 16);
}

static inline double uniform(int id, int i)
{
    return (double)mix(((uint32_t)id << 20) + (uint32_t)i) / 4294967296.0 * 2 - 1;
}

static inline double normal(int id, int i)
{
    double u1 = ((double)mix(((uint32_t)id << 20) + 2 * (uint32_t)i) + .5) / 4294967296.0;
    double u2 = (double)mix(((uint32_t)id << 20) + 2 * (uint32_t)i + 1) / 4294967296.0;
    return sqrt(-2 * log(u1)) * cos(6.283185307179586 * u2);
}

static inline void fill(float *x, int n, int id, double offset, double scale)
{
    int i;
    for (i = 0; i < n; i++) x[i] = (float)(offset + scale * uniform(id, i));
}

static inline void fill_normal(float *x, int n, int id)
{
    int i;
    for (i = 0; i < n; i++) x[i] = (float)normal(id, i);
}

static inline int size_of(const drl_tensor *x) { return x->rows * x->cols; }

/* ---- comparisons ---- */

/* Largest deviation of got [n] from want, in parts of the largest |want|. */
static inline double far(const float *got, const double *want, int n)
{
    double worst = 0, largest = 1e-300;
    int i;
    for (i = 0; i < n; i++) {
        double d = fabs((double)got[i] - want[i]);
        if (!(d <= worst)) worst = d == d ? d : HUGE_VAL;
        largest = fmax(largest, fabs(want[i]));
    }
    return worst / largest;
}

static inline double far1(double got, double want)
{
    return fabs(got - want) / fabs(want);
}

/* Largest `far` of `count` tensors of a set from the first on, against want in a row; gradients or
   values. */
static inline double far_tensors(const drl_params *p, int first, int count, const double *want,
                                 int grad)
{
    double worst = 0;
    int t;
    for (t = first; t < first + count; t++) {
        const drl_tensor *x = &p->list[t];
        worst = fmax(worst, far(grad ? x->grad : x->data, want, size_of(x)));
        want += size_of(x);
    }
    return worst;
}

/* Sum and sum of squares of x against want [2], as `far` would have them for an even error of all
   elements. */
static inline double far_sums(const drl_tensor *x, const double *want)
{
    double sum = 0, square = 0, absolute = 0;
    int i;
    for (i = 0; i < size_of(x); i++) {
        double v = (double)x->data[i];
        sum += v;
        square += v * v;
        absolute += fabs(v);
    }
    return fmax(fabs(sum - want[0]) / (absolute + 1e-300),
                fabs(square - want[1]) / (2 * want[1] + 1e-300));
}

static inline double norm_of(const drl_params *p, int first, int count)
{
    double s = 0;
    int t, i;
    for (t = first; t < first + count; t++)
        for (i = 0; i < size_of(&p->list[t]); i++)
            s += (double)p->list[t].grad[i] * (double)p->list[t].grad[i];
    return sqrt(s);
}

static inline double mean_of(const float *x, int n)
{
    double s = 0;
    int i;
    for (i = 0; i < n; i++) s += (double)x[i];
    return s / n;
}

/* want [10]: uniform(1, 0..3), uniform(4095, 1000), normal(200, 0..3), normal(233, 5) */
static inline void check_inputs(const double *want)
{
    int i;
    for (i = 0; i < 4; i++) {
        CHECK_NEAR(uniform(1, i), want[i], 1e-11);
        CHECK_NEAR(normal(200, i), want[5 + i], 1e-11);
    }
    CHECK_NEAR(uniform(4095, 1000), want[4], 1e-11);
    CHECK_NEAR(normal(233, 5), want[9], 1e-11);
}
#endif
