/* Integer matrix products: MatMul and Gemm between quantized values: packed weights, int32 sums, one
 * float multiplication. Those whose scales and zero points are inputs: matmul_integer.c. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/gemm.h"
#include "libpith/kernels/gemm_s8.h"
#include "libpith/kernels/requantize.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define DEPTH_LIMIT 16384 /* 255 * 255 * depth < 2^31, with room for a bias */

struct integer_matmul {
    const struct pith_gemm_form *form;
    int64_t rows, cols, depth, even;
    int64_t b_depth, b_col;
    const int16_t *b; /* packed; NULL: in each run, behind the rows in scratch */
    int32_t a_zero, b_zero;
    bool a_signed, b_signed;
    int32_t *bias;
    float *scale;
    int32_t y_zero, least, greatest;
    bool real; /* floats come out: words are summed where those go, and then scaled there */
    struct pith_activation activation;
    struct pith_gemm_s8
        *bytes; /* where values are multiplied as they are: then nothing below the shape is used */
};

static bool per_tensor(const struct pith_quantization *q)
{
    return q && q->count == 1 && q->block_size == 0;
}

static bool is_eight_bits(int32_t dtype)
{
    return dtype == PITH_INT8 || dtype == PITH_UINT8;
}

static bool is_four_bits(int32_t dtype)
{
    return dtype == PITH_INT4 || dtype == PITH_UINT4;
}

static int plan_shape(struct pith_step *step, struct integer_matmul *m, int32_t *out_axis,
                      struct pith_error *err)
{
    const struct pith_shape *a = &step->input[0].shape, *b = &step->input[1].shape;
    const bool gemm = strcmp(step->kernel->op, "Gemm") == 0;
    const bool trans_b = gemm && pith_node_int(step->graph, step->node, "transB", 0) != 0;

    if (a->rank < 2 || b->rank != 2 || (gemm && a->rank != 2) ||
        (gemm && (pith_node_int(step->graph, step->node, "transA", 0) != 0 ||
                  pith_node_float(step->graph, step->node, "alpha", 1.0F) != 1.0F ||
                  pith_node_float(step->graph, step->node, "beta", 1.0F) != 1.0F)))
        return pith_step_fail(step, err, -ENOTSUP, "this form has no integer kernel");
    m->depth = a->dim[a->rank - 1];
    m->rows = pith_dims_product(a, 0, a->rank - 1);
    m->cols = b->dim[trans_b ? 0 : 1];
    if (b->dim[trans_b ? 1 : 0] != m->depth)
        return pith_step_fail(step, err, -EINVAL, "%lld columns against %lld rows",
                              (long long) m->depth, (long long) b->dim[trans_b ? 1 : 0]);
    if (m->depth > DEPTH_LIMIT)
        return pith_step_fail(step, err, -ENOTSUP, "sums of %lld products may pass int32",
                              (long long) m->depth);
    m->even = (m->depth + 1) / 2 * 2;
    m->b_depth = trans_b ? 1 : m->cols;
    m->b_col = trans_b ? m->depth : 1;
    m->form = pith_gemm_form();
    step->macs = (uint64_t) (m->rows * m->cols * m->depth);
    *out_axis = trans_b ? 0 : 1;
    return 0;
}

static int plan_b(struct pith_step *step, struct integer_matmul *m,
                  const struct pith_quantization *bq, struct pith_error *err)
{
    const int64_t packed = pith_gemm_packed(m->form, m->even, m->cols) * (int64_t) sizeof(int16_t);
    const int64_t rows = m->rows * m->even * (int64_t) sizeof(int16_t);

    if (packed > PITH_STEP_MAX_BYTES || rows > PITH_STEP_MAX_BYTES)
        return pith_step_fail(step, err, -EINVAL, "the product is too large");
    step->scratch_bytes = (size_t) ((rows + 63) / 64 * 64);
    if (step->input[1].data) {
        int16_t *b = pith_step_alloc(step, packed);
        int8_t *copy = NULL;

        if (is_four_bits(step->input[1].dtype)) {
            copy = pith_step_alloc(step, m->depth * m->cols);
            for (int64_t i = 0; copy && i < m->depth * m->cols; i++)
                copy[i] = (int8_t) pith_tensor_get_int(&step->input[1], i);
        }
        if (!b || (is_four_bits(step->input[1].dtype) && !copy))
            return -ENOMEM;
        pith_gemm_pack_s16(m->form, b, copy ? copy : step->input[1].data, m->b_signed, m->b_depth,
                           m->b_col, m->depth, m->cols, bq->zero_point, bq->count == 1);
        pith_step_release(step, copy);
        m->b = pith_step_share(step, b);
    } else {
        step->scratch_bytes += (size_t) packed;
    }
    return 0;
}

