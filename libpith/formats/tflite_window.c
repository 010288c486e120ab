/* Convolutions, pools and what else slides a window: planar on both sides. */
#include "libpith/formats/tflite_read.h"

#include <errno.h>
#include <string.h>

#define FILTER_AXES               2
#define BUILTIN_CONV_2D           3
#define BUILTIN_DEPTHWISE_CONV_2D 4

/* Fields of the options. Those of the two convolutions differ by the depth multiplier. */
enum { WINDOW_PADDING = 0, WINDOW_STRIDE_W = 1, WINDOW_STRIDE_H = 2 };
enum { CONV_ACTIVATION = 3, CONV_DILATION_W = 4, CONV_DILATION_H = 5 };
enum { DEPTHWISE_ACTIVATION = 4, DEPTHWISE_DILATION_W = 5, DEPTHWISE_DILATION_H = 6 };
enum { POOL_FILTER_W = 3, POOL_FILTER_H = 4, POOL_ACTIVATION = 5 };
enum { TRANSPOSE_ACTIVATION = 3 };
enum {
    CONV3_STRIDE_D = 1,
    CONV3_STRIDE_W = 2,
    CONV3_STRIDE_H = 3,
    CONV3_ACTIVATION = 4,
    CONV3_DILATION = 5
};
enum { LRN_RADIUS = 0, LRN_BIAS = 1, LRN_ALPHA = 2, LRN_BETA = 3 };

/* ---- padding ---- */

/* The pads of a window along one axis under SAME; `in` is known. */
struct window_axis {
    int64_t in, kernel, stride, dilation;
    int64_t before, after; /* out */
};

/* As TensorFlow shares it out: what is odd comes behind. */
static void same_pads(struct window_axis *axis)
{
    int64_t out = (axis->in + axis->stride - 1) / axis->stride;
    int64_t reach = (axis->kernel - 1) * axis->dilation + 1;
    int64_t total = (out - 1) * axis->stride + reach - axis->in;

    total = total > 0 ? total : 0;
    axis->before = total / 2;
    axis->after = total - total / 2;
}

static bool window_is_sane(struct tflite_node *node, const struct window_axis *axes,
                           uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (axes[i].stride < 1 || axes[i].dilation < 1 || axes[i].kernel < 1) {
            tflite_fail(node, -EBADMSG, "its window has a size, stride or dilation below 1");
            return false;
        }
    return node->rc == 0;
}

/* Not where all are what the operator takes without them. */
static void set_unless(struct tflite_node *node, uint32_t emitted, const char *name, const int64_t *numbers,
                       uint32_t count, int64_t otherwise)
{
    bool differs = false;

    for (uint32_t i = 0; i < count; i++)
        differs = differs || numbers[i] != otherwise;
    if (differs)
        tflite_set_ints(node, emitted, name, numbers, count);
}

/* strides, dilations and pads of an emitted Conv or pool. */
static void set_window(struct tflite_node *node, uint32_t emitted, int padding,
                       struct window_axis *axes, uint32_t count)
{
    int64_t strides[3] = {0}, dilations[3] = {0}, pads[6] = {0};
    bool known = true;

    for (uint32_t i = 0; i < count; i++) {
        known = known && axes[i].in >= 0;
        axes[i].before = axes[i].after = 0;
        if (padding == PADDING_SAME && axes[i].in >= 0)
            same_pads(&axes[i]);
        strides[i] = axes[i].stride;
        dilations[i] = axes[i].dilation;
        pads[i] = axes[i].before;
        pads[count + i] = axes[i].after;
    }
    set_unless(node, emitted, "strides", strides, count, 1);
    set_unless(node, emitted, "dilations", dilations, count, 1);
    if (padding == PADDING_SAME && !known)
        tflite_set_string(node, emitted, "auto_pad", "SAME_UPPER");
    else
        set_unless(node, emitted, "pads", pads, 2 * count, 0);
}

/* The input's places, from the file's order: they lie between batch and channels. */
static void read_places(struct tflite_node *node, uint32_t i, struct window_axis *axes,
                        uint32_t count)
{
    const struct tflite_tensor *x = tflite_input(node, i);

    if (x->shape.rank != count + 2) {
        tflite_fail(node, -EBADMSG, "its input %u has %u axes where %u must be", (unsigned) i,
                    (unsigned) x->shape.rank, (unsigned) count + 2);
        return;
    }
    for (uint32_t k = 0; k < count; k++)
        axes[k].in = x->shape.dim[k + 1];
}

