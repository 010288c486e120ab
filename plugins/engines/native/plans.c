/* Plans by the shapes that they were compiled for. See plans.h. */
#include "plugins/engines/native/plans.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void entry_done(struct plans_entry *entry)
{
    plan_free(entry->plan);
    free(entry->inputs);
    *entry = (struct plans_entry){0};
}

static bool fits(const struct plans_entry *entry, const struct plans_request *request)
{
    for (size_t i = 0; i < request->own_count + request->capture_count; i++)
        if (entry->inputs[i].dtype != request->inputs[i].dtype ||
            !pith_shape_equal(&entry->inputs[i].shape, &request->inputs[i].shape))
            return false;
    return true;
}

static void put_first(struct plans *plans, size_t from, struct plans_entry entry)
{
    memmove(&plans->entry[1], &plans->entry[0], from * sizeof entry);
    plans->entry[0] = entry;
}

static int compile(struct plan **out, const struct plans_request *request, struct pith_error *err)
{
    struct pith_shape *shapes = calloc(request->own_count + 1, sizeof *shapes);
    struct pith_tensor *captures = calloc(request->capture_count + 1, sizeof *captures);
    int rc = -ENOMEM;

    if (shapes && captures) {
        for (size_t i = 0; i < request->own_count; i++)
            shapes[i] = request->inputs[i].shape;
        for (size_t i = 0; i < request->capture_count; i++) {
            captures[i] = request->inputs[request->own_count + i];
            if (!request->constant[i])
                captures[i].data = NULL; /* this run's, not the next one's */
        }
        rc = plan_new(out, request->graph, shapes, captures, request->options, err);
    }
    free(shapes);
    free(captures);
    return rc;
}

int plans_find(struct plans *plans, const struct plans_request *request, struct plan **out,
               struct pith_error *err)
{
    const size_t count = request->own_count + request->capture_count;
    struct plans_entry entry = {0};
    int rc;

    for (size_t i = 0; i < plans->count; i++)
        if (fits(&plans->entry[i], request)) {
            put_first(plans, i, plans->entry[i]);
            *out = plans->entry[0].plan;
            return 0;
        }
    entry.inputs = calloc(count + 1, sizeof *entry.inputs);
    rc = entry.inputs ? compile(&entry.plan, request, err) : -ENOMEM;
    if (rc < 0) {
        entry_done(&entry);
        return rc;
    }
    for (size_t i = 0; i < count; i++)
        entry.inputs[i] = (struct pith_tensor){.dtype = request->inputs[i].dtype,
                                               .shape = request->inputs[i].shape};
    if (plans->count == PLANS_MOST)
        entry_done(&plans->entry[--plans->count]);
    put_first(plans, plans->count++, entry);
    while (plans->count > 1 && plans_arena_bytes(plans) > request->options->limit_bytes)
        entry_done(&plans->entry[--plans->count]);
    *out = plans->entry[0].plan;
    return 0;
}

uint64_t plans_arena_bytes(const struct plans *plans)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < plans->count; i++) {
        const struct plan *plan = plans->entry[i].plan;

        bytes += plan->arena_bytes + plan->heap_bytes;
        for (size_t s = 0; s < plan->step_count; s++)
            if (plan->steps[s]->control)
                bytes += control_arena_bytes(plan->steps[s]->control);
    }
    return bytes;
}

uint64_t plans_weight_bytes(const struct plans *plans)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < plans->count; i++) {
        const struct plan *plan = plans->entry[i].plan;

        bytes += plan->weight_bytes;
        for (size_t s = 0; s < plan->step_count; s++)
            if (plan->steps[s]->control)
                bytes += control_weight_bytes(plan->steps[s]->control);
    }
    return bytes;
}

void plans_done(struct plans *plans)
{
    while (plans->count > 0)
        entry_done(&plans->entry[--plans->count]);
}
