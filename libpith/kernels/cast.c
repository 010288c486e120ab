/* Cast, CastLike, IsNaN, IsInf, Where, Clip, PRelu and Dropout: types, choices and limits. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/numbers.h"
#include "libpith/kernels/walk.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* ---- Cast ---- */

struct cast {
    int64_t count;
    int32_t from, to;
};

static int cast_prepare(struct pith_step *step, struct pith_error *err)
{
    struct cast *c = pith_step_alloc(step, sizeof *c);

    if (!c)
        return -ENOMEM;
    *c = (struct cast){.count = pith_shape_elements(&step->input[0].shape),
                       .from = step->input[0].dtype,
                       .to = step->output[0].dtype};
    if (!pith_shape_equal(&step->input[0].shape, &step->output[0].shape))
        return pith_step_fail(step, err, -EINVAL, "its output must have its input's shape");
    if (c->from == c->to)
        step->view = 0;
    step->params = c;
    return 0;
}

static bool is_whole(int32_t dtype)
{
    return numbers_in(PITH_INTS | PITH_BIT(BOOL), dtype);
}

static int cast_run(struct pith_step *step, struct pith_error *err)
{
    const struct cast *c = step->params;
    const char *from = step->input[0].data;
    char *to = step->output[0].data;
    double real[NUMBERS_CHUNK];
    int64_t whole[NUMBERS_CHUNK];

    (void) err;
    for (int64_t done = 0; done < c->count; done += NUMBERS_CHUNK) {
        int64_t n = c->count - done < NUMBERS_CHUNK ? c->count - done : NUMBERS_CHUNK;

        if (is_whole(c->from) && is_whole(c->to)) {
            numbers_load_i64(c->from, from, 1, whole, n);
            numbers_store_i64(c->to, to, whole, n);
        } else {
            numbers_load_f64(c->from, from, 1, real, n);
            numbers_store_f64(c->to, to, real, n);
        }
        from += n * (int64_t) numbers_bytes(c->from);
        to += n * (int64_t) numbers_bytes(c->to);
    }
    return 0;
}

/* ---- IsNaN, IsInf ---- */

struct test_kind {
    int64_t count;
    bool nan, positive, negative;
};

static int test_prepare(struct pith_step *step, struct pith_error *err)
{
    struct test_kind *t = pith_step_alloc(step, sizeof *t);

    if (!t)
        return -ENOMEM;
    if (!pith_shape_equal(&step->input[0].shape, &step->output[0].shape) ||
        step->output[0].dtype != PITH_BOOL)
        return pith_step_fail(step, err, -EINVAL, "its output must be bool, of its input's shape");
    t->count = pith_shape_elements(&step->input[0].shape);
    t->nan = strcmp(step->kernel->op, "IsNaN") == 0;
    t->positive = pith_node_int(step->graph, step->node, "detect_positive", 1) != 0;
    t->negative = pith_node_int(step->graph, step->node, "detect_negative", 1) != 0;
    step->params = t;
    return 0;
}

static int test_run(struct pith_step *step, struct pith_error *err)
{
    const struct test_kind *t = step->params;
    const char *from = step->input[0].data;
    uint8_t *to = step->output[0].data;
    double chunk[NUMBERS_CHUNK];

    (void) err;
    for (int64_t done = 0; done < t->count; done += NUMBERS_CHUNK) {
        int64_t n = t->count - done < NUMBERS_CHUNK ? t->count - done : NUMBERS_CHUNK;

        numbers_load_f64(step->input[0].dtype, from, 1, chunk, n);
        for (int64_t i = 0; i < n; i++)
            to[done + i] = t->nan ? isnan(chunk[i])
                                  : isinf(chunk[i]) && (chunk[i] > 0 ? t->positive : t->negative);
        from += n * (int64_t) numbers_bytes(step->input[0].dtype);
    }
    return 0;
}

/* ---- Where ---- */

struct choice {
    struct walk walk; /* out, condition, x, y */
    size_t bytes;
    const uint8_t *condition;
    const char *x, *y;
    char *out;
};

