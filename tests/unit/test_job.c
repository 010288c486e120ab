/* Compression jobs on small nets: outcomes, budgets, refusals, and jobs that are killed and go on.
 */
#include "tests/unit/job_folder.h"

#include "libpith/formats/npy.h"
#include "libpith/formats/onnx.h"
#include "tests/unit/nets.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define CLIPS 24

/* ---- a job's folder ---- */

static const char *in_folder(const char *folder, const char *file)
{
    static char paths[4][4096];
    static int next;
    char *path = paths[next++ % 4];

    (void) snprintf(path, sizeof paths[0], "%s/%s", folder, file);
    return path;
}

static void write_text(const char *folder, const char *file, const char *text)
{
    assert_ok(pith_file_write(in_folder(folder, file), text, strlen(text), 0640, &err), &err);
}

static void write_data(const char *folder, const char *name, bool labelled)
{
    struct pith_shape shape = pith_shape_of(4, (int64_t[]){CLIPS, 3, 12, 12});
    struct pith_tensor x, y;
    char file[64];

    assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32, &shape, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&shape); i++)
        ((float *) x.data)[i] = net_uniform();
    (void) snprintf(file, sizeof file, "data/%s_x.npy", name);
    assert_ok(pith_npy_write(in_folder(folder, file), &x, &err), &err);
    pith_tensor_free(&x);
    shape = pith_shape_of(1, (int64_t[]){CLIPS});
    assert_ok(pith_tensor_alloc(&y, PITH_INT32, &shape, &err), &err);
    for (int i = 0; i < CLIPS; i++)
        ((int32_t *) y.data)[i] = i % 5;
    (void) snprintf(file, sizeof file, "data/%s_y.npy", name);
    if (labelled)
        assert_ok(pith_npy_write(in_folder(folder, file), &y, &err), &err);
    pith_tensor_free(&y);
}

/* A net big enough that 8-bit weights are smaller than float ones with all that goes with them. */
static void write_net(const char *folder)
{
    uint32_t x, node;
    struct pith_graph *graph = begin((int64_t[]){1, 3, 12, 12}, 4, &x);
    uint32_t y = NODE(graph, "Conv", "conv1", NULL, x, CONSTANT(graph, 0.3f, 16, 3, 3, 3),
                      CONSTANT(graph, 0.2f, 16));

    y = NODE(graph, "Relu", "relu1", NULL, y);
    y = NODE(graph, "Conv", "conv2", &node, y, CONSTANT(graph, 0.2f, 32, 16, 3, 3),
             CONSTANT(graph, 0.2f, 32));
    assert_ok(pith_node_set_ints(graph, node, "strides", (int64_t[]){2, 2}, 2), &err);
    y = NODE(graph, "Relu", "relu2", NULL, y);
    y = NODE(graph, "Flatten", "flat", NULL, y);
    y = NODE(graph, "Gemm", "dense", &node, y, CONSTANT(graph, 0.05f, 5, 512),
             CONSTANT(graph, 0.1f, 5));
    assert_ok(pith_node_set_int(graph, node, "transB", 1), &err);
    finish(graph, y);
    assert_ok(pith_onnx_save(graph, in_folder(folder, "original/net.onnx"), NULL, &err), &err);
    pith_graph_free(graph);
}

#define PICTURES "\"float32\", \"row\": [3, 12, 12]"

static void write_manifest(const char *folder, const char *input, const char *more)
{
    struct pith_buffer file = {0};
    uint8_t digest[PITH_SHA256_BYTES];
    char hex[PITH_SHA256_HEX + 1], text[2048];

    assert_ok(pith_file_read(in_folder(folder, "original/net.onnx"), 1 << 24, &file, &err), &err);
    assert_int_equal(pith_sha256(file.data, file.bytes, digest), 0);
    pith_hex_encode(hex, digest, sizeof digest);
    (void) snprintf(
        text, sizeof text,
        "{\"model\": \"net\", \"version\": \"1\", \"graphs\": {\"net\": {\"sha256\": \"%s\", "
        "\"bytes\": %zu}}, \"input\": {\"type\": %s}, \"labels\": "
        "[\"a\", \"b\", \"c\", \"d\", \"e\"], \"stages\": [{\"graph\": \"net\"}]%s}",
        hex, file.bytes, input, more);
    write_text(folder, "manifest.json", text);
    pith_buffer_done(&file);
}

