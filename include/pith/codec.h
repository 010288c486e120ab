/* Codec plugins: turn sensor payloads into tensors. */
#ifndef PITH_CODEC_H
#define PITH_CODEC_H

#include <pith/plugin.h>
#include <pith/tensor.h>

struct pith_codec; /* the codec's own: one an input stream, so that it may keep a remainder between payloads */

struct pith_codec_stream { /* what open promises of each tensor that feed emits */
    int32_t dtype;
    struct pith_shape shape; /* one row of the stream: [] for audio samples, [6] for six axes; unknown dims allowed */
    double rate_hz;          /* rows a second; 0: no fixed rate */
};

/* Receives rows as one tensor of shape [rows, ...stream.shape]; borrowed for the call. A negative return stops feed. */
typedef int pith_codec_emit(void *user, const struct pith_tensor *rows);

struct pith_codec_ops {
    uint32_t size_bytes;
    int (*open)(const struct pith_host *host, const struct pith_option_value *options, struct pith_codec **out,
                struct pith_codec_stream *out_stream, struct pith_error *err);
    /* payload: hostile. Emits nothing of a payload that it refuses (-EBADMSG, with what would be right in *err). */
    int (*feed)(struct pith_codec *codec, const void *payload, size_t payload_bytes, pith_codec_emit *emit,
                void *user, struct pith_error *err);
    void (*close)(struct pith_codec *codec); /* NULL is fine */
};

#endif
