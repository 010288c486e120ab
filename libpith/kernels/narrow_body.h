/* Products with a narrow matrix, in compiler vector types, included once per instruction set.
 *
 * Who includes it defines FORM(name), the name with the form's ending; TARGET, the function
 * attribute; LANES, the floats of a vector; ROWS, the most of a tile; and, where there are
 * instructions for it, BYTES_OF(p), FOURTH_OF(words, at) and HALVES_OF(p): LANES int8 at p, the
 * signed four bits number `at` of each lane, LANES float16 at p, as floats. */
#define UNROLL _Pragma("GCC unroll 8")
#define INLINE TARGET static inline __attribute__((always_inline))

typedef float FORM(vector) __attribute__((vector_size(4 * LANES)));
typedef int32_t FORM(words) __attribute__((vector_size(4 * LANES)));
typedef uint32_t FORM(bits) __attribute__((vector_size(4 * LANES)));
typedef int8_t FORM(bytes) __attribute__((vector_size(LANES), aligned(1), may_alias));
typedef uint16_t FORM(halves) __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
typedef float FORM(loose) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t FORM(loose_bits) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#ifndef BYTES_OF
#define BYTES_OF(p)                                                                                \
    __builtin_convertvector(__builtin_convertvector(*(const FORM(bytes) *) (p), FORM(words)),      \
                            FORM(vector))
#endif
#ifndef FOURTH_OF
#define FOURTH_OF(w, at)                                                                           \
    __builtin_convertvector((FORM(words))((w) << (28 - 4 * (at))) >> 28, FORM(vector))
#endif
#ifndef HALVES_OF
/* Exponents are 112 apart; a power of two changes nothing else, and makes subnormals normal. */
INLINE FORM(vector) FORM(halves_of)(const void *p)
{
    const FORM(bits) h = __builtin_convertvector(*(const FORM(halves) *) p, FORM(bits));
    const FORM(vector) magnitude = (FORM(vector))((h & 0x7FFF) << 13) * 0x1p112F;

    return (FORM(vector))((FORM(bits)) magnitude | (h & 0x8000) << 16);
}
#define HALVES_OF(p) FORM(halves_of)(p)
#endif

/* Element `at` of a group along the depth, of one vector of columns. */
INLINE FORM(vector) FORM(widen)(const uint8_t *w, const enum narrow_kind kind, const int at)
{
    FORM(bits) packed;

    switch (kind) {
    case NARROW_BYTES:
        return BYTES_OF(w);
    case NARROW_FLOAT16:
        return HALVES_OF(w);
    case NARROW_FOURTHS:
        packed = *(const FORM(loose_bits) *) w;
        return FOURTH_OF(packed, at);
    default: /* bfloat16: two in a lane */
        packed = *(const FORM(loose_bits) *) w;
        return (FORM(vector))(at == 0 ? packed << 16 : packed & 0xFFFF0000U);
    }
}

/* `count` elements of a group, which is less than all at the end of the depth alone. */
INLINE void FORM(add_group)(FORM(vector) (*sum)[4], const float *const *a, const uint8_t *w,
                            const enum narrow_kind kind, int count, const int R, const int N)
{
    const int bytes = LANES * narrow_group_bytes(kind);

    UNROLL for (int at = 0; at < narrow_group(kind); at++)
    {
        if (at >= count)
            break;
        UNROLL for (int n = 0; n < N; n++)
        {
            const FORM(vector) b = FORM(widen)(w + n * bytes, kind, at);

            UNROLL for (int r = 0; r < R; r++) sum[r][n] += b * a[r][at];
        }
    }
}

INLINE FORM(vector) FORM(select)(FORM(words) mask, FORM(vector) yes, FORM(vector) no)
{
    return (FORM(vector)) ((mask & (FORM(words)) yes) | (~mask & (FORM(words)) no));
}

/* pith_activate of sums and what is added to their columns. */
INLINE void FORM(put)(const struct pith_narrow_call *call, FORM(vector) x, float *c, int64_t col)
{
    const struct pith_activation *act = &call->activation;
    const FORM(vector) zero = {0}, low = zero + act->low, high = zero + act->high;

    if (call->col_bias)
        x += *(const FORM(loose) *) (call->col_bias + col);
    if (act->set) {
        x = FORM(select)(x < zero, x * act->slope, x);
        x = FORM(select)(x < low, low, x);
        x = FORM(select)(x > high, high, x);
    }
    *(FORM(loose) *) c = x;
}

/* The first `count`, less than a vector's lanes. */
INLINE void FORM(put_some)(const struct pith_narrow_call *call, FORM(vector) x, float *c,
                           int64_t col, int count)
{
    float one[LANES];

    memcpy(one, &x, sizeof one);
    for (int j = 0; j < count; j++) {
        const float y = one[j] + (call->col_bias ? call->col_bias[col + j] : 0.0F);

        c[j] = call->activation.set ? pith_activate(&call->activation, y) : y;
    }
}

/* R rows by N vectors of columns, of which the last has `last`. Blocks along the depth that share a
 * scale are summed apart; for one row, so is every other group, since a chain of additions alone is
 * as long as each of them takes. */
