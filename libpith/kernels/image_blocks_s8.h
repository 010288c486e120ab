/* Weights of quantized products that have a scale for each block of input channels. Sums of a block
 * are integers; what they stand for is added up in float32, block by block:
 *
 *     f = start;  for each tap, for each block of it:  f = f + float(sum + bias) * scale
 *
 * with one rounding an operation, so that plain C and every fast form give the same bits. From there
 * on requantize.h says what is stored. */
#ifndef PITH_KERNELS_IMAGE_BLOCKS_S8_H
#define PITH_KERNELS_IMAGE_BLOCKS_S8_H

#include "libpith/kernels/image_conv_s8.h"

struct pith_blocks_s8 {
    int64_t size, count; /* input channels of a block (the last has what is left), blocks of a tap */
    int64_t padded;      /* entries of a row below: output channels, and spare ones for whole vectors */
    int32_t *bias;       /* [tap][block][padded]: what the input's zero point adds to the sum */
    float *scale;        /* [tap][block][padded]: from a step of the sum to a step of the output */
    float *start;        /* [padded]: the bias, in steps of the output */
};

/* Where block b of tap t of output channel m has its scale among those of input 1, and element i of
 * it its integer: m * scale_out + b * scale_block + t, and m * out + i * in + t. */
struct pith_blocks_s8_layout {
    int64_t scale_out, scale_block, out, in;
};

/* Whether input 1 has such weights as a kernel here takes: constants of four bits, less their zero points, of a
 * convolution in one group. */
bool pith_blocks_s8_fit(const struct pith_step *step, const struct pith_conv_s8 *conv,
                        const struct pith_blocks_s8_layout *layout);
/* Orders the weights of a planned convolution (conv->weights), and plans its blocks and how sums are
 * stored (conv->blocks, conv->to). bias: real, one a channel, or NULL. */
int pith_blocks_s8_plan(struct pith_step *step, struct pith_conv_s8 *conv,
                        const struct pith_blocks_s8_layout *layout, const double *bias, int32_t x_zero,
                        struct pith_error *err) PITH_CHECKED;
/* f of the definition for a channel at one pixel. x: its first tap, the group's first channel. */
float pith_blocks_s8_plain(const struct pith_conv_s8 *conv, const uint8_t *x, int64_t channel);

#endif
