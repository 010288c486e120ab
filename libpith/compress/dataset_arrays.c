/* Samples in a .npy file, plain or packed, and their labels in another one. */
#include "libpith/compress/dataset_source.h"

#include "libpith/base/stream.h"
#include "libpith/formats/npy.h"

#include <errno.h>
#include <stdlib.h>

struct array {
    struct pith_stream *stream;
    struct pith_tensor sample; /* own memory for one; [...] */
    uint64_t start;            /* of the values in the file */
    uint64_t count;
};

struct arrays {
    struct dataset_source source;
    struct array x, y;
};

static bool is_integer(int32_t dtype)
{
    return dtype == PITH_INT8 || dtype == PITH_UINT8 || dtype == PITH_INT16 ||
           dtype == PITH_UINT16 || dtype == PITH_INT32 || dtype == PITH_UINT32 ||
           dtype == PITH_INT64 || dtype == PITH_BOOL;
}

/* One integer a sample, also where it is kept in a dimension of its own. */
static bool is_class(const struct pith_tensor *label)
{
    return is_integer(label->dtype) && pith_shape_elements(&label->shape) == 1;
}

static int open_array(struct array *array, const char *path, struct pith_error *err)
{
    uint8_t header[PITH_NPY_HEADER_BYTES];
    struct pith_shape shape;
    int32_t dtype = PITH_DTYPE_NONE;
    size_t got, start = 0;
    int rc = pith_stream_open(&array->stream, path, err);

    if (rc == 0)
        rc = pith_stream_read(array->stream, 0, header, sizeof header, &got, err);
    if (rc < 0)
        return rc;
    rc = pith_npy_header(header, got, &dtype, &shape, &start, err);
    if (rc == 0 && (dtype == PITH_COMPLEX64 || dtype == PITH_COMPLEX128))
        rc = pith_fail(err, -ENOTSUP, "its values are complex numbers, which no model takes");
    if (rc == 0 && (shape.rank < 1 || shape.dim[0] < 1))
        rc = pith_fail(err, -EBADMSG, "it holds no samples; its first dimension must count them");
    if (rc < 0)
        return pith_fail_in(err, rc, "%s", path);
    struct pith_shape one = pith_shape_of(shape.rank - 1, shape.dim + 1);

    if (pith_tensor_bytes(dtype, &shape) < 0)
        return pith_fail(err, -EFBIG, "%s: its header says that it is larger than can be", path);
    array->start = start;
    array->count = (uint64_t) shape.dim[0];
    return pith_tensor_alloc(&array->sample, dtype, &one, err);
}

static void close_array(struct array *array)
{
    pith_stream_close(array->stream);
    pith_tensor_free(&array->sample);
}

static int read_array(struct array *array, uint64_t index, struct pith_error *err)
{
    return pith_stream_read_all(array->stream, array->start + index * array->sample.bytes,
                                array->sample.data, array->sample.bytes, err);
}

static int arrays_read(struct dataset_source *source, uint64_t index, struct pith_sample *out,
                       struct pith_error *err)
{
    struct arrays *arrays = (struct arrays *) source;
    int rc = read_array(&arrays->x, index, err);

    if (rc == 0 && source->labels != PITH_LABEL_NONE)
        rc = read_array(&arrays->y, index, err);
    if (rc < 0)
        return rc;
    out->x = arrays->x.sample;
    if (source->labels == PITH_LABEL_CLASS)
        out->class_index = pith_tensor_get_int(&arrays->y.sample, 0);
    else if (source->labels == PITH_LABEL_VALUES)
        out->values = arrays->y.sample;
    return 0;
}

static void arrays_close(struct dataset_source *source)
{
    struct arrays *arrays = (struct arrays *) source;

    close_array(&arrays->x);
    close_array(&arrays->y);
    free(arrays);
}

static const struct dataset_source_ops arrays_ops = {.read = arrays_read, .close = arrays_close};

int dataset_open_arrays(struct dataset_source **out, const struct pith_dataset_options *options,
                        struct pith_error *err)
{
    struct arrays *arrays = calloc(1, sizeof *arrays);
    int rc;

    if (!arrays)
        return pith_fail(err, -ENOMEM, "no memory for a data set");
    arrays->source.ops = &arrays_ops;
    rc = dataset_refuse_index(options, err);
    if (rc == 0)
        rc = open_array(&arrays->x, options->data, err);
    if (rc == 0 && options->labels)
        rc = open_array(&arrays->y, options->labels, err);
    if (rc == 0 && options->labels && arrays->y.count != arrays->x.count)
        rc = pith_fail(err, -EBADMSG, "%s holds %llu labels for %llu samples", options->labels,
                       (unsigned long long) arrays->y.count, (unsigned long long) arrays->x.count);
    if (rc < 0) {
        arrays_close(&arrays->source);
        return rc;
    }
    arrays->source.count = arrays->x.count;
    if (options->labels)
        arrays->source.labels = is_class(&arrays->y.sample) ? PITH_LABEL_CLASS : PITH_LABEL_VALUES;
    arrays->source.pictures =
        arrays->x.sample.dtype == PITH_UINT8 && arrays->x.sample.shape.rank == 3 &&
        (arrays->x.sample.shape.dim[2] == 3 || arrays->x.sample.shape.dim[2] == 1);
    *out = &arrays->source;
    return 0;
}
