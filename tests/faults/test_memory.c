/* Memory runs out at every place where it can, in all that reads or makes something for the daemon,
 * the worker and the command. */
#include "daemon/config.h"
#include "libpith/base/json.h"
#include "libpith/compress/recipe.h"
#include "libpith/formats/onnx.h"
#include "libpith/model/envelope.h"
#include "libpith/model/store.h"
#include "libpith/pipeline/chain.h"
#include "tests/faults/faults.h"
#include "tests/unit/folder.h"
#include "tests/unit/onnx_build.h"

#include <errno.h>
#include <pith/codec.h>

static struct pith_plugins *plugins;

/* ---- graphs ---- */

static void put_then(struct pith_buffer *node, const char *attribute, const char *op)
{
    size_t begun = proto_begin(node);
    size_t graph;

    proto_put_text(node, ATTRIBUTE_NAME, attribute);
    graph = proto_begin(node);
    put_node(node, op, op, "sum", "branch_out");
    proto_put_text(node, GRAPH_NAME, attribute);
    put_value(node, GRAPH_OUTPUT, "branch_out", PITH_FLOAT32, (const int64_t[]){1, 2}, 2);
    proto_end(node, ATTRIBUTE_G, graph);
    proto_put_int(node, ATTRIBUTE_TYPE, PITH_ATTRIBUTE_GRAPH);
    proto_end(node, NODE_ATTRIBUTE, begun);
}

/* x -> Q -> DQ -> Conv -> Relu -> Flatten -> Gemm -> sum > 0 for all? Neg : Relu */
static void build_model(struct pith_buffer *out)
{
    static const float weights[18] = {0.5f, -1, 2, 3}, bias[2] = {1, -1}, gemm[16] = {1, 2, -3},
                       scale = 0.25f, zero = 0;
    static const uint8_t zero_point = 3;
    size_t model = begin_model(out);
    size_t node;

    put_raw(out, "scale", PITH_FLOAT32, NULL, 0, &scale, sizeof scale);
    put_raw(out, "zero_point", PITH_UINT8, NULL, 0, &zero_point, 1);
    put_raw(out, "zero", PITH_FLOAT32, NULL, 0, &zero, sizeof zero);
    put_raw(out, "w", PITH_FLOAT32, (const int64_t[]){2, 1, 3, 3}, 4, weights, sizeof weights);
    put_raw(out, "b", PITH_FLOAT32, (const int64_t[]){2}, 1, bias, sizeof bias);
    put_raw(out, "g", PITH_FLOAT32, (const int64_t[]){8, 2}, 2, gemm, sizeof gemm);
    put_node(out, "QuantizeLinear", "q", "x,scale,zero_point", "xq");
    put_node(out, "DequantizeLinear", "dq", "xq,scale,zero_point", "xd");
    put_node(out, "Conv", "conv", "xd,w,b", "c");
    put_node(out, "Relu", "relu", "c", "r");
    put_node(out, "Flatten", "flatten", "r", "f");
    put_node(out, "Gemm", "gemm", "f,g,b", "sum");
    node = begin_node(out, "ReduceSum", "reduce", "sum", "total");
    put_int_attribute(out, "keepdims", 0);
    proto_end(out, GRAPH_NODE, node);
    put_node(out, "Greater", "greater", "total,zero", "condition");
    node = begin_node(out, "If", "if", "condition", "y");
    put_then(out, "then_branch", "Neg");
    put_then(out, "else_branch", "Relu");
    proto_end(out, GRAPH_NODE, node);
    proto_put_text(out, GRAPH_NAME, "net");
    put_value(out, GRAPH_INPUT, "x", PITH_FLOAT32, (const int64_t[]){1, 1, 4, 4}, 4);
    put_value(out, GRAPH_OUTPUT, "y", PITH_FLOAT32, (const int64_t[]){1, 2}, 2);
    end_model(out, model, 13);
}

struct model {
    struct pith_buffer file, written;
    struct pith_graph *graph;
};

