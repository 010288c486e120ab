/* Types and shapes of operators that work element by element: one input, several that broadcast,
 * casts. */
#include "libpith/graph/infer.h"

int infer_same(struct infer *in)
{
    return infer_set(in, 0, infer_dtype(in, 0), infer_shape(in, 0));
}

int infer_same_bool(struct infer *in)
{
    return infer_set(in, 0, PITH_BOOL, infer_shape(in, 0));
}

static int set_broadcast(struct infer *in, int32_t dtype)
{
    struct pith_shape shape;
    bool known;
    int rc = infer_broadcast(in, 0, infer_input_count(in), &shape, &known);

    return rc < 0 ? rc : infer_set(in, 0, dtype, known ? &shape : NULL);
}

/* Before opset 7 the second operand was laid over the first from `axis` on, where `broadcast` was
 * set. */
static bool broadcasts_old_way(const struct infer *in)
{
    return in->opset < 7 && infer_int(in, "broadcast", 0) != 0;
}

int infer_variadic(struct infer *in)
{
    int32_t dtype = PITH_DTYPE_NONE;

    for (size_t i = 0; i < infer_input_count(in) && dtype == PITH_DTYPE_NONE; i++)
        dtype = infer_dtype(in, i);
    if (broadcasts_old_way(in))
        return infer_set(in, 0, dtype, infer_shape(in, 0));
    return set_broadcast(in, dtype);
}

int infer_compare(struct infer *in)
{
    if (broadcasts_old_way(in))
        return infer_set(in, 0, PITH_BOOL, infer_shape(in, 0));
    return set_broadcast(in, PITH_BOOL);
}

int infer_where(struct infer *in)
{
    int32_t dtype = infer_dtype(in, 1);
    int32_t other = infer_dtype(in, 2);

    if (dtype != PITH_DTYPE_NONE && other != PITH_DTYPE_NONE && dtype != other)
        return infer_fail(in, "it chooses between %s and %s, which must be the same",
                          pith_dtype_name(dtype), pith_dtype_name(other));
    return set_broadcast(in, dtype == PITH_DTYPE_NONE ? other : dtype);
}

/* The slope broadcasts to the input, not the other way round. Up to opset 6 it is one number a
 * channel. */
int infer_prelu(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0), *slope = infer_shape(in, 1);
    char one[PITH_SHAPE_TEXT_BYTES], other[PITH_SHAPE_TEXT_BYTES];

    if (x && slope && in->opset >= 7) {
        struct pith_shape shape = *x;
        int rc = infer_broadcast_shape(in, slope, &shape);

        if (rc < 0)
            return rc;
        for (uint32_t i = 0; i < shape.rank; i++)
            if (shape.rank != x->rank || infer_dims_clash(shape.dim[i], x->dim[i]))
                return infer_fail(in, "the slope %s does not broadcast to the input %s",
                                  infer_text(in, 1, one), infer_text(in, 0, other));
    }
    return infer_same(in);
}

int infer_cast(struct infer *in)
{
    int64_t to = infer_int(in, "to", PITH_DTYPE_NONE);

    if (to <= PITH_DTYPE_NONE || to > PITH_INT4)
        return infer_fail(in, "attribute to is %lld, which is no element type", (long long) to);
    return infer_set(in, 0, (int32_t) to, infer_shape(in, 0));
}

int infer_cast_like(struct infer *in)
{
    return infer_set(in, 0, infer_dtype(in, 1), infer_shape(in, 0));
}

int infer_clip(struct infer *in)
{
    for (size_t i = 1; i < 3; i++) {
        const struct pith_shape *bound = infer_shape(in, i);
        char text[PITH_SHAPE_TEXT_BYTES];

        if (in->opset >= 11 && bound && pith_shape_known(bound) && pith_shape_elements(bound) != 1)
            return infer_fail(in, "the %s bound must be one number, not %s",
                              i == 1 ? "lower" : "upper", infer_text(in, i, text));
    }
    return infer_same(in);
}

int infer_dropout(struct infer *in)
{
    int rc = infer_same(in);

    return rc < 0 ? rc : infer_set(in, 1, PITH_BOOL, infer_shape(in, 0));
}
