/* pithd: reads the command line and the config, and runs. Everything else is in daemon.c and its
 * parts. */
#include "daemon/daemon.h"

#include <config.h>

#include "libpith/base/file.h"
#include "libpith/base/log.h"
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#define MAPPED_FROM_BYTES (64 * 1024) /* allocations that are mappings, and go back when freed */
#define EXIT_USAGE        2
#define EXIT_CONFIG       78 /* EX_CONFIG: the unit does not restart on it, as only a person can help */

static const char usage[] =
    "Usage: pithd [OPTION]...\n"
    "Compress models on this machine, run them on sensor data from MQTT, and measure them.\n"
    "\n"
    "  -c, --config FILE  read FILE instead of " PITH_CONF_DIR "/pithd.yaml\n"
    "      --check        tell all faults of the config and exit\n"
    "  -h, --help         show this and exit\n"
    "  -V, --version      show the version and exit\n"
    "\n"
    "Exit status: 0 stopped as asked, or no faults; 1 could not run; 2 bad command line;\n"
    "78 the config has faults. See pithd(8) and pithd.yaml(5).\n";

struct command_line {
    const char *config_path;
    bool check;
};

static void read_command_line(struct command_line *out, int count, char **words)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"check", no_argument, NULL, 'k'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    int option = 0;

    while ((option = getopt_long(count, words, "c:hV", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            out->config_path = optarg;
            break;
        case 'k':
            out->check = true;
            break;
        case 'h':
            exit(fputs(usage, stdout) == EOF || fflush(stdout) == EOF ? EXIT_FAILURE
                                                                      : EXIT_SUCCESS);
        case 'V':
            (void) puts("pithd " PACKAGE_VERSION);
            exit(EXIT_SUCCESS);
        default:
            (void) fputs("Try pithd --help.\n", stderr);
            exit(EXIT_USAGE);
        }
    }
    if (optind < count) {
        (void) fprintf(stderr, "pithd: \"%s\" is not expected; try pithd --help.\n", words[optind]);
        exit(EXIT_USAGE);
    }
}

/* The folders that plugins are looked for in may be named in the config, and the config names
 * plugins. So where it names folders, it is read twice. */
static int load(const char *path, struct config **out, struct pith_plugins **out_plugins)
{
    struct pith_error err = {0};
    char *faults = NULL, *plugin_path = NULL;
    struct pith_plugins *plugins = NULL;
    int rc = config_plugin_path(path, &plugin_path, &err);

    if (rc == 0)
        rc = pith_plugins_open(&plugins, plugin_path, &err);
    if (rc == 0)
        rc = config_load(out, path, plugins, &faults, &err);
    free(plugin_path);
    if (rc < 0) {
        (void) fprintf(stderr, "%s\n", faults ? faults : pith_error_text(&err));
        free(faults);
        pith_plugins_free(plugins);
        return rc;
    }
    *out_plugins = plugins;
    return 0;
}

int main(int count, char **words)
{
    struct command_line line = {.config_path = PITH_CONF_DIR "/pithd.yaml"};
    struct config *config = NULL;
    struct pith_plugins *plugins = NULL;
    struct pith_error err = {0};

    pith_hold_standard_files();
    /* A heap a thread would double the daemon's memory. Weights and arenas get mappings of their
     * own, at a fixed size: glibc would raise it with the first model that is freed, and the holes
     * that the next ones leave in a heap stay. */
    (void) mallopt(M_ARENA_MAX, 1);
    (void) mallopt(M_MMAP_THRESHOLD, MAPPED_FROM_BYTES);
    (void) mallopt(M_TRIM_THRESHOLD, MAPPED_FROM_BYTES);
    read_command_line(&line, count, words);
    if (load(line.config_path, &config, &plugins) < 0)
        return EXIT_CONFIG;
    if (line.check) {
        (void) printf("%s: no faults\n", line.config_path);
        config_free(config);
        pith_plugins_free(plugins);
        return EXIT_SUCCESS;
    }
    pith_log_set_level(config->log_level);
    if (daemon_run(line.config_path, config, plugins, &err) < 0) {
        log_error("start_failed", "reason=\"%s\"", pith_error_text(&err));
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
