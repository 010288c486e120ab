/* The products of image_depthwise_s8_body.h where words are multiplied: bytes are made wide as they are
 * read, and each 32-bit lane holds two taps of a channel. Wants from who includes that, besides:
 * WIDEN(p), half as many bytes as a vector has, as words; MADD(x, w), the sums of pairs of products;
 * WORDS(a, b), two vectors of int32 as one of words; BYTES_OF(words), these limited to bytes, in order,
 * in the lower half of a vector; ADD16(words, zero), SPREAD16(x), LIMIT(bytes, low, high). */
#define VECTORS  2
#define HAS_BARE true

/* Two taps of all channels of a block: of those in the lower halves of 128 bits, then of the others. */
struct FORM(pair) {
    OPERAND v[2];
};

INLINE struct FORM(pair) FORM(interleave)(OPERAND a, OPERAND b)
{
    return (struct FORM(pair)){{LOW16(a, b), HIGH16(a, b)}};
}

INLINE void FORM(add_pair)(FORM(words) * sum, const struct FORM(pair) * p, const OPERAND *w)
{
    UNROLL for (int i = 0; i < 2; i++) sum[i] += (FORM(words)) MADD(p->v[i], w[i]);
}

INLINE void FORM(add_taps)(FORM(words) * sum, const struct pith_depthwise_s8_row *row,
                           const uint8_t *x)
{
    const OPERAND *w = (const OPERAND *) row->weights;

    for (int64_t g = 0; g < row->groups; g++, w += 2) {
        const int64_t *at = row->tap_at + 2 * g;
        const struct FORM(pair) p = FORM(interleave)(WIDEN(x + at[0]), WIDEN(x + at[1]));

        FORM(add_pair)(sum, &p, w);
    }
}

/* A column's two upper taps are a pair; its lowest makes one with its right neighbour's. */
struct FORM(window) {
    struct FORM(pair) upper[3], joint[2];
    OPERAND lowest[3];
    int64_t tap_at[3];
    const OPERAND *weights;
};

INLINE struct FORM(window) FORM(open)(const struct pith_depthwise_s8_row *row)
{
    struct FORM(window) window;

    window.tap_at[0] = row->tap_at[0];
    window.tap_at[1] = row->tap_at[1];
    window.tap_at[2] = row->tap_at[6];
    window.weights = (const OPERAND *) row->weights;
    return window;
}

INLINE void FORM(read)(struct FORM(window) * window, const struct pith_depthwise_s8_row *row,
                       const uint8_t *x, const int i)
{
    const int64_t *at = window->tap_at;

    x += i * row->column;
    window->upper[i] = FORM(interleave)(WIDEN(x + at[0]), WIDEN(x + at[1]));
    window->lowest[i] = WIDEN(x + at[2]);
    if (i > 0)
        window->joint[i - 1] = FORM(interleave)(window->lowest[i - 1], window->lowest[i]);
}

/* The middle column's lowest tap lies in both joints; its weight in the second is zero. */
INLINE void FORM(add_window)(FORM(words) * sum, const struct FORM(window) * window)
{
    const OPERAND *w = window->weights;

    FORM(add_pair)(sum, &window->upper[0], w);
    FORM(add_pair)(sum, &window->upper[1], w + 2);
    FORM(add_pair)(sum, &window->joint[0], w + 6);
    FORM(add_pair)(sum, &window->upper[2], w + 4);
    FORM(add_pair)(sum, &window->joint[1], w + 8);
}

INLINE void FORM(move)(struct FORM(window) * window, const int by)
{
    window->upper[0] = window->upper[by];
    window->upper[1] = window->upper[2];
    window->lowest[0] = window->lowest[by];
    window->lowest[1] = window->lowest[2];
    window->joint[0] = window->joint[1];
}

INLINE OPERAND FORM(narrow)(const FORM(words) * q, const struct pith_requantize *r, const bool bare)
{
    const OPERAND words = WORDS((OPERAND) q[0], (OPERAND) q[1]);

    if (bare)
        return BYTES_OF(words);
    return LIMIT(BYTES_OF(ADD16(words, SPREAD16((int16_t) r->zero))), (char) r->low, (char) r->high);
}
