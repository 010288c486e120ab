#include "daemon/telemetry.h"

#include "daemon/control.h"
#include "daemon/meters.h"
#include "daemon/telemetry_rows.h"
#include "libpith/base/clock.h"
#include "libpith/base/json.h"
#include "libpith/base/log.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE_MS     INT64_C(60000)
#define MAX_ROWS      1024 /* a minute; pipelines x versions x variants are far fewer */
#define QUERY_DEFAULT 100
#define QUERY_MAX     10000

struct telemetry {
    struct daemon *daemon;
    uv_timer_t timer; /* runs only in a minute that has counted something; this struct is freed in
                         its close callback */
    struct telemetry_row *rows;
    size_t row_count;
    int64_t minute_ms; /* the running minute; 0: nothing was counted yet */
    struct telemetry_pruning pruning;
    struct telemetry_bounds bounds;
    void (*closed)(void *user);
    void *closed_user;
};

/* What goes to the writer: the rows of one minute. */
struct minute_write {
    struct database_write write;
    struct daemon *daemon;
    struct telemetry_row *rows; /* own */
    int64_t minute_ms;
    bool prunes;
    int64_t prune_now_ms; /* for telemetry_rows_prune */
    struct telemetry_bounds bounds;
    struct query *query; /* that waits for it; NULL: none */
};

struct query {
    uv_work_t work;
    struct control_call *call;
    char path[4096];
    char period[16], pipeline[PITH_NAME_BYTES];
    struct telemetry_question question;
    json_t *rows;
    int rc;
    struct pith_error err;
};

static void query_start(struct query *query, uv_loop_t *loop);

static void rows_free(struct telemetry_row *rows)
{
    while (rows) {
        struct telemetry_row *next = rows->next;
        free(rows);
        rows = next;
    }
}

/* ---- counting ---- */

static void minute_ended(uv_timer_t *timer);

/* The first count of a minute starts the clock, and the machine's meter. */
static void begin_minute(struct telemetry *telemetry)
{
    int64_t now_ms = pith_wall_ms();

    telemetry->minute_ms = now_ms - now_ms % MINUTE_MS;
    meters_begin(telemetry->daemon->meters);
    uv_update_time(telemetry->daemon->loop);
    (void) uv_timer_start(&telemetry->timer, minute_ended,
                          (uint64_t) (telemetry->minute_ms + MINUTE_MS - now_ms), 0);
}

static bool same_key(const struct telemetry_row *row, const struct telemetry_key *key)
{
    return strcmp(row->pipeline, key->pipeline) == 0 && strcmp(row->version, key->version) == 0 &&
           strcmp(row->variant, key->variant) == 0 && strcmp(row->model, key->model) == 0;
}

static struct telemetry_row *row_of(struct telemetry *telemetry, const struct telemetry_key *key)
{
    struct telemetry_row *row;

    for (row = telemetry->rows; row; row = row->next)
        if (same_key(row, key))
            return row;
    row = telemetry->row_count < MAX_ROWS ? calloc(1, sizeof *row) : NULL;
    if (!row)
        return NULL;
    (void) snprintf(row->pipeline, sizeof row->pipeline, "%s", key->pipeline);
    (void) snprintf(row->model, sizeof row->model, "%s", key->model);
    (void) snprintf(row->version, sizeof row->version, "%s", key->version);
    (void) snprintf(row->variant, sizeof row->variant, "%s", key->variant);
    if (!telemetry->rows)
        begin_minute(telemetry);
    row->next = telemetry->rows;
    telemetry->rows = row;
    telemetry->row_count++;
    return row;
}

void telemetry_add(struct telemetry *telemetry, const struct telemetry_key *key,
                   const struct telemetry_batch *batch)
{
    struct telemetry_row *row = row_of(telemetry, key);

    if (!row)
        return;
    row->payload_count += batch->payload_count;
    row->inference_count += batch->inference_count;
    row->fired_count += batch->fired_count;
    row->cpu_ns += batch->cpu_ns;
    for (uint32_t i = 0; i < batch->inference_count; i++)
        histogram_add(&row->latency, batch->latency_us[i], 1);
    if (batch->energy_uj != UINT64_MAX) {
        row->energy_uj += batch->energy_uj;
        row->energy_inference_count += batch->inference_count;
        if (row->energy_source == PITH_ENERGY_UNKNOWN ||
            batch->energy_source == PITH_ENERGY_ESTIMATED)
            row->energy_source = batch->energy_source;
    }
    meters_sample(telemetry->daemon->meters);
}

