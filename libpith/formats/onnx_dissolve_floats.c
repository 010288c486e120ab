/* Fused operators on floats, as ONNX Runtime's optimizers write them, taken apart; whoever runs the graph
 * fuses what it likes. See onnx_dissolve.h. */
#include "libpith/formats/onnx_dissolve.h"

#include <math.h>
#include <string.h>

#define CLIP_INPUTS_SINCE   11
#define SLICE_INPUTS        10
#define LAYER_NORM_SINCE    17
#define MEAN_AXES_INPUT     18
#define MOST_RANK           8

static const struct pith_shape *shape_in(const struct dissolving *d, size_t index)
{
    const uint32_t value = dissolve_in(d, index);

    return value == PITH_NO_VALUE ? NULL : pith_value_shape(d->graph, value);
}

static bool is_float(const struct dissolving *d, size_t index)
{
    const uint32_t value = dissolve_in(d, index);

    return value != PITH_NO_VALUE && pith_value_dtype(d->graph, value) == PITH_FLOAT32;
}

/* ---- activations behind a product ---- */

static uint32_t clip(struct dissolving *d, uint32_t x, float low, float high)
{
    uint32_t node, y;

    if (dissolve_opset(d) >= CLIP_INPUTS_SINCE)
        return dissolve_node(d, "Clip",
                             (uint32_t[]){x, dissolve_number(d, low), dissolve_number(d, high)}, 3,
                             PITH_FLOAT32, NULL);
    y = dissolve_node(d, "Clip", &x, 1, PITH_FLOAT32, &node);
    if (d->rc == 0)
        d->rc = pith_node_set_float(d->graph, node, "min", low);
    if (d->rc == 0)
        d->rc = pith_node_set_float(d->graph, node, "max", high);
    return y;
}

/* Which ones there are, and how many parameters each takes. */
static bool knows_activation(const char *kind, size_t parameters)
{
    static const struct {
        const char *kind;
        size_t parameters;
    } known[] = {{"", 0},     {"Relu", 0},      {"Sigmoid", 0},     {"Tanh", 0},
                 {"Clip", 2}, {"LeakyRelu", 1}, {"HardSigmoid", 2}};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].kind, kind) == 0)
            return parameters >= known[i].parameters;
    return false;
}

static uint32_t activate(struct dissolving *d, const char *kind, const float *p, uint32_t x)
{
    uint32_t node, y;

    if (kind[0] == 0)
        return x;
    if (strcmp(kind, "Clip") == 0)
        return clip(d, x, p[0], p[1]);
    y = dissolve_node(d, kind, &x, 1, PITH_FLOAT32, &node);
    if (d->rc == 0 && (strcmp(kind, "LeakyRelu") == 0 || strcmp(kind, "HardSigmoid") == 0))
        d->rc = pith_node_set_float(d->graph, node, "alpha", p[0]);
    if (d->rc == 0 && strcmp(kind, "HardSigmoid") == 0)
        d->rc = pith_node_set_float(d->graph, node, "beta", p[1]);
    return y;
}

/* x, w, b, z: z is added before the activation */
static bool fused_conv(struct dissolving *d)
{
    static const char *const own[] = {"activation", "activation_params", NULL};
    const char *kind = pith_node_string(d->graph, d->node, "activation", "");
    size_t count = 0;
    const float *p = pith_node_floats(d->graph, d->node, "activation_params", &count);
    const bool biased = dissolve_in(d, 2) != PITH_NO_VALUE;
    uint32_t in[3] = {dissolve_in(d, 0), dissolve_in(d, 1), dissolve_in(d, 2)}, node, y;
    float copy[2] = {0};

    if (!is_float(d, 0) || !knows_activation(kind, count))
        return false;
    for (size_t i = 0; i < 2 && i < count; i++)
        copy[i] = p[i];
    y = dissolve_node(d, "Conv", in, biased ? 3 : 2, PITH_FLOAT32, &node);
    dissolve_copy_attributes(d, node, own);
    if (dissolve_in(d, 3) != PITH_NO_VALUE)
        y = dissolve_two(d, "Add", y, dissolve_in(d, 3));
    dissolve_give(d, 0, activate(d, kind, copy, y));
    return true;
}

