/* From samples to levels: which layers, in what passes, and a row at a time. GPTQ's answer is kept
 * for a row only where it errs less than the nearest one does. */
#include "plugins/techniques/quantize/rounding.h"

#include "plugins/techniques/quantize/adaround.h"
#include "plugins/techniques/quantize/descend.h"
#include "plugins/techniques/quantize/gptq.h"
#include "plugins/techniques/quantize/gram.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PASS_BYTES                                                                                 \
    (64 << 20) /* of Gram matrices that are gathered together; one layer may take more */
#define ADAROUND_WORK 2e10 /* multiplications a layer: steps are cut to it */
#define DESCENT_WORK  4e9  /* rows times columns squared: a layer with more keeps its scales */
#define AUTO_WORK                                                                                  \
    4e9 /* rows, columns and a block's width multiplied: 8-bit weights of a layer with more are    \
           left to the nearest, which loses little, unless GPTQ is asked for */
#define ADAROUND_LEAST 200 /* steps; a layer that can't have as many keeps GPTQ's answer */

const char *const rounding_method_names[] = {"auto", "nearest", "gptq", "adaround", NULL};

static bool wanted(const struct layer *layer, enum rounding_method method)
{
    unsigned bits = form_weight_bits(layer->form);

    return method != ROUNDING_NEAREST && bits <= 8 && !layer->as_it_came;
}

static bool too_dear(const struct layer *layer, const struct linear *linear,
                     enum rounding_method method)
{
    double block = (double) (linear->columns < GRAM_COLUMNS ? linear->columns : GRAM_COLUMNS);

    return method == ROUNDING_AUTO && form_weight_bits(layer->form) == 8 &&
           (double) (linear->rows * linear->groups) * (double) linear->columns * block > AUTO_WORK;
}

bool rounding_applies(const struct plan *plan, enum rounding_method method)
{
    for (size_t i = 0; i < plan->layer_count; i++)
        if (wanted(&plan->layers[i], method))
            return true;
    return false;
}

/* ---- gathering ---- */

struct pass { /* over the samples, for some of the layers */
    struct plan *plan;
    const struct pith_host *host;
    uint64_t samples;
    size_t *layers; /* index in the plan */
    uint32_t *values;
    struct gram *grams;
    size_t count;
    float *scratch;
};

static int gather(void *user, size_t index, uint64_t sample, const struct pith_tensor *tensor)
{
    struct pass *pass = user;

    if (index == 0 && pass->host->cancelled && pass->host->cancelled(pass->host->context))
        return -ECANCELED;
    if (tensor->dtype == PITH_FLOAT32)
        (void) gram_add(&pass->grams[index], &tensor->shape, tensor->data, sample, pass->samples,
                        pass->scratch);
    return 0;
}

/* Takes layers from *next on as long as their matrices fit. */
static int choose_layers(struct pass *pass, enum rounding_method method, size_t *next)
{
    const struct pith_graph *graph = pass->plan->graph;
    size_t bytes = 0, scratch = 0;

    for (; *next < pass->plan->layer_count; (*next)++) {
        const struct layer *layer = &pass->plan->layers[*next];
        uint32_t input = pith_node_input(graph, layer->node, 0);
        struct linear linear;

        if (!wanted(layer, method) || input == PITH_NO_VALUE || pith_value_constant(graph, input) ||
            pith_value_use_count(graph, layer->weight) != 1 || !linear_of(graph, layer, &linear) ||
            too_dear(layer, &linear, method))
            continue;
        bytes += gram_bytes(&linear);
        if (pass->count > 0 && bytes > PASS_BYTES)
            break;
        int rc = gram_init(&pass->grams[pass->count], &linear);

        if (rc < 0)
            return rc;
        pass->layers[pass->count] = *next;
        pass->values[pass->count++] = input;
        scratch = gram_scratch(&linear) > scratch ? gram_scratch(&linear) : scratch;
    }
    pass->scratch = malloc(scratch * sizeof *pass->scratch + 1);
    return pass->scratch ? 0 : -ENOMEM;
}

/* ---- one layer ---- */

struct block { /* of a layer's weights, by rows of its columns */
    const struct gram *gram;
    int64_t group, from, width;
    const float *matrix;
    float *w, *scale;
    int8_t *levels; /* rows of the group */
};

