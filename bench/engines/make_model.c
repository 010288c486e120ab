/* Networks of the usual shapes with seeded random weights, batch norms folded, as ONNX files: for
 * timing, where what weights say doesn't matter. Integer forms are made by the technique
 * `quantize`, from random samples.
 *
 *     make_model NAME float32|int8 FILE      NAME: mobilenetv2, resnet18, kws, resnet8, vww, ad01
 */
#include "libpith/compress/host.h"
#include "libpith/formats/onnx.h"
#include "libpith/plugin/plugins.h"

#include <errno.h>
#include <math.h>
#include <pith/technique.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES 8

struct net { /* a graph while it grows; the first fault stays in rc */
    struct pith_graph *graph;
    uint64_t random;
    int rc;
    struct pith_error err;
};

enum activation { LINEAR, RELU, RELU6 };

static double uniform(struct net *net) /* -1 to 1 */
{
    return (double) (pith_random(&net->random) >> 11) / 4503599627370496.0 - 1;
}

static uint32_t constant(struct net *net, uint32_t rank, const int64_t *dims, double bound)
{
    const struct pith_shape shape = pith_shape_of(rank, dims);
    struct pith_tensor tensor = {0};
    uint32_t value = PITH_NO_VALUE;

    if (net->rc == 0)
        net->rc = pith_tensor_alloc(&tensor, PITH_FLOAT32, &shape, &net->err);
    for (int64_t i = 0; net->rc == 0 && i < pith_shape_elements(&shape); i++)
        ((float *) tensor.data)[i] = (float) (bound * uniform(net));
    if (net->rc == 0)
        net->rc = pith_graph_add_constant(net->graph, NULL, &tensor, &value, &net->err);
    pith_tensor_free(&tensor);
    return value;
}

static uint32_t scalar(struct net *net, float number)
{
    struct pith_tensor tensor = {PITH_FLOAT32, {0}, &number, sizeof number};
    uint32_t value = PITH_NO_VALUE;

    if (net->rc == 0)
        net->rc = pith_graph_add_constant(net->graph, NULL, &tensor, &value, &net->err);
    return value;
}

static uint32_t add_node(struct net *net, const char *op, const uint32_t *inputs, size_t count,
                         uint32_t *out_node)
{
    uint32_t out = PITH_NO_VALUE, node = PITH_NO_NODE;

    if (net->rc == 0)
        net->rc = pith_graph_add_value(net->graph, NULL, PITH_FLOAT32, NULL, &out, &net->err);
    if (net->rc == 0)
        net->rc =
            pith_graph_add_node(net->graph, "", op, NULL, inputs, count, &out, 1, &node, &net->err);
    if (out_node)
        *out_node = node;
    return out;
}

static uint32_t input(struct net *net, uint32_t rank, const int64_t *dims)
{
    const struct pith_shape shape = pith_shape_of(rank, dims);
    uint32_t value = PITH_NO_VALUE;

    if (net->rc == 0)
        net->rc =
            pith_graph_add_value(net->graph, "input", PITH_FLOAT32, &shape, &value, &net->err);
    if (net->rc == 0)
        net->rc = pith_graph_add_input(net->graph, value);
    return value;
}

static uint32_t activate(struct net *net, uint32_t x, enum activation activation)
{
    if (activation == RELU)
        return add_node(net, "Relu", &x, 1, NULL);
    if (activation == RELU6) {
        const uint32_t inputs[3] = {x, scalar(net, 0), scalar(net, 6)};

        return add_node(net, "Clip", inputs, 3, NULL);
    }
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
        constant(net, 4, (int64_t[]){c.out, c.in / c.groups, c.kernel_h, c.kernel_w},
                 sqrt(6.0 / (double) taps)),
        constant(net, 1, &c.out, 0.1)};
    uint32_t node;
    const uint32_t y = add_node(net, "Conv", inputs, 3, &node);

    if (net->rc == 0)
        net->rc = pith_node_set_ints(net->graph, node, "kernel_shape",
                                     (int64_t[]){c.kernel_h, c.kernel_w}, 2);
    if (net->rc == 0)
        net->rc =
            pith_node_set_ints(net->graph, node, "strides", (int64_t[]){c.stride, c.stride}, 2);
    if (net->rc == 0)
        net->rc = pith_node_set_ints(net->graph, node, "pads", c.pads, 4);
    if (net->rc == 0)
        net->rc = pith_node_set_int(net->graph, node, "group", c.groups);
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
    return add_node(net, "Add", (uint32_t[]){a, b}, 2, NULL);
}

static uint32_t dense(struct net *net, uint32_t x, int64_t in, int64_t out)
{
    const uint32_t inputs[3] = {x, constant(net, 2, (int64_t[]){out, in}, sqrt(6.0 / (double) in)),
                                constant(net, 1, &out, 0.1)};
    uint32_t node;
    const uint32_t y = add_node(net, "Gemm", inputs, 3, &node);

    if (net->rc == 0)
        net->rc = pith_node_set_int(net->graph, node, "transB", 1);
    return y;
}

