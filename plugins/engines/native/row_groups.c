/* Row groups: neighbouring steps over channels-last values, each of which reads what the one before gives, and nothing
 * else does. They run together, a band of rows after the other, so that what lies between two of them is read again while
 * it is in the cache, and never lies in memory whole; and threads that run parts of a group meet once, not once a step.
 * Each part keeps its own rows of inner values, computes those around its own once more where windows reach there, and
 * moves what two bands share to the front. What is computed, and in which order for each element, is as step by step. */
#include "plugins/engines/native/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MOST_LINKS  3           /* expansion, depthwise, projection; more would compute more rows twice */
#define CACHE_BYTES (512 << 10) /* an inner value that takes more has left a second-level cache when it is read */
#define BAND_BYTES  (384 << 10) /* of inner values: they stay there beside weights and what goes in and out */
#define MOST_UNEVEN 1.08        /* rows over threads; steps by themselves may be cut by channels instead */
#define MOST_TWICE  0.08        /* of the rows of a step, that two parts compute */

struct between {                   /* rows of an inner value */
    int64_t row_bytes, lead_bytes; /* a row with its halo; what lies left of its first pixel */
    size_t offset;                 /* from the part's scratch */
};

struct row_group {
    struct pith_step step; /* of the group itself; its kernel leads here through `params` */
    struct plan_step *link[MOST_LINKS];
    struct between between[MOST_LINKS - 1]; /* behind links 0, 1, ... */
    size_t count, first;          /* links; the first one's place among the plan's steps */
    int64_t pictures, rows, band; /* of the last link: rows of a picture, and of a band */
    size_t part_bytes;
};

struct pith_step *row_group_step(struct row_group *group)
{
    return &group->step;
}

size_t row_group_first(const struct row_group *group)
{
    return group->first;
}

size_t row_group_last(const struct row_group *group)
{
    return group->first + group->count - 1;
}

void row_group_free(struct row_group *group)
{
    free(group);
}

/* ---- running ---- */

struct running { /* a link, by one part */
    struct pith_step step;
    struct pith_tensor input[PITH_STEP_PORTS], output;
    uint8_t *rows;       /* room for what it gives; NULL: the last link */
    int64_t start, done; /* the row at the front; the first that isn't computed */
    int64_t from, to;    /* rows that this band wants: past the picture's too */
};

static int64_t bounded(int64_t row, int64_t count)
{
    return row < 0 ? 0 : row > count ? count : row;
}

/* Operands in memory, of picture n. */
static void set_operands(const struct row_group *group, struct running *run, size_t link, int64_t n)
{
    const struct plan_step *of = group->link[link];
    const struct pith_step *step = &of->step;

    run->step = *step;
    for (size_t i = step->input_count; i < PITH_STEP_PORTS; i++)
        run->input[i] = (struct pith_tensor){0};
    for (size_t i = 0; i < step->input_count; i++) {
        run->input[i] = step->input[i];
        if (step->input_image[i].channels_last && run->input[i].data)
            run->input[i].data = (uint8_t *) run->input[i].data +
                                 n * step->input_image[i].picture *
                                     (int64_t) (pith_dtype_bits(step->input[i].dtype) / 8);
    }
    run->output = step->output[0];
    if (run->output.data)
        run->output.data = (uint8_t *) run->output.data +
                           n * step->output_image[0].picture *
                               (int64_t) (pith_dtype_bits(step->output[0].dtype) / 8);
    run->step.input = run->input;
    run->step.output = &run->output;
}

/* The rows that every link gives for rows from..to-1 of the last one. Where a window lies in the
 * halo alone, the row beside it is asked for, as it is what fills the halo. */
static void ask_for_rows(const struct row_group *group, struct running *run, int64_t from,
                         int64_t to)
{
    for (size_t l = group->count; l-- > 0;) {
        const struct pith_rows *rows = &group->link[l]->step.rows;

        from = from < rows->count ? from : rows->count - 1;
        to = to > 0 ? to : 1;
        run[l].from = from;
        run[l].to = to;
        from = bounded(from, rows->count) * rows->stride + rows->first;
        to = (bounded(to, rows->count) - 1) * rows->stride + rows->last + 1;
    }
}

/* Row 0 of the value that lies in a part's rows would be here. */
static uint8_t *first_pixel(const struct between *b, const struct running *run)
{
    return run->rows + b->lead_bytes - run->start * b->row_bytes;
}

