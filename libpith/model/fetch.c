/* One blob under way: a part file of the blob's full size and a bitmap of the chunks it holds. The
 * bitmap is written only after the data it speaks of is on disk; what came since is fetched again
 * after a kill. */
#include "libpith/model/store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define HAVE_MAGIC 0x31485450u /* "PTH1" */

struct have_header { /* of a bitmap file; host byte order, as it never leaves the machine */
    uint32_t magic;
    uint32_t chunk_bytes;
    int64_t bytes;
};

struct pith_fetch {
    struct pith_store *store;
    struct pith_blob blob;
    int fd;          /* of the part; -1 when the blob is whole */
    uint8_t *bitmap; /* a bit a chunk */
    int64_t count;   /* of chunks */
    int64_t missing;
    bool changed; /* since the last sync */
};

static size_t bitmap_bytes(const struct pith_fetch *fetch)
{
    return (size_t) ((fetch->count + 7) / 8);
}

static bool has_chunk(const struct pith_fetch *fetch, int64_t chunk)
{
    return fetch->bitmap[chunk / 8] >> (chunk % 8) & 1;
}

static int64_t chunk_bytes(const struct pith_fetch *fetch, int64_t chunk)
{
    int64_t left = fetch->blob.bytes - chunk * PITH_CHUNK_BYTES;

    return left < PITH_CHUNK_BYTES ? left : PITH_CHUNK_BYTES;
}

/* Takes over the bitmap of an earlier run. One that is broken, or of a part with another size, says
 * nothing. */
static bool load_bitmap(struct pith_fetch *fetch)
{
    struct pith_buffer file = {0};
    struct have_header header;
    struct stat status;
    char path[PATH_MAX];
    bool good;

    store_path(fetch->store, fetch->blob.sha256, STORE_HAVE, path);
    good = fstat(fetch->fd, &status) == 0 && status.st_size == fetch->blob.bytes &&
           pith_file_read(path, sizeof header + bitmap_bytes(fetch), &file, NULL) == 0 &&
           file.bytes == sizeof header + bitmap_bytes(fetch);
    if (good) {
        memcpy(&header, file.data, sizeof header);
        good = header.magic == HAVE_MAGIC && header.chunk_bytes == PITH_CHUNK_BYTES &&
               header.bytes == fetch->blob.bytes;
    }
    if (good)
        memcpy(fetch->bitmap, file.data + sizeof header, bitmap_bytes(fetch));
    pith_buffer_done(&file);
    for (int64_t chunk = 0; good && chunk < fetch->count; chunk++)
        fetch->missing -= has_chunk(fetch, chunk);
    return good;
}

static int begin_part(struct pith_fetch *fetch, const char *path, struct pith_error *err)
{
    char have[PATH_MAX];

    store_path(fetch->store, fetch->blob.sha256, STORE_HAVE, have);
    if (unlink(have) < 0 && errno != ENOENT)
        return pith_fail(err, -errno, "%s: can't be removed: %s", have, strerror(errno));
    if (ftruncate(fetch->fd, 0) < 0)
        return pith_fail(err, -errno, "%s: %s", path, strerror(errno));
    /* Room is taken now: a disk that is full is told before anything is fetched. */
    if (fallocate(fetch->fd, 0, 0, (off_t) fetch->blob.bytes) < 0 && errno != EOPNOTSUPP &&
        errno != ENOSYS)
        return pith_fail(err, -errno, "%s: no room for %lld bytes: %s", path,
                         (long long) fetch->blob.bytes, strerror(errno));
    if (ftruncate(fetch->fd, (off_t) fetch->blob.bytes) < 0)
        return pith_fail(err, -errno, "%s: no room for %lld bytes: %s", path,
                         (long long) fetch->blob.bytes, strerror(errno));
    return 0;
}

static int open_part(struct pith_fetch *fetch, struct pith_error *err)
{
    char path[PATH_MAX];

    store_path(fetch->store, fetch->blob.sha256, STORE_PART, path);
    fetch->fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fetch->fd < 0)
        return pith_fail(err, -errno, "%s: %s", path, strerror(errno));
    if (flock(fetch->fd, LOCK_EX | LOCK_NB) < 0)
        return pith_fail(err, -EBUSY, "%s: is being fetched already", path);
    return load_bitmap(fetch) ? 0 : begin_part(fetch, path, err);
}

