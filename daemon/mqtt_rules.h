/* The rules of MQTT that need no connection: topics and filters, broker URLs, how long to wait
 * before trying again. Pure functions, so that they are tested without a broker. */
#ifndef PITHD_MQTT_RULES_H
#define PITHD_MQTT_RULES_H

#include <pith/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MQTT_TOPIC_MAX_BYTES 512 /* of ours and of those that arrive; MQTT itself allows 65535 */

/* A topic to publish on: UTF-8 without control characters, no '+' or '#', 1 to MQTT_TOPIC_MAX_BYTES
 * bytes. */
bool mqtt_topic_valid(const char *topic);
/* A filter: '+' fills a level alone, '#' is the whole last level. */
bool mqtt_filter_valid(const char *filter);
/* Whether a filter ('+', '#') matches a topic. Wildcards at the start don't match topics that begin
 * with '$'. */
bool mqtt_topic_matches(const char *filter, const char *topic);
/* Subscription identifier of a filter, 1..268435455. The same after a restart, so that what a kept
 * session still holds is told apart as before. */
uint32_t mqtt_filter_id(const char *filter);

struct mqtt_url {
    bool tls;
    char host[256]; /* without the brackets of an IPv6 address */
    uint16_t port;
};
/* mqtt://host[:port] or mqtts://host[:port]; 1883 and 8883 where no port is given. */
int mqtt_url_parse(struct mqtt_url *out, const char *url, struct pith_error *err) PITH_CHECKED;

#define MQTT_BACKOFF_BASE_MS 1000
#define MQTT_BACKOFF_CAP_MS  300000
/* Full jitter: uniform over [0, min(cap, base * 2^failures)]. random: 32 random bits. */
uint64_t mqtt_backoff_ms(unsigned failures, uint32_t random);

/* Why TLS failed, in words: what OpenSSL said and, where this machine's clock was not set, that no certificate is valid by
 * it. */
void mqtt_tls_reason(char *out, size_t bytes, const char *said, int64_t wall_ms);

#endif
