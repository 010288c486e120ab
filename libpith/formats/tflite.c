/* A TensorFlow Lite model -> graph: the interface, then each operator by its row in the table. See
 * tflite.h and, for the order of axes, tflite_read.h. */
#include "libpith/formats/tflite.h"

#include "libpith/formats/tflite_read.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_OPERATORS (UINT32_C(1) << 17)
#define MOST_PORTS     (UINT64_C(1) << 21) /* of all operators together */
#define OPSET          18 /* axes of reductions are inputs; half of what is written elsewhere reads it */
#define OPSET_GELU     20
#define OPSET_SIXTEEN  21 /* QuantizeLinear to 16 and 4 bits */

bool pith_is_tflite(const uint8_t *data, size_t bytes)
{
    return bytes >= 8 && memcmp(data + 4, TFLITE_IDENTIFIER, 4) == 0;
}

/* ---- the table ---- */

/* The old field has room for 127; the new one was added behind it, and older files don't have it.
 */
int32_t tflite_code_of(struct flat_table code)
{
    int32_t old = flat_i8(code, CODE_DEPRECATED, 0);
    int32_t number = flat_i32(code, CODE_BUILTIN, 0);

    return number > old ? number : old;
}

#define CUSTOM_NAME_BYTES 96

static void custom_name(struct flat_table code, char name[CUSTOM_NAME_BYTES])
{
    struct flat_vector custom = flat_text(code, CODE_CUSTOM);

    name[0] = 0;
    for (uint32_t i = 0; i < custom.count && i + 1 < CUSTOM_NAME_BYTES; i++) {
        uint8_t c = flat_item_u8(custom, i);

        name[i] = (char) (c < 0x20 || c >= 0x7f ? '_' : c);
        name[i + 1] = 0;
    }
}

static const struct tflite_operator *find_operator(struct flat_table code)
{
    static const struct tflite_operator *const lists[] = {
        tflite_window_operators,    tflite_matrix_operators, tflite_elementwise_operators,
        tflite_shape_operators,     tflite_index_operators,  tflite_reduce_operators,
        tflite_recurrent_operators, tflite_type_operators,   tflite_variable_operators,
        tflite_detection_operators,
    };
    const int32_t number = tflite_code_of(code);
    char custom[CUSTOM_NAME_BYTES] = "";

    if (number == TFLITE_CUSTOM)
        custom_name(code, custom);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (const struct tflite_operator *row = lists[i]; row->name; row++)
            if (row->code == number &&
                (number != TFLITE_CUSTOM || strcmp(row->name, custom) == 0))
                return row;
    return NULL;
}

static int refuse_operator(uint32_t index, struct flat_table code, struct pith_error *err)
{
    const int32_t number = tflite_code_of(code);
    char custom[CUSTOM_NAME_BYTES];

    custom_name(code, custom);
    if (number == TFLITE_CUSTOM)
        return pith_fail(err, -ENOTSUP,
                         "operator %u is the custom operator \"%s\", which is not known here; "
                         "convert the model again without custom operators",
                         (unsigned) index, custom);
    if (tflite_builtin_name(number))
        return pith_fail(err, -ENOTSUP, "operator %u is %s, which is not known here",
                         (unsigned) index, tflite_builtin_name(number));
    return pith_fail(err, -ENOTSUP,
                     "operator %u is number %" PRId32
                     " of TensorFlow Lite's built-in operators, which is newer than pith",
                     (unsigned) index, number);
}

/* ---- one operator ---- */

static int read_ports(struct tflite_node *node, struct flat_vector from, const int32_t **out,
                      uint32_t *out_count, uint32_t least, struct pith_error *err)
{
    struct tflite_reader *reader = node->reader;
    int32_t *ports;

    if (least == TFLITE_EVERY_INPUT)
        least = from.count > 1 ? from.count : 1;
    if (from.count > TFLITE_MOST_PORTS || from.count > reader->ports_left)
        return pith_fail(err, -ENOTSUP, "it takes or makes more tensors than are read");
    if (from.count < least)
        return pith_fail(err, -EBADMSG, "it names %u tensors where at least %u must be",
                         (unsigned) from.count, (unsigned) least);
    reader->ports_left -= from.count;
    ports = arena_alloc(&reader->arena, (from.count + 1) * sizeof *ports);
    if (!ports)
        return -ENOMEM;
    for (uint32_t i = 0; i < from.count; i++) {
        ports[i] = flat_item_i32(from, i);
        if (ports[i] < TFLITE_NO_TENSOR || ports[i] >= (int32_t) reader->tensor_count ||
            (ports[i] == TFLITE_NO_TENSOR && i < least))
            return pith_fail(err, -EBADMSG, "it names tensor %" PRId32 ", which is not there",
                             ports[i]);
    }
    *out = ports;
    *out_count = from.count;
    return 0;
}

