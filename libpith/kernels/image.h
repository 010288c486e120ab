/* Channels-last activations: how N,C,H,W values lie in memory when an engine has chosen N,H,W,C.
 *
 * Shapes stay ONNX's (N,C,H,W; or N,C,W, which is as if H were 1); only the bytes lie differently, and
 * a `struct pith_image` beside the tensor says how. Around each picture may lie a halo: pixels
 * that are not part of it, so that a padded convolution reads every tap without a branch, and a row of its
 * kernel is one run of bytes. tensor.data points at the first channel of pixel (0,0) of picture 0,
 * *inside* the halo; tensor.bytes is what the whole block takes.
 *
 * Whoever writes a channels-last value fills its halo too, in each run (memory is shared between values
 * that do not live at the same time), with what stands for 0: the zero point, or 0.0f. `pixel` may be
 * greater than C: then the value is a slice of a wider one's channels (a Concat that copies nothing).
 *
 * Reads may pass the last byte that is used: PITH_IMAGE_SLACK_BYTES behind each block belong to the reader, with
 * undefined contents; integer kernels meet them with zero weights, float kernels must not use them. */
#ifndef PITH_KERNELS_IMAGE_H
#define PITH_KERNELS_IMAGE_H

#include <pith/tensor.h>

#define PITH_IMAGE_SLACK_BYTES 64

struct pith_image {
    bool channels_last; /* false: planar, as ONNX has it, and nothing below counts */
    int64_t pixel, row, picture; /* strides in elements: to the next pixel, row, picture */
    int32_t top, bottom, left, right; /* the halo, in pixels */
};

/* N, C, H, W of a channels-last value's shape: rank 3 (N,C,W) has H = 1. */
struct pith_image_dims {
    int64_t n, c, h, w;
};
struct pith_image_dims pith_image_dims(const struct pith_shape *shape);

bool pith_image_equal(const struct pith_image *a, const struct pith_image *b);

/* Fills the halo of every picture with `zero`, an element of `element_bytes` (1, 2, 4), C channels wide. */
void pith_image_fill_halo(const struct pith_image *image, const struct pith_image_dims *dims, void *data,
                          size_t element_bytes, const void *zero);

#endif
