/* Reading and writing ONNX: the real models, and every way in which a tensor holds its numbers. */
#include "tests/testing.h"

#include "libpith/formats/onnx.h"
#include "libpith/formats/open.h"
#include "libpith/graph/graph_internal.h"
#include "libpith/graph/pages.h"
#include "tests/unit/onnx_build.h"
#include <errno.h>
#include <glob.h>

#define LIMIT_BYTES ((size_t) 1 << 30)

static void real_models_are_read(void **state)
{
    struct pith_error err = {0};
    char pattern[512];
    glob_t found;

    (void) state;
    skip_without_data();
    (void) snprintf(pattern, sizeof pattern, "%s/models/*/*.onnx", testing_data());
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= 9);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct pith_graph *graph = NULL;
        struct pith_graph_size size;

        assert_ok(pith_graph_open(&graph, found.gl_pathv[i], LIMIT_BYTES, &err), &err);
        pith_graph_measure(graph, &size);
        assert_true(size.parameters > 50000);
        assert_true(pith_graph_input_count(graph) <= 3);
        pith_graph_free(graph);
    }
    globfree(&found);
}

/* Written plain and compressed, read again: the same graph. */
static void real_models_are_written_and_read_again(void **state)
{
    const char *const names[] = {"model.onnx", "model.onnx.zst"};
    char folder[] = "/tmp/pith-onnx-XXXXXX";
    struct pith_graph *graph = NULL;
    struct pith_graph_size size;
    struct pith_error err = {0};
    char path[512];

    (void) state;
    skip_without_data();
    assert_non_null(mkdtemp(folder));
    (void) snprintf(path, sizeof path, "%s/models/silero_vad/silero_vad.onnx", testing_data());
    assert_ok(pith_graph_open(&graph, path, LIMIT_BYTES, &err), &err);
    pith_graph_measure(graph, &size);
    for (size_t i = 0; i < 2; i++) {
        struct pith_graph *back = NULL;
        struct pith_graph_size again;
        size_t bytes = 0;

        (void) snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        assert_ok(pith_onnx_save(graph, path, &bytes, &err), &err);
        assert_true(bytes > 100000);
        assert_int_equal(i ? pith_graph_open(&back, path, 1000, &err) : -EFBIG, -EFBIG);
        assert_ok(pith_graph_open(&back, path, LIMIT_BYTES, &err), &err);
        pith_graph_measure(back, &again);
        assert_int_equal(again.nodes, size.nodes);
        assert_int_equal(again.parameters, size.parameters);
        assert_int_equal(again.nonzero, size.nonzero);
        pith_graph_free(back);
        assert_int_equal(unlink(path), 0);
    }
    pith_graph_free(graph);
    assert_int_equal(rmdir(folder), 0);
}

/* ---- tensors ---- */

static struct pith_tensor parse_tensor(struct pith_buffer *message)
{
    struct pith_tensor tensor = {0};
    struct pith_error err = {0};

    assert_ok(pith_onnx_parse_tensor(&tensor, NULL, message->data, message->bytes, &err), &err);
    pith_buffer_done(message);
    return tensor;
}

static size_t put_varint(uint8_t *to, uint64_t value)
{
    size_t count = 0;

    for (; value > 0x7f; value >>= 7)
        to[count++] = (uint8_t) (value | 0x80);
    to[count++] = (uint8_t) value;
    return count;
}

/* A tensor of two numbers whose list holds these varints, packed and not. */
static void expect_integers(int32_t dtype, uint32_t field, int64_t first, int64_t second,
                            double wanted_first, double wanted_second)
{
    for (int packed = 0; packed < 2; packed++) {
        struct pith_buffer message = {0};
        struct pith_tensor tensor;
        uint8_t list[20];
        size_t bytes = put_varint(list, (uint64_t) first);

        bytes += put_varint(list + bytes, (uint64_t) second);
        proto_put_int(&message, TENSOR_DIMS, 2);
        proto_put_int(&message, TENSOR_DATA_TYPE, dtype);
        if (packed) {
            proto_put_bytes(&message, field, list, bytes);
        } else {
            proto_put_int(&message, field, first);
            proto_put_int(&message, field, second);
        }
        tensor = parse_tensor(&message);
        assert_int_equal(tensor.dtype, dtype);
        assert_true(pith_tensor_aligned(&tensor));
        assert_float_equal(pith_tensor_get(&tensor, 0), wanted_first, 0);
        assert_float_equal(pith_tensor_get(&tensor, 1), wanted_second, 0);
        pith_tensor_free(&tensor);
    }
}

