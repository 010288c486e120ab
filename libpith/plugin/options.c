/* A plugin's option table against what a user wrote, in YAML or JSON. Defaults are written as YAML
 * text, so all three go through the same few setters and are refused in the same words. */
#include "libpith/plugin/check.h"
#include "libpith/plugin/plugins.h"

#include "libpith/base/json.h"
#include "libpith/base/names.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTION_LIST_MAX 1024 /* strings in one list */

/* Memory of the values: blocks that are freed together. */
struct block {
    struct block *next;
    max_align_t data[];
};

static void *take_memory(struct pith_options *options, size_t bytes)
{
    struct block *block = malloc(sizeof *block + bytes);

    if (!block)
        return NULL;
    block->next = options->memory;
    options->memory = block;
    return block->data;
}

static const char *keep_text(struct pith_options *options, const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = take_memory(options, bytes);

    return copy ? memcpy(copy, text, bytes) : NULL;
}

void pith_options_done(struct pith_options *options)
{
    if (!options)
        return;
    for (struct block *block = options->memory, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    free(options->values);
    *options = (struct pith_options){0};
}

static int no_memory(struct pith_error *err)
{
    return pith_fail(err, -ENOMEM, "no memory for the options");
}

/* ---- what is right, in words ---- */

static int refuse(const struct pith_option *option, const char *shown, struct pith_error *err)
{
    char wanted[300];
    size_t used;

    switch (option->type) {
    case PITH_OPTION_INT:
    case PITH_OPTION_FLOAT:
        used = (size_t) snprintf(wanted, sizeof wanted,
                                 option->type == PITH_OPTION_INT ? "a whole number" : "a number");
        if (option->minimum != 0 || option->maximum != 0)
            (void) snprintf(wanted + used, sizeof wanted - used, " between %.15g and %.15g",
                            option->minimum, option->maximum);
        break;
    case PITH_OPTION_BOOL:
        (void) snprintf(wanted, sizeof wanted, "true or false");
        break;
    case PITH_OPTION_CHOICE:
        used = (size_t) snprintf(wanted, sizeof wanted, "one of");
        for (size_t i = 0; option->choices[i] && used < sizeof wanted; i++)
            used += (size_t) snprintf(wanted + used, sizeof wanted - used, "%s %s", i ? "," : "",
                                      option->choices[i]);
        break;
    case PITH_OPTION_STRINGS:
        (void) snprintf(wanted, sizeof wanted, "a list of strings");
        break;
    default:
        (void) snprintf(wanted, sizeof wanted, "a string");
        break;
    }
    return pith_fail(err, -EINVAL, "%s: %.80s is not right; it must be %s", option->name, shown,
                     wanted);
}

/* "conv*=int7": what stands behind the last = is none of the choices. */
static int refuse_ending(const struct pith_option *option, const char *text, struct pith_error *err)
{
    const char *end = strrchr(text, '='),
               *near = end ? pith_nearest_name(end + 1, option->choices) : NULL;
    char known[300] = "";
    size_t used = 0;

    for (size_t i = 0; option->choices[i] && used < sizeof known; i++)
        used += (size_t) snprintf(known + used, sizeof known - used, "%s %s", i ? "," : "",
                                  option->choices[i]);
    return pith_fail(err, -EINVAL,
                     "%s: \"%.100s\" is not right; it must end in = and one of%s%s%s%s",
                     option->name, text, known, near ? "; did you mean " : "", near ? near : "",
                     near ? "?" : "");
}

/* ---- setters, each checks ---- */

static int check_entry(const struct pith_option *option, const char *text, struct pith_error *err)
{
    const char *end = strrchr(text, '=');

    if (!option->choices)
        return 0;
    for (size_t i = 0; end && end > text && option->choices[i]; i++)
        if (strcmp(option->choices[i], end + 1) == 0)
            return 0;
    return refuse_ending(option, text, err);
}

static int set_number(const struct pith_option *option, double number, const char *shown,
                      struct pith_option_value *value, struct pith_error *err)
{
    bool any = option->minimum == 0 && option->maximum == 0;

    if (!isfinite(number) || (!any && (number < option->minimum || number > option->maximum)))
        return refuse(option, shown, err);
    value->number = number;
    return 0;
}

static int set_integer(const struct pith_option *option, int64_t number, const char *shown,
                       struct pith_option_value *value, struct pith_error *err)
{
    int rc = set_number(option, (double) number, shown, value, err);

    if (rc == 0)
        value->integer = number;
    return rc;
}

static int set_text(struct pith_options *options, const struct pith_option *option,
                    const char *text, struct pith_option_value *value, struct pith_error *err)
{
    if (option->type == PITH_OPTION_STRING) {
        value->text = keep_text(options, text);
        return value->text ? 0 : no_memory(err);
    }
    for (int64_t i = 0; option->choices[i]; i++)
        if (strcmp(option->choices[i], text) == 0) {
            value->integer = i;
            value->text = option->choices[i];
            return 0;
        }
    return refuse(option, text, err);
}

/* ---- from YAML ---- */

static int list_from_yaml(struct pith_options *options, const struct pith_option *option,
                          const struct pith_yaml_node *node, struct pith_option_value *value,
                          const struct pith_yaml_node **out_at, struct pith_error *err)
{
    size_t count = pith_yaml_count(node);
    const char **texts;

    if (pith_yaml_kind(node) != PITH_YAML_LIST || count > OPTION_LIST_MAX)
        return refuse(option, "this", err);
    texts = take_memory(options, (count + 1) * sizeof *texts);
    if (!texts)
        return no_memory(err);
    for (size_t i = 0; i < count; i++) {
        const char *text = pith_yaml_scalar(pith_yaml_item(node, i));

        *out_at = pith_yaml_item(node, i);
        if (!text)
            return refuse(option, "a list or map in it", err);
        if (check_entry(option, text, err) < 0)
            return -EINVAL;
        texts[i] = keep_text(options, text);
        if (!texts[i])
            return no_memory(err);
    }
    texts[count] = NULL;
    value->texts = texts;
    value->text_count = count;
    return 0;
}

/* out_at: where a fault is, node or an entry of it. */
static int value_from_yaml(struct pith_options *options, const struct pith_option *option,
                           const struct pith_yaml_node *node, struct pith_option_value *value,
                           const struct pith_yaml_node **out_at, struct pith_error *err)
{
    const char *text = pith_yaml_scalar(node);
    int64_t integer;
    double number;
    bool yes;

    *out_at = node;
    if (option->type == PITH_OPTION_STRINGS)
        return list_from_yaml(options, option, node, value, out_at, err);
    if (!text)
        return refuse(option, pith_yaml_kind(node) == PITH_YAML_LIST ? "a list" : "a map", err);
    switch (option->type) {
    case PITH_OPTION_INT:
        if (pith_yaml_read_int(text, &integer) < 0)
            return refuse(option, text, err);
        return set_integer(option, integer, text, value, err);
    case PITH_OPTION_FLOAT:
        if (pith_yaml_read_number(text, &number) < 0)
            return refuse(option, text, err);
        return set_number(option, number, text, value, err);
    case PITH_OPTION_BOOL:
        if (pith_yaml_read_bool(text, &yes) < 0)
            return refuse(option, text, err);
        value->integer = yes;
        return 0;
    default:
        return set_text(options, option, text, value, err);
    }
}

static int value_from_default(struct pith_options *options, const struct pith_option *option,
                              struct pith_option_value *value, struct pith_error *err)
{
    const struct pith_yaml_node *at;
    struct pith_yaml *yaml;
    int rc;

    if (!option->otherwise)
        return pith_fail(err, -EINVAL, "%s: must be given: %s", option->name,
                         option->help ? option->help : "it has no default");
    rc = pith_yaml_parse(&yaml, option->name, option->otherwise, strlen(option->otherwise), err);
    if (rc < 0)
        return rc;
    if (!pith_yaml_is_null(pith_yaml_root(yaml))) /* ~: an optional one, left out */
        rc = value_from_yaml(options, option, pith_yaml_root(yaml), value, &at, err);
    pith_yaml_free(yaml);
    return rc;
}

int pith_options_check_defaults(const struct pith_option *table, struct pith_error *err)
{
    struct pith_options scratch = {0};
    int rc = 0;

    for (const struct pith_option *option = table; option->name && rc == 0; option++) {
        struct pith_option_value value = {0};

        if (option->otherwise)
            rc = value_from_default(&scratch, option, &value, err);
        if (rc < 0)
            rc = pith_fail_in(err, -ENOEXEC, "its option table has a default that is wrong");
    }
    pith_options_done(&scratch);
    return rc;
}

/* ---- the whole table ---- */

static size_t table_count(const struct pith_option *table)
{
    size_t count = 0;

    while (table && table[count].name)
        count++;
    return count;
}

static void table_names(const struct pith_option *table, const char *names[PITH_OPTIONS_MAX + 1])
{
    size_t count = table_count(table);

    if (count > PITH_OPTIONS_MAX)
        count = PITH_OPTIONS_MAX;
    for (size_t i = 0; i < count; i++)
        names[i] = table[i].name;
    names[count] = NULL;
}

static int options_new(struct pith_options *options, const struct pith_option *table,
                       struct pith_error *err)
{
    *options = (struct pith_options){0};
    options->values = calloc(table_count(table) + 1, sizeof *options->values);
    return options->values ? 0 : no_memory(err);
}

static void fault_unknown_keys(const struct pith_option *table, struct pith_yaml *yaml,
                               const struct pith_yaml_node *map)
{
    const char *names[PITH_OPTIONS_MAX + 1];

    table_names(table, names);
    for (size_t i = 0; i < pith_yaml_count(map); i++) {
        size_t at = 0;

        while (names[at] && strcmp(names[at], pith_yaml_key(map, i)) != 0)
            at++;
        if (!names[at])
            pith_yaml_unknown_key(yaml, pith_yaml_key_node(map, i), names);
    }
}

/* One option: what the map has for it, or its default. A fault is told to the document and kept in
 * *first. */
static int option_from_yaml(struct pith_options *options, const struct pith_option *option,
                            struct pith_yaml *yaml, const struct pith_yaml_node *map,
                            struct pith_option_value *value, struct pith_error *first)
{
    const struct pith_yaml_node *node = map ? pith_yaml_find(map, option->name) : NULL, *at;
    struct pith_error err = {0};
    int rc;

    if (node && pith_yaml_is_null(node))
        node = NULL;
    at = map ? map : pith_yaml_root(yaml);
    value->given = node != NULL;
    if (node)
        rc = value_from_yaml(options, option, node, value, &at, &err);
    else
        rc = value_from_default(options, option, value, &err);
    if (rc == -EINVAL)
        pith_yaml_fault(yaml, at, "%s", err.text);
    if (rc < 0 && !first->code)
        *first = err;
    return rc == -EINVAL ? 0 : rc;
}

int pith_options_from_yaml(struct pith_options *out, const struct pith_option *table,
                           struct pith_yaml *yaml, const struct pith_yaml_node *map,
                           struct pith_error *err)
{
    size_t count = table_count(table), faults_before = pith_yaml_fault_count(yaml);
    struct pith_error first = {0};
    struct pith_options options;
    int rc;

    if (map && pith_yaml_is_null(map))
        map = NULL;
    if (map && pith_yaml_kind(map) != PITH_YAML_MAP) {
        pith_yaml_fault(yaml, map, "here must be a map of options");
        return pith_fail(err, -EINVAL, "here must be a map of options");
    }
    rc = options_new(&options, table, err);
    if (rc < 0)
        return rc;
    if (map)
        fault_unknown_keys(table, yaml, map);
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = option_from_yaml(&options, &table[i], yaml, map, &options.values[i], &first);
    if (rc == 0 && (first.code || pith_yaml_fault_count(yaml) > faults_before))
        rc = -EINVAL;
    if (rc < 0) {
        pith_options_done(&options);
        return pith_fail(err, rc, "%s", first.code ? first.text : "an option is not known");
    }
    *out = options;
    return 0;
}

/* ---- from JSON ---- */

static int list_from_json(struct pith_options *options, const struct pith_option *option,
                          const json_t *json, struct pith_option_value *value,
                          struct pith_error *err)
{
    size_t count = json_array_size(json);
    const char **texts;

    if (!json_is_array(json) || count > OPTION_LIST_MAX)
        return refuse(option, "this", err);
    texts = take_memory(options, (count + 1) * sizeof *texts);
    if (!texts)
        return no_memory(err);
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(json, i));

        if (!text)
            return refuse(option, "something else in the list", err);
        if (check_entry(option, text, err) < 0)
            return -EINVAL;
        texts[i] = keep_text(options, text);
        if (!texts[i])
            return no_memory(err);
    }
    texts[count] = NULL;
    value->texts = texts;
    value->text_count = count;
    return 0;
}

