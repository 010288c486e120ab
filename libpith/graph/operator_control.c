/* Types and shapes of If, Loop and Scan, by way of their sub-graphs. */
#include "libpith/graph/infer.h"

#include <errno.h>
#include <stdlib.h>

/* What two branches, or two rounds of a loop, have in common. */
static bool relax_shape(struct pith_shape *shape, const struct pith_shape *other)
{
    if (shape->rank != other->rank)
        return false;
    for (uint32_t i = 0; i < shape->rank; i++)
        if (shape->dim[i] != other->dim[i])
            shape->dim[i] = PITH_DIM_UNKNOWN;
    return true;
}

static const struct pith_shape *body_output(const struct pith_graph *body, size_t index,
                                            int32_t *out_dtype)
{
    uint32_t value = pith_graph_output(body, index);
    const struct pith_tensor *constant = pith_value_constant(body, value);

    *out_dtype =
        pith_value_quantization(body, value) ? PITH_FLOAT32 : pith_value_dtype(body, value);
    return constant ? &constant->shape : pith_value_shape(body, value);
}

static int set_body_input(struct pith_graph *body, size_t index, int32_t dtype,
                          const struct pith_shape *shape)
{
    uint32_t value = pith_graph_input(body, index);

    if (dtype == PITH_DTYPE_NONE)
        dtype = pith_value_dtype(body, value);
    return pith_value_set_type(body, value, dtype, shape);
}

/* 1 or 0 where the condition is known, -1 where it isn't. */
static int known_condition(struct infer *in)
{
    struct known known;

    if (!infer_known(in, 0, &known) || known.count != 1 || known.v[0] == KNOWN_NOT)
        return -1;
    return known.v[0] != 0;
}

static int infer_branches(struct infer *in, struct pith_graph *yes, struct pith_graph *no,
                          int condition)
{
    size_t count = pith_node_output_count(in->graph, in->node);
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++) {
        int32_t dtype, other_dtype;
        const struct pith_shape *shape = body_output(yes, i, &dtype),
                                *other = body_output(no, i, &other_dtype);
        struct pith_shape both;
        bool known;

        if (dtype != PITH_DTYPE_NONE && other_dtype != PITH_DTYPE_NONE && dtype != other_dtype)
            return infer_fail(in, "output %zu is %s in one branch and %s in the other", i,
                              pith_dtype_name(dtype), pith_dtype_name(other_dtype));
        if (condition >= 0) {
            shape = condition ? shape : other;
            known = shape != NULL;
            if (known)
                both = *shape;
        } else {
            known = shape && other;
            if (known) {
                both = *shape;
                known = relax_shape(&both, other);
            }
        }
        rc = infer_set(in, i, dtype == PITH_DTYPE_NONE ? other_dtype : dtype, known ? &both : NULL);
    }
    return rc;
}

int infer_if(struct infer *in)
{
    struct pith_graph *yes = infer_body(in, "then_branch"), *no = infer_body(in, "else_branch");
    size_t count = pith_node_output_count(in->graph, in->node);
    int condition = known_condition(in), rc = 0;

    if (!yes || !no)
        return infer_fail(in, "attributes then_branch and else_branch are needed");
    if (pith_graph_output_count(yes) != count || pith_graph_output_count(no) != count)
        return infer_fail(in, "its branches have %zu and %zu outputs, the node has %zu",
                          pith_graph_output_count(yes), pith_graph_output_count(no), count);
    if (infer_dtype(in, 0) != PITH_BOOL && infer_dtype(in, 0) != PITH_DTYPE_NONE)
        return infer_fail(in, "its condition is %s, it must be bool",
                          pith_dtype_name(infer_dtype(in, 0)));
    /* A branch that is never taken may not even fit the shapes that are known by now. */
    if (condition != 0)
        rc = infer_run_body(in, yes);
    if (rc == 0 && condition != 1)
        rc = infer_run_body(in, no);
    return rc < 0 ? rc : infer_branches(in, yes, no, condition);
}

/* ---- Loop and Scan: the carried values' shapes are what holds in every round ---- */

