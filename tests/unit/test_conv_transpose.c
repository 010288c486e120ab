/* Transposed convolutions over channels-last values, by phases of their stride, beside the planar
 * loops, for every instruction set; and forms that must stay planar. */
#include "tests/unit/native_engine.h"

#include <errno.h>
#include <math.h>

#include "libpith/kernels/isa.h"

struct layer {
    int64_t in, out, groups, height, width;
    int64_t kernel[2], stride[2], pads[4], extra[2], dilation[2];
    bool one_dimension, biased, relu;
    bool quantized, real, columns; /* real: what comes out is on no grid; columns: a scale for each output channel */
};

static int64_t pick(int64_t low, int64_t high)
{
    return low + (int64_t) ((double) (random_float() + 1.0F) / 2.0 * (double) (high - low + 1)) %
                     (high - low + 1);
}

static struct pith_graph *graph_of(const struct layer *l)
{
    const struct pith_shape shape = l->one_dimension
                                        ? (struct pith_shape){3, {2, l->in, l->width}}
                                        : (struct pith_shape){4, {2, l->in, l->height, l->width}};
    const uint32_t spatial = shape.rank - 2, from = 2 - spatial;
    const int64_t weights[4] = {l->in, l->out / l->groups, l->kernel[from], l->kernel[1]},
                  pads[4] = {l->pads[from], spatial == 2 ? l->pads[1] : l->pads[3],
                             spatial == 2 ? l->pads[2] : 0, l->pads[3]};
    uint32_t in[3], node, y;
    struct pith_graph *graph = begin_net(13, &shape, &in[0]);

    in[1] = add_constant(graph, l->quantized ? PITH_INT8 : PITH_FLOAT32, shape.rank, weights);
    if (l->quantized) {
        set_grid(graph, in[0], PITH_UINT8, 0.004F, 117, 0, 0);
        set_grid(graph, in[1], PITH_INT8, 0.004F, 0, 1, l->columns ? (size_t) weights[1] : 0);
    }
    in[2] = add_constant(graph, PITH_FLOAT32, 1, &l->out);
    y = add_node(graph, "ConvTranspose", in, l->biased ? 3 : 2, &node);
    assert_int_equal(pith_node_set_int(graph, node, "group", l->groups), 0);
    assert_int_equal(pith_node_set_ints(graph, node, "strides", l->stride + from, spatial), 0);
    assert_int_equal(pith_node_set_ints(graph, node, "dilations", l->dilation + from, spatial), 0);
    assert_int_equal(pith_node_set_ints(graph, node, "output_padding", l->extra + from, spatial),
                     0);
    assert_int_equal(pith_node_set_ints(graph, node, "pads", pads, 2 * spatial), 0);
    if (l->relu)
        y = add_node(graph, "Relu", &y, 1, NULL);
    if (l->quantized && !l->real)
        set_grid(graph, y, PITH_INT8, 0.02F, -11, 0, 0);
    return end_net(graph, y);
}

/* threads: of the session that is compared. */
static void check(const struct layer *l, bool by_phases, uint32_t threads)
{
    struct pith_graph *graph = graph_of(l);
    struct pith_session *session = compile_threads(graph, CHANNELS_LAST, threads),
                        *plain = compile(graph, PLANAR);
    const double bound = 0.25 * (double) (l->in / l->groups * l->kernel[0] * l->kernel[1] + 1) *
                         (double) (l->in * l->kernel[0] * l->kernel[1] + 8) * 0x1p-23;
    struct pith_tensor x, got, want;
    struct pith_error err = {0};

    assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32,
                                pith_value_shape(graph, pith_graph_input(graph, 0)), &err),
              &err);
    for (int64_t i = 0; i < pith_shape_elements(&x.shape); i++)
        ((float *) x.data)[i] = 0.5F * random_float();
    assert_int_equal(has_step(session, "image_conv_transpose_f32"), by_phases);
    assert_true(has_step(plain, "conv_transpose_f32"));
    assert_ok(engine->run(session, &x, 1, &got, 1, &err), &err);
    assert_ok(engine->run(plain, &x, 1, &want, 1, &err), &err);
    assert_true(pith_shape_equal(&got.shape, &want.shape));
    for (int64_t i = 0; i < pith_shape_elements(&want.shape); i++) {
        const double g = pith_tensor_get(&got, i), w = pith_tensor_get(&want, i);

        if (!(fabs(g - w) <= bound))
            fail_msg("%s: %dx%d, stride %dx%d, pads %d %d: [%d] is %.9g, not %.9g",
                     pith_isa_name(pith_isa()), (int) l->kernel[0], (int) l->kernel[1],
                     (int) l->stride[0], (int) l->stride[1], (int) l->pads[0], (int) l->pads[1],
                     (int) i, g, w);
    }
    engine->close(session);
    engine->close(plain);
    pith_tensor_free(&x);
    pith_graph_free(graph);
}

static struct layer random_layer(int round)
{
    struct layer l = {.groups = round % 5 == 3 ? 3 : 1,
                      .height = pick(1, 9),
                      .width = pick(1, 9),
                      .dilation = {1, 1},
                      .one_dimension = round % 7 == 5,
                      .biased = round % 2 != 0,
                      .relu = round % 3 == 1};

