/* Range estimators: all answers come from one histogram, so they can be reported side by side. */
#include "plugins/techniques/quantize/range.h"

#include "plugins/techniques/quantize/entropy.h"

#include <math.h>

#define MSE_STEPS     100    /* clips tried an end */
#define MSE_STEP      0.0092 /* the last one keeps 1 - 99 * 0.0092 = 9 % of the extreme */
#define MSE_ROUNDS    3      /* ends in turn, until neither moves */
#define SQNR_LIMIT_DB 200    /* "no noise", finite so that it can be a JSON number */

const char *const range_method_names[] = {"minmax", "percentile", "mse", "entropy", NULL};

double sqnr_db(double signal, double noise)
{
    double db;

    if (noise <= 0 || signal <= 0)
        return SQNR_LIMIT_DB;
    db = 10 * log10(signal / noise);
    return db > SQNR_LIMIT_DB ? SQNR_LIMIT_DB : db;
}

static struct range with_zero(double low, double high)
{
    return (struct range){.low = fmin(low, 0), .high = fmax(high, 0)};
}

struct grid grid_of_range(struct range range, int32_t dtype)
{
    bool wide = dtype == PITH_INT16;
    int32_t least = dtype == PITH_UINT8 ? 0 : wide ? INT16_MIN : INT8_MIN;
    struct grid grid = {.scale = 1,
                        .zero_point = wide ? 0 : least,
                        .least = least,
                        .greatest = wide ? INT16_MAX : least + 255};
    double scale = wide ? fmax(range.high, -range.low) / INT16_MAX : (range.high - range.low) / 255;

    /* A scale that is no normal float would not survive the file; such a tensor is as good as all
     * zero. */
    if (!(scale >= 1e-37) || !isfinite((float) scale))
        return grid;
    grid.scale = (float) scale;
    if (!wide) {
        double zero = nearbyint(-range.low / (double) grid.scale);

        grid.zero_point = least + (int32_t) fmin(fmax(zero, 0), 255);
    }
    return grid;
}

/* Adding and taking away 1.5 * 2^52 rounds to even, which is nearbyint where it is not one
 * instruction; x is limited first. */
static inline double error_on(const struct grid *grid, double inverse, double x)
{
    double q = x * inverse + grid->zero_point;

    q = fmin(fmax(q, grid->least), grid->greatest);
    q = (q + 6755399441055744.0) - 6755399441055744.0;
    return x - (double) grid->scale * (q - grid->zero_point);
}

/* Mean squared error of the histogram's values on the 8-bit grid of the range. */
static double range_error(const struct histogram *histogram, struct range range)
{
    struct grid grid = grid_of_range(range, PITH_UINT8);
    double inverse = 1 / (double) grid.scale;
    double sum = 0, count = (double) histogram->zeros;

    for (size_t i = 0; i < HISTOGRAM_BINS; i++) {
        if (histogram->count[i] == 0)
            continue;
        double e = error_on(&grid, inverse, histogram_centre(histogram, i));

        sum += e * e * histogram->count[i];
        count += histogram->count[i];
    }
    return count > 0 ? sum / count : 0;
}

double range_sqnr_db(const struct histogram *histogram, struct range range)
{
    if (histogram->values == 0)
        return SQNR_LIMIT_DB;
    return sqnr_db(histogram->squares / (double) histogram->values, range_error(histogram, range));
}

/* Leaves (100 - percentile) % of the values outside on each side. Zeros count: they are values too.
 */
static struct range by_percentile(const struct histogram *histogram, double percentile)
{
    double total = (double) histogram->zeros, below = 0, above = 0;
    double low = histogram->minimum, high = histogram->maximum;
    double width = histogram_width(histogram);

    for (size_t i = 0; i < HISTOGRAM_BINS; i++)
        total += histogram->count[i];
    double outside = total * (100 - percentile) / 100;

    for (size_t i = 0; i < HISTOGRAM_BINS; i++) {
        double edge = (double) (histogram->first + (int64_t) i) * width;

        if (edge >= 0) /* zero is inside in any case */
            break;
        if (below + histogram->count[i] > outside) {
            low = fmax(low, edge);
            break;
        }
        below += histogram->count[i];
        low = fmax(low, edge + width);
    }
    for (size_t i = HISTOGRAM_BINS; i-- > 0;) {
        double edge = (double) (histogram->first + (int64_t) i + 1) * width;

        if (edge <= 0)
            break;
        if (above + histogram->count[i] > outside) {
            high = fmin(high, edge);
            break;
        }
        above += histogram->count[i];
        high = fmin(high, edge - width);
    }
    return with_zero(low, high);
}

/* The clip of one end that errs least, with the other end where it is. */
static double best_end(const struct histogram *histogram, struct range range, int upper,
                       double extreme, double *least)
{
    double best = upper ? range.high : range.low;

    for (int k = 0; k < MSE_STEPS; k++) {
        double end = extreme * (1 - MSE_STEP * k);
        struct range tried = {.low = upper ? range.low : end, .high = upper ? end : range.high};
        double error = range_error(histogram, tried);

        if (error < *least) {
            *least = error;
            best = end;
        }
    }
    return best;
}

static struct range by_mse(const struct histogram *histogram)
{
    struct range whole = with_zero(histogram->minimum, histogram->maximum);
    struct range range = whole;
    double least = range_error(histogram, range);

    for (int round = 0; round < MSE_ROUNDS; round++) {
        struct range before = range;

        if (whole.high > 0)
            range.high = best_end(histogram, range, 1, whole.high, &least);
        if (whole.low < 0)
            range.low = best_end(histogram, range, 0, whole.low, &least);
        if (range.low == before.low && range.high == before.high)
            break;
    }
    return range;
}

struct range range_estimate(const struct histogram *histogram, enum range_method method,
                            double percentile)
{
    if (histogram->any && method == RANGE_PERCENTILE)
        return by_percentile(histogram, percentile);
    if (histogram->any && method == RANGE_MSE)
        return by_mse(histogram);
    if (histogram->any && method == RANGE_ENTROPY)
        return range_by_entropy(histogram);
    return with_zero(histogram->minimum, histogram->maximum);
}
