/* Depthwise channels-last integer convolution: one channel in and one out a group. Taps of a block of channels are
 * interleaved, so that every 32-bit lane holds one channel's four bytes, or two words, and meet as many weights in one step.
 * One driver (image_depthwise_s8.c), loops once per width and instruction set (image_depthwise_s8_body.h; what is multiplied
 * is in image_depthwise_s8_bytes.h, image_depthwise_s8_pairs.h). */
#ifndef PITH_KERNELS_IMAGE_DEPTHWISE_S8_H
#define PITH_KERNELS_IMAGE_DEPTHWISE_S8_H

#include "libpith/kernels/image_conv_s8.h"

#define PITH_DEPTHWISE_S8_WIDTHS 3

/* One row of output pixels, for one block of channels. */
struct pith_depthwise_s8_row {
    const uint8_t *x; /* the first tap of the first pixel */
    uint8_t *y;
    int64_t x_step, y_step, count; /* bytes from pixel to pixel, and how many */
    int width, last; /* bytes that are stored of a pixel; of the last one */
    int64_t groups;  /* of as many taps as the form interleaves */
    const int64_t *tap_at; /* as many a group, from the first tap; in column order also those of the first column only */
    int64_t column;        /* bytes to the next column */
    const uint8_t *weights;
    const int32_t *bias; /* as the lanes lie */
    const float *scale;
    const struct pith_requantize *to;
};

struct pith_depthwise_s8_width {
    int bytes; /* channels of a block; 0 ends a list */
    void (*taps)(const struct pith_depthwise_s8_row *row); /* any kernel */
    /* Kernels of three columns and three rows, which move by `stride` columns: those that they meet again are interleaved once. Or NULL. */
    void (*columns)(const struct pith_depthwise_s8_row *row, int stride);
};

/* What is interleaved: four taps as bytes; two as words; or nothing, so that weights are those of a tap for all channels of
 * a block, then the next one's, in groups of two taps. */
enum pith_depthwise_s8_order { PITH_DEPTHWISE_QUADS, PITH_DEPTHWISE_PAIRS, PITH_DEPTHWISE_PLANES };

struct pith_depthwise_s8_form {
    enum pith_depthwise_s8_order order;
    struct pith_depthwise_s8_width width[PITH_DEPTHWISE_S8_WIDTHS + 1]; /* the widest first */
    bool symmetric; /* only for weights without -128 */
};

extern const struct pith_depthwise_s8_form pith_depthwise_s8_vnni, pith_depthwise_s8_avx512, pith_depthwise_s8_avx2,
    pith_depthwise_s8_sse2, pith_depthwise_s8_dotprod, pith_depthwise_s8_neon, pith_depthwise_s8_neon_wide;

/* A pith_conv_s8_form's pack; form: a struct pith_depthwise_s8_form. */
int pith_depthwise_s8_pack(struct pith_step *step, struct pith_conv_s8 *conv, const void *form);

#endif
