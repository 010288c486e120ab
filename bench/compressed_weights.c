/* What compressed weights cost to run: one int8 model, beside itself with weights of four bits,
 * with blocks of zeros, and with two of four weights zero, all by the native engine and in turns.
 *
 *     compressed_weights MODEL [SECONDS [all|pointwise]]
 *
 * MODEL: ONNX or TensorFlow Lite, with int8 weights. SECONDS for each variant
 * (default 1). `pointwise`: only 1x1 convolutions are changed and counted, as in MobileNetV2; `all`
 * (the default): every Conv without groups, Gemm and MatMul. Zeros go by magnitude: what is least
 * of a layer. PITH_PLUGIN_PATH must lead to the engine. One thread: pin it. A figure is the lowest
 * tenth of many short rounds; `layers` is the sum over the layers that were changed, from times of
 * steps. Where ONNX Runtime is at hand (PITH_ONNXRUNTIME), it runs the int8 model as it is, in the
 * same turns, and the last column is each variant's time as a ratio to it. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpith/base/clock.h"
#include "libpith/compress/statistics.h"
#include "libpith/formats/open.h"
#include "libpith/plugin/plugins.h"

#include <pith/engine.h>

#define ROUNDS          40
#define INPUTS_MAX      8
#define MODEL_MAX_BYTES ((size_t) 1 << 30)
#define SPARSITY        0.8

/* ---- the variants ---- */

/* A layer's weights as numbers, output channels first. */
struct layer_weights {
    int64_t out, in, taps;
    int64_t o_step, i_step, tap_step; /* in the tensor */
    struct pith_tensor *w;
};

static double weight(const struct layer_weights *l, int64_t o, int64_t i, int64_t tap)
{
    return pith_tensor_get(l->w, o * l->o_step + i * l->i_step + tap * l->tap_step);
}

static void clear(const struct layer_weights *l, int64_t o, int64_t i, int64_t tap)
{
    pith_tensor_set(l->w, o * l->o_step + i * l->i_step + tap * l->tap_step, 0);
}

struct block {
    double magnitude;
    int64_t o, i, tap;
};

static int by_magnitude(const void *a, const void *b)
{
    const double x = ((const struct block *) a)->magnitude,
                 y = ((const struct block *) b)->magnitude;

    return (x > y) - (x < y);
}

/* Zeroes the least of the blocks of `tall` output by `wide` input channels. */
static int clear_blocks(const struct layer_weights *l, int64_t tall, int64_t wide)
{
    const int64_t rows = (l->out + tall - 1) / tall, cols = (l->in + wide - 1) / wide,
                  count = rows * cols * l->taps;
    struct block *blocks = calloc((size_t) count + 1, sizeof *blocks);
    int64_t at = 0;

    if (!blocks)
        return -ENOMEM;
    for (int64_t o = 0; o < l->out; o += tall)
        for (int64_t i = 0; i < l->in; i += wide)
            for (int64_t tap = 0; tap < l->taps; tap++, at++) {
                blocks[at] = (struct block){0, o, i, tap};
                for (int64_t a = o; a < o + tall && a < l->out; a++)
                    for (int64_t b = i; b < i + wide && b < l->in; b++)
                        blocks[at].magnitude += fabs(weight(l, a, b, tap));
            }
    qsort(blocks, (size_t) count, sizeof *blocks, by_magnitude);
    for (int64_t n = 0; n < (int64_t) (SPARSITY * (double) count); n++)
        for (int64_t a = blocks[n].o; a < blocks[n].o + tall && a < l->out; a++)
            for (int64_t b = blocks[n].i; b < blocks[n].i + wide && b < l->in; b++)
                clear(l, a, b, blocks[n].tap);
    free(blocks);
    return 0;
}

/* The two least of every four neighbours along the input channels. */
static void clear_two_of_four(const struct layer_weights *l)
{
    for (int64_t o = 0; o < l->out; o++)
        for (int64_t tap = 0; tap < l->taps; tap++)
            for (int64_t i = 0; i + 4 <= l->in; i += 4)
                for (int gone = 0; gone < 2; gone++) {
                    int64_t least = -1;

                    for (int64_t k = i; k < i + 4; k++)
                        if (weight(l, o, k, tap) != 0 &&
                            (least < 0 ||
                             fabs(weight(l, o, k, tap)) < fabs(weight(l, o, least, tap))))
                            least = k;
                    if (least >= 0)
                        clear(l, o, least, tap);
                }
}

