/* The desired document: which version of a model a gateway should run, or that it should run none.
 */
#include "libpith/model/manifest_private.h"

#include <stdlib.h>
#include <string.h>

#define DESIRED "desired"

static int read_desired(struct pith_desired *out, const json_t *json, struct pith_error *err)
{
    static const char *const known[] = {"model",    "version", "generation",
                                        "manifest", "absent",  NULL};
    int rc;

    if (!json_is_object(json))
        return pith_fail(err, -EBADMSG, DESIRED ": must be an object");
    if ((rc = pith_json_only(json, DESIRED, known, err)) < 0 ||
        (rc = manifest_name(json, DESIRED, "model", out->model, err)) < 0 ||
        (rc = pith_json_int(json, DESIRED, "generation", 1, INT64_MAX, &out->generation, err)) <
            0 ||
        (rc = pith_json_bool_or(json, DESIRED, "absent", false, &out->absent, err)) < 0)
        return rc;
    if (out->absent) {
        if (json_object_get(json, "version") || json_object_get(json, "manifest"))
            return pith_fail(err, -EBADMSG,
                             DESIRED
                             ": absent: a model that should be gone has no version or manifest");
        return 0;
    }
    if ((rc = manifest_name(json, DESIRED, "version", out->version, err)) < 0 ||
        (rc = pith_blob_parse(&out->manifest, json_object_get(json, "manifest"),
                              DESIRED ": manifest", err)) < 0)
        return rc;
    if (out->manifest.zstd)
        return pith_fail(err, -EBADMSG, DESIRED ": manifest.encoding: a manifest is never packed");
    if (out->manifest.bytes > PITH_MANIFEST_MAX_BYTES)
        return pith_fail(err, -EBADMSG,
                         DESIRED ": manifest.bytes: %lld are more than the %d that are allowed",
                         (long long) out->manifest.bytes, PITH_MANIFEST_MAX_BYTES);
    return 0;
}

int pith_desired_parse(struct pith_desired *out, const void *text, size_t bytes,
                       struct pith_error *err)
{
    struct pith_desired desired = {0};
    json_t *json;
    int rc = pith_json_parse(&json, text, bytes, PITH_MANIFEST_MAX_BYTES, DESIRED, err);

    if (rc < 0)
        return rc;
    rc = read_desired(&desired, json, err);
    json_decref(json);
    if (rc == 0)
        *out = desired;
    return rc;
}

char *pith_desired_text(const struct pith_desired *desired)
{
    json_t *json;
    char *text = NULL;

    if (desired->absent)
        json = json_pack("{ss sI sb}", "model", desired->model, "generation",
                         (json_int_t) desired->generation, "absent", 1);
    else
        json = json_pack("{ss ss sI so}", "model", desired->model, "version", desired->version,
                         "generation", (json_int_t) desired->generation, "manifest",
                         pith_blob_json(&desired->manifest));
    if (json)
        text = pith_json_text(json);
    json_decref(json);
    return text;
}
