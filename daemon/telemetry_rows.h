/* Telemetry in SQL: adding rows, keeping within bounds, answering queries. What touches the file does not run on the
 * loop. */
#ifndef PITHD_TELEMETRY_ROWS_H
#define PITHD_TELEMETRY_ROWS_H

#include "daemon/histogram.h"
#include "libpith/base/names.h"
#include <jansson.h>
#include <stdbool.h>

struct sqlite3;

struct telemetry_row { /* one pipeline, version and variant in one minute */
    struct telemetry_row *next;
    char pipeline[PITH_NAME_BYTES], model[PITH_NAME_BYTES], version[PITH_NAME_BYTES], variant[PITH_NAME_BYTES];
    uint64_t payload_count, inference_count, fired_count;
    struct histogram latency;
    uint64_t cpu_ns;
    uint64_t energy_uj, energy_inference_count; /* unknown where the count is 0 */
    uint32_t energy_source;                     /* enum pith_energy_source */
    uint64_t correct_count, labelled_count, agreed_count, compared_count, dropped_count, refused_count;
};

/* Adds the row to its minute, hour and day. Within a transaction of the writer. */
int telemetry_row_write(struct sqlite3 *connection, const struct telemetry_row *row, int64_t minute_ms,
                        struct pith_error *err);
struct telemetry_bounds {
    int64_t keep_ms;        /* hours and days; minutes go after MINUTES_KEEP_MS at the latest */
    int64_t max_size_bytes; /* of the database file */
};
/* Deletes what is too old, then the oldest and finest rows until the file is within its size. Rows that a clock stamped
 * which had not been set yet (before 2020) have no age, and go for the size alone.
 * now_ms: 0 where the clock isn't to be trusted: nothing is too old then. */
int telemetry_rows_prune(struct sqlite3 *connection, const struct telemetry_bounds *bounds, int64_t now_ms,
                         struct pith_error *err);

/* When to prune: every hour of a clock that never steps, and by age only once the wall clock has run for an hour without
 * a step. A gateway without a battery starts in another year until NTP answers; a wrong one must not cost what was
 * measured in the right one. Zeroed at the start. */
struct telemetry_pruning {
    bool began;
    int64_t ahead_ms;        /* the wall clock, of the steady one */
    uint64_t stepped_at_ms;  /* steady clock: of the last step, or of the start */
    uint64_t next_ms;        /* steady clock */
};
/* Asked each minute that measured something. True: now; *out_now_ms is what telemetry_rows_prune takes. */
bool telemetry_pruning_due(struct telemetry_pruning *pruning, int64_t wall_ms, uint64_t steady_ms, int64_t *out_now_ms);

struct telemetry_question {
    const char *period;   /* "minute", "hour", "day", or "summary" for all days in one row */
    const char *pipeline; /* NULL: all */
    int64_t since_ms;
    int64_t limit;
};
/* *out: an array of objects, newest first; NULL columns are null. Opens the file read only, on the calling thread. */
int telemetry_rows_query_on_thread(const char *path, const struct telemetry_question *question, json_t **out,
                                   struct pith_error *err);

#endif
