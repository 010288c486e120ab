/* What planning (recurrent_plan.c) and running (recurrent.c) of the recurrent operators share.
 * Names are ONNX's: W (dirs, gates * H, in), R (dirs, gates * H, H), B (dirs, 2 * gates * H), P
 * (dirs, 3 * H). */
#ifndef PITH_KERNELS_RECURRENT_H
#define PITH_KERNELS_RECURRENT_H

#include "libpith/kernels/fixed_s8.h"
#include "libpith/kernels/gemm.h"
#include "libpith/kernels/recurrent_cell.h"

enum recurrent_function {
    SIGMOID,
    TANH,
    RELU,
    AFFINE,
    LEAKY_RELU,
    THRESHOLDED_RELU,
    SCALED_TANH,
    HARD_SIGMOID,
    ELU,
    SOFTSIGN,
    SOFTPLUS
};

struct recurrent_activation {
    enum recurrent_function function;
    float alpha, beta;
};

enum recurrent_cell { CELL_RNN, CELL_GRU, CELL_LSTM };

struct recurrent {
    const struct pith_gemm_form *form;
    enum recurrent_cell cell;
    int64_t seq, batch, in, hidden, dirs, gates;
    int64_t w_packed, r_packed,
        r_last_packed; /* elements; R's last gate apart where it takes another state (GRU) */
    const float *w[2], *r[2], *r_last[2]; /* packed; NULL: in each run */
    struct pith_fixed_s8 *w_bytes[2], *r_bytes[2],
        *r_last_bytes[2];                   /* the same where weights are int8; NULL: floats */
    const struct pith_cell_form *cell_form; /* NULL: the loops for every activation */
    const struct pith_cell_form *row_form;  /* whose product takes R's; NULL: gemm */
    struct recurrent_activation act[2][3];
    bool backward[2];
    bool batch_first, input_forget, linear_before_reset;
    float clip;                                              /* 0: none */
    int64_t gate_x, gate_h, state_h, state_c, reset_h, bias; /* offsets in scratch, in floats */
    int64_t packed_at, fixed_at;                             /* fixed_at: rows for int8 weights */
};

/* Whether the last gate's product takes another state than those of the others: GRU's, with the
 * reset applied first. */
static inline bool recurrent_splits(const struct recurrent *r)
{
    return r->cell == CELL_GRU && !r->linear_before_reset;
}

/* Packs direction d of W and R; `last`: R's last gate, where it is apart. */
void pith_recurrent_pack(const struct pith_step *step, const struct recurrent *r, int64_t d,
                         float *w, float *rr, float *last);
int pith_recurrent_prepare(struct pith_step *step, struct pith_error *err);

#endif
