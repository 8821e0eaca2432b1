/* Numbers to text and back, against the C library in the C locale; nearest words.
   build: cc -O2 text.c -o text -lm */
#define _XOPEN_SOURCE 700
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"
#include <locale.h>

static uint64_t seed = 88172645463325252u;

static uint64_t draw(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static double draw_double(void)
{
    uint64_t u = draw();
    double d;
    memcpy(&d, &u, sizeof(d));
    return d;
}

static const char *shortest(double v, int single)
{
    static char s[40];
    drli_text t = drli_text_begin(s, sizeof(s));
    drli_text_shortest(&t, v, single);
    return s;
}

static double parsed(const char *s)
{
    const char *end = s;
    double v = -12345;
    if (!drli_parse_double(s, &end, &v) || *end) return -12345;
    return v;
}

TEST(known_numbers)
{
    static const double values[] = {0, 1, -1, 0.1, 0.5, 0.99, 1e-5, 3e-4, 1e22, 1e23, 123456789,
        1e-300,
                                    9007199254740993.0, 0.30000000000000004, 1.7976931348623157e308,
                                    2.2250738585072014e-308, 5e-324, 123456, 1234567890123456789.0};
    static const char *const texts[] = {
        "0", "1", "-1", "0.1", "0.5", "0.99", "1e-5", "3e-4", "1e22", "1e23", "1e-300", "0.25",
        "256",
        "1000000", "0.001", "-2.5e-7"};
    int i;
    for (i = 0; i < DRLI_COUNT(values); i++) {
        char c[40];
        snprintf(c, sizeof(c), "%.17g", values[i]);
        CHECK(parsed(c) == values[i]);
        CHECK(parsed(shortest(values[i], 0)) == values[i]);
    }
    for (i = 0; i < DRLI_COUNT(texts); i++) {
        CHECK(parsed(texts[i]) == strtod(texts[i], NULL));
        CHECK(parsed(shortest(parsed(texts[i]), 1)) == parsed(texts[i]) ||
              (float)parsed(shortest(parsed(texts[i]), 1)) == (float)parsed(texts[i]));
    }
    CHECK_TEXT(shortest(0.1, 0), "0.1");
    CHECK(!strcmp(shortest((double)0.1f, 1), "0.1"));
    CHECK(!strcmp(shortest((double)3e-4f, 1), "0.0003"));
    CHECK(!strcmp(shortest(0.30000000000000004, 0), "0.30000000000000004"));
    CHECK(!strcmp(shortest(-HUGE_VAL, 0), "-inf") && !strcmp(shortest(NAN, 1), "nan"));
    CHECK(!strcmp(shortest(-0.0, 1), "-0") && 1 / parsed("-0") < 0);
}

TEST(forms_of_numbers)
{
    static const struct {
        const char *text;
        double value;
        int taken;
    } forms[] = {
        {"1", 1, 1}, {"+1", 1, 2}, {"-1.5e+2x", -150, 7}, {".5", 0.5, 2}, {"5.", 5, 2},
        {"1e", 1, 1},
        {"1e+", 1, 1}, {"1.2.3", 1.2, 3}, {"1,5", 1, 1}, {"007", 7, 3}, {"0x10", 0, 1},
        {"1e99999999999999", HUGE_VAL, 16}, {"-1e400", -HUGE_VAL, 6}, {"1e-99999999", 0, 11},
        {"0e999", 0, 5}, {"123456789012345678901234567890", 123456789012345678901234567890.0, 30},
        {"0.0000000000000000000000000000001", 1e-31, 33}, {"1.7976931348623159e308", HUGE_VAL, 22}};
    static const char *const none[] = {"", "-", "+", ".", "-.", "e5", ".e5", "inf", "nan", " 1",
        "--1"};
    const char *end;
    double v;
    int i;
    for (i = 0; i < DRLI_COUNT(forms); i++) {
        CHECK(drli_parse_double(forms[i].text, &end, &v) && v == forms[i].value);
        CHECK(end - forms[i].text == forms[i].taken);
    }
    for (i = 0; i < DRLI_COUNT(none); i++) CHECK(!drli_parse_double(none[i], &end, &v));
}

/* 10^6 floats over all exponents come back; 9 digits are always enough */
TEST(floats_come_back)
{
    int i, bad = 0, other = 0;
    for (i = 0; i < 1000000; i++) {
        uint32_t u = (uint32_t)(draw() >> 32);
        float f;
        const char *s;
        memcpy(&f, &u, sizeof(f));
        if (!(fabsf(f) <= 3.4028234e38f)) continue;
        s = shortest((double)f, 1);
        bad += (float)parsed(s) != f;
        other += strtof(s, NULL) != f; /* and for other programs */
    }
    CHECK(bad == 0);
    CHECK(other == 0);
}

/* random bits, 17 digits: the same double as the C library reads, but for numbers below 2.2e-308 */
TEST(doubles_come_back)
{
    int i, bad = 0, other = 0, wrong = 0, n = 0;
    for (i = 0; i < 300000; i++) {
        double d = draw_double();
        char c[40];
        const char *s;
        if (!(fabs(d) <= 1.7976931348623157e308) || fabs(d) < 2.3e-308) continue;
        snprintf(c, sizeof(c), "%.*g", (int)(draw() % 19) + 1, d);
        wrong += parsed(c) != strtod(c, NULL);
        if (n++ % 8) continue;
        s = shortest(d, 0);
        bad += parsed(s) != d;
        other += strtod(s, NULL) != d;
    }
    CHECK(wrong == 0);
    CHECK(bad == 0);
    CHECK(other == 0);
}

TEST(locale_does_not_matter)
{
    if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "de_DE.utf8")) {
        printf("  no de_DE locale here\n");
        return;
    }
    CHECK(parsed("1.5") == 1.5 && !strcmp(shortest(1.5, 1), "1.5"));
    CHECK(parsed("1,5") == -12345);
    setlocale(LC_ALL, "C");
}

