/* Channels-last 8-bit convolution: the plain form against exact sums and one rounding, every other
 * form and every cut into parts against the plain one, bit for bit. */
#include "tests/unit/image_grid.h"

#include "libpith/kernels/image_conv_s8.h"

struct geometry {
    uint32_t rank;
    int64_t batch, groups, in_channels, out_channels; /* channels of a group */
    int64_t in[2], out[2], kernel[2], stride[2], dilation[2], pad[2], pad_end[2];
};

static struct geometry pick_geometry(int round)
{
    struct geometry g = {.rank = round % 5 == 3 ? 3 : 4, .batch = 1 + round % 2, .groups = 1};
    const int64_t kind = round % 8; /* 0 to 2: depthwise; 3: grouped; 4: 1x1; else dense */

    g.in_channels = kind < 3 ? 1 : kind == 3 ? pick(1, 6) : pick(1, round % 3 == 0 ? 70 : 9);
    g.out_channels = kind < 2 ? 1 : kind == 2 ? pick(1, 3) : pick(1, round % 2 ? 70 : 150);
    if (kind < 4)
        g.groups = kind == 1 ? INT64_C(1) << pick(1, 5) : kind < 3 ? pick(2, 150) : pick(2, 4);
    for (int d = 0; d < 2; d++) {
        const bool unit = (g.rank == 3 && d == 0) || kind == 4;

        g.kernel[d] = unit ? 1 : kind == 5 || kind == 0 ? 3 : pick(1, 5);
        g.stride[d] = unit && d == 0 ? 1 : kind == 5 || round % 3 ? 1 : pick(1, 3);
        g.dilation[d] = kind == 5 || kind == 0 || unit ? 1 : pick(1, 2);
        g.pad[d] = unit ? 0 : pick(0, 2);
        g.pad_end[d] = unit ? 0 : pick(0, 2);
        g.in[d] = g.rank == 3 && d == 0 ? 1 : pick(1, 19);
        const int64_t reach = (g.kernel[d] - 1) * g.dilation[d] + 1;

        if (g.in[d] + g.pad[d] + g.pad_end[d] < reach)
            g.in[d] = reach;
        g.out[d] = (g.in[d] + g.pad[d] + g.pad_end[d] - reach) / g.stride[d] + 1;
    }
    return g;
}

static struct pith_shape shape_of(uint32_t rank, int64_t n, int64_t c, const int64_t *spatial)
{
    struct pith_shape shape = {rank, {n, c, spatial[rank == 3 ? 1 : 0], spatial[1]}};

    if (rank == 3)
        shape.dim[3] = 0;
    return shape;
}

struct conv_case {
    struct geometry g;
    struct byte_step s;
    struct picture x, y, added;
    struct grid x_grid, y_grid, added_grid, between, b_grid;
    struct pith_quantization w_grid;
    float *w_scale, *bias;
    int32_t *w_zero;
    struct pith_tensor w;
    bool real, residual;
};

static void conv_attributes(struct conv_case *t)
{
    const struct geometry *g = &t->g;
    const size_t spatial = g->rank - 2, at = 2 - spatial;
    int64_t pads[4];

    memcpy(pads, g->pad + at, spatial * sizeof *pads);
    memcpy(pads + spatial, g->pad_end + at, spatial * sizeof *pads);
    assert_int_equal(pith_node_set_ints(t->s.graph, t->s.step.node, "pads", pads, 2 * spatial), 0);
    assert_int_equal(
        pith_node_set_ints(t->s.graph, t->s.step.node, "strides", g->stride + at, spatial), 0);
    assert_int_equal(
        pith_node_set_ints(t->s.graph, t->s.step.node, "dilations", g->dilation + at, spatial), 0);
    assert_int_equal(pith_node_set_int(t->s.graph, t->s.step.node, "group", g->groups), 0);
}

/* Most runs of four input channels hold weights of 0 alone; in every other case some channels as a
 * whole. */
