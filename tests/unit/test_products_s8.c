/* Products and pools of 8-bit values, and products of 16-bit ones: exact sums and one rounding. */
#include "libpith/kernels/image_conv_s16.h"
#include "tests/unit/image_grid.h"

#include <errno.h>

/* ---- products ---- */

/* What element i of the product is, its sum being exact: so many steps of y, or a real in float32. */
static double product_of(const struct pith_tensor *a, const struct pith_tensor *b, const struct grid *ag, const struct grid *bg,
                         int64_t i, int64_t depth, int64_t cols, bool turned, float scale)
{
    int64_t sum = 0;

    for (int64_t p = 0; p < depth; p++)
        sum += (pith_tensor_get_int(a, i / cols * depth + p) - ag->zero) *
               (pith_tensor_get_int(b, turned ? i % cols * depth + p : p * cols + i % cols) - bg->zero);
    return (double) ((float) sum * scale);
}

/* What differs between the rounds of a test. */
struct product {
    int64_t rows, depth, cols;
    int32_t a_type, y_type; /* of 8 bits both, or of 16 */
    bool turned, four_bits, real, sparse, shifted;
};

static int32_t least_of(int32_t dtype)
{
    return dtype == PITH_INT16 ? -32768 : dtype == PITH_INT8 ? -128 : 0;
}

static void check_product(const struct product *p, int round)
{
    const int64_t rows = p->rows, depth = p->depth, cols = p->cols;
    const int32_t a_least = least_of(p->a_type), y_least = least_of(p->y_type),
                  span = p->a_type == PITH_INT16 ? 65535 : 255;
    const bool turned = p->turned, real = p->real;
    struct pith_shape shapes[2] = {{2, {rows, depth}},
                                   {2, {turned ? cols : depth, turned ? depth : cols}}};
    struct grid a, b, y;
    struct pith_tensor tensors[3] = {{0}};
    struct byte_step s;

    byte_step_init(&s, turned ? "Gemm" : "MatMul", shapes, 2);
    if (turned)
        assert_int_equal(pith_node_set_int(s.graph, s.step.node, "transB", 1), 0);
    byte_step_infer(&s);
    grid_init(&a, 0.02F, a_least + (int32_t) pick(0, span));
    grid_init(&b, 0.01F, p->shifted ? -1 : 0);
    grid_init(&y, 0.9F, y_least + (int32_t) pick(0, span));
    a.q.dtype = p->a_type;
    b.q.dtype = p->four_bits ? PITH_INT4 : PITH_INT8;
    y.q.dtype = p->y_type;
    assert_int_equal(pith_tensor_alloc(&tensors[0], p->a_type, &shapes[0], NULL), 0);
    assert_int_equal(pith_tensor_alloc(&tensors[1], b.q.dtype, &shapes[1], NULL), 0);
    assert_int_equal(
        pith_tensor_alloc(&tensors[2], real ? PITH_FLOAT32 : p->y_type, &s.output[0].shape, NULL), 0);
    for (int64_t i = 0; i < rows * depth; i++)
        pith_tensor_set(&tensors[0], i, (double) (a_least + pick(0, span)));
    for (int64_t i = 0; i < depth * cols; i++) /* less a zero point of -1 some don't fit int8 */
        pith_tensor_set(
            &tensors[1], i,
            (double) (p->four_bits ? pick(-8, 6) : pick(-128, round % 10 == 5 ? 127 : 126)));
    for (int64_t k = 0; p->sparse && k < depth; k++) /* of four of a column two stay */
        for (int64_t j = 0; j < cols; j++)
            if ((k + j + k / 4) % 4 > 1)
                pith_tensor_set(&tensors[1], turned ? j * depth + k : k * cols + j, b.zero);
    s.input[0] = tensors[0];
    s.input[0].data = NULL;
    s.input[1] = tensors[1];
    s.output[0].dtype = tensors[2].dtype;
    s.input_grid[0] = &a.q;
    s.input_grid[1] = &b.q;
    s.output_grid[0] = real ? NULL : &y.q;
    if (p->a_type == PITH_INT16 && !pith_conv_s16_forms[0]) { /* left to floats, on this CPU */
        assert_int_equal(byte_step_prepare(&s, PITH_KERNEL_QUANTIZED), -ENOTSUP);
        goto done;
    }
    assert_ok(byte_step_prepare(&s, PITH_KERNEL_QUANTIZED), &s.err);
    s.input[0].data = tensors[0].data;
    s.output[0].data = tensors[2].data;
    s.step.scratch = malloc(s.step.scratch_bytes + 1);
    assert_non_null(s.step.scratch);
    if (s.step.parts >= 2)
        for (uint32_t part = 0; part < 2; part++)
            s.step.kernel->run_part(&s.step, part, 2);
    else
        assert_ok(s.step.kernel->run(&s.step, &s.err), &s.err);
    for (int64_t i = 0; i < rows * cols; i++) {
        const double steps = (double) a.scale * (double) b.scale / (real ? 1.0 : (double) y.scale);
        const double got = pith_tensor_get(&tensors[2], i) - (real ? 0 : y.zero);
        double want = product_of(&tensors[0], &tensors[1], &a, &b, i, depth, cols, turned, (float) steps);

        want = real ? want : fmin(fmax(want, y_least - y.zero), y_least + span - y.zero);
        if (real ? got != want : !rounds_to(want, got, 2e-4))
            fail_msg("round %d, [%d,%d]: %g, not %.9g", round, (int) (i / cols),
                     (int) (i % cols), got, want);
    }
    free(s.step.scratch);
done:
    for (int i = 0; i < 3; i++)
        pith_tensor_free(&tensors[i]);
    byte_step_done(&s);
}

