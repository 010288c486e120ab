/* Convolution: float against sums in double written here, integers against exact ones, over odd
 * sizes of every attribute. */
#include "tests/unit/one_step.h"

#include <math.h>

#define SPATIAL 3

static uint32_t seed = 20;

static int64_t pick(int64_t low, int64_t high)
{
    seed = seed * 1664525U + 1013904223U;
    return low + (int64_t) (seed >> 8) % (high - low + 1);
}

static double between_ones(void)
{
    return (double) (float) ((double) pick(0, 1 << 23) / (1 << 22) - 1.0);
}

/* Unused leading dimensions are 1, so that one loop serves all ranks. */
struct geometry {
    uint32_t spatial;
    int64_t batch, groups, in_channels, out_channels; /* channels of a group */
    int64_t in[SPATIAL], out[SPATIAL], kernel[SPATIAL];
    int64_t stride[SPATIAL], dilation[SPATIAL], pad[SPATIAL], pad_end[SPATIAL];
};

static struct geometry pick_geometry(int round)
{
    struct geometry g = {.spatial = 1 + (uint32_t) round % 3, .batch = 1 + round % 2};

    g.groups = round % 5 == 0 ? pick(2, 7) : round % 7 == 0 ? 2 : 1;
    g.in_channels = round % 5 == 0 ? 1 : pick(1, 6);
    g.out_channels = round % 10 == 0 ? 1 : pick(1, 15);
    for (int d = 0; d < SPATIAL; d++) {
        g.in[d] = g.out[d] = g.kernel[d] = g.stride[d] = g.dilation[d] = 1;
        if (d < SPATIAL - (int) g.spatial)
            continue;
        g.kernel[d] = pick(1, 4);
        g.dilation[d] = pick(1, 3);
        g.stride[d] = pick(1, 3);
        g.pad[d] = pick(0, 3);
        g.pad_end[d] = pick(0, 3);
        g.in[d] = (g.kernel[d] - 1) * g.dilation[d] + pick(1, g.spatial == 3 ? 6 : 21);
    }
    if (round % 4 == 1 && g.spatial == 2) { /* a column that moves down by one: rows become one */
        g.kernel[2] = g.stride[1] = g.stride[2] = 1;
        g.pad[2] = g.pad_end[2] = 0;
    }
    for (int d = SPATIAL - (int) g.spatial; d < SPATIAL; d++)
        g.out[d] = (g.in[d] + g.pad[d] + g.pad_end[d] - (g.kernel[d] - 1) * g.dilation[d] - 1) /
                       g.stride[d] +
                   1;
    return g;
}

static int64_t product(const int64_t *dims)
{
    return dims[0] * dims[1] * dims[2];
}

static void dims_of(const struct geometry *g, int64_t first, int64_t second, const int64_t *spatial,
                    int64_t *dims)
{
    dims[0] = first;
    dims[1] = second;
    memcpy(dims + 2, spatial + SPATIAL - g->spatial, g->spatial * sizeof *dims);
}

static void set_attributes(struct one_step *s, const struct geometry *g)
{
    const int at = SPATIAL - (int) g->spatial;
    int64_t pads[2 * SPATIAL];

    memcpy(pads, g->pad + at, g->spatial * sizeof *pads);
    memcpy(pads + g->spatial, g->pad_end + at, g->spatial * sizeof *pads);
    assert_int_equal(pith_node_set_ints(s->graph, s->node, "pads", pads, 2 * (size_t) g->spatial),
                     0);
    assert_int_equal(pith_node_set_ints(s->graph, s->node, "strides", g->stride + at, g->spatial),
                     0);
    assert_int_equal(
        pith_node_set_ints(s->graph, s->node, "dilations", g->dilation + at, g->spatial), 0);
    one_step_int(s, "group", g->groups);
}

/* The sum that output element `i` of [N, M, D, H, W] is, of x and w less their zero points; exact
 * for integers: below 2^53. */
