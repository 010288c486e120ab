/* The one table of the config file's keys: what reads it, what documents it and what checks the
 * documents all go by it. */
#ifndef PITHD_CONFIG_SCHEMA_H
#define PITHD_CONFIG_SCHEMA_H

#include "daemon/config.h"

/* What config_load fills: the config, and the parts of the file that are read in a second step. */
struct config_reading {
    struct config config; /* first: the whole is freed through it */
    const struct pith_yaml_node *home, *fleet, *trust, *groups, *pipelines, *meters, *compression,
        *telemetry;
    int log_choice;
};

/* What is read of one pipeline before its codec is looked up. */
struct config_pipeline_reading {
    struct config_pipeline pipeline;
    const struct pith_yaml_node *codec;
};

extern const struct pith_yaml_field config_root_fields[];   /* into struct config_reading */
extern const struct pith_yaml_field config_broker_fields[]; /* into struct config_broker */
extern const struct pith_yaml_field
    config_pipeline_fields[]; /* into struct config_pipeline_reading */
extern const struct pith_yaml_field config_compression_fields[]; /* into struct config_reading */
extern const struct pith_yaml_field config_telemetry_fields[];   /* into struct config_reading */
extern const uint32_t config_log_levels[];                       /* by the choice of `log` */

/* Each key as a path ("home.url", "pipelines.*.source"), in the order of the tables. */
void config_each_key(void (*each)(void *user, const char *path,
                                  const struct pith_yaml_field *field),
                     void *user);

#endif
