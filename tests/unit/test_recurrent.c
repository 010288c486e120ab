/* LSTM and GRU against the same recurrences written here in double, over odd sizes, both
 * directions, peepholes, both forms of GRU, for every instruction set. */
#include "tests/unit/one_step.h"

#include "tests/unit/each_isa.h"

#include <math.h>

#define MOST_HIDDEN 40

static uint32_t seed = 99;

static int64_t pick(int64_t low, int64_t high)
{
    seed = seed * 1664525U + 1013904223U;
    return low + (int64_t) (seed >> 8) % (high - low + 1);
}

static void fill(struct pith_tensor *t, double scale)
{
    for (int64_t i = 0; i < pith_shape_elements(&t->shape); i++)
        pith_tensor_set(t, i, scale * ((double) pick(0, 1 << 23) / (1 << 22) - 1.0));
}

struct sizes {
    int64_t seq, batch, in, hidden, dirs, gates;
    bool reverse, linear_before_reset, peephole, bytes;
};

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

/* W x + Wb and R h + Rb of one gate's row, apart. */
static void gate_sums(const struct one_step *s, const struct sizes *z, int64_t d, int64_t row,
                      const double *h, int64_t t, int64_t b, double *wx, double *rh)
{
    const int64_t rows = z->gates * z->hidden;

    *wx = pith_tensor_get(&s->data[3], d * 2 * rows + row);
    *rh = pith_tensor_get(&s->data[3], d * 2 * rows + rows + row);
    for (int64_t i = 0; i < z->in; i++)
        *wx += pith_tensor_get(&s->data[0], (t * z->batch + b) * z->in + i) *
               pith_tensor_get(&s->data[1], (d * rows + row) * z->in + i);
    for (int64_t i = 0; i < z->hidden; i++)
        *rh += h[i] * pith_tensor_get(&s->data[2], (d * rows + row) * z->hidden + i);
}

static double gate(const struct one_step *s, const struct sizes *z, int64_t d, int64_t row,
                   const double *h, int64_t t, int64_t b)
{
    double wx, rh;

    gate_sums(s, z, d, row, h, t, b, &wx, &rh);
    return wx + rh;
}

static double peephole(const struct one_step *s, const struct sizes *z, int64_t d, int64_t which,
                       int64_t k)
{
    return z->peephole ? pith_tensor_get(&s->data[7], (d * 3 + which) * z->hidden + k) : 0.0;
}

static void lstm_time(const struct one_step *s, const struct sizes *z, int64_t d, int64_t t,
                      int64_t b, double *h, double *c)
{
    const int64_t n = z->hidden;
    double next[MOST_HIDDEN];

    for (int64_t k = 0; k < n; k++) {
        const double i = sigmoid(gate(s, z, d, k, h, t, b) + peephole(s, z, d, 0, k) * c[k]);
        const double f =
            sigmoid(gate(s, z, d, 2 * n + k, h, t, b) + peephole(s, z, d, 2, k) * c[k]);

        c[k] = f * c[k] + i * tanh(gate(s, z, d, 3 * n + k, h, t, b));
        next[k] =
            sigmoid(gate(s, z, d, n + k, h, t, b) + peephole(s, z, d, 1, k) * c[k]) * tanh(c[k]);
    }
    memcpy(h, next, (size_t) n * sizeof *h);
}

static void gru_time(const struct one_step *s, const struct sizes *z, int64_t d, int64_t t,
                     int64_t b, double *h)
{
    const int64_t n = z->hidden;
    double update[MOST_HIDDEN], reset[MOST_HIDDEN], scaled[MOST_HIDDEN], next[MOST_HIDDEN];

    for (int64_t k = 0; k < n; k++) {
        update[k] = sigmoid(gate(s, z, d, k, h, t, b));
        reset[k] = sigmoid(gate(s, z, d, n + k, h, t, b));
        scaled[k] = reset[k] * h[k];
    }
    for (int64_t k = 0; k < n; k++) {
        double wx, rh;

        gate_sums(s, z, d, 2 * n + k, z->linear_before_reset ? h : scaled, t, b, &wx, &rh);
        next[k] = tanh(wx + (z->linear_before_reset ? reset[k] * rh : rh));
        next[k] = (1.0 - update[k]) * next[k] + update[k] * h[k];
    }
    memcpy(h, next, (size_t) n * sizeof *h);
}

