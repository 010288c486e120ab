/* The writer behind daemon/database.h, with real files: group commit, faults of single writes,
 * broken, newer and locked files, and a full disk. */
#include "daemon/database.h"
#include "tests/testing.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <sqlite3.h>
#include <sys/stat.h>

struct fixture {
    uv_loop_t loop;
    char folder[64];
    char path[128];
    struct database *database;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    strcpy(f->folder, "/tmp/pith-database-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    (void) snprintf(f->path, sizeof f->path, "%s/telemetry.db", f->folder);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    *state = f;
    return 0;
}

static void open_database(struct fixture *f, int64_t commit_every_ms)
{
    struct database_options options = {.path = f->path, .commit_every_ms = commit_every_ms};
    struct pith_error err = {0};

    assert_ok(database_open(&f->database, &f->loop, &options, &err), &err);
}

static void close_database(struct fixture *f)
{
    database_close(f->database);
    f->database = NULL;
    while (uv_run(&f->loop, UV_RUN_DEFAULT)) /* a write's done may have stopped it */
        ;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];

    if (f->database)
        close_database(f);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    (void) snprintf(command, sizeof command, "rm -rf %s", f->folder);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

struct note { /* a write of one row */
    struct database_write write;
    uv_loop_t *loop;
    const char *model;
    int64_t generation;
    int fail_with;
    int status;
    int done_count;
    struct pith_error error;
};

static int note_run(struct database_write *write, sqlite3 *connection, struct pith_error *err)
{
    struct note *note = write->user;
    int rc = database_exec(
        connection, err, "INSERT INTO models (model, generation, desired_sha256) VALUES (?, ?, '')",
        "si", note->model, note->generation);

    return rc < 0 ? rc : note->fail_with ? pith_fail(err, note->fail_with, "as asked") : 0;
}

static void note_done(struct database_write *write, int status, const struct pith_error *err)
{
    struct note *note = write->user;

    note->status = status;
    note->error = *err;
    note->done_count++;
    uv_stop(note->loop);
}

static struct note *note_new(struct fixture *f, const char *model, bool durable)
{
    struct note *note = calloc(1, sizeof *note);

