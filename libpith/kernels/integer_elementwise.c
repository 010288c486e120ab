/* Quantized Add, Sub and Mul with broadcasting, and quantized average pooling. Reals are formed as
 * Q and DQ would form them and rounded once, so that the result is that of the literal execution.
 */
#include "libpith/kernels/families.h"
#include "libpith/kernels/sliding.h"

#include <errno.h>
#include <math.h>
#include <string.h>

struct output_grid {
    float scale;
    int32_t zero, least;
};

static bool per_tensor(const struct pith_quantization *q)
{
    return q && q->count == 1 && q->block_size == 0 &&
           (q->dtype == PITH_INT8 || q->dtype == PITH_UINT8);
}

static int plan_grid(struct pith_step *step, struct output_grid *grid, struct pith_error *err)
{
    const struct pith_quantization *q = step->output_quantization[0];

    if (!per_tensor(q))
        return pith_step_fail(step, err, -ENOTSUP,
                              "this quantization is not one for the integer kernel");
    *grid = (struct output_grid){q->scale[0], q->zero_point[0], q->dtype == PITH_INT8 ? -128 : 0};
    return 0;
}

static uint8_t to_grid(const struct output_grid *grid, float x)
{
    const float q = nearbyintf(x / grid->scale) + (float) grid->zero;
    const float least = (float) grid->least;

    return (uint8_t) (int32_t) (!(q > least) ? least : q > least + 255.0F ? least + 255.0F : q);
}

/* ---- two operands ---- */

enum binary { BINARY_ADD, BINARY_SUB, BINARY_MUL };

struct binary_step {
    enum binary kind;
    struct output_grid grid;
    float real[2][256]; /* what a stored byte of each operand stands for */
    uint32_t rank;
    int64_t dim[PITH_MAX_RANK], a_step[PITH_MAX_RANK], b_step[PITH_MAX_RANK];
};

static void plan_strides(const struct pith_shape *y, const struct pith_shape *x, int64_t *steps)
{
    int64_t next = 1;

    for (uint32_t i = y->rank; i-- > 0;) {
        const int64_t dim = i + x->rank < y->rank ? 1 : x->dim[i + x->rank - y->rank];

        steps[i] = dim == 1 ? 0 : next;
        next *= dim;
    }
}

static int binary_prepare(struct pith_step *step, struct pith_error *err)
{
    const char *op = step->kernel->op;
    const struct pith_shape *y = &step->output[0].shape;
    struct binary_step *b = pith_step_alloc(step, sizeof *b);
    int rc;

    if (!b)
        return -ENOMEM;
    rc = plan_grid(step, &b->grid, err);
    if (rc < 0)
        return rc;
    b->kind = strcmp(op, "Add") == 0   ? BINARY_ADD
              : strcmp(op, "Sub") == 0 ? BINARY_SUB
                                       : BINARY_MUL;
    for (int i = 0; i < 2; i++) {
        const struct pith_quantization *q = step->input_quantization[i];
        const struct pith_shape *x = &step->input[i].shape;

        if (!per_tensor(q))
            return pith_step_fail(step, err, -ENOTSUP,
                                  "this quantization is not one for the integer kernel");
        if (x->rank > y->rank)
            return pith_step_fail(step, err, -EINVAL, "the operands don't broadcast to the output");
        for (uint32_t d = 0; d < x->rank; d++)
            if (x->dim[d] != 1 && x->dim[d] != y->dim[d + y->rank - x->rank])
                return pith_step_fail(step, err, -EINVAL,
                                      "the operands don't broadcast to the output");
        for (int v = 0; v < 256; v++)
            b->real[i][v] =
                (float) ((q->dtype == PITH_INT8 ? (int8_t) v : v) - q->zero_point[0]) * q->scale[0];
    }
    b->rank = y->rank;
    memcpy(b->dim, y->dim, sizeof b->dim);
    plan_strides(y, &step->input[0].shape, b->a_step);
    plan_strides(y, &step->input[1].shape, b->b_step);
    step->params = b;
    return 0;
}

static void binary_row(const struct binary_step *b, const uint8_t *x, int64_t x_step,
                       const uint8_t *z, int64_t z_step, uint8_t *y, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        const float p = b->real[0][x[i * x_step]], q = b->real[1][z[i * z_step]];

        y[i] = to_grid(&b->grid, b->kind == BINARY_ADD   ? p + q
                                 : b->kind == BINARY_SUB ? p - q
                                                         : p * q);
    }
}

static int binary_run(struct pith_step *step, struct pith_error *err)
{
    const struct binary_step *b = step->params;
    const int64_t total = pith_shape_elements(&step->output[0].shape);
    const uint32_t last = b->rank ? b->rank - 1 : 0;
    const int64_t length = b->rank ? b->dim[last] : 1;

    (void) err;
    for (int64_t row = 0; length && row < total / length; row++) {
        int64_t x = 0, z = 0, left = row;

        for (uint32_t d = last; d-- > 0;) {
            x += left % b->dim[d] * b->a_step[d];
            z += left % b->dim[d] * b->b_step[d];
            left /= b->dim[d];
        }
        binary_row(b, (const uint8_t *) step->input[0].data + x, b->rank ? b->a_step[last] : 0,
                   (const uint8_t *) step->input[1].data + z, b->rank ? b->b_step[last] : 0,
                   (uint8_t *) step->output[0].data + row * length, length);
    }
    return 0;
}

