/* Rows of models and deployments. A change is one durable write: the model's row, one or two
 * deployments' states, their history; the loop's structs follow once it is on disk. The replay
 * guard is kept a second time, as a small file a model, so that a database that was lost or put
 * aside does not open the door to older documents. */
#include "daemon/deployment.h"

#include "libpith/base/clock.h"
#include "libpith/base/file.h"
#include "libpith/base/json.h"
#include "libpith/base/log.h"
#include "libpith/base/names.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUARD_LIMIT_BYTES  4096
#define RESULT_LIMIT_BYTES (8 * 1024 * 1024)

/* ---- writing, on the writer's thread ---- */

static const char *guard_path(const struct deployments *deployments, const char *name,
                              char path[PATH_MAX])
{
    (void) snprintf(path, PATH_MAX, "%s/guard/%s.json", deployments->config->state_dir, name);
    return path;
}

static int write_guard(const struct change *change, struct pith_error *err)
{
    char path[PATH_MAX], text[256];
    int length = snprintf(text, sizeof text, "{\"generation\": %lld, \"desired_sha256\": \"%s\"}\n",
                          (long long) change->generation, change->desired_sha256);

    return pith_file_write(guard_path(change->model->owner, change->model->name, path), text,
                           (size_t) length, 0600, err);
}

static int write_history(sqlite3 *connection, const struct change *change,
                         const struct change_state *state, struct pith_error *err)
{
    return database_exec(connection, err,
                         "INSERT INTO deployment_states (deployment, sequence, time_ms, state, "
                         "reason, attempt_count) "
                         "SELECT ?, coalesce(max(sequence), 0) + 1, ?, ?, ?, ? FROM "
                         "deployment_states WHERE deployment = ?",
                         "iissii", state->deployment->id, change->now_ms, state_name(state->state),
                         state->reason, state->attempt_count, state->deployment->id);
}

static int write_state(sqlite3 *connection, const struct change *change,
                       const struct change_state *state, struct pith_error *err)
{
    int rc = database_exec(
        connection, err,
        "UPDATE deployments SET state = ?, reason = ?, attempt_count = ?, updated_ms = ? "
        "WHERE id = ?",
        "ssiii", state_name(state->state), state->reason, state->attempt_count, change->now_ms,
        state->deployment->id);

    return rc < 0 ? rc : write_history(connection, change, state, err);
}

static int insert_deployment(sqlite3 *connection, struct change *change, struct pith_error *err)
{
    struct deployment *deployment = change->insert;
    int rc =
        database_exec(connection, err,
                      "INSERT INTO deployments (model, version, generation, manifest_sha256, "
                      "manifest_bytes, signer, state, created_ms, updated_ms) "
                      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                      "ssisissii", change->model->name, deployment->version, deployment->generation,
                      deployment->manifest.sha256, deployment->manifest.bytes, deployment->signer,
                      state_name(deployment->state), change->now_ms, change->now_ms);

    if (rc == 0)
        deployment->id = sqlite3_last_insert_rowid(connection);
    return rc;
}

static double fact(const json_t *facts, const char *key)
{
    const json_t *value = json_object_get(facts, key);

    return json_is_number(value) ? json_number_value(value) : (double) NAN;
}

/* For INTEGER columns of a STRICT table, which refuse what is no whole number. */
static double count(const json_t *facts, const char *key)
{
    double value = rint(fact(facts, key));

    return fabs(value) < 9e15 ? value : (double) NAN;
}

