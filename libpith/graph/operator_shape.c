/* Types and shapes of operators about shapes: Shape, Reshape and their like, and those that make a
 * tensor from numbers. */
#include "libpith/graph/infer.h"

#include <math.h>
#include <string.h>

int infer_size(struct infer *in)
{
    const struct pith_shape scalar = {0};

    return infer_set(in, 0, PITH_INT64, &scalar);
}

/* start and end (opset 15) clamp into the rank. */
static void shape_range(const struct infer *in, uint32_t rank, int64_t *out_start, int64_t *out_end)
{
    int64_t start = infer_int(in, "start", 0), end = infer_int(in, "end", (int64_t) rank);

    start = start < 0 ? start + rank : start;
    end = end < 0 ? end + rank : end;
    *out_start = start < 0 ? 0 : start > rank ? rank : start;
    *out_end = end < *out_start ? *out_start : end > rank ? rank : end;
}

int infer_shape_op(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct pith_shape out = {.rank = 1, .dim = {PITH_DIM_UNKNOWN}};
    int64_t start, end;

    if (x) {
        shape_range(in, x->rank, &start, &end);
        out.dim[0] = end - start;
    }
    return infer_set(in, 0, PITH_INT64, &out);
}

int know_shape(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct known known = {.shape = {.rank = 1}};
    int64_t start, end;

    if (!x)
        return 0;
    shape_range(in, x->rank, &start, &end);
    for (int64_t i = start; i < end; i++)
        known.v[known.count++] = x->dim[i] == PITH_DIM_UNKNOWN ? KNOWN_NOT : x->dim[i];
    known.shape.dim[0] = known.count;
    return infer_know(in, 0, &known);
}

int know_size(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct known known = {.count = 1};

    if (!x || !pith_shape_known(x))
        return 0;
    known.v[0] = pith_shape_elements(x);
    return infer_know(in, 0, &known);
}

/* The one dimension of -1 takes what the others leave; 0 copies the input's, unless allowzero. */
static int reshape_dims(struct infer *in, const struct known *target, struct pith_shape *out)
{
    const struct pith_shape *x = infer_shape(in, 0);
    bool allow_zero = infer_int(in, "allowzero", 0) != 0, unsure = !x || !pith_shape_known(x);
    int64_t rest = -1, product = 1, whole;
    char text[PITH_SHAPE_TEXT_BYTES];
    int rc = 0;

    out->rank = (uint32_t) target->count;
    for (uint32_t i = 0; i < out->rank && rc == 0; i++) {
        int64_t dim = target->v[i];

        if (dim == 0 && !allow_zero) {
            if (x && i >= x->rank)
                return infer_fail(in,
                                  "dimension %u is to be copied from the input %s, which has none",
                                  i, infer_text(in, 0, text));
            dim = x ? x->dim[i] : PITH_DIM_UNKNOWN;
            unsure = unsure || dim == PITH_DIM_UNKNOWN;
        } else if (dim == -1) {
            if (rest >= 0)
                return infer_fail(in, "two dimensions are -1, one is possible");
            rest = i;
            out->dim[i] = PITH_DIM_UNKNOWN;
            continue;
        } else if (dim == KNOWN_NOT) {
            unsure = true;
            dim = PITH_DIM_UNKNOWN;
        } else if (dim < 0) {
            return infer_fail(in, "a dimension of %lld is not possible", (long long) dim);
        }
        out->dim[i] = dim;
        rc = infer_multiply(in, product, dim, &product);
    }
    if (rc < 0 || unsure)
        return rc;
    whole = pith_shape_elements(x);
    if (rest >= 0 ? (product == 0 ? whole != 0 : whole % product != 0) : whole != product)
        return infer_fail(
            in, "%s has %lld elements, which do not fit the shape %s", infer_text(in, 0, text),
            (long long) whole,
            pith_shape_text(out, (char[PITH_SHAPE_TEXT_BYTES]){0}, PITH_SHAPE_TEXT_BYTES));
    if (rest >= 0)
        out->dim[rest] = product == 0 ? 0 : whole / product;
    return 0;
}

/* An input with unknown dimensions is still fitted where the ones that stay unknown are copied on
 * both sides. */
static void reshape_cancel(const struct infer *in, const struct known *target,
                           struct pith_shape *out)
{
    const struct pith_shape *x = infer_shape(in, 0);
    int64_t left = 1, right = 1, rest = -1;
    unsigned unknown = 0, copied = 0;

