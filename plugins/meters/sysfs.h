/* Small files of sysfs, read as numbers and names. */
#ifndef PITH_METERS_SYSFS_H
#define PITH_METERS_SYSFS_H

#include <pith/error.h>
#include <stddef.h>
#include <stdint.h>

#define SYSFS_PATH_BYTES 512

/* Reads "folder/file" as a whole number. -ENOENT, -EACCES, ... without a sentence: the caller knows
 * what it means. -EBADMSG where there is something else in it. */
int sysfs_number(const char *folder, const char *file, int64_t *out);
/* Reads "folder/file" as one line, without its end. */
int sysfs_line(const char *folder, const char *file, char *line, size_t line_bytes);

#endif
