/* Row by row: each entry follows from a product of two rows, which lie in memory as they are read.
 */
#include "plugins/techniques/quantize/cholesky.h"

#include <math.h>

/* Sums side by side need no order of additions, and so fill a processor's vectors. */
static double product(const double *restrict x, const double *restrict y, size_t count)
{
    double sum[4] = {0};
    size_t i = 0;

    for (; i + 4 <= count; i += 4)
        for (size_t k = 0; k < 4; k++)
            sum[k] += x[i + k] * y[i + k];
    for (; i < count; i++)
        sum[0] += x[i] * y[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

bool cholesky(double *a, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double *row = a + i * count;

        for (size_t j = 0; j < i; j++) {
            const double *pivot = a + j * count;

            row[j] = (row[j] - product(row, pivot, j)) / pivot[j];
        }
        double left = row[i] - product(row, row, i);

        if (!(left > 0) || !isfinite(left))
            return false;
        row[i] = sqrt(left);
    }
    return true;
}
