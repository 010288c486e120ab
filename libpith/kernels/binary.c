/* Operators of two inputs, element by element, broadcasting: arithmetic, comparisons, logic, bits.
 * Every type has a loop that moves on by any step; float32 arithmetic has loops for the common
 * steps too, which the compiler vectorizes. Integers wrap around; a division by zero is refused,
 * since nothing stands for its answer. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/numbers.h"
#include "libpith/kernels/walk.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <tgmath.h>

typedef void binary_loop(const void *a, int64_t a_step, const void *b, int64_t b_step, void *out,
                         int64_t n);

struct binary {
    binary_loop *loop;
    struct walk walk; /* out, a, b */
    int32_t dtype;    /* of a and b */
    int32_t out_dtype;
    size_t bytes, out_bytes;
    bool halves;       /* float16 or bfloat16: computed in float32 */
    bool out_half;     /* and the output is one too */
    bool refuses_zero; /* b must have no zero */
    const char *a, *b; /* of the run under way */
    char *out;
};

#define LOOP(name, type, out_type, expression)                                                     \
    static void name(const void *a_, int64_t a_step, const void *b_, int64_t b_step, void *out_,   \
                     int64_t n)                                                                    \
    {                                                                                              \
        const type *a = a_, *b = b_;                                                               \
        out_type *out = out_;                                                                      \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const type x = a[i * a_step], y = b[i * b_step];                                       \
            out[i] = (out_type) (expression);                                                      \
        }                                                                                          \
    }

/* float32, once more for runs where both move on, or one stays. */
#define LOOP_FAST(name, expression)                                                                \
    static void name(const void *a_, int64_t a_step, const void *b_, int64_t b_step, void *out_,   \
                     int64_t n)                                                                    \
    {                                                                                              \
        const float *a = a_, *b = b_;                                                              \
        float *out = out_;                                                                         \
        if (a_step == 1 && b_step == 1) {                                                          \
            for (int64_t i = 0; i < n; i++) {                                                      \
                const float x = a[i], y = b[i];                                                    \
                out[i] = expression;                                                               \
            }                                                                                      \
        } else if (a_step == 1 && b_step == 0) {                                                   \
            const float y = b[0];                                                                  \
            for (int64_t i = 0; i < n; i++) {                                                      \
                const float x = a[i];                                                              \
                out[i] = expression;                                                               \
            }                                                                                      \
        } else if (a_step == 0 && b_step == 1) {                                                   \
            const float x = a[0];                                                                  \
            for (int64_t i = 0; i < n; i++) {                                                      \
                const float y = b[i];                                                              \
                out[i] = expression;                                                               \
            }                                                                                      \
        } else {                                                                                   \
            for (int64_t i = 0; i < n; i++) {                                                      \
                const float x = a[i * a_step], y = b[i * b_step];                                  \
                out[i] = expression;                                                               \
            }                                                                                      \
        }                                                                                          \
    }

