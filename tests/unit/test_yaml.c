/* Tests yaml.c and yaml_read.c: every fault at once with its place, and what no settings file needs
 * is refused. */
#include "tests/testing.h"

#include "libpith/base/yaml.h"

#include <errno.h>

struct settings {
    const char *name, *text;
    int64_t count, keep_ms, size_bytes;
    double ratio;
    bool on;
    int when;
    const struct pith_yaml_node *list, *map, *any;
};

static const char *const whens[] = {"idle", "always", "never", NULL};
static const struct pith_yaml_field fields[] = {
    {"name", PITH_YAML_NAME, offsetof(struct settings, name), .required = true},
    {"text", PITH_YAML_TEXT, offsetof(struct settings, text),
     .help = "an MQTT URL such as mqtt://127.0.0.1"},
    {"count", PITH_YAML_INT, offsetof(struct settings, count), .minimum = 1, .maximum = 10},
    {"keep", PITH_YAML_DURATION_MS, offsetof(struct settings, keep_ms)},
    {"max_size", PITH_YAML_SIZE_BYTES, offsetof(struct settings, size_bytes), .minimum = 1,
     .maximum = 1e9},
    {"ratio", PITH_YAML_NUMBER, offsetof(struct settings, ratio), .minimum = 0, .maximum = 1},
    {"on", PITH_YAML_BOOL, offsetof(struct settings, on)},
    {"when", PITH_YAML_CHOICE, offsetof(struct settings, when), .choices = whens},
    {"list", PITH_YAML_LIST_NODE, offsetof(struct settings, list)},
    {"map", PITH_YAML_MAP_NODE, offsetof(struct settings, map)},
    {"any", PITH_YAML_NODE, offsetof(struct settings, any)},
    {0},
};

static struct pith_yaml *parse(const char *text)
{
    struct pith_error err = {0};
    struct pith_yaml *yaml;

    assert_ok(pith_yaml_parse(&yaml, "p.yaml", text, strlen(text), &err), &err);
    return yaml;
}

static void yaml_reads_what_is_right(void **state)
{
    struct pith_yaml *yaml =
        parse("name: hub-1\ntext: \"~\"\ncount: 7\nkeep: 90d\nmax_size: 64KiB\nratio: 5e-1\n"
              "on: true\nwhen: always\nlist: [a, b]\nmap: {a: 1, b: 2}\nany: null\n");
    struct settings settings = {.any = NULL};

    (void) state;
    pith_yaml_read(yaml, pith_yaml_root(yaml), fields, &settings);
    assert_string_equal(pith_yaml_faults(yaml), "");
    assert_string_equal(settings.name, "hub-1");
    assert_string_equal(settings.text, "~"); /* quoted: a text */
    assert_int_equal(settings.count, 7);
    assert_int_equal(settings.keep_ms, INT64_C(90) * 86400 * 1000);
    assert_int_equal(settings.size_bytes, 65536);
    assert_true(settings.ratio == 0.5 && settings.on && settings.when == 1);
    assert_int_equal(pith_yaml_count(settings.list), 2);
    assert_string_equal(pith_yaml_scalar(pith_yaml_item(settings.list, 1)), "b");
    assert_null(pith_yaml_item(settings.list, 2));
    assert_string_equal(pith_yaml_key(settings.map, 1), "b");
    assert_string_equal(pith_yaml_scalar(pith_yaml_find(settings.map, "b")), "2");
    assert_null(pith_yaml_find(settings.map, "c"));
    assert_null(settings.any); /* null: as if it were missing */
    pith_yaml_free(yaml);
    pith_yaml_free(NULL);
}

