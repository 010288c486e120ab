/* Windows of image_pool_f32.c for one instruction set, the sums of several vectors of channels in registers. See
 * vectors_begin.h. Each lane does what the plain loop does for its channel, in the same order. */
#include "libpith/kernels/vectors_begin.h"

#define BLOCK 4 /* vectors of channels that are held at once */

/* NaN wins over any number, and stays: only then neither comparison holds. */
INLINE FORM(vector) FORM(greater)(FORM(vector) y, FORM(vector) x)
{
    return FORM(select)((FORM(words))(x <= y), y, FORM(select)((FORM(words))(x > y), x, y + x));
}

/* `vectors` vectors of channels from x on, of which the last has `last` lanes. */
INLINE void FORM(max_block)(const struct image_pool *pool, const float *x, struct span rows, struct span cols, float *y,
                            const int vectors, const int last)
{
    FORM(vector) most[BLOCK];

    for (int v = 0; v < vectors; v++)
        most[v] = FORM(spread)(-INFINITY);
    for (int64_t ky = rows.from; ky < rows.to; ky++)
        for (int64_t kx = cols.from; kx < cols.to; kx++) {
            const float *tap = tap_at(pool, x, rows, cols, ky, kx);

            for (int v = 0; v < vectors; v++)
                most[v] = FORM(greater)(most[v], last == LANES ? FORM(load)(tap + v * LANES) : FORM(load_some)(tap, last));
        }
    for (int v = 0; v < vectors; v++)
        FORM(store_some)(y + v * LANES, most[v], last);
}

INLINE void FORM(average_block)(const struct image_pool *pool, const float *x, struct span rows, struct span cols, float *y,
                                float by, const int vectors, const int last)
{
    FORM(vector) sum[BLOCK] = {{0}};

    for (int64_t ky = rows.from; ky < rows.to; ky++) {
        FORM(vector) row[BLOCK] = {{0}};

        for (int64_t kx = cols.from; kx < cols.to; kx++) {
            const float *tap = tap_at(pool, x, rows, cols, ky, kx);

            for (int v = 0; v < vectors; v++)
                row[v] += last == LANES ? FORM(load)(tap + v * LANES) : FORM(load_some)(tap, last);
        }
        for (int v = 0; v < vectors; v++)
            sum[v] += row[v];
    }
    for (int v = 0; v < vectors; v++)
        FORM(store_some)(y + v * LANES, sum[v] * by, last);
}

TARGET static void FORM(max_pixel)(const struct image_pool *pool, const float *x, struct span rows, struct span cols, float *y)
{
    int64_t c = 0;

    for (; c + BLOCK * LANES <= pool->channels; c += BLOCK * LANES)
        FORM(max_block)(pool, x + c, rows, cols, y + c, BLOCK, LANES);
    for (; c + LANES <= pool->channels; c += LANES)
        FORM(max_block)(pool, x + c, rows, cols, y + c, 1, LANES);
    if (c < pool->channels)
        FORM(max_block)(pool, x + c, rows, cols, y + c, 1, (int) (pool->channels - c));
}

TARGET static void FORM(average_pixel)(const struct image_pool *pool, const float *x, struct span rows, struct span cols,
                                       float *y)
{
    const float by = average_by(pool, rows, cols);
    int64_t c = 0;

    for (; c + BLOCK * LANES <= pool->channels; c += BLOCK * LANES)
        FORM(average_block)(pool, x + c, rows, cols, y + c, by, BLOCK, LANES);
    for (; c + LANES <= pool->channels; c += LANES)
        FORM(average_block)(pool, x + c, rows, cols, y + c, by, 1, LANES);
    if (c < pool->channels)
        FORM(average_block)(pool, x + c, rows, cols, y + c, by, 1, (int) (pool->channels - c));
}

#undef BLOCK
#include "libpith/kernels/vectors_end.h"
