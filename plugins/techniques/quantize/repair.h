/* Repairs: what wins back accuracy without training. Each is tried, measured against the float
 * graph and kept only where it helps, unless the options say otherwise. */
#ifndef PITH_QUANTIZE_REPAIR_H
#define PITH_QUANTIZE_REPAIR_H

#include "plugins/techniques/quantize/calibrate.h"
#include "plugins/techniques/quantize/rounding.h"

enum repair_switch { REPAIR_AUTO, REPAIR_ON, REPAIR_OFF };
extern const char *const repair_switch_names[]; /* ends with NULL */

enum repair {
    REPAIR_EQUALIZE,
    REPAIR_ABSORB,
    REPAIR_SMOOTH,
    REPAIR_ROUNDING,
    REPAIR_BIAS,
    REPAIRS
};
extern const char *const repair_names[]; /* by repair */

struct repair_record {
    bool tried, kept;
    /* Root mean square error of the graph's outputs relative to their deviation, before and with
     * it; negative: not measured. */
    double before, after;
    size_t changed; /* pairs, channels, normalizations or layers, as the repair counts */
};

struct repairs {
    /* What is asked for. */
    enum repair_switch equalize, smooth, bias;
    enum rounding_method rounding;
    double smooth_alpha; /* 0..1: how much of an outlier goes to the weights */
    /* What there is to work with; borrowed. */
    const struct pith_host *host;
    const struct reference *reference; /* NULL: nothing to measure with */
    uint64_t samples;                  /* [0, samples) for ranges and repairs */
    struct layer_options layers;
    int32_t dtype; /* of 8-bit activations */
    struct range_options ranges;
    /* What was done. */
    struct repair_record record[REPAIRS];
};
/* Changes the float graph: equalization, with absorption where scales are one a tensor, SmoothQuant
 * where normalizations feed integer layers. The graph that comes out computes the same. May replace
 * *graph. */
int repair_graph(struct repairs *repairs, struct pith_graph **graph,
                 struct pith_error *err) PITH_CHECKED;
/* Changes the plan, whose ranges are known: rounding, then biases. */
int repair_plan(struct repairs *repairs, struct plan *plan, struct pith_error *err) PITH_CHECKED;

#endif
