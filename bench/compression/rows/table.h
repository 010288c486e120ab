/* What the rows found: a line of a table as soon as it is known, and all of it as JSON in the end. */
#ifndef PITH_BENCH_ROWS_TABLE_H
#define PITH_BENCH_ROWS_TABLE_H

#include "bench/compression/rows/lab.h"

void table_begin(bool as_json);
/* title: what the row is about; NULL text: none. */
void table_row(const char *name, const char *title);
/* A form of the model: value, its interval, difference from `base` with p (NULL: it is the base), bytes, time. */
void table_form(const struct subject *subject, const char *form, const struct outcome *outcome,
                const struct outcome *base);
/* Measures a form on the test samples, and prints it: the float model, or what these options make of it. */
struct outcome row_float(struct subject *subject);
struct outcome row_form(struct subject *subject, const char *name, const char *options, double budget_points,
                        const struct outcome *base);
/* Any other figure of the row. */
void table_figure(const char *what, double value, const char *unit);
void table_note(const char *format, ...) PITH_PRINTF(1, 2);
/* Whether the row holds to something. CHANCE: it does not by the numbers, and the samples are too few to tell (p > 0.05). */
enum verdict { MISSED, HELD, CHANCE };
void table_hold(enum verdict verdict, const char *format, ...) PITH_PRINTF(2, 3);
/* Holds where `a` is at most `most` points below `b`, on the same samples. Where so few are below that it may be chance, all
 * samples that there are decide. */
void table_hold_not_below(const struct subject *subject, const struct outcome *a, const struct outcome *b, double most,
                          const char *what);
/* ... where the bytes at rest are at most this share of the weights as float32. */
void table_hold_bytes(const struct subject *subject, const struct outcome *outcome, double most_ratio);
double points_below(const struct subject *subject, const struct outcome *a, const struct outcome *b);
/* Prints the JSON, or a last line. Returns how many things did not hold. */
int table_end(void);

#endif
