/* Quantized products with a constant matrix. See gemm_s8.h. */
#include "libpith/kernels/gemm_s8.h"

#include <errno.h>
#include <string.h>

#include "libpith/kernels/byte_grid.h"
#include "libpith/kernels/image_blocks_s8.h"
#include "libpith/kernels/image_conv_s16.h"
#include "libpith/kernels/narrow_s8.h"

#define FLIP                                                                                       \
    0x80 /* what brings a stored byte to the other 8-bit type: its zero point lies 128 off */

struct pith_gemm_s8 {
    struct pith_conv_s8 conv;
    struct pith_conv_s16 *words; /* rows of 16 bits: what multiplies them; else NULL */
    int32_t *sums; /* of a column's weights, where zero points come in a run; else NULL */
    bool copies; /* rows are brought to scratch first: of the other type, or read past their end */
    bool flips_in, flips_out;
};

/* b less its zero points (one a column, or one), one column after the other. */
static int order_b(struct pith_step *step, struct pith_conv_s8 *conv, int64_t b_depth,
                   int64_t b_col, const int32_t *zeros, bool one, struct pith_weight_sums *sums)
{
    const struct pith_tensor *b = &step->input[1];
    const int64_t depth = conv->in_channels;
    int8_t *to;

    if (b_depth == 1 && b_col == depth && pith_weights_are_narrow(b, zeros, one ? 1 : (size_t) conv->y.c)) {
        conv->weights = b->data; /* until they are packed */
        for (int64_t j = 0; j < conv->y.c; j++)
            pith_sum_weights(conv->weights + j * depth, depth, &sums[j]);
        return 0;
    }
    to = pith_step_alloc(step, conv->y.c * depth);
    if (!to)
        return -ENOMEM;
    conv->weights = to;
    for (int64_t j = 0; j < conv->y.c; j++)
        if (!pith_narrow_weights(b, j * b_col, b_depth, depth, zeros[one ? 0 : j],
                                 to + j * depth, &sums[j]))
            return 1;
    return 0;
}

/* The rows as one picture of one row of pixels. */
static void plan_picture(struct pith_conv_s8 *conv, int64_t rows, int64_t cols, int64_t depth)
{
    *conv = (struct pith_conv_s8){.x = {1, depth, 1, rows},
                                  .y = {1, cols, 1, rows},
                                  .in = {true, depth, rows * depth, rows * depth, 0, 0, 0, 0},
                                  .out = {true, cols, rows * cols, rows * cols, 0, 0, 0, 0},
                                  .groups = 1,
                                  .in_channels = depth,
                                  .out_channels = cols,
                                  .kernel = {1, 1},
                                  .stride = {1, 1},
                                  .dilation = {1, 1}};
}

/* Columns with one scale each. */
static int plan_columns(struct pith_step *step, struct pith_conv_s8 *conv, int64_t b_depth,
                        int64_t b_col, const double *sum_scale, const double *bias, int32_t a_zero)
{
    struct pith_weight_sums *sums = pith_step_alloc(step, conv->y.c * (int64_t) sizeof *sums);
    const struct pith_quantization *q = step->input_quantization[1];
    int rc = sums ? order_b(step, conv, b_depth, b_col, q->zero_point, q->count == 1, sums) : -ENOMEM;

    if (rc == 0)
        rc = pith_requantize_plan(step, &conv->to, conv->y.c, sum_scale, bias, sums, a_zero, NULL);
    pith_step_release(step, sums);
    return rc;
}

/* Columns with a scale for each block of the depth; scales lie as the matrix does. */
static int plan_blocks(struct pith_step *step, struct pith_conv_s8 *conv, int64_t b_depth,
                       int64_t b_col, const double *bias, int32_t a_zero)
{
    const int64_t size = step->input_quantization[1]->block_size,
                  count = (conv->in_channels + size - 1) / size;
    const struct pith_blocks_s8_layout layout = {b_depth == 1 ? count : 1,
                                                 b_depth == 1 ? 1 : conv->y.c, b_col, b_depth};

    if (step->input_quantization[1]->axis != (b_depth == 1 ? 1 : 0) ||
        !pith_blocks_s8_fit(step, conv, &layout))
        return 1;
    return pith_blocks_s8_plan(step, conv, &layout, bias, a_zero, NULL);
}

