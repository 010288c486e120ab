/* The `reported` documents of gateways, read for people. */
#ifndef PITH_CLI_REPORT_H
#define PITH_CLI_REPORT_H

#include "cli/cli.h"

enum report_end { REPORT_UNDER_WAY, REPORT_ACTIVE, REPORT_REFUSED, REPORT_FAILED };

struct report {
    int64_t generation;     /* that the state below is of */
    const char *version, *state, *reason; /* the document's; "" where there is none */
    double done_ratio;      /* negative: not told */
    const char *progress;   /* "" */
    const json_t *original, *variant; /* facts; NULL: none yet */
    enum report_end end;
};

/* What the document says about `generation` (0: whatever is newest). false: nothing yet. */
bool report_read(const json_t *document, int64_t generation, struct report *out);
/* "active      0.9 MB (0.26×)  p50 1.9 ms (0.41×)  energy 0.38×  fidelity 99.4 %" into line; returns line. */
#define REPORT_LINE_BYTES 768
const char *report_line(const struct report *report, char line[REPORT_LINE_BYTES]);

#endif
