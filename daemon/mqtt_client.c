/* The thread that calls the MQTT library, and the loop's side of it: see mqtt_client.h. */
#include "daemon/mqtt_client.h"

#include "daemon/mqtt_library.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void *client_thread(void *context)
{
    struct mqtt_client *client = context;

    for (;;) {
        (void) pthread_mutex_lock(&client->mutex);
        while (!client->first)
            (void) pthread_cond_wait(&client->wanted, &client->mutex);
        struct mqtt_command *command = client->first;

        client->first = command->next;
        if (!client->first)
            client->last = &client->first;
        (void) pthread_mutex_unlock(&client->mutex);
        switch (command->kind) {
        case MQTT_COMMAND_CONNECT:
            mqtt_library_connect(client);
            break;
        case MQTT_COMMAND_DROP:
            mqtt_library_drop(client);
            break;
        case MQTT_COMMAND_PUBLISH:
            mqtt_library_publish(client, command);
            break;
        case MQTT_COMMAND_SUBSCRIBE:
        case MQTT_COMMAND_UNSUBSCRIBE:
            mqtt_library_subscribe(client, command);
            free(command);
            break;
        case MQTT_COMMAND_STOP:
            return NULL;
        }
    }
}

/* ---- the loop's side ---- */

static void enqueue(struct mqtt_client *client, struct mqtt_command *command)
{
    (void) pthread_mutex_lock(&client->mutex);
    command->next = NULL;
    *client->last = command;
    client->last = &command->next;
    (void) pthread_cond_signal(&client->wanted);
    (void) pthread_mutex_unlock(&client->mutex);
}

static void client_free(struct mqtt_client *client)
{
    free(client->client_id);
    free(client->will_topic);
    free(client->will_payload);
    free(client->ca);
    free(client->cert);
    free(client->key);
    free(client->username);
    free(client->password_file);
    free(client);
}

int mqtt_client_open(struct mqtt_client **out, const struct mqtt_client_options *options,
                     struct pith_error *err)
{
    struct mqtt_client *client = calloc(1, sizeof *client);
    pthread_attr_t small_stack;
    int rc = 0;

    if (!client)
        return pith_fail(err, -ENOMEM, "no memory for an MQTT connection");
    client->inbox = options->inbox;
    client->wake_on_any_thread = options->wake_on_any_thread;
    client->user = options->user;
    client->packet_max_bytes = options->packet_max_bytes;
    client->client_id = strdup(options->client_id);
    client->will_topic = options->will_topic ? strdup(options->will_topic) : NULL;
    client->will_payload = options->will_topic ? strdup(options->will_payload) : NULL;
    if (!client->client_id ||
        (options->will_topic && (!client->will_topic || !client->will_payload))) {
        client_free(client);
        return pith_fail(err, -ENOMEM, "no memory for an MQTT connection");
    }
    client->last = &client->first;
    client->connect.kind = MQTT_COMMAND_CONNECT;
    client->drop.kind = MQTT_COMMAND_DROP;
    client->stop.kind = MQTT_COMMAND_STOP;
    for (unsigned i = 0; i < MQTT_WINDOW_MAX; i++)
        client->slots[i] = (struct mqtt_slot){.client = client, .index = i};
    (void) pthread_mutex_init(&client->mutex, NULL); /* with default attributes glibc can't fail */
    (void) pthread_cond_init(&client->wanted, NULL);
    (void) pthread_attr_init(&small_stack);
    (void) pthread_attr_setstacksize(
        &small_stack, 256 * 1024); /* TLS set-up with certificates is the deepest call */
    rc = -pthread_create(&client->thread, &small_stack, client_thread, client);
    (void) pthread_attr_destroy(&small_stack);
    if (rc < 0) {
        client_free(client);
        return pith_fail(err, rc, "no thread for an MQTT connection: %s", strerror(-rc));
    }
    *out = client;
    return 0;
}

static int replace_text(char **at, const char *text)
{
    char *copy = text ? strdup(text) : NULL;

    if (text && !copy)
        return -ENOMEM;
    free(*at);
    *at = copy;
    return 0;
}

int mqtt_client_set_broker(struct mqtt_client *client, const struct config_broker *broker,
                           struct pith_error *err)
{
    int rc = mqtt_url_parse(&client->url, broker->url, err);

    if (rc < 0)
        return rc;
    client->keep_alive_ms = broker->keep_alive_ms;
    if (replace_text(&client->ca, broker->ca) < 0 ||
        replace_text(&client->cert, broker->cert) < 0 ||
        replace_text(&client->key, broker->key) < 0 ||
        replace_text(&client->username, broker->username) < 0 ||
        replace_text(&client->password_file, broker->password_file) < 0)
        return pith_fail(err, -ENOMEM, "no memory for an MQTT connection");
    return 0;
}

void mqtt_client_connect(struct mqtt_client *client, bool mqtt3)
{
    client->mqtt3 = mqtt3; /* nothing is under way, so the thread does not look at it */
    (void) pthread_mutex_lock(&client->mutex);
    client->facts = (struct mqtt_client_facts){.receive_max = 65535};
    (void) pthread_mutex_unlock(&client->mutex);
    enqueue(client, &client->connect);
}

void mqtt_client_drop(struct mqtt_client *client)
{
    enqueue(client, &client->drop);
}

void mqtt_client_publish(struct mqtt_client *client, unsigned slot,
                         const struct mqtt_publication *publication)
{
    struct mqtt_slot *into = &client->slots[slot];

    (void) pthread_mutex_lock(&client->mutex);
    into->in_flight = true;
    into->token = 0;
    into->sending++;
    (void) pthread_mutex_unlock(&client->mutex);
    into->command = (struct mqtt_command){
        .kind = MQTT_COMMAND_PUBLISH, .publication = publication, .slot = slot};
    enqueue(client, &into->command);
}

static int enqueue_filter(struct mqtt_client *client, enum mqtt_command_kind kind,
                          const char *filter, int qos, bool with_retained)
{
    struct mqtt_command *command = calloc(1, sizeof *command + strlen(filter) + 1);

    if (!command)
        return -ENOMEM;
    command->kind = kind;
    command->qos = qos;
    command->with_retained = with_retained;
    command->filter = memcpy(command + 1, filter, strlen(filter) + 1);
    enqueue(client, command);
    return 0;
}

int mqtt_client_subscribe(struct mqtt_client *client, const char *filter, int qos,
                          bool with_retained)
{
    return enqueue_filter(client, MQTT_COMMAND_SUBSCRIBE, filter, qos, with_retained);
}

int mqtt_client_unsubscribe(struct mqtt_client *client, const char *filter)
{
    return enqueue_filter(client, MQTT_COMMAND_UNSUBSCRIBE, filter, 0, false);
}

void mqtt_client_take_facts(struct mqtt_client *client, struct mqtt_client_facts *out)
{
    (void) pthread_mutex_lock(&client->mutex);
    *out = client->facts;
    client->facts.connected = false;
    client->facts.dropped = false;
    client->facts.answered = 0;
    client->facts.refused_filter_id = 0;
    /* `lost` stays until the drop: what is said after it isn't news. */
    (void) pthread_mutex_unlock(&client->mutex);
}

void mqtt_client_close(struct mqtt_client *client)
{
    if (!client)
        return;
    enqueue(client, &client->stop);
    (void) pthread_join(client->thread, NULL);
    (void) pthread_cond_destroy(&client->wanted);
    (void) pthread_mutex_destroy(&client->mutex);
    client_free(client);
}
