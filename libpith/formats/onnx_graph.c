/* GraphProto -> graph: constants, inputs, what nodes make, types, nodes, outputs, in that order, so
 * that a node finds all names that it uses whatever the order in the file. A name that a sub-graph
 * doesn't make itself is captured from the graph around. */
#include "libpith/formats/onnx_fields.h"
#include "libpith/formats/onnx_read.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHAT_BYTES      200
#define MOST_ATTRIBUTES 256 /* of a node: each is looked for among those before it */

static int fail_memory(struct pith_error *err)
{
    return pith_fail(err, -ENOMEM, "no memory to read the model");
}

/* ---- types ---- */

static int read_dim(struct proto message, int64_t *out, struct pith_error *err)
{
    struct proto_field field;
    int rc;

    *out = PITH_DIM_UNKNOWN;
    while ((rc = proto_next(&message, &field)) > 0) {
        if (field.number != DIM_VALUE)
            continue; /* dim_param: a name for a size that is not known yet */
        if (field.wire != PROTO_VARINT)
            return pith_fail(err, -EBADMSG, "a dimension is of another wire type");
        *out = (int64_t) field.integer;
        if (*out < PITH_DIM_UNKNOWN || *out > PITH_TENSOR_MAX_BYTES)
            return pith_fail(err, -EBADMSG, "a dimension is %lld", (long long) *out);
    }
    return rc < 0 ? pith_fail(err, rc, "a dimension is broken") : 0;
}

