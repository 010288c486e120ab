/* Tests digest.c: known answers, key files that openssl reads, and signatures that must not pass.
 */
#include "tests/testing.h"
#include "tests/unit/folder.h"

#include "libpith/base/digest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static bool is_mapped(const char *library)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    bool found = false;

    assert_non_null(maps);
    while (fgets(line, sizeof line, maps))
        found = found || strstr(line, library);
    assert_int_equal(fclose(maps), 0);
    return found;
}

/* The first of the tests: a process that only runs a model never has OpenSSL in its memory. */
static void library_comes_with_the_first_digest(void **state)
{
    uint8_t digest[PITH_SHA256_BYTES];
    struct pith_error err = {0};

    (void) state;
    assert_false(is_mapped("libcrypto"));
    assert_int_equal(pith_sha256("", 0, digest), 0);
    assert_true(is_mapped("libcrypto"));
    assert_int_equal(pith_digest_open(&err), 0);
}

static void sha256_gives_the_known_answers(void **state)
{
    uint8_t digest[PITH_SHA256_BYTES];
    char hex[PITH_SHA256_HEX + 1];
    struct pith_sha256 *running;

    (void) state;
    assert_int_equal(pith_sha256("abc", 3, digest), 0);
    pith_hex_encode(hex, digest, sizeof digest);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(pith_sha256_new(&running), 0);
    assert_int_equal(pith_sha256_add(running, "a", 1), 0);
    assert_int_equal(pith_sha256_add(running, "", 0), 0);
    assert_int_equal(pith_sha256_add(running, "bc", 2), 0);
    assert_int_equal(pith_sha256_finish(running, digest), 0);
    pith_hex_encode(hex, digest, sizeof digest);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    pith_sha256_free(running);
    pith_sha256_free(NULL);
}

static void sha256_names_are_64_lower_case_digits(void **state)
{
    (void) state;
    assert_true(
        pith_sha256_is_hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
    assert_false(
        pith_sha256_is_hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a"));
    assert_false(
        pith_sha256_is_hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad0"));
    assert_false(
        pith_sha256_is_hex("BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
    assert_false(pith_sha256_is_hex("../../../etc/passwd"));
    assert_false(pith_sha256_is_hex(""));
}

static void key_signs_and_nothing_else_passes(void **state)
{
    const struct folder *folder = *state;
    char key_path[512], public_path[512], other_key[512], other_public[512];
    struct pith_public_key public_key, from_private, other;
    uint8_t signature[PITH_SIGNATURE_BYTES];
    struct pith_signing_key *key;
    struct pith_error err = {0};
    struct stat status;

    folder_path(folder, key_path, "a.key");
    folder_path(folder, public_path, "a.pub");
    folder_path(folder, other_key, "b.key");
    folder_path(folder, other_public, "b.pub");
    assert_ok(pith_key_generate(key_path, public_path, &err), &err);
    assert_ok(pith_key_generate(other_key, other_public, &err), &err);
    assert_int_equal(stat(key_path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_ok(pith_signing_key_open(&key, key_path, &err), &err);
    assert_ok(pith_public_key_open(&public_key, public_path, &err), &err);
    assert_ok(pith_public_key_open(&other, other_public, &err), &err);
    assert_int_equal(pith_signing_key_public(key, &from_private), 0);
    assert_memory_equal(&public_key, &from_private, sizeof public_key);
    assert_int_equal(strlen(public_key.id), 16);

    assert_ok(pith_sign(key, "message", 7, signature, &err), &err);
    assert_ok(pith_verify(&public_key, "message", 7, signature, &err), &err);
    assert_int_equal(pith_verify(&public_key, "messagf", 7, signature, &err), -EKEYREJECTED);
    assert_int_equal(pith_verify(&public_key, "message", 6, signature, &err), -EKEYREJECTED);
    assert_int_equal(pith_verify(&other, "message", 7, signature, &err), -EKEYREJECTED);
    for (size_t i = 0; i < sizeof signature; i++) {
        signature[i] ^= 1;
        assert_int_equal(pith_verify(&public_key, "message", 7, signature, &err), -EKEYREJECTED);
        signature[i] ^= 1;
    }
    pith_signing_key_free(key);
    pith_signing_key_free(NULL);
}

static void key_is_never_overwritten(void **state)
{
    const struct folder *folder = *state;
    char key_path[512], public_path[512];
    struct pith_error err = {0};

    folder_path(folder, key_path, "a.key");
    folder_path(folder, public_path, "a.pub");
    assert_ok(pith_key_generate(key_path, public_path, &err), &err);
    assert_int_equal(pith_key_generate(key_path, public_path, &err), -EEXIST);
    assert_int_equal(unlink(key_path), 0);
    assert_int_equal(pith_key_generate(key_path, public_path, &err), -EEXIST);
    assert_non_null(strstr(err.text, "never overwritten"));
}

static void key_files_that_are_none_are_refused(void **state)
{
    static const char rsa[] = "-----BEGIN PUBLIC KEY-----\n"
                              "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKX0/y1qFrMqVwK4Yx3nrY0wT0cHqZyk\n"
                              "-----END PUBLIC KEY-----\n";
    const struct folder *folder = *state;
    char key_path[512], public_path[512];
    struct pith_signing_key *key;
    struct pith_public_key public_key;
    struct pith_error err = {0};

    folder_path(folder, key_path, "a.key");
    folder_path(folder, public_path, "a.pub");
    assert_ok(pith_key_generate(key_path, public_path, &err), &err);
    assert_int_equal(pith_signing_key_open(&key, public_path, &err),
                     -EACCES); /* others may read it */
    assert_int_equal(chmod(public_path, 0600), 0);
    assert_int_equal(pith_signing_key_open(&key, public_path, &err), -EBADMSG);
    assert_int_equal(pith_public_key_open(&public_key, key_path, &err), -EBADMSG);
    assert_int_equal(pith_public_key_open(&public_key, "/nowhere", &err), -ENOENT);
    assert_ok(pith_file_write(public_path, rsa, strlen(rsa), 0644, &err), &err);
    assert_int_equal(pith_public_key_open(&public_key, public_path, &err), -EBADMSG);
    assert_ok(pith_file_write(public_path, "", 0, 0644, &err), &err);
    assert_int_equal(pith_public_key_open(&public_key, public_path, &err), -EBADMSG);
    assert_int_equal(chmod(key_path, 0640), 0);
    assert_int_equal(pith_signing_key_open(&key, key_path, &err), -EACCES);
    assert_non_null(strstr(err.text, "chmod 600"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(library_comes_with_the_first_digest),
        cmocka_unit_test(sha256_gives_the_known_answers),
        cmocka_unit_test(sha256_names_are_64_lower_case_digits),
        folder_test(key_signs_and_nothing_else_passes),
        folder_test(key_is_never_overwritten),
        folder_test(key_files_that_are_none_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
