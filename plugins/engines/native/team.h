/* Threads that run parts of a step together. They are made once, sleep while nothing runs, and spin
 * for some microseconds between the steps of a run, which is cheaper than sleeping. Private to the
 * native engine. */
#ifndef PITH_NATIVE_TEAM_H
#define PITH_NATIVE_TEAM_H

#include "libpith/kernels/kernel.h"

#define TEAM_MAX_THREADS 32 /* their number stands in six bits beside that of a step */

struct team;

/* A team of `threads` (2 or more), the caller's one among them; of fewer where the system gives no
 * more, and *out is NULL where it gives none: the caller then goes on alone. -ENOMEM. */
int team_open(struct team **out, uint32_t threads);
uint32_t team_size(const struct team *team);
/* Runs all parts of step->kernel->run_part, cut into one a thread, and returns when all are done. Parts of threads that don't
 * come in time are run by the caller. Thread: one caller at a time. */
void team_run(struct team *team, struct pith_step *step);
void team_close(struct team *team); /* joins the threads; NULL is fine */

#endif
