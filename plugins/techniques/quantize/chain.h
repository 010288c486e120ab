/* Pairs of layers with nothing between them that knows one channel from another: what is multiplied
 * into a channel of the first can be divided out of the second. */
#ifndef PITH_QUANTIZE_CHAIN_H
#define PITH_QUANTIZE_CHAIN_H

#include "plugins/techniques/quantize/linear.h"

struct chain {
    size_t first, second; /* index of the layers */
    uint32_t clip;    /* the node of a Clip from 0 up to some value between them, or PITH_NO_NODE */
    bool relu_alone;  /* nothing but one Relu lies between */
    int64_t channels; /* of the first's output */
    int64_t taps;     /* weights in a row of the second that see one channel, side by side */
};
/* All pairs of Conv and Gemm layers, the second also MatMul. clips: whether a pair may have a Clip
 * from 0 between its layers, which is then to become a Relu. *out: malloc'ed. -ENOMEM. */
int chains_find(const struct pith_graph *graph, const struct layer *layers, size_t layer_count,
                bool clips, struct chain **out, size_t *out_count) PITH_CHECKED;

#endif
