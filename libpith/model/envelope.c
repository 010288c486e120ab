/* Signed documents. The payload travels as the exact bytes that were signed, so nobody has to agree
 * on one way to write JSON. What a payload means is for manifest.c. */
#include "libpith/model/envelope.h"

#include "libpith/base/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SIGNATURES_MAX 16 /* in one envelope: each trusted one costs a check of 0.15 ms */
#define SIGNED_PREFIX  "pith/1"

/* What a signature is over: "pith/1\0" type "\0" payload. */
static int signed_bytes(struct pith_buffer *out, const char *type, const void *payload,
                        size_t payload_bytes, struct pith_error *err)
{
    pith_buffer_append(out, SIGNED_PREFIX, sizeof SIGNED_PREFIX);
    pith_buffer_append(out, type, strlen(type) + 1);
    pith_buffer_append(out, payload, payload_bytes);
    return out->failed ? pith_fail(err, -ENOMEM, "%s: no memory for the envelope", type) : 0;
}

static int signature_text(struct pith_buffer *out, const char *type, const void *payload,
                          size_t payload_bytes, const struct pith_signing_key *key,
                          struct pith_error *err)
{
    uint8_t signature[PITH_SIGNATURE_BYTES];
    struct pith_buffer message = {0};
    int rc = signed_bytes(&message, type, payload, payload_bytes, err);

    if (rc == 0)
        rc = pith_sign(key, message.data, message.bytes, signature, err);
    if (rc == 0 && pith_base64_encode(out, signature, sizeof signature) < 0)
        rc = pith_fail(err, -ENOMEM, "%s: no memory for the envelope", type);
    pith_buffer_done(&message);
    return rc;
}

int pith_envelope_seal(struct pith_buffer *out, const char *type, const void *payload,
                       size_t payload_bytes, const struct pith_signing_key *key,
                       struct pith_error *err)
{
    struct pith_buffer signature = {0}, payload_text = {0};
    struct pith_public_key public_key;
    json_t *envelope = NULL;
    char *text = NULL;
    int rc = signature_text(&signature, type, payload, payload_bytes, key, err);

    if (rc < 0)
        goto done;
    if (pith_signing_key_public(key, &public_key) < 0 ||
        pith_base64_encode(&payload_text, payload, payload_bytes) < 0)
        goto no_memory;
    envelope =
        json_pack("{si ss ss s[{ss ss ss}]}", "v", 1, "type", type, "payload", payload_text.data,
                  "sigs", "kid", public_key.id, "alg", "ed25519", "sig", signature.data);
    text = envelope ? json_dumps(envelope, JSON_COMPACT) : NULL;
    if (!text)
        goto no_memory;
    if (strlen(text) > PITH_ENVELOPE_MAX_BYTES) {
        rc = pith_fail(err, -EFBIG, "%s: the envelope would be over %d bytes", type,
                       PITH_ENVELOPE_MAX_BYTES);
        goto done;
    }
    pith_buffer_text(out, text);
    if (!out->failed)
        goto done;
no_memory:
    rc = pith_fail(err, -ENOMEM, "%s: no memory for the envelope", type);
done:
    free(text);
    json_decref(envelope);
    pith_buffer_done(&payload_text);
    pith_buffer_done(&signature);
    return rc;
}

static const struct pith_public_key *find_key(const struct pith_public_key *trusted,
                                              size_t trusted_count, const char *id)
{
    for (size_t i = 0; i < trusted_count; i++)
        if (strcmp(trusted[i].id, id) == 0)
            return &trusted[i];
    return NULL;
}

/* Whether one entry of "sigs" is a trusted key's good signature over message. *out_key: the key, if
 * it is trusted. Fills *why with the reason where it is not, for whoever reports that none was. */
static int check_signature(const json_t *entry, const char *where,
                           const struct pith_buffer *message, const struct pith_public_key *trusted,
                           size_t trusted_count, const struct pith_public_key **out_key,
                           struct pith_error *why)
{
    static const char *const known[] = {"kid", "alg", "sig", NULL};
    const char *kid, *algorithm, *text;
    struct pith_buffer signature = {0};
    int rc;

