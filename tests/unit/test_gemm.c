/* Matrix products: every form that this CPU runs, over odd sizes, against sums in double. */
#include "tests/testing.h"

#include "libpith/kernels/gemm.h"
#include "libpith/kernels/transpose.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint32_t seed = 12345;

static float random_float(void)
{
    seed = seed * 1664525U + 1013904223U;
    return (float) (seed >> 8) / (float) (1 << 23) - 1.0F;
}

/* A float sum of n products of |a|, |b| <= 1, in any order, with or without fused additions, is
 * within n * 2^-24 of its terms' absolute sum (<= n) from the exact one: n * n * 6e-8; one more
 * rounding for the bias and one for storing. */
static double tolerance(int64_t depth)
{
    return (double) (depth + 2) * (double) (depth + 2) * 6e-8;
}

static void check_f32(const struct pith_gemm_form *form, int64_t rows, int64_t cols, int64_t depth,
                      bool relu)
{
    float *a = malloc((size_t) (rows * depth) * 4), *b = malloc((size_t) (depth * cols) * 4);
    float *packed = malloc((size_t) pith_gemm_packed(form, depth, cols) * 4);
    float *c = malloc((size_t) (rows * cols) * 4), *want = malloc((size_t) (rows * cols) * 4);
    float *bias = malloc((size_t) (rows + cols) * 4);
    struct pith_gemm_f32 g = {
        .rows = rows, .cols = cols, .depth = depth, .a = a, .a_row = depth, .a_depth = 1};

    for (int64_t i = 0; i < rows * depth; i++)
        a[i] = random_float();
    for (int64_t i = 0; i < depth * cols; i++)
        b[i] = random_float();
    for (int64_t i = 0; i < rows + cols; i++)
        bias[i] = random_float();
    g.row_bias = relu ? bias : NULL;
    g.col_bias = bias + rows;
    g.c_row = cols;
    g.activation = relu ? (struct pith_activation){true, 0.25F, -0.5F, 2.0F} : PITH_ACTIVATION_NONE;
    g.b = b;
    g.c = want;
    pith_gemm_plain_f32(&g, cols, 1);
    pith_gemm_pack_f32(form, packed, b, cols, 1, depth, cols);
    g.b = packed;
    g.c = c;
    form->f32(&g);
    for (int64_t i = 0; i < rows * cols; i++)
        if (fabs((double) c[i] - want[i]) > tolerance(depth))
            fail_msg("%s %dx%dx%d [%d]: %g, not %g", pith_isa_name(form->isa), (int) rows,
                     (int) cols, (int) depth, (int) i, (double) c[i], (double) want[i]);
    free(a), free(b), free(packed), free(c), free(want), free(bias);
}

static void gemm_f32_equals_the_plain_sum(void **state)
{
    const int64_t sizes[] = {1, 2, 3, 5, 7, 13, 17, 33, 50};
    const size_t count = sizeof sizes / sizeof sizes[0];
    const struct pith_gemm_form *form;

    (void) state;
    for (size_t f = 0; (form = pith_gemm_form_at(f)); f++)
        for (size_t r = 0; r < count; r++)
            for (size_t c = 0; c < count; c++)
                for (size_t d = 0; d < count; d++)
                    check_f32(form, sizes[r], sizes[c], sizes[d], (r + c + d) % 2 == 1);
}

/* Everything is exact but the scaling: float, so a value that lies within 1e-4 of a half may go
 * either way. */
