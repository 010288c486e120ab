/* Element types, shapes and tensors. Every product is checked before memory is asked for.
 * Element conversions are in convert.c. */
#include <pith/tensor.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpith/base/populate.h"

#define TENSOR_ALIGNMENT 64 /* a cache line, and the widest vector register */

/* Indexed by enum pith_dtype. `align` is that of the element in memory. */
static const struct {
    const char *name;
    uint8_t bits;
    uint8_t align;
} dtypes[] = {
    [PITH_DTYPE_NONE] = {"unknown", 0, 1},
    [PITH_FLOAT32] = {"float32", 32, 4},
    [PITH_UINT8] = {"uint8", 8, 1},
    [PITH_INT8] = {"int8", 8, 1},
    [PITH_UINT16] = {"uint16", 16, 2},
    [PITH_INT16] = {"int16", 16, 2},
    [PITH_INT32] = {"int32", 32, 4},
    [PITH_INT64] = {"int64", 64, 8},
    [PITH_STRING] = {"string", 0, 1},
    [PITH_BOOL] = {"bool", 8, 1},
    [PITH_FLOAT16] = {"float16", 16, 2},
    [PITH_FLOAT64] = {"float64", 64, 8},
    [PITH_UINT32] = {"uint32", 32, 4},
    [PITH_UINT64] = {"uint64", 64, 8},
    [PITH_COMPLEX64] = {"complex64", 64, 4},
    [PITH_COMPLEX128] = {"complex128", 128, 8},
    [PITH_BFLOAT16] = {"bfloat16", 16, 2},
    [PITH_FLOAT8E4M3FN] = {"float8e4m3fn", 8, 1},
    [PITH_FLOAT8E4M3FNUZ] = {"float8e4m3fnuz", 8, 1},
    [PITH_FLOAT8E5M2] = {"float8e5m2", 8, 1},
    [PITH_FLOAT8E5M2FNUZ] = {"float8e5m2fnuz", 8, 1},
    [PITH_UINT4] = {"uint4", 4, 1},
    [PITH_INT4] = {"int4", 4, 1},
};
#define DTYPE_COUNT ((int32_t) (sizeof dtypes / sizeof dtypes[0]))

const char *pith_dtype_name(int32_t dtype)
{
    return dtype > 0 && dtype < DTYPE_COUNT ? dtypes[dtype].name : dtypes[0].name;
}

int32_t pith_dtype_of_name(const char *name)
{
    for (int32_t i = 1; i < DTYPE_COUNT; i++)
        if (!strcmp(dtypes[i].name, name))
            return i;
    return PITH_DTYPE_NONE;
}

unsigned pith_dtype_bits(int32_t dtype)
{
    return dtype > 0 && dtype < DTYPE_COUNT ? dtypes[dtype].bits : 0;
}

int64_t pith_shape_elements(const struct pith_shape *shape)
{
    int64_t product = 1;
    bool empty = false;

    if (shape->rank > PITH_MAX_RANK)
        return -1;
    for (uint32_t i = 0; i < shape->rank; i++) {
        int64_t dim = shape->dim[i];

        if (dim < 0 || dim > PITH_TENSOR_MAX_BYTES)
            return -1;
        if (dim == 0)
            empty = true;
        else if (__builtin_mul_overflow(product, dim, &product) || product > PITH_TENSOR_MAX_BYTES)
            return -1;
    }
    return empty ? 0 : product;
}

bool pith_shape_known(const struct pith_shape *shape)
{
    for (uint32_t i = 0; i < shape->rank; i++)
        if (shape->dim[i] < 0)
            return false;
    return true;
}

bool pith_shape_equal(const struct pith_shape *a, const struct pith_shape *b)
{
    return a->rank == b->rank && !memcmp(a->dim, b->dim, a->rank * sizeof a->dim[0]);
}

