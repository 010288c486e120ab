/* pith-worker: one job in a sandbox. Loads what it trusts (plugins), closes the walls, and only
 * then reads the model. Says how it goes as JSON lines on descriptor 3, or on stdout where there is
 * none:
 *   {"state": "compressing", "done_ratio": 0.4, "text": "quantize embedding"}
 *   {"code": -12, "error": "a sentence"}     at the end of a job that gave nothing usable */
#include "libpith/base/digest.h"
#include "libpith/base/file.h"
#include "libpith/base/json.h"
#include "libpith/base/log.h"
#include "libpith/compress/job.h"
#include "worker/sandbox.h"

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRESS_FD 3

enum exit_code { EXIT_DONE = 0, EXIT_JOB_FAILED = 1, EXIT_USAGE = 2, EXIT_NO_SANDBOX = 3 };

static const char usage[] =
    "Usage: pith-worker --job FOLDER [options]\n"
    "Vets, compresses and evaluates the model in FOLDER, in a sandbox. pithd starts it; by hand it "
    "is of use for debugging.\n"
    "  --plugins PATH    folders with plugins, ':' between them (default: the installed ones)\n"
    "  --read PATH       folders that may be read too, ':' between them\n"
    "  --memory BYTES    address space\n"
    "  --file BYTES      greatest size of a file that is written\n"
    "  --seconds N       CPU time\n"
    "  --idle            run only when nothing else wants the CPU\n"
    "  --parent PID      end when this process is not the parent any more\n"
    "Exit code: 0 done (result.json says what came out), 1 nothing usable, 2 usage, 3 no "
    "sandbox.\n";

struct options {
    struct sandbox sandbox;
    const char *plugins;
};

static volatile sig_atomic_t stop_asked;
static int progress_fd = STDOUT_FILENO;

static void ask_to_stop(int signal_number)
{
    (void) signal_number;
    stop_asked = 1;
}

static void say(json_t *taken)
{
    char *text = taken ? pith_json_text(taken) : NULL;

    if (text)
        (void) dprintf(progress_fd, "%s\n",
                       text); /* the daemon has gone: the death signal is on its way */
    free(text);
    json_decref(taken);
}

static void progress(void *user, const char *state, double done_ratio, const char *text)
{
    (void) user;
    say(json_pack("{s:s, s:f, s:s}", "state", state, "done_ratio", done_ratio, "text",
                  text ? text : ""));
}

static int cancelled(void *user)
{
    (void) user;
    return stop_asked;
}

static int number(const char *option, const char *text, int64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoll(text, &end, 10);
    if (errno || end == text || *end || *out < 0) {
        (void) fprintf(stderr, "pith-worker: --%s: %s is no number of 0 or more\n", option, text);
        return -EINVAL;
    }
    return 0;
}

static int read_options(struct options *out, int argc, char **argv)
{
    static const struct option known[] = {
        {"job", required_argument, NULL, 'j'},    {"plugins", required_argument, NULL, 'p'},
        {"read", required_argument, NULL, 'r'},   {"memory", required_argument, NULL, 'm'},
        {"file", required_argument, NULL, 'f'},   {"seconds", required_argument, NULL, 's'},
        {"parent", required_argument, NULL, 'P'}, {"idle", no_argument, NULL, 'i'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
    };
    int64_t parent = 0;
    int at = 0, option, rc = 0;

    while (rc == 0 && (option = getopt_long(argc, argv, "", known, &at)) != -1) {
        switch (option) {
        case 'j':
            out->sandbox.job_folder = optarg;
            break;
        case 'p':
            out->plugins = optarg;
            break;
        case 'r':
            out->sandbox.read_path = optarg;
            break;
        case 'm':
            rc = number("memory", optarg, &out->sandbox.memory_bytes);
            break;
        case 'f':
            rc = number("file", optarg, &out->sandbox.file_bytes);
            break;
        case 's':
            rc = number("seconds", optarg, &out->sandbox.seconds);
            break;
        case 'P':
            rc = number("parent", optarg, &parent);
            out->sandbox.parent = (pid_t) parent;
            break;
        case 'i':
            out->sandbox.idle = true;
            break;
        case 'h':
            (void) fputs(usage, stdout);
            exit(EXIT_DONE);
        default:
            rc = -EINVAL;
        }
    }
    if (rc == 0 && (!out->sandbox.job_folder || optind != argc)) {
        (void) fputs(usage, stderr);
        rc = -EINVAL;
    }
    return rc;
}

/* What libraries read once from places that the sandbox hides (OpenSSL its configuration) is read
 * now. */
static int warm_up(struct pith_error *err)
{
    uint8_t digest[PITH_SHA256_BYTES];
    int rc = pith_digest_open(err);

    if (rc == 0 && pith_sha256("", 0, digest) < 0)
        log_debug("worker_warm_up", "reason=\"SHA-256 of nothing failed\"");
    return rc;
}

static int run_job(const struct options *options, const struct pith_plugins *plugins)
{
    const struct pith_job_options job = {
        .folder = options->sandbox.job_folder,
        .plugins = plugins,
        .progress = progress,
        .cancelled = cancelled,
    };
    struct pith_error err = {0};
    int rc = pith_job_run(&job, &err);

    if (rc < 0) {
        err.code = rc;
        say(json_pack("{s:i, s:s}", "code", rc, "error", pith_error_text(&err)));
    }
    return rc < 0 ? EXIT_JOB_FAILED : EXIT_DONE;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    struct pith_plugins *plugins = NULL;
    struct pith_error err = {0};
    const struct sigaction stop = {.sa_handler = ask_to_stop};
    int code;

    pith_hold_standard_files();
    if (read_options(&options, argc, argv) < 0)
        return EXIT_USAGE;
    if (fcntl(PROGRESS_FD, F_GETFD) >= 0)
        progress_fd = PROGRESS_FD;
    (void) close_range(PROGRESS_FD + 1, ~0U,
                       0); /* sockets that libraries of the daemon left inheritable */
    (void) sigaction(SIGTERM, &stop, NULL);
    if (pith_plugins_open(&plugins, options.plugins, &err) < 0) {
        say(json_pack("{s:i, s:s}", "code", err.code, "error", pith_error_text(&err)));
        return EXIT_JOB_FAILED;
    }
    if (warm_up(&err) < 0 || pith_plugins_prepare(plugins, &err) < 0) {
        say(json_pack("{s:i, s:s}", "code", err.code, "error", pith_error_text(&err)));
        pith_plugins_free(plugins);
        return EXIT_JOB_FAILED;
    }
    if (sandbox_enter(&options.sandbox, &err) < 0) {
        say(json_pack("{s:i, s:s}", "code", err.code, "error", pith_error_text(&err)));
        pith_plugins_free(plugins);
        return EXIT_NO_SANDBOX;
    }
    code = run_job(&options, plugins);
    (void) fflush(NULL);
    _exit(code); /* plugins' and sanitizers' exit handlers make calls that the sandbox forbids */
}
