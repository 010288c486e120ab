/* Values that lie on a grid already: pixels, readings of a converter, features that were integers once. A grid of ours with
 * their own step loses nothing of them; one that is a little off rounds each. */
#ifndef PITH_QUANTIZE_LATTICE_H
#define PITH_QUANTIZE_LATTICE_H

#include "plugins/techniques/quantize/range.h"

#define LATTICE_VALUES 256 /* as many as 8 bits can hold */

struct lattice {
    float value[LATTICE_VALUES]; /* that came, each once, ascending; 0 is always one of them */
    size_t count;
    int lost; /* more came, or one that is not finite */
};

void lattice_init(struct lattice *lattice);
void lattice_add(struct lattice *lattice, const float *x, size_t count);
/* A range that holds `wanted`, whose 8-bit grid has all values that came among its levels. False where there is none, or
 * where too few values came to tell. */
int lattice_range(const struct lattice *lattice, struct range wanted, struct range *out);

#endif
