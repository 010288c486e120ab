/* Tests of daemon/telemetry_rows.c on a real database file. */
#include "daemon/telemetry_rows.h"

#include "daemon/database.h"
#include "daemon/database_open.h"
#include "tests/testing.h"

#include <errno.h>
#include <pith/meter.h>
#include <sqlite3.h>

#define DAY_MS INT64_C(86400000)
#define T0     (20000 * DAY_MS) /* some midnight */

struct fixture {
    char folder[64], path[128];
    sqlite3 *connection;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct pith_error err = {0};

    assert_non_null(f);
    strcpy(f->folder, "/tmp/pith-telemetry-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    (void) snprintf(f->path, sizeof f->path, "%s/pith.db", f->folder);
    assert_ok(database_open_file(&f->connection, f->path, &err), &err);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];

    assert_int_equal(sqlite3_close(f->connection), SQLITE_OK);
    (void) snprintf(command, sizeof command, "rm -rf %s", f->folder);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static struct telemetry_row row_of(const char *variant, uint32_t count, uint64_t us)
{
    struct telemetry_row row = {
        .payload_count = count, .inference_count = count, .cpu_ns = count * UINT64_C(1000000)};

    strcpy(row.pipeline, "kitchen");
    strcpy(row.model, "wakeword");
    strcpy(row.version, "1.0.0");
    strcpy(row.variant, variant);
    histogram_add(&row.latency, us, count);
    return row;
}

static json_t *ask(struct fixture *f, const char *period, const char *pipeline)
{
    struct telemetry_question question = {.period = period, .pipeline = pipeline, .limit = 1000};
    struct pith_error err = {0};
    json_t *rows;

    assert_ok(telemetry_rows_query_on_thread(f->path, &question, &rows, &err), &err);
    return rows;
}

static json_int_t integer(json_t *rows, size_t at, const char *key)
{
    json_t *value = json_object_get(json_array_get(rows, at), key);

    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static void parts_of_a_period_add_up(void **state)
{
    struct fixture *f = *state;
    struct pith_error err = {0};
    struct telemetry_row row = row_of("int8", 90, 100);
    json_t *rows;

    row.correct_count = 3;
    row.labelled_count = 4;
    assert_ok(telemetry_row_write(f->connection, &row, T0, &err), &err);
    row = row_of("int8", 10, 5000);
    row.energy_uj = 700;
    row.energy_inference_count = 10;
    row.energy_source = PITH_ENERGY_MEASURED;
    assert_ok(telemetry_row_write(f->connection, &row, T0, &err), &err);
    row.energy_source = PITH_ENERGY_ESTIMATED;
    assert_ok(telemetry_row_write(f->connection, &row, T0 + 60000, &err), &err);

    rows = ask(f, "minute", NULL);
    assert_int_equal(json_array_size(rows), 2);
    assert_int_equal(integer(rows, 1, "inference_count"), 100);
    assert_int_equal(integer(rows, 1, "p50_us"), 102);
    assert_int_equal(integer(rows, 1, "p90_us"), 102);
    assert_int_equal(integer(rows, 1, "p99_us"), 4992);
    assert_int_equal(integer(rows, 1, "energy_uj"), 700);
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(rows, 1), "energy_source")), "measured");
    assert_true(json_is_null(json_object_get(json_array_get(rows, 1), "fidelity_ratio")));
    json_decref(rows);

    rows = ask(f, "day", "kitchen");
    assert_int_equal(json_array_size(rows), 1);
    assert_int_equal(integer(rows, 0, "inference_count"), 110);
    assert_int_equal(integer(rows, 0, "energy_uj"), 1400);
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(rows, 0), "energy_source")), "estimated");
    assert_float_equal(json_real_value(json_object_get(json_array_get(rows, 0), "accuracy_ratio")),
                       0.75, 1e-9);
    json_decref(rows);

    rows = ask(f, "day", "another");
    assert_int_equal(json_array_size(rows), 0);
    json_decref(rows);
}

