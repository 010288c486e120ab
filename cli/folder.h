/* A model's folder: manifest.json, in which graphs and data are named by file, and those files. */
#ifndef PITH_CLI_FOLDER_H
#define PITH_CLI_FOLDER_H

#include "cli/cli.h"
#include "libpith/model/manifest.h"

struct folder_blob {
    struct pith_blob blob;
    struct pith_buffer packed; /* the bytes as they are transferred and stored */
    char path[512];            /* where it came from */
};

#define FOLDER_MAX_BLOBS (PITH_MANIFEST_MAX_GRAPHS + 5) /* graphs, four data sets, and the manifest itself */
struct folder {
    char path[256];
    struct pith_manifest *manifest;              /* with digests filled in */
    char *manifest_text;                         /* what is signed for and uploaded */
    char graph_path[PITH_MANIFEST_MAX_GRAPHS][512]; /* in the manifest's order */
    char data_path[4][512];                      /* calibration x, y, validation x, y; "" where there is none */
    struct folder_blob blobs[FOLDER_MAX_BLOBS];  /* with pack: each once; the manifest is the last */
    size_t blob_count;
};

/* path: the folder, or its manifest.json. pack: makes the blobs as they are uploaded, which takes a while; without, digests are
 * those of the files as they lie. Each graph is parsed, so a broken one is refused here and not on a thousand gateways. */
int folder_open(struct folder **out, const char *path, bool pack, struct pith_error *err) PITH_CHECKED;
void folder_close(struct folder *folder);

#endif
