/* Pipelines on a real broker: run by pipelines.sh, which starts one and names it in PITH_TEST_PORT;
 * files go to PITH_TEST_FOLDER. The graph gives the mean of a window, so that each result tells
 * which payload it is of. */
#include "daemon/pipelines_private.h"

#include "daemon/database.h"
#include "daemon/telemetry_rows.h"
#include "libpith/base/file.h"
#include "libpith/base/json.h"
#include "libpith/formats/onnx.h"
#include "tests/testing.h"

#include <errno.h>
#include <math.h>

#define PAYLOADS 2000
#define IN_FLIGHT                                                                                  \
    40 /* payloads that are sent before their results are waited for: far below the queue */
#define SWAP_EVERY 150

static struct world {
    uv_loop_t loop;
    struct daemon daemon;
    struct mqtt *probe; /* who sends samples and sees results */
    char folder[256];
    bool ready[2];
    size_t closed_count;
    /* Of the results of pipeline "numbers": */
    uint32_t expected; /* the next one */
    uint32_t wrong;    /* out of order, lost or repeated */
    uint32_t of_variant[2];
    char last_id[STREAM_ID_BYTES];
    uint32_t json_results;
    uint32_t file_count;
    bool saw_telemetry;
    /* Of an activation: */
    bool activated;
    int status;
    char reason[PITH_ERROR_TEXT_BYTES];
} w;

/* ---- the world ---- */

static void turn(void)
{
    (void) uv_run(&w.loop, UV_RUN_ONCE);
}

/* A link that is up. */
static void connected(void *user, bool session_present)
{
    (void) session_present;
    *(bool *) user = true;
}

static struct mqtt *connect_to(const char *id, bool *ready)
{
    struct mqtt_options options = {.broker = &w.daemon.config->home,
                                   .name = id,
                                   .client_id = id,
                                   .inbox_bytes = 8 << 20,
                                   .connected = connected,
                                   .user = ready};
    struct pith_error err = {0};
    struct mqtt *mqtt;

    assert_ok(mqtt_open(&mqtt, &w.loop, &options, &err), &err);
    return mqtt;
}

static void write_text(const char *name, const char *text)
{
    struct pith_error err = {0};
    char path[512];

    (void) snprintf(path, sizeof path, "%s/%s", w.folder, name);
    assert_ok(pith_file_write(path, text, strlen(text), 0644, &err), &err);
}

/* Means over windows of 4; `more`: with another node, so that the files differ. */
static void write_graph(const char *name, bool more)
{
    const struct pith_shape in = pith_shape_of(2, (const int64_t[]){1, 4}),
                            out = pith_shape_of(2, (const int64_t[]){1, 1});
    const int64_t axis = 1;
    struct pith_graph *graph;
    struct pith_error err = {0};
    uint32_t x, mean, y, node;
    char path[512];

    assert_ok(pith_graph_new(&graph, "mean", &err), &err);
    assert_ok(pith_graph_set_opset(graph, "", 13), &err);
    assert_ok(pith_graph_add_value(graph, "x", PITH_FLOAT32, &in, &x, &err), &err);
    assert_ok(pith_graph_add_value(graph, "mean", PITH_FLOAT32, &out, &mean, &err), &err);
    assert_ok(pith_graph_add_input(graph, x), &err);
    assert_ok(pith_graph_add_node(graph, "", "ReduceMean", "reduce", &x, 1, &mean, 1, &node, &err),
              &err);
    assert_ok(pith_node_set_ints(graph, node, "axes", &axis, 1), &err);
    y = mean;
    if (more) {
        assert_ok(pith_graph_add_value(graph, "y", PITH_FLOAT32, &out, &y, &err), &err);
        assert_ok(pith_graph_add_node(graph, "", "Relu", "relu", &mean, 1, &y, 1, &node, &err),
                  &err);
    }
    assert_ok(pith_graph_add_output(graph, y), &err);
    (void) snprintf(path, sizeof path, "%s/%s", w.folder, name);
    assert_ok(pith_onnx_save(graph, path, NULL, &err), &err);
    pith_graph_free(graph);
}

/* The config with these pipelines. */
static struct config *load_config(const char *pipelines)
{
    struct pith_error err = {0};
    struct config *config = NULL;
    char path[512], text[2048];
    char *faults = NULL;

