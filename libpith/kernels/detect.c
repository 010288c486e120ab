/* NonMaxSuppression: boxes [batch, n, 4], scores [batch, class, n]. For each image and class the
 * best box is taken, those that overlap it too much are dropped, and so on. How many remain follows
 * from the data. */
#include "libpith/kernels/families.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct candidate {
    float score;
    int64_t box;
};

struct suppression {
    int64_t batch, classes, boxes;
    bool centered;    /* boxes are centre and size, not two corners */
    int64_t found_at; /* offset of the triples in scratch, in bytes */
};

static int suppression_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *boxes = &step->input[0].shape, *scores = &step->input[1].shape;
    struct suppression *s = pith_step_alloc(step, sizeof *s);
    int64_t bytes;

    if (!s)
        return -ENOMEM;
    if (boxes->rank != 3 || scores->rank != 3 || boxes->dim[2] != 4 ||
        boxes->dim[0] != scores->dim[0] || boxes->dim[1] != scores->dim[2])
        return pith_step_fail(step, err, -EINVAL,
                              "boxes must be [batch, n, 4] and scores [batch, classes, n]");
    *s =
        (struct suppression){scores->dim[0], scores->dim[1], scores->dim[2],
                             pith_node_int(step->graph, step->node, "center_point_box", 0) != 0, 0};
    s->found_at = (s->boxes * (int64_t) sizeof(struct candidate) + 63) / 64 * 64;
    if (__builtin_mul_overflow(pith_shape_elements(scores), (int64_t) (3 * sizeof(int64_t)),
                               &bytes) ||
        bytes > PITH_STEP_MAX_BYTES || s->found_at > PITH_STEP_MAX_BYTES)
        return pith_step_fail(step, err, -EINVAL, "too many boxes");
    step->scratch_bytes = (size_t) (s->found_at + bytes);
    step->params = s;
    return 0;
}

/* Higher scores first; of equal ones, the first box. */
static int better_first(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;

    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->box < y->box ? -1 : x->box > y->box;
}

static void corners(const struct suppression *s, const float *box, float out[4])
{
    if (s->centered) {
        out[0] = box[1] - box[3] / 2.0F;
        out[1] = box[0] - box[2] / 2.0F;
        out[2] = box[1] + box[3] / 2.0F;
        out[3] = box[0] + box[2] / 2.0F;
        return;
    }
    for (int i = 0; i < 2; i++) {
        out[i] = box[i] < box[i + 2] ? box[i] : box[i + 2];
        out[i + 2] = box[i] < box[i + 2] ? box[i + 2] : box[i];
    }
}

/* Intersection over union. */
static float overlap(const float a[4], const float b[4])
{
    const float top = a[0] > b[0] ? a[0] : b[0], left = a[1] > b[1] ? a[1] : b[1];
    const float bottom = a[2] < b[2] ? a[2] : b[2], right = a[3] < b[3] ? a[3] : b[3];
    const float both = bottom > top && right > left ? (bottom - top) * (right - left) : 0.0F;
    const float either = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both;

    return either > 0.0F ? both / either : 0.0F;
}

static double scalar(const struct pith_step *step, size_t input, double otherwise)
{
    return pith_step_has(step, input) && step->input[input].bytes
               ? pith_tensor_get(&step->input[input], 0)
               : otherwise;
}

/* Appends what remains of one class of one image; returns the new count. */
static int64_t suppress(const struct pith_step *step, const struct suppression *s, int64_t image,
                        int64_t class_number, int64_t limit, int64_t (*found)[3], int64_t count)
{
    const float *scores =
        (const float *) step->input[1].data + (image * s->classes + class_number) * s->boxes;
    const float *boxes = (const float *) step->input[0].data + image * s->boxes * 4;
    const float most = (float) scalar(step, 3, 0.0);
    const bool thresholded = pith_step_has(step, 4);
    const double least = scalar(step, 4, 0.0);
    struct candidate *candidates = step->scratch;
    const int64_t first = count;
    int64_t candidate_count = 0;

    for (int64_t i = 0; i < s->boxes; i++)
        if (scores[i] == scores[i] &&
            (!thresholded || (double) scores[i] > least)) /* never a NaN */
            candidates[candidate_count++] = (struct candidate){scores[i], i};
    qsort(candidates, (size_t) candidate_count, sizeof *candidates, better_first);
    for (int64_t i = 0; i < candidate_count && count - first < limit; i++) {
        float box[4];
        bool keep = true;

        corners(s, boxes + candidates[i].box * 4, box);
        for (int64_t k = first; k < count && keep; k++) {
            float other[4];

            corners(s, boxes + found[k][2] * 4, other);
            keep = overlap(box, other) <= most;
        }
        if (keep)
            memcpy(found[count++], (const int64_t[3]){image, class_number, candidates[i].box},
                   sizeof *found);
    }
    return count;
}

static int suppression_run(struct pith_step *step, struct pith_error *err)
{
    const struct suppression *s = step->params;
    const int64_t limit = pith_step_has(step, 2) && step->input[2].bytes
                              ? pith_tensor_get_int(&step->input[2], 0)
                              : 0;
    int64_t(*found)[3] = (int64_t(*)[3])((uint8_t *) step->scratch + s->found_at);
    int64_t count = 0;
    int rc;

    for (int64_t image = 0; image < s->batch; image++)
        for (int64_t c = 0; c < s->classes; c++)
            count = suppress(step, s, image, c, limit, found, count);
    if (step->output[0].dtype == PITH_DTYPE_NONE)
        return 0;
    rc = step->resize(step, 0, &(struct pith_shape){2, {count, 3}}, err);
    if (rc == 0 && count)
        memcpy(step->output[0].data, found, (size_t) count * sizeof *found);
    return rc;
}

const struct pith_kernel pith_kernels_detect[] = {
    {.op = "NonMaxSuppression",
     .name = "non_max_suppression_f32",
     .types = {PITH_BIT(FLOAT32), PITH_BIT(FLOAT32), PITH_BIT(INT64), PITH_BIT(FLOAT32)},
     .flags = PITH_KERNEL_SIZES_OUTPUT,
     .prepare = suppression_prepare,
     .run = suppression_run},
    {0},
};