static void check_s16(const struct pith_gemm_form *form, int64_t rows, int64_t cols, int64_t depth,
                      bool by_row)
{
    const int64_t even = (depth + 1) / 2 * 2;
    int16_t *a = calloc((size_t) (rows * even), 2),
            *packed = malloc((size_t) pith_gemm_packed(form, depth, cols) * 2);
    uint8_t *b = malloc((size_t) (depth * cols));
    int32_t *sums = malloc((size_t) (rows * cols) * 4), *bias = malloc((size_t) (rows + cols) * 4);
    int8_t *out = malloc((size_t) (rows * cols));
    float *scale = malloc((size_t) (rows + cols) * 4);
    const int32_t zero = 101;
    struct pith_gemm_s16 g = {.rows = rows,
                              .cols = cols,
                              .depth = even,
                              .a = a,
                              .a_row = even,
                              .b = packed,
                              .sums = sums,
                              .out_row = cols,
                              .zero_point = -3,
                              .least = -128,
                              .greatest = 127,
                              .activation = PITH_ACTIVATION_NONE};

    for (int64_t i = 0; i < rows; i++)
        for (int64_t p = 0; p < depth; p++)
            a[i * even + p] = (int16_t) (random_float() * 128);
    for (int64_t i = 0; i < depth * cols; i++)
        b[i] = (uint8_t) ((random_float() + 1) * 127);
    for (int64_t i = 0; i < rows + cols; i++) {
        bias[i] = (int32_t) (random_float() * 1000);
        scale[i] = (random_float() + 1.5F) * 0.002F;
    }
    pith_gemm_pack_s16(form, packed, b, false, cols, 1, depth, cols, &zero, true);
    form->s16(&g);
    g.sums = NULL;
    g.out = out;
    *(by_row ? &g.row_bias : &g.col_bias) = bias;
    *(by_row ? &g.row_scale : &g.col_scale) = scale;
    form->s16(&g);
    for (int64_t i = 0; i < rows * cols; i++) {
        const int64_t at = by_row ? i / cols : i % cols;
        int32_t sum = 0;
        double want;

        for (int64_t p = 0; p < depth; p++)
            sum += a[i / cols * even + p] * (b[p * cols + i % cols] - zero);
        assert_int_equal(sums[i], sum);
        want = (double) (sum + bias[at]) * (double) scale[at] - 3;
        want = want < -128 ? -128 : want > 127 ? 127 : want;
        if (fabs(out[i] - want) > 0.5001)
            fail_msg("%s %dx%dx%d [%d]: %d, not %g", pith_isa_name(form->isa), (int) rows,
                     (int) cols, (int) depth, (int) i, out[i], want);
    }
    free(a), free(b), free(packed), free(sums), free(bias), free(out), free(scale);
}

static void gemm_s16_sums_exactly_and_rounds_once(void **state)
{
    const int64_t sizes[] = {1, 2, 5, 7, 13, 33, 50};
    const size_t count = sizeof sizes / sizeof sizes[0];
    const struct pith_gemm_form *form;

    (void) state;
    for (size_t f = 0; (form = pith_gemm_form_at(f)); f++)
        for (size_t r = 0; r < count; r++)
            for (size_t c = 0; c < count; c++)
                for (size_t d = 0; d < count; d++)
                    check_s16(form, sizes[r], sizes[c], sizes[d], (r + c + d) % 2 == 1);
}

static void activation_keeps_nan(void **state)
{
    const struct pith_activation relu = {true, 1.0F, 0.0F, INFINITY};

    (void) state;
    assert_true(isnan(pith_activate(&relu, NAN)));
    assert_true(pith_activate(&relu, -3.0F) == 0.0F);
}

/* Every element at its place with its bits, and nothing beside. */
static void check_transpose(int64_t rows, int64_t depth, int64_t taps)
{
    const int64_t from_step = depth + 3, to_step = rows + 2;
    uint32_t *from = malloc((size_t) (rows * from_step) * sizeof *from),
             *to = malloc((size_t) (depth * to_step) * sizeof *to);

    assert_non_null(from);
    assert_non_null(to);
    for (int64_t i = 0; i < rows * from_step; i++)
        from[i] = (uint32_t) i | UINT32_C(0x7f800000); /* NaN too: bits are moved */
    memset(to, 0x5a, (size_t) (depth * to_step) * sizeof *to);
    pith_transpose_f32((const float *) from, from_step, rows, depth, taps, (float *) to, to_step);
    for (int64_t k = 0; k < depth; k++) {
        const uint32_t *at = to + (k % taps * (depth / taps) + k / taps) * to_step;

        for (int64_t m = 0; m < to_step; m++)
            assert_int_equal(at[m], m < rows ? from[m * from_step + k] : UINT32_C(0x5a5a5a5a));
    }
    free(from);
    free(to);
}

static void transpose_moves_each_element(void **state)
{
    static const int64_t taps[] = {1, 3, 9};

    (void) state;
    for (size_t t = 0; t < sizeof taps / sizeof taps[0]; t++)
        for (int64_t rows = 1; rows <= 18; rows++)
            for (int64_t groups = 1; groups <= 70; groups += groups < 9 ? 1 : 15)
                check_transpose(rows, groups * taps[t], taps[t]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm_f32_equals_the_plain_sum),
        cmocka_unit_test(gemm_s16_sums_exactly_and_rounds_once),
        cmocka_unit_test(activation_keeps_nan),
        cmocka_unit_test(transpose_moves_each_element),
    };

    return cmocka_run_group_tests_name("gemm", tests, NULL, NULL);
}