static int write_result(sqlite3 *connection, const struct change *change, struct pith_error *err)
{
    const json_t *total = json_object_get(change->result, "total");
    const json_t *before = json_object_get(total, "original"),
                 *after = json_object_get(total, "variant");
    const json_t *steps = json_object_get(change->result, "steps"), *step;
    int64_t id = change->states[0].deployment->id;
    size_t i;
    int rc = database_exec(
        connection, err,
        "UPDATE deployments SET variant = ?, result_json = ?, original_bytes = ?, variant_bytes = "
        "?, "
        "original_parameters_count = ?, variant_parameters_count = ?, original_macs_count = ?, "
        "variant_macs_count = ?, original_accuracy_ratio = ?, variant_accuracy_ratio = ?, "
        "original_latency_us = ?, variant_latency_us = ?, fidelity_ratio = ?, energy_ratio = ? "
        "WHERE id = ?",
        "ssrrrrrrrrrrrri", json_string_value(json_object_get(change->result, "variant_name")),
        change->result_text, count(before, "bytes"), count(after, "bytes"),
        count(before, "parameters"), count(after, "parameters"), count(before, "macs"),
        count(after, "macs"), fact(before, "accuracy_ratio"), fact(after, "accuracy_ratio"),
        fact(before, "latency_p50_us"), fact(after, "latency_p50_us"),
        fact(after, "fidelity_ratio"), fact(after, "energy_uj") / fact(before, "energy_uj"), id);

    if (rc == 0)
        rc = database_exec(connection, err, "DELETE FROM deployment_steps WHERE deployment = ?",
                           "i", id);
    json_array_foreach(steps, i, step)
    {
        const char *name = json_string_value(json_object_get(step, "name"));
        const char *text = json_string_value(json_object_get(step, "text"));

        before = json_object_get(step, "before");
        after = json_object_get(step, "after");
        if (rc == 0)
            rc = database_exec(
                connection, err,
                "INSERT INTO deployment_steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
                "?, ?)",
                "iissrrrrrrrrrrrrr", id, (int64_t) i, name ? name : "", text ? text : "",
                count(step, "time_ms"), count(before, "bytes"), count(after, "bytes"),
                count(before, "parameters"), count(after, "parameters"), count(before, "macs"),
                count(after, "macs"), fact(before, "accuracy_ratio"), fact(after, "accuracy_ratio"),
                fact(before, "fidelity_ratio"), fact(after, "fidelity_ratio"),
                fact(before, "latency_p50_us"), fact(after, "latency_p50_us"));
    }
    return rc;
}

static int write_model(sqlite3 *connection, const struct change *change, struct pith_error *err)
{
    return database_exec(
        connection, err,
        "INSERT INTO models (model, generation, desired_sha256, newest, active, previous, "
        "trial_count) VALUES (?, ?, ?, nullif(?, 0), nullif(?, 0), nullif(?, 0), ?) "
        "ON CONFLICT (model) DO UPDATE SET generation = excluded.generation, "
        "desired_sha256 = excluded.desired_sha256, newest = excluded.newest, "
        "active = excluded.active, previous = excluded.previous, "
        "trial_count = excluded.trial_count",
        "sisiiii", change->model->name, change->generation, change->desired_sha256,
        change->newest ? change->newest->id : (int64_t) 0,
        change->active ? change->active->id : (int64_t) 0,
        change->previous ? change->previous->id : (int64_t) 0, change->trial_count);
}

static int run_on_writer(struct database_write *write, sqlite3 *connection, struct pith_error *err)
{
    struct change *change = write->user;
    size_t i;
    int rc = 0;

    if (change->insert) {
        rc = write_guard(change, err);
        if (rc == 0)
            rc = insert_deployment(connection, change, err);
    }
    for (i = 0; rc == 0 && i < change->state_count; i++)
        rc = change->states[i].deployment == change->insert
                 ? write_history(connection, change, &change->states[i], err)
                 : write_state(connection, change, &change->states[i], err);
    if (rc == 0 && change->result)
        rc = write_result(connection, change, err);
    return rc < 0 ? rc : write_model(connection, change, err);
}

/* ---- on the loop ---- */

struct change *change_new(struct model *model)
{
    struct change *change = calloc(1, sizeof *change);

    if (!change) {
        log_error("deployment_stuck", "model=%s reason=\"no memory to record a change\"",
                  model->name);
        return NULL;
    }
    change->model = model;
    change->now_ms = pith_wall_ms();
    change->generation = model->generation;
    memcpy(change->desired_sha256, model->desired_sha256, sizeof change->desired_sha256);
    change->trial_count = model->trial_count;
    change->newest = model->newest;
    change->active = model->active;
    change->previous = model->previous;
    return change;
}

