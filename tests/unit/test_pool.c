/* Pooling over odd windows, strides, dilations and pads, against loops over coordinates written
 * here, with sums in double; and what NaN does. */
#include "tests/unit/one_step.h"

#include <math.h>

static uint32_t seed = 7;

static int64_t pick(int64_t low, int64_t high)
{
    seed = seed * 1664525U + 1013904223U;
    return low + (int64_t) (seed >> 8) % (high - low + 1);
}

struct window {
    int64_t planes, in[2], out[2], kernel[2], stride[2], dilation[2], pad[2], pad_end[2];
};

static struct window pick_window(bool dilated)
{
    struct window w = {.planes = pick(1, 3)};

    for (int d = 0; d < 2; d++) {
        w.kernel[d] = pick(1, 4);
        w.stride[d] = pick(1, 3);
        w.dilation[d] = dilated ? pick(1, 2) : 1;
        w.pad[d] = pick(0, w.kernel[d] - 1);
        w.pad_end[d] = pick(0, w.kernel[d] - 1);
        w.in[d] = (w.kernel[d] - 1) * w.dilation[d] + pick(1, 37);
        w.out[d] = (w.in[d] + w.pad[d] + w.pad_end[d] - (w.kernel[d] - 1) * w.dilation[d] - 1) /
                       w.stride[d] +
                   1;
    }
    return w;
}

enum what { GREATEST, SUM, SQUARES, COUNT };

/* Over the elements under output `i` that are there. */
static double over(const struct window *w, const struct pith_tensor *x, int64_t i, enum what what)
{
    const int64_t plane = i / (w->out[0] * w->out[1]);
    double result = what == GREATEST ? -INFINITY : 0.0;

    for (int64_t ky = 0; ky < w->kernel[0]; ky++)
        for (int64_t kx = 0; kx < w->kernel[1]; kx++) {
            const int64_t y =
                i / w->out[1] % w->out[0] * w->stride[0] - w->pad[0] + ky * w->dilation[0];
            const int64_t at = i % w->out[1] * w->stride[1] - w->pad[1] + kx * w->dilation[1];
            double value;

            if (y < 0 || y >= w->in[0] || at < 0 || at >= w->in[1])
                continue;
            value = pith_tensor_get(x, (plane * w->in[0] + y) * w->in[1] + at);
            if (what == GREATEST)
                result = isnan(result) || value <= result ? result : value;
            else
                result += what == SUM ? value : what == SQUARES ? value * value : 1.0;
        }
    return result;
}

static struct pith_tensor *begin(struct one_step *s, const struct window *w, int32_t type,
                                 const char *op, size_t outputs)
{
    const int64_t pads[4] = {w->pad[0], w->pad[1], w->pad_end[0], w->pad_end[1]};
    struct pith_tensor *x;

    one_step_init(s, 19);
    x = one_step_input(s, type, DIMS(1, w->planes, w->in[0], w->in[1]), NULL);
    for (int64_t i = 0; i < pith_shape_elements(&x->shape); i++)
        pith_tensor_set(x, i,
                        type == PITH_UINT8  ? (double) pick(0, 255)
                        : type == PITH_INT8 ? (double) pick(-128, 127)
                                            : (double) pick(-1000, 1000) / 1024.0);
    one_step_node(s, op, outputs);
    assert_int_equal(pith_node_set_ints(s->graph, s->node, "kernel_shape", w->kernel, 2), 0);
    assert_int_equal(pith_node_set_ints(s->graph, s->node, "strides", w->stride, 2), 0);
    assert_int_equal(pith_node_set_ints(s->graph, s->node, "pads", pads, 4), 0);
    return x;
}

