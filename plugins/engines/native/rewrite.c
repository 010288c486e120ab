/* What is rewritten in the plan's own graph before anything is built. Weights that are stored as halves become floats, which
 * kernels keep as narrow as they were; large tables of such are looked up as they are. A Pad with zeros that feeds
 * convolutions alone becomes their own padding: exporters write it for strided convolutions, whose
 * padding is not the same on both sides. A Transpose that undoes another one goes. What fused.h names
 * becomes one node. */
#include "plugins/engines/native/plan.h"

#include <errno.h>
#include <string.h>

static bool is_op(const struct pith_graph *graph, uint32_t node, const char *op)
{
    return pith_node_domain(graph, node)[0] == 0 && strcmp(pith_node_op(graph, node), op) == 0;
}

static const struct pith_tensor *constant_input(const struct pith_graph *graph, uint32_t node,
                                                size_t index)
{
    const uint32_t value = pith_node_input(graph, node, index);

    return value == PITH_NO_VALUE || pith_value_quantization(graph, value)
               ? NULL
               : pith_value_constant(graph, value);
}

/* ---- halves ---- */

#define LARGE_TABLE_BYTES (1 << 20) /* less is not worth a step in each run */

static void floats_of_halves(const struct pith_tensor *halves, float *out)
{
    const uint8_t *at = halves->data; /* may lie unaligned in a file */

    for (size_t i = 0; i < halves->bytes / 2; i++) {
        uint16_t half;

        memcpy(&half, at + 2 * i, sizeof half);
        out[i] = halves->dtype == PITH_FLOAT16 ? pith_float16_to_float(half) : pith_bfloat16_to_float(half);
    }
}

/* Whether rows of the value are looked up, and nothing else is done with it. */
static bool is_only_gathered(const struct pith_graph *graph, uint32_t value)
{
    size_t count;
    const uint32_t *users = pith_value_users(graph, value, &count);

    for (size_t i = 0; i < count; i++) {
        const uint32_t out = pith_node_output(graph, users[i], 0);

        if (!is_op(graph, users[i], "Gather") || pith_node_input(graph, users[i], 1) == value ||
            out == PITH_NO_VALUE || pith_value_quantization(graph, out))
            return false;
    }
    return count > 0 && !pith_value_is_captured(graph, value);
}

/* What is gathered from y, which a Cast makes of the halves x, is gathered from these, and then made floats. */
static int gather_halves(struct pith_graph *graph, uint32_t x, uint32_t y)
{
    size_t count;
    const uint32_t *users;
    int rc = 0;

    while (rc == 0 && (users = pith_value_users(graph, y, &count), count > 0)) {
        const uint32_t gather = users[0], out = pith_node_output(graph, gather, 0);
        const struct pith_shape *known = pith_value_shape(graph, out);
        const struct pith_shape shape = known ? *known : (struct pith_shape){0};
        uint32_t rows, cast;

        rc = pith_graph_add_value(graph, NULL, pith_value_dtype(graph, x), known ? &shape : NULL, &rows, NULL);
        if (rc == 0)
            rc = pith_node_set_input(graph, gather, 0, x);
        if (rc == 0)
            rc = pith_node_set_output(graph, gather, 0, rows);
        if (rc == 0)
            rc = pith_graph_add_node(graph, "", "Cast", NULL, &rows, 1, &out, 1, &cast, NULL);
        if (rc == 0)
            rc = pith_node_set_int(graph, cast, "to", PITH_FLOAT32);
    }
    return rc;
}

/* A Cast of constant halves to floats is a constant: whatever is looked for below sees weights as if they had been stored
 * so, however large they are. Products and convolutions see from their values that halves hold them. Large tables, of which
 * a run takes a few rows, stay halves. */
