/* The database's writer: one thread owns the connection, takes all that waits into one transaction,
 * and tells the loop when it is on disk. A failed write rolls back alone, by its savepoint; a
 * failed transaction is tried again with the durable writes only. Opening, migrating and putting a
 * broken file aside are in database_open.c. */
#include "daemon/database.h"

#include "daemon/database_open.h"
#include "libpith/base/clock.h"
#include "libpith/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BUSY_LIMIT_MS                                                                              \
    60000 /* how long another process may hold the file before writes are given up */
#define BUSY_CLOSING_LIMIT_MS                                                                      \
    2000 /* the same while closing: a stop must not hang on somebody's open transaction */
#define TELEMETRY_WAITING_LIMIT 4096 /* writes; some hours of minutes while the disk is stuck */

struct list { /* writes, linked by `next`, in order of arrival */
    struct database_write *first, **end;
};

struct database {
    uv_loop_t *loop;
    uv_async_t finished_async; /* the memory of this struct is freed in its close callback */
    pthread_t thread;
    sqlite3 *connection; /* under connection_lock */
    pthread_mutex_t
        connection_lock; /* the writer holds it for a transaction; database_run_now too */
    int64_t commit_every_ms;
    bool disk_full; /* the writer's: said once, not once a commit */

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t wake;
    struct list waiting;
    struct list finished;
    size_t durable_count;   /* in `waiting` */
    size_t telemetry_count; /* in `waiting` */
    uint64_t commit_at_ns;  /* when telemetry in `waiting` is due; 0: none waits */
    bool closing;

    atomic_ullong written, dropped, failed, commits;
    _Atomic uint64_t busy_since_ns; /* of the writer's lock attempt under way; 0: none */
};

static void list_init(struct list *list)
{
    list->first = NULL;
    list->end = &list->first;
}

static void list_add(struct list *list, struct database_write *write)
{
    write->next = NULL;
    *list->end = write;
    list->end = &write->next;
}

static void list_move(struct list *to, struct list *from)
{
    if (!from->first)
        return;
    *to->end = from->first;
    to->end = from->end;
    list_init(from);
}

/* SQLite asks this while another process holds the lock. */
static int busy_on_writer(void *user, int count)
{
    struct database *database = user;
    uint64_t now_ns = pith_monotonic_ns();
    struct timespec pause = {.tv_nsec = count < 10 ? 1000000 : 25000000};
    uint64_t limit_ms = BUSY_LIMIT_MS;
    bool closing;

    if (count == 0)
        atomic_store(&database->busy_since_ns, now_ns);
    if (count == 200)
        log_warn("database_locked",
                 "reason=\"another process has held a lock for 5 s; writes wait\"");
    pthread_mutex_lock(&database->lock);
    closing = database->closing;
    pthread_mutex_unlock(&database->lock);
    if (closing)
        limit_ms = BUSY_CLOSING_LIMIT_MS;
    if (now_ns - atomic_load(&database->busy_since_ns) > limit_ms * 1000000)
        return 0;
    (void) nanosleep(&pause, NULL);
    return 1;
}

static int transaction_exec(sqlite3 *connection, const char *sql, struct pith_error *err)
{
    int code = sqlite3_exec(connection, sql, NULL, NULL, NULL);

    return code == SQLITE_OK ? 0 : database_fail(connection, code, "database", err);
}

/* Runs one write in its savepoint. Negative only where the whole transaction is lost. */
static int write_run(sqlite3 *connection, struct database_write *write, struct pith_error *err)
{
    int rc = transaction_exec(connection, "SAVEPOINT one", err);

    if (rc < 0)
        return rc;
    write->error = (struct pith_error){0};
    write->status = write->run_on_writer(write, connection, &write->error);
    if (sqlite3_get_autocommit(
            connection)) /* a full disk, for one, ends the transaction by itself */
        return pith_fail(err, write->status < 0 ? write->status : -EIO, "%s",
                         write->error.text[0] ? write->error.text
                                              : "database: the transaction was undone");
    if (write->status < 0) {
        if (write->status == -ENOSPC || write->status == -EIO) {
            *err = write->error;
            return write->status;
        }
        rc = transaction_exec(connection, "ROLLBACK TO one", err);
    }
    return rc < 0 ? rc : transaction_exec(connection, "RELEASE one", err);
}

/* All writes of the list that are `durable`, or all, in one transaction. */
static int transaction_run(sqlite3 *connection, struct list *list, bool durable_only,
                           struct pith_error *err)
{
    struct database_write *write;
    int rc = transaction_exec(connection, "BEGIN IMMEDIATE", err);

