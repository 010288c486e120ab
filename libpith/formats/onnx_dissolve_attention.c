/* Attention of many heads as ONNX Runtime's optimizer writes it, in one node: as products, Softmax and transposes, which whoever
 * runs the graph may fuse again. See onnx_dissolve.h. Vaswani et al. 2017, arXiv:1706.03762, section 3.2. */
#include "libpith/formats/onnx_dissolve.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define LEAST_OPSET 13 /* before it, Softmax is one over all axes from its own on, and Unsqueeze has an attribute */
#define MOST_HEADS  4096

struct heads {
    int64_t count, width; /* of q and k: all heads together */
    int64_t value_width;
    uint32_t q, k, v;     /* (batch, tokens, width) */
    uint32_t mask;        /* of what broadcasts to (batch, heads, queries, keys), added to the scores; or PITH_NO_VALUE */
    float scale;
};

static uint32_t ints(struct dissolving *d, const int64_t *list, int64_t count)
{
    const struct pith_tensor tensor = {
        PITH_INT64, {1, {count}}, (void *) (uintptr_t) list, (size_t) count * sizeof *list};

    return dissolve_add_constant(d, &tensor);
}

static uint32_t transposed(struct dissolving *d, uint32_t x, const int64_t perm[4])
{
    uint32_t node;
    const uint32_t y = dissolve_node(d, "Transpose", &x, 1, PITH_FLOAT32, &node);

    dissolve_set_ints(d, node, "perm", perm, 4);
    return y;
}

static uint32_t split(struct dissolving *d, uint32_t x, int64_t heads, int64_t width, const int64_t perm[4])
{
    const int64_t dims[4] = {0, 0, heads, width / heads};

    return transposed(d, dissolve_two(d, "Reshape", x, ints(d, dims, 4)), perm);
}

/* q, v: (batch, heads, tokens, width); k: turned round; mask: as in struct heads. */
static uint32_t attend(struct dissolving *d, uint32_t q, uint32_t k, uint32_t v, uint32_t mask, float scale)
{
    uint32_t scores = dissolve_two(d, "Mul", dissolve_two(d, "MatMul", q, k), dissolve_number(d, scale));
    uint32_t node, y;

    if (mask != PITH_NO_VALUE)
        scores = dissolve_two(d, "Add", scores, mask);
    y = dissolve_node(d, "Softmax", &scores, 1, PITH_FLOAT32, &node);
    dissolve_set_int(d, node, "axis", -1);
    return dissolve_two(d, "MatMul", y, v);
}

static void give_attention(struct dissolving *d, const struct heads *h)
{
    static const int64_t by_head[4] = {0, 2, 1, 3}, turned[4] = {0, 2, 3, 1};
    const int64_t back[3] = {0, 0, h->value_width};
    const uint32_t q = split(d, h->q, h->count, h->width, by_head),
                   k = split(d, h->k, h->count, h->width, turned),
                   v = split(d, h->v, h->count, h->value_width, by_head);
    const uint32_t y = transposed(d, attend(d, q, k, v, h->mask, h->scale), by_head);

    dissolve_give(d, 0, dissolve_two(d, "Reshape", y, ints(d, back, 3)));
}

/* Columns from..from+count-1 of a constant matrix, or of a row. */
static uint32_t columns(struct dissolving *d, const struct pith_tensor *w, int64_t from, int64_t count)
{
    const int64_t all = w->shape.dim[w->shape.rank - 1], rows = w->shape.rank == 2 ? w->shape.dim[0] : 1;
    struct pith_shape shape = w->shape;
    struct pith_tensor part = {0};
    uint32_t value;

    shape.dim[shape.rank - 1] = count;
    if (d->rc == 0)
        d->rc = pith_tensor_alloc(&part, PITH_FLOAT32, &shape, NULL);
    for (int64_t i = 0; d->rc == 0 && i < rows; i++)
        memcpy((float *) part.data + i * count, (const char *) w->data + (i * all + from) * (int64_t) sizeof(float),
               (size_t) count * sizeof(float));
    value = dissolve_add_constant(d, &part);
    pith_tensor_free(&part);
    return value;
}

