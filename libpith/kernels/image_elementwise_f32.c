/* Operators by element on channels-last float32 values: Add, Sub, Mul, Div, Max, Min and PRelu of
 * two operands that broadcast, BatchNormalization and Clip. Any activation is applied at the store.
 * An operand that is a constant lies planar; four strides an operand make both kinds alike.
 * Operators of one operand are in unary.c. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "libpith/kernels/families.h"
#include "libpith/kernels/math_f32.h"

struct operand {
    int64_t n, h, w, c; /* strides in elements; 0 where it broadcasts */
};

/* out[i] = op(a[i * a_stride], b[i * b_stride]) */
typedef void pair_loop(float *out, const float *a, int64_t a_stride, const float *b,
                       int64_t b_stride, int64_t count);

struct elementwise {
    struct pith_image_dims dims;
    struct operand out, operand[2];
    pair_loop *loop;
    bool by_row; /* nothing broadcasts along a row's pixels that doesn't also along channels */
    float *scale, *shift; /* BatchNormalization: C of each */
    struct pith_activation clip;
};

#define PAIR(name, expression)                                                                     \
    static void name##_loop(float *out, const float *a, int64_t a_stride, const float *b,          \
                            int64_t b_stride, int64_t count)                                       \
    {                                                                                              \
        if (a_stride == 1 && b_stride == 1)                                                        \
            for (int64_t i = 0; i < count; i++) {                                                  \
                const float x = a[i], y = b[i];                                                    \
                out[i] = (expression);                                                             \
            }                                                                                      \
        else if (a_stride == 1 && b_stride == 0)                                                   \
            for (int64_t i = 0; i < count; i++) {                                                  \
                const float x = a[i], y = *b;                                                      \
                out[i] = (expression);                                                             \
            }                                                                                      \
        else                                                                                       \
            for (int64_t i = 0; i < count; i++) {                                                  \
                const float x = a[i * a_stride], y = b[i * b_stride];                              \
                out[i] = (expression);                                                             \
            }                                                                                      \
    }

PAIR(add, x + y)
PAIR(sub, x - y)
PAIR(mul, x *y)
PAIR(div, x / y)
PAIR(prelu, x < 0.0F ? x * y : x)
/* NaN wins over any number */
PAIR(max, y <= x ? x : y > x ? y : x + y)
PAIR(min, y >= x ? x : y < x ? y : x + y)

static const struct {
    const char *op;
    pair_loop *loop;
} pairs[] = {
    {"Add", add_loop}, {"Sub", sub_loop}, {"Mul", mul_loop},     {"Div", div_loop},
    {"Max", max_loop}, {"Min", min_loop}, {"PRelu", prelu_loop},
};

static struct operand image_strides(const struct pith_image *image,
                                    const struct pith_image_dims *dims)
{
    return (struct operand){.n = dims->n > 1 ? image->picture : 0,
                            .h = dims->h > 1 ? image->row : 0,
                            .w = dims->w > 1 ? image->pixel : 0,
                            .c = dims->c > 1 ? 1 : 0};
}

/* A planar operand, whose dimensions are the last ones of the output's. */
static struct operand planar_strides(const struct pith_shape *shape, uint32_t rank)
{
    int64_t stride = 1, strides[4] = {0};
    const uint32_t lead = rank - shape->rank;

    for (uint32_t d = shape->rank; d-- > 0;) {
        strides[lead + d] = shape->dim[d] > 1 ? stride : 0;
        stride *= shape->dim[d];
    }
    return (struct operand){
        .n = strides[0], .c = strides[1], .h = rank == 4 ? strides[2] : 0, .w = strides[rank - 1]};
}

static int read_operand(struct pith_step *step, size_t input, struct operand *out,
                        struct pith_error *err)
{
    const struct pith_shape *x = &step->input[input].shape, *y = &step->output[0].shape;
    const bool image = step->input_image[input].channels_last;

    if (x->rank > y->rank || (image && x->rank != y->rank))
        return pith_step_fail(step, err, -ENOTSUP, "a channels-last operand of rank %u for rank %u",
                              x->rank, y->rank);
    for (uint32_t d = 0; d < x->rank; d++)
        if (x->dim[d] != 1 && x->dim[d] != y->dim[y->rank - x->rank + d])
            return pith_step_fail(step, err, -EINVAL, "input %zu doesn't broadcast to the output",
                                  input);
    if (image) {
        const struct pith_image_dims dims = pith_image_dims(x);

        *out = image_strides(&step->input_image[input], &dims);
    } else {
        *out = planar_strides(x, y->rank);
    }
    return 0;
}

/* Whether a row of pixels is one run for it: channels follow each other, and so do pixels. */
static bool runs_by_row(const struct operand *o, const struct pith_image_dims *dims)
{
    if (o->c == 0 && o->w == 0 && (dims->c > 1 || dims->w > 1))
        return true;
    return o->c == (dims->c > 1) && (dims->w == 1 || (o->w == dims->c && (o->c || dims->c == 1)));
}

