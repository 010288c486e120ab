/* The tables of resize.h, in all modes and coordinate transformations, made when a step is prepared. */
#include "libpith/kernels/resize.h"

#include <errno.h>
#include <math.h>
#include <string.h>

enum nearest { ROUND_PREFER_FLOOR, ROUND_PREFER_CEIL, FLOOR, CEIL };
enum transform {
    HALF_PIXEL,
    HALF_PIXEL_SYMMETRIC,
    PYTORCH_HALF_PIXEL,
    ALIGN_CORNERS,
    ASYMMETRIC,
    CROP_AND_RESIZE,
    TF_HALF_PIXEL_FOR_NN /* of opset 11 alone */
};

struct axis { /* how one axis is scaled */
    double scale, roi_from, roi_to;
};

/* ---- reading ---- */

static int read_choice(struct pith_step *step, const char *attribute, const char *otherwise,
                       const char *const *names, size_t count, int *out, struct pith_error *err)
{
    const char *text = pith_node_string(step->graph, step->node, attribute, otherwise);

    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], text) == 0) {
            *out = (int) i;
            return 0;
        }
    return pith_step_fail(step, err, -ENOTSUP, "%s \"%s\"", attribute, text);
}

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static int read_modes(struct pith_step *step, struct pith_resize *r, struct pith_error *err)
{
    static const char *const modes[] = {"nearest", "linear", "cubic"};
    static const char *const nearests[] = {"round_prefer_floor", "round_prefer_ceil", "floor",
                                           "ceil"};
    static const char *const transforms[] = {"half_pixel",         "half_pixel_symmetric",
                                             "pytorch_half_pixel", "align_corners",
                                             "asymmetric",         "tf_crop_and_resize",
                                             "tf_half_pixel_for_nn"};
    const bool old = strcmp(step->kernel->op, "Upsample") == 0 || step->opset < 11;
    int mode = 0, nearest = FLOOR, transform = ASYMMETRIC;
    int rc = read_choice(step, "mode", "nearest", modes, COUNT(modes), &mode, err);

    if (rc == 0 && !old)
        rc = read_choice(step, "nearest_mode", "round_prefer_floor", nearests, COUNT(nearests),
                         &nearest, err);
    if (rc == 0 && !old)
        rc = read_choice(step, "coordinate_transformation_mode", "half_pixel", transforms,
                         COUNT(transforms), &transform, err);
    if (rc < 0)
        return rc;
    r->mode = (enum pith_resize_mode) mode;
    r->nearest = nearest;
    r->transform = transform;
    r->antialias =
        pith_node_int(step->graph, step->node, "antialias", 0) != 0 && r->mode != PITH_RESIZE_NEAREST;
    r->exclude_outside = pith_node_int(step->graph, step->node, "exclude_outside", 0) != 0;
    r->cubic_a = (double) pith_node_float(step->graph, step->node, "cubic_coeff_a", -0.75F);
    r->extrapolation = pith_node_float(step->graph, step->node, "extrapolation_value", 0.0F);
    return 0;
}

/* The numbers of a known input; at most `limit`. */
static int read_numbers(struct pith_step *step, size_t input, double *out, size_t limit,
                        size_t *out_count, struct pith_error *err)
{
    const struct pith_tensor *list = &step->input[input];
    int64_t count;

    *out_count = 0;
    if (!pith_step_has(step, input))
        return 0;
    count = pith_shape_elements(&list->shape);
    if (count < 0 || (uint64_t) count > limit)
        return pith_step_fail(step, err, -EINVAL,
                              "input %zu has %lld entries, at most %zu make sense", input,
                              (long long) count, limit);
    if (count > 0 && !list->data)
        return pith_step_needs(step, input);
    for (int64_t i = 0; i < count; i++)
        out[i] = pith_tensor_get(list, i);
    *out_count = (size_t) count;
    return 0;
}

static int read_axes(struct pith_step *step, uint32_t rank, uint32_t *axes, uint32_t *out_count,
                     struct pith_error *err)
{
    size_t count = 0;
    const int64_t *list = pith_node_ints(step->graph, step->node, "axes", &count);

