/* TensorFlow Lite files -> graphs, by a bounded walker over the mapped bytes: no generated code, and weights are copied
 * only where their axes must change places (or their type: float16 becomes float32, sparse becomes dense).
 *
 * The graph has ONNX's operators and its order of axes (channels second); inputs and outputs keep the file's names, types and
 * shapes (channels last). Quantized tensors become quantized values; an input or output that is stored as integers stays so,
 * with DequantizeLinear behind it or QuantizeLinear before it. Of a file with several sub-graphs the first is read. State
 * that an interpreter keeps between calls begins at zero in every run of a recurrent layer; that of variables goes in and comes
 * out (tflite_variables.c), and metadata "pith.state" says which output is which input: a JSON object of names. */
#ifndef PITH_FORMATS_TFLITE_H
#define PITH_FORMATS_TFLITE_H

#include "libpith/graph/graph_internal.h"

/* Whether the bytes begin as such a file does. */
bool pith_is_tflite(const uint8_t *data, size_t bytes);
/* data: the backing's. The graph is validated, and its shapes are inferred as far as they are known. -EBADMSG for a broken
 * file, -ENOTSUP for an operator, or a form of one, that is not read: named, with its place in the file. */
int pith_tflite_read(struct pith_graph **out, struct pith_backing *backing, const uint8_t *data, size_t bytes,
                     struct pith_error *err) PITH_CHECKED;

#endif
