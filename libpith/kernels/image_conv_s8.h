/* Channels-last convolution between quantized values: what its forms share. A step is planned once
 * (image_conv_s8.c); forms differ in how they pack the weights and walk the pixels, and give the
 * same bits. */
#ifndef PITH_KERNELS_IMAGE_CONV_S8_H
#define PITH_KERNELS_IMAGE_CONV_S8_H

#include "libpith/kernels/isa.h"
#include "libpith/kernels/requantize.h"

struct pith_blocks_s8;
struct pith_conv_s8;
struct pith_conv_s8_data;
struct pith_conv_s8_span;

/* Computes the part of the output that span names. */
typedef void pith_conv_s8_run(const struct pith_conv_s8 *conv, const struct pith_conv_s8_data *data,
                              const struct pith_conv_s8_span *span);

struct pith_conv_s8 {
    struct pith_image_dims x, y;               /* of both activations; c counts all groups */
    struct pith_image in, out, added;          /* how they lie; added: the residual */
    int64_t groups, in_channels, out_channels; /* channels: of a group */
    int64_t kernel[2], stride[2], dilation[2], pad[2]; /* down, across; pad: before the first */
    const int8_t *weights; /* (groups * out_channels, terms, kernel[0], kernel[1], in_channels), less
                              their zero points; NULL where a form has packed them */
    bool two_terms; /* a weight is the sum of two of int8: some that are unsigned pass int8 less their zero point. Else of one */
    const struct pith_blocks_s8 *blocks; /* scales of blocks (image_blocks_s8.h); NULL: one a channel */
    struct pith_requantize to;
    uint8_t in_zero; /* the stored byte that stands for 0, for halos */
    pith_conv_s8_run *form;    /* pith_conv_s8_plain, or a faster one */
    void *packed;              /* the form's own */
    int reads; /* bytes of input that the form reads together, where it is not 4: it may pass the end of a pixel's by one less */
    /* Forms that want scratch: bytes for each part, and how many parts there may be, no more than rows. Else 0. */
    int64_t part_bytes;
    uint32_t parts;
};

/* Where the values of one run lie: pixel (0,0) of picture 0. */
struct pith_conv_s8_data {
    const uint8_t *x, *added; /* added: NULL where there is no residual */
    void *y, *scratch; /* scratch: part_bytes, of this part alone */
};

/* Which part of the output is wanted: rows of all pictures, counted through, and channels of all
 * groups, from a multiple of PITH_CONV_S8_CUT (or of whole groups). */
struct pith_conv_s8_span {
    int64_t row, row_end, channel, channel_end;
};

#define PITH_CONV_S8_CUT 64

static inline int64_t pith_conv_s8_terms(const struct pith_conv_s8 *conv)
{
    return conv->two_terms ? 2 : 1;
}

/* ---- for planning ---- */
/* Reads the node's window and the operands' shapes and layouts; sets step->macs. */
int pith_conv_s8_geometry(struct pith_step *step, struct pith_conv_s8 *conv, struct pith_error *err) PITH_CHECKED;
/* Sets conv->weights and conv->two_terms: from the model's (out, in, taps) to (out, terms, taps, in), less the zero points, where
 * that fits (else -ENOTSUP). Where that is what the model has, they are the model's own memory, to be read while the step is prepared and no
 * longer. sums: NULL, or what they add up to. */
int pith_conv_s8_order(struct pith_step *step, struct pith_conv_s8 *conv, struct pith_weight_sums *sums,
                       struct pith_error *err) PITH_CHECKED;
/* Makes conv->weights the step's own where they are the model's: for a form that reads them in a run. 0, -ENOMEM. */
int pith_conv_s8_keep_weights(struct pith_step *step, struct pith_conv_s8 *conv) PITH_CHECKED;

/* The definition. */
pith_conv_s8_run pith_conv_s8_plain;

/* A faster way, of one instruction set. */
struct pith_conv_s8_form {
    const char *name; /* for people: "dense avx2" */
    enum pith_isa isa;
    bool depthwise;      /* only where every group has one channel in and one out; else for all
                            convolutions */
    const void *private; /* the form's own */
    /* Packs conv->weights and sets conv->form and conv->packed. 0; 1 where the convolution isn't one for it; -ENOMEM. */
    int (*pack)(struct pith_step *step, struct pith_conv_s8 *conv, const void *private);
    /* Whether it is expected to be faster than the forms behind it, whose answer it gives too; NULL: always. */
    bool (*pays)(const struct pith_conv_s8 *conv, const void *private);
    bool blocks; /* takes weights with scales of blocks */
    bool terms;  /* takes weights of one or two terms */
};

/* The forms that this CPU has and that fit the convolution, the best first; NULL past the last. */
const struct pith_conv_s8_form *pith_conv_s8_form_at(const struct pith_conv_s8 *conv, size_t index);
/* Gives a planned convolution the best form for pith_isa(), or the plain one. 0, -ENOMEM. */
int pith_conv_s8_choose(struct pith_step *step, struct pith_conv_s8 *conv) PITH_CHECKED;
/* Makes a prepared step use a form, or the plain one (NULL), for tests and benches: its weights must still be there.
 * 0; 1 where it isn't one for it; -ENOMEM. */
int pith_conv_s8_use(struct pith_step *step, const struct pith_conv_s8_form *form) PITH_CHECKED;

#endif
