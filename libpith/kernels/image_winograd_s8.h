/* 3x3 channels-last integer convolution without stride by Winograd's F(2x2, 3x3), 16 products for four outputs where a
 * direct one takes 36, and F(4x4, 3x3), 36 for 16 outputs where it takes 144. Both exact: weights are transformed at 2 or 24
 * times their size along each axis, so that all is integer. Products are of 16 bits: the first is for instruction sets that
 * multiply no bytes, the second for all.
 * One driver (image_winograd_s8.c), loops once per instruction set (image_winograd_s8_body.h).
 * Lavin and Gray 2016, arXiv:1509.09308. */
#ifndef PITH_KERNELS_IMAGE_WINOGRAD_S8_H
#define PITH_KERNELS_IMAGE_WINOGRAD_S8_H

#include "libpith/kernels/image_dense_s8.h"

#define PITH_WINOGRAD_S8_VECTORS  4  /* of channels that come out of one pass over the patches */
#define PITH_WINOGRAD_S8_PATCHES  12 /* chunks are multiples of it: of how many patches products hold in registers */

/* B^T d B of one patch. x: its first pixel; row, col: from there to the others; to: element 0, each `plane` further;
 * channels: a multiple of twice the lanes. */
typedef void pith_winograd_s8_in(const uint8_t *x, const int64_t *row, const int64_t *col, int16_t *to, int64_t plane,
                                 int64_t channels);

/* One element of `patches` patches, v_step apart, times its weights: sums of so many vectors of channels, m_step apart. */
typedef void pith_winograd_s8_product(const int16_t *v, int64_t v_step, int64_t patches, const int16_t *weights,
                                      int64_t pairs, int32_t *m, int64_t m_step);

/* A^T m A of one patch, and what makes of sums what is stored. m: element 0, each `plane` further; at: y and added of the
 * patch's first pixel, split and jumps from its first row to the second; rows x cols pixels are wanted; vectors: of channels. */
typedef void pith_winograd_s8_out(const struct pith_dense_s8 *d, const struct pith_conv_s8_data *data,
                                  const struct pith_dense_s8_pixels *at, const int32_t *m, int64_t plane,
                                  int64_t channel, int last, int rows, int cols, int vectors);

struct pith_winograd_s8_form {
    int out_edge;    /* pixels of the output along a patch's edge: 2 or 4 */
    int lanes, tile; /* int32 lanes of a vector; most vectors of a product */
    bool planes;     /* weights: a vector of even and one of odd input channels; else pairs side by side */
    int direct;      /* what two products a lane take in the direct form, in tenths of what they take in a product */
    const struct pith_winograd_s8_form *rival; /* it is only taken where it is expected to be faster than this one; or NULL */
    pith_winograd_s8_in *in;
    pith_winograd_s8_product *product[PITH_WINOGRAD_S8_VECTORS];                          /* by vectors less one */
    pith_winograd_s8_out *out[PITH_DENSE_ANY + 1][PITH_WINOGRAD_S8_VECTORS]; /* the same, by kind of store */
};

extern const struct pith_winograd_s8_form pith_winograd_s8_avx512, pith_winograd_s8_avx2, pith_winograd_s8_sse2,
    pith_winograd_s8_neon;
/* F(4x4, 3x3) */
extern const struct pith_winograd_s8_form pith_winograd_s8_large_vnni, pith_winograd_s8_large_vnni256,
    pith_winograd_s8_large_avx512, pith_winograd_s8_large_avx2, pith_winograd_s8_large_sse2, pith_winograd_s8_large_neon;

/* A pith_conv_s8_form's pack and pays; form: a struct pith_winograd_s8_form. */
int pith_winograd_s8_pack(struct pith_step *step, struct pith_conv_s8 *conv, const void *form);
bool pith_winograd_s8_pays(const struct pith_conv_s8 *conv, const void *form);

#endif
