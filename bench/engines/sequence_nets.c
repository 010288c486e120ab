/* Networks over sequences: recurrent layers, a transformer's encoder as exporters write it with
 * operators of opset 13, and the last layers of a net that draws pictures. */
#include "bench/engines/net.h"

#include <math.h>
#include <string.h>

/* ---- recurrent layers ---- */

#define TIMES  16
#define WIDTH  64
#define HIDDEN 128

static uint32_t recurrent(struct net *net, const char *op, int64_t gates)
{
    const double bound = 1 / sqrt(HIDDEN); /* that of common initializations */
    const uint32_t x = net_input(net, 3, (int64_t[]){TIMES, 1, WIDTH});
    const uint32_t inputs[4] = {x,
                                net_constant(net, 3, (int64_t[]){1, gates * HIDDEN, WIDTH}, bound),
                                net_constant(net, 3, (int64_t[]){1, gates * HIDDEN, HIDDEN}, bound),
                                net_constant(net, 2, (int64_t[]){1, 2 * gates * HIDDEN}, bound)};
    uint32_t node;
    const uint32_t y = net_node(net, op, inputs, 4, &node);

    net_set_int(net, node, "hidden_size", HIDDEN);
    if (gates == 3)
        net_set_int(net, node, "linear_before_reset", 1);
    return y;
}

static uint32_t make_lstm(struct net *net)
{
    return recurrent(net, "LSTM", 4);
}

static uint32_t make_gru(struct net *net)
{
    return recurrent(net, "GRU", 3);
}

/* ---- Vaswani et al. 2017, arXiv:1706.03762, section 3: two layers of an encoder ---- */

#define TOKENS   64
#define FEATURES 128
#define HEADS    4
#define INSIDE   512

static uint32_t two(struct net *net, const char *op, uint32_t a, uint32_t b)
{
    return net_node(net, op, (uint32_t[]){a, b}, 2, NULL);
}

/* As graphs have it whose weights alone were quantized beforehand. */
static uint32_t dynamic_product(struct net *net, uint32_t x, int64_t in, int64_t out)
{
    const double bound = sqrt(6.0 / (double) (in + out));
    uint32_t q[3], sums, node;

    net_outputs(net, "DynamicQuantizeLinear", &x, 1,
                (const int32_t[]){PITH_UINT8, PITH_FLOAT32, PITH_UINT8}, 3, q);
    net_outputs(net, "MatMulInteger",
                (const uint32_t[]){q[0], net_bytes(net, 2, (int64_t[]){in, out}), q[2]}, 3,
                (const int32_t[]){PITH_INT32}, 1, &sums);
    x = net_node(net, "Cast", &sums, 1, &node);
    net_set_int(net, node, "to", PITH_FLOAT32);
    return two(net, "Mul", x, two(net, "Mul", q[1], net_scalar(net, (float) (bound / 127.0))));
}

static uint32_t linear(struct net *net, uint32_t x, int64_t in, int64_t out)
{
    uint32_t w;

    if (net->dynamic)
        return two(net, "Add", dynamic_product(net, x, in, out), net_constant(net, 1, &out, 0.1));
    w = net_constant(net, 2, (int64_t[]){in, out}, sqrt(6.0 / (double) (in + out)));
    return two(net, "Add", two(net, "MatMul", x, w), net_constant(net, 1, &out, 0.1));
}

static uint32_t reshape(struct net *net, uint32_t x, size_t rank, const int64_t *dims)
{
    return two(net, "Reshape", x, net_ints(net, rank, dims));
}

static uint32_t transpose(struct net *net, uint32_t x, size_t rank, const int64_t *perm)
{
    uint32_t node;
    const uint32_t y = net_node(net, "Transpose", &x, 1, &node);

    net_set_ints(net, node, "perm", perm, rank);
    return y;
}

static uint32_t mean(struct net *net, uint32_t x)
{
    uint32_t node;
    const uint32_t y = net_node(net, "ReduceMean", &x, 1, &node);

    net_set_ints(net, node, "axes", (int64_t[]){-1}, 1);
    return y;
}

static uint32_t normalize(struct net *net, uint32_t x)
{
    const int64_t features = FEATURES;
    const uint32_t centred = two(net, "Sub", x, mean(net, x));
    const uint32_t variance = mean(net, two(net, "Pow", centred, net_scalar(net, 2)));
    const uint32_t shifted = two(net, "Add", variance, net_scalar(net, 1e-5F));
    const uint32_t y = two(net, "Div", centred, net_node(net, "Sqrt", &shifted, 1, NULL));

    return two(net, "Add", two(net, "Mul", y, net_constant(net, 1, &features, 1)),
               net_constant(net, 1, &features, 1));
}

static uint32_t gelu_by_tanh(struct net *net, uint32_t x)
{
    const uint32_t cube = two(net, "Pow", x, net_scalar(net, 3)),
                   bent = two(net, "Add", x, two(net, "Mul", cube, net_scalar(net, 0.044715F))),
                   scaled = two(net, "Mul", bent, net_scalar(net, 0.797884583F)),
                   moved =
                       two(net, "Add", net_node(net, "Tanh", &scaled, 1, NULL), net_scalar(net, 1));

    return two(net, "Mul", two(net, "Mul", x, net_scalar(net, 0.5F)), moved);
}