static float weight_at(const struct pith_tensor *w, int64_t index)
{
    float x;

    memcpy(&x, (const uint8_t *) w->data + (size_t) index * sizeof x, sizeof x);
    return x;
}

static void load(const struct plan *plan, const struct layer *layer, struct block *block)
{
    const struct pith_tensor *w = pith_value_constant(plan->graph, layer->weight);
    const struct weight_grid grid = layer_grid(layer, &plan->options);
    const struct linear *linear = &block->gram->linear;

    for (int64_t r = 0; r < linear->rows; r++)
        for (int64_t c = 0; c < block->width; c++) {
            int64_t index = linear_index(linear, block->group * linear->rows + r, block->from + c);
            size_t at = (size_t) (r * block->width + c);

            block->w[at] = weight_at(w, index);
            block->scale[at] = layer->scale[weight_scale_index(w, &grid, index)];
            block->levels[at] = (int8_t) weight_level(block->w[at], block->scale[at], grid.limit);
        }
}

static void store(const struct plan *plan, const struct block *block, struct layer *layer)
{
    const struct pith_tensor *w = pith_value_constant(plan->graph, layer->weight);
    const struct weight_grid grid = layer_grid(layer, &plan->options);
    const struct linear *linear = &block->gram->linear;

    for (int64_t r = 0; r < linear->rows; r++)
        for (int64_t c = 0; c < block->width; c++) {
            int64_t index = linear_index(linear, block->group * linear->rows + r, block->from + c);

            layer->levels[index] = block->levels[r * block->width + c];
            layer->scale[weight_scale_index(w, &grid, index)] = block->scale[r * block->width + c];
        }
}

/* Whether a row has a scale of its own, few levels, and all its columns in one block. */
static bool scale_is_free(const struct layer *layer, const struct gram *gram,
                          const struct weight_grid *grid)
{
    const struct linear *linear = &gram->linear;

    return grid->bits < 8 && grid->block_size == 0 && grid->axis == layer->channel_axis &&
           gram->blocks == 1 &&
           (double) (linear->rows * linear->groups) * (double) linear->columns *
                   (double) linear->columns <=
               DESCENT_WORK;
}

/* Levels and scales of all rows, from GPTQ's. */
static int descend_block(struct block *block, struct gptq *gptq, int32_t limit)
{
    size_t width = (size_t) block->width;
    struct descent descent;
    int rc = descent_init(&descent, block->matrix, (size_t) block->gram->block_columns, width);

    for (size_t r = 0; rc == 0 && r < (size_t) block->gram->linear.rows; r++) {
        float *scale = block->scale + r * width;
        float found = scale[0];

        (void) descend_with_scale(&descent, gptq, block->w + r * width, limit, &found,
                                  block->levels + r * width);
        for (size_t c = 0; c < width; c++)
            scale[c] = found;
    }
    if (rc == 0)
        descent_done(&descent);
    return rc;
}

static unsigned adaround_steps(const struct block *block)
{
    double work = (double) block->gram->linear.rows * (double) block->gram->linear.groups *
                  (double) block->gram->linear.columns * (double) block->gram->block_columns;
    double steps = ADAROUND_WORK / work;

    return steps > ADAROUND_STEPS ? ADAROUND_STEPS : (unsigned) steps;
}

struct errors { /* squared, of a layer's outputs by the matrices */
    double nearest, chosen;
};

static int round_block(struct block *block, int32_t limit, enum rounding_method method,
                       bool free_scale, struct errors *errors)
{
    size_t width = (size_t) block->width, rows = (size_t) block->gram->linear.rows;
    unsigned steps = adaround_steps(block);
    int8_t *tried = malloc(width);
    struct gptq gptq = {0};
    int rc = tried ? gptq_init(&gptq, block->matrix, (size_t) block->gram->block_columns, width)
                   : -ENOMEM;

    for (size_t r = 0; rc == 0 && r < rows; r++) {
        const float *w = block->w + r * width, *scale = block->scale + r * width;
        int8_t *levels = block->levels + r * width;
        double nearest = gptq_error(&gptq, w, scale, levels);

        errors->nearest += nearest;
        gptq_round(&gptq, w, scale, limit, tried);
        if (gptq_error(&gptq, w, scale, tried) < nearest)
            memcpy(levels, tried, width);
    }
    if (rc == 0 && free_scale)
        rc = descend_block(block, &gptq, limit);
    if (rc == 0 && method == ROUNDING_ADAROUND && steps >= ADAROUND_LEAST)
        rc = adaround(block->matrix, (size_t) block->gram->block_columns, width, block->w,
                      block->scale, rows, limit, steps, block->levels);
    for (size_t r = 0; rc == 0 && r < rows; r++)
        errors->chosen += gptq_error(&gptq, block->w + r * width, block->scale + r * width,
                                     block->levels + r * width);
    gptq_done(&gptq);
    free(tried);
    return rc;
}

