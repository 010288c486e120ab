/* Weights of which at most two in every four input channels of a tap are not 0: dense tiles
 * (image_dense_s8.h) that multiply the two alone. Nothing in a model says so: packing looks at the
 * weights.
 *
 * Lanes are output channels. Every one of them picks its own two of four input bytes, by a shuffle
 * of what all lanes hold, so that a product of four bytes does for eight of input. Places are kept
 * beside the weights, four bits each; with these a layer takes 3/4 of the memory of a dense one. */
#ifndef PITH_KERNELS_IMAGE_TWO_OF_FOUR_S8_H
#define PITH_KERNELS_IMAGE_TWO_OF_FOUR_S8_H

#include "libpith/kernels/image_dense_s8.h"

/* One an instruction set. For aarch64 without dot products alone: with them a choice and a product of four bytes are as many
 * instructions as two products by element, which dense tiles take. */
extern const struct pith_dense_s8_form pith_two_of_four_s8_vnni, pith_two_of_four_s8_avx512,
    pith_two_of_four_s8_avx2, pith_two_of_four_s8_neon;

static inline bool pith_is_two_of_four(const struct pith_dense_s8_form *form)
{
    return form->order >= PITH_DENSE_TWO_OF_FOUR;
}

bool pith_two_of_four_fits(const struct pith_conv_s8 *conv);

/* Of packed weights: what one vector of channels takes in a run of so many bytes of input. A step is
 * 16 of them (the last may be half of one), or 8 (TWO_OF_FOUR_WORDS). */
int64_t pith_two_of_four_bytes(const struct pith_dense_s8_form *form, int64_t run_bytes);
/* `depth` weights of a channel for one run, which begins at `to`: into lane `lane` of vector n. */
void pith_two_of_four_put(const struct pith_dense_s8_form *form, const int8_t *w, int64_t depth,
                          int lane, int n, int vectors, uint8_t *to);

/* A pith_conv_s8_form's pays, with pith_dense_s8_pack; form: a struct pith_dense_s8_form. */
bool pith_two_of_four_s8_pays(const struct pith_conv_s8 *conv, const void *form);

#endif
