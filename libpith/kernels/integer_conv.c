/* Integer convolution: Conv between quantized values, QLinearConv, ConvInteger. Inputs are made
 * wide (int16, less their zero point) while they are gathered, so that padding is 0 and no
 * correction is needed; sums are int32 and are brought onto the output's grid by one multiplication
 * in float, rounded half to even. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/gemm.h"
#include "libpith/kernels/requantize.h"
#include "libpith/kernels/sliding.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* 255 * 255 * depth < 2^31, with room for a bias */
#define DEPTH_LIMIT 16384

struct integer_conv {
    const struct pith_gemm_form *form;
    struct pith_sliding window;
    int64_t batch, groups;
    int64_t in_channels, out_channels; /* of a group */
    int64_t depth, even;               /* in_channels * taps; the same, even */
    bool is_signed;                    /* x */
    bool paired;                       /* depth runs over channels first: an even number of them */
    int32_t x_zero;
    const int16_t *weights; /* (groups * out_channels, even), less their zero point */
    int32_t *bias;    /* in steps of the sums */
    float *scale;     /* sum -> output steps */
    int32_t y_zero, least, greatest;
    bool sums;                         /* ConvInteger: raw sums are the output */
    struct pith_activation activation; /* in output steps */
};

static int plan_geometry(struct pith_step *step, struct integer_conv *conv,
                         const struct pith_shape *w, struct pith_error *err)
{
    int rc = pith_sliding_read_conv(step, w, &conv->window, &conv->groups, err);
    if (rc < 0)
        return rc;
    conv->form = pith_gemm_form();
    conv->batch = step->input[0].shape.dim[0];
    pith_sliding_flatten(&conv->window);
    conv->in_channels = w->dim[1];
    conv->out_channels = w->dim[0] / conv->groups;
    conv->depth = conv->in_channels * conv->window.taps;
    conv->even = (conv->depth + 1) / 2 * 2;
    if (conv->depth > DEPTH_LIMIT)
        return pith_step_fail(step, err, -ENOTSUP, "sums of %lld products may pass int32",
                              (long long) conv->depth);
    conv->is_signed = step->input[0].dtype == PITH_INT8;
    conv->paired = conv->in_channels % 2 == 0;
    step->scratch_bytes =
        (size_t) pith_gemm_packed(conv->form, conv->even, conv->form->panel) * sizeof(int16_t);
    step->macs = (uint64_t) (conv->batch * w->dim[0] * conv->depth * conv->window.out_plane);
    return 0;
}

/* Where along the depth a weight of the model's order (channels, taps) goes. */
static int64_t depth_index(const struct integer_conv *conv, int64_t i)
{
    const int64_t taps = conv->window.taps;

    return conv->paired ? i % taps * conv->in_channels + i / taps : i;
}

/* zero: of all weights, or one a channel. */
static int widen_weights(struct pith_step *step, struct integer_conv *conv,
                         const struct pith_tensor *w, const int32_t *zero, bool one_zero)
{
    const int64_t channels = conv->groups * conv->out_channels;
    int16_t *weights = pith_step_alloc(step, channels * conv->even * (int64_t) sizeof *weights);

    if (!weights)
        return -ENOMEM;
    for (int64_t m = 0; m < channels; m++)
        for (int64_t i = 0; i < conv->depth; i++) {
            const uint8_t q = ((const uint8_t *) w->data)[m * conv->depth + i];

            weights[m * conv->even + depth_index(conv, i)] =
                (int16_t) ((w->dtype == PITH_INT8 ? (int8_t) q : q) -
                           (zero ? zero[one_zero ? 0 : m] : 0));
        }
    conv->weights = pith_step_share(step, weights);
    return 0;
}

/* sum_scale[m]: what one of a channel's sums stands for. bias: real, or NULL. */
static int plan_output(struct pith_step *step, struct integer_conv *conv, const double *sum_scale,
                       const double *bias, float y_scale, int32_t y_zero,
                       struct pith_error *err)
{
    const int64_t channels = conv->groups * conv->out_channels;

