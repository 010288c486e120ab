/* Tests of daemon/recents.c: which feedback agrees with which results. */
#include "daemon/recents.h"
#include "tests/testing.h"

static void add(struct recents *recents, uint64_t sequence, uint64_t row, const char *label)
{
    const struct recent recent = {
        .sequence = sequence, .row = row, .at_ns = row, .label = recents_label(label)};

    recents_add(recents, &recent);
}

static bool window(const struct recents *recents, bool by_row, uint64_t from_row, uint64_t from_ns,
                   uint64_t label)
{
    struct judgement judgement = {0};

    assert_true(recents_judge_window(recents, by_row, from_row, from_ns, label, &judgement));
    return judgement.correct;
}

static void window_agrees_where_that_label_alone_fired(void **state)
{
    struct recents r = {0};
    uint64_t alexa = recents_label("alexa"), jarvis = recents_label("jarvis");

    (void) state;
    recents_begin_run(&r, "1", "original", true);
    add(&r, 1, 100, "alexa");
    add(&r, 2, 200, "alexa");
    add(&r, 3, 300, NULL);
    assert_true(window(&r, true, 50, 0, alexa));
    assert_false(window(&r, true, 50, 0, jarvis));
    assert_false(window(&r, true, 50, 0, 0));
    assert_true(window(&r, true, 200, 0, 0)); /* what fired at 200 was before */
    assert_false(window(&r, true, 200, 0, alexa));
    add(&r, 4, 400, "jarvis");
    assert_false(window(&r, true, 50, 0, alexa));
    assert_false(window(&r, true, 50, 0, jarvis));
    assert_true(window(&r, true, 300, 0, jarvis));
}

static void window_goes_by_the_clock_where_there_is_no_rate(void **state)
{
    struct recents r = {0};

    (void) state;
    recents_begin_run(&r, "1", "original", true);
    add(&r, 1, 1000, "open");
    assert_true(window(&r, false, UINT64_MAX, 900, recents_label("open")));
    assert_true(window(&r, false, UINT64_MAX, 1001, 0));
}

static void nothing_fired_agrees_with_none(void **state)
{
    struct recents r = {0};

    (void) state;
    recents_begin_run(&r, "1", "original", true);
    assert_true(window(&r, true, 0, 0, 0));
    assert_false(window(&r, true, 0, 0, recents_label("alexa")));
}

static void one_result_is_judged_by_its_id(void **state)
{
    struct recents r = {0};
    struct judgement judged;

    (void) state;
    recents_begin_run(&r, "1", "original", true);
    add(&r, 7, 100, "alexa");
    add(&r, 8, 200, NULL);
    assert_true(recents_judge_one(&r, 7, recents_label("alexa"), &judged));
    assert_true(judged.correct);
    assert_true(recents_judge_one(&r, 7, 0, &judged));
    assert_false(judged.correct);
    assert_true(recents_judge_one(&r, 8, 0, &judged));
    assert_true(judged.correct);
    assert_false(recents_judge_one(&r, 9, 0, &judged));
}

static void oldest_is_forgotten(void **state)
{
    struct recents r = {0};
    struct judgement judged;

    (void) state;
    recents_begin_run(&r, "1", "original", true);
    for (uint64_t i = 1; i <= RECENTS_COUNT + 1; i++)
        add(&r, i, i, "alexa");
    assert_false(recents_judge_one(&r, 1, 0, &judged));
    assert_true(recents_judge_one(&r, 2, 0, &judged));
    assert_true(recents_judge_one(&r, RECENTS_COUNT + 1, 0, &judged));
}

static void feedback_is_about_the_version_that_gave_the_result(void **state)
{
    struct recents r = {0};
    struct judgement judged;
    uint64_t alexa = recents_label("alexa");

    (void) state;
    recents_begin_run(&r, "1", "original", true);
    add(&r, 1, 100, "alexa");
    recents_begin_run(&r, "1", "int8", true);
    assert_true(recents_judge_one(&r, 1, alexa, &judged));
    assert_string_equal(judged.run->variant, "original");
    assert_true(recents_judge_window(&r, true, 50, 0, alexa, &judged)); /* fired before the swap */
    assert_string_equal(judged.run->variant, "original");
    assert_true(recents_judge_window(&r, true, 100, 0, alexa, &judged)); /* nothing fired since */
    assert_string_equal(judged.run->variant, "int8");
    add(&r, 2, 200, "alexa");
    assert_true(recents_judge_one(&r, 2, alexa, &judged));
    assert_string_equal(judged.run->variant, "int8");
    assert_true(recents_judge_window(&r, true, 50, 0, alexa, &judged));
    assert_string_equal(judged.run->variant, "int8");
}

static void results_before_a_change_of_stages_are_known_by_id_alone(void **state)
{
    struct recents r = {0};
    struct judgement judged;
    uint64_t alexa = recents_label("alexa");

    (void) state;
    recents_begin_run(&r, "1", "original", true);
    add(&r, 1, 5000, "alexa");
    recents_begin_run(&r, "2", "original", false); /* its rows begin at 0 */
    assert_true(recents_judge_one(&r, 1, alexa, &judged));
    assert_string_equal(judged.run->version, "1");
    assert_true(window(&r, true, 0, 0, 0));
}

static void a_version_long_gone_is_not_credited_to_another(void **state)
{
    struct recents r = {0};
    struct judgement judged;

    (void) state;
    assert_false(recents_judge_window(&r, true, 0, 0, 0, &judged)); /* nothing has run */
    recents_begin_run(&r, "0", "original", true);
    add(&r, 1, 100, "alexa");
    for (int i = 1; i <= RECENTS_RUNS; i++)
        recents_begin_run(&r, "later", "original", true);
    assert_false(recents_judge_one(&r, 1, recents_label("alexa"), &judged));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(window_agrees_where_that_label_alone_fired),
        cmocka_unit_test(window_goes_by_the_clock_where_there_is_no_rate),
        cmocka_unit_test(nothing_fired_agrees_with_none),
        cmocka_unit_test(one_result_is_judged_by_its_id),
        cmocka_unit_test(oldest_is_forgotten),
        cmocka_unit_test(feedback_is_about_the_version_that_gave_the_result),
        cmocka_unit_test(results_before_a_change_of_stages_are_known_by_id_alone),
        cmocka_unit_test(a_version_long_gone_is_not_credited_to_another),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
