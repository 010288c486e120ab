/* The machine that a deployment moves through, as a table. A state is first recorded, then entered;
 * what it started is stopped when a state follows that does not go on with it. Besides where its
 * line says that it leads, each state that is not final may end in cancelled or superseded. */
#include "daemon/deployment.h"

#include "daemon/pipelines.h"
#include "libpith/base/json.h"
#include "libpith/base/log.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum work { NO_WORK, WORK_FETCH, WORK_DISK, WORK_JOB };

static void enter_accepted(struct model *model);
static void enter_verifying(struct model *model);
static void enter_job(struct model *model);
static void enter_evaluating(struct model *model);
static void enter_active(struct model *model);
static void enter_absent(struct model *model);
static void enter_end(struct model *model);
static void end_trial(struct model *model);
static void could_not_serve(struct model *model, const char *why);

static const struct {
    const char *name;
    enum work work; /* what goes on in it; a next state with the same keeps it going */
    bool final;
    void (*enter)(struct model *model); /* on disk already */
} states[STATE_COUNT] = {
    /* clang-format off */
    /*                      name           work        final  what is done; and where it leads */
    [STATE_ACCEPTED] =     {"accepted",    NO_WORK,    false, enter_accepted},   /* fetching; absent */
    [STATE_FETCHING] =     {"fetching",    WORK_FETCH, false, deployment_fetch}, /* verifying; rejected, failed, expired */
    [STATE_VERIFYING] =    {"verifying",   WORK_DISK,  false, enter_verifying},  /* vetting; fetching, failed */
    [STATE_VETTING] =      {"vetting",     WORK_JOB,   false, enter_job},        /* compressing; rejected, failed */
    [STATE_COMPRESSING] =  {"compressing", WORK_JOB,   false, enter_job},        /* evaluating; rejected, failed */
    [STATE_EVALUATING] =   {"evaluating",  WORK_JOB,   false, enter_evaluating}, /* active; rejected, failed */
    [STATE_ACTIVE] =       {"active",      NO_WORK,    true,  enter_active},     /* serves; failed, rolled-back */
    [STATE_ABSENT] =       {"absent",      NO_WORK,    true,  enter_absent},     /* the model is gone, as was asked */
    [STATE_REJECTED] =     {"rejected",    NO_WORK,    true,  enter_end},        /* never acceptable */
    [STATE_FAILED] =       {"failed",      NO_WORK,    true,  enter_end},        /* we could not */
    [STATE_ROLLED_BACK] =  {"rolled-back", NO_WORK,    true,  enter_end},        /* it was worse */
    [STATE_CANCELLED] =    {"cancelled",   NO_WORK,    true,  enter_end},        /* an operator's word */
    [STATE_SUPERSEDED] =   {"superseded",  NO_WORK,    true,  enter_end},        /* a newer one came */
    [STATE_EXPIRED] =      {"expired",     NO_WORK,    true,  enter_end},        /* what it needs never came */
    /* clang-format on */
};

const char *state_name(enum state state)
{
    return states[state].name;
}

enum state state_of_name(const char *name)
{
    int state = 0;

    while (state < STATE_COUNT && strcmp(states[state].name, name) != 0)
        state++;
    return (enum state) state;
}

bool state_is_final(enum state state)
{
    return states[state].final;
}

/* ---- moving ---- */

void deployment_stop_work(struct model *model)
{
    fetch_stop(model->fetch);
    disk_stop(model->disk);
    job_stop(model->job);
    model->fetch = NULL;
    model->disk = NULL;
    model->job = NULL;
    model->held = false;
    model->done_ratio = 0;
    model->progress[0] = '\0';
    model->chunk_count = model->missing_count = 0;
}

/* A result that is there is read in a moment, and its job's data go with that. */
void deployment_forget_samples(struct model *model)
{
    if (model->disk || model->job_done || states[model->newest->state].final)
        return;
    deployment_stop_work(model);
    model->holds_samples = false;
    deployment_go(
        model, STATE_VERIFYING,
        "begins anew without the samples that were kept here: the config does not consent "
        "to them any more");
}

void deployment_entered(struct model *model, enum state from)
{
    enum state state = model->newest->state;

    if (from == STATE_COUNT || states[state].work != states[from].work || states[state].final) {
        deployment_stop_work(model);
        if (states[state].work != WORK_JOB && states[state].work != WORK_DISK) {
            pith_manifest_free(model->manifest);
            model->manifest = NULL;
            model->job_done = false;
        }
    }
    if (states[state].work != WORK_JOB)
        model->holds_samples = false; /* VERIFYING finds out anew */
    deployment_report(model);
    states[state].enter(model);
}

static void entered(struct model *model)
{
    deployment_entered(model, model->from);
}