    conv->bias = pith_step_alloc(step, channels * (int64_t) sizeof *conv->bias);
    conv->scale = pith_step_alloc(step, channels * (int64_t) sizeof *conv->scale);
    if (!conv->bias || !conv->scale)
        return -ENOMEM;
    for (int64_t m = 0; m < channels; m++) {
        conv->scale[m] = (float) (sum_scale[m] / (double) y_scale);
        if (!pith_bias_in_sums(bias ? bias[m] : 0.0, sum_scale[m], (double) conv->scale[m], false,
                               &conv->bias[m]))
            return pith_step_fail(step, err, -ENOTSUP, "this bias passes what int32 sums hold");
    }
    conv->y_zero = y_zero;
    conv->least = step->output[0].dtype == PITH_INT8 ? -128 : 0;
    conv->greatest = conv->least + 255;
    conv->activation = step->activation;
    conv->activation.low /= y_scale;
    conv->activation.high /= y_scale;
    return 0;
}

/* ---- between quantized values ---- */

static bool per_tensor(const struct pith_quantization *q)
{
    return q && q->count == 1 && q->block_size == 0;
}

static bool is_eight_bits(int32_t dtype)
{
    return dtype == PITH_INT8 || dtype == PITH_UINT8;
}

static int conv_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_quantization *xq = step->input_quantization[0],
                                   *wq = step->input_quantization[1],
                                   *yq = step->output_quantization[0];
    const struct pith_tensor *w = &step->input[1];
    struct integer_conv *conv = pith_step_alloc(step, sizeof *conv);
    double *scale, *bias = NULL;
    int64_t channels;
    int rc;

    if (!conv)
        return -ENOMEM;
    if (!per_tensor(xq) || !per_tensor(yq) || !wq || wq->block_size != 0 || !w->data ||
        !is_eight_bits(w->dtype) || !is_eight_bits(step->output[0].dtype) ||
        (wq->count > 1 && wq->axis != 0))
        return pith_step_fail(step, err, -ENOTSUP,
                              "this quantization is not one for the integer kernel");
    rc = plan_geometry(step, conv, &w->shape, err);
    if (rc < 0)
        return rc;
    channels = conv->groups * conv->out_channels;
    if (wq->count > 1 && (int64_t) wq->count != channels)
        return pith_step_fail(step, err, -EINVAL, "%zu weight scales for %lld channels", wq->count,
                              (long long) channels);
    scale = pith_step_alloc(step, channels * (int64_t) sizeof *scale);
    if (pith_step_has(step, 2))
        bias = pith_step_alloc(step, channels * (int64_t) sizeof *bias);
    if (!scale || (pith_step_has(step, 2) && !bias))
        return -ENOMEM;
    if (bias && !step->input[2].data)
        return pith_step_fail(step, err, -ENOTSUP, "a bias that is no constant");
    rc = bias ? pith_read_bias(step, 2, channels, bias, err) : 0;
    if (rc < 0)
        return rc;
    for (int64_t m = 0; m < channels; m++)
        scale[m] = (double) xq->scale[0] * (double) wq->scale[wq->count > 1 ? m : 0];
    conv->x_zero = xq->zero_point[0];
    rc = widen_weights(step, conv, w, wq->zero_point, wq->count == 1);
    if (rc == 0)
        rc = plan_output(step, conv, scale, bias, yq->scale[0], yq->zero_point[0], err);
    pith_step_release(step, scale);
    pith_step_release(step, bias);
    step->taken_in = UINT32_C(1) << 1 | UINT32_C(1) << 2;
    step->params = conv;
    return rc;
}

/* ---- with scales as inputs ---- */

/* -EAGAIN until all inputs but the first have data: they are constants in every model that is worth
 * running. */
static int need_parameters(struct pith_step *step)
{
    for (size_t i = 1; i < step->input_count; i++)
        if (pith_step_has(step, i) && !step->input[i].data)
            return pith_step_needs(step, i);
    return 0;
}

/* Zero points of the weights: none, one, or one a channel. */
static int read_zeros(struct pith_step *step, size_t input, int64_t channels, int32_t **out,
                      bool *out_one, struct pith_error *err)
{
    const int64_t count =
        pith_step_has(step, input) ? pith_shape_elements(&step->input[input].shape) : 1;

    if (count != 1 && count != channels)
        return pith_step_fail(step, err, -EINVAL, "input %zu has %lld entries for %lld channels",
                              input, (long long) count, (long long) channels);
    *out = pith_step_alloc(step, count * (int64_t) sizeof **out);
    if (!*out)
        return -ENOMEM;
    for (int64_t i = 0; i < count && pith_step_has(step, input); i++)
        (*out)[i] = (int32_t) pith_tensor_get_int(&step->input[input], i);
    *out_one = count == 1;
    return 0;
}

