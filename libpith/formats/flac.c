/* libFLAC reads through one callback and writes through another. Streams that don't say how long they
 * are exist, so samples are gathered in a buffer that grows, bounded; how many a header promises is
 * not relied upon. */
#include <config.h>

#include "libpith/formats/flac.h"

#include <errno.h>

#if HAVE_FLAC

#include "libpith/base/buffer.h"

#include <FLAC/stream_decoder.h>
#include <string.h>

#define SAMPLE_BITS 16

struct decoder {
    const uint8_t *data;
    size_t bytes, at;
    struct pith_buffer samples; /* int16, interleaved */
    uint32_t channels, rate_hz;
    struct pith_error *err;
    int rc; /* of the first fault */
};

static void set_fault(struct decoder *decoder, int code, const char *sentence)
{
    if (decoder->rc == 0)
        decoder->rc = pith_fail(decoder->err, code, "%s", sentence);
}

static FLAC__StreamDecoderReadStatus read_bytes(const FLAC__StreamDecoder *flac, FLAC__byte *to,
                                                size_t *bytes, void *user)
{
    struct decoder *decoder = user;
    const size_t left = decoder->bytes - decoder->at;

    (void) flac;
    *bytes = *bytes < left ? *bytes : left;
    if (*bytes == 0)
        return FLAC__STREAM_DECODER_READ_STATUS_END_OF_STREAM;
    memcpy(to, decoder->data + decoder->at, *bytes);
    decoder->at += *bytes;
    return FLAC__STREAM_DECODER_READ_STATUS_CONTINUE;
}

static int16_t to_sample(FLAC__int32 value, unsigned bits)
{
    return (int16_t) (bits > SAMPLE_BITS ? value >> (bits - SAMPLE_BITS)
                                         : value * (1 << (SAMPLE_BITS - bits)));
}

static FLAC__StreamDecoderWriteStatus write_frame(const FLAC__StreamDecoder *flac,
                                                  const FLAC__Frame *frame,
                                                  const FLAC__int32 *const channel[], void *user)
{
    struct decoder *decoder = user;
    const FLAC__FrameHeader *header = &frame->header;
    const size_t count = (size_t) header->blocksize * header->channels;
    int16_t *to;

    (void) flac;
    if (decoder->channels == 0) {
        decoder->channels = header->channels;
        decoder->rate_hz = header->sample_rate;
    }
    if (header->channels != decoder->channels || header->sample_rate != decoder->rate_hz)
        set_fault(decoder, -ENOTSUP, "its rate or its number of channels changes on the way");
    else if (decoder->samples.bytes / sizeof *to + count > PITH_FLAC_MAX_SAMPLES)
        set_fault(decoder, -EFBIG, "it has more samples than are allowed");
    else if (pith_buffer_reserve(&decoder->samples, count * sizeof *to) < 0)
        set_fault(decoder, -ENOMEM, "no memory for its samples");
    if (decoder->rc < 0)
        return FLAC__STREAM_DECODER_WRITE_STATUS_ABORT;
    to = (int16_t *) (void *) (decoder->samples.data + decoder->samples.bytes);
    for (uint32_t i = 0; i < header->blocksize; i++)
        for (uint32_t c = 0; c < header->channels; c++)
            *to++ = to_sample(channel[c][i], header->bits_per_sample);
    decoder->samples.bytes += count * sizeof *to;
    return FLAC__STREAM_DECODER_WRITE_STATUS_CONTINUE;
}

static void take_fault(const FLAC__StreamDecoder *flac, FLAC__StreamDecoderErrorStatus status,
                       void *user)
{
    (void) flac;
    (void) status;
    set_fault(user, -EBADMSG, "it is no FLAC stream, or it is broken");
}

static int decode_all(struct decoder *decoder)
{
    FLAC__StreamDecoder *flac = FLAC__stream_decoder_new();

    if (!flac)
        return pith_fail(decoder->err, -ENOMEM, "no memory for a FLAC decoder");
    (void) FLAC__stream_decoder_set_md5_checking(flac, true);
    if (FLAC__stream_decoder_init_stream(flac, read_bytes, NULL, NULL, NULL, NULL, write_frame,
                                         NULL, take_fault,
                                         decoder) != FLAC__STREAM_DECODER_INIT_STATUS_OK)
        set_fault(decoder, -ENOMEM, "a FLAC decoder can't be made");
    while (decoder->rc == 0 &&
           FLAC__stream_decoder_get_state(flac) != FLAC__STREAM_DECODER_END_OF_STREAM)
        if (!FLAC__stream_decoder_process_single(flac))
            set_fault(decoder, -EBADMSG, "it is no FLAC stream, or it is broken");
    if (decoder->rc == 0 &&
        FLAC__stream_decoder_get_total_samples(flac) * decoder->channels * sizeof(int16_t) >
            decoder->samples.bytes)
        set_fault(decoder, -EBADMSG, "it is cut off");
    if (!FLAC__stream_decoder_finish(flac))
        set_fault(decoder, -EBADMSG, "its samples are not those that its checksum was made of");
    FLAC__stream_decoder_delete(flac);
    if (decoder->rc == 0 && decoder->channels == 0)
        set_fault(decoder, -EBADMSG, "there are no samples in it");
    return decoder->rc;
}

int pith_flac_decode(struct pith_tensor *out, double *rate_hz, const void *data, size_t bytes,
                     struct pith_error *err)
{
    struct decoder decoder = {.data = data, .bytes = bytes, .err = err};
    int rc = decode_all(&decoder);

    if (rc == 0) {
        const int64_t frames =
            (int64_t) (decoder.samples.bytes / sizeof(int16_t) / decoder.channels);
        const struct pith_shape shape =
            pith_shape_of(decoder.channels == 1 ? 1 : 2, (int64_t[]){frames, decoder.channels});

        rc = pith_tensor_alloc(out, PITH_INT16, &shape, err);
    }
    if (rc == 0 && out->bytes)
        memcpy(out->data, decoder.samples.data, out->bytes);
    if (rc == 0 && rate_hz)
        *rate_hz = decoder.rate_hz;
    pith_buffer_done(&decoder.samples);
    return rc;
}

#else

int pith_flac_decode(struct pith_tensor *out, double *rate_hz, const void *data, size_t bytes,
                     struct pith_error *err)
{
    (void) out;
    (void) rate_hz;
    (void) data;
    (void) bytes;
    return pith_fail(err, -ENOTSUP, "pith was built without libFLAC, which reads FLAC recordings");
}

#endif
