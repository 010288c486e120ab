/* Networks of the usual shapes with seeded random weights, batch norms folded, as ONNX files: for
 * timing, where what weights say doesn't matter. The integer form is the common one, which every
 * engine has kernels for: uint8 for all activations, over what random samples show; int8 weights
 * with a scale for each output channel; int32 biases.
 *
 *     make_model mobilenetv2|mobilenetv3|resnet18|vgg16 float32|int8|w8a16 FILE
 *     make_model lstm|gru|encoder|encoder_dynamic|encoder_causal|decoder float32|int8|w8a16 FILE
 *     make_model modulated|qlinear|add1|neg10|neg50 float32 FILE
 *
 * The technique `quantize` makes w8a16, and the int8 of what is no picture's network. */
#include "bench/engines/net.h"
#include "libpith/compress/host.h"
#include "libpith/formats/onnx.h"
#include "libpith/plugin/plugins.h"
#include <pith/technique.h>

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES 16 /* least_samples of the technique `quantize` is 10 */

static int make_float(const char *name, struct pith_graph **out, struct pith_error *err)
{
    struct net net = {.random = 20180419};
    net_make *make = net_pictures(name);

    if (!make)
        make = net_sequences(name);
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
            ((float *) one.data)[at] = (float) net_uniform(&random);
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

/* Calls what needs samples and an engine, with both. */
static int with_host(const struct pith_graph *graph,
                     int (*call)(const struct pith_technique_host *host,
                                 const struct pith_plugins *plugins, void *argument,
                                 struct pith_error *err),
                     void *argument, struct pith_error *err)
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
        rc = call(&host, plugins, argument, err);
    }
    pith_samples_done(&samples);
    pith_options_done(&options);
    pith_plugins_free(plugins);
    return rc;
}

struct observation {
    const struct pith_graph *graph;
    struct ranges *ranges;
    size_t count;
};

static int observe(const struct pith_technique_host *host, const struct pith_plugins *plugins,
                   void *argument, struct pith_error *err)
{
    const struct observation *o = argument;

    (void) plugins;
    return host->host.observe(host->host.context, o->graph, 0, SAMPLES, o->ranges->values, o->count,
                              see, o->ranges, err);
}

static int quantize(struct pith_graph *graph, struct pith_error *err)
{
    const size_t limit = pith_graph_value_limit(graph);
    const uint32_t nodes = pith_graph_node_limit(graph);
    uint32_t *values = calloc(limit + 1, sizeof *values);
    float *bounds = calloc(2 * limit + 1, sizeof *bounds); /* 0 is in every range */
    const size_t count = values && bounds ? list_values(graph, values) : 0;
    struct ranges ranges = {values, bounds, count > 0 ? bounds + limit : NULL};
    struct observation observation = {graph, &ranges, count};
    int rc = count > 0 ? with_host(graph, observe, &observation, err) : -ENOMEM;

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

struct made {
    struct pith_graph **graph;
    const char *options; /* of the technique, JSON */
};

/* The technique decides, as `pith compress` would have it. */
static int apply_technique(const struct pith_technique_host *host,
                           const struct pith_plugins *plugins, void *argument,
                           struct pith_error *err)
{
    const struct made *how = argument;
    struct pith_graph **graph = how->graph, *made = NULL;
    const struct pith_plugin *quantize = NULL;
    struct pith_options options = {0};
    json_t *wanted = json_loads(how->options, 0, NULL);
    int rc = pith_plugins_find(plugins, PITH_KIND_TECHNIQUE, "quantize", &quantize, err);

    if (rc == 0)
        rc = pith_options_from_json(&options, quantize->options, wanted, "quantize", err);
    json_decref(wanted);
    if (rc == 0) {
        const struct pith_technique_ops *ops = quantize->ops;
        const struct pith_technique_job job = {.size_bytes = sizeof job,
                                               .host = &host->host,
                                               .options = options.values,
                                               .seed = 1,
                                               .accuracy_drop_points = -1};

        rc = ops->apply(&job, *graph, &made, NULL, err);
    }
    if (rc == 0) {
        pith_graph_free(*graph);
        *graph = made;
    }
    pith_options_done(&options);
    return rc;
}

static int make_integers(const char *name, const char *type, struct pith_graph **graph,
                         struct pith_error *err)
{
    const bool words = strcmp(type, "w8a16") == 0;
    struct made made = {graph, words ? "{\"activations\": \"int16\"}" : "{}"};

    /* mobilenetv3: of gates and of HardSwish the technique knows more than quantize() */
    return words || net_sequences(name) || strcmp(name, "mobilenetv3") == 0
               ? with_host(*graph, apply_technique, &made, err)
               : quantize(*graph, err);
}

int main(int argc, char **argv)
{
    struct pith_graph *graph = NULL;
    struct pith_error err = {0};
    int rc;

    if (argc != 4 || (strcmp(argv[2], "float32") != 0 && strcmp(argv[2], "int8") != 0 &&
                      strcmp(argv[2], "w8a16") != 0)) {
        (void) fprintf(stderr, "usage: make_model NAME float32|int8|w8a16 FILE\n");
        return 2;
    }
    rc = make_float(argv[1], &graph, &err);
    if (rc == 0 && strcmp(argv[2], "float32") != 0)
        rc = make_integers(argv[1], argv[2], &graph, &err);
    if (rc == 0)
        rc = pith_onnx_save(graph, argv[3], NULL, &err);
    pith_graph_free(graph);
    if (rc < 0)
        (void) fprintf(stderr, "make_model: %s\n", pith_error_text(&err));
    return rc < 0;
}