    if (!json_is_object(entry))
        return pith_fail(why, -EBADMSG, "%s: must be an object", where);
    if (pith_json_only(entry, where, known, why) < 0 ||
        pith_json_string(entry, where, "kid", &kid, why) < 0 ||
        pith_json_string(entry, where, "alg", &algorithm, why) < 0 ||
        pith_json_string(entry, where, "sig", &text, why) < 0)
        return -EBADMSG;
    *out_key = find_key(trusted, trusted_count, kid);
    if (!*out_key)
        return pith_fail(why, -EKEYREJECTED, "signed by key %.64s, which is not trusted here", kid);
    if (strcmp(algorithm, "ed25519") != 0)
        return pith_fail(why, -EKEYREJECTED, "signed with %.32s; only ed25519 is known", algorithm);
    rc = pith_base64_decode(&signature, text, strlen(text));
    if (rc < 0 || signature.bytes != PITH_SIGNATURE_BYTES)
        rc = pith_fail(why, -EKEYREJECTED, "%s.sig: is not the base64 text of a 64-byte signature",
                       where);
    else
        rc = pith_verify(*out_key, message->data, message->bytes, signature.data, why);
    pith_buffer_done(&signature);
    return rc;
}

static int check_signatures(const json_t *envelope, const char *type,
                            const struct pith_buffer *message, char *signer,
                            const struct pith_public_key *trusted, size_t trusted_count,
                            struct pith_error *err)
{
    struct pith_error why = {0};
    json_t *list;
    int rc = pith_json_array(envelope, type, "sigs", true, &list, err);

    if (rc < 0)
        return rc;
    if (json_array_size(list) > SIGNATURES_MAX)
        return pith_fail(err, -EBADMSG, "%s: sigs: more than %d signatures", type, SIGNATURES_MAX);
    if (json_array_size(list) == 0)
        return pith_fail(err, -EKEYREJECTED, "%s: is not signed", type);
    if (trusted_count == 0)
        return pith_fail(err, -EKEYREJECTED, "%s: no key is trusted here; name one under \"trust\"",
                         type);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const struct pith_public_key *key = NULL;
        char where[96];

        (void) snprintf(where, sizeof where, "%.48s: sigs[%zu]", type, i);
        rc = check_signature(json_array_get(list, i), where, message, trusted, trusted_count, &key,
                             &why);
        if (rc == 0) {
            if (signer)
                memcpy(signer, key->id, sizeof key->id);
            return 0;
        }
    }
    return pith_fail(err, -EKEYREJECTED, "%s: %s", type, why.text);
}

int pith_envelope_open(struct pith_buffer *out_payload, char signer[17], const char *type,
                       const void *text, size_t bytes, const struct pith_public_key *trusted,
                       size_t trusted_count, struct pith_error *err)
{
    static const char *const known[] = {"v", "type", "payload", "sigs", NULL};
    struct pith_buffer payload = {0}, message = {0};
    const char *said_type, *payload_text;
    json_t *envelope = NULL;
    int64_t version;
    int rc = pith_json_parse(&envelope, text, bytes, PITH_ENVELOPE_MAX_BYTES, type, err);

    if (rc < 0)
        return rc;
    if (!json_is_object(envelope))
        rc = pith_fail(err, -EBADMSG, "%s: is no envelope: it must be an object", type);
    if (rc < 0 || (rc = pith_json_only(envelope, type, known, err)) < 0 ||
        (rc = pith_json_int(envelope, type, "v", 1, 1, &version, err)) < 0 ||
        (rc = pith_json_string(envelope, type, "type", &said_type, err)) < 0 ||
        (rc = pith_json_string(envelope, type, "payload", &payload_text, err)) < 0)
        goto done;
    if (strcmp(said_type, type) != 0) {
        rc = pith_fail(err, -EBADMSG, "%s: is a document of type \"%.48s\"", type, said_type);
        goto done;
    }
    rc = pith_base64_decode(&payload, payload_text, strlen(payload_text));
    if (rc < 0) {
        rc = pith_fail(err, rc, "%s: payload: is not valid base64", type);
        goto done;
    }
    rc = signed_bytes(&message, type, payload.data, payload.bytes, err);
    if (rc == 0)
        rc = check_signatures(envelope, type, &message, signer, trusted, trusted_count, err);
    if (rc < 0)
        goto done;
    pith_buffer_append(out_payload, payload.data, payload.bytes);
    if (out_payload->failed)
        rc = pith_fail(err, -ENOMEM, "%s: no memory for the payload", type);
done:
    pith_buffer_done(&payload);
    pith_buffer_done(&message);
    json_decref(envelope);
    return rc;
}
