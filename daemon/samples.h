/* Samples of the models' inputs that are kept on this gateway, where the config consents (compression.keep_samples): the loop's
 * side of reservoir.h. Files are written on libuv's threads, one at a time. */
#ifndef PITHD_SAMPLES_H
#define PITHD_SAMPLES_H

#include "daemon/daemon.h"
#include <pith/tensor.h>

struct samples;

/* Where the config does not consent, what was kept before is removed. */
int samples_open(struct samples **out, struct daemon *daemon, struct pith_error *err) PITH_CHECKED;
void samples_reload(struct samples *samples, const struct config *config);
/* The sample is taken, and freed. NULL samples: it is only freed. */
void samples_take(struct samples *samples, const char *model, struct pith_tensor *taken);
void samples_forget(struct samples *samples, const char *model); /* the model is gone from here; NULL samples is fine */
/* <state_dir>/samples/<model> into path. */
const char *samples_folder(const struct config *config, const char *model, char *path, size_t path_bytes);
/* What waits is dropped; closed is called once nothing is under way. NULL is fine. */
void samples_close(struct samples *samples, void (*closed)(void *user), void *user);

#endif
