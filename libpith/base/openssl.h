/* OpenSSL's libcrypto, opened when a digest or a key is first asked for: its tables and relocations
 * take 1.5 MB of a process, and one that only runs a model signs nothing. Private to this room. */
#ifndef PITH_BASE_OPENSSL_H
#define PITH_BASE_OPENSSL_H

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <pith/error.h>

/* The functions that this room calls, each once in alphabetical order. */
#define OPENSSL_CALLS(CALL)                                                                        \
    CALL(BIO_ctrl)                                                                                 \
    CALL(BIO_free)                                                                                 \
    CALL(BIO_new)                                                                                  \
    CALL(BIO_new_mem_buf)                                                                          \
    CALL(BIO_s_mem)                                                                                \
    CALL(BIO_s_secmem)                                                                             \
    CALL(EVP_Digest)                                                                               \
    CALL(EVP_DigestFinal_ex)                                                                       \
    CALL(EVP_DigestInit_ex)                                                                        \
    CALL(EVP_DigestSign)                                                                           \
    CALL(EVP_DigestSignInit)                                                                       \
    CALL(EVP_DigestUpdate)                                                                         \
    CALL(EVP_DigestVerify)                                                                         \
    CALL(EVP_DigestVerifyInit)                                                                     \
    CALL(EVP_MD_CTX_free)                                                                          \
    CALL(EVP_MD_CTX_new)                                                                           \
    CALL(EVP_PKEY_Q_keygen)                                                                        \
    CALL(EVP_PKEY_free)                                                                            \
    CALL(EVP_PKEY_get_id)                                                                          \
    CALL(EVP_PKEY_get_raw_public_key)                                                              \
    CALL(EVP_PKEY_new_raw_public_key)                                                              \
    CALL(EVP_sha256)                                                                               \
    CALL(OPENSSL_cleanse)                                                                          \
    CALL(PEM_read_bio_PUBKEY)                                                                      \
    CALL(PEM_read_bio_PrivateKey)                                                                  \
    CALL(PEM_write_bio_PKCS8PrivateKey)                                                            \
    CALL(PEM_write_bio_PUBKEY)

struct openssl {
#define OPENSSL_FIELD(name) __typeof__(name) *name;
    OPENSSL_CALLS(OPENSSL_FIELD)
#undef OPENSSL_FIELD
};

/* -ELIBACC where it can't be opened, with the loader's reason; asked again it is tried again. It stays open until the
 * process ends. Thread: any. */
int openssl_open(const struct openssl **out, struct pith_error *err) PITH_CHECKED;

#endif
