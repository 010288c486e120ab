/* The SQLite database and the one thread that owns its connection. The loop hands over writes and is told when they
 * are on disk; a state change is acted on only then. WAL; one transaction takes all that waits.
 *
 * Two kinds of write: durable ones (deployments) commit at once with fsync; telemetry waits for the commit period, as flash
 * wears out. A durable write takes the waiting telemetry along. */
#ifndef PITHD_DATABASE_H
#define PITHD_DATABASE_H

#include <jansson.h>
#include <pith/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct database;
struct sqlite3;

struct database_options {
    const char *path;
    int64_t commit_every_ms;
    int64_t max_size_bytes;
    int64_t keep_ms;
};
/* Applies migrations. A file that is no database, or is malformed, is put aside (name + ".broken-<time>") and a new one is
 * begun; one of a newer schema is refused. Blocks; called before the loop runs. */
int database_open(struct database **out, uv_loop_t *loop, const struct database_options *options, struct pith_error *err) PITH_CHECKED;

/* A write: runs on the writer's thread within its transaction. `work` is the caller's, untouched until done.
 * run_on_writer: uses the connection, returns 0 or a negative errno (the write's own savepoint is then rolled back).
 * done: on the loop, with the status, once the transaction is on disk. */
struct database_write {
    int (*run_on_writer)(struct database_write *work, struct sqlite3 *connection, struct pith_error *err);
    void (*done)(struct database_write *work, int status, const struct pith_error *err);
    bool durable;
    void *user;
    struct database_write *next; /* the database's */
    int status;                  /* the database's */
    struct pith_error error;     /* the database's */
};
void database_submit(struct database *database, struct database_write *work); /* never fails, never blocks */
/* For the start, before the loop runs: the same at once, on this thread. */
int database_run_now(struct database *database, struct database_write *work, struct pith_error *err) PITH_CHECKED;
/* Commits what waits, stops the thread, closes. Blocks. Each write's `done` has been called when it returns; the memory is
 * freed once the loop has run again. */
void database_close(struct database *database);

struct database_counts {
    uint64_t written;  /* writes that are on disk */
    uint64_t dropped;  /* telemetry writes that were given up: disk full, or too many waiting */
    uint64_t failed;   /* durable writes that were reported as failed */
    uint64_t commits;
};
void database_counts(const struct database *database, struct database_counts *out); /* thread: any */

/* ---- for run_on_writer ---- */
/* One statement. types: a letter for each '?' in it, whose value follows: 'i' int64_t, 'd' double, 's' const char * (NULL
 * is NULL), 'n' NULL without a value, 'r' double where NaN is NULL (ratios that are not known). */
int database_exec(struct sqlite3 *connection, struct pith_error *err, const char *sql, const char *types, ...) PITH_CHECKED;
/* The same for a SELECT: calls row (may be NULL) once a row; a negative return stops it and is passed on.
 * -ENOENT where there is no row. */
struct sqlite3_stmt;
typedef int database_row(void *user, struct sqlite3_stmt *row, struct pith_error *err);
int database_query(struct sqlite3 *connection, struct pith_error *err, database_row *row, void *user, const char *sql,
                   const char *types, ...) PITH_CHECKED;
/* A result code of SQLite as an errno, with the connection's words in *err. */
int database_fail(struct sqlite3 *connection, int code, const char *what, struct pith_error *err);

#endif
