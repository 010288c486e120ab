/* Blobs on disk, by their SHA-256. A blob is fetched chunk by chunk into <folder>/<sha256>.part with a bitmap beside it
 * (<sha256>.have), verified by reading it back, and only then renamed to <folder>/<sha256>, read only. */
#ifndef PITH_MODEL_STORE_H
#define PITH_MODEL_STORE_H

#include "libpith/base/file.h"
#include "libpith/model/manifest.h"

struct pith_store;
int pith_store_open(struct pith_store **out, const char *folder, struct pith_error *err) PITH_CHECKED;
void pith_store_close(struct pith_store *store);
bool pith_store_has(const struct pith_store *store, const struct pith_blob *blob); /* whole and verified */
/* Where a verified blob lies, into path. */
void pith_store_path(const struct pith_store *store, const struct pith_blob *blob, char *path, size_t path_bytes);

struct pith_fetch; /* one blob under way */
/* Begins, or goes on with what an earlier one had on disk. */
int pith_fetch_open(struct pith_fetch **out, struct pith_store *store, const struct pith_blob *blob,
                    struct pith_error *err) PITH_CHECKED;
void pith_fetch_close(struct pith_fetch *fetch); /* what was fetched stays */
int64_t pith_fetch_chunk_count(const struct pith_fetch *fetch);
int64_t pith_fetch_missing_count(const struct pith_fetch *fetch);
/* The first missing chunk at or after `from` (wraps), or -1. */
int64_t pith_fetch_missing(const struct pith_fetch *fetch, int64_t from);
/* A chunk of the wrong length is -EBADMSG; one that is there already is 0 and changes nothing. */
int pith_fetch_put(struct pith_fetch *fetch, int64_t chunk, const void *data, size_t bytes, struct pith_error *err) PITH_CHECKED;
/* Makes what came so far durable: data first, then the bitmap. Blocks on the disk; not for the loop. */
int pith_fetch_sync(struct pith_fetch *fetch, struct pith_error *err) PITH_CHECKED;
/* Reads all back, compares the digest, renames. -EBADMSG where it differs: all is then thrown away. Blocks. */
int pith_fetch_finish(struct pith_fetch *fetch, struct pith_error *err) PITH_CHECKED;

int pith_store_remove(struct pith_store *store, const char *sha256, struct pith_error *err) PITH_CHECKED;
/* Removes every blob and part that `keep` (count hex digests) doesn't name. */
int pith_store_sweep(struct pith_store *store, const char *const *keep, size_t count, struct pith_error *err) PITH_CHECKED;

#endif