static void yaml_tells_every_fault_at_once_in_order(void **state)
{
    struct pith_yaml *yaml =
        parse("countt: 3\ntext: [a]\ncount: 11\nkeep: soon\nmax_size: 2GB\nratio: 0x1\non: yes\n"
              "when: idel\nlist: {a: 1}\nmap: 3\ncount: 4\n");
    struct settings settings = {.count = -1};

    (void) state;
    pith_yaml_read(yaml, pith_yaml_root(yaml), fields, &settings);
    assert_string_equal(
        pith_yaml_faults(yaml),
        "p.yaml:1:1: \"countt\" is not known here; did you mean \"count\"?\n"
        "p.yaml:1:1: \"name\" is missing; it must be a name: lower-case letters, digits, '_', '-' "
        "and '.', 1 to 64 of "
        "them, starting with a letter or digit\n"
        "p.yaml:2:7: text: a list is not right; it must be an MQTT URL such as mqtt://127.0.0.1\n"
        "p.yaml:3:8: count: 11 is out of range; it must be between 1 and 10\n"
        "p.yaml:4:7: keep: \"soon\" is not right; it must be a duration such as 500ms, 10s, 2h or "
        "90d\n"
        "p.yaml:5:11: max_size: 2GB is out of range; it must be between 1 and 1000000000 bytes\n"
        "p.yaml:6:8: ratio: \"0x1\" is not right; it must be a number\n"
        "p.yaml:7:5: on: \"yes\" is not right; it must be true or false\n"
        "p.yaml:8:7: when: \"idel\" is not known; did you mean \"idle\"?\n"
        "p.yaml:9:7: list: a map is not right; it must be a list\n"
        "p.yaml:10:6: map: \"3\" is not right; it must be a map of keys and values\n"
        "p.yaml:11:1: \"count\" is given twice, first in line 3; keep one of them");
    assert_int_equal(pith_yaml_fault_count(yaml), 12);
    pith_yaml_free(yaml);
}

static void yaml_reads_units_and_refuses_what_is_near_them(void **state)
{
    static const struct {
        const char *text;
        double value; /* negative: refused */
    } durations[] = {{"10s", 10e3}, {"2h", 7200e3}, {"90d", 7776e6}, {"1.5s", 1500}, {"500ms", 500},
                     {"0", 0},      {"10 s", 10e3}, {"5m", 300e3},   {"10", -1},     {"s", -1},
                     {"10ss", -1},  {"1e999s", -1}, {"nans", -1},    {"0x10s", -1},  {"", -1}},
      sizes[] = {{"200MB", 200e6}, {"64KiB", 65536}, {"1GiB", 1073741824},
                 {"5B", 5},        {"5", -1},        {"5mb", -1}};
    double value;

    (void) state;
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++) {
        int rc = pith_yaml_read_duration_ms(durations[i].text, &value);

        assert_int_equal(rc, durations[i].value < 0 ? -EINVAL : 0);
        assert_true(rc < 0 || value == durations[i].value);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int rc = pith_yaml_read_size_bytes(sizes[i].text, &value);

        assert_int_equal(rc, sizes[i].value < 0 ? -EINVAL : 0);
        assert_true(rc < 0 || value == sizes[i].value);
    }
}

static void yaml_numbers_are_whole_or_refused(void **state)
{
    static const char *const wrong[] = {"1e3", "0x10", "1.0", "99999999999999999999",
                                        "",    "+",    "--1", "1 "};
    int64_t integer;
    double number;

    (void) state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(pith_yaml_read_int(wrong[i], &integer), -EINVAL);
    assert_int_equal(pith_yaml_read_int("-9223372036854775808", &integer), 0);
    assert_true(integer == INT64_MIN);
    assert_int_equal(pith_yaml_read_number("inf", &number), -EINVAL);
    assert_int_equal(pith_yaml_read_number("nan", &number), -EINVAL);
    assert_int_equal(pith_yaml_read_number("1,5", &number), -EINVAL);
    assert_int_equal(pith_yaml_read_number("-1.5e-3", &number), 0);
}

static void assert_refused(const char *text, size_t bytes, const char *sentence)
{
    struct pith_error err = {0};
    struct pith_yaml *yaml = NULL;

    assert_int_equal(pith_yaml_parse(&yaml, "p.yaml", text, bytes, &err), -EBADMSG);
    assert_null(yaml);
    if (sentence)
        assert_string_equal(err.text, sentence);
    else
        assert_true(strncmp(err.text, "p.yaml:", 7) == 0);
}

static void yaml_refuses_aliases_tags_and_broken_text(void **state)
{
    (void) state;
    assert_refused("a: &x 1\nb: *x\n", 14,
                   "p.yaml:1:4: tags and anchors are not used here; write the value itself");
    assert_refused("b: *x\n", 6, "p.yaml:1:4: aliases are not used here; write the value itself");
    assert_refused("a: !!python/object 1\n", 21,
                   "p.yaml:1:4: tags and anchors are not used here; write the value itself");
    assert_refused("a: !x [1]\n", 10,
                   "p.yaml:1:4: tags and anchors are not used here; write the value itself");
    assert_refused("a: 1\n---\nb: 2\n", 14,
                   "p.yaml:2:1: a second document begins; one file holds one");
    assert_refused("[1, 2]: 3\n", 10, "p.yaml:1:1: a key must be a word, not a list or a map");
    assert_refused("a: \"x\\0y\"\n", 10, "p.yaml:1:4: the text holds a NUL character");
    assert_refused("a: x\0y\n", 7, NULL);
    assert_refused("a: \xff\xfe\n", 6, NULL);
    assert_refused("a: \xc3", 4, NULL);
    assert_refused("a: [1, 2\nb: 3\n", 14, NULL);
    assert_refused("a: 1\n\tb: 2\n", 11, NULL);
    assert_refused("a: b: c\n", 8, NULL);
    assert_refused("\xfe\xff\0a", 4, NULL); /* UTF-16 */
}

