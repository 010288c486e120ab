/* The memory of steps: zeroed, aligned, freed with its list, and one copy of what is shared, in any
 * order of making and freeing, in any thread; and the native engine's sessions, which share so. */
#include "libpith/kernels/blocks.h"
#include "tests/unit/native_engine.h"

#include <math.h>
#include <pthread.h>

#define THREADS 6

static uint8_t *fill(struct pith_blocks *blocks, size_t bytes, unsigned start)
{
    uint8_t *block = pith_blocks_alloc(blocks, bytes);

    assert_non_null(block);
    for (size_t i = 0; i < bytes; i++)
        block[i] = (uint8_t) (start + i * 7);
    return block;
}

static void is_filled(const uint8_t *block, size_t bytes, unsigned start)
{
    for (size_t i = 0; i < bytes; i++)
        assert_int_equal(block[i], (uint8_t) (start + i * 7));
}

static void blocks_are_zero_and_aligned(void **state)
{
    static const size_t sizes[] = {0, 1, 63, 64, 65, 255, 4096, 100001, 1 << 20};
    struct pith_blocks blocks = {0};
    uint8_t *block[sizeof sizes / sizeof sizes[0]];
    uint64_t bytes = 0;

    (void) state;
    for (int round = 0; round < 2; round++) { /* in the second, memory is what was written to */
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            block[i] = pith_blocks_alloc(&blocks, sizes[i]);
            assert_non_null(block[i]);
            assert_int_equal((uintptr_t) block[i] % 64, 0);
            for (size_t at = 0; at < sizes[i]; at++)
                assert_int_equal(block[i][at], 0);
            memset(block[i], 0xA5, sizes[i]);
            assert_true(pith_blocks_have(&blocks, block[i]));
            bytes += (sizes[i] + 63) / 64 * 64;
        }
        assert_int_equal(blocks.bytes, bytes);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i += 2) {
            pith_blocks_free(&blocks, block[i]);
            bytes -= (sizes[i] + 63) / 64 * 64;
        }
        assert_int_equal(blocks.bytes, bytes);
        assert_false(pith_blocks_have(&blocks, block[0]));
    }
    pith_blocks_free(&blocks, NULL);
    assert_null(pith_blocks_alloc(&blocks, SIZE_MAX));
    assert_null(pith_blocks_alloc(&blocks, SIZE_MAX - 100));
    pith_blocks_done(&blocks);
    assert_int_equal(blocks.bytes, 0);
    pith_blocks_done(&blocks);
}

static void equal_blocks_are_one_until_the_last_user_goes(void **state)
{
    static const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

    (void) state;
    for (size_t o = 0; o < sizeof orders / sizeof orders[0]; o++) {
        struct pith_blocks lists[3] = {{0}};
        const uint8_t *shared[3];

        for (int i = 0; i < 3; i++)
            shared[i] = pith_blocks_share(&lists[i], fill(&lists[i], 5000, 3));
        assert_ptr_equal(shared[0], shared[1]);
        assert_ptr_equal(shared[0], shared[2]);
        assert_int_equal(pith_blocks_shared().count, 1);
        assert_int_equal(pith_blocks_shared().bytes, 5056);
        assert_int_equal(lists[2].bytes, 5056);
        assert_ptr_equal(pith_blocks_share(&lists[1], shared[1]), shared[1]); /* it is already */
        for (int i = 0; i < 3; i++) {
            is_filled(shared[0], 5000, 3);
            if (i == 1)
                pith_blocks_free(&lists[orders[o][i]], shared[0]);
            pith_blocks_done(&lists[orders[o][i]]);
        }
        assert_int_equal(pith_blocks_shared().count, 0);
    }
}

static void a_byte_apart_is_another_block(void **state)
{
    struct pith_blocks blocks = {0};
    const void *first = pith_blocks_share(&blocks, fill(&blocks, 1000, 9));

    (void) state;
    for (size_t i = 0; i < 1000; i += i < 130 ? 1 : 61) {
        struct pith_blocks other = {0};
        uint8_t *block = fill(&other, 1000, 9);

        block[i] ^= (uint8_t) (1U << i % 8);
        assert_ptr_equal(pith_blocks_share(&other, block), block);
        assert_int_equal(pith_blocks_shared().count, 2);
        pith_blocks_done(&other);
    }
    /* another size, although what is behind it is zero too */
    assert_ptr_not_equal(pith_blocks_share(&blocks, fill(&blocks, 1024, 9)), first);
    /* within one list too; and nothing is nothing */
    assert_ptr_equal(pith_blocks_share(&blocks, fill(&blocks, 1000, 9)), first);
    assert_null(pith_blocks_share(&blocks, NULL));
    pith_blocks_done(&blocks);
    assert_int_equal(pith_blocks_shared().count, 0);
}

