/* LSTM, GRU and RNN in float32, also with weights that stay int8: both directions, peepholes,
 * sequence lengths, clipping, both layouts. What the input gives to all gates at all times is one
 * matrix product up front; only the product with the state remains in the loop over time. Weights
 * are packed once where they are constant. */
#include "libpith/kernels/recurrent.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "libpith/kernels/families.h"
#include "libpith/kernels/math_f32.h"

static float apply(const struct recurrent_activation *a, float x)
{
    switch (a->function) {
    case SIGMOID:
        return 1.0F / (1.0F + expf(-x));
    case TANH:
        return tanhf(x);
    case RELU:
        return x < 0.0F ? 0.0F : x;
    case AFFINE:
        return a->alpha * x + a->beta;
    case LEAKY_RELU:
        return x < 0.0F ? a->alpha * x : x;
    case THRESHOLDED_RELU:
        return x >= a->alpha ? x : 0.0F;
    case SCALED_TANH:
        return a->alpha * tanhf(a->beta * x);
    case HARD_SIGMOID:
        x = a->alpha * x + a->beta;
        return x < 0.0F ? 0.0F : x > 1.0F ? 1.0F : x;
    case ELU:
        return x < 0.0F ? a->alpha * (expf(x) - 1.0F) : x;
    case SOFTSIGN:
        return x / (1.0F + fabsf(x));
    default:
        return log1pf(expf(x));
    }
}

struct pass { /* one direction of one run */
    const struct pith_step *step;
    const struct recurrent *r;
    int64_t dir;
    const float *w, *rr, *r_last;
    float *gate_x, *gate_h, *state_h, *state_c, *reset_h;
    const float *r_bias; /* of this direction; NULL: none */
    const float *peephole;
};

static float clipped(const struct recurrent *r, float x)
{
    if (r->clip <= 0.0F)
        return x;
    return x < -r->clip ? -r->clip : x > r->clip ? r->clip : x;
}

/* out = state times b, packed as floats, or as bytes */
static void product(const struct pass *p, const float *b, const struct pith_fixed_s8 *bytes,
                    const float *state, float *out, int64_t cols, int64_t out_row)
{
    if (bytes) {
        pith_fixed_s8_run(bytes, &(struct pith_fixed_call){.rows = p->r->batch,
                                                           .a = state,
                                                           .a_row = p->r->hidden,
                                                           .c = out,
                                                           .c_row = out_row,
                                                           .scratch = (float *) p->step->scratch +
                                                                      p->r->fixed_at});
        return;
    }
    if (p->r->row_form) {
        p->r->row_form->product(p->r->hidden, cols, b, state, out);
        return;
    }
    p->r->form->f32(&(struct pith_gemm_f32){.rows = p->r->batch,
                                            .cols = cols,
                                            .depth = p->r->hidden,
                                            .a = state,
                                            .a_row = p->r->hidden,
                                            .a_depth = 1,
                                            .b = b,
                                            .c = out,
                                            .c_row = out_row,
                                            .activation = PITH_ACTIVATION_NONE});
}

/* x[i] = activation(x[i]) */
static void apply_all(const struct recurrent_activation *a, float *x, int64_t count)
{
    const struct pith_math_form *math = pith_math_form();

    if (a->function == SIGMOID) {
        math->sigmoid(x, x, count);
    } else if (a->function == TANH) {
        math->tanh(x, x, count);
    } else {
        for (int64_t k = 0; k < count; k++)
            x[k] = apply(a, x[k]);
    }
}

/* g: the state's products, made gates in place; x: the input's. peephole: NULL, or a factor for c.
 */
static void lstm_gate(const struct pass *p, const float *x, float *g, const float *peephole,
                      const float *c, const struct recurrent_activation *act)
{
    for (int64_t k = 0; k < p->r->hidden; k++)
        g[k] = clipped(p->r, x[k] + g[k] + (peephole ? peephole[k] * c[k] : 0.0F));
    apply_all(act, g, p->r->hidden);
}

