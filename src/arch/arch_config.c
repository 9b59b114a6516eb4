/* config.json: typed values with the defaults of the Python class; wrong ones are named. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "arch/arch_internal.h"
#include "base/limits.h"

enum { DIM_MAX = 1 << 24 };

const json *cfg_get(const arch_config *c, const char *key)
{
    for (const char *p = key; p;) {
        const char *bar = strchr(p, '|');
        const mltf_str one = {p, bar ? (size_t)(bar - p) : strlen(p)};
        const json *v = json_get_str(c->root, one);
        if (v && v->type != JSON_NULL) return v;
        p = bar ? bar + 1 : NULL;
    }
    return NULL;
}

void cfg_fail(arch_config *c, const char *fmt, ...)
{
    if (c->err.status) return;
    char msg[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    mltf_fail(&c->err, MLTF_CORRUPT_FILE, "config.json: %s", msg);
}

static void bad_value(arch_config *c, const char *key, const char *wanted, const json *v)
{
    mltf_buf b = {.max = 128};
    json_write(&b, v, NULL);
    const bool too_long = b.failed;
    cfg_fail(c, "\"%.*s\" must be %s, not %s", (int)strcspn(key, "|"), key, wanted,
             too_long || !b.p ? json_type_name(v) : b.p);
    mltf_buf_release(&b);
}

size_t cfg_size(arch_config *c, const char *key, size_t fallback, size_t min, size_t max)
{
    const json *v = cfg_get(c, key);
    if (!v) return fallback;
    const bool whole =
        v->type == JSON_INT || (v->type == JSON_DOUBLE && v->d == floor(v->d) && fabs(v->d) < 1e15);
    const int64_t i = whole ? json_int(v, -1) : -1;
    if (!whole || i < 0 || (uint64_t)i < min || (uint64_t)i > max) {
        char wanted[80];
        snprintf(wanted, sizeof wanted, "an integer from %zu to %zu", min, max);
        bad_value(c, key, wanted, v);
        return fallback;
    }
    return (size_t)i;
}

size_t cfg_dim(arch_config *c, const char *key, size_t fallback)
{
    return cfg_size(c, key, fallback, 1, DIM_MAX);
}

size_t cfg_layers(arch_config *c, const char *key, size_t fallback)
{
    return cfg_size(c, key, fallback, 0, LIMIT_LAYERS);
}

float cfg_float(arch_config *c, const char *key, float fallback)
{
    const json *v = cfg_get(c, key);
    if (!v) return fallback;
    const double d = json_double(v, NAN);
    if (!json_is_number(v) || !isfinite(d)) {
        bad_value(c, key, "a finite number", v);
        return fallback;
    }
    return (float)d;
}

bool cfg_bool(arch_config *c, const char *key, bool fallback)
{
    const json *v = cfg_get(c, key);
    if (!v) return fallback;
    if (v->type == JSON_BOOL) return v->b;
    if (v->type == JSON_INT && (v->i == 0 || v->i == 1)) return v->i == 1;
    bad_value(c, key, "true or false", v);
    return fallback;
}

mltf_str cfg_str(arch_config *c, const char *key, const char *fallback)
{
    const json *v = cfg_get(c, key);
    if (!v) return str_from(fallback);
    if (v->type != JSON_STRING) {
        bad_value(c, key, "a string", v);
        return str_from(fallback);
    }
    return v->s;
}

k_act cfg_act(arch_config *c, const char *key, const char *fallback)
{
    k_act act = K_ACT_NONE;
    const mltf_str name = cfg_str(c, key, fallback);
    if (!nn_act_find(&act, name))
        bad_value(c, key, "the name of an activation that is supported", cfg_get(c, key));
    return act;
}

int64_t cfg_token(arch_config *c, const char *key, int64_t fallback)
{
    for (const char *p = key; p;) {
        const char *bar = strchr(p, '|');
        const json *v = json_get_str(c->root, (mltf_str){p, bar ? (size_t)(bar - p) : strlen(p)});
        if (v && v->type == JSON_ARRAY && v->a.n) v = &v->a.items[0];
        if (v && v->type == JSON_INT) return v->i < 0 ? -1 : v->i;
        if (v && v->type == JSON_NULL) return -1;
        if (v) bad_value(c, key, "a token id", v);
        p = bar ? bar + 1 : NULL;
    }
    return fallback;
}

mltf_status cfg_done(const arch_config *c, mltf_err *err)
{
    if (c->err.status && err) *err = c->err;
    return c->err.status;
}

bool cfg_layer_is(arch_config *c, size_t il, const char *name, bool fallback)
{
    const json *types =
        cfg_get(c, "layer_types|layers_block_type"); // granitemoehybrid has both names
    if (!types) return fallback;
    const json *one = json_at(types, il);
    if (!one || one->type != JSON_STRING) {
        cfg_fail(c, "\"layer_types\" must name the kind of layer %zu", il);
        return fallback;
    }
    return str_is(one->s, name);
}

size_t cfg_window_side(arch_config *c, size_t il)
{
    const json *w = cfg_get(c, "attention_window");
    const int64_t n =
        json_is(w, JSON_ARRAY) ? json_int(json_at(w, il), 0) : json_int(w, w ? 0 : 512);
    if (n < 2 || n % 2 || n > 1 << 24)
        cfg_fail(c, "\"attention_window\" must hold an even number for layer %zu", il);
    return n > 0 ? (size_t)n / 2 : 1;
}

void *arch_new(arch_build *b, size_t n, size_t size)
{
    void *p = arena_calloc(&b->m->own, n ? n : 1, size);
    if (!p && !b->cfg.err.status) mltf_fail_memory(&b->cfg.err);
    return p;
}

mltf_status arch_build_ok(const arch_build *b, mltf_err *err)
{
    TRY(cfg_done(&b->cfg, err));
    if (b->ld.err.status && err) *err = b->ld.err;
    return b->ld.err.status;
}

mltf_status arch_done(arch_build *b, void *impl, size_t hidden, size_t vocab, size_t n_layers,
                      size_t max_positions, mltf_err *err)
{
    b->m->impl = impl;
    b->m->info.hidden = hidden;
    b->m->info.vocab = vocab;
    b->m->info.n_layers = n_layers;
    b->m->info.max_positions = max_positions;
    b->m->info.stateful = b->m->cache_shape.state > 0 || b->m->reread;
    if (b->m->reread) b->m->info.stepwise = true;
    if (!b->m->info.max_target_positions) b->m->info.max_target_positions = SIZE_MAX;
    return arch_build_ok(b, err);
}
