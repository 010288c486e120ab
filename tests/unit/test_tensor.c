/* tensor.c and convert.c. */
#include "tests/testing.h"

#include <errno.h>
#include <math.h>
#include <pith/tensor.h>

static void shape_product_is_checked(void **state)
{
    const int64_t small[] = {2, 3, 4};
    const int64_t wide[] = {INT64_C(1) << 40, 2};
    const int64_t wrap[] = {INT64_C(1) << 32, INT64_C(1) << 32, 4};
    const int64_t empty[] = {5, 0, 3};
    const int64_t symbolic[] = {PITH_DIM_UNKNOWN, 3};
    struct pith_shape shape;

    (void) state;
    shape = pith_shape_of(3, small);
    assert_int_equal(pith_shape_elements(&shape), 24);
    shape = pith_shape_of(2, wide);
    assert_int_equal(pith_shape_elements(&shape), -1);
    shape = pith_shape_of(3, wrap);
    assert_int_equal(pith_shape_elements(&shape), -1);
    assert_int_equal(pith_tensor_bytes(PITH_FLOAT32, &shape), -1);
    shape = pith_shape_of(3, empty);
    assert_int_equal(pith_shape_elements(&shape), 0);
    shape = pith_shape_of(2, symbolic);
    assert_int_equal(pith_shape_elements(&shape), -1);
    assert_false(pith_shape_known(&shape));
    shape = pith_shape_of(0, NULL);
    assert_int_equal(pith_shape_elements(&shape), 1);
}

static void shape_text_reads_well(void **state)
{
    const int64_t dims[] = {1, PITH_DIM_UNKNOWN, 96};
    struct pith_shape shape = pith_shape_of(3, dims);
    char text[PITH_SHAPE_TEXT_BYTES];
    char tight[5];

    (void) state;
    assert_string_equal(pith_shape_text(&shape, text, sizeof text), "[1,?,96]");
    assert_string_equal(pith_shape_text(&shape, tight, sizeof tight), "[1,?");
    shape = pith_shape_of(0, NULL);
    assert_string_equal(pith_shape_text(&shape, text, sizeof text), "[]");
}

static void names_and_types_agree(void **state)
{
    (void) state;
    for (int32_t dtype = 1; dtype <= PITH_INT4; dtype++)
        assert_int_equal(pith_dtype_of_name(pith_dtype_name(dtype)), dtype);
    assert_string_equal(pith_dtype_name(23), "unknown");
    assert_string_equal(pith_dtype_name(-1), "unknown");
    assert_int_equal(pith_dtype_of_name("float"), PITH_DTYPE_NONE);
    assert_int_equal(pith_dtype_bits(PITH_STRING), 0);
}

/* Every half goes to float and back unchanged, and halfway between two neighbours goes to the even
 * one. */
static void float16_rounds_to_nearest_even(void **state)
{
    (void) state;
    for (uint32_t half = 0; half < 0x10000; half++) {
        float value = pith_float16_to_float((uint16_t) half);

        if (isnan(value)) {
            assert_true(isnan(pith_float16_to_float(pith_float_to_float16(value))));
            continue;
        }
        assert_int_equal(pith_float_to_float16(value), half);
        if ((half & 0x7fff) < 0x7bff) {
            float next = pith_float16_to_float((uint16_t) (half + 1));
            uint16_t even = (uint16_t) (half & 1 ? half + 1 : half);

            assert_int_equal(pith_float_to_float16((value + next) / 2), even);
            assert_int_equal(pith_float_to_float16(nextafterf((value + next) / 2, value)), half);
        }
    }
    assert_int_equal(pith_float_to_float16(65519.996f), 0x7bff);
    assert_int_equal(pith_float_to_float16(65520.0f), 0x7c00);
    assert_int_equal(pith_float_to_float16(-1e30f), 0xfc00);
    assert_int_equal(pith_float_to_float16(0x1p-25f), 0);
    assert_int_equal(pith_float_to_float16(0x1.000002p-25f), 1);
}

static void bfloat16_rounds_to_nearest_even(void **state)
{
    (void) state;
    assert_int_equal(pith_float_to_bfloat16(1.0f), 0x3f80);
    assert_int_equal(pith_float_to_bfloat16(0x1.01p0f), 0x3f80);
    assert_int_equal(pith_float_to_bfloat16(0x1.03p0f), 0x3f82);
    assert_int_equal(pith_float_to_bfloat16(-INFINITY), 0xff80);
    assert_true(isnan(pith_bfloat16_to_float(pith_float_to_bfloat16(NAN))));
    assert_float_equal(pith_bfloat16_to_float(0x4049), 3.140625f, 0);
}

/* Codes of every one-byte type go to double and back unchanged. */
static void small_types_round_trip(void **state)
{
    const int32_t types[] = {PITH_FLOAT8E4M3FN,   PITH_FLOAT8E4M3FNUZ, PITH_FLOAT8E5M2,
                             PITH_FLOAT8E5M2FNUZ, PITH_INT8,           PITH_UINT8};
    uint8_t code;
    uint8_t back;

    (void) state;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        for (int c = 0; c < 256; c++) {
            struct pith_tensor from = {.dtype = types[i], .data = &code, .bytes = 1};
            struct pith_tensor to = {.dtype = types[i], .data = &back, .bytes = 1};
            double value;

            code = (uint8_t) c;
            value = pith_tensor_get(&from, 0);
            pith_tensor_set(&to, 0, value);
            if (isnan(value))
                assert_true(isnan(pith_tensor_get(&to, 0)));
            else if (!isinf(value)) /* saturates */
                assert_int_equal(back, code);
        }
}