/* Gemm's C, the same for all rows: real, a column; *out NULL where there is none. */
static int read_c(struct pith_step *step, int64_t cols, double **out, struct pith_error *err)
{
    const struct pith_tensor *c = &step->input[2];
    const struct pith_quantization *q = step->input_count > 2 ? step->input_quantization[2] : NULL;
    const int64_t count = pith_step_has(step, 2) ? pith_shape_elements(&c->shape) : 0;
    double *real = NULL;

    *out = NULL;
    if (!pith_step_has(step, 2))
        return 0;
    if (!c->data || (count != 1 && count != cols) || (c->shape.rank == 2 && c->shape.dim[0] != 1) ||
        c->shape.rank > 2 || (!q && c->dtype != PITH_FLOAT32) ||
        (q && (q->block_size != 0 || (q->count != 1 && (int64_t) q->count != count))))
        return pith_step_fail(step, err, -ENOTSUP, "this C is not one for the integer kernel");
    real = pith_step_alloc(step, cols * (int64_t) sizeof *real);
    if (!real)
        return -ENOMEM;
    for (int64_t j = 0; j < cols; j++) {
        const int64_t at = count == 1 ? 0 : j, grid = q && q->count > 1 ? at : 0;

        real[j] = q ? (double) (pith_tensor_get_int(c, at) - q->zero_point[grid]) *
                          (double) q->scale[grid]
                    : pith_tensor_get(c, at);
        if (isnan(real[j]))
            return pith_step_fail(step, err, -ENOTSUP, "an entry of C is no number");
    }
    *out = real;
    return 0;
}

static int plan_bias(struct pith_step *step, struct integer_matmul *m, const double *sum_scale,
                     const double *real, struct pith_error *err)
{
    m->bias = pith_step_alloc(step, m->cols * (int64_t) sizeof *m->bias);
    if (!m->bias)
        return -ENOMEM;
    for (int64_t j = 0; real && j < m->cols; j++)
        if (!pith_bias_in_sums(real[j], sum_scale[j], (double) m->scale[j], m->real, &m->bias[j]))
            return pith_step_fail(step, err, -ENOTSUP, "this bias passes what int32 sums hold");
    return 0;
}

static bool types_fit(const struct pith_step *step)
{
    const struct pith_quantization *aq = step->input_quantization[0],
                                   *bq = step->input_quantization[1],
                                   *yq = step->output_quantization[0];

    return per_tensor(aq) && bq && (bq->block_size == 0 || step->input[1].data) &&
           (is_eight_bits(step->input[1].dtype) ||
            (is_four_bits(step->input[1].dtype) && step->input[1].data)) &&
           (yq ? per_tensor(yq) && (is_eight_bits(step->output[0].dtype) ||
                                    step->output[0].dtype == PITH_INT16)
               : step->output[0].dtype == PITH_FLOAT32);
}

static void plan_store(const struct pith_step *step, struct integer_matmul *m, float y_scale)
{
    const struct pith_quantization *yq = step->output_quantization[0];

    m->real = !yq;
    m->y_zero = yq ? yq->zero_point[0] : 0;
    m->least = step->output[0].dtype == PITH_INT8 ? -128 : 0;
    m->greatest = m->least + 255;
    m->activation = step->activation;
    m->activation.low /= y_scale;
    m->activation.high /= y_scale;
}

static int integer_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_quantization *aq = step->input_quantization[0],
                                   *bq = step->input_quantization[1],
                                   *yq = step->output_quantization[0];
    const float y_scale = yq ? yq->scale[0] : 1.0F;
    struct integer_matmul *m = pith_step_alloc(step, sizeof *m);
    double *sum_scale, *real_bias;
    int32_t axis = 0;
    int rc;

    if (!m)
        return -ENOMEM;
    step->params = m;
    if (!types_fit(step))
        return pith_step_fail(step, err, -ENOTSUP,
                              "this quantization is not one for the integer kernel");
    rc = plan_shape(step, m, &axis, err);
    if (rc == 0 && bq->block_size == 0 && bq->count > 1 && (bq->axis != axis || (int64_t) bq->count != m->cols))
        rc = pith_step_fail(step, err, -ENOTSUP, "weight scales along the sum");
    if (rc < 0)
        return rc;
    m->a_zero = aq->zero_point[0];
    m->b_zero = bq->zero_point[0];
    m->a_signed = step->input[0].dtype == PITH_INT8;
    m->b_signed = step->input[1].dtype != PITH_UINT8; /* four bits are packed as int8 */
    sum_scale = pith_step_alloc(step, m->cols * (int64_t) sizeof *sum_scale);
    m->scale = pith_step_alloc(step, m->cols * (int64_t) sizeof *m->scale);
    if (!sum_scale || !m->scale)
        return -ENOMEM;
    for (int64_t j = 0; j < m->cols; j++) {
        sum_scale[j] = (double) aq->scale[0] *
                       (double) bq->scale[bq->count > 1 && bq->block_size == 0 ? j : 0];
        m->scale[j] = (float) (sum_scale[j] / (double) y_scale);
    }
    plan_store(step, m, y_scale);
    rc = read_c(step, m->cols, &real_bias, err);
    if (rc < 0)
        return rc;
    rc = pith_gemm_s8_plan(step, m->rows, m->cols, m->depth, m->b_depth, m->b_col, sum_scale,
                           real_bias, &m->bytes);
    if (rc == 1 && (step->input[0].dtype == PITH_INT16 || step->output[0].dtype == PITH_INT16))
        return pith_step_fail(step, err, -ENOTSUP, "such 16-bit integers are for floats");
    if (rc == 1 && bq->block_size != 0)
        return pith_step_fail(step, err, -ENOTSUP, "blocks of such weights are for floats");
    if (rc == 1) {
        step->form = "words";
        rc = plan_bias(step, m, sum_scale, real_bias, err);
        if (rc == 0)
            rc = plan_b(step, m, bq, err);
    }
    pith_step_release(step, sum_scale);
    pith_step_release(step, real_bias);
    if (m->bytes || m->b)
        step->taken_in = UINT32_C(1) << 1 | UINT32_C(1) << 2;
    return rc;
}

