/* tensor: ready tensors, as raw little-endian elements of a fixed shape or as the bytes of a .npy
 * file. */
#include <errno.h>
#include <math.h>
#include <pith/codec.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PAYLOAD_BYTES (64 * 1024 * 1024)
#define MAX_HEADER_BYTES  4096

enum format { RAW, NPY };
static const char *const format_names[] = {"raw", "npy", NULL};
static const char *const dtype_names[] = {"float32", "float64", "float16", "int8",
                                          "uint8",   "int16",   "uint16",  "int32",
                                          "uint32",  "int64",   NULL};
static const char *const npy_names[] = {"<f4", "<f8", "<f2", "|i1", "|u1",
                                        "<i2", "<u2", "<i4", "<u4", "<i8"};

struct pith_codec {
    enum format format;
    size_t dtype_index;
    int32_t dtype;
    struct pith_shape row;
    size_t row_bytes;
    void *rows; /* own, aligned; what the last payload held */
    size_t capacity_bytes;
};

enum { FORMAT, DTYPE, SHAPE, RATE };
static const struct pith_option options[] = {
    [FORMAT] = {.name = "format",
                .type = PITH_OPTION_CHOICE,
                .otherwise = "raw",
                .choices = format_names,
                .help = "raw: little-endian elements in C order; npy: the bytes of a .npy file"},
    [DTYPE] = {.name = "dtype",
               .type = PITH_OPTION_CHOICE,
               .otherwise = "float32",
               .choices = dtype_names,
               .help = "type of an element"},
    [SHAPE] = {.name = "shape",
               .type = PITH_OPTION_STRINGS,
               .otherwise = "~",
               .help = "dimensions of a row, such as [49, 10]; left out: a row is one element"},
    [RATE] = {.name = "rate_hz",
              .type = PITH_OPTION_FLOAT,
              .minimum = 0,
              .maximum = 10e6,
              .otherwise = "0",
              .help = "rows a second; 0: no fixed rate"},
    [RATE + 1] = {0},
};

static int take_shape(struct pith_shape *row, const struct pith_option_value *value,
                      struct pith_error *err)
{
    if (value->text_count >= PITH_MAX_RANK)
        return pith_fail(err, -EINVAL, "tensor: shape has %zu dimensions; at most %d are possible",
                         value->text_count, PITH_MAX_RANK - 1);
    row->rank = (uint32_t) value->text_count;
    for (size_t i = 0; i < value->text_count; i++) {
        char *end;
        errno = 0;
        row->dim[i] = strtoll(value->texts[i], &end, 10);
        if (errno || end == value->texts[i] || *end || row->dim[i] < 1 ||
            row->dim[i] > MAX_PAYLOAD_BYTES)
            return pith_fail(err, -EINVAL,
                             "tensor: shape: \"%.40s\" is no dimension: a number from 1 to %d",
                             value->texts[i], MAX_PAYLOAD_BYTES);
    }
    return 0;
}

static int tensor_open(const struct pith_host *host, const struct pith_option_value *values,
                       struct pith_codec **out, struct pith_codec_stream *out_stream,
                       struct pith_error *err)
{
    struct pith_codec *codec;
    struct pith_shape row = {0};
    int64_t row_bytes;
    int32_t dtype = pith_dtype_of_name(dtype_names[values[DTYPE].integer]);
    int rc = take_shape(&row, &values[SHAPE], err);

    (void) host;
    if (rc < 0)
        return rc;
    row_bytes = pith_tensor_bytes(dtype, &row);
    if (row_bytes < 1 || row_bytes > MAX_PAYLOAD_BYTES)
        return pith_fail(err, -EINVAL, "tensor: a row of this shape has more than %d bytes",
                         MAX_PAYLOAD_BYTES);
    codec = calloc(1, sizeof *codec);
    if (!codec)
        return -ENOMEM;
    codec->format = (enum format) values[FORMAT].integer;
    codec->dtype_index = (size_t) values[DTYPE].integer;
    codec->dtype = dtype;
    codec->row = row;
    codec->row_bytes = (size_t) row_bytes;
    *out_stream =
        (struct pith_codec_stream){.dtype = dtype, .shape = row, .rate_hz = values[RATE].number};
    *out = codec;
    return 0;
}

/* What follows `'key':` in a .npy header, which is a Python dictionary on one line. */
static const char *npy_member(const char *header, const char *key)
{
    const char *at = strstr(header, key);

    if (!at)
        return NULL;
    at += strlen(key);
    while (*at == ' ' || *at == ':')
        at++;
    return at;
}

/* The rows in "(3, 49, 10)", where a row is (49, 10); the row's shape alone is one. 0: another
 * shape. */
static int64_t npy_rows(const struct pith_codec *codec, const char *text)
{
    struct pith_shape shape = {0};

    if (*text++ != '(')
        return 0;
    for (;;) {
        char *end;
        long long dim;
        while (*text == ' ' || *text == ',')
            text++;
        if (*text == ')')
            break;
        dim = strtoll(text, &end, 10);
        if (end == text || dim < 1 || dim > MAX_PAYLOAD_BYTES || shape.rank == PITH_MAX_RANK)
            return 0;
        shape.dim[shape.rank++] = dim;
        text = end;
    }
    if (shape.rank != codec->row.rank && shape.rank != codec->row.rank + 1)
        return 0;
    for (uint32_t i = 0; i < codec->row.rank; i++)
        if (shape.dim[shape.rank - codec->row.rank + i] != codec->row.dim[i])
            return 0;
    return shape.rank > codec->row.rank ? shape.dim[0] : 1;
}

