/* Tests of daemon/mqtt_rules.c, mqtt_queue.c and mqtt_inbox.c: what needs no broker. */
#include "daemon/mqtt_inbox.h"
#include "daemon/mqtt_queue.h"
#include "daemon/mqtt_rules.h"
#include "tests/testing.h"

#include <errno.h>

static void filters_match_as_the_standard_says(void **state)
{
    static const struct {
        const char *filter, *topic;
        bool matches;
    } cases[] = {
        {"a/b", "a/b", true},
        {"a/b", "a/c", false},
        {"a/b", "a/b/c", false},
        {"a/b/c", "a/b", false},
        {"a/+", "a/b", true},
        {"a/+", "a/b/c", false},
        {"a/+", "a", false},
        {"a/+", "a/", true},
        {"+/b", "a/b", true},
        {"+/b", "/b", true},
        {"+", "a", true},
        {"+", "/a", false},
        {"+/+", "/a", true},
        {"a/#", "a/b/c", true},
        {"a/#", "a", true},
        {"a/#", "ab", false},
        {"a/#", "b/c", false},
        {"#", "a/b/c", true},
        {"#", "/", true},
        {"a/+/#", "a/b", true},
        {"a/+/#", "a", false},
        {"a/+/#", "a/b/c/d", true},
        {"a/+/c", "a//c", true},
        {"#", "$SYS/x", false},
        {"+/x", "$SYS/x", false},
        {"$SYS/#", "$SYS/x", true},
        {"a/b/", "a/b", false},
        {"a/b", "a/b/", false},
        {"aa/b", "a/b", false},
        {"a/bb", "a/b", false},
        {"pith/1/gw/+/call/+", "pith/1/gw/hub/call/status", true},
    };

    (void) state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (mqtt_topic_matches(cases[i].filter, cases[i].topic) != cases[i].matches)
            fail_msg("%s against %s", cases[i].filter, cases[i].topic);
}

static void filters_and_topics_are_checked(void **state)
{
    char longest[MQTT_TOPIC_MAX_BYTES + 2];

    (void) state;
    assert_true(mqtt_filter_valid("a/+/b/#"));
    assert_true(mqtt_filter_valid("+"));
    assert_true(mqtt_filter_valid("/"));
    assert_false(mqtt_filter_valid(""));
    assert_false(mqtt_filter_valid("a+/b"));
    assert_false(mqtt_filter_valid("a/+b"));
    assert_false(mqtt_filter_valid("a/#/b"));
    assert_false(mqtt_filter_valid("a#"));
    assert_true(mqtt_topic_valid("k\xc3\xbc"
                                 "che/mikrofon"));
    assert_true(mqtt_topic_valid("\xf0\x9f\x8e\xa4"));
    assert_false(mqtt_topic_valid("a/+"));
    assert_false(mqtt_topic_valid("#"));
    assert_false(mqtt_topic_valid("a\nb"));
    assert_false(mqtt_topic_valid("\xc0\x80"));         /* an overlong 0 */
    assert_false(mqtt_topic_valid("\xed\xa0\x80"));     /* half a surrogate pair */
    assert_false(mqtt_topic_valid("\xf4\x90\x80\x80")); /* past the last character */
    assert_false(mqtt_topic_valid("\xe2\x82"));         /* cut off */
    memset(longest, 'a', sizeof longest);
    longest[MQTT_TOPIC_MAX_BYTES + 1] = 0;
    assert_false(mqtt_topic_valid(longest));
    longest[MQTT_TOPIC_MAX_BYTES] = 0;
    assert_true(mqtt_topic_valid(longest));
}

static void url_gives_host_port_and_tls(void **state)
{
    struct mqtt_url url;
    struct pith_error err = {0};

    (void) state;
    assert_ok(mqtt_url_parse(&url, "mqtt://127.0.0.1", &err), &err);
    assert_string_equal(url.host, "127.0.0.1");
    assert_int_equal(url.port, 1883);
    assert_false(url.tls);
    assert_ok(mqtt_url_parse(&url, "mqtts://fleet.example.org:443", &err), &err);
    assert_int_equal(url.port, 443);
    assert_true(url.tls);
    assert_ok(mqtt_url_parse(&url, "mqtts://[fe80::1%25]", &err), &err);
    assert_string_equal(url.host, "fe80::1%25");
    assert_int_equal(url.port, 8883);
}

