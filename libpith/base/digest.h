/* SHA-256 and Ed25519, through OpenSSL's EVP. Its library is opened by the first call that needs it; where that fails, calls
 * return -ELIBACC. */
#ifndef PITH_BASE_DIGEST_H
#define PITH_BASE_DIGEST_H

#include <pith/error.h>
#include <stddef.h>
#include <stdint.h>

#define PITH_SHA256_BYTES 32
#define PITH_SHA256_HEX 64 /* characters, without the 0 at the end */
#define PITH_SIGNATURE_BYTES 64
#define PITH_PUBLIC_KEY_BYTES 32

/* Opens the library now: before walls close that hide it, or to have the reason in words where it isn't there. Thread: any. */
int pith_digest_open(struct pith_error *err) PITH_CHECKED;

struct pith_sha256; /* a running digest */
int pith_sha256_new(struct pith_sha256 **out) PITH_CHECKED;
int pith_sha256_add(struct pith_sha256 *digest, const void *data, size_t bytes) PITH_CHECKED;
int pith_sha256_finish(struct pith_sha256 *digest, uint8_t out[PITH_SHA256_BYTES]) PITH_CHECKED;
void pith_sha256_free(struct pith_sha256 *digest);
int pith_sha256(const void *data, size_t bytes, uint8_t out[PITH_SHA256_BYTES]) PITH_CHECKED;
/* Whether text is 64 lower-case hex digits: what a blob's name must be before it becomes a path. */
int pith_sha256_is_hex(const char *text);

/* Key files: PEM, PKCS#8 for the private one (mode 0600), SubjectPublicKeyInfo for the public one, so that
 * `openssl pkey` reads them. A key's id is the first 16 hex digits of SHA-256 over its 32 raw public bytes. */
struct pith_signing_key;
struct pith_public_key {
    uint8_t bytes[PITH_PUBLIC_KEY_BYTES];
    char id[17];
};
int pith_key_generate(const char *private_path, const char *public_path, struct pith_error *err) PITH_CHECKED;
int pith_signing_key_open(struct pith_signing_key **out, const char *private_path, struct pith_error *err) PITH_CHECKED;
void pith_signing_key_free(struct pith_signing_key *key);
int pith_signing_key_public(const struct pith_signing_key *key, struct pith_public_key *out) PITH_CHECKED;
int pith_public_key_open(struct pith_public_key *out, const char *public_path, struct pith_error *err) PITH_CHECKED;
int pith_sign(const struct pith_signing_key *key, const void *data, size_t bytes, uint8_t out[PITH_SIGNATURE_BYTES],
              struct pith_error *err) PITH_CHECKED;
/* 0: good. -EKEYREJECTED: not this key's signature over these bytes. */
int pith_verify(const struct pith_public_key *key, const void *data, size_t bytes,
                const uint8_t signature[PITH_SIGNATURE_BYTES], struct pith_error *err) PITH_CHECKED;

#endif
