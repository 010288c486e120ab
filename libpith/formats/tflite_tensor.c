/* The tensors of a TensorFlow Lite file: types, shapes, grids, and where the elements of constants
 * lie. Nothing becomes part of a graph here; tflite_value.c does that when an operator asks for it.
 */
#include "libpith/formats/tflite_read.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_TENSORS (UINT32_C(1) << 17) /* of the largest models there are, a tenth */
#define MOST_NAME    1024
#define COPIES_A_BYTE                                                                              \
    64 /* float16 as float32, permuted: 4; the rest is room for sparse weights                     \
        */
#define LEAST_COPIES   (UINT64_C(1) << 24)
#define MOST_DIMENSION INT64_C(0x7fffffff)

/* ---- sentences and limits ---- */

const char *tflite_tensor_text(const struct tflite_reader *reader, int32_t tensor, char *text,
                               size_t text_bytes)
{
    const char *name = reader->tensors[tensor].name;

    if (name && name[0])
        (void) snprintf(text, text_bytes, "tensor %" PRId32 " (\"%.110s\")", tensor, name);
    else
        (void) snprintf(text, text_bytes, "tensor %" PRId32, tensor);
    return text;
}

static int refuse(const struct tflite_reader *reader, uint32_t tensor, int code, const char *what,
                  struct pith_error *err)
{
    char text[TFLITE_TENSOR_TEXT_BYTES];

    return pith_fail(err, code, "%s %s",
                     tflite_tensor_text(reader, (int32_t) tensor, text, sizeof text), what);
}

int tflite_count_copy(struct tflite_reader *reader, uint64_t bytes, struct pith_error *err)
{
    if (bytes > reader->copy_bytes_left)
        return pith_fail(err, -EBADMSG,
                         "its weights take far more memory than its %" PRIu64
                         " bytes: many operators share one buffer in forms of their own",
                         reader->file.bytes);
    reader->copy_bytes_left -= bytes;
    return 0;
}

/* ---- types and shapes ---- */

/* The element type for a TensorType; PITH_DTYPE_NONE where there is none. */
static int32_t dtype_of(int type)
{
    static const int32_t dtypes[] = {
        [TFLITE_FLOAT32] = PITH_FLOAT32,     [TFLITE_FLOAT16] = PITH_FLOAT16,
        [TFLITE_INT32] = PITH_INT32,         [TFLITE_UINT8] = PITH_UINT8,
        [TFLITE_INT64] = PITH_INT64,         [TFLITE_STRING] = PITH_DTYPE_NONE,
        [TFLITE_BOOL] = PITH_BOOL,           [TFLITE_INT16] = PITH_INT16,
        [TFLITE_COMPLEX64] = PITH_COMPLEX64, [TFLITE_INT8] = PITH_INT8,
        [TFLITE_FLOAT64] = PITH_FLOAT64,     [TFLITE_COMPLEX128] = PITH_COMPLEX128,
        [TFLITE_UINT64] = PITH_UINT64,       [TFLITE_RESOURCE] = PITH_DTYPE_NONE,
        [TFLITE_VARIANT] = PITH_DTYPE_NONE,  [TFLITE_UINT32] = PITH_UINT32,
        [TFLITE_UINT16] = PITH_UINT16,       [TFLITE_INT4] = PITH_INT4,
        [TFLITE_BFLOAT16] = PITH_BFLOAT16,
    };

    return type >= 0 && type < (int) (sizeof dtypes / sizeof *dtypes) ? dtypes[type]
                                                                      : PITH_DTYPE_NONE;
}

bool tflite_on_grid(const struct tflite_tensor *tensor)
{
    return tensor->quantization.count > 0 && tensor->dtype != PITH_INT32;
}

/* The signature says which sizes are left open; `shape` then has 1 there. */
static int read_shape(struct tflite_reader *reader, struct flat_table from, uint32_t index,
                      struct pith_error *err)
{
    struct pith_shape *shape = &reader->tensors[index].shape;
    struct flat_vector dims = flat_items(from, TENSOR_SHAPE, 4);
    struct flat_vector signature = flat_items(from, TENSOR_SHAPE_SIGNATURE, 4);

    if (dims.count > PITH_MAX_RANK)
        return refuse(reader, index, -ENOTSUP, "has more than 8 dimensions", err);
    shape->rank = dims.count;
    for (uint32_t i = 0; i < dims.count; i++) {
        shape->dim[i] = flat_item_i32(dims, i);
        if (signature.count == dims.count && flat_item_i32(signature, i) == -1)
            shape->dim[i] = PITH_DIM_UNKNOWN;
        if (shape->dim[i] < PITH_DIM_UNKNOWN)
            return refuse(reader, index, -EBADMSG, "has a negative dimension", err);
    }
    return 0;
}

