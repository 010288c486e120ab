/* Tiles of the dense channels-last integer convolution for aarch64, included once per instruction set. Who includes it defines
 *   FORM(name), TARGET, UNROLL, INLINE   as in image_dense_s8_body.h, but that INLINE has no TARGET
 *   FORM(begin)(acc, bias, P, N)                sets them
 *   FORM(run)(acc, x, bytes, weights, P, N)     adds one run of input bytes for each of P pixels; the weights after it
 *   FORM(sum)(acc, p, n, N)                     four channels' sums of one pixel
 * all three inline functions; and may define RARE: few tiles, for what is seldom there. See image_dense_s8.h. */

/* What becomes of the sums of one pixel. */
TARGET INLINE void FORM(store)(const struct pith_requantize *r, const float32x4_t *f, uint8_t *y, int last, const int N)
{
    const int32x4_t nearest[4] = {vcvtnq_s32_f32(f[0]), vcvtnq_s32_f32(f[1]), vcvtnq_s32_f32(f[2]), vcvtnq_s32_f32(f[3])};
    const int8x16_t q = pith_neon_narrow(nearest, r->zero, r->low, r->high);
    const int32x4_t fours = vreinterpretq_s32_s8(q);

    if (N == 4 && last == 4)
        vst1q_s8((int8_t *) y, q);
    else
        UNROLL for (int n = 0; n < N; n++)
        {
            const int32_t four = fours[n];

            memcpy(y + 4 * n, &four, n < N - 1 || last == 4 ? 4 : (size_t) last);
        }
}

TARGET INLINE void FORM(store_real)(const struct pith_requantize *r, float32x4_t f, float *y, int count)
{
    f = pith_neon_limit(f, r->real_low, r->real_high);
    if (count == 4)
        vst1q_f32(y, f);
    else
        memcpy(y, &f, (size_t) count * sizeof(float));
}

/* Offset from a tile's first pixel to pixel p, by steps of `name`. */
#define PLACE(name) (p * d->name##_step + (p >= at->split ? at->name##_jump : 0))

/* `count` tiles, one after the other: P pixels, N vectors of channels from `channel` on, of which the last has `last` lanes.
 * One that goes on in the next row is alone. */
TARGET INLINE void FORM(tile)(const struct pith_dense_s8 *d, const struct pith_conv_s8_data *data,
                              const struct pith_dense_s8_pixels *at, const uint8_t *weights, int64_t x_channel,
                              int64_t channel, int last, int64_t count, const int P, const int N, const bool any)
{
    const struct pith_requantize *r = &d->conv->to;
    const uint8_t *from = data->x + at->x + x_channel,
                  *added = any && data->added ? data->added + at->added + channel : NULL;
    int64_t to = at->y + channel;

    for (; count > 0; count--) {
        const uint8_t *w = weights;
        int32x4_t acc[16];

        FORM(begin)(acc, r->bias + channel, P, N);
        for (int64_t run = 0; run < d->runs; run++) {
            const uint8_t *x[8];

            UNROLL for (int p = 0; p < P; p++) x[p] = from + PLACE(x) + d->run_at[run];
            w = FORM(run)(acc, x, d->run_bytes, w, P, N);
        }
        UNROLL for (int p = 0; p < P; p++)
        {
            float32x4_t f[4];

            UNROLL for (int n = 0; n < 4; n++) f[n] =
                n < N ? pith_neon_finish(r, FORM(sum)(acc, p, n, N), r->scale + channel + 4 * n,
                                         added ? added + PLACE(added) + 4 * n : NULL, any, n == N - 1 ? last : 4)
                      : f[n - 1]; /* not stored */
            if (any && r->real)
                UNROLL for (int n = 0; n < N; n++) FORM(store_real)(r, f[n], (float *) data->y + to + PLACE(y) + 4 * n,
                                                                    n == N - 1 ? last : 4);
            else
                FORM(store)(r, f, (uint8_t *) data->y + to + PLACE(y), last, N);
        }
        from += at->x_next;
        to += at->y_next;
        added = added ? added + at->added_next : NULL;
    }
}

#define TILE_AS(P, N, name, any)                                                                                       \
    TARGET static void FORM(name##_##P##_##N)(const struct pith_dense_s8 *d, const struct pith_conv_s8_data *data,     \
                                              const struct pith_dense_s8_pixels *at, const uint8_t *weights,           \
                                              int64_t x_channel, int64_t channel, int last, int64_t count)             \
    {                                                                                                                  \
        FORM(tile)(d, data, at, weights, x_channel, channel, last, count, P, N, any);                                  \
    }
#define ANY_OF(N)                                                                                                      \
    TILE_AS(4, N, any, true)                                                                                           \
    TILE_AS(1, N, any, true)
ANY_OF(1)
ANY_OF(2)
ANY_OF(3)
ANY_OF(4)
#ifndef RARE
#define UP_TO_4_OF(N)                                                                                                  \
    TILE_AS(4, N, plain, false)                                                                                        \
    TILE_AS(2, N, plain, false)                                                                                        \
    TILE_AS(1, N, plain, false)
TILE_AS(8, 1, plain, false)
TILE_AS(8, 2, plain, false)
UP_TO_4_OF(1)
UP_TO_4_OF(2)
UP_TO_4_OF(3)
UP_TO_4_OF(4)
#undef UP_TO_4_OF
#endif

/* The most pixels first, ended by 0; any of them may go on in another row. */
#define ONE_OF(name, P, N) {P, FORM(name##_##P##_##N), FORM(name##_##P##_##N)}
#define UP_TO_4(N)         ONE_OF(plain, 4, N), ONE_OF(plain, 2, N), ONE_OF(plain, 1, N)
#define ANY(N)             {ONE_OF(any, 4, N), ONE_OF(any, 1, N)}
#define ANY_TILES          {ANY(1), ANY(2), ANY(3), ANY(4)}
#ifdef RARE
#define PLAIN_TILES ANY_TILES
#else
#define PLAIN_TILES {{ONE_OF(plain, 8, 1), UP_TO_4(1)}, {ONE_OF(plain, 8, 2), UP_TO_4(2)}, {UP_TO_4(3)}, {UP_TO_4(4)}}
#endif

/* By kind of store, and vectors of channels less one. */
static const struct pith_dense_s8_tile FORM(tiles)[3][4][PITH_DENSE_S8_TILES + 1] = {PLAIN_TILES, ANY_TILES, ANY_TILES};

#undef PLACE
#undef TILE_AS
#undef ANY_OF
#undef ONE_OF
#undef UP_TO_4
#undef ANY
#undef ANY_TILES
#undef PLAIN_TILES
