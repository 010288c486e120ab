/* Attributes of nodes, and Constant nodes, whose attributes are constants. */
#include "libpith/formats/onnx_fields.h"
#include "libpith/formats/onnx_read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct attribute_fields {
    struct proto message;
    struct proto name;
    uint64_t type; /* enum pith_attribute_kind, or another number of AttributeProto.AttributeType */
    uint32_t present; /* the first field that holds a value: files of IR version 1 give no type */
    uint64_t integer;
    float number;
    struct proto bytes; /* of s, t, g or sparse_tensor */
    bool has_bytes;
    bool is_reference;
};

static float float_of(uint64_t bits)
{
    uint32_t low = (uint32_t) bits;
    float value;

    memcpy(&value, &low, sizeof value);
    return value;
}

static uint64_t type_of_field(uint32_t field)
{
    switch (field) {
    case ATTRIBUTE_F:
        return PITH_ATTRIBUTE_FLOAT;
    case ATTRIBUTE_I:
        return PITH_ATTRIBUTE_INT;
    case ATTRIBUTE_S:
        return PITH_ATTRIBUTE_STRING;
    case ATTRIBUTE_T:
        return PITH_ATTRIBUTE_TENSOR;
    case ATTRIBUTE_G:
        return PITH_ATTRIBUTE_GRAPH;
    case ATTRIBUTE_FLOATS:
        return PITH_ATTRIBUTE_FLOATS;
    case ATTRIBUTE_INTS:
        return PITH_ATTRIBUTE_INTS;
    case ATTRIBUTE_STRINGS:
        return PITH_ATTRIBUTE_STRINGS;
    case ATTRIBUTE_SPARSE_TENSOR:
        return ATTRIBUTE_TYPE_SPARSE_TENSOR;
    default:
        return PITH_ATTRIBUTE_NONE;
    }
}

static bool wire_is_right(const struct proto_field *field)
{
    switch (field->number) {
    case ATTRIBUTE_F:
        return field->wire == PROTO_FIXED32;
    case ATTRIBUTE_I:
    case ATTRIBUTE_TYPE:
        return field->wire == PROTO_VARINT;
    case ATTRIBUTE_NAME:
    case ATTRIBUTE_S:
    case ATTRIBUTE_T:
    case ATTRIBUTE_G:
    case ATTRIBUTE_STRINGS:
    case ATTRIBUTE_SPARSE_TENSOR:
        return field->wire == PROTO_BYTES;
    case ATTRIBUTE_FLOATS:
        return field->wire == PROTO_BYTES || field->wire == PROTO_FIXED32;
    case ATTRIBUTE_INTS:
        return field->wire == PROTO_BYTES || field->wire == PROTO_VARINT;
    default:
        return true;
    }
}

static int read_fields(struct attribute_fields *fields, struct proto message,
                       struct pith_error *err)
{
    struct proto_field field;
    int rc;

    *fields = (struct attribute_fields){.message = message};
    while ((rc = proto_next(&message, &field)) > 0) {
        if (!wire_is_right(&field))
            return pith_fail(err, -EBADMSG, "an attribute's field %u is of another wire type",
                             (unsigned) field.number);
        if (!fields->present && type_of_field(field.number))
            fields->present = field.number;
        switch (field.number) {
        case ATTRIBUTE_NAME:
            fields->name = field.bytes;
            break;
        case ATTRIBUTE_TYPE:
            fields->type = field.integer;
            break;
        case ATTRIBUTE_F:
            fields->number = float_of(field.integer);
            break;
        case ATTRIBUTE_I:
            fields->integer = field.integer;
            break;
        case ATTRIBUTE_S:
        case ATTRIBUTE_T:
        case ATTRIBUTE_G:
        case ATTRIBUTE_SPARSE_TENSOR:
            fields->bytes = field.bytes;
            fields->has_bytes = true;
            break;
        case ATTRIBUTE_REF_NAME:
            fields->is_reference = true;
            break;
        default:
            break;
        }
    }
    if (rc < 0)
        return pith_fail(err, rc, "an attribute's bytes are broken");
    if (fields->type == PITH_ATTRIBUTE_NONE)
        fields->type = type_of_field(fields->present);
    return 0;
}

