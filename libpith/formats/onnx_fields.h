/* The field numbers of onnx.proto that the reader and the writer use. */
#ifndef PITH_FORMATS_ONNX_FIELDS_H
#define PITH_FORMATS_ONNX_FIELDS_H

enum model_field {
    MODEL_IR_VERSION = 1,
    MODEL_PRODUCER_NAME = 2,
    MODEL_GRAPH = 7,
    MODEL_OPSET_IMPORT = 8,
    MODEL_METADATA_PROPS = 14,
    MODEL_FUNCTIONS = 25,
};
enum opset_field { OPSET_DOMAIN = 1, OPSET_VERSION = 2 };
enum entry_field { ENTRY_KEY = 1, ENTRY_VALUE = 2 };
enum function_field { FUNCTION_NAME = 1, FUNCTION_DOMAIN = 10 };
enum graph_field {
    GRAPH_NODE = 1,
    GRAPH_NAME = 2,
    GRAPH_INITIALIZER = 5,
    GRAPH_INPUT = 11,
    GRAPH_OUTPUT = 12,
    GRAPH_VALUE_INFO = 13,
    GRAPH_SPARSE_INITIALIZER = 15,
};
enum node_field {
    NODE_INPUT = 1,
    NODE_OUTPUT = 2,
    NODE_NAME = 3,
    NODE_OP_TYPE = 4,
    NODE_ATTRIBUTE = 5,
    NODE_DOMAIN = 7,
};
enum attribute_field {
    ATTRIBUTE_NAME = 1,
    ATTRIBUTE_F = 2,
    ATTRIBUTE_I = 3,
    ATTRIBUTE_S = 4,
    ATTRIBUTE_T = 5,
    ATTRIBUTE_G = 6,
    ATTRIBUTE_FLOATS = 7,
    ATTRIBUTE_INTS = 8,
    ATTRIBUTE_STRINGS = 9,
    ATTRIBUTE_TYPE = 20,
    ATTRIBUTE_REF_NAME = 21,
    ATTRIBUTE_SPARSE_TENSOR = 22,
};
enum attribute_type { ATTRIBUTE_TYPE_SPARSE_TENSOR = 11 }; /* the others: enum pith_attribute_kind */
enum tensor_field {
    TENSOR_DIMS = 1,
    TENSOR_DATA_TYPE = 2,
    TENSOR_SEGMENT = 3,
    TENSOR_FLOAT_DATA = 4,
    TENSOR_INT32_DATA = 5,
    TENSOR_STRING_DATA = 6,
    TENSOR_INT64_DATA = 7,
    TENSOR_NAME = 8,
    TENSOR_RAW_DATA = 9,
    TENSOR_DOUBLE_DATA = 10,
    TENSOR_UINT64_DATA = 11,
    TENSOR_EXTERNAL_DATA = 13,
    TENSOR_DATA_LOCATION = 14,
};
enum sparse_field { SPARSE_VALUES = 1, SPARSE_INDICES = 2, SPARSE_DIMS = 3 };
enum value_info_field { VALUE_INFO_NAME = 1, VALUE_INFO_TYPE = 2 };
enum type_field { TYPE_TENSOR = 1 };
enum tensor_type_field { TENSOR_TYPE_ELEMENT = 1, TENSOR_TYPE_SHAPE = 2 };
enum shape_field { SHAPE_DIM = 1 };
enum dim_field { DIM_VALUE = 1, DIM_PARAM = 2 };

#endif