static void small_blocks_stay_their_lists_own(void **state)
{
    struct pith_blocks a = {0}, b = {0};
    const void *first = pith_blocks_share(&a, fill(&a, 100, 1));

    (void) state;
    assert_ptr_not_equal(pith_blocks_share(&b, fill(&b, 100, 1)), first);
    assert_int_equal(pith_blocks_shared().count, 0);
    pith_blocks_done(&a);
    pith_blocks_done(&b);
}

/* Makes and frees the same few blocks as everyone else. Asserts are the main thread's: it counts. */
static void *share_and_free(void *user)
{
    size_t *wrong = user;

    for (unsigned round = 0; round < 300; round++) {
        struct pith_blocks blocks = {0};

        for (unsigned i = 0; i < 4; i++) {
            const size_t bytes = 300 + 1000 * (size_t) ((round + i) % 3);
            uint8_t *own = pith_blocks_alloc(&blocks, bytes);
            const uint8_t *shared;

            for (size_t at = 0; own && at < bytes; at++)
                own[at] = (uint8_t) (at * 7 + (round + i) % 3);
            shared = pith_blocks_share(&blocks, own);
            for (size_t at = 0; shared && at < bytes; at++)
                *wrong += shared[at] != (uint8_t) (at * 7 + (round + i) % 3);
            if (i == 2)
                pith_blocks_free(&blocks, shared);
        }
        pith_blocks_done(&blocks);
    }
    return NULL;
}

static void threads_share_too(void **state)
{
    pthread_t threads[THREADS];
    size_t wrong[THREADS] = {0};

    (void) state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, share_and_free, &wrong[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(wrong[i], 0);
    }
    assert_int_equal(pith_blocks_shared().count, 0);
}

/* ---- sessions ---- */

static struct pith_graph *build_again(const struct net *net)
{
    seed = 77; /* the same constants each time */
    return build(net);
}

static void run_one(struct pith_session *session, const struct pith_tensor *x, float *out, size_t count)
{
    struct pith_tensor y;
    struct pith_error err = {0};

    assert_ok(engine->run(session, x, 1, &y, 1, &err), &err);
    assert_true(y.bytes >= count * sizeof *out);
    memcpy(out, y.data, count * sizeof *out);
}

static void sessions_of_a_graph_have_one_copy_of_its_weights(void **state)
{
    static const struct net nets[] = {{16, 12, 10, false, false, false},
                                      {32, 9, 7, true, false, false},
                                      {24, 12, 10, true, true, false}};

    (void) state;
    for (size_t n = 0; n < sizeof nets / sizeof nets[0]; n++)
        for (int order = 0; order < 2; order++) {
            struct pith_graph *graphs[2] = {build_again(&nets[n]), build_again(&nets[n])};
            struct pith_session *sessions[2];
            struct pith_tensor x = random_input(&nets[n]);
            struct pith_blocks_shared alone, both;
            float before[10], after[10];

            sessions[0] = compile(graphs[0], CHANNELS_LAST);
            alone = pith_blocks_shared();
            assert_true(alone.count > 0);
            sessions[1] = compile(graphs[1], CHANNELS_LAST);
            both = pith_blocks_shared();
            assert_int_equal(both.count, alone.count);
            assert_int_equal(both.bytes, alone.bytes);
            run_one(sessions[0], &x, before, (size_t) nets[n].features);
            run_one(sessions[1], &x, after, (size_t) nets[n].features);
            assert_memory_equal(before, after, (size_t) nets[n].features * sizeof *after);
            engine->close(sessions[order]);
            pith_graph_free(graphs[order]);
            run_one(sessions[!order], &x, after, (size_t) nets[n].features);
            assert_memory_equal(before, after, (size_t) nets[n].features * sizeof *after);
            engine->close(sessions[!order]);
            pith_graph_free(graphs[!order]);
            pith_tensor_free(&x);
            assert_int_equal(pith_blocks_shared().count, 0);
        }
}

static void plans_for_other_shapes_share_what_is_packed_alike(void **state)
{
    const struct net net = {32, 12, 10, true, false, false};
    const struct pith_shape open = {4, {1, 3, -1, -1}};
    struct pith_graph *graph = build_again(&net);
    struct pith_blocks_shared first;
    struct pith_session *session;
    float out[10];

    (void) state;
    assert_int_equal(pith_value_set_type(graph, pith_graph_input(graph, 0), PITH_FLOAT32, &open), 0);
    session = compile(graph, CHANNELS_LAST);
    for (int64_t size = 12; size <= 24; size += 4) {
        struct pith_tensor x = random_input(&(struct net){.size = size});

        run_one(session, &x, out, 10);
        if (size == 12)
            first = pith_blocks_shared();
        pith_tensor_free(&x);
    }
    assert_true(first.bytes > 0);
    assert_int_equal(pith_blocks_shared().bytes, first.bytes);
    engine->close(session);
    pith_graph_free(graph);
    assert_int_equal(pith_blocks_shared().count, 0);
}

