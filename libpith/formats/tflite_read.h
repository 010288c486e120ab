/* What the files of the TensorFlow Lite reader share: the tensors of a file as values of a graph, and one operator at a time
 * being translated.
 *
 * TensorFlow Lite keeps channels last, the graph keeps them second. A tensor may have two values: `plain`, its axes in the
 * file's order, and `planar`, the last axis moved to the second place. An operator asks for the one that it needs; where a
 * tensor has only the other, a Transpose (or a Reshape, where no element moves) is put in between, once. So activations stay
 * planar from convolution to convolution, and what lies at the edge of the graph is plain, as the file says. */
#ifndef PITH_FORMATS_TFLITE_READ_H
#define PITH_FORMATS_TFLITE_READ_H

#include "libpith/formats/flatbuffer.h"
#include "libpith/formats/tflite_fields.h"
#include "libpith/graph/arena.h"
#include "libpith/graph/graph_internal.h"

#define TFLITE_MOST_PORTS 1024 /* inputs, or outputs, of one operator: concatenations have dozens */
#define TFLITE_NO_TENSOR  (-1)

enum tflite_form { FORM_PLAIN, FORM_PLANAR, FORM_COUNT };

struct tflite_tensor {
    const char *name; /* in the arena; "" where it has none */
    int32_t dtype;    /* as stored */
    struct pith_shape shape; /* the file's order; PITH_DIM_UNKNOWN where its signature leaves a size open */
    bool is_interface;       /* an input or output of the model: its name is kept for that */
    bool is_variable;
    uint32_t variable; /* of a handle: reader->variables[variable - 1]; 0: it is none */
    /* Of a constant: its elements, in the file or, where `own`, from pith_tensor_alloc. data NULL: no constant. */
    struct pith_tensor constant;
    bool own;
    /* count 0: not quantized. Arrays in the arena. axis counts in the file's order. */
    struct pith_quantization quantization;
    uint32_t value[FORM_COUNT]; /* PITH_NO_VALUE: not made */
    enum tflite_form home;      /* the form that was made first */
};

struct tflite_reader { /* of one file */
    struct flat file;
    struct flat_table model;
    struct pith_backing *backing;
    struct pith_graph *graph;
    struct arena arena;
    struct tflite_tensor *tensors;
    uint32_t tensor_count;
    /* Vectors may lie in many tables at once: what is copied of them, and what operators name, is counted here. */
    uint64_t copy_bytes_left;
    uint64_t ports_left;
    struct tflite_variable *variables; /* in the arena */
    uint32_t variable_count;
    bool called_once; /* a sub-graph that sets them up was seen */
};

/* ---- tflite_tensor.c: the file's tensors ---- */
/* Types, shapes, quantizations and constants of all tensors of the sub-graph, into reader->tensors. */
int tflite_read_tensors(struct tflite_reader *reader, struct flat_table subgraph, struct pith_error *err);
void tflite_free_tensors(struct tflite_reader *reader);
/* Whether its integers stand for reals to the operators: int32 and int64 with a scale are sums or counts. */
bool tflite_on_grid(const struct tflite_tensor *tensor);
/* "tensor 12 ("conv/Relu")", for sentences. */
const char *tflite_tensor_text(const struct tflite_reader *reader, int32_t tensor, char *text, size_t text_bytes);
#define TFLITE_TENSOR_TEXT_BYTES 160
/* What a sparse tensor stands for; own memory. */
int tflite_densify(struct tflite_reader *reader, struct flat_table sparsity, const struct pith_tensor *stored,
                   struct pith_tensor *out, struct pith_error *err);
/* Takes `bytes` from what may be copied; -EBADMSG where that is more than a sane file asks for. */
int tflite_count_copy(struct tflite_reader *reader, uint64_t bytes, struct pith_error *err);
/* out[i] = in at the index whose axis perm[k] is axis k of out; own memory. */
int tflite_permute(struct tflite_reader *reader, const struct pith_tensor *in, const uint32_t *perm,
                   struct pith_tensor *out, struct pith_error *err);

