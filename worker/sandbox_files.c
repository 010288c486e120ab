/* Landlock: which files the worker may touch. By raw system calls, as glibc has no wrappers; the
 * numbers are the kernel's ABI (linux/landlock.h), written out since older headers lack the newer
 * ones. */
#include "worker/sandbox.h"

#include "libpith/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined SYS_landlock_create_ruleset

#define FS_EXECUTE    (UINT64_C(1) << 0)
#define FS_WRITE_FILE (UINT64_C(1) << 1)
#define FS_READ_FILE  (UINT64_C(1) << 2)
#define FS_READ_DIR   (UINT64_C(1) << 3)
#define FS_ALL_V1     ((UINT64_C(1) << 13) - 1) /* up to MAKE_SYM */
#define FS_MAKE_CHAR  (UINT64_C(1) << 6)
#define FS_MAKE_SOCK  (UINT64_C(1) << 9)
#define FS_MAKE_FIFO  (UINT64_C(1) << 10)
#define FS_MAKE_BLOCK (UINT64_C(1) << 11)
#define FS_MAKE_SYM   (UINT64_C(1) << 12)
#define FS_REFER      (UINT64_C(1) << 13) /* since version 2 */
#define FS_TRUNCATE   (UINT64_C(1) << 14) /* 3 */
#define FS_IOCTL_DEV  (UINT64_C(1) << 15) /* 5 */
#define NET_ALL       UINT64_C(3)         /* 4: bind and connect of TCP */
#define SCOPE_ALL     UINT64_C(3)         /* 6: abstract sockets, signals */

struct ruleset {
    uint64_t fs, net, scope;
};
struct path_rule {
    uint64_t allowed;
    int32_t parent_fd;
} __attribute__((packed));

#define FS_READ      (FS_READ_FILE | FS_READ_DIR)
#define FS_OF_A_FILE (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)

/* What libraries read about the machine: the number of CPUs, memory, randomness. */
static const char *const machine_files[] = {
    "/proc/cpuinfo",           "/proc/meminfo", "/proc/self",
    "/sys/devices/system/cpu", "/dev/urandom",  "/dev/null",
};

static int allow(int ruleset, const char *path, uint64_t allowed, bool required,
                 struct pith_error *err)
{
    struct path_rule rule = {.allowed = allowed};
    struct stat status;
    int rc = 0;
    int fd = open(path, O_PATH | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &status) < 0) {
        rc = required ? pith_fail(err, -errno, "sandbox: %s: %s", path, strerror(errno)) : 0;
        goto done;
    }
    if (!S_ISDIR(status.st_mode))
        rule.allowed &= FS_OF_A_FILE; /* others are refused for files */
    rule.parent_fd = fd;
    if (syscall(SYS_landlock_add_rule, ruleset, 1 /* PATH_BENEATH */, &rule, 0) < 0)
        rc = pith_fail(err, -errno, "sandbox: allowing %s: %s", path, strerror(errno));
done:
    if (fd >= 0)
        close(fd);
    return rc;
}

static int allow_list(int ruleset, const char *paths, uint64_t allowed, struct pith_error *err)
{
    char *copy = strdup(paths), *rest = copy, *path;
    int rc = copy ? 0 : -ENOMEM;

    while (rc == 0 && (path = strsep(&rest, ":")))
        if (*path)
            rc = allow(ruleset, path, allowed, false, err);
    free(copy);
    return rc;
}

static struct ruleset ruleset_of_version(long version)
{
    struct ruleset all = {.fs = FS_ALL_V1};

    if (version >= 2)
        all.fs |= FS_REFER;
    if (version >= 3)
        all.fs |= FS_TRUNCATE;
    if (version >= 4)
        all.net = NET_ALL;
    if (version >= 5)
        all.fs |= FS_IOCTL_DEV;
    if (version >= 6)
        all.scope = SCOPE_ALL;
    return all;
}

int sandbox_limit_files(const struct sandbox *sandbox, struct pith_error *err)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* VERSION */);
    struct ruleset all = ruleset_of_version(version);
    uint64_t own = all.fs & ~(FS_EXECUTE | FS_MAKE_CHAR | FS_MAKE_BLOCK | FS_MAKE_SOCK |
                              FS_MAKE_FIFO | FS_MAKE_SYM | FS_IOCTL_DEV);
    size_t bytes = version >= 6 ? sizeof all : version >= 4 ? 16 : 8;
    size_t i;
    int ruleset, rc;

    if (version < 1) {
        log_warn("sandbox_without_landlock",
                 "reason=\"this kernel has no Landlock (%s): only file permissions keep a job in "
                 "its folder\"",
                 strerror(errno));
        return 0;
    }
    ruleset = (int) syscall(SYS_landlock_create_ruleset, &all, bytes, 0);
    if (ruleset < 0)
        return pith_fail(err, -errno, "sandbox: Landlock rules: %s", strerror(errno));
    rc = allow(ruleset, sandbox->job_folder, own, true, err);
    if (rc == 0 && sandbox->read_path)
        rc = allow_list(ruleset, sandbox->read_path, FS_READ, err);
    for (i = 0; rc == 0 && i < sizeof machine_files / sizeof machine_files[0]; i++)
        rc = allow(ruleset, machine_files[i], FS_READ, false, err);
    if (rc == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        rc = pith_fail(err, -errno, "sandbox: Landlock: %s", strerror(errno));
    close(ruleset);
    return rc;
}

#else

int sandbox_limit_files(const struct sandbox *sandbox, struct pith_error *err)
{
    (void) sandbox;
    (void) err;
    log_warn("sandbox_without_landlock",
             "reason=\"built with headers that have no Landlock: only file "
             "permissions keep a job in its folder\"");
    return 0;
}

#endif
