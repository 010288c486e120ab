/* Labels as people have them: in a dimension of their own, as floats, as names, missing, of one kind alone. */
#include "libpith/compress/dataset.h"
#include "libpith/compress/metric.h"

#include "libpith/base/file.h"
#include "libpith/formats/jpeg.h"
#include "libpith/formats/npy.h"
#include "tests/unit/root_folder.h"

#include <errno.h>

static struct pith_error err;

static void write_bytes(const char *name, const void *data, size_t bytes)
{
    assert_ok(pith_file_write(in_root(name), data, bytes, 0644, &err), &err);
}

static void write_array(const char *name, int32_t dtype, const struct pith_shape *shape, void *data)
{
    struct pith_tensor tensor = {.dtype = dtype,
                                 .shape = *shape,
                                 .data = data,
                                 .bytes = (size_t) pith_tensor_bytes(dtype, shape)};

    assert_ok(pith_npy_write(in_root(name), &tensor, &err), &err);
}

static void expect_refusal(const struct pith_dataset_options *options, const char *words)
{
    struct pith_dataset dataset;

    if (pith_dataset_open(&dataset, options, PITH_SPLIT_ALL, &err) >= 0)
        fail_msg("nothing was said where \"%s\" was expected", words);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" is not in \"%s\"", words, err.text);
}

static void write_x(void)
{
    float x[] = {0, 1, 2};

    write_array("x.npy", PITH_FLOAT32, &(struct pith_shape){.rank = 2, .dim = {3, 1}}, x);
}

static void a_column_of_integers_is_classes(void **unused)
{
    int64_t y[] = {2, 0, 1};
    const struct pith_sample *sample;
    struct pith_dataset dataset;

    (void) unused;
    write_x();
    write_array("column.npy", PITH_INT64, &(struct pith_shape){.rank = 2, .dim = {3, 1}}, y);
    struct pith_dataset_options options = {.data = in_root("x.npy"), .labels = in_root("column.npy")};

    assert_ok(pith_dataset_open(&dataset, &options, PITH_SPLIT_ALL, &err), &err);
    assert_int_equal(dataset.labels, PITH_LABEL_CLASS);
    for (uint64_t i = 0; i < 3; i++) {
        assert_ok(pith_dataset_read(&dataset, i, &sample, &err), &err);
        assert_int_equal(sample->class_index, y[i]);
    }
    pith_dataset_close(&dataset);
}

static void what_arrays_and_tables_cannot_do_is_told(void **unused)
{
    static const char zip[] = "PK\x03\x04 and arrays";
    float complex_numbers[4] = {0};

    (void) unused;
    write_x();
    write_bytes("x.npz", zip, sizeof zip);
    write_bytes("x.csv", "a,b\n1,2\n", 8);
    write_array("complex.npy", PITH_COMPLEX64, &(struct pith_shape){.rank = 1, .dim = {2}}, complex_numbers);
    expect_refusal(&(struct pith_dataset_options){.data = in_root("x.npz")}, "unzip it");
    expect_refusal(&(struct pith_dataset_options){.data = in_root("complex.npy")}, "complex");
    expect_refusal(&(struct pith_dataset_options){.data = in_root("x.npy"), .index = "i.csv"}, "an index is for");
    expect_refusal(&(struct pith_dataset_options){.data = in_root("x.npy"), .where = "a=1"}, "where");
    expect_refusal(&(struct pith_dataset_options){.data = in_root("x.csv"), .where = "a=1"}, "where");
}

static void names_in_a_table_are_classes_in_alphabetical_order(void **unused)
{
    static const char text[] = "a,kind\n1,wolf\n2,\"ant\"\n3,wolf\n4,bee\n";
    static const int64_t expected[] = {2, 0, 2, 1};
    const struct pith_sample *sample;
    struct pith_dataset dataset;

    (void) unused;
    write_bytes("names.csv", text, sizeof text - 1);
    struct pith_dataset_options options = {.data = in_root("names.csv"), .labels = "kind"};

    assert_ok(pith_dataset_open(&dataset, &options, PITH_SPLIT_ALL, &err), &err);
    assert_int_equal(dataset.labels, PITH_LABEL_CLASS);
    for (uint64_t i = 0; i < 4; i++) {
        assert_ok(pith_dataset_read(&dataset, i, &sample, &err), &err);
        assert_int_equal(sample->class_index, expected[i]);
    }
    pith_dataset_close(&dataset);
}

static void gaps_in_a_table_are_told(void **unused)
{
    static const struct {
        const char *text, *words;
    } faults[] = {
        {"a,y\n1,0\n2,\n", "line 3 has no label"},
        {"a,b,y\n1,,0\n2,3,1\n", "column 2 has numbers from line 3 on"},
        {"a,b,y\n1,NA,0\n2,,0\n2,3,1\n", "column 2 has numbers from line 4 on"},
        {"a;b;y\n1;2;0\n", "separated by ';'"},
        {"a\tb\ty\n1\t2\t0\n", "separated by tabs"},
    };
    struct pith_dataset dataset;

    (void) unused;
    struct pith_dataset_options options = {.data = in_root("gaps.csv"), .labels = "y"};

    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        write_bytes("gaps.csv", faults[i].text, strlen(faults[i].text));
        expect_refusal(&options, faults[i].words);
    }
    write_bytes("gaps.csv", "a,b,y\n1,,0\n2,rain,1\n", 20); /* remarks, not numbers */
    assert_ok(pith_dataset_open(&dataset, &options, PITH_SPLIT_ALL, &err), &err);
    pith_dataset_close(&dataset);
}

