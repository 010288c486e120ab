/* libFuzzer target: recordings, pictures, arrays and tables, alone and as data sets. The first byte
 * says what the rest is. */
#include "libpith/base/file.h"
#include "libpith/compress/dataset.h"
#include "libpith/formats/flac.h"
#include "libpith/formats/jpeg.h"
#include "libpith/formats/npy.h"
#include "tests/fuzz/fuzz.h"

#include <unistd.h>

static void read_tensor(int kind, const uint8_t *data, size_t bytes, struct pith_error *err)
{
    struct pith_tensor tensor = {0};
    double rate_hz;
    int rc = kind == 0   ? pith_wav_decode(&tensor, &rate_hz, data, bytes, err)
             : kind == 1 ? pith_flac_decode(&tensor, &rate_hz, data, bytes, err)
                         : pith_jpeg_decode(&tensor, data, bytes, 3, err);

    if (fuzz_took(rc, "recording or picture", err))
        pith_tensor_free(&tensor);
}

static void read_array(const uint8_t *data, size_t bytes, struct pith_error *err)
{
    struct pith_tensor view;
    double sum = 0.0;

    if (!fuzz_took(pith_npy_view(&view, data, bytes, err), "array", err))
        return;
    for (int64_t i = 0; i < pith_shape_elements(&view.shape); i++)
        sum += pith_tensor_get(&view, i);
    if (sum == 1e300) /* or nothing would need it */
        fprintf(stderr, "%g\n", sum);
}

static void read_set(const char *name, const uint8_t *data, size_t bytes, struct pith_error *err)
{
    static char folder[] = "/tmp/pith-fuzz-XXXXXX";
    char path[64];
    struct pith_dataset_options options = {.data = path, .calibration = 2, .validation = 1};

    if (folder[sizeof folder - 2] == 'X' && !mkdtemp(folder))
        abort();
    (void) snprintf(path, sizeof path, "%s/%s", folder, name);
    if (pith_file_write(path, data, bytes, 0600, err) < 0)
        fuzz_complain(path, err);
    for (int labelled = 0; labelled < 2; labelled++) {
        struct pith_dataset set = {0};
        const struct pith_sample *sample;

        options.labels = labelled ? "y" : NULL;
        if (!fuzz_took(pith_dataset_open(&set, &options, PITH_SPLIT_TEST, err), name, err))
            continue;
        for (uint64_t i = 0; i < set.count && i < 5; i++)
            (void) fuzz_took(pith_dataset_read(&set, i, &sample, err), "sample", err);
        pith_dataset_close(&set);
    }
    (void) unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char *const sets[] = {"x.csv", "x.tar", "x.npy.zst", "x.tar.zst"};
    struct pith_error err = {0};

    if (bytes < 1)
        return 0;
    if (data[0] % 8 < 3)
        read_tensor(data[0] % 8, data + 1, bytes - 1, &err);
    else if (data[0] % 8 == 3)
        read_array(data + 1, bytes - 1, &err);
    else
        read_set(sets[data[0] % 4], data + 1, bytes - 1, &err);
    return 0;
}
