/* Variables: what a model keeps from one call to the next. In a graph, which keeps nothing, one that is
 * read before it is written becomes an input of its name, and an output of what it holds at the end:
 * whoever runs the graph hands the one back as the other, and begins with zeros. Both are reals, as 0 of
 * a quantized variable's integers need not be. */
#include "libpith/formats/tflite_read.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_VARIABLES  256
#define MOST_FIRST      (4 * MOST_VARIABLES) /* operators that set them before the first run */
#define MOST_NAME       200
#define VAR_HANDLE      142
#define ASSIGN_VARIABLE 144

enum { CALL_ONCE_SUBGRAPH = 0 };
enum { HANDLE_NAME = 1 };

struct tflite_variable {
    const char *name; /* in the arena */
    int32_t holds;    /* the tensor that it was last read as, or set to */
    uint32_t input;   /* PITH_NO_VALUE: set before it is read */
    bool is_set;      /* before the first run: to `first` */
    double first;     /* as stored, in all its elements */
};

/* A name that is cut off might be that of two. */
static void read_name(struct tflite_node *node, struct flat_vector text, char name[MOST_NAME + 1])
{
    if (text.count > MOST_NAME) {
        tflite_fail(node, -ENOTSUP, "a variable's name is longer than %d bytes", MOST_NAME);
        return;
    }
    for (uint32_t i = 0; i < text.count; i++) {
        const uint8_t c = flat_item_u8(text, i);

        name[i] = (char) (c < 0x20 || c >= 0x7f ? '_' : c);
    }
    name[text.count] = 0;
}

static void add_variable(struct tflite_node *node, const char *name)
{
    struct tflite_reader *reader = node->reader;
    struct tflite_variable variable = {.holds = TFLITE_NO_TENSOR, .input = PITH_NO_VALUE};

    if (reader->variable_count == MOST_VARIABLES) {
        tflite_fail(node, -ENOTSUP, "it has more than %d variables", MOST_VARIABLES);
        return;
    }
    if (!reader->variables)
        reader->variables =
            arena_alloc(&reader->arena, MOST_VARIABLES * sizeof *reader->variables);
    variable.name = arena_text(&reader->arena, name);
    if (!reader->variables || !variable.name)
        tflite_fail(node, -ENOMEM, "no memory to read the model");
    else
        reader->variables[reader->variable_count++] = variable;
}

/* What the tensor is a handle of. The same name means the same variable, however often it is asked for. */
static void make_handle(struct tflite_node *node, struct flat_table options, struct tflite_tensor *tensor)
{
    struct tflite_reader *reader = node->reader;
    char name[MOST_NAME + 1] = "";
    uint32_t i = 0;

    read_name(node, flat_text(options, HANDLE_NAME), name);
    while (i < reader->variable_count && strcmp(reader->variables[i].name, name) != 0)
        i++;
    if (node->rc == 0 && i == reader->variable_count)
        add_variable(node, name);
    if (node->rc == 0)
        tensor->variable = i + 1;
}

static void handle(struct tflite_node *node)
{
    make_handle(node, node->options, &node->reader->tensors[node->outputs[0]]);
}

static struct tflite_variable *variable_of(struct tflite_node *node)
{
    const uint32_t variable = tflite_input(node, 0)->variable;

    if (node->rc == 0 && variable == 0)
        tflite_fail(node, -EBADMSG, "its input 0 is no variable");
    return node->rc == 0 ? &node->reader->variables[variable - 1] : NULL;
}

/* A variable keeps integers, whose meaning must not change on the way. */
static void check_grid(struct tflite_node *node, const struct tflite_tensor *a, int32_t other)
{
    const struct tflite_tensor *b = &node->reader->tensors[other];
    const struct pith_quantization *p = &a->quantization, *q = &b->quantization;
    bool same = a->dtype == b->dtype && p->count == q->count && p->axis == q->axis;

    for (size_t i = 0; same && i < p->count; i++)
        same = p->scale[i] == q->scale[i] && p->zero_point[i] == q->zero_point[i];
    if (!same)
        tflite_fail(node, -ENOTSUP, "its variable is set as one type or grid and read as another");
}

/* Whoever runs the graph begins with zeros: so must the variable, on the grid that it is read on. */
static void check_first(struct tflite_node *node, const struct tflite_variable *variable,
                        const struct tflite_tensor *tensor)
{
    const double zero = tflite_on_grid(tensor) ? tensor->quantization.zero_point[0] : 0;

    if (tensor->quantization.count > 1)
        tflite_fail(node, -ENOTSUP, "a variable has a scale for each channel");
    else if (variable->is_set && variable->first != zero)
        tflite_fail(node, -ENOTSUP, "a variable begins with other values than zeros");
}

