/* Products of matrices. */
#include "libpith/formats/tflite_read.h"

#include <errno.h>

enum { CONNECTED_ACTIVATION = 0, CONNECTED_FORMAT = 1, CONNECTED_KEEP_DIMS = 2 };
enum { MATMUL_ADJOINT_X = 0, MATMUL_ADJOINT_Y = 1 };

/* The shape of output 0 with at most one open size, for Reshape. False where more are open. */
static bool output_dims(const struct tflite_node *node, int64_t *dims)
{
    const struct pith_shape *shape = &tflite_output(node, 0)->shape;
    uint32_t open = 0;

    for (uint32_t k = 0; k < shape->rank; k++) {
        dims[k] = shape->dim[k];
        open += dims[k] < 0;
    }
    return open < 2;
}

/* Weights (out, in): every row of `in` elements that the input has in memory becomes one of `out`.
 */
static void fully_connected(struct tflite_node *node)
{
    const struct tflite_tensor *x = tflite_input(node, 0), *w = tflite_input(node, 1);
    int activation = flat_i8(node->options, CONNECTED_ACTIVATION, ACTIVATION_NONE);
    uint32_t rank = tflite_output(node, 0)->shape.rank;
    uint32_t inputs[3], output, made, emitted;
    int64_t dims[PITH_MAX_RANK], rows[2];

    if (flat_i8(node->options, CONNECTED_FORMAT, 0))
        tflite_fail(node, -ENOTSUP, "its weights are shuffled for one kind of processor");
    if (w->shape.rank != 2 || rank < 1)
        tflite_fail(node, -EBADMSG, "its weights have not 2 axes, or its output none");
    else if (rank != 2 && !output_dims(node, dims))
        tflite_fail(node, -ENOTSUP, "its output has more than one open size");
    if (node->rc < 0)
        return;
    rows[0] = -1;
    rows[1] = w->shape.dim[1];
    inputs[0] = x->shape.rank == 2 && x->shape.dim[1] == rows[1]
                    ? tflite_take(node, 0, FORM_PLAIN)
                    : tflite_emit2(node, "Reshape", tflite_take_in_order(node, 0),
                                   tflite_constant_ints(node, rows, 2), tflite_moved(node, 0));
    inputs[1] = tflite_take(node, 1, FORM_PLAIN);
    inputs[2] = tflite_take_bias(node, 2, 0, 1);
    output = tflite_result(node, 0, FORM_PLAIN);
    made = output;
    if (rank != 2) {
        made = tflite_moved_result(node);
        tflite_emit2(node, "Reshape", made, tflite_constant_ints(node, dims, rank), output);
    }
    if (activation != ACTIVATION_NONE)
        made = tflite_activate(node, activation, made);
    emitted = tflite_emit(node, "Gemm", inputs, inputs[2] == PITH_NO_VALUE ? 2 : 3, &made, 1);
    tflite_set_int(node, emitted, "transB", 1);
}

/* The last two axes change places where the options say so. */
static uint32_t matmul_operand(struct tflite_node *node, uint32_t i, bool adjoint)
{
    const uint32_t rank = tflite_input(node, i)->shape.rank;
    uint32_t order[PITH_MAX_RANK];

    if (!adjoint)
        return tflite_take(node, i, FORM_PLAIN);
    if (rank < 2) {
        tflite_fail(node, -EBADMSG, "its input %u has not 2 axes", (unsigned) i);
        return PITH_NO_VALUE;
    }
    for (uint32_t k = 0; k < rank; k++)
        order[k] = k;
    order[rank - 1] = rank - 2;
    order[rank - 2] = rank - 1;
    return tflite_take_permuted(node, i, order);
}

static void batch_matmul(struct tflite_node *node)
{
    uint32_t a = matmul_operand(node, 0, flat_u8(node->options, MATMUL_ADJOINT_X, 0));
    uint32_t b = matmul_operand(node, 1, flat_u8(node->options, MATMUL_ADJOINT_Y, 0));

    tflite_emit2(node, "MatMul", a, b, tflite_result(node, 0, FORM_PLAIN));
}

const struct tflite_operator tflite_matrix_operators[] = {
    {9, "FULLY_CONNECTED", fully_connected, OPTIONS_FULLY_CONNECTED, 2, 1, "Gemm"},
    {126, "BATCH_MATMUL", batch_matmul, OPTIONS_BATCH_MATMUL, 2, 1, "MatMul"},
    {0},
};
