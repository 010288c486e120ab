/* Elements of any type in runs. See numbers.h. */
#include "libpith/kernels/numbers.h"

#include <math.h>
#include <string.h>

#define LOAD(type)                                                                                 \
    do {                                                                                           \
        const type *elements = from;                                                               \
        for (int64_t i = 0; i < n; i++)                                                            \
            out[i] = elements[i * stride];                                                         \
    } while (0)

/* Types that only pith_tensor_get knows: a tensor of rank 1 around them. */
static struct pith_tensor around(int32_t dtype, const void *data, int64_t count)
{
    return (struct pith_tensor){.dtype = dtype,
                                .shape = {.rank = 1, .dim = {count}},
                                .data = (void *) data,
                                .bytes = (size_t) count * numbers_bytes(dtype)};
}

void numbers_load_f64(int32_t dtype, const void *from, int64_t stride, double *out, int64_t n)
{
    const uint16_t *half = from;
    const uint8_t *byte = from;

    if (n == 0) /* there may be no memory behind them */
        return;
    switch (dtype) {
    case PITH_FLOAT32:
        LOAD(float);
        return;
    case PITH_FLOAT64:
        LOAD(double);
        return;
    case PITH_INT8:
        LOAD(int8_t);
        return;
    case PITH_UINT8:
    case PITH_BOOL:
        LOAD(uint8_t);
        return;
    case PITH_INT16:
        LOAD(int16_t);
        return;
    case PITH_UINT16:
        LOAD(uint16_t);
        return;
    case PITH_INT32:
        LOAD(int32_t);
        return;
    case PITH_UINT32:
        LOAD(uint32_t);
        return;
    case PITH_INT64: {
        const int64_t *p = from;

        for (int64_t i = 0; i < n; i++)
            out[i] = (double) p[i * stride];
        return;
    }
    case PITH_UINT64: {
        const uint64_t *p = from;

        for (int64_t i = 0; i < n; i++)
            out[i] = (double) p[i * stride];
        return;
    }
    case PITH_FLOAT16:
        for (int64_t i = 0; i < n; i++)
            out[i] = pith_float16_to_float(half[i * stride]);
        return;
    case PITH_BFLOAT16:
        for (int64_t i = 0; i < n; i++)
            out[i] = pith_bfloat16_to_float(half[i * stride]);
        return;
    default:
        for (int64_t i = 0; i < n; i++) {
            struct pith_tensor one = around(dtype, byte + i * stride, 1);

            out[i] = pith_tensor_get(&one, 0);
        }
    }
}

void numbers_load_f32(int32_t dtype, const void *from, int64_t stride, float *out, int64_t n)
{
    double chunk[NUMBERS_CHUNK];
    const char *p = from;

    if (dtype == PITH_FLOAT32) {
        LOAD(float);
        return;
    }
    while (n > 0) {
        int64_t now = n < NUMBERS_CHUNK ? n : NUMBERS_CHUNK;

        numbers_load_f64(dtype, p, stride, chunk, now);
        for (int64_t i = 0; i < now; i++)
            out[i] = (float) chunk[i];
        p += now * stride * (int64_t) numbers_bytes(dtype);
        out += now;
        n -= now;
    }
}

static int64_t int_of_real(double value)
{
    if (isnan(value))
        return 0;
    if (value >= 9223372036854775808.0)
        return INT64_MAX;
    return value < -9223372036854775808.0 ? INT64_MIN : (int64_t) value;
}

void numbers_load_i64(int32_t dtype, const void *from, int64_t stride, int64_t *out, int64_t n)
{
    double chunk[NUMBERS_CHUNK];
    const char *p = from;

    switch (dtype) {
    case PITH_INT8:
        LOAD(int8_t);
        return;
    case PITH_UINT8:
    case PITH_BOOL:
        LOAD(uint8_t);
        return;
    case PITH_INT16:
        LOAD(int16_t);
        return;
    case PITH_UINT16:
        LOAD(uint16_t);
        return;
    case PITH_INT32:
        LOAD(int32_t);
        return;
    case PITH_UINT32:
        LOAD(uint32_t);
        return;
    case PITH_INT64:
    case PITH_UINT64: /* the same bits */
        LOAD(int64_t);
        return;
    default:
        break;
    }
    while (n > 0) {
        int64_t now = n < NUMBERS_CHUNK ? n : NUMBERS_CHUNK;

        numbers_load_f64(dtype, p, stride, chunk, now);
        for (int64_t i = 0; i < now; i++)
            out[i] = int_of_real(chunk[i]);
        p += now * stride * (int64_t) numbers_bytes(dtype);
        out += now;
        n -= now;
    }
}

