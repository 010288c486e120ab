/* Running official ONNX cases through an engine. See onnx_cases.h. */
#include "tests/conformance/onnx_cases.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libpith/base/file.h"
#include "libpith/formats/onnx.h"
#include "libpith/plugin/plugins.h"

#define CASE_MODEL_LIMIT_BYTES ((size_t) 64 << 20)

/* What the official runner takes: |got - want| <= atol + rtol * |want|. */
#define CASE_RTOL 1e-3
#define CASE_ATOL 1e-7

void case_tensors_free(struct case_tensors *tensors)
{
    for (size_t i = 0; i < tensors->count; i++)
        pith_tensor_free(&tensors->item[i]);
    tensors->count = 0;
}

const struct pith_engine_ops *case_engine(const char *name)
{
    struct pith_error err = {0};
    const struct pith_plugin *plugin = NULL;
    static struct pith_plugins *plugins; /* stays open: the engine is used until the program ends */

    if ((!plugins && pith_plugins_open(&plugins, NULL, &err) < 0) ||
        pith_plugins_find(plugins, PITH_KIND_ENGINE, name, &plugin, &err) < 0) {
        printf("Bail out! %s\n", pith_error_text(&err));
        exit(1);
    }
    return plugin->ops;
}

const char *case_folder(void)
{
    static char folder[4096];
    char command[9000];
    const char *build = getenv("PITH_BUILD"), *source = getenv("PITH_SOURCE");

    if (!build || !source)
        return NULL;
    (void) snprintf(folder, sizeof folder, "%s/tests/conformance/cases", build);
    (void) snprintf(command, sizeof command, "sh '%s/tests/conformance/unpack.sh' '%s'", source,
                    folder);
    if (system(command) != 0)
        return NULL;
    (void) snprintf(folder, sizeof folder, "%s/tests/conformance/cases/onnx_node_tests", build);
    return folder;
}

/* 0, 1 where there is no such file, or a negative code. */
static int read_pb(const char *path, struct pith_tensor *out, struct pith_error *err)
{
    struct pith_buffer bytes = {0};
    int rc;

    if (access(path, R_OK) != 0)
        return 1;
    rc = pith_file_read(path, CASE_MODEL_LIMIT_BYTES, &bytes, err);
    if (rc == 0)
        rc = pith_onnx_parse_tensor(out, NULL, bytes.data, bytes.bytes, err);
    pith_buffer_done(&bytes);
    return rc;
}

int case_read_set(const char *folder, int set, const char *kind, struct case_tensors *out,
                    struct pith_error *err)
{
    for (out->count = 0; out->count < CASE_MAX_PORTS; out->count++) {
        char path[4096];
        int rc;

        (void) snprintf(path, sizeof path, "%s/test_data_set_%d/%s_%zu.pb", folder, set, kind,
                        out->count);
        rc = read_pb(path, &out->item[out->count], err);
        if (rc != 0)
            return rc < 0 ? rc : 0;
    }
    return 0;
}

static bool near(double got, double want)
{
    if (isnan(want) || isnan(got))
        return isnan(want) && isnan(got);
    if (isinf(want) || isinf(got))
        return want == got;
    return fabs(got - want) <= CASE_ATOL + CASE_RTOL * fabs(want);
}

static bool same_tensor(const struct pith_tensor *got, const struct pith_tensor *want, char *why,
                        size_t why_bytes)
{
    char a[PITH_SHAPE_TEXT_BYTES], b[PITH_SHAPE_TEXT_BYTES];
    const int64_t count = pith_shape_elements(&want->shape);

    if (got->dtype != want->dtype || !pith_shape_equal(&got->shape, &want->shape)) {
        (void) snprintf(why, why_bytes, "gives %s %s, not %s %s", pith_dtype_name(got->dtype),
                        pith_shape_text(&got->shape, a, sizeof a), pith_dtype_name(want->dtype),
                        pith_shape_text(&want->shape, b, sizeof b));
        return false;
    }
    for (int64_t i = 0; i < count; i++)
        if (!near(pith_tensor_get(got, i), pith_tensor_get(want, i))) {
            (void) snprintf(why, why_bytes, "element %lld of %lld is %.9g, not %.9g", (long long) i,
                            (long long) count, pith_tensor_get(got, i), pith_tensor_get(want, i));
            return false;
        }
    return true;
}

static enum case_outcome run_session(const struct pith_engine_ops *engine,
                                     struct pith_session *session, const struct case_tensors *inputs,
                                     const struct case_tensors *wanted, char *why, size_t why_bytes)
{
    struct pith_tensor outputs[CASE_MAX_PORTS] = {{0}};
    struct pith_error err = {0};

    int rc = engine->run(session, inputs->item, inputs->count, outputs, wanted->count, &err);

    if (rc < 0) {
        (void) snprintf(why, why_bytes, "run: %s", pith_error_text(&err));
        return rc == -ENOTSUP ? CASE_UNSUPPORTED : CASE_FAILED;
    }
    for (size_t i = 0; i < wanted->count; i++) {
        char what[256];

        if (!same_tensor(&outputs[i], &wanted->item[i], what, sizeof what)) {
            (void) snprintf(why, why_bytes, "output %zu: %s", i, what);
            return CASE_FAILED;
        }
    }
    return CASE_PASSED;
}

