/* Products of float rows with a constant matrix that is kept narrow: packing, the forms, and the
 * kernels for quantized weights with float activations. See narrow.h. */
#include "libpith/kernels/narrow.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "libpith/kernels/families.h"
#include "libpith/kernels/isa.h"

/* Elements along the depth that lie together in a vector of columns: so many in each lane's bytes.
 */
static inline __attribute__((always_inline)) int narrow_group(enum narrow_kind kind)
{
    return kind == NARROW_FOURTHS ? 8 : kind == NARROW_BFLOAT16 ? 2 : 1;
}

static inline __attribute__((always_inline)) int narrow_group_bytes(enum narrow_kind kind)
{
    return kind == NARROW_BYTES ? 1 : kind == NARROW_FLOAT16 ? 2 : 4;
}

struct pith_narrow {
    enum narrow_kind kind;
    void (*run)(const struct pith_narrow *s, const struct pith_narrow_call *call);
    int lanes;
    int64_t depth, cols, padded; /* padded: columns, filled up to vectors */
    int64_t block;         /* of the depth, that has a scale of its own; the depth: all of it */
    const float *scale;    /* [block][padded]; NULL: elements are what they say */
    int64_t vector_bytes;  /* of packed: of one vector of columns */
    const uint8_t *packed; /* [up to four vectors][group of the depth][vector][lane] */
};

/* ---- forms ---- */

#if defined __x86_64__
#include <immintrin.h>

#define FORM(name) name##_sse2
#define TARGET
#define LANES 4
#define ROWS  2
#include "libpith/kernels/narrow_body.h"

/* Every CPU with AVX2 has the conversion of float16. */
#define FORM(name) name##_avx2
#define TARGET     __attribute__((target("avx2,fma,f16c")))
#define LANES      8
#define ROWS       2
#define BYTES_OF(p)                                                                                \
    ((vector_avx2) _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *) (p)))))
#define HALVES_OF(p) ((vector_avx2) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) (p))))
#include "libpith/kernels/narrow_body.h"

/* A permutation looks at four bits of each lane: a table of what they stand for makes them floats.
 */
#define FORM(name) name##_avx512
#define TARGET     __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")))
#define LANES      16
#define ROWS       4
#define BYTES_OF(p)                                                                                \
    ((vector_avx512) _mm512_cvtepi32_ps(                                                           \
        _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *) (p)))))
#define FOURTH_OF(w, at)                                                                           \
    ((vector_avx512) _mm512_permutexvar_ps(                                                        \
        (__m512i) ((w) >> (4 * (at))),                                                             \
        _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1)))
#define HALVES_OF(p) ((vector_avx512) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *) (p))))
#include "libpith/kernels/narrow_body.h"
#else
#define FORM(name) name##_plain
#define TARGET
#define LANES 4
#define ROWS  4
#include "libpith/kernels/narrow_body.h"
#endif

static const struct narrow_form {
    enum pith_isa isa;
    int lanes;
    void (*run)(const struct pith_narrow *s, const struct pith_narrow_call *call);
    void (*expand)(enum narrow_kind kind, const uint8_t *packed, int64_t rows, int64_t width, const float *scale, float *to);
} forms[] = {
#if defined __x86_64__
    {PITH_ISA_AVX512, 16, run_avx512, expand_avx512},
    {PITH_ISA_AVX2, 8, run_avx2, expand_avx2},
    {PITH_ISA_PLAIN, 4, run_sse2, expand_sse2}, /* vectors of 128 bits, which every one has */
#else
    {PITH_ISA_PLAIN, 4, run_plain, expand_plain},
#endif
};

#define FORM_COUNT (sizeof forms / sizeof *forms)

static const struct narrow_form *forced;

bool pith_narrow_force(int index)
{
    forced = NULL;
    for (size_t f = 0; index >= 0 && f < FORM_COUNT; f++)
        if (pith_isa_runs(forms[f].isa) && index-- == 0)
            forced = &forms[f];
    return forced != NULL;
}

static const struct narrow_form *form_for(enum pith_isa isa)
{
    size_t f = 0;

    if (forced)
        return forced;
    while (!pith_isa_includes(isa, forms[f].isa))
        f++;
    return &forms[f];
}

/* ---- what the matrix is kept as ---- */

