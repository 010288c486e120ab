/* Times single integer layers of small nets in every form that this CPU has, beside what its
 * multipliers reach: kernels_s8 [SECONDS [WEIGHTS [LAYER]]], of each layer and form; default 0.1.
 * WEIGHTS: 8 bits (the default), 4 bits, 2:4 (two of four input channels are 0), or 1x4 (four of five
 * runs of four input channels are). LAYER: what the names of those to time contain ("3x3"). One
 * thread: pin it. A figure is the lowest tenth of many short rounds; a star marks the form that is
 * taken. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "libpith/graph/operator.h"
#include "libpith/kernels/image_conv_s8.h"

#define ROUNDS    40
#define FORMS_MAX 40

struct layer {
    const char *net;
    int64_t size[2], in, out, kernel[2], stride, groups;
};

static const struct layer layers[] = {
    {"dscnn stem", {49, 10}, 1, 64, {10, 4}, 2, 1},
    {"dscnn depthwise", {25, 5}, 64, 64, {3, 3}, 1, 64},
    {"dscnn pointwise", {25, 5}, 64, 64, {1, 1}, 1, 1},
    {"resnet8 stem", {32, 32}, 3, 16, {3, 3}, 1, 1},
    {"resnet8 3x3", {32, 32}, 16, 16, {3, 3}, 1, 1},
    {"resnet8 3x3", {16, 16}, 32, 32, {3, 3}, 1, 1},
    {"resnet8 3x3", {8, 8}, 64, 64, {3, 3}, 1, 1},
    {"vww stem", {96, 96}, 3, 8, {3, 3}, 2, 1},
    {"vww depthwise", {48, 48}, 8, 8, {3, 3}, 1, 8},
    {"vww depthwise", {48, 48}, 16, 16, {3, 3}, 2, 16},
    {"vww depthwise", {24, 24}, 32, 32, {3, 3}, 1, 32},
    {"vww depthwise", {6, 6}, 128, 128, {3, 3}, 1, 128},
    {"vww pointwise", {48, 48}, 8, 16, {1, 1}, 1, 1},
    {"vww pointwise", {24, 24}, 16, 32, {1, 1}, 1, 1},
    {"vww pointwise", {12, 12}, 64, 64, {1, 1}, 1, 1},
    {"vww pointwise", {6, 6}, 128, 128, {1, 1}, 1, 1},
    {"vww pointwise", {3, 3}, 256, 256, {1, 1}, 1, 1},
    {"ad01 first", {1, 1}, 640, 128, {1, 1}, 1, 1},
    {"ad01 middle", {1, 1}, 128, 128, {1, 1}, 1, 1},
    {"mobilenetv2 stem", {224, 224}, 3, 32, {3, 3}, 2, 1},
    {"mobilenetv2 depthwise", {112, 112}, 32, 32, {3, 3}, 1, 32},
    {"mobilenetv2 project", {112, 112}, 32, 16, {1, 1}, 1, 1},
    {"mobilenetv2 expand", {112, 112}, 16, 96, {1, 1}, 1, 1},
    {"mobilenetv2 expand", {56, 56}, 24, 144, {1, 1}, 1, 1},
    {"mobilenetv2 depthwise", {112, 112}, 96, 96, {3, 3}, 2, 96},
    {"mobilenetv2 depthwise", {56, 56}, 144, 144, {3, 3}, 1, 144},
    {"mobilenetv2 depthwise", {56, 56}, 144, 144, {3, 3}, 2, 144},
    {"mobilenetv2 depthwise", {28, 28}, 192, 192, {3, 3}, 1, 192},
    {"mobilenetv2 depthwise", {28, 28}, 192, 192, {3, 3}, 2, 192},
    {"mobilenetv2 depthwise", {14, 14}, 384, 384, {3, 3}, 1, 384},
    {"mobilenetv2 depthwise", {14, 14}, 576, 576, {3, 3}, 2, 576},
    {"mobilenetv2 depthwise", {7, 7}, 960, 960, {3, 3}, 1, 960},
    {"mobilenetv2 project", {56, 56}, 144, 24, {1, 1}, 1, 1},
    {"mobilenetv2 expand", {28, 28}, 32, 192, {1, 1}, 1, 1},
    {"mobilenetv2 project", {28, 28}, 192, 32, {1, 1}, 1, 1},
    {"mobilenetv2 project", {14, 14}, 384, 64, {1, 1}, 1, 1},
    {"mobilenetv2 expand", {14, 14}, 96, 576, {1, 1}, 1, 1},
    {"mobilenetv2 project", {7, 7}, 960, 160, {1, 1}, 1, 1},
    {"mobilenetv2 last", {7, 7}, 320, 1280, {1, 1}, 1, 1},
    {"mobilenetv2 gemm", {1, 1}, 1280, 1000, {1, 1}, 1, 1},
    {"resnet18 stem", {224, 224}, 3, 64, {7, 7}, 2, 1},
    {"resnet18 3x3", {56, 56}, 64, 64, {3, 3}, 1, 1},
    {"resnet18 3x3 stride 2", {56, 56}, 64, 128, {3, 3}, 2, 1},
    {"resnet18 3x3 stride 2", {28, 28}, 128, 256, {3, 3}, 2, 1},
    {"resnet18 3x3 stride 2", {14, 14}, 256, 512, {3, 3}, 2, 1},
    {"resnet18 3x3", {28, 28}, 128, 128, {3, 3}, 1, 1},
    {"resnet18 3x3", {14, 14}, 256, 256, {3, 3}, 1, 1},
    {"resnet18 3x3", {7, 7}, 512, 512, {3, 3}, 1, 1},
};

static double now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec * 1e6 + (double) t.tv_nsec / 1e3;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *) a, y = *(const double *) b;

    return (x > y) - (x < y);
}

static double quiet(double *us)
{
    qsort(us, ROUNDS, sizeof *us, ascending);
    return us[ROUNDS / 10];
}

/* ---- what the multipliers reach ---- */