static void clear_blocks(struct pith_tensor *w, bool channels)
{
    const int64_t in = w->shape.dim[1],
                  taps = pith_shape_elements(&w->shape) / w->shape.dim[0] / in;

    for (int64_t m = 0; m < w->shape.dim[0]; m++) {
        const bool whole = channels && pick(0, 3) == 0;

        for (int64_t k = 0; k < in; k += 4) {
            if (!whole && pick(0, 3) == 0)
                continue;
            for (int64_t c = k; c < in && c < k + 4; c++)
                for (int64_t tap = 0; tap < taps; tap++)
                    pith_tensor_set(w, (m * in + c) * taps + tap, 0.0);
        }
    }
}

static bool is_two_of_four(int round)
{
    return round % 5 == 2;
}

/* At most two of every four input channels of a tap hold weights that are not 0. */
static void keep_two_of_four(struct pith_tensor *w)
{
    const int64_t in = w->shape.dim[1],
                  taps = pith_shape_elements(&w->shape) / w->shape.dim[0] / in;

    for (int64_t m = 0; m < w->shape.dim[0]; m++)
        for (int64_t k = 0; k < in; k += 4)
            for (int64_t tap = 0; tap < taps; tap++) {
                const int64_t first = pick(0, 3), second = first + pick(1, 3);

                for (int64_t c = 0; c < 4 && k + c < in; c++)
                    if (c != first && c != second % 4)
                        pith_tensor_set(w, (m * in + k + c) * taps + tap, 0.0);
            }
}

/* Unsigned weights: those of every third channel reach further from their zero point than int8 does, on one side or both; with
 * one zero point for all. */
static void make_unsigned(struct conv_case *t, const struct pith_shape *shape)
{
    const int64_t channels = shape->dim[0], each = pith_shape_elements(shape) / channels;
    const int32_t zero = (int32_t) pick(100, 155);

    pith_tensor_free(&t->w);
    assert_int_equal(pith_tensor_alloc(&t->w, PITH_UINT8, shape, NULL), 0);
    for (int64_t m = 0; m < channels; m++) {
        t->w_zero[m] = zero;
        for (int64_t i = 0; i < each; i++)
            pith_tensor_set(&t->w, m * each + i, (double) (m % 3 == 0 ? pick(0, 255) : zero + pick(-100, 100)));
    }
    t->w_grid.dtype = PITH_UINT8;
}

static void conv_weights(struct conv_case *t, const struct pith_shape *shape, int round)
{
    const bool four_bits = round % 7 == 6 || round % 24 == 4;
    const int64_t channels = shape->dim[0];

    assert_int_equal(pith_tensor_alloc(&t->w, four_bits ? PITH_INT4 : PITH_INT8, shape, NULL), 0);
    for (int64_t i = 0; i < pith_shape_elements(shape); i++)
        pith_tensor_set(&t->w, i, (double) (four_bits ? pick(-8, 7) : pick(-128, 127)));
    if (round % 16 == 4)
        clear_blocks(&t->w, round % 32 == 4);
    t->w_scale = malloc((size_t) channels * sizeof *t->w_scale);
    t->w_zero = calloc((size_t) channels, sizeof *t->w_zero);
    t->bias = malloc((size_t) channels * sizeof *t->bias);
    assert_true(t->w_scale && t->w_zero && t->bias);
    for (int64_t m = 0; m < channels; m++) {
        t->w_scale[m] = 0.002F + 0.0001F * (float) pick(0, 50);
        t->bias[m] = (float) pick(-300, 300) / 10.0F;
    }
    t->w_grid = (struct pith_quantization){.dtype = t->w.dtype,
                                           .count = round % 5 == 4 ? 1 : (size_t) channels,
                                           .scale = t->w_scale,
                                           .zero_point = t->w_zero};
    if (round % 9 == 7)
        make_unsigned(t, shape);
}

