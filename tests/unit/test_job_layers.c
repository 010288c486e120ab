/* The budget within a graph, on a real net that a scale for all channels harms. */
#include "tests/unit/job_folder.h"

#include "libpith/compress/dataset.h"

#include <errno.h>

static const char *in_folder(const char *folder, const char *file)
{
    static char paths[4][512];
    static int next;
    char *path = paths[next++ % 4];

    (void) snprintf(path, sizeof paths[0], "%s/%s/%s", root, folder, file);
    return path;
}

static void write_text(const char *folder, const char *file, const char *text)
{
    assert_ok(pith_file_write(in_folder(folder, file), text, strlen(text), 0640, &err), &err);
}

static const char *data_path(const char *name)
{
    static char paths[2][512];
    static int next;
    char *path = paths[next++ % 2];

    (void) snprintf(path, sizeof paths[0], "%s/%s", testing_data(), name);
    return path;
}

static void save_split(const char *folder, enum pith_split split, const char *name)
{
    struct pith_dataset_options options = {.data = data_path("person_coco96/x_train.npy.zst"),
                                           .labels = data_path("person_coco96/y_train.npy"),
                                           .seed = 1,
                                           .calibration = 8,
                                           .validation = 40};
    struct pith_dataset dataset;
    char x[64], y[64];

    (void) snprintf(x, sizeof x, "data/%s_x.npy", name);
    (void) snprintf(y, sizeof y, "data/%s_y.npy", name);
    assert_ok(pith_dataset_open(&dataset, &options, split, &err), &err);
    assert_ok(pith_dataset_save(&dataset, in_folder(folder, x), in_folder(folder, y), &err), &err);
    pith_dataset_close(&dataset);
}

static void write_model(const char *folder)
{
    struct pith_buffer file = {0};
    uint8_t digest[PITH_SHA256_BYTES];
    char hex[PITH_SHA256_HEX + 1], text[1024];

    assert_ok(
        pith_file_read(data_path("models/mlperf_tiny/vww_96_float.tflite"), 1 << 24, &file, &err),
        &err);
    assert_ok(
        pith_file_write(in_folder(folder, "original/net.onnx"), file.data, file.bytes, 0640, &err),
        &err);
    assert_int_equal(pith_sha256(file.data, file.bytes, digest), 0);
    pith_hex_encode(hex, digest, sizeof digest);
    (void) snprintf(text, sizeof text,
                    "{\"model\": \"vww\", \"version\": \"1\", \"graphs\": {\"net\": {\"sha256\": "
                    "\"%s\", \"bytes\": %zu}}, \"input\": {\"type\": \"uint8\", \"row\": [96, 96, "
                    "3]}, \"stages\": [{\"map\": \"x / 255\"}, {\"graph\": \"net\"}]}",
                    hex, file.bytes);
    write_text(folder, "manifest.json", text);
    pith_buffer_done(&file);
}

static json_t *run(const char *folder)
{
    char path[512];
    struct pith_job_options options = {.folder = path, .plugins = plugins};
    struct pith_buffer text = {0};
    json_t *result;

    (void) snprintf(path, sizeof path, "%s/%s", root, folder);
    assert_ok(pith_job_run(&options, &err), &err);
    assert_ok(pith_file_read(in_folder(folder, "result.json"), 1 << 24, &text, &err), &err);
    assert_ok(pith_json_parse(&result, text.data, text.bytes, 1 << 24, "result.json", &err), &err);
    pith_buffer_done(&text);
    return result;
}

static void new_job(const char *folder, double drop_points)
{
    char text[512];

    assert_ok(pith_mkdirs(in_folder(folder, "original"), 0700, &err), &err);
    assert_ok(pith_mkdirs(in_folder(folder, "data"), 0700, &err), &err);
    write_model(folder);
    save_split(folder, PITH_SPLIT_CALIBRATION, "calibration");
    save_split(folder, PITH_SPLIT_VALIDATION, "validation");
    (void) snprintf(text, sizeof text,
                    "{\"latency_runs\": 3, \"recipe\": {\"budget\": {\"accuracy_drop_points\": %g, "
                    "\"evaluations\": 12}, \"steps\": [{\"quantize\": {\"per_channel\": false, "
                    "\"weight_bits\": 4, \"ranges\": \"minmax\", \"max_error_ratio\": 0, "
                    "\"equalize\": \"off\", \"bias_correction\": \"off\"}}]}}",
                    drop_points);
    write_text(folder, "job.json", text);
}

static double accuracy(const json_t *result, const char *side)
{
    const json_t *facts = json_object_get(json_object_get(result, "total"), side);

    return json_number_value(json_object_get(facts, "accuracy_ratio"));
}

static double bytes(const json_t *result)
{
    const json_t *facts = json_object_get(json_object_get(result, "total"), "variant");

    return json_number_value(json_object_get(facts, "bytes"));
}

static const char *variant_sha256(const json_t *result)
{
    return json_string_value(
        json_object_get(json_array_get(json_object_get(result, "graphs"), 0), "sha256"));
}

static bool some_layers_went_finer(const json_t *result)
{
    const json_t *step;
    size_t i;

    json_array_foreach(json_object_get(result, "steps"), i, step)
    {
        const char *text = json_string_value(json_object_get(step, "text"));

        if (text && strstr(text, "layers stay"))
            return true;
    }
    return false;
}

#define DROP_POINTS 4.0

static void the_budget_is_kept_by_the_layers_that_hurt(void **unused)
{
    (void) unused;
    skip_without_data();
    new_job("crude", 100);
    new_job("kept", DROP_POINTS);
    json_t *crude = run("crude"), *kept = run("kept");

    /* The net collapses, or there would be nothing to keep. */
    assert_true(accuracy(crude, "variant") < accuracy(crude, "original") - 0.1);
    assert_true(accuracy(kept, "variant") >= accuracy(kept, "original") - DROP_POINTS / 100 - 1e-9);
    assert_true(some_layers_went_finer(kept));
    assert_true(bytes(kept) > bytes(crude));

    /* Killed before the form was recorded: the trials are remembered, and lead to the same bytes.
     */
    assert_int_equal(unlink(in_folder("kept", "step/form-net-3.json")), 0);
    assert_int_equal(unlink(in_folder("kept", "result.json")), 0);
    assert_ok(pith_remove_tree(in_folder("kept", "variant"), &err), &err);
    json_t *again = run("kept");

    assert_string_equal(variant_sha256(again), variant_sha256(kept));
    json_decref(crude);
    json_decref(kept);
    json_decref(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_budget_is_kept_by_the_layers_that_hurt),
    };

    return cmocka_run_group_tests(tests, open_plugins, close_plugins);
}
