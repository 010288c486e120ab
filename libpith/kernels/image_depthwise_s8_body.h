/* The loops of image_depthwise_s8.h, included once per width and instruction set. Who includes it
 * defines FORM(name), TARGET, LANES, HALVES, OPERAND, SPLIT, DOT, NEAREST as in
 * image_dense_s8_body.h; LOW8, HIGH8, LOW16, HIGH16 (a, b), the interleaved bytes or words of the
 * lower or upper half of every 128 bits; NARROW(q, r), four vectors of int32 as one of bytes, with
 * the zero point added and limited; FORM(put)(to, bytes, count), which stores the first of them.
 * Interleaving and narrowing both work in parts of 128 bits, so that channels come out in order. */
#define BYTES  (4 * LANES)
#define UNROLL _Pragma("GCC unroll 4")
#define INLINE TARGET static inline __attribute__((always_inline))

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
    UNROLL for (int i = 0; i < 4; i++) for (int h = 0; h < HALVES; h++)
    {
        const FORM(words) four = (FORM(words)) q->v[i];

        sum[i] = DOT(sum[i], SPLIT(four, h), w[i * HALVES + h]);
    }
}

INLINE void FORM(start)(const struct pith_depthwise_s8_row *row, FORM(words) * sum)
{
    UNROLL for (int i = 0; i < 4; i++) sum[i] = ((const FORM(words) *) row->bias)[i];
}

INLINE void FORM(store)(const struct pith_depthwise_s8_row *row, const FORM(words) * sum,
                        uint8_t *y, int count)
{
    const struct pith_requantize *r = row->to;
    FORM(words) q[4];

    UNROLL for (int i = 0; i < 4; i++)
    {
        FORM(vector)
        f = __builtin_convertvector(sum[i], FORM(vector)) * ((const FORM(vector) *) row->scale)[i];

        if (r->slope != 1.0F) {
            const FORM(words) below = f < 0.0F;

            f = (FORM(vector))(((FORM(words))(f * r->slope) & below) | ((FORM(words)) f & ~below));
        }
        q[i] = NEAREST(f);
    }
    FORM(put)(y, NARROW(q, r), count);
}

TARGET static void FORM(taps)(const struct pith_depthwise_s8_row *row)
{
    for (int64_t p = 0; p < row->count; p++) {
        const uint8_t *x = row->x + p * row->x_step;
        const OPERAND *w = (const OPERAND *) row->weights;
        FORM(words) sum[4];

        FORM(start)(row, sum);
        for (int64_t g = 0; g < row->groups; g++, w += 4 * HALVES) {
            const int64_t *at = row->tap_at + 4 * g;
            const struct FORM(quad) q =
                FORM(interleave)(FORM(load)(x + at[0]), FORM(load)(x + at[1]),
                                 FORM(load)(x + at[2]), FORM(load)(x + at[3]));

            FORM(add_quad)(sum, &q, w);
        }
        FORM(store)
        (row, sum, row->y + p * row->y_step, p == row->count - 1 ? row->last : row->width);
    }
}

INLINE struct FORM(quad) FORM(column)(const struct pith_depthwise_s8_row *row, const uint8_t *x)
{
    return FORM(interleave)(FORM(load)(x + row->tap_at[0]), FORM(load)(x + row->tap_at[1]),
                            FORM(load)(x + row->tap_at[2]), (OPERAND){0});
}

INLINE void FORM(slide)(const struct pith_depthwise_s8_row *row, const int stride)
{
    const OPERAND *w = (const OPERAND *) row->weights;
    const uint8_t *x = row->x;
    struct FORM(quad) a = FORM(column)(row, x), b, c;

    x += row->column;
    if (stride == 1) {
        b = FORM(column)(row, x);
        x += row->column;
    }
    for (int64_t p = 0; p < row->count; p++) {
        FORM(words) sum[4];

        if (stride == 2) {
            b = FORM(column)(row, x);
            x += row->column;
        }
        c = FORM(column)(row, x);
        x += row->column;
        FORM(start)(row, sum);
        FORM(add_quad)(sum, &a, w);
        FORM(add_quad)(sum, &b, w + 4 * HALVES);
        FORM(add_quad)(sum, &c, w + 8 * HALVES);
        FORM(store)
        (row, sum, row->y + p * row->y_step, p == row->count - 1 ? row->last : row->width);
        a = stride == 1 ? b : c;
        b = c;
    }
}

TARGET static void FORM(columns)(const struct pith_depthwise_s8_row *row, int stride)
{
    if (stride == 1)
        FORM(slide)(row, 1);
    else
        FORM(slide)(row, 2);
}

#undef BYTES
#undef UNROLL
#undef INLINE