struct carried {
    int32_t dtype;
    bool known;
    struct pith_shape shape;
};

static void take_carried(struct infer *in, size_t first, size_t count, struct carried *carried)
{
    for (size_t i = 0; i < count; i++) {
        const struct pith_shape *shape = infer_shape(in, first + i);

        carried[i].dtype = infer_dtype(in, first + i);
        carried[i].known = shape != NULL;
        if (shape)
            carried[i].shape = *shape;
    }
}

/* Runs the body until its carried outputs promise no more than what went in; each round gives up a
 * dimension at least, so that it ends. The body's inputs from first_input on, its outputs from
 * first_output on are the carried ones. */
static int settle_carried(struct infer *in, struct pith_graph *body, struct carried *carried,
                          size_t count, size_t first_input, size_t first_output)
{
    for (;;) {
        bool changed = false;
        int rc = 0;

        for (size_t i = 0; i < count && rc == 0; i++)
            rc = set_body_input(body, first_input + i, carried[i].dtype,
                                carried[i].known ? &carried[i].shape : NULL);
        if (rc == 0)
            rc = infer_run_body(in, body);
        if (rc < 0)
            return rc;
        for (size_t i = 0; i < count; i++) {
            int32_t dtype;
            const struct pith_shape *shape = body_output(body, first_output + i, &dtype);
            struct pith_shape before = carried[i].shape;

            if (dtype != PITH_DTYPE_NONE && carried[i].dtype != PITH_DTYPE_NONE &&
                dtype != carried[i].dtype)
                return infer_fail(in, "carried value %zu goes in as %s and comes out as %s", i,
                                  pith_dtype_name(carried[i].dtype), pith_dtype_name(dtype));
            if (carried[i].dtype == PITH_DTYPE_NONE)
                carried[i].dtype = dtype;
            if (!carried[i].known)
                continue;
            carried[i].known = shape && relax_shape(&carried[i].shape, shape);
            changed = changed || !carried[i].known || !pith_shape_equal(&before, &carried[i].shape);
        }
        if (!changed)
            return 0;
    }
}

/* The body's output with a dimension of `rounds` put in at `axis`. */
static int set_stacked(struct infer *in, struct pith_graph *body, size_t body_index, size_t output,
                       int64_t rounds, int64_t axis)
{
    int32_t dtype;
    const struct pith_shape *shape = body_output(body, body_index, &dtype);
    struct pith_shape out = {0};
    uint32_t at;
    int rc;

    if (!shape)
        return infer_set(in, output, dtype, NULL);
    if (shape->rank == PITH_MAX_RANK)
        return infer_fail(in, "output %zu has more than %d dimensions", output, PITH_MAX_RANK);
    rc = infer_axis(in, axis, shape->rank + 1, &at);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i <= shape->rank; i++)
        out.dim[i] = i == at ? rounds : shape->dim[i < at ? i : i - 1];
    out.rank = shape->rank + 1;
    return infer_set(in, output, dtype, &out);
}

static int finish_loop(struct infer *in, struct pith_graph *body, const struct carried *carried,
                       size_t carried_count, size_t first_output, int64_t rounds,
                       const struct known *axes)
{
    size_t count = pith_node_output_count(in->graph, in->node);
    int rc = 0;

    for (size_t i = 0; i < carried_count && rc == 0; i++)
        rc = infer_set(in, i, carried[i].dtype, carried[i].known ? &carried[i].shape : NULL);
    for (size_t i = carried_count; i < count && rc == 0; i++) {
        int64_t at =
            axes && (int64_t) (i - carried_count) < axes->count ? axes->v[i - carried_count] : 0;

        rc = set_stacked(in, body, first_output + i, i, rounds, at);
    }
    return rc;
}

