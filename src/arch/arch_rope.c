/* Rotary frequencies from config.json: every rope_type of transformers (modeling_rope_utils.py, 4.57),
 * in the spelling of 4.x (rope_theta beside rope_scaling) and of 5.x (rope_parameters).
 *
 * Powers and products are rounded to f32 where torch rounds them: the angle of a late position is a
 * large number, and its last bits are seen in the logits. */
#include <math.h>

#include "arch/arch_internal.h"

/* Where the scaling parameters are: rope_parameters (perhaps one object a layer type) or rope_scaling. */
static const json *parameters(const arch_config *c, const char *layer_type)
{
    const json *p = cfg_get(c, "rope_parameters");
    if (!p) p = cfg_get(c, "rope_scaling");
    const json *nested = layer_type ? json_get(p, layer_type) : NULL;
    return json_is(nested, JSON_OBJECT) ? nested : p;
}

float arch_rope_partial(arch_config *c, const char *key, float fallback)
{
    const json *p = json_get(cfg_get(c, "rope_parameters"), "partial_rotary_factor");
    const float f = json_is_number(p) ? (float)json_double(p, 1) : cfg_float(c, key, fallback);
    if (!(f > 0 && f <= 1))
        cfg_fail(c, "\"%s\" must be above 0 and at most 1, not %g", key, (double)f);
    return f;
}

static double number(arch_config *c, const json *p, const char *key, double fallback)
{
    const json *v = json_get(p, key);
    if (!v || v->type == JSON_NULL) {
        if (isnan(fallback)) cfg_fail(c, "the rope parameters lack \"%s\"", key);
        return fallback;
    }
    const double d = json_double(v, NAN);
    if (!json_is_number(v) || !isfinite(d))
        cfg_fail(c, "\"%s\" of the rope parameters must be a number", key);
    return d;
}

static double positive(arch_config *c, const json *p, const char *key, double fallback)
{
    const double d = number(c, p, key, fallback);
    if (!(d > 0)) {
        cfg_fail(c, "\"%s\" of the rope parameters must be above 0", key);
        return 1;
    }
    return d;
}

static double mscale_of(double scale, double mscale)
{
    return scale <= 1 ? 1.0 : 0.1 * mscale * log(scale) + 1.0;
}

static void yarn(nn_rope *r, arch_config *c, const json *p, size_t max_positions)
{
    const double factor = positive(c, p, "factor", NAN), dim = (double)r->dim;
    const double original =
        positive(c, p, "original_max_position_embeddings", (double)max_positions);
    const double mscale = number(c, p, "mscale", 0), all_dim = number(c, p, "mscale_all_dim", 0);
    const json *given = json_get(p, "attention_factor");
    if (json_is_number(given))
        r->scale = (float)json_double(given, 1);
    else if (mscale != 0 && all_dim != 0)
        r->scale = (float)(mscale_of(factor, mscale) / mscale_of(factor, all_dim));
    else
        r->scale = (float)mscale_of(factor, 1);
    double fast = number(c, p, "beta_fast", 32), slow = number(c, p, "beta_slow", 1);
    if (fast == 0) fast = 32;
    if (slow == 0) slow = 1;
    // the dimensions between which frequencies go over from kept to stretched
    double low = dim * log(original / (fast * 2 * M_PI)) / (2 * log((double)r->theta));
    double high = dim * log(original / (slow * 2 * M_PI)) / (2 * log((double)r->theta));
    if (json_bool(json_get(p, "truncate"), true)) low = floor(low), high = ceil(high);
    low = fmax(low, 0);
    high = fmin(high, dim - 1);
    if (low == high) high += 0.001;
    for (size_t i = 0; i < r->dim / 2; i++) {
        float ramp = ((float)i - (float)low) / (float)(high - low);
        ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
        const float keep = 1 - ramp, pos_freq = powf(r->theta, (float)(2 * i) / (float)r->dim);
        r->inv_freq[i] = 1.0f / ((float)factor * pos_freq) * (1 - keep) + 1.0f / pos_freq * keep;
    }
}

static void llama3(nn_rope *r, arch_config *c, const json *p)
{
    const float factor = (float)positive(c, p, "factor", NAN);
    const float low = (float)positive(c, p, "low_freq_factor", NAN);
    const float high = (float)positive(c, p, "high_freq_factor", NAN);
    const float original = (float)positive(c, p, "original_max_position_embeddings", NAN);
    for (size_t i = 0; i < r->dim / 2; i++) {
        const float f = r->inv_freq[i], wavelength = (float)(2 * M_PI) / f;
        if (wavelength > original / low) {
            r->inv_freq[i] = f / factor;
        } else if (wavelength >= original / high) {
            const float smooth = (original / wavelength - low) / (high - low);
            r->inv_freq[i] = (1 - smooth) * f / factor + smooth * f;
        }
    }
}

