/* The loops of rows_f32.h for one instruction set (vectors_begin.h). */
#include "libpith/kernels/vectors_begin.h"

#include "libpith/kernels/math_f32_inline.h"

/* Over all lanes. */
INLINE float FORM(sum_of)(FORM(vector) x)
{
#if LANES == 16
    return _mm512_reduce_add_ps((__m512) x);
#elif LANES == 8
    return sum_of_four(
        _mm_add_ps(_mm256_castps256_ps128((__m256) x), _mm256_extractf128_ps((__m256) x, 1)));
#elif defined __x86_64__
    return sum_of_four((__m128) x);
#elif defined __aarch64__
    return vaddvq_f32((float32x4_t) x);
#else
    return (x[0] + x[1]) + (x[2] + x[3]);
#endif
}

INLINE float FORM(most_of)(FORM(vector) x)
{
#if LANES == 16
    return _mm512_reduce_max_ps((__m512) x);
#elif LANES == 8
    return most_of_four(
        _mm_max_ps(_mm256_castps256_ps128((__m256) x), _mm256_extractf128_ps((__m256) x, 1)));
#elif defined __x86_64__
    return most_of_four((__m128) x);
#elif defined __aarch64__
    return vmaxvq_f32((float32x4_t) x);
#else
    const float a = x[0] > x[1] ? x[0] : x[1], b = x[2] > x[3] ? x[2] : x[3];

    return a > b ? a : b;
#endif
}

/* `count` lanes of scale * x + mask, the others -inf. */
INLINE FORM(vector) FORM(scores)(const float *x, const float *mask, float scale, int count)
{
    float some[LANES];

    if (count == LANES)
        return mask ? FORM(load)(x) * scale + FORM(load)(mask) : FORM(load)(x) * scale;
    for (int l = 0; l < LANES; l++)
        some[l] = l >= count ? -__builtin_inff() : x[l] * scale + (mask ? mask[l] : 0.0F);
    return FORM(load)(some);
}

TARGET static float FORM(exponentials)(float *y, const float *x, int64_t count, float scale,
                                       const float *mask)
{
    const int rest = (int) (count % LANES);
    const int64_t whole = count - rest;
    FORM(vector) most = FORM(spread)(-__builtin_inff()), sum = FORM(spread)(0.0F), last = most;

    for (int64_t i = 0; i < whole; i += LANES) {
        const FORM(vector) v = FORM(scores)(x + i, mask ? mask + i : NULL, scale, LANES);

        most = FORM(at_least)(most, v);
        FORM(store)(y + i, v);
    }
    if (rest)
        last = FORM(scores)(x + whole, mask ? mask + whole : NULL, scale, rest);
    most = FORM(spread)(FORM(most_of)(FORM(at_least)(most, last)));
    for (int64_t i = 0; i < whole; i += LANES) {
        const FORM(vector) e = FORM(exp_of)(FORM(load)(y + i) - most);

        sum += e;
        FORM(store)(y + i, e);
    }
    if (rest) {
        last = FORM(exp_of)(last - most);
        sum += last;
        FORM(store_some)(y + whole, last, rest);
    }
    return FORM(sum_of)(sum);
}

TARGET static void FORM(multiply)(float *y, int64_t count, float by)
{
    int64_t i = 0;

    for (; i + LANES <= count; i += LANES)
        FORM(store)(y + i, FORM(load)(y + i) * by);
    if (i < count)
        FORM(store_some)(y + i, FORM(load_some)(y + i, (int) (count - i)) * by, (int) (count - i));
}

/* The sums of x[i] - from, and of its squares. */
INLINE void FORM(totals)(const float *x, int64_t count, float from, double *out_sum,
                         double *out_squares)
{
    *out_sum = *out_squares = 0.0;
    for (int64_t begin = 0; begin < count; begin += 64 * LANES) {
        const int64_t end = count - begin < 64 * LANES ? count : begin + 64 * LANES;
        FORM(vector) sum = FORM(spread)(0.0F), squares = sum;
        int64_t i = begin;

        for (; i + LANES <= end; i += LANES) {
            const FORM(vector) d = FORM(load)(x + i) - from;

            sum += d;
            squares += d * d;
        }
        *out_sum += (double) FORM(sum_of)(sum);
        *out_squares += (double) FORM(sum_of)(squares);
        for (; i < end; i++) {
            const float d = x[i] - from;

            *out_sum += (double) d;
            *out_squares += (double) (d * d);
        }
    }
}

/* A first mean, which may err by roundings of a row far from zero; then what it lacks, and the
 * variance, from what lies around it. */
TARGET static void FORM(normalize)(float *y, const float *x, int64_t count, const float *scale,
                                   const float *bias, float epsilon, float out[2])
{
    double sum, squares, lacks, variance;
    float high, low, factor;
    int64_t i = 0;

    FORM(totals)(x, count, 0.0F, &sum, &squares);
    high = (float) (sum / (double) count);
    FORM(totals)(x, count, high, &sum, &squares);
    lacks = sum / (double) count;
    low = (float) lacks;
    variance = squares / (double) count - lacks * lacks;
    factor = (float) (1.0 / __builtin_sqrt((variance < 0.0 ? 0.0 : variance) + (double) epsilon));
    out[0] = (float) ((double) high + lacks);
    out[1] = factor;
    for (; i + LANES <= count; i += LANES) {
        const FORM(vector) n = (FORM(load)(x + i) - high - low) * factor * FORM(load)(scale + i);

        FORM(store)(y + i, bias ? n + FORM(load)(bias + i) : n);
    }
    for (; i < count; i++)
        y[i] = (x[i] - high - low) * factor * scale[i] + (bias ? bias[i] : 0.0F);
}

#include "libpith/kernels/vectors_end.h"
