/* Every operator of the table with inputs and attributes that make no sense: inference, prepare and
 * run may refuse, and do so with a sentence, but never crash. Under the sanitizers this is where a
 * missing check shows. */
#include "tests/unit/one_step.h"

#include <inttypes.h>

#define ROUNDS              400 /* an operator */
#define RUN_LIMIT_BYTES     (1 << 20)
#define SCRATCH_LIMIT_BYTES (16 << 20)

static uint64_t random_state;

static uint32_t roll(uint32_t below) /* xorshift64* */
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t) ((random_state * UINT64_C(2685821657736338717)) >> 33) % below;
}

static int64_t hostile_number(void)
{
    static const int64_t extremes[] = {INT64_MIN, INT64_MIN + 1,    INT32_MIN, INT32_MAX,
                                       INT64_MAX, INT64_C(1) << 40, 255};

    return roll(6) == 0 ? extremes[roll(7)] : (int64_t) roll(9) - 3;
}

static int32_t some_type(void)
{
    static const int32_t types[] = {PITH_FLOAT32, PITH_FLOAT32, PITH_FLOAT32, PITH_INT64,
                                    PITH_INT64,   PITH_UINT8,   PITH_INT8,    PITH_INT32,
                                    PITH_BOOL,    PITH_FLOAT16, PITH_FLOAT64};

    return types[roll(sizeof types / sizeof *types)];
}

/* An input whose type the operator takes more often than not. */
static void some_input(struct one_step *s, const struct pith_operator *op, int32_t first)
{
    static const int64_t sizes[] = {1, 2, 3, 4, 1, 2, 5, 0};
    size_t at = s->input_count;
    uint32_t rank = roll(3) == 0 ? roll(6) : at == 0 ? 2 + roll(3) : roll(4);
    int32_t dtype = some_type();
    int64_t dims[PITH_MAX_RANK] = {0};
    struct pith_tensor *tensor;

    if (at > 0 && (op->alike >> (at < 31 ? at : 31) & 1) && roll(8))
        dtype = first;
    for (int tries = 0; at == 0 && op->types && !(op->types >> dtype & 1) && tries < 20; tries++)
        dtype = some_type();
    for (uint32_t i = 0; i < rank; i++)
        dims[i] = sizes[roll(8)];
    tensor = one_step_input(s, dtype, dims, rank, NULL);
    for (int64_t i = 0; i < pith_shape_elements(&tensor->shape); i++) {
        int64_t number = hostile_number();

        if (dtype == PITH_INT64)
            ((int64_t *) tensor->data)[i] = number;
        else
            pith_tensor_set(tensor, i, (double) (dtype == PITH_BOOL ? number & 1 : number));
    }
}

