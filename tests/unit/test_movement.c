/* Kernels that move, pick, place, order and reduce, against coordinates and against hostile
 * indices. */
#include "tests/unit/one_step.h"

#include <math.h>

static void fill_counting(struct pith_tensor *tensor)
{
    for (int64_t i = 0; i < pith_shape_elements(&tensor->shape); i++)
        pith_tensor_set(tensor, i, (double) i);
}

static struct pith_tensor *counting(struct one_step *s, int32_t dtype, const int64_t *dims,
                                    uint32_t rank)
{
    struct pith_tensor *tensor = one_step_input(s, dtype, dims, rank, NULL);

    fill_counting(tensor);
    return tensor;
}

static void every_transpose_of_rank_4_moves_coordinates(void **state)
{
    static const int64_t dims[4] = {2, 3, 1, 5}, strides[4] = {15, 5, 5, 1};

    (void) state;
    for (int code = 0; code < 256; code++) {
        int64_t perm[4] = {code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6};
        struct one_step s;

        if ((1 << perm[0] | 1 << perm[1] | 1 << perm[2] | 1 << perm[3]) != 15)
            continue;
        one_step_init(&s, 13);
        counting(&s, PITH_INT16, dims, 4);
        one_step_node(&s, "Transpose", 1);
        assert_int_equal(pith_node_set_ints(s.graph, s.node, "perm", perm, 4), 0);
        assert_ok(one_step_run(&s), &s.err);
        for (int64_t i = 0; i < 30; i++) {
            int64_t rest = i, from = 0;

            for (int k = 3; k >= 0; k--) {
                from += rest % dims[perm[k]] * strides[perm[k]];
                rest /= dims[perm[k]];
            }
            assert_true(pith_tensor_get(&s.output[0], i) == (double) from);
        }
        one_step_done(&s);
    }
}

/* Every start, end and step around a list of 5, against Python's rule written out. */
static void every_slice_of_a_list_is_pythons(void **state)
{
    (void) state;
    for (int64_t start = -7; start <= 7; start++)
        for (int64_t end = -7; end <= 7; end++)
            for (int64_t by = -3; by <= 3; by++) {
                struct one_step s;
                double want[5];
                int64_t count = 0, from = start < 0 ? start + 5 : start,
                        to = end < 0 ? end + 5 : end;

                if (by == 0)
                    continue;
                if (by > 0)
                    for (int64_t i = from < 0 ? 0 : from; i < (to > 5 ? 5 : to); i += by)
                        want[count++] = (double) i;
                else
                    for (int64_t i = from > 4   ? 4
                                     : from < 0 ? 0
                                                : from;
                         i > (to < -1 ? -1 : to); i += by)
                        want[count++] = (double) i;
                one_step_init(&s, 13);
                counting(&s, PITH_FLOAT32, DIMS(5));
                one_step_input(&s, PITH_INT64, DIMS(1), NUMBERS((double) start));
                one_step_input(&s, PITH_INT64, DIMS(1), NUMBERS((double) end));
                one_step_input(&s, PITH_INT64, DIMS(1), NUMBERS(0));
                one_step_input(&s, PITH_INT64, DIMS(1), NUMBERS((double) by));
                one_step_node(&s, "Slice", 1);
                s.dynamic = start & 1;
                one_step_gives(&s, count, want);
            }
}

/* Short inner runs are copied as one wider element where they lie so: every run of columns of a matrix of
 * 3 rows, for elements of each size. */
static void every_run_of_columns_is_sliced(void **state)
{
    static const int32_t types[] = {PITH_UINT8, PITH_INT16, PITH_FLOAT32, PITH_INT64};

    (void) state;
    for (int64_t cols = 1; cols <= 10; cols++)
        for (int64_t from = 0; from < cols; from++)
            for (int64_t to = from + 1; to <= cols; to++) {
                struct one_step s;
                double want[30];
                int64_t count = 0;

                for (int64_t i = 0; i < 3; i++)
                    for (int64_t j = from; j < to; j++)
                        want[count++] = (double) (i * cols + j);
                one_step_init(&s, 13);
                counting(&s, types[(from + to) % 4], DIMS(3, cols));
                one_step_input(&s, PITH_INT64, DIMS(1), NUMBERS((double) from));
                one_step_input(&s, PITH_INT64, DIMS(1), NUMBERS((double) to));
                one_step_input(&s, PITH_INT64, DIMS(1), NUMBERS(1));
                one_step_node(&s, "Slice", 1);
                one_step_gives(&s, count, want);
            }
}

