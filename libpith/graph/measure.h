/* What measure.c and macs.c share. Counts are -1 where a shape is unknown or a product passes
 * int64. */
#ifndef PITH_GRAPH_MEASURE_H
#define PITH_GRAPH_MEASURE_H

#include <pith/graph.h>

int64_t graph_macs(const struct pith_graph *graph);

#endif