/* Rows of 16 bits. */
static int choose_words(struct pith_step *step, struct pith_gemm_s8 *gemm)
{
    if (!pith_conv_s16_forms[0])
        return 1;
    gemm->words = pith_step_alloc(step, sizeof *gemm->words);
    if (!gemm->words)
        return -ENOMEM;
    gemm->words->conv = gemm->conv;
    gemm->conv.weights = NULL; /* now those of words */
    gemm->copies = gemm->conv.in_channels % 2 != 0; /* pairs are read */
    return pith_conv_s16_pack(step, gemm->words);
}

static int choose_bytes(struct pith_step *step, struct pith_gemm_s8 *gemm)
{
    int rc = pith_conv_s8_choose(step, &gemm->conv);
    const int64_t reads = gemm->conv.reads ? gemm->conv.reads : 4;

    if (rc == 0 && gemm->conv.form == pith_conv_s8_plain && !gemm->conv.blocks)
        rc = 1;
    gemm->flips_in = step->input[0].dtype != pith_image_integer_dtype();
    gemm->flips_out = !gemm->conv.to.real && step->output[0].dtype != pith_image_integer_dtype();
    gemm->copies = gemm->flips_in || gemm->conv.in_channels % reads != 0;
    return rc;
}

/* With the form that is best for it. rc: what planning it has given. */
static int finish_plan(struct pith_step *step, struct pith_gemm_s8 *gemm, int rc)
{
    const bool words = step->input[0].dtype == PITH_INT16;
    const int64_t rows = gemm->conv.y.w, cols = gemm->conv.y.c,
                  bytes = rows * gemm->conv.in_channels * (words ? 2 : 1);

    if (rc == 0)
        rc = (words ? choose_words : choose_bytes)(step, gemm);
    if (rc != 0) {
        pith_step_release(step, gemm->conv.weights);
        pith_step_release(step, gemm->conv.to.bias);
        pith_step_release(step, gemm->conv.to.scale);
        pith_step_release(step, gemm->conv.to.long_bias);
        pith_step_release(step, gemm->sums);
        pith_step_release(step, gemm);
        return rc == -ENOTSUP ? 1 : rc;
    }
    /* the rows go to scratch first where the product can't take them as they lie */
    step->scratch_bytes = gemm->copies ? (size_t) bytes + PITH_IMAGE_SLACK_BYTES : 0;
    step->parts =
        gemm->copies ? 0 : pith_parts_of((cols + PITH_CONV_S8_CUT - 1) / PITH_CONV_S8_CUT);
    return 0;
}

/* 1 where the product is none for these tiles. */
static int begin_plan(struct pith_step *step, int64_t rows, int64_t cols, int64_t depth,
                      struct pith_gemm_s8 **out)
{
    struct pith_gemm_s8 *gemm;

    if (!step->input[1].data || rows < 1 || cols < 1 || depth < 1 || depth > PITH_SUM_DEPTH_LIMIT)
        return 1;
    gemm = pith_step_alloc(step, sizeof *gemm);
    if (!gemm)
        return -ENOMEM;
    plan_picture(&gemm->conv, rows, cols, depth);
    *out = gemm;
    return 0;
}

/* Sums to floats; bias and scale are filled in when it is run. */
static int plan_late(struct pith_step *step, struct pith_gemm_s8 *gemm, const int32_t *zeros)
{
    const int64_t cols = gemm->conv.y.c, padded = cols + PITH_REQUANTIZE_SPARE;
    struct pith_weight_sums *sums = pith_step_alloc(step, cols * (int64_t) sizeof *sums);
    int rc = sums ? order_b(step, &gemm->conv, cols, 1, zeros, false, sums) : -ENOMEM;

    gemm->conv.to = (struct pith_requantize){.bias = pith_step_alloc(step, padded * (int64_t) sizeof(int32_t)),
                                             .scale = pith_step_alloc(step, padded * (int64_t) sizeof(float)),
                                             .product_scale = 1.0F,
                                             .slope = 1.0F,
                                             .real = true,
                                             .real_low = -INFINITY,
                                             .real_high = INFINITY};
    gemm->sums = pith_step_alloc(step, cols * (int64_t) sizeof *gemm->sums);
    if (rc == 0 && (!gemm->conv.to.bias || !gemm->conv.to.scale || !gemm->sums))
        rc = -ENOMEM;
    for (int64_t j = 0; rc == 0 && j < cols; j++)
        gemm->sums[j] = (int32_t) sums[j].sum;
    pith_step_release(step, sums);
    return rc;
}

int pith_gemm_s8_plan_late(struct pith_step *step, int64_t rows, int64_t cols, int64_t depth,
                           const int32_t *zeros, struct pith_gemm_s8 **out)
{
    struct pith_gemm_s8 *gemm;
    int rc = begin_plan(step, rows, cols, depth, &gemm);

    if (rc == 0)
        rc = finish_plan(step, gemm, plan_late(step, gemm, zeros));
    if (rc == 0)
        *out = gemm;
    return rc;
}