static int common_prepare(struct pith_step *step, struct elementwise *e, struct pith_error *err)
{
    const struct pith_shape *y = &step->output[0].shape;

    if (y->rank < 3 || y->rank > 4)
        return pith_step_fail(step, err, -EINVAL, "a channels-last result of rank %u", y->rank);
    e->dims = pith_image_dims(y);
    e->out = image_strides(&step->output_image[0], &e->dims);
    step->parts = pith_parts_of(e->dims.n * e->dims.h);
    step->params = e;
    return 0;
}

static bool same_image(const struct pith_step *step, size_t input)
{
    return step->input_image[input].channels_last &&
           pith_shape_equal(&step->input[input].shape, &step->output[0].shape) &&
           pith_image_equal(&step->input_image[input], &step->output_image[0]);
}

static int pair_prepare(struct pith_step *step, struct pith_error *err)
{
    struct elementwise *e = pith_step_alloc(step, sizeof *e);
    int rc;

    if (!e)
        return -ENOMEM;
    if (step->input_count != 2 || !pith_step_has(step, 0) || !pith_step_has(step, 1))
        return pith_step_fail(step, err, -ENOTSUP, "%zu operands, not 2", step->input_count);
    rc = common_prepare(step, e, err);
    for (size_t i = 0; i < 2 && rc == 0; i++)
        rc = read_operand(step, i, &e->operand[i], err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (strcmp(pairs[i].op, step->kernel->op) == 0)
            e->loop = pairs[i].loop;
    e->by_row = runs_by_row(&e->out, &e->dims);
    for (uint32_t i = 0; i < 2; i++) {
        e->by_row = e->by_row && runs_by_row(&e->operand[i], &e->dims);
        step->in_place |= same_image(step, i) ? 1U << i : 0;
    }
    return 0;
}

static void apply_activation(const struct pith_activation *activation, float *y, int64_t count)
{
    if (activation->set)
        pith_math_form()->activate(activation, y, count);
}

static void pair_run_of(const struct pith_step *step, const struct elementwise *e, float *out,
                        const float *a, const float *b, int64_t count)
{
    const int64_t a_stride = e->by_row ? e->operand[0].c || e->operand[0].w : e->operand[0].c;
    const int64_t b_stride = e->by_row ? e->operand[1].c || e->operand[1].w : e->operand[1].c;

    e->loop(out, a, a_stride, b, b_stride, count);
    apply_activation(&step->activation, out, count);
}

static int64_t row_of(const struct operand *o, int64_t n, int64_t h)
{
    return n * o->n + h * o->h;
}

static void pair_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    const struct elementwise *e = step->params;
    const struct operand *p = e->operand;
    const int64_t rows = e->dims.n * e->dims.h;

    for (int64_t i = pith_part_begin(rows, part, count); i < pith_part_begin(rows, part + 1, count);
         i++) {
        const int64_t n = i / e->dims.h, h = i % e->dims.h;
        const float *a = (const float *) step->input[0].data + row_of(&p[0], n, h);
        const float *b = (const float *) step->input[1].data + row_of(&p[1], n, h);
        float *out = (float *) step->output[0].data + row_of(&e->out, n, h);

        if (e->by_row) {
            pair_run_of(step, e, out, a, b, e->dims.w * e->dims.c);
            continue;
        }
        for (int64_t w = 0; w < e->dims.w; w++)
            pair_run_of(step, e, out + w * e->out.w, a + w * p[0].w, b + w * p[1].w, e->dims.c);
    }
    if (part == 0)
        pith_image_zero_halo(step, 0);
}

static int pair_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    pair_part(step, 0, 1);
    return 0;
}

/* ---- one operand: BatchNormalization, Clip ---- */

static int single_prepare(struct pith_step *step, struct elementwise *e, struct pith_error *err)
{
    if (!pith_shape_equal(&step->input[0].shape, &step->output[0].shape))
        return pith_step_fail(step, err, -EINVAL, "its output must be like its input");
    step->in_place = same_image(step, 0) ? 1 : 0;
    e->operand[0] = image_strides(&step->input_image[0], &e->dims);
    return 0;
}