struct matrix {
    const struct pith_tensor *tensor;
    const struct pith_quantization *grid;
    int64_t depth, cols, b_depth, b_col;
    int64_t block;
    bool by_block;
};

static int64_t scale_of(const struct matrix *m, int64_t p, int64_t j)
{
    if (m->grid->count == 1)
        return 0;
    if (!m->by_block)
        return j;
    /* scales lie as the matrix does, its depth cut into blocks */
    return m->b_depth == 1 ? j * ((m->depth + m->block - 1) / m->block) + p / m->block
                           : p / m->block * m->cols + j;
}

static int32_t integer_at(const struct matrix *m, int64_t p, int64_t j)
{
    return (int32_t) (pith_tensor_get_int(m->tensor, p * m->b_depth + j * m->b_col) -
                      m->grid->zero_point[scale_of(m, p, j)]);
}

static float float_at(const struct matrix *m, int64_t p, int64_t j)
{
    return ((const float *) m->tensor->data)[p * m->b_depth + j * m->b_col];
}

/* Whether both halves hold every element; the infinite and NaN are for the float kernel. */
static bool find_halves(const struct matrix *m, enum narrow_kind *out)
{
    bool half = true, brain = true;

    for (int64_t p = 0; p < m->depth; p++)
        for (int64_t j = 0; j < m->cols; j++) {
            const float x = float_at(m, p, j);

            half = half && pith_float16_to_float(pith_float_to_float16(x)) == x;
            brain = brain && pith_bfloat16_to_float(pith_float_to_bfloat16(x)) == x;
            if (!isfinite(x) || (!half && !brain))
                return false;
        }
    *out = brain ? NARROW_BFLOAT16 : NARROW_FLOAT16;
    return true;
}

static bool find_integers(const struct matrix *m, enum narrow_kind *out)
{
    int32_t least = 0, most = 0;

    for (int64_t p = 0; p < m->depth; p++)
        for (int64_t j = 0; j < m->cols; j++) {
            const int32_t v = integer_at(m, p, j);

            least = v < least ? v : least;
            most = v > most ? v : most;
        }
    *out = least >= -8 && most <= 7 && (m->block == m->depth || m->block % 8 == 0) ? NARROW_FOURTHS
                                                                                   : NARROW_BYTES;
    return least >= -128 && most <= 127;
}

static bool has_scales(struct matrix *m, int32_t col_axis)
{
    const struct pith_quantization *q = m->grid;

    m->block = m->depth;
    if (q->block_size == 0)
        return q->count == 1 || (q->axis == col_axis && (int64_t) q->count == m->cols);
    m->by_block = true;
    m->block = q->block_size;
    return q->axis != col_axis && m->block > 0 &&
           (int64_t) q->count == (m->depth + m->block - 1) / m->block * m->cols;
}

/* ---- packing ---- */

/* Where element p of column j lies, and which of its group it is. */
static uint8_t *place_of(const struct pith_narrow *s, uint8_t *packed, int64_t p, int64_t j)
{
    const int64_t tile = 4 * s->lanes, first = j / tile * tile,
                  left = s->padded - first < tile ? s->padded - first : tile,
                  group = p / narrow_group(s->kind);

    return packed + first / s->lanes * s->vector_bytes +
           (group * left + j - first) * narrow_group_bytes(s->kind);
}

static void pack_element(const struct pith_narrow *s, const struct matrix *m, uint8_t *packed,
                         int64_t p, int64_t j)
{
    const int at = (int) (p % narrow_group(s->kind));
    uint8_t *to = place_of(s, packed, p, j);
    uint16_t half;

    switch (s->kind) {
    case NARROW_FOURTHS:
        to[at / 2] |= (uint8_t) ((integer_at(m, p, j) & 15) << (at % 2 * 4));
        break;
    case NARROW_BYTES:
        *to = (uint8_t) integer_at(m, p, j);
        break;
    case NARROW_FLOAT16:
        half = pith_float_to_float16(float_at(m, p, j));
        memcpy(to, &half, sizeof half);
        break;
    case NARROW_BFLOAT16:
        half = pith_float_to_bfloat16(float_at(m, p, j));
        memcpy(to + at * (int) sizeof half, &half, sizeof half);
        break;
    }
}

const char *pith_narrow_name(enum narrow_kind kind)
{
    static const char *const names[] = {"int4 weights", "int8 weights", "float16 weights",
                                        "bfloat16 weights"};

    return names[kind];
}