    if (!x || pith_shape_known(x) || infer_int(in, "allowzero", 0) != 0)
        return;
    for (uint32_t i = 0; i < x->rank; i++)
        if (x->dim[i] == PITH_DIM_UNKNOWN)
            unknown++;
        else if (__builtin_mul_overflow(left, x->dim[i], &left))
            return;
    for (uint32_t i = 0; i < out->rank; i++) {
        if (target->v[i] == -1)
            rest = i;
        else if (target->v[i] == 0 && out->dim[i] == PITH_DIM_UNKNOWN)
            copied++;
        else if (out->dim[i] == PITH_DIM_UNKNOWN ||
                 __builtin_mul_overflow(right, out->dim[i], &right))
            return;
    }
    if (rest >= 0 && unknown == copied && right > 0 && left % right == 0)
        out->dim[rest] = left / right;
}

int infer_reshape(struct infer *in)
{
    const struct pith_shape *shape = infer_shape(in, 1);
    struct known target;
    struct pith_shape out = {0};
    bool given = false;
    int rc = 0;

    if (in->opset < 5)
        rc = infer_int_list(in, "shape", &target, &given);
    else {
        rc = infer_rank(in, 1, "shape", 1, 1);
        given = rc == 0 && infer_known(in, 1, &target);
    }
    if (rc < 0)
        return rc;
    if (!given) {
        if (!shape || shape->dim[0] == PITH_DIM_UNKNOWN || shape->dim[0] > PITH_MAX_RANK)
            return infer_set(in, 0, infer_dtype(in, 0), NULL);
        out.rank = (uint32_t) shape->dim[0];
        for (uint32_t i = 0; i < out.rank; i++)
            out.dim[i] = PITH_DIM_UNKNOWN;
        return infer_set(in, 0, infer_dtype(in, 0), &out);
    }
    if (target.count > PITH_MAX_RANK)
        return infer_fail(in, "a shape of %lld dimensions; at most %d are possible",
                          (long long) target.count, PITH_MAX_RANK);
    rc = reshape_dims(in, &target, &out);
    if (rc < 0)
        return rc;
    reshape_cancel(in, &target, &out);
    return infer_set(in, 0, infer_dtype(in, 0), &out);
}

int infer_flatten(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct pith_shape out = {.rank = 2, .dim = {1, 1}};
    int64_t axis = infer_int(in, "axis", 1);
    int rc = 0;

    if (!x) {
        out.dim[0] = out.dim[1] = PITH_DIM_UNKNOWN;
        return infer_set(in, 0, infer_dtype(in, 0), &out);
    }
    if (axis < -(int64_t) x->rank || axis > (int64_t) x->rank)
        return infer_fail(in, "axis %lld is outside the rank %u of its input", (long long) axis,
                          x->rank);
    axis = axis < 0 ? axis + x->rank : axis;
    for (uint32_t i = 0; i < x->rank && rc == 0; i++) {
        int64_t *dim = &out.dim[i < (uint64_t) axis ? 0 : 1];

        rc = infer_multiply(in, *dim, x->dim[i], dim);
    }
    return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), &out);
}

int infer_squeeze(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct known axes;
    struct pith_shape out = {0};
    bool given, known;
    uint32_t mask = 0;
    int rc = infer_axes(in, "axes", 1, &axes, &given, &known);

    if (rc < 0)
        return rc;
    if (!x || !known || (!given && !pith_shape_known(x)))
        return infer_set(in, 0, infer_dtype(in, 0), NULL);
    if (given)
        rc = infer_axis_mask(in, &axes, x->rank, &mask);
    for (uint32_t i = 0; !given && i < x->rank; i++)
        mask |= x->dim[i] == 1 ? UINT32_C(1) << i : 0;
    for (uint32_t i = 0; i < x->rank && rc == 0; i++) {
        if (!(mask >> i & 1))
            out.dim[out.rank++] = x->dim[i];
        else if (infer_dims_clash(x->dim[i], 1))
            return infer_fail(in, "axis %u has %lld, only an axis of 1 can be left out", i,
                              (long long) x->dim[i]);
    }
    return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), &out);
}

int infer_unsqueeze(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct known axes;
    struct pith_shape out = {0};
    bool given, known;
    uint32_t mask = 0, from = 0;
    int rc = infer_axes(in, "axes", 1, &axes, &given, &known);

    if (rc < 0)
        return rc;
    if (!given)
        return infer_fail(in, "axes are missing");
    if (!x || !known)
        return infer_set(in, 0, infer_dtype(in, 0), NULL);
    if (x->rank + axes.count > PITH_MAX_RANK)
        return infer_fail(in, "%lld more axes on rank %u; at most %d are possible",
                          (long long) axes.count, x->rank, PITH_MAX_RANK);
    out.rank = x->rank + (uint32_t) axes.count;
    rc = infer_axis_mask(in, &axes, out.rank, &mask);
    for (uint32_t i = 0; i < out.rank && rc == 0; i++)
        out.dim[i] = mask >> i & 1 ? 1 : x->dim[from++];
    return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), &out);
}

