/* Each step goes from one buffer to the next; both grow to the largest sample and stay. */
#include "libpith/compress/prepare.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int room(void **buffer, size_t *bytes, size_t wanted, struct pith_error *err)
{
    void *grown;

    if (wanted <= *bytes)
        return 0;
    grown = realloc(*buffer, wanted);
    if (!grown)
        return pith_fail(err, -ENOMEM, "no memory for a sample of %zu bytes", wanted);
    *buffer = grown;
    *bytes = wanted;
    return 0;
}

struct between { /* two neighbours, and how far from the first */
    int64_t low, high;
    float share;
};

static struct between place(int64_t at, int64_t to, int64_t from)
{
    double x = ((double) at + 0.5) * (double) from / (double) to - 0.5;

    x = x < 0 ? 0 : x > (double) (from - 1) ? (double) (from - 1) : x;
    int64_t low = (int64_t) x;

    return (struct between){low, low + 1 < from ? low + 1 : low, (float) (x - (double) low)};
}

void pith_picture_resize(const uint8_t *from, int64_t height, int64_t width, int64_t channels,
                         float *to, int64_t to_height, int64_t to_width)
{
    for (int64_t y = 0; y < to_height; y++) {
        struct between v = place(y, to_height, height);
        const uint8_t *above = from + v.low * width * channels,
                      *below = from + v.high * width * channels;

        for (int64_t x = 0; x < to_width; x++) {
            struct between h = place(x, to_width, width);

            for (int64_t c = 0; c < channels; c++) {
                float left_above = above[h.low * channels + c],
                      left_below = below[h.low * channels + c];
                float top = left_above + h.share * (above[h.high * channels + c] - left_above);
                float bottom = left_below + h.share * (below[h.high * channels + c] - left_below);

                *to++ = top + v.share * (bottom - top);
            }
        }
    }
}

/* A picture to the size that is wanted: float32, not yet rounded back. */
static int resize(struct pith_dataset *dataset, struct pith_error *err)
{
    struct pith_tensor *x = &dataset->sample.x;
    const struct pith_prepare *prepare = &dataset->prepare;
    int64_t height = x->shape.dim[0], width = x->shape.dim[1], channels = x->shape.dim[2];
    struct pith_shape shape =
        pith_shape_of(3, (int64_t[]){prepare->height, prepare->width, channels});
    int64_t bytes = pith_tensor_bytes(PITH_FLOAT32, &shape);
    int rc = bytes < 0 ? pith_fail(err, -EFBIG, "pictures of %lld x %lld are too large",
                                   (long long) prepare->width, (long long) prepare->height)
                       : room(&dataset->resized, &dataset->resized_bytes, (size_t) bytes, err);

    if (rc < 0)
        return rc;
    pith_picture_resize(x->data, height, width, channels, dataset->resized, prepare->height,
                        prepare->width);
    *x = (struct pith_tensor){
        .dtype = PITH_FLOAT32, .shape = shape, .data = dataset->resized, .bytes = (size_t) bytes};
    return 0;
}

static bool is_number_type(int32_t dtype)
{
    unsigned bits = pith_dtype_bits(dtype);

    return bits > 0 && dtype != PITH_COMPLEX64 && dtype != PITH_COMPLEX128;
}

static int check_counts(const struct pith_prepare *prepare, const struct pith_tensor *x,
                        int64_t last, struct pith_error *err)
{
    const size_t counts[] = {prepare->mean_count, prepare->scale_count};

    if (!is_number_type(x->dtype))
        return pith_fail(err, -ENOTSUP, "samples of type %s can't be prepared",
                         pith_dtype_name(x->dtype));
    for (size_t i = 0; i < 2; i++)
        if (counts[i] > 1 && (int64_t) counts[i] != last)
            return pith_fail(err, -EINVAL,
                             "prepare: %s has %zu numbers; it must be one, or %lld as the "
                             "samples' last dimension",
                             i == 0 ? "mean" : "scale", counts[i], (long long) last);
    if (prepare->layout != PITH_LAYOUT_AS_IS && x->shape.rank != 3)
        return pith_fail(err, -EINVAL, "prepare: layout wants samples of rank 3, not %u",
                         x->shape.rank);
    return 0;
}