/* Here it is the output that has gaps between the runs. */
static void every_padding_to_the_middle_keeps_rows(void **state)
{
    (void) state;
    for (int64_t cols = 1; cols <= 8; cols++)
        for (int64_t wide = cols; wide <= 17; wide++) {
            struct one_step s;
            double want[3 * 17] = {0};

            for (int64_t i = 0; i < 3; i++)
                for (int64_t j = 0; j < cols; j++)
                    want[i * wide + (wide - cols) / 2 + j] = (double) (i * cols + j);
            one_step_init(&s, 18);
            counting(&s, cols % 2 ? PITH_FLOAT32 : PITH_UINT8, DIMS(3, cols));
            one_step_input(&s, PITH_INT64, DIMS(2), NUMBERS(3, (double) wide));
            one_step_node(&s, "CenterCropPad", 1);
            one_step_gives(&s, 3 * wide, want);
        }
}

static void slice_refuses_what_never_ends(void **state)
{
    struct one_step s;

    (void) state;
    one_step_init(&s, 13);
    counting(&s, PITH_FLOAT32, DIMS(5));
    for (int i = 0; i < 3; i++)
        one_step_input(&s, PITH_INT64, DIMS(1), NUMBERS(0));
    one_step_input(&s, PITH_INT64, DIMS(1), NUMBERS(0));
    one_step_node(&s, "Slice", 1);
    one_step_refuses(&s, "node \"n\" (Slice): a step of 0 never ends");
}

static void indices(struct one_step *s, const char *op, double index, int64_t opset)
{
    one_step_init(s, opset);
    counting(s, PITH_FLOAT32, DIMS(3, 4));
    if (strcmp(op, "GatherND") == 0 || strcmp(op, "ScatterND") == 0)
        one_step_input(s, PITH_INT64, DIMS(1, 1), &index);
    else
        one_step_input(s, PITH_INT64, DIMS(1, 4), NUMBERS(0, 0, index, 0));
    if (strcmp(op, "ScatterND") == 0)
        one_step_input(s, PITH_FLOAT32, DIMS(1, 4), NUMBERS(1, 2, 3, 4));
    else if (strncmp(op, "Scatter", 7) == 0)
        one_step_input(s, PITH_FLOAT32, DIMS(1, 4), NUMBERS(1, 2, 3, 4));
    one_step_node(s, op, 1);
    s->dynamic = true;
}

static void indices_out_of_range_are_refused_in_the_run(void **state)
{
    static const char *const ops[] = {"Gather", "GatherElements", "GatherND", "ScatterElements",
                                      "ScatterND"};
    static const double bad[] = {3, -4, 9223372036854774784.0, -9223372036854775808.0};

    (void) state;
    for (size_t i = 0; i < 5; i++)
        for (size_t k = 0; k < 4; k++) {
            struct one_step s;
            char sentence[128];

            indices(&s, ops[i], bad[k], 13);
            (void) snprintf(sentence, sizeof sentence,
                            "%s \"n\": index %lld is outside the 3 there are", ops[i],
                            (long long) bad[k]);
            one_step_refuses(&s, sentence);
        }
}

static void negative_indices_count_from_the_end(void **state)
{
    struct one_step s;

    (void) state;
    indices(&s, "GatherElements", -1, 13);
    one_step_gives(&s, 4, NUMBERS(0, 1, 10, 3));
    indices(&s, "GatherND", -3, 13);
    one_step_gives(&s, 4, NUMBERS(0, 1, 2, 3));
    indices(&s, "ScatterND", -1, 13);
    one_step_gives(&s, 12, NUMBERS(0, 1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4));
    indices(&s, "ScatterElements", -1, 13);
    one_step_gives(&s, 12, NUMBERS(1, 2, 2, 4, 4, 5, 6, 7, 8, 9, 3, 11));
}

