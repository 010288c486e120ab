/* Integer convolution by Winograd's F(2x2, 3x3): the loops for aarch64 without dot products. Sixteen
 * products of 16 bits take half of the instructions that 36 of bytes do. */
#if defined __GNUC__ && !defined __clang__
/* As in image_dense_s8_arm.c: sums fill the registers, and what is loaded earlier finds none. */
#pragma GCC optimize("no-schedule-insns")
#endif
#include "libpith/kernels/image_winograd_s8.h"

#include <string.h>

#if defined __aarch64__
#include "libpith/kernels/requantize_neon.h"

#define FORM(name) name##_neon
#define TARGET
#define LANES   4
#define TILE    4
#define OPERAND int16x8_t
#define STORED  int8_t
#define PLANES  true
#define RIVAL   &pith_winograd_s8_neon
#define DIRECT  9 /* by a count of instructions */

typedef int32_t words_neon __attribute__((vector_size(16)));
typedef int32_t loose_words_neon __attribute__((vector_size(16), aligned(4), may_alias));

static inline __attribute__((always_inline)) int32x4_t add_pair(int32x4_t sum, int16x4_t x,
                                                                int16x8_t w)
{
    return vmlal_lane_s16(vmlal_lane_s16(sum, vget_low_s16(w), x, 0), vget_high_s16(w), x, 1);
}
#define ADD_PAIR(sum, x, w)                                                                        \
    add_pair((int32x4_t) (sum), vget_low_s16(vreinterpretq_s16_s32((int32x4_t) (x))), w)

/* Offset from a patch's first pixel to pixel p. */
#define PLACE(name) (p * d->name##_step + (across && p >= at->split ? at->name##_jump : 0))

/* The same as of image_dense_s8_body.h. */
static inline __attribute__((always_inline)) void
store_neon(const struct pith_dense_s8 *d, const struct pith_requantize *r,
           const struct pith_dense_s8_pixels *at, words_neon (*acc)[4], const uint8_t *added,
           uint8_t *y, int64_t channel, int last, const int P, const int N,
           const enum pith_dense_s8_store store, const bool across)
{
    for (int p = 0; p < P; p++) {
        int32x4_t q[4];

        for (int n = 0; n < 4; n++)
            q[n] = n < N ? vcvtnq_s32_f32(pith_neon_finish(
                               r, (int32x4_t) acc[p][n], r->scale + channel + 4 * n,
                               added ? added + PLACE(added) + 4 * n : NULL,
                               store != PITH_DENSE_PLAIN, n == N - 1 ? last : 4))
                         : q[n - 1]; /* not stored */
        pith_neon_store(y + PLACE(y), pith_neon_narrow(q, r->zero, r->low, r->high),
                        4 * (N - 1) + last);
    }
}

static void store_any_neon(const struct pith_dense_s8 *d, words_neon *sums, const uint8_t *added,
                           void *y, int64_t to, int64_t channel, int last, int P, int N)
{
    const struct pith_requantize *r = &d->conv->to;

    (void) P; /* one */
    for (int n = 0; n < N; n++) {
        const int count = n == N - 1 ? last : 4;
        const float32x4_t f =
            pith_neon_finish(r, (int32x4_t) sums[n], r->scale + channel + 4 * n,
                             added ? added + 4 * n : NULL, true, count);
        const int32x4_t q = vcvtnq_s32_f32(f), all[4] = {q, q, q, q};
        const float32x4_t limited = pith_neon_limit(f, r->real_low, r->real_high);

        if (r->real)
            memcpy((float *) y + to + 4 * n, &limited, (size_t) count * sizeof(float));
        else
            pith_neon_store((uint8_t *) y + to + 4 * n,
                            pith_neon_narrow(all, r->zero, r->low, r->high), count);
    }
}

#include "libpith/kernels/image_winograd_s8_body.h"
#endif
