/* libFuzzer target: a file of a graph, compiled and run by the engine native as the worker does it,
 * with what it may compute and keep bounded, on numbers from the file's own bytes. */
#include "libpith/formats/open.h"
#include "libpith/plugin/plugins.h"
#include "tests/fuzz/fuzz.h"

#include <pith/engine.h>

#define MOST_INPUTS   8
#define MOST_OUTPUTS  16
#define MOST_ELEMENTS 4096 /* of an input */
#define MOST_MACS     1000000

/* A body may go round for as long as it likes; a deadline ends that in the worker. */
static bool goes_round(const struct pith_graph *graph)
{
    size_t count;
    const uint32_t *order = pith_graph_order(graph, &count);

    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < pith_node_attribute_count(graph, order[i]); k++)
            if (pith_node_attribute_kind(graph, order[i], k) == PITH_ATTRIBUTE_GRAPH)
                return true;
    return false;
}

static bool make_inputs(const struct pith_graph *graph, const uint8_t *data, size_t bytes,
                        struct pith_tensor *inputs, struct pith_shape *shapes)
{
    struct pith_error err = {0};

    for (size_t i = 0; i < pith_graph_input_count(graph); i++) {
        const uint32_t value = pith_graph_input(graph, i);
        const struct pith_shape *shape = pith_value_shape(graph, value);

        if (!shape)
            return false;
        shapes[i] = *shape;
        for (uint32_t axis = 0; axis < shape->rank; axis++)
            if (shapes[i].dim[axis] < 0)
                shapes[i].dim[axis] = 1 + data[(i + axis) % bytes] % 4;
        if (pith_shape_elements(&shapes[i]) < 0 ||
            pith_shape_elements(&shapes[i]) > MOST_ELEMENTS ||
            pith_tensor_alloc(&inputs[i], pith_value_dtype(graph, value), &shapes[i], &err) < 0)
            return false;
        for (int64_t k = 0; k < pith_shape_elements(&shapes[i]); k++)
            pith_tensor_set(&inputs[i], k, (double) data[(size_t) k % bytes] / 16.0 - 4.0);
    }
    return true;
}

static void run(struct pith_graph *graph, const uint8_t *data, size_t bytes,
                const struct pith_engine_ops *engine)
{
    const struct pith_option_value values[3] = {
        {.integer = 0}, {.integer = 16}, {.integer = data[0] % 2}};
    struct pith_tensor inputs[MOST_INPUTS] = {0}, outputs[MOST_OUTPUTS];
    struct pith_shape shapes[MOST_INPUTS];
    const struct pith_engine_options options = {
        .size_bytes = sizeof options, .threads = 1, .input_shapes = shapes, .options = values};
    struct pith_graph_size size;
    struct pith_session *session;
    struct pith_error err = {0};

    if (make_inputs(graph, data, bytes, inputs, shapes) &&
        fuzz_took(pith_graph_infer(graph, shapes, &err), "inference", &err)) {
        pith_graph_measure(graph, &size);
        if (size.macs < MOST_MACS &&
            fuzz_took(engine->compile(NULL, graph, &options, &session, &err), "compile", &err)) {
            for (int i = 0; i < 2; i++)
                (void) fuzz_took(engine->run(session, inputs, pith_graph_input_count(graph),
                                             outputs, pith_graph_output_count(graph), &err),
                                 "run", &err);
            engine->close(session);
        }
    }
    for (size_t i = 0; i < MOST_INPUTS; i++)
        pith_tensor_free(&inputs[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct pith_plugins *plugins; /* for ever */
    static const struct pith_plugin *native;
    struct pith_graph *graph;
    struct pith_error err = {0};

    if (!native && (pith_plugins_open(&plugins, NULL, &err) < 0 ||
                    pith_plugins_find(plugins, PITH_KIND_ENGINE, "native", &native, &err) < 0))
        fuzz_complain("the engine native", &err);
    if (bytes < 1 || !fuzz_took(pith_graph_parse(&graph, data, bytes, &err), "graph", &err))
        return 0;
    if (pith_graph_input_count(graph) <= MOST_INPUTS &&
        pith_graph_output_count(graph) <= MOST_OUTPUTS && !goes_round(graph))
        run(graph, data, bytes, native->ops);
    pith_graph_free(graph);
    return 0;
}
