/* The watch over the loop: a turn that takes longer than it may is told, with what it did: computed, waited (for a lock, for a
 * disk), or stood aside while the kernel ran others. */
#ifndef PITHD_LOOP_WATCH_H
#define PITHD_LOOP_WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct loop_watch {
    uint64_t turns;
    uint64_t slow_turns;    /* took longer than they may by what they did: computed, or waited */
    uint64_t slowest_ns;    /* of those, on the wall's clock */
    uint64_t delayed_turns; /* took longer as the kernel let others run, and did nothing wrong */

    /* own */
    uv_prepare_t prepare;
    uv_check_t check;
    uint64_t turn_began_ns, cpu_began_ns, slept_ns;
    long waits_before, preemptions_before;
    uint64_t slow_told_ns, delayed_told_ns;
    bool interrupted, ended;
};

/* The loop has UV_METRICS_IDLE_TIME. */
void loop_watch_start(struct loop_watch *watch, uv_loop_t *loop);
/* A signal came in this turn: libuv then loses how long it slept, so the turn is not judged. */
void loop_watch_interrupted(struct loop_watch *watch);
void loop_watch_end(struct loop_watch *watch); /* stopping may block: no turn is judged any more */
void loop_watch_close(struct loop_watch *watch);

#endif
