/* Channels-last float32 kernels: convolution against sums in double, all others against their
 * planar kernels, over odd sizes, halos, slices of wider values, and cut into parts. */
#include "tests/unit/image_step.h"

#include "tests/unit/each_isa.h"

static uint32_t seed = 7;

static int64_t pick(int64_t low, int64_t high)
{
    seed = seed * 1664525U + 1013904223U;
    return low + (int64_t) (seed >> 8) % (high - low + 1);
}

static void fill(struct pith_tensor *t)
{
    for (int64_t i = 0; i < pith_shape_elements(&t->shape); i++)
        pith_tensor_set(t, i, (double) pick(0, 1 << 23) / (1 << 22) - 1.0);
}

static struct image_step_options pick_options(int round)
{
    struct image_step_options o = {.in_gap = round % 3 == 1 ? pick(1, 9) : 0,
                                   .out_gap = round % 4 == 1 ? pick(1, 9) : 0,
                                   .parts = (uint32_t) (round % 5 == 2 ? pick(1, 3) : 0),
                                   .tight_rows = round % 2 == 0};

    for (int i = 0; i < 4; i++) {
        o.halo[i] = (int32_t) pick(0, 1);
        o.out_halo[i] = (int32_t) pick(0, 2);
    }
    if (round % 3 == 2)
        o.activation = (struct pith_activation){true, 0.25F, -0.75F, 1.5F};
    return o;
}

/* ---- convolution ---- */

struct geometry {
    uint32_t rank;
    int64_t batch, groups, in_channels, out_channels; /* channels of a group */
    int64_t in[2], out[2], kernel[2], stride[2], dilation[2], pad[2], pad_end[2];
};

static void finish_geometry(struct geometry *g)
{
    for (int d = 0; d < 2; d++) {
        const int64_t reach = (g->kernel[d] - 1) * g->dilation[d] + 1;

        if (g->in[d] + g->pad[d] + g->pad_end[d] < reach)
            g->in[d] = reach;
        g->out[d] = (g->in[d] + g->pad[d] + g->pad_end[d] - reach) / g->stride[d] + 1;
    }
}

static struct geometry pick_geometry(int round)
{
    struct geometry g = {.rank = round % 4 == 3 ? 3 : 4, .batch = 1 + round % 2, .groups = 1};
    const int64_t kind = pick(0, 6); /* 0, 1: depthwise; 2: grouped; 3: 1x1; else dense */

    g.in_channels = kind < 2 ? 1 : kind == 2 ? pick(1, 6) : pick(1, round % 3 == 0 ? 70 : 9);
    g.out_channels = kind == 0 ? 1 : kind == 1 ? pick(1, 3) : pick(1, round % 3 == 1 ? 70 : 9);
    if (kind < 3)
        g.groups = kind < 2 ? pick(2, 70) : pick(2, 4);
    for (int d = 0; d < 2; d++) {
        const bool unit = g.rank == 3 && d == 0;

        g.kernel[d] = kind == 3 || unit ? 1 : kind == 4 ? 3 : pick(1, 5);
        g.stride[d] = unit ? 1 : kind == 4 && round % 3 ? 1 : pick(1, 3);
        g.dilation[d] = kind == 4 || unit ? 1 : pick(1, 2);
        g.pad[d] = unit ? 0 : pick(0, 2);
        g.pad_end[d] = unit ? 0 : pick(0, 2);
        g.in[d] = unit ? 1 : pick(1, 19);
    }
    finish_geometry(&g);
    return g;
}