static void lstm_row(const struct pass *p, const float *x, float *g, float *h, float *c)
{
    const struct recurrent *r = p->r;
    const struct recurrent_activation *act = r->act[p->dir];
    const int64_t n = r->hidden;
    const float *pi = p->peephole, *po = pi ? pi + n : NULL, *pf = pi ? pi + 2 * n : NULL;
    float *i = g, *o = g + n, *f = g + 2 * n, *candidate = g + 3 * n, *squashed = g;

    if (r->cell_form) {
        r->cell_form->lstm(n, x, g, c, h);
        return;
    }
    lstm_gate(p, x, i, pi, c, &act[0]);
    if (r->input_forget)
        for (int64_t k = 0; k < n; k++)
            f[k] = 1.0F - i[k];
    else
        lstm_gate(p, x + 2 * n, f, pf, c, &act[0]);
    lstm_gate(p, x + 3 * n, candidate, NULL, c, &act[1]);
    for (int64_t k = 0; k < n; k++)
        c[k] = f[k] * c[k] + i[k] * candidate[k];
    lstm_gate(p, x + n, o, po, c, &act[0]);
    memcpy(squashed, c, (size_t) n * sizeof *c);
    apply_all(&act[2], squashed, n);
    for (int64_t k = 0; k < n; k++)
        h[k] = o[k] * squashed[k];
}

/* The reset is applied to the product (linear_before_reset), or was applied to the state before it.
 */
static void gru_row(const struct pass *p, const float *x, float *g, float *h)
{
    const struct recurrent *r = p->r;
    const struct recurrent_activation *act = r->act[p->dir];
    const int64_t n = r->hidden;
    const float *bias = p->r_bias ? p->r_bias + 2 * n : NULL;
    float *z = g, *reset = g + n, *last = g + 2 * n;

    if (r->cell_form && r->linear_before_reset) {
        r->cell_form->gru_after(n, x, g, bias, h);
        return;
    }
    if (r->cell_form) {
        r->cell_form->gru_before(n, x, g, h);
        return;
    }
    for (int64_t k = 0; k < n; k++)
        z[k] = clipped(r, x[k] + z[k]);
    apply_all(&act[0], z, n);
    if (r->linear_before_reset) {
        for (int64_t k = 0; k < n; k++)
            reset[k] = clipped(r, x[n + k] + reset[k]);
        apply_all(&act[0], reset, n);
        for (int64_t k = 0; k < n; k++)
            last[k] = reset[k] * (last[k] + (bias ? bias[k] : 0.0F));
    }
    for (int64_t k = 0; k < n; k++)
        last[k] = clipped(r, x[2 * n + k] + last[k]);
    apply_all(&act[1], last, n);
    for (int64_t k = 0; k < n; k++)
        h[k] = (1.0F - z[k]) * last[k] + z[k] * h[k];
}

static void rnn_row(const struct pass *p, const float *x, const float *g, float *h)
{
    for (int64_t k = 0; k < p->r->hidden; k++)
        h[k] = clipped(p->r, x[k] + g[k]);
    apply_all(&p->r->act[p->dir][0], h, p->r->hidden);
}

static const float *gates_of(const struct pass *p, int64_t t, int64_t b)
{
    const struct recurrent *r = p->r;

    return p->gate_x + (r->batch_first ? b * r->seq + t : t * r->batch + b) * r->gates * r->hidden;
}

static int64_t length_of(const struct pass *p, int64_t b)
{
    return pith_step_has(p->step, 4) ? ((const int32_t *) p->step->input[4].data)[b] : p->r->seq;
}

static int64_t time_of(const struct pass *p, int64_t s, int64_t b)
{
    return p->r->backward[p->dir] ? length_of(p, b) - 1 - s : s;
}

/* GRU's reset gate, applied to the state before the last gate's product. */
static void reset_states(const struct pass *p, int64_t s)
{
    const struct recurrent *r = p->r;
    const int64_t n = r->hidden;

    for (int64_t b = 0; b < r->batch; b++) {
        const float *g = p->gate_h + b * r->gates * n, *h = p->state_h + b * n;
        const float *x;
        float *reset = p->reset_h + b * n;

        if (s >= length_of(p, b))
            continue;
        x = gates_of(p, time_of(p, s, b), b);
        if (r->cell_form) {
            r->cell_form->gru_reset(n, x + n, g + n, h, reset);
            continue;
        }
        for (int64_t k = 0; k < n; k++)
            reset[k] = clipped(r, x[n + k] + g[n + k]);
        apply_all(&r->act[p->dir][0], reset, n);
        for (int64_t k = 0; k < n; k++)
            reset[k] *= h[k];
    }
    product(p, p->r_last, r->r_last_bytes[p->dir], p->reset_h, p->gate_h + 2 * n, n, r->gates * n);
}