static void lists_of_integers_hold_every_type(void **state)
{
    (void) state;
    expect_integers(PITH_INT32, TENSOR_INT32_DATA, -7, 1 << 30, -7, 1 << 30);
    expect_integers(PITH_INT16, TENSOR_INT32_DATA, -7, 32767, -7, 32767);
    expect_integers(PITH_INT8, TENSOR_INT32_DATA, -128, 0xff, -128, -1); /* sign-extended or not */
    expect_integers(PITH_UINT16, TENSOR_INT32_DATA, 65535, 0, 65535, 0);
    expect_integers(PITH_UINT8, TENSOR_INT32_DATA, 255, 1, 255, 1);
    expect_integers(PITH_BOOL, TENSOR_INT32_DATA, 1, 0, 1, 0);
    expect_integers(PITH_FLOAT16, TENSOR_INT32_DATA, 0x3c00, 0xc000, 1, -2);
    expect_integers(PITH_BFLOAT16, TENSOR_INT32_DATA, 0x3f80, 0xc000, 1, -2);
    expect_integers(PITH_FLOAT8E4M3FN, TENSOR_INT32_DATA, 0x38, 0xb8, 1, -1);
    expect_integers(PITH_FLOAT8E5M2, TENSOR_INT32_DATA, 0x3c, 0xbc, 1, -1);
    expect_integers(PITH_INT64, TENSOR_INT64_DATA, -5, INT64_C(1) << 40, -5, 0x1p40);
    expect_integers(PITH_UINT32, TENSOR_UINT64_DATA, UINT32_MAX, 3, UINT32_MAX, 3);
    expect_integers(PITH_UINT64, TENSOR_UINT64_DATA, -1, 3, 0x1p64, 3);
}

static void int4_comes_two_a_byte(void **state)
{
    struct pith_buffer message = {0};
    struct pith_tensor tensor;

    (void) state;
    proto_put_int(&message, TENSOR_DIMS, 3);
    proto_put_int(&message, TENSOR_DATA_TYPE, PITH_INT4);
    proto_put_int(&message, TENSOR_INT32_DATA, 0x8f);
    proto_put_int(&message, TENSOR_INT32_DATA, 0x03);
    tensor = parse_tensor(&message);
    assert_int_equal(pith_tensor_get_int(&tensor, 0), -1);
    assert_int_equal(pith_tensor_get_int(&tensor, 1), -8);
    assert_int_equal(pith_tensor_get_int(&tensor, 2), 3);
    pith_tensor_free(&tensor);
}

static void lists_of_floats_are_read_packed_or_not(void **state)
{
    const float pair[] = {1.5f, -2.5f};
    const double wide[] = {0.1, -1e300};
    struct pith_buffer message = {0};
    struct pith_tensor tensor;

    (void) state;
    proto_put_int(&message, TENSOR_DIMS, 4);
    proto_put_int(&message, TENSOR_DATA_TYPE, PITH_FLOAT32);
    proto_put_float(&message, TENSOR_FLOAT_DATA, 0.25f);
    proto_put_bytes(&message, TENSOR_FLOAT_DATA, pair, sizeof pair);
    proto_put_float(&message, TENSOR_FLOAT_DATA, 8);
    tensor = parse_tensor(&message);
    assert_float_equal(pith_tensor_get(&tensor, 2), -2.5, 0);
    assert_float_equal(pith_tensor_get(&tensor, 3), 8, 0);
    pith_tensor_free(&tensor);
    proto_put_int(&message, TENSOR_DATA_TYPE, PITH_FLOAT64);
    proto_put_int(&message, TENSOR_DIMS, 2);
    proto_put_bytes(&message, TENSOR_DOUBLE_DATA, wide, sizeof wide);
    tensor = parse_tensor(&message);
    assert_float_equal(pith_tensor_get(&tensor, 0), 0.1, 0);
    pith_tensor_free(&tensor);
    proto_put_int(&message, TENSOR_DATA_TYPE, PITH_COMPLEX64); /* a scalar: real, imaginary */
    proto_put_bytes(&message, TENSOR_FLOAT_DATA, pair, sizeof pair);
    tensor = parse_tensor(&message);
    assert_int_equal(tensor.bytes, 8);
    assert_float_equal(pith_tensor_get(&tensor, 0), 1.5, 0);
    pith_tensor_free(&tensor);
}

