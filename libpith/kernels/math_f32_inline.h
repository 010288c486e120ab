/* exp, sigmoid, tanh and others of one vector, for bodies that apply them in passing: behind
 * vectors_begin.h, once per instruction set. How exact they are is said in math_f32.h. Polynomials:
 * Moshier's Cephes library, expf and tanhf. */

/* x = n ln 2 + r; e^r by a polynomial; 2^n in two factors, so that subnormal results and infinity
 * come out right. */
INLINE FORM(vector) FORM(exp_of)(FORM(vector) x)
{
    const FORM(vector) magic =
        FORM(spread)(12582912.0F); /* 1.5 * 2^23, whose unit is 1: adding it rounds */
    FORM(vector) rounded, r, p;
    FORM(words) n, half;

    x = FORM(at_most)(FORM(spread)(90.0F), FORM(at_least)(FORM(spread)(-105.0F), x));
    rounded = x * 1.44269504088896341F + magic;
    n = (FORM(words)) rounded - 0x4B400000;
    rounded -= magic;
    r = x - rounded * 0.693359375F;
    r = r + rounded * 2.12194440e-4F;
    p = 1.9875691500e-4F * r + 1.3981999507e-3F;
    p = p * r + 8.3334519073e-3F;
    p = p * r + 4.1665795894e-2F;
    p = p * r + 1.6666665459e-1F;
    p = p * r + 5.0000001201e-1F;
    p = p * (r * r) + r + 1.0F;
    half = n >> 1;
    return p * (FORM(vector))((half + 127) << 23) * (FORM(vector))((n - half + 127) << 23);
}

INLINE FORM(vector) FORM(sigmoid_of)(FORM(vector) x)
{
    return 1.0F / (1.0F + FORM(exp_of)(-x));
}

INLINE FORM(vector) FORM(tanh_of)(FORM(vector) x)
{
    const FORM(words) sign = (FORM(words)) x & INT32_MIN;
    const FORM(vector) magnitude = (FORM(vector))((FORM(words)) x ^ sign), z = x * x;
    const FORM(vector) far = 1.0F - 2.0F / (FORM(exp_of)(magnitude + magnitude) + 1.0F);
    FORM(vector) p = -5.70498872745e-3F * z + 2.06390887954e-2F;

    p = p * z - 5.37397155531e-2F;
    p = p * z + 1.33314422036e-1F;
    p = p * z - 3.33332819422e-1F;
    p = p * z * x + x;
    /* p already has x's sign, but for zero */
    return (FORM(vector))((FORM(words)) FORM(select)(magnitude < 0.625F, p, far) | sign);
}

INLINE FORM(vector) FORM(erf_of)(FORM(vector) x)
{
    const FORM(words) sign = (FORM(words)) x & INT32_MIN;
    const FORM(vector) magnitude = (FORM(vector))((FORM(words)) x ^ sign), z = x * x,
                       t = FORM(at_most)(FORM(spread)(4.0F), magnitude); /* past it, it is 1 */
    FORM(vector) near = -9.66704429e-06F * z + 1.12659589e-4F, far;

    near = near * z - 8.48408039e-4F;
    near = near * z + 5.22103181e-3F;
    near = near * z - 2.68654307e-2F;
    near = near * z + 1.12837825e-1F;
    near = near * z - 3.76126385e-1F;
    near = near * z + 1.28379167e-1F;
    near = near * x + x;
    far = -2.06928627e-7F * t + 3.10091572e-6F;
    far = far * t - 9.58247562e-7F;
    far = far * t - 3.31930491e-4F;
    far = far * t + 3.82775994e-3F;
    far = far * t - 2.43022190e-2F;
    far = far * t + 1.06971241e-1F;
    far = far * t + 6.34659728e-1F;
    far = far * t + 1.28778965e-1F;
    far = 1.0F - FORM(exp_of)(-t - far * t);
    return (FORM(vector))((FORM(words)) FORM(select)(magnitude < 1.0F, near, far) | sign);
}

INLINE FORM(vector) FORM(hard_swish_of)(FORM(vector) x)
{
    return x * FORM(at_most)(FORM(spread)(1.0F), FORM(at_least)(FORM(spread)(0.0F), x * (1.0F / 6.0F) + 0.5F));
}

INLINE FORM(vector) FORM(gelu_of)(FORM(vector) x)
{
    return 0.5F * x * (1.0F + FORM(erf_of)(x * 0.707106781F));
}

INLINE FORM(vector) FORM(gelu_tanh_of)(FORM(vector) x)
{
    return 0.5F * x * (1.0F + FORM(tanh_of)(0.797884561F * (x + 0.044715F * x * x * x)));
}