static void one_time(const struct pass *p, int64_t s)
{
    const struct recurrent *r = p->r;
    const int64_t n = r->hidden, rows = r->gates * n;
    float *y =
        r->seq && p->step->output[0].dtype != PITH_DTYPE_NONE ? p->step->output[0].data : NULL;

    product(p, p->rr, r->r_bytes[p->dir], p->state_h, p->gate_h,
            recurrent_splits(r) ? rows - n : rows, rows);
    if (recurrent_splits(r))
        reset_states(p, s);
    for (int64_t b = 0; b < r->batch; b++) {
        float *g = p->gate_h + b * rows, *h = p->state_h + b * n;
        const float *x;
        int64_t t;

        if (s >= length_of(p, b))
            continue;
        t = time_of(p, s, b);
        x = gates_of(p, t, b);
        if (r->cell == CELL_LSTM)
            lstm_row(p, x, g, h, p->state_c + b * n);
        else if (r->cell == CELL_GRU)
            gru_row(p, x, g, h);
        else
            rnn_row(p, x, g, h);
        if (y)
            memcpy(y + (r->batch_first ? (b * r->seq + t) * r->dirs + p->dir
                                       : (t * r->dirs + p->dir) * r->batch + b) *
                           n,
                   h, (size_t) n * sizeof *h);
    }
}

/* X times W for all times, with those biases that are simply added. */
static void input_product(const struct pass *p)
{
    const struct recurrent *r = p->r;
    const int64_t rows = r->gates * r->hidden;
    float *bias = (float *) p->step->scratch + r->bias;
    const float *b = pith_step_has(p->step, 3)
                         ? (const float *) p->step->input[3].data + p->dir * 2 * rows
                         : NULL;

    for (int64_t i = 0; i < rows; i++) {
        const bool later = r->cell == CELL_GRU && r->linear_before_reset && i >= 2 * r->hidden;

        bias[i] = b ? b[i] + (later ? 0.0F : b[rows + i]) : 0.0F;
    }
    if (r->w_bytes[p->dir]) {
        pith_fixed_s8_run(
            r->w_bytes[p->dir],
            &(struct pith_fixed_call){.rows = r->seq * r->batch,
                                      .a = p->step->input[0].data,
                                      .a_row = r->in,
                                      .bias = bias,
                                      .c = p->gate_x,
                                      .c_row = rows,
                                      .scratch = (float *) p->step->scratch + r->fixed_at});
        return;
    }
    r->form->f32(&(struct pith_gemm_f32){.rows = r->seq * r->batch,
                                         .cols = rows,
                                         .depth = r->in,
                                         .a = p->step->input[0].data,
                                         .a_row = r->in,
                                         .a_depth = 1,
                                         .b = p->w,
                                         .c = p->gate_x,
                                         .c_row = rows,
                                         .col_bias = bias,
                                         .activation = PITH_ACTIVATION_NONE});
}

/* States lie (dirs, batch, H), or (batch, dirs, H) in the other layout. */
static void move_state(const struct pass *p, float *state, void *outside, bool out)
{
    const struct recurrent *r = p->r;

    for (int64_t b = 0; b < r->batch; b++) {
        float *at = (float *) outside +
                    (r->batch_first ? b * r->dirs + p->dir : p->dir * r->batch + b) * r->hidden;

        memcpy(out ? at : state + b * r->hidden, out ? state + b * r->hidden : at,
               (size_t) r->hidden * sizeof *at);
    }
}

static void run_direction(struct pass *p)
{
    const struct recurrent *r = p->r;
    const struct pith_step *step = p->step;
    const size_t state_bytes = (size_t) (r->batch * r->hidden) * sizeof(float);

    memset(p->state_h, 0, state_bytes);
    memset(p->state_c, 0, state_bytes);
    memset(p->reset_h, 0, state_bytes);
    if (pith_step_has(step, 5))
        move_state(p, p->state_h, step->input[5].data, false);
    if (r->cell == CELL_LSTM && pith_step_has(step, 6))
        move_state(p, p->state_c, step->input[6].data, false);
    input_product(p);
    for (int64_t s = 0; s < r->seq; s++)
        one_time(p, s);
    if (pith_step_gives(step, 1))
        move_state(p, p->state_h, step->output[1].data, true);
    if (pith_step_gives(step, 2))
        move_state(p, p->state_c, step->output[2].data, true);
}

