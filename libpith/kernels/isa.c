/* Which instruction set to use: what the CPU has, capped by PITH_ISA. See isa.h. */
#include "libpith/kernels/isa.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#if defined __aarch64__
#include <sys/auxv.h>

#define HWCAP_DOTPROD (1UL << 20) /* HWCAP_ASIMDDP in Linux's asm/hwcap.h */
#define HWCAP2_INT8MM (1UL << 13) /* HWCAP2_I8MM */
#endif

static const char *const names[PITH_ISA_COUNT] = {
    "plain", "sse2", "avx2", "avx512", "avx512vnni", "neon", "dotprod", "i8mm",
};

const char *pith_isa_name(enum pith_isa isa)
{
    return names[isa];
}

bool pith_isa_runs(enum pith_isa isa)
{
    switch (isa) {
    case PITH_ISA_PLAIN:
        return true;
#if defined __x86_64__
    case PITH_ISA_SSE2:
        return true;
    case PITH_ISA_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case PITH_ISA_AVX512:
        return pith_isa_runs(PITH_ISA_AVX2) && __builtin_cpu_supports("avx512f") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512dq");
    case PITH_ISA_AVX512_VNNI:
        return pith_isa_runs(PITH_ISA_AVX512) && __builtin_cpu_supports("avx512vnni");
#elif defined __aarch64__
    case PITH_ISA_NEON:
        return true;
    case PITH_ISA_NEON_DOTPROD:
        return getauxval(AT_HWCAP) & HWCAP_DOTPROD;
    case PITH_ISA_NEON_I8MM:
        return pith_isa_runs(PITH_ISA_NEON_DOTPROD) && (getauxval(AT_HWCAP2) & HWCAP2_INT8MM);
#endif
    default:
        return false;
    }
}

bool pith_isa_halves_512(void)
{
#if defined __x86_64__
    return __builtin_cpu_is("amd");
#else
    return false;
#endif
}

static enum pith_isa chosen;

static void choose(void)
{
    const char *cap = getenv("PITH_ISA");

    for (int isa = 0; isa < PITH_ISA_COUNT; isa++)
        if (pith_isa_runs(isa))
            chosen = isa;
    for (int isa = 0; cap && isa < PITH_ISA_COUNT; isa++)
        if (strcmp(cap, names[isa]) == 0 && pith_isa_runs(isa))
            chosen = isa;
}

void pith_isa_set(enum pith_isa isa)
{
    (void) pith_isa(); /* so that it isn't chosen later */
    chosen = isa;
}

enum pith_isa pith_isa(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, choose);
    return chosen;
}

const void *pith_isa_best(const void *forms, size_t count, size_t form_bytes)
{
    const char *form = forms;

    for (size_t i = 0; i < count; i++, form += form_bytes)
        if (pith_isa_includes(pith_isa(), *(const enum pith_isa *) (const void *) form))
            return form;
    return NULL;
}
