/* pith keygen: a key that signs what gateways should do. */
#include "cli/output.h"

#include "libpith/base/digest.h"

#include <stdio.h>
#include <string.h>

static int run_keygen(const struct cli_command *command, int argc, char **argv)
{
    bool json = false;
    const struct cli_option options[] = {{"json", CLI_FLAG, &json, NULL, "print JSON"}, {0}};
    char private_path[512], public_path[512];
    struct pith_public_key public_key;
    struct cli_arguments arguments;
    struct pith_error err = {0};
    int code = cli_parse(command, (const struct cli_option *const[]){options, NULL}, 1, 1, argc,
                         argv, &arguments);

    if (code != CLI_GO_ON)
        return code;
    if (!arguments.given[0][0])
        return cli_usage(command, "a key needs a name");
    if (strlen(arguments.given[0]) > 500)
        return cli_usage(command, "the name is too long");
    (void) snprintf(private_path, sizeof private_path, "%s.key", arguments.given[0]);
    (void) snprintf(public_path, sizeof public_path, "%s.pub", arguments.given[0]);
    if (pith_key_generate(private_path, public_path, &err) < 0 ||
        pith_public_key_open(&public_key, public_path, &err) < 0)
        return cli_fail(&err);
    if (json) {
        json_t *key = json_pack("{ss ss ss}", "id", public_key.id, "private", private_path,
                                "public", public_path);

        print_json(key);
        json_decref(key);
    } else {
        printf("%s  signs; keep it to yourself\n%s  goes to gateways, under \"trust\" in "
               "pithd.yaml\nkey id %s\n",
               private_path, public_path, public_key.id);
    }
    return CLI_OK;
}

const struct cli_command command_keygen = {
    .name = "keygen",
    .arguments = "NAME",
    .summary = "make a key to sign models with",
    .text = "Writes NAME.key (private, readable by its owner alone) and NAME.pub (public). Neither "
            "is ever overwritten.\n\n"
            "example: pith keygen release",
    .run = run_keygen,
};