/* ---- lists ---- */

/* A malloc'ed list of int64 or float. An empty one has an address too. */
static int read_numbers(const struct attribute_fields *fields, uint32_t number, void **out,
                        size_t *out_count, struct pith_error *err)
{
    bool floats = number == ATTRIBUTE_FLOATS;
    size_t item = floats ? sizeof(float) : sizeof(int64_t);
    /* Packed or not, an entry takes at least a byte (4 as a float) of the message. */
    size_t most = proto_size(fields->message) / (floats ? sizeof(float) : 1);
    struct proto message = fields->message;
    struct proto_field field;
    size_t count = 0;
    uint8_t *list = malloc((most + 1) * item);
    int rc;

    if (!list)
        return pith_fail(err, -ENOMEM, "no memory for a list of %zu numbers", most);
    while ((rc = proto_next(&message, &field)) > 0) {
        struct proto packed = field.bytes;
        uint64_t entry;

        if (field.number != number)
            continue;
        if (field.wire != PROTO_BYTES) {
            memcpy(list + item * count++, &field.integer, item);
        } else if (floats) {
            size_t bytes = proto_size(packed);

            if (bytes % item) {
                rc = -EBADMSG;
                break;
            }
            if (bytes)
                memcpy(list + item * count, packed.at, bytes);
            count += bytes / item;
        } else {
            while ((rc = proto_next_varint(&packed, &entry)) > 0)
                memcpy(list + item * count++, &entry, item);
            if (rc < 0)
                break;
        }
    }
    if (rc < 0) {
        free(list);
        return pith_fail(err, rc, "a list of numbers is broken");
    }
    *out = list;
    *out_count = count;
    return 0;
}

/* Any bytes but 0: attributes may hold text in any encoding. */
static int attribute_text(char **out, struct proto bytes, struct pith_error *err)
{
    size_t size = proto_size(bytes);
    char *text;

    if (size && memchr(bytes.at, 0, size))
        return pith_fail(err, -ENOTSUP, "a string in it holds a zero byte");
    text = malloc(size + 1);
    if (!text)
        return pith_fail(err, -ENOMEM, "no memory for a string of %zu bytes", size);
    if (size)
        memcpy(text, bytes.at, size);
    text[size] = 0;
    *out = text;
    return 0;
}

static int read_strings(struct pith_graph *graph, uint32_t node, const char *name,
                        const struct attribute_fields *fields, struct pith_error *err)
{
    struct proto message = fields->message;
    struct proto_field field;
    size_t capacity = 0;
    size_t count = 0;
    char **texts = NULL;
    int rc;

    while ((rc = proto_next(&message, &field)) > 0) {
        if (field.number != ATTRIBUTE_STRINGS)
            continue;
        rc = grow(&texts, sizeof *texts, count, &capacity);
        if (rc == 0)
            rc = attribute_text(&texts[count], field.bytes, err);
        if (rc < 0)
            break;
        count++;
    }
    if (rc == 0)
        rc = pith_node_set_strings(graph, node, name, (const char *const *) texts, count);
    while (count-- > 0)
        free(texts[count]);
    free(texts);
    return rc;
}

/* ---- one attribute ---- */

static int set_tensor(struct onnx_scope *scope, uint32_t node, const char *name,
                      const struct attribute_fields *fields, struct pith_error *err)
{
    struct onnx_tensor tensor = {0};
    int rc = onnx_read_tensor(&tensor, fields->bytes, err);

    if (rc < 0)
        return rc;
    if (tensor.owned)
        rc = pith_node_set_tensor(scope->graph, node, name, &tensor.tensor);
    else
        rc = pith_node_adopt_tensor(scope->graph, node, name, &tensor.tensor,
                                    scope->reader->backing);
    onnx_tensor_done(&tensor);
    return rc;
}

