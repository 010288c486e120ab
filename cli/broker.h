/* A connection to the broker for a command: blocking calls over paho's MQTTAsync. MQTT 5, or 3.1.1 with a broker that refuses
 * 5. One thread uses it. */
#ifndef PITH_CLI_BROKER_H
#define PITH_CLI_BROKER_H

#include "cli/cli.h"
#include "libpith/base/yaml.h"

struct broker_options { /* from the command line, then PITH_* in the environment, then the settings file */
    const char *url;    /* mqtt://host[:port], mqtts://host[:port] */
    const char *ca, *cert, *key;
    const char *username, *password_file;
    const char *mqtt;   /* "auto", "5", "3.1.1" */
    const char *root;   /* "pith/1" */
    const char *socket; /* of the daemon on this machine */
    const char *settings;
    struct pith_yaml *yaml; /* own: what the settings file's strings point into */
};

/* Initializers for a command's table of options. */
#define BROKER_OPTIONS(o)                                                                                               \
    {"url", CLI_TEXT, &(o).url, "URL", "the broker: mqtt://host[:port] or mqtts://host[:port] (PITH_URL)"},             \
        {"ca", CLI_TEXT, &(o).ca, "FILE", "authorities that may vouch for the broker, PEM (PITH_CA)"},                  \
        {"cert", CLI_TEXT, &(o).cert, "FILE", "our certificate, PEM (PITH_CERT)"},                                      \
        {"key", CLI_TEXT, &(o).key, "FILE", "its private key, PEM (PITH_KEY)"},                                         \
        {"username", CLI_TEXT, &(o).username, "NAME", "for brokers that ask for one (PITH_USERNAME)"},                  \
        {"password-file", CLI_TEXT, &(o).password_file, "FILE", "its password, first line (PITH_PASSWORD_FILE)"},       \
        {"mqtt", CLI_TEXT, &(o).mqtt, "VERSION", "auto, 5 or 3.1.1 (PITH_MQTT; auto: 5, and 3.1.1 where that is refused)"},  \
        {"root", CLI_TEXT, &(o).root, "TOPIC", "what all topics begin with (PITH_ROOT; pith/1)"},                       \
        {"settings", CLI_TEXT, &(o).settings, "FILE", "YAML with any of these (PITH_SETTINGS; ~/.config/pith/pith.yaml)"}

/* Fills what the command line left out. -EINVAL with all faults of the settings file. */
int broker_options_complete(struct broker_options *options, struct pith_error *err) PITH_CHECKED;
void broker_options_done(struct broker_options *options);

struct broker;
/* Connects. -ECONNREFUSED (away, or TLS failed), -EPERM (it refused us), -EINVAL (options). */
int broker_open(struct broker **out, const struct broker_options *options, struct pith_error *err) PITH_CHECKED;
/* For commands that publish: in 3.1.1 a broker that refuses it acknowledges all the same, which is said on stderr. */
void broker_tell_version(const struct broker *broker);
void broker_close(struct broker *broker);
/* Bytes that one message may have as the broker says; UINT32_MAX: any. */
uint32_t broker_max_packet_bytes(const struct broker *broker);

/* count topic filters in one request. -EPERM where the broker refused one. */
int broker_subscribe(struct broker *broker, const char *const *filters, size_t count, struct pith_error *err) PITH_CHECKED;
int broker_unsubscribe(struct broker *broker, const char *const *filters, size_t count, struct pith_error *err) PITH_CHECKED;

/* Retained, QoS 1; at most 4 under way: it waits for room. Errors of earlier ones are told by later calls. */
int broker_publish(struct broker *broker, const char *topic, const void *payload, size_t bytes,
                   struct pith_error *err) PITH_CHECKED;
/* Until all are acknowledged. */
int broker_flush(struct broker *broker, struct pith_error *err) PITH_CHECKED;

struct broker_message {
    struct broker_message *next;
    char *topic;
    uint8_t *payload; /* a 0 follows it */
    size_t bytes;
    bool retained;
};
/* The next message, which the caller frees with broker_message_free. -ETIMEDOUT, -ENOTCONN. */
int broker_next(struct broker *broker, struct broker_message **out, int64_t timeout_ms, struct pith_error *err) PITH_CHECKED;
void broker_message_free(struct broker_message *message);

/* "<root>/..." into topic; returns topic. */
#define TOPIC_BYTES 384
const char *broker_topic(const struct broker *broker, char topic[TOPIC_BYTES], const char *format, ...) PITH_PRINTF(3, 4);
/* The part of a topic between its n-th and next '/', after the root; into level; returns whether there is one. */
bool topic_level(const struct broker *broker, const char *topic, size_t n, char *level, size_t level_bytes);

#endif
