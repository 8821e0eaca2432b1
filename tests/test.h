/* The tests' harness: each test file is one program.

     #include "../test.h"
     TEST(arena_grows) { CHECK(x == 3); CHECK_NEAR(y, 1.0, 1e-6); }
     TEST_MAIN(TEST_ENTRY(arena_grows), TEST_ENTRY(other_test))

   Prints one line per test and, last, "N passed, N failed"; exit status 1 if one failed. An argument
   runs only the tests whose name contains it. */
#ifndef TEST_H
#define TEST_H
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int test_faults; /* of the test that runs now */

#define TEST(name) static void test_##name(void)

#define CHECK(condition)                                                                         \
    do {                                                                                         \
        if (!(condition)) {                                                                      \
            if (test_faults++ < 5) printf("  %s:%d: %s\n", __FILE__, __LINE__, #condition);      \
        }                                                                                        \
    } while (0)

/* |got - want| <= tolerance, absolute; false for nan */
#define CHECK_NEAR(got, want, tolerance)                                                         \
    do {                                                                                         \
        double got_ = (double)(got), want_ = (double)(want);                                     \
        if (!(fabs(got_ - want_) <= (double)(tolerance))) {                                      \
            if (test_faults++ < 5)                                                               \
                printf("  %s:%d: %s = %.9g, expected %.9g within %g\n", __FILE__, __LINE__,      \
                       #got, got_, want_, (double)(tolerance));                                  \
        }                                                                                        \
    } while (0)

#define CHECK_TEXT(got, want)                                                                    \
    do {                                                                                         \
        const char *got_ = (got), *want_ = (want);                                               \
        if (!strstr(got_, want_)) {                                                              \
            if (test_faults++ < 5)                                                               \
                printf("  %s:%d: \"%s\" does not contain \"%s\"\n", __FILE__, __LINE__, got_,    \
                       want_);                                                                   \
        }                                                                                        \
    } while (0)

typedef struct test_entry {
    const char *name;
    void (*run)(void);
} test_entry;

static int test_run(const test_entry *tests, int count, int argc, char **argv)
{
    int i, passed = 0, failed = 0;
    for (i = 0; i < count; i++) {
        if (argc > 1 && !strstr(tests[i].name, argv[1])) continue;
        test_faults = 0;
        tests[i].run();
        printf("%s %s\n", test_faults ? "FAIL" : "ok  ", tests[i].name);
        fflush(stdout);
        if (test_faults) failed++;
        else passed++;
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}

#define TEST_ENTRY(name) {#name, test_##name}
/* TEST_MAIN(TEST_ENTRY(a), TEST_ENTRY(b), ...) */
#define TEST_MAIN(...)                                                                           \
    int main(int argc, char **argv)                                                              \
    {                                                                                            \
        static const test_entry tests[] = {__VA_ARGS__};                                         \
        return test_run(tests, (int)(sizeof(tests) / sizeof(tests[0])), argc, argv);             \
    }
#endif