/* ---- one operator being translated ---- */
struct tflite_operator; /* its row in the table */

/* The first fault stays in `rc` and `*err`; from then on every call below does nothing and gives PITH_NO_VALUE or
 * PITH_NO_NODE, which the others take, so that a translation reads without a check after each line. */
struct tflite_node {
    struct tflite_reader *reader;
    const struct tflite_operator *row;
    uint32_t index; /* of the operator in the file */
    struct flat_table options;
    struct flat_vector custom_options; /* bytes, of a custom operator */
    const int32_t *inputs, *outputs; /* tensors, or TFLITE_NO_TENSOR; checked */
    uint32_t input_count, output_count;
    uint32_t emitted; /* nodes so far, for their names */
    int rc;
    struct pith_error *err;
};

typedef void tflite_translate(struct tflite_node *node);

struct tflite_operator {
    int32_t code;     /* BuiltinOperator; TFLITE_CUSTOM: the custom operator of that name */
    const char *name; /* "CONV_2D" */
    tflite_translate *translate;
    uint8_t options; /* the table that its options must be, or OPTIONS_NONE where none are read */
    uint8_t min_inputs, min_outputs; /* at least; those below may not be left out. Or: */
#define TFLITE_EVERY_INPUT 255 /* as many as it likes but for none, and none left out */
    const char *op; /* for translations that serve several operators: the ONNX operator */
};

/* Lists of rows, each ending in a NULL name. */
extern const struct tflite_operator tflite_window_operators[], tflite_matrix_operators[], tflite_elementwise_operators[],
    tflite_shape_operators[], tflite_index_operators[], tflite_reduce_operators[], tflite_recurrent_operators[],
    tflite_type_operators[], tflite_variable_operators[], tflite_detection_operators[];

/* Says what is wrong with the operator: "operator 12 (CONV_2D): ...". */
void tflite_fail(struct tflite_node *node, int code, const char *format, ...) PITH_PRINTF(3, 4);

/* ---- tflite_value.c ---- */
/* The tensor's value in that form, made from the other where it must be. Rank below 3 is always plain. */
uint32_t tflite_value(struct tflite_node *node, int32_t tensor, enum tflite_form form);
/* A value for the tensor, which this operator makes; quantized where the tensor is. */
uint32_t tflite_make(struct tflite_node *node, int32_t tensor, enum tflite_form form);
/* The tensor stands for what another does: the same values. */
void tflite_alias(struct tflite_node *node, int32_t tensor, int32_t of);

/* Input i as a tensor of the file; NULL where it is left out. */
const struct tflite_tensor *tflite_input(const struct tflite_node *node, uint32_t i);
const struct tflite_tensor *tflite_output(const struct tflite_node *node, uint32_t i);
/* Input i in that form; PITH_NO_VALUE where it is left out. */
uint32_t tflite_take(struct tflite_node *node, uint32_t i, enum tflite_form form);
/* Input i with its elements in memory in the file's order, whatever its shape: for Reshape. */
uint32_t tflite_take_in_order(struct tflite_node *node, uint32_t i);
/* Input i with axis perm[k] as its axis k; a constant is permuted now. */
uint32_t tflite_take_permuted(struct tflite_node *node, uint32_t i, const uint32_t *perm);
/* Input i as an operand that broadcasts against one of `rank` axes in that form. */
uint32_t tflite_take_broadcast(struct tflite_node *node, uint32_t i, uint32_t rank, enum tflite_form form);
/* A new value for the elements of input i (of output 0) in another shape or order: of its type, on its grid. */
uint32_t tflite_moved(struct tflite_node *node, uint32_t i);
uint32_t tflite_moved_result(struct tflite_node *node);
/* Input i as the integers that are stored, where it is quantized. */
uint32_t tflite_take_integers(struct tflite_node *node, uint32_t i);
uint32_t tflite_result(struct tflite_node *node, uint32_t i, enum tflite_form form);
/* Where a node puts its result so that output 0 is that behind the fused activation. */
uint32_t tflite_result_activated(struct tflite_node *node, int activation, enum tflite_form form);
/* The form in which input i was made; plain where it is a constant or left out. */
enum tflite_form tflite_home(const struct tflite_node *node, uint32_t i);
/* Where the file's axis lies in that form. */
uint32_t tflite_axis_in(enum tflite_form form, uint32_t axis, uint32_t rank);

