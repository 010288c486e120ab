/* What weights take once an ideal entropy coder of order 0 has packed them: tells sparse and clustered weights apart from
 * dense ones of the same bytes. */
#ifndef PITH_COMPRESS_ENTROPY_H
#define PITH_COMPRESS_ENTROPY_H

#include <pith/graph.h>

/* Sum of -n log2(n / N) / 8 over the symbols of each constant of rank 1 or more: its elements where they take a byte or
 * less, else the bytes at each place of an element (as a coder after byte shuffling sees them). Sub-graphs included. */
double pith_graph_entropy_bytes(const struct pith_graph *graph);

#endif
