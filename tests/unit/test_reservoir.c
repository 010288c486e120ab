/* Tests of daemon/reservoir.c and daemon/sampler.c: what is cut out of a stream, what is kept of
 * it, and what a job gets. */
#include "daemon/reservoir.h"
#include "daemon/sampler.h"
#include "libpith/base/file.h"
#include "libpith/formats/npy.h"
#include "tests/testing.h"
#include "tests/unit/folder.h"

#include <dirent.h>
#include <unistd.h>

static char kept[512], data[512];

#define reservoir_test(test) cmocka_unit_test_setup_teardown(test, setup, folder_teardown)

static int setup(void **state)
{
    struct pith_error err = {0};
    int rc = folder_setup(state);
    const struct folder *folder = *state;

    folder_path(folder, kept, "kept");
    folder_path(folder, data, "data");
    return rc == 0 ? pith_mkdirs(data, 0700, &err) : rc;
}

static size_t count_files(const char *folder)
{
    DIR *open_folder = opendir(folder);
    struct dirent *entry;
    size_t count = 0;

    while (open_folder && (entry = readdir(open_folder)))
        count += entry->d_name[0] != '.';
    if (open_folder)
        closedir(open_folder);
    return count;
}

/* Two rows of one int16 each, both `number`. */
static void offer(uint64_t *seen, int64_t limit, int16_t number, uint64_t random)
{
    const struct reservoir_limits limits = {.count = limit, .bytes = 1 << 20};
    int16_t rows[2] = {number, number};
    const struct pith_tensor sample = {PITH_INT16, pith_shape_of(1, (const int64_t[]){2}), rows,
                                       sizeof rows};
    struct pith_error err = {0};

    assert_ok(reservoir_offer(kept, &limits, &sample, seen, random, &err), &err);
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state ^ (*state >> 29);
}

static void each_offered_sample_is_kept_with_the_same_chance(void **state)
{
    enum { LIMIT = 8, OFFERED = 64, ROUNDS = 60 };
    unsigned times[4] = {0}; /* kept of each quarter of what was offered */
    uint64_t random = 7;

    (void) state;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t seen = 0;
        DIR *folder;
        struct dirent *entry;

        assert_int_equal(pith_remove_tree(kept, NULL), 0);
        for (int16_t i = 0; i < OFFERED; i++) {
            if (i == OFFERED / 2)
                seen = 0; /* a restart: the files say how many there were, nearly */
            offer(&seen, LIMIT, i, next_random(&random));
        }
        assert_int_equal(count_files(kept), LIMIT);
        folder = opendir(kept);
        while ((entry = readdir(folder))) {
            char path[1024];
            struct pith_tensor sample;

            if (entry->d_name[0] == '.')
                continue;
            (void) snprintf(path, sizeof path, "%s/%s", kept, entry->d_name);
            assert_int_equal(pith_npy_read(&sample, path, NULL), 0);
            times[pith_tensor_get_int(&sample, 0) * 4 / OFFERED]++;
            pith_tensor_free(&sample);
        }
        closedir(folder);
    }
    /* 120 each are expected, with a deviation of 10; the restart costs a little. */
    for (size_t i = 0; i < 4; i++)
        assert_in_range(times[i], 70, 170);
}

static void count_and_bytes_are_bounded(void **state)
{
    const struct reservoir_limits few_bytes = {.count = 100, .bytes = 10};
    int16_t rows[2] = {1, 1};
    const struct pith_tensor sample = {PITH_INT16, pith_shape_of(1, (const int64_t[]){2}), rows,
                                       sizeof rows};
    uint64_t seen = 0;
    struct pith_error err = {0};

    (void) state;
    for (int i = 0; i < 20; i++)
        assert_ok(reservoir_offer(kept, &few_bytes, &sample, &seen, 0, &err), &err);
    assert_int_equal(count_files(kept), 2); /* of 4 bytes each */
    for (int16_t i = 0; i < 20; i++)
        offer(&seen, 5, i, 0);
    assert_in_range(count_files(kept), 2, 5);
    offer(&seen, 1, 0, 0); /* a lower limit */
    assert_int_equal(count_files(kept), 1);
    offer(&seen, 0, 0, 0); /* no consent: nothing new */
    assert_int_equal(count_files(kept), 1);
    assert_ok(reservoir_trim(kept, 0, &err), &err);
    assert_int_equal(access(kept, F_OK), -1);
}

static void another_input_replaces_what_was_kept(void **state)
{
    const struct reservoir_limits limits = {.count = 5, .bytes = 1 << 20};
    float rows[3] = {1, 2, 3};
    const struct pith_tensor other = {PITH_FLOAT32, pith_shape_of(1, (const int64_t[]){3}), rows,
                                      sizeof rows};
    uint64_t seen = 0;
    struct pith_error err = {0};

    (void) state;
    for (int16_t i = 0; i < 5; i++)
        offer(&seen, 5, i, 0);
    assert_ok(reservoir_offer(kept, &limits, &other, &seen, 0, &err), &err);
    assert_int_equal(count_files(kept), 1);
    assert_int_equal(seen, 1);
}

static struct pith_manifest *manifest_of_scalars(void)
{
    static const char text[] =
        "{\"model\": \"m\", \"version\": \"1\", \"graphs\": {\"g\": {\"sha256\": "
        "\"0000000000000000000000000000000000000000000000000000000000000000\", \"bytes\": 1}}, "
        "\"input\": {\"type\": \"float32\", \"row\": []}, \"stages\": [{\"graph\": \"g\"}]}";
    struct pith_manifest *manifest = NULL;
    struct pith_error err = {0};