/* ---- bias ---- */

/* The integers of a quantized layer's bias are steps of its sums: what its own scale says is that
 * rounded, and not read, as in TensorFlow Lite. Sums of 16-bit activations have a bias of int64;
 * none that was trained passes int32. */
static uint32_t integer_bias(struct tflite_node *node, uint32_t i, const struct tflite_tensor *x,
                             const struct tflite_tensor *w)
{
    const struct tflite_tensor *bias = tflite_input(node, i);
    const size_t count = w->quantization.count;
    struct pith_quantization grid = {.dtype = PITH_INT32, .count = count};
    struct pith_tensor integers;
    float *scale = arena_alloc(&node->reader->arena, count * sizeof *scale);
    int32_t *zero = arena_alloc(&node->reader->arena, count * sizeof *zero);
    uint32_t value = tflite_temporary(node, PITH_INT32);

    if (!scale || !zero)
        tflite_fail(node, -ENOMEM, "no memory to read the model");
    if (node->rc < 0)
        return PITH_NO_VALUE;
    for (size_t k = 0; k < count; k++)
        scale[k] = x->quantization.scale[0] * w->quantization.scale[k];
    grid.scale = scale;
    grid.zero_point = zero;
    node->rc = tflite_count_copy(node->reader, bias->constant.bytes, node->err);
    if (node->rc == 0)
        node->rc = pith_tensor_alloc(&integers, PITH_INT32, &bias->constant.shape, node->err);
    if (node->rc < 0)
        return PITH_NO_VALUE;
    for (int64_t k = 0; k < pith_shape_elements(&integers.shape) && node->rc == 0; k++) {
        int64_t q = pith_tensor_get_int(&bias->constant, k);

        if (q < INT32_MIN || q > INT32_MAX)
            tflite_fail(node, -ENOTSUP, "its bias passes 32 bits");
        ((int32_t *) integers.data)[k] = (int32_t) q;
    }
    if (node->rc == 0)
        node->rc = pith_value_take_constant(node->reader->graph, value, &integers);
    pith_tensor_free(&integers); /* where it was not taken */
    if (node->rc == 0)
        node->rc = pith_value_set_quantization(node->reader->graph, value, &grid);
    return node->rc == 0 ? value : PITH_NO_VALUE;
}

uint32_t tflite_take_bias(struct tflite_node *node, uint32_t i, uint32_t of_input,
                          uint32_t of_weights)
{
    const struct tflite_tensor *bias = tflite_input(node, i);
    const struct tflite_tensor *x = tflite_input(node, of_input);
    const struct tflite_tensor *w = tflite_input(node, of_weights);

    if (!bias || (bias->dtype != PITH_INT32 && bias->dtype != PITH_INT64))
        return tflite_take(node, i, FORM_PLAIN);
    if (!bias->constant.data || !tflite_on_grid(x) || !tflite_on_grid(w) ||
        (w->quantization.count > 1 &&
         pith_shape_elements(&bias->shape) != (int64_t) w->quantization.count)) {
        tflite_fail(node, -ENOTSUP,
                    "its bias is of integers, but not a constant of a quantized layer");
        return PITH_NO_VALUE;
    }
    return integer_bias(node, i, x, w);
}

/* ---- convolutions ---- */