static const char *new_job(const char *name, const char *job_json, const char *manifest_more)
{
    static char folder[256];

    (void) snprintf(folder, sizeof folder, "%s/%s", root, name);
    assert_ok(pith_mkdirs(in_folder(folder, "original"), 0700, &err), &err);
    assert_ok(pith_mkdirs(in_folder(folder, "data"), 0700, &err), &err);
    net_seed = 1;
    write_net(folder);
    write_manifest(folder, PICTURES, manifest_more);
    write_text(folder, "job.json", job_json);
    return folder;
}

#define RECIPE(budget)                                                                             \
    "{\"latency_runs\": 3, \"recipe\": {\"budget\": {" budget                                      \
    "}, \"steps\": [{\"quantize\": null}]}}"

static json_t *run_job(const char *folder)
{
    struct pith_job_options options = {.folder = folder, .plugins = plugins};
    struct pith_buffer text = {0};
    json_t *result;

    err = (struct pith_error){0};
    if (pith_job_run(&options, &err) < 0) /* result.json says why, and the test reads that */
        assert_true(err.text[0]);
    assert_ok(pith_file_read(in_folder(folder, "result.json"), 1 << 24, &text, &err), &err);
    assert_ok(pith_json_parse(&result, text.data, text.bytes, 1 << 24, "result.json", &err), &err);
    pith_buffer_done(&text);
    return result;
}

static const char *text_of(const json_t *result, const char *key)
{
    const char *text = json_string_value(json_object_get(result, key));

    return text ? text : "";
}

static double total_of(const json_t *result, const char *side, const char *key)
{
    const json_t *value =
        json_object_get(json_object_get(json_object_get(result, "total"), side), key);

    return json_is_number(value) ? json_number_value(value) : -1;
}

/* ---- outcomes ---- */

static void job_compresses_and_tells_both_sides(void **unused)
{
    const char *folder = new_job("plain", RECIPE("\"accuracy_drop_points\": 100"), "");

    (void) unused;
    write_data(folder, "calibration", false);
    write_data(folder, "validation", true);
    json_t *result = run_job(folder);

    assert_string_equal(text_of(result, "outcome"), "compressed");
    assert_string_equal(text_of(result, "variant_name"), "int8");
    assert_true(total_of(result, "variant", "bytes") < 0.4 * total_of(result, "original", "bytes"));
    assert_true(total_of(result, "original", "fidelity_ratio") == 1);
    assert_true(total_of(result, "variant", "fidelity_ratio") > 0.8);
    assert_true(total_of(result, "variant", "accuracy_samples") == CLIPS);
    assert_true(total_of(result, "variant", "macs") == total_of(result, "original", "macs"));
    assert_true(total_of(result, "variant", "macs") > 0);
    assert_true(total_of(result, "variant", "energy_uj") ==
                -1); /* nobody said what a busy core takes */
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(result, "evaluation"), "data")),
        "validation");
    struct pith_graph *graph;

    assert_ok(pith_graph_open(&graph, in_folder(folder, "variant/net.onnx.zst"), 1 << 24, &err),
              &err);
    assert_non_null(pith_graph_metadata(graph, "pith.recipe"));
    assert_non_null(pith_graph_metadata(graph, "pith.parent_sha256"));
    pith_graph_free(graph);
    json_decref(result);
}

static void job_without_samples_rounds_weights_and_says_so(void **unused)
{
    json_t *result = run_job(new_job("bare", RECIPE("\"accuracy_drop_points\": 1"), ""));
    const json_t *graph = json_array_get(json_object_get(result, "graphs"), 0);

    (void) unused;
    assert_string_equal(text_of(result, "outcome"), "compressed");
    assert_string_equal(text_of(graph, "form"), "weights-int8");
    assert_non_null(strstr(text_of(result, "reason"), "accuracy was not measured"));
    assert_true(total_of(result, "variant", "fidelity_ratio") == -1);
    json_decref(result);
}

static void job_keeps_a_budget_that_nothing_meets_with_the_original(void **unused)
{
    const char *folder =
        new_job("strict", RECIPE("\"accuracy_drop_points\": 0, \"evaluations\": 1"),
                ", \"gates\": {\"min_fidelity\": 1.0}");

    (void) unused;
    write_data(folder, "calibration", false);
    json_t *result = run_job(folder);
    bool original = !strcmp(text_of(result, "outcome"), "original");

    assert_true(json_is_true(json_object_get(result, "ok")));
    assert_true(original || total_of(result, "variant", "fidelity_ratio") == 1);
    assert_true(!original ||
                total_of(result, "variant", "bytes") == total_of(result, "original", "bytes"));
    json_decref(result);
}

