/* The plans of one graph, one for each set of input shapes that it has met lately: what varies from run to run (a batch, a
 * length, a Loop's state) is compiled once a shape. Bounded in number and bytes; the one used longest ago goes first. */
#ifndef PITH_NATIVE_PLANS_H
#define PITH_NATIVE_PLANS_H

#include "plugins/engines/native/plan.h"

#define PLANS_MOST 8 /* of one graph at a time */

struct plans_entry {
    struct plan *plan;          /* own */
    struct pith_tensor *inputs; /* what it was compiled for: types and shapes; own */
};

struct plans { /* {0}: none */
    struct plans_entry entry[PLANS_MOST]; /* the one used last comes first */
    size_t count;
};

struct plans_request {
    const struct pith_graph *graph;   /* the same one in each request */
    const struct pith_tensor *inputs; /* of this run: the graph's own, then its captures */
    size_t own_count, capture_count;
    const bool *constant; /* a capture has the same data in each run; NULL where there are no captures */
    const struct plan_options *options;
};

/* The plan for these types and shapes, compiled where there is none yet. It is the callee's, and there until the next call:
 * others go where there are PLANS_MOST, or where arenas and heaps come to more than the options' limit_bytes together.
 * Where there is one already nothing is allocated. On failure *out is untouched, and all plans stay. */
int plans_find(struct plans *plans, const struct plans_request *request, struct plan **out, struct pith_error *err);
/* Of all plans together: activations and scratch; packed weights. */
uint64_t plans_arena_bytes(const struct plans *plans);
uint64_t plans_weight_bytes(const struct plans *plans);
void plans_done(struct plans *plans);

#endif