/* Weights: OHWI. A filter of fewer input channels than the input has means groups. */
static void conv_2d(struct tflite_node *node)
{
    static const uint32_t order[] = {0, 3, 1, 2}, depthwise_order[] = {3, 0, 1, 2};
    const bool depthwise = node->row->code == BUILTIN_DEPTHWISE_CONV_2D;
    const struct tflite_tensor *x = tflite_input(node, 0), *w = tflite_input(node, 1);
    struct window_axis axes[FILTER_AXES] = {{0}};
    int activation = flat_i8(node->options, depthwise ? DEPTHWISE_ACTIVATION : CONV_ACTIVATION, 0);
    int64_t channels, group;
    uint32_t inputs[3], output, emitted;

    read_places(node, 0, axes, FILTER_AXES);
    if (w->shape.rank != 4)
        tflite_fail(node, -EBADMSG, "its weights have %u axes", (unsigned) w->shape.rank);
    for (uint32_t k = 0; k < FILTER_AXES && node->rc == 0; k++) {
        unsigned stride = k == 0 ? WINDOW_STRIDE_H : WINDOW_STRIDE_W;
        unsigned dilation = depthwise ? (k == 0 ? DEPTHWISE_DILATION_H : DEPTHWISE_DILATION_W)
                                      : (k == 0 ? CONV_DILATION_H : CONV_DILATION_W);

        axes[k].kernel = w->shape.dim[k + 1];
        axes[k].stride = flat_i32(node->options, stride, 0);
        axes[k].dilation = flat_i32(node->options, dilation, 1);
    }
    if (!window_is_sane(node, axes, FILTER_AXES))
        return;
    channels = x->shape.dim[3];
    group = depthwise ? channels : w->shape.dim[3] > 0 ? channels / w->shape.dim[3] : 0;
    if (channels < 1 || group < 1 || (depthwise ? w->shape.dim[3] % channels : channels % group)) {
        tflite_fail(node, -EBADMSG, "its weights don't fit an input of %lld channels",
                    (long long) channels);
        return;
    }
    inputs[0] = tflite_take(node, 0, FORM_PLANAR);
    inputs[1] = tflite_take_permuted(node, 1, depthwise ? depthwise_order : order);
    inputs[2] = tflite_take_bias(node, 2, 0, 1);
    output = tflite_result_activated(node, activation, FORM_PLANAR);
    emitted = tflite_emit(node, "Conv", inputs, inputs[2] == PITH_NO_VALUE ? 2 : 3, &output, 1);
    set_window(node, emitted, flat_i8(node->options, WINDOW_PADDING, PADDING_SAME), axes,
               FILTER_AXES);
    if (group > 1)
        tflite_set_int(node, emitted, "group", group);
}

/* Weights: DHWIO. */
static void conv_3d(struct tflite_node *node)
{
    static const uint32_t order[] = {4, 3, 0, 1, 2};
    static const unsigned strides[] = {CONV3_STRIDE_D, CONV3_STRIDE_H, CONV3_STRIDE_W};
    static const unsigned dilations[] = {CONV3_DILATION, CONV3_DILATION + 2, CONV3_DILATION + 1};
    const struct tflite_tensor *w = tflite_input(node, 1);
    struct window_axis axes[3] = {{0}};
    uint32_t inputs[3], output, emitted;

    read_places(node, 0, axes, 3);
    if (w->shape.rank != 5)
        tflite_fail(node, -EBADMSG, "its weights have %u axes", (unsigned) w->shape.rank);
    for (uint32_t k = 0; k < 3 && node->rc == 0; k++) {
        axes[k].kernel = w->shape.dim[k];
        axes[k].stride = flat_i32(node->options, strides[k], 0);
        axes[k].dilation = flat_i32(node->options, dilations[k], 1);
    }
    if (!window_is_sane(node, axes, 3))
        return;
    inputs[0] = tflite_take(node, 0, FORM_PLANAR);
    inputs[1] = tflite_take_permuted(node, 1, order);
    inputs[2] = tflite_take(node, 2, FORM_PLAIN);
    output =
        tflite_result_activated(node, flat_i8(node->options, CONV3_ACTIVATION, 0), FORM_PLANAR);
    emitted = tflite_emit(node, "Conv", inputs, inputs[2] == PITH_NO_VALUE ? 2 : 3, &output, 1);
    set_window(node, emitted, flat_i8(node->options, WINDOW_PADDING, PADDING_SAME), axes, 3);
}

/* A convolution turned round. Weights: OHWI. */
struct turned {
    uint32_t x, w, bias; /* inputs of the operator */
    int activation;
    int64_t strides[2], pads[4], more[2]; /* more: rows and columns behind what the window gives */
};

