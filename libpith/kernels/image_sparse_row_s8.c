/* Products of a row past blocks of zeros: packing, and the walk over rows. See
 * image_sparse_row_s8.h. */
#include "libpith/kernels/image_sparse_row_s8.h"

#include <errno.h>

static bool fits(const struct pith_conv_s8 *conv)
{
    return conv->groups == 1 && conv->kernel[0] == 1 && conv->kernel[1] == 1;
}

static int64_t count_vectors(const struct pith_conv_s8 *conv, int lanes)
{
    return (conv->out_channels + lanes - 1) / lanes;
}

/* A window is as many fours of input as there are lanes. */
static int64_t count_windows(const struct pith_conv_s8 *conv, int lanes)
{
    return (conv->in_channels + 4 * lanes - 1) / (4 * lanes);
}

/* Blocks that a channel has in a window: their places, and their weights; returns how many. */
static int list_blocks(const struct pith_conv_s8 *conv, int lanes, int64_t channel, int64_t window,
                       uint8_t *place, uint32_t *four)
{
    const int64_t depth = conv->in_channels, first = window * 4 * lanes;
    const int8_t *w = conv->weights + channel * depth;
    int count = 0;

    for (int i = 0; i < lanes && first + 4 * i < depth; i++) {
        const int64_t k = first + 4 * i;

        place[count] = (uint8_t) i;
        four[count] = pith_sparse_s8_four(w + k, depth - k);
        count += four[count] != 0;
    }
    return count;
}

/* The most blocks of a channel of a vector in a window. */
static int count_steps(const struct pith_conv_s8 *conv, int lanes, int64_t vector, int64_t window)
{
    int most = 0;

    for (int lane = 0; lane < lanes && vector * lanes + lane < conv->out_channels; lane++) {
        uint8_t place[16];
        uint32_t four[16];
        const int count = list_blocks(conv, lanes, vector * lanes + lane, window, place, four);

        most = count > most ? count : most;
    }
    return most;
}

/* Vectors that `steps` steps take, with their places. */
static int64_t vectors_of(int steps, int halves)
{
    return (steps + PITH_SPARSE_ROW_S8_STEPS - 1) / PITH_SPARSE_ROW_S8_STEPS + steps * halves;
}

static void pack_window(const struct pith_sparse_row_s8 *s, int64_t vector, int64_t window,
                        int32_t *to)
{
    const int lanes = s->form->lanes, halves = s->form->halves,
              group = PITH_SPARSE_ROW_S8_STEPS * halves + 1; /* vectors */

    for (int lane = 0; lane < lanes && vector * lanes + lane < s->conv->out_channels; lane++) {
        uint8_t place[16];
        uint32_t four[16];
        const int count = list_blocks(s->conv, lanes, vector * lanes + lane, window, place, four);

        for (int i = 0; i < count; i++) {
            const int step = i % PITH_SPARSE_ROW_S8_STEPS;
            int32_t *at = to + i / PITH_SPARSE_ROW_S8_STEPS * group * lanes + lane, weights[2];
            const uint32_t places = (uint32_t) *at | (uint32_t) place[i] << (4 * step);

            memcpy(at, &places, sizeof places);
            pith_sparse_s8_put(halves, four[i], weights);
            for (int half = 0; half < halves; half++)
                at[(1 + step * halves + half) * lanes] = weights[half];
        }
    }
}

/* Fills in at and steps; returns how many vectors the weights take. */
static int64_t plan_steps(const struct pith_sparse_row_s8 *s, int64_t vectors, uint32_t *at,
                          uint8_t *steps)
{
    int64_t all = 0;

    for (int64_t v = 0; v < vectors; v++) {
        at[v] = (uint32_t) all;
        for (int64_t w = 0; w < s->windows; w++) {
            const int count = count_steps(s->conv, s->form->lanes, v, w);

            steps[v * s->windows + w] = (uint8_t) count;
            all += vectors_of(count, s->form->halves);
        }
    }
    return all;
}

static void pack_weights(const struct pith_sparse_row_s8 *s, int64_t vectors, const uint8_t *steps,
                         int32_t *to)
{
    for (int64_t v = 0; v < vectors; v++)
        for (int64_t w = 0; w < s->windows; w++) {
            pack_window(s, v, w, to);
            to += vectors_of(*steps++, s->form->halves) * s->form->lanes;
        }
}

int pith_sparse_row_s8_pack(struct pith_step *step, struct pith_conv_s8 *conv, const void *private)
{
    const struct pith_sparse_row_s8_form *form = private;
    const int64_t vectors = count_vectors(conv, form->lanes),
                  windows = count_windows(conv, form->lanes);
    struct pith_sparse_row_s8 *s;
    uint32_t *at;
    uint8_t *steps;
    int32_t *weights;
    int64_t all;

    if (!fits(conv))
        return 1;
    s = pith_step_alloc(step, sizeof *s);
    at = pith_step_alloc(step, vectors * (int64_t) sizeof *at);
    steps = pith_step_alloc(step, vectors * windows);
    if (!s || !at || !steps)
        return -ENOMEM;
    *s = (struct pith_sparse_row_s8){.conv = conv, .form = form, .windows = windows};
    all = plan_steps(s, vectors, at, steps);
    weights = pith_step_alloc(step, (all + 1) * form->lanes * (int64_t) sizeof *weights);
    if (!weights)
        return -ENOMEM;
    pack_weights(s, vectors, steps, weights);
    s->at = pith_step_share(step, at);
    s->steps = pith_step_share(step, steps);
    s->weights = pith_step_share(step, weights);
    conv->packed = s;
    conv->form = pith_sparse_row_s8_run;
    return 0;
}

/* In vectors of weights that dense tiles would read. As bench/kernels_s8 shows with weights 1x4. */
#define STEP_COST   1.0
#define WINDOW_COST 1.4
#define VECTOR_COST 20

bool pith_sparse_row_s8_pays(const struct pith_conv_s8 *conv, const void *private)
{
    const struct pith_sparse_row_s8_form *form = private;
    const int lanes = form->lanes;
    const int64_t vectors = count_vectors(conv, lanes), windows = count_windows(conv, lanes);
    const double dense = (double) vectors * ceil((double) conv->in_channels / 4),
                 around = (double) vectors * ((double) windows * WINDOW_COST + VECTOR_COST);
    double steps = 0;

    if (!fits(conv) || conv->y.n * conv->y.h * conv->y.w != 1)
        return false;
    /* if all lanes had as many: most weights are seen to be no such ones here */
    if ((double) pith_sparse_s8_blocks(conv) / lanes * STEP_COST + around >= dense)
        return false;
    for (int64_t v = 0; v < vectors; v++)
        for (int64_t w = 0; w < windows; w++)
            steps += count_steps(conv, lanes, v, w);
    return steps * STEP_COST + around < dense;
}

void pith_sparse_row_s8_run(const struct pith_conv_s8 *conv, const struct pith_conv_s8_data *data,
                            const struct pith_conv_s8_span *span)
{
    const struct pith_sparse_row_s8 *s = conv->packed;
    struct pith_pixels_s8_cursor at = {span->row, 0};

    for (int64_t left = (span->row_end - span->row) * conv->y.w; left > 0;) {
        const int count = left < PITH_PIXELS_S8 ? (int) left : PITH_PIXELS_S8;
        struct pith_pixels_s8 pixels;

        pith_pixels_s8_next(conv, &at, count, &pixels);
        for (int p = 0; p < count; p++)
            s->form->row(s, data, &pixels, p, span->channel, span->channel_end);
        left -= count;
    }
}