    *out_count = rank;
    for (uint32_t i = 0; i < rank; i++)
        axes[i] = i;
    if (!list || count == 0)
        return 0;
    if (count > rank)
        return pith_step_fail(step, err, -EINVAL, "%zu axes for rank %u", count, rank);
    for (size_t i = 0; i < count; i++) {
        int rc = pith_step_axis(step, list[i], rank, &axes[i], err);

        if (rc < 0)
            return rc;
    }
    *out_count = (uint32_t) count;
    return 0;
}

/* Scales from `scales` where given, else from the sizes. */
static int read_scales(struct pith_step *step, struct axis *axis, const uint32_t *axes,
                       uint32_t count, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *y = &step->output[0].shape;
    const bool two_inputs = strcmp(step->kernel->op, "Upsample") == 0 || step->opset < 11;
    double scales[PITH_MAX_RANK], sizes[PITH_MAX_RANK];
    size_t scale_count = 0, size_count = 0, attribute_count = 0;
    const float *attribute = pith_node_floats(step->graph, step->node, "scales", &attribute_count);
    const char *policy =
        pith_node_string(step->graph, step->node, "keep_aspect_ratio_policy", "stretch");
    int rc = read_numbers(step, two_inputs ? 1 : 2, scales, PITH_MAX_RANK, &scale_count, err);

    if (rc == 0 && !two_inputs)
        rc = read_numbers(step, 3, sizes, PITH_MAX_RANK, &size_count, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; attribute && scale_count == 0 && i < attribute_count && i < PITH_MAX_RANK;
         i++)
        scales[i] = (double) attribute[i];
    if (attribute && scale_count == 0)
        scale_count = attribute_count;
    if ((scale_count != 0) == (size_count != 0) ||
        (scale_count ? scale_count : size_count) != count)
        return pith_step_fail(step, err, -EINVAL, "%zu scales and %zu sizes for %u axes",
                              scale_count, size_count, count);
    for (uint32_t i = 0; i < count; i++) {
        axis[axes[i]].scale =
            scale_count ? scales[i] : (double) y->dim[axes[i]] / (double) x->dim[axes[i]];
        if (size_count && strcmp(policy, "stretch") != 0)
            for (uint32_t k = 0; k < count; k++) {
                const double scale = sizes[k] / (double) x->dim[axes[k]];
                const bool smaller = strcmp(policy, "not_larger") == 0;

                if (k == 0 || (smaller ? scale < axis[axes[i]].scale : scale > axis[axes[i]].scale))
                    axis[axes[i]].scale = scale;
            }
        if (!(axis[axes[i]].scale > 0.0) || !isfinite(axis[axes[i]].scale))
            return pith_step_fail(step, err, -EINVAL, "a scale of %g", axis[axes[i]].scale);
    }
    return 0;
}

static int read_roi(struct pith_step *step, const struct pith_resize *r, struct axis *axis,
                    const uint32_t *axes, uint32_t count, struct pith_error *err)
{
    double roi[2 * PITH_MAX_RANK];
    size_t entries = 0;
    int rc;

    if (r->transform != CROP_AND_RESIZE)
        return 0;
    rc = read_numbers(step, 1, roi, 2 * PITH_MAX_RANK, &entries, err);
    if (rc < 0)
        return rc;
    if (entries != 2 * (size_t) count)
        return pith_step_fail(step, err, -EINVAL, "a roi of %zu entries for %u axes", entries,
                              count);
    for (uint32_t i = 0; i < count; i++) {
        axis[axes[i]].roi_from = roi[i];
        axis[axes[i]].roi_to = roi[i + count];
        if (!isfinite(roi[i]) || !isfinite(roi[i + count]))
            return pith_step_fail(step, err, -EINVAL, "the roi is not finite");
    }
    return 0;
}

/* ---- tables ---- */

