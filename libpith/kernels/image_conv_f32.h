/* Channels-last float convolution: what its forms share. image_conv_f32.c checks the model and holds the plain loops that
 * define the answer. */
#ifndef PITH_KERNELS_IMAGE_CONV_F32_H
#define PITH_KERNELS_IMAGE_CONV_F32_H

#include "libpith/kernels/kernel.h"
#include "libpith/kernels/sliding.h"

struct image_conv {
    struct pith_sliding window; /* dimensions 1 and 2 are rows and columns; dimension 0 is one element */
    int64_t batch, groups;
    int64_t in_channels, out_channels; /* of a group */
    struct pith_image in, out;
};

/* Output rows are what parts are cut by: rows from..to-1 of batch * out[1], and the halo goes with part 0. */
void pith_image_conv_plain_f32(const struct pith_step *step, const struct image_conv *conv, int64_t from, int64_t to);

#endif
