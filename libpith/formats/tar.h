/* Tar archives (ustar, with long names as GNU tar and pax write them), plain or .zst: what is in them, and where. Only
 * regular files are told; nothing is ever unpacked to disk. */
#ifndef PITH_FORMATS_TAR_H
#define PITH_FORMATS_TAR_H

#include "libpith/base/stream.h"

#define PITH_TAR_NAME_BYTES 1024 /* longer names are refused */

struct pith_tar_entry {
    char name[PITH_TAR_NAME_BYTES]; /* as written, less "./" before it */
    uint64_t offset, bytes;         /* of its content in the unpacked archive */
};
/* 1: *at has moved past the entry; 0: the archive has ended. at: 0 at first. -EBADMSG: broken, or cut off. */
int pith_tar_next(struct pith_stream *archive, uint64_t *at, struct pith_tar_entry *out,
                  struct pith_error *err) PITH_CHECKED;

#endif
