/* The order of the walls: what needs rights first, then the rights go, then files, then system
 * calls. */
#include "worker/sandbox.h"

#include "config.h"
#include "libpith/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILES_LIMIT    256       /* a job has some dozens of graphs and samples open at most */
#define IO_CLASS_IDLE  (3 << 13) /* from linux/ioprio.h, which Debian 12's headers lack in part */
#define IO_WHO_PROCESS 1

static int die_with_parent(const struct sandbox *sandbox, struct pith_error *err)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return pith_fail(err, -errno, "sandbox: PR_SET_PDEATHSIG: %s", strerror(errno));
    if (sandbox->parent && getppid() != sandbox->parent) /* it died before the line above */
        return pith_fail(err, -ECANCELED,
                         "sandbox: the process that started this worker has ended");
    return 0;
}

static int limit_one(int what, const char *name, int64_t value, struct pith_error *err)
{
    struct rlimit limit = {.rlim_cur = (rlim_t) value, .rlim_max = (rlim_t) value};
    struct rlimit now;

    if (getrlimit((__rlimit_resource_t) what, &now) == 0 && now.rlim_max < limit.rlim_max)
        limit.rlim_cur = limit.rlim_max = now.rlim_max; /* ours is stricter already */
    if (setrlimit((__rlimit_resource_t) what, &limit) < 0)
        return pith_fail(err, -errno, "sandbox: limit %s to %lld: %s", name, (long long) value,
                         strerror(errno));
    return 0;
}

/* RLIMIT_NPROC is not among them: it counts all processes of the user. The filter of calls lets
 * nothing but threads be made, and their stacks count as address space. */
static int limit_resources(const struct sandbox *sandbox, struct pith_error *err)
{
    int rc = limit_one(RLIMIT_CORE, "core files", 0, err);

    if (rc == 0)
        rc = limit_one(RLIMIT_NOFILE, "open files", FILES_LIMIT, err);
    if (rc == 0 && sandbox->file_bytes > 0)
        rc = limit_one(RLIMIT_FSIZE, "file size", sandbox->file_bytes, err);
    if (rc == 0 && sandbox->seconds > 0)
        rc = limit_one(RLIMIT_CPU, "CPU time", sandbox->seconds, err);
#ifndef PITH_SANITIZED /* sanitizers reserve terabytes of address space */
    if (rc == 0 && sandbox->memory_bytes > 0)
        rc = limit_one(RLIMIT_AS, "memory", sandbox->memory_bytes, err);
#endif
    if (signal(SIGXFSZ, SIG_IGN) ==
        SIG_ERR) /* a file past its limit is then -EFBIG, with a sentence */
        return pith_fail(err, -errno, "sandbox: SIGXFSZ: %s", strerror(errno));
    return rc;
}

/* None of these is worth failing for. */
static void be_nice(const struct sandbox *sandbox)
{
    const struct sched_param none = {0};
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd >= 0) {
        if (write(fd, "1000", 4) != 4) /* under memory pressure this process goes, not the daemon */
            log_debug("sandbox_oom_score", "reason=\"%s\"", strerror(errno));
        close(fd);
    }
    errno = 0;
    if (nice(sandbox->idle ? 19 : 10) < 0 && errno != 0)
        log_debug("sandbox_nice", "reason=\"%s\"", strerror(errno));
    if (!sandbox->idle)
        return;
    if (sched_setscheduler(0, SCHED_IDLE, &none) < 0)
        log_debug("sandbox_scheduler", "reason=\"%s\"", strerror(errno));
    if (syscall(SYS_ioprio_set, IO_WHO_PROCESS, 0, IO_CLASS_IDLE) < 0)
        log_debug("sandbox_io_priority", "reason=\"%s\"", strerror(errno));
}

/* A network namespace with nothing in it, where we have the right to make one. The filter of calls
 * forbids sockets anyway. */
static void leave_network(void)
{
    if (unshare(CLONE_NEWNET) < 0)
        log_debug("sandbox_network", "reason=\"no namespace of its own: %s\"", strerror(errno));
}

/* For a worker that root started: root without capabilities. */
static int drop_capabilities(struct pith_error *err)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct none[2] = {{0}};
    int capability;

    for (capability = 0; capability <= 63; capability++)
        (void) prctl(PR_CAPBSET_DROP, capability, 0, 0,
                     0); /* -EPERM without CAP_SETPCAP: then there is no exec to use it */
    if (syscall(SYS_capset, &header, none) < 0)
        return pith_fail(err, -errno, "sandbox: dropping capabilities: %s", strerror(errno));
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return pith_fail(err, -errno, "sandbox: PR_SET_NO_NEW_PRIVS: %s", strerror(errno));
    if (prctl(PR_SET_DUMPABLE, 0) < 0)
        return pith_fail(err, -errno, "sandbox: PR_SET_DUMPABLE: %s", strerror(errno));
    return 0;
}

int sandbox_enter(const struct sandbox *sandbox, struct pith_error *err)
{
    int rc = die_with_parent(sandbox, err);

    if (rc == 0)
        be_nice(sandbox);
    if (rc == 0)
        leave_network();
    if (rc == 0)
        rc = limit_resources(sandbox, err);
    if (rc == 0)
        rc = drop_capabilities(err);
    if (rc == 0)
        rc = sandbox_limit_files(sandbox, err);
    if (rc == 0)
        rc = sandbox_limit_calls(err);
    return rc;
}
