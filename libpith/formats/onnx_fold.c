/* QuantizeLinear and DequantizeLinear nodes -> values' quantization. A pair is folded only where
 * the graph means the same afterwards to the last bit; everything else stays the two operators that
 * it is. */
#include "libpith/formats/onnx_quantization.h"
#include "libpith/graph/graph_internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_op(const struct pith_graph *graph, uint32_t node, const char *op)
{
    return node != PITH_NO_NODE && pith_node_exists(graph, node) &&
           !strcmp(pith_node_op(graph, node), op) && !pith_node_domain(graph, node)[0];
}

static bool is_quantize(const struct pith_graph *graph, uint32_t node)
{
    return is_op(graph, node, "QuantizeLinear");
}

static bool is_dequantize(const struct pith_graph *graph, uint32_t node)
{
    return is_op(graph, node, "DequantizeLinear");
}

/* The constant behind a value, in this graph or in the one that it is captured from; NULL where
 * there is none, or where it is quantized itself. */
static const struct constant *find_constant(const struct pith_graph *graph, uint32_t value)
{
    while (value != PITH_NO_VALUE) {
        const struct value *of = graph_value(graph, value);
        uint32_t outer = PITH_NO_VALUE;

        if (of->constant.backing)
            return of->quantization ? NULL : &of->constant;
        if (!of->is_captured || !graph->around)
            return NULL;
        for (size_t i = 0; i < graph->capture_count; i++)
            if (graph->captures[i].inner == value)
                outer = graph->captures[i].outer;
        graph = graph->around;
        value = outer;
    }
    return NULL;
}

/* ---- scales and zero points of a node ---- */

struct grid {
    struct pith_quantization q; /* its arrays are malloc'ed */
    int32_t real;               /* the type of the reals: that of the scale */
};

static void grid_done(struct grid *grid)
{
    free((void *) (uintptr_t) grid->q.scale);
    free((void *) (uintptr_t) grid->q.zero_point);
    *grid = (struct grid){0};
}

static bool is_integer_type(int32_t dtype)
{
    return dtype == PITH_INT8 || dtype == PITH_UINT8 || dtype == PITH_INT16 ||
           dtype == PITH_UINT16 || dtype == PITH_INT4 || dtype == PITH_UINT4 || dtype == PITH_INT32;
}

/* axis as the node says, from the front; -1 where the rank that it counts from is unknown or too
 * small. */
static int32_t find_axis(const struct pith_graph *graph, uint32_t node)
{
    const struct pith_shape *shape = pith_value_shape(graph, pith_node_input(graph, node, 0));
    int64_t axis = pith_node_int(graph, node, "axis", 1);

    if (axis < 0 && shape)
        axis += shape->rank;
    if (axis < 0 || axis >= (shape ? (int64_t) shape->rank : PITH_MAX_RANK))
        return -1;
    return (int32_t) axis;
}

/* Whether as many scales are there as the struct's rules ask for. */
static bool count_is_right(const struct pith_quantization *q, const struct pith_tensor *scale,
                           const struct pith_shape *shape)
{
    struct pith_shape wanted;

    if (q->block_size == 0)
        return scale->shape.rank == 1 &&
               (!shape || shape->dim[q->axis] < 0 || shape->dim[q->axis] == (int64_t) q->count);
    if (!shape || !pith_shape_known(shape))
        return false;
    wanted = *shape;
    wanted.dim[q->axis] = (shape->dim[q->axis] + q->block_size - 1) / q->block_size;
    return pith_shape_equal(&wanted, &scale->shape);
}

static int copy_numbers(struct grid *grid, const struct pith_tensor *scale,
                        const struct pith_tensor *zero_point)
{
    float *scales = malloc(grid->q.count * sizeof *scales);
    int32_t *zeros = calloc(grid->q.count, sizeof *zeros);

    grid->q.scale = scales;
    grid->q.zero_point = zeros;
    if (!scales || !zeros)
        return -ENOMEM;
    for (size_t i = 0; i < grid->q.count; i++) {
        scales[i] = (float) pith_tensor_get(scale, (int64_t) i);
        if (zero_point)
            zeros[i] = (int32_t) pith_tensor_get_int(zero_point, (int64_t) i);
        if (!isfinite(scales[i]) || scales[i] <= 0 || (grid->q.dtype == PITH_INT32 && zeros[i]))
            return 0;
    }
    return 1;
}

