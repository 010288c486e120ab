/* What the files of the ONNX reader share. */
#ifndef PITH_FORMATS_ONNX_READ_H
#define PITH_FORMATS_ONNX_READ_H

#include "libpith/formats/onnx_tensor.h"
#include "libpith/formats/protobuf.h"
#include "libpith/graph/graph_internal.h"

struct onnx_reader { /* of one model */
    struct pith_backing *backing; /* the file's bytes */
    struct proto model;
    bool has_functions;
};

struct onnx_scope { /* the graph that is being read, and those around it */
    struct onnx_reader *reader;
    struct onnx_scope *around; /* NULL: the model's own graph */
    struct pith_graph *graph;
    int depth;
};

/* A whole model: data is the backing's. The graph is validated, and its shapes are inferred. */
int onnx_read_model(struct pith_graph **out, struct pith_backing *backing, const uint8_t *data, size_t bytes,
                    struct pith_error *err);
/* Makes scope->graph from a GraphProto. On failure it is NULL or half made, and to be freed all the same. */
int onnx_read_graph(struct onnx_scope *scope, struct proto message, struct pith_error *err);
/* One AttributeProto into the node. what: the node, for messages; those from inside a sub-graph name a node there. */
int onnx_read_attribute(struct onnx_scope *scope, uint32_t node, struct proto message,
                        const char *what, struct pith_error *err);
/* The attributes of a Constant node -> the value's constant. what: the node, for messages. */
int onnx_read_constant_node(struct onnx_scope *scope, uint32_t value, struct proto node,
                            const char *what, struct pith_error *err);
/* A tensor that was read becomes the value's constant; *tensor is emptied. */
int onnx_give_constant(struct onnx_scope *scope, uint32_t value, struct onnx_tensor *tensor,
                       struct pith_error *err);

#endif
