/* Protocol buffers: walking and writing. Groups, which nobody has written since 2008, are refused
 * as broken. */
#include "libpith/formats/protobuf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define VARINT_BYTES     10 /* 64 bits, 7 a byte */
#define LARGEST_FIELD_ID ((UINT32_C(1) << 29) - 1)

static int read_varint(struct proto *from, uint64_t *out)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < VARINT_BYTES; i++) {
        uint8_t byte;

        if (from->at == from->end)
            return -EBADMSG;
        byte = *from->at++;
        if (i == VARINT_BYTES - 1 && byte > 1)
            return -EBADMSG; /* past 64 bits */
        value |= (uint64_t) (byte & 0x7f) << (7 * i);
        if (!(byte & 0x80)) {
            *out = value;
            return 0;
        }
    }
    return -EBADMSG;
}

static int read_fixed(struct proto *from, size_t bytes, uint64_t *out)
{
    uint64_t value = 0;

    if (proto_size(*from) < bytes)
        return -EBADMSG;
    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t) from->at[i] << (8 * i);
    from->at += bytes;
    *out = value;
    return 0;
}

int proto_next(struct proto *message, struct proto_field *field)
{
    struct proto_field next = {0};
    uint64_t key;
    uint64_t length;
    int rc;

    if (message->at == message->end)
        return 0;
    rc = read_varint(message, &key);
    if (rc < 0)
        return rc;
    if (key >> 3 == 0 || key >> 3 > LARGEST_FIELD_ID)
        return -EBADMSG;
    next.number = (uint32_t) (key >> 3);
    next.wire = (enum proto_wire)(key & 7);
    switch (next.wire) {
    case PROTO_VARINT:
        rc = read_varint(message, &next.integer);
        break;
    case PROTO_FIXED64:
        rc = read_fixed(message, 8, &next.integer);
        break;
    case PROTO_FIXED32:
        rc = read_fixed(message, 4, &next.integer);
        break;
    case PROTO_BYTES:
        rc = read_varint(message, &length);
        if (rc == 0 && length > proto_size(*message))
            rc = -EBADMSG;
        if (rc == 0) {
            next.bytes = (struct proto){message->at, message->at + length};
            message->at += length;
        }
        break;
    default:
        rc = -EBADMSG;
    }
    if (rc < 0)
        return rc;
    *field = next;
    return 1;
}

int proto_next_varint(struct proto *list, uint64_t *out)
{
    int rc;

    if (list->at == list->end)
        return 0;
    rc = read_varint(list, out);
    return rc < 0 ? rc : 1;
}

static size_t make_varint(uint8_t bytes[VARINT_BYTES], uint64_t value)
{
    size_t count = 0;

    do {
        bytes[count] = (uint8_t) (value & 0x7f);
        value >>= 7;
        if (value)
            bytes[count] |= 0x80;
        count++;
    } while (value);
    return count;
}

static void put_varint(struct pith_buffer *out, uint64_t value)
{
    uint8_t bytes[VARINT_BYTES];

    pith_buffer_append(out, bytes, make_varint(bytes, value));
}

static uint64_t key_of(uint32_t number, enum proto_wire wire)
{
    return (uint64_t) number << 3 | (uint64_t) wire;
}

void proto_put_int(struct pith_buffer *out, uint32_t number, int64_t value)
{
    put_varint(out, key_of(number, PROTO_VARINT));
    put_varint(out, (uint64_t) value);
}

void proto_put_float(struct pith_buffer *out, uint32_t number, float value)
{
    uint32_t bits;
    uint8_t bytes[4];

    memcpy(&bits, &value, sizeof bits);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t) (bits >> (8 * i));
    put_varint(out, key_of(number, PROTO_FIXED32));
    pith_buffer_append(out, bytes, sizeof bytes);
}

