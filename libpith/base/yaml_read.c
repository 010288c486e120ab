/* What the scalars of a YAML tree mean: units, ranges and choices by a table, and the faults that
 * are found on the way. */
#include "libpith/base/yaml_private.h"

#include "libpith/base/names.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAULTS_MAX 100 /* a file that is wrong all over is told in a hundred lines */

void pith_yaml_fault(struct pith_yaml *yaml, const struct pith_yaml_node *at, const char *format,
                     ...)
{
    struct pith_yaml_fault_line *line;
    va_list arguments;
    char *text = NULL;
    int length;

    if (yaml->fault_count >= FAULTS_MAX)
        return;
    if (yaml->fault_count == yaml->fault_capacity) {
        size_t capacity = yaml->fault_capacity ? yaml->fault_capacity * 2 : 8;
        void *faults = realloc(yaml->faults, capacity * sizeof *yaml->faults);

        if (!faults) {
            yaml->fault_lost = true; /* or a wrong file would pass */
            return;
        }
        yaml->faults = faults;
        yaml->fault_capacity = capacity;
    }
    va_start(arguments, format);
    length = vasprintf(&text, format, arguments);
    va_end(arguments);
    line = &yaml->faults[yaml->fault_count];
    *line = (struct pith_yaml_fault_line){.line = at->line,
                                          .column = at->column,
                                          .number = yaml->fault_count,
                                          .text = length < 0 ? NULL : text};
    yaml->fault_count++;
}

size_t pith_yaml_fault_count(const struct pith_yaml *yaml)
{
    return yaml->fault_count + yaml->fault_lost;
}

