/* Cholesky's factor of a small symmetric matrix. */
#ifndef PITH_QUANTIZE_CHOLESKY_H
#define PITH_QUANTIZE_CHOLESKY_H

#include <stdbool.h>
#include <stddef.h>

/* a = l l', in place: the lower half of a (count x count, by rows) becomes l, the upper is left
 * alone. False where the matrix is not positive definite; a is then undefined. */
bool cholesky(double *a, size_t count);

#endif