static void url_that_is_none_is_refused(void **state)
{
    static const char *const bad[] = {
        "",           "127.0.0.1",       "http://x",    "mqtt://",        "mqtt://:1883",
        "mqtt://x:",  "mqtt://x:0",      "mqtt://x:a",  "mqtt://x:65536", "mqtt://x:1 2",
        "mqtt://x/y", "mqtt://u:p@x",    "mqtt://[::1", "mqtt://[::1]x",  "mqtt://[]",
        "mqtt://a b", "mqtt://x:000001", "MQTT://x",    "mqtts://x:-1",
    };

    (void) state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct mqtt_url url;
        struct pith_error err = {0};

        if (mqtt_url_parse(&url, bad[i], &err) != -EINVAL || !err.text[0])
            fail_msg("\"%s\" was taken", bad[i]);
    }
}

static void backoff_fills_its_range_and_has_a_cap(void **state)
{
    (void) state;
    assert_int_equal(mqtt_backoff_ms(0, 0), 0);
    assert_int_equal(mqtt_backoff_ms(0, UINT32_MAX), 1000);
    assert_int_equal(mqtt_backoff_ms(1, UINT32_MAX), 2000);
    assert_int_equal(mqtt_backoff_ms(8, UINT32_MAX), 256000);
    assert_int_equal(mqtt_backoff_ms(9, UINT32_MAX), 300000);
    assert_int_equal(mqtt_backoff_ms(4000000000u, UINT32_MAX), 300000);
    assert_int_equal(mqtt_backoff_ms(3, UINT32_MAX / 2), 4000);
}

/* ---- the queue ---- */

static void add(struct mqtt_queue *queue, const char *topic)
{
    struct pith_error err = {0};

    assert_ok(mqtt_queue_add(
                  queue,
                  &(struct mqtt_publication){.topic = topic, .payload = "x", .bytes = 1, .qos = 1},
                  &err),
              &err);
}

static void expect_next(struct mqtt_queue *queue, const char *topic, unsigned *out_slot)
{
    const struct mqtt_queue_entry *entry = mqtt_queue_next(queue, out_slot);

    assert_non_null(entry);
    assert_string_equal(entry->publication.topic, topic);
}

static void drain(struct mqtt_queue *queue)
{
    struct mqtt_queue_entry *entry = mqtt_queue_lost(queue);

    while (entry) {
        struct mqtt_queue_entry *next = entry->next;

        free(entry);
        entry = next;
    }
    while ((entry = mqtt_queue_take(queue)) != NULL)
        free(entry);
    assert_int_equal(queue->count, 0);
    assert_int_equal(queue->bytes, 0);
}

static void queue_opens_its_window_by_what_is_answered(void **state)
{
    struct mqtt_queue queue;
    unsigned slot = 0, second = 0;

    (void) state;
    mqtt_queue_init(&queue);
    mqtt_queue_connected(&queue, 2);
    add(&queue, "1");
    add(&queue, "2");
    add(&queue, "3");
    add(&queue, "4");
    expect_next(&queue, "1", &slot);
    assert_null(mqtt_queue_next(&queue, &second));
    free(mqtt_queue_answered(&queue, slot));
    expect_next(&queue, "2", &slot);
    expect_next(&queue, "3", &second);
    free(mqtt_queue_answered(&queue, second)); /* out of order, which the broker may do */
    expect_next(&queue, "4", &second);
    assert_null(mqtt_queue_next(&queue, &second)); /* never above the receive maximum */
    assert_null(mqtt_queue_answered(&queue, 9));
    assert_null(mqtt_queue_answered(&queue, 99));
    drain(&queue);
}