    assert_ok(pith_manifest_parse(&manifest, text, strlen(text), &err), &err);
    return manifest;
}

static void a_job_gets_them_apart_for_calibration_and_validation(void **state)
{
    struct pith_manifest *manifest = manifest_of_scalars();
    struct pith_tensor calibration, validation;
    struct pith_error err = {0};
    char path[1024], leftover[1024];
    uint64_t seen = 0;
    size_t count = 0;

    (void) state;
    for (int16_t i = 0; i < 9; i++)
        offer(&seen, 9, i, 0);
    (void) snprintf(leftover, sizeof leftover, "%s/9.npy.tmp.1-1", kept); /* of a power cut */
    assert_ok(pith_file_write(leftover, "x", 1, 0600, &err), &err);
    assert_ok(reservoir_export(kept, manifest, data, true, &count, &err), &err);
    assert_int_equal(count, 9);
    assert_int_equal(access(leftover, F_OK), -1);
    (void) snprintf(path, sizeof path, "%s/calibration_x.npy", data);
    assert_ok(pith_npy_read(&calibration, path, &err), &err);
    (void) snprintf(path, sizeof path, "%s/validation_x.npy", data);
    assert_ok(pith_npy_read(&validation, path, &err), &err);
    assert_true(calibration.shape.rank == 2 && calibration.shape.dim[0] == 6 &&
                calibration.shape.dim[1] == 2);
    assert_int_equal(validation.shape.dim[0], 3);
    for (int64_t i = 0; i < 6; i++)
        for (int64_t j = 0; j < 3; j++)
            assert_true(pith_tensor_get_int(&calibration, 2 * i) !=
                        pith_tensor_get_int(&validation, 2 * j));
    pith_tensor_free(&calibration);
    pith_tensor_free(&validation);
    /* A job that goes on after a kill sees the same data, though more was kept meanwhile. */
    offer(&seen, 20, 100, 0);
    assert_ok(reservoir_export(kept, manifest, data, true, &count, &err), &err);
    assert_ok(pith_npy_read(&validation, path, &err), &err);
    assert_int_equal(validation.shape.dim[0], 3);
    pith_tensor_free(&validation);
    pith_manifest_free(manifest);
}

static void samples_of_another_shape_are_not_given_to_a_job(void **state)
{
    struct pith_manifest *manifest = manifest_of_scalars();
    struct pith_error err = {0};
    uint64_t seen = 0;
    size_t count = 7;

    (void) state;
    manifest->input_row = pith_shape_of(1, (const int64_t[]){3});
    offer(&seen, 9, 1, 0);
    assert_ok(reservoir_export(kept, manifest, data, true, &count, &err), &err);
    assert_int_equal(count, 0);
    assert_int_equal(count_files(data), 0);
    assert_int_equal(pith_remove_tree(kept, NULL), 0);
    assert_ok(reservoir_export(kept, manifest, data, true, &count, &err), &err);
    assert_int_equal(count, 0);
    pith_manifest_free(manifest);
}

/* ---- the sampler ---- */

static bool feed(struct sampler *sampler, int64_t count, uint64_t now_ns, struct pith_tensor *out)
{
    int16_t rows[64];
    const struct pith_tensor block = {PITH_INT16, pith_shape_of(1, &count), rows,
                                      (size_t) count * sizeof *rows};

    for (int64_t i = 0; i < count; i++)
        rows[i] = (int16_t) i;
    return sampler_rows(sampler, &block, now_ns, out);
}

static void a_sample_is_twice_what_a_result_needs(void **state)
{
    struct sampler sampler = {0};
    struct pith_tensor sample;

    (void) state;
    sampler_set(&sampler, 1000);
    sampler_begin_version(&sampler, 40);
    assert_false(feed(&sampler, 16, 1, &sample)); /* nothing is known yet */
    sampler_result(&sampler, 45, false);          /* rests on rows of the version before */
    sampler_result(&sampler, 60, true);
    assert_false(feed(&sampler, 32, 1, &sample));
    assert_true(feed(&sampler, 32, 2, &sample));
    assert_int_equal(sample.shape.dim[0], 40);
    assert_int_equal(pith_tensor_get_int(&sample, 39), 7);
    pith_tensor_free(&sample);
    assert_false(feed(&sampler, 64, 900, &sample)); /* the next is not due */
    assert_true(feed(&sampler, 64, 1001, &sample));
    pith_tensor_free(&sample);
    sampler_done(&sampler);
}

static void a_gap_or_an_end_of_consent_drops_what_is_under_way(void **state)
{
    struct sampler sampler = {0};
    struct pith_tensor sample;

    (void) state;
    sampler_set(&sampler, 10);
    sampler_begin_version(&sampler, 0);
    sampler_result(&sampler, 20, true);
    assert_false(feed(&sampler, 30, 1, &sample));
    sampler_spoil(&sampler);
    assert_false(feed(&sampler, 30, 20, &sample)); /* begins anew */
    sampler_set(&sampler, 0);
    assert_false(feed(&sampler, 30, 40, &sample));
    assert_null(sampler.rows.data);
    sampler_done(&sampler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        reservoir_test(each_offered_sample_is_kept_with_the_same_chance),
        reservoir_test(count_and_bytes_are_bounded),
        reservoir_test(another_input_replaces_what_was_kept),
        reservoir_test(a_job_gets_them_apart_for_calibration_and_validation),
        reservoir_test(samples_of_another_shape_are_not_given_to_a_job),
        reservoir_test(a_sample_is_twice_what_a_result_needs),
        reservoir_test(a_gap_or_an_end_of_consent_drops_what_is_under_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
