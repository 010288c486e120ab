/* RIFF WAVE with 16-bit PCM samples. Chunks that say something else are passed over. */
#include "libpith/formats/npy.h"

#include <errno.h>
#include <string.h>

#define FORMAT_PCM        1
#define FORMAT_EXTENSIBLE 0xfffe /* what the samples are then stands further on */
#define UNKNOWN_LENGTH                                                                             \
    0x7ffff000 /* from here on: a recorder that couldn't go back to fill it in                     \
                */
#define MOST_CHANNELS 64

static uint32_t u16(const uint8_t *at)
{
    return (uint32_t) at[0] | (uint32_t) at[1] << 8;
}

static uint32_t u32(const uint8_t *at)
{
    return u16(at) | u16(at + 2) << 16;
}

struct wav {
    uint32_t channels; /* 0: no fmt chunk yet */
    uint32_t rate_hz;
    const uint8_t *samples; /* NULL: no data chunk yet */
    size_t bytes;
};

static int read_format(struct wav *wav, const uint8_t *at, size_t bytes, struct pith_error *err)
{
    uint32_t format;
    uint32_t bits;

    if (bytes < 16)
        return pith_fail(err, -EBADMSG, "its fmt chunk is cut off");
    format = u16(at);
    if (format == FORMAT_EXTENSIBLE && bytes >= 26)
        format = u16(at + 24);
    bits = u16(at + 14);
    if (format != FORMAT_PCM || bits != 16)
        return pith_fail(
            err, -ENOTSUP,
            "its samples are %u bits of format %u; 16-bit PCM is needed (sox in.wav -b "
            "16 -e signed-integer out.wav)",
            (unsigned) bits, (unsigned) format);
    wav->channels = u16(at + 2);
    wav->rate_hz = u32(at + 4);
    if (wav->channels < 1 || wav->channels > MOST_CHANNELS || wav->rate_hz == 0)
        return pith_fail(err, -EBADMSG, "it has %u channels at %u Hz", (unsigned) wav->channels,
                         (unsigned) wav->rate_hz);
    return 0;
}

static int read_chunks(struct wav *wav, const uint8_t *at, size_t bytes, struct pith_error *err)
{
    const uint8_t *end = at + bytes;

    if (bytes < 12 || memcmp(at, "RIFF", 4) != 0 || memcmp(at + 8, "WAVE", 4) != 0)
        return pith_fail(err, -EBADMSG, "this is no WAVE file");
    at += 12;
    while (end - at >= 8 && !wav->samples) {
        bool is_data = !memcmp(at, "data", 4);
        bool is_format = !memcmp(at, "fmt ", 4);
        size_t length = u32(at + 4);
        size_t left = (size_t) (end - at) - 8;

        at += 8;
        if (length > left) {
            if (!is_data || length < UNKNOWN_LENGTH)
                return pith_fail(err, -EBADMSG, "it is cut off: a chunk of %zu bytes has %zu",
                                 length, left);
            length = left;
        }
        if (is_format) {
            int rc = read_format(wav, at, length, err);

            if (rc < 0)
                return rc;
        }
        if (is_data) {
            wav->samples = at;
            wav->bytes = length;
        }
        at += length;
        if (length % 2 && at < end) /* chunks begin at even places */
            at++;
    }
    if (!wav->channels || !wav->samples)
        return pith_fail(err, -EBADMSG, "it has no samples, or doesn't say what they are");
    return 0;
}

static int copy_samples(struct pith_tensor *out, const struct wav *wav, struct pith_error *err)
{
    size_t frame = 2 * (size_t) wav->channels;
    struct pith_shape shape = {.rank = wav->channels == 1 ? 1 : 2};
    int rc;

    shape.dim[0] = (int64_t) (wav->bytes / frame); /* half a frame at the end is left out */
    if (wav->channels > 1)
        shape.dim[1] = wav->channels;
    rc = pith_tensor_alloc(out, PITH_INT16, &shape, err);
    if (rc < 0)
        return rc;
    if (out->bytes)
        memcpy(out->data, wav->samples, out->bytes);
    return 0;
}

int pith_wav_decode(struct pith_tensor *out, double *rate_hz, const void *data, size_t bytes,
                    struct pith_error *err)
{
    struct wav wav = {0};
    int rc = read_chunks(&wav, data, bytes, err);

    if (rc == 0)
        rc = copy_samples(out, &wav, err);
    if (rc == 0 && rate_hz)
        *rate_hz = wav.rate_hz;
    return rc;
}

int pith_wav_read(struct pith_tensor *out, double *rate_hz, const char *path,
                  struct pith_error *err)
{
    struct pith_mapping mapping;
    int rc = pith_mapping_open(&mapping, path, err);

    if (rc < 0)
        return rc;
    rc = pith_wav_decode(out, rate_hz, mapping.data, mapping.bytes, err);
    pith_mapping_close(&mapping);
    return rc < 0 ? pith_fail_in(err, rc, "%s", path) : 0;
}
