/* The loops of image_depthwise_s8.h where words are multiplied: bytes are made wide as they are read,
 * and two taps of a channel lie side by side in each 32-bit lane. Included once per width and
 * instruction set. Who includes it defines FORM(name), TARGET, LANES, OPERAND; WIDEN(p), half as many
 * bytes as a vector has, as words; LOW16, HIGH16 (a, b), the interleaved words of the lower or upper
 * half of every 128 bits; MADD(x, w), the sums of pairs of products; NEAREST(f); WORDS(a, b), two
 * vectors of int32 as one of words; BYTES_OF(words), these limited to bytes, in order, in the lower half
 * of a vector; ADD16(words, zero), SPREAD16(x), LIMIT(bytes, low, high); FORM(put)(to, bytes, count),
 * which stores the first of them. */
#define CHANNELS (2 * LANES)
#define UNROLL   _Pragma("GCC unroll 4")
#define INLINE   TARGET static inline __attribute__((always_inline))

typedef int32_t FORM(words) __attribute__((vector_size(4 * LANES)));
typedef float FORM(vector) __attribute__((vector_size(4 * LANES)));

/* Two taps of all channels of a block: of those in the lower halves of 128 bits, then of the others. */
struct FORM(pair) {
    OPERAND v[2];
};

INLINE struct FORM(pair) FORM(pair_of)(OPERAND a, OPERAND b)
{
    return (struct FORM(pair)){{LOW16(a, b), HIGH16(a, b)}};
}

INLINE void FORM(add_pair)(FORM(words) * sum, struct FORM(pair) p, const OPERAND *w)
{
    UNROLL for (int i = 0; i < 2; i++) sum[i] += (FORM(words)) MADD(p.v[i], w[i]);
}

INLINE void FORM(start)(const struct pith_depthwise_s8_row *row, FORM(words) * sum)
{
    UNROLL for (int i = 0; i < 2; i++) sum[i] = ((const FORM(words) *) row->bias)[i];
}

/* bare: there is no slope, zero point or limit. */
INLINE void FORM(store)(const struct pith_depthwise_s8_row *row, const struct pith_requantize *r,
                        const FORM(words) * sum, uint8_t *y, int count, const bool bare)
{
    OPERAND q[2], words;

    UNROLL for (int i = 0; i < 2; i++)
    {
        FORM(vector)
        f = __builtin_convertvector(sum[i], FORM(vector)) * ((const FORM(vector) *) row->scale)[i];

        if (!bare && r->slope != 1.0F) {
            const FORM(words) below = f < 0.0F;

            f = (FORM(vector))(((FORM(words))(f * r->slope) & below) | ((FORM(words)) f & ~below));
        }
        q[i] = NEAREST(f);
    }
    words = WORDS(q[0], q[1]);
    if (bare) {
        FORM(put)(y, BYTES_OF(words), count);
        return;
    }
    words = BYTES_OF(ADD16(words, SPREAD16((int16_t) r->zero)));
    FORM(put)(y, LIMIT(words, (char) r->low, (char) r->high), count);
}

/* Rows are walked with copies of what describes them, or each byte stored might change it. */
TARGET static void FORM(taps)(const struct pith_depthwise_s8_row *from)
{
    const struct pith_depthwise_s8_row row = *from;
    const struct pith_requantize r = *row.to;

    for (int64_t p = 0; p < row.count; p++) {
        const uint8_t *x = row.x + p * row.x_step;
        const OPERAND *w = (const OPERAND *) row.weights;
        FORM(words) sum[2];

        FORM(start)(&row, sum);
        for (int64_t g = 0; g < row.groups; g++, w += 2)
            FORM(add_pair)(sum,
                           FORM(pair_of)(WIDEN(x + row.tap_at[2 * g]),
                                         WIDEN(x + row.tap_at[2 * g + 1])),
                           w);
        FORM(store)
        (&row, &r, sum, row.y + p * row.y_step, p == row.count - 1 ? row.last : row.width, false);
    }
}

/* What a column adds: its two upper taps as a pair, and the lowest, which meets its neighbour's. */
struct FORM(column) {
    struct FORM(pair) upper;
    OPERAND lowest;
};

INLINE struct FORM(column) FORM(column_at)(const int64_t *at, const uint8_t *x)
{
    return (struct FORM(column)){FORM(pair_of)(WIDEN(x + at[0]), WIDEN(x + at[1])),
                                 WIDEN(x + at[2])};
}

/* stride: in columns; 3 stands for more, where no column is met twice. */
INLINE void FORM(slide)(const struct pith_depthwise_s8_row *from, const int stride, const bool bare)
{
    const struct pith_depthwise_s8_row row = *from;
    const struct pith_requantize r = *row.to;
    const int64_t at[3] = {row.tap_at[0], row.tap_at[1], row.tap_at[6]};
    const OPERAND *w = (const OPERAND *) row.weights;
    const uint8_t *x = row.x;
    uint8_t *y = row.y;
    struct FORM(column) a, b, c;
    struct FORM(pair) first, second; /* of the lowest taps: of the columns a and b, and b and c */

    if (stride <= 2)
        a = FORM(column_at)(at, x);
    if (stride == 1) {
        b = FORM(column_at)(at, x + row.column);
        first = FORM(pair_of)(a.lowest, b.lowest);
    }
    for (int64_t left = row.count; left > 0; left--) {
        FORM(words) sum[2];

        if (stride > 2)
            a = FORM(column_at)(at, x);
        if (stride > 1) {
            b = FORM(column_at)(at, x + row.column);
            first = FORM(pair_of)(a.lowest, b.lowest);
        }
        c = FORM(column_at)(at, x + 2 * row.column);
        second = FORM(pair_of)(b.lowest, c.lowest);
        FORM(start)(&row, sum);
        FORM(add_pair)(sum, a.upper, w);
        FORM(add_pair)(sum, b.upper, w + 2);
        FORM(add_pair)(sum, first, w + 6);
        FORM(add_pair)(sum, c.upper, w + 4);
        FORM(add_pair)(sum, second, w + 8);
        FORM(store)
        (&row, &r, sum, y, left == 1 ? row.last : bare ? CHANNELS : row.width, bare);
        x += row.x_step;
        y += row.y_step;
        a = stride == 1 ? b : c;
        b = c;
        first = second;
    }
}

#define SLIDE(stride) (bare ? FORM(slide)(row, stride, true) : FORM(slide)(row, stride, false))

TARGET static void FORM(columns)(const struct pith_depthwise_s8_row *row, int stride)
{
    const bool bare = row->width == CHANNELS && row->to->slope == 1.0F && row->to->zero == 0 &&
                      !row->to->limits;

    if (stride == 1)
        SLIDE(1);
    else if (stride == 2)
        SLIDE(2);
    else
        SLIDE(3);
}

#undef SLIDE
#undef CHANNELS
#undef UNROLL
#undef INLINE
