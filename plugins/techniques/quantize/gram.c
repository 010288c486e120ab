/* Sums of outer products, a tile of columns at a time, so that a row of the matrix stays in the
 * cache while all of the tile is added to it. */
#include "plugins/techniques/quantize/gram.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TILE         32   /* columns gathered at once */
#define ROWS_LEAST   4096 /* columns x that any layer gets, where the samples have as many */
#define ROWS_A_WIDTH 4    /* and at least so many for each unknown of a block */

static int64_t block_columns(const struct linear *linear)
{
    return linear->columns < GRAM_COLUMNS ? linear->columns : GRAM_COLUMNS;
}

static int64_t block_count(const struct linear *linear)
{
    return (linear->columns + block_columns(linear) - 1) / block_columns(linear);
}

size_t gram_bytes(const struct linear *linear)
{
    size_t wide = (size_t) block_columns(linear);

    return (size_t) linear->groups * (size_t) block_count(linear) * wide * wide * sizeof(float);
}

int gram_init(struct gram *gram, const struct linear *linear)
{
    uint64_t wide = (uint64_t) block_columns(linear);

    *gram = (struct gram){.linear = *linear,
                          .block_columns = (int64_t) wide,
                          .blocks = block_count(linear),
                          .rows_wanted =
                              wide * ROWS_A_WIDTH > ROWS_LEAST ? wide * ROWS_A_WIDTH : ROWS_LEAST,
                          .sum = calloc(1, gram_bytes(linear))};
    return gram->sum ? 0 : -ENOMEM;
}

void gram_done(struct gram *gram)
{
    free(gram->sum);
    *gram = (struct gram){0};
}

size_t gram_scratch(const struct linear *linear)
{
    return TILE * (size_t) linear->columns;
}

const float *gram_block(const struct gram *gram, int64_t group, int64_t block, int64_t *from,
                        int64_t *width)
{
    int64_t wide = gram->block_columns;

    *from = block * wide;
    *width = gram->linear.columns - *from < wide ? gram->linear.columns - *from : wide;
    return gram->sum + (group * gram->blocks + block) * wide * wide;
}

/* sum += x' x of `count` rows of x, the upper half alone. x: rows of `stride` floats. */
static void add_tile(float *restrict sum, int64_t leading, int64_t width, const float *restrict x,
                     int64_t stride, int64_t count)
{
    for (int64_t i = 0; i < width; i++) {
        float *restrict row = sum + i * leading;
        int64_t t = 0;

        for (; t + 4 <= count; t += 4) {
            const float *restrict a = x + t * stride, *restrict b = a + stride;
            const float *restrict c = b + stride, *restrict d = c + stride;
            float ai = a[i], bi = b[i], ci = c[i], di = d[i];

            for (int64_t j = i; j < width; j++)
                row[j] += ai * a[j] + bi * b[j] + (ci * c[j] + di * d[j]);
        }
        for (; t < count; t++) {
            const float *restrict a = x + t * stride;
            float ai = a[i];

            for (int64_t j = i; j < width; j++)
                row[j] += ai * a[j];
        }
    }
}

static void add_group(struct gram *gram, int64_t group, const float *tile, int64_t count)
{
    for (int64_t block = 0; block < gram->blocks; block++) {
        int64_t from, width;
        float *sum = (float *) (uintptr_t) gram_block(gram, group, block, &from, &width);

        add_tile(sum, gram->block_columns, width, tile + from, gram->linear.columns, count);
    }
}

bool gram_add(struct gram *gram, const struct pith_shape *shape, const float *x, uint64_t sample,
              uint64_t samples, float *scratch)
{
    struct linear_view view;

    if (!linear_look(&gram->linear, shape, &view))
        return false;
    uint64_t all = (uint64_t) view.positions * (samples > 0 ? samples : 1);
    uint64_t step = all / gram->rows_wanted + (all % gram->rows_wanted != 0);
    /* The first position moves with the sample, so that no place of a picture is left out. */
    int64_t first = (int64_t) (sample * 2654435761u % step);

    for (int64_t group = 0; group < gram->linear.groups; group++) {
        int64_t filled = 0;

        for (int64_t at = first; at < view.positions; at += (int64_t) step) {
            linear_gather(&view, x, at, group, scratch + filled * gram->linear.columns);
            filled++;
            gram->rows += group == 0;
            if (filled == TILE) {
                add_group(gram, group, scratch, filled);
                filled = 0;
            }
        }
        add_group(gram, group, scratch, filled);
    }
    return true;
}