static void emit_turned(struct tflite_node *node, const struct turned *turned)
{
    static const uint32_t order[] = {3, 0, 1, 2};
    uint32_t inputs[3], output, emitted;

    inputs[0] = tflite_take(node, turned->x, FORM_PLANAR);
    inputs[1] = tflite_take_permuted(node, turned->w, order);
    inputs[2] = tflite_take_bias(node, turned->bias, turned->x, turned->w);
    output = tflite_result_activated(node, turned->activation, FORM_PLANAR);
    emitted =
        tflite_emit(node, "ConvTranspose", inputs, inputs[2] == PITH_NO_VALUE ? 2 : 3, &output, 1);
    tflite_set_ints(node, emitted, "strides", turned->strides, 2);
    tflite_set_ints(node, emitted, "pads", turned->pads, 4);
    if (turned->more[0] || turned->more[1])
        tflite_set_ints(node, emitted, "output_padding", turned->more, 2);
}

/* The inputs are the output's shape, weights, the input, and maybe a bias. Its window is that of
 * the convolution that it turns round: from the output to the input. */
static void transpose_conv(struct tflite_node *node)
{
    const struct tflite_tensor *w = tflite_input(node, 1);
    struct window_axis axes[FILTER_AXES] = {{0}};
    int64_t shape[4] = {0};
    struct turned turned = {.x = 2,
                            .w = 1,
                            .bias = 3,
                            .activation = flat_i8(node->options, TRANSPOSE_ACTIVATION, 0)};

    read_places(node, 2, axes, FILTER_AXES);
    if (w->shape.rank != 4 || tflite_output(node, 0)->shape.rank != 4)
        tflite_fail(node, -EBADMSG, "its output or its weights have not 4 axes");
    if (!tflite_is_constant(node, 0)) /* computed: what it comes to is the output's shape */
        memcpy(shape, tflite_output(node, 0)->shape.dim, sizeof shape);
    else if (tflite_ints(node, 0, shape, 4) != 4)
        tflite_fail(node, -EBADMSG, "its output's shape has not 4 entries");
    if (shape[0] < 0)
        shape[0] = 1; /* the batch is the input's */
    for (uint32_t k = 0; k < FILTER_AXES && node->rc == 0; k++) {
        axes[k].kernel = w->shape.dim[k + 1];
        axes[k].stride = flat_i32(node->options, k == 0 ? WINDOW_STRIDE_H : WINDOW_STRIDE_W, 0);
        axes[k].dilation = 1;
    }
    for (uint32_t k = 0; k < 4 && node->rc == 0; k++)
        if (shape[k] < 1 || shape[k] > INT32_MAX)
            tflite_fail(node, -EBADMSG, "its output's shape can't be right");
    if (!window_is_sane(node, axes, FILTER_AXES))
        return;
    for (uint32_t k = 0; k < FILTER_AXES; k++) {
        int64_t in = axes[k].in, full = (in - 1) * axes[k].stride + axes[k].kernel, after;

        axes[k].in = shape[k + 1];
        axes[k].before = 0;
        if (flat_i8(node->options, WINDOW_PADDING, PADDING_SAME) == PADDING_SAME)
            same_pads(&axes[k]);
        after = full - axes[k].before - shape[k + 1];
        turned.strides[k] = axes[k].stride;
        turned.pads[k] = axes[k].before;
        turned.pads[2 + k] = after > 0 ? after : 0;
        turned.more[k] = after < 0 ? -after : 0;
        if (in < 1 || turned.more[k] >= axes[k].stride) {
            tflite_fail(node, -EBADMSG, "its output's shape is not one that its window gives");
            return;
        }
    }
    emit_turned(node, &turned);
}

/* Three numbers of 32 bits: padding (1: SAME), and the strides of width and height. */
enum { TURNED_PADDING = 0, TURNED_STRIDE_W = 1, TURNED_STRIDE_H = 2, TURNED_NUMBERS = 3 };
#define TURNED_SAME 1

/* MediaPipe's own: the inputs are the input, weights and a bias, and what is cut off under SAME
 * follows from the input's size alone. */
