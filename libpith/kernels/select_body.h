/* Choosing lane by lane: included by the body of a form, once per instruction set. Who includes it has
 * defined FORM(name) and INLINE; FORM(words) and FORM(vector) are as many int32 as floats. */

INLINE FORM(vector) FORM(spread)(float x)
{
    return (FORM(vector)){0} + x;
}

INLINE FORM(words) FORM(choose)(FORM(words) mask, FORM(words) yes, FORM(words) no)
{
    return (yes & mask) | (no & ~mask);
}

INLINE FORM(vector) FORM(select)(FORM(words) mask, FORM(vector) yes, FORM(vector) no)
{
    return (FORM(vector)) FORM(choose)(mask, (FORM(words)) yes, (FORM(words)) no);
}