static bool is_matrix(const struct pith_tensor *w)
{
    return w && w->dtype == PITH_FLOAT32 && w->shape.rank == 2 && w->shape.dim[0] > 0 && w->shape.dim[1] > 0;
}

static bool is_row(const struct pith_tensor *w, int64_t count)
{
    return w && w->dtype == PITH_FLOAT32 && w->shape.rank == 1 && w->shape.dim[0] == count;
}

/* Numbers for each key, (batch, keys): those above 0 count. */
static uint32_t key_mask(struct dissolving *d, uint32_t keys)
{
    const int64_t axes[2] = {1, 2};
    const uint32_t none = dissolve_number(d, 0.0F),
                   filter = dissolve_number(d, pith_node_float(d->graph, d->node, "mask_filter_value", -10000.0F));
    uint32_t node, y = dissolve_node(d, "Cast", &keys, 1, PITH_FLOAT32, &node);

    dissolve_set_int(d, node, "to", PITH_FLOAT32);
    y = dissolve_node(d, "Greater", (uint32_t[]){y, none}, 2, PITH_BOOL, NULL);
    y = dissolve_node(d, "Where", (uint32_t[]){y, none, filter}, 3, PITH_FLOAT32, NULL);
    return dissolve_two(d, "Unsqueeze", y, ints(d, axes, 2));
}

static uint32_t both_masks(struct dissolving *d, uint32_t a, uint32_t b)
{
    return a == PITH_NO_VALUE ? b : b == PITH_NO_VALUE ? a : dissolve_two(d, "Add", a, b);
}

static bool is_rank(const struct dissolving *d, uint32_t value, uint32_t rank)
{
    const struct pith_shape *shape = value == PITH_NO_VALUE ? NULL : pith_value_shape(d->graph, value);

    return shape && shape->rank == rank;
}

/* No mask, or (batch, keys); nothing from before; all tokens see all. */
static bool is_plain(const struct dissolving *d, size_t mask, const size_t *none, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (dissolve_in(d, none[i]) != PITH_NO_VALUE)
            return false;
    for (size_t i = 1; i < pith_node_output_count(d->graph, d->node); i++)
        if (dissolve_wanted(d, i))
            return false;
    return dissolve_opset(d) >= LEAST_OPSET &&
           (dissolve_in(d, mask) == PITH_NO_VALUE || is_rank(d, dissolve_in(d, mask), 2)) &&
           pith_node_int(d->graph, d->node, "unidirectional", 0) == 0 &&
           pith_node_int(d->graph, d->node, "do_rotary", 0) == 0;
}

static bool read_heads(const struct dissolving *d, int64_t width, struct heads *h)
{
    h->count = pith_node_int(d->graph, d->node, "num_heads", 0);
    h->width = h->value_width = width;
    h->mask = PITH_NO_VALUE;
    if (h->count < 1 || h->count > MOST_HEADS || width < 1 || width % h->count != 0)
        return false;
    h->scale = pith_node_float(d->graph, d->node, "scale", 0.0F);
    if (h->scale == 0.0F)
        h->scale = (float) (1.0 / sqrt((double) (width / h->count)));
    return true;
}

/* With its columns of the bias that is input `bias`, where there is one. */
static uint32_t with_bias(struct dissolving *d, uint32_t part, size_t bias, int64_t from, int64_t width)
{
    if (dissolve_in(d, bias) == PITH_NO_VALUE)
        return part;
    return dissolve_two(d, "Add", part, columns(d, dissolve_constant(d, bias), from, width));
}

/* part: q, k and v. mask: the input that says which keys there are; what is added to scores is input 5. */
static void give_parts(struct dissolving *d, struct heads *h, const uint32_t part[3], size_t mask)
{
    h->q = part[0];
    h->k = part[1];
    h->v = part[2];
    if (dissolve_in(d, mask) != PITH_NO_VALUE)
        h->mask = key_mask(d, dissolve_in(d, mask));
    h->mask = both_masks(d, h->mask, dissolve_in(d, 5));
    give_attention(d, h);
}

