/* The operator table: what pith knows of each operator of ai.onnx, opset 9 to 21 (and of those
 * older ones that mean the same). One row an operator and range of opsets; whoever asks "is this
 * operator known, how many inputs does it take, what comes out of it" asks here. Running an
 * operator is the kernel table's matter. */
#ifndef PITH_GRAPH_OPERATOR_H
#define PITH_GRAPH_OPERATOR_H

#include <pith/graph.h>

#define PITH_OPERATOR_ANY_COUNT UINT8_MAX /* max_inputs, max_outputs: as many as the node likes */
#define PITH_OPERATOR_NO_UNTIL  UINT8_MAX

enum pith_operator_flag {
    PITH_OPERATOR_MACS = 1,           /* its multiply-accumulates count in pith_node_macs */
    PITH_OPERATOR_DATA_DEPENDENT = 2, /* an output's shape depends on the data of its inputs */
    PITH_OPERATOR_BODY = 4,           /* has sub-graphs */
};

struct infer; /* one node being inferred: libpith/graph/infer.h */

struct pith_operator {
    const char *domain; /* "" for ai.onnx */
    const char *name;
    uint8_t since, until; /* opsets that this row is for, both inclusive */
    uint8_t min_inputs;   /* inputs at or past it may be left out, those below may not */
    uint8_t max_inputs;
    uint8_t min_outputs, max_outputs;
    uint32_t flags;                 /* enum pith_operator_flag */
    uint32_t types;                 /* bit 1 << dtype: what the first input may be; 0: anything */
    uint32_t alike;                 /* bit i: input i must have the first input's type */
    int (*infer)(struct infer *in); /* types and shapes of the outputs */
    int (*know)(struct infer *in);  /* integers that are known before a run; NULL: none */
};

/* The row for an operator at an opset, or NULL where there is none. domain "ai.onnx" is "". */
const struct pith_operator *pith_operator_find(const char *domain, const char *name, int64_t opset);
/* Whether some opset has it: to tell an unknown operator from one of another opset. */
bool pith_operator_exists(const char *domain, const char *name);
/* Row `index` of the table in the order of names, or NULL past its end. */
const struct pith_operator *pith_operator_at(size_t index);
/* The row for a node of the graph, with its numbers of inputs and outputs checked; -ENOTSUP where
 * the operator or its opset is unknown, -EINVAL where the counts are wrong; *err names the node. */
int pith_operator_of_node(const struct pith_graph *graph, uint32_t node,
                          const struct pith_operator **out, struct pith_error *err) PITH_CHECKED;

/* Infers the outputs of one node from the types, shapes and constants that its inputs have now: for
 * an engine that goes through the order folding constants as it goes. Sub-graphs of the node are
 * inferred too. */
int pith_graph_infer_node(struct pith_graph *graph, uint32_t node,
                          struct pith_error *err) PITH_CHECKED;

#endif
