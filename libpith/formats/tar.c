/* Tar's 512-byte headers. What is no regular file is passed over; a name that one header gives for
 * the next (GNU 'L', pax 'x' with path=) is kept. */
#include "libpith/formats/tar.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 512

/* An octal number that spaces or a NUL end. */
static int octal(const uint8_t *at, size_t bytes, uint64_t *out)
{
    size_t i = 0;

    *out = 0;
    while (i < bytes && at[i] == ' ')
        i++;
    for (; i < bytes && at[i] >= '0' && at[i] <= '7'; i++)
        *out = *out * 8 + (uint64_t) (at[i] - '0');
    return i == bytes || at[i] == ' ' || at[i] == 0 ? 0 : -EBADMSG;
}

static bool checksum_is_right(const uint8_t header[BLOCK])
{
    uint64_t said;
    uint32_t sum = 0;

    for (size_t i = 0; i < BLOCK; i++)
        sum += i >= 148 && i < 156 ? ' ' : header[i];
    return octal(header + 148, 8, &said) == 0 && said == sum;
}

static bool is_empty(const uint8_t header[BLOCK])
{
    for (size_t i = 0; i < BLOCK; i++)
        if (header[i])
            return false;
    return true;
}

/* "27 path=some/long/name\n" among the records of a pax header. */
static void take_pax_path(const char *text, size_t bytes, char name[PITH_TAR_NAME_BYTES])
{
    const char *end = text + bytes;

    while (text < end) {
        char *after;
        unsigned long length = strtoul(text, &after, 10);

        if (after == text || *after != ' ' || length == 0 || length > (size_t) (end - text))
            return;
        if (length > (size_t) (after + 7 - text) && !strncmp(after + 1, "path=", 5)) {
            size_t path_bytes = length - (size_t) (after + 6 - text) - 1;

            if (path_bytes < PITH_TAR_NAME_BYTES) {
                memcpy(name, after + 6, path_bytes);
                name[path_bytes] = 0;
            }
        }
        text += length;
    }
}

/* The content of a header that speaks of the next one. */
static int take_long_name(struct pith_stream *archive, uint64_t at, uint64_t bytes, uint8_t type,
                          char name[PITH_TAR_NAME_BYTES], struct pith_error *err)
{
    char text[4 * PITH_TAR_NAME_BYTES + 1];
    int rc;

    if (bytes >= sizeof text)
        return pith_fail(err, -EFBIG, "%s: a name in it is longer than %d bytes",
                         pith_stream_path(archive), PITH_TAR_NAME_BYTES);
    rc = pith_stream_read_all(archive, at, text, (size_t) bytes, err);
    if (rc < 0)
        return rc;
    text[bytes] = 0;
    if (type == 'L' && strlen(text) < PITH_TAR_NAME_BYTES)
        memcpy(name, text, strlen(text) + 1);
    else if (type == 'x')
        take_pax_path(text, (size_t) bytes, name);
    return 0;
}

static void take_name(const uint8_t header[BLOCK], char name[PITH_TAR_NAME_BYTES])
{
    bool has_prefix = !memcmp(header + 257, "ustar\0", 6) && header[345];

    (void) snprintf(name, PITH_TAR_NAME_BYTES, "%.*s%s%.*s", has_prefix ? 155 : 0,
                    (const char *) header + 345, has_prefix ? "/" : "", 100, (const char *) header);
}

int pith_tar_next(struct pith_stream *archive, uint64_t *at, struct pith_tar_entry *out,
                  struct pith_error *err)
{
    char name[PITH_TAR_NAME_BYTES] = "";

    for (;;) {
        uint8_t header[BLOCK];
        size_t got;
        uint64_t bytes;
        int rc = pith_stream_read(archive, *at, header, sizeof header, &got, err);

        if (rc < 0)
            return rc;
        if (got == 0 || (got == BLOCK && is_empty(header)))
            return 0;
        if (got < BLOCK || !checksum_is_right(header) || octal(header + 124, 12, &bytes) < 0 ||
            bytes > INT64_MAX / 2)
            return pith_fail(err, -EBADMSG, "%s is no tar archive, or broken at byte %llu",
                             pith_stream_path(archive), (unsigned long long) *at);
        uint8_t type = header[156];
        uint64_t content = *at + BLOCK;

        *at = content + (bytes + BLOCK - 1) / BLOCK * BLOCK;
        if (type == 'L' || type == 'x') {
            rc = take_long_name(archive, content, bytes, type, name, err);
            if (rc < 0)
                return rc;
            continue;
        }
        if (type != '0' && type != 0) {
            name[0] = 0;
            continue;
        }
        if (!name[0])
            take_name(header, name);
        (void) snprintf(out->name, sizeof out->name, "%s",
                        !strncmp(name, "./", 2) ? name + 2 : name);
        out->offset = content;
        out->bytes = bytes;
        return 1;
    }
}
