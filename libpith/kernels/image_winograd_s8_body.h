/* The loops of image_winograd_s8.h, included once per instruction set behind image_dense_s8_body.h,
 * or what defines FORM, TARGET, LANES, TILE and OPERAND as it does, and store and store_any. And
   STORED               the type of stored integers
 *   ADD_PAIR(sum, x, w)  sum, and in each int32 lane what a pair of channels adds to it; x: two
 *                        int16, the same in every lane
 *   DIRECT               what such a step takes in the direct form, in tenths of what it takes here
 *   PLANES               whether it wants weights in two halves, of even and of odd channels
 *   RIVAL                the form that F(4x4, 3x3) must be expected to beat, or NULL
 * and may define LARGE_ONLY: no F(2x2, 3x3). */
#define UNROLL  _Pragma("GCC unroll 16")
#define INLINE  TARGET static inline __attribute__((always_inline))
#define INVERSE_OF_9 0x38E38E39U /* modulo 2^32 */

typedef int16_t FORM(halves) __attribute__((vector_size(4 * LANES)));
typedef STORED FORM(stored) __attribute__((vector_size(2 * LANES)));
typedef int16_t FORM(loose_halves) __attribute__((vector_size(4 * LANES), aligned(2), may_alias));
/* Sums wrap: what they come to in the end fits. */
typedef uint32_t FORM(sums) __attribute__((vector_size(4 * LANES)));
typedef uint32_t FORM(loose_sums) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* ---- B^T d B ---- */

INLINE FORM(halves) FORM(widen)(const uint8_t *x)
{
    FORM(stored) bytes;

    memcpy(&bytes, x, sizeof bytes);
    return __builtin_convertvector(bytes, FORM(halves));
}

INLINE void FORM(line_in)(const FORM(halves) * d, FORM(halves) * out, const int OUT)
{
    if (OUT == 2) {
        out[0] = d[0] - d[2];
        out[1] = d[1] + d[2];
        out[2] = d[2] - d[1];
        out[3] = d[1] - d[3];
    } else {
        const FORM(halves) even = d[4] - d[2], odd = 2 * (d[3] - d[1]), far_even = d[4] - 4 * d[2],
                           far_odd = d[3] - 4 * d[1];

        out[0] = even - 4 * (d[2] - d[0]);
        out[1] = far_even + far_odd;
        out[2] = far_even - far_odd;
        out[3] = even + odd;
        out[4] = even - odd;
        out[5] = (d[5] - d[3]) - 2 * odd;
    }
}

INLINE void FORM(square_in)(const uint8_t *x, const int64_t *row, const int64_t *col, int16_t *to,
                            int64_t plane, int64_t channels, const int OUT)
{
    const int in = OUT + 2;

    for (int64_t c = 0; c < channels; c += 2 * LANES, x += 2 * LANES, to += 2 * LANES) {
        FORM(halves) t[6][6];

        UNROLL for (int i = 0; i < in; i++)
        {
            FORM(halves) d[6];

            UNROLL for (int j = 0; j < in; j++) d[j] = FORM(widen)(x + row[i] + col[j]);
            FORM(line_in)(d, t[i], OUT);
        }
        UNROLL for (int j = 0; j < in; j++)
        {
            FORM(halves) d[6], out[6];

            UNROLL for (int i = 0; i < in; i++) d[i] = t[i][j];
            FORM(line_in)(d, out, OUT);
            UNROLL for (int i = 0; i < in; i++) *
                (FORM(loose_halves) *) (to + (i * in + j) * plane) = out[i];
        }
    }
}

#define IN_OF(OUT)                                                                                 \
    TARGET static void FORM(winograd_in_##OUT)(const uint8_t *x, const int64_t *row,               \
                                               const int64_t *col, int16_t *to, int64_t plane,     \
                                               int64_t channels)                                   \
    {                                                                                              \
        FORM(square_in)(x, row, col, to, plane, channels, OUT);                                    \
    }
#ifndef LARGE_ONLY
IN_OF(2)
#endif
IN_OF(4)

/* ---- products ---- */

