/* Types and shapes of convolution and pooling. The window's arithmetic is in window.c. */
#include "libpith/graph/infer.h"
#include "libpith/graph/window.h"

#include <errno.h>

/* Output sizes along all spatial axes into out->dim[2..]. */
static int window_outputs(const struct infer *in, struct pith_window *window,
                          const struct pith_shape *x, struct pith_shape *out)
{
    struct pith_error why = {0};

    for (uint32_t i = 0; i < window->rank; i++) {
        if (x->dim[2 + i] == PITH_DIM_UNKNOWN) {
            out->dim[2 + i] = PITH_DIM_UNKNOWN;
            continue;
        }
        if (pith_window_output(window, i, x->dim[2 + i], &out->dim[2 + i], &why) < 0)
            return infer_fail(in, "%s", why.text);
    }
    return 0;
}

static int read_window(const struct infer *in, uint32_t rank, const int64_t *kernel,
                       struct pith_window *out)
{
    struct pith_error why = {0};

    if (pith_window_read(in->graph, in->node, rank, kernel, out, &why) < 0)
        return infer_fail(in, "%s", why.text);
    return 0;
}

/* The inputs' ranks agree and the channels fit the groups: the weight is [M, C / group, ...] for a
 * convolution. */
static int check_channels(const struct infer *in, size_t x_input, size_t w_input, bool transposed)
{
    const struct pith_shape *x = infer_shape(in, x_input), *w = infer_shape(in, w_input);
    int64_t group = infer_int(in, "group", 1);
    char one[PITH_SHAPE_TEXT_BYTES], other[PITH_SHAPE_TEXT_BYTES];

    if (group < 1 || group > INT32_MAX)
        return infer_fail(in, "attribute group is %lld, it must be 1 or more", (long long) group);
    if (!x || !w)
        return 0;
    if (x->rank != w->rank)
        return infer_fail(in, "weight %s and input %s differ in rank", infer_text(in, w_input, one),
                          infer_text(in, x_input, other));
    if (w->dim[0] != PITH_DIM_UNKNOWN && w->dim[0] % group != 0)
        return infer_fail(in, "weight %s does not divide into %lld groups",
                          infer_text(in, w_input, one), (long long) group);
    if (transposed && infer_dims_clash(w->dim[0], x->dim[1]))
        return infer_fail(in, "weight %s has %lld input channels, the input %s has %lld",
                          infer_text(in, w_input, one), (long long) w->dim[0],
                          infer_text(in, x_input, other), (long long) x->dim[1]);
    if (!transposed && w->dim[1] != PITH_DIM_UNKNOWN) {
        int64_t channels;
        int rc = infer_multiply(in, w->dim[1], group, &channels);

        if (rc < 0)
            return rc;
        if (infer_dims_clash(channels, x->dim[1]))
            return infer_fail(in, "weight %s has %lld input channels, the input %s has %lld",
                              infer_text(in, w_input, one), (long long) channels,
                              infer_text(in, x_input, other), (long long) x->dim[1]);
    }
    return 0;
}

static int check_bias(const struct infer *in, size_t input, int64_t channels)
{
    const struct pith_shape *bias = infer_shape(in, input);
    char text[PITH_SHAPE_TEXT_BYTES];

    if (!bias || channels == PITH_DIM_UNKNOWN)
        return 0;
    if (bias->rank != 1 || infer_dims_clash(bias->dim[0], channels))
        return infer_fail(in, "bias %s does not fit %lld output channels",
                          infer_text(in, input, text), (long long) channels);
    return 0;
}

static int conv_at(struct infer *in, size_t x_input, size_t w_input, size_t bias_input,
                   int32_t dtype)
{
    const struct pith_shape *x = infer_shape(in, x_input), *w = infer_shape(in, w_input);
    struct pith_shape out = {0};
    struct pith_window window;
    int rc = infer_rank(in, x_input, "input", 3, PITH_MAX_RANK);

    if (rc == 0)
        rc = infer_rank(in, w_input, "weight", 3, PITH_MAX_RANK);
    if (rc == 0)
        rc = check_channels(in, x_input, w_input, false);
    if (rc < 0)
        return rc;
    if (!x && !w)
        return infer_set(in, 0, dtype, NULL);
    out.rank = x ? x->rank : w->rank;
    for (uint32_t i = 0; i < out.rank; i++)
        out.dim[i] = PITH_DIM_UNKNOWN;
    if (w && pith_shape_known(w)) {
        rc = read_window(in, out.rank - 2, w->dim + 2, &window);
        out.dim[1] = w->dim[0];
    } else {
        if (w)
            out.dim[1] = w->dim[0];
        if (!infer_attribute(in, "kernel_shape")) {
            if (x)
                out.dim[0] = x->dim[0];
            return infer_set(in, 0, dtype, &out);
        }
        rc = read_window(in, out.rank - 2, NULL, &window);
    }
    if (rc == 0)
        rc = check_bias(in, bias_input, out.dim[1]);
    if (rc == 0 && x) {
        out.dim[0] = x->dim[0];
        rc = window_outputs(in, &window, x, &out);
    }
    return rc < 0 ? rc : infer_set(in, 0, dtype, &out);
}

