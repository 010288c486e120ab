/* The blocked form of dense (and grouped) channels-last integer convolution: packed weights, and tiles of pixels by channels
 * whose sums stay in registers. One driver (image_dense_s8.c), tiles once per instruction set (image_dense_s8_body.h). */
#ifndef PITH_KERNELS_IMAGE_DENSE_S8_H
#define PITH_KERNELS_IMAGE_DENSE_S8_H

#include "libpith/kernels/image_conv_s8.h"
#include "libpith/kernels/isa.h"

#define PITH_DENSE_S8_TILES 6 /* sizes, of as many vectors of channels */

/* The pixels of a tile follow each other, and may go on in the next row once. Offsets from pixel (0,0) of picture 0 to the
 * first of them: its first tap, output and residual; and how much further than another step those from `split` on are. */
struct pith_dense_s8_pixels {
    int64_t x, y, added;
    int split;
    int64_t x_jump, y_jump, added_jump;
    int64_t x_next, y_next, added_next; /* from a tile to the next one */
};

/* How sums are stored, of which a tile has code for each: as bytes, with LeakyRelu at most between; as bytes, after a residual
 * has been added; and all else. */
enum pith_dense_s8_store { PITH_DENSE_PLAIN, PITH_DENSE_ADDS, PITH_DENSE_ANY };

enum pith_dense_s8_store pith_dense_s8_store_of(const struct pith_requantize *to);

/* Taps whose channels follow each other in memory are one run; run_bytes is rounded up to 4, with weights of 0. Packed
 * weights: [group][tile of channels][run][four bytes of it, or eight][vector of channels][as the instruction wants them]. */
struct pith_dense_s8 {
    const struct pith_conv_s8 *conv;
    const struct pith_dense_s8_form *form;
    int64_t runs, run_bytes;
    int64_t steps, step_bytes; /* of a run, and bytes from one to the next */
    bool half_step;            /* TWO_OF_FOUR: half a step more */
    int64_t *run_at; /* from the first tap */
    /* Where weights are of two terms, whose runs follow each other: the same with the runs of the first alone, and which tiles
     * of channels (of all groups in turn) need no more. Else NULL. */
    const struct pith_dense_s8 *first_term;
    bool *has_one_term;
    int64_t x_step, y_step, added_step; /* from pixel to pixel */
    enum pith_dense_s8_store store;
    bool goes_across; /* tiles may go on in the next row */
    bool one_line; /* all rows of all pictures follow each other like the pixels of one */
    const uint8_t *weights;
    bool one_pixel; /* in all, and one group: a vector times a matrix */
    int64_t group_bytes, vector_bytes; /* of packed weights: of a group, of one vector of channels */
};

/* `count` tiles in a row, the first at `at`; vectors of channels from `channel` on, of which the last has `last` lanes;
 * x_channel: the group's first input channel. */
typedef void pith_dense_s8_tile_run(const struct pith_dense_s8 *d, const struct pith_conv_s8_data *data,
                                    const struct pith_dense_s8_pixels *at, const uint8_t *weights, int64_t x_channel,
                                    int64_t channel, int last, int64_t count);

struct pith_dense_s8_tile {
    int pixels;
    pith_dense_s8_tile_run *run;
    pith_dense_s8_tile_run *across; /* one tile that goes on in the next row; or NULL */
};

/* How the instruction of a form takes four weights of a channel: bytes side by side (DOTS); as two int16 pairs in two vectors,
 * of even and of odd places (PAIRS_OF_WORDS); or as two byte pairs in two vectors, of the first two and the last two.
 *
 * For weights of which at most two in four are not 0 (image_two_of_four_s8.h): a vector of places of the weights that are kept, and
 * two vectors of these, each of two fours of bytes side by side (TWO_OF_FOUR), or of one as a pair of int16 (TWO_OF_FOUR_WORDS), or
 * of two fours, those of all channels' first before those of the second (TWO_OF_FOUR_PAIRS). */
enum pith_dense_s8_order {
    PITH_DENSE_DOTS,
    PITH_DENSE_PAIRS_OF_WORDS,
    PITH_DENSE_PAIRS_OF_BYTES,
    PITH_DENSE_TWO_OF_FOUR,
    PITH_DENSE_TWO_OF_FOUR_WORDS,
    PITH_DENSE_TWO_OF_FOUR_PAIRS
};

struct pith_dense_s8_form {
    int lanes, tile; /* int32 lanes of a vector; most vectors of a tile */
    enum pith_dense_s8_order order;
    const struct pith_dense_s8_tile (*tiles)[4][PITH_DENSE_S8_TILES + 1]; /* by kind of store, and vectors of channels less one */
    int wide_lanes; /* 0, or of the form that is better but where this one has fewer idle lanes */
    bool whole_runs; /* tiles walk runs as they are, of run_bytes each, and not by quads */
    bool eights;     /* eight bytes of a run meet their weights at once, not four (DOTS and whole_runs only) */
    bool symmetric;  /* only for weights without -128 */
};

/* One an instruction set. */
extern const struct pith_dense_s8_form pith_dense_s8_vnni, pith_dense_s8_vnni_narrow, pith_dense_s8_avx512, pith_dense_s8_avx2, pith_dense_s8_sse2,
    pith_dense_s8_i8mm, pith_dense_s8_dotprod, pith_dense_s8_neon, pith_dense_s8_neon_wide;

/* A pith_conv_s8_form's pack; form: a struct pith_dense_s8_form. */
int pith_dense_s8_pack(struct pith_step *step, struct pith_conv_s8 *conv, const void *form);
pith_conv_s8_run pith_dense_s8_run;

#endif
