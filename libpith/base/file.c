/* Files: read with a limit, mapped; folders made and removed. Writing is in file_writer.c,
 * compression in zstd.c. */
#include "libpith/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void pith_hold_standard_files(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0) /* the lowest that is free */
            return; /* nothing is there to be said, and nowhere to say it */
}

int pith_sync_folder_of(const char *path, struct pith_error *err)
{
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX];
    int fd, rc = 0;

    if (!slash)
        (void) snprintf(folder, sizeof folder, ".");
    else if (slash == path)
        (void) snprintf(folder, sizeof folder, "/");
    else
        (void) snprintf(folder, sizeof folder, "%.*s", (int) (slash - path), path);
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return pith_fail(err, -errno, "%s: %s", folder, strerror(errno));
    if (fsync(fd) < 0 && errno != EINVAL) /* EINVAL: a file system that has no need of it */
        rc = pith_fail(err, -errno, "%s: can't be flushed to disk: %s", folder, strerror(errno));
    close(fd);
    return rc;
}

/* Opens a regular file; a FIFO or device is refused without waiting for its other end. */
static int open_regular(const char *path, struct stat *status, struct pith_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return pith_fail(err, -errno, "%s: %s", path, strerror(errno));
    if (fstat(fd, status) < 0) {
        int rc = pith_fail(err, -errno, "%s: %s", path, strerror(errno));

        close(fd);
        return rc;
    }
    if (!S_ISREG(status->st_mode)) {
        close(fd);
        if (S_ISDIR(status->st_mode))
            return pith_fail(err, -EISDIR, "%s: is a folder, not a file", path);
        return pith_fail(err, -EINVAL, "%s: is no regular file", path);
    }
    return fd;
}

int pith_file_read(const char *path, size_t limit_bytes, struct pith_buffer *out,
                   struct pith_error *err)
{
    struct stat status;
    size_t before = out->bytes;
    int fd = open_regular(path, &status, err);
    int rc = 0;

    if (fd < 0)
        return fd;
    if (status.st_size > 0 && (uint64_t) status.st_size <= limit_bytes &&
        pith_buffer_reserve(out, (size_t) status.st_size) < 0)
        rc = pith_fail(err, -ENOMEM, "%s: no memory for its %lld bytes", path,
                       (long long) status.st_size);
    while (rc == 0) {
        uint8_t piece[16384];
        ssize_t got = read(fd, piece, sizeof piece);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            rc = pith_fail(err, -errno, "%s: %s", path, strerror(errno));
        if (got <= 0)
            break;
        if (out->bytes - before + (size_t) got > limit_bytes) {
            rc = pith_fail(err, -EFBIG, "%s: is larger than the %zu bytes that are allowed here",
                           path, limit_bytes);
            break;
        }
        pith_buffer_append(out, piece, (size_t) got);
        if (out->failed)
            rc = pith_fail(err, -ENOMEM, "%s: no memory for it", path);
    }
    if (rc < 0 && out->data) {
        out->bytes = before;
        out->data[before] = 0;
    }
    close(fd);
    return rc;
}

int pith_mapping_open(struct pith_mapping *out, const char *path, struct pith_error *err)
{
    struct stat status;
    int fd = open_regular(path, &status, err);
    int rc = 0;

    if (fd < 0)
        return fd;
    if (status.st_size == 0) {
        *out = (struct pith_mapping){0};
    } else if ((uint64_t) status.st_size > SIZE_MAX / 2) {
        rc = pith_fail(err, -EFBIG, "%s: is too large to be mapped", path);
    } else {
        void *data = mmap(NULL, (size_t) status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);

        if (data == MAP_FAILED)
            rc = pith_fail(err, -errno, "%s: can't be mapped: %s", path, strerror(errno));
        else
            *out = (struct pith_mapping){.data = data, .bytes = (size_t) status.st_size};
    }
    close(fd);
    return rc;
}

void pith_mapping_close(struct pith_mapping *mapping)
{
    if (!mapping)
        return;
    if (mapping->data)
        (void) munmap((void *) (uintptr_t) mapping->data, mapping->bytes);
    *mapping = (struct pith_mapping){0};
}

