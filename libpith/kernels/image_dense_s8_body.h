/* Dense channels-last integer convolution in compiler vector types, included once per instruction
 * set. Who includes it defines FORM(name)      the name with the form's ending    TARGET  the
 * function attribute LANES           int32 lanes of a vector            TILE    vectors of channels
 * held at once, 4 or 2 HALVES          steps that four products take: 1 or 2 OPERAND         the
 * vector type of both of a step's factors SPLIT(four, h)  four stored bytes, the same in every lane
 * of `four`: step h's factor DOT(sum, x, w)  sum and what the step adds         NEAREST(f)  floats
 * to int32, half to even WIDEN(p)        LANES stored bytes at p as int32 and may define PACK(to,
 * f, r): NEAREST, zero point and limits of TILE full vectors, stored at once.
 *
 * The inner loop holds P pixels by N vectors of channels of sums in registers; a run of input bytes
 * (a row of the kernel, where its pixels touch) is read four bytes a pixel at a time, each meeting
 * N vectors of weights. */
#define UNROLL _Pragma("GCC unroll 8")
#define INLINE TARGET static inline __attribute__((always_inline))

typedef int32_t FORM(words) __attribute__((vector_size(4 * LANES)));
typedef float FORM(vector) __attribute__((vector_size(4 * LANES)));
typedef uint8_t FORM(bytes) __attribute__((vector_size(LANES)));
typedef int32_t FORM(loose_words) __attribute__((vector_size(4 * LANES), aligned(1), may_alias));
typedef float FORM(loose_vector) __attribute__((vector_size(4 * LANES), aligned(1), may_alias));

INLINE FORM(vector) FORM(spread)(float x)
{
    return (FORM(vector)){0} + x;
}

INLINE FORM(words) FORM(choose)(FORM(words) mask, FORM(words) yes, FORM(words) no)
{
    return (yes & mask) | (no & ~mask);
}

INLINE FORM(vector) FORM(select)(FORM(words) mask, FORM(vector) yes, FORM(vector) no)
{
    return (FORM(vector)) FORM(choose)(mask, (FORM(words)) yes, (FORM(words)) no);
}

INLINE FORM(vector) FORM(limit)(FORM(vector) x, float low, float high)
{
    x = FORM(select)(x < FORM(spread)(low), FORM(spread)(low), x);
    return FORM(select)(x > FORM(spread)(high), FORM(spread)(high), x);
}

/* pith_requantize_add, a vector at a time. */
INLINE FORM(vector)
    FORM(add_residual)(const struct pith_requantize *r, FORM(vector) f, const uint8_t *added)
{
    const FORM(words) residual = WIDEN(added) - r->residual_zero;

    if (r->rounds_between)
        f = __builtin_convertvector(NEAREST(f), FORM(vector));
    f = FORM(limit)(f, r->between_low, r->between_high);
    f = (f * FORM(spread)(r->between_scale) +
         __builtin_convertvector(residual, FORM(vector)) * FORM(spread)(r->residual_scale)) /
        FORM(spread)(r->y_scale);
    if (r->after_slope != 1.0F)
        f = FORM(select)(f < FORM(spread)(0.0F), f * FORM(spread)(r->after_slope), f);
    return f;
}

/* What is stored of `count` lanes, but for the store's limits in the 8-bit case. */
INLINE FORM(vector) FORM(finish)(const struct pith_requantize *r, FORM(words) sum, int64_t channel,
                                 const uint8_t *added, int count)
{
    FORM(vector)
    f = __builtin_convertvector(sum, FORM(vector)) *
        *(const FORM(loose_vector) *) (r->scale + channel);

    if (r->slope != 1.0F)
        f = FORM(select)(f < FORM(spread)(0.0F), f * FORM(spread)(r->slope), f);
    if (added) {
        uint8_t whole[LANES] = {0};

        if (count < LANES) {
            memcpy(whole, added, (size_t) count);
            added = whole;
        }
        f = FORM(add_residual)(r, f, added);
    }
    return f;
}

INLINE void FORM(store)(const struct pith_requantize *r, FORM(vector) f, void *y, int64_t at,
                        int count)
{
    if (r->real) {
        f = FORM(limit)(f, r->real_low, r->real_high);
        if (count == LANES)
            *(FORM(loose_vector) *) ((float *) y + at) = f;
        else
            memcpy((float *) y + at, &f, (size_t) count * sizeof(float));
        return;
    }
    const FORM(words) low = (FORM(words)){0} + r->low, high = (FORM(words)){0} + r->high;
    FORM(words) q = NEAREST(f) + r->zero;

    q = FORM(choose)(q < low, low, q);
    q = FORM(choose)(q > high, high, q);
#ifdef STORE
    STORE((uint8_t *) y + at, q, count);
#else
    const FORM(bytes) packed = __builtin_convertvector(q, FORM(bytes));

    if (count == LANES)
        memcpy((uint8_t *) y + at, &packed, LANES);
    else
        memcpy((uint8_t *) y + at, &packed, (size_t) count);
#endif
}