static void begin_state(struct tflite_node *node, struct tflite_variable *variable)
{
    struct tflite_reader *reader = node->reader;
    struct tflite_tensor *tensor = &reader->tensors[node->outputs[0]];
    const bool grid = tflite_on_grid(tensor);
    char name[MOST_NAME + 16];
    uint32_t input;

    if (tensor->dtype == PITH_DTYPE_NONE || tensor->constant.data ||
        tensor->value[FORM_PLAIN] != PITH_NO_VALUE || tensor->value[FORM_PLANAR] != PITH_NO_VALUE) {
        tflite_fail(node, -EBADMSG, "what it reads is no tensor of its own");
        return;
    }
    check_first(node, variable, tensor);
    if (node->rc < 0)
        return;
    (void) snprintf(name, sizeof name, "%s", variable->name);
    if (!name[0] || pith_graph_find_value(reader->graph, name) != PITH_NO_VALUE)
        (void) snprintf(name, sizeof name, "%s.%u", variable->name, (unsigned) node->index);
    node->rc = pith_graph_add_value(reader->graph, name, grid ? PITH_FLOAT32 : tensor->dtype,
                                    &tensor->shape, &input, node->err);
    if (node->rc == 0)
        node->rc = pith_graph_add_input(reader->graph, input);
    if (node->rc == 0 && grid)
        node->rc = pith_value_set_quantization(reader->graph, input, &tensor->quantization);
    if (node->rc < 0)
        return;
    tensor->value[FORM_PLAIN] = variable->input = input;
    tensor->home = FORM_PLAIN;
    variable->holds = node->outputs[0];
}

static void read_variable(struct tflite_node *node)
{
    struct tflite_variable *variable = variable_of(node);

    if (!variable)
        return;
    if (variable->holds == TFLITE_NO_TENSOR) {
        begin_state(node, variable);
    } else {
        check_grid(node, tflite_output(node, 0), variable->holds);
        if (node->rc == 0)
            tflite_alias(node, node->outputs[0], variable->holds);
    }
}

static void assign(struct tflite_node *node)
{
    struct tflite_variable *variable = variable_of(node);

    if (!variable)
        return;
    if (variable->holds != TFLITE_NO_TENSOR)
        check_grid(node, tflite_input(node, 1), variable->holds);
    if (node->rc == 0)
        variable->holds = node->inputs[1];
}

/* ---- what variables begin with ---- */

/* False where its elements differ, or none is known. */
static bool only_value(const struct tflite_tensor *tensor, double *out)
{
    const struct pith_tensor *constant = &tensor->constant;
    const int64_t elements = constant->data ? pith_shape_elements(&constant->shape) : 0;

    for (int64_t i = 0; i < elements; i++) {
        const double value = pith_tensor_get(constant, i);

        if (i > 0 && value != *out)
            return false;
        *out = value;
    }
    return elements > 0;
}

static struct tflite_tensor *tensor_at(struct tflite_node *node, struct flat_vector list, uint32_t i)
{
    const int32_t number = i < list.count ? flat_item_i32(list, i) : TFLITE_NO_TENSOR;

    if (number >= 0 && number < (int32_t) node->reader->tensor_count)
        return &node->reader->tensors[number];
    tflite_fail(node, -EBADMSG, "a variable is set to a tensor that is not there");
    return NULL;
}

static void set_first(struct tflite_node *node, const struct tflite_tensor *handle, const struct tflite_tensor *value)
{
    struct tflite_variable *variable =
        handle->variable > 0 ? &node->reader->variables[handle->variable - 1] : NULL;

    if (!variable || variable->is_set || variable->holds != TFLITE_NO_TENSOR) {
        tflite_fail(node, -EBADMSG, "what is set before the first run is no variable, or was used");
        return;
    }
    node->rc = tflite_count_copy(node->reader, value->constant.bytes, node->err);
    if (node->rc < 0)
        return;
    if (!only_value(value, &variable->first))
        tflite_fail(node, -ENOTSUP, "a variable begins with other values than zeros");
    else
        variable->is_set = true;
}

