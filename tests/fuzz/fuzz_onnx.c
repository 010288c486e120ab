/* libFuzzer target: bytes -> graph -> bytes -> graph. What is read must be valid, must be written,
 * and what is written must be read again. */
#include "libpith/formats/onnx.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void complain(const char *what, const struct pith_error *err)
{
    fprintf(stderr, "fuzz_onnx: %s: %s\n", what, err->text);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct pith_graph *graph = NULL;
    struct pith_graph *again = NULL;
    struct pith_graph_size size;
    struct pith_buffer file = {0};
    struct pith_error err = {0};

    if (pith_graph_parse(&graph, data, bytes, &err) < 0) {
        if (!err.text[0])
            complain("refused without a word", &err);
        return 0;
    }
    pith_graph_measure(graph, &size);
    if (pith_onnx_write(graph, &file, &err) == 0 &&
        pith_graph_parse(&again, file.data, file.bytes, &err) < 0)
        complain("what was written is refused", &err);
    pith_graph_free(again);
    pith_graph_free(graph);
    pith_buffer_done(&file);
    return 0;
}
