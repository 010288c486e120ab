/* What a model is: its manifest (graphs, chain of stages, labels, data, recipe, budget, gates) and the desired document
 * that asks a gateway for it. Both arrive from outside: reading checks everything. schemas/manifest.json says the same. */
#ifndef PITH_MODEL_MANIFEST_H
#define PITH_MODEL_MANIFEST_H

#include "libpith/base/digest.h"
#include "libpith/base/names.h"
#include <jansson.h>
#include <pith/tensor.h>

#define PITH_MANIFEST_MAX_BYTES (256 * 1024)
#define PITH_MANIFEST_MAX_GRAPHS 32
#define PITH_MANIFEST_MAX_STAGES 64
#define PITH_BLOB_MAX_BYTES (INT64_C(1) << 32)
#define PITH_CHUNK_BYTES (64 * 1024) /* of a blob on the wire; the last one is shorter */

struct pith_blob {
    char sha256[PITH_SHA256_HEX + 1]; /* of the bytes as transferred and stored */
    int64_t bytes;                    /* as transferred and stored */
    int64_t raw_bytes;                /* once unpacked; equal to bytes where not packed */
    bool zstd;                        /* "encoding": "zstd" */
};

struct pith_model_graph {
    char name[PITH_NAME_BYTES];
    struct pith_blob blob; /* an ONNX file */
};

enum pith_stage_kind { PITH_STAGE_WINDOW, PITH_STAGE_MAP, PITH_STAGE_GRAPH, PITH_STAGE_HEADS, PITH_STAGE_DECIDE };

struct pith_stage_input { /* of a graph, beside the one that data flow into */
    char *name;           /* own; the graph's */
    char *output;         /* own; the graph's output that it gets from the run before, zeros at first; NULL: it is fixed */
    double *values;       /* own; what a fixed one gets: one number for all its elements, or one each */
    size_t value_count;
};
#define PITH_STAGE_MAX_INPUTS 15

struct pith_stage {
    enum pith_stage_kind kind;
    /* window: collects `size` rows, of which `before` are zeros at first, then moves on by `hop` */
    int64_t size, hop, before;
    /* map: an expression in x, checked by libpith/pipeline/expression.h */
    char *expression;
    /* graph: one index into graphs. heads: graphs that all take the same input, each giving a score of its own */
    size_t graph[PITH_MANIFEST_MAX_GRAPHS];
    size_t graph_count;
    struct pith_stage_input *inputs; /* own; of a graph stage */
    size_t input_count;
    /* decide */
    double threshold;     /* 0..1; a label whose score is below it is not reported */
    int64_t hold_off_ms;  /* after a label was reported, it is not again for so long (of input time where the rate is known) */
    int64_t smooth_count; /* scores are averaged over so many; 1: none */
    bool every;           /* report each inference, fired or not */
};

struct pith_model_data { /* samples that travel with the model; each a .npy, rows first: [samples, ...] */
    bool present;
    struct pith_blob x;      /* what the codec would give: for audio [clips, frames] int16 or float32 */
    bool labelled;
    struct pith_blob y;      /* [samples], integer: an index into labels; -1 or past the end: none of them */
};

struct pith_manifest {
    char model[PITH_NAME_BYTES];
    char version[PITH_NAME_BYTES];
    struct pith_model_graph graphs[PITH_MANIFEST_MAX_GRAPHS];
    size_t graph_count;
    struct pith_stage stages[PITH_MANIFEST_MAX_STAGES];
    size_t stage_count;
    int32_t input_dtype;      /* what the first stage gets */
    double input_rate_hz;     /* 0: no fixed rate */
    struct pith_shape input_row; /* shape of one row; rank 0: a scalar, as for audio */
    char **labels;            /* of a graph's scores, in their order; heads give their graphs' names where there are none */
    size_t label_count;
    struct pith_model_data calibration, validation;
    char *recipe_json;        /* a recipe object as text, or a quoted name; NULL: the gateway's default */
    double accuracy_drop_points; /* budget; negative: none given */
    int64_t budget_bytes;     /* 0: none given */
    double budget_latency_ms; /* 0: none given */
    double budget_energy_ratio; /* 0: none given */
    double min_fidelity_ratio;  /* gate; 0: none given */
    double max_energy_ratio;    /* gate; 0: none given */
    int64_t watch_ms;           /* how long the gates are watched once it is active; 0: none given */
    json_t *json;             /* own; the whole document */
};

/* *out: freed with pith_manifest_free. -EBADMSG with the place in *err. */
int pith_manifest_parse(struct pith_manifest **out, const void *text, size_t bytes, struct pith_error *err) PITH_CHECKED;
void pith_manifest_free(struct pith_manifest *manifest);

/* One blob as it stands in documents. where: for the sentence ("manifest: graphs.mel"). object may be NULL. */
int pith_blob_parse(struct pith_blob *out, const json_t *object, const char *where, struct pith_error *err) PITH_CHECKED;
json_t *pith_blob_json(const struct pith_blob *blob); /* a new reference; NULL: out of memory */

struct pith_desired { /* payload of an envelope of type "desired" */
    char model[PITH_NAME_BYTES];
    char version[PITH_NAME_BYTES];
    int64_t generation;       /* >= 1, strictly increasing a model: the guard against replay */
    struct pith_blob manifest; /* never packed */
    bool absent;              /* true: the model should be gone; version and manifest are then empty */
};
int pith_desired_parse(struct pith_desired *out, const void *text, size_t bytes, struct pith_error *err) PITH_CHECKED;
char *pith_desired_text(const struct pith_desired *desired); /* freed with free(); NULL: out of memory */

#endif
