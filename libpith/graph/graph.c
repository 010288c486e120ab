/* The graph as a whole: its name, opsets, metadata, inputs, outputs, captures, and the table of
 * names. Nodes are in nodes.c and attributes.c, values in values.c. */
#include "libpith/graph/graph_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SLOT_GONE UINT32_MAX

int grow(void *items, size_t item_bytes, size_t count, size_t *capacity)
{
    void **table = items;
    size_t more;
    void *moved;

    if (count < *capacity)
        return 0;
    more = *capacity ? *capacity * 2 : 4;
    if (more > SIZE_MAX / 2 / item_bytes)
        return -ENOMEM;
    moved = realloc(*table, more * item_bytes);
    if (!moved)
        return -ENOMEM;
    *table = moved;
    *capacity = more;
    return 0;
}

void graph_changed(struct pith_graph *graph)
{
    graph->order_known = false;
}

int pith_graph_new(struct pith_graph **out, const char *name, struct pith_error *err)
{
    struct pith_graph *graph = calloc(1, sizeof *graph);

    if (!graph)
        return pith_fail(err, -ENOMEM, "no memory for a graph");
    graph->name = arena_text(&graph->arena, name ? name : "");
    if (!graph->name) {
        free(graph);
        return pith_fail(err, -ENOMEM, "no memory for a graph");
    }
    graph->around_node = PITH_NO_NODE;
    /* The address differs from run to run, so a file can't be made whose names all meet in one
     * slot. */
    graph->hash_seed = (uint32_t) ((uintptr_t) graph >> 6) * UINT32_C(2654435761);
    if (pthread_mutex_init(&graph->order_lock, NULL)) {
        arena_done(&graph->arena);
        free(graph);
        return pith_fail(err, -ENOMEM, "no memory for a graph");
    }
    *out = graph;
    return 0;
}

void pith_graph_free(struct pith_graph *graph)
{
    if (!graph)
        return;
    for (uint32_t i = 0; i < graph->node_count; i++)
        for (size_t k = 0; k < graph->nodes[i]->attribute_count; k++)
            attribute_clear(&graph->nodes[i]->attributes[k]);
    for (uint32_t i = 0; i < graph->value_count; i++) {
        constant_clear(&graph->values[i]->constant);
        free(graph->values[i]->quantization);
        free(graph->values[i]->users);
    }
    free(graph->nodes);
    free(graph->values);
    free(graph->slots);
    free(graph->inputs);
    free(graph->outputs);
    free(graph->opsets);
    free(graph->metadata);
    free(graph->captures);
    free(graph->order);
    pthread_mutex_destroy(&graph->order_lock);
    arena_done(&graph->arena);
    free(graph);
}

const char *pith_graph_name(const struct pith_graph *graph)
{
    return graph->name;
}

uint32_t pith_graph_node_limit(const struct pith_graph *graph)
{
    return graph->node_count;
}

uint32_t pith_graph_value_limit(const struct pith_graph *graph)
{
    return graph->value_count;
}

/* ---- opsets and metadata ---- */

/* "ai.onnx" is the long form of "". */
static const char *short_domain(const char *domain)
{
    return strcmp(domain, "ai.onnx") ? domain : "";
}

int64_t pith_graph_opset(const struct pith_graph *graph, const char *domain)
{
    domain = short_domain(domain);
    for (size_t i = 0; i < graph->opset_count; i++)
        if (!strcmp(graph->opsets[i].domain, domain))
            return graph->opsets[i].version;
    return 0;
}

static int set_own_opset(struct pith_graph *graph, const char *domain, int64_t version)
{
    char *copy;
    int rc;

    for (size_t i = 0; i < graph->opset_count; i++)
        if (!strcmp(graph->opsets[i].domain, domain)) {
            graph->opsets[i].version = version;
            return 0;
        }
    rc = grow(&graph->opsets, sizeof *graph->opsets, graph->opset_count, &graph->opset_capacity);
    if (rc < 0)
        return rc;
    copy = arena_text(&graph->arena, domain);
    if (!copy)
        return -ENOMEM;
    graph->opsets[graph->opset_count++] = (struct opset){copy, version};
    return 0;
}

int pith_graph_set_opset(struct pith_graph *graph, const char *domain, int64_t version)
{
    int rc = set_own_opset(graph, short_domain(domain), version);

    for (uint32_t i = 0; i < graph->node_count && rc == 0; i++) {
        struct node *node = graph->nodes[i];

        for (size_t k = 0; k < node->attribute_count && rc == 0; k++)
            if (node->attributes[k].kind == PITH_ATTRIBUTE_GRAPH)
                rc = pith_graph_set_opset(node->attributes[k].graph, domain, version);
    }
    return rc;
}

