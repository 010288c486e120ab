/* Integer convolution past blocks of zeros, for aarch64. Matrix products of bytes take eight channels of two outputs at once,
 * which runs of four don't give: with them this is the form of dot products. */
#include "libpith/kernels/image_sparse_s8.h"

#include <string.h>

#if defined __aarch64__
#include "libpith/kernels/requantize_neon.h"

typedef uint8_t sixteen __attribute__((vector_size(16)));
typedef int32_t four_words __attribute__((vector_size(16)));

#define LOW8(a, b)     ((sixteen) vzip1q_u8((uint8x16_t) (a), (uint8x16_t) (b)))
#define HIGH8(a, b)    ((sixteen) vzip2q_u8((uint8x16_t) (a), (uint8x16_t) (b)))
#define LOW32(a, b)    ((four_words) vzip1q_s32((int32x4_t) (a), (int32x4_t) (b)))
#define HIGH32(a, b)   ((four_words) vzip2q_s32((int32x4_t) (a), (int32x4_t) (b)))
#define LANES          4
#define HALVES         1
#define NEAREST(f)     ((four_words) vcvtnq_s32_f32((float32x4_t) (f)))
#define WIDEN(p)       ((four_words) pith_neon_widen(p, 4))
#define PACK(to, q, r)                                                                                                 \
    vst1q_s8((int8_t *) (to), pith_neon_narrow((const int32x4_t *) (q), (r)->zero, (r)->low, (r)->high))

/* ---- NEON ---- */

/* A sum is of two pixels, in two lanes each. The products of two blocks are added up in 16 bits: with weights of -128 they would
 * not fit. */
static inline __attribute__((always_inline)) int32x4_t add_half(int32x4_t sum, int8x8_t x, int8x8_t w, int8x8_t y, int8x8_t u,
                                                                const bool two, const bool wide)
{
    const int16x8_t m = vmull_s8(x, w);

    if (two && wide)
        return vpadalq_s16(vpadalq_s16(sum, m), vmull_s8(y, u));
    return vpadalq_s16(sum, two ? vmlal_s8(m, y, u) : m);
}

static inline __attribute__((always_inline)) void add_two(four_words *sum, four_words *other, four_words x, four_words w,
                                                          four_words y, four_words u, const bool two, const bool wide)
{
    const int8x16_t a = (int8x16_t) x, b = (int8x16_t) y, c = (int8x16_t) w, d = (int8x16_t) u;

    *sum = (four_words) add_half((int32x4_t) *sum, vget_low_s8(a), vget_low_s8(c), vget_low_s8(b), vget_low_s8(d), two, wide);
    *other = (four_words) add_half((int32x4_t) *other, vget_high_s8(a), vget_high_s8(c), vget_high_s8(b), vget_high_s8(d), two,
                                   wide);
}

#define JOIN(sum, other) ((four_words) vpaddq_s32((int32x4_t) (sum), (int32x4_t) (other)))
#define TARGET
#define FORM(name)                           name##_neon
#define ADD_TWO(sum, other, x, w, y, u, two) add_two(sum, other, x, w, y, u, two, false)
#include "libpith/kernels/image_sparse_s8_body.h"
#undef FORM
#undef ADD_TWO

#define JOIN(sum, other) ((four_words) vpaddq_s32((int32x4_t) (sum), (int32x4_t) (other)))
#define FORM(name)                           name##_neon_wide
#define ADD_TWO(sum, other, x, w, y, u, two) add_two(sum, other, x, w, y, u, two, true)
#include "libpith/kernels/image_sparse_s8_body.h"
#undef FORM
#undef ADD_TWO
#undef TARGET

const struct pith_sparse_s8_form pith_sparse_s8_neon = {
    4, 1, {chunk_1_neon, chunk_2_neon, chunk_3_neon, chunk_4_neon},
    turn_neon, {part_1_neon, part_2_neon, part_3_neon, part_4_neon},
    4.3, 5.5, 5.5, 12, &pith_winograd_s8_large_neon, 0.55, true};
const struct pith_sparse_s8_form pith_sparse_s8_neon_wide = {
    4, 1, {chunk_1_neon_wide, chunk_2_neon_wide, chunk_3_neon_wide, chunk_4_neon_wide},
    turn_neon_wide, {part_1_neon_wide, part_2_neon_wide, part_3_neon_wide, part_4_neon_wide},
    5.1, 6.5, 6.5, 12, &pith_winograd_s8_large_neon, 0.55, false};

/* ---- dot product ---- */

#if PITH_ARM_DOTS
#define TARGET         __attribute__((target("arch=armv8.2-a+dotprod")))
#define FORM(name)     name##_dotprod
#define DOT(sum, x, w) ((four_words) vdotq_s32((int32x4_t) (sum), (int8x16_t) (x), (int8x16_t) (w)))
#include "libpith/kernels/image_sparse_s8_body.h"

const struct pith_sparse_s8_form pith_sparse_s8_dotprod = {
    4, 1, {chunk_1_dotprod, chunk_2_dotprod, chunk_3_dotprod, chunk_4_dotprod},
    turn_dotprod, {part_1_dotprod, part_2_dotprod, part_3_dotprod, part_4_dotprod},
    1.34, 3.75, 3.75, 12, NULL, 1, false};
const struct pith_sparse_s8_form pith_sparse_s8_i8mm = {
    4, 1, {chunk_1_dotprod, chunk_2_dotprod, chunk_3_dotprod, chunk_4_dotprod},
    turn_dotprod, {part_1_dotprod, part_2_dotprod, part_3_dotprod, part_4_dotprod},
    0.82, 3.75, 3.75, 12, NULL, 1, false};
#endif
#endif