static double number_for(const double *numbers, size_t count, int64_t channel, double otherwise)
{
    return count == 0 ? otherwise : numbers[count == 1 ? 0 : channel];
}

/* (x - mean) * scale, with the channels of [a, b, c] moved where the layout asks for it: the last
 * dimension to the front (NCHW), or the first to the end (NHWC). */
static void write_numbers(const struct pith_dataset *dataset, const struct pith_tensor *x,
                          int layout, int64_t last, bool reversed, float *to)
{
    const struct pith_prepare *prepare = &dataset->prepare;
    int64_t elements = pith_shape_elements(&x->shape);
    int64_t first = x->shape.rank > 0 ? x->shape.dim[0] : 1;
    int64_t plane = last > 0 ? elements / last : 0, tail = first > 0 ? elements / first : 0;

    for (int64_t i = 0; i < elements; i++) {
        int64_t channel = i % last;
        int64_t from = reversed ? i - channel + (last - 1 - channel) : i;
        double value = x->dtype == PITH_FLOAT32 ? (double) ((const float *) x->data)[from]
                       : x->dtype == PITH_UINT8 ? (double) ((const uint8_t *) x->data)[from]
                                                : pith_tensor_get(x, from);
        int64_t at = layout == PITH_LAYOUT_NCHW   ? channel * plane + i / last
                     : layout == PITH_LAYOUT_NHWC ? i % tail * first + i / tail
                                                  : i;

        value -= number_for(prepare->mean, prepare->mean_count, channel, 0);
        to[at] = (float) (value * number_for(prepare->scale, prepare->scale_count, channel, 1));
    }
}

static struct pith_shape turned(const struct pith_shape *shape, int layout)
{
    const int64_t *d = shape->dim;

    if (layout == PITH_LAYOUT_NCHW)
        return pith_shape_of(3, (int64_t[]){d[2], d[0], d[1]});
    if (layout == PITH_LAYOUT_NHWC)
        return pith_shape_of(3, (int64_t[]){d[1], d[2], d[0]});
    return *shape;
}

int dataset_prepare(struct pith_dataset *dataset, struct pith_error *err)
{
    const struct pith_prepare *prepare = &dataset->prepare;
    struct pith_tensor *x = &dataset->sample.x;
    bool picture = dataset->source->pictures && x->dtype == PITH_UINT8 && x->shape.rank == 3;
    bool reversed = picture && prepare->channels == PITH_CHANNELS_BGR;
    /* a picture's channels come last as it is */
    int layout = picture && prepare->layout == PITH_LAYOUT_NHWC ? PITH_LAYOUT_AS_IS : prepare->layout;
    int rc = 0;

    if (picture && prepare->width > 0 &&
        (x->shape.dim[0] != prepare->height || x->shape.dim[1] != prepare->width))
        rc = resize(dataset, err);
    if (rc < 0)
        return rc;
    if (!reversed && layout == PITH_LAYOUT_AS_IS && prepare->mean_count == 0 &&
        prepare->scale_count == 0)
        return 0;
    int64_t elements = pith_shape_elements(&x->shape);
    int64_t last = x->shape.rank > 0 ? x->shape.dim[x->shape.rank - 1] : 1;

    rc = check_counts(prepare, x, last, err);
    if (rc == 0)
        rc = room(&dataset->prepared, &dataset->prepared_bytes,
                  (size_t) elements * sizeof(float) + 1, err);
    if (rc < 0)
        return rc;
    write_numbers(dataset, x, layout, last, reversed, dataset->prepared);
    *x = (struct pith_tensor){.dtype = PITH_FLOAT32,
                              .shape = turned(&x->shape, layout),
                              .data = dataset->prepared,
                              .bytes = (size_t) elements * sizeof(float)};
    return 0;
}
