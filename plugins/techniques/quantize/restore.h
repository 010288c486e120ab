/* Weights that came as integers, behind float activations. */
#ifndef PITH_QUANTIZE_RESTORE_H
#define PITH_QUANTIZE_RESTORE_H

#include "plugins/techniques/quantize/form.h"
#include <pith/graph.h>

struct restored_weight { /* input 1 of a node */
    uint32_t node;
    uint32_t came; /* the integers, a value of `from` */
    uint32_t made; /* the floats, a value of the graph that is quantized */
};

struct restored {
    const struct pith_graph *from; /* as it was given; borrowed */
    struct restored_weight *weights;
    size_t count;
    size_t constants; /* that they share */
};

/* Such weights of Conv, ConvTranspose, Gemm and MatMul become floats again where the rules give
 * their layer another form than float, so that a file whose weights alone were quantized can get
 * integer activations, or fewer bits. Weights of the same scale and bits come out as they were; those
 * that would get more bits than they came with go back when all is written (layer_set_form).
 * graph: a clone of `from`; *out: to be emptied with restored_done, after a fault too. */
int restore_weights(struct pith_graph *graph, const struct pith_graph *from, const struct rules *rules,
                    struct restored *out, struct pith_error *err) PITH_CHECKED;
void restored_done(struct restored *restored);

#endif
