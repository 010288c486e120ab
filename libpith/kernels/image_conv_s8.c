/* Channels-last Conv between quantized values: planning, the plain loops that define the answer,
 * and the choice of a form. Padding is in the halo, which holds the input's zero point; what zero
 * points add to a sum is the same everywhere and part of the bias. */
#include "libpith/kernels/image_conv_s8.h"

#include <errno.h>
#include <string.h>

#include "libpith/kernels/families.h"
#include "libpith/kernels/image_blocks_s8.h"
#include "libpith/kernels/image_dense_s8.h"
#include "libpith/kernels/image_depthwise_s8.h"
#include "libpith/kernels/image_int4_s8.h"
#include "libpith/kernels/image_sparse_row_s8.h"
#include "libpith/kernels/image_sparse_s8.h"
#include "libpith/kernels/image_two_of_four_s8.h"
#include "libpith/kernels/image_winograd_s8.h"
#include "libpith/kernels/narrow_s8.h"
#include "libpith/kernels/sliding.h"

/* ---- planning ---- */

int pith_conv_s8_geometry(struct pith_step *step, struct pith_conv_s8 *conv, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *w = &step->input[1].shape,
                            *y = &step->output[0].shape;
    struct pith_sliding window;
    int rc;

    if (x->rank > 4)
        return pith_step_fail(step, err, -ENOTSUP, "a channels-last value has rank 3 or 4, not %u",
                              x->rank);
    rc = pith_sliding_read_conv(step, w, &window, &conv->groups, err);
    if (rc < 0)
        return rc;
    if (w->dim[1] < 1)
        return pith_step_fail(step, err, -ENOTSUP, "no input channels");
    conv->x = pith_image_dims(x);
    conv->y = pith_image_dims(y);
    conv->in_channels = w->dim[1];
    conv->out_channels = w->dim[0] / conv->groups;
    for (int d = 0; d < 2; d++) {
        conv->kernel[d] = window.kernel[d + 1];
        conv->stride[d] = window.stride[d + 1];
        conv->dilation[d] = window.dilation[d + 1];
        conv->pad[d] = window.pad[d + 1];
    }
    if (window.taps > PITH_SUM_DEPTH_LIMIT ||
        conv->in_channels * window.taps > PITH_SUM_DEPTH_LIMIT)
        return pith_step_fail(step, err, -ENOTSUP, "sums of %lld products a channel may pass int32",
                              (long long) window.taps);
    conv->in = step->input_image[0];
    conv->out = step->output_image[0];
    if (step->residual.set && !pith_shape_equal(&step->input[step->residual.input].shape, y))
        return pith_step_fail(step, err, -EINVAL, "the residual has not the output's shape");
    if (step->residual.set)
        conv->added = step->input_image[step->residual.input];
    step->macs = (uint64_t) (conv->y.n * conv->y.c * conv->y.h * conv->y.w * conv->in_channels) *
                 (uint64_t) window.taps;
    return pith_sliding_check_halo(step, &window, &conv->in, err);
}

/* (in, taps) to (taps, in). */
static void order_channel(const struct pith_conv_s8 *conv, const int8_t *from, int8_t *to)
{
    const int64_t taps = conv->kernel[0] * conv->kernel[1];

    for (int64_t t = 0; t < taps; t++)
        for (int64_t i = 0; i < conv->in_channels; i++)
            *to++ = from[i * taps + t];
}

static bool all_fit(const struct pith_tensor *w, const struct pith_quantization *wq, int64_t channels, int64_t each)
{
    for (int64_t m = 0; m < channels; m++)
        if (!pith_weights_fit(w, m * each, each, wq->zero_point[wq->count > 1 ? m : 0]))
            return false;
    return true;
}

