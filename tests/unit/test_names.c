/* Tests names.c, clock.c and log.c: small things that many lines rely on. */
#include "tests/testing.h"

#include "libpith/base/clock.h"
#include "libpith/base/log.h"
#include "libpith/base/names.h"

#include <errno.h>
#include <fcntl.h>

static void names_are_what_a_topic_and_a_path_can_hold(void **state)
{
    char long_name[80];

    (void) state;
    assert_true(pith_name_valid("hub-kitchen"));
    assert_true(pith_name_valid("1.2.0"));
    assert_true(pith_name_valid("a_b"));
    assert_false(pith_name_valid(""));
    assert_false(pith_name_valid("."));
    assert_false(pith_name_valid(".."));
    assert_false(pith_name_valid("-rf"));
    assert_false(pith_name_valid("a/b"));
    assert_false(pith_name_valid("a+"));
    assert_false(pith_name_valid("a#"));
    assert_false(pith_name_valid("Kitchen"));
    assert_false(pith_name_valid("k\xc3\xbc"));
    memset(long_name, 'a', sizeof long_name);
    long_name[64] = 0;
    assert_true(pith_name_valid(long_name));
    long_name[64] = 'a';
    long_name[65] = 0;
    assert_false(pith_name_valid(long_name));
}

static void what_a_terminal_obeys_is_taken_out(void **state)
{
    char text[] = "a\033[31m\tb\n\177\xc2\x9b\x63 \xc3\xbc \xc2\xb5s\xc2";

    (void) state;
    assert_string_equal(pith_disarm(text, "\n\t"), "a?[31m\tb\n???c \xc3\xbc \xc2\xb5s\xc2");
    assert_string_equal(pith_disarm(text, ""), "a?[31m?b????c \xc3\xbc \xc2\xb5s\xc2");
}

static void nearest_name_is_a_near_miss_or_none(void **state)
{
    static const char *const known[] = {"quantize", "prune", "rate_hz", "distill", NULL};

    (void) state;
    assert_string_equal(pith_nearest_name("quantise", known), "quantize");
    assert_string_equal(pith_nearest_name("prnue", known), "prune");
    assert_string_equal(pith_nearest_name("PRUNE", known), "prune");
    assert_string_equal(pith_nearest_name("rate", known), "rate_hz");
    assert_null(pith_nearest_name("cluster", known));
    assert_null(pith_nearest_name("", known));
    assert_null(pith_nearest_name("x", known));
}

static void wall_text_is_utc_with_milliseconds(void **state)
{
    char text[25];

    (void) state;
    assert_string_equal(pith_wall_text(0, text), "1970-01-01T00:00:00.000Z");
    assert_string_equal(pith_wall_text(1795459206123, text), "2026-11-23T18:40:06.123Z");
    assert_string_equal(pith_wall_text(-1, text), "1969-12-31T23:59:59.999Z");
    assert_true(pith_wall_ms() > 1700000000000);
    assert_true(pith_monotonic_ns() <= pith_monotonic_ns());
    assert_true(pith_thread_cpu_ns() > 0);
}

static void log_quote_escapes_and_never_overruns(void **state)
{
    char quoted[16], line[64];

    (void) state;
    assert_string_equal(pith_log_quote("a\"b\\c\n\x01", line, sizeof line),
                        "\"a\\\"b\\\\c\\n\\x01\"");
    assert_string_equal(pith_log_quote("aaaaaaaaaaaaaaaaaaaaaa", quoted, sizeof quoted),
                        "\"aaaaaaaaaaaaa\"");
    for (size_t bytes = 0; bytes < 10; bytes++) {
        memset(quoted, 'X', sizeof quoted);
        pith_log_quote("\n\n\n\n\n", quoted, bytes);
        assert_true(bytes == 0 || strlen(quoted) < bytes);
        assert_int_equal(quoted[bytes], 'X');
    }
}

/* What pith_log writes to stderr, into text. */
static void capture_log(char *text, size_t text_bytes, uint32_t level, const char *value)
{
    int ends[2], kept = dup(STDERR_FILENO);
    ssize_t got;

    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    pith_log(level, "model_refused", "model=%s", value);
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    got = read(ends[0], text, text_bytes - 1);
    text[got > 0 ? got : 0] = 0;
    close(ends[0]);
    close(ends[1]);
    close(kept);
}

static void log_line_is_one_line_with_its_level(void **state)
{
    char text[4096], big[8000];

    (void) state;
    unsetenv("JOURNAL_STREAM");
    capture_log(text, sizeof text, PITH_LOG_WARNING, "ad01\nerror event=forged");
    assert_string_equal(text, "warning event=model_refused model=ad01\\nerror event=forged\n");
    setenv("JOURNAL_STREAM", "8:1", 1);
    capture_log(text, sizeof text, PITH_LOG_ERROR, "ad01");
    assert_string_equal(text, "<3>event=model_refused model=ad01\n");
    capture_log(text, sizeof text, PITH_LOG_DEBUG, "ad01");
    assert_string_equal(text, "");
    pith_log_set_level(PITH_LOG_DEBUG);
    capture_log(text, sizeof text, PITH_LOG_DEBUG, "ad01");
    assert_string_equal(text, "<7>event=model_refused model=ad01\n");
    memset(big, '\n', sizeof big);
    big[sizeof big - 1] = 0;
    capture_log(text, sizeof text, PITH_LOG_ERROR, big);
    assert_int_equal(text[strlen(text) - 1], '\n');
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_what_a_topic_and_a_path_can_hold),
        cmocka_unit_test(what_a_terminal_obeys_is_taken_out),
        cmocka_unit_test(nearest_name_is_a_near_miss_or_none),
        cmocka_unit_test(wall_text_is_utc_with_milliseconds),
        cmocka_unit_test(log_quote_escapes_and_never_overruns),
        cmocka_unit_test(log_line_is_one_line_with_its_level),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
