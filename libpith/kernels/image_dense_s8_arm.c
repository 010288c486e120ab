/* Dense channels-last integer convolution: the tiles for aarch64. Products of bytes go into int16 in pairs where there is no
 * dot product; weights of -128 would overflow those, so that they have a form of their own. */
#if defined __GNUC__ && !defined __clang__
/* Tiles fill the registers in the order in which they are written. gcc's first scheduler loads weights earlier, finds no register
 * for them, and saves sums: 22 more instructions in 52. */
#pragma GCC optimize("no-schedule-insns")
#endif
#include "libpith/kernels/image_two_of_four_s8.h"

#if defined __aarch64__
#include "libpith/kernels/requantize_neon.h"

#define UNROLL _Pragma("GCC unroll 8")
#define INLINE static inline __attribute__((always_inline))

/* Four stored bytes at p, in every lane. */
INLINE int8x16_t four_at(const uint8_t *p)
{
    int32_t four;

    memcpy(&four, p, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

INLINE int8x8_t eight_at(const uint8_t *p)
{
    return vld1_s8((const int8_t *) p);
}

INLINE int8x16_t sixteen_at(const uint8_t *p)
{
    return vld1q_s8((const int8_t *) p);
}

/* Sums as pixel by vector. */
INLINE void begin_rows(int32x4_t *acc, const int32_t *bias, const int P, const int N)
{
    UNROLL for (int p = 0; p < P; p++) UNROLL for (int n = 0; n < N; n++) acc[p * N + n] = vld1q_s32(bias + 4 * n);
}

INLINE int32x4_t sum_rows(const int32x4_t *acc, int p, int n, const int N)
{
    return acc[p * N + n];
}

/* ---- NEON ---- */

INLINE int32x4_t add_pairs(int32x4_t sum, int8x8_t x0, int8x8_t w0, int8x8_t x1, int8x8_t w1, const bool wide)
{
    const int16x8_t m = vmull_s8(x0, w0);

    return wide ? vpadalq_s16(vpadalq_s16(sum, m), vmull_s8(x1, w1)) : vpadalq_s16(sum, vmlal_s8(m, x1, w1));
}

/* Four bytes of each pixel, the two pairs of them in every lane of a vector, meet the pairs of weights of four channels.
 * What there is less of stays in registers. */
#define PAIR(p, i) vreinterpret_s8_s16(vdup_lane_s16(a[p], i))
#define PAIRS(i)                                                                                                       \
    if (P > 4) {                                                                                                       \
        int8x8_t b[8];                                                                                                 \
                                                                                                                       \
        UNROLL for (int n = 0; n < 2 * N; n++) b[n] = eight_at(w + 8 * n);                                             \
        UNROLL for (int p = 0; p < P; p++)                                                                             \
        {                                                                                                              \
            const int8x8_t first = PAIR(p, 2 * (i)), second = PAIR(p, 2 * (i) + 1);                                    \
                                                                                                                       \
            UNROLL for (int n = 0; n < N; n++) acc[p * N + n] =                                                        \
                add_pairs(acc[p * N + n], first, b[2 * n], second, b[2 * n + 1], wide);                                \
        }                                                                                                              \
    } else {                                                                                                           \
        int8x8_t first[8], second[8];                                                                                  \
                                                                                                                       \
        UNROLL for (int p = 0; p < P; p++) first[p] = PAIR(p, 2 * (i)), second[p] = PAIR(p, 2 * (i) + 1);              \
        UNROLL for (int n = 0; n < N; n++)                                                                             \
        {                                                                                                              \
            const int8x8_t b = eight_at(w + 16 * n), c = eight_at(w + 16 * n + 8);                                     \
                                                                                                                       \
            UNROLL for (int p = 0; p < P; p++) acc[p * N + n] =                                                        \
                add_pairs(acc[p * N + n], first[p], b, second[p], c, wide);                                            \
        }                                                                                                              \
    }                                                                                                                  \
    w += 16 * N;

INLINE const uint8_t *run_pairs(int32x4_t *acc, const uint8_t *const *x, int64_t bytes, const uint8_t *w, const int P,
                                const int N, const bool wide)
{
    int16x4_t a[8];
    int64_t k = 0;

    for (; k + 8 <= bytes; k += 8) {
        UNROLL for (int p = 0; p < P; p++) a[p] = vreinterpret_s16_s8(eight_at(x[p] + k));
        PAIRS(0)
        PAIRS(1)
    }
    if (k < bytes) {
        UNROLL for (int p = 0; p < P; p++) a[p] = vreinterpret_s16_s8(vget_low_s8(four_at(x[p] + k)));
        PAIRS(0)
    }
    return w;
}

#define TARGET
#define FORM(name)                     name##_neon
#define begin_neon                     begin_rows
#define sum_neon                       sum_rows
#define run_neon(acc, x, bytes, w, P, N) run_pairs(acc, x, bytes, w, P, N, false)
#include "libpith/kernels/image_dense_s8_arm_body.h"
#undef FORM

#define FORM(name)                          name##_neon_wide
#define RARE
#define begin_neon_wide                     begin_rows
#define sum_neon_wide                       sum_rows
#define run_neon_wide(acc, x, bytes, w, P, N) run_pairs(acc, x, bytes, w, P, N, true)
#include "libpith/kernels/image_dense_s8_arm_body.h"
#undef FORM
#undef RARE

/* Two of four: of eight bytes of a pixel every channel picks four, the two of the first four before the two of the others. */
INLINE void pick(int32x4_t *acc, const int8x16_t *x, int8x16_t places, const uint8_t *w, const int P, const int N)
{
    const int8x16_t b = sixteen_at(w);

    UNROLL for (int p = 0; p < P; p++)
    {
        const int8x16_t a = vqtbl1q_s8(x[p], vreinterpretq_u8_s8(places));

        acc[p * N] = vpadalq_s16(acc[p * N], vmlal_high_s8(vmull_s8(vget_low_s8(a), vget_low_s8(b)), a, b));
    }
}

/* The places of a step's first half, and of its second in what both lie in. */
#define FIRST(places)  vandq_s8(places, vdupq_n_s8(15))
#define SECOND(places) vorrq_s8(vreinterpretq_s8_u8(vshrq_n_u8(vreinterpretq_u8_s8(places), 4)), vdupq_n_s8(8))

INLINE const uint8_t *run_two_of_four(int32x4_t *acc, const uint8_t *const *x, int64_t bytes, const uint8_t *w, const int P,
                                      const int N)
{
    int8x16_t a[8];
    int64_t k = 0;

    for (; k + 8 < bytes; k += 16) {
        UNROLL for (int p = 0; p < P; p++) a[p] = sixteen_at(x[p] + k);
        UNROLL for (int n = 0; n < N; n++)
        {
            const int8x16_t places = sixteen_at(w + 48 * n);

            pick(acc + n, a, FIRST(places), w + 48 * n + 16, P, N);
            pick(acc + n, a, SECOND(places), w + 48 * n + 32, P, N);
        }
        w += 48 * N;
    }
    if (k < bytes) {
        UNROLL for (int p = 0; p < P; p++) a[p] = vcombine_s8(eight_at(x[p] + k), vdup_n_s8(0));
        UNROLL for (int n = 0; n < N; n++) pick(acc + n, a, FIRST(sixteen_at(w + 32 * n)), w + 32 * n + 16, P, N);
        w += 32 * N;
    }
    return w;
}

#define FORM(name)         name##_two_of_four
#define begin_two_of_four  begin_rows
#define sum_two_of_four    sum_rows
#include "libpith/kernels/image_dense_s8_arm_body.h"
#undef FORM
#undef TARGET

const struct pith_dense_s8_form pith_two_of_four_s8_neon = {
    .lanes = 4, .tile = 4, .order = PITH_DENSE_TWO_OF_FOUR_PAIRS, .tiles = tiles_two_of_four, .whole_runs = true,
    .symmetric = true};
const struct pith_dense_s8_form pith_dense_s8_neon = {
    .lanes = 4, .tile = 4, .order = PITH_DENSE_PAIRS_OF_BYTES, .tiles = tiles_neon, .whole_runs = true, .symmetric = true};
const struct pith_dense_s8_form pith_dense_s8_neon_wide = {
    .lanes = 4, .tile = 4, .order = PITH_DENSE_PAIRS_OF_BYTES, .tiles = tiles_neon_wide, .whole_runs = true};

#if PITH_ARM_DOTS
/* ---- dot product ---- */

#define TARGET __attribute__((target("arch=armv8.2-a+dotprod")))

#define DOTS(i)                                                                                                        \
    {                                                                                                                  \
        int8x16_t b[4];                                                                                                \
                                                                                                                       \
        UNROLL for (int n = 0; n < N; n++) b[n] = sixteen_at(w + 16 * n);                                              \
        w += 16 * N;                                                                                                   \
        UNROLL for (int p = 0; p < P; p++) UNROLL for (int n = 0; n < N; n++) acc[p * N + n] =                         \
            vdotq_laneq_s32(acc[p * N + n], b[n], a[p], i);                                                            \
    }

TARGET INLINE const uint8_t *run_dotprod(int32x4_t *acc, const uint8_t *const *x, int64_t bytes, const uint8_t *w,
                                         const int P, const int N)
{
    int8x16_t a[8];
    int64_t k = 0;

    for (; k + 16 <= bytes; k += 16) {
        UNROLL for (int p = 0; p < P; p++) a[p] = sixteen_at(x[p] + k);
        DOTS(0)
        DOTS(1)
        DOTS(2)
        DOTS(3)
    }
    for (; k < bytes; k += 4) {
        UNROLL for (int p = 0; p < P; p++) a[p] = four_at(x[p] + k);
        DOTS(0)
    }
    return w;
}

#define FORM(name)    name##_dotprod
#define begin_dotprod begin_rows
#define sum_dotprod   sum_rows
#include "libpith/kernels/image_dense_s8_arm_body.h"
#undef FORM
#undef TARGET

/* ---- int8 matrix products ---- */

/* An instruction multiplies eight bytes of two pixels with those of two channels: sums are two by two. */
#define TARGET     __attribute__((target("arch=armv8.2-a+dotprod+i8mm")))

TARGET INLINE void begin_i8mm(int32x4_t *acc, const int32_t *bias, const int P, const int N)
{
    UNROLL for (int i = 0; i < (P + 1) / 2; i++) UNROLL for (int j = 0; j < 2 * N; j++)
    {
        const int32x2_t two = vld1_s32(bias + 2 * j);

        acc[i * 2 * N + j] = vcombine_s32(two, two);
    }
}

TARGET INLINE int32x4_t sum_i8mm(const int32x4_t *acc, int p, int n, const int N)
{
    const int64x2_t a = vreinterpretq_s64_s32(acc[p / 2 * 2 * N + 2 * n]),
                    b = vreinterpretq_s64_s32(acc[p / 2 * 2 * N + 2 * n + 1]);

    return vreinterpretq_s32_s64(p % 2 ? vzip2q_s64(a, b) : vzip1q_s64(a, b));
}

TARGET INLINE const uint8_t *add_i8mm(int32x4_t *acc, const int8x16_t *a, const uint8_t *w, const int pairs,
                                      const int N)
{
    int8x16_t b[8];

    UNROLL for (int j = 0; j < 2 * N; j++) b[j] = sixteen_at(w + 16 * j);
    UNROLL for (int i = 0; i < pairs; i++) UNROLL for (int j = 0; j < 2 * N; j++) acc[i * 2 * N + j] =
        vmmlaq_s32(acc[i * 2 * N + j], a[i], b[j]);
    return w + 32 * N;
}

TARGET INLINE int8x16_t pair_of(int8x16_t a, int8x16_t b, const bool upper)
{
    const int64x2_t first = vreinterpretq_s64_s8(a), second = vreinterpretq_s64_s8(b);

    return vreinterpretq_s8_s64(upper ? vzip2q_s64(first, second) : vzip1q_s64(first, second));
}

TARGET INLINE const uint8_t *run_i8mm(int32x4_t *acc, const uint8_t *const *x, int64_t bytes, const uint8_t *w,
                                      const int P, const int N)
{
    const int pairs = (P + 1) / 2, other = P > 1; /* one pixel alone is its own partner */
    int8x16_t a[4], c[4];
    int64_t k = 0;

    for (; k + 16 <= bytes; k += 16) {
        UNROLL for (int i = 0; i < pairs; i++)
        {
            const int8x16_t first = sixteen_at(x[2 * i] + k), second = sixteen_at(x[2 * i + other] + k);

            a[i] = pair_of(first, second, false);
            c[i] = pair_of(first, second, true);
        }
        w = add_i8mm(acc, a, w, pairs, N);
        w = add_i8mm(acc, c, w, pairs, N);
    }
    if (k + 8 <= bytes) {
        UNROLL for (int i = 0; i < pairs; i++) a[i] = vcombine_s8(eight_at(x[2 * i] + k), eight_at(x[2 * i + other] + k));
        w = add_i8mm(acc, a, w, pairs, N);
        k += 8;
    }
    if (k < bytes) { /* four bytes, which meet weights of 0 behind them */
        UNROLL for (int i = 0; i < pairs; i++) a[i] = pair_of(four_at(x[2 * i] + k), four_at(x[2 * i + other] + k), false);
        w = add_i8mm(acc, a, w, pairs, N);
    }
    return w;
}

#define FORM(name) name##_i8mm
#include "libpith/kernels/image_dense_s8_arm_body.h"

const struct pith_dense_s8_form pith_dense_s8_i8mm = {
    .lanes = 4, .tile = 4, .order = PITH_DENSE_DOTS, .tiles = tiles_i8mm, .whole_runs = true, .eights = true};
const struct pith_dense_s8_form pith_dense_s8_dotprod = {
    .lanes = 4, .tile = 4, .order = PITH_DENSE_DOTS, .tiles = tiles_dotprod, .whole_runs = true};
#endif
#endif
