/* XNNPACK's library, opened when the first session needs it: a daemon whose variants run on another engine doesn't carry
 * it. Declared by its own header at build time; the library looked for is the one of that header, by its soname. */
#ifndef PITH_XNNPACK_LIBRARY_H
#define PITH_XNNPACK_LIBRARY_H

#include <pith/error.h>
#include <pthreadpool.h>
#include <xnnpack.h>

/* What is called, without the prefix xnn_. */
#define XNNPACK_FUNCTIONS(F)                                                                                           \
    F(initialize)                                                                                                      \
    F(create_subgraph)                                                                                                 \
    F(delete_subgraph)                                                                                                 \
    F(create_runtime_v2)                                                                                               \
    F(setup_runtime)                                                                                                   \
    F(invoke_runtime)                                                                                                  \
    F(delete_runtime)                                                                                                  \
    F(define_tensor_value)                                                                                             \
    F(define_quantized_tensor_value)                                                                                   \
    F(define_channelwise_quantized_tensor_value)                                                                       \
    F(define_add2)                                                                                                     \
    F(define_average_pooling_2d)                                                                                       \
    F(define_clamp)                                                                                                    \
    F(define_convert)                                                                                                  \
    F(define_convolution_2d)                                                                                           \
    F(define_depthwise_convolution_2d)                                                                                 \
    F(define_fully_connected)                                                                                          \
    F(define_global_average_pooling_2d)                                                                                \
    F(define_leaky_relu)                                                                                               \
    F(define_max_pooling_2d)                                                                                           \
    F(define_multiply2)                                                                                                \
    F(define_sigmoid)                                                                                                  \
    F(define_softmax)                                                                                                  \
    F(define_static_reshape)

struct xnnpack {
#define XNNPACK_FIELD(name) __typeof__(&xnn_##name) name;
    XNNPACK_FUNCTIONS(XNNPACK_FIELD)
#undef XNNPACK_FIELD
    __typeof__(&pthreadpool_create) create_threads; /* of libpthreadpool, which XNNPACK brings */
    __typeof__(&pthreadpool_destroy) destroy_threads;
};
extern struct xnnpack xnnpack; /* whole once xnnpack_open has succeeded, and not written after */

/* Opens and starts the library, once a process; it stays. -ENOTSUP with what to install. Thread: any. */
int xnnpack_open(struct pith_error *err);

#endif
