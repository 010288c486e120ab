/* Dense and depthwise convolution of channels-last floats for one instruction set
 * (vectors_begin.h), see image_conv_f32.h.
 *
 * Dense: a tile is P pixels of a row by V vectors of output channels, all in registers. Each step
 * takes one element of each pixel's window and V vectors of weights. Where taps of a kernel row lie
 * next to each other, their channels are one run, so the inner loop is long even for pictures of
 * few channels. */

#include "libpith/kernels/vectors_begin.h"

/* Bias has been added: activation, residual, store. In every case. */
INLINE void FORM(finish)(const struct image_tile *t, const FORM(vector) * acc, int vectors,
                         float *y, const float *residual, int last)
{
    for (int v = 0; v < vectors; v++) {
        FORM(vector) x = FORM(activate)(&t->activation, acc[v]);

        if (residual)
            x = FORM(activate)(&t->after, x + FORM(load)(residual + v * LANES));
        if (v + 1 < vectors || last == LANES)
            FORM(store)(y + v * LANES, x);
        else
            FORM(store_some)(y + v * LANES, x, last);
    }
}

INLINE void FORM(finish_pixel)(const struct image_tile *t, const FORM(vector) * acc, int vectors,
                               int64_t pixel)
{
    FORM(finish)(t, acc, vectors, t->y + pixel * t->y_step,
                 t->residual ? t->residual + pixel * t->residual_step : NULL, t->last);
}

/* Limits alone, whole vectors, nothing to add: what nearly every tile needs. */
INLINE bool FORM(finishes_simply)(const struct image_tile *t)
{
    return !t->residual && t->activation.slope == 1.0F && t->last == LANES;
}

/* The same t, which gcc can't know: what is read through it is read there, and takes no register of the
 * loops before. */
INLINE const struct image_tile *FORM(again)(const struct image_tile *t)
{
    __asm__ volatile("" : "+r"(t));
    return t;
}

TARGET __attribute__((noinline)) static void FORM(finish_tile)(const struct image_tile *t,
                                                               FORM(vector) (*acc)[4],
                                                               int vectors, int64_t first,
                                                               int pixels)
{
    for (int p = 0; p < pixels; p++)
        FORM(finish_pixel)(t, acc[p], vectors, first + p);
}

/* One tile after another along a row. The loop around everything lets gcc unroll what is in it before
 * it looks for variables that may live in registers; else sums take a detour through the stack. */
INLINE void FORM(tile)(const struct image_tile *t, const int vectors, const int pixels)
{
    const int64_t step = t->x_step, length = t->length;

    for (int64_t first = 0, tile = t->tiles; tile > 0; tile--, first += pixels) {
        FORM(vector) acc[16][4];
        const struct image_tile *end;
        const float *w = t->w;

#pragma GCC unroll 16
        for (int p = 0; p < pixels; p++)
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                acc[p][v] = FORM(load)(t->bias + v * LANES);
        for (int64_t run = 0; run < t->runs; run++) {
            const float *x = t->x + first * step + t->offset[run];

            for (int64_t k = 0; k < length; k++, x++, w += vectors * LANES) {
                FORM(vector) b[4];

#pragma GCC unroll 4
                for (int v = 0; v < vectors; v++)
                    b[v] = FORM(load)(w + v * LANES);
#pragma GCC unroll 16
                for (int p = 0; p < pixels; p++) {
                    const FORM(vector) a = FORM(spread)(x[p * step]);

#pragma GCC unroll 4
                    for (int v = 0; v < vectors; v++)
                        acc[p][v] += a * b[v];
                }
            }
        }
        end = FORM(again)(t);
        if (FORM(finishes_simply)(end)) {
            const FORM(vector) low = FORM(spread)(end->activation.low),
                               high = FORM(spread)(end->activation.high);
            const int64_t y_step = end->y_step;
            float *y = end->y + first * y_step;

#pragma GCC unroll 16
            for (int p = 0; p < pixels; p++)
#pragma GCC unroll 4
                for (int v = 0; v < vectors; v++)
                    FORM(store)(y + p * y_step + v * LANES,
                                FORM(at_most)(high, FORM(at_least)(low, acc[p][v])));
        } else {
            FORM(vector) sums[16][4];

#pragma GCC unroll 16
            for (int p = 0; p < pixels; p++)
#pragma GCC unroll 4
                for (int v = 0; v < vectors; v++)
                    sums[p][v] = acc[p][v];
            FORM(finish_tile)(end, sums, vectors, first, pixels);
        }
    }
}

#define TILE(V, P)                                                                                 \
    TARGET static void FORM(tile_##V##_##P)(const struct image_tile *t)                            \
    {                                                                                              \
        FORM(tile)(t, V, P);                                                                       \
    }
#define TILES_4(V)  TILE(V, 1) TILE(V, 2) TILE(V, 3) TILE(V, 4)
#define TILES_6(V)  TILES_4(V) TILE(V, 5) TILE(V, 6)
#define TILES_8(V)  TILES_6(V) TILE(V, 7) TILE(V, 8)
#define TILES_12(V) TILES_8(V) TILE(V, 9) TILE(V, 10) TILE(V, 11) TILE(V, 12)
#define NAME(V, P)  FORM(tile_##V##_##P)
#define NAMES_4(V)  NAME(V, 1), NAME(V, 2), NAME(V, 3), NAME(V, 4)
#define NAMES_6(V)  NAMES_4(V), NAME(V, 5), NAME(V, 6)
#define NAMES_8(V)  NAMES_6(V), NAME(V, 7), NAME(V, 8)
#define NAMES_12(V) NAMES_8(V), NAME(V, 9), NAME(V, 10), NAME(V, 11), NAME(V, 12)

/* As many accumulators as leave registers for V weights and a spread element. */
#if REGISTERS == 32
TILES_12(1)
TILES_12(2)
TILES_8(3)
TILES_6(4)
#else
TILES_12(1)
TILES_6(2)
TILES_4(3)
#endif

#include "libpith/kernels/image_depthwise_f32_body.h"
#include "libpith/kernels/image_winograd_f32_body.h"

static const struct image_form FORM(form) = {
#if VECTORS == 512
        .isa = PITH_ISA_AVX512,
#elif VECTORS == 257
        .isa = PITH_ISA_AVX512,
#elif VECTORS == 256
        .isa = PITH_ISA_AVX2,
#elif defined __x86_64__
        .isa = PITH_ISA_SSE2,
#elif defined __aarch64__
        .isa = PITH_ISA_NEON,
#else
        .isa = PITH_ISA_PLAIN,
#endif
        .lanes = LANES,
#if VECTORS == 512
        .narrow = &form_avx512vl,
#endif
#if REGISTERS == 32
        .most_vectors = 4,
        .most_pixels = {12, 12, 8, 6},
        .tile = {{NAMES_12(1)}, {NAMES_12(2)}, {NAMES_8(3)}, {NAMES_6(4)}},
#else
        .most_vectors = 3,
        .most_pixels = {12, 6, 4},
        .tile = {{NAMES_12(1)}, {NAMES_6(2)}, {NAMES_4(3)}},
#endif
        .depthwise = {{FORM(depthwise_3_1), FORM(depthwise_3_2)},
                      {FORM(depthwise_5_1), FORM(depthwise_5_2)}},
        .depthwise_any = FORM(depthwise_any),
        .winograd_in = FORM(winograd_in),
        .winograd_out = FORM(winograd_out),
};

#undef TILE
#undef NAME
#include "libpith/kernels/vectors_end.h"
