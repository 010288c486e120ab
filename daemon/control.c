/* The control table and what happens to a call: see control.h. The doors are control_socket.c and
 * control_mqtt.c. */
#include "daemon/control.h"

#include <config.h>

#include "daemon/control_call.h"
#include "daemon/links.h"
#include "daemon/machine.h"
#include "libpith/base/clock.h"
#include "libpith/base/json.h"
#include "libpith/base/log.h"
#include "libpith/base/names.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define METHODS_MAX 128

struct control_call {
    control_answer *answer;
    void *user;
};

struct control {
    struct daemon *daemon;
    struct control_socket *socket;
};

/* The sum of these is the table. */
static const struct control_method *const tables[] = {
    control_methods,
    deployments_methods,
    pipelines_methods,
    telemetry_methods,
};

static const struct control_method *find_method(const char *name)
{
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        for (const struct control_method *method = tables[i]; method->name; method++)
            if (strcmp(method->name, name) == 0)
                return method;
    return NULL;
}

/* ---- answers ---- */

static void answer_with(struct control_call *call, json_t *taken_answer)
{
    char *text = taken_answer ? pith_json_text(taken_answer) : NULL;

    json_decref(taken_answer);
    call->answer(call->user, text);
    free(call);
}

void control_reply(struct control_call *call, json_t *result)
{
    answer_with(call, json_pack("{s:b, s:o}", "ok", 1, "result", result ? result : json_object()));
}

/* What a program may act on; people have the sentence. */
static const char *code_name(int code)
{
    switch (code) {
    case -EINVAL:
    case -EBADMSG:
        return "invalid";
    case -ENOENT:
        return "not_found";
    case -EACCES:
    case -EPERM:
    case -EKEYREJECTED:
        return "forbidden";
    case -EBUSY:
    case -EALREADY:
        return "busy";
    case -ENOTSUP:
        return "unsupported";
    case -ENOMEM:
    case -ENOSPC:
    case -ENOBUFS:
    case -EFBIG:
        return "limit";
    default:
        return "failed";
    }
}

static void refuse_with(struct control_call *call, int code, const char *text)
{
    answer_with(call,
                json_pack("{s:b, s:s, s:s}", "ok", 0, "code", code_name(code), "error", text));
}

void control_refuse(struct control_call *call, int code, const char *format, ...)
{
    struct pith_error err = {0};
    va_list arguments;

    va_start(arguments, format);
    (void) pith_vfail(&err, code, format, arguments);
    va_end(arguments);
    refuse_with(call, code, err.text);
}

static struct control_call *call_new(control_answer *answer, void *user)
{
    struct control_call *call = malloc(sizeof *call);

    if (!call) {
        answer(user, NULL);
        return NULL;
    }
    *call = (struct control_call){.answer = answer, .user = user};
    return call;
}

void control_refuse_request(const struct pith_error *err, control_answer *answer, void *user)
{
    struct control_call *call = call_new(answer, user);

    if (call)
        refuse_with(call, err->code, pith_error_text(err));
}

static void refuse_unknown(struct control_call *call, const char *name)
{
    const char *known[METHODS_MAX + 1] = {0};
    const char *nearest = NULL;
    size_t count = 0;

    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        for (const struct control_method *method = tables[i]; method->name && count < METHODS_MAX;
             method++)
            known[count++] = method->name;
    nearest = pith_nearest_name(name, known);
    if (nearest)
        control_refuse(call, -ENOENT, "there is no method \"%.64s\"; did you mean \"%s\"?", name,
                       nearest);
    else
        control_refuse(call, -ENOENT, "there is no method \"%.64s\"; `describe` lists them", name);
}

void control_run(struct daemon *daemon, const char *name, const json_t *params, bool may_change,
                 control_answer *answer, void *user)
{
    struct control_call *call = call_new(answer, user);
    const struct control_method *method = find_method(name);
    json_t *none = NULL;

    if (!call)
        return;
    if (!method) {
        refuse_unknown(call, name);
        return;
    }
    if (method->changes && !may_change) {
        control_refuse(call, -EPERM,
                       "%s changes state, which this gateway allows over MQTT only with "
                       "remote_changes: true in "
                       "its config",
                       name);
        return;
    }
    if (daemon->stopping) {
        control_refuse(call, -EBUSY, "pithd is stopping");
        return;
    }
    if (!params)
        params = none = json_object();
    if (!json_is_object(params))
        control_refuse(call, -EINVAL, "params must be a JSON object");
    else
        method->run(daemon, params, call);
    json_decref(none);
}

