/* The gates of recurrent operators: the forms for each instruction set. See recurrent_cell.h. */
#include "libpith/kernels/recurrent_cell.h"

#include <stddef.h>

#define CELL_TILE 8 /* vectors of columns that one row is multiplied with at once */
#define UNROLL    _Pragma("GCC unroll 8")

#if defined __x86_64__
#define VECTORS 512
#include "libpith/kernels/recurrent_cell_body.h"
#define VECTORS 256
#include "libpith/kernels/recurrent_cell_body.h"
#endif
#define VECTORS 128
#include "libpith/kernels/recurrent_cell_body.h"

static const struct pith_cell_form forms[] = {
#if defined __x86_64__
    {PITH_ISA_AVX512, 16, product_avx512, lstm_avx512, gru_after_avx512, gru_before_avx512,
     gru_reset_avx512},
    {PITH_ISA_AVX2, 8, product_avx2, lstm_avx2, gru_after_avx2, gru_before_avx2, gru_reset_avx2},
    {PITH_ISA_SSE2, 4, product_128, lstm_128, gru_after_128, gru_before_128, gru_reset_128},
#else
    {PITH_ISA_NEON, 4, product_128, lstm_128, gru_after_128, gru_before_128, gru_reset_128},
#endif
};

const struct pith_cell_form *pith_cell_form(void)
{
    return PITH_ISA_BEST(forms);
}

int64_t pith_cell_packed(const struct pith_cell_form *form, int64_t depth, int64_t cols)
{
    return (cols + form->lanes - 1) / form->lanes * form->lanes * depth;
}

void pith_cell_pack(const struct pith_cell_form *form, float *packed, const float *b, int64_t depth,
                    int64_t cols)
{
    const int64_t lanes = form->lanes, padded = (cols + lanes - 1) / lanes * lanes;

    for (int64_t first = 0; first < padded; first += CELL_TILE * lanes) {
        const int64_t left = padded - first,
                      side = left < CELL_TILE * lanes ? left : CELL_TILE * lanes;

        for (int64_t p = 0; p < depth; p++)
            for (int64_t j = first; j < first + side; j++)
                *packed++ = j < cols ? b[j * depth + p] : 0.0F;
    }
}
