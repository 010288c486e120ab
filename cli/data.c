/* Options over a description over the model's own data. */
#include "cli/data.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_description(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml") || !strcmp(dot, ".json"));
}

static int choose(const char *what, const char *text, const char *const *names, int *out,
                  struct pith_error *err)
{
    char known[256] = "";
    size_t used = 0;

    for (int i = 0; text && names[i]; i++) {
        if (!strcmp(text, names[i])) {
            *out = i;
            return 0;
        }
        used += (size_t) snprintf(known + used, used < sizeof known ? sizeof known - used : 0,
                                  "%s%s", i ? ", " : "", names[i]);
    }
    return text ? pith_fail(err, -EINVAL, "--%s %s: it must be one of %s", what, text, known) : 0;
}

/* "0.5,0.5,0.4" */
static int numbers(const char *what, const char *text, double *out, size_t *count,
                   struct pith_error *err)
{
    const char *at = text;

    if (!text)
        return 0;
    for (*count = 0; *count < PITH_PREPARE_MAX_CHANNELS;) {
        char *end;

        out[(*count)++] = strtod(at, &end);
        if (end == at || (*end && *end != ','))
            break;
        if (!*end)
            return 0;
        at = end + 1;
    }
    return pith_fail(err, -EINVAL, "--%s %s: it must be up to %d numbers with commas between them",
                     what, text, PITH_PREPARE_MAX_CHANNELS);
}

static int settle_prepare(const struct data *data, struct pith_prepare *out, struct pith_error *err)
{
    static const char *const layouts[] = {"as_is", "nchw", "nhwc", NULL};
    static const char *const channels[] = {"rgb", "bgr", "grey", NULL};
    long long width, height;
    int end = 0;
    int rc = choose("layout", data->layout, layouts, &out->layout, err);

    if (rc == 0)
        rc = choose("channels", data->channels, channels, &out->channels, err);
    if (rc == 0)
        rc = numbers("mean", data->mean, out->mean, &out->mean_count, err);
    if (rc == 0)
        rc = numbers("scale", data->scale, out->scale, &out->scale_count, err);
    if (rc < 0 || !data->resize)
        return rc;
    if (sscanf(data->resize, "%lldx%lld%n", &width, &height, &end) < 2 || data->resize[end] ||
        width < 1 || height < 1 || width > 16384 || height > 16384)
        return pith_fail(err, -EINVAL, "--resize %s: it must be WIDTHxHEIGHT, such as 96x96",
                         data->resize);
    out->width = width;
    out->height = height;
    return 0;
}

static void take_own_data(struct data *data, const struct model *model)
{
    if (data->data || !model || model->single || !model->folder->data_path[2][0])
        return;
    data->data = model->folder->data_path[2];
    if (!data->labels && model->folder->data_path[3][0])
        data->labels = model->folder->data_path[3];
}

static void override_text(const char **to, const char *given)
{
    if (given)
        *to = given;
}

static void override_count(uint64_t *to, int64_t given)
{
    if (given > 0)
        *to = (uint64_t) given;
}

int data_settle(struct data *data, const struct model *model, struct pith_error *err)
{
    struct pith_dataset_options *options = &data->description.data;
    int rc = 0;

    take_own_data(data, model);
    if (!data->data)
        return pith_fail(err, -EINVAL,
                         "no data: name some with --data, as the model brings none of its own");
    pith_description_init(&data->description);
    if (is_description(data->data))
        rc = pith_description_read(&data->description, data->data, err);
    else
        options->data = data->data;
    if (rc < 0)
        return rc;
    override_text(&options->labels, data->labels);
    override_text(&options->index, data->index);
    override_text(&options->classes, data->classes);
    override_text(&options->where, data->where);
    override_count(&options->calibration, data->calibration);
    override_count(&options->validation, data->validation);
    override_count(&options->limit, data->limit);
    override_count(&options->seed, data->seed);
    rc = settle_prepare(data, &options->prepare, err);
    if (rc == 0)
        rc = choose("metric", data->metric, pith_metric_names, &data->description.metric.kind, err);
    return rc;
}

int data_open(const struct data *data, enum pith_split otherwise, struct pith_dataset *out,
              struct pith_error *err)
{
    int split = (int) otherwise;
    int rc = choose("split", data->split, pith_split_names, &split, err);

    return rc < 0 ? rc
                  : pith_dataset_open(out, &data->description.data, (enum pith_split) split, err);
}

int data_show(const struct data *data, struct model *model, struct pith_error *err)
{
    struct data look = *data;
    struct pith_dataset dataset = {.count = 0};
    const struct pith_sample *first;
    int rc;

    if (!data->data || !model_wants_sample(model))
        return 0;
    rc = data_settle(&look, NULL, err);
    if (rc == 0)
        rc = data_open(&look, PITH_SPLIT_ALL, &dataset, err);
    if (rc == 0)
        rc = pith_dataset_read(&dataset, 0, &first, err);
    if (rc == 0)
        model->sample = first->x.shape;
    pith_dataset_close(&dataset);
    data_done(&look);
    return rc;
}

int data_metric(const struct data *data, const struct pith_dataset *dataset,
                struct pith_metric **out, struct pith_error *err)
{
    struct pith_metric_options options = data->description.metric;

    if (options.kind < 0)
        options.kind = pith_metric_for(dataset->labels);
    *out = NULL;
    return options.kind < 0 ? 0 : pith_metric_new(out, &options, dataset->labels, err);
}

void data_done(struct data *data)
{
    pith_description_done(&data->description);
}
