/* Files that are written whole or not at all: pieces go to a name of their own, packed on the way
 * where asked, and the name is changed in the end. A reader never sees half a file. */
#include "libpith/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#define PIECE_BYTES      65536
#define SHORT_WINDOW_LOG 17 /* the least with which Zstandard splits blocks */
#define SHORT_BYTES      (1 << SHORT_WINDOW_LOG)

struct pith_file_writer {
    char path[PATH_MAX], temporary[PATH_MAX];
    int fd;
    unsigned mode;
    size_t written;           /* to the file */
    uint64_t added, expected; /* bytes before packing; expected: 0: not known */
    ZSTD_CCtx *packer;        /* own; NULL: plain */
    size_t filled;            /* of piece */
    uint8_t piece[PIECE_BYTES];
};

static int write_all(struct pith_file_writer *writer, const void *data, size_t bytes)
{
    const uint8_t *at = data;

    while (bytes) {
        ssize_t written = write(writer->fd, at, bytes);

        if (written < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        at += written;
        bytes -= (size_t) written;
        writer->written += (size_t) written;
    }
    return 0;
}

static int flush_piece(struct pith_file_writer *writer)
{
    int rc = write_all(writer, writer->piece, writer->filled);

    writer->filled = 0;
    return rc;
}

static int can_not(const struct pith_file_writer *writer, int rc, struct pith_error *err)
{
    return pith_fail(err, rc, "%s: can't be written: %s", writer->path, strerror(-rc));
}

static int pack_failed(const struct pith_file_writer *writer, size_t code, struct pith_error *err)
{
    return pith_fail(err, -EINVAL, "%s: packing failed: %s", writer->path, ZSTD_getErrorName(code));
}

static int open_packer(struct pith_file_writer *writer, int level, uint64_t expected_bytes,
                       struct pith_error *err)
{
    writer->packer = ZSTD_createCCtx();
    if (!writer->packer)
        return pith_fail(err, -ENOMEM, "%s: no memory to pack with", writer->path);
    size_t code = ZSTD_CCtx_setParameter(writer->packer, ZSTD_c_compressionLevel, level);

    writer->expected = expected_bytes;
    /* A frame that knows that it is short gives weights, names and scales one table of codes; one that doesn't
     * splits them, and is 1 to 2 % shorter. */
    if (!ZSTD_isError(code) && expected_bytes > 0 && expected_bytes < SHORT_BYTES)
        code = ZSTD_CCtx_setParameter(writer->packer, ZSTD_c_windowLog, SHORT_WINDOW_LOG);
    else if (!ZSTD_isError(code) && expected_bytes > 0)
        code = ZSTD_CCtx_setPledgedSrcSize(writer->packer, expected_bytes);
    return ZSTD_isError(code) ? pack_failed(writer, code, err) : 0;
}

int pith_file_writer_open(struct pith_file_writer **out, const char *path, unsigned mode,
                          int zstd_level, uint64_t expected_bytes, struct pith_error *err)
{
    static _Atomic unsigned
        count; /* two threads that write one path must not share a temporary file */
    struct pith_file_writer *writer;
    int rc = 0;

    if (strlen(path) >= PATH_MAX - 64)
        return pith_fail(err, -ENAMETOOLONG, "%.200s...: the path is too long", path);
    writer = calloc(1, sizeof *writer);
    if (!writer)
        return pith_fail(err, -ENOMEM, "%s: no memory to write it", path);
    writer->mode = mode;
    (void) snprintf(writer->path, sizeof writer->path, "%.*s", PATH_MAX - 64, path);
    (void) snprintf(writer->temporary, sizeof writer->temporary, "%.*s.tmp.%ld-%u", PATH_MAX - 64,
                    path, (long) getpid(), atomic_fetch_add(&count, 1));
    (void) unlink(writer->temporary); /* left by a process that had our number and was killed */
    writer->fd = open(writer->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (writer->fd < 0) {
        rc = can_not(writer, -errno, err);
        free(writer);
        return rc;
    }
    if (zstd_level > 0)
        rc = open_packer(writer, zstd_level, expected_bytes, err);
    if (rc < 0) {
        pith_file_writer_abort(writer);
        return rc;
    }
    *out = writer;
    return 0;
}

static int pack(struct pith_file_writer *writer, const void *data, size_t bytes, bool last,
                struct pith_error *err)
{
    ZSTD_inBuffer in = {.src = data, .size = bytes};
    size_t left;

    do {
        ZSTD_outBuffer out = {
            .dst = writer->piece, .size = sizeof writer->piece, .pos = writer->filled};
        int rc = 0;

        left = ZSTD_compressStream2(writer->packer, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left))
            return pack_failed(writer, left, err);
        writer->filled = out.pos;
        if (writer->filled == sizeof writer->piece)
            rc = flush_piece(writer);
        if (rc < 0)
            return can_not(writer, rc, err);
    } while (in.pos < in.size || (last && left > 0));
    return 0;
}

int pith_file_writer_add(struct pith_file_writer *writer, const void *data, size_t bytes,
                         struct pith_error *err)
{
    int rc = 0;

    if (bytes == 0)
        return 0;
    writer->added += bytes;
    if (writer->packer)
        return pack(writer, data, bytes, false, err);
    if (bytes > sizeof writer->piece - writer->filled)
        rc = flush_piece(writer);
    if (rc == 0 && bytes > sizeof writer->piece) {
        rc = write_all(writer, data, bytes);
    } else if (rc == 0) {
        memcpy(writer->piece + writer->filled, data, bytes);
        writer->filled += bytes;
    }
    return rc < 0 ? can_not(writer, rc, err) : 0;
}

int pith_file_writer_commit(struct pith_file_writer *writer, size_t *out_bytes,
                            struct pith_error *err)
{
    int rc = 0;

    if (writer->packer && writer->expected > 0 && writer->added != writer->expected)
        rc = pith_fail(err, -EINVAL, "%s: packing failed: %" PRIu64 " bytes came where %" PRIu64 " were expected",
                       writer->path, writer->added, writer->expected);
    else if (writer->packer)
        rc = pack(writer, NULL, 0, true, err);
    if (rc < 0) {
        pith_file_writer_abort(writer);
        return rc;
    }
    rc = flush_piece(writer);
    if (rc == 0 && (fchmod(writer->fd, writer->mode) < 0 || fsync(writer->fd) < 0))
        rc = -errno;
    if (close(writer->fd) < 0 && rc == 0)
        rc = -errno;
    writer->fd = -1;
    if (rc == 0 && rename(writer->temporary, writer->path) < 0)
        rc = -errno;
    if (rc < 0) {
        rc = can_not(writer, rc, err);
        pith_file_writer_abort(writer);
        return rc;
    }
    if (out_bytes)
        *out_bytes = writer->written;
    rc = pith_sync_folder_of(writer->path, err);
    ZSTD_freeCCtx(writer->packer);
    free(writer);
    return rc;
}

void pith_file_writer_abort(struct pith_file_writer *writer)
{
    if (!writer)
        return;
    if (writer->fd >= 0)
        (void) close(writer->fd);
    (void) unlink(writer->temporary); /* best effort */
    ZSTD_freeCCtx(writer->packer);
    free(writer);
}

int pith_file_write(const char *path, const void *data, size_t bytes, unsigned mode,
                    struct pith_error *err)
{
    struct pith_file_writer *writer;
    int rc = pith_file_writer_open(&writer, path, mode, 0, bytes, err);

    if (rc < 0)
        return rc;
    rc = pith_file_writer_add(writer, data, bytes, err);
    if (rc < 0) {
        pith_file_writer_abort(writer);
        return rc;
    }
    return pith_file_writer_commit(writer, NULL, err);
}
