/* Kept samples, on the loop: see samples.h. */
#include "daemon/samples.h"

#include "daemon/reservoir.h"
#include "libpith/base/file.h"
#include "libpith/base/log.h"
#include "libpith/base/names.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_WAITING 16 /* samples that wait for the disk; more are dropped, and none misses them   \
                        */

struct seen { /* how many samples of a model were offered */
    struct seen *next;
    char model[PITH_NAME_BYTES];
    uint64_t count;
};

enum work_kind { WORK_OFFER, WORK_TRIM, WORK_FORGET };

struct work {
    struct work *next;
    enum work_kind kind;
    char model[PITH_NAME_BYTES]; /* "": all of them */
    char folder[PATH_MAX];
    int64_t count;             /* the limit */
    struct pith_tensor sample; /* own */
    uint64_t seen, random;
    int status;
    struct pith_error err;
};

struct samples {
    struct daemon *daemon;
    uv_work_t request;
    struct work *first, **end; /* the first is on its thread where `running` */
    size_t waiting_count;
    struct seen *seen;
    int64_t limit; /* of the config */
    bool running, closing, failing;
    void (*closed)(void *user);
    void *closed_user;
};

static void start_first(struct samples *samples);

const char *samples_folder(const struct config *config, const char *model, char *path,
                           size_t path_bytes)
{
    (void) snprintf(path, path_bytes, "%s/samples%s%s", config->state_dir, *model ? "/" : "",
                    model);
    return path;
}

/* ---- on the thread ---- */

static int trim_all(const struct work *work, struct pith_error *err)
{
    return work->count == 0 ? pith_remove_tree(work->folder, err) : 0;
}

static void run_on_thread(uv_work_t *request)
{
    struct samples *samples = request->data;
    struct work *work = samples->first;
    const struct reservoir_limits limits = {.count = work->count, .bytes = RESERVOIR_MAX_BYTES};

    switch (work->kind) {
    case WORK_OFFER:
        work->status = reservoir_offer(work->folder, &limits, &work->sample, &work->seen,
                                       work->random, &work->err);
        break;
    case WORK_TRIM:
        work->status = trim_all(work, &work->err);
        break;
    case WORK_FORGET:
        work->status = reservoir_trim(work->folder, 0, &work->err);
        break;
    }
}

/* ---- on the loop ---- */

static struct seen *seen_of(struct samples *samples, const char *model)
{
    struct seen *seen = samples->seen;

    while (seen && strcmp(seen->model, model) != 0)
        seen = seen->next;
    if (!seen && (seen = calloc(1, sizeof *seen)) != NULL) {
        (void) snprintf(seen->model, sizeof seen->model, "%s", model);
        seen->next = samples->seen;
        samples->seen = seen;
    }
    return seen;
}

static void samples_free(struct samples *samples)
{
    void (*closed)(void *user) = samples->closed;
    void *user = samples->closed_user;

    while (samples->seen) {
        struct seen *next = samples->seen->next;

        free(samples->seen);
        samples->seen = next;
    }
    free(samples);
    closed(user);
}

static void work_free(struct work *work)
{
    pith_tensor_free(&work->sample);
    free(work);
}

static void take_outcome(struct samples *samples, const struct work *work)
{
    struct seen *seen = work->kind == WORK_OFFER ? seen_of(samples, work->model) : NULL;

    if (seen)
        seen->count = work->seen;
    if (work->status == 0) {
        samples->failing = false;
    } else if (!samples->failing) { /* once, until it works again: a full disk would tell a lot */
        samples->failing = true;
        log_warn("samples_not_kept", "folder=%s reason=\"%s\"", work->folder,
                 pith_error_text(&work->err));
    }
}

static void run_done(uv_work_t *request, int status)
{
    struct samples *samples = request->data;
    struct work *work = samples->first;

    (void) status; /* never cancelled */
    samples->running = false;
    samples->first = work->next;
    if (!samples->first)
        samples->end = &samples->first;
    samples->waiting_count--;
    take_outcome(samples, work);
    work_free(work);
    if (samples->closing)
        samples_free(samples);
    else
        start_first(samples);
}

static void start_first(struct samples *samples)
{
    struct work *work = samples->first;

    if (!work || samples->running)
        return;
    if (work->kind == WORK_OFFER) {
        struct seen *seen = seen_of(samples, work->model);

        work->seen = seen ? seen->count : 0;
    }
    samples->request.data = samples;
    samples->running =
        uv_queue_work(samples->daemon->loop, &samples->request, run_on_thread, run_done) == 0;
}

static struct work *add_work(struct samples *samples, enum work_kind kind,
                             const struct config *config, const char *model)
{
    struct work *work = calloc(1, sizeof *work);

    if (!work)
        return NULL;
    work->kind = kind;
    work->count = samples->limit;
    (void) snprintf(work->model, sizeof work->model, "%s", model);
    (void) samples_folder(config, model, work->folder, sizeof work->folder);
    *samples->end = work;
    samples->end = &work->next;
    samples->waiting_count++;
    return work;
}

void samples_take(struct samples *samples, const char *model, struct pith_tensor *taken)
{
    struct work *work = NULL;

    if (samples && samples->limit > 0 && samples->waiting_count < MAX_WAITING)
        work = add_work(samples, WORK_OFFER, samples->daemon->config, model);
    if (!work) {
        pith_tensor_free(taken);
        return;
    }
    work->sample = *taken;
    *taken = (struct pith_tensor){0};
    if (uv_random(NULL, NULL, &work->random, sizeof work->random, 0, NULL) < 0)
        work->random = uv_hrtime() * UINT64_C(2654435761);
    start_first(samples);
}

void samples_forget(struct samples *samples, const char *model)
{
    if (samples && add_work(samples, WORK_FORGET, samples->daemon->config, model))
        start_first(samples);
}

/* The folder of all models goes where the config no longer consents; a lower limit is kept with the
 * next sample. */
void samples_reload(struct samples *samples, const struct config *config)
{
    samples->limit = config->compression.keep_samples_count;
    if (samples->limit == 0 && add_work(samples, WORK_TRIM, config, ""))
        start_first(samples);
}

int samples_open(struct samples **out, struct daemon *daemon, struct pith_error *err)
{
    struct samples *samples = calloc(1, sizeof *samples);

    if (!samples)
        return pith_fail(err, -ENOMEM, "no memory for the samples");
    samples->daemon = daemon;
    samples->end = &samples->first;
    samples_reload(samples, daemon->config);
    *out = samples;
    return 0;
}

void samples_close(struct samples *samples, void (*closed)(void *user), void *user)
{
    struct work *rest;

    if (!samples) {
        closed(user);
        return;
    }
    samples->closing = true;
    samples->closed = closed;
    samples->closed_user = user;
    rest = samples->running ? samples->first->next : samples->first;
    if (samples->running)
        samples->first->next = NULL;
    while (rest) {
        struct work *next = rest->next;

        work_free(rest);
        rest = next;
    }
    if (!samples->running)
        samples_free(samples);
}