static bool fused_gemm(struct dissolving *d)
{
    static const char *const own[] = {"activation",       "activation_alpha", "activation_beta",
                                      "activation_gamma", NULL};
    const char *kind = pith_node_string(d->graph, d->node, "activation", "");
    const float p[2] = {pith_node_float(d->graph, d->node, "activation_alpha", 0),
                        pith_node_float(d->graph, d->node, "activation_beta", 0)};
    const bool biased = dissolve_in(d, 2) != PITH_NO_VALUE;
    uint32_t in[3] = {dissolve_in(d, 0), dissolve_in(d, 1), dissolve_in(d, 2)}, node, y;

    if (!is_float(d, 0) || !knows_activation(kind, 2) || strcmp(kind, "Clip") == 0)
        return false;
    y = dissolve_node(d, "Gemm", in, biased ? 3 : 2, PITH_FLOAT32, &node);
    dissolve_copy_attributes(d, node, own);
    dissolve_give(d, 0, activate(d, kind, p, y));
    return true;
}

/* The input, its last two axes changing places. */
static uint32_t turned(struct dissolving *d, size_t index)
{
    const uint32_t rank = shape_in(d, index)->rank, x = dissolve_in(d, index);
    int64_t perm[MOST_RANK];
    uint32_t node, y = dissolve_node(d, "Transpose", &x, 1, PITH_FLOAT32, &node);

    for (uint32_t i = 0; i < rank; i++)
        perm[i] = i + 2 < rank ? i : 2 * (int64_t) rank - 3 - i;
    dissolve_set_ints(d, node, "perm", perm, rank);
    return y;
}

static bool can_turn(const struct dissolving *d, size_t index)
{
    const struct pith_shape *shape = shape_in(d, index);

    return shape && shape->rank >= 2 && shape->rank <= MOST_RANK;
}

static bool fused_matmul(struct dissolving *d)
{
    const bool a = pith_node_int(d->graph, d->node, "transA", 0) != 0,
               b = pith_node_int(d->graph, d->node, "transB", 0) != 0;
    const float alpha = pith_node_float(d->graph, d->node, "alpha", 1);
    uint32_t y;

    if (!is_float(d, 0) || !is_float(d, 1) ||
        pith_node_int(d->graph, d->node, "transBatchA", 0) != 0 ||
        pith_node_int(d->graph, d->node, "transBatchB", 0) != 0 || (a && !can_turn(d, 0)) ||
        (b && !can_turn(d, 1)))
        return false;
    y = dissolve_two(d, "MatMul", a ? turned(d, 0) : dissolve_in(d, 0),
                     b ? turned(d, 1) : dissolve_in(d, 1));
    dissolve_give(d, 0, alpha == 1.0F ? y : dissolve_two(d, "Mul", y, dissolve_number(d, alpha)));
    return true;
}

/* ---- Gelu: arXiv:1606.08415 ---- */

/* x / 2 * (1 + f) */
static uint32_t half_times(struct dissolving *d, uint32_t x, uint32_t f)
{
    const uint32_t moved = dissolve_two(d, "Add", f, dissolve_number(d, 1));

    return dissolve_two(d, "Mul", dissolve_two(d, "Mul", x, moved), dissolve_number(d, 0.5F));
}

/* x, and a bias that is added first, or none */
static uint32_t biased_x(struct dissolving *d)
{
    return dissolve_in(d, 1) == PITH_NO_VALUE
               ? dissolve_in(d, 0)
               : dissolve_two(d, "Add", dissolve_in(d, 0), dissolve_in(d, 1));
}

static bool gelu(struct dissolving *d)
{
    uint32_t x;

    if (!is_float(d, 0))
        return false;
    x = biased_x(d);
    dissolve_give(
        d, 0,
        half_times(d, x,
                   dissolve_one(d, "Erf",
                                dissolve_two(d, "Mul", x, dissolve_number(d, (float) M_SQRT1_2)))));
    return true;
}

static bool fast_gelu(struct dissolving *d)
{
    uint32_t x, cube, bent;

    if (!is_float(d, 0))
        return false;
    x = biased_x(d);
    cube = dissolve_two(d, "Mul", dissolve_two(d, "Mul", x, x), x);
    bent = dissolve_two(d, "Add", x, dissolve_two(d, "Mul", cube, dissolve_number(d, 0.044715F)));
    bent = dissolve_two(d, "Mul", bent, dissolve_number(d, (float) (M_2_SQRTPI * M_SQRT1_2)));
    dissolve_give(d, 0, half_times(d, x, dissolve_one(d, "Tanh", bent)));
    return true;
}

