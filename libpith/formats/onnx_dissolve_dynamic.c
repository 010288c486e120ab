/* Operators whose weights alone are integers: products with activations that are quantized in the run, or of floats
 * with weights of four bits, and LSTM. See onnx_dissolve.h. */
#include "libpith/formats/onnx_dissolve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_OPSET 11 /* of DynamicQuantizeLinear */

/* float(a b) * scale + bias, of integers less their zero points */
static void give_product(struct dissolving *d, const uint32_t in[4], uint32_t scale, uint32_t bias)
{
    uint32_t node, y;

    y = dissolve_node(d, "MatMulInteger", in,
                      in[3] != PITH_NO_VALUE   ? 4
                      : in[2] != PITH_NO_VALUE ? 3
                                               : 2,
                      PITH_INT32, NULL);
    y = dissolve_node(d, "Cast", &y, 1, PITH_FLOAT32, &node);
    dissolve_set_int(d, node, "to", PITH_FLOAT32);
    y = dissolve_two(d, "Mul", y, scale);
    dissolve_give(d, 0, bias == PITH_NO_VALUE ? y : dissolve_two(d, "Add", y, bias));
}

/* a, b, b's scale, b's zero point, bias */
static bool dynamic_matmul(struct dissolving *d)
{
    static const int32_t types[3] = {PITH_UINT8, PITH_FLOAT32, PITH_UINT8};
    const uint32_t a = dissolve_in(d, 0);
    uint32_t q[3] = {PITH_NO_VALUE, PITH_NO_VALUE, PITH_NO_VALUE};

    if (dissolve_opset(d) < LEAST_OPSET || a == PITH_NO_VALUE || dissolve_in(d, 1) == PITH_NO_VALUE ||
        dissolve_in(d, 2) == PITH_NO_VALUE)
        return false;
    for (size_t i = 0; i < 3 && d->rc == 0; i++)
        d->rc = pith_graph_add_value(d->graph, NULL, types[i], NULL, &q[i], NULL);
    if (d->rc == 0)
        d->rc = pith_graph_add_node(d->graph, "", "DynamicQuantizeLinear", NULL, &a, 1, q, 3, NULL,
                                    NULL);
    give_product(d, (uint32_t[]){q[0], dissolve_in(d, 1), q[2], dissolve_in(d, 3)},
                 dissolve_two(d, "Mul", q[1], dissolve_in(d, 2)), dissolve_in(d, 4));
    return true;
}

/* a, b, their scales, their zero points, bias */
static bool integer_matmul(struct dissolving *d)
{
    for (size_t i = 0; i < 4; i++)
        if (dissolve_in(d, i) == PITH_NO_VALUE)
            return false;
    if (dissolve_opset(d) < LEAST_OPSET)
        return false;
    give_product(d,
                 (uint32_t[]){dissolve_in(d, 0), dissolve_in(d, 1), dissolve_in(d, 4),
                              dissolve_in(d, 5)},
                 dissolve_two(d, "Mul", dissolve_in(d, 2), dissolve_in(d, 3)), dissolve_in(d, 6));
    return true;
}

/* ---- weights of four bits ---- */

struct blocked { /* of MatMulNBits: b lies column by column, each padded to whole blocks */
    int64_t depth, cols, size, blocks;
    const struct pith_tensor *b, *scale, *zero;
};

static bool read_blocked(const struct dissolving *d, struct blocked *w)
{
    int64_t zeros;

    w->depth = pith_node_int(d->graph, d->node, "K", 0);
    w->cols = pith_node_int(d->graph, d->node, "N", 0);
    w->size = pith_node_int(d->graph, d->node, "block_size", 0);
    w->b = dissolve_constant(d, 1);
    w->scale = dissolve_constant(d, 2);
    w->zero = dissolve_constant(d, 3);
    if (w->depth < 1 || w->cols < 1 || w->size < 2 || w->size % 2 != 0 || w->depth > INT32_MAX ||
        w->cols > INT32_MAX || w->size > INT32_MAX ||
        pith_node_int(d->graph, d->node, "bits", 4) != 4 || !w->b || w->b->dtype != PITH_UINT8 ||
        !w->scale || w->scale->dtype != PITH_FLOAT32 || dissolve_in(d, 4) != PITH_NO_VALUE ||
        (dissolve_in(d, 3) != PITH_NO_VALUE && (!w->zero || w->zero->dtype != PITH_UINT8)))
        return false;
    w->blocks = (w->depth + w->size - 1) / w->size;
    zeros = (w->blocks + 1) / 2;
    return pith_shape_elements(&w->b->shape) / w->cols == w->blocks * w->size / 2 &&
           pith_shape_elements(&w->b->shape) % w->cols == 0 &&
           pith_shape_elements(&w->scale->shape) / w->cols == w->blocks &&
           pith_shape_elements(&w->scale->shape) % w->cols == 0 &&
           (!w->zero || (pith_shape_elements(&w->zero->shape) / w->cols == zeros &&
                         pith_shape_elements(&w->zero->shape) % w->cols == 0));
}

