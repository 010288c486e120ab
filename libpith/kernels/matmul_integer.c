/* Integer products whose zero points and scales are inputs: MatMulInteger, QLinearMatMul, and the
 * engine's MatMulInteger that scales its sums to floats, as graphs do whose activations are
 * quantized while they run. Sums are exact int32, of words; where a constant matrix meets rows with
 * one zero point and floats come out, of bytes, on the tiles of gemm_s8.h. */
#include "libpith/kernels/batches.h"
#include "libpith/kernels/families.h"
#include "libpith/kernels/gemm.h"
#include "libpith/kernels/gemm_s8.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define DEPTH_LIMIT 16384 /* 255 * 255 * depth < 2^31 */

enum store { STORE_SUMS, STORE_GRID, STORE_FLOATS };

struct product {
    enum store store;
    const struct pith_gemm_form *form;
    int64_t rows, cols, depth, even;
    struct pith_batches batch;
    size_t a_zero, b_zero, a_scale, b_scale, y_scale, y_zero, b, bias; /* which inputs; 0: none */
    const int16_t *packed;      /* b, less its zero points; NULL: in each run, into scratch */
    struct pith_gemm_s8 *bytes; /* where bytes are multiplied as they are; else NULL */
    int64_t packed_bytes, rows_bytes, zeros_bytes; /* of scratch, in this order, then a batch's sums */
};

static int64_t entries(const struct pith_step *step, size_t input)
{
    return input == 0 || !pith_step_has(step, input)
               ? 0
               : pith_shape_elements(&step->input[input].shape);
}

/* One entry, or one a row (column); or left out. */
static bool fits(const struct pith_step *step, size_t input, int64_t count)
{
    const int64_t n = entries(step, input);

    return n == 1 || n == count || input == 0 || !pith_step_has(step, input);
}

static bool is_zero(const struct pith_step *step, size_t input)
{
    const int32_t dtype = pith_step_has(step, input) ? step->input[input].dtype : PITH_INT8;

    return input == 0 || dtype == PITH_INT8 || dtype == PITH_UINT8;
}

static bool is_float(const struct pith_step *step, size_t input)
{
    return pith_step_has(step, input) && step->input[input].dtype == PITH_FLOAT32;
}

static bool types_fit(const struct pith_step *step, const struct product *m)
{
    if (m->store == STORE_FLOATS &&
        (!is_float(step, m->b_scale) || (pith_step_has(step, m->bias) && !is_float(step, m->bias)) ||
         step->input[1].shape.rank != 2))
        return false;
    return is_zero(step, m->a_zero) && is_zero(step, m->b_zero) && is_zero(step, m->y_zero);
}

static void name_inputs(const struct pith_step *step, struct product *m)
{
    m->store = strcmp(step->kernel->op, "QLinearMatMul") == 0 ? STORE_GRID
               : step->kernel->domain                         ? STORE_FLOATS
                                                              : STORE_SUMS;
    m->b = m->store == STORE_GRID ? 3 : 1;
    m->a_zero = 2;
    m->b_zero = m->store == STORE_GRID ? 5 : 3;
    if (m->store == STORE_GRID) {
        m->a_scale = 1;
        m->b_scale = 4;
        m->y_scale = 6;
        m->y_zero = 7;
    } else if (m->store == STORE_FLOATS) {
        m->b_scale = 4; /* of sums */
        m->bias = 5;
    }
}

static int plan_batches(struct pith_step *step, struct product *m, const struct pith_shape *a,
                        const struct pith_shape *b, struct pith_error *err)
{
    int rc = pith_batches_plan(step, a, m->rows * m->depth, b, m->depth * m->cols, &m->batch, err);

    if (rc < 0)
        return rc;
    /* one b for all: the batches of a are more rows */
    if (!m->batch.b_batched && a->rank >= b->rank && entries(step, m->a_zero) <= 1 &&
        entries(step, m->a_scale) <= 1) {
        m->rows *= m->batch.count;
        pith_batches_join(&m->batch);
    }
    return 0;
}

