/* Decoding, suppression of what is told twice, and matching. */
#include "libpith/compress/detect.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define CANDIDATES_MAX 20000 /* of one picture, before suppression: those past it are left out */

void pith_detections_done(struct pith_detections *detections)
{
    free(detections->boxes);
    *detections = (struct pith_detections){0};
}

static int add(struct pith_detections *out, const struct pith_box *box)
{
    if (out->count == CANDIDATES_MAX)
        return 0;
    if (out->count == out->capacity) {
        size_t capacity = out->capacity ? 2 * out->capacity : 64;
        struct pith_box *grown = realloc(out->boxes, capacity * sizeof *grown);

        if (!grown)
            return -ENOMEM;
        out->boxes = grown;
        out->capacity = capacity;
    }
    out->boxes[out->count++] = *box;
    return 0;
}

static double activate(int activation, double x)
{
    switch (activation) {
    case PITH_ACTIVATION_SIGMOID:
        return 1 / (1 + exp(-x));
    case PITH_ACTIVATION_TANH:
        return tanh(x);
    case PITH_ACTIVATION_EXP:
        return exp(x);
    default:
        return x;
    }
}

static int output_of(const struct pith_tensor *outputs, size_t count, int64_t index, uint32_t rank,
                     const struct pith_tensor **out, struct pith_error *err)
{
    char text[PITH_SHAPE_TEXT_BYTES];

    if (index < 0 || (uint64_t) index >= count)
        return pith_fail(err, -EINVAL, "detect: the model has %zu outputs, none is number %lld",
                         count, (long long) index);
    *out = &outputs[index];
    if ((*out)->shape.rank != rank || (*out)->shape.dim[0] != 1 ||
        pith_dtype_bits((*out)->dtype) == 0)
        return pith_fail(err, -EINVAL, "detect: output %lld has shape %s; it must be [1%s]",
                         (long long) index, pith_shape_text(&(*out)->shape, text, sizeof text),
                         rank == 4 ? ", channels, height, width" : ", boxes, values");
    return 0;
}

static struct pith_box box_around(double cx, double cy, double w, double h)
{
    return (struct pith_box){.x0 = (float) (cx - w / 2),
                             .y0 = (float) (cy - h / 2),
                             .x1 = (float) (cx + w / 2),
                             .y1 = (float) (cy + h / 2)};
}

/* ---- grid ---- */

struct grid {
    const struct pith_detect *how;
    const struct pith_tensor *output;
    int64_t channels, height, width;
};

static double cell_value(const struct grid *grid, int64_t channel, int64_t cell)
{
    return pith_tensor_get(grid->output, channel * grid->height * grid->width + cell);
}

static int take_cell(const struct grid *grid, int64_t cell, struct pith_detections *out)
{
    const struct pith_detect *how = grid->how;
    double objectness = how->objectness < 0
                            ? 1
                            : pow(cell_value(grid, how->objectness, cell), how->objectness_power);
    struct pith_box box = {0};
    double best = 0;

    for (int64_t c = how->first_class; c < grid->channels; c++) {
        double score = pow(cell_value(grid, c, cell), how->class_power);

        if (score > best) {
            best = score;
            box.class_index = (int32_t) (c - how->first_class);
        }
    }
    double score = objectness * best;

    if (!(score >= how->threshold))
        return 0;
    double v[4];

    for (int i = 0; i < 4; i++)
        v[i] =
            activate(i < 2 ? how->centre : how->size, cell_value(grid, how->first_box + i, cell));
    struct pith_box at =
        box_around((v[0] + (double) (cell % grid->width)) / (double) grid->width,
                   (v[1] + (double) (cell / grid->width)) / (double) grid->height, v[2], v[3]);

    at.class_index = box.class_index;
    at.score = (float) score;
    return isfinite(at.x0 + at.y0 + at.x1 + at.y1) ? add(out, &at) : 0;
}

static int decode_grid(const struct pith_detect *how, const struct pith_tensor *outputs,
                       size_t count, struct pith_detections *out, struct pith_error *err)
{
    struct grid grid = {.how = how};
    int rc = output_of(outputs, count, how->scores_output, 4, &grid.output, err);

    if (rc < 0)
        return rc;
    grid.channels = grid.output->shape.dim[1];
    grid.height = grid.output->shape.dim[2];
    grid.width = grid.output->shape.dim[3];
    if (how->objectness >= grid.channels || how->first_box < 0 ||
        how->first_box + 4 > grid.channels || how->first_class < 0 ||
        how->first_class >= grid.channels)
        return pith_fail(
            err, -EINVAL,
            "detect: a cell has %lld channels; objectness, box or class lies past them",
            (long long) grid.channels);
    for (int64_t cell = 0; rc == 0 && cell < grid.height * grid.width; cell++)
        rc = take_cell(&grid, cell, out);
    return rc;
}

/* ---- list ---- */

