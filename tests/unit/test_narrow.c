/* Products of float rows with weights that stay narrow: every kind of weights and every form
 * against sums in double. */
#include "tests/unit/image_bytes.h"

#include <errno.h>
#include <math.h>

#include "libpith/kernels/narrow.h"

static uint32_t seed = 11;

static int64_t pick(int64_t low, int64_t high)
{
    seed = seed * 1664525U + 1013904223U;
    return low + (int64_t) (seed >> 8) % (high - low + 1);
}

enum kind {
    FOUR_BITS,
    FOUR_BITS_BY_BLOCK,
    EIGHT_BITS,
    EIGHT_BITS_BY_BLOCK,
    UNSIGNED,
    FLOAT16,
    BFLOAT16,
    KINDS
};

struct product {
    int64_t rows, depth, cols, block; /* block: 0, or of the depth */
    bool gemm, turned, biased;
    enum kind kind;
    struct byte_step s;
    struct pith_tensor a, b, c, y;
    struct pith_quantization grid;
    float *scale;
    int32_t *zero;
};

static bool by_block(const struct product *t)
{
    return t->kind == FOUR_BITS_BY_BLOCK || t->kind == EIGHT_BITS_BY_BLOCK;
}

static bool real(const struct product *t)
{
    return t->kind == FLOAT16 || t->kind == BFLOAT16;
}

/* Where element (p,j) lies, and its scale. */
static int64_t place(const struct product *t, int64_t p, int64_t j)
{
    return t->turned ? j * t->depth + p : p * t->cols + j;
}

static int64_t scale_place(const struct product *t, int64_t p, int64_t j)
{
    const int64_t blocks = t->block ? (t->depth + t->block - 1) / t->block : 1;

    if (t->grid.count == 1)
        return 0;
    if (!by_block(t))
        return j;
    return t->turned ? j * blocks + p / t->block : p / t->block * t->cols + j;
}

static double element(const struct product *t, int64_t p, int64_t j)
{
    const double x = pith_tensor_get(&t->b, place(t, p, j));
    const int64_t at = scale_place(t, p, j);

    return real(t) ? x : (x - t->zero[at]) * (double) t->scale[at];
}

static void fill_weights(struct product *t, const struct pith_shape *shape, int round)
{
    const int32_t dtypes[KINDS] = {PITH_INT4,  PITH_INT4,    PITH_INT8,   PITH_INT8,
                                   PITH_UINT8, PITH_FLOAT32, PITH_FLOAT32};
    const int64_t blocks = t->block ? (t->depth + t->block - 1) / t->block : 1;
    const size_t count = by_block(t) ? (size_t) (blocks * t->cols)
                         : round % 3 ? (size_t) t->cols
                                     : 1;

    assert_ok(pith_tensor_alloc(&t->b, dtypes[t->kind], shape, &t->s.err), &t->s.err);
    for (int64_t i = 0; i < pith_shape_elements(shape); i++) {
        float x = (float) pick(-4000, 4000) / 3000.0F;

        if (t->kind == FLOAT16)
            x = pith_float16_to_float(pith_float_to_float16(i % 7 ? x : x * 0x1p-20F));
        if (t->kind == BFLOAT16)
            x = pith_bfloat16_to_float(pith_float_to_bfloat16(i % 7 ? x : x * 0x1p-80F));
        if (t->b.dtype == PITH_INT4)
            x = (float) pick(-8, 7);
        if (t->b.dtype == PITH_INT8)
            x = (float) pick(-128, 127);
        if (t->b.dtype == PITH_UINT8)
            x = (float) pick(0, 255);
        pith_tensor_set(&t->b, i, (double) x);
    }
    if (real(t))
        return;
    t->scale = malloc(count * sizeof *t->scale);
    t->zero = calloc(count, sizeof *t->zero);
    assert_true(t->scale && t->zero);
    for (size_t i = 0; i < count; i++) {
        t->scale[i] = 0.001F * (float) pick(1, 50);
        t->zero[i] = t->kind == UNSIGNED ? 128 : 0;
    }
    t->grid = (struct pith_quantization){.dtype = t->b.dtype,
                                         .axis = by_block(t) ? t->turned : !t->turned,
                                         .block_size = t->block,
                                         .count = count,
                                         .scale = t->scale,
                                         .zero_point = t->zero};
    t->s.input_grid[1] = &t->grid;
}