static int compare_faults(const void *a, const void *b)
{
    const struct pith_yaml_fault_line *x = a, *y = b;

    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    if (x->column != y->column)
        return x->column < y->column ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

const char *pith_yaml_faults(const struct pith_yaml *yaml)
{
    struct pith_yaml *own =
        (struct pith_yaml *) (uintptr_t) yaml; /* sorting changes nothing that a caller sees */

    if (own->fault_count)
        qsort(own->faults, own->fault_count, sizeof *own->faults, compare_faults);
    pith_buffer_done(&own->told);
    for (size_t i = 0; i < own->fault_count; i++)
        pith_buffer_printf(&own->told, "%s%s:%zu:%zu: %s", i ? "\n" : "", own->name,
                           own->faults[i].line, own->faults[i].column,
                           own->faults[i].text ? own->faults[i].text : "a fault");
    if (own->fault_count == FAULTS_MAX)
        pith_buffer_printf(&own->told, "\n%s: there may be more faults after these %d", own->name,
                           FAULTS_MAX);
    if (own->fault_lost)
        pith_buffer_printf(&own->told, "%s%s: no memory to tell all its faults",
                           own->fault_count ? "\n" : "", own->name);
    return own->told.data ? (const char *) own->told.data : "";
}

/* ---- units ---- */

struct unit {
    const char *name;
    double factor;
};

static const struct unit duration_units[] = {
    {"ms", 1},     {"s", 1000},    {"m", 60e3},     {"min", 60e3},
    {"h", 3600e3}, {"d", 86400e3}, {"w", 604800e3}, {NULL, 0},
};

static const struct unit size_units[] = {
    {"B", 1},     {"kB", 1e3},   {"KB", 1e3},      {"MB", 1e6},         {"GB", 1e9},
    {"TB", 1e12}, {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}, {"TiB", 1099511627776.0},
    {NULL, 0},
};

/* A decimal number at the start of text, without the hex, "inf" and "nan" that strtod would take.
 */
static int read_decimal(const char *text, double *out, const char **out_end)
{
    size_t digits = strspn(text, "+-0123456789.eE");
    char copy[64];
    char *end;
    double number;

    if (digits == 0 || digits >= sizeof copy || !strpbrk(text, "0123456789"))
        return -EINVAL;
    memcpy(copy, text, digits);
    copy[digits] = 0;
    errno = 0;
    number = strtod(copy, &end);
    if (end == copy || !isfinite(number) || errno == ERANGE)
        return -EINVAL;
    *out = number;
    *out_end = text + (end - copy);
    return 0;
}

static int read_with_unit(const char *text, const struct unit *units, double *out)
{
    const char *end;
    double number;

    if (read_decimal(text, &number, &end) < 0)
        return -EINVAL;
    while (*end == ' ')
        end++;
    for (; units->name; units++)
        if (strcmp(units->name, end) == 0) {
            *out = number * units->factor;
            return 0;
        }
    return -EINVAL;
}

int pith_yaml_read_duration_ms(const char *text, double *out)
{
    return strcmp(text, "0") == 0 ? (*out = 0, 0) : read_with_unit(text, duration_units, out);
}

int pith_yaml_read_size_bytes(const char *text, double *out)
{
    return strcmp(text, "0") == 0 ? (*out = 0, 0) : read_with_unit(text, size_units, out);
}

int pith_yaml_read_int(const char *text, int64_t *out)
{
    char *end;
    long long number;

    if (text[strspn(text, "+-0123456789")] || !text[0])
        return -EINVAL;
    errno = 0;
    number = strtoll(text, &end, 10);
    if (*end || end == text || errno)
        return -EINVAL;
    *out = number;
    return 0;
}

int pith_yaml_read_number(const char *text, double *out)
{
    const char *end;
    double number;

    if (read_decimal(text, &number, &end) < 0 || *end)
        return -EINVAL;
    *out = number;
    return 0;
}

int pith_yaml_read_bool(const char *text, bool *out)
{
    bool yes = strcmp(text, "true") == 0;

    if (!yes && strcmp(text, "false") != 0)
        return -EINVAL;
    *out = yes;
    return 0;
}

/* ---- reading by table ---- */

/* What the field wants, in words: "a duration such as 10s, 2h or 90d". */
static void describe_wanted(const struct pith_yaml_field *field, char *text, size_t text_bytes)
{
    static const char *const words[] = {
        [PITH_YAML_TEXT] = "a text",
        [PITH_YAML_NAME] = "a name: " PITH_NAME_RULE,
        [PITH_YAML_INT] = "a whole number",
        [PITH_YAML_NUMBER] = "a number",
        [PITH_YAML_BOOL] = "true or false",
        [PITH_YAML_DURATION_MS] = "a duration such as 500ms, 10s, 2h or 90d",
        [PITH_YAML_SIZE_BYTES] = "a size such as 64KiB or 200MB",
        [PITH_YAML_NODE] = "a value",
        [PITH_YAML_MAP_NODE] = "a map of keys and values",
        [PITH_YAML_LIST_NODE] = "a list",
    };
    size_t used;

    if (field->type == PITH_YAML_CHOICE) {
        used = (size_t) snprintf(text, text_bytes, "one of");
        for (size_t i = 0; field->choices[i] && used < text_bytes; i++)
            used += (size_t) snprintf(text + used, text_bytes - used, "%s %s", i ? "," : "",
                                      field->choices[i]);
    } else if (field->help) {
        (void) snprintf(text, text_bytes, "%s", field->help);
    } else {
        (void) snprintf(text, text_bytes, "%s", words[field->type]);
    }
}

static void fault_wanted(struct pith_yaml *yaml, const struct pith_yaml_node *node,
                         const struct pith_yaml_field *field)
{
    char wanted[400];

    describe_wanted(field, wanted, sizeof wanted);
    if (node->kind == PITH_YAML_SCALAR)
        pith_yaml_fault(yaml, node, "%s: \"%.80s\" is not right; it must be %s", field->key,
                        node->text, wanted);
    else
        pith_yaml_fault(yaml, node, "%s: a %s is not right; it must be %s", field->key,
                        node->kind == PITH_YAML_LIST ? "list" : "map", wanted);
}

static bool in_range(struct pith_yaml *yaml, const struct pith_yaml_node *node,
                     const struct pith_yaml_field *field, double number)
{
    const char *unit = field->type == PITH_YAML_DURATION_MS  ? " ms"
                       : field->type == PITH_YAML_SIZE_BYTES ? " bytes"
                                                             : "";

    if (field->minimum == 0 && field->maximum == 0) /* no range, but what int64_t holds */
        return field->type == PITH_YAML_NUMBER || fabs(number) < 9e18;
    if (number >= field->minimum && number <= field->maximum)
        return true;
    pith_yaml_fault(yaml, node, "%s: %s is out of range; it must be between %.15g and %.15g%s",
                    field->key, node->text, field->minimum, field->maximum, unit);
    return false;
}

static void read_whole(struct pith_yaml *yaml, const struct pith_yaml_node *node,
                       const struct pith_yaml_field *field, int64_t *out)
{
    double number = 0;
    int64_t whole = 0;
    int rc;

    if (field->type == PITH_YAML_INT) {
        rc = node->quoted ? -EINVAL : pith_yaml_read_int(node->text, &whole);
        number = (double) whole;
    } else {
        rc = field->type == PITH_YAML_DURATION_MS ? pith_yaml_read_duration_ms(node->text, &number)
                                                  : pith_yaml_read_size_bytes(node->text, &number);
        if (rc == 0 && (number < 0 || number > 9e18))
            rc = -EINVAL;
        if (rc == 0)
            whole = (int64_t) llround(number);
    }
    if (rc < 0)
        fault_wanted(yaml, node, field);
    else if (in_range(yaml, node, field, number))
        *out = whole;
}

static void read_choice(struct pith_yaml *yaml, const struct pith_yaml_node *node,
                        const struct pith_yaml_field *field, int *out)
{
    const char *nearest;

    for (int i = 0; field->choices[i]; i++)
        if (strcmp(field->choices[i], node->text) == 0) {
            *out = i;
            return;
        }
    nearest = pith_nearest_name(node->text, field->choices);
    if (nearest)
        pith_yaml_fault(yaml, node, "%s: \"%.80s\" is not known; did you mean \"%s\"?", field->key,
                        node->text, nearest);
    else
        fault_wanted(yaml, node, field);
}

static void read_scalar(struct pith_yaml *yaml, const struct pith_yaml_node *node,
                        const struct pith_yaml_field *field, void *to)
{
    double number;
    bool yes;

    if (node->kind != PITH_YAML_SCALAR) {
        fault_wanted(yaml, node, field);
        return;
    }
    switch (field->type) {
    case PITH_YAML_TEXT:
        *(const char **) to = node->text;
        break;
    case PITH_YAML_NAME:
        if (pith_name_valid(node->text))
            *(const char **) to = node->text;
        else
            fault_wanted(yaml, node, field);
        break;
    case PITH_YAML_NUMBER:
        if (node->quoted || pith_yaml_read_number(node->text, &number) < 0)
            fault_wanted(yaml, node, field);
        else if (in_range(yaml, node, field, number))
            *(double *) to = number;
        break;
    case PITH_YAML_BOOL:
        if (node->quoted || pith_yaml_read_bool(node->text, &yes) < 0)
            fault_wanted(yaml, node, field);
        else
            *(bool *) to = yes;
        break;
    case PITH_YAML_CHOICE:
        read_choice(yaml, node, field, to);
        break;
    default:
        read_whole(yaml, node, field, to);
        break;
    }
}

static void read_member(struct pith_yaml *yaml, const struct pith_yaml_node *node,
                        const struct pith_yaml_field *field, void *to)
{
    switch (field->type) {
    case PITH_YAML_NODE:
        *(const struct pith_yaml_node **) to = node;
        break;
    case PITH_YAML_MAP_NODE:
    case PITH_YAML_LIST_NODE:
        if (node->kind != (field->type == PITH_YAML_MAP_NODE ? PITH_YAML_MAP : PITH_YAML_LIST))
            fault_wanted(yaml, node, field);
        else
            *(const struct pith_yaml_node **) to = node;
        break;
    default:
        read_scalar(yaml, node, field, to);
        break;
    }
}

void pith_yaml_unknown_key(struct pith_yaml *yaml, const struct pith_yaml_node *key,
                           const char *const *known)
{
    const char *nearest = pith_nearest_name(key->text, known);
    char list[400] = "";
    size_t used = 0;

    if (nearest) {
        pith_yaml_fault(yaml, key, "\"%.80s\" is not known here; did you mean \"%s\"?", key->text,
                        nearest);
        return;
    }
    for (size_t i = 0; known[i] && used < sizeof list; i++)
        used += (size_t) snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", known[i]);
    pith_yaml_fault(yaml, key, "\"%.80s\" is not known here; there is: %s", key->text, list);
}

#define FIELDS_MAX 64

void pith_yaml_read(struct pith_yaml *yaml, const struct pith_yaml_node *map,
                    const struct pith_yaml_field *fields, void *into)
{
    const char *known[FIELDS_MAX + 1] = {0};
    size_t count = 0;

    if (map->kind != PITH_YAML_MAP && !pith_yaml_is_null(map)) {
        pith_yaml_fault(yaml, map, "here must be a map of keys and values");
        return;
    }
    while (count < FIELDS_MAX && fields[count].key) {
        known[count] = fields[count].key;
        count++;
    }
    for (size_t i = 0; i < map->count; i++) {
        const struct pith_yaml_field *field = fields;

        while (field->key && strcmp(field->key, map->keys[i]->text) != 0)
            field++;
        if (!field->key)
            pith_yaml_unknown_key(yaml, map->keys[i], known);
        else if (!pith_yaml_is_null(map->items[i]))
            read_member(yaml, map->items[i], field, (char *) into + field->offset);
    }
    for (const struct pith_yaml_field *field = fields; field->key; field++) {
        const struct pith_yaml_node *value =
            field->required ? pith_yaml_find(map, field->key) : NULL;
        char wanted[400];

        if (!field->required || (value && !pith_yaml_is_null(value)))
            continue;
        describe_wanted(field, wanted, sizeof wanted);
        pith_yaml_fault(yaml, map, "\"%s\" is missing; it must be %s", field->key, wanted);
    }
}
