/* Weights of float convolutions that stay in memory as narrow as they come: integers with scales, or
 * floats that 16 bits hold. Dense tiles want floats; so those of a block of channels are made from them
 * before its pixels are walked, in scratch that stays in the cache. */
#ifndef PITH_KERNELS_IMAGE_NARROW_F32_H
#define PITH_KERNELS_IMAGE_NARROW_F32_H

#include "libpith/kernels/image_conv_f32.h"
#include "libpith/kernels/narrow.h"

#define IMAGE_NARROW_PARTS 4 /* at most, as each has floats of its own */

/* How the weights of a convolution are kept. They lie as ONNX has them, (out, in, taps). */
struct image_narrow {
    enum narrow_kind kind;
    int64_t in, taps;
    int64_t size, count; /* inputs that share a scale, and how many such there are of a tap */
    bool blocked;
    int64_t floats; /* scratch of one part */
    const struct pith_tensor *weights;         /* in prepare */
    const struct pith_quantization *grid;      /* in prepare; NULL: floats */
};

/* The weights of a prepared step as floats; what isn't floats is made such in memory of the step, which the
 * caller may release. NULL: no memory. */
const float *pith_image_float_weights(struct pith_step *step);
/* -ENOTSUP where input 1 is integers whose quantization has no kernel. */
int pith_image_check_weights(struct pith_step *step, struct pith_error *err) PITH_CHECKED;
/* Whether they can stay narrow: *out is then filled. */
bool pith_image_narrow_find(const struct pith_step *step, struct image_narrow *out);
/* Packs those of output channels `channel` to channel + valid - 1, each row filled up to `width`. Sets block->narrow and
 * block->scale. */
int pith_image_narrow_pack(struct pith_step *step, const struct image_narrow *narrow, struct image_block *block,
                           int64_t channel, int64_t valid, int64_t width);
/* The floats of a block, as the tiles take them. */
void pith_image_narrow_expand(const struct image_narrow *narrow, const struct image_block *block, float *to);

#endif
