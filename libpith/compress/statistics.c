/* Textbook statistics; sources beside the formulas. */
#include "libpith/compress/statistics.h"

#include <math.h>
#include <stdlib.h>

#define Z_95   1.959963984540054
#define CHANCE 0.05 /* p above which two counts do not differ */

/* Wilson 1927. */
void pith_wilson(uint64_t hits, uint64_t count, double *out_low, double *out_high)
{
    double n = (double) count, z2 = Z_95 * Z_95;

    if (count == 0) {
        *out_low = 0;
        *out_high = 1;
        return;
    }
    double share = (double) hits / n;
    double middle = (share + z2 / (2 * n)) / (1 + z2 / n);
    double half = Z_95 / (1 + z2 / n) * sqrt(share * (1 - share) / n + z2 / (4 * n * n));

    /* The ends are exact where all or none hit; rounding must not take them past it. */
    *out_low = hits == 0 ? 0 : fmax(middle - half, 0);
    *out_high = hits == count ? 1 : fmin(middle + half, 1);
}

#define EXACT_MAX 10000

/* McNemar 1947: of n discordant samples, each is as likely to favour either. */
double pith_mcnemar(uint64_t only_a, uint64_t only_b)
{
    uint64_t n = only_a + only_b, less = only_a < only_b ? only_a : only_b;

    if (n == 0)
        return 1;
    if (n > EXACT_MAX) {
        double difference = fabs((double) only_a - (double) only_b) - 1;

        return erfc(sqrt(difference * difference / (double) n / 2));
    }
    double tail = 0;

    for (uint64_t k = 0; k <= less; k++)
        tail += exp(lgamma((double) n + 1) - lgamma((double) k + 1) - lgamma((double) (n - k) + 1) -
                    (double) n * M_LN2);
    return fmin(2 * tail, 1);
}

int pith_surely_more(uint64_t a, uint64_t b)
{
    if (pith_mcnemar(a > b ? a - b : b - a, 0) > CHANCE)
        return 0;
    return a > b ? 1 : -1;
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

    return x < y ? -1 : x > y;
}

double pith_quantile(uint64_t *values, size_t count, double share)
{
    double rank = ceil(share * (double) count);

    qsort(values, count, sizeof *values, by_size);
    return (double) values[rank < 1 ? 0 : (size_t) rank - 1];
}
