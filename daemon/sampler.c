/* Samples out of a stream: see sampler.h. */
#include "daemon/sampler.h"

#include <string.h>

#define SAMPLE_MAX_BYTES                                                                           \
    (INT64_C(1) << 20) /* models that need more to say anything are not sampled */

void sampler_set(struct sampler *sampler, uint64_t every_ns)
{
    sampler->every_ns = every_ns;
    sampler->next_ns = 0;
    if (every_ns == 0)
        sampler_spoil(sampler);
}

void sampler_begin_version(struct sampler *sampler, uint64_t row)
{
    sampler_spoil(sampler);
    sampler->row_count = 0;
    sampler->version_row = row;
}

void sampler_result(struct sampler *sampler, uint64_t row, bool own)
{
    uint64_t needs = row - sampler->version_row;

    if (sampler->row_count > 0 || !own || row <= sampler->version_row || needs > INT32_MAX)
        return;
    /* Windows that overlap are seen at several places of the same input. */
    sampler->row_count = needs == 1 ? 1 : 2 * (int64_t) needs;
}

/* Room for one sample. */
static bool begin(struct sampler *sampler, const struct pith_tensor *rows)
{
    struct pith_shape shape = rows->shape;
    int64_t bytes;

    shape.dim[0] = sampler->row_count;
    bytes = pith_tensor_bytes(rows->dtype, &shape);
    if (bytes < 1 || bytes > SAMPLE_MAX_BYTES)
        return false;
    sampler->filled = 0;
    return pith_tensor_alloc(&sampler->rows, rows->dtype, &shape, NULL) == 0;
}

static bool continues(const struct sampler *sampler, const struct pith_tensor *rows)
{
    struct pith_shape shape = rows->shape;

    shape.dim[0] = sampler->row_count;
    return rows->dtype == sampler->rows.dtype && pith_shape_equal(&shape, &sampler->rows.shape);
}

bool sampler_rows(struct sampler *sampler, const struct pith_tensor *rows, uint64_t now_ns,
                  struct pith_tensor *out)
{
    size_t row_bytes;
    int64_t count;

    if (sampler->every_ns == 0 || sampler->row_count == 0 || rows->shape.rank < 1 ||
        rows->shape.dim[0] < 1)
        return false;
    if (!sampler->rows.data) {
        if (now_ns < sampler->next_ns)
            return false;
        sampler->next_ns = now_ns + sampler->every_ns;
        if (!begin(sampler, rows))
            return false;
    }
    if (!continues(sampler, rows)) {
        sampler_spoil(sampler);
        return false;
    }
    row_bytes = sampler->rows.bytes / (size_t) sampler->row_count;
    count = sampler->row_count - sampler->filled;
    if (count > rows->shape.dim[0])
        count = rows->shape.dim[0];
    memcpy((uint8_t *) sampler->rows.data + (size_t) sampler->filled * row_bytes, rows->data,
           (size_t) count * row_bytes);
    sampler->filled += count;
    if (sampler->filled < sampler->row_count)
        return false;
    *out = sampler->rows;
    sampler->rows = (struct pith_tensor){0};
    return true;
}

void sampler_spoil(struct sampler *sampler)
{
    pith_tensor_free(&sampler->rows);
    sampler->rows = (struct pith_tensor){0};
}

void sampler_done(struct sampler *sampler)
{
    sampler_spoil(sampler);
}