/* As files of IR version 3 have it, RFB-320 among them. */
static void constants_among_the_inputs_are_constants(void **state)
{
    const int64_t dims[] = {2};
    const float ones[] = {1, 1};
    struct pith_buffer file = {0};
    size_t begun = begin_model(&file);
    struct pith_graph *graph = NULL;
    struct pith_error err = {0};

    (void) state;
    put_value(&file, GRAPH_INPUT, "w", PITH_FLOAT32, dims, 1);
    put_value(&file, GRAPH_INPUT, "x", PITH_FLOAT32, dims, 1);
    put_value(&file, GRAPH_OUTPUT, "y", PITH_FLOAT32, dims, 1);
    put_node(&file, "Add", "add", "x,w", "y");
    put_raw(&file, "w", PITH_FLOAT32, dims, 1, ones, sizeof ones);
    end_model(&file, begun, 13);
    assert_ok(pith_graph_parse(&graph, file.data, file.bytes, &err), &err);
    assert_int_equal(pith_graph_input_count(graph), 1);
    assert_string_equal(pith_value_name(graph, pith_graph_input(graph, 0)), "x");
    assert_non_null(pith_value_constant(graph, pith_graph_find_value(graph, "w")));
    pith_graph_free(graph);
    pith_buffer_done(&file);
}

/* A value whose sizes are names, "" where one has none; and back. */
static void put_named(struct pith_buffer *graph, uint32_t field, const char *name,
                      const char *const *dims, size_t rank)
{
    size_t begun = proto_begin(graph), type, tensor, shape;

    proto_put_text(graph, VALUE_INFO_NAME, name);
    type = proto_begin(graph);
    tensor = proto_begin(graph);
    proto_put_int(graph, TENSOR_TYPE_ELEMENT, PITH_FLOAT32);
    shape = proto_begin(graph);
    for (size_t i = 0; i < rank; i++) {
        size_t dim = proto_begin(graph);

        if (dims[i][0] >= '0' && dims[i][0] <= '9')
            proto_put_int(graph, DIM_VALUE, atoi(dims[i]));
        else if (dims[i][0])
            proto_put_text(graph, DIM_PARAM, dims[i]);
        proto_end(graph, SHAPE_DIM, dim);
    }
    proto_end(graph, TENSOR_TYPE_SHAPE, shape);
    proto_end(graph, TYPE_TENSOR, tensor);
    proto_end(graph, VALUE_INFO_TYPE, type);
    proto_end(graph, field, begun);
}

static void has_names(const struct pith_graph *graph)
{
    const uint32_t x = pith_graph_input(graph, 0), y = pith_graph_output(graph, 0);

    assert_string_equal(pith_value_dim_name(graph, x, 0), "N");
    assert_null(pith_value_dim_name(graph, x, 1));
    assert_string_equal(pith_value_dim_name(graph, x, 2), "frames");
    assert_null(pith_value_dim_name(graph, x, 3));
    assert_null(pith_value_dim_name(graph, x, 4));
    assert_string_equal(pith_value_dim_name(graph, y, 0), "N");
    assert_string_equal(pith_value_dim_name(graph, y, 2), "frames");
}

static void sizes_keep_their_names(void **state)
{
    static const char *const dims[] = {"N", "3", "frames", ""};
    struct pith_buffer file = {0}, written = {0};
    const size_t model = begin_model(&file);
    struct pith_graph *graph, *clone, *again;
    struct pith_error err = {0};

    (void) state;
    put_node(&file, "Relu", "relu", "x", "y");
    put_named(&file, GRAPH_INPUT, "x", dims, 4);
    put_named(&file, GRAPH_OUTPUT, "y", dims, 4);
    end_model(&file, model, 13);
    assert_ok(pith_graph_parse(&graph, file.data, file.bytes, &err), &err);
    has_names(graph);
    assert_ok(pith_graph_clone(graph, &clone, &err), &err);
    pith_graph_free(graph);
    has_names(clone);
    assert_ok(pith_onnx_write(clone, &written, &err), &err);
    assert_ok(pith_graph_parse(&again, written.data, written.bytes, &err), &err);
    has_names(again);
    /* another rank is another value's shape */
    assert_int_equal(pith_value_set_type(again, pith_graph_input(again, 0), PITH_FLOAT32,
                                         &(struct pith_shape){2, {-1, -1}}),
                     0);
    assert_null(pith_value_dim_name(again, pith_graph_input(again, 0), 0));
    pith_graph_free(again);
    pith_graph_free(clone);
    pith_buffer_done(&file);
    pith_buffer_done(&written);
}

