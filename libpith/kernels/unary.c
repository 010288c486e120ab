/* Operators of one input, element by element. Each has a loop in float32 and one in float64, from
 * one expression; float16 and bfloat16 are computed in float32. Those that integers take have loops
 * for them. */
#include "libpith/kernels/byte_grid.h"
#include "libpith/kernels/families.h"
#include "libpith/kernels/image.h"
#include "libpith/kernels/math_f32.h"
#include "libpith/kernels/numbers.h"
#include "libpith/kernels/requantize.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <tgmath.h>

typedef void unary_loop(const void *from, void *to, int64_t n, const double *p);

struct unary {
    unary_loop *loop;
    int64_t count;
    int32_t dtype;
    bool through_f32;
    double p[4];                 /* attributes, in the operator's order */
    struct pith_image_dims dims; /* channels-last form */
    const struct pith_byte_grid_form *words; /* of 16-bit integers: computed in float32; else NULL */
    struct pith_byte_grid from, to;
};

/* x is the element, a and b the first attributes, T the type. */
#define UNARY_OF(type, name, expression)                                                           \
    static void name(const void *from, void *to, int64_t n, const double *p)                       \
    {                                                                                              \
        typedef type T;                                                                            \
        const T *in = from;                                                                        \
        T *out = to;                                                                               \
        const T a = (T) p[0], b = (T) p[1];                                                        \
        (void) a, (void) b;                                                                        \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const T x = in[i];                                                                     \
            out[i] = (T) (expression);                                                             \
        }                                                                                          \
    }