/* Rows of whatever 8-bit type by a constant matrix, against sums in int64 rounded once; or floats that come of them, to the
 * bit. */
static void products_round_the_exact_sum_once(void **state)
{
    const enum pith_isa isa = pith_isa();

    (void) state;
    for (int round = 0; round < 160; round++) {
        if (round % 8 >= 6)
            pith_isa_set(PITH_ISA_PLAIN); /* then words are multiplied */
        check_product(&(struct product){.rows = pick(1, 9),
                                        .depth = pick(1, 90),
                                        .cols = pick(1, 150),
                                        .a_type = round & 1 ? PITH_INT8 : PITH_UINT8,
                                        .y_type = round & 2 ? PITH_INT8 : PITH_UINT8,
                                        .turned = round % 3 == 0,
                                        .four_bits = round % 4 == 2,
                                        .real = round % 5 == 1,
                                        .sparse = round % 4 == 1,
                                        .shifted = round % 5 == 0},
                      round);
        pith_isa_set(isa);
    }
}

/* The same of 16-bit rows, also where sums pass int32, in each form that the CPU has and in plain C; refused where it has none. */
static void products_of_words_round_the_exact_sum_once(void **state)
{
    static const enum pith_isa isas[] = {PITH_ISA_PLAIN, PITH_ISA_SSE2, PITH_ISA_AVX2,
                                         PITH_ISA_AVX512, PITH_ISA_AVX512_VNNI};
    const enum pith_isa isa = pith_isa();

    (void) state;
    for (int round = 0; round < 160; round++) {
        const enum pith_isa tried = isas[round % 5];

        if (pith_isa_includes(isa, tried))
            pith_isa_set(tried);
        check_product(&(struct product){.rows = pick(1, 9),
                                        .depth = round % 7 == 0 ? pick(500, 1700) : pick(1, 90),
                                        .cols = pick(1, 150),
                                        .a_type = PITH_INT16,
                                        .y_type = PITH_INT16,
                                        .turned = round % 3 == 0,
                                        .four_bits = round % 4 == 2,
                                        .real = round % 6 == 1,
                                        .shifted = round % 8 == 4},
                      round);
        pith_isa_set(isa);
    }
}

/* ---- pools ---- */

