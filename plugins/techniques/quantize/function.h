/* Functions of one element, in whatever operators a model writes them: Hardswish, x * sigmoid(x), Gelu. Between two grids of
 * 8 bits such a function is a table, so grids belong around it, and none inside. */
#ifndef PITH_QUANTIZE_FUNCTION_H
#define PITH_QUANTIZE_FUNCTION_H

#include "plugins/techniques/quantize/range.h"
#include <pith/graph.h>

/* The one value of which `value` is a function by elements, numbers aside; PITH_NO_VALUE where there is none, and where the
 * function is no more than limits and slopes, which the layer before it applies unrounded. */
uint32_t function_source(const struct pith_graph *graph, uint32_t value);
/* Below this, all that uses the value gives the same whatever it is; -INFINITY where there is no such end. */
double function_floor(const struct pith_graph *graph, uint32_t value);

/* Between what numbers the operator that makes the value keeps it: Relu's 0, Clip's limits; else infinities. */
struct range function_limits(const struct pith_graph *graph, uint32_t value);

#endif
