/* ONNX files that are wrong in one place each: refused with one sentence that names it. */
#include "tests/testing.h"

#include "libpith/formats/onnx.h"
#include "tests/unit/onnx_build.h"
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>

#define LIMIT_BYTES ((size_t) 1 << 30)

static const int64_t four[] = {4};
static const float ones[4] = {1, 1, 1, 1};

/* Parsed from memory that ends where the file ends, so that a sanitizer sees what reads past it. */
static int parse(const struct pith_buffer *file, size_t bytes, struct pith_graph **out,
                 struct pith_error *err)
{
    uint8_t *exact = malloc(bytes ? bytes : 1);
    int rc;

    if (bytes)
        memcpy(exact, file->data, bytes);
    rc = pith_graph_parse(out, exact, bytes, err);
    free(exact);
    return rc;
}

static void expect(struct pith_buffer *file, int code, const char *words)
{
    struct pith_graph *graph = NULL;
    struct pith_error err = {0};
    int rc = parse(file, file->bytes, &graph, &err);

    if (rc != code)
        fail_msg("%d, not %d: %s", rc, code, err.text);
    if (words && !strstr(err.text, words))
        fail_msg("\"%s\" is not in \"%s\"", words, err.text);
    if (rc < 0)
        assert_null(strchr(err.text, '\n'));
    pith_graph_free(graph);
    pith_buffer_done(file);
}

/* x -> Add(w) -> a -> Relu -> y. */

static void put_ends(struct pith_buffer *graph)
{
    put_value(graph, GRAPH_INPUT, "x", PITH_FLOAT32, four, 1);
    put_value(graph, GRAPH_OUTPUT, "y", PITH_FLOAT32, four, 1);
}

static void put_chain(struct pith_buffer *graph)
{
    put_node(graph, "Add", "add", "x,w", "a");
    put_node(graph, "Relu", "relu", "a", "y");
}

static void put_weights(struct pith_buffer *graph)
{
    put_raw(graph, "w", PITH_FLOAT32, four, 1, ones, sizeof ones);
}

static struct pith_buffer tiny(void)
{
    struct pith_buffer file = {0};
    size_t begun = begin_model(&file);

    put_chain(&file);
    proto_put_text(&file, GRAPH_NAME, "tiny");
    put_weights(&file);
    put_ends(&file);
    end_model(&file, begun, 13);
    return file;
}

/* ---- cut and bent ---- */

static void every_cut_of_a_small_model_is_refused(void **state)
{
    struct pith_buffer file = tiny();

    (void) state;
    for (size_t cut = 0; cut < file.bytes; cut++) {
        struct pith_graph *graph = NULL;
        struct pith_error err = {0};

        assert_int_equal(parse(&file, cut, &graph, &err), -EBADMSG);
        assert_true(err.text[0]);
    }
    expect(&file, 0, NULL);
}

/* Whatever a flipped bit makes of it, it is read or refused. */
static void every_bent_bit_of_a_small_model_is_survived(void **state)
{
    struct pith_buffer file = tiny();
    size_t refused = 0;

    (void) state;
    for (size_t bit = 0; bit < 8 * file.bytes; bit++) {
        struct pith_graph *graph = NULL;
        struct pith_error err = {0};
        int rc;

        file.data[bit / 8] ^= (uint8_t) (1u << (bit % 8));
        rc = parse(&file, file.bytes, &graph, &err);
        assert_true(rc == 0 || err.text[0]);
        refused += rc < 0;
        pith_graph_free(graph);
        file.data[bit / 8] ^= (uint8_t) (1u << (bit % 8));
    }
    assert_true(refused > 100);
    pith_buffer_done(&file);
}

static void copy_file(const char *from, const char *to)
{
    FILE *in = fopen(from, "rb");
    FILE *out = fopen(to, "wb");
    char block[65536];
    size_t n;

    assert_true(in && out);
    while ((n = fread(block, 1, sizeof block, in)) > 0)
        assert_int_equal(fwrite(block, 1, n, out), n);
    assert_int_equal(fclose(in), 0);
    assert_int_equal(fclose(out), 0);
}

