/* mltf_convert(): looks at what the source is, and in how many steps it becomes what is wanted. */
#include <stdlib.h>

#include "base/buf.h"
#include "base/file.h"
#include "convert/convert_gguf.h"

/* A GGUF file by way of a checkpoint beside the target, which is removed again. */
static mltf_status gguf_quantized(const char *source, const char *dir,
                                  const mltf_convert_options *opts, mltf_err *err)
{
    mltf_convert_options plain = *opts, quantize = *opts;
    plain.quantize = NULL;
    quantize.torch_dtype = NULL;
    // another name than the target's: what stands beside that is swept when it is begun
    mltf_buf whole = MLTF_BUF_INIT;
    buf_printf(&whole, "%s-whole", dir);
    char *between = whole.failed ? NULL : path_sibling(whole.p);
    mltf_buf_release(&whole);
    if (!between) return mltf_fail_memory(err);
    mltf_status st = convert_gguf(source, between, &plain, err);
    if (!st) st = convert_quantize(between, dir, &quantize, err);
    dir_remove(between, NULL);
    free(between);
    return st;
}

mltf_status mltf_convert(const char *source, const char *dir, const mltf_convert_options *opts,
                         mltf_err *err)
{
    if (!source || !dir)
        return mltf_fail(err, MLTF_INVALID_INPUT, "a source and a directory are needed");
    const bool quantize = opts && opts->quantize;
    if (!dir_exists(source))
        return quantize ? gguf_quantized(source, dir, opts, err)
                        : convert_gguf(source, dir, opts, err);
    char *config = path_join(source, "config.json");
    const bool checkpoint = config && file_exists(config);
    free(config);
    if (!checkpoint)
        return mltf_fail(err, MLTF_NOT_FOUND,
                         "\"%s\" holds no config.json: give a GGUF file, or a checkpoint's folder",
                         source);
    if (!quantize)
        return mltf_fail(
            err, MLTF_INVALID_INPUT,
            "\"%s\" is a checkpoint already: give --quantize int8 or int4, or a GGUF file", source);
    mltf_status st = convert_quantize(source, dir, opts, err);
    if (st) mltf_err_wrap(err, "could not quantize \"%s\"", source);
    return st;
}
