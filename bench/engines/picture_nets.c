/* Networks over pictures, and the smallest graphs there are. */
#include "bench/engines/net.h"

#include <math.h>
#include <string.h>

enum activation { LINEAR, RELU, RELU6, HARD_SWISH };

static uint32_t mul(struct net *net, uint32_t a, uint32_t b)
{
    return net_node(net, "Mul", (uint32_t[]){a, b}, 2, NULL);
}

/* Of MobileNetV3: relu6(x + 3) / 6. */
static uint32_t hard_sigmoid(struct net *net, uint32_t x)
{
    uint32_t node;
    const uint32_t y = net_node(net, "HardSigmoid", &x, 1, &node);

    net_set_float(net, node, "alpha", 1.0F / 6.0F);
    net_set_float(net, node, "beta", 0.5F);
    return y;
}

static uint32_t activate(struct net *net, uint32_t x, enum activation activation)
{
    if (activation == RELU)
        return net_node(net, "Relu", &x, 1, NULL);
    if (activation == RELU6) {
        const uint32_t inputs[3] = {x, net_scalar(net, 0), net_scalar(net, 6)};

        return net_node(net, "Clip", inputs, 3, NULL);
    }
    if (activation == HARD_SWISH)
        return mul(net, x, hard_sigmoid(net, x));
    return x;
}

struct conv {
    int64_t in, out, kernel_h, kernel_w, stride, groups;
    int64_t pads[4]; /* top, left, bottom, right */
    enum activation activation;
};

/* Bounds after He et al. 2015 (arXiv:1502.01852), so that values keep their size through the
 * layers. */
static uint32_t conv(struct net *net, uint32_t x, struct conv c)
{
    const int64_t taps = c.in / c.groups * c.kernel_h * c.kernel_w;
    const uint32_t inputs[3] = {
        x,
        net_constant(net, 4, (int64_t[]){c.out, c.in / c.groups, c.kernel_h, c.kernel_w},
                     sqrt(6.0 / (double) taps)),
        net_constant(net, 1, &c.out, 0.1)};
    uint32_t node;
    const uint32_t y = net_node(net, "Conv", inputs, 3, &node);

    net_set_ints(net, node, "kernel_shape", (int64_t[]){c.kernel_h, c.kernel_w}, 2);
    net_set_ints(net, node, "strides", (int64_t[]){c.stride, c.stride}, 2);
    net_set_ints(net, node, "pads", c.pads, 4);
    net_set_int(net, node, "group", c.groups);
    return activate(net, y, c.activation);
}

static uint32_t conv3x3(struct net *net, uint32_t x, int64_t in, int64_t out, int64_t stride,
                        enum activation activation)
{
    return conv(net, x, (struct conv){in, out, 3, 3, stride, 1, {1, 1, 1, 1}, activation});
}

static uint32_t conv1x1(struct net *net, uint32_t x, int64_t in, int64_t out, int64_t stride,
                        enum activation activation)
{
    return conv(net, x, (struct conv){in, out, 1, 1, stride, 1, {0, 0, 0, 0}, activation});
}

static uint32_t depthwise(struct net *net, uint32_t x, int64_t channels, int64_t stride,
                          enum activation activation)
{
    return conv(
        net, x,
        (struct conv){channels, channels, 3, 3, stride, channels, {1, 1, 1, 1}, activation});
}

static uint32_t add(struct net *net, uint32_t a, uint32_t b)
{
    return net_node(net, "Add", (uint32_t[]){a, b}, 2, NULL);
}

static uint32_t dense(struct net *net, uint32_t x, int64_t in, int64_t out)
{
    const uint32_t inputs[3] = {x,
                                net_constant(net, 2, (int64_t[]){out, in}, sqrt(6.0 / (double) in)),
                                net_constant(net, 1, &out, 0.1)};
    uint32_t node;
    const uint32_t y = net_node(net, "Gemm", inputs, 3, &node);

    net_set_int(net, node, "transB", 1);
    return y;
}

/* Mean over the picture, then the classes. */
static uint32_t classify(struct net *net, uint32_t x, int64_t channels, int64_t classes)
{
    const uint32_t mean = net_node(net, "GlobalAveragePool", &x, 1, NULL);

    return dense(net, net_node(net, "Flatten", &mean, 1, NULL), channels, classes);
}

/* ---- the networks ---- */

