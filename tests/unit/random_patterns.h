/* What exporters write in many nodes and an engine makes one step of, and the table of all that
 * random graphs have: see random_nodes.h. */
#ifndef PITH_TESTS_RANDOM_PATTERNS_H
#define PITH_TESTS_RANDOM_PATTERNS_H

static uint32_t mean_of(struct maker *m, uint32_t x)
{
    const int64_t axis = roll(m, 8) ? -1 : 0;
    uint32_t node;

    if (x == PITH_NO_VALUE)
        return x;
    node = maker_node(m, "ReduceMean", &x, 1, 1);
    maker_list(m, node, "axes", 18, 1, &axis, 1);
    m->made_rough = true;
    return maker_end(m, node);
}

static void make_written_norm(struct maker *m)
{
    const uint32_t x = pick(m, PITH_FLOAT32, 1, 4);
    uint32_t centred, root, y;

    if (x == PITH_NO_VALUE || is_rough(m, x))
        return;
    centred = two(m, "Sub", x, mean_of(m, x));
    root = one(m, "Sqrt",
               two(m, "Add", mean_of(m, two(m, "Mul", centred, centred)), number(m, 0.25F)));
    y = two(m, "Div", centred, root);
    if (y != PITH_NO_VALUE)
        y = two(m, "Mul", y,
                roll(m, 4) ? row(m, shape_of(m, x)->dim[shape_of(m, x)->rank - 1]) : partner(m, y));
    if (y != PITH_NO_VALUE && roll(m, 3))
        (void) two(
            m, "Add",
            roll(m, 2) ? row(m, shape_of(m, y)->dim[shape_of(m, y)->rank - 1]) : partner(m, y), y);
}

static void make_written_gelu(struct maker *m)
{
    const uint32_t x = pick(m, PITH_FLOAT32, 0, 6);
    uint32_t y = two(m, "Div", x, number(m, 1.41421356F));

    y = two(m, "Add", rough(m, one(m, "Erf", y)), number(m, 1.0F));
    y = roll(m, 2) ? two(m, "Mul", two(m, "Mul", x, y), number(m, 0.5F))
                   : two(m, "Mul", two(m, "Mul", number(m, 0.5F), x), y);
    (void) rough(m, y);
}

static void make_shuffle(struct maker *m)
{
    const uint32_t x = pick(m, PITH_FLOAT32, 3, 4);
    const struct pith_shape *s = x == PITH_NO_VALUE ? NULL : shape_of(m, x);
    int64_t dims[5], groups;
    uint32_t node, y;

    if (!s)
        return;
    groups = divisor(m, s->dim[1]);
    dims[0] = s->dim[0];
    dims[1] = groups;
    dims[2] = groups ? s->dim[1] / groups : 0;
    memcpy(dims + 3, s->dim + 2, 2 * sizeof *dims);
    y = two(m, "Reshape", x, integers(m, dims, s->rank + 1));
    if (y == PITH_NO_VALUE)
        return;
    node = maker_node(m, "Transpose", &y, 1, 1);
    set_ints(m, node, "perm", (const int64_t[]){0, 2, 1, 3, 4}, shape_of(m, x)->rank + 1);
    y = maker_end(m, node);
    s = shape_of(m, x);
    if (y != PITH_NO_VALUE)
        (void) two(m, "Reshape", y, integers(m, s->dim, s->rank));
}

static void make_attention(struct maker *m)
{
    const uint32_t x = pick(m, PITH_FLOAT32, 3, 4);
    const uint32_t rank = x == PITH_NO_VALUE ? 0 : shape_of(m, x)->rank;
    uint32_t node, keys, scores;

    if (rank == 0 || is_rough(m, x))
        return;
    node = maker_node(m, "Transpose", &x, 1, 1);
    set_ints(m, node, "perm",
             rank == 3 ? (const int64_t[]){0, 2, 1} : (const int64_t[]){0, 1, 3, 2}, rank);
    keys = maker_end(m, node);
    scores = two(m, "Mul", two(m, "MatMul", x, keys), number(m, 0.125F));
    if (scores != PITH_NO_VALUE && roll(m, 3) == 0)
        scores = two(m, "Add", scores, partner(m, scores));
    if (scores == PITH_NO_VALUE)
        return;
    node = maker_node(m, "Softmax", &scores, 1, 1);
    set_int(m, node, "axis", roll(m, 2) ? -1 : (int64_t) rank - 1);
    m->made_rough = true;
    (void) two(m, "MatMul", maker_end(m, node), x);
}

