/* Opening the database file: migrations, and putting aside what can't be read. For database.c and its tests. */
#ifndef PITHD_DATABASE_OPEN_H
#define PITHD_DATABASE_OPEN_H

#include <pith/error.h>

struct sqlite3;

/* An open, migrated connection in WAL mode. Waits while another process holds the file. See database_open. */
int database_open_file(struct sqlite3 **out, const char *path, struct pith_error *err) PITH_CHECKED;

#endif