static int fold_halves(struct pith_graph *graph, uint32_t node)
{
    const uint32_t x = pith_node_input(graph, node, 0), y = pith_node_output(graph, node, 0);
    const struct pith_tensor *halves = constant_input(graph, node, 0);
    struct pith_tensor floats = {0};
    uint32_t made;
    int rc;

    if (!halves || x == PITH_NO_VALUE || y == PITH_NO_VALUE || pith_value_is_output(graph, y) ||
        pith_value_quantization(graph, y) || pith_node_int(graph, node, "to", 0) != PITH_FLOAT32 ||
        (halves->dtype != PITH_FLOAT16 && halves->dtype != PITH_BFLOAT16))
        return 0;
    if (halves->bytes >= LARGE_TABLE_BYTES && is_only_gathered(graph, y)) {
        rc = gather_halves(graph, x, y);
        if (rc == 0)
            pith_graph_remove_node(graph, node);
        return rc;
    }
    rc = pith_tensor_alloc(&floats, PITH_FLOAT32, &halves->shape, NULL);
    if (rc == 0) {
        floats_of_halves(halves, floats.data);
        rc = pith_graph_add_value(graph, NULL, PITH_FLOAT32, &halves->shape, &made, NULL);
    }
    if (rc == 0)
        rc = pith_value_take_constant(graph, made, &floats);
    if (rc == 0)
        rc = pith_graph_replace_value(graph, y, made);
    if (rc == 0)
        pith_graph_remove_node(graph, node);
    pith_tensor_free(&floats);
    return rc;
}

/* ---- padding ---- */

struct padding {
    uint32_t rank;
    int64_t begin[PITH_MAX_RANK], end[PITH_MAX_RANK]; /* an axis */
};

static bool pads_zeros(const struct pith_graph *graph, uint32_t node)
{
    const struct pith_tensor *value;

    if (strcmp(pith_node_string(graph, node, "mode", "constant"), "constant") != 0)
        return false;
    if (pith_graph_opset(graph, "") < 11)
        return pith_node_float(graph, node, "value", 0.0F) == 0.0F;
    value = constant_input(graph, node, 2);
    return value ? pith_shape_elements(&value->shape) == 1 && pith_tensor_get(value, 0) == 0.0
                 : pith_node_input(graph, node, 2) == PITH_NO_VALUE;
}

/* The list of pads as the node has it, attribute or constant. Returns how many, or -1. */
static int64_t read_list(const struct pith_graph *graph, uint32_t node,
                         int64_t list[2 * PITH_MAX_RANK])
{
    const struct pith_tensor *constant;
    int64_t count;

    if (pith_graph_opset(graph, "") < 11) {
        size_t entries;
        const int64_t *pads = pith_node_ints(graph, node, "pads", &entries);

        if (!pads || entries > 2 * PITH_MAX_RANK)
            return -1;
        memcpy(list, pads, entries * sizeof *list);
        return (int64_t) entries;
    }
    constant = constant_input(graph, node, 1);
    count = constant ? pith_shape_elements(&constant->shape) : -1;
    if (count > 2 * PITH_MAX_RANK)
        return -1;
    for (int64_t i = 0; i < count; i++)
        list[i] = pith_tensor_get_int(constant, i);
    return count;
}

/* False where something is cut off, or where it isn't known yet. */
static bool read_padding(const struct pith_graph *graph, uint32_t node, struct padding *out)
{
    const struct pith_shape *shape = pith_value_shape(graph, pith_node_input(graph, node, 0));
    const bool some_axes = pith_node_input(graph, node, 3) != PITH_NO_VALUE;
    const struct pith_tensor *axes = some_axes ? constant_input(graph, node, 3) : NULL;
    int64_t list[2 * PITH_MAX_RANK];
    const int64_t count = read_list(graph, node, list);

    *out = (struct padding){0};
    if (count < 0 || count % 2 || !shape || (some_axes && !axes) ||
        (some_axes ? pith_shape_elements(&axes->shape) : (int64_t) shape->rank) != count / 2)
        return false;
    out->rank = shape->rank;
    for (int64_t i = 0; i < count / 2; i++) {
        int64_t axis = axes ? pith_tensor_get_int(axes, i) : i;

        axis += axis < 0 ? (int64_t) shape->rank : 0;
        if (axis < 0 || axis >= (int64_t) shape->rank || list[i] < 0 || list[i + count / 2] < 0 ||
            list[i] > INT32_MAX || list[i + count / 2] > INT32_MAX)
            return false;
        out->begin[axis] = list[i];
        out->end[axis] = list[i + count / 2];
    }
    return out->rank > 2;
}

