/* Type and shape inference: the walk over a graph, and what the operators' infer functions share.
 * A node's outputs follow from its inputs' types and shapes, its attributes, and small integer
 * tensors that are known before a run (shape arithmetic), which are carried beside the graph in a
 * table. */
#include "libpith/graph/infer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INFER_MAX_DEPTH 16 /* sub-graphs in sub-graphs */

int infer_fail(const struct infer *in, const char *format, ...)
{
    const char *name = pith_node_name(in->graph, in->node);
    const char *op = pith_node_op(in->graph, in->node);
    char text[PITH_ERROR_TEXT_BYTES];
    va_list arguments;

    va_start(arguments, format);
    (void) vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (name[0])
        return pith_fail(in->err, -EINVAL, "node \"%s\" (%s): %s", name, op, text);
    for (size_t i = 0; i < pith_node_output_count(in->graph, in->node); i++) {
        uint32_t value = pith_node_output(in->graph, in->node, i);

        if (value != PITH_NO_VALUE)
            return pith_fail(in->err, -EINVAL, "node of \"%s\" (%s): %s",
                             pith_value_name(in->graph, value), op, text);
    }
    return pith_fail(in->err, -EINVAL, "a node without a name (%s): %s", op, text);
}

/* ---- inputs ---- */

size_t infer_input_count(const struct infer *in)
{
    return pith_node_input_count(in->graph, in->node);
}

bool infer_has(const struct infer *in, size_t input)
{
    return pith_node_input(in->graph, in->node, input) != PITH_NO_VALUE;
}

int32_t infer_dtype(const struct infer *in, size_t input)
{
    uint32_t value = pith_node_input(in->graph, in->node, input);

    if (value == PITH_NO_VALUE)
        return PITH_DTYPE_NONE;
    if (pith_value_quantization(in->graph, value))
        return PITH_FLOAT32; /* its integers stand for these */
    return pith_value_dtype(in->graph, value);
}

static const struct pith_tensor *infer_constant(const struct infer *in, size_t input)
{
    uint32_t value = pith_node_input(in->graph, in->node, input);

    return value == PITH_NO_VALUE ? NULL : pith_value_constant(in->graph, value);
}

const struct pith_shape *infer_shape(const struct infer *in, size_t input)
{
    uint32_t value = pith_node_input(in->graph, in->node, input);
    const struct pith_tensor *constant;

    if (value == PITH_NO_VALUE)
        return NULL;
    constant = pith_value_constant(in->graph, value);
    return constant ? &constant->shape : pith_value_shape(in->graph, value);
}

const char *infer_text(const struct infer *in, size_t input, char *text)
{
    const struct pith_shape *shape = infer_shape(in, input);

    if (shape)
        return pith_shape_text(shape, text, PITH_SHAPE_TEXT_BYTES);
    (void) snprintf(text, PITH_SHAPE_TEXT_BYTES, "?");
    return text;
}

static bool dtype_counts(int32_t dtype)
{
    return dtype == PITH_INT64 || dtype == PITH_INT32 || dtype == PITH_BOOL ||
           dtype == PITH_INT16 || dtype == PITH_UINT8 || dtype == PITH_INT8 ||
           dtype == PITH_UINT16 || dtype == PITH_UINT32;
}

static bool known_from_constant(const struct pith_tensor *constant, struct known *out)
{
    int64_t count = pith_shape_elements(&constant->shape);

    if (!dtype_counts(constant->dtype) || count < 0 || count > KNOWN_MAX_COUNT)
        return false;
    out->shape = constant->shape;
    out->count = count;
    for (int64_t i = 0; i < count; i++)
        out->v[i] = pith_tensor_get_int(constant, i);
    return true;
}

static bool known_of_value(const struct pith_graph *graph, const struct known_table *table,
                           uint32_t value, struct known *out)
{
    const struct pith_tensor *constant = pith_value_constant(graph, value);

    if (pith_value_quantization(graph, value))
        return false;
    if (constant)
        return known_from_constant(constant, out);
    if (!table || value >= table->count || !table->slots[value])
        return false;
    *out = *table->slots[value];
    return true;
}