static void write_sample_in(const char *folder, const char *file)
{
    float x = 1;
    char name[64];

    (void) snprintf(name, sizeof name, "set/%s", folder);
    assert_ok(pith_mkdirs(in_root(name), 0755, &err), &err);
    (void) snprintf(name, sizeof name, "set/%s/%s", folder, file);
    write_array(name, PITH_FLOAT32, &(struct pith_shape){.rank = 1, .dim = {1}}, &x);
}

static void a_single_folder_is_no_class(void **unused)
{
    struct pith_dataset dataset;

    (void) unused;
    write_sample_in("all", "1.npy");
    write_sample_in("all", "2.NPY");
    struct pith_dataset_options options = {.data = in_root("set")};

    assert_ok(pith_dataset_open(&dataset, &options, PITH_SPLIT_ALL, &err), &err);
    assert_int_equal(dataset.count, 2);
    assert_int_equal(dataset.labels, PITH_LABEL_NONE);
    pith_dataset_close(&dataset);
    write_sample_in("other", "3.npy");
    assert_ok(pith_dataset_open(&dataset, &options, PITH_SPLIT_ALL, &err), &err);
    assert_int_equal(dataset.labels, PITH_LABEL_CLASS);
    pith_dataset_close(&dataset);
}

/* A metric over one sample of this label and these scores. */
static int see(int kind, enum pith_label_kind labels, const struct pith_sample *sample, float *scores,
               int64_t count, struct pith_measurement *out)
{
    struct pith_metric_options options = {.kind = kind, .peak = 1, .detect = PITH_DETECT_DEFAULT};
    struct pith_tensor output = {.dtype = PITH_FLOAT32,
                                 .shape = pith_shape_of(1, &count),
                                 .data = scores,
                                 .bytes = (size_t) count * sizeof *scores};
    struct pith_metric *metric;

    assert_ok(pith_metric_new(&metric, &options, labels, &err), &err);
    assert_int_equal(pith_metric_begin(metric), 0);
    int rc = pith_metric_see(metric, sample, &output, 1, &err);

    if (rc == 0)
        rc = pith_metric_measure(metric, out, &err);
    pith_metric_free(metric);
    return rc;
}

static void numbers_are_what_the_metric_takes_them_for(void **unused)
{
    float scores[] = {0, 1, 0}, label = 1;
    struct pith_sample sample = {
        .class_index = -1,
        .values = {.dtype = PITH_FLOAT32, .data = &label, .bytes = sizeof label}};
    struct pith_measurement measured;

    (void) unused;
    assert_ok(see(PITH_METRIC_TOP1, PITH_LABEL_VALUES, &sample, scores, 3, &measured), &err);
    assert_true(measured.value == 1);
    label = 1.5f;
    assert_int_equal(see(PITH_METRIC_TOP1, PITH_LABEL_VALUES, &sample, scores, 3, &measured), -EINVAL);
    assert_non_null(strstr(err.text, "1.5 is no class"));
    assert_int_equal(see(PITH_METRIC_MSE, PITH_LABEL_VALUES, &sample, scores, 3, &measured), -EINVAL);
    assert_non_null(strstr(err.text, "where they are classes"));
    sample = (struct pith_sample){.class_index = -3}; /* an integer to be predicted */
    assert_ok(see(PITH_METRIC_MSE, PITH_LABEL_CLASS, &sample, scores, 1, &measured), &err);
    assert_true(measured.value == 9);
}

static void labels_that_say_nothing_are_told(void **unused)
{
    float scores[] = {0, 1, 0};
    struct pith_sample sample = {.class_index = 3};
    struct pith_measurement measured;

    (void) unused;
    assert_int_equal(see(PITH_METRIC_TOP1, PITH_LABEL_CLASS, &sample, scores, 3, &measured), -EINVAL);
    assert_non_null(strstr(err.text, "none of the 1 labels"));
    sample.class_index = 0;
    assert_int_equal(see(PITH_METRIC_AUC, PITH_LABEL_CLASS, &sample, scores, 3, &measured), -EINVAL);
    assert_non_null(strstr(err.text, "of one kind"));
}

/* The grey that a decoder fills in for what a cut file lacks is no picture. */
static void cut_pictures_are_refused(void **unused)
{
    struct pith_buffer file = {0};
    struct pith_tensor picture = {0};
    char path[512];

    (void) unused;
    skip_without_data();
    (void) snprintf(path, sizeof path, "%s/models/face/1.jpg", testing_data());
    assert_ok(pith_file_read(path, 1 << 24, &file, &err), &err);
    int rc = pith_jpeg_decode(&picture, file.data, file.bytes, 3, &err);

    if (rc == -ENOTSUP) {
        pith_buffer_done(&file);
        skip_because("built without libjpeg");
    }
    assert_ok(rc, &err);
    pith_tensor_free(&picture);
    assert_ok(pith_jpeg_decode(&picture, file.data, file.bytes - 2, 3, &err), &err); /* its end marker */
    pith_tensor_free(&picture);
    assert_int_equal(pith_jpeg_decode(&picture, file.data, file.bytes / 2, 3, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "cut off"));
    pith_buffer_done(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_column_of_integers_is_classes),
        cmocka_unit_test(what_arrays_and_tables_cannot_do_is_told),
        cmocka_unit_test(names_in_a_table_are_classes_in_alphabetical_order),
        cmocka_unit_test(gaps_in_a_table_are_told),
        cmocka_unit_test(a_single_folder_is_no_class),
        cmocka_unit_test(numbers_are_what_the_metric_takes_them_for),
        cmocka_unit_test(labels_that_say_nothing_are_told),
        cmocka_unit_test(cut_pictures_are_refused),
    };

    return cmocka_run_group_tests(tests, make_root, remove_root);
}
