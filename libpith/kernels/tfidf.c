/* TfIdfVectorizer: counts n-grams of integers, which may skip elements in between. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/numbers.h"

#include <errno.h>
#include <string.h>

enum tfidf_mode { TFIDF_TF, TFIDF_IDF, TFIDF_TFIDF };

struct tfidf {
    int64_t rows, length, width; /* of the input, and of the output */
    int64_t least, most, skips;  /* lengths of n-grams, elements left out between two */
    enum tfidf_mode mode;
    int64_t *pool, pool_count;   /* all n-grams behind one another */
    int64_t *start, start_count; /* where those of length i + 1 begin in the pool */
    int64_t *index;              /* of each n-gram, in the order of the pool: where it is counted */
    double *weight;              /* of each n-gram */
};

static int64_t *copy_list(struct pith_step *step, const char *name, int64_t *out_count)
{
    size_t count = 0;
    const int64_t *list = pith_node_ints(step->graph, step->node, name, &count);
    int64_t *copy = pith_step_alloc(step, (int64_t) (count * sizeof *copy) + 8);

    *out_count = list ? (int64_t) count : 0;
    if (copy && list)
        memcpy(copy, list, count * sizeof *list);
    return copy;
}

static int tfidf_lists(struct pith_step *step, struct tfidf *t, struct pith_error *err)
{
    const char *mode = pith_node_string(step->graph, step->node, "mode", "TF");
    int64_t index_count, grams = 0;
    size_t weight_count = 0;
    const float *weights = pith_node_floats(step->graph, step->node, "weights", &weight_count);

    t->pool = copy_list(step, "pool_int64s", &t->pool_count);
    t->start = copy_list(step, "ngram_counts", &t->start_count);
    t->index = copy_list(step, "ngram_indexes", &index_count);
    t->weight = pith_step_alloc(step, index_count * (int64_t) sizeof(double) + 8);
    if (!t->pool || !t->start || !t->index || !t->weight)
        return -ENOMEM;
    t->mode = strcmp(mode, "TF") == 0    ? TFIDF_TF
              : strcmp(mode, "IDF") == 0 ? TFIDF_IDF
                                         : TFIDF_TFIDF;
    if (t->pool_count == 0)
        return pith_step_fail(step, err, -ENOTSUP, "it has no pool of integers");
    for (int64_t i = 0; i < t->start_count; i++) {
        int64_t end = i + 1 < t->start_count ? t->start[i + 1] : t->pool_count;

        if (t->start[i] < 0 || end < t->start[i] || end > t->pool_count ||
            (end - t->start[i]) % (i + 1) != 0)
            return pith_step_fail(step, err, -EINVAL,
                                  "attribute ngram_counts does not fit the pool");
        grams += (end - t->start[i]) / (i + 1);
    }
    if (grams != index_count || (weights && weight_count != (size_t) grams))
        return pith_step_fail(step, err, -EINVAL, "%lld n-grams for %lld indexes",
                              (long long) grams, (long long) index_count);
    for (int64_t i = 0; i < grams; i++) {
        if (t->index[i] < 0 || t->index[i] >= t->width)
            return pith_step_fail(step, err, -EINVAL, "index %lld is outside the output",
                                  (long long) t->index[i]);
        t->weight[i] = weights ? (double) weights[i] : 1;
    }
    return 0;
}

static int tfidf_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *out = &step->output[0].shape;
    struct tfidf *t = pith_step_alloc(step, sizeof *t);

    if (!t)
        return -ENOMEM;
    if (x->rank < 1 || x->rank > 2 || out->rank != x->rank ||
        step->output[0].dtype != PITH_FLOAT32 || (x->rank == 2 && out->dim[0] != x->dim[0]))
        return pith_step_fail(step, err, -EINVAL,
                              "its input must be a row, or rows, and its output like it");
    t->rows = x->rank == 2 ? x->dim[0] : 1;
    t->length = x->dim[x->rank - 1];
    t->width = out->dim[out->rank - 1];
    t->least = pith_node_int(step->graph, step->node, "min_gram_length", 1);
    t->most = pith_node_int(step->graph, step->node, "max_gram_length", 1);
    t->skips = pith_node_int(step->graph, step->node, "max_skip_count", 0);
    if (t->least < 1 || t->most < t->least || t->skips < 0 || t->skips > INT32_MAX ||
        t->most > INT32_MAX)
        return pith_step_fail(step, err, -EINVAL,
                              "n-grams of %lld to %lld with %lld skips are not possible",
                              (long long) t->least, (long long) t->most, (long long) t->skips);
    step->params = t;
    return tfidf_lists(step, t, err);
}

static bool gram_at(const struct pith_tensor *x, int64_t from, int64_t by, const int64_t *gram,
                    int64_t n)
{
    const int64_t bytes = (int64_t) numbers_bytes(x->dtype);

    for (int64_t i = 0; i < n; i++) {
        int64_t element;

        numbers_load_i64(x->dtype, (const char *) x->data + (from + i * by) * bytes, 1, &element,
                         1);
        if (element != gram[i])
            return false;
    }
    return true;
}

/* How often one n-gram lies in a row, at any distance; single elements have no distance. */
static double count_gram(const struct tfidf *t, const struct pith_tensor *x, int64_t row,
                         const int64_t *gram, int64_t n)
{
    const int64_t farthest = n == 1 ? 1 : t->skips + 1;
    double count = 0;

    for (int64_t by = 1; by <= farthest && (n - 1) * by < t->length; by++)
        for (int64_t at = 0; at + (n - 1) * by < t->length; at++)
            count += gram_at(x, row * t->length + at, by, gram, n);
    return count;
}

static int tfidf_run(struct pith_step *step, struct pith_error *err)
{
    const struct tfidf *t = step->params;
    float *out = step->output[0].data;

    (void) err;
    memset(out, 0, (size_t) (t->rows * t->width) * sizeof *out);
    for (int64_t row = 0; row < t->rows; row++) {
        int64_t gram = 0;

        for (int64_t i = 0; i < t->start_count; i++) {
            int64_t n = i + 1, end = n < t->start_count ? t->start[n] : t->pool_count;

            for (int64_t at = t->start[i]; at < end; at += n, gram++) {
                double count;

                if (n < t->least || n > t->most)
                    continue;
                count = count_gram(t, &step->input[0], row, t->pool + at, n);
                if (t->mode == TFIDF_IDF)
                    count = count > 0 ? t->weight[gram] : 0;
                else if (t->mode == TFIDF_TFIDF)
                    count *= t->weight[gram];
                out[row * t->width + t->index[gram]] += (float) count;
            }
        }
    }
    return 0;
}

const struct pith_kernel pith_kernels_tfidf[] = {
    {.op = "TfIdfVectorizer",
     .name = "tfidf",
     .types = {PITH_BIT(INT32) | PITH_BIT(INT64)},
     .prepare = tfidf_prepare,
     .run = tfidf_run},
    {0},
};
