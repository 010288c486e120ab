/* One quantized operator on channels-last bytes: a graph of one node, whose shapes are inferred as
 * floats, and a step with stored integers around it. Pictures lie in halos, with a gap behind each
 * pixel and row; what may not be written is watched. */
#ifndef PITH_TESTS_IMAGE_BYTES_H
#define PITH_TESTS_IMAGE_BYTES_H

#include "tests/testing.h"

#include <pith/graph.h>

#include "libpith/graph/operator.h"
#include "libpith/kernels/kernel.h"

#define MARK 0x5A

/* A channels-last value: bytes, or floats. */
struct picture {
    struct pith_shape shape;
    struct pith_image image;
    struct pith_image_dims dims;
    uint8_t *block, *data; /* data: pixel (0,0) of picture 0 */
    size_t element, bytes;
};

static inline uint8_t *picture_at(const struct picture *p, int64_t n, int64_t c, int64_t h,
                                  int64_t w)
{
    return p->data + (n * p->image.picture + h * p->image.row + w * p->image.pixel + c) *
                         (int64_t) p->element;
}

/* halo: top, bottom, left, right. gap: elements behind each pixel; a few more lie behind each row.
 */
static inline void picture_init(struct picture *p, const struct pith_shape *shape,
                                const int32_t *halo, int64_t gap, size_t element)
{
    const struct pith_image_dims d = pith_image_dims(shape);
    const int64_t pixel = d.c + gap, row = (halo[2] + d.w + halo[3]) * pixel + gap,
                  picture = (halo[0] + d.h + halo[1]) * row + 3 * gap;

    *p = (struct picture){.shape = *shape,
                          .dims = d,
                          .element = element,
                          .image = {true, pixel, row, picture, halo[0], halo[1], halo[2], halo[3]}};
    p->bytes = (size_t) (d.n * picture) * element + PITH_IMAGE_SLACK_BYTES;
    p->block = aligned_alloc(64, (p->bytes + 63) / 64 * 64);
    assert_non_null(p->block);
    memset(p->block, MARK, p->bytes);
    p->data = p->block + (size_t) (halo[0] * row + halo[2] * pixel) * element;
}

/* Fails where anything but pictures and halo differs from MARK, or the halo is not `zero`. */
static inline void picture_check_around(const struct picture *p, const void *zero)
{
    const struct pith_image *m = &p->image;
    uint8_t *copy = malloc(p->bytes);

    assert_non_null(copy);
    memcpy(copy, p->block, p->bytes);
    for (int64_t n = 0; n < p->dims.n; n++)
        for (int64_t h = -m->top; h < p->dims.h + m->bottom; h++)
            for (int64_t w = -m->left; w < p->dims.w + m->right; w++) {
                uint8_t *at = copy + (picture_at(p, n, 0, h, w) - p->block);

                if (h < 0 || h >= p->dims.h || w < 0 || w >= p->dims.w)
                    for (int64_t c = 0; c < p->dims.c; c++)
                        if (memcmp(at + (size_t) c * p->element, zero, p->element) != 0)
                            fail_msg("the halo at %d %d %d %d is not zero", (int) n, (int) c,
                                     (int) h, (int) w);
                memset(at, MARK, (size_t) p->dims.c * p->element);
            }
    for (size_t i = 0; i < p->bytes; i++)
        if (copy[i] != MARK)
            fail_msg("byte %zu outside of the value was written", i);
    free(copy);
}

/* Pictures equal in every byte that is theirs. */
static inline void picture_check_equal(const struct picture *a, const struct picture *b,
                                       const char *what)
{
    for (int64_t n = 0; n < a->dims.n; n++)
        for (int64_t h = 0; h < a->dims.h; h++)
            for (int64_t w = 0; w < a->dims.w; w++)
                for (int64_t c = 0; c < a->dims.c; c++) {
                    const uint8_t *x = picture_at(a, n, c, h, w), *y = picture_at(b, n, c, h, w);

                    if (memcmp(x, y, a->element) != 0)
                        fail_msg("%s: [%d,%d,%d,%d] is %d, not %d", what, (int) n, (int) c, (int) h,
                                 (int) w, x[0], y[0]);
                }
}

static inline int32_t stored_value(int32_t dtype, const void *byte)
{
    return dtype == PITH_INT8 ? *(const int8_t *) byte : *(const uint8_t *) byte;
}

/* Everything that a step points to. */
struct byte_step {
    struct pith_graph *graph;
    struct pith_tensor input[PITH_STEP_PORTS + 1], output[PITH_STEP_PORTS + 1];
    struct pith_image input_image[PITH_STEP_PORTS + 1], output_image[PITH_STEP_PORTS + 1];
    const struct pith_quantization *input_grid[PITH_STEP_PORTS + 1];
    const struct pith_quantization *output_grid[PITH_STEP_PORTS + 1];
    struct pith_step step;
    struct pith_error err;
};

/* A graph of one node `op` over inputs of these shapes; its attributes are still to be set. */
static inline void byte_step_init(struct byte_step *s, const char *op,
                                  const struct pith_shape *shapes, size_t count)
{
    uint32_t in[PITH_STEP_PORTS], out;

    *s = (struct byte_step){0};
    assert_int_equal(pith_graph_new(&s->graph, "test", NULL), 0);
    assert_int_equal(pith_graph_set_opset(s->graph, "", 19), 0);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(
            pith_graph_add_value(s->graph, NULL, PITH_FLOAT32, &shapes[i], &in[i], NULL), 0);
    assert_int_equal(pith_graph_add_value(s->graph, NULL, PITH_DTYPE_NONE, NULL, &out, NULL), 0);
    assert_int_equal(
        pith_graph_add_node(s->graph, "", op, "n", in, count, &out, 1, &s->step.node, NULL), 0);
    for (size_t i = 0; i < count; i++)
        s->input[i].shape = shapes[i];
    s->step.input_count = count;
}

/* Infers output 0's shape. */
static inline void byte_step_infer(struct byte_step *s)
{
    assert_ok(pith_graph_infer_node(s->graph, s->step.node, &s->err), &s->err);
    s->output[0].shape = *pith_value_shape(s->graph, pith_node_output(s->graph, s->step.node, 0));
}

/* Finds the kernel for what inputs and output hold and prepares the step. */
static inline int byte_step_prepare(struct byte_step *s, uint32_t form)
{
    const char *why = "";
    int32_t types[PITH_STEP_PORTS];

    for (size_t i = 0; i < PITH_STEP_PORTS; i++)
        types[i] = i < s->step.input_count ? s->input[i].dtype : PITH_DTYPE_NONE;
    s->step.graph = s->graph;
    s->step.opset = 19;
    s->step.name = "n";
    s->step.output_count = 1;
    s->step.input = s->input;
    s->step.output = s->output;
    s->step.input_quantization = s->input_grid;
    s->step.output_quantization = s->output_grid;
    s->step.input_image = s->input_image;
    s->step.output_image = s->output_image;
    if (!s->step.activation.set)
        s->step.activation = PITH_ACTIVATION_NONE;
    s->step.kernel = pith_kernel_find("", pith_node_op(s->graph, s->step.node), 19, types, 4,
                                      s->output[0].dtype, form, &why);
    if (!s->step.kernel)
        fail_msg("%s", why);
    return pith_step_prepare(&s->step, &s->err);
}

static inline void byte_step_done(struct byte_step *s)
{
    pith_step_done(&s->step);
    pith_graph_free(s->graph);
}

#endif