static int set_graph(struct onnx_scope *scope, uint32_t node, const char *name,
                     const struct attribute_fields *fields, struct pith_error *err)
{
    struct onnx_scope inside = {
        .reader = scope->reader, .around = scope, .depth = scope->depth + 1};
    int rc;

    if (inside.depth > GRAPH_MAX_DEPTH)
        return pith_fail(err, -EBADMSG, "sub-graphs are nested deeper than %d", GRAPH_MAX_DEPTH);
    rc = onnx_read_graph(&inside, fields->bytes, err);
    if (rc == 0)
        rc = pith_node_set_graph(scope->graph, node, name, inside.graph);
    if (rc < 0)
        pith_graph_free(inside.graph);
    return rc;
}

static int set_list(struct pith_graph *graph, uint32_t node, const char *name,
                    const struct attribute_fields *fields, struct pith_error *err)
{
    bool floats = fields->type == PITH_ATTRIBUTE_FLOATS;
    void *list;
    size_t count;
    int rc = read_numbers(fields, floats ? ATTRIBUTE_FLOATS : ATTRIBUTE_INTS, &list, &count, err);

    if (rc < 0)
        return rc;
    rc = floats ? pith_node_set_floats(graph, node, name, list, count)
                : pith_node_set_ints(graph, node, name, list, count);
    free(list);
    return rc;
}

static int set_text(struct pith_graph *graph, uint32_t node, const char *name,
                    const struct attribute_fields *fields, struct pith_error *err)
{
    char *text;
    int rc = attribute_text(&text, fields->bytes, err);

    if (rc < 0)
        return rc;
    rc = pith_node_set_string(graph, node, name, text);
    free(text);
    return rc;
}

static int set_attribute(struct onnx_scope *scope, uint32_t node, const char *name,
                         const struct attribute_fields *fields, struct pith_error *err)
{
    struct pith_graph *graph = scope->graph;

    switch (fields->type) {
    case PITH_ATTRIBUTE_FLOAT:
        return pith_node_set_float(graph, node, name, fields->number);
    case PITH_ATTRIBUTE_INT:
        return pith_node_set_int(graph, node, name, (int64_t) fields->integer);
    case PITH_ATTRIBUTE_STRING:
        return set_text(graph, node, name, fields, err);
    case PITH_ATTRIBUTE_TENSOR:
        if (fields->has_bytes)
            return set_tensor(scope, node, name, fields, err);
        break;
    case PITH_ATTRIBUTE_GRAPH:
        if (fields->has_bytes)
            return set_graph(scope, node, name, fields, err);
        break;
    case PITH_ATTRIBUTE_FLOATS:
    case PITH_ATTRIBUTE_INTS:
        return set_list(graph, node, name, fields, err);
    case PITH_ATTRIBUTE_STRINGS:
        return read_strings(graph, node, name, fields, err);
    default:
        return pith_fail(err, -ENOTSUP, "its type is number %llu, which is not supported",
                         (unsigned long long) fields->type);
    }
    return pith_fail(err, -EBADMSG, "it has no value");
}

int onnx_read_attribute(struct onnx_scope *scope, uint32_t node, struct proto message,
                        const char *what, struct pith_error *err)
{
    struct attribute_fields fields;
    char *name;
    int rc = read_fields(&fields, message, err);

    if (rc == 0)
        rc = onnx_text(&name, fields.name, err);
    if (rc < 0)
        return pith_fail_in(err, rc, "%s", what);
    if (fields.is_reference)
        rc = pith_fail(err, -ENOTSUP, "it refers to an attribute of a function");
    else if (pith_node_has(scope->graph, node, name))
        rc = pith_fail(err, -EBADMSG, "it is given twice");
    else
        rc = set_attribute(scope, node, name, &fields, err);
    if (rc < 0 && fields.type != PITH_ATTRIBUTE_GRAPH)
        rc = pith_fail_in(err, rc, "%s: attribute \"%.80s\"", what, name);
    free(name);
    return rc;
}