static void job_goes_coarser_where_bytes_must_fit(void **unused)
{
    const char *folder =
        new_job("tight", RECIPE("\"accuracy_drop_points\": 100, \"bytes_ratio\": 0.2"), "");

    (void) unused;
    write_data(folder, "calibration", false);
    json_t *result = run_job(folder), *steps = json_object_get(result, "steps");
    bool coarser = false;

    for (size_t i = 0; i < json_array_size(steps); i++)
        coarser |= !strcmp(text_of(json_array_get(steps, i), "name"), "coarser");
    assert_true(coarser);
    json_decref(result);
}

static bool is_kept(const json_t *result)
{
    return json_is_true(json_object_get(json_object_get(result, "budget"), "kept"));
}

static void job_tells_a_latency_that_nothing_keeps(void **unused)
{
    (void) unused;
    const char *folder = new_job("hurried", RECIPE("\"latency_ms\": 0.00001"), "");

    write_data(folder, "calibration", false);
    write_data(folder, "validation", true);
    json_t *result = run_job(folder);

    /* The best that was verified stays, with a sentence on what was given up. */
    assert_string_equal(text_of(result, "outcome"), "compressed");
    assert_false(is_kept(result));
    assert_non_null(strstr(text_of(result, "reason"), "; not kept: median latency is "));
    json_decref(result);
}

/* As if it had been measured so on this machine: what counts is what was recorded. */
static void record_times(const char *folder, const char *asked_chain)
{
    static const char *const graph[][2] = {
        {"step/time-net-2.json", "5000"}, {"step/time-net-3.json", "300"},
        {"step/time-net-4.json", "900"},  {"step/time-net-5.json", "4000"}};
    char text[256];

    assert_ok(pith_mkdirs(in_folder(folder, "step"), 0700, &err), &err);
    for (size_t i = 0; i < 4; i++) {
        (void) snprintf(text, sizeof text,
                        "{\"latency_p50_us\": %s, \"cpu_us\": %s, \"original_latency_p50_us\": "
                        "4000, \"original_cpu_us\": 4000, \"engine\": \"native\", "
                        "\"original_engine\": \"native\"}",
                        graph[i][1], graph[i][1]);
        write_text(folder, graph[i][0], text);
    }
    (void) snprintf(text, sizeof text,
                    "{\"latency_p50_us\": %s, \"cpu_us\": %s, \"original_latency_p50_us\": 4000, "
                    "\"original_cpu_us\": 4000}",
                    asked_chain, asked_chain);
    write_text(folder, "step/cost-2.json", text);
    write_text(folder, "step/cost-3.json",
               "{\"latency_p50_us\": 310, \"cpu_us\": 310, \"original_latency_p50_us\": 4000, "
               "\"original_cpu_us\": 4000}");
}

static const char *form_of(const json_t *result)
{
    return text_of(json_array_get(json_object_get(result, "graphs"), 0), "form");
}

/* The net itself takes microseconds: only the records make one form slow. */
static void job_moves_to_the_form_that_was_measured_to_be_fast(void **unused)
{
    static const struct {
        const char *name, *job, *asked_chain, *form;
    } cases[] = {
        {"late", RECIPE("\"latency_ms\": 1"), "5000", "weights-int8"},
        {"in_time", RECIPE("\"latency_ms\": 1"), "900", "int8"},
        {"hungry", RECIPE("\"energy_ratio\": 0.5"), "5000", "weights-int8"},
        {"frugal", RECIPE("\"energy_ratio\": 0.5"), "1900", "int8"},
    };

    (void) unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *folder = new_job(cases[i].name, cases[i].job, "");

        write_data(folder, "calibration", false);
        write_data(folder, "validation", true);
        record_times(folder, cases[i].asked_chain);
        json_t *result = run_job(folder);

        assert_string_equal(text_of(result, "outcome"), "compressed");
        assert_string_equal(form_of(result), cases[i].form);
        json_decref(result);
    }
}

