/* ModelProto -> graph. Behind the reader come the door (pith_graph_validate), the folding of
 * quantization, and inference. */
#include "libpith/formats/onnx.h"

#include "libpith/formats/onnx_dissolve.h"
#include "libpith/formats/onnx_fields.h"
#include "libpith/formats/onnx_quantization.h"
#include "libpith/formats/onnx_read.h"
#include "libpith/graph/operator.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEWEST_IR_VERSION 10 /* what comes with opset 21 */
#define NEWEST_OPSET      21
#define MOST_FUNCTIONS    1024 /* a node's operator is looked for among them */
#define LARGEST_VERSION   1000000

/* ---- opsets and metadata ---- */

static int read_opset(struct pith_graph *graph, struct proto message, struct pith_error *err)
{
    struct proto_field field;
    struct proto domain = {0};
    uint64_t version = 0;
    char *text;
    int rc;

    while ((rc = proto_next(&message, &field)) > 0) {
        if (field.number == OPSET_DOMAIN && field.wire == PROTO_BYTES)
            domain = field.bytes;
        else if (field.number == OPSET_VERSION && field.wire == PROTO_VARINT)
            version = field.integer;
    }
    if (rc < 0)
        return pith_fail(err, rc, "its list of opsets is broken");
    rc = onnx_text(&text, domain, err);
    if (rc < 0)
        return rc;
    if (version < 1 || version > LARGEST_VERSION)
        rc = pith_fail(err, -EBADMSG, "its opset for domain \"%.60s\" is %lld", text,
                       (long long) (int64_t) version);
    else
        rc = pith_graph_set_opset(graph, text, (int64_t) version);
    free(text);
    return rc;
}

static int read_metadata(struct pith_graph *graph, struct proto message, struct pith_error *err)
{
    struct proto_field field;
    struct proto key = {0};
    struct proto value = {0};
    char *key_text = NULL;
    char *value_text = NULL;
    int rc;

    while ((rc = proto_next(&message, &field)) > 0) {
        if (field.number == ENTRY_KEY)
            key = field.bytes;
        else if (field.number == ENTRY_VALUE)
            value = field.bytes;
    }
    if (rc < 0)
        return pith_fail(err, rc, "its metadata is broken");
    rc = onnx_text(&key_text, key, err);
    if (rc == 0)
        rc = onnx_text(&value_text, value, err);
    if (rc == 0)
        rc = pith_graph_set_metadata(graph, key_text, value_text);
    free(key_text);
    free(value_text);
    return rc;
}

/* ---- the model ---- */

struct model_parts {
    struct proto graph;
    bool has_graph;
    uint64_t ir_version;
    size_t functions;
};

static int read_model_parts(struct model_parts *parts, struct proto model, struct pith_error *err)
{
    struct proto_field field;
    int rc;

    while ((rc = proto_next(&model, &field)) > 0) {
        bool is_message = field.number == MODEL_GRAPH || field.number == MODEL_OPSET_IMPORT ||
                          field.number == MODEL_METADATA_PROPS || field.number == MODEL_FUNCTIONS;

        if (is_message && field.wire != PROTO_BYTES)
            return pith_fail(err, -EBADMSG, "the model's field %u is of another wire type",
                             (unsigned) field.number);
        if (field.number == MODEL_GRAPH) {
            if (parts->has_graph)
                return pith_fail(err, -EBADMSG, "the model has two graphs");
            parts->graph = field.bytes;
            parts->has_graph = true;
        } else if (field.number == MODEL_IR_VERSION) {
            parts->ir_version = field.integer;
        } else if (field.number == MODEL_FUNCTIONS) {
            parts->functions++;
        }
    }
    if (rc < 0)
        return pith_fail(err, rc, "this is no ONNX model, or it is cut off");
    if (!parts->has_graph)
        return pith_fail(err, -EBADMSG, "this is no ONNX model, or it is cut off: it has no graph");
    if (parts->functions > MOST_FUNCTIONS)
        return pith_fail(err, -ENOTSUP, "the model defines %zu functions; inline them",
                         parts->functions);
    return 0;
}

static int read_model_fields(struct pith_graph *graph, const struct model_parts *parts,
                             struct proto model, struct pith_error *err)
{
    char text[96];
    struct proto_field field;
    int rc;