    (void) snprintf(
        text, sizeof text,
        "gateway: gw-test\nhome: {url: \"mqtt://127.0.0.1:%s\"}\ntrust: [%s/release.pub]\n"
        "state_dir: %s\nrun_dir: %s\nrecipe_path: %s/recipes\nworker: /bin/true\nlanes: 2\nmeters: "
        "[cputime]\n"
        "compression: {shadow_ratio: 0.2}\n"
        "pipelines:\n"
        "  numbers: {source: test/numbers, codec: {tensor: {dtype: float32}}, model: mean, queue: "
        "100}\n"
        "%s",
        getenv("PITH_TEST_PORT"), w.folder, w.folder, w.folder, w.folder, pipelines);
    write_text("pithd.yaml", text);
    (void) snprintf(path, sizeof path, "%s/pithd.yaml", w.folder);
    if (config_load(&config, path, w.daemon.plugins, &faults, &err) < 0)
        fail_msg("%s", faults ? faults : err.text);
    return config;
}

/* ---- what the probe sees ---- */

static void keep_file(const char *kind, const struct mqtt_message *message)
{
    struct pith_error err = {0};
    char path[512];

    if (w.file_count++ % 50 && strcmp(kind, "result") == 0)
        return; /* a sample is enough to check against the schema */
    (void) snprintf(path, sizeof path, "%s/%s-%u.payload", w.folder, kind, w.file_count);
    assert_ok(pith_file_write(path, message->payload, message->bytes, 0644, &err), &err);
}

static void saw_result(void *user, const struct mqtt_message *message)
{
    struct pith_error err = {0};
    json_t *result;
    double score;

    (void) user;
    keep_file("result", message);
    assert_ok(pith_json_parse(&result, message->payload, message->bytes, 65536, "result", &err),
              &err);
    if (strcmp(json_string_value(json_object_get(result, "pipeline")), "numbers") != 0) {
        w.json_results++;
    } else {
        score = json_real_value(json_object_get(json_object_get(result, "scores"), "mean"));
        w.wrong += fabs(score - w.expected) > 1e-3;
        w.expected = (uint32_t) score + 1;
        w.of_variant[strcmp(json_string_value(json_object_get(result, "variant")), "original") !=
                     0]++;
        (void) snprintf(w.last_id, sizeof w.last_id, "%s",
                        json_string_value(json_object_get(result, "id")));
    }
    json_decref(result);
}

static void saw_telemetry(void *user, const struct mqtt_message *message)
{
    (void) user;
    keep_file("telemetry", message);
    w.saw_telemetry = true;
}

static void send_payload(const char *topic, const void *data, size_t bytes)
{
    const struct mqtt_publication publication = {
        .topic = topic, .payload = data, .bytes = bytes, .qos = 1};
    struct pith_error err = {0};

    while (mqtt_publish(w.probe, &publication, &err) == -ENOBUFS)
        turn();
}

static void send_number(uint32_t number)
{
    const float payload[4] = {(float) number, (float) number, (float) number, (float) number};

    send_payload("test/numbers", payload, sizeof payload);
}

static struct instance *instance_at(const char *topic)
{
    for (struct pipeline *pipeline = w.daemon.pipelines->list; pipeline; pipeline = pipeline->next)
        for (struct instance *instance = pipeline->instances; instance; instance = instance->next)
            if (strcmp(instance->topic, topic) == 0)
                return instance;
    return NULL;
}

/* ---- versions ---- */

static void activated(void *user, int status, const struct pith_error *err)
{
    (void) user;
    w.activated = true;
    w.status = status;
    (void) snprintf(w.reason, sizeof w.reason, "%s", err->text);
}

static void activate(const char *model, const char *variant, const char *graph)
{
    char manifest[512], file[512], original[512];
    struct pipelines_version version = {.model = model,
                                        .manifest_path = manifest,
                                        .version = "1.0.0",
                                        .variant = variant,
                                        .graph_path = {file},
                                        .engine = {"native"},
                                        .original_path = {original}};

    (void) snprintf(manifest, sizeof manifest, "%s/manifest.json", w.folder);
    (void) snprintf(file, sizeof file, "%s/%s", w.folder, graph);
    (void) snprintf(original, sizeof original, "%s/original.onnx", w.folder);
    w.activated = false;
    pipelines_activate(w.daemon.pipelines, &version, activated, NULL);
}

static void activate_and_wait(const char *model, const char *variant, const char *graph)
{
    activate(model, variant, graph);
    while (!w.activated)
        turn();
}

/* ---- the tests, in order ---- */

