/* Caches: what a sequence leaves for its next tokens. */
#include <stdlib.h>
#include <string.h>

#include "arch/arch_internal.h"
#include "base/array.h"

mltf_status arch_cache_new(arch_cache **out, const arch_model *m, size_t max_tokens, mltf_err *err)
{
    *out = NULL;
    if (!m->cache_shape.layers)
        return mltf_fail(err, MLTF_INVALID_INPUT, "%s does not generate: it has no cache",
                         m->info.architecture);
    arch_cache *c = calloc(1, sizeof *c);
    if (!c) return mltf_fail_memory(err);
    c->m = m;
    nn_cache_init(&c->kv, &m->cache_shape, max_tokens < SIZE_MAX ? max_tokens + m->asks : SIZE_MAX,
                  err);
    *out = c;
    return MLTF_OK;
}

void arch_cache_free(arch_cache *c)
{
    if (!c) return;
    nn_cache_release(&c->kv);
    nn_memory_release(c->memory);
    free(c->ids);
    free(c);
}

size_t arch_cache_len(const arch_cache *c)
{
    return c->kv.len;
}

_Static_assert((int)ARCH_CACHE_ROLLBACK <= (int)NN_CACHE_ROLLBACK, "a promise of arch.h");

void arch_cache_truncate(arch_cache *c, size_t len)
{
    nn_cache_truncate(&c->kv, c->m->reread && len < c->kv.len ? 0 : len);
}

mltf_status arch_cache_copy(arch_cache *to, const arch_cache *from, size_t held, mltf_err *err)
{
    if (to == from) return MLTF_OK;
    if (to->m != from->m)
        return mltf_fail(err, MLTF_INVALID_INPUT, "a cache can be copied within one model only");
    const bool anew = from->m->recompute_past || from->m->reread;
    if (anew) held = 0; // what it holds of a token depends on the later ones
    TRY(nn_cache_copy(&to->kv, &from->kv, held, err));
    if (to->memory != from->memory) {
        nn_memory_release(to->memory);
        to->memory = nn_memory_retain(from->memory);
    }
    if (anew && from->ids) {
        if (!ARRAY_RESERVE(to->ids, to->ids_cap, from->ids_cap)) return mltf_fail_memory(err);
        memcpy(to->ids, from->ids, from->ids_cap * sizeof *to->ids);
    }
    return MLTF_OK;
}