static void summary_is_over_all_days_and_by_variant(void **state)
{
    struct fixture *f = *state;
    struct pith_error err = {0};
    struct telemetry_row row;
    json_t *rows;

    for (int day = 0; day < 5; day++) {
        row = row_of(day < 2 ? "original" : "int8", 10, day < 2 ? 4000 : 1000);
        assert_ok(telemetry_row_write(f->connection, &row, T0 + day * DAY_MS, &err), &err);
    }
    rows = ask(f, "summary", NULL);
    assert_int_equal(json_array_size(rows), 2);
    assert_int_equal(integer(rows, 0, "inference_count"), 20);
    assert_int_equal(integer(rows, 0, "p50_us"), 4032);
    assert_int_equal(integer(rows, 1, "inference_count"), 30);
    assert_int_equal(integer(rows, 1, "p99_us"), 1008);
    assert_true(json_is_null(json_object_get(json_array_get(rows, 1), "energy_uj_each")));
    json_decref(rows);
}

static size_t count_rows(struct fixture *f, const char *period)
{
    json_t *rows = ask(f, period, NULL);
    size_t count = json_array_size(rows);

    json_decref(rows);
    return count;
}

static void old_rows_go(void **state)
{
    struct fixture *f = *state;
    struct pith_error err = {0};
    struct telemetry_row row = row_of("int8", 1, 1);
    const struct telemetry_bounds bounds = {.keep_ms = 30 * DAY_MS, .max_size_bytes = INT64_MAX};

    for (int day = 0; day < 60; day++)
        assert_ok(telemetry_row_write(f->connection, &row, T0 + day * DAY_MS, &err), &err);
    assert_ok(telemetry_rows_prune(f->connection, &bounds, T0 + 59 * DAY_MS, &err), &err);
    assert_int_equal(count_rows(f, "minute"), 8);
    assert_int_equal(count_rows(f, "hour"), 31);
    assert_int_equal(count_rows(f, "day"), 32);
}

static void rows_of_a_clock_that_was_not_set_stay(void **state)
{
    struct fixture *f = *state;
    struct pith_error err = {0};
    struct telemetry_row row = row_of("int8", 1, 1);
    const struct telemetry_bounds bounds = {.keep_ms = 30 * DAY_MS, .max_size_bytes = INT64_MAX};

    assert_ok(telemetry_row_write(f->connection, &row, 120000, &err), &err); /* 1970 */
    assert_ok(telemetry_row_write(f->connection, &row, T0, &err), &err);
    assert_ok(telemetry_rows_prune(f->connection, &bounds, T0 + 59 * DAY_MS, &err), &err);
    assert_int_equal(count_rows(f, "minute"), 1);
    assert_int_equal(count_rows(f, "hour"), 1);
    assert_int_equal(count_rows(f, "day"), 1);
}

static void nothing_is_too_old_for_a_clock_that_is_not_trusted(void **state)
{
    struct fixture *f = *state;
    struct pith_error err = {0};
    struct telemetry_row row = row_of("int8", 1, 1);
    const struct telemetry_bounds none = {.keep_ms = 30 * DAY_MS, .max_size_bytes = 0};
    struct telemetry_bounds bounds = {.keep_ms = 30 * DAY_MS, .max_size_bytes = INT64_MAX};

    assert_ok(telemetry_row_write(f->connection, &row, T0, &err), &err);
    assert_ok(telemetry_rows_prune(f->connection, &bounds, 0, &err), &err);
    assert_int_equal(count_rows(f, "minute"), 1);
    assert_ok(telemetry_rows_prune(f->connection, &none, 0, &err),
              &err); /* its size holds all the same */
    assert_int_equal(count_rows(f, "minute"), 0);
}