static void add_conv(struct one_step *s, const struct geometry *g)
{
    const int64_t spatial = g->rank - 2, at = 2 - spatial;
    int64_t dims[4] = {g->batch, g->groups * g->in_channels}, pads[4];

    one_step_init(s, 13);
    memcpy(dims + 2, g->in + at, (size_t) spatial * sizeof *dims);
    fill(one_step_input(s, PITH_FLOAT32, dims, g->rank, NULL));
    dims[0] = g->groups * g->out_channels;
    dims[1] = g->in_channels;
    memcpy(dims + 2, g->kernel + at, (size_t) spatial * sizeof *dims);
    fill(one_step_input(s, PITH_FLOAT32, dims, g->rank, NULL));
    if (pick(0, 3) > 0)
        fill(one_step_input(s, PITH_FLOAT32, dims, 1, NULL));
    one_step_node(s, "Conv", 1);
    memcpy(pads, g->pad + at, (size_t) spatial * sizeof *pads);
    memcpy(pads + spatial, g->pad_end + at, (size_t) spatial * sizeof *pads);
    assert_int_equal(pith_node_set_ints(s->graph, s->node, "pads", pads, (size_t) (2 * spatial)),
                     0);
    assert_int_equal(
        pith_node_set_ints(s->graph, s->node, "strides", g->stride + at, (size_t) spatial), 0);
    assert_int_equal(
        pith_node_set_ints(s->graph, s->node, "dilations", g->dilation + at, (size_t) spatial), 0);
    one_step_int(s, "group", g->groups);
}

/* The exact sum for output element (n,m,y,x), and in *magnitude that of the terms' magnitudes. */
static double exact_sum(const struct one_step *s, const struct geometry *g, int64_t n, int64_t m,
                        int64_t y, int64_t x, double *magnitude)
{
    const float *in = s->data[0].data, *w = s->data[1].data;
    double sum = s->input_count > 2 ? (double) ((const float *) s->data[2].data)[m] : 0.0;

    *magnitude = fabs(sum);
    for (int64_t c = 0; c < g->in_channels; c++)
        for (int64_t ky = 0; ky < g->kernel[0]; ky++)
            for (int64_t kx = 0; kx < g->kernel[1]; kx++) {
                const int64_t row = y * g->stride[0] - g->pad[0] + ky * g->dilation[0];
                const int64_t col = x * g->stride[1] - g->pad[1] + kx * g->dilation[1];
                const int64_t channel = m / g->out_channels * g->in_channels + c;
                double term;

                if (row < 0 || row >= g->in[0] || col < 0 || col >= g->in[1])
                    continue;
                term =
                    (double) in[((n * g->groups * g->in_channels + channel) * g->in[0] + row) *
                                    g->in[1] +
                                col] *
                    (double) w[((m * g->in_channels + c) * g->kernel[0] + ky) * g->kernel[1] + kx];
                sum += term;
                *magnitude += fabs(term);
            }
    return sum;
}

/* A float sum of n terms, in whatever order, is within n * 2^-24 of the sum of their magnitudes
 * from the exact one; products that round add one rounding a term, bias and residual one each.
 * Winograd's transforms of a 4x4 tile amplify that; `slack` is by how much. */
static void check_conv(struct one_step *s, const struct geometry *g,
                       const struct image_step_options *o, double slack)
{
    const int64_t depth = g->in_channels * g->kernel[0] * g->kernel[1];
    const struct pith_activation none = PITH_ACTIVATION_NONE;
    const struct pith_activation *act = o->activation.set ? &o->activation : &none;
    const int64_t channels = g->groups * g->out_channels;
    int64_t i = 0;

    for (int64_t n = 0; n < g->batch; n++)
        for (int64_t m = 0; m < channels; m++)
            for (int64_t y = 0; y < g->out[0]; y++)
                for (int64_t x = 0; x < g->out[1]; x++, i++) {
                    double magnitude;
                    double want = exact_sum(s, g, n, m, y, x, &magnitude);
                    const double got = pith_tensor_get(&s->output[0], i);

                    want = (double) pith_activate(act, (float) want);
                    if (o->residual.set) {
                        const double more = pith_tensor_get(&s->data[s->input_count], i);

                        magnitude += fabs(more);
                        want = (double) pith_activate(&o->residual.after, (float) (want + more));
                    }
                    if (!(fabs(got - want) <=
                          slack * (double) (depth + 3) * 6e-8 * (magnitude + 1)))
                        fail_msg("[%d,%d,%d,%d] is %.8g, not %.8g; %dx%d taps, %d channels in %d "
                                 "groups to %d, stride %d %d, "
                                 "dilation %d %d",
                                 (int) n, (int) m, (int) y, (int) x, got, want, (int) g->kernel[0],
                                 (int) g->kernel[1], (int) g->in_channels, (int) g->groups,
                                 (int) g->out_channels, (int) g->stride[0], (int) g->stride[1],
                                 (int) g->dilation[0], (int) g->dilation[1]);
                }
}

