/* Deformable convolution against its definition in double, over odd sizes, groups and masks, for every instruction set; places
 * far outside; and shapes that don't fit each other. */
#include "tests/unit/one_step.h"

#include <math.h>

#include "tests/unit/each_isa.h"

static uint32_t seed = 7;

static int64_t pick(int64_t low, int64_t high)
{
    seed = seed * 1664525U + 1013904223U;
    return low + (int64_t) (seed >> 8) % (high - low + 1);
}

static double between_ones(void)
{
    return (double) (float) ((double) pick(0, 1 << 23) / (1 << 22) - 1.0);
}

struct layer {
    int64_t n, groups, in, out, offset_groups, size[2], y[2], kernel[2], stride[2], dilation[2], pad[2]; /* channels: of a group */
    bool masked, biased;
};

static struct layer pick_layer(int round)
{
    struct layer l = {.n = 1 + round % 2, .groups = round % 3 == 2 ? 2 : 1, .masked = round % 2, .biased = round % 5 < 3};

    l.offset_groups = round % 4 == 3 ? 2 : 1;
    l.in = pick(1, 5) * (l.groups == 1 ? l.offset_groups : 1);
    l.out = pick(1, 9);
    for (int d = 0; d < 2; d++) {
        l.kernel[d] = pick(1, 3);
        l.stride[d] = pick(1, 2);
        l.dilation[d] = pick(1, 2);
        l.pad[d] = pick(0, 2);
        l.size[d] = (l.kernel[d] - 1) * l.dilation[d] + pick(1, 11);
        l.y[d] = (l.size[d] + 2 * l.pad[d] - (l.kernel[d] - 1) * l.dilation[d] - 1) / l.stride[d] + 1;
    }
    return l;
}

static void fill(struct pith_tensor *tensor, double size)
{
    for (int64_t i = 0; i < pith_shape_elements(&tensor->shape); i++)
        pith_tensor_set(tensor, i, size * between_ones());
}

static void build(struct one_step *s, const struct layer *l, double far)
{
    const int64_t taps = l->kernel[0] * l->kernel[1];

    one_step_init(s, 19);
    fill(one_step_input(s, PITH_FLOAT32, DIMS(l->n, l->groups * l->in, l->size[0], l->size[1]), NULL), 1.0);
    fill(one_step_input(s, PITH_FLOAT32, DIMS(l->groups * l->out, l->in, l->kernel[0], l->kernel[1]), NULL), 1.0);
    fill(one_step_input(s, PITH_FLOAT32, DIMS(l->n, l->offset_groups * taps * 2, l->y[0], l->y[1]), NULL), far);
    if (l->biased)
        fill(one_step_input(s, PITH_FLOAT32, DIMS(l->groups * l->out), NULL), 1.0);
    else if (l->masked)
        one_step_left_out(s);
    if (l->masked)
        fill(one_step_input(s, PITH_FLOAT32, DIMS(l->n, l->offset_groups * taps, l->y[0], l->y[1]), NULL), 1.0);
    one_step_node(s, "DeformConv", 1);
    one_step_int(s, "group", l->groups);
    one_step_int(s, "offset_group", l->offset_groups);
    assert_int_equal(pith_node_set_ints(s->graph, s->node, "strides", l->stride, 2), 0);
    assert_int_equal(pith_node_set_ints(s->graph, s->node, "dilations", l->dilation, 2), 0);
    assert_int_equal(pith_node_set_ints(s->graph, s->node, "pads", (int64_t[]){l->pad[0], l->pad[1], l->pad[0], l->pad[1]}, 4), 0);
}

/* Between the pixels around (y, x) of a plane; outside is 0. */
static double sample(const struct one_step *s, const struct layer *l, int64_t plane, double y, double x)
{
    double sum = 0.0;

    for (int i = 0; i < 4; i++) {
        const double row = floor(y) + i / 2, col = floor(x) + i % 2;

        if (row >= 0 && row < (double) l->size[0] && col >= 0 && col < (double) l->size[1])
            sum += (1.0 - fabs(y - row)) * (1.0 - fabs(x - col)) *
                   pith_tensor_get(&s->data[0], (plane * l->size[0] + (int64_t) row) * l->size[1] + (int64_t) col);
    }
    return sum;
}

