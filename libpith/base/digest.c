/* SHA-256 and Ed25519 through OpenSSL's EVP. Key files are PEM, so that the openssl command reads
 * them too. */
#include "libpith/base/digest.h"

#include "libpith/base/buffer.h"
#include "libpith/base/file.h"
#include "libpith/base/openssl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_FILE_MAX_BYTES 16384

struct pith_sha256 {
    const struct openssl *openssl;
    EVP_MD_CTX *context;
};

struct pith_signing_key {
    const struct openssl *openssl;
    EVP_PKEY *pkey;
};

int pith_digest_open(struct pith_error *err)
{
    const struct openssl *openssl;

    return openssl_open(&openssl, err);
}

int pith_sha256_new(struct pith_sha256 **out)
{
    const struct openssl *o;
    struct pith_sha256 *digest;
    int rc = openssl_open(&o, NULL);

    if (rc < 0)
        return rc;
    digest = calloc(1, sizeof *digest);
    if (!digest)
        return -ENOMEM;
    digest->openssl = o;
    digest->context = o->EVP_MD_CTX_new();
    if (!digest->context || o->EVP_DigestInit_ex(digest->context, o->EVP_sha256(), NULL) != 1) {
        pith_sha256_free(digest);
        return -ENOMEM;
    }
    *out = digest;
    return 0;
}

int pith_sha256_add(struct pith_sha256 *digest, const void *data, size_t bytes)
{
    return digest->openssl->EVP_DigestUpdate(digest->context, data, bytes) == 1 ? 0 : -EIO;
}

int pith_sha256_finish(struct pith_sha256 *digest, uint8_t out[PITH_SHA256_BYTES])
{
    return digest->openssl->EVP_DigestFinal_ex(digest->context, out, NULL) == 1 ? 0 : -EIO;
}

void pith_sha256_free(struct pith_sha256 *digest)
{
    if (!digest)
        return;
    digest->openssl->EVP_MD_CTX_free(digest->context);
    free(digest);
}

int pith_sha256(const void *data, size_t bytes, uint8_t out[PITH_SHA256_BYTES])
{
    const struct openssl *o;
    int rc = openssl_open(&o, NULL);

    if (rc < 0)
        return rc;
    return o->EVP_Digest(data, bytes, out, NULL, o->EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
}

int pith_sha256_is_hex(const char *text)
{
    return strspn(text, "0123456789abcdef") == PITH_SHA256_HEX && !text[PITH_SHA256_HEX];
}

static int public_of(const struct openssl *o, const EVP_PKEY *pkey, struct pith_public_key *out)
{
    uint8_t digest[PITH_SHA256_BYTES];
    size_t bytes = sizeof out->bytes;

    if (o->EVP_PKEY_get_raw_public_key(pkey, out->bytes, &bytes) != 1 || bytes != sizeof out->bytes ||
        pith_sha256(out->bytes, sizeof out->bytes, digest) < 0)
        return -ENOMEM;
    pith_hex_encode(out->id, digest, 8);
    return 0;
}

static int bio_to_file(const struct openssl *o, BIO *bio, const char *path, unsigned mode,
                       struct pith_error *err)
{
    char *data;
    long bytes = o->BIO_ctrl(bio, BIO_CTRL_INFO, 0, &data); /* BIO_get_mem_data */

    return pith_file_write(path, data, (size_t) bytes, mode, err);
}

int pith_key_generate(const char *private_path, const char *public_path, struct pith_error *err)
{
    const struct openssl *o;
    EVP_PKEY *pkey = NULL;
    BIO *private_pem = NULL, *public_pem = NULL;
    int rc;

    if (access(private_path, F_OK) == 0 || access(public_path, F_OK) == 0)
        return pith_fail(err, -EEXIST, "%s: is there already; a key is never overwritten",
                         access(private_path, F_OK) == 0 ? private_path : public_path);
    rc = openssl_open(&o, err);
    if (rc < 0)
        return rc;
    pkey = o->EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    private_pem = o->BIO_new(o->BIO_s_secmem());
    public_pem = o->BIO_new(o->BIO_s_mem());
    if (!pkey || !private_pem || !public_pem ||
        o->PEM_write_bio_PKCS8PrivateKey(private_pem, pkey, NULL, NULL, 0, NULL, NULL) != 1 ||
        o->PEM_write_bio_PUBKEY(public_pem, pkey) != 1)
        rc = pith_fail(err, -EIO, "a key can't be made: the cryptographic library refused");
    if (rc == 0)
        rc = bio_to_file(o, private_pem, private_path, 0600, err);
    if (rc == 0)
        rc = bio_to_file(o, public_pem, public_path, 0644, err);
    o->BIO_free(private_pem);
    o->BIO_free(public_pem);
    o->EVP_PKEY_free(pkey);
    return rc;
}

/* Without it OpenSSL would ask on the terminal. */
static int no_passphrase(char *text, int size, int writing, void *user)
{
    (void) text, (void) size, (void) writing, (void) user;
    return -1;
}

static int read_pem(const struct openssl *o, EVP_PKEY **out, const char *path, bool private,
                    struct pith_error *err)
{
    struct pith_buffer text = {0};
    EVP_PKEY *pkey = NULL;
    BIO *bio;
    int rc = pith_file_read(path, KEY_FILE_MAX_BYTES, &text, err);

    if (rc < 0)
        return rc;
    bio = o->BIO_new_mem_buf(text.data ? (const void *) text.data : "", (int) text.bytes);
    if (!bio)
        rc = pith_fail(err, -ENOMEM, "%s: no memory to read the key", path);
    else if (private)
        pkey = o->PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    else
        pkey = o->PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL);
    if (rc == 0 && (!pkey || o->EVP_PKEY_get_id(pkey) != EVP_PKEY_ED25519))
        rc = pith_fail(
            err, -EBADMSG,
            "%s: is no Ed25519 %s key in PEM form without a passphrase (pith keygen makes one)",
            path, private ? "private" : "public");
    o->BIO_free(bio);
    if (text.data)
        o->OPENSSL_cleanse(text.data, text.bytes);
    pith_buffer_done(&text);
    if (rc < 0)
        o->EVP_PKEY_free(pkey);
    else
        *out = pkey;
    return rc;
}

