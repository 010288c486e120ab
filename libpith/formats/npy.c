/* NumPy's .npy: a magic, a length, a Python dictionary as text, then the values. The dictionary is
 * read by its three keys in any order, and nothing else in it is accepted. */
#include "libpith/formats/npy.h"

#include "libpith/base/names.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC             "\x93NUMPY"
#define MAGIC_BYTES       6
#define ZIP_MAGIC         "PK\x03\x04" /* .npz, several arrays */
#define ZIP_MAGIC_BYTES   4
#define ALIGNMENT         64 /* where the values begin, as NumPy writes it */
#define HEADER_MOST_BYTES (PITH_NPY_HEADER_BYTES - 12)
#define LARGEST_UNPACKED  ((size_t) 4 << 30)

static const struct {
    const char *descr;
    int32_t dtype;
} types[] = {
    {"<f4", PITH_FLOAT32},   {"|u1", PITH_UINT8},       {"|i1", PITH_INT8},
    {"|b1", PITH_BOOL},      {"<i2", PITH_INT16},       {"<u2", PITH_UINT16},
    {"<i4", PITH_INT32},     {"<u4", PITH_UINT32},      {"<i8", PITH_INT64},
    {"<u8", PITH_UINT64},    {"<f2", PITH_FLOAT16},     {"<f8", PITH_FLOAT64},
    {"<c8", PITH_COMPLEX64}, {"<c16", PITH_COMPLEX128},
};
#define TYPE_COUNT (sizeof types / sizeof types[0])

struct text { /* the dictionary, from at to end */
    const char *at;
    const char *end;
};

static void skip_space(struct text *text)
{
    while (text->at < text->end && strchr(" \t\n", *text->at) && *text->at)
        text->at++;
}

/* Goes past the character where it is the next one. */
static bool take(struct text *text, char c)
{
    skip_space(text);
    if (text->at == text->end || *text->at != c)
        return false;
    text->at++;
    return true;
}

static bool take_word(struct text *text, const char *word)
{
    size_t length = strlen(word);

    skip_space(text);
    if ((size_t) (text->end - text->at) < length || memcmp(text->at, word, length) != 0)
        return false;
    text->at += length;
    return true;
}

/* 'descr' into word. */
static bool take_quoted(struct text *text, char *word, size_t bytes)
{
    char quote = 0;
    size_t used = 0;

    if (take(text, '\''))
        quote = '\'';
    else if (take(text, '"'))
        quote = '"';
    else
        return false;
    while (text->at < text->end && *text->at != quote) {
        if (used + 1 >= bytes)
            return false;
        word[used++] = *text->at++;
    }
    word[used] = 0;
    return text->at++ < text->end;
}

static bool take_dim(struct text *text, int64_t *out)
{
    int64_t dim = 0;
    bool digits = false;

    skip_space(text);
    for (; text->at < text->end && *text->at >= '0' && *text->at <= '9'; text->at++) {
        dim = dim * 10 + (*text->at - '0');
        digits = true;
        if (dim > PITH_TENSOR_MAX_BYTES)
            return false;
    }
    *out = dim;
    return digits;
}

static bool take_shape(struct text *text, struct pith_shape *out)
{
    *out = (struct pith_shape){0};
    if (!take(text, '('))
        return false;
    while (!take(text, ')')) {
        if (out->rank == PITH_MAX_RANK || !take_dim(text, &out->dim[out->rank]))
            return false;
        out->rank++;
        if (!take(text, ','))
            return take(text, ')');
    }
    return true;
}

static int find_type(const char *descr, int32_t *out, struct pith_error *err)
{
    for (size_t i = 0; i < TYPE_COUNT; i++)
        if (!strcmp(types[i].descr, descr)) {
            *out = types[i].dtype;
            return 0;
        }
    if (descr[0] == '>')
        return pith_fail(err, -ENOTSUP, "its values are big endian (%s); save it as little endian",
                         descr);
    return pith_fail(err, -ENOTSUP, "its values are of type \"%s\", which is not supported", descr);
}

static int read_dictionary(struct text text, int32_t *out_dtype, struct pith_shape *out_shape,
                           struct pith_error *err)
{
    bool has_shape = false;
    char key[16];
    char descr[16] = "";

