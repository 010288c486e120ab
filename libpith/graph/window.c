/* Windows of convolution and pooling. See window.h. */
#include "libpith/graph/window.h"

#include <errno.h>
#include <string.h>

static int read_list(const struct pith_graph *graph, uint32_t node, const char *name,
                     uint32_t count, int64_t least, int64_t otherwise, int64_t *out,
                     struct pith_error *why)
{
    size_t given = 0;
    const int64_t *values = pith_node_ints(graph, node, name, &given);

    if (!values || given == 0) {
        for (uint32_t i = 0; i < count; i++)
            out[i] = otherwise;
        return 0;
    }
    if (given != count)
        return pith_fail(why, -EINVAL, "attribute %s has %zu entries, %u are needed", name, given,
                         count);
    for (uint32_t i = 0; i < count; i++) {
        if (values[i] < least || values[i] > PITH_WINDOW_MAX_SIZE)
            return pith_fail(why, -EINVAL, "attribute %s has %lld, which is outside %lld to %d",
                             name, (long long) values[i], (long long) least, PITH_WINDOW_MAX_SIZE);
        out[i] = values[i];
    }
    return 0;
}

static int read_auto_pad(const struct pith_graph *graph, uint32_t node, int32_t *out,
                         struct pith_error *why)
{
    static const char *const names[] = {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"};
    const char *text = pith_node_string(graph, node, "auto_pad", "NOTSET");

    for (int32_t i = 0; i < 4; i++)
        if (strcmp(text, names[i]) == 0) {
            *out = i;
            return 0;
        }
    return pith_fail(why, -EINVAL,
                     "attribute auto_pad is \"%s\"; NOTSET, SAME_UPPER, SAME_LOWER and VALID "
                     "are possible",
                     text);
}

static int read_kernel(const struct pith_graph *graph, uint32_t node, const int64_t *kernel,
                       struct pith_window *out, struct pith_error *why)
{
    size_t given = 0;
    const int64_t *values = pith_node_ints(graph, node, "kernel_shape", &given);
    int rc;

    if (!kernel && (!values || given == 0))
        return pith_fail(why, -EINVAL, "attribute kernel_shape is missing");
    rc = read_list(graph, node, "kernel_shape", out->rank, 1, 1, out->kernel, why);
    if (rc < 0 || !kernel)
        return rc;
    for (uint32_t i = 0; i < out->rank; i++) {
        if (values && given && kernel[i] != PITH_DIM_UNKNOWN && kernel[i] != out->kernel[i])
            return pith_fail(why, -EINVAL,
                             "attribute kernel_shape has %lld where the weight has %lld",
                             (long long) out->kernel[i], (long long) kernel[i]);
        if (!(values && given))
            out->kernel[i] = kernel[i];
        if (out->kernel[i] < 1 || out->kernel[i] > PITH_WINDOW_MAX_SIZE)
            return pith_fail(why, -EINVAL, "a kernel size of %lld is not possible",
                             (long long) out->kernel[i]);
    }
    return 0;
}

int pith_window_read(const struct pith_graph *graph, uint32_t node, uint32_t rank,
                     const int64_t *kernel, struct pith_window *out, struct pith_error *why)
{
    int64_t pads[2 * PITH_WINDOW_MAX_RANK];
    int rc;

    *out = (struct pith_window){.rank = rank};
    if (rank < 1 || rank > PITH_WINDOW_MAX_RANK)
        return pith_fail(why, -EINVAL, "%u spatial dimensions; 1 to %d are possible", rank,
                         PITH_WINDOW_MAX_RANK);
    rc = read_kernel(graph, node, kernel, out, why);
    if (rc == 0)
        rc = read_list(graph, node, "strides", rank, 1, 1, out->stride, why);
    if (rc == 0)
        rc = read_list(graph, node, "dilations", rank, 1, 1, out->dilation, why);
    if (rc == 0)
        rc = read_list(graph, node, "pads", 2 * rank, 0, 0, pads, why);
    if (rc == 0)
        rc = read_list(graph, node, "output_padding", rank, 0, 0, out->output_padding, why);
    if (rc == 0)
        rc = read_auto_pad(graph, node, &out->auto_pad, why);
    if (rc < 0)
        return rc;
    out->ceil = pith_node_int(graph, node, "ceil_mode", 0) != 0;
    for (uint32_t i = 0; i < rank && out->auto_pad == PITH_PAD_EXPLICIT; i++) {
        out->pad_begin[i] = pads[i];
        out->pad_end[i] = pads[rank + i];
    }
    return 0;
}

static void split_padding(struct pith_window *window, uint32_t axis, int64_t total,
                          bool more_at_end)
{
    int64_t less = total / 2, more = total - less;

    window->pad_begin[axis] = more_at_end ? less : more;
    window->pad_end[axis] = more_at_end ? more : less;
}

int pith_window_output(struct pith_window *window, uint32_t axis, int64_t input, int64_t *out,
                       struct pith_error *why)
{
    int64_t stride = window->stride[axis];
    int64_t span = (window->kernel[axis] - 1) * window->dilation[axis] + 1;
    int64_t padded, steps;

