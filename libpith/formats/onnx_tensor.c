/* TensorProto: all its ways of holding numbers. raw_data stays where it lies in the file, aligned
 * or not; tensors too small to matter are copied, so that shapes, axes and scales are aligned.
 * Typed lists (float_data and its like) are converted into memory of their own, which is asked for
 * only once the list has been counted. */
#include "libpith/formats/onnx_tensor.h"

#include "libpith/formats/onnx_fields.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "raw_data is little endian and used in place: a big-endian machine needs a copy here"
#endif

#define SMALL_BYTES 4096 /* copied rather than left unaligned */
#define SPARSE_LIMIT_BYTES                                                                         \
    (INT64_C(256) << 20) /* a few bytes of file can ask for any size here                          \
                          */

/* ---- texts ---- */

static bool is_utf8(const uint8_t *at, const uint8_t *end)
{
    while (at < end) {
        unsigned more = *at < 0x80 ? 0 : *at < 0xe0 ? 1 : *at < 0xf0 ? 2 : 3;
        uint32_t code = *at & (more ? 0x3fu >> more : 0x7fu);

        if (*at >= 0xf8 || (*at >= 0x80 && *at < 0xc2) || (size_t) (end - at) <= more)
            return false;
        for (unsigned i = 1; i <= more; i++) {
            if ((at[i] & 0xc0) != 0x80)
                return false;
            code = code << 6 | (at[i] & 0x3f);
        }
        if ((more == 2 && (code < 0x800 || (code >= 0xd800 && code < 0xe000))) ||
            (more == 3 && (code < 0x10000 || code > 0x10ffff)))
            return false;
        at += more + 1;
    }
    return true;
}

int onnx_text(char **out, struct proto bytes, struct pith_error *err)
{
    size_t size = proto_size(bytes);
    char *text;

    if (size && (memchr(bytes.at, 0, size) || !is_utf8(bytes.at, bytes.end)))
        return pith_fail(err, -EBADMSG, "a name holds bytes that are no text");
    text = malloc(size + 1);
    if (!text)
        return pith_fail(err, -ENOMEM, "no memory for a name of %zu bytes", size);
    if (size)
        memcpy(text, bytes.at, size);
    text[size] = 0;
    *out = text;
    return 0;
}

/* ---- fields ---- */

/* What a TensorProto says, before its values are looked at. */
struct fields {
    struct proto message;
    struct proto name;
    struct proto raw;
    bool has_raw;
    bool external;
    bool segmented;
    bool strings;
    int32_t dtype;
    struct pith_shape shape;
};

static int add_dim(struct fields *fields, uint64_t dim, struct pith_error *err)
{
    if (fields->shape.rank == PITH_MAX_RANK)
        return pith_fail(err, -ENOTSUP, "it has more than %d dimensions", PITH_MAX_RANK);
    if (dim > (uint64_t) PITH_TENSOR_MAX_BYTES)
        return pith_fail(err, -EBADMSG, "its dimension %u is %lld", (unsigned) fields->shape.rank,
                         (long long) (int64_t) dim);
    fields->shape.dim[fields->shape.rank++] = (int64_t) dim;
    return 0;
}

