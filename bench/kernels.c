/* Times single layers: one operator on channels-last values, prepared and run by itself.
 *   bench/kernels [-s SECONDS] [OP N,C,H,W M,K,STRIDE,GROUPS]...
 * OP is conv. Without layers: those that small networks consist of. Printed are the 10th percentile
 * of many short rounds and the median in microseconds, and 10^9 multiply-adds a second. PITH_ISA
 * caps the instructions. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <pith/graph.h>

#include "libpith/graph/operator.h"
#include "libpith/kernels/isa.h"
#include "libpith/kernels/kernel.h"

#define ROUNDS         2000
#define ROUND_LEAST_US 50.0

struct layer {
    int64_t n, c, h, w; /* input */
    int64_t m, kernel, stride, group;
};

static const struct layer usual[] = {
    {1, 3, 32, 32, 16, 3, 1, 1},    {1, 16, 32, 32, 16, 3, 1, 1},
    {1, 16, 32, 32, 32, 3, 2, 1},   {1, 32, 16, 16, 32, 3, 1, 1},
    {1, 64, 8, 8, 64, 3, 1, 1},     {1, 64, 25, 5, 64, 1, 1, 1},
    {1, 64, 25, 5, 64, 3, 1, 64},   {1, 8, 48, 48, 8, 3, 1, 8},
    {1, 8, 48, 48, 16, 1, 1, 1},    {1, 16, 48, 48, 16, 3, 2, 16},
    {1, 128, 6, 6, 128, 1, 1, 1},   {1, 3, 224, 224, 64, 7, 2, 1},
    {1, 64, 56, 56, 64, 3, 1, 1},   {1, 128, 28, 28, 128, 3, 1, 1},
    {1, 256, 14, 14, 256, 3, 1, 1}, {1, 512, 7, 7, 512, 3, 1, 1},
    {1, 3, 224, 224, 32, 3, 2, 1},  {1, 32, 112, 112, 32, 3, 1, 32},
    {1, 16, 112, 112, 96, 1, 1, 1}, {1, 96, 112, 112, 96, 3, 2, 96},
    {1, 24, 56, 56, 144, 1, 1, 1},  {1, 144, 56, 56, 24, 1, 1, 1},
    {1, 64, 14, 14, 384, 1, 1, 1},  {1, 384, 14, 14, 384, 3, 1, 384},
    {1, 960, 7, 7, 160, 1, 1, 1},   {1, 320, 7, 7, 1280, 1, 1, 1},
};

static double now_us(void)
{
    struct timespec t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec * 1e6 + (double) t.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *) a, y = *(const double *) b;

    return (x > y) - (x < y);
}

/* Rounds of at least ROUND_LEAST_US until the time is over. */
static void time_step(struct pith_step *step, double seconds, double *quiet_us, double *median_us)
{
    static double rounds[ROUNDS];
    const double begun = now_us();
    size_t count = 0;
    int runs = 1;

    while (count < ROUNDS && (count < 5 || now_us() - begun < seconds * 1e6)) {
        const double start = now_us();
        double took;

        for (int i = 0; i < runs; i++)
            (void) step->kernel->run(step, NULL);
        took = now_us() - start;
        if (took < ROUND_LEAST_US && runs < 1 << 20)
            runs *= 2;
        else
            rounds[count++] = took / runs;
    }
    qsort(rounds, count, sizeof *rounds, by_value);
    *quiet_us = rounds[count / 10];
    *median_us = rounds[count / 2];
}

static int add_tensor(struct pith_graph *graph, struct pith_tensor *tensor, const int64_t *dims,
                      uint32_t rank, uint32_t *value, struct pith_error *err)
{
    struct pith_shape shape = {.rank = rank};
    int rc;

    memcpy(shape.dim, dims, rank * sizeof *dims);
    rc = pith_tensor_alloc(tensor, PITH_FLOAT32, &shape, err);
    for (int64_t i = 0; rc == 0 && i < pith_shape_elements(&shape); i++)
        ((float *) tensor->data)[i] = (float) (i * 7919 % 257 - 128) / 128.0F;
    return rc < 0 ? rc : pith_graph_add_value(graph, NULL, PITH_FLOAT32, &shape, value, err);
}

static struct pith_image image_of(const struct pith_shape *shape, int32_t halo)
{
    const struct pith_image_dims d = pith_image_dims(shape);
    const int64_t row = (d.w + 2 * halo) * d.c;

    return (struct pith_image){.channels_last = true,
                               .pixel = d.c,
                               .row = row,
                               .picture = (d.h + 2 * halo) * row,
                               .top = halo,
                               .bottom = halo,
                               .left = halo,
                               .right = halo};
}

/* A block for the value, zeroed; *at is its first pixel. */
static float *image_alloc(const struct pith_shape *shape, const struct pith_image *image,
                          float **at)
{
    const size_t bytes =
        (size_t) (shape->dim[0] * image->picture) * sizeof(float) + PITH_IMAGE_SLACK_BYTES;
    float *block = aligned_alloc(64, (bytes + 63) / 64 * 64);

    if (!block)
        abort();
    memset(block, 0, (bytes + 63) / 64 * 64);
    *at = block + image->top * image->row + image->left * image->pixel;
    return block;
}

static void print_times(const struct layer *l, const struct pith_step *step, double quiet,
                        double median)
{
    char text[96];

    (void) snprintf(text, sizeof text, "conv %lld,%lld,%lld,%lld %lld,%lld,%lld,%lld",
                    (long long) l->n, (long long) l->c, (long long) l->h, (long long) l->w,
                    (long long) l->m, (long long) l->kernel, (long long) l->stride,
                    (long long) l->group);
    (void) printf("%-40s %10.2f %10.2f %8.1f  %s\n", text, quiet, median,
                  (double) step->macs / quiet / 1e3, step->kernel->name);
}