int pith_signing_key_open(struct pith_signing_key **out, const char *private_path,
                          struct pith_error *err)
{
    const struct openssl *o;
    struct pith_signing_key *key;
    struct stat status;
    int rc;

    if (stat(private_path, &status) == 0 && status.st_mode & (S_IRWXG | S_IRWXO))
        return pith_fail(err, -EACCES, "%s: others than its owner may read it; run chmod 600 on it",
                         private_path);
    rc = openssl_open(&o, err);
    if (rc < 0)
        return rc;
    key = calloc(1, sizeof *key);
    if (!key)
        return pith_fail(err, -ENOMEM, "%s: no memory for the key", private_path);
    key->openssl = o;
    rc = read_pem(o, &key->pkey, private_path, true, err);
    if (rc < 0) {
        free(key);
        return rc;
    }
    *out = key;
    return 0;
}

void pith_signing_key_free(struct pith_signing_key *key)
{
    if (!key)
        return;
    key->openssl->EVP_PKEY_free(key->pkey);
    free(key);
}

int pith_signing_key_public(const struct pith_signing_key *key, struct pith_public_key *out)
{
    return public_of(key->openssl, key->pkey, out);
}

int pith_public_key_open(struct pith_public_key *out, const char *public_path,
                         struct pith_error *err)
{
    const struct openssl *o;
    EVP_PKEY *pkey = NULL;
    int rc = openssl_open(&o, err);

    if (rc == 0)
        rc = read_pem(o, &pkey, public_path, false, err);
    if (rc < 0)
        return rc;
    rc = public_of(o, pkey, out);
    o->EVP_PKEY_free(pkey);
    return rc < 0 ? pith_fail(err, rc, "%s: no memory for the key", public_path) : 0;
}

int pith_sign(const struct pith_signing_key *key, const void *data, size_t bytes,
              uint8_t out[PITH_SIGNATURE_BYTES], struct pith_error *err)
{
    const struct openssl *o = key->openssl;
    EVP_MD_CTX *context = o->EVP_MD_CTX_new();
    size_t signature_bytes = PITH_SIGNATURE_BYTES;
    int rc = 0;

    if (!context || o->EVP_DigestSignInit(context, NULL, NULL, NULL, key->pkey) != 1 ||
        o->EVP_DigestSign(context, out, &signature_bytes, data, bytes) != 1 ||
        signature_bytes != PITH_SIGNATURE_BYTES)
        rc = pith_fail(err, -EIO, "signing failed: the cryptographic library refused");
    o->EVP_MD_CTX_free(context);
    return rc;
}

int pith_verify(const struct pith_public_key *key, const void *data, size_t bytes,
                const uint8_t signature[PITH_SIGNATURE_BYTES], struct pith_error *err)
{
    const struct openssl *o;
    EVP_PKEY *pkey;
    EVP_MD_CTX *context;
    int rc = openssl_open(&o, err);

    if (rc < 0)
        return rc;
    pkey = o->EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key->bytes, sizeof key->bytes);
    context = o->EVP_MD_CTX_new();
    if (!pkey || !context || o->EVP_DigestVerifyInit(context, NULL, NULL, NULL, pkey) != 1)
        rc = pith_fail(err, -ENOMEM, "no memory to check a signature");
    else if (o->EVP_DigestVerify(context, signature, PITH_SIGNATURE_BYTES, data, bytes) != 1)
        rc = pith_fail(err, -EKEYREJECTED, "the signature of key %s is not over these bytes",
                       key->id);
    o->EVP_MD_CTX_free(context);
    o->EVP_PKEY_free(pkey);
    return rc;
}