    if (!take(&text, '{'))
        return pith_fail(err, -EBADMSG, "its header is no dictionary");
    while (!take(&text, '}')) {
        bool right = take_quoted(&text, key, sizeof key) && take(&text, ':');

        if (right && !strcmp(key, "descr")) {
            right = take_quoted(&text, descr, sizeof descr);
        } else if (right && !strcmp(key, "fortran_order")) {
            if (take_word(&text, "True"))
                return pith_fail(
                    err, -ENOTSUP,
                    "its values are in Fortran order; save numpy.ascontiguousarray(x)");
            right = take_word(&text, "False");
        } else if (right && !strcmp(key, "shape")) {
            right = has_shape = take_shape(&text, out_shape);
        } else {
            right = false;
        }
        if (!right)
            return pith_fail(err, -EBADMSG, "its header is broken, or describes no plain array");
        (void) take(&text, ',');
    }
    if (!descr[0] || !has_shape)
        return pith_fail(err, -EBADMSG, "its header lacks descr or shape");
    return find_type(descr, out_dtype, err);
}

static int check_values(const struct pith_tensor *tensor, struct pith_error *err)
{
    const uint8_t *data = tensor->data;

    if (tensor->dtype != PITH_BOOL)
        return 0;
    for (size_t i = 0; i < tensor->bytes; i++)
        if (data[i] > 1)
            return pith_fail(err, -EBADMSG, "its value %zu is %u, which is no bool", i,
                             (unsigned) data[i]);
    return 0;
}

int pith_npy_header(const void *data, size_t bytes, int32_t *out_dtype,
                    struct pith_shape *out_shape, size_t *out_start, struct pith_error *err)
{
    const uint8_t *at = data;
    struct pith_shape shape = {0};
    size_t length_bytes;
    size_t header;
    size_t start;
    int32_t dtype = PITH_DTYPE_NONE;
    int rc;

    if (bytes >= ZIP_MAGIC_BYTES && memcmp(at, ZIP_MAGIC, ZIP_MAGIC_BYTES) == 0)
        return pith_fail(err, -ENOTSUP,
                         "this is an archive of arrays (.npz); unzip it, and name one .npy file of it");
    if (bytes < MAGIC_BYTES + 4 || memcmp(at, MAGIC, MAGIC_BYTES) != 0)
        return pith_fail(err, -EBADMSG, "this is no .npy file");
    if (at[MAGIC_BYTES] < 1 || at[MAGIC_BYTES] > 3)
        return pith_fail(err, -ENOTSUP, "its format is version %u; 1 to 3 are known",
                         (unsigned) at[MAGIC_BYTES]);
    length_bytes = at[MAGIC_BYTES] == 1 ? 2 : 4;
    start = MAGIC_BYTES + 2 + length_bytes;
    if (bytes < start)
        return pith_fail(err, -EBADMSG, "it is cut off in its header");
    header = (size_t) at[8] | (size_t) at[9] << 8;
    if (length_bytes == 4)
        header |= (size_t) at[10] << 16 | (size_t) at[11] << 24;
    if (header > HEADER_MOST_BYTES || header > bytes - start)
        return pith_fail(err, -EBADMSG, "it is cut off in its header, or that is too long");
    rc = read_dictionary(
        (struct text){(const char *) at + start, (const char *) at + start + header}, &dtype,
        &shape, err);
    if (rc < 0)
        return rc;
    *out_dtype = dtype;
    *out_shape = shape;
    *out_start = start + header;
    return 0;
}

int pith_npy_view(struct pith_tensor *out, const void *data, size_t bytes, struct pith_error *err)
{
    struct pith_tensor tensor = {0};
    char text[PITH_SHAPE_TEXT_BYTES];
    size_t start;
    int64_t wanted;
    int rc = pith_npy_header(data, bytes, &tensor.dtype, &tensor.shape, &start, err);

    if (rc < 0)
        return rc;
    wanted = pith_tensor_bytes(tensor.dtype, &tensor.shape);
    if (wanted < 0 || (uint64_t) wanted != bytes - start)
        return pith_fail(err, -EBADMSG,
                         "it holds %zu bytes of values, but %s of shape %s takes %lld",
                         bytes - start, pith_dtype_name(tensor.dtype),
                         pith_shape_text(&tensor.shape, text, sizeof text), (long long) wanted);
    tensor.data = (void *) (uintptr_t) ((const uint8_t *) data + start);
    tensor.bytes = (size_t) wanted;
    rc = check_values(&tensor, err);
    if (rc == 0)
        *out = tensor;
    return rc;
}

