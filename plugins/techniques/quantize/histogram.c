/* Streaming histogram: bins anchored at zero, width a power of two. When a value falls outside, the
 * window slides while its far end is empty, and otherwise neighbours merge and the width doubles.
 * Estimating ranges is range.c's. */
#include "plugins/techniques/quantize/histogram.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_EXPONENT (-126) /* of the least normal float; what is smaller is as good as zero */
#define LANES          8      /* sums side by side */
#define OUTSIDE        (4.0f * HISTOGRAM_BINS)
#define BATCH          (1 << 30) /* values counted at once: their counts fit 32 bits */

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

/* The least and greatest finite values of x and what came before it, how many, and their squares.
 * In eight sums, so that the loop needs no order of additions and fills a processor's vectors. */
static void extend(struct histogram *histogram, const float *x, size_t count)
{
    float low[LANES] = {0}, high[LANES] = {0};
    double squares[LANES] = {0};
    uint64_t finite[LANES] = {0}, all = 0;

    for (size_t i = 0; i < count; i += LANES)
        for (size_t k = 0; k < LANES && i + k < count; k++) {
            bool is = fabsf(x[i + k]) <= FLT_MAX; /* false for NaN too */
            float v = is ? x[i + k] : 0;

            low[k] = v < low[k] ? v : low[k];
            high[k] = v > high[k] ? v : high[k];
            squares[k] += (double) v * (double) v;
            finite[k] += is;
        }
    histogram->low = histogram->high = 0;
    for (size_t k = 0; k < LANES; k++) {
        histogram->low = low[k] < histogram->low ? low[k] : histogram->low;
        histogram->high = high[k] > histogram->high ? high[k] : histogram->high;
        histogram->squares += squares[k];
        all += finite[k];
    }
    histogram->minimum = fminf(histogram->low, histogram->minimum);
    histogram->maximum = fmaxf(histogram->high, histogram->maximum);
    histogram->values += all;
    histogram->refused += count - all;
}

/* Adds what a batch counted, and gives up precision where a bin would overflow: proportions are
 * what estimators read. */
static void merge(struct histogram *histogram, const uint32_t *batch)
{
    uint64_t most = 0;
    unsigned shift = 0;

    for (size_t i = 0; i < HISTOGRAM_BINS; i++) {
        uint64_t sum = (uint64_t) histogram->count[i] + batch[i];

        most = sum > most ? sum : most;
    }
    while (most >> shift > UINT32_MAX)
        shift++;
    for (size_t i = 0; i < HISTOGRAM_BINS; i++)
        histogram->count[i] = (uint32_t) (((uint64_t) histogram->count[i] + batch[i]) >> shift);
    if (shift > 0)
        histogram->zeros >>= shift;
}

/* Exact zeros are sorted in with the others, as a branch for them would cost more than they do, and
 * taken out again. Two tables in turn: one alone waits for itself where neighbours are alike. */
static void count_in(struct histogram *histogram, const float *x, size_t count)
{
    uint32_t batch[2][HISTOGRAM_BINS + 1]; /* the last bin takes what is not finite */
    const float per_bin = ldexpf(1.0f, -histogram->exponent);
    const int32_t first = (int32_t) histogram->first;
    uint64_t zeros = 0;

    memset(batch, 0, sizeof batch);
    for (size_t i = 0; i < count; i++) {
        /* Exact: the width is a power of two. What is not finite ends outside of the window. */
        float at = x[i] * per_bin;

        at = at > -OUTSIDE ? at : -OUTSIDE;
        at = at < OUTSIDE ? at : OUTSIDE;
        int32_t whole = (int32_t) at;
        uint32_t bin = (uint32_t) (whole - (at < (float) whole) - first);

        batch[i & 1][bin < HISTOGRAM_BINS ? bin : HISTOGRAM_BINS]++;
        zeros += x[i] == 0;
    }
    for (size_t i = 0; i < HISTOGRAM_BINS; i++)
        batch[0][i] += batch[1][i];
    if (-histogram->first >= 0 && -histogram->first < HISTOGRAM_BINS)
        batch[0][-histogram->first] -= (uint32_t) zeros;
    merge(histogram, batch[0]);
    histogram->zeros += zeros;
}

void histogram_add(struct histogram *histogram, const float *x, size_t count)
{
    extend(histogram, x, count);
    double low = (double) histogram->minimum, high = (double) histogram->maximum;

    if (low == 0 && high == 0) {
        histogram->zeros = histogram->values;
        return;
    }
    if (!histogram->any) {
        /* So fine that the first batch fills at least half of the bins. */
        int exponent = ilogb(fmax(fabs(low), fabs(high))) - 11;

        histogram->exponent = exponent < LEAST_EXPONENT ? LEAST_EXPONENT : exponent;
        histogram->any = 1;
        histogram->first = (int64_t) index_of(histogram, low);
    }
    cover(histogram, low, high);
    for (size_t at = 0; at < count; at += BATCH)
        count_in(histogram, x + at, count - at < BATCH ? count - at : BATCH);
}