void telemetry_feedback(struct telemetry *telemetry, const struct telemetry_key *key, bool correct)
{
    struct telemetry_row *row = row_of(telemetry, key);

    if (!row)
        return;
    row->labelled_count++;
    row->correct_count += correct;
}

void telemetry_fidelity(struct telemetry *telemetry, const struct telemetry_key *key,
                        uint32_t agreed_count, uint32_t compared_count)
{
    struct telemetry_row *row = row_of(telemetry, key);

    if (!row)
        return;
    row->agreed_count += agreed_count;
    row->compared_count += compared_count;
}

void telemetry_dropped(struct telemetry *telemetry, const struct telemetry_key *key,
                       enum telemetry_drop why, uint32_t count)
{
    struct telemetry_row *row = row_of(telemetry, key);

    if (!row)
        return;
    if (why == TELEMETRY_DROP_QUEUE)
        row->dropped_count += count;
    else
        row->refused_count += count;
}

/* ---- the end of a minute ---- */

/* Where a meter reads the machine, its energy is shared out by CPU time over all that ran: the
 * inferences' share is measured, and takes the place of the threads' estimates. */
static void share_machine_energy(struct telemetry *telemetry)
{
    uint64_t energy_uj, busy_ns;

    if (!meters_end(telemetry->daemon->meters, &energy_uj, &busy_ns))
        return;
    for (struct telemetry_row *row = telemetry->rows; row; row = row->next) {
        double share = (double) row->cpu_ns / (double) busy_ns;
        if (row->inference_count == 0)
            continue;
        row->energy_uj = (uint64_t) ((double) energy_uj * fmin(share, 1));
        row->energy_inference_count = row->inference_count;
        row->energy_source = PITH_ENERGY_MEASURED;
    }
}

static int write_minute_on_writer(struct database_write *write, struct sqlite3 *connection,
                                  struct pith_error *err)
{
    struct minute_write *minute = write->user;
    int rc = 0;

    for (const struct telemetry_row *row = minute->rows; row && rc == 0; row = row->next)
        rc = telemetry_row_write(connection, row, minute->minute_ms, err);
    if (rc == 0 && minute->prunes)
        rc = telemetry_rows_prune(connection, &minute->bounds, minute->prune_now_ms, err);
    return rc;
}

static void minute_written(struct database_write *write, int status, const struct pith_error *err)
{
    struct minute_write *minute = write->user;
    struct daemon *daemon = minute->daemon;
    char quoted[2 * PITH_ERROR_TEXT_BYTES];

    if (status < 0)
        log_warn("telemetry_lost", "minute_ms=%lld reason=%s", (long long) minute->minute_ms,
                 pith_log_quote(pith_error_text(err), quoted, sizeof quoted));
    if (minute->query)
        query_start(minute->query, minute->query->work.data);
    rows_free(minute->rows);
    free(minute);
    if (daemon->telemetry && !daemon->telemetry->rows) /* nothing has come since: it is quiet */
        daemon_settle(daemon);
}

/* null where there is nothing to divide by. */
static json_t *ratio(uint64_t part, uint64_t whole)
{
    return whole ? json_real((double) part / (double) whole) : json_null();
}

