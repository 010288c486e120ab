/* The families of kernels: one table a file, a line here and a line in kernel.c. */
#ifndef PITH_KERNELS_FAMILIES_H
#define PITH_KERNELS_FAMILIES_H

#include "libpith/kernels/kernel.h"

extern const struct pith_kernel pith_kernels_conv[];
extern const struct pith_kernel pith_kernels_matmul[];
extern const struct pith_kernel pith_kernels_quantize[];

extern const struct pith_kernel pith_kernels_recurrent[];
extern const struct pith_kernel pith_kernels_resize[];
extern const struct pith_kernel pith_kernels_conv_transpose[];
extern const struct pith_kernel pith_kernels_sample[];
extern const struct pith_kernel pith_kernels_detect[];
extern const struct pith_kernel pith_kernels_einsum[];
extern const struct pith_kernel pith_kernels_pool[];
extern const struct pith_kernel pith_kernels_deform_conv[];
extern const struct pith_kernel pith_kernels_softmax[];
extern const struct pith_kernel pith_kernels_attention[];
extern const struct pith_kernel pith_kernels_channels[];
extern const struct pith_kernel pith_kernels_normalize[];
extern const struct pith_kernel pith_kernels_integer_conv[];
extern const struct pith_kernel pith_kernels_integer_matmul[];
extern const struct pith_kernel pith_kernels_matmul_integer[];
extern const struct pith_kernel pith_kernels_narrow_matmul[];
extern const struct pith_kernel pith_kernels_integer_elementwise[];
/* channels-last, float32 */
extern const struct pith_kernel pith_kernels_image_conv_f32[];
extern const struct pith_kernel pith_kernels_image_conv_transpose_f32[];
extern const struct pith_kernel pith_kernels_image_pool_f32[];
extern const struct pith_kernel pith_kernels_image_elementwise_f32[];
extern const struct pith_kernel pith_kernels_image_resize_f32[];
/* channels-last, 8 bits */
extern const struct pith_kernel pith_kernels_image_conv_s8[];
extern const struct pith_kernel pith_kernels_image_conv_transpose_s8[];
extern const struct pith_kernel pith_kernels_image_conv_s16[];
extern const struct pith_kernel pith_kernels_image_pool_s8[];
extern const struct pith_kernel pith_kernels_image_gate_s8[];
/* by element, by strides, by index */
extern const struct pith_kernel pith_kernels_unary[];
extern const struct pith_kernel pith_kernels_binary[];
extern const struct pith_kernel pith_kernels_power[];
extern const struct pith_kernel pith_kernels_cast[];
extern const struct pith_kernel pith_kernels_copy[];
extern const struct pith_kernel pith_kernels_concat[];
extern const struct pith_kernel pith_kernels_shape[];
extern const struct pith_kernel pith_kernels_pad[];
extern const struct pith_kernel pith_kernels_gather[];
extern const struct pith_kernel pith_kernels_scatter[];
extern const struct pith_kernel pith_kernels_reduce[];
extern const struct pith_kernel pith_kernels_order[];
extern const struct pith_kernel pith_kernels_select[];
extern const struct pith_kernel pith_kernels_place[];
extern const struct pith_kernel pith_kernels_signal[];
extern const struct pith_kernel pith_kernels_loss[];
extern const struct pith_kernel pith_kernels_tfidf[];
extern const struct pith_kernel pith_kernels_affine[];
extern const struct pith_kernel pith_kernels_layout[];

#endif
