/* The streaming histogram and the estimators, against brute force over all values. */
#include "plugins/techniques/quantize/range.h"
#include "plugins/techniques/quantize/lattice.h"
#include "plugins/techniques/quantize/unseen.h"
#include "tests/testing.h"

#include <math.h>

#define VALUES 20000

static uint64_t state;

static double uniform(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double) (state >> 11) / 9007199254740992.0;
}

static double normal(void)
{
    return sqrt(-2 * log(uniform() + 1e-300)) * cos(6.283185307179586 * uniform());
}

/* Bells, one-sided ones with zeros, far outliers, tiny and huge scales. */
static void draw(float *x, size_t count, int kind)
{
    static const double scale[] = {1, 3, 1, 1e-6, 1e20};

    state = 7 + (uint64_t) kind;
    for (size_t i = 0; i < count; i++) {
        double v = normal() * scale[kind];

        if (kind == 1)
            v = v < 0 ? 0 : v;
        if (kind == 2 && i % 997 == 0)
            v *= 60;
        x[i] = (float) v;
    }
}

static struct histogram *filled(const float *x, size_t count, size_t batch)
{
    struct histogram *histogram = malloc(sizeof *histogram);

    assert_non_null(histogram);
    histogram_init(histogram);
    for (size_t i = 0; i < count; i += batch)
        histogram_add(histogram, x + i, count - i < batch ? count - i : batch);
    return histogram;
}

static double true_error(const float *x, size_t count, struct range range)
{
    struct grid grid = grid_of_range(range, PITH_UINT8);
    double sum = 0;

    for (size_t i = 0; i < count; i++) {
        double q = fmin(fmax(nearbyint(x[i] / (double) grid.scale) + grid.zero_point, 0), 255);
        double e = x[i] - (double) grid.scale * (q - grid.zero_point);

        sum += e * e;
    }
    return sum / (double) count;
}

static void histogram_counts_every_value_in_its_bin(void **unused)
{
    float *x = malloc(VALUES * sizeof *x);

    (void) unused;
    for (int kind = 0; kind < 5; kind++) {
        draw(x, VALUES, kind);
        struct histogram *histogram = filled(x, VALUES, 64);
        double width = histogram_width(histogram);
        uint64_t expected[HISTOGRAM_BINS] = {0}, zeros = 0;

        for (size_t i = 0; i < VALUES; i++) {
            double bin = floor(x[i] / width) - (double) histogram->first;

            if (x[i] == 0) {
                zeros++;
                continue;
            }
            assert_true(bin >= 0 && bin < HISTOGRAM_BINS);
            expected[(size_t) bin]++;
        }
        assert_int_equal(zeros, histogram->zeros);
        for (size_t i = 0; i < HISTOGRAM_BINS; i++)
            assert_int_equal(expected[i], histogram->count[i]);
        free(histogram);
    }
    free(x);
}

static void histogram_grows_from_tiny_to_huge_values(void **unused)
{
    float x[] = {1e-40f, -1e-38f, 1e-20f, 0, -1, 1e10f, 3e38f, -3e38f, INFINITY, NAN};
    struct histogram *histogram = filled(x, sizeof x / sizeof *x, 1);
    uint64_t counted = 0;

    (void) unused;
    for (size_t i = 0; i < HISTOGRAM_BINS; i++)
        counted += histogram->count[i];
    assert_int_equal(counted, 7);
    assert_int_equal(histogram->zeros, 1);
    assert_int_equal(histogram->refused, 2);
    assert_true(histogram->minimum == -3e38f && histogram->maximum == 3e38f);
    free(histogram);
}

static void minmax_is_the_extremes_with_zero(void **unused)
{
    float x[] = {2, 3, 5};
    struct histogram *histogram = filled(x, 3, 3);
    struct range range = range_estimate(histogram, RANGE_MINMAX, 0);

    (void) unused;
    assert_true(range.low == 0 && range.high == 5);
    free(histogram);
    histogram = filled(x, 0, 1);
    range = range_estimate(histogram, RANGE_MSE, 0);
    assert_true(range.low == 0 && range.high == 0);
    assert_true(grid_of_range(range, PITH_INT8).scale == 1.0f);
    free(histogram);
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *) a, y = *(const float *) b;

    return x < y ? -1 : x > y;
}

