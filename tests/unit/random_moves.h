/* Nodes of random graphs that move elements: see random_nodes.h. */
#ifndef PITH_TESTS_RANDOM_MOVES_H
#define PITH_TESTS_RANDOM_MOVES_H

static void make_transpose(struct maker *m)
{
    const uint32_t x = pick(m, 0, 1, 6);
    int64_t perm[6], back[6];
    uint32_t node, y, rank;

    if (x == PITH_NO_VALUE)
        return;
    rank = shape_of(m, x)->rank;
    for (uint32_t i = 0; i < rank; i++)
        perm[i] = i;
    for (uint32_t i = rank; i-- > 1;) {
        const uint32_t j = roll(m, i + 1);
        const int64_t t = perm[i];

        perm[i] = perm[j];
        perm[j] = t;
    }
    for (uint32_t i = 0; i < rank; i++)
        back[perm[i]] = i;
    node = maker_node(m, "Transpose", &x, 1, 1);
    set_ints(m, node, "perm", perm, rank);
    y = maker_end(m, node);
    if (y == PITH_NO_VALUE || roll(m, 4))
        return;
    node = maker_node(m, "Transpose", &y, 1, 1);
    set_ints(m, node, "perm", back, rank);
    (void) maker_end(m, node);
}

static void make_reshape(struct maker *m)
{
    const uint32_t x = pick(m, 0, 0, 6);
    int64_t dims[6], left;
    uint32_t node, rank = roll(m, 6);

    if (x == PITH_NO_VALUE)
        return;
    if (roll(m, 4) == 0) {
        node = maker_node(m, "Flatten", &x, 1, 1);
        set_int(m, node, "axis", between(m, 0, shape_of(m, x)->rank));
        (void) maker_end(m, node);
        return;
    }
    left = pith_shape_elements(shape_of(m, x));
    for (uint32_t i = 0; i < rank; i++) {
        dims[i] = i + 1 == rank ? left : left > 0 ? divisor(m, left) : roll(m, 3);
        left = dims[i] > 0 ? left / dims[i] : left;
    }
    if (rank && roll(m, 4) == 0)
        dims[roll(m, rank)] = -1;
    (void) two(m, "Reshape", x, integers(m, dims, rank));
}

static void make_squeeze(struct maker *m)
{
    const uint32_t x = pick(m, 0, 0, 5);
    int64_t axes[2];
    uint32_t node;

    if (x == PITH_NO_VALUE)
        return;
    axes[0] = between(m, 0, shape_of(m, x)->rank);
    node = maker_node(m, roll(m, 2) ? "Squeeze" : "Unsqueeze", &x, 1, 1);
    maker_list(m, node, "axes", 13, 1, axes, 1);
    (void) maker_end(m, node);
}

static void make_slice(struct maker *m)
{
    const uint32_t x = pick(m, 0, 1, 6);
    int64_t starts[6], ends[6], axes[6], steps[6];
    size_t count = 0;
    uint32_t node;

    if (x == PITH_NO_VALUE)
        return;
    for (uint32_t i = 0; i < shape_of(m, x)->rank; i++) {
        const int64_t size = shape_of(m, x)->dim[i];

        if (roll(m, 2))
            continue;
        axes[count] = i;
        steps[count] = m->opset < 10 || roll(m, 2) ? 1 : roll(m, 2) ? -1 : between(m, 1, 3);
        starts[count] = steps[count] < 0 ? size - 1 - roll(m, 2) : between(m, 0, size);
        ends[count] = steps[count] < 0 ? -size - 1 : roll(m, 2) ? between(m, -2, size) : INT64_MAX;
        count++;
    }
    node = maker_node(m, "Slice", &x, 1, 1);
    maker_list(m, node, "starts", 10, 1, starts, count);
    maker_list(m, node, "ends", 10, 2, ends, count);
    maker_list(m, node, "axes", 10, 3, axes, count);
    if (m->opset >= 10)
        maker_list(m, node, "steps", 10, 4, steps, count);
    (void) maker_end(m, node);
}

static void make_concat(struct maker *m)
{
    const uint32_t x = pick(m, 0, 1, 5);
    uint32_t in[4], node;
    size_t count = 1 + roll(m, 4);
    int64_t axis;

    if (x == PITH_NO_VALUE)
        return;
    axis = roll(m, 3) && shape_of(m, x)->rank > 1 ? 1 : some_axis(m, x);
    m->made_rough = false;
    for (size_t i = 0; i < count; i++) {
        struct pith_shape shape = *shape_of(m, x);
        const uint32_t other = pick(m, pith_value_dtype(m->graph, x), shape.rank, shape.rank);

        shape.dim[axis < 0 ? axis + shape.rank : axis] = odd_size(m);
        in[i] = i == 0       ? x
                : roll(m, 2) ? other
                             : constant(m, pith_value_dtype(m->graph, x), &shape);
        if (in[i] == PITH_NO_VALUE)
            return;
    }
    node = maker_node(m, "Concat", in, count, 1);
    set_int(m, node, "axis", axis);
    (void) maker_end(m, node);
}