int pith_conv_s8_order(struct pith_step *step, struct pith_conv_s8 *conv, struct pith_weight_sums *sums,
                       struct pith_error *err)
{
    const struct pith_quantization *wq = step->input_quantization[1];
    const struct pith_tensor *w = &step->input[1];
    const int64_t taps = conv->kernel[0] * conv->kernel[1], each = taps * conv->in_channels;
    const bool in_order = taps == 1 || conv->in_channels == 1,
               narrow = pith_weights_are_narrow(w, wq->zero_point, wq->count);

    conv->two_terms = !narrow && !all_fit(w, wq, conv->y.c, each);
    const int64_t terms = pith_conv_s8_terms(conv), bytes = terms * each;
    int8_t *to = narrow && in_order ? NULL : pith_step_alloc(step, conv->y.c * bytes),
           *row = narrow || in_order ? NULL : pith_step_alloc(step, bytes);

    conv->weights = narrow && in_order ? w->data : to;
    if (!conv->weights || (!narrow && !in_order && !row))
        return -ENOMEM;
    for (int64_t m = 0; m < conv->y.c; m++) {
        const int32_t zero = wq->zero_point[wq->count > 1 ? m : 0];
        int8_t *made = row ? row : to + m * bytes;
        const int8_t *from = narrow ? (const int8_t *) w->data + m * each : made;

        if (!narrow && !(conv->two_terms ? pith_split_weights(w, m * each, each, zero, made, made + each)
                                         : pith_narrow_weights(w, m * each, 1, each, zero, made, NULL)))
            return pith_step_fail(step, err, -ENOTSUP,
                                  "weights less their zero point don't fit int8, nor the sum of two");
        if (sums)
            pith_sum_weights(from, bytes, &sums[m]);
        for (int64_t t = 0; !in_order && t < terms; t++)
            order_channel(conv, from + t * each, to + m * bytes + t * each);
    }
    pith_step_release(step, row);
    if (conv->two_terms && bytes > PITH_SUM_DEPTH_LIMIT)
        return pith_step_fail(step, err, -ENOTSUP, "sums of %lld such products a channel may pass int32",
                              (long long) each);
    return 0;
}

int pith_conv_s8_keep_weights(struct pith_step *step, struct pith_conv_s8 *conv)
{
    const int64_t bytes = conv->y.c * conv->kernel[0] * conv->kernel[1] * conv->in_channels;
    int8_t *own;

    if (!conv->weights || conv->weights != step->input[1].data)
        return 0;
    own = pith_step_alloc(step, bytes);
    if (!own)
        return -ENOMEM;
    memcpy(own, conv->weights, (size_t) bytes);
    conv->weights = own;
    return 0;
}

static int check_types(struct pith_step *step, struct pith_error *err)
{
    const struct pith_quantization *wq = step->input_quantization[1];
    const int32_t stored = pith_image_integer_dtype();
    const struct pith_tensor *y = &step->output[0];

    if (!step->input[1].data)
        return pith_step_needs(step, 1);
    if (!pith_is_byte_grid(step->input_quantization[0]) || step->input[0].dtype != stored || !wq ||
        (wq->block_size == 0 && wq->count > 1 && wq->axis != 0) ||
        (wq->block_size != 0 && wq->axis != 1) ||
        (y->dtype != PITH_FLOAT32 && y->dtype != stored) ||
        (step->residual.set && step->input[step->residual.input].dtype != stored))
        return pith_step_fail(step, err, -ENOTSUP,
                              "this quantization is not one for the channels-last kernel");
    if (wq->block_size == 0 && wq->count > 1 &&
        (int64_t) wq->count != step->input[1].shape.dim[0])
        return pith_step_fail(step, err, -EINVAL, "%zu weight scales for %lld channels", wq->count,
                              (long long) step->input[1].shape.dim[0]);
    return 0;
}