static int time_layer(const struct layer *l, double seconds, struct pith_error *err)
{
    const int64_t x_dims[] = {l->n, l->c, l->h, l->w},
                  w_dims[] = {l->m, l->c / l->group, l->kernel, l->kernel};
    const int64_t half = l->kernel / 2, pads[] = {half, half, half, half},
                  strides[] = {l->stride, l->stride};
    const int32_t types[] = {PITH_FLOAT32, PITH_FLOAT32, PITH_FLOAT32};
    struct pith_tensor data[PITH_STEP_PORTS] = {0}, input[PITH_STEP_PORTS] = {0},
                       output[PITH_STEP_PORTS] = {0};
    struct pith_image input_image[PITH_STEP_PORTS] = {0}, output_image[PITH_STEP_PORTS] = {0};
    struct pith_step step = {.opset = 13,
                             .name = "layer",
                             .input_count = 3,
                             .output_count = 1,
                             .input = input,
                             .output = output,
                             .input_image = input_image,
                             .output_image = output_image,
                             .activation = {true, 1.0F, 0.0F, 6.0F},
                             .view = -1};
    struct pith_graph *graph = NULL;
    uint32_t value[3], result, node;
    float *blocks[2] = {NULL}, *x = NULL, *y = NULL;
    double quiet, median;
    int rc;

    rc = pith_graph_new(&graph, "bench", err);
    if (rc == 0)
        rc = pith_graph_set_opset(graph, "", 13);
    if (rc == 0)
        rc = add_tensor(graph, &data[0], x_dims, 4, &value[0], err);
    if (rc == 0)
        rc = add_tensor(graph, &data[1], w_dims, 4, &value[1], err);
    if (rc == 0)
        rc = add_tensor(graph, &data[2], w_dims, 1, &value[2], err);
    if (rc == 0)
        rc = pith_graph_add_value(graph, NULL, PITH_DTYPE_NONE, NULL, &result, err);
    if (rc == 0)
        rc = pith_graph_add_node(graph, "", "Conv", "layer", value, 3, &result, 1, &node, err);
    if (rc < 0)
        goto done;
    rc = pith_node_set_ints(graph, node, "pads", pads, 4);
    if (rc == 0)
        rc = pith_node_set_ints(graph, node, "strides", strides, 2);
    if (rc == 0)
        rc = pith_node_set_int(graph, node, "group", l->group);
    if (rc == 0)
        rc = pith_graph_infer_node(graph, node, err);
    if (rc < 0)
        goto done;
    memcpy(input, data, sizeof input);
    input[0].data = NULL;
    output[0] =
        (struct pith_tensor){.dtype = PITH_FLOAT32, .shape = *pith_value_shape(graph, result)};
    input_image[0] = image_of(&input[0].shape, (int32_t) half);
    output_image[0] = image_of(&output[0].shape, l->kernel > 1 ? 1 : 0);
    step.graph = graph;
    step.node = node;
    step.kernel =
        pith_kernel_find("", "Conv", 13, types, 3, PITH_FLOAT32, PITH_KERNEL_CHANNELS_LAST, NULL);
    rc = pith_step_prepare(&step, err);
    if (rc < 0)
        goto done;
    blocks[0] = image_alloc(&input[0].shape, &input_image[0], &x);
    blocks[1] = image_alloc(&output[0].shape, &output_image[0], &y);
    input[0].data = x;
    output[0].data = y;
    step.scratch = aligned_alloc(64, (step.scratch_bytes + 64) / 64 * 64);
    time_step(&step, seconds, &quiet, &median);
    print_times(l, &step, quiet, median);
    free(step.scratch);
done:
    pith_step_done(&step);
    free(blocks[0]);
    free(blocks[1]);
    for (int i = 0; i < 3; i++)
        pith_tensor_free(&data[i]);
    pith_graph_free(graph);
    return rc;
}

static int read_layer(char **words, struct layer *l)
{
    long long v[8];

    if (strcmp(words[0], "conv") != 0 ||
        sscanf(words[1], "%lld,%lld,%lld,%lld", &v[0], &v[1], &v[2], &v[3]) != 4 ||
        sscanf(words[2], "%lld,%lld,%lld,%lld", &v[4], &v[5], &v[6], &v[7]) != 4)
        return -1;
    for (int i = 0; i < 8; i++)
        if (v[i] < 1 || v[i] > 1 << 16)
            return -1;
    *l = (struct layer){v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]};
    return l->c % l->group == 0 && l->m % l->group == 0 ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct pith_error err = {0};
    double seconds = 0.2;
    int option;

    while ((option = getopt(argc, argv, "s:")) != -1) {
        if (option != 's')
            return 2;
        seconds = strtod(optarg, NULL);
    }
    (void) printf("%-40s %10s %10s %8s  kernel (%s)\n", "layer: N,C,H,W M,K,stride,groups",
                  "quiet us", "median us", "GMAC/s", pith_isa_name(pith_isa()));
    for (size_t i = 0; optind >= argc && i < sizeof usual / sizeof *usual; i++)
        if (time_layer(&usual[i], seconds, &err) < 0)
            goto failed;
    for (; optind < argc; optind += 3) {
        struct layer l;

        if (argc - optind < 3 || read_layer(argv + optind, &l) < 0) {
            (void) fprintf(stderr, "a layer is: conv N,C,H,W M,K,STRIDE,GROUPS, with channels that "
                                   "the groups divide\n");
            return 2;
        }
        if (time_layer(&l, seconds, &err) < 0)
            goto failed;
    }
    return 0;
failed:
    (void) fprintf(stderr, "%s\n", pith_error_text(&err));
    return 1;
}
