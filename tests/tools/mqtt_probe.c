/* One MQTT link of the daemon, driven by lines on stdin, telling what happens on stdout: for
 * tests/integration/mqtt.sh.
 *
 *   subscribe FILTER drop|keep [BLOCK-MS]   handle messages; each blocks the loop for so long
 *   unsubscribe FILTER
 *   publish TOPIC BYTES COUNT               of QoS 1; "done <ok> <failed>" is told when all are
 * answered retain TOPIC TEXT counts                                  "counts received= handled=
 * dropped= sent= refused= reconnects=" quit */
#include "daemon/mqtt.h"
#include "libpith/base/clock.h"
#include "libpith/base/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILTERS_MAX 64

struct filter {
    struct probe *probe;
    char text[256];
    bool open;
    unsigned block_ms;
};

struct probe {
    struct mqtt *mqtt;
    uv_pipe_t input;
    char line[4096];
    size_t used;
    uint64_t handled, handled_bytes, next_in_order, out_of_order;
    unsigned asked, ok, failed;
    struct filter filters[FILTERS_MAX];
    size_t filter_count;
    bool quitting;
};

static void tell(const char *text)
{
    (void) puts(text);
    (void) fflush(stdout);
}

static void up(void *user, bool session_present)
{
    (void) user;
    (void) printf("up session=%d\n", session_present);
    (void) fflush(stdout);
}

static void down(void *user, const char *reason)
{
    (void) user;
    (void) printf("down %s\n", reason);
    (void) fflush(stdout);
}

static void arrived(void *user, const struct mqtt_message *message)
{
    struct filter *filter = user;
    struct probe *probe = filter->probe;

    probe->handled++;
    probe->handled_bytes += message->bytes;
    if (message->retained || message->bytes <= 64) {
        (void) printf("message %s%s %.*s\n", message->topic, message->retained ? " retained" : "",
                      (int) message->bytes, (const char *) message->payload);
        (void) fflush(stdout);
    }
    if (filter->block_ms)
        uv_sleep(filter->block_ms);
}

static void answered(void *user, int status)
{
    struct probe *probe = user;

    if (status == 0)
        probe->ok++;
    else
        probe->failed++;
    if (probe->ok + probe->failed < probe->asked)
        return;
    (void) printf("done %u %u\n", probe->ok, probe->failed);
    (void) fflush(stdout);
    probe->asked = probe->ok = probe->failed = 0;
}

static void publish(struct probe *probe, const char *topic, size_t bytes, unsigned count)
{
    char *payload = calloc(1, bytes + 1);

    if (!payload)
        abort();
    memset(payload, 'x', bytes);
    probe->asked += count;
    for (unsigned i = 0; i < count; i++) {
        struct pith_error err = {0};
        int rc = mqtt_publish(probe->mqtt,
                              &(struct mqtt_publication){.topic = topic,
                                                         .payload = payload,
                                                         .bytes = bytes,
                                                         .qos = 1,
                                                         .done = answered,
                                                         .user = probe},
                              &err);

        if (rc < 0) {
            (void) printf("refused %d %s\n", rc, pith_error_text(&err));
            answered(probe, rc);
        }
    }
    free(payload);
}

static void subscribe(struct probe *probe, const char *text, bool may_drop, unsigned block_ms)
{
    struct filter *filter = &probe->filters[probe->filter_count++ % FILTERS_MAX];
    struct pith_error err = {0};

    *filter = (struct filter){.probe = probe, .open = true, .block_ms = block_ms};
    (void) snprintf(filter->text, sizeof filter->text, "%s", text);
    if (mqtt_subscribe(probe->mqtt, text, 1, may_drop, arrived, filter, &err) < 0)
        (void) printf("refused %s\n", pith_error_text(&err));
    tell("subscribed");
}

static void unsubscribe(struct probe *probe, const char *text)
{
    for (size_t i = 0; i < FILTERS_MAX; i++) {
        struct filter *filter = &probe->filters[i];

        if (filter->open && strcmp(filter->text, text) == 0) {
            mqtt_unsubscribe(probe->mqtt, text, arrived, filter);
            filter->open = false;
        }
    }
    tell("unsubscribed");
}

