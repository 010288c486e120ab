/* What the poolings of channels-last values share: MaxPool, AveragePool and their Global forms, whatever the elements are.
 * Windows are clipped to the picture, so no halo is read. */
#ifndef PITH_KERNELS_IMAGE_POOL_H
#define PITH_KERNELS_IMAGE_POOL_H

#include "libpith/kernels/sliding.h"

struct pith_image_pool {
    struct pith_sliding window; /* Global forms: one window, the whole picture */
    int64_t batch, channels;
    struct pith_image in, out;
    bool include_pad; /* AveragePool: padding counts as zeros */
};

/* Reads and checks the step's node, and gives the step its parts: rows of the output. -EINVAL or -ENOTSUP with the sentence. */
int pith_image_pool_read(struct pith_step *step, struct pith_image_pool *out, struct pith_error *err) PITH_CHECKED;

/* The taps of one pixel's window that lie inside the picture; steps between them in elements. */
struct pith_image_taps {
    int64_t rows, cols, row, col;
};

/* One pixel of the output, y, from the taps from x on. divisor: what an average's sum is divided by; 0 where there is no tap. */
typedef void pith_image_pool_pixel(const struct pith_step *step, const struct pith_image_taps *taps, const void *x, void *y,
                                   int64_t divisor);

/* A part's rows, pixel by pixel; not the halo. */
void pith_image_pool_part(struct pith_step *step, const struct pith_image_pool *pool, size_t element_bytes,
                          pith_image_pool_pixel *pixel, uint32_t part, uint32_t count);

#endif
