/* Strict JSON over jansson, and typed reading of members with a sentence for each way it can be
 * wrong. */
#include "libpith/base/json.h"

#include "libpith/base/names.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Nesting is checked before the parser runs, as the parser's own limit is far deeper than anything
 * we read. */
static int check_depth(const char *text, size_t bytes, const char *what, struct pith_error *err)
{
    unsigned depth = 0, line = 1;
    bool quoted = false;

    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];

        if (c == '\n')
            line++;
        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (++depth > PITH_JSON_MAX_DEPTH)
                return pith_fail(err, -EBADMSG, "%s: line %u: nested deeper than %d levels", what,
                                 line, PITH_JSON_MAX_DEPTH);
        } else if ((c == '}' || c == ']') && depth) {
            depth--;
        }
    }
    return 0;
}

int pith_json_parse(json_t **out, const void *text, size_t bytes, size_t limit_bytes,
                    const char *what, struct pith_error *err)
{
    json_error_t fault;
    json_t *value;
    int rc;

    if (bytes > limit_bytes)
        return pith_fail(err, -EFBIG, "%s: %zu bytes are more than the %zu that are allowed", what,
                         bytes, limit_bytes);
    rc = check_depth(text, bytes, what, err);
    if (rc < 0)
        return rc;
    value = json_loadb(bytes ? text : "", bytes, JSON_REJECT_DUPLICATES, &fault);
    if (!value && json_error_code(&fault) == json_error_out_of_memory)
        return pith_fail(err, -ENOMEM, "%s: no memory to read it", what);
    if (!value)
        return pith_fail(err, -EBADMSG, "%s: line %d, column %d: not valid JSON: %s", what,
                         fault.line, fault.column, fault.text);
    *out = value;
    return 0;
}

char *pith_json_text(const json_t *value)
{
    return json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
}

const char *pith_json_path(char *path, size_t path_bytes, const char *where, const char *key)
{
    (void) snprintf(path, path_bytes, "%s%s%s", where, strstr(where, ": ") ? "." : ": ", key);
    return path;
}

static const char *kind_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "a whole number";
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    default:
        return "null";
    }
}

static int wrong_kind(const char *where, const char *key, const char *wanted, const json_t *value,
                      struct pith_error *err)
{
    char path[PITH_JSON_PATH_BYTES];

    pith_json_path(path, sizeof path, where, key);
    if (!value)
        return pith_fail(err, -EBADMSG, "%s: is missing; it must be %s", path, wanted);
    return pith_fail(err, -EBADMSG, "%s: must be %s, not %s", path, wanted, kind_name(value));
}

int pith_json_string(const json_t *object, const char *where, const char *key, const char **out,
                     struct pith_error *err)
{
    const json_t *value = json_object_get(object, key);

    if (!json_is_string(value))
        return wrong_kind(where, key, "a string", value, err);
    *out = json_string_value(value);
    return 0;
}

int pith_json_string_or(const json_t *object, const char *where, const char *key,
                        const char *otherwise, const char **out, struct pith_error *err)
{
    if (!json_object_get(object, key)) {
        *out = otherwise;
        return 0;
    }
    return pith_json_string(object, where, key, out, err);
}

int pith_json_int(const json_t *object, const char *where, const char *key, int64_t minimum,
                  int64_t maximum, int64_t *out, struct pith_error *err)
{
    const json_t *value = json_object_get(object, key);
    char path[PITH_JSON_PATH_BYTES];
    int64_t number;

    if (!json_is_integer(value))
        return wrong_kind(where, key, "a whole number", value, err);
    number = json_integer_value(value);
    if (number < minimum || number > maximum)
        return pith_fail(err, -EBADMSG, "%s: %lld is not between %lld and %lld",
                         pith_json_path(path, sizeof path, where, key), (long long) number,
                         (long long) minimum, (long long) maximum);
    *out = number;
    return 0;
}

int pith_json_int_or(const json_t *object, const char *where, const char *key, int64_t minimum,
                     int64_t maximum, int64_t otherwise, int64_t *out, struct pith_error *err)
{
    if (!json_object_get(object, key)) {
        *out = otherwise;
        return 0;
    }
    return pith_json_int(object, where, key, minimum, maximum, out, err);
}

int pith_json_number_or(const json_t *object, const char *where, const char *key, double minimum,
                        double maximum, double otherwise, double *out, struct pith_error *err)
{
    const json_t *value = json_object_get(object, key);
    char path[PITH_JSON_PATH_BYTES];
    double number;

    if (!value) {
        *out = otherwise;
        return 0;
    }
    if (!json_is_number(value))
        return wrong_kind(where, key, "a number", value, err);
    number = json_number_value(value);
    if (!(number >= minimum && number <= maximum))
        return pith_fail(err, -EBADMSG, "%s: %g is not between %g and %g",
                         pith_json_path(path, sizeof path, where, key), number, minimum, maximum);
    *out = number;
    return 0;
}

int pith_json_bool_or(const json_t *object, const char *where, const char *key, bool otherwise,
                      bool *out, struct pith_error *err)
{
    const json_t *value = json_object_get(object, key);

    if (value && !json_is_boolean(value))
        return wrong_kind(where, key, "true or false", value, err);
    *out = value ? json_is_true(value) : otherwise;
    return 0;
}

int pith_json_object(const json_t *object, const char *where, const char *key, bool required,
                     json_t **out, struct pith_error *err)
{
    json_t *value = json_object_get(object, key);

    if (value ? !json_is_object(value) : required)
        return wrong_kind(where, key, "an object", value, err);
    *out = value;
    return 0;
}

int pith_json_array(const json_t *object, const char *where, const char *key, bool required,
                    json_t **out, struct pith_error *err)
{
    json_t *value = json_object_get(object, key);

    if (value ? !json_is_array(value) : required)
        return wrong_kind(where, key, "a list", value, err);
    *out = value;
    return 0;
}

int pith_json_only(const json_t *object, const char *where, const char *const *known,
                   struct pith_error *err)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *) (uintptr_t) object, key, value)
    {
        const char *const *at = known;
        char path[PITH_JSON_PATH_BYTES], shown[80];
        const char *nearest;

        while (*at && strcmp(*at, key) != 0)
            at++;
        if (*at)
            continue;
        (void) snprintf(shown, sizeof shown, "%s", key);
        nearest = pith_nearest_name(key, known);
        pith_json_path(path, sizeof path, where, shown);
        if (nearest)
            return pith_fail(err, -EBADMSG, "%s: is not known; did you mean \"%s\"?", path,
                             nearest);
        return pith_fail(err, -EBADMSG, "%s: is not known here", path);
    }
    return 0;
}
