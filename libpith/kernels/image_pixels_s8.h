/* Where the pixels of an integer convolution lie, some at a time: for forms whose tiles take any
 * pixels. */
#ifndef PITH_KERNELS_IMAGE_PIXELS_S8_H
#define PITH_KERNELS_IMAGE_PIXELS_S8_H

#include "libpith/kernels/image_conv_s8.h"

#define PITH_PIXELS_S8 64 /* whose places are looked up together */

/* Offsets of pixels from pixel (0,0) of picture 0, in elements: first tap, output, residual. */
struct pith_pixels_s8 {
    int64_t x[PITH_PIXELS_S8], y[PITH_PIXELS_S8], added[PITH_PIXELS_S8];
};

struct pith_pixels_s8_cursor {
    int64_t row, col; /* of the output; row: of all pictures, counted through */
};

/* The next `count` pixels, which there must be; moves the cursor past them. */
void pith_pixels_s8_next(const struct pith_conv_s8 *conv, struct pith_pixels_s8_cursor *at,
                         int count, struct pith_pixels_s8 *out);

/* Input that follows in memory: a kernel's row, where its taps do, or a tap. */
struct pith_segment_s8 {
    int64_t x;     /* from the first tap's first channel */
    int64_t depth; /* elements */
};

/* Whether the taps of a kernel's row are one segment. */
bool pith_segments_by_row(const struct pith_conv_s8 *conv);

#endif