INLINE void FORM(product)(const int16_t *v, int64_t v_step, const int16_t *weights, int64_t pairs,
                          int32_t *m, int64_t m_step, const int P, const int N)
{
    const OPERAND *w = (const OPERAND *) (const void *) weights;
    FORM(sums) acc[16][4];
    const int16_t *x[4]; /* of each fourth patch */

    UNROLL for (int p = 0; p < P; p += 4) x[p / 4] = v + p * v_step;
    UNROLL for (int p = 0; p < P; p++) UNROLL for (int n = 0; n < N; n++) acc[p][n] =
        (FORM(sums)){0};
    for (int64_t k = pairs; k > 0; k--, w += N) {
        OPERAND b[4];

        UNROLL for (int n = 0; n < N; n++) b[n] = w[n];
        UNROLL for (int p = 0; p < P; p++)
        {
            int32_t pair;
            FORM(words) both = {0};

            memcpy(&pair, x[p / 4] + p % 4 * v_step, sizeof pair);
            both += pair;
            UNROLL for (int n = 0; n < N; n++) acc[p][n] =
                (FORM(sums)) ADD_PAIR((FORM(words)) acc[p][n], both, b[n]);
        }
        UNROLL for (int p = 0; p < P; p += 4) x[p / 4] += 2;
    }
    UNROLL for (int p = 0; p < P; p++) UNROLL for (int n = 0; n < N; n++) *
        (FORM(loose_sums) *) (m + p * m_step + n * LANES) = acc[p][n];
}

/* MOST: patches whose sums fill the registers. */
#define SOME_PRODUCTS(P, N)                                                                        \
    for (; patches >= P; patches -= P) {                                                           \
        FORM(product)(v, v_step, weights, pairs, m, m_step, P, N);                                 \
        v += P * v_step;                                                                           \
        m += P * m_step;                                                                           \
    }
#define PRODUCT_OF(N, MOST)                                                                        \
    TARGET static void FORM(product_##N)(const int16_t *v, int64_t v_step, int64_t patches,        \
                                         const int16_t *weights, int64_t pairs, int32_t *m,        \
                                         int64_t m_step)                                           \
    {                                                                                              \
        SOME_PRODUCTS(MOST, N)                                                                     \
        SOME_PRODUCTS(4, N)                                                                        \
        SOME_PRODUCTS(2, N)                                                                        \
        SOME_PRODUCTS(1, N)                                                                        \
    }

#if TILE == 4
PRODUCT_OF(1, 12)
PRODUCT_OF(2, 12)
PRODUCT_OF(3, 6)
PRODUCT_OF(4, 6)
#else
PRODUCT_OF(1, 6)
PRODUCT_OF(2, 6)
#endif

/* ---- A^T m A ---- */

/* One vector of channels: the sums of four pixels, bias included. */
INLINE void FORM(square_out)(const int32_t *m, int64_t plane, const int32_t *bias,
                             FORM(words) * out)
{
    FORM(sums) half[2][4];

    UNROLL for (int j = 0; j < 4; j++)
    {
        FORM(sums) s[4];

        UNROLL for (int i = 0; i < 4; i++) s[i] =
            *(const FORM(loose_sums) *) (m + (i * 4 + j) * plane);
        half[0][j] = s[0] + s[1] + s[2];
        half[1][j] = s[1] - s[2] - s[3];
    }
    UNROLL for (int i = 0; i < 2; i++)
    {
        const FORM(words) b = *(const FORM(loose_words) *) bias;

        out[2 * i] = ((FORM(words))(half[i][0] + half[i][1] + half[i][2]) >> 2) + b;
        out[2 * i + 1] = ((FORM(words))(half[i][1] - half[i][2] - half[i][3]) >> 2) + b;
    }
}

/* Columns, or rows, of F(4x4, 3x3): 24 times what was asked for. */
INLINE void FORM(line_out)(const FORM(sums) * m, FORM(sums) * out)
{
    const FORM(sums) near = (m[1] + m[2]) << 2, near_odd = (m[1] - m[2]) << 2, far = m[3] + m[4],
                     far_odd = m[3] - m[4];

    out[0] = (m[0] << 1) + near + far;
    out[1] = near_odd + (far_odd << 1);
    out[2] = near + (far << 2);
    out[3] = near_odd + ((far_odd + m[5]) << 3);
}

/* One vector of channels: the sums of four rows of four pixels, bias included. What the transforms
 * leave is 576 times a sum modulo 2^32; the odd part of that is divided out by its inverse. */
