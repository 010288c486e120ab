/* Going through the nodes, and what all rows are made with. See onnx_dissolve.h. */
#include "libpith/formats/onnx_dissolve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpith/graph/graph_internal.h"
#include "libpith/graph/operator.h"

uint32_t dissolve_in(const struct dissolving *d, size_t index)
{
    return pith_node_input(d->graph, d->node, index);
}

const struct pith_tensor *dissolve_constant(const struct dissolving *d, size_t index)
{
    const uint32_t value = dissolve_in(d, index);

    return value == PITH_NO_VALUE || pith_value_quantization(d->graph, value)
               ? NULL
               : pith_value_constant(d->graph, value);
}

int64_t dissolve_opset(const struct dissolving *d)
{
    return pith_graph_opset(d->graph, "");
}

uint32_t dissolve_node(struct dissolving *d, const char *op, const uint32_t *inputs, size_t count,
                       int32_t dtype, uint32_t *out_node)
{
    uint32_t out = PITH_NO_VALUE, node = PITH_NO_NODE;

    if (d->rc == 0)
        d->rc = pith_graph_add_value(d->graph, NULL, dtype, NULL, &out, NULL);
    if (d->rc == 0)
        d->rc = pith_graph_add_node(d->graph, "", op, NULL, inputs, count, &out, 1, &node, NULL);
    if (out_node)
        *out_node = node;
    return out;
}

uint32_t dissolve_one(struct dissolving *d, const char *op, uint32_t x)
{
    return dissolve_node(d, op, &x, 1, PITH_FLOAT32, NULL);
}

uint32_t dissolve_two(struct dissolving *d, const char *op, uint32_t a, uint32_t b)
{
    return dissolve_node(d, op, (uint32_t[]){a, b}, 2, PITH_FLOAT32, NULL);
}

uint32_t dissolve_add_constant(struct dissolving *d, const struct pith_tensor *tensor)
{
    uint32_t value = PITH_NO_VALUE;

    if (d->rc == 0)
        d->rc = pith_graph_add_constant(d->graph, NULL, tensor, &value, NULL);
    return value;
}

uint32_t dissolve_number(struct dissolving *d, float number)
{
    return dissolve_add_constant(d,
                                 &(struct pith_tensor){PITH_FLOAT32, {0}, &number, sizeof number});
}

void dissolve_set_int(struct dissolving *d, uint32_t node, const char *name, int64_t number)
{
    if (d->rc == 0)
        d->rc = pith_node_set_int(d->graph, node, name, number);
}

void dissolve_set_ints(struct dissolving *d, uint32_t node, const char *name, const int64_t *list,
                       size_t count)
{
    if (d->rc == 0)
        d->rc = pith_node_set_ints(d->graph, node, name, list, count);
}

static bool is_among(const char *name, const char *const *list)
{
    for (; list && *list; list++)
        if (strcmp(name, *list) == 0)
            return true;
    return false;
}

static int copy_attribute(struct pith_graph *graph, uint32_t from, size_t index, uint32_t to)
{
    const char *name = pith_node_attribute_name(graph, from, index);
    size_t count = 0;

    switch (pith_node_attribute_kind(graph, from, index)) {
    case PITH_ATTRIBUTE_INT:
        return pith_node_set_int(graph, to, name, pith_node_int(graph, from, name, 0));
    case PITH_ATTRIBUTE_FLOAT:
        return pith_node_set_float(graph, to, name, pith_node_float(graph, from, name, 0));
    case PITH_ATTRIBUTE_STRING:
        return pith_node_set_string(graph, to, name, pith_node_string(graph, from, name, ""));
    case PITH_ATTRIBUTE_INTS: {
        const int64_t *list = pith_node_ints(graph, from, name, &count);

        return pith_node_set_ints(graph, to, name, list, count);
    }
    case PITH_ATTRIBUTE_FLOATS: {
        const float *list = pith_node_floats(graph, from, name, &count);

        return pith_node_set_floats(graph, to, name, list, count);
    }
    case PITH_ATTRIBUTE_STRINGS: {
        const char *const *list = pith_node_strings(graph, from, name, &count);

        return pith_node_set_strings(graph, to, name, list, count);
    }
    default:
        return 0;
    }
}

void dissolve_copy_attributes(struct dissolving *d, uint32_t to, const char *const *but)
{
    for (size_t i = 0; d->rc == 0 && i < pith_node_attribute_count(d->graph, d->node); i++)
        if (!is_among(pith_node_attribute_name(d->graph, d->node, i), but))
            d->rc = copy_attribute(d->graph, d->node, i, to);
}

bool dissolve_wanted(const struct dissolving *d, size_t output)
{
    const uint32_t value = pith_node_output(d->graph, d->node, output);

    return value != PITH_NO_VALUE && (pith_value_use_count(d->graph, value) > 0 ||
                                      pith_value_is_captured(d->graph, value));
}

