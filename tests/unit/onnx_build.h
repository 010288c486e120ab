/* Small ONNX files made field by field, right ones and wrong ones. */
#ifndef PITH_TESTS_ONNX_BUILD_H
#define PITH_TESTS_ONNX_BUILD_H

#include "libpith/formats/onnx_fields.h"
#include "libpith/formats/protobuf.h"
#include <pith/tensor.h>

static inline void put_dims(struct pith_buffer *out, uint32_t field, const int64_t *dims,
                            size_t rank)
{
    for (size_t i = 0; i < rank; i++)
        proto_put_int(out, field, dims[i]);
}

/* An initializer with raw_data. */
static inline void put_raw(struct pith_buffer *graph, const char *name, int32_t dtype,
                           const int64_t *dims, size_t rank, const void *data, size_t bytes)
{
    size_t begun = proto_begin(graph);

    put_dims(graph, TENSOR_DIMS, dims, rank);
    proto_put_int(graph, TENSOR_DATA_TYPE, dtype);
    proto_put_text(graph, TENSOR_NAME, name);
    proto_put_bytes(graph, TENSOR_RAW_DATA, data, bytes);
    proto_end(graph, GRAPH_INITIALIZER, begun);
}

/* The next word of a list parted by commas, which may be empty. false past the last. */
static inline bool next_word(const char **list, char *word, size_t bytes)
{
    size_t length;

    if (!*list)
        return false;
    length = strcspn(*list, ",");
    (void) snprintf(word, bytes, "%.*s", (int) length, *list);
    *list = (*list)[length] ? *list + length + 1 : NULL;
    return true;
}

/* inputs, outputs: names parted by commas. What follows up to proto_end(graph, GRAPH_NODE, ...) are
 * its attributes. */
static inline size_t begin_node(struct pith_buffer *graph, const char *op, const char *name,
                                const char *inputs, const char *outputs)
{
    size_t begun = proto_begin(graph);
    char word[64];

    while (next_word(&inputs, word, sizeof word))
        proto_put_text(graph, NODE_INPUT, word);
    while (next_word(&outputs, word, sizeof word))
        proto_put_text(graph, NODE_OUTPUT, word);
    proto_put_text(graph, NODE_NAME, name);
    proto_put_text(graph, NODE_OP_TYPE, op);
    return begun;
}

static inline void put_node(struct pith_buffer *graph, const char *op, const char *name,
                            const char *inputs, const char *outputs)
{
    proto_end(graph, GRAPH_NODE, begin_node(graph, op, name, inputs, outputs));
}

static inline void put_int_attribute(struct pith_buffer *node, const char *name, int64_t value)
{
    size_t begun = proto_begin(node);

    proto_put_text(node, ATTRIBUTE_NAME, name);
    proto_put_int(node, ATTRIBUTE_I, value);
    proto_put_int(node, ATTRIBUTE_TYPE, 2);
    proto_end(node, NODE_ATTRIBUTE, begun);
}

/* field: GRAPH_INPUT, GRAPH_OUTPUT or GRAPH_VALUE_INFO. */
static inline void put_value(struct pith_buffer *graph, uint32_t field, const char *name,
                             int32_t dtype, const int64_t *dims, size_t rank)
{
    size_t begun = proto_begin(graph);
    size_t type;
    size_t tensor;
    size_t shape;

    proto_put_text(graph, VALUE_INFO_NAME, name);
    type = proto_begin(graph);
    tensor = proto_begin(graph);
    proto_put_int(graph, TENSOR_TYPE_ELEMENT, dtype);
    shape = proto_begin(graph);
    for (size_t i = 0; i < rank; i++) {
        size_t dim = proto_begin(graph);

        proto_put_int(graph, DIM_VALUE, dims[i]);
        proto_end(graph, SHAPE_DIM, dim);
    }
    proto_end(graph, TENSOR_TYPE_SHAPE, shape);
    proto_end(graph, TYPE_TENSOR, tensor);
    proto_end(graph, VALUE_INFO_TYPE, type);
    proto_end(graph, field, begun);
}

/* What stands around the graph: begin, then the GraphProto's fields, then end. */
static inline size_t begin_model(struct pith_buffer *out)
{
    proto_put_int(out, MODEL_IR_VERSION, 8);
    return proto_begin(out);
}

static inline void end_model(struct pith_buffer *out, size_t begun, int64_t opset)
{
    size_t entry;

    proto_end(out, MODEL_GRAPH, begun);
    entry = proto_begin(out);
    proto_put_text(out, OPSET_DOMAIN, "");
    proto_put_int(out, OPSET_VERSION, opset);
    proto_end(out, MODEL_OPSET_IMPORT, entry);
}

#endif