static int take_item(const struct pith_detect *how, const struct pith_tensor *scores,
                     const struct pith_tensor *boxes, int64_t item, struct pith_detections *out)
{
    int64_t classes = scores->shape.dim[2];
    int rc = 0;

    for (int64_t c = 0; rc == 0 && c < classes; c++) {
        double v[4], score = pith_tensor_get(scores, item * classes + c);

        score = how->class_power == 1 ? score : pow(score, how->class_power);
        if (c == how->background || !(score >= how->threshold))
            continue;
        for (int i = 0; i < 4; i++)
            v[i] = pith_tensor_get(boxes, item * 4 + i);
        struct pith_box box = how->boxes == PITH_BOXES_CENTRE
                                  ? box_around(v[0], v[1], v[2], v[3])
                                  : (struct pith_box){.x0 = (float) v[0],
                                                      .y0 = (float) v[1],
                                                      .x1 = (float) v[2],
                                                      .y1 = (float) v[3]};

        box.class_index = (int32_t) (c - (how->background >= 0 && c > how->background));
        box.score = (float) score;
        if (isfinite(box.x0 + box.y0 + box.x1 + box.y1))
            rc = add(out, &box);
    }
    return rc;
}

static int decode_list(const struct pith_detect *how, const struct pith_tensor *outputs,
                       size_t count, struct pith_detections *out, struct pith_error *err)
{
    const struct pith_tensor *scores = NULL, *boxes = NULL;
    int rc = output_of(outputs, count, how->scores_output, 3, &scores, err);

    if (rc == 0)
        rc = output_of(outputs, count, how->boxes_output, 3, &boxes, err);
    if (rc < 0)
        return rc;
    if (boxes->shape.dim[2] != 4 || boxes->shape.dim[1] != scores->shape.dim[1])
        return pith_fail(err, -EINVAL, "detect: %lld boxes of %lld values for %lld scores",
                         (long long) boxes->shape.dim[1], (long long) boxes->shape.dim[2],
                         (long long) scores->shape.dim[1]);
    for (int64_t i = 0; rc == 0 && i < boxes->shape.dim[1]; i++)
        rc = take_item(how, scores, boxes, i, out);
    return rc;
}

/* ---- suppression and matching ---- */

double pith_box_overlap(const struct pith_box *a, const struct pith_box *b)
{
    double w = fmin((double) a->x1, (double) b->x1) - fmax((double) a->x0, (double) b->x0);
    double h = fmin((double) a->y1, (double) b->y1) - fmax((double) a->y0, (double) b->y0);

    if (w <= 0 || h <= 0)
        return 0;
    double both = w * h;

    return both / ((double) (a->x1 - a->x0) * (double) (a->y1 - a->y0) +
                   (double) (b->x1 - b->x0) * (double) (b->y1 - b->y0) - both);
}

static int surest_first(const void *a, const void *b)
{
    const struct pith_box *x = a, *y = b;

    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (x->class_index != y->class_index)
        return x->class_index < y->class_index ? -1 : 1;
    if (x->x0 != y->x0)
        return x->x0 < y->x0 ? -1 : 1;
    return x->y0 < y->y0 ? -1 : x->y0 > y->y0;
}

static void suppress(struct pith_detections *out, double nms, size_t most)
{
    size_t kept = 0;

    for (size_t i = 0; i < out->count && kept < most; i++) {
        struct pith_box box = out->boxes[i];
        bool told = false;

        for (size_t k = 0; k < kept && !told; k++)
            told = out->boxes[k].class_index == box.class_index &&
                   pith_box_overlap(&out->boxes[k], &box) > nms;
        if (!told)
            out->boxes[kept++] = box;
    }
    out->count = kept;
}

int pith_detect(const struct pith_detect *how, const struct pith_tensor *outputs,
                size_t output_count, struct pith_detections *out, struct pith_error *err)
{
    int rc;

    out->count = 0;
    rc = how->form == PITH_DETECT_GRID ? decode_grid(how, outputs, output_count, out, err)
                                       : decode_list(how, outputs, output_count, out, err);
    if (rc < 0)
        return rc == -ENOMEM ? pith_fail(err, rc, "no memory for detections") : rc;
    if (out->count > 0)
        qsort(out->boxes, out->count, sizeof *out->boxes, surest_first);
    suppress(out, how->nms, how->most > 0 ? (size_t) how->most : SIZE_MAX);
    return 0;
}

#define MATCH_OVERLAP 0.5

void pith_detections_match(const struct pith_detections *detections, const struct pith_box *boxes,
                           size_t box_count, uint8_t *taken, uint8_t *hit)
{
    for (size_t k = 0; k < box_count; k++)
        taken[k] = 0;
    for (size_t i = 0; i < detections->count; i++) {
        const struct pith_box *box = &detections->boxes[i];
        double best = MATCH_OVERLAP;
        size_t at = SIZE_MAX;

        for (size_t k = 0; k < box_count; k++) {
            double overlap = !taken[k] && boxes[k].class_index == box->class_index
                                 ? pith_box_overlap(box, &boxes[k])
                                 : 0;

            if (overlap >= best) {
                best = overlap;
                at = k;
            }
        }
        hit[i] = at != SIZE_MAX;
        if (at != SIZE_MAX)
            taken[at] = 1;
    }
}
