/* AdaRound: learns for each weight whether to round up or down, against the layer's own output. */
#ifndef PITH_QUANTIZE_ADAROUND_H
#define PITH_QUANTIZE_ADAROUND_H

#include <stddef.h>
#include <stdint.h>

#include <pith/error.h>

/* Nagel et al. 2020, arXiv:2004.10568: q = floor(w / s) + h(v), h a stretched sigmoid; the least
 * |(w - s q) x|^2 + lambda * sum of 1 - |2 h - 1|^beta, where beta falls from 20 to 2 along a
 * cosine after the first fifth, in which the second term is left out. The inputs x come as their
 * Gram matrix, so that each step is the exact gradient over all samples and needs no draw. */
#define ADAROUND_STEPS                                                                             \
    1000 /* of Adam; few against the paper's 10,000, as the gradient has no noise */
#define ADAROUND_RATE   1e-2
#define ADAROUND_LAMBDA 0.01

/* Rounds `rows` rows at once. gram: as for gptq_init. w, scale, levels: rows of `width`. levels
 * come in as a first answer and are changed where the learned one is better in error by the matrix.
 * -ENOMEM. */
int adaround(const float *gram, size_t leading, size_t width, const float *w, const float *scale,
             size_t rows, int32_t limit, unsigned steps, int8_t *levels) PITH_CHECKED;

/* What a row learns by: e' gram e + lambda * sum of 1 - |2 h - 1|^beta, where e = h(v) - part, and its gradient by v. gram:
 * width x width, whole. part: what the weight lies above the level below it, in levels. beta 0: without the second term.
 * scratch: 2 * width entries. */
double adaround_objective(const float *gram, size_t width, const float *part, const float *v, float beta, float *scratch,
                          float *gradient);

#endif
