/* What the files of the deployments room share: models, their deployments, and the one write that a model has under way.
 * All of it is the loop's, but for what a disk work or a change was handed.
 *
 *   deployments.c         documents in: trust, replay, acceptance; open and close
 *   deployment_states.c   the machine: a table of states
 *   deployment_fetching.c manifest and blobs into the store
 *   deployment_change.c   rows: each step is written here before it is acted on
 *   deployment_work.h     what needs the disk: job folders, results, clearing up
 *   deployment_report.c   documents out: reported, events
 *   deployment_control.c  control methods */
#ifndef PITHD_DEPLOYMENT_H
#define PITHD_DEPLOYMENT_H

#include "daemon/daemon.h"
#include "daemon/fetch.h"
#include "daemon/jobs.h"
#include "libpith/model/manifest.h"
#include "libpith/model/store.h"

#include <limits.h>

#define DEPLOYMENT_MODELS_MAX 64 /* on one gateway; a bound on what a stolen key can make us hold */
#define DEPLOYMENT_ATTEMPTS 5    /* starts of the same work, before it is given up */
#define DEPLOYMENT_TRIALS 5      /* starts of the daemon in which a version did not come to serve */

enum state {
    STATE_ACCEPTED,
    STATE_FETCHING,
    STATE_VERIFYING,
    STATE_VETTING,
    STATE_COMPRESSING,
    STATE_EVALUATING,
    STATE_ACTIVE,
    STATE_ABSENT,
    STATE_REJECTED,
    STATE_FAILED,
    STATE_ROLLED_BACK,
    STATE_CANCELLED,
    STATE_SUPERSEDED,
    STATE_EXPIRED,
    STATE_COUNT
};

struct deployment {
    int64_t id;
    char version[PITH_NAME_BYTES];
    int64_t generation;
    struct pith_blob manifest;
    bool absent; /* asks for the model to be gone */
    char signer[17];
    enum state state;
    char reason[PITH_ERROR_TEXT_BYTES];
    int64_t attempt_count;
    int64_t since_ms;  /* wall clock: when the state was entered */
    json_t *result;    /* the parts of result.json that are used, see deployment_result.c; NULL: none yet */
    struct deployment *next;
};

struct model {
    struct deployments *owner;
    struct model *next;
    char name[PITH_NAME_BYTES];
    int64_t generation;
    char desired_sha256[PITH_SHA256_HEX + 1];
    int64_t trial_count;
    struct deployment *list; /* own: those below, each once */
    struct deployment *newest, *active, *previous;
    char refusal[PITH_ERROR_TEXT_BYTES]; /* why the last document was not taken; "" none */
    int64_t refused_generation;

    /* the work on `newest` */
    struct pith_manifest *manifest;
    struct fetch *fetch;
    size_t fetch_index;      /* into the manifest's blobs */
    struct disk *disk;       /* on the thread pool */
    struct job *job;
    bool job_done;           /* result.json is there */
    bool holds_samples;      /* its folder has copies of samples that were kept here */
    bool held;               /* fetching waits for a sweep of the store */
    double done_ratio;       /* of the state */
    char progress[256];
    int64_t chunk_count, missing_count;

    struct change *change;   /* the write under way; no other is begun before it is on disk */
    enum state from;         /* the state that the newest deployment leaves with it */
    bool wanted;             /* what came meanwhile: the newest deployment's next state */
    enum state wanted_state;
    char wanted_reason[PITH_ERROR_TEXT_BYTES];
    bool desired_waiting;    /* what came meanwhile: a desired document */
    struct pith_desired desired;
    char desired_waiting_sha256[PITH_SHA256_HEX + 1];
    char desired_waiting_signer[17];

    bool serving;            /* pipelines have said that they run `active` */
    char not_serving[PITH_ERROR_TEXT_BYTES]; /* why not, while that waits for a write under way; "" else */
    bool report_due;
    enum state reported_state;
    uint64_t reported_ms;    /* of the loop's clock: progress is told twice a second at most */
};

struct deployments {
    struct daemon *daemon;
    const struct config *config;  /* the one that holds; a reload gives another */
    struct pith_store *store;
    struct model *models;
    size_t model_count;
    char *filters[1 + CONFIG_MAX_GROUPS]; /* subscriptions; own */
    size_t filter_count;
    uint64_t ticks;    /* of the timer */
    uv_timer_t timer;  /* reports that are due, changes to try again */
    uint64_t busy;     /* fetches, jobs, disk works, changes, activations under way: closing waits for them */
    bool opening;      /* nothing is said yet: the first connection tells all */
    bool sweeping;
    bool closing;
    void (*closed)(void *user);
    void *closed_user;
};

