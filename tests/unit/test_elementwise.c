/* Kernels that work element by element, where the official cases don't look: broadcasting over
 * every axis, empty tensors, integers at their limits, half floats in long runs. */
#include "tests/unit/one_step.h"

#include <math.h>

static const int32_t int_types[] = {PITH_INT8,  PITH_INT16,  PITH_INT32,  PITH_INT64,
                                    PITH_UINT8, PITH_UINT16, PITH_UINT32, PITH_UINT64};

static void pair(struct one_step *s, int32_t dtype, const char *op, double a, double b)
{
    one_step_init(s, 18);
    one_step_input(s, dtype, DIMS(1), &a);
    one_step_input(s, dtype, DIMS(1), &b);
    one_step_node(s, op, 1);
}

static void division_by_zero_is_refused_for_every_integer(void **state)
{
    (void) state;
    for (size_t i = 0; i < 8; i++)
        for (int mod = 0; mod < 2; mod++) {
            struct one_step s;

            pair(&s, int_types[i], mod ? "Mod" : "Div", 7, 0);
            one_step_refuses(&s, mod ? "Mod \"n\": integers are divided by zero"
                                     : "Div \"n\": integers are divided by zero");
        }
}

static void least_integer_by_minus_one_wraps(void **state)
{
    static const double least[] = {-128, -32768, -2147483648.0, -9223372036854775808.0};
    static const char *const ops[] = {"Div", "Mod"};

    (void) state;
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < 4; k++) {
            struct one_step s;

            pair(&s, int_types[i], ops[k % 2], least[i], -1);
            if (k == 3)
                one_step_int(&s, "fmod", 1);
            one_step_gives(&s, 1, k % 2 ? NUMBERS(0) : &least[i]);
        }
}

static void integers_wrap_around(void **state)
{
    struct one_step s;

    (void) state;
    pair(&s, PITH_INT32, "Add", 2147483647, 1);
    one_step_gives(&s, 1, NUMBERS(-2147483648.0));
    pair(&s, PITH_INT8, "Mul", -128, -1);
    one_step_gives(&s, 1, NUMBERS(-128));
    pair(&s, PITH_UINT16, "Mul", 65535, 65535);
    one_step_gives(&s, 1, NUMBERS(1));
    pair(&s, PITH_UINT8, "Sub", 0, 1);
    one_step_gives(&s, 1, NUMBERS(255));
    one_step_init(&s, 18);
    one_step_input(&s, PITH_INT64, DIMS(1), NUMBERS(-9223372036854775808.0));
    one_step_node(&s, "Abs", 1);
    one_step_gives(&s, 1, NUMBERS(-9223372036854775808.0));
    one_step_init(&s, 18);
    one_step_input(&s, PITH_INT32, DIMS(1), NUMBERS(-2147483648.0));
    one_step_node(&s, "Neg", 1);
    one_step_gives(&s, 1, NUMBERS(-2147483648.0));
}

static void mod_takes_the_sign_it_should(void **state)
{
    static const double a[] = {-7, 7, -7, 7, 6}, b[] = {3, -3, -3, 3, -3};

    (void) state;
    for (int fmod_too = 0; fmod_too < 2; fmod_too++) {
        struct one_step s;

        one_step_init(&s, 13);
        one_step_input(&s, PITH_INT16, DIMS(5), a);
        one_step_input(&s, PITH_INT16, DIMS(5), b);
        one_step_node(&s, "Mod", 1);
        one_step_int(&s, "fmod", fmod_too);
        one_step_gives(&s, 5, fmod_too ? NUMBERS(-1, 1, -1, 1, 0) : NUMBERS(2, -2, -1, 1, 0));
    }
}

static void shifting_everything_out_leaves_zero(void **state)
{
    (void) state;
    for (size_t i = 4; i < 8; i++)
        for (int left = 0; left < 2; left++) {
            struct one_step s;

            one_step_init(&s, 13);
            one_step_input(&s, int_types[i], DIMS(4), NUMBERS(3, 3, 3, 3));
            one_step_input(&s, int_types[i], DIMS(4), NUMBERS(0, 1, 64, 200));
            one_step_node(&s, "BitShift", 1);
            assert_int_equal(
                pith_node_set_string(s.graph, s.node, "direction", left ? "LEFT" : "RIGHT"), 0);
            one_step_gives(&s, 4, left ? NUMBERS(3, 6, 0, 0) : NUMBERS(3, 1, 0, 0));
        }
}

