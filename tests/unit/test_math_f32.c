/* exp, sigmoid, tanh, erf and Gelu of every form against the C library's in double, over their whole range. */
#include "tests/testing.h"
#include "tests/unit/each_isa.h"

#include "libpith/kernels/math_f32.h"

#include <float.h>
#include <math.h>

#define COUNT 100003 /* no multiple of any vector */

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

static double gelu(double x)
{
    return 0.5 * x * (1.0 + erf(x / sqrt(2.0)));
}

static double hard_swish(double x)
{
    return x * fmax(0.0, fmin(1.0, x / 6.0 + 0.5));
}

static double gelu_tanh(double x)
{
    return 0.5 * x * (1.0 + tanh(sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
}

/* The distance between two floats next to `value`. */
static double unit_at(double value)
{
    int exponent;

    (void) frexp(value, &exponent);
    return ldexp(1.0, (exponent < FLT_MIN_EXP ? FLT_MIN_EXP : exponent) - FLT_MANT_DIG);
}

static void check(const struct pith_math_form *form, const char *name, pith_math_run *run,
                  double (*exact)(double), double low, double high, double units, double least)
{
    static float x[COUNT], y[COUNT + 1];

    for (int i = 0; i < COUNT; i++)
        x[i] = (float) (low + (high - low) * i / (COUNT - 1));
    y[COUNT] = 123.0F;
    run(y, x, COUNT);
    assert_true(y[COUNT] == 123.0F);
    for (int i = 0; i < COUNT; i++) {
        const double want = exact((double) x[i]);
        const double allowed = units * unit_at(want);

        if (want > (double) FLT_MAX
                ? !isinf(y[i])
                : !(fabs((double) y[i] - want) <= (allowed > least ? allowed : least)))
            fail_msg("%s %s(%.9g) is %.9g, not %.9g: %g units", pith_isa_name(form->isa), name,
                     (double) x[i], (double) y[i], want,
                     fabs((double) y[i] - want) / unit_at(want));
    }
}

static void check_specials(const struct pith_math_form *form)
{
    const float x[] = {INFINITY, -INFINITY, NAN, 0.0F, -0.0F, FLT_MIN, 1e30F, -1e30F};
    float y[8];

    form->exp(y, x, 8);
    assert_true(isinf(y[0]) && y[1] == 0.0F && isnan(y[2]) && y[3] == 1.0F && isinf(y[6]) &&
                y[7] == 0.0F);
    form->sigmoid(y, x, 8);
    assert_true(y[0] == 1.0F && y[1] == 0.0F && isnan(y[2]) && y[3] == 0.5F && y[6] == 1.0F &&
                y[7] == 0.0F);
    form->tanh(y, x, 8);
    assert_true(y[0] == 1.0F && y[1] == -1.0F && isnan(y[2]) && y[5] == FLT_MIN);
    assert_true(y[3] == 0.0F && !signbit(y[3]) && y[4] == 0.0F && signbit(y[4]));
    form->erf(y, x, 8);
    assert_true(y[0] == 1.0F && y[1] == -1.0F && isnan(y[2]) && y[6] == 1.0F && y[7] == -1.0F);
    assert_true(y[3] == 0.0F && !signbit(y[3]) && y[4] == 0.0F && signbit(y[4]));
}

static void math_is_within_its_bounds(void **state)
{
    (void) state;
    for (struct each_isa each = {0}; each_isa(&each);) {
        const struct pith_math_form *form = pith_math_form();

        check(form, "exp", form->exp, exp, -110.0, 95.0, 2.0, 0.0);
        check(form, "exp", form->exp, exp, -1.0, 1.0, 2.0, 0.0);
        check(form, "sigmoid", form->sigmoid, sigmoid, -110.0, 95.0, 4.0, (double) FLT_MIN);
        check(form, "tanh", form->tanh, tanh, -10.0, 10.0, 4.0, 0.0);
        check(form, "tanh", form->tanh, tanh, -0.7, 0.7, 4.0, 0.0);
        check(form, "erf", form->erf, erf, -6.0, 6.0, 4.0, 0.0);
        check(form, "erf", form->erf, erf, -1.1, 1.1, 4.0, 0.0);
        /* the sum of 1 and erf has an error of 4 units of 1, which x multiplies */
        check(form, "gelu", form->gelu, gelu, -6.0, 6.0, 6.0, 6.0 * 4.0 * 0x1p-24);
        check(form, "hard_swish", form->hard_swish, hard_swish, -6.0, 6.0, 6.0, 6.0 * 2.0 * 0x1p-24);
        check(form, "gelu_tanh", form->gelu_tanh, gelu_tanh, -6.0, 6.0, 12.0, 6.0 * 8.0 * 0x1p-24);
        check_specials(form);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(math_is_within_its_bounds)};

    return cmocka_run_group_tests_name("math_f32", tests, NULL, NULL);
}
