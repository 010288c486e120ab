/* Graph -> ModelProto. A clone is brought into the form that a file needs (an opset that has what
 * it uses, quantization as nodes, names that are unique through all sub-graphs), then written field
 * by field; large constants are only pointed at, and go from where they lie to the file. */
#include "libpith/formats/onnx.h"

#include "libpith/base/file.h"
#include "libpith/base/names.h"
#include "libpith/formats/onnx_fields.h"
#include "libpith/formats/onnx_quantization.h"
#include "libpith/formats/onnx_upgrade.h"
#include "libpith/formats/protobuf.h"
#include "libpith/graph/graph_internal.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPSET_QUANTIZED       13 /* the first with an axis; runtimes make what older ones lack (Round) of pairs */
#define OPSET_BFLOAT16        13
#define OPSET_SMALL_OR_BLOCKS 21
#define LARGEST_MODEL         ((size_t) INT32_MAX) /* of protocol buffers */

/* ---- what the file needs ---- */

static bool is_new_type(int32_t dtype)
{
    return dtype == PITH_INT4 || dtype == PITH_UINT4 || dtype == PITH_INT16 || dtype == PITH_UINT16;
}

static int64_t opset_of_value(const struct pith_graph *graph, uint32_t value)
{
    const struct pith_quantization *q = pith_value_quantization(graph, value);
    const struct pith_tensor *constant = pith_value_constant(graph, value);

    if (constant && (constant->dtype == PITH_INT4 || constant->dtype == PITH_UINT4))
        return OPSET_SMALL_OR_BLOCKS;
    if (constant && constant->dtype == PITH_BFLOAT16)
        return OPSET_BFLOAT16;
    if (!q)
        return 0;
    if (q->block_size || is_new_type(q->dtype))
        return OPSET_SMALL_OR_BLOCKS;
    return OPSET_QUANTIZED;
}

static int64_t needed_opset(const struct pith_graph *graph)
{
    int64_t needed = 0;

    for (uint32_t i = 0; i < pith_graph_value_limit(graph); i++) {
        int64_t opset = opset_of_value(graph, i);

        if (opset > needed && pith_value_use_count(graph, i) > 0)
            needed = opset;
    }
    for (uint32_t i = 0; i < pith_graph_node_limit(graph); i++)
        for (size_t k = 0; k < pith_node_attribute_count(graph, i); k++) {
            const struct pith_graph *inside =
                pith_node_graph(graph, i, pith_node_attribute_name(graph, i, k));
            int64_t opset = inside ? needed_opset(inside) : 0;

            if (opset > needed)
                needed = opset;
        }
    return needed;
}

/* The IR version that came with the opset. */
static int64_t ir_version_of(int64_t opset)
{
    if (opset >= 21)
        return 10;
    if (opset >= 19)
        return 9;
    return opset >= 15 ? 8 : 7;
}

/* ---- the form of a file ---- */

static bool name_is_around(const struct pith_graph *graph, const char *name)
{
    for (; graph; graph = graph->around)
        if (pith_graph_find_value(graph, name) != PITH_NO_VALUE)
            return true;
    return false;
}

