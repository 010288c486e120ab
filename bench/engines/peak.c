/* Loops that do nothing but multiply-accumulate, on enough registers to hide the latency. What they
 * reach is what a network could reach if nothing but its multiplications took time. */
#include "bench/engines/peak.h"

#include "libpith/base/clock.h"
#include "libpith/kernels/isa.h"

#include <stddef.h>
#include <stdint.h>

#define CHAINS 12 /* accumulators: latency 4, two a cycle, and some to spare */
#define TURNS  20000
#define TRIES  60

/* One loop: TURNS x CHAINS instructions. Empty assembly keeps operands in registers and in the
 * loop. */
#define LOOP(name, isa_name, vector, template)                                                     \
    __attribute__((target(isa_name))) static void name(void)                                       \
    {                                                                                              \
        vector a0 = {0}, a1 = {0}, a2 = {0}, a3 = {0}, a4 = {0}, a5 = {0}, a6 = {0}, a7 = {0},     \
               a8 = {0}, a9 = {0}, a10 = {0}, a11 = {0}, x = {0}, y = {0}, t = {0};                \
        for (int turn = 0; turn < TURNS; turn++) {                                                 \
            template(a0);                                                                          \
            template(a1);                                                                          \
            template(a2);                                                                          \
            template(a3);                                                                          \
            template(a4);                                                                          \
            template(a5);                                                                          \
            template(a6);                                                                          \
            template(a7);                                                                          \
            template(a8);                                                                          \
            template(a9);                                                                          \
            template(a10);                                                                         \
            template(a11);                                                                         \
        }                                                                                          \
        (void) t;                                                                                  \
    }

#if defined __x86_64__
typedef float f32x8 __attribute__((vector_size(32)));
typedef float f32x16 __attribute__((vector_size(64)));
typedef int32_t i32x8 __attribute__((vector_size(32)));
typedef int32_t i32x16 __attribute__((vector_size(64)));
typedef float f32x4 __attribute__((vector_size(16)));

#define FMA(a) __asm__ volatile("vfmadd231ps %1, %2, %0" : "+v"(a) : "v"(x), "v"(y))
#define DOT(a) __asm__ volatile("vpdpbusd %1, %2, %0" : "+v"(a) : "v"(x), "v"(y))
#define MULADD(a)                                                                                  \
    __asm__ volatile("movaps %2, %1\n\tmulps %3, %1\n\taddps %1, %0"                               \
                     : "+x"(a), "=&x"(t)                                                           \
                     : "x"(x), "x"(y))
/* Bytes without VNNI: to pairs of 16 bits, to 32 bits, and added. */
#define MADD(a)                                                                                    \
    __asm__ volatile("vpmaddubsw %2, %3, %1\n\tvpmaddwd %1, %2, %1\n\tvpaddd %1, %0, %0"           \
                     : "+v"(a), "=&v"(t)                                                           \
                     : "v"(x), "v"(y))
LOOP(fma_avx512, "avx512f", f32x16, FMA)
LOOP(fma_avx2, "avx2,fma", f32x8, FMA)
LOOP(mul_add_sse2, "sse2", f32x4, MULADD)
LOOP(dot_avx512, "avx512f,avx512vnni", i32x16, DOT)
LOOP(madd_avx512, "avx512f,avx512bw", i32x16, MADD)
LOOP(madd_avx2, "avx2", i32x8, MADD)
#elif defined __aarch64__
typedef float f32x4 __attribute__((vector_size(16)));
typedef int32_t i32x4 __attribute__((vector_size(16)));
#define FMLA(a)  __asm__ volatile("fmla %0.4s, %1.4s, %2.4s" : "+w"(a) : "w"(x), "w"(y))
#define SDOT(a)  __asm__ volatile("sdot %0.4s, %1.16b, %2.16b" : "+w"(a) : "w"(x), "w"(y))
#define SMLAL(a) __asm__ volatile("smlal %0.4s, %1.4h, %2.4h" : "+w"(a) : "w"(x), "w"(y))
LOOP(fmla_neon, "arch=armv8-a", f32x4, FMLA)
LOOP(sdot_neon, "arch=armv8.2-a+dotprod", i32x4, SDOT)
LOOP(smlal_neon, "arch=armv8-a", i32x4, SMLAL)
#endif

struct loop {
    enum pith_isa isa; /* that has it */
    void (*run)(void);
    int macs; /* of one instruction, or of the group that stands for one */
    const char *name;
};

#if defined __x86_64__
static const struct loop f32_loops[] = {{PITH_ISA_AVX512, fma_avx512, 16, "512-bit FMA"},
                                        {PITH_ISA_AVX2, fma_avx2, 8, "256-bit FMA"},
                                        {PITH_ISA_SSE2, mul_add_sse2, 4, "128-bit mul, add"}};
static const struct loop int8_loops[] = {{PITH_ISA_AVX512_VNNI, dot_avx512, 64, "512-bit vpdpbusd"},
                                         {PITH_ISA_AVX512, madd_avx512, 64, "512-bit vpmaddubsw"},
                                         {PITH_ISA_AVX2, madd_avx2, 32, "256-bit vpmaddubsw"}};
#elif defined __aarch64__
static const struct loop f32_loops[] = {{PITH_ISA_NEON, fmla_neon, 4, "fmla"}};
static const struct loop int8_loops[] = {{PITH_ISA_NEON_DOTPROD, sdot_neon, 16, "sdot"},
                                         {PITH_ISA_NEON, smlal_neon, 4, "smlal"}};
#else
static const struct loop f32_loops[] = {{PITH_ISA_COUNT, NULL, 0, NULL}};
static const struct loop int8_loops[] = {{PITH_ISA_COUNT, NULL, 0, NULL}};
#endif

static double best_gmacs(const struct loop *loops, int count, const char **out_name)
{
    const struct loop *loop = NULL;
    uint64_t least_ns = UINT64_MAX;

    for (int i = 0; i < count && !loop; i++)
        if (loops[i].run && loops[i].isa <= pith_isa() &&
            pith_isa_includes(pith_isa(), loops[i].isa))
            loop = &loops[i];
    *out_name = loop ? loop->name : "none";
    for (int i = 0; loop && i < TRIES; i++) {
        const uint64_t start_ns = pith_monotonic_ns();

        loop->run();
        const uint64_t time_ns = pith_monotonic_ns() - start_ns;

        if (time_ns < least_ns)
            least_ns = time_ns;
    }
    return loop ? (double) TURNS * CHAINS * loop->macs / (double) least_ns : 0;
}

void peak_measure(struct peak *out)
{
    out->f32_gmacs = best_gmacs(f32_loops, sizeof f32_loops / sizeof f32_loops[0], &out->f32_by);
    out->int8_gmacs =
        best_gmacs(int8_loops, sizeof int8_loops / sizeof int8_loops[0], &out->int8_by);
}