/* Cuts behind the graph and the opset leave a whole model: only metadata is missing then. */
static void cut_from_the_end(const char *path)
{
    struct stat status;
    size_t whole = 0;

    assert_int_equal(stat(path, &status), 0);
    for (off_t cut = (status.st_size - 1) / 64 * 64; cut >= 0; cut -= 64) {
        struct pith_graph *graph = NULL;
        struct pith_error err = {0};
        int rc;

        assert_int_equal(truncate(path, cut), 0);
        rc = pith_graph_open(&graph, path, LIMIT_BYTES, &err);
        if (rc == 0) {
            whole++;
            pith_graph_free(graph);
        } else {
            assert_int_equal(rc, -EBADMSG);
            assert_non_null(strstr(err.text, "cut off"));
        }
    }
    assert_true(whole <= 2);
}

static void every_64th_cut_of_real_models_is_refused(void **state)
{
    char folder[] = "/tmp/pith-cut-XXXXXX";
    char path[64];
    char pattern[512];
    glob_t found;

    (void) state;
    skip_without_data();
    assert_non_null(mkdtemp(folder));
    (void) snprintf(path, sizeof path, "%s/cut.onnx", folder);
    (void) snprintf(pattern, sizeof pattern, "%s/models/*/*.onnx", testing_data());
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        copy_file(found.gl_pathv[i], path);
        cut_from_the_end(path);
    }
    globfree(&found);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void other_files_are_no_models(void **state)
{
    struct pith_buffer file = {0};

    (void) state;
    expect(&file, -EBADMSG, "no ONNX model");
    pith_buffer_text(&file, "gateway: hub-kitchen\n");
    expect(&file, -EBADMSG, "no ONNX model");
    file = tiny();
    pith_buffer_append(&file, "\xff\xff\xff", 3);
    expect(&file, -EBADMSG, "cut off");
    file = tiny(); /* fields that nobody knows yet are passed over */
    proto_put_text(&file, 1000, "from the future");
    proto_put_int(&file, 1001, -1);
    expect(&file, 0, NULL);
}

/* ---- constants ---- */

/* A tiny model whose w is as `fill` makes it. */
static struct pith_buffer with_initializer(void (*fill)(struct pith_buffer *graph))
{
    struct pith_buffer file = {0};
    size_t begun = begin_model(&file);

    fill(&file);
    put_chain(&file);
    put_ends(&file);
    end_model(&file, begun, 13);
    return file;
}

static void expect_initializer(void (*fill)(struct pith_buffer *graph), int code, const char *words)
{
    struct pith_buffer file = with_initializer(fill);

    expect(&file, code, words);
}

#define TENSOR(name, body)                                                                         \
    static void name(struct pith_buffer *out)                                                      \
    {                                                                                              \
        size_t begun = proto_begin(out);                                                           \
                                                                                                   \
        proto_put_text(out, TENSOR_NAME, "w");                                                     \
        body proto_end(out, GRAPH_INITIALIZER, begun);                                             \
    }
#define DIMS(...)                                                                                  \
    put_dims(out, TENSOR_DIMS, (const int64_t[]){__VA_ARGS__},                                     \
             sizeof(int64_t[]){__VA_ARGS__} / sizeof(int64_t));
#define TYPE(dtype) proto_put_int(out, TENSOR_DATA_TYPE, dtype);
#define RAW(bytes)  proto_put_bytes(out, TENSOR_RAW_DATA, ones, bytes);

