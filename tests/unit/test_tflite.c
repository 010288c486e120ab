/* TensorFlow Lite files that are cut off or bent: refused with a sentence, or read as a graph that
 * is valid. */
#include "tests/unit/native_plugin.h"
#include "tests/unit/tflite_build.h"

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

/* ---- files made here ---- */

static struct pith_session *open_model(const struct build *b, struct pith_graph **graph)
{
    const struct pith_engine_options options = {.size_bytes = sizeof options, .threads = 1};
    struct pith_session *session;
    struct pith_error err = {0};

    assert_ok(pith_graph_parse(graph, b->bytes, b->used, &err), &err);
    assert_ok(engine->compile(NULL, *graph, &options, &session, &err), &err);
    return session;
}

enum { CODE_ADD, CODE_CALL_ONCE, CODE_VAR_HANDLE, CODE_READ, CODE_ASSIGN, CODE_TURNED };
static const int32_t codes[] = {0, 129, 142, 143, 144, 32};
#define HANDLE(tensor, name)                                                                       \
    {CODE_VAR_HANDLE, .outputs = {tensor}, .output_count = 1, .options_type = OPTIONS_VAR_HANDLE,  \
     .text = name}

/* y = total = total + x, as floats, or as int8 of a half from 3 on; `first`: what the variable, named so, begins with. */
static void put_counter(struct build *b, uint8_t type, const void *first, const char *name)
{
    const float scale = type == TFLITE_INT8 ? 0.5F : 0;
    const struct built_tensor tensors[] = {{"x", 1, {2}, type, NULL, scale, 3},
                                           {"handle", 0, {0}, TFLITE_RESOURCE, NULL, 0, 0},
                                           {"was", 1, {2}, type, NULL, scale, 3},
                                           {"y", 1, {2}, type, NULL, scale, 3}},
                              begin[] = {{"handle", 0, {0}, TFLITE_RESOURCE, NULL, 0, 0},
                                         {"zeros", 1, {2}, type, first, 0, 0}};
    const struct built_operator
        operators[] = {{CODE_CALL_ONCE, .options_type = OPTIONS_CALL_ONCE, .number = 1},
                       HANDLE(1, name),
                       {CODE_READ, {1}, {2}, 1, 1},
                       {CODE_ADD, {2, 0}, {3}, 2, 1},
                       {CODE_ASSIGN, {1, 3}, {0}, 2, 0}},
        once[] = {HANDLE(0, name), {CODE_ASSIGN, {0, 1}, {0}, 2, 0}};
    const struct built_graph graphs[] = {{tensors, operators, 4, 5, 0, 3}, {begin, once, 2, 2, -1, -1}};

    put_model(b, codes, 6, "", graphs, 2);
}

static void variables_are_inputs_and_outputs_of_their_name(void **state)
{
    static const float zeros[2] = {0, 0}, others[2] = {0, 1};
    float x[2] = {1, -2}, total[2] = {0, 0};
    const struct pith_shape shape = {1, {2}};
    const struct pith_tensor in[2] = {{PITH_FLOAT32, shape, x, sizeof x}, {PITH_FLOAT32, shape, total, sizeof total}};
    struct pith_tensor out[2];
    struct pith_graph *graph;
    struct pith_session *session;
    struct pith_error err = {0};
    struct build b;

    (void) state;
    put_counter(&b, TFLITE_FLOAT32, zeros, "total");
    session = open_model(&b, &graph);
    assert_int_equal(pith_graph_input_count(graph), 2);
    assert_int_equal(pith_graph_output_count(graph), 2);
    assert_string_equal(pith_value_name(graph, pith_graph_input(graph, 1)), "total");
    assert_string_equal(pith_value_name(graph, pith_graph_output(graph, 0)), "y");
    assert_string_equal(pith_value_name(graph, pith_graph_output(graph, 1)), "total.next");
    assert_string_equal(pith_graph_metadata(graph, "pith.state"), "{\"total\":\"total.next\"}");
    for (int run = 1; run <= 3; run++) {
        assert_ok(engine->run(session, in, 2, out, 2, &err), &err);
        for (int i = 0; i < 2; i++)
            assert_true(((const float *) out[0].data)[i] == (float) run * x[i]);
        memcpy(total, out[1].data, sizeof total);
    }
    engine->close(session);
    pith_graph_free(graph);
    put_counter(&b, TFLITE_FLOAT32, others, "total");
    assert_int_equal(parse(b.bytes, b.used, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "begins with other values than zeros"));
    for (uint32_t bytes = 0; bytes < b.used; bytes++)
        (void) parse(b.bytes, bytes, &err);
}