static int one_entry(struct pith_step *step, size_t input, struct pith_error *err)
{
    if (pith_step_has(step, input) && pith_shape_elements(&step->input[input].shape) != 1)
        return pith_step_fail(step, err, -EINVAL, "input %zu must have one entry", input);
    return 0;
}

static int convinteger_prepare(struct pith_step *step, struct pith_error *err)
{
    struct integer_conv *conv = pith_step_alloc(step, sizeof *conv);
    int32_t *zeros;
    bool one;
    int rc = conv ? need_parameters(step) : -ENOMEM;

    if (rc == 0)
        rc = plan_geometry(step, conv, &step->input[1].shape, err);
    if (rc == 0)
        rc = one_entry(step, 2, err);
    if (rc == 0)
        rc = read_zeros(step, 3, conv->groups * conv->out_channels, &zeros, &one, err);
    if (rc < 0)
        return rc;
    conv->x_zero = pith_step_has(step, 2) ? (int32_t) pith_tensor_get_int(&step->input[2], 0) : 0;
    conv->sums = true;
    step->params = conv;
    return widen_weights(step, conv, &step->input[1], zeros, one);
}

/* x, its scale and zero point, w, its scale and zero point, scale and zero point of y, bias in
 * steps of the sums. */
static int qlinearconv_prepare(struct pith_step *step, struct pith_error *err)
{
    struct integer_conv *conv = pith_step_alloc(step, sizeof *conv);
    double *scale, *bias;
    int64_t channels, scales;
    int32_t *zeros;
    bool one;
    int rc = conv ? need_parameters(step) : -ENOMEM;

    if (rc == 0)
        rc = plan_geometry(step, conv, &step->input[3].shape, err);
    for (size_t i = 1; i <= 2 && rc == 0; i++)
        rc = one_entry(step, i, err);
    for (size_t i = 6; i <= 7 && rc == 0; i++)
        rc = one_entry(step, i, err);
    if (rc < 0)
        return rc;
    channels = conv->groups * conv->out_channels;
    rc = read_zeros(step, 5, channels, &zeros, &one, err);
    if (rc < 0)
        return rc;
    scales = pith_shape_elements(&step->input[4].shape);
    if ((scales != 1 && scales != channels) ||
        (pith_step_has(step, 8) && pith_shape_elements(&step->input[8].shape) != channels))
        return pith_step_fail(step, err, -EINVAL, "weight scales or bias don't fit %lld channels",
                              (long long) channels);
    scale = pith_step_alloc(step, channels * (int64_t) sizeof *scale);
    bias = pith_step_alloc(step, channels * (int64_t) sizeof *bias);
    if (!scale || !bias)
        return -ENOMEM;
    for (int64_t m = 0; m < channels; m++) {
        scale[m] = pith_tensor_get(&step->input[1], 0) *
                   pith_tensor_get(&step->input[4], scales == 1 ? 0 : m);
        bias[m] = pith_step_has(step, 8) ? pith_tensor_get(&step->input[8], m) * scale[m] : 0.0;
    }
    conv->x_zero = (int32_t) pith_tensor_get_int(&step->input[2], 0);
    rc = widen_weights(step, conv, &step->input[3], zeros, one);
    if (rc == 0)
        rc = plan_output(step, conv, scale, bias, (float) pith_tensor_get(&step->input[6], 0),
                         (int32_t) pith_tensor_get_int(&step->input[7], 0), err);
    step->params = conv;
    return rc;
}

/* ---- run ---- */

#define BLOCK 8 /* elements made wide together: a vector register of the smallest CPU */
typedef int16_t wide __attribute__((vector_size(2 * BLOCK)));

/* What one tap sees of a segment. */
struct run {
    int64_t left, stride;        /* element j of the output lies under left + j * stride */
    int64_t from, inside, count; /* j in [from, inside) is there, up to count it is padding */
    int32_t zero;
};