    for (write = list->first; write && rc == 0; write = write->next)
        if (write->durable || !durable_only)
            rc = write_run(connection, write, err);
    if (rc == 0)
        rc = transaction_exec(connection, "COMMIT", err);
    if (rc < 0 && !sqlite3_get_autocommit(connection))
        (void) sqlite3_exec(connection, "ROLLBACK", NULL, NULL,
                            NULL); /* nothing is left to undo if it fails */
    return rc;
}

static void writes_fail(struct database *database, struct list *list, bool durable,
                        const struct pith_error *why)
{
    struct database_write *write;

    for (write = list->first; write; write = write->next) {
        if (write->durable != durable)
            continue;
        write->status = why->code;
        write->error = *why;
        atomic_fetch_add(durable ? &database->failed : &database->dropped, 1);
    }
}

static void say_failed(struct database *database, const struct pith_error *err)
{
    char quoted[PITH_ERROR_TEXT_BYTES * 2];

    if (!database->disk_full)
        log_error("database_write_failed", "reason=%s",
                  pith_log_quote(pith_error_text(err), quoted, sizeof quoted));
    database->disk_full = true;
}

static void list_commit(struct database *database, struct list *list)
{
    struct pith_error err = {0};
    struct database_write *write;
    bool durable = false, telemetry = false;
    int rc;

    for (write = list->first; write; write = write->next) {
        durable |= write->durable;
        telemetry |= !write->durable;
    }
    rc = transaction_run(database->connection, list, false, &err);
    if (rc < 0) {
        say_failed(database, &err);
        writes_fail(database, list, false, &err);
        if (durable && telemetry) { /* perhaps there is room for these alone */
            err = (struct pith_error){0};
            rc = transaction_run(database->connection, list, true, &err);
        }
        if (rc < 0)
            writes_fail(database, list, true, &err);
    } else if (database->disk_full) {
        log_notice("database_writes_again", "reason=\"what kept it from writing has gone\"");
        database->disk_full = false;
    }
    if (rc == 0)
        atomic_fetch_add(&database->commits, 1);
    for (write = list->first; write; write = write->next)
        if (write->status == 0)
            atomic_fetch_add(&database->written, 1);
}

/* Until there is something due. Returns false where the thread should end. Called with the lock
 * held. */
static bool wait_for_work(struct database *database)
{
    struct timespec until;

    for (;;) {
        if (database->durable_count > 0)
            return true;
        if (database->closing)
            return database->waiting.first != NULL;
        if (database->commit_at_ns == 0) {
            pthread_cond_wait(&database->wake, &database->lock);
            continue;
        }
        if (pith_monotonic_ns() >= database->commit_at_ns)
            return true;
        until.tv_sec = (time_t) (database->commit_at_ns / 1000000000);
        until.tv_nsec = (long) (database->commit_at_ns % 1000000000);
        (void) pthread_cond_timedwait(&database->wake, &database->lock, &until);
    }
}

static void *write_on_thread(void *user)
{
    struct database *database = user;
    struct list list;

    pthread_mutex_lock(&database->lock);
    while (wait_for_work(database)) {
        list_init(&list);
        list_move(&list, &database->waiting);
        database->durable_count = 0;
        database->telemetry_count = 0;
        database->commit_at_ns = 0;
        pthread_mutex_unlock(&database->lock);

        pthread_mutex_lock(&database->connection_lock);
        list_commit(database, &list);
        /* Its cache of pages: commits are seconds apart, and what the next one reads again is in the system's. */
        (void) sqlite3_db_release_memory(database->connection);
        pthread_mutex_unlock(&database->connection_lock);

        pthread_mutex_lock(&database->lock);
        list_move(&database->finished, &list);
        if (!database->closing)
            (void) uv_async_send(&database->finished_async);
    }
    pthread_mutex_unlock(&database->lock);
    return NULL;
}

static void call_done(struct database *database)
{
    struct list list;
    struct database_write *write, *next;

    list_init(&list);
    pthread_mutex_lock(&database->lock);
    list_move(&list, &database->finished);
    pthread_mutex_unlock(&database->lock);
    for (write = list.first; write; write = next) {
        next = write->next; /* done may free the write */
        if (write->done)
            write->done(write, write->status, &write->error);
    }
}

static void finished_on_loop(uv_async_t *async)
{
    call_done(async->data);
}