/* 1: *out is filled; 0: it is no grid that a value can have, and the node stays; -ENOMEM.
 * dtype: of the integers where the node's zero point doesn't say. */
static int read_grid(const struct pith_graph *graph, uint32_t node, int32_t dtype, struct grid *out)
{
    const struct constant *scale = find_constant(graph, pith_node_input(graph, node, 1));
    uint32_t zero_value = pith_node_input(graph, node, 2);
    const struct constant *zero = find_constant(graph, zero_value);
    const struct pith_shape *shape = pith_value_shape(graph, pith_node_input(graph, node, 0));
    struct grid grid = {0};
    int64_t count;
    int rc;

    if (!scale || (zero_value != PITH_NO_VALUE && !zero))
        return 0;
    grid.real = scale->tensor.dtype;
    grid.q.dtype = zero ? zero->tensor.dtype : dtype;
    count = pith_shape_elements(&scale->tensor.shape);
    if (!is_integer_type(grid.q.dtype) || count < 1 ||
        (grid.real != PITH_FLOAT32 && grid.real != PITH_FLOAT16 && grid.real != PITH_BFLOAT16) ||
        (zero && pith_shape_elements(&zero->tensor.shape) != count))
        return 0;
    grid.q.count = (size_t) count;
    grid.q.block_size = pith_node_int(graph, node, "block_size", 0);
    if (count > 1 || grid.q.block_size != 0) {
        grid.q.axis = find_axis(graph, node);
        if (grid.q.axis < 0 || grid.q.block_size < 0 ||
            !count_is_right(&grid.q, &scale->tensor, shape))
            return 0;
    }
    rc = copy_numbers(&grid, &scale->tensor, zero ? &zero->tensor : NULL);
    if (rc == 1)
        *out = grid;
    else
        grid_done(&grid);
    return rc;
}

static bool same_grid(const struct grid *a, const struct grid *b)
{
    return a->real == b->real && a->q.dtype == b->q.dtype && a->q.axis == b->q.axis &&
           a->q.block_size == b->q.block_size && a->q.count == b->q.count &&
           !memcmp(a->q.scale, b->q.scale, a->q.count * sizeof *a->q.scale) &&
           !memcmp(a->q.zero_point, b->q.zero_point, a->q.count * sizeof *a->q.zero_point);
}

/* What QuantizeLinear makes where it has no zero point. */
static int32_t quantized_type(const struct pith_graph *graph, uint32_t node)
{
    int64_t dtype = pith_node_int(graph, node, "output_dtype", 0);

    return dtype ? (int32_t) dtype : PITH_UINT8;
}

/* What nothing makes or uses any more: its constant goes, and its name is free for when it is
 * written again. */
static void drop_value(struct pith_graph *graph, uint32_t value)
{
    struct value *unused = value == PITH_NO_VALUE ? NULL : graph_value(graph, value);

    if (!unused || pith_value_use_count(graph, value) > 0 || unused->is_input ||
        unused->is_captured || unused->producer != PITH_NO_NODE)
        return;
    constant_clear(&unused->constant);
    graph_release_name(graph, value);
}

/* Scales and zero points that nothing else uses are dropped with their node. */
static void drop_node(struct pith_graph *graph, uint32_t node)
{
    uint32_t inputs[3];

    for (size_t i = 0; i < 3; i++)
        inputs[i] = pith_node_input(graph, node, i);
    pith_graph_remove_node(graph, node);
    for (size_t i = 0; i < 3; i++)
        drop_value(graph, inputs[i]);
}

/* ---- constants ---- */