/* GATHER is for one channel, every second place; GATHER_PAIR for two, side by side. Blocks of a
 * pair may overlap: the last one begins where a whole one still fits. */
#define GATHER(name, type)                                                                         \
    static void name(int16_t *restrict to, const type *restrict row, const struct run *r)          \
    {                                                                                              \
        for (int64_t j = r->from; j < r->inside; j++)                                              \
            to[2 * j] = (int16_t) (row[r->left + j * r->stride] - r->zero);                        \
    }                                                                                              \
    typedef type name##_block __attribute__((vector_size(BLOCK)));                                 \
    static inline wide name##_widen(const type *from, int16_t zero)                                \
    {                                                                                              \
        name##_block block;                                                                        \
                                                                                                   \
        memcpy(&block, from, sizeof block);                                                        \
        return __builtin_convertvector(block, wide) - zero;                                        \
    }                                                                                              \
    static void name##_pair(int16_t *restrict to, const type *restrict row, int64_t next,          \
                            const struct run *r)                                                   \
    {                                                                                              \
        int64_t j = r->from;                                                                       \
                                                                                                   \
        while (r->stride == 1 && r->inside - r->from >= BLOCK && j < r->inside) {                  \
            j = j > r->inside - BLOCK ? r->inside - BLOCK : j;                                     \
            interleave(to + 2 * j, name##_widen(row + r->left + j, (int16_t) r->zero),             \
                       name##_widen(row + next + r->left + j, (int16_t) r->zero));                 \
            j += BLOCK;                                                                            \
        }                                                                                          \
        for (; j < r->inside; j++) {                                                               \
            to[2 * j] = (int16_t) (row[r->left + j * r->stride] - r->zero);                        \
            to[2 * j + 1] = (int16_t) (row[next + r->left + j * r->stride] - r->zero);             \
        }                                                                                          \
    }

static inline void interleave(int16_t *to, wide a, wide b)
{
    const wide low = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    const wide high = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);

    memcpy(to, &low, sizeof low);
    memcpy(to + BLOCK, &high, sizeof high);
}

GATHER(gather_s8, int8_t)
GATHER(gather_u8, uint8_t)

/* Padding of `width` interleaved elements an output, before and behind what is there. */
static void gather_padding(int16_t *to, const struct run *r, int64_t width)
{
    for (int64_t j = 0; j < r->from; j++)
        for (int64_t i = 0; i < width; i++)
            to[2 * j + i] = 0;
    for (int64_t j = r->inside; j < r->count; j++)
        for (int64_t i = 0; i < width; i++)
            to[2 * j + i] = 0;
}

/* x: of the first channel, at the row under the tap. */
static void gather_channels(const struct integer_conv *conv, int16_t *packed, const uint8_t *x,
                            int64_t tap, const struct run *r)
{
    const struct pith_sliding *w = &conv->window;
    const int64_t at_once = conv->paired ? 2 : 1;

    for (int64_t c = 0; c < conv->in_channels; c += at_once) {
        const int64_t k = depth_index(conv, c * w->taps + tap);
        int16_t *to = packed + k / 2 * conv->form->panel * 2 + k % 2;
        const uint8_t *row = x + c * w->in_plane;

        gather_padding(to, r, at_once);
        if (r->inside <= r->from)
            continue;
        if (conv->paired && conv->is_signed)
            gather_s8_pair(to, (const int8_t *) row, w->in_plane, r);
        else if (conv->paired)
            gather_u8_pair(to, row, w->in_plane, r);
        else if (conv->is_signed)
            gather_s8(to, (const int8_t *) row, r);
        else
            gather_u8(to, row, r);
    }
}

