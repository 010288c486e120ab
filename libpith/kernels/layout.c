/* From one layout of a value to another, and between reals and stored integers on the way: what the
 * engine puts where a planar value meets a channels-last one (domain "pith").
 *
 *   ToImage   gives a channels-last value with its halo (a flat value where the rank is neither 3
 * nor 4) ToPlanar  gives a planar one
 *
 * The input lies either way. Types: the same in and out, 8-bit integers of the other signedness
 * (zero points 128 apart), float32 to 8-bit integers or int16, and back. Where both orders of bytes are the
 * same and nothing is converted the step is a view. Elements are converted along runs on the side
 * where they are contiguous; transposing is done in tiles that stay in the first-level cache. */
#include "libpith/kernels/byte_grid.h"
#include "libpith/kernels/families.h"
#include "libpith/kernels/isa.h"

#include <errno.h>
#include <string.h>

#define TILE_CHANNELS   16
#define TILE_PIXELS     64
#define JOINED_ELEMENTS 16384
#define SHORT_RUN       128 /* elements */

typedef void transpose_tile(const void *from, int64_t from_row, void *to, int64_t to_row,
                            int64_t rows, int64_t cols);

struct form {
    enum pith_isa isa;
    transpose_tile *transpose[3]; /* elements of one byte, of two, of four */
};

#define FORM(name) name##_any
#define TARGET
#include "libpith/kernels/layout_body.h"
#undef FORM
#undef TARGET

#if defined __x86_64__
#define FORM(name) name##_avx2
#define TARGET     __attribute__((target("avx2,fma")))
#include "libpith/kernels/layout_body.h"
#undef FORM
#undef TARGET

#define FORM(name) name##_avx512
#define TARGET     __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")))
#include "libpith/kernels/layout_body.h"
#undef FORM
#undef TARGET
#endif

#define FORM_OF(set, suffix)                                                                       \
    {                                                                                              \
        set,                                                                                       \
        {                                                                                          \
            transpose_8_##suffix, transpose_16_##suffix, transpose_32_##suffix                     \
        }                                                                                          \
    }
static const struct form forms[] = {
#if defined __x86_64__
    FORM_OF(PITH_ISA_AVX512, avx512),
    FORM_OF(PITH_ISA_AVX2, avx2),
#endif
    FORM_OF(PITH_ISA_PLAIN, any),
};

static void copy_8(const struct pith_byte_grid *grid, const void *from, void *to, int64_t count)
{
    (void) grid;
    memcpy(to, from, (size_t) count);
}

static void copy_16(const struct pith_byte_grid *grid, const void *from, void *to, int64_t count)
{
    (void) grid;
    memcpy(to, from, (size_t) count * 2);
}

static void copy_32(const struct pith_byte_grid *grid, const void *from, void *to, int64_t count)
{
    (void) grid;
    memcpy(to, from, (size_t) count * 4);
}

struct strides { /* in elements */
    int64_t picture, channel, row, pixel;
};

struct layout {
    const struct form *form;
    pith_byte_grid_run *convert;
    struct pith_byte_grid grid;
    struct pith_image_dims dims;
    struct strides from, to;
    size_t from_bytes, to_bytes; /* of an element */
    bool from_image, to_image, keeps_runs;
    bool has_halo; /* the output */
};

static struct strides strides_of(const struct pith_image *image, const struct pith_image_dims *d)
{
    if (image && image->channels_last)
        return (struct strides){image->picture, 1, image->row, image->pixel};
    return (struct strides){d->c * d->h * d->w, d->h * d->w, d->w, 1};
}

static bool has_halo(const struct pith_image *image)
{
    return image && image->channels_last &&
           (image->top || image->bottom || image->left || image->right);
}

static bool same_order(const struct layout *l)
{
    const struct pith_image_dims *d = &l->dims;

    return (d->n <= 1 || l->from.picture == l->to.picture) &&
           (d->c <= 1 || l->from.channel == l->to.channel) &&
           (d->h <= 1 || l->from.row == l->to.row) && (d->w <= 1 || l->from.pixel == l->to.pixel);
}

