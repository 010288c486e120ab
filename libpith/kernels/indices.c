/* Places in a tensor that another one names. See indices.h. */
#include "libpith/kernels/indices.h"

#include <errno.h>

#include "libpith/kernels/walk.h"

int pith_index_read(struct pith_step *step, const struct pith_tensor *indices, int64_t i,
                    int64_t limit, int64_t *out, struct pith_error *err)
{
    const int64_t index = indices->dtype == PITH_INT64 ? ((const int64_t *) indices->data)[i]
                                                       : ((const int32_t *) indices->data)[i];

    if (index < -limit || index >= limit)
        return pith_step_fail(step, err, -EINVAL, "index %lld is outside the %lld there are",
                              (long long) index, (long long) limit);
    *out = index < 0 ? index + limit : index;
    return 0;
}

int pith_element_indices_read(struct pith_step *step, const struct pith_shape *x,
                              struct pith_element_indices *out, struct pith_error *err)
{
    const struct pith_shape *indices = &step->input[1].shape;
    uint32_t axis;
    int rc = pith_step_axis(step, pith_node_int(step->graph, step->node, "axis", 0), x->rank, &axis,
                            err);

    if (rc < 0)
        return rc;
    if (indices->rank != x->rank)
        return pith_step_fail(step, err, -EINVAL, "input and indices differ in rank");
    for (uint32_t i = 0; i < x->rank; i++)
        if (i != axis && indices->dim[i] > x->dim[i])
            return pith_step_fail(step, err, -EINVAL,
                                  "the indices have more than the input along axis %u", i);
    walk_strides(x, out->stride);
    out->axis_stride = out->stride[axis];
    out->stride[axis] = 0;
    out->limit = x->dim[axis];
    return 0;
}

int pith_element_next(struct pith_step *step, const struct pith_element_indices *along,
                      struct pith_element_cursor *cursor, int64_t *element, struct pith_error *err)
{
    const struct pith_shape *shape = &step->input[1].shape;
    int64_t index;
    int rc = pith_index_read(step, &step->input[1], cursor->i, along->limit, &index, err);

    if (rc < 0)
        return rc;
    *element = cursor->base + index * along->axis_stride;
    cursor->i++;
    for (uint32_t k = shape->rank; k-- > 0;) {
        cursor->base += along->stride[k];
        if (++cursor->at[k] < shape->dim[k])
            break;
        cursor->base -= along->stride[k] * shape->dim[k];
        cursor->at[k] = 0;
    }
    return 0;
}

void pith_index_tuple_plan(const struct pith_shape *x, uint32_t axis, int64_t length,
                           struct pith_index_tuple *out)
{
    out->length = length;
    out->slices = 1;
    for (int64_t i = length; i-- > 0;) {
        out->dim[i] = x->dim[axis + i];
        out->stride[i] = out->slices;
        out->slices *= out->dim[i];
    }
}

int pith_index_tuple_read(struct pith_step *step, const struct pith_index_tuple *tuple, int64_t i,
                          int64_t *slice, struct pith_error *err)
{
    *slice = 0;
    for (int64_t k = 0; k < tuple->length; k++) {
        int64_t index;
        int rc = pith_index_read(step, &step->input[1], i * tuple->length + k, tuple->dim[k],
                                 &index, err);

        if (rc < 0)
            return rc;
        *slice += index * tuple->stride[k];
    }
    return 0;
}