static int32_t half_of(const struct pith_tensor *bytes, int64_t row, int64_t row_bytes, int64_t at)
{
    const uint8_t byte = ((const uint8_t *) bytes->data)[row * row_bytes + at / 2];

    return at % 2 ? byte >> 4 : byte & 15;
}

static int set_grid(struct dissolving *d, uint32_t value, const struct blocked *w)
{
    const size_t count = (size_t) (w->blocks * w->cols);
    float *scale = malloc(count * sizeof *scale);
    int32_t *zero = malloc(count * sizeof *zero);
    int rc = scale && zero ? 0 : -ENOMEM;

    for (int64_t i = 0; rc == 0 && i < w->blocks; i++)
        for (int64_t j = 0; j < w->cols; j++) {
            scale[i * w->cols + j] = (float) pith_tensor_get(w->scale, j * w->blocks + i);
            zero[i * w->cols + j] =
                w->zero ? half_of(w->zero, j, (w->blocks + 1) / 2, i) : 8;
        }
    if (rc == 0)
        rc = pith_value_set_quantization(
            d->graph, value,
            &(struct pith_quantization){PITH_UINT4, 0, w->size, count, scale, zero});
    free(scale);
    free(zero);
    return rc;
}

static bool scales_are_right(const struct blocked *w)
{
    for (int64_t i = 0; i < w->blocks * w->cols; i++) {
        const double scale = pith_tensor_get(w->scale, i);

        if (!(scale > 0.0) || scale > 1e38)
            return false;
    }
    return true;
}

/* a, b, scales, zero points, order of columns (none), bias */
static bool four_bit_matmul(struct dissolving *d)
{
    struct pith_tensor matrix = {0};
    struct blocked w;
    uint32_t value = PITH_NO_VALUE, y;

    if (dissolve_in(d, 0) == PITH_NO_VALUE || !read_blocked(d, &w) || !scales_are_right(&w))
        return false;
    d->rc = pith_tensor_alloc(&matrix, PITH_UINT4, &(struct pith_shape){2, {w.depth, w.cols}}, NULL);
    for (int64_t p = 0; d->rc == 0 && p < w.depth; p++)
        for (int64_t j = 0; j < w.cols; j++)
            pith_tensor_set(&matrix, p * w.cols + j,
                            half_of(w.b, j, w.blocks * w.size / 2, p));
    value = dissolve_add_constant(d, &matrix);
    pith_tensor_free(&matrix);
    if (d->rc == 0)
        d->rc = set_grid(d, value, &w);
    y = dissolve_two(d, "MatMul", dissolve_in(d, 0), value);
    dissolve_give(d, 0,
                  dissolve_in(d, 5) == PITH_NO_VALUE ? y
                                                     : dissolve_two(d, "Add", y, dissolve_in(d, 5)));
    return true;
}

/* ---- LSTM ---- */

/* Weights that lie (directions, inputs, gates), with one scale, or one a gate's row of one direction. */
static bool is_turned(const struct dissolving *d, size_t index, size_t scale, size_t zero)
{
    const struct pith_tensor *w = dissolve_constant(d, index), *s = dissolve_constant(d, scale),
                             *z = dissolve_constant(d, zero);
    int64_t count;

    if (!w || !s || s->dtype != PITH_FLOAT32 || w->shape.rank != 3 ||
        (w->dtype != PITH_INT8 && w->dtype != PITH_UINT8) ||
        (dissolve_in(d, zero) != PITH_NO_VALUE && (!z || z->dtype != w->dtype)))
        return false;
    count = pith_shape_elements(&s->shape);
    return (count == 1 || (w->shape.dim[0] == 1 && count == w->shape.dim[2])) && count <= INT32_MAX &&
           (!z || pith_shape_elements(&z->shape) == count);
}