static void run_conv(const struct geometry *g, struct image_step_options o, bool residual,
                     double slack)
{
    struct one_step s;

    add_conv(&s, g);
    o.constants = s.input_count > 2 ? 6 : 2;
    for (int d = 0; d < 2; d++) {
        const int64_t behind = (g->out[d] - 1) * g->stride[d] - g->pad[d] +
                               (g->kernel[d] - 1) * g->dilation[d] + 1 - g->in[d];

        o.halo[2 * d] += (int32_t) g->pad[d];
        o.halo[2 * d + 1] += (int32_t) (behind > 0 ? behind : 0);
    }
    assert_ok(one_step_infer(&s, false), &s.err);
    if (residual) {
        const struct pith_shape *y = pith_value_shape(s.graph, s.output_value[0]);

        assert_ok(pith_tensor_alloc(&s.data[s.input_count], PITH_FLOAT32, y, &s.err), &s.err);
        fill(&s.data[s.input_count]);
        o.residual = (struct pith_residual){.set = true, .after = {true, 0.5F, -2.0F, 3.0F}};
    }
    assert_ok(image_step_run(&s, &o), &s.err);
    check_conv(&s, g, &o, slack);
    one_step_done(&s);
}

static void convolution_is_the_plain_sum(void **state)
{
    (void) state;
    for (struct each_isa each = {0}; each_isa(&each);)
        for (int round = 0; round < 400; round++) {
            const struct geometry g = pick_geometry(round);
            const bool winograd = g.kernel[0] == 3 && g.kernel[1] == 3 && g.groups == 1;

            run_conv(&g, pick_options(round), round % 3 == 1, winograd ? 64.0 : 1.0);
        }
}

/* Depthwise over single pixels with nothing between rows: what is dense is one row of a whole
 * picture then. */
static void depthwise_of_single_pixels_stays_in_its_picture(void **state)
{
    (void) state;
    for (struct each_isa each = {0}; each_isa(&each);)
        for (int round = 0; round < 40; round++) {
            struct geometry g = {.rank = 4 - round % 2,
                                 .batch = 1 + round % 3,
                                 .groups = pick(2, 40),
                                 .in_channels = 1,
                                 .out_channels = 1,
                                 .in = {round % 2 ? 1 : pick(1, 13), pick(1, 13)},
                                 .kernel = {1, 1},
                                 .stride = {1, 1},
                                 .dilation = {1, 1}};

            finish_geometry(&g);
            run_conv(&g,
                     (struct image_step_options){.tight_rows = true, .parts = (uint32_t) round % 4},
                     round % 5 == 1, 1.0);
        }
}

/* The transforms multiply by up to 8 and 5 in each direction, and add up to six terms: their
 * roundings and cancellations come to well below 64 times those of direct sums. */
static void winograd_is_near_the_plain_sum(void **state)
{
    (void) state;
    for (struct each_isa each = {0}; each_isa(&each);)
        for (int round = 0; round < 40; round++) {
            struct geometry g = {.rank = 4,
                                 .batch = 1 + round % 2,
                                 .groups = 1,
                                 .in_channels = pick(12, 70),
                                 .out_channels = pick(12, 70),
                                 .in = {pick(4, 17), pick(4, 17)},
                                 .kernel = {3, 3},
                                 .stride = {1, 1},
                                 .dilation = {1, 1},
                                 .pad = {pick(0, 2), pick(0, 2)},
                                 .pad_end = {pick(0, 2), pick(0, 2)}};

            finish_geometry(&g);
            run_conv(&g, pick_options(round), round % 3 == 1, 64.0);
        }
}

/* Pictures whose pixels are one row, cut into parts anywhere and walked in turns, dense and depthwise; and windows over few
 * rows, of which parts are channels. */
