/* What requantize.h defines, for vectors of sums: included by the body of a form, once per
 * instruction set. Who includes it has defined FORM(name), INLINE, LANES and NEAREST(f), floats to
 * int32, half to even; FORM(words) and FORM(vector) are LANES of int32 and of float. */

#include "libpith/kernels/select_body.h"

INLINE FORM(vector) FORM(limit)(FORM(vector) x, float low, float high)
{
    x = FORM(select)(x < FORM(spread)(low), FORM(spread)(low), x);
    return FORM(select)(x > FORM(spread)(high), FORM(spread)(high), x);
}

INLINE FORM(vector) FORM(requantize_slant)(const struct pith_requantize *r, FORM(vector) f)
{
    if (r->slope == 1.0F)
        return f;
    return FORM(select)(f < FORM(spread)(0.0F), f * FORM(spread)(r->slope), f);
}

/* pith_requantize_real of sums that have their bias. */
INLINE FORM(vector)
    FORM(requantize_real)(const struct pith_requantize *r, FORM(words) sum, FORM(vector) scale)
{
    return FORM(requantize_slant)(r, __builtin_convertvector(sum, FORM(vector)) * scale);
}

/* pith_requantize_add. residual: as stored. */
INLINE FORM(vector)
    FORM(requantize_add)(const struct pith_requantize *r, FORM(vector) f, FORM(words) residual)
{
    residual -= r->residual_zero;
    if (r->rounds_between)
        f = __builtin_convertvector(NEAREST(f), FORM(vector));
    f = FORM(limit)(f, r->between_low, r->between_high);
    f = (f * FORM(spread)(r->between_scale) +
         __builtin_convertvector(residual, FORM(vector)) * FORM(spread)(r->residual_scale)) /
        FORM(spread)(r->y_scale);
    if (r->after_slope == 1.0F)
        return f;
    return FORM(select)(f < FORM(spread)(0.0F), f * FORM(spread)(r->after_slope), f);
}

/* The stored integers of pith_requantize_store. */
INLINE FORM(words) FORM(requantize_store)(const struct pith_requantize *r, FORM(vector) f)
{
    const FORM(words) low = (FORM(words)){0} + r->low, high = (FORM(words)){0} + r->high;
    FORM(words) q = NEAREST(f) + r->zero;

    q = FORM(choose)(q < low, low, q);
    return FORM(choose)(q > high, high, q);
}