static void a_version_is_opened_and_serves(void **state)
{
    (void) state;
    activate_and_wait("mean", "original", "original.onnx");
    if (w.status < 0)
        fail_msg("%s", w.reason);
    while (w.expected == 0) { /* until the subscription is there */
        uint64_t before = uv_now(&w.loop);
        send_number(0);
        while (w.expected == 0 && uv_now(&w.loop) - before < 200)
            (void) uv_run(&w.loop, UV_RUN_NOWAIT);
    }
    for (uint64_t count = 0;
         count < instance_at("test/numbers")->result_count;) /* those that were sent twice */
        if ((count = w.of_variant[0]) < instance_at("test/numbers")->result_count)
            turn();
    w.expected = 1;
    w.wrong = 0;
    memset(w.of_variant, 0, sizeof w.of_variant);
}

static void swaps_under_a_stream_lose_and_repeat_nothing(void **state)
{
    unsigned swaps = 0;

    (void) state;
    w.activated = true;
    for (uint32_t i = 1; i <= PAYLOADS; i++) {
        send_number(i);
        if (i % SWAP_EVERY == 0 && w.activated) {
            assert_true(w.status == 0);
            swaps++;
            activate("mean", swaps % 2 ? "relu" : "original",
                     swaps % 2 ? "variant.onnx" : "original.onnx");
        }
        while (i >= w.expected + IN_FLIGHT)
            turn();
    }
    while (w.expected <= PAYLOADS || !w.activated)
        turn();
    print_message("# %u swaps; %u results of the original, %u of the variant\n", swaps,
                  w.of_variant[0], w.of_variant[1]);
    assert_int_equal(w.wrong, 0);
    assert_int_equal(w.of_variant[0] + w.of_variant[1], PAYLOADS);
    assert_true(swaps > 3 && w.of_variant[0] > 0 && w.of_variant[1] > 0);
}

static void bad_payloads_are_refused_and_disturb_nothing(void **state)
{
    const float nan[4] = {1, NAN, 1, 1};
    const struct instance *instance = instance_at("test/numbers");

    (void) state;
    send_payload("test/numbers", "abc", 3);
    send_payload("test/numbers", "", 0);
    send_payload("test/numbers", nan, sizeof nan);
    w.expected = 5000;
    send_number(5000);
    while (w.expected == 5000)
        turn();
    assert_int_equal(w.wrong, 0);
    assert_int_equal(instance->refused_count, 3);

    while (!instance_at("test/room/kitchen")) /* a wildcard makes an instance of its own */
        send_payload("test/room/kitchen", "{\"temperature\": 1}", 18), turn();
    send_payload("test/room/kitchen", "{\"temperature\": ", 16);
    send_payload("test/room/kitchen", "{\"temperature\": NaN}", 20);
    send_payload("test/room/kitchen", "{\"humidity\": 40}", 16);
    for (int i = 0; i < 8; i++)
        send_payload("test/room/kitchen", "{\"temperature\": 20.5, \"battery\": 90}", 36);
    while (w.json_results < 2 || instance_at("test/room/kitchen")->refused_count < 3)
        turn();
    assert_int_equal(instance_at("test/room/kitchen")->refused_count, 3);
}

static void feedback_is_judged_after_the_samples_before_it(void **state)
{
    char text[128];

    (void) state;
    /* The mean is above the threshold, so "mean" fired. */
    w.expected = 6000;
    send_number(6000);
    while (w.expected == 6000)
        turn();
    (void) snprintf(text, sizeof text, "{\"id\": \"%s\", \"label\": \"mean\"}", w.last_id);
    write_text("feedback-1.payload", text);
    send_payload("pith/1/gw/gw-test/feedback/numbers", text, strlen(text));
    w.expected = 6001;
    send_number(6001);
    write_text("feedback-2.payload", "{\"label\": \"mean\", \"window_ms\": 40}");
    send_payload("pith/1/gw/gw-test/feedback/numbers", "{\"label\": \"mean\", \"window_ms\": 40}",
                 34);
    write_text("feedback-3.payload", "{\"label\": null, \"window_ms\": 40}");
    send_payload("pith/1/gw/gw-test/feedback/numbers", "{\"label\": null, \"window_ms\": 40}", 32);
    send_payload("pith/1/gw/gw-test/feedback/numbers", "{\"label\": null}", 15); /* refused */
    send_payload("pith/1/gw/gw-test/feedback/numbers", "mean", 4);               /* refused */
    send_payload("pith/1/gw/gw-test/feedback/numbers", "{\"label\": \"mean\", \"id\": \"0-1\"}",
                 30); /* unknown */
    send_number(6002);
    while (w.expected < 6003)
        turn();
}

