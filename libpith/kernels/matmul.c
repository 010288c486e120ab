/* MatMul (NumPy's: batches broadcast, a rank of 1 stands for a row or a column) and Gemm, in
 * float32. A constant B is packed once, in prepare; another one is packed in each run. */
#include "libpith/kernels/batches.h"
#include "libpith/kernels/families.h"
#include "libpith/kernels/gemm.h"
#include "libpith/kernels/narrow.h"

#include <errno.h>
#include <string.h>

struct matmul {
    const struct pith_gemm_form *form;
    int64_t rows, cols, depth;
    int64_t a_row, a_depth, b_depth, b_col; /* strides */
    struct pith_batches batch;
    int64_t packed;             /* elements of one packed matrix */
    const float *b;             /* all that there are, packed; NULL: in each run, into scratch */
    struct pith_narrow *narrow; /* b, where it is kept narrower; NULL: it is not */
    /* Gemm */
    float alpha, beta;
    const float *col_bias; /* beta * C where it is constant and the same for each row */
    int64_t c_row, c_col;  /* strides of C; 0: broadcast */
    bool add_c;            /* C is added after the product */
};

static int plan_batches(struct pith_step *step, struct matmul *m, const struct pith_shape *a,
                        const struct pith_shape *b, struct pith_error *err)
{
    int rc = pith_batches_plan(step, a, m->rows * m->depth, b, m->depth * m->cols, &m->batch, err);

    if (rc < 0)
        return rc;
    if (!m->batch.b_batched) { /* one B for all: the batches of A are more rows, if they lie one behind
                            the other */
        bool dense = true;

        for (uint32_t i = 0; i < m->batch.shape.rank; i++)
            dense = dense && (m->batch.a_step[i] != 0 || m->batch.shape.dim[i] == 1);
        if (dense && m->a_depth == 1) {
            m->rows *= m->batch.count;
            pith_batches_join(&m->batch);
        }
    }
    return 0;
}

/* A constant B whose elements fit 16 bits is kept so, where few rows read it. 1: it is not. */
static int plan_narrow(struct pith_step *step, struct matmul *m)
{
    int rc;

    if (m->rows > PITH_NARROW_ROWS || m->a_depth != 1 || m->a_row != m->depth || m->batch.count != 1 ||
        m->batch.b_batched || m->alpha != 1.0F)
        return 1;
    rc = pith_narrow_plan(step, m->depth, m->cols, m->b_depth, m->b_col, -1, &m->narrow);
    if (rc == 0)
        step->taken_in = UINT32_C(1) << 1;
    return rc;
}

/* Packs alpha * B where it is known, and asks for scratch where not. */
static int plan_packing(struct pith_step *step, struct matmul *m)
{
    const int64_t matrices = m->batch.b_batched || m->batch.count == 0 ? m->batch.count : 1;
    int64_t bytes;
    int rc = plan_narrow(step, m);

    step->macs = (uint64_t) (m->batch.count * m->rows * m->cols * m->depth);
    if (rc <= 0)
        return rc;

    m->packed = pith_gemm_packed(m->form, m->depth, m->cols);
    if (__builtin_mul_overflow(m->packed, (int64_t) sizeof(float), &bytes) ||
        bytes > PITH_STEP_MAX_BYTES)
        return -ENOMEM;
    step->scratch_bytes = (size_t) bytes;
    if (step->input[1].data && matrices <= PITH_STEP_MAX_BYTES / (bytes + 1)) {
        float *packed = pith_step_alloc(step, bytes * matrices);

        if (!packed)
            return -ENOMEM;
        for (int64_t i = 0; i < matrices; i++) {
            int64_t a, b;

            pith_batches_at(&m->batch, i, &a, &b);
            pith_gemm_pack_f32(m->form, packed + i * m->packed,
                               (const float *) step->input[1].data + b, m->b_depth, m->b_col,
                               m->depth, m->cols);
        }
        for (int64_t i = 0; m->alpha != 1.0F && i < matrices * m->packed; i++)
            packed[i] *= m->alpha;
        m->b = pith_step_share(step, packed);
        step->taken_in = UINT32_C(1) << 1;
        step->scratch_bytes = 0;
    }
    return 0;
}

