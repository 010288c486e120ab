/* What Resize and Upsample say, and the tables that follow: for each axis that changes, from which
 * elements of the input each output is made, with which weights. Interpolation is separable, so one
 * table an axis is all there is. */
#ifndef PITH_KERNELS_RESIZE_H
#define PITH_KERNELS_RESIZE_H

#include "libpith/kernels/kernel.h"

enum pith_resize_mode { PITH_RESIZE_NEAREST, PITH_RESIZE_LINEAR, PITH_RESIZE_CUBIC };

struct pith_resize_pass { /* along one axis */
    uint32_t axis;
    int64_t outer, in, out, inner;
    int64_t taps;   /* of each output; nearest: 1, whose weight is 1 */
    int64_t *from;  /* out * taps indices into the input; -1 in the first: extrapolated */
    float *weight;  /* out * taps */
};

struct pith_resize {
    enum pith_resize_mode mode;
    int nearest, transform; /* resize_table.c's */
    bool antialias, exclude_outside;
    double cubic_a;
    float extrapolation;
    struct pith_resize_pass pass[PITH_MAX_RANK];
    uint32_t pass_count;
    size_t element_bytes;
    size_t buffer_bytes; /* of the largest value between two passes, rounded up to 64 */
};

/* Reads the step's node. Tables live as long as the step. -EAGAIN where scales or sizes are not known yet. */
int pith_resize_read(struct pith_step *step, struct pith_resize *out, struct pith_error *err) PITH_CHECKED;

#endif
