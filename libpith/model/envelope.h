/* A signed document: {"v":1,"type":"desired","payload":"<base64>","sigs":[{"kid":"…","alg":"ed25519","sig":"<base64>"}]}.
 * The signature covers "pith/1\0" type "\0" payload bytes, so one kind of document can't pass for another and no
 * canonical JSON is needed. */
#ifndef PITH_MODEL_ENVELOPE_H
#define PITH_MODEL_ENVELOPE_H

#include "libpith/base/buffer.h"
#include "libpith/base/digest.h"

#define PITH_ENVELOPE_MAX_BYTES (512 * 1024)

/* Appends the envelope's JSON to *out. */
int pith_envelope_seal(struct pith_buffer *out, const char *type, const void *payload, size_t payload_bytes,
                       const struct pith_signing_key *key, struct pith_error *err) PITH_CHECKED;
/* Appends the payload to *out_payload if one signature of a trusted key is good. -EKEYREJECTED (unsigned, unknown key,
 * altered), -EBADMSG (not an envelope, or of another type). signer: may be NULL, else the key's id. */
int pith_envelope_open(struct pith_buffer *out_payload, char signer[17], const char *type, const void *text, size_t bytes,
                       const struct pith_public_key *trusted, size_t trusted_count,
                       struct pith_error *err) PITH_CHECKED;

#endif
