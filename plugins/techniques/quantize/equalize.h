/* Cross-layer equalization, and absorption of high biases: the same function with weights that one
 * grid suits. */
#ifndef PITH_QUANTIZE_EQUALIZE_H
#define PITH_QUANTIZE_EQUALIZE_H

#include "plugins/techniques/quantize/chain.h"
#include <pith/plugin.h>

struct equalized {
    size_t pairs;    /* of layers */
    size_t clips;    /* that became Relus, where that was allowed */
    size_t absorbed; /* channels whose bias went on to the next layer */
};
/* Changes weights and biases of `graph`, after Nagel et al. 2019, arXiv:1906.04721, section 4.1. With p the share that
 * channel i has of what the first layer's scale must reach (its greatest weight of that of all channels), and q the same in
 * what sees it in the second, the channel is divided by sqrt(p / q) in the first and multiplied in the second; pair by pair
 * until none moves. Beyond the paper, p is also at least the channel's share of the activations between the layers, seen on
 * the samples [0, count): a channel of hardly any weights and a bias would else be blown up, and all others get lost beside
 * it. Exact but for rounding, and for the Clips: with `clips`, one from 0 to some value becomes a Relu, as its upper end
 * would differ between channels. per_channel: weights have a scale a channel and need none of that, but what flows between
 * has one grid, on which quiet channels keep few levels. Half of that difference, the square root of a channel's share of
 * the greatest reach, goes to the weights behind, as SmoothQuant does it with what normalizations make. */
int equalize_layers(struct pith_graph *graph, const struct layer *layers, size_t layer_count, bool per_channel, bool clips,
                    const struct pith_host *host, uint64_t count, struct equalized *out,
                    struct pith_error *err) PITH_CHECKED;
/* A channel whose values in front of a Relu lie far above 0 (mean less three deviations, over the
 * samples [0, count)) gives that much to the next layer's bias, so that the range of all channels
 * shrinks. Only where the next layer doesn't pad, as a border would not have it. */
int absorb_biases(struct pith_graph *graph, const struct layer *layers, size_t layer_count,
                  const struct pith_host *host, uint64_t count, struct equalized *out,
                  struct pith_error *err) PITH_CHECKED;

#endif