enum change {
    AS_IT_IS,
    FOUR_BITS,
    BLOCKS_1X4,
    BLOCKS_4X1,
    BLOCKS_16X1,
    BLOCKS_16X4,
    SINGLE,
    TWO_OF_FOUR,
    REAL, /* from here on all other values are floats */
    REAL_FLOAT16,
    REAL_BFLOAT16,
    REAL_EIGHT_BITS,
    REAL_FOUR_BITS,
};

static const struct {
    const char *name;
    enum change change;
} variants[] = {{"int8", AS_IT_IS},
                {"int4", FOUR_BITS},
                {"80 % zeros, 1x4", BLOCKS_1X4},
                {"80 % zeros, 4x1", BLOCKS_4X1},
                {"80 % zeros, 16x1", BLOCKS_16X1},
                {"80 % zeros, 16x4", BLOCKS_16X4},
                {"80 % zeros, single", SINGLE},
                {"2:4", TWO_OF_FOUR},
                {"float32", REAL},
                {"float16, float", REAL_FLOAT16},
                {"bfloat16, float", REAL_BFLOAT16},
                {"int8, float", REAL_EIGHT_BITS},
                {"int4, float", REAL_FOUR_BITS}};
#define VARIANTS (sizeof variants / sizeof *variants)
#define PEER       VARIANTS /* behind them: ONNX Runtime, with the model as it is */
#define CONTENDERS (VARIANTS + 1)

static int change_weights(const struct layer_weights *l, enum change change)
{
    switch (change) {
    case BLOCKS_1X4:
        return clear_blocks(l, 1, 4);
    case BLOCKS_4X1:
        return clear_blocks(l, 4, 1);
    case BLOCKS_16X1:
        return clear_blocks(l, 16, 1);
    case BLOCKS_16X4:
        return clear_blocks(l, 16, 4);
    case SINGLE:
        return clear_blocks(l, 1, 1);
    case TWO_OF_FOUR:
        clear_two_of_four(l);
        return 0;
    default:
        return 0;
    }
}

static bool is_changed(const struct pith_graph *graph, uint32_t node, bool pointwise,
                       struct layer_weights *l)
{
    const char *op = pith_node_op(graph, node);
    const uint32_t value = pith_node_input(graph, node, 1);
    const struct pith_tensor *w = value == PITH_NO_VALUE ? NULL : pith_value_constant(graph, value);
    const bool conv = strcmp(op, "Conv") == 0, gemm = strcmp(op, "Gemm") == 0;
    const bool turned = conv || (gemm && pith_node_int(graph, node, "transB", 0) != 0);

    if ((!conv && !gemm && strcmp(op, "MatMul") != 0) || !w || w->dtype != PITH_INT8 ||
        !pith_value_quantization(graph, value) || w->shape.rank < 2 ||
        (!conv && w->shape.rank != 2) || (conv && pith_node_int(graph, node, "group", 1) != 1))
        return false;
    *l = (struct layer_weights){.out = w->shape.dim[turned ? 0 : 1],
                                .in = w->shape.dim[turned ? 1 : 0],
                                .taps = 1,
                                .tap_step = 1};
    for (uint32_t axis = 2; axis < w->shape.rank; axis++)
        l->taps *= w->shape.dim[axis];
    l->o_step = turned ? l->in * l->taps : 1;
    l->i_step = turned ? l->taps : l->out;
    return !pointwise || (conv && l->taps == 1);
}

/* Integers of another type, with steps `coarser` times as wide. */
static int use_bits(struct pith_graph *graph, uint32_t value, const struct pith_tensor *from,
                    int32_t dtype, float coarser)
{
    const struct pith_quantization *q = pith_value_quantization(graph, value);
    struct pith_quantization grid = *q;
    float *scale = calloc(q->count, sizeof *scale);
    int32_t *zero = calloc(q->count, sizeof *zero);
    struct pith_tensor to = {0};
    int rc = scale && zero ? pith_tensor_alloc(&to, dtype, &from->shape, NULL) : -ENOMEM;

    for (size_t i = 0; rc == 0 && i < q->count; i++)
        scale[i] = q->scale[i] * coarser;
    for (int64_t i = 0; rc == 0 && i < pith_shape_elements(&from->shape); i++)
        pith_tensor_set(
            &to, i,
            fmin(rint(pith_tensor_get(from, i) / (double) coarser), dtype == PITH_INT4 ? 7 : 127));
    grid.dtype = dtype;
    grid.scale = scale;
    grid.zero_point = zero;
    if (rc == 0)
        rc = pith_value_set_quantization(graph, value, &grid);
    if (rc == 0)
        rc = pith_value_set_constant(graph, value, &to);
    pith_tensor_free(&to);
    free(scale);
    free(zero);
    return rc;
}