static int read_shape(struct proto message, struct pith_shape *out, struct pith_error *err)
{
    struct proto_field field;
    int rc;

    *out = (struct pith_shape){0};
    while ((rc = proto_next(&message, &field)) > 0) {
        if (field.number != SHAPE_DIM)
            continue;
        if (field.wire != PROTO_BYTES)
            return pith_fail(err, -EBADMSG, "its shape is of another wire type");
        if (out->rank == PITH_MAX_RANK)
            return pith_fail(err, -ENOTSUP, "it has more than %d dimensions", PITH_MAX_RANK);
        rc = read_dim(field.bytes, &out->dim[out->rank++], err);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? pith_fail(err, rc, "its shape is broken") : 0;
}

static int read_tensor_type(struct proto message, int32_t *out_dtype, struct pith_shape *out_shape,
                            bool *out_has_shape, struct pith_error *err)
{
    struct proto_field field;
    int rc;

    while ((rc = proto_next(&message, &field)) > 0) {
        if (field.number == TENSOR_TYPE_ELEMENT) {
            if (field.wire != PROTO_VARINT || field.integer > INT32_MAX)
                return pith_fail(err, -EBADMSG, "its element type is broken");
            *out_dtype = (int32_t) field.integer;
        } else if (field.number == TENSOR_TYPE_SHAPE) {
            if (field.wire != PROTO_BYTES)
                return pith_fail(err, -EBADMSG, "its shape is of another wire type");
            *out_has_shape = true;
            rc = read_shape(field.bytes, out_shape, err);
            if (rc < 0)
                return rc;
        }
    }
    return rc < 0 ? pith_fail(err, rc, "its type is broken") : 0;
}

static int read_type(struct proto message, int32_t *out_dtype, struct pith_shape *out_shape,
                     bool *out_has_shape, struct pith_error *err)
{
    struct proto_field field;
    int rc;

    while ((rc = proto_next(&message, &field)) > 0) {
        if (field.wire != PROTO_BYTES)
            return pith_fail(err, -EBADMSG, "its type is of another wire type");
        if (field.number == TYPE_TENSOR)
            rc = read_tensor_type(field.bytes, out_dtype, out_shape, out_has_shape, err);
        else if (field.number != 6) /* denotation: a remark */
            rc = pith_fail(err, -ENOTSUP, "it is no tensor but a sequence, map or optional");
        if (rc < 0)
            return rc;
    }
    if (rc < 0)
        return pith_fail(err, rc, "its type is broken");
    if (*out_dtype != PITH_DTYPE_NONE && !strcmp(pith_dtype_name(*out_dtype), "unknown"))
        return pith_fail(err, -ENOTSUP, "its element type is number %d, which is unknown",
                         (int) *out_dtype);
    return 0;
}

/* A ValueInfoProto. *out_name is malloc'ed; *out_dtype is PITH_DTYPE_NONE where it says nothing. */
static int read_value_info(struct proto message, char **out_name, int32_t *out_dtype,
                         struct pith_shape *out_shape, bool *out_has_shape, struct pith_error *err)
{
    struct proto name = {0};
    struct proto type = {0};
    struct proto_field field;
    int rc;

    *out_dtype = PITH_DTYPE_NONE;
    *out_has_shape = false;
    while ((rc = proto_next(&message, &field)) > 0) {
        if (field.number != VALUE_INFO_NAME && field.number != VALUE_INFO_TYPE)
            continue;
        if (field.wire != PROTO_BYTES)
            return pith_fail(err, -EBADMSG, "the type of a value is of another wire type");
        if (field.number == VALUE_INFO_NAME)
            name = field.bytes;
        else
            type = field.bytes;
    }
    if (rc < 0)
        return pith_fail(err, rc, "the type of a value is broken");
    rc = onnx_text(out_name, name, err);
    if (rc < 0)
        return rc;
    rc = read_type(type, out_dtype, out_shape, out_has_shape, err);
    if (rc < 0) {
        rc = pith_fail_in(err, rc, "value \"%.120s\"", *out_name);
        free(*out_name);
        *out_name = NULL;
    }
    return rc;
}

/* The next message or text of that number. */
static bool next_field(struct proto *message, uint32_t number, struct proto *out)
{
    struct proto_field field;

    while (proto_next(message, &field) > 0)
        if (field.number == number && field.wire == PROTO_BYTES) {
            *out = field.bytes;
            return true;
        }
    return false;
}

/* Names of sizes that aren't known, of a type that was read before. */
static int keep_dim_names(struct onnx_scope *scope, uint32_t value, struct proto info,
                          struct pith_error *err)
{
    struct proto type, tensor, shape, dim, name;
    int rc = 0;

    if (!next_field(&info, VALUE_INFO_TYPE, &type) || !next_field(&type, TYPE_TENSOR, &tensor) ||
        !next_field(&tensor, TENSOR_TYPE_SHAPE, &shape))
        return 0;
    for (uint32_t axis = 0; rc == 0 && axis < PITH_MAX_RANK && next_field(&shape, SHAPE_DIM, &dim);
         axis++) {
        char *text = NULL;

        if (!next_field(&dim, DIM_PARAM, &name))
            continue;
        rc = onnx_text(&text, name, err);
        if (rc == 0 && text[0])
            rc = pith_value_set_dim_name(scope->graph, value, axis, text);
        free(text);
    }
    return rc == -ENOMEM ? fail_memory(err) : rc;
}

/* ---- constants, inputs, types, outputs ---- */

static int read_initializer(struct onnx_scope *scope, const struct proto_field *field,
                            struct pith_error *err)
{
    struct onnx_tensor tensor = {0};
    uint32_t value;
    char *name = NULL;
    int rc = field->number == GRAPH_INITIALIZER ? onnx_read_tensor(&tensor, field->bytes, err)
                                                : onnx_read_sparse(&tensor, field->bytes, err);

    if (rc < 0)
        return rc;
    rc = onnx_text(&name, tensor.name, err);
    if (rc == 0 && !name[0])
        rc = pith_fail(err, -EBADMSG, "a constant has no name");
    if (rc == 0)
        rc = pith_graph_add_value(scope->graph, name, tensor.tensor.dtype, &tensor.tensor.shape,
                                  &value, err);
    if (rc == 0)
        rc = onnx_give_constant(scope, value, &tensor, err);
    onnx_tensor_done(&tensor);
    free(name);
    return rc == -EEXIST ? -EBADMSG : rc;
}

/* Files of IR version 3 list constants among the inputs too: those are defaults that we don't let
 * anybody override. */
static int read_input(struct onnx_scope *scope, const struct proto_field *field,
                      struct pith_error *err)
{
    struct pith_shape shape;
    bool has_shape;
    int32_t dtype;
    uint32_t value;
    char *name;
    int rc = read_value_info(field->bytes, &name, &dtype, &shape, &has_shape, err);

    if (rc < 0)
        return rc;
    value = pith_graph_find_value(scope->graph, name);
    if (!name[0])
        rc = pith_fail(err, -EBADMSG, "an input has no name");
    else if (dtype == PITH_STRING)
        rc = pith_fail(err, -ENOTSUP,
                       "input \"%.120s\" holds strings, which no operator here takes", name);
    else if (value == PITH_NO_VALUE || !pith_value_constant(scope->graph, value)) {
        rc =
            pith_graph_add_value(scope->graph, name, dtype, has_shape ? &shape : NULL, &value, err);
        if (rc == 0)
            rc = pith_graph_add_input(scope->graph, value);
        if (rc == 0)
            rc = keep_dim_names(scope, value, field->bytes, err);
    }
    free(name);
    return rc == -EEXIST ? -EBADMSG : rc;
}

/* What value_info and outputs say of values that nodes make; inference then checks it. */
static int read_type_of_value(struct onnx_scope *scope, const struct proto_field *field,
                              struct pith_error *err)
{
    struct pith_shape shape;
    bool has_shape;
    int32_t dtype;
    uint32_t value;
    char *name;
    int rc = read_value_info(field->bytes, &name, &dtype, &shape, &has_shape, err);

    if (rc < 0)
        return rc;
    value = pith_graph_find_value(scope->graph, name);
    if (value != PITH_NO_VALUE && !pith_value_constant(scope->graph, value) &&
        !pith_value_is_input(scope->graph, value)) {
        rc = pith_value_set_type(scope->graph, value, dtype, has_shape ? &shape : NULL);
        if (rc == 0 && has_shape && field->number == GRAPH_OUTPUT && !scope->around)
            rc = pith_value_set_declared(scope->graph, value, &shape);
        if (rc == 0)
            rc = keep_dim_names(scope, value, field->bytes, err);
    }
    free(name);
    return rc;
}

/* The value of that name, captured from around where this graph has none; PITH_NO_VALUE where no
 * graph has it. */
static int resolve(struct onnx_scope *scope, const char *name, uint32_t *out,
                   struct pith_error *err)
{
    uint32_t outer;
    uint32_t inner;
    int rc;

    *out = pith_graph_find_value(scope->graph, name);
    if (*out != PITH_NO_VALUE || !scope->around)
        return 0;
    rc = resolve(scope->around, name, &outer, err);
    if (rc < 0 || outer == PITH_NO_VALUE)
        return rc;
    rc = pith_graph_add_value(scope->graph, name, pith_value_dtype(scope->around->graph, outer),
                              pith_value_shape(scope->around->graph, outer), &inner, err);
    if (rc == 0)
        rc = pith_graph_add_capture(scope->graph, inner, outer);
    if (rc == 0)
        *out = inner;
    return rc;
}

static int read_output(struct onnx_scope *scope, const struct proto_field *field,
                       struct pith_error *err)
{
    struct pith_shape shape;
    bool has_shape;
    int32_t dtype;
    uint32_t value = PITH_NO_VALUE;
    char *name;
    int rc = read_value_info(field->bytes, &name, &dtype, &shape, &has_shape, err);

    if (rc < 0)
        return rc;
    rc = resolve(scope, name, &value, err);
    if (rc == 0 && value == PITH_NO_VALUE)
        rc = pith_fail(err, -EBADMSG, "output \"%.120s\" is made by nothing", name);
    if (rc == 0)
        rc = pith_graph_add_output(scope->graph, value);
    free(name);
    return rc;
}

/* ---- nodes ---- */

struct node_fields {
    char *name, *op, *domain;
    uint32_t *inputs, *outputs;
    size_t input_count, input_capacity;
    size_t output_count, output_capacity;
    char what[WHAT_BYTES]; /* 'node "Conv_3" (Conv)', for messages */
};

static void node_fields_done(struct node_fields *fields)
{
    free(fields->name);
    free(fields->op);
    free(fields->domain);
    free(fields->inputs);
    free(fields->outputs);
}

static int take_text(char **into, struct proto bytes, struct pith_error *err)
{
    free(*into);
    *into = NULL;
    return onnx_text(into, bytes, err);
}

static int read_node_names(struct node_fields *fields, struct proto node, struct pith_error *err)
{
    const struct proto empty = {0};
    struct proto_field field;
    int rc;

    while ((rc = proto_next(&node, &field)) > 0) {
        if (field.number > NODE_ATTRIBUTE && field.number != NODE_DOMAIN)
            continue;
        if (field.wire != PROTO_BYTES)
            return pith_fail(err, -EBADMSG, "a node's field %u is of another wire type",
                             (unsigned) field.number);
        if (field.number == NODE_NAME)
            rc = take_text(&fields->name, field.bytes, err);
        else if (field.number == NODE_OP_TYPE)
            rc = take_text(&fields->op, field.bytes, err);
        else if (field.number == NODE_DOMAIN)
            rc = take_text(&fields->domain, field.bytes, err);
        if (rc < 0)
            return rc;
    }
    if (rc < 0)
        return pith_fail(err, rc, "a node's bytes are broken");
    if (!fields->name)
        rc = take_text(&fields->name, empty, err);
    if (rc == 0 && !fields->op)
        rc = take_text(&fields->op, empty, err);
    if (rc == 0 && !fields->domain)
        rc = take_text(&fields->domain, empty, err);
    if (rc < 0)
        return rc;
    if (!fields->op[0])
        return pith_fail(err, -EBADMSG, "node \"%.120s\" names no operator", fields->name);
    (void) snprintf(fields->what, sizeof fields->what, "node \"%.110s\" (%.60s)", fields->name,
                    fields->op);
    return 0;
}

/* Names become values: of inputs by looking around, of outputs as declare_outputs made them. */
static int read_node_values(struct onnx_scope *scope, struct node_fields *fields, struct proto node,
                            struct pith_error *err)
{
    struct proto_field field;
    char *name = NULL;
    int rc;

    while ((rc = proto_next(&node, &field)) > 0) {
        bool input = field.number == NODE_INPUT;
        uint32_t value = PITH_NO_VALUE;

        if (!input && field.number != NODE_OUTPUT)
            continue;
        rc = take_text(&name, field.bytes, err);
        if (rc == 0 && name[0])
            rc = resolve(scope, name, &value, err);
        if (rc == 0 && name[0] && value == PITH_NO_VALUE)
            rc = pith_fail(err, -EBADMSG, "%s takes value \"%.120s\", which nothing makes",
                           fields->what, name);
        if (rc == 0)
            rc = input ? grow(&fields->inputs, sizeof value, fields->input_count,
                              &fields->input_capacity)
                       : grow(&fields->outputs, sizeof value, fields->output_count,
                              &fields->output_capacity);
        if (rc < 0)
            break;
        if (input)
            fields->inputs[fields->input_count++] = value;
        else
            fields->outputs[fields->output_count++] = value;
    }
    free(name);
    return rc == -ENOMEM ? fail_memory(err) : rc;
}

static int declare_output(struct onnx_scope *scope, const struct node_fields *fields,
                          struct proto bytes, struct pith_error *err)
{
    uint32_t value;
    char *name;
    int rc = onnx_text(&name, bytes, err);

    if (rc < 0)
        return rc;
    value = name[0] ? pith_graph_find_value(scope->graph, name) : PITH_NO_VALUE;
    if (value != PITH_NO_VALUE)
        rc = pith_fail(err, -EBADMSG, "%s makes value \"%.120s\", which is already %s",
                       fields->what, name,
                       pith_value_constant(scope->graph, value)   ? "a constant"
                       : pith_value_is_input(scope->graph, value) ? "an input"
                                                                  : "made by another node");
    else if (name[0])
        rc = pith_graph_add_value(scope->graph, name, PITH_DTYPE_NONE, NULL, &value, err);
    free(name);
    return rc;
}

static int declare_outputs(struct onnx_scope *scope, const struct proto_field *node,
                           struct pith_error *err)
{
    struct node_fields fields = {0};
    struct proto message = node->bytes;
    struct proto_field field;
    int rc = read_node_names(&fields, message, err);

    while (rc >= 0 && (rc = proto_next(&message, &field)) > 0)
        if (field.number == NODE_OUTPUT)
            rc = declare_output(scope, &fields, field.bytes, err);
    node_fields_done(&fields);
    return rc;
}

static int read_attributes(struct onnx_scope *scope, uint32_t number, struct proto node,
                           const char *what, struct pith_error *err)
{
    struct proto_field field;
    int rc, count = 0;

    while ((rc = proto_next(&node, &field)) > 0)
        if (field.number == NODE_ATTRIBUTE) {
            if (++count > MOST_ATTRIBUTES)
                return pith_fail(err, -EBADMSG, "%s has more than %d attributes", what,
                                 MOST_ATTRIBUTES);
            rc = onnx_read_attribute(scope, number, field.bytes, what, err);
            if (rc < 0)
                return rc == -ENOMEM ? fail_memory(err) : rc;
        }
    return rc;
}

/* Whether the model defines the operator itself. */
static bool is_function(const struct onnx_scope *scope, const struct node_fields *fields)
{
    struct proto model = scope->reader->model;
    struct proto_field field;

    while (proto_next(&model, &field) > 0) {
        struct proto_field part;
        bool name = false;
        bool domain = !fields->domain[0];

        if (field.number != MODEL_FUNCTIONS || field.wire != PROTO_BYTES)
            continue;
        while (proto_next(&field.bytes, &part) > 0) {
            const char *with = part.number == FUNCTION_NAME ? fields->op : fields->domain;
            bool same = part.wire == PROTO_BYTES && proto_size(part.bytes) == strlen(with) &&
                        !memcmp(part.bytes.at, with, strlen(with));

            if (part.number == FUNCTION_NAME)
                name = same;
            else if (part.number == FUNCTION_DOMAIN)
                domain = same;
        }
        if (name && domain)
            return true;
    }
    return false;
}

static bool is_constant(const struct node_fields *fields)
{
    return !strcmp(fields->op, "Constant") &&
           (!fields->domain[0] || !strcmp(fields->domain, "ai.onnx"));
}

static int add_node(struct onnx_scope *scope, const struct node_fields *fields,
                    struct proto message, struct pith_error *err)
{
    uint32_t node;
    int rc;

    if (is_constant(fields) && fields->output_count == 1 && fields->outputs[0] != PITH_NO_VALUE)
        return onnx_read_constant_node(scope, fields->outputs[0], message, fields->what, err);
    if (scope->reader->has_functions && is_function(scope, fields))
        return pith_fail(err, -ENOTSUP,
                         "%s calls a function that the model defines itself; inline its functions "
                         "and export it again",
                         fields->what);
    rc =
        pith_graph_add_node(scope->graph, fields->domain, fields->op, fields->name, fields->inputs,
                            fields->input_count, fields->outputs, fields->output_count, &node, err);
    if (rc < 0)
        return rc == -EEXIST ? -EBADMSG : rc;
    return read_attributes(scope, node, message, fields->what, err);
}

static int read_node(struct onnx_scope *scope, const struct proto_field *node,
                     struct pith_error *err)
{
    struct node_fields fields = {0};
    int rc = read_node_names(&fields, node->bytes, err);

    if (rc == 0)
        rc = read_node_values(scope, &fields, node->bytes, err);
    if (rc == 0)
        rc = add_node(scope, &fields, node->bytes, err);
    node_fields_done(&fields);
    return rc;
}

/* ---- the graph ---- */

typedef int read_item(struct onnx_scope *scope, const struct proto_field *field,
                      struct pith_error *err);

static int each(struct onnx_scope *scope, struct proto message, uint32_t number, read_item *read,
                struct pith_error *err)
{
    struct proto_field field;
    int rc;

    while ((rc = proto_next(&message, &field)) > 0) {
        if (field.number != number)
            continue;
        rc = field.wire == PROTO_BYTES
                 ? read(scope, &field, err)
                 : pith_fail(err, -EBADMSG, "the graph's field %u is of another wire type",
                             (unsigned) number);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? pith_fail(err, rc, "the graph's bytes are broken or cut off") : 0;
}

static int new_graph(struct onnx_scope *scope, struct proto message, struct pith_error *err)
{
    struct proto_field field;
    char *name = NULL;
    int rc = 0;

    while (rc == 0 && proto_next(&message, &field) > 0)
        if (field.number == GRAPH_NAME && field.wire == PROTO_BYTES)
            rc = take_text(&name, field.bytes, err);
    if (rc == 0)
        rc = pith_graph_new(&scope->graph, name, err);
    free(name);
    return rc;
}

int onnx_read_graph(struct onnx_scope *scope, struct proto message, struct pith_error *err)
{
    static const struct {
        uint32_t field;
        read_item *read;
    } passes[] = {
        {GRAPH_INITIALIZER, read_initializer},
        {GRAPH_SPARSE_INITIALIZER, read_initializer},
        {GRAPH_INPUT, read_input},
        {GRAPH_NODE, declare_outputs},
        {GRAPH_VALUE_INFO, read_type_of_value},
        {GRAPH_OUTPUT, read_type_of_value},
        {GRAPH_NODE, read_node},
        {GRAPH_OUTPUT, read_output},
    };
    int rc = new_graph(scope, message, err);

    for (size_t i = 0; i < sizeof passes / sizeof passes[0] && rc == 0; i++)
        rc = each(scope, message, passes[i].field, passes[i].read, err);
    return rc == -ENOMEM ? fail_memory(err) : rc;
}
