/* Bytes that constants point into, shared by the graphs that were cloned from one another. */
#include "libpith/graph/graph_internal.h"
#include "libpith/graph/pages.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

struct pith_backing {
    atomic_uint references;
    const void *data;
    size_t bytes;
    pith_backing_release *release;
    pith_backing_release *forget; /* NULL: nothing can be */
};

int pith_backing_new(struct pith_backing **out, const void *data, size_t bytes,
                     pith_backing_release *release)
{
    struct pith_backing *backing = malloc(sizeof *backing);

    if (!backing)
        return -ENOMEM;
    atomic_init(&backing->references, 1);
    backing->data = data;
    backing->bytes = bytes;
    backing->release = release;
    backing->forget = NULL;
    *out = backing;
    return 0;
}

void pith_backing_may_forget(struct pith_backing *backing, pith_backing_release *forget)
{
    backing->forget = forget;
}

/* Constants of one file come one after the other: each is told once, or nearly. */
static void forget(const struct constant *constant, const struct pith_backing **last)
{
    const struct pith_backing *backing = constant->backing;

    if (!backing || backing == *last || !backing->forget)
        return;
    backing->forget(backing->data, backing->bytes);
    *last = backing;
}

static void forget_pages(const struct pith_graph *graph, const struct pith_backing **last)
{
    for (uint32_t v = 0; v < graph->value_count; v++)
        forget(&graph->values[v]->constant, last);
    for (uint32_t n = 0; n < graph->node_count; n++)
        for (size_t i = 0; i < graph->nodes[n]->attribute_count; i++) {
            const struct attribute *attribute = &graph->nodes[n]->attributes[i];

            if (attribute->kind == PITH_ATTRIBUTE_TENSOR)
                forget(attribute->tensor, last);
            else if (attribute->kind == PITH_ATTRIBUTE_GRAPH)
                forget_pages(attribute->graph, last);
        }
}

void pith_graph_forget_pages(const struct pith_graph *graph)
{
    const struct pith_backing *last = NULL;

    forget_pages(graph, &last);
}

struct pith_backing *pith_backing_hold(struct pith_backing *backing)
{
    atomic_fetch_add_explicit(&backing->references, 1, memory_order_relaxed);
    return backing;
}

void pith_backing_drop(struct pith_backing *backing)
{
    if (!backing || atomic_fetch_sub_explicit(&backing->references, 1, memory_order_acq_rel) != 1)
        return;
    backing->release(backing->data, backing->bytes);
    free(backing);
}

static void release_memory(const void *data, size_t bytes)
{
    (void) bytes;
    free((void *) (uintptr_t) data);
}

void constant_clear(struct constant *constant)
{
    pith_backing_drop(constant->backing);
    *constant = (struct constant){0};
}

int constant_take(struct constant *out, const struct pith_tensor *tensor)
{
    struct pith_backing *backing;
    int rc = pith_backing_new(&backing, tensor->data, tensor->bytes, release_memory);

    if (rc < 0)
        return rc;
    constant_clear(out);
    *out = (struct constant){.tensor = *tensor, .backing = backing};
    return 0;
}

int constant_copy(struct constant *out, const struct pith_tensor *tensor)
{
    struct pith_tensor copy;
    int rc = pith_tensor_copy(&copy, tensor, NULL);

    if (rc < 0)
        return rc;
    rc = constant_take(out, &copy);
    if (rc < 0)
        pith_tensor_free(&copy);
    return rc;
}

void constant_share(struct constant *out, const struct pith_tensor *tensor,
                    struct pith_backing *backing)
{
    struct constant shared = {.tensor = *tensor, .backing = pith_backing_hold(backing)};

    constant_clear(out);
    *out = shared;
}
