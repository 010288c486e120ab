/* The loops of math_f32.h for one instruction set (vectors_begin.h). */
#include "libpith/kernels/vectors_begin.h"

#include "libpith/kernels/math_f32_inline.h"

#define LOOP(name)                                                                                 \
    TARGET static void FORM(name)(float *y, const float *x, int64_t count)                         \
    {                                                                                              \
        int64_t i = 0;                                                                             \
                                                                                                   \
        for (; i + LANES <= count; i += LANES)                                                     \
            FORM(store)(y + i, FORM(name##_of)(FORM(load)(x + i)));                                \
        if (i < count)                                                                             \
            FORM(store_some)                                                                       \
        (y + i, FORM(name##_of)(FORM(load_some)(x + i, (int) (count - i))), (int) (count - i));    \
    }

LOOP(exp)
LOOP(sigmoid)
LOOP(tanh)
LOOP(erf)
LOOP(gelu)
LOOP(gelu_tanh)
LOOP(hard_swish)

TARGET static void FORM(activate_many)(const struct pith_activation *a, float *y, int64_t count)
{
    int64_t i = 0;

    for (; i + LANES <= count; i += LANES)
        FORM(store)(y + i, FORM(activate)(a, FORM(load)(y + i)));
    if (i < count)
        FORM(store_some)
    (y + i, FORM(activate)(a, FORM(load_some)(y + i, (int) (count - i))), (int) (count - i));
}

#undef LOOP
#include "libpith/kernels/vectors_end.h"
