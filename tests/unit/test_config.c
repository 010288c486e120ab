/* Tests of daemon/config_schema.c: its table, the sample, pithd.yaml(5) and schemas/config.json
 * name the same keys. What a wrong file is told is in tests/integration/config_faults.sh. */
#include "daemon/config_schema.h"
#include "libpith/base/file.h"
#include "libpith/base/json.h"
#include "tests/testing.h"

#define KEYS_MAX 128

struct keys {
    char path[KEYS_MAX][96];
    size_t count;
};

static void keys_add(struct keys *keys, const char *path)
{
    for (size_t i = 0; i < keys->count; i++)
        if (strcmp(keys->path[i], path) == 0)
            return;
    assert_true(keys->count < KEYS_MAX);
    (void) snprintf(keys->path[keys->count++], sizeof keys->path[0], "%s", path);
}

static bool keys_have(const struct keys *keys, const char *path)
{
    for (size_t i = 0; i < keys->count; i++)
        if (strcmp(keys->path[i], path) == 0)
            return true;
    return false;
}

static void add_path(void *user, const char *path, const struct pith_yaml_field *field)
{
    (void) field;
    keys_add(user, path);
}

static void expect_same(const struct keys *table, const struct keys *document, const char *name)
{
    for (size_t i = 0; i < table->count; i++)
        if (!keys_have(document, table->path[i]))
            fail_msg("%s does not name %s", name, table->path[i]);
    for (size_t i = 0; i < document->count; i++)
        if (!keys_have(table, document->path[i]))
            fail_msg("%s names %s, which is not in the table", name, document->path[i]);
}

static void read_file(struct pith_buffer *out, const char *folder_variable, const char *path)
{
    struct pith_error err = {0};
    char full[4096];

    (void) snprintf(full, sizeof full, "%s/%s",
                    getenv(folder_variable) ? getenv(folder_variable) : ".", path);
    assert_ok(pith_file_read(full, 1 << 20, out, &err), &err);
}

/* Takes the comment sign from before a key: "  #url: x" -> "  url: x". */
static void uncomment(struct pith_buffer *text)
{
    char *to = (char *) text->data;
    const char *from = to;
    bool at_start = true;

    for (; *from; from++) {
        if (at_start && *from == '#' && from[1] >= 'a' && from[1] <= 'z')
            continue;
        at_start = *from == '\n' || (at_start && *from == ' ');
        *to++ = *from;
    }
    *to = 0;
    text->bytes = (size_t) (to - (char *) text->data);
}

static void collect_yaml(const struct pith_yaml_node *map, const char *prefix, struct keys *keys)
{
    for (size_t i = 0; i < pith_yaml_count(map); i++) {
        const struct pith_yaml_node *value = pith_yaml_item(map, i);
        bool pipelines = strcmp(prefix, "pipelines.") == 0;
        char path[96], deeper[97];

        (void) snprintf(path, sizeof path, "%.40s%.40s", prefix,
                        pipelines ? "*" : pith_yaml_key(map, i));
        (void) snprintf(deeper, sizeof deeper, "%s.", path);
        if (!pipelines)
            keys_add(keys, path);
        if (pith_yaml_kind(value) == PITH_YAML_MAP && strcmp(path, "pipelines.*.codec") != 0)
            collect_yaml(value, deeper, keys);
    }
}

static void sample_names_every_key(void **state)
{
    struct keys table = {0}, sample = {0};
    struct pith_buffer text = {0};
    struct pith_yaml *yaml = NULL;
    struct pith_error err = {0};

    (void) state;
    config_each_key(add_path, &table);
    read_file(&text, "PITH_BUILD", "etc/pithd.yaml");
    uncomment(&text);
    assert_ok(pith_yaml_parse(&yaml, "pithd.yaml", text.data, text.bytes, &err), &err);
    collect_yaml(pith_yaml_root(yaml), "", &sample);
    expect_same(&table, &sample, "etc/pithd.yaml.in");
    pith_yaml_free(yaml);
    pith_buffer_done(&text);
}

static void manual_names_every_key(void **state)
{
    struct keys table = {0}, manual = {0};
    struct pith_buffer text = {0};
    char *rest = NULL;

    (void) state;
    config_each_key(add_path, &table);
    read_file(&text, "PITH_SOURCE", "man/pithd.yaml.5.in");
    rest = (char *) text.data;
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
        /* A line of keys: "\fBhome.ca\fR, \fBfleet.ca\fR (file; ...)". */
        while (strncmp(line, "\\fB", 3) == 0) {
            char *end = strstr(line, "\\fR");
            char *name = strstr(line, ".NAME.");

            assert_non_null(end);
            *end = 0;
            if (name) {
                char path[96];

                *name = 0;
                (void) snprintf(path, sizeof path, "%.40s.*.%.40s", line + 3, name + 6);
                keys_add(&manual, path);
            } else {
                keys_add(&manual, line + 3);
            }
            line = end + 3;
            if (strncmp(line, ", ", 2) == 0)
                line += 2;
        }
    }
    expect_same(&table, &manual, "man/pithd.yaml.5.in");
    pith_buffer_done(&text);
}

static void collect_schema(const json_t *root, const json_t *object, const char *prefix,
                           struct keys *keys)
{
    const char *reference = json_string_value(json_object_get(object, "$ref")), *key = NULL;
    json_t *properties = NULL, *value = NULL;
    char path[96];

    if (reference) {
        assert_memory_equal(reference, "#/$defs/", 8);
        object = json_object_get(json_object_get(root, "$defs"), reference + 8);
        assert_non_null(object);
    }
    properties = json_object_get(object, "properties");
    json_object_foreach(properties, key, value)
    {
        char deeper[97];

        (void) snprintf(path, sizeof path, "%.40s%.40s", prefix, key);
        (void) snprintf(deeper, sizeof deeper, "%s.", path);
        keys_add(keys, path);
        collect_schema(root, value, deeper, keys);
    }
    if (json_is_object(json_object_get(object, "additionalProperties"))) {
        (void) snprintf(path, sizeof path, "%.80s*.", prefix);
        collect_schema(root, json_object_get(object, "additionalProperties"), path, keys);
    }
}

static void schema_names_every_key(void **state)
{
    struct keys table = {0}, schema = {0};
    struct pith_buffer text = {0};
    struct pith_error err = {0};
    json_t *root = NULL;

    (void) state;
    config_each_key(add_path, &table);
    read_file(&text, "PITH_SOURCE", "schemas/config.json");
    assert_ok(pith_json_parse(&root, text.data, text.bytes, text.bytes, "schema", &err), &err);
    collect_schema(root, root, "", &schema);
    expect_same(&table, &schema, "schemas/config.json");
    json_decref(root);
    pith_buffer_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sample_names_every_key),
        cmocka_unit_test(manual_names_every_key),
        cmocka_unit_test(schema_names_every_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
