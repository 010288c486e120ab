/* Operators on integers with scales and zero points of their own: QuantizeLinear and
 * DequantizeLinear around the operator on floats. See onnx_dissolve.h. */
#include "libpith/formats/onnx_dissolve.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_OPSET 10 /* of QuantizeLinear */
#define MOST_SCALES (1 << 20)

/* A scale and a zero point that are constants, or the latter left out; count: of scales, 0 for any. */
static bool is_grid(const struct dissolving *d, size_t scale, size_t zero, int64_t count)
{
    const struct pith_tensor *s = dissolve_constant(d, scale), *z = dissolve_constant(d, zero);

    if (dissolve_opset(d) < LEAST_OPSET || !s || s->dtype != PITH_FLOAT32 ||
        (dissolve_in(d, zero) != PITH_NO_VALUE && !z) ||
        (z && pith_shape_elements(&z->shape) != pith_shape_elements(&s->shape)))
        return false;
    return count == 0 || pith_shape_elements(&s->shape) == count;
}

/* The same for what comes out: its zero point says which type it has. */
static bool gives_grid(const struct dissolving *d, size_t scale, size_t zero)
{
    return is_grid(d, scale, zero, 1) && dissolve_constant(d, zero);
}

static uint32_t real(struct dissolving *d, uint32_t x, uint32_t scale, uint32_t zero, int64_t axis)
{
    uint32_t node;
    const uint32_t y =
        dissolve_node(d, "DequantizeLinear", (uint32_t[]){x, scale, zero},
                      zero == PITH_NO_VALUE ? 2 : 3, PITH_FLOAT32, &node);

    if (axis >= 0)
        dissolve_set_int(d, node, "axis", axis);
    return y;
}

/* Inputs x, its scale and its zero point, from `first` on. */
static uint32_t real_in(struct dissolving *d, size_t first)
{
    return real(d, dissolve_in(d, first), dissolve_in(d, first + 1), dissolve_in(d, first + 2), -1);
}

/* What comes out, on the grid of two inputs. */
static void give_quantized(struct dissolving *d, uint32_t y, size_t scale, size_t zero)
{
    const uint32_t in[3] = {y, dissolve_in(d, scale), dissolve_in(d, zero)};

    dissolve_give(d, 0,
                  dissolve_node(d, "QuantizeLinear", in, 3, pith_value_dtype(d->graph, in[2]),
                                NULL));
}

/* An int32 bias, whose steps are those of the sums. */
static uint32_t real_bias(struct dissolving *d, size_t bias, size_t x_scale, size_t w_scale)
{
    const struct pith_tensor *ws = dissolve_constant(d, w_scale);
    const int64_t count = pith_shape_elements(&ws->shape);
    const double x = pith_tensor_get(dissolve_constant(d, x_scale), 0);
    struct pith_tensor scale = {PITH_FLOAT32, {count == 1 ? 0 : 1, {count}}, NULL, 0};
    uint32_t value;

    if (d->rc == 0)
        d->rc = pith_tensor_alloc(&scale, PITH_FLOAT32, &scale.shape, NULL);
    for (int64_t i = 0; d->rc == 0 && i < count; i++)
        ((float *) scale.data)[i] = (float) (x * pith_tensor_get(ws, i));
    value = dissolve_add_constant(d, &scale);
    pith_tensor_free(&scale);
    return real(d, dissolve_in(d, bias), value, PITH_NO_VALUE, count == 1 ? -1 : 0);
}

/* None, or one that real_bias takes: a row, or a matrix of one, as long as there are scales. */
static bool is_bias(const struct dissolving *d, size_t bias, size_t w_scale)
{
    const struct pith_tensor *b = dissolve_constant(d, bias);
    const int64_t scales = pith_shape_elements(&dissolve_constant(d, w_scale)->shape);

    return dissolve_in(d, bias) == PITH_NO_VALUE ||
           (b && b->dtype == PITH_INT32 && b->shape.rank == 1 && scales <= MOST_SCALES &&
            (scales == 1 || scales == b->shape.dim[0]));
}

static int64_t scales(const struct dissolving *d, size_t scale)
{
    return pith_shape_elements(&dissolve_constant(d, scale)->shape);
}