INLINE void FORM(large_square_out)(const int32_t *m, int64_t plane, const int32_t *bias,
                                   FORM(words) (*out)[4])
{
    const FORM(words) b = *(const FORM(loose_words) *) bias;
    FORM(sums) half[6][4];

    UNROLL for (int j = 0; j < 6; j++)
    {
        FORM(sums) s[6];

        UNROLL for (int i = 0; i < 6; i++) s[i] =
            *(const FORM(loose_sums) *) (m + (i * 6 + j) * plane);
        FORM(line_out)(s, half[j]);
    }
    UNROLL for (int i = 0; i < 4; i++)
    {
        FORM(sums) s[6], row[4];

        UNROLL for (int j = 0; j < 6; j++) s[j] = half[j][i];
        FORM(line_out)(s, row);
        UNROLL for (int j = 0; j < 4; j++) out[i][j] =
            ((FORM(words))(row[j] * INVERSE_OF_9) >> 6) + b;
    }
}

/* Pixels that the store for all of a patch isn't for: some are outside, or the kind is rare. */
INLINE void FORM(some_out)(const struct pith_dense_s8 *d, const struct pith_conv_s8_data *data,
                           const struct pith_requantize *r, const struct pith_dense_s8_pixels *at,
                           FORM(words) (*acc)[4], const uint8_t *added, int64_t to, int64_t channel,
                           int last, int count, const int N, const enum pith_dense_s8_store store)
{
    for (int p = 0; p < count; p++) {
        const int64_t y = to + p * d->y_step;
        const uint8_t *near = added ? added + p * d->added_step : NULL;

        if (store == PITH_DENSE_ANY)
            FORM(store_any)(d, acc[p], near, data->y, y, channel, last, 1, N);
        else
            FORM(store)
            (d, r, at, &acc[p], near, (uint8_t *) data->y + y, channel, last, 1, N, store, false);
    }
}

INLINE void FORM(winograd_out)(const struct pith_dense_s8 *d, const struct pith_conv_s8_data *data,
                               const struct pith_dense_s8_pixels *at, const int32_t *m,
                               int64_t plane, int64_t channel, int last, int rows, int cols,
                               const int N, const enum pith_dense_s8_store store)
{
    const struct pith_requantize r = d->conv->to;
    const uint8_t *added = store == PITH_DENSE_ADDS || (store == PITH_DENSE_ANY && data->added)
                               ? data->added + at->added + channel
                               : NULL;
    const int64_t to = at->y + channel;
    FORM(words) acc[4][4];

    UNROLL for (int n = 0; n < N; n++)
    {
        FORM(words) square[4];

        FORM(square_out)(m + n * LANES, plane, r.bias + channel + n * LANES, square);
        UNROLL for (int p = 0; p < 4; p++) acc[p][n] = square[p];
    }
    if (store != PITH_DENSE_ANY && rows == 2 && cols == 2) {
        FORM(store)
        (d, &r, at, acc, added, (uint8_t *) data->y + to, channel, last, 4, N, store, true);
        return;
    }
    for (int i = 0; i < rows; i++)
        FORM(some_out)
        (d, data, &r, at, acc + 2 * i,
         added ? added + i * (2 * d->added_step + at->added_jump) : NULL,
         to + i * (2 * d->y_step + at->y_jump), channel, last, cols, N, store);
}

/* The same of F(4x4, 3x3), a vector of channels at a time. */
INLINE void FORM(large_winograd_out)(const struct pith_dense_s8 *d,
                                     const struct pith_conv_s8_data *data,
                                     const struct pith_dense_s8_pixels *at, const int32_t *m,
                                     int64_t plane, int64_t channel, int last, int rows, int cols,
                                     int vectors, const enum pith_dense_s8_store store)
{
    const struct pith_requantize r = d->conv->to;
    const int64_t y_row = 4 * d->y_step + at->y_jump,
                  added_row = 4 * d->added_step + at->added_jump;

    for (int n = 0; n < vectors; n++, channel += LANES, m += LANES) {
        const int count = n == vectors - 1 ? last : LANES;
        const uint8_t *added = store == PITH_DENSE_ADDS || (store == PITH_DENSE_ANY && data->added)
                                   ? data->added + at->added + channel
                                   : NULL;
        int64_t to = at->y + channel;
        FORM(words) acc[4][4];

        FORM(large_square_out)(m, plane, r.bias + channel, acc);
        UNROLL for (int i = 0; i < 4; i++)
        {
            FORM(words) row[4][4];

            UNROLL for (int p = 0; p < 4; p++) row[p][0] = acc[i][p];
            if (i >= rows)
                break;
            if (store != PITH_DENSE_ANY && cols == 4)
                FORM(store)
            (d, &r, at, row, added, (uint8_t *) data->y + to, channel, count, 4, 1, store, false);
            else FORM(some_out)(d, data, &r, at, row, added, to, channel, count, cols, 1, store);
            to += y_row;
            added = added ? added + added_row : NULL;
        }
    }
}

