/* Zstandard, in memory. What comes out is counted as it comes: a frame's own claim of its size is
 * used only to refuse early. */
#include "libpith/base/file.h"

#include <errno.h>
#include <zstd.h>
#include <zstd_errors.h>

#define ZSTD_WINDOW_LOG_MAX                                                                        \
    27 /* 128 MiB, what zstd itself allows unless asked; a larger window is a memory bomb */

int pith_zstd_compress(const void *data, size_t bytes, int level, struct pith_buffer *out,
                       struct pith_error *err)
{
    size_t bound = ZSTD_compressBound(bytes);
    size_t packed;

    if (ZSTD_isError(bound) || pith_buffer_reserve(out, bound) < 0)
        return pith_fail(err, -ENOMEM, "no memory to compress %zu bytes", bytes);
    packed = ZSTD_compress(out->data + out->bytes, bound, data, bytes, level);
    if (ZSTD_isError(packed))
        return pith_fail(err, -ENOMEM, "compressing %zu bytes failed: %s", bytes,
                         ZSTD_getErrorName(packed));
    out->bytes += packed;
    out->data[out->bytes] = 0;
    return 0;
}

static int too_big(size_t limit_bytes, struct pith_error *err)
{
    return pith_fail(err, -EFBIG, "zstd: more than the %zu bytes that are allowed come out of it",
                     limit_bytes);
}

static int unpack_frame(ZSTD_DStream *stream, ZSTD_inBuffer *in, size_t limit_bytes,
                        struct pith_buffer *out, struct pith_error *err)
{
    size_t before = out->bytes;

    for (;;) {
        uint8_t *end;
        ZSTD_outBuffer piece;
        size_t rc;

        if (pith_buffer_reserve(out, ZSTD_DStreamOutSize()) < 0)
            return pith_fail(err, -ENOMEM, "zstd: no memory to unpack into");
        end = out->data + out->bytes;
        piece = (ZSTD_outBuffer){.dst = end, .size = out->capacity - out->bytes - 1};
        rc = ZSTD_decompressStream(stream, &piece, in);
        if (ZSTD_getErrorCode(rc) == ZSTD_error_frameParameter_windowTooLarge)
            return pith_fail(err, -EFBIG, "zstd: it wants a window over %d MiB",
                             1 << (ZSTD_WINDOW_LOG_MAX - 20));
        if (ZSTD_isError(rc))
            return pith_fail(err, -EBADMSG, "zstd: broken data: %s", ZSTD_getErrorName(rc));
        out->bytes += piece.pos;
        out->data[out->bytes] = 0;
        if (out->bytes - before > limit_bytes)
            return too_big(limit_bytes, err);
        if (rc == 0)
            return 0;
        if (in->pos == in->size && piece.pos < piece.size)
            return pith_fail(err, -EBADMSG, "zstd: the data ends in the middle of a frame");
    }
}

int pith_zstd_decompress(const void *data, size_t bytes, size_t limit_bytes,
                         struct pith_buffer *out, struct pith_error *err)
{
    unsigned long long claimed = ZSTD_getFrameContentSize(data, bytes);
    ZSTD_inBuffer in = {.src = data, .size = bytes};
    size_t before = out->bytes;
    ZSTD_DStream *stream;
    int rc;

    if (claimed == ZSTD_CONTENTSIZE_ERROR)
        return pith_fail(err, -EBADMSG, "zstd: this is no Zstandard data");
    if (claimed != ZSTD_CONTENTSIZE_UNKNOWN && claimed > limit_bytes)
        return too_big(limit_bytes, err);
    stream = ZSTD_createDStream();
    if (!stream)
        return pith_fail(err, -ENOMEM, "zstd: no memory to unpack with");
    (void) ZSTD_DCtx_setParameter(stream, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
    rc = unpack_frame(stream, &in, limit_bytes, out, err);
    if (rc == 0 && in.pos != in.size)
        rc = pith_fail(err, -EBADMSG, "zstd: %zu bytes follow its end", in.size - in.pos);
    ZSTD_freeDStream(stream);
    if (rc < 0 && out->data) {
        out->bytes = before;
        out->data[before] = 0;
    }
    return rc;
}

#define SHORT_BYTES (128 << 10)

static bool count_short(const void *data, size_t bytes, uint64_t *out_bytes)
{
    struct pith_buffer out = {0};
    bool counted = bytes <= SHORT_BYTES && pith_zstd_decompress(data, bytes, SHORT_BYTES, &out, NULL) == 0;

    if (counted)
        *out_bytes = out.bytes;
    pith_buffer_done(&out);
    return counted;
}

bool pith_zstd_content_bytes(const void *data, size_t bytes, uint64_t *out_bytes)
{
    unsigned long long claim = ZSTD_getFrameContentSize(data, bytes);

    if (claim == ZSTD_CONTENTSIZE_ERROR)
        return false;
    if (claim == ZSTD_CONTENTSIZE_UNKNOWN)
        return count_short(data, bytes, out_bytes);
    *out_bytes = claim;
    return true;
}