int pith_npy_read(struct pith_tensor *out, const char *path, struct pith_error *err)
{
    struct pith_buffer unpacked = {0};
    struct pith_mapping mapping;
    struct pith_tensor view;
    int rc = pith_mapping_open(&mapping, path, err);

    if (rc < 0)
        return rc;
    if (pith_ends_with(path, ".zst")) {
        rc = pith_zstd_decompress(mapping.data, mapping.bytes, LARGEST_UNPACKED, &unpacked, err);
        if (rc == 0)
            rc = pith_npy_view(&view, unpacked.data, unpacked.bytes, err);
    } else {
        rc = pith_npy_view(&view, mapping.data, mapping.bytes, err);
    }
    if (rc == 0)
        rc = pith_tensor_copy(out, &view, err);
    pith_buffer_done(&unpacked);
    pith_mapping_close(&mapping);
    return rc < 0 ? pith_fail_in(err, rc, "%s", path) : 0;
}

/* Ends so that the values begin at a multiple of 64. */
static void write_header(struct pith_buffer *out, const char *descr, const struct pith_shape *shape)
{
    struct pith_buffer header = {0};
    size_t length;

    pith_buffer_printf(&header, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (uint32_t i = 0; i < shape->rank; i++)
        pith_buffer_printf(&header, i + 1 < shape->rank ? "%" PRId64 ", " : "%" PRId64,
                           shape->dim[i]);
    pith_buffer_text(&header, shape->rank == 1 ? ",), }" : "), }");
    while ((MAGIC_BYTES + 4 + header.bytes + 1) % ALIGNMENT && !header.failed)
        pith_buffer_text(&header, " ");
    pith_buffer_text(&header, "\n");
    length = header.bytes;
    pith_buffer_append(out, MAGIC "\x01\x00", MAGIC_BYTES + 2);
    pith_buffer_append(out, (const uint8_t[]){(uint8_t) length, (uint8_t) (length >> 8)}, 2);
    pith_buffer_append(out, header.data, header.bytes);
    out->failed = out->failed || header.failed;
    pith_buffer_done(&header);
}

int pith_npy_write_header(struct pith_buffer *out, int32_t dtype, const struct pith_shape *shape,
                    struct pith_error *err)
{
    const char *descr = NULL;

    for (size_t i = 0; i < TYPE_COUNT; i++)
        if (types[i].dtype == dtype)
            descr = types[i].descr;
    if (!descr)
        return pith_fail(err, -ENOTSUP, "NumPy has no type for %s", pith_dtype_name(dtype));
    write_header(out, descr, shape);
    return out->failed ? -ENOMEM : 0;
}

int pith_npy_write(const char *path, const struct pith_tensor *tensor, struct pith_error *err)
{
    struct pith_buffer file = {0};
    struct pith_buffer packed = {0};
    int rc = pith_npy_write_header(&file, tensor->dtype, &tensor->shape, err);

    if (rc == -ENOTSUP)
        return pith_fail_in(err, rc, "%s", path);
    if (tensor->bytes)
        pith_buffer_append(&file, tensor->data, tensor->bytes);
    if (file.failed)
        rc = pith_fail(err, -ENOMEM, "%s: no memory for %zu bytes", path, tensor->bytes);
    if (rc == 0 && pith_ends_with(path, ".zst"))
        rc = pith_zstd_compress(file.data, file.bytes, PITH_ZSTD_LEVEL, &packed, err);
    if (rc == 0)
        rc = pith_file_write(path, pith_ends_with(path, ".zst") ? packed.data : file.data,
                             pith_ends_with(path, ".zst") ? packed.bytes : file.bytes, 0644, err);
    pith_buffer_done(&packed);
    pith_buffer_done(&file);
    return rc;
}
