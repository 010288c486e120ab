/* The parent's side of a contestant: a child that is stopped (SIGSTOP) while others run, so that no
 * worker thread of its spins beside them. */
#include "bench/engines/contestant.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINE_BYTES 4096

/* A line of the child as an object; NULL where it ended or said something else. */
static json_t *read_answer(struct contestant *contestant)
{
    char line[LINE_BYTES];
    json_t *object;

    if (!fgets(line, sizeof line, contestant->from))
        return NULL;
    object = json_loads(line, 0, NULL);
    if (object && json_is_object(object))
        return object;
    json_decref(object);
    return NULL;
}

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void give_up(struct contestant *contestant, const json_t *answer)
{
    const char *reason = json_string_value(json_object_get(answer, "error"));
    int status = 0;

    contestant->ready = false;
    if (reason) {
        (void) snprintf(contestant->reason, sizeof contestant->reason, "%s", reason);
    } else {
        (void) kill(contestant->pid, SIGKILL);
        (void) waitpid(contestant->pid, &status, 0);
        contestant->pid = 0;
        (void) snprintf(contestant->reason, sizeof contestant->reason,
                        "its process ended without an answer (signal %d, exit %d)",
                        WIFSIGNALED(status) ? WTERMSIG(status) : 0,
                        WIFEXITED(status) ? WEXITSTATUS(status) : 0);
    }
}

static void run_child(const char *engine, const struct contestant_setup *setup, int in, int out)
{
    char threads[16], cpu[16], integer[24];

    if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0)
        _exit(127);
    (void) snprintf(threads, sizeof threads, "%d", setup->threads);
    (void) snprintf(cpu, sizeof cpu, "%d", setup->threads == 1 ? setup->cpu : -1);
    (void) snprintf(integer, sizeof integer, "%lld", (long long) setup->integer);
    (void) execl("/proc/self/exe", "engine-contestant", "--contestant", engine, setup->plugin_path,
                 setup->model, setup->shapes, setup->output_path, integer, threads, cpu,
                 (char *) NULL);
    _exit(127);
}

int contestant_start(struct contestant *out, const char *engine,
                     const struct contestant_setup *setup, struct pith_error *err)
{
    int to[2], from[2];
    json_t *answer;

    *out = (struct contestant){.engine = engine, .cosine = NAN};
    if (pipe(to) < 0 || pipe(from) < 0)
        return pith_fail(err, -errno, "pipe: %s", strerror(errno));
    out->pid = fork();
    if (out->pid < 0)
        return pith_fail(err, -errno, "fork: %s", strerror(errno));
    if (out->pid == 0) {
        (void) close(to[1]);
        (void) close(from[0]);
        run_child(engine, setup, to[0], from[1]);
    }
    (void) close(to[0]);
    (void) close(from[1]);
    out->to = fdopen(to[1], "w");
    out->from = fdopen(from[0], "r");
    if (!out->to || !out->from)
        return pith_fail(err, -ENOMEM, "no memory for a contestant");
    answer = read_answer(out);
    out->ready = answer && !json_object_get(answer, "error");
    if (!out->ready)
        give_up(out, answer);
    out->load_ms = number(answer, "load_ms");
    out->rss_bytes = number(answer, "rss_bytes");
    out->arena_bytes = number(answer, "arena_bytes");
    out->weight_bytes = number(answer, "weight_bytes");
    out->macs = number(answer, "macs");
    if (out->ready) {
        (void) snprintf(out->kernel, sizeof out->kernel, "%s",
                        json_string_value(json_object_get(answer, "kernel")));
        (void) kill(out->pid, SIGSTOP);
    }
    json_decref(answer);
    return 0;
}

void contestant_round(struct contestant *contestant, double round_ms)
{
    json_t *answer;

    if (!contestant->ready || contestant->rounds == CONTESTANT_ROUNDS_MAX)
        return;
    (void) kill(contestant->pid, SIGCONT);
    (void) fprintf(contestant->to, "%f\n", round_ms);
    (void) fflush(contestant->to);
    answer = read_answer(contestant);
    if (!answer || json_object_get(answer, "error")) {
        give_up(contestant, answer);
    } else {
        contestant->quiet_us[contestant->rounds] = number(answer, "quiet_us");
        contestant->median_us[contestant->rounds] = number(answer, "median_us");
        contestant->rounds++;
        (void) kill(contestant->pid, SIGSTOP);
    }
    json_decref(answer);
}

void contestant_stop(struct contestant *contestant)
{
    if (contestant->to)
        (void) fclose(contestant->to);
    if (contestant->from)
        (void) fclose(contestant->from);
    if (contestant->pid > 0) {
        (void) kill(contestant->pid, SIGKILL); /* it is stopped, and has nothing to save */
        (void) waitpid(contestant->pid, NULL, 0);
    }
    contestant->to = contestant->from = NULL;
    contestant->pid = 0;
    contestant->ready = false;
}
