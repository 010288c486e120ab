/* json: sensor messages such as {"temperature": 21.5, "humidity": 40}: the fields that are named
 * become one row. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <pith/codec.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PAYLOAD_BYTES (1024 * 1024)
#define MAX_WIDTH         4096
#define MAX_ROWS          65536
#define MAX_PATH_BYTES    256
#define MAX_PATH_DEPTH    16

enum missing { MISSING_REFUSE, MISSING_LAST, MISSING_OTHERWISE };
static const char *const missing_names[] = {"refuse", "last", "otherwise", NULL};

struct pith_codec {
    char **fields; /* own; NULL where a row is a bare number or array */
    size_t field_count;
    char *rows_path; /* own; NULL: the payload itself is the row */
    size_t width;    /* values of a row; 1 for a bare number */
    bool bare_number;
    bool texts;
    enum missing missing;
    double otherwise, scale, offset;
    float *last; /* own; each field's last value; NaN before there was one */
    float *rows; /* own; grows to what payloads need, at most MAX_ROWS rows */
    size_t row_capacity;
};

enum { FIELDS, ROWS, WIDTH, MISSING, OTHERWISE, TEXTS, SCALE, OFFSET, RATE };
static const struct pith_option options[] = {
    [FIELDS] = {.name = "fields",
                .type = PITH_OPTION_STRINGS,
                .otherwise = "~",
                .help = "paths of the values of a row, in order, with dots: [temperature, "
                        "battery.0.level]; left out: "
                        "the payload is a number, or an array of `width` numbers"},
    [ROWS] = {.name = "rows",
              .type = PITH_OPTION_STRING,
              .otherwise = "~",
              .help = "path of an array with a row in each element, or \".\" where the payload is "
                      "that array"},
    [WIDTH] = {.name = "width",
               .type = PITH_OPTION_INT,
               .minimum = 0,
               .maximum = MAX_WIDTH,
               .otherwise = "0",
               .help = "without fields: numbers in a row's array; 0: a row is a bare number"},
    [MISSING] =
        {.name = "missing",
         .type = PITH_OPTION_CHOICE,
         .otherwise = "refuse",
         .choices = missing_names,
         .help =
             "a field that is missing or null: refuse the payload, take the field's last value, or "
             "`otherwise`"},
    [OTHERWISE] = {.name = "otherwise",
                   .type = PITH_OPTION_FLOAT,
                   .minimum = -1e30,
                   .maximum = 1e30,
                   .otherwise = "0",
                   .help = "what a missing field counts as with missing: otherwise"},
    [TEXTS] = {.name = "texts",
               .type = PITH_OPTION_BOOL,
               .otherwise = "false",
               .help =
                   "also take numbers that are written as text, and \"ON\" and \"OFF\" as 1 and 0"},
    [SCALE] = {.name = "scale",
               .type = PITH_OPTION_FLOAT,
               .minimum = -1e30,
               .maximum = 1e30,
               .otherwise = "1",
               .help = "each value is multiplied by it"},
    [OFFSET] = {.name = "offset",
                .type = PITH_OPTION_FLOAT,
                .minimum = -1e30,
                .maximum = 1e30,
                .otherwise = "0",
                .help = "then added to each value"},
    [RATE] = {.name = "rate_hz",
              .type = PITH_OPTION_FLOAT,
              .minimum = 0,
              .maximum = 10e6,
              .otherwise = "0",
              .help = "rows a second; 0: no fixed rate"},
    [RATE + 1] = {0},
};

static void json_close(struct pith_codec *codec)
{
    if (!codec)
        return;
    for (size_t i = 0; i < codec->field_count; i++)
        free(codec->fields[i]);
    free(codec->fields);
    free(codec->rows_path);
    free(codec->last);
    free(codec->rows);
    free(codec);
}

static int check_path(const char *path, struct pith_error *err)
{
    size_t length = strnlen(path, MAX_PATH_BYTES);
    size_t depth = 1;

    for (size_t i = 0; i < length; i++)
        depth += path[i] == '.';
    if (length == 0 || length == MAX_PATH_BYTES || depth > MAX_PATH_DEPTH || path[0] == '.' ||
        path[length - 1] == '.' || strstr(path, ".."))
        return pith_fail(err, -EINVAL,
                         "json: \"%.80s\" is no path: names with a dot between them, at most %d of "
                         "them, such as "
                         "battery.level",
                         path, MAX_PATH_DEPTH);
    return 0;
}

static int take_fields(struct pith_codec *codec, const struct pith_option_value *fields,
                       struct pith_error *err)
{
    if (fields->text_count > MAX_WIDTH)
        return pith_fail(err, -EINVAL, "json: %zu fields; at most %d are taken", fields->text_count,
                         MAX_WIDTH);
    if (fields->text_count == 0)
        return 0;
    codec->fields = calloc(fields->text_count, sizeof *codec->fields);
    if (!codec->fields)
        return -ENOMEM;
    for (size_t i = 0; i < fields->text_count; i++) {
        int rc = check_path(fields->texts[i], err);
        if (rc < 0)
            return rc;
        codec->fields[i] = strdup(fields->texts[i]);
        if (!codec->fields[i])
            return -ENOMEM;
        codec->field_count++;
    }
    return 0;
}