static void transpose_conv_bias(struct tflite_node *node)
{
    const struct tflite_tensor *w = tflite_input(node, 1);
    struct window_axis axes[FILTER_AXES] = {{0}};
    int32_t numbers[TURNED_NUMBERS];
    struct turned turned = {.x = 0, .w = 1, .bias = 2};

    read_places(node, 0, axes, FILTER_AXES);
    if (w->shape.rank != 4)
        tflite_fail(node, -EBADMSG, "its weights have %u axes", (unsigned) w->shape.rank);
    tflite_custom_ints(node, numbers, TURNED_NUMBERS);
    for (uint32_t k = 0; k < FILTER_AXES && node->rc == 0; k++) {
        axes[k].kernel = w->shape.dim[k + 1];
        axes[k].stride = numbers[k == 0 ? TURNED_STRIDE_H : TURNED_STRIDE_W];
        axes[k].dilation = 1;
        if (axes[k].in < 1)
            tflite_fail(node, -ENOTSUP, "it wants an input whose size is known");
    }
    if (!window_is_sane(node, axes, FILTER_AXES))
        return;
    for (uint32_t k = 0; k < FILTER_AXES; k++) {
        int64_t cut = axes[k].kernel - (axes[k].in - 1) % axes[k].stride - 1;

        if (numbers[TURNED_PADDING] != TURNED_SAME || cut < 0)
            cut = 0;
        turned.strides[k] = axes[k].stride;
        turned.pads[k] = cut / 2;
        turned.pads[2 + k] = cut - cut / 2;
    }
    emit_turned(node, &turned);
}

/* ---- pools ---- */

static void pool_2d(struct tflite_node *node)
{
    struct window_axis axes[FILTER_AXES] = {{0}};
    int64_t kernel[FILTER_AXES];
    uint32_t output, emitted;

    read_places(node, 0, axes, FILTER_AXES);
    for (uint32_t k = 0; k < FILTER_AXES; k++) {
        axes[k].kernel = flat_i32(node->options, k == 0 ? POOL_FILTER_H : POOL_FILTER_W, 0);
        axes[k].stride = flat_i32(node->options, k == 0 ? WINDOW_STRIDE_H : WINDOW_STRIDE_W, 0);
        axes[k].dilation = 1;
        kernel[k] = axes[k].kernel;
    }
    if (!window_is_sane(node, axes, FILTER_AXES))
        return;
    output = tflite_result_activated(node, flat_i8(node->options, POOL_ACTIVATION, 0), FORM_PLANAR);
    emitted = tflite_emit1(node, node->row->op, tflite_take(node, 0, FORM_PLANAR), output);
    /* How quantized means round has no attribute in ONNX; kernels ask the graph
     * (libpith/kernels/sliding.h). */
    if (node->rc == 0 && tflite_on_grid(tflite_input(node, 0)))
        node->rc = pith_graph_set_metadata(node->reader->graph, "pith.average_ties", "away");
    tflite_set_ints(node, emitted, "kernel_shape", kernel, FILTER_AXES);
    set_window(node, emitted, flat_i8(node->options, WINDOW_PADDING, PADDING_SAME), axes,
               FILTER_AXES);
}

/* TensorFlow's alpha counts for each channel of the window, ONNX's for all together. */
static void local_response_normalization(struct tflite_node *node)
{
    int32_t radius = flat_i32(node->options, LRN_RADIUS, 0);
    uint32_t emitted;

    if (radius < 0 || radius > 1 << 20 || tflite_input(node, 0)->shape.rank != 4) {
        tflite_fail(node, -EBADMSG, "its radius or its input's rank can't be right");
        return;
    }
    emitted = tflite_emit1(node, "LRN", tflite_take(node, 0, FORM_PLANAR),
                           tflite_result(node, 0, FORM_PLANAR));
    tflite_set_int(node, emitted, "size", 2 * (int64_t) radius + 1);
    tflite_set_float(node, emitted, "bias", flat_float(node->options, LRN_BIAS, 0));
    tflite_set_float(node, emitted, "alpha",
                     flat_float(node->options, LRN_ALPHA, 0) * (float) (2 * radius + 1));
    tflite_set_float(node, emitted, "beta", flat_float(node->options, LRN_BETA, 0));
}

/* ---- resizing ---- */

