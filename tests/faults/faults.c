/* Faults: see faults.h. Only the thread that runs the call meets them. */
#include "tests/faults/faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <stdbool.h>
#include <sys/types.h>

#define FAULTS_MAX 20000 /* a call that needs more is not one for this test */
#define DEEP       24

static __thread struct {
    bool armed;
    enum faults_kind kind;
    long countdown; /* the fault comes as this reaches 0 */
    bool came;
    long blocks; /* got less freed while armed */
    void *trace[DEEP];
    int depth;
} faults;

static bool fault_now(enum faults_kind kind)
{
    if (!faults.armed || faults.kind != kind || faults.countdown <= 0 || --faults.countdown > 0)
        return false;
    faults.came = true;
    faults.armed = false; /* backtrace may allocate */
    faults.depth = backtrace(faults.trace, DEEP);
    faults.armed = true;
    return true;
}

/* The next function of that name, looked up once. */
#define NEXT(name)                                                                                 \
    static __typeof__(&name) next;                                                                 \
    if (!next)                                                                                     \
    next = (__typeof__(&name)) dlsym(RTLD_NEXT, #name)

/* The address sanitizer's own, where there is one: it allocates before it can be looked up. */
#define NEXT_ALLOCATOR(name)                                                                       \
    extern __typeof__(name) __interceptor_##name __attribute__((weak));                            \
    static __typeof__(&name) next;                                                                 \
    if (!next)                                                                                     \
    next =                                                                                         \
        __interceptor_##name ? &__interceptor_##name : (__typeof__(&name)) dlsym(RTLD_NEXT, #name)

static void *count_block(void *block)
{
    if (block && faults.armed)
        faults.blocks++;
    return block;
}

#define FAIL_MEMORY()                                                                              \
    if (fault_now(FAULTS_MEMORY)) {                                                                \
        errno = ENOMEM;                                                                            \
        return NULL;                                                                               \
    }

void *malloc(size_t bytes)
{
    NEXT_ALLOCATOR(malloc);
    FAIL_MEMORY();
    return count_block(next(bytes));
}

void *calloc(size_t count, size_t bytes)
{
    NEXT_ALLOCATOR(calloc);
    FAIL_MEMORY();
    return count_block(next(count, bytes));
}

void *realloc(void *block, size_t bytes)
{
    NEXT_ALLOCATOR(realloc);
    void *moved;

    if (bytes)
        FAIL_MEMORY();
    moved = next(block, bytes);
    if (!block)
        return count_block(moved);
    if (!moved && !bytes && faults.armed)
        faults.blocks--;
    return moved;
}

void *reallocarray(void *block, size_t count, size_t bytes)
{
    size_t product;

    if (__builtin_mul_overflow(count, bytes, &product)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(block, product);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    NEXT_ALLOCATOR(aligned_alloc);
    FAIL_MEMORY();
    return count_block(next(alignment, bytes));
}

int posix_memalign(void **out, size_t alignment, size_t bytes)
{
    NEXT_ALLOCATOR(posix_memalign);
    int rc;

    if (fault_now(FAULTS_MEMORY))
        return ENOMEM;
    rc = next(out, alignment, bytes);
    if (rc == 0)
        (void) count_block(*out);
    return rc;
}

void free(void *block)
{
    NEXT_ALLOCATOR(free);
    if (block && faults.armed)
        faults.blocks--;
    next(block);
}

/* The address sanitizer has its own, which take memory past malloc. */
static char *copy_text(const char *text, size_t length)
{
    char *copy = malloc(length + 1);

    if (!copy)
        return NULL;
    memcpy(copy, text, length);
    copy[length] = 0;
    return copy;
}

char *strndup(const char *text, size_t limit)
{
    return copy_text(text, strnlen(text, limit));
}

char *strdup(const char *text)
{
    return copy_text(text, strlen(text));
}

#define FAIL_DISK(why)                                                                             \
    if (fault_now(FAULTS_DISK)) {                                                                  \
        errno = (why);                                                                             \
        return -1;                                                                                 \
    }

ssize_t write(int fd, const void *data, size_t bytes)
{
    NEXT(write);
    FAIL_DISK(ENOSPC);
    return next(fd, data, bytes);
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t at)
{
    NEXT(pwrite);
    FAIL_DISK(ENOSPC);
    return next(fd, data, bytes, at);
}

int ftruncate(int fd, off_t bytes)
{
    NEXT(ftruncate);
    FAIL_DISK(ENOSPC);
    return next(fd, bytes);
}

int fsync(int fd)
{
    NEXT(fsync);
    FAIL_DISK(EIO);
    return next(fd);
}

int fdatasync(int fd)
{
    NEXT(fdatasync);
    FAIL_DISK(EIO);
    return next(fd);
}

int rename(const char *from, const char *to)
{
    NEXT(rename);
    FAIL_DISK(EIO);
    return next(from, to);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    NEXT(renameat);
    FAIL_DISK(EIO);
    return next(from_folder, from, to_folder, to);
}

static int open_files(void)
{
    int count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* OpenSSL 3.0 itself loses blocks when some of its own allocations fail; nothing here can free
 * those. */
static bool came_in_openssl(void)
{
    Dl_info info;

    /* The first frames are this file's (and the sanitizer's), then the one that asked for memory.
     */
    for (int i = 0; faults.came && i < faults.depth && i < 6; i++)
        if (dladdr(faults.trace[i], &info) && info.dli_fname && strstr(info.dli_fname, "libcrypto"))
            return true;
    return false;
}

/* The dynamic linker's blocks count as reachable by who asked for them, which is now this file. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libcrypto\nleak:_dl_map_object_deps\n";
}

/* One run with the n-th fault; false where the call got by without. */
static bool run_with(enum faults_kind kind, long n, faults_call *call,
                     void (*after)(void *user, int rc), void *user)
{
    struct pith_error err = {0};
    int files = open_files();
    int rc;

    faults.blocks = 0;
    faults.came = false;
    faults.countdown = n;
    faults.kind = kind;
    faults.armed = true;
    rc = call(user, &err);
    ERR_clear_error(); /* OpenSSL keeps the last errors of a thread */
    faults.armed = false;
    if (came_in_openssl())
        faults.blocks = 0;
    if (faults.blocks || open_files() != files || (!faults.came && rc < 0)) {
        backtrace_symbols_fd(faults.trace, faults.depth, STDERR_FILENO);
        fail_msg("fault %ld%s: %d (%s), blocks left: %ld, files left open: %d", n,
                 faults.came ? "" : " didn't come", rc, err.text, faults.blocks,
                 open_files() - files);
    }
    if (after)
        after(user, rc);
    return faults.came;
}

void faults_each(enum faults_kind kind, faults_call *call, void (*after)(void *user, int rc),
                 void *user)
{
    struct pith_error err = {0};
    long n = 1;

    ERR_clear_error(); /* makes the thread's list, once; so does backtrace with what it needs */
    faults.depth = backtrace(faults.trace, DEEP);
    assert_ok(call(user, &err), &err); /* and the libraries that it uses */
    if (after)
        after(user, 0);
    while (run_with(kind, n, call, after, user))
        assert_true(++n < FAULTS_MAX);
    print_message("# %ld faults\n", n - 1);
}