static int read_name(struct tflite_reader *reader, struct flat_table from, uint32_t index,
                     struct pith_error *err)
{
    struct flat_vector text = flat_text(from, TENSOR_NAME);
    char name[MOST_NAME + 1];
    size_t length = text.count < MOST_NAME ? text.count : MOST_NAME;
    const uint8_t *in_file = flat_bytes(text);

    for (size_t i = 0; i < length; i++)
        name[i] = (char) (in_file[i] < 0x20 || in_file[i] >= 0x7f ? '_' : in_file[i]);
    name[length] = 0;
    reader->tensors[index].name = arena_text(&reader->arena, name);
    return reader->tensors[index].name ? 0 : pith_fail(err, -ENOMEM, "no memory to read the model");
}

/* ---- grids ---- */

static bool has_grid(int32_t dtype)
{
    return dtype == PITH_INT8 || dtype == PITH_UINT8 || dtype == PITH_INT16 ||
           dtype == PITH_UINT16 || dtype == PITH_INT4 || dtype == PITH_INT32;
}

static int copy_grid(struct tflite_reader *reader, uint32_t index, struct flat_vector scales,
                     struct flat_vector zeros, struct pith_error *err)
{
    struct pith_quantization *grid = &reader->tensors[index].quantization;
    float *scale = arena_alloc(&reader->arena, scales.count * sizeof *scale);
    int32_t *zero_point = arena_alloc(&reader->arena, scales.count * sizeof *zero_point);
    const uint8_t *scales_in_file = flat_bytes(scales), *zeros_in_file = flat_bytes(zeros);

    if (!scale || !zero_point)
        return pith_fail(err, -ENOMEM, "no memory to read the model");
    for (uint32_t i = 0; i < scales.count; i++) {
        int64_t zero = 0;

        if (zeros_in_file)
            memcpy(&zero, zeros_in_file + (zeros.count == 1 ? 0 : i) * sizeof zero, sizeof zero);
        memcpy(&scale[i], scales_in_file + i * sizeof *scale, sizeof *scale);
        if (!isfinite(scale[i]) || scale[i] <= 0)
            return refuse(reader, index, -EBADMSG, "has a scale that is not finite and above 0",
                          err);
        if (zero < -0x8000 || zero > 0xffff)
            return refuse(reader, index, -EBADMSG, "has a zero point that its type can't hold",
                          err);
        zero_point[i] = (int32_t) zero;
    }
    grid->scale = scale;
    grid->zero_point = zero_point;
    grid->count = scales.count;
    return 0;
}

/* Scales of sums (int32) are those of what is summed, and not read; but a single one may be that of
 * an output. */
static int read_grid(struct tflite_reader *reader, struct flat_table from, uint32_t index,
                     struct pith_error *err)
{
    struct tflite_tensor *tensor = &reader->tensors[index];
    struct flat_table details = flat_child(from, TENSOR_QUANTIZATION);
    struct flat_vector scales = flat_items(details, QUANTIZATION_SCALE, 4);
    struct flat_vector zeros = flat_items(details, QUANTIZATION_ZERO_POINT, 8);
    int32_t axis = flat_i32(details, QUANTIZATION_DIMENSION, 0);
    int rc;

    if (flat_u8(details, QUANTIZATION_DETAILS_TYPE, 0))
        return refuse(reader, index, -ENOTSUP,
                      "is quantized in blocks or along several axes, which is not read", err);
    if (!scales.count || !has_grid(tensor->dtype) ||
        (tensor->dtype == PITH_INT32 &&
         (scales.count > 1 || !(flat_item_float(scales, 0) > 0.0F) || tensor->constant.data)))
        return 0;
    if (zeros.count > 1 && zeros.count != scales.count)
        return refuse(reader, index, -EBADMSG, "has other counts of scales and zero points", err);
    if (scales.count > 1 && (axis < 0 || axis >= (int32_t) tensor->shape.rank ||
                             tensor->shape.dim[axis] != (int64_t) scales.count))
        return refuse(reader, index, -EBADMSG, "has not one scale for each index of its axis", err);
    rc = tflite_count_copy(reader, scales.count * UINT64_C(8), err);
    if (rc < 0)
        return rc;
    tensor->quantization.dtype = tensor->dtype;
    tensor->quantization.axis = scales.count > 1 ? axis : 0;
    return copy_grid(reader, index, scales, zeros, err);
}

/* ---- constants ---- */

