/* Sums in double: a net's outputs are at most some 10^9 floats, whose squares lose nothing that
 * counts. */
#include "libpith/compress/divergence.h"

#include <math.h>

#define MOST_DB 200.0 /* more than floats can tell */

void pith_divergence_add(struct pith_divergence *divergence, const float *a, const float *b,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double x = (double) a[i], y = (double) b[i];

        divergence->sum_a += x;
        divergence->squares_a += x * x;
        divergence->squares_b += y * y;
        divergence->products += x * y;
        divergence->squares_error += (y - x) * (y - x);
    }
    divergence->count += (double) count;
}

double pith_divergence_error_ratio(const struct pith_divergence *divergence)
{
    double spread;

    if (divergence->count == 0)
        return NAN;
    if (divergence->squares_error == 0)
        return 0;
    /* What is left of a constant after the subtraction is rounding, not deviation. */
    spread = divergence->squares_a - divergence->sum_a * divergence->sum_a / divergence->count;
    if (!(spread > 1e-9 * divergence->squares_a))
        spread = divergence->squares_a;
    return sqrt(divergence->squares_error / fmax(spread, 1e-30));
}

double pith_divergence_sqnr_db(const struct pith_divergence *divergence)
{
    if (divergence->count == 0)
        return NAN;
    if (divergence->squares_error == 0)
        return MOST_DB;
    return fmin(10 * log10(fmax(divergence->squares_a, 1e-30) / divergence->squares_error),
                MOST_DB);
}

double pith_divergence_cosine(const struct pith_divergence *divergence)
{
    double lengths = sqrt(divergence->squares_a) * sqrt(divergence->squares_b);

    if (divergence->count == 0)
        return NAN;
    if (lengths == 0)
        return divergence->squares_a == divergence->squares_b ? 1 : 0;
    return fmax(-1, fmin(1, divergence->products / lengths));
}
