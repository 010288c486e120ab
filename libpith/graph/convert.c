/* Elements of every type to double and back, and the 16-bit and 8-bit float formats.
 * Reads and writes through memcpy, so data may be unaligned. For reports, parameters and tests:
 * loops over weights have their own code in kernels/. */
#include <pith/tensor.h>

#include <assert.h>
#include <math.h>
#include <string.h>

static uint32_t float_bits(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of_bits(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

float pith_float16_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t) (half & 0x8000) << 16;
    uint32_t exponent = (half >> 10) & 0x1f;
    uint32_t mantissa = half & 0x3ff;

    if (exponent == 0x1f)
        return float_of_bits(sign | 0x7f800000 | mantissa << 13);
    if (exponent == 0) {
        float magnitude = (float) mantissa * 0x1p-24f;

        return sign ? -magnitude : magnitude;
    }
    return float_of_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

/* q is what the low `shift` bits of x are cut from; rounds to nearest, ties to even. */
static uint32_t shift_rounded(uint32_t x, unsigned shift)
{
    uint32_t q = x >> shift;
    uint32_t rest = x & ((UINT32_C(1) << shift) - 1);
    uint32_t half = UINT32_C(1) << (shift - 1);

    return q + (rest > half || (rest == half && (q & 1)));
}

uint16_t pith_float_to_float16(float value)
{
    uint32_t bits = float_bits(value);
    uint16_t sign = (uint16_t) (bits >> 16 & 0x8000);
    uint32_t magnitude = bits & 0x7fffffff;

    if (magnitude > 0x7f800000) /* NaN: keep the top of its payload, and keep it a NaN */
        return (uint16_t) (sign | 0x7e00 | (magnitude >> 13 & 0x1ff));
    if (magnitude >= 0x477ff000) /* 65520 and above round to infinity */
        return (uint16_t) (sign | 0x7c00);
    if (magnitude <= 0x33000000) /* 2^-25 and below round to zero */
        return sign;
    if (magnitude < 0x38800000) /* below 2^-14: subnormal */
        return (uint16_t) (sign | shift_rounded((magnitude & 0x7fffff) | 0x800000,
                                                126 - (magnitude >> 23)));
    return (uint16_t) (sign | shift_rounded(magnitude - (UINT32_C(112) << 23), 13));
}

float pith_bfloat16_to_float(uint16_t bits)
{
    return float_of_bits((uint32_t) bits << 16);
}

uint16_t pith_float_to_bfloat16(float value)
{
    uint32_t bits = float_bits(value);

    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t) (bits >> 16 | 0x40); /* rounding could carry a NaN into infinity */
    return (uint16_t) shift_rounded(bits, 16);
}

/* The four 8-bit formats, as ONNX defines them (FN: no infinity; UZ: no negative zero, 0x80 is
 * NaN). */
struct float8_format {
    int mantissa_bits;
    int bias;
    bool unsigned_zero;
    bool infinity;
};

static struct float8_format float8_format_of(int32_t dtype)
{
    switch (dtype) {
    case PITH_FLOAT8E4M3FN:
        return (struct float8_format){3, 7, false, false};
    case PITH_FLOAT8E4M3FNUZ:
        return (struct float8_format){3, 8, true, false};
    case PITH_FLOAT8E5M2:
        return (struct float8_format){2, 15, false, true};
    default:
        return (struct float8_format){2, 16, true, false};
    }
}

static bool float8_is_nan(struct float8_format format, uint8_t code)
{
    if (format.unsigned_zero)
        return code == 0x80;
    return format.infinity ? (code & 0x7f) > 0x7c : (code & 0x7f) == 0x7f;
}

static double float8_decode(struct float8_format format, uint8_t code)
{
    int exponent = (code & 0x7f) >> format.mantissa_bits;
    int mantissa = code & ((1 << format.mantissa_bits) - 1);
    double magnitude;

    if (float8_is_nan(format, code))
        return NAN;
    if (format.infinity && (code & 0x7f) == 0x7c)
        magnitude = INFINITY;
    else if (exponent == 0)
        magnitude = ldexp(mantissa, 1 - format.bias - format.mantissa_bits);
    else
        magnitude = ldexp(mantissa + (1 << format.mantissa_bits),
                          exponent - format.bias - format.mantissa_bits);
    return code & 0x80 ? -magnitude : magnitude;
}

