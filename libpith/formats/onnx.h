/* ONNX files <-> graphs, by a bounded walker over the mapped bytes: weights are not copied.
 * Reads opset 9 to 21 and those of the older forms of operators that mean the same (ir_version up to 10). What is newer is
 * read as far as its operators are known, with metadata "pith.warning". Every numeric form of TensorProto, sub-graphs.
 * External data is refused: a model is one file here. Constant nodes and constants that are listed as inputs become
 * constants. raw_data stays where it lies in the file, so a constant may be unaligned (pith_tensor_aligned) and the file
 * must not be changed while the graph lives; tensors under 4 KiB are copied where they are unaligned.
 * QuantizeLinear / DequantizeLinear pairs become values' quantization on the way in and come back on the way out. */
#ifndef PITH_FORMATS_ONNX_H
#define PITH_FORMATS_ONNX_H

#include "libpith/base/buffer.h"
#include "libpith/formats/open.h"
#include <pith/graph.h>

/* The names of before the one door; both read every format. */
#define pith_onnx_open  pith_graph_open
#define pith_onnx_parse pith_graph_parse
/* Appends the file's bytes to *out. The same graph gives the same bytes. Opset as in the graph, raised to 13 for
 * quantization and bfloat16, and to 21 for int4, int16 or blocks. */
int pith_onnx_write(const struct pith_graph *graph, struct pith_buffer *out, struct pith_error *err) PITH_CHECKED;
/* Writes path whole or not at all; compresses where path ends in .zst. out_bytes: may be NULL. */
int pith_onnx_save(const struct pith_graph *graph, const char *path, size_t *out_bytes, struct pith_error *err) PITH_CHECKED;

/* A serialized TensorProto, as in the official operator cases. Freed with pith_tensor_free. name: may be NULL; else
 * receives the tensor's name, freed with free(). */
int pith_onnx_parse_tensor(struct pith_tensor *out, char **name, const void *data, size_t bytes,
                           struct pith_error *err) PITH_CHECKED;

#endif