size_t pith_graph_opset_count(const struct pith_graph *graph)
{
    return graph->opset_count;
}

const char *pith_graph_opset_domain(const struct pith_graph *graph, size_t index)
{
    assert(index < graph->opset_count);
    return graph->opsets[index].domain;
}

const char *pith_graph_metadata(const struct pith_graph *graph, const char *key)
{
    for (size_t i = 0; i < graph->metadata_count; i++)
        if (!strcmp(graph->metadata[i].key, key))
            return graph->metadata[i].text;
    return NULL;
}

int pith_graph_set_metadata(struct pith_graph *graph, const char *key, const char *text)
{
    char *copy = arena_text(&graph->arena, text);
    char *key_copy;
    int rc;

    if (!copy)
        return -ENOMEM;
    for (size_t i = 0; i < graph->metadata_count; i++)
        if (!strcmp(graph->metadata[i].key, key)) {
            graph->metadata[i].text = copy;
            return 0;
        }
    rc = grow(&graph->metadata, sizeof *graph->metadata, graph->metadata_count,
              &graph->metadata_capacity);
    if (rc < 0)
        return rc;
    key_copy = arena_text(&graph->arena, key);
    if (!key_copy)
        return -ENOMEM;
    graph->metadata[graph->metadata_count++] = (struct pair){key_copy, copy};
    return 0;
}

size_t pith_graph_metadata_count(const struct pith_graph *graph)
{
    return graph->metadata_count;
}

const char *pith_graph_metadata_key(const struct pith_graph *graph, size_t index)
{
    assert(index < graph->metadata_count);
    return graph->metadata[index].key;
}

/* ---- inputs, outputs, captures ---- */

size_t pith_graph_input_count(const struct pith_graph *graph)
{
    return graph->input_count;
}

uint32_t pith_graph_input(const struct pith_graph *graph, size_t index)
{
    assert(index < graph->input_count);
    return graph->inputs[index];
}

size_t pith_graph_output_count(const struct pith_graph *graph)
{
    return graph->output_count;
}

uint32_t pith_graph_output(const struct pith_graph *graph, size_t index)
{
    assert(index < graph->output_count);
    return graph->outputs[index];
}

int pith_graph_add_input(struct pith_graph *graph, uint32_t value)
{
    struct value *input = graph_value(graph, value);
    int rc;

    if (input->is_input || input->is_captured || input->constant.backing ||
        input->producer != PITH_NO_NODE)
        return -EEXIST;
    rc = grow(&graph->inputs, sizeof *graph->inputs, graph->input_count, &graph->input_capacity);
    if (rc < 0)
        return rc;
    graph->inputs[graph->input_count++] = value;
    input->is_input = true;
    return 0;
}

void graph_forget_input(struct pith_graph *graph, uint32_t value)
{
    size_t kept = 0;

    for (size_t i = 0; i < graph->input_count; i++)
        if (graph->inputs[i] != value)
            graph->inputs[kept++] = graph->inputs[i];
    graph->input_count = kept;
    graph_value(graph, value)->is_input = false;
}

int pith_graph_add_output(struct pith_graph *graph, uint32_t value)
{
    struct value *output = graph_value(graph, value);
    int rc =
        grow(&graph->outputs, sizeof *graph->outputs, graph->output_count, &graph->output_capacity);

    if (rc < 0)
        return rc;
    graph->outputs[graph->output_count++] = value;
    output->output_uses++;
    return 0;
}

void pith_graph_set_output(struct pith_graph *graph, size_t index, uint32_t value)
{
    assert(index < graph->output_count);
    graph_value(graph, value)->output_uses++;
    graph_value(graph, graph->outputs[index])->output_uses--;
    graph->outputs[index] = value;
}

size_t pith_graph_capture_count(const struct pith_graph *graph)
{
    return graph->capture_count;
}

void pith_graph_capture(const struct pith_graph *graph, size_t index, uint32_t *out_inner,
                        uint32_t *out_outer)
{
    assert(index < graph->capture_count);
    *out_inner = graph->captures[index].inner;
    *out_outer = graph->captures[index].outer;
}

int pith_graph_add_capture(struct pith_graph *graph, uint32_t inner, uint32_t outer)
{
    struct value *value = graph_value(graph, inner);
    int rc;

    if (value->is_input || value->is_captured || value->constant.backing ||
        value->producer != PITH_NO_NODE)
        return -EEXIST;
    rc = grow(&graph->captures, sizeof *graph->captures, graph->capture_count,
              &graph->capture_capacity);
    if (rc == 0 && graph->around) {
        rc = value_add_user(graph->around, outer, graph->around_node);
        graph_changed(graph->around);
    }
    if (rc < 0)
        return rc;
    graph->captures[graph->capture_count++] = (struct capture){inner, outer};
    value->is_captured = true;
    return 0;
}