/* Floats, each one that a narrower type holds. */
static int use_floats(struct pith_graph *graph, uint32_t node, const struct pith_tensor *from,
                      int32_t dtype)
{
    struct pith_tensor narrow = {0}, to = {0};
    uint32_t value;
    int rc = pith_tensor_alloc(&narrow, dtype, &from->shape, NULL);

    if (rc == 0)
        rc = pith_tensor_alloc(&to, PITH_FLOAT32, &from->shape, NULL);
    for (int64_t i = 0; rc == 0 && i < pith_shape_elements(&from->shape); i++) {
        pith_tensor_set(&narrow, i, pith_tensor_get(from, i) * 0.00123);
        pith_tensor_set(&to, i, pith_tensor_get(&narrow, i));
    }
    if (rc == 0)
        rc = pith_graph_add_constant(graph, NULL, &to, &value, NULL);
    if (rc == 0)
        rc = pith_node_set_input(graph, node, 1, value);
    pith_tensor_free(&narrow);
    pith_tensor_free(&to);
    return rc;
}

static int use_real_values(struct pith_graph *graph)
{
    int rc = 0;

    for (uint32_t v = 0; rc == 0 && v < pith_graph_value_limit(graph); v++)
        if (pith_value_quantization(graph, v) && !pith_value_constant(graph, v))
            rc = pith_value_set_quantization(graph, v, NULL);
    return rc;
}

static int change_layer(struct pith_graph *graph, uint32_t node, enum change change,
                        const struct layer_weights *l)
{
    const uint32_t value = pith_node_input(graph, node, 1);
    int rc;

    switch (change) {
    case FOUR_BITS:
    case REAL_FOUR_BITS:
        return use_bits(graph, value, l->w, PITH_INT4, 16.0F);
    case REAL_EIGHT_BITS:
        return use_bits(graph, value, l->w, PITH_INT8, 1.0F);
    case REAL:
        return use_floats(graph, node, l->w, PITH_FLOAT32);
    case REAL_FLOAT16:
        return use_floats(graph, node, l->w, PITH_FLOAT16);
    case REAL_BFLOAT16:
        return use_floats(graph, node, l->w, PITH_BFLOAT16);
    default:
        rc = change_weights(l, change);
        return rc < 0 ? rc : pith_value_set_constant(graph, value, l->w);
    }
}

static int make_variant(const struct pith_graph *graph, enum change change, bool pointwise,
                        struct pith_graph **out, struct pith_error *err)
{
    struct layer_weights l;
    int rc = pith_graph_clone(graph, out, err);

    for (uint32_t node = 0; rc == 0 && change != AS_IT_IS && node < pith_graph_node_limit(graph);
         node++) {
        struct pith_tensor w = {0};

        if (!pith_node_exists(*out, node) || !is_changed(*out, node, pointwise, &l))
            continue;
        rc = pith_tensor_copy(&w, pith_value_constant(*out, pith_node_input(*out, node, 1)), err);
        l.w = &w;
        if (rc == 0)
            rc = change_layer(*out, node, change, &l);
        pith_tensor_free(&w);
    }
    if (rc == 0 && change >= REAL)
        rc = use_real_values(*out);
    return rc;
}

/* ---- running ---- */

struct contender {
    const struct pith_engine_ops *engine;
    const struct pith_option_value *options;
    struct pith_graph *graph;
    struct pith_session *whole, *steps; /* steps: with a time for each */
    uint64_t weight_bytes, run_ns[ROUNDS], layers_ns[ROUNDS], before_ns;
};

struct bench {
    struct pith_graph *graph;
    bool pointwise;
    struct pith_tensor inputs[INPUTS_MAX], outputs[INPUTS_MAX];
    struct pith_shape shapes[INPUTS_MAX]; /* of inputs; dimensions that a model leaves open are 1 */
    size_t input_count, output_count;
};

static int compile(const struct bench *b, struct contender *c, struct pith_error *err)
{
    struct pith_engine_options how = {
        .size_bytes = sizeof how, .threads = 1, .input_shapes = b->shapes, .options = c->options};
    struct pith_session_description about;
    int rc = c->engine->compile(NULL, c->graph, &how, &c->whole, err);

    how.profile = 1;
    if (rc == 0)
        rc = c->engine->compile(NULL, c->graph, &how, &c->steps, err);
    if (rc == 0)
        rc = c->engine->describe(c->whole, &about);
    if (rc == 0)
        c->weight_bytes = about.weight_bytes;
    return rc;
}

