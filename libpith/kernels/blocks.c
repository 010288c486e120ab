/* Blocks of memory, each with a header before it, and the table of those that are shared: see
 * blocks.h. What uses a shared block has a reference in its list instead, a header alone. */
#include <config.h>

#include "libpith/kernels/blocks.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libpith/base/populate.h"

#define ALIGNMENT    64 /* a cache line, and the widest vector register */
#define LEAST_SHARED 256 /* bytes; below, a reference costs too much of what it saves */
#define BUCKETS      256
#ifdef PITH_SANITIZED
#define LEAST_MAPPED SIZE_MAX /* a sanitizer watches what malloc gives */
#else
#define LEAST_MAPPED ((size_t) 64 << 10) /* bytes; the rest of a page is then little */
#endif

struct pith_block {
    struct pith_block *next; /* in its list, or in its bucket where it is shared */
    size_t bytes;
    struct pith_block *shared; /* a reference: to what; else NULL, and the bytes lie behind the header */
    uint64_t hash;             /* of a shared block */
    size_t users;              /* of a shared block: references to it */
    void *start;               /* what malloc gave; NULL: the header itself */
    size_t mapped_bytes;       /* of a mapping that begins with the header; 0: from malloc */
};

/* The header takes a whole unit of alignment, so that bytes behind it are aligned as it is. */
static const size_t header_bytes = ALIGNMENT;
_Static_assert(sizeof(struct pith_block) <= ALIGNMENT, "the header must fit before the bytes");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all below */
static struct pith_block *buckets[BUCKETS];

static void *bytes_of(const struct pith_block *block)
{
    return (char *) (uintptr_t) block + header_bytes;
}

/* All pages at once, which takes two thirds of the time of one fault for each. NULL: no memory. */
static struct pith_block *map_block(size_t bytes, bool at_once)
{
    const size_t page = (size_t) sysconf(_SC_PAGESIZE),
                 mapped = (header_bytes + bytes + page - 1) / page * page;
    struct pith_block *block =
        mmap(NULL, mapped, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | (at_once ? MAP_POPULATE : 0), -1, 0);

    if (block == MAP_FAILED)
        return NULL;
    block->mapped_bytes = mapped;
    block->bytes = bytes;
    return block;
}

/* malloc aligns to 16. */
static struct pith_block *new_block(size_t bytes, bool written_whole)
{
    const size_t all = header_bytes + bytes + ALIGNMENT;
    struct pith_block *block;
    char *start, *at;

    if (bytes > SIZE_MAX / 2)
        return NULL;
    if (bytes >= LEAST_MAPPED)
        return map_block(bytes, written_whole);
    start = malloc(all);
    if (!start)
        return NULL;
    if (written_whole)
        pith_populate(start, all);
    memset(start, 0, all);
    at = start + (ALIGNMENT - (uintptr_t) start % ALIGNMENT) % ALIGNMENT;
    block = (struct pith_block *) (void *) at;
    block->start = start;
    block->bytes = bytes;
    return block;
}

static void delete_block(struct pith_block *block)
{
    if (block->mapped_bytes)
        (void) munmap(block, block->mapped_bytes);
    else
        free(block->start ? block->start : block);
}