#if defined __x86_64__
#include <immintrin.h>

#define SUMS 12 /* independent chains: more than an instruction's latency */

#define LIMIT(name, attribute, vector, zero, step)                                                 \
    attribute static void name(int64_t count)                                                      \
    {                                                                                              \
        vector sum[SUMS], x = zero;                                                                \
                                                                                                   \
        __asm__ volatile("" : "+v"(x));                                                            \
        _Pragma("GCC unroll 12") for (int i = 0; i < SUMS; i++) sum[i] = x;                        \
        for (int64_t n = 0; n < count; n++)                                                        \
            _Pragma("GCC unroll 12") for (int i = 0; i < SUMS; i++)                                \
            {                                                                                      \
                sum[i] = step;                                                                     \
                __asm__ volatile("" : "+v"(sum[i]));                                               \
            }                                                                                      \
    }

LIMIT(limit_vnni, __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni"))), __m512i,
      _mm512_setzero_si512(), _mm512_dpbusd_epi32(sum[i], x, x))
LIMIT(limit_avx512, __attribute__((target("avx512f,avx512bw,avx512vl"))), __m512i,
      _mm512_setzero_si512(), _mm512_add_epi32(sum[i], _mm512_madd_epi16(x, sum[i])))
LIMIT(limit_avx2, __attribute__((target("avx2"))), __m256i, _mm256_setzero_si256(),
      _mm256_add_epi32(sum[i], _mm256_madd_epi16(x, sum[i])))

static void print_limits(void)
{
    static const struct {
        enum pith_isa isa;
        void (*run)(int64_t count);
        int macs;
    } limits[] = {{PITH_ISA_AVX512_VNNI, limit_vnni, 64},
                  {PITH_ISA_AVX512, limit_avx512, 32},
                  {PITH_ISA_AVX2, limit_avx2, 16}};
    const int64_t count = 20000;

    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        double us[ROUNDS];

        if (!pith_isa_runs(limits[i].isa))
            continue;
        for (int round = 0; round < ROUNDS; round++) {
            const double start = now_us();

            limits[i].run(count);
            us[round] = now_us() - start;
        }
        printf("%-11s %6.1f GMAC/s in registers\n", pith_isa_name(limits[i].isa),
               (double) (count * SUMS * limits[i].macs) / quiet(us) / 1e3);
    }
}
#else
static void print_limits(void)
{
}
#endif

/* ---- layers ---- */

struct bench {
    struct pith_graph *graph;
    struct pith_tensor input[PITH_STEP_PORTS + 1], output[PITH_STEP_PORTS + 1];
    const struct pith_quantization *grids[PITH_STEP_PORTS + 1];
    struct pith_image in, out;
    uint8_t *x, *y;
    int8_t *w;
    struct pith_step step;
};

