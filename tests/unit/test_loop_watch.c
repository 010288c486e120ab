/* Tests of daemon/loop_watch.c: what a turn of the loop did while it took too long. */
#include "daemon/loop_watch.h"
#include "tests/testing.h"
#include <time.h>

#define TOO_LONG_NS 20000000
#define SLEEP_MS    100

struct loop {
    uv_loop_t loop;
    uv_timer_t timer;
    struct loop_watch watch;
    uv_timer_cb does;
};

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now = {0};

    assert_int_equal(clock_gettime(clock, &now), 0);
    return (uint64_t) now.tv_sec * 1000000000u + (uint64_t) now.tv_nsec;
}

static void do_nothing(uv_timer_t *timer)
{
    (void) timer;
}

static void compute(uv_timer_t *timer)
{
    uint64_t until = clock_ns(CLOCK_THREAD_CPUTIME_ID) + TOO_LONG_NS;

    (void) timer;
    while (clock_ns(CLOCK_THREAD_CPUTIME_ID) < until)
        ;
}

static void block(uv_timer_t *timer)
{
    (void) timer;
    (void) nanosleep(&(struct timespec){.tv_nsec = TOO_LONG_NS}, NULL);
}

static void signalled_while_blocked(uv_timer_t *timer)
{
    struct loop *loop = timer->data;

    loop_watch_interrupted(&loop->watch);
    block(timer);
}

/* Stops the loop: on a slow machine the timer is due before the loop ever sleeps, which would then
 * wait for nothing. */
static void fire(uv_timer_t *timer)
{
    struct loop *loop = timer->data;

    loop->does(timer);
    uv_stop(timer->loop);
}

/* Two turns: one that does it, after a sleep, and one more that judges it. */
static void run(struct loop *loop, uv_timer_cb does, bool ends)
{
    *loop = (struct loop){.does = does};
    assert_int_equal(uv_loop_init(&loop->loop), 0);
    assert_int_equal(uv_loop_configure(&loop->loop, UV_METRICS_IDLE_TIME), 0);
    loop_watch_start(&loop->watch, &loop->loop);
    assert_int_equal(uv_timer_init(&loop->loop, &loop->timer), 0);
    loop->timer.data = loop;
    if (ends)
        loop_watch_end(&loop->watch);
    assert_int_equal(uv_timer_start(&loop->timer, fire, SLEEP_MS, 0), 0);
    (void) uv_run(&loop->loop, UV_RUN_DEFAULT);
    (void) uv_run(&loop->loop, UV_RUN_NOWAIT);
    loop_watch_close(&loop->watch);
    uv_close((uv_handle_t *) &loop->timer, NULL);
    (void) uv_run(&loop->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop->loop), 0);
}

static void turn_that_computes_is_slow(void **state)
{
    struct loop loop;

    (void) state;
    run(&loop, compute, false);
    assert_true(loop.watch.slow_turns >= 1); /* a slow machine may add one */
    assert_true(loop.watch.slowest_ns >= TOO_LONG_NS);
}

static void turn_that_blocks_is_slow(void **state)
{
    struct loop loop;

    (void) state;
    run(&loop, block, false);
    assert_true(loop.watch.slow_turns >= 1); /* a slow machine may add one */
    assert_true(loop.watch.slowest_ns >= TOO_LONG_NS);
}

static void sleep_of_the_loop_is_not_its_turn(void **state)
{
    struct loop loop;

    (void) state;
    run(&loop, do_nothing, false);
    assert_true(loop.watch.turns > 0);
    assert_true(loop.watch.slowest_ns < SLEEP_MS * 1000000u);
}

static void turn_with_a_signal_is_not_judged(void **state)
{
    struct loop loop;

    (void) state;
    run(&loop, signalled_while_blocked, false);
    assert_true(loop.watch.slowest_ns < TOO_LONG_NS);
}

static void nothing_is_judged_once_it_ends(void **state)
{
    struct loop loop;

    (void) state;
    run(&loop, block, true);
    assert_int_equal(loop.watch.slow_turns + loop.watch.delayed_turns, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turn_that_computes_is_slow),
        cmocka_unit_test(turn_that_blocks_is_slow),
        cmocka_unit_test(sleep_of_the_loop_is_not_its_turn),
        cmocka_unit_test(turn_with_a_signal_is_not_judged),
        cmocka_unit_test(nothing_is_judged_once_it_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