static int where_prepare(struct pith_step *step, struct pith_error *err)
{
    struct choice *c = pith_step_alloc(step, sizeof *c);

    if (!c)
        return -ENOMEM;
    c->bytes = numbers_bytes(step->output[0].dtype);
    walk_init(&c->walk, 4, &step->output[0].shape);
    walk_dense(&c->walk, 0);
    for (uint32_t i = 0; i < 3; i++)
        if (!walk_broadcast(&c->walk, i + 1, &step->input[i].shape) ||
            (i > 0 && step->input[i].dtype != step->output[0].dtype))
            return pith_step_fail(step, err, -EINVAL, "input %u does not fit its output", i);
    walk_collapse(&c->walk);
    step->params = c;
    return 0;
}

#define CHOOSE(type)                                                                               \
    do {                                                                                           \
        const type *x = (const type *) c->x + offset[2], *y = (const type *) c->y + offset[3];     \
        type *out = (type *) c->out + offset[0];                                                   \
        for (int64_t i = 0; i < n; i++)                                                            \
            out[i] = condition[i * step[1]] ? x[i * step[2]] : y[i * step[3]];                     \
    } while (0)

static void choose(void *user, const int64_t *offset, const int64_t *step, int64_t n)
{
    const struct choice *c = user;
    const uint8_t *condition = c->condition + offset[1];

    switch (c->bytes) {
    case 1:
        CHOOSE(uint8_t);
        return;
    case 2:
        CHOOSE(uint16_t);
        return;
    case 4:
        CHOOSE(uint32_t);
        return;
    case 8:
        CHOOSE(uint64_t);
        return;
    default:
        for (int64_t i = 0; i < n; i++)
            memcpy(c->out + (offset[0] + i) * (int64_t) c->bytes,
                   condition[i * step[1]] ? c->x + (offset[2] + i * step[2]) * (int64_t) c->bytes
                                          : c->y + (offset[3] + i * step[3]) * (int64_t) c->bytes,
                   c->bytes);
    }
}

static int where_run(struct pith_step *step, struct pith_error *err)
{
    struct choice *c = step->params;

    (void) err;
    c->condition = step->input[0].data;
    c->x = step->input[1].data;
    c->y = step->input[2].data;
    c->out = step->output[0].data;
    walk_each(&c->walk, choose, c);
    return 0;
}

/* ---- Clip ---- */

struct clip {
    int64_t count;
    int32_t dtype;
    double low, high; /* attributes, up to opset 10 */
};

static int clip_prepare(struct pith_step *step, struct pith_error *err)
{
    struct clip *c = pith_step_alloc(step, sizeof *c);

    if (!c)
        return -ENOMEM;
    *c = (struct clip){.count = pith_shape_elements(&step->input[0].shape),
                       .dtype = step->input[0].dtype,
                       .low = -INFINITY,
                       .high = INFINITY};
    if (!pith_shape_equal(&step->input[0].shape, &step->output[0].shape) ||
        step->output[0].dtype != c->dtype)
        return pith_step_fail(step, err, -EINVAL, "its output must be like its input");
    for (size_t i = 1; i < 3; i++)
        if (pith_step_has(step, i) &&
            (pith_shape_elements(&step->input[i].shape) != 1 || step->input[i].dtype != c->dtype))
            return pith_step_fail(step, err, -EINVAL, "a bound must be one %s",
                                  pith_dtype_name(c->dtype));
    if (step->opset < 11) {
        if (pith_node_has(step->graph, step->node, "min"))
            c->low = pith_node_float(step->graph, step->node, "min", 0);
        if (pith_node_has(step->graph, step->node, "max"))
            c->high = pith_node_float(step->graph, step->node, "max", 0);
    }
    step->in_place = 1;
    step->params = c;
    return 0;
}

/* The upper bound is applied last, so it wins where they cross. NaN stays. */
#define LIMIT(type, value, low, high, n)                                                           \
    for (int64_t limit_i = 0; limit_i < (n); limit_i++) {                                          \
        type limited = (value)[limit_i];                                                           \
        limited = limited < (low) ? (low) : limited;                                               \
        (value)[limit_i] = limited > (high) ? (high) : limited;                                    \
    }

static void clip_f32(const struct pith_step *step, float low, float high)
{
    const struct clip *c = step->params;
    const float *from = step->input[0].data;
    float *to = step->output[0].data;

    for (int64_t i = 0; i < c->count; i++) {
        float v = from[i] < low ? low : from[i];

        to[i] = v > high ? high : v;
    }
}

