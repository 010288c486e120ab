/* onnx_rewrite [--raise | --qdq | --halves | --open] IN OUT: reads a model and writes it again, for comparing both in
 * ONNX Runtime, or as other exporters would have written it.
 * --raise adds a 0 that only opset 21 can hold, so that the writer carries every operator over to
 * it.
 * --qdq puts QuantizeLinear and DequantizeLinear nodes around everything, in all the ways that
 * quantizers do.
 * --halves makes all floats float16, inputs and outputs too; of models without sub-graphs.
 * --open leaves every dimension of the inputs open. */
#include "libpith/formats/onnx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_BYTES ((size_t) 1 << 31)

static void must(int rc, const char *what)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "onnx_rewrite: %s: %s\n", what, strerror(-rc));
    exit(1);
}

static uint32_t new_value(struct pith_graph *graph, int32_t dtype, const struct pith_shape *shape)
{
    uint32_t value;

    must(pith_graph_add_value(graph, NULL, dtype, shape, &value, NULL), "value");
    return value;
}

static uint32_t new_node(struct pith_graph *graph, const char *op, const uint32_t *inputs,
                         size_t count, uint32_t output)
{
    uint32_t node;

    must(pith_graph_add_node(graph, "", op, NULL, inputs, count, &output, 1, &node, NULL), op);
    return node;
}

static uint32_t new_list(struct pith_graph *graph, int32_t dtype, size_t count, double first,
                         double step)
{
    struct pith_shape shape = {.rank = count > 1, .dim = {count > 1 ? (int64_t) count : 0}};
    struct pith_tensor tensor;
    uint32_t value;

    must(pith_tensor_alloc(&tensor, dtype, &shape, NULL), "tensor");
    for (size_t i = 0; i < count; i++)
        pith_tensor_set(&tensor, (int64_t) i, first + step * (double) i);
    must(pith_graph_add_constant(graph, NULL, &tensor, &value, NULL), "constant");
    pith_tensor_free(&tensor);
    return value;
}

static bool is_float(const struct pith_graph *graph, uint32_t value)
{
    return value != PITH_NO_VALUE && pith_value_dtype(graph, value) == PITH_FLOAT32;
}

/* ---- --raise ---- */

static void add_zero(struct pith_graph *graph)
{
    const float scale = 1;
    const int32_t zero_point = 0;
    const struct pith_quantization q = {PITH_INT16, 0, 0, 1, &scale, &zero_point};

    for (size_t i = 0; i < pith_graph_output_count(graph); i++) {
        uint32_t y = pith_graph_output(graph, i);
        uint32_t producer = pith_value_producer(graph, y);
        uint32_t raw;
        uint32_t zero;

        if (!is_float(graph, y) || producer == PITH_NO_NODE)
            continue;
        raw = new_value(graph, PITH_FLOAT32, pith_value_shape(graph, y));
        for (size_t k = 0; k < pith_node_output_count(graph, producer); k++)
            if (pith_node_output(graph, producer, k) == y)
                must(pith_node_set_output(graph, producer, k, raw), "output");
        zero = new_list(graph, PITH_INT16, 1, 0, 0);
        must(pith_value_set_quantization(graph, zero, &q), "quantization");
        (void) new_node(graph, "Add", (const uint32_t[]){raw, zero}, 2, y);
        return;
    }
    fprintf(stderr, "onnx_rewrite: no float output to add 0 to\n");
    exit(3);
}

/* ---- --qdq ---- */

struct grid {
    uint32_t scale, zero_point; /* constants */
    int32_t dtype;
    int64_t axis; /* -1: per tensor */
};

static uint32_t add_pair(struct pith_graph *graph, uint32_t x, const struct grid *grid)
{
    const struct pith_shape *shape = pith_value_shape(graph, x);
    uint32_t q = new_value(graph, grid->dtype, shape);
    uint32_t y = new_value(graph, PITH_FLOAT32, shape);
    uint32_t quantize = new_node(graph, "QuantizeLinear",
                                 (const uint32_t[]){x, grid->scale, grid->zero_point}, 3, q);
    uint32_t dequantize = new_node(graph, "DequantizeLinear",
                                   (const uint32_t[]){q, grid->scale, grid->zero_point}, 3, y);

    if (grid->axis >= 0) {
        must(pith_node_set_int(graph, quantize, "axis", grid->axis), "axis");
        must(pith_node_set_int(graph, dequantize, "axis", grid->axis), "axis");
    }
    return y;
}

static struct grid activation_grid(struct pith_graph *graph, uint32_t value)
{
    return (struct grid){new_list(graph, PITH_FLOAT32, 1, 0.01 + 0.002 * (value % 13), 0),
                         new_list(graph, PITH_UINT8, 1, 100 + value % 50, 0), PITH_UINT8, -1};
}