/* Mean over the picture, then the classes. */
static uint32_t classify(struct net *net, uint32_t x, int64_t channels, int64_t classes)
{
    const uint32_t mean = add_node(net, "GlobalAveragePool", &x, 1, NULL);

    return dense(net, add_node(net, "Flatten", &mean, 1, NULL), channels, classes);
}

/* ---- the networks ---- */

static uint32_t make_kws(struct net *net) /* DS-CNN, MLPerf Tiny */
{
    uint32_t x = input(net, 4, (int64_t[]){1, 1, 49, 10});

    x = conv(net, x, (struct conv){1, 64, 10, 4, 2, 1, {4, 1, 5, 1}, RELU});
    for (int i = 0; i < 4; i++)
        x = conv1x1(net, depthwise(net, x, 64, 1, RELU), 64, 64, 1, RELU);
    return classify(net, x, 64, 12);
}

static uint32_t make_resnet8(struct net *net) /* MLPerf Tiny */
{
    uint32_t x = conv3x3(net, input(net, 4, (int64_t[]){1, 3, 32, 32}), 3, 16, 1, RELU);
    int64_t channels = 16;

    for (int stack = 0; stack < 3; stack++) {
        const int64_t stride = stack ? 2 : 1, out = stack ? channels * 2 : channels;
        const uint32_t y =
            conv3x3(net, conv3x3(net, x, channels, out, stride, RELU), out, out, 1, LINEAR);

        if (stack)
            x = conv1x1(net, x, channels, out, stride, LINEAR);
        x = activate(net, add(net, x, y), RELU);
        channels = out;
    }
    return classify(net, x, channels, 10);
}

static uint32_t make_vww(struct net *net) /* MobileNet v1 0.25 at 96, MLPerf Tiny */
{
    static const struct {
        int64_t out, stride;
    } blocks[] = {{16, 1},  {32, 2},  {32, 1},  {64, 2},  {64, 1},  {128, 2}, {128, 1},
                  {128, 1}, {128, 1}, {128, 1}, {128, 1}, {256, 2}, {256, 1}};
    uint32_t x = conv3x3(net, input(net, 4, (int64_t[]){1, 3, 96, 96}), 3, 8, 2, RELU);
    int64_t channels = 8;

    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        x = depthwise(net, x, channels, blocks[i].stride, RELU);
        x = conv1x1(net, x, channels, blocks[i].out, 1, RELU);
        channels = blocks[i].out;
    }
    return classify(net, x, channels, 2);
}

static uint32_t make_ad01(struct net *net) /* the autoencoder of MLPerf Tiny */
{
    static const int64_t widths[] = {640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640};
    uint32_t x = input(net, 2, (int64_t[]){1, 640});

    for (size_t i = 0; i + 1 < sizeof widths / sizeof widths[0]; i++)
        x = activate(net, dense(net, x, widths[i], widths[i + 1]), i < 9 ? RELU : LINEAR);
    return x;
}

