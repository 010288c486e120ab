/* Folding batch normalization into the convolution or product before it, where that is exact. */
#ifndef PITH_QUANTIZE_FOLD_H
#define PITH_QUANTIZE_FOLD_H

#include <pith/graph.h>

/* Changes graph in place. *out_count: normalizations folded. */
int fold_batch_norms(struct pith_graph *graph, size_t *out_count,
                     struct pith_error *err) PITH_CHECKED;

/* Constants that an Add behind a convolution adds to its channels become its bias, so that nothing stands
 * between it and its activation. Adds to *count. */
int fold_added_biases(struct pith_graph *graph, size_t *count, struct pith_error *err) PITH_CHECKED;

#endif
