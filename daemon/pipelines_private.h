/* Inside the pipelines: what pipelines.c (config, topics, payloads), pipeline_jobs.c (versions opened on a thread) and
 * pipeline_results.c (what lanes tell; feedback; control) share. All on the loop. */
#ifndef PITHD_PIPELINES_PRIVATE_H
#define PITHD_PIPELINES_PRIVATE_H

#include "daemon/control.h"
#include "daemon/stream.h"
#include "daemon/telemetry.h"
#include "libpith/base/names.h"

#define PIPELINE_MAX_INSTANCES 64      /* that a wildcard makes; each has a chain of its own */
#define PIPELINE_TELL_NS       UINT64_C(60000000000) /* trouble of one kind is told once a minute, with its count */

struct trouble { /* of one kind, told now and then */
    uint64_t told_ns, count; /* since it was told */
};

struct instance { /* a source topic of a pipeline */
    struct instance *next;
    struct pipeline *pipeline;
    char *topic; /* own */
    char id_prefix[16];
    struct pith_codec_stream codec_stream;
    struct stream *stream;
    struct lane_stream *lane; /* NULL once it has ended */
    struct version *version;  /* that it runs or is about to; counted; NULL: none */
    unsigned job_count;       /* jobs that point here */
    bool opening;             /* a job is under way that gives it a version */
    bool closing;
    uint64_t payload_count, result_count, dropped_count, refused_count, agreed_count, compared_count;
    struct trouble dropped, refused;
};

struct pipeline {
    struct pipeline *next;
    struct pipelines *pipelines;
    char name[PITH_NAME_BYTES], model[PITH_NAME_BYTES];
    char *source; /* own */
    const struct config_pipeline *config; /* of the config that is loaded */
    struct instance *instances;
    size_t instance_count;
    bool subscribed; /* to the source; feedback is heard while it is open */
    bool closing;
    struct trouble crowded;
};

struct model { /* that is or was active; few and small, so kept */
    struct model *next;
    char name[PITH_NAME_BYTES];
    struct version *current; /* counted; NULL: none is active */
};

struct job;

struct pipelines {
    struct daemon *daemon;
    struct lanes *lanes;
    struct pipeline *list;
    struct model *models;
    struct job *jobs, **jobs_end; /* one after the other */
    bool job_runs;                /* the first is on its thread */
    bool closing;
    void (*closed)(void *user);
    void *closed_user;
};

/* ---- pipelines.c ---- */
struct model *model_find(struct pipelines *pipelines, const char *name); /* or NULL */
struct model *model_get(struct pipelines *pipelines, const char *name);  /* made where there is none; NULL: no memory */
void pipelines_listen(struct pipelines *pipelines, const struct model *model); /* subscribes, or takes it back */
void instance_drop_if_done(struct instance *instance);
void pipelines_close_if_done(struct pipelines *pipelines);
struct telemetry_key instance_key(const struct instance *instance, const struct version *version);
/* Whether it is time to tell; *out_count: how many since the last time, this one included. */
bool trouble_tell(struct trouble *trouble, uint64_t *out_count);

/* ---- pipeline_jobs.c ---- */
/* Opens the model's current version for those of its instances that don't run it. */
void pipelines_catch_up(struct pipelines *pipelines, const struct model *model);
void pipelines_open_original(struct instance *instance);
void pipelines_swapped(struct instance *instance, void *user); /* user: what the swap was sent with */
void instance_swap(struct instance *instance, struct pith_chain *chain, struct version *version, void *user);
void pipelines_cancel_jobs(struct pipelines *pipelines); /* those that don't run yet */

/* ---- pipeline_results.c ---- */
void pipelines_event(void *user, void *stream_user, const void *event); /* of lanes.h */
void pipelines_feedback(void *user, const struct mqtt_message *message); /* user: struct pipeline */

#endif
