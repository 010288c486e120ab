/* Distinct values as long as there are few; their step is the least distance between two, and all are multiples of it. */
#include "plugins/techniques/quantize/lattice.h"

#include <math.h>
#include <string.h>

#define LEAST_VALUES 8    /* fewer lie on some grid or other by chance */
#define NEAR         0.02 /* of a step, while the step is not known better than two values tell */
#define EXACT        1e-3 /* of a step: what float32 makes of products and sums of integers is far nearer */
#define LEVELS       255  /* steps between the ends of an 8-bit grid */

void lattice_init(struct lattice *lattice)
{
    *lattice = (struct lattice){.count = 1};
}

/* Where x is, or would be. */
static size_t place_of(const struct lattice *lattice, float x)
{
    size_t low = 0, high = lattice->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (lattice->value[middle] < x)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void lattice_add(struct lattice *lattice, const float *x, size_t count)
{
    float last = 0;

    for (size_t i = 0; i < count && !lattice->lost; i++) {
        if (x[i] == last) /* neighbours are often alike */
            continue;
        last = x[i];
        size_t at = place_of(lattice, last);

        if (at < lattice->count && lattice->value[at] == last)
            continue;
        lattice->lost = lattice->count == LATTICE_VALUES || !isfinite(last);
        if (lattice->lost)
            return;
        memmove(lattice->value + at + 1, lattice->value + at, (lattice->count - at) * sizeof *lattice->value);
        lattice->value[at] = last;
        lattice->count++;
    }
}

static double least_distance(const struct lattice *lattice)
{
    double least = HUGE_VAL;

    for (size_t i = 1; i < lattice->count; i++) {
        double distance = (double) lattice->value[i] - (double) lattice->value[i - 1];

        if (distance < least) /* gcc 12 breaks down over fmin here, for arm64 */
            least = distance;
    }
    return least;
}

static int are_multiples(const struct lattice *lattice, double step, double tolerance)
{
    for (size_t i = 0; i < lattice->count; i++) {
        double x = (double) lattice->value[i] / step;

        if (!(fabs(x) < LEVELS + 0.5) || !(fabs(x - nearbyint(x)) <= tolerance))
            return 0;
    }
    return 1;
}

/* The step that suits all multiples best, by least squares. */
static double fit_step(const struct lattice *lattice, double step)
{
    double products = 0, squares = 0;

    for (size_t i = 0; i < lattice->count; i++) {
        double k = nearbyint((double) lattice->value[i] / step);

        products += k * (double) lattice->value[i];
        squares += k * k;
    }
    return products / squares;
}

int lattice_range(const struct lattice *lattice, struct range wanted, struct range *out)
{
    if (lattice->lost || lattice->count < LEAST_VALUES)
        return 0;
    double step = least_distance(lattice);

    if (!are_multiples(lattice, step, NEAR))
        return 0;
    step = fit_step(lattice, step);
    if (!are_multiples(lattice, step, EXACT))
        return 0;
    double low = floor(wanted.low / step + EXACT), high = ceil(wanted.high / step - EXACT);
    double spare = LEVELS - (high - low);

    if (spare < 0)
        return 0;
    /* Levels that nothing came for may be wanted by what is to come, on either side; none where all came from 0 up. */
    if (low < 0)
        low -= floor(spare / 2);
    *out = (struct range){low * step, (low + LEVELS) * step};
    return 1;
}