static void job_leaves_the_original_where_asked(void **unused)
{
    json_t *result = run_job(new_job(
        "asis", "{\"compress\": false, \"latency_runs\": 3, \"recipe\": {\"steps\": []}}", ""));

    (void) unused;
    assert_string_equal(text_of(result, "outcome"), "original");
    assert_string_equal(text_of(result, "variant_name"), "original");
    json_decref(result);
}

/* Rows of int32 are most often indices of a table: what a model is vetted by must be some that it has. */
static void job_vets_a_model_of_indices_by_ones_it_has(void **unused)
{
    const char *folder =
        new_job("indices", "{\"compress\": false, \"latency_runs\": 3, \"recipe\": {\"steps\": []}}", "");
    const struct pith_shape shape = {2, {1, 4}};
    uint32_t x, y;
    struct pith_graph *graph;

    (void) unused;
    assert_ok(pith_graph_new(&graph, "net", &err), &err);
    assert_int_equal(pith_graph_set_opset(graph, "", 17), 0);
    assert_ok(pith_graph_add_value(graph, "ids", PITH_INT64, &shape, &x, &err), &err);
    assert_int_equal(pith_graph_add_input(graph, x), 0);
    y = NODE(graph, "Gather", "words", NULL, CONSTANT(graph, 0.5f, 3, 8), x);
    y = NODE(graph, "Flatten", "flat", NULL, y);
    finish(graph, NODE(graph, "MatMul", "dense", NULL, y, CONSTANT(graph, 0.5f, 32, 5)));
    assert_ok(pith_onnx_save(graph, in_folder(folder, "original/net.onnx"), NULL, &err), &err);
    pith_graph_free(graph);
    write_manifest(folder, "\"int32\", \"row\": [4]", "");

    json_t *result = run_job(folder);

    assert_string_equal(text_of(result, "outcome"), "original");
    json_decref(result);
}

static void job_refuses_what_is_broken_with_a_sentence(void **unused)
{
    struct pith_buffer file = {0};
    const char *folder = new_job("broken", RECIPE(""), "");

    (void) unused;
    assert_ok(pith_file_read(in_folder(folder, "original/net.onnx"), 1 << 24, &file, &err), &err);
    assert_ok(pith_file_write(in_folder(folder, "original/net.onnx"), file.data, file.bytes / 2,
                              0640, &err),
              &err);
    pith_buffer_done(&file);
    json_t *result = run_job(folder);

    assert_false(json_is_true(json_object_get(result, "ok")));
    assert_string_equal(text_of(result, "outcome"), "rejected");
    assert_non_null(strstr(text_of(result, "reason"), "net"));
    json_decref(result);

    folder = new_job("unknown", "{\"recipe\": {\"steps\": [{\"quantise\": {}}]}}", "");
    result = run_job(folder);
    assert_string_equal(text_of(result, "outcome"), "failed");
    assert_non_null(strstr(text_of(result, "reason"), "did you mean \"quantize\"?"));
    json_decref(result);

    folder = new_job("faulty", "{\"latency_runs\": 3}",
                     ", \"recipe\": {\"steps\": [{\"quantize\": {\"schemes\": [\"conv1=int7\"]}}]}");
    result = run_job(folder);
    assert_string_equal(text_of(result, "outcome"), "rejected");
    assert_non_null(strstr(text_of(result, "reason"), "manifest: recipe:"));
    assert_non_null(strstr(text_of(result, "reason"), "\"conv1=int7\" is not right"));
    json_decref(result);

    folder = new_job("misfit", RECIPE(""), "");
    write_text(folder, "data/calibration_x.npy", "not an array");
    result = run_job(folder);
    assert_false(json_is_true(json_object_get(result, "ok")));
    json_decref(result);
}

static bool there(const char *folder, const char *file)
{
    struct stat status;

    return stat(in_folder(folder, file), &status) == 0;
}

