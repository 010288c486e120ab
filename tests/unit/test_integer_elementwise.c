/* Planar 8-bit Add, Sub and Mul with every kind of broadcasting, whole and in parts, against reals
 * rounded one by one. */
#include "tests/testing.h"

#include <errno.h>
#include <math.h>

#include "libpith/kernels/kernel.h"

static uint32_t seed = 3;

static int64_t pick(int64_t low, int64_t high)
{
    seed = seed * 1664525U + 1013904223U;
    return low + (int64_t) (seed >> 8) % (high - low + 1);
}

struct operand {
    struct pith_quantization grid;
    float scale;
    int32_t zero;
    struct pith_shape shape;
    uint8_t *bytes; /* own */
};

/* grid points into the operand, so that it stays where it is. */
static void begin_operand(struct operand *operand, const struct pith_shape *shape)
{
    const bool is_signed = pick(0, 1);
    const int64_t count = pith_shape_elements(shape);

    operand->shape = *shape;
    operand->scale = (float) pick(1, 1000) * 1e-3F;
    operand->zero = (int32_t) pick(0, 255) - (is_signed ? 128 : 0);
    operand->grid = (struct pith_quantization){
        is_signed ? PITH_INT8 : PITH_UINT8, 0, 0, 1, &operand->scale, &operand->zero};
    operand->bytes = malloc((size_t) count + 1);
    assert_non_null(operand->bytes);
    for (int64_t i = 0; i < count; i++)
        operand->bytes[i] = (uint8_t) pick(0, 255);
}

/* What y's element `at` takes of the operand. */
static float real_at(const struct operand *operand, const struct pith_shape *y, int64_t at)
{
    const uint32_t less = y->rank - operand->shape.rank;
    int64_t index = 0, stride = 1;

    for (uint32_t d = y->rank; d-- > less;) {
        const int64_t dim = operand->shape.dim[d - less];

        index += dim == 1 ? 0 : at % y->dim[d] * stride;
        stride *= dim;
        at /= y->dim[d];
    }
    return (float) ((operand->grid.dtype == PITH_INT8 ? (int8_t) operand->bytes[index]
                                                      : operand->bytes[index]) -
                    operand->zero) *
           operand->scale;
}

static uint8_t rounded(const struct operand *y, float x)
{
    const float least = y->grid.dtype == PITH_INT8 ? -128.0F : 0.0F;
    const float q = nearbyintf(x / y->scale) + (float) y->zero;

    return (uint8_t) (int32_t) fmaxf(least, fminf(least + 255.0F, q));
}

/* Of rank 0 to 5, each operand with some of the dimensions, or with 1 in their place. */
static void pick_shapes(struct pith_shape *y, struct pith_shape *x)
{
    *y = (struct pith_shape){.rank = (uint32_t) pick(0, 5)};
    for (uint32_t d = 0; d < y->rank; d++)
        y->dim[d] = pick(0, 3) ? pick(1, 7) : pick(1, 40);
    for (int i = 0; i < 2; i++) {
        const uint32_t less = pick(0, 1) ? 0 : (uint32_t) pick(0, y->rank);

        x[i] = (struct pith_shape){.rank = y->rank - less};
        for (uint32_t d = 0; d < x[i].rank; d++)
            x[i].dim[d] = pick(0, 3) ? y->dim[d + less] : 1;
    }
    for (uint32_t d = 0; d < y->rank; d++) { /* what both leave at 1 is 1 */
        int64_t dim = 1;

        for (int i = 0; i < 2; i++)
            if (d + x[i].rank >= y->rank && x[i].dim[d + x[i].rank - y->rank] != 1)
                dim = y->dim[d];
        y->dim[d] = dim;
    }
}

