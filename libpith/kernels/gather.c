/* Gather, GatherElements, GatherND: picking by index. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/indices.h"
#include "libpith/kernels/numbers.h"

#include <errno.h>
#include <string.h>

struct gather {
    int64_t outer, limit, inner_bytes; /* before the axis, along it, behind it */
    int64_t indices;                   /* how many */
    uint32_t axis;
    size_t bytes;
};

static int expect(struct pith_step *step, const struct pith_shape *want, struct pith_error *err)
{
    if (step->output[0].dtype == step->input[0].dtype &&
        pith_shape_equal(want, &step->output[0].shape))
        return 0;
    return pith_step_fail(step, err, -EINVAL, "its output has another shape than its inputs give");
}

static int gather_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *indices = &step->input[1].shape;
    struct gather *g = pith_step_alloc(step, sizeof *g);
    struct pith_shape out = {0};
    int rc;

    if (!g)
        return -ENOMEM;
    rc = pith_step_axis(step, pith_node_int(step->graph, step->node, "axis", 0), x->rank, &g->axis,
                        err);
    if (rc < 0)
        return rc;
    if (x->rank - 1 + indices->rank > PITH_MAX_RANK)
        return pith_step_fail(step, err, -EINVAL, "its output has too many dimensions");
    for (uint32_t i = 0; i < g->axis; i++)
        out.dim[out.rank++] = x->dim[i];
    for (uint32_t i = 0; i < indices->rank; i++)
        out.dim[out.rank++] = indices->dim[i];
    for (uint32_t i = g->axis + 1; i < x->rank; i++)
        out.dim[out.rank++] = x->dim[i];
    g->bytes = numbers_bytes(step->input[0].dtype);
    g->outer = pith_dims_product(x, 0, g->axis);
    g->limit = x->dim[g->axis];
    g->inner_bytes = pith_dims_product(x, g->axis + 1, x->rank) * (int64_t) g->bytes;
    g->indices = pith_shape_elements(indices);
    step->params = g;
    return expect(step, &out, err);
}

static int gather_run(struct pith_step *step, struct pith_error *err)
{
    const struct gather *g = step->params;
    const char *from = step->input[0].data;
    char *to = step->output[0].data;

    for (int64_t i = 0; i < g->indices; i++) {
        int64_t index;
        int rc = pith_index_read(step, &step->input[1], i, g->limit, &index, err);

        if (rc < 0)
            return rc;
        for (int64_t k = 0; k < g->outer && g->inner_bytes > 0; k++)
            memcpy(to + (k * g->indices + i) * g->inner_bytes,
                   from + (k * g->limit + index) * g->inner_bytes, (size_t) g->inner_bytes);
    }
    return 0;
}

/* ---- GatherElements: an index for each element of the output ---- */

struct gather_elements {
    struct pith_element_indices along;
    int64_t bytes;
};

static int gather_elements_prepare(struct pith_step *step, struct pith_error *err)
{
    struct gather_elements *g = pith_step_alloc(step, sizeof *g);
    int rc;

    if (!g)
        return -ENOMEM;
    rc = pith_element_indices_read(step, &step->input[0].shape, &g->along, err);
    if (rc < 0)
        return rc;
    g->bytes = (int64_t) numbers_bytes(step->input[0].dtype);
    step->params = g;
    return expect(step, &step->input[1].shape, err);
}

static int gather_elements_run(struct pith_step *step, struct pith_error *err)
{
    const struct gather_elements *g = step->params;
    const int64_t count = pith_shape_elements(&step->input[1].shape);
    struct pith_element_cursor cursor = {0};

    for (int64_t i = 0; i < count; i++) {
        int64_t element;
        int rc = pith_element_next(step, &g->along, &cursor, &element, err);

        if (rc < 0)
            return rc;
        memcpy((char *) step->output[0].data + i * g->bytes,
               (const char *) step->input[0].data + element * g->bytes, (size_t) g->bytes);
    }
    return 0;
}

/* ---- GatherND: an index tuple for each slice of the output ---- */

struct gather_nd {
    int64_t batches, tuples; /* batches, tuples in each */
    struct pith_index_tuple tuple;
    int64_t slice_bytes;
};

static int gather_nd_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *indices = &step->input[1].shape;
    int64_t batch = pith_node_int(step->graph, step->node, "batch_dims", 0);
    struct gather_nd *g = pith_step_alloc(step, sizeof *g);
    struct pith_shape out = {0};
    int64_t length;

    if (!g)
        return -ENOMEM;
    if (indices->rank < 1 || batch < 0 || batch >= (int64_t) indices->rank ||
        batch >= (int64_t) x->rank)
        return pith_step_fail(step, err, -EINVAL, "batch_dims %lld does not fit its inputs",
                              (long long) batch);
    length = indices->dim[indices->rank - 1];
    if (length < 1 || length > (int64_t) x->rank - batch)
        return pith_step_fail(step, err, -EINVAL, "index tuples of %lld do not fit rank %u",
                              (long long) length, x->rank);
    for (uint32_t i = 0; i + 1 < indices->rank; i++) {
        if (i < batch && indices->dim[i] != x->dim[i])
            return pith_step_fail(step, err, -EINVAL,
                                  "input and indices differ along batch axis %u", i);
        out.dim[out.rank++] = indices->dim[i];
    }
    for (uint32_t i = (uint32_t) (batch + length); i < x->rank && out.rank < PITH_MAX_RANK; i++)
        out.dim[out.rank++] = x->dim[i];
    g->batches = pith_dims_product(x, 0, (uint32_t) batch);
    g->tuples = pith_dims_product(indices, (uint32_t) batch, indices->rank - 1);
    pith_index_tuple_plan(x, (uint32_t) batch, length, &g->tuple);
    g->slice_bytes = pith_dims_product(x, (uint32_t) (batch + length), x->rank) *
                     (int64_t) numbers_bytes(step->input[0].dtype);
    step->params = g;
    return expect(step, &out, err);
}

static int gather_nd_run(struct pith_step *step, struct pith_error *err)
{
    const struct gather_nd *g = step->params;
    char *to = step->output[0].data;

    for (int64_t i = 0; i < g->batches * g->tuples; i++) {
        int64_t slice;
        int rc = pith_index_tuple_read(step, &g->tuple, i, &slice, err);

        if (rc < 0)
            return rc;
        slice += i / g->tuples * g->tuple.slices;
        if (g->slice_bytes > 0)
            memcpy(to + i * g->slice_bytes,
                   (const char *) step->input[0].data + slice * g->slice_bytes,
                   (size_t) g->slice_bytes);
    }
    return 0;
}

#define INDICES (PITH_BIT(INT32) | PITH_BIT(INT64))

const struct pith_kernel pith_kernels_gather[] = {
    {.op = "Gather",
     .name = "gather",
     .types = {NUMBERS_MOVED, INDICES},
     .prepare = gather_prepare,
     .run = gather_run},
    {.op = "GatherElements",
     .name = "gather_elements",
     .types = {NUMBERS_MOVED, INDICES},
     .prepare = gather_elements_prepare,
     .run = gather_elements_run},
    {.op = "GatherND",
     .name = "gather_nd",
     .types = {NUMBERS_MOVED, INDICES},
     .prepare = gather_nd_prepare,
     .run = gather_nd_run},
    {0},
};