static int range_from_ints(struct infer *in, const int64_t *v, int64_t *out_count)
{
    int64_t start = v[0], limit = v[1], delta = v[2], span;

    if (delta == 0)
        return infer_fail(in, "a delta of 0 never arrives");
    if ((delta > 0) != (limit > start) || limit == start) {
        *out_count = 0;
        return 0;
    }
    if (__builtin_sub_overflow(limit, start, &span) || delta == INT64_MIN)
        return infer_fail(in, "the range is too large");
    span = span < 0 ? -span : span;
    delta = delta < 0 ? -delta : delta;
    *out_count = (span - 1) / delta + 1;
    return 0;
}

int infer_range(struct infer *in)
{
    struct pith_shape out = {.rank = 1, .dim = {PITH_DIM_UNKNOWN}};
    int32_t dtype = infer_dtype(in, 0);
    int64_t ints[3];
    double numbers[3];
    bool known = true, constant = true;

    for (size_t i = 0; i < 3; i++) {
        struct known one;
        size_t count = 0;

        known = known && infer_ints(in, i, &one) && one.count == 1;
        if (known)
            ints[i] = one.v[0];
        constant = constant && infer_numbers(in, i, &numbers[i], 1, &count) && count == 1;
    }
    if (known) {
        int rc = range_from_ints(in, ints, &out.dim[0]);

        if (rc < 0)
            return rc;
    } else if (constant) {
        double steps;

        if (numbers[2] == 0)
            return infer_fail(in, "a delta of 0 never arrives");
        steps = ceil((numbers[1] - numbers[0]) / numbers[2]);
        if (!(steps < (double) PITH_TENSOR_MAX_BYTES))
            return infer_fail(in, "the range is too large");
        out.dim[0] = steps > 0 ? (int64_t) steps : 0;
    }
    return infer_set(in, 0, dtype, &out);
}

int infer_constant_of_shape(struct infer *in)
{
    const struct pith_tensor *value = pith_node_tensor(in->graph, in->node, "value");
    const struct pith_shape *shape = infer_shape(in, 0);
    int32_t dtype = value ? value->dtype : PITH_FLOAT32;
    struct pith_shape out = {0};
    struct known dims;
    int rc = infer_rank(in, 0, "shape", 1, 1);

    if (rc < 0)
        return rc;
    if (value && pith_shape_elements(&value->shape) != 1)
        return infer_fail(in, "attribute value must be one number");
    if (!infer_known(in, 0, &dims)) {
        if (!shape || shape->dim[0] == PITH_DIM_UNKNOWN)
            return infer_set(in, 0, dtype, NULL);
        dims.count = shape->dim[0];
        for (int64_t i = 0; i < dims.count && i < KNOWN_MAX_COUNT; i++)
            dims.v[i] = KNOWN_NOT;
    }
    if (dims.count > PITH_MAX_RANK)
        return infer_fail(in, "a shape of %lld dimensions; at most %d are possible",
                          (long long) dims.count, PITH_MAX_RANK);
    out.rank = (uint32_t) dims.count;
    for (uint32_t i = 0; i < out.rank; i++) {
        if (dims.v[i] != KNOWN_NOT && dims.v[i] < 0)
            return infer_fail(in, "a dimension of %lld is not possible", (long long) dims.v[i]);
        out.dim[i] = dims.v[i] == KNOWN_NOT ? PITH_DIM_UNKNOWN : dims.v[i];
    }
    return infer_set(in, 0, dtype, &out);
}

int infer_constant_op(struct infer *in)
{
    const struct pith_tensor *value = pith_node_tensor(in->graph, in->node, "value");
    struct pith_shape out = {0};
    size_t count;

    if (value)
        return infer_set(in, 0, value->dtype, &value->shape);
    if (infer_attribute(in, "value_float"))
        return infer_set(in, 0, PITH_FLOAT32, &out);
    if (infer_attribute(in, "value_int"))
        return infer_set(in, 0, PITH_INT64, &out);
    out.rank = 1;
    if (infer_attribute(in, "value_floats")) {
        (void) pith_node_floats(in->graph, in->node, "value_floats", &count);
        out.dim[0] = (int64_t) count;
        return infer_set(in, 0, PITH_FLOAT32, &out);
    }
    if (infer_attribute(in, "value_ints")) {
        (void) pith_node_ints(in->graph, in->node, "value_ints", &count);
        out.dim[0] = (int64_t) count;
        return infer_set(in, 0, PITH_INT64, &out);
    }
    return infer_fail(in, "it has no value that a tensor can hold");
}

int infer_eye_like(struct infer *in)
{
    int64_t dtype = infer_int(in, "dtype", infer_dtype(in, 0));
    int rc = infer_rank(in, 0, "input", 2, 2);

    return rc < 0 ? rc : infer_set(in, 0, (int32_t) dtype, infer_shape(in, 0));
}