static int plan_shape(struct pith_step *step, struct product *m, struct pith_error *err)
{
    struct pith_shape a = step->input[0].shape, b = step->input[m->b].shape;

    if (a.rank < 1 || b.rank < 1)
        return pith_step_fail(step, err, -EINVAL, "a scalar has no matrix product");
    if (a.rank == 1)
        a = (struct pith_shape){2, {1, a.dim[0]}};
    if (b.rank == 1)
        b = (struct pith_shape){2, {b.dim[0], 1}};
    m->rows = a.dim[a.rank - 2];
    m->depth = a.dim[a.rank - 1];
    m->cols = b.dim[b.rank - 1];
    m->even = (m->depth + 1) / 2 * 2;
    if (m->depth > DEPTH_LIMIT)
        return pith_step_fail(step, err, -ENOTSUP, "sums of %lld products may pass int32",
                              (long long) m->depth);
    if (b.dim[b.rank - 2] != m->depth)
        return pith_step_fail(step, err, -EINVAL, "%lld columns against %lld rows",
                              (long long) m->depth, (long long) b.dim[b.rank - 2]);
    if (!fits(step, m->a_zero, m->rows) || !fits(step, m->a_scale, m->rows) ||
        !fits(step, m->b_zero, m->cols) || !fits(step, m->b_scale, m->cols) ||
        !fits(step, m->y_scale, 1) || !fits(step, m->y_zero, 1) ||
        (m->bias && pith_step_has(step, m->bias) && entries(step, m->bias) != m->cols))
        return pith_step_fail(step, err, -ENOTSUP, "scales and zero points per batch");
    return plan_batches(step, m, &a, &b, err);
}

static int32_t eight_bits(const struct pith_tensor *tensor, int64_t at)
{
    return tensor->dtype == PITH_INT8 ? ((const int8_t *) tensor->data)[at]
                                      : ((const uint8_t *) tensor->data)[at];
}

/* Zero point number `at` of as many as there are; 0 where they are left out. */
static int32_t zero_of(const struct pith_step *step, size_t input, int64_t at)
{
    const int64_t count = entries(step, input);

    return count == 0 ? 0 : eight_bits(&step->input[input], count == 1 ? 0 : at);
}

static double real_of(const struct pith_step *step, size_t input, int64_t at)
{
    const int64_t count = entries(step, input);

    return count == 0 ? 1.0 : pith_tensor_get(&step->input[input], count == 1 ? 0 : at);
}

static void read_zeros(const struct pith_step *step, const struct product *m, int32_t *zeros)
{
    for (int64_t j = 0; j < m->cols; j++)
        zeros[j] = zero_of(step, m->b_zero, j);
}

static void pack(const struct pith_step *step, const struct product *m, int64_t at,
                 const int32_t *zeros, int16_t *to)
{
    pith_gemm_pack_s16(m->form, to, (const uint8_t *) step->input[m->b].data + at,
                       step->input[m->b].dtype == PITH_INT8, m->cols, 1, m->depth, m->cols, zeros,
                       false);
}

/* Tiles of bytes, where they fit; else 1. */
static int plan_bytes(struct pith_step *step, struct product *m, const int32_t *zeros)
{
    if (m->store != STORE_FLOATS || m->batch.count != 1 || entries(step, m->a_zero) > 1)
        return 1;
    return pith_gemm_s8_plan_late(step, m->rows, m->cols, m->depth, zeros, &m->bytes);
}

/* A constant matrix with constant zero points is packed here. */
static int plan_constant(struct pith_step *step, struct product *m)
{
    int32_t *zeros;
    int16_t *packed;
    int rc;

    if (!step->input[m->b].data || m->batch.b_batched ||
        (pith_step_has(step, m->b_zero) && !step->input[m->b_zero].data))
        return 0;
    zeros = pith_step_alloc(step, m->zeros_bytes);
    if (!zeros)
        return -ENOMEM;
    read_zeros(step, m, zeros);
    rc = plan_bytes(step, m, zeros);
    if (rc == 1) {
        packed = pith_step_alloc(step, m->packed_bytes);
        if (!packed)
            return -ENOMEM;
        pack(step, m, 0, zeros, packed);
        m->packed = pith_step_share(step, packed);
        rc = 0;
    }
    pith_step_release(step, zeros);
    step->taken_in = UINT32_C(1) << m->b | UINT32_C(1) << m->b_zero;
    return rc;
}