TENSOR(huge_dim, DIMS(INT64_C(1) << 41) TYPE(1) RAW(16))
TENSOR(negative_dim, DIMS(-4) TYPE(1) RAW(16))
TENSOR(product_past_64_bits, DIMS(INT64_C(1) << 32, INT64_C(1) << 32, 4) TYPE(1) RAW(16))
TENSOR(large_and_empty, DIMS(INT64_C(1) << 38) TYPE(1))
TENSOR(rank_9, DIMS(1, 1, 1, 1, 1, 1, 1, 1, 4) TYPE(1) RAW(16))
TENSOR(raw_too_long, DIMS(3) TYPE(1) RAW(16))
TENSOR(raw_too_short, DIMS(4) TYPE(1) RAW(15))
TENSOR(no_values, DIMS(4) TYPE(1))
TENSOR(unknown_type, DIMS(4) TYPE(99) RAW(16))
TENSOR(no_type, DIMS(4) RAW(16))
TENSOR(strings, DIMS(4) TYPE(8) proto_put_text(out, TENSOR_STRING_DATA, "a");)
TENSOR(external, DIMS(4) TYPE(1) proto_put_int(out, TENSOR_DATA_LOCATION, 1);)
TENSOR(raw_as_number, DIMS(4) TYPE(1) proto_put_int(out, TENSOR_RAW_DATA, 16);)
TENSOR(dims_as_float, proto_put_float(out, TENSOR_DIMS, 4); TYPE(1) RAW(16))
TENSOR(floats_cut, DIMS(4) TYPE(1) proto_put_bytes(out, TENSOR_FLOAT_DATA, ones, 15);)
TENSOR(floats_few, DIMS(4) TYPE(1) proto_put_bytes(out, TENSOR_FLOAT_DATA, ones, 12);)
TENSOR(integers_as_bytes, DIMS(1) TYPE(7) proto_put_bytes(out, TENSOR_INT64_DATA, "\xff", 1);)
TENSOR(int8_too_great, DIMS(1) TYPE(3) proto_put_int(out, TENSOR_INT32_DATA, 256);)
TENSOR(bool_of_2, DIMS(1) TYPE(9) proto_put_bytes(out, TENSOR_RAW_DATA, "\2", 1);)

static void initializer_as_number(struct pith_buffer *out)
{
    proto_put_int(out, GRAPH_INITIALIZER, 7);
}

static void initializer_without_name(struct pith_buffer *out)
{
    put_raw(out, "", PITH_FLOAT32, four, 1, ones, sizeof ones);
}

static void initializer_twice(struct pith_buffer *out)
{
    put_weights(out);
    put_weights(out);
}

static void initializer_of_no_text(struct pith_buffer *out)
{
    put_raw(out, "w\xff", PITH_FLOAT32, four, 1, ones, sizeof ones);
}

static void wrong_constants_are_refused(void **state)
{
    (void) state;
    expect_initializer(put_weights, 0, NULL);
    expect_initializer(huge_dim, -EBADMSG, "dimension 0 is 2199023255552");
    expect_initializer(negative_dim, -EBADMSG, "dimension 0 is -4");
    expect_initializer(product_past_64_bits, -EBADMSG, "too large");
    expect_initializer(large_and_empty, -EBADMSG, "tensor \"w\": it holds 0 values");
    expect_initializer(rank_9, -ENOTSUP, "more than 8 dimensions");
    expect_initializer(raw_too_long, -EBADMSG, "16 bytes long where its shape takes 12");
    expect_initializer(raw_too_short, -EBADMSG, "15 bytes long where its shape takes 16");
    expect_initializer(no_values, -EBADMSG, "holds 0 values where its shape takes 4");
    expect_initializer(unknown_type, -ENOTSUP, "number 99");
    expect_initializer(no_type, -ENOTSUP, "number 0");
    expect_initializer(strings, -ENOTSUP, "tensor \"w\": it holds strings");
    expect_initializer(external, -ENOTSUP, "lie in another file");
    expect_initializer(raw_as_number, -EBADMSG, "another wire type");
    expect_initializer(dims_as_float, -EBADMSG, "another wire type");
    expect_initializer(floats_cut, -EBADMSG, "cut off");
    expect_initializer(floats_few, -EBADMSG, "holds 3 values");
    expect_initializer(integers_as_bytes, -EBADMSG, "packed values are broken");
    expect_initializer(int8_too_great, -EBADMSG, "256, which is no int8");
    expect_initializer(bool_of_2, -EBADMSG, "2, which is no bool");
    expect_initializer(initializer_as_number, -EBADMSG, "another wire type");
    expect_initializer(initializer_without_name, -EBADMSG, "no name");
    expect_initializer(initializer_twice, -EBADMSG, "two values have the name \"w\"");
    expect_initializer(initializer_of_no_text, -EBADMSG, "no text");
}

