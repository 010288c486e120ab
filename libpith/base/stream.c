/* A plain file is mapped; a packed one is unpacked piece by piece, and only the place that was
 * reached is kept. */
#include "libpith/base/stream.h"

#include "libpith/base/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define WINDOW_LOG_MAX 27 /* 128 MiB: a larger window is a memory bomb */

struct pith_stream {
    char *path; /* own */
    struct pith_mapping file;
    ZSTD_DStream *unpacker; /* NULL: plain */
    ZSTD_inBuffer in;
    uint64_t at;    /* unpacked bytes that were handed out or passed over */
    bool at_border; /* between two frames, or at the end */
    uint8_t waste[16384];
};

const char *pith_stream_path(const struct pith_stream *stream)
{
    return stream->path;
}

static void begin_again(struct pith_stream *stream)
{
    (void) ZSTD_DCtx_reset(stream->unpacker, ZSTD_reset_session_only);
    stream->in = (ZSTD_inBuffer){.src = stream->file.data, .size = stream->file.bytes};
    stream->at = 0;
    stream->at_border = true;
}

int pith_stream_open(struct pith_stream **out, const char *path, struct pith_error *err)
{
    struct pith_stream *stream = calloc(1, sizeof *stream);
    int rc;

    if (!stream)
        return pith_fail(err, -ENOMEM, "%s: no memory to read it", path);
    rc = pith_mapping_open(&stream->file, path, err);
    if (rc == 0 && !(stream->path = strdup(path)))
        rc = -ENOMEM;
    if (rc == 0 && pith_ends_with(path, ".zst")) {
        stream->unpacker = ZSTD_createDStream();
        if (!stream->unpacker)
            rc = pith_fail(err, -ENOMEM, "%s: no memory to unpack it", path);
        else
            (void) ZSTD_DCtx_setParameter(stream->unpacker, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
        if (rc == 0)
            begin_again(stream);
    }
    if (rc < 0) {
        pith_stream_close(stream);
        return rc;
    }
    *out = stream;
    return 0;
}

void pith_stream_close(struct pith_stream *stream)
{
    if (!stream)
        return;
    pith_mapping_close(&stream->file);
    ZSTD_freeDStream(stream->unpacker);
    free(stream->path);
    free(stream);
}

/* Unpacks on from where it is; fewer than `most` only at the end. */
static int unpack(struct pith_stream *stream, void *to, size_t most, size_t *out_bytes,
                  struct pith_error *err)
{
    ZSTD_outBuffer out = {.dst = to, .size = most};

    while (out.pos < out.size) {
        size_t before = out.pos, taken = stream->in.pos;
        size_t left;

        if (stream->in.pos == stream->in.size && stream->at_border)
            break;
        left = ZSTD_decompressStream(stream->unpacker, &out, &stream->in);
        if (ZSTD_isError(left))
            return pith_fail(err, -EBADMSG, "%s: broken Zstandard data: %s", stream->path,
                             ZSTD_getErrorName(left));
        stream->at_border = left == 0;
        if (out.pos == before && stream->in.pos == taken && !stream->at_border)
            return pith_fail(err, -EBADMSG, "%s ends in the middle of a frame", stream->path);
    }
    stream->at += out.pos;
    *out_bytes = out.pos;
    return 0;
}

static int go_to(struct pith_stream *stream, uint64_t offset, struct pith_error *err)
{
    if (offset < stream->at)
        begin_again(stream);
    while (stream->at < offset) {
        uint64_t left = offset - stream->at;
        size_t got, most = left < sizeof stream->waste ? (size_t) left : sizeof stream->waste;
        int rc = unpack(stream, stream->waste, most, &got, err);

        if (rc < 0)
            return rc;
        if (got == 0)
            return 0; /* past the end: nothing will come */
    }
    return 0;
}

int pith_stream_read(struct pith_stream *stream, uint64_t offset, void *to, size_t most,
                     size_t *out_bytes, struct pith_error *err)
{
    *out_bytes = 0;
    if (stream->unpacker) {
        int rc = go_to(stream, offset, err);

        return rc < 0 || stream->at != offset ? rc : unpack(stream, to, most, out_bytes, err);
    }
    if (offset >= stream->file.bytes)
        return 0;
    *out_bytes = most < stream->file.bytes - offset ? most : (size_t) (stream->file.bytes - offset);
    memcpy(to, stream->file.data + offset, *out_bytes);
    return 0;
}

int pith_stream_read_all(struct pith_stream *stream, uint64_t offset, void *to, size_t bytes,
                         struct pith_error *err)
{
    size_t got;
    int rc = pith_stream_read(stream, offset, to, bytes, &got, err);

    if (rc < 0 || got == bytes)
        return rc;
    return pith_fail(err, -EBADMSG, "%s is cut off: %zu of %zu bytes are there at byte %llu",
                     stream->path, got, bytes, (unsigned long long) offset);
}
