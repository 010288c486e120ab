/* Attributes of nodes: few a node, so they are found by walking the list. */
#include "libpith/graph/graph_internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static struct attribute *node_find(const struct pith_graph *graph, uint32_t node, const char *attribute)
{
    const struct node *of = graph_node(graph, node);

    for (size_t i = 0; i < of->attribute_count; i++)
        if (!strcmp(of->attributes[i].name, attribute))
            return &of->attributes[i];
    return NULL;
}

static const struct attribute *find_kind(const struct pith_graph *graph, uint32_t node,
                                         const char *attribute, enum pith_attribute_kind kind)
{
    const struct attribute *found = node_find(graph, node, attribute);

    return found && found->kind == kind ? found : NULL;
}

void attribute_clear(struct attribute *attribute)
{
    if (attribute->kind == PITH_ATTRIBUTE_TENSOR)
        constant_clear(attribute->tensor);
    if (attribute->kind == PITH_ATTRIBUTE_GRAPH)
        pith_graph_free(attribute->graph);
    attribute->kind = PITH_ATTRIBUTE_NONE;
}

void node_leave_captures(struct pith_graph *graph, uint32_t node, const struct attribute *attribute)
{
    if (attribute->kind != PITH_ATTRIBUTE_GRAPH)
        return;
    for (size_t i = 0; i < attribute->graph->capture_count; i++)
        value_remove_user(graph, attribute->graph->captures[i].outer, node);
    graph_changed(graph);
}

/* ---- reading ---- */

bool pith_node_has(const struct pith_graph *graph, uint32_t node, const char *attribute)
{
    return node_find(graph, node, attribute) != NULL;
}

int64_t pith_node_int(const struct pith_graph *graph, uint32_t node, const char *attribute,
                      int64_t otherwise)
{
    const struct attribute *found = find_kind(graph, node, attribute, PITH_ATTRIBUTE_INT);

    return found ? found->integer : otherwise;
}

float pith_node_float(const struct pith_graph *graph, uint32_t node, const char *attribute,
                      float otherwise)
{
    const struct attribute *found = find_kind(graph, node, attribute, PITH_ATTRIBUTE_FLOAT);

    return found ? found->number : otherwise;
}

const char *pith_node_string(const struct pith_graph *graph, uint32_t node, const char *attribute,
                             const char *otherwise)
{
    const struct attribute *found = find_kind(graph, node, attribute, PITH_ATTRIBUTE_STRING);

    return found ? found->text : otherwise;
}

const int64_t *pith_node_ints(const struct pith_graph *graph, uint32_t node, const char *attribute,
                              size_t *out_count)
{
    const struct attribute *found = find_kind(graph, node, attribute, PITH_ATTRIBUTE_INTS);

    *out_count = found ? found->count : 0;
    return found ? found->integers : NULL;
}

const float *pith_node_floats(const struct pith_graph *graph, uint32_t node, const char *attribute,
                              size_t *out_count)
{
    const struct attribute *found = find_kind(graph, node, attribute, PITH_ATTRIBUTE_FLOATS);

    *out_count = found ? found->count : 0;
    return found ? found->numbers : NULL;
}

const char *const *pith_node_strings(const struct pith_graph *graph, uint32_t node,
                                     const char *attribute, size_t *out_count)
{
    const struct attribute *found = find_kind(graph, node, attribute, PITH_ATTRIBUTE_STRINGS);

    *out_count = found ? found->count : 0;
    return found ? found->texts : NULL;
}

const struct pith_tensor *pith_node_tensor(const struct pith_graph *graph, uint32_t node,
                                           const char *attribute)
{
    const struct attribute *found = find_kind(graph, node, attribute, PITH_ATTRIBUTE_TENSOR);

    return found ? &found->tensor->tensor : NULL;
}

const struct pith_graph *pith_node_graph(const struct pith_graph *graph, uint32_t node,
                                         const char *attribute)
{
    const struct attribute *found = find_kind(graph, node, attribute, PITH_ATTRIBUTE_GRAPH);

    return found ? found->graph : NULL;
}

struct pith_graph *pith_node_edit_graph(struct pith_graph *graph, uint32_t node,
                                        const char *attribute)
{
    const struct attribute *found = find_kind(graph, node, attribute, PITH_ATTRIBUTE_GRAPH);

    return found ? found->graph : NULL;
}

size_t pith_node_attribute_count(const struct pith_graph *graph, uint32_t node)
{
    return graph_node(graph, node)->attribute_count;
}

const char *pith_node_attribute_name(const struct pith_graph *graph, uint32_t node, size_t index)
{
    const struct node *of = graph_node(graph, node);

    assert(index < of->attribute_count);
    return of->attributes[index].name;
}

enum pith_attribute_kind pith_node_attribute_kind(const struct pith_graph *graph, uint32_t node,
                                                  size_t index)
{
    const struct node *of = graph_node(graph, node);

    assert(index < of->attribute_count);
    return of->attributes[index].kind;
}

/* ---- writing ---- */

/* Puts *fresh in place of the attribute of its name, or after the others. */
static int put(struct pith_graph *graph, uint32_t node, const char *name,
               const struct attribute *fresh)
{
    struct node *of = graph_node(graph, node);
    struct attribute *at = node_find(graph, node, name);
    const char *copy;

    assert(!of->removed);
    if (at) {
        copy = at->name;
        node_leave_captures(graph, node, at);
        attribute_clear(at);
    } else {
        if (of->attribute_count == of->attribute_capacity) {
            size_t capacity = of->attribute_capacity ? of->attribute_capacity * 2 : 4;
            struct attribute *wider = arena_alloc(&graph->arena, capacity * sizeof *wider);

            if (!wider)
                return -ENOMEM;
            if (of->attribute_count)
                memcpy(wider, of->attributes, of->attribute_count * sizeof *wider);
            of->attributes = wider;
            of->attribute_capacity = capacity;
        }
        copy = arena_text(&graph->arena, name);
        if (!copy)
            return -ENOMEM;
        at = &of->attributes[of->attribute_count++];
    }
    *at = *fresh;
    at->name = copy;
    return 0;
}

