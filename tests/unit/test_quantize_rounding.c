/* The arithmetic of rounding: factors, Gram matrices and the levels that follow from them, against
 * plain forms of the same. */
#include "plugins/techniques/quantize/adaround.h"
#include "plugins/techniques/quantize/cholesky.h"
#include "plugins/techniques/quantize/descend.h"
#include "plugins/techniques/quantize/gptq.h"
#include "plugins/techniques/quantize/gram.h"
#include "tests/testing.h"
#include "tests/unit/nets.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST 70

/* x x' of columns that depend on one another. */
static void draw_gram(float *gram, size_t width, size_t count)
{
    float x[MOST];

    memset(gram, 0, width * width * sizeof *gram);
    for (size_t n = 0; n < count; n++) {
        float common = net_uniform();

        for (size_t i = 0; i < width; i++)
            x[i] = common + 0.7f * net_uniform() + (i % 3 == 0 ? 0.5f : 0);
        for (size_t i = 0; i < width; i++)
            for (size_t j = 0; j < width; j++)
                gram[i * width + j] += x[i] * x[j];
    }
}

static void cholesky_multiplies_back_to_the_matrix(void **unused)
{
    (void) unused;
    for (size_t width = 1; width < MOST; width += 7) {
        float gram[MOST * MOST];
        double l[MOST * MOST];

        draw_gram(gram, width, 2 * width + 3);
        for (size_t i = 0; i < width * width; i++)
            l[i] = (double) gram[i];
        assert_true(cholesky(l, width));
        for (size_t i = 0; i < width; i++)
            for (size_t j = 0; j <= i; j++) {
                double sum = 0;

                for (size_t k = 0; k <= j; k++)
                    sum += l[i * width + k] * l[j * width + k];
                /* 70 products of doubles: 70 * 2^-53 of the sum. */
                assert_true(fabs(sum - (double) gram[i * width + j]) <=
                            1e-12 * (double) gram[i * width + i] + 1e-12);
            }
    }
}

static void cholesky_refuses_what_is_not_positive(void **unused)
{
    double a[] = {1, 0, 2, 1}, b[] = {NAN};

    (void) unused;
    assert_false(cholesky(a, 2));
    assert_false(cholesky(b, 1));
}

/* By hand: two inputs that are always equal. Rounding 0.4 and 0.4 to the nearest loses 0.8; one of
 * them up makes it 0.2. */
static void gptq_lets_one_weight_make_up_for_another(void **unused)
{
    const float gram[] = {100, 100, 100, 100}, w[] = {0.4f, 0.4f}, scale[] = {1, 1};
    int8_t levels[2];
    struct gptq gptq;

    (void) unused;
    assert_int_equal(gptq_init(&gptq, gram, 2, 2), 0);
    gptq_round(&gptq, w, scale, 7, levels);
    assert_int_equal(levels[0] + levels[1], 1);
    /* (0.2)^2 * 100 and what the damping, 1, adds: 0.4^2 + 0.6^2. */
    assert_true(fabs(gptq_error(&gptq, w, scale, levels) - (4 + 0.52)) < 1e-4);
    gptq_done(&gptq);
}

static double plain_error(const float *gram, size_t width, const float *w, const float *scale,
                          const int8_t *levels)
{
    double sum = 0;

    for (size_t i = 0; i < width; i++)
        for (size_t j = 0; j < width; j++)
            sum += ((double) w[i] - levels[i] * (double) scale[i]) * (double) gram[i * width + j] *
                   ((double) w[j] - levels[j] * (double) scale[j]);
    return sum;
}

/* Rows with a heavy tail, as trained ones have: one weight is far from the others. */
static void descent_errs_less_than_gptq_and_fits_its_scale(void **unused)
{
    double before = 0, levels_alone = 0, with_scale = 0;

    (void) unused;
    net_seed = 11;
    for (size_t width = 2; width < MOST; width += 9) {
        float gram[MOST * MOST], w[MOST], scale[MOST], own;
        int8_t levels[2][MOST];
        struct descent descent;
        struct gptq gptq;

        draw_gram(gram, width, 3 * width);
        for (size_t i = 0; i < width; i++) {
            w[i] = i == width / 2 ? 3 : net_uniform();
            scale[i] = 0.25f;
        }
        assert_int_equal(gptq_init(&gptq, gram, width, width), 0);
        assert_int_equal(descent_init(&descent, gram, width, width), 0);
        gptq_round(&gptq, w, scale, 7, levels[0]);
        memcpy(levels[1], levels[0], width);
        double came = gptq_error(&gptq, w, scale, levels[0]);
        double left = descend(&descent, w, scale[0], 7, levels[1]);

        /* What it says it left is what is left, and no more than what came. */
        assert_true(fabs(left - gptq_error(&gptq, w, scale, levels[1])) <= 1e-6 * came + 1e-9);
        assert_true(left <= came * (1 + 1e-9));
        before += came;
        levels_alone += left;
        own = scale[0];
        left = descend_with_scale(&descent, &gptq, w, 7, &own, levels[1]);
        for (size_t i = 0; i < width; i++) {
            scale[i] = own;
            assert_true(levels[1][i] >= -7 && levels[1][i] <= 7);
        }
        assert_true(fabs(left - gptq_error(&gptq, w, scale, levels[1])) <= 1e-6 * came + 1e-9);
        with_scale += left;
        descent_done(&descent);
        gptq_done(&gptq);
    }
    assert_true(levels_alone < before);
    assert_true(with_scale < 0.9 * levels_alone);
}