#define EACH_SIGNED(name, expression)                                                              \
    LOOP(name##_i8, int8_t, int8_t, expression)                                                    \
    LOOP(name##_i16, int16_t, int16_t, expression)                                                 \
    LOOP(name##_i32, int32_t, int32_t, expression)                                                 \
    LOOP(name##_i64, int64_t, int64_t, expression)
#define EACH_UNSIGNED(name, expression)                                                            \
    LOOP(name##_u8, uint8_t, uint8_t, expression)                                                  \
    LOOP(name##_u16, uint16_t, uint16_t, expression)                                               \
    LOOP(name##_u32, uint32_t, uint32_t, expression)                                               \
    LOOP(name##_u64, uint64_t, uint64_t, expression)
#define EACH_INT(name, expression) EACH_SIGNED(name, expression) EACH_UNSIGNED(name, expression)
#define EACH_COMPARISON(name, expression)                                                          \
    LOOP(name##_f32, float, uint8_t, expression)                                                   \
    LOOP(name##_f64, double, uint8_t, expression)                                                  \
    LOOP(name##_i8, int8_t, uint8_t, expression)                                                   \
    LOOP(name##_i16, int16_t, uint8_t, expression)                                                 \
    LOOP(name##_i32, int32_t, uint8_t, expression)                                                 \
    LOOP(name##_i64, int64_t, uint8_t, expression)                                                 \
    LOOP(name##_u8, uint8_t, uint8_t, expression)                                                  \
    LOOP(name##_u16, uint16_t, uint8_t, expression)                                                \
    LOOP(name##_u32, uint32_t, uint8_t, expression)                                                \
    LOOP(name##_u64, uint64_t, uint8_t, expression)
#define U(value) ((uint64_t) (value)) /* wraps where a signed sum would not be defined */

LOOP_FAST(add_f32, x + y)
LOOP_FAST(sub_f32, x - y)
LOOP_FAST(mul_f32, x *y)
LOOP_FAST(div_f32, x / y)
/* NaN where either is one. */
LOOP_FAST(max_f32, x > y || x != x ? x : y)
LOOP_FAST(min_f32, x < y || x != x ? x : y)
LOOP(add_f64, double, double, x + y)
LOOP(sub_f64, double, double, x - y)
LOOP(mul_f64, double, double, x *y)
LOOP(div_f64, double, double, x / y)
LOOP(max_f64, double, double, x > y || isnan(x) ? x : y)
LOOP(min_f64, double, double, x < y || isnan(x) ? x : y)
EACH_INT(add, U(x) + U(y))
EACH_INT(sub, U(x) - U(y))
EACH_INT(mul, U(x) * U(y))
EACH_INT(max, x > y ? x : y)
EACH_INT(min, x < y ? x : y)
/* y is not 0. By -1 is a negation, which wraps where the processor would trap. */
EACH_SIGNED(div, y == -1 ? 0 - U(x) : U(x / y))
EACH_UNSIGNED(div, x / y)
/* The sign is the divisor's (as in Python), or with fmod the dividend's (as in C). */
EACH_SIGNED(mod, y == -1 ? 0 : x % y != 0 && (x % y < 0) != (y < 0) ? x % y + y : x % y)
EACH_UNSIGNED(mod, x % y)
EACH_SIGNED(fmod, y == -1 ? 0 : x % y)
LOOP(fmod_f32, float, float, fmod(x, y))
LOOP(fmod_f64, double, double, fmod(x, y))
LOOP(mod_f32, float, float,
     fmod(x, y) != 0 && (fmod(x, y) < 0) != (y < 0) ? fmod(x, y) + y : fmod(x, y))
LOOP(mod_f64, double, double,
     fmod(x, y) != 0 && (fmod(x, y) < 0) != (y < 0) ? fmod(x, y) + y : fmod(x, y))
EACH_INT(and, x &y)
EACH_INT(or, x | y)
EACH_INT(xor, x ^ y)
/* Shifting everything out leaves 0. */
EACH_UNSIGNED(shift_left, y < 8 * sizeof x ? U(x) << y : 0)
EACH_UNSIGNED(shift_right, y < 8 * sizeof x ? U(x) >> y : 0)
EACH_COMPARISON(equal, x == y)
EACH_COMPARISON(less, x < y)
EACH_COMPARISON(less_equal, x <= y)
EACH_COMPARISON(greater, x > y)
EACH_COMPARISON(greater_equal, x >= y)
LOOP(logical_and, uint8_t, uint8_t, x &&y)
LOOP(logical_or, uint8_t, uint8_t, x || y)
LOOP(logical_xor, uint8_t, uint8_t, !x != !y)

struct binary_loops {
    binary_loop *f32, *f64, *i8, *i16, *i32, *i64, *u8, *u16, *u32, *u64, *boolean;
};
#define REAL(name)     .f32 = name##_f32, .f64 = name##_f64
#define SIGNED(name)   .i8 = name##_i8, .i16 = name##_i16, .i32 = name##_i32, .i64 = name##_i64
#define UNSIGNED(name) .u8 = name##_u8, .u16 = name##_u16, .u32 = name##_u32, .u64 = name##_u64
#define ALL(name)      REAL(name), SIGNED(name), UNSIGNED(name)

static const struct {
    const char *op;
    struct binary_loops loops;
} ops[] = {
    {"Add", {ALL(add)}},
    {"And", {.boolean = logical_and}},
    {"BitwiseAnd", {SIGNED(and), UNSIGNED(and)}},
    {"BitwiseOr", {SIGNED(or), UNSIGNED(or)}},
    {"BitwiseXor", {SIGNED(xor), UNSIGNED(xor)}},
    {"Div", {ALL(div)}},
    {"Equal", {ALL(equal), .boolean = equal_u8}},
    {"Greater", {ALL(greater)}},
    {"GreaterOrEqual", {ALL(greater_equal)}},
    {"Less", {ALL(less)}},
    {"LessOrEqual", {ALL(less_equal)}},
    {"Max", {ALL(max)}},
    {"Mean", {REAL(add)}},
    {"Min", {ALL(min)}},
    {"Mod", {ALL(mod)}},
    {"Mul", {ALL(mul)}},
    {"Or", {.boolean = logical_or}},
    {"Sub", {ALL(sub)}},
    {"Sum", {REAL(add)}},
    {"Xor", {.boolean = logical_xor}},
};
static const struct binary_loops fmod_loops = {REAL(fmod), SIGNED(fmod), UNSIGNED(mod)};
static const struct binary_loops left_loops = {UNSIGNED(shift_left)};
static const struct binary_loops right_loops = {UNSIGNED(shift_right)};

static binary_loop *pick_type(const struct binary_loops *loops, int32_t dtype)
{
    switch (dtype) {
    case PITH_FLOAT32:
    case PITH_FLOAT16:
    case PITH_BFLOAT16:
        return loops->f32;
    case PITH_FLOAT64:
        return loops->f64;
    case PITH_INT8:
        return loops->i8;
    case PITH_INT16:
        return loops->i16;
    case PITH_INT32:
        return loops->i32;
    case PITH_INT64:
        return loops->i64;
    case PITH_UINT8:
        return loops->u8;
    case PITH_UINT16:
        return loops->u16;
    case PITH_UINT32:
        return loops->u32;
    case PITH_UINT64:
        return loops->u64;
    case PITH_BOOL:
        return loops->boolean;
    default:
        return NULL;
    }
}

static const struct binary_loops *pick_loops(const struct pith_step *step)
{
    const char *op = step->kernel->op;

    if (strcmp(op, "Mod") == 0 && pith_node_int(step->graph, step->node, "fmod", 0) != 0)
        return &fmod_loops;
    if (strcmp(op, "BitShift") == 0)
        return strcmp(pith_node_string(step->graph, step->node, "direction", ""), "LEFT") == 0
                   ? &left_loops
                   : &right_loops;
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (strcmp(ops[i].op, op) == 0)
            return &ops[i].loops;
    return NULL;
}

static int binary_prepare(struct pith_step *step, struct pith_error *err)
{
    struct binary *b = pith_step_alloc(step, sizeof *b);
    const struct binary_loops *loops = pick_loops(step);
    bool divides = strcmp(step->kernel->op, "Div") == 0 || strcmp(step->kernel->op, "Mod") == 0;
    int rc;

    if (!b)
        return -ENOMEM;
    b->dtype = step->input[0].dtype;
    b->out_dtype = step->output[0].dtype;
    b->loop = loops ? pick_type(loops, b->dtype) : NULL;
    if (!b->loop)
        return pith_step_fail(step, err, -ENOTSUP, "no loop for %s", pith_dtype_name(b->dtype));
    if (step->input[1].dtype != b->dtype || (b->out_dtype != b->dtype && b->out_dtype != PITH_BOOL))
        return pith_step_fail(step, err, -EINVAL, "its operands are %s and %s",
                              pith_dtype_name(b->dtype), pith_dtype_name(step->input[1].dtype));
    if (strcmp(step->kernel->op, "BitShift") == 0 && loops == &right_loops &&
        strcmp(pith_node_string(step->graph, step->node, "direction", ""), "RIGHT") != 0)
        return pith_step_fail(step, err, -EINVAL, "attribute direction must be LEFT or RIGHT");
    rc = walk_pair(step, 0, 1, &b->walk, err);
    if (rc < 0)
        return rc;
    b->halves = numbers_in(NUMBERS_HALF, b->dtype);
    b->out_half = b->halves && b->out_dtype == b->dtype;
    b->refuses_zero = divides && numbers_in(PITH_INTS, b->dtype);
    b->bytes = numbers_bytes(b->dtype);
    b->out_bytes = numbers_bytes(b->out_dtype);
    for (uint32_t i = 0; i < 2; i++)
        if (pith_shape_equal(&step->input[i].shape, &step->output[0].shape) &&
            b->out_dtype == b->dtype)
            step->in_place |= UINT32_C(1) << i;
    step->params = b;
    return 0;
}

static void run_plain(void *user, const int64_t *offset, const int64_t *step, int64_t n)
{
    struct binary *b = user;

    b->loop(b->a + offset[1] * (int64_t) b->bytes, step[1],
            b->b + offset[2] * (int64_t) b->bytes, step[2],
            b->out + offset[0] * (int64_t) b->out_bytes, n);
}

static void run_halves(void *user, const int64_t *offset, const int64_t *step, int64_t n)
{
    struct binary *b = user;
    float x[NUMBERS_CHUNK], y[NUMBERS_CHUNK], z[NUMBERS_CHUNK];
    const char *from = b->a + 2 * offset[1], *other = b->b + 2 * offset[2];
    char *to = b->out + offset[0] * (int64_t) b->out_bytes;

    for (int64_t done = 0; done < n; done += NUMBERS_CHUNK) {
        int64_t now = n - done < NUMBERS_CHUNK ? n - done : NUMBERS_CHUNK;

        numbers_load_f32(b->dtype, from + 2 * done * step[1], step[1], x, now);
        numbers_load_f32(b->dtype, other + 2 * done * step[2], step[2], y, now);
        if (!b->out_half) {
            b->loop(x, 1, y, 1, to + done, now);
            continue;
        }
        b->loop(x, 1, y, 1, z, now);
        numbers_store_f32(b->dtype, to + 2 * done, z, now);
    }
}

static bool has_zero(const struct pith_tensor *tensor)
{
    int64_t chunk[NUMBERS_CHUNK], count = pith_shape_elements(&tensor->shape);
    const char *p = tensor->data;

    for (int64_t done = 0; done < count; done += NUMBERS_CHUNK) {
        int64_t n = count - done < NUMBERS_CHUNK ? count - done : NUMBERS_CHUNK;

        numbers_load_i64(tensor->dtype, p + done * (int64_t) numbers_bytes(tensor->dtype), 1, chunk,
                         n);
        for (int64_t i = 0; i < n; i++)
            if (chunk[i] == 0)
                return true;
    }
    return false;
}

static int binary_run(struct pith_step *step, struct pith_error *err)
{
    struct binary *b = step->params;

    if (b->refuses_zero && has_zero(&step->input[1]))
        return pith_step_fail(step, err, -EINVAL, "integers are divided by zero");
    b->a = step->input[0].data;
    b->b = step->input[1].data;
    b->out = step->output[0].data;
    walk_each(&b->walk, b->halves ? run_halves : run_plain, b);
    return 0;
}

/* ---- Max, Min, Sum, Mean of any number ---- */

struct variadic {
    struct binary binary;
    struct walk *walks; /* of input i and the output so far, as its a and b */
    size_t count;
    double divisor; /* Mean; 1 otherwise */
};

static int variadic_prepare(struct pith_step *step, struct pith_error *err)
{
    struct variadic *v = pith_step_alloc(step, sizeof *v);
    const struct binary_loops *loops = pick_loops(step);
    int32_t dtype = step->output[0].dtype;

    if (!v)
        return -ENOMEM;
    v->walks = pith_step_alloc(step, (int64_t) (step->input_count * sizeof *v->walks));
    if (!v->walks)
        return -ENOMEM;
    v->count = step->input_count;
    v->divisor = strcmp(step->kernel->op, "Mean") == 0 ? (double) v->count : 1;
    v->binary.loop = loops ? pick_type(loops, dtype) : NULL;
    if (!v->binary.loop)
        return pith_step_fail(step, err, -ENOTSUP, "no loop for %s", pith_dtype_name(dtype));
    v->binary.dtype = v->binary.out_dtype = dtype;
    v->binary.halves = v->binary.out_half = numbers_in(NUMBERS_HALF, dtype);
    v->binary.bytes = v->binary.out_bytes = numbers_bytes(dtype);
    for (size_t i = 0; i < v->count; i++) {
        walk_init(&v->walks[i], 3, &step->output[0].shape);
        walk_dense(&v->walks[i], 0);
        walk_dense(&v->walks[i], 1);
        if (step->input[i].dtype != dtype ||
            !walk_broadcast(&v->walks[i], 2, &step->input[i].shape))
            return pith_step_fail(step, err, -EINVAL, "input %zu does not fit its output", i);
        if (i == 1 && !walk_broadcast(&v->walks[i], 1, &step->input[0].shape))
            return pith_step_fail(step, err, -EINVAL, "input 0 does not fit its output");
        walk_collapse(&v->walks[i]);
    }
    step->params = v;
    return 0;
}

static void copy_run(void *user, const int64_t *offset, const int64_t *step, int64_t n)
{
    struct binary *b = user;
    const size_t bytes = b->out_bytes;

    for (int64_t i = 0; i < n; i++)
        memcpy(b->out + (offset[0] + i) * (int64_t) bytes,
               b->b + (offset[2] + i * step[2]) * (int64_t) bytes, bytes);
}

static void divide(const struct variadic *v, struct pith_tensor *out)
{
    double chunk[NUMBERS_CHUNK];
    int64_t count = pith_shape_elements(&out->shape);
    char *p = out->data;

    for (int64_t done = 0; done < count; done += NUMBERS_CHUNK) {
        int64_t n = count - done < NUMBERS_CHUNK ? count - done : NUMBERS_CHUNK;

        numbers_load_f64(out->dtype, p, 1, chunk, n);
        for (int64_t i = 0; i < n; i++)
            chunk[i] /= v->divisor;
        numbers_store_f64(out->dtype, p, chunk, n);
        p += n * (int64_t) v->binary.out_bytes;
    }
}

static int variadic_run(struct pith_step *step, struct pith_error *err)
{
    struct variadic *v = step->params;
    struct binary *b = &v->binary;

    (void) err;
    b->out = step->output[0].data;
    if (v->count == 1) {
        b->b = step->input[0].data;
        walk_each(&v->walks[0], copy_run, b);
    }
    for (size_t i = 1; i < v->count; i++) {
        b->a = i == 1 ? step->input[0].data : b->out;
        b->b = step->input[i].data;
        walk_each(&v->walks[i], b->halves ? run_halves : run_plain, b);
    }
    if (v->divisor != 1)
        divide(v, &step->output[0]);
    return 0;
}

#define REAL_TYPES   (PITH_FLOATS | PITH_BIT(BFLOAT16))
#define NUMBER_TYPES (REAL_TYPES | PITH_INTS)
#define BINARY(operator, t)                                                                        \
    {                                                                                              \
        .op = operator, .name = "binary", .types = {t, t}, .prepare = binary_prepare,              \
        .run = binary_run                                                                          \
    }
#define VARIADIC(operator, t)                                                                      \
    {                                                                                              \
        .op = operator, .name = "variadic", .types = {t, t}, .prepare = variadic_prepare,          \
        .run = variadic_run                                                                        \
    }

const struct pith_kernel pith_kernels_binary[] = {
    BINARY("Add", NUMBER_TYPES),
    BINARY("And", PITH_BIT(BOOL)),
    BINARY("BitShift", PITH_UNSIGNED_INTS),
    BINARY("BitwiseAnd", PITH_INTS),
    BINARY("BitwiseOr", PITH_INTS),
    BINARY("BitwiseXor", PITH_INTS),
    BINARY("Div", NUMBER_TYPES),
    BINARY("Equal", NUMBER_TYPES | PITH_BIT(BOOL)),
    BINARY("Greater", NUMBER_TYPES),
    BINARY("GreaterOrEqual", NUMBER_TYPES),
    BINARY("Less", NUMBER_TYPES),
    BINARY("LessOrEqual", NUMBER_TYPES),
    BINARY("Mod", NUMBER_TYPES),
    BINARY("Mul", NUMBER_TYPES),
    BINARY("Or", PITH_BIT(BOOL)),
    BINARY("Sub", NUMBER_TYPES),
    BINARY("Xor", PITH_BIT(BOOL)),
    VARIADIC("Max", NUMBER_TYPES),
    VARIADIC("Mean", REAL_TYPES),
    VARIADIC("Min", NUMBER_TYPES),
    VARIADIC("Sum", REAL_TYPES),
    {0},
};
