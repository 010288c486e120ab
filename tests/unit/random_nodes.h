/* The kinds of nodes that random graphs have: each adds one, or a few that belong together, to what
 * the maker has. */
#ifndef PITH_TESTS_RANDOM_NODES_H
#define PITH_TESTS_RANDOM_NODES_H

#include <math.h>

#define COUNT(list) (sizeof(list) / sizeof *(list))

/* ---- element by element ---- */

static void make_unary(struct maker *m)
{
    static const char *const smooth[] = {"Sigmoid",   "Tanh", "Erf",  "Softplus", "Softsign",
                                         "HardSwish", "Elu",  "Selu", "Celu",     "Mish",
                                         "Gelu",      "Sin",  "Cos",  "Atan",     "HardSigmoid"};
    static const char *const exact[] = {
        "Relu", "Abs", "Neg", "Identity", "LeakyRelu", "Relu", "ThresholdedRelu"};
    static const char *const wild[] = {"Exp",   "Log",  "Sqrt", "Reciprocal", "Floor", "Ceil",
                                       "Round", "Sign", "Tan",  "Asinh",      "Acosh", "Atanh",
                                       "Asin",  "Acos", "Sinh", "Cosh"};
    const uint32_t x = pick(m, roll(m, 5) ? PITH_FLOAT32 : 0, 0, 6);

    if (x == PITH_NO_VALUE)
        return;
    if (roll(m, 3) == 0)
        (void) rough(m, one(m, smooth[roll(m, COUNT(smooth))], x));
    else if (roll(m, 3) || is_rough(m, x) || m->calm)
        (void) one(m, exact[roll(m, COUNT(exact) - (is_rough(m, x) || m->calm ? 1 : 0))], x);
    else
        (void) rough(m, one(m, wild[roll(m, COUNT(wild))], x));
}

/* Of a shape that broadcasts to that of x. */
static struct pith_shape narrower(struct maker *m, const struct pith_shape *x)
{
    struct pith_shape y = {0};
    const uint32_t drop = roll(m, 3) ? 0 : roll(m, x->rank + 1);

    for (uint32_t i = drop; i < x->rank; i++)
        y.dim[y.rank++] = roll(m, 3) ? x->dim[i] : 1;
    return y;
}

static uint32_t partner(struct maker *m, uint32_t x)
{
    const struct pith_shape shape = roll(m, 4) ? narrower(m, shape_of(m, x)) : *shape_of(m, x);
    const uint32_t other = pick(m, pith_value_dtype(m->graph, x), 0, 6);

    return roll(m, 2) && other != PITH_NO_VALUE
               ? other
               : constant(m, pith_value_dtype(m->graph, x), &shape);
}

static void make_binary(struct maker *m)
{
    static const char *const smooth[] = {"Add", "Sub", "Mul", "Min", "Max", "Add", "Mul", "PRelu"};
    static const char *const wild[] = {"Div",         "Greater", "Less", "Equal", "GreaterOrEqual",
                                       "LessOrEqual", "Mod"};
    const uint32_t x = pick(m, roll(m, 5) ? PITH_FLOAT32 : 0, 0, 6);
    const uint32_t y = x == PITH_NO_VALUE ? x : partner(m, x);
    uint32_t node;

    if (x == PITH_NO_VALUE)
        return;
    if (roll(m, 4) || is_rough(m, x) || is_rough(m, y) || m->calm) {
        (void) (roll(m, 4) ? two(m, smooth[roll(m, COUNT(smooth))], x, y)
                           : two(m, smooth[roll(m, COUNT(smooth) - 1)], y, x));
        return;
    }
    node = maker_node(m, wild[roll(m, COUNT(wild))], (uint32_t[]){x, y}, 2, 1);
    if (strcmp(pith_node_op(m->graph, node), "Mod") == 0)
        set_int(m, node, "fmod", pith_value_dtype(m->graph, x) == PITH_FLOAT32);
    m->made_rough = strcmp(pith_node_op(m->graph, node), "Div") == 0;
    if (pith_value_dtype(m->graph, x) == PITH_FLOAT32 || !m->made_rough)
        (void) maker_end(m, node);
    else
        pith_graph_remove_node(m->graph, node);
}