int infer_conv(struct infer *in)
{
    return conv_at(in, 0, 1, 2, infer_dtype(in, 0));
}

int infer_conv_integer(struct infer *in)
{
    return conv_at(in, 0, 1, SIZE_MAX, PITH_INT32);
}

int infer_qlinear_conv(struct infer *in)
{
    return conv_at(in, 0, 3, 8, infer_dtype(in, 7));
}

int infer_deform_conv(struct infer *in)
{
    int rc = conv_at(in, 0, 1, 3, infer_dtype(in, 0));
    const struct pith_shape *x = infer_shape(in, 0), *offset = infer_shape(in, 2);
    int64_t groups = infer_int(in, "offset_group", 1);

    if (rc < 0)
        return rc;
    if (groups < 1 || (x && x->dim[1] != PITH_DIM_UNKNOWN && x->dim[1] % groups != 0))
        return infer_fail(in, "attribute offset_group is %lld, which does not divide the channels",
                          (long long) groups);
    if (x && offset && offset->rank != x->rank)
        return infer_fail(in, "offset has rank %u, the input has %u", offset->rank, x->rank);
    return 0;
}

static int transposed_outputs(const struct infer *in, struct pith_window *window,
                              const struct pith_shape *x, const struct known *target,
                              struct pith_shape *out)
{
    struct pith_error why = {0};

    for (uint32_t i = 0; i < window->rank; i++) {
        int64_t input = x->dim[2 + i];
        int64_t want = target->count ? target->v[i] : -1;

        if (want >= 0 || input != PITH_DIM_UNKNOWN) {
            if (pith_window_output_transposed(window, i, input == PITH_DIM_UNKNOWN ? 1 : input,
                                              want, &out->dim[2 + i], &why) < 0)
                return infer_fail(in, "%s", why.text);
        }
    }
    return 0;
}

int infer_conv_transpose(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0), *w = infer_shape(in, 1);
    struct pith_shape out = {0};
    struct pith_window window;
    struct known target;
    bool given;
    int rc = infer_rank(in, 0, "input", 3, PITH_MAX_RANK);

    if (rc == 0)
        rc = check_channels(in, 0, 1, true);
    if (rc == 0)
        rc = infer_int_list(in, "output_shape", &target, &given);
    if (rc < 0)
        return rc;
    if (!x || !w || !pith_shape_known(w))
        return infer_set(in, 0, infer_dtype(in, 0), NULL);
    out.rank = x->rank;
    for (uint32_t i = 0; i < out.rank; i++)
        out.dim[i] = PITH_DIM_UNKNOWN;
    out.dim[0] = x->dim[0];
    rc = infer_multiply(in, w->dim[1], infer_int(in, "group", 1), &out.dim[1]);
    if (rc == 0)
        rc = read_window(in, out.rank - 2, w->dim + 2, &window);
    if (rc == 0)
        rc = check_bias(in, 2, out.dim[1]);
    if (rc < 0)
        return rc;
    if (given && target.count == out.rank) /* some exporters name all dimensions */
        for (uint32_t i = 0; i < window.rank; i++)
            target.v[i] = target.v[i + 2];
    else if (given && target.count != window.rank)
        return infer_fail(in, "attribute output_shape has %lld entries, %u are needed",
                          (long long) target.count, window.rank);
    for (uint32_t i = 0; given && i < window.rank; i++)
        if (target.v[i] < 0)
            return infer_fail(in, "attribute output_shape has %lld", (long long) target.v[i]);
    rc = transposed_outputs(in, &window, x, &target, &out);
    return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), &out);
}

/* MaxPool, AveragePool, LpPool. */
int infer_pool(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct pith_shape out;
    struct pith_window window;
    int rc = infer_rank(in, 0, "input", 3, PITH_MAX_RANK);

    if (rc == 0 && x)
        rc = read_window(in, x->rank - 2, NULL, &window);
    if (rc < 0)
        return rc;
    if (x) {
        out = *x;
        rc = window_outputs(in, &window, x, &out);
    }
    for (uint32_t i = 0; rc == 0 && x && i < window.rank; i++)
        if (window.auto_pad == PITH_PAD_EXPLICIT &&
            (window.pad_begin[i] >= (window.kernel[i] - 1) * window.dilation[i] + 1 ||
             window.pad_end[i] >= (window.kernel[i] - 1) * window.dilation[i] + 1))
            return infer_fail(in,
                              "pads along spatial axis %u are not smaller than the kernel, whole "
                              "windows would lie outside the input",
                              i);
    if (rc == 0)
        rc = infer_set(in, 0, infer_dtype(in, 0), x ? &out : NULL);
    return rc < 0 ? rc : infer_set(in, 1, PITH_INT64, x ? &out : NULL);
}