static void job_without_a_technique_draws_and_searches_nothing(void **unused)
{
    const char *folder = new_job("nothing",
                                 "{\"latency_runs\": 3, \"cpu_power_mw\": 2000, \"recipe\": "
                                 "{\"steps\": []}}",
                                 "");

    (void) unused;
    write_data(folder, "calibration", false);
    write_data(folder, "validation", true);
    json_t *result = run_job(folder);

    assert_string_equal(text_of(result, "outcome"), "original");
    assert_non_null(strstr(text_of(result, "reason"), "the recipe changes nothing"));
    assert_true(total_of(result, "variant", "fidelity_ratio") == 1);
    assert_true(total_of(result, "variant", "accuracy_samples") == CLIPS);
    assert_true(total_of(result, "variant", "latency_runs") == CLIPS);
    assert_true(total_of(result, "variant", "energy_uj") > 0);
    assert_true(there(folder, "step/baseline.json"));
    assert_false(there(folder, "step/calibrate.json"));
    json_decref(result);

    /* What the original decided is on the disk: a job that begins again reads it back. */
    assert_int_equal(remove(in_folder(folder, "result.json")), 0);
    assert_int_equal(remove(in_folder(folder, "step/baseline-trace.npy")), 0);
    struct pith_job_options options = {.folder = folder, .plugins = plugins};

    assert_true(pith_job_run(&options, &err) < 0);
    assert_non_null(strstr(pith_error_text(&err), "baseline-trace.npy"));
}

static void job_rejects_stages_that_its_graphs_do_not_fit(void **unused)
{
    const char *folder = new_job("unfit", RECIPE(""), "");
    struct pith_job_options options = {.folder = folder, .plugins = plugins};
    struct pith_buffer text = {0};
    char *row;

    (void) unused;
    assert_ok(pith_file_read(in_folder(folder, "manifest.json"), 1 << 16, &text, &err), &err);
    char *manifest = strndup((const char *) text.data, text.bytes);

    row = strstr(manifest, "[3, 12, 12]");
    assert_non_null(row);
    memcpy(row, "[3, 12, 13]", strlen("[3, 12, 13]"));
    write_text(folder, "manifest.json", manifest);
    free(manifest);
    pith_buffer_done(&text);
    assert_int_equal(pith_job_run(&options, &err), -EBADMSG);
    assert_non_null(strstr(pith_error_text(&err), "net"));
    json_t *result = run_job(folder);

    assert_string_equal(text_of(result, "outcome"), "rejected");
    json_decref(result);
}

/* ---- kill -9 ---- */

struct countdown {
    long calls;
};

static void die_at_call(void *user, const char *state, double done_ratio, const char *text)
{
    struct countdown *countdown = user;

    (void) state;
    (void) done_ratio;
    (void) text;
    if (countdown->calls-- == 0)
        (void) raise(SIGKILL);
}

/* Runs the job in a child until it ends or is killed: at the given call of its progress, or after
 * that time. True: it ended. */
static bool run_in_child(const char *folder, long calls, long after_us)
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        struct countdown countdown = {.calls = calls};
        struct pith_job_options options = {
            .folder = folder, .plugins = plugins, .progress = die_at_call, .user = &countdown};

        _exit(pith_job_run(&options, NULL) == 0 ? 0 : 1);
    }
    if (after_us >= 0) {
        struct timespec wait = {.tv_sec = after_us / 1000000, .tv_nsec = after_us % 1000000 * 1000};

        (void) nanosleep(&wait, NULL);
        (void) kill(child, SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status))
        assert_int_equal(WEXITSTATUS(status), 0);
    return WIFEXITED(status);
}

static void assert_same_variant(const char *a, const char *b)
{
    struct pith_buffer x = {0}, y = {0};

    assert_ok(pith_file_read(in_folder(a, "variant/net.onnx.zst"), 1 << 24, &x, &err), &err);
    assert_ok(pith_file_read(in_folder(b, "variant/net.onnx.zst"), 1 << 24, &y, &err), &err);
    assert_int_equal(x.bytes, y.bytes);
    assert_memory_equal(x.data, y.data, x.bytes);
    pith_buffer_done(&x);
    pith_buffer_done(&y);
}

static const char *job_to_kill(const char *name)
{
    const char *folder =
        new_job(name, RECIPE("\"accuracy_drop_points\": 100, \"bytes_ratio\": 0.2"), "");

    write_data(folder, "calibration", false);
    write_data(folder, "validation", true);
    return folder;
}

