/* SmoothQuant: outliers of a normalization's channels move into the weights behind it. */
#ifndef PITH_QUANTIZE_SMOOTH_H
#define PITH_QUANTIZE_SMOOTH_H

#include "plugins/techniques/quantize/layer.h"
#include <pith/plugin.h>

/* Where a LayerNormalization, or the Mul and Add that end one that is spelled out, feeds nothing
 * but MatMul and Gemm layers with integer inputs: its gamma and beta are divided by s_j =
 * max|x_j|^alpha / max|w_j|^(1 - alpha) and row j of the weights is multiplied. The function stays
 * the same. x over the samples [0, count). Xiao et al. 2022, arXiv:2211.10438. *out_count:
 * normalizations changed. */
int smooth_layers(struct pith_graph *graph, const struct layer *layers, size_t layer_count,
                  const struct pith_host *host, uint64_t count, double alpha, size_t *out_count,
                  struct pith_error *err) PITH_CHECKED;

#endif
