/* What the infer functions of the operator table share: a node's inputs as types, shapes and integers known before a
 * run, refusals that name the node, and setting what comes out. Private to the operator table. */
#ifndef PITH_GRAPH_INFER_H
#define PITH_GRAPH_INFER_H

#include "libpith/graph/operator.h"

/* Shape arithmetic is done on at most so many integers; more is data. */
#define KNOWN_MAX_COUNT 256
/* This element isn't known. INT64_MIN itself is in use, as the end of a backward slice. */
#define KNOWN_NOT (INT64_MIN + 4711)

/* Integers of a small tensor. */
struct known {
    struct pith_shape shape;
    int64_t count;
    int64_t v[KNOWN_MAX_COUNT]; /* KNOWN_NOT where not known */
};

/* What is known of each value of one graph: a slot a value, NULL where nothing is. */
struct known_table {
    struct known **slots;
    uint32_t count;
};

struct infer {
    struct pith_graph *graph;
    uint32_t node;
    int64_t opset;
    const struct pith_operator *op;
    struct known_table *table; /* NULL: only constants are known */
    struct pith_error *err;
    unsigned depth; /* of sub-graphs */
};

/* "node "conv1" (Conv): " and the sentence; returns -EINVAL. */
int infer_fail(const struct infer *in, const char *format, ...) PITH_PRINTF(2, 3) PITH_CHECKED;

/* ---- inputs ---- */
size_t infer_input_count(const struct infer *in);
bool infer_has(const struct infer *in, size_t input);
/* PITH_DTYPE_NONE where omitted or not known; float32 for a quantized value. */
int32_t infer_dtype(const struct infer *in, size_t input);
/* NULL where omitted or not even the rank is known. */
const struct pith_shape *infer_shape(const struct infer *in, size_t input);
/* The shape as text, "?" where it isn't known; returns text. */
const char *infer_text(const struct infer *in, size_t input, char *text);
/* False where nothing is known of the integers of that input. */
bool infer_known(const struct infer *in, size_t input, struct known *out);
/* The same, where every element is known and the rank is at most 1. */
bool infer_ints(const struct infer *in, size_t input, struct known *out);
/* Numbers of a constant input; false where it isn't one or has more than `limit`. */
bool infer_numbers(const struct infer *in, size_t input, double *out, size_t limit, size_t *out_count);

/* ---- attributes ---- */
int64_t infer_int(const struct infer *in, const char *name, int64_t otherwise);
bool infer_attribute(const struct infer *in, const char *name);
/* The attribute's integers as `known` of rank 1. False where there is no such attribute. -EINVAL is for too many. */
int infer_int_list(const struct infer *in, const char *name, struct known *out, bool *out_given) PITH_CHECKED;
/* Axes from the attribute, or from input `input` where the operator has them there. *out_given false: left out.
 * *out_known false: given, with integers that are only known in a run. */
int infer_axes(const struct infer *in, const char *name, size_t input, struct known *out, bool *out_given,
               bool *out_known) PITH_CHECKED;
/* axis in -rank .. rank - 1 to 0 .. rank - 1. */
int infer_axis(const struct infer *in, int64_t axis, uint32_t rank, uint32_t *out) PITH_CHECKED;
/* All axes, as a mask of bits, each named once. */
int infer_axis_mask(const struct infer *in, const struct known *axes, uint32_t rank, uint32_t *out_mask) PITH_CHECKED;

