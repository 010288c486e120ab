/* Data sets: what is read, in which order, and that splits never share a sample. */
#include "libpith/compress/description.h"

#include "libpith/base/file.h"
#include "libpith/compress/prepare.h"
#include "libpith/formats/npy.h"
#include "tests/unit/root_folder.h"

#include <errno.h>
#include <math.h>
#include <sys/stat.h>

static struct pith_error err;

static void write_text(const char *name, const char *text)
{
    assert_ok(pith_file_write(in_root(name), text, strlen(text), 0644, &err), &err);
}

/* 100 samples of two numbers, 2 i and 2 i + 1; label i % 3. */
static void write_arrays(const char *end)
{
    float x[200];
    int32_t y[100];
    char name[32];
    struct pith_tensor tensor = {.dtype = PITH_FLOAT32,
                                 .shape = pith_shape_of(2, (int64_t[]){100, 2}),
                                 .data = x,
                                 .bytes = sizeof x};

    for (int i = 0; i < 200; i++)
        x[i] = (float) i;
    for (int i = 0; i < 100; i++)
        y[i] = i % 3;
    (void) snprintf(name, sizeof name, "x%s", end);
    assert_ok(pith_npy_write(in_root(name), &tensor, &err), &err);
    tensor = (struct pith_tensor){.dtype = PITH_INT32,
                                  .shape = pith_shape_of(1, (int64_t[]){100}),
                                  .data = y,
                                  .bytes = sizeof y};
    (void) snprintf(name, sizeof name, "y%s", end);
    assert_ok(pith_npy_write(in_root(name), &tensor, &err), &err);
}

static void mark(const struct pith_dataset_options *options, enum pith_split split, int *seen,
                 uint64_t expected)
{
    struct pith_dataset dataset;
    int64_t last = -1;

    assert_ok(pith_dataset_open(&dataset, options, split, &err), &err);
    assert_int_equal(dataset.count, expected);
    for (uint64_t i = 0; i < dataset.count; i++) {
        const struct pith_sample *sample;

        assert_ok(pith_dataset_read(&dataset, i, &sample, &err), &err);
        int64_t at = (int64_t) ((const float *) sample->x.data)[0] / 2;

        assert_true(at > last); /* in the order of the file */
        assert_int_equal(sample->class_index, at % 3);
        last = at;
        seen[at]++;
    }
    pith_dataset_close(&dataset);
}

static void splits_share_no_sample_and_leave_none_out(void **unused)
{
    static const char *const ends[] = {".npy", ".npy.zst"};

    (void) unused;
    for (size_t k = 0; k < 2; k++) {
        char x[64], y[64];
        int seen[100] = {0};

        write_arrays(ends[k]);
        (void) snprintf(x, sizeof x, "x%s", ends[k]);
        (void) snprintf(y, sizeof y, "y%s", ends[k]);
        struct pith_dataset_options options = {.data = in_root(x),
                                               .labels = in_root(y),
                                               .seed = 7,
                                               .calibration = 30,
                                               .validation = 20};

        mark(&options, PITH_SPLIT_CALIBRATION, seen, 30);
        mark(&options, PITH_SPLIT_VALIDATION, seen, 20);
        mark(&options, PITH_SPLIT_TEST, seen, 50);
        for (int i = 0; i < 100; i++)
            assert_int_equal(seen[i], 1);
    }
}

static void a_split_is_the_same_for_a_seed_and_another_for_another(void **unused)
{
    int first[100] = {0}, again[100] = {0}, other[100] = {0};

    (void) unused;
    write_arrays(".npy");
    struct pith_dataset_options options = {
        .data = in_root("x.npy"), .labels = in_root("y.npy"), .seed = 1, .calibration = 30};

    mark(&options, PITH_SPLIT_CALIBRATION, first, 30);
    mark(&options, PITH_SPLIT_CALIBRATION, again, 30);
    options.seed = 2;
    mark(&options, PITH_SPLIT_CALIBRATION, other, 30);
    assert_memory_equal(first, again, sizeof first);
    assert_memory_not_equal(first, other, sizeof first);
}

static void a_split_of_more_than_there_is_is_refused(void **unused)
{
    struct pith_dataset dataset;

    (void) unused;
    write_arrays(".npy");
    struct pith_dataset_options options = {
        .data = in_root("x.npy"), .calibration = 60, .validation = UINT64_MAX - 10};

    assert_int_equal(pith_dataset_open(&dataset, &options, PITH_SPLIT_TEST, &err), -EINVAL);
    options.validation = 40;
    assert_int_equal(pith_dataset_open(&dataset, &options, PITH_SPLIT_TEST, &err), -EINVAL);
    assert_non_null(strstr(err.text, "test split has no samples"));
}

