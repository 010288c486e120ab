/* The control table's local door: a Unix socket in the run folder, one JSON object a line, answers
 * in order. Open to root, to the daemon's own user and to members of its group. Lines, clients and
 * silence are bounded. */
#include "daemon/control_call.h"

#include "libpith/base/file.h"
#include "libpith/base/json.h"
#include "libpith/base/log.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENTS_MAX      16
#define IDLE_MS          300000            /* a client that says nothing for so long is let go */
#define UNREAD_MAX_BYTES (4 * 1024 * 1024) /* answers that a client asked for and doesn't read */
#define GROUPS_MAX       256

struct client {
    struct client *next;
    struct control_socket *door;
    uv_pipe_t pipe;
    uv_timer_t idle;
    unsigned open;    /* handles */
    unsigned pending; /* calls under way and answers being written: each refers to this */
    bool calling, reading, closing;
    size_t used;
    char line[CONTROL_REQUEST_MAX_BYTES];
};

struct control_socket {
    struct daemon *daemon;
    uv_pipe_t listener;
    char path[sizeof((struct sockaddr_un *) 0)->sun_path];
    struct client *clients;
    unsigned client_count;
    bool closing, listener_closed;
    void (*closed)(void *user);
    void *closed_user;
};

struct answer {
    uv_write_t write;
    struct client *client;
    char *text;
};

static void read_lines(struct client *client);

static void door_done(struct control_socket *door)
{
    void (*closed)(void *user) = door->closed;
    void *user = door->closed_user;

    if (!door->closing || !door->listener_closed || door->client_count > 0)
        return;
    free(door);
    if (closed)
        closed(user);
}

/* Freed once its handles are closed and no call under way can answer to it any more. */
static void client_release(struct client *client)
{
    struct control_socket *door = client->door;

    if (client->open > 0 || client->pending > 0)
        return;
    for (struct client **at = &door->clients; *at; at = &(*at)->next)
        if (*at == client) {
            *at = client->next;
            break;
        }
    door->client_count--;
    free(client);
    door_done(door);
}

static void client_handle_closed(uv_handle_t *handle)
{
    struct client *client = handle->data;

    client->open--;
    client_release(client);
}

static void client_close(struct client *client)
{
    if (client->closing)
        return;
    client->closing = true;
    uv_close((uv_handle_t *) &client->pipe, client_handle_closed);
    uv_close((uv_handle_t *) &client->idle, client_handle_closed);
}

static void idle_due(uv_timer_t *timer)
{
    struct client *client = timer->data;

    if (!client->calling)
        client_close(client);
}

static void written(uv_write_t *write, int status)
{
    struct answer *answer = (struct answer *) write;
    struct client *client = answer->client;

    free(answer->text);
    free(answer);
    client->pending--;
    if (status < 0)
        client_close(client);
    client_release(client);
}

static void write_answer(struct client *client, char *taken_text)
{
    struct answer *answer = calloc(1, sizeof *answer);
    size_t bytes = strlen(taken_text);
    uv_buf_t line = uv_buf_init(taken_text, (unsigned) bytes + 1);

    if (!answer) {
        free(taken_text);
        client_close(client);
        return;
    }
    taken_text[bytes] = '\n'; /* in place of the text's end */
    answer->client = client;
    answer->text = taken_text;
    client->pending++;
    if (uv_write(&answer->write, (uv_stream_t *) &client->pipe, &line, 1, written) < 0) {
        free(answer->text);
        free(answer);
        client->pending--;
        client_close(client);
    }
}

static void answer_local(void *user, char *text)
{
    struct client *client = user;

    client->calling = false;
    client->pending--;
    if (client->closing) {
        free(text);
        client_release(client);
    } else if (!text ||
               uv_stream_get_write_queue_size((uv_stream_t *) &client->pipe) > UNREAD_MAX_BYTES) {
        free(text);
        client_close(client);
    } else {
        write_answer(client, text);
        if (!client->reading) /* the answer came later: there may be more lines */
            read_lines(client);
    }
}

static void run_line(struct client *client, const char *text, size_t bytes)
{
    static const char *const known[] = {"method", "params", NULL};
    struct pith_error err = {0};
    json_t *request = NULL, *params = NULL;
    const char *method = NULL;
    int rc = pith_json_parse(&request, text, bytes, CONTROL_REQUEST_MAX_BYTES, "request", &err);

    if (rc == 0)
        rc = pith_json_only(request, "request", known, &err);
    if (rc == 0)
        rc = pith_json_string(request, "request", "method", &method, &err);
    if (rc == 0)
        rc = pith_json_object(request, "request", "params", false, &params, &err);
    client->calling = true;
    client->pending++;
    if (rc < 0)
        control_refuse_request(&err, answer_local, client);
    else
        control_run(client->door->daemon, method, params, true, answer_local, client);
    json_decref(request);
}

/* Runs the lines that are there, one at a time, so that answers come in order. */
static void read_lines(struct client *client)
{
    char *end = NULL;

    client->reading = true;
    client->pending++; /* so that it outlives the answers below */
    while (!client->calling && !client->closing &&
           (end = memchr(client->line, '\n', client->used)) != NULL) {
        size_t bytes = (size_t) (end - client->line);

        if (bytes > 0)
            run_line(client, client->line, bytes);
        client->used -= bytes + 1;
        memmove(client->line, end + 1, client->used);
    }
    if (!client->calling && !client->closing && client->used == sizeof client->line) {
        struct pith_error err = {0};

        (void) pith_fail(&err, -EFBIG, "a request is one line of at most %zu bytes",
                         sizeof client->line - 1);
        client->used = 0;
        client->calling = true;
        client->pending++;
        control_refuse_request(&err, answer_local, client);
        client_close(client);
    }
    client->reading = false;
    client->pending--;
    client_release(client);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct client *client = handle->data;

    (void) suggested;
    *out =
        uv_buf_init(client->line + client->used, (unsigned) (sizeof client->line - client->used));
}