static struct pith_image image_of(const struct pith_shape *shape, int32_t halo)
{
    const int64_t row = (shape->dim[3] + 2 * halo) * shape->dim[1];

    return (struct pith_image){true, shape->dim[1], row,  (shape->dim[2] + 2 * halo) * row,
                               halo, halo,          halo, halo};
}

/* Scatters, always in the same way. */
static uint32_t mixed(int64_t i)
{
    uint32_t x = (uint32_t) i * 2654435761U;

    x ^= x >> 15;
    x *= 2246822519U;
    return x ^ x >> 13;
}

/* One of (out, in, taps) weights. */
static int8_t weight_at(const struct layer *l, const char *kind, int64_t i)
{
    static const uint8_t pairs[6] = {3, 5, 6, 9, 10, 12};
    const int64_t taps = l->kernel[0] * l->kernel[1], each = l->in / l->groups,
                  channel = i / taps % each,
                  four = (i / taps / each * taps + i % taps) * ((each + 3) / 4) + channel / 4;
    const int8_t w = (int8_t) (i * 37 % 255 - 127);

    if (strcmp(kind, "4") == 0)
        return (int8_t) (i * 37 % 16 - 8);
    if (strcmp(kind, "2:4") == 0)
        return pairs[mixed(four) % 6] >> channel % 4 & 1 ? w : 0;
    if (strcmp(kind, "1x4") == 0)
        return mixed(four) % 5 == 0 ? w : 0;
    return w;
}

/* As values lie in an arena: at a multiple of 64. */
static void *zeroed(size_t bytes)
{
    void *block = aligned_alloc(64, (bytes + 63) / 64 * 64);

    return block ? memset(block, 0, bytes) : NULL;
}

static int prepare(struct bench *b, const struct layer *l, const char *kind, struct pith_error *err)
{
    static const float scale = 0.1F;
    static const int32_t zero = 0;
    static struct pith_quantization bytes = {.count = 1, .scale = &scale, .zero_point = &zero};
    const int32_t halo = (int32_t) (l->kernel[0] / 2);
    const int64_t pads[4] = {l->kernel[0] / 2, l->kernel[1] / 2, (l->kernel[0] - 1) / 2,
                             (l->kernel[1] - 1) / 2},
                  strides[2] = {l->stride, l->stride};
    const struct pith_shape x = {4, {1, l->in, l->size[0], l->size[1]}},
                            w = {4, {l->out, l->in / l->groups, l->kernel[0], l->kernel[1]}};
    const int64_t weights = pith_shape_elements(&w);
    uint32_t in[2], out;
    int rc = pith_graph_new(&b->graph, "bench", err);

    bytes.dtype = pith_image_integer_dtype();
    if (rc == 0)
        rc = pith_graph_set_opset(b->graph, "", 19);
    if (rc == 0)
        rc = pith_graph_add_value(b->graph, NULL, PITH_FLOAT32, &x, &in[0], err);
    if (rc == 0)
        rc = pith_graph_add_value(b->graph, NULL, PITH_FLOAT32, &w, &in[1], err);
    if (rc == 0)
        rc = pith_graph_add_value(b->graph, NULL, PITH_DTYPE_NONE, NULL, &out, err);
    if (rc == 0)
        rc = pith_graph_add_node(b->graph, "", "Conv", "", in, 2, &out, 1, &b->step.node, err);
    if (rc == 0)
        rc = pith_node_set_ints(b->graph, b->step.node, "pads", pads, 4);
    if (rc == 0)
        rc = pith_node_set_ints(b->graph, b->step.node, "strides", strides, 2);
    if (rc == 0)
        rc = pith_node_set_int(b->graph, b->step.node, "group", l->groups);
    if (rc == 0)
        rc = pith_graph_infer_node(b->graph, b->step.node, err);
    if (rc < 0)
        return rc;
    b->output[0] =
        (struct pith_tensor){.dtype = bytes.dtype, .shape = *pith_value_shape(b->graph, out)};
    b->in = image_of(&x, halo);
    b->out = image_of(&b->output[0].shape, 0);
    b->x = zeroed((size_t) b->in.picture + PITH_IMAGE_SLACK_BYTES);
    b->y = zeroed((size_t) b->out.picture + PITH_IMAGE_SLACK_BYTES);
    b->w = malloc((size_t) weights);
    if (!b->x || !b->y || !b->w)
        return pith_fail(err, -12, "out of memory");
    for (int64_t i = 0; i < weights; i++)
        b->w[i] = weight_at(l, kind, i);
    b->input[0] = (struct pith_tensor){.dtype = bytes.dtype, .shape = x};
    b->input[1] = (struct pith_tensor){PITH_INT8, w, b->w, (size_t) weights};
    b->grids[0] = b->grids[1] = &bytes;
    b->step.kernel =
        pith_kernel_find("", "Conv", 19, (const int32_t[]){bytes.dtype, PITH_INT8}, 2, bytes.dtype,
                         PITH_KERNEL_QUANTIZED | PITH_KERNEL_CHANNELS_LAST, NULL);
    b->step.graph = b->graph;
    b->step.opset = 19;
    b->step.name = "";
    b->step.input_count = 2;
    b->step.output_count = 1;
    b->step.input = b->input;
    b->step.output = b->output;
    b->step.input_quantization = b->step.output_quantization = b->grids;
    b->step.input_image = &b->in;
    b->step.output_image = &b->out;
    b->step.activation = PITH_ACTIVATION_NONE;
    rc = pith_step_prepare(&b->step, err);
    b->input[0].data = b->x + (size_t) (b->in.top * b->in.row + b->in.left * b->in.pixel);
    b->output[0].data = b->y;
    return rc;
}

