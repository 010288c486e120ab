/* Tests of daemon/lanes.c: order, overflow, holding, closing; with real threads and a real loop. */
#include "daemon/lanes.h"
#include "tests/testing.h"

#include <errno.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

struct note {  /* what the lane posts */
    char kind; /* 'p'ayload, 'm'essage, 'i'dle */
    uint32_t number;
};

struct message {
    struct lane_message lane; /* first */
    uint32_t number;
};

struct user { /* of a stream */
    struct lane_stream *stream;
    uint32_t idle_left;  /* the lane's */
    uint32_t wait_count; /* the gate below is passed by so many payloads */
    uv_sem_t gate;
    struct note notes[20000]; /* the loop's */
    size_t count;
    bool ended;
};

struct fixture {
    uv_loop_t loop;
    struct lanes *lanes;
    size_t event_count;
    bool closed;
};

static void payload_on_lane(void *user, const struct lane_payload *payload)
{
    struct user *u = user;
    struct note note = {.kind = 'p'};

    if (u->wait_count > 0) {
        u->wait_count--;
        uv_sem_wait(&u->gate);
    }
    assert_true(payload->bytes >= sizeof note.number);
    memcpy(&note.number, payload->data, sizeof note.number);
    lane_post_on_lane(u->stream, &note, sizeof note);
}

static void message_on_lane(void *user, struct lane_message *lane_message)
{
    struct user *u = user;
    struct message *message = (struct message *) lane_message;
    struct note note = {'m', message->number};

    free(message);
    lane_post_on_lane(u->stream, &note, sizeof note);
}

static bool idle_on_lane(void *user)
{
    struct user *u = user;
    struct note note = {'i', u->idle_left};

    if (u->idle_left == 0)
        return false;
    u->idle_left--;
    lane_post_on_lane(u->stream, &note, sizeof note);
    return true;
}

static const struct lane_stream_ops ops = {payload_on_lane, message_on_lane, idle_on_lane};

static void event(void *user, void *stream_user, const void *data)
{
    struct fixture *f = user;
    struct user *u = stream_user;

    f->event_count++;
    if (data)
        memcpy(&u->notes[u->count++ % 20000], data, sizeof *u->notes);
    else
        u->ended = true;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct lanes_options options = {.lane_count = 2, .event = event, .user = f};
    struct pith_error err = {0};

    assert_non_null(f);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_ok(lanes_open(&f->lanes, &f->loop, &options, &err), &err);
    *state = f;
    return 0;
}

static void closed(void *user)
{
    *(bool *) user = true;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    lanes_close(f->lanes, closed, &f->closed);
    (void) uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_true(f->closed);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    free(f);
    return 0;
}

static struct user *open_stream(struct fixture *f, size_t queue_count)
{
    struct user *u = calloc(1, sizeof *u);
    struct pith_error err = {0};

    assert_non_null(u);
    assert_int_equal(uv_sem_init(&u->gate, 0), 0);
    assert_ok(lane_stream_open(&u->stream, f->lanes, &ops, queue_count, u, &err), &err);
    return u;
}

static void close_stream(struct fixture *f, struct user *u)
{
    lane_stream_close(u->stream);
    while (!u->ended)
        (void) uv_run(&f->loop, UV_RUN_ONCE);
    uv_sem_destroy(&u->gate);
    free(u);
}

static void send_to(struct user *u, uint32_t number, enum lane_hold hold)
{
    struct message *message = calloc(1, sizeof *message);

    assert_non_null(message);
    message->number = number;
    message->lane.hold = hold;
    lane_stream_send(u->stream, &message->lane);
}

static int put(struct user *u, uint32_t number)
{
    return lane_stream_put(u->stream, &number, sizeof number);
}

static void wait_for_notes(struct fixture *f, struct user *u, size_t count)
{
    while (u->count < count)
        (void) uv_run(&f->loop, UV_RUN_ONCE);
}

static void messages_keep_their_place_among_payloads(void **state)
{
    struct fixture *f = *state;
    struct user *u = open_stream(f, 5000);

    send_to(u, 0, LANE_RELEASE);
    for (uint32_t i = 1; i <= 3000; i++) {
        assert_int_equal(put(u, i), 0);
        if (i % 100 == 0)
            send_to(u, i, LANE_HOLD_KEEP);
    }
    wait_for_notes(f, u, 3031);
    for (size_t i = 0, last = 0; i < u->count; i++) {
        assert_true(u->notes[i].number >= last);
        if (u->notes[i].kind == 'm')
            assert_int_equal(u->notes[i].number, last);
        last = u->notes[i].number;
    }
    close_stream(f, u);
}

static void oldest_payload_gives_way(void **state)
{
    struct fixture *f = *state;
    struct user *u = open_stream(f, 4);
    int dropped = 0;

    u->wait_count = 1;
    send_to(u, 0, LANE_RELEASE);
    put(u, 1);
    while (lane_stream_waiting(u->stream) > 0)
        usleep(100); /* until the lane has taken the first and stands at the gate */
    for (uint32_t i = 2; i <= 11; i++)
        dropped += put(u, i);
    send_to(u, 12, LANE_HOLD_KEEP);
    assert_int_equal(dropped, 6);
    assert_int_equal(lane_stream_waiting(u->stream), 4);
    uv_sem_post(&u->gate);
    wait_for_notes(f, u, 7);
    assert_int_equal(u->notes[1].number, 1);
    for (size_t i = 2; i < 6; i++)
        assert_int_equal(u->notes[i].number, 6 + i);
    assert_int_equal(u->notes[6].kind, 'm');
    close_stream(f, u);
}