static int read_node(struct tflite_node *node, struct flat_table from, struct pith_error *err)
{
    const struct tflite_operator *row = node->row;
    uint8_t options = flat_u8(from, OPERATOR_OPTIONS_TYPE, OPTIONS_NONE);
    int rc = read_ports(node, flat_items(from, OPERATOR_INPUTS, 4), &node->inputs,
                        &node->input_count, row->min_inputs, err);

    if (rc == 0)
        rc = read_ports(node, flat_items(from, OPERATOR_OUTPUTS, 4), &node->outputs,
                        &node->output_count, row->min_outputs, err);
    for (uint32_t i = 0; rc == 0 && i < node->output_count; i++)
        if (node->outputs[i] == TFLITE_NO_TENSOR)
            rc = pith_fail(err, -EBADMSG, "its output %u is left out", (unsigned) i);
    if (rc < 0)
        return rc;
    if (row->options != OPTIONS_NONE && options != OPTIONS_NONE && options != row->options)
        return pith_fail(err, -EBADMSG, "its options are those of another operator");
    if (row->options != OPTIONS_NONE && options == row->options)
        node->options = flat_child(from, OPERATOR_OPTIONS);
    if (row->code == TFLITE_CUSTOM)
        node->custom_options = flat_items(from, OPERATOR_CUSTOM_OPTIONS, 1);
    return 0;
}

static int translate(struct tflite_reader *reader, uint32_t index, struct flat_table from,
                     struct pith_error *err)
{
    struct flat_vector codes = flat_items(reader->model, MODEL_OPERATOR_CODES, 4);
    uint32_t number = flat_u32(from, OPERATOR_CODE, 0);
    struct tflite_node node = {.reader = reader, .index = index, .err = err};
    struct flat_table code;
    int rc;

    if (reader->file.broken || number >= codes.count)
        return pith_fail(err, -EBADMSG, "operator %u is broken, or the file is cut off",
                         (unsigned) index);
    code = flat_item_table(codes, number);
    node.row = find_operator(code);
    if (!node.row && !reader->file.broken)
        return refuse_operator(index, code, err);
    rc = reader->file.broken ? -EBADMSG : read_node(&node, from, err);
    if (rc == 0) {
        node.row->translate(&node);
        rc = node.rc;
    }
    if (reader->file.broken)
        rc = pith_fail(err, -EBADMSG, "it leads outside of the file, which is cut off or broken");
    return rc < 0 ? pith_fail_in(err, rc, "operator %u (%s)", (unsigned) index,
                                 node.row ? node.row->name : "unknown")
                  : 0;
}

/* ---- the interface ---- */

static int interface_tensor(struct tflite_reader *reader, struct flat_vector list, uint32_t i,
                            const char *what, struct tflite_tensor **out, struct pith_error *err)
{
    int32_t number = flat_item_i32(list, i);

    if (reader->file.broken || number < 0 || number >= (int32_t) reader->tensor_count)
        return pith_fail(err, -EBADMSG, "its %s %u is tensor %" PRId32 ", which is not there", what,
                         (unsigned) i, number);
    *out = &reader->tensors[number];
    if ((*out)->dtype == PITH_DTYPE_NONE)
        return pith_fail(err, -ENOTSUP,
                         "its %s %u holds strings or resources, which no operator here takes", what,
                         (unsigned) i);
    return 0;
}

/* An input stored as integers of a grid arrives so, and is what they stand for from there on. */
static int add_input(struct tflite_reader *reader, struct tflite_tensor *tensor,
                     struct pith_error *err)
{
    struct tflite_node node = {
        .reader = reader, .row = &(struct tflite_operator){.name = "INPUT"}, .err = err};
    uint32_t input, number = (uint32_t) (tensor - reader->tensors);
    const char *name =
        tensor->name[0] && pith_graph_find_value(reader->graph, tensor->name) == PITH_NO_VALUE
            ? tensor->name
            : NULL;
    int rc = 0;

