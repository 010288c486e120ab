/* Dense channels-last integer convolution in compiler vector types, included once per instruction
 * set. Who includes it defines
 *   FORM(name)      the name with the form's ending
 *   TARGET          the function attribute
 *   LANES           int32 lanes of a vector
 *   TILE            vectors of channels held at once, 4 or 2
 *   HALVES          steps that four products take: 1 or 2
 *   OPERAND         the vector type of both of a step's factors, of four times LANES bytes
 *   SPLIT(four, h)  four stored bytes, the same in every lane of `four`: step h's factor
 *   DOT(sum, x, w)  sum and what the step adds
 *   NEAREST(f)      floats to int32, half to even
 *   WIDEN(p)        LANES stored bytes at p as int32
 * and may define
 *   PACK(f, r)      NEAREST, zero point, limits of four vectors: an OPERAND of their bytes in turn
 *   PART(to, q, i, count)  stores the first `count` bytes of vector i of such an OPERAND
 *   NARROWS_BY_PACK  PACK even for one vector: compilers have no instruction that makes it bytes
 *   HALF(to, q, i)  stores vectors 2i and 2i+1 of it
 *   LEAST(a, b), MOST(a, b)  b < a ? b : a and b > a ? b : a
 *   QUOTIENTS(f, by)  four vectors divided, to what NEAREST makes the same bytes of
 *   WIDE_TILE       16 pixels of one vector of channels fit in registers
 * and for weights of which two of four are 0, instead of HALVES and SPLIT,
 *   PICK(places, h)    what CHOOSE takes in half h of a step, of a vector of channels' places
 *   INPUT(p, h)        what half h reads at p, in every part of a vector
 *   CHOOSE(x, pick)    the bytes of it that weights meet
 *
 * The inner loop holds P pixels by N vectors of channels of sums in registers; a run of input bytes
 * (a row of the kernel, where its pixels touch) is read four bytes a pixel at a time, each meeting
 * N vectors of weights. */
#define UNROLL _Pragma("GCC unroll 16")
#define INLINE TARGET static inline __attribute__((always_inline))
#ifndef LEAST
#define LEAST(a, b) FORM(select)((b) < (a), b, a)
#define MOST(a, b)  FORM(select)((b) > (a), b, a)
#endif
#ifndef QUOTIENTS
#define QUOTIENTS(f, by)                                                                           \
    _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++)(f)[j] /= FORM(spread)(by)
#endif
#ifdef WIDE_TILE
#define PIXELS 16
#else
#define PIXELS 8
#endif

typedef int32_t FORM(words) __attribute__((vector_size(4 * LANES)));
typedef float FORM(vector) __attribute__((vector_size(4 * LANES)));
typedef uint8_t FORM(bytes) __attribute__((vector_size(LANES)));
typedef int32_t FORM(loose_words) __attribute__((vector_size(4 * LANES), aligned(1), may_alias));
typedef float FORM(loose_vector) __attribute__((vector_size(4 * LANES), aligned(1), may_alias));
typedef OPERAND FORM(loose_operand) __attribute__((aligned(1), may_alias));

#include "libpith/kernels/select_body.h"

INLINE FORM(vector) FORM(limit)(FORM(vector) x, float low, float high)
{
    x = MOST(x, FORM(spread)(low));
    return LEAST(x, FORM(spread)(high));
}

INLINE FORM(vector) FORM(slant)(FORM(vector) f, float slope)
{
    return FORM(select)(f < FORM(spread)(0.0F), f * FORM(spread)(slope), f);
}

/* pith_requantize_add, a vector at a time; PITH_DENSE_ADDS leaves the division to its caller. */
INLINE FORM(vector) FORM(add_residual)(const struct pith_requantize *r, FORM(vector) f,
                                       const uint8_t *added, const enum pith_dense_s8_store store)
{
    const FORM(words) residual = WIDEN(added) - r->residual_zero;

    if (r->rounds_between)
        f = __builtin_convertvector(NEAREST(f), FORM(vector));
    f = FORM(limit)(f, r->between_low, r->between_high);
    f = f * FORM(spread)(r->between_scale) +
        __builtin_convertvector(residual, FORM(vector)) * FORM(spread)(r->residual_scale);
    if (store == PITH_DENSE_ADDS)
        return f;
    f /= FORM(spread)(r->y_scale);
    if (r->after_slope != 1.0F)
        f = FORM(slant)(f, r->after_slope);
    return f;
}

