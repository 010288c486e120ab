/* The list of system calls that a job may make; any other ends the process. What is on it was seen
 * in use by libc, the engines and techniques, or is harmless by itself: reading the clock, asking
 * who we are. */
#include "worker/sandbox.h"

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41 /* names for memory, which malloc of newer libcs sets */
#endif

static const int allowed_calls[] = {
    /* files; Landlock says which */
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(pread64),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(pwrite64),
    SCMP_SYS(lseek),
    SCMP_SYS(open),
    SCMP_SYS(openat),
    SCMP_SYS(close),
    SCMP_SYS(fstat),
    SCMP_SYS(stat),
    SCMP_SYS(lstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(statx),
    SCMP_SYS(access),
    SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2),
    SCMP_SYS(getdents64),
    SCMP_SYS(getcwd),
    SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),
    SCMP_SYS(mkdir),
    SCMP_SYS(mkdirat),
    SCMP_SYS(rmdir),
    SCMP_SYS(unlink),
    SCMP_SYS(unlinkat),
    SCMP_SYS(rename),
    SCMP_SYS(renameat),
    SCMP_SYS(renameat2),
    SCMP_SYS(truncate),
    SCMP_SYS(ftruncate),
    SCMP_SYS(fallocate),
    SCMP_SYS(fadvise64),
    SCMP_SYS(fsync),
    SCMP_SYS(fdatasync),
    SCMP_SYS(flock),
    SCMP_SYS(copy_file_range),
    SCMP_SYS(dup),
    SCMP_SYS(dup2),
    SCMP_SYS(dup3),
    SCMP_SYS(pipe2),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(umask),
    SCMP_SYS(fstatfs),
    SCMP_SYS(statfs),
    /* memory */
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(msync),
    SCMP_SYS(mlock),
    SCMP_SYS(munlock),
    SCMP_SYS(mincore),
    /* threads and time */
    SCMP_SYS(futex),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(get_robust_list),
    SCMP_SYS(set_tid_address),
    SCMP_SYS(rseq),
    SCMP_SYS(gettid),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_setaffinity),
    SCMP_SYS(sched_getscheduler),
    SCMP_SYS(sched_getparam),
    SCMP_SYS(sched_get_priority_max),
    SCMP_SYS(sched_get_priority_min),
    SCMP_SYS(getcpu),
    SCMP_SYS(membarrier),
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(eventfd2),
    /* signals to itself */
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(rt_sigpending),
    SCMP_SYS(rt_sigtimedwait),
    /* questions */
    SCMP_SYS(getpid),
    SCMP_SYS(getppid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(getpgrp),
    SCMP_SYS(getrlimit),
    SCMP_SYS(getrusage),
    SCMP_SYS(getpriority),
    SCMP_SYS(times),
    SCMP_SYS(uname),
    SCMP_SYS(sysinfo),
    SCMP_SYS(getrandom),
};

/* Calls that libraries try and can do without: refused with an errno, as a kernel without them
 * would. */
static const struct {
    int call;
    int error;
} refused_calls[] = {
    {SCMP_SYS(clone3), ENOSYS}, /* its flags lie in memory, where a filter can't look; libc then
                                   uses clone */
    {SCMP_SYS(ioctl), ENOTTY},  /* "is this a terminal?" */
    {SCMP_SYS(mbind), EPERM},
    {SCMP_SYS(get_mempolicy), EPERM},
    {SCMP_SYS(set_mempolicy), EPERM},
    {SCMP_SYS(sched_setscheduler), EPERM},
    {SCMP_SYS(setpriority), EPERM},
    {SCMP_SYS(memfd_create), EPERM},
    {SCMP_SYS(chmod), EPERM},
    {SCMP_SYS(fchmodat), EPERM},
    {SCMP_SYS(utimensat), EPERM},
    {SCMP_SYS(symlink), EPERM},
    {SCMP_SYS(link), EPERM},
    {SCMP_SYS(linkat), EPERM},
    {SCMP_SYS(io_uring_setup), ENOSYS},
};

static const int fcntl_commands[] = {
    F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD,  F_GETFL,
    F_SETFL, F_GETLK,         F_SETLK, F_SETLKW, F_ADD_SEALS,
};

#define FILTER(rc, ...)                                                                            \
    do {                                                                                           \
        if (rc == 0)                                                                               \
            rc = seccomp_rule_add(__VA_ARGS__);                                                    \
    } while (0)

/* Calls whose arguments decide. */
static int add_conditional(scmp_filter_ctx filter)
{
    const uint64_t thread_flags = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD;
    const uint64_t pid = (uint64_t) getpid();
    size_t i;
    int rc = 0;

    FILTER(rc, filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
           SCMP_A0(SCMP_CMP_MASKED_EQ, thread_flags, thread_flags)); /* a thread, not a process */
    FILTER(rc, filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
           SCMP_A0(SCMP_CMP_EQ, pid)); /* abort() */
    FILTER(rc, filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
           SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    FILTER(rc, filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
           SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    FILTER(rc, filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2, SCMP_A0(SCMP_CMP_EQ, 0),
           SCMP_A2(SCMP_CMP_EQ, 0)); /* asking, not setting */
    FILTER(rc, filter, SCMP_ACT_ALLOW, SCMP_SYS(fchmod), 1,
           SCMP_A1(SCMP_CMP_MASKED_EQ, ~UINT64_C(0755),
                   0)); /* nothing that others may write, no set-user-id */
    FILTER(rc, filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
    FILTER(rc, filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_VMA));
    for (i = 0; i < sizeof fcntl_commands / sizeof fcntl_commands[0]; i++)
        FILTER(rc, filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
               SCMP_A1(SCMP_CMP_EQ, (uint64_t) fcntl_commands[i]));
    return rc;
}

int sandbox_limit_calls(struct pith_error *err)
{
#ifdef PITH_SANITIZED /* their runtimes make calls of their own when they report */
    uint32_t otherwise = SCMP_ACT_ERRNO(EACCES); /* no rule may have the same action */
#else
    uint32_t otherwise = SCMP_ACT_KILL_PROCESS;
#endif
    scmp_filter_ctx filter = seccomp_init(otherwise);
    size_t i;
    int rc = filter ? 0 : -ENOMEM;

    for (i = 0; i < sizeof allowed_calls / sizeof allowed_calls[0]; i++)
        FILTER(rc, filter, SCMP_ACT_ALLOW, allowed_calls[i], 0);
    for (i = 0; i < sizeof refused_calls / sizeof refused_calls[0]; i++)
        FILTER(rc, filter, SCMP_ACT_ERRNO((uint32_t) refused_calls[i].error), refused_calls[i].call,
               0);
    if (rc == 0)
        rc = add_conditional(filter);
    if (rc == 0)
        rc = seccomp_load(filter);
    if (filter)
        seccomp_release(filter);
    return rc < 0 ? pith_fail(err, rc, "sandbox: the filter of system calls: %s", strerror(-rc))
                  : 0;
}
