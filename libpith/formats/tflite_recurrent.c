/* Layers with a state. TensorFlow Lite has a tensor for each gate, ONNX one for all, in the order
 * i, o, f, c. */
#include "libpith/formats/tflite_read.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define GATES 4

/* Inputs of UNIDIRECTIONAL_SEQUENCE_LSTM: four gates each (i, f, c, o) where a list begins. */
enum {
    LSTM_INPUT = 0,
    LSTM_WEIGHTS = 1,
    LSTM_RECURRENT = 5,
    LSTM_PEEPHOLES = 9,
    LSTM_BIAS = 12,
    LSTM_PROJECTION = 16,
    LSTM_NORMALIZATION = 20,
    LSTM_INPUTS = 24
};
enum { LSTM_ACTIVATION = 0, LSTM_CELL_CLIP = 1, LSTM_PROJECTION_CLIP = 2, LSTM_TIME_MAJOR = 3 };

/* ONNX's gate g is the file's gate order[g]. */
static const uint32_t gate_order[GATES] = {0, 3, 1, 2};

/* Row `k` of a gate's tensor, as the reals that it stands for. */
static float real_at(const struct tflite_tensor *tensor, int64_t k)
{
    const struct pith_quantization *grid = &tensor->quantization;
    float stored = (float) pith_tensor_get(&tensor->constant, k);

    return grid->count == 1 ? (stored - (float) grid->zero_point[0]) * grid->scale[0] : stored;
}

/* Gate tensors, each of `rows` x `columns`, one below the other; `room` elements of zero behind
 * them. */
static uint32_t join_gates(struct tflite_node *node, uint32_t first, int64_t rows, int64_t columns,
                           int64_t room, bool is_list)
{
    const struct pith_shape shape = is_list ? (struct pith_shape){2, {1, GATES * rows + room}}
                                            : (struct pith_shape){3, {1, GATES * rows, columns}};
    uint32_t value = tflite_temporary(node, PITH_FLOAT32);
    struct pith_tensor joined;

    if (node->rc == 0)
        node->rc = tflite_count_copy(
            node->reader, (uint64_t) (GATES * rows * columns + room) * sizeof(float), node->err);
    if (node->rc == 0)
        node->rc = pith_tensor_alloc(&joined, PITH_FLOAT32, &shape, node->err);
    if (node->rc < 0)
        return PITH_NO_VALUE;
    for (uint32_t g = 0; g < GATES && node->rc == 0; g++) {
        const struct tflite_tensor *gate = tflite_input(node, first + gate_order[g]);

        if (!gate || !gate->constant.data || gate->quantization.count > 1 ||
            pith_shape_elements(&gate->shape) != rows * columns)
            tflite_fail(node, -ENOTSUP,
                        "its input %u is no constant of %lld x %lld elements with one scale",
                        (unsigned) (first + gate_order[g]), (long long) rows, (long long) columns);
        for (int64_t k = 0; node->rc == 0 && k < rows * columns; k++)
            ((float *) joined.data)[g * rows * columns + k] = real_at(gate, k);
    }
    if (node->rc == 0)
        node->rc = pith_value_take_constant(node->reader->graph, value, &joined);
    pith_tensor_free(&joined); /* where it was not taken */
    return node->rc == 0 ? value : PITH_NO_VALUE;
}

static bool any_input(const struct tflite_node *node, uint32_t first, uint32_t end)
{
    for (uint32_t i = first; i < end; i++)
        if (tflite_input(node, i))
            return true;
    return false;
}

/* What ONNX's LSTM has no place for. Keras clips the cell at 10, which trained cells stay far
 * below: that is left out, and said in the graph's metadata. */
static void check_lstm(struct tflite_node *node)
{
    float clip = flat_float(node->options, LSTM_CELL_CLIP, 0);
    char text[96];

    if (!tflite_input(node, LSTM_WEIGHTS))
        tflite_fail(node, -ENOTSUP, "its input and forget gates are coupled");
    else if (any_input(node, LSTM_PEEPHOLES, LSTM_BIAS))
        tflite_fail(node, -ENOTSUP, "it has peepholes");
    else if (any_input(node, LSTM_PROJECTION, LSTM_PROJECTION + 2))
        tflite_fail(node, -ENOTSUP, "it has a projection");
    else if (any_input(node, LSTM_NORMALIZATION, LSTM_INPUTS))
        tflite_fail(node, -ENOTSUP, "it normalizes its gates");
    else if (flat_i8(node->options, LSTM_ACTIVATION, ACTIVATION_TANH) != ACTIVATION_TANH)
        tflite_fail(node, -ENOTSUP, "its activation is not tanh");
    else if (clip > 0 && clip < 10)
        tflite_fail(node, -ENOTSUP, "it clips its cell at %g", (double) clip);
    if (node->rc < 0 || !(clip > 0))
        return;
    (void) snprintf(text, sizeof text, "%s_%u: its cell is not clipped at %g", node->row->name,
                    (unsigned) node->index, (double) clip);
    node->rc = pith_graph_set_metadata(node->reader->graph, "pith.warning", text);
}

static void sequence_lstm(struct tflite_node *node)
{
    static const uint32_t swap[] = {1, 0, 2};
    static const int64_t second[] = {1};
    const struct tflite_tensor *x = tflite_input(node, LSTM_INPUT);
    const struct tflite_tensor *r = tflite_input(node, LSTM_RECURRENT + 1);
    bool time_major = flat_u8(node->options, LSTM_TIME_MAJOR, 0);
    uint32_t inputs[4], y, emitted;
    int64_t hidden, width;

    check_lstm(node);
    if (!r || r->shape.rank != 2 || x->shape.rank != 3 || x->shape.dim[2] < 1)
        tflite_fail(node, -EBADMSG, "its input has not 3 axes, or its recurrent weights not 2");
    if (node->rc < 0)
        return;
    hidden = r->shape.dim[0];
    width = x->shape.dim[2];
    inputs[0] = tflite_take(node, LSTM_INPUT, FORM_PLAIN);
    if (!time_major)
        inputs[0] = tflite_transpose(node, inputs[0], swap, 3, tflite_moved(node, LSTM_INPUT));
    inputs[1] = join_gates(node, LSTM_WEIGHTS, hidden, width, 0, false);
    inputs[2] = join_gates(node, LSTM_RECURRENT, hidden, hidden, 0, false);
    inputs[3] = join_gates(node, LSTM_BIAS, hidden, 1, GATES * hidden, true);
    y = tflite_temporary(node, PITH_FLOAT32);
    emitted = tflite_emit(node, "LSTM", inputs, 4, &y, 1);
    tflite_set_int(node, emitted, "hidden_size", hidden);
    if (time_major) {
        tflite_emit2(node, "Squeeze", y, tflite_constant_ints(node, second, 1),
                     tflite_result(node, 0, FORM_PLAIN));
        return;
    }
    y = tflite_chain2(node, "Squeeze", y, tflite_constant_ints(node, second, 1), PITH_FLOAT32);
    (void) tflite_transpose(node, y, swap, 3, tflite_result(node, 0, FORM_PLAIN));
}

const struct tflite_operator tflite_recurrent_operators[] = {
    {44, "UNIDIRECTIONAL_SEQUENCE_LSTM", sequence_lstm, OPTIONS_UNIDIRECTIONAL_SEQUENCE_LSTM, 1, 1,
     "LSTM"},
    {0},
};