    if (tensor->constant.data || tensor->value[FORM_PLAIN] != PITH_NO_VALUE)
        return pith_fail(err, -EBADMSG, "its input \"%s\" is %s", tensor->name,
                         tensor->constant.data ? "a constant" : "listed twice");
    rc = pith_graph_add_value(reader->graph, name, tensor->dtype, &tensor->shape, &input, err);
    if (rc == 0)
        rc = pith_graph_add_input(reader->graph, input);
    if (rc < 0)
        return rc;
    if (!tflite_on_grid(tensor)) {
        tensor->value[FORM_PLAIN] = input;
        return 0;
    }
    node.index = number;
    tflite_emit_linear(&node, "DequantizeLinear", &tensor->quantization, input,
                       tflite_make(&node, (int32_t) number, FORM_PLAIN));
    return node.rc;
}

static int add_inputs(struct tflite_reader *reader, struct flat_vector list, struct pith_error *err)
{
    struct tflite_tensor *tensor;
    int rc =
        list.count > TFLITE_MOST_PORTS ? pith_fail(err, -ENOTSUP, "it has too many inputs") : 0;

    for (uint32_t i = 0; i < list.count && rc == 0; i++) {
        rc = interface_tensor(reader, list, i, "input", &tensor, err);
        if (rc == 0)
            tensor->is_interface = true;
        if (rc == 0)
            rc = add_input(reader, tensor, err);
    }
    return rc;
}

/* What leaves is a value of its own where it is stored as integers, or where another output or an
 * input has it. */
static uint32_t output_value(struct tflite_node *node, int32_t number)
{
    const struct tflite_tensor *tensor = &node->reader->tensors[number];
    struct pith_graph *graph = node->reader->graph;
    uint32_t value = tflite_value(node, number, FORM_PLAIN), output;

    if (node->rc < 0)
        return PITH_NO_VALUE;
    if (!tflite_on_grid(tensor) && !pith_value_is_input(graph, value) &&
        !pith_value_is_output(graph, value) && !pith_value_constant(graph, value))
        return value;
    output = tflite_temporary(node, tensor->dtype);
    if (tflite_on_grid(tensor))
        tflite_emit_linear(node, "QuantizeLinear", &tensor->quantization, value, output);
    else
        (void) tflite_emit1(node, "Identity", value, output);
    return output;
}

static int add_outputs(struct tflite_reader *reader, struct flat_vector list,
                       struct pith_error *err)
{
    struct tflite_node node = {
        .reader = reader, .row = &(struct tflite_operator){.name = "OUTPUT"}, .err = err};
    struct tflite_tensor *tensor;

    for (uint32_t i = 0; i < list.count && node.rc == 0; i++) {
        uint32_t value;

        node.rc = interface_tensor(reader, list, i, "output", &tensor, err);
        if (node.rc < 0)
            break;
        node.index = i;
        node.emitted = 0;
        value = output_value(&node, (int32_t) (tensor - reader->tensors));
        if (node.rc == 0)
            node.rc = pith_graph_add_output(reader->graph, value);
        /* Where two tensors have one name, the second keeps the one that was made for it. */
        if (node.rc == 0 && tensor->name[0] &&
            pith_graph_find_value(reader->graph, tensor->name) == PITH_NO_VALUE)
            node.rc = pith_value_set_name(reader->graph, value, tensor->name);
    }
    return node.rc;
}

/* Names of outputs are kept for what leaves, which may be another value than what an operator
 * makes. */
static int reserve_outputs(struct tflite_reader *reader, struct flat_vector list,
                           struct pith_error *err)
{
    struct tflite_tensor *tensor;
    int rc = list.count > TFLITE_MOST_PORTS ? pith_fail(err, -ENOTSUP, "it has too many outputs")
             : list.count == 0              ? pith_fail(err, -EBADMSG, "it has no output")
                                            : 0;

    for (uint32_t i = 0; i < list.count && rc == 0; i++) {
        rc = interface_tensor(reader, list, i, "output", &tensor, err);
        if (rc == 0)
            tensor->is_interface = true;
    }
    return rc;
}

/* ---- the model ---- */

static int64_t needed_opset(const struct tflite_reader *reader)
{
    struct flat_vector codes = flat_items(reader->model, MODEL_OPERATOR_CODES, 4);
    int64_t opset = OPSET;

    for (uint32_t i = 0; i < codes.count && !reader->file.broken; i++) {
        const struct tflite_operator *row = find_operator(flat_item_table(codes, i));

        if (row && row->op && strcmp(row->op, "Gelu") == 0)
            opset = OPSET_GELU;
    }
    for (uint32_t i = 0; i < reader->tensor_count; i++)
        if (tflite_on_grid(&reader->tensors[i]) && pith_dtype_bits(reader->tensors[i].dtype) != 8)
            opset = OPSET_SIXTEEN;
    return opset;
}

