/* The loops of byte_grid.c for one instruction set, for the compiler to vectorize. Included with
 *   FORM(name)  the function's name in this form
 *   TARGET      the function attribute that allows the instructions
 * No include guard: it is included several times. */

TARGET static void FORM(flip)(const struct pith_byte_grid *grid, const void *from_, void *to_, int64_t count)
{
    const uint8_t *restrict from = from_;
    uint8_t *restrict to = to_;

    (void) grid;
    for (int64_t i = 0; i < count; i++)
        to[i] = from[i] ^ 0x80;
}

/* q = saturate(round half to even(x / scale) + zero); NaN becomes the zero point. */
TARGET static void FORM(quantize)(const struct pith_byte_grid *grid, const void *from_, void *to_,
                                  int64_t count)
{
    const float *restrict from = from_;
    uint8_t *restrict to = to_;
    const float scale = grid->scale, zero = (float) grid->zero, least = (float) grid->least,
                greatest = least + 255.0F;

    for (int64_t i = 0; i < count; i++) {
        float q = nearbyintf(from[i] / scale) + zero;

        q = q == q ? q : zero;
        q = q < least ? least : q;
        q = q > greatest ? greatest : q;
        to[i] = (uint8_t) (int32_t) q;
    }
}

#define FROM_BYTES(name, byte)                                                                     \
    TARGET static void FORM(name)(const struct pith_byte_grid *grid, const void *from_, void *to_, \
                                  int64_t count)                                                   \
    {                                                                                              \
        const byte *restrict from = from_;                                                         \
        float *restrict to = to_;                                                                  \
        const float scale = grid->scale;                                                           \
        const int32_t zero = grid->zero;                                                           \
                                                                                                   \
        for (int64_t i = 0; i < count; i++)                                                        \
            to[i] = (float) (from[i] - zero) * scale;                                              \
    }

FROM_BYTES(from_u8, uint8_t)
FROM_BYTES(from_s8, int8_t)

TARGET static void FORM(round)(const struct pith_float_grid *grid, const float *restrict from, float *restrict to,
                               int64_t count)
{
    const float scale = grid->scale, zero = (float) grid->zero, least = (float) grid->least,
                greatest = (float) grid->greatest;

    for (int64_t i = 0; i < count; i++) {
        float q = nearbyintf(from[i] / scale) + zero;

        q = q == q ? q : zero;
        q = q < least ? least : q;
        q = q > greatest ? greatest : q;
        to[i] = (q - zero) * scale;
    }
}

#define SCALE_BYTES(name, byte)                                                                    \
    TARGET static void FORM(name)(const struct pith_byte_scaling *s, const void *from_,            \
                                  const float *factor_, void *to_, int64_t count)                  \
    {                                                                                              \
        const byte *from = from_;                                                                  \
        const float *restrict factor = factor_;                                                    \
        uint8_t *to = to_;                                                                         \
        const int32_t from_zero = s->zero;                                                         \
        const float zero = (float) s->to_zero, least = (float) s->to_least,                        \
                    greatest = least + 255.0F;                                                     \
                                                                                                   \
        IN_ANY_ORDER for (int64_t i = 0; i < count; i++)                                           \
        {                                                                                          \
            float q = nearbyintf((float) (from[i] - from_zero) * factor[i]) + zero;                \
                                                                                                   \
            q = q == q ? q : zero;                                                                 \
            q = q < least ? least : q;                                                             \
            q = q > greatest ? greatest : q;                                                       \
            to[i] = (uint8_t) (int32_t) q;                                                         \
        }                                                                                          \
    }

SCALE_BYTES(scale_u8, uint8_t)
SCALE_BYTES(scale_s8, int8_t)

#undef FROM_BYTES
#undef SCALE_BYTES

/* Floats to int16 on a grid, and back. A division would take most of the time: what it gives differs from this by less than a
 * hundredth of a step, so that what lies next to the middle between two integers may go to the other one. */
TARGET static void FORM(words_of)(const struct pith_byte_grid *grid, const void *from_, void *to_, int64_t count)
{
    const float steps = 1.0F / grid->scale, low = (float) (-32768 - grid->zero),
                high = (float) (32767 - grid->zero);
    const uint32_t zero = (uint32_t) grid->zero;
    const float *restrict from = from_;
    int16_t *restrict to = to_;

    if (grid->scale < LEAST_SCALE)
        for (int64_t i = 0; i < count; i++)
            to[i] = word_of(from[i] / grid->scale, low, high, zero);
    else
        for (int64_t i = 0; i < count; i++)
            to[i] = word_of(from[i] * steps, low, high, zero);
}

TARGET static void FORM(from_words)(const struct pith_byte_grid *grid, const void *from_, void *to_, int64_t count)
{
    const float scale = grid->scale;
    const int32_t zero = grid->zero;
    const int16_t *restrict from = from_;
    float *restrict to = to_;

    for (int64_t i = 0; i < count; i++)
        to[i] = (float) (from[i] - zero) * scale;
}
