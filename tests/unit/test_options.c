/* Tests options.c: what users write against a plugin's table, in YAML and in JSON. */
#include "tests/testing.h"

#include "libpith/base/json.h"
#include "libpith/plugin/plugins.h"

#include <errno.h>

static const char *const formats[] = {"s16le", "f32le", NULL};
static const struct pith_option table[] = {
    {"format", PITH_OPTION_CHOICE, 0, 0, "f32le", formats, "of a sample"},
    {"rate_hz", PITH_OPTION_INT, 1, 1e6, NULL, NULL, "samples a second"},
    {"gain", PITH_OPTION_FLOAT, 0, 10, "1.5", NULL, "factor"},
    {"loud", PITH_OPTION_BOOL, 0, 0, "false", NULL, "or not"},
    {"topic", PITH_OPTION_STRING, 0, 0, "~", NULL, "left out: none"},
    {"fields", PITH_OPTION_STRINGS, 0, 0, "[a, b c]", NULL, "paths"},
    {"offset", PITH_OPTION_INT, 0, 0, "-7", NULL, "any"},
    {0},
};
enum { FORMAT, RATE, GAIN, LOUD, TOPIC, FIELDS, OFFSET };

static void options_fill_in_defaults(void **state)
{
    json_t *json = json_pack("{si}", "rate_hz", 16000);
    struct pith_options options;
    struct pith_error err = {0};

    (void) state;
    assert_ok(pith_options_from_json(&options, table, json, "codec pcm", &err), &err);
    assert_int_equal(options.values[FORMAT].integer, 1);
    assert_string_equal(options.values[FORMAT].text, "f32le");
    assert_false(options.values[FORMAT].given);
    assert_int_equal(options.values[RATE].integer, 16000);
    assert_true(options.values[RATE].number == 16000 && options.values[RATE].given);
    assert_true(options.values[GAIN].number == 1.5);
    assert_int_equal(options.values[LOUD].integer, 0);
    assert_null(options.values[TOPIC].text);
    assert_int_equal(options.values[FIELDS].text_count, 2);
    assert_string_equal(options.values[FIELDS].texts[1], "b c");
    assert_int_equal(options.values[OFFSET].integer, -7);
    pith_options_done(&options);
    pith_options_done(NULL);
    json_decref(json);
}

static void options_are_read_from_yaml(void **state)
{
    static const char text[] =
        "{format: s16le, rate_hz: 8000, gain: 2, loud: true, topic: a/b, fields: [x], offset: ~}";
    struct pith_options options;
    struct pith_error err = {0};
    struct pith_yaml *yaml;

    (void) state;
    assert_ok(pith_yaml_parse(&yaml, "p.yaml", text, strlen(text), &err), &err);
    assert_ok(pith_options_from_yaml(&options, table, yaml, pith_yaml_root(yaml), &err), &err);
    pith_yaml_free(yaml); /* values are copies */
    assert_int_equal(options.values[FORMAT].integer, 0);
    assert_true(options.values[GAIN].number == 2);
    assert_int_equal(options.values[LOUD].integer, 1);
    assert_string_equal(options.values[TOPIC].text, "a/b");
    assert_string_equal(options.values[FIELDS].texts[0], "x");
    assert_int_equal(options.values[OFFSET].integer, -7);
    assert_false(options.values[OFFSET].given);
    pith_options_done(&options);
}

static void options_tell_all_faults_in_yaml(void **state)
{
    static const char text[] =
        "format: s16\ngain: 11\nloud: 1\nfields: x\nrate: 3\noffset: 1.5\ntopic: [a]\n";
    struct pith_options options;
    struct pith_error err = {0};
    struct pith_yaml *yaml;

    (void) state;
    assert_ok(pith_yaml_parse(&yaml, "p.yaml", text, strlen(text), &err), &err);
    assert_int_equal(pith_options_from_yaml(&options, table, yaml, pith_yaml_root(yaml), &err),
                     -EINVAL);
    assert_string_equal(pith_yaml_faults(yaml),
                        "p.yaml:1:1: rate_hz: must be given: samples a second\n"
                        "p.yaml:1:9: format: s16 is not right; it must be one of s16le, f32le\n"
                        "p.yaml:2:7: gain: 11 is not right; it must be a number between 0 and 10\n"
                        "p.yaml:3:7: loud: 1 is not right; it must be true or false\n"
                        "p.yaml:4:9: fields: this is not right; it must be a list of strings\n"
                        "p.yaml:5:1: \"rate\" is not known here; did you mean \"rate_hz\"?\n"
                        "p.yaml:6:9: offset: 1.5 is not right; it must be a whole number\n"
                        "p.yaml:7:8: topic: a list is not right; it must be a string");
    pith_yaml_free(yaml);
}

static void options_refuse_in_json_with_the_place(void **state)
{
    static const struct {
        const char *text, *sentence;
    } cases[] = {
        {"{}", "steps[0].x: rate_hz: must be given: samples a second"},
        {"{\"rate_hz\": 0}",
         "steps[0].x: rate_hz: 0 is not right; it must be a whole number between 1 and 1000000"},
        {"{\"rate_hz\": 1.5}",
         "steps[0].x: rate_hz: 1.5 is not right; it must be a whole number between 1 and 1000000"},
        {"{\"rate_hz\": \"1\"}", "steps[0].x: rate_hz: \"1\" is not right; it must be a whole "
                                 "number between 1 and 1000000"},
        {"{\"rate_hz\": 1, \"loud\": 1}",
         "steps[0].x: loud: 1 is not right; it must be true or false"},
        {"{\"rate_hz\": 1, \"format\": \"u8\"}",
         "steps[0].x: format: u8 is not right; it must be one of s16le, f32le"},
        {"{\"rate_hz\": 1, \"fields\": [1]}", "steps[0].x: fields: something else in the list is "
                                              "not right; it must be a list of strings"},
        {"{\"rate_hz\": 1, \"fromat\": \"u8\"}",
         "steps[0].x: fromat: is not known; did you mean \"format\"?"},
        {"[]", "steps[0].x: must be an object of options"},
    };

    (void) state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pith_options options;
        struct pith_error err = {0};
        json_t *json = NULL;

        assert_ok(pith_json_parse(&json, cases[i].text, strlen(cases[i].text), 1000, "t", &err),
                  &err);
        assert_int_equal(pith_options_from_json(&options, table, json, "steps[0].x", &err),
                         -EINVAL);
        assert_string_equal(err.text, cases[i].sentence);
        json_decref(json);
    }
}

static void options_of_no_table_are_none(void **state)
{
    json_t *json = json_pack("{si}", "x", 1);
    struct pith_options options;
    struct pith_error err = {0};

    (void) state;
    assert_ok(pith_options_from_json(&options, NULL, NULL, "t", &err), &err);
    pith_options_done(&options);
    assert_int_equal(pith_options_from_json(&options, NULL, json, "t", &err), -EINVAL);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_fill_in_defaults),
        cmocka_unit_test(options_are_read_from_yaml),
        cmocka_unit_test(options_tell_all_faults_in_yaml),
        cmocka_unit_test(options_refuse_in_json_with_the_place),
        cmocka_unit_test(options_of_no_table_are_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
