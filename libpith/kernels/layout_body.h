/* The loops of layout.c for one instruction set, for the compiler to vectorize. Included with
 *   FORM(name)  the function's name in this form
 *   TARGET      the function attribute that allows the instructions
 * No include guard: it is included several times. */

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
TRANSPOSE(transpose_16, uint16_t)
TRANSPOSE(transpose_32, uint32_t)
#undef TRANSPOSE
