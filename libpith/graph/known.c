/* Integers that are known before a run: shape arithmetic on small tensors, element by element where
 * some elements are not known. What can't be followed here is simply not known; a run finds it out.
 */
#include "libpith/graph/infer.h"

#include <string.h>

/* The inferred shape of output 0, where it is known and small enough to follow. */
static bool output_shape(const struct infer *in, size_t output, struct known *out)
{
    uint32_t value = pith_node_output(in->graph, in->node, output);
    const struct pith_shape *shape =
        value == PITH_NO_VALUE ? NULL : pith_value_shape(in->graph, value);
    int64_t count = shape && pith_shape_known(shape) ? pith_shape_elements(shape) : -1;

    if (count < 0 || count > KNOWN_MAX_COUNT)
        return false;
    out->shape = *shape;
    out->count = count;
    return true;
}

static bool output_counts(const struct infer *in)
{
    uint32_t value = pith_node_output(in->graph, in->node, 0);
    int32_t dtype = value == PITH_NO_VALUE ? PITH_DTYPE_NONE : pith_value_dtype(in->graph, value);

    return dtype == PITH_INT64 || dtype == PITH_INT32 || dtype == PITH_BOOL;
}

/* Row-major position to coordinates and back. */
static void coordinates(const struct pith_shape *shape, int64_t index, int64_t *at)
{
    for (uint32_t i = shape->rank; i-- > 0;) {
        at[i] = index % shape->dim[i];
        index /= shape->dim[i];
    }
}

static int64_t position(const struct pith_shape *shape, const int64_t *at)
{
    int64_t index = 0;

    for (uint32_t i = 0; i < shape->rank; i++)
        index = index * shape->dim[i] + at[i];
    return index;
}

/* The element of `from` that broadcasting puts at coordinates `at` of shape `to`. */
static int64_t broadcast_element(const struct known *from, const struct pith_shape *to,
                                 const int64_t *at)
{
    int64_t index = 0;

    for (uint32_t i = 0; i < from->shape.rank; i++) {
        int64_t dim = from->shape.dim[i];

        index = index * dim + (dim == 1 ? 0 : at[i + to->rank - from->shape.rank]);
    }
    return from->v[index];
}

int know_same(struct infer *in)
{
    struct known known;

    return infer_known(in, 0, &known) ? infer_know(in, 0, &known) : 0;
}

/* Reshape, Squeeze, Unsqueeze, Flatten: the same integers in another shape. */
int know_reshaped(struct infer *in)
{
    struct known from, out;

    if (!infer_known(in, 0, &from) || !output_shape(in, 0, &out) || out.count != from.count)
        return 0;
    memcpy(out.v, from.v, sizeof out.v);
    return infer_know(in, 0, &out);
}

int know_cast(struct infer *in)
{
    struct known known;

    if (!output_counts(in) || !infer_known(in, 0, &known))
        return 0;
    if (infer_int(in, "to", 0) == PITH_BOOL)
        for (int64_t i = 0; i < known.count; i++)
            known.v[i] = known.v[i] == KNOWN_NOT ? KNOWN_NOT : known.v[i] != 0;
    return infer_know(in, 0, &known);
}

int know_gather(struct infer *in)
{
    struct known from, indices, out;
    int64_t at[PITH_MAX_RANK], source[PITH_MAX_RANK];
    uint32_t axis;

    if (!infer_known(in, 0, &from) || !infer_known(in, 1, &indices) || !output_shape(in, 0, &out) ||
        infer_axis(in, infer_int(in, "axis", 0), from.shape.rank, &axis) < 0)
        return 0;
    for (int64_t i = 0; i < out.count; i++) {
        int64_t index;

        coordinates(&out.shape, i, at);
        memcpy(source, at, axis * sizeof *at);
        index = indices.v[position(&indices.shape, at + axis)];
        memcpy(source + axis + 1, at + axis + indices.shape.rank,
               (from.shape.rank - axis - 1) * sizeof *at);
        source[axis] = index != KNOWN_NOT && index < 0 ? index + from.shape.dim[axis] : index;
        out.v[i] = index == KNOWN_NOT ? KNOWN_NOT : from.v[position(&from.shape, source)];
    }
    return infer_know(in, 0, &out);
}

/* Along the leading axis of a list alone, which is how shapes are cut. */
int know_slice(struct infer *in)
{
    struct known from, out, start, step = {.count = 1, .v = {1}};
    bool given;

    if (!infer_known(in, 0, &from) || from.shape.rank != 1 || !output_shape(in, 0, &out) ||
        out.count == 0)
        return 0;
    if (in->opset < 10) {
        if (infer_int_list(in, "starts", &start, &given) < 0 || !given)
            return 0;
    } else if (!infer_ints(in, 1, &start) || (infer_has(in, 4) && !infer_ints(in, 4, &step))) {
        return 0;
    }
    if (start.count != 1 || step.count != 1)
        return 0;
    if (start.v[0] < 0)
        start.v[0] += from.count;
    start.v[0] = start.v[0] < 0 ? 0 : start.v[0] > from.count - 1 ? from.count - 1 : start.v[0];
    for (int64_t i = 0; i < out.count; i++) {
        int64_t at; /* beyond a single element the step is below the list's length */

        if (i == 0)
            at = start.v[0];
        else if (__builtin_mul_overflow(i, step.v[0], &at) ||
                 __builtin_add_overflow(at, start.v[0], &at))
            return 0;
        if (at < 0 || at >= from.count)
            return 0;
        out.v[i] = from.v[at];
    }
    return infer_know(in, 0, &out);
}

