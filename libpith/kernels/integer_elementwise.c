/* Quantized Add, Sub and Mul with broadcasting, and quantized average pooling. Reals are formed as
 * Q and DQ would form them and rounded once, so that the result is that of the literal execution;
 * the rounding is byte_grid.c's, by vectors. */
#include "libpith/kernels/byte_grid.h"
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

/* ---- two operands ---- */

#define RUN 512 /* numbers at a time, that lie well in the nearest cache as floats */

enum binary { BINARY_ADD, BINARY_SUB, BINARY_MUL };

struct operand {
    struct pith_byte_grid grid;
    pith_byte_grid_run *widen;
    float real[256]; /* what a stored byte stands for */
};

struct binary_step {
    enum binary kind;
    struct pith_byte_grid grid;
    pith_byte_grid_run *narrow;
    struct operand operand[2];
    /* The innermost dimensions through which each operand advances evenly, as one row: by step 1,
     * or by 0 where it has one number for all of it. */
    int64_t length, step[2];
    uint32_t rank; /* of what is left outside of rows */
    int64_t dim[PITH_MAX_RANK], outer_step[2][PITH_MAX_RANK];
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

static void plan_rows(struct binary_step *b, const struct pith_shape *y)
{
    uint32_t d = y->rank;

    b->length = 1;
    for (; d > 0; d--) {
        const int64_t dim = y->dim[d - 1];
        bool even = true;

        if (dim == 1)
            continue;
        for (int i = 0; i < 2; i++)
            if (b->length == 1)
                b->step[i] = b->outer_step[i][d - 1];
            else
                even = even && b->outer_step[i][d - 1] == b->step[i] * b->length;
        if (!even)
            break;
        b->length *= dim;
    }
    b->rank = d;
    memcpy(b->dim, y->dim, sizeof b->dim);
}

static int plan_operand(struct pith_step *step, int index, struct binary_step *b,
                        struct pith_error *err)
{
    const struct pith_quantization *q = step->input_quantization[index];
    const struct pith_shape *x = &step->input[index].shape, *y = &step->output[0].shape;
    const struct pith_byte_grid_form *form = pith_byte_grid_form();
    struct operand *operand = &b->operand[index];

    if (!per_tensor(q))
        return pith_step_fail(step, err, -ENOTSUP,
                              "this quantization is not one for the integer kernel");
    if (x->rank > y->rank)
        return pith_step_fail(step, err, -EINVAL, "the operands don't broadcast to the output");
    for (uint32_t d = 0; d < x->rank; d++)
        if (x->dim[d] != 1 && x->dim[d] != y->dim[d + y->rank - x->rank])
            return pith_step_fail(step, err, -EINVAL, "the operands don't broadcast to the output");
    operand->grid = (struct pith_byte_grid){q->scale[0], q->zero_point[0], 0};
    operand->widen = q->dtype == PITH_INT8 ? form->from_s8 : form->from_u8;
    for (int v = 0; v < 256; v++)
        operand->real[v] =
            (float) ((q->dtype == PITH_INT8 ? (int8_t) v : v) - q->zero_point[0]) * q->scale[0];
    plan_strides(y, x, b->outer_step[index]);
    return 0;
}

static int binary_prepare(struct pith_step *step, struct pith_error *err)
{
    const char *op = step->kernel->op;
    struct binary_step *b = pith_step_alloc(step, sizeof *b);
    struct output_grid grid;
    int rc;

    if (!b)
        return -ENOMEM;
    rc = plan_grid(step, &grid, err);
    for (int i = 0; i < 2 && rc == 0; i++)
        rc = plan_operand(step, i, b, err);
    if (rc < 0)
        return rc;
    b->kind = strcmp(op, "Add") == 0   ? BINARY_ADD
              : strcmp(op, "Sub") == 0 ? BINARY_SUB
                                       : BINARY_MUL;
    b->grid = (struct pith_byte_grid){grid.scale, grid.zero, grid.least};
    b->narrow = pith_byte_grid_form()->quantize;
    plan_rows(b, &step->output[0].shape);
    step->parts = pith_parts_of(pith_shape_elements(&step->output[0].shape) / RUN);
    step->params = b;
    return 0;
}

/* What stored bytes stand for, as floats. A step of 0: the same one throughout. */
static void to_reals(const struct operand *operand, const uint8_t *from, int64_t step, float *to,
                     int64_t count)
{
    if (step == 1)
        operand->widen(&operand->grid, from, to, count);
    else
        for (int64_t i = 0; i < count; i++)
            to[i] = operand->real[from[i * step]];
}

static void binary_run_at(const struct binary_step *b, const uint8_t *x, const uint8_t *z,
                          uint8_t *y, int64_t count)
{
    float p[RUN], q[RUN];

    to_reals(&b->operand[0], x, b->step[0], p, count);
    to_reals(&b->operand[1], z, b->step[1], q, count);
    switch (b->kind) {
    case BINARY_ADD:
        for (int64_t i = 0; i < count; i++)
            p[i] += q[i];
        break;
    case BINARY_SUB:
        for (int64_t i = 0; i < count; i++)
            p[i] -= q[i];
        break;
    case BINARY_MUL:
        for (int64_t i = 0; i < count; i++)
            p[i] *= q[i];
        break;
    }
    b->narrow(&b->grid, p, y, count);
}

/* Where row `row` of operand `index` begins. */
static int64_t row_at(const struct binary_step *b, int index, int64_t row)
{
    int64_t at = 0;

    for (uint32_t d = b->rank; d-- > 0;) {
        at += row % b->dim[d] * b->outer_step[index][d];
        row /= b->dim[d];
    }
    return at;
}

static void binary_run_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    const struct binary_step *b = step->params;
    const int64_t total = pith_shape_elements(&step->output[0].shape);
    const uint8_t *x = step->input[0].data, *z = step->input[1].data;
    uint8_t *y = step->output[0].data;
    const int64_t end = pith_part_begin(total, part + 1, count);