static void learned_levels_err_less_than_the_nearest(void **unused)
{
    double nearest = 0, gptq_sum = 0, learned = 0;

    (void) unused;
    net_seed = 5;
    for (size_t width = 3; width < MOST; width += 11)
        for (int repeat = 0; repeat < 4; repeat++) {
            float gram[MOST * MOST], w[MOST], scale[MOST];
            int8_t levels[3][MOST];
            struct gptq gptq;

            draw_gram(gram, width, 3 * width);
            for (size_t i = 0; i < width; i++) {
                w[i] = net_uniform();
                scale[i] = (repeat % 2 ? 0.6f : 1.0f) / 7; /* every other one cuts weights off */
                levels[0][i] = (int8_t) weight_level(w[i], scale[i], 7);
            }
            assert_int_equal(gptq_init(&gptq, gram, width, width), 0);
            gptq_round(&gptq, w, scale, 7, levels[1]);
            memcpy(levels[2], levels[1], width);
            assert_int_equal(adaround(gram, width, width, w, scale, 1, 7, 400, levels[2]), 0);
            for (size_t i = 0; i < width; i++)
                for (int k = 0; k < 3; k++)
                    assert_true(levels[k][i] >= -7 && levels[k][i] <= 7);
            nearest += plain_error(gram, width, w, scale, levels[0]);
            gptq_sum += plain_error(gram, width, w, scale, levels[1]);
            /* What was learned is taken only where it is better. */
            assert_true(plain_error(gram, width, w, scale, levels[2]) <=
                        plain_error(gram, width, w, scale, levels[1]) * (1 + 1e-4));
            learned += plain_error(gram, width, w, scale, levels[2]);
            gptq_done(&gptq);
        }
    assert_true(gptq_sum < 0.5 * nearest);
    assert_true(learned <= gptq_sum);
}

static void the_learning_gradient_is_that_of_finite_differences(void **unused)
{
    static const float betas[] = {0, 2, 3, 20};
    enum { WIDTH = 9 };
    const float step = 1e-2F;

    (void) unused;
    net_seed = 11;
    for (int only_second = 0; only_second < 2; only_second++) /* which is a hundredth of the first */
        for (size_t k = 0; k < sizeof betas / sizeof *betas; k++) {
            float gram[WIDTH * WIDTH], part[WIDTH], v[WIDTH], scratch[2 * WIDTH], gradient[WIDTH],
                other[WIDTH], differences[WIDTH], greatest = 0;

            draw_gram(gram, WIDTH, 3 * WIDTH);
            for (size_t i = 0; i < WIDTH; i++) {
                for (size_t j = 0; j < WIDTH; j++)
                    gram[i * WIDTH + j] = only_second ? 0 : gram[i < j ? i * WIDTH + j : j * WIDTH + i];
                part[i] = 0.5F * net_uniform() + 0.5F;
                v[i] = 2 * net_uniform();
            }
            v[WIDTH - 1] = 6; /* h is held at 1 there */
            (void) adaround_objective(gram, WIDTH, part, v, betas[k], scratch, gradient);
            for (size_t i = 0; i < WIDTH; i++) {
                const float at = v[i];

                v[i] = at + step;
                double above = adaround_objective(gram, WIDTH, part, v, betas[k], scratch, other);
                v[i] = at - step;
                double below = adaround_objective(gram, WIDTH, part, v, betas[k], scratch, other);

                v[i] = at;
                differences[i] = (float) ((above - below) / (2 * (double) step));
                greatest = fmaxf(greatest, fabsf(differences[i]));
            }
            assert_true(only_second && betas[k] == 0 ? greatest == 0 : greatest > 0);
            assert_true(gradient[WIDTH - 1] == 0);
            for (size_t i = 0; i < WIDTH; i++)
                if (!(fabsf(gradient[i] - differences[i]) <= 3e-3F * greatest))
                    fail_msg("beta %g, entry %zu: %g by the formula, %g by differences", (double) betas[k],
                             i, (double) gradient[i], (double) differences[i]);
        }
}

/* ---- the layer's inputs ---- */