static void scattering_twice_into_a_place_adds_twice(void **state)
{
    static const int32_t types[] = {PITH_FLOAT32, PITH_FLOAT16, PITH_UINT8, PITH_INT64};

    (void) state;
    for (size_t i = 0; i < 4; i++) {
        struct one_step s;

        one_step_init(&s, 18);
        counting(&s, types[i], DIMS(3));
        one_step_input(&s, PITH_INT32, DIMS(4), NUMBERS(1, 1, -2, 2));
        one_step_input(&s, types[i], DIMS(4), NUMBERS(10, 20, 30, 5));
        one_step_node(&s, "ScatterElements", 1);
        assert_int_equal(pith_node_set_string(s.graph, s.node, "reduction", "add"), 0);
        one_step_gives(&s, 3, NUMBERS(0, 61, 7));
    }
}

/* Each mode against its rule, pads from a crop of 1 to more than twice the input. */
static void every_pad_of_a_list_follows_its_mode(void **state)
{
    static const char *const modes[] = {"constant", "edge", "reflect", "wrap"};

    (void) state;
    for (size_t mode = 0; mode < 4; mode++)
        for (int64_t begin = -1; begin <= 7; begin++)
            for (int64_t end = -1; end <= 7; end++) {
                struct one_step s;
                double want[20];
                int64_t count = 0;

                for (int64_t at = -begin; at < 3 + end; at++) {
                    int64_t folded = ((at % 4) + 4) % 4; /* reflecting 0 1 2 repeats 0 1 2 1 */

                    if (mode == 0)
                        want[count++] = at < 0 || at > 2 ? -9 : (double) at;
                    else if (mode == 1)
                        want[count++] = (double) (at < 0 ? 0 : at > 2 ? 2 : at);
                    else if (mode == 2)
                        want[count++] = (double) (folded == 3 ? 1 : folded);
                    else
                        want[count++] = (double) (((at % 3) + 3) % 3);
                }
                one_step_init(&s, 19);
                counting(&s, PITH_INT32, DIMS(3));
                one_step_input(&s, PITH_INT64, DIMS(2), NUMBERS((double) begin, (double) end));
                one_step_input(&s, PITH_INT32, SCALAR, NUMBERS(-9));
                one_step_node(&s, "Pad", 1);
                assert_int_equal(pith_node_set_string(s.graph, s.node, "mode", modes[mode]), 0);
                s.dynamic = begin & 1;
                one_step_gives(&s, count, want);
            }
}

static void nothing_cannot_be_reflected(void **state)
{
    struct one_step s;

    (void) state;
    one_step_init(&s, 13);
    counting(&s, PITH_FLOAT32, DIMS(0));
    one_step_input(&s, PITH_INT64, DIMS(2), NUMBERS(1, 1));
    one_step_node(&s, "Pad", 1);
    assert_int_equal(pith_node_set_string(s.graph, s.node, "mode", "edge"), 0);
    one_step_refuses(&s, "Pad \"n\": nothing lies along axis 0 to pad with");
}

/* Every set of axes of rank 4, kept or not, against a sum by coordinates. */
static void every_reduction_sums_its_coordinates(void **state)
{
    static const int64_t dims[4] = {2, 3, 5, 9};

    (void) state;
    for (int mask = 1; mask < 16; mask++)
        for (int keep = 0; keep < 2; keep++)
            for (int dtype = 0; dtype < 2; dtype++) {
                int64_t axes[4], count = 0, outputs = 270;
                double want[270] = {0};
                struct one_step s;

                for (int64_t k = 0; k < 4; k++)
                    if (mask >> k & 1) {
                        axes[count++] = k - 4;
                        outputs /= dims[k];
                    }
                for (int64_t i = 0; i < 270; i++) {
                    int64_t rest = i, to = 0, scale = 1;

                    for (int k = 3; k >= 0; k--) {
                        to += mask >> k & 1 ? 0 : rest % dims[k] * scale;
                        scale *= mask >> k & 1 ? 1 : dims[k];
                        rest /= dims[k];
                    }
                    want[to] += (double) i;
                }
                one_step_init(&s, 12);
                counting(&s, dtype ? PITH_INT32 : PITH_FLOAT32, dims, 4);
                one_step_node(&s, "ReduceSum", 1);
                assert_int_equal(pith_node_set_ints(s.graph, s.node, "axes", axes, (size_t) count),
                                 0);
                one_step_int(&s, "keepdims", keep);
                one_step_gives(&s, outputs, want);
            }
}

