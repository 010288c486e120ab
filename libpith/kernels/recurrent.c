/* LSTM, GRU and RNN in float32: both directions, peepholes, sequence lengths, clipping, both
 * layouts. What the input gives to all gates at all times is one matrix product up front; only the
 * product with the state remains in the loop over time. Weights are packed once where they are
 * constant. Names are ONNX's: W (dirs, gates * H, in), R (dirs, gates * H, H), B (dirs, 2 * gates *
 * H), P (dirs, 3 * H). */
#include "libpith/kernels/families.h"
#include "libpith/kernels/gemm.h"
#include "libpith/kernels/math_f32.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <strings.h>

enum function {
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

struct activation {
    enum function function;
    float alpha, beta;
};

enum cell { CELL_RNN, CELL_GRU, CELL_LSTM };

struct recurrent {
    const struct pith_gemm_form *form;
    enum cell cell;
    int64_t seq, batch, in, hidden, dirs, gates;
    int64_t w_packed, r_packed,
        r_last_packed; /* elements; R's last gate apart where it takes another state (GRU) */
    const float *w[2], *r[2], *r_last[2]; /* packed; NULL: in each run */
    struct activation act[2][3];
    bool backward[2];
    bool batch_first, input_forget, linear_before_reset;
    float clip;                                              /* 0: none */
    int64_t gate_x, gate_h, state_h, state_c, reset_h, bias; /* offsets in scratch, in floats */
    int64_t packed_at;
};

static float apply(const struct activation *a, float x)
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

/* ---- prepare ---- */

static const struct {
    const char *name;
    enum function function;
    float alpha, beta; /* where the node gives none */
    bool takes_alpha, takes_beta;
} functions[] = {
    {"Sigmoid", SIGMOID, 0.0F, 0.0F, false, false},
    {"Tanh", TANH, 0.0F, 0.0F, false, false},
    {"Relu", RELU, 0.0F, 0.0F, false, false},
    {"Affine", AFFINE, 1.0F, 0.0F, true, true},
    {"LeakyRelu", LEAKY_RELU, 0.01F, 0.0F, true, false},
    {"ThresholdedRelu", THRESHOLDED_RELU, 1.0F, 0.0F, true, false},
    {"ScaledTanh", SCALED_TANH, 1.0F, 1.0F, true, true},
    {"HardSigmoid", HARD_SIGMOID, 0.2F, 0.5F, true, true},
    {"Elu", ELU, 1.0F, 0.0F, true, false},
    {"Softsign", SOFTSIGN, 0.0F, 0.0F, false, false},
    {"Softplus", SOFTPLUS, 0.0F, 0.0F, false, false},
};

/* Names are compared without case, as ONNX Runtime does. The lists of alphas and betas have entries
 * only for those that take one. */
static int read_activations(struct pith_step *step, struct recurrent *r, struct pith_error *err)
{
    static const char *const otherwise[3][3] = {
        {"Tanh", NULL, NULL}, {"Sigmoid", "Tanh", NULL}, {"Sigmoid", "Tanh", "Tanh"}};
    const int64_t each = r->cell == CELL_RNN ? 1 : r->cell == CELL_GRU ? 2 : 3;
    size_t names = 0, alphas = 0, betas = 0, alpha = 0, beta = 0;
    const char *const *name = pith_node_strings(step->graph, step->node, "activations", &names);
    const float *alpha_list =
        pith_node_floats(step->graph, step->node, "activation_alpha", &alphas);
    const float *beta_list = pith_node_floats(step->graph, step->node, "activation_beta", &betas);

    if (name && names != 0 && names != (size_t) (each * r->dirs))
        return pith_step_fail(step, err, -EINVAL, "%zu activations where %lld are needed", names,
                              (long long) (each * r->dirs));
    for (int64_t i = 0; i < each * r->dirs; i++) {
        const char *wanted = name && names ? name[i] : otherwise[r->cell][i % each];
        size_t f = 0;

        while (f < sizeof functions / sizeof functions[0] &&
               strcasecmp(functions[f].name, wanted) != 0)
            f++;
        if (f == sizeof functions / sizeof functions[0])
            return pith_step_fail(step, err, -ENOTSUP, "activation \"%s\" is not known", wanted);
        r->act[i / each][i % each] =
            (struct activation){functions[f].function, functions[f].alpha, functions[f].beta};
        if (functions[f].takes_alpha && alpha_list && alpha < alphas)
            r->act[i / each][i % each].alpha = alpha_list[alpha++];
        if (functions[f].takes_beta && beta_list && beta < betas)
            r->act[i / each][i % each].beta = beta_list[beta++];
    }
    return 0;
}

static int need_shape(struct pith_step *step, size_t input, int64_t a, int64_t b, int64_t c,
                      struct pith_error *err)
{
    const struct pith_shape *shape = &step->input[input].shape;
    const struct pith_shape want = {c < 0 ? 2 : 3, {a, b, c < 0 ? 0 : c}};
    char have_text[PITH_SHAPE_TEXT_BYTES], want_text[PITH_SHAPE_TEXT_BYTES];

