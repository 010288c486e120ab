/* Opening the database: checks that the file is sound, puts it aside if it isn't, applies the
 * migrations that it lacks. What a migration does is in schemas/telemetry/NNN_*.sql; `user_version`
 * says how many a file has had. */
#include "daemon/database_open.h"

#include "daemon/database.h"
#include "libpith/base/clock.h"
#include "libpith/base/log.h"

#include <errno.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPEN_BUSY_MS         60000 /* another process may hold the file while we start */
#define CHECKED_ALWAYS_BYTES (16 * 1024 * 1024) /* up to here a full check costs some 10 ms */

/* In order; a file's place in this list is its number less one. */
static const char *const migrations[] = {
#include "schemas/telemetry/001_deployments.sql.inc"
    ,
#include "schemas/telemetry/002_pipelines.sql.inc"
};
#define MIGRATION_COUNT ((int) (sizeof migrations / sizeof migrations[0]))

int database_fail(struct sqlite3 *connection, int code, const char *what, struct pith_error *err)
{
    const char *words = connection ? sqlite3_errmsg(connection) : sqlite3_errstr(code);

    switch (code & 0xff) {
    case SQLITE_FULL:
        return pith_fail(err, -ENOSPC, "%s: the disk is full: free some space", what);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return pith_fail(err, -EBUSY, "%s: another process holds a lock on it: end its transaction",
                         what);
    case SQLITE_NOMEM:
        return pith_fail(err, -ENOMEM, "%s: out of memory", what);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return pith_fail(err, -EBADMSG, "%s: %s; the next start puts it aside and begins a new one",
                         what, words);
    case SQLITE_READONLY:
        return pith_fail(err, -EROFS,
                         "%s: it can't be written (%s): check its owner, mode and mount", what,
                         words);
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        if (connection && sqlite3_system_errno(connection))
            words = strerror(sqlite3_system_errno(connection));
        return pith_fail(err, -EACCES,
                         "%s: it can't be opened (%s): check its folder, owner and mode", what,
                         words);
    case SQLITE_CONSTRAINT:
        return pith_fail(err, -EEXIST, "%s: %s", what, words);
    default:
        return pith_fail(err, -EIO, "%s: %s", what, words);
    }
}

static int bind_one(sqlite3_stmt *statement, int at, char type, va_list *values)
{
    double number;

    switch (type) {
    case 'i':
        return sqlite3_bind_int64(statement, at, va_arg(*values, int64_t));
    case 'd':
        return sqlite3_bind_double(statement, at, va_arg(*values, double));
    case 'r':
        number = va_arg(*values, double);
        return isnan(number) ? sqlite3_bind_null(statement, at)
                             : sqlite3_bind_double(statement, at, number);
    case 's':
        return sqlite3_bind_text(statement, at, va_arg(*values, const char *), -1,
                                 SQLITE_TRANSIENT);
    case 'n':
        return sqlite3_bind_null(statement, at);
    default:
        return SQLITE_MISUSE;
    }
}

static int query(sqlite3 *connection, struct pith_error *err, database_row *row, void *user,
                 const char *sql, const char *types, va_list *values)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(connection, sql, -1, &statement, NULL);
    int rc = 0, at;
    bool any = false;

    for (at = 0; code == SQLITE_OK && types && types[at]; at++)
        code = bind_one(statement, at + 1, types[at], values);
    if (code == SQLITE_OK) {
        while (rc >= 0 && (code = sqlite3_step(statement)) == SQLITE_ROW) {
            any = true;
            if (row)
                rc = row(user, statement, err);
        }
    }
    if (rc >= 0 && code != SQLITE_DONE)
        rc = database_fail(connection, code, "database", err);
    (void) sqlite3_finalize(statement); /* its code was seen above */
    return rc < 0 ? rc : any ? 0 : -ENOENT;
}

int database_query(struct sqlite3 *connection, struct pith_error *err, database_row *row,
                   void *user, const char *sql, const char *types, ...)
{
    va_list values;
    int rc;

    va_start(values, types);
    rc = query(connection, err, row, user, sql, types, &values);
    va_end(values);
    return rc;
}

int database_exec(struct sqlite3 *connection, struct pith_error *err, const char *sql,
                  const char *types, ...)
{
    va_list values;
    int rc;

    va_start(values, types);
    rc = query(connection, err, NULL, NULL, sql, types, &values);
    va_end(values);
    return rc == -ENOENT ? 0 : rc;
}

static int int_of_row(void *user, sqlite3_stmt *row, struct pith_error *err)
{
    (void) err;
    *(int64_t *) user = sqlite3_column_int64(row, 0);
    return 0;
}

static int ok_of_row(void *user, sqlite3_stmt *row, struct pith_error *err)
{
    const char *text = (const char *) sqlite3_column_text(row, 0);

    (void) user;
    if (!text || strcmp(text, "ok") != 0)
        return pith_fail(err, -EBADMSG, "database: %s", text ? text : "out of memory");
    return 0;
}