/* What is there of the rows that are wanted goes to the front, with the halo below the last row. */
static void keep_rows(const struct between *b, struct running *run, const struct pith_image *image,
                      int64_t count)
{
    const int64_t end = run->done == count ? count + image->bottom : run->done;

    if (run->from <= run->start)
        return;
    if (run->done < run->from) /* a stride passes over rows */
        run->done = bounded(run->from, count);
    else if (end > run->from)
        memmove(run->rows, run->rows + (run->from - run->start) * b->row_bytes,
                (size_t) ((end - run->from) * b->row_bytes));
    run->start = run->from;
}

static void run_band(const struct row_group *group, struct running *run)
{
    for (size_t l = 0; l < group->count; l++) {
        struct pith_step *step = &run[l].step;
        const int64_t to = bounded(run[l].to, step->rows.count);

        if (run[l].rows) {
            keep_rows(&group->between[l], &run[l], &step->output_image[0], step->rows.count);
            run[l].output.data = first_pixel(&group->between[l], &run[l]);
        }
        if (l > 0)
            run[l].input[0].data = run[l - 1].output.data;
        if (run[l].done < to)
            step->kernel->run_rows(step, run[l].done, to);
        run[l].done = to > run[l].done ? to : run[l].done;
    }
}

/* Rows from..to-1 of picture n. */
static void run_rows(const struct row_group *group, uint8_t *scratch, int64_t n, int64_t from,
                     int64_t to)
{
    const int64_t bands = (to - from + group->band - 1) / group->band;
    struct running run[MOST_LINKS];

    for (size_t l = 0; l < group->count; l++)
        set_operands(group, &run[l], l, n);
    for (int64_t band = 0; band < bands; band++) {
        ask_for_rows(group, run,
                     from + pith_part_begin(to - from, (uint32_t) band, (uint32_t) bands),
                     from + pith_part_begin(to - from, (uint32_t) band + 1, (uint32_t) bands));
        for (size_t l = 0; l < group->count && band == 0; l++) {
            run[l].rows = l + 1 < group->count ? scratch + group->between[l].offset : NULL;
            run[l].done = bounded(run[l].from, run[l].step.rows.count);
            run[l].start = run[l].done == 0 ? -run[l].step.output_image[0].top : run[l].from;
        }
        run_band(group, run);
    }
}

static void run_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    const struct row_group *group = step->params;
    const int64_t rows = group->pictures * group->rows, to = pith_part_begin(rows, part + 1, count);

    for (int64_t at = pith_part_begin(rows, part, count), end; at < to; at = end) {
        const int64_t n = at / group->rows, begin = n * group->rows;

        end = begin + group->rows < to ? begin + group->rows : to;
        run_rows(group, (uint8_t *) step->scratch + part * group->part_bytes, n, at - begin,
                 end - begin);
    }
}

static int run_whole(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    run_part(step, 0, 1);
    return 0;
}

static const struct pith_kernel kernel = {.op = "RowGroup",
                                          .domain = "pith",
                                          .name = "row_group",
                                          .run = run_whole,
                                          .run_part = run_part};

/* ---- finding them ---- */

/* How often a step reads each slot's memory, a plan's output counting too. */
static uint32_t *count_readers(const struct plan *plan)
{
    uint32_t *readers = calloc(plan->slot_count + (size_t) 1, sizeof *readers);

    if (!readers)
        return NULL;
    for (size_t s = 0; s < plan->step_count; s++)
        for (size_t i = 0; i < plan->steps[s]->step.input_count; i++)
            if (plan->steps[s]->in[i] != PLAN_NO_SLOT)
                readers[plan->slots[plan->steps[s]->in[i]].root]++;
    for (size_t i = 0; i < plan->output_count; i++)
        readers[plan->slots[plan->output_slots[i]].root]++;
    for (uint32_t i = 0; i < plan->slot_count; i++)
        if (plan->slots[i].root != i) /* another name, or a slice, of the same memory */
            readers[plan->slots[i].root] += 2;
    return readers;
}

static bool has_rows(const struct plan_step *step)
{
    return step->form == STEP_IMAGE && step->prepared && !step->late && !step->control &&
           step->step.view < 0 && step->step.kernel->run_rows && step->step.rows.count > 0 &&
           step->step.rows.stride > 0 && step->step.output_count == 1 &&
           step->step.input_count <= PITH_STEP_PORTS && step->step.scratch_bytes == 0;
}

static double unevenness(int64_t rows, uint32_t threads)
{
    return (double) ((rows + threads - 1) / threads * threads) / (double) rows;
}

