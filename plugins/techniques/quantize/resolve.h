/* Weights that a layer takes through nodes which only turn, shape or widen a constant: exporters leave
 * those where they fold nothing. They become constants, so that the layer is one like any other. */
#ifndef PITH_QUANTIZE_RESOLVE_H
#define PITH_QUANTIZE_RESOLVE_H

#include "plugins/techniques/quantize/layer.h"

/* In place, for layers that don't stay float; the nodes are left without use. A constant that something
 * else uses as it is stays where it is, as it would be there twice. */
int resolve_weights(struct pith_graph *graph, const struct rules *rules, struct pith_error *err) PITH_CHECKED;

#endif