static void remember(struct model *model, enum state state, const char *reason)
{
    if (model->wanted && state_is_final(model->wanted_state))
        return; /* nothing follows an end */
    model->wanted = true;
    model->wanted_state = state;
    (void) snprintf(model->wanted_reason, sizeof model->wanted_reason, "%s", reason);
}

/* What the model's row becomes with the state. */
static void fill_row(struct change *change, struct model *model, enum state state)
{
    struct deployment *newest = model->newest;

    if (state == STATE_ACTIVE) {
        if (model->active && model->active != newest) {
            change_state(change, model->active, STATE_SUPERSEDED,
                         "version %s, generation %lld, serves now", newest->version,
                         (long long) newest->generation);
            change->previous = model->active;
        }
        change->active = newest;
        change->trial_count = 1;
    } else if (state == STATE_ABSENT) {
        if (model->active)
            change_state(change, model->active, STATE_SUPERSEDED, "the model was removed");
        change->active = change->previous = NULL;
        change->trial_count = 0;
    }
}

static void go(struct model *model, enum state state, const char *reason, json_t *result)
{
    struct change *change = change_new(model);

    if (!change) {
        json_decref(result);
        return;
    }
    if (state == STATE_FETCHING)
        model->newest->attempt_count = 1;
    change_state(change, model->newest, state, "%s", reason);
    change->result = result;
    change->result_text = result ? pith_json_text(result) : NULL;
    fill_row(change, model, state);
    change->then = entered;
    model->from = model->newest->state;
    change_submit(change);
}

void deployment_go(struct model *model, enum state state, const char *format, ...)
{
    char reason[PITH_ERROR_TEXT_BYTES];
    va_list arguments;

    va_start(arguments, format);
    (void) vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    if (model->change)
        remember(model, state, reason);
    else if (!state_is_final(model->newest->state))
        go(model, state, reason, NULL);
}

void deployment_go_on(struct model *model)
{
    if (model->change)
        return;
    if (model->not_serving[0]) {
        could_not_serve(model, model->not_serving);
        if (model->change)
            return;
    }
    if (model->serving && model->trial_count > 0) {
        end_trial(model);
        return;
    }
    if (model->desired_waiting) {
        deployment_accept_waiting(model);
        return;
    }
    if (model->wanted) {
        model->wanted = false;
        /* A job that ends while "evaluating" is being written wants what is by then entered. */
        if (model->wanted_state != model->newest->state)
            deployment_go(model, model->wanted_state, "%s", model->wanted_reason);
    }
}

void deployment_resume(struct model *model)
{
    struct deployment *newest = model->newest;
    enum state state = newest->state;

    if (state_is_final(state))
        return;
    log_notice("deployment_resumed", "model=%s version=%s generation=%lld state=%s attempt=%lld",
               model->name, newest->version, (long long) newest->generation, state_name(state),
               (long long) newest->attempt_count + 1);
    if (states[state].work == WORK_DISK || states[state].work == WORK_JOB) {
        if (newest->attempt_count >= DEPLOYMENT_ATTEMPTS) {
            deployment_go(
                model, STATE_FAILED,
                "pithd was stopped %lld times while it was %s this version: push it again",
                (long long) newest->attempt_count, state_name(state));
            return;
        }
        newest->attempt_count++;
        deployment_go(model, STATE_VERIFYING, "goes on after a restart of pithd (was %s)",
                      state_name(state));
    } else {
        deployment_go(model, newest->absent ? STATE_ABSENT : STATE_FETCHING, "%s", "");
    }
}

/* ---- states ---- */

static void enter_accepted(struct model *model)
{
    if (model->newest->absent)
        deployment_go(model, STATE_ABSENT, "removed, as generation %lld asks",
                      (long long) model->newest->generation);
    else
        deployment_go(model, STATE_FETCHING, "%s", "");
}

static void enter_verifying(struct model *model)
{
    struct pith_error err = {0};

    if (!model->manifest && deployment_load_manifest(model, &err) < 0) {
        deployment_go(model, STATE_FETCHING, "%s",
                      pith_error_text(&err)); /* the store was cleared meanwhile */
        return;
    }
    disk_prepare(model);
}

static void job_progress(void *user, const char *state, double done_ratio, const char *text)
{
    struct model *model = user;
    enum state next = state_of_name(state);

    model->done_ratio = done_ratio;
    (void) snprintf(model->progress, sizeof model->progress, "%s", text);
    deployment_report(model);
    if (next > model->newest->state && (!model->wanted || next > model->wanted_state))
        deployment_go(model, next, "%s", "");
}