static void queue_sends_again_in_order_after_a_loss(void **state)
{
    struct mqtt_queue queue;
    unsigned slots[3];

    (void) state;
    mqtt_queue_init(&queue);
    mqtt_queue_connected(&queue, 16);
    for (unsigned i = 0; i < 4; i++) { /* opens the window */
        add(&queue, "before");
        expect_next(&queue, "before", &slots[0]);
        free(mqtt_queue_answered(&queue, slots[0]));
    }
    add(&queue, "1");
    add(&queue, "2");
    add(&queue, "3");
    expect_next(&queue, "1", &slots[0]);
    expect_next(&queue, "2", &slots[1]);
    assert_null(mqtt_queue_lost(&queue));
    mqtt_queue_connected(&queue, 16);
    expect_next(&queue, "1", &slots[0]);
    assert_null(mqtt_queue_next(&queue, &slots[1])); /* one alone, until it is answered */
    free(mqtt_queue_answered(&queue, slots[0]));
    expect_next(&queue, "2", &slots[1]);
    expect_next(&queue, "3", &slots[2]);
    drain(&queue);
}

static void queue_gives_up_what_breaks_each_connection(void **state)
{
    struct mqtt_queue queue;
    struct mqtt_queue_entry *given_up = NULL;
    unsigned slot = 0;

    (void) state;
    mqtt_queue_init(&queue);
    add(&queue, "poison");
    add(&queue, "good");
    for (int i = 0; i < MQTT_QUEUE_MAX_LOSSES; i++) {
        assert_null(given_up);
        mqtt_queue_connected(&queue, 16);
        expect_next(&queue, "poison", &slot);
        given_up = mqtt_queue_lost(&queue);
    }
    assert_non_null(given_up);
    assert_string_equal(given_up->publication.topic, "poison");
    assert_null(given_up->next);
    free(given_up);
    mqtt_queue_connected(&queue, 16);
    expect_next(&queue, "good", &slot);
    drain(&queue);
}

static void queue_is_bounded_in_messages_and_bytes(void **state)
{
    struct mqtt_queue queue;
    struct pith_error err = {0};
    char *large = calloc(1, 1 << 20);
    int taken = 0;

    (void) state;
    assert_non_null(large);
    mqtt_queue_init(&queue);
    while (mqtt_queue_add(
               &queue, &(struct mqtt_publication){.topic = "t", .payload = large, .bytes = 1 << 20},
               &err) == 0)
        taken++;
    assert_int_equal(err.code, -ENOBUFS);
    assert_true(taken <= MQTT_QUEUE_MAX_BYTES >> 20 && taken > 0);
    drain(&queue);
    for (taken = 0; mqtt_queue_add(&queue, &(struct mqtt_publication){.topic = "t"}, NULL) == 0;
         taken++)
        ;
    assert_int_equal(taken, MQTT_QUEUE_MAX_COUNT);
    drain(&queue);
    free(large);
}

/* ---- the inbox ---- */

static bool put(struct mqtt_inbox *inbox, const char *topic, size_t bytes)
{
    static uint8_t payload[4096];

    return mqtt_inbox_put_on_any_thread(
        inbox, &(struct mqtt_message){.topic = topic, .payload = payload, .bytes = bytes}, NULL, 0);
}

static void inbox_drops_the_oldest_that_it_may_and_counts(void **state)
{
    struct mqtt_inbox *inbox = NULL;
    struct mqtt_inbox_message *message = NULL;
    struct mqtt_inbox_counts counts;
    unsigned handled = 0;

    (void) state;
    assert_int_equal(mqtt_inbox_new(&inbox, 8192), 0);
    assert_int_equal(mqtt_inbox_add_filter(inbox, "sensor/#", true), 0);
    assert_int_equal(mqtt_inbox_add_filter(inbox, "call/+", false), 0);
    assert_true(put(inbox, "sensor/first", 1000));
    assert_false(put(inbox, "call/kept", 1000));
    for (int i = 0; i < 20; i++)
        assert_false(put(inbox, "sensor/later", 1000));
    message = mqtt_inbox_take(inbox);
    assert_string_equal(message->message.topic,
                        "call/kept"); /* the sensor's first was the oldest, and went */
    free(message);
    while ((message = mqtt_inbox_take(inbox)) != NULL) {
        assert_string_equal(message->message.topic, "sensor/later");
        free(message);
        handled++;
    }
    mqtt_inbox_counts(inbox, &counts);
    assert_int_equal(counts.received, 22);
    assert_int_equal(counts.received_bytes, 22000);
    assert_int_equal(counts.received, counts.dropped + handled + 1);
    assert_false(mqtt_inbox_take_overflow(inbox));
    mqtt_inbox_free(inbox);
}

