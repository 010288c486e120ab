/* One pith-worker process: started, listened to, ended at its deadline, and its end put into words. */
#ifndef PITHD_JOBS_H
#define PITHD_JOBS_H

#include <pith/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct job;

struct job_options { /* strings are copied by the start */
    uv_loop_t *loop;
    const char *worker;      /* the program */
    const char *folder;      /* of the job */
    const char *plugin_path; /* "" or NULL: the installed ones */
    const char *read_path;   /* what else it may read */
    int64_t memory_bytes;
    int64_t file_bytes;
    int64_t deadline_ms;     /* wall clock */
    bool idle;               /* at idle priority */
    /* state: "vetting", "compressing", "evaluating". text: borrowed, from the worker and so not to be trusted. */
    void (*progress)(void *user, const char *state, double done_ratio, const char *text);
    /* 0: it ended well, and result.json says what came out. Else why it didn't, in a sentence:
     * -EBADMSG or -ENOTSUP the model is at fault, -ENOMEM out of memory, -ETIMEDOUT over time, -EFAULT crashed, -EPERM
     * did what its sandbox forbids, others as the worker gave them. Not called after job_stop. */
    void (*done)(void *user, int status, const struct pith_error *err);
    void (*ended)(void *owner); /* the last of it: the process is gone, memory is freed */
    void *user;
    void *owner;
};

/* Where it fails, done is not called, and ended is. */
int job_start(struct job **out, const struct job_options *options, struct pith_error *err) PITH_CHECKED;
void job_stop(struct job *job); /* kills it; NULL is fine; not after done was called */

/* Fails with the words for a worker that was not done at its deadline. cpu_ms: what it ran; -1: unknown. */
int job_over_time(int64_t deadline_ms, int64_t cpu_ms, bool idle, struct pith_error *err);

#endif