TEST(nearest_words)
{
    static const char *const words[] = {"dime", "qvpo", "dacer", "dppo", "HalfCheetah-v5",
        "Hopper-v5",
                                        "learning_rate", "--eval-every"};
    static const char *const typos[][2] = {
        {"dim", "dime"}, {"DIME", "dime"}, {"idme", "dime"}, {"qvop", "qvpo"}, {"darcer", "dacer"},
        {"halfcheetah", "HalfCheetah-v5"}, {"HalfChetah-v5", "HalfCheetah-v5"},
        {"hoper_v5", "Hopper-v5"}, {"learning-rat", "learning_rate"},
        {"--eval_evry", "--eval-every"}};
    char longest[300];
    const char *got;
    int i;
    for (i = 0; i < DRLI_COUNT(typos); i++) {
        got = drl_text_nearest(typos[i][0], words, DRLI_COUNT(words));
        CHECK(got && !strcmp(got, typos[i][1]));
    }
    CHECK(!drl_text_nearest("xyz", words, DRLI_COUNT(words)));
    CHECK(!drl_text_nearest("", words, DRLI_COUNT(words)) && !drl_text_nearest("dime", words, 0));
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = 0;
    CHECK(!drl_text_nearest(longest, words, DRLI_COUNT(words)));
    CHECK(drli_words_distance("kitten", "sitting") == 3 && drli_words_distance("ab", "ba") == 2);
    CHECK(drli_words_distance("", "abc") == 3 && drli_words_distance("abc", "") == 3);
    CHECK(drli_words_distance("ca", "abc") == 3);
    CHECK(drli_words_equal("Learning-Rate", "learning_rate") && !drli_words_equal("a", "ab"));
}

TEST_MAIN(TEST_ENTRY(known_numbers), TEST_ENTRY(forms_of_numbers), TEST_ENTRY(floats_come_back),
          TEST_ENTRY(doubles_come_back), TEST_ENTRY(locale_does_not_matter),
              TEST_ENTRY(nearest_words))
