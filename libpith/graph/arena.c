/* Memory that is freed as a whole, in chunks that double up to a limit. */
#include "libpith/graph/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CHUNK_BYTES   1024 /* a branch of an If is often a node or two */
#define LARGEST_CHUNK_BYTES ((size_t) 256 * 1024)

struct arena_chunk {
    struct arena_chunk *next;
    size_t used;
    size_t capacity;
    alignas(max_align_t) unsigned char data[];
};

/* A chunk's memory is not cleared as a whole: that would touch pages that nothing is put into. */
static void *take(struct arena *arena, size_t bytes)
{
    struct arena_chunk *chunk = arena->chunks;
    size_t align = alignof(max_align_t);
    void *data;

    if (bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + align - 1) / align * align;
    if (!chunk || chunk->capacity - chunk->used < bytes) {
        size_t capacity = chunk ? chunk->capacity * 2 : FIRST_CHUNK_BYTES;

        if (capacity > LARGEST_CHUNK_BYTES)
            capacity = LARGEST_CHUNK_BYTES;
        if (capacity < bytes)
            capacity = bytes;
        chunk = malloc(sizeof *chunk + capacity);
        if (!chunk)
            return NULL;
        chunk->used = 0;
        chunk->capacity = capacity;
        chunk->next = arena->chunks;
        arena->chunks = chunk;
    }
    data = chunk->data + chunk->used;
    chunk->used += bytes;
    return data;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
    void *data = take(arena, bytes);

    if (data)
        memset(data, 0, bytes);
    return data;
}

void *arena_copy(struct arena *arena, const void *from, size_t bytes)
{
    void *copy = take(arena, bytes);

    if (copy && bytes)
        memcpy(copy, from, bytes);
    return copy;
}

char *arena_text(struct arena *arena, const char *text)
{
    return arena_copy(arena, text, strlen(text) + 1);
}

void arena_done(struct arena *arena)
{
    while (arena->chunks) {
        struct arena_chunk *chunk = arena->chunks;

        arena->chunks = chunk->next;
        free(chunk);
    }
}
