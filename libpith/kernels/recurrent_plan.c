/* Planning LSTM, GRU and RNN: attributes, shapes, packed weights, scratch. */
#include "libpith/kernels/recurrent.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *name;
    enum recurrent_function function;
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
        r->act[i / each][i % each] = (struct recurrent_activation){
            functions[f].function, functions[f].alpha, functions[f].beta};
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

void pith_recurrent_pack(const struct pith_step *step, const struct recurrent *r, int64_t d,
                         float *w, float *rr, float *last)
{
    const int64_t rows = r->gates * r->hidden,
                  first = recurrent_splits(r) ? rows - r->hidden : rows;
    const float *from_w = (const float *) step->input[1].data + d * rows * r->in;
    const float *from_r = (const float *) step->input[2].data + d * rows * r->hidden;

    pith_gemm_pack_f32(r->form, w, from_w, 1, r->in, r->in, rows);
    if (r->row_form) {
        pith_cell_pack(r->row_form, rr, from_r, r->hidden, first);
        if (recurrent_splits(r))
            pith_cell_pack(r->row_form, last, from_r + first * r->hidden, r->hidden, r->hidden);
        return;
    }
    pith_gemm_pack_f32(r->form, rr, from_r, 1, r->hidden, r->hidden, first);
    if (recurrent_splits(r))
        pith_gemm_pack_f32(r->form, last, from_r + first * r->hidden, 1, r->hidden, r->hidden,
                           r->hidden);
}

/* Of R, with `cols` rows of gates. */
static int64_t packed_floats(const struct recurrent *r, int64_t cols)
{
    return r->row_form ? pith_cell_packed(r->row_form, r->hidden, cols)
                       : pith_gemm_packed(r->form, r->hidden, cols);
}

static int plan_weights(struct pith_step *step, struct recurrent *r, struct pith_error *err)
{
    const int64_t rows = r->gates * r->hidden;

    r->w_packed = pith_gemm_packed(r->form, r->in, rows);
    r->row_form = r->batch == 1 ? pith_cell_form() : NULL;
    r->r_packed = packed_floats(r, rows);
    r->r_last_packed = recurrent_splits(r) ? packed_floats(r, r->hidden) : 0;
    if (r->w_packed + r->r_packed + r->r_last_packed > PITH_STEP_MAX_BYTES / 16)
        return pith_step_fail(step, err, -EINVAL, "the weights are too large");
    for (int64_t d = 0; d < r->dirs && step->input[1].data && step->input[2].data; d++) {
        float *w = pith_step_alloc(step, r->w_packed * 4),
              *rr = pith_step_alloc(step, r->r_packed * 4);
        float *last = pith_step_alloc(step, r->r_last_packed * 4);

        if (!w || !rr || !last)
            return -ENOMEM;
        pith_recurrent_pack(step, r, d, w, rr, last);
        step->taken_in = UINT32_C(1) << 1 | UINT32_C(1) << 2;
        r->w[d] = pith_step_share(step, w);
        r->r[d] = pith_step_share(step, rr);
        r->r_last[d] = pith_step_share(step, last);
    }
    return 0;
}

/* What stands behind W or R of one direction, columns first to first + cols - 1. */
static struct pith_fixed_weights weights_of(const struct pith_step *step, const struct recurrent *r,
                                            size_t input, int64_t d, int64_t first, int64_t cols)
{
    const struct pith_quantization *grid = step->input_quantization[input];
    const int64_t depth = input == 1 ? r->in : r->hidden;
    const bool by_gate = grid->count > 1 && grid->axis == 1;

    return (struct pith_fixed_weights){.weights = &step->input[input],
                                       .grid = grid,
                                       .depth = depth,
                                       .cols = cols,
                                       .first = (d * r->gates * r->hidden + first) * depth,
                                       .scale_first = by_gate           ? first
                                                      : grid->count > 1 ? d
                                                                        : 0,
                                       .scale_step = by_gate};
}

/* One scale, one a direction, or one a gate's row. */
static bool has_scales(const struct pith_step *step, size_t input)
{
    const struct pith_quantization *grid = step->input_quantization[input];
    const struct pith_shape *shape = &step->input[input].shape;

    return grid && step->input[input].data && grid->block_size == 0 &&
           (grid->count == 1 || ((grid->axis == 0 || grid->axis == 1) &&
                                 (int64_t) grid->count == shape->dim[grid->axis]));
}

