/* Small TensorFlow Lite files made field by field: tables forwards, each before what it points to. */
#ifndef PITH_TESTS_TFLITE_BUILD_H
#define PITH_TESTS_TFLITE_BUILD_H

#include "libpith/formats/tflite_fields.h"
#include "tests/testing.h"

#define BUILD_BYTES  8192
#define BUILD_FIELDS 8

struct build {
    uint8_t bytes[BUILD_BYTES];
    uint32_t used;
};

static inline void put32(struct build *b, uint32_t at, uint32_t value)
{
    memcpy(b->bytes + at, &value, sizeof value);
}

static inline uint32_t room(struct build *b, uint32_t bytes)
{
    const uint32_t at = b->used;

    assert_true(at + bytes <= BUILD_BYTES);
    b->used = (at + bytes + 3) / 4 * 4;
    return at;
}

/* A table of `fields` fields of 4 bytes each; those that nobody sets are 0, as what is left out would be, but for `skip`, bits of
 * fields that are left out. Returns where it is. */
static inline uint32_t table(struct build *b, uint32_t fields, uint32_t skip)
{
    const uint32_t vtable = room(b, 4 + 2 * fields), at = room(b, 4 + 4 * fields);
    uint16_t sizes[2] = {(uint16_t) (4 + 2 * fields), (uint16_t) (4 + 4 * fields)};

    memcpy(b->bytes + vtable, sizes, sizeof sizes);
    for (uint32_t i = 0; i < fields; i++) {
        const uint16_t offset = skip >> i & 1 ? 0 : (uint16_t) (4 + 4 * i);

        memcpy(b->bytes + vtable + 4 + 2 * i, &offset, sizeof offset);
    }
    put32(b, at, at - vtable);
    return at;
}

static inline void set(struct build *b, uint32_t table_at, uint32_t field, uint32_t value)
{
    put32(b, table_at + 4 + 4 * field, value);
}

static inline void lead(struct build *b, uint32_t from, uint32_t to)
{
    put32(b, from, to - from);
}

/* The field leads to a vector of `count` items of `bytes` bytes together; returns where they are. */
static inline uint32_t vector(struct build *b, uint32_t table_at, uint32_t field, uint32_t count, uint32_t bytes,
                              const void *items)
{
    const uint32_t at = room(b, 4 + bytes);

    put32(b, at, count);
    if (items)
        memcpy(b->bytes + at + 4, items, bytes);
    lead(b, table_at + 4 + 4 * field, at);
    return at + 4;
}
#define INTS(b, table_at, field, ...)                                                              \
    vector(b, table_at, field, sizeof((int32_t[]){__VA_ARGS__}) / 4,                               \
           sizeof((int32_t[]){__VA_ARGS__}), (int32_t[]){__VA_ARGS__})

static inline void text(struct build *b, uint32_t table_at, uint32_t field, const char *said)
{
    (void) vector(b, table_at, field, (uint32_t) strlen(said), (uint32_t) strlen(said) + 1, said);
}

/* Tables of that many fields, in a vector; out[i]: where each is. */
static inline void tables(struct build *b, uint32_t table_at, uint32_t field, uint32_t count, uint32_t fields,
                          uint32_t skip, uint32_t *out)
{
    const uint32_t items = vector(b, table_at, field, count, 4 * count, NULL);

    for (uint32_t i = 0; i < count; i++) {
        out[i] = table(b, fields, skip);
        lead(b, items + 4 * i, out[i]);
    }
}

struct built_tensor {
    const char *name;
    uint32_t rank;
    int32_t dims[4];
    uint8_t type;
    const void *constant; /* NULL: none; its buffer is the next one */
    float scale;          /* 0: not quantized */
    int64_t zero_point;
};

struct built_operator {
    uint32_t code; /* index of the operator codes */
    int32_t inputs[3], outputs[4];
    uint32_t input_count, output_count;
    uint8_t options_type;
    const char *text;    /* field 1 of the options */
    uint32_t number;     /* field 0 of the options where text is NULL */
    const void *custom; /* options; NULL: none */
    uint32_t custom_bytes;
};

struct built_graph {
    const struct built_tensor *tensors;
    const struct built_operator *operators;
    uint32_t tensor_count, operator_count;
    int32_t input, output;              /* -1: none */
    uint32_t more_inputs, more_outputs; /* as many tensors that follow it */
};

static inline uint32_t constant_bytes(const struct built_tensor *tensor)
{
    uint32_t bytes = tensor->type == TFLITE_INT8 ? 1 : 4;

    for (uint32_t i = 0; i < tensor->rank; i++)
        bytes *= (uint32_t) tensor->dims[i];
    return bytes;
}

