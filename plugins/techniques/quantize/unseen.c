/* Mean and deviation of the samples' extremes, in one pass (Welford), and a prediction limit. */
#include "plugins/techniques/quantize/unseen.h"

#include <math.h>

#define ENOUGH_SAMPLES 50   /* whose maximum the next one passes in 1 of 51 cases */
#define LONE_SAMPLE    0.25 /* room, in parts of the extreme, where no deviation is known */
#define MOST_ROOM      2.0  /* times the extreme: a bit of the grid's eight, at most */

static void close_sample(struct unseen *unseen)
{
    if (!unseen->open)
        return;
    unseen->samples++;
    for (int i = 0; i < 2; i++) {
        double away = unseen->end[i] - unseen->of[i].mean;

        unseen->of[i].mean += away / (double) unseen->samples;
        unseen->of[i].squares += away * (unseen->end[i] - unseen->of[i].mean);
        if (fabs(unseen->end[i]) > fabs(unseen->of[i].extreme))
            unseen->of[i].extreme = unseen->end[i];
    }
    unseen->open = 0;
}

void unseen_add(struct unseen *unseen, uint64_t sample, double low, double high)
{
    if (unseen->open && unseen->current != sample)
        close_sample(unseen);
    if (!unseen->open) {
        unseen->open = 1;
        unseen->current = sample;
        unseen->end[0] = unseen->end[1] = 0;
    }
    unseen->end[0] = fmin(unseen->end[0], low);
    unseen->end[1] = fmax(unseen->end[1], high);
}

/* The 97.5 % point of Student's t: a series in 1/v (Abramowitz and Stegun, 26.7.5), and the exact
 * values where it converges too slowly. */
static double student(double v)
{
    const double z = 1.959964;

    if (v < 3)
        return v < 2 ? 12.7062 : 4.30265;
    return z + (pow(z, 3) + z) / (4 * v) + (5 * pow(z, 5) + 16 * pow(z, 3) + 3 * z) / (96 * v * v) +
           (3 * pow(z, 7) + 19 * pow(z, 5) + 17 * pow(z, 3) - 15 * z) / (384 * pow(v, 3));
}

/* How far beyond zero the next sample's extreme may lie. */
static double limit_of(double mean, double squares, double extreme, double samples)
{
    double seen = fabs(extreme), limit;

    if (samples < 2)
        return seen * (1 + LONE_SAMPLE);
    limit = fabs(mean) + student(samples - 1) * sqrt(squares / (samples - 1) * (1 + 1 / samples));
    return fmin(fmax(limit, seen), seen * MOST_ROOM);
}

struct range unseen_widen(const struct unseen *unseen, struct range range)
{
    struct unseen all = *unseen;
    double limit[2];

    close_sample(&all);
    if (all.samples == 0 || all.samples >= ENOUGH_SAMPLES)
        return range;
    for (int i = 0; i < 2; i++)
        limit[i] = limit_of(all.of[i].mean, all.of[i].squares, all.of[i].extreme,
                            (double) all.samples);
    /* What the estimator cut off of the samples seen stays cut off where they say all. */
    if (limit[0] > fabs(all.of[0].extreme))
        range.low = fmin(range.low, -limit[0]);
    if (limit[1] > fabs(all.of[1].extreme))
        range.high = fmax(range.high, limit[1]);
    return range;
}