static int plan_blocks(struct pith_step *step, struct pith_conv_s8 *conv, const double *bias,
                       int32_t x_zero, struct pith_error *err)
{
    const int64_t taps = conv->kernel[0] * conv->kernel[1],
                  size = step->input_quantization[1]->block_size,
                  count = (conv->in_channels + size - 1) / size;
    const struct pith_blocks_s8_layout layout = {count * taps, taps, conv->in_channels * taps, taps};

    if (!pith_blocks_s8_fit(step, conv, &layout))
        return pith_step_fail(step, err, -ENOTSUP, "blocks of such weights are for floats");
    return pith_blocks_s8_plan(step, conv, &layout, bias, x_zero, err);
}

static int plan_channels(struct pith_step *step, struct pith_conv_s8 *conv, const double *bias,
                         int32_t x_zero, struct pith_error *err)
{
    const struct pith_quantization *xq = step->input_quantization[0],
                                   *wq = step->input_quantization[1];
    const int64_t channels = conv->y.c;
    struct pith_weight_sums *sums = pith_step_alloc(step, channels * (int64_t) sizeof *sums);
    double *scale = pith_step_alloc(step, channels * (int64_t) sizeof *scale);
    int rc = sums && scale ? pith_conv_s8_order(step, conv, sums, err) : -ENOMEM;

    for (int64_t m = 0; rc == 0 && m < channels; m++)
        scale[m] = (double) xq->scale[0] * (double) wq->scale[wq->count > 1 ? m : 0];
    if (rc == 0)
        rc = pith_requantize_plan(step, &conv->to, channels, scale, bias, sums, x_zero, err);
    pith_step_release(step, sums);
    pith_step_release(step, scale);
    return rc;
}

static int plan_values(struct pith_step *step, struct pith_conv_s8 *conv, struct pith_error *err)
{
    const int32_t x_zero = pith_stored_zero(step->input_quantization[0], step->input[0].dtype);
    double *bias = NULL;
    int rc = 0;

    if (pith_step_has_bias(step)) {
        bias = pith_step_alloc(step, conv->y.c * (int64_t) sizeof *bias);
        rc = bias ? pith_read_bias(step, 2, conv->y.c, bias, err) : -ENOMEM;
    }
    if (rc == 0)
        rc = step->input_quantization[1]->block_size
                 ? plan_blocks(step, conv, bias, x_zero, err)
                 : plan_channels(step, conv, bias, x_zero, err);
    pith_step_release(step, bias);
    conv->in_zero = (uint8_t) x_zero;
    return rc;
}

/* ---- forms ---- */