/* What a variable begins with is 0 on the grid that it is read on, whatever its own tensor says. */
static void integer_variables_begin_with_their_zero(void **state)
{
    static const int8_t threes[2] = {3, 3}, zeros[2] = {0, 0};
    struct pith_error err = {0};
    struct build b;

    (void) state;
    put_counter(&b, TFLITE_INT8, threes, "total");
    assert_ok(parse(b.bytes, b.used, &err), &err);
    put_counter(&b, TFLITE_INT8, zeros, "total");
    assert_int_equal(parse(b.bytes, b.used, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "begins with other values than zeros"));
}

static void variables_of_long_names_are_not_taken_for_one(void **state)
{
    static const float zeros[2] = {0, 0};
    struct pith_error err = {0};
    struct build b;
    char name[202];

    (void) state;
    memset(name, 'v', sizeof name);
    name[200] = 0;
    put_counter(&b, TFLITE_FLOAT32, zeros, name);
    assert_ok(parse(b.bytes, b.used, &err), &err);
    name[200] = 'v';
    name[201] = 0;
    put_counter(&b, TFLITE_FLOAT32, zeros, name);
    assert_int_equal(parse(b.bytes, b.used, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "longer than 200 bytes"));
}

/* 1 x 3 of 1, 2 and 3; a window of 1 x 3 of ones, strides of 2, a bias of 0.5. Under SAME what is cut off follows from the input:
 * max(0, 3 - (3 - 1) % 2 - 1) = 2 columns, one on each side. */
static void mediapipes_transposed_convolutions_are_read(void **state)
{
    static const float ones[3] = {1, 1, 1}, half[1] = {0.5F},
                       same[5] = {1.5F, 3.5F, 2.5F, 5.5F, 3.5F},
                       valid[7] = {1.5F, 1.5F, 3.5F, 2.5F, 5.5F, 3.5F, 3.5F};
    float x[3] = {1, 2, 3};
    const struct pith_tensor in = {PITH_FLOAT32, {4, {1, 1, 3, 1}}, x, sizeof x};

    (void) state;
    for (int32_t padding = 1; padding <= 2; padding++) {
        const int32_t numbers[3] = {padding, 2, 1}, width = padding == 1 ? 5 : 7;
        const struct built_tensor tensors[] = {{"x", 4, {1, 1, 3, 1}, TFLITE_FLOAT32, NULL, 0, 0},
                                               {"w", 4, {1, 1, 3, 1}, TFLITE_FLOAT32, ones, 0, 0},
                                               {"b", 1, {1}, TFLITE_FLOAT32, half, 0, 0},
                                               {"y", 4, {1, 1, width, 1}, TFLITE_FLOAT32, NULL, 0, 0}};
        const struct built_operator op = {CODE_TURNED, {0, 1, 2}, {3}, 3, 1, .custom = numbers, .custom_bytes = sizeof numbers};
        const struct built_graph model = {tensors, &op, 4, 1, 0, 3};
        struct pith_tensor out;
        struct pith_graph *graph;
        struct pith_session *session;
        struct pith_error err = {0};
        struct build b;

        put_model(&b, codes, 6, "Convolution2DTransposeBias", &model, 1);
        session = open_model(&b, &graph);
        assert_ok(engine->run(session, &in, 1, &out, 1, &err), &err);
        assert_int_equal(pith_shape_elements(&out.shape), width);
        assert_memory_equal(out.data, padding == 1 ? same : valid, (size_t) width * sizeof(float));
        engine->close(session);
        pith_graph_free(graph);
        put_model(&b, codes, 6, "Convolution2DTransposeOther", &model, 1);
        assert_int_equal(parse(b.bytes, b.used, &err), -ENOTSUP);
        assert_non_null(strstr(err.text, "custom operator \"Convolution2DTransposeOther\""));
    }
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
        cmocka_unit_test(variables_are_inputs_and_outputs_of_their_name),
        cmocka_unit_test(integer_variables_begin_with_their_zero),
        cmocka_unit_test(variables_of_long_names_are_not_taken_for_one),
        cmocka_unit_test(mediapipes_transposed_convolutions_are_read),
    };

    return cmocka_run_group_tests_name("tflite", tests, open_engine, close_engine);
}