    for (int64_t at = pith_part_begin(total, part, count); at < end;) {
        const int64_t row = at / b->length, from = at % b->length;
        int64_t n = b->length - from < end - at ? b->length - from : end - at;

        n = n < RUN ? n : RUN;
        binary_run_at(b, x + row_at(b, 0, row) + from * b->step[0],
                      z + row_at(b, 1, row) + from * b->step[1], y + at, n);
        at += n;
    }
}

static int binary_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    binary_run_part(step, 0, 1);
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
    step->parts = pith_parts_of(a->planes);
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

static int64_t sum_of_row(const struct average *a, const uint8_t *x, int64_t count)
{
    const int64_t step = a->window.dilation[2];
    int64_t sum = 0;

    if (a->is_signed)
        for (int64_t i = 0; i < count; i++)
            sum += (int8_t) x[i * step];
    else
        for (int64_t i = 0; i < count; i++)
            sum += x[i * step];
    return sum;
}

/* Along the axes `deep`, `down` and `along`, the taps that lie in the plane. */
static uint8_t average_of(const struct average *a, const uint8_t *x,
                          const struct pith_sliding_span *deep,
                          const struct pith_sliding_span *down,
                          const struct pith_sliding_span *along)
{
    const struct pith_sliding *w = &a->window;
    const int64_t row_taps = along->to - along->from;
    int64_t sum = 0, count = (deep->to - deep->from) * (down->to - down->from) * row_taps;

    for (int64_t i = deep->from; i < deep->to; i++)
        for (int64_t j = down->from; j < down->to; j++) {
            const int64_t row = (deep->at + i * w->dilation[0]) * w->in[1] + down->at +
                                j * w->dilation[1];

            sum += sum_of_row(a, x + row * w->in[2] + along->at + along->from * w->dilation[2],
                              row_taps);
        }
    sum -= count * a->zero;
    count = a->include_pad ? w->taps : count;
    return average_to_grid(a, count ? (float) sum * a->ratio / (float) count : 0.0F);
}

static void average_plane(const struct average *a, const uint8_t *x, uint8_t *y)
{
    const struct pith_sliding *w = &a->window;

    for (int64_t i = 0; i < w->out[0]; i++) {
        const struct pith_sliding_span deep = pith_sliding_span_along(w, 0, i);

        for (int64_t j = 0; j < w->out[1]; j++) {
            const struct pith_sliding_span down = pith_sliding_span_along(w, 1, j);

            for (int64_t k = 0; k < w->out[2]; k++) {
                const struct pith_sliding_span along = pith_sliding_span_along(w, 2, k);

                *y++ = average_of(a, x, &deep, &down, &along);
            }
        }
    }
}

static void average_run_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    const struct average *a = step->params;

    for (int64_t p = pith_part_begin(a->planes, part, count);
         p < pith_part_begin(a->planes, part + 1, count); p++)
        average_plane(a, (const uint8_t *) step->input[0].data + p * a->window.in_plane,
                      (uint8_t *) step->output[0].data + p * a->window.out_plane);
}

static int average_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    average_run_part(step, 0, 1);
    return 0;
}

#define EIGHT_BITS (PITH_BIT(INT8) | PITH_BIT(UINT8))
#define BINARY(operator, text)                                                                     \
    {                                                                                              \
        .op = operator, .name = text, .types = {EIGHT_BITS, EIGHT_BITS},                           \
        .flags = PITH_KERNEL_QUANTIZED, .prepare = binary_prepare, .run = binary_run,              \
        .run_part = binary_run_part                                                                \
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
     .run = average_run,
     .run_part = average_run_part},
    {.op = "GlobalAveragePool",
     .name = "global_average_s8",
     .types = {EIGHT_BITS},
     .flags = PITH_KERNEL_QUANTIZED,
     .prepare = average_prepare,
     .run = average_run,
     .run_part = average_run_part},
    {0},
};
