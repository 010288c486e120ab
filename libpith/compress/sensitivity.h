/* Which layer hurts, and what each one brings: every layer of a chain's graphs is quantized alone, and all but it, by the
 * technique `quantize`; what that does to its own output, to the chain's decisions and to the time of its graph is measured.
 * Samples stream; what stays in memory is the calibration draw (64 MiB a graph at most, samples.h), a few copies of one
 * graph, and the outputs of one layer (16 MiB, or one sample's). */
#ifndef PITH_COMPRESS_SENSITIVITY_H
#define PITH_COMPRESS_SENSITIVITY_H

#include "libpith/compress/evaluate.h"
#include <jansson.h>

/* What layers are quantized to; ends with NULL. */
extern const char *const pith_sensitivity_forms[];

typedef void pith_sensitivity_progress(void *user, double done_ratio, const char *text);

struct pith_sensitivity_options { /* all borrowed */
    const struct pith_manifest *manifest;
    const struct pith_graph *const *graphs;     /* one a graph of the manifest; float */
    const struct pith_engine_ops *engine;       /* runs them, and what is made of them */
    const struct pith_option_value *engine_options;
    uint32_t threads;
    const struct pith_plugin *technique;        /* quantize */
    int form;                                   /* index into pith_sensitivity_forms */
    bool repairs;                               /* with the technique's own repairs; else by plain rounding, which is what a
                                                   layer bears by itself */
    const char *const *patterns;                /* names or shell patterns of the layers to look at */
    size_t pattern_count;                       /* 0: all */
    struct pith_dataset *calibration, *data;    /* for ranges; to judge by. May be the same */
    const struct pith_metric_options *metric;   /* NULL: without labels, only fidelity and error tell */
    uint64_t calibration_samples;               /* most to keep of each graph's inputs */
    uint64_t seed;
    uint64_t time_ms;                           /* layers that are not measured by then are left out; 0: no limit */
    uint32_t runs;                              /* of each graph in turn, for its time; 0: time is not measured */
    pith_sensitivity_progress *progress;        /* may be NULL */
    void *user;
};
/* *out: a new reference, as schemas/sensitivity.json has it. The layers that the ranges and weights make suspicious are
 * measured first, so that a limit of time leaves out what matters least; the answer has them in the graph's order.
 * -EINVAL where no layer matches, -ENODATA without samples, and what the technique and the engine say. */
int pith_sensitivity(const struct pith_sensitivity_options *options, json_t **out, struct pith_error *err) PITH_CHECKED;

#endif
