/* A team of threads. One word holds the number of the step and a bit for each part that nobody has
 * begun: a member takes its own part, and the caller, once done with its first one, takes those
 * whose threads have not come yet. So a member that sleeps, or that a busy machine doesn't let run,
 * costs its share of the work and no wait. Both sides spin first and then sleep on a futex. See
 * team.h. */
#include "plugins/engines/native/team.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SPIN_ROUNDS 4000 /* of a pause each: 50 to 200 us, by CPU; longer than any step that isn't cut */

struct member {
    struct team *team;
    uint32_t part;
    pthread_t thread;
};

struct team {
    struct pith_step
        *step; /* written by the caller before it offers parts, read by whoever has taken one */
    uint32_t parts;
    atomic_bool closing;
    _Alignas(64)
        atomic_ullong offer; /* the generation in the high half, parts to be taken in the low one */
    atomic_uint generation;  /* what members await */
    atomic_uint naps;        /* how often members have gone to sleep since the start */
    unsigned naps_ended;     /* the caller's: those of them that it has woken */
    _Alignas(64) atomic_uint left; /* parts that are not finished */
    atomic_bool awaited;           /* the caller sleeps until `left` is 0 */
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

static void sleep_while(atomic_uint *word, unsigned value)
{
    (void) syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake_all(atomic_uint *word)
{
    (void) syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

/* Returns the new generation. */
static unsigned await_generation(struct team *team, unsigned seen)
{
    unsigned now;

    for (int i = 0; i < SPIN_ROUNDS; i++) {
        now = atomic_load(&team->generation);
        if (now != seen)
            return now;
        pause_briefly();
    }
    for (;;) {
        atomic_fetch_add(&team->naps, 1);
        now = atomic_load(&team->generation);
        if (now != seen)
            return now;
        sleep_while(&team->generation, seen);
    }
}

/* Whether the part of that generation is ours now: nobody had begun it. While it isn't finished,
 * the caller makes no other offer. */
static bool take(struct team *team, unsigned generation, uint32_t part)
{
    const unsigned long long bit = 1ULL << part;
    unsigned long long offer = atomic_load(&team->offer);

    while (offer >> 32 == generation && (offer & bit))
        if (atomic_compare_exchange_weak(&team->offer, &offer, offer & ~bit))
            return true;
    return false;
}

static void run_part(struct team *team, uint32_t part)
{
    team->step->kernel->run_part(team->step, part, team->parts);
}

static void *member_main_on_thread(void *argument)
{
    const struct member *member = argument;
    struct team *team = member->team;
    unsigned seen = 0;

    for (;;) {
        seen = await_generation(team, seen);
        if (atomic_load(&team->closing))
            return NULL;
        if (!take(team, seen, member->part))
            continue;
        run_part(team, member->part);
        if (atomic_fetch_sub(&team->left, 1) == 1 && atomic_load(&team->awaited))
            wake_all(&team->left);
    }
}

/* Each nap is ended once: who is woken may take long to come. Naps are read before the generation changes, so that those read
 * are of members that await a change before this one, and none is taken for ended that begins after it. One that is missed
 * is ended by the next generation. */
static void begin_generation(struct team *team)
{
    const unsigned naps = atomic_load(&team->naps);

    atomic_fetch_add(&team->generation, 1);
    if (naps == team->naps_ended)
        return;
    team->naps_ended = naps;
    wake_all(&team->generation);
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
        team->members[i] = (struct member){.team = team, .part = i + 1};
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

void team_run(struct team *team, struct pith_step *step)
{
    const uint32_t size = team_size(team);
    const unsigned generation = atomic_load(&team->generation) + 1;
    unsigned left;

    team->step = step;
    team->parts = step->parts < size ? step->parts : size;
    atomic_store(&team->left, team->parts - 1); /* the first is the caller's */
    atomic_store(&team->offer, (unsigned long long) generation << 32 | ((1ULL << team->parts) - 2));
    begin_generation(team);
    run_part(team, 0);
    for (uint32_t part = team->parts; part-- > 1;)
        if (take(team, generation, part)) {
            run_part(team, part);
            atomic_fetch_sub(&team->left, 1);
        }
    for (int i = 0; i < SPIN_ROUNDS; i++) {
        if (atomic_load(&team->left) == 0)
            return;
        pause_briefly();
    }
    atomic_store(&team->awaited, true);
    while ((left = atomic_load(&team->left)) != 0)
        sleep_while(&team->left, left);
    atomic_store(&team->awaited, false);
}

void team_close(struct team *team)
{
    if (!team)
        return;
    atomic_store(&team->closing, true);
    begin_generation(team);
    wake_all(&team->generation); /* no generation comes after this one to end a nap that it missed */
    for (uint32_t i = 0; i < team->member_count; i++)
        pthread_join(team->members[i].thread, NULL);
    free(team);
}