static void long_factors(float *freq, const nn_rope *r, arch_config *c, const json *p,
                         const char *key)
{
    const json *list = json_get(p, key);
    if (json_len(list) != r->dim / 2) {
        cfg_fail(c, "\"%s\" of the rope parameters must have %zu numbers, not %zu", key, r->dim / 2,
                 json_len(list));
        return;
    }
    for (size_t i = 0; i < r->dim / 2; i++) {
        const float f = (float)json_double(json_at(list, i), NAN);
        if (!(f > 0)) cfg_fail(c, "\"%s\" of the rope parameters must hold positive numbers", key);
        freq[i] = 1.0f / (f * powf(r->theta, (float)(2 * i) / (float)r->dim));
    }
}

static void longrope(nn_rope *r, arch_build *b, const json *p, size_t max_positions)
{
    arch_config *c = &b->cfg;
    double factor = number(c, p, "factor", 1);
    size_t original = cfg_size(c, "original_max_position_embeddings", 0, 1, (size_t)1 << 31);
    if (!original) { // where 5.x keeps it
        const int64_t nested = json_int(json_get(p, "original_max_position_embeddings"), 0);
        original = nested > 0 ? (size_t)nested : 0;
    }
    if (original)
        factor = (double)max_positions / (double)original;
    else
        original = max_positions;
    const json *given = json_get(p, "attention_factor");
    r->scale = json_is_number(given) ? (float)json_double(given, 1)
               : factor <= 1         ? 1.0f
                                     : (float)sqrt(1 + log(factor) / log((double)original));
    r->far_scale = r->scale;
    r->border = original;
    r->far = arch_new(b, r->dim / 2, sizeof *r->far);
    if (!r->far) return;
    long_factors(r->inv_freq, r, c, p, "short_factor");
    long_factors(r->far, r, c, p, "long_factor");
    b->m->recompute_past = original;
    b->m->info.stepwise = true;
}

void arch_rope_load(nn_rope *r, arch_build *b, const arch_rope_options *o)
{
    arch_config *c = &b->cfg;
    const json *p = parameters(c, o->layer_type);
    const json *own_theta = json_get(cfg_get(c, "rope_parameters") ? p : NULL, "rope_theta");
    *r = (nn_rope){
        .dim = o->dim + (o->round_up && o->dim % 2), .interleaved = o->interleaved, .scale = 1};
    r->theta = json_is_number(own_theta)
                   ? (float)json_double(own_theta, 0)
                   : cfg_float(c, o->theta_key ? o->theta_key : "rope_theta", o->theta);
    if (!(r->theta > 0)) cfg_fail(c, "\"rope_theta\" must be above 0");
    if (o->dim == 0 || r->dim % 2)
        cfg_fail(c, "rotary positions need an even number of dimensions, not %zu", o->dim);
    if (c->err.status) return;
    r->inv_freq = arch_new(b, r->dim / 2, sizeof *r->inv_freq);
    if (!r->inv_freq) return;
    for (size_t i = 0; i < r->dim / 2; i++)
        r->inv_freq[i] = 1.0f / powf(r->theta, (float)(2 * i) / (float)o->dim);
    if (o->ignore_scaling || !p) return;
    if (p->type != JSON_OBJECT) {
        cfg_fail(c, "\"rope_scaling\" must be an object");
        return;
    }
    const json *t = json_get(p, "rope_type");
    const mltf_str type = json_string(t ? t : json_get(p, "type"), STR("default"));
    if (str_is(type, "default")) return;
    if (str_is(type, "linear")) {
        const float factor = (float)positive(c, p, "factor", NAN);
        for (size_t i = 0; i < r->dim / 2; i++) r->inv_freq[i] /= factor;
    } else if (str_is(type, "dynamic")) {
        r->factor = (float)positive(c, p, "factor", NAN);
        r->border = o->max_positions;
        b->m->info.stepwise = true;
        if (o->dim < 4) cfg_fail(c, "dynamic rope needs heads of at least 4 rotated dimensions");
        const double alpha = number(c, p, "alpha", 0), d = (double)o->dim;
        const float base = (float)((double)r->theta * pow(alpha, d / (d - 2)));
        for (size_t i = 0; o->ntk_alpha && alpha > 0 && i < r->dim / 2; i++)
            r->inv_freq[i] = 1.0f / powf(base, (float)(2 * i) / (float)o->dim);
    } else if (str_is(type, "yarn")) {
        yarn(r, c, p, o->max_positions);
    } else if (str_is(type, "llama3")) {
        llama3(r, c, p);
    } else if (str_is(type, "longrope") || str_is(type, "su")) {
        longrope(r, b, p, o->max_positions);
    } else {
        cfg_fail(c,
                 "rope_type \"" STR_FMT
                 "\" is not supported; supported: default, dynamic, linear, llama3, longrope, yarn",
                 STR_ARG(type));
    }
}
