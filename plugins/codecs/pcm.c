/* pcm: raw audio samples, interleaved, as microphones send them. */
#include <errno.h>
#include <math.h>
#include <pith/codec.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CHANNELS      32
#define PIECE_SAMPLES     4096 /* samples are converted and handed on in pieces of at most so many */
#define MAX_PAYLOAD_BYTES (64 * 1024 * 1024)

enum format { U8, S16LE, S24LE, S32LE, F32LE };
static const char *const format_names[] = {"u8", "s16le", "s24le", "s32le", "f32le", NULL};
static const struct format_facts {
    size_t bytes;
    int32_t dtype; /* of the tensor: the samples as they are; u8 is centred around 0 */
} formats[] = {
    [U8] = {1, PITH_INT16},    [S16LE] = {2, PITH_INT16},   [S24LE] = {3, PITH_INT32},
    [S32LE] = {4, PITH_INT32}, [F32LE] = {4, PITH_FLOAT32},
};

struct pith_codec {
    enum format format;
    size_t channel_count;
    size_t channel;     /* the one that is taken, from 1; 0: all */
    size_t taken_count; /* channels of a row */
    union {
        int16_t s16[PIECE_SAMPLES];
        int32_t s32[PIECE_SAMPLES];
        float f32[PIECE_SAMPLES];
    } piece;
};

enum { OPTION_FORMAT, OPTION_RATE, OPTION_CHANNELS, OPTION_CHANNEL };
static const struct pith_option options[] = {
    {.name = "format",
     .type = PITH_OPTION_CHOICE,
     .otherwise = "s16le",
     .choices = format_names,
     .help = "how a sample is written; values stay as they are, u8 is centred around 0"},
    {.name = "rate_hz",
     .type = PITH_OPTION_FLOAT,
     .minimum = 1,
     .maximum = 10e6,
     .otherwise = "16000",
     .help = "samples a second and channel"},
    {.name = "channels",
     .type = PITH_OPTION_INT,
     .minimum = 1,
     .maximum = MAX_CHANNELS,
     .otherwise = "1",
     .help = "interleaved channels in a payload"},
    {.name = "channel",
     .type = PITH_OPTION_INT,
     .minimum = 0,
     .maximum = MAX_CHANNELS,
     .otherwise = "0",
     .help = "the channel to take, from 1; 0 takes all, as rows of as many values"},
    {0},
};

static int pcm_open(const struct pith_host *host, const struct pith_option_value *values,
                    struct pith_codec **out, struct pith_codec_stream *out_stream,
                    struct pith_error *err)
{
    struct pith_codec *codec;

    (void) host;
    if (values[OPTION_CHANNEL].integer > values[OPTION_CHANNELS].integer)
        return pith_fail(err, -EINVAL,
                         "pcm: channel %lld of %lld: take one that there is, or 0 for all",
                         (long long) values[OPTION_CHANNEL].integer,
                         (long long) values[OPTION_CHANNELS].integer);
    codec = calloc(1, sizeof *codec);
    if (!codec)
        return -ENOMEM;
    codec->format = (enum format) values[OPTION_FORMAT].integer;
    codec->channel_count = (size_t) values[OPTION_CHANNELS].integer;
    codec->channel = (size_t) values[OPTION_CHANNEL].integer;
    codec->taken_count = codec->channel ? 1 : codec->channel_count;
    *out_stream = (struct pith_codec_stream){
        .dtype = formats[codec->format].dtype,
        .rate_hz = values[OPTION_RATE].number,
    };
    if (codec->taken_count > 1)
        out_stream->shape = (struct pith_shape){.rank = 1, .dim = {(int64_t) codec->taken_count}};
    *out = codec;
    return 0;
}

