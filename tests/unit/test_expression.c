/* Tests of libpith/pipeline/expression.c. */
#include "libpith/pipeline/expression.h"
#include "tests/testing.h"

#include <errno.h>
#include <math.h>

static float answer(const char *text, float x)
{
    struct pith_expression *expression;
    struct pith_error err = {0};
    float y = 0;

    assert_ok(pith_expression_compile(&expression, text, &err), &err);
    pith_expression_run(expression, &x, &y, 1);
    pith_expression_free(expression);
    return y;
}

static void refused(const char *text, const char *with)
{
    struct pith_expression *expression;
    struct pith_error err = {0};

    assert_int_equal(pith_expression_compile(&expression, text, &err), -EBADMSG);
    assert_null(expression);
    if (!strstr(err.text, with))
        fail_msg("\"%s\" is not in: %s", with, err.text);
}

static void expression_binds_as_in_arithmetic(void **state)
{
    (void) state;
    assert_float_equal(answer("x / 10 + 2", 30), 5, 0);
    assert_float_equal(answer("1 + 2 * x", 3), 7, 0);
    assert_float_equal(answer("(1 + 2) * x", 3), 9, 0);
    assert_float_equal(answer("10 - 3 - x", 2), 5, 0);
    assert_float_equal(answer("16 / 4 / x", 2), 2, 0);
    assert_float_equal(answer("-x * -2", 3), 6, 0);
    assert_float_equal(answer("- - -x", 3), -3, 0);
    assert_float_equal(answer("1.5e1*x", 2), 30, 0);
    assert_float_equal(answer(".5", 2), 0.5f, 0);
}

static void expression_has_its_functions(void **state)
{
    (void) state;
    assert_float_equal(answer("clip(x, -1, 1)", 3), 1, 0);
    assert_float_equal(answer("clip(x, -1, 1)", -3), -1, 0);
    assert_float_equal(answer("min(x, 2) + max(x, 2)", 5), 7, 0);
    assert_float_equal(answer("abs(x)", -4), 4, 0);
    assert_float_equal(answer("log(exp(x))", 2), 2, 1e-6);
    assert_float_equal(answer("log2(8) + log10(100)", 0), 5, 1e-6);
    assert_float_equal(answer("sqrt(x) + pow(x, 2)", 4), 18, 1e-6);
    assert_float_equal(answer("tanh(0) + sigmoid(x)", 0), 0.5f, 0);
    assert_float_equal(answer("floor(x) + round(x)", 1.75f), 3, 0);
    assert_float_equal(answer("relu(x)", -1), 0, 0);
    assert_float_equal(answer("sin(pi / 2) + cos(0)", 0), 2, 1e-6);
}

static void expression_runs_over_blocks_in_place(void **state)
{
    struct pith_expression *expression;
    struct pith_error err = {0};
    float values[1000];

    (void) state;
    for (size_t i = 0; i < 1000; i++)
        values[i] = (float) i;
    assert_ok(pith_expression_compile(&expression, "x * x - x / 2", &err), &err);
    pith_expression_run(expression, values, values, 1000);
    for (size_t i = 0; i < 1000; i++)
        assert_float_equal(values[i], (float) i * (float) i - (float) i / 2, 0);
    pith_expression_free(expression);
}

static void expression_refuses_what_it_does_not_know(void **state)
{
    (void) state;
    refused("", "the end where a number");
    refused("x +", "character 4");
    refused("x 10", "'1' where an operator");
    refused("y / 10", "\"y\" is unknown");
    refused("system(x)", "\"system\" is unknown");
    refused("(x", "')'");
    refused("x)", "character 2");
    refused("clip(x, 1)", "clip takes 3 arguments");
    refused("abs(x, 1)", "abs takes 1 argument");
    refused("abs x", "'('");
    refused("1e999", "range of float32");
    refused("1.2.3", "a decimal number");
    refused("1e", "a decimal number");
    refused("x % 2", "'%' where");
    refused("x / \xff", "byte 0xff");
    refused("nan", "unknown");
    refused("inf", "unknown");
    refused("0x10", "where an operator");
}

static void expression_refuses_what_is_too_much(void **state)
{
    char text[4096];

    (void) state;
    memset(text, '(', sizeof text - 1);
    text[sizeof text - 1] = 0;
    refused(text, "at most 1024");
    text[900] = 0;
    refused(text, "nested deeper");
    for (size_t i = 0; i < 500; i++)
        memcpy(text + 2 * i, "+x", 2);
    text[1000] = 0;
    refused(text, "more than 256 operations");
    memset(text, '-', 1000);
    refused(text, "the end");
    text[0] = 0;
    for (size_t i = 0; i < 30; i++)
        strcat(text, "1+(");
    refused(text, "operands wait");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expression_binds_as_in_arithmetic),
        cmocka_unit_test(expression_has_its_functions),
        cmocka_unit_test(expression_runs_over_blocks_in_place),
        cmocka_unit_test(expression_refuses_what_it_does_not_know),
        cmocka_unit_test(expression_refuses_what_is_too_much),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
