/* Tables, figures and progress. Widths count characters, not bytes: names and units are UTF-8. */
#include "cli/output.h"

#include "libpith/base/json.h"
#include "libpith/base/names.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TABLE_MAX_COLUMNS 16

struct table {
    size_t columns, rows, capacity;
    char **cells; /* rows x columns; own */
};

static void *must(void *memory)
{
    if (!memory) {
        fprintf(stderr, "pith: out of memory\n");
        exit(CLI_FAILED);
    }
    return memory;
}

struct table *table_new(size_t columns)
{
    struct table *table = must(calloc(1, sizeof *table));

    table->columns = columns < TABLE_MAX_COLUMNS ? columns : TABLE_MAX_COLUMNS;
    return table;
}

void table_row(struct table *table, const char *const *cells)
{
    if (table->rows == table->capacity) {
        table->capacity = table->capacity ? table->capacity * 2 : 16;
        table->cells =
            must(realloc(table->cells, table->capacity * table->columns * sizeof *table->cells));
    }
    for (size_t i = 0; i < table->columns; i++)
        table->cells[table->rows * table->columns + i] =
            pith_disarm(must(strdup(cells[i] ? cells[i] : "")), "");
    table->rows++;
}

static size_t width_of(const char *text)
{
    size_t width = 0;

    for (; *text; text++)
        width += ((unsigned char) *text & 0xc0) != 0x80; /* bytes that begin a character */
    return width;
}

static bool looks_like_a_number(const char *text)
{
    return isdigit((unsigned char) text[0]) ||
           (text[0] == '-' && (isdigit((unsigned char) text[1]) || !text[1]));
}

/* A column is put to the right where all that is below its head begins as a number. */
static bool is_right(const struct table *table, size_t column)
{
    bool any = false;

    for (size_t row = 1; row < table->rows; row++) {
        const char *cell = table->cells[row * table->columns + column];

        if (!cell[0])
            continue;
        if (!looks_like_a_number(cell))
            return false;
        any = true;
    }
    return any;
}

void table_print(const struct table *table)
{
    size_t widths[TABLE_MAX_COLUMNS] = {0};
    bool right[TABLE_MAX_COLUMNS];

    for (size_t column = 0; column < table->columns; column++)
        right[column] = is_right(table, column);
    for (size_t i = 0; i < table->rows * table->columns; i++) {
        size_t width = width_of(table->cells[i]);

        if (width > widths[i % table->columns])
            widths[i % table->columns] = width;
    }
    for (size_t row = 0; row < table->rows; row++) {
        for (size_t column = 0; column < table->columns; column++) {
            const char *cell = table->cells[row * table->columns + column];
            int padding = (int) (widths[column] - width_of(cell));
            bool last = column + 1 == table->columns;

            printf("%*s%s%*s%s", right[column] ? padding : 0, "", cell,
                   right[column] || last ? 0 : padding, "", last ? "\n" : "  ");
        }
    }
}

void table_free(struct table *table)
{
    if (!table)
        return;
    for (size_t i = 0; i < table->rows * table->columns; i++)
        free(table->cells[i]);
    free(table->cells);
    free(table);
}

static bool is_unknown(double number)
{
    return !isfinite(number) || number < 0;
}

static const char *with_unit(double number, const char *const *units, double step,
                             char text[FIGURE_BYTES])
{
    if (is_unknown(number)) {
        (void) snprintf(text, FIGURE_BYTES, "-");
        return text;
    }
    while (number >= step * 0.9995 && units[1]) {
        number /= step;
        units++;
    }
    (void) snprintf(text, FIGURE_BYTES, "%.*f %s",
                    number < 10 && number != floor(number)    ? 2
                    : number < 100 && number != floor(number) ? 1
                                                              : 0,
                    number, units[0]);
    return text;
}

const char *figure_bytes(double bytes, char text[FIGURE_BYTES])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", NULL};

    return with_unit(bytes, units, 1000, text);
}

const char *figure_us(double us, char text[FIGURE_BYTES])
{
    static const char *const units[] = {"µs", "ms", "s", NULL};

    return with_unit(us, units, 1000, text);
}

