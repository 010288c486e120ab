/* Tests of daemon/recents.c: which feedback agrees with which results. */
#include "daemon/recents.h"
#include "tests/testing.h"

static void add(struct recents *recents, uint64_t sequence, uint64_t row, const char *label)
{
    const struct recent recent = {sequence, row, (int64_t) row, recents_label(label)};

    recents_add(recents, &recent);
}

static void window_agrees_where_that_label_alone_fired(void **state)
{
    struct recents r = {0};
    uint64_t alexa = recents_label("alexa"), jarvis = recents_label("jarvis");

    (void) state;
    add(&r, 1, 100, "alexa");
    add(&r, 2, 200, "alexa");
    add(&r, 3, 300, NULL);
    assert_true(recents_judge_window(&r, true, 50, 0, alexa));
    assert_false(recents_judge_window(&r, true, 50, 0, jarvis));
    assert_false(recents_judge_window(&r, true, 50, 0, 0));
    assert_true(recents_judge_window(&r, true, 200, 0, 0)); /* what fired at 200 was before */
    assert_false(recents_judge_window(&r, true, 200, 0, alexa));
    add(&r, 4, 400, "jarvis");
    assert_false(recents_judge_window(&r, true, 50, 0, alexa));
    assert_false(recents_judge_window(&r, true, 50, 0, jarvis));
    assert_true(recents_judge_window(&r, true, 300, 0, jarvis));
}

static void window_goes_by_the_clock_where_there_is_no_rate(void **state)
{
    struct recents r = {0};

    (void) state;
    add(&r, 1, 1000, "open");
    assert_true(recents_judge_window(&r, false, UINT64_MAX, 900, recents_label("open")));
    assert_true(recents_judge_window(&r, false, UINT64_MAX, 1001, 0));
}

static void nothing_fired_agrees_with_none(void **state)
{
    struct recents r = {0};

    (void) state;
    assert_true(recents_judge_window(&r, true, 0, 0, 0));
    assert_false(recents_judge_window(&r, true, 0, 0, recents_label("alexa")));
}

static void one_result_is_judged_by_its_id(void **state)
{
    struct recents r = {0};
    bool correct = true;

    (void) state;
    add(&r, 7, 100, "alexa");
    add(&r, 8, 200, NULL);
    assert_true(recents_judge_one(&r, 7, recents_label("alexa"), &correct));
    assert_true(correct);
    assert_true(recents_judge_one(&r, 7, 0, &correct));
    assert_false(correct);
    assert_true(recents_judge_one(&r, 8, 0, &correct));
    assert_true(correct);
    assert_false(recents_judge_one(&r, 9, 0, &correct));
}

static void oldest_is_forgotten(void **state)
{
    struct recents r = {0};
    bool correct;

    (void) state;
    for (uint64_t i = 1; i <= RECENTS_COUNT + 1; i++)
        add(&r, i, i, "alexa");
    assert_false(recents_judge_one(&r, 1, 0, &correct));
    assert_true(recents_judge_one(&r, 2, 0, &correct));
    assert_true(recents_judge_one(&r, RECENTS_COUNT + 1, 0, &correct));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(window_agrees_where_that_label_alone_fired),
        cmocka_unit_test(window_goes_by_the_clock_where_there_is_no_rate),
        cmocka_unit_test(nothing_fired_agrees_with_none),
        cmocka_unit_test(one_result_is_judged_by_its_id),
        cmocka_unit_test(oldest_is_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