static void pruning_waits_for_a_clock_that_is_steady(void **state)
{
    struct telemetry_pruning pruning = {0};
    const int64_t hour_ms = 3600000, year_ms = 365 * DAY_MS;
    int64_t now_ms = -1;

    (void) state;
    /* the first minute after a start: by size alone, whatever the clock says */
    assert_true(telemetry_pruning_due(&pruning, T0, 5000, &now_ms));
    assert_int_equal(now_ms, 0);
    assert_false(telemetry_pruning_due(&pruning, T0 + 60000, 65000, &now_ms));
    assert_true(telemetry_pruning_due(&pruning, T0 + hour_ms, 5000 + 3600000, &now_ms));
    assert_true(now_ms == T0 + hour_ms);
    /* fifty years ahead, and back: neither is believed at once, and neither stops pruning */
    assert_false(telemetry_pruning_due(&pruning, T0 + 50 * year_ms, 5000 + 3660000, &now_ms));
    assert_true(telemetry_pruning_due(&pruning, T0 + 50 * year_ms, 5000 + 7200000, &now_ms));
    assert_int_equal(now_ms, 0);
    assert_false(
        telemetry_pruning_due(&pruning, T0 + 2 * hour_ms + 60000, 5000 + 7260000, &now_ms));
    assert_true(telemetry_pruning_due(&pruning, T0 + 3 * hour_ms, 5000 + 10800000, &now_ms));
    assert_int_equal(now_ms, 0);
    /* slewed by 2 s in an hour: the same clock */
    assert_true(telemetry_pruning_due(&pruning, T0 + 4 * hour_ms + 2000, 5000 + 14400000, &now_ms));
    assert_true(now_ms == T0 + 4 * hour_ms + 2000);
}

static void file_stays_within_its_size(void **state)
{
    struct fixture *f = *state;
    struct pith_error err = {0};
    struct telemetry_row row = row_of("int8", 1, 1);
    const struct telemetry_bounds bounds = {.keep_ms = 300 * DAY_MS, .max_size_bytes = 400 * 1024};
    int64_t pages = 0, page_bytes = 0;
    sqlite3_stmt *statement;

    for (uint64_t i = 0; i < 200; i++)
        histogram_add(&row.latency, i * i * i, 1);
    assert_int_equal(sqlite3_exec(f->connection, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
    for (int minute = 0; minute < 600; minute++)
        assert_ok(telemetry_row_write(f->connection, &row, T0 + minute * 60000, &err), &err);
    assert_ok(telemetry_rows_prune(f->connection, &bounds, T0 + DAY_MS, &err), &err);
    assert_int_equal(sqlite3_exec(f->connection, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(f->connection,
                           "SELECT page_count, page_size FROM pragma_page_count, pragma_page_size",
                           -1, &statement, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    pages = sqlite3_column_int64(statement, 0);
    page_bytes = sqlite3_column_int64(statement, 1);
    (void) sqlite3_finalize(statement);
    assert_true(pages * page_bytes <= bounds.max_size_bytes + 16 * 4096);
    assert_true(count_rows(f, "minute") < 600);
    assert_int_equal(count_rows(f, "hour"), 10); /* minutes went first */
}

static void question_to_a_missing_file_is_refused(void **state)
{
    struct telemetry_question question = {.period = "day", .limit = 1};
    struct pith_error err = {0};
    json_t *rows;

    (void) state;
    assert_int_equal(telemetry_rows_query_on_thread("/nonexistent/pith.db", &question, &rows, &err),
                     -EACCES);
    assert_null(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(parts_of_a_period_add_up, setup, teardown),
        cmocka_unit_test_setup_teardown(summary_is_over_all_days_and_by_variant, setup, teardown),
        cmocka_unit_test_setup_teardown(old_rows_go, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_of_a_clock_that_was_not_set_stay, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_too_old_for_a_clock_that_is_not_trusted, setup,
                                        teardown),
        cmocka_unit_test(pruning_waits_for_a_clock_that_is_steady),
        cmocka_unit_test_setup_teardown(file_stays_within_its_size, setup, teardown),
        cmocka_unit_test(question_to_a_missing_file_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