static void packed_arrays_go_back_too(void **unused)
{
    const struct pith_sample *sample;
    struct pith_dataset dataset;

    (void) unused;
    write_arrays(".npy.zst");
    struct pith_dataset_options options = {.data = in_root("x.npy.zst")};

    assert_ok(pith_dataset_open(&dataset, &options, PITH_SPLIT_ALL, &err), &err);
    assert_ok(pith_dataset_read(&dataset, 99, &sample, &err), &err);
    assert_true(((const float *) sample->x.data)[1] == 199);
    assert_ok(pith_dataset_read(&dataset, 3, &sample, &err), &err);
    assert_true(((const float *) sample->x.data)[1] == 7);
    pith_dataset_close(&dataset);
}

static void a_cut_file_is_told_when_it_is_reached(void **unused)
{
    const struct pith_sample *sample;
    struct pith_dataset dataset;

    (void) unused;
    write_arrays(".npy");
    assert_int_equal(truncate(in_root("x.npy"), 500), 0);
    struct pith_dataset_options options = {.data = in_root("x.npy")};

    assert_ok(pith_dataset_open(&dataset, &options, PITH_SPLIT_ALL, &err), &err);
    assert_ok(pith_dataset_read(&dataset, 0, &sample, &err), &err);
    assert_int_equal(pith_dataset_read(&dataset, 90, &sample, &err), -EBADMSG);
    pith_dataset_close(&dataset);
}

static void a_table_gives_rows_and_classes_by_name(void **unused)
{
    const struct pith_sample *sample;
    struct pith_dataset dataset;

    (void) unused;
    write_text("t.csv", "date,a,kind,b\n2020-01-01,1,cat,2\n2020-01-02,3,\"do\"\"g\",4\n\n"
                        "2020-01-03,5,none,6\n");
    write_text("classes.txt", "do\"g\ncat\n");
    struct pith_dataset_options options = {
        .data = in_root("t.csv"), .labels = "kind", .classes = in_root("classes.txt")};

    assert_ok(pith_dataset_open(&dataset, &options, PITH_SPLIT_ALL, &err), &err);
    assert_int_equal(dataset.count, 3);
    assert_int_equal(dataset.labels, PITH_LABEL_CLASS);
    assert_ok(pith_dataset_read(&dataset, 1, &sample, &err), &err);
    assert_int_equal(sample->x.shape.dim[0], 2);
    assert_true(((const float *) sample->x.data)[0] == 3 &&
                ((const float *) sample->x.data)[1] == 4);
    assert_int_equal(sample->class_index, 0);
    assert_ok(pith_dataset_read(&dataset, 0, &sample, &err), &err);
    assert_int_equal(sample->class_index, 1);
    assert_ok(pith_dataset_read(&dataset, 2, &sample, &err), &err);
    assert_int_equal(sample->class_index, -1);
    pith_dataset_close(&dataset);
}

static void labels_that_are_no_whole_numbers_are_to_be_predicted(void **unused)
{
    const struct pith_sample *sample;
    struct pith_dataset dataset;

    (void) unused;
    write_text("r.csv", "a,y\n1,0.5\n2,1\n");
    struct pith_dataset_options options = {.data = in_root("r.csv"), .labels = "y"};

    assert_ok(pith_dataset_open(&dataset, &options, PITH_SPLIT_ALL, &err), &err);
    assert_int_equal(dataset.labels, PITH_LABEL_VALUES);
    assert_ok(pith_dataset_read(&dataset, 0, &sample, &err), &err);
    assert_true(*(const float *) sample->values.data == 0.5f);
    pith_dataset_close(&dataset);
}

static void faults_of_a_table_name_the_line(void **unused)
{
    struct pith_dataset dataset;

    (void) unused;
    struct pith_dataset_options options = {.data = in_root("bad.csv")};

    write_text("bad.csv", "a,b\n1,2\n1,x\n");
    assert_int_equal(pith_dataset_open(&dataset, &options, PITH_SPLIT_ALL, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "line 3, column 2"));
    options.labels = "c";
    assert_int_equal(pith_dataset_open(&dataset, &options, PITH_SPLIT_ALL, &err), -EINVAL);
    assert_non_null(strstr(err.text, "\"c\""));
}

