/* The instruction sets that kernels are built for, and the one that this process uses.
 * PITH_ISA=plain|sse2|avx2|avx512|avx512vnni|neon|dotprod|i8mm in the environment caps the choice.
 */
#ifndef PITH_KERNELS_ISA_H
#define PITH_KERNELS_ISA_H

#include <stdbool.h>
#include <stddef.h>

/* Whether this compiler builds forms with dot products and matrix products for aarch64 beside those without: clang has their
 * intrinsics only where all of a file may use them, before version 16. */
#if defined __aarch64__ && (!defined __clang__ || __clang_major__ >= 16)
#define PITH_ARM_DOTS 1
#else
#define PITH_ARM_DOTS 0
#endif

enum pith_isa {
    PITH_ISA_PLAIN,  /* plain C, on every CPU: what defines the answer */
    PITH_ISA_SSE2,   /* every x86-64 */
    PITH_ISA_AVX2,   /* with FMA */
    PITH_ISA_AVX512, /* F, BW, VL, DQ */
    PITH_ISA_AVX512_VNNI,
    PITH_ISA_NEON, /* every aarch64 */
    PITH_ISA_NEON_DOTPROD,
    PITH_ISA_NEON_I8MM,
    PITH_ISA_COUNT,
};

/* The one to use: the best that this CPU and its kernel offer, no better than PITH_ISA says. Read
 * once; the same for the life of the process. An unknown PITH_ISA, or one that this CPU lacks, is
 * taken as not given. Thread: any. */
enum pith_isa pith_isa(void);
/* For tests: from now on pith_isa() is that one, which must run here. What was prepared before keeps its own. */
void pith_isa_set(enum pith_isa isa);
bool pith_isa_runs(enum pith_isa isa);        /* on this CPU, whatever PITH_ISA says: for tests */
const char *pith_isa_name(enum pith_isa isa); /* "avx512vnni": as PITH_ISA writes it */

/* Whether this CPU does 512-bit multiply-adds no faster than two of 256 bits, so that half vectors cost half. AMD's: those with
 * AVX-512 up to Zen 4 do, and from Zen 5 on mobile ones. */
bool pith_isa_halves_512(void);

/* Whether a form built for `form` may be used where pith_isa() is `isa`: AVX-512 VNNI runs AVX2's.
 */
static inline bool pith_isa_includes(enum pith_isa isa, enum pith_isa form)
{
    if (form == PITH_ISA_PLAIN)
        return true;
    return form <= isa && (form >= PITH_ISA_NEON) == (isa >= PITH_ISA_NEON);
}

/* Of an array of forms, the best first, that each begin with their enum pith_isa: the first one that may be used where
 * pith_isa() is what it is; NULL where there is none. */
#define PITH_ISA_BEST(forms) pith_isa_best(forms, sizeof(forms) / sizeof *(forms), sizeof *(forms))
const void *pith_isa_best(const void *forms, size_t count, size_t form_bytes);

#endif
