/* Products of float rows with int8 weights: every form gives the bits that the definition does,
 * written here once more, and errs no more than a product of floats. */
#include "tests/testing.h"
#include "tests/unit/each_isa.h"

#include <errno.h>
#include <math.h>

#include "libpith/kernels/fixed_s8.h"

static uint32_t seed = 5;

static int64_t pick(int64_t low, int64_t high)
{
    seed = seed * 1664525U + 1013904223U;
    return low + (int64_t) (seed >> 8) % (high - low + 1);
}

struct product {
    int64_t rows, depth, cols;
    int32_t dtype;
    bool biased;
    struct pith_tensor w;
    struct pith_quantization grid;
    float *a, *bias, *scale;
    int32_t *zero;
};

static void make(struct product *t)
{
    const struct pith_shape shape = {2, {t->cols, t->depth}};
    const bool by_column = pick(0, 1) != 0;
    const int64_t scales = by_column ? t->cols : 1;

    t->a = calloc((size_t) (t->rows * t->depth), sizeof *t->a);
    t->bias = calloc((size_t) t->cols, sizeof *t->bias);
    t->scale = calloc((size_t) scales, sizeof *t->scale);
    t->zero = calloc((size_t) scales, sizeof *t->zero);
    assert_true(t->a && t->bias && t->scale && t->zero);
    assert_int_equal(pith_tensor_alloc(&t->w, t->dtype, &shape, NULL), 0);
    for (int64_t i = 0; i < t->rows; i++) {
        const double size = ldexp(1.0, (int) pick(-130, 60)); /* rows of very unlike sizes */

        for (int64_t p = 0; p < t->depth; p++)
            t->a[i * t->depth + p] = (float) (size * ((double) pick(0, 1 << 23) / (1 << 22) - 1.0) *
                                              ldexp(1.0, (int) -pick(0, 30)));
    }
    for (int64_t j = 0; j < t->cols; j++)
        t->bias[j] = (float) pick(-100, 100) / 64.0F;
    for (int64_t j = 0; j < scales; j++) {
        t->scale[j] = (float) pick(1, 1 << 20) * 0x1p-24F;
        t->zero[j] = t->dtype == PITH_UINT8 ? 128 : 0;
    }
    for (int64_t i = 0; i < t->cols * t->depth; i++)
        pith_tensor_set(&t->w, i, (double) (pick(-128, 127) + t->zero[0]));
    t->grid = (struct pith_quantization){.dtype = t->dtype,
                                         .axis = 0,
                                         .count = (size_t) scales,
                                         .scale = t->scale,
                                         .zero_point = t->zero};
}

static void done(struct product *t)
{
    free(t->a);
    free(t->bias);
    free(t->scale);
    free(t->zero);
    pith_tensor_free(&t->w);
}

static void run(const struct product *t, float *c)
{
    struct pith_step step = {0};
    const struct pith_fixed_weights from = {.weights = &t->w,
                                            .grid = &t->grid,
                                            .depth = t->depth,
                                            .cols = t->cols,
                                            .scale_step = t->grid.count > 1};
    struct pith_fixed_s8 *f;
    void *scratch;

    assert_int_equal(pith_fixed_s8_plan(&step, &from, &f), 0);
    scratch = malloc((size_t) pith_fixed_s8_scratch(f, t->rows));
    assert_non_null(scratch);
    pith_fixed_s8_run(f, &(struct pith_fixed_call){.rows = t->rows,
                                                   .a = t->a,
                                                   .a_row = t->depth,
                                                   .bias = t->biased ? t->bias : NULL,
                                                   .c = c,
                                                   .c_row = t->cols,
                                                   .scratch = scratch});
    free(scratch);
    pith_step_done(&step);
}

/* As fixed_s8.h says; *out_exact: without any rounding, *out_bound: how far from that it may be. */
static float wanted(const struct product *t, int64_t i, int64_t j, double *out_exact,
                    double *out_bound)
{
    const float *a = t->a + i * t->depth;
    const size_t s = t->grid.count > 1 ? (size_t) j : 0;
    float most = 0.0F, unit, result;
    int64_t sum = 0, weight = 0;
    int exponent;

    for (int64_t p = 0; p < t->depth; p++)
        most = fmaxf(most, fabsf(a[p]));
    exponent = most > 0.0F ? ilogbf(most) : -100;
    unit = ldexpf(1.0F, (exponent < -100 ? -100 : exponent) - 21);
    *out_exact = t->biased ? t->bias[j] : 0.0;
    for (int64_t p = 0; p < t->depth; p++) {
        const int64_t w = pith_tensor_get_int(&t->w, j * t->depth + p) - t->zero[s];

        sum += (int64_t) nearbyint((double) a[p] / unit) * w;
        weight += w < 0 ? -w : w;
        *out_exact += (double) a[p] * (double) w * (double) t->scale[s];
    }
    /* half a unit each, and three roundings of the result: of the sum, of its product, of the bias
     */
    *out_bound = 0.5 * (double) unit * (double) weight * (double) t->scale[s] +
                 3 * 0x1p-24 * (fabs(*out_exact) + (t->biased ? fabs((double) t->bias[j]) : 0.0));
    result = (float) sum * (unit * t->scale[s]);
    return t->biased ? result + t->bias[j] : result;
}