/* Each dimension of each side is 1 or full: every way to broadcast rank 3, against coordinates. */
static void every_way_to_broadcast_gives_the_sum_of_coordinates(void **state)
{
    static const int64_t full[3] = {3, 5, 7};
    static const int32_t types[] = {PITH_FLOAT32, PITH_FLOAT16, PITH_FLOAT64, PITH_INT16,
                                    PITH_BFLOAT16};

    (void) state;
    for (uint32_t mask = 0; mask < 64; mask++)
        for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
            int64_t a[3], b[3], count = 1;
            struct one_step s;
            struct pith_tensor *left, *right;

            for (int i = 0; i < 3; i++) {
                a[i] = mask >> i & 1 ? full[i] : 1;
                b[i] = mask >> (3 + i) & 1 ? full[i] : 1;
                count *= a[i] > b[i] ? a[i] : b[i];
            }
            one_step_init(&s, 14);
            left = one_step_input(&s, types[t], a, 3, NULL);
            right = one_step_input(&s, types[t], b, 3, NULL);
            for (int64_t i = 0; i < pith_shape_elements(&left->shape); i++)
                pith_tensor_set(left, i, (double) i);
            for (int64_t i = 0; i < pith_shape_elements(&right->shape); i++)
                pith_tensor_set(right, i, (double) (100 - i));
            one_step_node(&s, "Add", 1);
            assert_ok(one_step_run(&s), &s.err);
            assert_int_equal(pith_shape_elements(&s.output[0].shape), count);
            for (int64_t i = 0; i < count; i++) {
                int64_t rest = i, at_a = 0, at_b = 0, scale_a = 1, scale_b = 1;

                for (int k = 2; k >= 0; k--) {
                    int64_t dim = s.output[0].shape.dim[k], at = rest % dim;

                    rest /= dim;
                    at_a += a[k] == 1 ? 0 : at * scale_a;
                    at_b += b[k] == 1 ? 0 : at * scale_b;
                    scale_a *= a[k];
                    scale_b *= b[k];
                }
                assert_true(pith_tensor_get(&s.output[0], i) == (double) (at_a + 100 - at_b));
            }
            one_step_done(&s);
        }
}

static void a_scalar_and_a_row_broadcast_in_sum_of_many(void **state)
{
    struct one_step s;

    (void) state;
    one_step_init(&s, 13);
    one_step_input(&s, PITH_FLOAT32, SCALAR, NUMBERS(1));
    one_step_input(&s, PITH_FLOAT32, DIMS(2, 1), NUMBERS(10, 20));
    one_step_input(&s, PITH_FLOAT32, DIMS(3), NUMBERS(100, 200, 300));
    one_step_node(&s, "Sum", 1);
    one_step_gives(&s, 6, NUMBERS(111, 211, 311, 121, 221, 321));
    one_step_init(&s, 13);
    one_step_input(&s, PITH_FLOAT32, SCALAR, NUMBERS(1));
    one_step_input(&s, PITH_FLOAT32, DIMS(2), NUMBERS(2, 4));
    one_step_node(&s, "Mean", 1);
    one_step_gives(&s, 2, NUMBERS(1.5, 2.5));
}

static void empty_tensors_give_empty_tensors(void **state)
{
    static const char *const ops[] = {"Add", "Div", "Less", "Max", "Pow"};
    static const char *const unary[] = {"Relu", "Exp", "Neg", "Sign"};

    (void) state;
    for (size_t i = 0; i < 5; i++) {
        struct one_step s;

        one_step_init(&s, 13);
        one_step_input(&s, PITH_INT32, DIMS(3, 0), NULL);
        one_step_input(&s, PITH_INT32, DIMS(3, 1), NUMBERS(0, 0, 0));
        one_step_node(&s, ops[i], 1);
        if (i == 1) /* nothing is divided, but a zero is there to divide by */
            assert_int_equal(one_step_run(&s), -EINVAL);
        else
            assert_ok(one_step_run(&s), &s.err);
        assert_int_equal(pith_shape_elements(&s.output[0].shape), 0);
        one_step_done(&s);
    }
    for (size_t i = 0; i < 4; i++) {
        struct one_step s;

        one_step_init(&s, 13);
        one_step_input(&s, PITH_FLOAT32, DIMS(0, 4), NULL);
        one_step_node(&s, unary[i], 1);
        one_step_gives(&s, 0, NULL);
    }
}