static uint32_t
make_mobilenetv2(struct net *net) /* Sandler et al. 2018, arXiv:1801.04381, table 2 */
{
    static const struct {
        int64_t expand, out, repeat, stride;
    } stages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                  {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
    uint32_t x = conv3x3(net, input(net, 4, (int64_t[]){1, 3, 224, 224}), 3, 32, 2, RELU6);
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

static uint32_t max_pool(struct net *net, uint32_t x)
{
    uint32_t node;
    const uint32_t y = add_node(net, "MaxPool", &x, 1, &node);

    if (net->rc == 0)
        net->rc = pith_node_set_ints(net->graph, node, "kernel_shape", (int64_t[]){3, 3}, 2);
    if (net->rc == 0)
        net->rc = pith_node_set_ints(net->graph, node, "strides", (int64_t[]){2, 2}, 2);
    if (net->rc == 0)
        net->rc = pith_node_set_ints(net->graph, node, "pads", (int64_t[]){1, 1, 1, 1}, 4);
    return y;
}

static uint32_t make_resnet18(struct net *net) /* He et al. 2016, arXiv:1512.03385, table 1 */
{
    uint32_t x = input(net, 4, (int64_t[]){1, 3, 224, 224});
    int64_t channels = 64;

    x = max_pool(net, conv(net, x, (struct conv){3, 64, 7, 7, 2, 1, {3, 3, 3, 3}, RELU}));
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

static const struct {
    const char *name;
    uint32_t (*make)(struct net *net);
} networks[] = {
    {"mobilenetv2", make_mobilenetv2}, {"resnet18", make_resnet18}, {"kws", make_kws},
    {"resnet8", make_resnet8},         {"vww", make_vww},           {"ad01", make_ad01}};

static int make_float(const char *name, struct pith_graph **out, struct pith_error *err)
{
    struct net net = {.random = 20180419};
    uint32_t (*make)(struct net *) = NULL;

    for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++)
        if (strcmp(networks[i].name, name) == 0)
            make = networks[i].make;
    if (!make)
        return pith_fail(err, -EINVAL, "there is no network \"%s\"", name);
    net.rc = pith_graph_new(&net.graph, name, &net.err);
    if (net.rc == 0)
        net.rc = pith_graph_set_opset(net.graph, "", 13);
    const uint32_t output = net.rc == 0 ? make(&net) : PITH_NO_VALUE;

    if (net.rc == 0)
        net.rc = pith_graph_add_output(net.graph, output);
    if (net.rc == 0)
        net.rc = pith_graph_validate(net.graph, &net.err);
    if (net.rc == 0)
        net.rc = pith_graph_infer(net.graph, NULL, &net.err);
    if (net.rc < 0) {
        pith_graph_free(net.graph);
        return pith_fail(err, net.rc, "%s", pith_error_text(&net.err));
    }
    *out = net.graph;
    return 0;
}

/* ---- the integer form ---- */

static int make_samples(const struct pith_graph *graph, struct pith_samples *samples,
                        struct pith_error *err)
{
    struct net random = {.random = 7};
    struct pith_tensor one = {0};
    const uint32_t value = pith_graph_input(graph, 0);
    int rc = pith_tensor_alloc(&one, PITH_FLOAT32, pith_value_shape(graph, value), err);

    pith_samples_init(samples, SAMPLES, 1);
    for (int i = 0; rc == 0 && i < SAMPLES; i++) {
        for (size_t at = 0; at < one.bytes / sizeof(float); at++)
            ((float *) one.data)[at] = (float) uniform(&random);
        rc = pith_samples_offer(samples, &one, 1, err);
    }
    pith_tensor_free(&one);
    return rc;
}

/* Every layer is to be of integers, whatever that does to random weights: no check of errors. */
static int quantize(struct pith_graph **graph, struct pith_error *err)
{
    const struct pith_plugin *technique = NULL, *engine = NULL;
    struct pith_plugins *plugins = NULL;
    struct pith_options options = {0}, engine_options = {0};
    struct pith_samples samples = {0};
    struct pith_graph *made = NULL;
    json_t *wanted = json_pack("{s:s, s:f}", "activations", "uint8", "max_error_ratio", 0.0);
    int rc = pith_plugins_open(&plugins, NULL, err);

    if (rc == 0)
        rc = pith_plugins_find(plugins, PITH_KIND_TECHNIQUE, "quantize", &technique, err);
    if (rc == 0)
        rc = pith_plugins_find(plugins, PITH_KIND_ENGINE, "native", &engine, err);
    if (rc == 0)
        rc = pith_options_from_json(&options, technique->options, wanted, "quantize", err);
    if (rc == 0)
        rc = pith_options_from_json(&engine_options, engine->options, NULL, "native", err);
    if (rc == 0)
        rc = make_samples(*graph, &samples, err);
    if (rc == 0) {
        const struct pith_technique_ops *ops = technique->ops;
        struct pith_technique_host host = {.engine = engine->ops,
                                           .engine_options = engine_options.values,
                                           .threads = 1,
                                           .samples = &samples};
        struct pith_technique_job job = {.size_bytes = sizeof job,
                                         .host = &host.host,
                                         .options = options.values,
                                         .seed = 1,
                                         .accuracy_drop_points = -1};

        pith_technique_host_init(&host);
        rc = ops->apply(&job, *graph, &made, NULL, err);
    }
    if (rc == 0) {
        pith_graph_free(*graph);
        *graph = made;
    }
    pith_samples_done(&samples);
    pith_options_done(&options);
    pith_options_done(&engine_options);
    pith_plugins_free(plugins);
    json_decref(wanted);
    return rc;
}

int main(int argc, char **argv)
{
    struct pith_graph *graph = NULL;
    struct pith_error err = {0};
    int rc;

    if (argc != 4 || (strcmp(argv[2], "float32") != 0 && strcmp(argv[2], "int8") != 0)) {
        (void) fprintf(stderr, "usage: make_model NAME float32|int8 FILE\n");
        return 2;
    }
    rc = make_float(argv[1], &graph, &err);
    if (rc == 0 && strcmp(argv[2], "int8") == 0)
        rc = quantize(&graph, &err);
    if (rc == 0)
        rc = pith_onnx_save(graph, argv[3], NULL, &err);
    pith_graph_free(graph);
    if (rc < 0)
        (void) fprintf(stderr, "make_model: %s\n", pith_error_text(&err));
    return rc < 0;
}