/* integers -> DequantizeLinear -> y: y holds the integers. */
static int fold_constant(struct pith_graph *graph, uint32_t node)
{
    uint32_t y = pith_node_output(graph, node, 0);
    const struct constant *integers = find_constant(graph, pith_node_input(graph, node, 0));
    struct pith_backing *backing;
    struct pith_tensor tensor;
    struct grid grid;
    int rc;

    if (!integers || y == PITH_NO_VALUE)
        return 0;
    rc = read_grid(graph, node, integers->tensor.dtype, &grid);
    if (rc <= 0)
        return rc;
    if (grid.q.dtype != integers->tensor.dtype) {
        grid_done(&grid);
        return 0;
    }
    tensor = integers->tensor;
    backing = pith_backing_hold(integers->backing);
    drop_node(graph, node);
    rc = pith_value_adopt_constant(graph, y, &tensor, backing);
    if (rc == 0)
        rc = pith_value_set_quantization(graph, y, &grid.q);
    if (rc == 0)
        rc = pith_value_set_type(graph, y, grid.real, &tensor.shape);
    pith_backing_drop(backing);
    grid_done(&grid);
    return rc;
}

/* As QuantizeLinear does it: division, rounding to even, saturation. */
static double quantize_one(float x, float scale, int32_t zero_point)
{
    return (double) nearbyintf(x / scale) + zero_point;
}

static int quantize_tensor(struct pith_tensor *out, const struct pith_tensor *x,
                           const struct grid *grid)
{
    const struct pith_shape *shape = &x->shape;
    int64_t inner = 1;
    int64_t along = grid->q.count > 1 ? shape->dim[grid->q.axis] : 1;
    int64_t total = pith_shape_elements(shape);
    int rc = pith_tensor_alloc(out, grid->q.dtype, shape, NULL);

    if (rc < 0)
        return rc;
    for (uint32_t i = (uint32_t) grid->q.axis + 1; i < shape->rank && grid->q.count > 1; i++)
        inner *= shape->dim[i];
    for (int64_t i = 0; i < total; i++) {
        size_t at = grid->q.count > 1 ? (size_t) (i / inner % along) : 0;

        pith_tensor_set(
            out, i,
            quantize_one((float) pith_tensor_get(x, i), grid->q.scale[at], grid->q.zero_point[at]));
    }
    return 0;
}

static bool all_finite(const struct pith_tensor *x)
{
    int64_t total = pith_shape_elements(&x->shape);

    for (int64_t i = 0; i < total; i++)
        if (!isfinite(pith_tensor_get(x, i)))
            return false;
    return true;
}

/* weights -> QuantizeLinear -> q: q becomes a constant, which DequantizeLinear nodes behind it fold
 * with. */
static int fold_weights(struct pith_graph *graph, uint32_t node)
{
    uint32_t q = pith_node_output(graph, node, 0);
    const struct constant *weights = find_constant(graph, pith_node_input(graph, node, 0));
    struct pith_tensor integers;
    struct grid grid;
    int rc;

    if (!weights || weights->tensor.dtype != PITH_FLOAT32 || q == PITH_NO_VALUE)
        return 0;
    rc = read_grid(graph, node, quantized_type(graph, node), &grid);
    if (rc <= 0)
        return rc;
    rc = 0;
    if (grid.real == PITH_FLOAT32 && grid.q.dtype != PITH_INT32 && grid.q.block_size == 0 &&
        all_finite(&weights->tensor)) {
        rc = quantize_tensor(&integers, &weights->tensor, &grid);
        if (rc == 0) {
            drop_node(graph, node);
            rc = pith_value_take_constant(graph, q, &integers);
            if (rc < 0)
                pith_tensor_free(&integers);
        }
    }
    grid_done(&grid);
    return rc;
}

/* ---- activations ---- */

/* Whether all that becomes of q, which the node makes, is DequantizeLinear on the same grid. Counts
 * outputs of the graph among what those make. 1, 0, -ENOMEM. */
