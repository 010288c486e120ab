/* The machine's greatest rate of multiply-accumulates, on one core, by the instructions that kernels may use. */
#ifndef PITH_BENCH_PEAK_H
#define PITH_BENCH_PEAK_H

struct peak {
    double f32_gmacs, int8_gmacs;   /* 10^9 MACs a second; 0: no loop for this instruction set */
    const char *f32_by, *int8_by;   /* the instruction */
};

/* The best of some dozens of short loops over registers; takes about 0.1 s. Follows PITH_ISA. */
void peak_measure(struct peak *out);

#endif
