/* Tests of daemon/jobs.c: how a worker's end is put into words. The workers are scripts. */
#include "daemon/jobs.h"
#include "tests/testing.h"
#include "tests/unit/folder.h"

#include <errno.h>
#include <sys/stat.h>

struct outcome {
    bool done, ended;
    int status;
    struct pith_error err;
};

static void job_done(void *user, int status, const struct pith_error *err)
{
    struct outcome *outcome = user;

    outcome->done = true;
    outcome->status = status;
    outcome->err = *err;
}

static void job_ended(void *owner)
{
    struct outcome *outcome = owner;

    outcome->ended = true;
}

static void job_progress(void *user, const char *state, double done_ratio, const char *text)
{
    (void) user;
    (void) state;
    (void) done_ratio;
    (void) text;
}

static struct outcome run_worker(const struct folder *folder, const char *script,
                                 int64_t deadline_ms)
{
    struct outcome outcome = {0};
    struct pith_error err = {0};
    struct job *job;
    char path[512];
    uv_loop_t loop;
    FILE *file;
    struct job_options options = {
        .loop = &loop,
        .worker = path,
        .folder = folder->path,
        .deadline_ms = deadline_ms,
        .progress = job_progress,
        .done = job_done,
        .ended = job_ended,
        .user = &outcome,
        .owner = &outcome,
    };

    folder_path(folder, path, "worker");
    file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fprintf(file, "#!/bin/sh\n%s\n", script) > 0);
    assert_int_equal(fchmod(fileno(file), 0700), 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_ok(job_start(&job, &options, &err), &err);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_true(outcome.done);
    assert_true(outcome.ended);
    return outcome;
}

static void worker_that_got_no_cpu_time_is_told_from_one_that_had_too_much_to_do(void **state)
{
    struct pith_error err = {0};

    (void) state;
    assert_int_equal(job_over_time(10000, 9800, true, &err), -ETIMEDOUT);
    assert_string_equal(err.text,
                        "the worker was not done within 10 s, in which it had 9.8 s of CPU time: "
                        "raise compression.deadline, or push a smaller model or recipe");
    assert_int_equal(job_over_time(10000, 300, true, &err), -ETIMEDOUT);
    assert_string_equal(err.text,
                        "the worker was not done within 10 s, in which it had only 0.3 s of CPU "
                        "time: either it hangs, or other programs keep this machine busy, where "
                        "setting compression.when to always or raising compression.deadline helps");
    assert_int_equal(job_over_time(10000, 300, false, &err), -ETIMEDOUT);
    assert_non_null(strstr(err.text, "busy, where raising compression.deadline helps"));
    assert_int_equal(job_over_time(10000, -1, false, &err), -ETIMEDOUT);
    assert_non_null(strstr(err.text, "within 10 s: raise compression.deadline"));
}

static void worker_at_its_deadline_is_killed_and_its_cpu_time_told(void **state)
{
    struct outcome outcome = run_worker(*state, "exec sleep 1000", 300);

    assert_int_equal(outcome.status, -ETIMEDOUT);
    assert_non_null(strstr(outcome.err.text, "within 1 s, in which it had only 0."));
    assert_non_null(strstr(outcome.err.text, " s of CPU time: either it hangs"));
}

static void worker_past_its_cpu_time_is_told_the_limit_that_it_had(void **state)
{
    struct outcome outcome = run_worker(*state, "ulimit -c 0; kill -XCPU $$", 600000);

    assert_int_equal(outcome.status, -ETIMEDOUT);
    assert_non_null(strstr(outcome.err.text, "CPU time of 2404 s"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worker_that_got_no_cpu_time_is_told_from_one_that_had_too_much_to_do),
        folder_test(worker_at_its_deadline_is_killed_and_its_cpu_time_told),
        folder_test(worker_past_its_cpu_time_is_told_the_limit_that_it_had),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
