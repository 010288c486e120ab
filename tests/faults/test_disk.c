/* The disk is full or broken at every call that reaches it: what was there before stays whole, and
 * what is left never passes for something whole. */
#include "libpith/model/store.h"
#include "tests/faults/faults.h"
#include "tests/unit/folder.h"

#include <dirent.h>
#include <errno.h>

static size_t files_in(const char *path)
{
    DIR *folder = opendir(path);
    size_t count = 0;

    assert_non_null(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count - 2; /* . and .. */
}

static int write_file(void *user, struct pith_error *err)
{
    char path[512];

    folder_path(user, path, "file");
    return pith_file_write(path, "after", 5, 0600, err);
}

/* The file is the old or the new one, whole, and alone in its folder; then it is the old one again.
 */
static void file_is_whole(void *user, int rc)
{
    struct pith_buffer read = {0};
    struct pith_error err = {0};
    char path[512];

    folder_path(user, path, "file");
    assert_int_equal(files_in(((const struct folder *) user)->path), 1);
    assert_ok(pith_file_read(path, 100, &read, &err), &err);
    if (rc == 0 || strcmp((char *) read.data, "before") != 0)
        assert_string_equal((char *) read.data, "after");
    pith_buffer_done(&read);
    assert_ok(pith_file_write(path, "before", 6, 0600, &err), &err);
}

static void file_stays_whole_as_the_disk_fails(void **state)
{
    faults_each(FAULTS_DISK, write_file, file_is_whole, *state);
}

static const uint8_t data[2 * PITH_CHUNK_BYTES + 100] = {1, 2, 3};

struct place {
    struct pith_store *store;
    struct pith_blob blob;
};

static int put_all(struct pith_fetch *fetch, struct pith_error *err)
{
    int rc = 0;

    for (int64_t chunk = 0; rc == 0 && chunk < 3; chunk++)
        rc = pith_fetch_put(fetch, chunk, data + chunk * PITH_CHUNK_BYTES,
                            chunk < 2 ? PITH_CHUNK_BYTES : 100, err);
    return rc;
}

static int fetch_blob(void *user, struct pith_error *err)
{
    const struct place *place = user;
    struct pith_fetch *fetch = NULL;
    int rc = pith_fetch_open(&fetch, place->store, &place->blob, err);

    if (rc == 0)
        rc = put_all(fetch, err);
    if (rc == 0)
        rc = pith_fetch_sync(fetch, err);
    if (rc == 0)
        rc = pith_fetch_finish(fetch, err);
    pith_fetch_close(fetch);
    return rc;
}

/* What stands under the blob's name is whole; where nothing does, another fetch gets there. */
static void blob_is_whole_or_fetched_again(void *user, int rc)
{
    const struct place *place = user;
    struct pith_buffer read = {0};
    struct pith_error err = {0};
    char path[512];

    pith_store_path(place->store, &place->blob, path, sizeof path);
    if (rc == 0)
        assert_true(pith_store_has(place->store, &place->blob));
    if (access(path, F_OK) < 0)
        assert_ok(fetch_blob(user, &err), &err);
    assert_ok(pith_file_read(path, sizeof data, &read, &err), &err);
    assert_int_equal(read.bytes, sizeof data);
    assert_memory_equal(read.data, data, sizeof data);
    pith_buffer_done(&read);
    assert_ok(pith_store_remove(place->store, place->blob.sha256, &err), &err);
}

static void blob_is_never_half_there_as_the_disk_fails(void **state)
{
    const struct folder *folder = *state;
    struct place place = {.blob = {.bytes = sizeof data, .raw_bytes = sizeof data}};
    struct pith_error err = {0};
    uint8_t digest[PITH_SHA256_BYTES];

    assert_int_equal(pith_sha256(data, sizeof data, digest), 0);
    pith_hex_encode(place.blob.sha256, digest, sizeof digest);
    assert_ok(pith_store_open(&place.store, folder->path, &err), &err);
    faults_each(FAULTS_DISK, fetch_blob, blob_is_whole_or_fetched_again, &place);
    pith_store_close(place.store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(file_stays_whole_as_the_disk_fails),
        folder_test(blob_is_never_half_there_as_the_disk_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