static int take_options(struct pith_codec *codec, const struct pith_option_value *values,
                        struct pith_error *err)
{
    int rc = take_fields(codec, &values[FIELDS], err);

    if (rc < 0)
        return rc;
    if (codec->field_count > 0 && values[WIDTH].integer > 0)
        return pith_fail(err, -EINVAL,
                         "json: width says what a row is without fields; leave one of them out");
    if (values[ROWS].text && strcmp(values[ROWS].text, ".") != 0)
        rc = check_path(values[ROWS].text, err);
    if (rc < 0)
        return rc;
    codec->rows_path = values[ROWS].text ? strdup(values[ROWS].text) : NULL;
    if (values[ROWS].text && !codec->rows_path)
        return -ENOMEM;
    codec->bare_number = codec->field_count == 0 && values[WIDTH].integer == 0;
    codec->width = codec->field_count ? codec->field_count : (size_t) values[WIDTH].integer;
    codec->width += codec->bare_number;
    codec->missing = (enum missing) values[MISSING].integer;
    codec->otherwise = values[OTHERWISE].number;
    codec->texts = values[TEXTS].integer;
    codec->scale = values[SCALE].number;
    codec->offset = values[OFFSET].number;
    codec->last = malloc(codec->width * sizeof *codec->last);
    codec->rows = malloc(codec->width * sizeof *codec->rows);
    codec->row_capacity = 1;
    if (!codec->last || !codec->rows)
        return -ENOMEM;
    for (size_t i = 0; i < codec->width; i++)
        codec->last[i] = NAN;
    return 0;
}

static int json_open(const struct pith_host *host, const struct pith_option_value *values,
                     struct pith_codec **out, struct pith_codec_stream *out_stream,
                     struct pith_error *err)
{
    struct pith_codec *codec = calloc(1, sizeof *codec);
    int rc;

    (void) host;
    if (!codec)
        return -ENOMEM;
    rc = take_options(codec, values, err);
    if (rc < 0) {
        json_close(codec);
        return rc;
    }
    *out_stream = (struct pith_codec_stream){.dtype = PITH_FLOAT32, .rate_hz = values[RATE].number};
    if (!codec->bare_number)
        out_stream->shape = (struct pith_shape){.rank = 1, .dim = {(int64_t) codec->width}};
    *out = codec;
    return 0;
}

/* What a path leads to, or NULL. A number as a name is an index where an array stands. */
static json_t *follow(json_t *value, const char *path)
{
    char name[MAX_PATH_BYTES];

    while (value && *path) {
        size_t length = strcspn(path, ".");
        memcpy(name, path, length);
        name[length] = 0;
        path += length + (path[length] == '.');
        if (json_is_array(value)) {
            char *end;
            unsigned long index = strtoul(name, &end, 10);
            value = *end || name[0] < '0' || name[0] > '9' ? NULL : json_array_get(value, index);
        } else {
            value = json_object_get(value, name);
        }
    }
    return value;
}

static bool number_of_text(const char *text, double *out)
{
    char *end;

    if (strcmp(text, "ON") == 0 || strcmp(text, "OFF") == 0) {
        *out = text[1] == 'N';
        return true;
    }
    if (!strchr("+-.0123456789", text[0]))
        return false;
    *out = strtod(text, &end);
    return end != text && !*end;
}

static bool number_of(const struct pith_codec *codec, const json_t *value, double *out)
{
    if (json_is_number(value)) {
        *out = json_number_value(value);
        return true;
    }
    if (json_is_boolean(value)) {
        *out = json_is_true(value);
        return true;
    }
    return codec->texts && json_is_string(value) && number_of_text(json_string_value(value), out);
}

static const char *type_name(const json_t *value)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array", [JSON_STRING] = "a text",
        [JSON_INTEGER] = "a number", [JSON_REAL] = "a number",  [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",      [JSON_NULL] = "null",
    };

    return value ? names[json_typeof(value)] : "missing";
}

/* One value of a row. row: before this payload's rows take effect, `before` holds the field's last
 * value. */