/* The greatest products there are, which sums of fewer bits might not hold; -128 has no counterpart. */
static void conv_extremes(struct conv_case *t, bool most_negative)
{
    const uint8_t zero = (uint8_t) t->x_grid.zero;

    for (int64_t i = 0; i < pith_shape_elements(&t->w.shape); i++)
        pith_tensor_set(&t->w, i, pick(0, 7) == 0 ? 127 : most_negative ? -128 : -127);
    for (size_t i = 0; i < t->x.bytes; i++)
        t->x.block[i] = (uint8_t) (least() + (pick(0, 7) == 0 ? 255 : 0));
    pith_image_fill_halo(&t->x.image, &t->x.dims, t->x.data, 1, &zero);
}

static void conv_case_of(struct conv_case *t, struct geometry g, int round)
{
    const int32_t out_halo[4] = {round % 2, round % 3, round % 2, round % 4};
    int32_t halo[4] = {round % 3, 0, round % 2, 1};
    struct pith_shape shapes[3];

    *t = (struct conv_case){.g = g, .real = round % 6 == 5, .residual = round % 3 == 1};
    t->residual = t->residual && !t->real;
    shapes[0] = shape_of(g.rank, g.batch, g.groups * g.in_channels, g.in);
    shapes[1] = shape_of(g.rank, g.groups * g.out_channels, g.in_channels, g.kernel);
    shapes[2] = (struct pith_shape){1, {g.groups * g.out_channels}};
    for (int d = 0; d < 2; d++) {
        const int64_t behind = (g.out[d] - 1) * g.stride[d] - g.pad[d] +
                               (g.kernel[d] - 1) * g.dilation[d] + 1 - g.in[d];

        halo[2 * d] += (int32_t) g.pad[d];
        halo[2 * d + 1] += (int32_t) (behind > 0 ? behind : 0);
    }
    byte_step_init(&t->s, "Conv", shapes, round % 4 == 0 ? 2 : 3);
    conv_attributes(t);
    byte_step_infer(&t->s);
    conv_weights(t, &shapes[1], round);
    grid_init(&t->x_grid, 0.02F, pick_zero(round));
    grid_init(&t->y_grid, 0.5F + 0.1F * (float) pick(0, 9), pick_zero(round + 1));
    grid_init(&t->added_grid, 0.3F, pick_zero(round + 2));
    grid_init(&t->between, 0.4F, pick_zero(round / 3));
    picture_init(&t->x, &shapes[0], halo, round % 3 == 2 ? pick(1, 9) : 0, 1);
    picture_fill(&t->x, t->x_grid.zero);
    if (round % 9 == 8 && t->w.dtype == PITH_INT8)
        conv_extremes(t, round % 2);
    if (is_two_of_four(round))
        keep_two_of_four(&t->w);
    picture_init(&t->y, &t->s.output[0].shape, out_halo, round % 4 == 1 ? pick(1, 9) : 0,
                 t->real ? 4 : 1);
    picture_init(&t->added, &t->s.output[0].shape, halo, round % 5 == 1 ? pick(1, 9) : 0, 1);
    picture_fill(&t->added, t->added_grid.zero);
}

static void conv_case_init(struct conv_case *t, int round)
{
    conv_case_of(t, pick_geometry(round), round);
}