static void make_clip(struct maker *m)
{
    const uint32_t x = pick(m, PITH_FLOAT32, 0, 6);
    const float low = (float) between(m, -6, 2), high = low + (float) between(m, 0, 8);
    uint32_t node;

    if (x == PITH_NO_VALUE)
        return;
    node = maker_node(m, "Clip", &x, 1, 1);
    if (m->opset < 11) {
        assert_int_equal(pith_node_set_float(m->graph, node, "min", low), 0);
        assert_int_equal(pith_node_set_float(m->graph, node, "max", high), 0);
    } else {
        if (roll(m, 4))
            assert_int_equal(pith_node_set_input(m->graph, node, 1, number(m, low)), 0);
        if (roll(m, 4))
            assert_int_equal(pith_node_set_input(m->graph, node, 2, number(m, high)), 0);
    }
    (void) maker_end(m, node);
}

static void make_where(struct maker *m)
{
    const uint32_t condition = pick(m, PITH_BOOL, 0, 6), x = pick(m, PITH_FLOAT32, 0, 6);

    if (condition == PITH_NO_VALUE || x == PITH_NO_VALUE)
        return;
    (void) maker_end(m, maker_node(m, "Where", (uint32_t[]){condition, x, partner(m, x)}, 3, 1));
}

static void make_cast(struct maker *m)
{
    static const int32_t types[] = {PITH_FLOAT32, PITH_FLOAT32, PITH_INT32, PITH_INT64,
                                    PITH_FLOAT64, PITH_BOOL,    PITH_INT8};
    const uint32_t x = pick(m, 0, 0, 6);
    const int32_t to = types[roll(m, COUNT(types))];
    uint32_t node;

    if (x == PITH_NO_VALUE ||
        ((is_rough(m, x) || m->calm) && to != PITH_FLOAT32 && to != PITH_FLOAT64))
        return;
    node = maker_node(m, "Cast", &x, 1, 1);
    set_int(m, node, "to", to);
    (void) maker_end(m, node);
}

/* ---- windows ---- */

static void window_attributes(struct maker *m, uint32_t node, const int64_t *kernel,
                              uint32_t spatial, bool dilates)
{
    static const char *const automatic[] = {"SAME_UPPER", "SAME_LOWER", "VALID"};
    int64_t pads[6], strides[3], dilations[3];

    for (uint32_t i = 0; i < spatial; i++) {
        dilations[i] = dilates && roll(m, 4) == 0 ? between(m, 1, 3) : 1;
        strides[i] = roll(m, 2) ? 1 : between(m, 1, 3);
        pads[i] = roll(m, 2) ? between(m, 0, kernel[i] - 1) : kernel[i] / 2;
        pads[i + spatial] = roll(m, 2) ? between(m, 0, kernel[i] - 1) : kernel[i] / 2;
    }
    if (roll(m, 3))
        set_ints(m, node, "strides", strides, spatial);
    if (dilates && roll(m, 2))
        set_ints(m, node, "dilations", dilations, spatial);
    if (roll(m, 6) == 0)
        assert_int_equal(pith_node_set_string(m->graph, node, "auto_pad", automatic[roll(m, 3)]),
                         0);
    else if (roll(m, 4))
        set_ints(m, node, "pads", pads, (size_t) 2 * spatial);
}

static int64_t divisor(struct maker *m, int64_t of)
{
    int64_t d = between(m, 1, of < 1 ? 1 : of);

    while (of % d)
        d--;
    return d;
}