static void reducing_nothing_gives_the_neutral_element(void **state)
{
    static const struct {
        const char *op;
        int32_t dtype;
        double want;
    } cases[] = {
        {"ReduceSum", PITH_FLOAT32, 0},
        {"ReduceProd", PITH_FLOAT32, 1},
        {"ReduceMax", PITH_FLOAT32, -INFINITY},
        {"ReduceMin", PITH_FLOAT32, INFINITY},
        {"ReduceMax", PITH_INT8, -128},
        {"ReduceMin", PITH_UINT8, 255},
        {"ReduceLogSumExp", PITH_FLOAT32, -INFINITY},
    };

    (void) state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct one_step s;

        one_step_init(&s, 18);
        counting(&s, cases[i].dtype, DIMS(1, 0));
        one_step_input(&s, PITH_INT64, DIMS(1), NUMBERS(1));
        one_step_node(&s, cases[i].op, 1);
        one_step_gives(&s, 1, &cases[i].want);
    }
}

static void top_k_keeps_equals_in_their_order(void **state)
{
    struct one_step s;

    (void) state;
    for (int largest = 0; largest < 2; largest++) {
        const double *values = largest ? NUMBERS(7, 5, 5, 5) : NUMBERS(-1, 0, 0, 5);
        const double *places = largest ? NUMBERS(4, 0, 2, 5) : NUMBERS(6, 1, 3, 0);

        one_step_init(&s, 11);
        one_step_input(&s, PITH_FLOAT32, DIMS(7), NUMBERS(5, 0, 5, -0.0, 7, 5, -1));
        one_step_input(&s, PITH_INT64, DIMS(1), NUMBERS(4));
        one_step_node(&s, "TopK", 2);
        one_step_int(&s, "largest", largest);
        s.dynamic = true;
        assert_ok(one_step_run(&s), &s.err);
        for (int64_t i = 0; i < 4; i++) {
            assert_true(pith_tensor_get(&s.output[0], i) == values[i]);
            assert_true(pith_tensor_get(&s.output[1], i) == places[i]);
        }
        one_step_done(&s);
    }
    one_step_init(&s, 11);
    counting(&s, PITH_FLOAT32, DIMS(3));
    one_step_input(&s, PITH_INT64, DIMS(1), NUMBERS(4));
    one_step_node(&s, "TopK", 2);
    one_step_refuses(&s, "node \"n\" (TopK): k is 4 and axis 0 has only 3");
}

/* Of lines with many equals: for each k what sorting the whole line would leave in front. */
static void top_k_is_the_front_of_the_sorted_line(void **state)
{
    enum { LENGTH = 19 };
    double line[LENGTH];
    int64_t sorted[LENGTH];

    (void) state;
    for (int64_t k = 1; k <= LENGTH; k++) {
        const double number = (double) k;
        struct one_step s;

        for (int64_t i = 0; i < LENGTH; i++) {
            int64_t at = i;

            line[i] = (double) (i * i * (k + 3) % 7);
            for (; at > 0 && line[i] > line[sorted[at - 1]]; at--)
                sorted[at] = sorted[at - 1];
            sorted[at] = i;
        }
        one_step_init(&s, 11);
        one_step_input(&s, PITH_FLOAT32, DIMS(LENGTH), line);
        one_step_input(&s, PITH_INT64, DIMS(1), &number);
        one_step_node(&s, "TopK", 2);
        assert_ok(one_step_run(&s), &s.err);
        for (int64_t i = 0; i < k; i++) {
            assert_true(pith_tensor_get(&s.output[0], i) == line[sorted[i]]);
            assert_int_equal(pith_tensor_get_int(&s.output[1], i), sorted[i]);
        }
        one_step_done(&s);
    }
}

static void ranges_end_where_they_should_at_the_limits(void **state)
{
    struct one_step s;

    (void) state;
    one_step_init(&s, 13);
    one_step_input(&s, PITH_INT64, SCALAR, NUMBERS(-9223372036854775808.0));
    one_step_input(&s, PITH_INT64, SCALAR, NUMBERS(9223372036854774784.0));
    one_step_input(&s, PITH_INT64, SCALAR, NUMBERS(1));
    one_step_node(&s, "Range", 1);
    one_step_refuses(&s, "node \"n\" (Range): the range is too large");
    one_step_init(&s, 13);
    one_step_input(&s, PITH_INT32, SCALAR, NUMBERS(10));
    one_step_input(&s, PITH_INT32, SCALAR, NUMBERS(4));
    one_step_input(&s, PITH_INT32, SCALAR, NUMBERS(-4));
    one_step_node(&s, "Range", 1);
    s.dynamic = true;
    one_step_gives(&s, 2, NUMBERS(10, 6));
}

