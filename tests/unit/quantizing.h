/* Running the technique quantize in tests, with samples from a fixed draw, seen through the engine
 * native as in a job. */
#ifndef PITH_TESTS_UNIT_QUANTIZING_H
#define PITH_TESTS_UNIT_QUANTIZING_H

#include "libpith/compress/host.h"
#include "libpith/formats/npy.h"
#include "libpith/formats/onnx.h"
#include "libpith/plugin/plugins.h"
#include "tests/testing.h"
#include "tests/unit/nets.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <pith/technique.h>

#define SAMPLES 40

static struct pith_plugins *plugins;
static const struct pith_plugin *quantize, *native;
static struct pith_error err;

static inline int open_plugins(void **unused)
{
    (void) unused;
    if (pith_plugins_open(&plugins, NULL, &err) < 0 ||
        pith_plugins_find(plugins, PITH_KIND_TECHNIQUE, "quantize", &quantize, &err) < 0 ||
        pith_plugins_find(plugins, PITH_KIND_ENGINE, "native", &native, &err) < 0) {
        print_error("%s\n", pith_error_text(&err));
        return -1;
    }
    return 0;
}

static inline int close_plugins(void **unused)
{
    (void) unused;
    pith_plugins_free(plugins);
    return 0;
}

static inline void draw_some(struct pith_samples *samples, const struct pith_graph *graph, int count)
{
    const struct pith_shape *shape = pith_value_shape(graph, pith_graph_input(graph, 0));
    struct pith_tensor x;

    net_seed = 99;
    pith_samples_init(samples, (uint64_t) count, 1);
    assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32, shape, &err), &err);
    for (int i = 0; i < count; i++) {
        for (int64_t k = 0; k < pith_shape_elements(shape); k++)
            ((float *) x.data)[k] = net_uniform();
        assert_ok(pith_samples_offer(samples, &x, 1, &err), &err);
    }
    pith_tensor_free(&x);
}

static inline void draw_samples(struct pith_samples *samples, const struct pith_graph *graph)
{
    draw_some(samples, graph, SAMPLES);
}

/* What the host says of candidates, and the budget that it gives; none unless a test sets them. */
static int (*host_evaluates)(void *user, const struct pith_graph *graph, struct pith_evaluation *out,
                             struct pith_error *err);
static double host_budget = -1;

struct applied {
    struct pith_graph *graph;
    json_t *report;
    struct pith_samples samples;
    struct pith_options engine_options;
    struct pith_technique_host host;
};

/* Takes over the samples. */
static inline int apply_with(const struct pith_graph *graph, const char *options_json,
                             const struct pith_samples *samples, bool calibrated,
                             struct applied *out)
{
    const struct pith_technique_ops *ops = quantize->ops;
    struct pith_options options = {0};
    json_t *object = json_loads(options_json, 0, NULL);
    char *text = NULL;

    *out = (struct applied){.samples = *samples};
    assert_ok(pith_options_from_json(&options, quantize->options, object, "options", &err), &err);
    assert_ok(pith_options_from_json(&out->engine_options, native->options, NULL, "engine", &err),
              &err);
    out->host = (struct pith_technique_host){.engine = native->ops,
                                             .engine_options = out->engine_options.values,
                                             .threads = 1,
                                             .evaluate = host_evaluates,
                                             .samples = calibrated ? &out->samples : NULL};
    pith_technique_host_init(&out->host);
    struct pith_technique_job job = {.size_bytes = sizeof job,
                                     .host = &out->host.host,
                                     .options = options.values,
                                     .seed = 1,
                                     .accuracy_drop_points = host_budget};
    int rc = ops->apply(&job, graph, &out->graph, &text, &err);

    out->report = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    json_decref(object);
    pith_options_done(&options);
    return rc;
}

static inline int apply_to(const struct pith_graph *graph, const char *options_json,
                           bool calibrated, struct applied *out)
{
    struct pith_samples samples;

    draw_samples(&samples, graph);
    return apply_with(graph, options_json, &samples, calibrated, out);
}

static inline void done(struct applied *applied)
{
    pith_graph_free(applied->graph);
    json_decref(applied->report);
    pith_samples_done(&applied->samples);
    pith_options_done(&applied->engine_options);
}

static inline const struct pith_quantization *grid_of(const struct pith_graph *graph,
                                                      const char *value)
{
    uint32_t number = pith_graph_find_value(graph, value);

    assert_int_not_equal(number, PITH_NO_VALUE);
    return pith_value_quantization(graph, number);
}

static inline uint32_t find_node(const struct pith_graph *graph, const char *name)
{
    for (uint32_t node = 0; node < pith_graph_node_limit(graph); node++)
        if (pith_node_exists(graph, node) && !strcmp(pith_node_name(graph, node), name))
            return node;
    fail_msg("no node %s", name);
    return 0;
}

static inline const char *layer_text(const json_t *report, const char *name, const char *key)
{
    const json_t *layer;
    size_t i;

    json_array_foreach(json_object_get(report, "layers"), i, layer)
        if (!strcmp(json_string_value(json_object_get(layer, "node")), name))
            return json_string_value(json_object_get(layer, key));
    return "no such layer";
}

static inline const char *form_of(const json_t *report, const char *name)
{
    return layer_text(report, name, "form");
}

static inline double error_of(const struct applied *applied)
{
    return json_number_value(json_object_get(applied->report, "output_error_ratio"));
}

#endif
