/* How large a graph is: parameters, bytes, multiply-accumulates, and the memory that its
 * activations take. */
#include "libpith/graph/measure.h"

#include <stdlib.h>
#include <string.h>

/* ---- weights ---- */

/* Floats and small integers weigh; int32 and int64 constants are shapes and indices unless they are
 * quantized. */
static bool is_weight(const struct pith_graph *graph, uint32_t value)
{
    const struct pith_tensor *constant = pith_value_constant(graph, value);

    if (!constant || constant->shape.rank == 0 || pith_value_use_count(graph, value) == 0)
        return false;
    if (pith_value_quantization(graph, value))
        return true;
    switch (constant->dtype) {
    case PITH_FLOAT32:
    case PITH_FLOAT64:
    case PITH_FLOAT16:
    case PITH_BFLOAT16:
    case PITH_FLOAT8E4M3FN:
    case PITH_FLOAT8E4M3FNUZ:
    case PITH_FLOAT8E5M2:
    case PITH_FLOAT8E5M2FNUZ:
    case PITH_INT8:
    case PITH_UINT8:
    case PITH_INT4:
    case PITH_UINT4:
        return true;
    default:
        return false;
    }
}

/* Which entry of scale and zero_point an element has: its coordinate along axis, or its block. */
static size_t scale_index(const struct pith_quantization *q, const struct pith_shape *shape,
                          int64_t element)
{
    int64_t inner = 1;
    int64_t along;
    int64_t blocks;

    if (q->count == 1)
        return 0;
    for (uint32_t i = (uint32_t) q->axis + 1; i < shape->rank; i++)
        inner *= shape->dim[i];
    along = element / inner % shape->dim[q->axis];
    if (!q->block_size)
        return (size_t) along;
    blocks = (shape->dim[q->axis] + q->block_size - 1) / q->block_size;
    return (size_t) ((element / inner / shape->dim[q->axis] * blocks + along / q->block_size) *
                         inner +
                     element % inner);
}

static bool all_zero(const struct pith_quantization *q)
{
    for (size_t i = 0; i < q->count; i++)
        if (q->zero_point[i])
            return false;
    return true;
}

static uint64_t count_nonzero(const struct pith_tensor *tensor, const struct pith_quantization *q)
{
    int64_t total = pith_shape_elements(&tensor->shape);
    uint64_t nonzero = 0;

    if (q && !all_zero(q)) {
        for (int64_t i = 0; i < total; i++)
            nonzero +=
                pith_tensor_get_int(tensor, i) != q->zero_point[scale_index(q, &tensor->shape, i)];
        return nonzero;
    }
    if (tensor->dtype == PITH_FLOAT32) {
        const char *data = tensor->data; /* maybe unaligned */

        for (int64_t i = 0; i < total; i++) {
            uint32_t bits;

            memcpy(&bits, data + 4 * i, sizeof bits);
            nonzero += (bits << 1) != 0; /* neither 0 nor -0 */
        }
        return nonzero;
    }
    if (tensor->dtype == PITH_INT8 || tensor->dtype == PITH_UINT8) {
        for (int64_t i = 0; i < total; i++)
            nonzero += ((const uint8_t *) tensor->data)[i] != 0;
        return nonzero;
    }
    for (int64_t i = 0; i < total; i++)
        nonzero += pith_tensor_get(tensor, i) != 0;
    return nonzero;
}

static void add_weight(const struct pith_graph *graph, uint32_t value, struct pith_graph_size *size)
{
    const struct pith_tensor *constant = pith_value_constant(graph, value);
    const struct pith_quantization *q = pith_value_quantization(graph, value);

    size->parameters += (uint64_t) pith_shape_elements(&constant->shape);
    size->nonzero += count_nonzero(constant, q);
    size->weight_bytes += constant->bytes;
    if (q) /* its scales are stored beside it, and its zero points */
        size->weight_bytes +=
            q->count * sizeof(float) + (q->count * pith_dtype_bits(q->dtype) + 7) / 8;
}

/* ---- activations ---- */

