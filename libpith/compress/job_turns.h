/* Inside a job: the original and a form of it measured in turn. */
#ifndef PITH_COMPRESS_JOB_TURNS_H
#define PITH_COMPRESS_JOB_TURNS_H

#include "libpith/compress/job_parts.h"

struct job_timing { /* of one graph on all engines */
    struct pith_contender contenders[2 * JOB_MAX_ENGINES]; /* an engine after the other: original, form */
    size_t count;   /* 0: no stage reaches the graph */
    size_t sides;   /* 1 where the form is the original, which is not timed against itself */
    size_t best[2]; /* the fastest contender: original, form */
};
int job_time_graph(const struct job *job, size_t graph, size_t level, struct job_timing *out,
                   struct pith_error *err) PITH_CHECKED;

struct job_pair_engines {
    const struct job_engine *original[PITH_MANIFEST_MAX_GRAPHS], *variant[PITH_MANIFEST_MAX_GRAPHS];
};
struct job_pair {
    struct pith_chain *chain[2];      /* original, variant */
    struct pith_outcomes outcomes[2];
};
int job_pair_open(struct job *job, const size_t *levels, const struct job_pair_engines *engines, struct job_pair *out,
                  struct pith_error *err) PITH_CHECKED;
/* Sample by sample in turn. limit_ms: no further sample after that; 0: all. */
int job_pair_run(struct job *job, struct job_pair *pair, uint64_t limit_ms, const char *text,
                 struct pith_error *err) PITH_CHECKED;
void job_pair_done(struct job_pair *pair);

#endif