static int batch_norm_prepare(struct pith_step *step, struct pith_error *err)
{
    struct elementwise *e = pith_step_alloc(step, sizeof *e);
    const float epsilon = pith_node_float(step->graph, step->node, "epsilon", 1e-5F);
    int rc;

    if (!e)
        return -ENOMEM;
    rc = common_prepare(step, e, err);
    if (rc == 0)
        rc = single_prepare(step, e, err);
    if (rc < 0)
        return rc;
    if (pith_node_int(step->graph, step->node, "training_mode", 0) != 0)
        return pith_step_fail(step, err, -ENOTSUP, "training_mode of channels-last values");
    for (size_t i = 1; i <= 4; i++) {
        if (!pith_step_has(step, i) || pith_shape_elements(&step->input[i].shape) != e->dims.c)
            return pith_step_fail(step, err, -EINVAL, "input %zu needs %lld entries", i,
                                  (long long) e->dims.c);
        if (!step->input[i].data)
            return pith_step_fail(step, err, -ENOTSUP, "input %zu that is not constant", i);
    }
    e->scale = pith_step_alloc(step, e->dims.c * (int64_t) sizeof *e->scale);
    e->shift = pith_step_alloc(step, e->dims.c * (int64_t) sizeof *e->shift);
    if (!e->scale || !e->shift)
        return -ENOMEM;
    for (int64_t c = 0; c < e->dims.c; c++) {
        const double factor = pith_tensor_get(&step->input[1], c) /
                              sqrt(pith_tensor_get(&step->input[4], c) + (double) epsilon);

        e->scale[c] = (float) factor;
        e->shift[c] = (float) (pith_tensor_get(&step->input[2], c) -
                               pith_tensor_get(&step->input[3], c) * factor);
    }
    return 0;
}

/* The limits of Clip: inputs since opset 11, attributes before. */
static int read_limit(struct pith_step *step, size_t input, const char *attribute, float *limit,
                      struct pith_error *err)
{
    if (step->opset < 11) {
        *limit = pith_node_float(step->graph, step->node, attribute, *limit);
        return 0;
    }
    if (!pith_step_has(step, input))
        return 0;
    if (pith_shape_elements(&step->input[input].shape) != 1)
        return pith_step_fail(step, err, -EINVAL, "input %zu must be one number", input);
    if (!step->input[input].data)
        return pith_step_fail(step, err, -ENOTSUP, "limits that are not constant");
    *limit = (float) pith_tensor_get(&step->input[input], 0);
    return 0;
}

static int clip_prepare(struct pith_step *step, struct pith_error *err)
{
    struct elementwise *e = pith_step_alloc(step, sizeof *e);
    int rc;

    if (!e)
        return -ENOMEM;
    e->clip = PITH_ACTIVATION_NONE;
    e->clip.set = true;
    rc = common_prepare(step, e, err);
    if (rc == 0)
        rc = single_prepare(step, e, err);
    if (rc == 0)
        rc = read_limit(step, 1, "min", &e->clip.low, err);
    if (rc == 0)
        rc = read_limit(step, 2, "max", &e->clip.high, err);
    return rc;
}

static void single_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    const struct elementwise *e = step->params;
    const int64_t rows = e->dims.n * e->dims.h;

    for (int64_t i = pith_part_begin(rows, part, count); i < pith_part_begin(rows, part + 1, count);
         i++) {
        const int64_t n = i / e->dims.h, h = i % e->dims.h;
        const float *x = (const float *) step->input[0].data + row_of(&e->operand[0], n, h);
        float *y = (float *) step->output[0].data + row_of(&e->out, n, h);

        for (int64_t w = 0; w < e->dims.w; w++, x += e->operand[0].w, y += e->out.w) {
            for (int64_t c = 0; c < e->dims.c; c++)
                y[c] = e->scale ? x[c] * e->scale[c] + e->shift[c] : pith_activate(&e->clip, x[c]);
            apply_activation(&step->activation, y, e->dims.c);
        }
    }
    if (part == 0)
        pith_image_zero_halo(step, 0);
}

static int single_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    single_part(step, 0, 1);
    return 0;
}

#define ENTRY(operator, made)                                                                      \
    {                                                                                              \
        .op = operator, .name = "image_" #made "_f32",                                             \
        .types = {PITH_BIT(FLOAT32), PITH_BIT(FLOAT32)},                                           \
        .flags = PITH_KERNEL_CHANNELS_LAST | PITH_KERNEL_FUSES_ACTIVATION,                         \
        .prepare = made##_prepare,
#define PAIR_ENTRY(operator)                                                                       \
    ENTRY(operator, pair).run = pair_run, .run_part = pair_part                                    \
    }
#define SINGLE_ENTRY(operator, made)                                                               \
    ENTRY(operator, made).run = single_run, .run_part = single_part                                \
    }

const struct pith_kernel pith_kernels_image_elementwise_f32[] = {
    PAIR_ENTRY("Add"),          PAIR_ENTRY("Sub"),
    PAIR_ENTRY("Mul"),          PAIR_ENTRY("Div"),
    PAIR_ENTRY("Max"),          PAIR_ENTRY("Min"),
    PAIR_ENTRY("PRelu"),        SINGLE_ENTRY("BatchNormalization", batch_norm),
    SINGLE_ENTRY("Clip", clip), {0},
};