const char *pith_shape_text(const struct pith_shape *shape, char *text, size_t text_bytes)
{
    size_t used = 0;

    if (!text_bytes)
        return text;
    text[0] = 0;
    for (uint32_t i = 0; i <= shape->rank && used < text_bytes; i++) {
        size_t room = text_bytes - used;
        int n;

        if (i == shape->rank)
            n = snprintf(text + used, room, i ? "]" : "[]");
        else if (shape->dim[i] < 0)
            n = snprintf(text + used, room, "%s?", i ? "," : "[");
        else
            n = snprintf(text + used, room, "%s%lld", i ? "," : "[", (long long) shape->dim[i]);
        if (n < 0)
            break;
        used += (size_t) n;
    }
    return text;
}

struct pith_shape pith_shape_of(uint32_t rank, const int64_t *dims)
{
    struct pith_shape shape = {0};

    shape.rank = rank < PITH_MAX_RANK ? rank : PITH_MAX_RANK;
    for (uint32_t i = 0; i < shape.rank; i++)
        shape.dim[i] = dims[i];
    return shape;
}

int64_t pith_tensor_bytes(int32_t dtype, const struct pith_shape *shape)
{
    int64_t elements = pith_shape_elements(shape);
    int64_t bits = pith_dtype_bits(dtype);
    int64_t bytes;

    if (elements < 0 || bits == 0)
        return -1;
    bytes = (elements * bits + 7) / 8; /* at most 2^40 * 128: no overflow */
    return bytes > PITH_TENSOR_MAX_BYTES ? -1 : bytes;
}

bool pith_tensor_aligned(const struct pith_tensor *tensor)
{
    uintptr_t align = 1;

    if (tensor->dtype > 0 && tensor->dtype < DTYPE_COUNT)
        align = dtypes[tensor->dtype].align;
    return (uintptr_t) tensor->data % align == 0;
}

int pith_tensor_alloc(struct pith_tensor *out, int32_t dtype, const struct pith_shape *shape,
                      struct pith_error *err)
{
    int64_t bytes = pith_tensor_bytes(dtype, shape);
    char text[PITH_SHAPE_TEXT_BYTES];
    size_t room;
    void *data;

    if (bytes < 0)
        return pith_fail(err, -EINVAL, "a tensor of type %s and shape %s can't be made",
                         pith_dtype_name(dtype), pith_shape_text(shape, text, sizeof text));
    /* An empty tensor has an address too, so that NULL always means "no tensor". */
    room = ((size_t) bytes / TENSOR_ALIGNMENT + 1) * TENSOR_ALIGNMENT;
    data = aligned_alloc(TENSOR_ALIGNMENT, room);
    if (!data)
        return pith_fail(err, -ENOMEM, "no memory for a tensor of type %s and shape %s",
                         pith_dtype_name(dtype), pith_shape_text(shape, text, sizeof text));
    pith_populate(data, room);
    memset(data, 0, room);
    *out = (struct pith_tensor){
        .dtype = dtype, .shape = *shape, .data = data, .bytes = (size_t) bytes};
    return 0;
}

int pith_tensor_copy(struct pith_tensor *out, const struct pith_tensor *from,
                     struct pith_error *err)
{
    struct pith_tensor copy;
    int rc = pith_tensor_alloc(&copy, from->dtype, &from->shape, err);

    if (rc < 0)
        return rc;
    if (from->bytes != copy.bytes) {
        pith_tensor_free(&copy);
        return pith_fail(err, -EINVAL, "a tensor holds %zu bytes where its shape takes %lld",
                         from->bytes, (long long) pith_tensor_bytes(from->dtype, &from->shape));
    }
    if (copy.bytes)
        memcpy(copy.data, from->data, copy.bytes);
    *out = copy;
    return 0;
}

void pith_tensor_free(struct pith_tensor *tensor)
{
    if (!tensor)
        return;
    free(tensor->data);
    *tensor = (struct pith_tensor){0};
}
