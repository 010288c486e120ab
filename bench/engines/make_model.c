/* Networks of the usual shapes with seeded random weights, batch norms folded, as ONNX files: for
 * timing, where what weights say doesn't matter. The integer form is the common one, which every
 * engine has kernels for: uint8 for all activations, over what random samples show; int8 weights
 * with a scale for each output channel; int32 biases.
 *
 *     make_model mobilenetv2|resnet18|vgg16 float32|int8 FILE
 *     make_model add1|neg10|neg50 float32 FILE */
#include "libpith/compress/host.h"
#include "libpith/formats/onnx.h"
#include "libpith/plugin/plugins.h"

#include <errno.h>
#include <math.h>
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

/* Halves a picture. */
static uint32_t max_pool(struct net *net, uint32_t x, int64_t kernel, int64_t pad)
{
    uint32_t node;
    const uint32_t y = add_node(net, "MaxPool", &x, 1, &node);

    if (net->rc == 0)
        net->rc =
            pith_node_set_ints(net->graph, node, "kernel_shape", (int64_t[]){kernel, kernel}, 2);
    if (net->rc == 0)
        net->rc = pith_node_set_ints(net->graph, node, "strides", (int64_t[]){2, 2}, 2);
    if (net->rc == 0)
        net->rc = pith_node_set_ints(net->graph, node, "pads", (int64_t[]){pad, pad, pad, pad}, 4);
    return y;
}

static uint32_t make_resnet18(struct net *net) /* He et al. 2016, arXiv:1512.03385, table 1 */
{
    uint32_t x = input(net, 4, (int64_t[]){1, 3, 224, 224});
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
    uint32_t x = input(net, 4, (int64_t[]){1, 3, 224, 224});
    int64_t channels = 3;

    for (size_t s = 0; s < 5; s++) {
        for (int64_t i = 0; i < stages[s][1]; i++) {
            x = conv3x3(net, x, channels, stages[s][0], 1, RELU);
            channels = stages[s][0];
        }
        x = max_pool(net, x, 2, 0);
    }
    x = add_node(net, "Flatten", &x, 1, NULL);
    x = activate(net, dense(net, x, 512 * 7 * 7, 4096), RELU);
    x = activate(net, dense(net, x, 4096, 4096), RELU);
    return dense(net, x, 4096, 1000);
}

/* What a run and a step cost that have next to nothing to compute. */
static uint32_t make_add1(struct net *net)
{
    const uint32_t x = input(net, 2, (int64_t[]){1, 16});

    return add(net, x, constant(net, 2, (int64_t[]){1, 16}, 1));
}

static uint32_t make_negs(struct net *net, int count)
{
    uint32_t x = input(net, 2, (int64_t[]){1, 16});

    for (int i = 0; i < count; i++)
        x = add_node(net, "Neg", &x, 1, NULL);
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
    uint32_t (*make)(struct net *net);
} networks[] = {{"add1", make_add1},         {"neg10", make_neg10},
                {"neg50", make_neg50},       {"mobilenetv2", make_mobilenetv2},
                {"resnet18", make_resnet18}, {"vgg16", make_vgg16}};

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

struct ranges {
    const uint32_t *values; /* that are observed */
    float *low, *high;      /* of each */
};

static int see(void *user, size_t index, uint64_t sample, const struct pith_tensor *tensor)
{
    struct ranges *ranges = user;
    const float *x = tensor->data;

    (void) sample;
    for (size_t i = 0; i < tensor->bytes / sizeof *x; i++) {
        ranges->low[index] = fminf(ranges->low[index], x[i]);
        ranges->high[index] = fmaxf(ranges->high[index], x[i]);
    }
    return 0;
}

/* An activation that alone uses the value takes its place: the value itself is never stored. */
static bool is_taken_in(const struct pith_graph *graph, uint32_t value)
{
    size_t count = 0;
    const uint32_t *users = pith_value_users(graph, value, &count);
    const char *op = count == 1 && users[0] != PITH_NO_NODE ? pith_node_op(graph, users[0]) : "";

    return strcmp(op, "Relu") == 0 || strcmp(op, "Clip") == 0;
}

/* Where nothing is computed, only moved or picked, the grid is that of the input. */
static uint32_t grid_source(const struct pith_graph *graph, uint32_t value)
{
    for (;;) {
        const uint32_t node = pith_value_producer(graph, value);
        const char *op = node == PITH_NO_NODE ? "" : pith_node_op(graph, node);

        if (strcmp(op, "Flatten") != 0 && strcmp(op, "MaxPool") != 0)
            return value;
        value = pith_node_input(graph, node, 0);
    }
}

static int set_activations(struct pith_graph *graph, const struct ranges *ranges, size_t count)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < count; i++) {
        const uint32_t source = grid_source(graph, ranges->values[i]);
        size_t at = 0;

        while (ranges->values[at] != source)
            at++;
        const float scale = fmaxf((ranges->high[at] - ranges->low[at]) / 255, 1e-6F);
        const int32_t zero = (int32_t) rintf(-ranges->low[at] / scale);
        const struct pith_quantization grid = {
            .dtype = PITH_UINT8, .count = 1, .scale = &scale, .zero_point = &zero};

        rc = pith_value_set_quantization(graph, ranges->values[i], &grid);
    }
    return rc;
}