static void single_pixels_and_few_rows_are_cut_evenly(void **state)
{
    (void) state;
    for (struct each_isa each = {0}; each_isa(&each);)
        for (int round = 0; round < 24; round++) {
            const bool depthwise = round % 3 == 0;
            const int64_t channels = pick(2, 70), kernel = depthwise && round % 2 ? 3 : 1;
            struct geometry g = {.rank = 4,
                                 .batch = 1 + round % 2,
                                 .groups = depthwise ? channels : 1,
                                 .in_channels = depthwise ? 1 : channels,
                                 .out_channels = depthwise ? 1 : pick(1, 40),
                                 .in = {pick(3, 14), pick(3, 14)},
                                 .kernel = {kernel, kernel},
                                 .stride = {1, 1},
                                 .dilation = {1, 1}};
            const struct image_step_options o = {.parts = (uint32_t) pick(1, 4), .tight_rows = true};

            finish_geometry(&g);
            run_conv(&g, o, false, 1.0);
        }
}

static void convolution_refuses_a_halo_that_is_too_small(void **state)
{
    struct image_step_options o = {.constants = 6};
    struct geometry g = {.rank = 4,
                         .batch = 1,
                         .groups = 1,
                         .in_channels = 2,
                         .out_channels = 3,
                         .in = {4, 5},
                         .kernel = {3, 3},
                         .stride = {1, 1},
                         .dilation = {1, 1},
                         .pad = {1, 1},
                         .pad_end = {1, 1}};
    struct one_step s;

    (void) state;
    finish_geometry(&g);
    add_conv(&s, &g);
    assert_ok(one_step_infer(&s, false), &s.err);
    assert_int_equal(image_step_run(&s, &o), -EINVAL);
    assert_string_equal(
        pith_error_text(&s.err),
        "Conv \"n\": the window reaches 1 before and 1 past the picture, whose halo has 0 and 0");
    one_step_done(&s);
}

/* ---- against planar kernels ---- */

/* Runs the node of s both ways; a and b may differ by `allowed` of their magnitude. Ends s. */
static void both_layouts(struct one_step *s, struct image_step_options o, double allowed)
{
    struct pith_tensor planar;

    assert_ok(one_step_run(s), &s->err);
    planar = s->output[0];
    s->output[0] = (struct pith_tensor){0};
    pith_step_done(&s->step);
    assert_ok(image_step_run(s, &o), &s->err);
    for (int64_t i = 0; i < pith_shape_elements(&planar.shape); i++) {
        const double got = pith_tensor_get(&s->output[0], i);
        double want = pith_tensor_get(&planar, i);

        want = o.activation.set ? (double) pith_activate(&o.activation, (float) want) : want;
        if (!(fabs(got - want) <= allowed * (fabs(want) + 1)) && !(isnan(got) && isnan(want)) &&
            got != want)
            fail_msg("%s: element %d is %.9g, not %.9g", pith_node_op(s->graph, s->node), (int) i,
                     got, want);
    }
    pith_tensor_free(&planar);
    one_step_done(s);
}

static void on_every_isa(void (*check)(void))
{
    for (struct each_isa each = {0}; each_isa(&each);)
        check();
}

static void check_pools(void)
{
    for (int round = 0; round < 160; round++) {
        struct image_step_options o = pick_options(round);
        const uint32_t rank = round % 4 == 3 ? 3 : 4;
        const size_t spatial = rank - 2;
        int64_t dims[4] = {1 + round % 2, pick(1, 70), pick(5, 11), pick(5, 11)};
        int64_t kernel[2], strides[2], pads[4], dilations[2];
        struct one_step s;

        o.activation.set = false;
        for (int d = 0; d < 2; d++) {
            kernel[d] = pick(1, 3);
            strides[d] = pick(1, 3);
            dilations[d] = pick(1, 2);
        }
        for (int d = 0; d < 4; d++)
            pads[d] = pick(0, kernel[d % (int) spatial] - 1);
        one_step_init(&s, 19);
        fill(one_step_input(&s, PITH_FLOAT32, dims, rank, NULL));
        one_step_node(&s, round % 2 ? "MaxPool" : "AveragePool", 1);
        assert_int_equal(pith_node_set_ints(s.graph, s.node, "kernel_shape", kernel, spatial), 0);
        assert_int_equal(pith_node_set_ints(s.graph, s.node, "strides", strides, spatial), 0);
        assert_int_equal(pith_node_set_ints(s.graph, s.node, "dilations", dilations, spatial), 0);
        assert_int_equal(pith_node_set_ints(s.graph, s.node, "pads", pads, 2 * spatial), 0);
        one_step_int(&s, "ceil_mode", round % 3 == 0);
        if (round % 2 == 0)
            one_step_int(&s, "count_include_pad", round % 4 == 0);
        both_layouts(&s, o, 1e-6);
    }
}

