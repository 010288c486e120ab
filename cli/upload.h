/* Blobs onto the broker: retained chunks under the blob's own digest. */
#ifndef PITH_CLI_UPLOAD_H
#define PITH_CLI_UPLOAD_H

#include "cli/broker.h"
#include "cli/folder.h"

struct upload_counts {
    int64_t chunks, sent_chunks; /* of all blobs; those that the broker lacked */
    int64_t bytes, sent_bytes;
};

/* Finds out which chunks the broker lacks and publishes those, in order, blob after blob. A broken-off upload leaves the
 * first chunks of a blob, so the next finds where it stopped with a few probes. everything: sends all. label: of the bar. */
int upload_blobs(struct broker *broker, const struct folder *folder, bool everything, const char *label,
                 struct upload_counts *out, struct pith_error *err) PITH_CHECKED;

#endif