static const struct pith_conv_s8_form forms[] = {
#if defined __x86_64__
    {"depthwise avx512vnni", PITH_ISA_AVX512_VNNI, true, &pith_depthwise_s8_vnni,
     pith_depthwise_s8_pack, NULL, .terms = true},
    {"depthwise avx512", PITH_ISA_AVX512, true, &pith_depthwise_s8_avx512, pith_depthwise_s8_pack,
     NULL, .terms = true},
    {"depthwise avx2", PITH_ISA_AVX2, true, &pith_depthwise_s8_avx2, pith_depthwise_s8_pack, NULL, .terms = true},
    {"depthwise sse2", PITH_ISA_SSE2, true, &pith_depthwise_s8_sse2, pith_depthwise_s8_pack, NULL, .terms = true},
    {"sparse row avx512vnni", PITH_ISA_AVX512_VNNI, false, &pith_sparse_row_s8_vnni, pith_sparse_row_s8_pack,
     pith_sparse_row_s8_pays},
    {"sparse avx512vnni", PITH_ISA_AVX512_VNNI, false, &pith_sparse_s8_vnni, pith_sparse_s8_pack,
     pith_sparse_s8_pays},
    {"winograd 4x4 avx512vnni narrow", PITH_ISA_AVX512_VNNI, false, &pith_winograd_s8_large_vnni256, pith_winograd_s8_pack,
     pith_winograd_s8_pays},
    {"winograd 4x4 avx512vnni", PITH_ISA_AVX512_VNNI, false, &pith_winograd_s8_large_vnni, pith_winograd_s8_pack,
     pith_winograd_s8_pays},
    {"int4 avx512vnni", PITH_ISA_AVX512_VNNI, false, &pith_int4_s8_vnni, pith_int4_s8_pack,
     pith_int4_s8_pays, true},
    {"2:4 avx512vnni", PITH_ISA_AVX512_VNNI, false, &pith_two_of_four_s8_vnni, pith_dense_s8_pack,
     pith_two_of_four_s8_pays},
    {"dense avx512vnni narrow", PITH_ISA_AVX512_VNNI, false, &pith_dense_s8_vnni_narrow,
     pith_dense_s8_pack, NULL, .terms = true},
    {"dense avx512vnni", PITH_ISA_AVX512_VNNI, false, &pith_dense_s8_vnni, pith_dense_s8_pack,
     NULL, .terms = true},
    {"sparse row avx512", PITH_ISA_AVX512, false, &pith_sparse_row_s8_avx512, pith_sparse_row_s8_pack,
     pith_sparse_row_s8_pays},
    {"sparse avx512", PITH_ISA_AVX512, false, &pith_sparse_s8_avx512, pith_sparse_s8_pack,
     pith_sparse_s8_pays},
    {"winograd 4x4 avx512", PITH_ISA_AVX512, false, &pith_winograd_s8_large_avx512, pith_winograd_s8_pack,
     pith_winograd_s8_pays},
    {"winograd avx512", PITH_ISA_AVX512, false, &pith_winograd_s8_avx512, pith_winograd_s8_pack,
     pith_winograd_s8_pays},
    {"int4 avx512", PITH_ISA_AVX512, false, &pith_int4_s8_avx512, pith_int4_s8_pack,
     pith_int4_s8_pays, true},
    {"2:4 avx512", PITH_ISA_AVX512, false, &pith_two_of_four_s8_avx512, pith_dense_s8_pack,
     pith_two_of_four_s8_pays},
    {"dense avx512", PITH_ISA_AVX512, false, &pith_dense_s8_avx512, pith_dense_s8_pack, NULL, .terms = true},
    {"sparse row avx2", PITH_ISA_AVX2, false, &pith_sparse_row_s8_avx2, pith_sparse_row_s8_pack,
     pith_sparse_row_s8_pays},
    {"sparse avx2", PITH_ISA_AVX2, false, &pith_sparse_s8_avx2, pith_sparse_s8_pack,
     pith_sparse_s8_pays},
    {"winograd 4x4 avx2", PITH_ISA_AVX2, false, &pith_winograd_s8_large_avx2, pith_winograd_s8_pack,
     pith_winograd_s8_pays},
    {"winograd avx2", PITH_ISA_AVX2, false, &pith_winograd_s8_avx2, pith_winograd_s8_pack,
     pith_winograd_s8_pays},
    {"int4 avx2", PITH_ISA_AVX2, false, &pith_int4_s8_avx2, pith_int4_s8_pack, pith_int4_s8_pays, true},
    {"2:4 avx2", PITH_ISA_AVX2, false, &pith_two_of_four_s8_avx2, pith_dense_s8_pack,
     pith_two_of_four_s8_pays},
    {"dense avx2", PITH_ISA_AVX2, false, &pith_dense_s8_avx2, pith_dense_s8_pack, NULL, .terms = true},
    {"sparse sse2", PITH_ISA_SSE2, false, &pith_sparse_s8_sse2, pith_sparse_s8_pack,
     pith_sparse_s8_pays},
    {"winograd 4x4 sse2", PITH_ISA_SSE2, false, &pith_winograd_s8_large_sse2, pith_winograd_s8_pack,
     pith_winograd_s8_pays},
    {"winograd sse2", PITH_ISA_SSE2, false, &pith_winograd_s8_sse2, pith_winograd_s8_pack,
     pith_winograd_s8_pays},
    {"int4 sse2", PITH_ISA_SSE2, false, &pith_int4_s8_sse2, pith_int4_s8_pack, pith_int4_s8_pays, true},
    {"dense sse2", PITH_ISA_SSE2, false, &pith_dense_s8_sse2, pith_dense_s8_pack, NULL, .terms = true},
#elif defined __aarch64__
#if PITH_ARM_DOTS
    {"depthwise dotprod", PITH_ISA_NEON_DOTPROD, true, &pith_depthwise_s8_dotprod, pith_depthwise_s8_pack, NULL, .terms = true},
#endif
    {"depthwise neon", PITH_ISA_NEON, true, &pith_depthwise_s8_neon, pith_depthwise_s8_pack, NULL, .terms = true},
    {"depthwise neon wide", PITH_ISA_NEON, true, &pith_depthwise_s8_neon_wide, pith_depthwise_s8_pack, NULL, .terms = true},
#if PITH_ARM_DOTS
    {"sparse i8mm", PITH_ISA_NEON_I8MM, false, &pith_sparse_s8_i8mm, pith_sparse_s8_pack, pith_sparse_s8_pays},
    {"dense i8mm", PITH_ISA_NEON_I8MM, false, &pith_dense_s8_i8mm, pith_dense_s8_pack, NULL, .terms = true},
    {"sparse dotprod", PITH_ISA_NEON_DOTPROD, false, &pith_sparse_s8_dotprod, pith_sparse_s8_pack, pith_sparse_s8_pays},
    {"dense dotprod", PITH_ISA_NEON_DOTPROD, false, &pith_dense_s8_dotprod, pith_dense_s8_pack, NULL, .terms = true},
#endif
    {"sparse neon", PITH_ISA_NEON, false, &pith_sparse_s8_neon, pith_sparse_s8_pack, pith_sparse_s8_pays},
    {"sparse neon wide", PITH_ISA_NEON, false, &pith_sparse_s8_neon_wide, pith_sparse_s8_pack, pith_sparse_s8_pays},
    {"winograd 4x4 neon", PITH_ISA_NEON, false, &pith_winograd_s8_large_neon, pith_winograd_s8_pack,
     pith_winograd_s8_pays},
    {"winograd neon", PITH_ISA_NEON, false, &pith_winograd_s8_neon, pith_winograd_s8_pack, pith_winograd_s8_pays},
    {"2:4 neon", PITH_ISA_NEON, false, &pith_two_of_four_s8_neon, pith_dense_s8_pack, pith_two_of_four_s8_pays},
    {"dense neon", PITH_ISA_NEON, false, &pith_dense_s8_neon, pith_dense_s8_pack, NULL, .terms = true},
    {"dense neon wide", PITH_ISA_NEON, false, &pith_dense_s8_neon_wide, pith_dense_s8_pack, NULL, .terms = true},
#endif
    {0},
};