/* A product with a factor packs other bytes than one without: neither writes to the other's. */
static void a_factor_goes_into_a_block_of_its_own(void **state)
{
    const struct pith_shape shape = {2, {3, 16}};
    struct pith_graph *graph;
    struct pith_session *session;
    struct pith_tensor x, y = {0};
    struct pith_error err = {0};
    uint32_t in, w, node, product, half, sum;

    (void) state;
    assert_int_equal(pith_graph_new(&graph, "net", NULL), 0);
    assert_int_equal(pith_graph_set_opset(graph, "", 13), 0);
    assert_int_equal(pith_graph_add_value(graph, "x", PITH_FLOAT32, &shape, &in, NULL), 0);
    assert_int_equal(pith_graph_add_input(graph, in), 0);
    w = add_constant(graph, PITH_FLOAT32, 2, (const int64_t[]){16, 20});
    product = add_node(graph, "MatMul", (uint32_t[]){in, w}, 2, NULL);
    half = add_node(graph, "Gemm", (uint32_t[]){in, w}, 2, &node);
    assert_int_equal(pith_node_set_float(graph, node, "alpha", 0.5F), 0);
    sum = add_node(graph, "Add", (uint32_t[]){half, half}, 2, NULL);
    assert_int_equal(
        pith_graph_add_output(graph, add_node(graph, "Sub", (uint32_t[]){product, sum}, 2, NULL)),
        0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    assert_ok(pith_graph_infer(graph, NULL, &err), &err);
    assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32, &shape, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&shape); i++)
        ((float *) x.data)[i] = random_float();
    session = compile(graph, CHANNELS_LAST);
    assert_ok(engine->run(session, &x, 1, &y, 1, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&y.shape); i++)
        assert_true(fabsf(((const float *) y.data)[i]) < 1e-5F);
    engine->close(session);
    pith_tensor_free(&x);
    pith_graph_free(graph);
}

struct opener {
    const struct pith_graph *graph;
    const struct pith_tensor *x;
    float out[10];
    int failures;
};

static void *open_run_close(void *user)
{
    struct opener *opener = user;
    struct pith_option_value values[3] = {{0}, {.integer = 64}, {0}};
    const struct pith_engine_options options = {
        .size_bytes = sizeof options, .threads = 1, .options = values};

    for (int i = 0; i < 12; i++) {
        struct pith_session *session = NULL;
        struct pith_tensor y;

        if (engine->compile(NULL, opener->graph, &options, &session, NULL) < 0 ||
            engine->run(session, opener->x, 1, &y, 1, NULL) < 0)
            opener->failures++;
        else
            memcpy(opener->out, y.data, sizeof opener->out);
        engine->close(session);
    }
    return NULL;
}

static void threads_open_and_close_sessions_of_a_graph(void **state)
{
    const struct net net = {32, 12, 10, true, false, false};
    struct pith_graph *graph = build_again(&net);
    struct pith_tensor x = random_input(&net);
    struct opener openers[THREADS];
    pthread_t threads[THREADS];

    (void) state;
    for (int i = 0; i < THREADS; i++) {
        openers[i] = (struct opener){.graph = graph, .x = &x};
        assert_int_equal(pthread_create(&threads[i], NULL, open_run_close, &openers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(openers[i].failures, 0);
        assert_memory_equal(openers[i].out, openers[0].out, sizeof openers[0].out);
    }
    pith_tensor_free(&x);
    pith_graph_free(graph);
    assert_int_equal(pith_blocks_shared().count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_zero_and_aligned),
        cmocka_unit_test(equal_blocks_are_one_until_the_last_user_goes),
        cmocka_unit_test(a_byte_apart_is_another_block),
        cmocka_unit_test(small_blocks_stay_their_lists_own),
        cmocka_unit_test(threads_share_too),
        cmocka_unit_test(sessions_of_a_graph_have_one_copy_of_its_weights),
        cmocka_unit_test(plans_for_other_shapes_share_what_is_packed_alike),
        cmocka_unit_test(a_factor_goes_into_a_block_of_its_own),
        cmocka_unit_test(threads_open_and_close_sessions_of_a_graph),
    };

    return cmocka_run_group_tests_name("blocks", tests, open_engine, close_engine);
}