static void data_that_cannot_be_right_is_refused(void **state)
{
    struct one_step s;

    (void) state;
    one_step_init(&s, 13);
    counting(&s, PITH_FLOAT32, DIMS(2, 2));
    one_step_input(&s, PITH_INT64, DIMS(2), NUMBERS(1, 3));
    one_step_node(&s, "ReverseSequence", 1);
    one_step_refuses(&s, "ReverseSequence \"n\": a length of 3 of 2 steps");
    one_step_init(&s, 13);
    counting(&s, PITH_FLOAT32, DIMS(1, 2));
    one_step_input(&s, PITH_INT64, DIMS(1), NUMBERS(2));
    one_step_node(&s, "NegativeLogLikelihoodLoss", 1);
    one_step_refuses(&s, "NegativeLogLikelihoodLoss \"n\": label 2 of 2 classes");
}

static void one_hot_leaves_off_what_is_out_of_range(void **state)
{
    struct one_step s;

    (void) state;
    one_step_init(&s, 13);
    one_step_input(&s, PITH_INT64, DIMS(4), NUMBERS(1, -1, 3, -9223372036854775808.0));
    one_step_input(&s, PITH_INT64, SCALAR, NUMBERS(3));
    one_step_input(&s, PITH_FLOAT32, DIMS(2), NUMBERS(0, 1));
    one_step_node(&s, "OneHot", 1);
    s.dynamic = true;
    one_step_gives(&s, 12, NUMBERS(0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0));
}

static void triangles_stand_any_diagonal(void **state)
{
    static const double diagonals[] = {-9223372036854775808.0, 9223372036854774784.0, 1};
    static const double want[2][3][4] = {{{0, 1, 2, 3}, {0, 0, 0, 0}, {0, 1, 0, 0}},
                                         {{0, 0, 0, 0}, {0, 1, 2, 3}, {0, 1, 2, 3}}};

    (void) state;
    for (int lower = 0; lower < 2; lower++)
        for (int i = 0; i < 3; i++) {
            struct one_step s;

            one_step_init(&s, 14);
            counting(&s, PITH_INT8, DIMS(2, 2));
            one_step_input(&s, PITH_INT64, SCALAR, &diagonals[i]);
            one_step_node(&s, "Trilu", 1);
            one_step_int(&s, "upper", !lower);
            one_step_gives(&s, 4, want[lower][i]);
        }
}

static void concat_and_split_take_empty_parts(void **state)
{
    struct one_step s;

    (void) state;
    one_step_init(&s, 13);
    counting(&s, PITH_FLOAT32, DIMS(2, 0));
    counting(&s, PITH_FLOAT32, DIMS(2, 2));
    counting(&s, PITH_FLOAT32, DIMS(2, 1));
    one_step_node(&s, "Concat", 1);
    one_step_int(&s, "axis", -1);
    one_step_gives(&s, 6, NUMBERS(0, 1, 0, 2, 3, 1));
    one_step_init(&s, 13);
    counting(&s, PITH_FLOAT32, DIMS(2, 3));
    one_step_input(&s, PITH_INT64, DIMS(3), NUMBERS(0, 2, 1));
    one_step_node(&s, "Split", 3);
    one_step_int(&s, "axis", 1);
    s.dynamic = true;
    assert_ok(one_step_run(&s), &s.err);
    assert_int_equal(pith_shape_elements(&s.output[0].shape), 0);
    assert_true(pith_tensor_get(&s.output[1], 2) == 3 && pith_tensor_get(&s.output[2], 1) == 5);
    one_step_done(&s);
}