int pith_mkdirs(const char *path, unsigned mode, struct pith_error *err)
{
    char part[PATH_MAX];
    struct stat status;
    size_t length = strlen(path);

    if (length == 0 || length >= sizeof part)
        return pith_fail(err, length ? -ENAMETOOLONG : -ENOENT, "a folder with %s can't be made",
                         length ? "so long a path" : "an empty path");
    memcpy(part, path, length + 1);
    for (size_t at = 1; at <= length; at++) {
        char kept = part[at];

        if (kept != '/' && kept != 0)
            continue;
        part[at] = 0;
        if (mkdir(part, mode) < 0 && errno != EEXIST)
            return pith_fail(err, -errno, "%s: the folder can't be made: %s", part,
                             strerror(errno));
        part[at] = kept;
    }
    if (stat(path, &status) < 0)
        return pith_fail(err, -errno, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(status.st_mode))
        return pith_fail(err, -ENOTDIR, "%s: is there already, and is no folder", path);
    return 0;
}

/* Removing a tree takes two open folders, however deep it is: what lies two levels down is first
 * moved up to the top. Deep nesting can then neither use up the stack nor the descriptors. */
struct remover {
    int top;        /* the folder that is emptied */
    unsigned moved; /* the next number for a folder that is moved up */
};

static bool is_dot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static int remover_move_up(struct remover *remover, int folder, const char *name)
{
    for (;;) {
        char moved[32];

        (void) snprintf(moved, sizeof moved, ".removed-%u", remover->moved++);
        if (renameat(folder, name, remover->top, moved) == 0)
            return 0;
        if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR)
            return -errno;
    }
}

/* Empties and removes top/name. */
static int remover_take_folder(struct remover *remover, const char *name)
{
    int fd = openat(remover->top, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    int rc = 0;

    if (!folder) {
        rc = -errno;
        if (fd >= 0)
            close(fd);
        return rc;
    }
    while (rc == 0 && (errno = 0, entry = readdir(folder))) {
        if (is_dot(entry->d_name) || unlinkat(fd, entry->d_name, 0) == 0)
            continue;
        rc = errno == EISDIR || errno == EPERM ? remover_move_up(remover, fd, entry->d_name)
                                               : -errno;
    }
    if (rc == 0 && errno)
        rc = -errno;
    closedir(folder);
    if (rc == 0 && unlinkat(remover->top, name, AT_REMOVEDIR) < 0 && errno != ENOTEMPTY)
        rc = -errno; /* ENOTEMPTY: readdir skipped something while we removed; the next pass takes
                        it */
    return rc;
}

/* One pass over the top folder; *out_count: how many entries it had. */
static int remover_pass(struct remover *remover, DIR *top, size_t *out_count)
{
    struct dirent *entry;
    int rc = 0;

    *out_count = 0;
    rewinddir(top);
    while (rc == 0 && (errno = 0, entry = readdir(top))) {
        if (is_dot(entry->d_name))
            continue;
        ++*out_count;
        if (unlinkat(remover->top, entry->d_name, 0) == 0 || errno == ENOENT)
            continue;
        rc = errno == EISDIR || errno == EPERM ? remover_take_folder(remover, entry->d_name)
                                               : -errno;
    }
    return rc == 0 && errno ? -errno : rc;
}

int pith_remove_tree(const char *path, struct pith_error *err)
{
    struct remover remover = {.top = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
    size_t count = 1;
    DIR *top;
    int rc = 0;

    if (remover.top < 0 && errno == ENOENT)
        return 0;
    top = remover.top < 0 ? NULL : fdopendir(remover.top);
    if (!top) {
        rc = pith_fail(err, -errno, "%s: can't be removed: %s", path, strerror(errno));
        if (remover.top >= 0)
            close(remover.top);
        return rc;
    }
    while (rc == 0 && count)
        rc = remover_pass(&remover, top, &count);
    closedir(top);
    if (rc == 0 && rmdir(path) < 0)
        rc = -errno;
    return rc < 0 ? pith_fail(err, rc, "%s: can't be removed: %s", path, strerror(-rc)) : 0;
}