/* One tile: P pixels, N vectors of channels from `channel` on, of which the last has `last` lanes.
 */
INLINE void FORM(tile)(const struct pith_dense_s8 *d, const struct pith_conv_s8_data *data,
                       const struct pith_dense_s8_pixels *at, const uint8_t *weights,
                       int64_t x_channel, int64_t channel, int last, const int P, const int N)
{
    const struct pith_requantize *r = &d->conv->to;
    const OPERAND *w = (const OPERAND *) weights;
    FORM(words) acc[8][4];

    UNROLL for (int n = 0; n < N; n++) UNROLL for (int p = 0; p < P; p++) acc[p][n] =
        *(const FORM(loose_words) *) (r->bias + channel + n * LANES);
    for (int64_t run = 0; run < d->runs; run++) {
        const uint8_t *x[8];

        UNROLL for (int p = 0; p < P; p++) x[p] = data->x + at->x[p] + x_channel + d->run_at[run];
        for (int64_t k = 0; k < d->run_bytes; k += 4) {
            OPERAND b[4 * HALVES];

            UNROLL for (int n = 0; n < N * HALVES; n++) b[n] = w[n];
            w += N * HALVES;
            UNROLL for (int p = 0; p < P; p++)
            {
                int32_t dword;
                FORM(words) four = {0};

                memcpy(&dword, x[p] + k, sizeof dword);
                four += dword;
                UNROLL for (int h = 0; h < HALVES; h++)
                {
                    const OPERAND operand = SPLIT(four, h);

                    UNROLL for (int n = 0; n < N; n++) acc[p][n] =
                        DOT(acc[p][n], operand, b[n * HALVES + h]);
                }
            }
        }
    }
    UNROLL for (int p = 0; p < P; p++)
    {
        const uint8_t *added = data->added ? data->added + at->added[p] + channel : NULL;
        FORM(vector) f[4];

        UNROLL for (int n = 0; n < N; n++) f[n] =
            FORM(finish)(r, acc[p][n], channel + n * LANES, added ? added + n * LANES : NULL,
                         n == N - 1 ? last : LANES);
#ifdef PACK
        if (N == TILE && last == LANES && !r->real) {
            PACK((uint8_t *) data->y + at->y[p] + channel, f, r);
            continue;
        }
#endif
        UNROLL for (int n = 0; n < N; n++) FORM(store)(
            r, f[n], data->y, at->y[p] + channel + n * LANES, n == N - 1 ? last : LANES);
    }
}

#define TILE_OF(P, N)                                                                              \
    TARGET static void FORM(tile_##P##_##N)(                                                       \
        const struct pith_dense_s8 *d, const struct pith_conv_s8_data *data,                       \
        const struct pith_dense_s8_pixels *at, const uint8_t *weights, int64_t x_channel,          \
        int64_t channel, int last)                                                                 \
    {                                                                                              \
        FORM(tile)(d, data, at, weights, x_channel, channel, last, P, N);                          \
    }

TILE_OF(1, 1)
TILE_OF(2, 1)
TILE_OF(4, 1)
TILE_OF(8, 1)
TILE_OF(1, 2)
TILE_OF(2, 2)
TILE_OF(4, 2)
#if TILE == 4
TILE_OF(8, 2)
TILE_OF(1, 3)
TILE_OF(2, 3)
TILE_OF(4, 3)
TILE_OF(6, 3)
TILE_OF(1, 4)
TILE_OF(2, 4)
TILE_OF(4, 4)
TILE_OF(6, 4)
#endif

/* By vectors of channels less one; the most pixels first, ended by 0. */
static const struct pith_dense_s8_tile FORM(tiles)[4][5] = {
    {{8, FORM(tile_8_1)}, {4, FORM(tile_4_1)}, {2, FORM(tile_2_1)}, {1, FORM(tile_1_1)}},
#if TILE == 4
    {{8, FORM(tile_8_2)}, {4, FORM(tile_4_2)}, {2, FORM(tile_2_2)}, {1, FORM(tile_1_2)}},
    {{6, FORM(tile_6_3)}, {4, FORM(tile_4_3)}, {2, FORM(tile_2_3)}, {1, FORM(tile_1_3)}},
    {{6, FORM(tile_6_4)}, {4, FORM(tile_4_4)}, {2, FORM(tile_2_4)}, {1, FORM(tile_1_4)}},
#else
    {{4, FORM(tile_4_2)}, {2, FORM(tile_2_2)}, {1, FORM(tile_1_2)}},
#endif
};

#undef UNROLL
#undef INLINE
#undef TILE_OF