static void *alloc(struct pith_blocks *blocks, size_t bytes, bool written_whole)
{
    struct pith_block *block;

    if (bytes > SIZE_MAX - ALIGNMENT)
        return NULL;
    block = new_block((bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT, written_whole);
    if (!block)
        return NULL;
    block->next = blocks->first;
    blocks->first = block;
    blocks->bytes += block->bytes;
    return bytes_of(block);
}

void *pith_blocks_alloc(struct pith_blocks *blocks, size_t bytes)
{
    return alloc(blocks, bytes, true);
}

void *pith_blocks_alloc_sparse(struct pith_blocks *blocks, size_t bytes)
{
    return alloc(blocks, bytes, false);
}

/* ---- shared ones ---- */

/* 64 bits of each 32 bytes are mixed by a multiplication to 128; sizes are multiples of 64. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    const unsigned __int128 product = (unsigned __int128) a * b;

    return (uint64_t) product ^ (uint64_t) (product >> 64);
}

static uint64_t hash_of(const struct pith_block *block)
{
    const char *bytes = bytes_of(block);
    uint64_t first = UINT64_C(0x9e3779b97f4a7c15) ^ block->bytes,
             second = UINT64_C(0xd1b54a32d192ed03);

    for (size_t i = 0; i < block->bytes; i += 32) {
        uint64_t word[4];

        memcpy(word, bytes + i, sizeof word);
        first = mix(word[0] ^ UINT64_C(0xa0761d6478bd642f), word[1] ^ first);
        second = mix(word[2] ^ UINT64_C(0xe7037ed1a0b428db), word[3] ^ second);
    }
    return mix(first ^ UINT64_C(0x8ebc6af09c88c6e3), second);
}

/* With the lock: the shared block takes a user off, and goes with its last one. */
static void drop(struct pith_block *shared)
{
    struct pith_block **at = &buckets[shared->hash % BUCKETS];

    if (--shared->users > 0)
        return;
    while (*at != shared)
        at = &(*at)->next;
    *at = shared->next;
    delete_block(shared);
}

/* With the lock, which is free while bytes are compared: a user keeps them where they are. NULL: there is none. */
static struct pith_block *find_same(const struct pith_block *block, uint64_t hash)
{
    struct pith_block *other = buckets[hash % BUCKETS];

    while (other) {
        struct pith_block *next;
        bool same;

        if (other->hash != hash || other->bytes != block->bytes) {
            other = other->next;
            continue;
        }
        other->users++;
        (void) pthread_mutex_unlock(&lock);
        same = memcmp(bytes_of(other), bytes_of(block), block->bytes) == 0;
        (void) pthread_mutex_lock(&lock);
        if (same)
            return other;
        next = other->next;
        drop(other);
        other = next;
    }
    return NULL;
}

static bool is_at(const struct pith_block *block, const void *memory)
{
    return bytes_of(block->shared ? block->shared : block) == memory;
}

static struct pith_block **find_place(struct pith_blocks *blocks, const void *memory)
{
    struct pith_block **at = &blocks->first;

    while (*at && !is_at(*at, memory))
        at = &(*at)->next;
    return at;
}

bool pith_blocks_have(const struct pith_blocks *blocks, const void *memory)
{
    const struct pith_block *block = blocks->first;

    while (block && memory && !is_at(block, memory))
        block = block->next;
    return block && memory;
}

const void *pith_blocks_share(struct pith_blocks *blocks, const void *memory)
{
    struct pith_block **at = memory ? find_place(blocks, memory) : NULL;
    struct pith_block *block = at ? *at : NULL, *reference, *same;
    uint64_t hash;

    if (!block || block->shared || block->bytes < LEAST_SHARED)
        return memory;
    reference = calloc(1, sizeof *reference);
    if (!reference)
        return memory;
    hash = hash_of(block);
    reference->next = block->next;
    reference->bytes = block->bytes;
    *at = reference;
    (void) pthread_mutex_lock(&lock);
    same = find_same(block, hash);
    if (!same) {
        same = block;
        block->hash = hash;
        block->users = 1;
        block->next = buckets[hash % BUCKETS];
        buckets[hash % BUCKETS] = block;
    }
    (void) pthread_mutex_unlock(&lock);
    if (same != block)
        delete_block(block);
    reference->shared = same;
    return bytes_of(same);
}

struct pith_blocks_shared pith_blocks_shared(void)
{
    struct pith_blocks_shared all = {0};

    (void) pthread_mutex_lock(&lock);
    for (size_t b = 0; b < BUCKETS; b++)
        for (const struct pith_block *block = buckets[b]; block; block = block->next) {
            all.count++;
            all.bytes += block->bytes;
        }
    (void) pthread_mutex_unlock(&lock);
    return all;
}

/* ---- freeing ---- */

static void forget(struct pith_block *block)
{
    if (block->shared) {
        (void) pthread_mutex_lock(&lock);
        drop(block->shared);
        (void) pthread_mutex_unlock(&lock);
    }
    delete_block(block);
}

void pith_blocks_free(struct pith_blocks *blocks, const void *memory)
{
    struct pith_block **at = memory ? find_place(blocks, memory) : NULL, *block;

    if (!at || !*at)
        return;
    block = *at;
    *at = block->next;
    blocks->bytes -= block->bytes;
    forget(block);
}

void pith_blocks_done(struct pith_blocks *blocks)
{
    while (blocks->first) {
        struct pith_block *block = blocks->first;

        blocks->first = block->next;
        forget(block);
    }
    blocks->bytes = 0;
}