static void max_pooling_takes_the_greatest(void **state)
{
    static const int32_t types[] = {PITH_FLOAT32, PITH_FLOAT64, PITH_INT8, PITH_UINT8};

    (void) state;
    for (int round = 0; round < 400; round++) {
        const struct window w = pick_window(true);
        struct one_step s;
        struct pith_tensor *x = begin(&s, &w, types[round % 4], "MaxPool", 1 + round / 4 % 2);

        assert_int_equal(pith_node_set_ints(s.graph, s.node, "dilations", w.dilation, 2), 0);
        assert_ok(one_step_run(&s), &s.err);
        for (int64_t i = 0; i < pith_shape_elements(&s.output[0].shape); i++) {
            const double got = pith_tensor_get(&s.output[0], i);
            double want = over(&w, x, i, GREATEST);

            if (isinf(want) && round % 4 >= 2) /* dilated past all that is there */
                want = round % 4 == 2 ? -128 : 0;
            if (got != want)
                fail_msg("round %d, element %lld: %g, not %g", round, (long long) i, got, want);
            if (s.output_count > 1 && over(&w, x, i, COUNT) > 0)
                assert_true(pith_tensor_get(x, pith_tensor_get_int(&s.output[1], i)) == got);
        }
        one_step_done(&s);
    }
}

/* Wherever it lies in a window, with and without indices. */
static void max_pooling_keeps_nan(void **state)
{
    (void) state;
    for (int round = 0; round < 60; round++) {
        const struct window w = pick_window(false);
        struct one_step s;
        struct pith_tensor *x = begin(&s, &w, PITH_FLOAT32, "MaxPool", 1 + round % 2);

        pith_tensor_set(x, pick(0, pith_shape_elements(&x->shape) - 1), NAN);
        assert_ok(one_step_run(&s), &s.err);
        for (int64_t i = 0; i < pith_shape_elements(&s.output[0].shape); i++) {
            const double got = pith_tensor_get(&s.output[0], i);

            assert_int_equal(isnan(got), isnan(over(&w, x, i, SUM)));
        }
        one_step_done(&s);
    }
}

/* At most 16 numbers of magnitude <= 1 in float: each addition is off by at most 16 * 2^-24, and
 * the division by half a unit more: 17 * 16 * 6e-8 of a sum, before it is divided. */
static void average_pooling_is_the_mean(void **state)
{
    (void) state;
    for (int round = 0; round < 200; round++) {
        const struct window w = pick_window(false);
        struct one_step s;
        struct pith_tensor *x = begin(&s, &w, PITH_FLOAT32, "AveragePool", 1);

        one_step_int(&s, "count_include_pad", round % 2);
        assert_ok(one_step_run(&s), &s.err);
        for (int64_t i = 0; i < pith_shape_elements(&s.output[0].shape); i++) {
            const double count =
                round % 2 ? (double) (w.kernel[0] * w.kernel[1]) : over(&w, x, i, COUNT);

            assert_true(fabs(pith_tensor_get(&s.output[0], i) - over(&w, x, i, SUM) / count) <
                        17 * 16 * 6e-8);
        }
        one_step_done(&s);
    }
}

/* Sums in double inside: what is left is one rounding of a root of at most 4. */
static void lp_pooling_is_the_norm(void **state)
{
    (void) state;
    for (int round = 0; round < 100; round++) {
        const struct window w = pick_window(false);
        struct one_step s;
        struct pith_tensor *x = begin(&s, &w, PITH_FLOAT32, "LpPool", 1);

        assert_ok(one_step_run(&s), &s.err);
        for (int64_t i = 0; i < pith_shape_elements(&s.output[0].shape); i++)
            assert_true(fabs(pith_tensor_get(&s.output[0], i) - sqrt(over(&w, x, i, SQUARES))) <
                        4 * 6e-8);
        one_step_done(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(max_pooling_takes_the_greatest),
        cmocka_unit_test(max_pooling_keeps_nan),
        cmocka_unit_test(average_pooling_is_the_mean),
        cmocka_unit_test(lp_pooling_is_the_norm),
    };

    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
