/* A reader of FlexBuffers (flatbuffers.dev/flatbuffers_internals, "FlexBuffers"), as far as options of custom operators go: the
 * numbers of the map that is their root, by name. The bytes stay where they are; each position and size is checked before
 * it is followed. */
#ifndef PITH_FORMATS_FLEXBUFFER_H
#define PITH_FORMATS_FLEXBUFFER_H

#include <stddef.h>
#include <stdint.h>

/* *out: an integer, a float or a boolean. Returns 1, or 0 where there is no such key; -EBADMSG where the root is no map, where the
 * value is no number, or where anything leads outside of the bytes. */
int pith_flexbuffer_number(const uint8_t *data, size_t bytes, const char *key, double *out);

#endif
