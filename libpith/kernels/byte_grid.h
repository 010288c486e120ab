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

struct pith_byte_grid_form {
    enum pith_isa isa;
    pith_byte_grid_run *flip;     /* bytes of the other signedness, whose zero point lies 128 off; the grid may be NULL */
    pith_byte_grid_run *quantize; /* floats: saturate(round half to even(x / scale) + zero); NaN becomes zero */
    pith_byte_grid_run *from_u8, *from_s8; /* to floats: (q - zero) * scale */
    /* Floats to floats: (saturate(round half to even(x / scale) + zero) - zero) * scale; NaN becomes 0. */
    void (*round)(const struct pith_float_grid *grid, const float *restrict from, float *restrict to, int64_t count);
};

/* The form for pith_isa(). Thread: any. */
const struct pith_byte_grid_form *pith_byte_grid_form(void);

#endif
