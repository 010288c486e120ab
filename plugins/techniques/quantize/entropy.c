/* Entropy calibration. Magnitudes are gathered into at most 2048 bins, so that a clip costs one
 * pass over them, and clips are tried in even steps. */
#include "plugins/techniques/quantize/entropy.h"

#include <math.h>
#include <stdlib.h>

#define MAGNITUDES   2048
#define CLIPS        256 /* tried at most */
#define SIGNED_HALF  128 /* levels of magnitude on a signed grid */
#define UNSIGNED_ALL 256 /* and where all values have one sign */
#define ABSENT                                                                                     \
    1e-9 /* share that a merged level has at least: a value there is unlikely, not impossible */

struct magnitudes {
    double count[MAGNITUDES];
    double width; /* of a bin */
    size_t used;  /* bins up to the greatest */
};

static int64_t magnitude_of(int64_t index)
{
    return index >= 0 ? index : -(index + 1);
}

static void gather(const struct histogram *histogram, struct magnitudes *out)
{
    int64_t most = 0;
    unsigned shift = 0;

    *out = (struct magnitudes){.width = histogram_width(histogram)};
    for (size_t i = 0; i < HISTOGRAM_BINS; i++) {
        int64_t at = magnitude_of(histogram->first + (int64_t) i);

        if (histogram->count[i] > 0 && at > most)
            most = at;
    }
    for (; most >> shift >= MAGNITUDES; shift++)
        out->width *= 2;
    for (size_t i = 0; i < HISTOGRAM_BINS; i++)
        if (histogram->count[i] > 0)
            out->count[magnitude_of(histogram->first + (int64_t) i) >> shift] +=
                histogram->count[i];
    out->used = (size_t) (most >> shift) + 1;
}

/* Divergence of the first `clip` bins, merged into `levels` and spread over those that are not
 * empty, from the same with what lies above added to the last. */
static double divergence(const struct magnitudes *of, size_t clip, size_t levels, double total)
{
    double kept = 0, sum = 0;

    for (size_t i = 0; i < clip; i++)
        kept += of->count[i];
    if (kept <= 0)
        return HUGE_VAL;
    for (size_t level = 0; level < levels; level++) {
        size_t from = level * clip / levels, to = (level + 1) * clip / levels;
        double inside = 0, filled = 0;

        for (size_t i = from; i < to; i++) {
            inside += of->count[i];
            filled += of->count[i] > 0;
        }
        double q = filled > 0 ? fmax(inside / filled / kept, ABSENT) : ABSENT;

        for (size_t i = from; i < to; i++) {
            double p = (of->count[i] + (i + 1 == clip ? total - kept : 0)) / total;

            if (p > 0)
                sum += p * log(p / (of->count[i] > 0 ? q : ABSENT));
        }
    }
    return sum;
}

struct range range_by_entropy(const struct histogram *histogram)
{
    bool one_sign = histogram->minimum >= 0 || histogram->maximum <= 0;
    size_t levels = one_sign ? UNSIGNED_ALL : SIGNED_HALF;
    struct range range = {.low = fmin(histogram->minimum, 0), .high = fmax(histogram->maximum, 0)};
    double total = 0, least = HUGE_VAL;
    struct magnitudes of;

    gather(histogram, &of);
    size_t best = of.used, step = of.used / CLIPS + 1;

    for (size_t i = 0; i < of.used; i++)
        total += of.count[i];
    /* From the whole range down, so that among equals the widest is taken. */
    for (size_t cut = 0; of.used > levels && cut <= of.used - levels; cut += step) {
        double found = divergence(&of, of.used - cut, levels, total);

        if (found < least) {
            least = found;
            best = of.used - cut;
        }
    }
    if (best < of.used) {
        range.low = fmax(range.low, -(double) best * of.width);
        range.high = fmin(range.high, (double) best * of.width);
    }
    return range;
}
