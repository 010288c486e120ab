/* MatMul and Gemm of few float rows with constant quantized weights, which stay as they are stored.
 */
#include "libpith/kernels/families.h"
#include "libpith/kernels/narrow.h"

#include <errno.h>
#include <string.h>

struct narrow_matmul {
    struct pith_narrow *weights;
    int64_t rows, cols;
    const float *bias; /* NULL: none */
};

/* Gemm's C, where it is the same for each row. */
static int plan_c(struct pith_step *step, struct narrow_matmul *m, struct pith_error *err)
{
    const struct pith_tensor *c = &step->input[2];
    const int64_t count = pith_step_has(step, 2) ? pith_shape_elements(&c->shape) : 0;
    float *bias;

    if (!pith_step_has(step, 2))
        return 0;
    if (!c->data || (count != 1 && count != m->cols) || c->shape.rank > 2 ||
        (c->shape.rank == 2 && c->shape.dim[0] != 1))
        return pith_step_fail(step, err, -ENOTSUP, "this C is not one for narrow weights");
    bias = pith_step_alloc(step, m->cols * (int64_t) sizeof *bias);
    if (!bias)
        return -ENOMEM;
    for (int64_t j = 0; j < m->cols; j++)
        bias[j] = ((const float *) c->data)[count == 1 ? 0 : j];
    m->bias = bias;
    return 0;
}

static int narrow_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *a = &step->input[0].shape, *b = &step->input[1].shape;
    const bool gemm = strcmp(step->kernel->op, "Gemm") == 0;
    const bool trans_b = gemm && pith_node_int(step->graph, step->node, "transB", 0) != 0;
    struct narrow_matmul *m = pith_step_alloc(step, sizeof *m);
    int64_t depth;
    int rc;

    if (!m)
        return -ENOMEM;
    if (a->rank < 1 || b->rank != 2 || (gemm && a->rank != 2) || !step->input[1].data ||
        !step->input_quantization[1] ||
        (gemm && (pith_node_int(step->graph, step->node, "transA", 0) != 0 ||
                  pith_node_float(step->graph, step->node, "alpha", 1.0F) != 1.0F ||
                  pith_node_float(step->graph, step->node, "beta", 1.0F) != 1.0F)))
        return pith_step_fail(step, err, -ENOTSUP, "this form is not one for narrow weights");
    depth = a->dim[a->rank - 1];
    m->rows = pith_dims_product(a, 0, a->rank - 1);
    m->cols = b->dim[trans_b ? 0 : 1];
    if (b->dim[trans_b ? 1 : 0] != depth)
        return pith_step_fail(step, err, -EINVAL, "%lld columns against %lld rows",
                              (long long) depth, (long long) b->dim[trans_b ? 1 : 0]);
    if (m->rows > PITH_NARROW_ROWS)
        return pith_step_fail(step, err, -ENOTSUP, "so many rows are faster with floats");
    rc = plan_c(step, m, err);
    if (rc == 0)
        rc = pith_narrow_plan(step, depth, m->cols, trans_b ? 1 : m->cols, trans_b ? depth : 1,
                              trans_b ? 0 : 1, &m->weights);
    if (rc == 1)
        return pith_step_fail(step, err, -ENOTSUP,
                              "this quantization is not one that stays narrow");
    step->taken_in = UINT32_C(1) << 1 | UINT32_C(1) << 2;
    step->macs = (uint64_t) (m->rows * m->cols * depth);
    step->parts = pith_parts_of((m->cols + PITH_NARROW_CUT - 1) / PITH_NARROW_CUT);
    step->params = m;
    return rc;
}

static void narrow_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    const struct narrow_matmul *m = step->params;
    const int64_t end = pith_part_begin(step->parts, part + 1, count) * PITH_NARROW_CUT;

    pith_narrow_run(m->weights,
                    &(struct pith_narrow_call){
                        .rows = m->rows,
                        .col = pith_part_begin(step->parts, part, count) * PITH_NARROW_CUT,
                        .col_end = end < m->cols ? end : m->cols,
                        .a = step->input[0].data,
                        .c = step->output[0].data,
                        .col_bias = m->bias,
                        .activation = step->activation,
                    });
}

static int narrow_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    narrow_part(step, 0, 1);
    return 0;
}

#define ENTRY(operator, of, title)                                                                 \
    {                                                                                              \
        .op = operator, .domain = of, .name = title,                                               \
        .types = {PITH_BIT(FLOAT32),                                                               \
                  PITH_BIT(INT8) | PITH_BIT(UINT8) | PITH_BIT(INT4) | PITH_BIT(UINT4),             \
                  PITH_BIT(FLOAT32)},                                                              \
        .flags = PITH_KERNEL_QUANTIZED | PITH_KERNEL_FUSES_ACTIVATION, .prepare = narrow_prepare,  \
        .run = narrow_run, .run_part = narrow_part                                                 \
    }

const struct pith_kernel pith_kernels_narrow_matmul[] = {
    ENTRY("MatMul", NULL, "matmul_f32"),
    ENTRY("MatMul", PITH_FUSED_DOMAIN, "matmul_f32"), /* with a bias */
    ENTRY("Gemm", NULL, "gemm_f32"),
    {0},
};