/* Nearest, ties to even, saturating: what Cast does by default. */
static uint8_t float8_encode(struct float8_format format, double value)
{
    uint8_t largest = 0x7f;
    uint8_t low = 0;
    uint8_t high;
    double magnitude = fabs(value);

    if (isnan(value))
        return format.unsigned_zero ? 0x80 : 0x7f;
    if (!format.unsigned_zero)
        largest = format.infinity ? 0x7b : 0x7e;
    high = largest;
    while (low < high) { /* the greatest code whose value is at most the magnitude */
        uint8_t middle = (uint8_t) ((low + high + 1) / 2);

        if (float8_decode(format, middle) <= magnitude)
            low = middle;
        else
            high = (uint8_t) (middle - 1);
    }
    if (low < largest) {
        double below = magnitude - float8_decode(format, low);
        double above = float8_decode(format, (uint8_t) (low + 1)) - magnitude;

        if (above < below || (above == below && (low & 1)))
            low++;
    }
    if (!signbit(value) || (low == 0 && format.unsigned_zero))
        return low;
    return low | 0x80;
}

static int64_t int4_get(const struct pith_tensor *tensor, int64_t index)
{
    uint8_t pair = ((const uint8_t *) tensor->data)[index / 2];
    int nibble = index % 2 ? pair >> 4 : pair & 15;

    return tensor->dtype == PITH_INT4 && nibble > 7 ? nibble - 16 : nibble;
}

static void int4_set(struct pith_tensor *tensor, int64_t index, int64_t value)
{
    uint8_t *pair = (uint8_t *) tensor->data + index / 2;

    if (index % 2)
        *pair = (uint8_t) ((*pair & 15) | (value & 15) << 4);
    else
        *pair = (uint8_t) ((*pair & 0xf0) | (value & 15));
}

#define LOAD(type, from)                                                                           \
    ({                                                                                             \
        type loaded;                                                                               \
        memcpy(&loaded, (const char *) tensor->data + (size_t) (from) * sizeof loaded,             \
               sizeof loaded);                                                                     \
        loaded;                                                                                    \
    })
#define STORE(type, at, value)                                                                     \
    do {                                                                                           \
        type stored = (value);                                                                     \
        memcpy((char *) tensor->data + (size_t) (at) * sizeof stored, &stored, sizeof stored);     \
    } while (0)

double pith_tensor_get(const struct pith_tensor *tensor, int64_t index)
{
    assert(index >= 0);
    switch (tensor->dtype) {
    case PITH_FLOAT32:
        return LOAD(float, index);
    case PITH_FLOAT64:
        return LOAD(double, index);
    case PITH_COMPLEX64:
        return LOAD(float, 2 * index); /* the real part */
    case PITH_COMPLEX128:
        return LOAD(double, 2 * index);
    case PITH_FLOAT16:
        return pith_float16_to_float(LOAD(uint16_t, index));
    case PITH_BFLOAT16:
        return pith_bfloat16_to_float(LOAD(uint16_t, index));
    case PITH_FLOAT8E4M3FN:
    case PITH_FLOAT8E4M3FNUZ:
    case PITH_FLOAT8E5M2:
    case PITH_FLOAT8E5M2FNUZ:
        return float8_decode(float8_format_of(tensor->dtype), LOAD(uint8_t, index));
    case PITH_UINT64:
        return (double) LOAD(uint64_t, index);
    default:
        return (double) pith_tensor_get_int(tensor, index);
    }
}

