/* pith: finds the sub-command and hands over. */
#include <config.h>

#include "cli/cli.h"

#include "libpith/base/file.h"
#include "libpith/base/names.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct cli_command *const commands[] = {
    &command_keygen,    &command_push,    &command_gc,       &command_status,  &command_watch,
    &command_telemetry, &command_plugins, &command_inspect,  &command_convert, &command_run,
    &command_eval,      &command_compare, &command_compress, &command_bench,
    &command_sensitivity,
};
#define COMMAND_COUNT (sizeof commands / sizeof *commands)

static void print_help(FILE *to)
{
    fprintf(to, "pith " PACKAGE_VERSION
                ": keeps the essence of a model and drops the rest\n\nusage: pith COMMAND ...\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(to, "  %-11s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(to, "\npith COMMAND --help says more; pith(1) says all.\n");
}

/* The exit code, once all that was said has gone out. */
static int written(int code)
{
    if (fflush(stdout) != EOF && !ferror(stdout))
        return code;
    fprintf(stderr, "pith: the output can't be written\n");
    return code == CLI_OK ? CLI_FAILED : code;
}

int main(int argc, char **argv)
{
    const char *known[COMMAND_COUNT + 1] = {0};
    const char *nearest;

    pith_hold_standard_files();
    (void) signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of one write, not the end */
    if (argc < 2) {
        print_help(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return written(CLI_OK);
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("pith " PACKAGE_VERSION);
        return written(CLI_OK);
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        known[i] = commands[i]->name;
        if (strcmp(commands[i]->name, argv[1]) == 0)
            return written(commands[i]->run(commands[i], argc - 1, argv + 1));
    }
    nearest = pith_nearest_name(argv[1], known);
    if (nearest)
        fprintf(stderr, "pith: there is no command \"%s\"; did you mean \"%s\"?\n", argv[1],
                nearest);
    else
        fprintf(stderr, "pith: there is no command \"%s\"; pith --help lists them\n", argv[1]);
    return CLI_USAGE;
}
