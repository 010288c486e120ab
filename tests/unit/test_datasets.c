/* .npy, WAVE and CSV files, real ones and broken ones. */
#include "tests/testing.h"

#include "libpith/formats/npy.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static char *data_path(const char *name)
{
    static char path[512];

    (void) snprintf(path, sizeof path, "%s/%s", testing_data(), name);
    return path;
}

/* ---- npy ---- */

static void real_arrays_are_read(void **state)
{
    struct pith_error err = {0};
    struct pith_tensor t;

    (void) state;
    skip_without_data();
    assert_ok(pith_npy_read(&t, data_path("har_hapt/x_test_i16.npy.zst"), &err), &err);
    assert_int_equal(t.dtype, PITH_INT16);
    assert_int_equal(t.shape.rank, 3);
    assert_int_equal(t.shape.dim[0], 3162);
    assert_int_equal(t.shape.dim[2], 6);
    pith_tensor_free(&t);
    assert_ok(pith_npy_read(&t, data_path("kws_mlperf_features/y.npy"), &err), &err);
    assert_int_equal(t.dtype, PITH_UINT8);
    assert_int_equal(pith_shape_elements(&t.shape), 1000);
    pith_tensor_free(&t);
    assert_ok(pith_npy_read(&t, data_path("models/silero_vad/golden/silero_vad_prob.npy"), &err),
              &err);
    assert_int_equal(t.dtype, PITH_FLOAT32);
    for (int64_t i = 0; i < pith_shape_elements(&t.shape); i++)
        assert_in_range((uint64_t) (pith_tensor_get(&t, i) * 1000), 0, 1000);
    pith_tensor_free(&t);
}

/* A file of the header text and then `bytes` bytes of value 1. Version 1. */
static size_t make_npy(uint8_t *out, const char *header, size_t bytes)
{
    size_t length = strlen(header);

    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = (uint8_t) length;
    out[9] = (uint8_t) (length >> 8);
    memcpy(out + 10, header, length);
    memset(out + 10 + length, 1, bytes);
    return 10 + length + bytes;
}

static void expect_npy(const char *header, size_t bytes, int code, const char *words)
{
    uint8_t *file = malloc(1024);
    struct pith_tensor t = {0};
    struct pith_error err = {0};
    size_t size = make_npy(file, header, bytes);
    uint8_t *exact = malloc(size); /* so that a sanitizer sees a read past the end */

    memcpy(exact, file, size);
    assert_int_equal(pith_npy_view(&t, exact, size, &err), code);
    if (words && !strstr(err.text, words))
        fail_msg("\"%s\" is not in \"%s\"", words, err.text);
    free(file);
    free(exact);
}

static void broken_arrays_are_refused(void **state)
{
    (void) state;
    expect_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 24, 0, NULL);
    expect_npy("{\"shape\": (), 'fortran_order': False, 'descr': '|u1'}", 1, 0, NULL);
    expect_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 23, -EBADMSG,
               "23 bytes");
    expect_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 25, -EBADMSG,
               "25 bytes");
    expect_npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", 24, -ENOTSUP,
               "Fortran");
    expect_npy("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", 4, -ENOTSUP,
               "big endian");
    expect_npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", 8, -ENOTSUP, "\"|O\"");
    expect_npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", 4, -EBADMSG,
               "no plain array");
    expect_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", 4, -EBADMSG, NULL);
    expect_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", 4,
               -EBADMSG, NULL);
    expect_npy("{'descr': '<f4', 'shape': (1048576, 1048576, 1048576), }", 4, -EBADMSG, NULL);
    expect_npy("{'descr': '<f4', 'shape': (1,1,1,1,1,1,1,1,1), }", 4, -EBADMSG, NULL);
    expect_npy("{'descr': '|b1', 'fortran_order': False, 'shape': (3,), }", 3, 0, NULL);
    expect_npy("{'descr': '<f4', ", 0, -EBADMSG, NULL);
    expect_npy("{'descr", 0, -EBADMSG, NULL);
    expect_npy("", 0, -EBADMSG, NULL);
    expect_npy("{}", 0, -EBADMSG, "lacks");
}

static void cut_arrays_are_refused(void **state)
{
    uint8_t file[256];
    size_t size = make_npy(file, "{'descr': '<i4', 'fortran_order': False, 'shape': (5,), }", 20);
    struct pith_tensor t = {0};

    (void) state;
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *exact = malloc(cut + 1);

        memcpy(exact, file, cut);
        assert_int_equal(pith_npy_view(&t, exact, cut, NULL), -EBADMSG);
        free(exact);
    }
}

