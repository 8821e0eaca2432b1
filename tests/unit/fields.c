/* Config structs as text: values that are taken, values that are refused and with what words, round
   trips through text and through the metadata of a file.
   build: cc -O2 fields.c -o fields -lm */
#define _XOPEN_SOURCE 700
#define DIFFRL_IMPLEMENTATION
#include "../../diffrl.h"
#include "../test.h"
#include <locale.h>

typedef enum shade { SHADE_RED, SHADE_GREEN, SHADE_DARK_BLUE } shade;

typedef struct inner {
    float rate;
} inner;

typedef struct config {
    char before;
    int width;
    int64_t steps;
    uint64_t seed;
    float gamma;
    double scale;
    int flag;
    shade color;
    inner critic;
    float clip;
    char after;
} config;

static const drl_field fields[] = {
    DRL_FIELD(config, width, INT, 256, 1, 4096, "hidden width"),
    DRL_FIELD(config, steps, INT64, 1e6, 0, 0, "environment steps"),
    DRL_FIELD(config, seed, UINT64, 1, 0, 0, "of all random numbers"),
    DRL_FIELD(config, gamma, FLOAT, 0.99, 0, 0.999, "discount"),
    DRL_FIELD(config, scale, DOUBLE, 2.5, 0, 0, "any number"),
    DRL_FIELD(config, flag, BOOL, 0, 0, 0, "yes or no"),
    DRL_FIELD(config, color, CHOICE, 1, 0, 0, "red|green|dark_blue: paint"),
    DRL_FIELD(config, critic.rate, FLOAT, 3e-4, 1e-9, 1, "of the critic"),
    DRL_FIELD(config, clip, FLOAT, 1, 0, HUGE_VAL, "inf: none")};
#define N DRLI_COUNT(fields)

static drl_context ctx;
static const config start = {7, 256, 1000000, 1, 0.99f, 2.5, 0, SHADE_GREEN, {3e-4f}, 1, 9};

static const char *get(const config *c, const char *key)
{
    static char text[4][DRL_FIELD_TEXT];
    static int at;
    at = (at + 1) % 4;
    CHECK(drl_fields_get(&ctx, fields, N, c, key, text[at]) == DRL_OK);
    return text[at];
}

TEST(defaults_are_those_of_the_table)
{
    config c;
    int i;
    memset(&c, 0x55, sizeof(c));
    c.before = start.before;
    c.after = start.after;
    drl_fields_default(fields, N, &c);
    for (i = 0; i < N; i++) CHECK_TEXT(get(&c, fields[i].name), get(&start, fields[i].name));
    CHECK(c.gamma == .99f && c.critic.rate == 3e-4f && c.before == 7 && c.after == 9);
}

TEST(values_are_taken)
{
    static const char *const rows[][3] = {
        {"width", "17", "17"}, {"WIDTH", "1e3", "1000"}, {"width", "+4096", "4096"},
        {"width", "2.0", "2"},
        {"steps", "-9223372036854775808", "-9223372036854775808"},
        {"steps", "1e15", "1000000000000000"},
        {"steps", "9223372036854775807", "9223372036854775807"}, {"seed", "0", "0"},
        {"seed", "-0", "0"},
        {"seed", "18446744073709551615", "18446744073709551615"}, {"seed", "12345678901234567890",
        "12345678901234567890"}, {"gamma", ".5", "0.5"}, {"gamma", "0.999", "0.999"},
        {"gamma", "0", "0"},
        {"scale", "-1e-300", "-1e-300"}, {"scale", "0.1", "0.1"}, {"scale", "inf", "inf"},
        {"scale", "-INF", "-inf"}, {"flag", "true", "true"}, {"flag", "NO", "false"},
        {"flag", "1", "true"},
        {"flag", "off", "false"}, {"color", "red", "red"}, {"color", "Dark-Blue", "dark_blue"},
        {"critic.rate", "1e-9", "1e-9"}, {"critic.rate", "0.0003", "0.0003"},
        {"clip", "inf", "inf"},
        {"clip", "3.4028235e38", "3.4028235e38"}};
    config c = start;
    int i;
    for (i = 0; i < DRLI_COUNT(rows); i++) {
        CHECK(drl_fields_set(&ctx, fields, N, &c, rows[i][0], rows[i][1]) == DRL_OK);
        CHECK_TEXT(get(&c, rows[i][0]), rows[i][2]);
        CHECK(strlen(get(&c, rows[i][0])) == strlen(rows[i][2]));
    }
    CHECK(c.before == 7 && c.after == 9 && c.width == 2 && c.color == SHADE_DARK_BLUE);
    CHECK(c.seed == 12345678901234567890u && c.gamma == 0 && c.critic.rate == start.critic.rate);
    CHECK(drl_fields_check(&ctx, fields, N, &c) == DRL_OK);
}