static int make_inputs(struct bench *b, struct pith_error *err)
{
    uint32_t seed = 1;
    int rc = 0;

    b->input_count = pith_graph_input_count(b->graph);
    b->output_count = pith_graph_output_count(b->graph);
    if (b->input_count > INPUTS_MAX || b->output_count > INPUTS_MAX)
        return pith_fail(err, -ENOTSUP, "more than %d inputs or outputs", INPUTS_MAX);
    for (size_t i = 0; i < b->input_count; i++) {
        const struct pith_shape *shape = pith_value_shape(b->graph, pith_graph_input(b->graph, i));

        if (!shape)
            return pith_fail(err, -ENOTSUP, "input %zu has no shape", i);
        b->shapes[i] = *shape;
        for (uint32_t axis = 0; axis < shape->rank; axis++)
            b->shapes[i].dim[axis] = shape->dim[axis] < 0 ? 1 : shape->dim[axis];
    }
    rc = pith_graph_infer(b->graph, b->shapes, err);
    for (size_t i = 0; rc == 0 && i < b->input_count; i++) {
        const uint32_t value = pith_graph_input(b->graph, i);

        rc =
            pith_tensor_alloc(&b->inputs[i], pith_value_dtype(b->graph, value), &b->shapes[i], err);
        for (int64_t at = 0; rc == 0 && at < pith_shape_elements(&b->inputs[i].shape); at++) {
            seed = seed * 1664525U + 1013904223U;
            pith_tensor_set(&b->inputs[i], at,
                            b->inputs[i].dtype == PITH_FLOAT32
                                ? (double) (seed >> 8) / (1 << 23) - 1
                                : (double) (seed >> 25));
        }
    }
    return rc;
}

static int run(struct bench *b, const struct contender *c, struct pith_session *session,
               uint64_t times, uint64_t *out_ns, struct pith_error *err)
{
    const uint64_t start = pith_monotonic_ns();
    int rc = 0;

    for (uint64_t i = 0; rc == 0 && i < times; i++)
        rc = c->engine->run(session, b->inputs, b->input_count, b->outputs, b->output_count, err);
    *out_ns = (pith_monotonic_ns() - start) / times;
    return rc;
}

/* Whether a step is one of the layers that are changed: by what it computes, since names may be
 * missing. */
static bool is_layer(const struct bench *b, const struct pith_step_description *step)
{
    struct layer_weights l;

    for (uint32_t node = 0; node < pith_graph_node_limit(b->graph); node++)
        if (pith_node_exists(b->graph, node) && is_changed(b->graph, node, b->pointwise, &l) &&
            pith_node_macs(b->graph, node) == step->macs &&
            pith_shape_equal(pith_value_shape(b->graph, pith_node_output(b->graph, node, 0)),
                             &step->shape))
            return true;
    return false;
}

static uint64_t layers_ns(const struct bench *b, struct contender *c)
{
    struct pith_session_description about;
    uint64_t sum = 0;

    if (c->engine->describe(c->steps, &about) < 0)
        return 0;
    for (size_t i = 0; i < about.step_count; i++)
        sum += is_layer(b, &about.steps[i]) ? about.steps[i].time_ns : 0;
    return sum;
}

/* What isn't there has no session. */
static int race(struct bench *b, struct contender *all, double seconds, struct pith_error *err)
{
    uint64_t once, times[CONTENDERS] = {0};
    int rc = 0;

    for (size_t v = 0; rc == 0 && v < CONTENDERS; v++) {
        if (!all[v].whole)
            continue;
        rc = run(b, &all[v], all[v].whole, 3, &once, err);
        times[v] = (uint64_t) (seconds * 5e8 / ROUNDS / (double) (once + 1)) + 1;
    }
    for (int round = 0; rc == 0 && round < ROUNDS; round++)
        for (size_t v = 0; rc == 0 && v < CONTENDERS; v++) {
            if (!all[v].whole)
                continue;
            rc = run(b, &all[v], all[v].whole, times[v], &all[v].run_ns[round], err);
            if (rc < 0)
                break;
            if (v == PEER)
                continue;
            all[v].before_ns = layers_ns(b, &all[v]);
            rc = run(b, &all[v], all[v].steps, times[v], &once, err);
            all[v].layers_ns[round] = (layers_ns(b, &all[v]) - all[v].before_ns) / times[v];
        }
    return rc;
}

