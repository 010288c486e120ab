/* Streaming histogram: bins anchored at zero, width a power of two. When a value falls outside, the
 * window slides while its far end is empty, and otherwise neighbours merge and the width doubles.
 * Estimating ranges is range.c's. */
#include "plugins/techniques/quantize/histogram.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_EXPONENT (-160) /* below the least float that there is */

void histogram_init(struct histogram *histogram)
{
    memset(histogram, 0, sizeof *histogram);
}

double histogram_width(const struct histogram *histogram)
{
    return ldexp(1.0, histogram->exponent);
}

double histogram_centre(const struct histogram *histogram, size_t bin)
{
    return ((double) (histogram->first + (int64_t) bin) + 0.5) * histogram_width(histogram);
}

/* Floor division by two that is right for negative numbers: bins stay anchored at zero. */
static int64_t half(int64_t index)
{
    return index >= 0 ? index / 2 : -((1 - index) / 2);
}

static void widen(struct histogram *histogram)
{
    uint32_t merged[HISTOGRAM_BINS] = {0};
    int64_t first = half(histogram->first);

    for (size_t i = 0; i < HISTOGRAM_BINS; i++) {
        size_t at = (size_t) (half(histogram->first + (int64_t) i) - first);
        uint64_t sum = (uint64_t) merged[at] + histogram->count[i];

        merged[at] = sum > UINT32_MAX ? UINT32_MAX : (uint32_t) sum;
    }
    memcpy(histogram->count, merged, sizeof merged);
    histogram->first = first;
    histogram->exponent++;
}

/* Moves the window so that bin 0 is `first`; the bins that fall off are empty. */
static void slide(struct histogram *histogram, int64_t first)
{
    int64_t by = first - histogram->first;
    size_t kept = HISTOGRAM_BINS - (size_t) llabs(by);

    if (by > 0) {
        memmove(histogram->count, histogram->count + by, kept * sizeof *histogram->count);
        memset(histogram->count + kept, 0, (size_t) by * sizeof *histogram->count);
    } else {
        memmove(histogram->count - by, histogram->count, kept * sizeof *histogram->count);
        memset(histogram->count, 0, (size_t) -by * sizeof *histogram->count);
    }
    histogram->first = first;
}

static double index_of(const struct histogram *histogram, double x)
{
    return floor(ldexp(x, -histogram->exponent));
}

/* Makes room for [low, high], the least and greatest of all values so far and to come. */
static void cover(struct histogram *histogram, double low, double high)
{
    while (index_of(histogram, high) - index_of(histogram, low) >= HISTOGRAM_BINS)
        widen(histogram);
    int64_t from = (int64_t) index_of(histogram, low), to = (int64_t) index_of(histogram, high);

    if (from < histogram->first && histogram->first - from < HISTOGRAM_BINS)
        slide(histogram, from);
    else if (to >= histogram->first + HISTOGRAM_BINS &&
             to - histogram->first - HISTOGRAM_BINS + 1 < HISTOGRAM_BINS)
        slide(histogram, to - HISTOGRAM_BINS + 1);
    else if (from < histogram->first || to >= histogram->first + HISTOGRAM_BINS)
        histogram->first = from; /* nothing was counted yet */
}

static void count_up(struct histogram *histogram, size_t bin)
{
    if (histogram->count[bin] == UINT32_MAX)
        for (size_t i = 0; i < HISTOGRAM_BINS; i++)
            histogram->count[i] /= 2; /* proportions are what estimators read */
    histogram->count[bin]++;
}

/* The least and greatest finite values of x and what came before it. */
static void extend(struct histogram *histogram, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(x[i]))
            continue;
        if (x[i] < histogram->minimum || histogram->values == 0)
            histogram->minimum = x[i];
        if (x[i] > histogram->maximum || histogram->values == 0)
            histogram->maximum = x[i];
        histogram->values++;
        histogram->squares += (double) x[i] * x[i];
    }
}

void histogram_add(struct histogram *histogram, const float *x, size_t count)
{
    extend(histogram, x, count);
    double low = histogram->minimum, high = histogram->maximum;

    if (low != 0 || high != 0) {
        if (!histogram->any) {
            /* So fine that the first batch fills at least half of the bins. */
            int exponent = ilogb(fmax(fabs(low), fabs(high))) - 11;

            histogram->exponent = exponent < LEAST_EXPONENT ? LEAST_EXPONENT : exponent;
            histogram->any = 1;
            histogram->first = (int64_t) index_of(histogram, low);
        }
        cover(histogram, low, high);
    }
    double per_bin = ldexp(1.0, -histogram->exponent);

    for (size_t i = 0; i < count; i++) {
        if (!isfinite(x[i]))
            histogram->refused++;
        else if (x[i] == 0)
            histogram->zeros++;
        else
            count_up(histogram, (size_t) ((int64_t) floor(x[i] * per_bin) - histogram->first));
    }
}