    assert_non_null(note);
    note->write = (struct database_write){
        .run_on_writer = note_run, .done = note_done, .durable = durable, .user = note};
    note->loop = &f->loop;
    note->model = model;
    note->generation = 1;
    return note;
}

static void wait_done(struct fixture *f, const struct note *note)
{
    while (note->done_count == 0)
        (void) uv_run(&f->loop, UV_RUN_DEFAULT);
}

/* As another process sees the file. */
static int64_t count_rows(const char *path, const char *sql)
{
    sqlite3 *reader = NULL;
    sqlite3_stmt *statement = NULL;
    int64_t count;

    assert_int_equal(sqlite3_open_v2(path, &reader, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(reader, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    count = sqlite3_column_int64(statement, 0);
    (void) sqlite3_finalize(statement);
    (void) sqlite3_close(reader);
    return count;
}

static void durable_write_is_on_disk_when_done_is_called(void **state)
{
    struct fixture *f = *state;
    struct note *note = note_new(f, "kws", true);

    open_database(f, 3600000);
    database_submit(f->database, &note->write);
    wait_done(f, note);
    assert_int_equal(note->status, 0);
    assert_int_equal(count_rows(f->path, "SELECT count(*) FROM models"), 1);
    free(note);
}

static void telemetry_waits_until_a_durable_write_takes_it_along(void **state)
{
    struct fixture *f = *state;
    struct note *telemetry = note_new(f, "a", false), *durable = note_new(f, "b", true);
    struct database_counts counts;

    open_database(f, 3600000);
    database_submit(f->database, &telemetry->write);
    assert_int_equal(count_rows(f->path, "SELECT count(*) FROM models"), 0);
    database_submit(f->database, &durable->write);
    wait_done(f, durable);
    wait_done(f, telemetry);
    database_counts(f->database, &counts);
    assert_int_equal(counts.commits, 1);
    assert_int_equal(counts.written, 2);
    assert_int_equal(count_rows(f->path, "SELECT count(*) FROM models"), 2);
    free(telemetry);
    free(durable);
}

static void telemetry_is_committed_by_the_period(void **state)
{
    struct fixture *f = *state;
    struct note *note = note_new(f, "a", false);

    open_database(f, 50);
    database_submit(f->database, &note->write);
    wait_done(f, note);
    assert_int_equal(note->status, 0);
    assert_int_equal(count_rows(f->path, "SELECT count(*) FROM models"), 1);
    free(note);
}

static void failed_write_leaves_the_others_alone(void **state)
{
    struct fixture *f = *state;
    struct note *a = note_new(f, "a", false), *b = note_new(f, "b", false),
                *c = note_new(f, "c", true);

    b->fail_with = -EINVAL;
    open_database(f, 3600000);
    database_submit(f->database, &a->write);
    database_submit(f->database, &b->write);
    database_submit(f->database, &c->write);
    wait_done(f, c);
    wait_done(f, b);
    assert_int_equal(a->status, 0);
    assert_int_equal(b->status, -EINVAL);
    assert_string_equal(b->error.text, "as asked");
    assert_int_equal(c->status, 0);
    assert_int_equal(count_rows(f->path, "SELECT count(*) FROM models"), 2);
    free(a);
    free(b);
    free(c);
}

static void constraint_is_reported_with_its_words(void **state)
{
    struct fixture *f = *state;
    struct note *a = note_new(f, "a", true);
    struct pith_error err = {0};

    open_database(f, 3600000);
    assert_ok(database_run_now(f->database, &a->write, &err), &err);
    assert_int_equal(database_run_now(f->database, &a->write, &err), -EEXIST);
    assert_non_null(strstr(err.text, "models.model"));
    assert_int_equal(a->done_count, 0);
    free(a);
}

static void close_commits_what_waits_and_calls_done(void **state)
{
    struct fixture *f = *state;
    struct note *notes[20];
    char names[20][8];
    size_t i;

    open_database(f, 3600000);
    for (i = 0; i < 20; i++) {
        (void) snprintf(names[i], sizeof names[i], "m%zu", i);
        notes[i] = note_new(f, names[i], false);
        database_submit(f->database, &notes[i]->write);
    }
    close_database(f);
    for (i = 0; i < 20; i++) {
        assert_int_equal(notes[i]->done_count, 1);
        assert_int_equal(notes[i]->status, 0);
        free(notes[i]);
    }
    assert_int_equal(count_rows(f->path, "SELECT count(*) FROM models"), 20);
}

static void write_bytes(const char *path, const void *bytes, size_t count, off_t at)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, count, at), count);
    close(fd);
}

static size_t count_put_aside(struct fixture *f)
{
    char pattern[160];
    glob_t found = {0};
    size_t count;

    (void) snprintf(pattern, sizeof pattern, "%s.broken-*[0-9]", f->path);
    (void) glob(pattern, 0, NULL, &found);
    count = found.gl_pathc;
    globfree(&found);
    return count;
}

static void file_that_is_no_database_is_put_aside(void **state)
{
    struct fixture *f = *state;
    char junk[8192];

    memset(junk, 'x', sizeof junk);
    write_bytes(f->path, junk, sizeof junk, 0);
    open_database(f, 3600000);
    assert_int_equal(count_put_aside(f), 1);
    assert_int_equal(count_rows(f->path, "SELECT count(*) FROM models"), 0);
}

static void malformed_pages_are_put_aside(void **state)
{
    struct fixture *f = *state;
    struct note *note = note_new(f, "a", true);
    struct pith_error err = {0};
    char junk[4096];

    open_database(f, 3600000);
    assert_ok(database_run_now(f->database, &note->write, &err), &err);
    close_database(f);
    memset(junk, 0xa5, sizeof junk);
    write_bytes(f->path, junk, sizeof junk, 4096L * 3);
    open_database(f, 3600000);
    assert_int_equal(count_put_aside(f), 1);
    assert_int_equal(count_rows(f->path, "SELECT count(*) FROM models"), 0);
    free(note);
}

static void newer_schema_is_refused_and_left_as_it_was(void **state)
{
    struct fixture *f = *state;
    struct database_options options = {.path = f->path, .commit_every_ms = 1000};
    struct pith_error err = {0};
    struct database *database = NULL;
    sqlite3 *other = NULL;

    open_database(f, 3600000);
    close_database(f);
    assert_int_equal(sqlite3_open(f->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "PRAGMA user_version = 999", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    assert_int_equal(database_open(&database, &f->loop, &options, &err), -ENOTSUP);
    assert_null(database);
    assert_non_null(strstr(err.text, "number 999"));
    assert_int_equal(count_rows(f->path, "PRAGMA user_version"), 999);
}

static void what_is_no_file_is_refused_by_name(void **state)
{
    struct fixture *f = *state;
    struct database_options options = {.path = f->path, .commit_every_ms = 1000};
    struct pith_error err = {0};
    struct database *database = NULL;

    assert_int_equal(mkfifo(f->path, 0600), 0);
    assert_int_equal(database_open(&database, &f->loop, &options, &err), -EINVAL);
    assert_null(database);
    assert_non_null(strstr(err.text, "is no regular file"));
    assert_int_equal(count_put_aside(f), 0);
    assert_int_equal(unlink(f->path), 0);
}

static void *release_on_thread(void *user)
{
    sqlite3 *other = user;

    usleep(300000); /* some busy rounds of the writer */
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    return NULL;
}

static void lock_of_another_process_is_waited_for(void **state)
{
    struct fixture *f = *state;
    struct note *note = note_new(f, "a", true);
    sqlite3 *other = NULL;
    pthread_t thread;

    open_database(f, 3600000);
    assert_int_equal(sqlite3_open(f->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    database_submit(f->database, &note->write);
    assert_int_equal(pthread_create(&thread, NULL, release_on_thread, other), 0);
    wait_done(f, note);
    assert_int_equal(note->status, 0);
    pthread_join(thread, NULL);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    free(note);
}

static int fill_run(struct database_write *write, sqlite3 *connection, struct pith_error *err)
{
    (void) write;
    return database_exec(connection, err,
                         "INSERT INTO models (model, generation, desired_sha256) "
                         "VALUES (hex(randomblob(8)), 1, hex(randomblob(100000)))",
                         "");
}

static int limit_run(struct database_write *write, sqlite3 *connection, struct pith_error *err)
{
    char sql[64];
    int64_t *pages = write->user;

    (void) snprintf(sql, sizeof sql, "PRAGMA max_page_count = %lld", (long long) *pages);
    return database_query(connection, err, NULL, NULL, sql, "");
}

/* max_page_count answers as a full disk does: SQLITE_FULL. */
static void full_disk_drops_telemetry_reports_durable_and_recovers(void **state)
{
    struct fixture *f = *state;
    struct note *telemetry = note_new(f, "t", false), *durable = note_new(f, "d", true);
    struct note *small = note_new(f, "small", true);
    int64_t pages = 1;
    struct database_write limit = {.run_on_writer = limit_run, .user = &pages};
    struct database_counts counts;
    struct pith_error err = {0};

    open_database(f, 3600000);
    assert_ok(database_run_now(f->database, &limit, &err), &err);
    telemetry->write.run_on_writer = fill_run;
    durable->write.run_on_writer = fill_run;
    database_submit(f->database, &telemetry->write);
    database_submit(f->database, &small->write); /* fits into a page that is there */
    wait_done(f, small);
    assert_int_equal(small->status, 0);
    wait_done(f, telemetry);
    assert_int_equal(telemetry->status, -ENOSPC);
    database_submit(f->database, &durable->write);
    wait_done(f, durable);
    assert_int_equal(durable->status, -ENOSPC);
    assert_non_null(strstr(durable->error.text, "full"));
    database_counts(f->database, &counts);
    assert_int_equal(counts.dropped, 1);
    assert_int_equal(counts.failed, 1);

    pages = 1000000;
    assert_ok(database_run_now(f->database, &limit, &err), &err);
    durable->done_count = 0;
    database_submit(f->database, &durable->write);
    wait_done(f, durable);
    assert_int_equal(durable->status, 0);
    free(telemetry);
    free(durable);
    free(small);
}

static int slow_run(struct database_write *write, sqlite3 *connection, struct pith_error *err)
{
    pthread_mutex_t *gate = write->user;

    (void) connection;
    (void) err;
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return 0;
}

static void too_much_waiting_telemetry_drops_the_oldest(void **state)
{
    struct fixture *f = *state;
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    struct database_write slow = {.run_on_writer = slow_run, .durable = true, .user = &gate};
    struct note *first = note_new(f, "first", false);
    struct database_write *many = calloc(4096, sizeof *many);
    struct database_counts counts;
    size_t i;

    assert_non_null(many);
    open_database(f, 3600000);
    pthread_mutex_lock(&gate);
    database_submit(f->database, &slow);
    usleep(20000); /* the writer most likely has it now; the outcome is the same if not */
    database_submit(f->database, &first->write);
    for (i = 0; i < 4096; i++) {
        many[i] = (struct database_write){.run_on_writer = slow_run, .user = &gate};
        database_submit(f->database, &many[i]);
    }
    wait_done(f, first);
    assert_int_equal(first->status, -ENOBUFS);
    pthread_mutex_unlock(&gate);
    database_counts(f->database, &counts);
    assert_int_equal(counts.dropped, 1);
    close_database(f);
    free(many);
    free(first);
}

static void views_read_while_the_daemon_has_it_open(void **state)
{
    struct fixture *f = *state;

    open_database(f, 3600000);
    assert_int_equal(count_rows(f->path, "SELECT count(*) FROM deployment_history"), 0);
    assert_int_equal(count_rows(f->path, "SELECT count(*) FROM deployment_outcomes"), 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        test(durable_write_is_on_disk_when_done_is_called),
        test(telemetry_waits_until_a_durable_write_takes_it_along),
        test(telemetry_is_committed_by_the_period),
        test(failed_write_leaves_the_others_alone),
        test(constraint_is_reported_with_its_words),
        test(close_commits_what_waits_and_calls_done),
        test(file_that_is_no_database_is_put_aside),
        test(malformed_pages_are_put_aside),
        test(newer_schema_is_refused_and_left_as_it_was),
        test(what_is_no_file_is_refused_by_name),
        test(lock_of_another_process_is_waited_for),
        test(full_disk_drops_telemetry_reports_durable_and_recovers),
        test(too_much_waiting_telemetry_drops_the_oldest),
        test(views_read_while_the_daemon_has_it_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
