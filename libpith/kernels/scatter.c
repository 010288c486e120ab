/* ScatterElements (Scatter) and ScatterND: a copy of the data with updates put, added, multiplied
 * or compared in. Indices come from outside: each one is checked in each run, before anything is
 * written through it. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/numbers.h"
#include "libpith/kernels/walk.h"

#include <errno.h>
#include <string.h>

enum reduction { REDUCE_NONE, REDUCE_ADD, REDUCE_MUL, REDUCE_MAX, REDUCE_MIN };

struct scatter {
    enum reduction reduction;
    int32_t dtype;
    size_t bytes;
    int64_t stride[PITH_MAX_RANK]; /* elements: of the data, the axis' own 0; nd: of the tuple's
                                      dimensions, in slices */
    int64_t dim[PITH_MAX_RANK];
    int64_t axis_stride, limit;
    int64_t tuples, tuple, slice; /* nd: how many, their length, elements of a slice */
};

static int reduction_of(struct pith_step *step, enum reduction *out, struct pith_error *err)
{
    static const char *const names[] = {"none", "add", "mul", "max", "min"};
    const char *text = pith_node_string(step->graph, step->node, "reduction", "none");

    for (int i = 0; i < 5; i++)
        if (strcmp(text, names[i]) == 0) {
            *out = (enum reduction) i;
            return 0;
        }
    return pith_step_fail(step, err, -EINVAL,
                          "attribute reduction is \"%s\"; none, add, mul, max and min are possible",
                          text);
}

static struct scatter *scatter_new(struct pith_step *step, struct pith_error *err, int *rc)
{
    struct scatter *s = pith_step_alloc(step, sizeof *s);

    *rc = s ? reduction_of(step, &s->reduction, err) : -ENOMEM;
    if (*rc < 0)
        return NULL;
    s->dtype = step->input[0].dtype;
    s->bytes = numbers_bytes(s->dtype);
    if (s->reduction != REDUCE_NONE && !numbers_in(NUMBERS_REAL | PITH_INTS, s->dtype))
        *rc =
            pith_step_fail(step, err, -ENOTSUP, "nothing adds up in %s", pith_dtype_name(s->dtype));
    else if (step->input[2].dtype != s->dtype || step->output[0].dtype != s->dtype ||
             !pith_shape_equal(&step->input[0].shape, &step->output[0].shape))
        *rc = pith_step_fail(step, err, -EINVAL,
                             "its output and updates must be of its input's type");
    step->params = s;
    step->in_place = 1;
    return *rc < 0 ? NULL : s;
}

static double reduce_real(enum reduction reduction, double a, double b)
{
    switch (reduction) {
    case REDUCE_ADD:
        return a + b;
    case REDUCE_MUL:
        return a * b;
    case REDUCE_MAX:
        return a > b ? a : b;
    default:
        return a < b ? a : b;
    }
}

static int64_t reduce_whole(enum reduction reduction, int64_t a, int64_t b, bool is_unsigned)
{
    const int64_t flip = is_unsigned ? INT64_MIN : 0; /* orders uint64 as int64 */

    switch (reduction) {
    case REDUCE_ADD:
        return (int64_t) ((uint64_t) a + (uint64_t) b);
    case REDUCE_MUL:
        return (int64_t) ((uint64_t) a * (uint64_t) b);
    case REDUCE_MAX:
        return (a ^ flip) > (b ^ flip) ? a : b;
    default:
        return (a ^ flip) < (b ^ flip) ? a : b;
    }
}

/* n elements of updates into n of the output. */
static void put(const struct scatter *s, char *to, const char *from, int64_t n)
{
    if (s->reduction == REDUCE_NONE) {
        memcpy(to, from, (size_t) n * s->bytes);
        return;
    }
    for (int64_t i = 0; i < n; i++, to += s->bytes, from += s->bytes) {
        if (numbers_in(PITH_INTS, s->dtype)) {
            int64_t a, b;

            numbers_load_i64(s->dtype, to, 1, &a, 1);
            numbers_load_i64(s->dtype, from, 1, &b, 1);
            a = reduce_whole(s->reduction, a, b, s->dtype == PITH_UINT64);
            numbers_store_i64(s->dtype, to, &a, 1);
        } else {
            double a, b;

            numbers_load_f64(s->dtype, to, 1, &a, 1);
            numbers_load_f64(s->dtype, from, 1, &b, 1);
            a = reduce_real(s->reduction, a, b);
            numbers_store_f64(s->dtype, to, &a, 1);
        }
    }
}

static int64_t index_at(const struct pith_tensor *indices, int64_t i)
{
    return indices->dtype == PITH_INT64 ? ((const int64_t *) indices->data)[i]
                                        : ((const int32_t *) indices->data)[i];
}

static int bad_index(const struct pith_step *step, struct pith_error *err, int64_t index,
                     int64_t limit)
{
    return pith_step_fail(step, err, -EINVAL, "index %lld is outside the %lld there are",
                          (long long) index, (long long) limit);
}