static json_t *row_json(const struct telemetry_row *row)
{
    const struct histogram *latency = &row->latency;

    return json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:I, s:I, "
        "s:I}",
        "pipeline", row->pipeline, "model", row->model, "version", row->version, "variant",
        row->variant, "payload_count", (json_int_t) row->payload_count, "inference_count",
        (json_int_t) row->inference_count, "fired_count", (json_int_t) row->fired_count, "p50_us",
        latency->total ? json_integer((json_int_t) histogram_quantile_us(latency, 0.5))
                       : json_null(),
        "p90_us",
        latency->total ? json_integer((json_int_t) histogram_quantile_us(latency, 0.9))
                       : json_null(),
        "p99_us",
        latency->total ? json_integer((json_int_t) histogram_quantile_us(latency, 0.99))
                       : json_null(),
        "energy_uj_each", ratio(row->energy_uj, row->energy_inference_count), "energy_source",
        row->energy_inference_count
            ? json_string(row->energy_source == PITH_ENERGY_MEASURED ? "measured" : "estimated")
            : json_null(),
        "accuracy_ratio", ratio(row->correct_count, row->labelled_count), "labelled_count",
        (json_int_t) row->labelled_count, "fidelity_ratio",
        ratio(row->agreed_count, row->compared_count), "compared_count",
        (json_int_t) row->compared_count, "dropped_count", (json_int_t) row->dropped_count,
        "refused_count", (json_int_t) row->refused_count);
}

static void publish_summary(const struct telemetry *telemetry)
{
    char topic[DAEMON_TOPIC_BYTES], time[25];
    json_t *pipelines = json_array();
    json_t *summary;
    char *text;
    struct mqtt_publication publication = {.qos = 1, .retain = true};

    for (const struct telemetry_row *row = telemetry->rows; row; row = row->next)
        (void) json_array_append_new(pipelines, row_json(row));
    summary = json_pack("{s:s, s:o}", "time", pith_wall_text(telemetry->minute_ms, time),
                        "pipelines", pipelines);
    text = summary ? pith_json_text(summary) : NULL;
    if (text && telemetry->daemon->fleet) {
        publication.topic = daemon_topic(telemetry->daemon, topic, sizeof topic, "telemetry");
        publication.payload = text;
        publication.bytes = strlen(text);
        if (mqtt_publish(telemetry->daemon->fleet, &publication, NULL) < 0)
            log_debug("telemetry_not_published", "topic=%s", topic);
    }
    free(text);
    json_decref(summary);
}

/* Hands the running minute over, whether it is at its end or not: a later part is added to the same
 * row. */
static struct minute_write *take_minute(struct telemetry *telemetry)
{
    struct minute_write *minute = calloc(1, sizeof *minute);

    if (!minute)
        return NULL; /* the counts stay for the next time */
    (void) uv_timer_stop(&telemetry->timer);
    if (telemetry->rows) {
        share_machine_energy(telemetry);
        publish_summary(telemetry);
    }
    minute->write.run_on_writer = write_minute_on_writer;
    minute->write.done = minute_written;
    minute->write.user = minute;
    minute->daemon = telemetry->daemon;
    minute->rows = telemetry->rows;
    minute->minute_ms = telemetry->minute_ms;
    minute->bounds = telemetry->bounds;
    minute->prunes = telemetry_pruning_due(&telemetry->pruning, pith_wall_ms(),
                                           pith_monotonic_ns() / 1000000, &minute->prune_now_ms);
    telemetry->rows = NULL;
    telemetry->row_count = 0;
    return minute;
}

static void minute_ended(uv_timer_t *timer)
{
    struct telemetry *telemetry = timer->data;
    struct minute_write *minute = take_minute(telemetry);

    if (minute)
        database_submit(telemetry->daemon->database, &minute->write);
}

int telemetry_open(struct telemetry **out, struct daemon *daemon, struct pith_error *err)
{
    struct telemetry *telemetry = calloc(1, sizeof *telemetry);

    if (!telemetry)
        return pith_fail(err, -ENOMEM, "telemetry: out of memory");
    telemetry->daemon = daemon;
    telemetry->bounds.keep_ms = daemon->config->telemetry.keep_ms;
    telemetry->bounds.max_size_bytes = daemon->config->telemetry.max_size_bytes;
    (void) uv_timer_init(daemon->loop, &telemetry->timer);
    telemetry->timer.data = telemetry;
    *out = telemetry;
    return 0;
}

static void timer_closed(uv_handle_t *handle)
{
    struct telemetry *telemetry = handle->data;
    void (*closed)(void *user) = telemetry->closed;
    void *user = telemetry->closed_user;

    rows_free(telemetry->rows);
    free(telemetry);
    closed(user);
}