int know_concat(struct infer *in)
{
    struct known part, out;
    int64_t used = 0, axis = infer_int(in, "axis", 1);

    /* The leading axis: then the parts lie one behind the other. */
    if (!output_shape(in, 0, &out) || (axis != 0 && axis != -(int64_t) out.shape.rank))
        return 0;
    for (size_t i = 0; i < infer_input_count(in); i++) {
        const struct pith_shape *shape = infer_shape(in, i);

        if (!infer_known(in, i, &part)) {
            part.count = shape && pith_shape_known(shape) ? pith_shape_elements(shape) : -1;
            if (part.count < 0 || part.count > KNOWN_MAX_COUNT)
                return 0;
            for (int64_t k = 0; k < part.count; k++)
                part.v[k] = KNOWN_NOT;
        }
        if (used + part.count > out.count)
            return 0;
        memcpy(out.v + used, part.v, (size_t) part.count * sizeof *part.v);
        used += part.count;
    }
    return used == out.count ? infer_know(in, 0, &out) : 0;
}

/* Of a list, along its only axis. */
int know_split(struct infer *in)
{
    struct known from, part;
    int64_t used = 0;
    int rc = 0;

    if (!infer_known(in, 0, &from) || from.shape.rank != 1)
        return 0;
    for (size_t i = 0; i < pith_node_output_count(in->graph, in->node) && rc == 0; i++) {
        if (!output_shape(in, i, &part) || used + part.count > from.count)
            return 0;
        memcpy(part.v, from.v + used, (size_t) part.count * sizeof *part.v);
        used += part.count;
        rc = infer_know(in, i, &part);
    }
    return rc;
}

int know_transpose(struct infer *in)
{
    struct known from, perm, out;
    int64_t at[PITH_MAX_RANK], source[PITH_MAX_RANK];
    bool given;

    if (!infer_known(in, 0, &from) || !output_shape(in, 0, &out) ||
        infer_int_list(in, "perm", &perm, &given) < 0)
        return 0;
    for (int64_t i = 0; i < out.count; i++) {
        coordinates(&out.shape, i, at);
        for (uint32_t k = 0; k < from.shape.rank; k++)
            source[given ? (perm.v[k] < 0 ? perm.v[k] + from.shape.rank : perm.v[k])
                         : from.shape.rank - 1 - k] = at[k];
        out.v[i] = from.v[position(&from.shape, source)];
    }
    return infer_know(in, 0, &out);
}

int know_expand(struct infer *in)
{
    struct known from, out;
    int64_t at[PITH_MAX_RANK];

    if (!infer_known(in, 0, &from) || !output_shape(in, 0, &out))
        return 0;
    for (int64_t i = 0; i < out.count; i++) {
        coordinates(&out.shape, i, at);
        out.v[i] = broadcast_element(&from, &out.shape, at);
    }
    return infer_know(in, 0, &out);
}

/* ---- arithmetic ---- */

