/* Inside the sensitivity report: what its files share. */
#ifndef PITH_COMPRESS_SENSITIVITY_PARTS_H
#define PITH_COMPRESS_SENSITIVITY_PARTS_H

#include "libpith/compress/samples.h"
#include "libpith/compress/sensitivity.h"

struct effect { /* of some forms on the whole chain; NAN: not known */
    bool measured;
    double metric, metric_change, p; /* change: from the original's, in the metric's own unit */
    double fidelity_ratio, error_ratio;
};

struct suspect { /* a layer */
    size_t graph;
    char *name;         /* own */
    const json_t *fact; /* what the technique reports of it; of sensitivity.reports */
    bool chosen;        /* by the patterns */
    bool quantized;     /* the technique gives it another form */
    double noise;       /* of weights and input together, relative to the signal: the order of measuring */
    bool measured;
    char reason[PITH_ERROR_TEXT_BYTES]; /* why not */
    double output_error_ratio, output_sqnr_db, output_cosine; /* of its own output, with float inputs */
    struct effect alone, others;
    double time_gained_us, time_gained_alone_us;
};

struct sensitivity {
    const struct pith_sensitivity_options *options;
    size_t graph_count;
    struct pith_samples samples[PITH_MANIFEST_MAX_GRAPHS];
    struct pith_graph *whole[PITH_MANIFEST_MAX_GRAPHS];   /* own; all layers quantized */
    struct pith_graph *prepared[PITH_MANIFEST_MAX_GRAPHS]; /* own; as the technique has it before it quantizes: still float */
    json_t *reports[PITH_MANIFEST_MAX_GRAPHS];            /* own */
    double original_us[PITH_MANIFEST_MAX_GRAPHS], whole_us[PITH_MANIFEST_MAX_GRAPHS];
    struct pith_outcomes baseline;
    struct pith_metric *baseline_metric;
    struct effect original, all;
    struct suspect *suspects; /* own */
    size_t count;
    uint64_t deadline_ns;     /* 0: none */
    double done, todo;        /* evaluations, for progress */
};

/* ---- forms ---- */
/* option: "only" or "keep" with the one layer that it names; NULL: all layers. layer NULL with "keep": none is quantized.
 * out_report: may be NULL. */
int sensitivity_quantize(const struct sensitivity *run, size_t graph, const char *option, const char *layer,
                         struct pith_graph **out, json_t **out_report, struct pith_error *err) PITH_CHECKED;

/* ---- measuring ---- */
/* Draws each graph's inputs as the calibration samples pass the chain. */
int sensitivity_draw(struct sensitivity *run, struct pith_error *err) PITH_CHECKED;
/* The original over the data: what everything is compared with. */
int sensitivity_baseline(struct sensitivity *run, struct pith_error *err) PITH_CHECKED;
/* graphs: one a graph of the manifest. -ETIME where the deadline passed. */
int sensitivity_effect(struct sensitivity *run, const struct pith_graph *const *graphs, const char *text,
                       struct effect *out, struct pith_error *err) PITH_CHECKED;
/* What becomes of the layer's own output in `alone`. */
int sensitivity_local(struct sensitivity *run, struct suspect *suspect, const struct pith_graph *alone,
                      struct pith_error *err) PITH_CHECKED;
/* Medians of `count` forms of one graph, run by run in turn. NAN where not measured. */
int sensitivity_time(const struct sensitivity *run, size_t graph, const struct pith_graph *const *forms, size_t count,
                     double *out_us, struct pith_error *err) PITH_CHECKED;

/* ---- telling ---- */
json_t *sensitivity_json(const struct sensitivity *run);

#endif
