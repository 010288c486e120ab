/* Grids for the values of a random graph, as a quantizer chooses them from what the values were in
 * a run. */
#ifndef PITH_TESTS_RANDOM_GRIDS_H
#define PITH_TESTS_RANDOM_GRIDS_H

#include "tests/unit/random_graph.h"

#include <math.h>

#define GRID_CHANNELS 512

/* A power of two half of the time, so that sums are exact and ties are met. */
static float some_scale(struct maker *m, double most, double steps)
{
    double scale = most > 0.0 ? most / steps : 0.01;

    if (m->state >> 40 & 1)
        scale = exp2(ceil(log2(scale)));
    return (float) scale;
}

static void grid_activation(struct maker *m, uint32_t value, double most)
{
    const uint32_t kind = roll(m, 5);
    const int32_t dtype = kind < 2 ? PITH_UINT8 : kind < 4 ? PITH_INT8 : PITH_INT16;
    const bool all_signs = roll(m, 3);
    int32_t zero = 0;
    float scale = some_scale(m, most, dtype == PITH_INT16 ? 32767 : all_signs ? 127 : 255);
    const struct pith_quantization q = {dtype, 0, 0, 1, &scale, &zero};

    if (dtype == PITH_UINT8)
        zero = all_signs ? 128 : (int32_t) roll(m, 256);
    else if (dtype == PITH_INT8)
        zero = all_signs ? 0 : (int32_t) roll(m, 256) - 128;
    assert_int_equal(pith_value_set_quantization(m->graph, value, &q), 0);
}

/* Its numbers are quarters: stored as eight bits, and exact where the scale is a quarter. */
static void grid_weights(struct maker *m, uint32_t value, int32_t axis)
{
    const struct pith_tensor *constant = pith_value_constant(m->graph, value);
    const struct pith_shape shape = constant->shape;
    const bool by_channel =
        axis >= 0 && roll(m, 2) && shape.dim[axis] <= GRID_CHANNELS && shape.dim[axis] > 0;
    const int32_t dtype = roll(m, 8) ? PITH_INT8 : PITH_UINT8;
    float scales[GRID_CHANNELS];
    int32_t zeros[GRID_CHANNELS];
    struct pith_quantization q = {
        dtype, by_channel ? axis : 0, 0, by_channel ? (size_t) shape.dim[axis] : 1, scales, zeros};
    struct pith_tensor stored;
    int64_t inner = 1;

    for (uint32_t i = (uint32_t) q.axis + 1; i < shape.rank; i++)
        inner *= shape.dim[i];
    for (size_t i = 0; i < q.count; i++) {
        scales[i] =
            roll(m, 2) ? 0.25F / (float) (1 + roll(m, 16)) : 0.25F / (float) (1U << roll(m, 4));
        zeros[i] = dtype == PITH_UINT8 ? 128 : 0;
    }
    assert_int_equal(pith_tensor_alloc(&stored, dtype, &shape, NULL), 0);
    for (int64_t i = 0; i < pith_shape_elements(&shape); i++) {
        const size_t c = by_channel ? (size_t) (i / inner % shape.dim[axis]) : 0;
        double x = nearbyint(pith_tensor_get(constant, i) / (double) scales[c]) + zeros[c];

        x = x < zeros[c] - 127 ? zeros[c] - 127 : x > zeros[c] + 127 ? zeros[c] + 127 : x;
        pith_tensor_set(&stored, i, x);
    }
    assert_int_equal(pith_value_set_quantization(m->graph, value, &q), 0);
    assert_int_equal(pith_value_set_constant(m->graph, value, &stored), 0);
    pith_tensor_free(&stored);
}

/* most: of each of the graph's values, by number; negative where it is not known. */
static void put_on_grids(struct maker *m, const double *most)
{
    size_t count;
    const uint32_t *order = pith_graph_order(m->graph, &count);

    for (uint32_t value = 0; value < pith_graph_value_limit(m->graph); value++)
        if (most[value] >= 0.0 && pith_value_dtype(m->graph, value) == PITH_FLOAT32 && roll(m, 8))
            grid_activation(m, value, most[value]);
    for (size_t i = 0; i < count; i++) {
        static const char *const weighing[] = {"Conv", "ConvTranspose", "MatMul", "Gemm"};

        for (size_t k = 0; k < COUNT(weighing); k++) {
            const uint32_t w = pith_node_input(m->graph, order[i], 1);

            if (strcmp(pith_node_op(m->graph, order[i]), weighing[k]) != 0 ||
                !pith_value_constant(m->graph, w) || pith_value_quantization(m->graph, w) ||
                pith_value_use_count(m->graph, w) != 1 || roll(m, 10) == 0)
                continue;
            grid_weights(m, w,
                         k == 0                                                      ? 0
                         : k == 1                                                    ? -1
                         : shape_of(m, w)->rank != 2                                 ? -1
                         : k == 2 || !pith_node_int(m->graph, order[i], "transB", 0) ? 1
                                                                                     : 0);
        }
    }
}

#endif
