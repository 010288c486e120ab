/* Functions of one element that exporters wrote out in small operators: Hardswish of floats is one step; between grids of 8
 * bits each is a table; and what only looks like one stays. Products with one number a channel. */
#include "tests/unit/fused_graph.h"

#include "libpith/kernels/byte_grid.h"
#include "libpith/kernels/byte_table.h"

static uint32_t clip(uint32_t x, float low, float high)
{
    return add_node(graph, "Clip", (uint32_t[]){x, number(low), number(high)}, 3, NULL);
}

static uint32_t hard_sigmoid(uint32_t x, float alpha, float beta)
{
    uint32_t node, y = add_node(graph, "HardSigmoid", &x, 1, &node);

    assert_int_equal(pith_node_set_float(graph, node, "alpha", alpha), 0);
    assert_int_equal(pith_node_set_float(graph, node, "beta", beta), 0);
    return y;
}

static uint32_t gate(uint32_t x)
{
    return clip(two("Add", x, number(3.0F)), 0.0F, 6.0F);
}

#define SWISHES 6

/* As exporters of several frameworks have it. */
static uint32_t hard_swish(uint32_t x, int way)
{
    switch (way) {
    case 0:
        return two("Div", two("Mul", x, gate(x)), number(6.0F));
    case 1:
        return two("Mul", x, two("Div", gate(x), number(6.0F)));
    case 2:
        return two("Mul", two("Mul", number(1.0F / 6.0F), gate(x)), x);
    case 3:
        return two("Mul", hard_sigmoid(x, 1.0F / 6.0F, 0.5F), x);
    case 4:
        return two("Mul", number(0.166666667F), two("Mul", x, gate(x)));
    default:
        return one("HardSwish", x);
    }
}

static void hard_swish_of_floats_is_one_step(void **state)
{
    (void) state;
    for (int round = 0; round < 2 * SWISHES; round++) {
        const int64_t dims[] = {1, 5, 3, 7};
        const uint32_t input = begin(round % 4 > 1 && round < 10 ? 11 : 14, 4, dims);
        const uint32_t x = two("Mul", input, number(3.0F));

        check(hard_swish(x, round / 2), round % 2 ? "unary" : "binary", 1, 4e-6);
    }
}

static void what_only_looks_like_hard_swish_stays(void **state)
{
    (void) state;
    for (int round = 0; round < 7; round++) {
        const int64_t dims[] = {3, 67};
        const uint32_t x = begin(14, 2, dims), other = row(67);
        const uint32_t y = round == 0   ? two("Div", two("Mul", x, gate(x)), number(5.0F))
                           : round == 1 ? two("Div", two("Mul", other, gate(x)), number(6.0F))
                           : round == 2 ? two("Div", number(6.0F), two("Add", two("Mul", x, gate(x)), number(9.0F)))
                           : round == 3 ? two("Mul", x, clip(two("Add", x, number(3.0F)), 0.0F, 5.0F))
                           : round == 4 ? two("Mul", x, hard_sigmoid(x, 0.2F, 0.5F))
                           : round == 5 ? two("Mul", x, clip(two("Sub", x, number(3.0F)), 0.0F, 6.0F))
                                        : two("Div", two("Mul", x, two("Add", gate(x), number(1.0F))), number(6.0F));

        check(y, "unary", round == 4, 1e-5);
    }
}

/* ---- between grids ---- */

static uint32_t on(uint32_t value, int32_t dtype, float scale, int32_t zero)
{
    set_grid(graph, value, dtype, scale, zero, 0, 0);
    return value;
}

static uint32_t conv(uint32_t x, int64_t in, int64_t out)
{
    const uint32_t w = add_constant(graph, PITH_INT8, 4, (const int64_t[]){out, in, 1, 1});

    set_grid(graph, w, PITH_INT8, 0.004F, 0, 0, (size_t) out);
    return two("Conv", x, w);
}

#define FUNCTIONS 12

static uint32_t function(uint32_t x, int way)
{
    switch (way - SWISHES) {
    case 0:
        return two("Mul", x, one("Sigmoid", x));
    case 1:
        return two("Mul", x, one("Tanh", one("Softplus", x)));
    case 2:
        return two("Mul", two("Mul", x, number(0.5F)),
                   two("Add", one("Erf", two("Div", x, number(1.41421354F))), number(1.0F)));
    case 3:
        return two("Add", one("Elu", two("Sub", number(1.0F), x)), two("Pow", x, number(2.0F)));
    case 4:
        return one("Identity", one("LeakyRelu", x));
    case 5:
        return two("Sub", one("Abs", x), one("Floor", two("Max", x, number(-1.0F))));
    default:
        return hard_swish(x, way);
    }
}

/* Planar and channels-last, of both signs: the table gives what the operators give, and is all that is left of them. */
static void functions_between_grids_are_tables(void **state)
{
    (void) state;
    for (int round = 0; round < 3 * FUNCTIONS; round++) {
        const int32_t dtype = round % 3 == 1 ? PITH_INT8 : PITH_UINT8, least = dtype == PITH_INT8 ? -128 : 0;
        const int64_t dims[] = {1, 5, 3, 7};
        uint32_t x = on(begin(14, 4, dims), dtype, 0.017F, least + 130), y;

        if (round % 3 == 2)
            x = on(conv(x, 5, 13), dtype, 0.02F, least + 120);
        y = on(function(x, round / 3), dtype, 0.02F, least + 90);
        check(y, "table_8", 1, round % 3 == 2 ? 0.0402 : 1e-9);
    }
}

