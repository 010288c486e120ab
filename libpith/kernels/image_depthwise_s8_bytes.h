/* The products of image_depthwise_s8_body.h where bytes are multiplied: each 32-bit lane holds four taps
 * of a channel. Wants from who includes that, besides: DOT as in image_dense_s8_body.h; LOW8, HIGH8
 * (a, b), the interleaved bytes of the lower or upper half of every 128 bits; NARROW(q, r), four vectors
 * of int32 as one of bytes, with the zero point added and limited; and, where stored bytes are unsigned,
 * NARROW_BARE(q), the same without zero point and limits. Interleaving and narrowing both work in parts
 * of 128 bits, so that channels come out in order. */
#define VECTORS 4
#ifdef NARROW_BARE
#define HAS_BARE true
#else
#define HAS_BARE       false
#define NARROW_BARE(q) NARROW(q, r)
#endif

typedef OPERAND FORM(loose) __attribute__((aligned(1), may_alias));

/* Four vectors whose lanes hold four taps of one channel each. */
struct FORM(quad) {
    OPERAND v[4];
};

INLINE OPERAND FORM(load)(const uint8_t *x)
{
    return *(const FORM(loose) *) x;
}

INLINE struct FORM(quad) FORM(interleave)(OPERAND a, OPERAND b, OPERAND c, OPERAND d)
{
    const OPERAND ab = LOW8(a, b), AB = HIGH8(a, b), cd = LOW8(c, d), CD = HIGH8(c, d);

    return (struct FORM(quad)){{LOW16(ab, cd), HIGH16(ab, cd), LOW16(AB, CD), HIGH16(AB, CD)}};
}

INLINE void FORM(add_quad)(FORM(words) * sum, const struct FORM(quad) * q, const OPERAND *w)
{
    UNROLL for (int i = 0; i < 4; i++) sum[i] = DOT(sum[i], q->v[i], w[i]);
}

INLINE void FORM(add_taps)(FORM(words) * sum, const struct pith_depthwise_s8_row *row,
                           const uint8_t *x)
{
    const OPERAND *w = (const OPERAND *) row->weights;

    for (int64_t g = 0; g < row->groups; g++, w += 4) {
        const int64_t *at = row->tap_at + 4 * g;
        const struct FORM(quad) q = FORM(interleave)(FORM(load)(x + at[0]), FORM(load)(x + at[1]),
                                                     FORM(load)(x + at[2]), FORM(load)(x + at[3]));

        FORM(add_quad)(sum, &q, w);
    }
}

/* A column's fourth taps are zeros. */
struct FORM(window) {
    struct FORM(quad) column[3];
    int64_t tap_at[3];
    OPERAND weights[12];
};

INLINE struct FORM(window) FORM(open)(const struct pith_depthwise_s8_row *row)
{
    struct FORM(window) window;

    UNROLL for (int i = 0; i < 3; i++) window.tap_at[i] = row->tap_at[i];
    _Pragma("GCC unroll 12") for (int i = 0; i < 12; i++) window.weights[i] =
        ((const OPERAND *) row->weights)[i];
    return window;
}

INLINE void FORM(read)(struct FORM(window) * window, const struct pith_depthwise_s8_row *row,
                       const uint8_t *x, const int i)
{
    const int64_t *at = window->tap_at;

    x += i * row->column;
    window->column[i] = FORM(interleave)(FORM(load)(x + at[0]), FORM(load)(x + at[1]),
                                         FORM(load)(x + at[2]), (OPERAND){0});
}

INLINE void FORM(add_window)(FORM(words) * sum, const struct FORM(window) * window)
{
    UNROLL for (int i = 0; i < 3; i++)
        FORM(add_quad)(sum, &window->column[i], window->weights + 4 * i);
}

INLINE void FORM(move)(struct FORM(window) * window, const int by)
{
    window->column[0] = window->column[by];
    window->column[1] = window->column[2];
}

INLINE OPERAND FORM(narrow)(const FORM(words) * q, const struct pith_requantize *r, const bool bare)
{
    return bare ? NARROW_BARE(q) : NARROW(q, r);
}

#undef NARROW_BARE
