/* NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss: scores [N, C, ...] against labels [N,
 * ...], in float64. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/numbers.h"

#include <errno.h>
#include <math.h>
#include <string.h>

enum loss_reduction { LOSS_NONE, LOSS_MEAN, LOSS_SUM };

struct loss {
    int64_t batch, classes, places; /* N, C, the product of the rest */
    enum loss_reduction reduction;
    bool softmax; /* the scores are not logarithms of probabilities yet */
    bool ignores;
    int64_t ignored; /* the label that does not count */
    int32_t dtype;
    int64_t bytes;
};

static int loss_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *labels = &step->input[1].shape;
    const char *reduction = pith_node_string(step->graph, step->node, "reduction", "mean");
    struct loss *l = pith_step_alloc(step, sizeof *l);

    if (!l)
        return -ENOMEM;
    l->softmax = strcmp(step->kernel->op, "SoftmaxCrossEntropyLoss") == 0;
    l->ignores = pith_node_has(step->graph, step->node, "ignore_index");
    l->ignored = pith_node_int(step->graph, step->node, "ignore_index", 0);
    l->reduction = strcmp(reduction, "none") == 0  ? LOSS_NONE
                   : strcmp(reduction, "sum") == 0 ? LOSS_SUM
                                                   : LOSS_MEAN;
    if (l->reduction == LOSS_MEAN && strcmp(reduction, "mean") != 0)
        return pith_step_fail(step, err, -EINVAL,
                              "attribute reduction is \"%s\"; none, mean and sum are possible",
                              reduction);
    if (x->rank < 2 || labels->rank + 1 != x->rank || labels->dim[0] != x->dim[0])
        return pith_step_fail(step, err, -EINVAL, "labels and scores do not fit each other");
    for (uint32_t i = 1; i < labels->rank; i++)
        if (labels->dim[i] != x->dim[i + 1])
            return pith_step_fail(step, err, -EINVAL, "labels and scores differ along axis %u", i);
    l->batch = x->dim[0];
    l->classes = x->dim[1];
    l->places = pith_dims_product(x, 2, x->rank);
    l->dtype = step->input[0].dtype;
    l->bytes = (int64_t) numbers_bytes(l->dtype);
    if (pith_step_has(step, 2) &&
        (step->input[2].dtype != l->dtype || step->input[2].shape.rank != 1 ||
         step->input[2].shape.dim[0] != l->classes))
        return pith_step_fail(step, err, -EINVAL, "there must be a weight a class");
    if (step->output[0].dtype != PITH_DTYPE_NONE &&
        pith_shape_elements(&step->output[0].shape) !=
            (l->reduction == LOSS_NONE ? l->batch * l->places : 1))
        return pith_step_fail(step, err, -EINVAL, "its output does not fit its reduction");
    if (step->output[1].dtype != PITH_DTYPE_NONE && !pith_shape_equal(x, &step->output[1].shape))
        return pith_step_fail(step, err, -EINVAL, "its second output must be like the scores");
    if (l->classes > PITH_STEP_MAX_BYTES / (int64_t) sizeof(double))
        return pith_step_fail(step, err, -ENOTSUP, "there are too many classes");
    step->scratch_bytes = (size_t) l->classes * sizeof(double) + 64;
    step->params = l;
    return 0;
}

/* The scores of one place as logarithms of probabilities. */
static void loss_scores(const struct loss *l, const char *from, double *scores)
{
    double top = -INFINITY, sum = 0;

    numbers_load_f64(l->dtype, from, l->places, scores, l->classes);
    if (!l->softmax)
        return;
    for (int64_t c = 0; c < l->classes; c++)
        top = scores[c] > top ? scores[c] : top;
    for (int64_t c = 0; c < l->classes; c++)
        sum += exp(scores[c] - top);
    for (int64_t c = 0; c < l->classes; c++)
        scores[c] -= top + log(sum);
}

static void store_one(const struct loss *l, void *data, int64_t index, double value)
{
    numbers_store_f64(l->dtype, (char *) data + index * l->bytes, &value, 1);
}

static int loss_run(struct pith_step *step, struct pith_error *err)
{
    const struct loss *l = step->params;
    const struct pith_tensor *labels = &step->input[1];
    void *out = step->output[0].dtype != PITH_DTYPE_NONE ? step->output[0].data : NULL;
    void *logs = step->output[1].dtype != PITH_DTYPE_NONE ? step->output[1].data : NULL;
    double *scores = step->scratch, total = 0, weights = 0;

    for (int64_t i = 0; i < l->batch * l->places; i++) {
        const int64_t first = i / l->places * l->classes * l->places + i % l->places;
        double weight = 1, value = 0;
        int64_t label;

        loss_scores(l, (const char *) step->input[0].data + first * l->bytes, scores);
        for (int64_t c = 0; logs && c < l->classes; c++)
            store_one(l, logs, first + c * l->places, scores[c]);
        numbers_load_i64(labels->dtype,
                         (const char *) labels->data + i * (int64_t) numbers_bytes(labels->dtype),
                         1, &label, 1);
        if (l->ignores && label == l->ignored) {
            weight = 0;
        } else {
            if (label < 0 || label >= l->classes)
                return pith_step_fail(step, err, -EINVAL, "label %lld of %lld classes",
                                      (long long) label, (long long) l->classes);
            if (pith_step_has(step, 2))
                numbers_load_f64(l->dtype, (const char *) step->input[2].data + label * l->bytes, 1,
                                 &weight, 1);
            value = -weight * scores[label];
        }
        total += value;
        weights += weight;
        if (out && l->reduction == LOSS_NONE)
            store_one(l, out, i, value);
    }
    if (out && l->reduction != LOSS_NONE)
        store_one(l, out, 0, l->reduction == LOSS_MEAN ? total / weights : total);
    return 0;
}

#define REALS (PITH_FLOATS | PITH_BIT(BFLOAT16))
#define LABEL (PITH_BIT(INT32) | PITH_BIT(INT64))

const struct pith_kernel pith_kernels_loss[] = {
    {.op = "NegativeLogLikelihoodLoss",
     .name = "loss",
     .types = {REALS, LABEL},
     .prepare = loss_prepare,
     .run = loss_run},
    {.op = "SoftmaxCrossEntropyLoss",
     .name = "loss",
     .types = {REALS, LABEL},
     .prepare = loss_prepare,
     .run = loss_run},
    {0},
};
