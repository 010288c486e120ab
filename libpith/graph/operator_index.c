/* Types and shapes of operators that pick and place by index, and of those whose output depends on
 * data. */
#include "libpith/graph/infer.h"

static int unknown_rank(struct infer *in)
{
    return infer_set(in, 0, infer_dtype(in, 0), NULL);
}

/* x with its dimensions from..from + gone - 1 replaced by those of `middle`. */
static int replace_dims(struct infer *in, const struct pith_shape *x, uint32_t from, uint32_t gone,
                        const int64_t *middle, uint32_t count, struct pith_shape *out)
{
    *out = (struct pith_shape){0};
    if (x->rank - gone + count > PITH_MAX_RANK)
        return infer_fail(in, "its output has more than %d dimensions", PITH_MAX_RANK);
    for (uint32_t i = 0; i < from; i++)
        out->dim[out->rank++] = x->dim[i];
    for (uint32_t i = 0; i < count; i++)
        out->dim[out->rank++] = middle[i];
    for (uint32_t i = from + gone; i < x->rank; i++)
        out->dim[out->rank++] = x->dim[i];
    return 0;
}

static int check_constant_indices(struct infer *in, size_t input, int64_t limit)
{
    struct known indices;

    if (limit == PITH_DIM_UNKNOWN || !infer_known(in, input, &indices))
        return 0;
    for (int64_t i = 0; i < indices.count; i++)
        if (indices.v[i] != KNOWN_NOT && (indices.v[i] < -limit || indices.v[i] >= limit))
            return infer_fail(in, "index %lld is outside the %lld there are",
                              (long long) indices.v[i], (long long) limit);
    return 0;
}

int infer_gather(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0), *indices = infer_shape(in, 1);
    struct pith_shape out;
    uint32_t axis;
    int rc;

    if (!x || !indices)
        return unknown_rank(in);
    rc = infer_axis(in, infer_int(in, "axis", 0), x->rank, &axis);
    if (rc == 0)
        rc = check_constant_indices(in, 1, x->dim[axis]);
    if (rc == 0)
        rc = replace_dims(in, x, axis, 1, indices->dim, indices->rank, &out);
    return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), &out);
}

int infer_gather_elements(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0), *indices = infer_shape(in, 1);
    uint32_t axis;
    int rc;

    if (x && indices) {
        rc = infer_axis(in, infer_int(in, "axis", 0), x->rank, &axis);
        if (rc < 0)
            return rc;
        if (x->rank != indices->rank)
            return infer_fail(in, "the input has rank %u and the indices %u, they must be the same",
                              x->rank, indices->rank);
        for (uint32_t i = 0; i < x->rank; i++)
            if (i != axis && x->dim[i] >= 0 && indices->dim[i] > x->dim[i])
                return infer_fail(in, "the indices have %lld along axis %u, the input only %lld",
                                  (long long) indices->dim[i], i, (long long) x->dim[i]);
    }
    return infer_set(in, 0, infer_dtype(in, 0), indices);
}

/* What an index tuple leaves of the data: batch, then the indices' own dimensions, then the rest.
 */
static int check_tuple(struct infer *in, const struct pith_shape *x,
                       const struct pith_shape *indices, int64_t batch, bool *out_known)
{
    int64_t tuple;

    if (indices->rank < 1 || batch < 0 || batch >= indices->rank || batch >= x->rank)
        return infer_fail(in,
                          "indices of rank %u do not fit an input of rank %u with batch_dims %lld",
                          indices->rank, x->rank, (long long) batch);
    tuple = indices->dim[indices->rank - 1];
    *out_known = tuple != PITH_DIM_UNKNOWN;
    if (tuple > (int64_t) x->rank - batch || tuple == 0)
        return infer_fail(in, "index tuples of %lld do not fit an input of rank %u",
                          (long long) tuple, x->rank);
    return 0;
}

int infer_gather_nd(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0), *indices = infer_shape(in, 1);
    int64_t batch = infer_int(in, "batch_dims", 0);
    struct pith_shape out;
    bool known;
    int rc;

    if (!x || !indices)
        return unknown_rank(in);
    rc = check_tuple(in, x, indices, batch, &known);
    if (rc < 0 || !known)
        return rc < 0 ? rc : unknown_rank(in);
    for (int64_t i = 0; i < batch; i++)
        if (infer_dims_clash(x->dim[i], indices->dim[i]))
            return infer_fail(in, "input and indices differ along batch axis %lld", (long long) i);
    rc = replace_dims(in, x, 0, (uint32_t) (batch + indices->dim[indices->rank - 1]), indices->dim,
                      indices->rank - 1, &out);
    return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), &out);
}

static int check_reduction_type(struct infer *in, size_t updates)
{
    int32_t dtype = infer_dtype(in, 0), other = infer_dtype(in, updates);

    if (dtype != PITH_DTYPE_NONE && other != PITH_DTYPE_NONE && dtype != other)
        return infer_fail(in, "the updates are %s, the input %s", pith_dtype_name(other),
                          pith_dtype_name(dtype));
    return 0;
}