static void percentile_leaves_its_share_outside(void **unused)
{
    float *x = malloc(VALUES * sizeof *x);

    (void) unused;
    for (int kind = 0; kind < 5; kind++) {
        draw(x, VALUES, kind);
        struct histogram *histogram = filled(x, VALUES, 128);
        struct range range = range_estimate(histogram, RANGE_PERCENTILE, 99.5);
        double width = histogram_width(histogram);

        qsort(x, VALUES, sizeof *x, by_size);
        /* The bin that holds the value at the share's edge is kept whole: one width of difference.
         */
        assert_true(fabs(range.high - fmax(x[VALUES - 1 - VALUES / 200], 0)) <= width);
        assert_true(fabs(range.low - fmin(x[VALUES / 200], 0)) <= width);
        free(histogram);
    }
    free(x);
}

/* Every pair of clips on the estimator's own raster, judged by all values. */
static double brute_force(const float *x, size_t count, struct range whole)
{
    double least = INFINITY;

    for (int i = 0; i < 50; i++)
        for (int j = 0; j < 50; j++) {
            struct range range = {whole.low * (1 - 0.0184 * i), whole.high * (1 - 0.0184 * j)};

            if ((i > 0 && whole.low == 0) || (j > 0 && whole.high == 0))
                continue;
            least = fmin(least, true_error(x, count, range));
        }
    return least;
}

static void mse_is_near_the_best_pair_of_clips(void **unused)
{
    size_t count = 2000;
    float *x = malloc(count * sizeof *x);

    (void) unused;
    for (int kind = 0; kind < 5; kind++) {
        draw(x, count, kind);
        struct histogram *histogram = filled(x, count, 100);
        struct range whole = range_estimate(histogram, RANGE_MINMAX, 0);
        struct range range = range_estimate(histogram, RANGE_MSE, 0);
        double best = brute_force(x, count, whole), got = true_error(x, count, range);

        /* Bin centres stand for values (a share of 1/8 level squared / 12 of the noise) and ends
         * move in turn, not in pairs; half again as much noise, 1.8 dB, would be a wrong answer. */
        assert_true(got <= best * 1.15);
        assert_true(got <= true_error(x, count, whole) * 1.02);
        free(histogram);
    }
    free(x);
}

/* A bell and one value far outside: what the levels are for is the bell. Zeros, however many, have
 * no say. */
static void entropy_cuts_a_far_value_and_ignores_zeros(void **unused)
{
    float *x = calloc(2 * VALUES, sizeof *x);
    struct range of[2];

    (void) unused;
    draw(x, VALUES, 1);
    x[17] = 60;
    for (int zeros = 0; zeros < 2; zeros++) {
        struct histogram *histogram = filled(x, zeros ? 2 * VALUES : VALUES, 500);

        of[zeros] = range_estimate(histogram, RANGE_ENTROPY, 0);
        free(histogram);
    }
    assert_true(of[0].low == 0 && of[0].high > 6 && of[0].high < 20);
    assert_true(of[1].low == of[0].low && of[1].high == of[0].high);
    free(x);
}

/* The order of the samples and how they come makes no difference but for the width. */
static void histogram_forgets_how_values_came(void **unused)
{
    float *x = malloc(VALUES * sizeof *x);

    (void) unused;
    draw(x, VALUES, 2);
    struct histogram *once = filled(x, VALUES, VALUES), *pieces = filled(x, VALUES, 7);
    uint64_t counted[2] = {once->zeros, pieces->zeros};

    for (size_t i = 0; i < HISTOGRAM_BINS; i++) {
        counted[0] += once->count[i];
        counted[1] += pieces->count[i];
    }
    assert_int_equal(counted[0], VALUES);
    assert_int_equal(counted[1], VALUES);
    assert_true(once->minimum == pieces->minimum && once->maximum == pieces->maximum);
    assert_true(fabs(once->squares - pieces->squares) <= 1e-9 * once->squares);
    assert_true(sizeof *once <= 16384);
    free(once);
    free(pieces);
    free(x);
}