static void conv_case_fill_step(struct conv_case *t, int round)
{
    struct byte_step *s = &t->s;
    const size_t last = s->step.input_count;

    s->input[0] = (struct pith_tensor){.dtype = t->x_grid.q.dtype, .shape = t->x.shape};
    s->input[1] = t->w;
    s->input_grid[0] = &t->x_grid.q;
    s->input_grid[1] = &t->w_grid;
    s->input_image[0] = t->x.image;
    if (last > 2)
        s->input[2] = (struct pith_tensor){PITH_FLOAT32, s->input[2].shape, t->bias,
                                           (size_t) t->w.shape.dim[0] * sizeof *t->bias};
    s->output[0].dtype = t->real ? PITH_FLOAT32 : t->y_grid.q.dtype;
    s->output_grid[0] = t->real ? NULL : &t->y_grid.q;
    s->output_image[0] = t->y.image;
    if (round % 4 == 2)
        s->step.activation = (struct pith_activation){true, 1.0F, 0.0F, 60.0F};
    if (round % 4 == 3)
        s->step.activation = (struct pith_activation){true, 0.25F, -10.0F, INFINITY};
    if (!t->residual)
        return;
    s->input[last] = (struct pith_tensor){.dtype = t->added_grid.q.dtype, .shape = t->added.shape};
    s->input_grid[last] = &t->added_grid.q;
    s->input_image[last] = t->added.image;
    s->step.residual = (struct pith_residual){
        .set = true,
        .input = last,
        .between = round % 2 ? &t->between.q : NULL,
        .after = round % 5 ? (struct pith_activation){true, 1.0F, 0.0F, INFINITY}
                           : PITH_ACTIVATION_NONE};
    s->step.input_count = last + 1;
}

static void conv_case_data(struct conv_case *t)
{
    t->s.input[0].data = t->x.data;
    t->s.output[0].data = t->y.data;
    if (t->residual)
        t->s.input[t->s.step.residual.input].data = t->added.data;
}

static void conv_case_done(struct conv_case *t)
{
    byte_step_done(&t->s);
    pith_tensor_free(&t->w);
    free(t->w_scale), free(t->w_zero), free(t->bias);
    free(t->x.block), free(t->y.block), free(t->added.block);
}

/* The real value of an output element before its own grid: sums in int64, the rest in double. */
static double exact_value(const struct conv_case *t, int64_t n, int64_t m, int64_t h, int64_t w)
{
    const struct geometry *g = &t->g;
    const struct pith_step *step = &t->s.step;
    const float w_scale = t->w_scale[t->w_grid.count > 1 ? m : 0];
    int64_t sum = 0;
    double real;

    for (int64_t c = 0; c < g->in_channels; c++)
        for (int64_t i = 0; i < g->kernel[0]; i++)
            for (int64_t j = 0; j < g->kernel[1]; j++) {
                const int64_t y = h * g->stride[0] - g->pad[0] + i * g->dilation[0],
                              x = w * g->stride[1] - g->pad[1] + j * g->dilation[1];

                if (y < 0 || y >= g->in[0] || x < 0 || x >= g->in[1])
                    continue;
                sum += (stored_value(
                            t->x_grid.q.dtype,
                            picture_at(&t->x, n, m / g->out_channels * g->in_channels + c, y, x)) -
                        t->x_grid.zero) *
                       (pith_tensor_get_int(
                            &t->w, ((m * g->in_channels + c) * g->kernel[0] + i) * g->kernel[1] + j) -
                        t->w_zero[t->w_grid.count > 1 ? m : 0]);
            }
    real = (double) t->x_grid.scale * (double) w_scale;
    real *= (double) sum + (step->input_count - (t->residual ? 1 : 0) > 2
                                ? nearbyint((double) t->bias[m] / real)
                                : 0.0);
    real = real < 0 ? real * (double) step->activation.slope : real;
    return fmin(fmax(real, (double) step->activation.low), (double) step->activation.high);
}

/* Float arithmetic of values below 2^14 steps errs by less than 4 * 2^-24 * 2^14 = 0.004 of a step
 * (only what the limits leave counts: less than 2^9 steps, 1.3e-4); with a residual, rounding onto
 * the grid between may fall the other way, once in a thousand: one step of it. */
