/* The operator table of ai.onnx. See operator.h. */
#include "libpith/graph/operator.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpith/graph/infer.h"

#define BIT(dtype) (UINT32_C(1) << PITH_##dtype)
#define FLOATS     (BIT(FLOAT32) | BIT(FLOAT64) | BIT(FLOAT16) | BIT(BFLOAT16))
#define FLOATS8                                                                                    \
    (FLOATS | BIT(FLOAT8E4M3FN) | BIT(FLOAT8E4M3FNUZ) | BIT(FLOAT8E5M2) | BIT(FLOAT8E5M2FNUZ))
#define INTS                                                                                       \
    (BIT(INT8) | BIT(INT16) | BIT(INT32) | BIT(INT64) | BIT(UINT8) | BIT(UINT16) | BIT(UINT32) |   \
     BIT(UINT64))
#define NUMBERS   (FLOATS | INTS)
#define BYTES     (BIT(INT8) | BIT(UINT8))
#define BOOL      BIT(BOOL)
#define F32       BIT(FLOAT32)
#define I32       BIT(INT32)
#define I64       BIT(INT64)
#define ANY_TYPE  0
#define ALL_ALIKE UINT32_MAX
#define LAST      PITH_OPERATOR_NO_UNTIL
#define MANY      PITH_OPERATOR_ANY_COUNT
#define MACS      PITH_OPERATOR_MACS
#define DATA      PITH_OPERATOR_DATA_DEPENDENT
#define BODY      PITH_OPERATOR_BODY

/* Sorted by name, then by opset. What an operator takes may only have grown between opsets; where
 * it became something else (an attribute turned into an input), there is a row for each. domain,
 * name, since, until, least and most inputs, least and most outputs, flags, types, alike, infer,
 * know */
