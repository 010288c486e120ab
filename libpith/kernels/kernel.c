/* The table of kernels, and what all of them share: finding, memory of a step, sentences. See
 * kernel.h. */
#include "libpith/kernels/kernel.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpith/kernels/families.h"

/* In the order in which they are searched. */
static const struct pith_kernel *const families[] = {
    pith_kernels_image_conv_f32,
    pith_kernels_image_conv_transpose_f32,
    pith_kernels_image_pool_f32,
    pith_kernels_image_elementwise_f32,
    pith_kernels_image_resize_f32,
    pith_kernels_image_conv_s8,
    pith_kernels_image_conv_transpose_s8,
    pith_kernels_image_conv_s16,
    pith_kernels_image_pool_s8,
    pith_kernels_image_gate_s8,
    pith_kernels_conv,
    pith_kernels_matmul,
    pith_kernels_quantize,
    pith_kernels_einsum,
    pith_kernels_detect,
    pith_kernels_sample,
    pith_kernels_conv_transpose,
    pith_kernels_resize,
    pith_kernels_recurrent,
    pith_kernels_integer_conv,
    pith_kernels_deform_conv, pith_kernels_integer_matmul, pith_kernels_matmul_integer,
    pith_kernels_narrow_matmul,
    pith_kernels_integer_elementwise,
    pith_kernels_normalize,
    pith_kernels_softmax,
    pith_kernels_attention,
    pith_kernels_channels,
    pith_kernels_pool,
    pith_kernels_unary,
    pith_kernels_binary,
    pith_kernels_power,
    pith_kernels_cast,
    pith_kernels_copy,
    pith_kernels_concat,
    pith_kernels_shape,
    pith_kernels_pad,
    pith_kernels_gather,
    pith_kernels_scatter,
    pith_kernels_reduce,
    pith_kernels_order,
    pith_kernels_select,
    pith_kernels_place,
    pith_kernels_signal,
    pith_kernels_loss,
    pith_kernels_tfidf,
    pith_kernels_affine,
    pith_kernels_layout,
    NULL,
};

static bool type_fits(uint32_t types, int32_t dtype)
{
    if (types == 0 || dtype == PITH_DTYPE_NONE)
        return true;
    return dtype > 0 && dtype < 32 && (types >> dtype & 1);
}

static bool types_fit(const struct pith_kernel *kernel, const int32_t *types, size_t type_count,
                      int32_t output_type)
{
    for (size_t i = 0; i < sizeof kernel->types / sizeof kernel->types[0] && i < type_count; i++)
        if (!type_fits(kernel->types[i], types[i]))
            return false;
    return type_fits(kernel->output_type, output_type);
}

static bool opset_fits(const struct pith_kernel *kernel, int64_t opset)
{
    return (kernel->opset_first == 0 || opset >= kernel->opset_first) &&
           (kernel->opset_last == 0 || opset <= kernel->opset_last);
}

const struct pith_kernel *pith_kernel_find(const char *domain, const char *op, int64_t opset,
                                           const int32_t *types, size_t type_count,
                                           int32_t output_type, uint32_t form, const char **out_why)
{
    const char *why = "no kernel for this operator";

    for (size_t f = 0; families[f]; f++) {
        for (const struct pith_kernel *k = families[f]; k->op; k++) {
            if ((k->flags & (PITH_KERNEL_QUANTIZED | PITH_KERNEL_CHANNELS_LAST)) != form || k->op[0] != op[0] ||
                strcmp(k->op, op) != 0 || strcmp(k->domain ? k->domain : "", domain) != 0)
                continue;
            if (!opset_fits(k, opset)) {
                why = "no kernel for this operator's version";
                continue;
            }
            if (types_fit(k, types, type_count, output_type))
                return k;
            why = "no kernel for these element types";
        }
    }
    if (out_why)
        *out_why = why;
    return NULL;
}

void *pith_step_alloc(struct pith_step *step, int64_t bytes)
{
    if (bytes < 0 || bytes > PITH_STEP_MAX_BYTES)
        return NULL;
    return pith_blocks_alloc(&step->blocks, (size_t) bytes);
}

const void *pith_step_share(struct pith_step *step, const void *memory)
{
    return pith_blocks_share(&step->blocks, memory);
}

void pith_step_release(struct pith_step *step, const void *memory)
{
    pith_blocks_free(&step->blocks, memory);
}

int pith_step_needs(struct pith_step *step, size_t input)
{
    assert(input < step->input_count && !step->input[input].data);
    return -EAGAIN;
}

int pith_step_ints(struct pith_step *step, size_t input, int64_t *out, size_t limit,
                   size_t *out_count, struct pith_error *err)
{
    const struct pith_tensor *list;
    int64_t count;

    *out_count = 0;
    if (!pith_step_has(step, input))
        return 0;
    list = &step->input[input];
    count = pith_shape_elements(&list->shape);
    if ((list->dtype != PITH_INT64 && list->dtype != PITH_INT32) || list->shape.rank > 1 ||
        count < 0)
        return pith_step_fail(step, err, -EINVAL, "input %zu must be a list of int32 or int64",
                              input);
    if ((uint64_t) count > limit)
        return pith_step_fail(step, err, -EINVAL,
                              "input %zu has %lld entries, at most %zu make sense", input,
                              (long long) count, limit);
    if (!list->data && count > 0)
        return pith_step_needs(step, input);
    for (int64_t i = 0; i < count; i++)
        out[i] = pith_tensor_get_int(list, i);
    *out_count = (size_t) count;
    return 0;
}

int pith_step_axis(struct pith_step *step, int64_t axis, uint32_t rank, uint32_t *out,
                   struct pith_error *err)
{
    if (axis < -(int64_t) rank || axis >= (int64_t) rank)
        return pith_step_fail(step, err, -EINVAL, "axis %lld is outside of rank %u",
                              (long long) axis, rank);
    *out = (uint32_t) (axis < 0 ? axis + rank : axis);
    return 0;
}

int64_t pith_dims_product(const struct pith_shape *shape, uint32_t from, uint32_t to)
{
    int64_t product = 1;

    assert(to <= shape->rank);
    for (uint32_t i = from; i < to; i++) {
        assert(shape->dim[i] >= 0);
        product *= shape->dim[i];
    }
    return product;
}

int pith_step_fail(const struct pith_step *step, struct pith_error *err, int code,
                   const char *format, ...)
{
    const char *op = step->kernel ? step->kernel->op : "node";
    va_list arguments;

    va_start(arguments, format);
    pith_vfail(err, code, format, arguments);
    va_end(arguments);
    if (step->name && step->name[0])
        return pith_fail_in(err, code, "%s \"%s\"", op, step->name);
    return pith_fail_in(err, code, "%s %u", op, step->node);
}

int pith_step_prepare(struct pith_step *step, struct pith_error *err)
{
    int rc;

    step->params = NULL;
    step->scratch_bytes = 0;
    step->in_place = 0;
    step->view = -1;
    step->taken_in = 0;
    step->macs = 0;
    step->parts = 0;
    step->rows = (struct pith_rows){0};
    step->form = NULL;
    rc = step->kernel->prepare(step, err);
    if (rc < 0)
        pith_step_done(step);
    return rc;
}

void pith_step_done(struct pith_step *step)
{
    pith_blocks_done(&step->blocks);
    step->params = NULL;
}
