/* pith inspect: layers, shapes, parameters, multiply-accumulates and bytes of a model. */
#include "cli/model.h"
#include "cli/output.h"
#include "libpith/base/names.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Floats and quantized integers weigh; shapes, axes and indices don't. */
static bool is_weight(const struct pith_graph *graph, uint32_t value,
                      const struct pith_tensor *constant)
{
    return constant && constant->shape.rank > 0 &&
           (pith_value_quantization(graph, value) || constant->dtype == PITH_FLOAT32 ||
            constant->dtype == PITH_FLOAT16 || constant->dtype == PITH_BFLOAT16 ||
            constant->dtype == PITH_FLOAT64);
}

/* Elements and bytes of the constants that a node takes. */
static void weigh_node(const struct pith_graph *graph, uint32_t node, uint64_t *out_parameters,
                       uint64_t *out_bytes)
{
    *out_parameters = *out_bytes = 0;
    for (size_t i = 0; i < pith_node_input_count(graph, node); i++) {
        uint32_t value = pith_node_input(graph, node, i);
        const struct pith_tensor *constant =
            value == PITH_NO_VALUE ? NULL : pith_value_constant(graph, value);

        if (!is_weight(graph, value, constant))
            continue;
        *out_parameters += (uint64_t) pith_shape_elements(&constant->shape);
        *out_bytes += constant->bytes;
    }
}

/* "float32 [1,96]", with "int8" where the value is rounded to a grid. */
static void describe_value(const struct pith_graph *graph, uint32_t value, char *text,
                           size_t text_bytes)
{
    const struct pith_quantization *quantization = pith_value_quantization(graph, value);
    const struct pith_shape *shape = pith_value_shape(graph, value);
    char dims[PITH_SHAPE_TEXT_BYTES] = "?";

    if (shape)
        pith_shape_text(shape, dims, sizeof dims);
    (void) snprintf(
        text, text_bytes, "%s %s",
        pith_dtype_name(quantization ? quantization->dtype : pith_value_dtype(graph, value)), dims);
}

/* Where the batch alone is open, the counts are those of one sample: a copy of the graph with that
 * shape, which has the same numbers for nodes. NULL where nothing is open, or more is. */
static struct pith_graph *with_one_sample(const struct pith_graph *graph)
{
    size_t count = pith_graph_input_count(graph);
    struct pith_shape *shapes = calloc(count + 1, sizeof *shapes);
    struct pith_graph *copy = NULL;
    bool open = false, known = shapes != NULL;

    for (size_t i = 0; known && i < count; i++) {
        const struct pith_shape *shape = pith_value_shape(graph, pith_graph_input(graph, i));

        known = shape != NULL;
        if (!known)
            break;
        shapes[i] = *shape;
        if (shape->rank > 0 && shape->dim[0] == PITH_DIM_UNKNOWN) {
            shapes[i].dim[0] = 1;
            open = true;
        }
        known = pith_shape_elements(&shapes[i]) >= 0;
    }
    if (open && known && pith_graph_clone(graph, &copy, NULL) == 0 &&
        pith_graph_infer(copy, shapes, NULL) < 0) {
        pith_graph_free(copy);
        copy = NULL;
    }
    free(shapes);
    return copy;
}

/* counted: what the multiply-accumulates are counted in. */
static json_t *describe_node(const struct pith_graph *graph, const struct pith_graph *counted,
                             uint32_t node)
{
    uint64_t parameters, bytes;
    char output[256] = "";

    weigh_node(graph, node, &parameters, &bytes);
    if (pith_node_output_count(graph, node) && pith_node_output(graph, node, 0) != PITH_NO_VALUE)
        describe_value(graph, pith_node_output(graph, node, 0), output, sizeof output);
    return json_pack("{ss ss ss sI sI sI}", "operator", pith_node_op(graph, node), "name",
                     pith_node_name(graph, node), "output", output, "parameters",
                     (json_int_t) parameters, "macs", (json_int_t) pith_node_macs(counted, node),
                     "bytes", (json_int_t) bytes);
}

static json_t *describe_values(const struct pith_graph *graph, size_t count,
                               uint32_t (*value_at)(const struct pith_graph *graph, size_t index))
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++) {
        char text[256];

        describe_value(graph, value_at(graph, i), text, sizeof text);
        (void) json_array_append_new(
            list,
            json_pack("{ss ss}", "name", pith_value_name(graph, value_at(graph, i)), "type", text));
    }
    return list;
}

