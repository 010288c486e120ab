/* Products of one row (or a few) whose weights have many blocks of zeros, one output by four inputs:
 * what such a product takes is reading its weights, so those of zeros are not stored.
 *
 * Lanes are output channels. As many fours of input as a vector has lanes are a window; each lane
 * takes its own of them by a permutation of the window, as often as the lane of the vector that has
 * the most blocks there needs; those of the others are filled up with weights of 0. Ordering channels
 * so that those of a vector have as many was tried: bringing sums back took more than it won. One driver
 * (image_sparse_row_s8.c), the arithmetic once per instruction set (image_sparse_row_s8_body.h). */
#ifndef PITH_KERNELS_IMAGE_SPARSE_ROW_S8_H
#define PITH_KERNELS_IMAGE_SPARSE_ROW_S8_H

#include "libpith/kernels/image_sparse_s8.h"

#define PITH_SPARSE_ROW_S8_STEPS 8 /* whose places, of four bits, are together in an int32 */

struct pith_sparse_row_s8_form;

struct pith_sparse_row_s8 {
    const struct pith_conv_s8 *conv;
    const struct pith_sparse_row_s8_form *form;
    int64_t windows;        /* of a row; the last may have fewer fours */
    const uint32_t *at;     /* of each vector of channels: where its weights begin, in vectors */
    const uint8_t *steps;   /* [vector of channels][window] */
    const int32_t *weights; /* up to eight steps: a vector of places, then [step][half] */
};

/* The channels from `channel` (a vector's first) to end - 1, of pixel number `pixel`. */
typedef void pith_sparse_row_s8_run_row(const struct pith_sparse_row_s8 *s,
                                        const struct pith_conv_s8_data *data,
                                        const struct pith_pixels_s8 *at, int pixel,
                                        int64_t channel, int64_t end);

struct pith_sparse_row_s8_form {
    int lanes, halves; /* as of a struct pith_sparse_s8_form */
    pith_sparse_row_s8_run_row *row;
};

/* One an instruction set. */
extern const struct pith_sparse_row_s8_form pith_sparse_row_s8_vnni, pith_sparse_row_s8_avx512,
    pith_sparse_row_s8_avx2;

/* A pith_conv_s8_form's pack and pays; form: a struct pith_sparse_row_s8_form. */
int pith_sparse_row_s8_pack(struct pith_step *step, struct pith_conv_s8 *conv, const void *form);
bool pith_sparse_row_s8_pays(const struct pith_conv_s8 *conv, const void *form);
pith_conv_s8_run pith_sparse_row_s8_run;

#endif
