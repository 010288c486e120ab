/* The one door for files of graphs: ONNX and TensorFlow Lite, told apart by their first bytes and not by their names. */
#ifndef PITH_FORMATS_OPEN_H
#define PITH_FORMATS_OPEN_H

#include <pith/graph.h>

/* Maps path and reads it; a name that ends in .zst is unpacked into memory, up to limit_bytes. The graph is validated and
 * its shapes are inferred as far as they are known. Constants lie in the mapping, so the file must not be changed while the
 * graph lives. -EBADMSG for a broken file, -ENOTSUP for an operator, version or type that is unknown: named, with its node. */
int pith_graph_open(struct pith_graph **out, const char *path, size_t limit_bytes, struct pith_error *err) PITH_CHECKED;
/* The same from memory, which is copied. */
int pith_graph_parse(struct pith_graph **out, const void *data, size_t bytes, struct pith_error *err) PITH_CHECKED;

#endif