static void float8_has_the_published_limits(void **state)
{
    uint8_t code = 0;
    struct pith_tensor t = {.dtype = PITH_FLOAT8E4M3FN, .data = &code, .bytes = 1};

    (void) state;
    pith_tensor_set(&t, 0, 1e9);
    assert_float_equal(pith_tensor_get(&t, 0), 448, 0);
    t.dtype = PITH_FLOAT8E4M3FNUZ;
    pith_tensor_set(&t, 0, 1e9);
    assert_float_equal(pith_tensor_get(&t, 0), 240, 0);
    t.dtype = PITH_FLOAT8E5M2;
    pith_tensor_set(&t, 0, -1e9);
    assert_float_equal(pith_tensor_get(&t, 0), -57344, 0);
    t.dtype = PITH_FLOAT8E5M2FNUZ;
    pith_tensor_set(&t, 0, 1e9);
    assert_float_equal(pith_tensor_get(&t, 0), 57344, 0);
    t.dtype = PITH_FLOAT8E4M3FN;
    pith_tensor_set(&t, 0, 0x1p-9 * 1.5); /* halfway between codes 1 and 2 */
    assert_int_equal(code, 2);
}

static void int4_packs_low_half_first(void **state)
{
    const int64_t dims[] = {5};
    struct pith_shape shape = pith_shape_of(1, dims);
    struct pith_tensor t;
    struct pith_error err = {0};

    (void) state;
    assert_ok(pith_tensor_alloc(&t, PITH_INT4, &shape, &err), &err);
    assert_int_equal(t.bytes, 3);
    for (int i = 0; i < 5; i++)
        pith_tensor_set(&t, i, 7 - 4 * i); /* 7 3 -1 -5 -9 */
    assert_int_equal(((uint8_t *) t.data)[0], 0x37);
    assert_int_equal(((uint8_t *) t.data)[1], 0xbf);
    assert_int_equal(pith_tensor_get_int(&t, 3), -5);
    assert_int_equal(pith_tensor_get_int(&t, 4), -8); /* kept within the type */
    pith_tensor_free(&t);
    assert_null(t.data);
}

static void integers_saturate_and_stay_exact(void **state)
{
    int64_t wide = (INT64_C(1) << 53) + 1;
    struct pith_tensor t = {.dtype = PITH_INT64, .data = &wide, .bytes = 8};
    char bytes[5] = {0, 1, 0, 0, 0};
    struct pith_tensor unaligned = {.dtype = PITH_INT32, .data = bytes + 1, .bytes = 4};

    (void) state;
    assert_int_equal(pith_tensor_get_int(&t, 0), (INT64_C(1) << 53) + 1);
    pith_tensor_set(&t, 0, 1e30);
    assert_int_equal(wide, INT64_MAX);
    pith_tensor_set(&t, 0, NAN);
    assert_int_equal(wide, 0);
    assert_int_equal(pith_tensor_get_int(&unaligned, 0), 1);
    pith_tensor_set(&unaligned, 0, -2.5);
    assert_int_equal(pith_tensor_get_int(&unaligned, 0), -2);
}

static void alloc_refuses_what_has_no_size(void **state)
{
    const int64_t symbolic[] = {PITH_DIM_UNKNOWN};
    const int64_t huge[] = {INT64_C(1) << 40, INT64_C(1) << 20};
    struct pith_shape shape = pith_shape_of(1, symbolic);
    struct pith_tensor t = {0};
    struct pith_error err = {0};

    (void) state;
    assert_int_equal(pith_tensor_alloc(&t, PITH_FLOAT32, &shape, &err), -EINVAL);
    assert_non_null(strstr(err.text, "[?]"));
    shape = pith_shape_of(2, huge);
    assert_int_equal(pith_tensor_alloc(&t, PITH_INT8, &shape, NULL), -EINVAL);
    shape = pith_shape_of(0, NULL);
    assert_int_equal(pith_tensor_alloc(&t, PITH_STRING, &shape, NULL), -EINVAL);
    assert_null(t.data);
    assert_ok(pith_tensor_alloc(&t, PITH_FLOAT64, &shape, &err), &err);
    assert_true((uintptr_t) t.data % 64 == 0);
    pith_tensor_free(&t);
    pith_tensor_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shape_product_is_checked),
        cmocka_unit_test(shape_text_reads_well),
        cmocka_unit_test(names_and_types_agree),
        cmocka_unit_test(float16_rounds_to_nearest_even),
        cmocka_unit_test(bfloat16_rounds_to_nearest_even),
        cmocka_unit_test(small_types_round_trip),
        cmocka_unit_test(float8_has_the_published_limits),
        cmocka_unit_test(int4_packs_low_half_first),
        cmocka_unit_test(integers_saturate_and_stay_exact),
        cmocka_unit_test(alloc_refuses_what_has_no_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
