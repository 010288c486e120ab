/* pith convert: a file of one graph, of any format that is read here, as standard ONNX. */
#include "cli/cli.h"
#include "cli/output.h"

#include "libpith/base/names.h"
#include "libpith/formats/onnx.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define GRAPH_MAX_BYTES ((size_t) 1 << 31)

static bool is_onnx_name(const char *path)
{
    static const char *const endings[] = {".onnx", ".onnx.zst"};

    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (pith_ends_with(path, endings[i]))
            return true;
    return false;
}

/* Told from the file as it is read again, which so is known to be readable. */
static int tell(const char *path, size_t bytes, bool json, struct pith_error *err)
{
    struct pith_graph *graph = NULL;
    struct pith_graph_size size;
    char figure[FIGURE_BYTES];
    int rc = pith_graph_open(&graph, path, GRAPH_MAX_BYTES, err);

    if (rc < 0)
        return rc;
    pith_graph_measure(graph, &size);
    if (json) {
        json_t *told = json_pack("{ss sI sI sI}", "file", path, "opset",
                                 (json_int_t) pith_graph_opset(graph, ""), "nodes",
                                 (json_int_t) size.nodes, "bytes", (json_int_t) bytes);

        print_json(told);
        json_decref(told);
    } else {
        printf("%s  opset %lld, %u nodes, %s\n", path, (long long) pith_graph_opset(graph, ""),
               (unsigned) size.nodes, figure_bytes((double) bytes, figure));
    }
    pith_graph_free(graph);
    return 0;
}

static int run_convert(const struct cli_command *command, int argc, char **argv)
{
    bool json = false;
    const struct cli_option options[] = {{"json", CLI_FLAG, &json, NULL, "print JSON"}, {0}};
    struct cli_arguments arguments;
    struct pith_graph *graph = NULL;
    struct pith_error err = {0};
    size_t bytes = 0;
    int code = cli_parse(command, (const struct cli_option *const[]){options, NULL}, 2, 2, argc,
                         argv, &arguments);
    int rc;

    if (code != CLI_GO_ON)
        return code;
    if (!is_onnx_name(arguments.given[1]))
        return cli_usage(command, "OUT must be named .onnx or .onnx.zst");
    rc = pith_graph_open(&graph, arguments.given[0], GRAPH_MAX_BYTES, &err);
    if (rc == 0)
        rc = pith_onnx_save(graph, arguments.given[1], &bytes, &err);
    pith_graph_free(graph);
    if (rc == 0)
        rc = tell(arguments.given[1], bytes, json, &err);
    return rc < 0 ? cli_fail(&err) : CLI_OK;
}

const struct cli_command command_convert = {
    .name = "convert",
    .arguments = "MODEL OUT",
    .summary = "write a TensorFlow Lite or ONNX file as standard ONNX",
    .text = "MODEL is a TensorFlow Lite file (.tflite) or an ONNX file; either may be packed "
            "(.zst). OUT is .onnx or .onnx.zst.\n"
            "Inputs and outputs keep their names, types and shapes. Quantized models come out "
            "with QuantizeLinear and\n"
            "DequantizeLinear, at opset 18, or 21 where 16 or 4 bits need it; an ONNX file keeps "
            "its opset.\n\n"
            "example: pith convert model.tflite model.onnx",
    .run = run_convert,
};
