/* Statistics of returns: values by hand, and intervals that cover what they should. */
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"
#include "../../examples/mujoco/stats.h"

TEST(values_by_hand)
{
    double x[] = {7, 1, 100, 3, -50, 5, 4, 2}; /* the middle half: 2 3 4 5 */
    stats s = stats_of(x, 8);
    CHECK(s.n == 8 && s.min == -50 && s.max == 100);
    CHECK_NEAR(s.mean, 9, 1e-12);
    CHECK_NEAR(s.iqm, 3.5, 1e-12);
    CHECK_NEAR(s.std, sqrt((4 + 64 + 8281 + 36 + 3481 + 16 + 25 + 49) / 8.0), 1e-12);
    CHECK(s.low <= s.mean && s.mean <= s.high && s.iqm_low <= 3.5 && 3.5 <= s.iqm_high);
}

TEST(few_numbers)
{
    double one[] = {3}, same[] = {2, 2, 2, 2, 2}, three[] = {9, 0, 3};
    stats s = stats_of(one, 1);
    CHECK(s.mean == 3 && s.std == 0 && s.low == 3 && s.high == 3 && s.iqm == 3 && s.iqm_high == 3);
    s = stats_of(same, 5);
    CHECK(s.std == 0 && s.low == 2 && s.high == 2 && s.iqm == 2);
    s = stats_of(three, 3); /* a quarter of three is none */
    CHECK_NEAR(s.iqm, 4, 1e-12);
    CHECK(s.low >= 0 && s.high <= 9);
}

/* Of normals with deviation 10: mean +- 1.96 10 / sqrt(n), and it covers the truth 19 times in 20
   (a little less, as bootstrap intervals of 40 numbers do). */
TEST(intervals)
{
    static double x[400];
    drl_rng rng = drl_rng_make(5, "numbers");
    int i, k, covered = 0;
    double width = 0;
    stats s;
    for (i = 0; i < 400; i++) x[i] = 10 * (double)drl_rng_normal(&rng);
    s = stats_of(x, 400);
    CHECK_NEAR(s.high - s.low, 2 * 1.96 * s.std / sqrt(400), 0.15);
    for (k = 0; k < 100; k++) {
        for (i = 0; i < 40; i++) x[i] = 3 + 10 * (double)drl_rng_normal(&rng);
        s = stats_of(x, 40);
        covered += s.low <= 3 && 3 <= s.high;
        width += (s.high - s.low) / 100;
    }
    CHECK(covered >= 86 && covered <= 99);
    CHECK_NEAR(width, 2 * 1.96 * 10 / sqrt(40), 0.4);
}

TEST(same_again)
{
    double x[] = {3, 1, 4, 1, 5, 9, 2, 6}, y[] = {6, 2, 9, 5, 1, 4, 1, 3};
    stats a = stats_of(x, 8), b = stats_of(y, 8);
    CHECK(memcmp(&a, &b, sizeof a) == 0);
}

TEST_MAIN(TEST_ENTRY(values_by_hand), TEST_ENTRY(few_numbers), TEST_ENTRY(intervals),
          TEST_ENTRY(same_again))