const struct pith_conv_s8_form *pith_conv_s8_form_at(const struct pith_conv_s8 *conv, size_t index)
{
    const bool depthwise = conv->in_channels == 1 && conv->out_channels == 1 && conv->groups > 1;

    for (const struct pith_conv_s8_form *f = forms; f->name; f++)
        if (pith_isa_runs(f->isa) && (!f->depthwise || depthwise) &&
            (!conv->blocks || f->blocks) && (!conv->two_terms || f->terms) && index-- == 0)
            return f;
    return NULL;
}

/* In parts by rows, or by channels where there are few rows. */
static uint32_t count_parts(const struct pith_conv_s8 *conv)
{
    const int64_t rows = conv->y.n * conv->y.h;
    const int64_t cuts =
        conv->groups > 1 ? 1 : (conv->y.c + PITH_CONV_S8_CUT - 1) / PITH_CONV_S8_CUT;

    return pith_parts_of(rows > cuts ? rows : cuts);
}

static void plan_parts(struct pith_step *step, const struct pith_conv_s8 *conv)
{
    step->parts = conv->parts ? conv->parts : count_parts(conv);
    step->scratch_bytes = (size_t) (conv->part_bytes * step->parts);
    if (!conv->part_bytes)
        step->rows = (struct pith_rows){conv->y.h, conv->stride[0], -conv->pad[0],
                                        (conv->kernel[0] - 1) * conv->dilation[0] - conv->pad[0]};
}

