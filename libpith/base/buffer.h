/* Bytes that grow. `struct pith_buffer b = {0};` is an empty one. */
#ifndef PITH_BASE_BUFFER_H
#define PITH_BASE_BUFFER_H

#include <pith/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pith_buffer {
    uint8_t *data; /* own; always one byte past `bytes` that is 0, so text may be read as a string; NULL while empty */
    size_t bytes;
    size_t capacity;
    bool failed; /* an append ran out of memory: later ones do nothing, so one check at the end is enough */
};

/* Makes room for `more` bytes past the end. -ENOMEM, and `failed` is then set. */
int pith_buffer_reserve(struct pith_buffer *buffer, size_t more);
void pith_buffer_append(struct pith_buffer *buffer, const void *data, size_t bytes);
void pith_buffer_text(struct pith_buffer *buffer, const char *text);
void pith_buffer_printf(struct pith_buffer *buffer, const char *format, ...) PITH_PRINTF(2, 3);
void pith_buffer_done(struct pith_buffer *buffer);

/* Base64 (RFC 4648, padded) and lower-case hex. Decoding is strict: other characters, missing padding or a wrong
 * length are -EBADMSG. */
int pith_base64_encode(struct pith_buffer *out, const void *data, size_t bytes) PITH_CHECKED;
int pith_base64_decode(struct pith_buffer *out, const char *text, size_t text_bytes) PITH_CHECKED;
void pith_hex_encode(char *out, const void *data, size_t bytes); /* out: 2 * bytes + 1 */

#endif