/* A repeated integer field, packed or not. */
static int add_dims(struct fields *fields, const struct proto_field *field, struct pith_error *err)
{
    struct proto list = field->bytes;
    uint64_t dim;
    int rc;

    if (field->wire == PROTO_VARINT)
        return add_dim(fields, field->integer, err);
    if (field->wire != PROTO_BYTES)
        return pith_fail(err, -EBADMSG, "its dims are of another wire type");
    while ((rc = proto_next_varint(&list, &dim)) > 0) {
        rc = add_dim(fields, dim, err);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? pith_fail(err, rc, "its dims are broken") : 0;
}

static int read_fields(struct fields *fields, struct proto message, struct pith_error *err)
{
    struct proto_field field;
    int rc;

    *fields = (struct fields){.message = message};
    while ((rc = proto_next(&message, &field)) > 0) {
        switch (field.number) {
        case TENSOR_DIMS:
            rc = add_dims(fields, &field, err);
            if (rc < 0)
                return rc;
            break;
        case TENSOR_DATA_TYPE:
            if (field.wire != PROTO_VARINT)
                return pith_fail(err, -EBADMSG, "its data_type is of another wire type");
            fields->dtype = field.integer > INT32_MAX ? -1 : (int32_t) field.integer;
            break;
        case TENSOR_NAME:
            if (field.wire != PROTO_BYTES)
                return pith_fail(err, -EBADMSG, "its name is of another wire type");
            fields->name = field.bytes;
            break;
        case TENSOR_RAW_DATA:
            if (field.wire != PROTO_BYTES)
                return pith_fail(err, -EBADMSG, "its raw_data is of another wire type");
            fields->raw = field.bytes;
            fields->has_raw = proto_size(field.bytes) > 0;
            break;
        case TENSOR_SEGMENT:
            fields->segmented = true;
            break;
        case TENSOR_STRING_DATA:
            fields->strings = true;
            break;
        case TENSOR_EXTERNAL_DATA:
            fields->external = true;
            break;
        case TENSOR_DATA_LOCATION:
            fields->external = fields->external || field.integer != 0;
            break;
        default:
            break;
        }
    }
    return rc < 0 ? pith_fail(err, rc, "its bytes are broken") : 0;
}

/* ---- typed lists ---- */

/* The field that holds a type's values where raw_data doesn't. */
static uint32_t list_field_of(int32_t dtype)
{
    switch (dtype) {
    case PITH_FLOAT32:
    case PITH_COMPLEX64:
        return TENSOR_FLOAT_DATA;
    case PITH_FLOAT64:
    case PITH_COMPLEX128:
        return TENSOR_DOUBLE_DATA;
    case PITH_INT64:
        return TENSOR_INT64_DATA;
    case PITH_UINT32:
    case PITH_UINT64:
        return TENSOR_UINT64_DATA;
    default:
        return TENSOR_INT32_DATA;
    }
}

/* Bytes that one entry of the list becomes: half a complex number, two int4. */
static size_t entry_bytes(int32_t dtype)
{
    switch (dtype) {
    case PITH_COMPLEX64:
        return 4;
    case PITH_COMPLEX128:
        return 8;
    case PITH_INT4:
    case PITH_UINT4:
        return 1;
    default:
        return pith_dtype_bits(dtype) / 8;
    }
}

/* Whether the integer is one of the type, or has its bit pattern: writers put uint8 and float16 as
 * what they are, and int8 sign-extended or not. */
static bool entry_fits(int32_t dtype, size_t bytes, uint64_t entry)
{
    int64_t value = (int64_t) entry;

    if (dtype == PITH_BOOL)
        return entry <= 1;
    return bytes == 8 ||
           (value >= -(INT64_C(1) << (8 * bytes - 1)) && value < INT64_C(1) << (8 * bytes));
}

struct list {
    uint32_t field;
    int32_t dtype;
    size_t entry; /* bytes of one */
    uint8_t *to;  /* NULL: only count */
    size_t room;  /* entries that fit */
    size_t count;
};

static int add_entry(struct list *list, uint64_t entry, struct pith_error *err)
{
    if (list->to) {
        if (list->count >= list->room)
            return pith_fail(err, -EBADMSG, "it holds more values than its shape takes");
        if (!entry_fits(list->dtype, list->entry, entry))
            return pith_fail(err, -EBADMSG, "its value %zu is %lld, which is no %s", list->count,
                             (long long) (int64_t) entry, pith_dtype_name(list->dtype));
        memcpy(list->to + list->count * list->entry, &entry, list->entry);
    }
    list->count++;
    return 0;
}

static int add_fixed_entries(struct list *list, struct proto bytes, struct pith_error *err)
{
    size_t count = proto_size(bytes) / list->entry;

    if (proto_size(bytes) % list->entry)
        return pith_fail(err, -EBADMSG, "its packed values are cut off");
    if (list->to) {
        if (count > list->room - list->count)
            return pith_fail(err, -EBADMSG, "it holds more values than its shape takes");
        if (count)
            memcpy(list->to + list->count * list->entry, bytes.at, count * list->entry);
    }
    list->count += count;
    return 0;
}

static int add_entries(struct list *list, const struct proto_field *field, struct pith_error *err)
{
    bool fixed = list->field == TENSOR_FLOAT_DATA || list->field == TENSOR_DOUBLE_DATA;
    enum proto_wire single = list->field == TENSOR_FLOAT_DATA    ? PROTO_FIXED32
                             : list->field == TENSOR_DOUBLE_DATA ? PROTO_FIXED64
                                                                 : PROTO_VARINT;
    struct proto packed = field->bytes;
    uint64_t entry;
    int rc;

    if (field->wire == single)
        return fixed ? add_fixed_entries(
                           list,
                           (struct proto){(const uint8_t *) &field->integer,
                                          (const uint8_t *) &field->integer + list->entry},
                           err)
                     : add_entry(list, field->integer, err);
    if (field->wire != PROTO_BYTES)
        return pith_fail(err, -EBADMSG, "its values are of another wire type");
    if (fixed)
        return add_fixed_entries(list, packed, err);
    while ((rc = proto_next_varint(&packed, &entry)) > 0) {
        rc = add_entry(list, entry, err);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? pith_fail(err, rc, "its packed values are broken") : 0;
}

static int walk_list(struct list *list, struct proto message, struct pith_error *err)
{
    struct proto_field field;
    int rc;

    list->count = 0;
    while ((rc = proto_next(&message, &field)) > 0) {
        if (field.number != list->field)
            continue;
        rc = add_entries(list, &field, err);
        if (rc < 0)
            return rc;
    }
    return rc;
}

static int read_list(struct onnx_tensor *out, const struct fields *fields, size_t bytes,
                     struct pith_error *err)
{
    struct list list = {.field = list_field_of(fields->dtype),
                        .dtype = fields->dtype,
                        .entry = entry_bytes(fields->dtype)};
    struct pith_tensor tensor;
    int rc = walk_list(&list, fields->message, err);

    if (rc < 0)
        return rc;
    if (list.count != bytes / list.entry)
        return pith_fail(err, -EBADMSG, "it holds %zu values where its shape takes %zu", list.count,
                         bytes / list.entry);
    rc = pith_tensor_alloc(&tensor, fields->dtype, &fields->shape, err);
    if (rc < 0)
        return rc;
    list.to = tensor.data;
    list.room = list.count;
    rc = walk_list(&list, fields->message, err);
    if (rc < 0) {
        pith_tensor_free(&tensor);
        return rc;
    }
    out->tensor = tensor;
    out->owned = true;
    return 0;
}

/* ---- raw_data ---- */

static int check_bools(const struct pith_tensor *tensor, struct pith_error *err)
{
    const uint8_t *data = tensor->data;

    for (size_t i = 0; i < tensor->bytes; i++)
        if (data[i] > 1)
            return pith_fail(err, -EBADMSG, "its value %zu is %u, which is no bool", i,
                             (unsigned) data[i]);
    return 0;
}

static int read_raw(struct onnx_tensor *out, const struct fields *fields, size_t bytes,
                    struct pith_error *err)
{
    struct pith_tensor tensor = {.dtype = fields->dtype,
                                 .shape = fields->shape,
                                 .data = (void *) (uintptr_t) fields->raw.at,
                                 .bytes = bytes};
    int rc = 0;

    if (proto_size(fields->raw) != bytes)
        return pith_fail(err, -EBADMSG, "its raw_data is %zu bytes long where its shape takes %zu",
                         proto_size(fields->raw), bytes);
    if (fields->dtype == PITH_BOOL)
        rc = check_bools(&tensor, err);
    if (rc == 0 && bytes < SMALL_BYTES && (bytes == 0 || !pith_tensor_aligned(&tensor))) {
        rc = pith_tensor_copy(&out->tensor, &tensor, err);
        out->owned = rc == 0;
        return rc;
    }
    out->tensor = tensor;
    out->owned = false;
    return rc;
}

static int read_values(struct onnx_tensor *out, const struct fields *fields, struct pith_error *err)
{
    int64_t bytes = pith_tensor_bytes(fields->dtype, &fields->shape);
    char text[PITH_SHAPE_TEXT_BYTES];

    if (fields->dtype == PITH_STRING || fields->strings)
        return pith_fail(err, -ENOTSUP, "it holds strings, which no operator here takes");
    if (pith_dtype_bits(fields->dtype) == 0)
        return pith_fail(err, -ENOTSUP, "its element type is number %d, which is unknown",
                         (int) fields->dtype);
    if (fields->external)
        return pith_fail(err, -ENOTSUP,
                         "its values lie in another file; save the model as one file, with the "
                         "weights inside");
    if (fields->segmented)
        return pith_fail(err, -ENOTSUP, "its values are split into segments");
    if (bytes < 0)
        return pith_fail(err, -EBADMSG, "its shape %s is too large",
                         pith_shape_text(&fields->shape, text, sizeof text));
    if (fields->has_raw || bytes == 0)
        return read_raw(out, fields, (size_t) bytes, err);
    return read_list(out, fields, (size_t) bytes, err);
}

/* "tensor "w": " before what went wrong. */
static int fail_tensor(struct proto name, int rc, struct pith_error *err)
{
    int shown = proto_size(name) < 120 ? (int) proto_size(name) : 120;

    if (shown && !memchr(name.at, 0, (size_t) shown) && is_utf8(name.at, name.at + shown))
        return pith_fail_in(err, rc, "tensor \"%.*s\"", shown, (const char *) name.at);
    return pith_fail_in(err, rc, "a tensor");
}

int onnx_read_tensor(struct onnx_tensor *out, struct proto message, struct pith_error *err)
{
    struct onnx_tensor tensor = {0};
    struct fields fields;
    int rc = read_fields(&fields, message, err);

    if (rc == 0)
        rc = read_values(&tensor, &fields, err);
    if (rc < 0)
        return fail_tensor(fields.name, rc, err);
    tensor.name = fields.name;
    *out = tensor;
    return 0;
}

void onnx_tensor_done(struct onnx_tensor *tensor)
{
    if (tensor->owned)
        pith_tensor_free(&tensor->tensor);
    *tensor = (struct onnx_tensor){0};
}

/* ---- sparse ---- */

/* The place of one value: a linear index, or a coordinate for each dimension. -1 where it is
 * outside. */
static int64_t sparse_index(const struct pith_tensor *indices, int64_t entry,
                            const struct pith_shape *shape, int64_t elements)
{
    int64_t at = 0;

    if (indices->shape.rank == 1) {
        at = pith_tensor_get_int(indices, entry);
        return at >= 0 && at < elements ? at : -1;
    }
    for (uint32_t i = 0; i < shape->rank; i++) {
        int64_t coordinate = pith_tensor_get_int(indices, entry * shape->rank + i);

        if (coordinate < 0 || coordinate >= shape->dim[i])
            return -1;
        at = at * shape->dim[i] + coordinate;
    }
    return at;
}

static int scatter(struct pith_tensor *dense, const struct pith_tensor *values,
                   const struct pith_tensor *indices, struct pith_error *err)
{
    int64_t count = pith_shape_elements(&values->shape);
    int64_t elements = pith_shape_elements(&dense->shape);
    int64_t wanted = indices->shape.rank == 2 ? count * dense->shape.rank : count;
    size_t bytes = pith_dtype_bits(values->dtype) / 8;

    if (indices->dtype != PITH_INT64 || values->shape.rank != 1 || indices->shape.rank < 1 ||
        indices->shape.rank > 2 || indices->shape.dim[0] != count ||
        pith_shape_elements(&indices->shape) != wanted)
        return pith_fail(err, -EBADMSG, "its indices don't fit its %lld values", (long long) count);
    if (bytes == 0)
        return pith_fail(err, -ENOTSUP, "it is sparse and of type %s",
                         pith_dtype_name(values->dtype));
    for (int64_t i = 0; i < count; i++) {
        int64_t at = sparse_index(indices, i, &dense->shape, elements);

        if (at < 0)
            return pith_fail(err, -EBADMSG, "its index %lld lies outside of its shape",
                             (long long) i);
        memcpy((uint8_t *) dense->data + (size_t) at * bytes,
               (const uint8_t *) values->data + (size_t) i * bytes, bytes);
    }
    return 0;
}

struct sparse {
    struct onnx_tensor values;
    struct onnx_tensor indices;
    struct fields dims; /* for its shape alone */
};

static int read_sparse_fields(struct sparse *sparse, struct proto message, struct pith_error *err)
{
    struct proto_field field;
    int rc;

    while ((rc = proto_next(&message, &field)) > 0) {
        if (field.number == SPARSE_DIMS) {
            rc = add_dims(&sparse->dims, &field, err);
        } else if (field.number == SPARSE_VALUES || field.number == SPARSE_INDICES) {
            struct onnx_tensor *into =
                field.number == SPARSE_VALUES ? &sparse->values : &sparse->indices;

            if (field.wire != PROTO_BYTES)
                return pith_fail(err, -EBADMSG, "its parts are of another wire type");
            onnx_tensor_done(into);
            rc = onnx_read_tensor(into, field.bytes, err);
        }
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? pith_fail(err, rc, "its bytes are broken") : 0;
}

int onnx_read_sparse(struct onnx_tensor *out, struct proto message, struct pith_error *err)
{
    struct sparse sparse = {0};
    struct onnx_tensor dense = {.owned = true};
    int64_t bytes;
    int rc = read_sparse_fields(&sparse, message, err);

    if (rc < 0)
        goto done;
    if (!sparse.values.tensor.data || !sparse.indices.tensor.data) {
        rc = pith_fail(err, -EBADMSG, "it lacks its values or indices");
        goto done;
    }
    bytes = pith_tensor_bytes(sparse.values.tensor.dtype, &sparse.dims.shape);
    if (bytes < 0 || bytes > SPARSE_LIMIT_BYTES) {
        rc = pith_fail(err, -EFBIG, "it is sparse, and would take more than %lld bytes in full",
                       (long long) SPARSE_LIMIT_BYTES);
        goto done;
    }
    rc = pith_tensor_alloc(&dense.tensor, sparse.values.tensor.dtype, &sparse.dims.shape, err);
    if (rc < 0)
        goto done;
    rc = scatter(&dense.tensor, &sparse.values.tensor, &sparse.indices.tensor, err);
    dense.name = sparse.values.name;
    if (rc < 0) {
        pith_tensor_free(&dense.tensor);
        goto done;
    }
    *out = dense;
done:
    if (rc < 0)
        rc = fail_tensor(sparse.values.name, rc, err);
    onnx_tensor_done(&sparse.values);
    onnx_tensor_done(&sparse.indices);
    return rc;
}