static uint32_t gelu(struct net *net, uint32_t x)
{
    if (net->causal)
        return gelu_by_tanh(net, x);
    const uint32_t scaled = two(net, "Div", x, net_scalar(net, 1.41421356F));
    const uint32_t moved =
        two(net, "Add", net_node(net, "Erf", &scaled, 1, NULL), net_scalar(net, 1));

    return two(net, "Mul", two(net, "Mul", x, moved), net_scalar(net, 0.5F));
}

static uint32_t heads_of(struct net *net, uint32_t x, const int64_t *perm)
{
    return transpose(net,
                     reshape(net, linear(net, x, FEATURES, FEATURES), 4,
                             (int64_t[]){1, TOKENS, HEADS, FEATURES / HEADS}),
                     4, perm);
}

/* Scores of tokens that come later become those that no weight is left of. */
static uint32_t look_back(struct net *net, uint32_t scores)
{
    int64_t list[TOKENS];
    uint32_t in[2], inputs[3];

    for (int64_t i = 0; i < TOKENS; i++)
        list[i] = i;
    in[1] = net_ints(net, TOKENS, list);
    net_outputs(net, "Reshape", (uint32_t[]){in[1], net_ints(net, 2, (int64_t[]){TOKENS, 1})}, 2,
                (const int32_t[]){PITH_INT64}, 1, &in[0]);
    net_outputs(net, "GreaterOrEqual", in, 2, (const int32_t[]){PITH_BOOL}, 1, &inputs[0]);
    inputs[1] = scores;
    inputs[2] = net_scalar(net, -3.4028235e38F);
    return net_node(net, "Where", inputs, 3, NULL);
}

static uint32_t attend(struct net *net, uint32_t x)
{
    const uint32_t q = heads_of(net, x, (int64_t[]){0, 2, 1, 3}),
                   k = heads_of(net, x, (int64_t[]){0, 2, 3, 1}),
                   v = heads_of(net, x, (int64_t[]){0, 2, 1, 3});
    uint32_t scores =
        two(net, "Div", two(net, "MatMul", q, k), net_scalar(net, sqrtf(FEATURES / HEADS)));
    uint32_t node, weights;

    if (net->causal)
        scores = look_back(net, scores);
    weights = net_node(net, "Softmax", &scores, 1, &node);
    net_set_int(net, node, "axis", -1);
    return linear(
        net,
        reshape(net, transpose(net, two(net, "MatMul", weights, v), 4, (int64_t[]){0, 2, 1, 3}), 3,
                (int64_t[]){1, TOKENS, FEATURES}),
        FEATURES, FEATURES);
}

static uint32_t make_encoder(struct net *net)
{
    uint32_t x = net_input(net, 3, (int64_t[]){1, TOKENS, FEATURES});

    for (int layer = 0; layer < 2; layer++) {
        x = normalize(net, two(net, "Add", x, attend(net, x)));
        x = normalize(
            net, two(net, "Add", x,
                     linear(net, gelu(net, linear(net, x, FEATURES, INSIDE)), INSIDE, FEATURES)));
    }
    return x;
}

static uint32_t make_dynamic_encoder(struct net *net)
{
    net->dynamic = true;
    return make_encoder(net);
}

static uint32_t make_causal_encoder(struct net *net)
{
    net->causal = true;
    return make_encoder(net);
}

/* ---- two steps up, as in U-Net: Ronneberger et al. 2015, arXiv:1505.04597 ---- */

static uint32_t up(struct net *net, uint32_t x, int64_t in, int64_t out, int64_t kernel,
                   int64_t pad)
{
    const uint32_t inputs[3] = {
        x, net_constant(net, 4, (int64_t[]){in, out, kernel, kernel}, sqrt(6.0 / (double) in / 4)),
        net_constant(net, 1, &out, 0.1)};
    uint32_t node;
    const uint32_t y = net_node(net, "ConvTranspose", inputs, 3, &node);

    net_set_ints(net, node, "strides", (int64_t[]){2, 2}, 2);
    net_set_ints(net, node, "pads", (int64_t[]){pad, pad, pad, pad}, 4);
    return net_node(net, "Relu", &y, 1, NULL);
}

static uint32_t make_decoder(struct net *net)
{
    const uint32_t x = net_input(net, 4, (int64_t[]){1, 64, 16, 16});

    return up(net, up(net, x, 64, 32, 2, 0), 32, 16, 4, 1);
}

static const struct {
    const char *name;
    net_make *make;
} networks[] = {
    {"lstm", make_lstm}, {"gru", make_gru}, {"encoder", make_encoder}, {"encoder_dynamic", make_dynamic_encoder}, {"encoder_causal", make_causal_encoder},
    {"decoder", make_decoder}};

net_make *net_sequences(const char *name)
{
    for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++)
        if (strcmp(networks[i].name, name) == 0)
            return networks[i].make;
    return NULL;
}
