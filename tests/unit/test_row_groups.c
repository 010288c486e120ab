/* The native engine's row groups: what runs a band of rows after the other gives the bits of what
 * runs step by step, whatever windows, strides, halos, pictures and threads there are. */
#include "tests/unit/each_isa.h"
#include "tests/unit/native_engine.h"

static int64_t pick(int64_t low, int64_t high)
{
    return low + (int64_t) ((double) (random_float() + 1.0F) / 2.0 * (double) (high - low + 1)) %
                     (high - low + 1);
}

/* 1x1 to `wide` channels, depthwise, 1x1 back; wide enough that what lies between is no cache's. */
struct bottleneck {
    int64_t batch, channels, wide, height, width, kernel, stride, pads[4];
    bool quantized, residual;
};

static void put_on_grid(struct pith_graph *graph, const struct bottleneck *net, uint32_t value,
                        float scale, int32_t zero)
{
    if (net->quantized)
        set_grid(graph, value, PITH_UINT8, scale, zero, 0, 0);
}

static uint32_t add_conv(struct pith_graph *graph, const struct bottleneck *net, uint32_t x,
                         const int64_t *w, uint32_t *out_node)
{
    uint32_t in[3] = {x, add_constant(graph, net->quantized ? PITH_INT8 : PITH_FLOAT32, 4, w),
                      add_constant(graph, PITH_FLOAT32, 1, w)};

    if (net->quantized)
        set_grid(graph, in[1], PITH_INT8, 0.002F, 0, 0, 0);
    return add_node(graph, "Conv", in, 3, out_node);
}

/* inner_too: values between the steps are outputs as well, so that nothing runs by rows. */
static struct pith_graph *build_bottleneck(const struct bottleneck *net, bool inner_too)
{
    const struct pith_shape shape = {4, {net->batch, net->channels, net->height, net->width}};
    struct pith_error err = {0};
    uint32_t x, y, node, inner[2];
    struct pith_graph *graph = begin_net(13, &shape, &x);

    put_on_grid(graph, net, x, 0.01F, 117);
    y = add_conv(graph, net, x, (const int64_t[]){net->wide, net->channels, 1, 1}, NULL);
    put_on_grid(graph, net, y, 0.02F, 119);
    if (!net->quantized)
        y = add_node(graph, "Relu", &y, 1, NULL);
    inner[0] = y;
    y = add_conv(graph, net, y, (const int64_t[]){net->wide, 1, net->kernel, net->kernel}, &node);
    assert_int_equal(pith_node_set_int(graph, node, "group", net->wide), 0);
    assert_int_equal(
        pith_node_set_ints(graph, node, "strides", (const int64_t[]){net->stride, net->stride}, 2),
        0);
    assert_int_equal(pith_node_set_ints(graph, node, "pads", net->pads, 4), 0);
    put_on_grid(graph, net, y, 0.03F, 121);
    inner[1] = y;
    y = add_conv(graph, net, y, (const int64_t[]){net->channels, net->wide, 1, 1}, NULL);
    put_on_grid(graph, net, y, 0.05F, 128);
    if (net->residual) {
        y = add_node(graph, "Add", (const uint32_t[]){x, y}, 2, NULL);
        put_on_grid(graph, net, y, 0.06F, 126);
    }
    assert_int_equal(pith_graph_add_output(graph, y), 0);
    for (int i = 0; i < 2 && inner_too; i++)
        assert_int_equal(pith_graph_add_output(graph, inner[i]), 0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    assert_ok(pith_graph_infer(graph, NULL, &err), &err);
    return graph;
}

static struct bottleneck pick_bottleneck(int round)
{
    struct bottleneck net = {.batch = 1 + round % 5 / 4,
                             .channels = pick(3, 9),
                             .quantized = round % 3 == 2,
                             .kernel = round % 4 == 3 ? 5 : 3,
                             .stride = round % 2 ? 2 : 1};

