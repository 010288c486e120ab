/* Types and shapes of RNN, GRU and LSTM: x [T, N, I], W [D, gates * H, I]; with layout 1 the batch
 * comes first. */
#include "libpith/graph/infer.h"

#include <string.h>

static int hidden_size(struct infer *in, int64_t gates, int64_t *out)
{
    const struct pith_shape *r = infer_shape(in, 2), *w = infer_shape(in, 1),
                            *x = infer_shape(in, 0);
    int64_t hidden = infer_int(in, "hidden_size", PITH_DIM_UNKNOWN);
    char one[PITH_SHAPE_TEXT_BYTES], other[PITH_SHAPE_TEXT_BYTES];

    if (infer_attribute(in, "hidden_size") && (hidden < 1 || hidden > INT32_MAX))
        return infer_fail(in, "attribute hidden_size is %lld", (long long) hidden);
    if (r && hidden == PITH_DIM_UNKNOWN)
        hidden = r->dim[2];
    if (r && (infer_dims_clash(r->dim[2], hidden) ||
              (hidden != PITH_DIM_UNKNOWN && infer_dims_clash(r->dim[1], gates * hidden))))
        return infer_fail(in, "recurrence weight %s does not fit a hidden size of %lld",
                          infer_text(in, 2, one), (long long) hidden);
    if (w && hidden != PITH_DIM_UNKNOWN && infer_dims_clash(w->dim[1], gates * hidden))
        return infer_fail(in, "weight %s does not fit a hidden size of %lld",
                          infer_text(in, 1, one), (long long) hidden);
    if (w && x && infer_dims_clash(w->dim[2], x->dim[2]))
        return infer_fail(in, "weight %s and input %s differ in input size", infer_text(in, 1, one),
                          infer_text(in, 0, other));
    *out = hidden;
    return 0;
}

int infer_recurrent(struct infer *in)
{
    const char *op = in->op->name;
    const char *direction = pith_node_string(in->graph, in->node, "direction", "forward");
    const struct pith_shape *x = infer_shape(in, 0);
    int64_t gates = op[0] == 'L' ? 4 : op[0] == 'G' ? 3 : 1;
    int64_t directions = strcmp(direction, "bidirectional") == 0 ? 2 : 1;
    bool batch_first = infer_int(in, "layout", 0) != 0;
    int64_t hidden = PITH_DIM_UNKNOWN, steps = PITH_DIM_UNKNOWN, batch = PITH_DIM_UNKNOWN;
    struct pith_shape all = {.rank = 4}, last = {.rank = 3};
    int rc = 0;

    for (size_t i = 0; i < 3 && rc == 0; i++)
        rc = infer_rank(in, i, i == 0 ? "input" : "weight", 3, 3);
    if (rc == 0)
        rc = hidden_size(in, gates, &hidden);
    if (rc < 0)
        return rc;
    if (directions == 1 && strcmp(direction, "forward") != 0 && strcmp(direction, "reverse") != 0)
        return infer_fail(
            in, "attribute direction is \"%s\"; forward, reverse and bidirectional are possible",
            direction);
    for (size_t i = 1; i < 3; i++)
        if (infer_shape(in, i) && infer_dims_clash(infer_shape(in, i)->dim[0], directions))
            return infer_fail(in, "input %zu has weights for %lld directions, there are %lld", i,
                              (long long) infer_shape(in, i)->dim[0], (long long) directions);
    if (x) {
        steps = x->dim[batch_first ? 1 : 0];
        batch = x->dim[batch_first ? 0 : 1];
    }
    memcpy(all.dim,
           batch_first ? (int64_t[4]){batch, steps, directions, hidden}
                       : (int64_t[4]){steps, directions, batch, hidden},
           4 * sizeof(int64_t));
    memcpy(last.dim,
           batch_first ? (int64_t[3]){batch, directions, hidden}
                       : (int64_t[3]){directions, batch, hidden},
           3 * sizeof(int64_t));
    rc = infer_set(in, 0, infer_dtype(in, 0), &all);
    for (size_t i = 1; i < 3 && rc == 0; i++)
        rc = infer_set(in, i, infer_dtype(in, 0), &last);
    return rc;
}