static void have_read(uv_stream_t *stream, ssize_t bytes, const uv_buf_t *buffer)
{
    struct client *client = stream->data;

    (void) buffer;
    if (bytes ==
        UV_ENOBUFS) /* the line is full while a call runs: what comes waits in the socket */
        return;
    if (bytes < 0) {
        client_close(client);
        return;
    }
    client->used += (size_t) bytes;
    (void) uv_timer_again(&client->idle);
    read_lines(client);
}

/* The file's mode keeps others out as well; this holds where the folder was made by hand. */
static bool peer_allowed(const uv_pipe_t *pipe)
{
    struct ucred peer = {0};
    socklen_t bytes = sizeof peer;
    gid_t groups[GROUPS_MAX];
    socklen_t group_bytes = sizeof groups;
    int fd = -1;

    if (uv_fileno((const uv_handle_t *) pipe, &fd) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) < 0)
        return false;
    if (peer.uid == 0 || peer.uid == geteuid() || peer.gid == getegid())
        return true;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &group_bytes) < 0)
        return false;
    for (size_t i = 0; i < group_bytes / sizeof *groups; i++)
        if (groups[i] == getegid())
            return true;
    return false;
}

static void connection_came(uv_stream_t *listener, int status)
{
    struct control_socket *door = listener->data;
    struct client *client = status < 0 ? NULL : calloc(1, sizeof *client);

    if (!client)
        return;
    client->door = door;
    client->pipe.data = client->idle.data = client;
    client->open = 2;
    (void) uv_pipe_init(door->daemon->loop, &client->pipe, 0);
    (void) uv_timer_init(door->daemon->loop, &client->idle);
    client->next = door->clients;
    door->clients = client;
    door->client_count++;
    if (uv_accept(listener, (uv_stream_t *) &client->pipe) < 0) {
        client_close(client);
        return;
    }
    if (door->client_count > CLIENTS_MAX || !peer_allowed(&client->pipe)) {
        log_warn("control_client_refused", "reason=\"%s\"",
                 door->client_count > CLIENTS_MAX ? "too many clients"
                                                  : "not root, not our user, not in our group");
        client_close(client);
        return;
    }
    if (uv_read_start((uv_stream_t *) &client->pipe, give_room, have_read) < 0 ||
        uv_timer_start(&client->idle, idle_due, IDLE_MS, IDLE_MS) < 0)
        client_close(client);
}

static void listener_closed(uv_handle_t *handle)
{
    struct control_socket *door = handle->data;

    door->listener_closed = true;
    door_done(door);
}

/* The lock on the state folder does not say it: two configs may share a run_dir, and a state folder
 * may have been removed under a daemon that lives. */
static bool somebody_listens(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool answered;

    if (fd < 0)
        return false;
    memcpy(address.sun_path, path, strlen(path)); /* it is shorter: see control_socket_open */
    answered = connect(fd, (struct sockaddr *) &address, sizeof address) == 0 || errno == EAGAIN;
    (void) close(fd);
    return answered;
}

static int listen_at(struct control_socket *door, struct pith_error *err)
{
    struct stat about;
    mode_t mask = 0;
    int rc = 0;

    if (lstat(door->path, &about) == 0 && S_ISSOCK(about.st_mode)) {
        if (somebody_listens(door->path))
            return pith_fail(err, -EADDRINUSE,
                             "control socket %s: another pithd listens there; end it, or give each "
                             "a run_dir of its own",
                             door->path);
        (void) unlink(door->path); /* of a daemon that was killed */
    }
    mask = umask(0117); /* the socket is 0660 from its first moment */
    rc = uv_pipe_bind(&door->listener, door->path);
    (void) umask(mask);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *) &door->listener, CLIENTS_MAX, connection_came);
    if (rc < 0)
        return pith_fail(err, rc, "control socket %s: %s", door->path, uv_strerror(rc));
    return 0;
}

int control_socket_open(struct control_socket **out, struct daemon *daemon, struct pith_error *err)
{
    struct control_socket *door = calloc(1, sizeof *door);
    int rc = 0;

    if (!door)
        return pith_fail(err, -ENOMEM, "no memory for the control socket");
    door->daemon = daemon;
    if ((size_t) snprintf(door->path, sizeof door->path, "%s/control.sock",
                          daemon->config->run_dir) >= sizeof door->path) {
        free(door);
        return pith_fail(err, -ENAMETOOLONG,
                         "control socket: %.200s/control.sock is longer than the %zu bytes that a "
                         "socket's path may have: choose another run_dir",
                         daemon->config->run_dir, sizeof door->path - 1);
    }
    door->listener.data = door;
    rc = pith_mkdirs(daemon->config->run_dir, 0750, err);
    if (rc < 0) {
        free(door);
        return rc;
    }
    (void) uv_pipe_init(daemon->loop, &door->listener, 0);
    rc = listen_at(door, err);
    if (rc < 0) {
        door->closing = true;
        uv_close((uv_handle_t *) &door->listener, listener_closed);
        return rc;
    }
    *out = door;
    return 0;
}

void control_socket_close(struct control_socket *door, void (*closed)(void *user), void *user)
{
    if (!door) {
        closed(user);
        return;
    }
    door->closing = true;
    door->closed = closed;
    door->closed_user = user;
    uv_close((uv_handle_t *) &door->listener, listener_closed); /* removes the socket's file too */
    for (struct client *client = door->clients; client; client = client->next)
        client_close(client);
}