/* A node's constant as integers, one scale for each entry of its first dimension. */
static int set_integers(struct pith_graph *graph, uint32_t node, size_t slot, int32_t dtype,
                        const float *scales, struct pith_error *err)
{
    const struct pith_tensor *tensor =
        pith_value_constant(graph, pith_node_input(graph, node, slot));
    const size_t channels = (size_t) tensor->shape.dim[0];
    const int64_t each = pith_shape_elements(&tensor->shape) / (int64_t) channels;
    int32_t *zeros = calloc(channels, sizeof *zeros);
    const struct pith_quantization grid = {
        .dtype = dtype, .count = channels, .scale = scales, .zero_point = zeros};
    struct pith_tensor integers = {0};
    uint32_t value;
    int rc = zeros ? pith_tensor_alloc(&integers, dtype, &tensor->shape, err) : -ENOMEM;

    for (int64_t i = 0; rc == 0 && i < pith_shape_elements(&tensor->shape); i++)
        pith_tensor_set(&integers, i, rint(pith_tensor_get(tensor, i) / scales[i / each]));
    if (rc == 0)
        rc = pith_graph_add_value(graph, NULL, PITH_FLOAT32, &tensor->shape, &value, err);
    if (rc == 0)
        rc = pith_value_set_quantization(graph, value, &grid);
    if (rc == 0)
        rc = pith_value_set_constant(graph, value, &integers);
    if (rc == 0)
        rc = pith_node_set_input(graph, node, slot, value);
    pith_tensor_free(&integers);
    free(zeros);
    return rc;
}

static int set_weights(struct pith_graph *graph, uint32_t node, struct pith_error *err)
{
    const struct pith_tensor *w = pith_value_constant(graph, pith_node_input(graph, node, 1));
    const float in = pith_value_quantization(graph, pith_node_input(graph, node, 0))->scale[0];
    const size_t channels = (size_t) w->shape.dim[0];
    const size_t each = w->bytes / sizeof(float) / channels;
    float *scales = calloc(2 * channels, sizeof *scales); /* of weights, then of biases */
    int rc = scales ? 0 : -ENOMEM;

    for (size_t c = 0; rc == 0 && c < channels; c++) {
        for (size_t i = 0; i < each; i++)
            scales[c] = fmaxf(scales[c], fabsf(((const float *) w->data)[c * each + i]) / 127);
        scales[channels + c] = scales[c] * in;
    }
    if (rc == 0)
        rc = set_integers(graph, node, 1, PITH_INT8, scales, err);
    if (rc == 0)
        rc = set_integers(graph, node, 2, PITH_INT32, scales + channels, err);
    free(scales);
    return rc;
}

/* All values that are stored: inputs, and what nodes make and no activation takes in. */
static size_t list_values(const struct pith_graph *graph, uint32_t *out)
{
    size_t count = 0;

    for (uint32_t value = 0; value < pith_graph_value_limit(graph); value++)
        if (!pith_value_constant(graph, value) && !is_taken_in(graph, value))
            out[count++] = value;
    return count;
}

static int observe(const struct pith_graph *graph, struct ranges *ranges, size_t count,
                   struct pith_error *err)
{
    const struct pith_plugin *engine = NULL;
    struct pith_plugins *plugins = NULL;
    struct pith_options options = {0};
    struct pith_samples samples = {0};
    int rc = pith_plugins_open(&plugins, NULL, err);

    if (rc == 0)
        rc = pith_plugins_find(plugins, PITH_KIND_ENGINE, "native", &engine, err);
    if (rc == 0)
        rc = pith_options_from_json(&options, engine->options, NULL, "native", err);
    if (rc == 0)
        rc = make_samples(graph, &samples, err);
    if (rc == 0) {
        struct pith_technique_host host = {.engine = engine->ops,
                                           .engine_options = options.values,
                                           .threads = 1,
                                           .samples = &samples};

        pith_technique_host_init(&host);
        rc = host.host.observe(host.host.context, graph, 0, SAMPLES, ranges->values, count, see,
                               ranges, err);
    }
    pith_samples_done(&samples);
    pith_options_done(&options);
    pith_plugins_free(plugins);
    return rc;
}

static int quantize(struct pith_graph *graph, struct pith_error *err)
{
    const size_t limit = pith_graph_value_limit(graph);
    const uint32_t nodes = pith_graph_node_limit(graph);
    uint32_t *values = calloc(limit + 1, sizeof *values);
    float *bounds = calloc(2 * limit + 1, sizeof *bounds); /* 0 is in every range */
    const size_t count = values && bounds ? list_values(graph, values) : 0;
    struct ranges ranges = {values, bounds, count > 0 ? bounds + limit : NULL};
    int rc = count > 0 ? observe(graph, &ranges, count, err) : -ENOMEM;

    if (rc == 0)
        rc = set_activations(graph, &ranges, count);
    for (uint32_t node = 0; rc == 0 && node < nodes; node++)
        if (strcmp(pith_node_op(graph, node), "Conv") == 0 ||
            strcmp(pith_node_op(graph, node), "Gemm") == 0)
            rc = set_weights(graph, node, err);
    if (rc == 0)
        rc = pith_graph_prune_dead(graph);
    if (rc == 0)
        rc = pith_graph_validate(graph, err);
    free(values);
    free(bounds);
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
        rc = quantize(graph, &err);
    if (rc == 0)
        rc = pith_onnx_save(graph, argv[3], NULL, &err);
    pith_graph_free(graph);
    if (rc < 0)
        (void) fprintf(stderr, "make_model: %s\n", pith_error_text(&err));
    return rc < 0;
}
