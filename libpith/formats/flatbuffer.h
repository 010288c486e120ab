/* A reader of FlatBuffers (google.github.io/flatbuffers) over bytes that stay where they are. No generated code: fields are
 * asked for by their number in the schema. Every position and size is checked, in 64 bits, before it is followed. The first
 * that leads outside sets `broken`; from then on everything is absent, so that one check after a piece of work is enough.
 * A vector may lie in many tables at once, so who copies or walks what is found bounds that work itself. */
#ifndef PITH_FORMATS_FLATBUFFER_H
#define PITH_FORMATS_FLATBUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct flat { /* of one file */
    const uint8_t *data;
    uint64_t bytes;
    bool broken;
};

struct flat_table {
    struct flat *in; /* NULL: there is none, and every field of it is absent */
    uint64_t at;
    uint64_t vtable;
    uint32_t vtable_bytes;
    uint32_t table_bytes;
};

struct flat_vector {
    struct flat *in;
    uint64_t at; /* of its first item */
    uint32_t count;
};

/* The root table of a file whose bytes 4 to 7 are `identifier`; else `broken`. */
struct flat_table flat_root(struct flat *file, const char identifier[4]);

/* Scalars; `otherwise` where the field is absent. */
int8_t flat_i8(struct flat_table table, unsigned field, int8_t otherwise);
uint8_t flat_u8(struct flat_table table, unsigned field, uint8_t otherwise);
int32_t flat_i32(struct flat_table table, unsigned field, int32_t otherwise);
uint32_t flat_u32(struct flat_table table, unsigned field, uint32_t otherwise);
uint64_t flat_u64(struct flat_table table, unsigned field, uint64_t otherwise);
float flat_float(struct flat_table table, unsigned field, float otherwise);

struct flat_table flat_child(struct flat_table table, unsigned field);
/* item_bytes: 4 for tables and 32-bit numbers, 1 for bytes. All of the items lie in the file. */
struct flat_vector flat_items(struct flat_table table, unsigned field, unsigned item_bytes);
/* Text is not terminated, and may hold anything. */
struct flat_vector flat_text(struct flat_table table, unsigned field);

/* index < vector.count */
struct flat_table flat_item_table(struct flat_vector vector, uint32_t index);
int32_t flat_item_i32(struct flat_vector vector, uint32_t index);
float flat_item_float(struct flat_vector vector, uint32_t index);
uint16_t flat_item_u16(struct flat_vector vector, uint32_t index);
uint8_t flat_item_u8(struct flat_vector vector, uint32_t index);
const uint8_t *flat_bytes(struct flat_vector vector); /* NULL where it is empty */

#endif
