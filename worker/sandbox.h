/* The walls around a job: entered once, before anything of the untrusted model is read. What it leaves open is the job's
 * folder for writing, a few folders for reading, memory, files and time within limits, and threads. Nothing else: no
 * network, no other programs, no signals to others. */
#ifndef PITH_WORKER_SANDBOX_H
#define PITH_WORKER_SANDBOX_H

#include <pith/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct sandbox {
    const char *job_folder;   /* the only place that can be written */
    const char *read_path;    /* folders and files that can be read, ':' between them; NULL: none */
    int64_t memory_bytes;     /* address space; 0: no limit */
    int64_t file_bytes;       /* greatest size of a file it writes; 0: no limit */
    int64_t seconds;          /* CPU time of all threads, as a second net under the daemon's wall clock; 0: no limit */
    bool idle;                /* runs only when nobody else wants the CPU or the disk */
    pid_t parent;             /* dies with it; 0: whoever started us */
};

/* Not to be left again. Logs a warning for each wall that this kernel can't give; -EPERM and the like where one that must
 * stand (limits, no new privileges, system call filter) can't be had. Called from the only thread. */
int sandbox_enter(const struct sandbox *sandbox, struct pith_error *err) PITH_CHECKED;

/* The walls one by one, each in a file of its own; for sandbox.c. */
int sandbox_limit_files(const struct sandbox *sandbox, struct pith_error *err) PITH_CHECKED; /* Landlock */
int sandbox_limit_calls(struct pith_error *err) PITH_CHECKED;                                /* seccomp */

#endif
