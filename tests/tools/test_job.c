/* In place of pith_job_run for tests of the sandbox and of deployments: the manifest's version says
 * how the job behaves. "crash", "hang", "memory", "cpu", "socket", "write-outside", "read-outside",
 * "fork", "exec", "signal", "ptrace", "no-result", "bad-result", "broken", "rejected", "worse",
 * "slow" (some 100 ms in steps); any other: the variant is the original. */
#include "libpith/base/file.h"
#include "libpith/base/json.h"
#include "libpith/compress/job.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct job {
    const struct pith_job_options *options;
    json_t *manifest;
    const char *model, *version;
};

static int file_in(char *path, size_t bytes, const struct job *job, const char *name)
{
    return snprintf(path, bytes, "%s/%s", job->options->folder, name) < (int) bytes ? 0
                                                                                    : -ENAMETOOLONG;
}

static bool is(const struct job *job, const char *behaviour)
{
    return strncmp(job->version, behaviour, strlen(behaviour)) == 0;
}

static int eat_memory(struct pith_error *err)
{
    size_t total = 0;

    for (;;) {
        char *block = malloc(1 << 20);

        if (!block)
            return pith_fail(err, -ENOMEM, "out of memory after %zu MiB", total);
        memset(block, 1, 1 << 20);
        total++;
        if (total > 1024) /* a machine must not suffer where there is no limit */
            return pith_fail(err, -ENOMEM, "no limit was set");
    }
}

/* Each is something that the sandbox must not let through; what comes back is then an error with
 * its errno. */
static int misbehave(const struct job *job, struct pith_error *err)
{
    volatile int *nowhere = NULL;
    volatile uint64_t spin = 0;
    int fd = -1;

    if (is(job, "crash"))
        *nowhere = 1;
    if (is(job, "hang"))
        for (;;)
            (void) nanosleep(&(struct timespec){.tv_sec = 3600}, NULL);
    if (is(job, "cpu"))
        for (;;)
            spin++;
    if (is(job, "memory"))
        return eat_memory(err);
    if (is(job, "socket"))
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    else if (is(job, "write-outside"))
        fd = open("/tmp/pith-written-outside", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    else if (is(job, "read-outside"))
        fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
    else if (is(job, "fork"))
        fd = fork();
    else if (is(job, "exec"))
        fd = execl("/bin/true", "true", (char *) NULL);
    else if (is(job, "signal"))
        fd = kill(getppid(), 0);
    else if (is(job, "ptrace"))
        fd = (int) ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    else
        return 0;
    if (fd >= 0)
        return pith_fail(err, -EINVAL, "the sandbox let it through: %s", job->version);
    return pith_fail(err, -errno, "refused: %s", strerror(errno));
}

static int copy_graph(const struct job *job, const char *graph, struct pith_error *err)
{
    static const char *const endings[] = {".onnx.zst", ".onnx"};
    struct pith_buffer buffer = {0}, packed = {0};
    char name[160], path[1024];
    int rc = -ENOENT;
    size_t i;

    for (i = 0; i < 2 && rc == -ENOENT; i++) {
        (void) snprintf(name, sizeof name, "original/%s%s", graph, endings[i]);
        rc = file_in(path, sizeof path, job, name);
        if (rc == 0)
            rc = pith_file_read(path, 1 << 24, &buffer, err);
    }
    if (rc == 0 && i == 2) /* it came unpacked */
        rc = pith_zstd_compress(buffer.data, buffer.bytes, 1, &packed, err);
    (void) snprintf(name, sizeof name, "variant/%s.onnx.zst", graph);
    if (rc == 0)
        rc = file_in(path, sizeof path, job, name);
    if (rc == 0)
        rc = pith_file_write(path, i == 2 ? packed.data : buffer.data,
                             i == 2 ? packed.bytes : buffer.bytes, 0644, err);
    pith_buffer_done(&packed);
    pith_buffer_done(&buffer);
    return rc;
}

static json_t *facts(double bytes, double latency_us, double fidelity_ratio)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:n, s:f, s:f}", "bytes", bytes, "parameters",
                     100.0, "macs", 1000.0, "latency_p50_us", latency_us, "energy_uj", 5.0,
                     "accuracy_ratio", "fidelity_ratio", fidelity_ratio, "raw_bytes", bytes * 2);
}