static int new_graph(struct tflite_reader *reader, struct flat_table subgraph,
                     struct pith_error *err)
{
    struct flat_vector text = flat_text(subgraph, SUBGRAPH_NAME);
    char name[128] = "";
    int rc;

    for (uint32_t i = 0; i < text.count && i + 1 < sizeof name; i++) {
        uint8_t c = flat_item_u8(text, i);

        name[i] = (char) (c < 0x20 || c >= 0x7f ? '_' : c);
        name[i + 1] = 0;
    }
    rc = pith_graph_new(&reader->graph, name, err);
    if (rc == 0)
        rc = pith_graph_set_opset(reader->graph, "", needed_opset(reader));
    return rc;
}

static int read_subgraph(struct tflite_reader *reader, struct flat_table subgraph,
                         struct pith_error *err)
{
    struct flat_vector operators = flat_items(subgraph, SUBGRAPH_OPERATORS, 4);
    struct flat_vector inputs = flat_items(subgraph, SUBGRAPH_INPUTS, 4);
    struct flat_vector outputs = flat_items(subgraph, SUBGRAPH_OUTPUTS, 4);
    int rc = tflite_read_tensors(reader, subgraph, err);

    if (rc == 0)
        rc = new_graph(reader, subgraph, err);
    if (rc == 0 && operators.count > MOST_OPERATORS)
        rc = pith_fail(err, -ENOTSUP, "it has %u operators; %u are the most that are read",
                       (unsigned) operators.count, (unsigned) MOST_OPERATORS);
    if (rc == 0)
        rc = reserve_outputs(reader, outputs, err);
    if (rc == 0)
        rc = add_inputs(reader, inputs, err);
    for (uint32_t i = 0; i < operators.count && rc == 0; i++)
        rc = translate(reader, i, flat_item_table(operators, i), err);
    if (rc == 0)
        rc = add_outputs(reader, outputs, err);
    if (rc == 0)
        rc = tflite_end_variables(reader, err);
    return rc;
}

static int read_model(struct tflite_reader *reader, struct pith_error *err)
{
    struct flat_vector subgraphs;
    uint32_t version;
    int rc;

    reader->model = flat_root(&reader->file, TFLITE_IDENTIFIER);
    version = flat_u32(reader->model, MODEL_VERSION, 0);
    subgraphs = flat_items(reader->model, MODEL_SUBGRAPHS, 4);
    if (reader->file.broken || subgraphs.count == 0)
        return pith_fail(err, -EBADMSG, "this TensorFlow Lite model is cut off or broken");
    if (version != TFLITE_VERSION)
        return pith_fail(err, -ENOTSUP, "it is of version %u of the format; %d is read here",
                         (unsigned) version, TFLITE_VERSION);
    rc = read_subgraph(reader, flat_item_table(subgraphs, 0), err);
    if (rc == 0 && reader->file.broken)
        rc = pith_fail(err, -EBADMSG, "this TensorFlow Lite model is cut off or broken");
    return rc;
}

int pith_tflite_read(struct pith_graph **out, struct pith_backing *backing, const uint8_t *data,
                     size_t bytes, struct pith_error *err)
{
    struct tflite_reader reader = {
        .file = {.data = data, .bytes = bytes}, .backing = backing, .ports_left = MOST_PORTS};
    struct pith_error why = {0};
    int rc = read_model(&reader, &why);

    if (rc == 0)
        rc = pith_graph_prune_dead(reader.graph);
    if (rc == 0)
        rc = pith_graph_validate(reader.graph, &why);
    if (rc == 0)
        rc = pith_graph_infer(reader.graph, NULL, &why);
    if (rc == 0)
        rc = pith_graph_validate(reader.graph, &why);
    tflite_free_tensors(&reader);
    arena_done(&reader.arena);
    if (rc < 0) {
        pith_graph_free(reader.graph);
        rc = rc == -EINVAL || rc == -EEXIST ? -EBADMSG : rc;
        why.code = rc;
        return pith_fail(err, rc, "%s",
                         rc == -ENOMEM && !why.text[0] ? "no memory to read the model"
                                                       : pith_error_text(&why));
    }
    *out = reader.graph;
    return 0;
}
