/* The loops of image_depthwise_s8.h where bytes are multiplied, included once per width and instruction
 * set. Who includes it defines FORM(name), TARGET, LANES, OPERAND, DOT, NEAREST as in
 * image_dense_s8_body.h; LOW8, HIGH8, LOW16, HIGH16 (a, b), the interleaved bytes or words of the
 * lower or upper half of every 128 bits; NARROW(q, r), four vectors of int32 as one of bytes, with
 * the zero point added and limited; FORM(put)(to, bytes, count), which stores the first of them;
 * and, where stored bytes are unsigned, NARROW_BARE(q), the same without zero point and limits.
 * Interleaving and narrowing both work in parts of 128 bits, so that channels come out in order. */
#define BYTES  (4 * LANES)
#define UNROLL _Pragma("GCC unroll 4")
#define INLINE TARGET static inline __attribute__((always_inline))
#ifdef NARROW_BARE
#define IS_BARE(row)                                                                               \
    ((row)->width == BYTES && (row)->to->slope == 1.0F && (row)->to->zero == 0 &&                  \
     !(row)->to->limits)
#else
#define IS_BARE(row)   false
#define NARROW_BARE(q) NARROW(q, r)
#endif

typedef int32_t FORM(words) __attribute__((vector_size(BYTES)));
typedef float FORM(vector) __attribute__((vector_size(BYTES)));
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

INLINE void FORM(start)(const struct pith_depthwise_s8_row *row, FORM(words) * sum)
{
    UNROLL for (int i = 0; i < 4; i++) sum[i] = ((const FORM(words) *) row->bias)[i];
}

/* bare: all of a block's bytes are stored, and there is no slope, zero point or limit. */
INLINE void FORM(store)(const struct pith_depthwise_s8_row *row, const struct pith_requantize *r,
                        const FORM(words) * sum, uint8_t *y, int count, const bool bare)
{
    FORM(words) q[4];

    UNROLL for (int i = 0; i < 4; i++)
    {
        FORM(vector)
        f = __builtin_convertvector(sum[i], FORM(vector)) * ((const FORM(vector) *) row->scale)[i];

        if (!bare && r->slope != 1.0F) {
            const FORM(words) below = f < 0.0F;

            f = (FORM(vector))(((FORM(words))(f * r->slope) & below) | ((FORM(words)) f & ~below));
        }
        q[i] = NEAREST(f);
    }
    FORM(put)(y, bare ? NARROW_BARE(q) : NARROW(q, r), count);
}

/* Rows are walked with copies of what describes them, or each byte stored might change it. */
TARGET static void FORM(taps)(const struct pith_depthwise_s8_row *from)
{
    const struct pith_depthwise_s8_row row = *from;
    const struct pith_requantize r = *row.to;

    for (int64_t p = 0; p < row.count; p++) {
        const uint8_t *x = row.x + p * row.x_step;
        const OPERAND *w = (const OPERAND *) row.weights;
        FORM(words) sum[4];

        FORM(start)(&row, sum);
        for (int64_t g = 0; g < row.groups; g++, w += 4) {
            const int64_t *at = row.tap_at + 4 * g;
            const struct FORM(quad) q =
                FORM(interleave)(FORM(load)(x + at[0]), FORM(load)(x + at[1]),
                                 FORM(load)(x + at[2]), FORM(load)(x + at[3]));

            FORM(add_quad)(sum, &q, w);
        }
        FORM(store)
        (&row, &r, sum, row.y + p * row.y_step, p == row.count - 1 ? row.last : row.width, false);
    }
}

INLINE struct FORM(quad) FORM(column)(const int64_t *at, const uint8_t *x)
{
    return FORM(interleave)(FORM(load)(x + at[0]), FORM(load)(x + at[1]), FORM(load)(x + at[2]),
                            (OPERAND){0});
}

/* stride: in columns; 3 stands for more, where no column is met twice. */
INLINE void FORM(slide)(const struct pith_depthwise_s8_row *from, const int stride, const bool bare)
{
    const struct pith_depthwise_s8_row row = *from;
    const struct pith_requantize r = *row.to;
    const int64_t at[3] = {row.tap_at[0], row.tap_at[1], row.tap_at[2]};
    const uint8_t *x = row.x;
    uint8_t *y = row.y;
    OPERAND w[12];
    struct FORM(quad) a, b, c;

    _Pragma("GCC unroll 12") for (int i = 0; i < 12; i++) w[i] =
        ((const OPERAND *) row.weights)[i];
    if (stride <= 2)
        a = FORM(column)(at, x);
    if (stride == 1)
        b = FORM(column)(at, x + row.column);
    for (int64_t left = row.count; left > 0; left--) {
        FORM(words) sum[4];

        if (stride > 2)
            a = FORM(column)(at, x);
        if (stride > 1)
            b = FORM(column)(at, x + row.column);
        c = FORM(column)(at, x + 2 * row.column);
        FORM(start)(&row, sum);
        FORM(add_quad)(sum, &a, w);
        FORM(add_quad)(sum, &b, w + 4);
        FORM(add_quad)(sum, &c, w + 8);
        FORM(store)(&row, &r, sum, y, left == 1 ? row.last : bare ? BYTES : row.width, bare);
        x += row.x_step;
        y += row.y_step;
        a = stride == 1 ? b : c;
        b = c;
    }
}

#define SLIDE(stride) (bare ? FORM(slide)(row, stride, true) : FORM(slide)(row, stride, false))

TARGET static void FORM(columns)(const struct pith_depthwise_s8_row *row, int stride)
{
    const bool bare = IS_BARE(row);

    if (stride == 1)
        SLIDE(1);
    else if (stride == 2)
        SLIDE(2);
    else
        SLIDE(3);
}

#undef SLIDE
#undef IS_BARE
#undef NARROW_BARE
#undef BYTES
#undef UNROLL
#undef INLINE