static int value_from_json(struct pith_options *options, const struct pith_option *option,
                           const json_t *json, struct pith_option_value *value,
                           struct pith_error *err)
{
    char *shown = pith_json_text(json);
    int rc = -EINVAL;

    if (!shown)
        return no_memory(err);
    if (option->type == PITH_OPTION_STRINGS)
        rc = list_from_json(options, option, json, value, err);
    else if (option->type == PITH_OPTION_INT && json_is_integer(json))
        rc = set_integer(option, json_integer_value(json), shown, value, err);
    else if (option->type == PITH_OPTION_FLOAT && json_is_number(json))
        rc = set_number(option, json_number_value(json), shown, value, err);
    else if (option->type == PITH_OPTION_BOOL && json_is_boolean(json))
        value->integer = json_is_true(json), rc = 0;
    else if ((option->type == PITH_OPTION_STRING || option->type == PITH_OPTION_CHOICE) &&
             json_is_string(json))
        rc = set_text(options, option, json_string_value(json), value, err);
    else
        rc = refuse(option, shown, err);
    free(shown);
    return rc;
}

int pith_options_from_json(struct pith_options *out, const struct pith_option *table,
                           const json_t *object, const char *where, struct pith_error *err)
{
    const char *names[PITH_OPTIONS_MAX + 1];
    size_t count = table_count(table);
    struct pith_options options;
    int rc;

    if (object && !json_is_object(object))
        return pith_fail(err, -EINVAL, "%s: must be an object of options", where);
    table_names(table, names);
    if (object && pith_json_only(object, where, names, err) < 0)
        return -EINVAL;
    rc = options_new(&options, table, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < count && rc == 0; i++) {
        const json_t *json = object ? json_object_get(object, table[i].name) : NULL;

        if (json_is_null(json))
            json = NULL;
        options.values[i].given = json != NULL;
        if (json)
            rc = value_from_json(&options, &table[i], json, &options.values[i], err);
        else
            rc = value_from_default(&options, &table[i], &options.values[i], err);
    }
    if (rc < 0) {
        pith_options_done(&options);
        return pith_fail_in(err, rc, "%s", where);
    }
    *out = options;
    return 0;
}

static bool text_equal(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool value_equal(const struct pith_option_value *a, const struct pith_option_value *b)
{
    bool equal = a->integer == b->integer && a->number == b->number &&
                 text_equal(a->text, b->text) && a->text_count == b->text_count;

    for (size_t i = 0; equal && i < a->text_count; i++)
        equal = text_equal(a->texts[i], b->texts[i]);
    return equal;
}

bool pith_options_equal(const struct pith_option *table, const struct pith_options *a,
                        const struct pith_options *b)
{
    for (size_t i = 0; i < table_count(table); i++)
        if (!value_equal(&a->values[i], &b->values[i]))
            return false;
    return true;
}