void pith_gemm_s8_set(struct pith_gemm_s8 *gemm, int64_t from, int64_t to, int32_t a_zero,
                      const float *scale, bool one)
{
    if (gemm->flips_in)
        a_zero += pith_image_integer_dtype() == PITH_UINT8 ? 128 : -128;
    for (int64_t j = from; j < to; j++) {
        gemm->conv.to.bias[j] = -a_zero * gemm->sums[j];
        gemm->conv.to.scale[j] = scale[one ? 0 : j];
    }
}

void pith_gemm_s8_cut(const struct pith_gemm_s8 *gemm, uint32_t part, uint32_t count,
                      int64_t *out_from, int64_t *out_to)
{
    const int64_t cols = gemm->conv.y.c, cuts = (cols + PITH_CONV_S8_CUT - 1) / PITH_CONV_S8_CUT,
                  end = pith_part_begin(cuts, part + 1, count) * PITH_CONV_S8_CUT;

    *out_from = pith_part_begin(cuts, part, count) * PITH_CONV_S8_CUT;
    *out_to = end < cols ? end : cols;
}

int pith_gemm_s8_plan(struct pith_step *step, int64_t rows, int64_t cols, int64_t depth,
                      int64_t b_depth, int64_t b_col, const double *sum_scale, const double *bias,
                      struct pith_gemm_s8 **out)
{
    const bool words = step->input[0].dtype == PITH_INT16,
               blocks = step->input_quantization[1]->block_size != 0;
    const int32_t stored = words ? PITH_INT16 : pith_image_integer_dtype();
    const int32_t shift = stored == PITH_UINT8 ? 128 : -128;
    const int32_t a_zero = pith_stored_zero(step->input_quantization[0], stored);
    struct pith_gemm_s8 *gemm;
    int rc = begin_plan(step, rows, cols, depth, &gemm);

    if (rc != 0)
        return rc;
    if (words && (blocks || !pith_is_word_grid(step->input_quantization[0])))
        rc = 1;
    else if (blocks)
        rc = plan_blocks(step, &gemm->conv, b_depth, b_col, bias, a_zero);
    else
        rc = plan_columns(step, &gemm->conv, b_depth, b_col, sum_scale, bias, a_zero);
    rc = finish_plan(step, gemm, rc);
    if (rc != 0)
        return rc;
    if (gemm->flips_out) {
        struct pith_requantize *to = &gemm->conv.to;

        to->zero += shift;
        to->low += shift;
        to->high += shift;
        to->limits = to->low != 0 || to->high != 255;
    }
    *out = gemm;
    return 0;
}

static void run_words(const struct pith_gemm_s8 *gemm, struct pith_step *step, int64_t first,
                      int64_t end)
{
    const int64_t rows = gemm->conv.y.w, depth = gemm->conv.in_channels;
    struct pith_conv_s16_data data = {.x = step->input[0].data, .y = step->output[0].data};

    if (gemm->copies) {
        memcpy(step->scratch, data.x, (size_t) (rows * depth) * sizeof *data.x);
        data.x = step->scratch;
    }
    pith_conv_s16_run(gemm->words, &data, &(struct pith_conv_s8_span){0, 1, first, end});
}

void pith_gemm_s8_part(const struct pith_gemm_s8 *gemm, struct pith_step *step, uint32_t part,
                       uint32_t count)
{
    const struct pith_conv_s8 *conv = &gemm->conv;
    const int64_t rows = conv->y.w, cols = conv->y.c, bytes = rows * conv->in_channels;
    struct pith_conv_s8_data data = {.x = step->input[0].data, .y = step->output[0].data};
    int64_t first, end;

    pith_gemm_s8_cut(gemm, part, count, &first, &end);
    if (gemm->words) {
        run_words(gemm, step, first, end);
        return;
    }
    if (gemm->copies) {
        if (gemm->flips_in)
            pith_byte_grid_form()->flip(NULL, data.x, step->scratch, bytes);
        else
            memcpy(step->scratch, data.x, (size_t) bytes);
        data.x = step->scratch;
    }
    if (first >= end)
        return;
    conv->form(conv, &data, &(struct pith_conv_s8_span){0, 1, first, end});
    for (int64_t i = 0; gemm->flips_out && i < rows; i++)
        for (int64_t j = first; j < end; j++)
            ((uint8_t *) data.y)[i * cols + j] ^= FLIP;
}