    while ((rc = proto_next(&model, &field)) > 0) {
        if (field.number == MODEL_OPSET_IMPORT)
            rc = read_opset(graph, field.bytes, err);
        else if (field.number == MODEL_METADATA_PROPS)
            rc = read_metadata(graph, field.bytes, err);
        if (rc < 0)
            return rc;
    }
    if (pith_graph_opset_count(graph) == 0)
        return pith_fail(err, -EBADMSG,
                         "the model names no opset: it is cut off, or not valid ONNX");
    if (parts->ir_version > NEWEST_IR_VERSION || pith_graph_opset(graph, "") > NEWEST_OPSET) {
        (void) snprintf(text, sizeof text, "read as IR version %d, opset %d; it says %llu, %lld",
                        NEWEST_IR_VERSION, NEWEST_OPSET, (unsigned long long) parts->ir_version,
                        (long long) pith_graph_opset(graph, ""));
        rc = pith_graph_set_metadata(graph, "pith.warning", text);
    }
    return rc;
}

/* Operators and their counts, by the table: in this graph and in those inside. */
static int check_operators(const struct pith_graph *graph, struct pith_error *err)
{
    for (uint32_t node = 0; node < pith_graph_node_limit(graph); node++) {
        const struct pith_operator *row;
        int rc;

        if (!pith_node_exists(graph, node))
            continue;
        rc = pith_operator_of_node(graph, node, &row, err);
        for (size_t i = 0; i < pith_node_attribute_count(graph, node) && rc == 0; i++) {
            const struct pith_graph *inside =
                pith_node_graph(graph, node, pith_node_attribute_name(graph, node, i));

            if (inside)
                rc = check_operators(inside, err);
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

int onnx_read_model(struct pith_graph **out, struct pith_backing *backing, const uint8_t *data,
                    size_t bytes, struct pith_error *err)
{
    struct onnx_reader reader = {.backing = backing, .model = {data, bytes ? data + bytes : data}};
    struct onnx_scope scope = {.reader = &reader};
    struct model_parts parts = {0};
    bool dissolved = false;
    int rc = read_model_parts(&parts, reader.model, err);

    if (rc < 0)
        return rc;
    reader.has_functions = parts.functions > 0;
    rc = onnx_read_graph(&scope, parts.graph, err);
    if (rc == 0)
        rc = read_model_fields(scope.graph, &parts, reader.model, err);
    if (rc == 0)
        rc = pith_graph_validate(scope.graph, err);
    if (rc == 0)
        rc = onnx_dissolve(scope.graph, &dissolved, err);
    if (rc == 0 && dissolved)
        rc = pith_graph_validate(scope.graph, err);
    if (rc == 0)
        rc = check_operators(scope.graph, err);
    if (rc == -ENOTSUP && pith_graph_opset(scope.graph, "") > NEWEST_OPSET)
        rc = pith_fail_in(err, rc, "opset %lld is newer than %d, the newest that is known here",
                          (long long) pith_graph_opset(scope.graph, ""), NEWEST_OPSET);
    if (rc == 0)
        rc = onnx_fold_quantization(scope.graph, err);
    if (rc == 0)
        rc = pith_graph_infer(scope.graph, NULL, err);
    if (rc == 0)
        rc = pith_graph_validate(scope.graph, err);
    if (rc < 0) {
        pith_graph_free(scope.graph);
        return rc == -EINVAL ? -EBADMSG : rc;
    }
    *out = scope.graph;
    return 0;
}

/* ---- one tensor ---- */

int pith_onnx_parse_tensor(struct pith_tensor *out, char **name, const void *data, size_t bytes,
                           struct pith_error *err)
{
    struct proto message = {data, (const uint8_t *) data + bytes};
    struct onnx_tensor tensor = {0};
    char *text = NULL;
    int rc = onnx_read_tensor(&tensor, message, err);

    if (rc < 0)
        return rc;
    if (name)
        rc = onnx_text(&text, tensor.name, err);
    if (rc == 0 && !tensor.owned) {
        rc = pith_tensor_copy(out, &tensor.tensor, err);
    } else if (rc == 0) {
        *out = tensor.tensor;
        tensor.owned = false;
    }
    onnx_tensor_done(&tensor);
    if (rc < 0) {
        free(text);
        return rc;
    }
    if (name)
        *name = text;
    return 0;
}
