/* CSV, read twice: once to count the rows, once to fill the tensor. Numbers are read without regard
 * to the locale. */
#include "libpith/formats/csv.h"

#include "libpith/base/file.h"
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MOST_BYTES   256
#define NUMBER_MOST_BYTES 64

int pith_csv_next_field(struct pith_csv_cursor *text, struct pith_csv_field *out,
                        struct pith_error *err)
{
    const char *at = text->at;
    bool quoted = at < text->end && *at == '"';
    size_t line = text->line;

    if (at == text->end) { /* "1,2," has a third field, which is empty */
        *out = (struct pith_csv_field){.at = at, .last = true};
        return 0;
    }
    out->at = quoted ? ++at : at;
    out->quoted = quoted;
    if (quoted) {
        for (; at < text->end && !(at[0] == '"' && (at + 1 == text->end || at[1] != '"')); at++) {
            if (*at == '\n')
                text->line++;
            if (*at == '"')
                at++; /* the second of two */
        }
        if (at == text->end)
            return pith_fail(err, -EBADMSG, "line %zu: a quote is not closed", line);
        out->bytes = (size_t) (at++ - out->at);
        if (at < text->end && *at != ',' && *at != '\n' && *at != '\r')
            return pith_fail(err, -EBADMSG, "line %zu: text follows a closing quote", text->line);
    } else {
        while (at < text->end && *at != ',' && *at != '\n' && *at != '\r')
            at++;
        out->bytes = (size_t) (at - out->at);
    }
    out->last = at == text->end || *at != ',';
    if (at < text->end && *at == '\r')
        at++;
    if (at < text->end && (*at == ',' || *at == '\n'))
        at++;
    if (out->last)
        text->line++;
    text->at = at;
    return 0;
}

struct pith_csv_cursor pith_csv_begin(const char *text, size_t bytes)
{
    struct pith_csv_cursor start = {text, text + bytes, 1};

    if (bytes >= 3 &&
        !memcmp(text, "\xef\xbb\xbf", 3)) /* a byte order mark, as spreadsheets write it */
        start.at += 3;
    return start;
}

char *pith_csv_text(const struct pith_csv_field *field)
{
    char *text = malloc(field->bytes + 1);
    size_t used = 0;

    for (size_t i = 0; text && i < field->bytes; i++) {
        text[used++] = field->at[i];
        if (field->quoted && field->at[i] == '"')
            i++; /* the second of two */
    }
    if (text)
        text[used] = 0;
    return text;
}

static bool at_blank_line(const struct pith_csv_cursor *text)
{
    return *text->at == '\n' ||
           (*text->at == '\r' && text->at + 1 < text->end && text->at[1] == '\n');
}

void pith_csv_skip_blank_lines(struct pith_csv_cursor *text)
{
    while (text->at < text->end && at_blank_line(text)) {
        text->at += *text->at == '\r' ? 2 : 1;
        text->line++;
    }
}

/* Spaces around it are fine. */
bool pith_csv_number(const struct pith_csv_field *field, locale_t plain, float *out)
{
    char text[NUMBER_MOST_BYTES];
    char *end;

    if (field->bytes == 0 || field->bytes >= sizeof text || memchr(field->at, 0, field->bytes))
        return false;
    memcpy(text, field->at, field->bytes);
    text[field->bytes] = 0;
    *out = strtof_l(text, &end, plain);
    while (*end == ' ' || *end == '\t')
        end++;
    return end != text && *end == 0;
}

struct reading {
    struct pith_csv csv;
    locale_t plain;
    size_t fields;                   /* a row */
    bool kept[PITH_CSV_MAX_COLUMNS]; /* a field: whether its column holds numbers */
    size_t rows;
};

/* Goes through one row. row: NULL while rows are counted, else where its numbers go. */
static int read_row(struct reading *reading, struct pith_csv_cursor *text, bool first, float *row,
                    struct pith_error *err)
{
    size_t line = text->line;
    struct pith_csv_field field = {0};
    size_t count = 0;
    float number;

    while (!field.last) {
        int rc = pith_csv_next_field(text, &field, err);

        if (rc < 0)
            return rc;
        if (count == reading->fields)
            return pith_fail(err, -EBADMSG, "line %zu has more than the %zu fields of its header",
                             line, reading->fields);
        if (first) {
            reading->kept[count] = pith_csv_number(&field, reading->plain, &number);
        } else if (row && reading->kept[count]) {
            if (!pith_csv_number(&field, reading->plain, row) || !isfinite(*row))
                return pith_fail(err, -EBADMSG, "line %zu, column %zu: \"%.*s\" is no number", line,
                                 count + 1, field.bytes < 40 ? (int) field.bytes : 40, field.at);
            row++;
        }
        count++;
    }
    if (count != reading->fields)
        return pith_fail(err, -EBADMSG, "line %zu has %zu fields where its header has %zu", line,
                         count, reading->fields);
    return 0;
}

static int count_header(struct reading *reading, struct pith_csv_cursor *text,
                        struct pith_error *err)
{
    struct pith_csv_field field = {0};