/* The convolution's own pads, if they don't depend on how large its input is. */
static bool takes_padding(const struct pith_graph *graph, uint32_t node, uint32_t value,
                          uint32_t spatial, int64_t pads[2 * PITH_MAX_RANK])
{
    const char *automatic = pith_node_string(graph, node, "auto_pad", "NOTSET");
    const bool explicit = strcmp(automatic, "NOTSET") == 0;
    const int64_t *own;
    size_t count = 0;

    memset(pads, 0, 2 * PITH_MAX_RANK * sizeof *pads);
    if (!is_op(graph, node, "Conv") || (!explicit && strcmp(automatic, "VALID") != 0))
        return false;
    for (size_t i = 1; i < pith_node_input_count(graph, node); i++)
        if (pith_node_input(graph, node, i) == value)
            return false;
    own = explicit ? pith_node_ints(graph, node, "pads", &count) : NULL;
    if (!own)
        return true;
    for (size_t i = 0; i < count && count == 2 * (size_t) spatial; i++) {
        if (own[i] < 0 || own[i] > INT32_MAX)
            return false;
        pads[i] = own[i];
    }
    return count == 2 * (size_t) spatial;
}

static int give(struct pith_graph *graph, uint32_t node, const struct padding *padding,
                const int64_t own[2 * PITH_MAX_RANK])
{
    const uint32_t spatial = padding->rank - 2;
    int64_t pads[2 * PITH_MAX_RANK];

    for (uint32_t i = 0; i < spatial; i++) {
        pads[i] = own[i] + padding->begin[i + 2];
        pads[i + spatial] = own[i + spatial] + padding->end[i + 2];
    }
    pith_node_remove_attribute(graph, node, "auto_pad");
    return pith_node_set_ints(graph, node, "pads", pads, (size_t) 2 * spatial);
}

static bool same_grid_or_none(const struct pith_graph *graph, uint32_t from, uint32_t to)
{
    const struct pith_quantization *grid = pith_value_quantization(graph, to);

    return !grid || form_same_grid(pith_value_quantization(graph, from), grid);
}

/* Pictures that come channels-last are padded so, and transposed behind it: *value goes past that
 * Transpose, and the axes with it. */
static bool look_past_transpose(const struct pith_graph *graph, uint32_t *value,
                                struct padding *padding)
{
    const struct padding from = *padding;
    const int64_t *perm;
    const uint32_t *users;
    size_t count;

    users = pith_value_users(graph, *value, &count);
    if (count != 1 || pith_value_use_count(graph, *value) != 1 ||
        !is_op(graph, users[0], "Transpose"))
        return true;
    perm = pith_node_ints(graph, users[0], "perm", &count);
    if (!perm || count != padding->rank || pith_node_output(graph, users[0], 0) == PITH_NO_VALUE ||
        !same_grid_or_none(graph, *value, pith_node_output(graph, users[0], 0)))
        return false;
    for (uint32_t i = 0; i < padding->rank; i++) {
        if (perm[i] < 0 || perm[i] >= (int64_t) padding->rank)
            return false;
        padding->begin[i] = from.begin[perm[i]];
        padding->end[i] = from.end[perm[i]];
    }
    *value = pith_node_output(graph, users[0], 0);
    return true;
}

static bool is_spatial(const struct padding *padding)
{
    return padding->begin[0] == 0 && padding->end[0] == 0 && padding->begin[1] == 0 &&
           padding->end[1] == 0;
}

static bool all_take_padding(const struct pith_graph *graph, uint32_t value, uint32_t spatial)
{
    int64_t own[2 * PITH_MAX_RANK];
    size_t count;
    const uint32_t *users = pith_value_users(graph, value, &count);

    for (size_t i = 0; i < count; i++)
        if (!takes_padding(graph, users[i], value, spatial, own))
            return false;
    /* else it leaves the graph, too */
    return count > 0 && count == pith_value_use_count(graph, value);
}

