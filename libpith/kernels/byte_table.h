/* Many bytes looked up in a table at once: what a function of one element is between grids of 8 bits. */
#ifndef PITH_KERNELS_BYTE_TABLE_H
#define PITH_KERNELS_BYTE_TABLE_H

#include <stdint.h>

/* to[i] = table[from[i]] for i < count; `to` may be `from`. table: 256 entries. */
typedef void pith_byte_table_run(const uint8_t *table, const uint8_t *from, uint8_t *to, int64_t count);

/* The form for pith_isa() on this CPU. Thread: any. */
pith_byte_table_run *pith_byte_table(void);
/* For tests: the form number `index` that this CPU runs; NULL past the last. The first is plain C. */
pith_byte_table_run *pith_byte_table_form(int index);

#endif
