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

/* Writing. A message inside a message is written to a buffer of its own first. */
void proto_put_int(struct pith_buffer *out, uint32_t number, int64_t value);
void proto_put_float(struct pith_buffer *out, uint32_t number, float value);
void proto_put_bytes(struct pith_buffer *out, uint32_t number, const void *data, size_t bytes);
void proto_put_text(struct pith_buffer *out, uint32_t number, const char *text);
/* Empties `message`, which keeps its memory for the next; a failure of it becomes one of `out`. */
void proto_put_message(struct pith_buffer *out, uint32_t number, struct pith_buffer *message);
void proto_put_varint(struct pith_buffer *out, uint64_t value);

#endif