void change_state(struct change *change, struct deployment *deployment, enum state state,
                  const char *format, ...)
{
    struct change_state *entry = &change->states[change->state_count++];
    va_list arguments;

    entry->deployment = deployment;
    entry->state = state;
    entry->attempt_count = deployment->attempt_count;
    va_start(arguments, format);
    (void) vsnprintf(entry->reason, sizeof entry->reason, format, arguments);
    va_end(arguments);
}

static void change_free(struct change *change)
{
    json_decref(change->result);
    free(change->result_text);
    free(change);
}

static void deployment_free(struct deployment *deployment)
{
    if (!deployment)
        return;
    json_decref(deployment->result);
    free(deployment);
}

/* Frees the deployments that the model has no use for any more. */
static void forget_unused(struct model *model)
{
    struct deployment **at = &model->list, *deployment;

    while ((deployment = *at)) {
        if (deployment == model->newest || deployment == model->active ||
            deployment == model->previous) {
            at = &deployment->next;
            continue;
        }
        *at = deployment->next;
        deployment_free(deployment);
    }
}

/* The loop's structs follow the rows. */
static void apply(struct change *change)
{
    struct model *model = change->model;
    size_t i;

    if (change->insert) {
        change->insert->next = model->list;
        model->list = change->insert;
    }
    for (i = 0; i < change->state_count; i++) {
        struct change_state *entry = &change->states[i];

        entry->deployment->state = entry->state;
        entry->deployment->attempt_count = entry->attempt_count;
        entry->deployment->since_ms = change->now_ms;
        memcpy(entry->deployment->reason, entry->reason, sizeof entry->reason);
        deployment_event(model, entry->deployment);
    }
    if (change->result) {
        json_decref(change->states[0].deployment->result);
        change->states[0].deployment->result = json_incref(change->result);
        (void) json_object_del(change->result,
                               "steps"); /* from now on only the database needs them */
    }
    model->generation = change->generation;
    memcpy(model->desired_sha256, change->desired_sha256, sizeof model->desired_sha256);
    model->trial_count = change->trial_count;
    model->newest = change->newest;
    model->active = change->active;
    model->previous = change->previous;
    forget_unused(model);
}

static void on_disk(struct database_write *write, int status, const struct pith_error *err)
{
    struct change *change = write->user;
    struct model *model = change->model;
    struct deployments *deployments = model->owner;
    void (*then)(struct model *) = change->then;
    char quoted[PITH_ERROR_TEXT_BYTES * 2];

    change->submitted = false;
    if (status < 0 &&
        !deployments
             ->closing) { /* nothing is acted on that is not on disk: tried again by the timer */
        if (!change->told)
            log_error("deployment_not_recorded", "model=%s reason=%s retry_s=5", model->name,
                      pith_log_quote(pith_error_text(err), quoted, sizeof quoted));
        change->told = true;
        deployments_watch_timer(deployments);
    } else {
        if (status == 0)
            apply(change);
        else
            deployment_free(change->insert);
        model->change = NULL;
        change_free(change);
        if (status == 0 && then && !deployments->closing)
            then(model);
        if (status == 0 && !deployments->closing)
            deployment_go_on(model);
    }
    deployments_end_busy(deployments);
}

static void submit(struct change *change)
{
    change->write = (struct database_write){
        .run_on_writer = run_on_writer, .done = on_disk, .durable = true, .user = change};
    change->submitted = true;
    deployments_begin_busy(change->model->owner);
    database_submit(change->model->owner->daemon->database, &change->write);
}

void change_submit(struct change *change)
{
    change->model->change = change;
    submit(change);
}

/* Whether the change waits for the timer, and not for the disk. */
static bool is_waiting(const struct change *change)
{
    return change && change->told && !change->submitted;
}

void change_give_up(struct model *model)
{
    if (is_waiting(model->change)) {
        deployment_free(model->change->insert);
        change_free(model->change);
        model->change = NULL;
    }
}

void change_retry(struct model *model)
{
    if (is_waiting(model->change)) {
        model->change->now_ms = pith_wall_ms();
        submit(model->change);
    }
}