static void check_pool(const struct picture *x, const struct picture *y, const struct grid *x_grid,
                       const struct grid *y_grid, const int64_t *kernel, const int64_t *stride,
                       const int64_t *pad, bool max, bool include_pad)
{
    for (int64_t n = 0; n < y->dims.n; n++)
        for (int64_t c = 0; c < y->dims.c; c++)
            for (int64_t h = 0; h < y->dims.h; h++)
                for (int64_t w = 0; w < y->dims.w; w++) {
                    int64_t sum = 0, count = 0, greatest = -256;
                    double want, got;

                    for (int64_t i = 0; i < kernel[0] * kernel[1]; i++) {
                        const int64_t row = h * stride[0] - pad[0] + i / kernel[1],
                                      col = w * stride[1] - pad[1] + i % kernel[1];

                        if (row < 0 || row >= x->dims.h || col < 0 || col >= x->dims.w)
                            continue;
                        const int32_t v =
                            stored_value(x_grid->q.dtype, picture_at(x, n, c, row, col)) -
                            x_grid->zero;

                        greatest = v > greatest ? v : greatest;
                        sum += v;
                        count++;
                    }
                    count = include_pad ? kernel[0] * kernel[1] : count;
                    want = max ? (double) greatest
                               : (double) sum * (double) x_grid->scale / (double) count /
                                     (double) y_grid->scale;
                    want = fmin(fmax(want, least() - y_grid->zero), least() + 255 - y_grid->zero);
                    got = stored_value(y_grid->q.dtype, picture_at(y, n, c, h, w)) - y_grid->zero;
                    if (!rounds_to(want, got, 1e-4))
                        fail_msg("[%d,%d,%d,%d] is %g, not %.9g", (int) n, (int) c, (int) h,
                                 (int) w, got, want);
                }
}

static void pools_round_the_exact_mean_once(void **state)
{
    (void) state;
    for (int round = 0; round < 120; round++) {
        static const char *const ops[] = {"MaxPool", "AveragePool", "GlobalMaxPool",
                                          "GlobalAveragePool"};
        const bool global = round % 4 > 1, max = round % 2 == 0, include = round % 8 == 1;
        int64_t spatial[2] = {pick(4, 12), pick(4, 12)}, kernel[2], stride[2], pads[4];
        struct pith_shape shape = {4, {1 + round % 3, pick(1, 300), spatial[0], spatial[1]}};
        const int32_t halo[4] = {round % 2, 0, 1, 2}, out_halo[4] = {1, round % 2, 0, 1};
        struct grid x_grid, y_grid;
        struct picture x, y;
        struct byte_step s;

        for (int d = 0; d < 2; d++) {
            kernel[d] = global ? spatial[d] : pick(1, 3);
            stride[d] = global ? 1 : pick(1, 3);
            pads[d] = global ? 0 : pick(0, kernel[d] - 1);
            pads[d + 2] = global ? 0 : pick(0, kernel[d] - 1);
        }
        byte_step_init(&s, ops[round % 4], &shape, 1);
        if (!global) {
            assert_int_equal(pith_node_set_ints(s.graph, s.step.node, "kernel_shape", kernel, 2),
                             0);
            assert_int_equal(pith_node_set_ints(s.graph, s.step.node, "strides", stride, 2), 0);
            assert_int_equal(pith_node_set_ints(s.graph, s.step.node, "pads", pads, 4), 0);
            if (!max)
                assert_int_equal(
                    pith_node_set_int(s.graph, s.step.node, "count_include_pad", include), 0);
        }
        byte_step_infer(&s);
        grid_init(&x_grid, 0.1F, pick_zero(round));
        y_grid = x_grid;
        grid_init(&y_grid, max ? 0.1F : 0.08F, max ? x_grid.zero : pick_zero(round + 1));
        picture_init(&x, &shape, halo, round % 5, 1);
        picture_fill(&x, x_grid.zero);
        picture_init(&y, &s.output[0].shape, out_halo, round % 2, 1);
        s.input[0].dtype = s.output[0].dtype = pith_image_integer_dtype();
        s.input_grid[0] = &x_grid.q;
        s.output_grid[0] = &y_grid.q;
        s.input_image[0] = x.image;
        s.output_image[0] = y.image;
        assert_ok(byte_step_prepare(&s, FORM), &s.err);
        s.input[0].data = x.data;
        s.output[0].data = y.data;
        assert_ok(s.step.kernel->run(&s.step, &s.err), &s.err);
        check_pool(&x, &y, &x_grid, &y_grid, kernel, stride, pads, max, include);
        picture_check_around(&y, &y_grid.zero);
        byte_step_done(&s);
        free(x.block), free(y.block);
    }
}

