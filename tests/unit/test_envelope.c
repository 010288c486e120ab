/* Tests envelope.c: what was signed comes out, and nothing else does. */
#include "tests/testing.h"
#include "tests/unit/folder.h"

#include "libpith/base/json.h"
#include "libpith/model/envelope.h"

#include <errno.h>

struct keys {
    struct folder *folder;
    struct pith_signing_key *signing[2];
    struct pith_public_key public[2];
};

static int keys_setup(void **state)
{
    struct keys *keys = calloc(1, sizeof *keys);
    struct pith_error err = {0};

    if (!keys || folder_setup((void **) &keys->folder) < 0)
        return -1;
    for (size_t i = 0; i < 2; i++) {
        char name[16], key[512], public[512];

        (void) snprintf(name, sizeof name, "%zu.key", i);
        folder_path(keys->folder, key, name);
        (void) snprintf(name, sizeof name, "%zu.pub", i);
        folder_path(keys->folder, public, name);
        if (pith_key_generate(key, public, &err) < 0 ||
            pith_signing_key_open(&keys->signing[i], key, &err) < 0 ||
            pith_public_key_open(&keys->public[i], public, &err) < 0)
            return -1;
    }
    *state = keys;
    return 0;
}

static int keys_teardown(void **state)
{
    struct keys *keys = *state;
    int rc = folder_teardown((void **) &keys->folder);

    pith_signing_key_free(keys->signing[0]);
    pith_signing_key_free(keys->signing[1]);
    free(keys);
    return rc;
}

static void seal(const struct keys *keys, size_t key, const char *type, const char *payload,
                 struct pith_buffer *out)
{
    struct pith_error err = {0};

    assert_ok(pith_envelope_seal(out, type, payload, strlen(payload), keys->signing[key], &err),
              &err);
}

static void envelope_gives_back_what_was_signed(void **state)
{
    const struct keys *keys = *state;
    struct pith_buffer text = {0}, payload = {0};
    struct pith_error err = {0};
    char signer[17];

    seal(keys, 0, "desired", "{\"a\": 1}\n", &text);
    assert_ok(pith_envelope_open(&payload, signer, "desired", text.data, text.bytes, keys->public,
                                 2, &err),
              &err);
    assert_string_equal((char *) payload.data, "{\"a\": 1}\n");
    assert_string_equal(signer, keys->public[0].id);
    pith_buffer_done(&text);
    pith_buffer_done(&payload);
}

static void envelope_of_a_stranger_is_refused(void **state)
{
    const struct keys *keys = *state;
    struct pith_buffer text = {0}, payload = {0};
    struct pith_error err = {0};

    seal(keys, 1, "desired", "x", &text);
    assert_int_equal(
        pith_envelope_open(&payload, NULL, "desired", text.data, text.bytes, keys->public, 1, &err),
        -EKEYREJECTED);
    assert_non_null(strstr(err.text, "which is not trusted here"));
    assert_int_equal(
        pith_envelope_open(&payload, NULL, "desired", text.data, text.bytes, NULL, 0, &err),
        -EKEYREJECTED);
    assert_int_equal(payload.bytes, 0);
    pith_buffer_done(&text);
}

static void envelope_of_another_type_is_refused(void **state)
{
    const struct keys *keys = *state;
    struct pith_buffer text = {0}, payload = {0};
    struct pith_error err = {0};
    char *at;

    seal(keys, 0, "rollout", "x", &text);
    assert_int_equal(
        pith_envelope_open(&payload, NULL, "desired", text.data, text.bytes, keys->public, 2, &err),
        -EBADMSG);
    assert_string_equal(err.text, "desired: is a document of type \"rollout\"");
    at = strstr((char *) text.data, "rollout"); /* renamed: the signature is over the type too */
    memcpy(at, "desired", 7);
    assert_int_equal(
        pith_envelope_open(&payload, NULL, "desired", text.data, text.bytes, keys->public, 2, &err),
        -EKEYREJECTED);
    pith_buffer_done(&text);
}