static int product_prepare(struct pith_step *step, struct pith_error *err)
{
    struct product *m = pith_step_alloc(step, sizeof *m);
    int64_t sums;
    int rc;

    if (!m)
        return -ENOMEM;
    step->params = m;
    name_inputs(step, m);
    m->form = pith_gemm_form();
    if (!types_fit(step, m))
        return pith_step_fail(step, err, -EINVAL, "its scales or zero points are of other types");
    rc = plan_shape(step, m, err);
    if (rc < 0)
        return rc;
    m->packed_bytes = (pith_gemm_packed(m->form, m->even, m->cols) * 2 + 63) / 64 * 64;
    m->rows_bytes = (m->rows * m->even * 2 + 63) / 64 * 64;
    m->zeros_bytes = (m->cols * 4 + 63) / 64 * 64;
    sums = m->store == STORE_GRID ? m->rows * m->cols * 4 : 0;
    if (m->packed_bytes + m->rows_bytes + m->zeros_bytes + sums > PITH_STEP_MAX_BYTES)
        return pith_step_fail(step, err, -EINVAL, "the product is too large");
    step->macs = (uint64_t) (m->batch.count * m->rows * m->cols * m->depth);
    rc = plan_constant(step, m);
    if (rc < 0 || m->bytes)
        return rc;
    if (m->packed)
        m->packed_bytes = m->zeros_bytes = 0;
    step->scratch_bytes = (size_t) (m->packed_bytes + m->rows_bytes + m->zeros_bytes + sums);
    return 0;
}

/* ---- run ---- */

static void widen_rows(const struct pith_step *step, const struct product *m, int64_t at,
                       int16_t *rows)
{
    const bool is_signed = step->input[0].dtype == PITH_INT8;

    for (int64_t i = 0; i < m->rows; i++) {
        const uint8_t *from = (const uint8_t *) step->input[0].data + at + i * m->depth;
        const int32_t zero = zero_of(step, m->a_zero, i);
        int16_t *to = rows + i * m->even;

        if (m->even > 0)
            to[m->even - 1] = 0; /* overwritten where depth is even */
        if (is_signed)
            for (int64_t p = 0; p < m->depth; p++)
                to[p] = (int16_t) ((int8_t) from[p] - zero);
        else
            for (int64_t p = 0; p < m->depth; p++)
                to[p] = (int16_t) (from[p] - zero);
    }
}

static void store_grid(const struct pith_step *step, const struct product *m, const int32_t *sums,
                       uint8_t *y)
{
    const double least = step->output[0].dtype == PITH_INT8 ? -128.0 : 0.0,
                 zero = (double) zero_of(step, m->y_zero, 0), y_scale = real_of(step, m->y_scale, 0);

    for (int64_t i = 0; i < m->rows; i++) {
        const double a_scale = real_of(step, m->a_scale, i);

        for (int64_t j = 0; j < m->cols; j++) {
            double q = nearbyint((double) sums[i * m->cols + j] * a_scale *
                                 real_of(step, m->b_scale, j) / y_scale) +
                       zero;

            q = !(q > least) ? least : q > least + 255.0 ? least + 255.0 : q;
            y[i * m->cols + j] = (uint8_t) (int32_t) q;
        }
    }
}

/* Sums lie where the floats go. */
static void store_floats(const struct pith_step *step, const struct product *m, void *y)
{
    const float *scale = step->input[m->b_scale].data;
    const bool one = entries(step, m->b_scale) == 1;
    const int32_t *sums = y;
    float *reals = y;

    for (int64_t i = 0; i < m->rows; i++)
        for (int64_t j = 0; j < m->cols; j++)
            reals[i * m->cols + j] = (float) sums[i * m->cols + j] * scale[one ? 0 : j];
}

