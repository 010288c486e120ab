/* Sums, means and what else takes an axis away, or orders it. */
#include "libpith/formats/tflite_read.h"

#include <errno.h>

/* What is left of the axes lies in the file's order, or, where they are kept, in the form of the
 * input. */
static void reduce(struct tflite_node *node)
{
    const uint32_t rank = tflite_input(node, 0)->shape.rank;
    const bool keep = flat_u8(node->options, 0, 0);
    enum tflite_form form = tflite_home(node, 0);
    int64_t axes[PITH_MAX_RANK];
    uint32_t count = tflite_ints(node, 1, axes, PITH_MAX_RANK);
    bool gone[PITH_MAX_RANK] = {false};
    uint32_t places = 0;
    const struct tflite_tensor *x = tflite_input(node, 0);
    uint32_t emitted, inputs[2], output;

    for (uint32_t k = 0; k < count; k++) {
        axes[k] = tflite_axis(node, axes[k], rank);
        gone[axes[k]] = true;
    }
    for (uint32_t k = 1; k + 1 < rank; k++)
        places += !gone[k];
    /* Channels stand before the places in a planar value: what is left is in order where one of
     * both is gone. */
    if (form == FORM_PLANAR && !keep && places && !gone[rank - 1])
        form = FORM_PLAIN;
    for (uint32_t k = 0; k < count; k++)
        axes[k] = tflite_axis_in(form, (uint32_t) axes[k], rank);
    inputs[0] = tflite_take(node, 0, form);
    inputs[1] = tflite_constant_ints(node, axes, count);
    if (x->dtype == PITH_BOOL) /* any and all: the greatest and the least of 0 and 1 */
        inputs[0] = tflite_cast(node, inputs[0], PITH_INT32);
    output = x->dtype == PITH_BOOL ? tflite_temporary(node, PITH_INT32)
                                   : tflite_result(node, 0, keep ? form : FORM_PLAIN);
    emitted = tflite_emit(node, node->row->op, inputs, 2, &output, 1);
    tflite_set_int(node, emitted, "keepdims", keep);
    if (count == 0)
        tflite_set_int(node, emitted, "noop_with_empty_axes", 1);
    if (x->dtype == PITH_BOOL) {
        emitted =
            tflite_emit1(node, "Cast", output, tflite_result(node, 0, keep ? form : FORM_PLAIN));
        tflite_set_int(node, emitted, "to", PITH_BOOL);
    }
}

/* The first of equals, as everywhere. */
static void arg_extreme(struct tflite_node *node)
{
    const uint32_t rank = tflite_input(node, 0)->shape.rank;
    int64_t axis = 0;
    uint32_t place = tflite_temporary(node, PITH_INT64), emitted;

    if (tflite_ints(node, 1, &axis, 1) != 1)
        tflite_fail(node, -EBADMSG, "it names no axis");
    emitted = tflite_emit1(node, node->row->op, tflite_take(node, 0, FORM_PLAIN), place);
    tflite_set_int(node, emitted, "axis", tflite_axis(node, axis, rank));
    tflite_set_int(node, emitted, "keepdims", 0);
    emitted = tflite_emit1(node, "Cast", place, tflite_result(node, 0, FORM_PLAIN));
    tflite_set_int(node, emitted, "to", tflite_output(node, 0)->dtype);
}

static void cumulative_sum(struct tflite_node *node)
{
    const uint32_t rank = tflite_input(node, 0)->shape.rank;
    enum tflite_form form = tflite_home(node, 0);
    int64_t axis = 0;
    uint32_t inputs[2], output, emitted;

    if (tflite_ints(node, 1, &axis, 1) != 1)
        tflite_fail(node, -EBADMSG, "it names no axis");
    axis = tflite_axis_in(form, tflite_axis(node, axis, rank), rank);
    inputs[0] = tflite_take(node, 0, form);
    inputs[1] = tflite_constant_int(node, axis);
    output = tflite_result(node, 0, form);
    emitted = tflite_emit(node, "CumSum", inputs, 2, &output, 1);
    tflite_set_int(node, emitted, "exclusive", flat_u8(node->options, 0, 0));
    tflite_set_int(node, emitted, "reverse", flat_u8(node->options, 1, 0));
}

/* Along the last axis: the values, then their places as int32. */
static void top_k(struct tflite_node *node)
{
    static const int64_t one[] = {1};
    uint32_t inputs[2], outputs[2], k, emitted;

    k = tflite_cast(node, tflite_take(node, 1, FORM_PLAIN), PITH_INT64);
    inputs[0] = tflite_take(node, 0, FORM_PLAIN);
    inputs[1] = tflite_chain2(node, "Reshape", k, tflite_constant_ints(node, one, 1), PITH_INT64);
    outputs[0] = tflite_result(node, 0, FORM_PLAIN);
    outputs[1] = tflite_temporary(node, PITH_INT64);
    emitted = tflite_emit(node, "TopK", inputs, 2, outputs, 2);
    tflite_set_int(node, emitted, "axis", -1);
    emitted = tflite_emit1(node, "Cast", outputs[1], tflite_result(node, 1, FORM_PLAIN));
    tflite_set_int(node, emitted, "to", tflite_output(node, 1)->dtype);
}

const struct tflite_operator tflite_reduce_operators[] = {
    {40, "MEAN", reduce, OPTIONS_REDUCER, 2, 1, "ReduceMean"},
    {74, "SUM", reduce, OPTIONS_REDUCER, 2, 1, "ReduceSum"},
    {81, "REDUCE_PROD", reduce, OPTIONS_REDUCER, 2, 1, "ReduceProd"},
    {82, "REDUCE_MAX", reduce, OPTIONS_REDUCER, 2, 1, "ReduceMax"},
    {89, "REDUCE_MIN", reduce, OPTIONS_REDUCER, 2, 1, "ReduceMin"},
    {91, "REDUCE_ANY", reduce, OPTIONS_REDUCER, 2, 1, "ReduceMax"},
    {140, "REDUCE_ALL", reduce, OPTIONS_REDUCER, 2, 1, "ReduceMin"},
    {56, "ARG_MAX", arg_extreme, OPTIONS_NONE, 2, 1, "ArgMax"},
    {79, "ARG_MIN", arg_extreme, OPTIONS_NONE, 2, 1, "ArgMin"},
    {128, "CUMSUM", cumulative_sum, OPTIONS_CUMSUM, 2, 1, "CumSum"},
    {48, "TOPK_V2", top_k, OPTIONS_NONE, 2, 2, "TopK"},
    {0},
};
