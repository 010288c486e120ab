/* A team of threads. Between the caches of two cores a line takes 50 ns, or 300 where they are far
 * apart, and a step may be worth 2 us; so a step costs one line each way. One word, beside the
 * step, holds its number and how many parts it has: members await a change of it. What is of one
 * member has two lines: `begun`, the number of the last step whose part somebody has begun, which
 * is the member's own but when the caller takes a part whose thread has not come; and `done`, which
 * the caller awaits. So a member that sleeps, or that a busy machine doesn't let run, costs its
 * share of the work and hardly a wait. Both sides spin first and then sleep on a futex. See team.h.
 */
#include "plugins/engines/native/team.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SPIN_ROUNDS                                                                                \
    4000 /* of a pause each: 50 to 200 us, by CPU; longer than any step that isn't cut */
#define GRACE_ROUNDS 100 /* 1 us and more, in which a member that is there will have finished */
#define PARTS_BITS   6
_Static_assert(TEAM_MAX_THREADS < 1 << PARTS_BITS, "the number of parts must fit");

struct member {
    _Alignas(64) atomic_ullong begun;
    _Alignas(64) atomic_ullong done;
    _Alignas(64) struct team *team;
    uint32_t part;
    bool bound; /* the member's: there is no core but the caller's for it */
    pthread_t thread;
    _Alignas(64) bool late; /* the caller's: it took the last part itself */
};

struct team {
    /* The number of the step and, in the lowest bits, its parts. What lies beside it is written
     * before it, and read by who has begun a part, for which the caller waits. */
    _Alignas(64) atomic_ullong call;
    struct pith_step *step;
    int core;                      /* that the caller is on */
    _Alignas(64) atomic_uint naps; /* how often members have gone to sleep since the start */
    unsigned naps_ended;           /* the caller's: those of them that it has woken */
    atomic_bool closing, awaited;  /* awaited: the caller sleeps until a part is done */
    uint32_t member_count;
    struct member members[TEAM_MAX_THREADS];
};

static void pause_briefly(void)
{
#if defined __x86_64__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("yield");
#endif
}

/* The half of the word that changes each time. */
static void *changing_half(atomic_ullong *word)
{
    return (char *) word + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0);
}

static void sleep_while(atomic_ullong *word, unsigned long long value)
{
    (void) syscall(SYS_futex, changing_half(word), FUTEX_WAIT_PRIVATE, (uint32_t) value, NULL, NULL,
                   0);
}