#define SATURATE(type, low, high)                                                                  \
    do {                                                                                           \
        type *p = to;                                                                              \
        for (int64_t i = 0; i < n; i++) {                                                          \
            double v = from[i];                                                                    \
            p[i] = isnan(v)      ? 0                                                               \
                   : v <= (low)  ? (type) (low)                                                    \
                   : v >= (high) ? (type) (high)                                                   \
                                 : (type) v;                                                       \
        }                                                                                          \
    } while (0)

void numbers_store_f64(int32_t dtype, void *to, const double *from, int64_t n)
{
    struct pith_tensor tensor;
    float *f32 = to;
    uint16_t *half = to;
    uint8_t *byte = to;
    int64_t *i64 = to;
    uint64_t *u64 = to;

    switch (dtype) {
    case PITH_FLOAT32:
        for (int64_t i = 0; i < n; i++)
            f32[i] = (float) from[i];
        return;
    case PITH_FLOAT64:
        memcpy(to, from, (size_t) n * sizeof *from);
        return;
    case PITH_FLOAT16:
        for (int64_t i = 0; i < n; i++)
            half[i] = pith_float_to_float16((float) from[i]);
        return;
    case PITH_BFLOAT16:
        for (int64_t i = 0; i < n; i++)
            half[i] = pith_float_to_bfloat16((float) from[i]);
        return;
    case PITH_BOOL:
        for (int64_t i = 0; i < n; i++)
            byte[i] = from[i] != 0;
        return;
    case PITH_INT8:
        SATURATE(int8_t, INT8_MIN, INT8_MAX);
        return;
    case PITH_UINT8:
        SATURATE(uint8_t, 0, UINT8_MAX);
        return;
    case PITH_INT16:
        SATURATE(int16_t, INT16_MIN, INT16_MAX);
        return;
    case PITH_UINT16:
        SATURATE(uint16_t, 0, UINT16_MAX);
        return;
    case PITH_INT32:
        SATURATE(int32_t, INT32_MIN, INT32_MAX);
        return;
    case PITH_UINT32:
        SATURATE(uint32_t, 0, UINT32_MAX);
        return;
    case PITH_INT64:
        for (int64_t i = 0; i < n; i++)
            i64[i] = int_of_real(from[i]);
        return;
    case PITH_UINT64:
        for (int64_t i = 0; i < n; i++)
            u64[i] = !(from[i] > 0)                      ? 0
                     : from[i] >= 18446744073709551616.0 ? UINT64_MAX
                                                         : (uint64_t) from[i];
        return;
    default:
        tensor = around(dtype, to, n);
        for (int64_t i = 0; i < n; i++)
            pith_tensor_set(&tensor, i, from[i]);
    }
}

void numbers_store_f32(int32_t dtype, void *to, const float *from, int64_t n)
{
    double chunk[NUMBERS_CHUNK];
    char *p = to;

    if (dtype == PITH_FLOAT32) {
        memcpy(to, from, (size_t) n * sizeof *from);
        return;
    }
    while (n > 0) {
        int64_t now = n < NUMBERS_CHUNK ? n : NUMBERS_CHUNK;

        for (int64_t i = 0; i < now; i++)
            chunk[i] = from[i];
        numbers_store_f64(dtype, p, chunk, now);
        p += now * (int64_t) numbers_bytes(dtype);
        from += now;
        n -= now;
    }
}

#define WRAP(type)                                                                                 \
    do {                                                                                           \
        type *p = to;                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            p[i] = (type) from[i];                                                                 \
    } while (0)

void numbers_store_i64(int32_t dtype, void *to, const int64_t *from, int64_t n)
{
    double chunk[NUMBERS_CHUNK];
    uint8_t *byte = to;

    switch (dtype) {
    case PITH_INT8:
        WRAP(int8_t);
        return;
    case PITH_UINT8:
        WRAP(uint8_t);
        return;
    case PITH_INT16:
        WRAP(int16_t);
        return;
    case PITH_UINT16:
        WRAP(uint16_t);
        return;
    case PITH_INT32:
        WRAP(int32_t);
        return;
    case PITH_UINT32:
        WRAP(uint32_t);
        return;
    case PITH_INT64:
    case PITH_UINT64:
        WRAP(int64_t);
        return;
    case PITH_BOOL:
        for (int64_t i = 0; i < n; i++)
            byte[i] = from[i] != 0;
        return;
    default:
        break;
    }
    while (n > 0) {
        int64_t now = n < NUMBERS_CHUNK ? n : NUMBERS_CHUNK;

        for (int64_t i = 0; i < now; i++)
            chunk[i] = (double) from[i];
        numbers_store_f64(dtype, byte, chunk, now);
        byte += now * (int64_t) numbers_bytes(dtype);
        from += now;
        n -= now;
    }
}
