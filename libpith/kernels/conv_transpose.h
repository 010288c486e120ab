/* What transposed convolutions share: planar (conv_transpose.c) and channels-last (image_conv_transpose_f32.c, ..._s8.c). */
#ifndef PITH_KERNELS_CONV_TRANSPOSE_H
#define PITH_KERNELS_CONV_TRANSPOSE_H

#include "libpith/kernels/sliding.h"

struct conv_transpose {
    struct pith_sliding window;                       /* slides over y, and gives x */
    int64_t batch, groups, in_channels, out_channels; /* channels: of a group */
};

/* Reads and checks shapes and attributes of the step's node; says how many MACs it has. -EINVAL, -ENOTSUP. */
int pith_conv_transpose_read(struct pith_step *step, struct conv_transpose *conv, struct pith_error *err) PITH_CHECKED;

/* Output pixels that are the stride apart see the same taps of the kernel: they are one phase, an ordinary convolution without
 * stride whose results lie a stride apart. This is one along one axis. */
struct pith_phase {
    int64_t first, count; /* output of its first pixel; how many there are */
    int64_t tap, taps;    /* of the kernel: tap, tap + stride, ...; tap -1: none, taps is 1 */
    int64_t pad;          /* input rows in front of the first output's window: may be negative */
};

#define PITH_MOST_PHASES 64

/* Whether the step's is one for channels-last phases: rank, dilation, stride, constant weights and bias. */
bool pith_conv_transpose_has_phases(const struct pith_step *step, const struct conv_transpose *conv);
/* Phase i of stride[1] * stride[2] down and across. 1: it has no pixels; -ENOTSUP where the input's halo does not hold what it
 * reads. */
int pith_conv_transpose_phase(struct pith_step *step, const struct conv_transpose *conv, int64_t i, struct pith_phase *down,
                              struct pith_phase *across, struct pith_error *err) PITH_CHECKED;
/* Where weight (m, c, tap i of the phases' taps) is in the model's weights (C, M of a group, taps); -1: it is 0. */
int64_t pith_phase_weight(const struct conv_transpose *conv, const struct pith_phase *down, const struct pith_phase *across,
                          int64_t m, int64_t c, int64_t i);

#endif