static void arrays_round_trip(void **state)
{
    const int64_t dims[] = {3, 1, 5};
    const char *const names[] = {"a.npy", "a.npy.zst"};
    char folder[] = "/tmp/pith-npy-XXXXXX";
    struct pith_error err = {0};

    (void) state;
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < 2; i++)
        for (uint32_t rank = 0; rank <= 3; rank++) {
            struct pith_shape shape = pith_shape_of(rank, dims);
            struct pith_tensor t;
            struct pith_tensor back;
            char path[128];

            (void) snprintf(path, sizeof path, "%s/%s", folder, names[i]);
            assert_ok(pith_tensor_alloc(&t, PITH_FLOAT64, &shape, &err), &err);
            for (int64_t k = 0; k < pith_shape_elements(&shape); k++)
                pith_tensor_set(&t, k, (double) k / 3);
            assert_ok(pith_npy_write(path, &t, &err), &err);
            assert_ok(pith_npy_read(&back, path, &err), &err);
            assert_true(pith_shape_equal(&back.shape, &shape));
            assert_memory_equal(back.data, t.data, t.bytes);
            pith_tensor_free(&t);
            pith_tensor_free(&back);
            assert_int_equal(unlink(path), 0);
        }
    assert_int_equal(rmdir(folder), 0);
}

/* ---- WAVE ---- */

static void real_recordings_are_read(void **state)
{
    struct pith_error err = {0};
    struct pith_tensor t;
    double rate_hz = 0;

    (void) state;
    skip_without_data();
    assert_ok(
        pith_wav_read(&t, &rate_hz, data_path("models/openwakeword/golden/clip_5s.wav"), &err),
        &err);
    assert_int_equal(t.dtype, PITH_INT16);
    assert_int_equal(t.shape.rank, 1);
    assert_float_equal(rate_hz, 16000, 0);
    pith_tensor_free(&t);
    assert_ok(pith_wav_read(&t, &rate_hz,
                            data_path("models/mlperf_tiny/streaming_wakeword_marvin.wav"), &err),
              &err);
    assert_int_equal(t.shape.rank, 2);
    assert_int_equal(t.shape.dim[1], 2);
    pith_tensor_free(&t);
}

static int read_wav_bytes(const void *bytes, size_t size, struct pith_tensor *out,
                          struct pith_error *err)
{
    char path[] = "/tmp/pith-wav-XXXXXX";
    int fd = mkstemp(path);
    int rc;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);
    close(fd);
    rc = pith_wav_read(out, NULL, path, err);
    assert_int_equal(unlink(path), 0);
    return rc;
}

static void broken_recordings_are_refused(void **state)
{
    static const uint8_t good[] =
        "RIFF\x30\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0"
        "data\x08\0\0\0\x01\0\x02\0\x03\0\x04\0";
    size_t size = sizeof good - 1;
    uint8_t bad[sizeof good];
    struct pith_error err = {0};
    struct pith_tensor t = {0};

    (void) state;
    assert_ok(read_wav_bytes(good, size, &t, &err), &err);
    assert_int_equal(t.shape.dim[0], 4);
    assert_int_equal(pith_tensor_get_int(&t, 3), 4);
    pith_tensor_free(&t);
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(read_wav_bytes(good, cut, &t, &err), -EBADMSG);
    memcpy(bad, good, sizeof good);
    bad[34] = 24; /* bits */
    assert_int_equal(read_wav_bytes(bad, size, &t, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "16-bit PCM is needed"));
    memcpy(bad, good, sizeof good);
    bad[22] = 0; /* channels */
    assert_int_equal(read_wav_bytes(bad, size, &t, &err), -EBADMSG);
    memcpy(bad, good, sizeof good);
    memset(bad + 40, 0xff, 4); /* a length that was never filled in */
    assert_ok(read_wav_bytes(bad, size, &t, &err), &err);
    assert_int_equal(t.shape.dim[0], 4);
    pith_tensor_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_arrays_are_read),
        cmocka_unit_test(broken_arrays_are_refused),
        cmocka_unit_test(cut_arrays_are_refused),
        cmocka_unit_test(arrays_round_trip),
        cmocka_unit_test(real_recordings_are_read),
        cmocka_unit_test(broken_recordings_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