/* What else is read of a function, and grids inside, keep their values. */
static void functions_that_others_look_into_stay(void **state)
{
    (void) state;
    for (int round = 0; round < 4; round++) {
        const int64_t dims[] = {1, 5, 3, 7};
        const uint32_t x = on(begin(14, 4, dims), PITH_UINT8, 0.02F, 128), sigmoid = one("Sigmoid", x);
        uint32_t y;

        if (round == 0) /* a grid inside: two tables would be one with another rounding */
            y = on(two("Mul", on(sigmoid, PITH_UINT8, 0.004F, 0), number(3.0F)), PITH_UINT8, 0.012F, 0);
        else if (round == 1) /* another operand */
            y = on(two("Mul", sigmoid, row(7)), PITH_UINT8, 0.01F, 100);
        else if (round == 2) /* no grid at the end */
            y = two("Mul", x, sigmoid);
        else
            y = on(two("Mul", x, one("ReduceMax", sigmoid)), PITH_UINT8, 0.02F, 128);
        check(y, "table_8", round == 0 ? 2 : 0, round == 1 || round == 3 ? 0.0201 : 1e-6);
    }
}

/* Squeeze and excitation: every step between grids is one of integers, which all instruction sets make the same. */
static void one_number_a_channel_scales_pictures_of_bytes(void **state)
{
    (void) state;
    for (int round = 0; round < 12; round++) {
        const int64_t channels = (const int64_t[]){1, 13, 40, 60}[round % 4];
        const int64_t dims[] = {1 + round % 2, 3, 5, 2 + round % 7};
        const int32_t dtype = round % 3 == 1 ? PITH_INT8 : PITH_UINT8, least = dtype == PITH_INT8 ? -128 : 0;
        uint32_t x = on(begin(14, 4, dims), dtype, 0.017F, least + 130), numbers;

        x = on(conv(x, 3, channels), dtype, 0.02F, least + 120);
        numbers = on(one("GlobalAveragePool", x), dtype, 0.01F, least + 128);
        numbers = on(hard_sigmoid(numbers, 0.2F, 0.5F), dtype, 0.0039F, least);
        x = on(round % 2 ? two("Mul", x, numbers) : two("Mul", numbers, x), dtype, 0.013F, least + 100);
        /* a step of x, and one of the mean, are rounded otherwise now and then */
        check(x, "image_gate_s8", 1, 0.0262);
    }
}

/* Padding with zeros, of rows, columns and channels, moves the integers of one grid. */
static void padding_moves_bytes(void **state)
{
    (void) state;
    for (int round = 0; round < 8; round++) {
        const int64_t dims[] = {2, 3, 4, 5};
        const int64_t pads[8] = {0, 1 + round % 3, round % 2, 1, 0, round / 3, 2, round % 4};
        const int32_t dtype = round % 2 ? PITH_INT8 : PITH_UINT8, zero = round % 2 ? -8 : 120;
        uint32_t x = on(begin(14, 4, dims), dtype, 0.017F, zero), y, node;

        x = on(conv(x, 3, 13), dtype, 0.02F, zero);
        y = add_node(graph, "Pad", (uint32_t[]){x, ints(8, pads)}, 2, &node);
        if (round >= 6)
            assert_int_equal(pith_node_set_string(graph, node, "mode", "edge"), 0);
        y = on(y, dtype, 0.02F, zero);
        y = on(conv(y, 13 + pads[1] + pads[5], 7), dtype, 0.03F, zero);
        check(y, "image_pad_s8", 1, 0.0901);
    }
}

/* ---- many bytes ---- */

static void every_form_looks_up_and_scales_the_same(void **state)
{
    uint8_t table[256], from[333], want[333], got[333];
    float factor[333];

    (void) state;
    for (int i = 0; i < 256; i++)
        table[i] = (uint8_t) (i * 89 + 7);
    for (int count = 0; count < 333; count += 1 + count / 7) {
        const struct pith_byte_scaling scaling = {count % 250 - 120, count % 200 - 100, count % 2 ? -128 : 0};

        for (int i = 0; i < count; i++) {
            from[i] = (uint8_t) (random_float() * 128.0F + 128.0F);
            factor[i] = i % 50 == 49 ? NAN : random_float() * (i % 20 == 19 ? 1e30F : 2.0F);
            want[i] = table[from[i]];
        }
        for (int form = 0; pith_byte_table_form(form); form++) {
            memset(got, 1, sizeof got);
            pith_byte_table_form(form)(table, from, got, count);
            assert_memory_equal(got, want, (size_t) count);
            assert_int_equal(got[count], 1);
        }
        for (int bytes = 0; bytes < 2; bytes++)
            for (struct each_isa each = {0}; each_isa(&each);) {
                const struct pith_byte_grid_form *form = pith_byte_grid_form();
                const bool plain = pith_isa() == PITH_ISA_PLAIN;

                (bytes ? form->scale_s8 : form->scale_u8)(&scaling, from, factor, plain ? want : got, count);
                if (!plain)
                    assert_memory_equal(got, want, (size_t) count);
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hard_swish_of_floats_is_one_step),
        cmocka_unit_test(what_only_looks_like_hard_swish_stays),
        cmocka_unit_test(functions_between_grids_are_tables),
        cmocka_unit_test(functions_that_others_look_into_stay),
        cmocka_unit_test(one_number_a_channel_scales_pictures_of_bytes),
        cmocka_unit_test(padding_moves_bytes),
        cmocka_unit_test(every_form_looks_up_and_scales_the_same),
    };

    return cmocka_run_group_tests_name("fused_functions", tests, open_engine, close_engine);
}