static enum case_outcome run_graph(const struct pith_engine_ops *engine,
                                   const struct pith_graph *graph, const struct case_tensors *inputs,
                                   const struct case_tensors *wanted, char *why, size_t why_bytes)
{
    struct pith_shape shapes[CASE_MAX_PORTS] = {{0}};
    struct pith_engine_options options = {
        .size_bytes = sizeof options, .threads = 1, .input_shapes = shapes};
    struct pith_session *session = NULL;
    struct pith_error err = {0};
    enum case_outcome outcome;

    if (inputs->count != pith_graph_input_count(graph)) {
        (void) snprintf(why, why_bytes, "%zu inputs for a graph that has %zu", inputs->count,
                        pith_graph_input_count(graph));
        return CASE_UNSUPPORTED;
    }
    for (size_t i = 0; i < inputs->count; i++)
        shapes[i] = inputs->item[i].shape;
    if (engine->supports(graph, NULL, NULL, &err) < 0) {
        (void) snprintf(why, why_bytes, "%s", pith_error_text(&err));
        return CASE_UNSUPPORTED;
    }
    if (engine->compile(NULL, graph, &options, &session, &err) < 0) {
        (void) snprintf(why, why_bytes, "compile: %s", pith_error_text(&err));
        return err.code == -ENOTSUP ? CASE_UNSUPPORTED : CASE_FAILED;
    }
    /* twice: a second run must not see what the first one left behind */
    outcome = run_session(engine, session, inputs, wanted, why, why_bytes);
    if (outcome == CASE_PASSED)
        outcome = run_session(engine, session, inputs, wanted, why, why_bytes);
    engine->close(session);
    return outcome;
}

enum case_outcome case_run(const struct pith_engine_ops *engine, const char *folder, char *why,
                           size_t why_bytes)
{
    enum case_outcome outcome = CASE_PASSED;
    struct pith_graph *graph = NULL;
    struct pith_error err = {0};
    char path[4096];

    (void) snprintf(path, sizeof path, "%s/model.onnx", folder);
    if (pith_graph_open(&graph, path, CASE_MODEL_LIMIT_BYTES, &err) < 0) {
        (void) snprintf(why, why_bytes, "reader: %s", pith_error_text(&err));
        return CASE_UNSUPPORTED;
    }
    for (int set = 0; outcome == CASE_PASSED; set++) {
        struct case_tensors inputs = {0}, wanted = {0};

        (void) snprintf(path, sizeof path, "%s/test_data_set_%d", folder, set);
        if (access(path, R_OK) != 0)
            break;
        if (case_read_set(folder, set, "input", &inputs, &err) < 0 ||
            case_read_set(folder, set, "output", &wanted, &err) < 0) {
            (void) snprintf(why, why_bytes, "data: %s", pith_error_text(&err));
            outcome = CASE_UNSUPPORTED;
        } else {
            outcome = run_graph(engine, graph, &inputs, &wanted, why, why_bytes);
        }
        case_tensors_free(&inputs);
        case_tensors_free(&wanted);
    }
    pith_graph_free(graph);
    return outcome;
}

/* As the official runner does: 0, 1/n, 2/n, ... */
static int counted_input(const struct pith_graph *graph, struct case_tensors *out,
                         struct pith_error *err)
{
    const struct pith_shape *shape = pith_value_shape(graph, pith_graph_input(graph, 0));
    int64_t count;
    int rc = shape ? pith_tensor_alloc(&out->item[0], PITH_FLOAT32, shape, err) : -EINVAL;

    if (rc < 0)
        return rc;
    out->count = 1;
    count = pith_shape_elements(shape);
    for (int64_t i = 0; i < count; i++)
        ((float *) out->item[0].data)[i] = (float) ((double) i / (double) count);
    return 0;
}

enum case_outcome case_run_light(const struct pith_engine_ops *engine, const char *model,
                                 const char *output, char *why, size_t why_bytes)
{
    enum case_outcome outcome = CASE_UNSUPPORTED;
    struct case_tensors inputs = {0}, wanted = {0};
    struct pith_graph *graph = NULL;
    struct pith_error err = {0};
    int rc = pith_graph_open(&graph, model, CASE_MODEL_LIMIT_BYTES, &err);

    if (rc == 0)
        rc = counted_input(graph, &inputs, &err);
    if (rc == 0)
        rc = read_pb(output, &wanted.item[0], &err);
    wanted.count = 1;
    if (rc == 0)
        outcome = run_graph(engine, graph, &inputs, &wanted, why, why_bytes);
    else
        (void) snprintf(why, why_bytes, "%s", pith_error_text(&err));
    case_tensors_free(&inputs);
    case_tensors_free(&wanted);
    pith_graph_free(graph);
    return outcome;
}
