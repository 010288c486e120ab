/* Inside the manifest's reader: manifest.c reads the whole, stages.c the chain. */
#ifndef PITH_MODEL_MANIFEST_PRIVATE_H
#define PITH_MODEL_MANIFEST_PRIVATE_H

#include "libpith/base/json.h"
#include "libpith/base/yaml.h"
#include "libpith/model/manifest.h"

#include <errno.h>

#define MANIFEST                  "manifest" /* how sentences begin */
#define MANIFEST_MAX_ROW_ELEMENTS (1 << 24)  /* a row of 16 million elements is no sensor's */
#define MANIFEST_MAX_WATCH_MS     (INT64_C(90) * 86400 * 1000)

int manifest_name(const json_t *object, const char *where, const char *key,
                  char out[PITH_NAME_BYTES], struct pith_error *err) PITH_CHECKED;
/* Reads "stages"; graphs and labels have been read. */
void manifest_stage_done(struct pith_stage *stage);
int manifest_stages(struct pith_manifest *manifest, struct pith_error *err) PITH_CHECKED;

static inline int manifest_no_memory(struct pith_error *err)
{
    return pith_fail(err, -ENOMEM, MANIFEST ": no memory to read it");
}

#endif
