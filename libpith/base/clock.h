/* Time: monotonic for durations, wall clock for what people read. */
#ifndef PITH_BASE_CLOCK_H
#define PITH_BASE_CLOCK_H

#include <stdint.h>

#define PITH_CLOCK_SET_MS INT64_C(1577836800000) /* 2020-01-01: a wall clock that tells less has not been set */

uint64_t pith_monotonic_ns(void);
uint64_t pith_thread_cpu_ns(void); /* CPU time of the calling thread */
int64_t pith_wall_ms(void);        /* since 1970, UTC */
/* "2026-11-23T18:40:06.123Z"; returns text. */
const char *pith_wall_text(int64_t wall_ms, char text[25]);

#endif
