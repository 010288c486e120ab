/* What image_depthwise_s8_body.h wants, by the intrinsics of one width; included once per width and
 * instruction set. Who includes it defines FORM(name), TARGET, PAIRS as there (bytes are multiplied by
 * VNNI); MM, what the intrinsics' names begin with; WIDTH, in bits; with PAIRS also WIDEN and BYTES_OF. */
#define JOIN(a, b)        a##b
#define NAME(mm, op)      JOIN(mm, _##op)
#define OP(op)            NAME(MM, op)
#define OF_WIDTH(name, w) JOIN(name, w)

#define LANES      (WIDTH / 32)
#define OPERAND    OF_WIDTH(OF_WIDTH(__m, WIDTH), i)
#define NEAREST(f) OP(cvtps_epi32)((OF_WIDTH(__m, WIDTH))(f))
#define LOW16      OP(unpacklo_epi16)
#define HIGH16     OP(unpackhi_epi16)
#if PAIRS
#define MADD     OP(madd_epi16)
#define WORDS    OP(packs_epi32)
#define ADD16    OP(adds_epi16)
#define SPREAD16 OP(set1_epi16)
#define LIMIT(bytes, low, high)                                                                    \
    OP(min_epu8)(OP(max_epu8)(bytes, OP(set1_epi8)(low)), OP(set1_epi8)(high))

/* The first `count` of half a vector's bytes. */
TARGET static inline __attribute__((always_inline)) void FORM(put)(uint8_t *to, OPERAND bytes,
                                                                   int count)
{
    if (count == 2 * LANES)
        memcpy(to, &bytes, 2 * LANES);
    else
        memcpy(to, &bytes, (size_t) count);
}
#else
#define LOW8         OP(unpacklo_epi8)
#define HIGH8        OP(unpackhi_epi8)
#define NARROW(q, r) OF_WIDTH(narrow_, WIDTH)((const OPERAND *) (q), r)
#define NARROW_BARE(q)                                                                             \
    OP(packus_epi16)(OP(packs_epi32)((OPERAND) (q)[0], (OPERAND) (q)[1]),                          \
                     OP(packs_epi32)((OPERAND) (q)[2], (OPERAND) (q)[3]))
#define DOT(sum, x, w) ((FORM(words)) OP(dpbusd_epi32)((OPERAND) (sum), x, w))

/* The first `count` of a vector's bytes. */
TARGET static inline __attribute__((always_inline)) void FORM(put)(uint8_t *to, OPERAND bytes,
                                                                   int count)
{
    if (count == (int) sizeof bytes)
        memcpy(to, &bytes, sizeof bytes);
    else
        OP(mask_storeu_epi8)(to, UINT64_MAX >> (64 - count), bytes);
}
#endif

#include "libpith/kernels/image_depthwise_s8_body.h"

#if PAIRS
#undef MADD
#undef WORDS
#undef ADD16
#undef SPREAD16
#undef LIMIT
#undef WIDEN
#undef BYTES_OF
#else
#undef LOW8
#undef HIGH8
#undef NARROW
#undef DOT
#endif
#undef JOIN
#undef NAME
#undef OP
#undef OF_WIDTH
#undef LANES
#undef OPERAND
#undef LOW16
#undef HIGH16
#undef NEAREST
#undef FORM
#undef TARGET
#undef MM
#undef WIDTH
#undef PAIRS
