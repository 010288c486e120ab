/* Lines are printed as they come: a row takes minutes. */
#include "bench/compression/rows/table.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static bool quiet;       /* JSON only */
static json_t *rows, *row; /* row: borrowed, the last */
static int counts[3];
static const char *const verdict_names[] = {"MISSED", "held", "chance"};

static void say(const char *format, ...) PITH_PRINTF(1, 2);
static void say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (!quiet)
        (void) vprintf(format, args);
    va_end(args);
    (void) fflush(stdout);
}

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static void add(const char *list, json_t *entry)
{
    json_t *array = json_object_get(row, list);

    if (!array)
        (void) json_object_set_new(row, list, array = json_array());
    (void) json_array_append_new(array, entry);
}

void table_begin(bool as_json)
{
    quiet = as_json;
    rows = json_array();
}

void table_row(const char *name, const char *title)
{
    row = json_pack("{s:s, s:s}", "row", name, "title", title);
    (void) json_array_append_new(rows, row);
    say("\n%s: %s\n", name, title);
}

static void head(void)
{
    if (!json_object_get(row, "forms"))
        say("  %-26s %-8s %9s %19s %8s %6s %9s %6s %6s %7s\n", "", "metric", "value", "95 %", "-float", "p",
            "bytes", "ratio", "error", "seconds");
}

void table_form(const struct subject *subject, const char *form, const struct outcome *outcome,
                const struct outcome *base)
{
    struct pith_difference difference = {.value = NAN, .p = NAN};
    const struct pith_measurement *m = &outcome->value;
    double points = subject->points, ratio = (double) outcome->bytes / subject->weight_bytes;
    char seconds[32] = "", error[32] = "";

    head();
    if (base)
        lab_must(pith_metric_compare(base->metric, outcome->metric, &difference, NULL), NULL, form);
    say("  %-26s %-8s %9.3f %9.3f..%8.3f", form, m->name, m->value * points, m->low * points,
        m->high * points);
    if (base)
        say(" %+8.3f %6.3f", difference.value * points, difference.p);
    else
        say(" %8s %6s", "", "");
    if (outcome->seconds >= 0)
        (void) snprintf(seconds, sizeof seconds, "%.1f", outcome->seconds);
    if (outcome->report && isfinite(outcome->error_ratio))
        (void) snprintf(error, sizeof error, "%.3f", outcome->error_ratio);
    say(" %9zu %6.3f %6s %7s\n", outcome->bytes, ratio, error, seconds);
    add("forms", json_pack("{s:s, s:s, s:o, s:o, s:o, s:I, s:o, s:o, s:I, s:o, s:o, s:o}", "form", form,
                           "metric", m->name, "value", number(m->value * points), "low",
                           number(m->low * points), "high", number(m->high * points), "samples",
                           (json_int_t) m->samples, "difference", number(difference.value * points),
                           "p", number(difference.p), "bytes", (json_int_t) outcome->bytes,
                           "bytes_ratio", number(ratio), "output_error_ratio",
                           number(outcome->report ? outcome->error_ratio : NAN), "seconds",
                           number(outcome->seconds >= 0 ? outcome->seconds : NAN)));
}

void table_figure(const char *what, double value, const char *unit)
{
    say("  %-60s %10.4g %s\n", what, value, unit);
    add("figures", json_pack("{s:s, s:o, s:s}", "what", what, "value", number(value), "unit", unit));
}

void table_note(const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    (void) vsnprintf(text, sizeof text, format, args);
    va_end(args);
    say("  (%s)\n", text);
    add("notes", json_string(text));
}

void table_hold(enum verdict verdict, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    (void) vsnprintf(text, sizeof text, format, args);
    va_end(args);
    say("  %-6s %s\n", verdict_names[verdict], text);
    add("holds", json_pack("{s:s, s:s}", "verdict", verdict_names[verdict], "to", text));
    counts[verdict]++;
}

static double points_lost(const struct subject *subject, const struct pith_metric *a, const struct pith_metric *b,
                          struct pith_difference *difference)
{
    lab_must(pith_metric_compare(b, a, difference, NULL), NULL, "two forms");
    return (pith_metric_grows((enum pith_metric_kind) subject->metric.kind) ? -1 : 1) * difference->value *
           subject->points;
}

double points_below(const struct subject *subject, const struct outcome *a, const struct outcome *b)
{
    struct pith_difference difference;

    return points_lost(subject, a->metric, b->metric, &difference);
}

static enum verdict judge(double below, double most, double p)
{
    return below <= most + 1e-9 ? HELD : p > 0.05 ? CHANCE : MISSED;
}

void table_hold_not_below(const struct subject *subject, const struct outcome *a, const struct outcome *b,
                          double most, const char *what)
{
    char wider[96] = "";
    struct pith_difference difference;
    struct pith_measurement all;
    const double below = points_lost(subject, a->metric, b->metric, &difference);
    enum verdict verdict = judge(below, most, difference.p);

    if (a->wider && b->wider) {
        struct pith_difference wide;
        const double below_wide = points_lost(subject, a->wider, b->wider, &wide);

        if (verdict == CHANCE)
            verdict = judge(below_wide, most, wide.p);
        lab_must(pith_metric_measure(a->wider, &all, NULL), NULL, what);
        (void) snprintf(wider, sizeof wider, "; %+.3f on all %llu samples (p %.3f)", -below_wide,
                        (unsigned long long) all.samples, wide.p);
    }
    table_hold(verdict, "%+.3f from %s, at most %g below (p %.3f)%s", -below, what, most, difference.p, wider);
}

void table_hold_bytes(const struct subject *subject, const struct outcome *outcome, double most_ratio)
{
    double ratio = (double) outcome->bytes / subject->weight_bytes;

    table_hold(ratio <= most_ratio ? HELD : MISSED, "%.3f of the bytes of float32 weights, at most %.2f", ratio,
               most_ratio);
}

struct outcome row_float(struct subject *subject)
{
    struct outcome outcome = {.seconds = -1, .bytes = subject->bytes};

    subject_measure(subject, subject->graph, &subject->test, &outcome);
    table_form(subject, "float32", &outcome, NULL);
    return outcome;
}

struct outcome row_form(struct subject *subject, const char *name, const char *options, double budget_points,
                        const struct outcome *base)
{
    struct outcome outcome = {0};
    struct pith_graph *graph = subject_quantize(subject, options, budget_points, &outcome);

    subject_measure(subject, graph, &subject->test, &outcome);
    table_form(subject, name, &outcome, base);
    pith_graph_free(graph);
    return outcome;
}

int table_end(void)
{
    if (quiet) {
        (void) json_dumpf(rows, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(8));
        (void) puts("");
    }
    say("\n%d held, %d by chance below, %d missed\n", counts[HELD], counts[CHANCE], counts[MISSED]);
    json_decref(rows);
    return counts[MISSED];
}