    net.wide = net.quantized ? 257 : pick(62, 70);
    if (round % 8 > 5) /* then only steps whose windows are one row high, and only for threads */
        net.wide = pick(2, 40);
    net.height = pick(47, 52);
    net.width = pick(45, 49);
    for (int i = 0; i < 4; i++)
        net.pads[i] = round % 6 < 2 ? net.kernel / 2 : pick(0, net.kernel / 2);
    net.residual = net.stride == 1 && round % 6 < 2;
    return net;
}

static bool runs_by_rows(struct pith_session *session)
{
    struct pith_session_description about;

    assert_int_equal(engine->describe(session, &about), 0);
    for (size_t i = 0; i < about.step_count; i++)
        if (strstr(about.steps[i].kernel, "by rows"))
            return true;
    return false;
}

static void check(const struct bottleneck *net, uint32_t threads)
{
    const uint32_t same = seed;
    struct pith_graph *graph = build_bottleneck(net, false),
                      *with_inner = (seed = same, build_bottleneck(net, true));
    struct pith_session *grouped = compile_threads(graph, CHANNELS_LAST, threads),
                        *stepwise = compile(with_inner, CHANNELS_LAST);
    const struct pith_shape shape = {4, {net->batch, net->channels, net->height, net->width}};
    struct pith_session_description by_rows, by_steps;
    struct pith_tensor x, got, want[3];
    struct pith_error err = {0};

    assert_true(threads > 2 || net->wide < 60 ||
                runs_by_rows(grouped)); /* more may have too few rows to share them evenly */
    assert_false(runs_by_rows(stepwise));
    assert_int_equal(engine->describe(grouped, &by_rows), 0);
    assert_int_equal(engine->describe(stepwise, &by_steps), 0);
    assert_true(threads > 1 || net->wide < 60 || by_rows.arena_bytes < by_steps.arena_bytes);
    assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32, &shape, &err), &err);
    for (int run = 0; run < 3; run++) {
        for (int64_t i = 0; i < pith_shape_elements(&shape); i++)
            ((float *) x.data)[i] = random_float();
        assert_ok(engine->run(stepwise, &x, 1, want, 3, &err), &err);
        assert_ok(engine->run(grouped, &x, 1, &got, 1, &err), &err);
        for (int64_t i = 0; i < pith_shape_elements(&got.shape); i++)
            if (((const float *) got.data)[i] != ((const float *) want[0].data)[i])
                fail_msg("element %d of run %d is %g, not %g; %s, batch %d, %dx%d from %dx%d of %d "
                         "channels, stride %d, pads %d %d %d %d, %u threads",
                         (int) i, run, (double) ((const float *) got.data)[i],
                         (double) ((const float *) want[0].data)[i],
                         net->quantized ? "int8" : "float", (int) net->batch, (int) net->kernel,
                         (int) net->kernel, (int) net->height, (int) net->width, (int) net->wide,
                         (int) net->stride, (int) net->pads[0], (int) net->pads[1],
                         (int) net->pads[2], (int) net->pads[3], threads);
    }
    pith_tensor_free(&x);
    engine->close(grouped);
    engine->close(stepwise);
    pith_graph_free(graph);
    pith_graph_free(with_inner);
}

static void rows_of_a_group_are_those_of_its_steps(void **state)
{
    const enum pith_isa best = pith_isa();

    (void) state;
    for (struct each_isa each = {0}; each_isa(&each);)
        for (int round = 0; round < (pith_isa() == best ? 24 : 3); round++) {
            const struct bottleneck net = pick_bottleneck(round);

            check(&net, 1 + (uint32_t) round % 4);
        }
}

/* Windows of one pixel with padding around: the first and the last rows read the halo and nothing
 * else, and are bands of their own, since rows are wide or threads are as many. */
static void rows_that_read_the_halo_alone_find_it_filled(void **state)
{
    (void) state;
    for (int round = 0; round < 8; round++) {
        const bool many = round % 2, quantized = round % 4 > 1;
        const int64_t pad = 1 + round / 4;
        const struct bottleneck net = {.batch = 1,
                                       .channels = 3,
                                       .quantized = quantized,
                                       .kernel = 1,
                                       .stride = 1,
                                       .wide = many ? 8 : quantized ? 1040 : 260,
                                       .height = many ? 2 : 3,
                                       .width = many ? 5 : 200,
                                       .pads = {pad, pad, pad, pad}};

        check(&net, many ? (uint32_t) (net.height + 2 * pad) : 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_a_group_are_those_of_its_steps),
        cmocka_unit_test(rows_that_read_the_halo_alone_find_it_filled),
    };

    return cmocka_run_group_tests_name("row groups", tests, open_engine, close_engine);
}