int infer_scatter_elements(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0), *indices = infer_shape(in, 1),
                            *updates = infer_shape(in, 2);
    uint32_t axis;
    int rc = check_reduction_type(in, 2);

    if (rc < 0)
        return rc;
    if (x) {
        rc = infer_axis(in, infer_int(in, "axis", 0), x->rank, &axis);
        if (rc < 0)
            return rc;
        if (indices && indices->rank != x->rank)
            return infer_fail(in, "the input has rank %u and the indices %u, they must be the same",
                              x->rank, indices->rank);
    }
    if (indices && updates) {
        bool differ = indices->rank != updates->rank;

        for (uint32_t i = 0; !differ && i < indices->rank; i++)
            differ = infer_dims_clash(indices->dim[i], updates->dim[i]);
        if (differ)
            return infer_fail(in, "indices and updates differ in shape");
    }
    return infer_set(in, 0, infer_dtype(in, 0), x);
}

int infer_scatter_nd(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0), *indices = infer_shape(in, 1),
                            *updates = infer_shape(in, 2);
    bool known;
    int rc = check_reduction_type(in, 2);

    if (rc == 0 && x && indices) {
        rc = check_tuple(in, x, indices, 0, &known);
        if (rc == 0 && known && updates &&
            updates->rank != indices->rank - 1 + x->rank - indices->dim[indices->rank - 1])
            rc = infer_fail(in, "updates of rank %u do not fit the indices", updates->rank);
    }
    return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), x);
}

int infer_one_hot(struct infer *in)
{
    const struct pith_shape *indices = infer_shape(in, 0);
    int64_t dim = PITH_DIM_UNKNOWN;
    double depth;
    size_t count;
    struct known known;
    struct pith_shape out;
    uint32_t axis;
    int rc;

    if (!indices)
        return infer_set(in, 0, infer_dtype(in, 2), NULL);
    if (infer_known(in, 1, &known) && known.count == 1 && known.v[0] != KNOWN_NOT)
        dim = known.v[0];
    else if (infer_numbers(in, 1, &depth, 1, &count) && count == 1) {
        if (!(depth >= 0 && depth <= (double) PITH_TENSOR_MAX_BYTES))
            return infer_fail(in, "a depth of %g is not possible", depth);
        dim = (int64_t) depth;
    } else
        known.count = 0;
    if (dim != PITH_DIM_UNKNOWN && dim < 0)
        return infer_fail(in, "a depth of %lld is not possible", (long long) dim);
    rc = infer_axis(in, infer_int(in, "axis", -1), indices->rank + 1, &axis);
    if (rc == 0)
        rc = replace_dims(in, indices, axis, 0, &dim, 1, &out);
    return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 2), &out);
}

int infer_compress(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct pith_shape out = {.rank = 1, .dim = {PITH_DIM_UNKNOWN}};
    uint32_t axis;
    int rc = infer_rank(in, 1, "condition", 1, 1);

    if (rc < 0)
        return rc;
    if (infer_attribute(in, "axis")) {
        if (!x)
            return unknown_rank(in);
        rc = infer_axis(in, infer_int(in, "axis", 0), x->rank, &axis);
        if (rc < 0)
            return rc;
        out = *x;
        out.dim[axis] = PITH_DIM_UNKNOWN;
    }
    return infer_set(in, 0, infer_dtype(in, 0), &out);
}

int infer_non_zero(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct pith_shape out = {.rank = 2, .dim = {PITH_DIM_UNKNOWN, PITH_DIM_UNKNOWN}};

    if (x)
        out.dim[0] = x->rank;
    return infer_set(in, 0, PITH_INT64, &out);
}

int infer_unique(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    const struct pith_shape list = {.rank = 1, .dim = {PITH_DIM_UNKNOWN}};
    struct pith_shape out = list;
    uint32_t axis;
    int rc = 0;

    if (infer_attribute(in, "axis") && x) {
        rc = infer_axis(in, infer_int(in, "axis", 0), x->rank, &axis);
        if (rc < 0)
            return rc;
        out = *x;
        out.dim[axis] = PITH_DIM_UNKNOWN;
    }
    rc = infer_set(in, 0, infer_dtype(in, 0), infer_attribute(in, "axis") && !x ? NULL : &out);
    for (size_t i = 1; i < 4 && rc == 0; i++)
        rc = infer_set(in, i, PITH_INT64, &list);
    return rc;
}

int infer_nms(struct infer *in)
{
    const struct pith_shape out = {.rank = 2, .dim = {PITH_DIM_UNKNOWN, 3}};
    int rc = infer_rank(in, 0, "boxes", 3, 3);

    if (rc == 0)
        rc = infer_rank(in, 1, "scores", 3, 3);
    return rc < 0 ? rc : infer_set(in, 0, PITH_INT64, &out);
}

/* The greatest index of the output that the n-grams name, plus one. */
int infer_tfidf(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct pith_shape out = {0};
    struct known indexes;
    int64_t width = 0;
    bool given;
    int rc = infer_rank(in, 0, "input", 1, 2);

    if (rc == 0)
        rc = infer_int_list(in, "ngram_indexes", &indexes, &given);
    if (rc < 0)
        return rc;
    for (int64_t i = 0; i < indexes.count; i++) {
        if (indexes.v[i] < 0 || indexes.v[i] > INT32_MAX)
            return infer_fail(in, "attribute ngram_indexes has %lld", (long long) indexes.v[i]);
        width = indexes.v[i] >= width ? indexes.v[i] + 1 : width;
    }
    if (!x)
        return infer_set(in, 0, PITH_FLOAT32, NULL);
    if (x->rank == 2)
        out.dim[out.rank++] = x->dim[0];
    out.dim[out.rank++] = width;
    return infer_set(in, 0, PITH_FLOAT32, &out);
}
