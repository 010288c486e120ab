/* Memory that is freed as a whole: what dies with a graph. */
#ifndef PITH_GRAPH_ARENA_H
#define PITH_GRAPH_ARENA_H

#include <stddef.h>

struct arena_chunk;
struct arena { /* zeroed: an empty one */
    struct arena_chunk *chunks;
};

/* Zeroed, aligned for any type. NULL: no memory. */
void *arena_alloc(struct arena *arena, size_t bytes);
void *arena_copy(struct arena *arena, const void *from, size_t bytes);
char *arena_text(struct arena *arena, const char *text);
void arena_done(struct arena *arena);

#endif
