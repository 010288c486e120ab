/* The loops of image_depthwise_s8.h, included once per width and instruction set. Who includes it defines
 * FORM(name), TARGET, LANES, OPERAND as in image_dense_s8_body.h; NEAREST(f), a vector of floats as
 * rounded int32; LOW16, HIGH16 (a, b), the interleaved words of the lower or upper half of every 128 bits;
 * FORM(put)(to, bytes, count), which stores the first of them; PAIRS: 1 where words are multiplied, 0
 * where bytes are, and what the file of that kind of products asks for. That file defines
 *   VECTORS                        of int32 that a block of channels takes
 *   HAS_BARE                       whether there is a store without zero point and limits
 *   FORM(add_taps)(sum, row, x)    adds the products of a pixel
 *   struct FORM(window)            three columns of three rows, and the weights that they meet
 *   FORM(open)(row)                a window that holds no column yet
 *   FORM(read)(window, row, x, i)  column i of the pixel at x, from the left: after its left neighbour
 *   FORM(add_window)(sum, window)
 *   FORM(move)(window, by)         to the right
 *   FORM(narrow)(q, r, bare)       rounded sums as bytes, with zero point and limits unless bare */
#define BLOCK  (VECTORS * LANES)
#define UNROLL _Pragma("GCC unroll 4")
#define INLINE TARGET static inline __attribute__((always_inline))

typedef int32_t FORM(words) __attribute__((vector_size(4 * LANES)));
typedef float FORM(vector) __attribute__((vector_size(4 * LANES)));

#if PAIRS
#include "libpith/kernels/image_depthwise_s8_pairs.h"
#else
#include "libpith/kernels/image_depthwise_s8_bytes.h"
#endif

INLINE void FORM(start)(const struct pith_depthwise_s8_row *row, FORM(words) * sum)
{
    UNROLL for (int i = 0; i < VECTORS; i++) sum[i] = ((const FORM(words) *) row->bias)[i];
}

/* bare: there is no slope, zero point or limit. */
INLINE void FORM(store)(const struct pith_depthwise_s8_row *row, const struct pith_requantize *r,
                        const FORM(words) * sum, uint8_t *y, int count, const bool bare)
{
    FORM(words) q[VECTORS];

    UNROLL for (int i = 0; i < VECTORS; i++)
    {
        FORM(vector)
        f = __builtin_convertvector(sum[i], FORM(vector)) * ((const FORM(vector) *) row->scale)[i];

        if (!bare && r->slope != 1.0F) {
            const FORM(words) below = f < 0.0F;

            f = (FORM(vector))(((FORM(words))(f * r->slope) & below) | ((FORM(words)) f & ~below));
        }
        q[i] = (FORM(words)) NEAREST(f);
    }
    FORM(put)(y, FORM(narrow)(q, r, bare), count);
}

/* Rows are walked with copies of what describes them, or each byte stored might change it. */
TARGET static void FORM(taps)(const struct pith_depthwise_s8_row *from)
{
    const struct pith_depthwise_s8_row row = *from;
    const struct pith_requantize r = *row.to;

    for (int64_t p = 0; p < row.count; p++) {
        FORM(words) sum[VECTORS];

        FORM(start)(&row, sum);
        FORM(add_taps)(sum, &row, row.x + p * row.x_step);
        FORM(store)
        (&row, &r, sum, row.y + p * row.y_step, p == row.count - 1 ? row.last : row.width, false);
    }
}

/* stride: in columns; 3 stands for more, where no column is met twice. */
INLINE void FORM(slide)(const struct pith_depthwise_s8_row *from, const int stride, const bool bare)
{
    const struct pith_depthwise_s8_row row = *from;
    const struct pith_requantize r = *row.to;
    const uint8_t *x = row.x;
    uint8_t *y = row.y;
    struct FORM(window) window = FORM(open)(&row);

    if (stride <= 2)
        FORM(read)(&window, &row, x, 0);
    if (stride == 1)
        FORM(read)(&window, &row, x, 1);
    for (int64_t left = row.count; left > 0; left--) {
        FORM(words) sum[VECTORS];

        if (stride > 2)
            FORM(read)(&window, &row, x, 0);
        if (stride > 1)
            FORM(read)(&window, &row, x, 1);
        FORM(read)(&window, &row, x, 2);
        FORM(start)(&row, sum);
        FORM(add_window)(sum, &window);
        FORM(store)(&row, &r, sum, y, left == 1 ? row.last : bare ? BLOCK : row.width, bare);
        x += row.x_step;
        y += row.y_step;
        FORM(move)(&window, stride == 1 ? 1 : 2);
    }
}

#define SLIDE(stride) (bare ? FORM(slide)(row, stride, true) : FORM(slide)(row, stride, false))

TARGET static void FORM(columns)(const struct pith_depthwise_s8_row *row, int stride)
{
    const bool bare = HAS_BARE && row->width == BLOCK && row->to->slope == 1.0F &&
                      row->to->zero == 0 && !row->to->limits;

    if (stride == 1)
        SLIDE(1);
    else if (stride == 2)
        SLIDE(2);
    else
        SLIDE(3);
}

#undef SLIDE
#undef VECTORS
#undef HAS_BARE
#undef BLOCK
#undef UNROLL
#undef INLINE
