/* Reading and checking the attributes of sliding windows. See sliding.h. */
#include "libpith/kernels/sliding.h"

#include <errno.h>
#include <string.h>

#define SLIDING_LIMIT                                                                              \
    (INT64_C(1) << 31) /* of every attribute, so that products stay far inside int64 */
#define FLATTEN_LIMIT (INT64_C(1) << 30) /* so that a product of two stays so too */

/* An attribute with one entry a spatial dimension, into the last entries of out. */
static int read_list(struct pith_step *step, const char *attribute, const struct pith_sliding *w,
                     int64_t least, int64_t out[PITH_SLIDING_DIMS], struct pith_error *err)
{
    size_t count = 0;
    const int64_t *list = pith_node_ints(step->graph, step->node, attribute, &count);

    if (!list || count == 0)
        return 0;
    if (count != w->spatial)
        return pith_step_fail(step, err, -EINVAL, "%s has %zu entries for %u spatial dimensions",
                              attribute, count, w->spatial);
    for (uint32_t i = 0; i < w->spatial; i++) {
        if (list[i] < least || list[i] > SLIDING_LIMIT)
            return pith_step_fail(step, err, -EINVAL, "%s[%u] is %lld", attribute, i,
                                  (long long) list[i]);
        out[PITH_SLIDING_DIMS - w->spatial + i] = list[i];
    }
    return 0;
}

static int read_pads(struct pith_step *step, struct pith_sliding *w, struct pith_error *err)
{
    size_t count = 0;
    const int64_t *pads = pith_node_ints(step->graph, step->node, "pads", &count);

    if (!pads || count == 0)
        return 0;
    if (count != 2 * (size_t) w->spatial)
        return pith_step_fail(step, err, -EINVAL, "pads has %zu entries for %u spatial dimensions",
                              count, w->spatial);
    for (uint32_t i = 0; i < w->spatial; i++) {
        const uint32_t d = PITH_SLIDING_DIMS - w->spatial + i;

        w->pad[d] = pads[i];
        w->pad_end[d] = pads[i + w->spatial];
        if (w->pad[d] < -SLIDING_LIMIT || w->pad[d] > SLIDING_LIMIT ||
            w->pad_end[d] < -SLIDING_LIMIT || w->pad_end[d] > SLIDING_LIMIT)
            return pith_step_fail(step, err, -EINVAL, "pads are out of range");
    }
    return 0;
}

/* SAME: the output has ceil(in / stride) elements, and what padding that takes is split evenly; the
 * odd one goes behind (UPPER) or before (LOWER). */
static int pad_same(struct pith_step *step, struct pith_sliding *w, struct pith_error *err)
{
    const char *auto_pad = pith_node_string(step->graph, step->node, "auto_pad", "NOTSET");
    const bool lower = strcmp(auto_pad, "SAME_LOWER") == 0;

    if (strcmp(auto_pad, "NOTSET") == 0 || auto_pad[0] == 0)
        return read_pads(step, w, err);
    if (strcmp(auto_pad, "VALID") == 0)
        return 0;
    if (!lower && strcmp(auto_pad, "SAME_UPPER") != 0)
        return pith_step_fail(step, err, -EINVAL,
                              "auto_pad \"%s\" is none of NOTSET, VALID, SAME_UPPER, SAME_LOWER",
                              auto_pad);
    for (int d = 0; d < PITH_SLIDING_DIMS; d++) {
        const int64_t reach = (w->kernel[d] - 1) * w->dilation[d] + 1;
        int64_t total = (w->out[d] - 1) * w->stride[d] + reach - w->in[d];

        total = total < 0 ? 0 : total;
        w->pad[d] = lower ? (total + 1) / 2 : total / 2;
        w->pad_end[d] = total - w->pad[d];
    }
    return 0;
}

