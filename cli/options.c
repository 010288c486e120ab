/* Command lines read by tables, and help written from them. */
#include "cli/cli.h"

#include "libpith/base/names.h"
#include "libpith/base/yaml.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void print_help(const struct cli_command *command, const struct cli_option *const *tables)
{
    printf("pith %s: %s\n\nusage: pith %s %s\n\n%s\n\noptions:\n", command->name, command->summary,
           command->name, command->arguments, command->text);
    for (; *tables; tables++)
        for (const struct cli_option *option = *tables; option->name; option++) {
            char left[64];

            (void) snprintf(left, sizeof left, "--%s%s%s", option->name, option->value ? " " : "",
                            option->value ? option->value : "");
            printf("  %-24s %s\n", left, option->help);
        }
    printf("  %-24s %s\n", "--help", "this text");
}

static const struct cli_option *find_option(const struct cli_option *const *tables,
                                            const char *name, size_t length)
{
    for (; *tables; tables++)
        for (const struct cli_option *option = *tables; option->name; option++)
            if (strlen(option->name) == length && strncmp(option->name, name, length) == 0)
                return option;
    return NULL;
}

static int unknown_option(const struct cli_command *command, const struct cli_option *const *tables,
                          const char *name)
{
    const char *known[64] = {0};
    const char *nearest;
    size_t count = 0;

    for (; *tables; tables++)
        for (const struct cli_option *option = *tables; option->name && count < 63; option++)
            known[count++] = option->name;
    nearest = pith_nearest_name(name, known);
    if (nearest)
        return cli_usage(command, "there is no option --%s; did you mean --%s?", name, nearest);
    return cli_usage(command, "there is no option --%s", name);
}

static int read_value(const struct cli_command *command, const struct cli_option *option,
                      const char *text)
{
    int64_t number;
    double ms;

    switch (option->type) {
    case CLI_TEXT:
        *(const char **) option->to = text;
        return CLI_GO_ON;
    case CLI_INT:
        if (pith_yaml_read_int(text, &number) < 0 || number < option->minimum ||
            number > option->maximum)
            return cli_usage(command, "--%s: \"%s\" is not a whole number between %lld and %lld",
                             option->name, text, (long long) option->minimum,
                             (long long) option->maximum);
        *(int64_t *) option->to = number;
        return CLI_GO_ON;
    default: /* CLI_SECONDS: a bare number is seconds, and the words of durations are taken too */
        if (pith_yaml_read_number(text, &ms) == 0)
            ms *= 1000;
        else if (pith_yaml_read_duration_ms(text, &ms) < 0)
            ms = -1;
        if (ms < 0 || ms > 1e12)
            return cli_usage(command, "--%s: \"%s\" is not a time; write seconds, or 500ms, 2m, 1h",
                             option->name, text);
        *(int64_t *) option->to = (int64_t) ms;
        return CLI_GO_ON;
    }
}

static int take_option(const struct cli_command *command, const struct cli_option *const *tables,
                       int argc, char **argv, int *at)
{
    const char *name = argv[*at] + 2;
    const char *equals = strchr(name, '=');
    size_t length = equals ? (size_t) (equals - name) : strlen(name);
    const struct cli_option *option = find_option(tables, name, length);

    if (!option)
        return unknown_option(command, tables, name);
    if (option->type == CLI_FLAG) {
        if (equals)
            return cli_usage(command, "--%s takes no value", option->name);
        *(bool *) option->to = true;
        return CLI_GO_ON;
    }
    if (equals)
        return read_value(command, option, equals + 1);
    if (*at + 1 >= argc)
        return cli_usage(command, "--%s needs a value: %s", option->name, option->value);
    ++*at;
    return read_value(command, option, argv[*at]);
}

/* The argument after those that were given, by its name in the usage: "MODEL INPUT..." */
static int missing(const struct cli_command *command, size_t given)
{
    const char *word = command->arguments;

    for (; given > 0 && strchr(word, ' '); given--)
        word = strchr(word, ' ') + 1;
    return cli_usage(command, "%.*s is missing", (int) strcspn(word, " ."), word);
}

int cli_parse(const struct cli_command *command, const struct cli_option *const *tables,
              size_t least, size_t most, int argc, char **argv, struct cli_arguments *out)
{
    bool options_end = false;

    *out = (struct cli_arguments){.count = 0};
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        int code;

        if (!options_end && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) {
            print_help(command, tables);
            return CLI_OK;
        }
        if (!options_end && strcmp(word, "--") == 0) {
            options_end = true;
        } else if (!options_end && strcmp(word, "-o") == 0 && i + 1 < argc &&
                   find_option(tables, "out", 3)) {
            code = read_value(command, find_option(tables, "out", 3), argv[++i]);
            if (code != CLI_GO_ON)
                return code;
        } else if (!options_end && strncmp(word, "--", 2) == 0) {
            code = take_option(command, tables, argc, argv, &i);
            if (code != CLI_GO_ON)
                return code;
        } else if (!options_end && word[0] == '-' && word[1]) {
            return cli_usage(command, "there is no option %s", word);
        } else if (out->count >= most || out->count >= CLI_MAX_ARGUMENTS) {
            return cli_usage(command, "\"%s\" is one argument too many", word);
        } else {
            out->given[out->count++] = word;
        }
    }
    if (out->count < least)
        return missing(command, out->count);
    return CLI_GO_ON;
}

int cli_usage(const struct cli_command *command, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fprintf(stderr, "pith %s: ", command->name);
    (void) vfprintf(stderr, format, arguments);
    fprintf(stderr, "\nusage: pith %s %s\npith %s --help says more\n", command->name,
            command->arguments, command->name);
    va_end(arguments);
    return CLI_USAGE;
}

int cli_fail(const struct pith_error *err)
{
    fprintf(stderr, "pith: %s\n", pith_error_text(err));
    switch (-err->code) {
    case EINVAL:
    case EACCES:
    case EEXIST:
    case EISDIR:
    case ENOTDIR:
    case ENOENT:
        return CLI_USAGE;
    case EKEYREJECTED:
    case EPERM:
        return CLI_REFUSED;
    case ETIMEDOUT:
        return CLI_TIMED_OUT;
    case ENOTCONN:
    case ECONNREFUSED:
    case EHOSTUNREACH:
        return CLI_UNREACHABLE;
    default:
        return CLI_FAILED;
    }
}