    pith_csv_skip_blank_lines(text);
    while (!field.last) {
        int rc;

        if (text->at == text->end)
            return pith_fail(err, -EBADMSG, "it has no rows under a header");
        if (reading->fields == PITH_CSV_MAX_COLUMNS)
            return pith_fail(err, -EBADMSG, "it has more than %d columns", PITH_CSV_MAX_COLUMNS);
        rc = pith_csv_next_field(text, &field, err);
        if (rc < 0)
            return rc;
        reading->fields++;
    }
    return 0;
}

static int count_rows(struct reading *reading, struct pith_csv_cursor text, struct pith_error *err)
{
    for (pith_csv_skip_blank_lines(&text); text.at < text.end; pith_csv_skip_blank_lines(&text)) {
        int rc = read_row(reading, &text, reading->rows == 0, NULL, err);

        if (rc < 0)
            return rc;
        reading->rows++;
    }
    return reading->rows ? 0 : pith_fail(err, -EBADMSG, "it has no rows under a header");
}

/* Names of the columns that are kept; the quotes that were doubled stay so. */
static int read_names(struct reading *reading, struct pith_csv_cursor text, struct pith_error *err)
{
    struct pith_csv *csv = &reading->csv;

    csv->names = calloc(reading->fields, sizeof *csv->names);
    if (!csv->names)
        return pith_fail(err, -ENOMEM, "no memory for %zu columns", reading->fields);
    pith_csv_skip_blank_lines(&text);
    for (size_t i = 0; i < reading->fields; i++) {
        struct pith_csv_field field;
        int rc = pith_csv_next_field(&text, &field, err);

        if (rc < 0)
            return rc;
        if (!reading->kept[i])
            continue;
        csv->names[csv->column_count] =
            strndup(field.at, field.bytes < NAME_MOST_BYTES ? field.bytes : NAME_MOST_BYTES);
        if (!csv->names[csv->column_count])
            return pith_fail(err, -ENOMEM, "no memory for the name of a column");
        csv->column_count++;
    }
    return 0;
}

static int fill(struct reading *reading, struct pith_csv_cursor text, struct pith_error *err)
{
    const int64_t dims[] = {(int64_t) reading->rows, (int64_t) reading->csv.column_count};
    struct pith_shape shape = pith_shape_of(2, dims);
    float *row;
    int rc = pith_tensor_alloc(&reading->csv.numbers, PITH_FLOAT32, &shape, err);

    if (rc < 0)
        return rc;
    row = reading->csv.numbers.data;
    for (pith_csv_skip_blank_lines(&text); text.at < text.end && rc == 0;
         pith_csv_skip_blank_lines(&text)) {
        rc = read_row(reading, &text, false, row, err);
        row += reading->csv.column_count;
    }
    return rc;
}

int pith_csv_parse(struct pith_csv *out, const char *text, size_t bytes, struct pith_error *err)
{
    struct reading *reading = calloc(1, sizeof *reading);
    struct pith_csv_cursor start = pith_csv_begin(text, bytes);
    struct pith_csv_cursor body;
    int rc;

    if (!reading)
        return pith_fail(err, -ENOMEM, "no memory to read a table");
    body = start;
    reading->plain = newlocale(LC_ALL_MASK, "C", (locale_t) 0);
    rc = reading->plain ? count_header(reading, &body, err)
                        : pith_fail(err, -ENOMEM, "no memory to read a table");
    if (rc == 0)
        rc = count_rows(reading, body, err);
    if (rc == 0)
        rc = read_names(reading, start, err);
    if (rc == 0)
        rc = fill(reading, body, err);
    if (rc == 0) {
        *out = reading->csv;
        reading->csv = (struct pith_csv){0};
    }
    if (reading->plain)
        freelocale(reading->plain);
    pith_csv_done(&reading->csv);
    free(reading);
    return rc;
}

int pith_csv_read(struct pith_csv *out, const char *path, size_t limit_bytes,
                  struct pith_error *err)
{
    struct pith_mapping mapping;
    int rc = pith_mapping_open(&mapping, path, err);

    if (rc < 0)
        return rc;
    if (mapping.bytes > limit_bytes)
        rc =
            pith_fail(err, -EFBIG, "it has %zu bytes; %zu are allowed", mapping.bytes, limit_bytes);
    else
        rc = pith_csv_parse(out, mapping.bytes ? (const char *) mapping.data : "", mapping.bytes,
                            err);
    pith_mapping_close(&mapping);
    return rc < 0 ? pith_fail_in(err, rc, "%s", path) : 0;
}

int64_t pith_csv_column(const struct pith_csv *csv, const char *name)
{
    for (size_t i = 0; i < csv->column_count; i++)
        if (!strcmp(csv->names[i], name))
            return (int64_t) i;
    return -1;
}

void pith_csv_done(struct pith_csv *csv)
{
    if (!csv)
        return;
    pith_tensor_free(&csv->numbers);
    for (size_t i = 0; i < csv->column_count; i++)
        free(csv->names[i]);
    free(csv->names);
    *csv = (struct pith_csv){0};
}
