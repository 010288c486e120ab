/* Samples in a CSV file: a row each. Columns whose first field is no number (dates) are left out, but
 * one that only lacks its first numbers is a fault;
 * where one row in so many begins is remembered, so that any row is near. */
#include "libpith/compress/dataset_source.h"

#include "libpith/base/file.h"
#include "libpith/formats/csv.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_BETWEEN 64 /* that are known to begin where */

struct table {
    struct dataset_source source;
    struct pith_mapping file;
    const char *path; /* for sentences; own */
    locale_t plain;
    size_t field_count;
    bool kept[PITH_CSV_MAX_COLUMNS];
    bool blank[PITH_CSV_MAX_COLUMNS]; /* nothing stands there so far */
    size_t label_field; /* SIZE_MAX: none */
    struct dataset_classes classes;
    struct pith_csv_cursor *starts; /* own; of each ROWS_BETWEEN-th row */
    struct pith_csv_cursor at;      /* where row `next` begins */
    uint64_t next;
    struct pith_tensor row; /* own; [columns] */
    float label;
    struct pith_tensor label_value;
};

static bool is_blank(const struct pith_csv_field *field)
{
    static const char *const words[] = {"NA", "NaN", "nan", "null"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (field->bytes == strlen(words[i]) && !memcmp(field->at, words[i], field->bytes))
            return true;
    for (size_t i = 0; i < field->bytes; i++)
        if (field->at[i] != ' ' && field->at[i] != '\t')
            return false;
    return true;
}

/* Reads the row at the cursor. first: whether columns are chosen. out: NULL where nothing is kept.
 */
static int read_row(struct table *table, bool first, struct pith_sample *out,
                    struct pith_error *err)
{
    struct pith_csv_field field = {0};
    size_t line = table->at.line, count = 0;
    float number, *to = table->row.data;

    for (; !field.last; count++) {
        int rc = pith_csv_next_field(&table->at, &field, err);

        if (rc < 0)
            return rc;
        if (count == table->field_count)
            return pith_fail(err, -EBADMSG, "line %zu has more than the %zu fields of its header",
                             line, table->field_count);
        bool is_label = count == table->label_field;

        if (is_label && is_blank(&field))
            return pith_fail(err, -EBADMSG, "line %zu has no label", line);
        if (is_label && out) {
            char *name = pith_csv_text(&field);

            if (!name)
                return -ENOMEM;
            out->class_index = dataset_class_of(&table->classes, name);
            free(name);
        }
        if (first) {
            table->blank[count] = !is_label && is_blank(&field);
            table->kept[count] =
                !is_label && !table->blank[count] && pith_csv_number(&field, table->plain, &number);
        } else if (table->blank[count] && !is_blank(&field)) {
            if (pith_csv_number(&field, table->plain, &number))
                return pith_fail(err, -EBADMSG,
                                 "column %zu has numbers from line %zu on, but none before it",
                                 count + 1, line);
            table->blank[count] = false; /* words, left out */
        }
        if ((is_label && table->source.labels == PITH_LABEL_VALUES) || table->kept[count]) {
            if (!pith_csv_number(&field, table->plain, &number) || !isfinite(number))
                return pith_fail(err, -EBADMSG, "line %zu, column %zu: \"%.*s\" is no number", line,
                                 count + 1, field.bytes < 40 ? (int) field.bytes : 40, field.at);
            if (is_label)
                table->label = number;
            else if (out)
                *to++ = number;
        }
    }
    return count == table->field_count
               ? 0
               : pith_fail(err, -EBADMSG, "line %zu has %zu fields where its header has %zu", line,
                           count, table->field_count);
}

static int table_read(struct dataset_source *source, uint64_t index, struct pith_sample *out,
                      struct pith_error *err)
{
    struct table *table = (struct table *) source;
    int rc = 0;

    if (index < table->next || index / ROWS_BETWEEN > table->next / ROWS_BETWEEN) {
        table->at = table->starts[index / ROWS_BETWEEN];
        table->next = index / ROWS_BETWEEN * ROWS_BETWEEN;
    }
    while (rc == 0 && table->next <= index) {
        pith_csv_skip_blank_lines(&table->at);
        rc = read_row(table, false, out, err);
        table->next++;
    }
    if (rc < 0)
        return pith_fail_in(err, rc, "%s", table->path);
    out->x = table->row;
    if (source->labels == PITH_LABEL_VALUES)
        out->values = table->label_value;
    return 0;
}

static void table_close(struct dataset_source *source)
{
    struct table *table = (struct table *) source;

    pith_mapping_close(&table->file);
    dataset_classes_done(&table->classes);
    pith_tensor_free(&table->row);
    free(table->starts);
    free((char *) (uintptr_t) table->path);
    if (table->plain)
        freelocale(table->plain);
    free(table);
}

static const struct dataset_source_ops table_ops = {.read = table_read, .close = table_close};

/* A file whose fields something else separates looks like one of a single column. */
static int check_separator(const struct table *table, const char *only_name, struct pith_error *err)
{
    const char *other = table->field_count == 1 ? strpbrk(only_name, ";\t|") : NULL;

    return other ? pith_fail(err, -EBADMSG, "its fields are separated by %s; commas are needed",
                             *other == '\t' ? "tabs" : *other == ';' ? "';'" : "'|'")
                 : 0;
}

static int read_header(struct table *table, const char *label, struct pith_error *err)
{
    struct pith_csv_field field = {0};

    pith_csv_skip_blank_lines(&table->at);
    table->label_field = SIZE_MAX;
    while (!field.last) {
        char *name;
        int rc =
            table->field_count < PITH_CSV_MAX_COLUMNS
                ? pith_csv_next_field(&table->at, &field, err)
                : pith_fail(err, -EBADMSG, "it has more than %d columns", PITH_CSV_MAX_COLUMNS);

        if (rc < 0)
            return rc;
        name = pith_csv_text(&field);
        if (!name)
            return -ENOMEM;
        if (label && !strcmp(name, label))
            table->label_field = table->field_count;
        table->field_count++;
        rc = check_separator(table, field.last ? name : "", err);
        free(name);
        if (rc < 0)
            return rc;
    }
    if (label && table->label_field == SIZE_MAX)
        return pith_fail(err, -EINVAL, "it has no column \"%s\" for labels", label);
    return 0;
}

/* Goes through all rows once: what is wrong with the file is told before anything runs on it. */
static int count_rows(struct table *table, struct pith_error *err)
{
    size_t capacity = 0;

    for (pith_csv_skip_blank_lines(&table->at); table->at.at < table->at.end;
         pith_csv_skip_blank_lines(&table->at)) {
        uint64_t at = table->source.count++;

        if (at % ROWS_BETWEEN == 0 && at / ROWS_BETWEEN == capacity) {
            capacity = capacity ? 2 * capacity : 64;
            void *grown = realloc(table->starts, capacity * sizeof *table->starts);

            if (!grown)
                return -ENOMEM;
            table->starts = grown;
        }
        if (at % ROWS_BETWEEN == 0)
            table->starts[at / ROWS_BETWEEN] = table->at;
        int rc = read_row(table, at == 0, NULL, err);

        if (rc < 0)
            return rc;
    }
    return table->source.count > 0 ? 0 : pith_fail(err, -EBADMSG, "it has no rows under a header");
}

/* Labels are names where one is no number, classes where each is a whole number or a known name; else numbers to be
 * predicted. Names that no file lists are classes in alphabetical order. */
static int settle_labels(struct table *table, struct pith_error *err)
{
    struct pith_csv_cursor start = table->at;
    bool open = table->classes.count == 0, whole = true;
    int64_t class_index;
    int rc = 0;

    if (table->label_field == SIZE_MAX)
        return 0;
    table->source.labels = PITH_LABEL_CLASS;
    for (pith_csv_skip_blank_lines(&table->at); rc == 0 && open && table->at.at < table->at.end;
         pith_csv_skip_blank_lines(&table->at)) {
        struct pith_csv_field field = {0};
        float number;

        for (size_t i = 0; rc == 0 && !field.last; i++) {
            rc = pith_csv_next_field(&table->at, &field, err);
            if (rc < 0 || i != table->label_field || is_blank(&field))
                continue;
            if (pith_csv_number(&field, table->plain, &number)) {
                whole = whole && number == floorf(number) && number >= -1 && number < 65536;
                continue;
            }
            char *name = pith_csv_text(&field);

            rc = name ? dataset_classes_take(&table->classes, name, true, &class_index, err) : -ENOMEM;
            free(name);
        }
    }
    table->at = start;
    if (rc == 0 && open && table->classes.count == 0 && !whole)
        table->source.labels = PITH_LABEL_VALUES;
    return rc < 0 || !open ? rc : dataset_classes_sort(&table->classes, NULL, err);
}

static int scan(struct table *table, const struct pith_dataset_options *options,
                struct pith_error *err)
{
    int64_t columns = 0;
    int rc = dataset_classes_read(&table->classes, options->classes, err);

    if (rc < 0)
        return rc;
    rc = read_header(table, options->labels, err);
    if (rc == 0)
        rc = settle_labels(table, err);
    if (rc == 0)
        rc = count_rows(table, err);
    for (size_t i = 0; i < table->field_count; i++)
        columns += table->kept[i];
    if (rc == 0 && columns == 0)
        rc = pith_fail(err, -EBADMSG, "it has no column of numbers");
    if (rc < 0)
        return pith_fail_in(err, rc, "%s", options->data);
    struct pith_shape shape = pith_shape_of(1, &columns), scalar = {0};

    table->label_value = (struct pith_tensor){.dtype = PITH_FLOAT32,
                                              .shape = scalar,
                                              .data = &table->label,
                                              .bytes = sizeof table->label};
    table->next = table->source.count;
    return pith_tensor_alloc(&table->row, PITH_FLOAT32, &shape, err);
}

int dataset_open_table(struct dataset_source **out, const struct pith_dataset_options *options,
                       struct pith_error *err)
{
    struct table *table = calloc(1, sizeof *table);
    int rc;

    if (!table)
        return pith_fail(err, -ENOMEM, "no memory for a data set");
    table->source.ops = &table_ops;
    rc = dataset_refuse_index(options, err);
    if (rc < 0) {
        free(table);
        return rc;
    }
    table->path = strdup(options->data);
    table->plain = newlocale(LC_ALL_MASK, "C", (locale_t) 0);
    rc = table->path && table->plain ? pith_mapping_open(&table->file, options->data, err)
                                     : pith_fail(err, -ENOMEM, "no memory for a data set");
    if (rc == 0) {
        table->at = pith_csv_begin(table->file.bytes ? (const char *) table->file.data : "",
                                   table->file.bytes);
        rc = scan(table, options, err);
    }
    if (rc < 0) {
        table_close(&table->source);
        return rc;
    }
    *out = &table->source;
    return 0;
}