TEST(values_are_refused)
{
    static const char *const rows[][3] = {
        {"width", "0", "width: expected a whole number from 1 to 4096, got '0' (hidden width)"},
        {"width", "4097", "got '4097'"}, {"width", "1.5", "got '1.5'"}, {"width", "", "got ''"},
        {"width", "12x", "got '12x'"}, {"width", " 12", "got ' 12'"}, {"width", "inf", "got 'inf'"},
        {"width", "99999999999", "whole number"}, {"width", "-1", "from 1"},
        {"width", "1e20", "got"},
        {"width", "\x1b[31m", "got '?[31m'"}, {"width", "-", "got '-'"},
        {"steps", "9223372036854775808", "steps: expected a whole number, got"},
        {"steps", "-9223372036854775809", "got"}, {"steps", "99999999999999999999", "got"},
        {"seed", "-1", "seed: expected a whole number, got '-1'"},
        {"seed", "18446744073709551616", "got"},
        {"gamma", "1", "gamma: expected a number from 0 to 0.999, got '1' (discount)"},
        {"gamma", "nan", "got 'nan'"}, {"gamma", "0,5", "got '0,5'"}, {"gamma", "1e-3.", "got"},
        {"gamma", "inf", "got 'inf'"}, {"scale", "nan", "scale: expected a number, got 'nan'"},
        {"scale", "1e999", "got '1e999'"}, {"clip", "1e39", "from 0 to inf, got '1e39'"},
        {"clip", "-inf", "got '-inf'"}, {"flag", "2", "flag: expected true or false, got '2'"},
        {"flag", "", "true or false"},
        {"color", "blue", "color: expected one of the names, got 'blue' (red|green|dark_blue: p"},
        {"color", "", "got ''"}, {"color", "red|green", "got 'red|green'"},
        {"color", "0", "got '0'"},
        {"critic.rate", "0", "from 1e-9 to 1, got '0'"}};
    config c;
    int i;
    memcpy(&c, &start, sizeof(c)); /* with padding */
    for (i = 0; i < DRLI_COUNT(rows); i++) {
        CHECK(drl_fields_set(&ctx, fields, N, &c, rows[i][0], rows[i][1]) == DRL_ERR_RANGE);
        CHECK_TEXT(drl_context_error(&ctx), rows[i][2]);
        CHECK(!strchr(drl_context_error(&ctx), 27));
    }
    CHECK(!memcmp(&c, &start, sizeof(c)));
}

TEST(unknown_keys_get_the_nearest)
{
    config c;
    char text[DRL_FIELD_TEXT] = "old";
    memcpy(&c, &start, sizeof(c));
    CHECK(drl_fields_set(&ctx, fields, N, &c, "gama", "1") == DRL_ERR_NAME);
    CHECK_TEXT(drl_context_error(&ctx), "there is no setting 'gama'; did you mean 'gamma'?");
    CHECK(drl_fields_set(&ctx, fields, N, &c, "critic_rate", "1") == DRL_ERR_NAME);
    CHECK_TEXT(drl_context_error(&ctx), "did you mean 'critic.rate'?");
    CHECK(drl_fields_set(&ctx, fields, N, &c, "temperature", "1") == DRL_ERR_NAME);
    CHECK_TEXT(drl_context_error(&ctx), "nor one with a name like it");
    CHECK(drl_fields_get(&ctx, fields, N, &c, "\x1b", text) == DRL_ERR_NAME && !text[0]);
    CHECK_TEXT(drl_context_error(&ctx), "'?'");
    CHECK(drl_fields_set(&ctx, NULL, 0, &c, "gamma", "1") == DRL_ERR_NAME);
    CHECK(!memcmp(&c, &start, sizeof(c)));
}

