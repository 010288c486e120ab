/* Why there was nothing to quantize: a sentence for whoever wonders that the file is as large as before. */
#ifndef PITH_QUANTIZE_NOTHING_H
#define PITH_QUANTIZE_NOTHING_H

#include "plugins/techniques/quantize/plan.h"

/* text: "" where some layer, or some weight far from layers, was quantized. plan: as it was written. */
void nothing_say(const struct plan *plan, char *text, size_t bytes);

#endif