static int only_dequantized(const struct pith_graph *graph, uint32_t q, const struct grid *grid,
                            size_t *outputs)
{
    size_t count;
    const uint32_t *users = pith_value_users(graph, q, &count);
    int rc = count > 0 && !pith_value_is_output(graph, q);

    for (size_t i = 0; i < count && rc == 1; i++) {
        uint32_t y = pith_node_output(graph, users[i], 0);
        struct grid other;

        if (!is_dequantize(graph, users[i]) || pith_node_input(graph, users[i], 0) != q ||
            y == PITH_NO_VALUE)
            return 0;
        rc = read_grid(graph, users[i], grid->q.dtype, &other);
        if (rc <= 0)
            return rc;
        if (!same_grid(grid, &other))
            rc = 0;
        grid_done(&other);
        *outputs += pith_value_is_output(graph, y);
    }
    return rc;
}

/* Whether every use of x is a pair on this grid, so that nobody sees x unrounded. */
static int only_quantized(const struct pith_graph *graph, uint32_t x, const struct grid *grid)
{
    size_t count;
    const uint32_t *users = pith_value_users(graph, x, &count);
    size_t outputs = 0;
    int rc = 1;

    if (pith_value_is_output(graph, x) || pith_value_is_captured(graph, x) ||
        pith_value_quantization(graph, x) || pith_value_constant(graph, x))
        return 0;
    for (size_t i = 0; i < count && rc == 1; i++) {
        uint32_t q = pith_node_output(graph, users[i], 0);
        struct grid other;

        if (!is_quantize(graph, users[i]) || pith_node_input(graph, users[i], 0) != x ||
            q == PITH_NO_VALUE)
            return 0;
        rc = read_grid(graph, users[i], quantized_type(graph, users[i]), &other);
        if (rc <= 0)
            return rc;
        rc = same_grid(grid, &other) ? only_dequantized(graph, q, grid, &outputs) : 0;
        grid_done(&other);
    }
    /* An output keeps its name, and so does an input: x can take but one. */
    if (rc == 1 && outputs > (pith_value_is_input(graph, x) ? 0u : 1u))
        rc = 0;
    return rc;
}

/* The pairs behind x: its QuantizeLinear nodes, then their DequantizeLinear nodes. malloc'ed. */
static int list_pairs(const struct pith_graph *graph, uint32_t x, uint32_t **out,
                      size_t *out_quantizers, size_t *out_count)
{
    size_t quantizers;
    const uint32_t *users = pith_value_users(graph, x, &quantizers);
    size_t count = quantizers;
    uint32_t *nodes;

    for (size_t i = 0; i < quantizers; i++)
        count += pith_value_use_count(graph, pith_node_output(graph, users[i], 0));
    nodes = malloc(count * sizeof *nodes);
    if (!nodes)
        return -ENOMEM;
    memcpy(nodes, users, quantizers * sizeof *nodes);
    count = quantizers;
    for (size_t i = 0; i < quantizers; i++) {
        size_t behind;
        const uint32_t *dequantizers =
            pith_value_users(graph, pith_node_output(graph, nodes[i], 0), &behind);

        memcpy(nodes + count, dequantizers, behind * sizeof *nodes);
        count += behind;
    }
    *out = nodes;
    *out_quantizers = quantizers;
    *out_count = count;
    return 0;
}

/* x takes the place of what its pairs make, and the name of one of those: the output of the graph,
 * if it is one. */
static int merge_pairs(struct pith_graph *graph, uint32_t x, const struct grid *grid)
{
    uint32_t named = PITH_NO_VALUE;
    size_t quantizers = 0;
    uint32_t *nodes = NULL;
    size_t count = 0;
    int rc = list_pairs(graph, x, &nodes, &quantizers, &count);

    if (rc == 0)
        rc = pith_value_set_quantization(graph, x, &grid->q);
    for (size_t i = quantizers; i < count && rc == 0; i++) {
        uint32_t y = pith_node_output(graph, nodes[i], 0);

        bool better = named == PITH_NO_VALUE || pith_value_is_output(graph, y);

        rc = pith_graph_replace_value(graph, y, x);
        if (rc < 0)
            break;
        drop_node(graph, nodes[i]);
        drop_value(graph, better ? named : y);
        if (better)
            named = y;
    }
    for (size_t i = 0; i < quantizers && rc == 0; i++) {
        uint32_t q = pith_node_output(graph, nodes[i], 0);

        drop_node(graph, nodes[i]);
        drop_value(graph, q);
    }
    if (rc == 0 && !pith_value_is_input(graph, x))
        pith_value_swap_names(graph, x, named);
    drop_value(graph, named);
    free(nodes);
    return rc;
}