/* The mean under output i of a planar window, in steps of x less its zero point. */
static double mean_of(const struct pith_tensor *x, const struct pith_tensor *y, const int64_t *kernel, const int64_t *stride,
                      const int64_t *pad, const int64_t *dilation, int32_t zero, int64_t i)
{
    const uint32_t dims = x->shape.rank - 2;
    int64_t at[3], plane = i, sum = 0, count = 0, taps = 1;

    for (uint32_t d = dims; d-- > 0; plane /= y->shape.dim[2 + d], taps *= kernel[d])
        at[d] = plane % y->shape.dim[2 + d];
    for (int64_t tap = 0; tap < taps; tap++) {
        int64_t left = tap, element = plane, k[3];
        bool inside = true;

        for (uint32_t d = dims; d-- > 0; left /= kernel[d])
            k[d] = left % kernel[d];
        for (uint32_t d = 0; d < dims; d++) {
            const int64_t p = at[d] * stride[d] - pad[d] + k[d] * dilation[d];

            inside = inside && p >= 0 && p < x->shape.dim[2 + d];
            element = element * x->shape.dim[2 + d] + p;
        }
        if (inside) {
            sum += pith_tensor_get_int(x, element) - zero;
            count++;
        }
    }
    return count ? (double) sum / (double) count : 0.0;
}

static void planar_pools_round_the_exact_mean_once(void **state)
{
    (void) state;
    for (int round = 0; round < 90; round++) {
        const bool global = round % 5 == 0;
        const int32_t dtype = round % 2 ? PITH_INT8 : PITH_UINT8, bottom = least_of(dtype);
        struct pith_shape shape = {3 + (uint32_t) round % 3, {1 + round % 2, pick(1, 4)}};
        int64_t kernel[3], stride[3], pads[6], dilation[3];
        const size_t dims = shape.rank - 2;
        struct grid x_grid, y_grid;
        struct pith_tensor x, y;
        struct byte_step s;

        for (size_t d = 0; d < dims; d++) {
            shape.dim[2 + d] = pick(5, 9);
            kernel[d] = global ? shape.dim[2 + d] : pick(1, 3);
            stride[d] = global ? 1 : pick(1, 3);
            dilation[d] = global ? 1 : pick(1, 2);
            pads[d] = pads[d + dims] = global ? 0 : pick(0, kernel[d] - 1);
        }
        byte_step_init(&s, global ? "GlobalAveragePool" : "AveragePool", &shape, 1);
        if (!global) {
            assert_int_equal(pith_node_set_ints(s.graph, s.step.node, "kernel_shape", kernel, dims), 0);
            assert_int_equal(pith_node_set_ints(s.graph, s.step.node, "strides", stride, dims), 0);
            assert_int_equal(pith_node_set_ints(s.graph, s.step.node, "pads", pads, 2 * dims), 0);
            assert_int_equal(pith_node_set_ints(s.graph, s.step.node, "dilations", dilation, dims), 0);
        }
        byte_step_infer(&s);
        grid_init(&x_grid, 0.1F, bottom + (int32_t) pick(0, 255));
        grid_init(&y_grid, 0.08F, bottom + (int32_t) pick(0, 255));
        x_grid.q.dtype = y_grid.q.dtype = dtype;
        assert_int_equal(pith_tensor_alloc(&x, dtype, &shape, NULL), 0);
        assert_int_equal(pith_tensor_alloc(&y, dtype, &s.output[0].shape, NULL), 0);
        for (int64_t i = 0; i < pith_shape_elements(&shape); i++)
            pith_tensor_set(&x, i, (double) (bottom + pick(0, 255)));
        s.input[0] = x;
        s.output[0] = y;
        s.input_grid[0] = &x_grid.q;
        s.output_grid[0] = &y_grid.q;
        assert_ok(byte_step_prepare(&s, PITH_KERNEL_QUANTIZED), &s.err);
        assert_ok(s.step.kernel->run(&s.step, &s.err), &s.err);
        for (int64_t i = 0; i < pith_shape_elements(&y.shape); i++) {
            const double mean = mean_of(&x, &y, kernel, stride, pads, dilation, x_grid.zero, i) * 0.1 / 0.08,
                         want = fmin(fmax(mean, bottom - y_grid.zero), bottom + 255 - y_grid.zero);

            if (!rounds_to(want, pith_tensor_get(&y, i) - y_grid.zero, 1e-4))
                fail_msg("round %d, %d: %g, not %.9g", round, (int) i, pith_tensor_get(&y, i), want);
        }
        byte_step_done(&s);
        pith_tensor_free(&x);
        pith_tensor_free(&y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_round_the_exact_sum_once),
        cmocka_unit_test(products_of_words_round_the_exact_sum_once),
        cmocka_unit_test(pools_round_the_exact_mean_once),
        cmocka_unit_test(planar_pools_round_the_exact_mean_once),
    };

    return cmocka_run_group_tests_name("products_s8", tests, NULL, NULL);
}
