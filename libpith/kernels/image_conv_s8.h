/* Channels-last convolution between quantized values: what its forms share. A step is planned once (image_conv_s8.c);
 * forms differ in how they pack the weights and walk the pixels, and give the same bits. */
#ifndef PITH_KERNELS_IMAGE_CONV_S8_H
#define PITH_KERNELS_IMAGE_CONV_S8_H

#include "libpith/kernels/requantize.h"

struct pith_conv_s8_form;

struct pith_conv_s8 {
    struct pith_image_dims x, y; /* of both activations; c counts all groups */
    struct pith_image in, out, added; /* how they lie; added: the residual */
    int64_t groups, in_channels, out_channels; /* channels: of a group */
    int64_t kernel[2], stride[2], dilation[2], pad[2]; /* down, across; pad: before the first */
    const int8_t *weights; /* (groups * out_channels, kernel[0], kernel[1], in_channels), less their zero points */
    struct pith_requantize to;
    uint8_t in_zero, out_zero; /* stored bytes that stand for 0, for halos */
    const struct pith_conv_s8_form *form;
    void *packed; /* the form's own */
};

/* Where the values of one run lie: pixel (0,0) of picture 0. */
struct pith_conv_s8_data {
    const uint8_t *x, *added; /* added: NULL where there is no residual */
    void *y;
};

/* Which part of the output is wanted: rows of all pictures, counted through, and channels of all groups, from a multiple of
 * PITH_CONV_S8_CUT (or of whole groups). */
struct pith_conv_s8_span {
    int64_t row, row_end, channel, channel_end;
};

#define PITH_CONV_S8_CUT 64

struct pith_conv_s8_form {
    const char *name;
    /* Packs conv->weights; 1 where this form does not fit the convolution, 0, -ENOMEM. */
    int (*pack)(struct pith_step *step, struct pith_conv_s8 *conv);
    void (*run)(const struct pith_conv_s8 *conv, const struct pith_conv_s8_data *data,
                const struct pith_conv_s8_span *span);
};

/* The definition. */
void pith_conv_s8_plain(const struct pith_conv_s8 *conv, const struct pith_conv_s8_data *data,
                        const struct pith_conv_s8_span *span);

#endif