TEST(check_finds_what_is_out_of_range)
{
    config c = start;
    CHECK(drl_fields_check(&ctx, fields, N, &c) == DRL_OK);
    c.gamma = 0.999f; /* 0.999 rounded up: still the bound */
    CHECK(drl_fields_check(&ctx, fields, N, &c) == DRL_OK);
    c.gamma = 1.5f;
    CHECK(drl_fields_check(&ctx, fields, N, &c) == DRL_ERR_RANGE);
    CHECK_TEXT(drl_context_error(&ctx), "gamma: expected a number from 0 to 0.999, got '1.5'");
    c.gamma = NAN;
    CHECK(drl_fields_check(&ctx, fields, N, &c) == DRL_ERR_RANGE);
    CHECK_TEXT(drl_context_error(&ctx), "got 'nan'");
    c = start;
    c.scale = NAN;
    CHECK(drl_fields_check(&ctx, fields, N, &c) == DRL_ERR_RANGE);
    c = start;
    c.flag = 2;
    CHECK(drl_fields_check(&ctx, fields, N, &c) == DRL_ERR_RANGE);
    CHECK_TEXT(drl_context_error(&ctx), "flag: expected true or false, got '2'");
    c = start;
    c.width = -5;
    CHECK(drl_fields_check(&ctx, fields, N, &c) == DRL_ERR_RANGE);
    CHECK_TEXT(drl_context_error(&ctx), "got '-5'");
    c = start;
    memset(&c.color, 0, sizeof(c.color));
    CHECK(drl_fields_check(&ctx, fields, N, &c) == DRL_OK);
    c.color = (shade)3;
    CHECK(drl_fields_check(&ctx, fields, N, &c) == DRL_ERR_RANGE);
    CHECK_TEXT(drl_context_error(&ctx), "color: expected one of the names, got '3' (red|green");
}

TEST(config_travels_in_a_file)
{
    static unsigned char bytes[4096];
    config c = start, back;
    drl_state state;
    drl_meta meta;
    drl_file file;
    size_t size;
    c.gamma = 0.1f;
    c.scale = 0.1 + 0.2;
    c.seed = 0xffffffffffffffffu;
    c.clip = HUGE_VALF;
    c.color = SHADE_DARK_BLUE;
    setlocale(LC_ALL, "de_DE.UTF-8");
    drl_state_init(&state, &ctx);
    drl_meta_init(&meta, &ctx);
    drl_meta_set(&meta, "algo", "dime");
    CHECK(drli_fields_to_meta(fields, N, &c, &meta) == DRL_OK);
    CHECK(!strcmp(drl_meta_get(&meta, "config.color"), "dark_blue"));
    CHECK(!strcmp(drl_meta_get(&meta, "config.critic.rate"), "0.0003"));
    CHECK(drl_state_save_memory(&ctx, &state, &meta, bytes, sizeof(bytes), &size) == DRL_OK);
    CHECK(drl_file_open_memory(&file, &ctx, bytes, size) == DRL_OK);
    memset(&back, 0, sizeof(back));
    back.before = 7;
    back.after = 9;
    CHECK(drli_fields_from_meta(&ctx, fields, N, &back, &file.meta) == DRL_OK);
    CHECK(back.width == c.width && back.steps == c.steps && back.seed == c.seed);
    CHECK(back.gamma == c.gamma && back.scale == c.scale && back.clip == c.clip);
    CHECK(back.flag == c.flag && back.color == c.color && back.critic.rate == c.critic.rate);
    CHECK(back.before == 7 && back.after == 9);
    drl_meta_set(&file.meta, "config.gamma", "7");
    CHECK(drli_fields_from_meta(&ctx, fields, N, &back, &file.meta) == DRL_ERR_RANGE);
    drl_meta_set(&file.meta, "config.gamma", "0.5");
    drl_meta_set(&file.meta, "config.newer", "1");
    CHECK(drli_fields_from_meta(&ctx, fields, N, &back, &file.meta) == DRL_ERR_NAME);
    drl_state_free(&state);
    drl_meta_free(&meta);
    drl_file_close(&file);
    setlocale(LC_ALL, "C");
}

int main(int argc, char **argv)
{
    static const test_entry tests[] = {
        TEST_ENTRY(defaults_are_those_of_the_table), TEST_ENTRY(values_are_taken), TEST_ENTRY(values_are_refused),
        TEST_ENTRY(unknown_keys_get_the_nearest), TEST_ENTRY(check_finds_what_is_out_of_range),
        TEST_ENTRY(config_travels_in_a_file)};
    int failed;
    if (drl_context_init(&ctx, NULL) != DRL_OK) return 2;
    failed = test_run(tests, DRLI_COUNT(tests), argc, argv);
    drl_context_free(&ctx);
    return failed;
}
