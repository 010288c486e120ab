/* Weights that came as integers, behind float activations. */
#ifndef PITH_QUANTIZE_RESTORE_H
#define PITH_QUANTIZE_RESTORE_H

#include "plugins/techniques/quantize/layer.h"

/* Such weights of Conv, ConvTranspose, Gemm and MatMul become floats again where the rules give
 * their layer another form than float, so that a file whose weights alone were quantized can get
 * integer activations, or fewer bits. Weights of the same scale and bits come out as they were.
 * *out_count: weights restored. */
int restore_weights(struct pith_graph *graph, const struct rules *rules, size_t *out_count,
                    struct pith_error *err) PITH_CHECKED;

#endif
