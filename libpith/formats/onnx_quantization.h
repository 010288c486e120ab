/* QuantizeLinear and DequantizeLinear nodes <-> values' quantization. README.md has the rules. */
#ifndef PITH_FORMATS_ONNX_QUANTIZATION_H
#define PITH_FORMATS_ONNX_QUANTIZATION_H

#include <pith/graph.h>

/* Folds what can be folded, in sub-graphs too, and leaves the other nodes as they are. graph: validated. */
int onnx_fold_quantization(struct pith_graph *graph, struct pith_error *err);
/* The other way round, for writing: afterwards no value of the graph or its sub-graphs is quantized. Each quantized
 * constant keeps its name on the output of its DequantizeLinear, each quantized activation on that of its pair. */
int onnx_unfold_quantization(struct pith_graph *graph, struct pith_error *err);

#endif