/* A name that hides one of the graph around is right in a graph here, and not in a file. */
static int rename_hiding(struct pith_graph *graph)
{
    uint32_t count = pith_graph_value_limit(graph);
    unsigned long next = 0;

    for (uint32_t i = 0; i < count; i++) {
        const char *name = pith_value_name(graph, i);
        char fresh[64];
        int rc;

        if (pith_value_is_captured(graph, i) || !name_is_around(graph->around, name))
            continue;
        do
            (void) snprintf(fresh, sizeof fresh, "pith_inner_%lu", next++);
        while (name_is_around(graph, fresh));
        rc = pith_value_set_name(graph, i, fresh);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* A sub-graph can't hand out a value of the graph around, nor a value twice; a copy of it can. */
static int copy_outputs(struct pith_graph *graph)
{
    for (size_t i = 0; i < pith_graph_output_count(graph); i++) {
        uint32_t value = pith_graph_output(graph, i);
        bool again = false;
        uint32_t copy;
        int rc;

        for (size_t k = 0; k < i; k++)
            again = again || pith_graph_output(graph, k) == value;
        if (!again && !pith_value_is_captured(graph, value))
            continue;
        rc = pith_graph_add_value(graph, NULL, pith_value_dtype(graph, value),
                                  pith_value_shape(graph, value), &copy, NULL);
        if (rc == 0)
            rc = pith_graph_add_node(graph, "", "Identity", NULL, &value, 1, &copy, 1, NULL, NULL);
        if (rc < 0)
            return rc;
        pith_graph_set_output(graph, i, copy);
    }
    return 0;
}

static int prepare_sub_graphs(struct pith_graph *graph)
{
    for (uint32_t i = 0; i < pith_graph_node_limit(graph); i++)
        for (size_t k = 0; k < pith_node_attribute_count(graph, i); k++) {
            struct pith_graph *inside =
                pith_node_edit_graph(graph, i, pith_node_attribute_name(graph, i, k));
            int rc = inside ? copy_outputs(inside) : 0;

            if (rc == 0 && inside)
                rc = rename_hiding(inside);
            if (rc == 0 && inside)
                rc = prepare_sub_graphs(inside);
            if (rc < 0)
                return rc;
        }
    return 0;
}

static int prepare(struct pith_graph *graph, struct pith_error *err)
{
    int64_t needed = needed_opset(graph);
    int rc = 0;

    if (needed > pith_graph_opset(graph, ""))
        rc = onnx_upgrade(graph, needed, err);
    if (rc == 0)
        rc = onnx_unfold_quantization(graph, err);
    if (rc < 0)
        return rc;
    rc = prepare_sub_graphs(graph);
    return rc < 0 ? pith_fail(err, rc, "no memory to write the model") : 0;
}

/* ---- tensors and types ---- */

static void write_tensor(struct proto_pieces *out, uint32_t number, const char *name,
                         const struct pith_tensor *tensor)
{
    struct proto_mark begun = pieces_begin(out);

    for (uint32_t i = 0; i < tensor->shape.rank; i++)
        proto_put_int(&out->text, TENSOR_DIMS, tensor->shape.dim[i]);
    proto_put_int(&out->text, TENSOR_DATA_TYPE, tensor->dtype);
    if (name)
        proto_put_text(&out->text, TENSOR_NAME, name);
    pieces_put_bytes(out, TENSOR_RAW_DATA, tensor->data, tensor->bytes);
    pieces_end(out, number, begun);
}

static void write_shape(struct proto_pieces *out, const struct pith_graph *graph, uint32_t value,
                        const struct pith_shape *shape)
{
    const struct value *of = graph_value(graph, value);
    struct proto_mark begun = pieces_begin(out);

    for (uint32_t i = 0; i < shape->rank; i++) {
        struct proto_mark dim = pieces_begin(out);

        if (shape->dim[i] >= 0)
            proto_put_int(&out->text, DIM_VALUE, shape->dim[i]);
        else if (of->dim_names && of->dim_names_rank == shape->rank && of->dim_names[i])
            proto_put_text(&out->text, DIM_PARAM, of->dim_names[i]);
        pieces_end(out, SHAPE_DIM, dim);
    }
    pieces_end(out, TENSOR_TYPE_SHAPE, begun);
}

/* The name that the value has in the file: that of the graph around where it was captured there. */
static const char *written_name(const struct pith_graph *graph, uint32_t value)
{
    while (pith_value_is_captured(graph, value) && graph->around) {
        uint32_t outer = PITH_NO_VALUE;

        for (size_t i = 0; i < graph->capture_count; i++)
            if (graph->captures[i].inner == value)
                outer = graph->captures[i].outer;
        value = outer;
        graph = graph->around;
    }
    return pith_value_name(graph, value);
}

/* What is inferred, and what a file said where that says nothing. */
static bool known_shape(const struct pith_graph *graph, uint32_t value, struct pith_shape *out)
{
    const struct pith_shape *shape = pith_value_shape(graph, value),
                            *declared = pith_value_declared(graph, value);

    if (!shape && !declared)
        return false;
    *out = shape ? *shape : *declared;
    for (uint32_t i = 0; shape && declared && declared->rank == out->rank && i < out->rank; i++)
        if (out->dim[i] < 0)
            out->dim[i] = declared->dim[i];
    return true;
}

static void write_value_info(struct proto_pieces *out, uint32_t number,
                             const struct pith_graph *graph, uint32_t value)
{
    struct pith_shape shape;
    const bool has_shape = known_shape(graph, value, &shape);
    int32_t dtype = pith_value_dtype(graph, value);
    struct proto_mark begun = pieces_begin(out);

    proto_put_text(&out->text, VALUE_INFO_NAME, written_name(graph, value));
    if (dtype != PITH_DTYPE_NONE) { /* which bodies of loops may leave open */
        struct proto_mark type = pieces_begin(out);
        struct proto_mark tensor = pieces_begin(out);

        proto_put_int(&out->text, TENSOR_TYPE_ELEMENT, dtype);
        if (has_shape)
            write_shape(out, graph, value, &shape);
        pieces_end(out, TYPE_TENSOR, tensor);
        pieces_end(out, VALUE_INFO_TYPE, type);
    }
    pieces_end(out, number, begun);
}

/* ---- nodes ---- */

static void write_graph(struct proto_pieces *out, uint32_t number, const struct pith_graph *graph);

static void write_attribute_value(struct proto_pieces *out, const struct attribute *attribute)
{
    switch (attribute->kind) {
    case PITH_ATTRIBUTE_FLOAT:
        proto_put_float(&out->text, ATTRIBUTE_F, attribute->number);
        break;
    case PITH_ATTRIBUTE_INT:
        proto_put_int(&out->text, ATTRIBUTE_I, attribute->integer);
        break;
    case PITH_ATTRIBUTE_STRING:
        proto_put_text(&out->text, ATTRIBUTE_S, attribute->text);
        break;
    case PITH_ATTRIBUTE_TENSOR:
        write_tensor(out, ATTRIBUTE_T, NULL, &attribute->tensor->tensor);
        break;
    case PITH_ATTRIBUTE_GRAPH:
        write_graph(out, ATTRIBUTE_G, attribute->graph);
        break;
    case PITH_ATTRIBUTE_FLOATS:
        for (size_t i = 0; i < attribute->count; i++)
            proto_put_float(&out->text, ATTRIBUTE_FLOATS, attribute->numbers[i]);
        break;
    case PITH_ATTRIBUTE_INTS:
        for (size_t i = 0; i < attribute->count; i++)
            proto_put_int(&out->text, ATTRIBUTE_INTS, attribute->integers[i]);
        break;
    case PITH_ATTRIBUTE_STRINGS:
        for (size_t i = 0; i < attribute->count; i++)
            proto_put_text(&out->text, ATTRIBUTE_STRINGS, attribute->texts[i]);
        break;
    case PITH_ATTRIBUTE_NONE:
        break;
    }
}

static void write_attribute(struct proto_pieces *out, const struct attribute *attribute)
{
    struct proto_mark begun = pieces_begin(out);

    proto_put_text(&out->text, ATTRIBUTE_NAME, attribute->name);
    write_attribute_value(out, attribute);
    proto_put_int(&out->text, ATTRIBUTE_TYPE, attribute->kind);
    pieces_end(out, NODE_ATTRIBUTE, begun);
}

static void write_node_values(struct proto_pieces *out, uint32_t number,
                              const struct pith_graph *graph, const uint32_t *values, size_t count)
{
    while (count && values[count - 1] == PITH_NO_VALUE) /* omitted at the end: left out */
        count--;
    for (size_t i = 0; i < count; i++)
        proto_put_text(&out->text, number,
                       values[i] == PITH_NO_VALUE ? "" : written_name(graph, values[i]));
}

static void write_node(struct proto_pieces *out, const struct pith_graph *graph, uint32_t number)
{
    const struct node *node = graph_node(graph, number);
    struct proto_mark begun = pieces_begin(out);

    write_node_values(out, NODE_INPUT, graph, node->inputs, node->input_count);
    write_node_values(out, NODE_OUTPUT, graph, node->outputs, node->output_count);
    if (node->name[0])
        proto_put_text(&out->text, NODE_NAME, node->name);
    proto_put_text(&out->text, NODE_OP_TYPE, node->op);
    for (size_t i = 0; i < node->attribute_count; i++)
        write_attribute(out, &node->attributes[i]);
    if (node->domain[0])
        proto_put_text(&out->text, NODE_DOMAIN, node->domain);
    pieces_end(out, GRAPH_NODE, begun);
}

/* A constant that is an output of its graph: no runtime takes an initializer there in a sub-graph.
 */
static void write_constant_node(struct proto_pieces *out, const struct pith_graph *graph,
                                uint32_t value)
{
    struct proto_mark begun = pieces_begin(out);
    struct proto_mark attribute;

    proto_put_text(&out->text, NODE_OUTPUT, pith_value_name(graph, value));
    proto_put_text(&out->text, NODE_OP_TYPE, "Constant");
    attribute = pieces_begin(out);
    proto_put_text(&out->text, ATTRIBUTE_NAME, "value");
    write_tensor(out, ATTRIBUTE_T, NULL, pith_value_constant(graph, value));
    proto_put_int(&out->text, ATTRIBUTE_TYPE, PITH_ATTRIBUTE_TENSOR);
    pieces_end(out, NODE_ATTRIBUTE, attribute);
    pieces_end(out, GRAPH_NODE, begun);
}

/* ---- the graph and the model ---- */

static void write_graph(struct proto_pieces *out, uint32_t number, const struct pith_graph *graph)
{
    struct proto_mark begun = pieces_begin(out);
    size_t count;
    const uint32_t *order = pith_graph_order(graph, &count);

    for (uint32_t i = 0; i < pith_graph_value_limit(graph); i++)
        if (pith_value_constant(graph, i) && pith_value_is_output(graph, i))
            write_constant_node(out, graph, i);
    for (size_t i = 0; i < count; i++)
        write_node(out, graph, order[i]);
    proto_put_text(&out->text, GRAPH_NAME, pith_graph_name(graph)[0] ? pith_graph_name(graph) : "graph");
    for (uint32_t i = 0; i < pith_graph_value_limit(graph); i++)
        if (pith_value_constant(graph, i) && !pith_value_is_output(graph, i) &&
            pith_value_use_count(graph, i) > 0)
            write_tensor(out, GRAPH_INITIALIZER, pith_value_name(graph, i),
                         pith_value_constant(graph, i));
    for (size_t i = 0; i < pith_graph_input_count(graph); i++)
        write_value_info(out, GRAPH_INPUT, graph, pith_graph_input(graph, i));
    for (size_t i = 0; i < pith_graph_output_count(graph); i++)
        write_value_info(out, GRAPH_OUTPUT, graph, pith_graph_output(graph, i));
    pieces_end(out, number, begun);
}

static void write_model(struct proto_pieces *out, const struct pith_graph *graph)
{
    proto_put_int(&out->text, MODEL_IR_VERSION, ir_version_of(pith_graph_opset(graph, "")));
    proto_put_text(&out->text, MODEL_PRODUCER_NAME, "pith");
    write_graph(out, MODEL_GRAPH, graph);
    for (size_t i = 0; i < graph->opset_count; i++) {
        struct proto_mark begun = pieces_begin(out);

        proto_put_text(&out->text, OPSET_DOMAIN, graph->opsets[i].domain);
        proto_put_int(&out->text, OPSET_VERSION, graph->opsets[i].version);
        pieces_end(out, MODEL_OPSET_IMPORT, begun);
    }
    for (size_t i = 0; i < graph->metadata_count; i++) {
        struct proto_mark begun = pieces_begin(out);

        proto_put_text(&out->text, ENTRY_KEY, graph->metadata[i].key);
        proto_put_text(&out->text, ENTRY_VALUE, graph->metadata[i].text);
        pieces_end(out, MODEL_METADATA_PROPS, begun);
    }
}

static int check_inputs(const struct pith_graph *graph, struct pith_error *err)
{
    for (size_t i = 0; i < pith_graph_input_count(graph); i++)
        if (pith_value_dtype(graph, pith_graph_input(graph, i)) == PITH_DTYPE_NONE)
            return pith_fail(err, -EINVAL, "input \"%s\" has no type, so no file can hold it",
                             pith_value_name(graph, pith_graph_input(graph, i)));
    return 0;
}

/* Writes the clone, which *out points into and which lives as long. */
static int write_pieces(const struct pith_graph *graph, struct pith_graph **clone,
                        struct proto_pieces *out, struct pith_error *err)
{
    int rc = check_inputs(graph, err);

    if (rc == 0)
        rc = pith_graph_clone(graph, clone, err);
    if (rc == 0)
        rc = prepare(*clone, err);
    if (rc == 0)
        rc = pith_graph_validate(*clone, err);
    if (rc < 0)
        return rc;
    write_model(out, *clone);
    if (out->text.failed)
        return pith_fail(err, -ENOMEM, "no memory to write the model");
    if (pieces_bytes(out) > LARGEST_MODEL)
        return pith_fail(err, -EFBIG, "the model takes %zu bytes, and a file of ONNX at most %zu",
                         pieces_bytes(out), LARGEST_MODEL);
    return 0;
}

static int append(void *user, const void *data, size_t bytes, struct pith_error *err)
{
    struct pith_buffer *out = user;

    (void) err;
    pith_buffer_append(out, data, bytes);
    return 0;
}

int pith_onnx_write(const struct pith_graph *graph, struct pith_buffer *out, struct pith_error *err)
{
    struct proto_pieces pieces = {0};
    struct pith_graph *clone = NULL;
    int rc = write_pieces(graph, &clone, &pieces, err);

    if (rc == 0 && pith_buffer_reserve(out, pieces_bytes(&pieces)) < 0)
        rc = pith_fail(err, -ENOMEM, "no memory to write the model");
    if (rc == 0)
        rc = pieces_give(&pieces, append, out, err);
    pieces_done(&pieces);
    pith_graph_free(clone);
    return rc;
}

int pith_graph_write_onnx(const struct pith_graph *graph, void **out_data, size_t *out_bytes,
                          struct pith_error *err)
{
    struct pith_buffer file = {0};
    int rc = pith_onnx_write(graph, &file, err);

    if (rc < 0) {
        pith_buffer_done(&file);
        return rc;
    }
    *out_data = file.data; /* the caller's now */
    *out_bytes = file.bytes;
    return 0;
}

static int add_to_file(void *user, const void *data, size_t bytes, struct pith_error *err)
{
    return pith_file_writer_add(user, data, bytes, err);
}

int pith_onnx_save(const struct pith_graph *graph, const char *path, size_t *out_bytes,
                   struct pith_error *err)
{
    struct proto_pieces pieces = {0};
    struct pith_file_writer *file = NULL;
    struct pith_graph *clone = NULL;
    int rc = write_pieces(graph, &clone, &pieces, err);

    if (rc < 0)
        rc = pith_fail_in(err, rc, "%s", path);
    else
        rc = pith_file_writer_open(&file, path, 0644, pith_ends_with(path, ".zst") ? PITH_ZSTD_LEVEL : 0,
                                   pieces_bytes(&pieces), err);
    if (rc == 0) {
        rc = pieces_give(&pieces, add_to_file, file, err);
        if (rc == 0)
            rc = pith_file_writer_commit(file, out_bytes, err);
        else
            pith_file_writer_abort(file);
    }
    pieces_done(&pieces);
    pith_graph_free(clone);
    return rc;
}