/* x * sigmoid(alpha * x) */
static bool times_sigmoid(struct dissolving *d, float otherwise)
{
    const float alpha = pith_node_float(d->graph, d->node, "alpha", otherwise);
    const uint32_t x = dissolve_in(d, 0);
    uint32_t bent = x;

    if (!is_float(d, 0))
        return false;
    if (alpha != 1.0F)
        bent = dissolve_two(d, "Mul", x, dissolve_number(d, alpha));
    dissolve_give(d, 0, dissolve_two(d, "Mul", x, dissolve_one(d, "Sigmoid", bent)));
    return true;
}

static bool quick_gelu(struct dissolving *d)
{
    return times_sigmoid(d, 1.702F);
}

/* Of opset 24. */
static bool swish(struct dissolving *d)
{
    return times_sigmoid(d, 1.0F);
}

/* ---- layer normalization, over the last axis ---- */

static uint32_t mean(struct dissolving *d, uint32_t x)
{
    int64_t last = -1;
    const struct pith_tensor axes = {PITH_INT64, {1, {1}}, &last, sizeof last};
    uint32_t node, y;

    if (dissolve_opset(d) >= MEAN_AXES_INPUT)
        return dissolve_two(d, "ReduceMean", x, dissolve_add_constant(d, &axes));
    y = dissolve_node(d, "ReduceMean", &x, 1, PITH_FLOAT32, &node);
    dissolve_set_ints(d, node, "axes", &last, 1);
    return y;
}

/* x / sqrt(mean of squares of `of` + epsilon) */
static uint32_t normalized(struct dissolving *d, uint32_t x, float epsilon)
{
    const uint32_t variance = mean(d, dissolve_two(d, "Mul", x, x)),
                   sum = dissolve_two(d, "Add", variance, dissolve_number(d, epsilon));

    return dissolve_two(d, "Div", x, dissolve_one(d, "Sqrt", sum));
}

/* scale, bias: values; bias may be left out. */
static uint32_t layer_norm(struct dissolving *d, uint32_t x, uint32_t scale, uint32_t bias,
                           float epsilon)
{
    const bool biased = bias != PITH_NO_VALUE;
    uint32_t node, y;

    if (dissolve_opset(d) >= LAYER_NORM_SINCE) {
        y = dissolve_node(d, "LayerNormalization", (uint32_t[]){x, scale, bias}, biased ? 3 : 2,
                          PITH_FLOAT32, &node);
        if (d->rc == 0)
            d->rc = pith_node_set_float(d->graph, node, "epsilon", epsilon);
        return y;
    }
    y = normalized(d, dissolve_two(d, "Sub", x, mean(d, x)), epsilon);
    y = dissolve_two(d, "Mul", y, scale);
    return biased ? dissolve_two(d, "Add", y, bias) : y;
}

static float epsilon_of(const struct dissolving *d, float otherwise)
{
    return pith_node_float(d->graph, d->node, "epsilon", otherwise);
}

/* Over the last axis, as far as is known. */
static bool over_last(const struct dissolving *d)
{
    const struct pith_shape *shape = shape_in(d, 0);
    const int64_t axis = pith_node_int(d->graph, d->node, "axis", -1);

    return axis == -1 || (shape && axis == (int64_t) shape->rank - 1);
}

/* That of opset 17 in an older graph. */
static bool early_layer_norm(struct dissolving *d)
{
    if (dissolve_opset(d) >= LAYER_NORM_SINCE || !is_float(d, 0) || !over_last(d) ||
        dissolve_in(d, 1) == PITH_NO_VALUE || dissolve_wanted(d, 1) || dissolve_wanted(d, 2))
        return false;
    dissolve_give(d, 0,
                  layer_norm(d, dissolve_in(d, 0), dissolve_in(d, 1), dissolve_in(d, 2),
                             epsilon_of(d, 1e-5F)));
    return true;
}

/* x, scale: nothing is subtracted. Zhang and Sennrich 2019, arXiv:1910.07467. */
static bool simplified_layer_norm(struct dissolving *d)
{
    if (!is_float(d, 0) || !over_last(d) || dissolve_in(d, 1) == PITH_NO_VALUE ||
        dissolve_wanted(d, 1))
        return false;
    dissolve_give(d, 0,
                  dissolve_two(d, "Mul", normalized(d, dissolve_in(d, 0), epsilon_of(d, 1e-5F)),
                               dissolve_in(d, 1)));
    return true;
}

