/* See report.h. Ratios are of quiet times: to the fastest of the others, and to the time that the
 * multiplications alone would take at the machine's peak. */
#include "bench/engines/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
    const double x = *(const double *) a, y = *(const double *) b;

    return (x > y) - (x < y);
}

/* Lowest 10th percentile of any round. NaN where it has no round. */
static double quiet_of(const struct contestant *contestant)
{
    double least = NAN;

    for (size_t i = 0; i < contestant->rounds; i++)
        least = fmin(least, contestant->quiet_us[i]); /* fmin passes over NaN */
    return least;
}

/* Median of the rounds' medians. NaN where it has no round. */
static double median_of(const struct contestant *contestant)
{
    double sorted[CONTESTANT_ROUNDS_MAX];

    if (contestant->rounds == 0)
        return NAN;
    memcpy(sorted, contestant->median_us, contestant->rounds * sizeof *sorted);
    qsort(sorted, contestant->rounds, sizeof *sorted, compare);
    return sorted[contestant->rounds / 2];
}

/* PITH_ISA caps us, and oneDNN through its own setting; the others take what the CPU has, and then
 * are no measure. */
static bool is_capped(const struct contestant *contestant)
{
    return !getenv("PITH_ISA") || strcmp(contestant->engine, "native") == 0 ||
           strcmp(contestant->engine, "onednn") == 0;
}

static double best_other_us(const struct race *race, const struct contestant *than)
{
    double best = NAN;

    for (size_t i = 0; i < race->count; i++)
        if (&race->contestants[i] != than && race->contestants[i].ready &&
            is_capped(&race->contestants[i]))
            best = fmin(best, quiet_of(&race->contestants[i]));
    return best;
}

static double bound_us(const struct race *race, const struct contestant *contestant)
{
    const double gmacs =
        strcmp(race->model->type, "int8") == 0 ? race->peak->int8_gmacs : race->peak->f32_gmacs;

    return gmacs > 0 && contestant->macs > 0 ? contestant->macs / gmacs / 1e3 / race->threads : NAN;
}

static json_t *figure(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static void put(json_t *row, const char *key, double x)
{
    (void) json_object_set_new(row, key, figure(x));
}

void report_add(json_t *rows, const struct race *race)
{
    for (size_t i = 0; i < race->count; i++) {
        const struct contestant *c = &race->contestants[i];
        const double quiet_us = quiet_of(c);
        json_t *row =
            json_pack("{s:s, s:s, s:i, s:s, s:s, s:b, s:b}", "model", race->model->name, "type",
                      race->model->type, "threads", race->threads, "engine", c->engine, "library",
                      c->kernel, "ran", c->ready, "capped", is_capped(c));

        if (!c->ready)
            (void) json_object_set_new(row, "reason", json_string(c->reason));
        put(row, "cosine", c->cosine);
        (void) json_object_set_new(row, "is_off", json_boolean(c->is_off));
        put(row, "quiet_us", quiet_us);
        put(row, "median_us", median_of(c));
        put(row, "best_other_us", best_other_us(race, c));
        put(row, "bound_us", bound_us(race, c));
        put(row, "macs", c->macs);
        put(row, "load_ms", c->load_ms);
        put(row, "rss_bytes", c->rss_bytes);
        put(row, "arena_bytes", c->arena_bytes);
        put(row, "weight_bytes", c->weight_bytes);
        (void) json_object_set_new(row, "rounds", json_integer((json_int_t) c->rounds));
        (void) json_array_append_new(rows, row);
    }
}

/* "12.3" with few digits, or "-". */
static const char *short_number(double x, char text[16])
{
    if (!isfinite(x))
        (void) snprintf(text, 16, "-");
    else
        (void) snprintf(text, 16, x < 10 ? "%.2f" : x < 1000 ? "%.1f" : "%.0f", x);
    return text;
}

void report_head(void)
{
    (void) printf("%-12s %-8s %2s %-14s %9s %9s %7s %7s %8s %8s %9s\n", "model", "type", "th",
                  "engine", "quiet us", "median us", "/other", "/bound", "load ms", "RSS MB",
                  "arena kB");
}

void report_print(const struct race *race)
{
    for (size_t i = 0; i < race->count; i++) {
        const struct contestant *c = &race->contestants[i];
        const double quiet_us = quiet_of(c);
        char text[7][16], engine[32];

        (void) snprintf(engine, sizeof engine, "%s%s%s", c->engine, is_capped(c) ? "" : " *",
                        c->is_off ? " !" : "");
        if (!c->ready) {
            (void) printf("%-12s %-8s %2d %-14s can't: %s\n", race->model->name, race->model->type,
                          race->threads, engine, c->reason);
            continue;
        }
        (void) printf("%-12s %-8s %2d %-14s %9s %9s %7s %7s %8s %8s %9s\n", race->model->name,
                      race->model->type, race->threads, engine, short_number(quiet_us, text[0]),
                      short_number(median_of(c), text[1]),
                      short_number(quiet_us / best_other_us(race, c), text[2]),
                      short_number(quiet_us / bound_us(race, c), text[3]),
                      short_number(c->load_ms, text[4]), short_number(c->rss_bytes / 1e6, text[5]),
                      short_number(c->arena_bytes / 1e3, text[6]));
    }
    for (size_t i = 0; i < race->count; i++)
        if (race->contestants[i].ready && race->contestants[i].is_off)
            (void) printf("! %s: its outputs are off, cosine %.5f to those of %s\n",
                          race->contestants[i].engine, race->contestants[i].cosine,
                          race->reference);
    (void) fflush(stdout);
}