static void held_payloads_wait_for_their_release(void **state)
{
    struct fixture *f = *state;
    struct user *u = open_stream(f, 8);

    put(u, 1);
    put(u, 2);
    send_to(u, 3, LANE_HOLD_KEEP);
    wait_for_notes(f, u, 1);
    assert_int_equal(u->notes[0].kind, 'm');
    assert_int_equal(lane_stream_waiting(u->stream), 2);
    send_to(u, 4, LANE_RELEASE);
    wait_for_notes(f, u, 4);
    assert_int_equal(u->notes[1].number, 4);
    assert_int_equal(u->notes[2].number, 1);
    assert_int_equal(u->notes[3].number, 2);
    send_to(u, 5, LANE_HOLD);
    wait_for_notes(f, u, 5);
    put(u, 6);
    send_to(u, 7, LANE_HOLD); /* drops what waits */
    wait_for_notes(f, u, 6);
    assert_int_equal(lane_stream_waiting(u->stream), 0);
    close_stream(f, u);
}

static void idle_work_runs_when_nothing_waits_and_then_ends(void **state)
{
    struct fixture *f = *state;
    struct user *u = open_stream(f, 8);

    u->idle_left = 50;
    send_to(u, 0, LANE_RELEASE);
    for (uint32_t i = 1; i <= 5; i++)
        put(u, i);
    wait_for_notes(f, u, 56);
    for (size_t i = 0, idle = 50; i < u->count; i++)
        if (u->notes[i].kind == 'i')
            assert_int_equal(u->notes[i].number, idle--);
    close_stream(f, u);
}

static void streams_run_in_parallel_and_none_starves(void **state)
{
    struct fixture *f = *state;
    struct user *u[5];
    size_t done = 0;

    for (size_t i = 0; i < 5; i++) {
        u[i] = open_stream(f, 2000);
        send_to(u[i], 0, LANE_RELEASE);
    }
    for (uint32_t n = 1; n <= 1000; n++)
        for (size_t i = 0; i < 5; i++)
            assert_int_equal(put(u[i], n), 0);
    for (size_t i = 0; i < 5; i++) {
        wait_for_notes(f, u[i], 1001);
        for (uint32_t n = 0; n <= 1000; n++)
            assert_int_equal(u[i]->notes[n].number, n);
        done += u[i]->count;
    }
    assert_int_equal(done, 5 * 1001);
    for (size_t i = 0; i < 5; i++)
        close_stream(f, u[i]);
}

static void closing_midway_handles_messages_and_drops_payloads(void **state)
{
    struct fixture *f = *state;

    for (int round = 0; round < 20; round++) {
        struct user *u = open_stream(f, 100);
        size_t messages = 0;
        send_to(u, 0, LANE_RELEASE);
        for (uint32_t i = 1; i < 50; i++)
            put(u, i);
        send_to(u, 50, LANE_HOLD);
        lane_stream_close(u->stream);
        while (!u->ended)
            (void) uv_run(&f->loop, UV_RUN_ONCE);
        for (size_t i = 0; i < u->count; i++)
            messages += u->notes[i].kind == 'm';
        assert_int_equal(messages, 2);
        uv_sem_destroy(&u->gate);
        free(u);
    }
}

static void lanes_sleep_while_nothing_waits(void **state)
{
    struct fixture *f = *state;
    struct user *u = open_stream(f, 8);
    struct rusage before, after;

    send_to(u, 0, LANE_RELEASE);
    put(u, 1);
    wait_for_notes(f, u, 2);
    usleep(50000);
    assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
    usleep(200000);
    assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
    /* Our own sleep is one; a lane that polls would show at least one a turn. */
    assert_true(after.ru_nvcsw - before.ru_nvcsw <= 3);
    close_stream(f, u);
}

/* Sanitizers answer mallinfo2 with zeros. */
static void a_bursts_memory_goes_when_it_is_through(void **state)
{
    enum { BURST = 200, PAYLOAD_BYTES = 8000 };
    struct fixture *f = *state;
    struct user *u = open_stream(f, BURST);
    static uint8_t payload[PAYLOAD_BYTES];
    size_t before_bytes, held_bytes;

    u->wait_count = 1;
    send_to(u, 0, LANE_RELEASE);
    before_bytes = mallinfo2().uordblks;
    for (uint32_t i = 0; i < BURST; i++) {
        memcpy(payload, &i, sizeof i);
        assert_int_equal(lane_stream_put(u->stream, payload, sizeof payload), 0);
    }
    held_bytes = mallinfo2().uordblks - before_bytes;
    assert_true(held_bytes == 0 || held_bytes >= (size_t) BURST * PAYLOAD_BYTES);
    uv_sem_post(&u->gate);
    wait_for_notes(f, u, BURST + 1);
    put(u, BURST); /* the slot of the last one is put back by now */
    wait_for_notes(f, u, BURST + 2);
    assert_true(mallinfo2().uordblks - before_bytes <= held_bytes / 10);
    close_stream(f, u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(messages_keep_their_place_among_payloads, setup, teardown),
        cmocka_unit_test_setup_teardown(oldest_payload_gives_way, setup, teardown),
        cmocka_unit_test_setup_teardown(held_payloads_wait_for_their_release, setup, teardown),
        cmocka_unit_test_setup_teardown(idle_work_runs_when_nothing_waits_and_then_ends, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(streams_run_in_parallel_and_none_starves, setup, teardown),
        cmocka_unit_test_setup_teardown(closing_midway_handles_messages_and_drops_payloads, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(lanes_sleep_while_nothing_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bursts_memory_goes_when_it_is_through, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
