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
/* Commits what waits, stops the thread, closes. Blocks. */
void database_close(struct database *database);

#endif