static void tables_are_read_as_spreadsheets_write_them(void **unused)
{
    const struct pith_sample *sample;
    struct pith_dataset dataset;

    (void) unused;
    write_text("s.csv", "\xef\xbb\xbf\"a,b\",when,c\r\n\r\n 1.5 ,\"x\"\"\ny\",-2e3\r\n4,,5");
    struct pith_dataset_options options = {.data = in_root("s.csv"), .labels = "a,b"};

    assert_ok(pith_dataset_open(&dataset, &options, PITH_SPLIT_ALL, &err), &err);
    assert_int_equal(dataset.count, 2);
    assert_ok(pith_dataset_read(&dataset, 0, &sample, &err), &err);
    assert_int_equal(sample->x.shape.dim[0], 1); /* c: when is no number, a,b the label */
    assert_true(*(const float *) sample->x.data == -2000 && *(const float *) sample->values.data == 1.5f);
    assert_ok(pith_dataset_read(&dataset, 1, &sample, &err), &err);
    assert_true(*(const float *) sample->x.data == 5 && *(const float *) sample->values.data == 4);
    pith_dataset_close(&dataset);
}

static void real_tables_are_read(void **unused)
{
    char path[512];
    const struct pith_sample *sample;
    struct pith_dataset dataset;

    (void) unused;
    skip_without_data();
    (void) snprintf(path, sizeof path, "%s/sensors_occupancy/datatest2.csv", testing_data());
    struct pith_dataset_options options = {.data = path, .labels = "Occupancy"};

    assert_ok(pith_dataset_open(&dataset, &options, PITH_SPLIT_ALL, &err), &err);
    assert_int_equal(dataset.count, 9752);
    assert_int_equal(dataset.labels, PITH_LABEL_CLASS);
    assert_ok(pith_dataset_read(&dataset, 1, &sample, &err), &err);
    assert_int_equal(sample->x.shape.dim[0], 5); /* all but the date and the label */
    assert_float_equal(((const float *) sample->x.data)[0], 21.79, 1e-5);
    assert_int_equal(sample->class_index, 1);
    pith_dataset_close(&dataset);
}

static void broken_tables_are_refused(void **unused)
{
    static const struct {
        const char *text, *words;
    } faults[] = {
        {"", "no rows"},
        {"a,b\n", "no rows"},
        {"a,b\n1,2\n3\n", "line 3 has 1 fields where its header has 2"},
        {"a,b\n1,2,3\n", "line 2 has more than the 2 fields"},
        {"a,b\n1,2\n3,\n", "line 3, column 2: \"\" is no number"},
        {"a,b\n1,2\n3,nan\n", "\"nan\" is no number"},
        {"a,b\n1,2\n3,1e99\n", "\"1e99\" is no number"},
        {"a,b\n1,\"2\n", "line 2: a quote is not closed"},
        {"a,b\n1,\"2\"x\n", "follows a closing quote"},
        {"a,b\nx,y\n", "no column of numbers"},
    };
    struct pith_dataset dataset;

    (void) unused;
    struct pith_dataset_options options = {.data = in_root("broken.csv")};

    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        write_text("broken.csv", faults[i].text);
        assert_int_equal(pith_dataset_open(&dataset, &options, PITH_SPLIT_ALL, &err), -EBADMSG);
        if (!strstr(err.text, faults[i].words))
            fail_msg("\"%s\" is not in \"%s\"", faults[i].words, err.text);
    }
}

