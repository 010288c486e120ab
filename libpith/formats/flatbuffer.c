/* FlatBuffers: a table begins with the distance back to its vtable, which says where in the table
 * each field lies; fields of other sizes hold the distance on to what they stand for. */
#include "libpith/formats/flatbuffer.h"

#include <string.h>

/* ---- bytes ---- */

/* Whether `bytes` lie at `at`; else the file is broken. */
static bool inside(struct flat *file, uint64_t at, uint64_t bytes)
{
    if (!file->broken && at <= file->bytes && bytes <= file->bytes - at)
        return true;
    file->broken = true;
    return false;
}

/* Copies a little-endian number; zeroes where it lies outside. */
static void read_number(struct flat *file, uint64_t at, void *out, size_t bytes)
{
    memset(out, 0, bytes);
    if (inside(file, at, bytes))
        memcpy(out, file->data + at, bytes);
}

static uint32_t read_u32(struct flat *file, uint64_t at)
{
    uint32_t number;

    read_number(file, at, &number, sizeof number);
    return number;
}

static uint16_t read_u16(struct flat *file, uint64_t at)
{
    uint16_t number;

    read_number(file, at, &number, sizeof number);
    return number;
}

/* ---- tables ---- */

static struct flat_table open_table(struct flat *file, uint64_t at)
{
    struct flat_table table = {.in = file, .at = at};
    int64_t vtable = (int64_t) at - (int32_t) read_u32(file, at);

    if (vtable < 0)
        file->broken = true;
    if (!file->broken) {
        table.vtable = (uint64_t) vtable;
        table.vtable_bytes = read_u16(file, table.vtable);
        table.table_bytes = read_u16(file, table.vtable + 2);
    }
    if (file->broken || table.vtable_bytes < 4 || table.table_bytes < 4 ||
        !inside(file, table.vtable, table.vtable_bytes) || !inside(file, at, table.table_bytes)) {
        file->broken = true;
        return (struct flat_table){0};
    }
    return table;
}

struct flat_table flat_root(struct flat *file, const char identifier[4])
{
    if (!inside(file, 4, 4) || memcmp(file->data + 4, identifier, 4) != 0) {
        file->broken = true;
        return (struct flat_table){0};
    }
    return open_table(file, read_u32(file, 0));
}

/* Where the field's `bytes` lie; 0 where it is absent, which is no position that a field can have.
 */
static uint64_t field_at(struct flat_table table, unsigned field, unsigned bytes)
{
    uint64_t slot = 4 + 2 * (uint64_t) field;
    uint32_t offset;

    if (!table.in || table.in->broken || slot + 2 > table.vtable_bytes)
        return 0;
    offset = read_u16(table.in, table.vtable + slot);
    if (offset == 0)
        return 0;
    if (offset < 4 || offset + bytes > table.table_bytes) {
        table.in->broken = true;
        return 0;
    }
    return table.at + offset;
}

#define SCALAR(name, type)                                                                         \
    type name(struct flat_table table, unsigned field, type otherwise)                             \
    {                                                                                              \
        uint64_t at = field_at(table, field, sizeof(type));                                        \
        type number;                                                                               \
                                                                                                   \
        if (!at)                                                                                   \
            return otherwise;                                                                      \
        read_number(table.in, at, &number, sizeof number);                                         \
        return number;                                                                             \
    }
SCALAR(flat_i8, int8_t)
SCALAR(flat_u8, uint8_t)
SCALAR(flat_i32, int32_t)
SCALAR(flat_u32, uint32_t)
SCALAR(flat_u64, uint64_t)
SCALAR(flat_float, float)

/* What the field's distance leads to; 0 where it is absent. */
static uint64_t follow(struct flat_table table, unsigned field)
{
    uint64_t at = field_at(table, field, 4);

    return at ? at + read_u32(table.in, at) : 0;
}

struct flat_table flat_child(struct flat_table table, unsigned field)
{
    uint64_t at = follow(table, field);

    return at ? open_table(table.in, at) : (struct flat_table){0};
}

/* ---- vectors ---- */

struct flat_vector flat_items(struct flat_table table, unsigned field, unsigned item_bytes)
{
    uint64_t at = follow(table, field);
    uint32_t count = at ? read_u32(table.in, at) : 0;

    if (!at || !inside(table.in, at + 4, (uint64_t) count * item_bytes))
        return (struct flat_vector){0};
    return (struct flat_vector){table.in, at + 4, count};
}

struct flat_vector flat_text(struct flat_table table, unsigned field)
{
    return flat_items(table, field, 1);
}

struct flat_table flat_item_table(struct flat_vector vector, uint32_t index)
{
    uint64_t at = vector.at + 4 * (uint64_t) index;

    return open_table(vector.in, at + read_u32(vector.in, at));
}

#define ITEM(name, type)                                                                           \
    type name(struct flat_vector vector, uint32_t index)                                           \
    {                                                                                              \
        type number;                                                                               \
                                                                                                   \
        read_number(vector.in, vector.at + index * (uint64_t) sizeof number, &number,              \
                    sizeof number);                                                                \
        return number;                                                                             \
    }
ITEM(flat_item_i32, int32_t)
ITEM(flat_item_float, float)
ITEM(flat_item_u16, uint16_t)
ITEM(flat_item_u8, uint8_t)

const uint8_t *flat_bytes(struct flat_vector vector)
{
    return vector.count ? vector.in->data + vector.at : NULL;
}