static void gather_tap(const struct integer_conv *conv, int16_t *packed, const uint8_t *x,
                       const struct pith_segment *s, int64_t tap)
{
    const struct pith_sliding *w = &conv->window;
    const int64_t kx = tap % w->kernel[2], ky = tap / w->kernel[2] % w->kernel[1],
                  kz = tap / (w->kernel[2] * w->kernel[1]);
    const int64_t z = s->z * w->stride[0] - w->pad[0] + kz * w->dilation[0];
    const int64_t y = s->y * w->stride[1] - w->pad[1] + ky * w->dilation[1];
    const bool outside = z < 0 || z >= w->in[0] || y < 0 || y >= w->in[1];
    struct run r = {.left = s->x * w->stride[2] - w->pad[2] + kx * w->dilation[2],
                    .stride = w->stride[2],
                    .count = s->count,
                    .zero = conv->x_zero};

    if (!outside)
        pith_sliding_valid(w, 2, kx, s->x, s->count, &r.from, &r.inside);
    if (r.inside <= r.from)
        r.from = r.inside = s->count; /* nothing of it */
    gather_channels(conv, packed + s->at * 2, outside ? x : x + (z * w->in[1] + y) * w->in[2], tap,
                    &r);
}

static void conv_group(const struct pith_step *step, const struct integer_conv *conv, int64_t n,
                       int64_t group)
{
    const struct pith_sliding *w = &conv->window;
    const int64_t channel = group * conv->out_channels, panel = conv->form->panel;
    const uint8_t *x = (const uint8_t *) step->input[0].data +
                       (n * conv->groups + group) * conv->in_channels * w->in_plane;
    const int64_t y = (n * conv->groups * conv->out_channels + channel) * w->out_plane;
    struct pith_segment segments[PITH_GEMM_MAX_PANEL];
    int16_t *packed = step->scratch;

    if (conv->even > conv->depth) /* the half of the last pair that no tap fills */
        memset(packed + (conv->even / 2 - 1) * panel * 2, 0, (size_t) panel * 2 * sizeof *packed);
    for (int64_t pixel = 0; pixel < w->out_plane; pixel += panel) {
        const int64_t count = w->out_plane - pixel < panel ? w->out_plane - pixel : panel;
        const int used = pith_sliding_cut(w, pixel, count, segments);

        for (int64_t tap = 0; tap < w->taps; tap++)
            for (int s = 0; s < used; s++)
                gather_tap(conv, packed, x, &segments[s], tap);
        conv->form->s16(&(struct pith_gemm_s16){
            .rows = conv->out_channels,
            .cols = count,
            .depth = conv->even,
            .a = conv->weights + channel * conv->even,
            .a_row = conv->even,
            .b = packed,
            .sums = conv->sums ? (int32_t *) step->output[0].data + y + pixel : NULL,
            .out = conv->sums ? NULL : (uint8_t *) step->output[0].data + y + pixel,
            .out_row = w->out_plane,
            .row_bias = conv->sums ? NULL : conv->bias + channel,
            .row_scale = conv->sums ? NULL : conv->scale + channel,
            .zero_point = conv->y_zero,
            .least = conv->least,
            .greatest = conv->greatest,
            .activation = conv->activation,
        });
    }
}

static int conv_run(struct pith_step *step, struct pith_error *err)
{
    const struct integer_conv *conv = step->params;
    const int64_t spare = conv->even / 2 * conv->form->panel * 2;

    (void) err;
    memset(step->scratch, 0,
           (size_t) spare * sizeof(int16_t)); /* columns past the last pixel are multiplied too */
    for (int64_t n = 0; n < conv->batch; n++)
        for (int64_t group = 0; group < conv->groups; group++)
            conv_group(step, conv, n, group);
    return 0;
}

#define EIGHT_BITS (PITH_BIT(INT8) | PITH_BIT(UINT8))

const struct pith_kernel pith_kernels_integer_conv[] = {
    {.op = "Conv",
     .name = "conv_s8",
     .types = {EIGHT_BITS, EIGHT_BITS},
     .flags = PITH_KERNEL_QUANTIZED | PITH_KERNEL_FUSES_ACTIVATION,
     .prepare = conv_prepare,
     .run = conv_run},
    {.op = "QLinearConv",
     .name = "qlinear_conv_s8",
     .types = {EIGHT_BITS, PITH_BIT(FLOAT32), EIGHT_BITS, EIGHT_BITS},
     .prepare = qlinearconv_prepare,
     .run = conv_run},
    {.op = "ConvInteger",
     .name = "conv_integer",
     .types = {EIGHT_BITS, EIGHT_BITS, EIGHT_BITS, EIGHT_BITS},
     .prepare = convinteger_prepare,
     .run = conv_run},
    {0},
};
