/* One operator on channels-last values: its planar inputs are brought to that layout, the kernel is
 * prepared and run, and the first output is brought back. What a kernel must not read or may not
 * write is filled with NaN and with marks. */
#ifndef PITH_TESTS_IMAGE_STEP_H
#define PITH_TESTS_IMAGE_STEP_H

#include "tests/unit/one_step.h"

#include <math.h>

#define IMAGE_STEP_MARK 1234.5F

struct image_step_options {
    uint32_t constants; /* bit i: input i is a constant, known in prepare, and stays planar */
    int32_t halo[4];    /* of every input image: top, bottom, left, right */
    int32_t out_halo[4];
    int64_t in_gap, out_gap; /* channels of a wider value that lie behind each pixel's own */
    struct pith_activation activation;
    struct pith_residual residual; /* set: its input is the last one, which the node doesn't have */
    uint32_t parts;                /* 0: run; else run_part, that many */
    bool tight_rows;               /* else a few elements lie between rows */
};

struct image_block {
    struct pith_image image;
    struct pith_image_dims dims;
    float *block, *data; /* data: pixel (0,0) of picture 0 */
    int64_t count;
};

static inline int64_t image_block_at(const struct image_block *b, int64_t n, int64_t c, int64_t h,
                                     int64_t w)
{
    return n * b->image.picture + h * b->image.row + w * b->image.pixel + c;
}

static inline void image_block_init(struct image_block *b, const struct pith_shape *shape,
                                    const int32_t *halo, int64_t gap, bool tight, float fill)
{
    int64_t row;

    b->dims = pith_image_dims(shape);
    b->image = (struct pith_image){.channels_last = true,
                                   .pixel = b->dims.c + gap,
                                   .top = halo[0],
                                   .bottom = halo[1],
                                   .left = halo[2],
                                   .right = halo[3]};
    row = (halo[2] + b->dims.w + halo[3]) * b->image.pixel + (tight ? 0 : 3);
    b->image.row = row;
    b->image.picture = (halo[0] + b->dims.h + halo[1]) * row + (tight ? 0 : 5);
    b->count = b->dims.n * b->image.picture + PITH_IMAGE_SLACK_BYTES / (int64_t) sizeof(float);
    b->block = malloc((size_t) b->count * sizeof(float));
    assert_non_null(b->block);
    for (int64_t i = 0; i < b->count; i++)
        b->block[i] = fill;
    b->data = b->block + halo[0] * row + halo[2] * b->image.pixel;
}

/* Element (n,c,h,w) of a planar tensor. */
static inline int64_t image_planar_at(const struct pith_image_dims *d, int64_t n, int64_t c,
                                      int64_t h, int64_t w)
{
    return ((n * d->c + c) * d->h + h) * d->w + w;
}

static inline void image_block_fill(struct image_block *b, const struct pith_tensor *planar)
{
    const struct pith_image_dims *d = &b->dims;
    const float zero = 0.0F;

    pith_image_fill_halo(&b->image, d, b->data, sizeof zero, &zero);
    for (int64_t n = 0; n < d->n; n++)
        for (int64_t c = 0; c < d->c; c++)
            for (int64_t h = 0; h < d->h; h++)
                for (int64_t w = 0; w < d->w; w++)
                    b->data[image_block_at(b, n, c, h, w)] =
                        (float) pith_tensor_get(planar, image_planar_at(d, n, c, h, w));
}

/* The halo is zeros, and nothing but pictures and halo was written. Takes what belongs to the value
 * out of the block. */
static inline void image_block_take(struct image_block *b, struct pith_tensor *planar)
{
    const struct pith_image_dims *d = &b->dims;
    const struct pith_image *m = &b->image;

    for (int64_t n = 0; n < d->n; n++)
        for (int64_t h = -m->top; h < d->h + m->bottom; h++)
            for (int64_t w = -m->left; w < d->w + m->right; w++)
                for (int64_t c = 0; c < d->c; c++) {
                    float *x = &b->data[image_block_at(b, n, c, h, w)];

                    if (h >= 0 && h < d->h && w >= 0 && w < d->w)
                        pith_tensor_set(planar, image_planar_at(d, n, c, h, w), (double) *x);
                    else if (*x != 0.0F)
                        fail_msg("the halo holds %g at %d %d %d %d", (double) *x, (int) n, (int) c,
                                 (int) h, (int) w);
                    *x = IMAGE_STEP_MARK;
                }
    for (int64_t i = 0; i < b->count; i++)
        if (b->block[i] != IMAGE_STEP_MARK)
            fail_msg("element %d outside of the value was written", (int) i);
}