static int check_kernel(struct pith_step *step, struct pith_sliding *w, struct pith_error *err)
{
    w->in_plane = w->out_plane = w->taps = 1;
    for (int d = 0; d < PITH_SLIDING_DIMS; d++) {
        if (w->kernel[d] < 1 || w->kernel[d] > SLIDING_LIMIT ||
            (w->kernel[d] - 1) * w->dilation[d] > SLIDING_LIMIT)
            return pith_step_fail(step, err, -EINVAL, "a kernel of %lld elements, dilation %lld",
                                  (long long) w->kernel[d], (long long) w->dilation[d]);
        w->in_plane *= w->in[d];
        w->out_plane *= w->out[d];
        if (__builtin_mul_overflow(w->taps, w->kernel[d], &w->taps) || w->taps > SLIDING_LIMIT)
            return pith_step_fail(step, err, -EINVAL, "the kernel has too many elements");
    }
    return 0;
}

int pith_sliding_read(struct pith_step *step, const struct pith_shape *x,
                      const struct pith_shape *y, const int64_t *kernel, struct pith_sliding *out,
                      struct pith_error *err)
{
    struct pith_sliding w = {.spatial = x->rank - 2};
    int rc;

    if (x->rank < 3 || y->rank != x->rank)
        return pith_step_fail(step, err, -EINVAL,
                              "a sliding window wants [N,C,spatial...], and has rank %u to %u",
                              x->rank, y->rank);
    if (w.spatial > PITH_SLIDING_DIMS)
        return pith_step_fail(step, err, -ENOTSUP,
                              "%u spatial dimensions; there are kernels for up to %u", w.spatial,
                              PITH_SLIDING_DIMS);
    for (int d = 0; d < PITH_SLIDING_DIMS; d++)
        w.in[d] = w.out[d] = w.kernel[d] = w.stride[d] = w.dilation[d] = 1;
    for (uint32_t i = 0; i < w.spatial; i++) {
        const uint32_t d = PITH_SLIDING_DIMS - w.spatial + i;

        w.in[d] = x->dim[i + 2];
        w.out[d] = y->dim[i + 2];
        if (kernel)
            w.kernel[d] = kernel[i];
    }
    if (!kernel && !pith_node_has(step->graph, step->node, "kernel_shape"))
        return pith_step_fail(step, err, -EINVAL, "kernel_shape is missing");
    rc = kernel ? 0 : read_list(step, "kernel_shape", &w, 1, w.kernel, err);
    if (rc == 0)
        rc = read_list(step, "strides", &w, 1, w.stride, err);
    if (rc == 0)
        rc = read_list(step, "dilations", &w, 1, w.dilation, err);
    if (rc == 0)
        rc = check_kernel(step, &w, err);
    if (rc == 0)
        rc = pad_same(step, &w, err);
    if (rc == 0)
        *out = w;
    return rc;
}

/* Whether the output has the size that the formula for convolutions gives. */
static int check_size(struct pith_step *step, const struct pith_sliding *w, struct pith_error *err)
{
    for (int d = 0; d < PITH_SLIDING_DIMS; d++) {
        const int64_t room =
            w->in[d] + w->pad[d] + w->pad_end[d] - (w->kernel[d] - 1) * w->dilation[d] - 1;
        const int64_t size = room < 0 ? 0 : room / w->stride[d] + 1;

        if (size != w->out[d])
            return pith_step_fail(step, err, -EINVAL,
                                  "the window gives %lld elements where %lld are expected",
                                  (long long) size, (long long) w->out[d]);
    }
    return 0;
}

int pith_sliding_read_conv(struct pith_step *step, const struct pith_shape *w,
                           struct pith_sliding *out, int64_t *groups, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *y = &step->output[0].shape;
    int rc;

    if (x->rank < 3 || w->rank != x->rank || y->rank != x->rank)
        return pith_step_fail(step, err, -EINVAL, "input of rank %u, weights of rank %u", x->rank,
                              w->rank);
    rc = pith_sliding_read(step, x, y, &w->dim[2], out, err);
    if (rc == 0)
        rc = check_size(step, out, err);
    if (rc < 0)
        return rc;
    *groups = pith_node_int(step->graph, step->node, "group", 1);
    if (*groups < 1 || x->dim[1] % *groups != 0 ||
        x->dim[1] / *groups != w->dim[1] || w->dim[0] % *groups != 0 || y->dim[1] != w->dim[0] ||
        y->dim[0] != x->dim[0])
        return pith_step_fail(step, err, -EINVAL,
                              "%lld channels in %lld groups don't fit weights for %lld -> %lld",
                              (long long) x->dim[1], (long long) *groups, (long long) w->dim[1],
                              (long long) w->dim[0]);
    return 0;
}