static void job_that_is_killed_goes_on_to_the_same_bytes(void **unused)
{
    char whole[256], folder[256];
    struct timespec begin_time, end_time;
    uint64_t random = (uint64_t) time(NULL);

    (void) unused;
    print_message("# seed %llu\n", (unsigned long long) random);
    (void) snprintf(whole, sizeof whole, "%s", job_to_kill("whole"));
    (void) clock_gettime(CLOCK_MONOTONIC, &begin_time);
    assert_true(run_in_child(whole, -1, -1));
    (void) clock_gettime(CLOCK_MONOTONIC, &end_time);
    long us = (end_time.tv_sec - begin_time.tv_sec) * 1000000 +
              (end_time.tv_nsec - begin_time.tv_nsec) / 1000;
    int rounds = us < 300000 ? 20 : 6; /* under the sanitizers a job takes seconds */

    for (int i = 0; i < rounds; i++) {
        char name[32];
        int kills = 0;

        (void) snprintf(name, sizeof name, "killed%d", i);
        (void) snprintf(folder, sizeof folder, "%s", job_to_kill(name));
        /* By time, and by its own progress: the first calls lie between the steps. Killed up to
         * three times over. */
        while (kills < 3 &&
               !run_in_child(folder, i % 2 ? (long) (pith_random(&random) % 60) : -1,
                             i % 2 ? -1 : (long) (pith_random(&random) % (uint64_t) (us + 1))))
            kills++;
        json_t *result = run_job(folder);

        assert_string_equal(text_of(result, "outcome"), "compressed");
        json_decref(result);
        assert_same_variant(whole, folder);
        assert_ok(pith_remove_tree(folder, &err), &err);
    }
}

/* Measured times differ from run to run; a job that goes on acts on those that it had recorded. */
static void job_that_is_killed_while_it_steers_acts_on_its_records(void **unused)
{
    uint64_t random = (uint64_t) time(NULL);

    (void) unused;
    print_message("# seed %llu\n", (unsigned long long) random);
    for (int i = 0; i < 6; i++) {
        struct pith_buffer before = {0}, after = {0};
        char name[32], folder[256];

        (void) snprintf(name, sizeof name, "steered%d", i);
        (void) snprintf(folder, sizeof folder, "%s",
                        new_job(name, RECIPE("\"latency_ms\": 0.00001"), ""));
        write_data(folder, "calibration", false);
        write_data(folder, "validation", true);
        for (int kills = 0; kills < 3; kills++)
            if (run_in_child(folder, 20 + (long) (pith_random(&random) % 400), -1))
                break;
        bool measured = access(in_folder(folder, "step/cost-2.json"), F_OK) == 0;

        if (measured)
            assert_ok(pith_file_read(in_folder(folder, "step/cost-2.json"), 1 << 16, &before, &err),
                      &err);
        json_decref(run_job(folder));
        assert_ok(pith_file_read(in_folder(folder, "step/cost-2.json"), 1 << 16, &after, &err),
                  &err);
        if (measured) {
            assert_int_equal(before.bytes, after.bytes);
            assert_memory_equal(before.data, after.data, after.bytes);
        }
        /* Once more from its records alone: the same turns, whatever the machine does meanwhile. */
        char kept[300];

        (void) snprintf(kept, sizeof kept, "%s.kept", folder);
        assert_ok(pith_mkdirs(in_folder(kept, "variant"), 0700, &err), &err);
        assert_int_equal(rename(in_folder(folder, "variant/net.onnx.zst"),
                                in_folder(kept, "variant/net.onnx.zst")),
                         0);
        assert_int_equal(unlink(in_folder(folder, "result.json")), 0);
        json_decref(run_job(folder));
        assert_same_variant(kept, folder);
        pith_buffer_done(&before);
        pith_buffer_done(&after);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(job_compresses_and_tells_both_sides),
        cmocka_unit_test(job_without_samples_rounds_weights_and_says_so),
        cmocka_unit_test(job_keeps_a_budget_that_nothing_meets_with_the_original),
        cmocka_unit_test(job_goes_coarser_where_bytes_must_fit),
        cmocka_unit_test(job_tells_a_latency_that_nothing_keeps),
        cmocka_unit_test(job_moves_to_the_form_that_was_measured_to_be_fast),
        cmocka_unit_test(job_leaves_the_original_where_asked),
        cmocka_unit_test(job_vets_a_model_of_indices_by_ones_it_has),
        cmocka_unit_test(job_refuses_what_is_broken_with_a_sentence),
        cmocka_unit_test(job_without_a_technique_draws_and_searches_nothing),
        cmocka_unit_test(job_rejects_stages_that_its_graphs_do_not_fit),
        cmocka_unit_test(job_that_is_killed_goes_on_to_the_same_bytes),
        cmocka_unit_test(job_that_is_killed_while_it_steers_acts_on_its_records),
    };

    return cmocka_run_group_tests(tests, open_plugins, close_plugins);
}