static int64_t activation_bytes(const struct pith_graph *graph, uint32_t value)
{
    const struct pith_quantization *q = pith_value_quantization(graph, value);
    const struct pith_shape *shape = pith_value_shape(graph, value);

    if (pith_value_constant(graph, value) || pith_value_is_captured(graph, value))
        return 0; /* somebody else's memory */
    if (!shape || !pith_value_dtype(graph, value))
        return -1;
    return pith_tensor_bytes(q ? q->dtype : pith_value_dtype(graph, value), shape);
}

static int64_t graph_peak(const struct pith_graph *graph);

static int64_t inside_peak(const struct pith_graph *graph, uint32_t node)
{
    int64_t most = 0;

    for (size_t i = 0; i < pith_node_attribute_count(graph, node); i++) {
        const struct pith_graph *inside =
            pith_node_graph(graph, node, pith_node_attribute_name(graph, node, i));
        int64_t peak = inside ? graph_peak(inside) : 0;

        if (peak < 0)
            return -1;
        if (peak > most)
            most = peak;
    }
    return most;
}

/* The last step that needs the value; steps where it lives to the end. */
static size_t last_use(const struct pith_graph *graph, uint32_t value, size_t born,
                       const size_t *step_of, size_t steps)
{
    size_t count;
    const uint32_t *users = pith_value_users(graph, value, &count);
    size_t last = born;

    if (pith_value_is_output(graph, value))
        return steps;
    for (size_t i = 0; i < count; i++)
        if (step_of[users[i]] > last)
            last = step_of[users[i]];
    return last;
}

/* change[i]: bytes that come to life before step i, less those that died before it. */
static int64_t sum_changes(const struct pith_graph *graph, const size_t *step_of, size_t steps,
                           int64_t *change)
{
    for (uint32_t value = 0; value < pith_graph_value_limit(graph); value++) {
        uint32_t producer = pith_value_producer(graph, value);
        size_t born = producer == PITH_NO_NODE ? 0 : step_of[producer];
        int64_t bytes;

        if (producer == PITH_NO_NODE && !pith_value_is_input(graph, value))
            continue;
        bytes = activation_bytes(graph, value);
        if (bytes < 0)
            return -1;
        change[born] += bytes;
        change[last_use(graph, value, born, step_of, steps) + 1] -= bytes;
    }
    return 0;
}

/* -1 where a shape is unknown. */
static int64_t graph_peak(const struct pith_graph *graph)
{
    size_t steps;
    const uint32_t *order = pith_graph_order(graph, &steps);
    size_t *step_of = calloc((size_t) pith_graph_node_limit(graph) + 1, sizeof *step_of);
    int64_t *change = calloc(steps + 2, sizeof *change);
    int64_t live = 0;
    int64_t peak = -1;

    if (!step_of || !change)
        goto done;
    for (size_t i = 0; i < steps; i++)
        step_of[order[i]] = i;
    if (sum_changes(graph, step_of, steps, change) < 0)
        goto done;
    peak = 0;
    for (size_t i = 0; i < steps + 1 && peak >= 0; i++) {
        int64_t inside = i < steps ? inside_peak(graph, order[i]) : 0;

        live += change[i];
        if (inside < 0)
            peak = -1;
        else if (live + inside > peak)
            peak = live + inside;
    }
done:
    free(step_of);
    free(change);
    return peak;
}

/* ---- all of it ---- */

static void add_graph(const struct pith_graph *graph, struct pith_graph_size *size)
{
    for (uint32_t i = 0; i < pith_graph_value_limit(graph); i++)
        if (is_weight(graph, i))
            add_weight(graph, i, size);
    for (uint32_t i = 0; i < pith_graph_node_limit(graph); i++) {
        if (!pith_node_exists(graph, i))
            continue;
        size->nodes++;
        for (size_t k = 0; k < pith_node_attribute_count(graph, i); k++) {
            const struct pith_graph *inside =
                pith_node_graph(graph, i, pith_node_attribute_name(graph, i, k));

            if (inside)
                add_graph(inside, size);
        }
    }
}

void pith_graph_measure(const struct pith_graph *graph, struct pith_graph_size *out)
{
    struct pith_graph_size size = {0};
    int64_t macs = graph_macs(graph);
    int64_t peak = graph_peak(graph);

    add_graph(graph, &size);
    size.macs = macs > 0 ? (uint64_t) macs : 0;
    size.peak_activation_bytes = peak > 0 ? (uint64_t) peak : 0;
    *out = size;
}