int change_now(struct change *change, struct pith_error *err)
{
    int rc;

    change->write =
        (struct database_write){.run_on_writer = run_on_writer, .durable = true, .user = change};
    rc = database_run_now(change->model->owner->daemon->database, &change->write, err);
    if (rc == 0)
        apply(change);
    else
        deployment_free(change->insert);
    change_free(change);
    return rc;
}

/* ---- reading, at the start ---- */

struct load {
    struct deployments *deployments;
    struct model *model;
    int64_t id; /* wanted */
    struct deployment *found;
};

static void copy_text(char *to, size_t bytes, sqlite3_stmt *row, int column)
{
    const unsigned char *text = sqlite3_column_text(row, column);

    (void) snprintf(to, bytes, "%s", text ? (const char *) text : "");
}

/* The parts of a result that are kept in memory. */
static json_t *result_of_text(const char *text, size_t bytes)
{
    json_t *whole = NULL;

    if (bytes == 0 || pith_json_parse(&whole, text, bytes, RESULT_LIMIT_BYTES, "result", NULL) < 0)
        return NULL;
    (void) json_object_del(whole, "steps");
    return whole;
}

static int deployment_of_row(void *user, sqlite3_stmt *row, struct pith_error *err)
{
    struct load *load = user;
    struct deployment *deployment = calloc(1, sizeof *deployment);
    char state[32];

    if (!deployment)
        return pith_fail(err, -ENOMEM, "deployments: no memory to read them");
    deployment->id = sqlite3_column_int64(row, 0);
    copy_text(deployment->version, sizeof deployment->version, row, 1);
    deployment->generation = sqlite3_column_int64(row, 2);
    copy_text(deployment->manifest.sha256, sizeof deployment->manifest.sha256, row, 3);
    deployment->manifest.bytes = deployment->manifest.raw_bytes = sqlite3_column_int64(row, 4);
    deployment->absent = deployment->manifest.sha256[0] == '\0';
    copy_text(deployment->signer, sizeof deployment->signer, row, 5);
    copy_text(state, sizeof state, row, 6);
    deployment->state = state_of_name(state);
    if (deployment->state == STATE_COUNT)
        deployment->state = STATE_FAILED; /* a state of a newer pithd: not ours to go on with */
    copy_text(deployment->reason, sizeof deployment->reason, row, 7);
    deployment->attempt_count = sqlite3_column_int64(row, 8);
    deployment->since_ms = sqlite3_column_int64(row, 9);
    deployment->result = result_of_text((const char *) sqlite3_column_text(row, 10),
                                        (size_t) sqlite3_column_bytes(row, 10));
    deployment->next = load->model->list;
    load->model->list = load->found = deployment;
    return 0;
}

static struct deployment *find(struct model *model, int64_t id)
{
    struct deployment *deployment = model->list;

    while (deployment && deployment->id != id)
        deployment = deployment->next;
    return deployment;
}

static int load_deployment(sqlite3 *connection, struct load *load, int64_t id,
                           struct deployment **out, struct pith_error *err)
{
    int rc = 0;

    *out = id ? find(load->model, id) : NULL;
    if (!id || *out)
        return 0;
    load->found = NULL;
    rc = database_query(
        connection, err, deployment_of_row, load,
        "SELECT id, version, generation, manifest_sha256, manifest_bytes, signer, state, reason, "
        "attempt_count, updated_ms, result_json FROM deployments WHERE id = ?",
        "i", id);
    *out = load->found;
    return rc == -ENOENT ? 0 : rc;
}

struct model_ids {
    char name[PITH_NAME_BYTES];
    int64_t newest, active, previous;
};

struct loaded_models {
    struct deployments *deployments;
    struct model_ids ids[DEPLOYMENT_MODELS_MAX];
    size_t count;
};

static int model_of_row(void *user, sqlite3_stmt *row, struct pith_error *err)
{
    struct loaded_models *loaded = user;
    char name[PITH_NAME_BYTES];
    struct model_ids *ids;
    struct model *model;

    copy_text(name, sizeof name, row, 0);
    if (loaded->count == DEPLOYMENT_MODELS_MAX || !pith_name_valid(name))
        return 0;
    model = deployments_add(loaded->deployments, name);
    if (!model)
        return pith_fail(err, -ENOMEM, "models: no memory to read them");
    model->generation = sqlite3_column_int64(row, 1);
    copy_text(model->desired_sha256, sizeof model->desired_sha256, row, 2);
    model->trial_count = sqlite3_column_int64(row, 6);
    ids = &loaded->ids[loaded->count++];
    memcpy(ids->name, name, sizeof ids->name);
    ids->newest = sqlite3_column_int64(row, 3);
    ids->active = sqlite3_column_int64(row, 4);
    ids->previous = sqlite3_column_int64(row, 5);
    return 0;
}

