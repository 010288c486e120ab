/* Operators that go element by element: in whatever form their operands lie. */
#include "libpith/formats/tflite_read.h"

#include <errno.h>
#include <math.h>

/* ---- forms ---- */

/* Planar where an operand of full rank was made so; what broadcasts follows. */
static enum tflite_form common_form(const struct tflite_node *node, uint32_t first, uint32_t count,
                                    uint32_t rank)
{
    for (uint32_t i = first; i < first + count; i++) {
        const struct tflite_tensor *tensor = tflite_input(node, i);

        if (tensor && tensor->shape.rank == rank && tflite_home(node, i) == FORM_PLANAR)
            return FORM_PLANAR;
    }
    return FORM_PLAIN;
}

static uint32_t output_rank(const struct tflite_node *node)
{
    return tflite_output(node, 0)->shape.rank;
}

/* What operators see of input i: reals where it is quantized. */
static int32_t type_of(const struct tflite_node *node, uint32_t i)
{
    const struct tflite_tensor *tensor = tflite_input(node, i);

    return tflite_on_grid(tensor) ? PITH_FLOAT32 : tensor->dtype;
}

/* ---- one operand ---- */

static void map(struct tflite_node *node)
{
    enum tflite_form form = tflite_home(node, 0);

    (void) tflite_emit1(node, node->row->op, tflite_take(node, 0, form),
                        tflite_result(node, 0, form));
}

static void limit(struct tflite_node *node, float low, float high)
{
    enum tflite_form form = tflite_home(node, 0);
    const uint32_t inputs[] = {tflite_take(node, 0, form), tflite_constant_float(node, low),
                               tflite_constant_float(node, high)};
    uint32_t output = tflite_result(node, 0, form);

    (void) tflite_emit(node, "Clip", inputs, 3, &output, 1);
}

static void relu6(struct tflite_node *node)
{
    limit(node, 0, 6);
}

static void relu_n1_to_1(struct tflite_node *node)
{
    limit(node, -1, 1);
}

static void relu_0_to_1(struct tflite_node *node)
{
    limit(node, 0, 1);
}

static void leaky_relu(struct tflite_node *node)
{
    enum tflite_form form = tflite_home(node, 0);
    uint32_t emitted =
        tflite_emit1(node, "LeakyRelu", tflite_take(node, 0, form), tflite_result(node, 0, form));

    tflite_set_float(node, emitted, "alpha", flat_float(node->options, 0, 0));
}

static void gelu(struct tflite_node *node)
{
    enum tflite_form form = tflite_home(node, 0);
    uint32_t emitted =
        tflite_emit1(node, "Gelu", tflite_take(node, 0, form), tflite_result(node, 0, form));

    tflite_set_string(node, emitted, "approximate", flat_u8(node->options, 0, 0) ? "tanh" : "none");
}

static void rsqrt(struct tflite_node *node)
{
    enum tflite_form form = tflite_home(node, 0);
    uint32_t root = tflite_chain1(node, "Sqrt", tflite_take(node, 0, form), PITH_FLOAT32);

    (void) tflite_emit1(node, "Reciprocal", root, tflite_result(node, 0, form));
}

static void square(struct tflite_node *node)
{
    enum tflite_form form = tflite_home(node, 0);
    uint32_t x = tflite_take(node, 0, form);

    tflite_emit2(node, "Mul", x, x, tflite_result(node, 0, form));
}

static void zeros_like(struct tflite_node *node)
{
    const int64_t zero = 0;
    const struct pith_tensor value = {type_of(node, 0),
                                      {1, {1}},
                                      (void *) (uintptr_t) &zero,
                                      (size_t) pith_dtype_bits(type_of(node, 0)) / 8};
    enum tflite_form form = tflite_home(node, 0);
    uint32_t shape = tflite_chain1(node, "Shape", tflite_take(node, 0, form), PITH_INT64);
    uint32_t emitted = tflite_emit1(node, "ConstantOfShape", shape, tflite_result(node, 0, form));

    if (node->rc == 0)
        node->rc = pith_node_set_tensor(node->reader->graph, emitted, "value", &value);
}

