/* Time, read from the system's clocks. Never fails: the clocks that are asked for exist on every
 * Linux. */
#include "libpith/base/clock.h"

#include <stdio.h>
#include <time.h>

static uint64_t clock_ns(clockid_t id)
{
    struct timespec now = {0};

    (void) clock_gettime(id, &now);
    return (uint64_t) now.tv_sec * 1000000000u + (uint64_t) now.tv_nsec;
}

uint64_t pith_monotonic_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t pith_thread_cpu_ns(void)
{
    return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

int64_t pith_wall_ms(void)
{
    return (int64_t) (clock_ns(CLOCK_REALTIME) / 1000000u);
}

const char *pith_wall_text(int64_t wall_ms, char text[25])
{
    int64_t ms = wall_ms % 1000;
    time_t seconds = (time_t) (wall_ms / 1000);
    struct tm tm = {0};
    char whole[80];

    if (ms < 0) { /* before 1970: seconds are rounded down, as gmtime wants it */
        ms += 1000;
        seconds--;
    }
    (void) gmtime_r(&seconds, &tm);
    (void) snprintf(whole, sizeof whole, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
                    tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int) ms);
    (void) snprintf(text, 25, "%.24s", whole);
    return text;
}