#define UNARY(name, expression)                                                                    \
    UNARY_OF(float, name##_f32, expression)                                                        \
    UNARY_OF(double, name##_f64, expression)
/* float32 by whole vectors: math_f32.h. */
#define MATH(name, expression)                                                                     \
    static void name##_many(const void *from, void *to, int64_t n, const double *p)                \
    {                                                                                              \
        (void) p;                                                                                  \
        (pith_math_form()->name)(to, from, n);                                                     \
    }                                                                                              \
    UNARY_OF(double, name##_f64, expression)

UNARY(abs, fabs(x))
UNARY(acos, acos(x))
UNARY(acosh, acosh(x))
UNARY(asin, asin(x))
UNARY(asinh, asinh(x))
UNARY(atan, atan(x))
UNARY(atanh, atanh(x))
UNARY(ceil, ceil(x))
UNARY(celu, x > 0 ? x : a * expm1(x / a))
UNARY(cos, cos(x))
UNARY(cosh, cosh(x))
UNARY(elu, x < 0 ? a * expm1(x) : x)
MATH(erf, erf(x))
MATH(exp, exp(x))
UNARY(floor, floor(x))
MATH(gelu, (T) 0.5 * x * (1 + erf(x * (T) M_SQRT1_2)))
/* sqrt(2 / pi) */
MATH(gelu_tanh, (T) 0.5 * x * (1 + tanh((T) 0.7978845608028654 * (x + (T) 0.044715 * x * x * x))))
UNARY(hard_sigmoid, fmax((T) 0, fmin((T) 1, a *x + b)))
MATH(hard_swish, x *fmax((T) 0, fmin((T) 1, x / 6 + (T) 0.5)))
UNARY(leaky_relu, x < 0 ? a * x : x)
UNARY(log, log(x))
/* ln(1 + e^x) without overflow: max(x, 0) + ln(1 + e^-|x|) */
UNARY(mish, x *tanh(fmax(x, (T) 0) + log1p(exp(-fabs(x)))))
UNARY(neg, -x)
UNARY(reciprocal, 1 / x)
UNARY(relu, x < 0 ? 0 : x)
UNARY(round, rint(x)) /* half to even, the default rounding */
UNARY(selu, b *(x < 0 ? a * expm1(x) : x))
/* a is the bias, b the threshold lambd */
UNARY(shrink, x<-b ? x + a : x> b ? x - a : 0)
MATH(sigmoid, 1 / (1 + exp(-x)))
UNARY(sign, isnan(x) ? x : (T) ((x > 0) - (x < 0)))
UNARY(sin, sin(x))
UNARY(sinh, sinh(x))
UNARY(softplus, fmax(x, (T) 0) + log1p(exp(-fabs(x))))
UNARY(softsign, x / (1 + fabs(x)))
UNARY(sqrt, sqrt(x))
UNARY(tan, tan(x))
MATH(tanh, tanh(x))
UNARY(thresholded_relu, x > a ? x : 0)

/* Integers: u is the element widened without its sign's meaning, so that nothing overflows. */
#define UNARY_INT(name, type, expression)                                                          \
    static void name##_##type(const void *from, void *to, int64_t n, const double *p)              \
    {                                                                                              \
        const type *in = from;                                                                     \
        type *out = to;                                                                            \
        (void) p;                                                                                  \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const type x = in[i];                                                                  \
            const uint64_t u = (uint64_t) x;                                                       \
            (void) u;                                                                              \
            out[i] = (type) (expression);                                                          \
        }                                                                                          \
    }
#define UNARY_SIGNED(name, expression)                                                             \
    UNARY_INT(name, int8_t, expression)                                                            \
    UNARY_INT(name, int16_t, expression)                                                           \
    UNARY_INT(name, int32_t, expression)                                                           \
    UNARY_INT(name, int64_t, expression)
#define UNARY_UNSIGNED(name, expression)                                                           \
    UNARY_INT(name, uint8_t, expression)                                                           \
    UNARY_INT(name, uint16_t, expression)                                                          \
    UNARY_INT(name, uint32_t, expression)                                                          \
    UNARY_INT(name, uint64_t, expression)

UNARY_SIGNED(abs, x < 0 ? 0 - u : u)
UNARY_SIGNED(neg, 0 - u)
UNARY_SIGNED(relu, x < 0 ? 0 : x)
UNARY_SIGNED(sign, (x > 0) - (x < 0))
UNARY_SIGNED(not, ~u)
UNARY_UNSIGNED(same, x)
UNARY_UNSIGNED(sign, x > 0)
UNARY_UNSIGNED(not, ~u)

static void logical_not(const void *from, void *to, int64_t n, const double *p)
{
    const uint8_t *in = from;
    uint8_t *out = to;

    (void) p;
    for (int64_t i = 0; i < n; i++)
        out[i] = !in[i];
}

struct unary_op {
    const char *op;
    unary_loop *f32, *f64;
    unary_loop *i8, *i16, *i32, *i64, *u8, *u16, *u32, *u64;
    struct {
        const char *name;
        double otherwise;
    } attribute[2];
};

#define REAL(name) .f32 = name##_f32, .f64 = name##_f64
#define SIGNED(name)                                                                               \
    .i8 = name##_int8_t, .i16 = name##_int16_t, .i32 = name##_int32_t, .i64 = name##_int64_t
#define UNSIGNED(name)                                                                             \
    .u8 = name##_uint8_t, .u16 = name##_uint16_t, .u32 = name##_uint32_t, .u64 = name##_uint64_t

static const struct unary_op ops[] = {
    {"Abs", REAL(abs), SIGNED(abs), UNSIGNED(same)},
    {"Acos", REAL(acos)},
    {"Acosh", REAL(acosh)},
    {"Asin", REAL(asin)},
    {"Asinh", REAL(asinh)},
    {"Atan", REAL(atan)},
    {"Atanh", REAL(atanh)},
    {"BitwiseNot", SIGNED(not ), UNSIGNED(not )},
    {"Ceil", REAL(ceil)},
    {"Celu", REAL(celu), .attribute = {{"alpha", 1}}},
    {"Cos", REAL(cos)},
    {"Cosh", REAL(cosh)},
    {"Elu", REAL(elu), .attribute = {{"alpha", 1}}},
    {"Erf", .f32 = erf_many, .f64 = erf_f64},
    {"Exp", .f32 = exp_many, .f64 = exp_f64},
    {"Floor", REAL(floor)},
    {"Gelu", .f32 = gelu_many, .f64 = gelu_f64},
    {"HardSigmoid", REAL(hard_sigmoid), .attribute = {{"alpha", 0.2}, {"beta", 0.5}}},
    {"HardSwish", .f32 = hard_swish_many, .f64 = hard_swish_f64},
    {"LeakyRelu", REAL(leaky_relu), .attribute = {{"alpha", 0.01}}},
    {"Log", REAL(log)},
    {"Mish", REAL(mish)},
    {"Neg", REAL(neg), SIGNED(neg)},
    {"Not", .u8 = logical_not},
    {"Reciprocal", REAL(reciprocal)},
    {"Relu", REAL(relu), SIGNED(relu), UNSIGNED(same)},
    {"Round", REAL(round)},
    {"Selu", REAL(selu),
     .attribute = {{"alpha", 1.67326319217681884765625}, {"gamma", 1.05070102214813232421875}}},
    {"Shrink", REAL(shrink), .attribute = {{"bias", 0}, {"lambd", 0.5}}},
    {"Sigmoid", .f32 = sigmoid_many, .f64 = sigmoid_f64},
    {"Sign", REAL(sign), SIGNED(sign), UNSIGNED(sign)},
    {"Sin", REAL(sin)},
    {"Sinh", REAL(sinh)},
    {"Softplus", REAL(softplus)},
    {"Softsign", REAL(softsign)},
    {"Sqrt", REAL(sqrt)},
    {"Tan", REAL(tan)},
    {"Tanh", .f32 = tanh_many, .f64 = tanh_f64},
    {"ThresholdedRelu", REAL(thresholded_relu), .attribute = {{"alpha", 1}}},
};

static unary_loop *pick_loop(const struct unary_op *op, int32_t dtype)
{
    switch (dtype) {
    case PITH_FLOAT32:
    case PITH_FLOAT16:
    case PITH_BFLOAT16:
        return op->f32;
    case PITH_FLOAT64:
        return op->f64;
    case PITH_INT8:
        return op->i8;
    case PITH_INT16:
        return op->i16;
    case PITH_INT32:
        return op->i32;
    case PITH_INT64:
        return op->i64;
    case PITH_UINT8:
    case PITH_BOOL:
        return op->u8;
    case PITH_UINT16:
        return op->u16;
    case PITH_UINT32:
        return op->u32;
    case PITH_UINT64:
        return op->u64;
    default:
        return NULL;
    }
}

static int unary_prepare(struct pith_step *step, struct pith_error *err)
{
    struct unary *u = pith_step_alloc(step, sizeof *u);
    const struct unary_op *op = NULL;

    if (!u)
        return -ENOMEM;
    for (size_t i = 0; i < sizeof ops / sizeof *ops && !op; i++)
        if (strcmp(ops[i].op, step->kernel->op) == 0)
            op = &ops[i];
    u->dtype = step->kernel->flags & PITH_KERNEL_QUANTIZED ? PITH_FLOAT32 : step->input[0].dtype;
    u->count = pith_shape_elements(&step->input[0].shape);
    u->through_f32 = numbers_in(NUMBERS_HALF, u->dtype);
    if (op)
        u->loop = pick_loop(op, u->dtype);
    if (op && op->f32 == gelu_many && u->loop &&
        strcmp(pith_node_string(step->graph, step->node, "approximate", "none"), "tanh") == 0)
        u->loop = u->dtype == PITH_FLOAT64 ? gelu_tanh_f64 : gelu_tanh_many;
    if (!u->loop)
        return pith_step_fail(step, err, -ENOTSUP, "no loop for %s", pith_dtype_name(u->dtype));
    if (!pith_shape_equal(&step->input[0].shape, &step->output[0].shape) ||
        step->output[0].dtype != step->input[0].dtype)
        return pith_step_fail(step, err, -EINVAL, "its output must be like its input");
    for (size_t i = 0; i < 2; i++)
        if (op->attribute[i].name)
            u->p[i] = pith_node_has(step->graph, step->node, op->attribute[i].name)
                          ? pith_node_float(step->graph, step->node, op->attribute[i].name, 0)
                          : op->attribute[i].otherwise;
    step->in_place = 1;
    step->params = u;
    return 0;
}

static int unary_run(struct pith_step *step, struct pith_error *err)
{
    const struct unary *u = step->params;
    const char *from = step->input[0].data;
    char *to = step->output[0].data;
    float chunk[NUMBERS_CHUNK];

    (void) err;
    if (!u->through_f32) {
        u->loop(from, to, u->count, u->p);
        return 0;
    }
    for (int64_t done = 0; done < u->count; done += NUMBERS_CHUNK) {
        int64_t n = u->count - done < NUMBERS_CHUNK ? u->count - done : NUMBERS_CHUNK;

        numbers_load_f32(u->dtype, from + 2 * done, 1, chunk, n);
        u->loop(chunk, chunk, n, u->p);
        numbers_store_f32(u->dtype, to + 2 * done, chunk, n);
    }
    return 0;
}

/* ---- channels-last values in float32, or on grids of 16 bits ---- */

static int read_words(struct pith_step *step, struct unary *u, struct pith_error *err)
{
    const struct pith_quantization *from = step->input_quantization[0],
                                   *to = step->output_quantization[0];

    if (!pith_is_word_grid(from) || !pith_is_word_grid(to))
        return pith_step_fail(step, err, -ENOTSUP, "this quantization is for floats");
    u->words = pith_byte_grid_form();
    u->from = (struct pith_byte_grid){from->scale[0], from->zero_point[0], 0};
    u->to = (struct pith_byte_grid){to->scale[0], to->zero_point[0], 0};
    return 0;
}

static int image_unary_prepare(struct pith_step *step, struct pith_error *err)
{
    int rc = unary_prepare(step, err);
    struct unary *u = step->params;

    if (rc < 0)
        return rc;
    u->dims = pith_image_dims(&step->output[0].shape);
    step->in_place = pith_image_equal(&step->input_image[0], &step->output_image[0]) ? 1 : 0;
    step->parts = pith_parts_of(u->dims.n * u->dims.h);
    return step->kernel->flags & PITH_KERNEL_QUANTIZED ? read_words(step, u, err) : 0;
}

static void words_run(const struct unary *u, const int16_t *x, int16_t *y, int64_t count)
{
    float chunk[4 * NUMBERS_CHUNK];

    for (int64_t at = 0; at < count; at += 4 * NUMBERS_CHUNK) {
        const int64_t n = count - at < 4 * NUMBERS_CHUNK ? count - at : 4 * NUMBERS_CHUNK;

        u->words->from_words(&u->from, x + at, chunk, n);
        u->loop(chunk, chunk, n, u->p);
        u->words->words_of(&u->to, chunk, y + at, n);
    }
}

static void image_unary_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    const struct unary *u = step->params;
    const struct pith_image *in = &step->input_image[0], *out = &step->output_image[0];
    const bool dense = in->pixel == u->dims.c && out->pixel == u->dims.c;
    const int64_t rows = u->dims.n * u->dims.h;
    const int64_t runs = dense ? 1 : u->dims.w, length = dense ? u->dims.w * u->dims.c : u->dims.c;

    for (int64_t i = pith_part_begin(rows, part, count); i < pith_part_begin(rows, part + 1, count);
         i++) {
        const int64_t n = i / u->dims.h, h = i % u->dims.h;
        const int64_t x = n * in->picture + h * in->row, y = n * out->picture + h * out->row;

        for (int64_t w = 0; w < runs; w++)
            if (u->words)
                words_run(u, (const int16_t *) step->input[0].data + x + w * in->pixel,
                          (int16_t *) step->output[0].data + y + w * out->pixel, length);
            else
                u->loop((const float *) step->input[0].data + x + w * in->pixel,
                        (float *) step->output[0].data + y + w * out->pixel, length, u->p);
    }
    if (part == 0)
        pith_image_zero_halo(step, 0);
}

static int image_unary_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    image_unary_part(step, 0, 1);
    return 0;
}

