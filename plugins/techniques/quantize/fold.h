/* Folding batch normalization into the convolution or product before it, where that is exact. */
#ifndef PITH_QUANTIZE_FOLD_H
#define PITH_QUANTIZE_FOLD_H

#include <pith/graph.h>

/* Changes graph in place. *out_count: normalizations folded. */
int fold_batch_norms(struct pith_graph *graph, size_t *out_count,
                     struct pith_error *err) PITH_CHECKED;

#endif
