/* Types and shapes of Resize, Upsample, GridSample and AffineGrid. */
#include "libpith/graph/infer.h"

#include <math.h>
#include <string.h>

struct resize_target {
    double scales[PITH_MAX_RANK];
    int64_t sizes[PITH_MAX_RANK];
    size_t scale_count;
    int64_t size_count; /* 0: by scales */
    bool known;
};

/* Which of the two inputs is in use: one that has no elements counts as left out. */
static int read_target(struct infer *in, struct resize_target *target)
{
    size_t scales_at = in->opset < 11 ? 1 : 2;
    const struct pith_shape *scales = infer_shape(in, scales_at);
    struct known sizes;

    memset(target, 0, sizeof *target);
    if (in->opset >= 11 && infer_has(in, 3)) {
        const struct pith_shape *shape = infer_shape(in, 3);

        if (!shape || shape->rank != 1 || shape->dim[0] != 0) {
            if (!infer_ints(in, 3, &sizes))
                return 0;
            if (sizes.count > PITH_MAX_RANK)
                return infer_fail(in, "%lld sizes", (long long) sizes.count);
            target->size_count = sizes.count;
            for (int64_t i = 0; i < sizes.count; i++)
                target->sizes[i] = sizes.v[i];
            target->known = true;
            return 0;
        }
    }
    if (!infer_has(in, scales_at))
        return infer_fail(in, "neither scales nor sizes are given");
    if (scales && scales->rank == 1 && scales->dim[0] == 0)
        return infer_fail(in, "scales are empty and no sizes are given");
    target->known =
        infer_numbers(in, scales_at, target->scales, PITH_MAX_RANK, &target->scale_count);
    return 0;
}

static int scaled(struct infer *in, int64_t dim, double scale, int64_t *out)
{
    double size;

    if (dim == PITH_DIM_UNKNOWN) {
        *out = PITH_DIM_UNKNOWN;
        return 0;
    }
    if (!(scale > 0) || isinf(scale))
        return infer_fail(in, "a scale of %g is not possible", scale);
    /* The scale is a float32: dim * scale is exact in float64, so 3 * 1.3333334 floors as ONNX
     * means it. */
    size = floor((double) dim * scale);
    if (!(size <= (double) PITH_TENSOR_MAX_BYTES))
        return infer_fail(in, "%lld scaled by %g is too large", (long long) dim, scale);
    *out = (int64_t) size;
    return 0;
}

/* keep_aspect_ratio_policy: one scale for all axes, so that nothing is larger (smaller) than asked.
 */
static double common_scale(const struct pith_shape *x, const struct resize_target *target,
                           const struct known *axes, bool smallest)
{
    double scale = smallest ? INFINITY : 0;

    for (int64_t i = 0; i < axes->count; i++) {
        double one = (double) target->sizes[i] / (double) x->dim[axes->v[i]];

        scale = smallest ? fmin(scale, one) : fmax(scale, one);
    }
    return scale;
}

static int resize_by_sizes(struct infer *in, const struct pith_shape *x,
                           const struct resize_target *target, const struct known *axes,
                           struct pith_shape *out)
{
    const char *policy =
        pith_node_string(in->graph, in->node, "keep_aspect_ratio_policy", "stretch");
    bool stretch = strcmp(policy, "stretch") == 0;
    double scale = 1;

    for (int64_t i = 0; i < axes->count; i++) {
        if (target->sizes[i] < 0)
            return infer_fail(in, "a size of %lld is not possible", (long long) target->sizes[i]);
        if (!stretch && x->dim[axes->v[i]] <= 0) {
            out->dim[axes->v[i]] = PITH_DIM_UNKNOWN;
            return infer_set(in, 0, infer_dtype(in, 0), NULL);
        }
    }
    if (!stretch)
        scale = common_scale(x, target, axes, strcmp(policy, "not_larger") == 0);
    for (int64_t i = 0; i < axes->count; i++) {
        double size = floor(scale * (double) x->dim[axes->v[i]] + 0.5);

        if (!stretch && !(size >= 0 && size <= (double) PITH_TENSOR_MAX_BYTES))
            return infer_fail(in, "a size of %g is not possible", size);
        out->dim[axes->v[i]] = stretch ? target->sizes[i] : (int64_t) size;
    }
    return infer_set(in, 0, infer_dtype(in, 0), out);
}