int pith_conv_s8_use(struct pith_step *step, const struct pith_conv_s8_form *form)
{
    struct pith_conv_s8 *conv = step->params;
    int rc = conv->weights  ? 0
             : conv->blocks ? 1 /* planned once: their weights are gone */
                            : pith_conv_s8_order(step, conv, NULL, NULL);

    if (rc == 0)
        rc = pith_conv_s8_keep_weights(step, conv);
    if (rc != 0)
        return rc;
    conv->part_bytes = conv->parts = 0;
    conv->reads = 0;
    conv->form = pith_conv_s8_plain;
    rc = form ? form->pack(step, conv, form->private) : 0;
    plan_parts(step, conv);
    return rc;
}

int pith_conv_s8_choose(struct pith_step *step, struct pith_conv_s8 *conv)
{
    const struct pith_conv_s8_form *form;

    conv->form = pith_conv_s8_plain;
    step->form = "plain";
    for (size_t i = 0; (form = pith_conv_s8_form_at(conv, i)); i++) {
        const bool taken = pith_isa_includes(pith_isa(), form->isa) &&
                           (!form->pays || form->pays(conv, form->private));
        const int rc = taken ? form->pack(step, conv, form->private) : 1;

        if (rc < 0)
            return rc;
        if (rc == 0) {
            pith_step_release(step, conv->weights);
            conv->weights = NULL;
            step->form = form->name;
            return 0;
        }
    }
    return pith_conv_s8_keep_weights(step, conv);
}

static int conv_prepare(struct pith_step *step, struct pith_error *err)
{
    struct pith_conv_s8 *conv = pith_step_alloc(step, sizeof *conv);
    int rc = conv ? check_types(step, err) : -ENOMEM;

    if (rc == 0)
        rc = pith_conv_s8_geometry(step, conv, err);
    if (rc == 0)
        rc = plan_values(step, conv, err);
    if (rc == 0)
        rc = pith_conv_s8_choose(step, conv);
    if (rc < 0)
        return rc;
    plan_parts(step, conv);
    step->taken_in = UINT32_C(1) << 1;
    if (pith_step_has_bias(step))
        step->taken_in |= UINT32_C(1) << 2;
    if (conv->to.adds && !conv->to.real && pith_image_equal(&conv->added, &conv->out))
        step->in_place = UINT32_C(1) << step->residual.input;
    step->params = conv;
    return 0;
}

/* ---- the definition ---- */

/* x: the first tap of the output pixel, first channel of its group. */
static int32_t plain_sum(const struct pith_conv_s8 *conv, const uint8_t *x, int64_t channel)
{
    const int64_t rows = pith_conv_s8_terms(conv) * conv->kernel[0];
    const int8_t *w = conv->weights + channel * rows * conv->kernel[1] * conv->in_channels;
    uint32_t sum = 0; /* wraps, as vectors do; the true sum, with the bias, fits */

    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < conv->kernel[1]; j++) {
            const uint8_t *tap = x + i % conv->kernel[0] * conv->dilation[0] * conv->in.row +
                                 j * conv->dilation[1] * conv->in.pixel;

            for (int64_t c = 0; c < conv->in_channels; c++)
                sum += (uint32_t) (pith_image_integer(tap[c]) * *w++);
        }
    return (int32_t) sum;
}