static void feedback_counts_for_the_version_that_gave_the_result(void **state)
{
    char text[128], id[STREAM_ID_BYTES];

    (void) state;
    activate_and_wait("mean", "judged", "original.onnx");
    w.expected = 7000;
    send_number(7000);
    while (w.expected == 7000)
        turn();
    (void) snprintf(id, sizeof id, "%s", w.last_id);
    activate_and_wait("mean", "relu", "variant.onnx");
    (void) snprintf(text, sizeof text, "{\"id\": \"%s\", \"label\": \"mean\"}", id);
    send_payload("pith/1/gw/gw-test/feedback/numbers", text, strlen(text));
    w.expected = 7001;
    send_number(7001); /* so that the feedback before it has been handled */
    while (w.expected == 7001)
        turn();
}

static void variant_is_compared_with_the_original_in_idle_time(void **state)
{
    const struct instance *instance = instance_at("test/numbers");
    uint32_t i = 10000;

    (void) state;
    activate_and_wait("mean", "relu", "variant.onnx");
    assert_int_equal(w.status, 0);
    w.expected = i;
    while (instance->compared_count == 0) {
        send_number(i++);
        while (w.expected < i)
            turn();
    }
    print_message("# %llu of %llu agreed\n", (unsigned long long) instance->agreed_count,
                  (unsigned long long) instance->compared_count);
    assert_int_equal(instance->agreed_count, instance->compared_count);
}

static void a_codec_that_does_not_fit_is_refused_by_name(void **state)
{
    (void) state;
    activate_and_wait("other", "original", "original.onnx");
    assert_int_equal(w.status, -EINVAL);
    assert_non_null(
        strstr(w.reason, "pipeline wide: the codec gives rows of shape [2], the model takes []"));
    activate_and_wait("mean", "broken", "missing.onnx");
    assert_true(w.status < 0);
    w.expected = 20000;
    send_number(20000); /* what served before serves on */
    while (w.expected == 20000)
        turn();
}

static void a_reload_keeps_what_stays_and_opens_what_is_new(void **state)
{
    struct instance *kept = instance_at("test/numbers");
    struct config *config =
        load_config("  added: {source: test/added, codec: {json: {}}, model: mean}\n");
    struct pith_error err = {0};

    (void) state;
    assert_ok(pipelines_check(config, &err), &err);
    pipelines_reload(w.daemon.pipelines, config);
    config_free(w.daemon.config);
    w.daemon.config = config;
    assert_ptr_equal(instance_at("test/numbers"), kept);
    while (instance_at("test/room/kitchen") || instance_at("test/wide"))
        turn();
    w.expected = 30000;
    send_number(30000);
    while (w.expected == 30000)
        turn();
    while (!instance_at("test/added")->version) /* the model is opened for it */
        turn();
    while (instance_at("test/added")->result_count == 0)
        send_payload("test/added", "1", 1), turn();
    assert_int_equal(w.wrong, 0);
}

static void closed(void *user)
{
    (void) user;
    w.closed_count++;
}

static void wait_closed(size_t count)
{
    while (w.closed_count < count)
        turn();
}

static void telemetry_has_it_all_after_the_end(void **state)
{
    struct telemetry_question question = {.period = "summary", .pipeline = "numbers", .limit = 10};
    struct pith_error err = {0};
    json_int_t inferences = 0, refused = 0, labelled = 0, correct = 0, compared = 0, judged = 0;
    json_t *rows, *row;
    char path[512];
    size_t i;

    (void) state;
    pipelines_close(w.daemon.pipelines, closed, NULL);
    wait_closed(1);
    telemetry_close(w.daemon.telemetry, closed, NULL);
    w.daemon.telemetry = NULL; /* as daemon.c does: writes end after it */
    wait_closed(2);
    while (!w.saw_telemetry) /* the last minute's summary is published on the way out */
        turn();
    database_close(w.daemon.database);
    (void) snprintf(path, sizeof path, "%s/pith.db", w.folder);
    assert_ok(telemetry_rows_query_on_thread(path, &question, &rows, &err), &err);
    json_array_foreach(rows, i, row)
    {
        inferences += json_integer_value(json_object_get(row, "inference_count"));
        refused += json_integer_value(json_object_get(row, "refused_count"));
        labelled += json_integer_value(json_object_get(row, "labelled_count"));
        if (strcmp(json_string_value(json_object_get(row, "variant")), "judged") == 0)
            judged += json_integer_value(json_object_get(row, "labelled_count"));
        correct += json_integer_value(json_object_get(row, "correct_count"));
        compared += json_integer_value(json_object_get(row, "compared_count"));
        assert_string_equal(json_string_value(json_object_get(row, "energy_source")), "estimated");
    }
    assert_true(json_array_size(rows) >= 2); /* the original and the variant */
    assert_true(inferences > PAYLOADS);
    assert_int_equal(refused, 3);
    assert_int_equal(labelled, 4);
    assert_int_equal(correct, 3);
    assert_int_equal(judged, 1);
    assert_true(compared > 0);
    json_decref(rows);
}

