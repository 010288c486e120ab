/* What image_depthwise_s8_body.h wants, by the intrinsics of one width; included once per width and
 * instruction set. Who includes it defines FORM(name) and TARGET as there; MM, what the intrinsics'
 * names begin with; WIDTH, in bits; HALVES: 1 where bytes are multiplied (VNNI), 2 where words are;
 * MASKED: 1 where a store has a mask (AVX-512). */
#define JOIN(a, b)        a##b
#define NAME(mm, op)      JOIN(mm, _##op)
#define OP(op)            NAME(MM, op)
#define OF_WIDTH(name, w) JOIN(name, w)

#define LANES        (WIDTH / 32)
#define OPERAND      OF_WIDTH(OF_WIDTH(__m, WIDTH), i)
#define LOW8         OP(unpacklo_epi8)
#define HIGH8        OP(unpackhi_epi8)
#define LOW16        OP(unpacklo_epi16)
#define HIGH16       OP(unpackhi_epi16)
#define NEAREST(f)   ((FORM(words)) OP(cvtps_epi32)((OF_WIDTH(__m, WIDTH))(f)))
#define NARROW(q, r) OF_WIDTH(narrow_, WIDTH)((const OPERAND *) (q), r)
#define NARROW_BARE(q)                                                                             \
    OP(packus_epi16)(OP(packs_epi32)((OPERAND) (q)[0], (OPERAND) (q)[1]),                          \
                     OP(packs_epi32)((OPERAND) (q)[2], (OPERAND) (q)[3]))
#if HALVES == 1
#define SPLIT(four, h) ((OPERAND) (four))
#define DOT(sum, x, w) ((FORM(words)) OP(dpbusd_epi32)((OPERAND) (sum), x, w))
#else
#define SPLIT(four, h)                                                                             \
    ((h) == 0 ? (OPERAND) ((four) &0x00FF00FF) : OP(srli_epi16)((OPERAND) (four), 8))
#define DOT(sum, x, w) ((sum) + (FORM(words)) OP(madd_epi16)(x, w))
#endif

/* The first `count` of a vector's bytes. */
TARGET static inline __attribute__((always_inline)) void FORM(put)(uint8_t *to, OPERAND bytes,
                                                                   int count)
{
    if (count == (int) sizeof bytes)
        memcpy(to, &bytes, sizeof bytes);
    else
#if MASKED
        OP(mask_storeu_epi8)(to, UINT64_MAX >> (64 - count), bytes);
#else
        memcpy(to, &bytes, (size_t) count);
#endif
}

#include "libpith/kernels/image_depthwise_s8_body.h"

#undef JOIN
#undef NAME
#undef OP
#undef OF_WIDTH
#undef LANES
#undef OPERAND
#undef LOW8
#undef HIGH8
#undef LOW16
#undef HIGH16
#undef NEAREST
#undef NARROW
#undef SPLIT
#undef DOT
#undef FORM
#undef TARGET
#undef MM
#undef WIDTH
#undef HALVES
#undef MASKED