int pith_fetch_open(struct pith_fetch **out, struct pith_store *store, const struct pith_blob *blob,
                    struct pith_error *err)
{
    struct pith_fetch *fetch;
    int rc = 0;

    if (!pith_sha256_is_hex(blob->sha256) || blob->bytes < 1 || blob->bytes > PITH_BLOB_MAX_BYTES)
        return pith_fail(err, -EINVAL, "\"%.64s\" of %lld bytes is no blob", blob->sha256,
                         (long long) blob->bytes);
    fetch = calloc(1, sizeof *fetch);
    if (!fetch)
        return pith_fail(err, -ENOMEM, "blob %s: no memory to fetch it", blob->sha256);
    fetch->store = store;
    fetch->blob = *blob;
    fetch->fd = -1;
    fetch->count = (blob->bytes + PITH_CHUNK_BYTES - 1) / PITH_CHUNK_BYTES;
    fetch->missing = fetch->count;
    fetch->bitmap = calloc(1, bitmap_bytes(fetch));
    if (!fetch->bitmap)
        rc = pith_fail(err, -ENOMEM, "blob %s: no memory to fetch it", blob->sha256);
    else if (pith_store_has(store, blob))
        fetch->missing = 0;
    else
        rc = open_part(fetch, err);
    if (rc < 0) {
        pith_fetch_close(fetch);
        return rc;
    }
    *out = fetch;
    return 0;
}

void pith_fetch_close(struct pith_fetch *fetch)
{
    if (!fetch)
        return;
    if (fetch->fd >= 0)
        close(fetch->fd);
    free(fetch->bitmap);
    free(fetch);
}

int64_t pith_fetch_chunk_count(const struct pith_fetch *fetch)
{
    return fetch->count;
}

int64_t pith_fetch_missing_count(const struct pith_fetch *fetch)
{
    return fetch->missing;
}

int64_t pith_fetch_missing(const struct pith_fetch *fetch, int64_t from)
{
    if (fetch->missing == 0)
        return -1;
    if (from < 0 || from >= fetch->count)
        from = 0;
    for (int64_t i = 0; i < fetch->count; i++) {
        int64_t chunk = from + i < fetch->count ? from + i : from + i - fetch->count;

        if (!has_chunk(fetch, chunk))
            return chunk;
    }
    return -1;
}

int pith_fetch_put(struct pith_fetch *fetch, int64_t chunk, const void *data, size_t bytes,
                   struct pith_error *err)
{
    const uint8_t *from = data;
    off_t at;

    if (chunk < 0 || chunk >= fetch->count)
        return pith_fail(err, -EBADMSG, "blob %s: has no chunk %lld, only %lld", fetch->blob.sha256,
                         (long long) chunk, (long long) fetch->count);
    if ((int64_t) bytes != chunk_bytes(fetch, chunk))
        return pith_fail(err, -EBADMSG, "blob %s: chunk %lld is %zu bytes; it must be %lld",
                         fetch->blob.sha256, (long long) chunk, bytes,
                         (long long) chunk_bytes(fetch, chunk));
    if (fetch->fd < 0 || has_chunk(fetch, chunk))
        return 0;
    at = (off_t) (chunk * PITH_CHUNK_BYTES);
    while (bytes) {
        ssize_t written = pwrite(fetch->fd, from, bytes, at);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return pith_fail(err, -errno, "blob %s: chunk %lld can't be written: %s",
                             fetch->blob.sha256, (long long) chunk, strerror(errno));
        from += written;
        at += written;
        bytes -= (size_t) written;
    }
    fetch->bitmap[chunk / 8] |= (uint8_t) (1u << (chunk % 8));
    fetch->missing--;
    fetch->changed = true;
    return 0;
}

