/* Tests file.c and zstd.c: whole files or none, limits, trees that try to lead elsewhere, bombs. */
#include "tests/testing.h"
#include "tests/unit/folder.h"

#include "libpith/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static size_t count_entries(const char *path)
{
    DIR *folder = opendir(path);
    struct dirent *entry;
    size_t count = 0;

    assert_non_null(folder);
    while ((entry = readdir(folder)))
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(folder);
    return count;
}

static void assert_file(const char *path, const char *text)
{
    struct pith_buffer buffer = {0};
    struct pith_error err = {0};

    assert_ok(pith_file_read(path, 1 << 20, &buffer, &err), &err);
    assert_string_equal((char *) buffer.data, text);
    pith_buffer_done(&buffer);
}

static void file_write_replaces_and_sets_the_mode(void **state)
{
    const struct folder *folder = *state;
    struct pith_error err = {0};
    struct stat status;
    char path[512];

    folder_path(folder, path, "a");
    assert_ok(pith_file_write(path, "one", 3, 0644, &err), &err);
    assert_ok(pith_file_write(path, "two", 3, 0600, &err), &err);
    assert_file(path, "two");
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(count_entries(folder->path), 1);
}

static void file_write_keeps_the_old_file_when_the_disk_is_full(void **state)
{
    const struct folder *folder = *state;
    struct pith_error err = {0};
    char path[512];
    pid_t child;
    int status;

    folder_path(folder, path, "a");
    assert_ok(pith_file_write(path, "old", 3, 0644, &err), &err);
    child = fork();
    assert_true(child >= 0);
    if (child ==
        0) { /* a limit on file size stands for the full disk: the write stops in its middle */
        struct rlimit limit = {4096, 4096};
        char *big = calloc(1, 100000);
        int rc;

        (void) signal(SIGXFSZ, SIG_IGN);
        if (!big || setrlimit(RLIMIT_FSIZE, &limit) < 0)
            _exit(2);
        rc = pith_file_write(path, big, 100000, 0644, &err);
        free(big);
        _exit(rc == -EFBIG && strstr(err.text, path) ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_file(path, "old");
    assert_int_equal(count_entries(folder->path), 1); /* and nothing half-written beside it */
}

static void file_write_fails_cleanly_without_its_folder(void **state)
{
    const struct folder *folder = *state;
    struct pith_error err = {0};
    char path[512];

    folder_path(folder, path, "none/a");
    assert_int_equal(pith_file_write(path, "x", 1, 0644, &err), -ENOENT);
    assert_non_null(strstr(err.text, "can't be written"));
}

static void file_read_stops_at_its_limit(void **state)
{
    const struct folder *folder = *state;
    struct pith_buffer buffer = {0};
    struct pith_error err = {0};
    char path[512];

    folder_path(folder, path, "a");
    assert_ok(pith_file_write(path, "12345", 5, 0644, &err), &err);
    pith_buffer_text(&buffer, "kept");
    assert_int_equal(pith_file_read(path, 4, &buffer, &err), -EFBIG);
    assert_string_equal((char *) buffer.data, "kept");
    assert_ok(pith_file_read(path, 5, &buffer, &err), &err);
    assert_string_equal((char *) buffer.data, "kept12345");
    pith_buffer_done(&buffer);
    assert_int_equal(pith_file_read("/dev/zero", 5, &buffer, &err), -EINVAL);
    assert_int_equal(pith_file_read(folder->path, 5, &buffer, &err), -EISDIR);
    folder_path(folder, path, "fifo");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(pith_file_read(path, 5, &buffer, &err),
                     -EINVAL); /* and does not wait for a writer */
}

static void mapping_takes_regular_files_only(void **state)
{
    const struct folder *folder = *state;
    struct pith_mapping mapping;
    struct pith_error err = {0};
    char path[512];

    folder_path(folder, path, "a");
    assert_ok(pith_file_write(path, "abc", 3, 0644, &err), &err);
    assert_ok(pith_mapping_open(&mapping, path, &err), &err);
    assert_memory_equal(mapping.data, "abc", 3);
    pith_mapping_close(&mapping);
    assert_ok(pith_file_write(path, "", 0, 0644, &err), &err);
    assert_ok(pith_mapping_open(&mapping, path, &err), &err);
    assert_true(!mapping.data && mapping.bytes == 0);
    pith_mapping_close(&mapping);
    assert_int_equal(pith_mapping_open(&mapping, "/dev/null", &err), -EINVAL);
    pith_mapping_close(NULL);
}

static void mkdirs_makes_all_and_refuses_a_file_in_the_way(void **state)
{
    const struct folder *folder = *state;
    struct pith_error err = {0};
    char path[512];

    folder_path(folder, path, "a/b//c/");
    assert_ok(pith_mkdirs(path, 0755, &err), &err);
    assert_ok(pith_mkdirs(path, 0755, &err), &err);
    folder_path(folder, path, "f");
    assert_ok(pith_file_write(path, "", 0, 0644, &err), &err);
    assert_int_equal(pith_mkdirs(path, 0755, &err), -ENOTDIR);
    folder_path(folder, path, "f/g");
    assert_int_equal(pith_mkdirs(path, 0755, &err), -ENOTDIR);
    assert_int_equal(pith_mkdirs("", 0755, &err), -ENOENT);
}

static void remove_tree_follows_no_link(void **state)
{
    const struct folder *folder = *state;
    struct pith_error err = {0};
    char outside[512], tree[512], path[512];

    folder_path(folder, outside, "outside");
    assert_ok(pith_mkdirs(outside, 0755, &err), &err);
    folder_path(folder, path, "outside/precious");
    assert_ok(pith_file_write(path, "x", 1, 0644, &err), &err);
    folder_path(folder, tree, "tree");
    folder_path(folder, path, "tree/a/b");
    assert_ok(pith_mkdirs(path, 0755, &err), &err);
    folder_path(folder, path, "tree/link");
    assert_int_equal(symlink(outside, path), 0);
    folder_path(folder, path, "tree/a/link");
    assert_int_equal(symlink(outside, path), 0);
    folder_path(folder, path, "tree/a/b/up");
    assert_int_equal(symlink("../..", path), 0);
    assert_ok(pith_remove_tree(tree, &err), &err);
    assert_int_equal(access(tree, F_OK), -1);
    folder_path(folder, path, "outside/precious");
    assert_file(path, "x");

    folder_path(folder, path, "link"); /* the tree itself is a link: refused */
    assert_int_equal(symlink(outside, path), 0);
    assert_int_equal(pith_remove_tree(path, &err), -ENOTDIR);
    folder_path(folder, path, "outside/precious");
    assert_file(path, "x");
    folder_path(folder, path, "never");
    assert_ok(pith_remove_tree(path, &err), &err); /* 0 where there is none */
}

static void remove_tree_takes_a_tree_3000_deep_and_wide(void **state)
{
    const struct folder *folder = *state;
    struct pith_error err = {0};
    char tree[512], path[512];
    int at;

    folder_path(folder, tree, "deep");
    assert_ok(pith_mkdirs(tree, 0755, &err), &err);
    at = open(tree, O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < 3000; i++) { /* deeper than PATH_MAX and than the number of descriptors */
        int next;

        assert_int_equal(mkdirat(at, "d", 0755), 0);
        assert_int_equal(mkdirat(at, ".removed-0", 0755),
                         0); /* the name that moving up begins with */
        next = openat(at, "d", O_RDONLY | O_DIRECTORY);
        assert_true(next >= 0);
        close(at);
        at = next;
    }
    close(at);
    for (int i = 0; i < 300; i++) {
        char name[32];

        (void) snprintf(name, sizeof name, "deep/f%d", i);
        folder_path(folder, path, name);
        close(open(path, O_CREAT | O_WRONLY, 0600));
    }
    assert_ok(pith_remove_tree(tree, &err), &err);
    assert_int_equal(access(tree, F_OK), -1);
}

static void zstd_gives_back_what_it_took(void **state)
{
    struct pith_buffer packed = {0}, back = {0};
    struct pith_error err = {0};
    char *text = malloc(300000);

    (void) state;
    assert_non_null(text);
    for (size_t i = 0; i < 300000; i++)
        text[i] = (char) (i * i >> 7);
    assert_ok(pith_zstd_compress(text, 300000, 3, &packed, &err), &err);
    assert_int_equal(pith_zstd_decompress(packed.data, packed.bytes, 299999, &back, &err), -EFBIG);
    assert_int_equal(back.bytes, 0);
    assert_ok(pith_zstd_decompress(packed.data, packed.bytes, 300000, &back, &err), &err);
    assert_int_equal(back.bytes, 300000);
    assert_memory_equal(back.data, text, 300000);
    pith_buffer_done(&back);
    pith_buffer_append(&packed, "x", 1);
    assert_int_equal(pith_zstd_decompress(packed.data, packed.bytes, 1 << 20, &back, &err),
                     -EBADMSG);
    for (size_t cut = 0; cut + 1 < packed.bytes; cut += 97)
        assert_int_equal(pith_zstd_decompress(packed.data, cut, 1 << 20, &back, &err), -EBADMSG);
    pith_buffer_done(&packed);
    pith_buffer_done(&back);
    free(text);
}

/* Packed piece by piece: short ones don't say their size, and all are held to what was told of them. */
static void a_writer_packs_what_was_told_of_it(void **state)
{
    static const size_t sizes[] = {1, 5000, (1 << 17) - 1, 1 << 17, 300000};
    const struct folder *folder = *state;
    char path[512];
    uint8_t *text = malloc(300000);

    assert_non_null(text);
    for (size_t i = 0; i < 300000; i++)
        text[i] = (uint8_t) (i * i >> 7);
    folder_path(folder, path, "packed.zst");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t missing = 0; missing < 2; missing++) {
            struct pith_buffer packed = {0}, back = {0};
            struct pith_file_writer *writer;
            struct pith_error err = {0};
            uint64_t told = 0;

            assert_ok(pith_file_writer_open(&writer, path, 0600, 19, sizes[i] + missing, &err), &err);
            for (size_t at = 0; at < sizes[i]; at += 1000)
                assert_ok(pith_file_writer_add(writer, text + at, sizes[i] - at < 1000 ? sizes[i] - at : 1000, &err),
                          &err);
            assert_int_equal(pith_file_writer_commit(writer, NULL, &err), missing ? -EINVAL : 0);
            if (missing)
                continue;
            assert_ok(pith_file_read(path, 1 << 20, &packed, &err), &err);
            assert_ok(pith_zstd_decompress(packed.data, packed.bytes, sizes[i], &back, &err), &err);
            assert_int_equal(back.bytes, sizes[i]);
            assert_memory_equal(back.data, text, sizes[i]);
            assert_true(pith_zstd_content_bytes(packed.data, packed.bytes, &told));
            assert_int_equal(told, sizes[i]);
            pith_buffer_done(&packed);
            pith_buffer_done(&back);
        }
    free(text);
}

static void zstd_refuses_a_bomb_that_hides_its_size(void **state)
{
    /* A frame without a content size: one run-length block after another, 128 KiB of zeros from 4
     * bytes each. */
    struct pith_buffer bomb = {0}, back = {0};
    struct pith_error err = {0};

    (void) state;
    pith_buffer_append(&bomb, "\x28\xb5\x2f\xfd\x00\x38",
                       6); /* magic, no content size, window of 128 KiB */
    for (int i = 0; i < 10000; i++)
        pith_buffer_append(&bomb, "\x02\x00\x10\x00", 4); /* RLE, 131072 times 0 */
    pith_buffer_append(&bomb, "\x03\x00\x00\x00", 4);     /* the last block */
    assert_int_equal(pith_zstd_decompress(bomb.data, bomb.bytes, 1 << 20, &back, &err), -EFBIG);
    assert_string_equal(err.text,
                        "zstd: more than the 1048576 bytes that are allowed come out of it");
    assert_true(back.capacity < 4 << 20);
    pith_buffer_done(&bomb);
    pith_buffer_done(&back);
}

static void zstd_refuses_a_huge_window(void **state)
{
    struct pith_buffer back = {0};
    struct pith_error err = {0};

    (void) state;
    /* windowLog 31: a decoder that believed it would take 2 GiB */
    assert_int_equal(
        pith_zstd_decompress("\x28\xb5\x2f\xfd\x00\xa8\x03\x00\x00\x00", 10, 1 << 20, &back, &err),
        -EFBIG);
    assert_string_equal(err.text, "zstd: it wants a window over 128 MiB");
    assert_int_equal(pith_zstd_decompress("plain text", 10, 1 << 20, &back, &err), -EBADMSG);
    assert_int_equal(pith_zstd_decompress("", 0, 1 << 20, &back, &err), -EBADMSG);
    pith_buffer_done(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(file_write_replaces_and_sets_the_mode),
        folder_test(file_write_keeps_the_old_file_when_the_disk_is_full),
        folder_test(file_write_fails_cleanly_without_its_folder),
        folder_test(file_read_stops_at_its_limit),
        folder_test(mapping_takes_regular_files_only),
        folder_test(mkdirs_makes_all_and_refuses_a_file_in_the_way),
        folder_test(remove_tree_follows_no_link),
        folder_test(remove_tree_takes_a_tree_3000_deep_and_wide),
        cmocka_unit_test(zstd_gives_back_what_it_took),
        folder_test(a_writer_packs_what_was_told_of_it),
        cmocka_unit_test(zstd_refuses_a_bomb_that_hides_its_size),
        cmocka_unit_test(zstd_refuses_a_huge_window),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