static void envelope_altered_anywhere_is_refused(void **state)
{
    const struct keys *keys = *state;
    struct pith_buffer text = {0};
    struct pith_error err = {0};

    seal(keys, 0, "desired", "{\"generation\": 7}", &text);
    for (size_t at = 0; at < text.bytes; at++) {
        struct pith_buffer payload = {0};
        uint8_t before = text.data[at];
        int rc;

        text.data[at] ^= 1;
        err.text[0] = 0;
        rc = pith_envelope_open(&payload, NULL, "desired", text.data, text.bytes, keys->public, 2,
                                &err);
        assert_true(rc == -EKEYREJECTED || rc == -EBADMSG);
        assert_true(err.text[0] && payload.bytes == 0);
        text.data[at] = before;
    }
    for (size_t bytes = 0; bytes < text.bytes; bytes++) {
        struct pith_buffer payload = {0};

        assert_int_equal(
            pith_envelope_open(&payload, NULL, "desired", text.data, bytes, keys->public, 2, &err),
            -EBADMSG);
    }
    pith_buffer_done(&text);
}

static void envelope_with_one_good_signature_of_several_passes(void **state)
{
    const struct keys *keys = *state;
    struct pith_buffer a = {0}, b = {0}, payload = {0};
    struct pith_error err = {0};
    json_t *first, *second;
    char signer[17], *text;

    seal(keys, 0, "desired", "x", &a);
    seal(keys, 1, "desired", "x", &b);
    assert_ok(pith_json_parse(&first, a.data, a.bytes, 10000, "t", &err), &err);
    assert_ok(pith_json_parse(&second, b.data, b.bytes, 10000, "t", &err), &err);
    assert_int_equal(
        json_array_extend(json_object_get(first, "sigs"), json_object_get(second, "sigs")), 0);
    text = pith_json_text(first);
    assert_ok(pith_envelope_open(&payload, signer, "desired", text, strlen(text), keys->public + 1,
                                 1, &err),
              &err);
    assert_string_equal(signer, keys->public[1].id);
    free(text);
    for (int i = 0; i < 20; i++)
        (void) json_array_extend(json_object_get(first, "sigs"), json_object_get(second, "sigs"));
    text = pith_json_text(first);
    assert_int_equal(
        pith_envelope_open(&payload, NULL, "desired", text, strlen(text), keys->public, 2, &err),
        -EBADMSG);
    assert_string_equal(err.text, "desired: sigs: more than 16 signatures");
    free(text);
    json_decref(first);
    json_decref(second);
    pith_buffer_done(&a);
    pith_buffer_done(&b);
    pith_buffer_done(&payload);
}

static void envelope_without_a_signature_is_refused(void **state)
{
    static const struct {
        const char *text;
        int code;
        const char *sentence;
    } cases[] = {
        {"{\"v\":1,\"type\":\"desired\",\"payload\":\"eA==\",\"sigs\":[]}", -EKEYREJECTED,
         "desired: is not signed"},
        {"{\"v\":1,\"type\":\"desired\",\"payload\":\"eA==\"}", -EBADMSG,
         "desired: sigs: is missing; it must be a list"},
        {"{\"v\":2,\"type\":\"desired\",\"payload\":\"eA==\",\"sigs\":[]}", -EBADMSG,
         "desired: v: 2 is not between 1 and 1"},
        {"{\"v\":1,\"type\":\"desired\",\"payload\":\"e\",\"sigs\":[]}", -EBADMSG,
         "desired: payload: is not valid base64"},
        {"[]", -EBADMSG, "desired: is no envelope: it must be an object"},
    };
    const struct keys *keys = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pith_buffer payload = {0};
        struct pith_error err = {0};

        assert_int_equal(pith_envelope_open(&payload, NULL, "desired", cases[i].text,
                                            strlen(cases[i].text), keys->public, 2, &err),
                         cases[i].code);
        assert_string_equal(err.text, cases[i].sentence);
    }
}

#define keys_test(test) cmocka_unit_test_setup_teardown(test, keys_setup, keys_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        keys_test(envelope_gives_back_what_was_signed),
        keys_test(envelope_of_a_stranger_is_refused),
        keys_test(envelope_of_another_type_is_refused),
        keys_test(envelope_altered_anywhere_is_refused),
        keys_test(envelope_with_one_good_signature_of_several_passes),
        keys_test(envelope_without_a_signature_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