/* Moves *payload past a .npy header that says what the options say. */
static int skip_npy_header(const struct pith_codec *codec, const uint8_t **payload, size_t *bytes,
                           struct pith_error *err)
{
    char header[MAX_HEADER_BYTES + 1], shape[PITH_SHAPE_TEXT_BYTES];
    const char *descr, *order, *dims;
    size_t header_bytes, start_bytes, row_count;

    if (*bytes < 12 || memcmp(*payload, "\x93NUMPY", 6) != 0 || (*payload)[6] < 1 ||
        (*payload)[6] > 2)
        return pith_fail(err, -EBADMSG,
                         "tensor: a payload that doesn't begin as a .npy file of version 1 or 2");
    start_bytes = (*payload)[6] == 1 ? 10 : 12;
    header_bytes = (size_t) (*payload)[8] | (size_t) (*payload)[9] << 8;
    if (start_bytes == 12)
        header_bytes |= (size_t) (*payload)[10] << 16 | (size_t) (*payload)[11] << 24;
    if (header_bytes > MAX_HEADER_BYTES || header_bytes > *bytes - start_bytes)
        return pith_fail(err, -EBADMSG, "tensor: a .npy header of %zu bytes in a payload of %zu",
                         header_bytes, *bytes);
    memcpy(header, *payload + start_bytes, header_bytes);
    header[header_bytes] = 0;
    descr = npy_member(header, "'descr'");
    order = npy_member(header, "'fortran_order'");
    dims = npy_member(header, "'shape'");
    if (!descr || !order || !dims || strncmp(order, "False", 5) != 0 || descr[0] != '\'' ||
        strncmp(descr + 1, npy_names[codec->dtype_index], 3) != 0 || descr[4] != '\'' ||
        npy_rows(codec, dims) == 0)
        return pith_fail(err, -EBADMSG,
                         "tensor: the .npy header is not that of %s %s in C order: %.100s",
                         dtype_names[codec->dtype_index],
                         pith_shape_text(&codec->row, shape, sizeof shape), header);
    row_count = (size_t) npy_rows(codec, dims);
    *payload += start_bytes + header_bytes;
    *bytes -= start_bytes + header_bytes;
    if (*bytes != row_count * codec->row_bytes)
        return pith_fail(
            err, -EBADMSG,
            "tensor: %zu bytes after a .npy header that tells of %zu rows of %zu bytes", *bytes,
            row_count, codec->row_bytes);
    return 0;
}

static int check_numbers(const struct pith_tensor *rows, struct pith_error *err)
{
    int64_t count = pith_shape_elements(&rows->shape);

    if (rows->dtype != PITH_FLOAT32 && rows->dtype != PITH_FLOAT64 && rows->dtype != PITH_FLOAT16)
        return 0;
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(pith_tensor_get(rows, i)))
            return pith_fail(err, -EBADMSG, "tensor: value %lld is NaN or infinite", (long long) i);
    return 0;
}

static int reserve(struct pith_codec *codec, size_t bytes)
{
    void *rows;

    if (bytes <= codec->capacity_bytes)
        return 0;
    rows = realloc(codec->rows, bytes);
    if (!rows)
        return -ENOMEM;
    codec->rows = rows;
    codec->capacity_bytes = bytes;
    return 0;
}

static int tensor_feed(struct pith_codec *codec, const void *payload, size_t payload_bytes,
                       pith_codec_emit *emit, void *user, struct pith_error *err)
{
    struct pith_tensor tensor = {.dtype = codec->dtype};
    char shape[PITH_SHAPE_TEXT_BYTES];
    const uint8_t *data = payload;
    size_t bytes = payload_bytes;
    int rc = 0;

    if (bytes > MAX_PAYLOAD_BYTES)
        return pith_fail(err, -EBADMSG, "tensor: a payload of %zu bytes; at most %d are taken",
                         bytes, MAX_PAYLOAD_BYTES);
    if (codec->format == NPY)
        rc = skip_npy_header(codec, &data, &bytes, err);
    if (rc < 0)
        return rc;
    if (bytes == 0 || bytes % codec->row_bytes)
        return pith_fail(err, -EBADMSG,
                         "tensor: %zu bytes; rows of %s %s come in multiples of %zu bytes", bytes,
                         dtype_names[codec->dtype_index],
                         pith_shape_text(&codec->row, shape, sizeof shape), codec->row_bytes);
    rc = reserve(codec, bytes);
    if (rc < 0)
        return rc;
    memcpy(codec->rows, data, bytes);
    tensor.data = codec->rows;
    tensor.bytes = bytes;
    tensor.shape.rank = codec->row.rank + 1;
    tensor.shape.dim[0] = (int64_t) (bytes / codec->row_bytes);
    memcpy(&tensor.shape.dim[1], codec->row.dim, codec->row.rank * sizeof codec->row.dim[0]);
    rc = check_numbers(&tensor, err);
    return rc < 0 ? rc : emit(user, &tensor);
}

static void tensor_close(struct pith_codec *codec)
{
    if (!codec)
        return;
    free(codec->rows);
    free(codec);
}

static const struct pith_codec_ops ops = {
    .size_bytes = sizeof ops,
    .open = tensor_open,
    .feed = tensor_feed,
    .close = tensor_close,
};

PITH_EXPORT const struct pith_plugin pith_plugin = {
    .size_bytes = sizeof pith_plugin,
    .abi_major = PITH_ABI_MAJOR,
    .abi_minor = PITH_ABI_MINOR,
    .kind = PITH_KIND_CODEC,
    .name = "tensor",
    .version = "1.0",
    .summary = "ready tensors: raw little-endian elements, or .npy bytes",
    .ops = &ops,
    .options = options,
};
