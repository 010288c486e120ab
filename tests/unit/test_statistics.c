/* Intervals and tests against published and exactly computed values. */
#include "libpith/compress/statistics.h"

#include "libpith/compress/evaluate.h"
#include "tests/testing.h"

#include <math.h>

static void wilson_gives_published_intervals(void **unused)
{
    static const struct {
        uint64_t hits, count;
        double low, high;
    } known[] = {
        {81, 263, 0.2553, 0.3662}, /* Newcombe 1998, table I */
        {15, 148, 0.0624, 0.1605}, {0, 20, 0.0000, 0.1611},
        {1, 29, 0.0061, 0.1718},   {29, 29, 1 - 0.1170, 1.0}, /* z^2 / (n + z^2) = 0.1170 */
    };

    (void) unused;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        double low, high;

        pith_wilson(known[i].hits, known[i].count, &low, &high);
        assert_true(fabs(low - known[i].low) < 6e-5);
        assert_true(fabs(high - known[i].high) < 6e-5);
    }
}

static void wilson_of_nothing_is_everything(void **unused)
{
    double low, high;

    (void) unused;
    pith_wilson(0, 0, &low, &high);
    assert_true(low == 0 && high == 1);
}

static void mcnemar_is_the_exact_binomial(void **unused)
{
    (void) unused;
    assert_true(pith_mcnemar(0, 0) == 1);
    assert_true(fabs(pith_mcnemar(5, 5) - 1) < 1e-12);
    assert_true(fabs(pith_mcnemar(0, 5) - 2.0 / 32) < 1e-12);
    assert_true(fabs(pith_mcnemar(5, 0) - 2.0 / 32) < 1e-12);
    assert_true(fabs(pith_mcnemar(2, 8) - 2.0 * (1 + 10 + 45) / 1024) < 1e-12);
    assert_true(fabs(pith_mcnemar(1, 11) - 2.0 * 13 / 4096) < 1e-12);
}

static void mcnemar_of_many_is_near_the_exact_one(void **unused)
{
    double exact = pith_mcnemar(4900, 5100), normal = pith_mcnemar(4901, 5101);

    (void) unused;
    assert_true(fabs(exact - normal) < 1e-3);
}

/* Six that all fall one way: 2 / 64. Five: 2 / 32. */
static void counts_differ_surely_from_six_on(void **unused)
{
    (void) unused;
    assert_int_equal(pith_surely_more(20, 20), 0);
    assert_int_equal(pith_surely_more(20, 25), 0);
    assert_int_equal(pith_surely_more(25, 20), 0);
    assert_int_equal(pith_surely_more(20, 26), -1);
    assert_int_equal(pith_surely_more(UINT64_MAX, 0), 1);
}

static void errors_decide_where_decisions_are_chance(void **unused)
{
    struct pith_comparison far = {.samples = 24, .seen = 24, .same = 24, .error_ratio = 0.24},
                           near = {.samples = 24, .seen = 24, .same = 23, .error_ratio = 0.13};

    (void) unused;
    assert_true(pith_comparison_is_nearer(&near, &far));
    assert_false(pith_comparison_is_nearer(&far, &near));
    near.same = 18;
    assert_true(pith_comparison_is_nearer(&far, &near));
    assert_false(pith_comparison_is_nearer(&near, &far));
    near.same = 23; /* of one that broke off, or gives no scores, decisions are all there is */
    near.seen = 23;
    assert_true(pith_comparison_is_nearer(&far, &near));
    near.seen = 24;
    near.error_ratio = NAN;
    assert_true(pith_comparison_is_nearer(&far, &near));
    assert_false(pith_comparison_is_nearer(&near, &far));
}

static void quantile_is_the_nearest_rank(void **unused)
{
    uint64_t values[] = {50, 15, 40, 20, 35};

    (void) unused;
    assert_true(pith_quantile(values, 5, 0.05) == 15);
    assert_true(pith_quantile(values, 5, 0.30) == 20);
    assert_true(pith_quantile(values, 5, 0.5) == 35);
    assert_true(pith_quantile(values, 5, 1.0) == 50);
    assert_true(pith_quantile(values, 5, 0) == 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wilson_gives_published_intervals),
        cmocka_unit_test(wilson_of_nothing_is_everything),
        cmocka_unit_test(mcnemar_is_the_exact_binomial),
        cmocka_unit_test(mcnemar_of_many_is_near_the_exact_one),
        cmocka_unit_test(counts_differ_surely_from_six_on),
        cmocka_unit_test(errors_decide_where_decisions_are_chance),
        cmocka_unit_test(quantile_is_the_nearest_rank),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
