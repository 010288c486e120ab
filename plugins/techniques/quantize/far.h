/* Weights that no layer of the graph holds: those inside of branches (If, Loop), and those that are
 * cut, joined or turned on their way to the node that multiplies by them, as recurrent nets exported
 * from PyTorch have them. They are stored as integers, a scale for each entry of their first axis, and
 * computed with as floats. */
#ifndef PITH_QUANTIZE_FAR_H
#define PITH_QUANTIZE_FAR_H

#include "plugins/techniques/quantize/plan.h"

/* graph: what the plan was written to; its layers' weights are integers already. Adds to
 * plan->far_count. */
int write_far_weights(struct plan *plan, struct pith_graph *graph, struct pith_error *err) PITH_CHECKED;

/* Whether all that use the value move it about, or hold branches that capture it. */
bool far_is_moved(struct pith_graph *graph, uint32_t value);

#endif