static double plain_sum(const struct geometry *g, const struct pith_tensor *x,
                        const struct pith_tensor *w, double x_zero, double w_zero, int64_t i)
{
    const int64_t plane = product(g->out), channels = g->groups * g->out_channels;
    const int64_t m = i / plane % channels, n = i / plane / channels;
    const int64_t o[SPATIAL] = {i % plane / (g->out[1] * g->out[2]),
                                i % plane / g->out[2] % g->out[1], i % g->out[2]};
    double sum = 0.0;

    for (int64_t c = 0; c < g->in_channels; c++)
        for (int64_t tap = 0; tap < product(g->kernel); tap++) {
            const int64_t k[SPATIAL] = {tap / (g->kernel[1] * g->kernel[2]),
                                        tap / g->kernel[2] % g->kernel[1], tap % g->kernel[2]};
            int64_t from = (n * g->groups + m / g->out_channels) * g->in_channels + c;
            bool inside = true;

            for (int d = 0; d < SPATIAL; d++) {
                const int64_t at = o[d] * g->stride[d] - g->pad[d] + k[d] * g->dilation[d];

                inside = inside && at >= 0 && at < g->in[d];
                from = from * g->in[d] + at;
            }
            if (inside)
                sum += (pith_tensor_get(x, from) - x_zero) *
                       (pith_tensor_get(w, (m * g->in_channels + c) * product(g->kernel) + tap) -
                        w_zero);
        }
    return sum;
}

static void add_operands(struct one_step *s, const struct geometry *g, int32_t x_type,
                         int32_t w_type)
{
    int64_t dims[2 + SPATIAL];

    one_step_init(s, 13);
    dims_of(g, g->batch, g->groups * g->in_channels, g->in, dims);
    one_step_input(s, x_type, dims, g->spatial + 2, NULL);
    dims_of(g, g->groups * g->out_channels, g->in_channels, g->kernel, dims);
    one_step_input(s, w_type, dims, g->spatial + 2, NULL);
    for (int t = 0; t < 2; t++) {
        const int32_t type = t == 0 ? x_type : w_type;
        const int64_t low = type == PITH_INT8 ? -128 : 0;

        for (int64_t i = 0; i < pith_shape_elements(&s->data[t].shape); i++)
            pith_tensor_set(&s->data[t], i,
                            type == PITH_FLOAT32 ? between_ones() : (double) pick(low, low + 255));
    }
}

/* A float sum of n products of magnitude <= 1 and a bias, in any order, is within (n + 1) * 2^-24
 * of the sum of their magnitudes (<= n + 1) from the exact one: (n + 1)^2 * 6e-8, and one rounding
 * for the store. */
static void float_convolution_is_the_plain_sum(void **state)
{
    (void) state;
    for (int round = 0; round < 240; round++) {
        const struct geometry g = pick_geometry(round);
        const int64_t depth = g.in_channels * product(g.kernel),
                      channels = g.groups * g.out_channels;
        const double allowed = (double) ((depth + 2) * (depth + 2)) * 6e-8;
        const bool biased = round % 3 != 0;
        struct one_step s;

        add_operands(&s, &g, PITH_FLOAT32, PITH_FLOAT32);
        if (biased) {
            one_step_input(&s, PITH_FLOAT32, &channels, 1, NULL);
            for (int64_t m = 0; m < channels; m++)
                pith_tensor_set(&s.data[2], m, between_ones());
        }
        one_step_node(&s, "Conv", 1);
        set_attributes(&s, &g);
        assert_ok(one_step_run(&s), &s.err);
        assert_int_equal(pith_shape_elements(&s.output[0].shape),
                         g.batch * channels * product(g.out));
        for (int64_t i = 0; i < pith_shape_elements(&s.output[0].shape); i++) {
            const double bias =
                biased ? pith_tensor_get(&s.data[2], i / product(g.out) % channels) : 0.0;
            const double want = plain_sum(&g, &s.data[0], &s.data[1], 0, 0, i) + bias;

            if (!(fabs(pith_tensor_get(&s.output[0], i) - want) <= allowed))
                fail_msg("round %d, element %lld: %g, not %g", round, (long long) i,
                         pith_tensor_get(&s.output[0], i), want);
        }
        one_step_done(&s);
    }
}

static int32_t eight_bits(int round, int bit)
{
    return round >> bit & 1 ? PITH_INT8 : PITH_UINT8;
}

static double pick_zero(int32_t type)
{
    return (double) (type == PITH_INT8 ? pick(-128, 127) : pick(0, 255));
}