#define OUT_AS(N, name, store)                                                                     \
    TARGET static void FORM(winograd_##name##_##N)(                                                \
        const struct pith_dense_s8 *d, const struct pith_conv_s8_data *data,                       \
        const struct pith_dense_s8_pixels *at, const int32_t *m, int64_t plane, int64_t channel,   \
        int last, int rows, int cols, int vectors)                                                 \
    {                                                                                              \
        (void) vectors;                                                                            \
        FORM(winograd_out)(d, data, at, m, plane, channel, last, rows, cols, N, store);            \
    }
#define LARGE_OUT(name, store)                                                                     \
    TARGET static void FORM(large_winograd_##name)(                                                \
        const struct pith_dense_s8 *d, const struct pith_conv_s8_data *data,                       \
        const struct pith_dense_s8_pixels *at, const int32_t *m, int64_t plane, int64_t channel,   \
        int last, int rows, int cols, int vectors)                                                 \
    {                                                                                              \
        FORM(large_winograd_out)                                                                   \
        (d, data, at, m, plane, channel, last, rows, cols, vectors, store);                        \
    }
#define OUT_OF(N)                                                                                  \
    OUT_AS(N, plain, PITH_DENSE_PLAIN)                                                             \
    OUT_AS(N, adds, PITH_DENSE_ADDS)                                                               \
    OUT_AS(N, any, PITH_DENSE_ANY)
LARGE_OUT(plain, PITH_DENSE_PLAIN)
LARGE_OUT(adds, PITH_DENSE_ADDS)
LARGE_OUT(any, PITH_DENSE_ANY)

/* clang-format off */
#define LARGE_OUTS(name)                                                                           \
    {FORM(large_winograd_##name), FORM(large_winograd_##name), FORM(large_winograd_##name),        \
     FORM(large_winograd_##name)}
#if TILE == 4
#define PRODUCTS {FORM(product_1), FORM(product_2), FORM(product_3), FORM(product_4)}
#else
#define PRODUCTS {FORM(product_1), FORM(product_2)}
#endif
#ifndef LARGE_ONLY
OUT_OF(1)
OUT_OF(2)
OUT_OF(3)
OUT_OF(4)
#define OUTS(name)                                                                                 \
    {FORM(winograd_##name##_1), FORM(winograd_##name##_2), FORM(winograd_##name##_3),              \
     FORM(winograd_##name##_4)}
const struct pith_winograd_s8_form FORM(pith_winograd_s8) = {
    .out_edge = 2,
    .lanes = LANES,
    .tile = TILE,
    .planes = PLANES,
    .direct = DIRECT,
    .in = FORM(winograd_in_2),
    .product = PRODUCTS,
    .out = {OUTS(plain), OUTS(adds), OUTS(any)}};
#endif
const struct pith_winograd_s8_form FORM(pith_winograd_s8_large) = {
    .out_edge = 4,
    .lanes = LANES,
    .tile = TILE,
    .planes = PLANES,
    .direct = DIRECT,
    .rival = RIVAL,
    .in = FORM(winograd_in_4),
    .product = PRODUCTS,
    .out = {LARGE_OUTS(plain), LARGE_OUTS(adds), LARGE_OUTS(any)}};
/* clang-format on */

#undef UNROLL
#undef INLINE
#undef PRODUCT_OF
#undef SOME_PRODUCTS
#undef OUT_AS
#undef OUT_OF
#undef OUTS
#undef LARGE_OUT
#undef LARGE_OUTS
#undef PRODUCTS
#undef IN_OF
#undef INVERSE_OF_9
