/* The table of a contest: a figure a line, a model a column. */
#include "cli/contest.h"
#include "cli/output.h"

#include <math.h>
#include <string.h>

#define MOST_MODELS 2

static const char *figure_plain(double x, char text[FIGURE_BYTES])
{
    if (isfinite(x))
        (void) snprintf(text, FIGURE_BYTES, "%.4g", x);
    else
        (void) snprintf(text, FIGURE_BYTES, "-");
    return text;
}

static const char *figure_uj(double uj, char text[FIGURE_BYTES])
{
    if (isfinite(uj))
        (void) snprintf(text, FIGURE_BYTES, "%.4g µJ", uj);
    else
        (void) snprintf(text, FIGURE_BYTES, "-");
    return text;
}

static const struct {
    const char *name, *key;
    const char *(*figure)(double, char[FIGURE_BYTES]);
} lines[] = {
    {"samples", "samples", figure_plain},
    {"bytes", "bytes", figure_bytes},
    {"entropy of weights", "entropy_bytes", figure_bytes},
    {"parameters", "parameters", figure_count},
    {"non-zero", "nonzero", figure_count},
    {"MACs", "macs", figure_count},
    {"peak activations", "peak_activation_bytes", figure_bytes},
    {"arena", "arena_bytes", figure_bytes},
    {"latency p50", "latency_p50_us", figure_us},
    {"latency p95", "latency_p95_us", figure_us},
    {"CPU time", "cpu_us", figure_us},
    {"energy", "energy_uj", figure_uj},
};

static bool is_share(const char *metric)
{
    return strcmp(metric, "mse") != 0 && strcmp(metric, "psnr") != 0;
}

static const char *figure_of_metric(const char *name, double x, char text[FIGURE_BYTES])
{
    return is_share(name) && isfinite(x) ? figure_percent(x, text) : figure_plain(x, text);
}

static void print_metric(struct table *table, const json_t *rows)
{
    const json_t *first = json_object_get(json_array_get(rows, 0), "metric");
    const char *name = json_string_value(json_object_get(first, "name"));
    const char *cells[MOST_MODELS + 2] = {name}, *bounds[MOST_MODELS + 2] = {"  95 %"};
    char value[MOST_MODELS][FIGURE_BYTES], bound[MOST_MODELS][2 * FIGURE_BYTES + 8];

    if (!name)
        return;
    for (size_t k = 0; k < json_array_size(rows) && k < MOST_MODELS; k++) {
        const json_t *metric = json_object_get(json_array_get(rows, k), "metric");
        char low[FIGURE_BYTES], high[FIGURE_BYTES];

        cells[k + 1] = figure_of_metric(name, number_of(metric, "value"), value[k]);
        (void) snprintf(bound[k], sizeof bound[k], "%s to %s",
                        figure_of_metric(name, number_of(metric, "low"), low),
                        figure_of_metric(name, number_of(metric, "high"), high));
        bounds[k + 1] = bound[k];
    }
    table_row(table, cells);
    table_row(table, bounds);
}

static void print_lines(struct table *table, const json_t *rows)
{
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        const char *cells[MOST_MODELS + 2] = {lines[i].name};
        char text[MOST_MODELS + 1][FIGURE_BYTES];
        double value[MOST_MODELS] = {NAN, NAN};
        bool known = false;

        for (size_t k = 0; k < json_array_size(rows) && k < MOST_MODELS; k++) {
            value[k] = number_of(json_array_get(rows, k), lines[i].key);
            cells[k + 1] = lines[i].figure(value[k], text[k]);
            known = known || isfinite(value[k]);
        }
        if (i > 0 && value[0] > 0 && isfinite(value[1]))
            cells[MOST_MODELS + 1] = figure_times(value[1] / value[0], text[MOST_MODELS]);
        if (known)
            table_row(table, cells);
    }
}

static void print_difference(const json_t *comparison)
{
    const json_t *metric = json_object_get(comparison, "metric");
    double fidelity = number_of(comparison, "fidelity_ratio");
    double error = number_of(comparison, "error_ratio");
    char text[FIGURE_BYTES];

    if (isfinite(fidelity))
        (void) printf("\nfidelity    %s of samples are decided alike",
                      figure_percent(fidelity, text));
    if (isfinite(error))
        (void) printf("\nerror       %.4g of the outputs' deviation (root mean square)", error);
    if (metric && strcmp(json_string_value(json_object_get(metric, "test")), "mcnemar") == 0)
        (void) printf(
            "\ndifference  %+.2f points (95 %%: %+.2f to %+.2f); right in the first alone "
            "%.0f, in the second alone %.0f: p = %.3g (McNemar)",
            100 * number_of(metric, "difference"), 100 * number_of(metric, "low"),
            100 * number_of(metric, "high"), number_of(comparison, "only_a"),
            number_of(comparison, "only_b"), number_of(metric, "p"));
    else if (metric)
        (void) printf("\ndifference  %+.4g (95 %%: %+.4g to %+.4g), p = %.3g (bootstrap of pairs)",
                      number_of(metric, "difference"), number_of(metric, "low"),
                      number_of(metric, "high"), number_of(metric, "p"));
    puts("");
}

void contest_print(const json_t *rows, const json_t *comparison)
{
    struct table *table = table_new(MOST_MODELS + 2);
    const char *head[MOST_MODELS + 2] = {"", NULL, NULL, NULL};
    const char *engines[MOST_MODELS + 2] = {"engine", NULL, NULL, NULL};

    for (size_t k = 0; k < json_array_size(rows) && k < MOST_MODELS; k++) {
        const json_t *row = json_array_get(rows, k);

        head[k + 1] = json_string_value(json_object_get(row, "model"));
        engines[k + 1] = json_string_value(json_object_get(row, "engine"));
    }
    table_row(table, head);
    table_row(table, engines);
    print_metric(table, rows);
    print_lines(table, rows);
    table_print(table);
    table_free(table);
    if (comparison)
        print_difference(comparison);
}