static void check_element(const struct one_step *s, size_t output, int64_t at, double want)
{
    const double got = pith_tensor_get(&s->output[output], at);

    /* Sums of at most 80 terms below 0.3 and a state that forgets: well below 2e-5, which a wrong
     * gate passes at once. */
    if (!(fabs(got - want) <= 2e-5))
        fail_msg("%s: output %zu [%d] is %.8g, not %.8g", s->step.kernel->op, output, (int) at, got,
                 want);
}

static void check_direction(const struct one_step *s, const struct sizes *z, int64_t d, int64_t b)
{
    double h[MOST_HIDDEN] = {0}, c[MOST_HIDDEN] = {0};

    for (int64_t i = 0; i < z->seq; i++) {
        const int64_t t = z->reverse || d == 1 ? z->seq - 1 - i : i;

        if (z->gates == 4)
            lstm_time(s, z, d, t, b, h, c);
        else
            gru_time(s, z, d, t, b, h);
        for (int64_t k = 0; k < z->hidden; k++)
            check_element(s, 0, ((t * z->dirs + d) * z->batch + b) * z->hidden + k, h[k]);
    }
    for (int64_t k = 0; k < z->hidden; k++) {
        check_element(s, 1, (d * z->batch + b) * z->hidden + k, h[k]);
        if (z->gates == 4)
            check_element(s, 2, (d * z->batch + b) * z->hidden + k, c[k]);
    }
}

/* W and R as bytes with a scale for all, or one a gate's row; the floats beside them are exactly
 * what they stand for. */
struct bytes {
    struct pith_tensor tensor[2]; /* own */
    struct pith_quantization grid[2];
    float scale[2][4 * MOST_HIDDEN];
    int32_t zero[2][4 * MOST_HIDDEN];
};

static void make_bytes(struct bytes *bytes, struct one_step *s)
{
    for (int i = 0; i < 2; i++) {
        struct pith_tensor *w = &s->data[i + 1];
        const int64_t rows = w->shape.dim[1], depth = w->shape.dim[2];
        const bool by_row = pick(0, 1) != 0;

        assert_int_equal(pith_tensor_alloc(&bytes->tensor[i], PITH_INT8, &w->shape, NULL), 0);
        for (int64_t j = 0; j < rows; j++)
            bytes->scale[i][j] = by_row ? (float) pick(1, 80) * 0x1p-15F : 0x1p-9F;
        bytes->grid[i] = (struct pith_quantization){.dtype = PITH_INT8,
                                                    .axis = 1,
                                                    .count = by_row ? (size_t) rows : 1,
                                                    .scale = bytes->scale[i],
                                                    .zero_point = bytes->zero[i]};
        for (int64_t k = 0; k < pith_shape_elements(&w->shape); k++) {
            const double q = (double) pick(-128, 127);

            pith_tensor_set(&bytes->tensor[i], k, q);
            pith_tensor_set(w, k, q * (double) bytes->scale[i][k / depth % rows]);
        }
    }
}

