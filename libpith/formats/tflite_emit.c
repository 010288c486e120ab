/* Nodes and constants of a translation. A node is named after its operator and its place in the
 * file, so that whatever is said of it later leads back there: "CONV_2D_12", and "CONV_2D_12_1" for
 * a further one. */
#include "libpith/formats/tflite_read.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NODE_NAME_BYTES 64

void tflite_fail(struct tflite_node *node, int code, const char *format, ...)
{
    va_list arguments;

    if (node->rc < 0)
        return;
    va_start(arguments, format);
    node->rc = pith_vfail(node->err, code, format, arguments);
    va_end(arguments);
}

/* ---- nodes ---- */

static bool lacks_one(const uint32_t *values, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (values[i] == PITH_NO_VALUE)
            return true;
    return count == 0;
}

uint32_t tflite_emit(struct tflite_node *node, const char *op, const uint32_t *inputs,
                     uint32_t input_count, const uint32_t *outputs, uint32_t output_count)
{
    char name[NODE_NAME_BYTES];
    uint32_t emitted = PITH_NO_NODE;

    if (node->rc < 0 || lacks_one(outputs, output_count))
        return PITH_NO_NODE;
    if (node->emitted++)
        (void) snprintf(name, sizeof name, "%s_%u_%u", node->row->name, (unsigned) node->index,
                        (unsigned) node->emitted - 1);
    else
        (void) snprintf(name, sizeof name, "%s_%u", node->row->name, (unsigned) node->index);
    node->rc = pith_graph_add_node(node->reader->graph, "", op, name, inputs, input_count, outputs,
                                   output_count, &emitted, node->err);
    return node->rc < 0 ? PITH_NO_NODE : emitted;
}

uint32_t tflite_emit1(struct tflite_node *node, const char *op, uint32_t input, uint32_t output)
{
    return tflite_emit(node, op, &input, 1, &output, 1);
}

uint32_t tflite_emit2(struct tflite_node *node, const char *op, uint32_t a, uint32_t b,
                      uint32_t output)
{
    const uint32_t inputs[] = {a, b};

    (void) tflite_emit(node, op, inputs, 2, &output, 1);
    return output;
}

uint32_t tflite_chain1(struct tflite_node *node, const char *op, uint32_t input, int32_t dtype)
{
    uint32_t output = tflite_temporary(node, dtype);

    (void) tflite_emit1(node, op, input, output);
    return output;
}

uint32_t tflite_chain2(struct tflite_node *node, const char *op, uint32_t a, uint32_t b,
                       int32_t dtype)
{
    return tflite_emit2(node, op, a, b, tflite_temporary(node, dtype));
}

/* ---- attributes ---- */

void tflite_set_int(struct tflite_node *node, uint32_t emitted, const char *attribute,
                    int64_t value)
{
    if (node->rc == 0)
        node->rc = pith_node_set_int(node->reader->graph, emitted, attribute, value);
}

void tflite_set_float(struct tflite_node *node, uint32_t emitted, const char *attribute,
                      float value)
{
    if (node->rc == 0)
        node->rc = pith_node_set_float(node->reader->graph, emitted, attribute, value);
}

void tflite_set_string(struct tflite_node *node, uint32_t emitted, const char *attribute,
                       const char *value)
{
    if (node->rc == 0)
        node->rc = pith_node_set_string(node->reader->graph, emitted, attribute, value);
}

void tflite_set_ints(struct tflite_node *node, uint32_t emitted, const char *attribute,
                     const int64_t *values, uint32_t count)
{
    if (node->rc == 0)
        node->rc = pith_node_set_ints(node->reader->graph, emitted, attribute, values, count);
}

/* ---- constants ---- */

static uint32_t add_constant(struct tflite_node *node, int32_t dtype,
                             const struct pith_shape *shape, const void *data, size_t bytes)
{
    const struct pith_tensor tensor = {dtype, *shape, (void *) (uintptr_t) data, bytes};
    uint32_t value = PITH_NO_VALUE;

    if (node->rc < 0)
        return PITH_NO_VALUE;
    node->rc = pith_graph_add_constant(node->reader->graph, NULL, &tensor, &value, node->err);
    return node->rc < 0 ? PITH_NO_VALUE : value;
}

uint32_t tflite_constant_ints(struct tflite_node *node, const int64_t *values, uint32_t count)
{
    const struct pith_shape shape = {1, {count}};

    return add_constant(node, PITH_INT64, &shape, values, count * sizeof *values);
}

uint32_t tflite_constant_int(struct tflite_node *node, int64_t value)
{
    return add_constant(node, PITH_INT64, &(struct pith_shape){0}, &value, sizeof value);
}

uint32_t tflite_constant_float(struct tflite_node *node, float value)
{
    return add_constant(node, PITH_FLOAT32, &(struct pith_shape){0}, &value, sizeof value);
}

/* ---- small pieces ---- */

uint32_t tflite_cast(struct tflite_node *node, uint32_t input, int32_t to)
{
    uint32_t output = tflite_temporary(node, to);
    uint32_t emitted = tflite_emit1(node, "Cast", input, output);

    tflite_set_int(node, emitted, "to", to);
    return output;
}

uint32_t tflite_activate(struct tflite_node *node, int activation, uint32_t output)
{
    static const struct {
        const char *op;
        float low, high;
    } rows[] = {
        [ACTIVATION_RELU] = {"Relu", 0, 0},
        [ACTIVATION_RELU_N1_TO_1] = {"Clip", -1, 1},
        [ACTIVATION_RELU6] = {"Clip", 0, 6},
        [ACTIVATION_TANH] = {"Tanh", 0, 0},
    };
    uint32_t inputs[3];

    if (activation < ACTIVATION_RELU || activation > ACTIVATION_TANH) {
        tflite_fail(node, -ENOTSUP, "its fused activation is number %d, which is not known",
                    activation);
        return PITH_NO_VALUE;
    }
    if (node->rc < 0)
        return PITH_NO_VALUE;
    inputs[0] = tflite_temporary(node, pith_value_dtype(node->reader->graph, output));
    if (rows[activation].high <= rows[activation].low) {
        (void) tflite_emit1(node, rows[activation].op, inputs[0], output);
        return inputs[0];
    }
    inputs[1] = tflite_constant_float(node, rows[activation].low);
    inputs[2] = tflite_constant_float(node, rows[activation].high);
    (void) tflite_emit(node, "Clip", inputs, 3, &output, 1);
    return inputs[0];
}

void tflite_emit_linear(struct tflite_node *node, const char *op,
                        const struct pith_quantization *grid, uint32_t input, uint32_t output)
{
    const uint16_t zero =
        (uint16_t) grid->zero_point[0]; /* the low byte first, as everywhere here */
    uint32_t inputs[] = {input, tflite_constant_float(node, grid->scale[0]), PITH_NO_VALUE};

    inputs[2] = add_constant(node, grid->dtype, &(struct pith_shape){0}, &zero,
                             pith_dtype_bits(grid->dtype) > 8 ? 2 : 1);
    (void) tflite_emit(node, op, inputs, 3, &output, 1);
}