void proto_put_bytes(struct pith_buffer *out, uint32_t number, const void *data, size_t bytes)
{
    put_varint(out, key_of(number, PROTO_BYTES));
    put_varint(out, bytes);
    if (bytes)
        pith_buffer_append(out, data, bytes);
}

void proto_put_text(struct pith_buffer *out, uint32_t number, const char *text)
{
    proto_put_bytes(out, number, text, strlen(text));
}

size_t proto_begin(const struct pith_buffer *out)
{
    return out->bytes;
}

/* Puts the key and length of a message before its bytes, which begin at `begun` and have `outside`
 * more that are not here. Returns by how much they moved. */
static size_t put_head(struct pith_buffer *out, uint32_t number, size_t begun, size_t outside)
{
    uint8_t head[2 * VARINT_BYTES];
    size_t length = out->bytes - begun;
    size_t head_bytes = make_varint(head, key_of(number, PROTO_BYTES));

    head_bytes += make_varint(head + head_bytes, length + outside);
    pith_buffer_append(out, head, head_bytes); /* makes the room */
    if (out->failed)
        return 0;
    memmove(out->data + begun + head_bytes, out->data + begun, length);
    memcpy(out->data + begun, head, head_bytes);
    return head_bytes;
}

void proto_end(struct pith_buffer *out, uint32_t number, size_t begun)
{
    if (!out->failed)
        (void) put_head(out, number, begun, 0);
}

/* ---- in pieces ---- */

#define LEAST_PIECE 4096 /* shorter strings are copied: a piece has a price too */

static bool has_room(struct proto_pieces *out)
{
    size_t capacity = out->capacity ? 2 * out->capacity : 64;
    struct proto_piece *grown;

    if (out->count < out->capacity)
        return true;
    grown = realloc(out->pieces, capacity * sizeof *grown);
    if (!grown) {
        out->text.failed = true;
        return false;
    }
    out->pieces = grown;
    out->capacity = capacity;
    return true;
}

void pieces_put_bytes(struct proto_pieces *out, uint32_t number, const void *data, size_t bytes)
{
    if (bytes < LEAST_PIECE) {
        proto_put_bytes(&out->text, number, data, bytes);
        return;
    }
    put_varint(&out->text, key_of(number, PROTO_BYTES));
    put_varint(&out->text, bytes);
    if (out->text.failed || !has_room(out))
        return;
    out->pieces[out->count++] =
        (struct proto_piece){.before = out->text.bytes, .data = data, .bytes = bytes};
    out->outside += bytes;
}

struct proto_mark pieces_begin(const struct proto_pieces *out)
{
    return (struct proto_mark){out->text.bytes, out->count, out->outside};
}

void pieces_end(struct proto_pieces *out, uint32_t number, struct proto_mark begun)
{
    if (out->text.failed)
        return;
    size_t moved = put_head(&out->text, number, begun.text, out->outside - begun.outside);

    for (size_t i = begun.count; i < out->count; i++)
        out->pieces[i].before += moved;
}

size_t pieces_bytes(const struct proto_pieces *pieces)
{
    return pieces->text.bytes + pieces->outside;
}

int pieces_give(const struct proto_pieces *pieces,
                int (*take)(void *user, const void *data, size_t bytes, struct pith_error *err),
                void *user, struct pith_error *err)
{
    size_t at = 0;
    int rc = 0;

    for (size_t i = 0; i <= pieces->count && rc == 0; i++) {
        size_t end = i < pieces->count ? pieces->pieces[i].before : pieces->text.bytes;

        if (end > at)
            rc = take(user, pieces->text.data + at, end - at, err);
        if (rc == 0 && i < pieces->count)
            rc = take(user, pieces->pieces[i].data, pieces->pieces[i].bytes, err);
        at = end;
    }
    return rc;
}

void pieces_done(struct proto_pieces *pieces)
{
    pith_buffer_done(&pieces->text);
    free(pieces->pieces);
    *pieces = (struct proto_pieces){0};
}