static uint32_t make_conv_of(struct maker *m, uint32_t x)
{
    const struct pith_shape *shape = shape_of(m, x);
    const uint32_t spatial = shape->rank - 2;
    const int64_t channels = shape->dim[1];
    const int64_t groups = roll(m, 3)                   ? 1
                           : roll(m, 2) && channels > 0 ? channels
                                                        : divisor(m, channels);
    const int64_t most = 1 + 24 / groups;
    const bool turned = roll(m, 6) == 0; /* ConvTranspose */
    struct pith_shape w = {.rank = shape->rank};
    uint32_t node, in[3] = {x};
    size_t count = 2;
    int64_t outputs = groups * (groups == channels && roll(m, 2) ? 1 : between(m, 1, most));

    w.dim[0] = turned ? channels : outputs;
    w.dim[1] = turned ? outputs / groups : channels / groups;
    for (uint32_t i = 0; i < spatial; i++)
        w.dim[i + 2] = roll(m, 3) == 0 ? 1 : roll(m, 2) ? 3 : between(m, 1, 5);
    in[1] = constant(m, PITH_FLOAT32, &w);
    if (roll(m, 2))
        in[count++] = row(m, outputs);
    node = maker_node(m, turned ? "ConvTranspose" : "Conv", in, count, 1);
    set_int(m, node, "group", groups);
    window_attributes(m, node, w.dim + 2, spatial, true);
    m->made_rough =
        m->made_rough || (spatial == 2 && w.dim[2] == 3 && w.dim[3] == 3); /* Winograd */
    return maker_end(m, node);
}

static void make_conv(struct maker *m)
{
    uint32_t x = pick(m, PITH_FLOAT32, 3, 5);

    if (x != PITH_NO_VALUE)
        (void) make_conv_of(m, x);
}

/* Convolution, then what a step may do in passing. */
static void make_block(struct maker *m)
{
    static const char *const acts[] = {"Relu", "LeakyRelu", "Sigmoid", "HardSwish", "Tanh"};
    const uint32_t x = pick(m, PITH_FLOAT32, 3, 4);
    uint32_t y = x == PITH_NO_VALUE ? x : make_conv_of(m, x), in[5];
    const char *act = acts[roll(m, COUNT(acts))];

    if (y == PITH_NO_VALUE)
        return;
    if (roll(m, 3) == 0) {
        in[0] = y;
        for (int i = 1; i < 5; i++)
            in[i] = row(m, shape_of(m, y)->dim[1]);
        in[4] = constant(m, PITH_FLOAT32, shape_of(m, in[4]));
        struct pith_tensor positive;

        assert_int_equal(pith_tensor_alloc(&positive, PITH_FLOAT32, shape_of(m, in[4]), NULL), 0);
        for (int64_t i = 0; i < positive.shape.dim[0]; i++)
            pith_tensor_set(&positive, i, 1.0 + roll(m, 4));
        assert_int_equal(pith_value_set_constant(m->graph, in[4], &positive), 0);
        pith_tensor_free(&positive);
        y = rough(m, maker_end(m, maker_node(m, "BatchNormalization", in, 5, 1)));
    }
    if (y != PITH_NO_VALUE && roll(m, 3) == 0)
        y = two(m, "Add", y,
                roll(m, 2) && pith_shape_equal(shape_of(m, x), shape_of(m, y)) ? x : partner(m, y));
    if (y == PITH_NO_VALUE || roll(m, 4) == 0)
        return;
    if (roll(m, 3) == 0 && act[0] == 'S')
        (void) rough(m, two(m, "Mul", y, rough(m, one(m, "Sigmoid", y))));
    else if (act[0] == 'R' || act[0] == 'L')
        (void) one(m, act, y);
    else
        (void) rough(m, one(m, act, y));
}

static void make_pool(struct maker *m)
{
    static const char *const ops[] = {"MaxPool", "AveragePool", "MaxPool", "AveragePool", "LpPool"};
    static const char *const global[] = {"GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"};
    const uint32_t x = pick(m, PITH_FLOAT32, 3, 5);
    const char *op = ops[roll(m, COUNT(ops))];
    int64_t kernel[3];
    uint32_t node, spatial;

    if (x == PITH_NO_VALUE)
        return;
    if (roll(m, 4) == 0) {
        (void) rough(m, one(m, global[roll(m, 3)], x));
        return;
    }
    spatial = shape_of(m, x)->rank - 2;
    for (uint32_t i = 0; i < spatial; i++)
        kernel[i] = between(m, 1, 4);
    node = maker_node(m, op, &x, 1, 1);
    set_ints(m, node, "kernel_shape", kernel, spatial);
    window_attributes(m, node, kernel, spatial, (op[0] == 'M' && m->opset >= 10) || m->opset >= 19);
    if (m->opset >= 10 && op[0] != 'L')
        set_int(m, node, "ceil_mode", roll(m, 2));
    if (op[0] == 'A')
        set_int(m, node, "count_include_pad", roll(m, 2));
    m->made_rough = m->made_rough || op[0] != 'M';
    (void) maker_end(m, node);
}