/* Whose fault it was decides between the two ends. */
static void job_done(void *user, int status, const struct pith_error *err)
{
    struct model *model = user;

    model->job = NULL;
    if (status == -EBADMSG || status == -ENOTSUP)
        deployment_go(model, STATE_REJECTED, "%s", pith_error_text(err));
    else if (status < 0)
        deployment_go(model, STATE_FAILED, "%s", pith_error_text(err));
    else {
        model->job_done = true;
        if (model->newest->state == STATE_EVALUATING && !model->change)
            disk_read_result(model);
        else
            deployment_go(model, STATE_EVALUATING, "%s", "");
    }
}

static void start_job(struct model *model)
{
    const struct config *config = model->owner->config;
    const char *plugins = config->plugin_path ? config->plugin_path : "";
    char folder[PATH_MAX];
    struct job_options options = {
        .loop = model->owner->daemon->loop,
        .worker = config->worker,
        .folder = deployment_path(model->owner, model->newest->id, NULL, folder),
        .plugin_path = plugins,
        .read_path = config->recipe_path,
        .memory_bytes = config->compression.memory_bytes,
        .file_bytes = config->model_max_bytes,
        .deadline_ms = config->compression.deadline_ms,
        .idle = config->compression.when == CONFIG_WHEN_IDLE,
        .progress = job_progress,
        .done = job_done,
        .ended = deployments_end_busy,
        .user = model,
        .owner = model->owner,
    };
    struct pith_error err = {0};

    if (!plugins[0]) /* a worker gets nothing of our environment */
        options.plugin_path = getenv("PITH_PLUGIN_PATH");
    deployments_begin_busy(model->owner);
    if (job_start(&model->job, &options, &err) < 0)
        deployment_go(model, STATE_FAILED, "%s", pith_error_text(&err));
}

static void enter_job(struct model *model)
{
    if (model->job_done)
        deployment_go(model, STATE_EVALUATING, "%s", "");
    else if (!model->job)
        start_job(model);
}

static void enter_evaluating(struct model *model)
{
    if (model->job_done && !model->disk)
        disk_read_result(model);
    else if (!model->job_done && !model->job)
        start_job(model);
}

static double fact(const json_t *result, const char *which, const char *key)
{
    const json_t *value =
        json_object_get(json_object_get(json_object_get(result, "total"), which), key);

    return json_is_number(value) ? json_number_value(value) : (double) NAN;
}

/* One gate, for the reported document. NaN: it could not be measured. */
static bool add_gate(json_t *gates, const char *name, double limit, double value, bool passed)
{
    (void) json_array_append_new(gates,
                                 json_pack("{s:s, s:f, s:o, s:s}", "name", name, "limit", limit,
                                           "value", isnan(value) ? json_null() : json_real(value),
                                           "outcome", passed ? "passed" : "failed"));
    return passed;
}

/* Whether the variant may serve. The original always agrees with itself, and is what energy is
 * compared with. */
static int check_gates(const struct pith_manifest *manifest, const json_t *result, json_t *gates,
                       struct pith_error *err)
{
    const char *outcome = json_string_value(json_object_get(result, "outcome"));
    bool original = outcome && strcmp(outcome, "original") == 0;
    double fidelity_ratio = original ? 1 : fact(result, "variant", "fidelity_ratio");
    double energy_ratio =
        fact(result, "variant", "energy_uj") / fact(result, "original", "energy_uj");
    double limit;

    if (isnan(energy_ratio)) /* CPU time stands in where nothing measures energy */
        energy_ratio = fact(result, "variant", "cpu_us") / fact(result, "original", "cpu_us");
    if (original)
        energy_ratio = 1;
    limit = manifest->min_fidelity_ratio;
    if (limit > 0 &&
        !add_gate(gates, "min_fidelity", limit, fidelity_ratio, fidelity_ratio >= limit)) {
        if (isnan(fidelity_ratio))
            return pith_fail(err, -ENODATA,
                             "gate min_fidelity can't be checked, as the model brings no samples: "
                             "add calibration or "
                             "validation data");
        return pith_fail(
            err, -ERANGE,
            "gate min_fidelity: %.4f of the decisions agree with the original's, and %.4f must",
            fidelity_ratio, limit);
    }
    limit = manifest->max_energy_ratio;
    if (limit > 0 &&
        !add_gate(gates, "max_energy_ratio", limit, energy_ratio, !(energy_ratio > limit)))
        return pith_fail(err, -ERANGE,
                         "gate max_energy_ratio: it takes %.2f times the original's energy, and "
                         "%.2f is the most",
                         energy_ratio, limit);
    return 0;
}