int infer_loop(struct infer *in)
{
    struct pith_graph *body = infer_body(in, "body");
    size_t inputs = infer_input_count(in), carried_count = inputs > 2 ? inputs - 2 : 0;
    size_t outputs = pith_node_output_count(in->graph, in->node);
    const struct pith_shape scalar = {0};
    struct carried *carried;
    int rc;

    if (!body)
        return infer_fail(in, "attribute body is missing");
    if (pith_graph_input_count(body) != carried_count + 2)
        return infer_fail(in, "its body has %zu inputs for %zu carried values",
                          pith_graph_input_count(body), carried_count);
    if (outputs < carried_count || pith_graph_output_count(body) != outputs + 1)
        return infer_fail(in, "its body has %zu outputs, the node has %zu",
                          pith_graph_output_count(body), outputs);
    carried = calloc(carried_count + 1, sizeof *carried);
    if (!carried)
        return -ENOMEM;
    take_carried(in, 2, carried_count, carried);
    rc = set_body_input(body, 0, PITH_INT64, &scalar);
    if (rc == 0)
        rc = set_body_input(body, 1, PITH_BOOL, &scalar);
    if (rc == 0)
        rc = settle_carried(in, body, carried, carried_count, 2, 1);
    /* The number of rounds is the trip count at most: the condition may end the loop before. */
    if (rc == 0)
        rc = finish_loop(in, body, carried, carried_count, 1, PITH_DIM_UNKNOWN, NULL);
    free(carried);
    return rc;
}

/* One round's share of a scanned input: without the axis. Opset 8 has a batch in front, which is
 * not supported. */
static int set_scan_input(struct infer *in, struct pith_graph *body, size_t input, int64_t axis,
                          int64_t *rounds)
{
    const struct pith_shape *shape = infer_shape(in, input);
    struct pith_shape part = {0};
    uint32_t at;
    int rc;

    if (!shape)
        return set_body_input(body, input, infer_dtype(in, input), NULL);
    rc = infer_axis(in, axis, shape->rank, &at);
    if (rc < 0)
        return rc;
    if (infer_dims_clash(shape->dim[at], *rounds))
        return infer_fail(in, "input %zu has %lld to scan, another has %lld", input,
                          (long long) shape->dim[at], (long long) *rounds);
    if (*rounds == PITH_DIM_UNKNOWN)
        *rounds = shape->dim[at];
    for (uint32_t i = 0; i < shape->rank; i++)
        if (i != at)
            part.dim[part.rank++] = shape->dim[i];
    return set_body_input(body, input, infer_dtype(in, input), &part);
}

int infer_scan(struct infer *in)
{
    struct pith_graph *body = infer_body(in, "body");
    size_t inputs = infer_input_count(in), outputs = pith_node_output_count(in->graph, in->node);
    int64_t scanned = infer_int(in, "num_scan_inputs", 0), rounds = PITH_DIM_UNKNOWN;
    struct carried *carried;
    struct known input_axes, output_axes;
    bool given;
    size_t states;
    int rc;

    if (!body)
        return infer_fail(in, "attribute body is missing");
    if (scanned < 1 || (uint64_t) scanned > inputs)
        return infer_fail(in, "attribute num_scan_inputs is %lld of %zu inputs",
                          (long long) scanned, inputs);
    states = inputs - (size_t) scanned;
    if (pith_graph_input_count(body) != inputs || pith_graph_output_count(body) != outputs ||
        outputs < states)
        return infer_fail(in, "its body has %zu inputs and %zu outputs, the node has %zu and %zu",
                          pith_graph_input_count(body), pith_graph_output_count(body), inputs,
                          outputs);
    rc = infer_int_list(in, "scan_input_axes", &input_axes, &given);
    if (rc == 0)
        rc = infer_int_list(in, "scan_output_axes", &output_axes, &given);
    for (size_t i = 0; i < (size_t) scanned && rc == 0; i++)
        rc = set_scan_input(in, body, states + i,
                            (int64_t) i < input_axes.count ? input_axes.v[i] : 0, &rounds);
    if (rc < 0)
        return rc;
    carried = calloc(states + 1, sizeof *carried);
    if (!carried)
        return -ENOMEM;
    take_carried(in, 0, states, carried);
    rc = settle_carried(in, body, carried, states, 0, 0);
    if (rc == 0)
        rc = finish_loop(in, body, carried, states, 0, rounds, &output_axes);
    free(carried);
    return rc;
}
