/* The loops of layout.c for one instruction set, for the compiler to vectorize. Included with
 *   FORM(name)  the function's name in this form
 *   TARGET      the function attribute that allows the instructions
 * No include guard: it is included several times. */

TARGET static void FORM(flip)(const struct grid *grid, const void *from_, void *to_, int64_t count)
{
    const uint8_t *restrict from = from_;
    uint8_t *restrict to = to_;

    (void) grid;
    for (int64_t i = 0; i < count; i++)
        to[i] = from[i] ^ 0x80;
}

/* q = saturate(round half to even(x / scale) + zero); NaN becomes the zero point. */
TARGET static void FORM(quantize)(const struct grid *grid, const void *from_, void *to_,
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

TARGET static void FORM(from_u8)(const struct grid *grid, const void *from_, void *to_,
                                 int64_t count)
{
    const uint8_t *restrict from = from_;
    float *restrict to = to_;
    const float scale = grid->scale;
    const int32_t zero = grid->zero;

    for (int64_t i = 0; i < count; i++)
        to[i] = (float) (from[i] - zero) * scale;
}

TARGET static void FORM(from_s8)(const struct grid *grid, const void *from_, void *to_,
                                 int64_t count)
{
    const int8_t *restrict from = from_;
    float *restrict to = to_;
    const float scale = grid->scale;
    const int32_t zero = grid->zero;

    for (int64_t i = 0; i < count; i++)
        to[i] = (float) (from[i] - zero) * scale;
}

/* to[j * to_row + i] = from[i * from_row + j]. Pixels of two to four channels are written as whole
 * groups, which compilers know to interleave. */
#define TRANSPOSE(name, type)                                                                      \
    TARGET static void FORM(name)(const void *from_, int64_t from_row, void *to_, int64_t to_row,  \
                                  int64_t rows, int64_t cols)                                      \
    {                                                                                              \
        const type *restrict from = from_;                                                         \
        type *restrict to = to_;                                                                   \
                                                                                                   \
        if (rows == 1 && to_row == 1) {                                                            \
            memcpy(to, from, (size_t) cols * sizeof *to);                                          \
        } else if (rows == 3 && to_row == 3) {                                                     \
            for (int64_t j = 0; j < cols; j++) {                                                   \
                to[3 * j] = from[j];                                                               \
                to[3 * j + 1] = from[from_row + j];                                                \
                to[3 * j + 2] = from[2 * from_row + j];                                            \
            }                                                                                      \
        } else if (rows == 4 && to_row == 4) {                                                     \
            for (int64_t j = 0; j < cols; j++) {                                                   \
                to[4 * j] = from[j];                                                               \
                to[4 * j + 1] = from[from_row + j];                                                \
                to[4 * j + 2] = from[2 * from_row + j];                                            \
                to[4 * j + 3] = from[3 * from_row + j];                                            \
            }                                                                                      \
        } else {                                                                                   \
            for (int64_t i = 0; i < rows; i++)                                                     \
                for (int64_t j = 0; j < cols; j++)                                                 \
                    to[j * to_row + i] = from[i * from_row + j];                                   \
        }                                                                                          \
    }
TRANSPOSE(transpose_8, uint8_t)
TRANSPOSE(transpose_32, uint32_t)
#undef TRANSPOSE
