/* The tiles of channels-last float convolution for each instruction set; the widest last, beside what picks them, as the
 * system maps a file around each page that is used. See image_conv_f32.h. */
#include "libpith/kernels/image_conv_f32.h"

#define VECTORS 128
#include "libpith/kernels/image_conv_f32_body.h"
#if defined __x86_64__
#define VECTORS 256
#include "libpith/kernels/image_conv_f32_body.h"
#define VECTORS 257
#include "libpith/kernels/image_conv_f32_body.h"
#define VECTORS 512
#include "libpith/kernels/image_conv_f32_body.h"
#endif

const struct image_form *pith_image_form(void)
{
    static const struct image_form *const forms[] = {
#if defined __x86_64__
        &form_avx512,
        &form_avx2,
#endif
        &form_128,
    };

    for (size_t f = 0; f < sizeof forms / sizeof *forms && pith_isa() != PITH_ISA_PLAIN; f++)
        if (pith_isa_includes(pith_isa(), forms[f]->isa))
            return forms[f];
    return NULL;
}