/* Over the last axis, as TensorFlow Lite does. */
static void softmax(struct tflite_node *node)
{
    enum tflite_form form = tflite_home(node, 0);
    uint32_t rank = tflite_input(node, 0)->shape.rank;
    float beta = node->row->options == OPTIONS_SOFTMAX ? flat_float(node->options, 0, 1) : 1;
    uint32_t x = tflite_take(node, 0, form), emitted;

    if (rank < 1 || !isfinite(beta)) {
        tflite_fail(node, -EBADMSG, "its input has no axis, or its beta is not finite");
        return;
    }
    if (beta != 1.0F)
        x = tflite_chain2(node, "Mul", x, tflite_constant_float(node, beta), PITH_FLOAT32);
    emitted = tflite_emit1(node, node->row->op, x, tflite_result(node, 0, form));
    tflite_set_int(node, emitted, "axis", tflite_axis_in(form, rank - 1, rank));
}

static void l2_normalization(struct tflite_node *node)
{
    enum tflite_form form = tflite_home(node, 0);
    uint32_t rank = tflite_input(node, 0)->shape.rank;
    uint32_t emitted;

    if (rank < 1) {
        tflite_fail(node, -EBADMSG, "its input has no axis");
        return;
    }
    emitted = tflite_emit1(node, "LpNormalization", tflite_take(node, 0, form),
                           tflite_result(node, 0, form));
    tflite_set_int(node, emitted, "axis", tflite_axis_in(form, rank - 1, rank));
}

/* The slopes lack the batch axis: one for each channel, most often. */
static void prelu(struct tflite_node *node)
{
    uint32_t rank = tflite_input(node, 0)->shape.rank;
    enum tflite_form form = tflite_home(node, 0);
    uint32_t x = tflite_take(node, 0, form);

    tflite_emit2(node, "PRelu", x, tflite_take_broadcast(node, 1, rank, form),
                 tflite_result(node, 0, form));
}

/* ---- two operands ---- */

static void arithmetic(struct tflite_node *node)
{
    uint32_t rank = output_rank(node);
    enum tflite_form form = common_form(node, 0, 2, rank);
    int activation = node->row->options == OPTIONS_NONE
                         ? ACTIVATION_NONE
                         : flat_i8(node->options, 0, ACTIVATION_NONE);
    uint32_t a = tflite_take_broadcast(node, 0, rank, form);
    uint32_t b = tflite_take_broadcast(node, 1, rank, form);

    tflite_emit2(node, node->row->op, a, b, tflite_result_activated(node, activation, form));
}

static void squared_difference(struct tflite_node *node)
{
    uint32_t rank = output_rank(node);
    enum tflite_form form = common_form(node, 0, 2, rank);
    uint32_t a = tflite_take_broadcast(node, 0, rank, form);
    uint32_t b = tflite_take_broadcast(node, 1, rank, form);
    uint32_t difference = tflite_chain2(node, "Sub", a, b, type_of(node, 0));

    tflite_emit2(node, "Mul", difference, difference, tflite_result(node, 0, form));
}

static void not_equal(struct tflite_node *node)
{
    uint32_t rank = output_rank(node);
    enum tflite_form form = common_form(node, 0, 2, rank);
    uint32_t a = tflite_take_broadcast(node, 0, rank, form);
    uint32_t b = tflite_take_broadcast(node, 1, rank, form);

    (void) tflite_emit1(node, "Not", tflite_chain2(node, "Equal", a, b, PITH_BOOL),
                        tflite_result(node, 0, form));
}

/* Rounds down, where integer division in ONNX cuts off: by way of the remainder, whose sign is the
 * divisor's. */