bool infer_known(const struct infer *in, size_t input, struct known *out)
{
    uint32_t value = pith_node_input(in->graph, in->node, input);

    return value != PITH_NO_VALUE && known_of_value(in->graph, in->table, value, out);
}

bool infer_ints(const struct infer *in, size_t input, struct known *out)
{
    if (!infer_known(in, input, out) || out->shape.rank > 1)
        return false;
    for (int64_t i = 0; i < out->count; i++)
        if (out->v[i] == KNOWN_NOT)
            return false;
    return true;
}

bool infer_numbers(const struct infer *in, size_t input, double *out, size_t limit,
                   size_t *out_count)
{
    const struct pith_tensor *constant = infer_constant(in, input);
    int64_t count = constant ? pith_shape_elements(&constant->shape) : -1;

    if (count < 0 || (uint64_t) count > limit)
        return false;
    for (int64_t i = 0; i < count; i++)
        out[i] = pith_tensor_get(constant, i);
    *out_count = (size_t) count;
    return true;
}

/* ---- attributes ---- */

int64_t infer_int(const struct infer *in, const char *name, int64_t otherwise)
{
    return pith_node_int(in->graph, in->node, name, otherwise);
}

bool infer_attribute(const struct infer *in, const char *name)
{
    return pith_node_has(in->graph, in->node, name);
}

int infer_int_list(const struct infer *in, const char *name, struct known *out, bool *out_given)
{
    size_t count = 0;
    const int64_t *ints = pith_node_ints(in->graph, in->node, name, &count);

    *out_given = infer_attribute(in, name);
    if (!ints)
        count = 0;
    if (count > KNOWN_MAX_COUNT)
        return infer_fail(in, "attribute %s has %zu entries, at most %d are allowed", name, count,
                          KNOWN_MAX_COUNT);
    out->shape = (struct pith_shape){.rank = 1, .dim = {(int64_t) count}};
    out->count = (int64_t) count;
    if (count)
        memcpy(out->v, ints, count * sizeof *ints);
    return 0;
}

int infer_axes(const struct infer *in, const char *name, size_t input, struct known *out,
               bool *out_given, bool *out_known)
{
    int rc = infer_int_list(in, name, out, out_given);

    *out_known = true;
    if (rc < 0 || *out_given || !infer_has(in, input))
        return rc;
    *out_given = true;
    *out_known = infer_ints(in, input, out);
    return 0;
}

int infer_axis(const struct infer *in, int64_t axis, uint32_t rank, uint32_t *out)
{
    if (axis < -(int64_t) rank || axis >= (int64_t) rank)
        return infer_fail(in, "axis %lld is outside the rank %u of its input", (long long) axis,
                          rank);
    *out = (uint32_t) (axis < 0 ? axis + rank : axis);
    return 0;
}

int infer_axis_mask(const struct infer *in, const struct known *axes, uint32_t rank,
                    uint32_t *out_mask)
{
    uint32_t mask = 0;

    for (int64_t i = 0; i < axes->count; i++) {
        uint32_t axis;
        int rc = infer_axis(in, axes->v[i], rank, &axis);

        if (rc < 0)
            return rc;
        if (mask >> axis & 1)
            return infer_fail(in, "axis %u is named twice", axis);
        mask |= UINT32_C(1) << axis;
    }
    *out_mask = mask;
    return 0;
}

/* ---- shapes ---- */

int infer_multiply(const struct infer *in, int64_t a, int64_t b, int64_t *out)
{
    int64_t product;

    if (a == PITH_DIM_UNKNOWN || b == PITH_DIM_UNKNOWN) {
        *out = PITH_DIM_UNKNOWN;
        return 0;
    }
    if (__builtin_mul_overflow(a, b, &product) || product > PITH_TENSOR_MAX_BYTES || product < 0)
        return infer_fail(in, "a size of %lld times %lld is too large", (long long) a,
                          (long long) b);
    *out = product;
    return 0;
}