/* clang-format off */
static const struct pith_operator table[] = {
    {"", "Abs", 1, LAST, 1, 1, 1, 1, 0, NUMBERS, 0, infer_same, know_unary},
    {"", "Acos", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "Acosh", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "Add", 1, LAST, 2, 2, 1, 1, 0, NUMBERS, 2, infer_variadic, know_arithmetic},
    {"", "AffineGrid", 20, LAST, 2, 2, 1, 1, 0, FLOATS, 0, infer_affine_grid, NULL},
    {"", "And", 1, LAST, 2, 2, 1, 1, 0, BOOL, 2, infer_compare, know_arithmetic},
    {"", "ArgMax", 1, LAST, 1, 1, 1, 1, 0, NUMBERS, 0, infer_arg, NULL},
    {"", "ArgMin", 1, LAST, 1, 1, 1, 1, 0, NUMBERS, 0, infer_arg, NULL},
    {"", "Asin", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "Asinh", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "Atan", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "Atanh", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "AveragePool", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_pool, NULL},
    {"", "BatchNormalization", 1, LAST, 5, 5, 1, 5, 0, FLOATS, 0, infer_batch_normalization, NULL},
    {"", "BitShift", 11, LAST, 2, 2, 1, 1, 0, INTS, 2, infer_variadic, NULL},
    {"", "BitwiseAnd", 18, LAST, 2, 2, 1, 1, 0, INTS, 2, infer_variadic, NULL},
    {"", "BitwiseNot", 18, LAST, 1, 1, 1, 1, 0, INTS, 0, infer_same, NULL},
    {"", "BitwiseOr", 18, LAST, 2, 2, 1, 1, 0, INTS, 2, infer_variadic, NULL},
    {"", "BitwiseXor", 18, LAST, 2, 2, 1, 1, 0, INTS, 2, infer_variadic, NULL},
    {"", "BlackmanWindow", 17, LAST, 1, 1, 1, 1, 0, ANY_TYPE, 0, infer_window_function, NULL},
    {"", "Cast", 6, LAST, 1, 1, 1, 1, 0, ANY_TYPE, 0, infer_cast, know_cast},
    {"", "CastLike", 15, LAST, 2, 2, 1, 1, 0, ANY_TYPE, 0, infer_cast_like, NULL},
    {"", "Ceil", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "Celu", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "CenterCropPad", 18, LAST, 2, 2, 1, 1, 0, ANY_TYPE, 0, infer_center_crop_pad, NULL},
    {"", "Clip", 1, 10, 1, 1, 1, 1, 0, FLOATS, 0, infer_clip, NULL},
    {"", "Clip", 11, LAST, 1, 3, 1, 1, 0, NUMBERS, 6, infer_clip, NULL},
    {"", "Col2Im", 18, LAST, 3, 3, 1, 1, 0, ANY_TYPE, 0, infer_col2im, NULL},
    {"", "Compress", 9, LAST, 2, 2, 1, 1, DATA, ANY_TYPE, 0, infer_compress, NULL},
    {"", "Concat", 1, LAST, 1, MANY, 1, 1, 0, ANY_TYPE, ALL_ALIKE, infer_concat, know_concat},
    {"", "Constant", 1, LAST, 0, 0, 1, 1, 0, ANY_TYPE, 0, infer_constant_op, know_constant},
    {"", "ConstantOfShape", 9, LAST, 1, 1, 1, 1, 0, I64, 0, infer_constant_of_shape, know_constant_of_shape},
    {"", "Conv", 1, LAST, 2, 3, 1, 1, MACS, FLOATS, 6, infer_conv, NULL},
    {"", "ConvInteger", 10, LAST, 2, 4, 1, 1, MACS, BYTES, 0, infer_conv_integer, NULL},
    {"", "ConvTranspose", 1, LAST, 2, 3, 1, 1, MACS, FLOATS, 6, infer_conv_transpose, NULL},
    {"", "Cos", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "Cosh", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "CumSum", 11, LAST, 2, 2, 1, 1, 0, NUMBERS, 0, infer_cumsum, NULL},
    {"", "DFT", 17, 19, 1, 2, 1, 1, 0, FLOATS, 0, infer_dft, NULL},
    {"", "DFT", 20, LAST, 1, 3, 1, 1, 0, FLOATS, 0, infer_dft, NULL},
    {"", "DeformConv", 19, LAST, 3, 5, 1, 1, MACS, FLOATS, 0, infer_deform_conv, NULL},
    {"", "DepthToSpace", 1, LAST, 1, 1, 1, 1, 0, ANY_TYPE, 0, infer_depth_to_space, NULL},
    {"", "DequantizeLinear", 10, LAST, 2, 3, 1, 1, 0, ANY_TYPE, 0, infer_dequantize, NULL},
    {"", "Det", 11, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_det, NULL},
    {"", "Div", 1, LAST, 2, 2, 1, 1, 0, NUMBERS, 2, infer_variadic, know_arithmetic},
    {"", "Dropout", 1, 11, 1, 1, 1, 2, 0, FLOATS, 0, infer_dropout, NULL},
    {"", "Dropout", 12, LAST, 1, 3, 1, 2, 0, FLOATS, 0, infer_dropout, NULL},
    {"", "DynamicQuantizeLinear", 11, LAST, 1, 1, 3, 3, 0, F32, 0, infer_dynamic_quantize, NULL},
    {"", "Einsum", 12, LAST, 1, MANY, 1, 1, MACS, NUMBERS, ALL_ALIKE, infer_einsum, NULL},
    {"", "Elu", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "Equal", 1, LAST, 2, 2, 1, 1, 0, NUMBERS | BOOL, 2, infer_compare, know_arithmetic},
    {"", "Erf", 1, LAST, 1, 1, 1, 1, 0, NUMBERS, 0, infer_same, NULL},
    {"", "Exp", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "Expand", 8, LAST, 2, 2, 1, 1, 0, ANY_TYPE, 0, infer_expand, know_expand},
    {"", "EyeLike", 9, LAST, 1, 1, 1, 1, 0, ANY_TYPE, 0, infer_eye_like, NULL},
    {"", "Flatten", 1, LAST, 1, 1, 1, 1, 0, ANY_TYPE, 0, infer_flatten, know_reshaped},
    {"", "Floor", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "GRU", 1, LAST, 3, 6, 0, 2, MACS, FLOATS, 6, infer_recurrent, NULL},
    {"", "Gather", 1, LAST, 2, 2, 1, 1, 0, ANY_TYPE, 0, infer_gather, know_gather},
    {"", "GatherElements", 11, LAST, 2, 2, 1, 1, 0, ANY_TYPE, 0, infer_gather_elements, NULL},
    {"", "GatherND", 11, LAST, 2, 2, 1, 1, 0, ANY_TYPE, 0, infer_gather_nd, NULL},
    {"", "Gelu", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "Gemm", 1, 10, 3, 3, 1, 1, MACS, NUMBERS, 6, infer_gemm, NULL},
    {"", "Gemm", 11, LAST, 2, 3, 1, 1, MACS, NUMBERS, 6, infer_gemm, NULL},
    {"", "GlobalAveragePool", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_global_pool, NULL},
    {"", "GlobalLpPool", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_global_pool, NULL},
    {"", "GlobalMaxPool", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_global_pool, NULL},
    {"", "Greater", 1, LAST, 2, 2, 1, 1, 0, NUMBERS, 2, infer_compare, know_arithmetic},
    {"", "GreaterOrEqual", 12, LAST, 2, 2, 1, 1, 0, NUMBERS, 2, infer_compare, know_arithmetic},
    {"", "GridSample", 16, LAST, 2, 2, 1, 1, 0, ANY_TYPE, 0, infer_grid_sample, NULL},
    {"", "GroupNormalization", 18, LAST, 3, 3, 1, 1, 0, FLOATS, 6, infer_channel_normalization, NULL},
    {"", "HammingWindow", 17, LAST, 1, 1, 1, 1, 0, ANY_TYPE, 0, infer_window_function, NULL},
    {"", "HannWindow", 17, LAST, 1, 1, 1, 1, 0, ANY_TYPE, 0, infer_window_function, NULL},
    {"", "HardSigmoid", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "HardSwish", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "Hardmax", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_softmax, NULL},
    {"", "Identity", 1, LAST, 1, 1, 1, 1, 0, ANY_TYPE, 0, infer_same, know_same},
    {"", "If", 1, LAST, 1, 1, 1, MANY, BODY, BOOL, 0, infer_if, NULL},
    {"", "InstanceNormalization", 1, LAST, 3, 3, 1, 1, 0, FLOATS, 6, infer_channel_normalization, NULL},
    {"", "IsInf", 1, LAST, 1, 1, 1, 1, 0, FLOATS8, 0, infer_same_bool, NULL},
    {"", "IsNaN", 1, LAST, 1, 1, 1, 1, 0, FLOATS8, 0, infer_same_bool, NULL},
    {"", "LRN", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "LSTM", 1, LAST, 3, 8, 0, 3, MACS, FLOATS, 6, infer_recurrent, NULL},
    {"", "LayerNormalization", 17, LAST, 2, 3, 1, 3, 0, FLOATS, 0, infer_layer_normalization, NULL},
    {"", "LeakyRelu", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "Less", 1, LAST, 2, 2, 1, 1, 0, NUMBERS, 2, infer_compare, know_arithmetic},
    {"", "LessOrEqual", 12, LAST, 2, 2, 1, 1, 0, NUMBERS, 2, infer_compare, know_arithmetic},
    {"", "Log", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "LogSoftmax", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_softmax, NULL},
    {"", "Loop", 1, LAST, 0, MANY, 1, MANY, BODY, ANY_TYPE, 0, infer_loop, NULL},
    {"", "LpNormalization", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "LpPool", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_pool, NULL},
    {"", "MatMul", 1, LAST, 2, 2, 1, 1, MACS, NUMBERS, 2, infer_matmul, NULL},
    {"", "MatMulInteger", 10, LAST, 2, 4, 1, 1, MACS, BYTES, 0, infer_matmul_integer, NULL},
    {"", "Max", 1, LAST, 1, MANY, 1, 1, 0, NUMBERS, ALL_ALIKE, infer_variadic, know_arithmetic},
    {"", "MaxPool", 1, LAST, 1, 1, 1, 2, 0, NUMBERS, 0, infer_pool, NULL},
    {"", "MaxRoiPool", 1, LAST, 2, 2, 1, 1, 0, FLOATS, 0, infer_roi_pool, NULL},
    {"", "MaxUnpool", 9, LAST, 2, 3, 1, 1, 0, FLOATS, 0, infer_max_unpool, NULL},
    {"", "Mean", 1, LAST, 1, MANY, 1, 1, 0, FLOATS, ALL_ALIKE, infer_variadic, NULL},
    {"", "MeanVarianceNormalization", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "MelWeightMatrix", 17, LAST, 5, 5, 1, 1, 0, ANY_TYPE, 0, infer_mel_weight_matrix, NULL},
    {"", "Min", 1, LAST, 1, MANY, 1, 1, 0, NUMBERS, ALL_ALIKE, infer_variadic, know_arithmetic},
    {"", "Mish", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "Mod", 10, LAST, 2, 2, 1, 1, 0, NUMBERS, 2, infer_variadic, know_arithmetic},
    {"", "Mul", 1, LAST, 2, 2, 1, 1, 0, NUMBERS, 2, infer_variadic, know_arithmetic},
    {"", "Neg", 1, LAST, 1, 1, 1, 1, 0, NUMBERS, 0, infer_same, know_unary},
    {"", "NegativeLogLikelihoodLoss", 12, LAST, 2, 3, 1, 1, 0, FLOATS, 0, infer_loss, NULL},
    {"", "NonMaxSuppression", 10, LAST, 2, 5, 1, 1, DATA, F32, 0, infer_nms, NULL},
    {"", "NonZero", 9, LAST, 1, 1, 1, 1, DATA, ANY_TYPE, 0, infer_non_zero, NULL},
    {"", "Not", 1, LAST, 1, 1, 1, 1, 0, BOOL, 0, infer_same, know_unary},
    {"", "OneHot", 9, LAST, 3, 3, 1, 1, 0, NUMBERS, 0, infer_one_hot, NULL},
    {"", "Or", 1, LAST, 2, 2, 1, 1, 0, BOOL, 2, infer_compare, know_arithmetic},
    {"", "PRelu", 1, LAST, 2, 2, 1, 1, 0, NUMBERS, 2, infer_prelu, NULL},
    {"", "Pad", 1, 10, 1, 1, 1, 1, 0, ANY_TYPE, 0, infer_pad, NULL},
    {"", "Pad", 11, 17, 2, 3, 1, 1, 0, ANY_TYPE, 0, infer_pad, NULL},
    {"", "Pad", 18, LAST, 2, 4, 1, 1, 0, ANY_TYPE, 0, infer_pad, NULL},
    {"", "Pow", 1, LAST, 2, 2, 1, 1, 0, NUMBERS, 0, infer_variadic, NULL},
    {"", "QLinearConv", 10, LAST, 8, 9, 1, 1, MACS, BYTES, 0, infer_qlinear_conv, NULL},
    {"", "QLinearMatMul", 10, LAST, 8, 8, 1, 1, MACS, BYTES, 0, infer_qlinear_matmul, NULL},
    {"", "QuantizeLinear", 10, LAST, 2, 3, 1, 1, 0, FLOATS | I32, 0, infer_quantize, NULL},
    {"", "RNN", 1, LAST, 3, 6, 0, 2, MACS, FLOATS, 6, infer_recurrent, NULL},
    {"", "Range", 11, LAST, 3, 3, 1, 1, 0, NUMBERS, 6, infer_range, know_range},
    {"", "Reciprocal", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "ReduceL1", 1, 17, 1, 1, 1, 1, 0, NUMBERS, 0, infer_reduce, NULL},
    {"", "ReduceL1", 18, LAST, 1, 2, 1, 1, 0, NUMBERS, 0, infer_reduce, NULL},
    {"", "ReduceL2", 1, 17, 1, 1, 1, 1, 0, NUMBERS, 0, infer_reduce, NULL},
    {"", "ReduceL2", 18, LAST, 1, 2, 1, 1, 0, NUMBERS, 0, infer_reduce, NULL},
    {"", "ReduceLogSum", 1, 17, 1, 1, 1, 1, 0, NUMBERS, 0, infer_reduce, NULL},
    {"", "ReduceLogSum", 18, LAST, 1, 2, 1, 1, 0, NUMBERS, 0, infer_reduce, NULL},
    {"", "ReduceLogSumExp", 1, 17, 1, 1, 1, 1, 0, NUMBERS, 0, infer_reduce, NULL},
    {"", "ReduceLogSumExp", 18, LAST, 1, 2, 1, 1, 0, NUMBERS, 0, infer_reduce, NULL},
    {"", "ReduceMax", 1, 17, 1, 1, 1, 1, 0, NUMBERS, 0, infer_reduce, know_reduce},
    {"", "ReduceMax", 18, LAST, 1, 2, 1, 1, 0, NUMBERS | BOOL, 0, infer_reduce, know_reduce},
    {"", "ReduceMean", 1, 17, 1, 1, 1, 1, 0, NUMBERS, 0, infer_reduce, NULL},
    {"", "ReduceMean", 18, LAST, 1, 2, 1, 1, 0, NUMBERS, 0, infer_reduce, NULL},
    {"", "ReduceMin", 1, 17, 1, 1, 1, 1, 0, NUMBERS, 0, infer_reduce, know_reduce},
    {"", "ReduceMin", 18, LAST, 1, 2, 1, 1, 0, NUMBERS | BOOL, 0, infer_reduce, know_reduce},
    {"", "ReduceProd", 1, 17, 1, 1, 1, 1, 0, NUMBERS, 0, infer_reduce, know_reduce},
    {"", "ReduceProd", 18, LAST, 1, 2, 1, 1, 0, NUMBERS, 0, infer_reduce, know_reduce},
    {"", "ReduceSum", 1, 12, 1, 1, 1, 1, 0, NUMBERS, 0, infer_reduce, know_reduce},
    {"", "ReduceSum", 13, LAST, 1, 2, 1, 1, 0, NUMBERS, 0, infer_reduce, know_reduce},
    {"", "ReduceSumSquare", 1, 17, 1, 1, 1, 1, 0, NUMBERS, 0, infer_reduce, NULL},
    {"", "ReduceSumSquare", 18, LAST, 1, 2, 1, 1, 0, NUMBERS, 0, infer_reduce, NULL},
    {"", "Relu", 1, LAST, 1, 1, 1, 1, 0, NUMBERS, 0, infer_same, NULL},
    {"", "Reshape", 1, 4, 1, 1, 1, 1, 0, ANY_TYPE, 0, infer_reshape, know_reshaped},
    {"", "Reshape", 5, LAST, 2, 2, 1, 1, 0, ANY_TYPE, 0, infer_reshape, know_reshaped},
    {"", "Resize", 10, 10, 2, 2, 1, 1, 0, ANY_TYPE, 0, infer_resize, NULL},
    {"", "Resize", 11, LAST, 1, 4, 1, 1, 0, ANY_TYPE, 0, infer_resize, NULL},
    {"", "ReverseSequence", 10, LAST, 2, 2, 1, 1, 0, ANY_TYPE, 0, infer_reverse_sequence, NULL},
    {"", "RoiAlign", 10, LAST, 3, 3, 1, 1, 0, FLOATS, 0, infer_roi_align, NULL},
    {"", "Round", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "STFT", 17, LAST, 2, 4, 1, 1, 0, FLOATS, 0, infer_stft, NULL},
    {"", "Scan", 9, LAST, 1, MANY, 1, MANY, BODY, ANY_TYPE, 0, infer_scan, NULL},
    {"", "Scatter", 9, LAST, 3, 3, 1, 1, 0, ANY_TYPE, 0, infer_scatter_elements, NULL},
    {"", "ScatterElements", 11, LAST, 3, 3, 1, 1, 0, ANY_TYPE, 0, infer_scatter_elements, NULL},
    {"", "ScatterND", 11, LAST, 3, 3, 1, 1, 0, ANY_TYPE, 0, infer_scatter_nd, NULL},
    {"", "Selu", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "Shape", 1, LAST, 1, 1, 1, 1, 0, ANY_TYPE, 0, infer_shape_op, know_shape},
    {"", "Shrink", 1, LAST, 1, 1, 1, 1, 0, NUMBERS, 0, infer_same, NULL},
    {"", "Sigmoid", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "Sign", 1, LAST, 1, 1, 1, 1, 0, NUMBERS, 0, infer_same, NULL},
    {"", "Sin", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "Sinh", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "Size", 1, LAST, 1, 1, 1, 1, 0, ANY_TYPE, 0, infer_size, know_size},
    {"", "Slice", 1, 9, 1, 1, 1, 1, 0, ANY_TYPE, 0, infer_slice, know_slice},
    {"", "Slice", 10, LAST, 3, 5, 1, 1, 0, ANY_TYPE, 0, infer_slice, know_slice},
    {"", "Softmax", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_softmax, NULL},
    {"", "SoftmaxCrossEntropyLoss", 12, LAST, 2, 3, 1, 2, 0, FLOATS, 0, infer_loss, NULL},
    {"", "Softplus", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "Softsign", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "SpaceToDepth", 1, LAST, 1, 1, 1, 1, 0, ANY_TYPE, 0, infer_space_to_depth, NULL},
    {"", "Split", 1, 2, 1, 2, 1, MANY, 0, ANY_TYPE, 0, infer_split, know_split},
    {"", "Split", 3, 12, 1, 1, 1, MANY, 0, ANY_TYPE, 0, infer_split, know_split},
    {"", "Split", 13, LAST, 1, 2, 1, MANY, 0, ANY_TYPE, 0, infer_split, know_split},
    {"", "Sqrt", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "Squeeze", 1, 12, 1, 1, 1, 1, 0, ANY_TYPE, 0, infer_squeeze, know_reshaped},
    {"", "Squeeze", 13, LAST, 1, 2, 1, 1, 0, ANY_TYPE, 0, infer_squeeze, know_reshaped},
    {"", "Sub", 1, LAST, 2, 2, 1, 1, 0, NUMBERS, 2, infer_variadic, know_arithmetic},
    {"", "Sum", 1, LAST, 1, MANY, 1, 1, 0, FLOATS, ALL_ALIKE, infer_variadic, NULL},
    {"", "Tan", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "Tanh", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "TfIdfVectorizer", 9, LAST, 1, 1, 1, 1, 0, ANY_TYPE, 0, infer_tfidf, NULL},
    {"", "ThresholdedRelu", 1, LAST, 1, 1, 1, 1, 0, FLOATS, 0, infer_same, NULL},
    {"", "Tile", 6, LAST, 2, 2, 1, 1, 0, ANY_TYPE, 0, infer_tile, NULL},
    {"", "TopK", 1, 9, 1, 1, 2, 2, 0, NUMBERS, 0, infer_topk, NULL},
    {"", "TopK", 10, LAST, 2, 2, 2, 2, 0, NUMBERS, 0, infer_topk, NULL},
    {"", "Transpose", 1, LAST, 1, 1, 1, 1, 0, ANY_TYPE, 0, infer_transpose, know_transpose},
    {"", "Trilu", 14, LAST, 1, 2, 1, 1, 0, ANY_TYPE, 0, infer_trilu, NULL},
    {"", "Unique", 11, LAST, 1, 1, 1, 4, DATA, ANY_TYPE, 0, infer_unique, NULL},
    {"", "Unsqueeze", 1, 12, 1, 1, 1, 1, 0, ANY_TYPE, 0, infer_unsqueeze, know_reshaped},
    {"", "Unsqueeze", 13, LAST, 2, 2, 1, 1, 0, ANY_TYPE, 0, infer_unsqueeze, know_reshaped},
    {"", "Upsample", 1, 8, 1, 1, 1, 1, 0, ANY_TYPE, 0, infer_upsample, NULL},
    {"", "Upsample", 9, LAST, 2, 2, 1, 1, 0, ANY_TYPE, 0, infer_upsample, NULL},
    {"", "Where", 9, LAST, 3, 3, 1, 1, 0, BOOL, 0, infer_where, know_where},
    {"", "Xor", 1, LAST, 2, 2, 1, 1, 0, BOOL, 2, infer_compare, NULL},
};
/* clang-format on */
#define TABLE_COUNT (sizeof table / sizeof *table)