static int model_setup(void **state)
{
    struct model *model = calloc(1, sizeof *model);
    struct pith_error err = {0};

    assert_non_null(model);
    build_model(&model->file);
    assert_ok(pith_graph_parse(&model->graph, model->file.data, model->file.bytes, &err), &err);
    assert_ok(pith_onnx_write(model->graph, &model->written, &err), &err);
    *state = model;
    return 0;
}

static int model_teardown(void **state)
{
    struct model *model = *state;

    pith_graph_free(model->graph);
    pith_buffer_done(&model->file);
    pith_buffer_done(&model->written);
    free(model);
    return 0;
}

static int parse(void *user, struct pith_error *err)
{
    const struct model *model = user;
    struct pith_graph *graph;
    int rc = pith_graph_parse(&graph, model->file.data, model->file.bytes, err);

    if (rc == 0) {
        assert_string_equal(pith_graph_name(graph), "net");
        pith_graph_free(graph);
    }
    return rc;
}

static int write_model(void *user, struct pith_error *err)
{
    const struct model *model = user;
    struct pith_buffer out = {0};
    int rc = pith_onnx_write(model->graph, &out, err);

    if (rc == 0) {
        assert_int_equal(out.bytes, model->written.bytes);
        assert_memory_equal(out.data, model->written.data, out.bytes);
    }
    pith_buffer_done(&out);
    return rc;
}

static int clone_and_infer(void *user, struct pith_error *err)
{
    const struct model *model = user;
    struct pith_shape shape = pith_shape_of(4, (const int64_t[]){1, 1, 4, 4});
    struct pith_graph *graph;
    int rc = pith_graph_clone(model->graph, &graph, err);

    if (rc < 0)
        return rc;
    rc = pith_graph_infer(graph, &shape, err);
    if (rc == 0)
        assert_int_equal(pith_value_shape(graph, pith_graph_find_value(graph, "f"))->dim[1], 8);
    pith_graph_free(graph);
    return rc;
}

static void memory_runs_out_as_a_model_is_read(void **state)
{
    faults_each(FAULTS_MEMORY, parse, NULL, *state);
}

static void memory_runs_out_as_a_model_is_written(void **state)
{
    faults_each(FAULTS_MEMORY, write_model, NULL, *state);
}

static void memory_runs_out_as_a_graph_is_cloned_and_inferred(void **state)
{
    faults_each(FAULTS_MEMORY, clone_and_infer, NULL, *state);
}

/* ---- documents ---- */

#define SHA  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define BLOB "{\"sha256\": \"" SHA "\", \"bytes\": 1000}"

static const char manifest_text[] =
    "{\"model\": \"m\", \"version\": \"1\", \"generation\": 7, \"graphs\": {\"net\": " BLOB "},"
    " \"input\": {\"type\": \"float32\", \"rate_hz\": 16000}, \"labels\": [\"no\", \"yes\"],"
    " \"stages\": [{\"map\": \"x / 10 + 2\"}, {\"window\": {\"size\": 16, \"hop\": 16}},"
    " {\"graph\": \"net\"}, {\"decide\": {\"threshold\": 0.5, \"hold_off_ms\": 10}}],"
    " \"data\": {\"calibration\": {\"x\": " BLOB "}}, \"recipe\": {\"steps\": [\"quantize\"]}}";

static int parse_manifest(void *user, struct pith_error *err)
{
    struct pith_manifest *manifest;
    int rc = pith_manifest_parse(&manifest, manifest_text, strlen(manifest_text), err);

    (void) user;
    if (rc == 0) {
        assert_int_equal(manifest->stage_count, 4);
        assert_non_null(manifest->recipe_json);
        assert_string_equal(manifest->labels[1], "yes");
        pith_manifest_free(manifest);
    }
    return rc;
}

static void memory_runs_out_as_a_manifest_is_read(void **state)
{
    faults_each(FAULTS_MEMORY, parse_manifest, NULL, *state);
}

struct keys {
    struct pith_signing_key *signing;
    struct pith_public_key public;
};