static int pack(struct pith_step *step, struct pith_narrow *s, const struct matrix *m)
{
    const int64_t groups = (m->depth + narrow_group(s->kind) - 1) / narrow_group(s->kind),
                  blocks = (m->depth + m->block - 1) / m->block;
    uint8_t *packed;
    float *scale;

    s->vector_bytes = groups * s->lanes * narrow_group_bytes(s->kind);
    packed = pith_step_alloc(step, s->padded / s->lanes * s->vector_bytes);
    if (!packed)
        return -ENOMEM;
    for (int64_t p = 0; p < m->depth; p++)
        for (int64_t j = 0; j < m->cols; j++)
            pack_element(s, m, packed, p, j);
    s->packed = pith_step_share(step, packed);
    if (!m->grid)
        return 0;
    scale = pith_step_alloc(step, blocks * s->padded * (int64_t) sizeof *scale);
    if (!scale)
        return -ENOMEM;
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t j = 0; j < m->cols; j++)
            scale[b * s->padded + j] = m->grid->scale[scale_of(m, b * m->block, j)];
    s->scale = pith_step_share(step, scale);
    return 0;
}

int pith_narrow_plan(struct pith_step *step, int64_t depth, int64_t cols, int64_t b_depth,
                     int64_t b_col, int32_t col_axis, struct pith_narrow **out)
{
    const struct narrow_form *form = form_for(pith_isa());
    struct matrix m = {.tensor = &step->input[1],
                       .grid = step->input[1].dtype == PITH_FLOAT32 || !step->input_quantization
                                   ? NULL
                                   : step->input_quantization[1],
                       .depth = depth,
                       .cols = cols,
                       .b_depth = b_depth,
                       .b_col = b_col,
                       .block = depth};
    enum narrow_kind kind;
    struct pith_narrow *s;
    int rc;

    if (!m.tensor->data || depth < 1 || cols < 1 ||
        (m.grid ? !has_scales(&m, col_axis) || !find_integers(&m, &kind)
                : m.tensor->dtype != PITH_FLOAT32 || !find_halves(&m, &kind)))
        return 1;
    s = pith_step_alloc(step, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->kind = kind;
    s->run = form->run;
    s->lanes = form->lanes;
    s->depth = depth;
    s->cols = cols;
    s->padded = (cols + form->lanes - 1) / form->lanes * form->lanes;
    s->block = m.block;
    rc = pack(step, s, &m);
    if (rc < 0)
        return rc;
    step->form = pith_narrow_name(kind);
    *out = s;
    return 0;
}

void pith_narrow_run(const struct pith_narrow *n, const struct pith_narrow_call *call)
{
    n->run(n, call);
}

/* ---- rows ---- */

int64_t pith_narrow_rows_bytes(enum narrow_kind kind, int64_t rows, int64_t width)
{
    return (rows + narrow_group(kind) - 1) / narrow_group(kind) * width * narrow_group_bytes(kind);
}

void pith_narrow_rows_put(enum narrow_kind kind, uint8_t *packed, int64_t width, int64_t row,
                          int64_t col, float value)
{
    const int at = (int) (row % narrow_group(kind));
    uint8_t *to = packed + (row / narrow_group(kind) * width + col) * narrow_group_bytes(kind);
    uint16_t half;

    switch (kind) {
    case NARROW_FOURTHS:
        to[at / 2] |= (uint8_t) (((int) value & 15) << (at % 2 * 4));
        break;
    case NARROW_BYTES:
        *to = (uint8_t) (int8_t) value;
        break;
    case NARROW_FLOAT16:
        half = pith_float_to_float16(value);
        memcpy(to, &half, sizeof half);
        break;
    case NARROW_BFLOAT16:
        half = pith_float_to_bfloat16(value);
        memcpy(to + at * (int) sizeof half, &half, sizeof half);
        break;
    }
}

void pith_narrow_rows_expand(enum narrow_kind kind, const uint8_t *packed, int64_t rows,
                             int64_t width, const float *scale, float *to)
{
    const struct narrow_form *form = forms;

    while (!pith_isa_includes(pith_isa(), form->isa) || width % form->lanes != 0)
        form++;
    form->expand(kind, packed, rows, width, scale, to);
}