static json_t *describe_graph(const struct model *model, size_t index)
{
    const struct pith_graph *graph = model->graphs[index];
    struct pith_graph *one_sample = with_one_sample(graph);
    const struct pith_graph *counted = one_sample ? one_sample : graph;
    struct pith_graph_size size;
    json_t *layers = json_array();
    json_t *described;
    size_t count;
    const uint32_t *order = pith_graph_order(graph, &count);

    for (size_t i = 0; i < count; i++)
        (void) json_array_append_new(layers, describe_node(graph, counted, order[i]));
    pith_graph_measure(counted, &size);
    described = json_pack(
        "{ss ss sI so so so s{sI sI sI sI sI sI sI}}", "graph",
        model->single ? "" : model->manifest->graphs[index].name, "file",
        model_graph_path(model, index), "opset", (json_int_t) pith_graph_opset(graph, ""), "inputs",
        describe_values(graph, pith_graph_input_count(graph), pith_graph_input), "outputs",
        describe_values(graph, pith_graph_output_count(graph), pith_graph_output), "layers", layers,
        "total", "nodes", (json_int_t) size.nodes, "parameters", (json_int_t) size.parameters,
        "nonzero", (json_int_t) size.nonzero, "macs", (json_int_t) size.macs, "weight_bytes",
        (json_int_t) size.weight_bytes, "peak_activation_bytes",
        (json_int_t) size.peak_activation_bytes, "file_bytes",
        (json_int_t) model->file_bytes[index]);
    if (described && one_sample)
        (void) json_object_set_new(json_object_get(described, "total"), "counted_batch",
                                   json_integer(1));
    pith_graph_free(one_sample);
    return described;
}

static void print_layers(const json_t *layers)
{
    struct table *table = table_new(6);
    size_t index;
    json_t *layer;

    table_row(table,
              (const char *const[]){"operator", "name", "output", "parameters", "MACs", "bytes"});
    json_array_foreach(layers, index, layer)
    {
        char figures[3][FIGURE_BYTES];

        table_row(table,
                  (const char *const[]){json_string_value(json_object_get(layer, "operator")),
                                        json_string_value(json_object_get(layer, "name")),
                                        json_string_value(json_object_get(layer, "output")),
                                        figure_count(number_of(layer, "parameters"), figures[0]),
                                        figure_count(number_of(layer, "macs"), figures[1]),
                                        figure_bytes(number_of(layer, "bytes"), figures[2])});
    }
    table_print(table);
    table_free(table);
}

static void print_graph(const json_t *graph)
{
    static const char *const sides[] = {"inputs", "outputs"};
    const json_t *total = json_object_get(graph, "total");
    char figures[6][FIGURE_BYTES];

    printf("%s  opset %" JSON_INTEGER_FORMAT "\n",
           json_string_value(json_object_get(graph, "file")),
           json_integer_value(json_object_get(graph, "opset")));
    for (size_t i = 0; i < 2; i++) {
        size_t index;
        json_t *value;

        json_array_foreach(json_object_get(graph, sides[i]), index, value)
        {
            char name[512];

            (void) snprintf(name, sizeof name, "%s",
                            json_string_value(json_object_get(value, "name")));
            printf("  %-7.*s %s  %s\n", (int) strlen(sides[i]) - 1, sides[i], pith_disarm(name, ""),
                   json_string_value(json_object_get(value, "type")));
        }
    }
    print_layers(json_object_get(graph, "layers"));
    printf("total: %" JSON_INTEGER_FORMAT
           " nodes, %s parameters, %s MACs a run%s, weights %s, file %s, peak activations %s\n",
           json_integer_value(json_object_get(total, "nodes")),
           figure_count(number_of(total, "parameters"), figures[0]),
           figure_count(number_of(total, "macs"), figures[1]),
           json_object_get(total, "counted_batch") ? " of one sample (the batch is open)" : "",
           figure_bytes(number_of(total, "weight_bytes"), figures[2]),
           figure_bytes(number_of(total, "file_bytes"), figures[3]),
           figure_bytes(number_of(total, "peak_activation_bytes"), figures[4]));
}

static int run_inspect(const struct cli_command *command, int argc, char **argv)
{
    bool json = false;
    const struct cli_option options[] = {{"json", CLI_FLAG, &json, NULL, "print JSON"}, {0}};
    struct cli_arguments arguments;
    struct model *model = NULL;
    struct pith_error err = {0};
    json_t *graphs;
    int code = cli_parse(command, (const struct cli_option *const[]){options, NULL}, 1, 1, argc,
                         argv, &arguments);

    if (code != CLI_GO_ON)
        return code;
    if (model_open(&model, arguments.given[0], &err) < 0)
        return cli_fail(&err);
    graphs = json_array();
    for (size_t i = 0; i < PITH_MANIFEST_MAX_GRAPHS && model->graphs[i]; i++) {
        json_t *graph = describe_graph(model, i);

        if (!json) {
            if (i)
                putchar('\n');
            print_graph(graph);
        }
        (void) json_array_append_new(graphs, graph);
    }
    if (json)
        print_json(graphs);
    json_decref(graphs);
    model_close(model);
    return CLI_OK;
}

const struct cli_command command_inspect = {
    .name = "inspect",
    .arguments = "MODEL",
    .summary = "list a model's layers, shapes, parameters, MACs and bytes",
    .text = "MODEL is an ONNX file (.onnx), a TensorFlow Lite file (.tflite), either packed (.zst) "
            "too, or a model's folder.\n"
            "Where the model leaves the batch open, MACs and activations are those of one sample; "
            "where it leaves more open, they are "
            "0.\n\n"
            "example: pith inspect wakeword/embedding.onnx",
    .run = run_inspect,
};