/* Bytes of a model over 2 GiB lie behind the FlatBuffer, at an offset from the file's first byte.
 */
static struct flat_vector buffer_bytes(struct tflite_reader *reader, uint32_t number)
{
    struct flat_vector buffers = flat_items(reader->model, MODEL_BUFFERS, 4);
    struct flat_table buffer;
    uint64_t offset, size;

    if (number >= buffers.count) {
        reader->file.broken = reader->file.broken || number > 0;
        return (struct flat_vector){0};
    }
    buffer = flat_item_table(buffers, number);
    offset = flat_u64(buffer, BUFFER_OFFSET, 0);
    size = flat_u64(buffer, BUFFER_SIZE, 0);
    if (offset <= 1)
        return flat_items(buffer, BUFFER_DATA, 1);
    if (offset > reader->file.bytes || size > reader->file.bytes - offset || size > UINT32_MAX) {
        reader->file.broken = true;
        return (struct flat_vector){0};
    }
    return (struct flat_vector){&reader->file, offset, (uint32_t) size};
}

static int read_constant(struct tflite_reader *reader, struct flat_table from, uint32_t index,
                         struct pith_error *err)
{
    struct tflite_tensor *tensor = &reader->tensors[index];
    uint32_t number = flat_u32(from, TENSOR_BUFFER, 0);
    struct flat_vector bytes = buffer_bytes(reader, number);
    struct flat_table sparsity = flat_child(from, TENSOR_SPARSITY);
    struct pith_tensor stored = {.dtype = tensor->dtype, .shape = tensor->shape};
    int64_t expected = pith_tensor_bytes(tensor->dtype, &tensor->shape);

    if (flat_u32(from, TENSOR_EXTERNAL_BUFFER, 0))
        return refuse(reader, index, -ENOTSUP,
                      "has its elements in another file; a model is one file here", err);
    if (reader->file.broken || tensor->is_variable || number == 0 ||
        (bytes.count == 0 && expected != 0))
        return 0;
    if (tensor->dtype == PITH_DTYPE_NONE)
        return 0; /* strings: refused by whoever takes them */
    stored.data = (void *) (uintptr_t) (reader->file.data + (bytes.count ? bytes.at : 0));
    stored.bytes = bytes.count;
    if (sparsity.in) {
        int rc = tflite_densify(reader, sparsity, &stored, &tensor->constant, err);

        tensor->own = rc == 0;
        return rc == -EBADMSG
                   ? refuse(reader, index, rc, "is sparse, and what it stores does not fit", err)
                   : rc;
    }
    if (expected != (int64_t) bytes.count) {
        char dims[PITH_SHAPE_TEXT_BYTES], text[TFLITE_TENSOR_TEXT_BYTES];

        return pith_fail(err, -EBADMSG, "%s holds %u bytes, but %s of shape %s takes %lld",
                         tflite_tensor_text(reader, (int32_t) index, text, sizeof text),
                         (unsigned) bytes.count, pith_dtype_name(tensor->dtype),
                         pith_shape_text(&tensor->shape, dims, sizeof dims), (long long) expected);
    }
    tensor->constant = stored;
    return 0;
}

/* ---- all of them ---- */

static int read_tensor(struct tflite_reader *reader, struct flat_table from, uint32_t index,
                       struct pith_error *err)
{
    struct tflite_tensor *tensor = &reader->tensors[index];
    int rc;

    for (int form = 0; form < FORM_COUNT; form++)
        tensor->value[form] = PITH_NO_VALUE;
    tensor->dtype = dtype_of(flat_i8(from, TENSOR_TYPE, TFLITE_FLOAT32));
    tensor->is_variable = flat_u8(from, TENSOR_IS_VARIABLE, 0);
    rc = read_name(reader, from, index, err);
    if (rc == 0)
        rc = read_shape(reader, from, index, err);
    if (rc == 0)
        rc = read_constant(reader, from, index, err);
    if (rc == 0)
        rc = read_grid(reader, from, index, err);
    if (rc == 0 && reader->file.broken)
        rc = refuse(reader, index, -EBADMSG, "leads outside of the file: it is cut off or broken",
                    err);
    return rc;
}

int tflite_read_tensors(struct tflite_reader *reader, struct flat_table subgraph,
                        struct pith_error *err)
{
    struct flat_vector tensors = flat_items(subgraph, SUBGRAPH_TENSORS, 4);
    int rc = 0;

