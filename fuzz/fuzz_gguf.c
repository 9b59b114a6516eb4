/* A GGUF file: all metadata and every value of its tensors can be read. */
#include <stdlib.h>

#include "formats/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gguf_file *g;
    mltf_err err = {0};
    volatile double sum = 0;
    if (gguf_read(&g, data, size, &err)) return 0;
    sum += gguf_double(g, "a", 0) + (double)gguf_int(g, "a", 0) + gguf_bool(g, "a", false);
    const gguf_value *v = gguf_get(g, "a");
    for (size_t i = 0; v && i < v->n && i < 100; i++) sum += gguf_number_at(v, i);
    sum += (double)gguf_string(g, "a", STR("")).n;
    float *x = malloc(256 * sizeof *x);
    for (size_t i = 0; x && i < gguf_count(g); i++) {
        const gguf_tensor *t = gguf_at(g, i);
        const size_t step = t->count % 256 ? (t->count % 32 ? 1 : 32) : 256;
        for (size_t k = 0; k < t->count && k < 4096; k += step) {
            gguf_dequantize(x, t, k, step);
            sum += (double)x[0];
        }
    }
    free(x);
    gguf_close(g);
    return 0;
}
