/* One stream of a pipeline: a source topic's codec and chain, and what runs them on a lane's thread. The loop makes it and
 * frees it; in between all but `options` is the lane's. */
#ifndef PITHD_STREAM_H
#define PITHD_STREAM_H

#include "daemon/lanes.h"
#include "daemon/meters.h"
#include "daemon/version.h"
#include <pith/codec.h>

#define STREAM_MAX_SCORES  16 /* the greatest; a result of more classes names these */
#define STREAM_BATCH_COUNT 16 /* passes that are told to the loop together */
#define STREAM_ID_BYTES    40
#define STREAM_LABEL_BYTES 128

struct control_call;

/* ---- from the loop to the lane ---- */

enum stream_message_kind { STREAM_SWAP, STREAM_FEEDBACK, STREAM_ORIGINAL, STREAM_SAMPLING };

struct stream_message {
    struct lane_message lane; /* first */
    enum stream_message_kind kind;
    /* SWAP: what runs from now on; NULL, NULL: nothing. Comes back in STREAM_SWAPPED with what ran before. */
    struct pith_chain *chain;
    struct version *version;
    void *user;
    /* FEEDBACK: the right answer, for the result `id`, or for the input of the last window_ms. "": none of the labels. */
    char id[STREAM_ID_BYTES];
    char label[STREAM_LABEL_BYTES];
    int64_t window_ms;
    struct control_call *call; /* who waits for the outcome; NULL: nobody */
    /* ORIGINAL: for fidelity; NULL where it could not be opened. */
    struct pith_chain *original;
    /* SAMPLING: how often a sample is wanted from now on; 0: never. */
    uint64_t sample_every_ns;
};

/* ---- from the lane to the loop ---- */

enum stream_event_kind {
    STREAM_RESULT,
    STREAM_BATCH,
    STREAM_JUDGED,          /* feedback was matched, or nothing was found that it could be of */
    STREAM_REFUSED,         /* a payload was malformed */
    STREAM_SWAPPED,
    STREAM_ORIGINAL_WANTED, /* a stretch of input is to be compared; answered by STREAM_ORIGINAL */
    STREAM_COMPARED,
    STREAM_SAMPLE, /* of the input, to be kept */
};

struct stream_score {
    const char *label; /* the chain's: valid until STREAM_SWAPPED is handled */
    float score;
};

struct stream_event {
    enum stream_event_kind kind;
    const struct version *version; /* that ran */
    union {
        struct {
            char id[STREAM_ID_BYTES];
            int32_t fired; /* index into scores; -1: none */
            size_t score_count;
            struct stream_score scores[STREAM_MAX_SCORES];
            int64_t wall_ms;
            uint64_t latency_ns, wait_ns; /* of inference; of the payload in the queue before it */
        } result;
        struct {
            uint32_t payload_count, inference_count, fired_count;
            uint32_t latency_us[STREAM_BATCH_COUNT];
            uint64_t cpu_ns, energy_uj;
            uint32_t energy_source;
        } batch;
        struct {
            bool found, correct;
            struct control_call *call;
            char version[PITH_NAME_BYTES], variant[PITH_NAME_BYTES]; /* that gave what was judged, where found */
        } judged;
        struct {
            char reason[400];
        } refused;
        struct {
            struct pith_chain *chain; /* what ran before: to be closed */
            struct version *old_version;
            struct pith_chain *original; /* of it; NULL: none */
            void *user;
        } swapped;
        struct {
            uint32_t agreed_count, compared_count;
            struct pith_chain *original; /* to be closed; NULL where it is kept */
        } compared;
        struct {
            struct pith_tensor rows; /* the loop's to free */
        } sample;
    };
};
_Static_assert(sizeof(struct stream_event) <= LANE_EVENT_BYTES, "an event fits the outbox");

/* ---- on the loop ---- */

struct stream_options {
    const struct pith_plugin *codec;
    const struct pith_option_value *codec_values; /* used by stream_open alone */
    const struct meters *meters;                  /* the same */
    char id_prefix[16];  /* of its results' ids */
    uint64_t sample_every_ns; /* between samples to keep; 0: none */
    double shadow_ratio; /* share of the input that the original runs too */
};
struct stream;
/* Opens the codec. out_stream: what it gives. */
int stream_open(struct stream **out, const struct stream_options *options, struct pith_codec_stream *out_stream,
                struct pith_error *err) PITH_CHECKED;
/* Tells the stream which lane it posts to, and the loop's own of it; before anything is put into that. */
void stream_attach(struct stream *stream, struct lane_stream *lane, void *owner);
void *stream_owner(const struct stream *stream);
void stream_close(struct stream *stream); /* after the lane has let go of it; the chain has been taken by a swap */
extern const struct lane_stream_ops stream_ops; /* user: struct stream */

#endif