#define ENTRY(operator, t)                                                                         \
    {                                                                                              \
        .op = operator, .name = "unary", .types = {t}, .prepare = unary_prepare, .run = unary_run  \
    }
/* Both layouts */
#define ENTRIES(operator, t)                                                                       \
    {.op = operator,                                                                               \
     .name = "image_unary_f32",                                                                    \
     .types = {PITH_BIT(FLOAT32)},                                                                 \
     .flags = PITH_KERNEL_CHANNELS_LAST,                                                           \
     .prepare = image_unary_prepare,                                                               \
     .run = image_unary_run,                                                                       \
     .run_part = image_unary_part},                                                                \
        {.op = operator,                                                                           \
         .name = "image_unary_s16",                                                                \
         .types = {PITH_BIT(INT16)},                                                               \
         .output_type = PITH_BIT(INT16),                                                           \
         .flags = PITH_KERNEL_CHANNELS_LAST | PITH_KERNEL_QUANTIZED,                               \
         .prepare = image_unary_prepare,                                                           \
         .run = image_unary_run,                                                                   \
         .run_part = image_unary_part},                                                            \
        ENTRY(operator, t)
#define REAL_TYPES   (PITH_FLOATS | PITH_BIT(BFLOAT16))
#define NUMBER_TYPES (REAL_TYPES | PITH_INTS)

