/* The sensitivity report as one SVG file. */
#ifndef PITH_CLI_SENSITIVITY_PLOT_H
#define PITH_CLI_SENSITIVITY_PLOT_H

#include "libpith/base/buffer.h"
#include <jansson.h>

/* A row a layer, a panel a figure, in one picture that needs nothing beside it: no script, no font, no other file. Appends
 * to *out; what could not be measured is left blank. out->failed: no memory. */
void sensitivity_plot(const json_t *report, const char *model, struct pith_buffer *out);

/* About `most` round steps (1, 2 or 5 times a power of ten) that cover low..high: the first and the distance. */
void plot_ticks(double low, double high, int most, double *out_first, double *out_step);

#endif
