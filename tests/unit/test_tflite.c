/* TensorFlow Lite files that are cut off or bent: refused with a sentence, or read as a graph that
 * is valid. */
#include "tests/testing.h"

#include "libpith/base/file.h"
#include "libpith/formats/open.h"
#include <errno.h>

#define LIMIT_BYTES ((size_t) 1 << 24)

/* Parsed from memory that ends where the file ends, so that a sanitizer sees what reads past it. */
static int parse(const uint8_t *data, size_t bytes, struct pith_error *err)
{
    struct pith_graph *graph = NULL;
    uint8_t *exact = malloc(bytes ? bytes : 1);
    int rc;

    assert_non_null(exact);
    memcpy(exact, data, bytes);
    rc = pith_graph_parse(&graph, exact, bytes, err);
    free(exact);
    if (rc < 0) {
        assert_true(err->text[0]);
        assert_null(strchr(err->text, '\n'));
    }
    pith_graph_free(graph);
    return rc;
}

static void read_model(const char *name, struct pith_buffer *out)
{
    struct pith_error err = {0};
    char path[4096];

    (void) snprintf(path, sizeof path, "%s/models/%s", testing_data(), name);
    assert_ok(pith_file_read(path, LIMIT_BYTES, out, &err), &err);
}

static void a_file_of_nothing_but_its_mark_is_refused(void **state)
{
    uint8_t file[64] = "....TFL3";
    struct pith_error err = {0};

    (void) state;
    for (uint32_t root = 0; root < sizeof file; root++)
        for (size_t bytes = 8; bytes <= sizeof file; bytes += 7) {
            memcpy(file, &root, sizeof root);
            assert_int_equal(parse(file, bytes, &err), -EBADMSG);
            assert_non_null(strstr(err.text, "cut off or broken"));
        }
}

/* A table whose vtable, vectors and children lead anywhere. */
static void offsets_that_lead_anywhere_are_refused(void **state)
{
    static const uint32_t places[] = {0, 4, 0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff};
    uint8_t file[96] = "....TFL3";
    const uint32_t root = 32;
    const uint16_t vtable[] = {16, 24, 4, 8, 12, 16, 20, 8};
    struct pith_error err = {0};

    (void) state;
    memcpy(file, &root, sizeof root);
    memcpy(file + 12, vtable, sizeof vtable);
    for (size_t a = 0; a < sizeof places / sizeof *places; a++)
        for (size_t at = root; at + 4 <= root + 28; at += 4) {
            const int32_t back = (int32_t) root - 12;

            memset(file + root, 0, 64);
            memcpy(file + root, &back, sizeof back);
            file[root + 4] = 3;
            memcpy(file + at, &places[a], sizeof places[a]);
            assert_true(parse(file, sizeof file, &err) < 0);
        }
}

static void every_cut_of_a_small_model_is_refused(void **state)
{
    struct pith_buffer file = {0};
    struct pith_error err = {0};

    (void) state;
    skip_without_data();
    read_model("tflite_micro/hello_world_int8.tflite", &file);
    assert_ok(parse(file.data, file.bytes, &err), &err);
    for (size_t bytes = 0; bytes < file.bytes; bytes++) {
        int rc = parse(file.data, bytes, &err);

        /* Bytes past the last that is read may be missing. */
        assert_true(rc < 0 || bytes + 16 > file.bytes);
    }
    pith_buffer_done(&file);
}

static void every_bent_byte_of_a_small_model_is_survived(void **state)
{
    static const uint8_t masks[] = {0x01, 0x80, 0xff};
    struct pith_buffer file = {0};

    (void) state;
    skip_without_data();
    read_model("tflite_micro/hello_world_int8.tflite", &file);
    for (size_t at = 0; at < file.bytes; at++)
        for (size_t i = 0; i < sizeof masks; i++) {
            struct pith_error err = {0};

            file.data[at] ^= masks[i];
            (void) parse(file.data, file.bytes, &err);
            file.data[at] ^= masks[i];
        }
    pith_buffer_done(&file);
}

/* FULLY_CONNECTED (9) made another operator: an older one that is not known here, and one yet to
 * come. */
static void operators_that_are_not_known_are_named(void **state)
{
    static const struct {
        uint8_t code;
        const char *sentence;
    } cases[] = {{27, "operator 0 is SVDF, which is not known here"},
                 {251, "which is newer than pith"}};
    struct pith_buffer file = {0};

    (void) state;
    skip_without_data();
    read_model("tflite_micro/hello_world_float.tflite", &file);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool told = false;

        for (size_t at = 0; at < file.bytes && !told; at++) {
            struct pith_error err = {0};

            if (file.data[at] != 9)
                continue;
            file.data[at] = cases[i].code;
            told = parse(file.data, file.bytes, &err) < 0 && strstr(err.text, cases[i].sentence);
            file.data[at] = 9;
        }
        assert_true(told);
    }
    pith_buffer_done(&file);
}

static void some_cuts_of_real_models_are_refused(void **state)
{
    static const char *const names[] = {"mlperf_tiny/kws_ref_model_int8.tflite",
                                        "mediapipe/face_detection_short_range.tflite"};

    (void) state;
    skip_without_data();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct pith_buffer file = {0};
        struct pith_error err = {0};

        read_model(names[i], &file);
        for (size_t bytes = 0; bytes + 64 < file.bytes; bytes += file.bytes / 97)
            assert_true(parse(file.data, bytes, &err) < 0);
        pith_buffer_done(&file);
    }
}

/* The file's names of fused operators are hundreds of letters, all of them joined. */
static void fused_operators_go_by_the_first_of_their_names(void **state)
{
    struct pith_graph *graph;
    struct pith_error err = {0};
    char path[4096];

    (void) state;
    skip_without_data();
    (void) snprintf(path, sizeof path, "%s/models/mlperf_tiny/kws_ref_model_float32.tflite", testing_data());
    assert_ok(pith_graph_open(&graph, path, LIMIT_BYTES, &err), &err);
    for (uint32_t value = 0; value < pith_graph_value_limit(graph); value++)
        assert_null(strchr(pith_value_name(graph, value), ';'));
    assert_int_not_equal(pith_graph_find_value(graph, "functional_1/activation/Relu"), PITH_NO_VALUE);
    assert_int_not_equal(pith_graph_find_value(graph, "functional_1/activation/Relu_2"), PITH_NO_VALUE);
    pith_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_of_nothing_but_its_mark_is_refused),
        cmocka_unit_test(offsets_that_lead_anywhere_are_refused),
        cmocka_unit_test(every_cut_of_a_small_model_is_refused),
        cmocka_unit_test(every_bent_byte_of_a_small_model_is_survived),
        cmocka_unit_test(operators_that_are_not_known_are_named),
        cmocka_unit_test(some_cuts_of_real_models_are_refused),
        cmocka_unit_test(fused_operators_go_by_the_first_of_their_names),
    };

    return cmocka_run_group_tests_name("tflite", tests, NULL, NULL);
}
