/* Running a chain over recorded samples: what it decides, how often that is right, and how far it is from what another
 * chain decides on the same samples. */
#ifndef PITH_COMPRESS_EVALUATE_H
#define PITH_COMPRESS_EVALUATE_H

#include "libpith/compress/dataset.h"
#include "libpith/compress/metric.h"
#include "libpith/pipeline/chain.h"

/* What a chain decided, sample by sample. With a decide stage: the set of labels that fired during the sample. Without:
 * the label of the greatest score of the last result; of a single score, class 1 from 0.5 on and else class 0. */
struct pith_outcomes {
    uint64_t *decisions;    /* own; a sample: bits of labels fired, or 1 + the label; 0: none */
    uint64_t *right;        /* own; 1 where it agrees with the sample's label; there only where labelled */
    uint64_t count;
    float *trace;           /* own; scores of all results in order, up to a bound: what error ratios compare */
    size_t trace_count, trace_capacity;
    uint64_t *latencies_ns; /* own; of results, up to a bound */
    size_t latency_count, latency_capacity;
    uint64_t results;
    uint64_t cpu_ns;        /* sum over results */
    bool labelled;
    bool scoreless;         /* outputs are too large to be scores: no sample is decided */
};
void pith_outcomes_done(struct pith_outcomes *outcomes);
/* Runs sample `index` from a fresh state and appends its outcome. metric: NULL, or what sees its results too. */
int pith_evaluate_sample(struct pith_chain *chain, const struct pith_manifest *manifest, struct pith_dataset *dataset,
                         uint64_t index, struct pith_outcomes *outcomes, struct pith_metric *metric,
                         struct pith_error *err) PITH_CHECKED;

struct pith_comparison {
    uint64_t samples;
    bool labelled;
    uint64_t right_a, right_b;
    double accuracy_low_a, accuracy_high_a, accuracy_low_b, accuracy_high_b; /* Wilson, 95 % */
    bool scoreless;         /* there are no decisions; the error alone says something */
    uint64_t same;          /* decisions */
    uint64_t only_a, only_b; /* right in only one of them */
    double mcnemar_p;
    uint64_t seen;          /* samples that were run; fewer than `samples` where the rest could change nothing */
    bool beaten;            /* they were left out because another form is nearer, allowed or not */
    double error_ratio;     /* rms(b - a) / deviation of a, over all scores; NAN where there are none */
};
/* a: the original. Both have the same samples. */
void pith_outcomes_compare(const struct pith_outcomes *a, const struct pith_outcomes *b, struct pith_comparison *out);
/* Intervals and p from the counts, where a comparison was read back. */
void pith_comparison_complete(struct pith_comparison *comparison);
/* Whether a is more like the original than b is: by decisions where their counts differ by more than chance, else by what the
 * scores err by, which says more than the one decision of a few that lay near its threshold. One that broke off has no error
 * that counts: then by decisions alone. */
bool pith_comparison_is_nearer(const struct pith_comparison *a, const struct pith_comparison *b);
/* Sum of squared differences of the first scores of b, as many as both have, from a's; and what it is divided by. */
double pith_outcomes_error(const struct pith_outcomes *a, const struct pith_outcomes *b);
double pith_outcomes_spread(const struct pith_outcomes *a, size_t count);
/* Sorts the latencies. Microseconds; NAN without results. */
void pith_outcomes_latency(struct pith_outcomes *outcomes, double *out_p50_us, double *out_p95_us, double *out_cpu_us);

#endif