int64_t pith_tensor_get_int(const struct pith_tensor *tensor, int64_t index)
{
    double value;

    assert(index >= 0);
    switch (tensor->dtype) {
    case PITH_UINT8:
        return LOAD(uint8_t, index);
    case PITH_INT8:
        return LOAD(int8_t, index);
    case PITH_UINT16:
        return LOAD(uint16_t, index);
    case PITH_INT16:
        return LOAD(int16_t, index);
    case PITH_INT32:
        return LOAD(int32_t, index);
    case PITH_UINT32:
        return LOAD(uint32_t, index);
    case PITH_INT64:
        return LOAD(int64_t, index);
    case PITH_UINT64: {
        uint64_t wide = LOAD(uint64_t, index);

        return wide > INT64_MAX ? INT64_MAX : (int64_t) wide;
    }
    case PITH_BOOL:
        return LOAD(uint8_t, index) != 0;
    case PITH_UINT4:
    case PITH_INT4:
        return int4_get(tensor, index);
    case PITH_DTYPE_NONE:
    case PITH_STRING:
        return 0;
    default:
        break;
    }
    if (pith_dtype_bits(tensor->dtype) == 0)
        return 0;
    value = pith_tensor_get(tensor, index);
    if (isnan(value))
        return 0;
    if (value >= 0x1p63)
        return INT64_MAX;
    return value <= -0x1p63 ? INT64_MIN : (int64_t) value;
}

/* Rounded to nearest even and kept within the type. */
static int64_t to_int(double value, double least, double most)
{
    if (isnan(value))
        return 0;
    value = nearbyint(value);
    return (int64_t) (value < least ? least : value > most ? most : value);
}

static void set_int64(struct pith_tensor *tensor, int64_t index, double value)
{
    int64_t wide;

    if (isnan(value))
        wide = 0;
    else if (value >= 0x1p63)
        wide = INT64_MAX;
    else
        wide = value <= -0x1p63 ? INT64_MIN : (int64_t) nearbyint(value);
    STORE(int64_t, index, wide);
}

static void set_uint64(struct pith_tensor *tensor, int64_t index, double value)
{
    uint64_t wide;

    if (isnan(value) || value <= 0)
        wide = 0;
    else
        wide = value >= 0x1p64 ? UINT64_MAX : (uint64_t) nearbyint(value);
    STORE(uint64_t, index, wide);
}

void pith_tensor_set(struct pith_tensor *tensor, int64_t index, double value)
{
    assert(index >= 0);
    switch (tensor->dtype) {
    case PITH_FLOAT32:
        STORE(float, index, (float) value);
        break;
    case PITH_FLOAT64:
        STORE(double, index, value);
        break;
    case PITH_COMPLEX64:
        STORE(float, 2 * index, (float) value);
        STORE(float, 2 * index + 1, 0);
        break;
    case PITH_COMPLEX128:
        STORE(double, 2 * index, value);
        STORE(double, 2 * index + 1, 0);
        break;
    case PITH_FLOAT16:
        STORE(uint16_t, index, pith_float_to_float16((float) value));
        break;
    case PITH_BFLOAT16:
        STORE(uint16_t, index, pith_float_to_bfloat16((float) value));
        break;
    case PITH_FLOAT8E4M3FN:
    case PITH_FLOAT8E4M3FNUZ:
    case PITH_FLOAT8E5M2:
    case PITH_FLOAT8E5M2FNUZ:
        STORE(uint8_t, index, float8_encode(float8_format_of(tensor->dtype), value));
        break;
    case PITH_UINT8:
        STORE(uint8_t, index, (uint8_t) to_int(value, 0, UINT8_MAX));
        break;
    case PITH_INT8:
        STORE(int8_t, index, (int8_t) to_int(value, INT8_MIN, INT8_MAX));
        break;
    case PITH_UINT16:
        STORE(uint16_t, index, (uint16_t) to_int(value, 0, UINT16_MAX));
        break;
    case PITH_INT16:
        STORE(int16_t, index, (int16_t) to_int(value, INT16_MIN, INT16_MAX));
        break;
    case PITH_INT32:
        STORE(int32_t, index, (int32_t) to_int(value, INT32_MIN, INT32_MAX));
        break;
    case PITH_UINT32:
        STORE(uint32_t, index, (uint32_t) to_int(value, 0, UINT32_MAX));
        break;
    case PITH_INT64:
        set_int64(tensor, index, value);
        break;
    case PITH_UINT64:
        set_uint64(tensor, index, value);
        break;
    case PITH_BOOL:
        STORE(uint8_t, index, value != 0);
        break;
    case PITH_UINT4:
        int4_set(tensor, index, to_int(value, 0, 15));
        break;
    case PITH_INT4:
        int4_set(tensor, index, to_int(value, -8, 7));
        break;
    default:
        break;
    }
}