/* An operator of the sub-graph that runs once: it makes a handle, or sets a variable. */
static void run_once(struct tflite_node *node, struct flat_table from)
{
    const struct tflite_reader *reader = node->reader;
    const struct flat_vector codes = flat_items(reader->model, MODEL_OPERATOR_CODES, 4);
    const struct flat_vector inputs = flat_items(from, OPERATOR_INPUTS, 4);
    const uint32_t code = flat_u32(from, OPERATOR_CODE, 0);
    const int32_t builtin = code < codes.count ? tflite_code_of(flat_item_table(codes, code)) : -1;
    struct tflite_tensor *a, *b;

    if (reader->file.broken)
        return;
    if (builtin == VAR_HANDLE) {
        a = tensor_at(node, flat_items(from, OPERATOR_OUTPUTS, 4), 0);
        if (a)
            make_handle(node, flat_child(from, OPERATOR_OPTIONS), a);
    } else if (builtin == ASSIGN_VARIABLE) {
        a = tensor_at(node, inputs, 0);
        b = a ? tensor_at(node, inputs, 1) : NULL;
        if (b)
            set_first(node, a, b);
    } else {
        tflite_fail(node, -ENOTSUP, "it does more than to set variables before the first run");
    }
}

/* Its tensors are seen in the place of the others. */
static void call_once(struct tflite_node *node)
{
    struct tflite_reader *reader = node->reader, around = *reader;
    const struct flat_vector subgraphs = flat_items(reader->model, MODEL_SUBGRAPHS, 4);
    const int32_t number = flat_i32(node->options, CALL_ONCE_SUBGRAPH, 0);
    struct flat_vector operators;

    if (number < 1 || number >= (int32_t) subgraphs.count || reader->called_once) {
        tflite_fail(node, -ENOTSUP,
                    reader->called_once ? "it is one more than the one that is read"
                                        : "the sub-graph that it names is not there");
        return;
    }
    reader->called_once = true;
    reader->tensors = NULL;
    reader->tensor_count = 0;
    node->rc = tflite_read_tensors(reader, flat_item_table(subgraphs, (uint32_t) number), node->err);
    operators = flat_items(flat_item_table(subgraphs, (uint32_t) number), SUBGRAPH_OPERATORS, 4);
    if (node->rc == 0 && operators.count > MOST_FIRST)
        tflite_fail(node, -ENOTSUP, "it has %u operators to set variables", (unsigned) operators.count);
    for (uint32_t i = 0; i < operators.count && node->rc == 0; i++)
        run_once(node, flat_item_table(operators, i));
    tflite_free_tensors(reader);
    reader->tensors = around.tensors;
    reader->tensor_count = around.tensor_count;
    reader->copy_bytes_left = around.copy_bytes_left;
}

/* ---- what they hold at the end ---- */

static void end_state(struct tflite_node *node, const struct tflite_variable *variable,
                      json_t *pairs)
{
    struct pith_graph *graph = node->reader->graph;
    const char *input = pith_value_name(graph, variable->input);
    char name[MOST_NAME + 32];
    uint32_t value = tflite_value(node, variable->holds, FORM_PLAIN), output;

    if (node->rc < 0)
        return;
    output = tflite_temporary(node, pith_value_dtype(graph, value));
    (void) tflite_emit1(node, "Identity", value, output);
    (void) snprintf(name, sizeof name, "%s.next", input);
    if (node->rc == 0)
        node->rc = pith_value_set_name(graph, output, name);
    if (node->rc == 0)
        node->rc = pith_graph_add_output(graph, output);
    if (node->rc == 0 && json_object_set_new_nocheck(pairs, input, json_string(name)) < 0)
        tflite_fail(node, -ENOMEM, "no memory to read the model");
}

int tflite_end_variables(struct tflite_reader *reader, struct pith_error *err)
{
    struct tflite_node node = {
        .reader = reader, .row = &(struct tflite_operator){.name = "STATE"}, .err = err};
    json_t *pairs = json_object();
    char *text = NULL;

    for (uint32_t i = 0; pairs && i < reader->variable_count && node.rc == 0; i++) {
        node.index = i;
        node.emitted = 0;
        if (reader->variables[i].input != PITH_NO_VALUE)
            end_state(&node, &reader->variables[i], pairs);
    }
    if (node.rc == 0 && json_object_size(pairs) > 0) {
        text = json_dumps(pairs, JSON_COMPACT | JSON_SORT_KEYS);
        node.rc = text ? pith_graph_set_metadata(reader->graph, "pith.state", text) : -ENOMEM;
    }
    if (!pairs)
        node.rc = -ENOMEM;
    free(text);
    json_decref(pairs);
    return node.rc;
}

const struct tflite_operator tflite_variable_operators[] = {
    {129, "CALL_ONCE", call_once, OPTIONS_CALL_ONCE, 0, 0, NULL},
    {VAR_HANDLE, "VAR_HANDLE", handle, OPTIONS_VAR_HANDLE, 0, 1, NULL},
    {143, "READ_VARIABLE", read_variable, OPTIONS_NONE, 1, 1, NULL},
    {ASSIGN_VARIABLE, "ASSIGN_VARIABLE", assign, OPTIONS_NONE, 2, 0, NULL},
    {0},
};