static int load_on_writer(struct database_write *write, sqlite3 *connection, struct pith_error *err)
{
    struct loaded_models *loaded = write->user;
    size_t i;
    int rc = database_query(
        connection, err, model_of_row, loaded,
        "SELECT model, generation, desired_sha256, newest, active, previous, trial_count "
        "FROM models ORDER BY model",
        "");

    for (i = 0; i < loaded->count && (rc == 0 || rc == -ENOENT); i++) {
        struct model_ids *ids = &loaded->ids[i];
        struct load load = {.deployments = loaded->deployments,
                            .model = deployments_find(loaded->deployments, ids->name)};

        rc = load_deployment(connection, &load, ids->newest, &load.model->newest, err);
        if (rc == 0)
            rc = load_deployment(connection, &load, ids->active, &load.model->active, err);
        if (rc == 0)
            rc = load_deployment(connection, &load, ids->previous, &load.model->previous, err);
    }
    return rc == -ENOENT ? 0 : rc;
}

/* A guard that knows more than the database: that one was lost. The generation holds; its document
 * may come again. */
static void take_guard(struct deployments *deployments, const char *file)
{
    struct pith_buffer text = {0};
    char name[PITH_NAME_BYTES], path[PATH_MAX];
    json_t *guard = NULL;
    struct model *model;
    int64_t generation;
    const char *sha256;
    size_t length = strlen(file);

    if (!pith_ends_with(file, ".json") || length - 5 >= sizeof name)
        return;
    (void) snprintf(name, sizeof name, "%.*s", (int) (length - 5), file);
    if (!pith_name_valid(name))
        return;
    if (pith_file_read(guard_path(deployments, name, path), GUARD_LIMIT_BYTES, &text, NULL) == 0 &&
        pith_json_parse(&guard, text.data, text.bytes, GUARD_LIMIT_BYTES, "guard", NULL) == 0 &&
        pith_json_int(guard, "guard", "generation", 1, INT64_MAX, &generation, NULL) == 0 &&
        pith_json_string(guard, "guard", "desired_sha256", &sha256, NULL) == 0 &&
        pith_sha256_is_hex(sha256)) {
        model = deployments_find(deployments, name);
        if (!model)
            model = deployments_add(deployments, name);
        if (model && generation > model->generation) {
            log_warn("deployment_guard_kept",
                     "model=%s generation=%lld reason=\"the database does not know it any more; "
                     "older documents are "
                     "still refused\"",
                     name, (long long) generation);
            model->generation = generation;
            memcpy(model->desired_sha256, sha256, sizeof model->desired_sha256);
            model->newest = NULL; /* so that this document is taken when it comes again */
        }
    }
    json_decref(guard);
    pith_buffer_done(&text);
}

int deployments_load(struct deployments *deployments, struct pith_error *err)
{
    struct loaded_models *loaded = calloc(1, sizeof *loaded);
    struct database_write write = {.run_on_writer = load_on_writer, .user = loaded};
    char path[PATH_MAX];
    struct dirent *entry;
    DIR *folder;
    int rc;

    if (!loaded)
        return pith_fail(err, -ENOMEM, "models: no memory to read them");
    loaded->deployments = deployments;
    rc = database_run_now(deployments->daemon->database, &write, err);
    free(loaded);
    (void) snprintf(path, sizeof path, "%s/guard", deployments->config->state_dir);
    if (rc == 0)
        rc = pith_mkdirs(path, 0700, err);
    folder = rc == 0 ? opendir(path) : NULL;
    while (folder && (entry = readdir(folder)))
        take_guard(deployments, entry->d_name);
    if (folder)
        closedir(folder);
    return rc;
}