/* ---- products ---- */

static void make_matmul(struct maker *m)
{
    const uint32_t x = pick(m, PITH_FLOAT32, 1, 5), other = pick(m, PITH_FLOAT32, 1, 5);
    const struct pith_shape *shape = x == PITH_NO_VALUE ? NULL : shape_of(m, x);
    struct pith_shape w = {2, {0}};
    uint32_t y;

    if (!shape)
        return;
    if (other != PITH_NO_VALUE && roll(m, 3) == 0) {
        (void) two(m, "MatMul", x, other);
        return;
    }
    w.dim[0] = shape->dim[shape->rank - 1];
    w.dim[1] = odd_size(m);
    if (roll(m, 4) == 0 && shape->rank > 2) { /* a batch of matrices */
        w = *shape;
        w.dim[w.rank - 2] = shape->dim[shape->rank - 1];
        w.dim[w.rank - 1] = odd_size(m);
        w.dim[0] = roll(m, 2) ? 1 : w.dim[0];
    }
    y = two(m, "MatMul", x, constant(m, PITH_FLOAT32, &w));
    if (y != PITH_NO_VALUE && roll(m, 2))
        (void) two(m, "Add", y, roll(m, 2) ? row(m, w.dim[w.rank - 1]) : partner(m, y));
}

static void make_gemm(struct maker *m)
{
    const uint32_t x = pick(m, PITH_FLOAT32, 2, 2);
    const bool a_turned = roll(m, 3) == 0, b_turned = roll(m, 2);
    const int64_t n = odd_size(m);
    struct pith_shape w = {2, {0}};
    uint32_t node, in[3] = {x};
    size_t count = 2;

    if (x == PITH_NO_VALUE)
        return;
    w.dim[b_turned] = shape_of(m, x)->dim[!a_turned];
    w.dim[!b_turned] = n;
    in[1] = constant(m, PITH_FLOAT32, &w);
    if (m->opset < 11 || roll(m, 2)) {
        const struct pith_shape all = {2, {shape_of(m, x)->dim[a_turned], n}},
                                c = narrower(m, &all);

        in[count++] = constant(m, PITH_FLOAT32, &c);
    }
    node = maker_node(m, "Gemm", in, count, 1);
    set_int(m, node, "transA", a_turned);
    set_int(m, node, "transB", b_turned);
    if (roll(m, 3) == 0) {
        assert_int_equal(
            pith_node_set_float(m->graph, node, "alpha", (float) between(m, -2, 2) / 2), 0);
        assert_int_equal(pith_node_set_float(m->graph, node, "beta", (float) between(m, -2, 2) / 2),
                         0);
    }
    (void) maker_end(m, node);
}

/* ---- along axes ---- */

static int64_t some_axis(struct maker *m, uint32_t x)
{
    const int64_t rank = shape_of(m, x)->rank;

    return rank ? between(m, -rank, rank - 1) : 0;
}

static void make_softmax(struct maker *m)
{
    static const char *const ops[] = {"Softmax", "LogSoftmax", "Softmax", "LpNormalization"};
    const uint32_t x = pick(m, PITH_FLOAT32, 1, 6);
    uint32_t node;

    if (x == PITH_NO_VALUE || is_rough(m, x))
        return;
    node = maker_node(m, ops[roll(m, COUNT(ops))], &x, 1, 1);
    if (roll(m, 4))
        set_int(m, node, "axis", some_axis(m, x));
    m->made_rough = true;
    (void) maker_end(m, node);
}