int pith_node_set_int(struct pith_graph *graph, uint32_t node, const char *attribute, int64_t value)
{
    struct attribute fresh = {.kind = PITH_ATTRIBUTE_INT, .integer = value};

    return put(graph, node, attribute, &fresh);
}

int pith_node_set_float(struct pith_graph *graph, uint32_t node, const char *attribute, float value)
{
    struct attribute fresh = {.kind = PITH_ATTRIBUTE_FLOAT, .number = value};

    return put(graph, node, attribute, &fresh);
}

int pith_node_set_string(struct pith_graph *graph, uint32_t node, const char *attribute,
                         const char *value)
{
    struct attribute fresh = {.kind = PITH_ATTRIBUTE_STRING,
                              .text = arena_text(&graph->arena, value)};

    return fresh.text ? put(graph, node, attribute, &fresh) : -ENOMEM;
}

int pith_node_set_ints(struct pith_graph *graph, uint32_t node, const char *attribute,
                       const int64_t *values, size_t count)
{
    struct attribute fresh = {.kind = PITH_ATTRIBUTE_INTS, .count = count};

    if (count > SIZE_MAX / sizeof *values)
        return -ENOMEM;
    fresh.integers = arena_copy(&graph->arena, values, count * sizeof *values);
    return fresh.integers ? put(graph, node, attribute, &fresh) : -ENOMEM;
}

int pith_node_set_floats(struct pith_graph *graph, uint32_t node, const char *attribute,
                         const float *values, size_t count)
{
    struct attribute fresh = {.kind = PITH_ATTRIBUTE_FLOATS, .count = count};

    if (count > SIZE_MAX / sizeof *values)
        return -ENOMEM;
    fresh.numbers = arena_copy(&graph->arena, values, count * sizeof *values);
    return fresh.numbers ? put(graph, node, attribute, &fresh) : -ENOMEM;
}

int pith_node_set_strings(struct pith_graph *graph, uint32_t node, const char *attribute,
                          const char *const *values, size_t count)
{
    struct attribute fresh = {.kind = PITH_ATTRIBUTE_STRINGS, .count = count};

    if (count > SIZE_MAX / sizeof *values)
        return -ENOMEM;
    fresh.texts = arena_alloc(&graph->arena, count * sizeof *values);
    if (!fresh.texts)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        fresh.texts[i] = arena_text(&graph->arena, values[i]);
        if (!fresh.texts[i])
            return -ENOMEM;
    }
    return put(graph, node, attribute, &fresh);
}

/* *held is moved into the attribute, or cleared. */
static int put_constant(struct pith_graph *graph, uint32_t node, const char *attribute,
                        struct constant *held)
{
    struct attribute fresh = {.kind = PITH_ATTRIBUTE_TENSOR};
    int rc = -ENOMEM;

    fresh.tensor = arena_copy(&graph->arena, held, sizeof *held);
    if (fresh.tensor)
        rc = put(graph, node, attribute, &fresh);
    if (rc < 0)
        constant_clear(held);
    return rc;
}

int pith_node_set_tensor(struct pith_graph *graph, uint32_t node, const char *attribute,
                         const struct pith_tensor *value)
{
    struct constant held = {0};
    int rc = constant_copy(&held, value);

    return rc < 0 ? rc : put_constant(graph, node, attribute, &held);
}

int pith_node_adopt_tensor(struct pith_graph *graph, uint32_t node, const char *attribute,
                           const struct pith_tensor *tensor, struct pith_backing *backing)
{
    struct constant held = {0};

    constant_share(&held, tensor, backing);
    return put_constant(graph, node, attribute, &held);
}

int pith_node_set_graph(struct pith_graph *graph, uint32_t node, const char *attribute,
                        struct pith_graph *taken)
{
    struct attribute fresh = {.kind = PITH_ATTRIBUTE_GRAPH, .graph = taken};
    size_t told = 0;
    int rc = 0;

    assert(!taken->around);
    for (; told < taken->capture_count && rc == 0; told++)
        rc = value_add_user(graph, taken->captures[told].outer, node);
    if (rc < 0)
        told--;
    for (size_t i = 0; i < graph->opset_count && rc == 0; i++)
        rc = pith_graph_set_opset(taken, graph->opsets[i].domain, graph->opsets[i].version);
    if (rc == 0)
        rc = put(graph, node, attribute, &fresh);
    if (rc < 0) {
        while (told-- > 0)
            value_remove_user(graph, taken->captures[told].outer, node);
        return rc;
    }
    taken->around = graph;
    taken->around_node = node;
    graph_changed(graph);
    return 0;
}

void pith_node_remove_attribute(struct pith_graph *graph, uint32_t node, const char *attribute)
{
    struct node *of = graph_node(graph, node);
    struct attribute *found = node_find(graph, node, attribute);
    size_t at;

    if (!found)
        return;
    node_leave_captures(graph, node, found);
    attribute_clear(found);
    at = (size_t) (found - of->attributes);
    of->attribute_count--;
    memmove(found, found + 1, (of->attribute_count - at) * sizeof *found);
}
