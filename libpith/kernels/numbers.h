/* Elements of any type in runs, converted to float32, float64 or int64 and back: how kernels reach
 * the types that have no loop of their own. Converting to an integer saturates, NaN becomes 0. */
#ifndef PITH_KERNELS_NUMBERS_H
#define PITH_KERNELS_NUMBERS_H

#include "libpith/kernels/kernel.h"

#define NUMBERS_CHUNK 256 /* elements a buffer on the stack holds */
#define NUMBERS_REAL                                                                               \
    (PITH_FLOATS | PITH_BIT(BFLOAT16) | PITH_BIT(FLOAT8E4M3FN) | PITH_BIT(FLOAT8E4M3FNUZ) |        \
     PITH_BIT(FLOAT8E5M2) | PITH_BIT(FLOAT8E5M2FNUZ))
#define NUMBERS_HALF (PITH_BIT(FLOAT16) | PITH_BIT(BFLOAT16)) /* computed in float32 */
/* Types whose elements are whole bytes: what data movement moves. */
#define NUMBERS_MOVED                                                                              \
    (NUMBERS_REAL | PITH_INTS | PITH_BIT(BOOL) | PITH_BIT(COMPLEX64) | PITH_BIT(COMPLEX128))

static inline bool numbers_in(uint32_t types, int32_t dtype)
{
    return dtype > 0 && dtype < 32 && (types >> dtype & 1);
}
static inline size_t numbers_bytes(int32_t dtype)
{
    return pith_dtype_bits(dtype) / 8;
}

/* From `from` on, each `stride` elements further. */
void numbers_load_f64(int32_t dtype, const void *from, int64_t stride, double *out, int64_t n);
void numbers_load_f32(int32_t dtype, const void *from, int64_t stride, float *out, int64_t n);
void numbers_load_i64(int32_t dtype, const void *from, int64_t stride, int64_t *out, int64_t n);
void numbers_store_f64(int32_t dtype, void *to, const double *from, int64_t n);
void numbers_store_f32(int32_t dtype, void *to, const float *from, int64_t n);
/* Integers wrap around, as a C conversion does. */
void numbers_store_i64(int32_t dtype, void *to, const int64_t *from, int64_t n);

#endif