const struct pith_kernel pith_kernels_unary[] = {
    ENTRIES("Abs", NUMBER_TYPES),
    ENTRIES("Acos", REAL_TYPES),
    ENTRIES("Acosh", REAL_TYPES),
    ENTRIES("Asin", REAL_TYPES),
    ENTRIES("Asinh", REAL_TYPES),
    ENTRIES("Atan", REAL_TYPES),
    ENTRIES("Atanh", REAL_TYPES),
    ENTRY("BitwiseNot", PITH_INTS),
    ENTRIES("Ceil", REAL_TYPES),
    ENTRIES("Celu", REAL_TYPES),
    ENTRIES("Cos", REAL_TYPES),
    ENTRIES("Cosh", REAL_TYPES),
    ENTRIES("Elu", REAL_TYPES),
    ENTRIES("Erf", REAL_TYPES),
    ENTRIES("Exp", REAL_TYPES),
    ENTRIES("Floor", REAL_TYPES),
    ENTRIES("Gelu", REAL_TYPES),
    ENTRIES("HardSigmoid", REAL_TYPES),
    ENTRIES("HardSwish", REAL_TYPES),
    ENTRIES("LeakyRelu", REAL_TYPES),
    ENTRIES("Log", REAL_TYPES),
    ENTRIES("Mish", REAL_TYPES),
    ENTRIES("Neg", REAL_TYPES | PITH_SIGNED_INTS),
    ENTRY("Not", PITH_BIT(BOOL)),
    ENTRIES("Reciprocal", REAL_TYPES),
    ENTRIES("Relu", NUMBER_TYPES),
    ENTRIES("Round", REAL_TYPES),
    ENTRIES("Selu", REAL_TYPES),
    ENTRIES("Shrink", REAL_TYPES),
    ENTRIES("Sigmoid", REAL_TYPES),
    ENTRIES("Sign", NUMBER_TYPES),
    ENTRIES("Sin", REAL_TYPES),
    ENTRIES("Sinh", REAL_TYPES),
    ENTRIES("Softplus", REAL_TYPES),
    ENTRIES("Softsign", REAL_TYPES),
    ENTRIES("Sqrt", REAL_TYPES),
    ENTRIES("Tan", REAL_TYPES),
    ENTRIES("Tanh", REAL_TYPES),
    ENTRIES("ThresholdedRelu", REAL_TYPES),
    {0},
};
