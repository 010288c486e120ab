/* Which steps the team shares: those that are estimated to be worth it. */
#include "plugins/engines/native/plan.h"

#include <errno.h>
#include <stdlib.h>

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
    if (plan->options.threads > 1 && !plan->has_late && total_us >= SHARED_PLAN_US && shares)
        return team_open(&plan->team, plan->options.threads);
    return 0;
}