/* x, xs, xz, w, ws, wz, ys, yz, b */
static bool conv(struct dissolving *d)
{
    uint32_t in[3], node, y;

    if (!is_grid(d, 1, 2, 1) || !is_grid(d, 4, 5, 0) || !gives_grid(d, 6, 7) || !is_bias(d, 8, 4) ||
        pith_node_int(d->graph, d->node, "channels_last", 0) != 0)
        return false;
    in[0] = real_in(d, 0);
    in[1] = real(d, dissolve_in(d, 3), dissolve_in(d, 4), dissolve_in(d, 5), scales(d, 4) > 1 ? 0 : -1);
    in[2] = dissolve_in(d, 8) == PITH_NO_VALUE ? PITH_NO_VALUE : real_bias(d, 8, 1, 4);
    y = dissolve_node(d, "Conv", in, in[2] == PITH_NO_VALUE ? 2 : 3, PITH_FLOAT32, &node);
    dissolve_copy_attributes(d, node, (const char *const[]){"channels_last", NULL});
    give_quantized(d, y, 6, 7);
    return true;
}

/* a, as, az, b, bs, bz, ys, yz */
static bool matmul(struct dissolving *d)
{
    const struct pith_shape *b =
        dissolve_in(d, 3) == PITH_NO_VALUE ? NULL : pith_value_shape(d->graph, dissolve_in(d, 3));
    uint32_t right;

    if (!is_grid(d, 1, 2, 1) || !is_grid(d, 4, 5, 0) || !gives_grid(d, 6, 7) ||
        (scales(d, 4) > 1 && (!b || b->rank != 2 || b->dim[1] != scales(d, 4) ||
                              dissolve_constant(d, 4)->shape.rank != 1)))
        return false;
    right = real(d, dissolve_in(d, 3), dissolve_in(d, 4), dissolve_in(d, 5), scales(d, 4) > 1 ? 1 : -1);
    give_quantized(d, dissolve_two(d, "MatMul", real_in(d, 0), right), 6, 7);
    return true;
}

/* a, as, az, b, bs, bz, c, ys, yz; floats come out where there is no ys */
static bool gemm(struct dissolving *d)
{
    static const char *const own[] = {"alpha", NULL};
    const bool turned = pith_node_int(d->graph, d->node, "transB", 0) != 0,
               floats = dissolve_in(d, 7) == PITH_NO_VALUE;
    uint32_t in[3], node, y;

    if (!is_grid(d, 1, 2, 1) || !is_grid(d, 4, 5, 0) || (!floats && !gives_grid(d, 7, 8)) ||
        !is_bias(d, 6, 4) || pith_node_float(d->graph, d->node, "alpha", 1) != 1.0F)
        return false;
    in[0] = real_in(d, 0);
    in[1] = real(d, dissolve_in(d, 3), dissolve_in(d, 4), dissolve_in(d, 5),
                 scales(d, 4) > 1 ? !turned : -1);
    in[2] = dissolve_in(d, 6) == PITH_NO_VALUE ? PITH_NO_VALUE : real_bias(d, 6, 1, 4);
    y = dissolve_node(d, "Gemm", in, in[2] == PITH_NO_VALUE ? 2 : 3, PITH_FLOAT32, &node);
    dissolve_copy_attributes(d, node, own);
    if (floats)
        dissolve_give(d, 0, y);
    else
        give_quantized(d, y, 7, 8);
    return true;
}

/* a, as, az, b, bs, bz, ys, yz */
static bool binary(struct dissolving *d)
{
    const char *op = strcmp(pith_node_op(d->graph, d->node), "QLinearMul") == 0 ? "Mul" : "Add";

    if (!is_grid(d, 1, 2, 1) || !is_grid(d, 4, 5, 1) || !gives_grid(d, 6, 7))
        return false;
    give_quantized(d, dissolve_two(d, op, real_in(d, 0), real_in(d, 3)), 6, 7);
    return true;
}

