/* What is printed: tables, figures that people read, progress on a terminal, JSON. */
#ifndef PITH_CLI_OUTPUT_H
#define PITH_CLI_OUTPUT_H

#include "cli/cli.h"

/* A table: cells are copied; printed once all are there, so that columns fit. Numbers to the right. */
struct table;
struct table *table_new(size_t columns);
void table_row(struct table *table, const char *const *cells); /* as many as columns; NULL: empty */
void table_print(const struct table *table);                   /* the first row is the head */
void table_free(struct table *table);

/* "0.9 MB", "1.9 ms", "0.26×", "99.4 %"; "-" for a negative or NaN number, which is: unknown. Returns text. */
#define FIGURE_BYTES 32
const char *figure_bytes(double bytes, char text[FIGURE_BYTES]);
const char *figure_us(double us, char text[FIGURE_BYTES]);
const char *figure_count(double count, char text[FIGURE_BYTES]);
const char *figure_percent(double ratio, char text[FIGURE_BYTES]);
const char *figure_times(double ratio, char text[FIGURE_BYTES]);

/* A bar on stderr where that is a terminal; nothing elsewhere. label stays before it. */
void progress_show(const char *label, double done_ratio);
void progress_end(void); /* leaves the line */

/* The value as one line of JSON on stdout. */
void print_json(const json_t *value);
/* The value as people read it: objects as "key  value" lines, lists of objects as tables. */
void print_value(const json_t *value, int indent);
/* A member as a number; NaN where it is missing or no number. */
double number_of(const json_t *object, const char *key);
/* A member as a text; "" where it is missing or none. */
const char *text_of(const json_t *object, const char *key);

#endif