/* ---- average pooling ---- */

struct average {
    struct pith_sliding window;
    int64_t planes;
    bool include_pad;
    struct output_grid grid;
    float ratio; /* a step of the input in steps of the output */
    int32_t zero;
    bool is_signed, ties_away;
};

static int average_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape;
    const struct pith_quantization *q = step->input_quantization[0];
    struct average *a = pith_step_alloc(step, sizeof *a);
    int rc;

    if (!a)
        return -ENOMEM;
    if (!per_tensor(q) || x->rank < 3 || x->rank > 5)
        return pith_step_fail(step, err, -ENOTSUP, "this form has no integer kernel");
    rc = plan_grid(step, &a->grid, err);
    if (rc == 0)
        rc = pith_sliding_read(step, x, &step->output[0].shape,
                               strcmp(step->kernel->op, "GlobalAveragePool") == 0 ? &x->dim[2]
                                                                                  : NULL,
                               &a->window, err);
    if (rc < 0)
        return rc;
    a->planes = x->dim[0] * x->dim[1];
    a->include_pad = pith_node_int(step->graph, step->node, "count_include_pad", 0) != 0;
    a->ratio = q->scale[0] / a->grid.scale;
    a->zero = q->zero_point[0];
    a->is_signed = q->dtype == PITH_INT8;
    a->ties_away = pith_average_ties_away(step);
    step->params = a;
    return 0;
}

/* steps: of the output's scale. Ties, common in means of a few integers, go where
 * pith_average_ties_away says. */
static uint8_t average_to_grid(const struct average *a, float steps)
{
    const float x = steps + (float) a->grid.zero;
    const float q =
        a->ties_away ? x + (x < 0.0F ? -0.5F : 0.5F) : nearbyintf(steps) + (float) a->grid.zero;
    const float least = (float) a->grid.least;

    return (uint8_t) (int32_t) (!(q > least) ? least : q > least + 255.0F ? least + 255.0F : q);
}

static uint8_t average_at(const struct average *a, const uint8_t *x, int64_t out)
{
    const struct pith_sliding *w = &a->window;
    const int64_t at[3] = {out / (w->out[2] * w->out[1]), out / w->out[2] % w->out[1],
                           out % w->out[2]};
    int64_t count = 0, sum = 0;

    for (int64_t tap = 0; tap < w->taps; tap++) {
        const int64_t k[3] = {tap / (w->kernel[2] * w->kernel[1]),
                              tap / w->kernel[2] % w->kernel[1], tap % w->kernel[2]};
        int64_t i[3];
        bool inside = true;

        for (int d = 0; d < 3; d++) {
            i[d] = at[d] * w->stride[d] - w->pad[d] + k[d] * w->dilation[d];
            inside = inside && i[d] >= 0 && i[d] < w->in[d];
        }
        if (inside) {
            const uint8_t v = x[(i[0] * w->in[1] + i[1]) * w->in[2] + i[2]];

            sum += (a->is_signed ? (int8_t) v : v) - a->zero;
            count++;
        }
    }
    count = a->include_pad ? w->taps : count;
    return average_to_grid(a, count ? (float) sum * a->ratio / (float) count : 0.0F);
}

static int average_run(struct pith_step *step, struct pith_error *err)
{
    const struct average *a = step->params;

    (void) err;
    for (int64_t p = 0; p < a->planes; p++)
        for (int64_t out = 0; out < a->window.out_plane; out++)
            ((uint8_t *) step->output[0].data)[p * a->window.out_plane + out] =
                average_at(a, (const uint8_t *) step->input[0].data + p * a->window.in_plane, out);
    return 0;
}

#define EIGHT_BITS (PITH_BIT(INT8) | PITH_BIT(UINT8))
#define BINARY(operator, text)                                                                     \
    {                                                                                              \
        .op = operator, .name = text, .types = {EIGHT_BITS, EIGHT_BITS},                           \
        .flags = PITH_KERNEL_QUANTIZED, .prepare = binary_prepare, .run = binary_run               \
    }

const struct pith_kernel pith_kernels_integer_elementwise[] = {
    BINARY("Add", "add_s8"),
    BINARY("Sub", "sub_s8"),
    BINARY("Mul", "mul_s8"),
    {.op = "AveragePool",
     .name = "average_pool_s8",
     .types = {EIGHT_BITS},
     .flags = PITH_KERNEL_QUANTIZED,
     .prepare = average_prepare,
     .run = average_run},
    {.op = "GlobalAveragePool",
     .name = "global_average_s8",
     .types = {EIGHT_BITS},
     .flags = PITH_KERNEL_QUANTIZED,
     .prepare = average_prepare,
     .run = average_run},
    {0},
};