    if (!pith_step_has(step, input) || pith_shape_equal(shape, &want))
        return 0;
    return pith_step_fail(step, err, -EINVAL, "input %zu is %s and must be %s", input,
                          pith_shape_text(shape, have_text, sizeof have_text),
                          pith_shape_text(&want, want_text, sizeof want_text));
}

static int check_shapes(struct pith_step *step, const struct recurrent *r, struct pith_error *err)
{
    const int64_t rows = r->gates * r->hidden, first = r->batch_first ? r->batch : r->dirs,
                  second = r->batch_first ? r->dirs : r->batch;
    int rc = need_shape(step, 1, r->dirs, rows, r->in, err);

    if (rc == 0)
        rc = need_shape(step, 2, r->dirs, rows, r->hidden, err);
    if (rc == 0)
        rc = need_shape(step, 3, r->dirs, 2 * rows, -1, err);
    if (rc == 0 && pith_step_has(step, 4) &&
        (step->input[4].shape.rank != 1 || step->input[4].shape.dim[0] != r->batch ||
         step->input[4].dtype != PITH_INT32))
        rc = pith_step_fail(step, err, -EINVAL, "sequence_lens must be %lld int32",
                            (long long) r->batch);
    if (rc == 0)
        rc = need_shape(step, 5, first, second, r->hidden, err);
    if (rc == 0 && r->cell == CELL_LSTM)
        rc = need_shape(step, 6, first, second, r->hidden, err);
    if (rc == 0 && r->cell == CELL_LSTM)
        rc = need_shape(step, 7, r->dirs, 3 * r->hidden, -1, err);
    return rc;
}

static int read_geometry(struct pith_step *step, struct recurrent *r, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *w = &step->input[1].shape,
                            *rr = &step->input[2].shape;
    const char *op = step->kernel->op,
               *direction = pith_node_string(step->graph, step->node, "direction", "forward");

    if (x->rank != 3 || w->rank != 3 || rr->rank != 3)
        return pith_step_fail(step, err, -EINVAL, "X, W and R must have rank 3");
    r->cell = strcmp(op, "LSTM") == 0 ? CELL_LSTM : strcmp(op, "GRU") == 0 ? CELL_GRU : CELL_RNN;
    r->gates = r->cell == CELL_LSTM ? 4 : r->cell == CELL_GRU ? 3 : 1;
    r->dirs = strcmp(direction, "bidirectional") == 0 ? 2 : 1;
    r->backward[0] = strcmp(direction, "reverse") == 0;
    r->backward[1] = true;
    if (r->dirs == 1 && !r->backward[0] && strcmp(direction, "forward") != 0)
        return pith_step_fail(step, err, -EINVAL,
                              "direction \"%s\" is none of forward, reverse, bidirectional",
                              direction);
    r->batch_first = pith_node_int(step->graph, step->node, "layout", 0) != 0;
    r->seq = x->dim[r->batch_first ? 1 : 0];
    r->batch = x->dim[r->batch_first ? 0 : 1];
    r->in = x->dim[2];
    r->hidden = rr->dim[2];
    if (r->hidden != pith_node_int(step->graph, step->node, "hidden_size", r->hidden))
        return pith_step_fail(step, err, -EINVAL, "hidden_size does not fit R");
    r->clip = pith_node_float(step->graph, step->node, "clip", 0.0F);
    r->input_forget = pith_node_int(step->graph, step->node, "input_forget", 0) != 0;
    r->linear_before_reset = pith_node_int(step->graph, step->node, "linear_before_reset", 0) != 0;
    return check_shapes(step, r, err);
}

/* Whether the last gate's product takes another state than those of the others: GRU's, with the
 * reset applied first. */
static bool splits(const struct recurrent *r)
{
    return r->cell == CELL_GRU && !r->linear_before_reset;
}

static void pack_weights(const struct pith_step *step, const struct recurrent *r, int64_t d,
                         float *w, float *rr, float *last)
{
    const int64_t rows = r->gates * r->hidden, first = splits(r) ? rows - r->hidden : rows;
    const float *from_w = (const float *) step->input[1].data + d * rows * r->in;
    const float *from_r = (const float *) step->input[2].data + d * rows * r->hidden;

    pith_gemm_pack_f32(r->form, w, from_w, 1, r->in, r->in, rows);
    pith_gemm_pack_f32(r->form, rr, from_r, 1, r->hidden, r->hidden, first);
    if (splits(r))
        pith_gemm_pack_f32(r->form, last, from_r + first * r->hidden, 1, r->hidden, r->hidden,
                           r->hidden);
}

static int plan_weights(struct pith_step *step, struct recurrent *r, struct pith_error *err)
{
    const int64_t rows = r->gates * r->hidden;

    r->w_packed = pith_gemm_packed(r->form, r->in, rows);
    r->r_packed = pith_gemm_packed(r->form, r->hidden, rows);
    r->r_last_packed = splits(r) ? pith_gemm_packed(r->form, r->hidden, r->hidden) : 0;
    if (r->w_packed + r->r_packed + r->r_last_packed > PITH_STEP_MAX_BYTES / 16)
        return pith_step_fail(step, err, -EINVAL, "the weights are too large");
    for (int64_t d = 0; d < r->dirs && step->input[1].data && step->input[2].data; d++) {
        float *w = pith_step_alloc(step, r->w_packed * 4),
              *rr = pith_step_alloc(step, r->r_packed * 4);
        float *last = pith_step_alloc(step, r->r_last_packed * 4);

        if (!w || !rr || !last)
            return -ENOMEM;
        pack_weights(step, r, d, w, rr, last);
        step->taken_in = UINT32_C(1) << 1 | UINT32_C(1) << 2;
        r->w[d] = w;
        r->r[d] = rr;
        r->r_last[d] = last;
    }
    return 0;
}

static int64_t take(int64_t *used, int64_t floats)
{
    const int64_t at = *used;

    *used += (floats + 15) / 16 * 16; /* to cache lines */
    return at;
}

static int recurrent_prepare(struct pith_step *step, struct pith_error *err)
{
    struct recurrent *r = pith_step_alloc(step, sizeof *r);
    int64_t used = 0, rows;
    int rc;

    if (!r)
        return -ENOMEM;
    r->form = pith_gemm_form();
    rc = read_geometry(step, r, err);
    if (rc == 0)
        rc = read_activations(step, r, err);
    if (rc == 0)
        rc = plan_weights(step, r, err);
    if (rc < 0)
        return rc;
    rows = r->gates * r->hidden;
    if (r->seq * r->batch > PITH_STEP_MAX_BYTES / 64 / (rows + 1))
        return pith_step_fail(step, err, -EINVAL, "the sequence is too long");
    r->gate_x = take(&used, r->seq * r->batch * rows);
    r->gate_h = take(&used, r->batch * rows);
    r->state_h = take(&used, r->batch * r->hidden);
    r->state_c = take(&used, r->batch * r->hidden);
    r->reset_h = take(&used, r->batch * r->hidden);
    r->bias = take(&used, rows);
    r->packed_at = take(&used, r->w[0] ? 0 : r->w_packed + r->r_packed + r->r_last_packed);
    step->scratch_bytes = (size_t) used * sizeof(float);
    step->macs = (uint64_t) (r->dirs * r->seq * r->batch * rows * (r->in + r->hidden));
    step->params = r;
    return 0;
}

/* ---- run ---- */

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

static void product(const struct pass *p, const float *b, const float *state, float *out,
                    int64_t cols, int64_t out_row)
{
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
static void apply_all(const struct activation *a, float *x, int64_t count)
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
                      const float *c, const struct activation *act)
{
    for (int64_t k = 0; k < p->r->hidden; k++)
        g[k] = clipped(p->r, x[k] + g[k] + (peephole ? peephole[k] * c[k] : 0.0F));
    apply_all(act, g, p->r->hidden);
}

static void lstm_row(const struct pass *p, const float *x, float *g, float *h, float *c)
{
    const struct recurrent *r = p->r;
    const struct activation *act = r->act[p->dir];
    const int64_t n = r->hidden;
    const float *pi = p->peephole, *po = pi ? pi + n : NULL, *pf = pi ? pi + 2 * n : NULL;
    float *i = g, *o = g + n, *f = g + 2 * n, *candidate = g + 3 * n, *squashed = g;

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
    const struct activation *act = r->act[p->dir];
    const int64_t n = r->hidden;
    const float *bias = p->r_bias ? p->r_bias + 2 * n : NULL;
    float *z = g, *reset = g + n, *last = g + 2 * n;

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
        for (int64_t k = 0; k < n; k++)
            reset[k] = clipped(r, x[n + k] + g[n + k]);
        apply_all(&r->act[p->dir][0], reset, n);
        for (int64_t k = 0; k < n; k++)
            reset[k] *= h[k];
    }
    product(p, p->r_last, p->reset_h, p->gate_h + 2 * n, n, r->gates * n);
}

