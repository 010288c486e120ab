/* What a process has in memory that is no page of a file. */
#ifndef PITH_BENCH_OWN_MEMORY_H
#define PITH_BENCH_OWN_MEMORY_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* KiB; 0 where /proc can't be read. */
static inline long own_memory_kib(void)
{
    FILE *status = fopen("/proc/self/status", "r");
    char line[128];
    long kib = 0;

    while (status && fgets(line, sizeof line, status))
        if (!strncmp(line, "RssAnon:", 8))
            kib = strtol(line + 8, NULL, 10);
    if (status)
        (void) fclose(status);
    return kib;
}

#endif