/* ---- deployments.c ---- */
void deployments_begin_busy(struct deployments *deployments);
void deployments_end_busy(void *deployments);
void deployments_watch_timer(struct deployments *deployments); /* something may wait for it */
struct model *deployments_find(struct deployments *deployments, const char *name); /* or NULL */
struct model *deployments_add(struct deployments *deployments, const char *name);  /* or NULL: no memory */
void deployment_accept_waiting(struct model *model); /* takes the desired document that waits */
/* "<state_dir>/deployments/<id>[/rest]". Returns path. */
const char *deployment_path(const struct deployments *deployments, int64_t id, const char *rest, char path[PATH_MAX]);

/* ---- deployment_states.c ---- */
const char *state_name(enum state state);
enum state state_of_name(const char *name); /* STATE_COUNT: none */
bool state_is_final(enum state state);
/* Records that the newest deployment goes to `state`, then acts on it. Where a write is under way, after that. */
void deployment_go(struct model *model, enum state state, const char *format, ...) PITH_PRINTF(3, 4);
void deployment_go_on(struct model *model);   /* a change is on disk: what came meanwhile */
void deployment_resume(struct model *model);  /* at the start: goes on with what was under way */
/* The newest deployment's new state, which it reached from `from` (STATE_COUNT: none), is on disk: acts on it. */
void deployment_entered(struct model *model, enum state from);
void deployment_judge(struct model *model, json_t *taken); /* a result was read: does it pass the gates? */
/* Makes `to` (the previous version) serve; the active one becomes `state` for that reason. */
void deployment_switch(struct model *model, struct deployment *to, enum state state, const char *reason);
void deployment_serve(struct model *model); /* hands `active` to the pipelines */
void deployment_stop_work(struct model *model);
void deployment_forget_samples(struct model *model); /* consent is withdrawn: a job that has kept samples begins anew */

/* ---- deployment_fetching.c ---- */
void deployment_fetch(struct model *model);
int deployment_load_manifest(struct model *model, struct pith_error *err) PITH_CHECKED; /* from the store */
/* The blobs of a manifest, in order: graphs, then data. NULL past the end. */
const struct pith_blob *manifest_blob(const struct pith_manifest *manifest, size_t index, char what[160]);

/* ---- deployment_change.c ---- */
struct change_state {
    struct deployment *deployment;
    enum state state;
    int64_t attempt_count;
    char reason[PITH_ERROR_TEXT_BYTES];
};
struct change {
    struct database_write write;
    struct model *model;
    int64_t now_ms;
    /* the model's row, as it shall be */
    int64_t generation;
    char desired_sha256[PITH_SHA256_HEX + 1];
    int64_t trial_count;
    struct deployment *newest, *active, *previous;
    struct change_state states[2];
    size_t state_count;
    struct deployment *insert; /* taken; `newest` or NULL. Its id is given by the database */
    json_t *result;            /* of states[0].deployment; NULL: unchanged */
    char *result_text;         /* the whole; own */
    void (*then)(struct model *model);
    bool submitted;            /* the database has it */
    bool told;                 /* that it could not be written */
};
struct change *change_new(struct model *model); /* with the row as it is; NULL: no memory, which is logged */
void change_state(struct change *change, struct deployment *deployment, enum state state, const char *format, ...)
    PITH_PRINTF(4, 5);
/* Taken. `then` is called once all is on disk and the model's fields say so. Tried again until it can be written. */
void change_submit(struct change *change);
int change_now(struct change *change, struct pith_error *err) PITH_CHECKED; /* at the start; taken */
void change_retry(struct model *model); /* the timer's: one that could not be written */
void change_give_up(struct model *model); /* while closing: one that waits for the timer */
int deployments_load(struct deployments *deployments, struct pith_error *err) PITH_CHECKED; /* models and deployments */

/* ---- deployment_work.h ---- */
struct disk;
void disk_prepare(struct model *model);     /* builds the job's folder; leads to a state */
void disk_read_result(struct model *model); /* reads, checks; leads to a state */
void disk_stop(struct disk *disk);          /* its outcome is not wanted any more; NULL is fine */
void disk_clear(struct deployments *deployments); /* removes folders and blobs that no version needs, when all is quiet */
/* What pipelines need to run the deployment. Strings lie in *manifest and *paths, which the caller frees. */
struct pipelines_version;
int deployment_version(struct deployments *deployments, const struct model *model, const struct deployment *deployment,
                       struct pipelines_version *out, struct pith_manifest **manifest, char **paths,
                       struct pith_error *err) PITH_CHECKED;

/* ---- deployment_report.c ---- */
void deployment_report(struct model *model);       /* soon */
void deployment_report_due(struct model *model);   /* now, if it is due */
void deployment_event(struct model *model, const struct deployment *deployment);
/* A document that was not taken: said in `reported` and as an event, and logged. model: NULL where there is none of
 * that name; nothing is kept then. */
void deployment_refused(struct deployments *deployments, struct model *model, const char *name, int64_t generation,
                        const char *kind, const char *reason);
json_t *deployment_document(const struct model *model); /* the reported document; NULL: no memory */

#endif
