/* Protocol buffers, as far as ONNX needs them: a walker over bytes that stay where they are, and a writer.
 * Every length is checked against the message around it. Unknown fields are for the caller to pass over. */
#ifndef PITH_FORMATS_PROTOBUF_H
#define PITH_FORMATS_PROTOBUF_H

#include "libpith/base/buffer.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum proto_wire { PROTO_VARINT = 0, PROTO_FIXED64 = 1, PROTO_BYTES = 2, PROTO_FIXED32 = 5 };

struct proto { /* a message, or a string, or a packed list: the bytes from at to end */
    const uint8_t *at;
    const uint8_t *end;
};

struct proto_field {
    uint32_t number;
    enum proto_wire wire;
    uint64_t integer;   /* PROTO_VARINT, and the bits of PROTO_FIXED64 and PROTO_FIXED32 */
    struct proto bytes; /* PROTO_BYTES */
};

static inline size_t proto_size(struct proto bytes)
{
    return (size_t) (bytes.end - bytes.at);
}

/* The next field of the message. 1; 0 at its end; -EBADMSG for a broken one. */
int proto_next(struct proto *message, struct proto_field *field);
/* The next varint of a packed list: 1, 0 at its end, -EBADMSG. */
int proto_next_varint(struct proto *list, uint64_t *out);

/* Writing. */
void proto_put_int(struct pith_buffer *out, uint32_t number, int64_t value);
void proto_put_float(struct pith_buffer *out, uint32_t number, float value);
void proto_put_bytes(struct pith_buffer *out, uint32_t number, const void *data, size_t bytes);
void proto_put_text(struct pith_buffer *out, uint32_t number, const char *text);
/* A message inside a message: what is written between the two calls. Its length goes before it when it is known, by moving
 * it a few bytes: cheaper than a buffer a level, which would hold the weights twice. */
size_t proto_begin(const struct pith_buffer *out);
void proto_end(struct pith_buffer *out, uint32_t number, size_t begun);

/* Writing without a copy of what is large: long byte strings stay where they lie, and only their places are kept. */
struct proto_piece {
    size_t before;    /* it goes between text's byte before this one and this one */
    const void *data; /* borrowed until the end */
    size_t bytes;
};
struct proto_pieces {
    struct pith_buffer text;    /* all else, in order */
    struct proto_piece *pieces; /* own */
    size_t count, capacity;
    size_t outside;             /* bytes of all pieces */
};
struct proto_mark { /* where a message begins */
    size_t text, count, outside;
};
void pieces_put_bytes(struct proto_pieces *out, uint32_t number, const void *data, size_t bytes);
struct proto_mark pieces_begin(const struct proto_pieces *out);
void pieces_end(struct proto_pieces *out, uint32_t number, struct proto_mark begun);
size_t pieces_bytes(const struct proto_pieces *pieces);
/* Hands out all bytes in order, in runs. Stops at a negative return, and returns it. */
int pieces_give(const struct proto_pieces *pieces,
                int (*take)(void *user, const void *data, size_t bytes, struct pith_error *err), void *user,
                struct pith_error *err) PITH_CHECKED;
void pieces_done(struct proto_pieces *pieces);

#endif
