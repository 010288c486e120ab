/* libjpeg reports faults through a callback that must not return: it jumps back to where decoding
 * began, where nothing but the decompressor and the tensor is to be freed. */
#include <config.h>

#include "libpith/formats/jpeg.h"

#include <errno.h>

#if HAVE_JPEG

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>

#include <jerror.h>

struct decoder {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr faults; /* libjpeg points here; see fault_of */
    jmp_buf back;
    struct pith_tensor made;
    char text[JMSG_LENGTH_MAX];
    bool ended, cut; /* before all was decoded */
};

static void fault_of(j_common_ptr jpeg)
{
    struct decoder *decoder = jpeg->client_data;

    jpeg->err->format_message(jpeg, decoder->text);
    longjmp(decoder->back, 1);
}

static void keep_quiet(j_common_ptr jpeg)
{
    (void) jpeg; /* a warning (odd data that decode) is no fault of the picture's user */
}

/* Pixels that the end of the file leaves out become grey, and that is one. A file that only lacks its end marker ends in
 * the first warning, but not in the second. */
static void note_cut(j_common_ptr jpeg, int level)
{
    struct decoder *decoder = jpeg->client_data;

    if (level < 0 && jpeg->err->msg_code == JWRN_JPEG_EOF)
        decoder->ended = true;
    if (level < 0 && jpeg->err->msg_code == JWRN_HIT_MARKER)
        decoder->cut = decoder->ended;
}

/* Jumps away on a fault of the data. */
static int decode(struct decoder *decoder, int channels, struct pith_error *err)
{
    struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
    int rc;

    (void) jpeg_read_header(jpeg, TRUE);
    if ((uint64_t) jpeg->image_width * jpeg->image_height > PITH_JPEG_MAX_PIXELS)
        return pith_fail(err, -EFBIG, "a picture of %u x %u pixels is larger than %d allow",
                         jpeg->image_width, jpeg->image_height, PITH_JPEG_MAX_PIXELS);
    if (jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK)
        return pith_fail(err, -ENOTSUP, "its colours are CMYK; save it as RGB or grey");
    jpeg->out_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    /* The slow transform is the one that decoders agree on to the last bit. */
    jpeg->dct_method = JDCT_ISLOW;
    (void) jpeg_start_decompress(jpeg);
    struct pith_shape shape = pith_shape_of(
        3, (int64_t[]){jpeg->output_height, jpeg->output_width, jpeg->output_components});

    rc = pith_tensor_alloc(&decoder->made, PITH_UINT8, &shape, err);
    while (rc == 0 && jpeg->output_scanline < jpeg->output_height) {
        JSAMPROW row = (JSAMPROW) decoder->made.data + (size_t) jpeg->output_scanline *
                                                           jpeg->output_width *
                                                           (size_t) jpeg->output_components;

        (void) jpeg_read_scanlines(jpeg, &row, 1);
    }
    if (rc == 0)
        (void) jpeg_finish_decompress(jpeg);
    return rc == 0 && decoder->cut ? pith_fail(err, -EBADMSG, "it is cut off") : rc;
}

int pith_jpeg_decode(struct pith_tensor *out, const void *data, size_t bytes, int channels,
                     struct pith_error *err)
{
    /* On the heap: what changes after setjmp must not lie in a register. */
    struct decoder *decoder = calloc(1, sizeof *decoder);
    int rc;

    if (!decoder)
        return pith_fail(err, -ENOMEM, "no memory to read a picture");
    decoder->jpeg.err = jpeg_std_error(&decoder->faults);
    decoder->faults.error_exit = fault_of;
    decoder->faults.output_message = keep_quiet;
    decoder->faults.emit_message = note_cut;
    decoder->jpeg.client_data = decoder;
    if (setjmp(decoder->back)) {
        rc = pith_fail(err, -EBADMSG, "JPEG: %s", decoder->text);
    } else {
        jpeg_create_decompress(&decoder->jpeg);
        jpeg_mem_src(&decoder->jpeg, data, bytes);
        rc = decode(decoder, channels, err);
    }
    jpeg_destroy_decompress(&decoder->jpeg);
    if (rc < 0)
        pith_tensor_free(&decoder->made);
    else
        *out = decoder->made;
    free(decoder);
    return rc;
}

#else

int pith_jpeg_decode(struct pith_tensor *out, const void *data, size_t bytes, int channels,
                     struct pith_error *err)
{
    (void) out;
    (void) data;
    (void) bytes;
    (void) channels;
    return pith_fail(err, -ENOTSUP, "JPEG pictures can't be read: pith was built without libjpeg");
}

#endif