static int seal_and_open(void *user, struct pith_error *err)
{
    const struct keys *keys = user;
    struct pith_buffer text = {0}, payload = {0};
    char signer[17];
    int rc = pith_envelope_seal(&text, "desired", "payload", 7, keys->signing, err);

    if (rc == 0)
        rc = pith_envelope_open(&payload, signer, "desired", text.data, text.bytes, &keys->public,
                                1, err);
    if (rc == 0)
        assert_string_equal((const char *) payload.data, "payload");
    pith_buffer_done(&text);
    pith_buffer_done(&payload);
    return rc;
}

static void memory_runs_out_as_an_envelope_is_sealed_and_opened(void **state)
{
    const struct folder *folder = *state;
    struct keys keys;
    struct pith_error err = {0};
    char secret[512], public[512];

    folder_path(folder, secret, "a.key");
    folder_path(folder, public, "a.pub");
    assert_ok(pith_key_generate(secret, public, &err), &err);
    assert_ok(pith_signing_key_open(&keys.signing, secret, &err), &err);
    assert_ok(pith_public_key_open(&keys.public, public, &err), &err);
    faults_each(FAULTS_MEMORY, seal_and_open, NULL, &keys);
    pith_signing_key_free(keys.signing);
}

static int parse_recipe(void *user, struct pith_error *err)
{
    static const char text[] = "summary: a test\n"
                               "budget: {accuracy_drop_points: 0.5, evaluations: 3}\n"
                               "steps:\n"
                               "  - quantize: {activations: uint8, keep: [first, last]}\n"
                               "  - quantize\n";
    struct pith_recipe *recipe;
    int rc = pith_recipe_parse(&recipe, "test.yaml", text, strlen(text), plugins, err);

    (void) user;
    if (rc == 0) {
        assert_int_equal(recipe->step_count, 2);
        assert_string_equal(recipe->name, "test");
        pith_recipe_free(recipe);
    }
    return rc;
}

static void memory_runs_out_as_a_recipe_is_read(void **state)
{
    faults_each(FAULTS_MEMORY, parse_recipe, NULL, *state);
}

/* However little of it can be told, what is wrong is refused. */
static int parse_wrong_recipe(void *user, struct pith_error *err)
{
    static const char text[] =
        "budget: {accuracy_drop: 1}\nsteps: [quantise, {quantize: {a: b}}]\n";
    struct pith_recipe *recipe;

    (void) user;
    assert_true(pith_recipe_parse(&recipe, "test.yaml", text, strlen(text), plugins, err) < 0);
    return 0;
}

static void memory_runs_out_as_a_wrong_recipe_is_refused(void **state)
{
    faults_each(FAULTS_MEMORY, parse_wrong_recipe, NULL, *state);
}

static int load_config(void *user, struct pith_error *err)
{
    struct config *config;
    char *faults = NULL;
    int rc = config_load(&config, user, plugins, &faults, err);

    if (rc == 0) {
        assert_int_equal(config->pipeline_count, 1);
        assert_int_equal(config->trust_count, 1);
        assert_int_equal(config->meter_count, 1);
        config_free(config);
    } else if (faults && !err->text[0]) {
        (void) snprintf(err->text, sizeof err->text, "%s", faults);
    }
    free(faults);
    return rc;
}

static void memory_runs_out_as_the_config_is_read(void **state)
{
    const struct folder *folder = *state;
    struct pith_error err = {0};
    char secret[512], public[512], path[512], text[4096];

    folder_path(folder, secret, "a.key");
    folder_path(folder, public, "a.pub");
    folder_path(folder, path, "pithd.yaml");
    assert_ok(pith_key_generate(secret, public, &err), &err);
    (void) snprintf(text, sizeof text,
                    "gateway: test\nhome: {url: \"mqtt://127.0.0.1\"}\ntrust: [%s]\n"
                    "state_dir: %s\nrun_dir: %s\nmeters: [cputime]\ngroups: [a, b]\n"
                    "worker: /bin/true\nrecipe_path: %s/etc/recipes\n"
                    "pipelines: {p: {source: a/b, codec: pcm, model: m}}\n",
                    public, folder->path, folder->path,
                    getenv("PITH_SOURCE") ? getenv("PITH_SOURCE") : ".");
    assert_ok(pith_file_write(path, text, strlen(text), 0600, &err), &err);
    faults_each(FAULTS_MEMORY, load_config, NULL, path);
}

