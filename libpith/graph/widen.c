/* 16-bit floats to float32. */
#include <pith/graph.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Larger constants stay as they are stored, behind a Cast; smaller ones are what rewriting looks at. */
#define WIDENED_MAX_ELEMENTS 1024

static bool is_half(int32_t dtype)
{
    return dtype == PITH_FLOAT16 || dtype == PITH_BFLOAT16;
}

/* The next sub-graph of the node at or past *index among its attributes, which goes past it; NULL: no more. */
static const char *next_body(const struct pith_graph *graph, uint32_t node, size_t *index)
{
    while (*index < pith_node_attribute_count(graph, node)) {
        const size_t at = (*index)++;

        if (pith_node_attribute_kind(graph, node, at) == PITH_ATTRIBUTE_GRAPH)
            return pith_node_attribute_name(graph, node, at);
    }
    return NULL;
}

bool pith_graph_has_halves(const struct pith_graph *graph)
{
    for (uint32_t value = 0; value < pith_graph_value_limit(graph); value++)
        if (is_half(pith_value_dtype(graph, value)) && !pith_value_constant(graph, value))
            return true;
    for (uint32_t node = 0; node < pith_graph_node_limit(graph); node++) {
        const char *body;

        for (size_t i = 0; pith_node_exists(graph, node) && (body = next_body(graph, node, &i));)
            if (pith_graph_has_halves(pith_node_graph(graph, node, body)))
                return true;
    }
    return false;
}

static int widen_tensor(const struct pith_tensor *from, struct pith_tensor *out,
                        struct pith_error *err)
{
    const int64_t elements = pith_shape_elements(&from->shape);
    const uint8_t *halves = from->data; /* unaligned in a mapped file */
    float *to;
    int rc = pith_tensor_alloc(out, PITH_FLOAT32, &from->shape, err);

    if (rc < 0)
        return rc;
    to = out->data;
    for (int64_t i = 0; i < elements; i++) {
        uint16_t half;

        memcpy(&half, halves + 2 * i, sizeof half);
        to[i] = from->dtype == PITH_FLOAT16 ? pith_float16_to_float(half)
                                            : pith_bfloat16_to_float(half);
    }
    return 0;
}

/* A new value like that one, of another type. */
static int add_like(struct pith_graph *graph, uint32_t value, int32_t dtype, uint32_t *out,
                    struct pith_error *err)
{
    const struct pith_shape *shape = pith_value_shape(graph, value);
    const struct pith_shape copy = shape ? *shape : (struct pith_shape){0};

    return pith_graph_add_value(graph, NULL, dtype, shape ? &copy : NULL, out, err);
}

static int add_cast(struct pith_graph *graph, uint32_t from, uint32_t to, int32_t dtype,
                    struct pith_error *err)
{
    uint32_t node;
    int rc = pith_graph_add_node(graph, "", "Cast", NULL, &from, 1, &to, 1, &node, err);

    return rc < 0 ? rc : pith_node_set_int(graph, node, "to", dtype);
}

/* Whoever takes the value gets it through a Cast. */
static int cast_behind(struct pith_graph *graph, uint32_t value, struct pith_error *err)
{
    uint32_t wide;
    int rc = add_like(graph, value, PITH_FLOAT32, &wide, err);

    if (rc == 0)
        rc = pith_graph_replace_value(graph, value, wide);
    return rc < 0 ? rc : add_cast(graph, value, wide, PITH_FLOAT32, err);
}

static int widen_constant(struct pith_graph *graph, uint32_t value, struct pith_error *err)
{
    const struct pith_tensor *constant = pith_value_constant(graph, value);
    struct pith_tensor wide;
    int rc;

    if (pith_shape_elements(&constant->shape) > WIDENED_MAX_ELEMENTS)
        return cast_behind(graph, value, err);
    rc = widen_tensor(constant, &wide, err);
    if (rc < 0)
        return rc;
    rc = pith_value_take_constant(graph, value, &wide);
    if (rc < 0)
        pith_tensor_free(&wide);
    return rc;
}

static int widen_value(struct pith_graph *graph, uint32_t value, struct pith_error *err)
{
    const struct pith_tensor *constant = pith_value_constant(graph, value);
    const struct pith_shape *shape = pith_value_shape(graph, value);
    const struct pith_shape copy = shape ? *shape : (struct pith_shape){0};

    if (!is_half(pith_value_dtype(graph, value)))
        return 0;
    if (constant && is_half(constant->dtype))
        return pith_value_use_count(graph, value) ? widen_constant(graph, value, err) : 0;
    return pith_value_set_type(graph, value, PITH_FLOAT32, shape ? &copy : NULL);
}

