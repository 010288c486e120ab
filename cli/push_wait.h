/* The gateways that a push is for, and waiting for what they say. */
#ifndef PITH_CLI_PUSH_WAIT_H
#define PITH_CLI_PUSH_WAIT_H

#include "cli/broker.h"
#include "libpith/base/names.h"

struct push_gateway {
    char name[PITH_NAME_BYTES];
    bool member;        /* of the target */
    bool offline;       /* its will says so */
    json_t *reported;   /* the last document; own */
    char shown[64];     /* the state that was printed last */
    bool ended;
};

struct push_target {
    bool group;
    const char *name;
    struct push_gateway *gateways; /* own */
    size_t count, capacity;
    int64_t newest_generation; /* of the model, of what the broker has for the target */
    int64_t passed_generation; /* while waiting: the newest that was there before */
};

/* Reads what the broker retains: who the target is, the desired document's generation, what was reported. Stays subscribed. */
int push_target_learn(struct push_target *target, struct broker *broker, const char *to, const char *model,
                      struct pith_error *err) PITH_CHECKED;
void push_target_done(struct push_target *target);

/* Prints a line per gateway as it goes on, until all have ended or the time is up. The exit code. */
int push_wait(struct push_target *target, struct broker *broker, const struct broker_options *options, const char *model,
              int64_t generation, int64_t wait_ms, bool json);

#endif
