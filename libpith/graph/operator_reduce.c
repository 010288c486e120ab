/* Types and shapes of reductions, ArgMax/ArgMin, TopK and CumSum. */
#include "libpith/graph/infer.h"

static int reduced_shape(struct infer *in, uint32_t mask, bool keep, struct pith_shape *out)
{
    const struct pith_shape *x = infer_shape(in, 0);

    *out = (struct pith_shape){0};
    for (uint32_t i = 0; i < x->rank; i++) {
        bool gone = mask >> i & 1;

        if (!gone || keep)
            out->dim[out->rank++] = gone ? 1 : x->dim[i];
    }
    return 0;
}

/* Axes came as an attribute up to opset 17 (12 for ReduceSum) and as an input since; no axes means
 * all, or none where noop_with_empty_axes is set. */
int infer_reduce(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    bool keep = infer_int(in, "keepdims", 1) != 0;
    struct known axes;
    struct pith_shape out = {0};
    bool given, known;
    uint32_t mask = 0;
    int rc = infer_axes(in, "axes", 1, &axes, &given, &known);

    if (rc < 0)
        return rc;
    if (!x)
        return infer_set(in, 0, infer_dtype(in, 0), NULL);
    if (!known) {
        if (!keep)
            return infer_set(in, 0, infer_dtype(in, 0), NULL);
        out.rank = x->rank;
        for (uint32_t i = 0; i < out.rank; i++)
            out.dim[i] = x->dim[i] == 1 ? 1 : PITH_DIM_UNKNOWN;
        return infer_set(in, 0, infer_dtype(in, 0), &out);
    }
    if (!given || axes.count == 0) {
        if (infer_int(in, "noop_with_empty_axes", 0) != 0)
            return infer_set(in, 0, infer_dtype(in, 0), x);
        mask = (UINT32_C(1) << x->rank) - 1;
    } else {
        rc = infer_axis_mask(in, &axes, x->rank, &mask);
    }
    if (rc == 0)
        rc = reduced_shape(in, mask, keep, &out);
    return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), &out);
}

int infer_arg(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct pith_shape out;
    uint32_t axis;
    int rc;

    if (!x)
        return infer_set(in, 0, PITH_INT64, NULL);
    rc = infer_axis(in, infer_int(in, "axis", 0), x->rank, &axis);
    if (rc < 0)
        return rc;
    if (x->dim[axis] == 0)
        return infer_fail(in, "nothing lies along axis %u to choose from", axis);
    rc = reduced_shape(in, UINT32_C(1) << axis, infer_int(in, "keepdims", 1) != 0, &out);
    return rc < 0 ? rc : infer_set(in, 0, PITH_INT64, &out);
}

int infer_topk(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    int64_t k = PITH_DIM_UNKNOWN;
    struct known count;
    struct pith_shape out;
    uint32_t axis;
    int rc = 0;

    if (in->opset < 10)
        k = infer_int(in, "k", -1);
    else if (infer_ints(in, 1, &count)) {
        if (count.count != 1)
            return infer_fail(in, "k has %lld entries, one is needed", (long long) count.count);
        k = count.v[0];
    }
    if (k < 0 && (in->opset < 10 || k != PITH_DIM_UNKNOWN))
        return infer_fail(in, "k is %lld", (long long) k);
    if (x) {
        out = *x;
        rc = infer_axis(in, infer_int(in, "axis", -1), x->rank, &axis);
        if (rc < 0)
            return rc;
        if (k != PITH_DIM_UNKNOWN && x->dim[axis] != PITH_DIM_UNKNOWN && k > x->dim[axis])
            return infer_fail(in, "k is %lld and axis %u has only %lld", (long long) k, axis,
                              (long long) x->dim[axis]);
        out.dim[axis] = k;
    }
    rc = infer_set(in, 0, infer_dtype(in, 0), x ? &out : NULL);
    return rc < 0 ? rc : infer_set(in, 1, PITH_INT64, x ? &out : NULL);
}

int infer_cumsum(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct known axis;
    uint32_t at;

    if (x && infer_ints(in, 1, &axis)) {
        int rc = axis.count == 1 ? infer_axis(in, axis.v[0], x->rank, &at)
                                 : infer_fail(in, "axis has %lld entries, one is needed",
                                              (long long) axis.count);

        if (rc < 0)
            return rc;
    }
    return infer_set(in, 0, infer_dtype(in, 0), x);
}