/* w as a SparseTensorProto of [4] with values at the given places. */
static void put_sparse(struct pith_buffer *out, int64_t first, int64_t second, int64_t dim,
                       size_t index_count)
{
    const int64_t places[] = {first, second};
    const int64_t two = 2;
    const int64_t indices = (int64_t) index_count;
    size_t begun = proto_begin(out);
    size_t part = proto_begin(out);

    put_dims(out, TENSOR_DIMS, &two, 1);
    proto_put_int(out, TENSOR_DATA_TYPE, PITH_FLOAT32);
    proto_put_text(out, TENSOR_NAME, "w");
    proto_put_bytes(out, TENSOR_RAW_DATA, ones, 8);
    proto_end(out, SPARSE_VALUES, part);
    part = proto_begin(out);
    put_dims(out, TENSOR_DIMS, &indices, 1);
    proto_put_int(out, TENSOR_DATA_TYPE, PITH_INT64);
    proto_put_bytes(out, TENSOR_RAW_DATA, places, 8 * index_count);
    proto_end(out, SPARSE_INDICES, part);
    proto_put_int(out, SPARSE_DIMS, dim);
    proto_end(out, GRAPH_SPARSE_INITIALIZER, begun);
}

static void sparse_right(struct pith_buffer *out)
{
    put_sparse(out, 1, 3, 4, 2);
}
static void sparse_outside(struct pith_buffer *out)
{
    put_sparse(out, 1, 4, 4, 2);
}
static void sparse_negative(struct pith_buffer *out)
{
    put_sparse(out, -1, 3, 4, 2);
}
static void sparse_huge(struct pith_buffer *out)
{
    put_sparse(out, 1, 3, INT64_C(1) << 36, 2);
}
static void sparse_uneven(struct pith_buffer *out)
{
    put_sparse(out, 1, 3, 4, 1);
}

static void wrong_sparse_constants_are_refused(void **state)
{
    (void) state;
    expect_initializer(sparse_right, 0, NULL);
    expect_initializer(sparse_outside, -EBADMSG, "index 1 lies outside");
    expect_initializer(sparse_negative, -EBADMSG, "index 0 lies outside");
    expect_initializer(sparse_huge, -EFBIG, "tensor \"w\": it is sparse");
    expect_initializer(sparse_uneven, -EBADMSG, "indices don't fit its 2 values");
}

/* ---- graphs ---- */

static void expect_graph(void (*fill)(struct pith_buffer *graph), int64_t opset, int code,
                         const char *words)
{
    struct pith_buffer file = {0};
    size_t begun = begin_model(&file);

    fill(&file);
    end_model(&file, begun, opset);
    expect(&file, code, words);
}

#define GRAPH(name, body)                                                                          \
    static void name(struct pith_buffer *out)                                                      \
    {                                                                                              \
        put_weights(out);                                                                          \
        put_ends(out);                                                                             \
        body                                                                                       \
    }

GRAPH(cyclic, put_node(out, "Add", "first", "x,b", "a"); put_node(out, "Relu", "second", "a", "b");
      put_node(out, "Neg", "third", "b", "y");)
GRAPH(made_twice, put_chain(out); put_node(out, "Neg", "again", "x", "a");)
GRAPH(makes_input, put_chain(out); put_node(out, "Neg", "backwards", "y", "x");)
GRAPH(makes_constant, put_chain(out); put_node(out, "Neg", "over", "y", "w");)
GRAPH(missing_input, put_node(out, "Add", "add", "x,nowhere", "y");)
GRAPH(missing_output, put_node(out, "Relu", "relu", "x", "z");)
GRAPH(unknown_operator, put_node(out, "Frobnicate", "odd_one", "x", "y");)
GRAPH(armed_operator, put_node(out, "Re\033[31mlu\302\2332J", "odd\007", "x", "y");)
GRAPH(no_operator, put_node(out, "", "odd_one", "x", "y");)
GRAPH(too_few_inputs, put_node(out, "Add", "lonely", "x", "y");)
GRAPH(input_twice, put_chain(out); put_value(out, GRAPH_INPUT, "x", PITH_FLOAT32, four, 1);)
GRAPH(node_as_number, put_chain(out); proto_put_int(out, GRAPH_NODE, 3);)
GRAPH(attribute_twice, size_t begun = begin_node(out, "Softmax", "soft", "x", "y");
      put_int_attribute(out, "axis", 0); put_int_attribute(out, "axis", 0);
      proto_end(out, GRAPH_NODE, begun);)