static void wide_grid_is_symmetric_and_holds_the_range(void **unused)
{
    struct grid grid = grid_of_range((struct range){-1, 4}, PITH_INT16);

    (void) unused;
    assert_int_equal(grid.zero_point, 0);
    assert_true(fabsf(grid.scale - 4.0f / 32767) < 1e-9f);
}

static void grid_has_an_exact_zero(void **unused)
{
    (void) unused;
    for (int i = 0; i < 1000; i++) {
        struct range range = {-uniform() * pow(10, 6 * normal()),
                              uniform() * pow(10, 6 * normal())};
        struct grid grid = grid_of_range(range, PITH_INT8);

        assert_true(grid.scale > 0 && isfinite(grid.scale));
        assert_in_range(grid.zero_point + 128, 0, 255);
    }
    struct grid relu = grid_of_range((struct range){0, 6}, PITH_UINT8);

    assert_int_equal(relu.zero_point, 0);
    assert_true(fabsf(relu.scale - 6.0f / 255) < 1e-9f);
}

static struct unseen seen(const double *high, uint64_t count)
{
    struct unseen unseen = {0};

    for (uint64_t i = 0; i < count; i++) {
        unseen_add(&unseen, i, -1, high[i] / 2); /* two tensors of a group */
        unseen_add(&unseen, i, 0, high[i]);
    }
    return unseen;
}

/* The next sample stays inside about 39 times of 40, whether it is the 5th or the 40th. */
static void range_of_few_samples_reaches_where_the_next_one_does(void **unused)
{
    static const uint64_t counts[] = {2, 4, 10, 40};
    const int trials = 2000;

    (void) unused;
    state = 5;
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        int inside = 0, widened = 0;

        for (int t = 0; t < trials; t++) {
            double high[41], greatest = 0;

            for (uint64_t i = 0; i <= counts[k]; i++)
                high[i] = 10 + normal();
            for (uint64_t i = 0; i < counts[k]; i++)
                greatest = fmax(greatest, high[i]);
            struct unseen unseen = seen(high, counts[k]);
            struct range range = unseen_widen(&unseen, (struct range){-1, greatest});

            assert_true(range.low == -1); /* all samples had it */
            assert_true(range.high >= greatest && range.high <= 2 * greatest);
            inside += high[counts[k]] <= range.high;
            widened += range.high > greatest;
        }
        /* Two standard deviations of the share below 97.5 %: 0.7 points. */
        assert_true(inside >= 0.968 * trials);
        assert_true(counts[k] > 4 || widened > trials / 2);
    }
}

static void range_stays_where_samples_are_enough_or_agree(void **unused)
{
    double high[60];

    (void) unused;
    state = 6;
    for (int i = 0; i < 60; i++)
        high[i] = 10 + normal();
    struct unseen many = seen(high, 50), few, lone = seen(high, 1), none = {0};
    struct range range = {-0.5, 8}; /* clipped by an estimator */

    assert_true(unseen_widen(&many, range).high == 8 && unseen_widen(&many, range).low == -0.5);
    assert_true(unseen_widen(&none, range).high == 8);
    assert_true(fabs(unseen_widen(&lone, range).high - 1.25 * high[0]) < 1e-9);
    for (int i = 0; i < 5; i++)
        high[i] = 255;
    few = seen(high, 5);
    assert_true(unseen_widen(&few, range).high == 8 && unseen_widen(&few, range).low == -0.5);
    high[2] = 0.1;
    few = seen(high, 3);
    assert_true(unseen_widen(&few, range).high == 510); /* twice what was seen, at most */
}

/* What a sensor's converter gives, with `levels` of step `step` from `first` levels on. */
static void fill_lattice(struct lattice *lattice, double step, int first, int levels, int every)
{
    lattice_init(lattice);
    for (int k = first; k < first + levels; k += every) {
        float x[2] = {(float) (step * k), (float) (step * k)};

        lattice_add(lattice, x, 2);
    }
}

