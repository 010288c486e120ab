/* Which steps the team shares. Estimates say which are worth it at all; whether sharing them wins
 * is measured, since that is up to the machine and what else it does: between two cores that are
 * far apart a line of a cache takes 300 ns instead of 50, another program may have one of them, and
 * threads that sleep between rare runs are woken first. So the plan is run with all such steps
 * shared, with the long ones, and with none, some runs each, and goes on with what took the least
 * time; after many runs it looks again. Results have the same bits. */
#include "plugins/engines/native/plan.h"

#include <errno.h>
#include <stdlib.h>

#include "libpith/base/clock.h"

#define TRIAL_RUNS 6 /* of each way, one after the other; the first and the slowest don't count */
#define TRIAL_ROUNDS                                                                               \
    2 /* through all ways, of which the better counts: in the first, threads and caches wake up */
#define LEAST_PERIOD 50 /* runs from trials to trials, when they have just chosen another way */
#define LONGEST_PERIOD                                                                             \
    2000 /* when they chose the same again and again: 1 % of the runs then go another way */
#define BETTER 0.98 /* of the time so far is what another way must take */

/* Meeting twice costs some 0.3 us where cores are near each other. What is read from the other
 * core's cache costs more, so that the steps between two that are shared had better be shared too.
 */
#define SHARED_STEP_US 1.5
#define LONG_STEP_US   20.0
#define SHARED_PLAN_US 20.0 /* below, waking the others costs more than they save */

/* Microseconds that a step may take on one thread, roughly: by multiplications and by the bytes
 * that it moves; the two rates of each type fit dense and depthwise convolutions of small nets
 * alike. They are of a server's core, so a slower machine shares a little less than it could. */
static double estimate_us(const struct plan_step *step)
{
    const struct pith_step *s = &step->step;
    const bool is_float = s->input_count && s->input[0].dtype == PITH_FLOAT32;
    const double macs_per_us = is_float ? 55e3 : 240e3, bytes_per_us = is_float ? 50e3 : 11e3;
    double bytes = 0.0;

    for (size_t i = 0; i < s->input_count; i++)
        if (pith_step_reads(s, i)) /* weights are no activations */
            bytes += (double) s->input[i].bytes;
    for (size_t i = 0; i < s->output_count; i++)
        bytes += (double) s->output[i].bytes;
    return s->macs ? (double) s->macs / macs_per_us + bytes / bytes_per_us : bytes / 8e3;
}

/* Of a step, or of the row group that it is the last link of. */
static double entry_us(const struct plan *plan, size_t index)
{
    const struct plan_step *step = plan->steps[index];
    double us = 0.0;

    if (!step->group)
        return estimate_us(step);
    for (size_t s = row_group_first(step->group); s <= row_group_last(step->group); s++)
        us += estimate_us(plan->steps[s]);
    return us;
}

static enum plan_shared rate(const struct plan *plan, size_t index)
{
    const struct plan_step *step = plan->steps[index];
    const double us = entry_us(plan, index);
    const bool has_parts = step->group ? row_group_step(step->group)->parts > 1
                                       : step->run && step->form != STEP_BLINDLY && !step->late &&
                                             step->step.kernel->run_part && step->step.parts > 1;

    return !has_parts || us < SHARED_STEP_US ? SHARED_NEVER
           : us < LONG_STEP_US               ? SHARED_SHORT
                                             : SHARED_LONG;
}

int plan_list_entries(struct plan *plan)
{
    double total_us = 0.0;
    bool shares = false;

    plan->entries = calloc(plan->step_count + 1, sizeof *plan->entries);
    if (!plan->entries)
        return -ENOMEM;
    for (size_t s = 0; s < plan->step_count; s++) {
        struct plan_step *step = plan->steps[s];
        struct plan_entry *e = &plan->entries[plan->entry_count];

        if (step->group ? row_group_last(step->group) != s : !step->run && !step->control)
            continue;
        total_us += entry_us(plan, s);
        e->step = step->group ? row_group_step(step->group) : &step->step;
        e->run = step->group ? e->step->kernel->run : step->run;
        e->shared = rate(plan, s);
        step->shared = e->shared;
        shares = shares || e->shared > SHARED_NEVER;
        plan->entry_count++;
    }
    plan->sharing.least = SHARED_SHORT;
    if (plan->options.threads > 1 && !plan->has_late && total_us >= SHARED_PLAN_US && shares)
        return team_open(&plan->team, plan->options.threads);
    return 0;
}

/* ---- measuring ---- */

static const enum plan_shared ways[PLAN_WAYS] = {SHARED_SHORT, SHARED_LONG, SHARED_NONE};

/* What the run of a trial took; the way's runs of this round are over with the last of them. */
static void count_trial(struct plan_sharing *s, unsigned way, uint64_t ns)
{
    const unsigned run = s->trial % TRIAL_RUNS;

    if (run == 0) { /* the one before went another way */
        s->spent_ns = s->slowest_ns = 0;
        return;
    }
    s->spent_ns += ns;
    s->slowest_ns = ns > s->slowest_ns ? ns : s->slowest_ns;
    if (run + 1 < TRIAL_RUNS)
        return;
    ns = s->spent_ns - s->slowest_ns;
    if (s->trial < PLAN_WAYS * TRIAL_RUNS || ns < s->least_ns[way])
        s->least_ns[way] = ns;
}

/* One bad choice, in a moment when something else ran, is soon looked at again. */
static void choose_way(struct plan_sharing *s)
{
    double least = 0.0;
    enum plan_shared best = s->least;

    for (unsigned way = 0; way < PLAN_WAYS; way++) {
        const double ns = (double) s->least_ns[way] * (ways[way] == s->least ? BETTER : 1.0);

        if (way == 0 || ns < least) {
            least = ns;
            best = ways[way];
        }
    }
    s->period = best != s->least || s->period == 0 ? LEAST_PERIOD : 2 * s->period;
    s->period = s->period < LONGEST_PERIOD ? s->period : LONGEST_PERIOD;
    s->least = best;
    s->trial = 0;
    s->runs_left = s->period;
}

int plan_run_shared(struct plan *plan, struct pith_error *err)
{
    struct plan_sharing *s = &plan->sharing;
    unsigned way;
    uint64_t start_ns;
    int rc;

    if (s->runs_left > 0) {
        s->runs_left--;
        return plan_run_entries(plan, s->least, err);
    }
    way = s->trial / TRIAL_RUNS % PLAN_WAYS;
    start_ns = pith_monotonic_ns();
    rc = plan_run_entries(plan, ways[way], err);
    count_trial(s, way, pith_monotonic_ns() - start_ns);
    if (++s->trial == TRIAL_ROUNDS * PLAN_WAYS * TRIAL_RUNS)
        choose_way(s);
    return rc;
}
