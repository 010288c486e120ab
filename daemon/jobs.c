/* A worker process under supervision. It is trusted with nothing: what it says on its pipe is
 * bounded and checked, and how it ended is read from the kernel. */
#include "daemon/jobs.h"

#include "libpith/base/json.h"
#include "libpith/base/log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES  4096 /* of what a worker says; longer lines are skipped */
#define PROGRESS_FD 3

struct job {
    struct job_options options;
    uv_process_t process;
    uv_pipe_t pipe;
    uv_timer_t deadline;
    unsigned open_handles; /* the memory goes with the last */
    bool stopped;          /* nobody wants to hear of it any more */
    bool exited, pipe_ended;
    bool over_time;
    int64_t cpu_ms; /* what it ran until its deadline; -1: unknown */
    int64_t exit_status;
    int signal_number;
    char line[LINE_BYTES];
    size_t line_bytes;
    bool skipping;          /* the rest of a line that was too long */
    struct pith_error said; /* the worker's own last words */
    char read_buffer[LINE_BYTES];
};

static void handle_closed(uv_handle_t *handle)
{
    struct job *job = handle->data;
    void (*ended)(void *) = job->options.ended;
    void *owner = job->options.owner;

    if (--job->open_handles > 0)
        return;
    free(job);
    if (ended)
        ended(owner);
}

static void close_one(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, handle_closed);
}

/* ---- what it says ---- */

static bool state_is_known(const char *state)
{
    return strcmp(state, "vetting") == 0 || strcmp(state, "compressing") == 0 ||
           strcmp(state, "evaluating") == 0;
}

static void on_line(struct job *job)
{
    json_t *said = NULL;
    const char *text, *state;
    double done_ratio;
    int64_t code;

    if (pith_json_parse(&said, job->line, job->line_bytes, LINE_BYTES, "worker", NULL) < 0)
        return; /* a plugin that prints; the exit status decides */
    if (pith_json_string(said, "worker", "error", &text, NULL) == 0 &&
        pith_json_int(said, "worker", "code", -4095, -1, &code, NULL) == 0)
        (void) pith_fail(&job->said, (int) code, "%s", text);
    else if (pith_json_string(said, "worker", "state", &state, NULL) == 0 &&
             state_is_known(state) &&
             pith_json_number_or(said, "worker", "done_ratio", 0, 1, 0, &done_ratio, NULL) == 0 &&
             pith_json_string_or(said, "worker", "text", "", &text, NULL) == 0 && !job->stopped &&
             job->options.progress)
        job->options.progress(job->options.user, state, done_ratio, text);
    json_decref(said);
}

static void on_bytes(struct job *job, const char *bytes, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++) {
        if (bytes[i] == '\n') {
            if (!job->skipping && job->line_bytes > 0)
                on_line(job);
            job->line_bytes = 0;
            job->skipping = false;
        } else if (job->line_bytes < sizeof job->line) {
            job->line[job->line_bytes++] = bytes[i];
        } else {
            job->skipping = true;
        }
    }
}

/* ---- how it ended ---- */

/* CPU time of all threads: a second net under the wall clock. */
static int64_t cpu_limit_s(const struct job_options *options)
{
    return (options->deadline_ms / 1000 + 1) * 4;
}

static int judge_signal(const struct job *job, struct pith_error *err)
{
    switch (job->signal_number) {
    case SIGSYS:
        return pith_fail(
            err, -EPERM,
            "the worker did what its sandbox forbids (a system call that is not on its list): "
            "a plugin is at fault, or the model attacks it");
    case SIGXCPU:
        return pith_fail(err, -ETIMEDOUT,
                         "the worker used up its CPU time of %lld s: raise compression.deadline, "
                         "or push a smaller model or recipe",
                         (long long) cpu_limit_s(&job->options));
    case SIGKILL:
        return pith_fail(
            err, -ENOMEM,
            "the worker was killed from outside, most likely as this machine ran out of memory");
    default:
        return pith_fail(err, -EFAULT,
                         "the worker crashed (signal %d, %s): the model or a plugin is broken",
                         job->signal_number, strsignal(job->signal_number));
    }
}

int job_over_time(int64_t deadline_ms, int64_t cpu_ms, bool idle, struct pith_error *err)
{
    long long deadline_s = (long long) (deadline_ms + 999) / 1000;
    double cpu_s = (double) cpu_ms / 1000;

    if (cpu_ms < 0)
        return pith_fail(err, -ETIMEDOUT,
                         "the worker was not done within %lld s: raise compression.deadline, or "
                         "push a smaller model or recipe",
                         deadline_s);
    if (cpu_ms >= deadline_ms / 2)
        return pith_fail(err, -ETIMEDOUT,
                         "the worker was not done within %lld s, in which it had %.1f s of CPU "
                         "time: raise compression.deadline, or push a smaller model or recipe",
                         deadline_s, cpu_s);
    return pith_fail(err, -ETIMEDOUT,
                     "the worker was not done within %lld s, in which it had only %.1f s of CPU "
                     "time: either it hangs, or other programs keep this machine busy, where "
                     "%sraising compression.deadline helps",
                     deadline_s, cpu_s, idle ? "setting compression.when to always or " : "");
}

static int judge(const struct job *job, struct pith_error *err)
{
    if (job->over_time)
        return job_over_time(job->options.deadline_ms, job->cpu_ms, job->options.idle, err);
    if (job->signal_number)
        return judge_signal(job, err);
    if (job->exit_status == 0)
        return 0;
    if (job->said.code == -ENOMEM)
        return pith_fail(err, -ENOMEM, "out of memory (compression.memory is %lld MB): %s",
                         (long long) (job->options.memory_bytes / 1000000), job->said.text);
    if (job->said.code)
        return pith_fail(err, job->said.code, "%s", pith_error_text(&job->said));
    return pith_fail(err, -EIO, "the worker ended with exit code %lld and without a word",
                     (long long) job->exit_status);
}

