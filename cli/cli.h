/* The command `pith`: one table of sub-commands, one file each; what they share is declared here.
 * Answers go to stdout, everything else to stderr. A command returns its exit code. */
#ifndef PITH_CLI_H
#define PITH_CLI_H

#include "libpith/base/buffer.h"
#include <jansson.h>
#include <pith/error.h>
#include <stdbool.h>
#include <stdint.h>

/* Exit codes, also in pith(1). Scripts rely on them: numbers are never reused. */
enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,      /* it was tried and did not work */
    CLI_USAGE = 2,       /* the command line or an input file is not as it must be; nothing was done */
    CLI_REFUSED = 3,     /* a gateway or broker refused: a key that isn't trusted, a model that isn't acceptable */
    CLI_TIMED_OUT = 4,   /* no outcome within the time that was given */
    CLI_UNREACHABLE = 5, /* the broker or the daemon is away */
};

struct cli_command {
    const char *name;
    const char *arguments; /* "DIR --to TARGET --sign KEY" */
    const char *summary;   /* one line */
    const char *text;      /* a paragraph and examples for --help */
    int (*run)(const struct cli_command *command, int argc, char **argv);
};

extern const struct cli_command command_bench, command_convert, command_compare, command_compress, command_eval, command_gc, command_inspect, command_keygen,
    command_plugins, command_push, command_run, command_sensitivity, command_status, command_telemetry, command_watch;

/* ---- options ---- */
enum cli_option_type { CLI_FLAG, CLI_TEXT, CLI_INT, CLI_SECONDS };

struct cli_option { /* tables end with a NULL name */
    const char *name;
    enum cli_option_type type;
    void *to;             /* bool, const char *, int64_t, int64_t (ms) */
    const char *value;    /* what stands for the value in the help: "KEY" */
    const char *help;
    int64_t minimum, maximum; /* of CLI_INT */
};

#define CLI_MAX_ARGUMENTS 64
struct cli_arguments {
    const char *given[CLI_MAX_ARGUMENTS]; /* what is no option, in order */
    size_t count;
};

/* Reads the command line by the tables (NULL ends them). CLI_GO_ON, or the exit code: --help was asked for and printed, or
 * the fault was told. least, most: how many arguments there must be. */
#define CLI_GO_ON (-1)
int cli_parse(const struct cli_command *command, const struct cli_option *const *tables, size_t least, size_t most,
              int argc, char **argv, struct cli_arguments *out);

/* Tells the fault on stderr and gives the exit code for it. */
int cli_fail(const struct pith_error *err);
int cli_usage(const struct cli_command *command, const char *format, ...) PITH_PRINTF(2, 3); /* CLI_USAGE */

#endif
