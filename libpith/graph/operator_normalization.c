/* Types and shapes of normalization, softmax and the two losses. */
#include "libpith/graph/infer.h"

int infer_softmax(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    int64_t axis = infer_int(in, "axis", in->opset < 13 ? 1 : -1);
    uint32_t at;

    /* Up to opset 12 the input is flattened at the axis, which may then be the rank itself. */
    if (x && x->rank > 0 && !(in->opset < 13 && axis == (int64_t) x->rank)) {
        int rc = infer_axis(in, axis, x->rank, &at);

        if (rc < 0)
            return rc;
    }
    return infer_set(in, 0, infer_dtype(in, 0), x);
}

/* One number a channel, in each of the inputs first .. last. */
static int check_channel_inputs(struct infer *in, size_t first, size_t last, int64_t *channels)
{
    for (size_t i = first; i <= last; i++) {
        const struct pith_shape *shape = infer_shape(in, i);
        char text[PITH_SHAPE_TEXT_BYTES];

        if (!shape)
            continue;
        if (shape->rank != 1 || infer_dims_clash(shape->dim[0], *channels))
            return infer_fail(in, "input %zu %s does not fit %lld channels", i,
                              infer_text(in, i, text), (long long) *channels);
        if (*channels == PITH_DIM_UNKNOWN)
            *channels = shape->dim[0];
    }
    return 0;
}

int infer_batch_normalization(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    int64_t channels = x && x->rank > 1 ? x->dim[1] : x ? 1 : PITH_DIM_UNKNOWN;
    struct pith_shape list = {.rank = 1};
    int rc = infer_rank(in, 0, "input", 1, PITH_MAX_RANK);

    if (rc == 0)
        rc = check_channel_inputs(in, 1, 4, &channels);
    if (rc == 0)
        rc = infer_set(in, 0, infer_dtype(in, 0), x);
    list.dim[0] = channels;
    for (size_t i = 1; i < 5 && rc == 0; i++)
        rc = infer_set(in, i, infer_dtype(in, 3), &list);
    return rc;
}

int infer_layer_normalization(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct pith_shape stat;
    uint32_t axis;
    int rc = 0;

    if (x) {
        rc = infer_axis(in, infer_int(in, "axis", -1), x->rank, &axis);
        if (rc < 0)
            return rc;
        stat = *x;
        for (uint32_t i = axis; i < stat.rank; i++)
            stat.dim[i] = 1;
        for (size_t i = 1; i < 3; i++) {
            const struct pith_shape *scale = infer_shape(in, i);
            struct pith_shape wide = *x;

            if (scale && (infer_broadcast_shape(in, scale, &wide) < 0 || wide.rank != x->rank))
                return infer_fail(in, "input %zu does not broadcast to the first", i);
        }
    }
    rc = infer_set(in, 0, infer_dtype(in, 0), x);
    for (size_t i = 1; i < 3 && rc == 0; i++)
        rc =
            infer_set(in, i, (int32_t) infer_int(in, "stash_type", PITH_FLOAT32), x ? &stat : NULL);
    return rc;
}

/* InstanceNormalization and GroupNormalization: scale and bias a channel, or a group up to
 * opset 20. */
int infer_channel_normalization(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    int64_t channels = x && x->rank > 1 ? x->dim[1] : PITH_DIM_UNKNOWN;
    int64_t groups = infer_int(in, "num_groups", 1);
    int rc = infer_rank(in, 0, "input", 2, PITH_MAX_RANK);

    if (rc < 0)
        return rc;
    if (groups < 1 || (channels != PITH_DIM_UNKNOWN && channels % groups != 0))
        return infer_fail(in, "%lld channels do not divide into %lld groups", (long long) channels,
                          (long long) groups);
    if (infer_attribute(in, "num_groups") && in->opset < 21)
        channels = groups;
    rc = check_channel_inputs(in, 1, 2, &channels);
    return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), x);
}

/* SoftmaxCrossEntropyLoss and NegativeLogLikelihoodLoss: scores [N, C, ...], labels [N, ...]. */
int infer_loss(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0), *labels = infer_shape(in, 1);
    const char *reduction = pith_node_string(in->graph, in->node, "reduction", "mean");
    const struct pith_shape scalar = {0};
    bool none = reduction[0] == 'n';
    int rc = infer_rank(in, 0, "scores", 2, PITH_MAX_RANK);

    if (rc < 0)
        return rc;
    if (x && labels && labels->rank + 1 != x->rank)
        return infer_fail(in, "labels of rank %u do not fit scores of rank %u", labels->rank,
                          x->rank);
    for (uint32_t i = 0; x && labels && i < labels->rank; i++)
        if (infer_dims_clash(labels->dim[i], x->dim[i == 0 ? 0 : i + 1]))
            return infer_fail(in, "labels and scores differ along axis %u", i);
    rc = infer_set(in, 0, infer_dtype(in, 0), none ? labels : &scalar);
    return rc < 0 ? rc : infer_set(in, 1, infer_dtype(in, 0), x);
}