static int open_world(void **state)
{
    struct pith_error err = {0};
    char path[512];

    (void) state;
    assert_non_null(getenv("PITH_TEST_FOLDER"));
    (void) snprintf(w.folder, sizeof w.folder, "%s", getenv("PITH_TEST_FOLDER"));
    assert_int_equal(uv_loop_init(&w.loop), 0);
    w.daemon.loop = &w.loop;
    assert_ok(pith_plugins_open(&w.daemon.plugins, NULL, &err), &err);
    w.daemon.config = load_config(
        "  rooms: {source: test/room/+, codec: {json: {fields: [temperature]}}, model: mean}\n"
        "  wide: {source: test/wide, codec: {tensor: {shape: [2]}}, model: other}\n");
    write_graph("original.onnx", false);
    write_graph("variant.onnx", true);
    write_text(
        "manifest.json",
        "{\"model\": \"mean\", \"version\": \"1.0.0\","
        " \"graphs\": {\"mean\": {\"sha256\": "
        "\"0000000000000000000000000000000000000000000000000000000000000000\", \"bytes\": 1}},"
        " \"input\": {\"type\": \"float32\", \"rate_hz\": 100},"
        " \"stages\": [{\"window\": {\"size\": 4, \"hop\": 4}}, {\"graph\": \"mean\"},"
        " {\"decide\": {\"threshold\": 0.5, \"every\": true}}]}");
    (void) snprintf(path, sizeof path, "%s/pith.db", w.folder);
    assert_ok(database_open(&w.daemon.database, &w.loop,
                            &(struct database_options){.path = path, .commit_every_ms = 1000},
                            &err),
              &err);
    assert_ok(meters_open(&w.daemon.meters, &w.daemon, &err), &err);
    w.daemon.home = w.daemon.fleet = connect_to("test-daemon", &w.ready[0]);
    w.probe = connect_to("test-probe", &w.ready[1]);
    assert_ok(
        mqtt_subscribe(w.probe, "pith/1/gw/gw-test/result/+", 1, false, saw_result, NULL, &err),
        &err);
    assert_ok(
        mqtt_subscribe(w.probe, "pith/1/gw/gw-test/telemetry", 1, false, saw_telemetry, NULL, &err),
        &err);
    while (!w.ready[0] || !w.ready[1])
        turn();
    assert_ok(telemetry_open(&w.daemon.telemetry, &w.daemon, &err), &err);
    assert_ok(pipelines_open(&w.daemon.pipelines, &w.daemon, &err), &err);
    return 0;
}

static int close_world(void **state)
{
    (void) state;
    mqtt_close(w.probe, closed, NULL);
    mqtt_close(w.daemon.home, closed, NULL);
    wait_closed(4);
    meters_close(w.daemon.meters);
    config_free(w.daemon.config);
    pith_plugins_free(w.daemon.plugins);
    (void) uv_run(&w.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w.loop), 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_version_is_opened_and_serves),
        cmocka_unit_test(swaps_under_a_stream_lose_and_repeat_nothing),
        cmocka_unit_test(bad_payloads_are_refused_and_disturb_nothing),
        cmocka_unit_test(feedback_is_judged_after_the_samples_before_it),
        cmocka_unit_test(feedback_counts_for_the_version_that_gave_the_result),
        cmocka_unit_test(variant_is_compared_with_the_original_in_idle_time),
        cmocka_unit_test(a_codec_that_does_not_fit_is_refused_by_name),
        cmocka_unit_test(a_reload_keeps_what_stays_and_opens_what_is_new),
        cmocka_unit_test(telemetry_has_it_all_after_the_end),
    };

    return cmocka_run_group_tests(tests, open_world, close_world);
}