void deployment_judge(struct model *model, json_t *taken)
{
    const char *outcome = json_string_value(json_object_get(taken, "outcome"));
    const char *reason = json_string_value(json_object_get(taken, "reason"));
    json_t *gates = json_array();
    struct pith_error err = {0};
    enum state state = STATE_ACTIVE;

    if (model->change) { /* cancelled or superseded in this moment */
        json_decref(gates);
        json_decref(taken);
        return;
    }
    if (!json_is_true(json_object_get(taken, "ok"))) {
        state = outcome && strcmp(outcome, "rejected") == 0 ? STATE_REJECTED : STATE_FAILED;
    } else if (check_gates(model->manifest, taken, gates, &err) < 0) {
        state = STATE_FAILED;
        reason = err.text;
    }
    (void) json_object_set_new(taken, "gates", gates);
    go(model, state, reason ? reason : "", taken);
}

/* ---- serving ---- */

struct activation {
    struct model *model;
    int64_t id;
};

static void trial_ended(struct model *model)
{
    log_notice("model_active", "model=%s version=%s generation=%lld variant=%s", model->name,
               model->active ? model->active->version : "",
               (long long) (model->active ? model->active->generation : 0),
               model->active && model->active->result
                   ? json_string_value(json_object_get(model->active->result, "variant_name"))
                   : "original");
    deployment_report(model);
    disk_clear(model->owner);
}

static void end_trial(struct model *model)
{
    struct change *change = change_new(model);

    if (!change)
        return;
    change->trial_count = 0;
    change->then = trial_ended;
    change_submit(change);
}

/* The version could not be brought to serve: back to the one before. One that has served and has
 * none before it is kept: what it lacks (a plugin, memory) may be there at the next start. */
static void could_not_serve(struct model *model, const char *why)
{
    char reason[PITH_ERROR_TEXT_BYTES];
    struct change *change;

    if (model->change) { /* after that one */
        if (why != model->not_serving)
            (void) snprintf(model->not_serving, sizeof model->not_serving, "%s", why);
        return;
    }
    (void) snprintf(reason, sizeof reason, "could not begin to serve: %s", why);
    model->not_serving[0] = '\0';
    log_error("model_not_serving", "model=%s version=%s reason=\"%s\"", model->name,
              model->active->version, reason);
    if (model->previous) {
        deployment_switch(model, model->previous, STATE_FAILED, reason);
        return;
    }
    if (model->trial_count == 0) {
        (void) snprintf(model->active->reason, sizeof model->active->reason, "%s", reason);
        deployment_report(model);
        return;
    }
    change = change_new(model);
    if (!change)
        return;
    change_state(change, model->active, STATE_FAILED, "%s", reason);
    change->active = NULL;
    change->trial_count = 0;
    change->then = deployment_report;
    change_submit(change);
}

static void activated(void *user, int status, const struct pith_error *err)
{
    struct activation *activation = user;
    struct model *model = activation->model;

    if (!model->owner->closing && model->active && model->active->id == activation->id) {
        model->serving = status == 0;
        deployment_report(model);
        if (status < 0 && status != -ECANCELED)
            could_not_serve(model, pith_error_text(err));
        else
            deployment_go_on(model); /* the trial ends */
        disk_clear(model->owner);
    }
    free(activation);
    deployments_end_busy(model->owner);
}

void deployment_serve(struct model *model)
{
    struct deployments *deployments = model->owner;
    struct activation *activation = calloc(1, sizeof *activation);
    struct pipelines_version version = {0};
    struct pith_manifest *manifest = NULL;
    char *paths = NULL;
    struct pith_error err = {0};
    int rc = activation ? 0 : pith_fail(&err, -ENOMEM, "no memory");

    model->serving = false;
    deployment_report(model);
    if (rc == 0)
        rc = deployment_version(deployments, model, model->active, &version, &manifest, &paths,
                                &err);
    if (rc == 0) {
        activation->model = model;
        activation->id = model->active->id;
        deployments_begin_busy(deployments);
        pipelines_activate(deployments->daemon->pipelines, &version, activated, activation);
    } else {
        free(activation);
        could_not_serve(model, pith_error_text(&err));
    }
    pith_manifest_free(manifest);
    free(paths);
}

void deployment_switch(struct model *model, struct deployment *to, enum state state,
                       const char *reason)
{
    struct change *change = model->change ? NULL : change_new(model);

    if (!change)
        return;
    if (model->active)
        change_state(change, model->active, state, "%s", reason);
    change_state(change, to, STATE_ACTIVE, "serves again");
    change->previous = state == STATE_FAILED ? NULL : model->active;
    change->active = to;
    change->trial_count = 1;
    change->then = deployment_serve;
    change_submit(change);
}

static void enter_active(struct model *model)
{
    deployment_serve(model);
}

static void enter_absent(struct model *model)
{
    pipelines_remove(model->owner->daemon->pipelines, model->name);
    log_notice("model_removed", "model=%s generation=%lld", model->name,
               (long long) model->generation);
    model->serving = false;
    disk_clear(model->owner);
}

static void enter_end(struct model *model)
{
    disk_clear(model->owner);
}