/* Where output x lies in the input; *out_outside: to be extrapolated. */
static double original(const struct pith_resize *r, const struct axis *a, double x, double in,
                       double out_int, bool *out_outside)
{
    const double out = a->scale * in;
    double at;

    *out_outside = false;
    switch (r->transform) {
    case ALIGN_CORNERS:
        return out == 1.0 ? 0.0 : x * (in - 1.0) / (out - 1.0);
    case ASYMMETRIC:
        return x / a->scale;
    case CROP_AND_RESIZE:
        at = out == 1.0 ? (a->roi_to - a->roi_from) * (in - 1.0) / 2.0
                        : x * (a->roi_to - a->roi_from) * (in - 1.0) / (out - 1.0);
        at += a->roi_from * (in - 1.0);
        *out_outside = at < 0.0 || at > in - 1.0;
        return at;
    case TF_HALF_PIXEL_FOR_NN:
        return (x + 0.5) / a->scale;
    case PYTORCH_HALF_PIXEL:
        return out_int > 1.0 ? (x + 0.5) / a->scale - 0.5 : 0.0;
    case HALF_PIXEL_SYMMETRIC:
        return in / 2.0 * (1.0 - out_int / out) + (x + 0.5) / a->scale - 0.5;
    default:
        return (x + 0.5) / a->scale - 0.5;
    }
}

