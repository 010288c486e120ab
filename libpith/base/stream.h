/* Bytes of a file at any place, whether it lies plain or as .zst: for data sets that are larger than memory. Reading in
 * order is quick in both; going back in a .zst unpacks it again from its start. */
#ifndef PITH_BASE_STREAM_H
#define PITH_BASE_STREAM_H

#include "libpith/base/file.h"

struct pith_stream; /* Thread: one at a time */

int pith_stream_open(struct pith_stream **out, const char *path, struct pith_error *err) PITH_CHECKED;
void pith_stream_close(struct pith_stream *stream);
/* Up to `most` bytes from `offset` into `to`; *out_bytes: fewer only at the end. -EBADMSG where the packed data are broken. */
int pith_stream_read(struct pith_stream *stream, uint64_t offset, void *to, size_t most, size_t *out_bytes,
                     struct pith_error *err) PITH_CHECKED;
/* The same, but fewer than `bytes` is -EBADMSG. */
int pith_stream_read_all(struct pith_stream *stream, uint64_t offset, void *to, size_t bytes,
                         struct pith_error *err) PITH_CHECKED;
const char *pith_stream_path(const struct pith_stream *stream);

#endif