/* Four pixels of three channels, (row 1) 0 10 20, 30 40 50. */
static void pictures_are_turned_scaled_and_reversed(void **unused)
{
    static const uint8_t pixels[] = {0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110};
    struct pith_tensor tensor = {.dtype = PITH_UINT8,
                                 .shape = pith_shape_of(4, (int64_t[]){1, 2, 2, 3}),
                                 .data = (void *) (uintptr_t) pixels,
                                 .bytes = sizeof pixels};
    static const float expected[] = {15, 30, 45, 60, 9, 24, 39, 54, -0.5f, 14.5f, 29.5f, 44.5f};
    const struct pith_sample *sample;
    struct pith_dataset dataset;

    (void) unused;
    assert_ok(pith_npy_write(in_root("p.npy"), &tensor, &err), &err);
    struct pith_dataset_options options = {.data = in_root("p.npy"),
                                           .prepare = {.channels = PITH_CHANNELS_BGR,
                                                       .layout = PITH_LAYOUT_NCHW,
                                                       .mean = {-10, -8, 1},
                                                       .mean_count = 3,
                                                       .scale = {0.5},
                                                       .scale_count = 1}};

    assert_ok(pith_dataset_open(&dataset, &options, PITH_SPLIT_ALL, &err), &err);
    assert_ok(pith_dataset_read(&dataset, 0, &sample, &err), &err);
    assert_int_equal(sample->x.shape.dim[0], 3);
    for (int i = 0; i < 12; i++)
        assert_true(((const float *) sample->x.data)[i] == expected[i]);
    pith_dataset_close(&dataset);

    /* channels last, as they lie */
    options.prepare = (struct pith_prepare){.layout = PITH_LAYOUT_NHWC, .mean = {1}, .mean_count = 1};
    assert_ok(pith_dataset_open(&dataset, &options, PITH_SPLIT_ALL, &err), &err);
    assert_ok(pith_dataset_read(&dataset, 0, &sample, &err), &err);
    assert_int_equal(sample->x.shape.dim[2], 3);
    for (int i = 0; i < 12; i++)
        assert_true(((const float *) sample->x.data)[i] == (float) pixels[i] - 1);
    pith_dataset_close(&dataset);
}

static void resizing_keeps_half_pixel_centres(void **unused)
{
    static const uint8_t row[] = {0, 100};
    float out[4];

    (void) unused;
    pith_picture_resize(row, 1, 2, 1, out, 1, 4);
    assert_true(out[0] == 0 && out[1] == 25 && out[2] == 75 && out[3] == 100);
    pith_picture_resize(row, 1, 2, 1, out, 2, 1);
    assert_true(out[0] == 50 && out[1] == 50);
}

static void pictures_in_an_archive_have_the_classes_of_their_folders(void **unused)
{
    const struct pith_sample *sample;
    struct pith_dataset dataset;
    char data[512], classes[512];

    (void) unused;
    skip_without_data();
    (void) snprintf(data, sizeof data, "%s/images_cifar10/test_jpeg.tar.zst", testing_data());
    (void) snprintf(classes, sizeof classes, "%s/images_cifar10/classes.txt", testing_data());
    struct pith_dataset_options options = {
        .data = data, .classes = classes, .seed = 1, .limit = 200};
    int rc = pith_dataset_open(&dataset, &options, PITH_SPLIT_ALL, &err);
    uint64_t count[10] = {0};

    assert_ok(rc, &err);
    assert_int_equal(dataset.count, 200);
    for (uint64_t i = 0; i < dataset.count; i++) {
        rc = pith_dataset_read(&dataset, i, &sample, &err);
        if (rc == -ENOTSUP) {
            pith_dataset_close(&dataset);
            skip_because("built without libjpeg");
        }
        assert_ok(rc, &err);
        assert_true(sample->class_index >= 0 && sample->class_index < 10);
        count[sample->class_index]++;
        assert_int_equal(sample->x.bytes, 32 * 32 * 3);
    }
    for (int c = 0; c < 10; c++)
        assert_true(count[c] >= 5);
    pith_dataset_close(&dataset);
}

static void sounds_in_an_archive_have_the_labels_of_the_index(void **unused)
{
    const struct pith_sample *sample;
    struct pith_dataset dataset;
    char data[512], index[512];

    (void) unused;
    skip_without_data();
    (void) snprintf(data, sizeof data, "%s/speech_fsdd/recordings.tar.zst", testing_data());
    (void) snprintf(index, sizeof index, "%s/speech_fsdd/index.csv", testing_data());
    struct pith_dataset_options options = {
        .data = data, .index = index, .labels = "digit", .where = "split=test"};

    assert_ok(pith_dataset_open(&dataset, &options, PITH_SPLIT_ALL, &err), &err);
    assert_int_equal(dataset.count, 300);
    assert_ok(pith_dataset_read(&dataset, 0, &sample, &err), &err);
    assert_int_equal(sample->class_index, 0);
    assert_int_equal(sample->x.shape.dim[0], 2384); /* 0_george_0.wav, as its row says */
    pith_dataset_close(&dataset);
}