/* Activations quantized as they come, a product of integers, and its scale. */
static void make_integer_product(struct maker *m)
{
    const uint32_t x = pick(m, PITH_FLOAT32, 1, 4);
    const struct pith_shape *s = x == PITH_NO_VALUE ? NULL : shape_of(m, x);
    uint32_t node, sums, y, in[4];
    struct pith_shape w = {2, {0}}, scalar = {0};

    if (!s || m->opset < 11 || is_rough(m, x))
        return;
    w.dim[0] = s->dim[s->rank - 1];
    w.dim[1] = odd_size(m);
    node = maker_node(m, "DynamicQuantizeLinear", &x, 1, 3);
    m->made_rough = true;
    in[0] = maker_end(m, node);
    if (in[0] == PITH_NO_VALUE)
        return;
    in[1] = constant(m, roll(m, 2) ? PITH_INT8 : PITH_UINT8, &w);
    in[2] = pith_node_output(m->graph, node, 2);
    in[3] = roll(m, 2) ? PITH_NO_VALUE : constant(m, pith_value_dtype(m->graph, in[1]), &scalar);
    sums = maker_end(m, maker_node(m, "MatMulInteger", in, 4, 1));
    if (sums == PITH_NO_VALUE)
        return;
    y = maker_node(m, "Cast", &sums, 1, 1);
    set_int(m, y, "to", PITH_FLOAT32);
    y = two(m, "Mul", maker_end(m, y), pith_node_output(m->graph, node, 1));
    if (y != PITH_NO_VALUE && roll(m, 2))
        (void) two(m, "Add", y, row(m, w.dim[1]));
}

static void make_recurrent(struct maker *m)
{
    static const char *const ops[] = {"LSTM", "GRU", "RNN"};
    const uint32_t x = pick(m, PITH_FLOAT32, 3, 3), kind = roll(m, 3),
                   gates = kind == 0   ? 4
                           : kind == 1 ? 3
                                       : 1;
    const int64_t hidden = between(m, 1, 9), ways = roll(m, 3) == 0 ? 2 : 1;
    uint32_t node, in[4] = {x};

    if (x == PITH_NO_VALUE || shape_of(m, x)->dim[0] > 9) /* errors grow with each step */
        return;
    in[1] = constant(m, PITH_FLOAT32,
                     &(struct pith_shape){3, {ways, gates * hidden, shape_of(m, x)->dim[2]}});
    in[2] = constant(m, PITH_FLOAT32, &(struct pith_shape){3, {ways, gates * hidden, hidden}});
    in[3] = constant(m, PITH_FLOAT32, &(struct pith_shape){2, {ways, 2 * gates * hidden}});
    node = maker_node(m, ops[kind], in, 3 + roll(m, 2), 1 + roll(m, 2));
    set_int(m, node, "hidden_size", hidden);
    if (ways == 2 || roll(m, 3) == 0)
        assert_int_equal(pith_node_set_string(m->graph, node, "direction",
                                              ways == 2 ? "bidirectional" : "reverse"),
                         0);
    if (kind == 1)
        set_int(m, node, "linear_before_reset", roll(m, 2));
    m->made_rough = true;
    (void) maker_end(m, node);
}

typedef void make_some(struct maker *m);

static make_some *const makers[] = {
    make_unary,    make_unary,        make_binary,       make_binary,    make_clip,
    make_where,    make_cast,         make_conv,         make_block,     make_block,
    make_block,    make_pool,         make_pool,         make_matmul,    make_gemm,
    make_softmax,  make_reduce,       make_order,        make_norm,      make_transpose,
    make_reshape,  make_squeeze,      make_slice,        make_concat,    make_concat,
    make_split,    make_pad,          make_gather,       make_larger,    make_resize,
    make_shuffle,  make_written_norm, make_written_gelu, make_attention, make_integer_product,
    make_recurrent};

#endif
