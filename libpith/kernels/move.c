/* Copying and filling elements as bytes. See move.h. */
#include "libpith/kernels/move.h"

#include <string.h>

#define STEP(type)                                                                                 \
    do {                                                                                           \
        const type *source = from;                                                                 \
        type *target = to;                                                                         \
        for (int64_t i = 0; i < n; i++)                                                            \
            target[i] = source[i * step];                                                          \
    } while (0)

void move_run(void *to, const void *from, int64_t step, int64_t n, size_t bytes)
{
    if (step == 1) {
        memcpy(to, from, (size_t) n * bytes);
        return;
    }
    switch (bytes) {
    case 1:
        STEP(uint8_t);
        return;
    case 2:
        STEP(uint16_t);
        return;
    case 4:
        STEP(uint32_t);
        return;
    case 8:
        STEP(uint64_t);
        return;
    default:
        for (int64_t i = 0; i < n; i++)
            memcpy((char *) to + i * (int64_t) bytes,
                   (const char *) from + i * step * (int64_t) bytes, bytes);
    }
}

void move_fill(void *to, const void *element, int64_t n, size_t bytes)
{
    if (bytes == 1)
        memset(to, *(const unsigned char *) element, (size_t) n);
    else
        move_run(to, element, 0, n, bytes);
}
