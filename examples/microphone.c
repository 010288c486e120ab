/* A microphone on MQTT: publishes WAV files as the packets that a sensor would send, 80 ms each, and after each file the
 * label that was spoken, as feedback. For demonstrations and tests, and as a sample of what a sensor has to do.
 * Leaves to others: capture (this one reads files), and keeping what a broker that is away missed. */
#include <MQTTAsync.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PACKET_FRAMES 1280 /* 80 ms at 16 kHz: the step of the wake-word chain */
#define RATE_HZ       16000
#define WINDOW_COUNT  10 /* publications under way; below every broker's receive maximum */
#define MAX_FEEDBACK  8
#define WAIT_S        20
#define MAX_WAV_BYTES (64 * 1024 * 1024)

struct options {
    const char *url, *ca, *cert, *key, *topic;
    const char *feedback[MAX_FEEDBACK];
    int feedback_count;
    double speed; /* 1: as fast as spoken */
};

struct link {
    MQTTAsync client;
    sem_t connected; /* posted on success and on failure; see `failure` */
    sem_t window;    /* one for each publication that may begin */
    char failure[256];
};

static void connected_on_client_thread(void *context, MQTTAsync_successData5 *response)
{
    struct link *link = context;

    (void) response;
    sem_post(&link->connected);
}

static void refused_on_client_thread(void *context, MQTTAsync_failureData5 *response)
{
    struct link *link = context;

    (void) snprintf(link->failure, sizeof link->failure, "%s (%d)",
                    response->message ? response->message : "no answer", response->code);
    sem_post(&link->connected);
}

static void sent_on_client_thread(void *context, MQTTAsync_successData5 *response)
{
    struct link *link = context;

    (void) response;
    sem_post(&link->window);
}

static void lost_on_client_thread(void *context, MQTTAsync_failureData5 *response)
{
    struct link *link = context;

    (void) response;
    sem_post(&link->window); /* counted as sent: a microphone does not repeat itself */
}

static int wait_for(sem_t *semaphore)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    while (sem_timedwait(semaphore, &until) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

static int link_open(struct link *link, const struct options *options)
{
    MQTTAsync_createOptions create = MQTTAsync_createOptions_initializer5;
    MQTTAsync_connectOptions connect = MQTTAsync_connectOptions_initializer5;
    MQTTAsync_SSLOptions tls = MQTTAsync_SSLOptions_initializer;
    char id[64];

    (void) snprintf(id, sizeof id, "microphone-%ld", (long) time(NULL));
    sem_init(&link->connected, 0, 0);
    sem_init(&link->window, 0, WINDOW_COUNT);
    if (MQTTAsync_createWithOptions(&link->client, options->url, id, MQTTCLIENT_PERSISTENCE_NONE,
                                    NULL, &create) != MQTTASYNC_SUCCESS) {
        fprintf(stderr, "microphone: %s is no broker's URL: write tcp://host:port or ssl://host:port\n",
                options->url);
        return -EINVAL;
    }
    tls.trustStore = options->ca;
    tls.keyStore = options->cert;
    tls.privateKey = options->key;
    tls.verify = 1;
    connect.ssl = options->ca ? &tls : NULL;
    connect.cleanstart = 1;
    connect.onSuccess5 = connected_on_client_thread;
    connect.onFailure5 = refused_on_client_thread;
    connect.context = link;
    if (MQTTAsync_connect(link->client, &connect) != MQTTASYNC_SUCCESS ||
        wait_for(&link->connected) < 0)
        (void) snprintf(link->failure, sizeof link->failure, "no answer within %d s", WAIT_S);
    if (link->failure[0]) {
        fprintf(stderr, "microphone: cannot connect to %s: %s\n", options->url, link->failure);
        return -ECONNREFUSED;
    }
    return 0;
}

static int publish(struct link *link, const char *topic, const void *payload, size_t bytes)
{
    MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;

    if (wait_for(&link->window) < 0) {
        fprintf(stderr, "microphone: the broker acknowledges nothing any more\n");
        return -ETIMEDOUT;
    }
    response.onSuccess5 = sent_on_client_thread;
    response.onFailure5 = lost_on_client_thread;
    response.context = link;
    if (MQTTAsync_send(link->client, topic, (int) bytes, payload, 1, 0, &response) !=
        MQTTASYNC_SUCCESS) {
        fprintf(stderr, "microphone: the connection is gone\n");
        return -ENOTCONN;
    }
    return 0;
}

static void link_close(struct link *link)
{
    MQTTAsync_disconnectOptions disconnect = MQTTAsync_disconnectOptions_initializer5;

    for (int i = 0; i < WINDOW_COUNT; i++)
        if (wait_for(&link->window) < 0)
            break;
    disconnect.timeout = 1000;
    (void) MQTTAsync_disconnect(link->client, &disconnect);
    while (MQTTAsync_isConnected(link->client))
        (void) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    MQTTAsync_destroy(&link->client);
}

static uint32_t u32(const uint8_t *bytes)
{
    return bytes[0] | bytes[1] << 8 | bytes[2] << 16 | (uint32_t) bytes[3] << 24;
}

/* The samples of a 16 kHz mono 16-bit WAV file; *out is freed by the caller. Returns their number, or -1. */
static long read_wav(const char *path, uint8_t **out)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = NULL;
    long size = -1, samples = -1;

    if (file && fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) >= 44 && size <= MAX_WAV_BYTES &&
        fseek(file, 0, SEEK_SET) == 0 && (bytes = malloc((size_t) size)) &&
        fread(bytes, 1, (size_t) size, file) == (size_t) size && memcmp(bytes, "RIFF", 4) == 0) {
        bool right = false;

        for (long at = 12; at + 8 <= size;) {
            long chunk = (long) u32(bytes + at + 4);

            if (chunk > size - at - 8)
                chunk = size - at - 8; /* a streamed WAV does not know its length */
            if (memcmp(bytes + at, "fmt ", 4) == 0 && chunk >= 16)
                right = bytes[at + 8] == 1 && bytes[at + 10] == 1 &&
                        u32(bytes + at + 12) == RATE_HZ && bytes[at + 22] == 16;
            if (memcmp(bytes + at, "data", 4) == 0 && right) {
                samples = chunk / 2;
                memmove(bytes, bytes + at + 8, (size_t) chunk);
                break;
            }
            at += 8 + chunk + (chunk & 1);
        }
    }
    if (file)
        (void) fclose(file);
    if (samples < 0) {
        fprintf(stderr, "microphone: %s is not a 16 kHz mono 16-bit WAV file\n", path);
        free(bytes);
        return -1;
    }
    *out = bytes;
    return samples;
}