static int give_to_users(struct pith_graph *graph, uint32_t node)
{
    const uint32_t x = pith_node_input(graph, node, 0), y = pith_node_output(graph, node, 0);
    uint32_t padded = y;
    struct padding padding;
    const uint32_t *users;
    size_t count;
    int rc = 0;

    if (x == PITH_NO_VALUE || y == PITH_NO_VALUE || pith_value_constant(graph, x) ||
        !pads_zeros(graph, node) || !read_padding(graph, node, &padding) ||
        !same_grid_or_none(graph, x, y) || !look_past_transpose(graph, &padded, &padding) ||
        !is_spatial(&padding) || !all_take_padding(graph, padded, padding.rank - 2))
        return 0;
    users = pith_value_users(graph, padded, &count);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        int64_t own[2 * PITH_MAX_RANK];

        if (takes_padding(graph, users[i], padded, padding.rank - 2, own))
            rc = give(graph, users[i], &padding, own);
    }
    if (rc == 0)
        rc = pith_graph_replace_value(graph, y, x);
    if (rc == 0)
        pith_graph_remove_node(graph, node);
    return rc;
}

/* ---- transposing back ---- */

static bool is_inverse(const int64_t *a, const int64_t *b, size_t rank)
{
    for (size_t i = 0; i < rank; i++)
        if (a[i] < 0 || a[i] >= (int64_t) rank || b[a[i]] != (int64_t) i)
            return false;
    return true;
}

/* A Transpose that undoes the one before it is nothing. */
static int cancel_transpose(struct pith_graph *graph, uint32_t node)
{
    const uint32_t middle = pith_node_input(graph, node, 0), y = pith_node_output(graph, node, 0);
    const uint32_t first =
        middle == PITH_NO_VALUE ? PITH_NO_NODE : pith_value_producer(graph, middle);
    const int64_t *a, *b;
    size_t a_rank, b_rank;
    uint32_t x;
    int rc;

    if (first == PITH_NO_NODE || y == PITH_NO_VALUE || !is_op(graph, first, "Transpose") ||
        pith_value_is_output(graph, y))
        return 0;
    x = pith_node_input(graph, first, 0);
    a = pith_node_ints(graph, first, "perm", &a_rank);
    b = pith_node_ints(graph, node, "perm", &b_rank);
    if (x == PITH_NO_VALUE || !a || !b || a_rank != b_rank || !is_inverse(a, b, a_rank) ||
        !same_grid_or_none(graph, x, middle) || !same_grid_or_none(graph, middle, y))
        return 0;
    rc = pith_graph_replace_value(graph, y, x);
    if (rc == 0)
        pith_graph_remove_node(graph, node);
    if (rc == 0 && pith_value_use_count(graph, middle) == 0)
        pith_graph_remove_node(graph, first);
    return rc;
}

int rewrite_graph(struct pith_graph *graph)
{
    int rc = 0;

    for (uint32_t node = 0; node < pith_graph_node_limit(graph) && rc == 0; node++)
        if (pith_node_exists(graph, node) && is_op(graph, node, "Cast"))
            rc = fold_halves(graph, node);
    for (uint32_t node = 0; node < pith_graph_node_limit(graph) && rc == 0; node++)
        if (pith_node_exists(graph, node) && is_op(graph, node, "Pad") &&
            pith_node_output_count(graph, node) == 1)
            rc = give_to_users(graph, node);
    for (uint32_t node = 0; node < pith_graph_node_limit(graph) && rc == 0; node++)
        if (pith_node_exists(graph, node) && is_op(graph, node, "Transpose"))
            rc = cancel_transpose(graph, node);
    if (rc == 0)
        rc = fuse_shuffles(graph);
    if (rc == 0)
        rc = fuse_attentions(graph);
    if (rc == 0)
        rc = fuse_layer_norms(graph);
    if (rc == 0)
        rc = fuse_gelus(graph);
    if (rc == 0)
        rc = fuse_hard_swishes(graph);
    if (rc == 0)
        rc = fuse_biases(graph);
    if (rc == 0)
        rc = fuse_integer_products(graph);
    return rc;
}