struct conv {
    int64_t groups, in, out, height, width, kernel[2], stride[2], dilation[2], pads[4];
};

static struct pith_graph *conv_graph(const struct conv *conv, struct layer *layer)
{
    uint32_t x, node;
    struct pith_graph *graph = begin((int64_t[]){2, conv->in, conv->height, conv->width}, 4, &x);
    uint32_t w =
        CONSTANT(graph, 1, conv->out, conv->in / conv->groups, conv->kernel[0], conv->kernel[1]);
    uint32_t y = NODE(graph, "Conv", "conv", &node, x, w);

    assert_ok(pith_node_set_int(graph, node, "group", conv->groups), &net_err);
    assert_ok(pith_node_set_ints(graph, node, "strides", conv->stride, 2), &net_err);
    assert_ok(pith_node_set_ints(graph, node, "dilations", conv->dilation, 2), &net_err);
    assert_ok(pith_node_set_ints(graph, node, "pads", conv->pads, 4), &net_err);
    finish(graph, y);
    *layer = (struct layer){.node = node, .weight = w, .weight_input = 1, .sum_axis = 1};
    return graph;
}

/* Plain convolution of one output element. */
static double conv_at(const struct conv *conv, const float *x, const float *w, int64_t n, int64_t o,
                      int64_t row, int64_t column)
{
    int64_t inputs = conv->in / conv->groups, group = o / (conv->out / conv->groups);
    double sum = 0;

    for (int64_t c = 0; c < inputs; c++)
        for (int64_t i = 0; i < conv->kernel[0]; i++)
            for (int64_t j = 0; j < conv->kernel[1]; j++) {
                int64_t y = row * conv->stride[0] + i * conv->dilation[0] - conv->pads[0];
                int64_t z = column * conv->stride[1] + j * conv->dilation[1] - conv->pads[1];

                if (y >= 0 && y < conv->height && z >= 0 && z < conv->width)
                    sum +=
                        (double) x[((n * conv->in + group * inputs + c) * conv->height + y) *
                                       conv->width +
                                   z] *
                        (double) w[((o * inputs + c) * conv->kernel[0] + i) * conv->kernel[1] + j];
            }
    return sum;
}

static void columns_times_weights_are_the_convolution(void **unused)
{
    static const struct conv convs[] = {
        {1, 3, 4, 7, 5, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}},
        {2, 4, 6, 6, 9, {3, 2}, {2, 1}, {1, 2}, {0, 1, 1, 2}},
        {5, 5, 5, 8, 8, {3, 3}, {2, 2}, {1, 1}, {0, 0, 1, 1}},
        {1, 6, 2, 4, 3, {1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}},
    };

    (void) unused;
    for (size_t k = 0; k < sizeof convs / sizeof *convs; k++) {
        const struct conv *conv = &convs[k];
        float x[2 * 6 * 8 * 9], columns[64];
        struct linear_view view;
        struct linear linear;
        struct layer layer;
        struct pith_graph *graph = conv_graph(conv, &layer);
        const struct pith_shape *shape = pith_value_shape(graph, pith_graph_input(graph, 0));
        const float *w = pith_value_constant(graph, layer.weight)->data;

        for (int64_t i = 0; i < pith_shape_elements(shape); i++)
            x[i] = net_uniform();
        assert_true(linear_of(graph, &layer, &linear));
        assert_true(linear_look(&linear, shape, &view));
        const struct pith_shape *made = pith_value_shape(graph, pith_graph_output(graph, 0));

        assert_int_equal(view.positions, 2 * made->dim[2] * made->dim[3]);
        for (int64_t at = 0; at < view.positions; at++)
            for (int64_t row = 0; row < conv->out; row++) {
                double sum = 0;

                linear_gather(&view, x, at, row / linear.rows, columns);
                for (int64_t c = 0; c < linear.columns; c++)
                    sum += (double) columns[c] * (double) w[linear_index(&linear, row, c)];
                assert_true(fabs(sum - conv_at(conv, x, w, at / (made->dim[2] * made->dim[3]), row,
                                               at / made->dim[3] % made->dim[2],
                                               at % made->dim[3])) < 1e-5);
            }
        pith_graph_free(graph);
    }
}