static void print(struct contender *all)
{
    const double peer_us =
        all[PEER].whole ? (double) pith_quantile(all[PEER].run_ns, ROUNDS, 0.1) / 1e3 : 0;
    double first_run = 0, first_layers = 0;

    printf("%-20s %12s %10s %7s %10s %7s %7s\n", "weights", "bytes", "run us", "ratio", "layers us",
           "ratio", peer_us > 0 ? "to ORT" : "");
    for (size_t v = 0; v < VARIANTS; v++) {
        const double run_us = (double) pith_quantile(all[v].run_ns, ROUNDS, 0.1) / 1e3,
                     layers_us = (double) pith_quantile(all[v].layers_ns, ROUNDS, 0.1) / 1e3;

        if (variants[v].change == AS_IT_IS || variants[v].change == REAL) {
            first_run = run_us; /* what those below it are told against */
            first_layers = layers_us;
        }
        printf("%-20s %12llu %10.2f %7.2f %10.2f %7.2f", variants[v].name,
               (unsigned long long) all[v].weight_bytes, run_us, run_us / first_run, layers_us,
               layers_us / first_layers);
        if (peer_us > 0)
            printf(" %7.2f", run_us / peer_us);
        printf("\n");
    }
    if (peer_us > 0)
        printf("%-20s %12s %10.2f\n", "ONNX Runtime, int8", "", peer_us);
}

/* Gives an engine to contenders `first` to end - 1; its options go with `options`. */
static int use_engine(const struct pith_plugins *plugins, const char *name,
                      struct pith_options *options, struct contender *all, size_t first, size_t end,
                      struct pith_error *err)
{
    const struct pith_plugin *plugin = NULL;
    int rc = pith_plugins_find(plugins, PITH_KIND_ENGINE, name, &plugin, err);

    if (rc == 0)
        rc = pith_options_from_json(options, plugin->options, NULL, name, err);
    for (size_t v = first; rc == 0 && v < end; v++) {
        all[v].engine = plugin->ops;
        all[v].options = options->values;
    }
    return rc;
}

/* The peer, where it is at hand: else it has no session. */
static void add_peer(struct bench *b, const struct pith_plugins *plugins,
                     struct pith_options *options, struct contender *all)
{
    struct pith_error err = {0};
    int rc = use_engine(plugins, "onnxruntime", options, all, PEER, CONTENDERS, &err);

    if (rc == 0)
        rc = make_variant(b->graph, AS_IT_IS, b->pointwise, &all[PEER].graph, &err);
    if (rc == 0)
        rc = compile(b, &all[PEER], &err);
    if (rc < 0)
        (void) fprintf(stderr, "without ONNX Runtime: %s\n", pith_error_text(&err));
}

static void close_contender(struct contender *c)
{
    if (c->whole)
        c->engine->close(c->whole);
    if (c->steps)
        c->engine->close(c->steps);
    pith_graph_free(c->graph);
}

int main(int argc, char **argv)
{
    struct contender all[CONTENDERS] = {{0}};
    struct bench b = {.pointwise = argc > 3 && strcmp(argv[3], "pointwise") == 0};
    struct pith_plugins *plugins = NULL;
    struct pith_options options = {0}, peer_options = {0};
    struct pith_error err = {0};
    int rc;

    if (argc < 2 || argc > 4) {
        (void) fprintf(stderr, "usage: compressed_weights MODEL [SECONDS [all|pointwise]]\n");
        return 2;
    }
    rc = pith_plugins_open(&plugins, NULL, &err);
    if (rc == 0)
        rc = use_engine(plugins, "native", &options, all, 0, VARIANTS, &err);
    if (rc == 0)
        rc = pith_graph_open(&b.graph, argv[1], MODEL_MAX_BYTES, &err);
    if (rc == 0)
        rc = make_inputs(&b, &err);
    for (size_t v = 0; rc == 0 && v < VARIANTS; v++) {
        rc = make_variant(b.graph, variants[v].change, b.pointwise, &all[v].graph, &err);
        if (rc == 0)
            rc = compile(&b, &all[v], &err);
    }
    if (rc == 0)
        add_peer(&b, plugins, &peer_options, all);
    if (rc == 0)
        rc = race(&b, all, argc > 2 ? atof(argv[2]) : 1.0, &err);
    if (rc == 0)
        print(all);
    else
        (void) fprintf(stderr, "compressed_weights: %s\n", pith_error_text(&err));
    for (size_t v = 0; v < CONTENDERS; v++)
        close_contender(&all[v]);
    for (size_t i = 0; i < INPUTS_MAX; i++)
        pith_tensor_free(&b.inputs[i]);
    pith_graph_free(b.graph);
    pith_options_done(&options);
    pith_options_done(&peer_options);
    pith_plugins_free(plugins);
    return rc < 0;
}