static int read_value(const struct pith_codec *codec, const json_t *value, size_t field,
                      const float *before, float *out, struct pith_error *err)
{
    const char *name = codec->field_count ? codec->fields[field] : "the payload";
    double number;

    if (!value || json_is_null(value)) {
        if (codec->missing == MISSING_OTHERWISE) {
            *out = (float) (codec->otherwise * codec->scale + codec->offset);
            return 0;
        }
        if (codec->missing == MISSING_LAST && !isnan(before[field])) {
            *out = before[field];
            return 0;
        }
        return pith_fail(err, -EBADMSG, "json: \"%s\" is %s%s", name, type_name(value),
                         codec->missing == MISSING_LAST ? ", and no earlier payload had it"
                                                        : "; `missing:` says what else to do then");
    }
    if (!number_of(codec, value, &number))
        return pith_fail(
            err, -EBADMSG, "json: \"%s\" is %s where a number should be%s", name, type_name(value),
            json_is_string(value) && !codec->texts ? "; texts: true takes numbers in quotes" : "");
    *out = (float) (number * codec->scale + codec->offset);
    if (!isfinite(*out))
        return pith_fail(err, -EBADMSG, "json: \"%s\" is no number in the range of float32", name);
    return 0;
}

static int read_row(const struct pith_codec *codec, json_t *value, const float *before, float *row,
                    struct pith_error *err)
{
    if (codec->bare_number)
        return read_value(codec, value, 0, before, row, err);
    if (codec->field_count == 0 && json_array_size(value) != codec->width)
        return pith_fail(err, -EBADMSG,
                         "json: a row is %s of %zu where an array of %zu numbers should be",
                         type_name(value), json_array_size(value), codec->width);
    if (codec->field_count > 0 && !json_is_object(value) && !json_is_array(value))
        return pith_fail(err, -EBADMSG, "json: a row is %s where an object should be",
                         type_name(value));
    for (size_t i = 0; i < codec->width; i++) {
        json_t *field =
            codec->field_count ? follow(value, codec->fields[i]) : json_array_get(value, i);
        int rc = read_value(codec, field, i, before, &row[i], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int reserve(struct pith_codec *codec, size_t count, struct pith_error *err)
{
    float *rows;

    if (count < 1 || count > MAX_ROWS)
        return pith_fail(err, -EBADMSG, "json: %zu rows in a payload; 1 to %d are taken", count,
                         MAX_ROWS);
    if (count <= codec->row_capacity)
        return 0;
    rows = realloc(codec->rows, count * codec->width * sizeof *rows);
    if (!rows)
        return -ENOMEM;
    codec->rows = rows;
    codec->row_capacity = count;
    return 0;
}

static int read_rows(struct pith_codec *codec, json_t *root, size_t *out_count,
                     struct pith_error *err)
{
    json_t *list = NULL;
    const float *before = codec->last;
    int rc;

    *out_count = 1;
    if (codec->rows_path) {
        list = strcmp(codec->rows_path, ".") == 0 ? root : follow(root, codec->rows_path);
        if (!json_is_array(list))
            return pith_fail(err, -EBADMSG, "json: \"%s\" is %s where an array of rows should be",
                             codec->rows_path, type_name(list));
        *out_count = json_array_size(list);
    }
    rc = reserve(codec, *out_count, err);
    for (size_t i = 0; i < *out_count && rc == 0; i++) {
        float *row = codec->rows + i * codec->width;
        rc = read_row(codec, list ? json_array_get(list, i) : root, before, row, err);
        before = row;
    }
    if (rc == 0)
        memcpy(codec->last, before, codec->width * sizeof *codec->last);
    return rc;
}

static int json_feed(struct pith_codec *codec, const void *payload, size_t payload_bytes,
                     pith_codec_emit *emit, void *user, struct pith_error *err)
{
    struct pith_tensor tensor = {.dtype = PITH_FLOAT32};
    json_error_t fault;
    json_t *root;
    size_t count;
    int rc;

    if (payload_bytes > MAX_PAYLOAD_BYTES)
        return pith_fail(err, -EBADMSG, "json: a payload of %zu bytes; at most %d are taken",
                         payload_bytes, MAX_PAYLOAD_BYTES);
    root = json_loadb(payload, payload_bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &fault);
    if (!root)
        return pith_fail(err, -EBADMSG, "json: line %d, column %d: %s", fault.line, fault.column,
                         fault.text);
    rc = read_rows(codec, root, &count, err);
    json_decref(root);
    if (rc < 0)
        return rc;
    tensor.data = codec->rows;
    tensor.bytes = count * codec->width * sizeof *codec->rows;
    tensor.shape.rank = codec->bare_number ? 1 : 2;
    tensor.shape.dim[0] = (int64_t) count;
    tensor.shape.dim[1] = codec->bare_number ? 0 : (int64_t) codec->width;
    return emit(user, &tensor);
}

static const struct pith_codec_ops ops = {
    .size_bytes = sizeof ops,
    .open = json_open,
    .feed = json_feed,
    .close = json_close,
};

PITH_EXPORT const struct pith_plugin pith_plugin = {
    .size_bytes = sizeof pith_plugin,
    .abi_major = PITH_ABI_MAJOR,
    .abi_minor = PITH_ABI_MINOR,
    .kind = PITH_KIND_CODEC,
    .name = "json",
    .version = "1.0",
    .summary = "numbers out of JSON messages, such as those of zigbee2mqtt",
    .ops = &ops,
    .options = options,
};