static void gram_is_the_sum_of_outer_products(void **unused)
{
    static const struct conv conv = {2, 4, 6, 6, 9, {3, 2}, {2, 1}, {1, 2}, {0, 1, 1, 2}};
    float x[2 * 4 * 6 * 9], a[32], *scratch;
    struct linear_view view;
    struct linear linear;
    struct layer layer;
    struct gram gram;
    struct pith_graph *graph = conv_graph(&conv, &layer);
    const struct pith_shape *shape = pith_value_shape(graph, pith_graph_input(graph, 0));

    (void) unused;
    for (int64_t i = 0; i < pith_shape_elements(shape); i++)
        x[i] = net_uniform();
    assert_true(linear_of(graph, &layer, &linear) && linear_look(&linear, shape, &view));
    assert_int_equal(gram_init(&gram, &linear), 0);
    scratch = malloc(gram_scratch(&linear) * sizeof *scratch);
    assert_non_null(scratch);
    assert_true(gram_add(&gram, shape, x, 0, 1, scratch));
    assert_int_equal(gram.rows, view.positions); /* so few are all taken */
    for (int64_t group = 0; group < 2; group++) {
        int64_t from, width;
        const float *sum = gram_block(&gram, group, 0, &from, &width);
        double expected[32 * 32] = {0};

        assert_int_equal(width, linear.columns);
        for (int64_t at = 0; at < view.positions; at++) {
            linear_gather(&view, x, at, group, a);
            for (int64_t i = 0; i < width; i++)
                for (int64_t j = i; j < width; j++)
                    expected[i * width + j] += (double) a[i] * (double) a[j];
        }
        for (int64_t i = 0; i < width; i++)
            for (int64_t j = i; j < width; j++)
                assert_true(fabs(expected[i * width + j] -
                                 (double) sum[i * gram.block_columns + j]) < 1e-4);
    }
    free(scratch);
    gram_done(&gram);
    pith_graph_free(graph);
}

/* ---- weights on grids ---- */

static void int4_lies_as_onnx_says(void **unused)
{
    float values[] = {1, -2, 7, -7, 3};
    struct pith_tensor w = {PITH_FLOAT32, {1, {5}}, values, sizeof values}, q;
    struct weight_grid grid = {.bits = 4, .limit = 7, .axis = -1};
    float scale = 1;
    double sqnr_db;

    (void) unused;
    assert_ok(weights_to_integers(&w, &grid, &scale, NULL, &q, &sqnr_db, &net_err), &net_err);
    /* Two a byte, the first in the low half; the last byte is filled up with 0. */
    assert_int_equal(q.dtype, PITH_INT4);
    assert_int_equal(q.bytes, 3);
    assert_int_equal(((uint8_t *) q.data)[0], 0xe1);
    assert_int_equal(((uint8_t *) q.data)[1], 0x97);
    assert_int_equal(((uint8_t *) q.data)[2], 0x03);
    pith_tensor_free(&q);
}

static void scales_are_of_their_channel_or_block(void **unused)
{
    struct pith_shape shape = pith_shape_of(3, (int64_t[]){3, 7, 2});
    struct pith_tensor w;

    (void) unused;
    assert_ok(pith_tensor_alloc(&w, PITH_FLOAT32, &shape, &net_err), &net_err);
    for (int i = 0; i < 42; i++)
        ((float *) w.data)[i] = net_uniform();
    for (int32_t axis = -1; axis < 3; axis++)
        for (int64_t block = 0; block < 9; block += axis < 0 ? 9 : 2) {
            struct weight_grid grid = {.bits = 8, .limit = 127, .axis = axis, .block_size = block};
            float scale[42], most[42] = {0};
            size_t count = weight_scale_count(&w, &grid);

            assert_true(count <= 42);
            assert_int_equal(weight_scales(&w, &grid, scale), 0);
            for (int64_t i = 0; i < 42; i++) {
                int64_t at[3] = {i / 14, i / 2 % 7, i % 2}, dim[3] = {3, 7, 2};
                size_t index = 0;

                if (axis >= 0 && block == 0)
                    index = (size_t) at[axis];
                for (int k = 0; k < 3 && block > 0; k++) {
                    int64_t blocks = (dim[k] + block - 1) / block;

                    index = index * (size_t) (k == axis ? blocks : dim[k]) +
                            (size_t) (k == axis ? at[k] / block : at[k]);
                }
                assert_int_equal(index, weight_scale_index(&w, &grid, i));
                most[index] = fmaxf(most[index], fabsf(((float *) w.data)[i]));
            }
            for (size_t i = 0; i < count; i++)
                assert_true(fabsf(scale[i] * 127 - most[i]) <= 1e-6f);
        }
    pith_tensor_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cholesky_multiplies_back_to_the_matrix),
        cmocka_unit_test(cholesky_refuses_what_is_not_positive),
        cmocka_unit_test(gptq_lets_one_weight_make_up_for_another),
        cmocka_unit_test(descent_errs_less_than_gptq_and_fits_its_scale),
        cmocka_unit_test(learned_levels_err_less_than_the_nearest),
        cmocka_unit_test(the_learning_gradient_is_that_of_finite_differences),
        cmocka_unit_test(columns_times_weights_are_the_convolution),
        cmocka_unit_test(gram_is_the_sum_of_outer_products),
        cmocka_unit_test(int4_lies_as_onnx_says),
        cmocka_unit_test(scales_are_of_their_channel_or_block),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
