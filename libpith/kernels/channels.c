/* Picking and shuffling channels (PITH_FUSED_DOMAIN: Channels, attribute `channels`: of the input,
 * one for each of the output): planar by planes, channels-last by pixels. */
#include <errno.h>
#include <string.h>

#include "libpith/kernels/families.h"
#include "libpith/kernels/image.h"

struct channels {
    int64_t pictures, in, out, plane;
    int64_t first, step; /* channel i is first + i * step; step 0: as listed */
    int32_t *list;
};

static int read_channels(struct pith_step *step, struct channels *c, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *y = &step->output[0].shape;
    size_t count = 0;
    const int64_t *list = pith_node_ints(step->graph, step->node, "channels", &count);

    if (x->rank < 3 || x->rank > 4 || y->rank != x->rank || !list || count < 1 ||
        (int64_t) count != y->dim[1] || x->dim[0] != y->dim[0] ||
        memcmp(&x->dim[2], &y->dim[2], (x->rank - 2) * sizeof *x->dim) != 0)
        return pith_step_fail(step, err, -EINVAL, "%zu channels don't fit its output", count);
    c->pictures = x->dim[0];
    c->in = x->dim[1];
    c->out = y->dim[1];
    c->plane = pith_dims_product(x, 2, x->rank);
    c->list = pith_step_alloc(step, c->out * (int64_t) sizeof *c->list);
    if (!c->list)
        return -ENOMEM;
    c->first = list[0];
    c->step = count > 1 ? list[1] - list[0] : 1;
    for (size_t i = 0; i < count; i++) {
        if (list[i] < 0 || list[i] >= c->in || list[i] > INT32_MAX)
            return pith_step_fail(step, err, -EINVAL, "channel %lld of %lld", (long long) list[i],
                                  (long long) c->in);
        c->list[i] = (int32_t) list[i];
        if (list[i] != c->first + (int64_t) i * c->step)
            c->step = 0;
    }
    return 0;
}

static int channels_prepare(struct pith_step *step, struct pith_error *err)
{
    struct channels *c = pith_step_alloc(step, sizeof *c);

    step->params = c;
    return c ? read_channels(step, c, err) : -ENOMEM;
}

static int channels_run(struct pith_step *step, struct pith_error *err)
{
    const struct channels *c = step->params;
    const float *x = step->input[0].data;
    float *y = step->output[0].data;

    (void) err;
    for (int64_t n = 0; n < c->pictures; n++)
        for (int64_t i = 0; i < c->out; i++)
            memcpy(y + (n * c->out + i) * c->plane, x + (n * c->in + c->list[i]) * c->plane,
                   (size_t) c->plane * sizeof *y);
    return 0;
}

/* ---- channels-last ---- */

static int image_channels_prepare(struct pith_step *step, struct pith_error *err)
{
    int rc = channels_prepare(step, err);

    if (rc < 0)
        return rc;
    if (step->kernel->flags & PITH_KERNEL_QUANTIZED) {
        const struct pith_quantization *from = step->input_quantization[0],
                                       *to = step->output_quantization[0];

        if (!from || !to || from->count != 1 || to->count != 1 || from->scale[0] != to->scale[0] ||
            from->zero_point[0] != to->zero_point[0] ||
            step->input[0].dtype != step->output[0].dtype)
            return pith_step_fail(step, err, -ENOTSUP, "channels of two grids");
    }
    step->parts = pith_parts_of(pith_image_dims(&step->output[0].shape).h);
    return 0;
}

/* One loop for each size of elements; every second channel, which halves of a shuffled picture are,
 * by itself, since the compiler has instructions for that. */
#define ROW(type)                                                                                  \
    static void row_##type(const struct channels *c, type *y, int64_t y_pixel, const type *x,      \
                           int64_t x_pixel, int64_t width)                                         \
    {                                                                                              \
        for (int64_t w = 0; w < width; w++, x += x_pixel, y += y_pixel) {                          \
            if (c->step == 2)                                                                      \
                for (int64_t i = 0; i < c->out; i++)                                               \
                    y[i] = x[c->first + 2 * i];                                                    \
            else                                                                                   \
                for (int64_t i = 0; i < c->out; i++)                                               \
                    y[i] = x[c->list[i]];                                                          \
        }                                                                                          \
    }

ROW(uint32_t)
ROW(uint16_t)
ROW(uint8_t)

static void image_channels_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    const struct channels *c = step->params;
    const struct pith_image *from = &step->input_image[0], *to = &step->output_image[0];
    const struct pith_image_dims d = pith_image_dims(&step->output[0].shape);
    const size_t bytes = pith_dtype_bits(step->output[0].dtype) / 8;

    for (int64_t n = 0; n < d.n; n++)
        for (int64_t h = pith_part_begin(d.h, part, count);
             h < pith_part_begin(d.h, part + 1, count); h++) {
            const int64_t x = n * from->picture + h * from->row, y = n * to->picture + h * to->row;

            if (bytes == 1)
                row_uint8_t(c, (uint8_t *) step->output[0].data + y, to->pixel,
                            (const uint8_t *) step->input[0].data + x, from->pixel, d.w);
            else if (bytes == 2)
                row_uint16_t(c, (uint16_t *) step->output[0].data + y, to->pixel,
                             (const uint16_t *) step->input[0].data + x, from->pixel, d.w);
            else
                row_uint32_t(c, (uint32_t *) step->output[0].data + y, to->pixel,
                             (const uint32_t *) step->input[0].data + x, from->pixel, d.w);
        }
    if (part == 0)
        pith_image_zero_halo(step, 0);
}

static int image_channels_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    image_channels_part(step, 0, 1);
    return 0;
}

#define IMAGE_CHANNELS(text, type, more)                                                           \
    {                                                                                              \
        .op = "Channels", .domain = PITH_FUSED_DOMAIN, .name = text, .types = {type},              \
        .output_type = type,                                                                       \
        .flags = PITH_KERNEL_CHANNELS_LAST | (more), .prepare = image_channels_prepare,            \
        .run = image_channels_run, .run_part = image_channels_part                                 \
    }

const struct pith_kernel pith_kernels_channels[] = {
    IMAGE_CHANNELS("image_channels_f32", PITH_BIT(FLOAT32), 0),
    IMAGE_CHANNELS("image_channels_s8", PITH_BIT(INT8) | PITH_BIT(UINT8), PITH_KERNEL_QUANTIZED),
    IMAGE_CHANNELS("image_channels_s16", PITH_BIT(INT16), PITH_KERNEL_QUANTIZED),
    {.op = "Channels",
     .domain = PITH_FUSED_DOMAIN,
     .name = "channels_f32",
     .types = {PITH_BIT(FLOAT32)},
     .prepare = channels_prepare,
     .run = channels_run},
    {0},
};
