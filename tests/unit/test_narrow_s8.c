/* Weights as int8 and their sums, against one by one, over odd lengths, strides and zero points. */
#include "tests/testing.h"

#include "libpith/kernels/narrow_s8.h"

#include <stdlib.h>

#define COUNT 5003 /* more than a batch of sums, and no multiple of a vector */

static void fill(uint8_t *bytes, uint32_t seed)
{
    for (int i = 0; i < COUNT; i++) {
        seed = seed * 1664525u + 1013904223u;
        bytes[i] = (uint8_t) (seed >> 24);
    }
}

static void check(const struct pith_tensor *w, int64_t at, int64_t stride, int64_t count,
                  int32_t zero)
{
    static int8_t narrow[COUNT];
    struct pith_weight_sums sums = {7, 9}, want = {7, 9};
    bool fits = true;

    for (int64_t i = 0; i < count; i++) {
        const int64_t v = pith_tensor_get_int(w, at + i * stride) - zero;

        fits = fits && v >= -128 && v <= 127;
        want.sum += v;
        want.magnitude += llabs(v);
    }
    assert_int_equal(pith_narrow_weights(w, at, stride, count, zero, narrow, &sums), fits);
    if (!fits)
        return;
    assert_int_equal(sums.sum, want.sum);
    assert_int_equal(sums.magnitude, want.magnitude);
    for (int64_t i = 0; i < count; i++)
        assert_int_equal(narrow[i], pith_tensor_get_int(w, at + i * stride) - zero);
}

static void weights_are_narrowed_as_one_by_one(void **state)
{
    static const int64_t counts[] = {0, 1, 7, 15, 16, 17, 31, 1024, 1031, 4999};
    static uint8_t bytes[COUNT];
    struct pith_tensor w = {PITH_INT8, {1, {COUNT}}, bytes, sizeof bytes};

    (void) state;
    fill(bytes, 3);
    for (int32_t dtype = PITH_UINT8; dtype <= PITH_INT8; dtype++)
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++)
            for (int64_t stride = 1; stride <= 3; stride++)
                for (int32_t zero = -1; zero <= 128; zero += 129 / 3) {
                    w.dtype = dtype;
                    if (2 + counts[c] * stride <= COUNT)
                        check(&w, 2, stride, counts[c], zero);
                }
    for (int i = 0; i < COUNT; i++) /* what fills lanes of sums most */
        bytes[i] = 0x80;
    w.dtype = PITH_INT8;
    check(&w, 0, 1, COUNT, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(weights_are_narrowed_as_one_by_one)};

    return cmocka_run_group_tests_name("narrow_s8", tests, NULL, NULL);
}
