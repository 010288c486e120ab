/* Keyword maps beyond the thousand that are at hand: MLPerf Tiny's features of Speech Commands' own clips
 * (mlcommons/tiny, keyword_spotting/get_dataset.py: tf.signal's stft, mel bands and mfccs). Those of clips
 * whose map is among the thousand come out the same to the last bit, which shows that the features are
 * right, and are left out. */
#include "bench/compression/rows/rows.h"

#include "libpith/formats/npy.h"

#include <complex.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SECOND    16000
#define WINDOW    480
#define STEP      320
#define FFT       512
#define BINS      (FFT / 2 + 1)
#define FRAMES    ((SECOND - WINDOW) / STEP + 1)
#define BANDS     40
#define LOWEST_HZ 20.0
#define TOP_HZ    4000.0
#define KEPT      10
#define MAP       (FRAMES * KEPT)
#define SCALE     0.584703
#define ZERO      83

struct tables {
    double complex root[FFT / 2]; /* of 1, by their angle */
    double hann[WINDOW], mel[BINS][BANDS], dct[BANDS][KEPT];
};

static double mel_of(double hz)
{
    return 1127 * log(1 + hz / 700);
}

static void fill(struct tables *t)
{
    const double low = mel_of(LOWEST_HZ), step = (mel_of(TOP_HZ) - low) / (BANDS + 1);

    for (int i = 0; i < FFT / 2; i++)
        t->root[i] = cexp(-2 * M_PI * I * i / FFT);
    for (int i = 0; i < WINDOW; i++)
        t->hann[i] = 0.5 - 0.5 * cos(2 * M_PI * i / WINDOW);
    for (int bin = 0; bin < BINS; bin++)
        for (int band = 0; band < BANDS; band++) {
            double at = (mel_of(bin * (double) SECOND / FFT) - low) / step - band; /* 0 to 2 within the band */

            t->mel[bin][band] = bin > 0 ? fmax(0, fmin(at, 2 - at)) : 0;
        }
    for (int band = 0; band < BANDS; band++)
        for (int k = 0; k < KEPT; k++)
            t->dct[band][k] = cos(M_PI * (band + 0.5) * k / BANDS) * 2 / sqrt(2.0 * BANDS);
}

/* The discrete Fourier transform of every `step`th of FFT values. */
static void transform(const struct tables *t, const double *x, double complex *y, int step)
{
    const int size = FFT / step;

    if (size == 1) {
        *y = *x;
        return;
    }
    transform(t, x, y, 2 * step);
    transform(t, x + step, y + size / 2, 2 * step);
    for (int i = 0; i < size / 2; i++) {
        double complex even = y[i], odd = t->root[i * step] * y[i + size / 2];

        y[i] = even + odd;
        y[i + size / 2] = even - odd;
    }
}

/* One frame's coefficients. */
static void frame_of(const struct tables *t, const double *frame, int8_t *out)
{
    double bands[BANDS] = {0};
    double complex bins[FFT];

    transform(t, frame, bins, 1);
    for (int bin = 0; bin < BINS; bin++) {
        const double magnitude = cabs(bins[bin]);

        for (int band = 0; band < BANDS; band++)
            bands[band] += magnitude * t->mel[bin][band];
    }
    for (int band = 0; band < BANDS; band++)
        bands[band] = log(bands[band] + 1e-6);
    for (int k = 0; k < KEPT; k++) {
        double sum = 0;

        for (int band = 0; band < BANDS; band++)
            sum += bands[band] * t->dct[band][k];
        out[k] = (int8_t) fmax(-128, fmin(sum / SCALE + ZERO, 127));
    }
}

/* Whether the clip has a map: silence, of which no sample is above 0, has none. */
static bool map_of(const struct tables *t, const struct pith_tensor *clip, int8_t *map)
{
    const int16_t *pcm = clip->data;
    int64_t samples = pith_shape_elements(&clip->shape);
    int16_t peak = 0;

    for (int64_t i = 0; i < samples; i++)
        peak = pcm[i] > peak ? pcm[i] : peak;
    for (int f = 0; f < FRAMES && peak > 0; f++) {
        double frame[FFT] = {0};

        for (int64_t i = 0, at = f * STEP; i < WINDOW && at < samples; i++, at++)
            frame[i] = (float) pcm[at] / (float) peak * t->hann[i];
        frame_of(t, frame, map + f * KEPT);
    }
    return peak > 0;
}

static bool is_among(const int8_t *map, const struct pith_tensor *known)
{
    const int8_t *other = known->data;

    for (int64_t n = known->shape.dim[0]; n > 0; n--, other += MAP) {
        int64_t apart = 0;

        for (int i = 0; i < MAP && apart < MAP / 4; i++)
            apart += abs(map[i] - other[i]);
        if (apart < MAP / 4)
            return true;
    }
    return false;
}

/* dtype: of one byte */
static void write_bytes(const char *path, void *data, int32_t dtype, struct pith_shape shape)
{
    struct pith_error err = {0};
    struct pith_tensor tensor = {.data = data,
                                 .dtype = dtype,
                                 .shape = shape,
                                 .bytes = (size_t) pith_shape_elements(&shape)};

    lab_must(pith_npy_write(path, &tensor, &err), &err, path);
}

void make_keyword_maps(const struct lab *lab, const char *x_path, const char *y_path)
{
    static struct tables tables;
    static bool made; /* in this run */
    const struct pith_dataset_options clips = {
        .data = lab_path(lab->data, "speech_commands/clips_flac.tar.zst"),
        .index = lab_path(lab->data, "speech_commands/index.csv"),
        .labels = "class",
        .classes = lab_path(lab->data, "kws_mlperf_features/classes.txt"),
    };
    const char *known_path = lab_path(lab->data, "kws_mlperf_features/x_i8.npy");
    struct pith_tensor known;
    struct pith_dataset dataset;
    struct pith_error err = {0};
    int64_t count = 0;

    if (made)
        return;
    made = true;
    fill(&tables);
    lab_must(pith_npy_read(&known, known_path, &err), &err, known_path);
    lab_must(pith_dataset_open(&dataset, &clips, PITH_SPLIT_ALL, &err), &err, clips.data);
    int8_t *maps = malloc(dataset.count * MAP);
    uint8_t *classes = malloc(dataset.count);

    if (!maps || !classes || pith_shape_elements(&known.shape) != known.shape.dim[0] * MAP)
        lab_die("%s: no memory, or maps of another size", known_path);
    for (uint64_t i = 0; i < dataset.count; i++) {
        const struct pith_sample *sample;
        int8_t *map = maps + count * MAP;

        lab_must(pith_dataset_read(&dataset, i, &sample, &err), &err, clips.data);
        if (!map_of(&tables, &sample->x, map) || is_among(map, &known))
            continue;
        classes[count++] = (uint8_t) sample->class_index;
    }
    write_bytes(x_path, maps, PITH_INT8, (struct pith_shape){4, {count, FRAMES, KEPT, 1}});
    write_bytes(y_path, classes, PITH_UINT8, (struct pith_shape){1, {count}});
    free(maps);
    free(classes);
    pith_dataset_close(&dataset);
    pith_tensor_free(&known);
}
