/* Tests store.c and fetch.c: chunks in any order, wrong ones, and a process that is killed between
 * any two steps. */
#include "tests/testing.h"
#include "tests/unit/folder.h"

#include "libpith/model/store.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define BLOB_BYTES (10 * PITH_CHUNK_BYTES + 777)

struct fixture {
    struct folder *folder;
    struct pith_store *store;
    struct pith_blob blob;
    uint8_t *data;
};

static void name_blob(struct pith_blob *blob, const uint8_t *data, size_t bytes)
{
    uint8_t digest[PITH_SHA256_BYTES];

    assert_int_equal(pith_sha256(data, bytes, digest), 0);
    pith_hex_encode(blob->sha256, digest, sizeof digest);
    blob->bytes = blob->raw_bytes = (int64_t) bytes;
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct pith_error err = {0};

    if (!fixture || folder_setup((void **) &fixture->folder) < 0)
        return -1;
    fixture->data = malloc(BLOB_BYTES);
    if (!fixture->data)
        return -1;
    for (size_t i = 0; i < BLOB_BYTES; i++)
        fixture->data[i] = (uint8_t) (i * 31 + i / 251);
    name_blob(&fixture->blob, fixture->data, BLOB_BYTES);
    *state = fixture;
    return pith_store_open(&fixture->store, fixture->folder->path, &err);
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    int rc;

    pith_store_close(fixture->store);
    rc = folder_teardown((void **) &fixture->folder);
    free(fixture->data);
    free(fixture);
    return rc;
}

static size_t chunk_bytes(int64_t chunk)
{
    return chunk == 10 ? 777 : PITH_CHUNK_BYTES;
}

static int put(struct pith_fetch *fetch, const struct fixture *fixture, int64_t chunk,
               struct pith_error *err)
{
    return pith_fetch_put(fetch, chunk, fixture->data + chunk * PITH_CHUNK_BYTES,
                          chunk_bytes(chunk), err);
}

static void assert_whole(const struct fixture *fixture)
{
    struct pith_mapping file;
    struct pith_error err = {0};
    char path[512];
    struct stat status;

    assert_true(pith_store_has(fixture->store, &fixture->blob));
    pith_store_path(fixture->store, &fixture->blob, path, sizeof path);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0222, 0); /* read only */
    assert_ok(pith_mapping_open(&file, path, &err), &err);
    assert_int_equal(file.bytes, BLOB_BYTES);
    assert_memory_equal(file.data, fixture->data, BLOB_BYTES);
    pith_mapping_close(&file);
}

static void store_takes_chunks_in_any_order_once_or_often(void **state)
{
    const struct fixture *fixture = *state;
    unsigned seed = (unsigned) time(NULL);
    struct pith_fetch *fetch;
    struct pith_error err = {0};

    print_message("# seed %u\n", seed);
    for (int round = 0; round < 20; round++) {
        assert_ok(pith_fetch_open(&fetch, fixture->store, &fixture->blob, &err), &err);
        assert_int_equal(pith_fetch_chunk_count(fetch), 11);
        while (pith_fetch_missing_count(fetch)) {
            int64_t chunk = rand_r(&seed) % 11;

            assert_ok(put(fetch, fixture, chunk, &err), &err);
            if (rand_r(&seed) % 4 == 0)
                assert_ok(pith_fetch_sync(fetch, &err), &err);
            if (rand_r(&seed) % 6 == 0) { /* begun again: what was synced is there */
                pith_fetch_close(fetch);
                assert_ok(pith_fetch_open(&fetch, fixture->store, &fixture->blob, &err), &err);
            }
        }
        assert_int_equal(pith_fetch_missing(fetch, 0), -1);
        assert_ok(pith_fetch_finish(fetch, &err), &err);
        pith_fetch_close(fetch);
        assert_whole(fixture);
        assert_ok(pith_store_remove(fixture->store, fixture->blob.sha256, &err), &err);
        assert_false(pith_store_has(fixture->store, &fixture->blob));
    }
}

static void store_tells_what_is_missing(void **state)
{
    const struct fixture *fixture = *state;
    struct pith_fetch *fetch;
    struct pith_error err = {0};

    assert_ok(pith_fetch_open(&fetch, fixture->store, &fixture->blob, &err), &err);
    assert_ok(put(fetch, fixture, 0, &err), &err);
    assert_ok(put(fetch, fixture, 2, &err), &err);
    assert_int_equal(pith_fetch_missing(fetch, 0), 1);
    assert_int_equal(pith_fetch_missing(fetch, 2), 3);
    assert_ok(put(fetch, fixture, 10, &err), &err);
    assert_int_equal(pith_fetch_missing(fetch, 10), 1); /* wraps */
    assert_int_equal(pith_fetch_missing_count(fetch), 8);
    assert_int_equal(pith_fetch_finish(fetch, &err), -EAGAIN);
    pith_fetch_close(fetch);
    pith_fetch_close(NULL);
}

