/* Gram matrices of layers' inputs: what the error of a layer's output is measured with, once its
 * inputs are gone. */
#ifndef PITH_QUANTIZE_GRAM_H
#define PITH_QUANTIZE_GRAM_H

#include "plugins/techniques/quantize/linear.h"
#include <pith/plugin.h>

#define GRAM_COLUMNS                                                                               \
    1024 /* of one block; inputs of layers with more are taken as independent between              \
            blocks, so that memory and time stay bounded */

/* Block-diagonal sum of x x' over input columns x. */
struct gram {
    struct linear linear;
    int64_t block_columns, blocks; /* a group; the last block may be narrower */
    float *sum;                    /* own: groups * blocks * block_columns^2, symmetric */
    uint64_t rows_wanted;          /* columns x to add in all */
    uint64_t rows;                 /* that were added */
};
/* Bytes that the sums of such a layer take; 0 where it has none. */
size_t gram_bytes(const struct linear *linear);
/* -ENOMEM. */
int gram_init(struct gram *gram, const struct linear *linear) PITH_CHECKED;
void gram_done(struct gram *gram);
/* Adds an even share of the input's columns: of `samples` inputs like this, as many in all as are
 * wanted, the same in every run. scratch: gram_scratch floats. False where the shape doesn't fit.
 */
bool gram_add(struct gram *gram, const struct pith_shape *shape, const float *x, uint64_t sample,
              uint64_t samples, float *scratch);
size_t gram_scratch(const struct linear *linear);
/* One block's columns [from, from + width) and its matrix, of leading dimension block_columns. */
const float *gram_block(const struct gram *gram, int64_t group, int64_t block, int64_t *from,
                        int64_t *width);

#endif