/* x, weights and bias of q, k and v side by side, mask, past, attention bias, length of the past */
static bool attention(struct dissolving *d)
{
    static const size_t none[] = {4, 6};
    const struct pith_tensor *w = dissolve_constant(d, 1), *bias = dissolve_constant(d, 2);
    const uint32_t x = dissolve_in(d, 0);
    struct heads h;
    uint32_t part[3];

    if (x == PITH_NO_VALUE || !is_matrix(w) || w->shape.dim[1] % 3 != 0 ||
        (dissolve_in(d, 2) != PITH_NO_VALUE && !is_row(bias, w->shape.dim[1])) ||
        pith_node_has(d->graph, d->node, "qkv_hidden_sizes") || !is_plain(d, 3, none, 2) ||
        !read_heads(d, w->shape.dim[1] / 3, &h))
        return false;
    for (int i = 0; i < 3; i++) {
        /* constants may move as others are added */
        part[i] = dissolve_two(d, "MatMul", x, columns(d, dissolve_constant(d, 1), i * h.width, h.width));
        part[i] = with_bias(d, part[i], 2, i * h.width, h.width);
    }
    give_parts(d, &h, part, 3);
    return true;
}

/* q, k, v, their bias side by side, mask, attention bias, past keys and values */
static bool multi_head_attention(struct dissolving *d)
{
    static const size_t none[] = {6, 7, 8, 9};
    const struct pith_tensor *bias = dissolve_constant(d, 3);
    const struct pith_shape *v = dissolve_in(d, 2) == PITH_NO_VALUE ? NULL : pith_value_shape(d->graph, dissolve_in(d, 2));
    const struct pith_shape *q = dissolve_in(d, 0) == PITH_NO_VALUE ? NULL : pith_value_shape(d->graph, dissolve_in(d, 0));
    struct heads h;
    uint32_t part[3];

    if (!q || q->rank != 3 || !v || v->rank != 3 || !is_rank(d, dissolve_in(d, 1), 3) || !is_plain(d, 4, none, 4) ||
        !read_heads(d, q->dim[2], &h) || v->dim[2] < 1 || v->dim[2] % h.count != 0 ||
        (dissolve_in(d, 3) != PITH_NO_VALUE && !is_row(bias, 2 * h.width + v->dim[2])))
        return false;
    h.value_width = v->dim[2];
    for (int i = 0; i < 3; i++)
        part[i] = with_bias(d, dissolve_in(d, (size_t) i), 3, i * h.width, i == 2 ? h.value_width : h.width);
    give_parts(d, &h, part, 4);
    return true;
}

/* ---- ONNX's own, since opset 23 ---- */

/* The tokens that each token sees are those up to itself. Made by operators: a constant in each layer would be most of a file,
 * and a few shapes in one would ask for any memory. */
static uint32_t causal_mask(struct dissolving *d, int64_t queries, int64_t keys)
{
    const int64_t dims[2] = {queries, keys}, one = 1;
    const struct pith_tensor first = {PITH_INT64, {0}, (void *) (uintptr_t) &one, sizeof one};
    float lowest = -FLT_MAX;
    const uint32_t size = ints(d, dims, 2);
    uint32_t node;
    const uint32_t all = dissolve_node(d, "ConstantOfShape", &size, 1, PITH_FLOAT32, &node);

    if (d->rc == 0)
        d->rc = pith_node_set_tensor(d->graph, node, "value",
                                     &(struct pith_tensor){PITH_FLOAT32, {1, {1}}, &lowest, sizeof lowest});
    return dissolve_two(d, "Trilu", all, dissolve_add_constant(d, &first));
}

/* Input 3 as what is added to scores. */
static uint32_t given_mask(struct dissolving *d)
{
    const uint32_t mask = dissolve_in(d, 3);

    if (mask == PITH_NO_VALUE || pith_value_dtype(d->graph, mask) != PITH_BOOL)
        return mask;
    return dissolve_node(d, "Where", (uint32_t[]){mask, dissolve_number(d, 0.0F), dissolve_number(d, -FLT_MAX)}, 3,
                         PITH_FLOAT32, NULL);
}