static void store_refuses_chunks_of_a_wrong_length_or_number(void **state)
{
    const struct fixture *fixture = *state;
    struct pith_fetch *fetch;
    struct pith_error err = {0};

    assert_ok(pith_fetch_open(&fetch, fixture->store, &fixture->blob, &err), &err);
    assert_int_equal(pith_fetch_put(fetch, 0, fixture->data, PITH_CHUNK_BYTES - 1, &err), -EBADMSG);
    assert_int_equal(pith_fetch_put(fetch, 0, fixture->data, 0, &err), -EBADMSG);
    assert_int_equal(pith_fetch_put(fetch, 10, fixture->data, PITH_CHUNK_BYTES, &err), -EBADMSG);
    assert_int_equal(pith_fetch_put(fetch, 11, fixture->data, PITH_CHUNK_BYTES, &err), -EBADMSG);
    assert_int_equal(pith_fetch_put(fetch, -1, fixture->data, PITH_CHUNK_BYTES, &err), -EBADMSG);
    assert_int_equal(pith_fetch_missing_count(fetch), 11);
    pith_fetch_close(fetch);
}

static void store_throws_away_what_is_corrupted_and_fetches_again(void **state)
{
    const struct fixture *fixture = *state;
    struct pith_fetch *fetch;
    struct pith_error err = {0};

    assert_ok(pith_fetch_open(&fetch, fixture->store, &fixture->blob, &err), &err);
    for (int64_t chunk = 0; chunk < 11; chunk++)
        assert_ok(put(fetch, fixture, chunk, &err), &err);
    pith_fetch_close(fetch);
    assert_ok(pith_fetch_open(&fetch, fixture->store, &fixture->blob, &err), &err);
    assert_int_equal(pith_fetch_missing_count(fetch), 11); /* nothing was synced */
    for (int64_t chunk = 0; chunk < 11; chunk++) {
        fixture->data[chunk * PITH_CHUNK_BYTES] ^= chunk == 5;
        assert_ok(put(fetch, fixture, chunk, &err), &err);
        fixture->data[chunk * PITH_CHUNK_BYTES] ^= chunk == 5;
    }
    assert_int_equal(pith_fetch_finish(fetch, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "it is damaged"));
    assert_false(pith_store_has(fixture->store, &fixture->blob));
    assert_int_equal(pith_fetch_missing_count(fetch), 11);
    for (int64_t chunk = 0; chunk < 11; chunk++)
        assert_ok(put(fetch, fixture, chunk, &err), &err);
    assert_ok(pith_fetch_finish(fetch, &err), &err);
    pith_fetch_close(fetch);
    assert_whole(fixture);
}

static void store_disbelieves_a_bitmap_that_does_not_fit(void **state)
{
    static const char *const bitmaps[] = {
        "", "PTH1", "garbage that is long enough to be a header and a bitmap"};
    const struct fixture *fixture = *state;
    struct pith_fetch *fetch;
    struct pith_error err = {0};
    char path[600];

    (void) snprintf(path, sizeof path, "%s/%s.have", fixture->folder->path, fixture->blob.sha256);
    for (size_t i = 0; i < sizeof bitmaps / sizeof *bitmaps; i++) {
        assert_ok(pith_fetch_open(&fetch, fixture->store, &fixture->blob, &err), &err);
        assert_ok(put(fetch, fixture, 3, &err), &err);
        assert_ok(pith_fetch_sync(fetch, &err), &err);
        pith_fetch_close(fetch);
        assert_ok(pith_fetch_open(&fetch, fixture->store, &fixture->blob, &err), &err);
        assert_int_equal(pith_fetch_missing_count(fetch), 10);
        pith_fetch_close(fetch);
        assert_ok(pith_file_write(path, bitmaps[i], strlen(bitmaps[i]), 0600, &err), &err);
        assert_ok(pith_fetch_open(&fetch, fixture->store, &fixture->blob, &err), &err);
        assert_int_equal(pith_fetch_missing_count(fetch), 11);
        pith_fetch_close(fetch);
    }
}

static void store_fetches_a_blob_once_at_a_time(void **state)
{
    const struct fixture *fixture = *state;
    struct pith_fetch *fetch, *second;
    struct pith_error err = {0};

    assert_ok(pith_fetch_open(&fetch, fixture->store, &fixture->blob, &err), &err);
    assert_int_equal(pith_fetch_open(&second, fixture->store, &fixture->blob, &err), -EBUSY);
    pith_fetch_close(fetch);
}

static void store_refuses_names_that_are_paths(void **state)
{
    const struct fixture *fixture = *state;
    struct pith_blob blob = {.bytes = 5};
    struct pith_fetch *fetch;
    struct pith_error err = {0};

    strcpy(blob.sha256, "../../../../etc/passwd");
    assert_false(pith_store_has(fixture->store, &blob));
    assert_int_equal(pith_fetch_open(&fetch, fixture->store, &blob, &err), -EINVAL);
    assert_int_equal(pith_store_remove(fixture->store, blob.sha256, &err), -EINVAL);
}

