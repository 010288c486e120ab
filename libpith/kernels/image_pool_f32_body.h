/* Windows of image_pool_f32.c for one instruction set, the sums of several vectors of channels in registers. See
 * vectors_begin.h. Each lane does what the plain loop does for its channel, in the same order. */
#include "libpith/kernels/vectors_begin.h"

#define BLOCK 4 /* vectors of channels that are held at once */

/* NaN wins over any number, and stays. max_ps gives its second operand where one is NaN or both are equal. */
INLINE FORM(vector) FORM(greater)(FORM(vector) y, FORM(vector) x)
{
#if LANES == 16
    const __mmask16 number = _mm512_cmp_ps_mask((__m512) x, (__m512) x, _CMP_ORD_Q);

    return (FORM(vector)) _mm512_mask_max_ps((__m512) x, number, (__m512) x, (__m512) y);
#else
    return FORM(select)((FORM(words))(x == x), FORM(at_least)(x, y), x);
#endif
}

INLINE FORM(vector) FORM(tap)(const float *tap, int v, const int vectors, const int last)
{
    return v + 1 < vectors || last == LANES ? FORM(load)(tap + v * LANES) : FORM(load_some)(tap + v * LANES, last);
}

INLINE void FORM(put)(float *y, const FORM(vector) * x, const int vectors, const int last)
{
    for (int v = 0; v + 1 < vectors; v++)
        FORM(store)(y + v * LANES, x[v]);
    FORM(store_some)(y + (vectors - 1) * LANES, x[vectors - 1], last);
}

/* `vectors` vectors of channels from x on, of which the last has `last` lanes. */
INLINE void FORM(max_block)(const struct pith_image_taps *taps, const float *x, float *y, float by, const int vectors,
                            const int last)
{
    FORM(vector) most[BLOCK];

    (void) by;
    for (int v = 0; v < vectors; v++)
        most[v] = FORM(spread)(-INFINITY);
    for (int64_t ky = 0; ky < taps->rows; ky++) {
        const float *tap = x + ky * taps->row;

        for (int64_t kx = 0; kx < taps->cols; kx++, tap += taps->col)
            for (int v = 0; v < vectors; v++)
                most[v] = FORM(greater)(most[v], FORM(tap)(tap, v, vectors, last));
    }
    FORM(put)(y, most, vectors, last);
}

INLINE void FORM(average_block)(const struct pith_image_taps *taps, const float *x, float *y, float by, const int vectors,
                                const int last)
{
    FORM(vector) sum[BLOCK] = {{0}};

    for (int64_t ky = 0; ky < taps->rows; ky++) {
        const float *tap = x + ky * taps->row;
        FORM(vector) row[BLOCK] = {{0}};

        for (int64_t kx = 0; kx < taps->cols; kx++, tap += taps->col)
            for (int v = 0; v < vectors; v++)
                row[v] += FORM(tap)(tap, v, vectors, last);
        for (int v = 0; v < vectors; v++)
            sum[v] += row[v];
    }
    for (int v = 0; v < vectors; v++)
        sum[v] *= by;
    FORM(put)(y, sum, vectors, last);
}

#define REST(block, V) FORM(block)(taps, x + c, y + c, by, V, (int) (left - (V - 1) * LANES))
#define PIXEL(name, block)                                                                                             \
    TARGET static void FORM(name)(const struct pith_image_taps *taps, const float *x, float *y, int64_t channels, float by)       \
    {                                                                                                                  \
        int64_t c = 0, left;                                                                                           \
                                                                                                                       \
        for (; c + BLOCK * LANES <= channels; c += BLOCK * LANES)                                                      \
            FORM(block)(taps, x + c, y + c, by, BLOCK, LANES);                                                         \
        left = channels - c;                                                                                           \
        if (left > 3 * LANES)                                                                                          \
            REST(block, 4);                                                                                            \
        else if (left > 2 * LANES)                                                                                     \
            REST(block, 3);                                                                                            \
        else if (left > LANES)                                                                                         \
            REST(block, 2);                                                                                            \
        else if (left > 0)                                                                                             \
            REST(block, 1);                                                                                            \
    }
PIXEL(max_pixel, max_block)
PIXEL(average_pixel, average_block)

#undef PIXEL
#undef REST
#undef BLOCK
#include "libpith/kernels/vectors_end.h"