static bool is_dense(const struct strides *s, const struct pith_image_dims *d)
{
    return s->pixel == d->c && s->row == d->w * d->c && s->picture == d->h * d->w * d->c;
}

/* Elements in the same order on both sides, and nothing between them: all is one run, or few. */
static void join_rows(struct layout *l)
{
    const int64_t count = l->dims.n * l->dims.c * l->dims.h * l->dims.w;
    int64_t rows = 1; /* so many again that threads can share them */

    if (!same_order(l) || (l->from_image && l->to_image &&
                           !(is_dense(&l->from, &l->dims) && is_dense(&l->to, &l->dims))))
        return;
    while (rows < 64 && count / rows >= JOINED_ELEMENTS && count / rows % 2 == 0)
        rows *= 2;
    l->dims = (struct pith_image_dims){1, 1, rows, count / rows};
    l->from = l->to = strides_of(NULL, &l->dims);
    l->from_image = l->to_image = false;
}

static bool eight_bits(int32_t dtype)
{
    return dtype == PITH_UINT8 || dtype == PITH_INT8;
}

static bool one_grid(const struct pith_quantization *q, int32_t dtype)
{
    return q && q->count == 1 && q->block_size == 0 && q->dtype == dtype;
}

static int read_grid(struct pith_step *step, struct layout *l, const struct pith_quantization *q,
                     int32_t dtype, struct pith_error *err)
{
    if (!one_grid(q, dtype))
        return pith_step_fail(step, err, -ENOTSUP, "this quantization has no layout kernel");
    l->grid = (struct pith_byte_grid){q->scale[0], q->zero_point[0], dtype == PITH_INT8 ? -128 : 0};
    return 0;
}

static int choose_convert(struct pith_step *step, struct layout *l, struct pith_error *err)
{
    const int32_t from = step->input[0].dtype, to = step->output[0].dtype;
    const struct pith_byte_grid_form *rows = pith_byte_grid_form();

    if (from == to && (from == PITH_FLOAT32 || eight_bits(from))) {
        l->convert = from == PITH_FLOAT32 ? copy_32 : copy_8;
        return 0;
    }
    if (eight_bits(from) && eight_bits(to)) {
        l->convert = rows->flip;
        return 0;
    }
    if (from == PITH_FLOAT32 && eight_bits(to)) {
        l->convert = rows->quantize;
        return read_grid(step, l, step->output_quantization[0], to, err);
    }
    if (eight_bits(from) && to == PITH_FLOAT32) {
        l->convert = from == PITH_INT8 ? rows->from_s8 : rows->from_u8;
        return read_grid(step, l, step->input_quantization[0], from, err);
    }
    if (from == PITH_INT16 && to == PITH_INT16) {
        l->convert = copy_16;
        return 0;
    }
    if (from == PITH_FLOAT32 && to == PITH_INT16) {
        l->convert = rows->words_of;
        return read_grid(step, l, step->output_quantization[0], to, err);
    }
    if (from == PITH_INT16 && to == PITH_FLOAT32) {
        l->convert = rows->from_words;
        return read_grid(step, l, step->input_quantization[0], from, err);
    }
    return pith_step_fail(step, err, -ENOTSUP, "no way from %s to %s", pith_dtype_name(from),
                          pith_dtype_name(to));
}

