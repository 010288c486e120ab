/* Tests of daemon/histogram.c. */
#include "daemon/histogram.h"
#include "tests/testing.h"

#include <errno.h>
#include <math.h>

static void quantile_is_right_to_three_percent(void **state)
{
    struct histogram h = {0};

    (void) state;
    for (uint64_t us = 1; us < HISTOGRAM_MAX_US; us = us * 5 / 4 + 1) {
        memset(&h, 0, sizeof h);
        histogram_add(&h, us, 1);
        assert_true(fabs((double) histogram_quantile_us(&h, 0.5) - (double) us) <=
                    0.032 * (double) us);
    }
}

static void quantiles_stand_where_they_should(void **state)
{
    struct histogram h = {0};

    (void) state;
    assert_int_equal(histogram_quantile_us(&h, 0.5), 0);
    for (uint32_t i = 1; i <= 1000; i++)
        histogram_add(&h, 10 * i, 1);
    assert_true(fabs((double) histogram_quantile_us(&h, 0.5) - 5000) < 160);
    assert_true(fabs((double) histogram_quantile_us(&h, 0.9) - 9000) < 290);
    assert_true(fabs((double) histogram_quantile_us(&h, 0.99) - 9900) < 320);
    assert_true(fabs((double) histogram_quantile_us(&h, 1) - 10000) < 320);
}

static void what_is_too_long_counts_as_the_longest(void **state)
{
    struct histogram h = {0};

    (void) state;
    histogram_add(&h, UINT64_MAX, 1);
    histogram_add(&h, HISTOGRAM_MAX_US, 1);
    histogram_add(&h, 0, 1);
    assert_int_equal(h.total, 3);
    assert_int_equal(h.count[HISTOGRAM_BUCKETS - 1], 2);
    assert_int_equal(h.count[0], 1);
}

static void json_names_the_buckets_that_hold_something(void **state)
{
    struct histogram h = {0};
    struct pith_buffer text = {0};

    (void) state;
    histogram_json(&h, &text);
    assert_string_equal((char *) text.data, "{}");
    pith_buffer_done(&text);
    histogram_add(&h, 3, 2);
    histogram_add(&h, 1000, 7);
    histogram_json(&h, &text);
    assert_string_equal((char *) text.data, "{\"3\":2,\"1008\":7}");
    pith_buffer_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantile_is_right_to_three_percent),
        cmocka_unit_test(quantiles_stand_where_they_should),
        cmocka_unit_test(what_is_too_long_counts_as_the_longest),
        cmocka_unit_test(json_names_the_buckets_that_hold_something),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