static void check_exact(const struct conv_case *t, const char *what)
{
    const struct pith_residual *residual = &t->s.step.residual;
    const double y_scale = (double) t->y_grid.scale;

    for (int64_t n = 0; n < t->y.dims.n; n++)
        for (int64_t m = 0; m < t->y.dims.c; m++)
            for (int64_t h = 0; h < t->y.dims.h; h++)
                for (int64_t w = 0; w < t->y.dims.w; w++) {
                    const void *at = picture_at(&t->y, n, m, h, w);
                    double want = exact_value(t, n, m, h, w), got, slack = 2e-4;

                    if (t->real) {
                        got = (double) *(const float *) at;
                        if (!(fabs(got - want) <= 1e-6 * (fabs(want) + 1)))
                            fail_msg("%s: %.9g, not %.9g", what, got, want);
                        continue;
                    }
                    got = stored_value(t->y_grid.q.dtype, at) - t->y_grid.zero;
                    if (residual->set) {
                        if (residual->between) {
                            const double b = (double) t->between.scale,
                                         low = least() - t->between.zero;
                            const double q = want / b;

                            want = fmin(fmax(nearbyint(q), low), low + 255) * b;
                            if (fabs(q - nearbyint(q)) > 0.5 - 1e-4)
                                slack = b / y_scale + 2e-4;
                        }
                        want += (stored_value(t->added_grid.q.dtype,
                                              picture_at(&t->added, n, m, h, w)) -
                                 t->added_grid.zero) *
                                (double) t->added_grid.scale;
                        want = fmin(fmax(want, (double) residual->after.low),
                                    (double) residual->after.high);
                    }
                    want = fmin(fmax(want / y_scale, least() - t->y_grid.zero),
                                least() + 255 - t->y_grid.zero);
                    if (!rounds_to(want, got, slack))
                        fail_msg("%s: [%d,%d,%d,%d] is %g, not %.9g", what, (int) n, (int) m,
                                 (int) h, (int) w, got, want);
                }
}

static void convolution_rounds_the_exact_sum_once(void **state)
{
    (void) state;
    for (int round = 0; round < 240; round++) {
        struct conv_case t;
        const float zero = 0.0F;
        char what[64];

        conv_case_init(&t, round);
        conv_case_fill_step(&t, round);
        assert_ok(byte_step_prepare(&t.s, FORM), &t.s.err);
        conv_case_data(&t);
        t.s.step.scratch = aligned_alloc(64, (t.s.step.scratch_bytes + 64) / 64 * 64);
        assert_non_null(t.s.step.scratch);
        snprintf(what, sizeof what, "round %d", round);
        if (round % 5 == 0 && t.s.step.parts >= 3)
            for (uint32_t part = 3; part-- > 0;)
                t.s.step.kernel->run_part(&t.s.step, part, 3);
        else
            assert_ok(t.s.step.kernel->run(&t.s.step, &t.s.err), &t.s.err);
        free(t.s.step.scratch);
        check_exact(&t, what);
        picture_check_around(&t.y, t.real ? (const void *) &zero : (const void *) &t.y_grid.zero);
        conv_case_done(&t);
    }
}

/* How many forms of each kind were compared. */
struct tried {
    int sparse, four_bits, winograd, two_of_four, depthwise, two_terms;
};

static void count_form(struct tried *tried, const char *name)
{
    tried->winograd += strncmp(name, "winograd", 8) == 0;
    tried->sparse += strncmp(name, "sparse", 6) == 0;
    tried->four_bits += strncmp(name, "int4", 4) == 0;
    tried->two_of_four += strncmp(name, "2:4", 3) == 0;
    tried->depthwise += strncmp(name, "depthwise", 9) == 0;
}

