/* Offsets lead backwards from where they are, sizes stand before what they count, and each value says in its type how wide it is
 * or how wide what it leads to. */
#include "libpith/formats/flexbuffer.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

enum { TYPE_INT = 1, TYPE_UINT = 2, TYPE_FLOAT = 3, TYPE_INDIRECT = 5, TYPE_MAP = 9, TYPE_BOOL = 26 };

struct flex {
    const uint8_t *data;
    size_t bytes;
    bool broken;
};

static uint64_t read_bits(struct flex *flex, size_t at, unsigned width)
{
    uint64_t bits = 0;

    if (flex->bytes < width || at > flex->bytes - width)
        flex->broken = true;
    for (unsigned i = 0; i < width && !flex->broken; i++)
        bits |= (uint64_t) flex->data[at + i] << (8 * i);
    return bits;
}

/* Where the offset at `at` leads. */
static size_t follow(struct flex *flex, size_t at, unsigned width)
{
    uint64_t back = read_bits(flex, at, width);

    flex->broken = flex->broken || back > at;
    return flex->broken ? 0 : at - (size_t) back;
}

static bool is_text(const struct flex *flex, size_t at, const char *text)
{
    size_t length = strlen(text) + 1;

    return at <= flex->bytes && length <= flex->bytes - at && !memcmp(flex->data + at, text, length);
}

static double float_of(struct flex *flex, uint64_t bits, unsigned width)
{
    uint32_t half = (uint32_t) bits;
    double wide = 0;
    float narrow = 0;

    if (width == sizeof wide)
        memcpy(&wide, &bits, sizeof wide);
    else if (width == sizeof narrow)
        memcpy(&narrow, &half, sizeof narrow);
    else
        flex->broken = true; /* nobody writes shorter ones */
    return width == sizeof wide ? wide : (double) narrow;
}

/* The number of this type (its width in the lower two bits) in the map's slot at `at`. */
static double number_of(struct flex *flex, size_t at, unsigned width, unsigned type)
{
    unsigned kind = type >> 2;

    if (kind > TYPE_INDIRECT && kind <= TYPE_INDIRECT + TYPE_FLOAT) {
        at = follow(flex, at, width);
        width = 1U << (type & 3);
        kind -= TYPE_INDIRECT;
    }
    const uint64_t bits = read_bits(flex, at, width);
    const unsigned unused = 64 - 8 * width;

    if (kind == TYPE_INT)
        return (double) ((int64_t) (bits << unused) >> unused);
    if (kind == TYPE_UINT || kind == TYPE_BOOL)
        return (double) bits;
    if (kind == TYPE_FLOAT)
        return float_of(flex, bits, width);
    flex->broken = true;
    return 0;
}

int pith_flexbuffer_number(const uint8_t *data, size_t bytes, const char *key, double *out)
{
    struct flex flex = {data, bytes, bytes < 3};
    const unsigned root_width = flex.broken ? 0 : data[bytes - 1], type = flex.broken ? 0 : data[bytes - 2];

    if (type >> 2 != TYPE_MAP || root_width < 1 || root_width > 8 || bytes - 2 < root_width)
        return -EBADMSG;
    const unsigned width = 1U << (type & 3);
    const size_t map = follow(&flex, bytes - 2 - root_width, root_width);

    if (flex.broken || map < 3 * (size_t) width)
        return -EBADMSG;
    const uint64_t count = read_bits(&flex, map - width, width), key_width = read_bits(&flex, map - 2 * width, width);
    const size_t keys = follow(&flex, map - 3 * width, width);

    /* All values and their types lie in the bytes, so that the walk is no longer than these. */
    if (flex.broken || count > (bytes - map) / (width + 1) || key_width < 1 || key_width > 8)
        return -EBADMSG;
    for (size_t i = 0; i < count && !flex.broken; i++) {
        if (!is_text(&flex, follow(&flex, keys + i * (size_t) key_width, (unsigned) key_width), key) || flex.broken)
            continue;
        *out = number_of(&flex, map + i * width, width, data[map + count * width + i]);
        return flex.broken ? -EBADMSG : 1;
    }
    return flex.broken ? -EBADMSG : 0;
}
