/* The loops of image_winograd_s8.h, included once per instruction set behind image_dense_s8_body.h,
 * or what defines FORM, TARGET, LANES, TILE and OPERAND as it does, and store and store_any. And
   STORED               the type of stored integers
 *   ADD_PAIR(sum, x, w)  sum, and in each int32 lane what a pair of channels adds to it; x: two
 *                        int16, the same in every lane
 *   DIRECT               what such a step takes in the direct form, in tenths of what it takes here
 *   PLANES               whether it wants weights in two halves, of even and of odd channels */
#define UNROLL  _Pragma("GCC unroll 16")
#define INLINE  TARGET static inline __attribute__((always_inline))
#define PATCHES PITH_WINOGRAD_S8_PATCHES

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

INLINE void FORM(line_in)(const FORM(halves) * d, FORM(halves) * out)
{
    out[0] = d[0] - d[2];
    out[1] = d[1] + d[2];
    out[2] = d[2] - d[1];
    out[3] = d[1] - d[3];
}

TARGET static void FORM(winograd_in)(const uint8_t *x, const int64_t *row, const int64_t *col,
                                     int16_t *to, int64_t plane, int64_t channels)
{
    for (int64_t c = 0; c < channels; c += 2 * LANES, x += 2 * LANES, to += 2 * LANES) {
        FORM(halves) t[4][4];

        UNROLL for (int i = 0; i < 4; i++)
        {
            FORM(halves) d[4];

            UNROLL for (int j = 0; j < 4; j++) d[j] = FORM(widen)(x + row[i] + col[j]);
            FORM(line_in)(d, t[i]);
        }
        UNROLL for (int j = 0; j < 4; j++)
        {
            const FORM(halves) d[4] = {t[0][j], t[1][j], t[2][j], t[3][j]};
            FORM(halves) out[4];

            FORM(line_in)(d, out);
            UNROLL for (int i = 0; i < 4; i++) * (FORM(loose_halves) *) (to + (i * 4 + j) * plane) =
                out[i];
        }
    }
}

/* ---- products ---- */

INLINE void FORM(product)(const int16_t *v, int64_t v_step, const int16_t *weights, int64_t pairs,
                          int32_t *m, int64_t m_step, const int P, const int N)
{
    const OPERAND *w = (const OPERAND *) (const void *) weights;
    FORM(sums) acc[PATCHES][4];
    const int16_t *x[2] = {v, v + 4 * v_step}; /* of each fourth patch */

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
        x[0] += 2;
        x[1] += 2;
    }
    UNROLL for (int p = 0; p < P; p++) UNROLL for (int n = 0; n < N; n++) *
        (FORM(loose_sums) *) (m + p * m_step + n * LANES) = acc[p][n];
}

#define PRODUCT_OF(N)                                                                              \
    TARGET static void FORM(product_##N)(const int16_t *v, int64_t v_step, int64_t patches,        \
                                         const int16_t *weights, int64_t pairs, int32_t *m,        \
                                         int64_t m_step)                                           \
    {                                                                                              \
        for (; patches >= PATCHES; patches -= PATCHES) {                                           \
            FORM(product)(v, v_step, weights, pairs, m, m_step, PATCHES, N);                       \
            v += PATCHES * v_step;                                                                 \
            m += PATCHES * m_step;                                                                 \
        }                                                                                          \
        if (patches >= 4) {                                                                        \
            FORM(product)(v, v_step, weights, pairs, m, m_step, 4, N);                             \
            v += 4 * v_step;                                                                       \
            m += 4 * m_step;                                                                       \
            patches -= 4;                                                                          \
        }                                                                                          \
        if (patches >= 2) {                                                                        \
            FORM(product)(v, v_step, weights, pairs, m, m_step, 2, N);                             \
            v += 2 * v_step;                                                                       \
            m += 2 * m_step;                                                                       \
            patches -= 2;                                                                          \
        }                                                                                          \
        if (patches > 0)                                                                           \
            FORM(product)(v, v_step, weights, pairs, m, m_step, 1, N);                             \
    }

PRODUCT_OF(1)
PRODUCT_OF(2)
#if TILE == 4
PRODUCT_OF(3)
PRODUCT_OF(4)
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
    for (int p = 0; p < 4; p++) {
        const int64_t y = p % 2 * d->y_step + p / 2 * (2 * d->y_step + at->y_jump);
        const uint8_t *near =
            added ? added + p % 2 * d->added_step + p / 2 * (2 * d->added_step + at->added_jump)
                  : NULL;

        if (p / 2 >= rows || p % 2 >= cols)
            continue;
        if (store == PITH_DENSE_ANY)
            FORM(store_any)(d, acc[p], near, data->y, to + y, channel, last, 1, N);
        else
            FORM(store)
            (d, &r, at, &acc[p], near, (uint8_t *) data->y + to + y, channel, last, 1, N, store,
             false);
    }
}

#define OUT_AS(N, name, store)                                                                     \
    TARGET static void FORM(winograd_##name##_##N)(                                                \
        const struct pith_dense_s8 *d, const struct pith_conv_s8_data *data,                       \
        const struct pith_dense_s8_pixels *at, const int32_t *m, int64_t plane, int64_t channel,   \
        int last, int rows, int cols)                                                              \
    {                                                                                              \
        FORM(winograd_out)(d, data, at, m, plane, channel, last, rows, cols, N, store);            \
    }
#define OUT_OF(N)                                                                                  \
    OUT_AS(N, plain, PITH_DENSE_PLAIN)                                                             \
    OUT_AS(N, adds, PITH_DENSE_ADDS)                                                               \
    OUT_AS(N, any, PITH_DENSE_ANY)
OUT_OF(1)
OUT_OF(2)
OUT_OF(3)
OUT_OF(4)

/* clang-format off */
#define OUTS(name)                                                                                 \
    {FORM(winograd_##name##_1), FORM(winograd_##name##_2), FORM(winograd_##name##_3),              \
     FORM(winograd_##name##_4)}
const struct pith_winograd_s8_form FORM(pith_winograd_s8) = {
    .lanes = LANES,
    .tile = TILE,
    .planes = PLANES,
    .direct = DIRECT,
    .in = FORM(winograd_in),
    .product = {FORM(product_1), FORM(product_2),
#if TILE == 4
                FORM(product_3), FORM(product_4)
#endif
               },
    .out = {OUTS(plain), OUTS(adds), OUTS(any)}};
/* clang-format on */

#undef UNROLL
#undef INLINE
#undef PATCHES
#undef PRODUCT_OF
#undef OUT_AS
#undef OUT_OF
#undef OUTS
