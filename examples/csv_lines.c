/* A codec to copy: lines of comma-separated numbers become rows of float32. A payload holds one or
 * more whole lines; one that is wrong anywhere is refused as a whole, so that a row is never half
 * right. It leaves quoting and headers to others. */
#include <pith/codec.h>

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_COLUMNS, OPTION_RATE_HZ }; /* in the order of the table below */

static const struct pith_option options[] = {
    {"columns", PITH_OPTION_INT, 1, 4096, NULL, NULL, "numbers in a line"},
    {"rate_hz", PITH_OPTION_FLOAT, 0, 1e6, "0.0", NULL, "lines a second; 0: no fixed rate"},
    {0},
};

#define MAX_PAYLOAD_BYTES (1 << 20) /* a sensor that sends more at once is broken, or no sensor */
#define MAX_NUMBER_BYTES  40

struct pith_codec {
    size_t columns;
    float *rows;            /* own; grows to the largest payload that came */
    size_t capacity, count; /* in floats */
};

static int codec_open(const struct pith_host *host, const struct pith_option_value *values,
                      struct pith_codec **out, struct pith_codec_stream *out_stream,
                      struct pith_error *err)
{
    struct pith_codec *codec = calloc(1, sizeof *codec);

    (void) host;
    if (!codec)
        return pith_fail(err, -ENOMEM, "no memory for a stream");
    codec->columns = (size_t) values[OPTION_COLUMNS].integer;
    *out_stream =
        (struct pith_codec_stream){.dtype = PITH_FLOAT32,
                                   .shape = {.rank = 1, .dim = {values[OPTION_COLUMNS].integer}},
                                   .rate_hz = values[OPTION_RATE_HZ].number};
    *out = codec;
    return 0;
}

static int add_number(struct pith_codec *codec, float number)
{
    if (codec->count == codec->capacity) {
        size_t capacity = codec->capacity ? codec->capacity * 2 : 64;
        float *rows = realloc(codec->rows, capacity * sizeof *rows);

        if (!rows)
            return -ENOMEM;
        codec->rows = rows;
        codec->capacity = capacity;
    }
    codec->rows[codec->count++] = number;
    return 0;
}

/* One number of `bytes` characters; the payload is no string, so it is copied first. */
static int read_number(const char *text, size_t bytes, float *out)
{
    char copy[MAX_NUMBER_BYTES + 1], *end;

    if (bytes == 0 || bytes > MAX_NUMBER_BYTES || memchr(text, 0, bytes))
        return -EBADMSG;
    memcpy(copy, text, bytes);
    copy[bytes] = 0;
    *out = strtof(copy, &end);
    end += strspn(end, " ");
    return *end || !isfinite(*out) ? -EBADMSG : 0;
}

static int read_line(struct pith_codec *codec, const char *line, size_t bytes, size_t number,
                     struct pith_error *err)
{
    size_t column = 0;

    for (const char *at = line, *end = line + bytes; at <= end; column++) {
        const char *comma = memchr(at, ',', (size_t) (end - at));
        const char *stop = comma ? comma : end;
        float value;

        if (column == codec->columns || read_number(at, (size_t) (stop - at), &value) < 0)
            return pith_fail(
                err, -EBADMSG,
                "line %zu, column %zu: must be %zu finite numbers with ',' between them", number,
                column + 1, codec->columns);
        if (add_number(codec, value) < 0)
            return pith_fail(err, -ENOMEM, "no memory for the rows");
        at = stop + 1;
    }
    if (column != codec->columns)
        return pith_fail(err, -EBADMSG, "line %zu: has %zu numbers, must have %zu", number, column,
                         codec->columns);
    return 0;
}

static int codec_feed(struct pith_codec *codec, const void *payload, size_t payload_bytes,
                      pith_codec_emit *emit, void *user, struct pith_error *err)
{
    const char *at = payload, *end = at + payload_bytes;
    struct pith_tensor rows = {.dtype = PITH_FLOAT32, .shape = {.rank = 2}};

    if (payload_bytes == 0 || payload_bytes > MAX_PAYLOAD_BYTES)
        return pith_fail(err, -EBADMSG, "a payload of %zu bytes; it must have 1 to %d",
                         payload_bytes, MAX_PAYLOAD_BYTES);
    codec->count = 0;
    for (size_t number = 1; at < end; number++) {
        const char *newline = memchr(at, '\n', (size_t) (end - at));
        const char *stop = newline ? newline : end;
        size_t bytes = (size_t) (stop - at);
        int rc;

        if (bytes && at[bytes - 1] == '\r')
            bytes--;
        rc = read_line(codec, at, bytes, number, err);
        if (rc < 0)
            return rc;
        at = stop + 1;
    }
    rows.shape.dim[0] = (int64_t) (codec->count / codec->columns);
    rows.shape.dim[1] = (int64_t) codec->columns;
    rows.data = codec->rows;
    rows.bytes = codec->count * sizeof *codec->rows;
    return emit(user, &rows);
}

static void codec_close(struct pith_codec *codec)
{
    if (!codec)
        return;
    free(codec->rows);
    free(codec);
}

static const struct pith_codec_ops ops = {
    .size_bytes = sizeof ops,
    .open = codec_open,
    .feed = codec_feed,
    .close = codec_close,
};

const struct pith_plugin pith_plugin = {
    .size_bytes = sizeof pith_plugin,
    .abi_major = PITH_ABI_MAJOR,
    .abi_minor = PITH_ABI_MINOR,
    .kind = PITH_KIND_CODEC,
    .name = "csv_lines",
    .version = "1.0",
    .summary = "example: rows out of lines of comma-separated numbers",
    .ops = &ops,
    .options = options,
};
