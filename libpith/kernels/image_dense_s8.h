/* The blocked form of dense (and grouped) channels-last integer convolution: packed weights, and tiles of pixels by channels
 * whose sums stay in registers. One driver (image_dense_s8.c), tiles once per instruction set (image_dense_s8_body.h). */
#ifndef PITH_KERNELS_IMAGE_DENSE_S8_H
#define PITH_KERNELS_IMAGE_DENSE_S8_H

#include "libpith/kernels/image_conv_s8.h"
#include "libpith/kernels/isa.h"

#define PITH_DENSE_S8_PIXELS 8 /* the most of a tile */

/* Offsets from pixel (0,0) of picture 0 to the pixels of a tile: their first tap, output and residual. */
struct pith_dense_s8_pixels {
    int64_t x[PITH_DENSE_S8_PIXELS], y[PITH_DENSE_S8_PIXELS], added[PITH_DENSE_S8_PIXELS];
};

/* Taps whose channels follow each other in memory are one run; run_bytes is rounded up to 4, with weights of 0. Packed
 * weights: [group][tile of channels][run][four bytes of it][vector of channels][as the instruction wants them]. */
struct pith_dense_s8 {
    const struct pith_conv_s8 *conv;
    const struct pith_dense_s8_form *form;
    int64_t runs, run_bytes;
    int64_t *run_at; /* from the first tap */
    uint8_t *weights;
    bool one_pixel; /* in all, and one group: a vector times a matrix */
    int64_t group_bytes, vector_bytes; /* of packed weights: of a group, of one vector of channels */
};

/* The pixels at `at`, vectors of channels from `channel` on, of which the last has `last` lanes; x_channel: the group's first
 * input channel. */
typedef void pith_dense_s8_tile_run(const struct pith_dense_s8 *d, const struct pith_conv_s8_data *data,
                                    const struct pith_dense_s8_pixels *at, const uint8_t *weights, int64_t x_channel,
                                    int64_t channel, int last);

struct pith_dense_s8_tile {
    int pixels;
    pith_dense_s8_tile_run *run;
};

/* How the instruction of a form takes four weights of a channel: bytes side by side (DOTS); as two int16 pairs in two vectors,
 * of even and of odd places (PAIRS_OF_WORDS); or as two byte pairs in two vectors, of the first two and the last two. */
enum pith_dense_s8_order { PITH_DENSE_DOTS, PITH_DENSE_PAIRS_OF_WORDS, PITH_DENSE_PAIRS_OF_BYTES };

struct pith_dense_s8_form {
    int lanes, tile; /* int32 lanes of a vector; most vectors of a tile */
    enum pith_dense_s8_order order;
    const struct pith_dense_s8_tile (*tiles)[5];
};

/* One an instruction set. */
extern const struct pith_dense_s8_form pith_dense_s8_vnni, pith_dense_s8_avx512, pith_dense_s8_avx2, pith_dense_s8_sse2,
    pith_dense_s8_dotprod, pith_dense_s8_neon;

/* A pith_conv_s8_form's pack; form: a struct pith_dense_s8_form. */
int pith_dense_s8_pack(struct pith_step *step, struct pith_conv_s8 *conv, const void *form);
pith_conv_s8_run pith_dense_s8_run;

#endif
