/* What a race came to, as a table or as JSON. */
#ifndef PITH_BENCH_REPORT_H
#define PITH_BENCH_REPORT_H

#include "bench/engines/contestant.h"
#include "bench/engines/models.h"
#include "bench/engines/peak.h"

struct race { /* one model, all contestants */
    const struct bench_model *model;
    const struct peak *peak;
    int threads;
    struct contestant *contestants;
    size_t count;
    const char *reference; /* the engine whose outputs the others are compared with; NULL: none ran */
};

/* Appends one object a contestant to the list. */
void report_add(json_t *rows, const struct race *race);
void report_head(void);
void report_print(const struct race *race);

#endif
