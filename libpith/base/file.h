/* Files: written whole or not at all, read with a limit, mapped. */
#ifndef PITH_BASE_FILE_H
#define PITH_BASE_FILE_H

#include "libpith/base/buffer.h"
#include <pith/error.h>

/* For the first line of main: where the process was started without stdin, stdout or stderr, the next files that it opens
 * would take their places, and what is logged would be written into them. Opens /dev/null there. */
void pith_hold_standard_files(void);

/* Writes path.tmp.<pid>-<n>, fsyncs it, renames it over path, fsyncs the folder. On failure path is as it was. */
int pith_file_write(const char *path, const void *data, size_t bytes, unsigned mode, struct pith_error *err) PITH_CHECKED;
/* The same piece by piece, so that what is written needs no memory: nothing is at path until it is committed. Thread: one. */
struct pith_file_writer;
/* zstd_level: 0: as it is; else packed on the way. expected_bytes: of all pieces before packing; a writer that packs keeps
 * to it (-EINVAL on commit where it was wrong); 0: not known. */
int pith_file_writer_open(struct pith_file_writer **out, const char *path, unsigned mode, int zstd_level,
                          uint64_t expected_bytes, struct pith_error *err) PITH_CHECKED;
int pith_file_writer_add(struct pith_file_writer *writer, const void *data, size_t bytes,
                         struct pith_error *err) PITH_CHECKED;
/* fsyncs, renames over path, fsyncs the folder, and frees the writer, whatever comes of it. out_bytes: of the file; may be
 * NULL. */
int pith_file_writer_commit(struct pith_file_writer *writer, size_t *out_bytes, struct pith_error *err) PITH_CHECKED;
void pith_file_writer_abort(struct pith_file_writer *writer); /* NULL: nothing */
/* Appends the file to *out. -EFBIG past limit_bytes. */
int pith_file_read(const char *path, size_t limit_bytes, struct pith_buffer *out, struct pith_error *err) PITH_CHECKED;

/* A file mapped read only. Refuses what is no regular file. */
struct pith_mapping {
    const uint8_t *data; /* NULL for an empty file */
    size_t bytes;
};
int pith_mapping_open(struct pith_mapping *out, const char *path, struct pith_error *err) PITH_CHECKED;
void pith_mapping_close(struct pith_mapping *mapping);

/* fsyncs the folder that path lies in: a rename is on disk only then. */
int pith_sync_folder_of(const char *path, struct pith_error *err) PITH_CHECKED;

int pith_mkdirs(const char *path, unsigned mode, struct pith_error *err) PITH_CHECKED; /* like mkdir -p */
/* Removes a folder and what is in it, without following links. 0 where there is none. */
int pith_remove_tree(const char *path, struct pith_error *err) PITH_CHECKED;

/* Zstandard. Decompressing stops with -EFBIG as soon as more than limit_bytes come out: a frame's own claim is not
 * believed. Trailing bytes and truncated frames are -EBADMSG. */
int pith_zstd_compress(const void *data, size_t bytes, int level, struct pith_buffer *out, struct pith_error *err) PITH_CHECKED;
int pith_zstd_decompress(const void *data, size_t bytes, size_t limit_bytes, struct pith_buffer *out,
                         struct pith_error *err) PITH_CHECKED;
/* What the first frame claims that comes out of it, or what does where it is short and claims nothing; false where neither is
 * known. Only to be told, not to be relied on. */
bool pith_zstd_content_bytes(const void *data, size_t bytes, uint64_t *out_bytes);
#define PITH_ZSTD_LEVEL 19 /* what variants and uploads are stored with: made once, read often */

#endif