static void unique_gives_groups_in_either_order(void **state)
{
    (void) state;
    for (int sorted = 0; sorted < 2; sorted++) {
        const double *values = sorted ? NUMBERS(1, 2, 9) : NUMBERS(9, 1, 2);
        const double *inverse = sorted ? NUMBERS(2, 0, 2, 1, 0) : NUMBERS(0, 1, 0, 2, 1);
        struct one_step s;

        one_step_init(&s, 13);
        one_step_input(&s, PITH_UINT8, DIMS(5), NUMBERS(9, 1, 9, 2, 1));
        one_step_node(&s, "Unique", 4);
        one_step_int(&s, "sorted", sorted);
        assert_ok(one_step_run(&s), &s.err);
        for (int64_t i = 0; i < 3; i++)
            assert_true(pith_tensor_get(&s.output[0], i) == values[i]);
        for (int64_t i = 0; i < 5; i++)
            assert_true(pith_tensor_get(&s.output[2], i) == inverse[i]);
        one_step_done(&s);
    }
}

static void a_transform_and_its_inverse_give_the_signal(void **state)
{
    static const int64_t lengths[] = {1, 2, 8, 12, 17};

    (void) state;
    for (size_t i = 0; i < 5; i++) {
        double forth[34];
        struct one_step s;

        one_step_init(&s, 17);
        counting(&s, PITH_FLOAT64, (int64_t[]){1, lengths[i], 2}, 3);
        one_step_node(&s, "DFT", 1);
        assert_ok(one_step_run(&s), &s.err);
        memcpy(forth, s.output[0].data, (size_t) lengths[i] * 16);
        one_step_done(&s);
        one_step_init(&s, 17);
        one_step_input(&s, PITH_FLOAT64, (int64_t[]){1, lengths[i], 2}, 3, forth);
        one_step_node(&s, "DFT", 1);
        one_step_int(&s, "inverse", 1);
        assert_ok(one_step_run(&s), &s.err);
        for (int64_t k = 0; k < 2 * lengths[i]; k++) /* rounding of float64 alone */
            assert_true(fabs(pith_tensor_get(&s.output[0], k) - (double) k) < 1e-10);
        one_step_done(&s);
    }
}

/* The example of the operator's text at opset 11. */
static void resize_takes_the_nearest_as_tensorflow_did(void **state)
{
    struct one_step s;

    (void) state;
    one_step_init(&s, 11);
    counting(&s, PITH_FLOAT32, DIMS(1, 1, 4, 4));
    one_step_input(&s, PITH_FLOAT32, DIMS(0), NULL);
    one_step_input(&s, PITH_FLOAT32, DIMS(0), NULL);
    one_step_input(&s, PITH_INT64, DIMS(4), NUMBERS(1, 1, 3, 2));
    one_step_node(&s, "Resize", 1);
    assert_int_equal(pith_node_set_string(s.graph, s.node, "coordinate_transformation_mode",
                                          "tf_half_pixel_for_nn"),
                     0);
    one_step_gives(&s, 6, NUMBERS(5, 7, 9, 11, 13, 15));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_transpose_of_rank_4_moves_coordinates),
        cmocka_unit_test(every_slice_of_a_list_is_pythons),
        cmocka_unit_test(every_run_of_columns_is_sliced),
        cmocka_unit_test(every_padding_to_the_middle_keeps_rows),
        cmocka_unit_test(slice_refuses_what_never_ends),
        cmocka_unit_test(indices_out_of_range_are_refused_in_the_run),
        cmocka_unit_test(negative_indices_count_from_the_end),
        cmocka_unit_test(scattering_twice_into_a_place_adds_twice),
        cmocka_unit_test(every_pad_of_a_list_follows_its_mode),
        cmocka_unit_test(nothing_cannot_be_reflected),
        cmocka_unit_test(every_reduction_sums_its_coordinates),
        cmocka_unit_test(reducing_nothing_gives_the_neutral_element),
        cmocka_unit_test(top_k_keeps_equals_in_their_order),
        cmocka_unit_test(top_k_is_the_front_of_the_sorted_line),
        cmocka_unit_test(ranges_end_where_they_should_at_the_limits),
        cmocka_unit_test(data_that_cannot_be_right_is_refused),
        cmocka_unit_test(one_hot_leaves_off_what_is_out_of_range),
        cmocka_unit_test(triangles_stand_any_diagonal),
        cmocka_unit_test(concat_and_split_take_empty_parts),
        cmocka_unit_test(unique_gives_groups_in_either_order),
        cmocka_unit_test(a_transform_and_its_inverse_give_the_signal),
        cmocka_unit_test(resize_takes_the_nearest_as_tensorflow_did),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