static void one_time(const struct pass *p, int64_t s)
{
    const struct recurrent *r = p->r;
    const int64_t n = r->hidden, rows = r->gates * n;
    float *y =
        r->seq && p->step->output[0].dtype != PITH_DTYPE_NONE ? p->step->output[0].data : NULL;

    product(p, p->rr, p->state_h, p->gate_h, splits(r) ? rows - n : rows, rows);
    if (splits(r))
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

static bool taken(const struct pith_step *step, size_t output)
{
    return output < step->output_count && step->output[output].dtype != PITH_DTYPE_NONE;
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
    if (taken(step, 1))
        move_state(p, p->state_h, step->output[1].data, true);
    if (taken(step, 2))
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
    if (taken(step, 0) && pith_step_has(step, 4))
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

        if (!p.w) {
            pack_weights(step, r, d, packed, packed + r->w_packed,
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

const struct pith_kernel pith_kernels_recurrent[] = {
    {.op = "LSTM",
     .name = "lstm_f32",
     .types = F32,
     .prepare = recurrent_prepare,
     .run = recurrent_run},
    {.op = "GRU",
     .name = "gru_f32",
     .types = F32,
     .prepare = recurrent_prepare,
     .run = recurrent_run},
    {.op = "RNN",
     .name = "rnn_f32",
     .types = F32,
     .prepare = recurrent_prepare,
     .run = recurrent_run},
    {0},
};
