/* See loop_watch.h. A turn is what lies between two preparations for sleep, less the sleep. What
 * the wall's clock says of it is compared with the thread's CPU time and with how often the kernel
 * switched it away: of its own will (it waited) or not (others had their turn). */
#include "daemon/loop_watch.h"

#include "libpith/base/clock.h"
#include "libpith/base/log.h"
#include <sys/resource.h>
#include <time.h>

#define SLOW_TURN_NS    5000000               /* what one turn of the loop may take */
#define REPORT_EVERY_NS UINT64_C(60000000000) /* how often one that took longer is told */

static uint64_t thread_cpu_ns(void)
{
    struct timespec now = {0};

    (void) clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t) now.tv_sec * 1000000000u + (uint64_t) now.tv_nsec;
}

static bool report_is_due(uint64_t *told_ns, uint64_t now_ns)
{
    if (*told_ns && now_ns - *told_ns < REPORT_EVERY_NS)
        return false;
    *told_ns = now_ns;
    return true;
}

/* waits: besides the sleep itself, which is one. */
static void judge(struct loop_watch *watch, uint64_t now_ns, uint64_t took_ns, uint64_t cpu_ns,
                  long waits, long preemptions)
{
    if (cpu_ns <= SLOW_TURN_NS && waits == 0 && preemptions > 0) {
        watch->delayed_turns++;
        if (report_is_due(&watch->delayed_told_ns, now_ns))
            log_info("loop_delayed",
                     "took_ms=%.1f cpu_ms=%.1f preempted_count=%ld delayed_turns=%llu turns=%llu "
                     "reason=\"this machine had other work\"",
                     (double) took_ns / 1e6, (double) cpu_ns / 1e6, preemptions,
                     (unsigned long long) watch->delayed_turns, (unsigned long long) watch->turns);
        return;
    }
    watch->slow_turns++;
    if (took_ns > watch->slowest_ns)
        watch->slowest_ns = took_ns;
    if (report_is_due(&watch->slow_told_ns, now_ns))
        log_warn("loop_slow",
                 "took_ms=%.1f cpu_ms=%.1f wait_count=%ld preempted_count=%ld slow_turns=%llu "
                 "turns=%llu",
                 (double) took_ns / 1e6, (double) cpu_ns / 1e6, waits, preemptions,
                 (unsigned long long) watch->slow_turns, (unsigned long long) watch->turns);
}

static void turn_begins(uv_check_t *check)
{
    struct loop_watch *watch = check->data;

    watch->turns++;
}

/* Before the loop sleeps: what it did since the last time, less what it slept. */
static void turn_ends(uv_prepare_t *prepare)
{
    struct loop_watch *watch = prepare->data;
    uint64_t now_ns = pith_monotonic_ns();
    uint64_t slept_ns = uv_metrics_idle_time(prepare->loop);
    uint64_t awake_ns = now_ns - slept_ns;
    uint64_t took_ns = awake_ns - watch->turn_began_ns;
    uint64_t cpu_ns = thread_cpu_ns();
    struct rusage usage = {0};

    (void) getrusage(RUSAGE_THREAD, &usage);
    if (watch->turns > 0 && !watch->interrupted && !watch->ended && took_ns > SLOW_TURN_NS) {
        long waits = usage.ru_nvcsw - watch->waits_before;

        if (slept_ns > watch->slept_ns && waits > 0)
            waits--;
        judge(watch, now_ns, took_ns, cpu_ns - watch->cpu_began_ns, waits,
              usage.ru_nivcsw - watch->preemptions_before);
    }
    watch->turn_began_ns = awake_ns;
    watch->slept_ns = slept_ns;
    watch->cpu_began_ns = cpu_ns;
    watch->waits_before = usage.ru_nvcsw;
    watch->preemptions_before = usage.ru_nivcsw;
    watch->interrupted = false;
}

void loop_watch_start(struct loop_watch *watch, uv_loop_t *loop)
{
    (void) uv_prepare_init(loop, &watch->prepare);
    (void) uv_check_init(loop, &watch->check);
    watch->prepare.data = watch->check.data = watch;
    (void) uv_prepare_start(&watch->prepare, turn_ends);
    (void) uv_check_start(&watch->check, turn_begins);
}

void loop_watch_interrupted(struct loop_watch *watch)
{
    watch->interrupted = true;
}

void loop_watch_end(struct loop_watch *watch)
{
    watch->ended = true;
}

void loop_watch_close(struct loop_watch *watch)
{
    uv_close((uv_handle_t *) &watch->prepare, NULL);
    uv_close((uv_handle_t *) &watch->check, NULL);
}
