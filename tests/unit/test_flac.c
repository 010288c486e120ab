/* FLAC recordings: what the reference encoder makes comes back to the sample, and what is cut off
 * or bent is refused. */
#include <config.h>

#include "tests/testing.h"

#include "libpith/formats/flac.h"
#include <errno.h>

#if HAVE_FLAC

#include <FLAC/stream_encoder.h>

#include "libpith/base/buffer.h"

static FLAC__StreamEncoderWriteStatus take_bytes(const FLAC__StreamEncoder *encoder,
                                                 const FLAC__byte data[], size_t bytes,
                                                 uint32_t samples, uint32_t frame, void *user)
{
    (void) encoder;
    (void) samples;
    (void) frame;
    pith_buffer_append(user, data, bytes);
    return FLAC__STREAM_ENCODER_WRITE_STATUS_OK;
}

static FLAC__int32 sample_at(uint32_t i, uint32_t bits)
{
    const uint32_t mixed = (i * 2654435761U) >> (32 - bits);

    return (FLAC__int32) mixed - (1 << (bits - 1));
}

static void encode(struct pith_buffer *out, uint32_t frames, uint32_t channels, uint32_t bits)
{
    FLAC__StreamEncoder *encoder = FLAC__stream_encoder_new();
    FLAC__int32 *samples = calloc((size_t) frames * channels + 1, sizeof *samples);

    assert_non_null(encoder);
    assert_non_null(samples);
    for (uint32_t i = 0; i < frames * channels; i++)
        samples[i] = sample_at(i, bits);
    assert_true(FLAC__stream_encoder_set_channels(encoder, channels));
    assert_true(FLAC__stream_encoder_set_bits_per_sample(encoder, bits));
    assert_true(FLAC__stream_encoder_set_sample_rate(encoder, 16000));
    assert_true(FLAC__stream_encoder_set_total_samples_estimate(encoder, frames));
    assert_int_equal(FLAC__stream_encoder_init_stream(encoder, take_bytes, NULL, NULL, NULL, out),
                     FLAC__STREAM_ENCODER_INIT_STATUS_OK);
    assert_true(FLAC__stream_encoder_process_interleaved(encoder, samples, frames));
    assert_true(FLAC__stream_encoder_finish(encoder));
    FLAC__stream_encoder_delete(encoder);
    free(samples);
    assert_false(out->failed);
}

static void samples_come_back(void **state)
{
    static const uint32_t widths[] = {8, 12, 16, 20, 24};

    (void) state;
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
        for (uint32_t channels = 1; channels <= 3; channels++) {
            const uint32_t bits = widths[w], frames = 5000;
            struct pith_buffer file = {0};
            struct pith_tensor x = {0};
            struct pith_error err = {0};
            double rate_hz = 0;

            encode(&file, frames, channels, bits);
            assert_ok(pith_flac_decode(&x, &rate_hz, file.data, file.bytes, &err), &err);
            assert_true(rate_hz == 16000.0);
            assert_int_equal(x.dtype, PITH_INT16);
            assert_int_equal(x.shape.rank, channels == 1 ? 1 : 2);
            assert_int_equal(x.shape.dim[0], frames);
            for (uint32_t i = 0; i < frames * channels; i++) {
                const FLAC__int32 exact = sample_at(i, bits);

                assert_int_equal(((const int16_t *) x.data)[i],
                                 bits > 16 ? exact >> (bits - 16) : exact * (1 << (16 - bits)));
            }
            pith_tensor_free(&x);
            pith_buffer_done(&file);
        }
}

/* From memory that ends where the file ends, so that a sanitizer sees what reads past it. */
static int decode_exactly(const uint8_t *data, size_t bytes, struct pith_error *err)
{
    uint8_t *exact = malloc(bytes ? bytes : 1);
    struct pith_tensor x = {0};
    int rc;

    assert_non_null(exact);
    memcpy(exact, data, bytes);
    rc = pith_flac_decode(&x, NULL, exact, bytes, err);
    assert_true(rc == 0 || err->text[0]);
    free(exact);
    pith_tensor_free(&x);
    return rc;
}

static void what_is_cut_off_is_refused(void **state)
{
    struct pith_buffer file = {0};

    (void) state;
    encode(&file, 3000, 1, 16);
    for (size_t bytes = 0; bytes < file.bytes; bytes += 1 + bytes / 40) {
        struct pith_error err = {0};

        assert_int_equal(decode_exactly(file.data, bytes, &err), -EBADMSG);
    }
    pith_buffer_done(&file);
}

/* A bent byte is refused, or lies where the samples don't depend on it. */
static void bent_bytes_are_survived(void **state)
{
    struct pith_buffer file = {0};
    size_t refused = 0, tried = 0;

    (void) state;
    encode(&file, 3000, 2, 16);
    for (size_t at = 0; at < file.bytes; at += 1 + at / 60) {
        struct pith_error err = {0};

        file.data[at] ^= 0xff;
        refused += decode_exactly(file.data, file.bytes, &err) < 0;
        tried++;
        file.data[at] ^= 0xff;
    }
    assert_true(refused * 2 > tried);
    pith_buffer_done(&file);
}

#else

static void without_the_library_it_says_so(void **state)
{
    struct pith_tensor x = {0};
    struct pith_error err = {0};

    (void) state;
    assert_int_equal(pith_flac_decode(&x, NULL, "fLaC", 4, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "libFLAC"));
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#if HAVE_FLAC
        cmocka_unit_test(samples_come_back),
        cmocka_unit_test(what_is_cut_off_is_refused),
        cmocka_unit_test(bent_bytes_are_survived),
#else
        cmocka_unit_test(without_the_library_it_says_so),
#endif
    };

    return cmocka_run_group_tests_name("flac", tests, NULL, NULL);
}