static void pools_are_as_planar_ones(void **state)
{
    (void) state;
    on_every_isa(check_pools);
}

static void check_global_pools(void)
{
    for (int round = 0; round < 40; round++) {
        struct image_step_options o = pick_options(round);
        int64_t dims[4] = {1 + round % 3, pick(1, 140), pick(1, 30), pick(1, 30)};
        struct one_step s;

        o.activation.set = false;
        one_step_init(&s, 13);
        fill(one_step_input(&s, PITH_FLOAT32, dims, round % 4 == 3 ? 3 : 4, NULL));
        one_step_node(&s, round % 2 ? "GlobalMaxPool" : "GlobalAveragePool", 1);
        both_layouts(&s, o, 2e-6);
    }
}

static void global_pools_are_as_planar_ones(void **state)
{
    (void) state;
    on_every_isa(check_global_pools);
}

static void check_max_pool(void)
{
    struct image_step_options o = {0};
    struct one_step s;

    one_step_init(&s, 13);
    one_step_input(&s, PITH_FLOAT32, DIMS(1, 1, 1, 4), NUMBERS(1, NAN, 3, 2));
    one_step_node(&s, "GlobalMaxPool", 1);
    assert_ok(one_step_infer(&s, false), &s.err);
    assert_ok(image_step_run(&s, &o), &s.err);
    assert_true(isnan(pith_tensor_get(&s.output[0], 0)));
    one_step_done(&s);
}

static void max_pool_keeps_nan(void **state)
{
    (void) state;
    on_every_isa(check_max_pool);
}

static void pairs_broadcast_as_planar_ones(void **state)
{
    static const char *const ops[] = {"Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu"};

    (void) state;
    for (int round = 0; round < 280; round++) {
        struct image_step_options o = pick_options(round);
        const char *op = ops[round % 7];
        const uint32_t rank = round % 9 == 4 ? 3 : 4;
        int64_t a[4] = {pick(1, 2), pick(1, 40), pick(1, 7), pick(1, 7)}, b[4];
        const uint32_t mask = (uint32_t) pick(0, 15);
        uint32_t cut = 0;
        struct one_step s;

        for (uint32_t d = 0; d < rank; d++)
            b[d] = mask >> d & 1 ? a[d] : 1;
        o.constants = round % 2 || strcmp(op, "PRelu") == 0 ? 2 : 0;
        if (o.constants)
            cut = (uint32_t) pick(0, rank); /* leading dimensions left out */
        for (uint32_t d = 0; !o.constants && strcmp(op, "PRelu") != 0 && d < rank; d++)
            if (pick(0, 3) == 0) /* the first may broadcast too */
                a[d] = pick(0, 1) ? 1 : a[d];
        one_step_init(&s, 13);
        fill(one_step_input(&s, PITH_FLOAT32, a, rank, NULL));
        fill(one_step_input(&s, PITH_FLOAT32, b + cut, rank - cut, NULL));
        one_step_node(&s, op, 1);
        both_layouts(&s, o, 0.0);
    }
}

static void single_operands_are_as_planar_ones(void **state)
{
    static const char *const ops[] = {"BatchNormalization", "Clip",      "Relu", "Sigmoid",
                                      "HardSwish",          "LeakyRelu", "Tanh", "Abs"};

    (void) state;
    for (int round = 0; round < 120; round++) {
        struct image_step_options o = pick_options(round);
        const char *op = ops[round % 8];
        int64_t dims[4] = {pick(1, 2), pick(1, 40), pick(1, 7), pick(1, 7)};
        struct one_step s;

        one_step_init(&s, 14);
        fill(one_step_input(&s, PITH_FLOAT32, dims, round % 9 == 4 ? 3 : 4, NULL));
        o.activation.set = o.activation.set && round % 8 < 2;
        o.constants = 30;
        for (int i = 0; i < 4 && round % 8 == 0; i++) {
            struct pith_tensor *t = one_step_input(&s, PITH_FLOAT32, &dims[1], 1, NULL);

            fill(t);
            for (int64_t c = 0; c < dims[1] && i == 3; c++)
                pith_tensor_set(t, c, pith_tensor_get(t, c) + 1.5);
        }
        if (round % 8 == 1) {
            one_step_input(&s, PITH_FLOAT32, SCALAR, NUMBERS(-0.5));
            one_step_input(&s, PITH_FLOAT32, SCALAR, NUMBERS(0.25));
        }
        one_step_node(&s, op, 1);
        both_layouts(&s, o, 0.0);
    }
}

