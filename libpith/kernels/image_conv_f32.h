/* Channels-last float convolution: what its files share.
 *   image_conv_f32.c        checks the model, holds the plain loops that define the answer, and the
 * table image_conv_f32_fast.c   packs weights into blocks, walks rows in tiles
 *   image_winograd_f32.c    3x3 convolution by way of fewer products
 *   image_conv_f32_forms.c  the tiles themselves, from image_conv_f32_body.h, once per instruction
 * set */
#ifndef PITH_KERNELS_IMAGE_CONV_F32_H
#define PITH_KERNELS_IMAGE_CONV_F32_H

#include "libpith/kernels/isa.h"
#include "libpith/kernels/kernel.h"
#include "libpith/kernels/sliding.h"

#define IMAGE_TILE_VECTORS                                                                         \
    4 /* the most vectors of channels and pixels that a tile of any form has */
#define IMAGE_TILE_PIXELS 12

/* What is computed in one call. Dense: `tiles` tiles along a row, each a few pixels in a few vectors of
 * output channels. Depthwise: `rows` rows of `cols` pixels in one vector of channels. Steps are in
 * floats. */
struct image_tile {
    const float *x;        /* the first tap of the first pixel's window */
    int64_t x_step;        /* to the next pixel's window */
    const int64_t *offset; /* of `runs` runs of a window from its first tap */
    int64_t runs, length;  /* dense: elements of a run. Depthwise: taps of a kernel row */
    int64_t tiles;         /* dense */
    int64_t rows, cols;    /* depthwise */
    int64_t x_row, y_row, residual_row; /* depthwise: to the next row */
    int rest; /* depthwise: lanes of one more vector at a row's end that are stored; 0: none */
    int64_t tap_step;      /* depthwise: to the next tap of a kernel row */
    const float *w;        /* [runs][length][vectors * lanes] */
    const float *bias;     /* vectors * lanes */
    float *y;
    int64_t y_step;
    const float *residual; /* NULL: none */
    int64_t residual_step;
    int last; /* lanes of the last vector that are stored */
    struct pith_activation activation, after;
};
typedef void image_tile_run(const struct image_tile *t);

/* A 6x6 patch of one vector of channels, `count` of whose lanes are there, to 36 elements, each
 * `plane` floats further. */
typedef void image_winograd_in(const float *x, int64_t row, int64_t pixel, float *to, int64_t plane,
                               int count);
/* 36 elements to 4x4 pixels, of which rows x cols are stored; t: y, bias, residual and what is
 * applied. */
typedef void image_winograd_out(const struct image_tile *t, const float *from, int64_t plane,
                                int rows, int cols, int64_t y_row, int64_t residual_row);

struct image_form {
    enum pith_isa isa;
    const struct image_form *narrow; /* with vectors half as wide and as many registers; or NULL */
    int lanes, most_vectors;
    int most_pixels[IMAGE_TILE_VECTORS]; /* of a tile with 1, 2, ... vectors */
    image_tile_run *tile[IMAGE_TILE_VECTORS][IMAGE_TILE_PIXELS];
    image_tile_run *depthwise[2][2]; /* kernels 3x3 and 5x5, stride 1 and 2, no dilation */
    image_tile_run *depthwise_any;
    image_winograd_in *winograd_in;
    image_winograd_out *winograd_out;
};

/* The form for pith_isa(), or NULL: plain C. */
const struct image_form *pith_image_form(void);

/* Output channels that share a tile: all that belongs to them. */
struct image_block {
    int64_t x_at, y_at;          /* the first channel, in and out */
    image_tile_run *const *tile; /* dense: by pixels - 1 */
    image_tile_run *depthwise;   /* or NULL */
    int pixels;                  /* dense: the most of a tile */
    int last;
    const float *w, *bias; /* packed */
    const uint8_t *narrow; /* or NULL: what w is made of, of `width` channels a row (image_narrow_f32.h) */
    const float *scale;
    int64_t width;
};

/* Patches of 4x4 output pixels; see image_winograd_f32.c. */
struct image_winograd {
    int64_t down, across; /* patches of a picture */
    int64_t chunk,
        chunks;     /* patches that are in the works together, at most; how many chunks there are */
    int64_t padded; /* output channels, filled up to whole vectors */
    int64_t part_floats;  /* scratch of one part */
    int vectors;          /* of output channels in a tile */
    const float *weights; /* transformed; NULL: this convolution is direct */
    const float *bias, *zeros;
};

struct image_narrow;

struct image_conv {
    struct pith_sliding
        window; /* dimensions 1 and 2 are rows and columns; dimension 0 is one element */
    int64_t batch, groups;
    int64_t in_channels, out_channels; /* of a group */
    struct pith_image in, out, added;  /* added: the residual's */
    const float *bias;                 /* while it is packed; NULL: none */
    const float *weights;              /* floats, while they are packed; plain: of input 1, or made of it */
    bool is_phase; /* of a transposed convolution: `weights` are its own, not the step's */
    struct image_narrow *narrow;       /* NULL: packed weights are floats */

    /* ---- fast forms; NULL: plain ---- */
    const struct image_form *form;
    struct image_block *block;
    int64_t block_count;
    int64_t *offset;
    int64_t runs, length, tap_step, x_step, y_step;
    /* What is walked: `rows` rows of `cols` tile pixels; a tile pixel is `fold` pixels, and `rest`
     * of them are left at a row's end. A convolution of single pixels, with no gaps between rows, is
     * `merged`: each pixel is a row of its own, and tiles go across them. */
    int64_t pictures, rows, cols, fold, rest;
    int64_t x_row, y_row, added_row;
    bool merged;
    bool cut_by_blocks; /* parts are blocks, not rows: weights are what takes long to read, or rows are few */
    int64_t rows_a_turn; /* that all blocks do before the next rows: it stays in the cache */
    struct image_winograd winograd;
};

/* Chooses tiles, packs weights and says how rows are walked. -ENOMEM. */
int pith_image_conv_pack(struct pith_step *step, struct image_conv *conv);
/* How many vectors of channels a tile has, so that `total` of them over `cols` pixels cost least.
 */
int pith_image_best_vectors(const struct image_form *form, int64_t cols, int64_t total);
/* `cols` pixels from where t is, by the fewest tiles of at most `most`; tile: by pixels - 1. Moves t. */
void pith_image_run_tiles(image_tile_run *const *tile, int64_t most, struct image_tile *t,
                          int64_t cols);
/* Part `part` of `parts`, of all rows or of all blocks. */
void pith_image_conv_fast(const struct pith_step *step, const struct image_conv *conv, uint32_t part,
                          uint32_t parts);

/* Rows from..to-1 of the first picture. */
void pith_image_conv_fast_rows(const struct pith_step *step, const struct image_conv *conv, int64_t from,
                               int64_t to);

/* Whether Winograd's algorithm can do the convolution, and is expected to be faster. */
bool pith_image_winograd_fits(const struct image_conv *conv);
int pith_image_winograd_pack(struct pith_step *step, struct image_conv *conv);
void pith_image_winograd_run(const struct pith_step *step, const struct image_conv *conv,
                             uint32_t part, uint32_t parts);

#endif