INLINE void FORM(tile)(const struct pith_narrow *s, const struct pith_narrow_call *call,
                       int64_t row, int64_t col, int last, const enum narrow_kind kind, const int R,
                       const int N)
{
    const int group = narrow_group(kind);
    const int64_t stride = (int64_t) N * LANES * narrow_group_bytes(kind);
    const uint8_t *w = s->packed + col / LANES * s->vector_bytes;
    const float *a[ROWS];
    FORM(vector) total[ROWS][4];

    UNROLL for (int r = 0; r < R; r++)
    {
        a[r] = call->a + (row + r) * s->depth;
        UNROLL for (int n = 0; n < N; n++) total[r][n] = (FORM(vector)){0};
    }
    for (int64_t block = 0; block * s->block < s->depth; block++) {
        const int64_t rest = s->depth - block * s->block, deep = rest < s->block ? rest : s->block;
        FORM(vector) sum[2][ROWS][4];
        int64_t p = 0;

        UNROLL for (int r = 0; r < R; r++) UNROLL for (int n = 0; n < N; n++) sum[0][r][n] =
            sum[1][r][n] = (FORM(vector)){0};
        for (; p + 2 * group <= deep; p += 2 * group) {
            UNROLL for (int half = 0; half < 2; half++)
            {
                FORM(add_group)(sum[R == 1 ? half : 0], a, w, kind, group, R, N);
                w += stride;
                UNROLL for (int r = 0; r < R; r++) a[r] += group;
            }
        }
        for (; p < deep; p += group) {
            FORM(add_group)(sum[0], a, w, kind, deep - p < group ? (int) (deep - p) : group, R, N);
            w += stride;
            UNROLL for (int r = 0; r < R; r++) a[r] += group;
        }
        if (R == 1)
            UNROLL for (int n = 0; n < N; n++) sum[0][0][n] += sum[1][0][n];
        UNROLL for (int n = 0; n < N; n++)
        {
            FORM(vector) scale = (FORM(vector)){0} + 1.0F;

            if (s->scale)
                scale = *(const FORM(loose) *) (s->scale + block * s->padded + col + n * LANES);
            UNROLL for (int r = 0; r < R; r++) total[r][n] += sum[0][r][n] * scale;
        }
    }
    UNROLL for (int r = 0; r < R; r++) UNROLL for (int n = 0; n < N; n++)
    {
        const int count = n == N - 1 ? last : LANES;
        const int64_t at = col + n * LANES;
        float *c = call->c + (row + r) * s->cols + at;

        if (count == LANES)
            FORM(put)(call, total[r][n], c, at);
        else
            FORM(put_some)(call, total[r][n], c, at, count);
    }
}

INLINE void FORM(rows)(const struct pith_narrow *s, const struct pith_narrow_call *call,
                       int64_t col, int last, const enum narrow_kind kind, const int N)
{
    int64_t row = 0;

    for (; row + ROWS <= call->rows; row += ROWS)
        FORM(tile)(s, call, row, col, last, kind, ROWS, N);
    for (; row < call->rows; row++)
        FORM(tile)(s, call, row, col, last, kind, 1, N);
}

INLINE void FORM(product)(const struct pith_narrow *s, const struct pith_narrow_call *call,
                          const enum narrow_kind kind)
{
    for (int64_t col = call->col; col < call->col_end; col += 4 * LANES) {
        const int64_t left = call->col_end - col < 4 * LANES ? call->col_end - col : 4 * LANES;
        const int vectors = (int) ((left + LANES - 1) / LANES),
                  last = (int) left - (vectors - 1) * LANES;

        switch (vectors) {
        case 1:
            FORM(rows)(s, call, col, last, kind, 1);
            break;
        case 2:
            FORM(rows)(s, call, col, last, kind, 2);
            break;
        case 3:
            FORM(rows)(s, call, col, last, kind, 3);
            break;
        default:
            FORM(rows)(s, call, col, last, kind, 4);
        }
    }
}

TARGET static void FORM(run)(const struct pith_narrow *s, const struct pith_narrow_call *call)
{
    switch (s->kind) {
    case NARROW_FOURTHS:
        FORM(product)(s, call, NARROW_FOURTHS);
        break;
    case NARROW_BYTES:
        FORM(product)(s, call, NARROW_BYTES);
        break;
    case NARROW_FLOAT16:
        FORM(product)(s, call, NARROW_FLOAT16);
        break;
    case NARROW_BFLOAT16:
        FORM(product)(s, call, NARROW_BFLOAT16);
        break;
    }
}

/* pith_narrow_rows_expand, where the width is whole vectors. */
INLINE void FORM(expand_as)(const enum narrow_kind kind, const uint8_t *packed, int64_t rows,
                            int64_t width, const float *scale, float *to)
{
    const int group = narrow_group(kind), bytes = LANES * narrow_group_bytes(kind);

    for (int64_t row = 0; row < rows; row += group)
        for (int64_t col = 0; col < width; col += LANES, packed += bytes) {
            FORM(vector) by = (FORM(vector)){0} + 1.0F;
            float *place = to + row * width + col;

            if (scale)
                by = *(const FORM(loose) *) (scale + col);

            UNROLL for (int at = 0; at < group; at++)
            {
                if (row + at < rows)
                    *(FORM(loose) *) (place + at * width) = FORM(widen)(packed, kind, at) * by;
            }
        }
}

TARGET static void FORM(expand)(enum narrow_kind kind, const uint8_t *packed, int64_t rows,
                                int64_t width, const float *scale, float *to)
{
    switch (kind) {
    case NARROW_FOURTHS:
        FORM(expand_as)(NARROW_FOURTHS, packed, rows, width, scale, to);
        break;
    case NARROW_BYTES:
        FORM(expand_as)(NARROW_BYTES, packed, rows, width, scale, to);
        break;
    case NARROW_FLOAT16:
        FORM(expand_as)(NARROW_FLOAT16, packed, rows, width, scale, to);
        break;
    case NARROW_BFLOAT16:
        FORM(expand_as)(NARROW_BFLOAT16, packed, rows, width, scale, to);
        break;
    }
}

#undef UNROLL
#undef INLINE
#undef FORM
#undef TARGET
#undef LANES
#undef ROWS
#undef BYTES_OF
#undef FOURTH_OF
#undef HALVES_OF