static void check(const char *op, struct operand *x, struct operand *y)
{
    const struct pith_quantization *in[PITH_STEP_PORTS] = {&x[0].grid, &x[1].grid};
    const struct pith_quantization *out[PITH_STEP_PORTS] = {&y->grid};
    const int64_t count = pith_shape_elements(&y->shape);
    struct pith_tensor inputs[PITH_STEP_PORTS] = {
        {x[0].grid.dtype, x[0].shape, x[0].bytes, (size_t) pith_shape_elements(&x[0].shape)},
        {x[1].grid.dtype, x[1].shape, x[1].bytes, (size_t) pith_shape_elements(&x[1].shape)}};
    struct pith_tensor outputs[PITH_STEP_PORTS] = {
        {y->grid.dtype, y->shape, y->bytes, (size_t) count}};
    const int32_t types[2] = {x[0].grid.dtype, x[1].grid.dtype};
    struct pith_step step = {.name = "n",
                             .opset = 13,
                             .input_count = 2,
                             .output_count = 1,
                             .input = inputs,
                             .output = outputs,
                             .input_quantization = in,
                             .output_quantization = out};
    const uint32_t parts = (uint32_t) pick(1, 4);
    struct pith_error err = {0};

    step.kernel =
        pith_kernel_find("", op, 13, types, 2, y->grid.dtype, PITH_KERNEL_QUANTIZED, NULL);
    assert_non_null(step.kernel);
    assert_ok(pith_step_prepare(&step, &err), &err);
    memset(y->bytes, 0x55, (size_t) count + 1);
    if (parts == 1)
        assert_ok(step.kernel->run(&step, &err), &err);
    else
        for (uint32_t part = parts; part-- > 0;)
            step.kernel->run_part(&step, part, parts);
    for (int64_t i = 0; i < count; i++) {
        const float a = real_at(&x[0], &y->shape, i), b = real_at(&x[1], &y->shape, i);
        const float exact = op[0] == 'A' ? a + b : op[0] == 'S' ? a - b : a * b;

        assert_int_equal(y->bytes[i], rounded(y, exact));
    }
    assert_int_equal(y->bytes[count], 0x55);
    pith_step_done(&step);
}

static void every_broadcast_gives_rounded_reals(void **state)
{
    static const char *const ops[] = {"Add", "Sub", "Mul"};

    (void) state;
    for (int round = 0; round < 600; round++) {
        struct operand x[2], y;
        struct pith_shape shape, shapes[2];

        pick_shapes(&shape, shapes);
        begin_operand(&x[0], &shapes[0]);
        begin_operand(&x[1], &shapes[1]);
        begin_operand(&y, &shape);
        check(ops[round % 3], x, &y);
        free(x[0].bytes);
        free(x[1].bytes);
        free(y.bytes);
    }
}

static void operands_that_do_not_broadcast_are_refused(void **state)
{
    const struct pith_shape two = pith_shape_of(1, (const int64_t[]){2});
    const struct pith_shape three = pith_shape_of(1, (const int64_t[]){3});
    struct operand x[2], y;
    struct pith_step step = {.name = "n", .opset = 13, .input_count = 2, .output_count = 1};
    struct pith_error err = {0};

    (void) state;
    begin_operand(&x[0], &two);
    begin_operand(&x[1], &three);
    begin_operand(&y, &three);
    const struct pith_quantization *in[PITH_STEP_PORTS] = {&x[0].grid, &x[1].grid};
    const struct pith_quantization *out[PITH_STEP_PORTS] = {&y.grid};
    struct pith_tensor inputs[PITH_STEP_PORTS] = {{x[0].grid.dtype, two, x[0].bytes, 2},
                                                  {x[1].grid.dtype, three, x[1].bytes, 3}};
    struct pith_tensor outputs[PITH_STEP_PORTS] = {{y.grid.dtype, three, y.bytes, 3}};
    const int32_t types[2] = {x[0].grid.dtype, x[1].grid.dtype};

    step.input = inputs;
    step.output = outputs;
    step.input_quantization = in;
    step.output_quantization = out;
    step.kernel =
        pith_kernel_find("", "Add", 13, types, 2, y.grid.dtype, PITH_KERNEL_QUANTIZED, NULL);
    assert_non_null(step.kernel);
    assert_int_equal(pith_step_prepare(&step, &err), -EINVAL);
    assert_non_null(strstr(pith_error_text(&err), "don't broadcast"));
    pith_step_done(&step);
    free(x[0].bytes);
    free(x[1].bytes);
    free(y.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_broadcast_gives_rounded_reals),
        cmocka_unit_test(operands_that_do_not_broadcast_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