static int matmul_prepare(struct pith_step *step, struct pith_error *err)
{
    struct pith_shape a = step->input[0].shape, b = step->input[1].shape;
    struct matmul *m = pith_step_alloc(step, sizeof *m);
    int rc;

    if (!m)
        return -ENOMEM;
    if (a.rank < 1 || b.rank < 1)
        return pith_step_fail(step, err, -EINVAL, "a scalar has no matrix product");
    if (a.rank == 1)
        a = (struct pith_shape){2, {1, a.dim[0]}};
    if (b.rank == 1)
        b = (struct pith_shape){2, {b.dim[0], 1}};
    m->form = pith_gemm_form();
    m->alpha = 1.0F;
    m->rows = a.dim[a.rank - 2];
    m->depth = a.dim[a.rank - 1];
    m->cols = b.dim[b.rank - 1];
    if (b.dim[b.rank - 2] != m->depth)
        return pith_step_fail(step, err, -EINVAL, "%lld columns against %lld rows",
                              (long long) m->depth, (long long) b.dim[b.rank - 2]);
    m->a_row = m->depth;
    m->a_depth = 1;
    m->b_depth = m->cols;
    m->b_col = 1;
    rc = plan_batches(step, m, &a, &b, err);
    if (rc == 0)
        rc = plan_packing(step, m);
    step->params = m;
    return rc;
}

/* PITH_FUSED_DOMAIN: A, B, and a row that is added to each of the product's. */
static int biased_prepare(struct pith_step *step, struct pith_error *err)
{
    struct matmul *m;
    int rc = matmul_prepare(step, err);

    if (rc < 0)
        return rc;
    m = step->params;
    if (!pith_step_has(step, 2) || step->input[2].shape.rank != 1 ||
        step->input[2].shape.dim[0] != m->cols)
        return pith_step_fail(step, err, -EINVAL, "the bias must have %lld entries",
                              (long long) m->cols);
    m->beta = 1.0F;
    return 0;
}

/* C broadcasts to (rows, cols). The same for all rows and constant: a bias in the product's last
 * step. */
static int plan_c(struct pith_step *step, struct matmul *m, struct pith_error *err)
{
    const struct pith_shape *c = &step->input[2].shape;
    int64_t rows, cols;

    if (!pith_step_has(step, 2) || m->beta == 0.0F)
        return 0;
    rows = pith_dim_or_one(c, 2, 0);
    cols = pith_dim_or_one(c, 2, 1);
    if (c->rank > 2 || (rows != 1 && rows != m->rows) || (cols != 1 && cols != m->cols))
        return pith_step_fail(step, err, -EINVAL, "C doesn't broadcast to %lld x %lld",
                              (long long) m->rows, (long long) m->cols);
    m->c_row = rows == 1 ? 0 : cols;
    m->c_col = cols == 1 ? 0 : 1;
    m->add_c = true;
    if (rows == 1 && step->input[2].data) {
        float *bias = pith_step_alloc(step, m->cols * (int64_t) sizeof *bias);

        if (!bias)
            return -ENOMEM;
        for (int64_t j = 0; j < m->cols; j++)
            bias[j] = m->beta * ((const float *) step->input[2].data)[j * m->c_col];
        m->col_bias = pith_step_share(step, bias);
        m->add_c = false;
        step->taken_in |= UINT32_C(1) << 2;
    } else if (rows == 1 && cols != 1 && m->beta == 1.0F) {
        m->add_c = false; /* C is the bias where it lies */
    }
    return 0;
}

static int gemm_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *a = &step->input[0].shape, *b = &step->input[1].shape;
    const bool trans_a = pith_node_int(step->graph, step->node, "transA", 0) != 0;
    const bool trans_b = pith_node_int(step->graph, step->node, "transB", 0) != 0;
    struct matmul *m = pith_step_alloc(step, sizeof *m);
    int rc;

    if (!m)
        return -ENOMEM;
    if (a->rank != 2 || b->rank != 2)
        return pith_step_fail(step, err, -EINVAL,
                              "A and B must be matrices, and have rank %u and %u", a->rank,
                              b->rank);
    m->form = pith_gemm_form();
    m->alpha = pith_node_float(step->graph, step->node, "alpha", 1.0F);
    m->beta = pith_node_float(step->graph, step->node, "beta", 1.0F);
    m->rows = a->dim[trans_a ? 1 : 0];
    m->depth = a->dim[trans_a ? 0 : 1];
    m->cols = b->dim[trans_b ? 0 : 1];
    if (b->dim[trans_b ? 1 : 0] != m->depth)
        return pith_step_fail(step, err, -EINVAL, "A gives %lld columns, B takes %lld",
                              (long long) m->depth, (long long) b->dim[trans_b ? 1 : 0]);
    m->a_row = trans_a ? 1 : m->depth;
    m->a_depth = trans_a ? m->rows : 1;
    m->b_depth = trans_b ? 1 : m->cols;
    m->b_col = trans_b ? m->depth : 1;
    m->batch.count = 1;
    rc = plan_packing(step, m);
    if (rc == 0)
        rc = plan_c(step, m, err);
    step->params = m;
    return rc;
}

