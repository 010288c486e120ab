/* One JSON object a line, each way. An answer has a limit and a time, as the other side may be
 * stuck. */
#include "cli/daemon_call.h"

#include "libpith/base/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MAX_BYTES (16 * 1024 * 1024)
#define ANSWER_TIMEOUT_S 20

struct daemon_link {
    int fd;
    struct pith_buffer rest; /* read past the last answer's line */
};

int daemon_open(struct daemon_link **out, const char *socket_path, struct pith_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval timeout = {.tv_sec = ANSWER_TIMEOUT_S};
    struct daemon_link *link;
    int rc = 0;

    if (strlen(socket_path) >= sizeof address.sun_path)
        return pith_fail(err, -EINVAL, "--socket %.64s...: the path is too long", socket_path);
    memcpy(address.sun_path, socket_path, strlen(socket_path) + 1);
    link = calloc(1, sizeof *link);
    if (!link)
        return pith_fail(err, -ENOMEM, "no memory to call the daemon");
    link->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (link->fd < 0 || connect(link->fd, (struct sockaddr *) &address, sizeof address) < 0) {
        if (errno == EACCES || errno == EPERM)
            rc = pith_fail(
                err, -EPERM,
                "the daemon's socket %s is closed to you; run this as root or join the group pith",
                socket_path);
        else
            rc = pith_fail(err, -ECONNREFUSED,
                           "no daemon listens on %s (%s); is pithd running? --socket names another",
                           socket_path, strerror(errno));
        daemon_close(link);
        return rc;
    }
    (void) setsockopt(link->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    (void) setsockopt(link->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    *out = link;
    return 0;
}

void daemon_close(struct daemon_link *link)
{
    if (!link)
        return;
    if (link->fd >= 0)
        close(link->fd);
    pith_buffer_done(&link->rest);
    free(link);
}

static int send_line(struct daemon_link *link, const char *method, const json_t *params,
                     struct pith_error *err)
{
    json_t *request = json_pack("{ss sO*}", "method", method, "params", params);
    char *text = request ? pith_json_text(request) : NULL;
    size_t bytes = text ? strlen(text) : 0;
    int rc = text ? 0 : pith_fail(err, -ENOMEM, "no memory to call the daemon");

    if (text)
        text[bytes++] = '\n'; /* in place of the 0: from here on it is bytes */
    for (size_t at = 0; at < bytes && rc == 0;) {
        ssize_t sent = send(link->fd, text + at, bytes - at, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            rc = pith_fail(err, -ENOTCONN, "the daemon hung up: %s", strerror(errno));
        at += sent > 0 ? (size_t) sent : 0;
    }
    free(text);
    json_decref(request);
    return rc;
}

/* Reads up to the end of a line, into rest; *out_bytes: of the line without its end. */
static int read_line(struct daemon_link *link, size_t *out_bytes, struct pith_error *err)
{
    for (;;) {
        char piece[16384];
        char *end = link->rest.data ? memchr(link->rest.data, '\n', link->rest.bytes) : NULL;
        ssize_t got;

        if (end) {
            *out_bytes = (size_t) (end - (char *) link->rest.data);
            return 0;
        }
        if (link->rest.bytes > ANSWER_MAX_BYTES)
            return pith_fail(err, -EFBIG, "the daemon's answer is over %d bytes", ANSWER_MAX_BYTES);
        got = recv(link->fd, piece, sizeof piece, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return pith_fail(err, -ETIMEDOUT, "the daemon did not answer within %d s",
                             ANSWER_TIMEOUT_S);
        if (got <= 0)
            return pith_fail(err, -ENOTCONN, "the daemon hung up without an answer");
        pith_buffer_append(&link->rest, piece, (size_t) got);
        if (link->rest.failed)
            return pith_fail(err, -ENOMEM, "no memory for the daemon's answer");
    }
}

/* The daemon's own words for whose fault it was. */
static int status_of(const char *code)
{
    static const struct {
        const char *code;
        int status;
    } known[] = {{"invalid", -EINVAL}, {"not_found", -ENOENT}, {"forbidden", -EPERM}};

    for (size_t i = 0; code && i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].code, code) == 0)
            return known[i].status;
    return -EPROTO;
}

int daemon_call(struct daemon_link *link, const char *method, const json_t *params, json_t **out,
                struct pith_error *err)
{
    json_t *answer = NULL, *result;
    size_t bytes = 0;
    int rc = send_line(link, method, params, err);

    if (rc == 0)
        rc = read_line(link, &bytes, err);
    if (rc < 0)
        return rc;
    rc = pith_json_parse(&answer, link->rest.data, bytes, ANSWER_MAX_BYTES, "the daemon's answer",
                         err);
    link->rest.bytes -= bytes + 1;
    memmove(link->rest.data, link->rest.data + bytes + 1, link->rest.bytes);
    if (rc < 0)
        return rc;
    result = json_object_get(answer, "result");
    if (!json_is_true(json_object_get(answer, "ok"))) {
        const char *sentence = json_string_value(json_object_get(answer, "error"));

        rc = pith_fail(err, status_of(json_string_value(json_object_get(answer, "code"))), "%s",
                       sentence ? sentence : "the daemon refused, and did not say why");
    } else {
        *out = result ? json_incref(result) : json_object();
    }
    json_decref(answer);
    return rc;
}