int infer_global_pool(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct pith_shape out;
    int rc = infer_rank(in, 0, "input", 2, PITH_MAX_RANK);

    if (rc < 0 || !x)
        return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), NULL);
    out = *x;
    for (uint32_t i = 2; i < out.rank; i++)
        out.dim[i] = 1;
    return infer_set(in, 0, infer_dtype(in, 0), &out);
}

int infer_max_unpool(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct pith_window window;
    struct pith_shape out;
    struct known target;
    int rc = infer_rank(in, 0, "input", 3, PITH_MAX_RANK);

    if (rc < 0)
        return rc;
    if (infer_has(in, 2)) {
        if (!infer_ints(in, 2, &target) || target.count > PITH_MAX_RANK)
            return infer_set(in, 0, infer_dtype(in, 0), NULL);
        out = pith_shape_of((uint32_t) target.count, target.v);
        return infer_set(in, 0, infer_dtype(in, 0), &out);
    }
    if (!x)
        return infer_set(in, 0, infer_dtype(in, 0), NULL);
    rc = read_window(in, x->rank - 2, NULL, &window);
    out = *x;
    for (uint32_t i = 0; rc == 0 && i < window.rank; i++) {
        struct pith_error why = {0};

        if (x->dim[2 + i] != PITH_DIM_UNKNOWN &&
            pith_window_output_transposed(&window, i, x->dim[2 + i], -1, &out.dim[2 + i], &why) < 0)
            return infer_fail(in, "%s", why.text);
    }
    return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), &out);
}

/* [N, C * prod(block), L] with image and block shapes in inputs 1 and 2. */
int infer_col2im(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct known image, block;
    struct pith_shape out = {0};
    int64_t area = 1;
    int rc = infer_rank(in, 0, "input", 3, 3);

    if (rc < 0)
        return rc;
    if (!infer_ints(in, 1, &image) || !infer_ints(in, 2, &block))
        return infer_set(in, 0, infer_dtype(in, 0), NULL);
    if (image.count < 1 || image.count > PITH_WINDOW_MAX_RANK || image.count != block.count)
        return infer_fail(in, "image shape has %lld entries and block shape %lld",
                          (long long) image.count, (long long) block.count);
    out.rank = (uint32_t) image.count + 2;
    out.dim[0] = out.dim[1] = PITH_DIM_UNKNOWN;
    for (int64_t i = 0; i < image.count; i++) {
        if (image.v[i] < 0 || block.v[i] < 1)
            return infer_fail(in, "image size %lld and block size %lld are not possible",
                              (long long) image.v[i], (long long) block.v[i]);
        out.dim[2 + i] = image.v[i];
        rc = infer_multiply(in, area, block.v[i], &area);
        if (rc < 0)
            return rc;
    }
    if (x) {
        out.dim[0] = x->dim[0];
        if (x->dim[1] != PITH_DIM_UNKNOWN) {
            if (x->dim[1] % area != 0)
                return infer_fail(in, "%lld rows do not divide into blocks of %lld",
                                  (long long) x->dim[1], (long long) area);
            out.dim[1] = x->dim[1] / area;
        }
    }
    return infer_set(in, 0, infer_dtype(in, 0), &out);
}

static int roi_output(struct infer *in, int64_t height, int64_t width)
{
    const struct pith_shape *x = infer_shape(in, 0), *rois = infer_shape(in, 1);
    struct pith_shape out = {.rank = 4, .dim = {PITH_DIM_UNKNOWN, PITH_DIM_UNKNOWN, height, width}};
    int rc = infer_rank(in, 0, "input", 4, 4);

    if (rc == 0)
        rc = infer_rank(in, 1, "rois", 2, 2);
    if (rc < 0)
        return rc;
    if (height < 1 || width < 1)
        return infer_fail(in, "an output of %lld by %lld is not possible", (long long) height,
                          (long long) width);
    if (x)
        out.dim[1] = x->dim[1];
    if (rois)
        out.dim[0] = rois->dim[0];
    return infer_set(in, 0, infer_dtype(in, 0), &out);
}

int infer_roi_align(struct infer *in)
{
    return roi_output(in, infer_int(in, "output_height", 1), infer_int(in, "output_width", 1));
}

int infer_roi_pool(struct infer *in)
{
    struct known pooled;
    bool given;
    int rc = infer_int_list(in, "pooled_shape", &pooled, &given);

    if (rc < 0)
        return rc;
    if (!given || pooled.count != 2)
        return infer_fail(in, "attribute pooled_shape must have two entries");
    return roi_output(in, pooled.v[0], pooled.v[1]);
}