/* x, skip, scale, then a shift (not in the simplified one) and a bias; outputs 1 and 2 are for training, 3 is the sum. */
static bool skip_layer_norm(struct dissolving *d)
{
    const bool simplified =
        strcmp(pith_node_op(d->graph, d->node), "SkipSimplifiedLayerNormalization") == 0;
    const uint32_t bias = dissolve_in(d, simplified ? 3 : 4), scale = dissolve_in(d, 2);
    uint32_t x, y;

    if (!is_float(d, 0) || !is_float(d, 1) || scale == PITH_NO_VALUE || dissolve_wanted(d, 1) ||
        dissolve_wanted(d, 2))
        return false;
    x = dissolve_two(d, "Add", dissolve_in(d, 0), dissolve_in(d, 1));
    if (bias != PITH_NO_VALUE)
        x = dissolve_two(d, "Add", x, bias);
    y = simplified ? dissolve_two(d, "Mul", normalized(d, x, epsilon_of(d, 1e-5F)), scale)
                   : layer_norm(d, x, scale, dissolve_in(d, 3), epsilon_of(d, 1e-12F));
    if (dissolve_wanted(d, 3))
        dissolve_give(d, 3, x);
    dissolve_give(d, 0, y);
    return true;
}

static uint32_t list_of_one(struct dissolving *d, int64_t number)
{
    const struct pith_tensor tensor = {PITH_INT64, {1, {1}}, &number, sizeof number};

    return dissolve_add_constant(d, &tensor);
}

/* The rows of a table that numbers name. */
static uint32_t rows(struct dissolving *d, size_t table, size_t numbers)
{
    return dissolve_two(d, "Gather", dissolve_in(d, table), dissolve_in(d, numbers));
}

/* The first rows of the table of positions, as many as there are tokens. */
static uint32_t first_positions(struct dissolving *d)
{
    const uint32_t tokens = dissolve_in(d, 0),
                   shape = dissolve_node(d, "Shape", &tokens, 1, PITH_INT64, NULL);
    const uint32_t end = dissolve_node(d, "Gather", (uint32_t[]){shape, list_of_one(d, 1)}, 2,
                                       PITH_INT64, NULL);

    return dissolve_node(
        d, "Slice",
        (uint32_t[]){dissolve_in(d, 3), list_of_one(d, 0), end, list_of_one(d, 0)}, 4,
        PITH_FLOAT32, NULL);
}

/* tokens, segments; tables of words, positions, segments; scale, shift; a mask, whose lengths nobody
 * wants here; positions. Output 2 is the sum. */
static bool embed_layer_norm(struct dissolving *d)
{
    uint32_t x;

    if (!is_float(d, 2) || !is_float(d, 3) || dissolve_in(d, 0) == PITH_NO_VALUE ||
        dissolve_in(d, 5) == PITH_NO_VALUE || dissolve_wanted(d, 1) ||
        dissolve_opset(d) < SLICE_INPUTS ||
        (dissolve_in(d, 1) == PITH_NO_VALUE) != (dissolve_in(d, 4) == PITH_NO_VALUE))
        return false;
    x = dissolve_two(d, "Add", rows(d, 2, 0),
                     dissolve_in(d, 8) == PITH_NO_VALUE ? first_positions(d) : rows(d, 3, 8));
    if (dissolve_in(d, 1) != PITH_NO_VALUE)
        x = dissolve_two(d, "Add", x, rows(d, 4, 1));
    if (dissolve_wanted(d, 2))
        dissolve_give(d, 2, x);
    dissolve_give(d, 0,
                  layer_norm(d, x, dissolve_in(d, 5), dissolve_in(d, 6), epsilon_of(d, 1e-12F)));
    return true;
}

#define OWN "com.microsoft"

const struct dissolve_row dissolve_floats[] = {
    {"FusedConv", OWN, fused_conv},
    {"FusedGemm", OWN, fused_gemm},
    {"FusedMatMul", OWN, fused_matmul},
    {"TransposeMatMul", OWN, fused_matmul},
    {"Gelu", OWN, gelu},
    {"BiasGelu", OWN, gelu},
    {"FastGelu", OWN, fast_gelu},
    {"QuickGelu", OWN, quick_gelu},
    {"Swish", "", swish},
    {"LayerNormalization", "", early_layer_norm},
    {"SimplifiedLayerNormalization", "", simplified_layer_norm},
    {"RMSNormalization", "", simplified_layer_norm}, /* of opset 23 */
    {"SkipLayerNormalization", OWN, skip_layer_norm},
    {"EmbedLayerNormalization", OWN, embed_layer_norm},
    {"SkipSimplifiedLayerNormalization", OWN, skip_layer_norm},
    {0},
};