/* ---- names ---- */

/* Eight bytes at a time: names of TensorFlow's fused operators have hundreds. */
static uint32_t hash_name(const struct pith_graph *graph, const char *name)
{
    size_t left = strlen(name);
    uint64_t hash = graph->hash_seed ^ (uint64_t) left << 32;

    for (; left > 0; name += left < 8 ? left : 8, left -= left < 8 ? left : 8) {
        uint64_t word = 0;

        memcpy(&word, name, left < 8 ? left : 8);
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    return (uint32_t) hash;
}

/* The slot of the name, or the free one where it would go. */
static uint32_t find_slot(const struct pith_graph *graph, const char *name, uint32_t hash)
{
    uint32_t mask = graph->slot_count - 1;
    uint32_t free_slot = SLOT_GONE;

    for (uint32_t at = hash & mask;; at = (at + 1) & mask) {
        uint32_t entry = graph->slots[at];

        if (!entry)
            return free_slot == SLOT_GONE ? at : free_slot;
        if (entry == SLOT_GONE) {
            if (free_slot == SLOT_GONE)
                free_slot = at;
        } else if (graph->values[entry - 1]->hash == hash &&
                   !strcmp(graph->values[entry - 1]->name, name)) {
            return at;
        }
    }
}

static int widen_names(struct pith_graph *graph)
{
    uint32_t *old = graph->slots;
    uint32_t old_count = graph->slot_count;
    uint32_t count = old_count ? old_count * 2 : 64;
    uint32_t *slots = calloc(count, sizeof *slots);

    if (!slots || count < old_count) {
        free(slots);
        return -ENOMEM;
    }
    graph->slots = slots;
    graph->slot_count = count;
    graph->slots_used = 0;
    for (uint32_t i = 0; i < old_count; i++) {
        const struct value *value;

        if (!old[i] || old[i] == SLOT_GONE)
            continue;
        value = graph->values[old[i] - 1];
        slots[find_slot(graph, value->name, value->hash)] = old[i];
        graph->slots_used++;
    }
    free(old);
    return 0;
}

uint32_t pith_graph_find_value(const struct pith_graph *graph, const char *name)
{
    uint32_t entry;

    if (!graph->slot_count)
        return PITH_NO_VALUE;
    entry = graph->slots[find_slot(graph, name, hash_name(graph, name))];
    return entry && entry != SLOT_GONE ? entry - 1 : PITH_NO_VALUE;
}

int graph_index_name(struct pith_graph *graph, uint32_t value)
{
    struct value *named = graph->values[value];
    uint32_t at;

    if (graph->slots_used + 1 > graph->slot_count / 4 * 3) {
        int rc = widen_names(graph);

        if (rc < 0)
            return rc;
    }
    named->hash = hash_name(graph, named->name);
    at = find_slot(graph, named->name, named->hash);
    if (!graph->slots[at])
        graph->slots_used++;
    graph->slots[at] = value + 1;
    named->indexed = true;
    return 0;
}

void graph_unindex_name(struct pith_graph *graph, uint32_t value)
{
    struct value *named = graph->values[value];
    uint32_t at;

    if (!named->indexed)
        return;
    at = find_slot(graph, named->name, named->hash);
    assert(graph->slots[at] == value + 1);
    graph->slots[at] = SLOT_GONE;
    named->indexed = false;
}

void graph_release_name(struct pith_graph *graph, uint32_t value)
{
    graph_unindex_name(graph, value);
    graph->values[value]->name = "";
}

void pith_value_swap_names(struct pith_graph *graph, uint32_t a, uint32_t b)
{
    struct value *first = graph_value(graph, a);
    struct value *second = graph_value(graph, b);
    uint32_t first_slot;
    uint32_t second_slot;
    const char *name = first->name, **dim_names = first->dim_names;
    const uint32_t hash = first->hash, dim_names_rank = first->dim_names_rank;
    struct pith_shape *declared = first->declared;

    assert(first->indexed && second->indexed);
    first_slot = find_slot(graph, first->name, first->hash);
    second_slot = find_slot(graph, second->name, second->hash);
    graph->slots[first_slot] = b + 1;
    graph->slots[second_slot] = a + 1;
    first->name = second->name;
    first->hash = second->hash;
    second->name = name;
    second->hash = hash;
    first->dim_names = second->dim_names; /* whoever uses the file knows them by the name */
    second->dim_names = dim_names;
    first->dim_names_rank = second->dim_names_rank;
    second->dim_names_rank = dim_names_rank;
    first->declared = second->declared;
    second->declared = declared;
}