static void recordings_in_flac_are_read_from_an_archive(void **unused)
{
    const struct pith_sample *sample;
    struct pith_dataset dataset;
    char data[512], index[512];

    (void) unused;
    skip_without_data();
    (void) snprintf(data, sizeof data, "%s/speech_commands/clips_flac.tar.zst", testing_data());
    (void) snprintf(index, sizeof index, "%s/speech_commands/index.csv", testing_data());
    struct pith_dataset_options options = {
        .data = data, .index = index, .labels = "class", .where = "split=test", .limit = 60};

    assert_ok(pith_dataset_open(&dataset, &options, PITH_SPLIT_ALL, &err), &err);
    assert_int_equal(dataset.count, 60);
    for (uint64_t i = 0; i < dataset.count; i++) {
        int rc = pith_dataset_read(&dataset, i, &sample, &err);

        if (rc == -ENOTSUP) {
            pith_dataset_close(&dataset);
            skip_because("built without libFLAC");
        }
        assert_ok(rc, &err);
        assert_true(sample->class_index >= 0 && sample->class_index < 12);
        assert_int_equal(sample->x.dtype, PITH_INT16);
        assert_int_equal(pith_shape_elements(&sample->x.shape), 16000); /* a second each */
    }
    pith_dataset_close(&dataset);
}

static void boxes_lie_in_text_files_of_the_same_name(void **unused)
{
    const struct pith_sample *sample;
    struct pith_dataset dataset;
    char data[512], labels[512];
    size_t boxes = 0, persons = 0;

    (void) unused;
    skip_without_data();
    (void) snprintf(data, sizeof data, "%s/detection_coco64/images", testing_data());
    (void) snprintf(labels, sizeof labels, "%s/detection_coco64/labels", testing_data());
    struct pith_dataset_options options = {.data = data, .labels = labels};

    assert_ok(pith_dataset_open(&dataset, &options, PITH_SPLIT_ALL, &err), &err);
    for (uint64_t i = 0; i < dataset.count; i++) {
        int rc = pith_dataset_read(&dataset, i, &sample, &err);

        if (rc == -ENOTSUP) {
            pith_dataset_close(&dataset);
            skip_because("built without libjpeg");
        }
        assert_ok(rc, &err);
        boxes += sample->box_count;
        for (size_t k = 0; k < sample->box_count; k++)
            persons += sample->boxes[k].class_index == 0;
    }
    assert_int_equal(boxes, 466);
    assert_int_equal(persons, 178);
    pith_dataset_close(&dataset);
}

static void a_description_tells_every_fault(void **unused)
{
    struct pith_description description;

    (void) unused;
    write_text("d.yaml", "dat: x.npy\nmetric: map50\nprepare: {resize: [0, 3], layout: nhcw}\n");
    assert_int_equal(pith_description_read(&description, in_root("d.yaml"), &err), -EINVAL);
    assert_non_null(strstr(err.text, "dat"));
    assert_non_null(strstr(err.text, "layout"));
    assert_non_null(strstr(err.text, "16384"));
    assert_non_null(strstr(err.text, "detect"));
    write_arrays(".npy");
    write_text("d.yaml", "data: x.npy\nlabels: y.npy\nsplits: {calibration: 40}\nmetric: f1\n");
    assert_ok(pith_description_read(&description, in_root("d.yaml"), &err), &err);
    assert_string_equal(description.data.labels, in_root("y.npy"));
    assert_int_equal(description.data.calibration, 40);
    assert_int_equal(description.metric.kind, PITH_METRIC_F1);
    pith_description_done(&description);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits_share_no_sample_and_leave_none_out),
        cmocka_unit_test(a_split_is_the_same_for_a_seed_and_another_for_another),
        cmocka_unit_test(a_split_of_more_than_there_is_is_refused),
        cmocka_unit_test(packed_arrays_go_back_too),
        cmocka_unit_test(a_cut_file_is_told_when_it_is_reached),
        cmocka_unit_test(a_table_gives_rows_and_classes_by_name),
        cmocka_unit_test(labels_that_are_no_whole_numbers_are_to_be_predicted),
        cmocka_unit_test(faults_of_a_table_name_the_line),
        cmocka_unit_test(tables_are_read_as_spreadsheets_write_them),
        cmocka_unit_test(broken_tables_are_refused),
        cmocka_unit_test(real_tables_are_read),
        cmocka_unit_test(pictures_are_turned_scaled_and_reversed),
        cmocka_unit_test(resizing_keeps_half_pixel_centres),
        cmocka_unit_test(pictures_in_an_archive_have_the_classes_of_their_folders),
        cmocka_unit_test(sounds_in_an_archive_have_the_labels_of_the_index),
        cmocka_unit_test(recordings_in_flac_are_read_from_an_archive),
        cmocka_unit_test(boxes_lie_in_text_files_of_the_same_name),
        cmocka_unit_test(a_description_tells_every_fault),
    };

    return cmocka_run_group_tests(tests, make_root, remove_root);
}