static int layout_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *shape = &step->output[0].shape;
    const struct pith_image *from = step->input_image ? &step->input_image[0] : NULL,
                            *to = step->output_image ? &step->output_image[0] : NULL;
    struct layout *l = pith_step_alloc(step, sizeof *l);
    int rc;

    if (!l)
        return -ENOMEM;
    step->params = l;
    l->form = PITH_ISA_BEST(forms);
    l->from_image = from && from->channels_last;
    l->to_image = to && to->channels_last;
    if (shape->rank == 3 || shape->rank == 4)
        l->dims = pith_image_dims(shape);
    else
        l->dims = (struct pith_image_dims){1, 1, 1, pith_shape_elements(shape)};
    l->from = strides_of(from, &l->dims);
    l->to = strides_of(to, &l->dims);
    l->from_bytes = pith_dtype_bits(step->input[0].dtype) / 8;
    l->to_bytes = pith_dtype_bits(step->output[0].dtype) / 8;
    l->has_halo = has_halo(to);
    rc = choose_convert(step, l, err);
    if (rc < 0)
        return rc;
    if (step->input[0].dtype == step->output[0].dtype && !has_halo(from) && !l->has_halo &&
        same_order(l))
        step->view = 0;
    if (!l->has_halo)
        join_rows(l);
    /* of one channel, rows are runs in either layout */
    l->keeps_runs =
        l->from_image == l->to_image || (l->dims.c == 1 && l->from.pixel == 1 && l->to.pixel == 1);
    step->parts = (uint32_t) (l->dims.n * l->dims.h > 64 ? 64 : l->dims.n * l->dims.h);
    return 0;
}

/* A planar row of every channel into pixels. */
static void row_to_image(const struct layout *l, const uint8_t *from, uint8_t *to)
{
    uint32_t tile[TILE_CHANNELS * TILE_PIXELS];
    uint8_t *const bytes = (uint8_t *) tile;
    const size_t size = l->to_bytes;

    for (int64_t x = 0; x < l->dims.w; x += TILE_PIXELS) {
        const int64_t cols = l->dims.w - x < TILE_PIXELS ? l->dims.w - x : TILE_PIXELS;

        for (int64_t c = 0; c < l->dims.c; c += TILE_CHANNELS) {
            const int64_t rows = l->dims.c - c < TILE_CHANNELS ? l->dims.c - c : TILE_CHANNELS;

            for (int64_t i = 0; i < rows; i++)
                l->convert(&l->grid,
                           from + (size_t) ((c + i) * l->from.channel + x) * l->from_bytes,
                           bytes + (size_t) i * TILE_PIXELS * size, cols);
            l->form->transpose[size / 2](bytes, TILE_PIXELS,
                                          to + (size_t) (x * l->to.pixel + c) * size, l->to.pixel,
                                          rows, cols);
        }
    }
}

static void row_to_planar(const struct layout *l, const uint8_t *from, uint8_t *to)
{
    uint32_t tile[TILE_CHANNELS * TILE_PIXELS];
    uint8_t *const bytes = (uint8_t *) tile;
    const size_t size = l->from_bytes;

    for (int64_t x = 0; x < l->dims.w; x += TILE_PIXELS) {
        const int64_t cols = l->dims.w - x < TILE_PIXELS ? l->dims.w - x : TILE_PIXELS;

        for (int64_t c = 0; c < l->dims.c; c += TILE_CHANNELS) {
            const int64_t rows = l->dims.c - c < TILE_CHANNELS ? l->dims.c - c : TILE_CHANNELS;

            l->form->transpose[size / 2](from + (size_t) (x * l->from.pixel + c) * size,
                                          l->from.pixel, bytes, TILE_PIXELS, cols, rows);
            for (int64_t i = 0; i < rows; i++)
                l->convert(&l->grid, bytes + (size_t) i * TILE_PIXELS * size,
                           to + (size_t) ((c + i) * l->to.channel + x) * l->to_bytes, cols);
        }
    }
}

static bool step_converts(const struct layout *l)
{
    return l->convert != copy_8 && l->convert != copy_16 && l->convert != copy_32;
}

/* `count` runs of `length` bytes that lie so many bytes apart. */
static void move_runs(const uint8_t *from, size_t from_step, uint8_t *to, size_t to_step,
                      size_t length, int64_t count)
{
    for (int64_t i = 0; i < count; i++, from += from_step, to += to_step)
        memcpy(to, from, length);
}

