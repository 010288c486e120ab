/* Tests buffer.c: growing, base64 and hex, strict both ways. */
#include "tests/testing.h"

#include "libpith/base/buffer.h"

#include <errno.h>

static void buffer_grows_and_stays_a_string(void **state)
{
    struct pith_buffer buffer = {0};

    (void) state;
    for (int i = 0; i < 10000; i++)
        pith_buffer_printf(&buffer, "%d,", i % 10);
    assert_false(buffer.failed);
    assert_int_equal(buffer.bytes, 20000);
    assert_int_equal(strlen((char *) buffer.data), 20000);
    pith_buffer_done(&buffer);
    assert_null(buffer.data);
    pith_buffer_done(NULL);
}

static void buffer_remembers_that_memory_ran_out(void **state)
{
    struct pith_buffer buffer = {0};

    (void) state;
    pith_buffer_text(&buffer, "before");
    assert_int_equal(pith_buffer_reserve(&buffer, SIZE_MAX - 2), -ENOMEM);
    assert_true(buffer.failed);
    pith_buffer_text(&buffer, "after");
    assert_string_equal((char *) buffer.data, "before");
    pith_buffer_done(&buffer);
}

static void base64_follows_the_rfc(void **state)
{
    static const char *const pairs[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };

    (void) state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct pith_buffer text = {0}, back = {0};

        assert_int_equal(pith_base64_encode(&text, pairs[i][0], strlen(pairs[i][0])), 0);
        assert_string_equal((char *) text.data, pairs[i][1]);
        assert_int_equal(pith_base64_decode(&back, pairs[i][1], strlen(pairs[i][1])), 0);
        assert_string_equal((char *) back.data, pairs[i][0]);
        pith_buffer_done(&text);
        pith_buffer_done(&back);
    }
}

static void base64_gives_back_every_byte(void **state)
{
    uint8_t bytes[257];
    struct pith_buffer text = {0}, back = {0};

    (void) state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t) (i * 7);
    assert_int_equal(pith_base64_encode(&text, bytes, sizeof bytes), 0);
    assert_int_equal(pith_base64_decode(&back, (char *) text.data, text.bytes), 0);
    assert_int_equal(back.bytes, sizeof bytes);
    assert_memory_equal(back.data, bytes, sizeof bytes);
    pith_buffer_done(&text);
    pith_buffer_done(&back);
}

static void base64_refuses_all_but_the_one_form(void **state)
{
    static const char *const wrong[] = {
        "Z",     "Zg",   "Zg=",  "Zh==",  "Zm9=", "Zg==Zg==", "Zm 9",
        "Zm9\n", "====", "Z===", "Zm9v=", "Zm-_", "Zg=a"};

    (void) state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct pith_buffer back = {0};

        pith_buffer_text(&back, "kept");
        assert_int_equal(pith_base64_decode(&back, wrong[i], strlen(wrong[i])), -EBADMSG);
        assert_string_equal((char *) back.data, "kept");
        pith_buffer_done(&back);
    }
}

static void hex_is_lower_case_only(void **state)
{
    static const uint8_t bytes[] = {0x00, 0xff, 0x7f};
    char text[7];

    (void) state;
    pith_hex_encode(text, bytes, 3);
    assert_string_equal(text, "00ff7f");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffer_grows_and_stays_a_string),
        cmocka_unit_test(buffer_remembers_that_memory_ran_out),
        cmocka_unit_test(base64_follows_the_rfc),
        cmocka_unit_test(base64_gives_back_every_byte),
        cmocka_unit_test(base64_refuses_all_but_the_one_form),
        cmocka_unit_test(hex_is_lower_case_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