static void copy_data(struct pith_step *step, size_t bytes)
{
    if (step->output[0].data != step->input[0].data)
        memcpy(step->output[0].data, step->input[0].data,
               (size_t) pith_shape_elements(&step->input[0].shape) * bytes);
}

static int elements_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *indices = &step->input[1].shape;
    uint32_t axis;
    int rc;
    struct scatter *s = scatter_new(step, err, &rc);

    if (!s)
        return rc;
    rc = pith_step_axis(step, pith_node_int(step->graph, step->node, "axis", 0), x->rank, &axis,
                        err);
    if (rc < 0)
        return rc;
    if (indices->rank != x->rank || !pith_shape_equal(indices, &step->input[2].shape))
        return pith_step_fail(step, err, -EINVAL, "indices and updates do not fit the input");
    for (uint32_t i = 0; i < x->rank; i++)
        if (i != axis && indices->dim[i] > x->dim[i])
            return pith_step_fail(step, err, -EINVAL,
                                  "the indices have more than the input along axis %u", i);
    walk_strides(x, s->stride);
    s->axis_stride = s->stride[axis];
    s->stride[axis] = 0;
    s->limit = x->dim[axis];
    return 0;
}

static int elements_run(struct pith_step *step, struct pith_error *err)
{
    const struct scatter *s = step->params;
    const struct pith_shape *shape = &step->input[1].shape;
    const int64_t count = pith_shape_elements(shape);
    int64_t at[PITH_MAX_RANK] = {0}, offset = 0;

    copy_data(step, s->bytes);
    for (int64_t i = 0; i < count; i++) {
        int64_t index = index_at(&step->input[1], i);

        if (index < -s->limit || index >= s->limit)
            return bad_index(step, err, index, s->limit);
        index = index < 0 ? index + s->limit : index;
        put(s,
            (char *) step->output[0].data + (offset + index * s->axis_stride) * (int64_t) s->bytes,
            (const char *) step->input[2].data + i * (int64_t) s->bytes, 1);
        for (uint32_t k = shape->rank; k-- > 0;) {
            offset += s->stride[k];
            if (++at[k] < shape->dim[k])
                break;
            offset -= s->stride[k] * shape->dim[k];
            at[k] = 0;
        }
    }
    return 0;
}

static int nd_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *indices = &step->input[1].shape;
    struct pith_shape updates = {0};
    int64_t stride = 1;
    int rc;
    struct scatter *s = scatter_new(step, err, &rc);

    if (!s)
        return rc;
    s->tuple = indices->rank > 0 ? indices->dim[indices->rank - 1] : 0;
    if (s->tuple < 1 || s->tuple > (int64_t) x->rank ||
        indices->rank - 1 + x->rank - s->tuple > PITH_MAX_RANK)
        return pith_step_fail(step, err, -EINVAL, "index tuples of %lld do not fit rank %u",
                              (long long) s->tuple, x->rank);
    for (uint32_t i = 0; i + 1 < indices->rank; i++)
        updates.dim[updates.rank++] = indices->dim[i];
    for (uint32_t i = (uint32_t) s->tuple; i < x->rank; i++)
        updates.dim[updates.rank++] = x->dim[i];
    if (!pith_shape_equal(&updates, &step->input[2].shape))
        return pith_step_fail(step, err, -EINVAL, "the updates do not fit the indices");
    s->tuples = pith_dims_product(indices, 0, indices->rank - 1);
    s->slice = pith_dims_product(x, (uint32_t) s->tuple, x->rank);
    for (int64_t i = s->tuple; i-- > 0;) {
        s->dim[i] = x->dim[i];
        s->stride[i] = stride;
        stride *= x->dim[i];
    }
    return 0;
}

static int nd_run(struct pith_step *step, struct pith_error *err)
{
    const struct scatter *s = step->params;
    const int64_t bytes = s->slice * (int64_t) s->bytes;

    copy_data(step, s->bytes);
    for (int64_t i = 0; i < s->tuples; i++) {
        int64_t slice = 0;

        for (int64_t k = 0; k < s->tuple; k++) {
            int64_t index = index_at(&step->input[1], i * s->tuple + k);

            if (index < -s->dim[k] || index >= s->dim[k])
                return bad_index(step, err, index, s->dim[k]);
            slice += (index < 0 ? index + s->dim[k] : index) * s->stride[k];
        }
        put(s, (char *) step->output[0].data + slice * bytes,
            (const char *) step->input[2].data + i * bytes, s->slice);
    }
    return 0;
}

#define INDICES (PITH_BIT(INT32) | PITH_BIT(INT64))

const struct pith_kernel pith_kernels_scatter[] = {
    {.op = "Scatter",
     .name = "scatter",
     .types = {NUMBERS_MOVED, INDICES},
     .prepare = elements_prepare,
     .run = elements_run},
    {.op = "ScatterElements",
     .name = "scatter",
     .types = {NUMBERS_MOVED, INDICES},
     .prepare = elements_prepare,
     .run = elements_run},
    {.op = "ScatterND",
     .name = "scatter_nd",
     .types = {NUMBERS_MOVED, INDICES},
     .prepare = nd_prepare,
     .run = nd_run},
    {0},
};