/* What a node is asked to give. */
static int widen_attributes(struct pith_graph *graph, uint32_t node, struct pith_error *err)
{
    static const char *const types[] = {"to", "dtype", "output_datatype", "output_dtype",
                                        "stash_type"};
    int rc = 0;

    for (size_t i = 0; i < sizeof types / sizeof *types && rc == 0; i++)
        if (is_half((int32_t) pith_node_int(graph, node, types[i], PITH_DTYPE_NONE)))
            rc = pith_node_set_int(graph, node, types[i], PITH_FLOAT32);
    for (size_t i = 0; i < pith_node_attribute_count(graph, node) && rc == 0; i++) {
        const char *name = pith_node_attribute_name(graph, node, i);
        const struct pith_tensor *tensor = pith_node_tensor(graph, node, name);
        struct pith_tensor wide;

        if (!tensor || !is_half(tensor->dtype))
            continue;
        rc = widen_tensor(tensor, &wide, err);
        if (rc == 0) {
            rc = pith_node_set_tensor(graph, node, name, &wide);
            pith_tensor_free(&wide);
        }
    }
    return rc;
}

/* A Cast between floats of 32 bits, which it became. */
static int drop_cast(struct pith_graph *graph, uint32_t node)
{
    const uint32_t from = pith_node_input(graph, node, 0), to = pith_node_output(graph, node, 0);
    int rc;

    if (strcmp(pith_node_op(graph, node), "Cast") != 0 || pith_node_domain(graph, node)[0] ||
        pith_node_int(graph, node, "to", PITH_DTYPE_NONE) != PITH_FLOAT32 ||
        from == PITH_NO_VALUE || to == PITH_NO_VALUE || pith_value_is_output(graph, to) ||
        pith_value_dtype(graph, from) != PITH_FLOAT32 || pith_value_quantization(graph, to))
        return 0;
    rc = pith_graph_replace_value(graph, to, from);
    if (rc == 0)
        pith_graph_remove_node(graph, node);
    return rc;
}

/* All but the inputs of the outermost graph, which are the caller's. */
static int widen_inside(struct pith_graph *graph, bool outermost, struct pith_error *err)
{
    const uint32_t values = pith_graph_value_limit(graph), nodes = pith_graph_node_limit(graph);
    int rc = 0;

    for (uint32_t value = 0; value < values && rc == 0; value++)
        if (!outermost || !pith_value_is_input(graph, value))
            rc = widen_value(graph, value, err);
    for (uint32_t node = 0; node < nodes && rc == 0; node++) {
        const char *body;

        if (!pith_node_exists(graph, node))
            continue;
        rc = widen_attributes(graph, node, err);
        for (size_t i = 0; rc == 0 && (body = next_body(graph, node, &i));)
            rc = widen_inside(pith_node_edit_graph(graph, node, body), false, err);
        if (rc == 0)
            rc = drop_cast(graph, node);
    }
    return rc;
}

/* was: the output before anything was widened, and of that type. */
static int narrow_output(struct pith_graph *graph, size_t index, uint32_t was, int32_t dtype,
                         struct pith_error *err)
{
    const uint32_t wide = pith_graph_output(graph, index);
    uint32_t narrow;
    int rc;

    if (!is_half(dtype))
        return 0;
    if (is_half(pith_value_dtype(graph, was))) { /* an input or a constant: as it was */
        pith_graph_set_output(graph, index, was);
        return 0;
    }
    rc = add_like(graph, wide, dtype, &narrow, err);
    if (rc == 0)
        rc = add_cast(graph, wide, narrow, dtype, err);
    if (rc < 0)
        return rc;
    pith_graph_set_output(graph, index, narrow);
    pith_value_swap_names(graph, wide, narrow);
    return 0;
}

int pith_graph_widen(struct pith_graph *graph, struct pith_error *err)
{
    const size_t outputs = pith_graph_output_count(graph);
    struct {
        uint32_t value;
        int32_t dtype;
    } *was = calloc(outputs + 1, sizeof *was);
    int rc = was ? 0 : -ENOMEM;

    for (size_t i = 0; i < outputs && rc == 0; i++) {
        was[i].value = pith_graph_output(graph, i);
        was[i].dtype = pith_value_dtype(graph, was[i].value);
    }
    if (rc == 0)
        rc = widen_inside(graph, true, err);
    for (size_t i = 0; i < pith_graph_input_count(graph) && rc == 0; i++)
        if (is_half(pith_value_dtype(graph, pith_graph_input(graph, i))))
            rc = cast_behind(graph, pith_graph_input(graph, i), err);
    for (size_t i = 0; i < outputs && rc == 0; i++)
        rc = narrow_output(graph, i, was[i].value, was[i].dtype, err);
    free(was);
    return rc == -ENOMEM ? pith_fail(err, rc, "no memory for the graph \"%s\" in float32",
                                     pith_graph_name(graph))
                         : rc;
}