int pith_sliding_check_halo(struct pith_step *step, const struct pith_sliding *w,
                            const struct pith_image *image, struct pith_error *err)
{
    const int64_t before[PITH_SLIDING_DIMS] = {0, image->top, image->left};
    const int64_t behind[PITH_SLIDING_DIMS] = {0, image->bottom, image->right};

    for (int d = 0; d < PITH_SLIDING_DIMS && w->out_plane > 0; d++) {
        const int64_t reach = (w->out[d] - 1) * w->stride[d] - w->pad[d] +
                              (w->kernel[d] - 1) * w->dilation[d] - (w->in[d] - 1);

        if (w->pad[d] > before[d] || reach > behind[d])
            return pith_step_fail(step, err, -EINVAL,
                                  "the window reaches %lld before and %lld past the picture, "
                                  "whose halo has %lld and %lld",
                                  (long long) w->pad[d], (long long) reach, (long long) before[d],
                                  (long long) behind[d]);
    }
    return 0;
}

/* Whether dimension d of the window is one element that moves by one and never leaves the input. */
static bool stays(const struct pith_sliding *w, int d)
{
    return w->kernel[d] == 1 && w->stride[d] == 1 && w->pad[d] == 0 && w->pad_end[d] == 0 &&
           w->in[d] == w->out[d];
}

/* Rows above each other are one row, in which a step down is in[2] elements far. */
static void flatten_column(struct pith_sliding *w)
{
    const int64_t width = w->in[2];

    w->in[2] = w->in[1] * width;
    w->out[2] = w->out[1] * width;
    w->kernel[2] = w->kernel[1];
    w->dilation[2] = w->kernel[1] > 1 ? w->dilation[1] * width : 1;
    w->pad[2] = w->pad[1] * width;
    w->pad_end[2] = w->pad_end[1] * width;
    w->in[1] = w->out[1] = w->kernel[1] = w->dilation[1] = 1;
    w->pad[1] = w->pad_end[1] = 0;
}

void pith_sliding_flatten(struct pith_sliding *w)
{
    if (stays(w, 0) && stays(w, 1) && stays(w, 2)) {
        w->in[2] = w->out[2] = w->in_plane;
        w->in[0] = w->in[1] = w->out[0] = w->out[1] = 1;
    } else if (stays(w, 0) && w->in[0] == 1 && stays(w, 2) && w->stride[1] == 1 &&
               w->in_plane <= FLATTEN_LIMIT && w->pad[1] <= FLATTEN_LIMIT &&
               w->pad[1] >= -FLATTEN_LIMIT) {
        flatten_column(w);
    }
}

int pith_sliding_cut(const struct pith_sliding *w, int64_t first, int64_t count,
                     struct pith_segment *out)
{
    int used = 0;

    for (int64_t at = 0; at < count;) {
        const int64_t pixel = first + at, x = pixel % w->out[2], row = pixel / w->out[2];
        struct pith_segment s = {row / w->out[1], row % w->out[1], x, at, w->out[2] - x};

        s.count = s.count > count - at ? count - at : s.count;
        out[used++] = s;
        at += s.count;
    }
    return used;
}

/* distance / dilation, without a division where it is 1 */
static int64_t steps(int64_t distance, int64_t dilation)
{
    return dilation == 1 ? distance : distance / dilation;
}

struct pith_sliding_span pith_sliding_span_along(const struct pith_sliding *w, int d, int64_t out)
{
    const int64_t at = out * w->stride[d] - w->pad[d], dilation = w->dilation[d];
    struct pith_sliding_span span = {
        .at = at, .from = at < 0 ? steps(-at + dilation - 1, dilation) : 0};

    span.to = at >= w->in[d] ? 0 : steps(w->in[d] - 1 - at, dilation) + 1;
    span.to = span.to > w->kernel[d] ? w->kernel[d] : span.to;
    span.from = span.from > span.to ? span.to : span.from;
    return span;
}

bool pith_average_ties_away(const struct pith_step *step)
{
    const char *ties = pith_graph_metadata(step->graph, PITH_AVERAGE_TIES);

    return ties && strcmp(ties, "away") == 0;
}