static void some_attributes(struct one_step *s)
{
    static const char *const one[] = {"axis",
                                      "group",
                                      "keepdims",
                                      "blocksize",
                                      "k",
                                      "to",
                                      "num_outputs",
                                      "batch_dims",
                                      "hidden_size",
                                      "ceil_mode",
                                      "detect_negative",
                                      "batch_axis",
                                      "time_axis",
                                      "allowzero",
                                      "upper",
                                      "fmod",
                                      "onesided",
                                      "inverse",
                                      "p",
                                      "num_groups",
                                      "block_size",
                                      "storage_order",
                                      "output_height",
                                      "output_width",
                                      "transA",
                                      "count_include_pad",
                                      "size",
                                      "align_corners"};
    static const char *const lists[] = {
        "axes",          "kernel_shape", "strides",        "pads",
        "dilations",     "perm",         "split",          "starts",
        "ends",          "output_shape", "output_padding", "ngram_counts",
        "ngram_indexes", "pool_int64s",  "pooled_shape",   "scan_input_axes"};
    static const char *const texts[][2] = {
        {"mode", "reflect"},        {"mode", "wrap"},
        {"mode", "linear"},         {"mode", "CRD"},
        {"reduction", "add"},       {"reduction", "none"},
        {"direction", "LEFT"},      {"direction", "bidirectional"},
        {"auto_pad", "SAME_UPPER"}, {"auto_pad", "VALID"},
        {"equation", "ij,jk->ik"},  {"equation", "...i,->"},
        {"equation", "i.j"}};

    for (uint32_t i = 0; i < sizeof one / sizeof *one; i++)
        if (roll(4) == 0)
            one_step_int(s, one[i], hostile_number());
    for (uint32_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        int64_t list[8];
        uint32_t count = roll(7);

        for (uint32_t k = 0; k < count; k++)
            list[k] = hostile_number();
        if (roll(3) == 0)
            assert_int_equal(pith_node_set_ints(s->graph, s->node, lists[i], list, count), 0);
    }
    for (uint32_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (roll(8) == 0)
            assert_int_equal(pith_node_set_string(s->graph, s->node, texts[i][0], texts[i][1]), 0);
}

/* What would take long or much memory is only inferred: sizes are bounded elsewhere. */
static bool small_enough(const struct one_step *s)
{
    for (size_t i = 0; i < s->output_count; i++) {
        const struct pith_shape *shape = pith_value_shape(s->graph, s->output_value[i]);
        int64_t elements = shape && pith_shape_known(shape) ? pith_shape_elements(shape) : 0;

        if (!shape || elements < 0 || elements * 16 > RUN_LIMIT_BYTES)
            return false;
    }
    return true;
}

static int one_round(const struct pith_operator *op, struct one_step *s)
{
    size_t least = op->min_inputs,
           most = op->max_inputs == PITH_OPERATOR_ANY_COUNT ? 4 : op->max_inputs;
    size_t inputs = least + (most > least ? roll((uint32_t) (most - least + 1)) : 0), outputs;
    int rc;

    one_step_init(s, op->since < 9 ? (op->until < 13 ? op->until : 13) : op->since);
    for (size_t i = 0; i < inputs; i++)
        if (i >= least && roll(4) == 0)
            one_step_left_out(s);
        else
            some_input(s, op, s->data[0].dtype);
    outputs = op->max_outputs == PITH_OPERATOR_ANY_COUNT || op->max_outputs > ONE_STEP_OUTPUTS
                  ? 2
                  : op->max_outputs;
    one_step_node(s, op->name, outputs);
    some_attributes(s);
    s->dynamic = roll(2);
    rc = one_step_infer(s, !s->dynamic);
    if (rc == 0 && s->dynamic && !one_step_shapes_known(s))
        rc = one_step_infer(s, true);
    if (rc < 0 || !small_enough(s))
        return rc;
    rc = one_step_prepare(s, !s->dynamic);
    if (rc == -EAGAIN)
        rc = one_step_prepare(s, true);
    if (rc < 0 || s->step.scratch_bytes > SCRATCH_LIMIT_BYTES)
        return rc;
    for (size_t i = 0; i < PITH_STEP_PORTS; i++)
        pith_tensor_free(&s->output[i]);
    return one_step_run(s);
}

static void no_node_crashes(void **state)
{
    const char *seed = getenv("PITH_TEST_SEED");
    const struct pith_operator *op;
    int ran = 0;

    (void) state;
    random_state = seed ? strtoull(seed, NULL, 0) : UINT64_C(0x9e3779b97f4a7c15);
    print_message("# seed %" PRIu64 "\n", random_state);
    for (size_t i = 0; (op = pith_operator_at(i)); i++) {
        for (int round = 0; round < ROUNDS && !(op->flags & PITH_OPERATOR_BODY); round++) {
            struct one_step s;
            int rc = one_round(op, &s);

            if (rc < 0 && rc != -ENOMEM && s.err.text[0] == 0)
                fail_msg("%s refuses without a sentence", op->name);
            ran += rc == 0;
            one_step_done(&s);
        }
    }
    print_message("# %d nodes made sense and were run\n", ran);
    assert_true(ran > 1000); /* or the inputs are too wild to reach the kernels */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_node_crashes)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