/* What Gemm's last step can't do in passing. */
static void add_c(const struct pith_step *step, const struct matmul *m)
{
    const float *c = step->input[2].data;
    float *y = step->output[0].data;

    for (int64_t i = 0; i < m->rows; i++)
        for (int64_t j = 0; j < m->cols; j++) {
            const float x = y[i * m->cols + j] + m->beta * c[i * m->c_row + j * m->c_col];

            y[i * m->cols + j] = step->activation.set ? pith_activate(&step->activation, x) : x;
        }
}

/* C, where it is added within the product. */
static const float *bias_of(const struct pith_step *step, const struct matmul *m)
{
    if (!m->col_bias && m->beta == 1.0F && pith_step_has(step, 2) && !m->add_c)
        return step->input[2].data;
    return m->col_bias;
}

static void run_narrow(const struct pith_step *step, const struct matmul *m)
{
    pith_narrow_run(m->narrow, &(struct pith_narrow_call){
                                   .rows = m->rows,
                                   .col_end = m->cols,
                                   .a = step->input[0].data,
                                   .c = step->output[0].data,
                                   .col_bias = bias_of(step, m),
                                   .activation = m->add_c ? PITH_ACTIVATION_NONE : step->activation,
                               });
    if (m->add_c)
        add_c(step, m);
}

static int matmul_run(struct pith_step *step, struct pith_error *err)
{
    const struct matmul *m = step->params;
    const bool alpha_late = m->alpha != 1.0F && !m->b;

    (void) err;
    if (m->narrow) {
        run_narrow(step, m);
        return 0;
    }
    for (int64_t batch = 0; batch < m->batch.count; batch++) {
        const float *packed = m->b ? m->b + (m->batch.b_batched ? batch * m->packed : 0) : step->scratch;
        struct pith_gemm_f32 g = {.rows = m->rows, .cols = m->cols, .depth = m->depth};
        int64_t a, b;

        pith_batches_at(&m->batch, batch, &a, &b);
        if (!m->b && (batch == 0 || m->batch.b_batched)) {
            pith_gemm_pack_f32(m->form, step->scratch, (const float *) step->input[1].data + b,
                               m->b_depth, m->b_col, m->depth, m->cols);
            for (int64_t i = 0; alpha_late && i < m->depth * ((m->cols + m->form->panel - 1) /
                                                              m->form->panel * m->form->panel);
                 i++)
                ((float *) step->scratch)[i] *= m->alpha;
        }
        g.a = (const float *) step->input[0].data + a;
        g.a_row = m->a_row;
        g.a_depth = m->a_depth;
        g.b = packed;
        g.c = (float *) step->output[0].data + batch * m->rows * m->cols;
        g.c_row = m->cols;
        g.col_bias = bias_of(step, m);
        g.activation = m->add_c ? PITH_ACTIVATION_NONE : step->activation;
        m->form->f32(&g);
    }
    if (m->add_c)
        add_c(step, m);
    return 0;
}

#define F32_ALL                                                                                    \
    {                                                                                              \
        PITH_BIT(FLOAT32), PITH_BIT(FLOAT32), PITH_BIT(FLOAT32)                                    \
    }

const struct pith_kernel pith_kernels_matmul[] = {
    {.op = "MatMul",
     .name = "matmul_f32",
     .types = F32_ALL,
     .flags = PITH_KERNEL_FUSES_ACTIVATION,
     .prepare = matmul_prepare,
     .run = matmul_run},
    {.op = "MatMul",
     .domain = PITH_FUSED_DOMAIN,
     .name = "matmul_f32",
     .types = F32_ALL,
     .flags = PITH_KERNEL_FUSES_ACTIVATION,
     .prepare = biased_prepare,
     .run = matmul_run},
    {.op = "Gemm",
     .name = "gemm_f32",
     .types = F32_ALL,
     .flags = PITH_KERNEL_FUSES_ACTIVATION,
     .prepare = gemm_prepare,
     .run = matmul_run},
    {0},
};
