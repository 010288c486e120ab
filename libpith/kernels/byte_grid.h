/* Many numbers at once between float32 and 8-bit integers on one grid; and floats onto any grid. Every form gives the same
 * bits. */
#ifndef PITH_KERNELS_BYTE_GRID_H
#define PITH_KERNELS_BYTE_GRID_H

#include <stdint.h>

#include "libpith/kernels/isa.h"

struct pith_byte_grid {
    float scale;
    int32_t zero, least; /* least: -128 for int8, 0 for uint8 */
};

/* `count` elements; `to` does not overlap `from`. */
typedef void pith_byte_grid_run(const struct pith_byte_grid *grid, const void *from, void *to, int64_t count);

struct pith_float_grid {
    float scale;
    int32_t zero, least, greatest; /* each below 2^24 in magnitude, as floats hold them */
};

/* Bytes of one grid to bytes of another: saturate(round half to even((x - zero) * factor) + to_zero); NaN becomes to_zero. */
struct pith_byte_scaling {
    int32_t zero, to_zero, to_least;
};
/* factor: one an element. `to` may be `from`. */
typedef void pith_byte_scale_run(const struct pith_byte_scaling *s, const void *from, const float *factor, void *to,
                                 int64_t count);

struct pith_byte_grid_form {
    enum pith_isa isa;
    pith_byte_grid_run *flip;     /* bytes of the other signedness, whose zero point lies 128 off; the grid may be NULL */
    pith_byte_grid_run *quantize; /* floats: saturate(round half to even(x / scale) + zero); NaN becomes zero */
    pith_byte_grid_run *from_u8, *from_s8; /* to floats: (q - zero) * scale */
    pith_byte_scale_run *scale_u8, *scale_s8;
    /* Floats to floats: (saturate(round half to even(x / scale) + zero) - zero) * scale; NaN becomes 0. */
    void (*round)(const struct pith_float_grid *grid, const float *restrict from, float *restrict to, int64_t count);
    /* Between floats and int16 on a grid, whatever `least` says; NaN becomes zero. */
    pith_byte_grid_run *words_of, *from_words;
};

/* The form for pith_isa(). Thread: any. */
const struct pith_byte_grid_form *pith_byte_grid_form(void);

#endif