/* The step again with the bytes, into the same outputs. */
static void run_bytes(struct one_step *s, struct bytes *bytes)
{
    const struct pith_quantization *grids[PITH_STEP_PORTS] = {NULL, &bytes->grid[0],
                                                              &bytes->grid[1]};
    const int32_t types[] = {PITH_FLOAT32, PITH_INT8, PITH_INT8, PITH_FLOAT32};

    pith_step_done(&s->step);
    s->input[1] = bytes->tensor[0];
    s->input[2] = bytes->tensor[1];
    s->step.input_quantization = grids;
    s->step.kernel = pith_kernel_find("", pith_node_op(s->graph, s->node), 14, types, 4,
                                      PITH_FLOAT32, PITH_KERNEL_QUANTIZED, NULL);
    assert_non_null(s->step.kernel);
    assert_ok(pith_step_prepare(&s->step, &s->err), &s->err);
    assert_int_equal(s->step.taken_in & 6, 6);
    s->input[1].data = s->input[2].data = NULL; /* not needed any more */
    s->step.scratch = malloc(s->step.scratch_bytes);
    assert_non_null(s->step.scratch);
    for (size_t i = 0; i < s->output_count; i++)
        memset(s->output[i].data, 0xFF, s->output[i].bytes);
    assert_ok(s->step.kernel->run(&s->step, &s->err), &s->err);
    free(s->step.scratch);
    for (int i = 0; i < 2; i++)
        pith_tensor_free(&bytes->tensor[i]);
}

static void check_recurrence(const struct sizes *z)
{
    const int64_t rows = z->gates * z->hidden;
    const char *direction = z->dirs == 2 ? "bidirectional" : z->reverse ? "reverse" : "forward";
    struct bytes bytes = {0};
    struct one_step s;

    one_step_init(&s, 14);
    fill(one_step_input(&s, PITH_FLOAT32, DIMS(z->seq, z->batch, z->in), NULL), 1.0);
    fill(one_step_input(&s, PITH_FLOAT32, DIMS(z->dirs, rows, z->in), NULL), 0.3);
    fill(one_step_input(&s, PITH_FLOAT32, DIMS(z->dirs, rows, z->hidden), NULL), 0.3);
    fill(one_step_input(&s, PITH_FLOAT32, DIMS(z->dirs, 2 * rows), NULL), 0.5);
    if (z->peephole) {
        for (int i = 0; i < 3; i++)
            one_step_left_out(&s);
        fill(one_step_input(&s, PITH_FLOAT32, DIMS(z->dirs, 3 * z->hidden), NULL), 0.5);
    }
    if (z->bytes)
        make_bytes(&bytes, &s);
    one_step_node(&s, z->gates == 4 ? "LSTM" : "GRU", z->gates == 4 ? 3 : 2);
    one_step_int(&s, "hidden_size", z->hidden);
    assert_int_equal(pith_node_set_string(s.graph, s.node, "direction", direction), 0);
    if (z->gates == 3)
        one_step_int(&s, "linear_before_reset", z->linear_before_reset);
    assert_ok(one_step_run(&s), &s.err);
    if (z->bytes)
        run_bytes(&s, &bytes);
    for (int64_t d = 0; d < z->dirs; d++)
        for (int64_t b = 0; b < z->batch; b++)
            check_direction(&s, z, d, b);
    one_step_done(&s);
}

static void check_many(int64_t gates)
{
    for (struct each_isa each = {0}; each_isa(&each);)
        for (int round = 0; round < 24; round++) {
            const struct sizes z = {.seq = pick(1, 7),
                                    .batch = pick(1, 3),
                                    .in = pick(1, 20),
                                    .hidden = pick(1, MOST_HIDDEN),
                                    .dirs = 1 + round % 2,
                                    .gates = gates,
                                    .reverse = round % 4 == 2,
                                    .linear_before_reset = round % 3 == 1,
                                    .peephole = gates == 4 && round % 3 == 2,
                                    .bytes = round >= 12};

            check_recurrence(&z);
        }
}

static void lstm_is_the_recurrence(void **state)
{
    (void) state;
    check_many(4);
}

static void gru_is_the_recurrence(void **state)
{
    (void) state;
    check_many(3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lstm_is_the_recurrence),
        cmocka_unit_test(gru_is_the_recurrence),
    };

    return cmocka_run_group_tests_name("recurrent", tests, NULL, NULL);
}
