/* The control table's MQTT door: gw/<gw>/call/<method>, answered on the request's response topic.
 * Anyone whom the broker lets write there may call, so what changes state is open only where the
 * config says so. */
#include "daemon/control_call.h"

#include "libpith/base/json.h"
#include "libpith/base/log.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct remote_call {
    struct daemon *daemon;
    char *response_topic; /* NULL: nobody wants an answer */
    size_t correlation_bytes;
    uint8_t correlation[];
};

static void answer_remote(void *user, char *text)
{
    struct remote_call *call = user;
    struct pith_error err = {0};

    if (text && call->response_topic && call->daemon->fleet &&
        mqtt_publish(call->daemon->fleet,
                     &(struct mqtt_publication){.topic = call->response_topic,
                                                .payload = text,
                                                .bytes = strlen(text),
                                                .qos = 1,
                                                .correlation = call->correlation,
                                                .correlation_bytes = call->correlation_bytes},
                     &err) < 0)
        log_warn("control_answer_lost", "reason=\"%s\"", pith_error_text(&err));
    free(text);
    free(call->response_topic);
    free(call);
}

static bool response_allowed(const struct daemon *daemon, const char *topic)
{
    size_t root_bytes = strlen(daemon->config->topic_root);

    return mqtt_topic_valid(topic) && strncmp(topic, daemon->config->topic_root, root_bytes) == 0 &&
           strncmp(topic + root_bytes, "/answer/", 8) == 0 && topic[root_bytes + 8];
}

static void called(void *user, const struct mqtt_message *message)
{
    struct daemon *daemon = user;
    const char *method = strrchr(message->topic, '/') + 1; /* our filter has slashes */
    struct remote_call *call = NULL;
    struct pith_error err = {0};
    json_t *params = NULL;
    char quoted[256];

    if (message->retained) /* it would be run again at each connection */
        return;
    if (message->response_topic && !response_allowed(daemon, message->response_topic)) {
        log_warn(
            "control_call_refused",
            "method=%s response_topic=%s reason=\"answers go to topics below %s/answer/ alone\"",
            pith_log_quote(method, quoted, sizeof quoted), "elsewhere", daemon->config->topic_root);
        return;
    }
    call = calloc(1, sizeof *call + message->correlation_bytes);
    if (!call)
        return;
    call->daemon = daemon;
    call->response_topic = message->response_topic ? strdup(message->response_topic) : NULL;
    call->correlation_bytes = message->correlation_bytes;
    if (message->correlation_bytes)
        memcpy(call->correlation, message->correlation, message->correlation_bytes);
    if (message->bytes && pith_json_parse(&params, message->payload, message->bytes,
                                          CONTROL_REQUEST_MAX_BYTES, "params", &err) < 0) {
        control_refuse_request(&err, answer_remote, call);
        return;
    }
    control_run(daemon, method, params, daemon->config->remote_changes, answer_remote, call);
    json_decref(params);
}

static const char *call_filter(const struct daemon *daemon, char filter[DAEMON_TOPIC_BYTES])
{
    return daemon_topic(daemon, filter, DAEMON_TOPIC_BYTES, "call/+");
}

int control_mqtt_open(struct daemon *daemon, struct pith_error *err)
{
    char filter[DAEMON_TOPIC_BYTES];

    return mqtt_subscribe(daemon->fleet, call_filter(daemon, filter), 1, false, called, daemon,
                          err);
}

void control_mqtt_close(struct daemon *daemon)
{
    char filter[DAEMON_TOPIC_BYTES];

    if (daemon->fleet)
        mqtt_unsubscribe(daemon->fleet, call_filter(daemon, filter), called, daemon);
}
