/* 3x3 channels-last integer convolution without stride by Winograd's F(2x2, 3x3): 16 products for four outputs where a
 * direct one takes 36. Exact: weights are transformed at twice their size along each axis, so that all is integer, and
 * sums come out four times too large. Products are of 16 bits, so this is for instruction sets that multiply no bytes.
 * One driver (image_winograd_s8.c), loops once per instruction set (image_winograd_s8_body.h).
 * Lavin and Gray 2016, arXiv:1509.09308. */
#ifndef PITH_KERNELS_IMAGE_WINOGRAD_S8_H
#define PITH_KERNELS_IMAGE_WINOGRAD_S8_H

#include "libpith/kernels/image_dense_s8.h"

#define PITH_WINOGRAD_S8_ELEMENTS 16 /* of a transformed patch of 4x4 */
#define PITH_WINOGRAD_S8_VECTORS  4  /* of channels that come out of one pass over the patches */
#define PITH_WINOGRAD_S8_PATCHES  6  /* whose sums a product holds in registers */

/* B^T d B of one patch. x: its first pixel; row, col: from there to the others; to: element 0, each `plane` further;
 * channels: a multiple of twice the lanes. */
typedef void pith_winograd_s8_in(const uint8_t *x, const int64_t *row, const int64_t *col, int16_t *to, int64_t plane,
                                 int64_t channels);

/* One element of `patches` patches, v_step apart, times its weights: sums of so many vectors of channels, m_step apart. */
typedef void pith_winograd_s8_product(const int16_t *v, int64_t v_step, int64_t patches, const int16_t *weights,
                                      int64_t pairs, int32_t *m, int64_t m_step);

/* A^T m A of one patch, and what makes of sums what is stored. m: element 0, each `plane` further; at: y and added of the
 * patch's first pixel, split and jumps from its first row to the second; rows x cols pixels of 2x2 are wanted. */
typedef void pith_winograd_s8_out(const struct pith_dense_s8 *d, const struct pith_conv_s8_data *data,
                                  const struct pith_dense_s8_pixels *at, const int32_t *m, int64_t plane,
                                  int64_t channel, int last, int rows, int cols);

struct pith_winograd_s8_form {
    int lanes, tile; /* int32 lanes of a vector; most vectors of a product */
    bool planes;     /* weights: a vector of even and one of odd input channels; else pairs side by side */
    int direct;      /* what two products a lane take in the direct form, in tenths of what they take in a product */
    pith_winograd_s8_in *in;
    pith_winograd_s8_product *product[PITH_WINOGRAD_S8_VECTORS];                          /* by vectors less one */
    pith_winograd_s8_out *out[PITH_DENSE_ANY + 1][PITH_WINOGRAD_S8_VECTORS]; /* the same, by kind of store */
};

extern const struct pith_winograd_s8_form pith_winograd_s8_avx512, pith_winograd_s8_avx2, pith_winograd_s8_sse2,
    pith_winograd_s8_neon;

/* A pith_conv_s8_form's pack and pays; form: a struct pith_winograd_s8_form. */
int pith_winograd_s8_pack(struct pith_step *step, struct pith_conv_s8 *conv, const void *form);
bool pith_winograd_s8_pays(const struct pith_conv_s8 *conv, const void *form);

#endif
