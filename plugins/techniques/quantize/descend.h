/* From good levels to better ones: coordinate descent on a layer's output error, and the scale that
 * suits the levels best, in turn. For grids of few levels, where a scale that follows from the
 * weights alone is far from the one that the outputs want. */
#ifndef PITH_QUANTIZE_DESCEND_H
#define PITH_QUANTIZE_DESCEND_H

#include "plugins/techniques/quantize/gptq.h"

struct descent { /* of one block of columns; rows share the matrix */
    size_t width;
    double *h;        /* own: x x' + damping as in gptq, whole */
    double *gradient; /* own: h (w - s q) of the row under way */
    int8_t *levels;   /* own: tried */
    float *scale;     /* own: the one tried, by column */
};
/* gram: as for gptq_init. -ENOMEM. */
int descent_init(struct descent *descent, const float *gram, size_t leading, size_t width) PITH_CHECKED;
void descent_done(struct descent *descent);
/* Moves single levels by one while the error falls, the same way on every machine. One scale for the
 * row. Returns the error that is left, (w - s q)' h (w - s q). */
double descend(struct descent *descent, const float *w, float scale, int32_t limit, int8_t *levels);
/* Tries scales about *scale, each with GPTQ's levels, descends, fits the scale to them and descends
 * again; keeps the best, which may be what came. gptq: of the same matrix. Returns its error. */
double descend_with_scale(struct descent *descent, struct gptq *gptq, const float *w, int32_t limit,
                          float *scale, int8_t *levels);

#endif