static void make_split(struct maker *m)
{
    const uint32_t x = pick(m, 0, 1, 5);
    int64_t axis, size, parts[2];
    uint32_t node;

    if (x == PITH_NO_VALUE)
        return;
    axis = some_axis(m, x);
    size = shape_of(m, x)->dim[axis < 0 ? axis + shape_of(m, x)->rank : axis];
    parts[0] = between(m, 0, size);
    parts[1] = size - parts[0];
    node = maker_node(m, "Split", &x, 1, 2);
    set_int(m, node, "axis", axis);
    maker_list(m, node, "split", 13, 1, parts, 2);
    (void) maker_end(m, node);
}

static void make_pad(struct maker *m)
{
    static const char *const modes[] = {"constant", "constant", "constant", "reflect", "edge"};
    const uint32_t x = pick(m, PITH_FLOAT32, 1, 5);
    int64_t pads[12];
    uint32_t node, rank, y;

    if (x == PITH_NO_VALUE)
        return;
    rank = shape_of(m, x)->rank;
    for (uint32_t i = 0; i < 2 * rank; i++)
        pads[i] = rank > 2 && i % rank < 2 ? (roll(m, 8) == 0)
                  : roll(m, 12) == 0       ? -1
                                           : between(m, 0, 2);
    node = maker_node(m, "Pad", &x, 1, 1);
    assert_int_equal(pith_node_set_string(m->graph, node, "mode", modes[roll(m, COUNT(modes))]), 0);
    maker_list(m, node, "pads", 11, 1, pads, (size_t) 2 * rank);
    y = maker_end(m, node);
    if (y != PITH_NO_VALUE && rank >= 3 && roll(m, 2))
        (void) make_conv_of(m, y);
}

static void make_gather(struct maker *m)
{
    const uint32_t x = pick(m, 0, 1, 5);
    int64_t axis, size;
    const struct pith_shape at = some_shape(m, roll(m, 3));
    struct pith_tensor list;
    uint32_t node, indices;

    if (x == PITH_NO_VALUE)
        return;
    axis = some_axis(m, x);
    size = shape_of(m, x)->dim[axis < 0 ? axis + shape_of(m, x)->rank : axis];
    if (size < 1)
        return;
    assert_int_equal(pith_tensor_alloc(&list, PITH_INT64, &at, NULL), 0);
    for (int64_t i = 0; i < pith_shape_elements(&at); i++)
        pith_tensor_set(&list, i, (double) between(m, -size, size - 1));
    assert_int_equal(pith_graph_add_constant(m->graph, NULL, &list, &indices, NULL), 0);
    pith_tensor_free(&list);
    node = maker_node(m, "Gather", (uint32_t[]){x, indices}, 2, 1);
    set_int(m, node, "axis", axis);
    (void) maker_end(m, node);
}

static void make_larger(struct maker *m)
{
    const uint32_t x = pick(m, 0, 0, 5);
    int64_t list[6];
    uint32_t node, rank;

    if (x == PITH_NO_VALUE)
        return;
    rank = shape_of(m, x)->rank;
    if (rank == 4 && roll(m, 2)) {
        const bool space = roll(m, 2);

        node = maker_node(m, space ? "SpaceToDepth" : "DepthToSpace", &x, 1, 1);
        set_int(m, node, "blocksize", 2);
        if (!space && roll(m, 2))
            assert_int_equal(pith_node_set_string(m->graph, node, "mode", "CRD"), 0);
        (void) maker_end(m, node);
        return;
    }
    for (uint32_t i = 0; i < rank; i++)
        list[i] = roll(m, 2) ? 1 : between(m, 1, 3);
    if (roll(m, 2)) {
        (void) two(m, "Tile", x, integers(m, list, rank));
        return;
    }
    for (uint32_t i = 0; i < rank; i++)
        list[i] = shape_of(m, x)->dim[i] == 1 ? odd_size(m) : shape_of(m, x)->dim[i];
    (void) two(m, "Expand", x, integers(m, list, rank));
}

static void make_resize(struct maker *m)
{
    static const char *const modes[] = {"nearest", "linear", "linear", "cubic"};
    static const char *const ways[] = {"half_pixel", "asymmetric", "align_corners",
                                       "pytorch_half_pixel"};
    const uint32_t x = pick(m, PITH_FLOAT32, 3, 4);
    int64_t sizes[4];
    uint32_t node;
    const char *mode = modes[roll(m, 4)];

    if (x == PITH_NO_VALUE || m->opset < 11 || (mode[0] == 'c' && shape_of(m, x)->rank != 4))
        return;
    for (uint32_t i = 0; i < shape_of(m, x)->rank; i++)
        sizes[i] =
            i < 2 ? shape_of(m, x)->dim[i] : between(m, 1, 3) * shape_of(m, x)->dim[i] - roll(m, 2);
    node = maker_node(
        m, "Resize",
        (uint32_t[]){x, row(m, 0), row(m, 0), integers(m, sizes, shape_of(m, x)->rank)}, 4, 1);
    assert_int_equal(pith_node_set_string(m->graph, node, "mode", mode), 0);
    assert_int_equal(
        pith_node_set_string(m->graph, node, "coordinate_transformation_mode", ways[roll(m, 4)]),
        0);
    m->made_rough = true;
    (void) maker_end(m, node);
}

#endif