void dissolve_give(struct dissolving *d, size_t output, uint32_t value)
{
    const uint32_t was = pith_node_output(d->graph, d->node, output);

    if (d->rc < 0 || was == PITH_NO_VALUE)
        return;
    if (pith_value_shape(d->graph, was))
        d->rc = pith_value_set_type(d->graph, value, pith_value_dtype(d->graph, value),
                                    pith_value_shape(d->graph, was));
    if (d->rc == 0)
        d->rc = pith_graph_replace_value(d->graph, was, value);
    if (d->rc == 0)
        pith_value_swap_names(d->graph, was, value);
}

/* ---- the graph ---- */

static const struct dissolve_row *find_row(const char *domain, const char *op)
{
    const struct dissolve_row *const tables[] = {dissolve_quantized, dissolve_floats,
                                                 dissolve_dynamic, dissolve_attentions};

    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const struct dissolve_row *row = tables[t]; row->op; row++)
            if (strcmp(row->op, op) == 0 && strcmp(row->domain, domain) == 0)
                return row;
    return NULL;
}

/* What only the node used keeps its name from nobody. */
static void drop_outputs(struct pith_graph *graph, const uint32_t *outputs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (outputs[i] != PITH_NO_VALUE && pith_value_use_count(graph, outputs[i]) == 0 &&
            !pith_value_is_captured(graph, outputs[i]))
            graph_release_name(graph, outputs[i]);
}

static int dissolve_a_node(struct pith_graph *graph, uint32_t node, bool *out_changed)
{
    const struct dissolve_row *row =
        find_row(pith_node_domain(graph, node), pith_node_op(graph, node));
    struct dissolving d = {.graph = graph, .node = node};
    const size_t count = pith_node_output_count(graph, node);
    uint32_t outputs[4] = {PITH_NO_VALUE, PITH_NO_VALUE, PITH_NO_VALUE, PITH_NO_VALUE};

    if (!row || count < 1 || count > 4 || pith_node_output(graph, node, 0) == PITH_NO_VALUE ||
        dissolve_opset(&d) < 1 || !row->make(&d))
        return d.rc;
    *out_changed = true;
    if (d.rc < 0)
        return d.rc;
    for (size_t i = 0; i < count; i++)
        outputs[i] = pith_node_output(graph, node, i);
    pith_graph_remove_node(graph, node);
    drop_outputs(graph, outputs, 4);
    return 0;
}

/* The node's k-th attribute as a sub-graph; NULL: it is none. */
static struct pith_graph *body_at(struct pith_graph *graph, uint32_t node, size_t k)
{
    return pith_node_edit_graph(graph, node, pith_node_attribute_name(graph, node, k));
}

static bool has_rows(struct pith_graph *graph);

static bool has_rows_inside(struct pith_graph *graph, uint32_t node)
{
    for (size_t k = 0; k < pith_node_attribute_count(graph, node); k++) {
        struct pith_graph *inside = body_at(graph, node, k);

        if (inside && has_rows(inside))
            return true;
    }
    return false;
}

/* In the graph or its sub-graphs. */
static bool has_rows(struct pith_graph *graph)
{
    for (uint32_t i = 0; i < pith_graph_node_limit(graph); i++)
        if (pith_node_exists(graph, i) && (find_row(pith_node_domain(graph, i), pith_node_op(graph, i)) ||
                                           has_rows_inside(graph, i)))
            return true;
    return false;
}

/* Rows ask for types and shapes, which files need not say. What can't be inferred yet is refused, or not, when all is: so this
 * fails for want of memory alone. */
static int infer_if_known(struct pith_graph *graph, uint32_t node)
{
    struct pith_error unsaid = {0};

    return pith_node_exists(graph, node) && pith_graph_infer_node(graph, node, &unsaid) == -ENOMEM ? -ENOMEM : 0;
}

static int dissolve_inside(struct pith_graph *graph, uint32_t node, bool *out_changed, struct pith_error *err)
{
    /* What the sub-graphs take from this one gets its types so. */
    int rc = has_rows_inside(graph, node) ? infer_if_known(graph, node) : 0;

    for (size_t k = 0; k < pith_node_attribute_count(graph, node) && rc == 0; k++) {
        struct pith_graph *inside = body_at(graph, node, k);

        if (inside)
            rc = onnx_dissolve(inside, out_changed, err);
    }
    return rc;
}

int onnx_dissolve(struct pith_graph *graph, bool *out_changed, struct pith_error *err)
{
    const bool any = has_rows(graph);
    size_t count = 0;
    const uint32_t *sorted = pith_graph_order(graph, &count);
    uint32_t *order = malloc((count + 1) * sizeof *order); /* as it is now: those that are added are standard */
    int rc = order ? 0 : -ENOMEM;

    if (order && count > 0)
        memcpy(order, sorted, count * sizeof *order);
    for (size_t i = 0; i < count && rc == 0; i++) {
        const uint32_t limit = pith_graph_node_limit(graph);

        rc = dissolve_inside(graph, order[i], out_changed, err);
        if (rc == 0)
            rc = dissolve_a_node(graph, order[i], out_changed);
        if (rc == 0 && any)
            rc = infer_if_known(graph, order[i]);
        for (uint32_t made = limit; made < pith_graph_node_limit(graph) && rc == 0 && any; made++)
            rc = infer_if_known(graph, made);
    }
    free(order);
    return rc < 0 ? pith_fail(err, rc, "no memory for operators in their standard form") : 0;
}