/* Short runs with gaps between them: to convert each by itself takes longer than to bring many together. */
static void convert_gathered(const struct layout *l, const uint8_t *from, size_t from_step,
                             uint8_t *to, size_t to_step, int64_t inner, int64_t outer)
{
    uint32_t gathered[TILE_CHANNELS * TILE_PIXELS], converted[TILE_CHANNELS * TILE_PIXELS];
    const size_t from_run = (size_t) inner * l->from_bytes, to_run = (size_t) inner * l->to_bytes;
    const int64_t most = TILE_CHANNELS * TILE_PIXELS / inner;

    for (int64_t at = 0; at < outer; at += most) {
        const int64_t count = outer - at < most ? outer - at : most;
        const uint8_t *source = from + (size_t) at * from_step;
        uint8_t *target = to + (size_t) at * to_step;

        if (from_step != from_run) {
            move_runs(source, from_step, (uint8_t *) gathered, from_run, from_run, count);
            source = (const uint8_t *) gathered;
        }
        if (to_step == to_run) {
            l->convert(&l->grid, source, target, count * inner);
            continue;
        }
        l->convert(&l->grid, source, converted, count * inner);
        move_runs((const uint8_t *) converted, to_run, target, to_step, to_run, count);
    }
}

/* Both planar, or both channels-last: runs stay runs. */
static void row_kept(const struct layout *l, const uint8_t *from, uint8_t *to)
{
    const int64_t outer = l->from_image ? l->dims.w : l->dims.c,
                  inner = l->from_image ? l->dims.c : l->dims.w,
                  from_step = l->from_image ? l->from.pixel : l->from.channel,
                  to_step = l->from_image ? l->to.pixel : l->to.channel;

    if (from_step == inner && to_step == inner) {
        l->convert(&l->grid, from, to, outer * inner);
        return;
    }
    if (inner <= SHORT_RUN && step_converts(l)) {
        convert_gathered(l, from, (size_t) from_step * l->from_bytes, to,
                         (size_t) to_step * l->to_bytes, inner, outer);
        return;
    }
    for (int64_t i = 0; i < outer; i++)
        l->convert(&l->grid, from + (size_t) (i * from_step) * l->from_bytes,
                   to + (size_t) (i * to_step) * l->to_bytes, inner);
}

static void layout_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    const struct layout *l = step->params;
    const int64_t rows = l->dims.n * l->dims.h;

    for (int64_t r = rows * part / count; r < rows * (part + 1) / count; r++) {
        const int64_t n = r / l->dims.h, y = r % l->dims.h;
        const uint8_t *from = (const uint8_t *) step->input[0].data +
                              (n * l->from.picture + y * l->from.row) * (int64_t) l->from_bytes;
        uint8_t *to = (uint8_t *) step->output[0].data +
                      (n * l->to.picture + y * l->to.row) * (int64_t) l->to_bytes;

        if (l->keeps_runs)
            row_kept(l, from, to);
        else if (l->to_image)
            row_to_image(l, from, to);
        else
            row_to_planar(l, from, to);
    }
    if (part == 0 && l->has_halo)
        pith_image_zero_halo(step, 0);
}

static int layout_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    layout_part(step, 0, 1);
    return 0;
}

#define LAYOUT_TYPES (PITH_BIT(FLOAT32) | PITH_BIT(UINT8) | PITH_BIT(INT8) | PITH_BIT(INT16))

const struct pith_kernel pith_kernels_layout[] = {
    {.op = "ToImage",
     .domain = "pith",
     .name = "to_image",
     .types = {LAYOUT_TYPES},
     .output_type = LAYOUT_TYPES,
     .prepare = layout_prepare,
     .run = layout_run,
     .run_part = layout_part},
    {.op = "ToPlanar",
     .domain = "pith",
     .name = "to_planar",
     .types = {LAYOUT_TYPES},
     .output_type = LAYOUT_TYPES,
     .prepare = layout_prepare,
     .run = layout_run,
     .run_part = layout_part},
    {0},
};