/* Every way in turn: one pair for all, a pair a user, a pair behind a pair on another grid, and a
 * pair for the first user while the others see the value as it is. */
static void quantize_activation(struct pith_graph *graph, uint32_t x, unsigned way)
{
    struct grid grid = activation_grid(graph, x);
    size_t count;
    const uint32_t *list = pith_value_users(graph, x, &count);
    uint32_t *users = malloc((count + 1) * sizeof *users);
    uint32_t y = PITH_NO_VALUE;

    if (count)
        memcpy(users, list, count * sizeof *users);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < pith_node_input_count(graph, users[i]); k++) {
            if (pith_node_input(graph, users[i], k) != x)
                continue;
            if (y == PITH_NO_VALUE || way == 1)
                y = add_pair(graph, x, &grid);
            if (way == 2 && i == 0) {
                struct grid second = activation_grid(graph, x + 1);

                y = add_pair(graph, y, &second);
            }
            if (way != 3 || i == 0)
                must(pith_node_set_input(graph, users[i], k, y), "input");
        }
    }
    free(users);
}

static uint32_t dequantized(struct pith_graph *graph, const struct pith_tensor *w, int32_t dtype,
                            const struct grid *grid)
{
    const struct pith_tensor *scale = pith_value_constant(graph, grid->scale);
    int64_t count = pith_shape_elements(&w->shape);
    int64_t channels = pith_shape_elements(&scale->shape);
    const uint32_t inputs[] = {0, grid->scale, grid->zero_point};
    uint32_t y = new_value(graph, PITH_FLOAT32, &w->shape);
    struct pith_tensor integers;
    uint32_t all[3];
    uint32_t node;

    memcpy(all, inputs, sizeof all);
    must(pith_tensor_alloc(&integers, dtype, &w->shape, NULL), "tensor");
    for (int64_t i = 0; i < count; i++) /* along axis 0 */
        pith_tensor_set(&integers, i,
                        pith_tensor_get(w, i) /
                            pith_tensor_get(scale, channels > 1 ? i / (count / channels) : 0));
    must(pith_graph_add_constant(graph, NULL, &integers, &all[0], NULL), "constant");
    pith_tensor_free(&integers);
    node = new_node(graph, "DequantizeLinear", all, dtype == PITH_INT32 ? 2 : 3, y);
    if (grid->axis >= 0)
        must(pith_node_set_int(graph, node, "axis", grid->axis), "axis");
    return y;
}

static void quantize_weights(struct pith_graph *graph, uint32_t node, unsigned way)
{
    uint32_t weights = pith_node_input(graph, node, 1);
    uint32_t bias = pith_node_input(graph, node, 2);
    const struct pith_tensor *w = pith_value_constant(graph, weights);
    bool per_axis = pith_graph_opset(graph, "") >= 13 && !strcmp(pith_node_op(graph, node), "Conv");
    size_t channels;
    struct grid grid = {.dtype = PITH_INT8, .axis = per_axis ? 0 : -1};

    if (!w || w->dtype != PITH_FLOAT32 || w->shape.rank < 2)
        return;
    channels = per_axis ? (size_t) w->shape.dim[0] : 1;
    if (channels == 1)
        grid.axis = -1;
    grid.scale = new_list(graph, PITH_FLOAT32, channels, 0.01, 0.0001);
    grid.zero_point = new_list(graph, PITH_INT8, channels, 0, 0);
    must(pith_node_set_input(graph, node, 1,
                             way % 2 ? add_pair(graph, weights, &grid)
                                     : dequantized(graph, w, PITH_INT8, &grid)),
         "input");
    w = bias == PITH_NO_VALUE ? NULL : pith_value_constant(graph, bias);
    if (w && w->dtype == PITH_FLOAT32 && w->shape.rank == 1 && per_axis &&
        w->shape.dim[0] == (int64_t) channels) {
        grid.scale = new_list(graph, PITH_FLOAT32, channels, 0.001, 0.00001);
        must(pith_node_set_input(graph, node, 2, dequantized(graph, w, PITH_INT32, &grid)),
             "input");
    }
}