/* Runs a case, its step filled, in every form that it has, and compares each with the plain one. */
static void check_forms(struct conv_case *t, int round, struct tried *tried)
{
    struct pith_conv_s8 *conv;
    struct picture want;

    assert_ok(byte_step_prepare(&t->s, FORM), &t->s.err);
    conv_case_data(t);
    conv = t->s.step.params;
    assert_int_equal(pith_conv_s8_use(&t->s.step, NULL), 0);
    want = t->y;
    want.block = malloc(want.bytes);
    assert_non_null(want.block);
    want.data = want.block + (t->y.data - t->y.block);
    assert_ok(t->s.step.kernel->run(&t->s.step, &t->s.err), &t->s.err);
    memcpy(want.block, t->y.block, t->y.bytes);
    for (size_t i = 0; pith_conv_s8_form_at(conv, i); i++) {
        const struct pith_conv_s8_form *form = pith_conv_s8_form_at(conv, i);
        char what[96];

        snprintf(what, sizeof what, "round %d, %s", round, form->name);
        memset(t->y.block, MARK, t->y.bytes);
        if (pith_conv_s8_use(&t->s.step, form) == 1)
            continue;
        t->s.step.scratch = aligned_alloc(64, (t->s.step.scratch_bytes + 64) / 64 * 64);
        assert_non_null(t->s.step.scratch);
        assert_ok(t->s.step.kernel->run(&t->s.step, &t->s.err), &t->s.err);
        free(t->s.step.scratch);
        count_form(tried, form->name);
        tried->two_terms += conv->two_terms;
        picture_check_equal(&t->y, &want, what);
        if (memcmp(t->y.block, want.block, t->y.bytes) != 0)
            fail_msg("%s: writes outside of the value", what);
    }
    free(want.block);
}

/* Whatever form runs, each gives the bytes of the plain one. */
static void every_form_of_convolution_is_the_plain_one(void **state)
{
    struct tried tried = {0};

    (void) state;
    for (int round = 0; round < 400; round++) {
        struct conv_case t;

        conv_case_init(&t, round);
        conv_case_fill_step(&t, round);
        check_forms(&t, round, &tried);
        conv_case_done(&t);
    }
    assert_true(tried.winograd >= 40 && tried.two_terms >= 30);
#if defined __x86_64__
    assert_true(tried.sparse >= 100 && tried.four_bits >= 20 && tried.two_of_four >= 60);
#elif defined __aarch64__
    assert_true(tried.sparse >= 100 && tried.two_of_four >= 20);
#endif
}

/* What most layers have: a rectifier, and all of a byte's range for what it leaves. Forms store that with fewer instructions;
 * depthwise ones have a loop for each way in which neighbours share columns. */
static void rectified_bytes_are_the_plain_ones(void **state)
{
    static const int64_t channels[] = {8, 16, 24, 32, 48, 64, 80, 128, 144};
    struct tried tried = {0};

    (void) state;
    for (int round = 0; round < 108; round++) {
        const int64_t c = channels[round % 9], stride = 1 + round / 9 % 3, size = pick(8, 15);
        const bool depthwise = round % 4 != 3;
        const struct geometry g = {.rank = 4,
                                   .batch = 1,
                                   .groups = depthwise ? c : 1,
                                   .in_channels = depthwise ? 1 : pick(1, 40),
                                   .out_channels = depthwise ? 1 : c,
                                   .in = {(size - 1) * stride + 1, (size - 1) * stride + 1},
                                   .out = {size, size},
                                   .kernel = {3, 3},
                                   .stride = {stride, stride},
                                   .dilation = {1, 1},
                                   .pad = {1, 1},
                                   .pad_end = {1, 1}};
        struct conv_case t;

        conv_case_of(&t, g, 0); /* no residual; weights of 8 bits */
        if (round % 5 == 4)
            conv_extremes(&t, round % 2);
        conv_case_fill_step(&t, 0);
        t.y_grid.zero = least();
        t.s.step.activation = (struct pith_activation){true, 1.0F, 0.0F, INFINITY};
        check_forms(&t, round, &tried);
        conv_case_done(&t);
    }
    assert_true(tried.depthwise >= 81);
}

/* Sums that are four times too large on the way still fit just below the limit, or 64 times with
 * patches of 4x4 pixels; past it, Winograd's form is none. */