static void wake_all(atomic_ullong *word)
{
    (void) syscall(SYS_futex, changing_half(word), FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

/* Returns the new call. */
static unsigned long long await_call(struct team *team, unsigned long long seen)
{
    unsigned long long now;

    for (int i = 0; i < SPIN_ROUNDS; i++) {
        now = atomic_load_explicit(&team->call, memory_order_acquire);
        if (now != seen)
            return now;
        pause_briefly();
    }
    for (;;) {
        atomic_fetch_add(&team->naps, 1);
        now = atomic_load(&team->call);
        if (now != seen)
            return now;
        sleep_while(&team->call, seen);
    }
}

/* Whether the member's part of that call is ours now: nobody had begun it. Calls grow, so that one
 * from long ago is seen to be over. */
static bool take(struct member *member, unsigned long long call)
{
    unsigned long long begun = atomic_load(&member->begun);

    while (begun < call)
        if (atomic_compare_exchange_weak(&member->begun, &begun, call))
            return true;
    return false;
}

static uint32_t parts_of(unsigned long long call)
{
    return (uint32_t) (call & ((1U << PARTS_BITS) - 1));
}

/* Two threads of a team on one core wait for each other, and a busy machine leaves them there for
 * seconds, since it does not know that they belong together: the member goes elsewhere. Where it
 * may be is as before. */
static void leave_core(struct member *member, int core)
{
    cpu_set_t allowed, others;

    if (core < 0 || core >= CPU_SETSIZE || sched_getcpu() != core || member->bound)
        return;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return;
    others = allowed;
    CPU_CLR(core, &others);
    member->bound = CPU_COUNT(&others) == 0;
    if (!member->bound && sched_setaffinity(0, sizeof others, &others) == 0)
        (void) sched_setaffinity(0, sizeof allowed,
                                 &allowed); /* best effort: else it keeps away from that core */
}

static void *member_main_on_thread(void *argument)
{
    struct member *member = argument;
    struct team *team = member->team;
    unsigned long long call = 0;
    int core;

    for (;;) {
        call = await_call(team, call);
        if (atomic_load(&team->closing))
            return NULL;
        if (member->part >= parts_of(call) || !take(member, call))
            continue;
        core = team->core;
        team->step->kernel->run_part(team->step, member->part, parts_of(call));
        atomic_store(&member->done, call);
        if (atomic_load(&team->awaited))
            wake_all(&member->done);
        leave_core(member, core);
    }
}

/* Each nap is ended once: who is woken may take long to come. Naps are read before the call
 * changes, so that those read are of members that await a change before this one, and none is taken
 * for ended that begins after it. One that is missed is ended by the next call. Returns the call.
 */
static unsigned long long call_members(struct team *team, uint32_t parts)
{
    const unsigned naps = atomic_load(&team->naps);
    const unsigned long long last = atomic_load_explicit(&team->call, memory_order_relaxed),
                             call = (((last >> PARTS_BITS) + 1) << PARTS_BITS) + parts;

    atomic_store_explicit(&team->call, call, memory_order_release);
    if (naps != team->naps_ended) {
        team->naps_ended = naps;
        wake_all(&team->call);
    }
    return call;
}

int team_open(struct team **out, uint32_t threads)
{
    struct team *team = aligned_alloc(64, (sizeof *team + 63) / 64 * 64);
    sigset_t all, before;

    *out = NULL;
    if (!team)
        return -ENOMEM;
    *team = (struct team){0};
    threads = threads > TEAM_MAX_THREADS ? TEAM_MAX_THREADS : threads;
    sigfillset(&all); /* signals are for the host's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (uint32_t i = 0; i + 1 < threads; i++) {
        team->members[i].team = team;
        team->members[i].part = i + 1;
        if (pthread_create(&team->members[i].thread, NULL, member_main_on_thread,
                           &team->members[i]) != 0)
            break;
        team->member_count++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!team->member_count) {
        free(team);
        return 0;
    }
    *out = team;
    return 0;
}

uint32_t team_size(const struct team *team)
{
    return team->member_count + 1;
}

/* Waits until the member's part is done; a part whose thread has not come is done here. */
static void finish(struct team *team, struct member *member, unsigned long long call)
{
    unsigned long long done;

    for (int i = 0; i < SPIN_ROUNDS; i++) {
        if (atomic_load_explicit(&member->done, memory_order_acquire) == call) {
            member->late = false;
            return;
        }
        if ((i == GRACE_ROUNDS || (i == 0 && member->late)) && take(member, call)) {
            team->step->kernel->run_part(team->step, member->part, parts_of(call));
            member->late = true;
            return;
        }
        pause_briefly();
    }
    atomic_store(&team->awaited, true);
    while ((done = atomic_load(&member->done)) != call)
        sleep_while(&member->done, done);
    atomic_store(&team->awaited, false);
    member->late = false;
}

void team_run(struct team *team, struct pith_step *step)
{
    const uint32_t size = team_size(team), parts = step->parts < size ? step->parts : size;
    unsigned long long call;

    team->step = step;
    team->core = sched_getcpu();
    call = call_members(team, parts);
    step->kernel->run_part(step, 0, parts);
    for (uint32_t i = 0; i + 1 < parts; i++)
        finish(team, &team->members[i], call);
}

void team_close(struct team *team)
{
    if (!team)
        return;
    atomic_store(&team->closing, true);
    (void) call_members(team, 0);
    wake_all(&team->call); /* no call comes after this one to end a nap that it missed */
    for (uint32_t i = 0; i < team->member_count; i++)
        pthread_join(team->members[i].thread, NULL);
    free(team);
}
