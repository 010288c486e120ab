/* libFuzzer target: pithd.yaml. Every fault is told, and what is taken can be freed. */
#include "daemon/config.h"
#include "libpith/base/file.h"
#include "tests/fuzz/fuzz.h"

#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct pith_plugins *plugins; /* for ever, as the file's name */
    static char path[] = "/tmp/pith-fuzz-XXXXXX";
    struct pith_error err = {0};
    struct config *config;
    char *faults = NULL;

    if (!plugins && (pith_plugins_open(&plugins, NULL, &err) < 0 || mkstemp(path) < 0))
        fuzz_complain("plugins or a file", &err);
    if (pith_file_write(path, data, bytes, 0600, &err) < 0)
        fuzz_complain(path, &err);
    if (config_load(&config, path, plugins, &faults, &err) == 0)
        config_free(config);
    else if (!faults && !err.text[0])
        fuzz_complain("refused without a word", &err);
    free(faults);
    (void) unlink(path);
    return 0;
}
