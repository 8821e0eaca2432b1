/* Flags of the command line in a file: --config FILE.

     # a comment
     task = Hopper-v5         a flag and its value
     quiet                    a flag without value
     [set]                    from here on KEY = VALUE of --set
     lr_actor = 1e-4
     [task-set]               and of --task-set
     healthy_reward = 2

   They count as if they stood before those of the command line, which therefore win. train
   --dump-config prints such a file. */
#ifndef CONFIG_H
#define CONFIG_H

#include "mujoco/run.h"

#define CONFIG_LINES 256

/* A command line with what the file says in it. */
typedef struct config_args {
    char *argv[2 * CONFIG_LINES + 256];
    char *text, lines[CONFIG_LINES][320];
    int argc;
} config_args;

/* Cut blanks off both ends. */
static inline char *config_trim(char *text)
{
    size_t n;
    text += strspn(text, " \t\r");
    n = strlen(text);
    while (n && strchr(" \t\r\n", text[n - 1])) n--;
    text[n] = 0;
    return text;
}

/* Add what a line says: section is "" or the flag that its keys belong to. */
static inline int config_line(config_args *c, int number, char *text, char *section, size_t n)
{
    char *line = c->lines[number % CONFIG_LINES], *equals, *value;
    size_t length;
    text = config_trim(text);
    if (!*text || *text == '#' || *text == ';') return 0;
    length = strlen(text);
    if (*text == '[') {
        snprintf(section, n, "%.*s", length > 2 ? (int)length - 2 : 0, text + 1);
        return text[length - 1] != ']' || (strcmp(section, "set") && strcmp(section, "task-set"));
    }
    equals = strchr(text, '=');
    value = equals ? config_trim(equals + 1) : NULL;
    if (equals) *equals = 0;
    text = config_trim(text);
    if (!*text || run_same(text, "config") || (*section && !value)) return 1;
    if (strlen(text) > 63 || (value && strlen(value) > 240)) return 1;
    if (*section) snprintf(line, sizeof c->lines[0], "--%.9s=%.63s=%.240s", section, text, value);
    else if (value) snprintf(line, sizeof c->lines[0], "--%.63s=%.240s", text, value);
    else snprintf(line, sizeof c->lines[0], "--%.63s", text);
    c->argv[c->argc++] = line;
    return 0;
}

static inline int config_read(config_args *c, const char *program, const char *path)
{
    char line[512], section[32] = "";
    FILE *f = fopen(path, "r");
    int number = 0, rc = RUN_OK;
    if (!f) {
        fprintf(stderr, "%s: cannot open %s: %s\n", program, path, strerror(errno));
        return RUN_FILE;
    }
    while (rc == RUN_OK && fgets(line, sizeof line, f)) {
        if (number++ < CONFIG_LINES && strlen(line) < sizeof line - 1 &&
            !config_line(c, number, line, section, sizeof section))
            continue;
        fprintf(stderr, "%s: %s: line %d: expected FLAG = VALUE, FLAG, [set] or [task-set], in at "
                "most %d lines\n", program, path, number, CONFIG_LINES);
        rc = RUN_FILE;
    }
    fclose(f);
    return rc;
}

/* Put what the file of --config says before the arguments. Returns an exit code. */
static inline int config_open(config_args *c, const char *program, int argc, char **argv)
{
    int i, rc = RUN_OK;
    memset(c, 0, sizeof *c);
    c->argv[c->argc++] = argv[0];
    for (i = 1; i < argc && rc == RUN_OK && strcmp(argv[i], "--"); i++) {
        if (!strncmp(argv[i], "--config=", 9)) rc = config_read(c, program, argv[i] + 9);
        else if (!strcmp(argv[i], "--config") && i + 1 < argc)
            rc = config_read(c, program, argv[i + 1]);
        else continue;
        break; /* one file */
    }
    for (i = 1; i < argc && c->argc + 1 < RUN_COUNT(c->argv); i++) c->argv[c->argc++] = argv[i];
    return rc;
}

/* Print the fields as lines of such a file, in a section. */
static inline void config_print(drl_context *ctx, const drl_field *fields, int count,
                                const void *config)
{
    char text[DRL_FIELD_TEXT];
    int i;
    for (i = 0; i < count; i++) {
        const char *name = fields[i].name;
        if (run_same(name, "obs_dim") || run_same(name, "act_dim") || run_same(name, "seed"))
            continue;
        drl_fields_get(ctx, fields, count, config, name, text);
        printf("%s = %s\n", name, text);
    }
}

#endif /* CONFIG_H */
