/* Element types, shapes and tensors: plain structs that every part shares.
 * Element type numbers are those of TensorProto.DataType in ONNX. */
#ifndef PITH_TENSOR_H
#define PITH_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <pith/error.h>

#define PITH_MAX_RANK 8
#define PITH_DIM_UNKNOWN (-1)
#define PITH_TENSOR_MAX_BYTES (INT64_C(1) << 40) /* far above any machine we run on; keeps products in range */

enum pith_dtype {
    PITH_DTYPE_NONE = 0,
    PITH_FLOAT32 = 1,
    PITH_UINT8 = 2,
    PITH_INT8 = 3,
    PITH_UINT16 = 4,
    PITH_INT16 = 5,
    PITH_INT32 = 6,
    PITH_INT64 = 7,
    PITH_STRING = 8, /* named in refusals only */
    PITH_BOOL = 9,   /* one byte, 0 or 1 */
    PITH_FLOAT16 = 10,
    PITH_FLOAT64 = 11,
    PITH_UINT32 = 12,
    PITH_UINT64 = 13,
    PITH_COMPLEX64 = 14,
    PITH_COMPLEX128 = 15,
    PITH_BFLOAT16 = 16,
    PITH_FLOAT8E4M3FN = 17,
    PITH_FLOAT8E4M3FNUZ = 18,
    PITH_FLOAT8E5M2 = 19,
    PITH_FLOAT8E5M2FNUZ = 20,
    PITH_UINT4 = 21, /* two a byte, the first in the low half */
    PITH_INT4 = 22,
};

struct pith_shape {
    uint32_t rank;              /* 0 (a scalar) to PITH_MAX_RANK */
    int64_t dim[PITH_MAX_RANK]; /* >= 0, or PITH_DIM_UNKNOWN; entries past rank are 0 */
};

/* A dense block in C order. Who owns `data` is said where the tensor is handed over. */
struct pith_tensor {
    int32_t dtype; /* enum pith_dtype */
    struct pith_shape shape;
    void *data;   /* aligned to the element at least, but for constants in a mapped file: see pith_tensor_aligned */
    size_t bytes; /* of data; what pith_tensor_bytes(dtype, shape) says */
};

/* "float32", "int8", ...; "unknown" for a number that is none. */
PITH_PUBLIC const char *pith_dtype_name(int32_t dtype);
/* The type of that name, or PITH_DTYPE_NONE. */
PITH_PUBLIC int32_t pith_dtype_of_name(const char *name);
/* Bits an element takes; 0 for a type that has no fixed size or is unknown. */
PITH_PUBLIC unsigned pith_dtype_bits(int32_t dtype);

/* The number of elements. -1 where a dimension is unknown, or the product passes PITH_TENSOR_MAX_BYTES. */
PITH_PUBLIC int64_t pith_shape_elements(const struct pith_shape *shape);
PITH_PUBLIC bool pith_shape_known(const struct pith_shape *shape);
PITH_PUBLIC bool pith_shape_equal(const struct pith_shape *a, const struct pith_shape *b);
/* "[1,16,?]" into text; returns text. */
PITH_PUBLIC const char *pith_shape_text(const struct pith_shape *shape, char *text, size_t text_bytes);
#define PITH_SHAPE_TEXT_BYTES 192
/* "[1, 3, 224, 224]": rank dims, for initializers and tests. */
PITH_PUBLIC struct pith_shape pith_shape_of(uint32_t rank, const int64_t *dims);

/* Bytes that such a tensor takes, sub-byte types rounded up. -1 where unknown or past PITH_TENSOR_MAX_BYTES. */
PITH_PUBLIC int64_t pith_tensor_bytes(int32_t dtype, const struct pith_shape *shape);
/* Whether data is aligned for reading elements of dtype through a pointer. */
PITH_PUBLIC bool pith_tensor_aligned(const struct pith_tensor *tensor);

/* Memory of its own, zeroed, aligned to 64 bytes. -EINVAL for an unknown shape, -ENOMEM. */
PITH_PUBLIC int pith_tensor_alloc(struct pith_tensor *out, int32_t dtype, const struct pith_shape *shape,
                                  struct pith_error *err) PITH_CHECKED;
PITH_PUBLIC int pith_tensor_copy(struct pith_tensor *out, const struct pith_tensor *from,
                                 struct pith_error *err) PITH_CHECKED;
/* Frees what pith_tensor_alloc or _copy gave and zeroes the struct. */
PITH_PUBLIC void pith_tensor_free(struct pith_tensor *tensor);

/* Converts elements one by one to double and back (int4, float16, ... included); for tests, reports and
 * parameters, not for inner loops. index: in elements. */
PITH_PUBLIC double pith_tensor_get(const struct pith_tensor *tensor, int64_t index);
PITH_PUBLIC void pith_tensor_set(struct pith_tensor *tensor, int64_t index, double value);
/* Exact for the integer types, which double is not past 2^53. */
PITH_PUBLIC int64_t pith_tensor_get_int(const struct pith_tensor *tensor, int64_t index);
PITH_PUBLIC float pith_float16_to_float(uint16_t half);
PITH_PUBLIC uint16_t pith_float_to_float16(float value); /* round to nearest even */
PITH_PUBLIC float pith_bfloat16_to_float(uint16_t bits);
PITH_PUBLIC uint16_t pith_float_to_bfloat16(float value); /* round to nearest even */

#endif