/* Columns from..to-1. */
static void add_bias(const struct pith_step *step, const struct product *m, int64_t from, int64_t to)
{
    const float *bias = pith_step_has(step, m->bias) ? step->input[m->bias].data : NULL;
    float *y = step->output[0].data;

    for (int64_t i = 0; bias && i < m->rows * m->batch.count; i++, y += m->cols)
        for (int64_t j = from; j < to; j++)
            y[j] += bias[j];
}

static void run_batch(struct pith_step *step, const struct product *m, int64_t batch, bool again)
{
    int16_t *packed = step->scratch,
            *rows = (int16_t *) ((uint8_t *) step->scratch + m->packed_bytes);
    int32_t *zeros = (int32_t *) ((uint8_t *) rows + m->rows_bytes),
            *sums = (int32_t *) ((uint8_t *) zeros + m->zeros_bytes);
    const int64_t at = batch * m->rows * m->cols;
    int64_t a, b;

    pith_batches_at(&m->batch, batch, &a, &b);
    widen_rows(step, m, a, rows);
    if (!m->packed && again) {
        read_zeros(step, m, zeros);
        pack(step, m, b, zeros, packed);
    }
    if (m->store != STORE_GRID)
        sums = (int32_t *) step->output[0].data + at;
    m->form->s16(&(struct pith_gemm_s16){.rows = m->rows,
                                         .cols = m->cols,
                                         .depth = m->even,
                                         .a = rows,
                                         .a_row = m->even,
                                         .b = m->packed ? m->packed : packed,
                                         .sums = sums,
                                         .out_row = m->cols,
                                         .activation = PITH_ACTIVATION_NONE});
    if (m->store == STORE_GRID)
        store_grid(step, m, sums, (uint8_t *) step->output[0].data + at);
    else if (m->store == STORE_FLOATS)
        store_floats(step, m, sums);
}

/* step->parts is 0 where words are multiplied: then it is never called. */
static void product_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    const struct product *m = step->params;
    int64_t from, to;

    pith_gemm_s8_cut(m->bytes, part, count, &from, &to);
    pith_gemm_s8_set(m->bytes, from, to, zero_of(step, m->a_zero, 0), step->input[m->b_scale].data,
                     entries(step, m->b_scale) == 1);
    pith_gemm_s8_part(m->bytes, step, part, count);
    add_bias(step, m, from, to);
}

static int product_run(struct pith_step *step, struct pith_error *err)
{
    const struct product *m = step->params;

    (void) err;
    if (m->bytes) {
        product_part(step, 0, 1);
        return 0;
    }
    for (int64_t batch = 0; batch < m->batch.count; batch++)
        run_batch(step, m, batch, batch == 0 || m->batch.b_batched);
    if (m->store == STORE_FLOATS)
        add_bias(step, m, 0, m->cols);
    return 0;
}

#define EIGHT_BITS (PITH_BIT(INT8) | PITH_BIT(UINT8))
#define REALS      (PITH_BIT(FLOAT32) | PITH_BIT(FLOAT16) | PITH_BIT(BFLOAT16))

const struct pith_kernel pith_kernels_matmul_integer[] = {
    {.op = "MatMulInteger",
     .name = "matmul_integer",
     .types = {EIGHT_BITS, EIGHT_BITS, EIGHT_BITS, EIGHT_BITS},
     .prepare = product_prepare,
     .run = product_run},
    {.op = "MatMulInteger",
     .domain = PITH_FUSED_DOMAIN,
     .name = "matmul_integer_f32",
     .types = {EIGHT_BITS, EIGHT_BITS, EIGHT_BITS, EIGHT_BITS},
     .output_type = PITH_BIT(FLOAT32),
     .prepare = product_prepare,
     .run = product_run,
     .run_part = product_part},
    {.op = "QLinearMatMul",
     .name = "qlinear_matmul",
     .types = {EIGHT_BITS, REALS, EIGHT_BITS, EIGHT_BITS},
     .prepare = product_prepare,
     .run = product_run},
    {0},
};
