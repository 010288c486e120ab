/* Blocks of memory, each with a header, and the table of those that are shared: see
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
#define HASHED_LINES 256 /* of a large block */
#ifdef PITH_SANITIZED
#define LEAST_MAPPED SIZE_MAX /* a sanitizer watches what malloc gives */
#else
#define LEAST_MAPPED ((size_t) 32 << 10) /* bytes; the rest of a page is then little */
#endif

struct pith_block {
    struct pith_block *next; /* in its list, or in its bucket where it is shared */
    size_t bytes;
    struct pith_block *shared; /* a reference: to what; else NULL */
    uint64_t hash;             /* of a shared block */
    size_t users;              /* of a shared block: references to it */
    void *memory;              /* the bytes; NULL: a reference */
    size_t mapped_bytes;       /* of a mapping that is them; 0: they lie behind the header, in what malloc gave */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all below */
static struct pith_block *buckets[BUCKETS];

/* Without its header, as weights often are whole pages. All pages at once, which takes two thirds of the time of one fault
 * for each. NULL: no memory. */
static struct pith_block *map_block(size_t bytes, bool at_once)
{
    const size_t page = (size_t) sysconf(_SC_PAGESIZE),
                 mapped = (bytes + page - 1) / page * page;
    struct pith_block *block = calloc(1, sizeof *block);

    if (!block)
        return NULL;
    block->memory = mmap(NULL, mapped, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | (at_once ? MAP_POPULATE : 0), -1, 0);
    if (block->memory == MAP_FAILED) {
        free(block);
        return NULL;
    }
    block->mapped_bytes = mapped;
    block->bytes = bytes;
    return block;
}

/* malloc aligns to 16. */
static struct pith_block *new_block(size_t bytes, bool written_whole)
{
    const size_t all = sizeof(struct pith_block) + bytes + ALIGNMENT;
    struct pith_block *block;
    char *end;

    if (bytes > SIZE_MAX / 2)
        return NULL;
    if (bytes >= LEAST_MAPPED)
        return map_block(bytes, written_whole);
    block = malloc(all);
    if (!block)
        return NULL;
    if (written_whole)
        pith_populate(block, all);
    memset(block, 0, all);
    end = (char *) (block + 1);
    block->memory = end + (ALIGNMENT - (uintptr_t) end % ALIGNMENT) % ALIGNMENT;
    block->bytes = bytes;
    return block;
}

static void delete_block(struct pith_block *block)
{
    if (block->mapped_bytes)
        (void) munmap(block->memory, block->mapped_bytes);
    free(block);
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
    return block->memory;
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

/* 64 bits are mixed with 64 by a multiplication to 128. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    const unsigned __int128 product = (unsigned __int128) a * b;

    return (uint64_t) product ^ (uint64_t) (product >> 64);
}

#define CHAINS 4

/* Of cache lines that lie evenly, as bytes decide in the end. Four chains, as one would wait for its multiplications. */
static uint64_t hash_of(const struct pith_block *block)
{
    static const uint64_t keys[CHAINS] = {UINT64_C(0xa0761d6478bd642f), UINT64_C(0xe7037ed1a0b428db),
                                          UINT64_C(0x8ebc6af09c88c6e3), UINT64_C(0x589965cc75374cc3)};
    const char *bytes = block->memory;
    uint64_t chain[CHAINS] = {UINT64_C(0x9e3779b97f4a7c15) ^ block->bytes, UINT64_C(0xd1b54a32d192ed03),
                              UINT64_C(0x8bb84b93962eacc9), UINT64_C(0x4b33a62ed433d4a3)};

    const size_t apart = block->bytes / ALIGNMENT / HASHED_LINES * ALIGNMENT + ALIGNMENT;

    for (size_t i = 0; i < block->bytes; i += apart) {
        uint64_t word[2 * CHAINS];

        memcpy(word, bytes + i, sizeof word);
        for (int c = 0; c < CHAINS; c++)
            chain[c] = mix(word[2 * c] ^ keys[c], word[2 * c + 1] ^ chain[c]);
    }
    return mix(chain[0] ^ keys[0], chain[1]) ^ mix(chain[2] ^ keys[1], chain[3]);
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
        same = memcmp(other->memory, block->memory, block->bytes) == 0;
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
    return (block->shared ? block->shared : block)->memory == memory;
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
    return same->memory;
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