static void floor_div(struct tflite_node *node)
{
    uint32_t rank = output_rank(node);
    enum tflite_form form = common_form(node, 0, 2, rank);
    uint32_t a = tflite_take_broadcast(node, 0, rank, form);
    uint32_t b = tflite_take_broadcast(node, 1, rank, form);
    int32_t dtype = type_of(node, 0);

    if (dtype == PITH_FLOAT32) {
        (void) tflite_emit1(node, "Floor", tflite_chain2(node, "Div", a, b, dtype),
                            tflite_result(node, 0, form));
        return;
    }
    a = tflite_chain2(node, "Sub", a, tflite_chain2(node, "Mod", a, b, dtype), dtype);
    tflite_emit2(node, "Div", a, b, tflite_result(node, 0, form));
}

/* The remainder of rounding down. ONNX's Mod has that for integers alone. */
static void floor_mod(struct tflite_node *node)
{
    uint32_t rank = output_rank(node);
    enum tflite_form form = common_form(node, 0, 2, rank);
    uint32_t a = tflite_take_broadcast(node, 0, rank, form);
    uint32_t b = tflite_take_broadcast(node, 1, rank, form);
    uint32_t whole;

    if (type_of(node, 0) != PITH_FLOAT32) {
        tflite_emit2(node, "Mod", a, b, tflite_result(node, 0, form));
        return;
    }
    whole =
        tflite_chain1(node, "Floor", tflite_chain2(node, "Div", a, b, PITH_FLOAT32), PITH_FLOAT32);
    tflite_emit2(node, "Sub", a, tflite_chain2(node, "Mul", b, whole, PITH_FLOAT32),
                 tflite_result(node, 0, form));
}

/* ---- several ---- */

static void add_n(struct tflite_node *node)
{
    enum tflite_form form = common_form(node, 0, node->input_count, output_rank(node));
    uint32_t inputs[TFLITE_MOST_PORTS], output;

    for (uint32_t i = 0; i < node->input_count; i++)
        inputs[i] = tflite_take(node, i, form);
    output = tflite_result(node, 0, form);
    (void) tflite_emit(node, "Sum", inputs, node->input_count, &output, 1);
}

/* SELECT takes a condition of one axis for whole rows; SELECT_V2 broadcasts. */
static void select(struct tflite_node *node)
{
    uint32_t rank = output_rank(node), inputs[3], output;
    const struct tflite_tensor *condition = tflite_input(node, 0);
    enum tflite_form form = common_form(node, 0, 3, rank);

    if (node->row->code == 64 && condition->shape.rank == 1 && rank > 1) {
        tflite_fail(node, -ENOTSUP, "it selects whole rows");
        return;
    }
    for (uint32_t i = 0; i < 3; i++)
        inputs[i] = tflite_take_broadcast(node, i, rank, form);
    output = tflite_result(node, 0, form);
    (void) tflite_emit(node, "Where", inputs, 3, &output, 1);
}