static int check_lengths(struct pith_step *step, const struct recurrent *r, struct pith_error *err)
{
    for (int64_t b = 0; b < r->batch && pith_step_has(step, 4); b++) {
        const int32_t length = ((const int32_t *) step->input[4].data)[b];

        if (length < 0 || length > r->seq)
            return pith_step_fail(step, err, -EINVAL, "a sequence length of %d; X has %lld times",
                                  length, (long long) r->seq);
    }
    return 0;
}

static int recurrent_run(struct pith_step *step, struct pith_error *err)
{
    const struct recurrent *r = step->params;
    const int64_t rows = r->gates * r->hidden;
    float *scratch = step->scratch;
    int rc = check_lengths(step, r, err);

    if (rc < 0)
        return rc;
    if (pith_step_gives(step, 0) && pith_step_has(step, 4))
        memset(step->output[0].data, 0, step->output[0].bytes); /* past a sequence's end */
    for (int64_t d = 0; d < r->dirs; d++) {
        float *packed = scratch + r->packed_at;
        struct pass p = {step,
                         r,
                         d,
                         r->w[d],
                         r->r[d],
                         r->r_last[d],
                         scratch + r->gate_x,
                         scratch + r->gate_h,
                         scratch + r->state_h,
                         scratch + r->state_c,
                         scratch + r->reset_h,
                         NULL,
                         NULL};

        if (!p.w && !r->w_bytes[d]) {
            pith_recurrent_pack(step, r, d, packed, packed + r->w_packed,
                                packed + r->w_packed + r->r_packed);
            p.w = packed;
            p.rr = packed + r->w_packed;
            p.r_last = packed + r->w_packed + r->r_packed;
        }
        if (pith_step_has(step, 3))
            p.r_bias = (const float *) step->input[3].data + d * 2 * rows + rows;
        if (r->cell == CELL_LSTM && pith_step_has(step, 7))
            p.peephole = (const float *) step->input[7].data + d * 3 * r->hidden;
        run_direction(&p);
    }
    return 0;
}

#define F32                                                                                        \
    {                                                                                              \
        PITH_BIT(FLOAT32), PITH_BIT(FLOAT32), PITH_BIT(FLOAT32), PITH_BIT(FLOAT32)                 \
    }

#define BYTES (PITH_BIT(INT8) | PITH_BIT(UINT8) | PITH_BIT(INT4) | PITH_BIT(UINT4))
#define F32_BYTES                                                                                  \
    {                                                                                              \
        PITH_BIT(FLOAT32), BYTES, BYTES, PITH_BIT(FLOAT32)                                         \
    }

const struct pith_kernel pith_kernels_recurrent[] = {
    {.op = "LSTM",
     .name = "lstm_f32",
     .types = F32,
     .prepare = pith_recurrent_prepare,
     .run = recurrent_run},
    {.op = "GRU",
     .name = "gru_f32",
     .types = F32,
     .prepare = pith_recurrent_prepare,
     .run = recurrent_run},
    {.op = "RNN",
     .name = "rnn_f32",
     .types = F32,
     .prepare = pith_recurrent_prepare,
     .run = recurrent_run},
    {.op = "LSTM",
     .name = "lstm_s8",
     .types = F32_BYTES,
     .flags = PITH_KERNEL_QUANTIZED,
     .prepare = pith_recurrent_prepare,
     .run = recurrent_run},
    {.op = "GRU",
     .name = "gru_s8",
     .types = F32_BYTES,
     .flags = PITH_KERNEL_QUANTIZED,
     .prepare = pith_recurrent_prepare,
     .run = recurrent_run},
    {.op = "RNN",
     .name = "rnn_s8",
     .types = F32_BYTES,
     .flags = PITH_KERNEL_QUANTIZED,
     .prepare = pith_recurrent_prepare,
     .run = recurrent_run},
    {0},
};