static void conv_integer_is_exact(void **state)
{
    (void) state;
    for (int round = 0; round < 240; round++) {
        const struct geometry g = pick_geometry(round);
        const int32_t x_type = eight_bits(round, 0), w_type = eight_bits(round, 1);
        const double x_zero = pick_zero(x_type), w_zero = pick_zero(w_type);
        struct one_step s;

        add_operands(&s, &g, x_type, w_type);
        one_step_input(&s, x_type, SCALAR, &x_zero);
        one_step_input(&s, w_type, SCALAR, &w_zero);
        one_step_node(&s, "ConvInteger", 1);
        set_attributes(&s, &g);
        assert_ok(one_step_run(&s), &s.err);
        for (int64_t i = 0; i < pith_shape_elements(&s.output[0].shape); i++) {
            const double want = plain_sum(&g, &s.data[0], &s.data[1], x_zero, w_zero, i);

            if (pith_tensor_get(&s.output[0], i) != want)
                fail_msg("round %d, element %lld: %g, not %g", round, (long long) i,
                         pith_tensor_get(&s.output[0], i), want);
        }
        one_step_done(&s);
    }
}

/* The sum is exact and below 2^23 here, so float holds it; its product with the float of a double
 * scale is within 2 * 2^-24 of its size, which is at most 2^10 steps before it is limited: 1.3e-4
 * of a step. Only what lies so close to a half may be rounded the other way. */
static void quantized_convolution_rounds_once(void **state)
{
    (void) state;
    for (int round = 0; round < 240; round++) {
        const struct geometry g = pick_geometry(round);
        const int32_t x_type = eight_bits(round, 0), y_type = eight_bits(round, 1);
        const int64_t channels = g.groups * g.out_channels;
        const double x_zero = pick_zero(x_type), y_zero = pick_zero(y_type);
        const double x_scale = 0.015625, y_scale = 64.0 + (double) pick(0, 64);
        const double low = y_type == PITH_INT8 ? -128 : 0;
        double *scale = malloc((size_t) channels * sizeof *scale);
        struct one_step s;

        assert_non_null(scale);
        one_step_init(&s, 13);
        int64_t dims[2 + SPATIAL];

        dims_of(&g, g.batch, g.groups * g.in_channels, g.in, dims);
        struct pith_tensor *x = one_step_input(&s, x_type, dims, g.spatial + 2, NULL);

        one_step_input(&s, PITH_FLOAT32, SCALAR, &x_scale);
        one_step_input(&s, x_type, SCALAR, &x_zero);
        dims_of(&g, channels, g.in_channels, g.kernel, dims);
        struct pith_tensor *w = one_step_input(&s, PITH_INT8, dims, g.spatial + 2, NULL);

        for (int64_t i = 0; i < pith_shape_elements(&x->shape); i++)
            pith_tensor_set(x, i, pick_zero(x_type));
        for (int64_t i = 0; i < pith_shape_elements(&w->shape); i++)
            pith_tensor_set(w, i, (double) pick(-127, 127));
        for (int64_t m = 0; m < channels; m++)
            scale[m] = (double) (float) (0.5 + 0.1 * (double) m);
        one_step_input(&s, PITH_FLOAT32, &channels, 1, scale);
        double *zeros = calloc((size_t) channels, sizeof *zeros);

        assert_non_null(zeros);
        one_step_input(&s, PITH_INT8, &channels, 1, zeros);
        free(zeros);
        one_step_input(&s, PITH_FLOAT32, SCALAR, &y_scale);
        one_step_input(&s, y_type, SCALAR, &y_zero);
        struct pith_tensor *bias = one_step_input(&s, PITH_INT32, &channels, 1, NULL);

        for (int64_t m = 0; m < channels; m++)
            pith_tensor_set(bias, m, (double) pick(-5000, 5000));
        one_step_node(&s, "QLinearConv", 1);
        set_attributes(&s, &g);
        assert_ok(one_step_run(&s), &s.err);
        for (int64_t i = 0; i < pith_shape_elements(&s.output[0].shape); i++) {
            const int64_t m = i / product(g.out) % channels;
            const double sum = plain_sum(&g, x, w, x_zero, 0, i) + pith_tensor_get(bias, m);
            double want = sum * x_scale * scale[m] / y_scale + y_zero;

            want = want < low ? low : want > low + 255 ? low + 255 : want;
            if (!(fabs(pith_tensor_get(&s.output[0], i) - want) <= 0.5 + 1.3e-4))
                fail_msg("round %d, element %lld: %g, not %g", round, (long long) i,
                         pith_tensor_get(&s.output[0], i), want);
        }
        free(scale);
        one_step_done(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(float_convolution_is_the_plain_sum),
        cmocka_unit_test(conv_integer_is_exact),
        cmocka_unit_test(quantized_convolution_rounds_once),
    };

    return cmocka_run_group_tests_name("conv", tests, NULL, NULL);
}
