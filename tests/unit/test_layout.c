/* The steps between layouts: every way from planar or channels-last to either, over odd shapes,
 * with halos and slices, against the formula of where an element lies. */
#include "libpith/kernels/kernel.h"
#include "tests/testing.h"
#include "tests/unit/each_isa.h"

#include <math.h>
#include <stdlib.h>

#define SLICE_OF 5 /* channels around a slice, in all */

struct side { /* an operand, and its memory */
    int32_t dtype;
    struct pith_image image;
    struct pith_quantization grid;
    float scale;
    int32_t zero_point;
    uint8_t *block;
    struct pith_tensor tensor[PITH_STEP_PORTS + 1];
};

static uint32_t seed = 1;

static uint32_t draw(uint32_t below)
{
    seed = seed * 1664525U + 1013904223U;
    return (seed >> 8) % below;
}

static size_t element_bytes(const struct side *s)
{
    return pith_dtype_bits(s->dtype) / 8;
}

static void side_init(struct side *s, const struct pith_shape *shape, int32_t dtype, bool last,
                      bool halo, bool slice)
{
    const struct pith_image_dims d = pith_image_dims(shape);
    int64_t lead = 0, elements = pith_shape_elements(shape);

    *s = (struct side){.dtype = dtype,
                       .scale = 0.25F,
                       .zero_point = dtype == PITH_UINT8   ? 131
                                     : dtype == PITH_INT16 ? -777
                                                           : 3};
    s->grid = (struct pith_quantization){dtype, 0, 0, 1, &s->scale, &s->zero_point};
    if (last) {
        s->image = (struct pith_image){.channels_last = true,
                                       .pixel = d.c + (slice ? SLICE_OF : 0),
                                       .top = halo ? (int32_t) draw(3) : 0,
                                       .bottom = halo ? (int32_t) draw(3) : 0,
                                       .left = halo ? (int32_t) draw(3) : 0,
                                       .right = halo ? (int32_t) draw(3) : 0};
        s->image.row = (s->image.left + d.w + s->image.right) * s->image.pixel;
        s->image.picture = (s->image.top + d.h + s->image.bottom) * s->image.row;
        elements = s->image.picture * d.n;
        lead = s->image.top * s->image.row + s->image.left * s->image.pixel + (slice ? 2 : 0);
    }
    s->block = malloc((size_t) elements * element_bytes(s) + PITH_IMAGE_SLACK_BYTES);
    assert_non_null(s->block);
    for (size_t i = 0; i < (size_t) elements * element_bytes(s); i++)
        s->block[i] = (uint8_t) draw(256);
    s->tensor[0] = (struct pith_tensor){dtype, *shape, s->block + (size_t) lead * element_bytes(s),
                                        (size_t) elements * element_bytes(s)};
}

static uint8_t *at(const struct side *s, int64_t n, int64_t c, int64_t y, int64_t x)
{
    const struct pith_image_dims d = pith_image_dims(&s->tensor[0].shape);
    const int64_t index = s->image.channels_last
                              ? n * s->image.picture + y * s->image.row + x * s->image.pixel + c
                              : ((n * d.c + c) * d.h + y) * d.w + x;

    return (uint8_t *) s->tensor[0].data + index * (int64_t) element_bytes(s);
}

static float real_at(const struct side *s, const uint8_t *element)
{
    if (s->dtype == PITH_FLOAT32)
        return *(const float *) (const void *) element;

    const int32_t stored = s->dtype == PITH_INT16  ? *(const int16_t *) (const void *) element
                           : s->dtype == PITH_INT8 ? (int8_t) *element
                                                   : *element;

    return (float) (stored - s->zero_point) * s->scale;
}

static void fill_reals(struct side *s, const struct pith_image_dims *d)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY, 3e9F, -3e9F};

    if (s->dtype != PITH_FLOAT32)
        return;
    for (int64_t n = 0; n < d->n; n++)
        for (int64_t c = 0; c < d->c; c++)
            for (int64_t y = 0; y < d->h; y++)
                for (int64_t x = 0; x < d->w; x++)
                    *(float *) (void *) at(s, n, c, y, x) =
                        draw(9) ? ((float) draw(1200) - 600.0F) / 13.0F : odd[draw(5)];
}

/* What an element must be: the same real where the grid has it, else the nearest one that it has, for what is no number 0. */
static void check_element(const struct side *from, const struct side *to, const uint8_t *a,
                          const uint8_t *b)
{
    const int32_t least = to->dtype == PITH_INT16 ? -32768 : to->dtype == PITH_INT8 ? -128 : 0;
    const float low = (float) (least - to->zero_point) * to->scale,
                high = low + (to->dtype == PITH_INT16 ? 65535.0F : 255.0F) * to->scale;
    float want = real_at(from, a);

    if (from->dtype == to->dtype) {
        assert_memory_equal(a, b, element_bytes(to));
        return;
    }
    if (to->dtype != PITH_FLOAT32) {
        want = isnan(want) ? 0.0F : nearbyintf(want / to->scale) * to->scale;
        want = want < low ? low : want > high ? high : want;
    }
    assert_true(real_at(to, b) == want);
}