/* Squeeze of all sizes that are 1 gives as many as there are; the file says how many. */
static void outputs_keep_the_shape_that_their_file_declares(void **state)
{
    static const char *const in[] = {"N", "3", "1"}, *const out[] = {"N", "3"};
    struct pith_buffer file = {0}, written = {0};
    const size_t model = begin_model(&file);
    struct pith_graph *graph, *clone, *again;
    const struct pith_shape *declared;
    struct pith_error err = {0};

    (void) state;
    put_node(&file, "Squeeze", "squeeze", "x", "y");
    put_named(&file, GRAPH_INPUT, "x", in, 3);
    put_named(&file, GRAPH_OUTPUT, "y", out, 2);
    end_model(&file, model, 13);
    assert_ok(pith_graph_parse(&graph, file.data, file.bytes, &err), &err);
    assert_null(pith_value_shape(graph, pith_graph_output(graph, 0))); /* nothing relies on it */
    assert_ok(pith_graph_clone(graph, &clone, &err), &err);
    pith_graph_free(graph);
    assert_ok(pith_onnx_write(clone, &written, &err), &err);
    assert_ok(pith_graph_parse(&again, written.data, written.bytes, &err), &err);
    declared = pith_value_declared(again, pith_graph_output(again, 0));
    assert_non_null(declared);
    assert_true(pith_shape_equal(declared, &(struct pith_shape){2, {PITH_DIM_UNKNOWN, 3}}));
    pith_graph_free(again);
    pith_graph_free(clone);
    pith_buffer_done(&file);
    pith_buffer_done(&written);
}

/* Kilobytes of the file that this process has in memory. */
static long resident_kb(const char *path)
{
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[512];
    bool inside = false;
    unsigned long from, to;
    long kb = 0, one;

    assert_non_null(maps);
    while (fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            inside = strstr(line, path) != NULL;
        else if (inside && sscanf(line, "Rss: %ld", &one) == 1)
            kb += one;
    }
    assert_int_equal(fclose(maps), 0);
    return kb;
}

static double sum_of(const struct pith_graph *graph)
{
    const struct pith_tensor *w = pith_value_constant(graph, pith_graph_find_value(graph, "w"));
    double sum = 0;

    for (int64_t i = 0; i < pith_shape_elements(&w->shape); i++)
        sum += pith_tensor_get(w, i);
    return sum;
}

static void pages_that_are_forgotten_come_back(void **state)
{
    static float weights[100000];
    const int64_t dims[] = {100000};
    char path[] = "/tmp/pith-test-pages-XXXXXX";
    const int fd = mkstemp(path);
    struct pith_buffer file = {0};
    const size_t model = begin_model(&file);
    struct pith_graph *mapped, *parsed;
    struct pith_error err = {0};
    double sum;

    (void) state;
    for (size_t i = 0; i < 100000; i++)
        weights[i] = (float) i;
    put_value(&file, GRAPH_INPUT, "x", PITH_FLOAT32, dims, 1);
    put_raw(&file, "w", PITH_FLOAT32, dims, 1, weights, sizeof weights);
    put_node(&file, "Add", "add", "x,w", "y");
    put_value(&file, GRAPH_OUTPUT, "y", PITH_FLOAT32, dims, 1);
    end_model(&file, model, 13);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, file.data, file.bytes), (ssize_t) file.bytes);
    assert_int_equal(close(fd), 0);
    assert_ok(pith_graph_open(&mapped, path, LIMIT_BYTES, &err), &err);
    assert_ok(pith_graph_parse(&parsed, file.data, file.bytes, &err), &err);
    sum = sum_of(mapped);
    assert_true(resident_kb(path) > 300);
    pith_graph_forget_pages(mapped);
    assert_true(resident_kb(path) < 100);
    assert_true(sum_of(mapped) == sum);
    pith_graph_forget_pages(parsed); /* its only copy */
    assert_true(sum_of(parsed) == sum);
    pith_graph_free(mapped);
    pith_graph_free(parsed);
    pith_buffer_done(&file);
    assert_int_equal(unlink(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_that_are_forgotten_come_back),
        cmocka_unit_test(sizes_keep_their_names),
        cmocka_unit_test(real_models_are_read),
        cmocka_unit_test(real_models_are_written_and_read_again),
        cmocka_unit_test(lists_of_integers_hold_every_type),
        cmocka_unit_test(int4_comes_two_a_byte),
        cmocka_unit_test(lists_of_floats_are_read_packed_or_not),
        cmocka_unit_test(constants_among_the_inputs_are_constants),
        cmocka_unit_test(outputs_keep_the_shape_that_their_file_declares),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