int infer_add(const struct infer *in, int64_t a, int64_t b, int64_t *out)
{
    int64_t sum;

    if (a == PITH_DIM_UNKNOWN || b == PITH_DIM_UNKNOWN) {
        *out = PITH_DIM_UNKNOWN;
        return 0;
    }
    if (__builtin_add_overflow(a, b, &sum) || sum > PITH_TENSOR_MAX_BYTES || sum < 0)
        return infer_fail(in, "a size of %lld and %lld more is not possible", (long long) a,
                          (long long) b);
    *out = sum;
    return 0;
}

int infer_rank(const struct infer *in, size_t input, const char *what, uint32_t min, uint32_t max)
{
    const struct pith_shape *shape = infer_shape(in, input);
    char text[PITH_SHAPE_TEXT_BYTES];

    if (!shape || (shape->rank >= min && shape->rank <= max))
        return 0;
    if (min == max)
        return infer_fail(in, "%s %s has rank %u, it must be %u", what, infer_text(in, input, text),
                          shape->rank, min);
    return infer_fail(in, "%s %s has rank %u, it must be %u to %u", what,
                      infer_text(in, input, text), shape->rank, min, max);
}

bool infer_dims_clash(int64_t a, int64_t b)
{
    return a != PITH_DIM_UNKNOWN && b != PITH_DIM_UNKNOWN && a != b;
}

int infer_broadcast_shape(const struct infer *in, const struct pith_shape *shape,
                          struct pith_shape *out)
{
    uint32_t rank = shape->rank > out->rank ? shape->rank : out->rank;
    struct pith_shape result = {.rank = rank};

    for (uint32_t i = 0; i < rank; i++) {
        int64_t a = i < shape->rank ? shape->dim[shape->rank - 1 - i] : 1;
        int64_t b = i < out->rank ? out->dim[out->rank - 1 - i] : 1;
        int64_t *dim = &result.dim[rank - 1 - i];

        if (a == 1)
            *dim = b;
        else if (b == 1 || a == b)
            *dim = a;
        else if (a == PITH_DIM_UNKNOWN || b == PITH_DIM_UNKNOWN)
            *dim = a == PITH_DIM_UNKNOWN
                       ? b
                       : a; /* the unknown one is 1 or equal, or the run refuses it */
        else {
            char one[PITH_SHAPE_TEXT_BYTES], other[PITH_SHAPE_TEXT_BYTES];

            return infer_fail(in, "shapes %s and %s do not broadcast",
                              pith_shape_text(out, other, sizeof other),
                              pith_shape_text(shape, one, sizeof one));
        }
    }
    *out = result;
    return 0;
}