    if (input < 0 || input > PITH_TENSOR_MAX_BYTES)
        return pith_fail(why, -EINVAL, "an input size of %lld is not possible", (long long) input);
    if (window->auto_pad == PITH_PAD_SAME_UPPER || window->auto_pad == PITH_PAD_SAME_LOWER) {
        int64_t total;

        *out = (input + stride - 1) / stride;
        total = *out > 0 ? (*out - 1) * stride + span - input : 0;
        split_padding(window, axis, total > 0 ? total : 0, window->auto_pad == PITH_PAD_SAME_UPPER);
        return 0;
    }
    padded = input + window->pad_begin[axis] + window->pad_end[axis];
    if (padded < span)
        return pith_fail(why, -EINVAL,
                         "the kernel spans %lld along spatial axis %u, the padded input has %lld",
                         (long long) span, axis, (long long) padded);
    steps = (padded - span) / stride;
    /* A partial window counts where it starts inside the input or its left padding. */
    if (window->ceil && (padded - span) % stride != 0 &&
        (steps + 1) * stride < input + window->pad_begin[axis])
        steps++;
    *out = steps + 1;
    return 0;
}

int pith_window_output_transposed(struct pith_window *window, uint32_t axis, int64_t input,
                                  int64_t target, int64_t *out, struct pith_error *why)
{
    int64_t stride = window->stride[axis];
    int64_t span = (window->kernel[axis] - 1) * window->dilation[axis] + 1;
    int64_t whole, reach;

    if (input < 0 || input > PITH_TENSOR_MAX_BYTES)
        return pith_fail(why, -EINVAL, "an input size of %lld is not possible", (long long) input);
    /* Without any padding; an empty input reaches nowhere. */
    if (__builtin_mul_overflow(stride, input > 0 ? input - 1 : 0, &reach) ||
        __builtin_add_overflow(reach, span + window->output_padding[axis], &whole))
        return pith_fail(why, -EINVAL, "the output along spatial axis %u is too large", axis);
    if (target >= 0 || window->auto_pad == PITH_PAD_SAME_UPPER ||
        window->auto_pad == PITH_PAD_SAME_LOWER) {
        int64_t size = target;
        int64_t total;

        if (target < 0 && __builtin_mul_overflow(input, stride, &size))
            return pith_fail(why, -EINVAL, "the output along spatial axis %u is too large", axis);
        total = whole - size;
        split_padding(window, axis, total > 0 ? total : 0, window->auto_pad == PITH_PAD_SAME_UPPER);
        *out = size;
        return 0;
    }
    *out = whole - window->pad_begin[axis] - window->pad_end[axis];
    if (*out < 0)
        return pith_fail(why, -EINVAL,
                         "pads of %lld and %lld along spatial axis %u leave nothing of %lld",
                         (long long) window->pad_begin[axis], (long long) window->pad_end[axis],
                         axis, (long long) whole);
    return 0;
}