static void done(struct bench *b)
{
    pith_step_done(&b->step);
    pith_graph_free(b->graph);
    free(b->x), free(b->y), free(b->w);
}

/* us of one run of each form, in turns. */
static int time_forms(struct bench *b, double seconds, double (*us)[ROUNDS], size_t forms)
{
    for (size_t f = 0; f < forms; f++) {
        const int rc = pith_conv_s8_use(&b->step, pith_conv_s8_form_at(b->step.params, f));
        int64_t times = 1;

        if (rc < 0)
            return rc;
        b->step.scratch = aligned_alloc(64, (b->step.scratch_bytes + 64) / 64 * 64);
        if (!b->step.scratch)
            return -12;
        memset(us[f], 0, sizeof us[f]); /* 0 where it isn't one for this layer */
        for (int round = -1; rc == 0 && round < ROUNDS; round++) {
            const double start = now_us();

            for (int64_t i = 0; i < times; i++)
                (void) b->step.kernel->run(&b->step, NULL); /* can't fail */
            if (round >= 0) {
                us[f][round] = (now_us() - start) / (double) times;
                continue;
            }
            times = (int64_t) (seconds * 1e6 / ROUNDS / (now_us() - start + 0.1)) + 1;
        }
        free(b->step.scratch);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const double seconds = argc > 1 ? atof(argv[1]) : 0.1;
    const char *kind = argc > 2 ? argv[2] : "8";
    const char *wanted = argc > 3 ? argv[3] : "";
    struct pith_error err = {0};

    print_limits();
    printf("\n%-22s %-26s %-31s %9s %8s\n", "layer", "shape", "form", "us", "GMAC/s");
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        const struct layer *l = &layers[i];
        static double us[FORMS_MAX][ROUNDS];
        struct bench b = {0};
        char shape[64];
        size_t forms = 0;
        int rc;

        if (!strstr(l->net, wanted))
            continue;
        rc = prepare(&b, l, kind, &err);
        while (rc == 0 && forms < FORMS_MAX && pith_conv_s8_form_at(b.step.params, forms))
            forms++;
        if (rc == 0)
            rc = time_forms(&b, seconds, us, forms);
        if (rc < 0) {
            fprintf(stderr, "%s: %s\n", l->net, pith_error_text(&err));
            done(&b);
            return 1;
        }
        snprintf(shape, sizeof shape, "%dx%d %d>%d k%dx%d s%d", (int) l->size[0], (int) l->size[1],
                 (int) l->in, (int) l->out, (int) l->kernel[0], (int) l->kernel[1],
                 (int) l->stride);
        for (size_t f = 0, shown = 0; f < forms; f++) {
            const double best = quiet(us[f]);

            if (best == 0)
                continue;
            const char *name = pith_conv_s8_form_at(b.step.params, f)->name;

            printf("%-22s %-26s %-31s %9.2f %8.1f%s\n", shown ? "" : l->net, shown ? "" : shape,
                   name, best, (double) b.step.macs / best / 1e3,
                   strcmp(name, b.step.form) == 0 ? " *" : "");
            shown++;
        }
        done(&b);
    }
    return 0;
}
