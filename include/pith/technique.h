/* Technique plugins: turn a graph into a cheaper graph. */
#ifndef PITH_TECHNIQUE_H
#define PITH_TECHNIQUE_H

#include <pith/graph.h>
#include <pith/plugin.h>

enum pith_needs { /* what a technique can't work without; a recipe is checked for it before it runs */
    PITH_NEEDS_CALIBRATION = 1,
    PITH_NEEDS_LABELS = 2,
    PITH_NEEDS_TRAINING = 4,
    PITH_NEEDS_TEACHER = 8,
};

struct pith_technique_job {
    uint32_t size_bytes;
    const struct pith_host *host;
    const struct pith_option_value *options; /* of the plugin's table */
    uint64_t seed; /* the same seed, graph, options and samples give the same bytes */
    double accuracy_drop_points; /* the budget that the result should keep, in points (0..100); negative: none given */
};

struct pith_technique_ops {
    uint32_t size_bytes;
    /* What these options need, as bits of pith_needs; what is fed back to the user when it is missing. */
    uint32_t (*needs)(const struct pith_option_value *options);
    /* graph: validated, shapes inferred. *out: a new graph, validated; its inputs and outputs as before.
     * report: may be NULL; else receives one JSON object as text, freed by the host with free(): what was done, by layer,
     * and in "note" a sentence on why nothing was, where that is so. */
    int (*apply)(const struct pith_technique_job *job, const struct pith_graph *graph, struct pith_graph **out,
                 char **report_json, struct pith_error *err);
};

#endif
