/* The quantizations of a graph, for who goes on reading them when it has no use for the graph. */
#ifndef PITH_GRAPH_GRIDS_H
#define PITH_GRAPH_GRIDS_H

#include <pith/graph.h>

struct pith_grids { /* zeroes: none */
    struct pith_quantization **grid; /* own, and each its own */
    size_t count;
};

/* Takes the quantizations of the graph's values out of it, sub-graphs' not. They stay where they are, so that pointers to
 * them hold until pith_grids_done. The graph is good for nothing but to be freed then: its values have the types of
 * quantized ones. Returns 0; -ENOMEM, and nothing was taken. */
PITH_PUBLIC int pith_graph_take_grids(struct pith_graph *graph, struct pith_grids *out) PITH_CHECKED;
PITH_PUBLIC void pith_grids_done(struct pith_grids *grids);

#endif