int pith_fetch_sync(struct pith_fetch *fetch, struct pith_error *err)
{
    struct have_header header = {HAVE_MAGIC, PITH_CHUNK_BYTES, fetch->blob.bytes};
    struct pith_buffer file = {0};
    char path[PATH_MAX];
    int rc;

    if (fetch->fd < 0 || !fetch->changed)
        return 0;
    if (fdatasync(fetch->fd) < 0)
        return pith_fail(err, -errno, "blob %s: can't be flushed to disk: %s", fetch->blob.sha256,
                         strerror(errno));
    pith_buffer_append(&file, &header, sizeof header);
    pith_buffer_append(&file, fetch->bitmap, bitmap_bytes(fetch));
    store_path(fetch->store, fetch->blob.sha256, STORE_HAVE, path);
    if (file.failed)
        rc = pith_fail(err, -ENOMEM, "blob %s: no memory for its bitmap", fetch->blob.sha256);
    else
        rc = pith_file_write(path, file.data, file.bytes, 0600, err);
    pith_buffer_done(&file);
    if (rc == 0)
        fetch->changed = false;
    return rc;
}

/* Throws away all that was fetched: some chunk is wrong, and nothing says which. */
static int start_over(struct pith_fetch *fetch, const char *sha256, struct pith_error *err)
{
    char path[PATH_MAX];
    int rc;

    store_path(fetch->store, fetch->blob.sha256, STORE_PART, path);
    rc = begin_part(fetch, path, err);
    if (rc < 0)
        return rc;
    memset(fetch->bitmap, 0, bitmap_bytes(fetch));
    fetch->missing = fetch->count;
    fetch->changed = false;
    return pith_fail(
        err, -EBADMSG,
        "blob %s: what arrived has the SHA-256 %s: it is damaged, and is fetched again",
        fetch->blob.sha256, sha256);
}

/* The digest of what is on disk, read back: that is what will be used. */
static int digest_part(struct pith_fetch *fetch, char hex[PITH_SHA256_HEX + 1],
                       struct pith_error *err)
{
    uint8_t digest_bytes[PITH_SHA256_BYTES], *piece = malloc(PITH_CHUNK_BYTES);
    struct pith_sha256 *digest = NULL;
    int rc = piece ? pith_sha256_new(&digest) : -ENOMEM;

    for (off_t at = 0; rc == 0 && at < fetch->blob.bytes;) {
        ssize_t got = pread(fetch->fd, piece, PITH_CHUNK_BYTES, at);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            rc = got < 0 ? -errno : -EIO;
        else
            rc = pith_sha256_add(digest, piece, (size_t) got);
        at += got > 0 ? got : 0;
    }
    if (rc == 0)
        rc = pith_sha256_finish(digest, digest_bytes);
    if (rc == 0)
        pith_hex_encode(hex, digest_bytes, sizeof digest_bytes);
    pith_sha256_free(digest);
    free(piece);
    return rc < 0 ? pith_fail(err, rc, "blob %s: can't be read back: %s", fetch->blob.sha256,
                              strerror(-rc))
                  : 0;
}

int pith_fetch_finish(struct pith_fetch *fetch, struct pith_error *err)
{
    char hex[PITH_SHA256_HEX + 1], part[PATH_MAX], whole[PATH_MAX], have[PATH_MAX];
    int rc;

    if (fetch->fd < 0)
        return 0;
    if (fetch->missing)
        return pith_fail(err, -EAGAIN, "blob %s: %lld of %lld chunks are missing",
                         fetch->blob.sha256, (long long) fetch->missing, (long long) fetch->count);
    rc = digest_part(fetch, hex, err);
    if (rc < 0)
        return rc;
    if (strcmp(hex, fetch->blob.sha256) != 0)
        return start_over(fetch, hex, err);
    store_path(fetch->store, fetch->blob.sha256, STORE_PART, part);
    store_path(fetch->store, fetch->blob.sha256, "", whole);
    store_path(fetch->store, fetch->blob.sha256, STORE_HAVE, have);
    if (fsync(fetch->fd) < 0 || fchmod(fetch->fd, 0440) < 0 || rename(part, whole) < 0)
        return pith_fail(err, -errno, "%s: can't be finished: %s", whole, strerror(errno));
    rc = pith_sync_folder_of(whole, err);
    if (rc < 0)
        return rc;
    (void) unlink(have); /* best effort: without its part it means nothing, and a sweep takes it */
    close(fetch->fd);
    fetch->fd = -1;
    return 0;
}