/* A pair that rounds to the grid that x is on already changes nothing. */
static int drop_repeated_pair(struct pith_graph *graph, uint32_t node, uint32_t x,
                              const struct grid *grid)
{
    uint32_t q = pith_node_output(graph, node, 0);
    struct grid had = {.q = *pith_value_quantization(graph, x), .real = grid->real};
    const uint32_t *users;
    size_t outputs = 0;
    size_t count;
    int rc;

    if (!same_grid(grid, &had) || q == PITH_NO_VALUE)
        return 0;
    rc = only_dequantized(graph, q, grid, &outputs);
    if (rc <= 0 || outputs)
        return rc < 0 ? rc : 0;
    while (users = pith_value_users(graph, q, &count), count > 0) {
        uint32_t dequantize = users[0];
        uint32_t y = pith_node_output(graph, dequantize, 0);

        rc = pith_graph_replace_value(graph, y, x);
        if (rc < 0)
            return rc;
        drop_node(graph, dequantize);
        drop_value(graph, y);
    }
    drop_node(graph, node);
    drop_value(graph, q);
    return 0;
}

static int fold_pair(struct pith_graph *graph, uint32_t node)
{
    uint32_t x = pith_node_input(graph, node, 0);
    struct grid grid;
    int rc;

    if (x == PITH_NO_VALUE)
        return 0;
    rc = read_grid(graph, node, quantized_type(graph, node), &grid);
    if (rc <= 0)
        return rc;
    rc = 0;
    if (grid.q.dtype == PITH_INT32 || grid.q.block_size != 0) {
        /* no grid for activations: neither QuantizeLinear to int32 nor blocks without a known shape
         */
    } else if (pith_value_constant(graph, x)) {
        /* a constant that fold_weights left alone */
    } else if (pith_value_quantization(graph, x)) {
        rc = drop_repeated_pair(graph, node, x, &grid);
    } else {
        rc = only_quantized(graph, x, &grid);
        if (rc == 1)
            rc = merge_pairs(graph, x, &grid);
    }
    grid_done(&grid);
    return rc;
}

/* ---- the graph ---- */

static int fold_node(struct pith_graph *graph, uint32_t node)
{
    int rc = 0;

    if (is_dequantize(graph, node))
        return fold_constant(graph, node);
    if (is_quantize(graph, node)) {
        rc = fold_weights(graph, node);
        if (rc == 0 && pith_node_exists(graph, node))
            rc = fold_pair(graph, node);
    }
    return rc;
}

int onnx_fold_quantization(struct pith_graph *graph, struct pith_error *err)
{
    size_t count;
    const uint32_t *known = pith_graph_order(graph, &count);
    uint32_t *order = malloc((count + 1) * sizeof *order); /* the graph's own goes as it changes */
    int rc = 0;

    if (!order)
        return pith_fail(err, -ENOMEM, "no memory to fold quantization");
    if (count)
        memcpy(order, known, count * sizeof *order);
    for (size_t i = 0; i < count && rc == 0; i++) {
        if (!pith_node_exists(graph, order[i]))
            continue;
        rc = fold_node(graph, order[i]);
        if (rc < 0)
            (void) pith_fail(err, rc, "no memory to fold quantization");
        for (size_t k = 0; rc == 0 && k < pith_node_attribute_count(graph, order[i]); k++) {
            struct pith_graph *inside =
                pith_node_edit_graph(graph, order[i], pith_node_attribute_name(graph, order[i], k));

            if (inside)
                rc = onnx_fold_quantization(inside, err);
        }
    }
    free(order);
    return rc;
}
