/* Weights of which two in four are not 0: seeing that, and packing them. See
 * image_two_of_four_s8.h. */
#include "libpith/kernels/image_two_of_four_s8.h"

#include <string.h>

bool pith_two_of_four_fits(const struct pith_conv_s8 *conv)
{
    const int64_t depth = conv->in_channels,
                  taps = conv->y.c * conv->kernel[0] * conv->kernel[1];

    for (int64_t tap = 0; tap < taps; tap++) {
        const int8_t *w = conv->weights + tap * depth;

        for (int64_t k = 0; k < depth; k += 4) {
            int count = 0;

            for (int64_t i = k; i < k + 4 && i < depth; i++)
                count += w[i] != 0;
            if (count > 2)
                return false;
        }
    }
    return true;
}

/* The two of four weights that are kept, and their places; weights of 0 fill up. */
static void keep_two(const int8_t *w, int8_t kept[2], uint8_t place[2])
{
    int count = 0;

    kept[0] = kept[1] = 0;
    place[0] = place[1] = 0;
    for (uint8_t i = 0; i < 4; i++)
        if (w[i] != 0 && count < 2) {
            kept[count] = w[i];
            place[count++] = i;
        }
}

/* A half is eight bytes of input: byte i of the places has that of weight i, of the first half in its
 * lower four bits, of the second in its upper ones. */
static void put_bytes(const int8_t *w, int half, uint8_t places[4], int8_t weights[4])
{
    for (int four = 0; four < 2; four++) {
        uint8_t place[2];

        keep_two(w + four * 4, weights + four * 2, place);
        for (int i = 0; i < 2; i++)
            places[four * 2 + i] |= (uint8_t) ((four * 4 + place[i]) << (half * 4));
    }
}

/* A half is four bytes of input: byte 2i of the places has that of weight i of the first half, byte
 * 2i + 1 of the second. */
static void put_words(const int8_t *w, int half, uint8_t places[4], int8_t weights[4])
{
    int8_t kept[2];
    uint8_t place[2];
    int16_t wide[2];

    keep_two(w, kept, place);
    for (int i = 0; i < 2; i++) {
        places[2 * i + half] = place[i];
        wide[i] = kept[i];
    }
    memcpy(weights, wide, sizeof wide);
}

static bool is_words(const struct pith_dense_s8_form *form)
{
    return form->order == PITH_DENSE_TWO_OF_FOUR_WORDS;
}

static int64_t half_bytes(const struct pith_dense_s8_form *form)
{
    return is_words(form) ? 4 : 8;
}

/* How many halves are packed: of words whole steps. */
static int64_t halves_of(const struct pith_dense_s8_form *form, int64_t run_bytes)
{
    const int64_t halves = (run_bytes + half_bytes(form) - 1) / half_bytes(form);

    return is_words(form) ? (halves + 1) / 2 * 2 : halves;
}

int64_t pith_two_of_four_bytes(const struct pith_dense_s8_form *form, int64_t run_bytes)
{
    const int64_t halves = halves_of(form, run_bytes);

    return (halves + (halves + 1) / 2) * 4 * form->lanes;
}

/* What belongs to a lane, into a vector. */
static void put_lane(const struct pith_dense_s8_form *form, int lane, const void *from, uint8_t *vector)
{
    if (form->order == PITH_DENSE_TWO_OF_FOUR_PAIRS) {
        memcpy(vector + lane * 2, from, 2);
        memcpy(vector + (form->lanes + lane) * 2, (const uint8_t *) from + 2, 2);
    } else {
        memcpy(vector + lane * 4, from, 4);
    }
}

void pith_two_of_four_put(const struct pith_dense_s8_form *form, const int8_t *w, int64_t depth,
                          int lane, int n, int vectors, uint8_t *to)
{
    const int64_t each = half_bytes(form), vector = 4 * form->lanes,
                  halves = halves_of(form, depth);

    for (int64_t first = 0; first < halves; first += 2) {
        const int count = halves - first < 2 ? 1 : 2;
        uint8_t places[4] = {0}, *at = to + n * (count + 1) * vector;

        for (int half = 0; half < count; half++) {
            const int64_t k = (first + half) * each;
            int8_t four[8] = {0}, weights[4];

            if (k < depth)
                memcpy(four, w + k, (size_t) (depth - k < each ? depth - k : each));
            if (is_words(form))
                put_words(four, half, places, weights);
            else
                put_bytes(four, half, places, weights);
            put_lane(form, lane, weights, at + (half + 1) * vector);
        }
        put_lane(form, lane, places, at);
        to += vectors * 3 * vector;
    }
}

/* In the time of a dense tile's product of four bytes and all that a form needs for it: what half a
 * step takes. As bench/kernels_s8 shows with weights 2:4; of pairs of bytes, NEON's, as counted in the
 * object file. */
static double half_cost(const struct pith_dense_s8_form *form)
{
    switch (form->order) {
    case PITH_DENSE_TWO_OF_FOUR:
        return 1.35;
    case PITH_DENSE_TWO_OF_FOUR_PAIRS:
        return 1.2;
    default:
        return 0.8;
    }
}

bool pith_two_of_four_s8_pays(const struct pith_conv_s8 *conv, const void *private)
{
    const struct pith_dense_s8_form *form = private;
    const int64_t taps = conv->kernel[0] * conv->kernel[1],
                  vectors = (conv->out_channels + form->lanes - 1) / form->lanes,
                  halves = halves_of(form, conv->in_channels);
    /* dense tiles join taps of few channels; those of 512 bits come in vectors of half the width too */
    const double quads = ceil((double) (taps * conv->in_channels) / 4),
                 wide = form->order == PITH_DENSE_TWO_OF_FOUR
                            ? ceil(2.0 * (double) conv->out_channels / form->lanes) / 2
                            : (double) vectors;

    return (double) (vectors * taps * halves) * half_cost(form) < wide * quads * 0.97 &&
           pith_two_of_four_fits(conv);
}