static void widen_rows(const struct pith_step *step, const struct integer_matmul *m, int16_t *rows)
{
    const uint8_t *a = step->input[0].data;

    for (int64_t i = 0; i < m->rows; i++) {
        int16_t *to = rows + i * m->even;
        const uint8_t *from = a + i * m->depth;

        if (m->even > 0)
            to[m->even - 1] = 0; /* overwritten where depth is even */
        if (m->a_signed)
            for (int64_t p = 0; p < m->depth; p++)
                to[p] = (int16_t) ((int8_t) from[p] - m->a_zero);
        else
            for (int64_t p = 0; p < m->depth; p++)
                to[p] = (int16_t) (from[p] - m->a_zero);
    }
}

/* The same operations as requantize.h names, on sums that lie where the floats go. */
static void scale_sums(const struct integer_matmul *m, void *y)
{
    int32_t *sums = y;
    float *reals = y;

    for (int64_t i = 0; i < m->rows; i++, sums += m->cols, reals += m->cols)
        for (int64_t j = 0; j < m->cols; j++) {
            const float f = (float) (sums[j] + m->bias[j]) * m->scale[j];

            reals[j] = m->activation.set ? pith_activate(&m->activation, f) : f;
        }
}

static int integer_run(struct pith_step *step, struct pith_error *err)
{
    const struct integer_matmul *m = step->params;
    const int64_t row_bytes = (m->rows * m->even * (int64_t) sizeof(int16_t) + 63) / 64 * 64;
    int16_t *rows = step->scratch, *b = (int16_t *) ((uint8_t *) step->scratch + row_bytes);

    (void) err;
    if (m->bytes) {
        pith_gemm_s8_part(m->bytes, step, 0, 1);
        return 0;
    }
    widen_rows(step, m, rows);
    if (!m->b)
        pith_gemm_pack_s16(m->form, b, step->input[1].data, m->b_signed, m->b_depth, m->b_col,
                           m->depth, m->cols, &m->b_zero, true);
    m->form->s16(&(struct pith_gemm_s16){
        .rows = m->rows,
        .cols = m->cols,
        .depth = m->even,
        .a = rows,
        .a_row = m->even,
        .b = m->b ? m->b : b,
        .sums = m->real ? step->output[0].data : NULL,
        .out = step->output[0].data,
        .out_row = m->cols,
        .col_bias = m->bias,
        .col_scale = m->scale,
        .zero_point = m->y_zero,
        .least = m->least,
        .greatest = m->greatest,
        .activation = m->activation,
    });
    if (m->real)
        scale_sums(m, step->output[0].data);
    return 0;
}

/* step->parts is 0 where words are multiplied: then it is never called. */
static void integer_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    const struct integer_matmul *m = step->params;

    pith_gemm_s8_part(m->bytes, step, part, count);
}

#define BYTES (PITH_BIT(INT8) | PITH_BIT(UINT8))
#define ENTRY(operator, of, title, rows)                                                           \
    {                                                                                              \
        .op = operator, .domain = of, .name = title,                                               \
        .types = {rows,                                                                            \
                  PITH_BIT(INT8) | PITH_BIT(UINT8) | PITH_BIT(INT4) | PITH_BIT(UINT4)},            \
        .flags =                                                                                   \
            PITH_KERNEL_QUANTIZED | PITH_KERNEL_FUSES_ACTIVATION | PITH_KERNEL_GIVES_FLOATS,       \
        .prepare = integer_prepare, .run = integer_run, .run_part = integer_part                   \
    }

const struct pith_kernel pith_kernels_integer_matmul[] = {
    ENTRY("MatMul", NULL, "matmul_s8", BYTES),
    ENTRY("MatMul", PITH_FUSED_DOMAIN, "matmul_s8", BYTES), /* with a bias */
    ENTRY("Gemm", NULL, "gemm_s8", BYTES),
    ENTRY("MatMul", NULL, "matmul_s16", PITH_BIT(INT16)),
    ENTRY("MatMul", PITH_FUSED_DOMAIN, "matmul_s16", PITH_BIT(INT16)),
    ENTRY("Gemm", NULL, "gemm_s16", PITH_BIT(INT16)),
    {0},
};