/* The first row of that name, or NULL. */
static const struct pith_operator *first_row(const char *domain, const char *name)
{
    size_t low = 0, high = TABLE_COUNT;

    if (domain[0] && strcmp(domain, "ai.onnx") != 0)
        return NULL;
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(table[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < TABLE_COUNT && strcmp(table[low].name, name) == 0 ? &table[low] : NULL;
}

const struct pith_operator *pith_operator_find(const char *domain, const char *name, int64_t opset)
{
    const struct pith_operator *row = first_row(domain, name);

    for (; row && row < table + TABLE_COUNT && strcmp(row->name, name) == 0; row++)
        if (opset >= row->since && (opset <= row->until || row->until == PITH_OPERATOR_NO_UNTIL))
            return row;
    return NULL;
}

bool pith_operator_exists(const char *domain, const char *name)
{
    return first_row(domain, name) != NULL;
}

const struct pith_operator *pith_operator_at(size_t index)
{
    return index < TABLE_COUNT ? &table[index] : NULL;
}

static int check_counts(const struct infer *in)
{
    const struct pith_operator *op = in->op;
    size_t inputs = infer_input_count(in), outputs = pith_node_output_count(in->graph, in->node);

    while (inputs > op->max_inputs && op->max_inputs != PITH_OPERATOR_ANY_COUNT &&
           !infer_has(in, inputs - 1))
        inputs--; /* left-out inputs at the end are none */
    if (inputs < op->min_inputs ||
        (inputs > op->max_inputs && op->max_inputs != PITH_OPERATOR_ANY_COUNT))
        return infer_fail(in, "it has %zu inputs, at opset %lld it takes %u to %u", inputs,
                          (long long) in->opset, op->min_inputs, op->max_inputs);
    if (outputs < op->min_outputs ||
        (outputs > op->max_outputs && op->max_outputs != PITH_OPERATOR_ANY_COUNT))
        return infer_fail(in, "it has %zu outputs, at opset %lld it gives %u to %u", outputs,
                          (long long) in->opset, op->min_outputs, op->max_outputs);
    for (size_t i = 0; i < op->min_inputs; i++)
        if (!infer_has(in, i))
            return infer_fail(in, "input %zu is left out, and is needed", i);
    return 0;
}

int pith_operator_of_node(const struct pith_graph *graph, uint32_t node,
                          const struct pith_operator **out, struct pith_error *err)
{
    const char *domain = pith_node_domain(graph, node), *name = pith_node_op(graph, node);
    int64_t opset = pith_graph_opset(graph, domain);
    /* Reading alone: the graph isn't written through this. */
    struct infer in = {
        .graph = (struct pith_graph *) graph, .node = node, .opset = opset, .err = err};
    int rc;

    in.op = pith_operator_find(domain, name, opset);
    if (!in.op && first_row(domain, name)) {
        rc = infer_fail(&in, "the operator is not known at opset %lld", (long long) opset);
    } else if (!in.op) {
        rc =
            infer_fail(&in, "the operator %s%s%s is not known", domain, domain[0] ? "." : "", name);
    } else {
        rc = check_counts(&in);
        if (rc == 0)
            *out = in.op;
        return rc;
    }
    if (err && rc < 0)
        err->code = -ENOTSUP;
    return -ENOTSUP;
}
