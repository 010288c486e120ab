/* Dense and depthwise convolution of channels-last floats for one instruction set
 * (vectors_begin.h), see image_conv_f32.h.
 *
 * Dense: a tile is P pixels of a row by V vectors of output channels, all in registers. Each step
 * takes one element of each pixel's window and V vectors of weights. Where taps of a kernel row lie
 * next to each other, their channels are one run, so the inner loop is long even for pictures of
 * few channels. */

#include "libpith/kernels/vectors_begin.h"

INLINE void FORM(finish_pixel)(const struct image_tile *t, const FORM(vector) * acc, int vectors,
                               int pixel)
{
    float *y = t->y + pixel * t->y_step;

    for (int v = 0; v < vectors; v++) {
        FORM(vector) x = FORM(activate)(&t->activation, acc[v]);

        if (t->residual)
            x = FORM(activate)(&t->after,
                               x + FORM(load)(t->residual + pixel * t->residual_step + v * LANES));
        if (v + 1 < vectors || t->last == LANES)
            FORM(store)(y + v * LANES, x);
        else
            FORM(store_some)(y + v * LANES, x, t->last);
    }
}

INLINE void FORM(tile)(const struct image_tile *t, const int vectors, const int pixels)
{
    FORM(vector) acc[16][4];
    const float *w = t->w;
    const int64_t step = t->x_step, length = t->length;

#pragma GCC unroll 16
    for (int p = 0; p < pixels; p++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            acc[p][v] = FORM(load)(t->bias + v * LANES);
    for (int64_t run = 0; run < t->runs; run++) {
        const float *x = t->x + t->offset[run];

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
#pragma GCC unroll 16
    for (int p = 0; p < pixels; p++)
        FORM(finish_pixel)(t, acc[p], vectors, p);
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

/* ---- depthwise ---- */

/* P pixels of a row in one vector of channels, kernel rows by kernel rows; elements that two pixels
 * share are loaded once. width and stride are constants where it matters. */
INLINE void FORM(depthwise)(const struct image_tile *t, const int width, const int stride,
                            const int pixels)
{
    FORM(vector) acc[8];
    const float *w = t->w;

#pragma GCC unroll 8
    for (int p = 0; p < pixels; p++)
        acc[p] = FORM(load)(t->bias);
    for (int64_t run = 0; run < t->runs; run++) {
        const float *x = t->x + t->offset[run];
        FORM(vector) b[5];

#pragma GCC unroll 5
        for (int k = 0; k < width; k++, w += LANES)
            b[k] = FORM(load)(w);
#pragma GCC unroll 32
        for (int i = 0; i < (pixels - 1) * stride + width; i++, x += t->tap_step) {
            const FORM(vector) a = FORM(load)(x);

#pragma GCC unroll 8
            for (int p = 0; p < pixels; p++)
                if (i - p * stride >= 0 && i - p * stride < width)
                    acc[p] += a * b[i - p * stride];
        }
    }
#pragma GCC unroll 8
    for (int p = 0; p < pixels; p++)
        FORM(finish_pixel)(t, &acc[p], 1, p);
}

/* Any width, stride and dilation: every pixel's taps by themselves. */
INLINE void FORM(depthwise_any)(const struct image_tile *t, const int pixels)
{
    FORM(vector) acc[8];
    const float *w = t->w;

#pragma GCC unroll 8
    for (int p = 0; p < pixels; p++)
        acc[p] = FORM(load)(t->bias);
    for (int64_t run = 0; run < t->runs; run++) {
        const float *x = t->x + t->offset[run];

        for (int64_t k = 0; k < t->length; k++, x += t->tap_step, w += LANES) {
            const FORM(vector) b = FORM(load)(w);

#pragma GCC unroll 8
            for (int p = 0; p < pixels; p++)
                acc[p] += FORM(load)(x + p * t->x_step) * b;
        }
    }
#pragma GCC unroll 8
    for (int p = 0; p < pixels; p++)
        FORM(finish_pixel)(t, &acc[p], 1, p);
}

#define DEPTHWISE(W, S, P)                                                                         \
    TARGET static void FORM(depthwise_##W##_##S##_##P)(const struct image_tile *t)                 \
    {                                                                                              \
        FORM(depthwise)(t, W, S, P);                                                               \
    }
#define DEPTHWISE_ANY(P)                                                                           \
    TARGET static void FORM(depthwise_any_##P)(const struct image_tile *t)                         \
    {                                                                                              \
        FORM(depthwise_any)(t, P);                                                                 \
    }
#define DEPTHWISES(W, S) DEPTHWISE(W, S, 1) DEPTHWISE(W, S, 2) DEPTHWISE(W, S, 3) DEPTHWISE(W, S, 4)
#define DEPTHWISE_NAMES(W, S)                                                                      \
    FORM(depthwise_##W##_##S##_1), FORM(depthwise_##W##_##S##_2), FORM(depthwise_##W##_##S##_3),   \
        FORM(depthwise_##W##_##S##_4)

DEPTHWISES(3, 1)
DEPTHWISES(3, 2)
DEPTHWISES(5, 1)
DEPTHWISES(5, 2)
DEPTHWISE_ANY(1)
DEPTHWISE_ANY(2)
DEPTHWISE_ANY(3) DEPTHWISE_ANY(4)

#include "libpith/kernels/image_winograd_f32_body.h"

    static const struct image_form FORM(form) = {
#if VECTORS == 512
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
#if REGISTERS == 32
        .most_vectors = 4,
        .most_pixels = {12, 12, 8, 6},
        .tile = {{NAMES_12(1)}, {NAMES_12(2)}, {NAMES_8(3)}, {NAMES_6(4)}},
#else
        .most_vectors = 3,
        .most_pixels = {12, 6, 4},
        .tile = {{NAMES_12(1)}, {NAMES_6(2)}, {NAMES_4(3)}},
#endif
        .depthwise = {{{DEPTHWISE_NAMES(3, 1)}, {DEPTHWISE_NAMES(3, 2)}},
                      {{DEPTHWISE_NAMES(5, 1)}, {DEPTHWISE_NAMES(5, 2)}}},
        .depthwise_any = {FORM(depthwise_any_1), FORM(depthwise_any_2), FORM(depthwise_any_3),
                          FORM(depthwise_any_4)},
        .winograd_in = FORM(winograd_in),
        .winograd_out = FORM(winograd_out),
};

#undef TILE
#undef NAME
#include "libpith/kernels/vectors_end.h"
