/* ScatterElements (Scatter) and ScatterND: a copy of the data with updates put, added, multiplied
 * or compared in. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/indices.h"
#include "libpith/kernels/numbers.h"

#include <errno.h>
#include <string.h>

enum reduction { REDUCE_NONE, REDUCE_ADD, REDUCE_MUL, REDUCE_MAX, REDUCE_MIN };

struct scatter {
    enum reduction reduction;
    int32_t dtype;
    size_t bytes;
    struct pith_element_indices along; /* elements */
    struct pith_index_tuple tuple;     /* nd */
    int64_t tuples, slice;             /* nd: how many, elements of a slice */
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

static void copy_data(struct pith_step *step, size_t bytes)
{
    if (step->output[0].data != step->input[0].data)
        memcpy(step->output[0].data, step->input[0].data,
               (size_t) pith_shape_elements(&step->input[0].shape) * bytes);
}

static int elements_prepare(struct pith_step *step, struct pith_error *err)
{
    int rc;
    struct scatter *s = scatter_new(step, err, &rc);

    if (!s)
        return rc;
    if (!pith_shape_equal(&step->input[1].shape, &step->input[2].shape))
        return pith_step_fail(step, err, -EINVAL, "the updates do not fit the indices");
    return pith_element_indices_read(step, &step->input[0].shape, &s->along, err);
}

static int elements_run(struct pith_step *step, struct pith_error *err)
{
    const struct scatter *s = step->params;
    const int64_t count = pith_shape_elements(&step->input[1].shape), bytes = (int64_t) s->bytes;
    struct pith_element_cursor cursor = {0};

    copy_data(step, s->bytes);
    for (int64_t i = 0; i < count; i++) {
        int64_t element;
        int rc = pith_element_next(step, &s->along, &cursor, &element, err);

        if (rc < 0)
            return rc;
        put(s, (char *) step->output[0].data + element * bytes,
            (const char *) step->input[2].data + i * bytes, 1);
    }
    return 0;
}

static int nd_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *indices = &step->input[1].shape;
    struct pith_shape updates = {0};
    int64_t length;
    int rc;
    struct scatter *s = scatter_new(step, err, &rc);

    if (!s)
        return rc;
    length = indices->rank > 0 ? indices->dim[indices->rank - 1] : 0;
    if (length < 1 || length > (int64_t) x->rank ||
        indices->rank - 1 + x->rank - length > PITH_MAX_RANK)
        return pith_step_fail(step, err, -EINVAL, "index tuples of %lld do not fit rank %u",
                              (long long) length, x->rank);
    for (uint32_t i = 0; i + 1 < indices->rank; i++)
        updates.dim[updates.rank++] = indices->dim[i];
    for (uint32_t i = (uint32_t) length; i < x->rank; i++)
        updates.dim[updates.rank++] = x->dim[i];
    if (!pith_shape_equal(&updates, &step->input[2].shape))
        return pith_step_fail(step, err, -EINVAL, "the updates do not fit the indices");
    s->tuples = pith_dims_product(indices, 0, indices->rank - 1);
    s->slice = pith_dims_product(x, (uint32_t) length, x->rank);
    pith_index_tuple_plan(x, 0, length, &s->tuple);
    return 0;
}

static int nd_run(struct pith_step *step, struct pith_error *err)
{
    const struct scatter *s = step->params;
    const int64_t bytes = s->slice * (int64_t) s->bytes;

    copy_data(step, s->bytes);
    for (int64_t i = 0; i < s->tuples; i++) {
        int64_t slice;
        int rc = pith_index_tuple_read(step, &s->tuple, i, &slice, err);

        if (rc < 0)
            return rc;
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