GRAPH(attributes_without_end, size_t begun = begin_node(out, "Relu", "relu", "x", "y"); char name[16];
      for (int i = 0; i < 300; i++) {
          (void) snprintf(name, sizeof name, "a%d", i);
          put_int_attribute(out, name, i);
      } proto_end(out, GRAPH_NODE, begun);)
GRAPH(attribute_of_strange_type, size_t begun = begin_node(out, "Relu", "relu", "x", "y");
      size_t attribute = proto_begin(out); proto_put_text(out, ATTRIBUTE_NAME, "odd");
      proto_put_int(out, ATTRIBUTE_TYPE, 14); proto_end(out, NODE_ATTRIBUTE, attribute);
      proto_end(out, GRAPH_NODE, begun);)
GRAPH(wrong_types, put_raw(out, "i", PITH_INT32, four, 1, ones, 16);
      put_node(out, "Add", "mixed", "x,i", "y");)

static void wrong_graphs_are_refused(void **state)
{
    (void) state;
    expect_graph(cyclic, 13, -EBADMSG, "cycle: node \"");
    expect_graph(made_twice, 13, -EBADMSG,
                 "node \"again\" (Neg) makes value \"a\", which is already made by another node");
    expect_graph(makes_input, 13, -EBADMSG, "already an input");
    expect_graph(makes_constant, 13, -EBADMSG, "already a constant");
    expect_graph(missing_input, 13, -EBADMSG,
                 "node \"add\" (Add) takes value \"nowhere\", which nothing makes");
    expect_graph(missing_output, 13, -EBADMSG, "output \"y\" is made by nothing");
    expect_graph(unknown_operator, 13, -ENOTSUP, "odd_one");
    expect_graph(unknown_operator, 13, -ENOTSUP, "Frobnicate");
    expect_graph(armed_operator, 13, -ENOTSUP, "Re?[31mlu??2J");
    expect_graph(no_operator, 13, -EBADMSG, "node \"odd_one\" names no operator");
    expect_graph(too_few_inputs, 13, -EBADMSG, "lonely");
    expect_graph(input_twice, 13, -EBADMSG, "two values have the name \"x\"");
    expect_graph(node_as_number, 13, -EBADMSG, "another wire type");
    expect_graph(attribute_twice, 13, -EBADMSG, "attribute \"axis\": it is given twice");
    expect_graph(attributes_without_end, 13, -EBADMSG,
                 "node \"relu\" (Relu) has more than 256 attributes");
    expect_graph(attribute_of_strange_type, 13, -ENOTSUP, "number 14");
    expect_graph(wrong_types, 13, -EBADMSG, "mixed");
    expect_graph(put_chain, 0, -EBADMSG, NULL);
    expect_graph(put_chain, -1, -EBADMSG, NULL);
}

static void absurd_input(struct pith_buffer *out, int64_t dim)
{
    put_value(out, GRAPH_INPUT, "x", PITH_FLOAT32, &dim, 1);
    put_node(out, "Relu", "relu", "x", "y");
    put_value(out, GRAPH_OUTPUT, "y", PITH_FLOAT32, &dim, 1);
}
static void input_of_2_to_62(struct pith_buffer *out)
{
    absurd_input(out, INT64_C(1) << 62);
}
static void input_of_minus_5(struct pith_buffer *out)
{
    absurd_input(out, -5);
}
static void input_of_a_terabyte(struct pith_buffer *out)
{
    const int64_t dims[] = {INT64_C(1) << 30, INT64_C(1) << 30};

    put_value(out, GRAPH_INPUT, "x", PITH_FLOAT32, dims, 2);
    put_node(out, "Relu", "relu", "x", "y");
    put_value(out, GRAPH_OUTPUT, "y", PITH_FLOAT32, dims, 2);
}
static void input_of_strings(struct pith_buffer *out)
{
    put_value(out, GRAPH_INPUT, "x", PITH_STRING, four, 1);
    put_node(out, "Identity", "same", "x", "y");
    put_value(out, GRAPH_OUTPUT, "y", PITH_STRING, four, 1);
}