static void plain_pixel(const struct pith_conv_s8 *conv, const struct pith_conv_s8_data *data,
                        int64_t n, int64_t row, int64_t col, const struct pith_conv_s8_span *span)
{
    const int64_t out = n * conv->out.picture + row * conv->out.row + col * conv->out.pixel;
    const int64_t added = n * conv->added.picture + row * conv->added.row + col * conv->added.pixel;
    const uint8_t *x = data->x + n * conv->in.picture +
                       (row * conv->stride[0] - conv->pad[0]) * conv->in.row +
                       (col * conv->stride[1] - conv->pad[1]) * conv->in.pixel;

    for (int64_t m = span->channel; m < span->channel_end; m++) {
        const uint8_t *first = x + m / conv->out_channels * conv->in_channels;
        float f = conv->blocks
                      ? pith_requantize_slant(&conv->to, pith_blocks_s8_plain(conv, first, m))
                      : pith_requantize_real(&conv->to, m, plain_sum(conv, first, m));

        if (conv->to.adds)
            f = pith_requantize_add(&conv->to, f, pith_image_integer(data->added[added + m]));
        if (conv->to.real)
            ((float *) data->y)[out + m] = pith_requantize_limit(&conv->to, f);
        else
            ((uint8_t *) data->y)[out + m] = pith_requantize_store(&conv->to, f);
    }
}

void pith_conv_s8_plain(const struct pith_conv_s8 *conv, const struct pith_conv_s8_data *data,
                        const struct pith_conv_s8_span *span)
{
    for (int64_t row = span->row; row < span->row_end; row++)
        for (int64_t col = 0; col < conv->y.w; col++)
            plain_pixel(conv, data, row / conv->y.h, row % conv->y.h, col, span);
}

/* ---- running ---- */

static struct pith_conv_s8_data data_of(const struct pith_step *step, const struct pith_conv_s8 *conv)
{
    return (struct pith_conv_s8_data){
        .x = step->input[0].data,
        .added = conv->to.adds ? step->input[step->residual.input].data : NULL,
        .y = step->output[0].data};
}

static void conv_rows(struct pith_step *step, int64_t from, int64_t to)
{
    const struct pith_conv_s8 *conv = step->params;
    const struct pith_conv_s8_data data = data_of(step, conv);
    const struct pith_conv_s8_span span = {from, to, 0, conv->y.c};

    pith_image_zero_halo_rows(step, 0, from, to);
    conv->form(conv, &data, &span);
}

static void conv_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    const struct pith_conv_s8 *conv = step->params;
    struct pith_conv_s8_data data = data_of(step, conv);
    const int64_t rows = conv->y.n * conv->y.h;
    struct pith_conv_s8_span span = {0, rows, 0, conv->y.c};

    data.scratch = conv->part_bytes ? (uint8_t *) step->scratch + part * conv->part_bytes : NULL;
    if (rows >= step->parts) {
        span.row = pith_part_begin(rows, part, count);
        span.row_end = pith_part_begin(rows, part + 1, count);
    } else {
        const int64_t end = pith_part_begin(step->parts, part + 1, count) * PITH_CONV_S8_CUT;

        span.channel = pith_part_begin(step->parts, part, count) * PITH_CONV_S8_CUT;
        span.channel_end = end < conv->y.c ? end : conv->y.c;
    }
    pith_image_zero_halo_part(step, 0, part, count);
    if (span.row >= span.row_end || span.channel >= span.channel_end)
        return;
    conv->form(conv, &data, &span);
}

static int conv_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    conv_part(step, 0, 1);
    return 0;
}

#define EIGHT_BITS (PITH_BIT(INT8) | PITH_BIT(UINT8))

const struct pith_kernel pith_kernels_image_conv_s8[] = {
    {.op = "Conv",
     .name = "image_conv_s8",
     .types = {EIGHT_BITS, EIGHT_BITS | PITH_BIT(INT4) | PITH_BIT(UINT4)},
     .flags = PITH_KERNEL_QUANTIZED | PITH_KERNEL_CHANNELS_LAST | PITH_KERNEL_FUSES_ACTIVATION |
              PITH_KERNEL_FUSES_RESIDUAL | PITH_KERNEL_GIVES_FLOATS,
     .prepare = conv_prepare,
     .run = conv_run,
     .run_part = conv_part,
     .run_rows = conv_rows},
    {0},
};