static int write_result(const struct job *job, json_t *graphs, struct pith_error *err)
{
    double fidelity_ratio = is(job, "worse") ? 0.5 : 1.0;
    bool rejected = is(job, "rejected");
    json_t *result = json_pack(
        "{s:i, s:b, s:s, s:s, s:s, s:s, s:s, s:O, s:{s:o, s:o}, s:[{s:s, s:s, s:o, s:o, s:i}]}",
        "format", 1, "ok", rejected ? 0 : 1, "outcome",
        rejected           ? "rejected"
        : is(job, "worse") ? "compressed"
                           : "original",
        "reason", rejected ? "needs operator Foo, which no engine here has" : "kept as it came",
        "model", job->model, "version", job->version, "variant_name", "original", "graphs", graphs,
        "total", "original", facts(1000, 20, 1.0), "variant", facts(500, 10, fidelity_ratio),
        "steps", "name", "vet", "text", "runs on native", "before", facts(1000, 20, 1.0), "after",
        facts(1000, 20, fidelity_ratio), "time_ms", 3);
    char *text = result ? pith_json_text(result) : NULL;
    char path[1024];
    int rc = text ? file_in(path, sizeof path, job, "result.json") : -ENOMEM;

    if (rc == 0 && is(job, "bad-result"))
        text[strlen(text) / 2] = '\0';
    if (rc == 0)
        rc = pith_file_write(path, text, strlen(text), 0644, err);
    free(text);
    json_decref(result);
    return rc;
}

static int say(const struct job *job, const char *state, double done_ratio)
{
    const struct timespec pause_time = {.tv_nsec = 30000000};

    if (job->options->progress)
        job->options->progress(job->options->user, state, done_ratio, "as asked");
    if (is(job, "slow"))
        (void) nanosleep(&pause_time, NULL);
    return job->options->cancelled && job->options->cancelled(job->options->user) ? -ECANCELED : 0;
}

static int work(struct job *job, struct pith_error *err)
{
    json_t *graphs = json_array(), *member;
    const char *name;
    char path[1024];
    int rc = misbehave(job, err);

    if (rc == 0)
        rc = say(job, "vetting", 0.1);
    if (rc == 0 && is(job, "broken"))
        rc = pith_fail(err, -EBADMSG, "graph g: byte 64: the file ends within a field");
    if (rc == 0)
        rc = file_in(path, sizeof path, job, "variant");
    if (rc == 0)
        rc = pith_mkdirs(path, 0755, err);
    json_object_foreach(json_object_get(job->manifest, "graphs"), name, member)
    {
        if (rc == 0)
            rc = copy_graph(job, name, err);
        if (rc == 0)
            rc = say(job, "compressing", 0.5);
        json_array_append_new(graphs, json_pack("{s:s, s:s+, s:s, s:s, s:s}", "name", name, "file",
                                                "variant/", name, "form", "original", "engine",
                                                "native", "original_engine", "native"));
    }
    if (rc == 0)
        rc = say(job, "evaluating", 0.9);
    if (rc == 0 && !is(job, "no-result"))
        rc = write_result(job, graphs, err);
    json_decref(graphs);
    return rc;
}

int pith_job_run(const struct pith_job_options *options, struct pith_error *err)
{
    struct job job = {.options = options};
    struct pith_buffer text = {0};
    char path[1024];
    int rc = file_in(path, sizeof path, &job, "manifest.json");

    if (rc == 0)
        rc = pith_file_read(path, 1 << 20, &text, err);
    if (rc == 0)
        rc = pith_json_parse(&job.manifest, text.data, text.bytes, 1 << 20, "manifest", err);
    if (rc == 0)
        rc = pith_json_string(job.manifest, "manifest", "model", &job.model, err);
    if (rc == 0)
        rc = pith_json_string(job.manifest, "manifest", "version", &job.version, err);
    if (rc == 0)
        rc = work(&job, err);
    json_decref(job.manifest);
    pith_buffer_done(&text);
    return rc;
}
