/* Channels-last convolution between values on grids of 16 bits, with weights of 8: stored as int16, sums in
 * int32 where these hold every sum that the weights can make, else cut and kept in two of them. Geometry,
 * weights and the store are those of 8-bit values (image_conv_s8.h, requantize.h). Weights stay 8 bits wide
 * in memory and are made words in registers, once for some pixels.
 *
 * One driver (image_conv_s16.c), which holds the definition too; the arithmetic once per instruction set
 * (image_conv_s16_body.h). */
#ifndef PITH_KERNELS_IMAGE_CONV_S16_H
#define PITH_KERNELS_IMAGE_CONV_S16_H

#include "libpith/kernels/image_pixels_s8.h"

#define PITH_CONV_S16_CUT 510 /* products of a sum that int32 holds whatever they are: 2^15 * 2^7 * 510 < 2^31 */

struct pith_conv_s16_form;

struct pith_conv_s16 {
    struct pith_conv_s8 conv;
    const struct pith_conv_s16_form *form; /* NULL: the definition */
    bool depthwise;
    struct pith_segment_s8 *segment; /* depthwise: a tap each, of an odd number the last one twice */
    int64_t segments;
    /* [tile of channels][segment][pair][vector of channels][lane][two bytes]; of one vector of channels, vector_bytes.
     * Depthwise, of one block of two vectors of channels: [block][two taps][vector][lane][two words], and behind them the
     * biases and the scales, [vector][lane]. Channels lie as the lower and upper halves of every 128 bits of the input do. */
    int64_t vector_bytes;
    const uint8_t *weights;
};

struct pith_conv_s16_data { /* pixel (0,0) of picture 0 */
    const int16_t *x, *added;
    void *y; /* int16, or float where conv.to.real */
};

/* Pixels from number `first` on, as many times so many as there are before number `end`; the vectors of channels from
 * `channel` on, of which the last has `last` lanes (depthwise: the block has so many). Returns the first pixel that is left. */
typedef int pith_conv_s16_tile(const struct pith_conv_s16 *s, const struct pith_conv_s16_data *data,
                               const struct pith_pixels_s8 *at, int first, int end, const uint8_t *weights,
                               int64_t channel, int last);

struct pith_conv_s16_form {
    const char *name, *depthwise_name; /* for people */
    enum pith_isa isa;
    int lanes, vectors;                /* int32 lanes of a vector; most vectors of a tile */
    pith_conv_s16_tile *tiles[2][4][3]; /* whose sums may pass int32; vectors of channels less one; log2 of the pixels */
    pith_conv_s16_tile *depthwise[2][3]; /* with a residual, to floats, or where sums may pass int32; log2 of the pixels */
};

/* Those of x86-64, the best first; NULL ends them. */
extern const struct pith_conv_s16_form *const pith_conv_s16_forms[];

/* Of a convolution whose geometry and store are planned: packs conv.weights for the CPU's best form, or keeps them for the
 * definition, and says which in step->form. 0, -ENOMEM. */
int pith_conv_s16_pack(struct pith_step *step, struct pith_conv_s16 *s) PITH_CHECKED;
/* The part of the output that span names; its channels begin at a multiple of PITH_CONV_S8_CUT. No halo. */
void pith_conv_s16_run(const struct pith_conv_s16 *s, const struct pith_conv_s16_data *data,
                       const struct pith_conv_s8_span *span);

/* What becomes of a sum without its bias before it is rounded or limited. added: the residual, where there is one. */
static inline float pith_conv_s16_real(const struct pith_requantize *r, int64_t channel, int64_t sum,
                                       int32_t added)
{
    const float f =
        pith_requantize_slant(r, (float) ((double) sum + r->long_bias[channel]) * r->scale[channel]);

    return r->adds ? pith_requantize_add(r, f, added) : f;
}

#endif