/* Weights that stay bytes. -ENOTSUP: they go the way of floats. */
static int plan_bytes(struct pith_step *step, struct recurrent *r, struct pith_error *err)
{
    const int64_t rows = r->gates * r->hidden,
                  first = recurrent_splits(r) ? rows - r->hidden : rows;
    int rc = has_scales(step, 1) && has_scales(step, 2) ? 0 : 1;

    for (int64_t d = 0; d < r->dirs && rc == 0; d++) {
        const struct pith_fixed_weights w = weights_of(step, r, 1, d, 0, rows),
                                        rr = weights_of(step, r, 2, d, 0, first);

        rc = pith_fixed_s8_plan(step, &w, &r->w_bytes[d]);
        if (rc == 0)
            rc = pith_fixed_s8_plan(step, &rr, &r->r_bytes[d]);
        if (rc == 0 && recurrent_splits(r)) {
            const struct pith_fixed_weights last = weights_of(step, r, 2, d, first, r->hidden);

            rc = pith_fixed_s8_plan(step, &last, &r->r_last_bytes[d]);
        }
    }
    if (rc > 0)
        return pith_step_fail(step, err, -ENOTSUP, "these weights are not kept as int8");
    if (rc == 0) {
        step->taken_in = UINT32_C(1) << 1 | UINT32_C(1) << 2;
        step->form = pith_fixed_s8_name(r->r_bytes[0]);
    }
    return rc;
}

/* Rows for int8 weights: those of all times, or those of one; a product at a time. */
static int64_t fixed_bytes(const struct recurrent *r)
{
    const int64_t all = r->w_bytes[0] ? pith_fixed_s8_scratch(r->w_bytes[0], r->seq * r->batch) : 0;
    const int64_t one = r->w_bytes[0] ? pith_fixed_s8_scratch(r->r_bytes[0], r->batch) : 0;

    return all > one ? all : one;
}

/* Whether the cells' fast loops do what the node wants. */
static bool is_usual(const struct pith_step *step, const struct recurrent *r)
{
    static const enum recurrent_function usual[] = {SIGMOID, TANH, TANH};
    const int each = r->cell == CELL_LSTM ? 3 : 2;

    for (int64_t d = 0; d < r->dirs; d++)
        for (int i = 0; i < each; i++)
            if (r->act[d][i].function != usual[i])
                return false;
    return r->cell != CELL_RNN && r->clip <= 0.0F && !r->input_forget &&
           !(r->cell == CELL_LSTM && pith_step_has(step, 7));
}

static int64_t take(int64_t *used, int64_t floats)
{
    const int64_t at = *used;

    *used += (floats + 15) / 16 * 16; /* to cache lines */
    return at;
}

int pith_recurrent_prepare(struct pith_step *step, struct pith_error *err)
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
        rc = step->kernel->flags & PITH_KERNEL_QUANTIZED ? plan_bytes(step, r, err)
                                                         : plan_weights(step, r, err);
    if (rc < 0)
        return rc;
    r->cell_form = is_usual(step, r) ? pith_cell_form() : NULL;
    rows = r->gates * r->hidden;
    if (r->seq * r->batch > PITH_STEP_MAX_BYTES / 64 / (rows + 1))
        return pith_step_fail(step, err, -EINVAL, "the sequence is too long");
    r->gate_x = take(&used, r->seq * r->batch * rows);
    r->gate_h = take(&used, r->batch * rows);
    r->state_h = take(&used, r->batch * r->hidden);
    r->state_c = take(&used, r->batch * r->hidden);
    r->reset_h = take(&used, r->batch * r->hidden);
    r->bias = take(&used, rows);
    r->packed_at =
        take(&used, r->w[0] || r->w_bytes[0] ? 0 : r->w_packed + r->r_packed + r->r_last_packed);
    r->fixed_at = take(&used, fixed_bytes(r) / (int64_t) sizeof(float));
    step->scratch_bytes = (size_t) used * sizeof(float);
    step->macs = (uint64_t) (r->dirs * r->seq * r->batch * rows * (r->in + r->hidden));
    step->params = r;
    return 0;
}
