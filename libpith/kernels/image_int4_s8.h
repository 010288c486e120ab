/* The form of integer products and 1x1 convolutions of few pixels whose weights have four bits:
 * they stay so in memory and are made wide in registers. A product of one row reads each weight
 * once, so what it takes is reading them. Whether they have four bits is seen from their values,
 * not from their type.
 *
 * Lanes are output channels. One driver (image_int4_s8.c), the arithmetic once per instruction set
 * (image_int4_s8_body.h). */
#ifndef PITH_KERNELS_IMAGE_INT4_S8_H
#define PITH_KERNELS_IMAGE_INT4_S8_H

#include "libpith/kernels/image_conv_s8.h"

#define PITH_INT4_S8_PIXELS 4 /* the most of a tile */

struct pith_int4_s8_form;

struct pith_int4_s8 {
    const struct pith_conv_s8 *conv;
    const struct pith_int4_s8_form *form;
    int64_t quads;        /* runs of four input channels, the last filled up with weights of 0 */
    int64_t vector_bytes; /* of packed weights: of one vector of channels */
    uint8_t *weights;     /* [tile of channels][two quads][vector of channels][lane][four bytes] */
};

/* Offsets of a tile's pixels from pixel (0,0) of picture 0. */
struct pith_int4_s8_pixels {
    int64_t x[PITH_INT4_S8_PIXELS], y[PITH_INT4_S8_PIXELS], added[PITH_INT4_S8_PIXELS];
};

/* The vectors of channels from `channel` on, of which the last has `last` lanes. */
typedef void pith_int4_s8_tile(const struct pith_int4_s8 *s, const struct pith_conv_s8_data *data,
                               const struct pith_int4_s8_pixels *at, const uint8_t *weights,
                               int64_t channel, int last);

/* How the eight weights of a lane lie in its four bytes, those of two quads of input channels.
 * BYTES: byte i has weight i of the first quad in its lower half, and of the second in its upper
 * half. WORDS: word j has, from its lowest four bits on, weights 2j and 2j+1 of the first quad,
 * then of the second. */
enum pith_int4_s8_order { PITH_INT4_BYTES, PITH_INT4_WORDS };

struct pith_int4_s8_form {
    int lanes, vectors; /* int32 lanes of a vector; most vectors of a tile */
    enum pith_int4_s8_order order;
    pith_int4_s8_tile *tiles[4][3]; /* by vectors of channels less one, and log2 of the pixels */
};

/* One an instruction set. */
extern const struct pith_int4_s8_form pith_int4_s8_vnni, pith_int4_s8_avx512, pith_int4_s8_avx2,
    pith_int4_s8_sse2;

/* A pith_conv_s8_form's pack and pays; form: a struct pith_int4_s8_form. */
int pith_int4_s8_pack(struct pith_step *step, struct pith_conv_s8 *conv, const void *form);
bool pith_int4_s8_pays(const struct pith_conv_s8 *conv, const void *form);
pith_conv_s8_run pith_int4_s8_run;

#endif
