#include "daemon/telemetry_rows.h"

#include "daemon/database.h"
#include "libpith/base/clock.h"

#include <errno.h>
#include <pith/meter.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS   (60 * MINUTE_MS)
#define DAY_MS    (24 * HOUR_MS)
#define MINUTES_KEEP_MS                                                                            \
    (7 * DAY_MS)         /* minutes are for looking closely; hours and days hold the long run */
#define PRUNE_ROUNDS  50 /* of a tenth each: 99.5 % of the rows */
#define QUERY_BUSY_MS 2000
#define PRUNE_MS      HOUR_MS
#define TRUSTED_MS    HOUR_MS   /* NTP has answered long before */
#define STEP_MS       MINUTE_MS /* slewing moves a clock by 2 s in an hour */

static const char add_sql[] =
#include "schemas/statements/add_telemetry.sql.inc"
    ;
static const char drop_older_sql[] =
#include "schemas/statements/drop_telemetry_older.sql.inc"
    ;
static const char drop_oldest_sql[] =
#include "schemas/statements/drop_telemetry_oldest.sql.inc"
    ;
static const char periods_sql[] =
#include "schemas/statements/telemetry_periods.sql.inc"
    ;
static const char summary_sql[] =
#include "schemas/statements/telemetry_summary.sql.inc"
    ;

static const struct period {
    const char *name;
    int64_t ms;
} periods[] = {{"minute", MINUTE_MS}, {"hour", HOUR_MS}, {"day", DAY_MS}};

static int write_period(sqlite3 *connection, const struct telemetry_row *row,
                        const struct period *period, int64_t minute_ms, const char *histogram,
                        struct pith_error *err)
{
    bool has_energy = row->energy_inference_count > 0;
    const char *source = row->energy_source == PITH_ENERGY_MEASURED ? "measured" : "estimated";
    int64_t start_ms = minute_ms - minute_ms % period->ms;
    const int64_t n[] = {
        (int64_t) row->payload_count, (int64_t) row->inference_count,
        (int64_t) row->fired_count,   (int64_t) row->cpu_ns / 1000,
        (int64_t) row->energy_uj,     (int64_t) row->energy_inference_count,
        (int64_t) row->correct_count, (int64_t) row->labelled_count,
        (int64_t) row->agreed_count,  (int64_t) row->compared_count,
        (int64_t) row->dropped_count, (int64_t) row->refused_count,
    };

    if (has_energy)
        return database_exec(connection, err, add_sql, "sissssiiisiisiiiiiii", period->name,
                             start_ms, row->pipeline, row->model, row->version, row->variant, n[0],
                             n[1], n[2], histogram, n[3], n[4], source, n[5], n[6], n[7], n[8],
                             n[9], n[10], n[11]);
    return database_exec(connection, err, add_sql, "sissssiiisinniiiiiii", period->name, start_ms,
                         row->pipeline, row->model, row->version, row->variant, n[0], n[1], n[2],
                         histogram, n[3], n[5], n[6], n[7], n[8], n[9], n[10], n[11]);
}

int telemetry_row_write(sqlite3 *connection, const struct telemetry_row *row, int64_t minute_ms,
                        struct pith_error *err)
{
    struct pith_buffer histogram = {0};
    int rc = 0;

    histogram_json(&row->latency, &histogram);
    if (histogram.failed)
        rc = -ENOMEM;
    for (size_t i = 0; i < sizeof periods / sizeof *periods && rc == 0; i++)
        rc = write_period(connection, row, &periods[i], minute_ms, (const char *) histogram.data,
                          err);
    pith_buffer_done(&histogram);
    return rc;
}

static int int_of_row(void *user, sqlite3_stmt *row, struct pith_error *err)
{
    (void) err;
    *(int64_t *) user = sqlite3_column_int64(row, 0);
    return 0;
}