static void clip_whole(struct pith_step *step, const struct clip *c)
{
    bool is_unsigned = c->dtype == PITH_UINT64;
    int64_t low = INT64_MIN, high = INT64_MAX, chunk[NUMBERS_CHUNK];
    /* uint64 is compared with its top bit flipped, which orders it as int64. */
    const int64_t flip = is_unsigned ? INT64_MIN : 0;
    const char *from = step->input[0].data;
    char *to = step->output[0].data;

    if (pith_step_has(step, 1))
        numbers_load_i64(c->dtype, step->input[1].data, 1, &low, 1), low ^= flip;
    if (pith_step_has(step, 2))
        numbers_load_i64(c->dtype, step->input[2].data, 1, &high, 1), high ^= flip;
    for (int64_t done = 0; done < c->count; done += NUMBERS_CHUNK) {
        int64_t n = c->count - done < NUMBERS_CHUNK ? c->count - done : NUMBERS_CHUNK;

        numbers_load_i64(c->dtype, from, 1, chunk, n);
        for (int64_t i = 0; i < n; i++)
            chunk[i] ^= flip;
        LIMIT(int64_t, chunk, low, high, n)
        for (int64_t i = 0; i < n; i++)
            chunk[i] ^= flip;
        numbers_store_i64(c->dtype, to, chunk, n);
        from += n * (int64_t) numbers_bytes(c->dtype);
        to += n * (int64_t) numbers_bytes(c->dtype);
    }
}

static int clip_run(struct pith_step *step, struct pith_error *err)
{
    const struct clip *c = step->params;
    double low = c->low, high = c->high, chunk[NUMBERS_CHUNK];
    const char *from = step->input[0].data;
    char *to = step->output[0].data;

    (void) err;
    if (numbers_in(PITH_INTS, c->dtype)) {
        clip_whole(step, c);
        return 0;
    }
    if (pith_step_has(step, 1))
        low = pith_tensor_get(&step->input[1], 0);
    if (pith_step_has(step, 2))
        high = pith_tensor_get(&step->input[2], 0);
    if (c->dtype == PITH_FLOAT32) {
        clip_f32(step, (float) low, (float) high);
        return 0;
    }
    for (int64_t done = 0; done < c->count; done += NUMBERS_CHUNK) {
        int64_t n = c->count - done < NUMBERS_CHUNK ? c->count - done : NUMBERS_CHUNK;

        numbers_load_f64(c->dtype, from, 1, chunk, n);
        LIMIT(double, chunk, low, high, n)
        numbers_store_f64(c->dtype, to, chunk, n);
        from += n * (int64_t) numbers_bytes(c->dtype);
        to += n * (int64_t) numbers_bytes(c->dtype);
    }
    return 0;
}

/* ---- PRelu ---- */

struct prelu {
    struct walk walk; /* out, x, slope */
    int32_t dtype;
    const char *x, *slope;
    char *out;
};

static int prelu_prepare(struct pith_step *step, struct pith_error *err)
{
    struct prelu *p = pith_step_alloc(step, sizeof *p);
    struct pith_shape slope = step->input[1].shape;

    if (!p)
        return -ENOMEM;
    p->dtype = step->input[0].dtype;
    /* Up to opset 6 the slope is one number, or one a channel. */
    if (step->opset < 7 && slope.rank == 1 && slope.dim[0] != 1)
        while (slope.rank + 1 < step->input[0].shape.rank)
            slope.dim[slope.rank++] = 1;
    walk_init(&p->walk, 3, &step->output[0].shape);
    walk_dense(&p->walk, 0);
    if (!pith_shape_equal(&step->input[0].shape, &step->output[0].shape) ||
        step->input[1].dtype != p->dtype || step->output[0].dtype != p->dtype ||
        !walk_broadcast(&p->walk, 1, &step->input[0].shape) || !walk_broadcast(&p->walk, 2, &slope))
        return pith_step_fail(step, err, -EINVAL, "the slope does not fit the input");
    walk_collapse(&p->walk);
    step->in_place = 1;
    step->params = p;
    return 0;
}

static void prelu_f32(const float *x, int64_t x_step, const float *slope, int64_t slope_step,
                      float *out, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float v = x[i * x_step];

        out[i] = v < 0 ? v * slope[i * slope_step] : v;
    }
}