/* x, xs, xz, ys, yz, through `op` with the node's attributes but for some. */
static bool through(struct dissolving *d, const char *op, const char *const *but)
{
    uint32_t x, y, node;

    if (!is_grid(d, 1, 2, 1) || !gives_grid(d, 3, 4))
        return false;
    x = real_in(d, 0);
    y = dissolve_node(d, op, &x, 1, PITH_FLOAT32, &node);
    dissolve_copy_attributes(d, node, but);
    give_quantized(d, y, 3, 4);
    return true;
}

static bool sigmoid(struct dissolving *d)
{
    return through(d, "Sigmoid", NULL);
}

static bool leaky_relu(struct dissolving *d)
{
    return through(d, "LeakyRelu", NULL);
}

static bool pool(struct dissolving *d)
{
    static const char *const own[] = {"channels_last", NULL};

    if (pith_node_int(d->graph, d->node, "channels_last", 0) != 0)
        return false;
    return through(d,
                   strcmp(pith_node_op(d->graph, d->node), "QLinearAveragePool") == 0
                       ? "AveragePool"
                       : "GlobalAveragePool",
                   own);
}

/* The attribute `opset` says which Softmax is meant: before 13 it is one over all from axis on. Where no axis is said, it is the
 * last in both, and not, as in the older Softmax, the second. */
static bool softmax(struct dissolving *d)
{
    static const char *const own[] = {"opset", NULL};
    const bool newer = pith_node_int(d->graph, d->node, "opset", 13) >= 13;

    if (newer != (dissolve_opset(d) >= 13))
        return false;
    if (!pith_node_has(d->graph, d->node, "axis"))
        dissolve_set_int(d, d->node, "axis", -1);
    return through(d, "Softmax", own);
}

/* ys, yz, then x, xs, xz of each input */
static bool concat(struct dissolving *d)
{
    const size_t inputs = pith_node_input_count(d->graph, d->node);
    const size_t count = inputs < 5 ? 0 : (inputs - 2) / 3;
    uint32_t *in, node, y;

    if (count == 0 || inputs != 2 + 3 * count || !gives_grid(d, 0, 1))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!is_grid(d, 3 + 3 * i, 4 + 3 * i, 1))
            return false;
    in = calloc(count, sizeof *in);
    if (!in) {
        d->rc = -ENOMEM;
        return false;
    }
    for (size_t i = 0; i < count; i++)
        in[i] = real_in(d, 2 + 3 * i);
    y = dissolve_node(d, "Concat", in, count, PITH_FLOAT32, &node);
    dissolve_copy_attributes(d, node, NULL);
    free(in);
    give_quantized(d, y, 0, 1);
    return true;
}

/* Those of this domain differ in nothing where they have an axis that ONNX has. */
static bool own_linear(struct dissolving *d)
{
    const char *op = pith_node_op(d->graph, d->node);
    const size_t count = pith_node_input_count(d->graph, d->node);
    const bool gives_integers = strcmp(op, "QuantizeLinear") == 0;
    uint32_t in[3] = {dissolve_in(d, 0), dissolve_in(d, 1), dissolve_in(d, 2)}, node, y;

    if (count < 2 || count > 3 || dissolve_opset(d) < LEAST_OPSET || (gives_integers && count < 3))
        return false;
    y = dissolve_node(d, op, in, count,
                      gives_integers ? pith_value_dtype(d->graph, in[2]) : PITH_FLOAT32, &node);
    dissolve_copy_attributes(d, node, NULL);
    dissolve_give(d, 0, y);
    return true;
}

#define OWN "com.microsoft"

const struct dissolve_row dissolve_quantized[] = {
    {"QLinearConv", "", conv},
    {"QLinearConv", OWN, conv},
    {"QLinearMatMul", "", matmul},
    {"QGemm", OWN, gemm},
    {"QLinearAdd", OWN, binary},
    {"QLinearMul", OWN, binary},
    {"QLinearSigmoid", OWN, sigmoid},
    {"QLinearLeakyRelu", OWN, leaky_relu},
    {"QLinearAveragePool", OWN, pool},
    {"QLinearGlobalAveragePool", OWN, pool},
    {"QLinearSoftmax", OWN, softmax},
    {"QLinearConcat", OWN, concat},
    {"QuantizeLinear", OWN, own_linear},
    {"DequantizeLinear", OWN, own_linear},
    {0},
};
