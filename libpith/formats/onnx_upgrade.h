/* A graph of an older opset -> one of a newer opset that computes the same. */
#ifndef PITH_FORMATS_ONNX_UPGRADE_H
#define PITH_FORMATS_ONNX_UPGRADE_H

#include <pith/graph.h>

/* Changes each node whose meaning changed between the graph's opset and `opset`, and then the graph's opset.
 * -ENOTSUP naming the node where there is no form with the same meaning. */
int onnx_upgrade(struct pith_graph *graph, int64_t opset, struct pith_error *err);

#endif