/* ---- running ---- */

struct opened {
    struct pith_manifest *manifest;
    const struct pith_graph *graph;
    const struct pith_engine_ops *engine;
    struct pith_options options;
};

static int count_result(void *user, const struct pith_result *result)
{
    (void) result;
    ++*(int *) user;
    return 0;
}

static int open_chain(void *user, struct pith_error *err)
{
    const struct opened *opened = user;
    struct pith_chain_options options = {
        .engine = opened->engine, .engine_options = opened->options.values, .threads = 1};
    float values[16] = {1, 2, 3};
    struct pith_tensor rows = {PITH_FLOAT32, pith_shape_of(1, (const int64_t[]){16}), values,
                               sizeof values};
    struct pith_chain *chain;
    int results = 0;
    int rc = pith_chain_open(&chain, opened->manifest, &opened->graph, &options, err);

    if (rc < 0)
        return rc;
    rc = pith_chain_feed(chain, &rows, count_result, &results, err);
    assert_true(rc < 0 || results == 1);
    pith_chain_close(chain);
    return rc;
}

static void memory_runs_out_as_a_chain_is_opened(void **state)
{
    const struct model *model = *state;
    struct opened opened = {.graph = model->graph};
    const struct pith_plugin *plugin;
    struct pith_error err = {0};

    assert_ok(pith_plugins_find(plugins, PITH_KIND_ENGINE, "native", &plugin, &err), &err);
    assert_ok(pith_options_from_json(&opened.options, plugin->options, NULL, "engine", &err), &err);
    assert_ok(pith_manifest_parse(&opened.manifest, manifest_text, strlen(manifest_text), &err),
              &err);
    opened.engine = plugin->ops;
    faults_each(FAULTS_MEMORY, open_chain, NULL, &opened);
    pith_manifest_free(opened.manifest);
    pith_options_done(&opened.options);
}

struct payload {
    const struct pith_codec_ops *ops;
    struct pith_options options;
    const void *data;
    size_t bytes;
};

static int count_rows(void *user, const struct pith_tensor *rows)
{
    *(int64_t *) user += rows->shape.dim[0];
    return 0;
}

static int open_and_feed(void *user, struct pith_error *err)
{
    const struct payload *payload = user;
    struct pith_host host = {.size_bytes = sizeof host};
    struct pith_codec_stream stream;
    struct pith_codec *codec;
    int64_t rows = 0;
    int rc = payload->ops->open(&host, payload->options.values, &codec, &stream, err);

    if (rc < 0)
        return rc;
    rc = payload->ops->feed(codec, payload->data, payload->bytes, count_rows, &rows, err);
    assert_true(rc < 0 ? rows == 0 : rows > 0); /* of what is refused nothing is handed on */
    payload->ops->close(codec);
    return rc;
}

static void memory_runs_out_as_codecs_open_and_feed(void **state)
{
    static const char reading[] = "{\"temperature\": 21.5, \"humidity\": 40}";
    static const uint8_t samples[64] = {1, 2, 3};
    const struct {
        const char *name, *options;
        const void *data;
        size_t bytes;
    } codecs[] = {
        {"json", "{\"fields\": [\"temperature\", \"humidity\"]}", reading, sizeof reading - 1},
        {"pcm", "{}", samples, sizeof samples},
        {"tensor", "{\"shape\": [\"4\"]}", samples, sizeof samples},
    };

    (void) state;
    for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++) {
        struct payload payload = {.data = codecs[i].data, .bytes = codecs[i].bytes};
        json_t *options = json_loads(codecs[i].options, 0, NULL);
        const struct pith_plugin *plugin;
        struct pith_error err = {0};

        assert_ok(pith_plugins_find(plugins, PITH_KIND_CODEC, codecs[i].name, &plugin, &err), &err);
        assert_ok(pith_options_from_json(&payload.options, plugin->options, options, "codec", &err),
                  &err);
        payload.ops = plugin->ops;
        faults_each(FAULTS_MEMORY, open_and_feed, NULL, &payload);
        pith_options_done(&payload.options);
        json_decref(options);
    }
}

