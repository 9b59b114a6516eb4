/* mltf_convert(): looks at what the source is. */
#include "base/file.h"
#include "convert/convert_gguf.h"

mltf_status mltf_convert(const char *source, const char *dir, const mltf_convert_options *opts,
                         mltf_err *err)
{
    if (!source || !dir)
        return mltf_fail(err, MLTF_INVALID_INPUT, "a source and a directory are needed");
    if (dir_exists(source))
        return mltf_fail(
            err, MLTF_UNSUPPORTED,
            "\"%s\" is a directory: only GGUF files are converted, and a checkpoint is "
            "quantized when it is loaded (quantize)",
            source);
    return convert_gguf(source, dir, opts, err);
}