static void check(struct product *t)
{
    const size_t bytes = (size_t) (t->rows * t->cols) * sizeof(float);
    float *c = malloc(bytes);

    assert_non_null(c);
    make(t);
    run(t, c);
    for (int64_t i = 0; i < t->rows; i++)
        for (int64_t j = 0; j < t->cols; j++) {
            double exact, bound;
            const float want = wanted(t, i, j, &exact, &bound), got = c[i * t->cols + j];

            if (memcmp(&want, &got, sizeof want) != 0)
                fail_msg("%s, %d x %d x %d: [%d,%d] is %.9g, not %.9g", pith_isa_name(pith_isa()),
                         (int) t->rows, (int) t->depth, (int) t->cols, (int) i, (int) j,
                         (double) got, (double) want);
            assert_true(fabs((double) got - exact) <= bound * (1 + 1e-9));
        }
    free(c);
    done(t);
}

static void every_form_gives_the_same_bits(void **state)
{
    (void) state;
    for (struct each_isa each = {0}; each_isa(&each);) {
        for (int round = 0; round < 40; round++) {
            struct product t = {.rows = pick(1, 9),
                                .depth = pick(1, 70),
                                .cols = pick(1, round % 4 ? 60 : 300),
                                .dtype = round % 3 ? PITH_INT8 : PITH_UINT8,
                                .biased = round % 2 != 0};

            check(&t);
        }
        check(&(struct product){
            .rows = 1, .depth = PITH_FIXED_MAX_DEPTH, .cols = 3, .dtype = PITH_INT8});
    }
}

/* The largest numbers with the largest weights, where 32 bits are nearly full. */
static void sums_never_overflow(void **state)
{
    (void) state;
    for (struct each_isa each = {0}; each_isa(&each);) {
        struct product t = {
            .rows = 1, .depth = PITH_FIXED_MAX_DEPTH, .cols = 2, .dtype = PITH_INT8};
        const float largest = 2.0F - 0x1p-20F;
        float c[2];

        make(&t);
        t.grid.count = 1;
        t.scale[0] = 1.0F;
        for (int64_t p = 0; p < t.depth; p++) {
            t.a[p] = largest;
            pith_tensor_set(&t.w, p, -128);
            pith_tensor_set(&t.w, t.depth + p, 127);
        }
        run(&t, c);
        assert_true(c[0] == (float) ((double) largest * -128 * PITH_FIXED_MAX_DEPTH));
        assert_true(c[1] == (float) ((double) largest * 127 * PITH_FIXED_MAX_DEPTH));
        done(&t);
    }
}

static void infinite_rows_give_nan_and_leave_others(void **state)
{
    struct product t = {.rows = 3, .depth = 5, .cols = 4, .dtype = PITH_INT8};
    float c[12];

    (void) state;
    make(&t);
    memset(t.a, 0, 15 * sizeof *t.a);
    t.a[5] = INFINITY;
    run(&t, c);
    for (int j = 0; j < 4; j++) {
        assert_true(c[j] == 0.0F);
        assert_true(isnan(c[4 + j]));
        assert_true(c[8 + j] == 0.0F);
    }
    done(&t);
}

static void weights_that_fit_no_byte_are_refused(void **state)
{
    struct product t = {.rows = 1, .depth = 3, .cols = 2, .dtype = PITH_UINT8};
    struct pith_step step = {0};
    struct pith_fixed_s8 *f = NULL;

    (void) state;
    make(&t);
    t.grid.count = 1;
    t.zero[0] = 100;
    pith_tensor_set(&t.w, 1, 255);
    assert_int_equal(
        pith_fixed_s8_plan(&step,
                           &(struct pith_fixed_weights){
                               .weights = &t.w, .grid = &t.grid, .depth = t.depth, .cols = t.cols},
                           &f),
        1);
    pith_step_done(&step);
    done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_gives_the_same_bits),
        cmocka_unit_test(sums_never_overflow),
        cmocka_unit_test(infinite_rows_give_nan_and_leave_others),
        cmocka_unit_test(weights_that_fit_no_byte_are_refused),
    };

    return cmocka_run_group_tests_name("fixed_s8", tests, NULL, NULL);
}
