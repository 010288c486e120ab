/* Weights as integers with scales a channel or a block, or as halves. */
#ifndef PITH_QUANTIZE_WEIGHTS_H
#define PITH_QUANTIZE_WEIGHTS_H

#include <pith/graph.h>

/* What must be known of a weight tensor before anything is done to it. */
struct weight_facts {
    int64_t elements;
    size_t channels;      /* along the axis; 1 where the axis is negative: one scale for all */
    bool finite;          /* no NaN, no infinity */
    double channel_ratio; /* greatest channel's extreme over the least one's: how much per tensor
                             would lose */
};
/* -ENOMEM. */
int weights_look(const struct pith_tensor *w, int32_t axis, struct weight_facts *out) PITH_CHECKED;

/* A symmetric grid: w = scale * level, level in [-limit, limit], so the zero point is 0. */
struct weight_grid {
    unsigned bits;      /* of the stored integers: 4 or 8 */
    int32_t limit;      /* at most 2^(bits - 1) - 1; less packs better at rest */
    int32_t axis;       /* of the channels that have a scale each; -1: one scale for all. With
                           blocks: the axis that they lie along */
    int64_t block_size; /* 0: none */
};
size_t weight_scale_count(const struct pith_tensor *w, const struct weight_grid *grid);
/* Which scale element `index` has. */
size_t weight_scale_index(const struct pith_tensor *w, const struct weight_grid *grid,
                          int64_t index);
/* Chooses the scales: max|w| / limit with 8 bits; with fewer, where the squared error of rounding
 * is least, as the extremes are worth less there than finer steps. scale: weight_scale_count. A
 * channel that is dead (rounding noise of whoever trained it) takes the greatest scale, and so
 * becomes 0. -ENOMEM. */
int weight_scales(const struct pith_tensor *w, const struct weight_grid *grid,
                  float *scale) PITH_CHECKED;
/* Scales of few levels have 8 significant bits, as bfloat16 has: the levels follow, so that nothing is lost, and half
 * of their bytes are zeros at rest. */
float weight_scale_rounded(float scale);
/* The level nearest to x; ties to even. */
int32_t weight_level(float x, float scale, int32_t limit);
/* levels: NULL rounds to the nearest; else one a weight, in the order of w, as GPTQ or AdaRound
 * chose them. out: int8 or int4, from pith_tensor_alloc, the caller frees. */
int weights_to_integers(const struct pith_tensor *w, const struct weight_grid *grid,
                        const float *scale, const int8_t *levels, struct pith_tensor *out,
                        double *out_sqnr_db, struct pith_error *err) PITH_CHECKED;
/* dtype: PITH_FLOAT16 or PITH_BFLOAT16. -ERANGE where a weight is past the type's greatest, or most lie near its least. */
int weights_to_halves(const struct pith_tensor *w, int32_t dtype, struct pith_tensor *out,
                      double *out_sqnr_db, struct pith_error *err) PITH_CHECKED;
/* b / (input_scale * scale[c]) as int32. shift: NULL, or one entry a channel that is added to b.
 * -ERANGE where one doesn't fit: such a bias stays float. */
int bias_to_int32(const struct pith_tensor *b, const float *shift, float input_scale,
                  const float *scale, size_t scale_count, struct pith_tensor *out, float *out_scale,
                  struct pith_error *err) PITH_CHECKED;

#endif
