/* Reading ONNX: the real models. */
#include "tests/testing.h"

#include "libpith/formats/onnx.h"
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

        assert_ok(pith_onnx_open(&graph, found.gl_pathv[i], LIMIT_BYTES, &err), &err);
        pith_graph_measure(graph, &size);
        assert_true(size.parameters > 50000);
        assert_true(pith_graph_input_count(graph) <= 3);
        pith_graph_free(graph);
    }
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_models_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