/* What is stored, but for the limits of the store. added: of the same channels; it may be read past
 * its end. */
INLINE FORM(vector) FORM(finish)(const struct pith_requantize *r, FORM(words) sum, int64_t channel,
                                 const uint8_t *added, const enum pith_dense_s8_store store)
{
    FORM(vector)
    f = __builtin_convertvector(sum, FORM(vector)) *
        *(const FORM(loose_vector) *) (r->scale + channel);

    if (store == PITH_DENSE_ANY && r->slope != 1.0F)
        f = FORM(slant)(f, r->slope);
    if (store == PITH_DENSE_ADDS || (store == PITH_DENSE_ANY && added))
        f = FORM(add_residual)(r, f, added, store);
    return f;
}

INLINE void FORM(store_real)(const struct pith_requantize *r, FORM(vector) f, float *y, int count)
{
    const float *from = (const float *) &f;

    f = FORM(limit)(f, r->real_low, r->real_high);
    if (count == LANES) {
        *(FORM(loose_vector) *) y = f;
        return;
    }
    /* in sizes that are known: half of all vectors of 24 channels are such */
    UNROLL for (int part = 8; part > 0; part /= 2)
        if (LANES > part && count & part) {
            memcpy(y, from, (size_t) part * sizeof *y);
            y += part;
            from += part;
        }
}

INLINE void FORM(store_bytes)(const struct pith_requantize *r, FORM(vector) f, uint8_t *y,
                              int count)
{
    const FORM(words) low = (FORM(words)){0} + r->low, high = (FORM(words)){0} + r->high;
    FORM(words) q = NEAREST(f) + r->zero;
    FORM(bytes) packed;

    q = FORM(choose)(q < low, low, q);
    q = FORM(choose)(q > high, high, q);
    packed = __builtin_convertvector(q, FORM(bytes));
    if (count == LANES)
        memcpy(y, &packed, LANES);
    else
        memcpy(y, &packed, (size_t) count);
}

/* Offset from a tile's first pixel to pixel p, by steps of `name`; ACROSS tiles go on in the next
 * row once. */
