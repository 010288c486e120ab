/* From a plan to a graph: integer weights, biases and grids in the values' quantization, halves
 * as weights behind a Cast. */
#ifndef PITH_QUANTIZE_WRITE_H
#define PITH_QUANTIZE_WRITE_H

#include "plugins/techniques/quantize/plan.h"

/* *out: a new graph, validated; fills the layers' weight_sqnr_db. A layer whose float16 weights
 * don't fit is left float, with the reason.
 */
int write_graph(struct plan *plan, struct pith_graph **out, struct pith_error *err) PITH_CHECKED;

/* Writes one layer's bias into a graph that write_graph made, with its shift: for whoever finds the
 * shift. */
int write_layer_bias(const struct plan *plan, struct pith_graph *graph, const struct layer *layer,
                     struct pith_error *err) PITH_CHECKED;

#endif