static void check_halo(const struct side *to, const struct pith_image_dims *d)
{
    const struct pith_image *i = &to->image;

    for (int64_t n = 0; i->channels_last && n < d->n; n++)
        for (int64_t y = -i->top; y < d->h + i->bottom; y++)
            for (int64_t x = -i->left; x < d->w + i->right; x++)
                for (int64_t c = 0; c < d->c; c++)
                    if (y < 0 || y >= d->h || x < 0 || x >= d->w)
                        assert_true(real_at(to, at(to, n, c, y, x)) == 0.0F);
}

/* Every element already lies where it belongs. */
static void check_view(const struct side *from, const struct side *to,
                       const struct pith_image_dims *d)
{
    assert_int_equal(from->dtype, to->dtype);
    for (int64_t n = 0; n < d->n; n++)
        for (int64_t c = 0; c < d->c; c++)
            for (int64_t y = 0; y < d->h; y++)
                for (int64_t x = 0; x < d->w; x++)
                    assert_true(at(from, n, c, y, x) - (uint8_t *) from->tensor[0].data ==
                                at(to, n, c, y, x) - (uint8_t *) to->tensor[0].data);
}

static void check_way(const struct pith_shape *shape, struct side *from, struct side *to)
{
    const struct pith_image_dims d = pith_image_dims(shape);
    const struct pith_quantization *in_grid = from->dtype == PITH_FLOAT32 ? NULL : &from->grid,
                                   *out_grid = to->dtype == PITH_FLOAT32 ? NULL : &to->grid;
    struct pith_step step = {
        .kernel = pith_kernel_find("pith", to->image.channels_last ? "ToImage" : "ToPlanar", 0,
                                   &from->dtype, 1, to->dtype, 0, NULL),
        .name = "",
        .input_count = 1,
        .output_count = 1,
        .input = from->tensor,
        .output = to->tensor,
        .input_quantization = &in_grid,
        .output_quantization = &out_grid,
        .input_image = &from->image,
        .output_image = &to->image};
    struct pith_error err = {0};

    assert_non_null(step.kernel);
    fill_reals(from, &d);
    assert_ok(pith_step_prepare(&step, &err), &err);
    if (step.view == 0) {
        check_view(from, to, &d);
        pith_step_done(&step);
        return;
    }
    if (step.parts > 1) {
        const uint32_t count = 1 + draw(step.parts);

        for (uint32_t part = count; part-- > 0;)
            step.kernel->run_part(&step, part, count);
    } else {
        assert_ok(step.kernel->run(&step, &err), &err);
    }
    for (int64_t n = 0; n < d.n; n++)
        for (int64_t c = 0; c < d.c; c++)
            for (int64_t y = 0; y < d.h; y++)
                for (int64_t x = 0; x < d.w; x++)
                    check_element(from, to, at(from, n, c, y, x), at(to, n, c, y, x));
    check_halo(to, &d);
    pith_step_done(&step);
}

/* Types between which there is a way: bytes and words have none. */
static void draw_types(int32_t *from, int32_t *to)
{
    static const int32_t bytes[] = {PITH_FLOAT32, PITH_UINT8, PITH_INT8}, words[] = {PITH_FLOAT32, PITH_INT16};
    const bool wide = draw(3) == 0;

    *from = wide ? words[draw(2)] : bytes[draw(3)];
    *to = draw(3) == 0 ? *from : wide ? words[draw(2)] : bytes[draw(3)];
}

static void check_ways(void)
{
    for (int round = 0; round < 600; round++) {
        const bool flat = draw(4) == 0;
        const int64_t n = 1 + draw(2), c = 1 + draw(round % 3 ? 5 : 40), h = 1 + draw(6),
                      w = 1 + draw(round % 5 ? 12 : 150);
        const struct pith_shape shape =
            flat ? (struct pith_shape){3, {n, c, w}} : (struct pith_shape){4, {n, c, h, w}};
        int32_t types[2];
        struct side from, to;

        draw_types(&types[0], &types[1]);
        side_init(&from, &shape, types[0], draw(2), draw(2), draw(4) == 0);
        side_init(&to, &shape, types[1], draw(2), draw(2), draw(4) == 0);
        check_way(&shape, &from, &to);
        free(from.block);
        free(to.block);
    }
}

static void every_way_keeps_each_element(void **state)
{
    (void) state;
    for (struct each_isa each = {0}; each_isa(&each);)
        check_ways();
}

static void other_types_are_refused(void **state)
{
    const int32_t type = PITH_INT64;

    (void) state;
    assert_null(pith_kernel_find("pith", "ToImage", 0, &type, 1, PITH_INT64, 0, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_keeps_each_element),
        cmocka_unit_test(other_types_are_refused),
    };

    return cmocka_run_group_tests_name("layout", tests, NULL, NULL);
}
