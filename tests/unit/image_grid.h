/* 8-bit grids and pictures of random bytes, for tests of kernels over them. */
#ifndef PITH_TESTS_IMAGE_GRID_H
#define PITH_TESTS_IMAGE_GRID_H

#include "tests/unit/image_bytes.h"

#include <math.h>

#define FORM (PITH_KERNEL_QUANTIZED | PITH_KERNEL_CHANNELS_LAST)

static uint32_t seed = 5;

static inline int64_t pick(int64_t low, int64_t high)
{
    seed = seed * 1664525U + 1013904223U;
    return low + (int64_t) (seed >> 8) % (high - low + 1);
}

static inline int32_t least(void)
{
    return pith_image_integer_dtype() == PITH_INT8 ? -128 : 0;
}

struct grid {
    struct pith_quantization q;
    float scale;
    int32_t zero;
};

static inline void grid_init(struct grid *g, float scale, int32_t zero)
{
    *g = (struct grid){.scale = scale, .zero = zero};
    g->q = (struct pith_quantization){.dtype = pith_image_integer_dtype(),
                                      .count = 1,
                                      .scale = &g->scale,
                                      .zero_point = &g->zero};
}

static inline int32_t pick_zero(int round)
{
    return least() + (int32_t) (round % 3 == 0 ? 0 : round % 3 == 1 ? 128 : pick(0, 255));
}

/* Random bytes, the halo filled with zero points. */
static inline void picture_fill(struct picture *p, int32_t zero)
{
    const uint8_t byte = (uint8_t) zero;

    for (size_t i = 0; i < p->bytes; i++)
        p->block[i] = (uint8_t) pick(0, 255);
    pith_image_fill_halo(&p->image, &p->dims, p->data, 1, &byte);
}

/* Whether `steps`, computed in float with a few roundings, may round to `got`. */
static inline bool rounds_to(double steps, double got, double slack)
{
    return fabs(steps - got) <= 0.5 + slack;
}

#endif
