/* Deployments by hand: what there is, back to the version before, stop what is under way. */
#include "daemon/control.h"
#include "daemon/deployment.h"

#include "libpith/base/json.h"
#include "libpith/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The model that the call is about, or NULL, and the call was refused. */
static struct model *model_of_call(struct daemon *daemon, const json_t *params,
                                   struct control_call *call, bool changes)
{
    struct pith_error err = {0};
    struct model *model;
    const char *name;
    int rc = pith_json_string(params, "params", "model", &name, &err);

    if (rc < 0) {
        control_refuse(call, rc, "%s", pith_error_text(&err));
        return NULL;
    }
    model = deployments_find(daemon->deployments, name);
    if (!model) {
        control_refuse(call, -ENOENT, "there is no model %s here: `pith status` lists them", name);
        return NULL;
    }
    if (changes && model->change) {
        control_refuse(call, -EAGAIN, "a step of %s is being recorded: try again", name);
        return NULL;
    }
    return model;
}

static void list_call(struct daemon *daemon, const json_t *params, struct control_call *call)
{
    json_t *list = json_array();
    struct model *model;
    const char *only = json_string_value(json_object_get(params, "model"));

    for (model = daemon->deployments->models; model; model = model->next)
        if (!only || strcmp(only, model->name) == 0)
            (void) json_array_append_new(list, deployment_document(model));
    control_reply(call, json_pack("{s:o}", "models", list));
}

static json_t *answer(const struct model *model, const struct deployment *to)
{
    return json_pack("{s:s, s:s, s:I}", "model", model->name, "version", to->version, "generation",
                     (json_int_t) to->generation);
}

static void rollback_call(struct daemon *daemon, const json_t *params, struct control_call *call)
{
    struct model *model = model_of_call(daemon, params, call, true);
    const char *given = json_string_value(json_object_get(params, "reason"));
    char reason[256];

    if (!model)
        return;
    if (!model->previous) {
        control_refuse(call, -ENOENT, "%s has no previous version to go back to", model->name);
        return;
    }
    (void) snprintf(reason, sizeof reason, "by hand%s%s", given ? ": " : "", given ? given : "");
    log_notice("rollback", "model=%s from=%s to=%s", model->name,
               model->active ? model->active->version : "none", model->previous->version);
    control_reply(call, answer(model, model->previous));
    deployment_switch(model, model->previous, STATE_ROLLED_BACK, reason);
}

static void activate_call(struct daemon *daemon, const json_t *params, struct control_call *call)
{
    struct model *model = model_of_call(daemon, params, call, true);
    struct pith_error err = {0};
    const char *version;

    if (!model)
        return;
    if (pith_json_string(params, "params", "version", &version, &err) < 0) {
        control_refuse(call, -EINVAL, "%s", pith_error_text(&err));
    } else if (model->active && strcmp(model->active->version, version) == 0) {
        control_reply(call, answer(model, model->active));
    } else if (model->previous && strcmp(model->previous->version, version) == 0) {
        control_reply(call, answer(model, model->previous));
        deployment_switch(model, model->previous, STATE_SUPERSEDED,
                          "another version was activated by hand");
    } else {
        control_refuse(
            call, -ENOENT, "version %s of %s is not kept here; there is %s%s%s: push it again",
            version, model->name, model->active ? model->active->version : "none",
            model->previous ? " and " : "", model->previous ? model->previous->version : "");
    }
}

static void cancel_call(struct daemon *daemon, const json_t *params, struct control_call *call)
{
    struct model *model = model_of_call(daemon, params, call, false);
    const char *given = json_string_value(json_object_get(params, "reason"));

    if (!model)
        return;
    if (!model->newest || state_is_final(model->newest->state)) {
        control_refuse(call, -EALREADY, "no deployment of %s is under way", model->name);
        return;
    }
    control_reply(call, answer(model, model->newest));
    deployment_go(model, STATE_CANCELLED, "by hand%s%.200s", given ? ": " : "", given ? given : "");
}

const struct control_method deployments_methods[] = {
    {.name = "deployments",
     .help = "models, their versions, and what is under way; params: model",
     .run = list_call},
    {.name = "activate",
     .help = "let a version that is kept here serve; params: model, version",
     .changes = true,
     .run = activate_call},
    {.name = "rollback",
     .help = "back to the version before; params: model, reason",
     .changes = true,
     .run = rollback_call},
    {.name = "cancel",
     .help = "stop the deployment under way; params: model, reason",
     .changes = true,
     .run = cancel_call},
    {.name = NULL},
};
