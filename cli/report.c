/* A gateway's `reported` document in one line. Figures that are not known stay out of it. */
#include "cli/report.h"

#include "cli/output.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static enum report_end end_of(const char *state)
{
    static const struct {
        const char *state;
        enum report_end end;
    } ends[] = {
        {"active", REPORT_ACTIVE},     {"absent", REPORT_ACTIVE},      {"rejected", REPORT_REFUSED},
        {"failed", REPORT_FAILED},     {"rolled-back", REPORT_FAILED}, {"cancelled", REPORT_FAILED},
        {"superseded", REPORT_FAILED}, {"expired", REPORT_FAILED},
    };

    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (strcmp(ends[i].state, state) == 0)
            return ends[i].end;
    return REPORT_UNDER_WAY;
}

/* A generation that the document says no more of than how it ended. */
static bool report_ended(int64_t generation, const char *state, const char *reason, struct report *out)
{
    *out = (struct report){.generation = generation,
                           .version = "",
                           .state = state,
                           .reason = reason,
                           .progress = "",
                           .done_ratio = -1,
                           .end = end_of(state)};
    return true;
}

bool report_read(const json_t *document, int64_t generation, struct report *out)
{
    const json_t *refused = json_object_get(document, "refused");
    const json_t *total = json_object_get(document, "total");
    struct report report = {.generation = json_integer_value(json_object_get(document, "generation")),
                            .state = text_of(document, "state")};

    if (generation && json_integer_value(json_object_get(refused, "generation")) == generation)
        return report_ended(generation, "rejected", text_of(refused, "reason"), out);
    if (!report.state[0] || (generation && report.generation < generation))
        return false;
    if (generation && report.generation > generation)
        return report_ended(generation, "superseded", "a later generation came after it", out);
    report.version = text_of(document, "version");
    report.reason = text_of(document, "reason");
    report.progress = text_of(document, "progress");
    report.done_ratio = number_of(document, "done_ratio");
    if (isnan(report.done_ratio))
        report.done_ratio = -1;
    report.original = json_object_get(total, "original");
    report.variant = json_object_get(total, "variant");
    report.end = end_of(report.state);
    *out = report;
    return true;
}

static size_t add(char *line, size_t used, const char *format, ...) PITH_PRINTF(3, 4);
static size_t add(char *line, size_t used, const char *format, ...)
{
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(line + used, REPORT_LINE_BYTES - used, format, arguments);
    va_end(arguments);
    used += length > 0 ? (size_t) length : 0;
    return used < REPORT_LINE_BYTES ? used : REPORT_LINE_BYTES - 1;
}

static size_t add_facts(char *line, size_t used, const struct report *report)
{
    char figure[FIGURE_BYTES], times[FIGURE_BYTES];
    double bytes = number_of(report->variant, "bytes"),
           latency = number_of(report->variant, "latency_p50_us");
    double energy = number_of(report->variant, "energy_uj"),
           accuracy = number_of(report->variant, "accuracy_ratio");
    double fidelity = number_of(report->variant, "fidelity_ratio");

    if (bytes >= 0)
        used = add(line, used, "  %s (%s)", figure_bytes(bytes, figure),
                   figure_times(bytes / number_of(report->original, "bytes"), times));
    if (latency >= 0)
        used = add(line, used, "  p50 %s (%s)", figure_us(latency, figure),
                   figure_times(latency / number_of(report->original, "latency_p50_us"), times));
    if (energy >= 0)
        used = add(line, used, "  energy %s",
                   figure_times(energy / number_of(report->original, "energy_uj"), times));
    if (accuracy >= 0)
        used = add(line, used, "  accuracy %s", figure_percent(accuracy, figure));
    if (fidelity >= 0)
        used = add(line, used, "  fidelity %s", figure_percent(fidelity, figure));
    return used;
}

const char *report_line(const struct report *report, char line[REPORT_LINE_BYTES])
{
    size_t used = add(line, 0, "%-11s", report->state);

    if (report->end == REPORT_ACTIVE && report->variant)
        add_facts(line, used, report);
    else if (report->end == REPORT_UNDER_WAY && report->done_ratio >= 0)
        add(line, used, " %3.0f %%  %s", 100 * report->done_ratio, report->progress);
    else if (report->reason[0])
        add(line, used, " %s", report->reason);
    return line;
}