static int round_blocks(const struct plan *plan, struct layer *layer, const struct gram *gram,
                        enum rounding_method method, struct errors *errors)
{
    const struct weight_grid grid = layer_grid(layer, &plan->options);
    size_t most = (size_t) gram->linear.rows * (size_t) gram->block_columns;
    struct block block = {.gram = gram,
                          .w = malloc(most * sizeof *block.w),
                          .scale = malloc(most * sizeof *block.scale),
                          .levels = malloc(most)};
    int rc = block.w && block.scale && block.levels ? 0 : -ENOMEM;

    for (block.group = 0; rc == 0 && block.group < gram->linear.groups; block.group++)
        for (int64_t b = 0; rc == 0 && b < gram->blocks; b++) {
            block.matrix = gram_block(gram, block.group, b, &block.from, &block.width);
            load(plan, layer, &block);
            rc = round_block(&block, grid.limit, method, scale_is_free(layer, gram, &grid), errors);
            if (rc == 0)
                store(plan, &block, layer);
        }
    free(block.w);
    free(block.scale);
    free(block.levels);
    return rc;
}

static int round_layer(const struct plan *plan, struct layer *layer, const struct gram *gram,
                       enum rounding_method method)
{
    const struct pith_tensor *w = pith_value_constant(plan->graph, layer->weight);
    const struct weight_grid grid = layer_grid(layer, &plan->options);
    struct errors errors = {0};

    layer_forget_repairs(layer);
    layer->levels = malloc((size_t) pith_shape_elements(&w->shape));
    layer->scale = malloc(weight_scale_count(w, &grid) * sizeof *layer->scale);
    int rc = layer->levels && layer->scale ? weight_scales(w, &grid, layer->scale) : -ENOMEM;

    if (rc == 0)
        rc = round_blocks(plan, layer, gram, method, &errors);
    layer->repaired_bits = grid.bits;
    layer->rounding_gain = errors.chosen > 0 ? errors.nearest / errors.chosen : 1;
    if (rc < 0)
        layer_forget_repairs(layer);
    return rc == -EDOM ? 0 : rc; /* such a layer stays with the nearest */
}

/* ---- all ---- */

static int run_pass(struct pass *pass, enum rounding_method method, size_t *next,
                    struct pith_error *err)
{
    int rc = choose_layers(pass, method, next);

    if (rc == 0 && pass->count > 0)
        rc = pass->host->observe(pass->host->context, pass->plan->graph, 0, pass->samples,
                                 pass->values, pass->count, gather, pass, err);
    for (size_t i = 0; rc == 0 && i < pass->count; i++) {
        if (pass->grams[i].rows > 0)
            rc = round_layer(pass->plan, &pass->plan->layers[pass->layers[i]], &pass->grams[i],
                             method);
        if (pass->host->cancelled && pass->host->cancelled(pass->host->context))
            rc = -ECANCELED;
        gram_done(&pass->grams[i]);
    }
    for (size_t i = 0; i < pass->count; i++)
        gram_done(&pass->grams[i]);
    pass->count = 0;
    free(pass->scratch);
    pass->scratch = NULL;
    return rc;
}

int round_layers(struct plan *plan, const struct pith_host *host, uint64_t count,
                 enum rounding_method method, struct pith_error *err)
{
    struct pass pass = {.plan = plan,
                        .host = host,
                        .samples = count,
                        .layers = calloc(plan->layer_count + 1, sizeof *pass.layers),
                        .values = calloc(plan->layer_count + 1, sizeof *pass.values),
                        .grams = calloc(plan->layer_count + 1, sizeof *pass.grams)};
    int rc = pass.layers && pass.values && pass.grams ? 0 : -ENOMEM;

    for (size_t next = 0; rc == 0 && next < plan->layer_count;)
        rc = run_pass(&pass, method, &next, err);
    free(pass.layers);
    free(pass.values);
    free(pass.grams);
    return rc;
}
