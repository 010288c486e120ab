/* Channels-last activations: their dimensions and halos. See image.h. */
#include "libpith/kernels/image.h"

#include <assert.h>
#include <string.h>

struct pith_image_dims pith_image_dims(const struct pith_shape *shape)
{
    assert(shape->rank == 3 || shape->rank == 4);
    return (struct pith_image_dims){
        .n = shape->dim[0],
        .c = shape->dim[1],
        .h = shape->rank == 4 ? shape->dim[2] : 1,
        .w = shape->dim[shape->rank - 1],
    };
}

bool pith_image_equal(const struct pith_image *a, const struct pith_image *b)
{
    return a->channels_last == b->channels_last && a->pixel == b->pixel && a->row == b->row &&
           a->picture == b->picture && a->top == b->top && a->bottom == b->bottom &&
           a->left == b->left && a->right == b->right;
}

/* Whether all bytes of an element are the same, as those of 0.0f and of every 8-bit value are. */
static bool one_byte(const void *element, size_t element_bytes)
{
    return memcmp(element, (const uint8_t *) element + 1, element_bytes - 1) == 0;
}

/* count pixels from `pixel` on */
static void fill_pixels(const struct pith_image *image, int64_t channels, uint8_t *pixel,
                        int64_t count, size_t element_bytes, const void *zero)
{
    const size_t bytes = (size_t) channels * element_bytes;

    if (one_byte(zero, element_bytes)) {
        const bool dense = image->pixel == channels;
        const int64_t runs = dense ? count > 0 : count;

        for (int64_t x = 0; x < runs; x++, pixel += (size_t) image->pixel * element_bytes)
            memset(pixel, *(const uint8_t *) zero, dense ? (size_t) count * bytes : bytes);
        return;
    }
    for (int64_t x = 0; x < count; x++, pixel += (size_t) image->pixel * element_bytes)
        for (int64_t c = 0; c < channels; c++)
            memcpy(pixel + (size_t) c * element_bytes, zero, element_bytes);
}

/* A block without gaps: what lies between two rows of a picture is one run, and so is what lies before the
 * first and behind the last. */
static bool fill_runs(const struct pith_image *image, const struct pith_image_dims *dims, uint8_t *data,
                      size_t element_bytes, const void *zero)
{
    const int64_t width = image->left + dims->w + image->right;
    const int64_t element = (int64_t) element_bytes, inside = dims->w * image->pixel * element;
    const int64_t gap = (image->left + image->right) * image->pixel * element;
    const int64_t lead = (image->top * image->row + image->left * image->pixel) * element;
    const int64_t trail = (image->bottom * image->row + image->right * image->pixel) * element;

    if (image->pixel != dims->c || image->row != width * image->pixel || dims->h < 1 ||
        !one_byte(zero, element_bytes))
        return false;
    for (int64_t n = 0; n < dims->n && lead + trail > 0; n++) {
        uint8_t *at = data + n * image->picture * element;

        memset(at - lead, *(const uint8_t *) zero, (size_t) lead);
        for (int64_t y = 1; gap > 0 && y < dims->h; y++) {
            memset(at + inside, *(const uint8_t *) zero, (size_t) gap);
            at += inside + gap;
        }
        if (gap == 0)
            at += (dims->h - 1) * inside;
        memset(at + inside, *(const uint8_t *) zero, (size_t) trail);
    }
    return true;
}

void pith_image_fill_halo(const struct pith_image *image, const struct pith_image_dims *dims,
                          void *data, size_t element_bytes, const void *zero)
{
    const int64_t width = image->left + dims->w + image->right;

    if (fill_runs(image, dims, data, element_bytes, zero))
        return;
    for (int64_t n = 0; n < dims->n; n++) {
        for (int64_t y = -image->top; y < dims->h + image->bottom; y++) {
            const int64_t start = n * image->picture + y * image->row - image->left * image->pixel;
            uint8_t *row = (uint8_t *) data + start * (int64_t) element_bytes;

            if (y < 0 || y >= dims->h) {
                fill_pixels(image, dims->c, row, width, element_bytes, zero);
                continue;
            }
            fill_pixels(image, dims->c, row, image->left, element_bytes, zero);
            row += (image->left + dims->w) * image->pixel * (int64_t) element_bytes;
            fill_pixels(image, dims->c, row, image->right, element_bytes, zero);
        }
    }
}
