/* A split as .npy files. */
#include "libpith/compress/dataset.h"

#include "libpith/formats/npy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int begin(FILE *file, const char *path, int32_t dtype, uint64_t count,
                 const struct pith_shape *sample, struct pith_error *err)
{
    struct pith_buffer header = {0};
    struct pith_shape shape = {.rank = sample->rank + 1, .dim = {(int64_t) count}};
    int rc;

    if (sample->rank >= PITH_MAX_RANK)
        return pith_fail(err, -ENOTSUP, "%s: samples of rank %u can't be kept", path, sample->rank);
    for (uint32_t i = 0; i < sample->rank; i++)
        shape.dim[i + 1] = sample->dim[i];
    rc = pith_npy_write_header(&header, dtype, &shape, err);
    if (rc == 0 && fwrite(header.data, 1, header.bytes, file) != header.bytes)
        rc = pith_fail(err, -EIO, "%s can't be written", path);
    pith_buffer_done(&header);
    return rc;
}

static int write_samples(struct pith_dataset *dataset, FILE *x, FILE *y, const char *path,
                         struct pith_error *err)
{
    static const struct pith_shape scalar = {0};
    struct pith_shape first = {0};
    int32_t dtype = 0;
    int rc = 0;

    for (uint64_t i = 0; rc == 0 && i < dataset->count; i++) {
        const struct pith_sample *sample;

        rc = pith_dataset_read(dataset, i, &sample, err);
        if (rc < 0)
            break;
        if (i == 0) {
            first = sample->x.shape;
            dtype = sample->x.dtype;
            rc = begin(x, path, dtype, dataset->count, &first, err);
            if (rc == 0 && y)
                rc = begin(y, path, PITH_INT64, dataset->count, &scalar, err);
        }
        if (rc == 0 && (sample->x.dtype != dtype || !pith_shape_equal(&sample->x.shape, &first)))
            rc = pith_fail(err, -EINVAL,
                           "sample %llu has another shape than the first; resize or cut them",
                           (unsigned long long) i);
        if (rc == 0 && (fwrite(sample->x.data, 1, sample->x.bytes, x) != sample->x.bytes ||
                        (y && fwrite(&sample->class_index, sizeof sample->class_index, 1, y) != 1)))
            rc = pith_fail(err, -EIO, "%s can't be written: %s", path, strerror(errno));
    }
    return rc;
}

int pith_dataset_save(struct pith_dataset *dataset, const char *x_path, const char *y_path,
                      struct pith_error *err)
{
    bool labelled = y_path && dataset->labels == PITH_LABEL_CLASS;
    FILE *x = fopen(x_path, "wbe"), *y = labelled ? fopen(y_path, "wbe") : NULL;
    int rc = x && (y || !labelled)
                 ? write_samples(dataset, x, y, x_path, err)
                 : pith_fail(err, -errno, "%s can't be written: %s", x_path, strerror(errno));

    if (x && fclose(x) == EOF && rc == 0)
        rc = pith_fail(err, -EIO, "%s can't be written: %s", x_path, strerror(errno));
    if (y && fclose(y) == EOF && rc == 0)
        rc = pith_fail(err, -EIO, "%s can't be written: %s", y_path, strerror(errno));
    return rc;
}