    l.in = l.groups * pick(1, round % 11 == 6 ? 1 : 20);
    l.out = l.groups * (round % 11 == 6 ? 1 : pick(1, 40));
    for (int i = 0; i < 2; i++) {
        int64_t most;

        l.kernel[i] = pick(1, 6);
        l.stride[i] = pick(1, 4);
        l.extra[i] = pick(0, l.stride[i] - 1);
        /* what is cut off at both ends leaves at least one pixel */
        most = ((i ? l.width : l.height) - 1) * l.stride[i] + l.kernel[i] - 1;
        l.pads[i] = pick(0, most < 3 ? most : 3);
        l.pads[i + 2] = pick(0, most - l.pads[i] < 3 ? most - l.pads[i] : 3);
    }
    if (l.one_dimension) { /* its pads are those across, begin and end */
        l.kernel[0] = l.stride[0] = 1;
        l.pads[0] = l.pads[1];
        l.height = 1;
    }
    return l;
}

static void phases_give_what_planar_loops_do(void **state)
{
    const enum pith_isa best = pith_isa();

    (void) state;
    for (int isa = PITH_ISA_PLAIN + 1; isa < PITH_ISA_COUNT; isa++) {
        if (!pith_isa_runs((enum pith_isa) isa))
            continue;
        pith_isa_set((enum pith_isa) isa);
        for (int round = 0; round < 45; round++) {
            const struct layer l = random_layer(round);

            check(&l, true, 1 + (uint32_t) round % 2);
        }
    }
    pith_isa_set(best);
}

static struct pith_tensor run_copy(const struct pith_graph *graph, enum way way, uint32_t threads,
                                   const struct pith_tensor *x, bool integers)
{
    struct pith_session *session = compile_threads(graph, way, threads);
    struct pith_tensor got, copy;
    struct pith_error err = {0};

    assert_int_equal(has_step(session, "image_conv_transpose_s8"), integers);
    assert_ok(engine->run(session, x, 1, &got, 1, &err), &err);
    assert_ok(pith_tensor_alloc(&copy, got.dtype, &got.shape, &err), &err);
    memcpy(copy.data, got.data, got.bytes);
    engine->close(session);
    return copy;
}

/* The same bits in every form and on two threads; a step of the grid, or what rounding the bias to a step of
 * the sums takes, off what literal execution gives. */
static void integers_by_phases_have_one_answer(void **state)
{
    const enum pith_isa best = pith_isa();

    (void) state;
    for (int round = 0; round < 60; round++) {
        struct layer l = random_layer(round);
        struct pith_graph *graph;
        struct pith_tensor x, want, plain;
        struct pith_error err = {0};

        l.quantized = true;
        l.real = round % 4 == 1;
        l.columns = round % 3 != 0;
        graph = graph_of(&l);
        assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32,
                                    pith_value_shape(graph, pith_graph_input(graph, 0)), &err),
                  &err);
        for (int64_t i = 0; i < pith_shape_elements(&x.shape); i++)
            ((float *) x.data)[i] = 0.5F * random_float();
        want = run_copy(graph, LITERALLY, 1, &x, false);
        pith_isa_set(PITH_ISA_PLAIN);
        plain = run_copy(graph, CHANNELS_LAST, 1, &x, true);
        for (int64_t i = 0; i < pith_shape_elements(&want.shape); i++)
            if (!(fabs(pith_tensor_get(&plain, i) - pith_tensor_get(&want, i)) <=
                  (l.real ? 2e-4 : 0.0201)))
                fail_msg("round %d: [%d] is %.9g, not %.9g", round, (int) i,
                         pith_tensor_get(&plain, i), pith_tensor_get(&want, i));
        for (int isa = PITH_ISA_PLAIN + 1; isa < PITH_ISA_COUNT; isa++) {
            struct pith_tensor got;

            if (!pith_isa_runs((enum pith_isa) isa))
                continue;
            pith_isa_set((enum pith_isa) isa);
            got = run_copy(graph, CHANNELS_LAST, 1 + (uint32_t) round % 2, &x, true);
            assert_memory_equal(got.data, plain.data, plain.bytes);
            pith_tensor_free(&got);
        }
        pith_isa_set(best);
        pith_tensor_free(&want);
        pith_tensor_free(&plain);
        pith_tensor_free(&x);
        pith_graph_free(graph);
    }
}

static void dilated_ones_stay_planar(void **state)
{
    const struct layer l = {.in = 4,
                            .out = 5,
                            .groups = 1,
                            .height = 6,
                            .width = 7,
                            .kernel = {3, 3},
                            .stride = {2, 2},
                            .dilation = {2, 1}};

    (void) state;
    check(&l, false, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(phases_give_what_planar_loops_do),
        cmocka_unit_test(integers_by_phases_have_one_answer),
        cmocka_unit_test(dilated_ones_stay_planar),
    };

    return cmocka_run_group_tests_name("conv_transpose", tests, open_engine, close_engine);
}
