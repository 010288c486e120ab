/* Operators of ONNX Runtime's own domain (com.microsoft), and ONNX's QLinear ones, as nodes of standard operators that mean
 * the same: quantized ones become QuantizeLinear and DequantizeLinear around the operator on floats, which then fold. */
#ifndef PITH_FORMATS_ONNX_DISSOLVE_H
#define PITH_FORMATS_ONNX_DISSOLVE_H

#include <pith/graph.h>

/* All of a graph, sub-graphs too. What has no such form (scales that are no constants, options that nothing standard has)
 * stays as it is, to be refused by its name. graph: validated; *out_changed: it is to be validated again. -ENOMEM. */
int onnx_dissolve(struct pith_graph *graph, bool *out_changed, struct pith_error *err);

/* ---- among the files of this room's onnx_dissolve_*.c ---- */

/* A node that is being replaced. The first fault stays in rc; behind it every call does nothing. */
struct dissolving {
    struct pith_graph *graph;
    uint32_t node;
    int rc;
};

/* Makes nodes that do what the node does, and says so with dissolve_give. False: it made none, as it can't. */
typedef bool dissolve_make(struct dissolving *d);

struct dissolve_row {
    const char *op, *domain;
    dissolve_make *make;
};
extern const struct dissolve_row dissolve_quantized[], dissolve_floats[], dissolve_dynamic[], dissolve_attentions[]; /* a {0} ends each */

/* The node's input, or PITH_NO_VALUE. */
uint32_t dissolve_in(const struct dissolving *d, size_t index);
/* Its constant, or NULL. */
const struct pith_tensor *dissolve_constant(const struct dissolving *d, size_t index);
int64_t dissolve_opset(const struct dissolving *d);
/* New nodes with one output of that type, which is returned. out_node: may be NULL. */
uint32_t dissolve_node(struct dissolving *d, const char *op, const uint32_t *inputs, size_t count, int32_t dtype,
                       uint32_t *out_node);
uint32_t dissolve_one(struct dissolving *d, const char *op, uint32_t x);
uint32_t dissolve_two(struct dissolving *d, const char *op, uint32_t a, uint32_t b);
uint32_t dissolve_number(struct dissolving *d, float number);
uint32_t dissolve_add_constant(struct dissolving *d, const struct pith_tensor *tensor);
void dissolve_set_int(struct dissolving *d, uint32_t node, const char *name, int64_t number);
void dissolve_set_ints(struct dissolving *d, uint32_t node, const char *name, const int64_t *list, size_t count);
/* The node's attributes, but for those that are named (NULL ends the list). */
void dissolve_copy_attributes(struct dissolving *d, uint32_t to, const char *const *but);
/* The node's output is `value` from here on, under its name. */
void dissolve_give(struct dissolving *d, size_t output, uint32_t value);
/* Whether anything uses the node's output. */
bool dissolve_wanted(const struct dissolving *d, size_t output);

#endif
