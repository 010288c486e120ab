/* Pow: a base to an exponent, which may be of another type; they broadcast. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/numbers.h"
#include "libpith/kernels/walk.h"

#include <errno.h>
#include <math.h>

struct power {
    struct walk walk; /* out, base, exponent */
    int32_t base_dtype, exponent_dtype;
    size_t base_bytes, exponent_bytes;
    bool constant; /* float32 by one known number that needs no pow(): 2, 3 or a half */
    float exponent;
    int64_t count;
    const char *from, *by; /* of the run under way */
    char *to;
};

static bool by_simple_constant(const struct pith_step *step, float *exponent)
{
    const struct pith_tensor *by = &step->input[1];

    if (step->input[0].dtype != PITH_FLOAT32 || !by->data || numbers_bytes(by->dtype) == 0 ||
        pith_shape_elements(&by->shape) != 1 ||
        !pith_shape_equal(&step->input[0].shape, &step->output[0].shape))
        return false;
    *exponent = (float) pith_tensor_get(by, 0);
    return *exponent == 2 || *exponent == 0.5F || *exponent == 3;
}

static int power_prepare(struct pith_step *step, struct pith_error *err)
{
    struct power *p = pith_step_alloc(step, sizeof *p);
    int rc;

    if (!p)
        return -ENOMEM;
    p->base_dtype = step->input[0].dtype;
    p->exponent_dtype = step->input[1].dtype;
    if (step->output[0].dtype != p->base_dtype)
        return pith_step_fail(step, err, -EINVAL, "its output is not of the base's type");
    rc = walk_pair(step, 0, 1, &p->walk, err);
    if (rc < 0)
        return rc;
    p->base_bytes = numbers_bytes(p->base_dtype);
    p->exponent_bytes = numbers_bytes(p->exponent_dtype);
    p->count = pith_shape_elements(&step->output[0].shape);
    p->constant = by_simple_constant(step, &p->exponent);
    step->in_place = pith_shape_equal(&step->input[0].shape, &step->output[0].shape) ? 1 : 0;
    step->params = p;
    return 0;
}

/* Integers are raised in integers, so that nothing past 2^53 is lost; they wrap around. */
static int64_t int_power(int64_t base, int64_t exponent)
{
    uint64_t result = 1, factor = (uint64_t) base;

    if (exponent < 0)
        return base == 1 ? 1 : base == -1 ? (exponent % 2 ? -1 : 1) : 0;
    for (; exponent > 0; exponent >>= 1) {
        if (exponent & 1)
            result *= factor;
        factor *= factor;
    }
    return (int64_t) result;
}

static void chunk_of_integers(const struct power *p, const char *base, int64_t base_step,
                              const char *exponent, int64_t exponent_step, char *out, int64_t n)
{
    int64_t x[NUMBERS_CHUNK], y[NUMBERS_CHUNK];

    numbers_load_i64(p->base_dtype, base, base_step, x, n);
    numbers_load_i64(p->exponent_dtype, exponent, exponent_step, y, n);
    for (int64_t i = 0; i < n; i++)
        x[i] = int_power(x[i], y[i]);
    numbers_store_i64(p->base_dtype, out, x, n);
}

static void chunk_of_reals(const struct power *p, const char *base, int64_t base_step,
                           const char *exponent, int64_t exponent_step, char *out, int64_t n)
{
    double x[NUMBERS_CHUNK], y[NUMBERS_CHUNK];

    numbers_load_f64(p->base_dtype, base, base_step, x, n);
    numbers_load_f64(p->exponent_dtype, exponent, exponent_step, y, n);
    for (int64_t i = 0; i < n; i++)
        x[i] = pow(x[i], y[i]);
    numbers_store_f64(p->base_dtype, out, x, n);
}

static void run_by_chunks(void *user, const int64_t *offset, const int64_t *step, int64_t n)
{
    const struct power *p = user;
    const char *base = p->from + offset[1] * (int64_t) p->base_bytes;
    const char *exponent = p->by + offset[2] * (int64_t) p->exponent_bytes;
    char *out = p->to + offset[0] * (int64_t) p->base_bytes;
    bool integers =
        numbers_in(PITH_INTS, p->base_dtype) && numbers_in(PITH_INTS, p->exponent_dtype);

    for (int64_t done = 0; done < n; done += NUMBERS_CHUNK)
        (integers ? chunk_of_integers : chunk_of_reals)(
            p, base + done * step[1] * (int64_t) p->base_bytes, step[1],
            exponent + done * step[2] * (int64_t) p->exponent_bytes, step[2],
            out + done * (int64_t) p->base_bytes,
            n - done < NUMBERS_CHUNK ? n - done : NUMBERS_CHUNK);
}

static void run_f32(void *user, const int64_t *offset, const int64_t *step, int64_t n)
{
    const struct power *p = user;
    const float *x = (const float *) p->from + offset[1];
    const float *y = (const float *) p->by + offset[2];
    float *out = (float *) p->to + offset[0];

    for (int64_t i = 0; i < n; i++)
        out[i] = powf(x[i * step[1]], y[i * step[2]]);
}

static void run_constant(const struct power *p, const float *x, float *out)
{
    if (p->exponent == 2)
        for (int64_t i = 0; i < p->count; i++)
            out[i] = x[i] * x[i];
    else if (p->exponent == 3)
        for (int64_t i = 0; i < p->count; i++)
            out[i] = x[i] * x[i] * x[i];
    else /* 0.5: what pow gives for -0 and -inf, too, is +0 and inf */
        for (int64_t i = 0; i < p->count; i++)
            out[i] = x[i] == -INFINITY ? INFINITY : sqrtf(x[i]) + 0.0F;
}

static int power_run(struct pith_step *step, struct pith_error *err)
{
    struct power *p = step->params;
    bool f32 = p->base_dtype == PITH_FLOAT32 && p->exponent_dtype == PITH_FLOAT32;

    (void) err;
    if (p->constant) {
        run_constant(p, step->input[0].data, step->output[0].data);
        return 0;
    }
    p->from = step->input[0].data;
    p->by = step->input[1].data;
    p->to = step->output[0].data;
    walk_each(&p->walk, f32 ? run_f32 : run_by_chunks, p);
    return 0;
}

#define POWER_TYPES (PITH_FLOATS | PITH_BIT(BFLOAT16) | PITH_INTS)

const struct pith_kernel pith_kernels_power[] = {
    {.op = "Pow",
     .name = "pow",
     .types = {POWER_TYPES, POWER_TYPES},
     .prepare = power_prepare,
     .run = power_run},
    {0},
};
