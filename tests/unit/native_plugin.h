/* The engine native, opened for a group of tests, and nodes for its graphs. */
#ifndef PITH_TESTS_NATIVE_PLUGIN_H
#define PITH_TESTS_NATIVE_PLUGIN_H

#include "libpith/plugin/plugins.h"
#include "tests/testing.h"

#include <pith/engine.h>

static struct pith_plugins *plugins;
static const struct pith_plugin *native;
static const struct pith_engine_ops *engine;

static inline uint32_t add_node(struct pith_graph *graph, const char *op, const uint32_t *inputs,
                                size_t count, uint32_t *out_node)
{
    uint32_t out, node;

    assert_int_equal(pith_graph_add_value(graph, NULL, PITH_FLOAT32, NULL, &out, NULL), 0);
    assert_int_equal(pith_graph_add_node(graph, "", op, op, inputs, count, &out, 1, &node, NULL),
                     0);
    if (out_node)
        *out_node = node;
    return out;
}

static inline int open_engine(void **state)
{
    struct pith_error err = {0};

    (void) state;
    if (pith_plugins_open(&plugins, NULL, &err) < 0 ||
        pith_plugins_find(plugins, PITH_KIND_ENGINE, "native", &native, &err) < 0) {
        print_message("# %s\n", pith_error_text(&err));
        return -1;
    }
    engine = native->ops;
    return 0;
}

static inline int close_engine(void **state)
{
    (void) state;
    pith_plugins_free(plugins);
    return 0;
}

#endif
