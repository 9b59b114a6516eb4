/* Rotary frequencies from config.json: every rope_type of transformers (modeling_rope_utils.py, 4.57),
 * in the spelling of 4.x (rope_theta beside rope_scaling) and of 5.x (rope_parameters).
 *
 * Powers and products are rounded to f32 where torch rounds them: the angle of a late position is a
 * large number, and its last bits are seen in the logits. */
#include <math.h>

#include "arch/arch_internal.h"

/* Where the scaling parameters are: rope_parameters (one object a layer type in classes that tell them apart: there
 * 5.x looks at nothing else in it) or rope_scaling. NULL: nowhere. */
static const json *parameters(const arch_config *c, const arch_rope_options *o)
{
    const json *five = cfg_get(c, "rope_parameters");
    if (five && o->layer_type) {
        const json *nested = json_get(five, o->layer_type);
        return json_is(nested, JSON_OBJECT) ? nested : NULL;
    }
    return five ? five : o->ignore_scaling ? NULL : cfg_get(c, "rope_scaling");
}

size_t arch_rope_dim(arch_config *c, size_t head_dim, const char *key, double fallback)
{
    const json *v = json_get(cfg_get(c, "rope_parameters"), "partial_rotary_factor");
    if (!json_is_number(v)) v = cfg_get(c, key);
    const double part = v ? json_double(v, NAN) : fallback;
    if (part > 0 && part <= 1) return (size_t)((double)head_dim * part); // as Python's int()
    cfg_fail(c, "\"%s\" must be a number above 0 and at most 1", key);
    return head_dim;
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
    if (!(d > 0) && d != fallback) {
        cfg_fail(c, "\"%s\" of the rope parameters must be above 0", key);
        return 1;
    }
    return d;
}

static double mscale_of(double scale, double mscale)
{
    return scale <= 1 ? 1.0 : 0.1 * mscale * log(scale) + 1.0;
}

/* original_max_position_embeddings: in 4.x longrope knows it beside the parameters and the others inside of them. In 5.x
 * it lies inside, and where it is beside as well that one counts, unless each layer type has its own parameters. */
static double original_positions(arch_config *c, const json *p, const arch_rope_options *o,
                                 bool beside, double fallback)
{
    static const char key[] = "original_max_position_embeddings";
    const json *five = cfg_get(c, "rope_parameters");
    const size_t outer = cfg_size(c, key, o->original, 1, (size_t)1 << 31);
    if (outer && (five ? p == five : beside)) return (double)outer;
    return five || !beside ? positive(c, p, key, fallback) : fallback;
}

static void yarn(nn_rope *r, arch_config *c, const json *p, const arch_rope_options *o)
{
    const double max_positions = (double)o->max_positions, dim = (double)r->dim;
    const double original = original_positions(c, p, o, false, max_positions);
    const bool derived = json_is(json_get(p, "factor"), JSON_NULL); // written by 5.x for DeepSeek
    const double factor = derived ? max_positions / original : positive(c, p, "factor", NAN);
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

static void llama3(nn_rope *r, arch_config *c, const json *p, const arch_rope_options *o)
{
    const float factor = (float)positive(c, p, "factor", NAN);
    const float low = (float)positive(c, p, "low_freq_factor", NAN);
    const float high = (float)positive(c, p, "high_freq_factor", NAN);
    const float original = (float)original_positions(
        c, p, o, false, cfg_get(c, "rope_parameters") ? (double)o->max_positions : NAN);
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

static void longrope(nn_rope *r, arch_build *b, const json *p, const arch_rope_options *o)
{
    arch_config *c = &b->cfg;
    const double known = original_positions(c, p, o, true, 0);
    const double original = known > 0 ? known : (double)o->max_positions;
    // a given factor counts in 5.x; in 4.x only where the original length is not known
    const double ratio = (double)o->max_positions / original;
    const double factor =
        known > 0 && !cfg_get(c, "rope_parameters") ? ratio : number(c, p, "factor", ratio);
    const json *given = json_get(p, "attention_factor");
    r->scale = json_is_number(given) ? (float)json_double(given, 1)
               : factor <= 1         ? 1.0f
                                     : (float)sqrt(1 + log(factor) / log(original));
    r->far_scale = r->scale;
    r->border = (size_t)original;
    r->far = arch_new(b, r->dim / 2, sizeof *r->far);
    if (!r->far) return;
    long_factors(r->inv_freq, r, c, p, "short_factor");
    long_factors(r->far, r, c, p, "long_factor");
    b->m->recompute_past = r->border;
    b->m->info.stepwise = true;
}

void arch_rope_load(nn_rope *r, arch_build *b, const arch_rope_options *o)
{
    arch_config *c = &b->cfg;
    const json *p = parameters(c, o);
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
    if (!p) return;
    if (p->type != JSON_OBJECT) {
        cfg_fail(c, "\"rope_scaling\" must be an object");
        return;
    }
    const json *t = json_get(p, "rope_type"), *old = json_get(p, "type");
    const mltf_str type = json_string(t ? t : old, STR("default"));
    if (json_is(old, JSON_STRING) &&
        !str_eq(old->s, type)) { // some classes go by the one, some by the other
        cfg_fail(c, "\"rope_type\" and \"type\" of \"rope_scaling\" contradict each other");
        return;
    }
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
    } else if (str_is(type, "yarn") && !(o->original && json_get(p, "short_factor"))) {
        yarn(r, c, p, o);
    } else if (str_is(type, "llama3")) {
        llama3(r, c, p, o);
    } else if (str_is(type, "longrope") || str_is(type, "su") || str_is(type, "yarn")) {
        // phi3's older files say "su" or "yarn"
        longrope(r, b, p, o);
    } else {
        cfg_fail(c,
                 "rope_type \"" STR_FMT
                 "\" is not supported; supported: default, dynamic, linear, llama3, longrope, yarn",
                 STR_ARG(type));
    }
}