/* Whether steps a and b, neighbours, had better run together. */
static bool links(const struct plan *plan, const uint32_t *readers, const struct plan_step *a,
                  const struct plan_step *b)
{
    const uint32_t slot = a->out[0],
                   threads = plan->options.threads > 1 ? plan->options.threads : 1;
    const struct pith_rows *rows = &b->step.rows;
    const struct slot *between;
    int64_t pictures, shared;

    if (!has_rows(a) || !has_rows(b) || slot == PLAN_NO_SLOT || b->in[0] != slot || readers[slot] != 1)
        return false;
    between = &plan->slots[slot];
    pictures = between->tensor.shape.dim[0];
    shared = rows->last - rows->first + 1 - rows->stride; /* by neighbouring rows */
    if (between->place != SLOT_ARENA || between->root != slot || between->wide != PLAN_NO_SLOT ||
        between->fixed)
        return false;
    if (threads > 1 && (unevenness(pictures * rows->count, threads) > MOST_UNEVEN ||
                        (double) (shared * (threads - 1)) >
                            MOST_TWICE * (double) (pictures * a->step.rows.count)))
        return false;
    return between->tensor.bytes > CACHE_BYTES || (threads > 1 && shared <= 0);
}

/* Room for the inner values of a band. */
static void set_band(struct row_group *group, int64_t band)
{
    int64_t rows = band;
    size_t bytes = 0;

    group->band = band;
    for (size_t l = group->count - 1; l-- > 0;) {
        const struct pith_rows *wants = &group->link[l + 1]->step.rows;
        const struct pith_tensor *value = &group->link[l]->step.output[0];
        const struct pith_image *image = &group->link[l]->step.output_image[0];
        const int64_t element = (int64_t) (pith_dtype_bits(value->dtype) / 8);
        struct between *b = &group->between[l];

        rows = (rows - 1) * wants->stride + wants->last - wants->first + 1;
        b->row_bytes = image->row * element;
        b->lead_bytes = image->left * image->pixel * element;
        b->offset = bytes;
        bytes +=
            (size_t) ((rows + image->top + image->bottom) * b->row_bytes) + PITH_IMAGE_SLACK_BYTES;
        bytes = (bytes + PLAN_ALIGNMENT - 1) / PLAN_ALIGNMENT * PLAN_ALIGNMENT;
    }
    group->part_bytes = bytes;
}

static void choose_band(const struct plan *plan, struct row_group *group)
{
    const struct plan_step *last = group->link[group->count - 1];
    const uint32_t threads = plan->options.threads > 1 ? plan->options.threads : 1;
    int64_t all;

    group->rows = last->step.rows.count;
    group->pictures = last->step.output[0].shape.dim[0];
    all = group->pictures * group->rows;
    for (int64_t band = (group->rows + threads - 1) / threads;; band--) {
        set_band(group, band);
        if (band == 1 || group->part_bytes <= BAND_BYTES)
            break;
    }
    group->step.parts = pith_parts_of(all < threads ? all : threads);
    if (group->step.parts > TEAM_MAX_THREADS)
        group->step.parts = TEAM_MAX_THREADS;
    group->step.scratch_bytes = group->step.parts * group->part_bytes;
}

static struct row_group *new_group(struct plan *plan, size_t first, size_t count)
{
    struct row_group *group = calloc(1, sizeof *group);

    if (!group)
        return NULL;
    group->step.kernel = &kernel;
    group->step.name = plan->steps[first]->step.name;
    group->step.params = group;
    group->step.view = -1;
    group->first = first;
    group->count = count;
    for (size_t l = 0; l < count; l++) {
        group->link[l] = plan->steps[first + l];
        plan->steps[first + l]->group = group;
        group->step.macs += plan->steps[first + l]->step.macs;
        if (l + 1 < count)
            plan->slots[plan->steps[first + l]->out[0]].place = SLOT_ROWS;
    }
    choose_band(plan, group);
    return group;
}

int plan_find_row_groups(struct plan *plan)
{
    uint32_t *readers;

    if (plan->has_late)
        return 0;
    readers = count_readers(plan);
    plan->row_groups = calloc(plan->step_count + 1, sizeof *plan->row_groups);
    for (size_t s = 0, count; readers && plan->row_groups && s < plan->step_count; s += count) {
        for (count = 1; count < MOST_LINKS && s + count < plan->step_count &&
                        links(plan, readers, plan->steps[s + count - 1], plan->steps[s + count]);)
            count++;
        if (count == 1)
            continue;
        plan->row_groups[plan->row_group_count] = new_group(plan, s, count);
        if (!plan->row_groups[plan->row_group_count++])
            break;
    }
    free(readers);
    return readers && plan->row_groups &&
                   (plan->row_group_count == 0 || plan->row_groups[plan->row_group_count - 1])
               ? 0
               : -ENOMEM;
}