/* Whether to read all pages: cheap for small files; larger ones only where the last run did not
 * close them. */
static bool needs_check(const char *path)
{
    char wal[4096];
    struct stat status;

    if (stat(path, &status) < 0 || status.st_size == 0)
        return false;
    if (status.st_size <= CHECKED_ALWAYS_BYTES)
        return true;
    (void) snprintf(wal, sizeof wal, "%s-wal", path);
    return stat(wal, &status) == 0 && status.st_size > 0;
}

static int migrate(sqlite3 *connection, const char *path, struct pith_error *err)
{
    char pragma[64];
    int64_t version = 0;
    int code = SQLITE_OK;
    int rc = database_query(connection, err, int_of_row, &version, "PRAGMA user_version", "");

    if (rc < 0)
        return rc;
    if (version > MIGRATION_COUNT)
        return pith_fail(err, -ENOTSUP,
                         "%s: its schema is number %lld, and this pithd knows up to %d: run the "
                         "newer pithd that "
                         "wrote it, or move the file away",
                         path, (long long) version, MIGRATION_COUNT);
    if (version == MIGRATION_COUNT)
        return 0;
    code = sqlite3_exec(connection, "BEGIN EXCLUSIVE", NULL, NULL, NULL);
    for (; code == SQLITE_OK && version < MIGRATION_COUNT; version++)
        code = sqlite3_exec(connection, migrations[version], NULL, NULL, NULL);
    (void) snprintf(pragma, sizeof pragma, "PRAGMA user_version = %d", MIGRATION_COUNT);
    if (code == SQLITE_OK)
        code = sqlite3_exec(connection, pragma, NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_exec(connection, "COMMIT", NULL, NULL, NULL);
    return code == SQLITE_OK ? 0 : database_fail(connection, code, path, err);
}

/* auto_vacuum counts only before the first table; then deleted telemetry gives its pages back. */
static const char settings[] =
    "PRAGMA auto_vacuum = INCREMENTAL;"
    "PRAGMA journal_mode = WAL;"
    "PRAGMA synchronous = FULL;" /* a commit that was told is on disk */
    "PRAGMA foreign_keys = ON;"
    "PRAGMA trusted_schema = OFF;"
    "PRAGMA journal_size_limit = 4194304;"
    "PRAGMA cache_size = -256;"; /* KiB; 2 MB, as it is otherwise, fill with each deployment */

static int try_open(sqlite3 **out, const char *path, struct pith_error *err)
{
    sqlite3 *connection = NULL;
    struct stat about;
    bool check;
    int rc = 0, code;

    if (lstat(path, &about) == 0 && !S_ISREG(about.st_mode))
        return pith_fail(err, -EINVAL, "%s: is no regular file: move it away", path);
    check = needs_check(path);
    code = sqlite3_open_v2(path, &connection,
                           SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOFOLLOW, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_busy_timeout(connection, OPEN_BUSY_MS);
    if (code == SQLITE_OK)
        (void) sqlite3_db_config(connection, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_exec(connection, settings, NULL, NULL, NULL);
    if (code != SQLITE_OK)
        rc = database_fail(connection, code, path, err);
    if (rc == 0 && check)
        rc = database_query(connection, err, ok_of_row, NULL, "PRAGMA quick_check(1)", "");
    if (rc == 0)
        rc = migrate(connection, path, err);
    if (rc < 0) {
        (void) sqlite3_close(connection); /* nothing was written */
        return rc;
    }
    *out = connection;
    return 0;
}

/* Renames the file and what belongs to it, so that a person can look at it. */
static int put_aside(const char *path, struct pith_error *err)
{
    static const char *const parts[] = {"", "-wal", "-shm"};
    char from[4096], to[4096];
    int64_t now_ms = pith_wall_ms();
    size_t i;

    for (i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        (void) snprintf(from, sizeof from, "%s%s", path, parts[i]);
        (void) snprintf(to, sizeof to, "%s.broken-%lld%s", path, (long long) now_ms, parts[i]);
        if (rename(from, to) < 0 && (i == 0 || errno != ENOENT))
            return pith_fail(err, -errno, "%s: putting the broken file aside: %s", from,
                             strerror(errno));
    }
    return 0;
}

int database_open_file(sqlite3 **out, const char *path, struct pith_error *err)
{
    struct pith_error why = {0};
    char quoted[PITH_ERROR_TEXT_BYTES * 2];
    int rc = try_open(out, path, &why);

    if (rc != -EBADMSG) {
        if (rc < 0 && err)
            *err = why;
        return rc;
    }
    log_error("database_put_aside", "path=%s reason=%s", path,
              pith_log_quote(pith_error_text(&why), quoted, sizeof quoted));
    rc = put_aside(path, err);
    return rc < 0 ? rc : try_open(out, path, err);
}