/* ---- methods of the daemon itself ---- */

static void run_status(struct daemon *daemon, const json_t *params, struct control_call *call)
{
    const struct loop_watch *watch = &daemon->watch;

    (void) params;
    control_reply(
        call, json_pack("{s:s, s:s, s:I, s:I, s:b, s:o, s:{s:I, s:I, s:f, s:I}, s:i, s:i}", "gateway",
                        daemon->config->gateway, "version", PACKAGE_VERSION, "uptime_ms",
                        (json_int_t) ((pith_monotonic_ns() - daemon->started_ns) / 1000000),
                        "resident_bytes", (json_int_t) machine_resident_bytes(), "remote_changes",
                        daemon->config->remote_changes, "links", links_status(daemon), "loop",
                        "turn_count", (json_int_t) watch->turns, "slow_turn_count",
                        (json_int_t) watch->slow_turns, "slowest_turn_ms",
                        (double) watch->slowest_ns / 1e6, "delayed_turn_count",
                        (json_int_t) watch->delayed_turns, "pipeline_count",
                        (int) daemon->config->pipeline_count, "trusted_key_count",
                        (int) daemon->config->trust_count));
}

static void run_describe(struct daemon *daemon, const json_t *params, struct control_call *call)
{
    json_t *list = json_array();

    (void) daemon;
    (void) params;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        for (const struct control_method *method = tables[i]; method->name; method++)
            (void) json_array_append_new(list,
                                         json_pack("{s:s, s:s, s:b}", "name", method->name, "help",
                                                   method->help, "changes", method->changes));
    control_reply(call, json_pack("{s:s, s:o}", "version", PACKAGE_VERSION, "methods", list));
}

static void run_plugins(struct daemon *daemon, const json_t *params, struct control_call *call)
{
    json_t *list = json_array();

    (void) params;
    for (size_t i = 0; i < pith_plugins_count(daemon->plugins); i++) {
        const struct pith_plugin_entry *entry = pith_plugins_entry(daemon->plugins, i);

        if (entry->plugin)
            (void) json_array_append_new(
                list,
                json_pack("{s:s, s:s, s:s, s:s, s:s?}", "path", entry->path, "kind",
                          pith_kind_name(entry->plugin->kind), "name", entry->plugin->name,
                          "version", entry->plugin->version, "summary", entry->plugin->summary));
        else
            (void) json_array_append_new(
                list, json_pack("{s:s, s:s}", "path", entry->path, "refusal", entry->refusal));
    }
    control_reply(call, json_pack("{s:o}", "plugins", list));
}

static void run_reload(struct daemon *daemon, const json_t *params, struct control_call *call)
{
    struct pith_error err = {0};
    int rc = daemon_reload(daemon, &err);

    (void) params;
    if (rc < 0)
        control_refuse(call, rc, "%s", pith_error_text(&err));
    else
        control_reply(call, NULL);
}

const struct control_method control_methods[] = {
    {"status", "what this gateway is and how its links are", false, run_status},
    {"describe", "the methods there are", false, run_describe},
    {"plugins", "the plugins that were found, and why some were refused", false, run_plugins},
    {"reload", "read the config again: all of it, or nothing where it has faults", true,
     run_reload},
    {NULL, NULL, false, NULL},
};

/* ---- opening and closing ---- */

int control_open(struct control **out, struct daemon *daemon, struct pith_error *err)
{
    struct control *control = calloc(1, sizeof *control);
    int rc = 0;

    if (!control)
        return pith_fail(err, -ENOMEM, "no memory for the control socket");
    control->daemon = daemon;
    rc = control_mqtt_open(daemon, err);
    if (rc == 0)
        rc = control_socket_open(&control->socket, daemon, err);
    if (rc < 0) {
        control_mqtt_close(daemon);
        free(control);
        return rc;
    }
    *out = control;
    return 0;
}

void control_close(struct control *control, void (*closed)(void *user), void *user)
{
    struct control_socket *socket = control ? control->socket : NULL;

    if (control)
        control_mqtt_close(control->daemon);
    free(control);
    control_socket_close(socket, closed, user);
}
