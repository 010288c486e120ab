/* What transposed convolutions of both layouts share: planar (conv_transpose.c) and channels-last
 * (image_conv_transpose_f32.c). */
#ifndef PITH_KERNELS_CONV_TRANSPOSE_H
#define PITH_KERNELS_CONV_TRANSPOSE_H

#include "libpith/kernels/sliding.h"

struct conv_transpose {
    struct pith_sliding window;                       /* slides over y, and gives x */
    int64_t batch, groups, in_channels, out_channels; /* channels: of a group */
};

/* Reads and checks shapes and attributes of the step's node; says how many MACs it has. -EINVAL, -ENOTSUP. */
int pith_conv_transpose_read(struct pith_step *step, struct conv_transpose *conv, struct pith_error *err) PITH_CHECKED;

#endif
