/* One TensorProto or SparseTensorProto -> a tensor, in place where that can be. */
#ifndef PITH_FORMATS_ONNX_TENSOR_H
#define PITH_FORMATS_ONNX_TENSOR_H

#include "libpith/formats/protobuf.h"
#include <pith/tensor.h>

struct onnx_tensor {
    struct pith_tensor tensor;
    bool owned;        /* tensor.data is of pith_tensor_alloc; else it lies in the message */
    struct proto name; /* in the message */
};

/* -EBADMSG where the message is broken or its values don't match its shape, -ENOTSUP for strings and external data. */
int onnx_read_tensor(struct onnx_tensor *out, struct proto message, struct pith_error *err);
/* Dense, and owned. */
int onnx_read_sparse(struct onnx_tensor *out, struct proto message, struct pith_error *err);
void onnx_tensor_done(struct onnx_tensor *tensor);

/* A name as text, malloc'ed: UTF-8 without a zero byte, else -EBADMSG. */
int onnx_text(char **out, struct proto bytes, struct pith_error *err);

#endif
