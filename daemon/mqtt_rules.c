/* Topics, filters, broker URLs and back-off: see mqtt_rules.h. */
#include "daemon/mqtt_rules.h"

#include "libpith/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of the UTF-8 character at text, 0 where it is none that a topic may have: control
 * characters, surrogates and overlong forms are refused, as brokers close the connection over them.
 */
static size_t utf8_bytes(const unsigned char *text)
{
    if (text[0] < 0x20 || text[0] == 0x7f)
        return 0;
    if (text[0] < 0x80)
        return 1;
    size_t bytes = text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;
    uint32_t point = text[0] & (0xff >> (bytes + 1));

    if (text[0] < 0xc2 || text[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < bytes; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (text[i] & 0x3f);
    }
    if ((bytes == 2 && point < 0xa0) || (bytes == 3 && point < 0x800) ||
        (bytes == 4 && (point < 0x10000 || point > 0x10ffff)) ||
        (point >= 0xd800 && point <= 0xdfff))
        return 0;
    return bytes;
}

static bool text_valid(const char *text)
{
    const unsigned char *at = (const unsigned char *) text;

    if (!*at || strnlen(text, MQTT_TOPIC_MAX_BYTES + 1) > MQTT_TOPIC_MAX_BYTES)
        return false;
    while (*at) {
        size_t bytes = utf8_bytes(at);

        if (bytes == 0)
            return false;
        at += bytes;
    }
    return true;
}

bool mqtt_topic_valid(const char *topic)
{
    return text_valid(topic) && !strpbrk(topic, "+#");
}

bool mqtt_filter_valid(const char *filter)
{
    if (!text_valid(filter))
        return false;
    for (const char *at = filter; *at; at++) {
        bool starts = at == filter || at[-1] == '/';

        if (*at == '#' && (!starts || at[1]))
            return false;
        if (*at == '+' && (!starts || (at[1] && at[1] != '/')))
            return false;
    }
    return true;
}

bool mqtt_topic_matches(const char *filter, const char *topic)
{
    if (*topic == '$' && (*filter == '+' || *filter == '#'))
        return false;
    for (;;) {
        size_t filter_level = strcspn(filter, "/");
        size_t topic_level = strcspn(topic, "/");

        if (*filter == '#')
            return true;
        if (!(filter_level == 1 && *filter == '+') &&
            (filter_level != topic_level || memcmp(filter, topic, filter_level) != 0))
            return false;
        filter += filter_level;
        topic += topic_level;
        if (!*topic) /* "a/#" matches "a" too */
            return !*filter || strcmp(filter, "/#") == 0;
        if (!*filter)
            return false;
        filter++;
        topic++;
    }
}

uint32_t mqtt_filter_id(const char *filter)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (; *filter; filter++)
        hash = (hash ^ (unsigned char) *filter) * 16777619u;
    return 1 + hash % 268435455u; /* the greatest that a variable byte integer holds */
}

/* The port after ':' at text, or the default where there is nothing. 0: not a port. */
static uint16_t port_of(const char *text, uint16_t otherwise)
{
    unsigned long port = 0;

    if (!*text)
        return otherwise;
    if (*text++ != ':' || !*text || strspn(text, "0123456789") != strlen(text) || strlen(text) > 5)
        return 0;
    port = strtoul(text, NULL, 10);
    return port <= 65535 ? (uint16_t) port : 0;
}

int mqtt_url_parse(struct mqtt_url *out, const char *url, struct pith_error *err)
{
    static const char rule[] = "write mqtt://host, mqtts://host or either with :port";
    struct mqtt_url parsed = {0};
    const char *host = NULL, *end = NULL;

    if (strncmp(url, "mqtt://", 7) == 0) {
        host = url + 7;
    } else if (strncmp(url, "mqtts://", 8) == 0) {
        host = url + 8;
        parsed.tls = true;
    } else {
        return pith_fail(err, -EINVAL, "\"%s\" is no MQTT URL: %s", url, rule);
    }
    if (strchr(host, '@'))
        return pith_fail(err, -EINVAL,
                         "a URL in this file holds no user or password: write `username` and "
                         "`password_file` beside it");
    if (*host == '[') {
        host++;
        end = strchr(host, ']');
        if (!end || strspn(host, "0123456789abcdefABCDEF:.%") != (size_t) (end - host))
            return pith_fail(err, -EINVAL, "\"%s\" has no IPv6 address in its brackets", url);
    } else {
        end = host + strcspn(host, ":");
        if (strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") !=
            (size_t) (end - host))
            return pith_fail(err, -EINVAL, "\"%s\" has no host name that can be looked up: %s", url,
                             rule);
    }
    if (end == host || (size_t) (end - host) >= sizeof parsed.host)
        return pith_fail(err, -EINVAL, "\"%s\" has no host name: %s", url, rule);
    memcpy(parsed.host, host, (size_t) (end - host));
    parsed.port = port_of(*end == ']' ? end + 1 : end, parsed.tls ? 8883 : 1883);
    if (parsed.port == 0)
        return pith_fail(err, -EINVAL, "\"%s\" does not end with a port of 1 to 65535: %s", url,
                         rule);
    *out = parsed;
    return 0;
}

uint64_t mqtt_backoff_ms(unsigned failures, uint32_t random)
{
    uint64_t most_ms = MQTT_BACKOFF_CAP_MS;

    if (failures < 9) /* 1 s * 2^9 is past the cap */
        most_ms = (uint64_t) MQTT_BACKOFF_BASE_MS << failures;
    if (most_ms > MQTT_BACKOFF_CAP_MS)
        most_ms = MQTT_BACKOFF_CAP_MS;
    return (uint64_t) random * (most_ms + 1) >> 32;
}

void mqtt_tls_reason(char *out, size_t bytes, const char *said, int64_t wall_ms)
{
    char time[25];

    if (wall_ms >= PITH_CLOCK_SET_MS || !strstr(said, "certificate verify failed"))
        (void) snprintf(out, bytes, "TLS: %.200s", said);
    else
        (void) snprintf(out, bytes,
                        "TLS: %.200s; this machine's clock is not set (it says %.10s), and no "
                        "certificate is valid before its time",
                        said, pith_wall_text(wall_ms, time));
}