static void prelu_part(void *user, const int64_t *offset, const int64_t *step, int64_t n)
{
    const struct prelu *p = user;
    const int64_t bytes = (int64_t) numbers_bytes(p->dtype);
    const char *x = p->x + offset[1] * bytes, *slope = p->slope + offset[2] * bytes;
    char *out = p->out + offset[0] * bytes;
    double a[NUMBERS_CHUNK], b[NUMBERS_CHUNK];

    if (p->dtype == PITH_FLOAT32) {
        prelu_f32((const float *) x, step[1], (const float *) slope, step[2], (float *) out, n);
        return;
    }
    for (int64_t done = 0; done < n; done += NUMBERS_CHUNK) {
        int64_t now = n - done < NUMBERS_CHUNK ? n - done : NUMBERS_CHUNK;

        numbers_load_f64(p->dtype, x + done * step[1] * bytes, step[1], a, now);
        numbers_load_f64(p->dtype, slope + done * step[2] * bytes, step[2], b, now);
        for (int64_t i = 0; i < now; i++)
            a[i] = a[i] < 0 ? a[i] * b[i] : a[i];
        numbers_store_f64(p->dtype, out + done * bytes, a, now);
    }
}

static int prelu_run(struct pith_step *step, struct pith_error *err)
{
    struct prelu *p = step->params;

    (void) err;
    p->x = step->input[0].data;
    p->slope = step->input[1].data;
    p->out = step->output[0].data;
    walk_each(&p->walk, prelu_part, p);
    return 0;
}

/* ---- Dropout: outside of training everything passes ---- */

static int dropout_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_tensor *training = pith_step_has(step, 2) ? &step->input[2] : NULL;

    if (training && !training->data)
        return pith_step_needs(step, 2);
    if (training &&
        (pith_shape_elements(&training->shape) != 1 || pith_tensor_get(training, 0) != 0)) {
        const struct pith_tensor *ratio = pith_step_has(step, 1) ? &step->input[1] : NULL;

        if (ratio && !ratio->data)
            return pith_step_needs(step, 1);
        if (!ratio || pith_shape_elements(&ratio->shape) != 1 || pith_tensor_get(ratio, 0) != 0)
            return pith_step_fail(step, err, -ENOTSUP,
                                  "it drops at random, which is for training alone");
    }
    if (!pith_shape_equal(&step->input[0].shape, &step->output[0].shape))
        return pith_step_fail(step, err, -EINVAL, "its output must have its input's shape");
    if (step->output[1].dtype == PITH_DTYPE_NONE)
        step->view = 0;
    return 0;
}

static int dropout_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    memcpy(step->output[0].data, step->input[0].data,
           (size_t) pith_tensor_bytes(step->input[0].dtype, &step->input[0].shape));
    if (step->output[1].dtype != PITH_DTYPE_NONE) /* the mask: 1 where kept, of one byte */
        memset(step->output[1].data, 1, (size_t) pith_shape_elements(&step->output[1].shape));
    return 0;
}

#define CASTABLE (NUMBERS_REAL | PITH_INTS | PITH_BIT(BOOL))
#define REALS    (PITH_FLOATS | PITH_BIT(BFLOAT16))

const struct pith_kernel pith_kernels_cast[] = {
    {.op = "Cast",
     .name = "cast",
     .types = {CASTABLE},
     .output_type = CASTABLE,
     .prepare = cast_prepare,
     .run = cast_run},
    {.op = "CastLike",
     .name = "cast",
     .types = {CASTABLE},
     .output_type = CASTABLE,
     .prepare = cast_prepare,
     .run = cast_run},
    {.op = "IsNaN",
     .name = "is_nan",
     .types = {NUMBERS_REAL},
     .prepare = test_prepare,
     .run = test_run},
    {.op = "IsInf",
     .name = "is_inf",
     .types = {NUMBERS_REAL},
     .prepare = test_prepare,
     .run = test_run},
    {.op = "Where",
     .name = "where",
     .types = {PITH_BIT(BOOL), NUMBERS_MOVED, NUMBERS_MOVED},
     .prepare = where_prepare,
     .run = where_run},
    {.op = "Clip",
     .name = "clip",
     .types = {REALS | PITH_INTS},
     .prepare = clip_prepare,
     .run = clip_run},
    {.op = "PRelu",
     .name = "prelu",
     .types = {REALS | PITH_INTS},
     .prepare = prelu_prepare,
     .run = prelu_run},
    {.op = "Dropout",
     .name = "dropout",
     .types = {REALS},
     .prepare = dropout_prepare,
     .run = dropout_run},
    {0},
};
