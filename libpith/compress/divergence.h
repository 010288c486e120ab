/* How far one signal is from another, summed as both pass: nothing of them is kept. */
#ifndef PITH_COMPRESS_DIVERGENCE_H
#define PITH_COMPRESS_DIVERGENCE_H

#include <pith/tensor.h>

struct pith_divergence { /* all zero: nothing has passed */
    double count, sum_a;
    double squares_a, squares_b, products, squares_error; /* sums of a*a, b*b, a*b and (b - a)^2 */
};
/* a: as it should be; b: as it became. */
void pith_divergence_add(struct pith_divergence *divergence, const float *a, const float *b, size_t count);
/* rms(b - a) / deviation of a (its rms where it doesn't vary). 0 where both are equal; NAN where nothing passed. */
double pith_divergence_error_ratio(const struct pith_divergence *divergence);
/* 10 log10(sum a*a / sum (b - a)^2), at most 200 dB, which is what equal signals have; NAN where nothing passed. */
double pith_divergence_sqnr_db(const struct pith_divergence *divergence);
/* -1..1; 1 where both are zero throughout, 0 where one is. NAN where nothing passed. */
double pith_divergence_cosine(const struct pith_divergence *divergence);

#endif