#define PLACE(at, d, name, p, ACROSS)                                                              \
    ((p) * (d)->name##_step + (ACROSS && (p) >= (at)->split ? (at)->name##_jump : 0))

/* Sums of a tile of P pixels by N vectors of channels become bytes, four vectors at a time. */
INLINE void FORM(store)(const struct pith_dense_s8 *d, const struct pith_requantize *r,
                        const struct pith_dense_s8_pixels *at, FORM(words) (*acc)[4],
                        const uint8_t *added, uint8_t *y, int64_t channel, int last, const int P,
                        const int N, const enum pith_dense_s8_store store, const bool across)
{
#ifdef PACK
    UNROLL for (int i = 0; i < P * N; i += 4)
    {
        FORM(vector) f[4];

        UNROLL for (int j = 0; j < 4; j++)
        {
            const int vector = i + j < P * N ? i + j : i, p = vector / N, n = vector % N;

            f[j] = FORM(finish)(r, acc[p][n], channel + n * LANES,
                                added ? added + PLACE(at, d, added, p, across) + n * LANES : NULL,
                                store);
        }
        if (store == PITH_DENSE_ADDS)
            QUOTIENTS(f, r->y_scale);
        else if (store == PITH_DENSE_PLAIN && r->slope != 1.0F)
            UNROLL for (int j = 0; j < 4; j++) f[j] = FORM(slant)(f[j], r->slope);
        const OPERAND q = PACK(f, r);

        if (N == 4 && last == LANES) {
            *(FORM(loose_operand) *) (y + PLACE(at, d, y, i / 4, across)) = q;
            continue;
        }
#ifdef HALF
        if (N == 2 && last == LANES) {
            HALF(y + PLACE(at, d, y, i / 2, across), q, 0);
            if (i + 2 < P * N)
                HALF(y + PLACE(at, d, y, i / 2 + 1, across), q, 1);
            continue;
        }
#endif
        UNROLL for (int j = 0; j < 4; j++)
        {
            const int p = (i + j) / N, n = (i + j) % N;

            if (i + j < P * N)
                PART(y + PLACE(at, d, y, p, across) + n * LANES, q, j, n == N - 1 ? last : LANES);
        }
    }
#else
    UNROLL for (int p = 0; p < P; p++) UNROLL for (int n = 0; n < N; n++)
    {
        FORM(vector)
        f = FORM(finish)(r, acc[p][n], channel + n * LANES,
                         added ? added + PLACE(at, d, added, p, across) + n * LANES : NULL, store);

        if (store == PITH_DENSE_ADDS)
            f /= FORM(spread)(r->y_scale);
        else if (store == PITH_DENSE_PLAIN && r->slope != 1.0F)
            f = FORM(slant)(f, r->slope);
        FORM(store_bytes)
        (r, f, y + PLACE(at, d, y, p, across) + n * LANES, n == N - 1 ? last : LANES);
    }
#endif
}

/* The rare kinds of store, in little code. sums: P times N. */
TARGET static void FORM(store_any)(const struct pith_dense_s8 *d, const FORM(words) * sums,
                                   const uint8_t *added, void *y, int64_t to, int64_t channel,
                                   int last, int P, int N)
{
    const struct pith_requantize *r = &d->conv->to;

    for (int i = 0; i < P * N; i++) {
        const int p = i / N, n = i % N, count = n == N - 1 ? last : LANES;
        const int64_t at = to + p * d->y_step + n * LANES;
        const FORM(vector) f =
            FORM(finish)(r, sums[i], channel + n * LANES,
                         added ? added + p * d->added_step + n * LANES : NULL, PITH_DENSE_ANY);

        if (r->real) {
            FORM(store_real)(r, f, (float *) y + at, count);
            continue;
        }
#ifdef NARROWS_BY_PACK
        const FORM(vector) four[4] = {f, f, f, f};

        PART((uint8_t *) y + at, PACK(four, r), 0, count);
#else
        FORM(store_bytes)(r, f, (uint8_t *) y + at, count);
#endif
    }
}

#ifdef PICK
#define OPERANDS 3
/* What half `half` of a step of input of each of P pixels adds to the sums. w: of each vector of
 * channels `operands`: places, and the weights of one half or of both. */
INLINE void FORM(add_half)(FORM(words) acc[PIXELS][4], const uint8_t *const *x, int64_t step,
                           const OPERAND *w, const int operands, const int half, const int P,
                           const int N, const bool across)
{
    OPERAND pick[4], b[4];

    UNROLL for (int n = 0; n < N; n++)
    {
        pick[n] = PICK(w[n * operands], half);
        b[n] = w[n * operands + 1 + half];
    }
    UNROLL for (int p = 0; p < P; p++)
    {
        const OPERAND input = INPUT(across ? x[p] : x[p / 4] + p % 4 * step, half);

        UNROLL for (int n = 0; n < N; n++) acc[p][n] =
            DOT(acc[p][n], CHOOSE(input, pick[n]), b[n]);
    }
}

INLINE void FORM(add)(FORM(words) acc[PIXELS][4], const uint8_t *const *x, int64_t step,
                      const OPERAND *w, const int P, const int N, const bool across)
{
    FORM(add_half)(acc, x, step, w, OPERANDS, 0, P, N, across);
    FORM(add_half)(acc, x, step, w, OPERANDS, 1, P, N, across);
}
#else
#define OPERANDS HALVES
/* What four bytes of input each of P pixels add to the sums. */
INLINE void FORM(add)(FORM(words) acc[PIXELS][4], const uint8_t *const *x, int64_t step,
                      const OPERAND *w, const int P, const int N, const bool across)
{
    OPERAND b[4 * HALVES];

    UNROLL for (int n = 0; n < N * HALVES; n++) b[n] = w[n];
    UNROLL for (int p = 0; p < P; p++)
    {
        int32_t dword;
        FORM(words) four = {0};

        memcpy(&dword, across ? x[p] : x[p / 4] + p % 4 * step, sizeof dword);
        four += dword;
        UNROLL for (int h = 0; h < HALVES; h++)
        {
            const OPERAND operand = SPLIT(four, h);

            UNROLL for (int n = 0; n < N; n++) acc[p][n] =
                DOT(acc[p][n], operand, b[n * HALVES + h]);
        }
    }
}
#endif

/* `count` tiles, one after the other: P pixels, N vectors of channels from `channel` on, of which
 * the last has `last` lanes. */
INLINE void FORM(tile)(const struct pith_dense_s8 *d, const struct pith_conv_s8_data *data,
                       const struct pith_dense_s8_pixels *at, const uint8_t *weights,
                       int64_t x_channel, int64_t channel, int last, int64_t count, const int P,
                       const int N, const enum pith_dense_s8_store store, const bool across)
{
    const struct pith_requantize r = d->conv->to; /* or each byte stored might change it */
    const int32_t *bias = r.bias + channel;
    const uint8_t *from = data->x + at->x + x_channel,
                  *added = store == PITH_DENSE_ADDS || (store == PITH_DENSE_ANY && data->added)
                               ? data->added + at->added + channel
                               : NULL;
    int64_t to = at->y + channel;

    for (; count > 0; count--) {
        const OPERAND *w = (const OPERAND *) weights;
        FORM(words) acc[PIXELS][4];

        UNROLL for (int n = 0; n < N; n++) UNROLL for (int p = 0; p < P; p++) acc[p][n] =
            *(const FORM(loose_words) *) (bias + n * LANES);
        for (int64_t run = 0; run < d->runs; run++) {
            const uint8_t
                *x[PIXELS]; /* of each pixel; or, where steps are all alike, of each fourth */

            UNROLL for (int p = 0; p < P; p += across ? 1 : 4) x[across ? p : p / 4] =
                from + PLACE(at, d, x, p, across) + d->run_at[run];
            for (int64_t left = d->steps; left > 0; left--) {
                FORM(add)(acc, x, d->x_step, w, P, N, across);
                w += N * OPERANDS;
                UNROLL for (int p = 0; p < P; p += across ? 1 : 4) x[across ? p : p / 4] +=
                    d->step_bytes;
            }
#ifdef PICK
            if (d->half_step) {
                FORM(add_half)(acc, x, d->x_step, w, OPERANDS - 1, 0, P, N, across);
                w += N * (OPERANDS - 1);
            }
#endif
        }
        if (store == PITH_DENSE_ANY) {
            FORM(words) sums[PIXELS * 4];

            UNROLL for (int p = 0; p < P; p++) UNROLL for (int n = 0; n < N; n++) sums[p * N + n] =
                acc[p][n];
            FORM(store_any)(d, sums, added, data->y, to, channel, last, P, N);
        } else {
            FORM(store)
            (d, &r, at, acc, added, (uint8_t *) data->y + to, channel, last, P, N, store, across);
        }
        from += at->x_next;
        to += at->y_next;
        added = added ? added + at->added_next : NULL;
    }
}

#define TILE_AS(P, N, name, store, across)                                                         \
    TARGET static void FORM(name##_##P##_##N)(                                                     \
        const struct pith_dense_s8 *d, const struct pith_conv_s8_data *data,                       \
        const struct pith_dense_s8_pixels *at, const uint8_t *weights, int64_t x_channel,          \
        int64_t channel, int last, int64_t count)                                                  \
    {                                                                                              \
        FORM(tile)(d, data, at, weights, x_channel, channel, last, count, P, N, store, across);    \
    }
#define TILE_OF(P, N)                                                                              \
    TILE_AS(P, N, plain, PITH_DENSE_PLAIN, false)                                                  \
    TILE_AS(P, N, adds, PITH_DENSE_ADDS, false)
/* The largest: the only one that goes on in another row. */
#define MOST_OF(P, N)                                                                              \
    TILE_OF(P, N)                                                                                  \
    TILE_AS(P, N, across_plain, PITH_DENSE_PLAIN, true)                                            \
    TILE_AS(P, N, across_adds, PITH_DENSE_ADDS, true)
#define ANY_OF(N)                                                                                  \
    TILE_AS(4, N, any, PITH_DENSE_ANY, false)                                                      \
    TILE_AS(1, N, any, PITH_DENSE_ANY, false)

#ifdef WIDE_TILE
MOST_OF(16, 1)
TILE_OF(8, 1)
#else
MOST_OF(8, 1)
#endif
TILE_OF(4, 1)
TILE_OF(2, 1)
TILE_OF(1, 1)
TILE_OF(2, 2)
TILE_OF(1, 2)
ANY_OF(1)
ANY_OF(2)
#if TILE == 4
MOST_OF(8, 2)
TILE_OF(4, 2)
MOST_OF(6, 3)
TILE_OF(4, 3)
TILE_OF(2, 3)
TILE_OF(1, 3)
MOST_OF(6, 4)
TILE_OF(4, 4)
#ifndef PICK
TILE_OF(5, 4)
TILE_OF(3, 4)
#endif
TILE_OF(2, 4)
TILE_OF(1, 4)
ANY_OF(3)
ANY_OF(4)
#else
MOST_OF(4, 2)
#ifndef PICK
TILE_OF(3, 2)
TILE_OF(5, 2)
TILE_OF(6, 2)
#endif
#endif

/* clang-format off */
/* The most pixels first, ended by 0. Behind the one of one pixel are those that are no faster than two
 * smaller ones, and only taken for rows that are just as long. */
#define BOTH_OF(name, P, N) {P, FORM(name##_##P##_##N), FORM(across_##name##_##P##_##N)}
#define ONE_OF(name, P, N)  {P, FORM(name##_##P##_##N), NULL}
#define UP_TO_2(name, N)    ONE_OF(name, 2, N), ONE_OF(name, 1, N)
#define UP_TO_4(name, N)    ONE_OF(name, 4, N), UP_TO_2(name, N)
#ifdef WIDE_TILE
#define TILES_1(name) {BOTH_OF(name, 16, 1), ONE_OF(name, 8, 1), UP_TO_4(name, 1)}
#else
#define TILES_1(name) {BOTH_OF(name, 8, 1), UP_TO_4(name, 1)}
#endif
#ifdef PICK
#define TILES_4(name)                                                                              \
    {BOTH_OF(name, 6, 4), ONE_OF(name, 4, 4), UP_TO_2(name, 4)}
#define TILES_2(name) {BOTH_OF(name, 4, 2), UP_TO_2(name, 2)}
#else
#define TILES_4(name)                                                                              \
    {BOTH_OF(name, 6, 4), ONE_OF(name, 5, 4), ONE_OF(name, 4, 4), ONE_OF(name, 3, 4),              \
     UP_TO_2(name, 4)}
#define TILES_2(name)                                                                              \
    {BOTH_OF(name, 4, 2), ONE_OF(name, 3, 2), UP_TO_2(name, 2), ONE_OF(name, 5, 2),                \
     ONE_OF(name, 6, 2)}
#endif
#if TILE == 4
#define TILES(name)                                                                                \
    {TILES_1(name),                                                                                \
     {BOTH_OF(name, 8, 2), UP_TO_4(name, 2)},                                                      \
     {BOTH_OF(name, 6, 3), UP_TO_4(name, 3)},                                                      \
     TILES_4(name)}
#define ANY_TILES                                                                                  \
    {{ONE_OF(any, 4, 1), ONE_OF(any, 1, 1)},                                                       \
     {ONE_OF(any, 4, 2), ONE_OF(any, 1, 2)},                                                       \
     {ONE_OF(any, 4, 3), ONE_OF(any, 1, 3)},                                                       \
     {ONE_OF(any, 4, 4), ONE_OF(any, 1, 4)}}
#else
#define TILES(name) {TILES_1(name), TILES_2(name)}
#define ANY_TILES   {{ONE_OF(any, 4, 1), ONE_OF(any, 1, 1)}, {ONE_OF(any, 4, 2), ONE_OF(any, 1, 2)}}
#endif

/* clang-format on */
/* By kind of store, and vectors of channels less one. */
static const struct pith_dense_s8_tile FORM(tiles)[3][4][PITH_DENSE_S8_TILES + 1] = {
    TILES(plain), TILES(adds), ANY_TILES};

#undef UNROLL
#undef INLINE
#undef PLACE
#undef PIXELS
#undef OPERANDS
#undef TILE_AS
#undef TILE_OF
#undef MOST_OF
#undef ANY_OF
#undef BOTH_OF
#undef ONE_OF
#undef UP_TO_2
#undef UP_TO_4
#undef TILES_1
#undef TILES_2
#undef TILES_4
#undef TILES
#undef ANY_TILES
#undef LEAST
#undef MOST
#undef QUOTIENTS