/* What has no place here: groups of heads that share keys, a cap, scores that go out. */
static bool is_standard_plain(const struct dissolving *d, bool has_past)
{
    const uint32_t mask = dissolve_in(d, 3);
    const int32_t dtype = mask == PITH_NO_VALUE ? PITH_FLOAT32 : pith_value_dtype(d->graph, mask);

    return (dtype == PITH_FLOAT32 || dtype == PITH_BOOL) && !dissolve_wanted(d, 3) && dissolve_in(d, 6) == PITH_NO_VALUE &&
           pith_node_float(d->graph, d->node, "softcap", 0.0F) == 0.0F &&
           (dissolve_in(d, 4) == PITH_NO_VALUE) == (dissolve_in(d, 5) == PITH_NO_VALUE) &&
           pith_node_int(d->graph, d->node, "q_num_heads", 0) == pith_node_int(d->graph, d->node, "kv_num_heads", 0) &&
           (has_past || (!dissolve_wanted(d, 1) && !dissolve_wanted(d, 2)));
}

/* A copy, as values move when others are added; of rank 0 where it is not known, or not of floats. */
static struct pith_shape float_shape(const struct dissolving *d, size_t input)
{
    const uint32_t value = dissolve_in(d, input);
    const struct pith_shape *shape = value == PITH_NO_VALUE || pith_value_dtype(d->graph, value) != PITH_FLOAT32
                                         ? NULL
                                         : pith_value_shape(d->graph, value);

    return shape ? *shape : (struct pith_shape){0};
}

/* q, k, v: (batch, heads, tokens, width), or (batch, tokens, all heads' width) where the heads are said; mask; past keys and values.
 * Outputs 1 and 2 are keys and values with those before them. */
static bool standard_attention(struct dissolving *d)
{
    static const int64_t by_head[4] = {0, 2, 1, 3}, turned[4] = {0, 1, 3, 2}, back[3] = {0, 0, -1};
    const int64_t heads = pith_node_int(d->graph, d->node, "q_num_heads", 0);
    const struct pith_shape shape[3] = {float_shape(d, 0), float_shape(d, 1), float_shape(d, 2)};
    const bool has_past = dissolve_in(d, 4) != PITH_NO_VALUE && dissolve_in(d, 5) != PITH_NO_VALUE,
               causal = pith_node_int(d->graph, d->node, "is_causal", 0) != 0;
    const uint32_t rank = heads ? 3 : 4, tokens = rank - 2;
    int64_t width, queries, keys;
    uint32_t part[3], mask, y;
    float scale;

    for (int i = 0; i < 3; i++)
        if (shape[i].rank != rank ||
            (heads && (heads < 1 || heads > MOST_HEADS || shape[i].dim[2] < 1 || shape[i].dim[2] % heads != 0)))
            return false;
    width = heads ? shape[0].dim[2] / heads : shape[0].dim[3];
    queries = shape[0].dim[tokens];
    keys = shape[1].dim[tokens];
    if (!is_standard_plain(d, has_past) || width < 1 || (!heads && shape[0].dim[1] != shape[1].dim[1]) ||
        (causal && (has_past || queries < 1 || keys < 1)))
        return false;
    scale = pith_node_float(d->graph, d->node, "scale", (float) (1.0 / sqrt((double) width)));
    for (int i = 0; i < 3; i++)
        part[i] = heads ? split(d, dissolve_in(d, (size_t) i), heads, shape[i].dim[2], by_head) : dissolve_in(d, (size_t) i);
    for (size_t i = 1; i < 3 && has_past; i++) {
        uint32_t node;

        part[i] = dissolve_node(d, "Concat", (uint32_t[]){dissolve_in(d, 3 + i), part[i]}, 2, PITH_FLOAT32, &node);
        dissolve_set_int(d, node, "axis", 2);
    }
    mask = both_masks(d, given_mask(d), causal ? causal_mask(d, queries, keys) : PITH_NO_VALUE);
    y = attend(d, part[0], transposed(d, part[1], turned), part[2], mask, scale);
    for (size_t i = 1; i < 3 && has_past; i++)
        dissolve_give(d, i, part[i]);
    dissolve_give(d, 0, heads ? dissolve_two(d, "Reshape", transposed(d, y, by_head), ints(d, back, 3)) : y);
    return true;
}

const struct dissolve_row dissolve_attentions[] = {
    {"Attention", "", standard_attention},
    {"Attention", "com.microsoft", attention},
    {"MultiHeadAttention", "com.microsoft", multi_head_attention},
    {0},
};