void telemetry_close(struct telemetry *telemetry, void (*closed)(void *user), void *user)
{
    if (!telemetry) {
        closed(user);
        return;
    }
    telemetry->closed = closed;
    telemetry->closed_user = user;
    if (telemetry->rows)
        minute_ended(&telemetry->timer);
    uv_close((uv_handle_t *) &telemetry->timer, timer_closed);
}

/* ---- the control method ---- */

static void query_on_thread(uv_work_t *work)
{
    struct query *query = (struct query *) work;

    query->rc =
        telemetry_rows_query_on_thread(query->path, &query->question, &query->rows, &query->err);
}

static void query_done(uv_work_t *work, int status)
{
    struct query *query = (struct query *) work;

    if (status < 0)
        control_refuse(query->call, status, "the daemon is stopping");
    else if (query->rc < 0)
        control_refuse(query->call, query->rc, "%s", pith_error_text(&query->err));
    else
        control_reply(query->call,
                      json_pack("{s:s, s:o}", "period", query->period, "rows", query->rows));
    free(query);
}

static void query_start(struct query *query, uv_loop_t *loop)
{
    int rc = uv_queue_work(loop, &query->work, query_on_thread, query_done);

    if (rc < 0) {
        control_refuse(query->call, rc, "the query could not be started: %s", uv_strerror(rc));
        free(query);
    }
}

static int read_question(struct query *query, const json_t *params, struct pith_error *err)
{
    static const char *const known[] = {"period", "pipeline", "since_ms", "limit", NULL};
    static const char *const periods[] = {"summary", "minute", "hour", "day"};
    const char *period = NULL, *pipeline = NULL;
    struct telemetry_question *question = &query->question;
    int rc = pith_json_only(params, "params", known, err);

    if (rc == 0)
        rc = pith_json_string_or(params, "params", "period", "summary", &period, err);
    if (rc == 0)
        rc = pith_json_string_or(params, "params", "pipeline", NULL, &pipeline, err);
    if (rc == 0)
        rc = pith_json_int_or(params, "params", "since_ms", 0, INT64_MAX, 0, &question->since_ms,
                              err);
    if (rc == 0)
        rc = pith_json_int_or(params, "params", "limit", 1, QUERY_MAX, QUERY_DEFAULT,
                              &question->limit, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < sizeof periods / sizeof *periods; i++)
        if (strcmp(period, periods[i]) == 0)
            question->period = periods[i];
    if (!question->period)
        return pith_fail(err, -EINVAL, "params.period: summary, minute, hour or day");
    (void) snprintf(query->period, sizeof query->period, "%s", question->period);
    (void) snprintf(query->pipeline, sizeof query->pipeline, "%s", pipeline ? pipeline : "");
    question->pipeline = pipeline ? query->pipeline : NULL;
    return 0;
}

/* The running minute is written first, so that the answer is whole. */
static void run_telemetry(struct daemon *daemon, const json_t *params, struct control_call *call)
{
    struct telemetry *telemetry = daemon->telemetry;
    struct query *query = calloc(1, sizeof *query);
    struct pith_error err = {0};
    struct minute_write *minute;
    int rc;

    if (!query) {
        control_refuse(call, -ENOMEM, "out of memory");
        return;
    }
    query->call = call;
    (void) snprintf(query->path, sizeof query->path, "%s/pith.db", daemon->config->state_dir);
    rc = read_question(query, params, &err);
    if (rc < 0) {
        control_refuse(call, rc, "%s", pith_error_text(&err));
        free(query);
        return;
    }
    minute = telemetry->rows ? take_minute(telemetry) : NULL;
    if (!minute) {
        query_start(query, daemon->loop);
        return;
    }
    query->work.data = daemon->loop;
    minute->query = query;
    minute->write.durable = true;
    database_submit(daemon->database, &minute->write);
}

const struct control_method telemetry_methods[] = {
    {.name = "telemetry",
     .help =
         "what pipelines measured: period (summary, minute, hour, day), pipeline, since_ms, limit",
     .run = run_telemetry},
    {0},
};