static void product_init(struct product *t, int round)
{
    *t = (struct product){.rows = pick(1, 8),
                          .depth = pick(1, 140),
                          .cols = pick(1, 150),
                          .kind = round % KINDS,
                          .gemm = round & 1,
                          .turned = (round & 3) == 3,
                          .biased = (round & 5) == 5};
    t->block = by_block(t) ? 8 * pick(1, 4) : 0;
    const struct pith_shape shapes[3] = {
        {2, {t->rows, t->depth}},
        {2, {t->turned ? t->cols : t->depth, t->turned ? t->depth : t->cols}},
        {1, {t->cols}}};

    byte_step_init(&t->s, t->gemm ? "Gemm" : "MatMul", shapes, t->biased ? 3 : 2);
    if (t->turned)
        assert_int_equal(pith_node_set_int(t->s.graph, t->s.step.node, "transB", 1), 0);
    byte_step_infer(&t->s);
    fill_weights(t, &shapes[1], round);
    assert_ok(pith_tensor_alloc(&t->a, PITH_FLOAT32, &shapes[0], &t->s.err), &t->s.err);
    assert_ok(pith_tensor_alloc(&t->c, PITH_FLOAT32, &shapes[2], &t->s.err), &t->s.err);
    assert_ok(pith_tensor_alloc(&t->y, PITH_FLOAT32, &t->s.output[0].shape, &t->s.err), &t->s.err);
    for (int64_t i = 0; i < t->rows * t->depth; i++)
        ((float *) t->a.data)[i] = (float) pick(-1000, 1000) / 700.0F;
    for (int64_t j = 0; j < t->cols; j++)
        ((float *) t->c.data)[j] = (float) pick(-1000, 1000) / 300.0F;
    t->s.input[0] = t->a;
    t->s.input[1] = t->b;
    t->s.input[2] = t->biased ? t->c : (struct pith_tensor){0};
    t->s.output[0] = t->y;
    if (round % 4 == 1)
        t->s.step.activation = (struct pith_activation){true, 0.5F, -3.0F, 4.0F};
}

/* A sum of `depth` products, a scale a block and a bias err by less than depth + 8 roundings of the
 * sum of magnitudes. */
static void product_check(const struct product *t, const char *what)
{
    for (int64_t i = 0; i < t->rows; i++)
        for (int64_t j = 0; j < t->cols; j++) {
            double want = t->biased ? pith_tensor_get(&t->c, j) : 0.0, size = fabs(want);
            const double got = pith_tensor_get(&t->y, i * t->cols + j);

            for (int64_t p = 0; p < t->depth; p++) {
                const double x = pith_tensor_get(&t->a, i * t->depth + p) * element(t, p, j);

                want += x;
                size += fabs(x);
            }
            if (t->s.step.activation.set)
                want = (double) pith_activate(&t->s.step.activation, (float) want);
            if (!(fabs(got - want) <= (double) (t->depth + 8) * 0x1p-24 * size))
                fail_msg("%s: [%d,%d] is %.9g, not %.9g", what, (int) i, (int) j, got, want);
        }
}

static void product_done(struct product *t)
{
    byte_step_done(&t->s);
    pith_tensor_free(&t->a);
    pith_tensor_free(&t->b);
    pith_tensor_free(&t->c);
    pith_tensor_free(&t->y);
    free(t->scale);
    free(t->zero);
}

static void every_form_gives_the_sum(void **state)
{
    (void) state;
    for (int form = 0; pith_narrow_force(form); form++)
        for (int round = 0; round < 140; round++) {
            struct product t;
            char what[64];

            product_init(&t, round);
            snprintf(what, sizeof what, "form %d, round %d, kind %d", form, round, (int) t.kind);
            assert_ok(byte_step_prepare(&t.s, real(&t) ? 0 : PITH_KERNEL_QUANTIZED), &t.s.err);
            assert_non_null(t.s.step.form);
            assert_true(t.s.step.taken_in & 2);
            t.s.input[1].data = NULL; /* is packed */
            if (t.s.step.parts >= 2)
                for (uint32_t part = 2; part-- > 0;)
                    t.s.step.kernel->run_part(&t.s.step, part, 2);
            else
                assert_ok(t.s.step.kernel->run(&t.s.step, &t.s.err), &t.s.err);
            product_check(&t, what);
            product_done(&t);
        }
    (void) pith_narrow_force(-1);
}

static void what_does_not_fit_stays_wide(void **state)
{
    struct product t;

    (void) state;
    product_init(&t, FLOAT16);
    ((float *) t.b.data)[0] = 1.0F / 3.0F; /* in neither half */
    assert_ok(byte_step_prepare(&t.s, 0), &t.s.err);
    assert_null(t.s.step.form);
    product_done(&t);
    product_init(&t, UNSIGNED);
    for (size_t i = 0; i < t.grid.count; i++)
        t.zero[i] = 3;
    pith_tensor_set(&t.b, 0, 255.0);
    assert_int_equal(byte_step_prepare(&t.s, PITH_KERNEL_QUANTIZED), -ENOTSUP);
    product_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_gives_the_sum),
        cmocka_unit_test(what_does_not_fit_stays_wide),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