/* Bytes of pages that hold something; freed pages are given back to the file system afterwards. */
static int used_bytes(sqlite3 *connection, int64_t *out, struct pith_error *err)
{
    int64_t pages = 0, free_pages = 0, page_bytes = 0;
    int rc = database_query(connection, err, int_of_row, &pages, "PRAGMA page_count", "");

    if (rc == 0)
        rc = database_query(connection, err, int_of_row, &free_pages, "PRAGMA freelist_count", "");
    if (rc == 0)
        rc = database_query(connection, err, int_of_row, &page_bytes, "PRAGMA page_size", "");
    *out = (pages - free_pages) * page_bytes;
    return rc;
}

int telemetry_rows_prune(sqlite3 *connection, const struct telemetry_bounds *bounds, int64_t now_ms,
                         struct pith_error *err)
{
    int64_t minutes_ms = bounds->keep_ms < MINUTES_KEEP_MS ? bounds->keep_ms : MINUTES_KEEP_MS;
    int64_t keep_from_ms = now_ms - bounds->keep_ms;
    int64_t bytes = 0;
    int rc = 0;

    if (now_ms > 0)
        rc = database_exec(connection, err, drop_older_sql, "iiii", now_ms - minutes_ms,
                           keep_from_ms, keep_from_ms - DAY_MS, PITH_CLOCK_SET_MS);

    for (int round = 0; rc == 0 && round < PRUNE_ROUNDS; round++) {
        rc = used_bytes(connection, &bytes, err);
        if (rc < 0 || bytes <= bounds->max_size_bytes)
            break;
        rc = database_exec(connection, err, drop_oldest_sql, "");
        if (rc == 0 && sqlite3_changes(connection) == 0)
            break; /* all of what is left is not telemetry */
    }
    return rc < 0 ? rc : database_exec(connection, err, "PRAGMA incremental_vacuum", "");
}

bool telemetry_pruning_due(struct telemetry_pruning *pruning, int64_t wall_ms, uint64_t steady_ms,
                           int64_t *out_now_ms)
{
    int64_t ahead_ms = wall_ms - (int64_t) steady_ms;

    if (!pruning->began || llabs(ahead_ms - pruning->ahead_ms) >= STEP_MS)
        pruning->stepped_at_ms = steady_ms;
    pruning->began = true;
    pruning->ahead_ms = ahead_ms;
    if (steady_ms < pruning->next_ms)
        return false;
    pruning->next_ms = steady_ms + PRUNE_MS;
    *out_now_ms = steady_ms - pruning->stepped_at_ms >= TRUSTED_MS ? wall_ms : 0;
    return true;
}

static int object_of_row(void *user, sqlite3_stmt *row, struct pith_error *err)
{
    json_t *object = json_object();

    (void) err;
    for (int i = 0; object && i < sqlite3_column_count(row); i++) {
        json_t *value = NULL;
        switch (sqlite3_column_type(row, i)) {
        case SQLITE_INTEGER:
            value = json_integer(sqlite3_column_int64(row, i));
            break;
        case SQLITE_FLOAT:
            value = json_real(sqlite3_column_double(row, i));
            break;
        case SQLITE_TEXT:
            value = json_string((const char *) sqlite3_column_text(row, i));
            break;
        default:
            value = json_null();
        }
        if (json_object_set_new(object, sqlite3_column_name(row, i), value) < 0)
            return -ENOMEM;
    }
    return json_array_append_new(user, object) < 0 ? -ENOMEM : 0;
}

int telemetry_rows_query_on_thread(const char *path, const struct telemetry_question *question,
                                   json_t **out, struct pith_error *err)
{
    bool summary = strcmp(question->period, "summary") == 0;
    sqlite3 *connection = NULL;
    json_t *rows = json_array();
    int rc;

    *out = NULL;
    if (!rows)
        return -ENOMEM;
    if (sqlite3_open_v2(path, &connection, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
        rc = database_fail(connection, sqlite3_errcode(connection), path, err);
    else {
        (void) sqlite3_busy_timeout(connection, QUERY_BUSY_MS);
        rc = database_query(connection, err, object_of_row, rows,
                            summary ? summary_sql : periods_sql, "sisi", question->period,
                            question->since_ms, question->pipeline, question->limit);
    }
    (void) sqlite3_close(connection); /* read only */
    if (rc < 0 && rc != -ENOENT) {
        json_decref(rows);
        return rc;
    }
    *out = rows;
    return 0;
}