static void lattice_grid_holds_every_value_exactly(void **unused)
{
    static const struct {
        double step;
        int first, levels, every;
    } cases[] = {
        {1.0 / 255, 0, 256, 1},    {0.584703, -211, 250, 1}, {1.0 / 128, -127, 256, 3}, {1, 10, 100, 1},
        {1e-20, -100, 200, 1},     {3e20, -3, 9, 1},         {0.1, -255, 256, 1},       {0.25, 0, 240, 5},
    };

    (void) unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int last = cases[i].first + (cases[i].levels - 1) / cases[i].every * cases[i].every;
        double step = cases[i].step;
        struct range seen = {fmin(step * cases[i].first, 0), fmax(step * last, 0)}, range;
        struct lattice lattice;

        fill_lattice(&lattice, step, cases[i].first, cases[i].levels, cases[i].every);
        assert_true(lattice_range(&lattice, seen, &range));
        assert_true(range.low <= seen.low + 0.01 * step && range.high >= seen.high - 0.01 * step);
        for (int unsigned_one = 0; unsigned_one < 2; unsigned_one++) {
            struct grid grid = grid_of_range(range, unsigned_one ? PITH_UINT8 : PITH_INT8);

            for (size_t k = 0; k < lattice.count; k++) {
                double x = (double) lattice.value[k];
                double level = nearbyint(x / (double) grid.scale) + grid.zero_point;

                assert_true(level >= grid.least && level <= grid.greatest);
                assert_true(fabs((double) grid.scale * (level - grid.zero_point) - x) <= 1e-4 * step);
            }
        }
    }
}

static void lattice_is_none_of_other_values(void **unused)
{
    struct range seen = {-1, 1}, range;
    struct lattice lattice;
    float x[400];

    (void) unused;
    lattice_init(&lattice); /* nothing came */
    assert_false(lattice_range(&lattice, seen, &range));
    for (int i = 0; i < 100; i++) /* of no step */
        x[i] = sinf((float) i);
    lattice_add(&lattice, x, 100);
    assert_false(lattice_range(&lattice, seen, &range));
    fill_lattice(&lattice, 0.1, 0, 4, 1); /* two or three values lie on any grid */
    assert_false(lattice_range(&lattice, (struct range){0, 0.3}, &range));
    fill_lattice(&lattice, 0.001, -200, 400, 1); /* more than 8 bits hold */
    assert_false(lattice_range(&lattice, (struct range){-0.2, 0.2}, &range));
    fill_lattice(&lattice, 0.1, 0, 200, 1); /* the samples to come may reach further */
    assert_true(lattice_range(&lattice, (struct range){0, 25}, &range));
    assert_false(lattice_range(&lattice, (struct range){0, 40}, &range));
    lattice_init(&lattice); /* pixels less a mean: zero is none of them, and every grid has it */
    for (int i = 0; i < 256; i++)
        x[i] = ((float) i / 255 - 0.485f) / 0.229f;
    lattice_add(&lattice, x, 255);
    assert_false(lattice_range(&lattice, (struct range){-2.2, 2.3}, &range));
    lattice_init(&lattice);
    x[7] = NAN;
    lattice_add(&lattice, x, 10);
    assert_false(lattice_range(&lattice, seen, &range));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(histogram_counts_every_value_in_its_bin),
        cmocka_unit_test(histogram_grows_from_tiny_to_huge_values),
        cmocka_unit_test(minmax_is_the_extremes_with_zero),
        cmocka_unit_test(percentile_leaves_its_share_outside),
        cmocka_unit_test(mse_is_near_the_best_pair_of_clips),
        cmocka_unit_test(entropy_cuts_a_far_value_and_ignores_zeros),
        cmocka_unit_test(histogram_forgets_how_values_came),
        cmocka_unit_test(wide_grid_is_symmetric_and_holds_the_range),
        cmocka_unit_test(grid_has_an_exact_zero),
        cmocka_unit_test(range_of_few_samples_reaches_where_the_next_one_does),
        cmocka_unit_test(range_stays_where_samples_are_enough_or_agree),
        cmocka_unit_test(lattice_grid_holds_every_value_exactly),
        cmocka_unit_test(lattice_is_none_of_other_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