static void casting_saturates_and_takes_nan_as_zero(void **state)
{
    static const double from[] = {1e30, -1e30, NAN, INFINITY, -INFINITY, -1.9, 2.5};
    static const struct {
        int32_t to;
        double want[7];
    } cases[] = {
        {PITH_INT8, {127, -128, 0, 127, -128, -1, 2}},
        {PITH_UINT8, {255, 0, 0, 255, 0, 0, 2}},
        {PITH_INT32, {2147483647, -2147483648.0, 0, 2147483647, -2147483648.0, -1, 2}},
        {PITH_INT64,
         {9223372036854775807.0, -9223372036854775808.0, 0, 9223372036854775807.0,
          -9223372036854775808.0, -1, 2}},
        {PITH_UINT64, {18446744073709551615.0, 0, 0, 18446744073709551615.0, 0, 0, 2}},
        {PITH_BOOL, {1, 1, 1, 1, 1, 1, 1}},
    };

    (void) state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int wide = 0; wide < 2; wide++) {
            struct one_step s;

            one_step_init(&s, 13);
            one_step_input(&s, wide ? PITH_FLOAT64 : PITH_FLOAT32, DIMS(7), from);
            one_step_node(&s, "Cast", 1);
            one_step_int(&s, "to", cases[i].to);
            one_step_gives(&s, 7, cases[i].want);
        }
}

static void casting_between_integers_keeps_the_low_bits(void **state)
{
    struct one_step s;

    (void) state;
    one_step_init(&s, 13);
    one_step_input(&s, PITH_INT64, DIMS(3), NUMBERS(257, -1, 4294967296.0));
    one_step_node(&s, "Cast", 1);
    one_step_int(&s, "to", PITH_UINT8);
    one_step_gives(&s, 3, NUMBERS(1, 255, 0));
}

/* More than a chunk of the buffer that halves are widened in, and not a multiple of it. */
static void halves_are_right_past_the_first_chunk(void **state)
{
    enum { COUNT = 1000 };
    struct one_step s;
    struct pith_tensor *x;

    (void) state;
    one_step_init(&s, 13);
    x = one_step_input(&s, PITH_FLOAT16, DIMS(COUNT), NULL);
    for (int64_t i = 0; i < COUNT; i++)
        pith_tensor_set(x, i, (double) (i - 500));
    one_step_node(&s, "Relu", 1);
    assert_ok(one_step_run(&s), &s.err);
    for (int64_t i = 0; i < COUNT; i++)
        assert_true(pith_tensor_get(&s.output[0], i) == (i > 500 ? (double) (i - 500) : 0));
    one_step_done(&s);
    one_step_init(&s, 13);
    x = one_step_input(&s, PITH_FLOAT16, DIMS(2, COUNT), NULL);
    for (int64_t i = 0; i < 2 * COUNT; i++)
        pith_tensor_set(x, i, (double) (i % COUNT));
    one_step_input(&s, PITH_FLOAT16, DIMS(2, 1), NUMBERS(500, 0));
    one_step_node(&s, "Greater", 1);
    assert_ok(one_step_run(&s), &s.err);
    for (int64_t i = 0; i < 2 * COUNT; i++)
        assert_true((pith_tensor_get(&s.output[0], i) != 0) == (i < COUNT ? i > 500 : i > COUNT));
    one_step_done(&s);
}

static void clip_limits_every_type(void **state)
{
    struct one_step s;

    (void) state;
    one_step_init(&s, 13);
    one_step_input(&s, PITH_UINT64, DIMS(3),
                   NUMBERS(1, 9223372036854775808.0, 18446744073709549568.0));
    one_step_input(&s, PITH_UINT64, SCALAR, NUMBERS(2));
    one_step_input(&s, PITH_UINT64, SCALAR, NUMBERS(9223372036854777856.0));
    one_step_node(&s, "Clip", 1);
    one_step_gives(&s, 3, NUMBERS(2, 9223372036854775808.0, 9223372036854777856.0));
    one_step_init(&s, 13);
    one_step_input(&s, PITH_FLOAT32, DIMS(3), NUMBERS(-5, 0, 5));
    one_step_left_out(&s);
    one_step_input(&s, PITH_FLOAT32, SCALAR, NUMBERS(1));
    one_step_node(&s, "Clip", 1);
    s.dynamic = true;
    one_step_gives(&s, 3, NUMBERS(-5, 0, 1));
    one_step_init(&s, 13); /* limits that cross: the upper one wins */
    one_step_input(&s, PITH_FLOAT32, DIMS(2), NUMBERS(0, 9));
    one_step_input(&s, PITH_FLOAT32, SCALAR, NUMBERS(5));
    one_step_input(&s, PITH_FLOAT32, SCALAR, NUMBERS(1));
    one_step_node(&s, "Clip", 1);
    one_step_gives(&s, 2, NUMBERS(1, 1));
}