static uint32_t
make_mobilenetv2(struct net *net) /* Sandler et al. 2018, arXiv:1801.04381, table 2 */
{
    static const struct {
        int64_t expand, out, repeat, stride;
    } stages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                  {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
    uint32_t x = conv3x3(net, net_input(net, 4, (int64_t[]){1, 3, 224, 224}), 3, 32, 2, RELU6);
    int64_t channels = 32;

    for (size_t s = 0; s < sizeof stages / sizeof stages[0]; s++)
        for (int64_t i = 0; i < stages[s].repeat; i++) {
            const int64_t stride = i ? 1 : stages[s].stride, inside = channels * stages[s].expand;
            uint32_t y = x;

            if (stages[s].expand > 1)
                y = conv1x1(net, y, channels, inside, 1, RELU6);
            y = conv1x1(net, depthwise(net, y, inside, stride, RELU6), inside, stages[s].out, 1,
                        LINEAR);
            x = stride == 1 && channels == stages[s].out ? add(net, x, y) : y;
            channels = stages[s].out;
        }
    return classify(net, conv1x1(net, x, channels, 1280, 1, RELU6), 1280, 1000);
}

/* A squeeze-and-excitation gate: Hu et al. 2018, arXiv:1709.01507. */
static uint32_t gate(struct net *net, uint32_t x, int64_t channels)
{
    const int64_t inside = channels / 4 < 8 ? 8 : (channels / 4 + 4) / 8 * 8;
    uint32_t y = net_node(net, "GlobalAveragePool", &x, 1, NULL);

    y = conv1x1(net, y, channels, inside, 1, RELU);
    return mul(net, x, hard_sigmoid(net, conv1x1(net, y, inside, channels, 1, LINEAR)));
}

static uint32_t
make_mobilenetv3(struct net *net) /* Howard et al. 2019, arXiv:1905.02244, table 2: the small one */
{
    static const struct {
        int64_t kernel, inside, out, gated, stride;
        enum activation activation;
    } blocks[] = {{3, 16, 16, 1, 2, RELU},        {3, 72, 24, 0, 2, RELU},
                  {3, 88, 24, 0, 1, RELU},        {5, 96, 40, 1, 2, HARD_SWISH},
                  {5, 240, 40, 1, 1, HARD_SWISH}, {5, 240, 40, 1, 1, HARD_SWISH},
                  {5, 120, 48, 1, 1, HARD_SWISH}, {5, 144, 48, 1, 1, HARD_SWISH},
                  {5, 288, 96, 1, 2, HARD_SWISH}, {5, 576, 96, 1, 1, HARD_SWISH},
                  {5, 576, 96, 1, 1, HARD_SWISH}};
    uint32_t x = conv3x3(net, net_input(net, 4, (int64_t[]){1, 3, 224, 224}), 3, 16, 2, HARD_SWISH);
    int64_t channels = 16;

    for (size_t b = 0; b < sizeof blocks / sizeof blocks[0]; b++) {
        const int64_t inside = blocks[b].inside, k = blocks[b].kernel, pad = k / 2;
        uint32_t y = x;

        if (inside != channels)
            y = conv1x1(net, y, channels, inside, 1, blocks[b].activation);
        y = conv(net, y, (struct conv){inside, inside, k, k, blocks[b].stride, inside, {pad, pad, pad, pad}, blocks[b].activation});
        if (blocks[b].gated)
            y = gate(net, y, inside);
        y = conv1x1(net, y, inside, blocks[b].out, 1, LINEAR);
        x = blocks[b].stride == 1 && channels == blocks[b].out ? add(net, x, y) : y;
        channels = blocks[b].out;
    }
    x = conv1x1(net, x, channels, 576, 1, HARD_SWISH);
    x = net_node(net, "GlobalAveragePool", &x, 1, NULL);
    x = conv1x1(net, x, 576, 1024, 1, HARD_SWISH);
    return dense(net, net_node(net, "Flatten", &x, 1, NULL), 1024, 1000);
}

/* Halves a picture. */
static uint32_t max_pool(struct net *net, uint32_t x, int64_t kernel, int64_t pad)
{
    uint32_t node;
    const uint32_t y = net_node(net, "MaxPool", &x, 1, &node);

    net_set_ints(net, node, "kernel_shape", (int64_t[]){kernel, kernel}, 2);
    net_set_ints(net, node, "strides", (int64_t[]){2, 2}, 2);
    net_set_ints(net, node, "pads", (int64_t[]){pad, pad, pad, pad}, 4);
    return y;
}

static uint32_t make_resnet18(struct net *net) /* He et al. 2016, arXiv:1512.03385, table 1 */
{
    uint32_t x = net_input(net, 4, (int64_t[]){1, 3, 224, 224});
    int64_t channels = 64;

    x = max_pool(net, conv(net, x, (struct conv){3, 64, 7, 7, 2, 1, {3, 3, 3, 3}, RELU}), 3, 1);
    for (int block = 0; block < 8; block++) {
        const int64_t stride = block >= 2 && block % 2 == 0 ? 2 : 1, out = channels * stride;
        const uint32_t y =
            conv3x3(net, conv3x3(net, x, channels, out, stride, RELU), out, out, 1, LINEAR);

        if (stride == 2)
            x = conv1x1(net, x, channels, out, 2, LINEAR);
        x = activate(net, add(net, x, y), RELU);
        channels = out;
    }
    return classify(net, x, channels, 1000);
}

static uint32_t
make_vgg16(struct net *net) /* Simonyan, Zisserman 2015, arXiv:1409.1556, table 1, D */
{
    static const int64_t stages[5][2] = {{64, 2}, {128, 2}, {256, 3}, {512, 3}, {512, 3}};
    uint32_t x = net_input(net, 4, (int64_t[]){1, 3, 224, 224});
    int64_t channels = 3;

    for (size_t s = 0; s < 5; s++) {
        for (int64_t i = 0; i < stages[s][1]; i++) {
            x = conv3x3(net, x, channels, stages[s][0], 1, RELU);
            channels = stages[s][0];
        }
        x = max_pool(net, x, 2, 0);
    }
    x = net_node(net, "Flatten", &x, 1, NULL);
    x = activate(net, dense(net, x, 512 * 7 * 7, 4096), RELU);
    x = activate(net, dense(net, x, 4096, 4096), RELU);
    return dense(net, x, 4096, 1000);
}

static uint32_t byte(struct net *net, int32_t dtype, uint8_t number)
{
    const struct pith_tensor tensor = {dtype, {0}, &number, 1};
    uint32_t value = PITH_NO_VALUE;

    if (net->rc == 0)
        net->rc = pith_graph_add_constant(net->graph, NULL, &tensor, &value, &net->err);
    return value;
}

/* Four layers as quantizers wrote them that had no QuantizeLinear between operators. */
static uint32_t make_qlinear(struct net *net)
{
    const uint32_t x = net_input(net, 4, (int64_t[]){1, 32, 32, 32}), scale = net_scalar(net, 0.02F),
                   zero = byte(net, PITH_UINT8, 128), none = byte(net, PITH_INT8, 0),
                   weight_scale = net_scalar(net, 0.001F);
    uint32_t q, y;

    net_outputs(net, "QuantizeLinear", (uint32_t[]){x, scale, zero}, 3, (const int32_t[]){PITH_UINT8}, 1,
                &q);
    for (int i = 0; i < 4; i++) {
        const uint32_t w = net_bytes(net, 4, (int64_t[]){32, 32, 3, 3});

        net_outputs(net, "QLinearConv", (uint32_t[]){q, scale, zero, w, weight_scale, none, scale, zero}, 8,
                    (const int32_t[]){PITH_UINT8}, 1, &y);
        q = y;
    }
    return net_node(net, "DequantizeLinear", (uint32_t[]){q, scale, zero}, 3, NULL);
}

/* Three layers whose weights are computed: none can be packed beforehand. */
static uint32_t make_modulated(struct net *net)
{
    uint32_t x = net_input(net, 4, (int64_t[]){1, 32, 32, 32}), node;

    for (int i = 0; i < 3; i++) {
        const uint32_t mean = net_node(net, "ReduceMean", &x, 1, NULL),
                       gain = net_node(net, "Sigmoid", &mean, 1, NULL);
        const uint32_t in[2] = {x, net_node(net, "Mul",
                                            (uint32_t[]){net_constant(net, 4, (int64_t[]){32, 32, 3, 3}, 0.1), gain}, 2,
                                            NULL)};

        x = net_node(net, "Conv", in, 2, &node);
        net_set_ints(net, node, "pads", (int64_t[]){1, 1, 1, 1}, 4);
    }
    return x;
}

/* What a run and a step cost that have next to nothing to compute. */
static uint32_t make_add1(struct net *net)
{
    const uint32_t x = net_input(net, 2, (int64_t[]){1, 16});

    return add(net, x, net_constant(net, 2, (int64_t[]){1, 16}, 1));
}

static uint32_t make_negs(struct net *net, int count)
{
    uint32_t x = net_input(net, 2, (int64_t[]){1, 16});

    for (int i = 0; i < count; i++)
        x = net_node(net, "Neg", &x, 1, NULL);
    return x;
}

static uint32_t make_neg10(struct net *net)
{
    return make_negs(net, 10);
}

static uint32_t make_neg50(struct net *net)
{
    return make_negs(net, 50);
}

static const struct {
    const char *name;
    net_make *make;
} networks[] = {{"add1", make_add1},         {"neg10", make_neg10},
                {"neg50", make_neg50},       {"qlinear", make_qlinear}, {"modulated", make_modulated},
                {"mobilenetv2", make_mobilenetv2}, {"mobilenetv3", make_mobilenetv3}, {"resnet18", make_resnet18},
                {"vgg16", make_vgg16}};

net_make *net_pictures(const char *name)
{
    for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++)
        if (strcmp(networks[i].name, name) == 0)
            return networks[i].make;
    return NULL;
}