static int64_t floor_mod(int64_t a, int64_t b)
{
    int64_t rest = a % b;

    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

/* KNOWN_NOT where the result isn't known, or would not fit. */
static int64_t combine(const char *op, int64_t a, int64_t b)
{
    int64_t result = KNOWN_NOT;

    if (a == KNOWN_NOT || b == KNOWN_NOT)
        return KNOWN_NOT;
    if (strcmp(op, "Add") == 0)
        return __builtin_add_overflow(a, b, &result) ? KNOWN_NOT : result;
    if (strcmp(op, "Sub") == 0)
        return __builtin_sub_overflow(a, b, &result) ? KNOWN_NOT : result;
    if (strcmp(op, "Mul") == 0)
        return __builtin_mul_overflow(a, b, &result) ? KNOWN_NOT : result;
    if (strcmp(op, "Div") == 0)
        return b == 0 || (b == -1 && a == INT64_MIN) ? KNOWN_NOT : a / b;
    if (strcmp(op, "Mod") == 0)
        return b == 0 ? KNOWN_NOT : b == -1 ? 0 : floor_mod(a, b);
    if (strcmp(op, "Max") == 0)
        return a > b ? a : b;
    if (strcmp(op, "Min") == 0)
        return a < b ? a : b;
    if (strcmp(op, "Equal") == 0)
        return a == b;
    if (strcmp(op, "Less") == 0)
        return a < b;
    if (strcmp(op, "Greater") == 0)
        return a > b;
    if (strcmp(op, "LessOrEqual") == 0)
        return a <= b;
    if (strcmp(op, "GreaterOrEqual") == 0)
        return a >= b;
    if (strcmp(op, "And") == 0)
        return a != 0 && b != 0;
    if (strcmp(op, "Or") == 0)
        return a != 0 || b != 0;
    return KNOWN_NOT;
}

int know_arithmetic(struct infer *in)
{
    struct known a, b, out;
    int64_t at[PITH_MAX_RANK];

    if (infer_input_count(in) != 2 || in->opset < 7 || !output_counts(in) ||
        !infer_known(in, 0, &a) || !infer_known(in, 1, &b) || !output_shape(in, 0, &out))
        return 0;
    if (strcmp(in->op->name, "Mod") == 0 && infer_int(in, "fmod", 0) != 0)
        return 0;
    for (int64_t i = 0; i < out.count; i++) {
        coordinates(&out.shape, i, at);
        out.v[i] = combine(in->op->name, broadcast_element(&a, &out.shape, at),
                           broadcast_element(&b, &out.shape, at));
    }
    return infer_know(in, 0, &out);
}

int know_unary(struct infer *in)
{
    const char *op = in->op->name;
    struct known known;

    if (!output_counts(in) || !infer_known(in, 0, &known))
        return 0;
    for (int64_t i = 0; i < known.count; i++) {
        int64_t v = known.v[i];

        if (strcmp(op, "Not") == 0)
            known.v[i] = v == KNOWN_NOT ? v : v == 0;
        else if (strcmp(op, "Neg") == 0 || v < 0)
            known.v[i] = combine("Sub", 0, v);
    }
    return infer_know(in, 0, &known);
}

int know_where(struct infer *in)
{
    struct known condition, yes, no, out;
    int64_t at[PITH_MAX_RANK];

    if (!output_counts(in) || !infer_known(in, 0, &condition) || !infer_known(in, 1, &yes) ||
        !infer_known(in, 2, &no) || !output_shape(in, 0, &out))
        return 0;
    for (int64_t i = 0; i < out.count; i++) {
        int64_t choice, a, b;

        coordinates(&out.shape, i, at);
        choice = broadcast_element(&condition, &out.shape, at);
        a = broadcast_element(&yes, &out.shape, at);
        b = broadcast_element(&no, &out.shape, at);
        out.v[i] = choice == KNOWN_NOT ? (a == b ? a : KNOWN_NOT) : choice ? a : b;
    }
    return infer_know(in, 0, &out);
}

int know_range(struct infer *in)
{
    struct known start, delta, out;

    if (!output_counts(in) || !infer_ints(in, 0, &start) || !infer_ints(in, 2, &delta) ||
        start.count != 1 || delta.count != 1 || !output_shape(in, 0, &out))
        return 0;
    for (int64_t i = 0; i < out.count; i++) {
        int64_t step;

        if (__builtin_mul_overflow(i, delta.v[0], &step) ||
            __builtin_add_overflow(step, start.v[0], &out.v[i]))
            return 0;
    }
    return infer_know(in, 0, &out);
}

int know_constant_of_shape(struct infer *in)
{
    const struct pith_tensor *value = pith_node_tensor(in->graph, in->node, "value");
    struct known out;

    if (!output_counts(in) || !value || !output_shape(in, 0, &out))
        return 0;
    for (int64_t i = 0; i < out.count; i++)
        out.v[i] = pith_tensor_get_int(value, 0);
    return infer_know(in, 0, &out);
}

/* ReduceProd, ReduceSum, ReduceMax, ReduceMin over everything. */
int know_reduce(struct infer *in)
{
    static const struct {
        const char *op, *step;
    } steps[] = {
        {"ReduceProd", "Mul"}, {"ReduceSum", "Add"}, {"ReduceMax", "Max"}, {"ReduceMin", "Min"}};
    struct known from, out;
    int64_t result;

    if (!output_counts(in) || !infer_known(in, 0, &from) || !output_shape(in, 0, &out) ||
        out.count != 1 || from.count < 1 ||
        (from.count > 1 && infer_int(in, "noop_with_empty_axes", 0) != 0))
        return 0;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (strcmp(in->op->name, steps[i].op) != 0)
            continue;
        result = from.v[0];
        for (int64_t k = 1; k < from.count; k++)
            result = combine(steps[i].step, result, from.v[k]);
        out.v[0] = result;
        return infer_know(in, 0, &out);
    }
    return 0;
}

/* A constant node that hasn't become a constant yet. */
int know_constant(struct infer *in)
{
    const struct pith_tensor *value = pith_node_tensor(in->graph, in->node, "value");
    struct known out = {.count = 1};
    bool given;

    if (infer_attribute(in, "value_int")) {
        out.v[0] = infer_int(in, "value_int", 0);
        return infer_know(in, 0, &out);
    }
    if (infer_attribute(in, "value_ints"))
        return infer_int_list(in, "value_ints", &out, &given) < 0 ? 0 : infer_know(in, 0, &out);
    if (!value || !output_counts(in) || !output_shape(in, 0, &out))
        return 0;
    for (int64_t i = 0; i < out.count; i++)
        out.v[i] = pith_tensor_get_int(value, i);
    return infer_know(in, 0, &out);
}