static void read_sample(struct pith_codec *codec, size_t at, const uint8_t *b)
{
    uint32_t bits;

    switch (codec->format) {
    case U8:
        codec->piece.s16[at] = (int16_t) (b[0] - 128);
        break;
    case S16LE:
        codec->piece.s16[at] = (int16_t) (uint16_t) (b[0] | b[1] << 8);
        break;
    case S24LE: /* the sign comes down from the highest byte */
        bits = (uint32_t) b[0] << 8 | (uint32_t) b[1] << 16 | (uint32_t) b[2] << 24;
        codec->piece.s32[at] = (int32_t) bits >> 8;
        break;
    case S32LE:
    case F32LE:
        bits =
            (uint32_t) b[0] | (uint32_t) b[1] << 8 | (uint32_t) b[2] << 16 | (uint32_t) b[3] << 24;
        memcpy(&codec->piece.s32[at], &bits, sizeof bits);
        break;
    }
}

static int check_payload(const struct pith_codec *codec, const uint8_t *payload, size_t bytes,
                         struct pith_error *err)
{
    size_t frame_bytes = formats[codec->format].bytes * codec->channel_count;

    if (bytes == 0 || bytes % frame_bytes)
        return pith_fail(
            err, -EBADMSG,
            "pcm: a payload of %zu bytes; %s with %zu channel%s comes in multiples of %zu bytes",
            bytes, format_names[codec->format], codec->channel_count,
            codec->channel_count == 1 ? "" : "s", frame_bytes);
    if (bytes > MAX_PAYLOAD_BYTES)
        return pith_fail(err, -EBADMSG, "pcm: a payload of %zu bytes; at most %d are taken", bytes,
                         MAX_PAYLOAD_BYTES);
    if (codec->format != F32LE)
        return 0;
    for (size_t i = 0; i < bytes; i += 4)
        if ((payload[i + 3] & 0x7f) == 0x7f && payload[i + 2] & 0x80)
            return pith_fail(err, -EBADMSG, "pcm: sample %zu is NaN or infinite", i / 4);
    return 0;
}

static int pcm_feed(struct pith_codec *codec, const void *payload, size_t payload_bytes,
                    pith_codec_emit *emit, void *user, struct pith_error *err)
{
    const size_t sample_bytes = formats[codec->format].bytes;
    const size_t frame_bytes = sample_bytes * codec->channel_count;
    const size_t skipped_bytes = codec->channel ? (codec->channel - 1) * sample_bytes : 0;
    const uint8_t *at = payload;
    int rc = check_payload(codec, payload, payload_bytes, err);

    if (rc < 0)
        return rc;
    for (size_t left = payload_bytes / frame_bytes; left > 0;) {
        size_t rows = PIECE_SAMPLES / codec->taken_count;
        struct pith_tensor tensor = {.dtype = formats[codec->format].dtype, .data = &codec->piece};
        rows = left < rows ? left : rows;
        for (size_t i = 0; i < rows; i++, at += frame_bytes)
            for (size_t c = 0; c < codec->taken_count; c++)
                read_sample(codec, i * codec->taken_count + c,
                            at + skipped_bytes + c * sample_bytes);
        tensor.shape.rank = codec->taken_count > 1 ? 2 : 1;
        tensor.shape.dim[0] = (int64_t) rows;
        tensor.shape.dim[1] = codec->taken_count > 1 ? (int64_t) codec->taken_count : 0;
        tensor.bytes = rows * codec->taken_count * (tensor.dtype == PITH_INT16 ? 2 : 4);
        rc = emit(user, &tensor);
        if (rc < 0)
            return rc;
        left -= rows;
    }
    return 0;
}

static void pcm_close(struct pith_codec *codec)
{
    free(codec);
}

static const struct pith_codec_ops ops = {
    .size_bytes = sizeof ops,
    .open = pcm_open,
    .feed = pcm_feed,
    .close = pcm_close,
};

PITH_EXPORT const struct pith_plugin pith_plugin = {
    .size_bytes = sizeof pith_plugin,
    .abi_major = PITH_ABI_MAJOR,
    .abi_minor = PITH_ABI_MINOR,
    .kind = PITH_KIND_CODEC,
    .name = "pcm",
    .version = "1.0",
    .summary = "raw audio samples: u8, s16le, s24le, s32le, f32le, one or more channels",
    .ops = &ops,
    .options = options,
};