static double cubic(double a, double x)
{
    x = fabs(x);
    if (x <= 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    return x < 2.0 ? ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a : 0.0;
}

/* Weight of the tap at distance d from the place, for a kernel that is widened by 1 / scale where
 * antialiased. */
static double tap_weight(const struct pith_resize *r, double distance, double ratio, double scale)
{
    const double d = distance * scale;

    switch (r->mode) {
    case PITH_RESIZE_LINEAR:
        return fabs(d) < 1.0 ? 1.0 - fabs(d) : 0.0;
    case PITH_RESIZE_CUBIC:
        return cubic(r->cubic_a, d);
    default:
        break;
    }
    /* nearest: taps are the two neighbours, ratio in (0, 1] is the distance from the left one */
    if (ratio == 1.0)
        return distance == 0.0 ? 1.0 : 0.0;
    switch (r->nearest) {
    case ROUND_PREFER_FLOOR:
        return (ratio <= 0.5) == (distance < 0.0) ? 1.0 : 0.0;
    case ROUND_PREFER_CEIL:
        return (ratio < 0.5) == (distance < 0.0) ? 1.0 : 0.0;
    case FLOOR:
        return distance < 0.0 ? 1.0 : 0.0;
    default:
        return distance < 0.0 ? 0.0 : 1.0;
    }
}

static void fill_taps(const struct pith_resize *r, struct pith_resize_pass *p, const struct axis *a, int64_t x)
{
    const double scale = r->antialias && a->scale < 1.0 ? a->scale : 1.0;
    int64_t *from = p->from + x * p->taps;
    float *weight = p->weight + x * p->taps;
    bool outside;
    const double at = original(r, a, (double) x, (double) p->in, (double) p->out, &outside);
    const double left = at == floor(at) ? at - 1.0 : floor(at);
    double sum = 0.0;

    for (int64_t t = 0; t < p->taps; t++) {
        const double place = left + (double) (t - (p->taps / 2 - 1));
        const bool inside = place >= 0.0 && place < (double) p->in;
        const double w = tap_weight(r, place - at, at - left, scale);

        from[t] = place < 0.0 ? 0 : place >= (double) p->in ? p->in - 1 : (int64_t) place;
        weight[t] = (float) (r->exclude_outside && !inside ? 0.0 : w);
        sum += (double) weight[t];
    }
    for (int64_t t = 0; t < p->taps && (r->exclude_outside || r->antialias) && sum != 0.0; t++)
        weight[t] = (float) ((double) weight[t] / sum);
    if (outside)
        from[0] = -1;
}

/* Nearest has one tap with all the weight: the table keeps that one alone. */
static void keep_nearest(struct pith_resize_pass *p)
{
    for (int64_t x = 0; x < p->out; x++) {
        const int64_t *from = p->from + 2 * x;
        const bool right = p->weight[2 * x + 1] != 0.0F;

        p->from[x] = from[0] < 0 ? -1 : right ? from[1] : from[0];
    }
    p->taps = 1;
}

static int plan_pass(struct pith_step *step, struct pith_resize *r, const struct axis *a, struct pith_resize_pass *p,
                     struct pith_error *err)
{
    const double reach = r->mode == PITH_RESIZE_CUBIC ? 2.0 : 1.0;
    const double taps =
        r->antialias && a->scale < 1.0 ? 2.0 - 2.0 * (floor(-reach / a->scale) + 1.0) : 2.0 * reach;

    if (taps > 4.0 * (double) p->in + 16.0 ||
        taps * (double) p->out > (double) (PITH_STEP_MAX_BYTES / 64))
        return pith_step_fail(step, err, -EINVAL, "%lld to %lld elements needs too large a table",
                              (long long) p->in, (long long) p->out);
    p->taps = (int64_t) taps;
    p->from = pith_step_alloc(step, p->out * p->taps * (int64_t) sizeof *p->from);
    p->weight = pith_step_alloc(step, p->out * p->taps * (int64_t) sizeof *p->weight);
    if (!p->from || !p->weight)
        return -ENOMEM;
    for (int64_t x = 0; x < p->out; x++)
        fill_taps(r, p, a, x);
    if (r->mode == PITH_RESIZE_NEAREST)
        keep_nearest(p);
    return 0;
}

static int plan_passes(struct pith_step *step, struct pith_resize *r, const struct axis *axis,
                       struct pith_error *err)
{
    struct pith_shape shape = step->input[0].shape;
    const struct pith_shape *y = &step->output[0].shape;

    for (uint32_t i = 0; i < shape.rank; i++) {
        struct pith_resize_pass *p = &r->pass[r->pass_count];
        int64_t bytes;
        int rc;

        if (axis[i].scale == 1.0 && shape.dim[i] == y->dim[i] && r->transform != CROP_AND_RESIZE)
            continue;
        if (shape.dim[i] == 0 && y->dim[i] != 0)
            return pith_step_fail(step, err, -EINVAL, "axis %u is empty", i);
        *p = (struct pith_resize_pass){.axis = i,
                                       .outer = pith_dims_product(&shape, 0, i),
                                       .in = shape.dim[i],
                                       .out = y->dim[i],
                                       .inner = pith_dims_product(&shape, i + 1, shape.rank)};
        rc = plan_pass(step, r, &axis[i], p, err);
        if (rc < 0)
            return rc;
        r->pass_count++;
        shape.dim[i] = y->dim[i];
        bytes = pith_tensor_bytes(step->input[0].dtype, &shape);
        if (bytes < 0 || bytes > PITH_STEP_MAX_BYTES)
            return pith_step_fail(step, err, -EINVAL, "the result is too large");
        r->buffer_bytes = (size_t) bytes > r->buffer_bytes ? (size_t) bytes : r->buffer_bytes;
    }
    r->buffer_bytes = (r->buffer_bytes + 63) / 64 * 64;
    return 0;
}

int pith_resize_read(struct pith_step *step, struct pith_resize *r, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *y = &step->output[0].shape;
    struct axis axis[PITH_MAX_RANK];
    uint32_t axes[PITH_MAX_RANK], count;
    int rc;

    if (x->rank != y->rank)
        return pith_step_fail(step, err, -EINVAL, "resizing keeps the rank");
    for (uint32_t i = 0; i < PITH_MAX_RANK; i++)
        axis[i] = (struct axis){1.0, 0.0, 1.0};
    rc = read_modes(step, r, err);
    if (rc == 0 && r->mode != PITH_RESIZE_NEAREST && step->input[0].dtype != PITH_FLOAT32)
        rc = pith_step_fail(step, err, -ENOTSUP, "interpolating %s",
                            pith_dtype_name(step->input[0].dtype));
    if (rc == 0)
        rc = read_axes(step, x->rank, axes, &count, err);
    if (rc == 0 && pith_shape_elements(x) != 0)
        rc = read_scales(step, axis, axes, count, err);
    if (rc == 0)
        rc = read_roi(step, r, axis, axes, count, err);
    if (rc < 0)
        return rc;
    r->element_bytes = pith_dtype_bits(step->input[0].dtype) / 8;
    return pith_shape_elements(y) == 0 ? 0 : plan_passes(step, r, axis, err);
}