static void closed(void *user)
{
    struct probe *probe = user;

    tell("closed");
    uv_close((uv_handle_t *) &probe->input, NULL);
}

static void quit(struct probe *probe)
{
    if (probe->quitting)
        return;
    probe->quitting = true;
    mqtt_close(probe->mqtt, closed, probe);
}

static void counts(const struct probe *probe)
{
    struct mqtt_counts now;

    mqtt_counts(probe->mqtt, &now);
    (void) printf(
        "counts received=%llu handled=%llu dropped=%llu sent=%llu refused=%llu reconnects=%llu\n",
        (unsigned long long) now.received, (unsigned long long) probe->handled,
        (unsigned long long) now.dropped, (unsigned long long) now.sent,
        (unsigned long long) now.refused, (unsigned long long) now.reconnects);
    (void) fflush(stdout);
}

static void obey(struct probe *probe, char *line)
{
    char *rest = line;
    const char *word = strsep(&rest, " "), *first = strsep(&rest, " "),
               *second = strsep(&rest, " "), *third = strsep(&rest, " ");

    if (strcmp(word, "subscribe") == 0 && second)
        subscribe(probe, first, strcmp(second, "drop") == 0,
                  third ? (unsigned) strtoul(third, NULL, 10) : 0);
    else if (strcmp(word, "unsubscribe") == 0 && first)
        unsubscribe(probe, first);
    else if (strcmp(word, "publish") == 0 && third)
        publish(probe, first, strtoul(second, NULL, 10), (unsigned) strtoul(third, NULL, 10));
    else if (strcmp(word, "counts") == 0)
        counts(probe);
    else if (strcmp(word, "quit") == 0)
        quit(probe);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct probe *probe = handle->data;

    (void) suggested;
    *out = uv_buf_init(probe->line + probe->used, (unsigned) (sizeof probe->line - probe->used));
}

static void have_read(uv_stream_t *stream, ssize_t bytes, const uv_buf_t *buffer)
{
    struct probe *probe = stream->data;
    char *end = NULL;

    (void) buffer;
    if (bytes < 0) {
        (void) uv_read_stop(stream);
        quit(probe);
        return;
    }
    probe->used += (size_t) bytes;
    while ((end = memchr(probe->line, '\n', probe->used)) != NULL) {
        *end = 0;
        obey(probe, probe->line);
        probe->used -= (size_t) (end + 1 - probe->line);
        memmove(probe->line, end + 1, probe->used);
    }
}

int main(int argc, char **argv)
{
    static struct probe probe;
    struct config_broker broker = {.given = true, .keep_alive_ms = 5000};
    struct pith_error err = {0};
    uv_loop_t loop;

    if (argc < 3) {
        (void) fputs("usage: mqtt_probe URL CLIENT-ID [INBOX-BYTES [CA CERT KEY [VERSION]]]\n",
                     stderr);
        return 2;
    }
    broker.url = argv[1];
    if (argc > 7) /* where there is no TLS, the files are "-" */
        broker.version = strcmp(argv[7], "5") == 0 ? CONFIG_MQTT_5 : CONFIG_MQTT_3_1_1;
    if (argc > 6 && strcmp(argv[4], "-") != 0) {
        broker.ca = argv[4];
        broker.cert = argv[5];
        broker.key = argv[6];
    }
    if (uv_loop_init(&loop) < 0 || uv_pipe_init(&loop, &probe.input, 0) < 0 ||
        uv_pipe_open(&probe.input, 0) < 0)
        return 1;
    probe.input.data = &probe;
    if (mqtt_open(
            &probe.mqtt, &loop,
            &(struct mqtt_options){.broker = &broker,
                                   .name = "probe",
                                   .client_id = argv[2],
                                   .will_topic = "probe/will",
                                   .will_payload = "offline",
                                   .inbox_bytes = argc > 3 ? strtoll(argv[3], NULL, 10) : 1 << 20,
                                   .connected = up,
                                   .disconnected = down,
                                   .user = &probe},
            &err) < 0) {
        (void) fprintf(stderr, "%s\n", pith_error_text(&err));
        return 1;
    }
    (void) uv_read_start((uv_stream_t *) &probe.input, give_room, have_read);
    (void) uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop) < 0;
}