/* Both ends must have come: the process's exit, and the end of what it said. */
static void end_when_both(struct job *job)
{
    struct pith_error err = {0};
    int status;

    if (!job->exited || !job->pipe_ended)
        return;
    status = judge(job, &err);
    if (!job->stopped) {
        job->stopped = true;
        job->options.done(job->options.user, status, &err);
    }
    close_one((uv_handle_t *) &job->deadline);
    close_one((uv_handle_t *) &job->pipe);
    close_one((uv_handle_t *) &job->process);
}

static void on_exit_of_worker(uv_process_t *process, int64_t exit_status, int signal_number)
{
    struct job *job = process->data;

    job->exited = true;
    job->exit_status = exit_status;
    job->signal_number = signal_number;
    end_when_both(job);
}

static void give_buffer(uv_handle_t *handle, size_t wanted, uv_buf_t *out)
{
    struct job *job = handle->data;

    (void) wanted;
    *out = uv_buf_init(job->read_buffer, sizeof job->read_buffer);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct job *job = stream->data;

    if (count > 0) {
        on_bytes(job, buffer->base, (size_t) count);
    } else if (count < 0) {
        job->pipe_ended = true;
        (void) uv_read_stop(stream);
        end_when_both(job);
    }
}

static void kill_worker(struct job *job)
{
    if (!job->exited)
        (void) uv_process_kill(&job->process,
                               SIGKILL); /* gone already: then its exit is on the way */
}

static int64_t cpu_ms_of(uv_pid_t pid)
{
    struct timespec spent;
    clockid_t clock;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &spent) != 0)
        return -1;
    return (int64_t) spent.tv_sec * 1000 + spent.tv_nsec / 1000000;
}

static void on_deadline(uv_timer_t *timer)
{
    struct job *job = timer->data;

    job->over_time = true;
    job->cpu_ms = cpu_ms_of(job->process.pid); /* gone once it is killed */
    kill_worker(job);
}

void job_stop(struct job *job)
{
    if (!job || job->stopped)
        return;
    job->stopped = true;
    kill_worker(job);
}

/* ---- the start ---- */

static int spawn(struct job *job, struct pith_error *err)
{
    const struct job_options *options = &job->options;
    char memory[24], file[24], seconds[24], parent[24];
    const char *arguments[20];
    /* Two arenas instead of eight a core: each reserves 64 MB of the address space that is limited.
     */
    const char *environment[] = {"LC_ALL=C.UTF-8", "MALLOC_ARENA_MAX=2", NULL};
    uv_stdio_container_t pipes[PROGRESS_FD + 1] = {
        {.flags = UV_IGNORE},
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = 2}, /* its log goes where ours goes */
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *) &job->pipe},
    };
    uv_process_options_t process = {
        .file = options->worker,
        .args = (char **) arguments, /* libuv does not write to them */
        .env = (char **) environment,
        .cwd = "/",
        .exit_cb = on_exit_of_worker,
        .stdio = pipes,
        .stdio_count = PROGRESS_FD + 1,
    };
    int count = 0, rc;

    (void) snprintf(memory, sizeof memory, "%lld", (long long) options->memory_bytes);
    (void) snprintf(file, sizeof file, "%lld", (long long) options->file_bytes);
    (void) snprintf(seconds, sizeof seconds, "%lld", (long long) cpu_limit_s(options));
    (void) snprintf(parent, sizeof parent, "%d", (int) getpid());
    arguments[count++] = options->worker;
    arguments[count++] = "--job";
    arguments[count++] = options->folder;
    if (options->plugin_path && options->plugin_path[0]) {
        arguments[count++] = "--plugins";
        arguments[count++] = options->plugin_path;
    }
    if (options->read_path && options->read_path[0]) {
        arguments[count++] = "--read";
        arguments[count++] = options->read_path;
    }
    arguments[count++] = "--memory";
    arguments[count++] = memory;
    arguments[count++] = "--file";
    arguments[count++] = file;
    arguments[count++] = "--seconds";
    arguments[count++] = seconds;
    arguments[count++] = "--parent";
    arguments[count++] = parent;
    if (options->idle)
        arguments[count++] = "--idle";
    arguments[count] = NULL;
    rc = uv_spawn(options->loop, &job->process, &process);
    return rc < 0 ? pith_fail(err, rc, "starting %s: %s", options->worker, uv_strerror(rc)) : 0;
}

int job_start(struct job **out, const struct job_options *options, struct pith_error *err)
{
    struct job *job = calloc(1, sizeof *job);
    int rc;

    if (!job)
        return pith_fail(err, -ENOMEM, "no memory to start a worker");
    job->options = *options;
    job->process.data = job;
    job->pipe.data = job;
    job->deadline.data = job;
    (void) uv_pipe_init(options->loop, &job->pipe, 0);
    (void) uv_timer_init(options->loop, &job->deadline);
    job->open_handles = 3; /* uv_spawn makes a handle of its own even where it fails */
    rc = spawn(job, err);
    job->options.worker = job->options.folder = NULL; /* the caller's, and used up */
    job->options.plugin_path = job->options.read_path = NULL;
    if (rc < 0) {
        close_one((uv_handle_t *) &job->deadline);
        close_one((uv_handle_t *) &job->pipe);
        close_one((uv_handle_t *) &job->process);
        return rc;
    }
    (void) uv_read_start((uv_stream_t *) &job->pipe, give_buffer, on_read);
    (void) uv_timer_start(&job->deadline, on_deadline, (uint64_t) options->deadline_ms, 0);
    *out = job;
    return 0;
}
