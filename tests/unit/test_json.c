/* Tests json.c: strictness, and the words of its refusals. */
#include "tests/testing.h"

#include "libpith/base/buffer.h"
#include "libpith/base/json.h"

#include <errno.h>

static json_t *parse(const char *text)
{
    struct pith_error err = {0};
    json_t *value;

    assert_ok(pith_json_parse(&value, text, strlen(text), 1 << 20, "t", &err), &err);
    return value;
}

static void json_refuses_what_is_not_strict(void **state)
{
    static const char *const wrong[] = {
        "",
        "{",
        "{\"a\":1,}",
        "{\"a\":1,\"a\":2}",
        "[1] x",
        "[NaN]",
        "[1e999]",
        "[01]",
        "{'a':1}",
        "[\"\xff\"]",
        "[\"\\ud800\"]",
        "[\"a\nb\"]",
        "// c\n[1]",
        "[\"\\u0000\"]",
        "[12345678901234567890]",
        "true",
        "1",
        "\"s\"",
    };

    (void) state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct pith_error err = {0};
        json_t *value = NULL;

        assert_int_equal(pith_json_parse(&value, wrong[i], strlen(wrong[i]), 1000, "t", &err),
                         -EBADMSG);
        assert_null(value);
        assert_true(strncmp(err.text, "t: line ", 8) == 0);
    }
}

static void json_refuses_nul_bytes_size_and_depth(void **state)
{
    struct pith_buffer deep = {0};
    struct pith_error err = {0};
    json_t *value;

    (void) state;
    assert_int_equal(pith_json_parse(&value, "[1]\0", 4, 1000, "t", &err), -EBADMSG);
    assert_int_equal(pith_json_parse(&value, "[1,2]", 5, 4, "t", &err), -EFBIG);
    for (int i = 0; i < 10000; i++)
        pith_buffer_text(&deep, "[\n");
    assert_int_equal(pith_json_parse(&value, deep.data, deep.bytes, 1 << 20, "t", &err), -EBADMSG);
    assert_string_equal(err.text, "t: line 33: nested deeper than 32 levels");
    pith_buffer_done(&deep);
    json_decref(parse(
        "[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[\"]")); /* in text they don't count */
}

static void json_text_is_the_same_for_the_same_value(void **state)
{
    json_t *a = parse("{\"b\": 1, \"a\": [1.5, true, null]}"),
           *b = parse("{\"a\":[1.50,true,null],\"b\":1}");
    char *x = pith_json_text(a), *y = pith_json_text(b);

    (void) state;
    assert_string_equal(x, "{\"a\":[1.5,true,null],\"b\":1}");
    assert_string_equal(x, y);
    free(x);
    free(y);
    json_decref(a);
    json_decref(b);
}

static void json_members_are_typed_and_the_refusal_names_the_place(void **state)
{
    json_t *object = parse(
        "{\"s\": \"x\", \"i\": 5, \"d\": 1.5, \"t\": true, \"o\": {}, \"l\": [], \"n\": null}");
    struct pith_error err = {0};
    const char *text;
    int64_t integer;
    double number;
    bool yes;
    json_t *part;

    (void) state;
    assert_ok(pith_json_string(object, "m", "s", &text, &err), &err);
    assert_string_equal(text, "x");
    assert_int_equal(pith_json_string(object, "m", "i", &text, &err), -EBADMSG);
    assert_string_equal(err.text, "m: i: must be a string, not a whole number");
    assert_int_equal(pith_json_string(object, "m: a[2]", "z", &text, &err), -EBADMSG);
    assert_string_equal(err.text, "m: a[2].z: is missing; it must be a string");
    assert_int_equal(pith_json_string(object, "m", "n", &text, &err), -EBADMSG);
    assert_ok(pith_json_string_or(object, "m", "z", "other", &text, &err), &err);
    assert_string_equal(text, "other");
    assert_ok(pith_json_int(object, "m", "i", 0, 5, &integer, &err), &err);
    assert_int_equal(pith_json_int(object, "m", "i", 0, 4, &integer, &err), -EBADMSG);
    assert_string_equal(err.text, "m: i: 5 is not between 0 and 4");
    assert_int_equal(pith_json_int(object, "m", "d", 0, 4, &integer, &err), -EBADMSG);
    assert_ok(pith_json_int_or(object, "m", "z", 0, 4, 9, &integer, &err), &err);
    assert_int_equal(integer, 9);
    assert_ok(pith_json_number_or(object, "m", "i", 0, 9, 1, &number, &err), &err);
    assert_true(number == 5);
    assert_int_equal(pith_json_number_or(object, "m", "d", 2, 9, 1, &number, &err), -EBADMSG);
    assert_ok(pith_json_bool_or(object, "m", "t", false, &yes, &err), &err);
    assert_true(yes);
    assert_int_equal(pith_json_bool_or(object, "m", "i", false, &yes, &err), -EBADMSG);
    assert_ok(pith_json_object(object, "m", "z", false, &part, &err), &err);
    assert_null(part);
    assert_int_equal(pith_json_object(object, "m", "z", true, &part, &err), -EBADMSG);
    assert_int_equal(pith_json_object(object, "m", "l", false, &part, &err), -EBADMSG);
    assert_ok(pith_json_array(object, "m", "l", true, &part, &err), &err);
    json_decref(object);
}

static void json_only_suggests_the_nearest(void **state)
{
    static const char *const known[] = {"threshold", "hold_off_ms", NULL};
    json_t *object = parse("{\"threshhold\": 1}"), *far = parse("{\"zzz\": 1}");
    struct pith_error err = {0};

    (void) state;
    assert_int_equal(pith_json_only(object, "m: d", known, &err), -EBADMSG);
    assert_string_equal(err.text, "m: d.threshhold: is not known; did you mean \"threshold\"?");
    assert_int_equal(pith_json_only(far, "m", known, &err), -EBADMSG);
    assert_string_equal(err.text, "m: zzz: is not known here");
    json_decref(object);
    json_decref(far);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_refuses_what_is_not_strict),
        cmocka_unit_test(json_refuses_nul_bytes_size_and_depth),
        cmocka_unit_test(json_text_is_the_same_for_the_same_value),
        cmocka_unit_test(json_members_are_typed_and_the_refusal_names_the_place),
        cmocka_unit_test(json_only_suggests_the_nearest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