static void powers_by_shortcut_are_those_by_the_long_way(void **state)
{
    static const double exponents[] = {2, 3, 0.5};

    (void) state;
    for (size_t i = 0; i < 3; i++) {
        float got[2][7];

        for (int dynamic = 0; dynamic < 2; dynamic++) {
            struct one_step s;

            one_step_init(&s, 13);
            one_step_input(&s, PITH_FLOAT32, DIMS(7), NUMBERS(0, 0.3, 1, 7.7, 1e6, -0.0, -INFINITY));
            one_step_input(&s, PITH_FLOAT32, SCALAR, &exponents[i]);
            one_step_node(&s, "Pow", 1);
            s.dynamic = dynamic;
            assert_ok(one_step_run(&s), &s.err);
            memcpy(got[dynamic], s.output[0].data, sizeof got[dynamic]);
            one_step_done(&s);
        }
        for (int k = 0; k < 6; k++) { /* each multiplication rounds once: two are at most 2 ulp */
            assert_true(fabsf(got[0][k] - got[1][k]) <= 2 * 1.2e-7F * fabsf(got[1][k]));
            assert_int_equal(signbit(got[0][k]) != 0, signbit(got[1][k]) != 0);
        }
        assert_true(isinf(got[0][6]) && got[0][6] == got[1][6]);
    }
}

static void integer_powers_wrap_and_know_negative_exponents(void **state)
{
    struct one_step s;

    (void) state;
    one_step_init(&s, 13);
    one_step_input(&s, PITH_INT64, DIMS(6), NUMBERS(3, 2, -1, -1, 1, 5));
    one_step_input(&s, PITH_INT64, DIMS(6), NUMBERS(33, 64, -3, -4, -9, -1));
    one_step_node(&s, "Pow", 1);
    one_step_gives(&s, 6, NUMBERS(5559060566555523.0, 0, -1, 1, 1, 0));
}

static void nan_goes_through_what_compares(void **state)
{
    struct one_step s;

    (void) state;
    one_step_init(&s, 13);
    one_step_input(&s, PITH_FLOAT32, DIMS(3), NUMBERS(NAN, 1, 2));
    one_step_input(&s, PITH_FLOAT32, DIMS(3), NUMBERS(1, NAN, 1));
    one_step_node(&s, "Max", 1);
    assert_ok(one_step_run(&s), &s.err);
    assert_true(isnan(pith_tensor_get(&s.output[0], 0)) && isnan(pith_tensor_get(&s.output[0], 1)));
    assert_true(pith_tensor_get(&s.output[0], 2) == 2);
    one_step_done(&s);
}

static void rounding_is_half_to_even(void **state)
{
    struct one_step s;

    (void) state;
    one_step_init(&s, 13);
    one_step_input(&s, PITH_FLOAT32, DIMS(6), NUMBERS(0.5, 1.5, 2.5, -0.5, -1.5, 2.4));
    one_step_node(&s, "Round", 1);
    one_step_gives(&s, 6, NUMBERS(0, 2, 2, -0.0, -2, 2));
}

static void where_broadcasts_all_three(void **state)
{
    struct one_step s;

    (void) state;
    one_step_init(&s, 16);
    one_step_input(&s, PITH_BOOL, DIMS(2, 1), NUMBERS(1, 0));
    one_step_input(&s, PITH_INT64, DIMS(3), NUMBERS(1, 2, 3));
    one_step_input(&s, PITH_INT64, SCALAR, NUMBERS(9));
    one_step_node(&s, "Where", 1);
    one_step_gives(&s, 6, NUMBERS(1, 2, 3, 9, 9, 9));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(division_by_zero_is_refused_for_every_integer),
        cmocka_unit_test(least_integer_by_minus_one_wraps),
        cmocka_unit_test(integers_wrap_around),
        cmocka_unit_test(mod_takes_the_sign_it_should),
        cmocka_unit_test(shifting_everything_out_leaves_zero),
        cmocka_unit_test(every_way_to_broadcast_gives_the_sum_of_coordinates),
        cmocka_unit_test(a_scalar_and_a_row_broadcast_in_sum_of_many),
        cmocka_unit_test(empty_tensors_give_empty_tensors),
        cmocka_unit_test(casting_saturates_and_takes_nan_as_zero),
        cmocka_unit_test(casting_between_integers_keeps_the_low_bits),
        cmocka_unit_test(halves_are_right_past_the_first_chunk),
        cmocka_unit_test(clip_limits_every_type),
        cmocka_unit_test(powers_by_shortcut_are_those_by_the_long_way),
        cmocka_unit_test(integer_powers_wrap_and_know_negative_exponents),
        cmocka_unit_test(nan_goes_through_what_compares),
        cmocka_unit_test(rounding_is_half_to_even),
        cmocka_unit_test(where_broadcasts_all_three),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