static void winograd_sums_reach_their_limit(void **state)
{
    /* 2^25 and 2^29 by 9 * 127 and the greatest magnitude of a stored integer */
    const int64_t large = least() ? 229 : 115, small = least() ? 3669 : 1841;
    const int64_t tried[] = {large, large + 1, small, small + 1};

    (void) state;
    for (size_t k = 0; k < sizeof tried / sizeof *tried; k++) {
        const int64_t channels = tried[k];
        const struct geometry g = {.rank = 4,
                                   .batch = 1,
                                   .groups = 1,
                                   .in_channels = channels,
                                   .out_channels = 5,
                                   .in = {5, 4},
                                   .out = {5, 4},
                                   .kernel = {3, 3},
                                   .stride = {1, 1},
                                   .dilation = {1, 1},
                                   .pad = {1, 1},
                                   .pad_end = {1, 1}};
        struct conv_case t;

        if (9 * channels > PITH_SUM_DEPTH_LIMIT)
            continue; /* no form takes so many: with stored int8, that is below the small patches' limit */
        conv_case_of(&t, g, 5); /* real outputs: sums themselves, to 24 bits */
        for (int64_t i = 0; i < pith_shape_elements(&t.w.shape); i++)
            pith_tensor_set(&t.w, i, i / (9 * channels) % 2 ? 127 : -127);
        memset(t.x.block, least() + 255, t.x.bytes);
        conv_case_fill_step(&t, 5);
        t.s.step.activation = PITH_ACTIVATION_NONE;
        assert_ok(byte_step_prepare(&t.s, FORM), &t.s.err);
        conv_case_data(&t);
        for (size_t i = 0; pith_conv_s8_form_at(t.s.step.params, i); i++) {
            const struct pith_conv_s8_form *form = pith_conv_s8_form_at(t.s.step.params, i);
            const bool fits = channels <= (strstr(form->name, "4x4") ? large : small);
            struct picture want = t.y;

            if (strncmp(form->name, "winograd", 8) != 0)
                continue;
            assert_int_equal(pith_conv_s8_use(&t.s.step, NULL), 0);
            assert_ok(t.s.step.kernel->run(&t.s.step, &t.s.err), &t.s.err);
            want.block = malloc(want.bytes);
            assert_non_null(want.block);
            want.data = want.block + (t.y.data - t.y.block);
            memcpy(want.block, t.y.block, t.y.bytes);
            assert_int_equal(pith_conv_s8_use(&t.s.step, form), fits ? 0 : 1);
            if (fits) {
                t.s.step.scratch = aligned_alloc(64, (t.s.step.scratch_bytes + 64) / 64 * 64);
                assert_non_null(t.s.step.scratch);
                memset(t.y.block, MARK, t.y.bytes);
                assert_ok(t.s.step.kernel->run(&t.s.step, &t.s.err), &t.s.err);
                free(t.s.step.scratch);
                picture_check_equal(&t.y, &want, form->name);
            }
            free(want.block);
        }
        conv_case_done(&t);
    }
}

static void convolution_refuses_a_halo_that_is_too_small(void **state)
{
    struct conv_case t;
    int round = 5; /* 3 x 3, dense */

    (void) state;
    for (;; round += 8) {
        conv_case_init(&t, round);
        if (t.g.rank == 4 && t.g.pad[0] > 0)
            break;
        conv_case_done(&t);
    }
    conv_case_fill_step(&t, round);
    t.s.input_image[0].top = (int32_t) t.g.pad[0] - 1;
    assert_true(byte_step_prepare(&t.s, FORM) < 0);
    assert_non_null(strstr(pith_error_text(&t.s.err), "halo"));
    conv_case_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolution_rounds_the_exact_sum_once),
        cmocka_unit_test(every_form_of_convolution_is_the_plain_one),
        cmocka_unit_test(rectified_bytes_are_the_plain_ones),
        cmocka_unit_test(winograd_sums_reach_their_limit),
        cmocka_unit_test(convolution_refuses_a_halo_that_is_too_small),
    };

    return cmocka_run_group_tests_name("image_s8", tests, NULL, NULL);
}