static void quantize_all(struct pith_graph *graph)
{
    uint32_t values = pith_graph_value_limit(graph);
    uint32_t nodes = pith_graph_node_limit(graph);

    if (pith_graph_opset(graph, "") < 10) {
        fprintf(stderr, "onnx_rewrite: opset %lld has no QuantizeLinear\n",
                (long long) pith_graph_opset(graph, ""));
        exit(3);
    }
    for (uint32_t i = 0; i < nodes; i++)
        if (!strcmp(pith_node_op(graph, i), "Conv") || !strcmp(pith_node_op(graph, i), "Gemm") ||
            !strcmp(pith_node_op(graph, i), "MatMul"))
            quantize_weights(graph, i, i);
    for (uint32_t i = 0; i < values; i++)
        if (is_float(graph, i) && !pith_value_constant(graph, i) &&
            !pith_value_is_captured(graph, i))
            quantize_activation(graph, i, i % 4);
    for (size_t i = 0; i < pith_graph_output_count(graph); i++) {
        uint32_t y = pith_graph_output(graph, i);
        struct grid grid;
        uint32_t rounded;

        if (!is_float(graph, y) || pith_value_is_input(graph, y))
            continue;
        grid = activation_grid(graph, y);
        rounded = add_pair(graph, y, &grid);
        pith_graph_set_output(graph, i, rounded);
        pith_value_swap_names(graph, y, rounded);
    }
}

/* ---- --halves ---- */

/* What the constant stands for at `index`; quantized ones are of one scale or one along an axis. */
static double real_at(const struct pith_graph *graph, uint32_t value, int64_t index)
{
    const struct pith_tensor *constant = pith_value_constant(graph, value);
    const struct pith_quantization *grid = pith_value_quantization(graph, value);
    int64_t inner = 1;
    size_t at;

    if (!grid)
        return pith_tensor_get(constant, index);
    for (uint32_t axis = (uint32_t) grid->axis + 1; axis < constant->shape.rank; axis++)
        inner *= constant->shape.dim[axis];
    at = grid->count > 1 ? (size_t) (index / inner) % grid->count : 0;
    return (double) grid->scale[at] * (pith_tensor_get(constant, index) - grid->zero_point[at]);
}

static void halve_constant(struct pith_graph *graph, uint32_t value)
{
    const struct pith_tensor *constant = pith_value_constant(graph, value);
    struct pith_tensor halves;

    must(pith_tensor_alloc(&halves, PITH_FLOAT16, &constant->shape, NULL), "tensor");
    for (int64_t i = 0; i < pith_shape_elements(&constant->shape); i++)
        pith_tensor_set(&halves, i, real_at(graph, value, i));
    must(pith_value_set_quantization(graph, value, NULL), "quantization");
    must(pith_value_take_constant(graph, value, &halves), "constant");
}

static void halve_all(struct pith_graph *graph)
{
    for (uint32_t value = 0; value < pith_graph_value_limit(graph); value++) {
        const struct pith_shape *shape = pith_value_shape(graph, value);
        const struct pith_shape copy = shape ? *shape : (struct pith_shape){0};

        if (!is_float(graph, value))
            continue;
        if (pith_value_constant(graph, value))
            halve_constant(graph, value);
        else
            must(pith_value_set_type(graph, value, PITH_FLOAT16, shape ? &copy : NULL), "type");
    }
    for (uint32_t node = 0; node < pith_graph_node_limit(graph); node++)
        if (pith_node_exists(graph, node) && pith_node_int(graph, node, "to", 0) == PITH_FLOAT32)
            must(pith_node_set_int(graph, node, "to", PITH_FLOAT16), "Cast");
}

/* ---- --open ---- */

static void open_inputs(struct pith_graph *graph)
{
    for (size_t i = 0; i < pith_graph_input_count(graph); i++) {
        const uint32_t value = pith_graph_input(graph, i);
        struct pith_shape shape = *pith_value_shape(graph, value);

        for (uint32_t axis = 0; axis < shape.rank; axis++)
            shape.dim[axis] = PITH_DIM_UNKNOWN;
        must(pith_value_set_type(graph, value, pith_value_dtype(graph, value), &shape), "shape");
    }
    must(pith_graph_infer(graph, NULL, NULL), "shapes");
}

int main(int argc, char **argv)
{
    const char *mode = argc == 4 ? argv[1] : "";
    struct pith_graph *graph = NULL;
    struct pith_error err = {0};

    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: onnx_rewrite [--raise | --qdq | --halves | --open] IN OUT\n");
        return 2;
    }
    if (pith_graph_open(&graph, argv[argc - 2], LIMIT_BYTES, &err) < 0) {
        fprintf(stderr, "onnx_rewrite: %s\n", pith_error_text(&err));
        return 1;
    }
    if (!strcmp(mode, "--raise"))
        add_zero(graph);
    else if (!strcmp(mode, "--qdq"))
        quantize_all(graph);
    else if (!strcmp(mode, "--halves"))
        halve_all(graph);
    else if (!strcmp(mode, "--open"))
        open_inputs(graph);
    if (pith_graph_validate(graph, &err) < 0 ||
        pith_onnx_save(graph, argv[argc - 1], NULL, &err) < 0) {
        fprintf(stderr, "onnx_rewrite: %s\n", pith_error_text(&err));
        pith_graph_free(graph);
        return 1;
    }
    pith_graph_free(graph);
    return 0;
}