static inline void put_operator(struct build *b, uint32_t at, const struct built_operator *op)
{
    set(b, at, OPERATOR_CODE, op->code);
    (void) vector(b, at, OPERATOR_INPUTS, op->input_count, 4 * op->input_count, op->inputs);
    (void) vector(b, at, OPERATOR_OUTPUTS, op->output_count, 4 * op->output_count, op->outputs);
    set(b, at, OPERATOR_OPTIONS_TYPE, op->options_type);
    (void) vector(b, at, OPERATOR_CUSTOM_OPTIONS, op->custom_bytes, op->custom_bytes, op->custom);
    const uint32_t options = table(b, 2, op->text ? 1 : 2);

    lead(b, at + 4 + 4 * OPERATOR_OPTIONS, options);
    if (op->text)
        text(b, options, 1, op->text);
    else
        set(b, options, 0, op->number);
}

static inline void put_grid(struct build *b, uint32_t tensor_at, const struct built_tensor *tensor)
{
    const uint32_t grid = table(b, QUANTIZATION_ZERO_POINT + 1, ~(1U << QUANTIZATION_SCALE | 1U << QUANTIZATION_ZERO_POINT));

    lead(b, tensor_at + 4 + 4 * TENSOR_QUANTIZATION, grid);
    (void) vector(b, grid, QUANTIZATION_SCALE, 1, sizeof tensor->scale, &tensor->scale);
    (void) vector(b, grid, QUANTIZATION_ZERO_POINT, 1, sizeof tensor->zero_point, &tensor->zero_point);
}

static inline void put_ports(struct build *b, uint32_t graph_at, uint32_t field, int32_t first, uint32_t more)
{
    const uint32_t count = first < 0 ? 0 : 1 + more, items = vector(b, graph_at, field, count, 4 * count, NULL);

    for (uint32_t i = 0; i < count; i++)
        put32(b, items + 4 * i, (uint32_t) first + i);
}

static inline void put_graph(struct build *b, uint32_t at, const struct built_graph *graph, uint32_t *buffer)
{
    uint32_t tensors[16], operators[16];

    const uint32_t items = vector(b, at, SUBGRAPH_TENSORS, graph->tensor_count, 4 * graph->tensor_count, NULL);

    for (uint32_t i = 0; i < graph->tensor_count; i++) {
        const struct built_tensor *tensor = &graph->tensors[i];

        tensors[i] = table(b, 5, tensor->scale > 0 ? 0 : 1 << TENSOR_QUANTIZATION);
        lead(b, items + 4 * i, tensors[i]);
        (void) vector(b, tensors[i], TENSOR_SHAPE, tensor->rank, 4 * tensor->rank, tensor->dims);
        set(b, tensors[i], TENSOR_TYPE, tensor->type);
        set(b, tensors[i], TENSOR_BUFFER, tensor->constant ? (*buffer)++ : 0);
        text(b, tensors[i], TENSOR_NAME, tensor->name);
        if (tensor->scale > 0)
            put_grid(b, tensors[i], tensor);
    }
    put_ports(b, at, SUBGRAPH_INPUTS, graph->input, graph->more_inputs);
    put_ports(b, at, SUBGRAPH_OUTPUTS, graph->output, graph->more_outputs);
    tables(b, at, SUBGRAPH_OPERATORS, graph->operator_count, 6, 0, operators);
    for (uint32_t i = 0; i < graph->operator_count; i++)
        put_operator(b, operators[i], &graph->operators[i]);
    text(b, at, SUBGRAPH_NAME, "main");
}

/* codes: BuiltinOperators; custom: the name of those that are 32. */
static inline void put_model(struct build *b, const int32_t *codes, uint32_t code_count, const char *custom,
                             const struct built_graph *graphs, uint32_t graph_count)
{
    uint32_t model, code[8], graph[2], buffers[16], buffer = 1, constants = 1;

    *b = (struct build){.used = 8};
    memcpy(b->bytes + 4, TFLITE_IDENTIFIER, 4);
    model = table(b, 5, 1 << MODEL_DESCRIPTION);
    put32(b, 0, model);
    set(b, model, MODEL_VERSION, TFLITE_VERSION);
    tables(b, model, MODEL_OPERATOR_CODES, code_count, 4, 0, code);
    for (uint32_t i = 0; i < code_count; i++) {
        set(b, code[i], CODE_BUILTIN, (uint32_t) codes[i]);
        text(b, code[i], CODE_CUSTOM, custom);
    }
    tables(b, model, MODEL_SUBGRAPHS, graph_count, 5, 0, graph);
    for (uint32_t i = 0; i < graph_count; i++)
        put_graph(b, graph[i], &graphs[i], &buffer);
    tables(b, model, MODEL_BUFFERS, buffer, 1, 0, buffers);
    (void) vector(b, buffers[0], BUFFER_DATA, 0, 0, NULL);
    for (uint32_t i = 0; i < graph_count; i++)
        for (uint32_t k = 0; k < graphs[i].tensor_count; k++)
            if (graphs[i].tensors[k].constant) {
                const uint32_t bytes = constant_bytes(&graphs[i].tensors[k]);

                (void) vector(b, buffers[constants++], BUFFER_DATA, bytes, bytes, graphs[i].tensors[k].constant);
            }
}

#endif