static void yaml_refuses_depth_and_size(void **state)
{
    struct pith_buffer text = {0};
    struct pith_error err = {0};
    struct pith_yaml *yaml;

    (void) state;
    for (int i = 0; i < 10000; i++)
        pith_buffer_text(&text, "[");
    assert_refused((char *) text.data, text.bytes, "p.yaml:1:33: nested deeper than 32 levels");
    pith_buffer_done(&text);
    for (int i = 0; i < 10000; i++)
        pith_buffer_printf(&text, "%*sa:\n", i % 200, "");
    assert_int_equal(pith_yaml_parse(&yaml, "p.yaml", text.data, text.bytes, &err), -EBADMSG);
    pith_buffer_done(&text);
    for (int i = 0; i < 100000; i++)
        pith_buffer_printf(&text, "k%d: 1\n", i);
    assert_refused((char *) text.data, text.bytes, "p.yaml:4097:1: more than 4096 keys in one map");
    pith_buffer_done(&text);
    pith_buffer_text(&text, "[");
    for (int i = 0; i < 300000; i++)
        pith_buffer_text(&text, "1,");
    assert_int_equal(pith_yaml_parse(&yaml, "p.yaml", text.data, text.bytes, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "more than 100000 values"));
    for (int i = 0; i < 300000; i++)
        pith_buffer_text(&text, "11");
    assert_int_equal(pith_yaml_parse(&yaml, "p.yaml", text.data, text.bytes, &err), -EFBIG);
    pith_buffer_done(&text);
}

static void yaml_survives_every_truncation(void **state)
{
    static const char text[] =
        "name: hub\nlist:\n  - a: \"x\\ty\"\n    b: [1, {c: 2}]\n  - |\n    block\n";

    (void) state;
    for (size_t bytes = 0; bytes <= strlen(text); bytes++) {
        struct settings settings = {0};
        struct pith_error err = {0};
        struct pith_yaml *yaml;

        if (pith_yaml_parse(&yaml, "p.yaml", text, bytes, &err) < 0) {
            assert_true(err.text[0]);
            continue;
        }
        pith_yaml_read(yaml, pith_yaml_root(yaml), fields, &settings);
        pith_yaml_free(yaml);
    }
}

static void yaml_stops_counting_faults_at_a_hundred(void **state)
{
    struct pith_buffer text = {0};
    struct settings settings = {0};
    struct pith_yaml *yaml;

    (void) state;
    for (int i = 0; i < 500; i++)
        pith_buffer_printf(&text, "zzz%d: 1\n", i);
    yaml = parse((char *) text.data);
    pith_yaml_read(yaml, pith_yaml_root(yaml), fields, &settings);
    assert_int_equal(pith_yaml_fault_count(yaml), 100);
    assert_non_null(strstr(pith_yaml_faults(yaml), "there may be more"));
    pith_yaml_free(yaml);
    pith_buffer_done(&text);
}

static void yaml_empty_file_is_null(void **state)
{
    struct pith_yaml *yaml = parse("# only a comment\n");

    (void) state;
    assert_true(pith_yaml_is_null(pith_yaml_root(yaml)));
    assert_int_equal(pith_yaml_count(pith_yaml_root(yaml)), 0);
    pith_yaml_free(yaml);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yaml_reads_what_is_right),
        cmocka_unit_test(yaml_tells_every_fault_at_once_in_order),
        cmocka_unit_test(yaml_reads_units_and_refuses_what_is_near_them),
        cmocka_unit_test(yaml_numbers_are_whole_or_refused),
        cmocka_unit_test(yaml_refuses_aliases_tags_and_broken_text),
        cmocka_unit_test(yaml_refuses_depth_and_size),
        cmocka_unit_test(yaml_survives_every_truncation),
        cmocka_unit_test(yaml_stops_counting_faults_at_a_hundred),
        cmocka_unit_test(yaml_empty_file_is_null),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
