/* Channels-last activations: their dimensions and halos. See image.h. */
#include "libpith/kernels/image.h"
#include "libpith/kernels/kernel.h"
#include "libpith/kernels/requantize.h"

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

/* Of one picture, rows of its halo: those above the first row and below the last go with them, and
 * what lies right and left of a row with that row. */
struct halo {
    const struct pith_image *image;
    const struct pith_image_dims *dims;
    uint8_t *data; /* pixel (0,0) of the picture */
    size_t element_bytes;
    const void *zero;
};

/* A block without gaps: what lies between two rows of a picture is one run, and so is what lies before the
 * first and behind the last. What is left of a row goes with the row before it. */
static bool fill_runs(const struct halo *h, int64_t row, int64_t end)
{
    const struct pith_image *image = h->image;
    const int64_t width = image->left + h->dims->w + image->right;
    const int64_t element = (int64_t) h->element_bytes,
                  inside = h->dims->w * image->pixel * element;
    const int64_t gap = (image->left + image->right) * image->pixel * element;
    const int64_t lead = (image->top * image->row + image->left * image->pixel) * element;
    const int64_t trail = (image->bottom * image->row + image->right * image->pixel) * element;
    const int byte = *(const uint8_t *) h->zero;

    if (image->pixel != h->dims->c || image->row != width * image->pixel ||
        !one_byte(h->zero, h->element_bytes))
        return false;
    if (row == 0 && lead > 0)
        memset(h->data - lead, byte, (size_t) lead);
    for (int64_t y = gap > 0 ? row : end - 1; y < end; y++) {
        const int64_t behind = y + 1 < h->dims->h ? gap : trail;

        if (behind > 0)
            memset(h->data + y * (inside + gap) + inside, byte, (size_t) behind);
    }
    return true;
}

static void fill_rows(const struct halo *h, int64_t row, int64_t end)
{
    const struct pith_image *image = h->image;
    const int64_t width = image->left + h->dims->w + image->right;
    const int64_t first = row == 0 ? -image->top : row,
                  last = end == h->dims->h ? end + image->bottom : end;

    for (int64_t y = first; y < last; y++) {
        uint8_t *at =
            h->data + (y * image->row - image->left * image->pixel) * (int64_t) h->element_bytes;

        if (y < 0 || y >= h->dims->h) {
            fill_pixels(image, h->dims->c, at, width, h->element_bytes, h->zero);
            continue;
        }
        fill_pixels(image, h->dims->c, at, image->left, h->element_bytes, h->zero);
        at += (image->left + h->dims->w) * image->pixel * (int64_t) h->element_bytes;
        fill_pixels(image, h->dims->c, at, image->right, h->element_bytes, h->zero);
    }
}

/* What part `part` of `count` does: the halo around its share of the rows, so that a thread stays near
 * what it writes. */
static void fill_part(const struct halo *all, uint32_t part, uint32_t count)
{
    const int64_t height = all->dims->h, rows = all->dims->n * height,
                  to = pith_part_begin(rows, part + 1, count);

    for (int64_t at = pith_part_begin(rows, part, count); at < to;) {
        const int64_t n = at / height, row = at - n * height,
                      end = height < row + to - at ? height : row + to - at;
        struct halo halo = *all;

        halo.data += n * all->image->picture * (int64_t) all->element_bytes;
        if (!fill_runs(&halo, row, end))
            fill_rows(&halo, row, end);
        at += end - row;
    }
}

void pith_image_fill_halo(const struct pith_image *image, const struct pith_image_dims *dims,
                          void *data, size_t element_bytes, const void *zero)
{
    fill_part(&(struct halo){image, dims, data, element_bytes, zero}, 0, 1);
}

/* ---- of a step's output ---- */

/* What stands for 0 in it, its lowest bytes first; all bits of a float's are 0. */
static int32_t stored_zero(const struct pith_step *step, size_t output)
{
    const int32_t dtype = step->output[output].dtype;
    const struct pith_quantization *q =
        dtype == PITH_FLOAT32 ? NULL : step->output_quantization[output];

    return q ? pith_stored_zero(q, dtype) : 0;
}

static struct halo halo_of(const struct pith_step *step, size_t output,
                           const struct pith_image_dims *dims, const int32_t *zero)
{
    const struct pith_tensor *y = &step->output[output];

    return (struct halo){&step->output_image[output], dims, y->data, pith_dtype_bits(y->dtype) / 8,
                         zero};
}

void pith_image_zero_halo_part(const struct pith_step *step, size_t output, uint32_t part,
                               uint32_t count)
{
    const struct pith_image_dims dims = pith_image_dims(&step->output[output].shape);
    const int32_t zero = stored_zero(step, output);
    const struct halo halo = halo_of(step, output, &dims, &zero);

    fill_part(&halo, part, count);
}

void pith_image_zero_halo_rows(const struct pith_step *step, size_t output, int64_t from,
                               int64_t to)
{
    const struct pith_image_dims dims = pith_image_dims(&step->output[output].shape);
    const int32_t zero = stored_zero(step, output);
    const struct halo halo = halo_of(step, output, &dims, &zero);

    if (halo.image->top || halo.image->bottom || halo.image->left || halo.image->right)
        fill_rows(&halo, from, to);
}

void pith_image_zero_halo(const struct pith_step *step, size_t output)
{
    pith_image_zero_halo_part(step, output, 0, 1);
}