/* Weights of rows and columns are multiplied before they meet a pixel, where planar passes round in
 * between: a few roundings of sums of at most 16 terms of magnitude 1, cubic weights up to 1.6. */
static void resizes_are_as_planar_ones(void **state)
{
    static const char *const modes[] = {"nearest", "linear", "cubic"};
    static const char *const places[] = {"half_pixel", "asymmetric", "align_corners",
                                         "pytorch_half_pixel"};

    (void) state;
    for (int round = 0; round < 120; round++) {
        struct image_step_options o = pick_options(round);
        const uint32_t rank = round % 5 == 4 ? 3 : 4;
        const int64_t dims[4] = {pick(1, 2), pick(1, 40), pick(2, 9), pick(2, 9)};
        const double scales[4] = {1.0, 1.0, (double) pick(2, 12) / 4, (double) pick(2, 12) / 4};
        struct one_step s;

        o.activation.set = false;
        o.constants = 14;
        one_step_init(&s, 13);
        fill(one_step_input(&s, PITH_FLOAT32, dims, rank, NULL));
        one_step_left_out(&s);
        one_step_input(&s, PITH_FLOAT32, DIMS(rank), scales);
        one_step_node(&s, "Resize", 1);
        assert_int_equal(pith_node_set_string(s.graph, s.node, "mode", modes[round % 3]), 0);
        assert_int_equal(pith_node_set_string(s.graph, s.node, "coordinate_transformation_mode",
                                              places[round % 4]),
                         0);
        both_layouts(&s, o, 4e-6);
    }
}

static void pads_are_as_planar_ones(void **state)
{
    static const char *const modes[] = {"constant", "edge", "reflect"};

    (void) state;
    for (int round = 0; round < 120; round++) {
        struct image_step_options o = pick_options(round);
        const uint32_t rank = round % 5 == 4 ? 3 : 4;
        const int64_t dims[4] = {pick(3, 4), pick(3, 40), pick(3, 9), pick(3, 9)};
        double pads[8] = {0};
        struct one_step s;

        for (uint32_t d = 0; d < rank; d++)
            for (uint32_t end = 0; end < 2 && (d >= 2 || round % 4 == 1); end++)
                pads[end * rank + d] = (double) pick(-1, d < 2 ? 1 : 2);
        o.activation.set = false;
        o.constants = 6;
        one_step_init(&s, 13);
        fill(one_step_input(&s, PITH_FLOAT32, dims, rank, NULL));
        one_step_input(&s, PITH_INT64, DIMS(2 * rank), pads);
        one_step_input(&s, PITH_FLOAT32, SCALAR, NUMBERS(-0.625));
        one_step_node(&s, "Pad", 1);
        assert_int_equal(pith_node_set_string(s.graph, s.node, "mode", modes[round % 3]), 0);
        both_layouts(&s, o, 0.0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolution_is_the_plain_sum),
        cmocka_unit_test(depthwise_of_single_pixels_stays_in_its_picture),
        cmocka_unit_test(winograd_is_near_the_plain_sum),
        cmocka_unit_test(single_pixels_and_few_rows_are_cut_evenly),
        cmocka_unit_test(convolution_refuses_a_halo_that_is_too_small),
        cmocka_unit_test(pools_are_as_planar_ones),
        cmocka_unit_test(global_pools_are_as_planar_ones),
        cmocka_unit_test(max_pool_keeps_nan),
        cmocka_unit_test(pairs_broadcast_as_planar_ones),
        cmocka_unit_test(single_operands_are_as_planar_ones),
        cmocka_unit_test(resizes_are_as_planar_ones),
        cmocka_unit_test(pads_are_as_planar_ones),
    };

    return cmocka_run_group_tests_name("image_f32", tests, NULL, NULL);
}