static int speak(struct link *link, const struct options *options, const char *path, const char *label)
{
    uint8_t *samples = NULL;
    long count = read_wav(path, &samples);
    struct timespec next;
    char feedback[256];
    int rc = 0;

    if (count < 0)
        return -EBADMSG;
    clock_gettime(CLOCK_MONOTONIC, &next);
    for (long at = 0; at < count && rc == 0; at += PACKET_FRAMES) {
        long frames = count - at < PACKET_FRAMES ? count - at : PACKET_FRAMES;

        rc = publish(link, options->topic, samples + 2 * at, (size_t) (2 * frames));
        next.tv_nsec += (long) (1e9 * (double) frames / RATE_HZ / options->speed);
        while (next.tv_nsec >= 1000000000L) {
            next.tv_nsec -= 1000000000L;
            next.tv_sec++;
        }
        (void) clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
    }
    free(samples);
    if (strcmp(label, "none") == 0)
        (void) snprintf(feedback, sizeof feedback, "{\"label\": null, \"window_ms\": %ld}",
                        count * 1000 / RATE_HZ);
    else
        (void) snprintf(feedback, sizeof feedback, "{\"label\": \"%s\", \"window_ms\": %ld}", label,
                        count * 1000 / RATE_HZ);
    for (int i = 0; i < options->feedback_count && rc == 0; i++)
        rc = publish(link, options->feedback[i], feedback, strlen(feedback));
    return rc;
}

static int usage(void)
{
    fprintf(stderr,
            "usage: microphone --url tcp://HOST:PORT --topic TOPIC [--ca FILE --cert FILE --key FILE]\n"
            "                  [--speed N] [--feedback TOPIC]... LIST\n"
            "LIST has a line a recording: the path of a 16 kHz mono WAV file, a comma, and the label that is\n"
            "spoken in it (\"none\" for none). --speed 10 sends ten times as fast as it was spoken.\n");
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"url", required_argument, NULL, 'u'},   {"topic", required_argument, NULL, 't'},
        {"ca", required_argument, NULL, 'a'},    {"cert", required_argument, NULL, 'c'},
        {"key", required_argument, NULL, 'k'},   {"feedback", required_argument, NULL, 'f'},
        {"speed", required_argument, NULL, 's'}, {NULL, 0, NULL, 0},
    };
    struct options options = {.speed = 1};
    struct link link = {0};
    char line[4096];
    FILE *list;
    int option, rc = 0;

    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
        case 'u': options.url = optarg; break;
        case 't': options.topic = optarg; break;
        case 'a': options.ca = optarg; break;
        case 'c': options.cert = optarg; break;
        case 'k': options.key = optarg; break;
        case 's': options.speed = strtod(optarg, NULL); break;
        case 'f':
            if (options.feedback_count == MAX_FEEDBACK)
                return usage();
            options.feedback[options.feedback_count++] = optarg;
            break;
        default: return usage();
        }
    }
    if (!options.url || !options.topic || !(options.speed > 0) || optind + 1 != argc)
        return usage();
    list = fopen(argv[optind], "r");
    if (!list) {
        fprintf(stderr, "microphone: %s: %s\n", argv[optind], strerror(errno));
        return 1;
    }
    rc = link_open(&link, &options);
    while (rc == 0 && fgets(line, sizeof line, list)) {
        char *comma = strrchr(line, ',');

        line[strcspn(line, "\r\n")] = '\0';
        if (!comma || comma == line)
            continue;
        *comma = '\0';
        rc = speak(&link, &options, line, comma + 1);
    }
    (void) fclose(list);
    if (link.client)
        link_close(&link);
    return rc == 0 ? 0 : 1;
}