/* The elements of a constant input of integers, at most `limit`; returns how many, 0 after a fault or where it is left out. */
uint32_t tflite_ints(struct tflite_node *node, uint32_t i, int64_t *out, uint32_t limit);
bool tflite_is_constant(const struct tflite_node *node, uint32_t i);
/* The only element of a constant, as the real that it stands for. */
float tflite_real(struct tflite_node *node, uint32_t i);
/* -rank..rank-1 to 0..rank-1. */
uint32_t tflite_axis(struct tflite_node *node, int64_t axis, uint32_t rank);

/* The bias of a layer whose activation and weights are the inputs `of_input` and `of_weights`. PITH_NO_VALUE where it is
 * left out. */
uint32_t tflite_take_bias(struct tflite_node *node, uint32_t i, uint32_t of_input, uint32_t of_weights);

/* ---- nodes and constants ---- */
uint32_t tflite_temporary(struct tflite_node *node, int32_t dtype);
uint32_t tflite_emit(struct tflite_node *node, const char *op, const uint32_t *inputs, uint32_t input_count,
                     const uint32_t *outputs, uint32_t output_count);
uint32_t tflite_emit1(struct tflite_node *node, const char *op, uint32_t input, uint32_t output);
/* Two inputs and an output, which it returns: for operators without attributes. */
uint32_t tflite_emit2(struct tflite_node *node, const char *op, uint32_t a, uint32_t b, uint32_t output);
/* The same into a new value of that type. */
uint32_t tflite_chain1(struct tflite_node *node, const char *op, uint32_t input, int32_t dtype);
uint32_t tflite_chain2(struct tflite_node *node, const char *op, uint32_t a, uint32_t b, int32_t dtype);
void tflite_set_int(struct tflite_node *node, uint32_t emitted, const char *attribute, int64_t value);
void tflite_set_float(struct tflite_node *node, uint32_t emitted, const char *attribute, float value);
void tflite_set_string(struct tflite_node *node, uint32_t emitted, const char *attribute, const char *value);
void tflite_set_ints(struct tflite_node *node, uint32_t emitted, const char *attribute, const int64_t *values,
                     uint32_t count);
uint32_t tflite_constant_ints(struct tflite_node *node, const int64_t *values, uint32_t count);
uint32_t tflite_constant_int(struct tflite_node *node, int64_t value); /* a scalar */
uint32_t tflite_constant_float(struct tflite_node *node, float value);
uint32_t tflite_cast(struct tflite_node *node, uint32_t input, int32_t to);
/* Returns `output`. */
uint32_t tflite_transpose(struct tflite_node *node, uint32_t input, const uint32_t *perm, uint32_t rank,
                          uint32_t output);
/* Makes `output` by the activation, and returns the new value that it is applied to. */
uint32_t tflite_activate(struct tflite_node *node, int activation, uint32_t output);
/* Q or DQ between what is stored and what operators see. */
void tflite_emit_linear(struct tflite_node *node, const char *op, const struct pith_quantization *grid, uint32_t input,
                        uint32_t output);

/* Numbers of 32 bits from the options of a custom operator. */
void tflite_custom_ints(struct tflite_node *node, int32_t *out, uint32_t count);

/* ---- tflite.c ---- */
#define TFLITE_CUSTOM 32 /* BuiltinOperator CUSTOM */
/* The BuiltinOperator of an operator code. */
int32_t tflite_code_of(struct flat_table code);

/* ---- tflite_variables.c ---- */
/* Outputs for what variables hold at the end, behind all others, and which input each belongs to: metadata "pith.state". */
int tflite_end_variables(struct tflite_reader *reader, struct pith_error *err);

/* ---- tflite_names.c ---- */
/* The name of a built-in operator, known here or not; NULL: there is none with that number. */
const char *tflite_builtin_name(int32_t number);

#endif