static void absurd_shapes_are_refused(void **state)
{
    (void) state;
    expect_graph(input_of_2_to_62, 13, -EBADMSG, "value \"x\"");
    expect_graph(input_of_minus_5, 13, -EBADMSG, "a dimension is -5");
    expect_graph(input_of_a_terabyte, 13, -EBADMSG, "\"x\"");
    expect_graph(input_of_strings, 13, -ENOTSUP, "input \"x\" holds strings");
}

static void put_nested(struct pith_buffer *out, int depth)
{
    size_t node = begin_node(out, "If", "deeper", "c", "y");
    size_t attribute = proto_begin(out);
    size_t graph;

    proto_put_text(out, ATTRIBUTE_NAME, "then_branch");
    graph = proto_begin(out);
    if (depth > 0)
        put_nested(out, depth - 1);
    proto_end(out, ATTRIBUTE_G, graph);
    proto_put_int(out, ATTRIBUTE_TYPE, 5);
    proto_end(out, NODE_ATTRIBUTE, attribute);
    proto_end(out, GRAPH_NODE, node);
}

static void deeply_nested_graphs_are_refused(void **state)
{
    const uint8_t yes = 1;
    struct pith_buffer file = {0};
    size_t begun = begin_model(&file);

    (void) state;
    put_raw(&file, "c", PITH_BOOL, NULL, 0, &yes, 1);
    put_nested(&file, 1000);
    put_value(&file, GRAPH_OUTPUT, "y", PITH_FLOAT32, four, 1);
    end_model(&file, begun, 13);
    expect(&file, -EBADMSG, "nested deeper than 16");
}

static void functions_of_the_model_are_refused_where_used(void **state)
{
    struct pith_buffer file = tiny();
    size_t begun = proto_begin(&file);

    (void) state;
    proto_put_text(&file, FUNCTION_NAME, "Relu"); /* the model's own Relu */
    proto_end(&file, MODEL_FUNCTIONS, begun);
    expect(&file, -ENOTSUP, "node \"relu\" (Relu) calls a function that the model defines itself");
    file = tiny();
    begun = proto_begin(&file);
    proto_put_text(&file, FUNCTION_NAME, "Gelu"); /* not used */
    proto_end(&file, MODEL_FUNCTIONS, begun);
    expect(&file, 0, NULL);
}

static void opsets_that_are_too_new_are_named(void **state)
{
    struct pith_buffer file = {0};
    size_t begun = begin_model(&file);

    (void) state;
    unknown_operator(&file);
    end_model(&file, begun, 99);
    expect(&file, -ENOTSUP, "opset 99 is newer than 21");
    begun = begin_model(&file);
    put_weights(&file);
    put_chain(&file);
    put_ends(&file);
    end_model(&file, begun, 99); /* Add and Relu are what they were */
    expect(&file, 0, NULL);
}

/* Twenty thousand nodes in a chain, and as many uses of one value: read in a moment. */
static void large_graphs_are_read_in_a_moment(void **state)
{
    struct pith_buffer file = {0};
    size_t begun = begin_model(&file);
    char last[32] = "x";

    (void) state;
    put_ends(&file);
    for (int i = 0; i < 20000; i++) {
        char inputs[80];
        char name[32];

        (void) snprintf(name, sizeof name, "v%d", i);
        (void) snprintf(inputs, sizeof inputs, "%s,x", last);
        put_node(&file, "Add", "add", inputs, name);
        (void) snprintf(last, sizeof last, "%s", name);
    }
    put_node(&file, "Relu", "relu", last, "y");
    end_model(&file, begun, 13);
    expect(&file, 0, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut_of_a_small_model_is_refused),
        cmocka_unit_test(every_bent_bit_of_a_small_model_is_survived),
        cmocka_unit_test(every_64th_cut_of_real_models_is_refused),
        cmocka_unit_test(other_files_are_no_models),
        cmocka_unit_test(wrong_constants_are_refused),
        cmocka_unit_test(wrong_sparse_constants_are_refused),
        cmocka_unit_test(wrong_graphs_are_refused),
        cmocka_unit_test(absurd_shapes_are_refused),
        cmocka_unit_test(deeply_nested_graphs_are_refused),
        cmocka_unit_test(functions_of_the_model_are_refused_where_used),
        cmocka_unit_test(opsets_that_are_too_new_are_named),
        cmocka_unit_test(large_graphs_are_read_in_a_moment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