int infer_broadcast(const struct infer *in, size_t first, size_t count, struct pith_shape *out,
                    bool *out_known)
{
    *out = (struct pith_shape){0};
    *out_known = true;
    for (size_t i = first; i < first + count; i++) {
        const struct pith_shape *shape = infer_shape(in, i);
        int rc;

        if (!shape) {
            *out_known = false;
            continue;
        }
        rc = infer_broadcast_shape(in, shape, out);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- outputs ---- */

static int infer_check_size(const struct infer *in, size_t output, int32_t dtype,
                            const struct pith_shape *shape)
{
    int64_t bits = dtype == PITH_DTYPE_NONE ? 8 : (int64_t) pith_dtype_bits(dtype);
    int64_t bytes = bits >= 8 ? bits / 8 : 1;
    char text[PITH_SHAPE_TEXT_BYTES];

    if (shape->rank > PITH_MAX_RANK)
        return infer_fail(in, "output %zu has rank %u, at most %d is possible", output, shape->rank,
                          PITH_MAX_RANK);
    for (uint32_t i = 0; i < shape->rank; i++) {
        int64_t dim = shape->dim[i];

        if (dim < PITH_DIM_UNKNOWN)
            return infer_fail(in, "output %zu has a dimension of %lld", output, (long long) dim);
        /* An unknown or empty dimension doesn't excuse the others: they may all be asked for one
         * day. */
        if (dim > 1 &&
            (__builtin_mul_overflow(bytes, dim, &bytes) || bytes > PITH_TENSOR_MAX_BYTES))
            return infer_fail(in, "output %zu of shape %s is too large", output,
                              pith_shape_text(shape, text, sizeof text));
    }
    return 0;
}

int infer_set(struct infer *in, size_t output, int32_t dtype, const struct pith_shape *shape)
{
    uint32_t value;
    int32_t declared;
    int rc;

    if (output >= pith_node_output_count(in->graph, in->node))
        return 0;
    value = pith_node_output(in->graph, in->node, output);
    if (value == PITH_NO_VALUE)
        return 0;
    declared = pith_value_dtype(in->graph, value);
    if (dtype == PITH_DTYPE_NONE)
        dtype = declared;
    if (declared != PITH_DTYPE_NONE && declared != dtype)
        return infer_fail(in, "its output \"%s\" is declared as %s, and is %s",
                          pith_value_name(in->graph, value), pith_dtype_name(declared),
                          pith_dtype_name(dtype));
    if (shape) {
        rc = infer_check_size(in, output, dtype, shape);
        if (rc < 0)
            return rc;
    }
    return pith_value_set_type(in->graph, value, dtype, shape);
}

int infer_know(struct infer *in, size_t output, const struct known *known)
{
    uint32_t value;

    if (!in->table || output >= pith_node_output_count(in->graph, in->node))
        return 0;
    value = pith_node_output(in->graph, in->node, output);
    if (value == PITH_NO_VALUE || value >= in->table->count)
        return 0;
    if (!in->table->slots[value]) {
        in->table->slots[value] = malloc(sizeof *known);
        if (!in->table->slots[value])
            return -ENOMEM;
    }
    *in->table->slots[value] = *known;
    return 0;
}

/* ---- the walk ---- */

static int known_table_init(struct known_table *table, const struct pith_graph *graph)
{
    table->count = pith_graph_value_limit(graph);
    table->slots = calloc(table->count ? table->count : 1, sizeof(struct known *));
    return table->slots ? 0 : -ENOMEM;
}

static void known_table_done(struct known_table *table)
{
    for (uint32_t i = 0; table->slots && i < table->count; i++)
        free(table->slots[i]);
    free(table->slots);
}

/* A slot that an earlier round over the same body filled may no longer hold. */
static void known_forget_outputs(const struct infer *in)
{
    for (size_t i = 0; in->table && i < pith_node_output_count(in->graph, in->node); i++) {
        uint32_t value = pith_node_output(in->graph, in->node, i);

        if (value != PITH_NO_VALUE && value < in->table->count) {
            free(in->table->slots[value]);
            in->table->slots[value] = NULL;
        }
    }
}

static int infer_check_types(const struct infer *in)
{
    int32_t first = infer_dtype(in, 0);

    if (first == PITH_DTYPE_NONE)
        return 0;
    if (in->op->types && (first < 0 || first > 31 || !(in->op->types >> first & 1)))
        return infer_fail(in, "it takes no input of type %s", pith_dtype_name(first));
    for (size_t i = 1; i < infer_input_count(in); i++) {
        int32_t dtype = infer_dtype(in, i);

        if ((in->op->alike >> (i < 31 ? i : 31) & 1) && dtype != PITH_DTYPE_NONE && dtype != first)
            return infer_fail(in, "input %zu is %s and the first is %s, they must be the same", i,
                              pith_dtype_name(dtype), pith_dtype_name(first));
    }
    return 0;
}

static int infer_one(struct infer *in, uint32_t node)
{
    int rc = pith_operator_of_node(in->graph, node, &in->op, in->err);

    if (rc < 0)
        return rc;
    in->node = node;
    in->opset = pith_graph_opset(in->graph, pith_node_domain(in->graph, node));
    known_forget_outputs(in);
    rc = infer_check_types(in);
    if (rc < 0)
        return rc;
    rc = in->op->infer(in);
    if (rc < 0 || !in->op->know || !in->table)
        return rc;
    return in->op->know(in);
}

static int infer_nodes(struct infer *in)
{
    size_t count = 0;
    const uint32_t *order = pith_graph_order(in->graph, &count);

    for (size_t i = 0; i < count; i++) {
        int rc = infer_one(in, order[i]);

        if (rc < 0)
            return rc;
    }
    return 0;
}

struct pith_graph *infer_body(const struct infer *in, const char *name)
{
    /* The accessor gives out sub-graphs for reading; whoever may write the graph may write what it
     * holds. */
    return (struct pith_graph *) pith_node_graph(in->graph, in->node, name);
}

static int infer_take_captures(const struct infer *in, struct infer *body)
{
    struct known known;

    for (size_t i = 0; i < pith_graph_capture_count(body->graph); i++) {
        uint32_t inner, outer;
        const struct pith_tensor *constant;
        const struct pith_shape *shape;
        int rc;

        pith_graph_capture(body->graph, i, &inner, &outer);
        constant = pith_value_constant(in->graph, outer);
        shape = constant ? &constant->shape : pith_value_shape(in->graph, outer);
        rc = pith_value_set_type(body->graph, inner, pith_value_dtype(in->graph, outer), shape);
        if (rc < 0)
            return rc;
        if (!known_of_value(in->graph, in->table, outer, &known) || inner >= body->table->count)
            continue;
        body->table->slots[inner] = malloc(sizeof known);
        if (!body->table->slots[inner])
            return -ENOMEM;
        *body->table->slots[inner] = known;
    }
    return 0;
}

int infer_run_body(struct infer *in, struct pith_graph *body)
{
    struct known_table table = {0};
    struct infer inner = {.graph = body, .table = &table, .err = in->err, .depth = in->depth + 1};
    int rc;

    if (inner.depth > INFER_MAX_DEPTH)
        return infer_fail(in, "sub-graphs are nested more than %d deep", INFER_MAX_DEPTH);
    rc = known_table_init(&table, body);
    if (rc == 0)
        rc = infer_take_captures(in, &inner);
    if (rc == 0)
        rc = infer_nodes(&inner);
    known_table_done(&table);
    return rc;
}

int pith_graph_infer_node(struct pith_graph *graph, uint32_t node, struct pith_error *err)
{
    struct infer in = {.graph = graph, .err = err};

    return infer_one(&in, node);
}

static int infer_set_inputs(struct pith_graph *graph, const struct pith_shape *shapes,
                            struct pith_error *err)
{
    for (size_t i = 0; i < pith_graph_input_count(graph); i++) {
        uint32_t value = pith_graph_input(graph, i);
        const struct pith_shape *declared = pith_value_shape(graph, value);
        char want[PITH_SHAPE_TEXT_BYTES], got[PITH_SHAPE_TEXT_BYTES];
        bool fits = pith_shape_known(&shapes[i]) && (!declared || declared->rank == shapes[i].rank);
        int rc;

        if (!fits)
            return pith_fail(err, -EINVAL,
                             "input \"%s\" is declared as %s and cannot have the shape %s",
                             pith_value_name(graph, value),
                             declared ? pith_shape_text(declared, want, sizeof want) : "?",
                             pith_shape_text(&shapes[i], got, sizeof got));
        if (pith_tensor_bytes(pith_value_dtype(graph, value), &shapes[i]) < 0)
            return pith_fail(err, -EINVAL, "input \"%s\" of shape %s is too large",
                             pith_value_name(graph, value),
                             pith_shape_text(&shapes[i], got, sizeof got));
        rc = pith_value_set_type(graph, value, pith_value_dtype(graph, value), &shapes[i]);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int pith_graph_infer(struct pith_graph *graph, const struct pith_shape *input_shapes,
                     struct pith_error *err)
{
    struct known_table table = {0};
    struct infer in = {.graph = graph, .table = &table, .err = err};
    int rc = input_shapes ? infer_set_inputs(graph, input_shapes, err) : 0;

    if (rc < 0)
        return rc;
    rc = known_table_init(&table, graph);
    if (rc == 0)
        rc = infer_nodes(&in);
    known_table_done(&table);
    return rc;
}
