/* Bytes that grow, and the two text forms of bytes. A failed append is remembered, so that a writer
 * of many pieces checks once, at the end. Leaves files and formats to others. */
#include "libpith/base/buffer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_FIRST_BYTES 256

int pith_buffer_reserve(struct pith_buffer *buffer, size_t more)
{
    size_t capacity = buffer->capacity ? buffer->capacity : BUFFER_FIRST_BYTES;
    size_t wanted;
    uint8_t *data;

    if (buffer->failed)
        return -ENOMEM;
    if (__builtin_add_overflow(buffer->bytes, more, &wanted) ||
        __builtin_add_overflow(wanted, 1, &wanted) || wanted > SIZE_MAX / 2) {
        buffer->failed = true;
        return -ENOMEM;
    }
    if (wanted <= buffer->capacity)
        return 0;
    while (capacity < wanted)
        capacity *= 2;
    data = realloc(buffer->data, capacity);
    if (!data) {
        buffer->failed = true;
        return -ENOMEM;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    data[buffer->bytes] = 0;
    return 0;
}

void pith_buffer_append(struct pith_buffer *buffer, const void *data, size_t bytes)
{
    if (pith_buffer_reserve(buffer, bytes) < 0)
        return;
    if (bytes)
        memcpy(buffer->data + buffer->bytes, data, bytes);
    buffer->bytes += bytes;
    buffer->data[buffer->bytes] = 0;
}

void pith_buffer_text(struct pith_buffer *buffer, const char *text)
{
    pith_buffer_append(buffer, text, strlen(text));
}

void pith_buffer_printf(struct pith_buffer *buffer, const char *format, ...)
{
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0) {
        buffer->failed = true;
        return;
    }
    if (pith_buffer_reserve(buffer, (size_t) length) < 0)
        return;
    va_start(arguments, format);
    (void) vsnprintf((char *) buffer->data + buffer->bytes, (size_t) length + 1, format, arguments);
    va_end(arguments);
    buffer->bytes += (size_t) length;
}

void pith_buffer_done(struct pith_buffer *buffer)
{
    if (!buffer)
        return;
    free(buffer->data);
    *buffer = (struct pith_buffer){0};
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int pith_base64_encode(struct pith_buffer *out, const void *data, size_t bytes)
{
    const uint8_t *in = data;
    char *text;

    if (bytes > SIZE_MAX / 4 || pith_buffer_reserve(out, (bytes + 2) / 3 * 4) < 0) {
        out->failed = true;
        return -ENOMEM;
    }
    text = (char *) out->data + out->bytes;
    for (size_t at = 0; at < bytes; at += 3) {
        size_t left = bytes - at;
        uint32_t triple = (uint32_t) in[at] << 16;

        if (left > 1)
            triple |= (uint32_t) in[at + 1] << 8;
        if (left > 2)
            triple |= in[at + 2];
        *text++ = base64_digits[triple >> 18];
        *text++ = base64_digits[triple >> 12 & 63];
        *text++ = left > 1 ? base64_digits[triple >> 6 & 63] : '=';
        *text++ = left > 2 ? base64_digits[triple & 63] : '=';
    }
    *text = 0;
    out->bytes += (bytes + 2) / 3 * 4;
    return 0;
}

static int base64_value(char digit)
{
    if (digit >= 'A' && digit <= 'Z')
        return digit - 'A';
    if (digit >= 'a' && digit <= 'z')
        return digit - 'a' + 26;
    if (digit >= '0' && digit <= '9')
        return digit - '0' + 52;
    if (digit == '+')
        return 62;
    return digit == '/' ? 63 : -1;
}

/* Decodes four digits into out; *out_count: how many bytes they hold (fewer than 3 only where
 * padded). */
static int base64_quad(const char *text, uint8_t out[3], size_t *out_count)
{
    size_t padding = text[3] != '=' ? 0 : text[2] != '=' ? 1 : 2;
    uint32_t triple = 0;

    for (size_t i = 0; i < 4; i++) {
        int value = i < 4 - padding ? base64_value(text[i]) : 0;

        if (value < 0)
            return -EBADMSG;
        triple = triple << 6 | (uint32_t) value;
    }
    /* Bits that padding cuts off must be 0, so that bytes have one text form only. */
    if ((padding == 1 && triple & 0xff) || (padding == 2 && triple & 0xffff))
        return -EBADMSG;
    out[0] = (uint8_t) (triple >> 16);
    out[1] = (uint8_t) (triple >> 8);
    out[2] = (uint8_t) triple;
    *out_count = 3 - padding;
    return 0;
}

int pith_base64_decode(struct pith_buffer *out, const char *text, size_t text_bytes)
{
    size_t before = out->bytes;

    if (text_bytes % 4)
        return -EBADMSG;
    if (pith_buffer_reserve(out, text_bytes / 4 * 3) < 0)
        return -ENOMEM;
    for (size_t at = 0; at < text_bytes; at += 4) {
        uint8_t triple[3];
        size_t count = 0;

        if (base64_quad(text + at, triple, &count) < 0 || (count < 3 && at + 4 < text_bytes)) {
            out->bytes = before;
            out->data[before] = 0;
            return -EBADMSG;
        }
        pith_buffer_append(out, triple, count);
    }
    return 0;
}

void pith_hex_encode(char *out, const void *data, size_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *in = data;

    for (size_t i = 0; i < bytes; i++) {
        out[2 * i] = digits[in[i] >> 4];
        out[2 * i + 1] = digits[in[i] & 15];
    }
    out[2 * bytes] = 0;
}
