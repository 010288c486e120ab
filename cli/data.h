/* Data and metrics for commands: what --data and the options beside it name. */
#ifndef PITH_CLI_DATA_H
#define PITH_CLI_DATA_H

#include "cli/model.h"
#include "libpith/compress/description.h"

struct data { /* options as they were given; zeroed but for seed, which is 1 where it isn't */
    const char *data, *labels, *index, *classes, *where, *metric, *split, *resize, *channels, *layout, *mean, *scale;
    int64_t seed, calibration, validation, limit;
    struct pith_description description; /* of the file, with the options over it */
};
/* Settles the description: from a .yaml file, from options, or the model's own validation data (model may be NULL). */
int data_settle(struct data *data, const struct model *model, struct pith_error *err) PITH_CHECKED;
/* Shows the model a sample, where its file leaves more open than the batch (model->sample). Before data_settle, which may
 * come after the model's manifest is made. */
int data_show(const struct data *data, struct model *model, struct pith_error *err) PITH_CHECKED;
/* The split that --split names; `otherwise` where it isn't given. */
int data_open(const struct data *data, enum pith_split otherwise, struct pith_dataset *out,
              struct pith_error *err) PITH_CHECKED;
/* The metric that was named, or that fits the labels. *out: NULL where there are none. */
int data_metric(const struct data *data, const struct pith_dataset *dataset, struct pith_metric **out,
                struct pith_error *err) PITH_CHECKED;
void data_done(struct data *data);

/* Initializers for a command's table of options. */
#define DATA_OPTIONS(d)                                                                                                 \
    {"data", CLI_TEXT, &(d).data, "DATA",                                                                               \
     "a description (.yaml), X.npy[.zst], X.csv, X.tar[.zst] or a folder (the model's own validation data)"},           \
        {"labels", CLI_TEXT, &(d).labels, "LABELS", "Y.npy, the column of a table or index, or a folder of boxes"},     \
        {"index", CLI_TEXT, &(d).index, "X.csv", "files with their labels: columns path and label"},                    \
        {"classes", CLI_TEXT, &(d).classes, "FILE", "a class a line, in the model's order"},                            \
        {"where", CLI_TEXT, &(d).where, "COLUMN=VALUE", "only these rows of the index"},                                \
        {"metric", CLI_TEXT, &(d).metric, "NAME",                                                                       \
         "top1, f1, auc, mse, anomaly_auc, map50, psnr or ssim (what fits the labels)"},                                \
        {"split", CLI_TEXT, &(d).split, "NAME", "all, calibration, validation or test"},                                \
        {"calibration", CLI_INT, &(d).calibration, "COUNT", "samples of the calibration split (0)", 0, INT64_MAX},      \
        {"validation", CLI_INT, &(d).validation, "COUNT", "samples of the validation split (0)", 0, INT64_MAX},         \
        {"seed", CLI_INT, &(d).seed, "NUMBER", "of the shuffle that splits are cut from (1)", 0, INT64_MAX},            \
        {"limit", CLI_INT, &(d).limit, "COUNT", "most samples of a split", 1, INT64_MAX},                               \
        {"resize", CLI_TEXT, &(d).resize, "WxH", "pictures become so large"},                                           \
        {"channels", CLI_TEXT, &(d).channels, "rgb|bgr|grey", "of pictures (rgb)"},                                     \
        {"layout", CLI_TEXT, &(d).layout, "nchw|nhwc", "channels first or last (as they are)"},                         \
        {"mean", CLI_TEXT, &(d).mean, "A[,B...]", "what is subtracted, then"},                                          \
    {                                                                                                                   \
        "scale", CLI_TEXT, &(d).scale, "A[,B...]", "what is multiplied by"                                              \
    }

#endif