static void resize(struct tflite_node *node)
{
    const bool nearest = node->row->options == OPTIONS_RESIZE_NEAREST_NEIGHBOR;
    const unsigned first = nearest ? 0 : 2; /* two sizes that are no longer used come before */
    const bool corners = flat_u8(node->options, first, 0);
    const bool half = flat_u8(node->options, first + 1, 0);
    static const int64_t axes[] = {2, 3};
    uint32_t inputs[4] = {PITH_NO_VALUE, PITH_NO_VALUE, PITH_NO_VALUE, PITH_NO_VALUE};
    uint32_t output, emitted;
    int64_t sizes[2];

    if (tflite_input(node, 0)->shape.rank != 4)
        tflite_fail(node, -EBADMSG, "its input has not 4 axes");
    inputs[0] = tflite_take(node, 0, FORM_PLANAR);
    if (tflite_is_constant(node, 1)) {
        if (tflite_ints(node, 1, sizes, 2) != 2)
            tflite_fail(node, -EBADMSG, "its size has not 2 entries");
        inputs[3] = tflite_constant_ints(node, sizes, 2);
    } else {
        inputs[3] = tflite_cast(node, tflite_take(node, 1, FORM_PLAIN), PITH_INT64);
    }
    output = tflite_result(node, 0, FORM_PLANAR);
    emitted = tflite_emit(node, "Resize", inputs, 4, &output, 1);
    tflite_set_ints(node, emitted, "axes", axes, 2);
    tflite_set_string(node, emitted, "mode", nearest ? "nearest" : "linear");
    tflite_set_string(node, emitted, "coordinate_transformation_mode",
                      corners ? "align_corners"
                      : half  ? "half_pixel"
                              : "asymmetric");
    if (nearest)
        tflite_set_string(node, emitted, "nearest_mode",
                          corners || half ? "round_prefer_ceil" : "floor");
}

/* ---- blocks ---- */

static void depth_and_space(struct tflite_node *node)
{
    int32_t block = flat_i32(node->options, 0, 0);
    uint32_t emitted;

    if (block < 1 || tflite_input(node, 0)->shape.rank != 4) {
        tflite_fail(node, -EBADMSG, "its block is below 1, or its input has not 4 axes");
        return;
    }
    emitted = tflite_emit1(node, node->row->op, tflite_take(node, 0, FORM_PLANAR),
                           tflite_result(node, 0, FORM_PLANAR));
    tflite_set_int(node, emitted, "blocksize", block);
}

const struct tflite_operator tflite_window_operators[] = {
    {BUILTIN_CONV_2D, "CONV_2D", conv_2d, OPTIONS_CONV_2D, 2, 1, "Conv"},
    {BUILTIN_DEPTHWISE_CONV_2D, "DEPTHWISE_CONV_2D", conv_2d, OPTIONS_DEPTHWISE_CONV_2D, 2, 1,
     "Conv"},
    {132, "CONV_3D", conv_3d, OPTIONS_CONV_3D, 2, 1, "Conv"},
    {67, "TRANSPOSE_CONV", transpose_conv, OPTIONS_TRANSPOSE_CONV, 3, 1, "ConvTranspose"},
    {TFLITE_CUSTOM, "Convolution2DTransposeBias", transpose_conv_bias, OPTIONS_NONE, 3, 1,
     "ConvTranspose"},
    {1, "AVERAGE_POOL_2D", pool_2d, OPTIONS_POOL_2D, 1, 1, "AveragePool"},
    {17, "MAX_POOL_2D", pool_2d, OPTIONS_POOL_2D, 1, 1, "MaxPool"},
    {13, "LOCAL_RESPONSE_NORMALIZATION", local_response_normalization,
     OPTIONS_LOCAL_RESPONSE_NORMALIZATION, 1, 1, "LRN"},
    {23, "RESIZE_BILINEAR", resize, OPTIONS_RESIZE_BILINEAR, 2, 1, "Resize"},
    {97, "RESIZE_NEAREST_NEIGHBOR", resize, OPTIONS_RESIZE_NEAREST_NEIGHBOR, 2, 1, "Resize"},
    {26, "SPACE_TO_DEPTH", depth_and_space, OPTIONS_SPACE_TO_DEPTH, 1, 1, "SpaceToDepth"},
    {5, "DEPTH_TO_SPACE", depth_and_space, OPTIONS_DEPTH_TO_SPACE, 1, 1, "DepthToSpace"},
    {0},
};