const char *figure_count(double count, char text[FIGURE_BYTES])
{
    static const char *const units[] = {"", "k", "M", "G", "T", NULL};
    size_t length;

    with_unit(count, units, 1000, text);
    length = strlen(text);
    if (length && text[length - 1] == ' ')
        text[length - 1] = 0;
    return text;
}

const char *figure_percent(double ratio, char text[FIGURE_BYTES])
{
    if (is_unknown(ratio))
        (void) snprintf(text, FIGURE_BYTES, "-");
    else
        (void) snprintf(text, FIGURE_BYTES, "%.1f %%", 100 * ratio);
    return text;
}

const char *figure_times(double ratio, char text[FIGURE_BYTES])
{
    if (is_unknown(ratio))
        (void) snprintf(text, FIGURE_BYTES, "-");
    else
        (void) snprintf(text, FIGURE_BYTES, "%.2f×", ratio);
    return text;
}

#define BAR_CELLS 20

void progress_show(const char *label, double done_ratio)
{
    char bar[BAR_CELLS * 4] = "";
    int full = (int) (done_ratio * BAR_CELLS + 0.5);

    if (!isatty(STDERR_FILENO))
        return;
    for (int i = 0; i < BAR_CELLS; i++)
        (void) strcat(bar, i < full ? "█" : "░");
    fprintf(stderr, "\r\033[K%s  %s %3.0f %%", label, bar, 100 * done_ratio);
    (void) fflush(stderr);
}

void progress_end(void)
{
    if (isatty(STDERR_FILENO))
        fputc('\n', stderr);
}

void print_json(const json_t *value)
{
    char *text = must(pith_json_text(value));

    puts(text);
    free(text);
}

double number_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_number(value) ? json_number_value(value) : NAN;
}

const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

/* One value in a cell. */
static char *cell_text(const json_t *value)
{
    char text[64];

    switch (value ? json_typeof(value) : JSON_NULL) {
    case JSON_NULL:
        return must(strdup("-"));
    case JSON_STRING:
        return must(strdup(json_string_value(value)));
    case JSON_REAL:
        (void) snprintf(text, sizeof text, "%.6g", json_real_value(value));
        return must(strdup(text));
    case JSON_TRUE:
        return must(strdup("yes"));
    case JSON_FALSE:
        return must(strdup("no"));
    default:
        return must(pith_json_text(value));
    }
}

/* A list of objects: a column for each key of the first. */
static void print_objects(const json_t *list)
{
    const char *keys[TABLE_MAX_COLUMNS], *key;
    size_t columns = 0, index;
    struct table *table;
    json_t *row, *value;

    json_object_foreach(json_array_get(list, 0), key,
                        value) if (columns < TABLE_MAX_COLUMNS && !json_is_object(value) &&
                                   !json_is_array(value)) keys[columns++] = key;
    if (columns == 0)
        return;
    table = table_new(columns);
    table_row(table, keys);
    json_array_foreach(list, index, row)
    {
        char *cells[TABLE_MAX_COLUMNS];

        for (size_t i = 0; i < columns; i++)
            cells[i] = cell_text(json_object_get(row, keys[i]));
        table_row(table, (const char *const *) cells);
        for (size_t i = 0; i < columns; i++)
            free(cells[i]);
    }
    table_print(table);
    table_free(table);
}

void print_value(const json_t *value, int indent)
{
    const char *key;
    json_t *member;

    if (json_is_array(value) && json_is_object(json_array_get(value, 0))) {
        print_objects(value);
        return;
    }
    if (!json_is_object(value)) {
        char *text = cell_text(value);

        printf("%*s%s\n", indent, "", text);
        free(text);
        return;
    }
    json_object_foreach((json_t *) (uintptr_t) value, key, member)
    {
        bool nested = json_is_object(member) ||
                      (json_is_array(member) && json_is_object(json_array_get(member, 0)));
        char *text;

        if (nested) {
            printf("%*s%s:\n", indent, "", key);
            print_value(member, indent + 2);
            continue;
        }
        text = cell_text(member);
        printf("%*s%-20s %s\n", indent, "", key, text);
        free(text);
    }
}