/* ---- the disk ---- */

static int write_file(void *user, struct pith_error *err)
{
    char path[512];

    folder_path(user, path, "file");
    return pith_file_write(path, "text", 4, 0600, err);
}

static void memory_runs_out_as_a_file_is_written(void **state)
{
    faults_each(FAULTS_MEMORY, write_file, NULL, *state);
}

static int fetch(void *user, struct pith_error *err)
{
    static const uint8_t data[PITH_CHUNK_BYTES + 100];
    const struct folder *folder = user;
    struct pith_blob blob = {.bytes = sizeof data, .raw_bytes = sizeof data};
    struct pith_store *store;
    struct pith_fetch *under_way = NULL;
    uint8_t digest[PITH_SHA256_BYTES];
    int rc;

    if (pith_sha256(data, sizeof data, digest) < 0)
        return pith_fail(err, -ENOMEM, "no digest");
    pith_hex_encode(blob.sha256, digest, sizeof digest);
    rc = pith_store_open(&store, folder->path, err);
    if (rc < 0)
        return rc;
    rc = pith_fetch_open(&under_way, store, &blob, err);
    if (rc == 0)
        rc = pith_fetch_put(under_way, 1, data, 100, err);
    if (rc == 0)
        rc = pith_fetch_put(under_way, 0, data, PITH_CHUNK_BYTES, err);
    if (rc == 0)
        rc = pith_fetch_sync(under_way, err);
    if (rc == 0)
        rc = pith_fetch_finish(under_way, err);
    if (rc == 0)
        assert_true(pith_store_has(store, &blob));
    pith_fetch_close(under_way);
    if (rc == 0)
        rc = pith_store_remove(store, blob.sha256, err);
    pith_store_close(store);
    return rc;
}

static void memory_runs_out_as_a_blob_is_fetched(void **state)
{
    faults_each(FAULTS_MEMORY, fetch, NULL, *state);
}

static int open_plugins(void **state)
{
    struct pith_error err = {0};

    (void) state;
    return pith_plugins_open(&plugins, NULL, &err);
}

static int close_plugins(void **state)
{
    (void) state;
    pith_plugins_free(plugins);
    return 0;
}

static int find_plugins(void *user, struct pith_error *err)
{
    struct pith_plugins *found;
    int rc = pith_plugins_open(&found, NULL, err);

    (void) user;
    if (rc == 0) {
        assert_int_equal(pith_plugins_count(found), pith_plugins_count(plugins));
        pith_plugins_free(found);
    }
    return rc;
}

static void memory_runs_out_as_plugins_are_found(void **state)
{
    (void) state;
    faults_each(FAULTS_MEMORY, find_plugins, NULL, NULL);
}

#define model_test(test) cmocka_unit_test_setup_teardown(test, model_setup, model_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_runs_out_as_plugins_are_found),
        model_test(memory_runs_out_as_a_model_is_read),
        model_test(memory_runs_out_as_a_model_is_written),
        model_test(memory_runs_out_as_a_graph_is_cloned_and_inferred),
        cmocka_unit_test(memory_runs_out_as_a_manifest_is_read),
        folder_test(memory_runs_out_as_an_envelope_is_sealed_and_opened),
        cmocka_unit_test(memory_runs_out_as_a_recipe_is_read),
        cmocka_unit_test(memory_runs_out_as_a_wrong_recipe_is_refused),
        folder_test(memory_runs_out_as_the_config_is_read),
        model_test(memory_runs_out_as_a_chain_is_opened),
        cmocka_unit_test(memory_runs_out_as_codecs_open_and_feed),
        folder_test(memory_runs_out_as_a_file_is_written),
        folder_test(memory_runs_out_as_a_blob_is_fetched),
    };

    return cmocka_run_group_tests(tests, open_plugins, close_plugins);
}
