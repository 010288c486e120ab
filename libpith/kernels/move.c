/* Copying and filling elements as bytes. See move.h. */
#include "libpith/kernels/move.h"

#include <string.h>

/* Elements may be several of the model's, taken together: they need not be aligned. */
typedef uint16_t loose_16 __attribute__((aligned(1), may_alias));
typedef uint32_t loose_32 __attribute__((aligned(1), may_alias));
typedef uint64_t loose_64 __attribute__((aligned(1), may_alias));

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
        STEP(loose_16);
        return;
    case 4:
        STEP(loose_32);
        return;
    case 8:
        STEP(loose_64);
        return;
    default:
        for (int64_t i = 0; i < n; i++)
            memcpy((char *) to + i * (int64_t) bytes,
                   (const char *) from + i * step * (int64_t) bytes, bytes);
    }
}

/* `bytes` is a constant where this is called, so that a block is a load and a store. */
static inline void blocks_of(char *to, int64_t to_step, const char *from, int64_t from_step,
                             int64_t count, size_t bytes)
{
    for (int64_t i = 0; i < count; i++, to += to_step, from += from_step)
        memcpy(to, from, bytes);
}

void move_blocks(void *to, int64_t to_step, const void *from, int64_t from_step, int64_t count,
                 size_t bytes)
{
    switch (bytes) {
    case 1:
        blocks_of(to, to_step, from, from_step, count, 1);
        return;
    case 4:
        blocks_of(to, to_step, from, from_step, count, 4);
        return;
    case 8:
        blocks_of(to, to_step, from, from_step, count, 8);
        return;
    case 16:
        blocks_of(to, to_step, from, from_step, count, 16);
        return;
    default:
        blocks_of(to, to_step, from, from_step, count, bytes);
    }
}

void move_fill(void *to, const void *element, int64_t n, size_t bytes)
{
    if (bytes == 1)
        memset(to, *(const unsigned char *) element, (size_t) n);
    else
        move_run(to, element, 0, n, bytes);
}