    reader->copy_bytes_left = reader->file.bytes * COPIES_A_BYTE + LEAST_COPIES;
    if (tensors.count > MOST_TENSORS)
        return pith_fail(err, -ENOTSUP, "it has %u tensors; %u are the most that are read",
                         (unsigned) tensors.count, (unsigned) MOST_TENSORS);
    reader->tensors = calloc((size_t) tensors.count + 1, sizeof *reader->tensors);
    if (!reader->tensors)
        return pith_fail(err, -ENOMEM, "no memory for its %u tensors", (unsigned) tensors.count);
    reader->tensor_count = tensors.count;
    for (uint32_t i = 0; i < tensors.count && rc == 0; i++)
        rc = read_tensor(reader, flat_item_table(tensors, i), i, err);
    return rc;
}

void tflite_free_tensors(struct tflite_reader *reader)
{
    for (uint32_t i = 0; i < reader->tensor_count; i++)
        if (reader->tensors[i].own)
            pith_tensor_free(&reader->tensors[i].constant);
    free(reader->tensors);
}

/* ---- other orders of axes ---- */

static void copy_element(const struct pith_tensor *from, int64_t at, struct pith_tensor *to,
                         int64_t index)
{
    const unsigned bits = pith_dtype_bits(from->dtype);

    if (bits < 8)
        pith_tensor_set(to, index, pith_tensor_get(from, at));
    else
        memcpy((uint8_t *) to->data + index * (bits / 8),
               (const uint8_t *) from->data + at * (bits / 8), bits / 8);
}

#define COPY_LINE(type)                                                                            \
    for (int64_t i = 0; i < count; i++)                                                            \
    ((type *) to->data)[index + i] = ((const type *) from->data)[at + i * stride]

/* `count` elements of `bits` bits, `stride` apart, one behind the other; 0: bits of any number, or
 * elements that are not aligned. Weights are much of a model's load, so
 * widths are told apart outside of the loop. */
static void copy_line(const struct pith_tensor *from, int64_t at, int64_t stride,
                      struct pith_tensor *to, int64_t index, int64_t count, unsigned bits)
{
    switch (bits) {
    case 8:
        COPY_LINE(uint8_t);
        break;
    case 16:
        COPY_LINE(uint16_t);
        break;
    case 32:
        COPY_LINE(uint32_t);
        break;
    case 64:
        COPY_LINE(uint64_t);
        break;
    default:
        for (int64_t i = 0; i < count; i++)
            copy_element(from, at + i * stride, to, index + i);
    }
}

/* An axis of what comes out: its length, and how far apart its elements lie in what goes in. */
struct axis {
    int64_t count, stride;
};

/* Axes that lie so in both are one, so that lines are long. Returns how many are left. */
static uint32_t join_axes(struct axis *axis, uint32_t rank)
{
    uint32_t joined = 0;

    for (uint32_t k = 0; k < rank; k++) {
        struct axis *last = joined > 0 ? &axis[joined - 1] : NULL;

        if (axis[k].count == 1)
            continue;
        if (last && last->stride == axis[k].count * axis[k].stride)
            *last = (struct axis){last->count * axis[k].count, axis[k].stride};
        else
            axis[joined++] = axis[k];
    }
    return joined;
}

int tflite_permute(struct tflite_reader *reader, const struct pith_tensor *in, const uint32_t *perm,
                   struct pith_tensor *out, struct pith_error *err)
{
    const unsigned bits = pith_tensor_aligned(in) ? pith_dtype_bits(in->dtype) : 0;
    const int64_t total = pith_shape_elements(&in->shape);
    struct pith_shape shape = {.rank = in->shape.rank};
    struct axis axis[PITH_MAX_RANK] = {{0}}, line = {1, 1};
    int64_t at_axis[PITH_MAX_RANK] = {0}, at = 0;
    uint32_t rank;
    int rc = tflite_count_copy(reader, in->bytes, err);

    for (uint32_t k = 0; k < shape.rank; k++) {
        shape.dim[k] = in->shape.dim[perm[k]];
        axis[k] = (struct axis){shape.dim[k], 1};
        for (uint32_t i = perm[k] + 1; i < shape.rank; i++)
            axis[k].stride *= in->shape.dim[i];
    }
    if (rc == 0)
        rc = pith_tensor_alloc(out, in->dtype, &shape, err);
    if (rc < 0)
        return rc;
    rank = join_axes(axis, shape.rank);
    if (rank > 0)
        line = axis[--rank];
    for (int64_t i = 0; i < total; i += line.count) {
        copy_line(in, at, line.stride, out, i, line.count, bits);
        for (uint32_t k = rank; k-- > 0;) {
            at += axis[k].stride;
            if (++at_axis[k] < axis[k].count)
                break;
            at -= axis[k].stride * axis[k].count;
            at_axis[k] = 0;
        }
    }
    return 0;
}