static double value_of(const struct one_step *s, const struct layer *l, int64_t n, int64_t m, int64_t oy, int64_t ox)
{
    const int64_t taps = l->kernel[0] * l->kernel[1], area = l->y[0] * l->y[1], pixel = oy * l->y[1] + ox;
    double sum = l->biased ? pith_tensor_get(&s->data[3], m) : 0.0;

    for (int64_t c = 0; c < l->in; c++)
        for (int64_t t = 0; t < taps; t++) {
            const int64_t channel = m / l->out * l->in + c,
                          group = channel / (l->groups * l->in / l->offset_groups),
                          at = (n * l->offset_groups + group) * taps + t;
            const double y = (double) (oy * l->stride[0] - l->pad[0] + t / l->kernel[1] * l->dilation[0]) +
                             pith_tensor_get(&s->data[2], 2 * at * area + pixel),
                         x = (double) (ox * l->stride[1] - l->pad[1] + t % l->kernel[1] * l->dilation[1]) +
                             pith_tensor_get(&s->data[2], (2 * at + 1) * area + pixel),
                         mask = l->masked ? pith_tensor_get(&s->data[4], at * area + pixel) : 1.0;

            sum += mask * sample(s, l, n * l->groups * l->in + channel, y, x) *
                   pith_tensor_get(&s->data[1], (m * l->in + c) * taps + t);
        }
    return sum;
}

static void check(const struct layer *l, double far)
{
    /* each product errs by its place's rounding, times what a pixel differs from its neighbour, and by a few of its own */
    const double bound = (double) (l->in * l->kernel[0] * l->kernel[1] + 1) * (64.0 + far) * 0x1p-21;
    struct one_step s;

    build(&s, l, far);
    assert_ok(one_step_run(&s), &s.err);
    for (int64_t n = 0, i = 0; n < l->n; n++)
        for (int64_t m = 0; m < l->groups * l->out; m++)
            for (int64_t oy = 0; oy < l->y[0]; oy++)
                for (int64_t ox = 0; ox < l->y[1]; ox++, i++) {
                    const double got = pith_tensor_get(&s.output[0], i), want = value_of(&s, l, n, m, oy, ox);

                    if (!(fabs(got - want) <= bound))
                        fail_msg("%s: [%d] is %.9g, not %.9g", pith_isa_name(pith_isa()), (int) i, got, want);
                }
    one_step_done(&s);
}

static void each_tap_reads_where_its_offset_says(void **state)
{
    (void) state;
    for (struct each_isa each = {0}; each_isa(&each);)
        for (int round = 0; round < 40; round++) {
            const struct layer l = pick_layer(round);

            check(&l, round % 4 == 1 ? 40.0 : 1.5);
        }
}

/* Places that no integer holds, and none at all; nor does the first pixel count there, whatever it is. */
static void places_far_outside_read_nothing(void **state)
{
    const struct layer l = {.n = 1, .groups = 1, .in = 2, .out = 3, .offset_groups = 1, .size = {4, 5}, .y = {4, 5},
                            .kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}};
    struct one_step s;

    (void) state;
    build(&s, &l, 0.0);
    for (int64_t i = 0; i < pith_shape_elements(&s.data[2].shape); i++)
        ((float *) s.data[2].data)[i] = i % 3 == 0 ? NAN : i % 3 == 1 ? 3e38F : -INFINITY;
    *(float *) s.data[0].data = INFINITY;
    assert_ok(one_step_run(&s), &s.err);
    for (int64_t i = 0; i < pith_shape_elements(&s.output[0].shape); i++)
        assert_true(pith_tensor_get(&s.output[0], i) == 0.0);
    one_step_done(&s);
}

static void offsets_that_do_not_fit_are_refused(void **state)
{
    const struct layer l = {.n = 1, .groups = 1, .in = 2, .out = 3, .offset_groups = 1, .size = {4, 5}, .y = {3, 5},
                            .kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}};
    struct one_step s;

    (void) state;
    build(&s, &l, 1.0);
    assert_true(one_step_run(&s) < 0);
    assert_non_null(strstr(pith_error_text(&s.err), "offset"));
    one_step_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_tap_reads_where_its_offset_says),
        cmocka_unit_test(places_far_outside_read_nothing),
        cmocka_unit_test(offsets_that_do_not_fit_are_refused),
    };

    return cmocka_run_group_tests_name("deform_conv", tests, NULL, NULL);
}
