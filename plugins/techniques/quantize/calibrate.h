/* Looking at activations: ranges from the calibration samples, and how far a quantized graph's
 * outputs are from the float graph's. Both run through the host, so that what is measured is what
 * an engine computes. */
#ifndef PITH_QUANTIZE_CALIBRATE_H
#define PITH_QUANTIZE_CALIBRATE_H

#include "plugins/techniques/quantize/plan.h"
#include <pith/plugin.h>

/* Fills the groups' histograms from samples [0, count) and chooses their ranges. 16 bits take all
 * values that came, as so many levels leave nothing to win by clipping. */
struct range_options {
    enum range_method method;
    double percentile;
    bool headroom; /* for values that the samples didn't show */
};
int calibrate_ranges(struct plan *plan, const struct pith_host *host, uint64_t count,
                     const struct range_options *options, struct pith_error *err) PITH_CHECKED;

struct reference { /* outputs of the float graph on some samples, as few as fit in a bounded memory
                    */
    uint64_t first, count; /* samples */
    size_t output_count;
    struct reference_output {
        float *data; /* count times `elements`, sample after sample */
        size_t elements;
        size_t filled;
        size_t classes; /* of the Softmax that follows, whose input is compared; 0: none does */
        bool real; /* float32: the others are not compared */
    } * outputs;
};
int reference_make(struct reference *out, const struct pith_graph *graph,
                   const struct pith_host *host, uint64_t first, uint64_t count,
                   struct pith_error *err) PITH_CHECKED;
void reference_done(struct reference *reference);
/* Root mean square of the outputs' difference relative to the reference's deviation; the worst
 * output counts. samples: at most the reference's. Outputs that are not finite give HUGE_VAL. */
int reference_error_ratio(const struct reference *reference, const struct pith_graph *graph,
                          const struct pith_host *host, uint64_t samples, double *out,
                          struct pith_error *err) PITH_CHECKED;

#endif