/* ---- Constant ---- */

int onnx_give_constant(struct onnx_scope *scope, uint32_t value, struct onnx_tensor *tensor,
                       struct pith_error *err)
{
    int rc;

    if (tensor->owned)
        rc = pith_value_take_constant(scope->graph, value, &tensor->tensor);
    else
        rc =
            pith_value_adopt_constant(scope->graph, value, &tensor->tensor, scope->reader->backing);
    onnx_tensor_done(tensor);
    return rc < 0 ? pith_fail(err, rc, "no memory for a constant") : 0;
}

/* value_int, value_float: a scalar; value_ints, value_floats: a list. */
static int constant_of_numbers(const struct attribute_fields *fields, struct onnx_tensor *out,
                               struct pith_error *err)
{
    bool floats = fields->type == PITH_ATTRIBUTE_FLOAT || fields->type == PITH_ATTRIBUTE_FLOATS;
    bool list = fields->type == PITH_ATTRIBUTE_FLOATS || fields->type == PITH_ATTRIBUTE_INTS;
    int64_t scalar = (int64_t) fields->integer;
    struct pith_shape shape = {0};
    void *items = NULL;
    size_t count;
    int rc;

    if (list) {
        rc = read_numbers(fields, floats ? ATTRIBUTE_FLOATS : ATTRIBUTE_INTS, &items, &count, err);
        if (rc < 0)
            return rc;
        shape.rank = 1;
        shape.dim[0] = (int64_t) count;
    }
    rc = pith_tensor_alloc(&out->tensor, floats ? PITH_FLOAT32 : PITH_INT64, &shape, err);
    if (rc == 0) {
        const void *from = list ? items : floats ? (const void *) &fields->number : &scalar;

        memcpy(out->tensor.data, from, out->tensor.bytes);
        out->owned = true;
    }
    free(items);
    return rc;
}

static int constant_of_attribute(const struct attribute_fields *fields, struct onnx_tensor *out,
                                 struct pith_error *err)
{
    switch (fields->type) {
    case PITH_ATTRIBUTE_TENSOR:
        return onnx_read_tensor(out, fields->bytes, err);
    case ATTRIBUTE_TYPE_SPARSE_TENSOR:
        return onnx_read_sparse(out, fields->bytes, err);
    case PITH_ATTRIBUTE_FLOAT:
    case PITH_ATTRIBUTE_INT:
    case PITH_ATTRIBUTE_FLOATS:
    case PITH_ATTRIBUTE_INTS:
        return constant_of_numbers(fields, out, err);
    default:
        return pith_fail(err, -ENOTSUP, "it holds strings, which no operator here takes");
    }
}

int onnx_read_constant_node(struct onnx_scope *scope, uint32_t value, struct proto node,
                            const char *what, struct pith_error *err)
{
    struct onnx_tensor tensor = {0};
    struct attribute_fields fields;
    struct proto_field field;
    bool found = false;
    int rc;

    while ((rc = proto_next(&node, &field)) > 0) {
        if (field.number != NODE_ATTRIBUTE)
            continue;
        rc = found ? pith_fail(err, -EBADMSG, "it has more than one attribute")
                   : read_fields(&fields, field.bytes, err);
        if (rc < 0)
            return pith_fail_in(err, rc, "%s", what);
        found = true;
    }
    if (rc == 0 && !found)
        rc = pith_fail(err, -EBADMSG, "it has no attribute, so no value");
    if (rc == 0)
        rc = constant_of_attribute(&fields, &tensor, err);
    if (rc < 0)
        return pith_fail_in(err, rc, "%s", what);
    return onnx_give_constant(scope, value, &tensor, err);
}
