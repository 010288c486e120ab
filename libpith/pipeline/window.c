/* Windows over rows, and the conversions of rows from and to float32. */
#include "libpith/pipeline/stages.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int window_open(struct window *window, int64_t size, int64_t hop, int64_t before,
                int64_t row_elements, struct pith_error *err)
{
    if (size < 1 || hop < 1)
        return pith_fail(err, -EINVAL, "window size and hop must be 1 or more");
    if (size > STAGE_MAX_ELEMENTS || row_elements > STAGE_MAX_ELEMENTS / size)
        return pith_fail(err, -EINVAL,
                         "a window of %lld rows of %lld elements is larger than 1 GiB",
                         (long long) size, (long long) row_elements);
    window->rows = calloc((size_t) (size * row_elements), sizeof *window->rows);
    if (!window->rows)
        return -ENOMEM;
    window->size = size;
    window->hop = hop;
    window->before = window->filled = before;
    window->row_elements = row_elements;
    return 0;
}

int64_t window_rows_missing(const struct window *window)
{
    return window->skip + window->size - window->filled;
}

int64_t window_take(struct window *window, const float *rows, int64_t count)
{
    int64_t missing = window_rows_missing(window);
    int64_t taken = count < missing ? count : missing;
    int64_t skipped = taken < window->skip ? taken : window->skip;
    int64_t kept = taken - skipped;

    window->skip -= skipped;
    memcpy(window->rows + window->filled * window->row_elements,
           rows + skipped * window->row_elements,
           (size_t) (kept * window->row_elements) * sizeof *rows);
    window->filled += kept;
    return taken;
}

void window_move_on(struct window *window)
{
    window->foreign = window->foreign > window->hop ? window->foreign - window->hop : 0;
    if (window->hop >= window->size) {
        window->filled = 0;
        window->foreign = 0;
        window->skip = window->hop - window->size;
        return;
    }
    window->filled = window->size - window->hop;
    memmove(window->rows, window->rows + window->hop * window->row_elements,
            (size_t) (window->filled * window->row_elements) * sizeof *window->rows);
}

void window_reset(struct window *window)
{
    window->filled = window->before;
    window->skip = 0;
    window->foreign = 0;
    if (window->before > 0 && window->rows)
        memset(window->rows, 0,
               (size_t) (window->before * window->row_elements) * sizeof *window->rows);
}

void window_close(struct window *window)
{
    free(window->rows);
    *window = (struct window){0};
}

bool floats_finite(const float *values, int64_t count)
{
    uint32_t found = 0;

    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        found |= (bits & 0x7f800000) == 0x7f800000; /* all ones: infinite or no number */
    }
    return !found;
}

#define FROM(type)                                                                                 \
    do {                                                                                           \
        const type *from = (const type *) tensor->data + first;                                    \
        for (int64_t i = 0; i < count; i++)                                                        \
            out[i] = (float) from[i];                                                              \
    } while (0)

void floats_from_tensor(float *out, const struct pith_tensor *tensor, int64_t first, int64_t count)
{
    if (!pith_tensor_aligned(tensor)) {
        for (int64_t i = 0; i < count; i++)
            out[i] = (float) pith_tensor_get(tensor, first + i);
        return;
    }
    switch (tensor->dtype) {
    case PITH_FLOAT32:
        memcpy(out, (const float *) tensor->data + first, (size_t) count * sizeof *out);
        break;
    case PITH_INT16:
        FROM(int16_t);
        break;
    case PITH_UINT8:
        FROM(uint8_t);
        break;
    case PITH_INT8:
        FROM(int8_t);
        break;
    case PITH_INT32:
        FROM(int32_t);
        break;
    case PITH_FLOAT64:
        FROM(double);
        break;
    default:
        for (int64_t i = 0; i < count; i++)
            out[i] = (float) pith_tensor_get(tensor, first + i);
    }
}

void floats_to_tensor(const struct pith_tensor *tensor, const float *values)
{
    static const struct range {
        int32_t dtype;
        float low, high; /* the greatest float that the type holds */
    } ranges[] = {
        {PITH_UINT8, 0, 255},
        {PITH_INT8, -128, 127},
        {PITH_UINT16, 0, 65535},
        {PITH_INT16, -32768, 32767},
        {PITH_INT32, -2147483648.0f, 2147483520.0f},
        {PITH_UINT32, 0, 4294967040.0f},
        {PITH_INT64, -9223372036854775808.0f, 9223371487098961920.0f},
        {PITH_UINT64, 0, 18446742974197923840.0f},
        {PITH_BOOL, 0, 1},
    };
    struct pith_tensor writable = *tensor;
    const struct range *range = NULL;
    int64_t count = pith_shape_elements(&tensor->shape);

    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (ranges[i].dtype == tensor->dtype)
            range = &ranges[i];
    for (int64_t i = 0; i < count; i++) {
        float value = values[i];
        if (range)
            value = fminf(fmaxf(rintf(value), range->low), range->high);
        pith_tensor_set(&writable, i, value);
    }
}
