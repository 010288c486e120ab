/* The form of dense channels-last integer convolution that passes over zeros, where many runs of four
 * input channels of a tap meet weights of 0 alone. Nothing in a model says so: packing looks at the
 * weights.
 *
 * Lanes are pixels. Some pixels of input are turned so that the same four channels of all of them
 * are a vector; then every output channel walks its own list of blocks that hold a weight (1 output
 * channel x 4 input channels of one tap), so that a block may lie anywhere and larger ones (16x4,
 * whole channels) are as good. Single taps (1x1) take any stride. More, without stride, take lines:
 * the input is turned once, pixel after pixel as it lies, halo and all; every tap of an output pixel
 * is then so many pixels on, and output pixels that fall between two rows are not stored. One driver
 * (image_sparse_s8.c), the arithmetic once per instruction set (image_sparse_s8_body.h). */
#ifndef PITH_KERNELS_IMAGE_SPARSE_S8_H
#define PITH_KERNELS_IMAGE_SPARSE_S8_H

#include <string.h>

#include "libpith/kernels/image_pixels_s8.h"
#include "libpith/kernels/image_winograd_s8.h"

#define PITH_SPARSE_S8_BYTES                                                                       \
    65536 /* of turned input, on the stack: which a first-level cache holds half of */

struct pith_sparse_s8_form;

struct pith_sparse_s8 {
    const struct pith_conv_s8 *conv;
    const struct pith_sparse_s8_form *form;
    int64_t quads;          /* runs of four input channels, the last filled up with weights of 0 */
    int64_t taps, tap_quads; /* that are turned one behind the other, and what one takes, in quads */
    const int64_t *tap_at;  /* of each, from the first one */
    int width;              /* the most vectors of pixels that are done together: 1 to 4 */
    int64_t line, turned;   /* lines: output pixels of one, and input pixels; else 0 */
    int64_t row;            /* input pixels from one row to the next */
    const uint32_t *first;  /* of each output channel, and one past the last: its first block */
    const uint16_t *quad;   /* of each block: which quad of all taps it meets; NULL for lines */
    const uint32_t *at;     /* lines: of each block, where its input lies, in fours of bytes */
    const int32_t *weights; /* [block][form->halves]: as the instruction wants them */
    };

/* Pixels that are done together; those past `count` repeat the last. A place.y below 0: is not stored. */
struct pith_sparse_s8_pixels {
    struct pith_pixels_s8 place;
    int count;
};

/* Channels first to end - 1 of the pixels. */
typedef void pith_sparse_s8_chunk(const struct pith_sparse_s8 *s,
                                  const struct pith_conv_s8_data *data,
                                  const struct pith_sparse_s8_pixels *at, int64_t first,
                                  int64_t end);

/* Turns s->turned pixels from x on, those past `last` being that one. */
typedef void pith_sparse_s8_turn(const struct pith_sparse_s8 *s, const uint8_t *x,
                                 const uint8_t *last, int8_t *to);
/* The same from pixel `first` of a turned line on. */
typedef void pith_sparse_s8_line(const struct pith_sparse_s8 *s,
                                 const struct pith_conv_s8_data *data,
                                 const struct pith_sparse_s8_pixels *at, const int8_t *turned,
                                 int64_t first, int64_t end);

struct pith_sparse_s8_form {
    int lanes,
        halves; /* int32 lanes of a vector; steps that four products take: 1, or 2 with words */
    pith_sparse_s8_chunk *chunk[4]; /* by vectors of pixels less one */
    pith_sparse_s8_turn *turn;
    pith_sparse_s8_line *part[4]; /* the same, of a line: `turned` is its first pixel's */
    /* What an estimate weighs, in instructions: four products of a vector in dense tiles; a block of it with one tap, and in a
     * line; what becomes of a vector's sums; and Winograd's form (or NULL), which is taken where this one is not, with what
     * share of the time of dense tiles it takes. x86-64: as bench/kernels_s8 shows, with weights 1x4. aarch64: as counted in
     * the object file (README.md). */
    double dense, block, line_block, stored;
    const struct pith_winograd_s8_form *rival;
    double rival_share;
    bool symmetric; /* only for weights without -128 */
};

/* One an instruction set. */
extern const struct pith_sparse_s8_form pith_sparse_s8_vnni, pith_sparse_s8_avx512,
    pith_sparse_s8_avx2, pith_sparse_s8_sse2, pith_sparse_s8_i8mm, pith_sparse_s8_dotprod, pith_sparse_s8_neon,
    pith_sparse_s8_neon_wide;

/* Four weights, or what is left of them and zeros. */
static inline uint32_t pith_sparse_s8_four(const int8_t *w, int64_t left)
{
    uint32_t four = 0;

    if (left >= 4)
        memcpy(&four, w, sizeof four);
    else
        memcpy(&four, w, (size_t) left);
    return four;
}

/* Such as the instruction wants them: bytes, or in two halves words, those of even and of odd places. */
static inline void pith_sparse_s8_put(int halves, uint32_t four, int32_t *to)
{
    int8_t w[4];
    int16_t pairs[4];

    memcpy(w, &four, sizeof w);
    if (halves == 1) {
        memcpy(to, w, sizeof w);
        return;
    }
    pairs[0] = w[0];
    pairs[1] = w[2];
    pairs[2] = w[1];
    pairs[3] = w[3];
    memcpy(to, pairs, sizeof pairs);
}

/* Runs of four input channels of a tap that hold a weight, of one group. */
int64_t pith_sparse_s8_blocks(const struct pith_conv_s8 *conv);

/* A pith_conv_s8_form's pack and pays; form: a struct pith_sparse_s8_form. */
int pith_sparse_s8_pack(struct pith_step *step, struct pith_conv_s8 *conv, const void *form);
bool pith_sparse_s8_pays(const struct pith_conv_s8 *conv, const void *form);
pith_conv_s8_run pith_sparse_s8_run;

#endif