/* Takes the oldest telemetry write out of the queue, to make room. Called with the lock held. */
static void drop_oldest_telemetry(struct database *database)
{
    struct database_write **at = &database->waiting.first, *write;

    while (*at && (*at)->durable)
        at = &(*at)->next;
    write = *at;
    if (!write)
        return;
    *at = write->next;
    if (!*at)
        database->waiting.end = at;
    database->telemetry_count--;
    write->status =
        pith_fail(&write->error, -ENOBUFS, "database: too many telemetry writes are waiting");
    atomic_fetch_add(&database->dropped, 1);
    list_add(&database->finished, write);
    (void) uv_async_send(&database->finished_async);
}

void database_submit(struct database *database, struct database_write *work)
{
    work->status = 0;
    work->error = (struct pith_error){0};
    pthread_mutex_lock(&database->lock);
    if (work->durable) {
        database->durable_count++;
    } else {
        if (database->telemetry_count >= TELEMETRY_WAITING_LIMIT)
            drop_oldest_telemetry(database);
        database->telemetry_count++;
        if (database->commit_at_ns == 0)
            database->commit_at_ns =
                pith_monotonic_ns() + (uint64_t) database->commit_every_ms * 1000000;
    }
    list_add(&database->waiting, work);
    pthread_cond_signal(&database->wake);
    pthread_mutex_unlock(&database->lock);
}

int database_run_now(struct database *database, struct database_write *work, struct pith_error *err)
{
    struct list list;

    list_init(&list);
    work->status = 0;
    list_add(&list, work);
    pthread_mutex_lock(&database->connection_lock);
    list_commit(database, &list);
    pthread_mutex_unlock(&database->connection_lock);
    return work->status < 0 ? pith_fail(err, work->status, "%s", pith_error_text(&work->error)) : 0;
}

void database_counts(const struct database *database, struct database_counts *out)
{
    out->written = atomic_load(&database->written);
    out->dropped = atomic_load(&database->dropped);
    out->failed = atomic_load(&database->failed);
    out->commits = atomic_load(&database->commits);
}

static int thread_start(struct database *database, struct pith_error *err)
{
    pthread_condattr_t attributes;
    int rc;

    pthread_mutex_init(&database->connection_lock, NULL);
    pthread_mutex_init(&database->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes,
                              CLOCK_MONOTONIC); /* a clock step must not stretch the period */
    pthread_cond_init(&database->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    rc = uv_async_init(database->loop, &database->finished_async, finished_on_loop);
    if (rc < 0)
        return pith_fail(err, rc, "database: %s", uv_strerror(rc));
    database->finished_async.data = database;
    rc = pthread_create(&database->thread, NULL, write_on_thread, database);
    if (rc != 0)
        return pith_fail(err, -rc, "database: the writer's thread: %s", strerror(rc));
    return 0;
}

static void closed_on_loop(uv_handle_t *handle)
{
    struct database *database = handle->data;

    pthread_cond_destroy(&database->wake);
    pthread_mutex_destroy(&database->lock);
    pthread_mutex_destroy(&database->connection_lock);
    free(database);
}

int database_open(struct database **out, uv_loop_t *loop, const struct database_options *options,
                  struct pith_error *err)
{
    struct database *database = calloc(1, sizeof *database);
    int rc;

    if (!database)
        return -ENOMEM;
    database->loop = loop;
    database->commit_every_ms = options->commit_every_ms;
    list_init(&database->waiting);
    list_init(&database->finished);
    rc = database_open_file(&database->connection, options->path, err);
    if (rc < 0) {
        free(database);
        return rc;
    }
    rc = thread_start(database, err);
    if (rc < 0) {
        (void) sqlite3_close(database->connection);
        if (database->finished_async.data)
            uv_close((uv_handle_t *) &database->finished_async, closed_on_loop);
        else
            free(database);
        return rc;
    }
    pthread_mutex_lock(&database->connection_lock);
    (void) sqlite3_busy_handler(database->connection, busy_on_writer, database);
    pthread_mutex_unlock(&database->connection_lock);
    *out = database;
    return 0;
}

void database_close(struct database *database)
{
    if (!database)
        return;
    pthread_mutex_lock(&database->lock);
    database->closing = true;
    pthread_cond_signal(&database->wake);
    pthread_mutex_unlock(&database->lock);
    pthread_join(database->thread, NULL);
    call_done(database);
    (void) sqlite3_close(
        database->connection); /* nothing of ours is open on it: this also folds the WAL in */
    database->connection = NULL;
    uv_close((uv_handle_t *) &database->finished_async, closed_on_loop);
}