const struct tflite_operator tflite_elementwise_operators[] = {
    {101, "ABS", map, OPTIONS_NONE, 1, 1, "Abs"},
    {104, "CEIL", map, OPTIONS_NONE, 1, 1, "Ceil"},
    {108, "COS", map, OPTIONS_NONE, 1, 1, "Cos"},
    {111, "ELU", map, OPTIONS_NONE, 1, 1, "Elu"},
    {47, "EXP", map, OPTIONS_NONE, 1, 1, "Exp"},
    {8, "FLOOR", map, OPTIONS_NONE, 1, 1, "Floor"},
    {117, "HARD_SWISH", map, OPTIONS_NONE, 1, 1, "HardSwish"},
    {73, "LOG", map, OPTIONS_NONE, 1, 1, "Log"},
    {14, "LOGISTIC", map, OPTIONS_NONE, 1, 1, "Sigmoid"},
    {87, "LOGICAL_NOT", map, OPTIONS_NONE, 1, 1, "Not"},
    {59, "NEG", map, OPTIONS_NONE, 1, 1, "Neg"},
    {19, "RELU", map, OPTIONS_NONE, 1, 1, "Relu"},
    {116, "ROUND", map, OPTIONS_NONE, 1, 1, "Round"},
    {158, "SIGN", map, OPTIONS_NONE, 1, 1, "Sign"},
    {66, "SIN", map, OPTIONS_NONE, 1, 1, "Sin"},
    {75, "SQRT", map, OPTIONS_NONE, 1, 1, "Sqrt"},
    {28, "TANH", map, OPTIONS_NONE, 1, 1, "Tanh"},
    {21, "RELU6", relu6, OPTIONS_NONE, 1, 1, "Clip"},
    {20, "RELU_N1_TO_1", relu_n1_to_1, OPTIONS_NONE, 1, 1, "Clip"},
    {152, "RELU_0_TO_1", relu_0_to_1, OPTIONS_NONE, 1, 1, "Clip"},
    {98, "LEAKY_RELU", leaky_relu, OPTIONS_LEAKY_RELU, 1, 1, "LeakyRelu"},
    {150, "GELU", gelu, OPTIONS_GELU, 1, 1, "Gelu"},
    {76, "RSQRT", rsqrt, OPTIONS_NONE, 1, 1, NULL},
    {92, "SQUARE", square, OPTIONS_NONE, 1, 1, NULL},
    {93, "ZEROS_LIKE", zeros_like, OPTIONS_NONE, 1, 1, NULL},
    {25, "SOFTMAX", softmax, OPTIONS_SOFTMAX, 1, 1, "Softmax"},
    {50, "LOG_SOFTMAX", softmax, OPTIONS_NONE, 1, 1, "LogSoftmax"},
    {11, "L2_NORMALIZATION", l2_normalization, OPTIONS_NONE, 1, 1, NULL},
    {54, "PRELU", prelu, OPTIONS_NONE, 2, 1, "PRelu"},
    {0, "ADD", arithmetic, OPTIONS_ADD, 2, 1, "Add"},
    {41, "SUB", arithmetic, OPTIONS_SUB, 2, 1, "Sub"},
    {18, "MUL", arithmetic, OPTIONS_MUL, 2, 1, "Mul"},
    {42, "DIV", arithmetic, OPTIONS_DIV, 2, 1, "Div"},
    {55, "MAXIMUM", arithmetic, OPTIONS_NONE, 2, 1, "Max"},
    {57, "MINIMUM", arithmetic, OPTIONS_NONE, 2, 1, "Min"},
    {78, "POW", arithmetic, OPTIONS_NONE, 2, 1, "Pow"},
    {58, "LESS", arithmetic, OPTIONS_NONE, 2, 1, "Less"},
    {63, "LESS_EQUAL", arithmetic, OPTIONS_NONE, 2, 1, "LessOrEqual"},
    {61, "GREATER", arithmetic, OPTIONS_NONE, 2, 1, "Greater"},
    {62, "GREATER_EQUAL", arithmetic, OPTIONS_NONE, 2, 1, "GreaterOrEqual"},
    {71, "EQUAL", arithmetic, OPTIONS_NONE, 2, 1, "Equal"},
    {84, "LOGICAL_OR", arithmetic, OPTIONS_NONE, 2, 1, "Or"},
    {86, "LOGICAL_AND", arithmetic, OPTIONS_NONE, 2, 1, "And"},
    {160, "BITWISE_XOR", arithmetic, OPTIONS_NONE, 2, 1, "BitwiseXor"},
    {72, "NOT_EQUAL", not_equal, OPTIONS_NONE, 2, 1, NULL},
    {99, "SQUARED_DIFFERENCE", squared_difference, OPTIONS_NONE, 2, 1, NULL},
    {90, "FLOOR_DIV", floor_div, OPTIONS_NONE, 2, 1, NULL},
    {95, "FLOOR_MOD", floor_mod, OPTIONS_NONE, 2, 1, NULL},
    {106, "ADD_N", add_n, OPTIONS_NONE, TFLITE_EVERY_INPUT, 1, "Sum"},
    {64, "SELECT", select, OPTIONS_NONE, 3, 1, "Where"},
    {123, "SELECT_V2", select, OPTIONS_NONE, 3, 1, "Where"},
    {0},
};