static void inbox_tells_when_it_lost_what_it_may_not(void **state)
{
    struct mqtt_inbox *inbox = NULL;
    struct mqtt_inbox_counts counts;

    (void) state;
    assert_int_equal(mqtt_inbox_new(&inbox, 4096), 0);
    assert_int_equal(mqtt_inbox_add_filter(inbox, "#", false), 0);
    for (int i = 0; i < 100; i++)
        (void) put(inbox, "call/x", 1000);
    assert_true(mqtt_inbox_take_overflow(inbox));
    assert_false(mqtt_inbox_take_overflow(inbox));
    mqtt_inbox_counts(inbox, &counts);
    assert_true(counts.dropped > 80 && counts.dropped < 100);
    mqtt_inbox_free(inbox);
}

static void inbox_keeps_all_of_a_message(void **state)
{
    struct mqtt_inbox *inbox = NULL;
    struct mqtt_inbox_message *message = NULL;
    const uint32_t ids[] = {7, 9};

    (void) state;
    assert_int_equal(mqtt_inbox_new(&inbox, 4096), 0);
    (void) mqtt_inbox_put_on_any_thread(
        inbox,
        &(struct mqtt_message){.topic = "a",
                               .payload = (const uint8_t *) "text",
                               .bytes = 4,
                               .retained = true,
                               .response_topic = "answer/here",
                               .correlation = (const uint8_t *) "\0\1",
                               .correlation_bytes = 2},
        ids, 2);
    message = mqtt_inbox_take(inbox);
    assert_non_null(message);
    assert_string_equal((const char *) message->message.payload, "text"); /* with a 0 behind it */
    assert_string_equal(message->message.response_topic, "answer/here");
    assert_memory_equal(message->message.correlation, "\0\1", 2);
    assert_true(message->message.retained);
    assert_int_equal(message->id_count, 2);
    assert_int_equal(message->ids[1], 9);
    free(message);
    mqtt_inbox_free(inbox);
}

static void failed_certificate_names_a_clock_that_is_not_set(void **state)
{
    char reason[512];

    (void) state;
    mqtt_tls_reason(reason, sizeof reason, "certificate verify failed", 86400000);
    assert_non_null(strstr(reason, "clock is not set (it says 1970-01-02)"));
    mqtt_tls_reason(reason, sizeof reason, "certificate verify failed", INT64_C(1795949984000));
    assert_string_equal(reason, "TLS: certificate verify failed");
    mqtt_tls_reason(reason, sizeof reason, "wrong version number", 86400000);
    assert_string_equal(reason, "TLS: wrong version number");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_match_as_the_standard_says),
        cmocka_unit_test(filters_and_topics_are_checked),
        cmocka_unit_test(url_gives_host_port_and_tls),
        cmocka_unit_test(url_that_is_none_is_refused),
        cmocka_unit_test(backoff_fills_its_range_and_has_a_cap),
        cmocka_unit_test(failed_certificate_names_a_clock_that_is_not_set),
        cmocka_unit_test(queue_opens_its_window_by_what_is_answered),
        cmocka_unit_test(queue_sends_again_in_order_after_a_loss),
        cmocka_unit_test(queue_gives_up_what_breaks_each_connection),
        cmocka_unit_test(queue_is_bounded_in_messages_and_bytes),
        cmocka_unit_test(inbox_drops_the_oldest_that_it_may_and_counts),
        cmocka_unit_test(inbox_tells_when_it_lost_what_it_may_not),
        cmocka_unit_test(inbox_keeps_all_of_a_message),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