/* Runs the node of `s`, whose shapes are inferred, and leaves output 0, planar, in s->output[0].
 * Returns what prepare says; where that is an error nothing was run. */
static inline int image_step_run(struct one_step *s, const struct image_step_options *o)
{
    const size_t inputs = s->input_count + (o->residual.set ? 1 : 0);
    const int64_t opset = pith_graph_opset(s->graph, "");
    struct pith_image input_image[PITH_STEP_PORTS] = {{0}}, output_image[PITH_STEP_PORTS] = {{0}};
    struct image_block in[PITH_STEP_PORTS] = {{{0}}}, out;
    struct pith_tensor result = {0};
    int32_t types[PITH_STEP_PORTS] = {0};
    const char *why = "";
    int rc;

    for (size_t i = 0; i < PITH_STEP_PORTS; i++)
        pith_tensor_free(&s->output[i]);
    memset(s->input, 0, sizeof s->input);
    for (size_t i = 0; i < inputs; i++) {
        s->input[i] = s->data[i];
        types[i] = s->data[i].dtype;
        if (o->constants >> i & 1 || types[i] == PITH_DTYPE_NONE)
            continue;
        s->input[i].data = NULL;
        if (s->data[i].shape.rank < 3)
            continue;
        image_block_init(&in[i], &s->data[i].shape, o->halo, o->in_gap, o->tight_rows, NAN);
        image_block_fill(&in[i], &s->data[i]);
        input_image[i] = in[i].image;
    }
    assert_ok(pith_tensor_alloc(&result, PITH_FLOAT32,
                                pith_value_shape(s->graph, s->output_value[0]), &s->err),
              &s->err);
    image_block_init(&out, &result.shape, o->out_halo, o->out_gap, o->tight_rows, IMAGE_STEP_MARK);
    output_image[0] = out.image;
    s->output[0] = (struct pith_tensor){.dtype = PITH_FLOAT32, .shape = result.shape};
    s->step =
        (struct pith_step){.graph = s->graph,
                           .node = s->node,
                           .opset = opset,
                           .name = "n",
                           .input_count = inputs,
                           .output_count = s->output_count,
                           .input = s->input,
                           .output = s->output,
                           .activation = o->activation.set ? o->activation : PITH_ACTIVATION_NONE,
                           .residual = o->residual,
                           .input_image = input_image,
                           .output_image = output_image,
                           .threads = o->parts};
    s->step.residual.input = s->input_count;
    s->step.kernel =
        pith_kernel_find("", pith_node_op(s->graph, s->node), opset, types, s->input_count,
                         PITH_FLOAT32, PITH_KERNEL_CHANNELS_LAST, &why);
    if (!s->step.kernel)
        fail_msg("%s: %s", pith_node_op(s->graph, s->node), why);
    rc = pith_step_prepare(&s->step, &s->err);
    if (rc == 0) {
        for (size_t i = 0; i < inputs; i++)
            s->input[i].data = in[i].data ? (void *) in[i].data : s->data[i].data;
        s->output[0].data = out.data;
        s->step.scratch = s->step.scratch_bytes
                              ? aligned_alloc(64, (s->step.scratch_bytes + 63) / 64 * 64)
                              : NULL;
        for (uint32_t part = o->parts; part-- > 0 && s->step.parts >= o->parts;)
            s->step.kernel->run_part(&s->step, part, o->parts);
        if (s->step.parts < o->parts || o->parts == 0)
            rc = s->step.kernel->run(&s->step, &s->err);
        free(s->step.scratch);
        image_block_take(&out, &result);
    }
    for (size_t i = 0; i < inputs; i++)
        free(in[i].block);
    free(out.block);
    pith_step_done(&s->step);
    s->output[0] = result;
    return rc;
}

#endif
