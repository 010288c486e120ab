/* What recurrent operators do between two products, with the activations that almost every model
 * has (Sigmoid, Tanh, Tanh), in one pass over the gates and in registers. Other activations,
 * peepholes and clipping go through the loops of recurrent.c, which define the answer. */
#ifndef PITH_KERNELS_RECURRENT_CELL_H
#define PITH_KERNELS_RECURRENT_CELL_H

#include <stdint.h>

#include "libpith/kernels/isa.h"

struct pith_cell_form {
    enum pith_isa isa;
    int lanes;
    /* c[j] = sum over p of a[p] * b[p,j]: one row, and so many columns at once that what limits it
     * is how fast b is read. b is packed by pith_cell_pack. */
    void (*product)(int64_t depth, int64_t cols, const float *b, const float *a, float *c);
    /* x: what the input gives to the gates i, o, f, c, n each; g: what the state gives. c and h are
     * replaced. */
    void (*lstm)(int64_t n, const float *x, const float *g, float *c, float *h);
    /* Gates z, r, h. bias (NULL: none) is added to the state's share of h before the reset. */
    void (*gru_after)(int64_t n, const float *x, const float *g, const float *bias, float *h);
    /* The same where the reset was applied to the state before the product. */
    void (*gru_before)(int64_t n, const float *x, const float *g, float *h);
    /* reset[k] = sigmoid(x[k] + g[k]) * h[k] */
    void (*gru_reset)(int64_t n, const float *x, const float *g, const float *h, float *reset);
};

/* The form for pith_isa(); NULL where it is plain C. */
const struct pith_cell_form *pith_cell_form(void);

/* Packs a matrix whose column j lies at b + j * depth: by tiles of up to 8 vectors of columns, in
 * each by depth. pith_cell_packed: the floats that it takes. */
int64_t pith_cell_packed(const struct pith_cell_form *form, int64_t depth, int64_t cols);
void pith_cell_pack(const struct pith_cell_form *form, float *packed, const float *b, int64_t depth,
                    int64_t cols);

#endif