static uint32_t turned(struct dissolving *d, size_t index, size_t scale, size_t zero)
{
    const struct pith_tensor *w = dissolve_constant(d, index), *s = dissolve_constant(d, scale),
                             *z = dissolve_constant(d, zero);
    const int64_t count = pith_shape_elements(&s->shape), rows = w->shape.dim[2],
                  cols = w->shape.dim[1];
    const struct pith_shape shape = {3, {w->shape.dim[0], rows, cols}};
    float *scales = malloc((size_t) count * sizeof *scales);
    int32_t *zeros = calloc((size_t) count, sizeof *zeros);
    const int32_t dtype = w->dtype;
    struct pith_tensor to = {0};
    uint32_t value;

    if (d->rc == 0)
        d->rc = scales && zeros ? pith_tensor_alloc(&to, dtype, &shape, NULL) : -ENOMEM;
    for (int64_t i = 0; d->rc == 0 && i < pith_shape_elements(&shape); i++) {
        const int64_t direction = i / (rows * cols), row = i / cols % rows, col = i % cols;

        ((uint8_t *) to.data)[i] =
            ((const uint8_t *) w->data)[(direction * cols + col) * rows + row];
    }
    for (int64_t i = 0; d->rc == 0 && i < count; i++) {
        scales[i] = (float) pith_tensor_get(s, i);
        zeros[i] = z ? (int32_t) pith_tensor_get_int(z, i) : 0;
    }
    value = dissolve_add_constant(d, &to);
    if (d->rc == 0)
        d->rc = pith_value_set_quantization(
            d->graph, value,
            &(struct pith_quantization){dtype, count > 1 ? 1 : 0, 0, (size_t) count, scales, zeros});
    pith_tensor_free(&to);
    free(scales);
    free(zeros);
    return value;
}

static bool positive(const struct pith_tensor *scale)
{
    for (int64_t i = 0; i < pith_shape_elements(&scale->shape); i++)
        if (!(pith_tensor_get(scale, i) > 0.0) || pith_tensor_get(scale, i) > 1e38)
            return false;
    return true;
}

/* LSTM's inputs, then W's scale and zero point, and R's. Its activations stay floats: more exact, not less. */
static bool dynamic_lstm(struct dissolving *d)
{
    const size_t outputs = pith_node_output_count(d->graph, d->node);
    uint32_t in[8], out[3] = {PITH_NO_VALUE, PITH_NO_VALUE, PITH_NO_VALUE}, node;

    if (!is_turned(d, 1, 8, 9) || !is_turned(d, 2, 10, 11) || !positive(dissolve_constant(d, 8)) ||
        !positive(dissolve_constant(d, 10)) || outputs > 3 || dissolve_in(d, 0) == PITH_NO_VALUE)
        return false;
    for (size_t i = 0; i < 8; i++)
        in[i] = dissolve_in(d, i);
    in[1] = turned(d, 1, 8, 9);
    in[2] = turned(d, 2, 10, 11);
    for (size_t i = 0; i < outputs; i++)
        if (d->rc == 0 && pith_node_output(d->graph, d->node, i) != PITH_NO_VALUE)
            d->rc = pith_graph_add_value(d->graph, NULL, PITH_FLOAT32, NULL, &out[i], NULL);
    if (d->rc == 0)
        d->rc = pith_graph_add_node(d->graph, "", "LSTM", NULL, in, 8, out, outputs, &node, NULL);
    if (d->rc == 0)
        dissolve_copy_attributes(d, node, NULL);
    for (size_t i = 0; i < outputs; i++)
        if (out[i] != PITH_NO_VALUE)
            dissolve_give(d, i, out[i]);
    return true;
}

#define OWN "com.microsoft"

const struct dissolve_row dissolve_dynamic[] = {
    {"DynamicQuantizeMatMul", OWN, dynamic_matmul},
    {"MatMulIntegerToFloat", OWN, integer_matmul},
    {"MatMulNBits", OWN, four_bit_matmul},
    {"DynamicQuantizeLSTM", OWN, dynamic_lstm},
    {0},
};