static void make_reduce(struct maker *m)
{
    static const char *const ops[] = {
        "ReduceSum",  "ReduceMean", "ReduceMax", "ReduceMin",       "ReduceL1",
        "ReduceL2",   "ReduceMean", "ReduceSum", "ReduceLogSumExp", "ReduceSumSquare"};
    const uint32_t x = pick(m, roll(m, 6) ? PITH_FLOAT32 : 0, 1, 6);
    /* a square makes many steps of one */
    const char *op = ops[roll(m, COUNT(ops) - m->calm)];
    int64_t axes[6];
    size_t count = 0;
    uint32_t node;

    if (x == PITH_NO_VALUE)
        return;
    node = maker_node(m, op, &x, 1, 1);
    for (uint32_t i = 0; i < shape_of(m, x)->rank; i++)
        if (roll(m, 2))
            axes[count++] = roll(m, 2) ? i : (int64_t) i - shape_of(m, x)->rank;
    if (count)
        maker_list(m, node, "axes", strcmp(op, "ReduceSum") == 0 ? 13 : 18, 1, axes, count);
    set_int(m, node, "keepdims", roll(m, 2));
    m->made_rough = true;
    (void) maker_end(m, node);
}

static void make_order(struct maker *m)
{
    static const char *const ops[] = {"ArgMax", "ArgMin", "CumSum", "TopK", "Hardmax"};
    const uint32_t x = pick(m, 0, 1, 6);
    const char *op = ops[roll(m, COUNT(ops))];
    const struct pith_shape *shape = x == PITH_NO_VALUE ? NULL : shape_of(m, x);
    int64_t axis;
    uint32_t node;

    if (!shape || is_rough(m, x) || m->calm || pith_value_dtype(m->graph, x) == PITH_BOOL)
        return;
    axis = some_axis(m, x);
    node = maker_node(m, op, &x, 1, op[0] == 'T' ? 2 : 1);
    if (op[0] == 'C') {
        const struct pith_tensor tensor = {PITH_INT64, {0}, &axis, sizeof axis};
        uint32_t value;

        assert_int_equal(pith_graph_add_constant(m->graph, NULL, &tensor, &value, NULL), 0);
        assert_int_equal(pith_node_set_input(m->graph, node, 1, value), 0);
        set_int(m, node, "exclusive", roll(m, 2));
        set_int(m, node, "reverse", roll(m, 2));
    } else {
        set_int(m, node, "axis", axis);
    }
    if (op[0] == 'T') {
        const int64_t k = between(m, 0, shape->dim[axis < 0 ? axis + shape->rank : axis]);

        maker_list(m, node, "k", 1, 1, &k, 1);
        set_int(m, node, "largest", roll(m, 2));
    }
    (void) maker_end(m, node);
}

static void make_norm(struct maker *m)
{
    static const char *const ops[] = {"InstanceNormalization", "LayerNormalization", "LRN",
                                      "GroupNormalization", "MeanVarianceNormalization"};
    const uint32_t x = pick(m, PITH_FLOAT32, 2, 5);
    const char *op = ops[roll(m, COUNT(ops))];
    const struct pith_shape *shape = x == PITH_NO_VALUE ? NULL : shape_of(m, x);
    uint32_t node;

    if (!shape || is_rough(m, x) ||
        (op[0] == 'G' && m->opset < 21)) /* the older one has no newer form to be written in */
        return;
    node = maker_node(m, op, &x, 1, 1);
    if (op[0] == 'I' || op[0] == 'G' || op[1] == 'a') {
        const int64_t groups = divisor(m, shape->dim[1]);
        const int64_t count = op[1] == 'a' ? shape->dim[shape->rank - 1] : shape->dim[1];

        assert_int_equal(pith_node_set_input(m->graph, node, 1, row(m, count)), 0);
        assert_int_equal(pith_node_set_input(m->graph, node, 2, row(m, count)), 0);
        if (op[0] == 'G')
            set_int(m, node, "num_groups", groups);
    } else if (op[0] == 'L') {
        set_int(m, node, "size", between(m, 1, 5));
    }
    m->made_rough = true;
    (void) maker_end(m, node);
}

#endif
