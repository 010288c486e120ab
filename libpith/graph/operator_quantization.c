/* Types and shapes of QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear. */
#include "libpith/graph/infer.h"

/* The scale is one number, a list along the axis, or (opset 21) blocks along it. */
static int check_scale(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0), *scale = infer_shape(in, 1);
    int64_t block = infer_int(in, "block_size", 0);
    char one[PITH_SHAPE_TEXT_BYTES], other[PITH_SHAPE_TEXT_BYTES];
    uint32_t axis;
    int rc;

    if (block < 0)
        return infer_fail(in, "attribute block_size is %lld", (long long) block);
    if (!x || !scale || scale->rank == 0 || (scale->rank == 1 && scale->dim[0] == 1))
        return 0;
    rc = infer_axis(in, infer_int(in, "axis", 1), x->rank, &axis);
    if (rc < 0)
        return rc;
    if (scale->rank == 1 && block == 0) {
        if (infer_dims_clash(scale->dim[0], x->dim[axis]))
            return infer_fail(in, "scale %s does not fit axis %u of %s", infer_text(in, 1, one),
                              axis, infer_text(in, 0, other));
        return 0;
    }
    if (block == 0 || scale->rank != x->rank)
        return infer_fail(in, "scale %s does not fit %s", infer_text(in, 1, one),
                          infer_text(in, 0, other));
    for (uint32_t i = 0; i < x->rank; i++) {
        int64_t want = x->dim[i];

        if (i == axis && want != PITH_DIM_UNKNOWN)
            want = want / block + (want % block != 0);
        if (infer_dims_clash(scale->dim[i], want))
            return infer_fail(in, "scale %s does not fit blocks of %lld along axis %u of %s",
                              infer_text(in, 1, one), (long long) block, axis,
                              infer_text(in, 0, other));
    }
    return 0;
}

int infer_quantize(struct infer *in)
{
    int32_t zero_point = infer_dtype(in, 2);
    int64_t asked = infer_int(in, "output_dtype", 0);
    int rc = check_scale(in);

    if (rc < 0)
        return rc;
    if (zero_point == PITH_DTYPE_NONE)
        zero_point = asked > 0 && asked <= PITH_INT4 ? (int32_t) asked : PITH_UINT8;
    return infer_set(in, 0, zero_point, infer_shape(in, 0));
}

int infer_dequantize(struct infer *in)
{
    int32_t scale = infer_dtype(in, 1);
    int rc = check_scale(in);

    return rc < 0 ? rc
                  : infer_set(in, 0, scale == PITH_DTYPE_NONE ? PITH_FLOAT32 : scale,
                              infer_shape(in, 0));
}

int infer_dynamic_quantize(struct infer *in)
{
    const struct pith_shape scalar = {0};
    int rc = infer_set(in, 0, PITH_UINT8, infer_shape(in, 0));

    if (rc == 0)
        rc = infer_set(in, 1, PITH_FLOAT32, &scalar);
    return rc < 0 ? rc : infer_set(in, 2, PITH_UINT8, &scalar);
}