/* ---- shapes ---- */
/* a * b and a + b for non-negative sizes; PITH_DIM_UNKNOWN where one is unknown. Refused past PITH_TENSOR_MAX_BYTES. */
int infer_multiply(const struct infer *in, int64_t a, int64_t b, int64_t *out) PITH_CHECKED;
int infer_add(const struct infer *in, int64_t a, int64_t b, int64_t *out) PITH_CHECKED;
/* The rank of an input is one of min .. max, where it is known. */
int infer_rank(const struct infer *in, size_t input, const char *what, uint32_t min, uint32_t max) PITH_CHECKED;
bool infer_dims_clash(int64_t a, int64_t b); /* both known and unequal */
/* Broadcasts `shape` into *out, which starts as a scalar. */
int infer_broadcast_shape(const struct infer *in, const struct pith_shape *shape, struct pith_shape *out) PITH_CHECKED;
/* Broadcasts the inputs first .. first + count - 1; *out_known false where the rank of one isn't known. */
int infer_broadcast(const struct infer *in, size_t first, size_t count, struct pith_shape *out,
                    bool *out_known) PITH_CHECKED;

/* ---- outputs ---- */
/* dtype NONE or shape NULL: not known. An output that the node leaves out is ignored. */
int infer_set(struct infer *in, size_t output, int32_t dtype, const struct pith_shape *shape) PITH_CHECKED;
int infer_know(struct infer *in, size_t output, const struct known *known) PITH_CHECKED;

/* ---- sub-graphs ---- */
struct pith_graph *infer_body(const struct infer *in, const char *name); /* NULL where the node has none */
/* Types of the inputs are set; captures are taken from the graph around, then the body's nodes are inferred. */
int infer_run_body(struct infer *in, struct pith_graph *body) PITH_CHECKED;

/* ---- families, by file ---- */
typedef int infer_function(struct infer *in);
/* operator_elementwise.c */
infer_function infer_same, infer_same_bool, infer_variadic, infer_compare, infer_where, infer_prelu, infer_cast, infer_cast_like,
    infer_dropout, infer_clip;
/* operator_window.c */
infer_function infer_conv, infer_conv_transpose, infer_conv_integer, infer_qlinear_conv, infer_deform_conv, infer_pool,
    infer_global_pool, infer_max_unpool, infer_col2im, infer_roi_pool, infer_roi_align;
/* operator_matmul.c */
infer_function infer_matmul, infer_gemm, infer_matmul_integer, infer_qlinear_matmul, infer_einsum, infer_det;
/* operator_reduce.c */
infer_function infer_reduce, infer_arg, infer_topk, infer_cumsum;
/* operator_movement.c */
infer_function infer_concat, infer_split, infer_slice, infer_transpose, infer_tile, infer_expand, infer_pad, infer_depth_to_space,
    infer_space_to_depth, infer_reverse_sequence, infer_center_crop_pad, infer_trilu;
/* operator_index.c */
infer_function infer_gather, infer_gather_elements, infer_gather_nd, infer_scatter_elements, infer_scatter_nd, infer_one_hot,
    infer_compress, infer_non_zero, infer_unique, infer_nms, infer_tfidf;
/* operator_shape.c */
infer_function infer_shape_op, infer_size, infer_reshape, infer_flatten, infer_squeeze, infer_unsqueeze, infer_range,
    infer_constant_of_shape, infer_constant_op, infer_eye_like;
/* operator_normalization.c */
infer_function infer_softmax, infer_batch_normalization, infer_layer_normalization, infer_channel_normalization, infer_loss;
/* operator_resize.c */
infer_function infer_resize, infer_upsample, infer_grid_sample, infer_affine_grid;
/* operator_recurrent.c */
infer_function infer_recurrent;
/* operator_quantization.c */
infer_function infer_quantize, infer_dequantize, infer_dynamic_quantize;
/* operator_signal.c */
infer_function infer_window_function, infer_dft, infer_stft, infer_mel_weight_matrix;
/* operator_control.c */
infer_function infer_if, infer_loop, infer_scan;
/* known.c */
infer_function know_same, know_shape, know_size, know_gather, know_slice, know_concat, know_reshaped, know_arithmetic, know_range,
    know_constant_of_shape, know_where, know_reduce, know_transpose, know_cast, know_expand,
    know_split, know_unary, know_constant;

#endif
