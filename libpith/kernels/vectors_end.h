/* Ends what vectors_begin.h began. */
#undef FORM
#undef TARGET
#undef LANES
#undef REGISTERS
#undef INLINE
#undef VECTORS
