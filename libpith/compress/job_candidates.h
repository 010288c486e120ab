/* Inside the search of a job: a candidate is one form of each graph, and what is known of it. */
#ifndef PITH_COMPRESS_JOB_CANDIDATES_H
#define PITH_COMPRESS_JOB_CANDIDATES_H

#include "libpith/compress/job_parts.h"

struct candidate {
    size_t levels[PITH_MANIFEST_MAX_GRAPHS];
    struct pith_comparison comparison;
    struct pith_facts facts; /* of the whole chain */
};

/* ---- judging ---- */
/* Fills comparison and facts. rival: NULL, or what the candidate must be nearer than; it may break off, then it is not. */
int job_evaluate(struct job *job, struct candidate *candidate, const struct candidate *rival,
                 struct pith_error *err) PITH_CHECKED;
void job_sum_facts(const struct job *job, const size_t *levels, struct pith_facts *out);
/* pith_comparison_is_nearer of what is known of them. */
bool job_is_nearer(const struct candidate *a, const struct candidate *b);
/* Whether a is the better way on from here: what is allowed, then fewer bytes among those; else nearer to allowed. */
bool job_is_better(const struct job *job, const struct candidate *a, const struct candidate *b);

/* ---- moving ---- */
void job_add_move_step(struct job *job, const struct candidate *from, const struct candidate *to, size_t graph,
                       uint64_t started_ns);
/* What budget.bytes_ratio is a share of: the originals' bytes at rest, 16-bit floats counted as float32, so that a recipe asks
 * the same of a net whichever way it was exported. */
double job_counted_bytes(const struct job *job);
bool job_bytes_fit(const struct job *job, const struct candidate *candidate);
/* While the bytes don't fit, a graph goes coarser, if what the chain decides still allows it. */
int job_go_coarser(struct job *job, struct candidate *at, int64_t evaluations, struct pith_error *err) PITH_CHECKED;
/* While a result takes more time or energy than the budget allows, a graph moves to the form that saves most, if decisions
 * and bytes still allow it. What is measured is recorded under step/ before it is acted on. */
int job_steer(struct job *job, struct candidate *at, int64_t evaluations, struct pith_error *err) PITH_CHECKED;

#endif