static void store_sweeps_what_nobody_keeps(void **state)
{
    const struct fixture *fixture = *state;
    const char *const keep[] = {fixture->blob.sha256};
    struct pith_blob other;
    struct pith_fetch *fetch;
    struct pith_error err = {0};
    char path[600];

    assert_ok(pith_fetch_open(&fetch, fixture->store, &fixture->blob, &err), &err);
    for (int64_t chunk = 0; chunk < 11; chunk++)
        assert_ok(put(fetch, fixture, chunk, &err), &err);
    assert_ok(pith_fetch_finish(fetch, &err), &err);
    pith_fetch_close(fetch);
    name_blob(&other, (const uint8_t *) "other", 5);
    assert_ok(pith_fetch_open(&fetch, fixture->store, &other, &err), &err);
    assert_ok(pith_fetch_put(fetch, 0, "other", 5, &err), &err);
    assert_ok(pith_fetch_sync(fetch, &err), &err);
    pith_fetch_close(fetch);
    (void) snprintf(path, sizeof path, "%s/notes.txt", fixture->folder->path);
    assert_ok(pith_file_write(path, "mine", 4, 0600, &err), &err);
    assert_ok(pith_store_sweep(fixture->store, keep, 1, &err), &err);
    assert_whole(fixture);
    assert_int_equal(access(path, F_OK), 0); /* what is no blob is not ours to remove */
    (void) snprintf(path, sizeof path, "%s/%s.part", fixture->folder->path, other.sha256);
    assert_int_equal(access(path, F_OK), -1);
    assert_ok(pith_store_sweep(fixture->store, NULL, 0, &err), &err);
    assert_false(pith_store_has(fixture->store, &fixture->blob));
}

static void store_says_when_there_is_no_room(void **state)
{
    const struct fixture *fixture = *state;
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit limit = {PITH_CHUNK_BYTES, PITH_CHUNK_BYTES};
        struct pith_fetch *fetch;
        struct pith_error err = {0};

        (void) signal(SIGXFSZ, SIG_IGN);
        (void) setrlimit(RLIMIT_FSIZE, &limit);
        _exit(pith_fetch_open(&fetch, fixture->store, &fixture->blob, &err) == -EFBIG &&
                      strstr(err.text, "no room for")
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Goes on with the fetch and dies after `steps` of them. Exits 0 when the blob is whole. */
static void fetch_and_die(const struct fixture *fixture, unsigned seed, int steps)
{
    struct pith_fetch *fetch;
    struct pith_error err = {0};

    if (pith_fetch_open(&fetch, fixture->store, &fixture->blob, &err) < 0)
        _exit(2);
    for (;;) {
        int64_t chunk = pith_fetch_missing(fetch, (int64_t) (rand_r(&seed) % 11));

        if (steps-- == 0)
            _exit(1);
        if (chunk < 0)
            break;
        if (put(fetch, fixture, chunk, &err) < 0)
            _exit(2);
        if (rand_r(&seed) % 2 && (steps-- == 0 || pith_fetch_sync(fetch, &err) < 0))
            _exit(steps < 0 ? 1 : 2);
    }
    if (steps-- == 0)
        _exit(1);
    _exit(pith_fetch_finish(fetch, &err) < 0 ? 2 : 0);
}

static void store_survives_death_between_any_two_steps(void **state)
{
    const struct fixture *fixture = *state;
    unsigned seed = (unsigned) time(NULL);

    print_message("# seed %u\n", seed);
    for (int round = 0; round < 10; round++) {
        struct pith_error err = {0};
        int status = 1, deaths = 0;

        for (; deaths < 200; deaths++) {
            unsigned child_seed = (unsigned) rand_r(&seed);
            int steps = rand_r(&seed) % 12;
            pid_t child = fork();

            assert_true(child >= 0);
            if (child == 0)
                fetch_and_die(fixture, child_seed, steps);
            assert_int_equal(waitpid(child, &status, 0), child);
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
            if (WEXITSTATUS(status) == 0)
                break;
            assert_false(pith_store_has(fixture->store,
                                        &fixture->blob)); /* never half of it under its name */
        }
        assert_int_equal(WEXITSTATUS(status), 0);
        assert_whole(fixture);
        assert_ok(pith_store_remove(fixture->store, fixture->blob.sha256, &err), &err);
    }
}

#define store_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(store_takes_chunks_in_any_order_once_or_often),
        store_test(store_tells_what_is_missing),
        store_test(store_refuses_chunks_of_a_wrong_length_or_number),
        store_test(store_throws_away_what_is_corrupted_and_fetches_again),
        store_test(store_disbelieves_a_bitmap_that_does_not_fit),
        store_test(store_fetches_a_blob_once_at_a_time),
        store_test(store_refuses_names_that_are_paths),
        store_test(store_sweeps_what_nobody_keeps),
        store_test(store_says_when_there_is_no_room),
        store_test(store_survives_death_between_any_two_steps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
