/* A broker that speaks MQTT 3.1.1 alone: hands each connection through to a broker on loopback, but
 * refuses those that ask for another version, as such brokers do (CONNACK with return code 1). For
 * tests/integration/mqtt.sh.
 *
 *   old_broker PORT BROKER-PORT */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_LINKS     32
#define VERSION_3_1_1 4 /* as CONNECT writes it */

struct link {
    int client, broker; /* broker: -1 until the first packet has told the version */
};

static struct sockaddr_in loopback(const char *port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t) atoi(port)),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int listen_on(const char *port)
{
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(fd, (struct sockaddr *) &address, sizeof address) < 0 || listen(fd, 8) < 0) {
        perror("old_broker");
        exit(EXIT_FAILURE);
    }
    return fd;
}

/* The protocol level of a CONNECT: after the fixed header and the name "MQTT"; 0: it is none. */
static int version_of(const uint8_t *packet, size_t bytes)
{
    size_t at = 1;

    while (at < bytes && packet[at] & 0x80) /* the remaining length */
        at++;
    at++;
    if (bytes < at + 7 || packet[0] != 0x10 || memcmp(packet + at, "\0\4MQTT", 6) != 0)
        return 0;
    return packet[at + 6];
}

static bool first_packet(struct link *link, const uint8_t *packet, size_t bytes,
                         const char *broker_port)
{
    static const uint8_t refused[] = {0x20, 2, 0, 1};
    struct sockaddr_in address = loopback(broker_port);
    int version = version_of(packet, bytes);

    (void) printf("connect %d\n", version);
    (void) fflush(stdout);
    if (version != VERSION_3_1_1) {
        (void) !write(link->client, refused, sizeof refused);
        return false;
    }
    link->broker = socket(AF_INET, SOCK_STREAM, 0);
    return link->broker >= 0 &&
           connect(link->broker, (struct sockaddr *) &address, sizeof address) == 0;
}

static bool write_all(int fd, const uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t wrote = write(fd, data, bytes);

        if (wrote <= 0)
            return false;
        data += wrote;
        bytes -= (size_t) wrote;
    }
    return true;
}

/* False: the link has ended. */
static bool serve(struct link *link, int from, const char *broker_port)
{
    uint8_t data[65536];
    ssize_t bytes = read(from, data, sizeof data);

    if (bytes <= 0)
        return false;
    if (from == link->broker)
        return write_all(link->client, data, (size_t) bytes);
    if (link->broker < 0 && !first_packet(link, data, (size_t) bytes, broker_port))
        return false;
    return write_all(link->broker, data, (size_t) bytes);
}

static void end(struct link *link)
{
    close(link->client);
    if (link->broker >= 0)
        close(link->broker);
    *link = (struct link){-1, -1};
}

int main(int count, char **words)
{
    struct link links[MAX_LINKS];
    struct pollfd polled[1 + 2 * MAX_LINKS];

    if (count != 3)
        return EXIT_FAILURE;
    (void) signal(SIGPIPE, SIG_IGN);
    polled[0] = (struct pollfd){.fd = listen_on(words[1]), .events = POLLIN};
    for (size_t i = 0; i < MAX_LINKS; i++)
        links[i] = (struct link){-1, -1};
    for (;;) {
        for (size_t i = 0; i < MAX_LINKS; i++) { /* poll passes over what is -1 */
            polled[1 + 2 * i] = (struct pollfd){.fd = links[i].client, .events = POLLIN};
            polled[2 + 2 * i] = (struct pollfd){.fd = links[i].broker, .events = POLLIN};
        }
        if (poll(polled, sizeof polled / sizeof *polled, -1) < 0 && errno != EINTR)
            return EXIT_FAILURE;
        for (size_t i = 0; i < 2 * (size_t) MAX_LINKS; i++) {
            struct link *link = &links[i / 2];

            if (polled[1 + i].revents && link->client >= 0 &&
                !serve(link, polled[1 + i].fd, words[2]))
                end(link);
        }
        if (polled[0].revents & POLLIN) {
            int client = accept(polled[0].fd, NULL, NULL);

            for (size_t i = 0; client >= 0 && i < MAX_LINKS; i++)
                if (links[i].client < 0) {
                    links[i].client = client;
                    client = -1;
                }
            if (client >= 0)
                close(client);
        }
    }
}
