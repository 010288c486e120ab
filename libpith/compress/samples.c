/* The reservoir that calibration is drawn from. The draw depends on the seed and the order of what
 * passes, nothing else. */
#include "libpith/compress/samples.h"

#include "libpith/formats/npy.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

uint64_t pith_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}

void pith_samples_init(struct pith_samples *samples, uint64_t capacity, uint64_t seed)
{
    *samples =
        (struct pith_samples){.capacity = capacity, .random = seed * 2 + 0x9e3779b97f4a7c15u};
    if (samples->random == 0)
        samples->random = 1;
}

/* The first set decides on shapes, and on how many fit. */
static int take_shapes(struct pith_samples *samples, const struct pith_tensor *inputs,
                       size_t input_count, struct pith_error *err)
{
    size_t bytes = 1;
    int rc = 0;

    if (input_count > PITH_SAMPLES_MAX_INPUTS)
        return pith_fail(err, -ENOTSUP,
                         "a graph with %zu inputs can't be calibrated; %d is the most", input_count,
                         PITH_SAMPLES_MAX_INPUTS);
    for (size_t i = 0; i < input_count; i++) {
        if (inputs[i].shape.rank >= PITH_MAX_RANK)
            return pith_fail(err, -ENOTSUP, "an input of rank %d can't be calibrated",
                             PITH_MAX_RANK);
        bytes += inputs[i].bytes;
    }
    if (samples->capacity > PITH_SAMPLES_MAX_BYTES / bytes)
        samples->capacity = PITH_SAMPLES_MAX_BYTES / bytes > 0 ? PITH_SAMPLES_MAX_BYTES / bytes : 1;
    for (size_t i = 0; rc == 0 && i < input_count; i++) {
        int64_t dims[PITH_MAX_RANK] = {(int64_t) samples->capacity};

        memcpy(dims + 1, inputs[i].shape.dim, inputs[i].shape.rank * sizeof *dims);
        struct pith_shape shape = pith_shape_of(inputs[i].shape.rank + 1, dims);

        rc = pith_tensor_alloc(&samples->inputs[i], inputs[i].dtype, &shape, err);
        samples->input_count = i + 1;
    }
    return rc;
}

static bool fits(const struct pith_samples *samples, const struct pith_tensor *inputs,
                 size_t input_count)
{
    if (input_count != samples->input_count)
        return false;
    for (size_t i = 0; i < input_count; i++)
        if (inputs[i].dtype != samples->inputs[i].dtype ||
            inputs[i].bytes != samples->inputs[i].bytes / (size_t) samples->capacity)
            return false;
    return true;
}

int pith_samples_offer(struct pith_samples *samples, const struct pith_tensor *inputs,
                       size_t input_count, struct pith_error *err)
{
    uint64_t at;

    if (samples->seen == 0) {
        int rc = take_shapes(samples, inputs, input_count, err);

        if (rc < 0)
            return rc;
    }
    if (!fits(samples, inputs, input_count))
        return 0;
    at = samples->seen++;
    if (at >= samples->capacity) {
        at = pith_random(&samples->random) % samples->seen;
        if (at >= samples->capacity)
            return 0;
    } else {
        samples->count++;
    }
    for (size_t i = 0; i < input_count; i++) /* an empty tensor has no data to copy */
        if (inputs[i].bytes > 0)
            memcpy((uint8_t *) samples->inputs[i].data + at * inputs[i].bytes, inputs[i].data,
                   inputs[i].bytes);
    return 0;
}

void pith_samples_get(const struct pith_samples *samples, uint64_t index, size_t input,
                      struct pith_tensor *out)
{
    const struct pith_tensor *from = &samples->inputs[input];
    size_t bytes = from->bytes / (size_t) samples->capacity;

    *out = (struct pith_tensor){
        .dtype = from->dtype,
        .shape = pith_shape_of(from->shape.rank - 1, from->shape.dim + 1),
        .data = (uint8_t *) from->data + index * bytes,
        .bytes = bytes,
    };
}

static void file_of(const char *prefix, size_t input, char path[PATH_MAX])
{
    (void) snprintf(path, PATH_MAX, "%s.%zu.npy", prefix, input);
}

int pith_samples_save(const struct pith_samples *samples, const char *prefix,
                      struct pith_error *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < samples->input_count; i++) {
        struct pith_tensor kept = samples->inputs[i];
        char path[PATH_MAX];

        kept.bytes = kept.bytes / (size_t) samples->capacity * samples->count;
        kept.shape.dim[0] = (int64_t) samples->count;
        file_of(prefix, i, path);
        rc = pith_npy_write(path, &kept, err);
    }
    return rc;
}

int pith_samples_load(struct pith_samples *out, const char *prefix, size_t input_count,
                      struct pith_error *err)
{
    struct pith_samples made = {0};
    int rc = input_count <= PITH_SAMPLES_MAX_INPUTS ? 0 : -EINVAL;

    for (size_t i = 0; rc == 0 && i < input_count; i++) {
        char path[PATH_MAX];

        file_of(prefix, i, path);
        rc = pith_npy_read(&made.inputs[i], path, err);
        made.input_count = i + 1;
        if (rc == 0 && (made.inputs[i].shape.rank < 1 || made.inputs[i].shape.dim[0] < 1 ||
                        made.inputs[i].shape.dim[0] != made.inputs[0].shape.dim[0]))
            rc = pith_fail(err, -EBADMSG,
                           "%s: its samples are not as many as those of the other inputs", path);
    }
    if (rc < 0) {
        pith_samples_done(&made);
        return rc;
    }
    made.capacity = made.count = made.seen =
        input_count > 0 ? (uint64_t) made.inputs[0].shape.dim[0] : 0;
    *out = made;
    return 0;
}

void pith_samples_done(struct pith_samples *samples)
{
    for (size_t i = 0; i < samples->input_count; i++)
        pith_tensor_free(&samples->inputs[i]);
    *samples = (struct pith_samples){0};
}
