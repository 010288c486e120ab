/* Weights as integers with a scale a channel, or as float16. */
#ifndef PITH_QUANTIZE_WEIGHTS_H
#define PITH_QUANTIZE_WEIGHTS_H

#include <pith/graph.h>

/* What must be known of a weight tensor before anything is done to it. */
struct weight_facts {
    int64_t elements;
    size_t channels;      /* along the axis; 1 where the axis is negative: one scale for all */
    int finite;           /* no NaN, no infinity */
    double channel_ratio; /* greatest channel's extreme over the least one's: how much per tensor
                             would lose */
};
void weights_look(const struct pith_tensor *w, int32_t axis, struct weight_facts *out);

/* Symmetric, narrow: q in [-limit, limit], scale = max|w| / limit a channel, so zero point 0.
 * limit: 127, or less: fewer levels pack better at rest.
 * out: from pith_tensor_alloc, the caller frees. scale: as many as channels. */
int weights_to_int8(const struct pith_tensor *w, int32_t axis, int32_t limit,
                    struct pith_tensor *out, float *scale, double *out_sqnr_db,
                    struct pith_error *err) PITH_CHECKED;
int weights_to_float16(const struct pith_tensor *w, struct pith_tensor *out, double *out_sqnr_db,
                       struct pith_error *err) PITH_CHECKED;
/* b / (input_scale * scale[c]) as int32. -ERANGE where one doesn't fit: such a bias stays float. */
int bias_to_int32(const struct pith_tensor *b, float input_scale, const float *scale,
                  size_t scale_count, struct pith_tensor *out, float *out_scale,
                  struct pith_error *err) PITH_CHECKED;

#endif
