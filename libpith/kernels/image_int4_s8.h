/* The form of integer products and dense convolutions whose weights have four bits: they stay so in
 * memory and are made wide in registers, once for some pixels. A product of one row reads each
 * weight once, so what it takes is reading them; and without a dot product of bytes, products with
 * four bits fit 16-bit sums that those with eight would pass. Whether they have four bits is seen
 * from their values, not from their type. Weights may have a scale for each block of input channels
 * (image_blocks_s8.h).
 *
 * Lanes are output channels. One driver (image_int4_s8.c), the arithmetic once per instruction set
 * (image_int4_s8_body.h). */
#ifndef PITH_KERNELS_IMAGE_INT4_S8_H
#define PITH_KERNELS_IMAGE_INT4_S8_H

#include "libpith/kernels/image_blocks_s8.h"
#include "libpith/kernels/image_pixels_s8.h"

struct pith_int4_s8_form;

/* Input that follows in memory and meets weights of one scale: a kernel's row, a tap or a block. */
struct pith_int4_s8_segment {
    int64_t x;     /* from the first tap's first channel */
    int64_t depth; /* bytes */
    int64_t quads; /* fours of bytes, the last filled up with weights of 0 */
};

struct pith_int4_s8 {
    const struct pith_conv_s8 *conv;
    const struct pith_int4_s8_form *form;
    struct pith_int4_s8_segment *segment;
    int64_t segments;
    int64_t vector_bytes; /* of packed weights: of one vector of channels */
    const uint8_t *weights; /* [tile of channels][segment][two quads][vector of channels][lane][four bytes] */
};

/* Pixels from number `first` on; the vectors of channels from `channel` on, of which the last has
 * `last` lanes. */
typedef void pith_int4_s8_tile(const struct pith_int4_s8 *s, const struct pith_conv_s8_data *data,
                               const struct pith_pixels_s8 *at, int first,
                               const uint8_t *weights, int64_t channel, int last);

/* How the eight weights of a lane lie in its four bytes, those of two quads of input channels.
 * BYTES: byte i has weight i of the first quad in its lower half, and of the second in its upper
 * half. WORDS: word j has, from its lowest four bits on, weights 2j and 2j+1 of the first quad,
 * then of the second. */
enum pith_int4_s8_order { PITH_INT4_BYTES, PITH_INT4_WORDS };

struct pith_int4_s8_form {
    int lanes, vectors; /* int32 lanes of a vector; most vectors of a tile */
    enum pith_int4_s8_order order;
    /* Products a sum and output channels from which on more pixels than a few are done in this form too: as bench/kernels_s8
     * with weights of 4 bits shows, it is as fast as dense tiles there or faster. */
    int64_t depth, channels;
    pith_int4_s8_tile *tiles[2][4][3]; /* with scales of blocks; vectors of channels less one; log2 of the pixels */
};

/* One an instruction set. */
extern const struct pith_int4_s8_form pith_int4_s8_vnni, pith_int4_s8_avx512, pith_int4_s8_avx2,
    pith_int4_s8_sse2;

/* A pith_conv_s8_form's pack and pays; form: a struct pith_int4_s8_form. */
int pith_int4_s8_pack(struct pith_step *step, struct pith_conv_s8 *conv, const void *form);
bool pith_int4_s8_pays(const struct pith_conv_s8 *conv, const void *form);
pith_conv_s8_run pith_int4_s8_run;

#endif