static int resize_axes(struct infer *in, uint32_t rank, struct known *axes)
{
    bool given;
    uint32_t mask, at;
    int rc = infer_int_list(in, "axes", axes, &given);

    if (rc < 0)
        return rc;
    if (!given) {
        axes->count = rank;
        for (uint32_t i = 0; i < rank; i++)
            axes->v[i] = i;
        return 0;
    }
    rc = infer_axis_mask(in, axes, rank, &mask);
    for (int64_t i = 0; i < axes->count && rc == 0; i++) {
        rc = infer_axis(in, axes->v[i], rank, &at);
        axes->v[i] = at;
    }
    return rc;
}

int infer_resize(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct resize_target target;
    struct known axes;
    struct pith_shape out;
    int rc = read_target(in, &target);

    if (rc < 0 || !x)
        return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), NULL);
    rc = resize_axes(in, x->rank, &axes);
    if (rc < 0)
        return rc;
    out = *x;
    if (!target.known) {
        for (int64_t i = 0; i < axes.count; i++)
            out.dim[axes.v[i]] = PITH_DIM_UNKNOWN;
        return infer_set(in, 0, infer_dtype(in, 0), &out);
    }
    if ((target.size_count ? target.size_count : (int64_t) target.scale_count) != axes.count)
        return infer_fail(
            in, "%lld sizes or scales for %lld axes",
            (long long) (target.size_count ? target.size_count : (int64_t) target.scale_count),
            (long long) axes.count);
    if (target.size_count)
        return resize_by_sizes(in, x, &target, &axes, &out);
    for (int64_t i = 0; i < axes.count && rc == 0; i++)
        rc = scaled(in, x->dim[axes.v[i]], target.scales[i], &out.dim[axes.v[i]]);
    return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), &out);
}

int infer_upsample(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct resize_target target = {0};
    struct pith_shape out;
    int rc = 0;

    if (in->opset < 9) {
        size_t count = 0;
        const float *scales = pith_node_floats(in->graph, in->node, "scales", &count);

        if (!scales || count > PITH_MAX_RANK)
            return infer_fail(in, "attribute scales is missing or too long");
        for (size_t i = 0; i < count; i++)
            target.scales[i] = scales[i];
        target.scale_count = count;
        target.known = true;
    } else {
        rc = read_target(in, &target);
    }
    if (rc < 0 || !x)
        return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), NULL);
    out = *x;
    if (target.known && target.scale_count != x->rank)
        return infer_fail(in, "%zu scales for an input of rank %u", target.scale_count, x->rank);
    for (uint32_t i = 0; i < x->rank && rc == 0; i++)
        if (target.known)
            rc = scaled(in, x->dim[i], target.scales[i], &out.dim[i]);
        else
            out.dim[i] = PITH_DIM_UNKNOWN;
    return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), &out);
}

/* x [N, C, spatial...], grid [N, out spatial..., spatial rank]. */
int infer_grid_sample(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0), *grid = infer_shape(in, 1);
    struct pith_shape out;
    int rc = infer_rank(in, 0, "input", 3, PITH_MAX_RANK);

    if (rc < 0)
        return rc;
    if (!x || !grid)
        return infer_set(in, 0, infer_dtype(in, 0), NULL);
    if (grid->rank != x->rank ||
        infer_dims_clash(grid->dim[grid->rank - 1], (int64_t) x->rank - 2) ||
        infer_dims_clash(grid->dim[0], x->dim[0]))
        return infer_fail(in, "the grid does not fit the input");
    out = *x;
    for (uint32_t i = 2; i < out.rank; i++)
        out.dim[i] = grid->dim[i - 1];
    return infer_set(in, 0, infer_dtype(in, 0), &out);
}

/* theta [N, 2, 3] and size (N, C, H, W) give [N, H, W, 2]; one dimension more for [N, 3, 4]. */
int infer_affine_grid(struct infer *in)
{
    struct known size;
    struct pith_shape out = {0};
    int rc = infer_rank(in, 0, "theta", 3, 3);

    if (rc < 0 || !infer_ints(in, 1, &size))
        return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), NULL);
    if (size.count != 4 && size.count != 5)
        return infer_fail(in, "size has %lld entries, 4 or 5 are needed", (long long) size.count);
    out.dim[out.rank++] = size.v[0];
    for (int64_t i = 2; i < size.count; i++)
        out.dim[out.rank++] = size.v[i];
    out.dim[out.rank++] = size.count - 2;
    return infer_set(in, 0, infer_dtype(in, 0), &out);
}
